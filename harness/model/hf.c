/* A Hugging Face folder: config.json, safetensors, tokenizer.json, and what the small files beside them say of special
 * tokens and the chat template. */
#include "harness/model/hf.h"
#include "harness/model/source.h"
#include "harness/model/chat.h"
#include "harness/model/family.h"
#include "harness/model/hf_tokens.h"
#include "harness/model/json.h"
#include "harness/model/safetensors.h"
#include "harness/model/tokenizer.h"
#include "harness/model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const size_t SMALL_FILE = (size_t)16 << 20; /* bytes; the largest of these carry added tokens one by one */

/* The folder's texts, each NULL where the file is absent. */
typedef struct texts {
    const char *folder;
    json_t *config, *generation;
    sf_hf_tokens tokens;
} texts;

static void path_of(const char *folder, const char *name, char path[4096])
{
    snprintf(path, 4096, "%s/%s", folder, name);
}

static bool exists(const char *folder, const char *name)
{
    char path[4096];
    struct stat st;
    path_of(folder, name, path);
    return stat(path, &st) == 0;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* Where the decoder's tensors stand: alone, or inside a multimodal model as transformers 4 and 5 lay it out. */
static const struct {
    const char *decoder, *head;
} PREFIXES[] = {
    {"model.", "lm_head.weight"},
    {"language_model.model.", "language_model.lm_head.weight"},
    {"model.language_model.", "lm_head.weight"},
    {"backbone.", "lm_head.weight"},
};
enum { N_PREFIXES = sizeof PREFIXES / sizeof *PREFIXES };

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* What files have of keys and values in layers that read another's: transformers leaves it unread. */
static bool is_borrowed(const char *name, const char *decoder, const sf_model_config *c)
{
    static const char *const OWN[] = {"k_proj.", "v_proj.", "k_norm.", "v_norm."};
    int layer, at = 0;
    if (!begins(name, decoder) || sscanf(name + strlen(decoder), "layers.%d.self_attn.%n", &layer, &at) != 1 || !at) return false;
    for (size_t i = 0; layer < c->layers && sf_layer_borrows(c, layer) && i < sizeof OWN / sizeof *OWN; i++)
        if (begins(name + strlen(decoder) + at, OWN[i])) return true;
    return false;
}

/* Tensors that are no part of the decoder's graph. */
static bool is_beside(const char *name, const char *decoder, const char *head, const sf_model_config *c, bool multimodal)
{
    const sf_family *f = sf_family_named(c->architecture);
    int layer;
    if (f && f->predicts_further && begins(name, decoder) && sscanf(name + strlen(decoder), "layers.%d.", &layer) == 1 && layer >= c->layers)
        return true;
    if (f && f->predicts_further && begins(name, "mtp.")) return true;
    if (is_borrowed(name, decoder, c)) return true;
    static const char *const OTHER_TOWERS[] = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                               "model.multi_modal_projector.", "model.visual.", "vision_model.", "model.embed_vision.",
                                               "model.audio_tower.", "model.embed_audio."};
    for (size_t i = 0; multimodal && i < sizeof OTHER_TOWERS / sizeof *OTHER_TOWERS; i++) {
        if (begins(name, OTHER_TOWERS[i])) return true;
    }
    size_t n = strlen(name);
    static const char INV_FREQ[] = ".rotary_emb.inv_freq"; /* a table that old files store and nobody reads */
    if (n > sizeof INV_FREQ && strcmp(name + n - (sizeof INV_FREQ - 1), INV_FREQ) == 0) return true;
    return c->tied && strcmp(name, head) == 0; /* the table a second time */
}

static const char *table_of(const sf_model_config *c)
{
    const sf_family *f = sf_family_named(c->architecture);
    return f && f->embedding ? f->embedding : "embed_tokens.weight";
}

static sf_status find_prefix(const sf_safetensors *s, const char *folder, const char *table, int *at)
{
    for (*at = 0; *at < N_PREFIXES; ++*at) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", PREFIXES[*at].decoder, table);
        if (sf_safetensors_find(s, name)) return SF_OK;
    }
    char places[128] = "";
    for (int i = 0; i < N_PREFIXES; i++)
        snprintf(places + strlen(places), sizeof places - strlen(places), "%s%s", i ? ", " : "", PREFIXES[i].decoder);
    return sf_fail(SF_BAD_INPUT,
                   "%s: tensor %s: expected in its safetensors files behind one of %s, found %s first: save the"
                   " model by transformers' AutoModelForCausalLM and save_pretrained()",
                   folder, table, places, s->tensors ? s->tensor[0].name : "no tensor");
}

static sf_status claim(const sf_safetensors *s, const sf_weight_slot *slot, const char *name, const char *folder,
                       sf_model *out)
{
    sf_st_tensor *t = sf_safetensors_find(s, name);
    if (!t) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s in its safetensors files, not found", folder,
                       name, sf_shape_text(slot->rank, slot->dim));
    }
    if (!t->readable) {
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected F32, F16 or BF16 of shape %s, found %s%s", t->file, name,
                       sf_shape_text(slot->rank, slot->dim), t->type, t->tensor.rank < 0 ? " of more than 4 dimensions" : "");
    }
    sf_tensor part;
    SF_TRY(sf_weight_part(slot, slot->of_hf, &t->tensor, t->file, name, &part));
    t->used = true;
    out->weight_bytes += sf_bytes(part.dtype, sf_elements(&part));
    return sf_weight_set(slot, &part, t->file, name);
}

/* A head that is stored though the config calls it tied: transformers 5 ties the two if they are equal, and believes
 * the weights rather than the flag if they are not. */
static void settle_tie(const sf_safetensors *s, int prefix, sf_model *out)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", PREFIXES[prefix].decoder, table_of(&out->config));
    const sf_st_tensor *table = sf_safetensors_find(s, name), *head = sf_safetensors_find(s, PREFIXES[prefix].head);
    if (!out->config.tied || !head) return;
    bool equal = table->readable && head->readable && table->tensor.dtype == head->tensor.dtype &&
                 table->end - table->begin == head->end - head->begin &&
                 memcmp(table->tensor.data, head->tensor.data, table->end - table->begin) == 0;
    if (equal) return;
    out->config.tied = false;
    sf_doubt(&out->doubts,
             "%s: tensor %s: tie_word_embeddings is true, but this is not the embedding table: taken for the"
             " head, as transformers does",
             head->file, head->name);
}

static sf_status read_weights(sf_safetensors *s, const char *folder, const sf_quantization *q, bool multimodal, sf_model *out)
{
    int p;
    if (q->kind) SF_TRY(sf_unpack_quantized(q, s, folder));
    SF_TRY(find_prefix(s, folder, table_of(&out->config), &p));
    const sf_family *f = sf_family_named(out->config.architecture);
    if (f->unpack) SF_TRY(f->unpack(s, folder, PREFIXES[p].decoder, &out->config));
    settle_tie(s, p, out);
    sf_weight_slot *slot;
    sf_status status = sf_weights_room(&out->config, &out->weights, &slot, folder);
    int slots = status == SF_OK ? sf_weight_slots(&out->config, &out->weights, slot) : 0;
    for (int i = 0; status == SF_OK && i < slots; i++) {
        char name[192];
        if (slot[i].at == &out->weights.head)
            snprintf(name, sizeof name, "%s", PREFIXES[p].head);
        else
            snprintf(name, sizeof name, "%s%s", PREFIXES[p].decoder, slot[i].hf);
        status = claim(s, &slot[i], name, folder, out);
    }
    free(slot);
    if (out->config.tied) out->weights.head = out->weights.embedding;

    /* A tensor that nobody asked for means that the graph is not the one we would compute. */
    for (int i = 0; status == SF_OK && i < s->tensors; i++) {
        const sf_st_tensor *t = &s->tensor[i];
        if (t->used || is_beside(t->name, PREFIXES[p].decoder, PREFIXES[p].head, &out->config, multimodal)) continue;
        status = sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected none of this name in a %d-layer %s model", t->file,
                         t->name, out->config.layers, out->config.architecture);
    }
    return status;
}

/* ---- small files ------------------------------------------------------------------------------------------------- */

static sf_status read_optional(const char *folder, const char *name, json_t **out)
{
    char path[4096];
    if (!exists(folder, name)) return SF_OK;
    path_of(folder, name, path);
    return sf_json_read(path, SMALL_FILE, out);
}

static sf_status read_texts(texts *t)
{
    char path[4096];
    path_of(t->folder, "config.json", path);
    SF_TRY(sf_json_read(path, SMALL_FILE, &t->config));
    SF_TRY(read_optional(t->folder, "generation_config.json", &t->generation));
    return sf_hf_tokens_read(t->folder, &t->tokens);
}

static void free_texts(texts *t)
{
    json_decref(t->config);
    json_decref(t->generation);
    sf_hf_tokens_free(&t->tokens);
}

/* ---- special tokens ---------------------------------------------------------------------------------------------- */

static sf_status add_stops(sf_model *m, sf_json_at at)
{
    const json_t *value = sf_json_value(at, "eos_token_id");
    size_t n = json_is_array(value) ? json_array_size(value) : value ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= m->config.vocab ||
            m->stops == SF_MAX_STOPS) {
            char expected[96];
            snprintf(expected, sizeof expected, "a token id below %d or a list of up to %d", m->config.vocab,
                     SF_MAX_STOPS);
            return sf_json_fail(SF_BAD_INPUT, at, "eos_token_id", expected);
        }
        m->stop[m->stops++] = (int32_t)json_integer_value(id);
    }
    return SF_OK;
}

/* generation_config.json, or config.json where that is absent or silent; and if neither says, the tokenizer's
 * end-of-sequence token. transformers' generate() does not look further than a generation_config.json that is there,
 * and never stops if that one is silent: no benchmark means that, so we do look, and say so. */
static sf_status find_stops(const texts *t, sf_model *m)
{
    char path[4096];
    path_of(t->folder, "generation_config.json", path);
    if (t->generation) SF_TRY(add_stops(m, (sf_json_at){t->generation, path, ""}));
    bool silent = t->generation && m->stops == 0;
    path_of(t->folder, "config.json", path);
    if (m->stops == 0) SF_TRY(add_stops(m, (sf_json_at){t->config, path, ""}));
    if (m->stops == 0 && json_object_get(t->config, "text_config")) {
        SF_TRY(add_stops(m, (sf_json_at){json_object_get(t->config, "text_config"), path, "text_config."}));
    }
    const char *eos = sf_hf_token(&t->tokens, "eos_token");
    int32_t id = m->stops == 0 && eos ? sf_token_id(m->tokenizer, eos) : -1;
    if (id >= 0 && id < m->config.vocab) m->stop[m->stops++] = id;
    if (silent && m->stops) {
        sf_doubt(&m->doubts,
                 "%s/generation_config.json: names no eos_token_id: answers end at another file's, where"
                 " transformers would go on to the limit",
                 t->folder);
    }
    if (m->stops) return SF_OK;
    return sf_fail(SF_BAD_INPUT,
                   "%s: eos_token_id: expected in generation_config.json or config.json, not found: add the token"
                   " that ends an answer",
                   t->folder);
}

/* Older folders, and those of other libraries, bring a vocabulary that is no tokenizer.json yet. */
static sf_status no_tokenizer(const char *folder)
{
    static const char *const OLDER[] = {"tokenizer.model", "tekken.json", "qwen.tiktoken", "vocab.json"};
    for (size_t i = 0; i < sizeof OLDER / sizeof *OLDER; i++) {
        if (!exists(folder, OLDER[i])) continue;
        return sf_fail(SF_UNSUPPORTED,
                       "%s: tokenizer.json: expected, found %s. transformers makes one of it: python3 -c \"from "
                       "transformers import AutoTokenizer as t; t.from_pretrained('%s').save_pretrained('%s')\"",
                       folder, OLDER[i], folder, folder);
    }
    return sf_fail(SF_BAD_INPUT,
                   "%s: tokenizer.json: expected, not found, nor an older vocabulary: download it from where the weights come from",
                   folder);
}

/* With a hash of whatever decides on ids. */
static sf_status open_tokenizer(const texts *t, sf_model *m)
{
    char path[4096];
    if (!exists(t->folder, "tokenizer.json")) return no_tokenizer(t->folder);
    path_of(t->folder, "tokenizer.json", path);
    sf_mapping file;
    SF_TRY(sf_map_file(path, &file));
    sf_hash_fold(m->hash, file.data, file.bytes);
    sf_unmap(&file);
    /* It may know a token or two more than the embedding table has rows (Gemma's for images); the engine refuses those. */
    SF_TRY(sf_tokenizer_from_json(path, t->tokens.listed, t->tokens.n, &m->tokenizer));
    /* What only repeats tokenizer.json does not count, so that keys of results stay as they were before it was looked at. */
    for (int i = 0; i < t->tokens.n; i++) {
        const sf_listed_token *token = &t->tokens.listed[i];
        if (!token->changes) continue;
        const char flags[] = {token->special, token->normalized, token->single_word, token->lstrip, token->rstrip};
        sf_hash_fold(m->hash, token->text, strlen(token->text));
        sf_hash_fold(m->hash, flags, sizeof flags);
    }
    return SF_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void name_after(const char *folder, sf_model_config *c)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && folder[from - 1] != '/') from--;
    snprintf(c->name, sizeof c->name, "%.*s", (int)(n - from), folder + from);
}

static sf_status open_weights(const texts *t, bool multimodal, sf_model *out)
{
    sf_safetensors s;
    sf_quantization q;
    sf_doubts said = {0};
    SF_TRY(sf_hf_quantization(t->config, t->folder, &q, &said));
    SF_TRY(sf_safetensors_open(t->folder, &s));
    sf_status status = read_weights(&s, t->folder, &q, multimodal, out);
    sf_mapping *mapping = realloc(s.mapping, ((size_t)s.files + SF_UNPACKINGS) * sizeof *mapping); /* the weights point into them */
    if (!mapping) {
        sf_safetensors_free(&s);
        return sf_fail(SF_NO_MEMORY, "%s: no memory for its list of files", t->folder);
    }
    memcpy(mapping + s.files, s.made, sizeof s.made);
    out->mapping = mapping;
    out->mappings = s.files + s.makings;
    s.mapping = NULL;
    s.makings = 0;
    sf_safetensors_free(&s);
    return status;
}

static sf_status open_folder(texts *t, bool weights, sf_model *out)
{
    char path[4096];
    bool multimodal;
    SF_TRY(read_texts(t));
    path_of(t->folder, "config.json", path);
    SF_TRY(sf_hf_config(t->config, path, &out->config, &multimodal, &out->doubts));
    name_after(t->folder, &out->config);
    if (weights) SF_TRY(open_weights(t, multimodal, out));
    SF_TRY(open_tokenizer(t, out));
    SF_TRY(find_stops(t, out));
    SF_TRY(sf_hf_chat_files(t->folder, &t->tokens, out->tokenizer, &out->chat_files));
    SF_TRY(sf_model_own_chat(out));
    const char *template = sf_chat_files_default(out->chat_files);
    if (template) sf_hash_fold(out->hash, template, strlen(template));
    return SF_OK;
}

sf_status sf_hf_open(const char *folder, bool weights, sf_model *out)
{
    texts t = {.folder = folder};
    sf_status status = open_folder(&t, weights, out);
    free_texts(&t);
    return status;
}
