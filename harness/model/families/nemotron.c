/* Nemotron-4 and Minitron. Parmar et al. 2024, arXiv 2402.16819; transformers 5: models/nemotron. LayerNorm whose weights are
 * stored minus one, squared ReLU without a gate, half of each head rotated. */
#include "harness/model/family.h"

const sf_family sf_family_nemotron = {
    .name = "nemotron",
    .layer_norm = true, .norm_bias = true, .norm_offset = 1, .gateless = true, .activation = SF_RELU2,

    .model_type = {"nemotron"},
    .defaults = SF_JSON({"hidden_act": "relu2", "max_position_embeddings": 4096, "norm_eps": 1e-5,
                         "tie_word_embeddings": false}),
    .theta = 10000,
    .norm_eps_key = "norm_eps",
    .partial_rotary = 0.5,
    .own = sf_family_bias_keys,
    .read = sf_family_biases,
};
