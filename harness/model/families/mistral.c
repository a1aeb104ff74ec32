/* Mistral 7B to Nemo, Ministral 8B. Jiang et al. 2023, arXiv 2310.06825; transformers 5: models/mistral, and
 * models/ministral, which its AutoConfig takes for a mistral that has layer_types. GGUF files call themselves llama. */
#include "harness/model/family.h"

const sf_family sf_family_mistral = {
    .name = "mistral",

    .model_type = {"mistral", "ministral"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "num_key_value_heads": 8, "sliding_window": 4096}),
    .theta = 10000,
    .sliding = SF_EVERY_LAYER_SLIDES,
    .layer_types = true,
};
