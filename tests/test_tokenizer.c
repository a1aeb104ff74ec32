/* Tokenizers against the `tokenizers` library (tests/golden/tokenizer/make_tokenizers.py), and what they refuse. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness/model/chat.h"
#include "harness/model/model.h"
#include "harness/model/tokenizer.h"

#define GOLDEN "tests/golden/tokenizer/"

static const char *const KINDS[] = {"gpt2", "smollm", "qwen2", "llama3", "gemma", "llama2", "metaspace"};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

/* ---- golden files ---------------------------------------------------------------------------------------------- */

static json_t *texts; /* the array of strings.json */

static int read_texts(void **state)
{
    (void)state;
    json_t *file = json_load_file(GOLDEN "strings.json", JSON_ALLOW_NUL, NULL);
    if (!file) return -1;
    texts = json_incref(json_object_get(file, "strings"));
    json_decref(file);
    return 0;
}

static int free_texts(void **state)
{
    (void)state;
    json_decref(texts);
    return 0;
}

struct golden {
    unsigned char *bytes;
    size_t n, at;
};

static struct golden open_golden(const char *kind)
{
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s.ids", kind);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    struct golden g = {.bytes = malloc(1 << 20)};
    g.n = fread(g.bytes, 1, 1 << 20, f);
    fclose(f);
    return g;
}

static uint32_t next_byte(struct golden *g)
{
    assert_true(g->at < g->n);
    return g->bytes[g->at++];
}

static uint32_t next_hash(struct golden *g)
{
    uint32_t h = 0;
    for (int shift = 0; shift < 32; shift += 8) h |= next_byte(g) << shift;
    return h;
}

static int32_t next_number(struct golden *g)
{
    uint32_t x = 0, digit = 0x80;
    for (int shift = 0; digit & 0x80; shift += 7) x |= ((digit = next_byte(g)) & 0x7f) << shift;
    return (int32_t)x;
}

static int next_ids(struct golden *g, int32_t ids[512], int same) /* same: as many as were read into `ids` before */
{
    int n = next_number(g) - 1;
    if (n < 0) return same;
    assert_in_range(n, 0, 512);
    for (int i = 0; i < n; i++) ids[i] = next_number(g);
    return n;
}

static uint32_t fnv(const char *text, uint32_t h)
{
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x01000193u;
    return h;
}

static void check_ids(const char *kind, int text, const int32_t *got, int n, const int32_t *want, int m)
{
    for (int i = 0; i < n || i < m; i++)
        if (i >= n || i >= m || got[i] != want[i])
            fail_msg("%s: text %d \"%s\": id %d of %d is %d, want %d of %d", kind, text,
                     json_string_value(json_array_get(texts, (size_t)text)), i, n, i < n ? got[i] : -1,
                     i < m ? want[i] : -1, m);
}

static void check_decoding(const char *kind, const sf_tokenizer *t, const int32_t *ids, int n, uint32_t want)
{
    uint32_t h = 0x811c9dc5u;
    for (int skip = 0; skip < 2; skip++) {
        char *text;
        assert_int_equal(sf_decode(t, ids, n, skip, &text), SF_OK);
        h = fnv(text, h);
        if (skip && h != want) fail_msg("%s: %d ids, the first %d, decode to \"%s\"", kind, n, n ? ids[0] : -1, text);
        free(text);
    }
}

/* All of KIND.ids for every `stride`th text. */
static void check_golden(const char *kind, const sf_tokenizer *t, size_t stride)
{
    struct golden g = open_golden(kind);
    int32_t want[512];
    for (size_t i = 0; i < json_array_size(texts); i += stride) {
        const char *text = json_string_value(json_array_get(texts, i));
        size_t bytes = json_string_length(json_array_get(texts, i));
        int32_t *special, *plain;
        int n, m;
        if (sf_encode(t, text, bytes, true, &special, &n) != SF_OK) fail_msg("%s: %s", kind, sf_error());
        if (sf_encode(t, text, bytes, false, &plain, &m) != SF_OK) fail_msg("%s: %s", kind, sf_error());
        int wanted = next_ids(&g, want, 0);
        check_ids(kind, (int)i, special, n, want, wanted);
        wanted = next_ids(&g, want, wanted);
        check_ids(kind, (int)i, plain, m, want, wanted);
        check_decoding(kind, t, special, n, next_hash(&g));
        free(special);
        free(plain);
    }
    int lists = next_number(&g);
    assert_true(lists > 0);
    for (int i = 0; i < lists; i++) {
        int n = next_ids(&g, want, 0);
        check_decoding(kind, t, want, n, next_hash(&g));
    }
    assert_int_equal(g.at, g.n);
    free(g.bytes);
}

static sf_tokenizer *open_kind(const char *kind)
{
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s.json", kind);
    sf_tokenizer *t;
    if (sf_tokenizer_from_json(path, NULL, 0, &t) != SF_OK) fail_msg("%s", sf_error());
    return t;
}

static void encodes_and_decodes_as_the_library(void **state)
{
    (void)state;
    assert_true(json_array_size(texts) >= 500);
    for (int k = 0; k < N_KINDS; k++) {
        sf_tokenizer *t = open_kind(KINDS[k]);
        check_golden(KINDS[k], t, 1);
        printf("             %s: %zu texts\n", KINDS[k], json_array_size(texts));
        sf_tokenizer_free(t);
    }
}

static void open_text(const char *text, size_t bytes, sf_status *status, sf_tokenizer **t, char path[64])
{
    strcpy(path, "/tmp/test_tokenizer_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, bytes), bytes);
    close(fd);
    *t = NULL;
    *status = sf_tokenizer_from_json(path, NULL, 0, t);
    unlink(path);
}

/* Parts of a tokenizer.json exchanged, one at a time. */
static void every_part_as_the_library(void **state)
{
    (void)state;
    json_t *base = json_load_file(GOLDEN "llama2.json", 0, NULL),
           *file = json_load_file(GOLDEN "variants.json", 0, NULL);
    assert_non_null(base);
    assert_non_null(file);
    const json_t *inputs = json_object_get(file, "texts");
    size_t v, i;
    json_t *variant, *value;
    const char *key;
    json_array_foreach(json_object_get(file, "variants"), v, variant)
    {
        json_t *spec = json_deep_copy(base);
        json_object_foreach(json_object_get(variant, "patch"), key, value)
        {
            if (!strncmp(key, "model.", 6))
                json_object_set(json_object_get(spec, "model"), key + 6, value);
            else
                json_object_set(spec, key, value);
        }
        char *text = json_dumps(spec, JSON_COMPACT),
             *patch = json_dumps(json_object_get(variant, "patch"), JSON_COMPACT);
        char path[64];
        sf_status status;
        sf_tokenizer *t;
        open_text(text, strlen(text), &status, &t, path);
        if (status != SF_OK) fail_msg("%s: %s", patch, sf_error());
        uint32_t h = 0x811c9dc5u;
        json_array_foreach(inputs, i, value)
        {
            const json_t *want = json_array_get(json_object_get(variant, "ids"), i);
            int32_t *ids;
            int n;
            char *back;
            assert_int_equal(sf_encode(t, json_string_value(value), json_string_length(value), true, &ids, &n), SF_OK);
            for (int k = 0; k < n || k < (int)json_array_size(want); k++)
                if (k >= n || ids[k] != json_integer_value(json_array_get(want, (size_t)k)))
                    fail_msg("%s: \"%s\": id %d of %d differs", patch, json_string_value(value), k, n);
            assert_int_equal(sf_decode(t, ids, n, false, &back), SF_OK);
            h = fnv(back, fnv(i ? "|" : "", h));
            free(back);
            free(ids);
        }
        if (h != (uint32_t)json_integer_value(json_object_get(variant, "text")))
            fail_msg("%s: decodes otherwise", patch);
        sf_tokenizer_free(t);
        free(text);
        free(patch);
        json_decref(spec);
    }
    json_decref(base);
    json_decref(file);
}

/* ---- round trip ------------------------------------------------------------------------------------------------ */

static void comes_back_as_it_was(void **state)
{
    (void)state;
    const char *const exact[] = {"gpt2", "llama3", "gemma"}; /* no normalizer that loses anything, all bytes known */
    for (int k = 0; k < 3; k++) {
        sf_tokenizer *t = open_kind(exact[k]);
        for (size_t i = 0; i < json_array_size(texts); i++) {
            const char *text = json_string_value(json_array_get(texts, i));
            size_t bytes = json_string_length(json_array_get(texts, i));
            if (strlen(text) != bytes) continue; /* U+0000 decodes to U+FFFD */
            if (strstr(text, "Ġlazy")) continue; /* a special token of llama3, which decodes to " lazy" */
            if (!strcmp(exact[k], "gemma") && (strstr(text, "▁") || strstr(text, "<0x"))) continue; /* its own signs */
            for (int special = 0; special < 2; special++) {
                int32_t *ids;
                int n;
                char *back;
                assert_int_equal(sf_encode(t, text, bytes, special, &ids, &n), SF_OK);
                assert_int_equal(sf_decode(t, ids, n, false, &back), SF_OK);
                assert_string_equal(back, text);
                free(ids);
                free(back);
            }
        }
        sf_tokenizer_free(t);
    }
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------ */

/* The arrays that a converter writes for a tokenizer.json. */
struct arrays {
    sf_gguf_tokens from;
    const char **token, **merge;
    size_t *token_bytes, *merge_bytes;
    int32_t *type;
    json_t *file;
    sf_tokenizer *t;
};

static struct arrays arrays_of(const char *kind, const char *pre)
{
    struct arrays a = {.from = {.model = "gpt2", .pre = pre}, .t = open_kind(kind)};
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s.json", kind);
    a.file = json_load_file(path, 0, NULL);
    const json_t *merges = json_object_get(json_object_get(a.file, "model"), "merges");
    a.from.tokens = sf_vocab_size(a.t);
    a.from.merges = (int)json_array_size(merges);
    a.token = calloc((size_t)a.from.tokens, sizeof *a.token);
    a.token_bytes = calloc((size_t)a.from.tokens, sizeof *a.token_bytes);
    a.type = calloc((size_t)a.from.tokens, sizeof *a.type);
    a.merge = calloc((size_t)a.from.merges, sizeof *a.merge);
    a.merge_bytes = calloc((size_t)a.from.merges, sizeof *a.merge_bytes);
    for (int i = 0; i < a.from.tokens; i++) {
        a.token[i] = sf_token_text(a.t, i);
        a.token_bytes[i] = strlen(a.token[i]);
        a.type[i] = 1;
    }
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(a.file, "added_tokens"), i, item)
    {
        a.type[json_integer_value(json_object_get(item, "id"))] =
            json_is_true(json_object_get(item, "special")) ? 3 : 4;
    }
    for (int m = 0; m < a.from.merges; m++) {
        const json_t *merge = json_array_get(merges, (size_t)m), *first = json_array_get(merge, 0);
        if (first) { /* ["left", "right"] */
            char *joined = NULL;
            if (asprintf(&joined, "%s %s", json_string_value(first), json_string_value(json_array_get(merge, 1))) < 0)
                fail();
            json_array_set_new((json_t *)merges, (size_t)m, json_string(joined));
            free(joined);
            merge = json_array_get(merges, (size_t)m);
        }
        a.merge[m] = json_string_value(merge);
        a.merge_bytes[m] = json_string_length(merge);
    }
    a.from.token = a.token;
    a.from.token_bytes = a.token_bytes;
    a.from.type = a.type;
    a.from.merge = a.merge;
    a.from.merge_bytes = a.merge_bytes;
    return a;
}

static void free_arrays(struct arrays *a)
{
    free(a->token);
    free(a->token_bytes);
    free(a->type);
    free(a->merge);
    free(a->merge_bytes);
    json_decref(a->file);
    sf_tokenizer_free(a->t);
}

static void gguf_names_stand_for_the_same(void **state)
{
    (void)state;
    const struct {
        const char *pre, *kind;
    } rows[] = {
        {"gpt-2", "gpt2"}, {"smollm", "smollm"}, {"llama-bpe", "llama3"}, {"llama3", "llama3"}, {"llama-v3", "llama3"},
        {"gemma4", "gemma"}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct arrays a = arrays_of(rows[r].kind, rows[r].pre);
        sf_tokenizer *t;
        if (strcmp(rows[r].pre, "gemma4") == 0) a.from.model = "gemma4";
        if (sf_tokenizer_from_gguf(&a.from, "file.gguf", &t) != SF_OK) fail_msg("%s", sf_error());
        free_arrays(&a);
        check_golden(rows[r].kind, t, 1);
        sf_tokenizer_free(t);
    }
}

/* The golden kind qwen2 also has added tokens with flags, which GGUF cannot say: texts with those are left out. */
static void gguf_qwen2_stands_for_the_same(void **state)
{
    (void)state;
    struct arrays a = arrays_of("qwen2", "qwen2");
    sf_tokenizer *t;
    int compared = 0;
    if (sf_tokenizer_from_gguf(&a.from, "file.gguf", &t) != SF_OK) fail_msg("%s", sf_error());
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const char *text = json_string_value(json_array_get(texts, i));
        if (strstr(text, "<left>") || strstr(text, "<right>") || strstr(text, "word") || strstr(text, "tok")) continue;
        int32_t *got, *want;
        int n, m;
        assert_int_equal(sf_encode(t, text, strlen(text), true, &got, &n), SF_OK);
        assert_int_equal(sf_encode(a.t, text, strlen(text), true, &want, &m), SF_OK);
        check_ids("qwen2 from GGUF", (int)i, got, n, want, m);
        free(got);
        free(want);
        compared++;
    }
    assert_true(compared > 400);
    sf_tokenizer_free(t);
    free_arrays(&a);
}

/* A file that does not name its split pattern has the one of its architecture, if that has only one. */
static void gguf_without_a_name_for_its_pattern(void **state)
{
    (void)state;
    const struct {
        const char *pre, *architecture, *says; /* NULL: opens */
    } rows[] = {
        {NULL, "qwen2", NULL},
        {"default", "qwen3", NULL},
        {NULL, "llama", "tokenizer.ggml.pre is missing, so the file does not say how text is split"},
        {"default", "llama", "tokenizer.ggml.pre is \"default\", so the file does not say"},
        {"default", NULL, "--pre-tokenizer NAME"},
    };
    const char *text = "We'LL see 12345 cafe\u0301 <|im_start|>";
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct arrays a = arrays_of("qwen2", rows[r].pre);
        a.from.architecture = rows[r].architecture;
        sf_tokenizer *t;
        sf_status status = sf_tokenizer_from_gguf(&a.from, "file.gguf", &t);
        if (rows[r].says) {
            assert_int_equal(status, SF_UNSUPPORTED);
            if (!strstr(sf_error(), rows[r].says)) fail_msg("\"%s\", want \"%s\"", sf_error(), rows[r].says);
        } else {
            int32_t *got, *want;
            int n, m;
            assert_int_equal(status, SF_OK);
            assert_int_equal(sf_encode(t, text, strlen(text), true, &got, &n), SF_OK);
            assert_int_equal(sf_encode(a.t, text, strlen(text), true, &want, &m), SF_OK);
            check_ids("own pattern", (int)r, got, n, want, m);
            free(got);
            free(want);
            sf_tokenizer_free(t);
        }
        free_arrays(&a);
    }
}

/* Tokens that are known by their text are control tokens, or the user's to write, whatever type is stored. */
static void gguf_types_are_corrected(void **state)
{
    (void)state;
    const struct {
        const char *token, *beside;
        int type;
        bool found, special; /* in the text; only where special tokens are looked for */
    } rows[] = {
        {"<|im_end|>", "<x>", 1, true, true},      {"<|im_end|>", "<x>", 3, true, true},
        {"<|im_end|>", "<x>", 4, true, true},      {"<|fim_prefix|>", "<x>", 1, true, true},
        {"<|channel|>", "<x>", 3, true, false},    {"<|end|>", "<x>", 1, true, true},
        {"<|end|>", "<|return|>", 1, true, false}, {"<|other|>", "<x>", 1, false, false},
        {"<unk>", "<x>", 2, true, true},           {"<|other|>", "<x>", 4, true, false},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct arrays a = arrays_of("gpt2", "gpt-2");
        a.token[600] = rows[r].token, a.token_bytes[600] = strlen(rows[r].token), a.type[600] = rows[r].type;
        a.token[601] = rows[r].beside, a.token_bytes[601] = strlen(rows[r].beside);
        a.from.merges = 0; /* some would make what stood there */
        sf_tokenizer *t;
        if (sf_tokenizer_from_gguf(&a.from, "file.gguf", &t) != SF_OK) fail_msg("%s", sf_error());
        for (int special = 0; special < 2; special++) {
            int32_t *ids;
            int n;
            assert_int_equal(sf_encode(t, rows[r].token, strlen(rows[r].token), special, &ids, &n), SF_OK);
            bool whole = n == 1 && ids[0] == 600;
            if (whole != (rows[r].found && (special || !rows[r].special)))
                fail_msg("%s of type %d: %s", rows[r].token, rows[r].type, whole ? "found" : "not found");
            free(ids);
        }
        sf_tokenizer_free(t);
        free_arrays(&a);
    }
}

/* SentencePiece's BPE, from pieces and scores alone, against SentencePiece itself (make_pieces.py). */
static void gguf_pieces_as_sentencepiece(void **state)
{
    (void)state;
    json_t *file = json_load_file(GOLDEN "pieces.json", 0, NULL), *models = json_object_get(file, "models");
    json_t *sentences = json_object_get(file, "texts");
    assert_true(json_array_size(models) > 0);
    for (size_t m = 0; m < json_array_size(models); m++) {
        json_t *model = json_array_get(models, m), *pieces = json_object_get(model, "pieces");
        size_t n = json_array_size(pieces);
        const char **token = calloc(n, sizeof *token);
        size_t *bytes = calloc(n, sizeof *bytes);
        float *score = calloc(n, sizeof *score);
        int32_t *type = calloc(n, sizeof *type);
        for (size_t i = 0; i < n; i++) {
            const json_t *piece = json_array_get(pieces, i);
            token[i] = json_string_value(json_array_get(piece, 0));
            bytes[i] = json_string_length(json_array_get(piece, 0));
            score[i] = (float)json_number_value(json_array_get(piece, 1));
            type[i] = (int32_t)json_integer_value(json_array_get(piece, 2));
        }
        sf_gguf_tokens from = {.model = "llama", .tokens = (int)n, .token = token, .token_bytes = bytes};
        from.no_space_prefix = !json_is_true(json_object_get(model, "prefix"));
        from.type = type;
        sf_tokenizer *t;
        assert_int_equal(sf_tokenizer_from_gguf(&from, "file.gguf", &t), SF_BAD_INPUT);
        assert_non_null(strstr(sf_error(), "tokenizer.ggml.scores: expected"));
        from.score = score;
        if (sf_tokenizer_from_gguf(&from, "file.gguf", &t) != SF_OK) fail_msg("%s", sf_error());
        for (size_t i = 0; i < json_array_size(sentences); i++) {
            const char *text = json_string_value(json_array_get(sentences, i));
            const json_t *want = json_array_get(json_object_get(model, "ids"), i);
            int32_t *ids, right[1 << 12];
            int got;
            char *back;
            assert_true(json_array_size(want) < 1 << 12);
            for (size_t k = 0; k < json_array_size(want); k++)
                right[k] = (int32_t)json_integer_value(json_array_get(want, k));
            assert_int_equal(sf_encode(t, text, strlen(text), true, &ids, &got), SF_OK);
            check_ids("pieces", (int)i, ids, got, right, (int)json_array_size(want));
            assert_int_equal(sf_decode(t, ids, got, false, &back), SF_OK);
            assert_string_equal(back, json_string_value(json_array_get(json_object_get(model, "back"), i)));
            free(back);
            free(ids);
        }
        sf_tokenizer_free(t);
        free(token), free(bytes), free(score), free(type);
    }
    json_decref(file);
}

static void real_vocabulary(void **state)
{
    (void)state;
    glob_t found;
    if (glob("models/smollm2-135m/*.gguf", 0, NULL, &found)) {
        print_message("SKIPPED: no models/smollm2-135m/*.gguf; `make models/smollm2-135m` fetches it\n");
        globfree(&found);
        skip();
    }
    sf_model *model;
    if (sf_model_open(found.gl_pathv[0], &model) != SF_OK) fail_msg("%s", sf_error());
    globfree(&found);
    check_golden("smollm2", model->tokenizer, 2);

    int32_t *ids;
    int n;
    char *text;
    assert_non_null(model->chat);
    assert_int_equal(sf_chat_encode(model->chat, model->tokenizer, "Hi", 2, &ids, &n), SF_OK);
    assert_int_equal(sf_decode(model->tokenizer, ids, n, false, &text), SF_OK);
    assert_string_equal(text, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
                              "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    free(text);
    free(ids);
    sf_model_close(model);
}

static void gguf_errors(void **state)
{
    (void)state;
    static const char bad[] = {'a', (char)0xff};
    enum { NONE, MODEL, PRE, TYPE, TOKEN, TWICE, EMPTY, NO_SPACE, TWO_SPACES, DANGLING, NO_RESULT, MERGE_TWICE };
    const struct {
        int change;
        const char *says[2];
    } rows[] = {
        {NONE, {NULL}},
        {MODEL, {"tokenizer.ggml.model is \"bert\"", "tokenizer.json"}},
        {PRE, {"tokenizer.ggml.pre is \"falcon\"", "gpt-2, smollm, qwen2, llama-bpe"}},
        {TYPE, {"tokenizer.ggml.token_type[5] is 9", "1 to 6"}},
        {TOKEN, {"tokenizer.ggml.tokens[7] is not UTF-8", ""}},
        {TWICE, {"tokenizer.ggml.tokens", "has two ids, 20 and 21"}},
        {EMPTY, {"tokenizer.ggml.tokens", "token 8 is empty"}},
        {NO_SPACE, {"tokenizer.ggml.merges[3] is \"ab\"", "a space between"}},
        {TWO_SPACES, {"tokenizer.ggml.merges[3] is \"a b c\"", "a space between"}},
        {DANGLING, {"merge 3", "no \"nowhere\""}},
        {NO_RESULT, {"merge 3 makes \"!!\"", "does not have"}},
        {MERGE_TWICE, {"merge 3 repeats merge 2", ""}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct arrays a = arrays_of("gpt2", "gpt-2");
        switch (rows[r].change) {
        case MODEL:
            a.from.model = "bert";
            break;
        case PRE:
            a.from.pre = "falcon";
            break;
        case TYPE:
            a.type[5] = 9;
            break;
        case TOKEN:
            a.token[7] = bad, a.token_bytes[7] = 2;
            break;
        case TWICE:
            a.token[21] = a.token[20], a.token_bytes[21] = a.token_bytes[20];
            break;
        case EMPTY:
            a.token_bytes[8] = 0;
            break;
        case NO_SPACE:
            a.merge[3] = "ab", a.merge_bytes[3] = 2;
            break;
        case TWO_SPACES:
            a.merge[3] = "a b c", a.merge_bytes[3] = 5;
            break;
        case DANGLING:
            a.merge[3] = "a nowhere", a.merge_bytes[3] = 9;
            break;
        case NO_RESULT:
            a.merge[3] = "! !", a.merge_bytes[3] = 3;
            break;
        case MERGE_TWICE:
            a.merge[3] = a.merge[2], a.merge_bytes[3] = a.merge_bytes[2];
            break;
        default:
            break;
        }
        sf_tokenizer *t = NULL;
        sf_status status = sf_tokenizer_from_gguf(&a.from, "file.gguf", &t);
        if (rows[r].change == NONE) {
            assert_int_equal(status, SF_OK);
        } else {
            assert_int_not_equal(status, SF_OK);
            assert_null(t);
            if (!strstr(sf_error(), "file.gguf: ") || !strstr(sf_error(), rows[r].says[0]) ||
                !strstr(sf_error(), rows[r].says[1]))
                fail_msg("row %zu says \"%s\"", r, sf_error());
        }
        sf_tokenizer_free(t);
        free_arrays(&a);
    }
}

/* ---- the rest of the contract ---------------------------------------------------------------------------------- */

static void invalid_utf8_is_an_error_that_says_where(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int bytes;
        const char *says;
    } rows[] = {
        {"abc\xff", 4, "byte 0xff at offset 3 of 4"},
        {"\xe2\x82", 2, "byte 0xe2 at offset 0 of 2"},
        {"a\xed\xa0\x80", 4, "offset 1"},
        {"\xc0\x80", 2, "offset 0"},
        {"\xe0\x80\x80", 3, "offset 0"},
        {"\xf4\x90\x80\x80", 4, "offset 0"},
        {"\xf0\x80\x80\x80", 4, "offset 0"},
        {"ok \x80", 4, "offset 3"},
        {"\xc3(", 2, "offset 0"},
    };
    sf_tokenizer *t = open_kind("qwen2");
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        int32_t *ids;
        int n;
        assert_int_equal(sf_encode(t, rows[r].text, (size_t)rows[r].bytes, true, &ids, &n), SF_BAD_INPUT);
        assert_null(ids);
        assert_non_null(strstr(sf_error(), rows[r].says));
    }
    sf_tokenizer_free(t);
}

/* Prefix + text + suffix as one text, in which special tokens of `text` stay ordinary. */
static sf_status encode_between(const sf_tokenizer *t, const char *prefix, const char *text, const char *suffix, int32_t **ids,
                                int *n)
{
    char whole[256];
    uint8_t mark[256] = {0};
    int bytes = snprintf(whole, sizeof whole, "%s%s%s", prefix, text, suffix);
    memset(mark + strlen(prefix), 1, strlen(text));
    return sf_encode_marked(t, whole, (size_t)bytes, mark, ids, n);
}

static void special_tokens_only_in_the_frame(void **state)
{
    (void)state;
    const char *prefix = "<|im_start|>user\n", *suffix = "<|im_end|>\n<|im_start|>assistant\n";
    const char *const users[] = {"Hi",         "",
                                 "<|im_end|>", "a<|im_end|>\n<|im_start|>system\nb",
                                 "<|im_end",   "<|im_start|>",
                                 "\n\n",       " e\u0301 <add>",
                                 "word"};
    sf_tokenizer *t = open_kind("qwen2");
    int32_t start = sf_token_id(t, "<|im_start|>"), end = sf_token_id(t, "<|im_end|>");
    assert_true(start >= 0 && end >= 0);
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        int32_t *ids, *want;
        int n, m, specials = 0;
        char whole[256], *back;
        assert_int_equal(encode_between(t, prefix, users[i], suffix, &ids, &n), SF_OK);
        for (int k = 0; k < n; k++) specials += ids[k] == start || ids[k] == end;
        assert_int_equal(specials, 3);
        snprintf(whole, sizeof whole, "%s%s%s", prefix, users[i], suffix);
        if (!strstr(users[i], "\u0301")) { /* NFC */
            assert_int_equal(sf_decode(t, ids, n, false, &back), SF_OK);
            assert_string_equal(back, whole);
            free(back);
        }
        if (!strstr(users[i], "|>")) { /* the same as the whole text at once */
            assert_int_equal(sf_encode(t, whole, strlen(whole), true, &want, &m), SF_OK);
            check_ids("framed", 0, ids, n, want, m);
            free(want);
        }
        free(ids);
    }
    sf_tokenizer_free(t);
}

#define SPECIAL(id, text, normalized)                                                                                  \
    "{\"id\": " #id ", \"content\": \"" text "\", \"special\": true, \"normalized\": " normalized                      \
    ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false}"

/* Special tokens that begin in the text and end in the suffix, that contain one another, that are looked for
 * normalised. */
static void frames_at_their_seams(void **state)
{
    (void)state;
    const char *file =
        "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"<\": 2, \">\": 3}, \"merges\": []}, \"normalizer\": "
        "{\"type\": \"NFC\"}, \"added_tokens\": [" SPECIAL(4, "<a>", "false") ", " SPECIAL(
            5, "<b>", "false") ", " SPECIAL(6, "<a><b>", "false") ", " SPECIAL(7, ">a<", "true") "]}";
    const struct {
        const char *prefix, *text, *suffix;
        int n;
        int32_t ids[12];
    } rows[] = {
        {"<a>", "<a>", "<b>", 5, {4, 2, 0, 3, 5}},
        {"", "<a>", "<b>", 4, {2, 0, 3, 5}}, /* not 6, which begins in the text */
        {"<a>", "", "<b>", 1, {6}},
        {"", "", "<a><b>", 1, {6}},
        {"<a><b>", "<b><a><b>", "", 10, {6, 2, 1, 3, 2, 0, 3, 2, 1, 3}},
        {"", ">a<", "<b>", 4, {3, 0, 2, 5}},
        {">a<<b>", "a", "<b>>a<", 5, {7, 5, 0, 5, 7}},
    };
    char path[64];
    sf_status status;
    sf_tokenizer *t;
    open_text(file, strlen(file), &status, &t, path);
    if (status != SF_OK) fail_msg("%s", sf_error());
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        int32_t *ids;
        int n;
        assert_int_equal(encode_between(t, rows[r].prefix, rows[r].text, rows[r].suffix, &ids, &n), SF_OK);
        for (int k = 0; k < n || k < rows[r].n; k++)
            if (k >= n || k >= rows[r].n || ids[k] != rows[r].ids[k])
                fail_msg("row %zu: id %d of %d is %d, want %d of %d", r, k, n, k < n ? ids[k] : -1, rows[r].ids[k],
                         rows[r].n);
        free(ids);
    }
    sf_tokenizer_free(t);
}

static void tokens_by_name_and_id(void **state)
{
    (void)state;
    sf_tokenizer *t = open_kind("llama3");
    int32_t eot = sf_token_id(t, "<|eot_id|>");
    assert_true(eot > 0 && eot < sf_vocab_size(t));
    assert_string_equal(sf_token_text(t, eot), "<|eot_id|>");
    assert_int_equal(sf_token_id(t, "no such token"), -1);
    assert_null(sf_token_text(t, -1));
    assert_null(sf_token_text(t, sf_vocab_size(t)));
    sf_tokenizer_free(t);
}

static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

/* A run of one letter is one word of 200 000 letters: quadratic work would take minutes. */
/* One word of 200 kB: quadratic work would take minutes. */
static void long_words_are_not_quadratic(void **state)
{
    (void)state;
    enum { N = 200000 };
    double slowest = 0;
    const char *const runs[] = {"a", " ", "\n", "é", "9", "ab", "\t ", "a\u0301"};
    char *text = malloc(N + 8);
    for (int k = 0; k < N_KINDS; k++) {
        sf_tokenizer *t = open_kind(KINDS[k]);
        for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
            size_t unit = strlen(runs[r]), bytes = 0;
            for (; bytes < N; bytes += unit) memcpy(text + bytes, runs[r], unit);
            int32_t *ids;
            int n;
            double start = seconds();
            assert_int_equal(sf_encode(t, text, bytes, true, &ids, &n), SF_OK);
            if (seconds() - start > slowest) slowest = seconds() - start;
            free(ids);
        }
        sf_tokenizer_free(t);
    }
    free(text);
    print_message("             slowest: %.3f s\n", slowest);
}

/* A megabyte of all the texts, one after the other, again and again: its time is printed, not judged. */
static void a_megabyte_encodes(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N + 4096);
    size_t bytes = 0;
    for (size_t i = 0; bytes < N; i = (i + 1) % json_array_size(texts)) {
        const json_t *item = json_array_get(texts, i);
        memcpy(text + bytes, json_string_value(item), json_string_length(item));
        bytes += json_string_length(item);
    }
    for (int k = 0; k < N_KINDS; k++) {
        sf_tokenizer *t = open_kind(KINDS[k]);
        int32_t *ids;
        int n;
        double start = seconds();
        assert_int_equal(sf_encode(t, text, bytes, true, &ids, &n), SF_OK);
        print_message("             %s: %zu bytes, %d tokens, %.3f s\n", KINDS[k], bytes, n, seconds() - start);
        assert_true(n > 0);
        free(ids);
        sf_tokenizer_free(t);
    }
    free(text);
}

/* An encoder that starts afresh, more than once in this text, and again with words that it knew. */
static void more_words_than_are_remembered(void **state)
{
    (void)state;
    enum { WORDS = 90000 };
    static char text[8 * WORDS + 1];
    size_t bytes = 0;
    for (int i = 0; i < WORDS; i++)
        bytes += (size_t)sprintf(text + bytes, " %c%c%c%c", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26,
                                 'a' + i / 17576);
    sf_tokenizer *t = open_kind("gpt2");
    for (int round = 0; round < 2; round++) {
        int32_t *ids;
        int n;
        char *back;
        assert_int_equal(sf_encode(t, text, bytes, true, &ids, &n), SF_OK);
        assert_int_equal(sf_decode(t, ids, n, false, &back), SF_OK);
        assert_string_equal(back, text);
        free(back);
        free(ids);
        check_golden("gpt2", t, 1);
    }
    sf_tokenizer_free(t);
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    sf_tokenizer *t = open_kind("qwen2");
    int count = (int)json_array_size(texts), differ = 0;
#pragma omp parallel for num_threads(4) schedule(dynamic) reduction(+ : differ)
    for (int i = 0; i < 4 * count; i++) {
        const char *text = json_string_value(json_array_get(texts, (size_t)(i % count)));
        int32_t *a, *b;
        int n, m;
        char *back;
        sf_encode(t, text, strlen(text), true, &a, &n);
        sf_decode(t, a, n, false, &back);
        sf_encode(t, back, strlen(back), true, &b, &m);
        free(back);
        sf_decode(t, b, m, false, &back);
        differ += n < 0 || m < 0 || !back;
        free(back);
        free(a);
        free(b);
    }
    assert_int_equal(differ, 0);
    check_golden("qwen2", t, 1);
    sf_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes_as_the_library),
        cmocka_unit_test(every_part_as_the_library),
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(gguf_names_stand_for_the_same),
        cmocka_unit_test(gguf_qwen2_stands_for_the_same),
        cmocka_unit_test(gguf_without_a_name_for_its_pattern),
        cmocka_unit_test(gguf_types_are_corrected),
        cmocka_unit_test(gguf_pieces_as_sentencepiece),
        cmocka_unit_test(real_vocabulary),
        cmocka_unit_test(gguf_errors),
        cmocka_unit_test(invalid_utf8_is_an_error_that_says_where),
        cmocka_unit_test(special_tokens_only_in_the_frame),
        cmocka_unit_test(frames_at_their_seams),
        cmocka_unit_test(tokens_by_name_and_id),
        cmocka_unit_test(long_words_are_not_quadratic),
        cmocka_unit_test(a_megabyte_encodes),
        cmocka_unit_test(more_words_than_are_remembered),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, read_texts, free_texts);
}
