/* What the small files of a Hugging Face folder say about conversations: templates, the tokens that they name, BOS. */
#include "harness/model/hf.h"

#include "harness/model/chat.h"
#include "harness/model/json.h"
#include "harness/model/mapping.h"
#include "harness/model/tokenizer.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const size_t SMALL_FILE = (size_t)4 << 20; /* bytes; templates have some thousand */

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

/* ---- templates ------------------------------------------------------------------------------------------------- */

static sf_status add_file(sf_chat_files *f, const char *name, const char *path)
{
    char *text;
    size_t bytes;
    SF_TRY(sf_read_text(path, SMALL_FILE, &text, &bytes));
    sf_status status = strlen(text) == bytes ? sf_chat_files_add(f, name, text)
                                             : sf_fail(SF_BAD_INPUT, "%s: expected text, found a NUL byte in it", path);
    free(text);
    return status;
}

static int is_template(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 6 && strcmp(e->d_name + n - 6, ".jinja") == 0;
}

static sf_status add_additional(sf_chat_files *f, const char *folder)
{
    char path[4096], name[256];
    struct dirent **list = NULL;
    snprintf(path, sizeof path, "%s/additional_chat_templates", folder);
    int n = exists(path) ? scandir(path, &list, is_template, alphasort) : 0;
    sf_status status = n < 0 ? sf_fail(SF_IO, "%s: cannot be read", path) : SF_OK;
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/additional_chat_templates/%.255s", folder, list[i]->d_name);
        snprintf(name, sizeof name, "%.*s", (int)(strlen(list[i]->d_name) - 6), list[i]->d_name);
        if (status == SF_OK) status = add_file(f, name, path);
        free(list[i]);
    }
    free(list);
    return status;
}

/* A template's text, or a list of named ones. */
static sf_status add_value(sf_chat_files *f, const json_t *value)
{
    size_t i;
    json_t *item;
    if (json_is_string(value)) return sf_chat_files_add(f, "default", json_string_value(value));
    json_array_foreach(value, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *text = json_string_value(json_object_get(item, "template"));
        if (name && text) SF_TRY(sf_chat_files_add(f, name, text));
    }
    return SF_OK;
}

/* As transformers: files of their own stand instead of what tokenizer_config.json has. */
static sf_status find_templates(sf_chat_files *f, const char *folder, const json_t *tokenizer_config)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/chat_template.jinja", folder);
    if (exists(path)) SF_TRY(add_file(f, "default", path));
    SF_TRY(add_additional(f, folder));
    if (f->templates == 0) SF_TRY(add_value(f, json_object_get(tokenizer_config, "chat_template")));
    snprintf(path, sizeof path, "%s/chat_template.json", folder);
    if (f->templates || !exists(path)) return SF_OK;
    json_t *root;
    SF_TRY(sf_json_read(path, SMALL_FILE, &root));
    sf_status status = add_value(f, json_object_get(root, "chat_template"));
    json_decref(root);
    return status;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Texts, or {"content": text}, under names that end in "_token"; of a dictionary of extra ones, all. */
static void add_tokens(json_t *tokens, const json_t *from, bool all)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
        if ((all || ends_with(key, "_token")) && json_is_string(text) && !json_object_get(tokens, key))
            json_object_set(tokens, key, text);
    }
}

/* As transformers' special_tokens_map: the named ones, then whatever else is called a token. */
static void find_tokens(sf_chat_files *f, const sf_hf_tokens *t)
{
    static const char *const named[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        const char *text = sf_hf_token(t, named[i]);
        json_object_set_new(f->tokens, named[i], text ? json_string(text) : json_null());
    }
    const json_t *const from[] = {t->config, t->map};
    static const char *const extra[] = {"extra_special_tokens", "model_specific_special_tokens"};
    for (size_t i = 0; i < 2; i++) {
        add_tokens(f->tokens, from[i], false);
        for (size_t k = 0; k < 2; k++) add_tokens(f->tokens, json_object_get(from[i], extra[k]), true);
    }
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) /* what there is none of is undefined */
        if (json_is_null(json_object_get(f->tokens, named[i]))) json_object_del(f->tokens, named[i]);
}

/* add_bos_token decides where it is given, else the post-processor of tokenizer.json. */
static sf_status find_bos(sf_chat_files *f, const char *folder, const json_t *tokenizer_config, const sf_tokenizer *t)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    const char *bos = json_string_value(json_object_get(f->tokens, "bos_token"));
    int32_t front = sf_token_in_front(t);
    f->bos = bos ? sf_token_id(t, bos) : front;
    f->adds_bos = front >= 0 && front == f->bos;
    SF_TRY(sf_json_bool((sf_json_at){tokenizer_config, path, ""}, "add_bos_token", false, &f->adds_bos));
    if (!f->adds_bos || f->bos >= 0) return SF_OK;
    return sf_fail(SF_BAD_INPUT,
                   "%s: bos_token: expected a token of the vocabulary, since one is to be added, found %.64s", path,
                   bos ? bos : "none");
}

sf_status sf_hf_chat_files(const char *folder, const sf_hf_tokens *tokens, const sf_tokenizer *t, sf_chat_files **out)
{
    *out = sf_chat_files_new(folder);
    if (!*out) return sf_fail(SF_NO_MEMORY, "%s: no memory for its chat templates", folder);
    SF_TRY(find_templates(*out, folder, tokens->config));
    find_tokens(*out, tokens);
    return find_bos(*out, folder, tokens->config, t);
}
