/* The study's grid on clusters of 1 to 256 GPUs that are not there: how much of their time goes to samples, by the run's own way
 * of giving out samples. Times are the formula's at the rates that an H200 was measured to reach (harness/run/forecast.c), each
 * sample's drawn around its cell's by a factor that is log-normal: SIGMA, default 0.3.
 *
 *   build/tests/tools/cluster [SIGMA]     needs configs/ alone, no models
 *
 * Models are those of configs/models/; 70B and 72B are split over 4, so they are a grid of their own. */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/splitmix.h"
#include "harness/model/cost.h"
#include "harness/run/forecast.h"

static const struct { const char *name, *shape; bool large; } MODELS[] = {
    {"Qwen2.5-7B-Instruct", "qwen2.5-7b", 0},   {"Qwen2.5-14B-Instruct", "qwen2.5-14b", 0}, {"Qwen2.5-32B-Instruct", "qwen2.5-32b", 0},
    {"Qwen2.5-72B-Instruct", "qwen2.5-72b", 1}, {"Llama-3.1-8B-Instruct", "llama-3.1-8b", 0}, {"Llama-3.1-70B-Instruct", "llama-3.1-70b", 1},
    {"gemma-3-4b-it", "gemma-3-4b", 0},          {"gemma-3-12b-it", "gemma-3-12b", 0},         {"gemma-3-27b-it", "gemma-3-27b", 0},
};

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, sf_error());
    exit(1);
}

/* A sample's factor, by its place alone: mean 1. */
static double factor(int at, int sample, double sigma)
{
    uint64_t x = ((uint64_t)at << 32) + (uint64_t)sample;
    double u[2];
    for (int i = 0; i < 2; i++) u[i] = ((double)(sf_splitmix_next(&x) >> 11) + 0.5) / (double)(1ull << 53);
    return exp(sigma * sqrt(-2 * log(u[0])) * cos(2 * 3.141592653589793 * u[1]) - sigma * sigma / 2);
}

typedef struct grid {
    sf_unit *unit;
    int units, models;
    double weights[64]; /* bytes of each model */
    double sigma;
} grid;

static double drawn(void *user, const sf_unit *u) { return u->work * factor(u->at, u->sample, ((grid *)user)->sigma); }
static double opening(void *user, int model) { return ((grid *)user)->weights[model] / 1e9; }

/* Adds a file's cells of models that are `large`, or that are not. */
static void add(grid *g, const char *path, bool large, int tensor, int *ats)
{
    sf_study study = {0};
    sf_model *model = calloc(9, sizeof *model), *models[9];
    const char *hash[9];
    sf_forecast f;
    char split[32];
    snprintf(split, sizeof split, "parallel={tensor: %d}", tensor);
    /* Times do not depend on what a task asks; data files of questions are not there. */
    const char *set[] = {split, "tasks=[vt, cwe, ruler_cwe, ruler_fwe, ruler_vt, story_multihop, story_filtering]"};
    if (sf_sweep_read(path, strstr(path, "-retrieval") ? 1 : 2, set, &study.sweep) != SF_OK) die(path);
    for (int i = 0; i < study.sweep->models; i++) {
        int m = 0;
        char shape[128];
        while (m < 9 && strcmp(MODELS[m].name, study.sweep->model[i].label) != 0) m++;
        if (m == 9) die(study.sweep->model[i].label);
        snprintf(shape, sizeof shape, "configs/models/%s.yaml", MODELS[m].shape);
        if (sf_shape_open(shape, &model[i].config) != SF_OK) die(shape);
        sf_cost c;
        sf_cost_of(&model[i].config, &(sf_cost_query){.phase = SF_DECODE, .tokens = 1, .batch = 1, .density = 1}, &c);
        model[i].weight_bytes = (size_t)(2 * c.weights);
        g->weights[m] = (double)model[i].weight_bytes / tensor;
        models[i] = &model[i];
        hash[i] = MODELS[m].name;
    }
    study.model = models;
    if (sf_plan_make(study.sweep, hash, &study.plan) != SF_OK) die(path);
    const sf_cluster one = {.nodes = 1, .gpus = tensor, .kind = "h200", .flops = 450e12, .bytes = 3e12};
    if (sf_forecast_open(&study, &one, NULL, &f) != SF_OK) die(path);
    const sf_plan *p = &study.plan;
    for (int at = 0, n; at < p->cells; at += n) {
        double work = f.seconds[at];
        for (n = 1; at + n < p->cells && p->cell[at + n].model == p->cell[at].model && p->cell[at + n].task == p->cell[at].task &&
                    p->cell[at + n].length == p->cell[at].length; n++)
            work += f.seconds[at + n];
        int m = 0;
        while (strcmp(MODELS[m].name, study.sweep->model[p->cell[at].model].label) != 0) m++;
        if (MODELS[m].large != large) continue;
        g->unit = realloc(g->unit, (size_t)(g->units + p->cell[at].samples) * sizeof *g->unit);
        for (int i = 0; i < p->cell[at].samples; i++)
            g->unit[g->units++] = (sf_unit){.model = m, .at = *ats + at, .sample = i, .lanes = n, .work = work};
    }
    *ats += p->cells;
    sf_forecast_close(&f);
    sf_plan_free(&study.plan);
    sf_sweep_free(study.sweep);
    free(model);
}

static int by_model(const void *a, const void *b)
{
    const sf_unit *x = a, *y = b;
    return x->model != y->model ? x->model - y->model : x->at != y->at ? x->at - y->at : x->sample - y->sample;
}

/* share: of the cells' samples that are left, to see what fewer of them do. */
static void curve(const grid *g, const char *what, int gpus_each, double share)
{
    printf("%s, %.0f %% of its samples\n  %5s %8s %12s %10s %10s %8s\n", what, 100 * share, "GPUs", "workers", "hours", "samples", "opening", "takes");
    for (int workers = 1; workers * gpus_each <= 256; workers *= 2) {
        sf_unit *unit = malloc((size_t)g->units * sizeof *unit);
        int n = 0;
        for (int i = 0; i < g->units; i++)
            if (g->unit[i].sample < share * 50) unit[n++] = g->unit[i];
        sf_dispatch d;
        sf_simulated s;
        if (sf_dispatch_open(n, unit, workers, &d) != SF_OK || sf_simulate(&d, drawn, opening, (void *)g, 1e-3, &s) != SF_OK) die(what);
        printf("  %5d %8d %12.2f %9.1f%% %9.1f%% %8d\n", workers * gpus_each, workers, s.seconds / 3600, 100 * s.busy / (s.seconds * workers),
               100 * s.opening / (s.seconds * workers), s.takes);
        sf_dispatch_close(&d);
    }
}

int main(int argc, char **argv)
{
    glob_t found;
    if (glob("configs/paper/*.yaml", 0, NULL, &found) != 0) die("configs/paper");
    for (int large = 0; large < 2; large++) {
        grid g = {.sigma = argc > 1 ? atof(argv[1]) : 0.3};
        int ats = 0, each = large ? 4 : 1;
        for (size_t i = 0; i < found.gl_pathc; i++) add(&g, found.gl_pathv[i], large, each, &ats);
        qsort(g.unit, (size_t)g.units, sizeof *g.unit, by_model);
        const char *what = large ? "70B and 72B, each split over 4 GPUs" : "the seven models up to 32B, one GPU each";
        printf("%d samples of groups of cells, sigma %.2f\n", g.units, g.sigma);
        curve(&g, what, each, 1);
        curve(&g, what, each, 0.1);
        free(g.unit);
    }
    globfree(&found);
    return 0;
}
