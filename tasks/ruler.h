/* What the tasks of RULER (Hsieh et al. 2024, arXiv 2404.06654) share. They are built as RULER defines them: kinds of
 * needles and haystacks, repeats, chains, hops, example, metric, output limit. The sentences are our own, so that
 * scores can be compared with published tables in kind, not to the digit (tasks/README.md lists every difference).
 *
 * RULER asks for the answer alone, without tags, and puts the question after the context. */
#ifndef SF_RULER_H
#define SF_RULER_H

#include "tasks/prompt.h"

#define SF_RULER_SOURCE "Hsieh et al. 2024, RULER, arXiv 2404.06654"

/* Row of a parameter table, for a struct with a member `answer_prefix`. */
#define SF_RULER_PARAM(params)                                                                                         \
    {                                                                                                                  \
        .name = "answer_prefix", .type = SF_BOOL, .offset = offsetof(params, answer_prefix), .initial = 1,             \
        .doc = "the model's turn is begun with the first words of the answer, as RULER does; false: it is not"         \
    }

/* Sets the perfect answer: the gold strings, `separator` between them; NULL: a numbered list, "1. one 2. two". A space
 * in front where the sample has a prefix. */
sf_status sf_ruler_answer(sf_sample *sample, const char *separator);

#endif
