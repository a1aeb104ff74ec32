/* End to end on a GPU with random weights: a long prefill, dense and sparse, and a grid of cells that decode in lock-step.
 *
 *   bench_cuda_engine [configs/models/NAME.yaml] [tokens] [layers]      Qwen2.5-7B, 131072, all
 *
 * Ceilings, measured here: a product of 8192 x 8192 x 8192, dense attention at the model's shape, and a copy of 4 GiB, of which
 * each byte is read and written.
 * Prefill rows: seconds, density as executed, the meter's FLOPs over the time, the share of the time that linear layers and
 * attention would take at those ceilings, and the speed-up over the dense row.
 * Grid: 28 cells of one sample, dense and three decode methods at nine sparsities; of fewer tokens where it would not fit the
 * device; alone, the weights and the cache that a step reads as the meter has them, over its time. Together: one prefill, one batch. Alone: each cell with its own prefill; one cell of each method is run, the others
 * are taken to be alike. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/engine/engine.h"
#include "base/yaml.h"

extern const sf_method sf_vertical_slash, sf_block_sparse, sf_flex_prefill, sf_quest, sf_snapkv, sf_ada_snapkv;

enum { LEVELS = 9, CELLS = 1 + 3 * LEVELS, STEPS = 32, SIDE = 8192 };
static sf_backend backend;
static sf_engine *engine;
static sf_model_config shape;
static int tokens;
static int32_t *token;
static double linear_rate, attention_rate, memory_rate; /* ceilings: FLOP/s, byte/s */

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != SF_OK) {                                                                                         \
            printf("%s: %s\n", #call, sf_error());                                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static void set(const sf_method *m, void *params, const char *name, int value)
{
    for (const sf_param *p = m->params; p->name; p++)
        if (strcmp(p->name, name) == 0) memcpy((char *)params + p->offset, &value, sizeof value);
}

/* Default parameters, fitted to `sparsity`; block, selection: of methods that have them, -1 leaves the default. */
static void *fitted(const sf_method *m, sf_phase phase, double sparsity, int block, int selection)
{
    void *params = calloc(1, m->params_size + 1);
    MUST(sf_yaml_params(NULL, m->params, NULL, params));
    if (block > 0) set(m, params, "block", block);
    if (selection >= 0) set(m, params, "selection", selection);
    sf_extent extent = {.phase = phase,
                        .tokens = tokens,
                        .output = STEPS,
                        .heads = shape.heads,
                        .kv_heads = shape.kv_heads,
                        .head_dim = shape.head_dim,
                        .layers = shape.layers};
    MUST(m->fit(&extent, sparsity, params));
    return params;
}

static double now(void)
{
    struct timespec t;
    MUST(backend.ops->synchronize(&backend));
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* n values of both signs between 1 and 2, in bf16: zeros would run faster than anything real. */
static void *noise(int64_t n)
{
    enum { PIECE = 1 << 24 };
    uint16_t *host = malloc(PIECE * sizeof *host);
    uint32_t x = 1;
    for (int i = 0; i < PIECE; i++) x = x * 1664525u + 1013904223u, host[i] = (uint16_t)(0x3f80 | (x >> 9 & 0x807f));
    void *p;
    MUST(backend.ops->alloc(&backend, (size_t)n * sizeof *host, &p));
    for (int64_t at = 0; at < n; at += PIECE)
        MUST(backend.ops->upload(&backend, (uint16_t *)p + at, host, (size_t)(n - at < PIECE ? n - at : PIECE) * sizeof *host));
    free(host);
    return p;
}

static void measure_ceilings(void)
{
    double seconds[2];
    void *x = noise((int64_t)SIDE * SIDE), *y = noise((int64_t)SIDE * SIDE);
    sf_tensor w = {noise((int64_t)SIDE * SIDE), SF_BF16, 2, {SIDE, SIDE}};
    for (int i = 0; i < 2; i++) { /* the first warms up */
        double began = now();
        for (int j = 0; j < 10; j++) MUST(backend.ops->linear(&backend, x, SIDE, &w, NULL, false, y, SF_BF16));
        seconds[i] = (now() - began) / 10;
    }
    linear_rate = 2. * SIDE * SIDE * SIDE / seconds[1];
    void *all[] = {x, y, w.data};
    for (int i = 0; i < 3; i++) backend.ops->free(&backend, all[i]);

    const size_t bytes = (size_t)1 << 32;
    void *from = noise((int64_t)bytes / 2), *to;
    MUST(backend.ops->alloc(&backend, bytes, &to));
    for (int i = 0; i < 2; i++) {
        double began = now();
        for (int j = 0; j < 5; j++) MUST(backend.ops->copy(&backend, to, from, bytes));
        memory_rate = 10. * (double)bytes / (now() - began);
    }
    backend.ops->free(&backend, from), backend.ops->free(&backend, to);

    int64_t kv = (int64_t)tokens * shape.kv_heads * shape.head_dim, q = (int64_t)tokens * shape.heads * shape.head_dim;
    sf_kv_part part = {.k = noise(kv), .v = noise(kv), .capacity = tokens, .n = tokens};
    sf_attention a = {.backend = &backend, .layers = 1, .heads = shape.heads, .kv_heads = shape.kv_heads,
                      .head_dim = shape.head_dim, .queries = tokens, .keys = tokens, .scale = 1 / sqrtf((float)shape.head_dim),
                      .q = noise(q), .kv = {.prompt = part, .dtype = SF_BF16}};
    sf_pattern dense = {.kind = SF_DENSE};
    void *out = noise(q);
    for (int i = 0; i < 2; i++) {
        double began = now();
        MUST(backend.ops->prefill(&backend, &a, &dense, out));
        seconds[i] = now() - began;
    }
    attention_rate = (4. * shape.head_dim + 3) * shape.heads * sf_causal_pairs(tokens, tokens) / seconds[1];
    void *rest[] = {part.k, part.v, (void *)(uintptr_t)a.q, out};
    for (int i = 0; i < 4; i++) backend.ops->free(&backend, rest[i]);
    printf("ceilings: linear %.0f TFLOP/s, attention %.0f TFLOP/s, memory %.2f TB/s\n", linear_rate / 1e12, attention_rate / 1e12,
           memory_rate / 1e12);
}

static double prefill(const char *label, const sf_method *m, void *params, double dense)
{
    int32_t output[1];
    int pairs = shape.layers * shape.heads;
    float *density = malloc((size_t)pairs * sizeof *density);
    sf_lane lane = {.prefill = m, .prefill_params = params, .output = output};
    lane.density[SF_PREFILL] = density;
    sf_generation how = {.max_output = 1};
    MUST(sf_engine_generate(engine, token, tokens, &how, 1, &lane));
    double mean = 0, flops[SF_WORKS];
    for (int i = 0; i < pairs; i++) mean += density[i] / pairs;
    for (int w = 0; w < SF_WORKS; w++) flops[w] = (double)lane.meter.at[SF_PREFILL][w].flops;
    double seconds = lane.seconds[SF_PREFILL];
    printf("prefill %-34s %8.3f s  density %.3f  linear %.3f attention %.3f estimation %.4f PFLOP  %5.0f TFLOP/s  "
           "%3.0f %% of ceilings  %5.2f x dense\n",
           label, seconds, mean, flops[SF_LINEAR] / 1e15, flops[SF_ATTENTION] / 1e15, flops[SF_ESTIMATION] / 1e15,
           (flops[SF_LINEAR] + flops[SF_ATTENTION] + flops[SF_ESTIMATION]) / seconds / 1e12,
           100 * (flops[SF_LINEAR] / linear_rate + flops[SF_ATTENTION] / attention_rate) / seconds,
           dense ? dense / seconds : 1);
    fflush(stdout);
    free(density);
    free(params);
    return seconds;
}

/* ---- the grid ---- */

struct cell {
    const sf_method *method; /* NULL: dense */
    double sparsity;
    int32_t output[STEPS];
};

static struct cell grid[CELLS];

static const char *name_of(const struct cell *c) { return c->method ? c->method->name : "dense"; }

/* Seconds from prompt to last token. */
static double generate(const char *label, int n, struct cell *cell)
{
    sf_lane lane[CELLS] = {0};
    for (int i = 0; i < n; i++)
        lane[i] = (sf_lane){.decode = cell[i].method,
                            .decode_params = cell[i].method ? fitted(cell[i].method, SF_DECODE, cell[i].sparsity, -1, -1) : NULL,
                            .output = cell[i].output};
    sf_generation how = {.max_output = STEPS};
    double began = now(), decode = 0;
    MUST(sf_engine_generate(engine, token, tokens, &how, n, lane));
    double all = now() - began;
    for (int i = 0; i < n; i++) {
        decode += lane[i].seconds[SF_DECODE];
        free((void *)(uintptr_t)lane[i].decode_params);
    }
    printf("%-22s %2d cells  %7.2f s, decode %7.2f ms a step, %8.1f tokens/s\n", label, n, all,
           1e3 * decode / (STEPS - 1), n * (STEPS - 1) / decode);
    if (n == 1) {
        double read = 0;
        for (int w = 0; w < SF_WORKS; w++) {
            const sf_count *c = &lane->meter.at[SF_DECODE][w];
            read += (double)(c->weight_bytes + c->cache_bytes) / (STEPS - 1);
        }
        printf("%-22s reads %.2f GB a step: %.2f TB/s, %.0f %% of memory\n", "", read / 1e9, read * (STEPS - 1) / decode / 1e12,
               100 * read * (STEPS - 1) / decode / memory_rate);
    }
    fflush(stdout);
    return all;
}

/* Halves the prompt until the grid fits the device. */
static void fit_grid(void)
{
    sf_lane lane[CELLS] = {0};
    double kept[CELLS];
    sf_generation how = {.max_output = STEPS};
    size_t bytes, available, total;
    sf_engine_trim(engine);
    for (int i = 0; i < CELLS; i++) kept[i] = grid[i].method ? 1 - grid[i].sparsity : 1;
    MUST(backend.ops->memory(&backend, &available, &total));
    for (;; tokens = tokens / 2 / 256 * 256) {
        for (int i = 0; i < CELLS; i++) {
            free((void *)(uintptr_t)lane[i].decode_params);
            lane[i].decode = grid[i].method;
            lane[i].decode_params = grid[i].method ? fitted(grid[i].method, SF_DECODE, grid[i].sparsity, -1, -1) : NULL;
        }
        sf_job job = {token, tokens, CELLS, lane};
        MUST(sf_engine_memory(&shape, &backend, 1, &job, &how, kept, &bytes));
        if (bytes + bytes / 20 + ((size_t)2 << 30) < available || tokens < 1024) break; /* scratch; heads keep unequally */
    }
    for (int i = 0; i < CELLS; i++) free((void *)(uintptr_t)lane[i].decode_params);
    printf("grid: %d tokens, %.1f GB of %.1f free\n", tokens, (double)bytes / 1e9, (double)available / 1e9);
}

static void run_grid(void)
{
    static const double level[LEVELS] = {0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 14. / 15, 0.95, 29. / 30};
    const sf_method *method[] = {&sf_quest, &sf_snapkv, &sf_ada_snapkv};
    for (int m = 0; m < 3; m++)
        for (int i = 0; i < LEVELS; i++) grid[1 + m * LEVELS + i] = (struct cell){.method = method[m], .sparsity = level[i]};
    fit_grid();
    double together = generate("together", CELLS, grid), alone = 0;
    for (int i = 0; i < CELLS; i++) {
        int like = i ? (i - 1) / LEVELS * LEVELS + 1 + LEVELS / 2 : 0; /* the method's cell that is run */
        static double seconds;
        if (i == 0 || (i - 1) % LEVELS == 0) {
            char label[64];
            struct cell one = grid[like];
            snprintf(label, sizeof label, "alone: %s %.2f", name_of(&one), one.sparsity);
            seconds = generate(label, 1, &one);
            if (memcmp(one.output, grid[like].output, sizeof one.output) != 0) printf("%s: tokens differ from company's\n", label);
        }
        alone += seconds;
    }
    printf("%d cells of one sample: %.1f s together, %.0f s one by one: %.1f x\n", CELLS, together, alone, alone / together);
}

int main(int argc, char **argv)
{
    sf_model *model;
    MUST(sf_shape_open(argc > 1 ? argv[1] : "configs/models/qwen2.5-7b.yaml", &shape));
    tokens = argc > 2 ? atoi(argv[2]) : 131072 - STEPS;
    if (argc > 3 && atoi(argv[3]) > 0) shape.layers = atoi(argv[3]);
    MUST(sf_backend_open("cuda", 0, &backend));
    MUST(sf_model_random(&shape, 1, &model));
    MUST(sf_engine_open(&backend, model, tokens + STEPS, &engine));
    size_t available, total;
    MUST(backend.ops->memory(&backend, &available, &total));
    printf("%s, %d layers, %d tokens; weights %.1f GB, %.1f GB free\n", shape.name, shape.layers, tokens,
           (double)model->weight_bytes / 1e9, (double)available / 1e9);
    token = malloc((size_t)tokens * sizeof *token);
    for (int i = 0; i < tokens; i++) token[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)shape.vocab);

    measure_ceilings();
    prefill("dense (first)", NULL, NULL, 0);
    double dense = prefill("dense", NULL, NULL, 0);
    prefill("block_sparse 64, heads apart", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 64, 0), dense);
    prefill("block_sparse 64, group", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 64, 1), dense);
    prefill("block_sparse 16, heads apart", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 16, 0), dense);
    prefill("block_sparse 16, group", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 16, 1), dense);
    prefill("vertical_slash", &sf_vertical_slash, fitted(&sf_vertical_slash, SF_PREFILL, .9, -1, -1), dense);
    prefill("flex_prefill", &sf_flex_prefill, fitted(&sf_flex_prefill, SF_PREFILL, .9, -1, -1), dense);

    run_grid();
    sf_engine_close(engine);
    sf_model_close(model);
    sf_backend_close(&backend);
    return 0;
}
