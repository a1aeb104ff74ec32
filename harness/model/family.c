#include "harness/model/family.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MODEL_TYPES = sizeof((sf_family *)0)->model_type / sizeof(char *), YARN_BETA_FAST = 32, YARN_BETA_SLOW = 1 };

static bool same(const char *a, const char *b) { return a && strcmp(a, b) == 0; }

const sf_family *sf_family_named(const char *name)
{
    for (int i = 0; sf_families[i]; i++) {
        if (same(sf_families[i]->name, name)) return sf_families[i];
    }
    return NULL;
}

const sf_family *sf_family_of_model_type(const char *type)
{
    for (int i = 0; sf_families[i]; i++) {
        for (int k = 0; k < MODEL_TYPES; k++) {
            if (same(sf_families[i]->model_type[k], type)) return sf_families[i];
        }
    }
    return NULL;
}

const sf_family *sf_family_of_wrapper(const char *type)
{
    for (int i = 0; sf_families[i]; i++) {
        if (same(sf_families[i]->wrapper, type)) return sf_families[i];
    }
    return NULL;
}

const sf_family *sf_family_of_architecture(const char *gguf, bool experts)
{
    const sf_family *found = NULL;
    for (int i = 0; sf_families[i]; i++) {
        if (same(sf_families[i]->gguf, gguf) && (!found || sf_families[i]->gguf_experts == experts)) found = sf_families[i];
    }
    return found;
}

static void append(const char *name, size_t bytes, char *text)
{
    size_t used = strlen(text);
    if (name) snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", name);
}

const char *sf_family_list(sf_family_source source, size_t bytes, char *text)
{
    *text = '\0';
    for (int i = 0; sf_families[i]; i++) {
        const sf_family *f = sf_families[i];
        if (source == SF_IN_SHAPES) append(f->name, bytes, text);
        if (source == SF_IN_GGUF && !f->gguf_experts) append(f->gguf, bytes, text);
        if (source != SF_IN_JSON) continue;
        for (int k = 0; k < MODEL_TYPES; k++) append(f->model_type[k], bytes, text);
        append(f->wrapper, bytes, text);
    }
    return text;
}

const char *sf_family_lacks(const char *model_type)
{
    static const char SCALED[] = "latent attention (MLA) among scales of its own", ZEROS[] = "latent attention (MLA) twice a layer, and experts that do nothing",
                      INDEXED[] = "latent attention (MLA) behind an indexer (DSA)",
                      STATE[] = "state spaces of another kind than Mamba 2 beside attention and MLPs",
                      HALVES[] = "layers that are a state space alone",
                      STREAMS[] = "four residual streams (AltUp), and layers that take other layers' keys and values";
    static const struct {
        const char *model_type, *lacks;
    } ROWS[] = {
        {"minicpm3", SCALED},         {"longcat_flash", ZEROS},  {"deepseek_v32", INDEXED}, {"glm_moe_dsa", INDEXED},
        {"falcon_mamba", STATE},      {"mamba", STATE},          {"jamba", STATE},          {"zamba2", STATE},
        {"mamba2", HALVES},
        {"gemma3n", STREAMS},         {"gemma3n_text", STREAMS},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        if (strcmp(ROWS[i].model_type, model_type) == 0) return ROWS[i].lacks;
    return NULL;
}

const char *const sf_family_bias_keys[] = {"attention_bias", "mlp_bias", NULL};

sf_status sf_family_biases(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    SF_TRY(sf_json_bool(at, "mlp_bias", false, &c->mlp_bias));
    c->o_bias = c->qkv_bias;
    return SF_OK;
}

sf_status sf_family_listed_layers(sf_json_at at, const char *key, const sf_model_config *c, uint8_t *mark, uint8_t value)
{
    const json_t *listed = sf_json_value(at, key);
    if (listed && !json_is_array(listed)) return sf_json_fail(SF_BAD_INPUT, at, key, "a list of layers");
    for (size_t i = 0; listed && i < json_array_size(listed); i++) {
        const json_t *layer = json_array_get(listed, i);
        if (!json_is_integer(layer) || json_integer_value(layer) < 0 || json_integer_value(layer) >= c->layers)
            return sf_json_fail(SF_BAD_INPUT, at, key, "a list of layers");
        mark[json_integer_value(layer)] = value;
    }
    return SF_OK;
}

sf_status sf_family_rotated_layers(sf_json_at at, sf_model_config *c)
{
    int64_t every = 4;
    SF_TRY(sf_json_int(at, "no_rope_layer_interval", true, 1, SF_MAX_LAYERS, &every));
    const json_t *rotated = sf_json_value(at, "no_rope_layers");
    if (rotated && json_array_size(rotated) == 0) rotated = NULL; /* taken for none by transformers */
    if (rotated && json_array_size(rotated) != (size_t)c->layers)
        return sf_json_fail(SF_BAD_INPUT, at, "no_rope_layers", "a list of 0 and 1, one a layer");
    for (int l = 0; l < c->layers; l++) {
        bool turns = rotated ? json_integer_value(json_array_get(rotated, (size_t)l)) != 0 : (l + 1) % every != 0;
        c->unrotated[l] = !turns;
    }
    return SF_OK;
}

/* What mixtures have in common. Without a size of their own, experts have that of the MLP. */
static sf_status read_router(sf_json_at at, const char *experts, sf_model_config *c)
{
    sf_router *r = &c->router;
    int64_t all = 0, chosen = 0, mlp = c->mlp;
    SF_TRY(sf_json_int(at, experts, true, 1, SF_MOST_EXPERTS, &all));
    SF_TRY(sf_json_int(at, "num_experts_per_tok", true, 1, SF_MOST_EXPERTS, &chosen));
    SF_TRY(sf_json_int(at, "moe_intermediate_size", false, 1, 1 << 24, &mlp));
    SF_TRY(sf_json_bool(at, "norm_topk_prob", false, &r->normalize));
    *r = (sf_router){.experts = (int)all, .chosen = (int)chosen, .normalize = r->normalize, .scale = 1};
    c->expert_mlp = (int)mlp;
    return SF_OK;
}

sf_status sf_family_experts(sf_json_at at, sf_model_config *c)
{
    int64_t step = 1;
    SF_TRY(read_router(at, sf_json_value(at, "num_local_experts") ? "num_local_experts" : "num_experts", c));
    SF_TRY(sf_json_int(at, "decoder_sparse_step", false, 1, INT_MAX, &step));
    for (int l = 0; l < c->layers; l++) c->whole_mlp[l] = (l + 1) % step != 0;
    return sf_family_listed_layers(at, "mlp_only_layers", c, c->whole_mlp, 1);
}

sf_status sf_family_deepseek_experts(sf_json_at at, sf_model_config *c)
{
    int64_t shared = 0, dense = 0, groups = 1, best = 1, every = 1;
    double scale = 1;
    SF_TRY(read_router(at, "n_routed_experts", c));
    SF_TRY(sf_json_int(at, "n_shared_experts", true, 1, 1024, &shared));
    SF_TRY(sf_json_int(at, "first_k_dense_replace", true, 0, c->layers, &dense));
    SF_TRY(sf_json_int(at, "n_group", false, 1, SF_MOST_EXPERTS, &groups));
    SF_TRY(sf_json_int(at, "topk_group", false, 1, SF_MOST_EXPERTS, &best));
    SF_TRY(sf_json_real(at, "routed_scaling_factor", true, 1e-6, 1e6, &scale));
    SF_TRY(sf_json_int(at, "moe_layer_freq", false, 1, INT_MAX, &every));
    if (every != 1) return sf_json_fail(SF_UNSUPPORTED, at, "moe_layer_freq", "1");
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router.scale = (float)scale;
    c->router.groups = (int)groups;
    c->router.best_groups = (int)best;
    c->router.group_top = 2;
    c->router_correction = true;
    c->shared_mlp = (int)shared * c->expert_mlp;
    for (int64_t l = 0; l < dense; l++) c->whole_mlp[l] = 1;
    return SF_OK;
}

sf_status sf_family_gguf_experts(const sf_gguf *g, const char *architecture, sf_model_config *c)
{
    int all = 0, chosen = 0, mlp = c->mlp;
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "expert_count"), true, 1, SF_MOST_EXPERTS, &all));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "expert_used_count"), true, 1, SF_MOST_EXPERTS, &chosen));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "expert_feed_forward_length"), false, 1, 1 << 24, &mlp));
    c->router = (sf_router){.experts = all, .chosen = chosen, .normalize = true, .scale = 1};
    c->expert_mlp = mlp;
    return SF_OK;
}

sf_status sf_family_delta(sf_json_at at, sf_model_config *c)
{
    int64_t kernel = 0, every = 4;
    const struct {
        const char *key;
        int *to;
    } sizes[] = {{"linear_num_key_heads", &c->delta.key_heads}, {"linear_key_head_dim", &c->delta.key_dim},
                 {"linear_num_value_heads", &c->delta.value_heads}, {"linear_value_head_dim", &c->delta.value_dim}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t size = 0;
        SF_TRY(sf_json_int(at, sizes[i].key, true, 1, 1 << 12, &size));
        *sizes[i].to = (int)size;
    }
    SF_TRY(sf_json_int(at, "linear_conv_kernel_dim", true, 1, SF_MAX_KERNEL, &kernel));
    SF_TRY(sf_json_int(at, "full_attention_interval", true, 1, SF_MAX_LAYERS, &every));
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    for (int l = 0; !sf_json_value(at, "layer_types") && l < c->layers; l++) c->recurs[l] = (l + 1) % every != 0;
    c->o_bias = c->qkv_bias;
    c->attention_gate = true;
    c->mixer = SF_GATED_DELTA;
    c->kernel = memchr(c->recurs, 1, (size_t)c->layers) ? (int)kernel : 0;
    return SF_OK;
}

sf_status sf_family_delta_experts(sf_json_at at, sf_model_config *c)
{
    int64_t shared = 0;
    SF_TRY(sf_family_delta(at, c));
    SF_TRY(sf_json_int(at, "shared_expert_intermediate_size", true, 1, 1 << 24, &shared));
    c->shared_mlp = (int)shared;
    c->shared_switch = true;
    return sf_family_experts(at, c);
}

/* The heads of a delta rule or of a state space: llama.cpp calls a key's groups, a value's the rank of time steps. */
static sf_status read_gguf_heads(const sf_gguf *g, const char *architecture, int *kernel, sf_delta_shape *s)
{
    int inner = 0;
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "ssm.conv_kernel"), true, 1, SF_MAX_KERNEL, kernel));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "ssm.state_size"), true, 1, 1 << 12, &s->key_dim));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "ssm.group_count"), true, 1, 1 << 12, &s->key_heads));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "ssm.time_step_rank"), true, 1, 1 << 12, &s->value_heads));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "ssm.inner_size"), true, 1, 1 << 24, &inner));
    if (inner % s->value_heads != 0)
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected a multiple of %d heads, found %d", g->path, sf_gguf_key_of(architecture, "ssm.inner_size"),
                       s->value_heads, inner);
    s->value_dim = inner / s->value_heads;
    return SF_OK;
}

/* A layer recurs as a list says, or all but every n-th do. */
sf_status sf_family_gguf_delta(const sf_gguf *g, const char *architecture, sf_model_config *c)
{
    int kernel = 0, every = 4, experts = 0;
    bool recurs[SF_MAX_LAYERS] = {0};
    SF_TRY(read_gguf_heads(g, architecture, &kernel, &c->delta));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "full_attention_interval"), false, 1, SF_MAX_LAYERS, &every));
    for (int l = 0; l < c->layers; l++) recurs[l] = (l + 1) % every != 0;
    const char *list = sf_gguf_key_of(architecture, "attention.recurrent_layers");
    const sf_gguf_key *listed = sf_gguf_find(g, list); /* of layers behind the last too, where there are such */
    const uint64_t count = listed && listed->count > (uint64_t)c->layers && listed->count <= SF_MAX_LAYERS ? listed->count : (uint64_t)c->layers;
    if (listed) SF_TRY(sf_gguf_bools(g, list, (int)count, recurs));
    int attending = -1;
    for (int l = c->layers - 1; l >= 0; l--) {
        c->recurs[l] = recurs[l];
        if (!recurs[l]) attending = l;
    }
    char bias[48];
    snprintf(bias, sizeof bias, "blk.%d.attn_q.bias", attending);
    c->qkv_bias = sf_gguf_find_tensor(g, bias) != NULL;
    snprintf(bias, sizeof bias, "blk.%d.attn_output.bias", attending);
    c->o_bias = sf_gguf_find_tensor(g, bias) != NULL;
    c->attention_gate = true;
    c->mixer = SF_GATED_DELTA;
    c->kernel = memchr(c->recurs, 1, (size_t)c->layers) ? kernel : 0;
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "expert_count"), false, 0, SF_MOST_EXPERTS, &experts));
    if (experts == 0) return SF_OK;
    c->shared_switch = true;
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "expert_shared_feed_forward_length"), true, 1, 1 << 24, &c->shared_mlp));
    return sf_family_gguf_experts(g, architecture, c);
}

const sf_tensor_name sf_delta_tensors[] = {
    {SF_LAYER_TENSOR(mlp_norm), .gguf = "post_attention_norm.weight"},
    {SF_LAYER_TENSOR(shared_gate), .hf = "mlp.shared_expert.gate_proj.weight"},
    {SF_LAYER_TENSOR(shared_up), .hf = "mlp.shared_expert.up_proj.weight"},
    {SF_LAYER_TENSOR(shared_down), .hf = "mlp.shared_expert.down_proj.weight"},
    {0}};

sf_status sf_family_attending(sf_json_at at, const char *key, sf_model_config *c)
{
    if (!sf_json_value(at, key)) return SF_OK;
    memset(c->recurs, 1, (size_t)c->layers);
    return sf_family_listed_layers(at, key, c, c->recurs, 0);
}

/* [0, ∞], which transformers writes as {"__float__": "Infinity"}, is no limit. */
static sf_status check_steps(sf_json_at at)
{
    const json_t *limit = sf_json_value(at, "time_step_limit"), *most = json_array_get(limit, 1);
    const char *text = json_string_value(json_object_get(most, "__float__"));
    if (!limit || (json_array_size(limit) == 2 && json_number_value(json_array_get(limit, 0)) == 0 && text && strcmp(text, "Infinity") == 0)) return SF_OK;
    return sf_json_fail(SF_UNSUPPORTED, at, "time_step_limit", "none: steps from 0 to infinity");
}

static sf_status read_space(sf_json_at at, const sf_space_keys *k, sf_model_config *c)
{
    int64_t kernel = 0, heads = 0, groups = 0, dim = 0;
    bool bias = true, projections = false;
    SF_TRY(sf_json_int(at, k->heads, true, 1, 1 << 12, &heads));
    SF_TRY(sf_json_int(at, k->groups, true, 1, 1 << 12, &groups));
    SF_TRY(sf_json_int(at, k->states, true, 1, 1 << 12, &dim));
    SF_TRY(sf_json_int(at, k->kernel, true, 1, SF_MAX_KERNEL, &kernel));
    SF_TRY(sf_json_bool(at, k->bias, true, &bias));
    SF_TRY(sf_json_bool(at, "mamba_proj_bias", true, &projections));
    if (projections) return sf_json_fail(SF_UNSUPPORTED, at, "mamba_proj_bias", "false");
    SF_TRY(check_steps(at));
    c->mixer = SF_STATE_SPACE;
    c->delta = (sf_delta_shape){.key_heads = (int)groups, .key_dim = (int)dim, .value_heads = (int)heads};
    c->kernel = memchr(c->recurs, 1, (size_t)c->layers) ? (int)kernel : 0;
    c->convolution_bias = c->kernel && bias;
    return SF_OK;
}

sf_status sf_family_state_space_named(sf_json_at at, const sf_space_keys *keys, sf_model_config *c)
{
    int64_t dim = 0;
    SF_TRY(read_space(at, keys, c));
    SF_TRY(sf_json_int(at, keys->dim, true, 1, 1 << 12, &dim));
    c->delta.value_dim = (int)dim;
    return SF_OK;
}

sf_status sf_family_state_space(sf_json_at at, sf_model_config *c)
{
    static const sf_space_keys KEYS = {.heads = "mamba_n_heads", .groups = "mamba_n_groups", .states = "mamba_d_state", .kernel = "mamba_d_conv",
                                       .dim = "mamba_d_head", .bias = "mamba_conv_bias"};
    int64_t expand = 2, inner = 0, value = 0;
    const char *automatic = json_string_value(sf_json_value(at, KEYS.dim));
    SF_TRY(read_space(at, &KEYS, c));
    const int heads = c->delta.value_heads;
    SF_TRY(sf_json_int(at, "mamba_expand", true, 1, 1 << 12, &expand));
    inner = expand * c->d;
    SF_TRY(sf_json_int(at, "mamba_d_ssm", false, 1, 1 << 24, &inner));
    if (!same(automatic, "auto")) SF_TRY(sf_json_int(at, KEYS.dim, true, 1, 1 << 12, &value));
    else value = inner / heads;
    if (heads * value != inner)
        return sf_fail(SF_BAD_INPUT, "%s: %smamba_n_heads: expected heads that make %lld numbers together, found %d of %lld", at.path, at.above,
                       (long long)inner, heads, (long long)value);
    if (c->activation != SF_SILU) return sf_json_fail(SF_UNSUPPORTED, at, "hidden_act", "silu, which the convolution goes through too");
    c->delta.value_dim = (int)value;
    return SF_OK;
}

/* Layers without heads for keys are told apart already. */
sf_status sf_family_gguf_state_space(const sf_gguf *g, const char *architecture, sf_model_config *c)
{
    int kernel = 0;
    SF_TRY(read_gguf_heads(g, architecture, &kernel, &c->delta));
    c->mixer = SF_STATE_SPACE;
    for (int l = 0; l < c->layers; l++) {
        char bias[48];
        snprintf(bias, sizeof bias, "blk.%d.ssm_conv1d.bias", l);
        if (c->recurs[l]) c->kernel = kernel, c->convolution_bias = sf_gguf_find_tensor(g, bias) != NULL;
    }
    return SF_OK;
}

void sf_family_begin(const sf_family *f, sf_model_config *c)
{
    snprintf(c->architecture, sizeof c->architecture, "%s", f->name);
    c->qkv_bias = f->qkv_bias;
    c->qk_norm = f->qk_norm;
    c->qk_norm_whole = f->qk_norm_whole;
    c->post_norms = f->post_norms;
    c->no_pre_norms = f->no_pre_norms;
    c->parallel = f->parallel;
    c->layer_norm = f->layer_norm;
    c->norm_bias = f->norm_bias;
    c->gateless = f->gateless;
    c->norm_after_rope = f->norm_after_rope;
    c->rope_interleaved = f->neighbours;
    c->norm_offset = f->norm_offset;
    c->chunked = f->chunked;
    c->scaled_input = f->scaled_input;
    c->activation = f->activation;
}

void sf_family_finish(const sf_family *f, sf_model_config *c)
{
    if (c->embed_scale == 0) c->embed_scale = f->scaled_embedding ? (float)sqrt(c->d) : 1;
    if (c->attention_scale == 0) c->attention_scale = (float)(1 / sqrt(c->head_dim));
    if (f->yarn_by_rule && c->rope.scaling == SF_ROPE_PLAIN && c->max_position == f->yarn_by_rule) {
        c->rope = (sf_rope_config){.theta = c->rope.theta,
                                   .scaling = SF_ROPE_YARN,
                                   .beta_fast = YARN_BETA_FAST,
                                   .beta_slow = YARN_BETA_SLOW,
                                   .original_positions = f->yarn_by_rule};
        c->max_position = 4 * f->yarn_by_rule;
        c->rope_local = c->rope;
    }
}
