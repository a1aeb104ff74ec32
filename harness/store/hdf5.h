/* The results file itself: cells and runs in HDF5. Every function says in its error which file and cell it was at, and
 * what the HDF5 library reports; the library's own printing is silenced. */
#ifndef SF_STORE_HDF5_H
#define SF_STORE_HDF5_H

#include "harness/store/schema.h"

#include <hdf5.h>

typedef struct sf_hdf5 {
    hid_t file;
    const char *path;
    bool writable;
    unsigned failures; /* calls of the HDF5 library that had failed before it was opened */
} sf_hdf5;

/* Of the library that runs. Like every function here it takes the library in hand first, if nobody has. */
const char *sf_hdf5_version(void);

/* Opens a results file, and checks that it is one and of this schema. */
sf_status sf_hdf5_open(const char *path, bool writable, sf_hdf5 *out);
sf_status sf_hdf5_create(const char *path, sf_hdf5 *out);
/* Flushes and closes; an error means that the file is not whole: of one that was written, that any call of the library
 * failed since it was opened, whoever looked. Rows that HDF5 could not write it forgets, and then succeeds. Accepts one
 * that is not open. */
sf_status sf_hdf5_close(sf_hdf5 *f);

sf_status sf_hdf5_keys(const sf_hdf5 *f, sf_heap *arena, int *count, const char ***key);
/* Whether the cell is there, and its samples in the order of its rows. */
sf_status sf_hdf5_samples(const sf_hdf5 *f, const char *key, sf_heap *arena, bool *exists, int *count, int **sample);
/* Adds rows to a cell, which is made if need be. */
sf_status sf_hdf5_append(const sf_hdf5 *f, const sf_cell_info *cell, int n, const sf_record *const *record);
/* Failed cells; a file from before there were any holds none. Replaces the failure of the same cell, or adds it. */
sf_status sf_hdf5_failures(const sf_hdf5 *f, sf_heap *arena, int *count, sf_failure **failure);
sf_status sf_hdf5_put_failure(const sf_hdf5 *f, const sf_failure *failure);

/* Reading back. That rows [first, first + n) are these records, and the attributes this cell's. */
sf_status sf_hdf5_same_rows(const sf_hdf5 *f, const sf_cell_info *cell, int first, int n, const sf_record *const *record);
/* That the first rows of each cell that has grown are those of the file `before`, and that no cell is gone. */
sf_status sf_hdf5_same_cells(const sf_hdf5 *f, const sf_hdf5 *before);
/* That the run is there. */
sf_status sf_hdf5_same_run(const sf_hdf5 *f, const sf_run_info *run);
sf_status sf_hdf5_same_failure(const sf_hdf5 *f, const sf_failure *failure);

/* A cell's attributes, its rows and, with SF_READ_MEANS, its mean maps. */
sf_status sf_hdf5_read_cell(const sf_hdf5 *f, const char *key, unsigned what, sf_heap *arena, sf_cell_info *cell,
                            int *count, sf_record **record, sf_maps *mean);

sf_status sf_hdf5_runs(const sf_hdf5 *f, sf_heap *arena, int *count, sf_run_info **run);
/* Replaces the run of the same `started` and `host`, or adds it. */
sf_status sf_hdf5_put_run(const sf_hdf5 *f, const sf_run_info *run);

#endif
