/* Rotations in a GGUF file's keys, as llama.cpp reads them: "llama.rope.freq_base", "llama.rope.scaling.type", … */
#include "harness/model/positions.h"
#include "harness/model/weights.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first divisor that these four numbers do not give back; -1: they give all of them. */
static int differs(const sf_rope_config *r, const float *divisor, int head_dim, double *expected)
{
    for (int i = 0; i < head_dim / 2; i++) {
        double wavelength = 2 * M_PI * pow(r->theta, 2.0 * i / head_dim);
        double turns = r->original_positions / wavelength; /* within the original context */
        if (turns <= r->low_freq_factor || turns >= r->high_freq_factor) {
            *expected = turns <= r->low_freq_factor ? r->factor : 1;
        } else {
            double blend = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
            *expected = 1 / ((1 - blend) / r->factor + blend);
        }
        if (!(fabs(divisor[i] - *expected) <= 1e-3 * *expected)) return i;
    }
    return -1;
}

/* Pairs that do not turn are divided by 1e30, all that do stand before them. */
static sf_status turning_from_table(const sf_gguf *g, sf_gguf_tensor *table, sf_model_config *c)
{
    const float *divisor = table->tensor.data;
    const int pairs = c->head_dim / 2;
    int turning = 0;
    while (turning < pairs && divisor[turning] == 1) turning++;
    for (int i = turning; i < pairs; i++)
        if (!(divisor[i] >= 1e30f) || turning == 0)
            return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected 1 for the pairs that turn and 1e30 behind them, found %g at %d", g->path, table->name,
                           (double)divisor[i], i);
    c->rope.turning = turning < pairs ? (turning + 0.5) / pairs : 0;
    table->used = true;
    return SF_OK;
}

/* Llama 3's scaling arrives as a table of divisors of the inverse frequencies, without the four numbers it was made of.
 * All published checkpoints share two of them (low 1, original 8192), high is 4, or 1 in Llama 4, the largest divisor is the
 * fourth; they are taken for true when they give the very table back. */
static sf_status rope_from_table(const sf_gguf *g, const sf_family *f, sf_gguf_tensor *table, sf_model_config *c)
{
    const sf_tensor *t = &table->tensor;
    if (t->dtype != SF_F32 || t->rank != 1 || t->dim[0] != c->head_dim / 2) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected F32 [%d], found %s %s", g->path, table->name,
                       c->head_dim / 2, sf_dtypes[t->dtype].name, sf_shape_text(t->rank, t->dim));
    }
    const float *divisor = t->data;
    double factor = 1;
    if (f->proportional) return turning_from_table(g, table, c);
    for (int i = 0; i < c->head_dim / 2; i++) {
        if (divisor[i] > factor) factor = divisor[i];
    }
    sf_rope_config r = {.theta = c->rope.theta,
                        .scaling = SF_ROPE_LLAMA3,
                        .factor = factor,
                        .low_freq_factor = 1,
                        .high_freq_factor = 4,
                        .original_positions = 8192};
    double expected, other;
    const int at = differs(&r, divisor, c->head_dim, &expected);
    if (at >= 0) r.high_freq_factor = 1;
    if (at >= 0 && differs(&r, divisor, c->head_dim, &other) >= 0) {
        return sf_fail(SF_UNSUPPORTED,
                       "%s: tensor %s: expected Llama 3's scaling by factor %g (%g at %d), found %g: another"
                       " scaling of positions",
                       g->path, table->name, factor, expected, at, (double)divisor[at]);
    }
    c->rope = r;
    table->used = true;
    return SF_OK;
}

static const char *key_of(const sf_family *f, const char *rest) { return sf_gguf_key_of(f->gguf, rest); }

/* Keys about rotations that are read here, or say nothing about the graph. */
static sf_status refuse_unknown(const sf_gguf *g, const sf_family *f)
{
    static const char *const KNOWN[] = {
        "freq_base",           "freq_base_swa",     "dimension_count",        "dimension_count_swa",
        "scale_linear",        "scaling.type",      "scaling.factor",         "scaling.original_context_length",
        "scaling.attn_factor", "scaling.finetuned", "scaling.yarn_beta_fast", "scaling.yarn_beta_slow"};
    static const char MULTIPLIER[] = "scaling.yarn_log_multiplier";
    char above[80];
    int n = snprintf(above, sizeof above, "%s.rope.", f->gguf);
    for (uint64_t i = 0; i < g->keys; i++) {
        const sf_gguf_key *k = &g->key[i];
        if (k->name_bytes < (uint64_t)n || memcmp(k->name, above, (size_t)n) != 0) continue;
        static const char SECTIONS[] = "dimension_sections";
        bool known = f->gguf_sections && k->name_bytes - (size_t)n == sizeof SECTIONS - 1 && memcmp(k->name + n, SECTIONS, sizeof SECTIONS - 1) == 0;
        known |= f->latent && k->name_bytes - (size_t)n == sizeof MULTIPLIER - 1 && memcmp(k->name + n, MULTIPLIER, sizeof MULTIPLIER - 1) == 0;
        for (size_t j = 0; j < sizeof KNOWN / sizeof *KNOWN && !known; j++) {
            known =
                strlen(KNOWN[j]) == k->name_bytes - (size_t)n && memcmp(k->name + n, KNOWN[j], strlen(KNOWN[j])) == 0;
        }
        if (!known) {
            return sf_fail(SF_UNSUPPORTED,
                           "%s: key %.*s: expected none of this name: how it changes positions is not"
                           " known here",
                           g->path, (int)k->name_bytes, k->name);
        }
    }
    return SF_OK;
}

static sf_status read_dimensions(const sf_gguf *g, const sf_family *f, sf_model_config *c)
{
    if (f->latent) return SF_OK; /* what is rotated is no part of a head: latent.c */
    static const char *const KEYS[] = {"rope.dimension_count", "rope.dimension_count_swa"};
    for (int i = 0; i < 2; i++) {
        int whole = c->head_dim;
        if (i == 1 && f->gguf_by_layer) SF_TRY(sf_gguf_int(g, key_of(f, "attention.key_length_swa"), false, 1, 1 << 16, &whole));
        int rotated = whole;
        SF_TRY(sf_gguf_int(g, key_of(f, KEYS[i]), false, 1, INT_MAX, &rotated));
        if (rotated == whole) continue;
        if (i == 0 && f->partial_rotary && rotated < c->head_dim && rotated % 2 == 0) {
            c->rotary_dim = rotated;
            continue;
        }
        return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected the head dim, %d, found %d: %s", g->path, key_of(f, KEYS[i]), whole,
                       rotated, f->partial_rotary ? "an even part of it may be rotated" : "no model of this family turns a part of its heads");
    }
    return SF_OK;
}

/* Phi-3's two lists of divisors are tensors; how scores grow is a key. */
static sf_status read_long(const sf_gguf *g, const sf_family *f, sf_model_config *c)
{
    static const char *const NAMES[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    sf_rope_config *r = &c->rope;
    int pairs = sf_rotary_dim(c) / 2;
    for (int i = 0; i < 2; i++) {
        sf_gguf_tensor *t = sf_gguf_find_tensor(g, NAMES[i]);
        if (!t || t->tensor.dtype != SF_F32 || t->tensor.rank != 1 || t->tensor.dim[0] != pairs || pairs > SF_LONG_PAIRS)
            return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected F32 [%d], at most [%d], found %s", g->path, NAMES[i], pairs,
                           SF_LONG_PAIRS, t ? sf_shape_text(t->tensor.rank, t->tensor.dim) : "none");
        memcpy(r->longer[i], t->tensor.data, (size_t)pairs * sizeof(float));
        t->used = true;
    }
    r->scaling = SF_ROPE_LONG;
    SF_TRY(sf_gguf_int(g, key_of(f, "rope.scaling.original_context_length"), true, 2, INT_MAX, &r->original_positions));
    r->factor = fmax(1, (double)c->max_position / r->original_positions);
    return sf_gguf_real(g, key_of(f, "rope.scaling.attn_factor"), false, 1e-3, 1e3, &r->attention_factor);
}

/* The factor under its present name or its old one; 0: neither. */
static sf_status read_factor(const sf_gguf *g, const sf_family *f, double *out)
{
    double factor = 0, old = 0;
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.factor"), false, 0, 1e6, &factor));
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.scale_linear"), false, 0, 1e6, &old));
    *out = factor != 0 ? factor : old;
    if (*out != 0 && *out < 1) {
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected a number from 1 to 1e+06, found %g", g->path,
                       key_of(f, factor != 0 ? "rope.scaling.factor" : "rope.scale_linear"), *out);
    }
    if (factor == 0 || old == 0 || factor == old) return SF_OK;
    return sf_fail(SF_BAD_INPUT,
                   "%s: keys %s.rope.scaling.factor, %g, and %s.rope.scale_linear, %g, contradict each other", g->path,
                   f->gguf, factor, f->gguf, old);
}

/* A file that names no type means linear, as llama.cpp does: with no factor, that is nothing. */
static sf_status read_scaling(const sf_gguf *g, const sf_family *f, sf_rope_scaling *out, double *factor)
{
    static const struct {
        const char *name;
        sf_rope_scaling scaling;
    } TYPES[] = {{"none", SF_ROPE_PLAIN}, {"linear", SF_ROPE_LINEAR}, {"yarn", SF_ROPE_YARN}};
    char *type;
    int t = 0;
    SF_TRY(read_factor(g, f, factor));
    SF_TRY(sf_gguf_text(g, key_of(f, "rope.scaling.type"), false, &type));
    if (!type) {
        *out = *factor > 1 ? SF_ROPE_LINEAR : SF_ROPE_PLAIN;
        return SF_OK;
    }
    while (t < 3 && strcmp(TYPES[t].name, type) != 0) t++;
    sf_status status = SF_OK;
    if (t == 3) {
        status = sf_fail(SF_UNSUPPORTED, "%s: key %s: expected none, linear or yarn, found \"%.64s\"", g->path,
                         key_of(f, "rope.scaling.type"), type);
    } else {
        *out = TYPES[t].scaling;
    }
    free(type);
    if (status != SF_OK) return status;
    if (*out != SF_ROPE_PLAIN && *factor == 0) {
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected, since positions are scaled, not found", g->path,
                       key_of(f, "rope.scaling.factor"));
    }
    if (*out == SF_ROPE_PLAIN && *factor > 1) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: keys %s.rope.scaling.type, none, and %s.rope.scaling.factor, %g, contradict each"
                       " other",
                       g->path, f->gguf, f->gguf, *factor);
    }
    return SF_OK;
}

static sf_status read_yarn(const sf_gguf *g, const sf_family *f, int max_position, sf_rope_config *r)
{
    double stretch = 1; /* of the usual attention factor */
    r->original_positions = max_position;
    SF_TRY(sf_gguf_int(g, key_of(f, "rope.scaling.original_context_length"), max_position == 0, 1, INT_MAX,
                       &r->original_positions));
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.attn_factor"), false, 1e-3, 1e3, &stretch));
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.yarn_beta_fast"), false, 0, 1e6, &r->beta_fast));
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.yarn_beta_slow"), false, 0, 1e6, &r->beta_slow));
    if (stretch != 1) r->attention_factor = stretch * (0.1 * log(r->factor) + 1);
    return SF_OK;
}

static sf_status read_local(const sf_gguf *g, const sf_family *f, sf_model_config *c)
{
    double theta = f->local_theta ? f->local_theta : c->rope.theta;
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.freq_base_swa"), false, 1, 1e12, &theta));
    if (f->local_theta) {
        c->rope_local = (sf_rope_config){.theta = theta};
        return SF_OK;
    }
    c->rope_local = c->rope;
    if (theta == c->rope.theta) return SF_OK;
    return sf_fail(SF_UNSUPPORTED,
                   "%s: keys %s.rope.freq_base, %g, and %s.rope.freq_base_swa, %g: expected one rotation for"
                   " all layers, as every %s has",
                   g->path, f->gguf, c->rope.theta, f->gguf, theta, f->name);
}

sf_status sf_positions_from_gguf(const sf_gguf *g, const sf_family *f, sf_model_config *c)
{
    sf_rope_config *r = &c->rope;
    double factor;
    SF_TRY(refuse_unknown(g, f));
    SF_TRY(read_dimensions(g, f, c));
    *r = (sf_rope_config){.theta = f->theta, .factor = 1, .beta_fast = 32, .beta_slow = 1};
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.freq_base"), false, 1, 1e12, &r->theta));
    SF_TRY(read_scaling(g, f, &r->scaling, &factor));
    if (r->scaling != SF_ROPE_PLAIN) r->factor = factor;
    if (r->scaling == SF_ROPE_YARN) SF_TRY(read_yarn(g, f, c->max_position, r));

    if (r->scaling == SF_ROPE_PLAIN && sf_gguf_find_tensor(g, "rope_factors_long.weight")) SF_TRY(read_long(g, f, c));
    sf_gguf_tensor *table = sf_gguf_find_tensor(g, "rope_freqs.weight");
    if (table && r->scaling == SF_ROPE_PLAIN) SF_TRY(rope_from_table(g, f, table, c));
    return read_local(g, f, c);
}
