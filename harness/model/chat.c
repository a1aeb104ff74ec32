/* Chat templates are programs (Jinja) of which we need one run: a single user message, then the generation prompt. The
 * string literals of a template show its family and what varies within it (a default system message, a date, spaces);
 * the rest is known. A template that shows something else is refused: a wrong prompt would cost scores without a word.
 */
#include "harness/model/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sf_chat {
    char name[64];
    char *prefix, *suffix;
    bool trims; /* white space around the message is dropped */
};

/* ---- the literals of a template -------------------------------------------------------------------------------- */

struct literal {
    const char *text; /* unescaped */
    size_t at, end;   /* where it stands in the template, quotes included */
};

struct literals {
    const char *template;
    struct literal *item;
    int n;
    char *memory;
};

static char unescaped(char c) { return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c; }

/* The quoted strings inside {{ … }} and {% … %}. */
static sf_status read_literals(const char *template, struct literals *out)
{
    size_t bytes = strlen(template);
    *out = (struct literals){.template = template};
    out->item = malloc((bytes / 2 + 1) * sizeof *out->item);
    out->memory = malloc(bytes + 1);
    if (!out->item || !out->memory) return sf_fail(SF_NO_MEMORY, "no memory for a chat template of %zu bytes", bytes);
    char *to = out->memory;
    char inside = 0; /* '{' or '%': in a tag of that kind, '#': in a comment */
    for (size_t i = 0; i < bytes; i++) {
        char c = template[i], next = template[i + 1];
        if (!inside && c == '{' && (next == '{' || next == '%' || next == '#')) {
            inside = next;
            i++;
        } else if (inside && next == '}' && c == (inside == '{' ? '}' : inside)) {
            inside = 0;
            i++;
        } else if (inside && inside != '#' && (c == '\'' || c == '"')) {
            out->item[out->n++] = (struct literal){.text = to, .at = i};
            for (i++; i < bytes && template[i] != c; i++) {
                bool escape = template[i] == '\\' && i + 1 < bytes;
                *to++ = escape ? unescaped(template[++i]) : template[i];
            }
            *to++ = 0;
            out->item[out->n - 1].end = i + (i < bytes);
        }
    }
    return SF_OK;
}

static bool begins(const char *text, const char *with) { return !strncmp(text, with, strlen(with)); }

static bool ends(const char *text, const char *with)
{
    size_t n = strlen(text), m = strlen(with);
    return n >= m && !strcmp(text + n - m, with);
}

/* The first literal from `from` on that begins with `with`; -1: none. */
static int find(const struct literals *l, int from, const char *with)
{
    for (int i = from; i < l->n; i++)
        if (begins(l->item[i].text, with)) return i;
    return -1;
}

/* The first literal after the last mention of `name` in the template; -1: none. */
static int after(const struct literals *l, const char *name)
{
    const char *last = NULL;
    for (const char *p = l->template; (p = strstr(p, name)); p++) last = p;
    for (int i = 0; last && i < l->n; i++)
        if (l->item[i].at > (size_t)(last - l->template)) return i;
    return -1;
}

static bool says(const struct literals *l, const char *words) { return strstr(l->template, words) != NULL; }

/* The template's text between two literals without its spaces, quotes made alike. */
static void squeeze(const struct literals *l, int from, int to, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = l->item[from].end; i < l->item[to].at && n + 1 < room; i++)
        if (!strchr(" \t\r\n", l->template[i])) out[n++] = l->template[i] == '"' ? '\'' : l->template[i];
    out[n] = 0;
}

/* Whether the message's content, and nothing else, is written between literal `open` and the next that begins with
 * `close`; then *shut is that literal, and *trims whether the content loses the white space around it. */
static bool holds_content(const struct literals *l, int open, const char *close, int *shut, bool *trims)
{
    static const char *const content[] = {"message['content']", "message.content", "content"};
    static const char *const filter[] = {"", "|trim", ".strip()"};
    *shut = find(l, open + 1, close);
    if (*shut < 0) return false;
    char text[64], want[64];
    squeeze(l, open, *shut, text, sizeof text);
    for (int i = 0; i < 9; i++) {
        snprintf(want, sizeof want, "+%s%s+", content[i / 3], filter[i % 3]);
        *trims = i % 3 != 0;
        if (!strcmp(text, want)) return true;
    }
    return false;
}

/* ---- families -------------------------------------------------------------------------------------------------- */

/* What a family's reader fills; false where the template is not of the family as it is known. */
struct frame {
    char name[64];
    char prefix[8192], suffix[1024];
    bool trims;
};

static bool put(char *to, size_t room, const char *format, const char *text)
{
    size_t n = strlen(to);
    return snprintf(to + n, room - n, format, text) < (int)(room - n);
}

/* '<|im_start|>' + role + '\n' + content + '<|im_end|>' + '\n', or with the role in the literal. */
static bool chatml_turn(const struct literals *l, bool *trims)
{
    for (int i = 0; i < l->n; i++) {
        bool opens = !strcmp(l->item[i].text, "<|im_start|>user\n");
        for (int back = 1; back <= 2 && back <= i && !strcmp(l->item[i].text, "\n"); back++)
            opens = opens || !strcmp(l->item[i - back].text, "<|im_start|>"); /* the key 'role' may be between */
        int shut;
        if (!opens || !holds_content(l, i, "<|im_end|>", &shut, trims)) continue;
        if (!strcmp(l->item[shut].text, "<|im_end|>\n")) return true;
        char between[16];
        if (strcmp(l->item[shut].text, "<|im_end|>") || shut + 1 == l->n) continue;
        squeeze(l, shut, shut + 1, between, sizeof between);
        if (!strcmp(between, "+") && !strcmp(l->item[shut + 1].text, "\n")) return true;
    }
    return false;
}

/* The system turn that the template writes where the conversation has none; "" for none. False if one may be written
 * that is put together from parts, or tells the date. */
static bool chatml_system(const struct literals *l, const char **system)
{
    *system = "";
    if (says(l, "strftime_now")) return false;
    for (int i = 0; (i = find(l, i, "<|im_start|>system\n")) >= 0; i++) {
        if (ends(l->item[i].text, "<|im_end|>\n")) {
            if (!**system) *system = l->item[i].text;
            continue;
        }
        if (strcmp(l->item[i].text, "<|im_start|>system\n")) return false;
        /* What follows is the conversation's own system message, or the tools'. */
        const char *next = l->template + l->item[i].end;
        next += strspn(next, " -");
        if (*next != '+') continue;
        next += 1 + strspn(next + 1, " ");
        if (!begins(next, "message")) return false;
    }
    return true;
}

static bool chatml(const struct literals *l, struct frame *f)
{
    const char *system;
    if (!chatml_turn(l, &f->trims) || !chatml_system(l, &system)) return false;
    int prompt = after(l, "add_generation_prompt");
    if (prompt < 0 || !begins(l->item[prompt].text, "<|im_start|>assistant\n")) return false;
    /* What may follow the prompt, Qwen3's empty thoughts, is written only if the caller switches thinking off. */
    if (prompt + 1 < l->n && !says(l, "enable_thinking is defined and enable_thinking is false")) return false;
    snprintf(f->name, sizeof f->name, "chatml%s", *system ? " with default system message" : "");
    return put(f->prefix, sizeof f->prefix, "%s<|im_start|>user\n", system) &&
           put(f->suffix, sizeof f->suffix, "<|im_end|>\n%s", l->item[prompt].text);
}

/* From 3.1 on there is always a system turn, with two dates. Templates that ask for today's date have a fixed one for
 * where there is no clock: that one is taken, so that a prompt is the same on every day. */
static bool llama3_dates(const struct literals *l, struct frame *f)
{
    int cutting = find(l, 0, "Cutting Knowledge Date: "), today = find(l, 0, "Today Date: ");
    int date = after(l, "set date_string");
    int day, year;
    char month[4];
    if (cutting < 0 || today < 0 || date < 0 || strcmp(l->item[today].text, "Today Date: ")) return false;
    if (!ends(l->item[cutting].text, "\n")) return false;
    if (sscanf(l->item[date].text, "%2d %3[A-Za-z] %4d", &day, month, &year) != 3) return false;
    snprintf(f->name, sizeof f->name, "llama3 with date %.16s", l->item[date].text);
    return put(f->prefix, sizeof f->prefix, "<|start_header_id|>system<|end_header_id|>\n\n%s",
               l->item[cutting].text) &&
           put(f->prefix, sizeof f->prefix, "Today Date: %s\n\n<|eot_id|>", l->item[date].text);
}

static bool llama3(const struct literals *l, struct frame *f)
{
    int open = 0, shut;
    while (open < l->n && !(ends(l->item[open].text, "<|end_header_id|>\n\n") &&
                            holds_content(l, open, "<|eot_id|>", &shut, &f->trims)))
        open++;
    if (open == l->n || strcmp(l->item[shut].text, "<|eot_id|>")) return false;
    snprintf(f->name, sizeof f->name, "llama3");
    if (says(l, "Cutting Knowledge Date")) {
        if (!llama3_dates(l, f)) return false;
    } else if (find(l, 0, "<|start_header_id|>system") >= 0) {
        return false; /* a system turn of its own making */
    }
    return put(f->prefix, sizeof f->prefix, "%s", "<|start_header_id|>user<|end_header_id|>\n\n") &&
           put(f->suffix, sizeof f->suffix, "%s", "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
}

/* Gemma 3 writes the content in a tag of its own, Gemma 2 between the literals; both trim it. */
static bool gemma(const struct literals *l, struct frame *f)
{
    if (find(l, 0, "<start_of_turn>") < 0 || find(l, 0, "<end_of_turn>\n") < 0) return false;
    if (!says(l, "message['content'] | trim") || find(l, 0, "<start_of_turn>model\n") < 0) return false;
    snprintf(f->name, sizeof f->name, "gemma");
    f->trims = true;
    return put(f->prefix, sizeof f->prefix, "%s", "<start_of_turn>user\n") &&
           put(f->suffix, sizeof f->suffix, "%s", "<end_of_turn>\n<start_of_turn>model\n");
}

/* Versions differ in the spaces in and around the brackets. There is no generation prompt. */
static bool mistral(const struct literals *l, struct frame *f)
{
    if (says(l, "default_system_message") || says(l, "strftime_now")) return false;
    for (int i = 0; i < l->n; i++) {
        const char *open = l->item[i].text;
        int shut;
        if (strcmp(open + (*open == ' '), "[INST]") && strcmp(open + (*open == ' '), "[INST] ")) continue;
        if (!holds_content(l, i, "[/INST]", &shut, &f->trims) && !holds_content(l, i, " [/INST]", &shut, &f->trims))
            continue;
        snprintf(f->name, sizeof f->name, "mistral");
        return put(f->prefix, sizeof f->prefix, "%s", open) &&
               put(f->suffix, sizeof f->suffix, "%s", l->item[shut].text);
    }
    return false;
}

static bool (*const FAMILIES[])(const struct literals *, struct frame *) = {chatml, llama3, gemma, mistral};

/* ---- the interface --------------------------------------------------------------------------------------------- */

static sf_status make(const char *name, const char *bos, const char *prefix, const char *suffix, bool trims,
                      sf_chat **out)
{
    *out = NULL;
    sf_chat *c = calloc(1, sizeof *c);
    if (c) {
        snprintf(c->name, sizeof c->name, "%s", name);
        c->trims = trims;
        c->prefix = malloc(strlen(bos) + strlen(prefix) + 1);
        c->suffix = strdup(suffix);
    }
    if (!c || !c->prefix || !c->suffix) {
        sf_chat_free(c);
        return sf_fail(SF_NO_MEMORY, "no memory for a chat template");
    }
    strcpy(stpcpy(c->prefix, bos), prefix);
    *out = c;
    return SF_OK;
}

sf_status sf_chat_from_template(const char *template, const char *bos, const char *where, sf_chat **out)
{
    *out = NULL;
    struct literals l;
    struct frame f = {0};
    bool known = false;
    sf_status status = read_literals(template, &l);
    for (size_t i = 0; status == SF_OK && !known && i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        f = (struct frame){0};
        known = FAMILIES[i](&l, &f);
    }
    free(l.item);
    free(l.memory);
    if (status == SF_OK && !known)
        status =
            sf_fail(SF_UNSUPPORTED, "the chat template is none that is known (ChatML, Llama 3, Gemma, Mistral); give "
                                    "what stands before and after the user's message in the config, as "
                                    "chat: {prefix: \"…\", suffix: \"…\"}");
    if (status == SF_OK) status = make(f.name, bos ? bos : "", f.prefix, f.suffix, f.trims, out);
    return sf_blame(status, "%s", where);
}

sf_status sf_chat_custom(const char *prefix, const char *suffix, sf_chat **out)
{
    return make("custom", "", prefix, suffix, false, out);
}

void sf_chat_free(sf_chat *c)
{
    if (!c) return;
    free(c->prefix);
    free(c->suffix);
    free(c);
}

const char *sf_chat_name(const sf_chat *c) { return c->name; }

/* Length of the white space at s as Python's str.strip() knows it; 0: none. */
static size_t space_at(const unsigned char *s, size_t bytes)
{
    if (!bytes) return 0;
    if ((s[0] >= 9 && s[0] <= 13) || (s[0] >= 0x1c && s[0] <= 0x20)) return 1;
    if (bytes >= 2 && s[0] == 0xc2 && (s[1] == 0x85 || s[1] == 0xa0)) return 2;
    if (bytes < 3) return 0;
    unsigned c = (unsigned)s[0] << 16 | (unsigned)s[1] << 8 | s[2]; /* UTF-8 of U+1680, U+2000…200A, 2028, 2029, … */
    bool space = c == 0xe19a80 || (c >= 0xe28080 && c <= 0xe2808a) || c == 0xe280a8 || c == 0xe280a9 || c == 0xe280af ||
                 c == 0xe2819f || c == 0xe38080;
    return space ? 3 : 0;
}

static size_t space_before(const unsigned char *s, size_t end)
{
    for (size_t n = 1; n <= 3 && n <= end; n++)
        if (space_at(s + end - n, n) == n) return n;
    return 0;
}

static void trim(const char **text, size_t *bytes)
{
    const unsigned char *s = (const unsigned char *)*text;
    size_t start = 0, end = *bytes, n;
    while ((n = space_at(s + start, end - start))) start += n;
    while (end > start && (n = space_before(s + start, end - start))) end -= n;
    *text += start;
    *bytes = end - start;
}

sf_status sf_chat_encode(const sf_chat *c, const sf_tokenizer *t, const char *user, size_t bytes, int32_t **ids, int *n)
{
    if (c->trims) trim(&user, &bytes);
    return sf_encode_between(t, c->prefix, user, bytes, c->suffix, ids, n);
}

sf_status sf_chat_encode_answer(const sf_chat *c, const sf_tokenizer *t, const char *answer, size_t bytes, int32_t **ids,
                                int *n)
{
    int32_t *head;
    int heads;
    SF_TRY(sf_encode_between(t, c->suffix, "", 0, "", &head, &heads));
    sf_status status = sf_encode_between(t, c->suffix, answer, bytes, "", ids, n);
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
