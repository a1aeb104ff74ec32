/* NoLiMa (Modarressi et al. 2025, arXiv 2502.05167): a needle that shares no words with its question, in a book. Needles, questions,
 * characters: a needle_set.json of amodaresi/NoLiMa, [{id, needle, questions, tests, character_set, task_template}]. Books: its haystack
 * folder. The prompt, where a needle has none: DEFAULT_TASK_TEMPLATE of evaluation/run_tests.py of its repository. Sets with distractors
 * are not read.
 *
 * A sample is a needle with arguments, a kind of question, a book, one of 26 depths (as in the published runs), drawn without replacement, and
 * a character by chance. The needle stands on a line of its own at the first end of a line behind its depth, as there; depth and length are
 * by bytes here and by tokens of the book there, and the length counts the whole input. */
#include "tasks/find.h"
#include "tasks/prompt.h"
#include "tasks/python_text.h"
#include "tasks/random.h"
#include "tasks/score.h"
#include "tasks/suite.h"

#include "base/files.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTHS = 26 };

struct params {
    const char *file, *prompts, *haystack;
};

/* One of the set's needles, with a kind of question and arguments. */
typedef struct combination {
    const json_t *needle, *test;
    const char *question;
} combination;

typedef struct set {
    const struct params *p;
    json_t *json;
    combination *all;
    int count;
    char **book;
    int books;
    char *prompt; /* where a needle has none */
} set;

static void close_set(set *s)
{
    json_decref(s->json);
    free(s->all);
    sf_files_free(s->books, s->book);
    free(s->prompt);
}

static sf_status wrong(const set *s, size_t i, const char *what)
{
    return sf_fail(SF_BAD_INPUT, "%s: needle %zu: expected %s", s->p->file, i + 1, what);
}

static sf_status read_needle(set *s, size_t i)
{
    const json_t *needle = json_array_get(s->json, i);
    json_t *questions = json_object_get(needle, "questions"), *tests = json_object_get(needle, "tests"), *question, *test;
    const json_t *characters = json_object_get(needle, "character_set");
    const char *text = json_string_value(json_object_get(needle, "needle")), *kind, *id;
    if (!text) return wrong(s, i, "a text \"needle\"");
    if (json_object_get(needle, "distractors")) return sf_fail(SF_UNSUPPORTED, "%s: sets with distractors are not read", s->p->file);
    if (!json_object_size(questions)) return wrong(s, i, "an object \"questions\"");
    if (!json_object_size(tests)) return wrong(s, i, "an object \"tests\"");
    if (strstr(text, "{CHAR}") && !json_array_size(characters)) return wrong(s, i, "a list \"character_set\" for its {CHAR}");
    for (size_t k = 0; k < json_array_size(characters); k++)
        if (!json_string_length(json_array_get(characters, k))) return wrong(s, i, "names in \"character_set\"");
    json_object_foreach(questions, kind, question) {
        if (!json_is_string(question)) return wrong(s, i, "texts in \"questions\"");
        json_object_foreach(tests, id, test) {
            const json_t *arguments = json_object_get(test, "input_args"), *gold = json_object_get(test, "gold_answers");
            if (!json_is_array(arguments)) return wrong(s, i, "a list \"input_args\" in each of \"tests\"");
            for (size_t k = 0; k < json_array_size(arguments); k++)
                if (!json_is_string(json_array_get(arguments, k))) return wrong(s, i, "texts in \"input_args\"");
            if (!strstr(text, "{CHAR}") && !json_string_length(json_is_array(gold) ? json_array_get(gold, 0) : gold))
                return wrong(s, i, "\"gold_answers\" where there is no {CHAR}");
            combination *grown = realloc(s->all, ((size_t)s->count + 1) * sizeof *grown);
            if (!grown) return sf_fail(SF_NO_MEMORY, "%s: no memory for its needles", s->p->file);
            s->all = grown;
            s->all[s->count++] = (combination){needle, test, json_string_value(question)};
        }
    }
    return SF_OK;
}

static sf_status open_set(const struct params *p, const sf_prompting *how, set *s)
{
    *s = (set){.p = p};
    const char *missing = !p->file ? "file" : !p->prompts ? "prompts" : !p->haystack ? "haystack" : NULL;
    if (missing) return sf_fail(SF_BAD_INPUT, "nolima: `%s` is missing: its data are read from your copies of them (tasks/README.md says which files)", missing);
    SF_TRY(sf_suite_own_words("nolima", how));
    char *text;
    json_error_t error;
    SF_TRY(sf_suite_file(p->file, &text));
    s->json = json_loads(text, 0, &error);
    free(text);
    if (!s->json) return sf_fail(SF_BAD_INPUT, "%s:%d: expected JSON: %s", p->file, error.line, error.text);
    if (!json_array_size(s->json)) return sf_fail(SF_BAD_INPUT, "%s: expected a list of needles, found none", p->file);
    for (size_t i = 0; i < json_array_size(s->json); i++) SF_TRY(read_needle(s, i));
    SF_TRY(sf_files_under(p->haystack, &s->books, &s->book));
    return sf_python_file_text(p->prompts, (const char *const[]){"DEFAULT_TASK_TEMPLATE", NULL}, &s->prompt);
}

/* ---- texts --------------------------------------------------------------------------------------------------------- */

/* A text with its arguments and its character. Where a question has several arguments the official code fills the last of them
 * only (`all` false); none of its sets has such a question. */
static void complete(sf_text *out, const char *text, const json_t *arguments, const char *character, bool all)
{
    sf_text now = {0}, next = {0};
    sf_text_add(&now, text);
    for (size_t i = 0; i < json_array_size(arguments); i++) {
        char placeholder[24];
        snprintf(placeholder, sizeof placeholder, "{%zu}", i + 1);
        if (!strstr(all ? now.data : text, placeholder)) continue;
        sf_text_clear(&next);
        sf_suite_put(&next, all ? now.data : text, placeholder, json_string_value(json_array_get(arguments, i)));
        sf_text swap = now;
        now = next, next = swap;
    }
    if (now.data) sf_suite_put(out, now.data, "{CHAR}", character);
    out->failed |= now.failed || next.failed;
    sf_text_free(&now);
    sf_text_free(&next);
}

/* A sample in the making. */
typedef struct draft {
    const char *template, *book;
    size_t book_bytes;
    sf_text needle, question, prompt;
    double depth;
    int context_begin, context_end;
} draft;

/* So many bytes of the book, whole characters, with the needle on a line of its own. */
static void add_context(draft *d, size_t bytes)
{
    size_t want = (size_t)(d->depth * (double)bytes), line = want;
    while (line < d->book_bytes && d->book[line] != '\n') line++;
    if (want == 0) line = 0;
    size_t from = line - want, to = from + bytes;
    if (to > d->book_bytes) to = d->book_bytes;
    if (line > to) line = to;
    while (from < line && ((unsigned char)d->book[from] & 0xc0) == 0x80) from++;
    while (to > line && to < d->book_bytes && ((unsigned char)d->book[to] & 0xc0) == 0x80) to--;
    sf_text_bytes(&d->prompt, d->book + from, line - from);
    sf_text_char(&d->prompt, ' ');
    sf_text_bytes(&d->prompt, d->needle.data, d->needle.size);
    sf_text_char(&d->prompt, '\n');
    if (line < to) line += d->book[line] == '\n';
    sf_text_bytes(&d->prompt, d->book + line, to - line);
}

static sf_status compose(draft *d, size_t bytes)
{
    sf_text_clear(&d->prompt);
    for (const char *at = d->template; *at;) {
        if (strncmp(at, "{haystack}", 10) == 0) {
            d->context_begin = (int)d->prompt.size;
            add_context(d, bytes);
            d->context_end = (int)d->prompt.size;
            at += 10;
        } else if (strncmp(at, "{question}", 10) == 0) {
            sf_text_bytes(&d->prompt, d->question.data, d->question.size);
            at += 10;
        } else {
            sf_text_char(&d->prompt, *at++);
        }
    }
    return d->prompt.failed ? sf_fail(SF_NO_MEMORY, "nolima: no memory for a prompt") : SF_OK;
}

/* The most of the book that fits the request, a few tokens in a thousand aside. */
static sf_status fit(draft *d, const sf_request *r, sf_sample *out)
{
    size_t low = 0, high = d->book_bytes + 1, next = 0;
    int tokens = 0, best = 0;
    for (int round = 0; round < 40; round++) {
        SF_TRY(compose(d, next));
        tokens = r->tokens.count(r->tokens.self, d->prompt.data, d->prompt.size, NULL);
        if (tokens < 0) return sf_blame((sf_status)-tokens, "nolima: counting the tokens of a prompt");
        if (tokens > r->max_tokens && next == 0)
            return sf_fail(SF_BAD_INPUT, "nolima: %d tokens are too few: its prompt without a book takes %d; ask for a length of at least %d",
                           r->max_tokens, tokens, tokens + tokens / 50 + 1);
        if (tokens > r->max_tokens) high = next;
        else low = next, best = tokens;
        if (high - low <= 1 || (low == next && best >= r->max_tokens - 1 - r->max_tokens / 256)) break;
        double rate = low == next && best > 100 && next > 1000 ? (double)d->prompt.size / best : tokens > 0 ? (double)d->prompt.size / tokens : 4;
        double guess = (double)next + rate * (r->max_tokens - tokens - 0.5);
        next = guess <= (double)low || guess >= (double)high ? low + (high - low) / 2 : (size_t)guess;
    }
    if (low >= d->book_bytes)
        return sf_fail(SF_BAD_INPUT, "nolima: %d tokens are too many: a book fills %d; ask for a shorter length", r->max_tokens, best);
    SF_TRY(compose(d, low));
    out->tokens = best;
    out->context_begin = d->context_begin;
    out->context_end = d->context_end;
    out->prompt = d->prompt.data;
    d->prompt = (sf_text){0};
    return SF_OK;
}

/* ---- samples ------------------------------------------------------------------------------------------------------- */

static sf_status add_answers(const combination *c, const char *character, sf_sample *out)
{
    const json_t *gold = json_object_get(c->test, "gold_answers");
    if (*character) SF_TRY(sf_sample_gold(out, character));
    else if (json_is_string(gold)) SF_TRY(sf_sample_gold(out, json_string_value(gold)));
    for (size_t i = 0; !*character && i < json_array_size(gold); i++)
        if (json_is_string(json_array_get(gold, i))) SF_TRY(sf_sample_gold(out, json_string_value(json_array_get(gold, i))));
    out->answer = strdup(out->gold[0]);
    return out->answer ? SF_OK : sf_fail(SF_NO_MEMORY, "nolima: no memory for an answer");
}

static sf_status write_sample(const set *s, const sf_request *r, sf_sample *out)
{
    const int all = s->count * s->books * DEPTHS;
    if (r->index >= all)
        return sf_fail(SF_BAD_INPUT, "nolima: %s has %d needles, books and depths, sample %d is one too many; lower `samples`", s->p->file, all, r->index);
    int *order = malloc((size_t)all * sizeof *order);
    if (!order) return sf_fail(SF_NO_MEMORY, "nolima: no memory for %d samples", all);
    for (int i = 0; i < all; i++) order[i] = i;
    sf_random chance = sf_random_stream("nolima", r->seed, 0);
    sf_random_shuffle(&chance, order, all);
    const int number = order[r->index];
    free(order);
    const combination *c = &s->all[number % s->count];
    const char *book = s->book[number / s->count % s->books], *needle = json_string_value(json_object_get(c->needle, "needle"));
    const json_t *characters = json_object_get(c->needle, "character_set"), *arguments = json_object_get(c->test, "input_args");
    sf_random draw = sf_random_stream("nolima", r->seed, r->index + 1);
    const char *character = strstr(needle, "{CHAR}")
        ? json_string_value(json_array_get(characters, sf_random_below(&draw, (uint32_t)json_array_size(characters)))) : "";
    char *text;
    SF_TRY(sf_suite_file(book, &text));
    const char *own = json_string_value(json_object_get(c->needle, "task_template"));
    draft d = {.template = own ? own : s->prompt, .book = text, .book_bytes = strlen(text), .depth = (double)(number / s->count / s->books) / (DEPTHS - 1)};
    complete(&d.needle, needle, arguments, character, true);
    complete(&d.question, c->question, arguments, character, false);
    sf_status status = d.needle.failed || d.question.failed ? sf_fail(SF_NO_MEMORY, "nolima: no memory for a needle") : SF_OK;
    if (status == SF_OK && (!strstr(d.template, "{haystack}") || !strstr(d.template, "{question}")))
        status = sf_fail(SF_BAD_INPUT, "%s: expected a prompt with {haystack} and {question}, found \"%.60s\"", own ? s->p->file : s->p->prompts, d.template);
    if (status == SF_OK) status = fit(&d, r, out);
    if (status == SF_OK) status = add_answers(c, character, out);
    sf_text_free(&d.needle);
    sf_text_free(&d.question);
    sf_text_free(&d.prompt);
    free(text);
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    set s;
    sf_status status = open_set(params, &request->prompting, &s);
    if (status == SF_OK) status = write_sample(&s, request, out);
    close_set(&s);
    if (status != SF_OK) sf_sample_free(out);
    return status;
}

static sf_status supply(const void *params, const sf_request *request, int most, int *samples)
{
    set s;
    sf_status status = open_set(params, &request->prompting, &s);
    if (status == SF_OK) *samples = s.count * s.books * DEPTHS < most ? s.count * s.books * DEPTHS : most;
    close_set(&s);
    return status;
}

static const sf_param params[] = {
    {.name = "file", .type = SF_STRING, .offset = offsetof(struct params, file), .file = true, .doc = "a needle_set.json of amodaresi/NoLiMa"},
    {.name = "prompts", .type = SF_STRING, .offset = offsetof(struct params, prompts), .file = true,
     .doc = "evaluation/run_tests.py of the repository adobe-research/NoLiMa"},
    {.name = "haystack", .type = SF_STRING, .offset = offsetof(struct params, haystack), .file = true, .folder = true,
     .doc = "a book in UTF-8, or the folder haystack/rand_shuffle"},
    {0}};

static const sf_task tasks[] = {{
    .abi = SF_TASK_ABI,
    .name = "nolima",
    .summary = "who did what a needle says in other words than the question",
    .source = "Modarressi et al. 2025, NoLiMa, arXiv 2502.05167",
    .metric = "string match",
    .version = 1,
    .output = 192,
    .high_dispersion = true,
    .natural = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .supply = supply,
    .score = sf_score_contains,
}};

const sf_suite sf_nolima = {.task = tasks, .tasks = 1};
