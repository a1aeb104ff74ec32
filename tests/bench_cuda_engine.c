/* End to end on GPUs with random weights: a long prefill, dense and sparse, and a grid of cells that decode in lock-step.
 *
 *   bench_cuda_engine [configs/models/NAME.yaml] [tokens] [layers] [ranks] [brief|grid|alone|prefills]
 *                                                                          Qwen2.5-7B, 131040, 0: all, 1
 *
 * Several ranks: threads, each on a GPU of its own, that split the model: `2` by heads and MLP (tensor parallelism), `1x2` by layers
 * (two stages of one), `2x2` both ways. Weights lie over each other on the host (sf_model_random_overlaid), so that 145 GB of them
 * need 4. A pipeline's prefill of one prompt goes through one stage after the other: its seconds are their sum; four prompts, of a
 * quarter of the tokens, show what stages do beside each other.
 *
 * Ceilings are measured here, each apart, on every rank at once: the products of the model's own shapes, at the rows of a chunk
 * and at those of the grid's lanes; dense attention of a rank's heads; what ranks say to each other; reading memory.
 *
 * Prefill rows: seconds, density as executed, FLOPs of all ranks over the time, the share of the time that linear layers,
 * attention (of the pairs that are computed) and exchanges would take at those ceilings, and the speed-up over the dense row.
 * Grid: 28 cells of one sample, dense and three decode methods at nine sparsities; of fewer tokens where it would not fit the
 * device. Together: one prefill, one batch; of a step, the share that the products at so many rows, reading the keys, and
 * exchanges would take (`grid`: that alone). Alone (not where several ranks or `brief` are asked for): each cell with its own prefill, and the weights
 * and the cache that a step reads as the meter has them, over its time; one cell of each method is run, the others are taken to
 * be alike. `alone`: as `brief`, and dense's cell alone. `prefills`: a second turn of the sparse prefills whose speed has a target,
 * after the first, and no grid.
 *
 * Of a mixture of experts the ceiling of a prompt's products is that of its active experts, all rows of a part in one product (as if
 * all had chosen the same); how many experts the lanes of a grid choose together is not known, so that its steps have no ceiling. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness/engine/engine.h"
#include "harness/model/part.h"
#include "base/yaml.h"
#include "kernels/comm.h"

extern const sf_method sf_vertical_slash, sf_block_sparse, sf_flex_prefill, sf_quest, sf_snapkv, sf_ada_snapkv;

#ifndef DEVICE
#define DEVICE "cuda" /* -DDEVICE='"cpu"' tries it without one */
#endif
enum { LEVELS = 9, CELLS = 1 + 3 * LEVELS, STEPS = 32 };
enum { CHUNK = 4096 };
static sf_model *model;
static int asked_tokens, ranks, stages = 1; /* ranks of each stage */
static bool brief, grid_alone, dense_alone, prefills_alone;

/* Of each rank. */
static _Thread_local sf_backend *backend;
static _Thread_local sf_engine *engine;
static _Thread_local sf_model_config shape; /* the whole model's */
static _Thread_local int tokens, rank;
static _Thread_local int32_t *token;

/* Ceilings. Of a rank, seconds: */
static _Thread_local double linear_seconds[2], exchange_seconds[2]; /* of all layers, for a row of a chunk; for a step of the grid */
static _Thread_local double attention_rate, read_rate;              /* FLOP/s; bytes/s */

#define SAY(...) (rank == 0 ? (void)printf(__VA_ARGS__), (void)fflush(stdout) : (void)0)

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != SF_OK) {                                                                                         \
            printf("rank %d: %s: %s\n", rank, #call, sf_error());                                                          \
            fflush(stdout);                                                                                            \
            _exit(1); /* at once: other ranks run */                                                                   \
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
    MUST(backend->ops->synchronize(backend));
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* n values of both signs between 1 and 2, in bf16: zeros would run faster than anything real. */
static void *noise(int64_t n)
{
    enum { PIECE = 1 << 24 };
    if (backend->activation == SF_F32) n *= 2;
    uint16_t *host = malloc(PIECE * sizeof *host);
    uint32_t x = 1;
    for (int i = 0; i < PIECE; i++) x = x * 1664525u + 1013904223u, host[i] = (uint16_t)(0x3f80 | (x >> 9 & 0x807f));
    void *p;
    MUST(backend->ops->alloc(backend, (size_t)n * sizeof *host, &p));
    for (int64_t at = 0; at < n; at += PIECE)
        MUST(backend->ops->upload(backend, (uint16_t *)p + at, host, (size_t)(n - at < PIECE ? n - at : PIECE) * sizeof *host));
    free(host);
    return p;
}

/* Seconds that all products of the layers of a rank take for `rows` rows, in the order that they come in. */
static double time_products(int rows)
{
    sf_model_config c;
    MUST(sf_config_part(&shape, 0, ranks, &c));
    const int64_t q = (int64_t)c.heads * c.head_dim, kv = (int64_t)c.kv_heads * c.head_dim;
    const bool mixes = c.router.experts > 0; /* then in all layers: a shape has no others */
    const int64_t mlp = mixes ? c.expert_mlp : c.mlp, rows_of_mlp = (int64_t)rows * (mixes ? c.router.chosen : 1);
    const int64_t product[][3] = {{q, c.d, rows}, {kv, c.d, rows}, {kv, c.d, rows}, {c.d, q, rows}, /* out, in, rows */
                                  {mlp, c.d, rows_of_mlp}, {mlp, c.d, rows_of_mlp}, {c.d, mlp, rows_of_mlp}};
    enum { PRODUCTS = sizeof product / sizeof *product };
    int64_t most_in = 0, most_out = 0;
    sf_tensor w[PRODUCTS];
    double seconds = 0;
    for (int i = 0; i < PRODUCTS; i++) {
        const int64_t out = product[i][0], in = product[i][1];
        if (most_in < product[i][2] * in) most_in = product[i][2] * in;
        if (most_out < product[i][2] * out) most_out = product[i][2] * out;
        w[i] = (sf_tensor){noise(out * in), SF_BF16, 2, {out, in}};
    }
    void *x = noise(most_in), *y = noise(2 * most_out);
    enum { TIMES = 10 };
    for (int warm = 0; warm < 2; warm++) {
        double began = now();
        for (int j = 0; j < TIMES; j++)
            for (int i = 0; i < PRODUCTS; i++)
                MUST(backend->ops->linear(backend, x, product[i][2], &w[i], NULL, false, y, product[i][0] == c.d ? SF_F32 : SF_BF16));
        seconds = (now() - began) / TIMES * c.layers;
    }
    for (int i = 0; i < PRODUCTS; i++) backend->ops->free(backend, w[i].data);
    backend->ops->free(backend, x), backend->ops->free(backend, y);
    return seconds;
}

/* Seconds that the sums of all layers take for `rows` rows: the exchange alone. */
static double time_exchanges(int rows)
{
    sf_comm *c = backend->comm;
    if (!c) return 0; /* what stages say to each other is a layer's, once */
    const int64_t n = (int64_t)rows * shape.d;
    void *x = noise(2 * n), *all = noise(2 * n * c->size); /* fp32 */
    double seconds = 0;
    enum { TIMES = 10 };
    for (int warm = 0; warm < 2; warm++) {
        double began = now();
        for (int i = 0; i < TIMES; i++) MUST(c->ops->gather(c, backend, x, sf_bytes(SF_F32, n), all));
        seconds = (now() - began) / TIMES * 2 * shape.layers;
    }
    backend->ops->free(backend, x), backend->ops->free(backend, all);
    return seconds;
}

static double time_reading(void)
{
    const int64_t n = (int64_t)1 << 31; /* bytes */
    void *x = noise(n / 2), *y = noise(n / 2);
    double seconds = 0;
    for (int warm = 0; warm < 2; warm++) {
        double began = now();
        for (int i = 0; i < 10; i++) MUST(backend->ops->copy(backend, y, x, (size_t)n));
        seconds = (now() - began) / 10;
    }
    backend->ops->free(backend, x), backend->ops->free(backend, y);
    return 2. * (double)n / seconds;
}

static double time_attention(void)
{
    sf_model_config c;
    MUST(sf_config_part(&shape, 0, ranks, &c));
    int64_t kv = (int64_t)tokens * c.kv_heads * c.head_dim, q = (int64_t)tokens * c.heads * c.head_dim;
    sf_kv_part part = {.k = noise(kv), .v = noise(kv), .capacity = tokens, .n = tokens};
    sf_attention a = {.backend = backend, .layers = 1, .heads = c.heads, .kv_heads = c.kv_heads,
                      .head_dim = c.head_dim, .queries = tokens, .keys = tokens, .scale = 1 / sqrtf((float)c.head_dim),
                      .q = noise(q), .kv = {.prompt = part, .dtype = SF_BF16}};
    sf_pattern dense = {.kind = SF_DENSE};
    void *out = noise(q);
    double seconds = 0;
    for (int i = 0; i < 2; i++) { /* the first warms up */
        double began = now();
        MUST(backend->ops->prefill(backend, &a, &dense, out));
        seconds = now() - began;
    }
    void *rest[] = {part.k, part.v, (void *)(uintptr_t)a.q, out};
    for (int i = 0; i < 4; i++) backend->ops->free(backend, rest[i]);
    return (4. * c.head_dim + 3) * c.heads * sf_causal_pairs(tokens, tokens) / seconds;
}

static void measure_ceilings(void)
{
    linear_seconds[SF_PREFILL] = time_products(CHUNK) / CHUNK;
    linear_seconds[SF_DECODE] = time_products(CELLS);
    exchange_seconds[SF_PREFILL] = time_exchanges(CHUNK) / CHUNK;
    exchange_seconds[SF_DECODE] = time_exchanges(CELLS);
    attention_rate = time_attention();
    read_rate = time_reading();
    SAY("ceilings of a rank: linear %.2f s for %d tokens, %.2f ms for %d lanes; exchanges %.2f s and %.2f ms; attention %.0f TFLOP/s; "
        "memory %.0f GB/s\n", linear_seconds[SF_PREFILL] * tokens, tokens, 1e3 * linear_seconds[SF_DECODE], CELLS,
        exchange_seconds[SF_PREFILL] * tokens, 1e3 * exchange_seconds[SF_DECODE], attention_rate / 1e12, read_rate / 1e9);
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
    double seconds = lane.seconds[SF_PREFILL], attention = flops[SF_ATTENTION] / ranks / attention_rate;
    SAY("prefill %-28s %8.3f s  density %.3f  linear %.3f attention %.3f estimation %.4f PFLOP  %5.0f TFLOP/s  %3.0f %% of ceilings "
        "(linear %.2f, attention %.2f, exchanges %.2f s)  %5.2f x dense\n",
        label, seconds, mean, flops[SF_LINEAR] / 1e15, flops[SF_ATTENTION] / 1e15, flops[SF_ESTIMATION] / 1e15,
        (flops[SF_LINEAR] + flops[SF_ATTENTION] + flops[SF_ESTIMATION]) / seconds / 1e12,
        100 * ((linear_seconds[SF_PREFILL] + exchange_seconds[SF_PREFILL]) * tokens + attention) / seconds,
        linear_seconds[SF_PREFILL] * tokens, attention, exchange_seconds[SF_PREFILL] * tokens, dense ? dense / seconds : 1);
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

static _Thread_local struct cell grid[CELLS];

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
    double all = now() - began, bytes = 0;
    for (int i = 0; i < n; i++) {
        decode += lane[i].seconds[SF_DECODE];
        bytes += (double)(lane[i].meter.at[SF_DECODE][SF_ATTENTION].cache_bytes + lane[i].meter.at[SF_DECODE][SF_ESTIMATION].cache_bytes +
                          lane[i].meter.at[SF_DECODE][SF_ESTIMATION].other_bytes);
        free((void *)(uintptr_t)lane[i].decode_params);
    }
    double step = decode / (STEPS - 1), keys = bytes / (STEPS - 1) / ranks / read_rate;
    SAY("%-22s %2d cells  %7.2f s, decode %7.2f ms a step, %8.1f tokens/s", label, n, all, 1e3 * step, n / step);
    if (n == CELLS && !shape.router.experts)
        SAY(", %3.0f %% of ceilings (linear %.2f, keys %.2f, exchanges %.2f ms)",
            100 * (linear_seconds[SF_DECODE] + keys + exchange_seconds[SF_DECODE]) / step, 1e3 * linear_seconds[SF_DECODE], 1e3 * keys,
            1e3 * exchange_seconds[SF_DECODE]);
    SAY("\n");
    if (n == 1) {
        double read = 0;
        for (int w = 0; w < SF_WORKS; w++) {
            const sf_count *c = &lane->meter.at[SF_DECODE][w];
            read += (double)(c->weight_bytes + c->cache_bytes) / (STEPS - 1);
        }
        SAY("%-22s reads %.2f GB a step: %.2f TB/s, %.0f %% of memory\n", "", read / 1e9, read / step / 1e12, 100 * read / ranks / step / read_rate);
    }
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
    MUST(backend->ops->memory(backend, &available, &total));
    for (;; tokens = tokens / 2 / 256 * 256) {
        for (int i = 0; i < CELLS; i++) {
            free((void *)(uintptr_t)lane[i].decode_params);
            lane[i].decode = grid[i].method;
            lane[i].decode_params = grid[i].method ? fitted(grid[i].method, SF_DECODE, grid[i].sparsity, -1, -1) : NULL;
        }
        sf_job job = {.token = token, .tokens = tokens, .lanes = CELLS, .lane = lane};
        MUST(sf_engine_memory(&shape, backend, 1, &job, &how, kept, &bytes));
        size_t spare = bytes / (ranks * stages > 1 ? 3 : 20) + ((size_t)2 << 30); /* scratch; heads keep unequally, so that one rank may keep more */
        uint64_t unfit = bytes + spare >= available; /* on any: all go on alike */
        sf_comm_sum(backend->comm, &unfit, 1);
        sf_comm_sum(backend->stages, &unfit, 1);
        if (!unfit || tokens < 1024) break;
    }
    for (int i = 0; i < CELLS; i++) free((void *)(uintptr_t)lane[i].decode_params);
    SAY("grid: %d tokens, %.1f GB planned of %.1f free\n", tokens, (double)bytes / 1e9, (double)available / 1e9);
}

static void say_memory(const char *when)
{
    size_t available, total;
    MUST(backend->ops->memory(backend, &available, &total));
    SAY("memory %s: %.1f GB held of %.1f\n", when, (double)(total - available) / 1e9, (double)total / 1e9);
}

static void run_grid(void)
{
    static const double level[LEVELS] = {0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 14. / 15, 0.95, 29. / 30};
    const sf_method *method[] = {&sf_quest, &sf_snapkv, &sf_ada_snapkv};
    for (int m = 0; m < 3; m++)
        for (int i = 0; i < LEVELS; i++) grid[1 + m * LEVELS + i] = (struct cell){.method = method[m], .sparsity = level[i]};
    fit_grid();
    double together = generate("together", CELLS, grid), alone = 0;
    say_memory("after the grid");
    if (dense_alone) generate("alone: dense", 1, grid);
    if (brief) return;
    for (int i = 0; i < CELLS; i++) {
        int like = i ? (i - 1) / LEVELS * LEVELS + 1 + LEVELS / 2 : 0; /* the method's cell that is run */
        static double seconds;
        if (i == 0 || (i - 1) % LEVELS == 0) {
            char label[64];
            struct cell one = grid[like];
            snprintf(label, sizeof label, "alone: %s %.2f", name_of(&one), one.sparsity);
            seconds = generate(label, 1, &one);
            if (memcmp(one.output, grid[like].output, sizeof one.output) != 0) SAY("%s: tokens differ from company's\n", label);
        }
        alone += seconds;
    }
    SAY("%d cells of one sample: %.1f s together, %.0f s one by one: %.1f x\n", CELLS, together, alone, alone / together);
}

/* Four samples, each its own prefill: a stage works on one while the next has the one before. */
static void run_beside(void)
{
    enum { PROMPTS = 4 };
    int32_t output[PROMPTS];
    sf_lane lane[PROMPTS];
    sf_job job[PROMPTS];
    const sf_generation how = {.max_output = 1};
    const int each = tokens / PROMPTS;
    double one = 0;
    for (int n = 1; n <= PROMPTS; n += PROMPTS - 1) {
        for (int i = 0; i < n; i++) {
            lane[i] = (sf_lane){.output = &output[i]};
            job[i] = (sf_job){.token = token + i * each, .tokens = each, .lanes = 1, .lane = &lane[i]};
        }
        double began = now();
        MUST(sf_engine_run(engine, n, job, &how));
        const double seconds = now() - began;
        if (n == 1) one = seconds;
        else SAY("%d prompts of %d tokens, dense: %.2f s, one alone %.2f s: %.2f x as fast as one after the other\n", n, each, seconds, one, n * one / seconds);
    }
}

static void run_prefills(void)
{
    prefill("block_sparse 64 (first)", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 64, 0), 0);
    double dense = prefills_alone ? 0 : prefill("dense", NULL, NULL, 0);
    if (!prefills_alone) say_memory("after dense prefills");
    prefill("block_sparse 64, heads apart", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 64, 0), dense);
    prefill("vertical_slash", &sf_vertical_slash, fitted(&sf_vertical_slash, SF_PREFILL, .9, -1, -1), dense);
    if (!brief) {
        prefill("block_sparse 64, group", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 64, 1), dense);
        prefill("block_sparse 16, heads apart", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 16, 0), dense);
        prefill("block_sparse 16, group", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 16, 1), dense);
    }
    if (!brief || prefills_alone) prefill("flex_prefill", &sf_flex_prefill, fitted(&sf_flex_prefill, SF_PREFILL, .9, -1, -1), dense);
}

static sf_status be_rank(sf_backend *b, void *user)
{
    (void)user;
    backend = b;
    rank = sf_comm_rank(b);
    shape = model->config;
    tokens = asked_tokens;
    token = malloc((size_t)tokens * sizeof *token);
    for (int i = 0; i < tokens; i++) token[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)shape.vocab);
    const sf_comm *said = b->comm ? b->comm : b->stages;
    SAY("%s, %d layers, %d tokens; weights %.1f GB; %d stage%s of %d rank%s%s%s\n", shape.name, shape.layers, tokens, (double)model->weight_bytes / 1e9,
        stages, stages > 1 ? "s" : "", ranks, ranks > 1 ? "s" : "", said ? ", by " : "", said ? said->ops->name : "");
    measure_ceilings();
    double began = now();
    MUST(sf_engine_open(backend, model, tokens + STEPS, &engine));
    SAY("weights to the device: %.1f s\n", now() - began);
    say_memory("of the weights");
    if (!grid_alone) run_prefills();
    if (!grid_alone && !prefills_alone && stages > 1) run_beside();
    if (!prefills_alone) run_grid();
    sf_engine_close(engine);
    free(token);
    return SF_OK;
}

int main(int argc, char **argv)
{
    sf_model_config whole;
    sf_backend alone;
    MUST(sf_shape_open(argc > 1 ? argv[1] : "configs/models/qwen2.5-7b.yaml", &whole));
    asked_tokens = argc > 2 ? atoi(argv[2]) : 131072 - STEPS;
    if (argc > 3 && atoi(argv[3]) > 0) whole.layers = atoi(argv[3]);
    ranks = argc > 4 ? atoi(argv[4]) : 1;
    if (argc > 4 && strchr(argv[4], 'x')) stages = atoi(strchr(argv[4], 'x') + 1);
    brief = ranks * stages > 1 || argc > 5;
    grid_alone = argc > 5 && strcmp(argv[5], "grid") == 0;
    dense_alone = argc > 5 && strcmp(argv[5], "alone") == 0;
    prefills_alone = argc > 5 && strcmp(argv[5], "prefills") == 0;
    MUST(sf_model_random_overlaid(&whole, 1, &model));
    if (ranks * stages > 1) {
        MUST(sf_comm_team(ranks, stages, DEVICE, 0, be_rank, NULL));
    } else {
        MUST(sf_backend_open(DEVICE, 0, &alone));
        be_rank(&alone, NULL);
        sf_backend_close(&alone);
    }
    sf_model_close(model);
    return 0;
}
