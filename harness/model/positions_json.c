/* Rotations in config.json. They are spelt
 *
 *   transformers 4:  "rope_theta": 1e6, "rope_scaling": {"rope_type" or "type": "yarn", "factor": 4, …}
 *   transformers 5:  "rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4, …}
 *   by layer type:   "rope_parameters": {"full_attention": {…}, "sliding_attention": {…}}
 *   Gemma 3 before:  "rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {…} of the full layers
 *
 * and files mix them. Read as transformers 5 does (modeling_rope_utils.py, 5.24): what stands in the dictionary, else
 * what stands beside it, else the class's own; where a file says a thing twice, both must agree. */
#include "harness/model/positions.h"
#include "harness/model/describe.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A dictionary of rope parameters, and the config around it. */
typedef struct place {
    sf_json_at in; /* object NULL: there is no dictionary */
    sf_json_at around;
    const char *theta_key; /* the base's name in `around` */
    double theta;          /* where neither names one */
    bool reads_original;   /* transformers looks for original_max_position_embeddings around it too */
    bool proportional;     /* the family's class takes this type */
    int max_position, rotary; /* rotary: numbers of a head that turn */
} place;

/* Text of a JSON value for messages; "null" where there is none. */
static void value_text(const json_t *value, size_t bytes, char *text)
{
    char *dump = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    snprintf(text, bytes, "%.60s", dump ? dump : "null");
    free(dump);
}

static sf_status contradiction(sf_json_at a, const char *key, sf_json_at b, const char *other, const char *advice)
{
    char one[64], two[64];
    value_text(sf_json_value(a, key), sizeof one, one);
    value_text(sf_json_value(b, other), sizeof two, two);
    return sf_fail(SF_BAD_INPUT, "%s: %s%s is %s and %s%s is %s: they contradict each other; %s", a.path, a.above, key,
                   one, b.above, other, two, advice);
}

static bool equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

/* Where a key that may stand inside or around is to be read: inside if it is there. */
static sf_status either(const place *p, const char *inside, const char *around, sf_json_at *at, const char **key)
{
    const json_t *in = sf_json_value(p->in, inside), *out = sf_json_value(p->around, around);
    if (in && out && !equal(in, out)) {
        return contradiction(p->in, inside, p->around, around, "leave the one that is meant");
    }
    *at = in ? p->in : p->around;
    *key = in ? inside : around;
    return SF_OK;
}

static sf_status find_type(sf_json_at in, const char **key, const char **type)
{
    const json_t *new = sf_json_value(in, "rope_type"), *old = sf_json_value(in, "type");
    if (new &&old && !equal(new, old)) return contradiction(in, "rope_type", in, "type", "leave the one that is meant");
    *key = new || !old ? "rope_type" : "type";
    *type = "default";
    return sf_json_text(in, *key, false, type);
}

static double yarn_scale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

static sf_status read_yarn(const place *p, sf_rope_config *out)
{
    double mscale = 0, mscale_all = 0;
    bool truncate = true;
    out->beta_fast = 32;
    out->beta_slow = 1;
    SF_TRY(sf_json_real(p->in, "beta_fast", false, 1e-3, 1e6, &out->beta_fast));
    SF_TRY(sf_json_real(p->in, "beta_slow", false, 1e-3, 1e6, &out->beta_slow));
    SF_TRY(sf_json_real(p->in, "attention_factor", false, 1e-3, 1e3, &out->attention_factor));
    SF_TRY(sf_json_real(p->in, "mscale", false, 0, 1e3, &mscale));
    SF_TRY(sf_json_real(p->in, "mscale_all_dim", false, 0, 1e3, &mscale_all));
    SF_TRY(sf_json_bool(p->in, "truncate", false, &truncate));
    out->between_pairs = !truncate;
    /* One of the two alone is not read there either. */
    if (out->attention_factor == 0 && mscale != 0 && mscale_all != 0) {
        out->attention_factor = yarn_scale(out->factor, mscale) / yarn_scale(out->factor, mscale_all);
    }
    return SF_OK;
}

static sf_status read_original(const place *p, sf_rope_config *out)
{
    static const char KEY[] = "original_max_position_embeddings";
    int64_t original = p->max_position; /* what transformers takes where the key is not there */
    sf_json_at at = p->in;
    const char *key = KEY;
    if (p->reads_original) {
        SF_TRY(either(p, KEY, KEY, &at, &key));
    } else if (!sf_json_value(p->in, KEY) && sf_json_value(p->around, KEY)) {
        return sf_json_fail(SF_UNSUPPORTED, p->around, KEY,
                            "none beside rotations by layer type, where transformers does not read it");
    }
    SF_TRY(sf_json_int(at, key, false, 1, INT_MAX, &original));
    out->original_positions = (int)original;
    return SF_OK;
}

/* Beyond max_position the base grows with the length, which here is that of the longest input and output together: for a
 * prompt that is exactly what transformers does; while it generates, transformers changes the base at every step, so that
 * keys of one sequence are turned by different ones. */
static sf_status read_dynamic(const place *p, sf_rope_config *out)
{
    out->original_positions = p->max_position;
    if (sf_json_value(p->in, "alpha")) return sf_json_fail(SF_UNSUPPORTED, p->in, "alpha", "none");
    return sf_json_real(p->in, "factor", true, 1, 1e6, &out->factor);
}

/* One divisor for each pair of the head. */
static sf_status read_divisors(const place *p, const char *key, float *out)
{
    const json_t *list = sf_json_value(p->in, key);
    int pairs = p->rotary / 2;
    bool good = json_is_array(list) && json_array_size(list) == (size_t)pairs && pairs <= SF_LONG_PAIRS;
    for (int i = 0; good && i < pairs; i++) {
        out[i] = (float)json_number_value(json_array_get(list, (size_t)i));
        good = out[i] > 0 && isfinite(out[i]);
    }
    char expected[96];
    snprintf(expected, sizeof expected, "a list of %d numbers above 0, one a pair, at most %d", pairs, SF_LONG_PAIRS);
    return good ? SF_OK : sf_json_fail(SF_BAD_INPUT, p->in, key, expected);
}

/* LongRoPE (arXiv 2402.13753): which of the two lists goes by the longest input and output together. */
static sf_status read_long(const place *p, sf_rope_config *out)
{
    SF_TRY(read_original(p, out));
    SF_TRY(read_divisors(p, "short_factor", out->longer[0]));
    SF_TRY(read_divisors(p, "long_factor", out->longer[1]));
    out->factor = fmax(1, (double)p->max_position / out->original_positions);
    SF_TRY(sf_json_real(p->in, "factor", false, 1, 1e6, &out->factor));
    return sf_json_real(p->in, "attention_factor", false, 1e-3, 1e3, &out->attention_factor);
}

/* Pairs of whole heads, of which the first turn. */
static sf_status read_proportional(const place *p, sf_rope_config *out)
{
    double part = 1;
    SF_TRY(sf_json_real(p->in, "partial_rotary_factor", false, 0, 1, &part));
    SF_TRY(sf_json_real(p->in, "factor", false, 1, 1e6, &out->factor));
    if (out->factor > 1) out->scaling = SF_ROPE_LINEAR;
    if (out->factor == 1) out->factor = 0;
    if (part == 0) return sf_json_fail(SF_UNSUPPORTED, p->in, "partial_rotary_factor", "a number above 0");
    out->turning = part < 1 ? part : 0;
    return SF_OK;
}

static sf_status read_rope(const place *p, sf_rope_config *out)
{
    *out = (sf_rope_config){.theta = p->theta};
    sf_json_at at;
    const char *key, *type;
    SF_TRY(either(p, "rope_theta", p->theta_key, &at, &key));
    SF_TRY(sf_json_real(at, key, false, 1, 1e12, &out->theta));

    static const struct {
        const char *name;
        sf_rope_scaling scaling;
    } TYPES[] = {
        {"default", SF_ROPE_PLAIN}, {"linear", SF_ROPE_LINEAR},    {"llama3", SF_ROPE_LLAMA3}, {"yarn", SF_ROPE_YARN},
        {"dynamic", SF_ROPE_DYNAMIC}, {"longrope", SF_ROPE_LONG}, {"su", SF_ROPE_LONG}, {"proportional", SF_ROPE_PLAIN}};
    enum { N = sizeof TYPES / sizeof *TYPES };
    SF_TRY(find_type(p->in, &key, &type));
    size_t t = 0;
    while (t < N && strcmp(TYPES[t].name, type) != 0) t++;
    const bool proportional = strcmp(type, "proportional") == 0;
    if (t == N || (proportional && !p->proportional))
        return sf_json_fail(SF_UNSUPPORTED, p->in, key, "default, linear, llama3, yarn, dynamic or longrope");
    out->scaling = TYPES[t].scaling;
    if (proportional) return read_proportional(p, out);
    if (out->scaling == SF_ROPE_DYNAMIC) return read_dynamic(p, out);
    if (out->scaling == SF_ROPE_LONG) return read_long(p, out);
    /* What old files of Phi-3 call yarn is longrope. */
    if (sf_json_value(p->in, "long_factor"))
        return sf_json_fail(SF_UNSUPPORTED, p->in, key, "longrope, since there is a long_factor");
    if (out->scaling == SF_ROPE_PLAIN) return SF_OK;

    if (out->scaling != SF_ROPE_LINEAR) SF_TRY(read_original(p, out));
    /* A factor of null is YaRN's way of leaving it to the two lengths. */
    bool by_lengths = out->scaling == SF_ROPE_YARN && json_is_null(json_object_get(p->in.object, "factor"));
    if (by_lengths) out->factor = fmax(1, (double)p->max_position / out->original_positions);
    SF_TRY(sf_json_real(p->in, "factor", !by_lengths, 1, 1e6, &out->factor));
    if (out->scaling == SF_ROPE_YARN) return read_yarn(p, out);
    if (out->scaling == SF_ROPE_LINEAR) return SF_OK;
    SF_TRY(sf_json_real(p->in, "low_freq_factor", true, 1e-3, 1e6, &out->low_freq_factor));
    return sf_json_real(p->in, "high_freq_factor", true, 1e-3, 1e6, &out->high_freq_factor);
}

static bool same_rope(const sf_rope_config *a, const sf_rope_config *b)
{
    return a->theta == b->theta && a->scaling == b->scaling && a->factor == b->factor &&
           a->low_freq_factor == b->low_freq_factor && a->high_freq_factor == b->high_freq_factor &&
           a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow && a->attention_factor == b->attention_factor &&
           a->original_positions == b->original_positions && a->turning == b->turning && a->between_pairs == b->between_pairs && memcmp(a->longer, b->longer, sizeof a->longer) == 0;
}

/* The dictionary at `key`; one that is empty counts as none, as in Python. */
static sf_status dictionary(sf_json_at at, const char *key, const char *above, sf_json_at *out)
{
    const json_t *object = NULL;
    SF_TRY(sf_json_object(at, key, false, &object));
    *out = (sf_json_at){json_object_size(object) ? object : NULL, at.path, above};
    return SF_OK;
}

/* rope_scaling read instead of, or to the same effect as, what stands in `p`. */
static sf_status agree(place p, sf_json_at scaling, sf_rope_config *out)
{
    sf_rope_config other;
    char one[128], two[128];
    SF_TRY(read_rope(&p, out));
    if (!scaling.object) return SF_OK;
    bool alone = p.in.object == NULL;
    const char *above = p.in.above;
    p.in = scaling;
    SF_TRY(read_rope(&p, &other));
    if (alone || same_rope(out, &other)) {
        *out = other;
        return SF_OK;
    }
    return sf_fail(SF_BAD_INPUT,
                   "%s: %.*s says %s and rope_scaling says %s: they contradict each other; leave the one that is meant"
                   " (transformers 5 obeys rope_scaling)",
                   scaling.path, (int)strlen(above) - 1, above, sf_rope_text(out, sizeof one, one),
                   sf_rope_text(&other, sizeof two, two));
}

/* How much of each head turns. Classes of transformers that do not look for the key turn it whole where positions are
 * plain, whatever a file says, and fail where they are scaled. */
static sf_status read_partial(const place *p, const sf_family *f, sf_doubts *doubts, sf_model_config *c)
{
    double part = f->partial_rotary ? f->partial_rotary : 1;
    sf_json_at at;
    const char *key, *kind, *type;
    SF_TRY(either(p, "partial_rotary_factor", "partial_rotary_factor", &at, &key));
    SF_TRY(sf_json_real(at, key, false, 0, 1, &part));
    if (part == 1) return SF_OK;
    if (f->partial_rotary == 0) {
        SF_TRY(find_type(p->in, &kind, &type));
        if (strcmp(type, "default") != 0)
            return sf_json_fail(SF_UNSUPPORTED, at, key, "1: no model of this family turns a part of its heads");
        sf_doubt(doubts, "%s: %s%s: no %s has this key, so it is left unread, as transformers does", at.path, at.above, key, f->name);
        return SF_OK;
    }
    c->rotary_dim = (int)(c->head_dim * part);
    if (c->rotary_dim >= 2 && c->rotary_dim % 2 == 0) return SF_OK;
    char expected[96];
    snprintf(expected, sizeof expected, "a share that gives an even number of a head's %d", c->head_dim);
    return sf_json_fail(SF_UNSUPPORTED, at, key, expected);
}

static bool is_proportional(sf_json_at in)
{
    const char *type = json_string_value(sf_json_value(in, "rope_type"));
    return type && strcmp(type, "proportional") == 0;
}

sf_status sf_positions_from_json(sf_json_at at, const sf_family *f, sf_model_config *c, sf_doubts *doubts)
{
    static const char *const TYPES[] = {"full_attention", "sliding_attention"};
    bool by_layer = f->local_theta != 0;
    sf_json_at parameters, scaling;
    char above[2][96], inside[2][128];
    snprintf(above[0], sizeof *above, "%srope_parameters.", at.above);
    snprintf(above[1], sizeof *above, "%srope_scaling.", at.above);
    SF_TRY(dictionary(at, "rope_parameters", above[0], &parameters));
    SF_TRY(dictionary(at, "rope_scaling", above[1], &scaling));
    place p = {.in = parameters,
               .around = at,
               .theta_key = "rope_theta",
               .theta = f->theta,
               .reads_original = !by_layer,
               .proportional = f->proportional,
               .max_position = c->max_position};
    if (!by_layer) {
        place scaled = p;
        if (!parameters.object) scaled.in = scaling;
        SF_TRY(read_partial(&scaled, f, doubts, c));
    }
    p.rotary = sf_rotary_dim(c);

    for (int i = 0; i < 2; i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "one rotation for all layers, as every %s has", f->name);
        if (sf_json_value(scaling, TYPES[i]) || (!by_layer && sf_json_value(parameters, TYPES[i])))
            return sf_json_fail(SF_UNSUPPORTED, sf_json_value(scaling, TYPES[i]) ? scaling : parameters, TYPES[i],
                                expected);
    }
    if (!by_layer) {
        SF_TRY(agree(p, scaling, &c->rope));
        c->rope_local = c->rope;
        return SF_OK;
    }
    /* Of each layer type its own, and no other key: transformers does not read one. rope_scaling is of the full layers.
     */
    sf_json_at part[2];
    for (int i = 0; i < 2; i++) {
        snprintf(inside[i], sizeof inside[i], "%s%s.", above[0], TYPES[i]);
        SF_TRY(dictionary(parameters, TYPES[i], inside[i], &part[i]));
        if (sf_json_value(part[i], "partial_rotary_factor") && !(f->proportional && is_proportional(part[i])))
            return sf_json_fail(SF_UNSUPPORTED, part[i], "partial_rotary_factor", "none");
    }
    if (parameters.object && !part[0].object && !part[1].object) {
        return sf_json_fail(SF_UNSUPPORTED, at, "rope_parameters", "full_attention and sliding_attention in it");
    }
    p.in = part[0];
    SF_TRY(agree(p, scaling, &c->rope));
    p.in = part[1];
    p.theta_key = "rope_local_base_freq";
    p.theta = f->local_theta;
    return read_rope(&p, &c->rope_local);
}
