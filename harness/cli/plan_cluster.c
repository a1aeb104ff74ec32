#include "harness/cli/plan_cluster.h"

#include <stdio.h>

#include "base/clock.h"
#include "harness/run/forecast.h"

/* Of n cells that stand together: GPU hours in all. */
static double gpu_hours(const sf_study *study, const sf_forecast *f, int at, int n)
{
    double seconds = 0;
    for (int i = at; i < at + n; i++) seconds += f->seconds[i] * study->plan.cell[i].samples * sf_sweep_ranks(study->sweep);
    return seconds / 3600;
}

static double share_of_samples(const sf_forecast *f) { return f->whole.busy / (f->whole.seconds * f->workers); }

static void print(const sf_study *study, const sf_cluster *c, const sf_forecast *f)
{
    const sf_sweep *s = study->sweep;
    const sf_plan *plan = &study->plan;
    char time[32];
    int measured = 0;
    printf("\n%d node%s of %d GPU%s%s%s, %d worker%s%s\n\n  %-28s %8s %6s %10s %16s\n", c->nodes, c->nodes > 1 ? "s" : "", c->gpus,
           c->gpus > 1 ? "s" : "", *c->kind ? ", " : "", c->kind, f->workers, f->workers > 1 ? "s" : "",
           sf_sweep_ranks(s) > 1 ? " of several GPUs each" : "", "model", "tokens", "cells", "GPU hours", "minutes a cell");
    for (int at = 0, n; at < plan->cells; at += n) {
        const sf_cell *first = &plan->cell[at];
        for (n = 1; at + n < plan->cells && first[n].model == first->model && first[n].length == first->length;) n++;
        double hours = gpu_hours(study, f, at, n);
        printf("  %-28s %8d %6d %10.2f %16.2f\n", s->model[first->model].label, s->length[first->length], n, hours, 60 * hours / n);
    }
    sf_duration(f->whole.seconds, time);
    for (int i = 0; i < plan->cells; i++) measured += f->measured[i];
    printf("\n  GPU hours %.2f, done after %s; %.1f %% of the GPUs' time goes to samples, the rest to opening models and to the last ones\n"
           "  (%d of %d cells as measured, the others by formula at the full output limit; models are read at 1 GB/s a worker)\n",
           gpu_hours(study, f, 0, plan->cells), time, 100 * share_of_samples(f), measured, plan->cells);
}

static void add_json(const sf_study *study, const sf_cluster *c, const sf_forecast *f, json_t *json)
{
    json_t *cells = json_array();
    for (int i = 0; i < study->plan.cells; i++)
        json_array_append_new(cells, json_pack("{s:s, s:f, s:b}", "key", study->plan.cell[i].key, "gpu_hours", gpu_hours(study, f, i, 1), "measured",
                                               f->measured[i]));
    json_object_set_new(json, "cluster",
                        json_pack("{s:i, s:i, s:s, s:i, s:f, s:f, s:f, s:o}", "nodes", c->nodes, "gpus_per_node", c->gpus, "kind", c->kind, "workers",
                                  f->workers, "gpu_hours", gpu_hours(study, f, 0, study->plan.cells), "hours", f->whole.seconds / 3600,
                                  "share_of_samples", share_of_samples(f), "cell", cells));
}

static sf_status warn_of_memory(const sf_study *study, const sf_cluster *c)
{
    const sf_sweep *s = study->sweep;
    for (int m = 0; m < s->models; m++) {
        double gib = 0;
        sf_split least;
        SF_TRY(sf_forecast_fit(study, c, m, &gib, &least));
        if (least.tensor == s->tensor && least.pipeline == s->pipeline) continue;
        printf("WARNING: %s takes %.0f GiB of each GPU (weights, and one sample's cache and activations), which has %.0f; ", s->model[m].label, gib,
               c->memory);
        if (least.pipeline > 1) printf("parallel: {tensor: %d, pipeline: %d} fits\n", least.tensor, least.pipeline);
        else if (least.tensor) printf("parallel: {tensor: %d} fits\n", least.tensor);
        else printf("it cannot be split so far that it fits\n");
    }
    return SF_OK;
}

sf_status sf_plan_cluster(const sf_study *study, const char *text, const char *measured, json_t *json)
{
    sf_cluster cluster;
    sf_forecast forecast = {0};
    SF_TRY(sf_cluster_of(text, &cluster));
    sf_status status = sf_forecast_open(study, &cluster, measured, &forecast);
    if (status == SF_OK && json) add_json(study, &cluster, &forecast, json);
    else if (status == SF_OK) print(study, &cluster, &forecast);
    sf_forecast_close(&forecast);
    return status == SF_OK && !json ? warn_of_memory(study, &cluster) : status;
}
