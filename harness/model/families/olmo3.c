/* OLMo 3. OLMo Team 2025, allenai.org/blog/olmo3; transformers 5: models/olmo3. OLMo 2, three layers of four of which slide;
 * where positions are scaled, these are not. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    return SF_OK;
}

const sf_family sf_family_olmo3 = {
    .name = "olmo3",
    .qk_norm = true, .qk_norm_whole = true, .post_norms = true, .no_pre_norms = true,

    .model_type = {"olmo3"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "sliding_window": 4096, "sliding_window_pattern": 4}),
    .theta = 5e5, .local_theta = 5e5,
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,
};
