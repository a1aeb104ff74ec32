/* config.json, as transformers 4 and 5 write it. Keys that a file leaves out have the value of the family's class
 * there; keys of the class that change the graph in a way we do not compute are refused by name. */
#include "harness/model/hf.h"
#include "harness/model/family.h"
#include "harness/model/positions.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static sf_status get_int(sf_json_at at, const char *key, bool required, int64_t most, int *out)
{
    int64_t value = *out;
    SF_TRY(sf_json_int(at, key, required, 1, most, &value));
    *out = (int)value;
    return SF_OK;
}

/* ---- keys that change the graph ---------------------------------------------------------------------------------- */

/* Of one family or another, each with the value that leaves the graph as it is. A family lists those that its class
 * has: under `refused`, if we compute that value only, else under `own`. The class of any other family does not look at
 * the key, and so neither do we; but a file that sets it may have meant it. */
static const struct {
    const char *key;
    enum { ABSENT, FALSE } neutral;
} GRAPH[] = {
    {"attention_bias", FALSE},         {"attention_out_bias", FALSE},          {"mlp_bias", FALSE},
    {"use_bias", FALSE},               {"use_bidirectional_attention", FALSE}, {"final_logit_softcapping", ABSENT},
    {"attn_logit_softcapping", ABSENT}, {"query_pre_attn_scalar", ABSENT},     {"embedding_multiplier", ABSENT},
    {"attention_multiplier", ABSENT},  {"residual_multiplier", ABSENT},        {"logits_scaling", ABSENT},
    {"no_rope_layers", ABSENT},        {"logit_scale", ABSENT},
};

static bool lists(const char *const *keys, const char *key)
{
    for (; keys && *keys; keys++) {
        if (strcmp(*keys, key) == 0) return true;
    }
    return false;
}

static sf_status check_graph(sf_json_at at, const sf_family *f, sf_doubts *doubts)
{
    for (size_t i = 0; i < sizeof GRAPH / sizeof *GRAPH; i++) {
        const json_t *value = sf_json_value(at, GRAPH[i].key);
        if (!value || (GRAPH[i].neutral == FALSE && json_is_false(value)) || lists(f->own, GRAPH[i].key)) continue;
        if (lists(f->refused, GRAPH[i].key))
            return sf_json_fail(SF_UNSUPPORTED, at, GRAPH[i].key, GRAPH[i].neutral == FALSE ? "false" : "none");
        sf_doubt(doubts, "%s: %s%s: no %s has this key, so it is left unread, as transformers does", at.path, at.above,
                 GRAPH[i].key, f->name);
    }
    return SF_OK;
}

static sf_status read_activation(sf_json_at at, const sf_family *f, sf_activation *out)
{
    static const struct {
        const char *name;
        sf_activation activation;
    } NAMES[] = {
        {"silu", SF_SILU},  {"swish", SF_SILU},  {"gelu_pytorch_tanh", SF_GELU_TANH}, {"gelu_new", SF_GELU_TANH},
        {"gelu", SF_GELU}, {"relu2", SF_RELU2}, {"xielu", SF_XIELU}};
    const char *key = f->activation_key ? f->activation_key : "hidden_act", *name = NULL;
    SF_TRY(sf_json_text(at, key, true, &name));
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        *out = NAMES[i].activation;
        if (strcmp(NAMES[i].name, name) == 0) return SF_OK;
    }
    return sf_json_fail(SF_UNSUPPORTED, at, key, "silu, swish, gelu, gelu_pytorch_tanh, gelu_new, relu2 or xielu");
}

/* ---- sliding windows --------------------------------------------------------------------------------------------- */

static bool is(const char *type, const char *name) { return type && name && strcmp(type, name) == 0; }

static sf_status read_layer_types(sf_json_at at, const json_t *types, const sf_family *f, sf_model_config *c)
{
    if (!json_is_array(types) || json_array_size(types) != (size_t)c->layers) {
        char expected[64];
        snprintf(expected, sizeof expected, "a list of %d layer types, one a layer", c->layers);
        return sf_json_fail(SF_BAD_INPUT, at, "layer_types", expected);
    }
    for (int l = 0; l < c->layers; l++) {
        const char *type = json_string_value(json_array_get(types, (size_t)l));
        bool slides = is(type, "sliding_attention");
        bool recurs = is(type, f->recurrent_type) || is(type, f->older_types[1]);
        if (!slides && !recurs && !is(type, "full_attention") && !is(type, f->older_types[0])) {
            char expected[96];
            snprintf(expected, sizeof expected, "only full_attention and %s", f->recurrent_type ? f->recurrent_type : "sliding_attention");
            return sf_json_fail(SF_UNSUPPORTED, at, "layer_types", expected);
        }
        c->sliding[l] = slides;
        c->recurs[l] = recurs;
    }
    return SF_OK;
}

static sf_status read_sliding(sf_json_at at, const sf_family *f, sf_model_config *c)
{
    bool used = true; /* Qwen's files name a window and switch it off beside it */
    int window = 0, every = 0;
    int64_t first = 0;
    SF_TRY(sf_json_bool(at, "use_sliding_window", false, &used));
    if (used) SF_TRY(get_int(at, "sliding_window", false, INT_MAX, &window));

    const json_t *types = sf_json_value(at, "layer_types");
    if (types && f->layer_types) {
        SF_TRY(read_layer_types(at, types, f, c));
    } else if (window > 0) {
        if (f->sliding == SF_SLIDES_FROM_LAYER) SF_TRY(sf_json_int(at, "max_window_layers", true, 0, INT_MAX, &first));
        if (f->sliding == SF_SLIDES_BUT_EVERY_NTH)
            SF_TRY(get_int(at, "sliding_window_pattern", true, SF_MAX_LAYERS, &every));
        for (int64_t l = first; f->sliding != SF_NEVER_SLIDES && l < c->layers; l++)
            c->sliding[l] = !(every && (l + 1) % every == 0);
    }
    bool any = memchr(c->sliding, 1, (size_t)c->layers) != NULL;
    if (any && !used) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: %slayer_types names sliding layers and %suse_sliding_window is false: they"
                       " contradict each other; leave the one that is meant",
                       at.path, at.above, at.above);
    }
    if (any && window == 0) return sf_json_fail(SF_BAD_INPUT, at, "sliding_window", "a window, since layers slide");
    c->window = any ? window : 0;
    return SF_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static sf_status count_layers(sf_json_at at, const sf_family *f, int *out)
{
    const json_t *list = f->layers_key[0] ? sf_json_value(at, f->layers_key[0]) : NULL;
    const json_t *text = f->layers_key[1] ? sf_json_value(at, f->layers_key[1]) : NULL;
    const size_t n = json_is_array(list) ? json_array_size(list) : json_is_string(text) ? json_string_length(text) : 0;
    if (!list && !text) return get_int(at, "num_hidden_layers", true, SF_MAX_LAYERS, out);
    if (n < 1 || n > SF_MAX_LAYERS) return sf_json_fail(SF_BAD_INPUT, at, list ? f->layers_key[0] : f->layers_key[1], "1 to 256 layers");
    *out = (int)n;
    return SF_OK;
}

/* `file`: the decoder's config; `at`: the same with the keys that it leaves out. */
static sf_status read_decoder(sf_json_at file, sf_json_at at, const sf_family *f, sf_model_config *c, sf_doubts *doubts)
{
    sf_family_begin(f, c);
    SF_TRY(check_graph(file, f, doubts));
    SF_TRY(read_activation(at, f, &c->activation));
    SF_TRY(count_layers(at, f, &c->layers));
    SF_TRY(get_int(at, "hidden_size", true, 1 << 20, &c->d));
    SF_TRY(get_int(at, "intermediate_size", true, 1 << 24, &c->mlp));
    SF_TRY(get_int(at, "num_attention_heads", true, 1 << 16, &c->heads));
    SF_TRY(get_int(at, "vocab_size", true, 1 << 28, &c->vocab));
    SF_TRY(get_int(at, "max_position_embeddings", true, INT_MAX, &c->max_position));
    c->kv_heads = c->heads;
    SF_TRY(get_int(at, "num_key_value_heads", false, 1 << 16, &c->kv_heads));
    c->head_dim = c->d / c->heads;
    SF_TRY(get_int(at, "head_dim", false, 1 << 16, &c->head_dim));
    SF_TRY(sf_json_real(at, f->norm_eps_key ? f->norm_eps_key : "rms_norm_eps", true, 1e-12, 1, &c->norm_eps));
    SF_TRY(sf_json_bool(at, "tie_word_embeddings", true, &c->tied));
    SF_TRY(sf_positions_from_json(file, f, c, doubts));
    SF_TRY(read_sliding(at, f, c));
    if (f->read) SF_TRY(f->read(at, c));
    if ((c->rope.scaling == SF_ROPE_YARN || c->rope.scaling == SF_ROPE_DYNAMIC) && c->rope.factor * c->rope.original_positions > c->max_position) {
        c->max_position =
            (int)fmin(c->rope.factor * c->rope.original_positions, INT_MAX); /* files often keep the old number */
    }
    sf_family_finish(f, c);
    return sf_config_validate(c, at.path);
}

/* The family and its decoder's config, which in a multimodal model stands inside. */
static sf_status find_decoder(sf_json_at *at, const sf_family **f, bool *multimodal)
{
    const char *type = NULL;
    const json_t *text = NULL;
    SF_TRY(sf_json_text(*at, "model_type", true, &type));
    *multimodal = sf_family_of_wrapper(type) != NULL;
    if (*multimodal) {
        SF_TRY(sf_json_object(*at, "text_config", true, &text));
        *at = (sf_json_at){text, at->path, "text_config."};
        SF_TRY(sf_json_text(*at, "model_type", true, &type));
    }
    *f = sf_family_of_model_type(type);
    if (*f) return SF_OK;
    if (sf_family_lacks(type))
        return sf_fail(SF_UNSUPPORTED, "%s: %smodel_type: expected a family of `frontier list families`, found \"%s\", which has %s: not computed here",
                       at->path, at->above, type, sf_family_lacks(type));
    char known[1024], expected[1100];
    snprintf(expected, sizeof expected, "one of %s", sf_family_list(SF_IN_JSON, sizeof known, known));
    return sf_json_fail(SF_UNSUPPORTED, *at, "model_type", expected);
}

sf_status sf_hf_quantization(const json_t *config, const char *path, sf_quantization *out, sf_doubts *doubts)
{
    sf_json_at at = {config, path, ""};
    const sf_family *f;
    bool multimodal;
    SF_TRY(find_decoder(&at, &f, &multimodal));
    SF_TRY(sf_quantization_read(at, f->packed, out, doubts));
    if (!multimodal || out->kind) return SF_OK;
    return sf_quantization_read((sf_json_at){config, path, ""}, f->packed, out, doubts);
}

sf_status sf_hf_config(const json_t *config, const char *path, sf_model_config *out, bool *multimodal,
                       sf_doubts *doubts)
{
    sf_json_at at = {config, path, ""};
    const sf_family *f;
    sf_quantization quantized;
    SF_TRY(find_decoder(&at, &f, multimodal));
    SF_TRY(sf_hf_quantization(config, path, &quantized, doubts));
    json_t *whole = json_copy((json_t *)at.object), *defaults = json_loads(f->defaults, 0, NULL);
    if (*multimodal && json_object_get(config, "tie_word_embeddings")) {
        json_object_set(whole, "tie_word_embeddings", json_object_get(config, "tie_word_embeddings"));
    }
    sf_status status = whole && defaults && json_object_update_missing(whole, defaults) == 0
                           ? SF_OK
                           : sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    if (status == SF_OK) status = read_decoder(at, (sf_json_at){whole, path, at.above}, f, out, doubts);
    json_decref(whole);
    json_decref(defaults);
    return status;
}
