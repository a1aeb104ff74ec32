/* Reading a view: finding points, naming them, holding cells against each other, means over what a selection names. */
#ifndef SF_REPORT_POINTS_H
#define SF_REPORT_POINTS_H

#include "harness/report/view.h"

/* ---- Finding ---- */

/* NULL: not run. */
const sf_point *sf_view_find(const sf_view *view, int model, int length, int arm, double prefill, double decode);
/* Whether two points ask for the same sparsities. */
bool sf_same_level(const double *a, const double *b);
/* The dense point of a point's model and length; NULL: none. */
const sf_point *sf_view_dense(const sf_view *view, const sf_point *point);
/* The dense cell of a sparse cell's model, task and length; -1: none. */
int sf_cell_dense(const sf_view *view, int cell);

/* The requested sparsities of arms that make one phase sparse, ascending; returns how many. */
enum { SF_LEVELS = 32 };
int sf_view_levels(const sf_view *view, double level[SF_LEVELS]);
/* The point of such an arm; NULL: not run. */
const sf_point *sf_point_at_level(const sf_view *view, int model, int length, int arm, double level);
/* Requested sparsities of an arm, ascending, at most `most`; returns how many. */
int sf_arm_levels(const sf_view *view, int arm, int most, double (*level)[SF_PHASES]);

/* ---- Naming ---- */

/* The sparsity that a point stands for on an axis: as executed, in the phase that its arm makes sparse (a joint arm's
 * prefill). */
double sf_point_sparsity(const sf_view *view, const sf_point *point);
/* The requested sparsity; where parameters were given instead, the executed one. */
double sf_point_requested(const sf_view *view, const sf_point *point);
/* The requested one in words: "0.90", "0.90/0.50" for a joint point, "set" with explicit parameters. */
void sf_point_level(const sf_view *view, const sf_point *point, char text[32]);
/* The arm's label; of dense, where the model was trained under a method, that method instead. */
enum { SF_POINT_NAME = 320 };
void sf_point_name(const sf_view *view, const sf_point *point, char text[SF_POINT_NAME]);
/* "smollm2 niah 1024 vertical_slash 0.90" */
enum { SF_CELL_NAME = 512 };
void sf_cell_name(const sf_view *view, int cell, char text[SF_CELL_NAME]);

/* What a caption adds to intervals where samples stopped once they had decided; "": they did not. */
const char *sf_stopped_note(const sf_view *view);
/* Likewise where dense is not dense attention of every model. */
const char *sf_trained_note(const sf_view *view);

/* ---- Groups of tasks, as the study has them ---- */

enum { SF_TASK_GROUPS = 3 };
extern const char *const sf_task_groups[SF_TASK_GROUPS]; /* "multi-hop (high dispersion)" */
/* Which tasks [tasks] belong to a group; returns how many. A task of high dispersion and scope is in two. */
int sf_view_task_group(const sf_view *view, int group, bool *in);

/* ---- Comparing ---- */

/* Share of a cell's answers that could not be parsed; NAN: no records. */
double sf_cell_unparsed(const sf_results *r, int cell);
/* Paired differences of two cells, sample by sample, where both were given the same prompt: how many, in `difference`
 * (room for the fewer of both). */
int sf_cell_differences(const sf_results *r, int cell, int minus, double *difference);
/* Their mean (NAN for none); returns how many. */
int sf_cell_mean_difference(const sf_results *r, int cell, int minus, double *mean);

#endif
