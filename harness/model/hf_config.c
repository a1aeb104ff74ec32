/* config.json, as transformers 4 and 5 write it. Keys that a file leaves out have the value of the family's class
 * there; keys that change the graph in a way we do not compute are refused by name. */
#include "harness/model/hf.h"
#include "harness/model/family.h"
#include "harness/model/json.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* How layers come to slide where layer_types does not say. */
typedef enum sliding_rule {
    NEVER,
    EVERY_LAYER,   /* where sliding_window is given: Mistral */
    FROM_LAYER,    /* use_sliding_window, from max_window_layers on: Qwen */
    BUT_EVERY_NTH, /* sliding_window_pattern, 6 if not given: Gemma 3 */
} sliding_rule;

/* A JSON text as it would stand in a file. */
#define JSON(...) #__VA_ARGS__

/* clang-format off */
static const struct kind {
    const char *model_type, *family;
    sliding_rule sliding;
    bool layer_types;         /* the class obeys that key */
    const char *defaults;     /* sizes that every file must name are not among them */
} KINDS[] = {
    {"llama", "llama", NEVER, false, JSON(
        {"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
         "rope_theta": 10000.0})},
    {"mistral", "mistral", EVERY_LAYER, false, JSON(
        {"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
         "rope_theta": 10000.0, "num_key_value_heads": 8, "sliding_window": 4096})},
    {"qwen2", "qwen2", FROM_LAYER, true, JSON(
        {"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
         "rope_theta": 10000.0, "num_key_value_heads": 32,
         "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28})},
    {"qwen3", "qwen3", FROM_LAYER, true, JSON(
        {"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
         "rope_theta": 10000.0, "num_key_value_heads": 32, "head_dim": 128,
         "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28})},
    {"gemma3_text", "gemma3", BUT_EVERY_NTH, true, JSON(
        {"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
         "tie_word_embeddings": true, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "vocab_size": 262208,
         "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "query_pre_attn_scalar": 256,
         "sliding_window": 4096, "sliding_window_pattern": 6})},
};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };
/* clang-format on */

static sf_status find_kind(sf_json_at at, const struct kind **out)
{
    const char *type = NULL;
    SF_TRY(sf_json_text(at, "model_type", true, &type));
    for (int i = 0; i < N_KINDS; i++) {
        *out = &KINDS[i];
        if (strcmp(KINDS[i].model_type, type) == 0) return SF_OK;
    }
    return sf_json_fail(SF_UNSUPPORTED, at, "model_type", "one of llama, mistral, qwen2, qwen3, gemma3_text, gemma3");
}

static sf_status get_int(sf_json_at at, const char *key, bool required, int64_t most, int *out)
{
    int64_t value = *out;
    SF_TRY(sf_json_int(at, key, required, 1, most, &value));
    *out = (int)value;
    return SF_OK;
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static sf_status refuse(sf_json_at at, const sf_family *family)
{
    static const char *const ABSENT[] = {"quantization_config", "final_logit_softcapping", "attn_logit_softcapping"};
    for (size_t i = 0; i < sizeof ABSENT / sizeof *ABSENT; i++) {
        if (sf_json_value(at, ABSENT[i])) return sf_json_fail(SF_UNSUPPORTED, at, ABSENT[i], "none");
    }
    static const char *const FALSE[] = {"attention_bias", "mlp_bias", "use_bidirectional_attention"};
    for (size_t i = 0; i < sizeof FALSE / sizeof *FALSE; i++) {
        bool value = false;
        SF_TRY(sf_json_bool(at, FALSE[i], false, &value));
        if (value) return sf_json_fail(SF_UNSUPPORTED, at, FALSE[i], "false");
    }
    double rotary = 1;
    SF_TRY(sf_json_real(at, "partial_rotary_factor", false, 0, 1, &rotary));
    if (rotary != 1) return sf_json_fail(SF_UNSUPPORTED, at, "partial_rotary_factor", "1, rotation of the whole head");

    const char *expected = family->activation == SF_GELU_TANH ? "gelu_pytorch_tanh" : "silu", *act = NULL;
    const char *key = sf_json_value(at, "hidden_activation") ? "hidden_activation" : "hidden_act";
    SF_TRY(sf_json_text(at, key, true, &act));
    return strcmp(act, expected) == 0 ? SF_OK : sf_json_fail(SF_UNSUPPORTED, at, key, expected);
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

/* One set of rope parameters: transformers 5's rope_parameters, or 4's rope_scaling with rope_theta beside it. */
static sf_status read_rope(sf_json_at at, double theta, int max_position, sf_rope_config *out)
{
    *out = (sf_rope_config){.theta = theta};
    SF_TRY(sf_json_real(at, "rope_theta", false, 1, 1e12, &out->theta));
    double rotary = 1;
    SF_TRY(sf_json_real(at, "partial_rotary_factor", false, 0, 1, &rotary));
    if (rotary != 1) return sf_json_fail(SF_UNSUPPORTED, at, "partial_rotary_factor", "1, rotation of the whole head");

    const char *key = sf_json_value(at, "rope_type") ? "rope_type" : "type", *type = "default";
    SF_TRY(sf_json_text(at, key, false, &type));
    static const struct {
        const char *name;
        sf_rope_scaling scaling;
    } TYPES[] = {
        {"default", SF_ROPE_PLAIN}, {"linear", SF_ROPE_LINEAR}, {"llama3", SF_ROPE_LLAMA3}, {"yarn", SF_ROPE_YARN}};
    size_t t = 0;
    while (t < 4 && strcmp(TYPES[t].name, type) != 0) t++;
    if (t == 4) return sf_json_fail(SF_UNSUPPORTED, at, key, "default, linear, llama3 or yarn");
    out->scaling = TYPES[t].scaling;
    if (out->scaling == SF_ROPE_PLAIN) return SF_OK;

    SF_TRY(sf_json_real(at, "factor", true, 1, 1e6, &out->factor));
    if (out->scaling == SF_ROPE_LINEAR) return SF_OK;

    out->original_positions = max_position; /* what transformers takes where the key is not there */
    SF_TRY(get_int(at, "original_max_position_embeddings", false, INT_MAX, &out->original_positions));
    if (out->scaling == SF_ROPE_LLAMA3) {
        SF_TRY(sf_json_real(at, "low_freq_factor", true, 1e-3, 1e6, &out->low_freq_factor));
        return sf_json_real(at, "high_freq_factor", true, 1e-3, 1e6, &out->high_freq_factor);
    }
    out->beta_fast = 32;
    out->beta_slow = 1;
    SF_TRY(sf_json_real(at, "beta_fast", false, 1e-3, 1e6, &out->beta_fast));
    SF_TRY(sf_json_real(at, "beta_slow", false, 1e-3, 1e6, &out->beta_slow));
    SF_TRY(sf_json_real(at, "attention_factor", false, 1e-3, 1e3, &out->attention_factor));
    bool truncate = true;
    SF_TRY(sf_json_bool(at, "truncate", false, &truncate));
    if (!truncate) return sf_json_fail(SF_UNSUPPORTED, at, "truncate", "true");
    if (sf_json_value(at, "mscale")) return sf_json_fail(SF_UNSUPPORTED, at, "mscale", "none");
    return SF_OK;
}

static sf_status read_ropes(sf_json_at at, sf_model_config *c)
{
    double theta = 0, local_theta = 0;
    SF_TRY(sf_json_real(at, "rope_theta", true, 1, 1e12, &theta));
    SF_TRY(sf_json_real(at, "rope_local_base_freq", false, 1, 1e12, &local_theta));

    const json_t *parameters = NULL, *scaling = NULL, *global = NULL, *local = NULL;
    SF_TRY(sf_json_object(at, "rope_parameters", false, &parameters));
    SF_TRY(sf_json_object(at, "rope_scaling", false, &scaling));
    if (!parameters) {
        SF_TRY(read_rope((sf_json_at){scaling, at.path, "rope_scaling."}, theta, c->max_position, &c->rope));
        c->rope_local = c->rope;
    } else {
        sf_json_at inside = {parameters, at.path, "rope_parameters."};
        SF_TRY(sf_json_object(inside, "full_attention", false, &global));
        SF_TRY(sf_json_object(inside, "sliding_attention", false, &local));
        sf_json_at whole = {global ? global : parameters, at.path,
                            global ? "rope_parameters.full_attention." : inside.above};
        SF_TRY(read_rope(whole, theta, c->max_position, &c->rope));
        c->rope_local = c->rope;
        if (local) {
            sf_json_at part = {local, at.path, "rope_parameters.sliding_attention."};
            return read_rope(part, local_theta ? local_theta : theta, c->max_position, &c->rope_local);
        }
    }
    /* Only Gemma names a base of its own for sliding layers; scaling is for the global ones. */
    if (local_theta) c->rope_local = (sf_rope_config){.theta = local_theta};
    return SF_OK;
}

/* ---- sliding windows --------------------------------------------------------------------------------------------- */

static sf_status read_layer_types(sf_json_at at, const json_t *types, sf_model_config *c)
{
    if (!json_is_array(types) || json_array_size(types) != (size_t)c->layers) {
        char expected[64];
        snprintf(expected, sizeof expected, "a list of %d layer types, one a layer", c->layers);
        return sf_json_fail(SF_BAD_INPUT, at, "layer_types", expected);
    }
    for (int l = 0; l < c->layers; l++) {
        const char *type = json_string_value(json_array_get(types, (size_t)l));
        bool slides = type && strcmp(type, "sliding_attention") == 0;
        if (!slides && !(type && strcmp(type, "full_attention") == 0)) {
            return sf_json_fail(SF_UNSUPPORTED, at, "layer_types", "only full_attention and sliding_attention");
        }
        c->sliding[l] = slides;
    }
    return SF_OK;
}

static sf_status read_sliding(sf_json_at at, const struct kind *kind, sf_model_config *c)
{
    bool used = true; /* Qwen's files name a window and switch it off beside it */
    int window = 0, every = 0;
    int64_t first = 0;
    SF_TRY(sf_json_bool(at, "use_sliding_window", false, &used));
    if (used) SF_TRY(get_int(at, "sliding_window", false, INT_MAX, &window));

    const json_t *types = sf_json_value(at, "layer_types");
    if (types && kind->layer_types) {
        SF_TRY(read_layer_types(at, types, c));
    } else if (window > 0) {
        if (kind->sliding == FROM_LAYER) SF_TRY(sf_json_int(at, "max_window_layers", true, 0, INT_MAX, &first));
        if (kind->sliding == BUT_EVERY_NTH) SF_TRY(get_int(at, "sliding_window_pattern", true, SF_MAX_LAYERS, &every));
        for (int64_t l = first; kind->sliding != NEVER && l < c->layers; l++)
            c->sliding[l] = !(every && (l + 1) % every == 0);
    }
    bool any = memchr(c->sliding, 1, (size_t)c->layers) != NULL;
    if (any && window == 0) return sf_json_fail(SF_BAD_INPUT, at, "sliding_window", "a window, since layers slide");
    c->window = any ? window : 0;
    return SF_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static sf_status read_decoder(sf_json_at at, const struct kind *kind, sf_model_config *c)
{
    const sf_family *family;
    SF_TRY(sf_family_find(kind->family, at.path, "model_type", &family));
    SF_TRY(refuse(at, family));
    SF_TRY(get_int(at, "num_hidden_layers", true, SF_MAX_LAYERS, &c->layers));
    SF_TRY(get_int(at, "hidden_size", true, 1 << 20, &c->d));
    SF_TRY(get_int(at, "intermediate_size", true, 1 << 24, &c->mlp));
    SF_TRY(get_int(at, "num_attention_heads", true, 1 << 16, &c->heads));
    SF_TRY(get_int(at, "vocab_size", true, 1 << 28, &c->vocab));
    SF_TRY(get_int(at, "max_position_embeddings", true, INT_MAX, &c->max_position));
    c->kv_heads = c->heads;
    SF_TRY(get_int(at, "num_key_value_heads", false, 1 << 16, &c->kv_heads));
    c->head_dim = c->d / c->heads;
    SF_TRY(get_int(at, "head_dim", false, 1 << 16, &c->head_dim));
    SF_TRY(sf_json_real(at, "rms_norm_eps", true, 1e-12, 1, &c->norm_eps));
    SF_TRY(sf_json_bool(at, "tie_word_embeddings", true, &c->tied));
    double scalar = 0;
    SF_TRY(sf_json_real(at, "query_pre_attn_scalar", false, 1e-3, 1e6, &scalar));
    if (scalar) c->attention_scale = (float)(1 / sqrt(scalar));

    SF_TRY(read_ropes(at, c));
    SF_TRY(read_sliding(at, kind, c));
    if (c->rope.scaling == SF_ROPE_YARN && c->rope.factor * c->rope.original_positions > c->max_position) {
        c->max_position =
            (int)fmin(c->rope.factor * c->rope.original_positions, INT_MAX); /* files often keep the old number */
    }
    sf_family_apply(family, c);
    return sf_config_validate(c, at.path);
}

sf_status sf_hf_config(const json_t *config, const char *path, sf_model_config *out, bool *multimodal)
{
    sf_json_at at = {config, path, ""};
    const json_t *text = NULL;
    const char *type = NULL;
    SF_TRY(sf_json_text(at, "model_type", true, &type));
    *multimodal = strcmp(type, "gemma3") == 0;
    if (*multimodal) {
        SF_TRY(sf_json_object(at, "text_config", true, &text));
        at = (sf_json_at){text, path, "text_config."};
    }
    const struct kind *kind;
    SF_TRY(find_kind(at, &kind));
    json_t *whole = json_copy((json_t *)at.object), *defaults = json_loads(kind->defaults, 0, NULL);
    if (*multimodal && json_object_get(config, "tie_word_embeddings")) {
        json_object_set(whole, "tie_word_embeddings", json_object_get(config, "tie_word_embeddings"));
    }
    sf_status status = whole && defaults && json_object_update_missing(whole, defaults) == 0
                           ? SF_OK
                           : sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    at.object = whole;
    if (status == SF_OK) status = read_decoder(at, kind, out);
    json_decref(whole);
    json_decref(defaults);
    return status;
}
