/* MiniMax M2. MiniMax 2025, github.com/MiniMax-AI/MiniMax-M2; transformers 5: models/minimax_m2. Experts are chosen by sigmoids
 * with a correction; queries and keys are normed over all heads together; a part of each head is rotated. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    int64_t rotary = c->head_dim;
    SF_TRY(sf_family_experts(at, c));
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router.normalize = c->router_correction = true;
    if (c->rotary_dim == 0) SF_TRY(sf_json_int(at, "rotary_dim", false, 2, c->head_dim, &rotary));
    if (rotary != c->head_dim) c->rotary_dim = (int)rotary;
    return SF_OK;
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    enum { SIGMOID = 2 };
    int gate = SIGMOID;
    SF_TRY(sf_gguf_int(g, "minimax-m2.expert_gating_func", false, SIGMOID, SIGMOID, &gate));
    SF_TRY(sf_family_gguf_experts(g, "minimax-m2", c));
    c->router.kind = SF_ROUTE_SIGMOID;
    c->router_correction = true;
    return SF_OK;
}

const sf_family sf_family_minimax_m2 = {
    .name = "minimax_m2",
    .qk_norm = true, .qk_norm_whole = true,

    .model_type = {"minimax_m2"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 196608, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "num_key_value_heads": 8, "head_dim": 128, "num_experts_per_tok": 8,
                         "num_local_experts": 256}),
    .theta = 5e6,
    .partial_rotary = 1,
    .read = read,

    .gguf = "minimax-m2",
    .read_gguf = read_gguf,
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(router), .hf = "block_sparse_moe.gate.weight"},
        {SF_LAYER_TENSOR(router_correction), .hf = "block_sparse_moe.e_score_correction_bias"},
        {0}},
    .expert = &(const sf_expert_names){{
        [SF_EXPERT_GATE] = "block_sparse_moe.experts.%d.w1.weight",
        [SF_EXPERT_UP] = "block_sparse_moe.experts.%d.w3.weight",
        [SF_EXPERT_DOWN] = "block_sparse_moe.experts.%d.w2.weight"}},
};
