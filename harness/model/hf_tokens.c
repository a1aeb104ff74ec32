#include "harness/model/hf_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/model/vocab.h"

enum { LARGEST = 16 << 20 }; /* bytes of a file; thousands of added tokens take a megabyte */

static const char CONFIG[] = "tokenizer_config.json", MAP[] = "special_tokens_map.json", ADDED[] = "added_tokens.json";

/* The names that transformers gives to special tokens, in its order. */
static const char *const NAMED[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};
enum { N_NAMED = sizeof NAMED / sizeof *NAMED };

static bool is_named(const char *key)
{
    for (int i = 0; i < N_NAMED; i++)
        if (!strcmp(NAMED[i], key)) return true;
    return false;
}

static bool ends_in_token(const char *key)
{
    size_t n = strlen(key);
    return n > 6 && !strcmp(key + n - 6, "_token");
}

/* "<s>", or {"content": "<s>", …}. */
static const char *text_of(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

/* Where a key's value stands that counts. */
static const json_t *value_of(const sf_hf_tokens *t, const char *key, const char **file)
{
    const json_t *value = json_object_get(t->map, key);
    *file = MAP;
    if (value && !json_is_null(value)) return value;
    *file = CONFIG;
    value = json_object_get(t->config, key);
    return json_is_null(value) ? NULL : value;
}

const char *sf_hf_token(const sf_hf_tokens *t, const char *key)
{
    const char *file;
    return text_of(value_of(t, key, &file));
}

/* ---- one token --------------------------------------------------------------------------------------------------- */

static bool flag(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static sf_status wrong(const char *folder, const char *file, const char *key, const char *expected)
{
    return sf_fail(SF_BAD_INPUT, "%s/%s: %s: expected %s", folder, file, key, expected);
}

/* A text alone is a special token. An object says its flags, but one with a name is special whatever it says; to be
 * normalised, if it does not say, goes with not being special. */
static sf_status list(sf_hf_tokens *t, const json_t *value, bool named, sf_listed_token token)
{
    token.text = text_of(value);
    token.special = named || json_is_string(value) || flag(value, "special", false);
    token.normalized = flag(value, "normalized", !token.special);
    token.single_word = flag(value, "single_word", false);
    token.lstrip = flag(value, "lstrip", false);
    token.rstrip = flag(value, "rstrip", false);
    SF_TRY(sf_reserve(&t->listed, &t->capacity, (size_t)t->n + 1, sizeof *t->listed));
    t->listed[t->n++] = token;
    return SF_OK;
}

/* ---- what each place lists --------------------------------------------------------------------------------------- */

/* Lists of further special tokens, and objects of ones with names of the model's own. */
struct extra {
    const json_t *list[2], *named[2];
};

/* extra_special_tokens of both files count, additional_special_tokens only where the other key is missing or empty, and
 * the map's only where no list is in force. */
static sf_status find_extra(const sf_hf_tokens *t, const char *folder, struct extra *out)
{
    static const char NEW[] = "extra_special_tokens", OLD[] = "additional_special_tokens";
    const json_t *config = json_object_get(t->config, NEW), *old = json_object_get(t->config, OLD);
    if (old && (!config || json_is_null(config) || json_array_size(config) + json_object_size(config) == 0))
        config = old;
    const json_t *map = json_object_get(t->map, NEW);
    if (!json_is_array(map) && !json_is_object(map) && !json_is_array(config)) map = json_object_get(t->map, OLD);
    const json_t *found[] = {config, map};
    for (int i = 0; i < 2; i++) {
        if (found[i] && !json_is_null(found[i]) && !json_is_array(found[i]) && !json_is_object(found[i]))
            return wrong(folder, i ? MAP : CONFIG, found[i] == old ? OLD : NEW, "a list of tokens, or an object");
        out->list[i] = json_is_array(found[i]) ? found[i] : NULL;
        out->named[i] = json_is_object(found[i]) ? found[i] : NULL;
    }
    return SF_OK;
}

static bool is_one_of(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = text_of(json_array_get(list, i));
        if (one && !strcmp(one, text)) return true;
    }
    return false;
}

static bool is_named_in(const json_t *object, bool any_key, const char *text)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const char *named = any_key || ends_in_token(key) ? json_string_value(value) : NULL;
        if (named && !strcmp(named, text)) return true;
    }
    return false;
}

static bool is_standard(const sf_hf_tokens *t, const char *text)
{
    const char *file;
    for (int i = 0; i < N_NAMED; i++) {
        const char *named = text_of(value_of(t, NAMED[i], &file));
        if (named && !strcmp(named, text)) return true;
    }
    return false;
}

static bool has_name(const sf_hf_tokens *t, const struct extra *extra, const char *text)
{
    return is_standard(t, text) || is_named_in(t->config, false, text) || is_named_in(t->map, false, text) ||
           is_named_in(extra->named[0], true, text) || is_named_in(extra->named[1], true, text);
}

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const sf_listed_token *)a)->id, y = ((const sf_listed_token *)b)->id;
    return (x > y) - (x < y);
}

/* {"400": {"content": "<|im_start|>", …}, …} */
static sf_status read_decoder(sf_hf_tokens *t, const struct extra *extra, const char *folder)
{
    json_t *decoder = json_object_get(t->config, "added_tokens_decoder"), *value;
    const char *key;
    if (!json_is_object(decoder)) return wrong(folder, CONFIG, "added_tokens_decoder", "an object");
    json_object_foreach(decoder, key, value)
    {
        char *end;
        long id = strtol(key, &end, 10);
        if (*end || id < 0 || id > INT32_MAX || !json_is_object(value) || !text_of(value))
            return wrong(folder, CONFIG, "added_tokens_decoder", "token ids, and an object with \"content\" to each");
        SF_TRY(list(t, value, has_name(t, extra, text_of(value)),
                    (sf_listed_token){.id = id, .where = "tokenizer_config.json: added_tokens_decoder"}));
    }
    return SF_OK;
}

/* {"<|im_start|>": 400, …}, the older form of the same. */
static sf_status read_added(sf_hf_tokens *t, const struct extra *extra, const char *folder)
{
    const char *text;
    json_t *id;
    json_object_foreach(t->added, text, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return wrong(folder, ADDED, text, "a token id");
        bool special = is_standard(t, text) || is_one_of(extra->list[0], text) ||
                       (json_object_get(t->map, "extra_special_tokens") && is_one_of(extra->list[1], text));
        SF_TRY(sf_reserve(&t->listed, &t->capacity, (size_t)t->n + 1, sizeof *t->listed));
        t->listed[t->n++] = (sf_listed_token){.text = text,
                                              .id = json_integer_value(id),
                                              .special = special || has_name(t, extra, text),
                                              .normalized = !special,
                                              .only_free_id = true,
                                              .where = ADDED};
    }
    return SF_OK;
}

static sf_status add_special(sf_hf_tokens *t, const json_t *value, bool named, const char *file, const char *key,
                             const char *folder)
{
    if (!text_of(value)) return wrong(folder, file, key, "a token's text, or an object with \"content\"");
    return list(t, value, named, (sf_listed_token){.id = -1, .only_new = true, .where = key});
}

/* Keys like image_token. */
static sf_status read_other_names(sf_hf_tokens *t, const json_t *object, const char *file, const char *folder)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (!ends_in_token(key) || is_named(key) || !json_is_string(value)) continue;
        SF_TRY(add_special(t, value, true, file, key, folder));
    }
    return SF_OK;
}

static sf_status read_named(sf_hf_tokens *t, const struct extra *extra, const char *folder)
{
    const char *key, *file;
    json_t *value;
    for (int i = 0; i < N_NAMED; i++) {
        const json_t *named = value_of(t, NAMED[i], &file);
        if (named) SF_TRY(add_special(t, named, true, file, NAMED[i], folder));
    }
    SF_TRY(read_other_names(t, t->map, MAP, folder));
    SF_TRY(read_other_names(t, t->config, CONFIG, folder));
    for (int i = 0; i < 2; i++) {
        json_object_foreach((json_t *)extra->named[i], key, value)
        {
            SF_TRY(add_special(t, value, true, i ? MAP : CONFIG, key, folder));
        }
    }
    return SF_OK;
}

static sf_status read_extra(sf_hf_tokens *t, const struct extra *extra, const char *folder)
{
    size_t at;
    json_t *value;
    for (int i = 0; i < 2; i++) {
        json_array_foreach((json_t *)extra->list[i], at, value)
        {
            SF_TRY(add_special(t, value, false, i ? MAP : CONFIG, "a further special token", folder));
        }
    }
    return SF_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static sf_status read_file(const char *folder, const char *name, json_t **out)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0 ? sf_json_read(path, LARGEST, out) : SF_OK;
}

sf_status sf_hf_tokens_read(const char *folder, sf_hf_tokens *t)
{
    SF_TRY(read_file(folder, CONFIG, &t->config));
    if (flag(t->config, "split_special_tokens", false))
        return sf_fail(SF_UNSUPPORTED,
                       "%s/%s: split_special_tokens: expected false, found true: a chat's turn tokens would be text",
                       folder, CONFIG);
    bool decoder = json_object_get(t->config, "added_tokens_decoder") != NULL;
    if (!decoder) SF_TRY(read_file(folder, MAP, &t->map));
    if (!decoder) SF_TRY(read_file(folder, ADDED, &t->added));

    struct extra extra;
    SF_TRY(find_extra(t, folder, &extra));
    SF_TRY(decoder ? read_decoder(t, &extra, folder) : read_added(t, &extra, folder));
    if (t->n) qsort(t->listed, (size_t)t->n, sizeof *t->listed, by_id);
    SF_TRY(read_named(t, &extra, folder));
    return read_extra(t, &extra, folder);
}

void sf_hf_tokens_free(sf_hf_tokens *t)
{
    json_decref(t->config);
    json_decref(t->map);
    json_decref(t->added);
    free(t->listed);
    *t = (sf_hf_tokens){0};
}
