/* Results laid out for a report: the axes (models, tasks, lengths, arms), the points of the grid, and their statistics.
 *
 * A point is one (model, length, arm, sparsity) with a cell for each task. Its score is the mean over tasks of the mean
 * over samples, so that each task weighs the same. Points are compared only over tasks that both have. */
#ifndef SF_REPORT_VIEW_H
#define SF_REPORT_VIEW_H

#include "harness/store/store.h"

enum { SF_RESAMPLES = 10000, SF_CELL_NAME = 512 };

typedef struct sf_view_arm {
    const char *label;             /* "vertical_slash"; a joint one "vertical_slash + quest" */
    const char *method[SF_PHASES]; /* "dense" where none */
    bool sparse[SF_PHASES];        /* which phases it makes sparse; none: dense, which is arm 0 */
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

/* Against the dense point (or cell) of the same model and length. */
typedef struct sf_verdict {
    int tasks, samples;           /* compared: tasks, and paired samples over all of them; 0: nothing to compare with */
    double difference, low, high; /* sparse - dense, and its 95 % interval (BCa) */
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
    int models, tasks, lengths, arms, points;
    sf_view_model *model; /* by size */
    sf_view_task *task;   /* by the study's groups, then name */
    int *length;          /* ascending */
    sf_view_arm *arm;     /* dense, prefill arms, decode arms, joint arms */
    sf_point *point;      /* by model, length, arm, sparsity */
    double *mean, *error; /* [cells] strict score of each cell */
    int *point_of;        /* [cells] the point that a cell belongs to; -1: left out */
    sf_verdict *verdict;  /* [cells] against the dense cell; tasks 0 before sf_view_test() and where there is none */
    int resamples;
    float *replicate; /* [cells, resamples] bootstrap means; NULL until sf_view_bootstrap() */
    int left_out;     /* cells that stand where another one stands */
    void *heap;
} sf_view;

/* `results` must outlive the view. */
sf_status sf_view_make(const sf_results *results, sf_view *out);
void sf_view_free(sf_view *view);

/* Tests every cell against its dense cell: `verdict` of cells, without intervals. */
sf_status sf_view_test(sf_view *view);

/* Fills in replicates, intervals and verdicts of cells and points. Samples are drawn together for all cells of a model,
 * task and length, so that differences between cells are paired. */
sf_status sf_view_bootstrap(sf_view *view, int resamples, uint64_t seed);

/* The dense point of a point's model and length; NULL: none. */
const sf_point *sf_view_dense(const sf_view *view, const sf_point *point);
/* The dense cell of a sparse cell's model, task and length; -1: none. */
int sf_cell_dense(const sf_view *view, int cell);
/* 95 % interval (BCa) of a cell's own score, after sf_view_bootstrap(); NAN for one sample. */
void sf_cell_interval(const sf_view *view, int cell, double *low, double *high);
bool sf_verdict_loss(const sf_verdict *verdict); /* below dense, p_holm <= 0.05 */
const sf_point *sf_view_find(const sf_view *view, int model, int length, int arm, double prefill, double decode);

/* The sparsity that a point stands for on an axis: as executed, in the phase that its arm makes sparse (a joint arm's
 * prefill). */
double sf_point_sparsity(const sf_view *view, const sf_point *point);
/* The requested one in words: "0.90", "0.90/0.50" for a joint point, "set" with explicit parameters. */
void sf_point_level(const sf_view *view, const sf_point *point, char text[32]);

/* Share of a cell's answers that could not be parsed; NAN: no records. */
double sf_cell_unparsed(const sf_results *r, int cell);

/* Paired differences of two cells, sample by sample: how many, in `difference` (room for the fewer of both). */
int sf_cell_differences(const sf_results *r, int cell, int minus, double *difference);

/* "smollm2 niah 1024 vertical_slash 0.90" */
void sf_cell_name(const sf_view *view, int cell, char text[SF_CELL_NAME]);

#endif
