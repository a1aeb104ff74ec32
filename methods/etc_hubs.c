/* ETC in a decoder: some keys are hubs, which all later queries read, and whose own queries read all that is before them;
 * beside them a window. Hubs stand evenly, or where a line, a sentence or a chapter of the prompt begins.
 *
 * ETC gives its hubs (230 beside 4096 tokens) an input of their own, one for each sentence or so, and labels that tie a hub
 * to its segment; a language model has neither, so that tokens of the prompt stand in, and a hub's query sees its past only.
 * Of more beginnings than hubs every so many-th is one; of fewer, all are. Half of a target's pairs go to the hubs, their
 * columns and their rows, half to the window: where the prompt has fewer beginnings, less than the target is read. */
#include "methods/method.h"

#include <stdlib.h>

struct params {
    int hubs, window, structure;
};

enum { EVEN, LINES, SENTENCES, CHAPTERS };

static const sf_param PARAMS[] = {
    {.name = "window", .type = SF_INT, .offset = offsetof(struct params, window), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 85, .doc = "latest keys a query reads, its own included"},
    {.name = "hubs", .type = SF_INT, .offset = offsetof(struct params, hubs), .budget = true,
     .low = 0, .high = 1 << 20, .initial = 230, .doc = "hubs in the prompt at most, the first key among them"},
    {.name = "structure", .type = SF_CHOICE, .offset = offsetof(struct params, structure),
     .choices = "even|line|sentence|chapter", .initial = 0, .late = true, .doc = "where hubs stand: evenly spaced, or where one begins"},
    {0},
};

static int smaller(int x, int y) { return x < y ? x : y; }

/* The distance between hubs; of the prompt's tokens, so that it stays while tokens are generated. */
static int spacing(int tokens, int hubs) { return (tokens + hubs - 1) / hubs; }

/* Where the prompt's parts begin, or every so many-th of these. */
static sf_lists beginnings(sf_attention *a, int tokens, int hubs, int structure)
{
    const int bit = structure == LINES ? SF_BEGINS_LINE : structure == SENTENCES ? SF_BEGINS_SENTENCE : SF_BEGINS_CHAPTER;
    int32_t found = 0, kept = 0, *at = malloc((size_t)tokens * sizeof *at);
    if (!a->begins) a->status = sf_fail(SF_UNSUPPORTED, "etc_hubs: nobody knows where the parts of this prompt begin; structure: even");
    else if (!at) a->status = sf_fail(SF_NO_MEMORY, "etc_hubs: %d tokens", tokens);
    for (int i = 0; i < tokens && !a->status; i++)
        if (i == 0 || a->begins[i] & bit) at[found++] = i;
    for (int32_t i = 0; i < found; i += spacing(found, smaller(hubs, found))) at[kept++] = at[i];
    sf_lists hub = sf_host_lists(a, 1, kept, &kept, at);
    free(at);
    return hub;
}

static sf_status choose(sf_attention *a, const struct params *p, int tokens, bool rows, sf_pattern *out)
{
    const sf_band band[SF_BANDS_A_HEAD] = {{.far = p->window, .step = 1}};
    int hubs = smaller(p->hubs, tokens);
    sf_lists at = {0};
    if (hubs) at = p->structure == EVEN ? sf_every(a, 1, 0, tokens, spacing(tokens, hubs)) : beginnings(a, tokens, hubs, p->structure);
    return sf_bands(a, out, 1, band, at, rows ? at : (sf_lists){0});
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    return choose(a, params, a->keys, true, out);
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return choose(a, params, a->kv.prompt.n, false, out);
}

struct fitting {
    int tokens, window; /* window 0: the amount is it */
    int hubs;           /* beside it */
};

/* What a row reads; as many hubs as given, or as the amount says. */
static double keys_of(const void *what, int amount, int row)
{
    const struct fitting *f = what;
    int hubs = f->window ? amount : f->hubs, window = f->window ? f->window : amount;
    if (hubs < 1) return smaller(window, row + 1);
    int each = spacing(f->tokens, smaller(hubs, f->tokens)), before = row + 1 - window, last = smaller(before, f->tokens);
    if (row < f->tokens && row % each == 0) return row + 1;
    return smaller(window, row + 1) + (last > 0 ? (last - 1) / each + 1 : 0);
}

static double pairs(const sf_extent *e, const void *what, int amount) { return sf_sum_rows(e, what, amount, keys_of); }

static sf_status fit(const sf_extent *e, double sparsity, void *params)
{
    struct params *p = params;
    int most = e->tokens + (e->phase == SF_DECODE ? e->output : 0);
    struct fitting f = {.tokens = e->tokens, .window = 1};
    p->hubs = sf_fit_amount(e, (1 + sparsity) / 2, 1, e->tokens, pairs, &f);
    f.window = 0, f.hubs = p->hubs;
    p->window = sf_fit_amount(e, sparsity, 1, most, pairs, &f);
    return SF_OK;
}

const sf_method sf_etc_hubs = {
    .abi = SF_METHOD_ABI,
    .name = "etc_hubs",
    .form = SF_FORM_FIXED,
    .summary = "hubs that all read and that read all, and a window",
    .paper = "Ainslie et al. 2020, ETC, arXiv 2004.08483",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .fit = fit,
    .prefill = prefill,
    .decode = decode,
    .packs = true,
    .structure = true,
};
