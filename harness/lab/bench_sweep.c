/* Two grids on a model, as a sweep runs them: every decode method at nine sparsities from one prefill, and every
 * prefill method at nine sparsities, against the dense cell alone and against the same cells one by one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "harness/lab/bench.h"
#include "harness/engine/engine.h"
#include "harness/engine/hooks.h"
#include "base/clock.h"
#include "base/yaml.h"

enum { METHODS = 3, LEVELS = 9, MOST_CELLS = METHODS * LEVELS + 1 };

struct grid {
    const sf_bench_args *args;
    const sf_model *model;
    sf_backend backend;
    sf_engine *engine;
    sf_phase phase;
    int tokens, output;
    int32_t *token;

    int cells, methods; /* cell 0 is dense, where the grid has it; then LEVELS of each method */
    const sf_method *method[METHODS];
    sf_lane lane[MOST_CELLS];
    void *params[MOST_CELLS];
    double kept[MOST_CELLS];
    int first, lanes; /* of a run */
    double program;   /* GiB held before the model was opened: code and libraries */
};

static double level(int i) { return (double)(i + 1) / (LEVELS + 1); }

static sf_status run(void *what)
{
    struct grid *g = what;
    const sf_generation how = {.max_output = g->output};
    return sf_engine_generate(g->engine, g->token, g->tokens, &how, g->lanes, g->lane + g->first);
}

static sf_status open_cell(struct grid *g, const sf_method *m, double sparsity)
{
    const sf_model_config *c = &g->model->config;
    const sf_extent extent = {.phase = g->phase,
                              .tokens = g->tokens,
                              .output = g->output,
                              .heads = c->heads,
                              .kv_heads = c->kv_heads,
                              .head_dim = c->head_dim,
                              .layers = c->layers,
                              .width = c->d};
    sf_lane *lane = &g->lane[g->cells];
    lane->output = calloc((size_t)g->output, sizeof *lane->output);
    g->params[g->cells] = m ? calloc(1, m->params_size + 1) : NULL;
    g->kept[g->cells] = m && g->phase == SF_DECODE ? 1 - sparsity : 1;
    void *params = g->params[g->cells++];
    if (!lane->output || (m && !params)) return sf_fail(SF_NO_MEMORY, "no memory for a grid of %d cells", MOST_CELLS);
    if (!m) return SF_OK;
    SF_TRY(sf_yaml_params(NULL, m->params, NULL, params));
    SF_TRY(sf_hook_fit(m, &extent, sparsity, params));
    if (g->phase == SF_PREFILL)
        lane->prefill = m, lane->prefill_params = params;
    else
        lane->decode = m, lane->decode_params = params;
    return SF_OK;
}

/* The first methods of the registry that serve the phase and can be fitted. */
static sf_status open_grid(struct grid *g)
{
    SF_TRY(open_cell(g, NULL, 0));
    for (int i = 0; sf_methods[i] && g->methods < METHODS; i++) {
        const sf_method *m = sf_methods[i];
        bool serves = g->phase == SF_PREFILL ? m->prefill != NULL : m->decode || m->compress;
        if (m->weights && !g->args->methods.n) continue; /* none are known of the model */
        if (!serves || !m->fit || !sf_bench_wants(&g->args->methods, m->name)) continue;
        g->method[g->methods++] = m;
        for (int l = 0; l < LEVELS; l++) SF_TRY(open_cell(g, m, level(l)));
    }
    g->token = malloc((size_t)g->tokens * sizeof *g->token);
    if (!g->token) return sf_fail(SF_NO_MEMORY, "no memory for %d tokens", g->tokens);
    uint64_t state = 1;
    for (int i = 0; i < g->tokens; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        g->token[i] = (int32_t)((state >> 33) % (uint64_t)g->model->config.vocab);
    }
    return sf_engine_open(&g->backend, g->model, g->tokens + g->output, &g->engine);
}

static void close_grid(struct grid *g)
{
    sf_engine_close(g->engine);
    for (int i = 0; i < g->cells; i++) {
        free(g->lane[i].output);
        free(g->params[i]);
    }
    free(g->token);
}

static sf_status time_cells(struct grid *g, int first, int lanes, double *seconds)
{
    g->first = first, g->lanes = lanes;
    double began = sf_now();
    SF_TRY(run(g));
    *seconds = sf_now() - began;
    return SF_OK;
}

static double spent(const sf_lane *lane) { return lane->seconds[SF_PREFILL] + lane->seconds[SF_DECODE]; }

/* Seconds by repetition. */
struct times {
    double dense[SF_BENCH_REPEATS], phase[SF_PHASES][SF_BENCH_REPEATS]; /* the dense cell alone */
    double together[SF_BENCH_REPEATS], part[MOST_CELLS][SF_BENCH_REPEATS];
};

/* The dense cell and then the grid, time after time, so that both see the same machine. */
static sf_status time_grid(struct grid *g, int first, struct times *t)
{
    double warm_up;
    SF_TRY(time_cells(g, 0, 1, &warm_up));
    for (int r = 0; r < g->args->repeat; r++) {
        SF_TRY(time_cells(g, 0, 1, &t->dense[r]));
        for (int p = 0; p < SF_PHASES; p++) t->phase[p][r] = g->lane[0].seconds[p];
        if (!g->methods) continue;
        SF_TRY(time_cells(g, first, g->cells - first, &t->together[r]));
        for (int i = first; i < g->cells; i++) t->part[i][r] = spent(&g->lane[i]);
    }
    return SF_OK;
}

static const char *const phase_name[] = {"prefill", "decode"};

static void print_row(const struct grid *g, const char *what, double seconds, double dense)
{
    printf(g->args->csv ? "%s,%s,%d,%d,%.6g,%.4g\n" : "%-8s%-42s%8d%8d%12.3f%10.3f\n", phase_name[g->phase], what,
           g->tokens, g->output, seconds, seconds / dense);
    fflush(stdout);
}

/* Each cell's own part of the grid's time, over the dense cell alone. */
static void print_cells(const struct grid *g, struct times *t, double dense)
{
    for (int m = 0; m < g->methods; m++) {
        for (int l = 0; l < LEVELS; l++) {
            char what[64];
            snprintf(what, sizeof what, "%s at %g: its part", g->method[m]->name, level(l));
            print_row(g, what, sf_bench_median(t->part[1 + m * LEVELS + l], g->args->repeat), dense);
        }
    }
}

static double most_held(void) /* GiB */
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / (1 << 20);
}

static sf_status print_memory(const struct grid *g, int first, int lanes)
{
    const sf_generation how = {.max_output = g->output};
    const sf_job job = {.tokens = g->tokens, .lanes = lanes, .lane = (sf_lane *)g->lane + first};
    size_t bytes;
    SF_TRY(sf_engine_memory(&g->model->config, &g->backend, 1, &job, &how, g->kept + first, &bytes));
    double planned = (double)(bytes + g->model->weight_bytes) / (1 << 30), held = most_held() - g->program;
    printf(g->args->csv
               ? "%s,memory,%.4f,%.4f,%.4g,%.4f\n"
               : "%-8smemory: planned %.3f GiB, the most held %.3f GiB: %.2f of it; the program without the model "
                 "%.3f GiB\n",
           phase_name[g->phase], planned, held, held / planned, g->program);
    fflush(stdout);
    return SF_OK;
}

static sf_status measure(struct grid *g)
{
    const int first = g->phase == SF_DECODE ? 0 : 1, lanes = g->cells - first; /* dense decodes with the others */
    const int repeat = g->args->repeat;
    struct times t;
    double apart = 0, each;
    char what[64];
    SF_TRY(time_grid(g, first, &t));
    const double dense = sf_bench_median(t.dense, repeat);
    print_row(g, "dense alone", dense, dense);
    for (int p = 0; p < SF_PHASES; p++) {
        snprintf(what, sizeof what, "dense: its %s", phase_name[p]);
        print_row(g, what, sf_bench_median(t.phase[p], repeat), dense);
    }
    if (!g->methods) return SF_OK;
    print_cells(g, &t, dense);
    snprintf(what, sizeof what, "%d cells together", lanes);
    print_row(g, what, sf_bench_median(t.together, repeat), dense);
    SF_TRY(print_memory(g, first, lanes));
    for (int i = first; i < g->cells; i++) { /* once: what ran before has warmed it up */
        SF_TRY(time_cells(g, i, 1, &each));
        apart += each;
    }
    snprintf(what, sizeof what, "%d cells one by one", lanes);
    print_row(g, what, apart, dense);
    return SF_OK;
}

static sf_status bench_grid(const sf_bench_args *a, const sf_model *model, sf_phase phase, int tokens, int output,
                            double program)
{
    struct grid g = {.args = a, .model = model, .phase = phase, .tokens = tokens, .output = output, .program = program};
    sf_meter meter = {0};
    SF_TRY(sf_backend_open(a->device, (int)a->threads.at[0], &g.backend));
    g.backend.meter = &meter;
    sf_status status = open_grid(&g);
    if (status == SF_OK) status = measure(&g);
    close_grid(&g);
    sf_backend_close(&g.backend);
    return status;
}

sf_status sf_bench_sweep(const sf_bench_args *a)
{
    if (!a->model) return sf_fail(SF_BAD_INPUT, "bench sweep: name a model, e.g. --model models/smollm2-135m");
    const double program = most_held();
    sf_model *model;
    SF_TRY(sf_model_open(a->model, &model));
    model->stops = 0; /* every cell takes all its steps */
    if (a->csv)
        puts("phase,what,tokens,output,seconds,times_dense");
    else
        printf("%-8s%-42s%8s%8s%12s%10s\n", "grid", "", "tokens", "output", "s", "x dense");
    sf_status status = SF_OK;
    for (int i = 0; status == SF_OK && i < a->tokens.n; i++) { /* decode at the first length, prefill at the last */
        if (i == 0) status = bench_grid(a, model, SF_DECODE, (int)a->tokens.at[i], a->output, program);
        if (status == SF_OK && i == a->tokens.n - 1)
            status = bench_grid(a, model, SF_PREFILL, (int)a->tokens.at[i], 1, program);
    }
    sf_model_close(model);
    return status;
}
