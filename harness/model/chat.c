/* From a user message to the model's input. A template is a program, and is run; nothing is known about it beforehand.
 */
#include "harness/model/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char WAYS_OUT[] =
    "give what stands around the user's message in the config, as chat: {prefix: \"…\", suffix: "
    "\"…\"}, or chat: none for a base model, which reads the text as it is";

struct sf_chat {
    char name[96];
    sf_jinja *template; /* NULL: prefix and suffix */
    json_t *variables;  /* of the template, but for the messages */
    char *system;       /* NULL: none */
    char date[16];
    char *prefix, *suffix; /* of a template: what it wrote around a message on trial */
    int32_t bos, due;      /* -1: none */
    bool in_front;         /* BOS is put there if it does not stand there */
    bool writes_bos;       /* the template does */
    bool used_date;
    char *key, *used;
};

/* ---- what the files say ---------------------------------------------------------------------------------------- */

sf_chat_files *sf_chat_files_new(const char *where)
{
    sf_chat_files *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->bos = -1;
    f->where = strdup(where);
    f->tokens = json_object();
    if (f->where && f->tokens) return f;
    sf_chat_files_free(f);
    return NULL;
}

void sf_chat_files_free(sf_chat_files *f)
{
    if (!f) return;
    for (int i = 0; i < f->templates; i++) free(f->template[i].name), free(f->template[i].text);
    free(f->template);
    free(f->where);
    json_decref(f->tokens);
    free(f);
}

sf_status sf_chat_files_add(sf_chat_files *f, const char *name, const char *text)
{
    struct sf_chat_template *more = realloc(f->template, ((size_t)f->templates + 1) * sizeof *more);
    if (!more) return sf_fail(SF_NO_MEMORY, "%s: no memory for its chat templates", f->where);
    f->template = more;
    more[f->templates] = (struct sf_chat_template){strdup(name), strdup(text)};
    bool good = more[f->templates].name && more[f->templates].text;
    f->templates++;
    return good ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: no memory for its chat templates", f->where);
}

static const struct sf_chat_template *find_template(const sf_chat_files *f, const char *name)
{
    for (int i = 0; i < f->templates; i++)
        if (strcmp(f->template[i].name, name) == 0) return &f->template[i];
    return NULL;
}

const char *sf_chat_files_default(const sf_chat_files *f)
{
    const struct sf_chat_template *t = find_template(f, "default");
    return t ? t->text : f->templates == 1 ? f->template[0].text : NULL;
}

static sf_status no_template(const sf_chat_files *f, const char *name)
{
    char names[512] = "";
    for (int i = 0; i < f->templates; i++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%.60s", i ? ", " : "", f->template[i].name);
    }
    if (f->templates)
        return sf_fail(SF_BAD_INPUT,
                       "%s: expected a chat template named '%.60s', found %s: choose one, as chat: {template: "
                       "NAME}",
                       f->where, name, names);
    return sf_fail(SF_UNSUPPORTED, "%s: expected a chat template, found none: %s", f->where, WAYS_OUT);
}

/* ---- rendering ------------------------------------------------------------------------------------------------- */

static json_t *message(const char *role, json_t *content)
{
    return json_pack("{s:s, s:o}", "role", role, "content", content);
}

/* asked, answered: what was said before the message; NULL: nothing. */
static sf_status render_template(const sf_chat *c, const char *asked, const char *answered, const char *user, size_t bytes, sf_jinja_output *out)
{
    json_t *variables = json_copy(c->variables), *messages = json_array();
    json_t *text = json_stringn_nocheck(user, bytes); /* the tokenizer says where it is not UTF-8 */
    if (c->system) json_array_append_new(messages, message("system", json_string(c->system)));
    if (asked) json_array_append_new(messages, message("user", json_string(asked)));
    if (answered) json_array_append_new(messages, message("assistant", json_string(answered)));
    json_array_append_new(messages, message("user", json_incref(text)));
    bool good = text && json_object_set_new(variables, "messages", messages) == 0;
    const sf_jinja_input input = {
        .variables = variables, .marked = text, .date = c->date, .limits = sf_jinja_limits_for(bytes)};
    sf_status status = good ? sf_jinja_render(c->template, &input, out)
                            : sf_fail(SF_NO_MEMORY, "no memory for a conversation of %zu bytes", bytes);
    json_decref(text);
    json_decref(variables);
    return status;
}

static sf_status render_frame(const sf_chat *c, const char *user, size_t bytes, sf_jinja_output *out)
{
    size_t before = strlen(c->prefix), after = strlen(c->suffix), all = before + bytes + after;
    out->text = malloc(all + 1);
    out->mark = calloc(1, all + 1);
    if (!out->text || !out->mark) {
        sf_jinja_output_free(out);
        return sf_fail(SF_NO_MEMORY, "no memory for %zu bytes of text", all);
    }
    memcpy(out->text, c->prefix, before);
    if (bytes) memcpy(out->text + before, user, bytes);
    memcpy(out->text + before + bytes, c->suffix, after + 1);
    memset(out->mark + before, 1, bytes);
    out->bytes = all;
    return SF_OK;
}

sf_status sf_chat_render(const sf_chat *c, const char *user, size_t bytes, sf_jinja_output *out)
{
    *out = (sf_jinja_output){0};
    return c->template ? render_template(c, NULL, NULL, user, bytes, out) : render_frame(c, user, bytes, out);
}

static sf_status put_in_front(int32_t id, int32_t **ids, int *n)
{
    int32_t *grown = realloc(*ids, ((size_t)*n + 2) * sizeof *grown);
    if (!grown) return sf_fail(SF_NO_MEMORY, "no memory for %d ids", *n + 1);
    memmove(grown + 1, grown, (size_t)*n * sizeof *grown);
    grown[0] = id;
    *ids = grown;
    ++*n;
    return SF_OK;
}

static sf_status encode_rendered(const sf_chat *c, const sf_tokenizer *t, const sf_jinja_output *text, size_t bytes, int32_t **ids, int *n)
{
    sf_status status = sf_encode_marked(t, text->text, bytes, text->mark, ids, n);
    if (status != SF_OK || !c->in_front || (*n && (*ids)[0] == c->bos)) return status;
    status = put_in_front(c->bos, ids, n);
    if (status != SF_OK) free(*ids), *ids = NULL;
    return status;
}

sf_status sf_chat_encode(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, int32_t **ids, int *n)
{
    sf_jinja_output text;
    SF_TRY(sf_chat_render(c, user, bytes, &text));
    sf_status status = encode_rendered(c, t, &text, text.bytes, ids, n);
    sf_jinja_output_free(&text);
    return status;
}

/* Bytes of the rendered text up to byte `end` of the message. */
static sf_status rendered_head(const sf_jinja_output *text, const char *user, size_t end, size_t *out)
{
    size_t at = 0;
    for (size_t i = 0; text->mark && i < text->bytes && at < end; i++) {
        if (!text->mark[i]) continue;
        if (text->text[i] != user[at++]) break;
        *out = i + 1;
        if (at == end) return SF_OK;
    }
    return sf_fail(SF_UNSUPPORTED, "the chat template writes another message than it is given, so that its parts cannot be told apart");
}

sf_status sf_chat_head(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, size_t end, int *n)
{
    sf_jinja_output text;
    int32_t *whole = NULL, *head = NULL;
    int all = 0, some = 0;
    size_t cut = 0;
    SF_TRY(sf_chat_render(c, user, bytes, &text));
    sf_status status = rendered_head(&text, user, end, &cut);
    if (status == SF_OK) status = encode_rendered(c, t, &text, text.bytes, &whole, &all);
    if (status == SF_OK) status = encode_rendered(c, t, &text, cut, &head, &some);
    for (*n = 0; status == SF_OK && *n < some && *n < all && head[*n] == whole[*n];) ++*n;
    sf_jinja_output_free(&text);
    free(whole);
    free(head);
    return status;
}

/* Where in a conversation the answer before its message ends; it must read up to there as it was generated. */
static sf_status answer_end(const sf_chat *c, const sf_jinja_output *text, const char *asked, const char *answered, size_t *out)
{
    sf_jinja_output first;
    SF_TRY(sf_chat_render(c, asked, strlen(asked), &first));
    const size_t bytes = strlen(answered);
    const bool same = text->mark && text->bytes >= first.bytes + bytes && memcmp(text->text, first.text, first.bytes) == 0 &&
                      memcmp(text->text + first.bytes, answered, bytes) == 0;
    *out = first.bytes + bytes;
    sf_jinja_output_free(&first);
    return same ? SF_OK : sf_fail(SF_UNSUPPORTED, "the chat template writes an answer that is followed by a question otherwise than it was generated, "
                                                  "so that a later turn cannot go on from it");
}

sf_status sf_chat_encode_later(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, int32_t **ids, int *n)
{
    static const char asked[] = "Hello", answered[] = "Hello to you";
    if (!c->template) return sf_fail(SF_UNSUPPORTED, "several turns take a chat template: nothing else says what stands between an answer and a question");
    sf_jinja_output text;
    size_t from = 0;
    SF_TRY(render_template(c, asked, answered, user, bytes, &text));
    sf_status status = answer_end(c, &text, asked, answered, &from);
    if (status == SF_OK) status = sf_encode_marked(t, text.text + from, text.bytes - from, text.mark + from, ids, n);
    sf_jinja_output_free(&text);
    return status;
}

sf_status sf_chat_encode_answer(const sf_chat *c, const sf_tokenizer *t, const char *answer, size_t bytes,
                                int32_t **ids, int *n)
{
    int32_t *head;
    int heads;
    sf_jinja_output text = {0};
    const sf_chat after = {.prefix = c->suffix, .suffix = ""};
    SF_TRY(sf_encode_marked(t, c->suffix, strlen(c->suffix), NULL, &head, &heads));
    sf_status status = render_frame(&after, answer, bytes, &text);
    if (status == SF_OK) status = sf_encode_marked(t, text.text, text.bytes, text.mark, ids, n);
    sf_jinja_output_free(&text);
    if (status == SF_OK) {
        if (*n >= heads && memcmp(*ids, head, (size_t)heads * sizeof *head) == 0) {
            memmove(*ids, *ids + heads, (size_t)(*n -= heads) * sizeof **ids);
        } else { /* its beginning would melt into the prompt's end, which is there already */
            free(*ids);
            status = sf_encode(t, answer, bytes, false, ids, n);
        }
    }
    free(head);
    return status;
}

int32_t sf_chat_stop(const sf_chat *c, const sf_tokenizer *t, const int32_t *stop, int stops)
{
    for (int i = 0; i < stops; i++) {
        const char *text = sf_token_text(t, stop[i]);
        if (text && strstr(c->suffix, text)) return stop[i];
    }
    return stops ? stop[0] : -1;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* Renders a message on trial and keeps what stands around it. */
static sf_status try_template(sf_chat *c, const sf_chat_files *f, const char *template)
{
    static const char hello[] = "Hello";
    sf_jinja_output out;
    SF_TRY(render_template(c, NULL, NULL, hello, sizeof hello - 1, &out));
    size_t from = 0, to = out.bytes;
    while (out.mark && from < to && !out.mark[from]) from++;
    while (out.mark && to > from && !out.mark[to - 1]) to--;
    c->used_date = out.used_date;
    sf_status status = SF_OK;
    if (!out.mark || from == to) {
        status = sf_fail(SF_UNSUPPORTED, "%s: the chat template does not write the user's message", f->where);
    } else {
        c->prefix = strndup(out.text, from);
        c->suffix = strndup(out.text + to, out.bytes - to);
        if (!c->prefix || !c->suffix) status = sf_fail(SF_NO_MEMORY, "%s: no memory for a chat template", f->where);
    }
    const char *bos = json_string_value(json_object_get(f->tokens, "bos_token"));
    bool names_it = strstr(template, "bos_token") != NULL; /* SmolLM2's turns begin with what is its BOS, too */
    c->writes_bos = status == SF_OK && names_it && bos && *bos && strncmp(c->prefix, bos, strlen(bos)) == 0;
    sf_jinja_output_free(&out);
    return status;
}

static sf_status open_template(sf_chat *c, const sf_chat_files *f, json_t *options)
{
    json_t *name = json_object_get(options, "template");
    const char *wanted = name ? json_string_value(name) : "default";
    if (!wanted) return sf_fail(SF_BAD_INPUT, "chat.template: expected a name");
    const struct sf_chat_template *found = find_template(f, wanted);
    if (!found && !name && f->templates == 1) found = &f->template[0];
    if (!found) return no_template(f, wanted);
    snprintf(c->name, sizeof c->name, strcmp(found->name, "default") ? "template %.80s" : "%.80s template",
             found->name);
    SF_TRY(sf_jinja_parse(found->text, strlen(found->text), f->where, &c->template));
    c->variables = json_copy(f->tokens);
    json_object_set_new(c->variables, "tools", json_null());
    json_object_set_new(c->variables, "documents", json_null());
    json_object_set_new(c->variables, "add_generation_prompt", json_true());
    const char *key;
    json_t *value;
    json_object_foreach(options, key, value)
    {
        static const char *const own[] = {"template", "system", "date", "bos"};
        bool is_own = false;
        for (size_t i = 0; i < sizeof own / sizeof *own; i++) is_own = is_own || strcmp(key, own[i]) == 0;
        if (strcmp(key, "messages") == 0 || strcmp(key, "add_generation_prompt") == 0)
            return sf_fail(SF_BAD_INPUT, "chat.%s: is given by the task, not by the config", key);
        if (!is_own) json_object_set(c->variables, key, value);
    }
    return try_template(c, f, found->text);
}

static sf_status take_text(json_t *options, const char *key, char **out)
{
    json_t *value = json_object_get(options, key);
    if (!value) return SF_OK;
    if (!json_is_string(value)) return sf_fail(SF_BAD_INPUT, "chat.%s: expected a text", key);
    *out = strdup(json_string_value(value));
    return *out ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for chat.%s", key);
}

static sf_status open_frame(sf_chat *c, json_t *options)
{
    const char *key;
    json_t *value;
    json_object_foreach(options, key, value) if (
        strcmp(key, "prefix") && strcmp(key, "suffix") &&
        strcmp(key, "bos")) return sf_fail(SF_BAD_INPUT,
                                           "chat.%s: belongs to a template, and prefix and suffix stand instead of one",
                                           key);
    snprintf(c->name, sizeof c->name, "custom");
    SF_TRY(take_text(options, "prefix", &c->prefix));
    SF_TRY(take_text(options, "suffix", &c->suffix));
    if (!c->prefix) c->prefix = strdup("");
    if (!c->suffix) c->suffix = strdup("");
    return c->prefix && c->suffix ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a chat template");
}

static bool is_date(const char *s)
{
    int year, month, day, n = 0;
    return strlen(s) == 10 && sscanf(s, "%4d-%2d-%2d%n", &year, &month, &day, &n) == 3 && n == 10 && month >= 1 &&
           month <= 12 && day >= 1 && day <= 31;
}

static sf_status read_date(sf_chat *c, json_t *options)
{
    json_t *value = json_object_get(options, "date");
    const char *date = value ? json_string_value(value) : SF_CHAT_DATE;
    if (!date || !is_date(date)) return sf_fail(SF_BAD_INPUT, "chat.date: expected YYYY-MM-DD");
    snprintf(c->date, sizeof c->date, "%s", date);
    return SF_OK;
}

/* Whether BOS is put in front, and whether one is due there. */
static sf_status read_bos(sf_chat *c, const sf_chat_files *f, json_t *options)
{
    json_t *value = json_object_get(options, "bos");
    if (value && !json_is_boolean(value)) return sf_fail(SF_BAD_INPUT, "chat.bos: expected true or false");
    if (json_is_true(value) && f->bos < 0) return sf_fail(SF_BAD_INPUT, "chat.bos: the tokenizer has no BOS token");
    bool adds = value ? json_is_true(value) : f->adds_bos;
    c->bos = f->bos;
    c->due = adds || c->writes_bos ? f->bos : -1;
    c->in_front = f->bos >= 0 && (value ? adds : c->template ? f->adds_to_template : adds);
    return SF_OK;
}

static bool is_plain_chatml(const sf_chat *c)
{
    return !strcmp(c->prefix, "<|im_start|>user\n") && !strcmp(c->suffix, "<|im_end|>\n<|im_start|>assistant\n");
}

static sf_status describe(sf_chat *c, json_t *options)
{
    json_t *used = json_is_object(options) ? json_copy(options) : options ? json_incref(options) : json_object();
    if (c->used_date && json_is_object(used)) json_object_set_new(used, "date", json_string(c->date));
    bool nothing = json_is_object(used) && json_object_size(used) == 0;
    c->used = nothing ? strdup("") : json_dumps(used, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    json_decref(used);
    char *key = NULL;
    const char *mode = c->template ? "template" : options && json_is_string(options) ? "none" : "custom";
    bool as_before = !c->in_front && (c->template ? !options && is_plain_chatml(c) : !strcmp(mode, "custom"));
    if (as_before)
        key = strdup("");
    else if (c->used && asprintf(&key, "%s\n%s\n%d\n%s\n\1%s", mode, c->used, c->in_front, c->prefix, c->suffix) < 0)
        key = NULL;
    c->key = key;
    return c->used && c->key ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a chat template");
}

static sf_status fill(sf_chat *c, const sf_chat_files *f, json_t *options)
{
    if (options && !json_is_object(options) &&
        strcmp(json_is_string(options) ? json_string_value(options) : "", "none"))
        return sf_fail(SF_BAD_INPUT,
                       "chat: expected 'none', or a map with prefix and suffix, or with a template's variables");
    bool none = json_is_string(options),
         frame = json_object_get(options, "prefix") || json_object_get(options, "suffix");
    json_t *map = none ? NULL : options;
    if (none || frame) {
        SF_TRY(open_frame(c, map));
        if (none) snprintf(c->name, sizeof c->name, "none");
    } else {
        SF_TRY(read_date(c, map));
        SF_TRY(take_text(map, "system", &c->system));
        SF_TRY(open_template(c, f, map));
    }
    SF_TRY(read_bos(c, f, map));
    return describe(c, options);
}

sf_status sf_chat_open(const sf_chat_files *f, const char *text, sf_chat **out)
{
    *out = NULL;
    json_t *options = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (text && !options) return sf_fail(SF_BAD_INPUT, "%s: chat: its options are no JSON", f->where);
    sf_chat *c = calloc(1, sizeof *c);
    sf_status status = c ? fill(c, f, options) : sf_fail(SF_NO_MEMORY, "%s: no memory for a chat template", f->where);
    json_decref(options);
    if (status == SF_OK)
        *out = c;
    else
        sf_chat_free(c);
    return status;
}

sf_status sf_chat_custom(const char *prefix, const char *suffix, sf_chat **out)
{
    *out = NULL;
    json_t *options = json_pack("{s:s, s:s}", "prefix", prefix, "suffix", suffix);
    char *text = options ? json_dumps(options, JSON_COMPACT) : NULL;
    char nowhere[] = "custom";
    const sf_chat_files none = {.where = nowhere, .bos = -1};
    sf_status status =
        text ? sf_chat_open(&none, text, out) : sf_fail(SF_BAD_INPUT, "chat: prefix or suffix is not valid UTF-8");
    json_decref(options);
    free(text);
    return status;
}

void sf_chat_free(sf_chat *c)
{
    if (!c) return;
    sf_jinja_free(c->template);
    json_decref(c->variables);
    free(c->system);
    free(c->prefix);
    free(c->suffix);
    free(c->key);
    free(c->used);
    free(c);
}

const char *sf_chat_name(const sf_chat *c) { return c->name; }
const char *sf_chat_used(const sf_chat *c) { return c->used; }
const char *sf_chat_key(const sf_chat *c) { return c->key; }
int32_t sf_chat_bos(const sf_chat *c) { return c->due; }
