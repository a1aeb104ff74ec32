/* frontier-mini with a kind of attention that its recipe trained (models/frontier-mini/recipe/kinds): Qwen2 whose rows are normalised by
 * α-entmax, and, with adaptive-scalable entmax, whose queries grow with their position. The keys are those of the method's authors
 * (Vasylenko et al. 2025, arXiv 2506.16640; deep-spin/asentmax be54bd3). A model trained with softmax is a plain Qwen2. */
#include "harness/model/family.h"

#include <string.h>

static sf_status read(sf_json_at at, sf_model_config *c)
{
    double alpha = 0, delta = 1, range = 2;
    const char *scales = NULL;
    SF_TRY(sf_json_real(at, "entmax_alpha", true, 1, 2, &alpha));
    c->entmax_alpha = (float)alpha;
    SF_TRY(sf_json_text(at, "attn_scale_type", false, &scales));
    if (!scales) return SF_OK;
    if (strcmp(scales, "adapt-softplus-tanh") != 0) return sf_json_fail(SF_UNSUPPORTED, at, "attn_scale_type", "adapt-softplus-tanh, or none");
    SF_TRY(sf_json_real(at, "attn_scale_delta", false, 0, 1e3, &delta));
    SF_TRY(sf_json_real(at, "attn_scale_gamma_range", false, 0, 1e2, &range));
    c->query_scales = true;
    c->scale_delta = (float)delta;
    c->scale_range = (float)range;
    return SF_OK;
}

const sf_family sf_family_frontier_mini = {
    .name = "frontier_mini",
    .qkv_bias = true,

    .model_type = {"frontier_mini"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                         "use_sliding_window": false}),
    .theta = 10000,
    .sliding = SF_NEVER_SLIDES,
    .layer_types = true,
    .own = (const char *const[]){"entmax_alpha", "attn_scale_type", "attn_scale_delta", "attn_scale_gamma_range", NULL},
    .read = read,
};
