/* Data sets of questions with any bytes: read or refused, never a crash or a hang; what was read makes samples, and
 * their answers are scored. The first byte says which format. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/qa_data.h"
#include "tasks/score.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void use(const sf_qa_set *set)
{
    for (int i = 0; i < set->documents; i++) {
        const sf_qa_document *d = &set->document[i];
        if (sf_qa_cut(d->text, d->pieces) != (int)strlen(d->text)) abort();
    }
    if (set->shortest >= set->items) abort();
    for (int i = 0; i < set->items; i++) {
        const sf_qa_item *item = &set->item[i];
        if (item->golds < 1 || item->documents < 1 || item->near_end > set->documents) abort();
        for (int k = 0; k < item->documents; k++)
            if (item->document[k] < 0 || item->document[k] >= set->documents) abort();
        sf_sample sample = {.gold_count = item->golds, .gold = item->gold};
        sf_score score;
        sf_score_open(NULL, &sample, item->question, &score);
        sf_score_letters(NULL, &sample, item->question, &score);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0) return 0;
    sf_qa_set *set;
    sf_qa_format format = (sf_qa_format)(data[0] % SF_QA_FORMATS);
    if (sf_qa_parse((const char *)data + 1, bytes - 1, "fuzz", format, &set) != SF_OK) return 0;
    use(set);
    sf_qa_free(set);
    return 0;
}
