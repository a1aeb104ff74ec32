/* gpt-oss. OpenAI 2025, arXiv 2508.10925; transformers 5: models/gpt_oss. Every second layer slides; each head has a learned sink in
 * its softmax; experts with biases and a clamped gate, in MXFP4 as published. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

#include <limits.h>

static sf_status read(sf_json_at at, sf_model_config *c)
{
    double alpha = 0, limit = 0;
    const json_t *positions = NULL;
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    /* What the class takes without either is of one size of the family. */
    if (!sf_json_value(at, "rope_scaling")) SF_TRY(sf_json_object(at, "rope_parameters", true, &positions));
    SF_TRY(sf_json_real(at, "swiglu_alpha", true, 1e-3, 1e3, &alpha));
    SF_TRY(sf_json_real(at, "swiglu_limit", true, 1e-3, 1e3, &limit));
    SF_TRY(sf_family_experts(at, c));
    c->activation = SF_CLAMPED;
    c->swiglu[0] = (float)alpha;
    c->swiglu[1] = (float)limit;
    c->router.kind = SF_ROUTE_CHOSEN;
    c->router.normalize = true;
    c->router_bias = c->expert_bias = c->sinks = true;
    return SF_OK;
}

/* What its files leave to the reader is alike in both sizes. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    SF_TRY(sf_family_gguf_experts(g, "gpt-oss", c));
    SF_TRY(sf_gguf_int(g, "gpt-oss.attention.sliding_window", true, 1, INT_MAX, &c->window));
    for (int l = 0; l < c->layers; l++) c->sliding[l] = l % 2 == 0;
    c->rope.between_pairs = c->rope_local.between_pairs = c->rope.scaling == SF_ROPE_YARN;
    c->activation = SF_CLAMPED;
    c->swiglu[0] = 1.702f;
    c->swiglu[1] = 7;
    c->router.kind = SF_ROUTE_CHOSEN;
    c->router_bias = c->expert_bias = c->sinks = true;
    return SF_OK;
}

const sf_family sf_family_gpt_oss = {
    .name = "gpt_oss",

    .model_type = {"gpt_oss"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128,
                         "sliding_window_pattern": 2, "num_experts_per_tok": 4, "swiglu_alpha": 1.702, "swiglu_limit": 7.0,
                         "attention_bias": true}),
    .theta = 150000,
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .packed = "mxfp4",
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,
    .unpack = sf_unpack_gpt_oss,

    .gguf = "gpt-oss",
    .read_gguf = read_gguf,
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(router), .hf = "mlp.router.weight"},
        {SF_LAYER_TENSOR(mlp_norm), .gguf = "post_attention_norm.weight"},
        {0}},
    .expert = &(const sf_expert_names){{
        [SF_EXPERT_GATE] = "mlp.experts.gate",
        [SF_EXPERT_UP] = "mlp.experts.up",
        [SF_EXPERT_DOWN] = "mlp.experts.down",
        [SF_EXPERT_GATE_BIAS] = "mlp.experts.gate_bias",
        [SF_EXPERT_UP_BIAS] = "mlp.experts.up_bias",
        [SF_EXPERT_DOWN_BIAS] = "mlp.experts.down_proj_bias"}},
};
