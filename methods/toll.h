/* What choosing costs, for estimate(): an attention of the extent's shape on a backend that only counts. An estimate calls the meter's own
 * formulas (kernels/count.h) with them, one for each primitive that the hooks call, so that the two cannot drift apart by a formula.
 * What a call costs by what is in the tensors (how many keys a list has) an estimate has to know by itself. */
#ifndef SF_TOLL_H
#define SF_TOLL_H

#include "kernels/count.h"
#include "methods/method.h"

typedef struct sf_toll {
    sf_attention a; /* no data: one query over `tokens` keys in decode, all over all in prefill */
    sf_backend backend;
    sf_meter meter;
} sf_toll;

/* It points into itself: not to be copied. */
void sf_toll_open(sf_toll *toll, const sf_extent *extent);

/* What it counts: FLOPs in prefill; in decode elements of weights, keys, and what stands for keys. Nothing printed by the study. share: of
 * the layers that it is paid at. */
sf_estimate sf_toll_paid(const sf_toll *toll, double share);

/* Functions of the vocabulary that are one call of an op, over `rows` rows of n scores; of FLOPs alone, as scores are made, not read.
 * sf_toll_group() reads the query heads' rows; sf_toll_top() stands for each choice, by rank or by mass. */
void sf_toll_probe(sf_toll *toll, int window); /* columns alone */
void sf_toll_group(sf_toll *toll, int64_t n);
void sf_toll_add(sf_toll *toll, int64_t rows, int64_t n);
void sf_toll_top(sf_toll *toll, int64_t rows, int64_t n);
void sf_toll_listed(sf_toll *toll, int64_t keys); /* sf_listed_probabilities() of so many keys a kv head */

/* An estimate whose `of_step` is right for a step of a known number: that step's; where it is not known, the mean over as many steps after
 * `tokens` as work is done once in, or as there are at most. In prefill: of_step's. */
sf_estimate sf_toll_mean(const sf_extent *extent, const void *params, int every, sf_estimate (*of_step)(const sf_extent *, const void *));

/* Of a method that evicts while decoding: keys of a kv head that live at a step, its own among them. */
int sf_toll_living(const sf_extent *extent, const sf_living_budget *budget);

/* Keys among `toll->a.keys` that a step may begin with: of the prompt. */
int sf_toll_prompt(const sf_extent *extent);

#endif
