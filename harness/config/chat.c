/* The key `chat` of a model: what its prompts are made of. Only YAML is looked at here; which keys there may be depends
 * on the model's template, so that harness/model/chat.c reads them. */
#include "harness/config/sweep.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Numbers as JSON spells them; anything else is text. */
static json_t *number(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (json_is_number(value)) return value;
    json_decref(value);
    return NULL;
}

static json_t *scalar(const sf_node *node)
{
    const char *text = node->text;
    if (node->null) return json_null();
    if (node->quoted) return json_string(text);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) return json_boolean(text[0] == 't');
    json_t *value = number(text);
    return value ? value : json_string(text);
}

static json_t *to_json(const sf_node *node)
{
    if (node->kind == SF_SCALAR) return scalar(node);
    json_t *all = node->kind == SF_LIST ? json_array() : json_object();
    for (int i = 0; i < node->items; i++) {
        if (node->kind == SF_LIST)
            json_array_append_new(all, to_json(node->item[i]));
        else
            json_object_set_new(all, node->key[i], to_json(node->item[i]));
    }
    return all;
}

/* These are texts, whatever they look like: a date, a prefix "1". */
static sf_status check_text(const sf_node *chat, const char *key, json_t *json)
{
    const sf_node *node = sf_yaml_get(chat, key);
    if (!node) return SF_OK;
    if (node->kind != SF_SCALAR) return sf_yaml_fail(node, "expected a text");
    json_object_set_new(json, key, json_string(node->text));
    return SF_OK;
}

sf_status sf_chat_read(const sf_node *chat, sf_model_spec *out)
{
    static const char *const texts[] = {"prefix", "suffix", "template", "system", "date"};
    if (chat->kind == SF_LIST || (chat->kind == SF_SCALAR && strcmp(chat->text, "none") != 0))
        return sf_yaml_fail(chat,
                            "expected 'none', or a map: prefix and suffix, or template, system, date, bos and the "
                            "template's variables");
    json_t *json = to_json(chat);
    sf_status status = SF_OK;
    for (size_t i = 0; chat->kind == SF_MAP && status == SF_OK && i < sizeof texts / sizeof *texts; i++)
        status = check_text(chat, texts[i], json);
    const sf_node *prefix = sf_yaml_get(chat, "prefix"), *suffix = sf_yaml_get(chat, "suffix");
    if (prefix || suffix) {
        out->prefix = prefix ? prefix->text : "";
        out->suffix = suffix ? suffix->text : "";
        if (!prefix) json_object_set_new(json, "prefix", json_string(""));
        if (!suffix) json_object_set_new(json, "suffix", json_string(""));
    }
    out->chat = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    json_decref(json);
    if (status == SF_OK && !out->chat) status = sf_yaml_fail(chat, "a text is not valid UTF-8");
    return status;
}
