/* What is left to run: the samples that cells of the plan lack. */
#ifndef SF_LEFT_H
#define SF_LEFT_H

#include "harness/run/dispatch.h"
#include "harness/run/study.h"

struct work;

/* The cells of one model, length and task; they stand together in the plan. */
typedef struct sf_cells {
    const sf_cell *cell;
    int cells;
} sf_cells;

/* Those that stand from a place of the plan on. */
sf_cells sf_cells_at(const sf_plan *plan, int at);
/* Of the most that stand together, how many. */
int sf_cells_widest(const sf_plan *plan);

/* FLOPs, by formula, of one sample of these cells; a prefill that several share counts once. */
double sf_cells_work(const sf_study *study, const sf_cell *const *cell, int n);

/* Whether some of it is a plug-in's: its task, or a method. */
bool sf_is_plugins(const sf_study *study, const sf_cell *cell);

/* The cells among `g` that lack this sample, of plug-ins or of all others as the pass is; those with a dense prefill first, so
 * that they share it even when memory splits the lanes. out [g.cells]; returns how many. */
int sf_left_cells(const struct work *w, sf_cells g, int index, const sf_cell **out);

/* Whether cells of plug-ins lack samples. */
bool sf_left_of_plugins(const struct work *w);

/* Makes the list of samples that is given out to so many workers, w->dispatch: to be closed also on failure. In the pass of
 * plug-ins' cells it is this worker's alone. */
sf_status sf_left_open(struct work *w, int workers);

#endif
