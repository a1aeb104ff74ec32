/* Speed of attention under every method, beside dense attention and beside what the machine gives at best, all measured in
 * the same run: medians of repeated calls after a warm-up. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli.h"
#include "harness/progress.h"
#include "harness/synthetic.h"
#include "harness/yaml.h"

enum { MOST_REPEATS = 101, TAIL = 1, READ_BYTES = 1 << 28 };

static const struct argp_option options[] = {
    {"device", 'd', "NAME", 0, "backend (default: cpu)", 0},
    {"threads", 't', "N", 0, "threads (default: all cores)", 0},
    {"tokens", 'n', "N", 0, "length of the prompt (default 8192)", 0},
    {"heads", 'H', "H/G", 0, "query heads / kv heads (default 7/1, a group of Qwen2.5-7B)", 0},
    {"head-dim", 'D', "D", 0, "head dim (default 128)", 0},
    {"sparsity", 's', "S", 0, "target sparsity (default 0.9)", 0},
    {"repeat", 'r', "N", 0, "timed calls (default 5)", 0},
    {"csv", 'c', NULL, 0, "print comma-separated values", 0},
    {0},
};

struct args { const char *device; int threads, tokens, heads, kv_heads, head_dim, repeat; double sparsity; bool csv; };

static int whole(struct argp_state *state, const char *name, const char *arg, int low, int high)
{
    char *end;
    long value = strtol(arg, &end, 10);
    if (end == arg || *end || value < low || value > high)
        argp_error(state, "--%s: expected a whole number from %d to %d, found '%s'", name, low, high, arg);
    return (int)value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    char *end;
    switch (key) {
    case 'd': a->device = arg; return 0;
    case 't': a->threads = whole(state, "threads", arg, 1, 4096); return 0;
    case 'n': a->tokens = whole(state, "tokens", arg, 64, 1 << 20); return 0;
    case 'D': a->head_dim = whole(state, "head-dim", arg, 8, 256); return 0;
    case 'r': a->repeat = whole(state, "repeat", arg, 1, MOST_REPEATS); return 0;
    case 'c': a->csv = true; return 0;
    case 'H':
        if (sscanf(arg, "%d/%d", &a->heads, &a->kv_heads) != 2 || a->kv_heads < 1 || a->heads < 1 || a->heads > 1024 ||
            a->heads % a->kv_heads)
            argp_error(state, "--heads: expected H/G with H a multiple of G, e.g. 28/4, found '%s'", arg);
        return 0;
    case 's':
        a->sparsity = strtod(arg, &end);
        if (end == arg || *end || !(a->sparsity >= 0 && a->sparsity < 1))
            argp_error(state, "--sparsity: expected a number from 0 to below 1, found '%s'", arg);
        return 0;
    case ARGP_KEY_ARG: argp_error(state, "takes no argument, found '%s'", arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- timing ------------------------------------------------------------------------------------------------------------- */

struct timing { double median, least, most; }; /* seconds */

typedef sf_status (*timed)(void *what);

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Once to warm up, then `repeat` times. `b`: whose work is waited for; NULL: none. */
static sf_status time_it(sf_backend *b, int repeat, timed call, void *what, struct timing *out)
{
    double seconds[MOST_REPEATS];
    for (int i = -1; i < repeat; i++) {
        double began = sf_now();
        SF_TRY(call(what));
        if (b) SF_TRY(b->ops->synchronize(b));
        if (i >= 0) seconds[i] = sf_now() - began;
    }
    qsort(seconds, (size_t)repeat, sizeof *seconds, by_value);
    *out = (struct timing){seconds[repeat / 2], seconds[0], seconds[repeat - 1]};
    return SF_OK;
}

/* ---- ceilings of the host ------------------------------------------------------------------------------------------------- */

enum { SIDE = 1536 };

static sf_status multiply(void *what)
{
    float *a = what;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1, a, SIDE, a + SIDE * SIDE, SIDE, 0,
                a + 2 * SIDE * SIDE, SIDE);
    return SF_OK;
}

static volatile float sink; /* what keeps the reading loop from being left out */

static sf_status read_all(void *what)
{
    const float *a = what;
    float sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(static)
    for (long i = 0; i < READ_BYTES / 64; i++) { /* one number of each cache line: the rest comes with it */
        sum += a[16 * i];
    }
    sink = sum;
    return SF_OK;
}

static sf_status ceilings(const struct args *a, double *flops, double *bytes)
{
    float *memory = malloc(READ_BYTES);
    if (!memory) return sf_fail(SF_NO_MEMORY, "no memory to measure the machine with");
    for (long i = 0; i < READ_BYTES / 4; i++) memory[i] = 1.0f / (float)(i % 97 + 1);
    struct timing t;
    sf_status status = time_it(NULL, a->repeat, multiply, memory, &t);
    *flops = 2.0 * SIDE * SIDE * SIDE / t.median;
    if (status == SF_OK) status = time_it(NULL, a->repeat, read_all, memory, &t);
    *bytes = READ_BYTES / t.median;
    free(memory);
    return status;
}

/* ---- attention under a method ------------------------------------------------------------------------------------------------ */

struct bench {
    const struct args *args;
    sf_backend backend;
    sf_meter meter;
    sf_synthetic on;
    void *out;                        /* [tokens, H, D] */
    double flops, bytes;              /* ceilings, a second; 0: not measured */

    const sf_method *method;          /* the one at hand; NULL: dense */
    sf_hook hook;
    void *params;
    sf_state state;
    sf_attention a;
    sf_pattern pattern;
    double dense[SF_PHASES];          /* median seconds of dense attention */
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

static void print_row(struct bench *x, const char *name, const struct timing *choosing, const struct timing *attending,
                      double density)
{
    const struct args *a = x->args;
    sf_phase phase = x->backend.phase;
    double causal = phase == SF_PREFILL ? 0.5 * a->tokens * (a->tokens + 1.0) : a->tokens + TAIL;
    double pairs = density * causal * a->heads;
    bool once = x->method && x->hook == SF_HOOK_COMPRESS; /* chosen once a prompt, not once a token */
    double total = attending->median + (once ? 0 : choosing->median);
    double rate = phase == SF_PREFILL ? pairs * (4.0 * a->head_dim + 3) / attending->median
                                      : pairs / (a->heads / a->kv_heads) * 2 * a->head_dim *
                                            (double)sf_bytes(x->backend.activation, 1) / attending->median;
    double ceiling = phase == SF_PREFILL ? x->flops : x->bytes;
    double faster = x->dense[phase] / attending->median, with_choosing = x->dense[phase] / total;
    const char *format = a->csv ? "%s,%s,%.6g,%.6g,%.6g,%.6g,%.6g,%.4g,%.4g,%.4g,%.4g,%.4g\n"
                                : "%-8s%-20s%10.3f%10.3f%9.3f..%-9.3f%9.4f%9.1f%8.1f%9.2f%8.1f%9.2f\n";
    printf(format, phase == SF_PREFILL ? "prefill" : "decode", name, 1e3 * choosing->median, 1e3 * attending->median,
           1e3 * attending->least, 1e3 * attending->most, density, rate / 1e9, ceiling > 0 ? 100 * rate / ceiling : NAN, faster,
           100 * faster * density, with_choosing);
    fflush(stdout);
}

static sf_status measure(struct bench *x, const char *name)
{
    struct timing choosing = {0}, attending;
    if (x->method) SF_TRY(time_it(&x->backend, x->args->repeat, choose, x, &choosing));
    if (x->hook == SF_HOOK_COMPRESS && x->method) { /* eviction is timed once a prompt; decode then reads what is left */
        sf_pattern keep = x->pattern;
        SF_TRY(sf_synthetic_evict(&x->on, &keep, &x->a));
        x->pattern = (sf_pattern){0};
    }
    SF_TRY(time_it(&x->backend, x->args->repeat, attend, x, &attending));
    uint64_t pairs;
    SF_TRY(x->backend.ops->count_pairs(&x->backend, &x->a, &x->pattern, &pairs));
    double n = x->args->tokens;
    double causal = x->backend.phase == SF_PREFILL ? 0.5 * n * (n + 1) : n + TAIL;
    if (!x->method) x->dense[x->backend.phase] = attending.median;
    print_row(x, name, &choosing, &attending, (double)pairs / (causal * x->args->heads));
    return SF_OK;
}

static sf_status bench_method(struct bench *x, const sf_method *method, sf_phase phase)
{
    const struct args *a = x->args;
    const sf_extent extent = {.phase = phase, .tokens = a->tokens, .output = TAIL, .heads = a->heads,
                              .kv_heads = a->kv_heads, .head_dim = a->head_dim, .layers = 1};
    x->method = method;
    x->hook = phase == SF_PREFILL ? SF_HOOK_PREFILL : method && method->compress ? SF_HOOK_COMPRESS : SF_HOOK_DECODE;
    x->backend.phase = phase;
    x->state = (sf_state){0};
    x->pattern = (sf_pattern){0};
    sf_status status = SF_OK;
    if (method) {
        x->params = calloc(1, method->params_size + 1);
        status = x->params ? sf_yaml_params(NULL, method->params, NULL, x->params) : sf_fail(SF_NO_MEMORY, "%s: no memory", method->name);
        if (status == SF_OK) status = sf_hook_fit(method, &extent, a->sparsity, x->params);
    }
    if (status == SF_OK && x->hook == SF_HOOK_DECODE && method)
        status = sf_synthetic_observe(&x->on, method, x->params, &x->state);
    x->a = phase == SF_PREFILL || x->hook == SF_HOOK_COMPRESS ? sf_synthetic_prompt(&x->on) : sf_synthetic_step(&x->on, TAIL);
    if (status == SF_OK) status = measure(x, method ? method->name : "dense");
    free(x->params);
    x->params = NULL;
    sf_scratch_release(&x->backend, (sf_mark){0, 0});
    return status;
}

static sf_status bench_all(struct bench *x)
{
    const struct args *a = x->args;
    x->on = (sf_synthetic){.tokens = a->tokens, .tail = TAIL, .heads = a->heads, .kv_heads = a->kv_heads,
                           .head_dim = a->head_dim, .sinks = true, .own = true, .seed = 1};
    SF_TRY(sf_synthetic_open(&x->on, &x->backend));
    size_t bytes = sf_bytes(x->backend.activation, (int64_t)a->tokens * a->heads * a->head_dim);
    SF_TRY(x->backend.ops->alloc(&x->backend, bytes, &x->out));
    for (int p = 0; p < SF_PHASES; p++) {
        SF_TRY(bench_method(x, NULL, (sf_phase)p));
        for (int i = 0; sf_methods[i]; i++) {
            const sf_method *m = sf_methods[i];
            if (m->fit && (p == SF_PREFILL ? m->prefill != NULL : m->decode || m->compress)) SF_TRY(bench_method(x, m, (sf_phase)p));
        }
    }
    return SF_OK;
}

int sf_cmd_bench(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse, NULL,
        "Times attention under every method on made-up queries and keys, beside dense attention and beside this machine's "
        "matrix product and memory, measured in the same run. Let nothing else run.\v"
        "Columns: choose, the time to select (ms; once a prompt for methods that evict); attend, attention over the selection, "
        "median and spread; density, executed pairs over causal pairs; rate, GFLOP/s in prefill, GB/s of keys and values in "
        "decode; % of the ceiling; x, dense time over attention time; % of ideal, that times the density; x all, with what is "
        "chosen at every step.\n\nExample:\n  frontier bench --tokens 16384 --heads 28/4 --sparsity 0.9 --threads 1",
        NULL, NULL, NULL};
    struct args a = {.device = "cpu", .tokens = 8192, .heads = 7, .kv_heads = 1, .head_dim = 128, .repeat = 5, .sparsity = 0.9};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    struct bench x = {.args = &a};
    sf_status status = sf_backend_open(a.device, a.threads, &x.backend);
    if (status != SF_OK) return sf_cli_end(status);
    x.backend.meter = &x.meter;
    bool host = x.backend.activation == SF_F32;
    if (host) {
        openblas_set_num_threads(x.backend.threads);
        omp_set_num_threads(x.backend.threads);
        status = ceilings(&a, &x.flops, &x.bytes);
    }
    if (status == SF_OK && a.csv) {
        puts("phase,method,choose_ms,attend_ms,least_ms,most_ms,density,rate_g,ceiling_percent,speedup,ideal_percent,speedup_all");
    } else if (status == SF_OK) {
        printf("%s, %d thread%s, %d tokens, %d/%d heads of %d, target sparsity %g, %d calls", a.device, x.backend.threads,
               x.backend.threads == 1 ? "" : "s", a.tokens, a.heads, a.kv_heads, a.head_dim, a.sparsity, a.repeat);
        if (host) printf("; ceilings here: fp32 matrix product %.0f GFLOP/s, memory read %.1f GB/s", x.flops / 1e9, x.bytes / 1e9);
        printf("\n\n%-8s%-20s%10s%10s%20s%9s%9s%8s%9s%8s%9s\n", "phase", "method", "choose ms", "attend ms", "spread ms  ", "density",
               "rate", "% ceil", "x", "% ideal", "x all");
    }
    if (status == SF_OK) status = bench_all(&x);
    if (x.out) x.backend.ops->free(&x.backend, x.out);
    sf_synthetic_close(&x.on);
    sf_backend_close(&x.backend);
    return sf_cli_end(status);
}
