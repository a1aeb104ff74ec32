/* Qwen2 and Qwen2.5. Yang et al. 2024, arXiv 2407.10671 and 2412.15115; transformers 5: models/qwen2. Beyond its 32768
 * positions YaRN by the rule of the study (arXiv 2504.17768). */
#include "harness/model/family.h"

const sf_family sf_family_qwen2 = {
    .name = "qwen2",
    .qkv_bias = true,
    .yarn_by_rule = 32768,

    .model_type = {"qwen2"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "num_key_value_heads": 32,
                         "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28}),
    .theta = 10000,
    .sliding = SF_SLIDES_FROM_LAYER,
    .layer_types = true,

    .gguf = "qwen2",
};
