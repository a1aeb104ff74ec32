/* Attention of one sequence at one layer: what executors compute and what methods look at. */
#ifndef SF_ATTENTION_H
#define SF_ATTENTION_H

#include <stdbool.h>

#include "base/status.h"
#include "kernels/pattern.h"

typedef struct sf_backend sf_backend; /* what computes (backend.h); methods do not look inside */

typedef enum sf_reduce { SF_SUM, SF_MEAN, SF_MAX } sf_reduce;

/* What begins at a token of the prompt. */
enum sf_begins { SF_BEGINS_LINE = 1, SF_BEGINS_SENTENCE = 2, SF_BEGINS_CHAPTER = 4 };

/* What rotation and what follows it made of queries beside turning them: a query at position p counts by · (1 + growth · ln(1 + ⌊(p + from) /
 * every⌋)) fold, as YaRN, Ministral 3 and Llama 4 have it. */
typedef struct sf_query_scale {
    float by;        /* 0: 1 */
    float growth;    /* 0: none, whatever `every` is */
    int from, every;
    bool learned;    /* it was scaled by a head's own numbers too, which are not told (adaptive-scalable entmax) */
} sf_query_scale;

typedef struct sf_attention {
    sf_backend *backend;
    int layer, layers;               /* this layer and their number */
    int heads, kv_heads, head_dim;   /* H, G, D */
    int queries, keys;               /* T rows of q; N logical keys in kv. Row i stands at position keys - queries + i */
    int window;                      /* a query sees its latest `window` keys only (sliding-window layer); 0: all */
    float scale;                     /* on q·k, before the softmax */
    float softcap;                   /* c: a logit x = scale · q·k becomes c tanh(x / c), before a pattern's bias (Gemma 2); 0: it
                                        stays. Estimates from means, of blocks or of queries, and from some of
                                        the components go without. Only where ops->caps */
    float alpha;                     /* rows are normalised by α-entmax, 1 < α <= 2, in softmax's place (2: sparsemax); 0: by softmax.
                                        Exact probabilities are then α-entmax's; estimates stay softmax's. Only where ops->entmax */
    const void *q;                   /* [T, H, D], of kv.dtype */
    const void *hidden;              /* [T, width], of kv.dtype: the normed rows that q is made of; NULL: the method does not say that it
                                        looks at them, or there are none (keys without queries) */
    int width;                       /* numbers of such a row; 0: nobody asks */
    sf_kv kv;
    uint64_t *pairs;                 /* [H] executors add the pairs they computed; NULL: nobody asks */
    uint64_t *weighed;               /* [H] likewise, with alpha, those whose weight is above 0: the values of no others are read */
    float *lse;                      /* [T, H] executors write the log of each row's sum of exp(logit), of what it computed
                                        (-INFINITY: nothing; gated parts: not written); NULL: nobody asks */
    const float *frequency;          /* [D/2] backend memory: radians per position that rotary embedding turns each pair by;
                                        NULL: the model has none, or nobody knows; then no pattern may have a reach */
    sf_query_scale scaled;           /* zeros: by nothing, or nobody knows */
    bool interleaved;                /* pairs are (2i, 2i + 1), not (i, i + D/2) */
    int rotated;                     /* latent attention: a key's row is its value too, but for so many numbers at its front (kv.*.v is
                                        kv.*.k). Outputs and means of values are of whole rows, and nobody asks for these numbers
                                        of them. Else 0 */
    const uint8_t *begins;           /* [tokens of the prompt] host memory: bits of sf_begins; NULL: nobody knows, or the method
                                        does not say that it looks at structure */
    struct sf_state *carry;          /* methods/method.h: what the method left at the layer before; NULL: it carries nothing */
    sf_pattern part[SF_MOST_PARTS];  /* room for the parts of a pattern chosen for this attention */
    sf_status status;                /* first failure of the composition functions in methods/method.h */
    const struct sf_side *sides;     /* methods/side.h: trained weights of methods, a list; NULL: none are loaded … */
    const struct sf_side *side;      /* … and those of the method at hand: sf_weight() */
    struct sf_probes *probes;        /* theirs too: what other lanes have asked of this q and kv; NULL: nothing */

    /* Where a model is split over ranks: heads are then those of this one. Else zeros and NULL. */
    struct sf_comm *comm;            /* the ranks, each with an attention like this one */
    int first_head, first_kv_head;   /* where the heads stand among all of the layer … */
    int all_heads, all_kv_heads;     /* … which are so many */
    int repeat;                      /* ranks that hold the same kv heads, and the same heads here */
    int across;                      /* the method's at hand: sf_across of methods/method.h */
} sf_attention;

/* kv heads of the layer, on all ranks. */
static inline int sf_layer_kv_heads(const sf_attention *a) { return a->comm ? a->all_kv_heads : a->kv_heads; }

/* Numbers of a value. */
static inline int sf_value_numbers(const sf_attention *a) { return a->head_dim - a->rotated; }

/* Whether every row sees all keys up to its own, and each is held: no sliding window, no compacted cache. */
static inline bool sf_sees_all(const sf_attention *a) { return a->window == 0 && !a->kv.prompt.count; }

/* For kmeans(). */
typedef struct sf_kmeans_how {
    int begin, end, segment, each, iterations;
} sf_kmeans_how;

static inline int sf_clusters(const sf_kmeans_how *how)
{
    int keys = how->end - how->begin, rest = keys % how->segment;
    return keys / how->segment * ((how->segment + how->each - 1) / how->each) + (rest + how->each - 1) / how->each;
}

/* For budgets(): row r gets count[r] / each + more, but no less than `least` and no more than `most`; a row that is marked so, `fixed`. */
typedef struct sf_budgets {
    int32_t each, more, least, most;
    int32_t marked, fixed; /* rows with mark[r] == marked, where there are marks */
} sf_budgets;

/* For draw_blocks(): row i < each of head h sees the blocks 0 … seen + i - 1, and reads the first `sinks` of them, the latest `local`,
 * and `drawn` of those between that lie below `until`: number j of stream sf_splitmix(sf_splitmix(stream, h), salt + i) is
 * that of the j-th block (Floyd's sampling). A row that sees `whole` blocks or more reads all. */
typedef struct sf_drawn {
    uint64_t stream, salt;
    int each, seen, sinks, local, drawn, until, whole;
} sf_drawn;

/* For hash_keys() and hash_matches(). */
typedef struct sf_hash {
    int bits, tables, least;
    int begin, end; /* keys that are hashed */
} sf_hash;

/* For sample_sizes(): with which certainty (z, of a normal distribution, both sides) within which relative error. */
typedef enum sf_verified { SF_DENOMINATOR, SF_NUMERATOR, SF_DENOMINATOR_AND_NUMERATOR } sf_verified;
typedef struct sf_promise {
    double error, z;
    sf_verified verified;
} sf_promise;

/* What sample_moments() finds in a query head's sample: of exp(logit), times any one factor. */
typedef struct sf_moments {
    double others, taken, drawn; /* keys: that may be drawn, that are read anyhow, that were drawn */
    double total, variance;      /* of all keys, estimated; of the others */
    double length, trace;        /* of the sum of exp(logit) value, estimated; of the others' covariance. 0: not asked for */
} sf_moments;

#endif
