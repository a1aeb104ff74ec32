/* Llama 2 to 3.3 and all that took their shape (SmolLM2, Yi, DeepSeek-Coder, …). Touvron et al. 2023, arXiv 2302.13971;
 * transformers 5: models/llama. */
#include "harness/model/family.h"

const sf_family sf_family_llama = {
    .name = "llama",

    .model_type = {"llama"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false}),
    .theta = 10000,
    .own = sf_family_bias_keys,
    .read = sf_family_biases,

    .gguf = "llama",
    .interleaved = true,
};
