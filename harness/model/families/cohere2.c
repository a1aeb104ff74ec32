/* Command R7B and Command A. Cohere 2025, arXiv 2504.00698; transformers 5: models/cohere2. Attention and MLP read the same
 * normed rows; layers that do not slide, one of four, have no positions. */
#include "harness/model/family.h"

#include <limits.h>

enum { WHOLE_EVERY = 4 };

/* Its files do not say which layers slide. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    double scale = 1;
    SF_TRY(sf_gguf_int(g, "cohere2.attention.sliding_window", true, 1, INT_MAX, &c->window));
    SF_TRY(sf_gguf_real(g, "cohere2.logit_scale", true, 1e-6, 1e6, &scale));
    c->logit_scale = (float)scale;
    for (int l = 0; l < c->layers; l++) c->unrotated[l] = !(c->sliding[l] = (l + 1) % WHOLE_EVERY != 0);
    return SF_OK;
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    double scale = 1;
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    SF_TRY(sf_json_real(at, "logit_scale", true, 1e-6, 1e6, &scale));
    c->logit_scale = (float)scale;
    c->head_dim = c->d / c->heads; /* the class does not look for the key */
    for (int l = 0; l < c->layers; l++) c->unrotated[l] = !c->sliding[l];
    return SF_OK;
}

const sf_family sf_family_cohere2 = {
    .name = "cohere2",
    .neighbours = true, .parallel = true, .layer_norm = true,

    .model_type = {"cohere2"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 8192, "layer_norm_eps": 1e-5,
                         "tie_word_embeddings": true, "logit_scale": 0.0625, "sliding_window": 4096,
                         "sliding_window_pattern": 4}),
    .theta = 10000,
    .norm_eps_key = "layer_norm_eps",
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .own = (const char *const[]){"attention_bias", "logit_scale", NULL},
    .read = read,

    .gguf = "cohere2",
    .read_gguf = read_gguf,
};
