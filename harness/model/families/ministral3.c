/* Ministral 3. Mistral AI 2025, mistral.ai/news/mistral-3; transformers 5: models/ministral3. Mistral, whose queries grow with
 * the logarithm of their position, as Llama 4's do. */
#include "harness/model/family.h"

#include <limits.h>

static sf_status read(sf_json_at at, sf_model_config *c)
{
    const json_t *parameters = NULL;
    double beta = 0;
    int64_t original = c->rope.original_positions;
    SF_TRY(sf_json_object(at, "rope_parameters", true, &parameters)); /* what the class takes without it is of one size */
    sf_json_at in = {parameters, at.path, "rope_parameters."};
    SF_TRY(sf_json_real(in, "llama_4_scaling_beta", true, 0, 1e3, &beta));
    SF_TRY(sf_json_int(in, "original_max_position_embeddings", true, 1, INT_MAX, &original));
    c->query_growth = (float)beta;
    c->rope.original_positions = (int)original;
    return SF_OK;
}

const sf_family sf_family_ministral3 = {
    .name = "ministral3",

    .model_type = {"ministral3"},
    .wrapper = "mistral3",
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 262144, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "num_key_value_heads": 8, "head_dim": 128}),
    .theta = 1e6,
    .sliding = SF_EVERY_LAYER_SLIDES,
    .read = read,
};
