/* The main path: a sweep's cells, run and stored. */
#ifndef SF_RUN_H
#define SF_RUN_H

#include <stdbool.h>

#include "base/status.h"
#include "base/world.h"

typedef struct sf_run_options {
    const char *config, *out;         /* out NULL: results/NAME.h5 */
    int sets;
    const char *const *set;
    bool overwrite, retry;            /* retry: cells on record as failed are tried again */
    const char *only;                 /* cells to run, others are left (harness/store/where.h); NULL: all */
    bool verbose;                     /* a line a cell; else a line for every model, task and length where stderr is no terminal */
    int shard, shards;                /* runs part `shard` of 1 … `shards` alone; 0, 0: everything */
} sf_run_options;

typedef struct sf_run_end {
    char path[4096]; /* where the results are */
    int failed;      /* cells of the sweep that failed, now or before, and are left out */
    sf_world world;  /* closed by the caller once all is said (sf_world_close) */
    bool speaks;     /* of processes that run together, the one that says how it went */
} sf_run_end;

/* Runs what is not yet stored; as one of several processes if mpirun or srun started it so. Cells that
 * are stored under other labels than the config's get these. */
sf_status sf_run(const sf_run_options *options, sf_run_end *end);

#endif
