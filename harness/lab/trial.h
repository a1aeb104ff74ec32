/* One hook of one method on one synthetic attention: what it chose and what attention over that gave. */
#ifndef SF_TRIAL_H
#define SF_TRIAL_H

#include "harness/lab/synthetic.h"

/* sparsity: the parameters are fitted to it; NAN, or a method without fit(): its default parameters. */
typedef struct sf_trial sf_trial;
struct sf_trial {
    const sf_method *method;
    sf_hook hook;
    double sparsity;
    const sf_param *set;  /* instead: its default parameters, but for this one; NULL: none */
    double value;
    bool rest_low;        /* other budgets then stand at their lowest */
    sf_synthetic on;      /* what to make; its backend and memory are not used */
    const sf_trial *among; /* decode, compress: this one runs in the same step, as another lane; NULL: alone */
    bool choose_only;     /* count the pairs, but compute no attention */
    bool explain;         /* fill the mask; on the reference backend only */
};

typedef struct sf_outcome {
    int rows, keys;       /* query rows that read, logical keys that there are to read */
    uint64_t pairs;
    double density;       /* pairs / causal pairs */
    double flops;         /* of choosing, as the meter counted them */
    int32_t *chosen;      /* the pattern's lists, one after the other, each behind its length */
    size_t choices;
    float *out;           /* [rows, H, D]; NULL: chosen only */
    uint8_t *mask;        /* [H, rows, keys] what is read, from the pattern's definition; NULL: not explained */
    uint64_t named;       /* pairs of it, each part's own and only in the rows that it computes, and of summaries; if explained */
    bool empty;           /* the pattern says that a row may have no key */
    int future;           /* key blocks named that lie wholly after their queries; reference backend only */
} sf_outcome;

/* Where on.comm is set, of this rank's heads; every rank of it then calls this. Freed with sf_outcome_free() whatever is
 * returned. */
sf_status sf_trial_run(const sf_trial *trial, sf_backend *backend, sf_outcome *out);
void sf_outcome_free(sf_outcome *o); /* accepts a zeroed one */

/* What choosing costs one sequence over all layers, as the meter counts it and as estimate() says: FLOPs of the prefill; FLOPs, behind it, of what
 * decode's hooks do at the prompt; elements of weights, keys and what stands for keys that all decode steps read. What a method has no hook for is 0. */
enum { SF_BILL_PREFILL, SF_BILL_PROMPT, SF_BILL_STEPS, SF_BILLS };
typedef struct sf_bill {
    double counted[SF_BILLS], said[SF_BILLS];
} sf_bill;

/* As the engine calls the hooks, with the cache cut where compress does so, `on.tail` steps long, at all layers of `on`; without an
 * attention. t->hook says only what the parameters are fitted for. */
sf_status sf_trial_bill(const sf_trial *trial, sf_backend *backend, sf_bill *out);

#endif
