/* Opening, checking, hashing and closing a model: the one place that knows the kinds of source. */
#include "harness/model/chat.h"
#include "harness/model/mapping.h"
#include "harness/model/model.h"
#include "harness/model/source.h"
#include "harness/model/tokenizer.h"
#include "harness/model/weights.h"


#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- the hash -------------------------------------------------------------------------------------------------------
 * It covers the config that was read, the stop tokens and BOS, the source's texts (a GGUF's whole metadata; a folder's
 * tokenizer and template files) and the weights: dtype and shape of each, and its bytes. Paths and file times do not
 * count, so a copy of a model is the same model.
 *
 * Up to 1 GiB of weights are hashed whole. Of larger models, so that opening stays cheap, each tensor gives 16 pages
 * spread evenly from its first byte to its last. Training, merging or quantising again changes practically every page
 * of every tensor it touches, and so the hash; an edit of a few rows of a huge matrix by hand may not show. */
enum { HASH_PAGES = 16, HASH_PAGE = 4096 };
static const size_t HASH_WHOLE = (size_t)1 << 30;

static void hash_weights(sf_model *m, sf_weight_slot *slot)
{
    int slots = sf_weight_slots(&m->config, &m->weights, slot);
    XXH3_state_t s;
    XXH3_INITSTATE(&s);
    XXH3_128bits_reset(&s);
    for (int i = 0; i < slots; i++) {
        const sf_tensor *t = slot[i].at;
        size_t bytes = sf_bytes(t->dtype, sf_elements(t));
        int64_t kind[] = {t->dtype, t->rank, t->dim[0], t->rank == 2 ? t->dim[1] : 0};
        XXH3_128bits_update(&s, kind, sizeof kind);
        if (m->weight_bytes <= HASH_WHOLE || bytes <= HASH_PAGES * HASH_PAGE) {
            XXH3_128bits_update(&s, t->data, bytes);
        } else {
            for (size_t p = 0; p < HASH_PAGES - 1; p++) {
                XXH3_128bits_update(&s, (char *)t->data + (bytes - HASH_PAGE) / (HASH_PAGES - 1) * p, HASH_PAGE);
            }
            XXH3_128bits_update(&s, (char *)t->data + bytes - HASH_PAGE, HASH_PAGE);
        }
    }
    XXH128_hash_t h = XXH3_128bits_digest(&s);
    sf_hash_fold(m->hash, &h, sizeof h);
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static sf_status check_slots(const sf_model *m, sf_weight_slot *slot, const char *where)
{
    sf_weights weights = m->weights;
    int slots = sf_weight_slots(&m->config, &weights, slot);
    for (int i = 0; i < slots; i++) {
        if (!slot[i].at->data) {
            return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected shape %s, not found", where, slot[i].gguf,
                           sf_shape_text(slot[i].rank, slot[i].dim));
        }
        SF_TRY(sf_weight_set(&slot[i], slot[i].at, where, slot[i].gguf));
    }
    if (m->config.tied && m->weights.head.data != m->weights.embedding.data) {
        return sf_fail(SF_INTERNAL, "%s: a tied head is not the embedding table", where);
    }
    return SF_OK;
}

sf_status sf_model_validate(const sf_model *model, const char *where)
{
    SF_TRY(sf_config_validate(&model->config, where));
    if (!model->weights.layer) return sf_fail(SF_BAD_INPUT, "%s: expected weights, found a shape alone", where);
    sf_weight_slot *slot = malloc((size_t)sf_weight_slots_most(&model->config) * sizeof *slot);
    if (!slot) return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", where);
    sf_status status = check_slots(model, slot, where);
    free(slot);
    return status;
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

typedef enum kind { GGUF, FOLDER, SHAPE } kind;

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A folder with config.json is a checkpoint; one with a single .gguf file, or the parts of one, stands for
 * that file. */
static sf_status look_into(const char *folder, kind *what, char file[PATH_MAX])
{
    struct stat st;
    snprintf(file, PATH_MAX, "%s/config.json", folder);
    if (stat(file, &st) == 0) {
        *what = FOLDER;
        snprintf(file, PATH_MAX, "%s", folder);
        return SF_OK;
    }
    DIR *d = opendir(folder);
    if (!d) return sf_fail(SF_IO, "%s: cannot be opened: %s", folder, strerror(errno));
    int found = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (!ends_with(e->d_name, ".gguf")) continue;
        int part = 0, of;
        const char *tail = strstr(e->d_name, "-of-");
        bool split = tail && tail - e->d_name > 6 && sscanf(tail - 6, "-%5d-of-%5d.gguf", &part, &of) == 2;
        if (split && part != 1) continue; /* the first part leads to the others */
        found++;
        snprintf(file, PATH_MAX, "%s/%s", folder, e->d_name);
    }
    closedir(d);
    *what = GGUF;
    if (found == 1) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: expected config.json (a Hugging Face folder) or one .gguf file in it, found %s",
                   folder, found ? "several .gguf files: name one" : "neither");
}

static sf_status recognise(const char *path, kind *what, char file[PATH_MAX])
{
    struct stat st;
    size_t n = strlen(path);
    if (n >= PATH_MAX - 256) return sf_fail(SF_BAD_INPUT, "%.64s…: the path is too long", path);
    while (n > 1 && path[n - 1] == '/') n--;
    snprintf(file, PATH_MAX, "%.*s", (int)n, path);
    if (stat(path, &st) != 0) return sf_fail(SF_IO, "%s: cannot be opened: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        char folder[PATH_MAX];
        return look_into(strcpy(folder, file), what, file);
    }
    if (ends_with(path, ".safetensors") || ends_with(path, ".json")) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: expected a .gguf file, a .yaml shape or the folder of a checkpoint, found a file of one:"
                       " name its folder",
                       path);
    }
    *what = ends_with(path, ".yaml") || ends_with(path, ".yml") ? SHAPE : GGUF;
    return SF_OK;
}

static sf_status open_any(const char *path, bool weights, sf_model *m)
{
    kind what = GGUF;
    char file[PATH_MAX];
    SF_TRY(recognise(path, &what, file));
    m->bos = -1;
    if (what == SHAPE) {
        SF_TRY(sf_shape_open(file, &m->config));
        SF_TRY(sf_config_validate(&m->config, file));
        sf_config_hash(&m->config, m->hash);
        return SF_OK;
    }
    SF_TRY(what == FOLDER ? sf_hf_open(file, weights, m) : sf_gguf_open(file, m));
    if (!weights) return sf_config_validate(&m->config, file);
    SF_TRY(sf_model_validate(m, file));

    sf_weight_slot *slot = malloc((size_t)sf_weight_slots_most(&m->config) * sizeof *slot);
    if (!slot) return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", file);
    sf_config_hash(&m->config, m->hash);
    sf_hash_fold(m->hash, &m->bos, sizeof m->bos);
    sf_hash_fold(m->hash, m->stop, sizeof *m->stop * (size_t)m->stops);
    hash_weights(m, slot);
    free(slot);
    return SF_OK;
}

static sf_status open_model(const char *path, bool weights, sf_model **out)
{
    *out = NULL;
    sf_model *m = calloc(1, sizeof *m);
    if (!m) return sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    sf_status status = open_any(path, weights, m);
    if (status == SF_OK)
        *out = m;
    else
        sf_model_close(m);
    return status;
}

sf_status sf_model_open(const char *path, sf_model **out) { return open_model(path, true, out); }

sf_status sf_model_open_text(const char *path, sf_model **out) { return open_model(path, false, out); }

/* Takes over `chat`; NULL: there is none, and the message of this thread says why. */
static sf_status set_chat(sf_model *m, sf_chat *chat)
{
    sf_chat_free(m->chat);
    free(m->no_chat);
    m->chat = chat;
    m->no_chat = chat ? NULL : strdup(sf_error());
    m->bos = chat ? sf_chat_bos(chat) : m->chat_files->adds_bos ? m->chat_files->bos : -1;
    if (m->bos >= m->config.vocab) m->bos = -1; /* it has no row in the embedding table */
    return chat || m->no_chat ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: no memory", m->chat_files->where);
}

sf_status sf_model_own_chat(sf_model *m)
{
    sf_chat *chat;
    const sf_chat_files *f = m->chat_files;
    if (f->adds_bos && f->bos >= m->config.vocab)
        return sf_fail(SF_BAD_INPUT, "%s: bos_token: expected a token of the vocabulary's %d, since one is to be added, found %d",
                       f->where, m->config.vocab, f->bos);
    sf_status status = sf_chat_open(m->chat_files, NULL, &chat);
    return status == SF_NO_MEMORY ? status : set_chat(m, chat);
}

sf_status sf_model_chat(sf_model *m, const char *options)
{
    if (!m->chat_files) return SF_OK; /* it has no tokenizer, or random weights */
    sf_chat *chat;
    if (options) SF_TRY(sf_chat_open(m->chat_files, options, &chat));
    if (options) SF_TRY(set_chat(m, chat));
    const char *key = m->chat ? sf_chat_key(m->chat) : "";
    if (*key) sf_hash_fold(m->hash, key, strlen(key));
    return SF_OK;
}

void sf_model_close(sf_model *model)
{
    if (!model) return;
    if (model->tokenizer) sf_tokenizer_free(model->tokenizer);
    sf_chat_free(model->chat);
    sf_chat_files_free(model->chat_files);
    for (int i = 0; i < model->mappings; i++) sf_unmap(&model->mapping[i]);
    free(model->mapping);
    sf_weights_free(&model->weights);
    free(model->no_chat);
    free(model);
}
