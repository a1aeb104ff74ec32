/* tokenizer.json, as the `tokenizers` library writes it. Its parts map to ours one to one; a part that we do not have
 * is an error that names it, since without it ids would differ silently.
 *
 * Of post_processor only the token that it puts in front is read (for texts without a chat template); truncation and
 * padding are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/json.h"
#include "harness/model/tokenizer_parts.h"

enum { LIMIT = 256 << 20 }; /* bytes of a file; the largest in use has 33 MB */
enum { MAX_DEPTH = 8 };     /* of sequences inside sequences */

/* Object number i of a list; `name` is the list's, and `above` keeps what is to stand before its keys. */
static sf_status item_at(const json_t *list, size_t i, const char *path, const char *name, char above[128],
                         sf_json_at *out)
{
    const json_t *item = json_array_get(list, i);
    snprintf(above, 128, "%.96s[%zu].", name, i);
    *out = (sf_json_at){item, path, above};
    if (!json_is_object(item)) return sf_fail(SF_BAD_INPUT, "%s: %s[%zu]: expected an object", path, name, i);
    return SF_OK;
}

static sf_status list_at(sf_json_at at, const char *key, const json_t **out)
{
    *out = sf_json_value(at, key);
    return json_is_array(*out) ? SF_OK : sf_json_fail(SF_BAD_INPUT, at, key, "a list");
}

/* ---- vocabulary and merges ------------------------------------------------------------------------------------- */

static sf_status read_vocabulary(sf_json_at model, sf_tokenizer *t)
{
    const json_t *vocab;
    SF_TRY(sf_json_object(model, "vocab", true, &vocab));
    const char *text;
    json_t *id;
    json_object_foreach((json_t *)vocab, text, id)
    {
        if (!json_is_integer(id))
            return sf_fail(SF_BAD_INPUT, "%s: model.vocab: token \"%.64s\": expected a whole number as id", model.path,
                           text);
        SF_TRY(sf_blame(sf_vocab_add(&t->vocab, text, strlen(text), json_integer_value(id), true), "%s: model.vocab",
                        model.path));
    }
    return SF_OK;
}

/* "left right", or ["left", "right"] since version 0.20 of the library. */
static sf_status read_merge(const json_t *merge, int32_t rank, sf_bpe *bpe)
{
    const json_t *first = json_array_get(merge, 0), *second = json_array_get(merge, 1);
    if (json_array_size(merge) == 2 && json_is_string(first) && json_is_string(second))
        return sf_bpe_merge(bpe, json_string_value(first), json_string_length(first), json_string_value(second),
                            json_string_length(second), rank);
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return sf_fail(SF_BAD_INPUT,
                       "merge %d: expected two tokens, as \"left right\" or [\"left\", \"right\"], found "
                       "\"%.64s\"",
                       rank, text ? text : "another type");
    return sf_bpe_merge(bpe, text, (size_t)(space - text), space + 1, strlen(space + 1), rank);
}

static sf_status read_model(sf_json_at root, sf_tokenizer *t)
{
    const json_t *object, *merges;
    SF_TRY(sf_json_object(root, "model", true, &object));
    sf_json_at at = {object, root.path, "model."};
    const char *type = "BPE", *prefix = "", *suffix = "", *unk = NULL;
    double dropout = 0;
    SF_TRY(sf_json_text(at, "type", false, &type));
    if (strcmp(type, "BPE")) return sf_json_fail(SF_UNSUPPORTED, at, "type", "BPE");
    SF_TRY(sf_json_real(at, "dropout", false, 0, 1, &dropout));
    if (dropout > 0) return sf_json_fail(SF_UNSUPPORTED, at, "dropout", "none");
    SF_TRY(sf_json_text(at, "continuing_subword_prefix", false, &prefix));
    if (*prefix) return sf_json_fail(SF_UNSUPPORTED, at, "continuing_subword_prefix", "none");
    SF_TRY(sf_json_text(at, "end_of_word_suffix", false, &suffix));
    if (*suffix) return sf_json_fail(SF_UNSUPPORTED, at, "end_of_word_suffix", "none");
    SF_TRY(sf_json_bool(at, "fuse_unk", false, &t->bpe.fuse_unk));
    SF_TRY(sf_json_bool(at, "byte_fallback", false, &t->bpe.byte_fallback));
    SF_TRY(sf_json_bool(at, "ignore_merges", false, &t->bpe.ignore_merges));

    SF_TRY(read_vocabulary(at, t));
    SF_TRY(sf_json_text(at, "unk_token", false, &unk));
    if (unk) t->bpe.unk = sf_vocab_find(&t->vocab, unk, strlen(unk));
    if (unk && t->bpe.unk < 0) return sf_json_fail(SF_BAD_INPUT, at, "unk_token", "a token of model.vocab");
    SF_TRY(list_at(at, "merges", &merges));
    for (size_t i = 0; i < json_array_size(merges); i++)
        SF_TRY(sf_blame(read_merge(json_array_get(merges, i), (int32_t)i, &t->bpe), "%s: model.merges", at.path));
    return SF_OK;
}

static sf_status read_added(sf_json_at root, sf_tokenizer *t)
{
    if (!sf_json_value(root, "added_tokens")) return SF_OK;
    const json_t *list;
    SF_TRY(list_at(root, "added_tokens", &list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        char above[128];
        sf_json_at at;
        SF_TRY(item_at(list, i, root.path, "added_tokens", above, &at));
        sf_added_token token = {0};
        const char *text;
        int64_t id;
        SF_TRY(sf_json_text(at, "content", true, &text));
        SF_TRY(sf_json_int(at, "id", true, 0, INT32_MAX, &id));
        SF_TRY(sf_json_bool(at, "special", true, &token.special));
        SF_TRY(sf_json_bool(at, "normalized", true, &token.normalized));
        SF_TRY(sf_json_bool(at, "single_word", true, &token.single_word));
        SF_TRY(sf_json_bool(at, "lstrip", true, &token.lstrip));
        SF_TRY(sf_json_bool(at, "rstrip", true, &token.rstrip));
        token.id = (int32_t)id;
        if (!*text || sf_vocab_find(&t->vocab, text, strlen(text)) != id)
            SF_TRY(sf_blame(sf_vocab_add(&t->vocab, text, strlen(text), id, false), "%s: added_tokens[%zu]", root.path,
                            i));
        SF_TRY(sf_add_token(t, token));
    }
    return SF_OK;
}

/* The id that the `tokenizers` library gives to the next new token: behind the added ones, or behind as many as the
 * vocabulary has, whichever is more. */
static int64_t next_id(const sf_tokenizer *t)
{
    int64_t next = 0;
    for (int32_t id = 0; id < t->vocab.size; id++) next += t->vocab.token[id].present && t->vocab.token[id].own;
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].id >= next) next = (int64_t)t->added[i].id + 1;
    return next;
}

/* settled: of the added tokens, how many are out of reach of one that is only to be new. */
static sf_status add_listed(sf_listed_token *from, int settled, const char *path, sf_tokenizer *t)
{
    size_t bytes = strlen(from->text);
    if (!bytes) return SF_OK;
    if (from->only_free_id && from->id <= INT32_MAX && sf_added(t, (int32_t)from->id)) return SF_OK;
    int64_t id = sf_vocab_find(&t->vocab, from->text, bytes);
    const sf_added_token *same = sf_added(t, (int32_t)id);
    if (from->only_new && same && same - t->added < settled) return SF_OK;
    bool is_new = id < 0;
    if (is_new) id = next_id(t);
    if (from->id >= 0 && from->id != id)
        return sf_fail(SF_BAD_INPUT, "%s: token \"%.64s\" has id %lld in %s, but %s%lld by tokenizer.json", path,
                       from->text, (long long)from->id, from->where, is_new ? "would get " : "", (long long)id);
    from->changes = !same || same->special != from->special || same->normalized != from->normalized ||
                    same->single_word != from->single_word || same->lstrip != from->lstrip || same->rstrip != from->rstrip;
    if (is_new) SF_TRY(sf_blame(sf_vocab_add(&t->vocab, from->text, bytes, id, false), "%s: %s", path, from->where));
    return sf_add_token(t, (sf_added_token){.id = (int32_t)id,
                                            .special = from->special,
                                            .normalized = from->normalized,
                                            .single_word = from->single_word,
                                            .lstrip = from->lstrip,
                                            .rstrip = from->rstrip});
}

/* ---- normalizer, pre_tokenizer, decoder ------------------------------------------------------------------------ */

/* Reads a component, or those of a Sequence in order, with `one`. `above` is the component's name and a dot. */
static sf_status read_sequence(sf_json_at at, const char *items, int depth,
                               sf_status (*one)(sf_json_at at, const char *type, sf_tokenizer *t), sf_tokenizer *t)
{
    const char *type;
    SF_TRY(sf_json_text(at, "type", true, &type));
    if (strcmp(type, "Sequence")) return one(at, type, t);
    if (depth == MAX_DEPTH) return sf_json_fail(SF_UNSUPPORTED, at, "type", "fewer sequences inside sequences");
    const json_t *list;
    SF_TRY(list_at(at, items, &list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        char name[112], above[128];
        sf_json_at inside;
        snprintf(name, sizeof name, "%.64s%s", at.above, items);
        SF_TRY(item_at(list, i, at.path, name, above, &inside));
        SF_TRY(read_sequence(inside, items, depth + 1, one, t));
    }
    return SF_OK;
}

/* {"String": "…"} or {"Regex": "…"} at key "pattern". */
static sf_status read_pattern(sf_json_at at, const char **text, bool *literal)
{
    const json_t *pattern;
    SF_TRY(sf_json_object(at, "pattern", true, &pattern));
    *literal = json_object_get(pattern, "String") != NULL;
    *text = json_string_value(json_object_get(pattern, *literal ? "String" : "Regex"));
    return *text ? SF_OK : sf_json_fail(SF_BAD_INPUT, at, "pattern", "{\"String\": text} or {\"Regex\": text}");
}

static sf_status compile(sf_json_at at, sf_regex **out)
{
    const char *text;
    bool literal;
    SF_TRY(read_pattern(at, &text, &literal));
    return sf_blame(sf_regex_compile(text, strlen(text), literal, out), "%s: %spattern", at.path, at.above);
}

static sf_status copy_text(sf_json_at at, const char *key, char **out)
{
    const char *text;
    SF_TRY(sf_json_text(at, key, true, &text));
    *out = strdup(text);
    return *out ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: no memory", at.path);
}

static sf_status read_normalizer(sf_json_at at, const char *type, sf_tokenizer *t)
{
    static const char *const forms[] = {[SF_NFC] = "NFC", [SF_NFD] = "NFD", [SF_NFKC] = "NFKC", [SF_NFKD] = "NFKD"};
    for (int i = SF_NFC; i <= SF_NFKD; i++)
        if (!strcmp(type, forms[i])) return sf_add_normalizer(t, (sf_normalizer){.kind = i});
    sf_normalizer step = {.kind = SF_PUT_IN_FRONT};
    if (!strcmp(type, "Prepend")) {
        SF_TRY(copy_text(at, "prepend", &step.text));
        return sf_add_normalizer(t, step);
    }
    if (strcmp(type, "Replace"))
        return sf_json_fail(SF_UNSUPPORTED, at, "type", "NFC, NFD, NFKC, NFKD, Replace, Prepend or Sequence");
    step.kind = SF_REPLACE_ALL;
    SF_TRY(copy_text(at, "content", &step.text));
    sf_status status = compile(at, &step.pattern);
    if (status == SF_OK) return sf_add_normalizer(t, step);
    free(step.text);
    return status;
}

static sf_status read_split(sf_json_at at, sf_tokenizer *t)
{
    static const char *const names[] = {[SF_SPLIT_ISOLATED] = "Isolated",
                                        [SF_SPLIT_REMOVED] = "Removed",
                                        [SF_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [SF_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
                                        [SF_SPLIT_CONTIGUOUS] = "Contiguous"};
    sf_splitter step = {.kind = SF_CUT};
    const char *behavior;
    SF_TRY(sf_json_text(at, "behavior", true, &behavior));
    int i = 0;
    while (i < 5 && strcmp(names[i], behavior)) i++;
    if (i == 5)
        return sf_json_fail(SF_BAD_INPUT, at, "behavior",
                            "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
    step.behavior = (sf_split_behavior)i;
    SF_TRY(sf_json_bool(at, "invert", false, &step.invert));
    SF_TRY(compile(at, &step.pattern));
    return sf_add_splitter(t, step);
}

static sf_status read_byte_level(sf_json_at at, sf_tokenizer *t)
{
    bool space = true, regex = true;
    SF_TRY(sf_json_bool(at, "add_prefix_space", true, &space));
    SF_TRY(sf_json_bool(at, "use_regex", false, &regex));
    if (space) SF_TRY(sf_add_splitter(t, (sf_splitter){.kind = SF_PREPEND, .with = " ", .prepend = SF_PREPEND_ALWAYS}));
    if (regex) SF_TRY(sf_add_pattern(t, SF_GPT2_PATTERN, strlen(SF_GPT2_PATTERN), false, SF_SPLIT_ISOLATED, false));
    t->bpe.byte_level = true;
    return SF_OK;
}

/* The sign that stands for a space, and when one is put in front. add_prefix_space is the older word for it, and wrong
 * where it contradicts. */
static sf_status read_metaspace_options(sf_json_at at, char sign[16], sf_prepend *prepend)
{
    const char *text = "▁", *scheme = "always";
    bool space = true;
    SF_TRY(sf_json_text(at, "replacement", true, &text));
    SF_TRY(sf_json_bool(at, "add_prefix_space", false, &space));
    SF_TRY(sf_json_text(at, "prepend_scheme", false, &scheme));
    bool valid;
    if (!*text || sf_utf8_length(text, strlen(text), &valid) != strlen(text))
        return sf_json_fail(SF_BAD_INPUT, at, "replacement", "one character");
    strcpy(sign, text);
    if (!space && strcmp(scheme, "never"))
        return sf_json_fail(SF_BAD_INPUT, at, "prepend_scheme", "never, since add_prefix_space is false");
    static const char *const names[] = {
        [SF_PREPEND_NEVER] = "never", [SF_PREPEND_FIRST] = "first", [SF_PREPEND_ALWAYS] = "always"};
    for (int i = 0; i < 3; i++) {
        *prepend = (sf_prepend)i;
        if (!strcmp(names[i], scheme)) return SF_OK;
    }
    return sf_json_fail(SF_BAD_INPUT, at, "prepend_scheme", "never, first or always");
}

static sf_status read_metaspace(sf_json_at at, sf_tokenizer *t)
{
    sf_splitter replace = {.kind = SF_REPLACE}, front = {.kind = SF_PREPEND};
    bool split = true;
    SF_TRY(read_metaspace_options(at, front.with, &front.prepend));
    SF_TRY(sf_json_bool(at, "split", false, &split));
    strcpy(replace.with, front.with);
    SF_TRY(sf_regex_compile(" ", 1, true, &replace.pattern));
    SF_TRY(sf_add_splitter(t, replace));
    SF_TRY(sf_add_splitter(t, front));
    return split ? sf_add_pattern(t, front.with, strlen(front.with), true, SF_SPLIT_MERGED_WITH_NEXT, false) : SF_OK;
}

static sf_status read_pre_tokenizer(sf_json_at at, const char *type, sf_tokenizer *t)
{
    if (t->bpe.byte_level) return sf_json_fail(SF_UNSUPPORTED, at, "type", "nothing after ByteLevel");
    if (!strcmp(type, "Split")) return read_split(at, t);
    if (!strcmp(type, "ByteLevel")) return read_byte_level(at, t);
    if (!strcmp(type, "Metaspace")) return read_metaspace(at, t);
    if (strcmp(type, "Digits"))
        return sf_json_fail(SF_UNSUPPORTED, at, "type", "Split, Digits, ByteLevel, Metaspace or Sequence");
    bool individual = false;
    SF_TRY(sf_json_bool(at, "individual_digits", true, &individual));
    return sf_add_pattern(t, SF_DIGITS_PATTERN, strlen(SF_DIGITS_PATTERN), false,
                          individual ? SF_SPLIT_ISOLATED : SF_SPLIT_CONTIGUOUS, false);
}

static sf_status read_strip(sf_json_at at, sf_tokenizer *t)
{
    sf_decoder step = {.kind = SF_DECODE_STRIP};
    int64_t start = 0, stop = 0;
    SF_TRY(sf_json_int(at, "start", true, 0, 1 << 20, &start));
    SF_TRY(sf_json_int(at, "stop", true, 0, 1 << 20, &stop));
    const char *text;
    SF_TRY(sf_json_text(at, "content", true, &text));
    if (!*text) return sf_json_fail(SF_BAD_INPUT, at, "content", "one character");
    SF_TRY(copy_text(at, "content", &step.with));
    step.start = (int)start;
    step.stop = (int)stop;
    return sf_add_decoder(t, step);
}

static sf_status read_decoder(sf_json_at at, const char *type, sf_tokenizer *t)
{
    if (!strcmp(type, "ByteLevel")) return sf_add_decoder(t, (sf_decoder){.kind = SF_DECODE_BYTE_LEVEL});
    if (!strcmp(type, "ByteFallback")) return sf_add_decoder(t, (sf_decoder){.kind = SF_DECODE_BYTE_FALLBACK});
    if (!strcmp(type, "Fuse")) return sf_add_decoder(t, (sf_decoder){.kind = SF_DECODE_FUSE});
    if (!strcmp(type, "Strip")) return read_strip(at, t);
    sf_decoder step = {.kind = SF_DECODE_METASPACE};
    if (!strcmp(type, "Metaspace")) {
        char sign[16];
        sf_prepend prepend;
        SF_TRY(read_metaspace_options(at, sign, &prepend));
        step.prepended = prepend != SF_PREPEND_NEVER;
        SF_TRY(sf_regex_compile(sign, strlen(sign), true, &step.pattern));
        return sf_add_decoder(t, step);
    }
    if (strcmp(type, "Replace"))
        return sf_json_fail(SF_UNSUPPORTED, at, "type",
                            "ByteLevel, ByteFallback, Replace, Strip, Metaspace, Fuse or Sequence");
    step.kind = SF_DECODE_REPLACE;
    SF_TRY(copy_text(at, "content", &step.with));
    sf_status status = compile(at, &step.pattern);
    if (status == SF_OK) return sf_add_decoder(t, step);
    free(step.with);
    return status;
}

/* The special token that the post-processor puts in front of a text: BOS, or what BERT has instead. -1: none. */
static int32_t read_front(const json_t *processor, const sf_tokenizer *t)
{
    const char *type = json_string_value(json_object_get(processor, "type"));
    if (type && strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *one;
        int32_t found = -1;
        json_array_foreach(json_object_get(processor, "processors"), i, one)
            if (found < 0) found = read_front(one, t);
        return found;
    }
    bool template = type && strcmp(type, "TemplateProcessing") == 0;
    const json_t *first = json_array_get(json_object_get(processor, template ? "single" : "cls"), 0);
    if (template) first = json_object_get(json_object_get(first, "SpecialToken"), "id");
    return json_is_string(first) ? sf_token_id(t, json_string_value(first)) : -1;
}

static const struct {
    const char *key, *above, *items;
    sf_status (*one)(sf_json_at, const char *, sf_tokenizer *);
} CHAINS[] = {{"normalizer", "normalizer.", "normalizers", read_normalizer},
              {"pre_tokenizer", "pre_tokenizer.", "pretokenizers", read_pre_tokenizer},
              {"decoder", "decoder.", "decoders", read_decoder}};

static sf_status build(const json_t *file, const char *path, sf_listed_token *also, int n, sf_tokenizer *t)
{
    sf_json_at root = {file, path, ""};
    SF_TRY(read_model(root, t));
    for (size_t i = 0; i < sizeof CHAINS / sizeof *CHAINS; i++) {
        const json_t *object = NULL;
        SF_TRY(sf_json_object(root, CHAINS[i].key, false, &object));
        if (object)
            SF_TRY(read_sequence((sf_json_at){object, path, CHAINS[i].above}, CHAINS[i].items, 0, CHAINS[i].one, t));
    }
    if (t->bpe.byte_level && t->bpe.byte_fallback)
        return sf_json_fail(SF_UNSUPPORTED, (sf_json_at){file, path, ""}, "pre_tokenizer",
                            "no ByteLevel together with model.byte_fallback");
    SF_TRY(read_added(root, t));
    for (int i = 0, settled = -1; i < n; i++) {
        if (settled < 0 && also[i].only_new) settled = t->n_added;
        SF_TRY(add_listed(&also[i], settled, path, t));
    }
    t->front = read_front(json_object_get(file, "post_processor"), t);
    return sf_finish_tokenizer(t);
}

sf_status sf_tokenizer_from_json(const char *path, sf_listed_token *also, int n, sf_tokenizer **out)
{
    *out = NULL;
    json_t *file;
    SF_TRY(sf_json_read(path, LIMIT, &file));
    sf_tokenizer *t = calloc(1, sizeof *t);
    sf_status status = t ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: no memory for a tokenizer", path);
    if (t) {
        t->bpe.vocab = &t->vocab;
        t->bpe.unk = -1;
        t->front = -1;
        status = build(file, path, also, n, t);
    }
    json_decref(file);
    if (status == SF_OK)
        *out = t;
    else
        sf_tokenizer_free(t);
    return status;
}
