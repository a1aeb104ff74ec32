/* AFM 4.5B. Arcee AI 2025, arcee.ai/blog; transformers 5: models/arcee. Llama with squared ReLU instead of a gated MLP. */
#include "harness/model/family.h"

const sf_family sf_family_arcee = {
    .name = "arcee",
    .gateless = true, .activation = SF_RELU2,

    .model_type = {"arcee"},
    .defaults = SF_JSON({"hidden_act": "relu2", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false}),
    .theta = 10000,
    .own = sf_family_bias_keys,
    .read = sf_family_biases,

    .gguf = "arcee",
    .interleaved = true,
};
