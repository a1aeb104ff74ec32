/* Mixtral. Jiang et al. 2024, arXiv 2401.04088; transformers 5: models/mixtral. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_family_experts(at, c));
    c->router.normalize = true;
    return SF_OK;
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c) { return sf_family_gguf_experts(g, "llama", c); }

const sf_family sf_family_mixtral = {
    .name = "mixtral",

    .model_type = {"mixtral"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "num_key_value_heads": 8, "num_experts_per_tok": 2,
                         "num_local_experts": 8}),
    .theta = 10000,
    .sliding = SF_EVERY_LAYER_SLIDES,
    .read = read,

    .gguf = "llama",
    .gguf_experts = true,
    .interleaved = true,
    .read_gguf = read_gguf,
    .tensor = (const sf_tensor_name[]){{SF_LAYER_TENSOR(router), .hf = "block_sparse_moe.gate.weight"}, {0}},
    .expert = &(const sf_expert_names){{
        [SF_EXPERT_GATE] = "block_sparse_moe.experts.%d.w1.weight",
        [SF_EXPERT_UP] = "block_sparse_moe.experts.%d.w3.weight",
        [SF_EXPERT_DOWN] = "block_sparse_moe.experts.%d.w2.weight"}},
};
