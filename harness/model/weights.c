#include "harness/model/weights.h"
#include "harness/model/family.h"
#include "harness/model/mixer.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes that a config gives names to; a row of the table below says which two a weight has. */
typedef enum size {
    NONE, ONE, KERNEL, MODEL, RECURRENT, CHANNELS, VALUE_HEADS, VALUE_DIM, QUERIES, KEYS, Q_NORM, K_NORM, MLP, SHARED, EXPERTS, HEADS, OUTPUTS, Q_LATENT,
    LATENT, ROTARY, LAYER_DIM
} size;

static int64_t size_of(const sf_model_config *c, int layer, size s)
{
    switch (s) {
    case MODEL: return c->d;
    case QUERIES: return (int64_t)c->heads * (c->latent ? sf_query_numbers(c) : sf_head_dim_of(c, layer));
    case OUTPUTS: return (int64_t)c->heads * (c->latent ? sf_output_numbers(c) : sf_head_dim_of(c, layer));
    case LAYER_DIM: return c->layer_dim;
    case Q_LATENT: return c->query_latent;
    case LATENT: return c->latent;
    case ROTARY: return c->rotary_dim;
    case KEYS: return (int64_t)sf_kv_heads_of(c, layer) * sf_head_dim_of(c, layer);
    case ONE: return 1;
    case Q_NORM: return (int64_t)(c->qk_norm_whole ? c->heads : 1) * sf_head_dim_of(c, layer);
    case K_NORM: return (int64_t)(c->qk_norm_whole ? c->kv_heads : 1) * sf_head_dim_of(c, layer);
    case MLP: return sf_layer_mlp(c, layer);
    case SHARED: return c->shared_mlp;
    case EXPERTS: return c->router.experts;
    case HEADS: return c->heads;
    case KERNEL: return c->kernel;
    case RECURRENT: return sf_mixer_sizes(c).in[0];
    case VALUE_HEADS: return c->delta.value_heads;
    case VALUE_DIM: return c->delta.value_dim;
    case CHANNELS: return sf_mixer_sizes(c).in[1];
    default: return 0;
    }
}

typedef enum condition {
    ALWAYS, ATTENDS, RECURS, CONVOLVES, DELTA, SPACE, SPACE_NORM, DECAYS, GATED, STORED, VALUED, COMPRESSED, Q_DIRECT, Q_COMPRESSED, PRE_NORMS, MLP_NORM, POST_NORMS, QK_NORM, OWN_K_NORM, SCALED, EMBEDDED, WHOLE, GATE, XIELU, MIXTURE, BESIDE, SHARE, SHARED_GATE, SWITCH, QUERY_SCALES, SINKS, Q_BIAS, K_BIAS, V_BIAS, O_BIAS, MLP_BIAS, GATE_BIAS, NORM_BIAS, MLP_NORM_BIAS, ROUTER_BIAS, GATED_BIAS,
    CONVOLUTION_BIAS, CORRECTION, LATENT_BIAS, Q_LATENT_BIAS
} condition;

static bool holds(const sf_model_config *c, int layer, condition when)
{
    bool mixes = sf_layer_mixes(c, layer), attends = sf_layer_attends(c, layer), recurs = sf_layer_recurs(c, layer);
    bool whole = (!mixes || c->experts_beside) && !c->bare[layer];
    bool own = attends && !sf_layer_borrows(c, layer), valued = !c->keys_are_values || c->sliding[layer];
    switch (when) {
    case ALWAYS: return true;
    case STORED: return own && !c->latent;
    case VALUED: return own && valued && !c->latent;
    case COMPRESSED: return c->latent;
    case Q_DIRECT: return attends && !c->query_latent;
    case Q_COMPRESSED: return c->query_latent;
    case LATENT_BIAS: return c->latent_bias;
    case Q_LATENT_BIAS: return c->latent_bias && c->query_latent;
    case ATTENDS: return attends;
    case RECURS: return recurs;
    case CONVOLVES: return recurs && c->mixer == SF_SHORT_CONVOLUTION;
    case DELTA: return recurs && c->mixer == SF_GATED_DELTA;
    case SPACE: return recurs && c->mixer == SF_STATE_SPACE;
    case SPACE_NORM: return recurs && c->mixer == SF_STATE_SPACE && !c->no_mixer_norm;
    case DECAYS: return recurs && c->mixer != SF_SHORT_CONVOLUTION;
    case CONVOLUTION_BIAS: return recurs && c->convolution_bias;
    case GATED: return attends && c->attention_gate;
    case GATED_BIAS: return attends && c->attention_gate && c->qkv_bias;
    case PRE_NORMS: return !c->no_pre_norms && !c->idle[layer];
    case MLP_NORM: return !c->no_pre_norms && !c->parallel && !c->bare[layer];
    case POST_NORMS: return c->post_norms;
    case QK_NORM: return attends && c->qk_norm;
    case OWN_K_NORM: return own && c->qk_norm;
    case SCALED: return c->layer_scale;
    case EMBEDDED: return c->layer_dim;
    case WHOLE: return whole;
    case GATE: return whole && !c->gateless;
    case XIELU: return c->activation == SF_XIELU;
    case MIXTURE: return mixes;
    case BESIDE: return mixes && c->experts_beside;
    case SHARE: return mixes && c->shared_mlp;
    case SHARED_GATE: return mixes && c->shared_mlp && !c->gateless;
    case SWITCH: return mixes && c->shared_switch;
    case QUERY_SCALES: return attends && c->query_scales;
    case SINKS: return attends && c->sinks;
    case ROUTER_BIAS: return mixes && c->router_bias;
    case CORRECTION: return mixes && c->router_correction;
    case Q_BIAS: return attends && c->qkv_bias;
    case K_BIAS: return own && c->qkv_bias;
    case V_BIAS: return own && valued && c->qkv_bias;
    case O_BIAS: return attends && c->o_bias;
    case MLP_BIAS: return whole && c->mlp_bias;
    case GATE_BIAS: return whole && c->mlp_bias && !c->gateless;
    case NORM_BIAS: return c->norm_bias;
    case MLP_NORM_BIAS: return c->norm_bias && !c->parallel;
    }
    return false;
}

#define AT(field) offsetof(sf_layer_weights, field)

/* As Llama calls them; norms that it does not have, as those do that have. */
static const struct {
    size_t at;
    const char *gguf, *hf;
    size rows, columns;
    condition when;
} LAYER[] = {
    {AT(attention_norm), "attn_norm.weight", "input_layernorm.weight", MODEL, NONE, PRE_NORMS},
    {AT(q), "attn_q.weight", "self_attn.q_proj.weight", QUERIES, MODEL, Q_DIRECT},
    {AT(q), "attn_q_b.weight", "self_attn.q_b_proj.weight", QUERIES, Q_LATENT, Q_COMPRESSED},
    {AT(k), "attn_k.weight", "self_attn.k_proj.weight", KEYS, MODEL, STORED},
    {AT(v), "attn_v.weight", "self_attn.v_proj.weight", KEYS, MODEL, VALUED},
    {AT(o), "attn_output.weight", "self_attn.o_proj.weight", MODEL, OUTPUTS, ATTENDS},
    {AT(q_bias), "attn_q.bias", "self_attn.q_proj.bias", QUERIES, NONE, Q_BIAS},
    {AT(k_bias), "attn_k.bias", "self_attn.k_proj.bias", KEYS, NONE, K_BIAS},
    {AT(v_bias), "attn_v.bias", "self_attn.v_proj.bias", KEYS, NONE, V_BIAS},
    {AT(q_norm), "attn_q_norm.weight", "self_attn.q_norm.weight", Q_NORM, NONE, QK_NORM},
    {AT(k_norm), "attn_k_norm.weight", "self_attn.k_norm.weight", K_NORM, NONE, OWN_K_NORM},
    {AT(post_attention_norm), "post_attention_norm.weight", "post_attention_layernorm.weight", MODEL, NONE,
     POST_NORMS},
    {AT(mlp_norm), "ffn_norm.weight", "post_attention_layernorm.weight", MODEL, NONE, MLP_NORM},
    {AT(gate), "ffn_gate.weight", "mlp.gate_proj.weight", MLP, MODEL, GATE},
    {AT(up), "ffn_up.weight", "mlp.up_proj.weight", MLP, MODEL, WHOLE},
    {AT(down), "ffn_down.weight", "mlp.down_proj.weight", MODEL, MLP, WHOLE},
    {AT(post_mlp_norm), "post_ffw_norm.weight", "post_feedforward_layernorm.weight", MODEL, NONE, POST_NORMS},
    {AT(o_bias), "attn_output.bias", "self_attn.o_proj.bias", MODEL, NONE, O_BIAS},
    {AT(gate_bias), "ffn_gate.bias", "mlp.gate_proj.bias", MLP, NONE, GATE_BIAS},
    {AT(up_bias), "ffn_up.bias", "mlp.up_proj.bias", MLP, NONE, MLP_BIAS},
    {AT(down_bias), "ffn_down.bias", "mlp.down_proj.bias", MODEL, NONE, MLP_BIAS},
    {AT(attention_norm_bias), "attn_norm.bias", "input_layernorm.bias", MODEL, NONE, NORM_BIAS},
    {AT(mlp_norm_bias), "ffn_norm.bias", "post_attention_layernorm.bias", MODEL, NONE, MLP_NORM_BIAS},
    {AT(sinks), "attn_sinks.weight", "self_attn.sinks", HEADS, NONE, SINKS},
    {AT(scale_beta), "attn_scale_beta.weight", "self_attn.attn_scale_beta_proj.weight", HEADS, MODEL, QUERY_SCALES},
    {AT(scale_gamma), "attn_scale_gamma.weight", "self_attn.attn_scale_gamma_proj.weight", HEADS, MODEL, QUERY_SCALES},
    {AT(router), "ffn_gate_inp.weight", "mlp.gate.weight", EXPERTS, MODEL, MIXTURE},
    {AT(router_bias), "ffn_gate_inp.bias", "mlp.router.bias", EXPERTS, NONE, ROUTER_BIAS},
    {AT(router_correction), "exp_probs_b.bias", "mlp.gate.e_score_correction_bias", EXPERTS, NONE, CORRECTION},
    {AT(shared_gate), "ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", SHARED, MODEL, SHARED_GATE},
    {AT(shared_up), "ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight", SHARED, MODEL, SHARE},
    {AT(shared_down), "ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", MODEL, SHARED, SHARE},
    {AT(shared_switch), "ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight", ONE, MODEL, SWITCH},
    {AT(q_down), "attn_q_a.weight", "self_attn.q_a_proj.weight", Q_LATENT, MODEL, Q_COMPRESSED},
    {AT(q_down_norm), "attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", Q_LATENT, NONE, Q_COMPRESSED},
    {AT(q_down_bias), "attn_q_a.bias", "self_attn.q_a_proj.bias", Q_LATENT, NONE, Q_LATENT_BIAS},
    {AT(latent), "attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", LATENT, MODEL, COMPRESSED},
    {AT(rotated), "attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", ROTARY, MODEL, COMPRESSED},
    {AT(latent_bias), "attn_kv_a_mqa.bias", "self_attn.kv_a_proj_with_mqa.bias", LATENT, NONE, LATENT_BIAS},
    {AT(rotated_bias), "attn_kv_a_mqa.bias", "self_attn.kv_a_proj_with_mqa.bias", ROTARY, NONE, LATENT_BIAS},
    {AT(latent_norm), "attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", LATENT, NONE, COMPRESSED},
    {AT(mixer_by), "shortconv.in_proj.weight", "conv.in_proj.weight", RECURRENT, MODEL, CONVOLVES},
    {AT(mixer_in), "attn_qkv.weight", "linear_attn.in_proj_qkv.weight", CHANNELS, MODEL, RECURS},
    {AT(mixer_gate), "attn_gate.weight", "linear_attn.in_proj_z.weight", RECURRENT, MODEL, RECURS},
    {AT(mixer_out), "ssm_out.weight", "linear_attn.out_proj.weight", MODEL, RECURRENT, RECURS},
    {AT(convolution), "ssm_conv1d.weight", "linear_attn.conv1d.weight", CHANNELS, KERNEL, RECURS},
    {AT(decay_in), "ssm_alpha.weight", "linear_attn.in_proj_a.weight", VALUE_HEADS, MODEL, DECAYS},
    {AT(beta_in), "ssm_beta.weight", "linear_attn.in_proj_b.weight", VALUE_HEADS, MODEL, DELTA},
    {AT(decay_rate), "ssm_a", "linear_attn.A_log", VALUE_HEADS, NONE, DECAYS},
    {AT(decay_shift), "ssm_dt.bias", "linear_attn.dt_bias", VALUE_HEADS, NONE, DECAYS},
    {AT(mixer_norm), "ssm_norm.weight", "linear_attn.norm.weight", VALUE_DIM, NONE, DELTA},
    {AT(mixer_norm), "ssm_norm.weight", "mamba.norm.weight", RECURRENT, NONE, SPACE_NORM},
    {AT(convolution_bias), "ssm_conv1d.bias", "mamba.conv1d.bias", CHANNELS, NONE, CONVOLUTION_BIAS},
    {AT(skip), "ssm_d", "mamba.D", VALUE_HEADS, NONE, SPACE},
    {AT(attention_gate), "attn_gate.weight", "self_attn.gate_proj.weight", QUERIES, MODEL, GATED},
    {AT(attention_gate_bias), "attn_gate.bias", "self_attn.gate_proj.bias", QUERIES, NONE, GATED_BIAS},
    {AT(router_norm), "ffn_gate_inp.scale", "router.scale", MODEL, NONE, BESIDE},
    {AT(expert_scale), "ffn_down_exps.scale", "router.per_expert_scale", EXPERTS, NONE, BESIDE},
    {AT(post_whole_norm), "post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight", MODEL, NONE, BESIDE},
    {AT(experts_norm), "pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight", MODEL, NONE, BESIDE},
    {AT(post_experts_norm), "post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight", MODEL, NONE, BESIDE},
    {AT(layer_gate), "inp_gate.weight", "per_layer_input_gate.weight", LAYER_DIM, MODEL, EMBEDDED},
    {AT(layer_out), "proj.weight", "per_layer_projection.weight", MODEL, LAYER_DIM, EMBEDDED},
    {AT(layer_norm), "post_norm.weight", "post_per_layer_input_norm.weight", MODEL, NONE, EMBEDDED},
    {AT(layer_scale), "layer_output_scale.weight", "layer_scalar", ONE, NONE, SCALED},
    {AT(curve[0]), "xielu.alpha_p", "mlp.act_fn.alpha_p", ONE, NONE, XIELU},
    {AT(curve[1]), "xielu.alpha_n", "mlp.act_fn.alpha_n", ONE, NONE, XIELU},
    {AT(curve[2]), "xielu.beta", "mlp.act_fn.beta", ONE, NONE, XIELU},
    {AT(curve[3]), "xielu.eps", "mlp.act_fn.eps", ONE, NONE, XIELU},
};
enum { LAYER_ROWS = sizeof LAYER / sizeof *LAYER };

static const struct {
    const char *gguf, *hf;
    enum { WIDE, NARROW, WIDE_BIAS, NARROW_BIAS } shape; /* [m, d], [d, m], [m], [d] */
} EXPERT[SF_EXPERT_PARTS] = {
    [SF_EXPERT_GATE] = {"ffn_gate_exps.weight", "mlp.experts.%d.gate_proj.weight", WIDE},
    [SF_EXPERT_UP] = {"ffn_up_exps.weight", "mlp.experts.%d.up_proj.weight", WIDE},
    [SF_EXPERT_DOWN] = {"ffn_down_exps.weight", "mlp.experts.%d.down_proj.weight", NARROW},
    [SF_EXPERT_GATE_BIAS] = {"ffn_gate_exps.bias", "mlp.experts.%d.gate_proj.bias", WIDE_BIAS},
    [SF_EXPERT_UP_BIAS] = {"ffn_up_exps.bias", "mlp.experts.%d.up_proj.bias", WIDE_BIAS},
    [SF_EXPERT_DOWN_BIAS] = {"ffn_down_exps.bias", "mlp.experts.%d.down_proj.bias", NARROW_BIAS},
};

int64_t sf_weight_slots_most(const sf_model_config *c)
{
    return 8 + (int64_t)c->layers * (LAYER_ROWS + SF_EXPERT_PARTS * c->router.experts + SF_HEAD_PARTS * (c->latent ? c->heads : 0));
}

sf_status sf_weights_room(const sf_model_config *c, sf_weights *weights, sf_weight_slot **slot, const char *where)
{
    size_t experts = (size_t)c->layers * SF_EXPERT_PARTS * (size_t)c->router.experts;
    size_t heads = c->latent ? (size_t)c->layers * SF_HEAD_PARTS * (size_t)c->heads : 0;
    *slot = calloc((size_t)sf_weight_slots_most(c), sizeof **slot);
    weights->layer = calloc((size_t)c->layers, sizeof *weights->layer);
    weights->expert = experts ? calloc(experts, sizeof *weights->expert) : NULL;
    weights->head_part = heads ? calloc(heads, sizeof *weights->head_part) : NULL;
    if (*slot && weights->layer && (!experts || weights->expert) && (!heads || weights->head_part)) return SF_OK;
    return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", where);
}

void sf_weights_free(sf_weights *weights)
{
    free(weights->layer);
    free(weights->expert);
    free(weights->head_part);
    weights->layer = NULL;
    weights->expert = weights->head_part = NULL;
}

static void put(sf_weight_slot *slot, sf_tensor *at, sf_weight_role role, int64_t rows, int64_t columns)
{
    slot->at = at;
    slot->layer = -1;
    slot->role = role;
    slot->rank = columns ? 2 : 1;
    slot->of_hf = slot->of_gguf = (struct sf_weight_share){0};
    slot->rows_by = slot->columns_by = SF_UNCUT;
    slot->dim[0] = rows;
    slot->dim[1] = columns;
}

static sf_cut cut_of(size s)
{
    switch (s) {
    case QUERIES: case OUTPUTS: return SF_BY_HEADS;
    case KEYS: return SF_BY_KV_HEADS;
    case HEADS: return SF_BY_HEADS;
    case MLP: case SHARED: return SF_BY_MLP;
    case NONE: case ONE: case MODEL: case EXPERTS: case Q_NORM: case K_NORM: case Q_LATENT: case LATENT: case ROTARY: case LAYER_DIM: return SF_UNCUT;
    default: return SF_CUT_UNKNOWN;
    }
}

/* The family's own name of a row's tensor. */
static void rename_slot(const sf_family *f, size_t at, const char **gguf, const char **hf)
{
    for (const sf_tensor_name *n = f ? f->tensor : NULL; n && (n->hf || n->gguf); n++) {
        if (n->at != at) continue;
        if (n->gguf) *gguf = n->gguf;
        if (n->hf) *hf = n->hf;
    }
}

/* Of the tensor in a layer; 0: the layer has none. */
static int64_t rows_of(const sf_model_config *c, int layer, size_t at)
{
    for (int r = 0; r < LAYER_ROWS; r++) {
        if (LAYER[r].at == at && holds(c, layer, LAYER[r].when)) return size_of(c, layer, LAYER[r].rows);
    }
    return 0;
}

/* Where the family gives one name to several of a layer's tensors, they stand below each other in one, in its order. */
static struct sf_weight_share share(const sf_model_config *c, const sf_family *f, int layer, const char *name, size_t at, bool gguf)
{
    int64_t before = 0, all = 0;
    int parts = 0;
    for (const sf_tensor_name *n = f ? f->tensor : NULL; n && (n->hf || n->gguf); n++) {
        const char *other = gguf ? n->gguf : n->hf;
        const int64_t rows = rows_of(c, layer, n->at);
        if (!rows || !other || strcmp(other, name) != 0) continue;
        if (n->at == at) before = all;
        all += rows;
        parts++;
    }
    return parts < 2 ? (struct sf_weight_share){0} : (struct sf_weight_share){before, all};
}

/* A mixture's experts, part by part. In GGUF a part of all experts is one tensor, as in families whose name of it
 * has no number. */
static int put_experts(const sf_model_config *c, const sf_family *f, sf_weights *weights, int layer, sf_weight_slot *slot)
{
    int n = 0, experts = c->router.experts;
    for (int p = 0; p < (c->expert_bias ? SF_EXPERT_PARTS : SF_EXPERT_GATE_BIAS); p++) {
        const char *hf = f && f->expert && f->expert->part[p] ? f->expert->part[p] : EXPERT[p].hf;
        if (p == SF_EXPERT_GATE && c->gateless) continue;
        const bool fused = f && f->fused_experts && p <= SF_EXPERT_UP; /* of each expert gate above up, in one tensor */
        const char *gguf = fused ? "ffn_gate_up_exps.weight" : EXPERT[p].gguf;
        bool wide = EXPERT[p].shape == WIDE || EXPERT[p].shape == WIDE_BIAS, bias = EXPERT[p].shape >= WIDE_BIAS;
        int64_t rows = wide ? c->expert_mlp : c->d, columns = bias ? 0 : wide ? c->d : c->expert_mlp;
        for (int e = 0; e < experts; e++) {
            char name[80];
            snprintf(name, sizeof name, hf, e);
            snprintf(slot[n].gguf, sizeof slot->gguf, "blk.%d.%s", layer, gguf);
            snprintf(slot[n].hf, sizeof slot->hf, "layers.%d.%s", layer, name);
            put(&slot[n], sf_expert_tensors(c, weights, layer, p) + e, bias ? SF_ROLE_BIAS : wide ? SF_ROLE_INNER : SF_ROLE_RESIDUAL,
                rows, columns);
            slot[n].layer = layer;
            slot[n].rows_by = wide ? SF_BY_MLP : bias ? SF_ONCE : SF_UNCUT;
            slot[n].columns_by = !wide && !bias ? SF_BY_MLP : SF_UNCUT;
            slot[n].of_gguf = (struct sf_weight_share){e * rows, experts * rows};
            if (fused) slot[n].of_gguf = (struct sf_weight_share){(2 * e + (p == SF_EXPERT_UP)) * rows, 2 * experts * rows};
            if (!strchr(hf, '%')) slot[n].of_hf = slot[n].of_gguf;
            n++;
        }
    }
    return n;
}

/* What makes keys and values of the latent, head by head: rows of one tensor in a file. In GGUF keys and values stand apart, keys
 * transposed; in safetensors a head's key and value follow each other, and unpacking has transposed the keys (unpack_latent.c). */
static int put_heads(const sf_model_config *c, sf_weights *weights, int layer, sf_weight_slot *slot)
{
    const int64_t heads = c->heads, r = c->latent, value = c->value_dim, both = c->own_dim + value;
    for (int h = 0; h < c->heads; h++) {
        sf_weight_slot *key = &slot[2 * h], *values = key + 1;
        snprintf(key->gguf, sizeof key->gguf, "blk.%d.attn_k_b.weight", layer);
        snprintf(key->hf, sizeof key->hf, "layers.%d.self_attn.k_b_proj.weight", layer);
        put(key, sf_head_tensors(c, weights, layer, SF_HEAD_KEY) + h, SF_ROLE_INNER, r, c->own_dim);
        key->of_hf = key->of_gguf = (struct sf_weight_share){h * r, heads * r};
        snprintf(values->gguf, sizeof values->gguf, "blk.%d.attn_v_b.weight", layer);
        snprintf(values->hf, sizeof values->hf, "layers.%d.self_attn.kv_b_proj.weight", layer);
        put(values, sf_head_tensors(c, weights, layer, SF_HEAD_VALUE) + h, SF_ROLE_INNER, value, r);
        values->of_gguf = (struct sf_weight_share){h * value, heads * value};
        values->of_hf = (struct sf_weight_share){h * both + c->own_dim, heads * both};
        key->layer = values->layer = layer;
    }
    return 2 * c->heads;
}

/* What a token's embeddings for each layer are made of. */
static int put_layer_inputs(const sf_model_config *c, sf_weights *weights, sf_weight_slot *slot)
{
    const int64_t all = (int64_t)c->layers * c->layer_dim;
    const struct {
        const char *gguf, *hf;
        sf_tensor *at;
        sf_weight_role role;
        int64_t rows, columns;
    } ROWS[] = {
        {"per_layer_token_embd.weight", "embed_tokens_per_layer.weight", &weights->layer_table, SF_ROLE_TABLE, c->layer_vocab, all},
        {"per_layer_model_proj.weight", "per_layer_model_projection.weight", &weights->layer_in, SF_ROLE_INNER, all, c->d},
        {"per_layer_proj_norm.weight", "per_layer_projection_norm.weight", &weights->layer_in_norm, SF_ROLE_NORM, c->layer_dim, 0}};
    enum { N = sizeof ROWS / sizeof *ROWS };
    for (int i = 0; i < N; i++) {
        snprintf(slot[i].gguf, sizeof slot->gguf, "%s", ROWS[i].gguf);
        snprintf(slot[i].hf, sizeof slot->hf, "%s", ROWS[i].hf);
        put(&slot[i], ROWS[i].at, ROWS[i].role, ROWS[i].rows, ROWS[i].columns);
    }
    return N;
}

int sf_weight_slots(const sf_model_config *c, sf_weights *weights, sf_weight_slot *slot)
{
    const sf_family *f = sf_family_named(c->architecture); /* NULL: one of a test, called as Llama's are */
    int n = 0;
    snprintf(slot[n].gguf, sizeof slot->gguf, "token_embd.weight");
    snprintf(slot[n].hf, sizeof slot->hf, "%s", f && f->embedding ? f->embedding : "embed_tokens.weight");
    put(&slot[n++], &weights->embedding, SF_ROLE_TABLE, c->vocab, c->d);
    if (!c->tied) {
        snprintf(slot[n].gguf, sizeof slot->gguf, "output.weight");
        snprintf(slot[n].hf, sizeof slot->hf, "lm_head.weight");
        put(&slot[n++], &weights->head, SF_ROLE_TABLE, c->vocab, c->d);
    }
    snprintf(slot[n].gguf, sizeof slot->gguf, "%s", f && f->gguf_final_norm ? f->gguf_final_norm : "output_norm.weight");
    snprintf(slot[n].hf, sizeof slot->hf, "%s", f && f->final_norm ? f->final_norm : "norm.weight");
    put(&slot[n++], &weights->final_norm, SF_ROLE_NORM, c->d, 0);
    if (c->norm_bias) {
        snprintf(slot[n].gguf, sizeof slot->gguf, "output_norm.bias");
        snprintf(slot[n].hf, sizeof slot->hf, "norm.bias");
        put(&slot[n++], &weights->final_norm_bias, SF_ROLE_BIAS, c->d, 0);
    }

    if (c->layer_dim) n += put_layer_inputs(c, weights, slot + n);

    for (int l = 0; l < c->layers; l++) {
        for (int r = 0; r < LAYER_ROWS; r++) {
            if (!holds(c, l, LAYER[r].when)) continue;
            const char *gguf = LAYER[r].gguf, *hf = LAYER[r].hf;
            rename_slot(f, LAYER[r].at, &gguf, &hf);
            snprintf(slot[n].gguf, sizeof slot->gguf, "blk.%d.%s", l, gguf);
            snprintf(slot[n].hf, sizeof slot->hf, "layers.%d.%s", l, hf);
            bool bias = LAYER[r].when >= SINKS || LAYER[r].when == XIELU;
            sf_weight_role role = bias                       ? SF_ROLE_BIAS
                                  : LAYER[r].columns == NONE ? SF_ROLE_NORM
                                  : LAYER[r].rows == MODEL   ? SF_ROLE_RESIDUAL
                                                             : SF_ROLE_INNER;
            put(&slot[n], (sf_tensor *)((char *)&weights->layer[l] + LAYER[r].at), role, size_of(c, l, LAYER[r].rows),
                size_of(c, l, LAYER[r].columns));
            slot[n].layer = l;
            bool summed = LAYER[r].at == AT(o_bias) || LAYER[r].at == AT(down_bias);
            slot[n].rows_by = summed ? SF_ONCE : cut_of(LAYER[r].rows);
            slot[n].columns_by = cut_of(LAYER[r].columns);
            slot[n].of_hf = share(c, f, l, hf, LAYER[r].at, false);
            slot[n++].of_gguf = share(c, f, l, gguf, LAYER[r].at, true);
        }
        if (c->latent) n += put_heads(c, weights, l, slot + n);
        if (sf_layer_mixes(c, l)) n += put_experts(c, f, weights, l, slot + n);
    }
    return n;
}

sf_status sf_weight_part(const sf_weight_slot *slot, struct sf_weight_share share, const sf_tensor *found, const char *where,
                         const char *name, sf_tensor *out)
{
    const int64_t whole[2] = {share.whole_rows, slot->dim[1]};
    *out = *found;
    if (found->rank == 0 && slot->rank == 1) out->rank = 1, out->dim[0] = 1; /* a number that stands alone */
    if (found->rank == 1 && slot->rank == 2 && slot->dim[0] == 1) /* a row that does */
        out->rank = 2, out->dim[1] = found->dim[0], out->dim[0] = 1;
    if (found->rank == 3 && slot->rank == 2 && found->dim[1] == 1) /* a convolution's channels, each with one input */
        out->rank = 2, out->dim[1] = found->dim[2];
    if (share.whole_rows == 0) return SF_OK;
    if (out->rank == slot->rank + 1) { /* parts one behind the other */
        out->rank = slot->rank;
        out->dim[0] = found->dim[0] * found->dim[1];
        out->dim[1] = slot->rank == 2 ? found->dim[2] : 0;
    }
    if (out->rank != slot->rank || out->dim[0] != whole[0] || (out->rank == 2 && out->dim[1] != whole[1])) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, found %s", where, name,
                       sf_shape_text(slot->rank, whole), sf_shape_text(found->rank, found->dim));
    }
    int64_t width = slot->rank == 2 ? whole[1] : 1;
    if (width % sf_dtypes[out->dtype].block != 0)
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: rows of %s do not divide into its blocks", where, name, sf_dtypes[out->dtype].name);
    out->dim[0] = slot->dim[0];
    out->data = (char *)found->data + (size_t)share.first_row * sf_bytes(found->dtype, width);
    return SF_OK;
}

sf_status sf_weight_set(const sf_weight_slot *slot, const sf_tensor *found, const char *where, const char *name)
{
    if (found->rank != slot->rank || memcmp(found->dim, slot->dim, sizeof *slot->dim * (size_t)slot->rank) != 0) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, found %s", where, name,
                       sf_shape_text(slot->rank, slot->dim), sf_shape_text(found->rank, found->dim));
    }
    bool whole = found->dtype == SF_I8 || found->dtype == SF_I16 || found->dtype == SF_I32 || found->dtype == SF_I64;
    bool fits = !whole && (slot->rank == 2 || sf_dtypes[found->dtype].block == 1);
    if (!fits) {
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected %s, found %s", where, name,
                       slot->rank == 1 ? "F32, F16 or BF16 (a norm or bias)" : "a float type",
                       sf_dtypes[found->dtype].name);
    }
    *slot->at = *found;
    return SF_OK;
}

/* The first element of a row that is no finite number; -1: none. */
static int64_t not_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return i;
    }
    return -1;
}

static sf_status check_finite(const sf_tensor *t, const sf_weight_slot *slot, const char *where)
{
    int64_t rows = t->rank == 2 ? t->dim[0] : 1, columns = t->dim[t->rank - 1], bad_row = rows, bad_column = 0;
    bool memory = true;
#pragma omp parallel
    {
        float *row = malloc((size_t)columns * sizeof *row);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            if (row) sf_to_f32(t->dtype, (char *)t->data + (size_t)r * sf_bytes(t->dtype, columns), row, columns);
            int64_t column = row ? not_finite(row, columns) : -1;
            if (column < 0) continue;
#pragma omp critical(not_finite)
            if (r < bad_row) bad_row = r, bad_column = column;
        }
#pragma omp critical(not_finite)
        memory &= row != NULL;
        free(row);
    }
    if (!memory) return sf_fail(SF_NO_MEMORY, "%s: no memory for a row of weights", where);
    if (bad_row == rows) return SF_OK;
    return sf_fail(
        SF_BAD_INPUT,
        "%s: tensor %s (%s): element [%lld, %lld] is not a finite number (NaN or infinite): the file is damaged,"
        " or the training that wrote it diverged",
        where, slot->gguf, slot->hf, (long long)bad_row, (long long)bad_column);
}

sf_status sf_weights_finite(const sf_model *m)
{
    const char *where = m->config.name;
    sf_weight_slot *slot = malloc((size_t)sf_weight_slots_most(&m->config) * sizeof *slot);
    if (!slot) return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", where);
    sf_weights weights = m->weights;
    int slots = sf_weight_slots(&m->config, &weights, slot);
    sf_status status = SF_OK;
    for (int i = 0; status == SF_OK && i < slots; i++) {
        if (slot[i].at->data) status = check_finite(slot[i].at, &slot[i], where);
    }
    free(slot);
    return status;
}

const char *sf_shape_text(int rank, const int64_t *dim)
{
    static _Thread_local char text[2][128];
    static _Thread_local int turn;
    char *s = text[turn ^= 1];
    size_t used = (size_t)snprintf(s, sizeof *text, "[");
    for (int i = 0; i < rank; i++) {
        used += (size_t)snprintf(s + used, sizeof *text - used, "%s%lld", i ? ", " : "", (long long)dim[i]);
    }
    snprintf(s + used, sizeof *text - used, "]");
    return s;
}
