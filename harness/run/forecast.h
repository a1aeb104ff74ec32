/* What a sweep takes on a cluster: seconds of each cell's sample, by formula at the rates that a GPU reaches or as another
 * results file measured them, given out to workers by the run's own dispatcher. */
#ifndef SF_FORECAST_H
#define SF_FORECAST_H

#include "harness/run/study.h"
#include "harness/run/simulate.h"

typedef struct sf_cluster {
    int nodes, gpus;      /* of each */
    char kind[32];        /* "": none is named; then seconds have to be measured */
    double flops, bytes;  /* a second: of prefill, of what decode reads */
    double memory;        /* GiB of one; 0: not known */
} sf_cluster;

/* "4x8:h200": nodes, GPUs of each, kind. Error: not that, or an unknown kind (lists those known). */
sf_status sf_cluster_of(const char *text, sf_cluster *out);

typedef struct sf_forecast {
    int workers;           /* processes, or teams of them that split a model */
    double *seconds;       /* [cells of the plan] a worker takes for one sample: its share of a prefill that others use too */
    bool *measured;        /* [cells] by the file, else by formula (scaled to the file, if there is one) */
    sf_simulated whole;    /* all cells on all workers */
} sf_forecast;

/* `measured`: a results file, or NULL. To be closed also after failure. */
sf_status sf_forecast_open(const sf_study *study, const sf_cluster *cluster, const char *measured, sf_forecast *out);
void sf_forecast_close(sf_forecast *f);

/* GPUs that a model is split over: by heads and MLP, and by layers. */
typedef struct sf_split { int tensor, pipeline; } sf_split;

/* The fewest GPUs, from those of the sweep on, over which a model fits with the largest sample of its cells: by heads as far as
 * they divide, then by layers; zeros: none up to 64. *gib: what each holds, split as the sweep says. */
sf_status sf_forecast_fit(const sf_study *study, const sf_cluster *cluster, int model, double *gib, sf_split *least);

#endif
