/* Attention and choosing under every method, on made-up queries and keys (synthetic.h), beside dense attention. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/lab/bench.h"
#include "harness/lab/synthetic.h"
#include "base/yaml.h"
#include "methods/find.h"

enum { TAIL = 1, MOST_METHODS = 64 };

struct growths {
    sf_growth choose, attend;
};

struct bench {
    const sf_bench_args *args;
    bool choose_only;
    int tokens, heads, kv_heads, head_dim, block; /* block 0: the methods' own */
    double sparsity;                              /* NAN: the methods' default budgets */

    sf_backend backend;
    sf_meter meter;
    sf_synthetic on;
    void *out; /* [tokens, H, D] */
    sf_ceilings ceilings;
    struct growths growth[SF_PHASES][MOST_METHODS + 1]; /* the last: dense */

    const sf_method *method; /* the one at hand; NULL: dense */
    sf_hook hook;
    void *params;
    sf_state state, carry;
    sf_attention a;
    sf_pattern pattern;
    const sf_cache_format *cache; /* that the prompt is packed to; NULL: it is exact */
    double alpha;            /* dense rows are normalised by α-entmax; 0: by softmax */
    uint64_t *weighed;       /* [H] backend memory, only with α … */
    uint64_t *weighs;        /* … and what is downloaded of it */
    double dense[SF_PHASES]; /* median seconds of dense attention */
};

/* Chooses anew; the pattern of the last call stays for attend(). */
static sf_status choose(void *what)
{
    struct bench *x = what;
    sf_scratch_release(&x->backend, (sf_mark){0, 0});
    return sf_hook_choose(x->hook, &x->a, x->method, x->params, &x->state, &x->pattern);
}

static sf_status attend(void *what)
{
    struct bench *x = what;
    sf_mark mark = sf_scratch_mark(&x->backend);
    const sf_attention *a = &x->a;
    const sf_pattern *pattern = &x->pattern;
    sf_status status = x->backend.phase == SF_PREFILL ? x->backend.ops->prefill(&x->backend, a, pattern, x->out)
                                                      : x->backend.ops->decode(&x->backend, 1, &a, &pattern, x->out);
    sf_scratch_release(&x->backend, mark);
    return status;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static const char *const phase_name[] = {"prefill", "decode"};

static void print_head(const struct bench *x)
{
    if (x->args->csv) return;
    printf("\n%d thread%s, %d tokens, %d/%d heads of %d, ", x->backend.threads, x->backend.threads == 1 ? "" : "s",
           x->tokens, x->heads, x->kv_heads, x->head_dim);
    if (isnan(x->sparsity))
        printf("default budgets");
    else
        printf("target sparsity %g", x->sparsity);
    if (x->block) printf(", blocks of %d", x->block);
    sf_bench_print_ceilings(&x->ceilings);
    printf("\n%-8s%-20s%10s%10s%20s%9s%9s%8s%9s%9s%8s%9s%9s%10s\n", "phase", "method", "choose ms", "attend ms",
           "spread ms  ", "density", "rate", "% ceil", "choose %", "x", "% ideal", "x all", "x floor", "MB kv");
}

/* Bytes of the keys and values of so many pairs of a decode step, each read once for its group of heads. */
static double kv_bytes(const struct bench *x, double pairs)
{
    return pairs / (x->heads / x->kv_heads) * 2 * (double)sf_cache_bytes(x->cache, x->backend.activation, 1, x->head_dim);
}

/* `bytes`: that one choice and its attention must read. */
static void print_row(struct bench *x, const char *method, const sf_timing *choosing, const sf_timing *attending,
                      double pairs, double density, double bytes, double flops)
{
    char name[48];
    snprintf(name, sizeof name, x->cache ? "%.30s, %s" : "%.30s", method, x->cache ? x->cache->name : "");
    const sf_phase phase = x->backend.phase;
    const bool once = x->method && x->hook == SF_HOOK_COMPRESS; /* chosen once a prompt, not once a token */
    const double total = attending->median + (once ? 0 : choosing->median);
    double rate = phase == SF_PREFILL ? pairs * (4.0 * x->head_dim + 3) / attending->median
                                      : kv_bytes(x, pairs) / attending->median;
    const double read = phase == SF_DECODE ? kv_bytes(x, pairs) / 1e6 : NAN;
    double ceiling = phase == SF_PREFILL ? x->ceilings.flops : x->ceilings.bytes;
    const sf_timing *spread = attending;
    if (x->choose_only && x->method) {
        rate = phase == SF_PREFILL ? flops / choosing->median : bytes / choosing->median;
        spread = choosing;
    }
    const double faster = x->dense[phase] / attending->median, with_choosing = x->dense[phase] / total;
    const double share =
        100 * choosing->median / (choosing->median + (x->choose_only ? x->dense[phase] : attending->median));
    const double floor = phase == SF_DECODE && !x->choose_only ? total / (bytes / x->ceilings.bytes) : NAN;
    if (x->args->csv)
        printf("%s,%s,%d,%d,%d,%d,%d,%d,%g,%.6g,%.6g,%.6g,%.6g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%s,%.6g\n",
               phase_name[phase], method, x->backend.threads, x->tokens, x->heads, x->kv_heads, x->head_dim, x->block,
               x->sparsity, 1e3 * choosing->median, 1e3 * attending->median, 1e3 * spread->least, 1e3 * spread->most,
               density, rate / 1e9, 100 * rate / ceiling, share, faster, 100 * faster * density, with_choosing, floor, x->cache ? x->cache->name : "exact",
               read);
    else
        printf("%-8s%-20s%10.3f%10.3f%9.3f..%-9.3f%9.4f%9.1f%8.1f%9.1f%9.2f%8.1f%9.2f%9.2f%10.1f\n", phase_name[phase], name,
               1e3 * choosing->median, 1e3 * attending->median, 1e3 * spread->least, 1e3 * spread->most, density,
               rate / 1e9, 100 * rate / ceiling, share, faster, 100 * faster * density, with_choosing, floor, read);
    fflush(stdout);
}

static double bytes_counted(const sf_meter *m, sf_phase phase)
{
    const sf_count *c = &m->at[phase][SF_ESTIMATION];
    return (double)(c->weight_bytes + c->cache_bytes + c->other_bytes);
}

static sf_status measure(struct bench *x, const char *name, struct growths *growth)
{
    const int repeat = x->args->repeat;
    const sf_phase phase = x->backend.phase;
    sf_timing choosing = {0}, attending = {NAN, NAN, NAN};
    double bytes = 0, flops = 0;
    if (x->method) {
        memset(&x->meter, 0, sizeof x->meter);
        SF_TRY(choose(x));
        bytes = bytes_counted(&x->meter, phase);
        flops = (double)x->meter.at[phase][SF_ESTIMATION].flops;
        SF_TRY(sf_bench_time(&x->backend, repeat, choose, x, &choosing));
    }
    if (x->hook == SF_HOOK_COMPRESS &&
        x->method) { /* eviction is timed once a prompt; decode then reads what is left */
        sf_pattern keep = x->pattern;
        SF_TRY(sf_synthetic_evict(&x->on, &keep, &x->a));
        x->pattern = (sf_pattern){0};
        bytes = 0;
    }
    if (!x->method || !x->choose_only) SF_TRY(sf_bench_time(&x->backend, repeat, attend, x, &attending));
    uint64_t pairs;
    SF_TRY(x->backend.ops->count_pairs(&x->backend, &x->a, &x->pattern, &pairs));
    double weighed = (double)pairs;
    if (x->alpha != 0) {
        const size_t bytes_of = (size_t)x->heads * sizeof *x->weighed;
        SF_TRY(x->backend.ops->zero(&x->backend, x->weighed, bytes_of));
        x->a.weighed = x->weighed, weighed = 0;
        SF_TRY(attend(x));
        SF_TRY(x->backend.ops->download(&x->backend, x->weighs, x->weighed, bytes_of));
        for (int h = 0; h < x->heads; h++) weighed += (double)x->weighs[h];
    }
    double n = x->tokens, causal = (phase == SF_PREFILL ? 0.5 * n * (n + 1) : n + TAIL) * x->heads;
    if (!x->choose_only) bytes += kv_bytes(x, (double)pairs);
    if (!x->method && x->alpha == 0 && !x->cache) x->dense[phase] = attending.median;
    print_row(x, name, &choosing, &attending, ((double)pairs + weighed) / 2, weighed / causal, bytes, flops);
    sf_growth_add(&growth->choose, n, choosing.median);
    sf_growth_add(&growth->attend, n, attending.median);
    return SF_OK;
}

/* ---- one method -------------------------------------------------------------------------------------------------- */

/* Blocks by what the method's table says: whole numbers that are called block or page. */
static void set_block(const sf_method *m, int block, void *params)
{
    for (const sf_param *p = m->params; block && p && p->name; p++)
        if (p->type == SF_INT && (strcmp(p->name, "block") == 0 || strcmp(p->name, "page") == 0))
            *(int *)((char *)params + p->offset) = block;
}

static sf_status set_params(struct bench *x, sf_phase phase)
{
    const sf_method *m = x->method;
    const sf_extent extent = {.phase = phase,
                              .tokens = x->tokens,
                              .output = TAIL,
                              .heads = x->heads,
                              .kv_heads = x->kv_heads,
                              .head_dim = x->head_dim,
                              .layers = 1,
                              .width = x->on.width};
    x->params = calloc(1, m->params_size + 1);
    if (!x->params) return sf_fail(SF_NO_MEMORY, "%s: no memory", m->name);
    SF_TRY(sf_yaml_params(NULL, m->params, NULL, x->params));
    set_block(m, x->block, x->params);
    return isnan(x->sparsity) ? SF_OK : sf_hook_fit(m, &extent, x->sparsity, x->params);
}

static sf_status bench_method(struct bench *x, const sf_method *method, sf_phase phase, struct growths *growth)
{
    x->method = method;
    x->hook = phase == SF_PREFILL ? SF_HOOK_PREFILL : method && method->compress ? SF_HOOK_COMPRESS : SF_HOOK_DECODE;
    x->backend.phase = phase;
    x->state = (sf_state){0};
    x->pattern = (sf_pattern){0};
    sf_status status = method ? set_params(x, phase) : SF_OK;
    if (status == SF_OK && method) status = sf_synthetic_weights(&x->on, method, x->params);
    if (status == SF_OK && x->hook == SF_HOOK_DECODE && method)
        status = sf_synthetic_observe(&x->on, method, x->params, &x->state);
    x->a = phase == SF_PREFILL || x->hook == SF_HOOK_COMPRESS ? sf_synthetic_prompt(&x->on)
                                                              : sf_synthetic_step(&x->on, TAIL);
    if (status == SF_OK && x->hook == SF_HOOK_COMPRESS && method)
        status = sf_hook_state(&x->a, method, x->params, x->tokens + TAIL, &x->on.arena, &x->state);
    if (status == SF_OK && method) status = sf_hook_carry(&x->a, method, x->params, x->tokens + TAIL, &x->on.arena, &x->carry);
    x->a.carry = &x->carry, x->a.alpha = (float)x->alpha;
    char name[32];
    snprintf(name, sizeof name, "%g-entmax", x->alpha);
    if (status == SF_OK) status = measure(x, method ? method->name : x->alpha != 0 ? name : "dense", growth);
    free(x->params);
    x->params = NULL;
    sf_scratch_release(&x->backend, (sf_mark){0, 0});
    return status;
}

static bool offers(const sf_method *m, sf_phase phase) { return phase == SF_PREFILL ? m->prefill != NULL : m->decode || m->compress; }

/* Why a method is not timed; NULL: it is. A prefill that carries goes on from its last choice, as from the layer before. */
static const char *unfit(const sf_method *m, sf_phase phase)
{
    if (!m->fit) return "it maps no target sparsity";
    if (m->settle || (m->carry && phase == SF_DECODE)) return "it takes several layers, and one is made up here";
    return NULL;
}

/* The same with the prompt packed to each format that is asked for; m NULL: dense. */
static sf_status bench_caches(struct bench *x, const sf_method *m, sf_phase phase)
{
    sf_status status = SF_OK;
    for (int i = 0; phase == SF_DECODE && !x->choose_only && status == SF_OK && i < x->args->caches.n; i++) {
        struct growths own = {0};
        x->cache = sf_cache_format_of(x->args->caches.item[i]);
        if (!sf_method_packs(m)) {
            fprintf(stderr, "frontier: %s: not timed with cache %s, whose keys it reads while it decodes\n", m->name, x->cache->name);
            continue;
        }
        status = sf_synthetic_pack(&x->on, x->cache);
        if (status == SF_OK) status = bench_method(x, m, phase, &own);
    }
    x->cache = NULL;
    if (status != SF_OK) return status;
    return sf_synthetic_pack(&x->on, NULL);
}

static sf_status bench_phase(struct bench *x, sf_phase phase)
{
    SF_TRY(bench_method(x, NULL, phase, &x->growth[phase][MOST_METHODS]));
    sf_status status = bench_caches(x, NULL, phase);
    for (int i = 0; status == SF_OK && !x->choose_only && i < x->args->entmax.n; i++) {
        struct growths own = {0};
        x->alpha = x->args->entmax.at[i];
        status = bench_method(x, NULL, phase, &own);
    }
    x->alpha = 0;
    if (status != SF_OK) return status;
    for (int i = 0; sf_methods[i] && i < MOST_METHODS; i++) {
        const sf_method *m = sf_methods[i];
        const char *why = unfit(m, phase);
        if (!offers(m, phase) || !sf_bench_wants(&x->args->methods, m->name)) continue;
        if (why) fprintf(stderr, "frontier: %s, %s: not timed, as %s\n", m->name, phase_name[phase], why);
        else SF_TRY(bench_method(x, m, phase, &x->growth[phase][i]));
        if (!why) SF_TRY(bench_caches(x, m, phase));
    }
    return SF_OK;
}

static sf_status bench_tokens(struct bench *x, bool prefill, bool decode)
{
    x->on = (sf_synthetic){.tokens = x->tokens,
                           .tail = TAIL,
                           .heads = x->heads,
                           .kv_heads = x->kv_heads,
                           .head_dim = x->head_dim,
                           .width = x->heads * x->head_dim,
                           .sinks = true,
                           .own = true,
                           .seed = 1};
    sf_status status = sf_synthetic_open(&x->on, &x->backend);
    size_t bytes = sf_bytes(x->backend.activation, (int64_t)x->tokens * x->heads * x->head_dim);
    if (status == SF_OK) status = x->backend.ops->alloc(&x->backend, bytes, &x->out);
    x->weighs = calloc((size_t)x->heads, sizeof *x->weighs);
    if (!x->weighs) status = sf_fail(SF_NO_MEMORY, "bench: no memory");
    if (status == SF_OK) status = x->backend.ops->alloc(&x->backend, (size_t)x->heads * sizeof *x->weighed, (void **)&x->weighed);
    if (x->args->entmax.n && !x->backend.ops->entmax) status = sf_fail(SF_UNSUPPORTED, "--entmax: %s has no attention by α-entmax", x->args->device);
    if (status == SF_OK) print_head(x);
    if (status == SF_OK && prefill) status = bench_phase(x, SF_PREFILL);
    if (status == SF_OK && decode) status = bench_phase(x, SF_DECODE);
    if (x->out) x->backend.ops->free(&x->backend, x->out);
    if (x->weighed) x->backend.ops->free(&x->backend, x->weighed);
    free(x->weighs);
    x->out = NULL, x->weighed = x->weighs = NULL;
    sf_synthetic_close(&x->on);
    return status;
}

/* ---- all settings ------------------------------------------------------------------------------------------------ */

static void print_growth(const struct bench *x)
{
    for (int p = 0; p < SF_PHASES; p++) {
        for (int i = MOST_METHODS; i >= 0; i = i == MOST_METHODS                           ? 0
                                               : sf_methods[i + 1] && i + 1 < MOST_METHODS ? i + 1
                                                                                           : -1) {
            double attend_by = sf_growth_exponent(&x->growth[p][i].attend),
                   choose_by = sf_growth_exponent(&x->growth[p][i].choose);
            if (isnan(attend_by) && isnan(choose_by)) continue;
            printf(x->args->csv ? "growth,%s,%s,%.3f,%.3f\n"
                                : "growth  %s, %s: attention by tokens^%.2f, choosing by tokens^%.2f\n",
                   phase_name[p], i == MOST_METHODS ? "dense" : sf_methods[i]->name, attend_by, choose_by);
        }
    }
}

static sf_status bench_lengths(struct bench *x, bool prefill, bool decode)
{
    memset(x->growth, 0, sizeof x->growth);
    for (int i = 0; i < x->args->tokens.n; i++) {
        x->tokens = (int)x->args->tokens.at[i];
        SF_TRY(bench_tokens(x, prefill, decode));
    }
    print_growth(x);
    return SF_OK;
}

static sf_status bench_threads(struct bench *x, bool prefill, bool decode)
{
    const sf_bench_args *a = x->args;
    for (int h = 0; h < a->heads.n; h++)
        for (int d = 0; d < a->head_dim.n; d++)
            for (int s = 0; s < a->sparsity.n; s++)
                for (int b = 0; b < a->block.n; b++) {
                    x->heads = (int)a->heads.at[h], x->kv_heads = (int)a->kv_heads.at[h];
                    x->head_dim = (int)a->head_dim.at[d];
                    x->sparsity = a->sparsity.at[s];
                    x->block = (int)a->block.at[b];
                    SF_TRY(bench_lengths(x, prefill, decode));
                }
    return SF_OK;
}

sf_status sf_bench_attention(const sf_bench_args *a, bool prefill, bool decode, bool choose_only)
{
    for (int i = 0; i < a->methods.n; i++)
        if (!sf_method_find(a->methods.item[i]))
            return sf_fail(SF_BAD_INPUT, "--method: unknown method '%s'; `frontier list methods` names them", a->methods.item[i]);
    for (int i = 0; i < a->caches.n; i++) {
        const sf_cache_format *f = sf_cache_format_of(a->caches.item[i]);
        if (!f || !f->packed) return sf_fail(SF_BAD_INPUT, "--cache: expected fp8, int8 or int4, found '%s'", a->caches.item[i]);
    }
    if (a->csv)
        puts("phase,method,threads,tokens,heads,kv_heads,head_dim,block,target_sparsity,choose_ms,attend_ms,least_ms,"
             "most_ms,"
             "density,rate_g,ceiling_percent,choose_percent,speedup,ideal_percent,speedup_all,times_floor,cache,kv_megabytes");
    for (int t = 0; t < a->threads.n; t++) {
        struct bench x = {.args = a, .choose_only = choose_only};
        SF_TRY(sf_backend_open(a->device, (int)a->threads.at[t], &x.backend));
        x.backend.meter = &x.meter;
        sf_status status = sf_bench_ceilings(&x.backend, a->repeat, &x.ceilings);
        if (status == SF_OK) status = bench_threads(&x, prefill, decode);
        sf_backend_close(&x.backend);
        SF_TRY(status);
    }
    return SF_OK;
}
