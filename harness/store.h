/* Results on disk: one HDF5 file a sweep, and no kill at any instant loses finished work.
 *
 * A record (one sample of one cell) is durable once sf_store_add() returns: it is written to a part file beside the
 * results (`NAME.h5.parts/`), synced and renamed. sf_store_fold() rewrites the results file from itself and all parts
 * (aside, synced, renamed) and then removes the parts. Readers see results file and parts together. The schema is in
 * results/README.md. */
#ifndef SF_STORE_H
#define SF_STORE_H

#include "kernels/meter.h"
#include "kernels/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SF_STORE_SCHEMA = 1 };

/* What a cell is; equal for all its records. Strings are owned by whoever made the struct. */
typedef struct sf_cell_info {
    char key[33];
    const char *model, *model_hash, *task, *task_params /* JSON */, *metric;
    const char *method[SF_PHASES], *params[SF_PHASES]; /* "dense" where none; JSON */
    double sparsity[SF_PHASES];    /* requested; NAN: explicit parameters */
    int length, output_limit;
    int layers, heads;
    int dispersion, scope, natural; /* the task's flags, 0 or 1 */
    const char *device, *dtype;
    uint64_t seed;
} sf_cell_info;

typedef struct sf_record {
    int sample;
    int input_tokens, output_tokens;
    bool parsed, truncated;
    double strict, reference;      /* reference NAN: left out */
    double achieved[SF_PHASES];    /* sparsity: 1 - executed / causal pairs, over global layers */
    double cost_paper[SF_PHASES], cost_exact[SF_PHASES]; /* prefill FLOPs; decode elements read per token, batch 1 */
    double seconds[SF_PHASES];
    sf_meter meter;
    const char *prediction, *gold; /* gold: JSON list */
    const float *density[SF_PHASES], *recall[SF_PHASES]; /* [layers, heads]; NULL: not recorded */
} sf_record;

typedef struct sf_run_info { const char *config, *revision, *host, *versions /* JSON */, *started; double seconds; } sf_run_info;

typedef struct sf_store sf_store;

/* Opens or creates. Error: not writable, not HDF5, another schema version, parts that cannot be read (named). */
sf_status sf_store_open(const char *path, bool overwrite, sf_store **out);
bool sf_store_has(const sf_store *s, const char *key, int sample);
/* Adds the records of one sample (all cells that ran together) as one durable step. */
sf_status sf_store_add(sf_store *s, int n, const sf_cell_info *cell, const sf_record *record);
sf_status sf_store_fold(sf_store *s, const sf_run_info *run);
void sf_store_close(sf_store *s);

/* Reading, for report, show and export: everything, in memory, sorted by cell then sample. */
typedef struct sf_results {
    int cells, runs;
    sf_cell_info *cell;
    int *records;                  /* [cells] */
    sf_record **record;            /* [cells][records] */
    sf_run_info *run;
    void *arena;
} sf_results;

sf_status sf_results_read(int files, const char *const *path, sf_results *out);
void sf_results_free(sf_results *r);

#endif
