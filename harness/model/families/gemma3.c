/* Gemma 3, text. Gemma Team 2025, arXiv 2503.19786; transformers 5: models/gemma3; llama.cpp: llm_build_gemma3.
 *
 * Five layers of six slide and turn by a base of their own. The norm before the MLP is called "pre_feedforward", and
 * the norm after attention has the name that Llama gives to the one before its MLP. */
#include "harness/model/family.h"

#include <limits.h>
#include <math.h>

enum { EVERY = 6, LAYERS_OF_27B = 62 };

static sf_status read(sf_json_at at, sf_model_config *c)
{
    double scalar = 0;
    SF_TRY(sf_json_real(at, "query_pre_attn_scalar", true, 1e-3, 1e6, &scalar));
    c->attention_scale = (float)(1 / sqrt(scalar));
    return SF_OK;
}

/* Its files say neither which layers slide nor the scale of attention, and their norms have the one added. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    int every = EVERY;
    SF_TRY(sf_gguf_int(g, "gemma3.attention.sliding_window", true, 1, INT_MAX, &c->window));
    SF_TRY(sf_gguf_int(g, "gemma3.attention.sliding_window_pattern", false, 2, SF_MAX_LAYERS, &every));
    for (int l = 0; l < c->layers; l++) c->sliding[l] = (l + 1) % every != 0;
    c->attention_scale = (float)(1 / sqrt(c->layers == LAYERS_OF_27B ? (double)c->d / c->heads : c->head_dim));
    return SF_OK;
}

const sf_family sf_family_gemma3 = {
    .name = "gemma3",
    .qk_norm = true, .post_norms = true, .scaled_embedding = true, .norm_offset = 1, .activation = SF_GELU_TANH,

    .model_type = {"gemma3_text"},
    .wrapper = "gemma3",
    .defaults = SF_JSON({"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072,
                         "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "vocab_size": 262208,
                         "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                         "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6}),
    .theta = 1e6, .local_theta = 1e4,
    .activation_key = "hidden_activation",
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .refused = (const char *const[]){"attention_bias", "use_bidirectional_attention", "final_logit_softcapping",
                                     "attn_logit_softcapping", NULL},
    .own = (const char *const[]){"query_pre_attn_scalar", NULL},
    .read = read,

    .gguf = "gemma3",
    .read_gguf = read_gguf,

    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(mlp_norm), .hf = "pre_feedforward_layernorm.weight"},
        {0}},
};
