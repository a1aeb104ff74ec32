/* The shape of a language model: what its files say of it, in plain numbers. */
#ifndef SF_MODEL_CONFIG_H
#define SF_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"

enum { SF_MAX_LAYERS = 256, SF_LONG_PAIRS = 64, SF_MAX_KERNEL = 16 };

typedef enum sf_rope_scaling { SF_ROPE_PLAIN, SF_ROPE_LINEAR, SF_ROPE_LLAMA3, SF_ROPE_YARN, SF_ROPE_DYNAMIC, SF_ROPE_LONG } sf_rope_scaling;

typedef struct sf_rope_config {
    double theta;
    sf_rope_scaling scaling;
    double factor;                       /* LINEAR, LLAMA3, YARN; YARN 0: max(1, (input + output) / original) */
    double low_freq_factor, high_freq_factor; /* LLAMA3 */
    double beta_fast, beta_slow;         /* YARN */
    bool between_pairs;                  /* YARN: the ramp may begin and end between pairs (gpt-oss) */
    double attention_factor;             /* YARN; 0: 0.1 ln(factor) + 1 */
    int original_positions;              /* LLAMA3, YARN, LONG; DYNAMIC: those that need no scaling */
    float longer[2][SF_LONG_PAIRS];      /* LONG: what each pair's frequency is divided by, within and beyond them */
    double turning;                      /* share of the pairs that turn, the first ones, by the frequencies of whole heads (Gemma 4); 0: all */
} sf_rope_config;

/* How the layers of a hybrid mix rows that do not attend: by a recurrence, whose state has the same size at every length (mixer.h). */
typedef enum sf_mixer_kind {
    SF_SHORT_CONVOLUTION, /* a gated convolution over a few rows (LFM2) */
    SF_GATED_DELTA,       /* Gated DeltaNet (Qwen3-Next) */
    SF_STATE_SPACE,       /* Mamba 2 (Granite 4, Bamba) */
} sf_mixer_kind;

/* What the numbers of a trained width are multiplied by (Yang et al. 2022, arXiv 2203.03466), beside the scales that others have too.
 * 0: 1. What a gate's is, outside of its curve, is among what the branch gives. */
typedef struct sf_multipliers {
    float mixer_gate, mlp_gate;      /* of a gate inside SiLU */
    float step, convolution[3];      /* of dt; of v, B and C in front of the convolution, whose taps have it in them */
    float attention, mixer, mlp;     /* of what they add */
} sf_multipliers;

typedef struct sf_model_config {
    char name[128];
    char architecture[64];               /* name of the family (family.h) */
    int layers, d, heads, kv_heads, head_dim, mlp, vocab; /* of latent attention: one kv head, of the row that the cache holds */
    int max_position;                    /* positions the checkpoint says it can take, scaling included; 0: not said */
    double norm_eps;
    float norm_offset;                   /* 1 for Gemma: weight is stored minus one */
    sf_activation activation;
    float embed_scale;                   /* on token embeddings; 1 but for Gemma: sqrt(d) */
    float attention_scale;               /* on q·k; 1/sqrt(head_dim) but for Gemma, Granite */
    bool tied;                           /* the head is the embedding table */
    bool qkv_bias;                       /* Qwen2 */
    bool o_bias, mlp_bias;               /* Llama and its kin, where the files say so */
    bool qk_norm;                        /* Qwen3, Gemma 3: RMSNorm over each head of q and k, before the rotation */
    bool qk_norm_whole;                  /* with qk_norm: over all heads of q together, and of k (OLMo 2) */
    bool post_norms;                     /* Gemma 3: norms also on the outputs of attention and MLP */
    bool no_pre_norms;                   /* with post_norms: on the outputs alone (OLMo 2) */
    bool parallel;                       /* attention and MLP read the same normed rows (Cohere) */
    bool layer_norm, norm_bias;          /* norms take the mean off (Cohere, Nemotron), and add a bias (StarCoder 2) */
    bool gateless;                       /* the MLP is down(activation(up)) (Nemotron) */
    bool norm_after_rope;                /* with qk_norm: after the rotation (Hunyuan) */
    bool qk_unit;                        /* after the rotation, in layers that have one, q and k are scaled to a root mean square of 1 (Llama 4) */
    bool rope_interleaved;               /* pairs are neighbours: ggml's Llama layout of q and k, Ernie */
    int rotary_dim;                      /* numbers of each head that are rotated, its first ones; 0: all (GLM: half) */
    int latent, query_latent;            /* r of latent attention (MLA), 0: keys and values are stored; of queries, 0: from d at once */
    int own_dim, value_dim;              /* … numbers of a head's query and key beside the rotated ones, and of its value (DeepSeek V2) */
    double latent_eps;                   /* … of the norms of latents */
    bool latent_bias;                    /* … on the projections down to them */
    float query_growth;                  /* β: a query at p counts 1 + β ln(1 + ⌊p / original positions⌋) fold (Ministral 3) */
    float still_growth;                  /* β of layers without positions: a query at p counts 1 + β ln(1 + ⌊(p + 1) / n⌋) fold (Llama 4) … */
    int still_positions;                 /* … n */
    float attention_softcap, logit_softcap; /* c: scores, logits become c tanh(x / c) (Gemma 2); 0: they stay */
    float residual_scale, logit_scale;   /* on what attention and MLP add, and on logits (Granite); 0: 1 */
    sf_rope_config rope, rope_local;     /* rope_local: of sliding-window layers (Gemma), else equal to rope */
    sf_router router;                    /* mixture of experts; router.experts 0: one MLP for all rows */
    int expert_mlp, shared_mlp;          /* sizes of an expert's MLP, and of one that all rows go through beside them; 0: none */
    bool shared_switch;                  /* … counted by a sigmoid of its own (Qwen2 MoE) */
    bool router_bias, router_correction, expert_bias; /* gpt-oss; DeepSeek V3; gpt-oss */
    bool experts_beside;                 /* a layer has an MLP for all rows and experts, each behind norms of its own, and a router that reads the
                                            hidden state by a norm of its own and an expert's shares by a number of its own (Gemma 4) */
    bool scaled_input;                   /* a row's one expert reads the row times its share, and is added whole (Llama 4) */
    float swiglu[2];                     /* of SF_CLAMPED: α and the limit (gpt-oss) */
    bool sinks;                          /* a learned logit for each head, of a key that has no value (gpt-oss) */
    uint8_t whole_mlp[SF_MAX_LAYERS];    /* [layers] 1: this layer of a mixture has one MLP for all rows */
    float entmax_alpha;                  /* α of the normaliser in softmax's place (frontier_mini); 0: softmax */
    bool query_scales;                   /* queries are scaled by their position, as each row and head says (ASEntmax) … */
    float scale_delta, scale_range;      /* … scale_queries() of kernels/backend.h */
    int window;                          /* sliding window in tokens; 0: every layer attends to everything */
    bool chunked;                        /* … of tokens that stand in turn: a query sees no more than its own, up to itself (Llama 4) */
    uint8_t sliding[SF_MAX_LAYERS];      /* [layers] 1: this layer uses the window */
    int sliding_head_dim, sliding_kv_heads; /* of layers that slide, where these have others (Gemma 4); 0: as all */
    int shared_from;                     /* layers from this one on read the keys and values of the last layer of their kind before it (Gemma 4);
                                            0: each has its own */
    bool shared_wide;                    /* … and have an MLP twice as wide */
    bool keys_are_values;                /* layers that see everything have no projection to values: they are the keys, not normed nor rotated */
    bool value_norm;                     /* values are scaled to a root mean square of 1 */
    bool layer_scale;                    /* the hidden state behind a layer is multiplied by a number of its own */
    int layer_dim, layer_vocab;          /* numbers of the embedding that a token has for each layer, and rows of their table (Gemma 4); 0: none */
    uint8_t unrotated[SF_MAX_LAYERS];    /* [layers] 1: this layer has no positions (SmolLM3) */
    uint8_t recurs[SF_MAX_LAYERS];       /* [layers] 1: this layer has no attention, but the mixer */
    uint8_t bare[SF_MAX_LAYERS];         /* [layers] 1: this layer has no MLP (Nemotron-H) … */
    uint8_t idle[SF_MAX_LAYERS];         /* … or nothing but its MLP */
    sf_mixer_kind mixer;
    int kernel;                          /* rows that the mixer's convolution reads; 0: no layer recurs */
    sf_delta_shape delta;                /* of SF_GATED_DELTA, and of SF_STATE_SPACE, whose groups are key heads */
    bool convolution_bias;               /* … of SF_STATE_SPACE */
    bool no_mixer_norm;                  /* … what it gives is gated, and not normed (Falcon-H1) */
    bool mixer_beside;                   /* layers that recur attend too: mixer and attention read the same normed rows (Falcon-H1) */
    sf_multipliers multipliers;          /* Falcon-H1 */
    bool attention_gate;                 /* attention's output is gated by a sigmoid of the normed rows (Qwen3-Next) */
    sf_reach reach;                      /* layers with full attention see keys at these distances (Dual Chunk Attention); chunk 0: at true ones */
} sf_model_config;                       /* no pointers: copied by assignment */

static inline bool sf_layer_slides(const sf_model_config *c, int layer) { return c->sliding[layer]; }
/* Of a layer, which may slide and have heads of another size then. What methods see is a layer that does not. */
static inline int sf_head_dim_of(const sf_model_config *c, int layer) { return c->sliding[layer] && c->sliding_head_dim ? c->sliding_head_dim : c->head_dim; }
static inline int sf_kv_heads_of(const sf_model_config *c, int layer) { return c->sliding[layer] && c->sliding_kv_heads ? c->sliding_kv_heads : c->kv_heads; }
static inline bool sf_heads_differ(const sf_model_config *c) { return c->sliding_head_dim || c->sliding_kv_heads; }
/* The larger of both: numbers of a head, and of all keys of a row. */
static inline int sf_widest_head(const sf_model_config *c) { return c->sliding_head_dim > c->head_dim ? c->sliding_head_dim : c->head_dim; }
static inline int sf_widest_keys(const sf_model_config *c)
{
    const int sliding = (c->sliding_kv_heads ? c->sliding_kv_heads : c->kv_heads) * (c->sliding_head_dim ? c->sliding_head_dim : c->head_dim);
    return sliding > c->kv_heads * c->head_dim ? sliding : c->kv_heads * c->head_dim;
}
/* Whether a layer has no keys and values but another's, and whose they are: its own, if not. */
static inline bool sf_layer_borrows(const sf_model_config *c, int layer) { return c->shared_from && layer >= c->shared_from; }
static inline int sf_layer_source(const sf_model_config *c, int layer)
{
    if (!sf_layer_borrows(c, layer)) return layer;
    int source = c->shared_from - 1;
    while (source > 0 && c->sliding[source] != c->sliding[layer]) source--;
    return source;
}
/* Whether another layer reads a layer's keys and values, too. */
bool sf_layer_lends(const sf_model_config *c, int layer);
static inline int sf_layer_mlp(const sf_model_config *c, int layer) { return c->shared_wide && sf_layer_borrows(c, layer) ? 2 * c->mlp : c->mlp; }
static inline int sf_widest_mlp(const sf_model_config *c) { return c->shared_wide ? 2 * c->mlp : c->mlp; }
static inline int sf_rotary_dim(const sf_model_config *c) { return c->rotary_dim ? c->rotary_dim : c->head_dim; }
/* Of latent attention: numbers at the front of a token's row in the cache that are rotated, and no part of the value. Else 0. */
static inline int sf_latent_rotary(const sf_model_config *c) { return c->latent ? c->rotary_dim : 0; }
/* Numbers that a layer's cache holds of a token for each kv head; of a query head as its projection gives it; of a head's output as
 * the projection behind it reads it. */
static inline int sf_cached_numbers(const sf_model_config *c) { return c->latent ? c->head_dim : 2 * c->head_dim; }
static inline int sf_query_numbers(const sf_model_config *c) { return c->latent ? c->own_dim + c->rotary_dim : c->head_dim; }
static inline int sf_output_numbers(const sf_model_config *c) { return c->latent ? c->value_dim : c->head_dim; }
/* Elements of a layer's projections to and from attention, and of its gate, without biases. */
double sf_projection_elements(const sf_model_config *c, int layer);
/* Numbers of what a layer does with a token's embedding for it: its matrices, and its norm; and elements of what makes these embeddings. */
static inline double sf_layer_input_elements(const sf_model_config *c) { return 2.0 * c->d * c->layer_dim; }
/* Whether a layer's MLP is a mixture of experts. */
static inline bool sf_layer_mixes(const sf_model_config *c, int layer) { return c->router.experts && !c->whole_mlp[layer] && !c->bare[layer]; }
/* Latest keys that a query at a position sees at a layer; 0: all. */
static inline int sf_layer_window(const sf_model_config *c, int layer, int position)
{
    if (!c->sliding[layer]) return 0;
    return c->chunked ? position % c->window + 1 : c->window;
}
static inline bool sf_layer_recurs(const sf_model_config *c, int layer) { return c->recurs[layer]; }
/* Whether a layer attends to all keys: those that methods choose for. */
static inline bool sf_layer_attends(const sf_model_config *c, int layer) { return !c->idle[layer] && (!c->recurs[layer] || c->mixer_beside); }
static inline bool sf_layer_full(const sf_model_config *c, int layer) { return !c->sliding[layer] && sf_layer_attends(c, layer); }
static inline int sf_layers_recurring(const sf_model_config *c)
{
    int n = 0;
    for (int layer = 0; layer < c->layers; layer++) n += c->recurs[layer];
    return n;
}
static inline int sf_layers_attending(const sf_model_config *c)
{
    int n = 0;
    for (int layer = 0; layer < c->layers; layer++) n += sf_layer_attends(c, layer);
    return n;
}
static inline bool sf_layer_reaches(const sf_model_config *c, int layer)
{
    return c->reach.chunk > 0 && sf_layer_full(c, layer) && !c->unrotated[layer];
}

/* Checks that the numbers of a config make a model. `where` names the file. */
sf_status sf_config_validate(const sf_model_config *c, const char *where);

/* hash = XXH3-128 of (hash, data), in hex; and the same with every field of a config but its name. */
void sf_hash_fold(char hash[33], const void *data, size_t bytes);
void sf_config_hash(const sf_model_config *c, char hash[33]);

#endif
