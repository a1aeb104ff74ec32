/* Results on disk: one HDF5 file a sweep, and no kill at any instant loses finished work.
 *
 * A record (one sample of one cell) is durable once sf_store_add() returns: it is written to a part file beside the
 * results (`NAME.h5.parts/`), synced and renamed. sf_store_fold() writes the results file anew from itself and all
 * parts (aside, synced, renamed) and then removes the parts. Readers see results file and parts together. The schema is
 * in results/README.md; schema.c holds it as data. */
#ifndef SF_STORE_H
#define SF_STORE_H

#include "base/picture.h"
#include "kernels/meter.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SF_STORE_SCHEMA = 1, SF_STORE_SAMPLES = 1000 * 1000 /* of a cell, numbered from 0 */ };

/* What a cell is; equal for all its records. Strings are owned by whoever made the struct; NULL is stored as "". */
typedef struct sf_cell_info {
    char key[33]; /* content key, 1 … 32 hex digits */
    const char *model, *model_hash;
    const char *task, *task_label, *task_params /* JSON */, *metric;      /* label: as in sf_task_spec */
    const char *method[SF_PHASES], *label[SF_PHASES], *params[SF_PHASES]; /* method "dense" where none; label: the
                                                                             arm's, names a curve; JSON */
    double sparsity[SF_PHASES];                           /* requested; 0: dense; NAN: explicit parameters */
    int length, output_limit;                             /* tokens */
    int layers, heads, kv_heads, head_dim, d, mlp, vocab; /* the model's shape */
    int window, sliding_layers;     /* sliding-window layers: tokens each sees (0: a chunk's), and how many there are; 0: none */
    double recurrent_layers;        /* that have a recurrence, with a state of fixed size, instead of attention; NAN: not recorded */
    double parameters;              /* weights of the model, elements */
    double weight_elements;         /* of these, what one decode step reads: takes decode cost to other batch sizes */
    int dispersion, scope, natural; /* the task's flags, 0 or 1 */
    const char *device, *dtype;
    uint64_t seed;
    const char *version[SF_PHASES]; /* of the methods' code: "1", of a plug-in with its file's hash; "" where none */
    const char *kind[SF_PHASES];    /* "oracle" or "random" (bounds of what choosing is worth), else its form ("blocks") or "method"; "" where none */
    const char *positions;          /* how the model's rotations were read, in words */
    const char *doubts;             /* what of the model may not be what its authors meant; "": nothing */
    const char *chat;               /* JSON of the config's `chat`, and of the date if the template asks for it; "": neither */
    const char *questions;          /* "fixed": the task has so many questions and no more, and asks them under every seed;
                                       "": others under each; absent in older files, then "" */
    const char *cache;              /* format that keys and values were rounded to: "simulated_int8"; "exact", or here and in older files "": none. sf_cell_cache() */
    const char *attention;          /* the method, with its numbers, that the model was trained under, and that the cell is run under: sf_cell_own(); "",
                                       in older files too: none */
    const char *bos;                /* the BOS token that an input should begin with; "": none is due */
} sf_cell_info;

/* The format's name, or "exact". */
static inline const char *sf_cell_cache(const sf_cell_info *c) { return c->cache && *c->cache ? c->cache : "exact"; }
static inline bool sf_cell_exact(const sf_cell_info *c) { return strcmp(sf_cell_cache(c), "exact") == 0; }
/* Whether it is the model as it was trained, and not a method put on it: reports have it where other models have dense. */
static inline bool sf_cell_own(const sf_cell_info *c) { return c->attention && *c->attention; }

/* How far the predictions of a phase are from the dense model's after the same tokens (engine/lane.h): means over the rows of
 * the prompt that were looked at, or over what the dense model generates. NAN: not measured. */
typedef struct sf_diverged {
    double nll, dense_nll; /* of what comes next, nats */
    double kl;             /* KL(dense ‖ sparse), nats */
    double agreement;      /* share of predictions whose likeliest token is the dense model's */
    double rank;           /* of the dense model's likeliest token */
} sf_diverged;
#define SF_NOT_DIVERGED {NAN, NAN, NAN, NAN, NAN}

/* The same by position: means over equal stretches, of the prompt in prefill, of the output limit in decode; NAN: none was
 * looked at there. */
enum { SF_STRETCHES = 16, SF_PROFILE_MEASURES = 3 };
typedef struct sf_profile {
    float nll[SF_STRETCHES], dense_nll[SF_STRETCHES], kl[SF_STRETCHES];
} sf_profile;

typedef struct sf_record {
    int sample;
    int input_tokens, output_tokens;
    double late_tokens;         /* of the input, those that were read after the prefill, in decode steps; NAN: none */
    int bos_tokens;             /* BOS ids in front of the input; more than one, and none where one is due, is a fault that
                                   a gate names */
    uint64_t prompt_hash;       /* of the input's token ids (XXH3), so that pairing can be checked; 0: not recorded */
    bool parsed, truncated;     /* an answer was found; cut off at the output limit */
    double strict, reference;   /* 0 … 1; reference NAN: left out of the mean */
    double achieved[SF_PHASES]; /* sparsity: 1 - executed / causal pairs, over global layers */
    double cost_paper[SF_PHASES], cost_exact[SF_PHASES]; /* prefill FLOPs; decode elements read per token, batch 1 */
    double seconds[SF_PHASES];
    sf_meter meter;
    const char *prediction, *gold;                       /* gold: JSON list; of several turns both are lists of the turns' */
    const char *turn_scores;                             /* JSON list of what each turn scored, of which `strict` is the mean; "", NULL: one turn */
    const float *density[SF_PHASES], *recall[SF_PHASES], *error[SF_PHASES]; /* [layers, heads]; NULL: not recorded */
    const sf_profile *along[SF_PHASES];                    /* NULL: not measured */
    double depth;                         /* where in the context its evidence stands, 0 … 1; NAN: not in one place */
    const sf_picture *picture[SF_PHASES]; /* NULL: not recorded; a cell keeps those of one record */
    sf_diverged diverged[SF_PHASES];
} sf_record;

/* Who ran, and with what. A run is known by `started` and `host`: a later note of the same run replaces the earlier. */
typedef struct sf_run_info {
    const char *config, *revision, *host, *versions /* JSON */, *started /* ISO 8601 */;
    double seconds; /* NAN: not finished */
    int batch;      /* that the config asks cost plots to be drawn at; 0: not said */
    const char *cells; /* a key of each model and task of the config, with blanks between: with which settings it ran */
    const char *first_prompts; /* JSON: first and last tokens of each model's first prompt */
    double until; /* each point was sampled until it was known within so much of the score; 0 or NAN: to a number given beforehand */
} sf_run_info;

/* A cell that cannot be run: what its method's hook said, or how it ended the process. It stands until the sample that
 * failed is stored after all. */
typedef struct sf_failure {
    const char *key, *model, *task /* as labelled */, *label[SF_PHASES]; /* which cell: as in sf_cell_info */
    double sparsity[SF_PHASES];
    int length, sample;
    const char *message;
} sf_failure;

typedef struct sf_store sf_store;

/* Opens `path` for adding, alone: a second process is refused until this one closes or dies. `overwrite` drops what is
 * there. Error: folder not writable, in use, not HDF5, not a results file, another schema version, parts or results
 * that cannot be read (each named). */
sf_status sf_store_open(const char *path, bool overwrite, sf_store **out);
/* Whether this cell's sample is there already. */
bool sf_store_has(const sf_store *s, const char *key, int sample);
/* Adds the records of one sample (all cells that ran together) as one durable step: all or none survive a kill. Records
 * that are there already are ignored. Folds by itself when parts pile up. */
sf_status sf_store_add(sf_store *s, int n, const sf_cell_info *cell, const sf_record *record);
/* Notes that a cell failed, durably; the last failure of a cell counts. */
sf_status sf_store_fail(sf_store *s, const sf_failure *failure);
/* Whether the cell is on record as failed. */
bool sf_store_failed(const sf_store *s, const char *key);
/* From here on no cell is, in this process: for another try. */
void sf_store_forgive(sf_store *s);
/* Learns what a fork of this process has added since, once it has ended. */
sf_status sf_store_refresh(sf_store *s);
/* Notes who is running, durably; call it before the first record (seconds NAN), so that a killed run is on record too.
 */
sf_status sf_store_note(sf_store *s, const sf_run_info *run);
/* From here on `writers` processes add: this one and forks of it. Each calls this with a number of its own and then names
 * its parts apart from the others'; number -1 adds nothing to the disk, and only knows what it would have added. Only writer 0 notes, and folds once the others have ended; they leave without
 * closing the store. */
void sf_store_share(sf_store *s, int writer, int writers);
/* For processes on other machines, that no fork connects: one has the store open and leads; the others join it with what
 * sf_store_lead() says, and all share it. They take no lock, since file systems of clusters may lie about them: no file of one
 * is ever written or removed by another before all have ended and the first folds. Ranks that outlive a leader that was
 * killed meet no file of the next one either, as its numbers begin far behind theirs. */
uint64_t sf_store_lead(sf_store *s);
sf_status sf_store_join(const char *path, uint64_t lead, sf_store **out);
/* Parts in the folder that `writer` has written since sf_store_lead() said `lead`, as far as this machine can see. */
sf_status sf_store_written(const sf_store *s, uint64_t lead, int writer, int *parts);
/* Folds all parts into the results file; notes `run` first unless it is NULL. */
sf_status sf_store_fold(sf_store *s, const sf_run_info *run);
/* Takes cells [n] out, with all their samples and failures; what there is of them in parts, too. Nothing is gone where it fails. */
sf_status sf_store_remove(sf_store *s, int n, const char *const *key);
/* Gives those of the cells [n] that are stored under other labels (of model, task, methods) the labels that these have; folds first
 * where parts have others. *renamed: how many. */
sf_status sf_store_relabel(sf_store *s, int n, const sf_cell_info *cell, int *renamed);
/* Accepts NULL. Does not fold: parts stay, readers and the next sf_store_open() see them. */
void sf_store_close(sf_store *s);

/* Reading, for report, show and export: everything in memory, cells sorted by model, task, length, method, sparsity,
 * records by sample. */
enum {
    SF_READ_TEXTS = 1 /* prediction, gold, turn_scores; else NULL */,
    SF_READ_MAPS = 2 /* density, recall, error and curves of each record */,
    SF_READ_MEANS = 4 /* these as means over a cell's records, `mean` below */,
    SF_READ_PICTURES = 8
};

typedef struct sf_maps {
    const float *density[SF_PHASES], *recall[SF_PHASES], *error[SF_PHASES]; /* [layers, heads] or NULL */
    const sf_profile *along[SF_PHASES];
} sf_maps;

typedef struct sf_results {
    int cells, runs;
    sf_cell_info *cell;
    int *records;       /* [cells] */
    sf_record **record; /* [cells][records] */
    sf_maps *mean;      /* [cells] */
    sf_run_info *run;
    int failures; /* cells that failed, which may lack records or all of `cell` */
    sf_failure *failure;
    int problems; /* what could not be read and was left out: one sentence each, naming file and cell */
    const char **problem;
    void *arena; /* holds everything above */
} sf_results;

/* Reads one or more files, their parts included, as one; the same cell in two files is one cell, and of the same sample
 * the first file's record counts. `what`: SF_READ_…. A cell or part that cannot be read is left out and named in
 * `problem`. Error: a file that is missing, foreign, of another schema version or unreadable as a whole. */
sf_status sf_results_read(int files, const char *const *path, unsigned what, sf_results *out);
void sf_results_free(sf_results *r);

#endif
