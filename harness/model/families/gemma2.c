/* Gemma 2. Gemma Team 2024, arXiv 2408.00118; transformers 5: models/gemma2. Every second layer slides; attention scores and
 * logits have caps. */
#include "harness/model/family.h"

#include <limits.h>
#include <math.h>

static sf_status read(sf_json_at at, sf_model_config *c)
{
    double scalar = 0, scores = 0, logits = 0;
    SF_TRY(sf_json_real(at, "query_pre_attn_scalar", true, 1e-3, 1e6, &scalar));
    SF_TRY(sf_json_real(at, "attn_logit_softcapping", false, 1e-3, 1e6, &scores));
    SF_TRY(sf_json_real(at, "final_logit_softcapping", false, 1e-3, 1e6, &logits));
    c->attention_scale = (float)(1 / sqrt(scalar));
    c->attention_softcap = (float)scores;
    c->logit_softcap = (float)logits;
    return SF_OK;
}

enum { LAYERS_OF_27B = 46 };

/* Its files say neither which layers slide nor the scale of attention. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    double scores = 50, logits = 30;
    SF_TRY(sf_gguf_int(g, "gemma2.attention.sliding_window", true, 1, INT_MAX, &c->window));
    SF_TRY(sf_gguf_real(g, "gemma2.attn_logit_softcapping", false, 1e-3, 1e6, &scores));
    SF_TRY(sf_gguf_real(g, "gemma2.final_logit_softcapping", false, 1e-3, 1e6, &logits));
    for (int l = 0; l < c->layers; l++) c->sliding[l] = (l + 1) % 2 != 0;
    c->attention_scale = (float)(1 / sqrt(c->layers == LAYERS_OF_27B ? (double)c->d / c->heads : c->head_dim));
    c->attention_softcap = (float)scores;
    c->logit_softcap = (float)logits;
    return SF_OK;
}

const sf_family sf_family_gemma2 = {
    .name = "gemma2",
    .post_norms = true, .scaled_embedding = true, .norm_offset = 1, .activation = SF_GELU_TANH,

    .model_type = {"gemma2"},
    .defaults = SF_JSON({"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": true, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                         "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 2,
                         "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}),
    .theta = 10000,
    .activation_key = "hidden_activation",
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .refused = (const char *const[]){"attention_bias", "use_bidirectional_attention", NULL},
    .own = (const char *const[]){"query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping", NULL},
    .read = read,

    .gguf = "gemma2",
    .read_gguf = read_gguf,
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(mlp_norm), .hf = "pre_feedforward_layernorm.weight"},
        {0}},
};
