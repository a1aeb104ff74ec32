/* Llama 4, text. Meta 2025, ai.meta.com/blog/llama-4-multimodal-intelligence; transformers 5: models/llama4. Layers that rotate attend
 * in chunks, their q and k scaled to length after the rotation; every fourth layer has no positions, sees everything, and its
 * queries grow with the logarithm of theirs. A row goes through one expert, which reads it times the sigmoid of its logit, and
 * through one MLP that all rows share. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

#include <limits.h>
#include <string.h>

/* Which layers see chunks: as layer_types says, else those that rotate. */
static sf_status read_chunks(sf_json_at at, sf_model_config *c)
{
    int64_t chunk = 0;
    const json_t *types = sf_json_value(at, "layer_types");
    SF_TRY(sf_json_int(at, "attention_chunk_size", false, 1, INT_MAX, &chunk));
    if (types && json_array_size(types) != (size_t)c->layers)
        return sf_json_fail(SF_BAD_INPUT, at, "layer_types", "a list of chunked_attention and full_attention, one a layer");
    for (int l = 0; l < c->layers; l++) {
        const char *type = types ? json_string_value(json_array_get(types, (size_t)l)) : NULL;
        if (types && !(type && (strcmp(type, "chunked_attention") == 0 || strcmp(type, "full_attention") == 0)))
            return sf_json_fail(SF_UNSUPPORTED, at, "layer_types", "only chunked_attention and full_attention");
        c->sliding[l] = types ? strcmp(type, "chunked_attention") == 0 : chunk && !c->unrotated[l];
    }
    const bool any = memchr(c->sliding, 1, (size_t)c->layers) != NULL;
    if (any && !chunk) return sf_json_fail(SF_BAD_INPUT, at, "attention_chunk_size", "a size, since layers attend in chunks");
    c->window = any ? (int)chunk : 0;
    c->chunked = any;
    return SF_OK;
}

static sf_status read_growth(sf_json_at at, sf_model_config *c)
{
    const json_t *tunes = sf_json_value(at, "attn_temperature_tuning"); /* older files have a number */
    int64_t every = 1;
    double beta = 0;
    if (!json_is_true(tunes) && !(json_is_integer(tunes) && json_integer_value(tunes) != 0)) return SF_OK;
    SF_TRY(sf_json_int(at, "floor_scale", true, 1, INT_MAX, &every));
    SF_TRY(sf_json_real(at, "attn_scale", true, 0, 1e3, &beta));
    c->still_growth = (float)beta;
    c->still_positions = (int)every;
    return SF_OK;
}

/* Dense layers have a size of their own. */
static sf_status read_experts(sf_json_at at, sf_model_config *c)
{
    int64_t mlp = 0, every = 1;
    const bool mixes = sf_json_value(at, "moe_layers") != NULL;
    SF_TRY(sf_family_experts(at, c)); /* intermediate_size is theirs, and the shared one's */
    SF_TRY(sf_json_int(at, "intermediate_size_mlp", true, 1, 1 << 24, &mlp));
    SF_TRY(sf_json_int(at, "interleave_moe_layer_step", true, 1, INT_MAX, &every));
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router.normalize = false;
    c->shared_mlp = c->expert_mlp;
    c->mlp = (int)mlp;
    for (int l = 0; l < c->layers; l++) c->whole_mlp[l] = mixes || (l + 1) % every != 0;
    return sf_family_listed_layers(at, "moe_layers", c, c->whole_mlp, 0);
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    SF_TRY(sf_json_bool(at, "use_qk_norm", true, &c->qk_unit));
    SF_TRY(sf_family_rotated_layers(at, c));
    SF_TRY(read_chunks(at, c));
    SF_TRY(read_growth(at, c));
    return read_experts(at, c);
}

/* What its files leave to the reader is alike in all published ones; Maverick's 128 experts go with q and k as they are. A window of 0:
 * no chunks, and all layers rotate. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    enum { CHUNK = 8192, EVERY = 4, MAVERICK = 128 };
    int every = 1, chunk = CHUNK;
    SF_TRY(sf_gguf_int(g, "llama4.interleave_moe_layer_step", true, 1, INT_MAX, &every));
    SF_TRY(sf_gguf_int(g, "llama4.attention.sliding_window", false, 0, INT_MAX, &chunk));
    SF_TRY(sf_family_gguf_experts(g, "llama4", c));
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router.normalize = false;
    c->shared_mlp = c->expert_mlp;
    c->qk_unit = c->router.experts != MAVERICK;
    c->chunked = chunk > 0;
    c->window = chunk > 0 ? CHUNK : 0;
    c->still_growth = chunk > 0 ? 0.1f : 0;
    c->still_positions = CHUNK;
    for (int l = 0; l < c->layers; l++) {
        c->whole_mlp[l] = (l + 1) % every != 0;
        c->unrotated[l] = chunk > 0 && (l + 1) % EVERY == 0;
        c->sliding[l] = chunk > 0 && !c->unrotated[l];
    }
    if (chunk > 0 && !memchr(c->sliding, 1, (size_t)c->layers)) c->window = 0, c->chunked = false;
    return SF_OK;
}

const sf_family sf_family_llama4 = {
    .name = "llama4",
    .neighbours = true, .chunked = true, .scaled_input = true,

    .model_type = {"llama4_text"},
    .wrapper = "llama4",
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
                         "head_dim": 128, "num_experts_per_tok": 1, "num_local_experts": 16, "intermediate_size_mlp": 16384,
                         "interleave_moe_layer_step": 1, "use_qk_norm": true, "no_rope_layer_interval": 4,
                         "attn_temperature_tuning": true, "floor_scale": 8192, "attn_scale": 0.1}),
    .theta = 500000,
    .own = (const char *const[]){"attention_bias", "no_rope_layers", NULL},
    .read = read,
    .unpack = sf_unpack_llama4,

    .gguf = "llama4",
    .read_gguf = read_gguf,
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(gate), .hf = "feed_forward.gate_proj.weight"},
        {SF_LAYER_TENSOR(up), .hf = "feed_forward.up_proj.weight"},
        {SF_LAYER_TENSOR(down), .hf = "feed_forward.down_proj.weight"},
        {SF_LAYER_TENSOR(router), .hf = "feed_forward.router.weight"},
        {SF_LAYER_TENSOR(shared_gate), .hf = "feed_forward.shared_expert.gate_proj.weight"},
        {SF_LAYER_TENSOR(shared_up), .hf = "feed_forward.shared_expert.up_proj.weight"},
        {SF_LAYER_TENSOR(shared_down), .hf = "feed_forward.shared_expert.down_proj.weight"},
        {0}},
    .expert = &(const sf_expert_names){{
        [SF_EXPERT_GATE] = "feed_forward.experts.gate",
        [SF_EXPERT_UP] = "feed_forward.experts.up",
        [SF_EXPERT_DOWN] = "feed_forward.experts.down"}},
};
