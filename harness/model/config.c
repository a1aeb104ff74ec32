/* Checking a config, and its hash. */
#include "harness/model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

void sf_hash_fold(char hash[33], const void *data, size_t bytes)
{
    XXH3_state_t s;
    XXH3_INITSTATE(&s);
    XXH3_128bits_reset(&s);
    XXH3_128bits_update(&s, hash, strlen(hash));
    XXH3_128bits_update(&s, data, bytes);
    XXH128_hash_t h = XXH3_128bits_digest(&s);
    snprintf(hash, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

/* Every field of a config but its name, as text: the struct itself has padding. */
void sf_config_hash(const sf_model_config *c, char hash[33])
{
    char text[2048];
    int n = snprintf(text, sizeof text, "%s %d %d %d %d %d %d %d %d %.17g %.9g %d %.9g %.9g %d %d %d %d %d %d",
                     c->architecture, c->layers, c->d, c->heads, c->kv_heads, c->head_dim, c->mlp, c->vocab,
                     c->max_position, c->norm_eps, (double)c->norm_offset, c->activation, (double)c->embed_scale,
                     (double)c->attention_scale, c->tied, c->qkv_bias, c->qk_norm, c->post_norms, c->rope_interleaved,
                     c->window);
    for (int i = 0; i < 2; i++) {
        const sf_rope_config *r = i ? &c->rope_local : &c->rope;
        n += snprintf(text + n, sizeof text - (size_t)n, " | %.17g %d %.17g %.17g %.17g %.17g %.17g %.17g %d", r->theta,
                      r->scaling, r->factor, r->low_freq_factor, r->high_freq_factor, r->beta_fast, r->beta_slow,
                      r->attention_factor, r->original_positions);
    }
    sf_hash_fold(hash, text, (size_t)n);
    sf_hash_fold(hash, c->sliding, (size_t)c->layers);
    /* What came later counts where it is used, so that the keys of models without it stay as they were. */
    if (c->o_bias || c->mlp_bias || c->norm_after_rope || c->residual_scale != 0 || c->logit_scale != 0) {
        n = snprintf(text, sizeof text, "%d %d %d %.9g %.9g", c->o_bias, c->mlp_bias, c->norm_after_rope,
                     (double)c->residual_scale, (double)c->logit_scale);
        sf_hash_fold(hash, text, (size_t)n);
    }
    if (c->qk_norm_whole || c->no_pre_norms || c->parallel || c->layer_norm || c->norm_bias || c->gateless || c->rotary_dim ||
        c->query_growth != 0 || c->attention_softcap != 0 || c->logit_softcap != 0) {
        n = snprintf(text, sizeof text, "%d %d %d %d %d %d %d %.9g %.9g %.9g", c->qk_norm_whole, c->no_pre_norms, c->parallel,
                     c->layer_norm, c->norm_bias, c->gateless, c->rotary_dim, (double)c->query_growth,
                     (double)c->attention_softcap, (double)c->logit_softcap);
        sf_hash_fold(hash, text, (size_t)n);
    }
    if (c->router.experts || c->sinks) {
        const sf_router *r = &c->router;
        n = snprintf(text, sizeof text, "%d %d %d %d %.9g %d %d %d %d %d %d %d %d %d %d %.9g %.9g", r->kind, r->experts, r->chosen, r->normalize,
                     (double)r->scale, r->groups, r->best_groups, r->group_top, c->expert_mlp, c->shared_mlp, c->shared_switch,
                     c->router_bias, c->router_correction, c->expert_bias, c->sinks, (double)c->swiglu[0], (double)c->swiglu[1]);
        sf_hash_fold(hash, text, (size_t)n);
        sf_hash_fold(hash, c->whole_mlp, (size_t)c->layers);
    }
    if (c->latent) {
        n = snprintf(text, sizeof text, "latent %d %d %d %d %.17g %d", c->latent, c->query_latent, c->own_dim, c->value_dim, c->latent_eps,
                     c->latent_bias);
        sf_hash_fold(hash, text, (size_t)n);
    }
    if (c->entmax_alpha != 0 || c->query_scales) {
        n = snprintf(text, sizeof text, "entmax %.9g %d %.9g %.9g", (double)c->entmax_alpha, c->query_scales, (double)c->scale_delta,
                     (double)c->scale_range);
        sf_hash_fold(hash, text, (size_t)n);
    }
    if (c->reach.chunk) {
        n = snprintf(text, sizeof text, "reach %d %d", c->reach.chunk, c->reach.cap);
        sf_hash_fold(hash, text, (size_t)n);
    }
    if (c->qk_unit || c->still_growth != 0 || c->chunked || c->scaled_input) {
        n = snprintf(text, sizeof text, "llama4 %d %.9g %d %d %d", c->qk_unit, (double)c->still_growth, c->still_positions, c->chunked,
                     c->scaled_input);
        sf_hash_fold(hash, text, (size_t)n);
    }
    if (c->rope.between_pairs || c->rope_local.between_pairs) sf_hash_fold(hash, "between", 7);
    if (c->rope.scaling == SF_ROPE_LONG) sf_hash_fold(hash, c->rope.longer, sizeof c->rope.longer);
    if (memchr(c->unrotated, 1, (size_t)c->layers)) sf_hash_fold(hash, c->unrotated, (size_t)c->layers);
    if (c->kernel) {
        const sf_delta_shape *s = &c->delta;
        n = snprintf(text, sizeof text, "recurs %d %d %d %d %d %d", c->mixer, c->kernel, s->key_heads, s->key_dim, s->value_heads, s->value_dim);
        sf_hash_fold(hash, text, (size_t)n);
        sf_hash_fold(hash, c->recurs, (size_t)c->layers);
        if (s->tiled) sf_hash_fold(hash, "tiled", 5);
        if (c->convolution_bias) sf_hash_fold(hash, "convolution bias", 16);
        if (c->no_mixer_norm) sf_hash_fold(hash, "no mixer norm", 13);
        if (c->mixer_beside) sf_hash_fold(hash, "beside", 6);
        if (s->least != 0) sf_hash_fold(hash, &s->least, sizeof s->least);
        const sf_multipliers *m = &c->multipliers, none = {0};
        if (memcmp(m, &none, sizeof none) != 0) sf_hash_fold(hash, m, sizeof *m); /* floats alone: no padding */
    }
    if (c->attention_gate) sf_hash_fold(hash, "gate", 4);
    if (memchr(c->bare, 1, (size_t)c->layers)) sf_hash_fold(hash, c->bare, (size_t)c->layers);
    if (memchr(c->idle, 1, (size_t)c->layers)) sf_hash_fold(hash, c->idle, (size_t)c->layers);
    if (c->experts_beside || sf_heads_differ(c) || c->shared_from || c->keys_are_values || c->value_norm || c->layer_scale || c->layer_dim || c->rope.turning != 0 ||
        c->rope_local.turning != 0) {
        n = snprintf(text, sizeof text, "gemma4 %d %d %d %d %d %d %d %d %d %d %.17g %.17g", c->experts_beside, c->sliding_head_dim, c->sliding_kv_heads, c->shared_from,
                     c->shared_wide, c->keys_are_values, c->value_norm, c->layer_scale, c->layer_dim, c->layer_vocab, c->rope.turning,
                     c->rope_local.turning);
        sf_hash_fold(hash, text, (size_t)n);
    }
}
/* A field added to these structs must be added above. */
_Static_assert(sizeof(sf_model_config) == 3256 && sizeof(sf_rope_config) == 600, "sf_config_hash() knows every field");

static sf_status check_rope(const sf_rope_config *r, const char *what, const char *where)
{
    bool scaled = r->scaling != SF_ROPE_PLAIN, by_rule = r->scaling == SF_ROPE_YARN && r->factor == 0;
    if (!(isfinite(r->theta) && r->theta >= 1)) {
        return sf_fail(SF_BAD_INPUT, "%s: %s: expected a rotation base theta of at least 1, found %g", where, what,
                       r->theta);
    }
    if (scaled && !by_rule && !(isfinite(r->factor) && r->factor >= 1)) {
        return sf_fail(SF_BAD_INPUT, "%s: %s: expected a scaling factor of at least 1, found %g", where, what,
                       r->factor);
    }
    if (scaled && r->scaling != SF_ROPE_LINEAR && r->original_positions < (r->scaling == SF_ROPE_LONG ? 2 : 1)) {
        return sf_fail(SF_BAD_INPUT, "%s: %s: expected the number of original positions, found %d", where, what,
                       r->original_positions);
    }
    if (r->scaling == SF_ROPE_LLAMA3 && !(r->low_freq_factor > 0 && r->high_freq_factor >= r->low_freq_factor)) {
        return sf_fail(SF_BAD_INPUT, "%s: %s: expected 0 < low_freq_factor <= high_freq_factor, found %g and %g", where,
                       what, r->low_freq_factor, r->high_freq_factor);
    }
    if (r->scaling == SF_ROPE_YARN && !(r->beta_slow > 0 && r->beta_fast > r->beta_slow)) {
        return sf_fail(SF_BAD_INPUT, "%s: %s: expected 0 < beta_slow < beta_fast, found %g and %g", where, what,
                       r->beta_slow, r->beta_fast);
    }
    return SF_OK;
}

bool sf_layer_lends(const sf_model_config *c, int layer)
{
    for (int l = c->shared_from; c->shared_from && l < c->layers; l++)
        if (sf_layer_source(c, l) == layer) return true;
    return false;
}

double sf_projection_elements(const sf_model_config *c, int layer)
{
    const double d = c->d, h = c->heads, query = h * sf_query_numbers(c), down = c->query_latent;
    const double kept = sf_layer_borrows(c, layer) ? 0 : c->keys_are_values && !c->sliding[layer] ? 1 : 2;
    if (!c->latent)
        return d * sf_head_dim_of(c, layer) * ((c->attention_gate ? 3 : 2) * h + kept * sf_kv_heads_of(c, layer));
    return (down ? d * down + down * query : d * query) + d * c->head_dim + h * c->latent * (c->own_dim + c->value_dim) + h * c->value_dim * d;
}

static sf_status check_latent(const sf_model_config *c, const char *where)
{
    const int most = 1 << 16;
    if (!c->latent) return SF_OK;
    if (c->latent < 1 || c->latent > most || c->query_latent < 0 || c->query_latent > most || c->own_dim < 1 || c->own_dim > most ||
        c->value_dim < 1 || c->value_dim > most || c->rotary_dim < 2 || c->head_dim != c->latent + c->rotary_dim || c->kv_heads != 1)
        return sf_fail(SF_BAD_INPUT, "%s: latent attention: expected 1 to %d numbers of each latent and of each head's key and value, and 2"
                       " or more rotated ones; found %d, %d, %d, %d, %d", where, most, c->latent, c->query_latent, c->own_dim, c->value_dim,
                       c->rotary_dim);
    if (!(c->latent_eps > 0 && c->latent_eps < 1))
        return sf_fail(SF_BAD_INPUT, "%s: norm epsilon of latents: expected a number between 0 and 1, found %g", where, c->latent_eps);
    if (c->window || c->sinks || c->qk_norm || c->qkv_bias || c->query_growth != 0 || c->layer_norm)
        return sf_fail(SF_UNSUPPORTED, "%s: latent attention together with windows, sinks, norms over heads, biases of heads, growing queries"
                       " or norms that take the mean off", where);
    return SF_OK;
}

static bool even_heads(const sf_model_config *c)
{
    const int most = 1 << 16;
    return c->sliding_head_dim >= 0 && c->sliding_head_dim <= most && c->sliding_head_dim % 2 == 0 && c->sliding_kv_heads >= 0 &&
           c->sliding_kv_heads <= most && (c->sliding_kv_heads == 0 || c->heads % c->sliding_kv_heads == 0);
}

/* Heads of two sizes, layers that read others' keys, and embeddings for each layer. */
static sf_status check_layers(const sf_model_config *c, const char *where)
{
    if (!even_heads(c))
        return sf_fail(SF_BAD_INPUT, "%s: heads of layers that slide: expected an even head dim, and kv heads of which %d query heads are a multiple;"
                       " found %d, and %d", where, c->heads, c->sliding_head_dim, c->sliding_kv_heads);
    if (c->shared_from < 0 || c->shared_from >= c->layers || (c->shared_wide && !c->shared_from))
        return sf_fail(SF_BAD_INPUT, "%s: expected layers with keys of their own in front of those that read others', found %d of %d", where,
                       c->shared_from, c->layers);
    for (int l = c->shared_from; c->shared_from && l < c->layers; l++)
        if (c->sliding[sf_layer_source(c, l)] != c->sliding[l])
            return sf_fail(SF_BAD_INPUT, "%s: layer %d %s and reads another's keys: expected one that does so among the first %d, found none", where, l,
                           c->sliding[l] ? "slides" : "sees everything", c->shared_from);
    if (c->layer_dim < 0 || c->layer_dim > 1 << 16 || (c->layer_dim && c->layer_vocab < c->vocab))
        return sf_fail(SF_BAD_INPUT, "%s: expected an embedding for each layer of up to 65536 numbers, of every token of %d, found %d, of %d", where,
                       c->vocab, c->layer_dim, c->layer_vocab);
    const bool differs = sf_heads_differ(c) || c->shared_from || c->keys_are_values || c->value_norm || c->layer_scale || c->layer_dim || c->experts_beside;
    const bool other = c->latent || (c->router.experts && !c->experts_beside) || c->kernel || c->attention_gate || c->parallel || c->sinks || c->chunked ||
                       c->qk_norm_whole || c->rotary_dim || c->query_growth != 0 || c->still_growth != 0 || c->qk_unit || c->query_scales ||
                       c->gateless || c->norm_offset != 0 || c->layer_norm || c->entmax_alpha != 0;
    if (differs && (other || !c->post_norms))
        return sf_fail(SF_UNSUPPORTED, "%s: heads of two sizes, keys of other layers or embeddings for each layer, in another graph than Gemma 4's",
                       where);
    return SF_OK;
}

static sf_status check_experts(const sf_model_config *c, const char *where)
{
    const sf_router *r = &c->router;
    bool groups = r->groups > 1, sized = c->expert_mlp >= 1 && c->expert_mlp <= 1 << 24 && c->shared_mlp >= 0 && c->shared_mlp <= 1 << 24;
    if (r->experts == 0) return SF_OK;
    if (r->experts < 1 || r->experts > SF_MOST_EXPERTS || r->chosen < 1 || r->chosen > r->experts || !sized) {
        return sf_fail(SF_BAD_INPUT, "%s: expected 1 to %d experts of at least 1 unit, and as many of them or fewer for each row; found %d"
                       " of %d, and %d for a row", where, SF_MOST_EXPERTS, r->experts, c->expert_mlp, r->chosen);
    }
    if (groups && (r->groups > SF_MOST_GROUPS || r->experts % r->groups != 0 || r->best_groups < 1 || r->best_groups > r->groups ||
                   r->best_groups * (r->experts / r->groups) < r->chosen)) {
        return sf_fail(SF_BAD_INPUT, "%s: expected groups of equal size, the best of which hold %d experts; found %d experts in %d"
                       " groups, of which %d are taken", where, r->chosen, r->experts, r->groups, r->best_groups);
    }
    if (!(isfinite(r->scale) && r->scale > 0))
        return sf_fail(SF_BAD_INPUT, "%s: expected a scale of experts above 0, found %g", where, (double)r->scale);
    if (c->scaled_input && (r->chosen != 1 || c->expert_bias))
        return sf_fail(SF_UNSUPPORTED, "%s: experts that read what the router scales: one for each row, without biases, is computed; found %d%s",
                       where, r->chosen, c->expert_bias ? ", with biases" : "");
    if ((c->post_norms && !c->experts_beside) || c->parallel)
        return sf_fail(SF_UNSUPPORTED, "%s: experts together with post norms or a parallel MLP", where);
    if (c->gateless && (c->expert_bias || c->shared_switch || c->scaled_input))
        return sf_fail(SF_UNSUPPORTED, "%s: experts without a gate together with biases, a switch or scaled inputs", where);
    return SF_OK;
}

static sf_status check_recurrence(const sf_model_config *c, const char *where)
{
    const int recurring = sf_layers_recurring(c);
    if ((recurring > 0) != (c->kernel > 0) || c->kernel > SF_MAX_KERNEL)
        return sf_fail(SF_BAD_INPUT, "%s: expected a convolution over at most %d rows exactly where some layers recur, found one over %d and"
                       " %d such layers", where, SF_MAX_KERNEL, c->kernel, recurring);
    for (int layer = 0; layer < c->layers; layer++)
        if (c->recurs[layer] && c->sliding[layer]) return sf_fail(SF_BAD_INPUT, "%s: layer %d both recurs and slides", where, layer);
    for (int layer = 0; layer < c->layers; layer++)
        if (c->idle[layer] && (c->recurs[layer] || c->sliding[layer] || c->bare[layer]))
            return sf_fail(SF_BAD_INPUT, "%s: layer %d has nothing but an MLP, and recurs, slides or has none", where, layer);
    if ((memchr(c->bare, 1, (size_t)c->layers) || memchr(c->idle, 1, (size_t)c->layers)) && (c->post_norms || c->parallel || c->no_pre_norms || c->latent))
        return sf_fail(SF_UNSUPPORTED, "%s: layers of one part together with post norms, a parallel MLP or latent attention", where);
    const sf_delta_shape *s = &c->delta;
    bool sized = s->key_heads > 0 && s->key_dim > 0 && s->value_heads > 0 && s->value_dim > 0 && s->key_heads <= 1 << 12 &&
                 s->key_dim <= 1 << 12 && s->value_heads <= 1 << 12 && s->value_dim <= 1 << 12 && s->value_heads % s->key_heads == 0;
    if (recurring && c->mixer != SF_SHORT_CONVOLUTION && !sized)
        return sf_fail(SF_BAD_INPUT, "%s: expected value heads of a delta rule or state space that are a multiple of its key heads or groups, up to"
                       " 4096 of each and of their dims, found %d of %d and %d of %d", where, s->value_heads, s->value_dim, s->key_heads, s->key_dim);
    if ((recurring || c->attention_gate) && (c->post_norms || c->parallel))
        return sf_fail(SF_UNSUPPORTED, "%s: recurrent layers, or a gate on attention, together with post norms or a parallel MLP", where);
    return SF_OK;
}

sf_status sf_config_validate(const sf_model_config *c, const char *where)
{
    const struct {
        const char *name;
        int value, most;
    } sizes[] = {
        {"layers", c->layers, SF_MAX_LAYERS},   {"hidden size", c->d, 1 << 20},     {"query heads", c->heads, 1 << 16},
        {"kv heads", c->kv_heads, 1 << 16},     {"head dim", c->head_dim, 1 << 16}, {"mlp size", c->mlp, 1 << 24},
        {"vocabulary size", c->vocab, 1 << 28},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most) {
            return sf_fail(SF_BAD_INPUT, "%s: %s: expected 1 to %d, found %d", where, sizes[i].name, sizes[i].most,
                           sizes[i].value);
        }
    }
    if (c->heads % c->kv_heads != 0) {
        return sf_fail(SF_BAD_INPUT, "%s: expected query heads to be a multiple of kv heads, found %d and %d", where,
                       c->heads, c->kv_heads);
    }
    if (c->head_dim % 2 != 0)
        return sf_fail(SF_BAD_INPUT, "%s: head dim: expected an even number, found %d", where, c->head_dim);
    if (c->rotary_dim < 0 || c->rotary_dim % 2 != 0 || c->rotary_dim > c->head_dim) {
        return sf_fail(SF_BAD_INPUT, "%s: rotated part of a head: expected an even number up to the head dim, %d, found %d", where,
                       c->head_dim, c->rotary_dim);
    }
    if (!(c->norm_eps > 0 && c->norm_eps < 1)) {
        return sf_fail(SF_BAD_INPUT, "%s: norm epsilon: expected a number between 0 and 1, found %g", where,
                       c->norm_eps);
    }
    if (!(isfinite(c->attention_scale) && c->attention_scale > 0 && isfinite(c->embed_scale) && c->embed_scale > 0)) {
        return sf_fail(SF_BAD_INPUT, "%s: expected attention and embedding scales above 0, found %g and %g", where,
                       (double)c->attention_scale, (double)c->embed_scale);
    }
    if (!(isfinite(c->residual_scale) && c->residual_scale >= 0 && isfinite(c->logit_scale) && c->logit_scale >= 0)) {
        return sf_fail(SF_BAD_INPUT, "%s: expected scales of residuals and logits above 0, found %g and %g", where,
                       (double)c->residual_scale, (double)c->logit_scale);
    }
    if (!(c->attention_softcap >= 0 && c->logit_softcap >= 0 && c->query_growth >= 0)) {
        return sf_fail(SF_BAD_INPUT, "%s: expected caps of scores and logits and a growth of queries of at least 0, found %g, %g"
                       " and %g", where, (double)c->attention_softcap, (double)c->logit_softcap, (double)c->query_growth);
    }
    if (c->entmax_alpha != 0 && !(c->entmax_alpha > 1 && c->entmax_alpha <= 2)) {
        return sf_fail(SF_BAD_INPUT, "%s: entmax alpha: expected a number above 1 and at most 2, found %g", where, (double)c->entmax_alpha);
    }
    if (c->entmax_alpha != 0 && (c->sinks || c->latent))
        return sf_fail(SF_UNSUPPORTED, "%s: %s together with %g-entmax", where, c->sinks ? "learned attention sinks" : "latent attention",
                       (double)c->entmax_alpha);
    if (!(isfinite(c->scale_delta) && c->scale_delta >= 0 && isfinite(c->scale_range) && c->scale_range >= 0)) {
        return sf_fail(SF_BAD_INPUT, "%s: expected a delta and a range of queries' scales of at least 0, found %g and %g", where,
                       (double)c->scale_delta, (double)c->scale_range);
    }
    if (!(isfinite(c->still_growth) && c->still_growth >= 0) || (c->still_growth != 0 && c->still_positions < 1))
        return sf_fail(SF_BAD_INPUT, "%s: queries of layers without positions: expected a growth of at least 0 every so many positions, found"
                       " %g and %d", where, (double)c->still_growth, c->still_positions);
    if ((c->chunked || c->qk_unit || c->still_growth != 0) && (c->latent || c->sinks || c->entmax_alpha != 0 || c->query_growth != 0 || c->qk_norm))
        return sf_fail(SF_UNSUPPORTED, "%s: attention in chunks, or q and k scaled as Llama 4 does, together with latent attention, sinks,"
                       " entmax, growing queries or norms with weights over heads", where);
    bool slides = memchr(c->sliding, 1, (size_t)c->layers) != NULL;
    if (slides != (c->window > 0)) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: expected a sliding window exactly where some layers slide, found a window of %d tokens and"
                       " %s sliding layers",
                       where, c->window, slides ? "some" : "no");
    }
    SF_TRY(check_latent(c, where));
    SF_TRY(check_layers(c, where));
    SF_TRY(check_experts(c, where));
    SF_TRY(check_recurrence(c, where));
    SF_TRY(check_rope(&c->rope, "rope", where));
    return check_rope(&c->rope_local, "rope of sliding layers", where);
}
