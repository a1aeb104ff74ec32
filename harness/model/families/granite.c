/* Granite 3, dense, and Granite 4 (H: hybrid). Granite Team 2024, "Granite 3.0 Language Models"; transformers 5: models/granite,
 * models/granitemoehybrid. Four numbers scale what is left to its own size in Llama: embeddings, attention scores, what a block adds,
 * logits. In most layers of a hybrid a state space (Mamba 2) stands in attention's place, attention has no positions, and the larger ones
 * have experts beside the MLP that all rows share. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

#include <string.h>

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

static sf_status read_gguf_scales(const sf_gguf *g, const char *architecture, sf_model_config *c)
{
    double embedding = 1, attention = 0, residual = 1, logits = 1;
    SF_TRY(sf_gguf_real(g, sf_gguf_key_of(architecture, "embedding_scale"), false, 1e-6, 1e6, &embedding));
    SF_TRY(sf_gguf_real(g, sf_gguf_key_of(architecture, "attention.scale"), false, 1e-6, 1e6, &attention));
    SF_TRY(sf_gguf_real(g, sf_gguf_key_of(architecture, "residual_scale"), false, 1e-6, 1e6, &residual));
    SF_TRY(sf_gguf_real(g, sf_gguf_key_of(architecture, "logit_scale"), false, 1e-6, 1e6, &logits));
    c->embed_scale = (float)embedding;
    c->attention_scale = (float)attention; /* 0: as usual */
    c->residual_scale = (float)residual;
    c->logit_scale = (float)(1 / logits);
    return SF_OK;
}

static sf_status read_gguf(const sf_gguf *g, sf_model_config *c) { return read_gguf_scales(g, "granite", c); }

/* Without experts the MLP that all rows share is the only one. */
static sf_status read_hybrid(sf_json_at at, sf_model_config *c)
{
    int64_t experts = 0, shared = 0;
    const char *positions = NULL;
    SF_TRY(read(at, c));
    if (!sf_json_value(at, "layer_types")) memset(c->recurs, 1, (size_t)c->layers);
    SF_TRY(sf_family_state_space(at, c));
    SF_TRY(sf_json_text(at, "position_embedding_type", false, &positions));
    if (!positions || strcmp(positions, "rope") != 0) memset(c->unrotated, 1, (size_t)c->layers);
    SF_TRY(sf_json_int(at, "shared_intermediate_size", true, 1, 1 << 24, &shared));
    SF_TRY(sf_json_int(at, "num_local_experts", true, 0, SF_MOST_EXPERTS, &experts));
    if (experts == 0) {
        c->mlp = (int)shared;
        return SF_OK;
    }
    c->router.normalize = true; /* a softmax over those that are chosen */
    c->shared_mlp = (int)shared;
    return sf_family_experts(at, c);
}

/* llama.cpp rotates where rope.scaling.finetuned says so, a key with another meaning elsewhere; Bamba's files are of this architecture too. */
static sf_status read_gguf_hybrid(const sf_gguf *g, sf_model_config *c)
{
    bool rotates = false;
    int experts = 0;
    SF_TRY(read_gguf_scales(g, "granitehybrid", c));
    SF_TRY(sf_family_gguf_state_space(g, "granitehybrid", c));
    SF_TRY(sf_gguf_bool(g, "granitehybrid.rope.scaling.finetuned", &rotates));
    if (!rotates) memset(c->unrotated, 1, (size_t)c->layers);
    SF_TRY(sf_gguf_int(g, "granitehybrid.expert_count", false, 0, SF_MOST_EXPERTS, &experts));
    if (experts == 0) return SF_OK;
    SF_TRY(sf_gguf_int(g, "granitehybrid.expert_shared_feed_forward_length", true, 1, 1 << 24, &c->shared_mlp));
    return sf_family_gguf_experts(g, "granitehybrid", c);
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

const sf_family sf_family_granitemoehybrid = {
    .name = "granitemoehybrid",

    .model_type = {"granitemoehybrid"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": false, "embedding_multiplier": 1.0, "attention_multiplier": 1.0,
                         "residual_multiplier": 1.0, "logits_scaling": 1.0, "intermediate_size": 11008, "num_local_experts": 8,
                         "num_experts_per_tok": 2, "shared_intermediate_size": 1024, "mamba_n_heads": 128, "mamba_n_groups": 1,
                         "mamba_d_state": 256, "mamba_d_head": "auto", "mamba_d_conv": 4, "mamba_expand": 2,
                         "mamba_conv_bias": true, "mamba_proj_bias": false}),
    .theta = 10000,
    .layer_types = true,
    .recurrent_type = "linear_attention",
    .older_types = {"attention", "mamba"},
    .own = (const char *const[]){"attention_bias", "embedding_multiplier", "attention_multiplier", "residual_multiplier",
                                 "logits_scaling", NULL},
    .unpack = sf_unpack_granite_experts,
    .read = read_hybrid,

    .gguf = "granitehybrid",
    .interleaved = true,
    .read_gguf = read_gguf_hybrid,
    .tensor = (const sf_tensor_name[]){
        SF_STATE_SPACE_TENSORS,
        {SF_LAYER_TENSOR(convolution), .hf = "mamba.conv1d.weight"},
        {SF_LAYER_TENSOR(gate), .hf = "shared_mlp.input_linear.weight"},
        {SF_LAYER_TENSOR(up), .hf = "shared_mlp.input_linear.weight"},
        {SF_LAYER_TENSOR(down), .hf = "shared_mlp.output_linear.weight"},
        {SF_LAYER_TENSOR(shared_gate), .hf = "shared_mlp.input_linear.weight"},
        {SF_LAYER_TENSOR(shared_up), .hf = "shared_mlp.input_linear.weight"},
        {SF_LAYER_TENSOR(shared_down), .hf = "shared_mlp.output_linear.weight"},
        {SF_LAYER_TENSOR(router), .hf = "block_sparse_moe.router.layer.weight"},
        {0}},
};
