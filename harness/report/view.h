/* Results of one group of settings (settings.h), laid out for a report: the axes (models, tasks, lengths, arms), the points of the grid, and their statistics.
 *
 * A point is one (model, length, arm, sparsity) with a cell for each task. Its score is the mean over tasks of the mean
 * over samples, so that each task weighs the same. Points are compared only over tasks that both have. */
#ifndef SF_REPORT_VIEW_H
#define SF_REPORT_VIEW_H

#include "harness/store/store.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct sf_view_arm {
    const char *label;             /* "vertical_slash"; a joint one "vertical_slash + quest" */
    const char *method[SF_PHASES]; /* "dense" where none */
    const char *kind[SF_PHASES];   /* as stored: "oracle", "random", a form ("blocks"), "method", "" */
    bool sparse[SF_PHASES];        /* which phases it makes sparse; none: dense, which is arm 0. Dense with a rounded cache is an arm of
                                      decode, at sparsity 0 */
    const char *cache;             /* "exact", or the format that keys and values were rounded to, which the label names too */
} sf_view_arm;

static inline bool sf_arm_joint(const sf_view_arm *arm) { return arm->sparse[SF_PREFILL] && arm->sparse[SF_DECODE]; }

typedef struct sf_view_task {
    const char *label, *metric;
    int dispersion, scope, natural;
} sf_view_task;
typedef struct sf_view_model {
    const char *label;
    double parameters;
    const sf_cell_info *shape;
} sf_view_model;

/* What its dense points were run under, as it was trained; "": dense attention. */
static inline const char *sf_model_attention(const sf_view_model *m) { return m->shape->attention ? m->shape->attention : ""; }

/* Against the dense point (or cell) of the same model and length. */
typedef struct sf_verdict {
    int tasks, samples;           /* compared: tasks, and paired samples over all of them; 0: nothing to compare with */
    double dense;                 /* mean over these tasks of dense's scores */
    double difference, low, high; /* sparse - dense, and its 95 % interval: a loss above -low is excluded */
    double p, p_holm;             /* sign-flip test; corrected over all points (or cells) of the report */
} sf_verdict;

typedef struct sf_point {
    int model, length, arm;                              /* positions */
    double sparsity[SF_PHASES];                          /* requested; 0 dense, NAN explicit parameters */
    int *cell;                                           /* [tasks] position in results, -1: missing */
    int tasks, samples;                                  /* how many cells are there, and records in them */
    double achieved[SF_PHASES];                          /* means over the cells */
    double cost_paper[SF_PHASES], cost_exact[SF_PHASES]; /* at the report's batch */
    double seconds[SF_PHASES];
    double estimation[SF_PHASES]; /* share of executed FLOPs that went into choosing what to compute */
    double score, error;          /* over the tasks it has */
    double low, high;             /* 95 % interval of the score */
    sf_verdict verdict;
} sf_point;

typedef struct sf_view {
    const sf_results *results;
    double batch; /* of costs */
    double until; /* of the last run: samples stopped once what they say was known within so much; 0: they did not */
    int models, tasks, lengths, arms, points;
    sf_view_model *model; /* by size */
    sf_view_task *task;   /* by the study's groups, then name */
    int *length;          /* ascending */
    sf_view_arm *arm;     /* dense, prefill arms, decode arms, joint arms */
    sf_point *point;      /* by model, length, arm, sparsity */
    double *mean, *error; /* [cells] strict score of each cell */
    double *low, *high;   /* [cells] its 95 % interval; NAN before sf_view_bootstrap() */
    int *point_of;        /* [cells] the point that a cell belongs to; -1: left out */
    sf_verdict *verdict;  /* [cells] against the dense cell; tasks 0 before sf_view_test() and where there is none */
    int resamples;
    float *replicate; /* [cells, resamples] Bayesian bootstrap of the means; NULL until sf_view_bootstrap() */
    double *room;     /* [2 * resamples] for who reads intervals, one at a time; likewise */
    int left_out;     /* cells that stand where another one stands */
    void *heap;
} sf_view;

/* `results` must outlive the view. */
sf_status sf_view_make(const sf_results *results, sf_view *out);
void sf_view_free(sf_view *view);

/* Means over a cell's records. */
typedef struct sf_cell_means {
    double achieved[SF_PHASES];                          /* sparsity */
    double cost_paper[SF_PHASES], cost_exact[SF_PHASES]; /* batch 1: prefill FLOPs, elements a decode step */
    double seconds[SF_PHASES];
    double estimation[SF_PHASES]; /* share of executed FLOPs */
    double bytes[SF_PHASES];      /* read and written, batch 1: by the prefill, per generated token; NAN: none was */
    double kl[SF_PHASES], agreement[SF_PHASES]; /* with dense predictions, of the samples that were measured; NAN: none was */
} sf_cell_means;
sf_cell_means sf_view_cell_means(const sf_view *view, int cell);
/* A cost of batch 1 at another: a prefill costs so many times as much, a decode step reads the weights once. */
double sf_cost_at_batch(const sf_cell_info *cell, int phase, double cost, double batch);

/* Fills in the sums of a point from its `cell`s: all but intervals and verdict, which become NAN. */
void sf_point_sum(const sf_view *view, sf_point *point);

#endif
