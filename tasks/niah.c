/* NIAH of the study: the values of a few keys among many other pairs of keys and values that look the same.
 *
 * Keys and values are groups of [a-z0-9] joined by '-'. All keys differ and all values differ. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/haystack.h"
#include "tasks/prompt.h"
#include "tasks/random.h"
#include "tasks/score.h"
#include "tasks/unique.h"

enum { MOST_QUERIES = 64, MOST_GROUPS = 8, MOST_LENGTH = 16, MOST_BYTES = MOST_GROUPS * (MOST_LENGTH + 1) };

struct params {
    int queries, key_groups, value_groups, group_length;
    double density, depth;
};

typedef struct pair {
    char key[MOST_BYTES], value[MOST_BYTES];
} pair;

typedef struct niah {
    const struct params *p;
    sf_random base;
    pair needle[MOST_QUERIES]; /* [queries] in the order of the question */
    sf_prose prose;            /* stands between the pairs if density < 1 */
    bool asks_on;              /* later turns ask for … */
    pair *other;               /* … some of the other pairs, [others of room] in the order of the text; kept for them alone */
    int others, room;
} niah;

static void draw_groups(sf_random *r, int groups, int length, char *out)
{
    static const char symbols[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (int g = 0; g < groups; g++) {
        if (g) *out++ = '-';
        for (int i = 0; i < length; i++) *out++ = symbols[sf_random_below(r, 36)];
    }
    *out = 0;
}

static void draw_pair(sf_random *r, const struct params *p, sf_unique *seen, pair *out)
{
    do draw_groups(r, p->key_groups, p->group_length, out->key);
    while (!sf_unique_add(seen, out->key, strlen(out->key)));
    do draw_groups(r, p->value_groups, p->group_length, out->value);
    while (!sf_unique_add(seen, out->value, strlen(out->value)));
}

static sf_status keep_other(niah *n, const pair *q)
{
    if (!n->asks_on) return SF_OK;
    if (n->others == n->room) {
        n->room = 2 * n->room + 64;
        pair *grown = realloc(n->other, (size_t)n->room * sizeof *grown);
        if (!grown) return sf_fail(SF_NO_MEMORY, "niah: no memory for %d pairs", n->room);
        n->other = grown;
    }
    n->other[n->others++] = *q;
    return SF_OK;
}

static void add_pair(const pair *q, sf_text *out)
{
    sf_text_add(out, "Key ");
    sf_text_add(out, q->key);
    sf_text_add(out, " has the value ");
    sf_text_add(out, q->value);
    sf_text_char(out, '.');
}

static void add_question(const pair *asked, int queries, sf_text *out)
{
    sf_text_add(out, queries == 1 ? "What is the value of the following key?" : "What are the values of the following keys?");
    for (int i = 0; i < queries; i++) sf_text_format(out, "\n%d. %s", i + 1, asked[i].key);
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* The needles among `units` other sentences: pairs, as many as the density says, evenly mixed with prose. */
static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    niah *n = self;
    const struct params *p = n->p;
    double pairs = p->queries + units * p->density;
    int groups = p->key_groups < p->value_groups ? p->key_groups : p->value_groups;
    if (pairs > pow(36, groups * p->group_length) / 4) /* keys and values all differ */
        return sf_fail(
            SF_BAD_INPUT,
            "niah: %.0f pairs are too many for keys and values of %d groups of %d characters; raise group_length, "
            "key_groups or value_groups",
            pairs, groups, p->group_length);

    int slot[MOST_QUERIES], order[MOST_QUERIES];
    sf_random places = sf_random_fork(&n->base, 1);
    if (p->depth < 0)
        sf_random_pick(&places, units + p->queries, slot, p->queries);
    else
        for (int i = 0; i < p->queries; i++) slot[i] = (int)(p->depth * units) + i;
    qsort(slot, (size_t)p->queries, sizeof *slot, by_value);
    for (int i = 0; i < p->queries; i++) order[i] = i;
    sf_random_shuffle(&places, order, p->queries); /* the order of the questions is not that of the text */

    sf_unique seen = {0};
    sf_status status = SF_OK;
    n->others = 0;
    sf_random needle = sf_random_fork(&n->base, 2), others = sf_random_fork(&n->base, 3);
    for (int i = 0; i < p->queries; i++) draw_pair(&needle, p, &seen, &n->needle[i]);
    for (int i = 0, needles = 0, word = 0; i < units + p->queries && status == SF_OK; i++) {
        if (i) sf_text_char(context, '\n');
        int other = i - needles;
        if (needles < p->queries && slot[needles] == i) {
            add_pair(&n->needle[order[needles++]], context);
        } else if ((int)((other + 1) * p->density) > (int)(other * p->density)) {
            pair q;
            draw_pair(&others, p, &seen, &q);
            add_pair(&q, context);
            status = keep_other(n, &q);
        } else {
            int end = sf_prose_boundary(&n->prose, word + 1, INT_MAX);
            sf_prose_add(&n->prose, word, end, context);
            word = end;
        }
    }
    bool failed = seen.failed;
    sf_unique_free(&seen);

    add_question(n->needle, p->queries, question);
    return failed ? sf_fail(SF_NO_MEMORY, "niah: no memory for %d sentences", units) : status;
}

static sf_status finish(const pair *asked, int queries, const sf_request *request, sf_sample *out)
{
    sf_text answer = {0};
    sf_status status = SF_OK;
    for (int i = 0; i < queries && status == SF_OK; i++) {
        const pair *q = &asked[i];
        char gold[2 * MOST_BYTES + 4];
        snprintf(gold, sizeof gold, "%s: %s", q->key, q->value);
        sf_text_format(&answer, "%s%d. The answer for %s is %s.", i ? "\n" : "", i + 1, q->key, q->value);
        status = sf_sample_gold(out, gold);
    }
    if (status == SF_OK && answer.failed) status = sf_fail(SF_NO_MEMORY, "niah: no memory for an answer");
    if (status == SF_OK)
        status = sf_sample_answer(out, request,
                                  "I looked for the statement about each key in the context and copied its value.",
                                  answer.data);
    sf_text_free(&answer);
    return status;
}

/* The questions of later turns: pairs that nobody has asked for yet. */
static sf_status ask_on(const niah *n, const sf_request *request, const sf_prompt *prompt, sf_sample *out)
{
    const int queries = n->p->queries, wanted = n->asks_on ? queries * (request->turns - 1) : 0;
    if (wanted > n->others)
        return sf_fail(SF_BAD_INPUT, "niah: %d later turns ask for %d more pairs, its context of %d tokens has %d; lower turns or queries, or ask for "
                                     "a longer length", request->turns - 1, wanted, request->max_tokens, n->others);
    int *order = malloc(((size_t)n->others + 1) * sizeof *order);
    if (!order) return sf_fail(SF_NO_MEMORY, "niah: no memory for %d pairs", n->others);
    for (int i = 0; i < n->others; i++) order[i] = i;
    sf_random chosen = sf_random_fork(&n->base, 4);
    sf_random_shuffle(&chosen, order, n->others);
    sf_status status = SF_OK;
    for (int at = 0; at < wanted && status == SF_OK; at += queries) {
        pair asked[MOST_QUERIES];
        sf_text question = {0};
        sf_sample *later;
        for (int i = 0; i < queries; i++) asked[i] = n->other[order[at + i]];
        add_question(asked, queries, &question);
        status = sf_sample_later(out, &later);
        if (status == SF_OK) status = sf_prompt_later(request, prompt, &question, &later->prompt);
        if (status == SF_OK) status = finish(asked, queries, request, later);
        sf_text_free(&question);
    }
    free(order);
    return status;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    niah *n = calloc(1, sizeof *n);
    if (!n) return sf_fail(SF_NO_MEMORY, "niah: no memory");
    n->p = p;
    n->base = sf_random_stream("niah", request->seed, request->index);
    n->asks_on = request->turns > 1;
    const sf_prompt prompt = {
        .task = "niah",
        .introduction = p->density < 1
                            ? "The context below holds statements, each of which gives the value of one key. They are "
                              "scattered among other sentences. Find the values of the keys you are asked about."
                            : "The context below is a long list of statements, each of which gives the value of "
                              "one key. Find the values of the keys you are asked about.",
        .plural = p->queries > 1,
        .format = p->queries == 1
                      ? "1. The answer for <key> is <value>."
                      : "1. The answer for <first key> is <its value>.\n2. The answer for <second key> is <its "
                        "value>.\nand so on, one line for each key",
        .rules = "- Answer for every key you are asked about, in the order of the question.\n"
                 "- Copy keys and values exactly as they stand in the context.\n",
    };
    const sf_content content = {.self = n, .unit = "other sentences", .most = 1 << 24, .pad = sf_noise, .write = write};
    sf_status status = sf_prose_open(NULL, &n->prose);
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    if (status == SF_OK) status = finish(n->needle, p->queries, request, out);
    if (status == SF_OK) status = ask_on(n, request, &prompt, out);
    if (status != SF_OK) sf_sample_free(out);
    sf_prose_close(&n->prose);
    free(n->other);
    free(n);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(queries), .type = SF_INT, .low = 1, .high = MOST_QUERIES, .initial = 4, .doc = "keys asked about"},
    {FIELD(key_groups), .type = SF_INT, .low = 1, .high = MOST_GROUPS, .initial = 4,
     .doc = "groups of characters in a key"},
    {FIELD(value_groups), .type = SF_INT, .low = 1, .high = MOST_GROUPS, .initial = 4,
     .doc = "groups of characters in a value"},
    {FIELD(group_length), .type = SF_INT, .low = 1, .high = MOST_LENGTH, .initial = 8, .doc = "characters in a group"},
    {FIELD(density), .type = SF_REAL, .low = 0, .high = 1, .initial = 1,
     .doc = "share of the other sentences that are pairs too; the rest is prose"},
    {FIELD(depth), .type = SF_REAL, .low = -1, .high = 1, .initial = -1,
     .doc = "place of the asked pairs in the context, 0 (start) to 1 (end); below 0: anywhere"},
    {0},
};

const sf_task sf_niah = {
    .abi = SF_TASK_ABI,
    .name = "niah",
    .summary = "values of a few keys among many pairs of keys and values",
    .source = "Nawrot et al. 2025, arXiv 2504.17768, after RULER, arXiv 2404.06654",
    .metric = "exact",
    .version = 1,
    .output = 1024,
    .turns = true,
    .shared = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_pairs,
};
