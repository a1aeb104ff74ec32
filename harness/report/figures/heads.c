/* By layer and query head, a panel a method, for each model at its longest length: where the budget goes (density), and what the
 * choice does to the attention's output (error). */
#include "harness/report/figure.h"

#include <stdlib.h>

enum { PANELS = 8 };
static const double wanted = 0.9; /* the sparsity that is shown: the nearest one that was run */

typedef enum measure { DENSITY, ERROR } measure;

/* [layers, heads] of a cell; NULL: not recorded. */
static const float *map_of(const sf_view *v, int cell, int phase, measure what)
{
    const sf_maps *mean = cell >= 0 && v->results->mean ? &v->results->mean[cell] : NULL;
    return !mean ? NULL : what == DENSITY ? mean->density[phase] : mean->error[phase];
}

static int arms_with_maps(const sf_view *v, int model, measure what, const sf_point **point)
{
    int n = 0;
    for (int a = 1; a < v->arms && n < PANELS; a++) {
        const sf_point *best = NULL;
        if (sf_arm_joint(&v->arm[a])) continue;
        int phase = v->arm[a].sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE;
        for (int i = 0; i < v->points; i++) {
            const sf_point *p = &v->point[i];
            bool maps = false;
            if (p->arm != a || p->model != model) continue;
            for (int t = 0; t < v->tasks; t++) maps |= map_of(v, p->cell[t], phase, what) != NULL;
            if (!maps) continue;
            bool longer = !best || p->length > best->length;
            bool nearer = best && p->length == best->length &&
                          fabs(sf_point_sparsity(v, p) - wanted) < fabs(sf_point_sparsity(v, best) - wanted);
            if (longer || nearer) best = p;
        }
        if (best) point[n++] = best;
    }
    return n;
}

static int plots(const sf_view *v, measure what)
{
    const sf_point *point[PANELS];
    int n = 0;
    for (int m = 0; m < v->models; m++) n += arms_with_maps(v, m, what, point) > 0;
    return n;
}

static sf_status make(const sf_view *v, measure what, int which, sf_plot *plot)
{
    const sf_point *point[PANELS];
    int model = 0, panels;
    while (!(panels = arms_with_maps(v, model, what, point)) || which--) model++;
    const sf_cell_info *shape = v->model[model].shape;
    int layers = shape->layers, heads = shape->heads;
    char titles[PANELS][200], xt[64], yt[64];
    const char *title[PANELS], *note[PANELS], *x_tics[PANELS], *y_tics[PANELS];
    double xn[PANELS], yn[PANELS], highest = 0;
    if (v->models > 1) {
        char label[64];
        sf_file_label(v->model[model].label, label);
        snprintf(plot->name + strlen(plot->name), 66, "-%s", label);
    }
    fprintf(plot->csv, "x,y,layer,head,value,cells,panel_id,panel\n");
    snprintf(xt, sizeof xt, "%d", heads > 32 ? 16 : heads > 12 ? 8 : heads > 4 ? 4 : 1);
    snprintf(yt, sizeof yt, "%d", layers > 32 ? 16 : layers > 12 ? 8 : layers > 4 ? 4 : 1);
    for (int k = 0; k < panels; k++) {
        const sf_point *p = point[k];
        int phase = v->arm[p->arm].sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE;
        snprintf(titles[k], sizeof titles[k], "%.120s, %d tokens, sparsity %.2f", v->arm[p->arm].label,
                 v->length[p->length], sf_point_sparsity(v, p));
        for (int y = 0; y < layers; y++)
            for (int x = 0; x < heads; x++) {
                double sum = 0;
                int n = 0;
                for (int t = 0; t < v->tasks; t++) {
                    const float *map = map_of(v, p->cell[t], phase, what);
                    if (map && !isnan(map[y * heads + x])) sum += map[y * heads + x], n++;
                }
                double mean = n ? sum / n : NAN; /* none: a sliding-window layer */
                sf_csv_row(plot->csv, "ddddfdds", x, y, y, x, mean, n, k + 1, titles[k]);
                highest = fmax(highest, mean);
            }
        title[k] = titles[k], note[k] = "", x_tics[k] = xt, y_tics[k] = yt, xn[k] = heads, yn[k] = layers;
    }
    int columns = panels == 1 ? 1 : 2, rows = (panels + columns - 1) / columns;
    plot->template = "heat";
    plot->width = columns == 1 ? 84 : 174;
    plot->height = 24 + rows * 44 + (rows - 1) * 12;
    sf_set_number(plot, "legend", 0);
    sf_set_texts(plot, "title", panels, title);
    sf_set_number(plot, "panel_n", panels);
    sf_set_texts(plot, "missing", panels, note);
    sf_set_texts(plot, "x_tics", panels, x_tics);
    sf_set_texts(plot, "y_tics", panels, y_tics);
    sf_set_numbers(plot, "x_n", panels, xn);
    sf_set_numbers(plot, "y_n", panels, yn);
    sf_set_text(plot, "xlabel_text", "Query head");
    sf_set_text(plot, "ylabel_text", "Layer");
    sf_set_text(plot, "box_text", what == DENSITY ? "Density (executed / causal pairs)" : "Relative error of the attention's output");
    sf_set_number(plot, "zmin", 0);
    sf_set_number(plot, "zmax", highest > 0 ? highest : 1);
    sf_set_number(plot, "numbers", 0);
    sf_set_number(plot, "diverging", 0);
    sf_set_number(plot, "alike", 1);
    sf_set_number(plot, "columns", columns);
    fprintf(plot->caption,
            "%s of each layer and query head of %s, means over samples and tasks, at its longest length and "
            "the sparsity nearest %g. White: not recorded, or a sliding-window layer.",
            what == DENSITY ? "Density" : "Relative error |o - d| / |d| of the attention's output against that of all keys for the same queries",
            v->model[model].label, wanted);
    return SF_OK;
}

static int plots_density(const sf_view *v) { return plots(v, DENSITY); }
static int plots_error(const sf_view *v) { return plots(v, ERROR); }
static sf_status make_density(const sf_view *v, int which, sf_plot *plot) { return make(v, DENSITY, which, plot); }
static sf_status make_error(const sf_view *v, int which, sf_plot *plot) { return make(v, ERROR, which, plot); }

const sf_figure sf_figure_heads = {.name = "heads",
                                   .title = "Density of layers and heads",
                                   .plots = plots_density,
                                   .make = make_density,
                                   .lacks = "needs density maps"};

const sf_figure sf_figure_output_error = {.name = "output_error",
                                          .title = "Error of layers and heads",
                                          .plots = plots_error,
                                          .make = make_error,
                                          .lacks = "needs divergence and recall (config: measures, recall)"};
