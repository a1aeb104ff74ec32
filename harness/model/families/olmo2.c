/* OLMo 2. OLMo Team 2025, arXiv 2501.00656; transformers 5: models/olmo2. Norms stand on what attention and MLP give, and not
 * before them; queries and keys are normed over all heads together. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    return SF_OK;
}

const sf_family sf_family_olmo2 = {
    .name = "olmo2",
    .qk_norm = true, .qk_norm_whole = true, .post_norms = true, .no_pre_norms = true,

    .model_type = {"olmo2"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false}),
    .theta = 10000,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .gguf = "olmo2",
};
