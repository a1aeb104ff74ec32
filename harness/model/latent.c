/* What the files of families with latent attention (MLA; DeepSeek-AI 2024, arXiv 2405.04434) say of it. The engine computes it in the
 * latent's own space: a token's row in the cache is its rotated part and its latent, [R + r], one kv head for all query heads; the
 * same row is key and, without its first R numbers, value. */
#include "harness/model/family.h"

#include <math.h>
#include <stdio.h>

const sf_tensor_name sf_latent_tensors[] = { /* one tensor each, the latent's rows first */
    {SF_LAYER_TENSOR(latent), .hf = "self_attn.kv_a_proj_with_mqa.weight", .gguf = "attn_kv_a_mqa.weight"},
    {SF_LAYER_TENSOR(rotated), .hf = "self_attn.kv_a_proj_with_mqa.weight", .gguf = "attn_kv_a_mqa.weight"},
    {SF_LAYER_TENSOR(latent_bias), .hf = "self_attn.kv_a_proj_with_mqa.bias", .gguf = "attn_kv_a_mqa.bias"},
    {SF_LAYER_TENSOR(rotated_bias), .hf = "self_attn.kv_a_proj_with_mqa.bias", .gguf = "attn_kv_a_mqa.bias"},
    {0}};

static double yarn_scale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

/* From numbers of heads and latents to what the engine computes with. mscale: of all dimensions, in the words of DeepSeek's files. */
static void finish(sf_model_config *c, int rotary, double mscale)
{
    const double grown = c->rope.scaling == SF_ROPE_PLAIN ? 1 : yarn_scale(c->rope.factor, mscale);
    c->kv_heads = 1;
    c->rotary_dim = rotary;
    c->head_dim = rotary + c->latent;
    c->attention_scale = (float)(grown * grown / sqrt(c->own_dim + rotary));
}

sf_status sf_family_latent(sf_json_at at, sf_model_config *c)
{
    enum { MOST = 1 << 16 };
    int64_t latent = 0, queries = 0, own = 0, rotary = 0, value = 0;
    double mscale = 0;
    const json_t *rope = NULL;
    if (c->kv_heads != c->heads) {
        char expected[64];
        snprintf(expected, sizeof expected, "num_attention_heads, %d, as latents have no groups", c->heads);
        return sf_json_fail(SF_BAD_INPUT, at, "num_key_value_heads", expected);
    }
    SF_TRY(sf_json_int(at, "kv_lora_rank", true, 1, MOST, &latent));
    SF_TRY(sf_json_int(at, "q_lora_rank", false, 1, MOST, &queries));
    SF_TRY(sf_json_int(at, "qk_nope_head_dim", true, 1, MOST, &own));
    SF_TRY(sf_json_int(at, "qk_rope_head_dim", true, 2, MOST, &rotary));
    SF_TRY(sf_json_int(at, "v_head_dim", true, 1, MOST, &value));
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->latent_bias));
    SF_TRY(sf_json_object(at, "rope_scaling", false, &rope));
    if (!rope) SF_TRY(sf_json_object(at, "rope_parameters", false, &rope));
    if (rope) SF_TRY(sf_json_real((sf_json_at){rope, at.path, "rope_scaling."}, "mscale_all_dim", false, 0, 1e3, &mscale));
    c->o_bias = c->latent_bias;
    c->latent = (int)latent;
    c->query_latent = (int)queries;
    c->own_dim = (int)own;
    c->value_dim = (int)value;
    c->latent_eps = 1e-6; /* whatever the others have: the classes leave theirs at its default */
    finish(c, (int)rotary, mscale);
    return SF_OK;
}

sf_status sf_family_gguf_latent(const sf_gguf *g, const char *architecture, sf_model_config *c)
{
    enum { MOST = 1 << 16 };
    int rotary = 0, key = 0;
    double log_multiplier = 0;
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "attention.kv_lora_rank"), true, 1, MOST, &c->latent));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "attention.q_lora_rank"), false, 1, MOST, &c->query_latent));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, "rope.dimension_count"), true, 2, MOST, &rotary));
    /* Newer files have the cache's row as key and value, and beside them what a head has. */
    const bool newer = sf_gguf_find(g, sf_gguf_key_of(architecture, "attention.key_length_mla")) != NULL;
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, newer ? "attention.key_length_mla" : "attention.key_length"), true, 1, MOST, &key));
    SF_TRY(sf_gguf_int(g, sf_gguf_key_of(architecture, newer ? "attention.value_length_mla" : "attention.value_length"), true, 1, MOST, &c->value_dim));
    SF_TRY(sf_gguf_real(g, sf_gguf_key_of(architecture, "rope.scaling.yarn_log_multiplier"), false, 0, 1e3, &log_multiplier));
    if (c->rope.scaling == SF_ROPE_YARN && c->rope.attention_factor != 0)
        return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected none: what it does to latent attention is not known here", g->path,
                       sf_gguf_key_of(architecture, "rope.scaling.attn_factor"));
    if (c->rope.scaling == SF_ROPE_YARN) c->rope.attention_factor = c->rope_local.attention_factor = 1; /* all of it is in the scale */
    c->own_dim = key - rotary;
    c->latent_eps = 1e-6; /* as above: files do not say */
    finish(c, rotary, log_multiplier / 0.1); /* stored times that */
    return SF_OK;
}
