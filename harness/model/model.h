/* A language model as its files describe it: shape, weights in host memory, tokenizer, chat template.
 *
 * Two kinds of source fill the same struct: a GGUF file (gguf_model.c) and a Hugging Face folder (hf.c). A shape alone
 * (configs/models/NAME.yaml) gives a model for `frontier cost`, and with random weights for speed work. */
#ifndef SF_MODEL_H
#define SF_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/model/config.h"
#include "harness/model/doubts.h"
#include "kernels/backend.h"

enum { SF_MAX_STOPS = 32 };

typedef struct sf_layer_weights {        /* absent ones have data == NULL */
    sf_tensor attention_norm, q, k, v, o; /* q [H·D, d], k, v [G·D, d], o [d, H·D] */
    sf_tensor q_bias, k_bias, v_bias;
    sf_tensor q_norm, k_norm;             /* [D]: Qwen3, Gemma 3 */
    sf_tensor post_attention_norm;        /* Gemma 3: on the attention output, before it is added */
    sf_tensor mlp_norm, gate, up, down;   /* gate, up [mlp, d], down [d, mlp] */
    sf_tensor post_mlp_norm;              /* Gemma 3 */
    sf_tensor o_bias, gate_bias, up_bias, down_bias;
    sf_tensor attention_norm_bias, mlp_norm_bias; /* [d]: StarCoder 2 */
    sf_tensor sinks;                      /* [H] */
    sf_tensor scale_beta, scale_gamma;    /* [H, d]: ASEntmax */
    sf_tensor router, router_bias, router_correction; /* [E, d], [E], [E] */
    sf_tensor shared_gate, shared_up, shared_down, shared_switch; /* as gate, up, down, of shared_mlp; [1, d] */
    sf_tensor q_down, q_down_norm, q_down_bias; /* [ql, d], [ql]: latent attention, where queries go through one; q is [.., ql] then */
    sf_tensor latent, latent_norm, latent_bias; /* [r, d], [r] */
    sf_tensor rotated, rotated_bias;      /* [R, d]: the part of keys that all heads share */
    sf_tensor mixer_by, mixer_in, mixer_gate, mixer_out; /* of recurrent layers: see mixer.h */
    sf_tensor convolution;                /* [channels, K] */
    sf_tensor decay_in, beta_in, decay_rate, decay_shift, mixer_norm; /* of a gated delta rule: [Hv, d] twice, [Hv] twice, [Dv] */
    sf_tensor convolution_bias, skip;     /* of a state space: [channels], [Hv]; its steps are decay_in's, its mixer_norm [Hv · Dv] */
    sf_tensor attention_gate, attention_gate_bias; /* [H·D, d], [H·D] */
    sf_tensor router_norm, expert_scale, post_whole_norm, experts_norm, post_experts_norm; /* of experts beside an MLP: [d], [E], [d] thrice */
    sf_tensor layer_gate, layer_out, layer_norm, layer_scale; /* of a token's embedding for the layer: [P, d], [d, P], [d]; [1] */
    sf_tensor curve[4];                   /* [1] each: the numbers of xIELU, as sf_curve has them but for their softplus */
} sf_layer_weights;

/* The matrices of an expert, and their biases; those of a layer lie side by side, expert by expert. */
typedef enum sf_expert_part {
    SF_EXPERT_GATE, SF_EXPERT_UP, SF_EXPERT_DOWN, SF_EXPERT_GATE_BIAS, SF_EXPERT_UP_BIAS, SF_EXPERT_DOWN_BIAS, SF_EXPERT_PARTS
} sf_expert_part;

/* What latent attention has for each head: of the key, transposed, so that it takes a query to the latent's side, and of the value. */
typedef enum sf_head_part { SF_HEAD_KEY /* [r, own] */, SF_HEAD_VALUE /* [value, r] */, SF_HEAD_PARTS } sf_head_part;

typedef struct sf_weights {
    sf_tensor embedding;                  /* [vocab, d] */
    sf_tensor head;                       /* [vocab, d]; equal to embedding when tied */
    sf_tensor final_norm, final_norm_bias; /* [d] */
    sf_tensor layer_table, layer_in, layer_in_norm; /* what tokens' embeddings for each layer are made of: [layer_vocab, layers · P], [layers · P, d], [P] */
    sf_layer_weights *layer;              /* [layers] */
    sf_tensor *expert;                    /* [layers, SF_EXPERT_PARTS, E]; NULL without experts */
    sf_tensor *head_part;                 /* [layers, SF_HEAD_PARTS, H]; NULL where keys and values are stored */
} sf_weights;

/* [E] of one part of a layer. */
static inline sf_tensor *sf_expert_tensors(const sf_model_config *c, const sf_weights *w, int layer, sf_expert_part part)
{
    return w->expert + ((int64_t)layer * SF_EXPERT_PARTS + part) * c->router.experts;
}

/* [H] of one part of a layer. */
static inline sf_tensor *sf_head_tensors(const sf_model_config *c, const sf_weights *w, int layer, sf_head_part part)
{
    return w->head_part + ((int64_t)layer * SF_HEAD_PARTS + part) * c->heads;
}

struct sf_tokenizer;
struct sf_chat;
struct sf_mapping;

typedef struct sf_model {
    sf_model_config config;
    sf_weights weights;                   /* host memory: mapped files or random; data NULL in a shape-only model */
    struct sf_tokenizer *tokenizer;       /* NULL in a shape-only model */
    struct sf_chat_files *chat_files;     /* what the files say about conversations; NULL in a shape-only model */
    struct sf_chat *chat;                 /* NULL: the files bring no template that is understood; see no_chat */
    char *no_chat;                        /* chat == NULL: the message for whoever needs one, it says what to do */
    int32_t bos, stop[SF_MAX_STOPS];      /* bos: that an input should begin with; < 0: with none */
    int stops;
    char hash[33];                        /* of all that can change its output (open.c), in hex; in every cell's key */
    size_t weight_bytes;                  /* in the files' dtypes */
    struct sf_mapping *mapping;           /* [mappings] what the weights point into, closed by sf_model_close() */
    int mappings;
    sf_doubts doubts;                     /* what was read without being sure that it was meant so */
} sf_model;

/* Opens `path`: a .gguf file or a folder with a single one, a Hugging Face folder, or a shape (.yaml). Loading is lazy:
 * weights are mapped, not read. Errors name file, tensor or key, expected and found. */
sf_status sf_model_open(const char *path, sf_model **out);
/* Only what reads and writes text: config, tokenizer, chat template, stop tokens. A folder needs no weights, and they are
 * not looked at; the hash covers tokenizer and template. */
sf_status sf_model_open_text(const char *path, sf_model **out);
/* Chooses how the model's prompts are made: `options` of a config (chat.h), NULL: as its files say, which opening has
 * tried; where they do not, no_chat says why. Folds into the hash what changes prompts. Once a model, before it is used. */
sf_status sf_model_chat(sf_model *model, const char *options);
/* Dual Chunk Attention (An et al. 2024, arXiv 2402.17463): keys of another chunk are seen at their place in it, from no farther
 * than the cap, so that inputs of any length stay within the positions that the model was trained at; attention within so
 * many is as it was. chunk 0: as the paper has it, chunks of 3/4 of the trained positions and the last of them as cap. YaRN
 * by rule is left out. Without the paper's successor's temperature (2501.15383). Folds into the hash. Once a model. */
sf_status sf_model_dual_chunks(sf_model *model, sf_reach asked);
void sf_model_close(sf_model *model);     /* accepts NULL and half-opened ones */

/* A shape (configs/models/NAME.yaml) alone. */
sf_status sf_shape_open(const char *yaml, sf_model_config *out);

/* Fills the weights with seeded random numbers of sane scale (bf16), for cost, speed and memory work. */
sf_status sf_model_random(const sf_model_config *config, uint64_t seed, sf_model **out);
/* The same where memory is dear: tensors of a kind lie over each other, shifted, so that a model takes the host no more than its
 * largest tensors do. For speed alone. */
sf_status sf_model_random_overlaid(const sf_model_config *config, uint64_t seed, sf_model **out);

/* Checks that every weight that the config calls for is there with the right shape. `where` names the file. */
sf_status sf_model_validate(const sf_model *model, const char *where);

#endif
