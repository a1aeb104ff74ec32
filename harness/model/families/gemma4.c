/* Gemma 4, text. transformers 5.24: models/gemma4; llama.cpp: conversion/gemma.py (Gemma4Model, at 2bbcf7f), src/models/gemma4.cpp.
 *
 * Layers that slide and layers that see everything have heads of two sizes, and in the larger models kv heads of two numbers; the latter
 * turn a quarter of their pairs, and may have no projection to values, which are then the keys. Values are normed, scores are not scaled,
 * and the hidden state is, behind each layer. In the small models the last layers read the keys and values of the last one of their kind
 * that has some, with a wider MLP, and each token has an embedding for every layer. 26B-A4B has experts beside the MLP of each layer, each
 * behind norms of its own. */
#include "harness/model/family.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* What layers that see everything have instead: heads and kv heads, as transformers 5.24 writes them, layer by layer … */
static sf_status read_overrides(sf_json_at at, const json_t *layers, sf_model_config *c, int64_t *head_dim, int64_t *kv_heads)
{
    bool first = true;
    for (int l = 0; l < c->layers; l++) {
        char name[24], above[96];
        snprintf(name, sizeof name, "%d", l);
        snprintf(above, sizeof above, "%sper_layer_config.%d.", at.above, l);
        const json_t *own = json_object_get(layers, name);
        const sf_json_at in = {own, at.path, above};
        int64_t dim = c->head_dim, heads = c->kv_heads;
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)own, key, value)
            if (strcmp(key, "head_dim") != 0 && strcmp(key, "num_key_value_heads") != 0) return sf_json_fail(SF_UNSUPPORTED, in, key, "none");
        if (own) SF_TRY(sf_json_int(in, "head_dim", false, 1, 1 << 16, &dim));
        if (own) SF_TRY(sf_json_int(in, "num_key_value_heads", false, 1, 1 << 16, &heads));
        const bool full = !c->sliding[l], differs = full ? !first && (dim != *head_dim || heads != *kv_heads) : dim != c->head_dim || heads != c->kv_heads;
        if (differs)
            return sf_json_fail(SF_UNSUPPORTED, at, "per_layer_config", full ? "the same of all layers with full attention" : "nothing of layers that slide");
        if (full) *head_dim = dim, *kv_heads = heads, first = false;
    }
    return SF_OK;
}

/* … or as files before it do, once. */
static sf_status read_heads(sf_json_at at, sf_model_config *c)
{
    int64_t head_dim = 512, kv_heads = c->kv_heads;
    const json_t *layers = sf_json_value(at, "per_layer_config");
    if (layers && !json_is_object(layers)) return sf_json_fail(SF_BAD_INPUT, at, "per_layer_config", "an object of layers");
    if (layers) {
        head_dim = c->head_dim;
        SF_TRY(read_overrides(at, layers, c, &head_dim, &kv_heads));
    } else {
        SF_TRY(sf_json_int(at, "global_head_dim", false, 1, 1 << 16, &head_dim));
        if (c->keys_are_values) SF_TRY(sf_json_int(at, "num_global_key_value_heads", false, 1, 1 << 16, &kv_heads));
    }
    if (c->window && head_dim != c->head_dim) c->sliding_head_dim = c->head_dim;
    if (c->window && kv_heads != c->kv_heads) c->sliding_kv_heads = c->kv_heads;
    c->head_dim = (int)head_dim;
    c->kv_heads = (int)kv_heads;
    return SF_OK;
}

static void fix(sf_model_config *c)
{
    c->attention_scale = 1;
    c->value_norm = c->layer_scale = true;
}

static sf_status read_experts(sf_json_at at, sf_model_config *c)
{
    int64_t all = 0, chosen = 0, mlp = 0;
    SF_TRY(sf_json_bool(at, "enable_moe_block", false, &c->experts_beside));
    if (!c->experts_beside) return SF_OK;
    SF_TRY(sf_json_int(at, "num_experts", true, 1, SF_MOST_EXPERTS, &all));
    SF_TRY(sf_json_int(at, "top_k_experts", true, 1, SF_MOST_EXPERTS, &chosen));
    SF_TRY(sf_json_int(at, "moe_intermediate_size", true, 1, 1 << 24, &mlp));
    c->router = (sf_router){.experts = (int)all, .chosen = (int)chosen, .normalize = true, .scale = 1};
    c->expert_mlp = (int)mlp;
    return SF_OK;
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    bool wide = false;
    int64_t shared = 0, dim = 0, vocab = 0;
    double cap = 0;
    const char *both = json_string_value(sf_json_value(at, "use_bidirectional_attention"));
    if (both && strcmp(both, "vision") != 0) /* which is of pictures alone */
        return sf_json_fail(SF_UNSUPPORTED, at, "use_bidirectional_attention", "none, or vision");
    SF_TRY(read_experts(at, c));
    c->sliding[c->layers - 1] = 0; /* whatever the file says, as transformers has it */
    if (!memchr(c->sliding, 1, (size_t)c->layers)) c->window = 0;
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    SF_TRY(sf_json_bool(at, "attention_k_eq_v", false, &c->keys_are_values));
    SF_TRY(read_heads(at, c));
    SF_TRY(sf_json_int(at, "num_kv_shared_layers", false, 0, c->layers - 1, &shared));
    SF_TRY(sf_json_bool(at, "use_double_wide_mlp", false, &wide));
    SF_TRY(sf_json_int(at, "hidden_size_per_layer_input", false, 0, 1 << 16, &dim));
    SF_TRY(sf_json_int(at, "vocab_size_per_layer_input", false, 1, 1 << 28, &vocab));
    SF_TRY(sf_json_real(at, "final_logit_softcapping", false, 1e-3, 1e6, &cap));
    fix(c);
    c->o_bias = c->qkv_bias;
    c->shared_from = shared ? c->layers - (int)shared : 0;
    c->shared_wide = wide && shared;
    c->layer_dim = (int)dim;
    c->layer_vocab = dim ? (int)vocab : 0;
    c->logit_softcap = (float)cap;
    return SF_OK;
}

/* One number of all layers of a kind: those that slide, or the others; 0: there are none. */
static sf_status of_kind(const sf_gguf *g, const char *name, const sf_model_config *c, const int *each, bool slides, int *out)
{
    *out = 0;
    for (int l = 0; l < c->layers; l++) {
        if (c->sliding[l] != slides) continue;
        if (*out && each[l] != *out)
            return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected one number for all layers that %s, found %d and %d", g->path, name,
                           slides ? "slide" : "see everything", *out, each[l]);
        *out = each[l];
    }
    return SF_OK;
}

static sf_status read_gguf_heads(const sf_gguf *g, sf_model_config *c)
{
    static const char KV[] = "gemma4.attention.head_count_kv";
    int each[SF_MAX_LAYERS], full, slides, dim = 0, value = 0;
    SF_TRY(sf_gguf_ints(g, KV, c->layers, 1, 1 << 16, each));
    SF_TRY(of_kind(g, KV, c, each, false, &full));
    SF_TRY(of_kind(g, KV, c, each, true, &slides));
    c->kv_heads = full ? full : slides;
    if (slides && slides != c->kv_heads) c->sliding_kv_heads = slides;
    SF_TRY(sf_gguf_int(g, "gemma4.attention.key_length_swa", slides != 0, 1, 1 << 16, &dim));
    SF_TRY(sf_gguf_int(g, "gemma4.attention.value_length_swa", slides != 0, 1, 1 << 16, &value));
    if (value != dim)
        return sf_fail(SF_UNSUPPORTED, "%s: key gemma4.attention.value_length_swa: expected the length of keys, %d, found %d", g->path, dim, value);
    c->sliding_head_dim = slides && dim != c->head_dim ? dim : 0;
    return SF_OK;
}

/* A layer that borrows may have an MLP twice as wide: all of them, or none. */
static sf_status read_gguf_mlps(const sf_gguf *g, sf_model_config *c)
{
    static const char MLP[] = "gemma4.feed_forward_length";
    int each[SF_MAX_LAYERS];
    SF_TRY(sf_gguf_ints(g, MLP, c->layers, 1, 1 << 24, each));
    c->mlp = each[0];
    c->shared_wide = c->shared_from && each[c->layers - 1] == 2 * c->mlp;
    for (int l = 0; l < c->layers; l++)
        if (each[l] != sf_layer_mlp(c, l))
            return sf_fail(SF_UNSUPPORTED, "%s: key %s: layer %d: expected %d, found %d", g->path, MLP, l, sf_layer_mlp(c, l), each[l]);
    return SF_OK;
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    bool slides[SF_MAX_LAYERS] = {0};
    int shared = 0, experts = 0, last = -1;
    double cap = 0;
    SF_TRY(sf_gguf_int(g, "gemma4.expert_count", false, 0, INT_MAX, &experts));
    c->experts_beside = experts > 0;
    SF_TRY(sf_gguf_bools(g, "gemma4.attention.sliding_window_pattern", c->layers, slides));
    for (int l = 0; l < c->layers; l++) {
        c->sliding[l] = slides[l];
        if (!slides[l]) last = l;
    }
    c->window = 0;
    if (memchr(c->sliding, 1, (size_t)c->layers)) SF_TRY(sf_gguf_int(g, "gemma4.attention.sliding_window", true, 1, INT_MAX, &c->window));
    SF_TRY(read_gguf_heads(g, c));
    SF_TRY(sf_gguf_int(g, "gemma4.attention.shared_kv_layers", false, 0, c->layers - 1, &shared));
    c->shared_from = shared ? c->layers - shared : 0;
    SF_TRY(read_gguf_mlps(g, c));
    if (experts) SF_TRY(sf_family_gguf_experts(g, "gemma4", c));
    SF_TRY(sf_gguf_int(g, "gemma4.embedding_length_per_layer_input", false, 0, 1 << 16, &c->layer_dim));
    const sf_gguf_tensor *table = sf_gguf_find_tensor(g, "per_layer_token_embd.weight");
    c->layer_vocab = c->layer_dim && table && table->tensor.dim[0] <= INT_MAX ? (int)table->tensor.dim[0] : 0;
    SF_TRY(sf_gguf_real(g, "gemma4.final_logit_softcapping", false, 1e-3, 1e6, &cap));
    c->logit_softcap = (float)cap;
    char value[48];
    if (last >= 0) last = sf_layer_source(c, last); /* of one that has keys */
    snprintf(value, sizeof value, "blk.%d.attn_v.weight", last);
    c->keys_are_values = last >= 0 && !sf_gguf_find_tensor(g, value);
    fix(c);
    return SF_OK;
}

const sf_family sf_family_gemma4 = {
    .name = "gemma4",
    .fused_experts = true,
    .qk_norm = true, .post_norms = true, .scaled_embedding = true, .activation = SF_GELU_TANH,

    .model_type = {"gemma4_text"},
    .wrapper = "gemma4",
    .defaults = SF_JSON({"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": true, "vocab_size": 262144, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                         "sliding_window": 512, "sliding_window_pattern": 6, "hidden_size_per_layer_input": 256,
                         "vocab_size_per_layer_input": 262144}),
    .theta = 1e6, .local_theta = 1e4,
    .activation_key = "hidden_activation",
    .proportional = true,
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .own = (const char *const[]){"attention_bias", "use_bidirectional_attention", "final_logit_softcapping", NULL},
    .read = read,

    .gguf = "gemma4",
    .gguf_by_layer = true,
    .read_gguf = read_gguf,
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(mlp_norm), .hf = "pre_feedforward_layernorm.weight"},
        {SF_LAYER_TENSOR(router), .hf = "router.proj.weight"},
        {0}},
    .expert = &(const sf_expert_names){{
        [SF_EXPERT_GATE] = "experts.gate_up_proj", [SF_EXPERT_UP] = "experts.gate_up_proj", [SF_EXPERT_DOWN] = "experts.down_proj"}},
};
