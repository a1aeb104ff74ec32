/* Speed of the parts that a run is made of, beside what the machine gives at best, all measured in the same run. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/lab/bench.h"

static const struct argp_option options[] = {
    {"device", 'd', "NAME", 0, "backend (default: cpu)", 0},
    {"threads", 't', "N,…", 0, "threads (default: all cores)", 0},
    {"tokens", 'n', "N,…", 0, "lengths of the prompt (default 8192; sweep: 2048,4096; memory: 512)", 0},
    {"heads", 'H', "H/G,…", 0, "query heads / kv heads (default 7/1, a group of Qwen2.5-7B)", 0},
    {"head-dim", 'D', "D,…", 0, "head dims (default 128)", 0},
    {"sparsity", 's', "S,…", 0, "target sparsities, 1 - density (default 0.9); default: the methods' default budgets", 0},
    {"block", 'b', "B,…", 0, "block or page sizes (default: each method's own)", 0},
    {"entmax", 'e', "A,…", 0, "dense rows by α-entmax too, 1 < α <= 2", 0},
    {"cache", 'k', "NAME", 0, "decode: with the prompt packed to fp8, int8 or int4, too (repeatable)", 0},
    {"method", 'm', "NAME", 0, "only this method beside dense (repeatable)", 0},
    {"rows", 'R', "N,…", 0, "linear: rows of activations (default 1,28,2048)", 1},
    {"shape", 'S', "INxOUT", 0, "linear: shape of the weights (repeatable; default 576x1536, 3584x3584)", 1},
    {"dtype", 'T', "NAME", 0, "linear: only weights of this type (repeatable)", 1},
    {"model", 'M', "PATH", 0, "sweep, memory: the model", 2},
    {"output", 'o', "N", 0, "sweep, memory: tokens generated (default 64; memory: 4096)", 2},
    {"repeat", 'r', "N", 0, "timed calls (default 5; sweep: 1)", 3},
    {"csv", 'c', NULL, 0, "print comma-separated values", 3},
    {0},
};

static double number(struct argp_state *state, const char *name, const char *text, char **end, double low, double high)
{
    double value = strtod(text, end);
    if (*end == text || (**end && **end != ',') || !(value >= low && value <= high))
        argp_error(state, "--%s: expected numbers from %g to %g, apart by commas, found '%s'", name, low, high, text);
    return value;
}

static void list(struct argp_state *state, const char *name, const char *text, double low, double high, bool whole,
                 sf_numbers *out)
{
    out->n = 0;
    for (char *end;; text = end + 1) {
        double value = number(state, name, text, &end, low, high);
        if (whole && value != floor(value)) argp_error(state, "--%s: expected whole numbers, found '%s'", name, text);
        if (out->n == SF_BENCH_MOST) argp_error(state, "--%s: more than %d values", name, SF_BENCH_MOST);
        out->at[out->n++] = value;
        if (!*end) return;
    }
}

static void heads(struct argp_state *state, const char *arg, sf_bench_args *a)
{
    a->heads.n = a->kv_heads.n = 0;
    for (const char *at = arg; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        int h, g, used = 0;
        if (sscanf(at, "%d/%d%n", &h, &g, &used) != 2 || (at[used] && at[used] != ',') || g < 1 || h < 1 || h > 1024 || h % g ||
            a->heads.n == SF_BENCH_MOST)
            argp_error(state, "--heads: expected H/G with H a multiple of G, e.g. 28/4, found '%s'", arg);
        a->heads.at[a->heads.n++] = h;
        a->kv_heads.at[a->kv_heads.n++] = g;
    }
}

static const char *const parts[] = {"attention", "decode", "linear", "estimate", "sweep", "memory"};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    sf_bench_args *a = state->input;
    sf_numbers one;
    switch (key) {
    case 'd': a->device = arg; return 0;
    case 't': list(state, "threads", arg, 1, 4096, true, &a->threads); return 0;
    case 'n': list(state, "tokens", arg, 64, 1 << 20, true, &a->tokens); return 0;
    case 'H': heads(state, arg, a); return 0;
    case 'D': list(state, "head-dim", arg, 8, 256, true, &a->head_dim); return 0;
    case 's':
        if (strcmp(arg, "default") == 0)
            a->sparsity = (sf_numbers){1, {NAN}};
        else
            list(state, "sparsity", arg, 0, 0.9999, false, &a->sparsity);
        return 0;
    case 'b': list(state, "block", arg, 1, 4096, true, &a->block); return 0;
    case 'e': list(state, "entmax", arg, 1.01, 2, false, &a->entmax); return 0;
    case 'k': sf_strings_add(state, &a->caches, arg); return 0;
    case 'm': sf_strings_add(state, &a->methods, arg); return 0;
    case 'R': list(state, "rows", arg, 1, 1 << 20, true, &a->rows); return 0;
    case 'S': sf_strings_add(state, &a->shapes, arg); return 0;
    case 'T': sf_strings_add(state, &a->dtypes, arg); return 0;
    case 'M': a->model = arg; return 0;
    case 'o': list(state, "output", arg, 2, 1 << 16, true, &one), a->output = (int)one.at[0]; return 0;
    case 'r': list(state, "repeat", arg, 1, SF_BENCH_REPEATS, true, &one), a->repeat = (int)one.at[0]; return 0;
    case 'c': a->csv = true; return 0;
    case ARGP_KEY_ARG:
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            if (!a->part && strcmp(arg, parts[i]) == 0) return a->part = arg, 0;
        argp_error(state, "expected one of attention, decode, linear, estimate, sweep, memory; found '%s'", arg);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void complete(sf_bench_args *a)
{
    const bool sweep = a->part && strcmp(a->part, "sweep") == 0;
    const bool memory = a->part && strcmp(a->part, "memory") == 0;
    if (!a->output) a->output = memory ? 4096 : 64;
    if (!a->tokens.n && memory) a->tokens = (sf_numbers){1, {512}};
    if (!a->tokens.n) a->tokens = sweep ? (sf_numbers){2, {2048, 4096}} : (sf_numbers){1, {8192}};
    if (!a->repeat) a->repeat = sweep ? 1 : 5;
    if (!a->shapes.n) a->shapes = (sf_strings){2, {"576x1536", "3584x3584"}};
}

static sf_status run_part(const sf_bench_args *a)
{
    const char *part = a->part ? a->part : "";
    if (strcmp(part, "attention") == 0) return sf_bench_attention(a, true, false, false);
    if (strcmp(part, "decode") == 0) return sf_bench_attention(a, false, true, false);
    if (strcmp(part, "estimate") == 0) return sf_bench_attention(a, true, true, true);
    if (strcmp(part, "linear") == 0) return sf_bench_linear(a);
    if (strcmp(part, "sweep") == 0) return sf_bench_sweep(a);
    if (strcmp(part, "memory") == 0) return sf_bench_memory(a);
    return sf_bench_attention(a, true, true, false);
}

int sf_cmd_bench(int argc, char **argv)
{
    static const struct argp argp = {
        options, parse, "[attention|decode|linear|estimate|sweep|memory]",
        "Times the parts that a run is made of, beside this machine's multiply-adds and memory, measured in the same run. "
        "Without a part: attention, then decode. Let nothing else run.\v"
        "attention, decode: made-up queries and keys under every method, beside dense. Columns: choose, the time to select "
        "(ms; once a prompt for methods that evict); attend, attention over the selection, median and spread; density, executed "
        "pairs over causal pairs; rate, GFLOP/s in prefill, GB/s of keys and values in decode; % of the ceiling; choose %, of "
        "both; x, dense time over attention time; % of ideal, that times the density; x all, with what is chosen at every step; "
        "x floor, decode: over the time to read once what is read; MB kv, decode: keys and values read. Rows of a packed cache (--cache) stand behind "
        "the exact one's, their x over exact dense. Of α-entmax, which needs all scores, the density is of the values that weigh. Several lengths: the exponents by which times grow.\n\n"
        "estimate: choosing alone; its rate is of FLOPs in prefill, of bytes in decode; choose % is of it and dense attention.\n\n"
        "linear: rows by weights of each type; % peak of the multiply-adds that its type takes (of bytes for quantised ones on cpu-int8), % read of the memory's, x BLAS over fp32 weights.\n\n"
        "sweep: a decode grid (dense and 3 methods at 9 sparsities, at the first length) and a prefill grid (3 methods at 9, at the "
        "last) on a model: the dense cell alone, each cell's part, all together, all one by one; memory planned and held.\n\n"
        "memory: one generation that no token ends, dense and under every decode method: the keys that live in a kv head, and all "
        "their bytes; what a step reads. Nothing is timed.\n\n"
        "Examples:\n  frontier bench attention --tokens 4096,16384 --sparsity 0.9 --threads 1\n"
        "  frontier bench attention --tokens 1024,32768 --method block_sparse\n"
        "  frontier bench attention --tokens 4096,16384 --entmax 1.5 --method moba\n"
        "  frontier bench decode --tokens 32768 --cache int8 --method quest\n"
        "  frontier bench sweep --model models/smollm2-135m",
        NULL, NULL, NULL};
    sf_bench_args a = {.device = "cpu", .threads = {1, {0}}, .heads = {1, {7}}, .kv_heads = {1, {1}}, .head_dim = {1, {128}},
                       .sparsity = {1, {0.9}}, .block = {1, {0}}, .rows = {3, {1, 28, 2048}}};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    complete(&a);
    return sf_cli_end(run_part(&a));
}
