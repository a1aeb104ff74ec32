/* A model's shape without its files: configs/models/NAME.yaml. Values are those of the checkpoint's config.json. */
#include "harness/model/family.h"
#include "harness/model/model.h"
#include "base/yaml.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct shape {
    const char *name, *architecture;
    int layers, hidden, heads, kv_heads, head_dim, mlp, vocab, max_position, window, global_every;
    double norm_eps, query_scalar;
    bool tied;
};

#define AT(field) offsetof(struct shape, field)

static const sf_param SHAPE[] = {
    {.name = "name", .type = SF_STRING, .offset = AT(name), .doc = "as shown"},
    {.name = "architecture", .type = SF_STRING, .offset = AT(architecture),
     .doc = "family, as `frontier list families` has them"},
    {.name = "layers", .type = SF_INT, .offset = AT(layers), .low = 1, .high = SF_MAX_LAYERS,
     .doc = "num_hidden_layers"},
    {.name = "hidden", .type = SF_INT, .offset = AT(hidden), .low = 1, .high = 1 << 20, .doc = "hidden_size"},
    {.name = "heads", .type = SF_INT, .offset = AT(heads), .low = 1, .high = 1 << 16, .doc = "num_attention_heads"},
    {.name = "kv_heads", .type = SF_INT, .offset = AT(kv_heads), .low = 1, .high = 1 << 16,
     .doc = "num_key_value_heads"},
    {.name = "head_dim", .type = SF_INT, .offset = AT(head_dim), .low = 1, .high = 1 << 16, .doc = "head_dim"},
    {.name = "mlp", .type = SF_INT, .offset = AT(mlp), .low = 1, .high = 1 << 24, .doc = "intermediate_size"},
    {.name = "vocab", .type = SF_INT, .offset = AT(vocab), .low = 1, .high = 1 << 28,
     .doc = "rows of the embedding table"},
    {.name = "max_position", .type = SF_INT, .offset = AT(max_position), .low = 1, .high = 1 << 30, .doc = "in tokens"},
    {.name = "norm_eps", .type = SF_REAL, .offset = AT(norm_eps), .low = 1e-12, .high = 1, .doc = "rms_norm_eps"},
    {.name = "tied", .type = SF_BOOL, .offset = AT(tied), .doc = "the head is the embedding table"},
    {.name = "query_pre_attn_scalar", .type = SF_REAL, .offset = AT(query_scalar), .low = 1, .high = 1e6,
     .doc = "scores are divided by its root; the head dim if not given"},
    {.name = "window", .type = SF_INT, .offset = AT(window), .low = 1, .high = 1 << 30,
     .doc = "sliding window in tokens"},
    {.name = "global_every", .type = SF_INT, .offset = AT(global_every), .low = 1, .high = SF_MAX_LAYERS,
     .doc = "every so manieth layer attends to everything; all slide if not given"},
    {0},
};

static const char *const REQUIRED[] = {"name",     "architecture", "layers", "hidden", "heads",
                                       "kv_heads", "head_dim",     "mlp",    "vocab",  "max_position",
                                       "norm_eps", "tied",         "rope"};

struct rope {
    int scaling, original_positions;
    double theta, factor, low, high, beta_fast, beta_slow;
};

#undef AT
#define AT(field) offsetof(struct rope, field)

static const sf_param ROPE[] = {
    {.name = "theta", .type = SF_REAL, .offset = AT(theta), .low = 1, .high = 1e12, .initial = 10000,
     .doc = "rotation base"},
    {.name = "scaling", .type = SF_CHOICE, .offset = AT(scaling), .choices = "plain|linear|llama3|yarn",
     .doc = "of positions"}, /* in the order of sf_rope_scaling */
    {.name = "factor", .type = SF_REAL, .offset = AT(factor), .low = 1, .high = 1e6, .initial = 0,
     .doc = "of the scaling; yarn: by rule if not given"},
    {.name = "original_positions", .type = SF_INT, .offset = AT(original_positions), .low = 1, .high = 1 << 30,
     .doc = "positions before scaling (llama3, yarn)"},
    {.name = "low_freq_factor", .type = SF_REAL, .offset = AT(low), .low = 1e-3, .high = 1e6, .initial = 1,
     .doc = "llama3"},
    {.name = "high_freq_factor", .type = SF_REAL, .offset = AT(high), .low = 1e-3, .high = 1e6, .initial = 4,
     .doc = "llama3"},
    {.name = "beta_fast", .type = SF_REAL, .offset = AT(beta_fast), .low = 1e-3, .high = 1e6, .initial = 32,
     .doc = "yarn"},
    {.name = "beta_slow", .type = SF_REAL, .offset = AT(beta_slow), .low = 1e-3, .high = 1e6, .initial = 1,
     .doc = "yarn"},
    {0},
};

static sf_status read_rope(const sf_node *node, sf_rope_config *out)
{
    struct rope r;
    SF_TRY(sf_yaml_params(node, ROPE, NULL, &r));
    *out = (sf_rope_config){.theta = r.theta, .scaling = (sf_rope_scaling)r.scaling};
    bool llama3 = out->scaling == SF_ROPE_LLAMA3, yarn = out->scaling == SF_ROPE_YARN;
    if (out->scaling != SF_ROPE_PLAIN) out->factor = r.factor;
    if (llama3 || yarn) out->original_positions = r.original_positions;
    if (llama3) out->low_freq_factor = r.low, out->high_freq_factor = r.high;
    if (yarn) out->beta_fast = r.beta_fast, out->beta_slow = r.beta_slow;
    return SF_OK;
}

struct experts {
    int all, chosen, mlp;
    bool normalize;
};

#undef AT
#define AT(field) offsetof(struct experts, field)

static const sf_param EXPERTS[] = {
    {.name = "all", .type = SF_INT, .offset = AT(all), .low = 1, .high = SF_MOST_EXPERTS, .doc = "num_experts"},
    {.name = "chosen", .type = SF_INT, .offset = AT(chosen), .low = 1, .high = SF_MOST_EXPERTS, .doc = "num_experts_per_tok"},
    {.name = "mlp", .type = SF_INT, .offset = AT(mlp), .low = 1, .high = 1 << 24, .doc = "moe_intermediate_size"},
    {.name = "normalize", .type = SF_BOOL, .offset = AT(normalize), .doc = "norm_topk_prob"},
    {0},
};

/* Of a mixture that chooses by softmax, in all layers. */
static sf_status read_experts(const sf_node *node, const char *file, sf_model_config *c)
{
    struct experts e;
    if (!node) return SF_OK;
    SF_TRY(sf_yaml_params(node, EXPERTS, NULL, &e));
    for (const sf_param *p = EXPERTS; p->name; p++)
        if (!sf_yaml_get(node, p->name)) return sf_fail(SF_BAD_INPUT, "%s: experts.%s: expected, not found", file, p->name);
    c->router = (sf_router){.experts = e.all, .chosen = e.chosen, .normalize = e.normalize, .scale = 1};
    c->expert_mlp = e.mlp;
    return SF_OK;
}

static sf_status read_shape(const sf_node *root, const char *file, sf_model_config *c)
{
    static const char *const nested[] = {"rope", "rope_local", "experts", NULL};
    struct shape s;
    SF_TRY(sf_yaml_params(root, SHAPE, nested, &s));
    for (size_t i = 0; i < sizeof REQUIRED / sizeof *REQUIRED; i++) {
        if (!sf_yaml_get(root, REQUIRED[i]))
            return sf_fail(SF_BAD_INPUT, "%s: %s: expected, not found", file, REQUIRED[i]);
    }
    const sf_node *local = sf_yaml_get(root, "rope_local");
    if (s.global_every && !s.window)
        return sf_fail(SF_BAD_INPUT, "%s: window: expected with global_every, not found", file);
    if (local && !s.window) return sf_fail(SF_BAD_INPUT, "%s: window: expected with rope_local, not found", file);

    char known[1024];
    const sf_family *family = sf_family_named(s.architecture);
    if (!family) {
        return sf_fail(SF_UNSUPPORTED, "%s: architecture: expected one of %s, found \"%.64s\"", file,
                       sf_family_list(SF_IN_SHAPES, sizeof known, known), s.architecture);
    }
    if (family->latent)
        return sf_fail(SF_UNSUPPORTED, "%s: architecture: %s has latent attention, whose sizes a shape has no keys for: name its checkpoint", file,
                       s.architecture);
    if (family->proportional || family->layers_key[0] || family->gguf_by_layer)
        return sf_fail(SF_UNSUPPORTED, "%s: architecture: %s has layers of several kinds, which a shape has no keys for: name its checkpoint", file,
                       s.architecture);
    sf_family_begin(family, c);
    snprintf(c->name, sizeof c->name, "%s", s.name);
    c->layers = s.layers;
    c->d = s.hidden;
    c->heads = s.heads;
    c->kv_heads = s.kv_heads;
    c->head_dim = s.head_dim;
    c->mlp = s.mlp;
    c->vocab = s.vocab;
    c->max_position = s.max_position;
    c->norm_eps = s.norm_eps;
    c->tied = s.tied;
    c->window = s.window;
    for (int l = 0; s.window && l < s.layers; l++) c->sliding[l] = !(s.global_every && (l + 1) % s.global_every == 0);
    if (s.query_scalar) c->attention_scale = (float)(1 / sqrt(s.query_scalar));
    SF_TRY(read_rope(sf_yaml_get(root, "rope"), &c->rope));
    c->rope_local = c->rope;
    if (local) SF_TRY(read_rope(local, &c->rope_local));
    SF_TRY(read_experts(sf_yaml_get(root, "experts"), file, c));

    sf_family_finish(family, c);
    return sf_config_validate(c, file);
}

sf_status sf_shape_open(const char *yaml, sf_model_config *out)
{
    *out = (sf_model_config){0};
    sf_node *root;
    SF_TRY(sf_yaml_read(yaml, &root));
    sf_status status = read_shape(root, yaml, out);
    sf_yaml_free(root);
    return status;
}
