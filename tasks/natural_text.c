/* A natural text as it is: a stretch of it is read, and what follows there is known. What a model makes of it is measured
 * by divergence and NLL (config: measures), so that any model and any text will do; the score is the next word, which
 * LAMBADA asks for (Paperno et al. 2016, arXiv 1606.06031) and any language model guesses now and then.
 *
 * Samples are stretches that do not overlap, so that they are independent of each other as the statistics take them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "tasks/answer.h"
#include "tasks/haystack.h"
#include "tasks/prompt.h"
#include "tasks/random.h"
#include "tasks/task.h"
#include "tasks/unicode.h"

enum { OUTPUT = 64 };

struct params {
    const char *file;
};

/* ---- the whole text ------------------------------------------------------------------------------------------------ */

static sf_status add_file(const char *path, sf_text *out)
{
    FILE *f = fopen(path, "rb");
    if (!f) return sf_fail(SF_IO, "%s: cannot open the text: %s", path, strerror(errno));
    const size_t begin = out->size;
    char block[1 << 16];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) sf_text_bytes(out, block, n);
    bool whole = !ferror(f);
    fclose(f);
    if (!whole) return sf_fail(SF_IO, "%s: cannot read the text: %s", path, strerror(errno));
    if (out->failed) return sf_fail(SF_NO_MEMORY, "%s: no memory for the text", path);
    int n, line = 1;
    for (const char *at = out->data + begin, *end = out->data + out->size; at < end; at += n) {
        int c = sf_code_point(at, end, &n);
        if (c <= 0)
            return sf_fail(SF_BAD_INPUT, "%s:%d: expected UTF-8 text, found byte 0x%02x at offset %td; convert the file",
                           path, line, (unsigned char)*at, at - (out->data + begin));
        line += c == '\n';
    }
    return SF_OK;
}

/* One file, or the files of a folder with an empty line between them; NULL: the novel that comes with Frontier. */
static sf_status read_text(const char *path, sf_text *out)
{
    if (!path) {
        const sf_span novel = sf_prose_shipped();
        sf_text_bytes(out, novel.at, novel.bytes);
        return out->failed ? sf_fail(SF_NO_MEMORY, "no memory for the shipped text") : SF_OK;
    }
    int n;
    char **file;
    SF_TRY(sf_files_under(path, &n, &file));
    sf_status status = SF_OK;
    for (int i = 0; i < n && status == SF_OK; i++) {
        if (i) sf_text_add(out, "\n\n");
        status = add_file(file[i], out);
    }
    sf_files_free(n, file);
    return status;
}

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/* The first end of a word at or behind a byte: a blank follows it, and none stands before. */
static size_t word_end(const sf_text *t, size_t at)
{
    if (at < 1) at = 1;
    if (at > t->size) at = t->size;
    while (at < t->size && (!is_blank(t->data[at]) || is_blank(t->data[at - 1]))) at++;
    return at;
}

/* The first beginning of a line at or behind a byte, if one is near; else of a word. */
static size_t beginning(const sf_text *t, size_t at, size_t near)
{
    for (size_t i = at; i > 0 && i < t->size && i < at + near; i++)
        if (t->data[i - 1] == '\n' && !is_blank(t->data[i])) return i;
    while (at < t->size && at > 0 && (is_blank(t->data[at]) || !is_blank(t->data[at - 1]))) at++;
    return at;
}

/* ---- its stretches ------------------------------------------------------------------------------------------------- */

typedef struct source {
    const char *name;
    const sf_request *request;
    sf_text text;
    double rate;    /* bytes a token */
    int alone;      /* tokens of no text: BOS */
    int stretches;  /* that do not overlap */
    int output;
} source;

static sf_status count(const source *s, size_t begin, size_t end, int *tokens)
{
    const sf_token_counter *c = &s->request->tokens;
    *tokens = c->count(c->self, s->text.data + begin, end - begin, NULL);
    return *tokens < 0 ? sf_blame((sf_status)-*tokens, "text: counting the tokens of %s", s->name) : SF_OK;
}

/* Bytes a token: in some pieces, evenly spread over the text. */
static sf_status measure(source *s)
{
    enum { PIECES = 8, BYTES = 2048 };
    size_t bytes = 0;
    long tokens = 0;
    SF_TRY(count(s, 0, 0, &s->alone));
    for (int i = 0; i < PIECES; i++) {
        size_t begin = beginning(&s->text, s->text.size / PIECES * (size_t)i, 0), end = word_end(&s->text, begin + BYTES);
        int n;
        if (begin >= end) continue;
        SF_TRY(count(s, begin, end, &n));
        bytes += end - begin;
        tokens += n - s->alone;
    }
    if (tokens < 1) return sf_fail(SF_BAD_INPUT, "%s: expected a text, found blanks", s->name);
    s->rate = (double)bytes / (double)tokens;
    return SF_OK;
}

static sf_status open_source(const struct params *p, const sf_request *r, source *s)
{
    const double slack = 1.15; /* some stretches take more bytes a token than most */
    *s = (source){.name = p->file ? p->file : "the shipped text", .request = r, .output = r->output ? r->output : OUTPUT};
    SF_TRY(read_text(p->file, &s->text));
    if (!s->text.size) return sf_fail(SF_BAD_INPUT, "%s: expected a text, found an empty file", s->name);
    SF_TRY(measure(s));
    double whole = (double)s->text.size / (slack * s->rate * ((double)r->max_tokens + s->output));
    s->stretches = whole < 1 ? 1 : whole > 1e6 ? 1000000 : (int)whole;
    return SF_OK;
}

/* Where a sample's stretch begins: they are drawn without replacement. */
static sf_status place_of(const source *s, size_t *begin)
{
    const int n = s->stretches, index = s->request->index;
    if (index >= n)
        return sf_fail(SF_BAD_INPUT, "text: %s holds %d stretches of %d tokens and what follows them, sample %d is one too many; "
                       "lower `samples` or `lengths`", s->name, n, s->request->max_tokens, index);
    int *order = malloc((size_t)n * sizeof *order);
    if (!order) return sf_fail(SF_NO_MEMORY, "text: no memory for %d stretches", n);
    for (int i = 0; i < n; i++) order[i] = i;
    sf_random chance = sf_random_stream("text", s->request->seed, 0);
    sf_random_shuffle(&chance, order, n);
    double each = (double)s->text.size / n;
    *begin = beginning(&s->text, (size_t)(each * order[index]), (size_t)(each / 50));
    free(order);
    return SF_OK;
}

/* The end of the longest run of words from `begin` that fits the request, a few tokens aside. */
static sf_status fit_words(const source *s, size_t begin, size_t *end, int *tokens)
{
    const int most = s->request->max_tokens;
    size_t low = begin, high = s->text.size, now = word_end(&s->text, begin + (size_t)(0.98 * s->rate * most));
    int found = s->alone;
    for (int round = 0; round < 40 && low < high; round++) {
        int n;
        SF_TRY(count(s, begin, now, &n));
        if (n <= most) low = now, found = n;
        else high = now;
        if (found >= most - 2 - most / 250 || low >= s->text.size) break;
        double rate = n > s->alone ? (double)(now - begin) / (n - s->alone) : s->rate;
        size_t next = word_end(&s->text, (size_t)((double)now + rate * (most - 1 - n)));
        if (next <= low || next >= high) next = word_end(&s->text, low + (high - low) / 2);
        if (next >= high && next < s->text.size) break; /* no end of a word lies between them */
        if (next == now) break;
        now = next;
    }
    *end = low;
    *tokens = found;
    return SF_OK;
}

/* ---- the sample ---------------------------------------------------------------------------------------------------- */

/* What follows: as many words as hold the output. */
static sf_status continuation_of(const source *s, size_t end, size_t *last)
{
    *last = end;
    for (double share = 1.2; *last < s->text.size; share *= 1.5) {
        int n;
        *last = word_end(&s->text, end + (size_t)(share * s->rate * s->output) + 1);
        SF_TRY(count(s, end, *last, &n));
        if (n - s->alone > s->output) break;
    }
    return SF_OK;
}

static sf_status fill(const source *s, size_t begin, size_t end, int tokens, sf_sample *out)
{
    size_t last;
    SF_TRY(continuation_of(s, end, &last));
    sf_span rest = {s->text.data + end, last - end}, word;
    if (!sf_next_token(&rest, &word))
        return sf_fail(SF_BAD_INPUT, "text: too many: nothing of %s is left behind %d tokens; ask for a shorter length", s->name, tokens);
    out->tokens = tokens;
    out->context_end = (int)(end - begin);
    out->prompt = strndup(s->text.data + begin, end - begin);
    out->continuation = strndup(s->text.data + end, last - end);
    out->answer = out->continuation ? strdup(out->continuation) : NULL;
    char *gold = strndup(word.at, word.bytes);
    sf_status status = out->prompt && out->answer && gold ? sf_sample_gold(out, gold) : sf_fail(SF_NO_MEMORY, "text: no memory for a sample");
    free(gold);
    return status;
}

static sf_status write_sample(const source *s, sf_sample *out)
{
    const int most = s->request->max_tokens, least = (95 * most + 99) / 100;
    size_t begin = 0, end = 0, all = s->text.size;
    int tokens = 0;
    while (all && is_blank(s->text.data[all - 1])) all--;
    SF_TRY(place_of(s, &begin));
    SF_TRY(fit_words(s, begin, &end, &tokens));
    while ((tokens < least || end >= all) && begin > 0) { /* it ran into the end of the text */
        size_t back = (size_t)(s->rate * (0.1 * most + s->output)) + 1;
        begin = begin > back ? beginning(&s->text, begin - back, 0) : 0;
        SF_TRY(fit_words(s, begin, &end, &tokens));
    }
    if (tokens >= least) return fill(s, begin, end, tokens, out);
    return end >= all ? sf_fail(SF_BAD_INPUT, "text: %d tokens are too many: all of %s fills %d; ask for a shorter length", most, s->name, tokens)
                      : sf_fail(SF_BAD_INPUT, "text: no words of %s at byte %zu fill 95 to 100 %% of %d tokens; ask for a length of at least %d",
                                s->name, begin, most, 2 * most);
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    source s;
    sf_status status = open_source(params, request, &s);
    if (status == SF_OK) status = write_sample(&s, out);
    if (status != SF_OK) sf_sample_free(out);
    sf_text_free(&s.text);
    return status;
}

static sf_status supply(const void *params, const sf_request *request, int most, int *samples)
{
    source s;
    sf_status status = open_source(params, request, &s);
    *samples = status == SF_OK && s.stretches < most ? s.stretches : most;
    sf_text_free(&s.text);
    return status;
}

static sf_status score(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params;
    sf_span rest = sf_span_of(text), word;
    bool parsed = sf_next_token(&rest, &word);
    bool right = parsed && strlen(sample->gold[0]) == word.bytes && memcmp(word.at, sample->gold[0], word.bytes) == 0;
    *out = (sf_score){right, right, parsed};
    return SF_OK;
}

static const sf_param params[] = {
    {.name = "file", .type = SF_STRING, .offset = offsetof(struct params, file), .file = true, .folder = true,
     .doc = "a text in UTF-8, or a folder of such (default: a novel of 1813 that comes with Frontier)"},
    {0}};

const sf_task sf_natural_text = {
    .abi = SF_TASK_ABI,
    .name = "text",
    .summary = "a natural text as it is, for NLL and divergence by position",
    .source = "the user's; without a file: Jane Austen, Pride and Prejudice, 1813",
    .metric = "next word",
    .version = 1,
    .output = OUTPUT,
    .natural = true,
    .raw = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .supply = supply,
    .score = score,
};
