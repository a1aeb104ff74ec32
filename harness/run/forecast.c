#include "harness/run/forecast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/cost.h"
#include "harness/model/part.h"
#include "harness/run/schedule.h"
#include "kernels/comm.h"

/* H200: prefill of a 7B model's shape at 128k reaches 570 TFLOP/s dense and 300 to 510 under methods, decode 3.8 TB/s alone and
 * less in company (results/bench/cuda-h200.txt). The others by the ratio of what their makers say of peaks. */
static const struct { const char *name; double flops, bytes, memory; } KINDS[] = {
    {"h200", 450e12, 3.0e12, 139}, {"h100", 450e12, 2.1e12, 79}, {"a100-80", 142e12, 1.25e12, 79}, {"a100-40", 142e12, 0.97e12, 39},
};

static const double READING = 1e9; /* bytes a second that a worker gets of its model's file */
static const double ASKING = 1e-3; /* seconds */

sf_status sf_cluster_of(const char *text, sf_cluster *out)
{
    int end = 0;
    *out = (sf_cluster){0};
    if (sscanf(text, "%dx%d%n", &out->nodes, &out->gpus, &end) != 2 || out->nodes < 1 || out->gpus < 1 || out->nodes > 4096 || out->gpus > 64 ||
        (text[end] && text[end] != ':'))
        return sf_fail(SF_BAD_INPUT, "a cluster is NODESxGPUS:KIND, e.g. 4x8:h200; '%s' is not that", text);
    if (!text[end]) return SF_OK;
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (strcmp(KINDS[i].name, text + end + 1) != 0) continue;
        snprintf(out->kind, sizeof out->kind, "%s", KINDS[i].name);
        out->flops = KINDS[i].flops, out->bytes = KINDS[i].bytes, out->memory = KINDS[i].memory;
        return SF_OK;
    }
    char known[128] = "";
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", KINDS[i].name);
    return sf_fail(SF_BAD_INPUT, "GPUs of kind '%s' are unknown; known are %s", text + end + 1, known);
}

/* ---- seconds of a sample -------------------------------------------------------------------------------------------- */

static bool same_group(const sf_cell *a, const sf_cell *b) { return a->model == b->model && a->task == b->task && a->length == b->length; }

/* Of cell i of a group of n: a prefill is shared by those that ask for the same, the reading of weights by all lanes that
 * decode together. */
static double by_formula(const sf_study *study, const sf_cell *group, int n, int i, double flops, double bytes)
{
    const sf_sweep *s = study->sweep;
    const sf_cell *cell = &group[i];
    const sf_model_config *c = &study->model[cell->model]->config;
    const int output = s->task[cell->task].output * s->task[cell->task].turns;
    const double lanes = fmin(SF_LANES_TOGETHER, (double)n * cell->samples);
    int sharers = 0;
    for (int j = 0; j < n; j++) sharers += sf_cell_shares_prefill(cell, &group[j]);
    double density[SF_PHASES];
    for (int p = 0; p < SF_PHASES; p++) density[p] = isnan(cell->sparsity[p]) ? 1 : 1 - cell->sparsity[p];
    sf_cost prefill, decode;
    sf_cost_of(c, &(sf_cost_query){.phase = SF_PREFILL, .tokens = s->length[cell->length], .batch = 1, .density = density[SF_PREFILL]}, &prefill);
    sf_cost_of(c, &(sf_cost_query){.phase = SF_DECODE, .tokens = s->length[cell->length], .batch = 1, .density = density[SF_DECODE]}, &decode);
    const double read = 2 * (decode.exact - decode.weights + decode.weights / lanes); /* bytes, bf16 */
    if (s->task[cell->task].asking == SF_ASK_ANEW) prefill.exact *= 1 + sharers * (s->task[cell->task].turns - 1); /* later ones are a lane's own */
    return prefill.exact / sharers / flops + output * read / bytes;
}

static void fill_by_formula(const sf_study *study, double flops, double bytes, double *seconds)
{
    const sf_plan *plan = &study->plan;
    for (int at = 0, n; at < plan->cells; at += n) {
        for (n = 1; at + n < plan->cells && same_group(&plan->cell[at], &plan->cell[at + n]);) n++;
        for (int i = 0; i < n; i++) seconds[at + i] = by_formula(study, &plan->cell[at], n, i, flops, bytes);
    }
}

/* A file's own seconds, and, for cells that it lacks, the formula scaled to what the others took. */
static sf_status fill_by_file(const sf_study *study, const char *path, sf_forecast *f)
{
    sf_results r;
    SF_TRY(sf_results_read(1, &path, 0, &r));
    double took = 0, formula = 0;
    for (int i = 0; i < study->plan.cells; i++)
        for (int c = 0; c < r.cells; c++) {
            if (strcmp(r.cell[c].key, study->plan.cell[i].key) != 0 || !r.records[c]) continue;
            double sum = 0;
            for (int k = 0; k < r.records[c]; k++) sum += r.record[c][k].seconds[SF_PREFILL] + r.record[c][k].seconds[SF_DECODE];
            formula += f->seconds[i];
            took += f->seconds[i] = sum / r.records[c];
            f->measured[i] = true;
        }
    sf_results_free(&r);
    if (took == 0) return sf_fail(SF_BAD_INPUT, "%s has no cell of this config: its times say nothing about it", path);
    for (int i = 0; i < study->plan.cells; i++)
        if (!f->measured[i]) f->seconds[i] *= took / formula;
    return SF_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

static double seconds_of(void *user, const sf_unit *unit) { return (void)user, unit->work; }
static double opening_of(void *user, int model) { return (double)((const sf_study *)user)->model[model]->weight_bytes / READING; }

static sf_status simulate(const sf_study *study, sf_forecast *f)
{
    const sf_plan *plan = &study->plan;
    size_t most = 0;
    int units = 0;
    for (int at = 0, n; at < plan->cells; at += n) {
        for (n = 1; at + n < plan->cells && same_group(&plan->cell[at], &plan->cell[at + n]);) n++;
        most += (size_t)plan->cell[at].samples;
    }
    sf_unit *unit = malloc(most * sizeof *unit + 1);
    if (!unit) return sf_fail(SF_NO_MEMORY, "no memory for a list of %zu samples", most);
    for (int at = 0, n; at < plan->cells; at += n) {
        double work = f->seconds[at];
        for (n = 1; at + n < plan->cells && same_group(&plan->cell[at], &plan->cell[at + n]); n++) work += f->seconds[at + n];
        for (int i = 0; i < plan->cell[at].samples; i++)
            unit[units++] = (sf_unit){.model = plan->cell[at].model, .at = at, .sample = i, .lanes = n, .work = work};
    }
    sf_dispatch d;
    sf_status status = sf_dispatch_open(units, unit, f->workers, &d);
    if (status == SF_OK) status = sf_simulate(&d, seconds_of, opening_of, (void *)study, ASKING, &f->whole);
    sf_dispatch_close(&d);
    return status;
}

sf_status sf_forecast_open(const sf_study *study, const sf_cluster *cluster, const char *measured, sf_forecast *out)
{
    const sf_sweep *s = study->sweep;
    const int gpus = cluster->nodes * cluster->gpus, each = sf_sweep_ranks(s);
    const size_t cells = (size_t)study->plan.cells;
    *out = (sf_forecast){.workers = gpus / each};
    if (gpus % each != 0)
        return sf_fail(SF_BAD_INPUT, "%d GPUs, but parallel: {tensor: %d, pipeline: %d} takes a multiple of %d", gpus, s->tensor, s->pipeline, each);
    if (!measured && !*cluster->kind)
        return sf_fail(SF_BAD_INPUT, "how long cells take is told by a kind of GPU (4x8:h200), or by --measured FILE");
    out->seconds = calloc(cells, sizeof *out->seconds);
    out->measured = calloc(cells, sizeof *out->measured);
    if (!out->seconds || !out->measured) return sf_fail(SF_NO_MEMORY, "no memory for the times of %zu cells", cells);
    /* The stages of a pipeline work one after the other: always in decode, in prefill where a sample has one alone. */
    fill_by_formula(study, (*cluster->kind ? cluster->flops : 450e12) * s->tensor, (*cluster->kind ? cluster->bytes : 3e12) * s->tensor, out->seconds);
    if (measured) SF_TRY(fill_by_file(study, measured, out));
    return simulate(study, out);
}

void sf_forecast_close(sf_forecast *f)
{
    free(f->seconds);
    free(f->measured);
    *f = (sf_forecast){0};
}

static sf_status hold(const sf_study *study, int model, sf_split split, double *gib)
{
    sf_backend b;
    sf_comm heads = {.size = split.tensor}, stages = {.size = split.pipeline}; /* nothing is said in them */
    size_t most = 0;
    SF_TRY(sf_backend_open("cpu", 1, &b));
    b.activation = SF_BF16;
    if (split.tensor > 1) b.comm = &heads;
    if (split.pipeline > 1) b.stages = &stages;
    sf_status status = SF_OK;
    for (int i = 0; status == SF_OK && i < study->plan.cells; i++) {
        size_t bytes = 0;
        if (study->plan.cell[i].model != model) continue;
        status = sf_cell_memory(study, &b, &study->plan.cell[i], &bytes);
        if (bytes > most) most = bytes;
    }
    b.comm = b.stages = NULL;
    sf_backend_close(&b);
    *gib = ((double)most + (double)study->model[model]->weight_bytes / (split.tensor * split.pipeline)) / (1 << 30);
    return status;
}

static bool divides(const sf_model *m, sf_split split)
{
    sf_stage stage;
    return sf_part_check(m, split.tensor) == SF_OK && sf_stage_of(&m->config, 0, split.pipeline, &stage) == SF_OK;
}

sf_status sf_forecast_fit(const sf_study *study, const sf_cluster *cluster, int model, double *gib, sf_split *least)
{
    const sf_model *whole = study->model[model];
    sf_split split = {study->sweep->tensor, study->sweep->pipeline};
    *least = (sf_split){0};
    for (bool first = true; divides(whole, split) && split.tensor * split.pipeline <= 64; first = false) {
        const sf_split wider = {2 * split.tensor, split.pipeline};
        double held;
        SF_TRY(hold(study, model, split, &held));
        if (first) *gib = held;
        if (cluster->memory == 0 || held <= cluster->memory * 0.95) return *least = split, SF_OK;
        if (divides(whole, wider)) split = wider;
        else split.pipeline *= 2;
    }
    return SF_OK;
}
