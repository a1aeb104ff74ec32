/* A long generation of a model, dense and under every decode method: the keys that live and the bytes that are read at each
 * step. No token ends it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/yaml.h"
#include "harness/engine/engine.h"
#include "harness/engine/hooks.h"
#include "harness/lab/bench.h"

enum { MOST_LANES = 64, ROWS = 128 }; /* printed at most */

struct generation {
    const sf_bench_args *args;
    const sf_model *model;
    sf_backend backend;
    int tokens, output, lanes;
    int32_t *token;
    sf_lane lane[MOST_LANES];
    void *params[MOST_LANES];
};

/* The budget is the method's default where no sparsity is asked for, else fitted to the whole generation's. */
static sf_status open_lane(struct generation *g, const sf_method *m)
{
    const sf_model_config *c = &g->model->config;
    const sf_extent extent = {.phase = SF_DECODE, .tokens = g->tokens, .output = g->output, .heads = c->heads,
                              .kv_heads = c->kv_heads, .head_dim = c->head_dim, .layers = c->layers, .width = c->d};
    sf_lane *lane = &g->lane[g->lanes];
    lane->decode = m;
    lane->output = calloc((size_t)g->output, sizeof *lane->output);
    lane->read = calloc((size_t)g->output, sizeof *lane->read);
    lane->decode_params = g->params[g->lanes++] = m ? calloc(1, m->params_size + 1) : NULL;
    if (!lane->output || !lane->read || (m && !lane->decode_params))
        return sf_fail(SF_NO_MEMORY, "no memory for a generation of %d tokens", g->output);
    if (!m) return SF_OK;
    SF_TRY(sf_yaml_params(NULL, m->params, NULL, g->params[g->lanes - 1]));
    double sparsity = g->args->sparsity.at[0];
    return isnan(sparsity) ? SF_OK : sf_hook_fit(m, &extent, sparsity, g->params[g->lanes - 1]);
}

static sf_status open_lanes(struct generation *g)
{
    SF_TRY(open_lane(g, NULL));
    for (int i = 0; sf_methods[i] && g->lanes < MOST_LANES; i++) {
        const sf_method *m = sf_methods[i];
        if (!(m->decode || m->compress) || !sf_bench_wants(&g->args->methods, m->name)) continue;
        const char *why = !m->fit      ? "it maps no target sparsity"
                          : m->weights ? "it was trained, and what for this model is not known here"
                                       : NULL;
        if (why) fprintf(stderr, "frontier: %s: not run, as %s\n", m->name, why);
        else SF_TRY(open_lane(g, m));
    }
    g->token = malloc((size_t)g->tokens * sizeof *g->token);
    if (!g->token) return sf_fail(SF_NO_MEMORY, "no memory for %d tokens", g->tokens);
    uint64_t state = 1;
    for (int i = 0; i < g->tokens; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        g->token[i] = (int32_t)((state >> 33) % (uint64_t)g->model->config.vocab);
    }
    return SF_OK;
}

double sf_bench_living(const sf_method *m, double read, int tokens, int step)
{
    return m && (m->evicts || m->compress) ? read : tokens + step + 1;
}

/* Of the mean kv head, and of all together. */
static void print_step(const struct generation *g, int step)
{
    const sf_model_config *c = &g->model->config;
    double key_bytes = (double)sf_bytes(g->backend.activation, sf_cached_numbers(c)) * c->kv_heads * c->layers;
    for (int i = 0; i < g->lanes; i++) {
        const sf_method *m = g->lane[i].decode;
        double read = (double)g->lane[i].read[step] / (c->heads * c->layers), living = sf_bench_living(m, read, g->tokens, step);
        printf(g->args->csv ? "%d,%s,%.2f,%.0f,%.2f,%.0f\n" : "%8d  %-20s%12.1f%14.0f%12.1f%14.0f\n", step + 1, m ? m->name : "dense",
               living, living * key_bytes, read, read * key_bytes);
    }
}

static sf_status generate(struct generation *g)
{
    sf_engine *engine;
    const sf_generation how = {.max_output = g->output + 1}; /* the first token comes of the prefill */
    SF_TRY(sf_engine_open(&g->backend, g->model, g->tokens + g->output + 1, &engine));
    sf_status status = sf_engine_generate(engine, g->token, g->tokens, &how, g->lanes, g->lane);
    sf_engine_close(engine);
    SF_TRY(status);
    puts(g->args->csv ? "step,method,living_keys,living_bytes,read_keys,read_bytes"
                      : "    step  method               living keys         bytes   keys read         bytes");
    int stride = g->output > ROWS ? g->output / ROWS : 1;
    for (int step = 0; step < g->output; step += stride) print_step(g, step);
    if ((g->output - 1) % stride) print_step(g, g->output - 1);
    return SF_OK;
}

sf_status sf_bench_memory(const sf_bench_args *a)
{
    if (!a->model) return sf_fail(SF_BAD_INPUT, "bench memory: name a model, e.g. --model models/frontier-mini/s");
    sf_model *model;
    sf_meter meter = {0};
    struct generation g = {.args = a, .tokens = (int)a->tokens.at[0], .output = a->output};
    SF_TRY(sf_model_open(a->model, &model));
    model->stops = 0;
    g.model = model;
    sf_status status = sf_backend_open(a->device, (int)a->threads.at[0], &g.backend);
    if (status == SF_OK) {
        g.backend.meter = &meter;
        status = open_lanes(&g);
        if (status == SF_OK) status = generate(&g);
        sf_backend_close(&g.backend);
    }
    for (int i = 0; i < g.lanes; i++) free(g.lane[i].output), free(g.lane[i].read), free(g.params[i]);
    free(g.token);
    sf_model_close(model);
    return status;
}
