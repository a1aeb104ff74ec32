/* Phi-3, Phi-3.5 and Phi-4. Abdin et al. 2024, arXiv 2404.14219 and 2412.08905; transformers 5: models/phi3. Llama, with
 * queries, keys and values in one tensor, gate and up in another. Phi-4-mini turns three quarters of each head only. */
#include "harness/model/family.h"

const sf_family sf_family_phi3 = {
    .name = "phi3",

    .model_type = {"phi3"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "vocab_size": 32064}),
    .theta = 10000,
    .partial_rotary = 1,
    .sliding = SF_EVERY_LAYER_SLIDES,

    .gguf = "phi3",
    .tensor = (const sf_tensor_name[]){
        {SF_LAYER_TENSOR(q), .hf = "self_attn.qkv_proj.weight", .gguf = "attn_qkv.weight"},
        {SF_LAYER_TENSOR(k), .hf = "self_attn.qkv_proj.weight", .gguf = "attn_qkv.weight"},
        {SF_LAYER_TENSOR(v), .hf = "self_attn.qkv_proj.weight", .gguf = "attn_qkv.weight"},
        {SF_LAYER_TENSOR(gate), .hf = "mlp.gate_up_proj.weight", .gguf = "ffn_up.weight"},
        {SF_LAYER_TENSOR(up), .hf = "mlp.gate_up_proj.weight", .gguf = "ffn_up.weight"},
        {0}},
};
