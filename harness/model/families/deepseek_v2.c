/* DeepSeek V2 and V2-Lite. DeepSeek-AI 2024, arXiv 2405.04434; transformers 5: models/deepseek_v2. Latent attention; experts by softmax,
 * from the best groups where the files say so, beside some that all rows share. */
#include "harness/model/family.h"
#include "harness/model/unpack.h"

#include <stdio.h>
#include <string.h>

static sf_status read(sf_json_at at, sf_model_config *c)
{
    const char *method = NULL;
    bool normalize = false;
    SF_TRY(sf_json_text(at, "topk_method", true, &method));
    const bool limited = strcmp(method, "group_limited_greedy") == 0;
    if (!limited && strcmp(method, "greedy") != 0)
        return sf_json_fail(SF_UNSUPPORTED, at, "topk_method", "greedy or group_limited_greedy");
    /* The authors' code divides by the sum then, and transformers does not. */
    SF_TRY(sf_json_bool(at, "norm_topk_prob", false, &normalize));
    if (normalize) return sf_json_fail(SF_UNSUPPORTED, at, "norm_topk_prob", "false");
    SF_TRY(sf_family_deepseek_experts(at, c));
    c->router.kind = SF_ROUTE_SOFTMAX;
    c->router.group_top = 1;
    c->router_correction = false;
    if (!limited) c->router.groups = c->router.best_groups = 1;
    c->rope_interleaved = true;
    return sf_family_latent(at, c);
}

/* V3's files are of the same architecture; they score by sigmoids, and have a correction. Which experts a file of V2 chooses from is
 * said by its groups alone. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    enum { SOFTMAX = 1, SIGMOID = 2 };
    int gate = SOFTMAX, shared = 0, dense = 0, groups = 1, best = 1;
    double scale = 1;
    bool normalize = false;
    SF_TRY(sf_family_gguf_experts(g, "deepseek2", c));
    SF_TRY(sf_gguf_int(g, "deepseek2.expert_gating_func", false, SOFTMAX, SIGMOID, &gate));
    SF_TRY(sf_gguf_int(g, "deepseek2.expert_shared_count", true, 1, 1024, &shared));
    SF_TRY(sf_gguf_int(g, "deepseek2.leading_dense_block_count", false, 0, c->layers, &dense));
    SF_TRY(sf_gguf_int(g, "deepseek2.expert_group_count", false, 1, SF_MOST_GROUPS, &groups));
    SF_TRY(sf_gguf_int(g, "deepseek2.expert_group_used_count", false, 1, SF_MOST_GROUPS, &best));
    SF_TRY(sf_gguf_real(g, "deepseek2.expert_weights_scale", false, 1e-6, 1e6, &scale));
    SF_TRY(sf_gguf_bool(g, "deepseek2.expert_weights_norm", &normalize));
    const bool sigmoid = gate == SIGMOID;
    if (sigmoid) snprintf(c->architecture, sizeof c->architecture, "deepseek_v3");
    else if (normalize) return sf_fail(SF_UNSUPPORTED, "%s: key deepseek2.expert_weights_norm: expected false, found true", g->path);
    c->router = (sf_router){.kind = sigmoid ? SF_ROUTE_SIGMOID : SF_ROUTE_SOFTMAX, .experts = c->router.experts, .chosen = c->router.chosen,
                            .normalize = normalize, .scale = (float)scale, .groups = groups, .best_groups = best,
                            .group_top = sigmoid ? 2 : 1};
    c->router_correction = sigmoid;
    c->shared_mlp = shared * c->expert_mlp;
    for (int l = 0; l < dense; l++) c->whole_mlp[l] = 1;
    c->rope_interleaved = true;
    return sf_family_gguf_latent(g, "deepseek2", c);
}

const sf_family sf_family_deepseek_v2 = {
    .name = "deepseek_v2",
    .latent = true,

    .model_type = {"deepseek_v2"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                         "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                         "n_routed_experts": 64, "n_shared_experts": 2, "moe_intermediate_size": 1407, "first_k_dense_replace": 0,
                         "routed_scaling_factor": 1.0, "topk_method": "greedy"}),
    .theta = 10000,
    .refused = (const char *const[]){"mlp_bias", NULL},
    .own = (const char *const[]){"attention_bias", NULL},
    .read = read,
    .unpack = sf_unpack_latent,

    .gguf = "deepseek2",
    .read_gguf = read_gguf,
    .tensor = sf_latent_tensors,
};
