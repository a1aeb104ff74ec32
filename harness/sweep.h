/* A sweep as its YAML file asks for it (config.c reads it) and the cells it unrolls into (plan.c). */
#ifndef SF_SWEEP_H
#define SF_SWEEP_H

#include "methods/method.h"
#include "tasks/task.h"

typedef struct sf_model_spec { char *path, *label; char *prefix, *suffix; } sf_model_spec; /* own chat: prefix, suffix */

typedef struct sf_task_spec {
    const sf_task *task;
    char *label;               /* the task's name, or name with its non-default parameters */
    void *params;
    int output;                /* limit of generated tokens */
    sf_prompting prompting;
} sf_task_spec;

/* One method with parameters. With budget parameters given, it is one cell; else one cell a target sparsity. */
typedef struct sf_arm {
    const sf_method *method;
    char *label;
    void *params;
    bool explicit_budget;
} sf_arm;

/* A joint arm: a prefill method and a decode method in the same cell. Either may be absent (method == NULL). */
typedef struct sf_arm_pair { sf_arm prefill, decode; } sf_arm_pair;

typedef struct sf_sweep {
    char *name, *path, *text;  /* text: the file, after --set, as stored in the results */
    int models, tasks, lengths, sparsities, arms, plugins;
    sf_model_spec *model;
    sf_task_spec *task;
    int *length;               /* tokens */
    double *sparsity;
    sf_arm_pair *arm;
    char **plugin;
    int samples;
    uint64_t seed;
    char *device;              /* "cpu", "reference", "cuda", "cuda:1" */
    int threads;
    int batch;                 /* of the cost models' plots */
    int recall_rows;
} sf_sweep;

/* Reads, checks and completes a sweep. `set`: "path.to.key=value" overrides. Errors give file:line, key, what was
 * expected, and the nearest valid name. */
sf_status sf_sweep_read(const char *path, int sets, const char *const *set, sf_sweep **out);
void sf_sweep_free(sf_sweep *sweep);

/* One cell: one point of the grid. Dense is a cell of its own (both methods NULL). */
typedef struct sf_cell {
    int model, task, length;         /* positions in the sweep */
    const sf_arm *prefill, *decode;  /* NULL: dense in that phase */
    double sparsity[SF_PHASES];      /* requested; 0 where dense, NAN with explicit parameters */
    char key[33];                    /* content key, hex */
} sf_cell;

typedef struct sf_plan { int cells; sf_cell *cell; } sf_plan;

/* Cells in running order: by model, length, task, so that lanes of a sample stand together; dense first. `hashes`: each
 * model's content hash. */
sf_status sf_plan_make(const sf_sweep *sweep, const char *const *model_hash, sf_plan *out);
void sf_plan_free(sf_plan *plan);

#endif
