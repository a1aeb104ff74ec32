/* A language model as its files describe it: shape, weights in host memory, tokenizer, chat template.
 *
 * Two kinds of source fill the same struct: a GGUF file (gguf_model.c) and a Hugging Face folder (hf.c). A shape alone
 * (configs/models/NAME.yaml) gives a model for `frontier cost`, and with random weights for speed work. */
#ifndef SF_MODEL_H
#define SF_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"

enum { SF_MAX_LAYERS = 256, SF_MAX_STOPS = 8 };

typedef enum sf_rope_scaling { SF_ROPE_PLAIN, SF_ROPE_LINEAR, SF_ROPE_LLAMA3, SF_ROPE_YARN } sf_rope_scaling;

typedef struct sf_rope_config {
    double theta;
    sf_rope_scaling scaling;
    double factor;                       /* LINEAR, LLAMA3, YARN; YARN 0: max(1, (input + output) / original) */
    double low_freq_factor, high_freq_factor; /* LLAMA3 */
    double beta_fast, beta_slow;         /* YARN */
    double attention_factor;             /* YARN; 0: 0.1 ln(factor) + 1 */
    int original_positions;              /* LLAMA3, YARN */
} sf_rope_config;

typedef struct sf_model_config {
    char name[128];
    char architecture[64];               /* "llama", "qwen2", "qwen3", "mistral", "gemma3" */
    int layers, d, heads, kv_heads, head_dim, mlp, vocab;
    int max_position;                    /* positions the checkpoint says it can take, scaling included; 0: not said */
    double norm_eps;
    float norm_offset;                   /* 1 for Gemma: weight is stored minus one */
    sf_activation activation;
    float embed_scale;                   /* on token embeddings; 1 but for Gemma: sqrt(d) */
    float attention_scale;               /* on q·k; 1/sqrt(head_dim) but for Gemma */
    bool tied;                           /* the head is the embedding table */
    bool qkv_bias;                       /* Qwen2 */
    bool qk_norm;                        /* Qwen3, Gemma 3: RMSNorm over each head of q and k, before the rotation */
    bool post_norms;                     /* Gemma 3: norms also on the outputs of attention and MLP */
    bool rope_interleaved;               /* ggml's Llama layout of q and k */
    sf_rope_config rope, rope_local;     /* rope_local: of sliding-window layers (Gemma), else equal to rope */
    int window;                          /* sliding window in tokens; 0: every layer attends to everything */
    uint8_t sliding[SF_MAX_LAYERS];      /* [layers] 1: this layer uses the window */
} sf_model_config;                       /* no pointers: copied by assignment */

typedef struct sf_layer_weights {        /* absent ones have data == NULL */
    sf_tensor attention_norm, q, k, v, o; /* q [H·D, d], k, v [G·D, d], o [d, H·D] */
    sf_tensor q_bias, k_bias, v_bias;
    sf_tensor q_norm, k_norm;             /* [D]: Qwen3, Gemma 3 */
    sf_tensor post_attention_norm;        /* Gemma 3: on the attention output, before it is added */
    sf_tensor mlp_norm, gate, up, down;   /* gate, up [mlp, d], down [d, mlp] */
    sf_tensor post_mlp_norm;              /* Gemma 3 */
} sf_layer_weights;

typedef struct sf_weights {
    sf_tensor embedding;                  /* [vocab, d] */
    sf_tensor head;                       /* [vocab, d]; equal to embedding when tied */
    sf_tensor final_norm;                 /* [d] */
    sf_layer_weights *layer;              /* [layers] */
} sf_weights;

struct sf_tokenizer;
struct sf_chat;
struct sf_mapping;

typedef struct sf_model {
    sf_model_config config;
    sf_weights weights;                   /* host memory: mapped files or random; data NULL in a shape-only model */
    struct sf_tokenizer *tokenizer;       /* NULL in a shape-only model */
    struct sf_chat *chat;                 /* NULL: the files bring no template that is understood; see no_chat */
    char *no_chat;                        /* chat == NULL: the message for whoever needs one, it says what to do */
    int32_t bos, stop[SF_MAX_STOPS];      /* bos < 0: none is added */
    int stops;
    char hash[33];                        /* of all that can change its output (model.c), in hex; in every cell's key */
    size_t weight_bytes;                  /* in the files' dtypes */
    struct sf_mapping *mapping;           /* [mappings] what the weights point into, closed by sf_model_close() */
    int mappings;
} sf_model;

/* Opens `path`: a .gguf file or a folder with a single one, a Hugging Face folder, or a shape (.yaml). Loading is lazy:
 * weights are mapped, not read. Errors name file, tensor or key, expected and found. */
sf_status sf_model_open(const char *path, sf_model **out);
/* Only what reads and writes text: config, tokenizer, chat template, stop tokens. A folder needs no weights, and they are
 * not looked at; the hash covers tokenizer and template. */
sf_status sf_model_open_text(const char *path, sf_model **out);
void sf_model_close(sf_model *model);     /* accepts NULL and half-opened ones */

/* What each kind of source brings; called by sf_model_open(), which validates, hashes config and weights, and closes
 * what a failure leaves half-opened. `out` is zeroed; a source folds its texts (tokenizer, template) into out->hash. */
sf_status sf_gguf_open(const char *path, sf_model *out);
sf_status sf_hf_open(const char *folder, bool weights, sf_model *out);
sf_status sf_shape_open(const char *yaml, sf_model_config *out);

/* Fills the weights with seeded random numbers of sane scale (bf16), for cost, speed and memory work. */
sf_status sf_model_random(const sf_model_config *config, uint64_t seed, sf_model **out);

/* Checks that the numbers of a config make a model. `where` names the file. */
sf_status sf_config_validate(const sf_model_config *c, const char *where);

/* hash = XXH3-128 of (hash, data), in hex; and the same with every field of a config but its name. */
void sf_hash_fold(char hash[33], const void *data, size_t bytes);
void sf_config_hash(const sf_model_config *c, char hash[33]);

/* Checks that every weight that the config calls for is there with the right shape. `where` names the file. */
sf_status sf_model_validate(const sf_model *model, const char *where);

static inline bool sf_layer_slides(const sf_model_config *c, int layer) { return c->sliding[layer]; }

#endif
