/* What samples hold while they run: the prompts that lanes share, and one sequence for each lane.
 *
 *     lanes of a sample  prompts (one prefill each)      sequences (one a lane)
 *     dense          ─┐                                  prompt: shared   tail: own
 *     quest 1/10     ─┼─▶ dense prefill                  prompt: shared   tail: own   state: page bounds
 *     snapkv 1/10    ─┘                                  prompt: own copy of the keys kept, or a list of them where
 *                                                        another lane holds the prompt's      tail: own
 *     vertical_slash ───▶ its own prefill                prompt: shared with nobody   tail: own
 *
 * A layer that recurs has no keys, but a state of fixed size: of the prompt, which its prefill leaves, and from there on each lane's own.
 *
 * A layer that borrows its keys and values has no cache, but that of the layer that lends them (sf_layer_source()): what a lane's method
 * evicted there is gone here, too, and its other hooks see the layer's own queries over what is left.
 *
 * Keys of a sliding-window layer are never the method's: the prompt keeps their last `window`, and every sequence reads
 * those. What lives to the end comes from the `store` arena; buffers of the prefills, and after them those of the
 * decode, from the `work` arena.
 *
 * Prompts are prefilled in waves: prompts whose rows together fit a chunk of linear layers go through each layer side
 * by side; a longer prompt is a wave of its own, in chunks. */
#ifndef SF_BATCH_H
#define SF_BATCH_H

#include "harness/engine/lane.h"
#include "harness/engine/transformer.h"
#include "harness/model/mixer.h"
#include "harness/model/tokenizer.h"
#include "kernels/comm.h"
#include "methods/probes.h"
#include "methods/side.h"

/* One prefill, and what it leaves to the lanes that share it. */
typedef struct sf_prompt {
    const sf_job *job;
    const sf_method *method; /* NULL: dense */
    const void *params;
    const sf_cache_format *cache; /* NULL: exact */
    bool kept;        /* keys of full-attention layers stay: some lane reads them, or is compared with them */
    sf_kv_part *part; /* [layers]; k NULL where not kept; packed where `cache` is; of a layer that borrows, the lender's */
    float **recurrent; /* [layers] host: state after its last row; NULL where a layer does not recur */
    uint64_t *pairs;  /* [layers, H] backend memory */
    uint64_t *weighed; /* likewise, those that weigh; NULL: all do */
    double *recall, *error; /* [layers, H] host: sums over the sampled rows; NULL: not wanted */
    int recall_rows;  /* sampled rows … */
    int32_t *recall_row; /* … [recall_rows] host, ascending */
    int predictions;      /* rows whose predictions are looked at, the last row among them; 0: none */
    uint8_t *begins;      /* [tokens] host: sf_attention.begins; NULL: no lane of the sample looks at structure */
    int32_t *predict_row; /* [predictions] host, ascending */
    float *predicted;     /* [predictions, vocab] host: logits, of a sample's dense prompt until its others are done */
    int row;          /* where its rows begin in the buffers of its wave */
    sf_picture *picture; /* host; NULL: not wanted */
    sf_state carry;      /* of its method, from layer to layer */
    int32_t token;    /* the first generated */
    sf_meter meter;
    double seconds;
} sf_prompt;

/* Prompts that are prefilled together. */
typedef struct sf_wave {
    sf_prompt *prompt;
    int prompts, rows;
} sf_wave;

/* Queries, keys and values of a sample's first layer, which all its prefills begin with. */
typedef struct sf_first {
    const sf_job *job; /* whose they are; NULL: of none yet */
    void *q, *k, *v;   /* [longest, H, D], [longest, G, D] twice (latent attention: once); NULL where no sample has several prefills */
    void *normed;      /* [longest, d]; NULL where the batch has none */
    sf_meter meter;    /* what they took */
    double seconds;
} sf_first;

/* A sequence's cache at one layer. */
typedef struct sf_cache {
    sf_kv_part prompt; /* the shared prompt's, or an evicting lane's own copy or view of it */
    sf_kv_part tail;   /* generated since */
    float *recurrent;  /* of a layer that recurs, in decode: its state; such a layer has nothing of the above */
    sf_state state;
    sf_lists kept;       /* evicting lane whose recall is wanted: [G] lists of the prompt keys kept, followed by
                            those of a whole tail; a sampled step sets the counts */
    int32_t *kept_count; /* [G] host: prompt keys kept */
} sf_cache;

typedef struct sf_sequence {
    sf_lane *lane;
    const sf_job *job; /* whose questions it is asked */
    sf_prompt *prompt;
    bool evicts, done;
    sf_cache *at;    /* [layers] */
    uint64_t *pairs; /* [layers, H] backend memory, of decode */
    uint64_t *weighed; /* likewise, those that weigh; NULL: all do */
    double *recall, *error; /* [layers, H] host: weighted sums over sampled steps; NULL: not wanted */
    double recall_weight;
    sf_state carry;  /* of the lane's decode method, from layer to layer and from step to step */
    uint8_t *pictured; /* [tokens] host: of an evicting lane, the prompt keys kept where pictures are taken; or NULL */
    int steps;         /* of decode executed */
    int turn, asked;   /* whose question or answer it is at, from 0; tokens of that question read so far */
    int ended;         /* outputs when the answer before this one ended */
    uint64_t pairs_before; /* of all of them, where they are told step by step */
} sf_sequence;

enum { SF_PREDICTIONS = 16 }; /* rows whose logits are taken at a time */
enum { SF_LOOKS = 1024 }; /* queued before one has to wait */

typedef struct sf_batch {
    /* set by the caller before sf_batch_open() */
    const sf_transformer *model; /* NULL when a batch is only measured */
    sf_backend *backend;
    const sf_model_config *config; /* heads and MLP of this rank … */
    const sf_model_config *whole;  /* … and of the whole model: equal, where it is not split */
    sf_stage stage;                /* layers of this rank; what other layers have is absent here, or zero */
    const sf_generation *how;
    const sf_side *sides;          /* trained weights of methods; NULL: none */
    const sf_tokenizer *tokenizer; /* NULL: the model has none */
    const int32_t *stop; /* [stops] */
    int stops;
    sf_arena *store, *work;
    int jobs;
    const sf_job *job; /* [jobs] */
    int chunk;         /* rows that go through linear layers together; 0: by rule */

    int longest;        /* tokens of the longest prompt */
    int prompts, lanes; /* of all samples */
    sf_prompt *prompt;             /* [prompts] */
    sf_sequence *sequence;         /* [lanes] */
    float *covered, *covered_host; /* [SF_LOOKS, H] of the looks below */
    struct {
        double weight, *sum;
    } look[SF_LOOKS]; /* queued: what each adds, and to what */
    int looks;
    double looking; /* seconds spent on pictures: they, and what the backend watched of recall, are nobody's */

    /* buffers of rows: in prefill R = rows of the widest wave, C = chunk, L = its prompts; in decode R = C = L = lanes */
    int32_t *token;         /* [2, R] tokens, positions */
    float *hidden;          /* [R, d] */
    void *normed;           /* prefill: [R, d] what q is made of, of one layer; NULL: no lane's method looks at it */
    void *q, *attention;    /* [R, H, D]; attention: or a mixer's room, where that is wider */
    void *mixer_in[SF_MIXER_INPUTS]; /* [R, sf_mixer_sizes().in[i]] NULL where no layer recurs */
    void *k, *v;            /* [R, G, D] of the layer that has most; v NULL where keys are values too */
    void *layered;          /* [R, layers, P] tokens' embeddings for each layer; NULL: there are none */
    float *lse;             /* [R, H] of the attention; NULL where the model has no sinks */
    void *shared_q;         /* [R, H * repeat, D] queries of all ranks that hold the same kv heads; NULL: this one alone does */
    sf_workspace workspace; /* of C rows */
    sf_first first;         /* prefill */
    sf_kv_part staging;     /* prefill: a layer's keys where the prompt does not keep them all, or keeps them packed */
    sf_kv_part packing;     /* prefill: a layer's keys packed, for evicting lanes to take from, where the prompt keeps none; k NULL: it does */
    sf_probes probes;       /* prefill: of a prompt at a layer, for the lanes that evict; none where few do */
    float *last;            /* prefill: [L, d] the prompts' last rows */
    float *some, *predicted; /* prefill: [SF_PREDICTIONS, d], [SF_PREDICTIONS, vocab] for rows looked at; NULL: none are */
    bool agreed;            /* ranks know of the failure that ends this */
    float *logits;          /* [L, vocab] on the last stage */
    int32_t *next;          /* [L] argmax of the logits */
} sf_batch;

/* Groups the lanes by prefill and lays out what stays. A sample without lanes: one dense prompt that nobody reads
 * (logits). Close the batch after success and failure alike; the arenas keep their memory for the next samples. */
sf_status sf_batch_open(sf_batch *batch);
void sf_batch_close(sf_batch *batch);

/* After attention of `rows` rows, at out [rows, H, D] and lse [rows, H], by these patterns: the layer's learned sinks, where the
 * model has them. meter: where it counts, each rank for its own heads. */
sf_status sf_batch_sink(const sf_batch *batch, sf_meter *meter, int layer, int rows, int patterns, const sf_pattern *const *pattern,
                        const float *lse, void *out);

/* The prompts that go together, from prompt `first` on. */
sf_wave sf_batch_wave(const sf_batch *batch, int first);

/* Lay out the buffers of the prefills, and in their place those of the decode, tails included. */
sf_status sf_batch_prefill_buffers(sf_batch *batch);
sf_status sf_batch_decode_buffers(sf_batch *batch);

/* Whether what is kept of a prompt, or of a lane's copy of it, is packed. */
static inline bool sf_packs(const sf_cache_format *format) { return format && format->packed; }

/* Room for what an evicting lane keeps, at most `capacity` prompt keys a head: k and v, or, where the prompt's stay and
 * the backend reads views, the list of those kept; counts; the lists for recall. */
sf_status sf_batch_own_copy(sf_batch *batch, const sf_sequence *sequence, int64_t capacity, sf_cache *cache);

/* The dense prompt of the prompt's sample, where some lane's divergence is wanted: the sample's first lane is dense then. */
const sf_prompt *sf_batch_dense(const sf_batch *batch, const sf_prompt *prompt);

/* The attention of `queries` rows of q at one layer over these keys; pairs are not tallied. */
sf_attention sf_batch_attention(const sf_batch *batch, int layer, int queries, const void *q, sf_kv_part prompt,
                                sf_kv_part tail);

/* What methods see of an attention of `rows` query rows in all (of all lanes): all query heads of its kv heads, be they on
 * several ranks. q: their rows, gathered first; every rank comes here. */
sf_status sf_batch_share_queries(sf_batch *batch, const void *q, int64_t rows);
sf_attention sf_batch_view(const sf_batch *batch, const sf_attention *a, int64_t row);

/* Where what is done head by head is counted: heads that several ranks hold count once. And what all ranks do alike. */
sf_meter *sf_batch_meter_heads(const sf_batch *batch, sf_meter *meter);
sf_meter *sf_batch_meter_once(const sf_batch *batch, sf_meter *meter);

/* SF_OK where all ranks bring it, else the failure of the first of them, on all. */
sf_status sf_batch_agree(sf_batch *batch, sf_status status);

static inline int sf_batch_ranks(const sf_batch *batch) { return batch->backend->comm ? batch->backend->comm->size : 1; }

static inline bool sf_batch_leads(const sf_batch *batch) { return batch->stage.first == 0; }
static inline bool sf_batch_ends(const sf_batch *batch) { return batch->stage.end == batch->config->layers; }

/* All query heads of this rank, of all layers. */
static inline int64_t sf_batch_heads(const sf_batch *batch)
{
    return (int64_t)batch->config->layers * batch->config->heads;
}

/* Gives a chosen pattern, or a dense one, the distances of the model. `who`: the method, or NULL. */
sf_status sf_batch_reach(const sf_batch *batch, sf_attention *a, sf_pattern *pattern, const char *who);

double sf_batch_clock(sf_backend *b); /* seconds, once the backend has finished what it was given */

/* Likewise, on a clock that stands still while recall and pictures are looked at. */
double sf_batch_time(const sf_batch *batch);

#endif
