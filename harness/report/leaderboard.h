/* How sparse each method may go for a loss of at most so much, and what that costs: a row a method, model, length and group of
 * tasks. */
#ifndef SF_REPORT_LEADERBOARD_H
#define SF_REPORT_LEADERBOARD_H

#include "harness/report/view.h"

#include <stdio.h>

#define SF_WITHIN 0.05 /* of dense: what may be lost, unless another share is asked for */

typedef struct sf_leader {
    const char *tasks; /* "all tasks", or the group's name */
    int model, length, arm;
    const sf_point *point;  /* the sparsest up to which the loss stays within, points of lower sparsity included; NULL: none does */
    double requested;       /* of that point, executed where parameters were given instead; NAN: none */
    double sure;            /* the same, where the whole interval has to stay within; NAN: none */
    double loss, low, high; /* (dense - sparse) / dense at the point, dense's mean taken as known, and its 95 % interval */
    sf_cell_means means;    /* of the point's cells, batch 1 */
    double score;
    int samples; /* of the point that has the fewest */
} sf_leader;

typedef struct sf_leaderboard {
    int rows;
    sf_leader *row; /* by group, model, length, then the largest sparsity first */
    double within;  /* 0.05: loses at most 5 % of dense */
    void *heap;
} sf_leaderboard;

/* After sf_view_bootstrap() with `seed`. */
sf_status sf_leaderboard_make(const sf_view *view, double within, uint64_t seed, sf_leaderboard *out);
void sf_leaderboard_free(sf_leaderboard *board);

/* Writes it in a format of sf_leaderboard_formats. */
sf_status sf_leaderboard_write(const sf_view *view, const sf_leaderboard *board, const char *format, FILE *out);
extern const char *const sf_leaderboard_formats[]; /* "csv", "md", "tex", "json", NULL */

#endif
