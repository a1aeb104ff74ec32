/* The CPU backend against its ceilings, by the processor time of one thread: a machine that does other things besides takes
 * that thread's core away, and no time is counted then. Ceiling and kernel take turns, so that both meet the same clock.
 *
 *   [SF_CPU_ISA=avx2] taskset -c 1 bench_cpu [REPEATS [WORD ...]]     words: dense blocks choose linear row decode; without, all
 *
 * Printed are the median and the best of each, GFLOP/s or GB/s, the median of the shares of the ceiling that ran just before,
 * and the share of the bests. Ceilings: multiply_add() of the instruction set that runs; OpenBLAS's sgemm on fp32 weights
 * for layers of many rows; for what is bound by memory, the fastest of 256 MiB summed up line by line. */
#include <cblas.h>

#include "base/yaml.h"
#include "harness/engine/hooks.h"
#include "kernels/cpu/cpu.h"
#include "methods/find.h"
#include "tests/bench_scene.h"

enum { MOST_REPEATS = 999, READ = 256 << 20 };

static int repeats = 15;
static float *memory;
static volatile float sink;

static double fma_rate(void) /* FLOP/s */
{
    enum { STEPS = 1 << 17 };
    double began = now();
    sink = sf_cpu_tiles(&b)->multiply_add(STEPS, 1e-9f);
    return 2.0 * STEPS * SF_CHAIN_FLOATS / (now() - began) * 1e3;
}

static double read_rate(void) /* byte/s */
{
    float sum[8] = {0};
    double began = now();
    for (long i = 0; i < READ / 4; i += 128)
        for (int j = 0; j < 8; j++) sum[j] += memory[i + 16 * j];
    double ms = now() - began;
    for (int j = 0; j < 8; j++) sink = sum[j];
    return READ / ms * 1e3;
}

/* One row of the table: `work` FLOP or bytes of `call`, under a ceiling; returns the best rate. */
static double measure(const char *what, double work, double (*ceiling)(void), sf_status (*call)(void *), void *with)
{
    double rate[MOST_REPEATS], top[MOST_REPEATS], share[MOST_REPEATS];
    MUST(call(with));
    for (int i = 0; i < repeats; i++) {
        top[i] = ceiling();
        double began = now();
        MUST(call(with));
        rate[i] = work / (now() - began) * 1e3;
        share[i] = rate[i] / top[i];
    }
    qsort(rate, (size_t)repeats, sizeof *rate, ascending);
    qsort(top, (size_t)repeats, sizeof *top, ascending);
    qsort(share, (size_t)repeats, sizeof *share, ascending);
    double best = rate[repeats - 1], most = top[repeats - 1];
    printf("%-34s %8.2f (best %8.2f) of %8.2f (best %8.2f)   %5.1f %% of each   %5.1f %% of the bests\n", what,
           rate[repeats / 2] / 1e9, best / 1e9, top[repeats / 2] / 1e9, most / 1e9, 100 * share[repeats / 2], 100 * best / most);
    fflush(stdout);
    return best;
}

/* ---- attention ---------------------------------------------------------------------------------------------------- */

struct work {
    sf_attention a;
    sf_pattern p;
    void *out;
};

static sf_status many(void *what)
{
    struct work *w = what;
    return b.ops->prefill(&b, &w->a, &w->p, w->out);
}

static sf_status one(void *what)
{
    struct work *w = what;
    const sf_attention *a = &w->a;
    const sf_pattern *p = &w->p;
    return b.ops->decode(&b, 1, &a, &p, w->out);
}

static double pairs_of(const struct work *w)
{
    uint64_t pairs;
    MUST(b.ops->count_pairs(&b, &w->a, &w->p, &pairs));
    return (double)pairs;
}

static void prefills(int dim, int tokens, bool sparse)
{
    struct work w = {.a = scene(2, 1, dim, tokens), .p = {.kind = SF_DENSE}};
    char name[64];
    w.out = room(sf_bytes(SF_F32, (int64_t)tokens * 2 * dim));
    snprintf(name, sizeof name, "dense %d, head dim %d", tokens, dim);
    double dense = measure(name, pairs_of(&w) * (4 * dim + 3), fma_rate, many, &w);
    for (int block = 16; sparse && block <= 64; block *= 4) {
        int64_t blocks = tokens / block, most = blocks;
        int32_t *count = malloc((size_t)blocks * sizeof *count), *index = malloc((size_t)(blocks * most) * sizeof *index);
        for (int64_t i = 0; i < blocks; i++) { /* a tenth of the keys, spread out, and the row's own */
            count[i] = 0;
            for (int64_t j = 0; j <= i; j++)
                if (j == i || random32() % 10 == 0) index[i * most + count[i]++] = (int32_t)j;
        }
        w.p = (sf_pattern){.kind = SF_BLOCKS, .heads = 1, .block_q = block, .block_k = block, .first = {blocks, most, count, index}};
        snprintf(name, sizeof name, "blocks of %d, density .1", block);
        double rate = measure(name, pairs_of(&w) * (4 * dim + 3), fma_rate, many, &w);
        printf("%34s %.1f %% of ideal\n", "", 100 * rate / dense);
        free(count), free(index);
    }
    b.ops->free(&b, w.out);
    free_scene(&w.a);
}

static sf_status probe_alone(void *what)
{
    struct work *w = what;
    const sf_attention *a = &w->a;
    float *sums = w->out; /* there is room in the result */
    return b.ops->probe(&b, a, 256, 1, SF_SUM, sums, sums + (int64_t)a->heads * a->keys);
}

/* Vertical-Slash at sparsity .9: its pattern stays for the attention that follows. */
struct chooser {
    struct work w;
    const sf_method *method;
    void *params;
};

static sf_status choose(void *what)
{
    struct chooser *c = what;
    sf_scratch_release(&b, (sf_mark){0, 0});
    return sf_hook_choose(SF_HOOK_PREFILL, &c->w.a, c->method, c->params, NULL, &c->w.p);
}

/* Choosing beside the attention that it is for, in turns; of choosing, the probe's products alone have a ceiling. */
static void chooses(int dim, int tokens)
{
    struct chooser c = {.w.a = scene(7, 1, dim, tokens)};
    const sf_extent extent = {.tokens = tokens, .heads = 7, .kv_heads = 1, .head_dim = dim, .phase = SF_PREFILL};
    double chosen[MOST_REPEATS], attended[MOST_REPEATS], share[MOST_REPEATS];
    char name[64];
    c.w.out = room(sf_bytes(SF_F32, (int64_t)tokens * 7 * dim));
    c.method = sf_method_find("vertical_slash");
    c.params = calloc(1, c.method->params_size);
    MUST(sf_yaml_params(NULL, c.method->params, NULL, c.params));
    MUST(sf_hook_fit(c.method, &extent, .9, c.params));
    snprintf(name, sizeof name, "probe of 256 at %d, head dim %d", tokens, dim);
    measure(name, 2.0 * 7 * dim * 256 * (tokens - 127.5), fma_rate, probe_alone, &c.w);
    for (int i = -1; i < repeats; i++) {
        double began = now(), between;
        MUST(choose(&c));
        between = now();
        MUST(many(&c.w));
        if (i >= 0) chosen[i] = between - began, attended[i] = now() - between, share[i] = chosen[i] / (now() - began);
    }
    qsort(chosen, (size_t)repeats, sizeof *chosen, ascending);
    qsort(attended, (size_t)repeats, sizeof *attended, ascending);
    qsort(share, (size_t)repeats, sizeof *share, ascending);
    printf("choosing of vertical_slash: %.1f ms (best %.1f), attention %.1f ms (best %.1f): choosing is %.1f %% of both\n",
           chosen[repeats / 2], chosen[0], attended[repeats / 2], attended[0], 100 * share[repeats / 2]);
    free(c.params);
    b.ops->free(&b, c.w.out);
    free_scene(&c.w.a);
}

static void decodes(int tokens)
{
    struct work w = {.a = scene(32, 8, 128, tokens), .p = {.kind = SF_DENSE}};
    char name[64];
    w.a.queries = 1;
    w.out = room(sf_bytes(SF_F32, 32 * 128));
    b.phase = SF_DECODE;
    snprintf(name, sizeof name, "decode behind %d, 32/8 of 128", tokens);
    measure(name, 2.0 * tokens * 8 * 128 * 4, read_rate, one, &w);
    b.phase = SF_PREFILL;
    b.ops->free(&b, w.out);
    free_scene(&w.a);
}

/* ---- linear layers -------------------------------------------------------------------------------------------------- */

struct layer {
    sf_tensor w;
    int64_t rows, in, out;
    float *x, *y, *wide;
};

static sf_status apply(void *what)
{
    struct layer *l = what;
    const sf_tensor no_bias = {0};
    return b.ops->linear(&b, l->x, l->rows, &l->w, &no_bias, false, l->y, SF_F32);
}

static struct layer *blas;

static double gemm_rate(void)
{
    int in = (int)blas->in, out = (int)blas->out;
    double began = now();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)blas->rows, out, in, 1, blas->x, in, blas->wide, in, 0, blas->y, out);
    return 2.0 * (double)(blas->rows * in * out) / (now() - began) * 1e3;
}

/* Random bits, but none that make a scale or a plain number large, nor one subnormal, which Intel's processors multiply some hundred times
 * slower. */
static void layers(int64_t rows, int64_t in, int64_t out)
{
    static const sf_dtype types[] = {SF_F32,  SF_BF16, SF_F16,  SF_Q8_0, SF_Q4_0, SF_Q5_0,   SF_Q2_K,
                                     SF_Q3_K, SF_Q4_K, SF_Q5_K, SF_Q6_K, SF_IQ4_XS};
    struct layer l = {.rows = rows, .in = in, .out = out};
    l.x = noise(rows * in), l.y = room((size_t)(rows * out) * 4), l.wide = noise(in * out);
    blas = &l;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        size_t bytes = sf_bytes(types[t], in * out);
        sf_tensor host = {.data = malloc(bytes), .dtype = types[t], .rank = 2, .dim = {out, in}};
        for (size_t i = 0; i < bytes; i++) ((uint8_t *)host.data)[i] = ((uint8_t)random32() & 0x3b) | 0x20;
        MUST(b.ops->import_weight(&b, &host, &l.w));
        char name[64];
        snprintf(name, sizeof name, "%d row%s, %d to %d, %s", (int)rows, rows > 1 ? "s" : "", (int)in, (int)out, sf_dtypes[types[t]].name);
        if (rows > 1)
            measure(name, 2.0 * (double)(rows * in * out), gemm_rate, apply, &l);
        else
            measure(name, (double)bytes, read_rate, apply, &l);
        b.ops->release_weight(&b, &l.w);
        free(host.data);
    }
    b.ops->free(&b, l.x), b.ops->free(&b, l.y), b.ops->free(&b, l.wide);
}

int main(int argc, char **argv)
{
    const char *words[] = {"dense", "blocks", "choose", "linear", "row", "decode"};
    bool wanted[6] = {0};
    if (argc > 1) repeats = atoi(argv[1]);
    if (repeats < 1 || repeats > MOST_REPEATS) return printf("bench_cpu: 1 to %d repeats\n", MOST_REPEATS), 2;
    for (int i = 2; i < argc; i++)
        for (int k = 0; k < 6; k++) wanted[k] |= strcmp(argv[i], words[k]) == 0;
    for (int k = 0; argc <= 2 && k < 6; k++) wanted[k] = true;
    ticking = CLOCK_PROCESS_CPUTIME_ID;
    openblas_set_num_threads(1);
    MUST(sf_backend_open("cpu", 1, &b));
    b.meter = &meter;
    memory = malloc(READ);
    for (long i = 0; i < READ / 4; i++) memory[i] = 1.0f / (float)(i % 97 + 1);
    printf("%s; GFLOP/s or GB/s, %d repeats\n", sf_cpu_tiles(&b)->name, repeats);
    if (wanted[0]) prefills(64, 4096, false), prefills(128, 4096, false);
    if (wanted[1]) prefills(128, 8192, true);
    if (wanted[2]) chooses(64, 16384), chooses(128, 16384);
    if (wanted[3]) layers(2048, 1024, 1024);
    if (wanted[4]) layers(1, 4096, 14336);
    if (wanted[5]) decodes(32768);
    free(memory);
    sf_backend_close(&b);
    return 0;
}
