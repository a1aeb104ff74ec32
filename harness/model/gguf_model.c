/* What a GGUF file says about its model: keys to a config, tensors to weights, tokenizer and chat template. */
#include "harness/model/chat.h"
#include "harness/model/family.h"
#include "harness/model/gguf.h"
#include "harness/model/source.h"
#include "harness/model/tokenizer.h"
#include "harness/model/weights.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Families whose GGUF layout is known to the last detail, by general.architecture. Gemma 3 is not among them: its files
 * leave the rotation of sliding layers and their pattern to the reader. */
static const struct layout {
    const char *name;
    bool interleaved; /* llama.cpp's converter reorders the rows of q and k */
} LAYOUTS[] = {{"llama", true}, {"qwen2", false}, {"qwen3", false}};
enum { N_LAYOUTS = sizeof LAYOUTS / sizeof *LAYOUTS };

static sf_status find_layout(const sf_gguf *g, const struct layout **out)
{
    char *name;
    SF_TRY(sf_gguf_text(g, "general.architecture", true, &name));
    *out = NULL;
    for (int i = 0; i < N_LAYOUTS; i++) {
        if (strcmp(LAYOUTS[i].name, name) == 0) *out = &LAYOUTS[i];
    }
    sf_status status = *out ? SF_OK
                            : sf_fail(SF_UNSUPPORTED,
                                      "%s: key general.architecture: expected llama, qwen2 or qwen3, found"
                                      " \"%.64s\"; other families may be read from their Hugging Face folder",
                                      g->path, name);
    free(name);
    return status;
}

/* Keys of an architecture stand under its name: "llama.block_count". The text lives until the thread's next call. */
static const char *key_of(const struct layout *f, const char *rest)
{
    static _Thread_local char key[128];
    snprintf(key, sizeof key, "%s.%s", f->name, rest);
    return key;
}

/* ---- positions --------------------------------------------------------------------------------------------------- */

/* Llama 3's scaling arrives as a table of divisors of the inverse frequencies, without the four numbers it was made of.
 * All published checkpoints share three of them (low 1, high 4, original 8192), the largest divisor is the fourth; they
 * are taken for true when they give the very table back. */
static sf_status rope_from_table(const sf_gguf *g, sf_gguf_tensor *table, sf_model_config *c)
{
    const sf_tensor *t = &table->tensor;
    if (t->dtype != SF_F32 || t->rank != 1 || t->dim[0] != c->head_dim / 2) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected F32 [%d], found %s %s", g->path, table->name,
                       c->head_dim / 2, sf_dtypes[t->dtype].name, sf_shape_text(t->rank, t->dim));
    }
    const float *divisor = t->data;
    double factor = 1;
    for (int i = 0; i < c->head_dim / 2; i++) {
        if (divisor[i] > factor) factor = divisor[i];
    }
    sf_rope_config r = {.theta = c->rope.theta,
                        .scaling = SF_ROPE_LLAMA3,
                        .factor = factor,
                        .low_freq_factor = 1,
                        .high_freq_factor = 4,
                        .original_positions = 8192};
    for (int i = 0; i < c->head_dim / 2; i++) {
        double wavelength = 2 * M_PI * pow(r.theta, 2.0 * i / c->head_dim);
        double turns = r.original_positions / wavelength; /* within the original context */
        double blend = (turns - r.low_freq_factor) / (r.high_freq_factor - r.low_freq_factor);
        double expected = blend <= 0 ? factor : blend >= 1 ? 1 : 1 / ((1 - blend) / factor + blend);
        if (!(fabs(divisor[i] - expected) <= 1e-3 * expected)) {
            return sf_fail(SF_UNSUPPORTED,
                           "%s: tensor %s: expected Llama 3's scaling by factor %g (%g at %d), found %g: another"
                           " scaling of positions",
                           g->path, table->name, factor, expected, i, (double)divisor[i]);
        }
    }
    c->rope = r;
    table->used = true;
    return SF_OK;
}

static sf_status read_rope(const sf_gguf *g, const struct layout *f, sf_model_config *c)
{
    sf_rope_config *r = &c->rope;
    *r = (sf_rope_config){.theta = 10000, .factor = 1, .beta_fast = 32, .beta_slow = 1};
    SF_TRY(sf_gguf_real(g, key_of(f, "rope.freq_base"), false, 1, 1e12, &r->theta));

    int rotated = c->head_dim;
    SF_TRY(sf_gguf_int(g, key_of(f, "rope.dimension_count"), false, 1, INT_MAX, &rotated));
    if (rotated != c->head_dim) {
        return sf_fail(SF_UNSUPPORTED,
                       "%s: key %s: expected the head dim, %d, found %d: partial rotation is not supported", g->path,
                       key_of(f, "rope.dimension_count"), c->head_dim, rotated);
    }

    char *type;
    SF_TRY(sf_gguf_text(g, key_of(f, "rope.scaling.type"), false, &type));
    bool linear = type && strcmp(type, "linear") == 0, yarn = type && strcmp(type, "yarn") == 0;
    bool plain = !type || strcmp(type, "none") == 0;
    sf_status status = linear || yarn || plain
                           ? SF_OK
                           : sf_fail(SF_UNSUPPORTED, "%s: key %s: expected none, linear or yarn, found \"%s\"", g->path,
                                     key_of(f, "rope.scaling.type"), type);
    free(type);
    if (status != SF_OK) return status;

    if (linear || yarn) {
        r->scaling = linear ? SF_ROPE_LINEAR : SF_ROPE_YARN;
        SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.factor"), true, 1, 1e6, &r->factor));
    }
    if (yarn) {
        double stretch = 1; /* of the usual attention factor */
        SF_TRY(sf_gguf_int(g, key_of(f, "rope.scaling.original_context_length"), true, 1, INT_MAX,
                           &r->original_positions));
        SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.attn_factor"), false, 1e-3, 1e3, &stretch));
        SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.yarn_beta_fast"), false, 0, 1e6, &r->beta_fast));
        SF_TRY(sf_gguf_real(g, key_of(f, "rope.scaling.yarn_beta_slow"), false, 0, 1e6, &r->beta_slow));
        if (stretch != 1) r->attention_factor = stretch * (0.1 * log(r->factor) + 1);
    }
    sf_gguf_tensor *table = sf_gguf_find_tensor(g, "rope_freqs.weight");
    if (table && plain) SF_TRY(rope_from_table(g, table, c));
    c->rope_local = c->rope;
    return SF_OK;
}

/* ---- the config -------------------------------------------------------------------------------------------------- */

static sf_status read_config(const sf_gguf *g, sf_model_config *c)
{
    const struct layout *f;
    SF_TRY(find_layout(g, &f));
    char *name;
    SF_TRY(sf_gguf_text(g, "general.name", false, &name));
    snprintf(c->name, sizeof c->name, "%s", name ? name : f->name);
    free(name);

    SF_TRY(sf_gguf_int(g, key_of(f, "block_count"), true, 1, SF_MAX_LAYERS, &c->layers));
    SF_TRY(sf_gguf_int(g, key_of(f, "embedding_length"), true, 1, 1 << 20, &c->d));
    SF_TRY(sf_gguf_int(g, key_of(f, "feed_forward_length"), true, 1, 1 << 24, &c->mlp));
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.head_count"), true, 1, 1 << 16, &c->heads));
    c->kv_heads = c->heads;
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.head_count_kv"), false, 1, 1 << 16, &c->kv_heads));
    c->head_dim = c->d / c->heads;
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.key_length"), false, 1, 1 << 16, &c->head_dim));
    int value_dim = c->head_dim;
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.value_length"), false, 1, 1 << 16, &value_dim));
    if (value_dim != c->head_dim) {
        return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected the length of keys, %d, found %d", g->path,
                       key_of(f, "attention.value_length"), c->head_dim, value_dim);
    }
    SF_TRY(sf_gguf_int(g, key_of(f, "context_length"), false, 1, INT_MAX, &c->max_position));
    SF_TRY(sf_gguf_real(g, key_of(f, "attention.layer_norm_rms_epsilon"), true, 1e-12, 1, &c->norm_eps));

    int experts = 0, window = 0;
    SF_TRY(sf_gguf_int(g, key_of(f, "expert_count"), false, 0, INT_MAX, &experts));
    if (experts > 0)
        return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected 0, a dense model, found %d", g->path,
                       key_of(f, "expert_count"), experts);
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.sliding_window"), false, 0, INT_MAX, &window));
    if (window > 0 && (c->max_position == 0 || window < c->max_position)) {
        c->window = window; /* these families have it in all layers or in none */
        memset(c->sliding, 1, (size_t)c->layers);
    }

    sf_gguf_tensor *embedding = sf_gguf_find_tensor(g, "token_embd.weight");
    const sf_gguf_key *tokens = sf_gguf_find(g, "tokenizer.ggml.tokens");
    if (!embedding) return sf_fail(SF_BAD_INPUT, "%s: tensor token_embd.weight: expected, not found", g->path);
    c->vocab = embedding->tensor.dim[0] <= INT_MAX ? (int)embedding->tensor.dim[0] : INT_MAX;
    if (tokens && tokens->count > (uint64_t)c->vocab) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor token_embd.weight: expected a row for each of %llu tokens, found %s",
                       g->path, (unsigned long long)tokens->count,
                       sf_shape_text(embedding->tensor.rank, embedding->tensor.dim));
    }
    c->tied = !sf_gguf_find_tensor(g, "output.weight");
    c->rope_interleaved = f->interleaved;
    SF_TRY(read_rope(g, f, c));
    const sf_family *family;
    SF_TRY(sf_family_find(f->name, g->path, "key general.architecture", &family));
    sf_family_apply(family, c);
    return SF_OK;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

static sf_status read_weights(const sf_gguf *g, sf_model *out)
{
    sf_weight_slot *slot = malloc(SF_WEIGHT_SLOTS * sizeof *slot);
    out->weights.layer = calloc((size_t)out->config.layers, sizeof *out->weights.layer);
    if (!slot || !out->weights.layer) {
        free(slot);
        return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", g->path);
    }
    int slots = sf_weight_slots(&out->config, &out->weights, slot);
    sf_status status = SF_OK;
    for (int i = 0; status == SF_OK && i < slots; i++) {
        sf_gguf_tensor *found = sf_gguf_find_tensor(g, slot[i].gguf);
        if (!found) {
            status = sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, not found", g->path, slot[i].gguf,
                             sf_shape_text(slot[i].rank, slot[i].dim));
        } else {
            status = sf_weight_set(&slot[i], &found->tensor, g->path, slot[i].gguf);
            out->weight_bytes += sf_bytes(found->tensor.dtype, sf_elements(&found->tensor));
            found->used = true;
        }
    }
    free(slot);
    if (out->config.tied) out->weights.head = out->weights.embedding;

    /* A tensor that nobody asked for means that the graph is not the one we would compute. */
    for (uint64_t i = 0; status == SF_OK && i < g->tensors; i++) {
        if (g->tensor[i].used) continue;
        status = sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected none of this name in architecture %s, found shape %s",
                         g->path, g->tensor[i].name, out->config.architecture,
                         sf_shape_text(g->tensor[i].tensor.rank, g->tensor[i].tensor.dim));
    }
    return status;
}

/* ---- tokenizer and chat ------------------------------------------------------------------------------------------ */

static sf_status read_types(const sf_gguf *g, int tokens, int32_t **out)
{
    *out = NULL;
    const char *name = "tokenizer.ggml.token_type";
    const sf_gguf_key *key = sf_gguf_find(g, name);
    if (!key) return SF_OK;
    if (key->type != SF_GGUF_ARRAY || (key->element != SF_GGUF_I32 && key->element != SF_GGUF_U32) ||
        key->count != (uint64_t)tokens) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: key %s: expected an array of %d 32-bit integers, one a token, found another type or %llu"
                       " elements",
                       g->path, name, tokens, (unsigned long long)key->count);
    }
    *out = malloc((size_t)tokens * sizeof **out + 1);
    if (!*out) return sf_fail(SF_NO_MEMORY, "%s: no memory for %d token types", g->path, tokens);
    memcpy(*out, key->value, (size_t)tokens * sizeof **out);
    return SF_OK;
}

static sf_status read_tokenizer(const sf_gguf *g, sf_tokenizer **out)
{
    char *model = NULL, *pre = NULL;
    int32_t *type = NULL;
    const char **token = NULL, **merge = NULL;
    size_t *token_bytes = NULL, *merge_bytes = NULL;
    sf_gguf_tokens from = {0};

    sf_status status = sf_gguf_text(g, "tokenizer.ggml.model", true, &model);
    if (status == SF_OK) status = sf_gguf_text(g, "tokenizer.ggml.pre", false, &pre);
    if (status == SF_OK) status = sf_gguf_texts(g, "tokenizer.ggml.tokens", &from.tokens, &token, &token_bytes);
    if (status == SF_OK && sf_gguf_find(g, "tokenizer.ggml.merges")) {
        status = sf_gguf_texts(g, "tokenizer.ggml.merges", &from.merges, &merge, &merge_bytes);
    }
    if (status == SF_OK) status = read_types(g, from.tokens, &type);
    if (status == SF_OK) {
        from.model = model;
        from.pre = pre ? pre : "default";
        from.token = token;
        from.token_bytes = token_bytes;
        from.type = type;
        from.merge = merge;
        from.merge_bytes = merge_bytes;
        status = sf_tokenizer_from_gguf(&from, g->path, out);
    }
    free(model), free(pre), free(type);
    free(token), free(token_bytes), free(merge), free(merge_bytes);
    return status;
}

static void add_stop(sf_model *m, int32_t id)
{
    for (int i = 0; i < m->stops; i++) {
        if (m->stop[i] == id) return;
    }
    if (id >= 0 && m->stops < SF_MAX_STOPS) m->stop[m->stops++] = id;
}

static sf_status read_special_tokens(const sf_gguf *g, sf_model *m)
{
    int bos = -1, eos = -1, eot = -1, last = m->config.vocab - 1;
    SF_TRY(sf_gguf_int(g, "tokenizer.ggml.bos_token_id", false, 0, last, &bos));
    SF_TRY(sf_gguf_int(g, "tokenizer.ggml.eos_token_id", false, 0, last, &eos));
    SF_TRY(sf_gguf_int(g, "tokenizer.ggml.eot_token_id", false, 0, last, &eot));
    add_stop(m, eos);
    add_stop(m, eot);
    static const char *const END_OF_TURN[] = {"<|im_end|>", "<|eot_id|>", "<end_of_turn>"};
    for (size_t i = 0; i < sizeof END_OF_TURN / sizeof *END_OF_TURN; i++) {
        add_stop(m, sf_token_id(m->tokenizer, END_OF_TURN[i]));
    }
    if (m->stops == 0) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: key tokenizer.ggml.eos_token_id: expected, or a token that ends a turn, found neither",
                       g->path);
    }

    /* Files of Llama 3 leave the flag out and mean yes: llama.cpp adds a BOS for their split pattern. */
    char *pre;
    SF_TRY(sf_gguf_text(g, "tokenizer.ggml.pre", false, &pre));
    bool add_bos = pre && (strcmp(pre, "llama-bpe") == 0 || strcmp(pre, "llama3") == 0 || strcmp(pre, "llama-v3") == 0);
    free(pre);
    SF_TRY(sf_gguf_bool(g, "tokenizer.ggml.add_bos_token", &add_bos));
    if (add_bos && bos < 0) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: key tokenizer.ggml.bos_token_id: expected, since one is to be added, not found", g->path);
    }
    m->bos = add_bos ? bos : -1;
    return SF_OK;
}

static sf_status read_chat(const sf_gguf *g, sf_model *m)
{
    char *template;
    SF_TRY(sf_gguf_text(g, "tokenizer.chat_template", false, &template));
    const char *bos = m->bos >= 0 ? sf_token_text(m->tokenizer, m->bos) : NULL;
    sf_status status = template ? sf_chat_from_template(template, bos, g->path, &m->chat)
                                : sf_fail(SF_UNSUPPORTED,
                                          "%s: key tokenizer.chat_template: expected, not found: give the model a"
                                          " chat prefix and suffix in the config",
                                          g->path);
    free(template);
    if (status == SF_OK || status == SF_NO_MEMORY) return status;
    m->no_chat = strdup(sf_error()); /* a config may bring its own prefix and suffix, so the model is good without */
    return m->no_chat ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: no memory", g->path);
}

sf_status sf_gguf_open(const char *path, sf_model *out)
{
    out->mapping = calloc(1, sizeof *out->mapping);
    if (!out->mapping) return sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    SF_TRY(sf_map_file(path, out->mapping));
    out->mappings = 1;

    sf_gguf g;
    SF_TRY(sf_gguf_read(path, *out->mapping, &g));
    sf_status status = read_config(&g, &out->config);
    if (status == SF_OK) status = sf_config_validate(&out->config, path);
    if (status == SF_OK) status = read_weights(&g, out);
    if (status == SF_OK) status = read_tokenizer(&g, &out->tokenizer);
    if (status == SF_OK) status = read_special_tokens(&g, out);
    if (status == SF_OK) status = read_chat(&g, out);
    if (status == SF_OK) sf_hash_fold(out->hash, g.file.data, g.data_start);
    sf_gguf_free(&g);
    return status;
}
