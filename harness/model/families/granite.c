/* Granite 3, dense. Granite Team 2024, "Granite 3.0 Language Models"; transformers 5: models/granite. Four numbers scale what
 * is left to its own size in Llama: embeddings, attention scores, what a block adds, logits. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    double embedding = 1, attention = 1, residual = 1, logits = 1;
    SF_TRY(sf_family_biases(at, c));
    SF_TRY(sf_json_real(at, "embedding_multiplier", true, 1e-6, 1e6, &embedding));
    SF_TRY(sf_json_real(at, "attention_multiplier", true, 1e-6, 1e6, &attention));
    SF_TRY(sf_json_real(at, "residual_multiplier", true, 1e-6, 1e6, &residual));
    SF_TRY(sf_json_real(at, "logits_scaling", true, 1e-6, 1e6, &logits));
    c->embed_scale = (float)embedding;
    c->attention_scale = (float)attention;
    c->residual_scale = (float)residual;
    c->logit_scale = (float)(1 / logits);
    return SF_OK;
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    double embedding = 1, attention = 0, residual = 1, logits = 1;
    SF_TRY(sf_gguf_real(g, "granite.embedding_scale", false, 1e-6, 1e6, &embedding));
    SF_TRY(sf_gguf_real(g, "granite.attention.scale", false, 1e-6, 1e6, &attention));
    SF_TRY(sf_gguf_real(g, "granite.residual_scale", false, 1e-6, 1e6, &residual));
    SF_TRY(sf_gguf_real(g, "granite.logit_scale", false, 1e-6, 1e6, &logits));
    c->embed_scale = (float)embedding;
    c->attention_scale = (float)attention; /* 0: as usual */
    c->residual_scale = (float)residual;
    c->logit_scale = (float)(1 / logits);
    return SF_OK;
}

const sf_family sf_family_granite = {
    .name = "granite",

    .model_type = {"granite"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "embedding_multiplier": 1.0, "attention_multiplier": 1.0,
                         "residual_multiplier": 1.0, "logits_scaling": 1.0}),
    .theta = 10000,
    .own = (const char *const[]){"attention_bias", "mlp_bias", "embedding_multiplier", "attention_multiplier",
                                 "residual_multiplier", "logits_scaling", NULL},
    .read = read,

    .gguf = "granite",
    .interleaved = true,
    .read_gguf = read_gguf,
};
