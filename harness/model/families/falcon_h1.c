/* Falcon-H1. Zuo et al. 2025, arXiv 2507.22448; transformers 5: models/falcon_h1. A state space (Mamba 2) and attention side by side in
 * every layer, and multipliers of what was trained at another width on almost everything; GGUF's files have them in their weights. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

#include <math.h>
#include <string.h>

static sf_status read_factor(sf_json_at at, const char *key, double *out)
{
    *out = 1;
    return sf_json_real(at, key, false, 1e-9, 1e9, out);
}

/* A list of n; without it, ones. */
static sf_status read_factors(sf_json_at at, const char *key, size_t n, double *out)
{
    const json_t *list = sf_json_value(at, key);
    for (size_t i = 0; i < n; i++) {
        out[i] = list ? json_number_value(json_array_get(list, i)) : 1;
        if (!(out[i] > 0) || (list && json_array_size(list) != n))
            return sf_json_fail(SF_BAD_INPUT, at, key, n == 2 ? "a list of 2 numbers above 0" : "a list of 5 numbers above 0");
    }
    return SF_OK;
}

/* A key counts what its input does and its own, a score what query and key do; SiLU(m z) is m times z σ(m z), and that m is behind the
 * product, where a branch's own is too. */
static sf_status read_multipliers(sf_json_at at, sf_model_config *c)
{
    double embedding, head, key, in, out, ssm_in, ssm_out, ssm[5], mlp[2];
    SF_TRY(read_factor(at, "embedding_multiplier", &embedding));
    SF_TRY(read_factor(at, "lm_head_multiplier", &head));
    SF_TRY(read_factor(at, "key_multiplier", &key));
    SF_TRY(read_factor(at, "attention_in_multiplier", &in));
    SF_TRY(read_factor(at, "attention_out_multiplier", &out));
    SF_TRY(read_factor(at, "ssm_in_multiplier", &ssm_in));
    SF_TRY(read_factor(at, "ssm_out_multiplier", &ssm_out));
    SF_TRY(read_factors(at, "ssm_multipliers", 5, ssm));
    SF_TRY(read_factors(at, "mlp_multipliers", 2, mlp));
    if (c->qkv_bias && in != 1) return sf_json_fail(SF_UNSUPPORTED, at, "attention_in_multiplier", "1 beside attention_bias, which it leaves as it is");
    c->embed_scale = (float)embedding;
    c->logit_scale = (float)head;
    c->attention_scale = (float)(in * in * key / sqrt(c->head_dim));
    c->multipliers = (sf_multipliers){
        .mixer_gate = (float)(ssm_in * ssm[0]), .mlp_gate = (float)mlp[0], .step = (float)(ssm_in * ssm[4]),
        .convolution = {(float)(ssm_in * ssm[1]), (float)(ssm_in * ssm[2]), (float)(ssm_in * ssm[3])},
        .attention = (float)(in * out), .mixer = (float)(ssm_out * ssm_in * ssm[0]), .mlp = (float)(mlp[0] * mlp[1])};
    return SF_OK;
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    bool norm = false, projectors = false;
    SF_TRY(sf_json_bool(at, "projectors_bias", false, &projectors));
    if (projectors) return sf_json_fail(SF_UNSUPPORTED, at, "projectors_bias", "false");
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    SF_TRY(sf_json_bool(at, "mamba_rms_norm", false, &norm));
    if (norm) return sf_json_fail(SF_UNSUPPORTED, at, "mamba_rms_norm", "false");
    memset(c->recurs, 1, (size_t)c->layers);
    c->mixer_beside = c->no_mixer_norm = true;
    SF_TRY(sf_family_state_space(at, c));
    return read_multipliers(at, c);
}

const sf_family sf_family_falcon_h1 = {
    .name = "falcon_h1",

    .model_type = {"falcon_h1"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
                         "intermediate_size": 14336, "num_key_value_heads": 8, "mamba_d_ssm": 1024, "mamba_n_heads": 128,
                         "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_head": "auto", "mamba_d_conv": 4, "mamba_expand": 2,
                         "mamba_conv_bias": true, "mamba_proj_bias": false}),
    .theta = 10000,
    .final_norm = "final_layernorm.weight",
    .refused = (const char *const[]){"mlp_bias", NULL},
    .own = (const char *const[]){"attention_bias", "embedding_multiplier", NULL},
    .unpack = sf_unpack_falcon_h1,
    .read = read,

    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(convolution), .hf = "mamba.conv1d.scaled"},
        SF_STATE_SPACE_TENSORS,
        {SF_LAYER_TENSOR(mlp_norm), .hf = "pre_ff_layernorm.weight"},
        {SF_LAYER_TENSOR(gate), .hf = "feed_forward.gate_proj.weight"},
        {SF_LAYER_TENSOR(up), .hf = "feed_forward.up_proj.weight"},
        {SF_LAYER_TENSOR(down), .hf = "feed_forward.down_proj.weight"},
        {0}},
};
