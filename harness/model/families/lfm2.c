/* LFM2 and LFM2-MoE. Liquid AI 2025, arXiv 2511.23404; transformers 5: models/lfm2, models/lfm2_moe. Short convolutions, and attention
 * in some layers; the mixtures' experts are chosen by sigmoids, most of them with a correction, behind a few dense layers. */
#include "harness/model/family.h"

#include <limits.h>
#include <string.h>

/* Two thirds of what the file says, times a factor, rounded up to a multiple, each step to whole numbers. */
static sf_status read_mlp(sf_json_at at, sf_model_config *c)
{
    bool adjusts = true;
    int64_t mlp = c->mlp, multiple = 256;
    double factor = 1;
    SF_TRY(sf_json_int(at, "block_ff_dim", false, 1, 1 << 24, &mlp));
    SF_TRY(sf_json_bool(at, "block_auto_adjust_ff_dim", true, &adjusts));
    SF_TRY(sf_json_int(at, "block_multiple_of", true, 1, 1 << 20, &multiple));
    if (sf_json_value(at, "block_ffn_dim_multiplier")) SF_TRY(sf_json_real(at, "block_ffn_dim_multiplier", true, 1e-3, 1e3, &factor));
    if (adjusts) {
        mlp = (int64_t)(factor * (double)(2 * mlp / 3));
        mlp = (mlp + multiple - 1) / multiple * multiple;
    }
    if (mlp < 1 || mlp > INT_MAX) return sf_json_fail(SF_BAD_INPUT, at, "intermediate_size", "a size that leaves an MLP");
    c->mlp = (int)mlp;
    return SF_OK;
}

static sf_status read_convolution(sf_json_at at, sf_model_config *c)
{
    int64_t kernel = 3;
    bool bias = false;
    if (!sf_json_value(at, "layer_types")) SF_TRY(sf_family_attending(at, "full_attn_idxs", c)); /* in older files; without either, all do */
    SF_TRY(sf_json_bool(at, "tie_embedding", false, &c->tied));
    SF_TRY(sf_json_int(at, "conv_L_cache", true, 1, SF_MAX_KERNEL, &kernel));
    SF_TRY(sf_json_bool(at, "conv_bias", true, &bias));
    if (bias) return sf_json_fail(SF_UNSUPPORTED, at, "conv_bias", "false");
    c->kernel = memchr(c->recurs, 1, (size_t)c->layers) ? (int)kernel : 0;
    c->mixer = SF_SHORT_CONVOLUTION;
    return SF_OK;
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(read_convolution(at, c));
    return read_mlp(at, c);
}

static sf_status read_moe(sf_json_at at, sf_model_config *c)
{
    int64_t dense = 0;
    double scale = 1;
    SF_TRY(read_convolution(at, c));
    SF_TRY(sf_family_experts(at, c));
    SF_TRY(sf_json_int(at, "num_dense_layers", true, 0, c->layers, &dense));
    SF_TRY(sf_json_real(at, "routed_scaling_factor", true, 1e-6, 1e6, &scale));
    SF_TRY(sf_json_bool(at, "use_expert_bias", true, &c->router_correction));
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router.scale = (float)scale;
    for (int64_t l = 0; l < dense; l++) c->whole_mlp[l] = 1;
    return SF_OK;
}

/* Layers without heads for keys are told apart already. */
static sf_status read_gguf_convolution(const sf_gguf *g, const char *architecture, sf_model_config *c)
{
    int kernel = 0;
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "shortconv.l_cache"), true, 1, SF_MAX_KERNEL, &kernel));
    c->kernel = memchr(c->recurs, 1, (size_t)c->layers) ? kernel : 0;
    c->mixer = SF_SHORT_CONVOLUTION;
    return SF_OK;
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c) { return read_gguf_convolution(g, "lfm2", c); }

static sf_status read_gguf_moe(const sf_gguf *g, sf_model_config *c)
{
    enum { SIGMOID = 2 };
    int gate = SIGMOID, dense = 0;
    double scale = 1;
    SF_TRY(read_gguf_convolution(g, "lfm2moe", c));
    SF_TRY(sf_gguf_int(g, "lfm2moe.expert_gating_func", true, SIGMOID, SIGMOID, &gate));
    SF_TRY(sf_gguf_int(g, "lfm2moe.leading_dense_block_count", true, 0, c->layers, &dense));
    SF_TRY(sf_gguf_real(g, "lfm2moe.expert_weights_scale", false, 1e-6, 1e6, &scale));
    SF_TRY(sf_family_gguf_experts(g, "lfm2moe", c));
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router.scale = (float)scale;
    c->router_correction = true;
    for (int l = 0; l < dense; l++) c->whole_mlp[l] = 1;
    return SF_OK;
}

static const sf_tensor_name TENSORS[] = {
    {SF_LAYER_TENSOR(attention_norm), .hf = "operator_norm.weight"},
    {SF_LAYER_TENSOR(o), .hf = "self_attn.out_proj.weight"},
    {SF_LAYER_TENSOR(q_norm), .hf = "self_attn.q_layernorm.weight"},
    {SF_LAYER_TENSOR(k_norm), .hf = "self_attn.k_layernorm.weight"},
    {SF_LAYER_TENSOR(mlp_norm), .hf = "ffn_norm.weight"},
    {SF_LAYER_TENSOR(gate), .hf = "feed_forward.w1.weight"},
    {SF_LAYER_TENSOR(up), .hf = "feed_forward.w3.weight"},
    {SF_LAYER_TENSOR(down), .hf = "feed_forward.w2.weight"},
    {SF_LAYER_TENSOR(router), .hf = "feed_forward.gate.weight"},
    {SF_LAYER_TENSOR(router_correction), .hf = "feed_forward.expert_bias"},
    {SF_LAYER_TENSOR(mixer_by), .hf = "conv.in_proj.weight", .gguf = "shortconv.in_proj.weight"},
    {SF_LAYER_TENSOR(mixer_gate), .hf = "conv.in_proj.weight", .gguf = "shortconv.in_proj.weight"},
    {SF_LAYER_TENSOR(mixer_in), .hf = "conv.in_proj.weight", .gguf = "shortconv.in_proj.weight"},
    {SF_LAYER_TENSOR(mixer_out), .hf = "conv.out_proj.weight", .gguf = "shortconv.out_proj.weight"},
    {SF_LAYER_TENSOR(convolution), .hf = "conv.conv.weight", .gguf = "shortconv.conv.weight"},
    {0}};

const sf_family sf_family_lfm2 = {
    .name = "lfm2",
    .qk_norm = true,

    .model_type = {"lfm2"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 128000, "norm_eps": 1e-5, "tie_word_embeddings": true,
                         "intermediate_size": 12288, "num_key_value_heads": 8, "conv_bias": false, "conv_L_cache": 3,
                         "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": true}),
    .theta = 1e6,
    .norm_eps_key = "norm_eps",
    .layer_types = true,
    .recurrent_type = "conv",
    .final_norm = "embedding_norm.weight",
    .read = read,

    .gguf = "lfm2",
    .gguf_final_norm = "token_embd_norm.weight",
    .read_gguf = read_gguf,
    .tensor = TENSORS,
};

const sf_family sf_family_lfm2_moe = {
    .name = "lfm2_moe",
    .qk_norm = true,

    .model_type = {"lfm2_moe"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 128000, "norm_eps": 1e-5, "tie_word_embeddings": true,
                         "intermediate_size": 7168, "moe_intermediate_size": 1792, "num_key_value_heads": 8, "conv_bias": false,
                         "conv_L_cache": 3, "num_dense_layers": 2, "num_experts_per_tok": 4, "num_experts": 32,
                         "use_expert_bias": true, "routed_scaling_factor": 1.0, "norm_topk_prob": true}),
    .theta = 1e6,
    .norm_eps_key = "norm_eps",
    .layer_types = true,
    .recurrent_type = "conv",
    .final_norm = "embedding_norm.weight",
    .read = read_moe,

    .gguf = "lfm2moe",
    .gguf_final_norm = "token_embd_norm.weight",
    .read_gguf = read_gguf_moe,
    .tensor = TENSORS,
    .expert = &(const sf_expert_names){{
        [SF_EXPERT_GATE] = "feed_forward.experts.%d.w1.weight",
        [SF_EXPERT_UP] = "feed_forward.experts.%d.w3.weight",
        [SF_EXPERT_DOWN] = "feed_forward.experts.%d.w2.weight"}},
};
