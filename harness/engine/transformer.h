/* The layers around attention: what a decoder block of the families does to rows of hidden state, before and after its
 * attention is computed.
 *
 *     hidden ──┬─ norm ─ q, k, v (+bias) ─ q/k norm ─ rotation ─▶ attention ─ o (─ post norm) ─┐
 *              └───────────────────────────────────────────────────────────────────────────────(+)
 *              (or, in a layer that recurs, norm ─ a mixer ─▶ its recurrence ─ × gate ─ out: mixer.h; or both)
 *            ──┬─ norm ─ gate, up ─ activation(gate)·up ─ down (─ post norm) ─┐      of one MLP, or of the experts that a
 *              └──────────────────────────────────────────────────────────────(+)── hidden     router chooses for each row
 *
 * Latent attention (MLA) keeps no keys and values: a token's row of the cache, [R + r], is a part that is rotated and a latent. Each
 * head's part of the key, [own, r] of the latent, takes the query to the latent's side instead; attention is then that of H query heads
 * over one kv head, whose values are the same rows without their first R numbers, and what it gives goes through each head's value:
 *
 *     norm ─┬─ q_down ─ norm ─ q ─┬─ rotated part ────────── rotation ─┬─▶ attention ─ values of each head ─ o …
 *           │                     └─ own part ─ key of each head ──────┘      ▲
 *           └─ rotated, latent ─ norm of the latent, rotation of the rest ────┘
 *
 * Gemma 4's small models have embeddings of a token for each layer: what makes them reads the first hidden state (embed), and behind its MLP
 * each layer adds norm(out(activation(gate(hidden)) · embedding)).
 *
 * Families leave out norms or add some, leave out the gate, or let both halves read the same normed rows (config.h).
 * Where the model is split over ranks, q, k, v, gate and up are a rank's heads and its part of the MLP, and each (+) adds
 * the sum of what o and down of all ranks give. What a rank computes is then not what the model takes; that is counted by
 * walking the same functions once more, over the whole model's shapes, on a backend that only counts (kernels/counting.c).
 * The hidden state is f32; what lies between norms and projections is in the backend's activation dtype. Every function
 * works on any number of rows, and a row's result does not depend on the others (the backend's promise). */
#ifndef SF_TRANSFORMER_H
#define SF_TRANSFORMER_H

#include "harness/engine/arena.h"
#include "harness/model/model.h"
#include "harness/model/part.h"

typedef struct sf_rotation {
    float *cosine, *sine;   /* [max_tokens, R/2] backend memory; R: sf_rotary_dim() */
    float *query_cosine, *query_sine; /* of queries, where they grow with their position; else those above */
    float *frequency;       /* [D/2] likewise: what they turn by a position; NULL: pairs lie otherwise than in whole heads */
    float scale;            /* that cosines and sines are multiplied by */
} sf_rotation;

/* What depends on the longest sequence. */
typedef struct sf_positions {
    int max_tokens;
    int32_t *position;         /* [max_tokens] 0, 1, 2, … */
    sf_rotation global, local; /* of full-attention and of sliding-window layers; local may be global */
    sf_rotation grown;         /* query_cosine and query_sine of layers without positions, whose queries grow: the growth, and 0; else NULL */
    float *still;              /* [D/2] zeros: the frequencies of layers without positions; NULL: there are none */
} sf_positions;

typedef struct sf_transformer {
    sf_backend *backend;
    const sf_model_config *config;
    sf_stage stage;     /* layers whose weights are here */
    sf_weights weights; /* imported into the backend */
    sf_positions positions;
    float *one;         /* [D] on the host, and as a weight: the norm of q and k that has none; NULL, absent: they have another or none */
    sf_tensor unit;
    sf_curve *curve; /* [layers] activation of each MLP */
    float *scale;    /* [layers] host: what the hidden state behind each is multiplied by; NULL: nothing */
    struct sf_whole *whole; /* of a model that is split over ranks (backend->comm): what counts for all of it; else NULL */
} sf_transformer;

/* Intermediates of `rows` rows. */
typedef struct sf_workspace {
    void *normed;    /* [rows, d] */
    void *gate, *up; /* [rows, mlp] */
    void *gated;     /* [rows, H, D] NULL where attention has no gate */
    float *branch;   /* [rows, d] what a block adds, before its post norm; NULL without post norms, ranks and scaled mixtures */
    float *parts;    /* [ranks, rows, d] what each rank has of it; NULL without ranks */
    float *layered;  /* [rows, layers, P] from a table, NULL without embeddings for each layer */
    float *beta, *gamma; /* [rows, H] that queries are scaled by; NULL: they are not */
    struct sf_mixture {
        float *logits, *share; /* [rows, E], [rows, K] */
        int32_t *expert;       /* [rows, K] */
        void *gate, *up, *out; /* [rows · K, expert_mlp] twice, [rows · K, d] */
        float *sum;            /* [rows, d] and … */
        void *in;              /* … the same in activation dtype: what experts read, if not the normed rows; else NULL */
    } mixture;       /* NULL without experts */
    struct sf_latent_work {
        void *down;      /* [rows, ql] */
        void *q, *latent; /* [rows, H, own + R], [rows, max(r, R)] */
        void *own, *wide; /* of one head: [rows, max(own, value)], [rows, r] */
        void *out;       /* [rows, H, value] */
    } latent;        /* NULL without latent attention */
} sf_workspace;

/* stage: the layers that this rank has, of these, part: its heads of them, just opened; NULL: all. */
sf_status sf_transformer_open(sf_backend *backend, const sf_model *whole, sf_stage stage, sf_part *part, int max_tokens, sf_transformer *out);
/* The weights' shapes and dtypes: of the whole model, also where this rank has a part. */
const sf_weights *sf_transformer_shapes(const sf_transformer *t);
void sf_transformer_close(sf_transformer *t); /* accepts half-opened and zeroed ones */

/* Makes the tables anew for another longest sequence; on failure the old ones stay. */
sf_status sf_transformer_set_length(sf_transformer *t, int max_tokens);

/* `ranks`: that the model is split over, be it one; 0: it is not split. */
sf_status sf_workspace_open(const sf_model_config *config, sf_dtype activation, int64_t rows, int ranks, sf_arena *arena,
                            sf_workspace *out);

/* The frequencies (sf_attention) of a layer. */
const float *sf_transformer_frequency(const sf_transformer *t, int layer);

/* What makes queries of a layer larger than the projections that they are (sf_attention). */
sf_query_scale sf_transformer_query_scale(const sf_transformer *t, int layer);

/* hidden [rows, d] = the tokens' embeddings. token [rows] backend memory. And then, of the same rows, layered [rows, layers, P] = those for
 * each layer, where the model has some. */
sf_status sf_transformer_embed(const sf_transformer *t, const int32_t *token, int64_t rows, float *hidden, sf_workspace *work);
sf_status sf_transformer_embed_layers(const sf_transformer *t, const float *hidden, int64_t rows, void *layered, sf_workspace *work);

/* From hidden [rows, d] to q [rows, H, D] and k, v [rows, G, D]; q and k rotated to position [rows]. Of latent attention D is R + r, q
 * on the latent's side, k the rows of the cache, and v not written; k and v are NULL where the layer borrows them. */
sf_status sf_transformer_qkv(const sf_transformer *t, int layer, const float *hidden, int64_t rows,
                             const int32_t *position, void *q, void *k, void *v, sf_workspace *work);

/* The same of a layer that recurs: to in[i] [rows, sf_mixer_sizes().in[i]]; and from there to in[0], each lane's state going with its
 * rows (mixer.h). */
sf_status sf_transformer_project(const sf_transformer *t, int layer, const float *hidden, int64_t rows, void *const *in, sf_workspace *work);
sf_status sf_transformer_advance(const sf_transformer *t, int layer, int lanes, float *const *state, int64_t rows, void *const *in, void *room);

/* From the attention's output [rows, H, D], NULL: the layer does not attend, and the mixer's in[0], NULL: it does not recur, to the
 * block's: hidden [rows, d] is updated. layered: as sf_transformer_embed_layers() made it. */
sf_status sf_transformer_finish(const sf_transformer *t, int layer, const void *attention, const void *mixed, const void *layered, int64_t rows,
                                float *hidden, sf_workspace *work);

/* logits [rows, vocab] f32, without the model's scale and cap on them: where the largest is chosen, these change nothing. */
sf_status sf_transformer_logits(const sf_transformer *t, const float *hidden, int64_t rows, float *logits,
                                sf_workspace *work);
/* These, in host memory. */
void sf_transformer_finish_logits(const sf_model_config *config, float *logits, int64_t rows);

/* Element `n` of an array in the activation dtype. */
static inline void *sf_activation_at(const sf_backend *b, const void *array, int64_t n)
{
    return (char *)array + sf_bytes(b->activation, n);
}

#endif
