/* NIAH of the study: the values of a few keys among many other pairs of keys and values that look the same.
 *
 * Keys and values are groups of [a-z0-9] joined by '-'. All keys differ and all values differ. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/haystack.h"
#include "tasks/prompt.h"
#include "tasks/random.h"
#include "tasks/score.h"
#include "tasks/unique.h"

enum { MOST_QUERIES = 64 };

struct params {
    int queries, key_groups, value_groups, group_length;
    double density, depth;
};

/* A sample in the making. Pair i is drawn once, in order, so that a longer context begins with the pairs of a shorter
 * one; the first `queries` pairs are the needles. */
typedef struct niah {
    const struct params *p;
    sf_random base, draw;
    sf_unique seen;     /* keys and values */
    char *pair;         /* [capacity, key_bytes + value_bytes] */
    int pairs, capacity, key_bytes, value_bytes;
    sf_prose prose;     /* stands between the pairs if density < 1 */
} niah;

static void draw_groups(sf_random *r, int groups, int length, char *out)
{
    static const char symbols[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (int g = 0; g < groups; g++) {
        if (g) *out++ = '-';
        for (int i = 0; i < length; i++) *out++ = symbols[sf_random_below(r, 36)];
    }
}

static sf_status draw_pairs(niah *n, int count)
{
    const struct params *p = n->p;
    size_t row = (size_t)(n->key_bytes + n->value_bytes);
    int groups = p->key_groups < p->value_groups ? p->key_groups : p->value_groups;
    if (count > pow(36, groups * p->group_length) / 4) /* keys and values all differ */
        return sf_fail(SF_BAD_INPUT,
                       "niah: %d different keys of %d groups of %d characters are too many; raise group_length or the "
                       "number of groups",
                       count, groups, p->group_length);
    if (count > n->capacity) {
        int capacity = count + count / 2;
        char *grown = realloc(n->pair, (size_t)capacity * row);
        if (!grown) return sf_fail(SF_NO_MEMORY, "niah: no memory for %d pairs", capacity);
        n->pair = grown;
        n->capacity = capacity;
    }
    for (; n->pairs < count; n->pairs++) {
        char *key = n->pair + (size_t)n->pairs * row, *value = key + n->key_bytes;
        do draw_groups(&n->draw, p->key_groups, p->group_length, key);
        while (!sf_unique_add(&n->seen, key, (size_t)n->key_bytes));
        do draw_groups(&n->draw, p->value_groups, p->group_length, value);
        while (!sf_unique_add(&n->seen, value, (size_t)n->value_bytes));
    }
    return n->seen.failed ? sf_fail(SF_NO_MEMORY, "niah: no memory for %d pairs", count) : SF_OK;
}

static void add_pair(const niah *n, int i, sf_text *out)
{
    const char *key = n->pair + (size_t)i * (size_t)(n->key_bytes + n->value_bytes);
    sf_text_add(out, "Key ");
    sf_text_bytes(out, key, (size_t)n->key_bytes);
    sf_text_add(out, " has the value ");
    sf_text_bytes(out, key + n->key_bytes, (size_t)n->value_bytes);
    sf_text_add(out, ".\n");
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* The needles among `units` other sentences: pairs, as many as the density says, evenly mixed with prose. */
static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    niah *n = self;
    const struct params *p = n->p;
    SF_TRY(draw_pairs(n, p->queries + (int)(units * p->density)));

    int slot[MOST_QUERIES], order[MOST_QUERIES];
    sf_random places = sf_random_fork(&n->base, 2);
    if (p->depth < 0) sf_random_pick(&places, units + p->queries, slot, p->queries);
    else
        for (int i = 0; i < p->queries; i++) slot[i] = (int)(p->depth * units) + i;
    qsort(slot, (size_t)p->queries, sizeof *slot, by_value);
    for (int i = 0; i < p->queries; i++) order[i] = i;
    sf_random_shuffle(&places, order, p->queries); /* the order of the questions is not that of the text */

    int needles = 0, word = 0;
    for (int i = 0; i < units + p->queries; i++) {
        if (needles < p->queries && slot[needles] == i) {
            add_pair(n, order[needles++], context);
            continue;
        }
        int other = i - needles, pairs_before = (int)(other * p->density);
        if ((int)((other + 1) * p->density) > pairs_before) {
            add_pair(n, p->queries + pairs_before, context);
        } else {
            int end = sf_prose_boundary(&n->prose, word + 1, INT_MAX);
            sf_prose_add(&n->prose, word, end, context);
            sf_text_char(context, '\n');
            word = end;
        }
    }
    if (context->size) context->data[--context->size] = 0; /* the last newline */

    sf_text_add(question, p->queries == 1 ? "What is the value of the following key?"
                                          : "What are the values of the following keys?");
    for (int i = 0; i < p->queries; i++) {
        sf_text_format(question, "\n%d. ", i + 1);
        sf_text_bytes(question, n->pair + (size_t)i * (size_t)(n->key_bytes + n->value_bytes), (size_t)n->key_bytes);
    }
    return SF_OK;
}

static sf_status finish(const niah *n, const sf_request *request, sf_sample *out)
{
    sf_text gold = {0}, answer = {0};
    sf_status status = SF_OK;
    for (int i = 0; i < n->p->queries && status == SF_OK; i++) {
        const char *key = n->pair + (size_t)i * (size_t)(n->key_bytes + n->value_bytes), *value = key + n->key_bytes;
        sf_text_clear(&gold);
        sf_text_format(&gold, "%.*s: %.*s", n->key_bytes, key, n->value_bytes, value);
        sf_text_format(&answer, "%s%d. The answer for %.*s is %.*s.", i ? "\n" : "", i + 1, n->key_bytes, key, n->value_bytes,
                       value);
        status = gold.failed || answer.failed ? sf_fail(SF_NO_MEMORY, "niah: no memory for an answer")
                                              : sf_sample_gold(out, gold.data);
    }
    if (status == SF_OK)
        status = sf_sample_answer(out, request, "I looked for the statement about each key in the context and copied its value.",
                                  answer.data);
    sf_text_free(&gold);
    sf_text_free(&answer);
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    niah n = {
        .p = p,
        .base = sf_random_stream("niah", request->seed, request->index),
        .key_bytes = p->key_groups * (p->group_length + 1) - 1,
        .value_bytes = p->value_groups * (p->group_length + 1) - 1,
    };
    n.draw = sf_random_fork(&n.base, 1);
    const sf_prompt prompt = {
        .task = "niah",
        .introduction = p->density < 1 ? "The context below holds statements, each of which gives the value of one key. They are "
                                         "scattered among other sentences. Find the values of the keys you are asked about."
                                       : "The context below is a long list of statements, each of which gives the value of "
                                         "one key. Find the values of the keys you are asked about.",
        .plural = p->queries > 1,
        .format = p->queries == 1 ? "1. The answer for <key> is <value>."
                                  : "1. The answer for <first key> is <its value>.\n2. The answer for <second key> is <its "
                                    "value>.\nand so on, one line for each key",
        .rules = "- Answer for every key you are asked about, in the order of the question.\n"
                 "- Copy keys and values exactly as they stand in the context.\n",
    };
    const sf_content content = {.self = &n, .unit = "other sentences", .most = 1 << 24, .pad = true, .write = write};
    sf_status status = sf_prose_open(NULL, &n.prose);
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    if (status == SF_OK) status = finish(&n, request, out);
    if (status != SF_OK) sf_sample_free(out);
    sf_unique_free(&n.seen);
    sf_prose_close(&n.prose);
    free(n.pair);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(queries), .type = SF_INT, .low = 1, .high = MOST_QUERIES, .initial = 4, .doc = "keys asked about"},
    {FIELD(key_groups), .type = SF_INT, .low = 1, .high = 8, .initial = 4, .doc = "groups of characters in a key"},
    {FIELD(value_groups), .type = SF_INT, .low = 1, .high = 8, .initial = 4, .doc = "groups of characters in a value"},
    {FIELD(group_length), .type = SF_INT, .low = 1, .high = 16, .initial = 8, .doc = "characters in a group"},
    {FIELD(density), .type = SF_REAL, .low = 0, .high = 1, .initial = 1,
     .doc = "share of the other sentences that are pairs too; the rest is prose"},
    {FIELD(depth), .type = SF_REAL, .low = -1, .high = 1, .initial = -1,
     .doc = "place of the asked pairs in the context, 0 (start) to 1 (end); below 0: anywhere"},
    {0}};

const sf_task sf_niah = {
    .abi = SF_TASK_ABI,
    .name = "niah",
    .summary = "values of a few keys among many pairs of keys and values",
    .source = "Nawrot et al. 2025, arXiv 2504.17768, after RULER, arXiv 2404.06654",
    .metric = "exact",
    .version = 1,
    .output = 1024,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_pairs,
};
