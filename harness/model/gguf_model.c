/* What a GGUF file says about its model: keys to a config, tensors to weights, tokenizer and chat template. */
#include "harness/model/chat.h"
#include "harness/model/family.h"
#include "harness/model/gguf.h"
#include "harness/model/gguf_tokens.h"
#include "harness/model/positions.h"
#include "harness/model/source.h"
#include "harness/model/tokenizer.h"
#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether a list "llama, qwen2" names a family. */
static bool lists(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; n && (at = strstr(at, name)); at++)
        if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ',')) return true;
    return false;
}

static sf_status find_family(const sf_gguf *g, const sf_family **out)
{
    char *name, known[1024], folders[2048];
    SF_TRY(sf_gguf_text(g, "general.architecture", true, &name));
    int experts = 0;
    sf_status counted = sf_gguf_int(g, sf_gguf_key_of(name, "expert_count"), false, 0, INT_MAX, &experts);
    *out = sf_family_of_architecture(name, experts > 0);
    sf_status status = *out ? SF_OK
                            : sf_fail(SF_UNSUPPORTED,
                                      "%s: key general.architecture: expected one of %s, found \"%.64s\"; %s",
                                      g->path, sf_family_list(SF_IN_GGUF, sizeof known, known), name,
                                      lists(sf_family_list(SF_IN_JSON, sizeof folders, folders), name)
                                          ? "the model's Hugging Face folder can be read"
                                          : "its Hugging Face folder cannot be read either");
    free(name);
    return counted == SF_OK ? status : counted;
}

static const char *key_of(const sf_family *f, const char *rest) { return sf_gguf_key_of(f->gguf, rest); }

/* ---- files that are parts of one model --------------------------------------------------------------------------- */

/* llama-gguf-split's names: "NAME-00002-of-00005.gguf"; a part has tensors, and only the first has the other keys. */
enum { MOST_PARTS = 1000, PART_NAME = sizeof "-00001-of-00001.gguf" - 1 };

static sf_status check_part(const sf_gguf *g, int part, int parts)
{
    int found = -1, of = 0;
    SF_TRY(sf_gguf_int(g, "split.no", true, 0, 65535, &found));
    SF_TRY(sf_gguf_int(g, "split.count", true, 0, 65535, &of));
    if (found == part && of == parts) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: keys split.no and split.count: expected part %d of %d, found part %d of %d", g->path, part + 1, parts,
                   found + 1, of);
}

/* Adds the tensors of part `part`, whose path ends as the first one's does. */
static sf_status add_part(sf_gguf *whole, const char *path, int part, int parts, sf_model *out)
{
    char name[4096];
    sf_gguf g;
    snprintf(name, sizeof name, "%.*s-%05d-of-%05d.gguf", (int)(strlen(path) - PART_NAME), path, part + 1, parts);
    SF_TRY(sf_blame(sf_map_file(name, &out->mapping[part]), "part %d of %d of a split GGUF", part + 1, parts));
    out->mappings++;
    SF_TRY(sf_gguf_read(name, out->mapping[part], &g));
    sf_status status = check_part(&g, part, parts);
    sf_gguf_tensor *all = status == SF_OK ? realloc(whole->tensor, (whole->tensors + g.tensors + 1) * sizeof *all) : NULL;
    if (all) whole->tensor = all;
    if (status == SF_OK && !all) status = sf_fail(SF_NO_MEMORY, "%s: no memory for its tensors", name);
    for (uint64_t i = 0; status == SF_OK && i < g.tensors; i++) {
        if (sf_gguf_find_tensor(whole, g.tensor[i].name))
            status = sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected in one part alone", name, g.tensor[i].name);
        else
            whole->tensor[whole->tensors++] = g.tensor[i];
    }
    sf_gguf_free(&g);
    return status;
}

/* The other parts, where there are any. */
static sf_status add_parts(sf_gguf *g, const char *path, sf_model *out)
{
    int parts = 0, part = 0, tensors = 0, named = 0, of = 0;
    size_t n = strlen(path);
    SF_TRY(sf_gguf_int(g, "split.count", false, 0, MOST_PARTS, &parts));
    SF_TRY(sf_gguf_int(g, "split.no", false, 0, 65535, &part));
    if (parts <= 1) return SF_OK;
    if (part != 0)
        return sf_fail(SF_BAD_INPUT, "%s: key split.no: this is part %d of a split GGUF of %d parts; name the first, which leads to the"
                       " others", path, part + 1, parts);
    if (n < PART_NAME || sscanf(path + n - PART_NAME, "-%5d-of-%5d.gguf", &named, &of) != 2 || named != 1 || of != parts)
        return sf_fail(SF_BAD_INPUT, "%s: key split.count: expected a name that ends in \"-00001-of-%05d.gguf\", by which its other parts"
                       " are found", path, parts);
    sf_mapping *mapping = realloc(out->mapping, (size_t)parts * sizeof *mapping);
    if (!mapping) return sf_fail(SF_NO_MEMORY, "%s: no memory for %d parts", path, parts);
    out->mapping = mapping;
    for (int i = 1; i < parts; i++) SF_TRY(add_part(g, path, i, parts, out));
    SF_TRY(sf_gguf_int(g, "split.tensors.count", true, 1, INT_MAX, &tensors));
    if ((uint64_t)tensors == g->tensors) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: key split.tensors.count: expected %d tensors in %d parts, found %llu", path, tensors, parts,
                   (unsigned long long)g->tensors);
}

/* ---- the config -------------------------------------------------------------------------------------------------- */

/* One number, or one a layer, 0 where it recurs. */
static sf_status read_kv_heads(const sf_gguf *g, const sf_family *f, int further, sf_model_config *c)
{
    const char *name = key_of(f, "attention.head_count_kv");
    const sf_gguf_key *key = sf_gguf_find(g, name);
    if (f->gguf_by_layer && !f->recurrent_type && key && key->type == SF_GGUF_ARRAY) return SF_OK;
    if (!f->recurrent_type || !key || key->type != SF_GGUF_ARRAY) return sf_gguf_int(g, name, false, 1, 1 << 16, &c->kv_heads);
    if ((key->element != SF_GGUF_I32 && key->element != SF_GGUF_U32) || key->count != (uint64_t)(c->layers + further))
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected an integer, or an array of %d of 32 bits", g->path, name, c->layers + further);
    int32_t all = 0;
    for (int l = 0; l < c->layers; l++) {
        int32_t heads;
        memcpy(&heads, key->value + 4 * (size_t)l, sizeof heads);
        if (heads < 0 || heads > 1 << 16 || (heads && all && heads != all))
            return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected one number for all layers that have any, found %d and %d", g->path, name, all, heads);
        c->recurs[l] = heads == 0;
        if (heads) all = heads;
    }
    if (all) c->kv_heads = all;
    return SF_OK;
}

static sf_status read_config(const sf_gguf *g, sf_model_config *c)
{
    int experts = 0, further = 0;
    const sf_family *f;
    SF_TRY(find_family(g, &f));
    sf_family_begin(f, c);
    char *name;
    SF_TRY(sf_gguf_text(g, "general.name", false, &name));
    snprintf(c->name, sizeof c->name, "%s", name ? name : f->name);
    free(name);

    SF_TRY(sf_gguf_int(g, key_of(f, "block_count"), true, 1, SF_MAX_LAYERS, &c->layers));
    SF_TRY(sf_gguf_int(g, key_of(f, "embedding_length"), true, 1, 1 << 20, &c->d));
    if (f->predicts_further) SF_TRY(sf_gguf_int(g, key_of(f, "nextn_predict_layers"), false, 0, c->layers - 1, &further));
    c->layers -= further;
    SF_TRY(sf_gguf_int(g, key_of(f, "expert_count"), false, 0, INT_MAX, &experts));
    SF_TRY(sf_gguf_int(g, key_of(f, "expert_feed_forward_length"), false, 1, 1 << 24, &c->mlp));
    const sf_gguf_key *mlp = sf_gguf_find(g, key_of(f, "feed_forward_length"));
    if (!(f->gguf_by_layer && mlp && mlp->type == SF_GGUF_ARRAY))
        SF_TRY(sf_gguf_int(g, key_of(f, "feed_forward_length"), experts == 0 || c->mlp == 0, 1, 1 << 24, &c->mlp));
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.head_count"), true, 1, 1 << 16, &c->heads));
    c->kv_heads = c->heads;
    SF_TRY(read_kv_heads(g, f, further, c));
    c->head_dim = c->d / c->heads;
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.key_length"), false, 1, 1 << 16, &c->head_dim));
    int value_dim = c->head_dim;
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.value_length"), false, 1, 1 << 16, &value_dim));
    if (value_dim != c->head_dim && !f->latent) {
        return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected the length of keys, %d, found %d", g->path,
                       key_of(f, "attention.value_length"), c->head_dim, value_dim);
    }
    SF_TRY(sf_gguf_int(g, key_of(f, "context_length"), false, 1, INT_MAX, &c->max_position));
    SF_TRY(sf_gguf_real(g, key_of(f, f->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"), true,
                        1e-12, 1, &c->norm_eps));
    c->qkv_bias |= sf_gguf_find_tensor(g, "blk.0.attn_q.bias") != NULL;
    c->o_bias |= sf_gguf_find_tensor(g, "blk.0.attn_output.bias") != NULL;
    c->mlp_bias |= sf_gguf_find_tensor(g, "blk.0.ffn_up.bias") != NULL;

    int window = 0;
    SF_TRY(sf_gguf_int(g, key_of(f, "attention.sliding_window"), false, 0, INT_MAX, &window));
    if (window > 0 && (c->max_position == 0 || window < c->max_position)) {
        c->window = window; /* on all layers, unless the family knows better */
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
    c->rope_interleaved = f->interleaved || f->neighbours;
    c->norm_offset = 0; /* files have it added */
    SF_TRY(sf_positions_from_gguf(g, f, c));
    if (f->read_gguf) SF_TRY(f->read_gguf(g, c));
    if (experts > 0 && !c->router.experts)
        return sf_fail(SF_UNSUPPORTED, "%s: key %s: expected 0, as every %s is dense, found %d", g->path, key_of(f, "expert_count"),
                       f->name, experts);
    sf_family_finish(f, c);
    return SF_OK;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* A state space's vectors are columns there, its norm a row for each group. */
static sf_tensor flat(const sf_weight_slot *slot, const sf_tensor *found)
{
    sf_tensor t = *found;
    if (slot->rank == 1 && t.rank == 2 && strstr(slot->gguf, ".ssm_")) t.rank = 1, t.dim[0] *= t.dim[1], t.dim[1] = 0;
    return t;
}

/* What files have of keys and values in layers that read another's. */
static bool is_borrowed(const char *name, const sf_model_config *c)
{
    int layer, at = 0;
    if (sscanf(name, "blk.%d.%n", &layer, &at) != 1 || !at || layer < 0 || layer >= c->layers || !sf_layer_borrows(c, layer)) return false;
    return strncmp(name + at, "attn_k", 6) == 0 || strncmp(name + at, "attn_v", 6) == 0;
}

static sf_status read_weights(const sf_gguf *g, sf_model *out)
{
    sf_weight_slot *slot;
    sf_status status = sf_weights_room(&out->config, &out->weights, &slot, g->path);
    int slots = status == SF_OK ? sf_weight_slots(&out->config, &out->weights, slot) : 0;
    for (int i = 0; status == SF_OK && i < slots; i++) {
        sf_gguf_tensor *found = sf_gguf_find_tensor(g, slot[i].gguf);
        if (!found) {
            status = sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, not found", g->path, slot[i].gguf,
                             sf_shape_text(slot[i].rank, slot[i].dim));
        } else {
            sf_tensor part;
            const sf_tensor whole = flat(&slot[i], &found->tensor);
            status = sf_weight_part(&slot[i], slot[i].of_gguf, &whole, g->path, slot[i].gguf, &part);
            if (status == SF_OK) status = sf_weight_set(&slot[i], &part, g->path, slot[i].gguf);
            if (status == SF_OK) out->weight_bytes += sf_bytes(part.dtype, sf_elements(&part));
            found->used = true;
        }
    }
    free(slot);
    if (out->config.tied) out->weights.head = out->weights.embedding;

    /* A tensor that nobody asked for means that the graph is not the one we would compute, but for layers behind the last. */
    const sf_family *f = sf_family_named(out->config.architecture);
    for (uint64_t i = 0; status == SF_OK && i < g->tensors; i++) {
        int layer;
        if (g->tensor[i].used) continue;
        if (f->predicts_further && sscanf(g->tensor[i].name, "blk.%d.", &layer) == 1 && layer >= out->config.layers) continue;
        if (is_borrowed(g->tensor[i].name, &out->config)) continue;
        status = sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected none of this name in architecture %s, found shape %s",
                         g->path, g->tensor[i].name, out->config.architecture,
                         sf_shape_text(g->tensor[i].tensor.rank, g->tensor[i].tensor.dim));
    }
    return status;
}

/* What stands otherwise in the file than it is looked for: queries and gates in one, decays' rates as powers, and in older files of latent attention keys and values. */
static sf_status add_heads(sf_gguf *g, sf_model *out)
{
    const sf_model_config *c = &out->config;
    const bool gates = c->attention_gate || (c->kernel && c->mixer == SF_STATE_SPACE), heads = out->config.latent && sf_gguf_find_tensor(g, "blk.0.attn_kv_b.weight");
    if (!gates && !heads) return SF_OK;
    sf_mapping *mapping = realloc(out->mapping, ((size_t)out->mappings + 1) * sizeof *mapping);
    if (!mapping) return sf_fail(SF_NO_MEMORY, "%s: no memory for its weights", g->path);
    out->mapping = mapping;
    mapping[out->mappings] = (sf_mapping){0};
    SF_TRY((gates ? sf_unpack_delta_gguf : sf_unpack_latent_gguf)(g, &out->config, &mapping[out->mappings]));
    out->mappings++;
    return SF_OK;
}

/* ---- tokenizer and chat ------------------------------------------------------------------------------------------ */

/* An array of 32-bit values, one a token, as a copy; NULL where the key is absent. */
static sf_status read_column(const sf_gguf *g, const char *name, int tokens, bool real, void **out)
{
    *out = NULL;
    const sf_gguf_key *key = sf_gguf_find(g, name);
    if (!key) return SF_OK;
    bool fits = real ? key->element == SF_GGUF_F32 : key->element == SF_GGUF_I32 || key->element == SF_GGUF_U32;
    if (key->type != SF_GGUF_ARRAY || !fits || key->count != (uint64_t)tokens) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: key %s: expected an array of %d 32-bit %s, one a token, found another type or %llu"
                       " elements",
                       g->path, name, tokens, real ? "numbers" : "integers", (unsigned long long)key->count);
    }
    *out = malloc((size_t)tokens * 4 + 1);
    if (!*out) return sf_fail(SF_NO_MEMORY, "%s: no memory for %d tokens", g->path, tokens);
    memcpy(*out, key->value, (size_t)tokens * 4);
    return SF_OK;
}

/* What "llama" vocabularies have besides. */
static sf_status read_pieces(const sf_gguf *g, sf_gguf_tokens *from, void **score)
{
    bool prefix = true, removes = false;
    SF_TRY(read_column(g, "tokenizer.ggml.scores", from->tokens, true, score));
    SF_TRY(sf_gguf_bool(g, "tokenizer.ggml.add_space_prefix", &prefix));
    SF_TRY(sf_gguf_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &removes));
    if (removes)
        return sf_fail(SF_UNSUPPORTED, "%s: key tokenizer.ggml.remove_extra_whitespaces: expected false, found true",
                       g->path);
    from->score = *score;
    from->no_space_prefix = !prefix;
    return SF_OK;
}

static sf_status read_tokenizer(const sf_gguf *g, const char *architecture, sf_tokenizer **out)
{
    char *model = NULL, *pre = NULL;
    void *type = NULL, *score = NULL;
    const char **token = NULL, **merge = NULL;
    size_t *token_bytes = NULL, *merge_bytes = NULL;
    sf_gguf_tokens from = {0};

    sf_status status = sf_gguf_text(g, "tokenizer.ggml.model", true, &model);
    if (status == SF_OK) status = sf_gguf_text(g, "tokenizer.ggml.pre", false, &pre);
    if (status == SF_OK) status = sf_gguf_texts(g, "tokenizer.ggml.tokens", &from.tokens, &token, &token_bytes);
    if (status == SF_OK && sf_gguf_find(g, "tokenizer.ggml.merges")) {
        status = sf_gguf_texts(g, "tokenizer.ggml.merges", &from.merges, &merge, &merge_bytes);
    }
    if (status == SF_OK) status = read_column(g, "tokenizer.ggml.token_type", from.tokens, false, &type);
    if (status == SF_OK && strcmp(model, "llama") == 0) status = read_pieces(g, &from, &score);
    if (status == SF_OK) {
        from.model = model;
        from.architecture = architecture;
        from.pre = pre;
        from.token = token;
        from.token_bytes = token_bytes;
        from.type = type;
        from.merge = merge;
        from.merge_bytes = merge_bytes;
        status = sf_tokenizer_from_gguf(&from, g->path, out);
    }
    free(model), free(pre), free(type), free(score);
    free(token), free(token_bytes), free(merge), free(merge_bytes);
    return status;
}

static sf_status add_stop(const sf_gguf *g, sf_model *m, int32_t id)
{
    for (int i = 0; i < m->stops; i++) {
        if (m->stop[i] == id) return SF_OK;
    }
    if (id < 0) return SF_OK;
    if (m->stops == SF_MAX_STOPS)
        return sf_fail(SF_UNSUPPORTED, "%s: expected at most %d tokens that end an answer", g->path, SF_MAX_STOPS);
    m->stop[m->stops++] = id;
    return SF_OK;
}

/* The tokens that end an answer: those that the file names, and those that are known by their text. */
static sf_status read_stops(const sf_gguf *g, sf_model *m)
{
    static const char *const KEYS[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        int id = -1;
        SF_TRY(sf_gguf_int(g, KEYS[i], false, 0, m->config.vocab - 1, &id));
        SF_TRY(add_stop(g, m, id));
    }
    for (const sf_gguf_known *k = sf_gguf_known_tokens; k->text; k++) {
        if (!k->ends || (k->unless && sf_token_id(m->tokenizer, k->unless) >= 0)) continue;
        SF_TRY(add_stop(g, m, sf_token_id(m->tokenizer, k->text)));
    }
    if (m->stops) return SF_OK;
    return sf_fail(SF_BAD_INPUT,
                   "%s: key tokenizer.ggml.eos_token_id: expected, or a token that ends a turn, found neither",
                   g->path);
}

static sf_status read_bos(const sf_gguf *g, sf_model *m)
{
    char *model, *pre = NULL;
    int bos = -1;
    SF_TRY(sf_gguf_text(g, "tokenizer.ggml.model", true, &model));
    sf_status status = sf_gguf_text(g, "tokenizer.ggml.pre", false, &pre);
    bool add = status == SF_OK && sf_gguf_adds_bos(model, pre);
    free(model);
    free(pre);
    SF_TRY(status);
    SF_TRY(sf_gguf_bool(g, "tokenizer.ggml.add_bos_token", &add));
    SF_TRY(sf_gguf_int(g, "tokenizer.ggml.bos_token_id", false, 0, m->config.vocab - 1, &bos));
    if (add && bos < 0)
        return sf_fail(SF_BAD_INPUT,
                       "%s: key tokenizer.ggml.bos_token_id: expected, since one is to be added, not found", g->path);
    m->bos = add ? bos : -1;
    return SF_OK;
}

static sf_status read_special_tokens(const sf_gguf *g, sf_model *m)
{
    SF_TRY(read_stops(g, m));
    return read_bos(g, m);
}

/* The template in the file, and more of them by their names. */
static sf_status read_templates(const sf_gguf *g, sf_chat_files *f)
{
    static const char KEY[] = "tokenizer.chat_template";
    enum { N = sizeof KEY - 1, LONGEST = 200 };
    for (uint64_t i = 0; i < g->keys; i++) {
        char name[LONGEST + 1], *text;
        const sf_gguf_key *key = &g->key[i]; /* its name is not terminated */
        if (key->name_bytes < N || key->name_bytes > LONGEST || memcmp(key->name, KEY, N) != 0) continue;
        if (key->name_bytes > N && (key->name[N] != '.' || key->name_bytes == N + 1)) continue;
        snprintf(name, sizeof name, "%.*s", (int)key->name_bytes, key->name);
        SF_TRY(sf_gguf_text(g, name, true, &text));
        sf_status status = sf_chat_files_add(f, name[N] ? name + N + 1 : "default", text);
        free(text);
        SF_TRY(status);
    }
    return SF_OK;
}

/* The tokens that templates may name, by their ids. */
static sf_status read_named_tokens(const sf_gguf *g, const sf_model *m, sf_chat_files *f)
{
    static const struct {
        const char *key, *name;
    } rows[] = {{"tokenizer.ggml.bos_token_id", "bos_token"},       {"tokenizer.ggml.eos_token_id", "eos_token"},
                {"tokenizer.ggml.unknown_token_id", "unk_token"},   {"tokenizer.ggml.padding_token_id", "pad_token"},
                {"tokenizer.ggml.seperator_token_id", "sep_token"}, {"tokenizer.ggml.mask_token_id", "mask_token"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int id = -1;
        SF_TRY(sf_gguf_int(g, rows[i].key, false, 0, m->config.vocab - 1, &id));
        const char *text = id < 0 ? NULL : sf_token_text(m->tokenizer, id);
        if (text) json_object_set_new(f->tokens, rows[i].name, json_string(text));
        if (i == 0) f->bos = id;
    }
    return SF_OK;
}

static sf_status read_chat(const sf_gguf *g, sf_model *m)
{
    sf_chat_files *f = m->chat_files = sf_chat_files_new(g->path);
    if (!f) return sf_fail(SF_NO_MEMORY, "%s: no memory for its chat templates", g->path);
    SF_TRY(read_templates(g, f));
    SF_TRY(read_named_tokens(g, m, f));
    f->adds_bos = f->adds_to_template = m->bos >= 0;
    return sf_model_own_chat(m);
}

sf_status sf_gguf_open(const char *path, sf_model *out)
{
    out->mapping = calloc(1, sizeof *out->mapping);
    if (!out->mapping) return sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    SF_TRY(sf_map_file(path, out->mapping));
    out->mappings = 1;

    sf_gguf g;
    SF_TRY(sf_gguf_read(path, *out->mapping, &g));
    sf_status status = add_parts(&g, path, out);
    if (status == SF_OK) status = read_config(&g, &out->config);
    if (status == SF_OK) status = sf_config_validate(&out->config, path);
    if (status == SF_OK) status = add_heads(&g, out);
    if (status == SF_OK) status = read_weights(&g, out);
    if (status == SF_OK) status = read_tokenizer(&g, out->config.architecture, &out->tokenizer);
    if (status == SF_OK) status = read_special_tokens(&g, out);
    if (status == SF_OK) status = read_chat(&g, out);
    if (status == SF_OK) sf_hash_fold(out->hash, g.file.data, g.data_start);
    sf_gguf_free(&g);
    return status;
}
