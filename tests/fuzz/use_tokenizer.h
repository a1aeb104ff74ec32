/* What whoever opened a tokenizer does with it. */
#ifndef FUZZ_USE_TOKENIZER_H
#define FUZZ_USE_TOKENIZER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/tokenizer.h"

/* To ids and back, as they are and with marks: ids are those of the vocabulary, texts are valid UTF-8 and so can be encoded. */
static inline void encode_and_decode(const sf_tokenizer *t, const char *text, size_t bytes, const uint8_t *mark)
{
    int32_t *ids = NULL, *again = NULL;
    int n = 0, m = 0;
    char *back = NULL;
    if (sf_encode_marked(t, text, bytes, mark, &ids, &n) == SF_OK) {
        for (int i = 0; i < n; i++)
            if (ids[i] < 0 || ids[i] >= sf_vocab_size(t) || !sf_token_text(t, ids[i])) abort();
        if (sf_decode(t, ids, n, false, &back) == SF_OK && sf_encode(t, back, strlen(back), true, &again, &m) == SF_BAD_INPUT)
            abort();
    }
    free(ids), free(again), free(back);
}

static inline void use_tokenizer(const sf_tokenizer *t, const uint8_t *text, size_t bytes)
{
    static const char mixed[] = "Hello  World, it's 12345\n\n  \t<|endoftext|> na\xc3\xafve \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x99\x82"
                                " \xef\xb7\xba <s>x</s> don't \xe2\x96\x81 e\xcc\x81";
    uint8_t mark[sizeof mixed] = {0};
    memset(mark + 10, 1, 20);
    encode_and_decode(t, mixed, sizeof mixed - 1, NULL);
    encode_and_decode(t, mixed, sizeof mixed - 1, mark);
    encode_and_decode(t, (const char *)text, bytes, NULL);
}

#endif
