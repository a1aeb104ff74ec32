/* Nemotron-H, and Nemotron 3 with experts. NVIDIA 2025, arXiv 2504.03624; transformers 5.24: models/nemotron_h; llama.cpp:
 * conversion/nemotron.py at 003ebfc. Each layer is one thing alone behind a norm: a state space (Mamba 2), attention without positions, an
 * MLP without a gate, or a mixture of such MLPs beside one that all rows share. transformers lets no step of a state space be less than
 * time_step_min; llama.cpp has no such bound, and its files do not name one. */
#include "harness/model/family.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { SPACE = 'M', ATTENTION = '*', MLP = '-', EXPERTS = 'E' };

/* Whether a layer of this kind is known; it is then set. */
static bool set_layer(sf_model_config *c, int layer, char kind)
{
    c->recurs[layer] = kind == SPACE;
    c->idle[layer] = kind == MLP || kind == EXPERTS;
    c->bare[layer] = !c->idle[layer];
    c->whole_mlp[layer] = kind == MLP;
    return kind == SPACE || kind == ATTENTION || kind == MLP || kind == EXPERTS;
}

static char kind_of(const char *name)
{
    static const struct {
        const char *name;
        char kind;
    } KINDS[] = {{"linear_attention", SPACE}, {"mamba", SPACE},  {"full_attention", ATTENTION}, {"attention", ATTENTION},
                 {"mlp", MLP},                {"moe", EXPERTS}};
    for (size_t i = 0; name && i < sizeof KINDS / sizeof *KINDS; i++)
        if (strcmp(KINDS[i].name, name) == 0) return KINDS[i].kind;
    return 0;
}

static const char LIST[] = "layers_block_type", PATTERN[] = "hybrid_override_pattern";

static sf_status read_layers(sf_json_at at, sf_model_config *c, bool *mixes)
{
    const json_t *list = sf_json_value(at, LIST);
    const char *pattern = json_string_value(sf_json_value(at, PATTERN));
    if (!json_is_array(list) && !pattern) return sf_json_fail(SF_BAD_INPUT, at, LIST, "a list of layers");
    for (int l = 0; l < c->layers; l++) {
        const char kind = json_is_array(list) ? kind_of(json_string_value(json_array_get(list, (size_t)l))) : pattern[l];
        if (!set_layer(c, l, kind))
            return json_is_array(list) ? sf_json_fail(SF_UNSUPPORTED, at, LIST, "only linear_attention, full_attention, mlp and moe")
                                       : sf_json_fail(SF_UNSUPPORTED, at, PATTERN, "only M, *, - and E");
        *mixes |= kind == EXPERTS;
    }
    return SF_OK;
}

static sf_status read_experts(sf_json_at at, sf_model_config *c)
{
    int64_t shared = 0, latent = 0;
    uint8_t whole[SF_MAX_LAYERS];
    SF_TRY(sf_json_int(at, "moe_latent_size", false, 1, 1 << 24, &latent));
    if (latent) return sf_json_fail(SF_UNSUPPORTED, at, "moe_latent_size", "none: experts that read less than the hidden state are not computed here;");
    if (c->mlp_bias) return sf_json_fail(SF_UNSUPPORTED, at, "mlp_bias", "false, since there are experts");
    memcpy(whole, c->whole_mlp, sizeof whole);
    SF_TRY(sf_family_deepseek_experts(at, c));
    memcpy(c->whole_mlp, whole, sizeof whole);
    SF_TRY(sf_json_int(at, "moe_shared_expert_intermediate_size", true, 1, 1 << 24, &shared));
    c->shared_mlp = (int)shared;
    return SF_OK;
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    static const sf_space_keys KEYS = {.heads = "mamba_num_heads", .groups = "n_groups", .states = "ssm_state_size", .kernel = "conv_kernel",
                                       .dim = "mamba_head_dim", .bias = "use_conv_bias"};
    const char *curve = NULL;
    bool mixes = false;
    double least = 0;
    SF_TRY(sf_json_text(at, "mamba_hidden_act", true, &curve));
    if (strcmp(curve, "silu") != 0) return sf_json_fail(SF_UNSUPPORTED, at, "mamba_hidden_act", "silu");
    SF_TRY(read_layers(at, c, &mixes));
    memset(c->unrotated, 1, (size_t)c->layers);
    SF_TRY(sf_json_bool(at, "mlp_bias", false, &c->mlp_bias));
    SF_TRY(sf_family_state_space_named(at, &KEYS, c));
    SF_TRY(sf_json_real(at, "time_step_min", true, 0, 1e3, &least));
    c->delta.least = c->kernel ? (float)least : 0;
    return mixes ? read_experts(at, c) : SF_OK;
}

/* A layer without heads for keys has an MLP, where that has a size, or recurs. */
static sf_status read_gguf_layers(const sf_gguf *g, const char *architecture, char mlp, sf_model_config *c)
{
    int each[SF_MAX_LAYERS];
    SF_TRY(sf_gguf_ints(g, sf_gguf_key_of(architecture, "feed_forward_length"), c->layers, 0, 1 << 24, each));
    for (int l = 0; l < c->layers; l++) {
        if (!c->recurs[l] && each[l])
            return sf_fail(SF_UNSUPPORTED, "%s: key %s: layer %d attends: expected 0, found %d", g->path, sf_gguf_key_of(architecture, "feed_forward_length"),
                           l, each[l]);
        (void)set_layer(c, l, each[l] ? mlp : c->recurs[l] ? SPACE : ATTENTION);
        if (each[l]) c->mlp = each[l];
        char bias[48];
        snprintf(bias, sizeof bias, "blk.%d.ffn_up.bias", l);
        c->mlp_bias |= sf_gguf_find_tensor(g, bias) != NULL;
    }
    memset(c->unrotated, 1, (size_t)c->layers);
    return sf_family_gguf_state_space(g, architecture, c);
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    c->mlp = 1;
    return read_gguf_layers(g, "nemotron_h", MLP, c);
}

static sf_status read_gguf_moe(const sf_gguf *g, sf_model_config *c)
{
    int groups = 1, latent = 0;
    double scale = 1;
    bool normalized = true;
    SF_TRY(sf_gguf_int(g, "nemotron_h_moe.moe_latent_size", false, 0, 1 << 24, &latent));
    if (latent)
        return sf_fail(SF_UNSUPPORTED, "%s: key nemotron_h_moe.moe_latent_size: expected none, found %d: experts that read less than the hidden state are"
                       " not computed here", g->path, latent);
    SF_TRY(sf_gguf_int(g, "nemotron_h_moe.expert_group_count", false, 0, SF_MOST_GROUPS, &groups));
    if (groups > 1)
        return sf_fail(SF_UNSUPPORTED, "%s: key nemotron_h_moe.expert_group_count: expected 1, since no file says how many are used, found %d", g->path, groups);
    SF_TRY(read_gguf_layers(g, "nemotron_h_moe", EXPERTS, c));
    SF_TRY(sf_gguf_real(g, "nemotron_h_moe.expert_weights_scale", false, 1e-6, 1e6, &scale));
    SF_TRY(sf_gguf_bool(g, "nemotron_h_moe.expert_weights_norm", &normalized));
    SF_TRY(sf_gguf_int(g, "nemotron_h_moe.expert_shared_feed_forward_length", true, 1, 1 << 24, &c->shared_mlp));
    SF_TRY(sf_family_gguf_experts(g, "nemotron_h_moe", c));
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router.scale = (float)scale;
    c->router.normalize = normalized;
    c->router_correction = true;
    return SF_OK;
}

static const sf_tensor_name NAMES[] = {
    {SF_LAYER_TENSOR(attention_norm), .hf = "norm.weight"},
    {SF_LAYER_TENSOR(mlp_norm), .hf = "norm.weight", .gguf = "attn_norm.weight"},
    {SF_LAYER_TENSOR(mixer_gate), .hf = "mixer.in_proj.weight", .gguf = "ssm_in.weight"},
    {SF_LAYER_TENSOR(mixer_in), .hf = "mixer.in_proj.weight", .gguf = "ssm_in.weight"},
    {SF_LAYER_TENSOR(decay_in), .hf = "mixer.in_proj.weight", .gguf = "ssm_in.weight"},
    {SF_LAYER_TENSOR(mixer_out), .hf = "mixer.out_proj.weight"},
    {SF_LAYER_TENSOR(decay_rate), .hf = "mixer.A_log"},
    {SF_LAYER_TENSOR(decay_shift), .hf = "mixer.dt_bias"},
    {SF_LAYER_TENSOR(convolution), .hf = "mixer.conv1d.weight"},
    {SF_LAYER_TENSOR(convolution_bias), .hf = "mixer.conv1d.bias"},
    {SF_LAYER_TENSOR(mixer_norm), .hf = "mixer.norm.weight"},
    {SF_LAYER_TENSOR(skip), .hf = "mixer.D"},
    {SF_LAYER_TENSOR(q), .hf = "mixer.q_proj.weight"},
    {SF_LAYER_TENSOR(k), .hf = "mixer.k_proj.weight"},
    {SF_LAYER_TENSOR(v), .hf = "mixer.v_proj.weight"},
    {SF_LAYER_TENSOR(o), .hf = "mixer.o_proj.weight"},
    {SF_LAYER_TENSOR(up), .hf = "mixer.up_proj.weight"},
    {SF_LAYER_TENSOR(down), .hf = "mixer.down_proj.weight"},
    {SF_LAYER_TENSOR(up_bias), .hf = "mixer.up_proj.bias"},
    {SF_LAYER_TENSOR(down_bias), .hf = "mixer.down_proj.bias"},
    {SF_LAYER_TENSOR(router), .hf = "mixer.gate.weight"},
    {SF_LAYER_TENSOR(router_correction), .hf = "mixer.gate.e_score_correction_bias"},
    {SF_LAYER_TENSOR(shared_up), .hf = "mixer.shared_experts.up_proj.weight"},
    {SF_LAYER_TENSOR(shared_down), .hf = "mixer.shared_experts.down_proj.weight"},
    {0}};

const sf_family sf_family_nemotron_h = {
    .name = "nemotron_h",
    .gateless = true, .activation = SF_RELU2,

    .model_type = {"nemotron_h"},
    .defaults = SF_JSON({"mlp_hidden_act": "relu2", "mamba_hidden_act": "silu", "max_position_embeddings": 4096, "layer_norm_epsilon": 1e-5,
                         "tie_word_embeddings": false, "vocab_size": 131072, "hidden_size": 4096, "intermediate_size": 21504,
                         "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "ssm_state_size": 128, "mamba_num_heads": 128,
                         "mamba_head_dim": 64, "n_groups": 8, "conv_kernel": 4, "use_conv_bias": true, "mamba_proj_bias": false,
                         "time_step_min": 0.001, "n_routed_experts": 8, "n_shared_experts": 1, "moe_intermediate_size": 7688,
                         "moe_shared_expert_intermediate_size": 7688, "num_experts_per_tok": 2, "routed_scaling_factor": 1.0, "n_group": 1,
                         "topk_group": 1, "norm_topk_prob": true, "first_k_dense_replace": 0}),
    .theta = 10000,
    .activation_key = "mlp_hidden_act",
    .norm_eps_key = "layer_norm_epsilon",
    .recurrent_type = "linear_attention",
    .final_norm = "norm_f.weight",
    .embedding = "embeddings.weight",
    .layers_key = {LIST, PATTERN},
    .predicts_further = true,
    .refused = (const char *const[]){"use_bias", NULL},
    .own = (const char *const[]){"mlp_bias", NULL},
    .read = read,

    .gguf = "nemotron_h",
    .gguf_by_layer = true,
    .read_gguf = read_gguf,
    .tensor = NAMES,
    .expert = &(const sf_expert_names){{
        [SF_EXPERT_UP] = "mixer.experts.%d.up_proj.weight", [SF_EXPERT_DOWN] = "mixer.experts.%d.down_proj.weight"}},
};

/* Files of llama.cpp with experts; folders with experts are the former's. */
const sf_family sf_family_nemotron_h_moe = {
    .name = "nemotron_h_moe",
    .gateless = true, .activation = SF_RELU2,
    .predicts_further = true,
    .theta = 10000,
    .recurrent_type = "linear_attention",

    .gguf = "nemotron_h_moe",
    .gguf_by_layer = true,
    .read_gguf = read_gguf_moe,
    .tensor = NAMES,
};
