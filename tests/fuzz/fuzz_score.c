/* Answers of any bytes, scored in every format: each score lies in 0 … 1, and is 0 unless the answer was parsed. The
 * first byte says which format; expected answers, which are never empty, and the answer follow, each ended by a NUL. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/score.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

typedef sf_status (*scorer)(const void *, const sf_sample *, const char *, sf_score *);
static const scorer scorers[] = {sf_score_pairs,     sf_score_names,     sf_score_words,   sf_score_numbered,
                                 sf_score_item,      sf_score_chapters,  sf_score_letters, sf_score_open,
                                 sf_score_match_all, sf_score_match_part};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    enum { GOLDS = 4 };
    if (bytes == 0) return 0;
    char *text = malloc(bytes), *gold[GOLDS], *at = text;
    if (!text) return 0;
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = 0;
    sf_sample sample = {.gold = gold};
    for (char *end; sample.gold_count < GOLDS && (end = memchr(at, 0, (size_t)(text + bytes - 1 - at))); at = end + 1)
        if (end > at) gold[sample.gold_count++] = at;
    sf_score score = {0};
    if (sample.gold_count &&
        scorers[data[0] % (sizeof scorers / sizeof *scorers)](NULL, &sample, at, &score) == SF_OK &&
        (!(score.strict >= 0 && score.strict <= 1) || score.reference < 0 || score.reference > 1 ||
         (score.strict > 0 && !score.parsed)))
        abort();
    free(text);
    return 0;
}
