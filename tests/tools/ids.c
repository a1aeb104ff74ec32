/* The ids of texts, for tests/peers/vocabularies.py and tests/golden/engine/check_gemma3.py:
 *
 *   ids TOKENIZER.json|MODEL < texts, each with its length in bytes and a line end in front: "5\nhello3\nyou"
 *
 * writes a line of ids to each text, or "refused: MESSAGE" once. Special tokens that a text spells are found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/model.h"
#include "harness/model/tokenizer.h"

static int refused(void)
{
    printf("refused: %s\n", sf_error());
    return 1;
}

int main(int argc, char **argv)
{
    sf_tokenizer *t;
    sf_model *model = NULL;
    if (argc != 2) return fprintf(stderr, "usage: ids TOKENIZER.json|MODEL\n"), 2;
    const char *end = strrchr(argv[1], '.');
    if (end && strcmp(end, ".json") == 0 ? sf_tokenizer_from_json(argv[1], NULL, 0, &t) != SF_OK : sf_model_open(argv[1], &model) != SF_OK)
        return refused();
    if (model) t = model->tokenizer;
    size_t bytes;
    while (scanf("%zu%*1[\n]", &bytes) == 1) {
        char *text = malloc(bytes + 1);
        int32_t *ids;
        int n;
        if (!text || fread(text, 1, bytes, stdin) != bytes) return 1;
        if (sf_encode(t, text, bytes, true, &ids, &n) != SF_OK) return refused();
        for (int i = 0; i < n; i++) printf("%s%d", i ? " " : "", ids[i]);
        putchar('\n');
        free(ids);
        free(text);
    }
    if (model)
        sf_model_close(model);
    else
        sf_tokenizer_free(t);
    return 0;
}
