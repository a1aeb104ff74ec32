/* Apertus. Swiss AI 2025, arXiv 2509.14233; transformers 5: models/apertus. Llama with norms on q and k, and xIELU, whose
 * slopes each layer has learnt, instead of a gated MLP. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    const json_t *positions = NULL;
    /* What the class takes without either is of one size of the family. */
    if (!sf_json_value(at, "rope_scaling")) SF_TRY(sf_json_object(at, "rope_parameters", true, &positions));
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    return SF_OK;
}

const sf_family sf_family_apertus = {
    .name = "apertus",
    .qk_norm = true, .gateless = true,

    .model_type = {"apertus"},
    .defaults = SF_JSON({"hidden_act": "xielu", "max_position_embeddings": 65536, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false}),
    .theta = 12e6,
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,

    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(attention_norm), .hf = "attention_layernorm.weight"},
        {SF_LAYER_TENSOR(mlp_norm), .hf = "feedforward_layernorm.weight"},
        {0}},
};
