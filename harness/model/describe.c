#include "harness/model/describe.h"
#include "harness/model/chat.h"
#include "harness/model/mixer.h"
#include "harness/model/tokenizer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(size_t bytes, char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, bytes - used, format, arguments);
    va_end(arguments);
}

const char *sf_rope_text(const sf_rope_config *r, size_t bytes, char *text)
{
    snprintf(text, bytes, "theta %g", r->theta);
    if (r->turning != 0) append(bytes, text, ", the first %g %% of pairs", 100 * r->turning);
    switch (r->scaling) {
    case SF_ROPE_PLAIN:
        break;
    case SF_ROPE_LINEAR:
        append(bytes, text, ", linear, factor %g", r->factor);
        break;
    case SF_ROPE_LLAMA3:
        append(bytes, text, ", llama3, factor %g from %d positions, bands %g and %g", r->factor, r->original_positions,
               r->low_freq_factor, r->high_freq_factor);
        break;
    case SF_ROPE_DYNAMIC:
        append(bytes, text, ", dynamic, factor %g beyond %d positions", r->factor, r->original_positions);
        break;
    case SF_ROPE_LONG:
        append(bytes, text, ", longrope, factor %g, other divisors beyond %d positions", r->factor, r->original_positions);
        if (r->attention_factor != 0) append(bytes, text, ", attention factor %g", r->attention_factor);
        break;
    case SF_ROPE_YARN:
        if (r->factor == 0)
            append(bytes, text, ", YaRN by rule beyond %d positions", r->original_positions);
        else
            append(bytes, text, ", YaRN, factor %g from %d positions", r->factor, r->original_positions);
        append(bytes, text, ", betas %g and %g%s", r->beta_fast, r->beta_slow, r->between_pairs ? " between pairs" : "");
        if (r->attention_factor != 0) append(bytes, text, ", attention factor %g", r->attention_factor);
        break;
    }
    return text;
}

static bool same_rope(const sf_rope_config *a, const sf_rope_config *b)
{
    char one[160], two[160];
    return strcmp(sf_rope_text(a, sizeof one, one), sf_rope_text(b, sizeof two, two)) == 0;
}

const char *sf_positions_text(const sf_model_config *c, size_t bytes, char *text)
{
    char local[160];
    sf_rope_text(&c->rope, bytes, text);
    if (c->window > 0 && !same_rope(&c->rope, &c->rope_local)) {
        append(bytes, text, "; sliding layers: %s", sf_rope_text(&c->rope_local, sizeof local, local));
    }
    int unrotated = 0;
    for (int l = 0; l < c->layers; l++) unrotated += c->unrotated[l];
    if (unrotated) append(bytes, text, "; none on %d of %d layers", unrotated, c->layers);
    if (c->max_position > 0) append(bytes, text, "; up to %d tokens", c->max_position);
    if (c->reach.chunk) append(bytes, text, "; dual chunks of %d, distances up to %d", c->reach.chunk, c->reach.cap);
    return text;
}

const char *sf_windows_text(const sf_model_config *c, size_t bytes, char *text)
{
    int sliding = 0;
    for (int l = 0; l < c->layers; l++) sliding += sf_layer_slides(c, l);
    if (sliding == 0) {
        snprintf(text, bytes, "none");
    } else if (sliding == c->layers) {
        snprintf(text, bytes, "%s%d tokens on all %d layers", c->chunked ? "chunks of " : "", c->window, c->layers);
    } else {
        snprintf(text, bytes, "%s%d tokens on %d of %d layers; whole attention on", c->chunked ? "chunks of " : "", c->window, sliding, c->layers);
        for (int l = 0, n = 0; l < c->layers; l++) {
            if (!sf_layer_slides(c, l)) append(bytes, text, "%s%d", n++ ? ", " : " ", l);
        }
    }
    return text;
}

/* "<|im_end|> (2)" */
static void append_token(const sf_model *m, int32_t id, size_t bytes, char *text)
{
    const char *token = sf_token_text(m->tokenizer, id);
    append(bytes, text, "%s%s (%d)", *text ? ", " : "", token ? token : "no token", id);
}

static void tokens_text(const sf_model *m, size_t bytes, char *text)
{
    int tokens = sf_vocab_size(m->tokenizer);
    snprintf(text, bytes, "%d tokens, %d rows in the embedding table", tokens, m->config.vocab);
}

int sf_model_facts(const sf_model *m, sf_fact fact[SF_MAX_FACTS])
{
    int n = 0;
    const sf_model_config *c = &m->config;
    memset(fact, 0, SF_MAX_FACTS * sizeof *fact);
    fact[n].name = "positions";
    sf_positions_text(c, sizeof fact->text, fact[n++].text);
    fact[n].name = "windows";
    sf_windows_text(c, sizeof fact->text, fact[n++].text);
    if (sf_heads_differ(c)) {
        const int kv = c->sliding_kv_heads ? c->sliding_kv_heads : c->kv_heads, dim = c->sliding_head_dim ? c->sliding_head_dim : c->head_dim;
        fact[n].name = "heads";
        snprintf(fact[n++].text, sizeof fact->text, "%d of %d numbers, %d of keys; where layers slide %d of %d, %d of keys", c->heads, c->head_dim,
                 c->kv_heads, c->heads, dim, kv);
    }
    if (c->shared_from) {
        fact[n].name = "shared keys";
        snprintf(fact[n].text, sizeof fact->text, "layers %d to %d read those of layers", c->shared_from, c->layers - 1);
        for (int l = 0, k = 0; l < c->shared_from; l++)
            if (sf_layer_lends(c, l)) append(sizeof fact->text, fact[n].text, "%s%d", k++ ? ", " : " ", l);
        n++;
    }
    if (c->kernel) {
        const int recurring = sf_layers_recurring(c);
        fact[n].name = "recurrent";
        snprintf(fact[n].text, sizeof fact->text, "%s on %d of %d layers, a state of %.4g KiB on each; attention on", sf_mixer_name(c), recurring,
                 c->layers, (double)sf_mixer_sizes(c).state * 4 / 1024);
        for (int l = 0, k = 0; l < c->layers; l++)
            if (sf_layer_attends(c, l)) append(sizeof fact->text, fact[n].text, "%s%d", k++ ? ", " : " ", l);
        n++;
    }
    fact[n].name = "head";
    snprintf(fact[n++].text, sizeof fact->text, "%s", c->tied ? "tied: the embedding table" : "of its own");
    if (!m->tokenizer) return n;

    fact[n].name = "vocabulary";
    tokens_text(m, sizeof fact->text, fact[n++].text);
    fact[n].name = "BOS";
    if (m->bos < 0)
        snprintf(fact[n].text, sizeof fact->text, "none is added");
    else
        append_token(m, m->bos, sizeof fact->text, fact[n].text);
    n++;
    fact[n].name = "stops";
    for (int i = 0; i < m->stops; i++) append_token(m, m->stop[i], sizeof fact->text, fact[n].text);
    n++;
    fact[n].name = "template";
    snprintf(fact[n++].text, sizeof fact->text, "%s",
             m->chat      ? sf_chat_name(m->chat)
             : m->no_chat ? m->no_chat
                          : "none");
    return n;
}
