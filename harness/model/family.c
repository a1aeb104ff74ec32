#include "harness/model/family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MODEL_TYPES = sizeof((sf_family *)0)->model_type / sizeof(char *), YARN_BETA_FAST = 32, YARN_BETA_SLOW = 1 };

static bool same(const char *a, const char *b) { return a && strcmp(a, b) == 0; }

const sf_family *sf_family_named(const char *name)
{
    for (int i = 0; sf_families[i]; i++) {
        if (same(sf_families[i]->name, name)) return sf_families[i];
    }
    return NULL;
}

const sf_family *sf_family_of_model_type(const char *type)
{
    for (int i = 0; sf_families[i]; i++) {
        for (int k = 0; k < MODEL_TYPES; k++) {
            if (same(sf_families[i]->model_type[k], type)) return sf_families[i];
        }
    }
    return NULL;
}

const sf_family *sf_family_of_wrapper(const char *type)
{
    for (int i = 0; sf_families[i]; i++) {
        if (same(sf_families[i]->wrapper, type)) return sf_families[i];
    }
    return NULL;
}

const sf_family *sf_family_of_architecture(const char *gguf)
{
    for (int i = 0; sf_families[i]; i++) {
        if (same(sf_families[i]->gguf, gguf)) return sf_families[i];
    }
    return NULL;
}

static void append(const char *name, size_t bytes, char *text)
{
    size_t used = strlen(text);
    if (name) snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", name);
}

const char *sf_family_list(sf_family_source source, size_t bytes, char *text)
{
    *text = '\0';
    for (int i = 0; sf_families[i]; i++) {
        const sf_family *f = sf_families[i];
        if (source == SF_IN_SHAPES) append(f->name, bytes, text);
        if (source == SF_IN_GGUF) append(f->gguf, bytes, text);
        if (source != SF_IN_JSON) continue;
        for (int k = 0; k < MODEL_TYPES; k++) append(f->model_type[k], bytes, text);
        append(f->wrapper, bytes, text);
    }
    return text;
}

const char *const sf_family_bias_keys[] = {"attention_bias", "mlp_bias", NULL};

sf_status sf_family_biases(sf_json_at at, sf_model_config *c)
{
    SF_TRY(sf_json_bool(at, "attention_bias", false, &c->qkv_bias));
    SF_TRY(sf_json_bool(at, "mlp_bias", false, &c->mlp_bias));
    c->o_bias = c->qkv_bias;
    return SF_OK;
}

void sf_family_begin(const sf_family *f, sf_model_config *c)
{
    snprintf(c->architecture, sizeof c->architecture, "%s", f->name);
    c->qkv_bias = f->qkv_bias;
    c->qk_norm = f->qk_norm;
    c->qk_norm_whole = f->qk_norm_whole;
    c->post_norms = f->post_norms;
    c->no_pre_norms = f->no_pre_norms;
    c->parallel = f->parallel;
    c->layer_norm = f->layer_norm;
    c->norm_bias = f->norm_bias;
    c->gateless = f->gateless;
    c->norm_after_rope = f->norm_after_rope;
    c->rope_interleaved = f->neighbours;
    c->norm_offset = f->norm_offset;
    c->activation = f->activation;
}

void sf_family_finish(const sf_family *f, sf_model_config *c)
{
    if (c->embed_scale == 0) c->embed_scale = f->scaled_embedding ? (float)sqrt(c->d) : 1;
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
