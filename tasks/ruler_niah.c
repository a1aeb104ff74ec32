/* The eight NIAH tasks of RULER: needles of one form in a haystack of noise, of prose, or of other needles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/haystack.h"
#include "tasks/random.h"
#include "tasks/ruler.h"
#include "tasks/score.h"
#include "tasks/suite.h"
#include "tasks/unique.h"
#include "tasks/words.h"

enum haystack { NOISE, PROSE, NEEDLES };
enum kind { WORDS, NUMBERS, UUIDS };
enum { MOST_KEYS = 32, MOST_VALUES = 8, MOST_NEEDLES = 40, MOST_BYTES = 40 };

struct params {
    int haystack, key, value;  /* kinds */
    int keys, values, queries; /* keys in the text, values of each, keys asked about (keys is at least that) */
    double depth;
    const char *text;
    sf_ruler_params ruler;
};

typedef struct ruler_niah {
    const struct params *p;
    sf_random base;
    int keys, needles;
    char key[MOST_KEYS][MOST_BYTES];      /* [keys] the first `queries` are asked about */
    char value[MOST_NEEDLES][MOST_BYTES]; /* [needles = keys × values] key by key */
    sf_prose prose;
    sf_ruler_words words;
} ruler_niah;

static const char *const many[] = {[WORDS] = "words", [NUMBERS] = "numbers", [UUIDS] = "UUIDs"};
static const char *const ruler_many[] = {[WORDS] = "words", [NUMBERS] = "numbers", [UUIDS] = "uuids"};
static const char *const one[] = {[WORDS] = "word", [NUMBERS] = "number", [UUIDS] = "UUID"};

/* A word is two of the most common English words joined by '-'; a number has seven digits; a UUID is of version 4. */
static void draw(sf_random *r, enum kind kind, sf_unique *seen, char out[MOST_BYTES])
{
    do {
        if (kind == WORDS) {
            const char *first = sf_word((int)sf_random_below(r, 5000)),
                       *second = sf_word((int)sf_random_below(r, 5000));
            snprintf(out, MOST_BYTES, "%s-%s", first, second);
        } else if (kind == NUMBERS) {
            snprintf(out, MOST_BYTES, "%d", sf_random_between(r, 1000000, 9999999));
        } else {
            uint64_t high = sf_random_next(r), low = sf_random_next(r);
            snprintf(out, MOST_BYTES, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(high >> 32),
                     (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xfff), (unsigned)(low >> 48 & 0x3fff) | 0x8000,
                     (unsigned long long)(low & 0xffffffffffff));
        }
    } while (!sf_unique_add(seen, out, strlen(out)));
}

/* RULER's form of a needle: {type_needle_v}, {key}, {value}. */
static void add_in_form(const ruler_niah *n, const char *key, const char *value, sf_text *out)
{
    const struct {
        const char *name, *with;
    } field[] = {{"{type_needle_v}", ruler_many[n->p->value]}, {"{key}", key}, {"{value}", value}};
    for (const char *at = n->words.code; *at;) {
        int i = 0;
        while (i < 3 && strncmp(at, field[i].name, strlen(field[i].name)) != 0) i++;
        if (i < 3) sf_text_add(out, field[i].with), at += strlen(field[i].name);
        else sf_text_char(out, *at++);
    }
}

static void add_needle(const ruler_niah *n, const char *key, const char *value, sf_text *out)
{
    if (n->words.code) {
        add_in_form(n, key, value, out);
        return;
    }
    sf_text_format(out, "One of the secret %s of %s is: %s.", many[n->p->value], key, value);
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* Needle i goes before row place[i] of `rows` (before: the end, if it is `rows`). In prose RULER takes different ones
 * of 40 evenly spaced depths, in whole per cent; elsewhere any rows, and in its own words different ones, none of them the end. If
 * the user gives a depth, all go before row `wanted`. */
static void choose_places(const ruler_niah *n, int rows, int wanted, int place[MOST_NEEDLES])
{
    sf_random r = sf_random_fork(&n->base, 2);
    int depth[MOST_NEEDLES];
    sf_random_pick(&r, 40, depth, n->needles);
    if (n->words.prompt && n->p->haystack != PROSE) sf_random_pick(&r, rows, place, n->needles);
    for (int i = 0; i < n->needles; i++) {
        if (n->p->depth >= 0)
            place[i] = wanted;
        else if (n->words.prompt && n->p->haystack == PROSE)
            place[i] = (int)(rows * ((depth[i] * 200 + 39) / 78 / 100.0)); /* rounded as there */
        else if (n->p->haystack == PROSE)
            place[i] = (int)((int64_t)rows * ((depth[i] * 200 + 39) / 78) / 100);
        else if (!n->words.prompt)
            place[i] = (int)sf_random_below(&r, (uint32_t)rows + 1);
    }
    qsort(place, (size_t)n->needles, sizeof *place, by_value);
}

/* Lines of noise or of other needles, the needles on lines of their own. */
static bool write_lines(const ruler_niah *n, int units, const int *order, sf_unique *seen, sf_text *out)
{
    bool noise = n->p->haystack == NOISE;
    int rows = noise && !n->words.noise ? (units + SF_NOISE_PERIOD - 1) / SF_NOISE_PERIOD : units, place[MOST_NEEDLES];
    choose_places(n, rows, (int)(n->p->depth * rows), place);
    sf_random r = sf_random_fork(&n->base, 3);
    for (int row = 0, next = 0, sentence = 0; row <= rows; row++) {
        for (; next < n->needles && place[next] == row; next++) {
            if (out->size) sf_text_char(out, '\n');
            add_needle(n, n->key[order[next] / n->p->values], n->value[order[next]], out);
        }
        if (row == rows) break;
        if (out->size) sf_text_char(out, '\n');
        if (noise && n->words.noise) {
            sf_text_add(out, n->words.noise);
        } else if (noise) {
            sentence = sf_noise_line(sentence, units, out);
        } else {
            char key[MOST_BYTES], value[MOST_BYTES];
            draw(&r, (enum kind)n->p->key, seen, key);
            draw(&r, (enum kind)n->p->value, seen, value);
            add_needle(n, key, value, out);
        }
    }
    return !seen->failed;
}

/* The first `units` words of the prose, the needles between its sentences. */
static void write_prose(const ruler_niah *n, int units, const int *order, sf_text *out)
{
    const sf_prose *prose = &n->prose;
    int place[MOST_NEEDLES], sentences = 0, before = 0;
    for (int i = 0; i < units; i++) {
        if (i == (int)(n->p->depth * units)) before = sentences;
        sentences += prose->word[i % prose->words].ends;
    }
    choose_places(n, sentences, n->p->depth < 1 ? before : sentences, place);
    for (int from = 0, next = 0, sentence = 0, i = 0; i <= units; i++) { /* i: words before this place */
        sentence += i > 0 && prose->word[(i - 1) % prose->words].ends;
        bool here = next < n->needles && place[next] == sentence;
        if (!here && i < units) continue;
        const bool joined = n->words.prompt && next > 0; /* RULER joins stretches and needles by spaces, and empty stretches too */
        if (joined || (out->size && i > from)) sf_text_char(out, ' ');
        sf_prose_add(prose, from, i, out);
        from = i;
        for (bool again = false; next < n->needles && place[next] == sentence; next++, again = true) {
            if (out->size || n->words.prompt) sf_text_char(out, ' ');
            if (again && n->words.prompt) sf_text_char(out, ' ');
            add_needle(n, n->key[order[next] / n->p->values], n->value[order[next]], out);
        }
        if (i == units && here && n->words.prompt) sf_text_char(out, ' '); /* no stretch is left, and joined */
    }
}

/* Keys and values, always the same ones, and the order in which they stand in the text. */
static void draw_needles(ruler_niah *n, sf_unique *seen, int order[MOST_NEEDLES])
{
    sf_random r = sf_random_fork(&n->base, 1);
    for (int i = 0; i < n->keys; i++) draw(&r, (enum kind)n->p->key, seen, n->key[i]);
    for (int i = 0; i < n->needles; i++) {
        draw(&r, (enum kind)n->p->value, seen, n->value[i]);
        order[i] = i;
    }
    sf_random_shuffle(&r, order, n->needles);
}

/* "one, two, and three"; "one and two", or as RULER has it, "one, and two". */
static void add_queries(const ruler_niah *n, bool comma, sf_text *out)
{
    const int all = n->p->queries;
    for (int i = 0; i < all; i++)
        sf_text_format(out, "%s%s", i == 0 ? "" : i + 1 < all ? ", " : all > 2 || comma ? ", and " : " and ", n->key[i]);
}

/* "the secret numbers of one, two, and three" */
static void add_asked(const ruler_niah *n, sf_text *out)
{
    const struct params *p = n->p;
    sf_text_format(out, "the secret %s of ", p->queries * p->values == 1 ? one[p->value] : many[p->value]);
    add_queries(n, false, out);
}

/* RULER's template; of one question, made singular as there. */
static sf_status read_words(ruler_niah *n, const sf_request *request)
{
    static const char *const singular[][2] = {{"Some", "A"}, {"are all", "is"}, {"are", "is"}, {"answers", "answer"}};
    const struct params *p = n->p;
    const bool single = p->queries * p->values == 1;
    SF_TRY(sf_ruler_read("ruler_niah", &p->ruler, &request->prompting, "niah", "needle", p->haystack == NOISE ? "haystack#1" : NULL, &n->words));
    if (!n->words.prompt) return SF_OK;
    char *kind = strdup(ruler_many[p->value]);
    if (!kind) return sf_fail(SF_NO_MEMORY, "ruler_niah: no memory");
    if (single) kind[strlen(kind) - 1] = 0;
    sf_status status = SF_OK;
    for (int i = 0; single && i < 4 && status == SF_OK; i++) status = sf_ruler_replace(&n->words, singular[i][0], singular[i][1]);
    if (status == SF_OK) status = sf_ruler_replace(&n->words, "{type_needle_v}", kind);
    free(kind);
    return status == SF_OK ? sf_ruler_filled("ruler_niah", &n->words) : status;
}

/* The user's prose; of RULER's, the essays that its script fetches; or a novel. */
static sf_status open_prose(ruler_niah *n)
{
    const struct params *p = n->p;
    if (p->haystack != PROSE) return SF_OK;
    if (p->text || !n->words.prompt) return sf_prose_open(p->text, &n->prose);
    char path[4096], *essays;
    snprintf(path, sizeof path, "%s/json/PaulGrahamEssays.json", p->ruler.repository);
    SF_TRY(sf_blame(sf_suite_member(path, "text", &essays), "ruler_niah: RULER's essays, which its json/download_paulgraham_essay.py fetches, or "
                    "`text` with a file of yours"));
    return sf_prose_of(essays, path, &n->prose);
}

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    ruler_niah *n = self;
    const struct params *p = n->p;
    sf_unique seen = {0};
    int order[MOST_NEEDLES];
    draw_needles(n, &seen, order);

    if (p->haystack == PROSE)
        write_prose(n, units, order, context);
    else
        write_lines(n, units, order, &seen, context);
    bool failed = seen.failed;
    sf_unique_free(&seen);

    if (n->words.prompt) {
        add_queries(n, true, question);
        return failed ? sf_fail(SF_NO_MEMORY, "ruler_niah: no memory for %d units of haystack", units) : SF_OK;
    }
    sf_text_add(question, p->queries * p->values == 1 ? "What is " : "What are all ");
    add_asked(n, question);
    sf_text_add(question, " that the text gives?");
    return failed ? sf_fail(SF_NO_MEMORY, "ruler_niah: no memory for %d units of haystack", units) : SF_OK;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    int keys = p->keys > p->queries ? p->keys : p->queries;
    if (keys * p->values > MOST_NEEDLES)
        return sf_fail(SF_BAD_INPUT, "ruler_niah: %d keys with %d values each; at most %d needles can be hidden", keys,
                       p->values, MOST_NEEDLES);
    ruler_niah *n = calloc(1, sizeof *n);
    if (!n) return sf_fail(SF_NO_MEMORY, "ruler_niah: no memory");
    n->p = p;
    char stream[80]; /* the eight tasks share no needles */
    snprintf(stream, sizeof stream, "ruler_niah %d %d %d %d %d %d", p->haystack, p->key, p->value, keys, p->values,
             p->queries);
    n->base = sf_random_stream(stream, request->seed, request->index);
    n->keys = keys;
    n->needles = keys * p->values;

    bool single = p->queries * p->values == 1;
    char introduction[300],
        closing[100]; /* one question: one secret is spoken of, as RULER does, whatever else is there */
    if (single)
        snprintf(introduction, sizeof introduction,
                 "A secret %s is written down somewhere in the text below. Read the text with "
                 "care: you will be asked for the %s afterwards.",
                 one[p->value], one[p->value]);
    else
        snprintf(introduction, sizeof introduction,
                 "Several secret %s are written down here and there in the text below. Read "
                 "the text with care: you will be asked for some of the %s afterwards.",
                 many[p->value], many[p->value]);
    sf_text prefix = {0}; /* "The secret number of one is" */
    sf_status status = read_words(n, request);
    if (status == SF_OK && p->ruler.answer_prefix) {
        sf_unique seen = {0};
        draw_needles(n, &seen, (int[MOST_NEEDLES]){0});
        sf_unique_free(&seen);
        if (n->words.answer) {
            sf_text queries = {0};
            add_queries(n, true, &queries);
            sf_ruler_format(&prefix, n->words.answer, "", queries.data ? queries.data : "");
            sf_text_free(&queries);
        } else {
            add_asked(n, &prefix);
            sf_text_add(&prefix, single ? " is" : " are");
            if (!prefix.failed) prefix.data[0] = 'T';
        }
    }
    snprintf(closing, sizeof closing,
             single ? "Answer with the %s alone." : "Answer with the %s alone, separated by commas.",
             single ? one[p->value] : many[p->value]);
    const sf_prompt prompt = {
        .task = "ruler_niah",
        .introduction = introduction,
        .whole = n->words.prompt,
        .closing = closing,
        .plain = true,
        .answer_prefix = prefix.data,
        .place = SF_QUESTION_AFTER,
    };
    static const char *const units[] = {
        [NOISE] = "neutral sentences", [PROSE] = "words of prose", [NEEDLES] = "other needles"};
    const sf_content content = {.self = n,
                                .unit = units[p->haystack],
                                .least = n->words.prompt ? n->needles : 0,
                                .most = 1 << 24,
                                .pad = p->haystack == NEEDLES && !n->words.prompt ? sf_noise : NULL,
                                .write = write};
    if (status == SF_OK && prefix.failed) status = sf_fail(SF_NO_MEMORY, "ruler_niah: no memory");
    if (status == SF_OK) status = open_prose(n);
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    for (int i = 0; i < p->queries * p->values && status == SF_OK; i++) status = sf_sample_gold(out, n->value[i]);
    if (status == SF_OK) status = sf_ruler_answer(out, ", ");
    if (status != SF_OK) sf_sample_free(out);
    sf_prose_close(&n->prose);
    sf_text_free(&prefix);
    sf_ruler_free(&n->words);
    free(n);
    return status;
}

/* One row a task: what it hides, how many of them, and in what. */
#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
#define KINDS    .type = SF_CHOICE, .choices = "words|numbers|uuids"
#define VARIANT(id, about, haystack_, key_, value_, keys_, values_, queries_)                                          \
    const sf_task sf_ruler_niah_##id = {                                                                               \
        .abi = SF_TASK_ABI,                                                                                            \
        .name = "ruler_niah_" #id,                                                                                     \
        .summary = about,                                                                                              \
        .source = SF_RULER_SOURCE,                                                                                     \
        .metric = "string match, all",                                                                                 \
        .version = 2,                                                                                                  \
        .output = 128,                                                                                                 \
        .params =                                                                                                      \
            (const sf_param[]){                                                                                        \
                {FIELD(haystack), .type = SF_CHOICE, .choices = "noise|prose|needles", .initial = haystack_,           \
                 .doc = "what the needles are hidden in"},                                                             \
                {FIELD(key), KINDS, .initial = key_, .doc = "what keys are"},                                          \
                {FIELD(value), KINDS, .initial = value_, .doc = "what values are"},                                    \
                {FIELD(keys), .type = SF_INT, .low = 1, .high = MOST_KEYS, .initial = keys_,                           \
                 .doc = "keys with needles, at least as many as queries"},                                             \
                {FIELD(values), .type = SF_INT, .low = 1, .high = MOST_VALUES, .initial = values_,                     \
                 .doc = "values of each key, each a needle"},                                                          \
                {FIELD(queries), .type = SF_INT, .low = 1, .high = MOST_KEYS, .initial = queries_,                     \
                 .doc = "keys asked about"},                                                                           \
                {FIELD(depth), .type = SF_REAL, .low = -1, .high = 1, .initial = -1,                                   \
                 .doc = "place of the needles in the context, 0 (start) to 1 (end); below 0: anywhere"},               \
                {FIELD(text), .type = SF_STRING, .file = true,                                                         \
                 .doc = "file with prose to hide them in; none: the shipped one"},                                     \
                SF_RULER_PARAMS(struct params),                                                                        \
                {0}},                                                                                                  \
        .params_size = sizeof(struct params),                                                                          \
        .generate = generate,                                                                                          \
        .score = sf_score_match_all,                                                                                   \
    }

VARIANT(single_1, "one number in repeated noise", NOISE, WORDS, NUMBERS, 1, 1, 1);
VARIANT(single_2, "one number in prose", PROSE, WORDS, NUMBERS, 1, 1, 1);
VARIANT(single_3, "one UUID in prose", PROSE, WORDS, UUIDS, 1, 1, 1);
VARIANT(multikey_1, "one of four numbers in prose", PROSE, WORDS, NUMBERS, 4, 1, 1);
VARIANT(multikey_2, "one number among nothing but others", NEEDLES, WORDS, NUMBERS, 1, 1, 1);
VARIANT(multikey_3, "one UUID under a UUID among nothing but others", NEEDLES, UUIDS, UUIDS, 1, 1, 1);
VARIANT(multivalue, "four numbers of one key in prose", PROSE, WORDS, NUMBERS, 1, 4, 1);
VARIANT(multiquery, "one number each of four keys in prose", PROSE, WORDS, NUMBERS, 1, 1, 4);
