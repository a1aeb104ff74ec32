#include "harness/model/family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
static const sf_family FAMILIES[] = {
    {.name = "llama"},
    {.name = "mistral"},
    {.name = "qwen2", .qkv_bias = true, .yarn_by_rule = 32768},
    {.name = "qwen3", .qk_norm = true},
    {.name = "gemma3", .qk_norm = true, .post_norms = true, .scaled_embedding = true, .norm_offset = 1,
     .activation = SF_GELU_TANH},
};
/* clang-format on */
enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES, YARN_BETA_FAST = 32, YARN_BETA_SLOW = 1 };

sf_status sf_family_find(const char *name, const char *where, const char *key, const sf_family **out)
{
    char known[128] = "";
    for (int i = 0; i < N_FAMILIES; i++) {
        *out = &FAMILIES[i];
        if (strcmp(FAMILIES[i].name, name) == 0) return SF_OK;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", FAMILIES[i].name);
    }
    return sf_fail(SF_UNSUPPORTED, "%s: %s: expected one of %s, found \"%.64s\"", where, key, known, name);
}

void sf_family_apply(const sf_family *f, sf_model_config *c)
{
    snprintf(c->architecture, sizeof c->architecture, "%s", f->name);
    c->qkv_bias = f->qkv_bias;
    c->qk_norm = f->qk_norm;
    c->post_norms = f->post_norms;
    c->norm_offset = f->norm_offset;
    c->activation = f->activation;
    c->embed_scale = f->scaled_embedding ? (float)sqrt(c->d) : 1;
    if (c->attention_scale == 0) c->attention_scale = (float)(1 / sqrt(c->head_dim));
    if (f->yarn_by_rule && c->rope.scaling == SF_ROPE_PLAIN && c->max_position == f->yarn_by_rule) {
        c->rope = (sf_rope_config){.theta = c->rope.theta,
                                   .scaling = SF_ROPE_YARN,
                                   .beta_fast = YARN_BETA_FAST,
                                   .beta_slow = YARN_BETA_SLOW,
                                   .original_positions = f->yarn_by_rule};
        c->max_position = 4 * f->yarn_by_rule;
        c->rope_local = c->rope;
    }
}
