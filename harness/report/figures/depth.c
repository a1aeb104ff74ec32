/* Retrieval by place: score by input length and by how deep in the context the evidence stands, dense and a panel a method.
 * Over all samples whose depth is known, whatever their task. */
#include "harness/report/figure.h"

#include <stdlib.h>

enum { PANELS = 12, MOST_BINS = 10, ENOUGH = 100 /* samples at a length for the finer bins */ };
static const double wanted = 0.9; /* the sparsity that is shown: the nearest one that was run */

/* The point of an arm at a length that is nearest the wanted sparsity. */
static const sf_point *nearest(const sf_view *v, int model, int length, int arm)
{
    const sf_point *best = NULL;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->model != model || p->length != length || p->arm != arm) continue;
        if (!best || fabs(sf_point_sparsity(v, p) - wanted) < fabs(sf_point_sparsity(v, best) - wanted)) best = p;
    }
    return best;
}

struct bin {
    double sum, square;
    int n;
};

/* Adds a point's samples to bins by depth; returns how many have one. */
static int add_point(const sf_view *v, const sf_point *p, int bins, struct bin *bin)
{
    int known = 0;
    for (int t = 0; p && t < v->tasks; t++)
        for (int i = 0; p->cell[t] >= 0 && i < v->results->records[p->cell[t]]; i++) {
            const sf_record *x = &v->results->record[p->cell[t]][i];
            if (!(x->depth >= 0 && x->depth <= 1)) continue;
            int at = (int)(x->depth * bins);
            struct bin *b = &bin[at < bins ? at : bins - 1];
            b->sum += x->strict, b->square += x->strict * x->strict, b->n++;
            known++;
        }
    return known;
}

/* Samples with a depth at the model's best covered length, dense. */
static int coverage(const sf_view *v, int model)
{
    int most = 0;
    for (int l = 0; l < v->lengths; l++) {
        struct bin all = {0};
        int n = add_point(v, sf_view_find(v, model, l, 0, 0, 0), 1, &all);
        most = n > most ? n : most;
    }
    return most;
}

static int plots(const sf_view *v)
{
    int n = 0;
    for (int m = 0; m < v->models; m++) n += coverage(v, m) > 0;
    return n;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    int model = 0, panels = 0, fewest = 0, bins;
    while (!coverage(v, model) || which--) model++;
    bins = coverage(v, model) >= ENOUGH ? MOST_BINS : MOST_BINS / 2;
    char titles[PANELS][160], xt[1024] = "(", yt[512] = "(";
    const char *title[PANELS], *note[PANELS], *x_tics[PANELS], *y_tics[PANELS];
    double xn[PANELS], yn[PANELS];
    if (v->models > 1) {
        char label[64];
        sf_file_label(v->model[model].label, label);
        snprintf(plot->name + strlen(plot->name), 66, "-%s", label);
    }
    for (int l = 0; l < v->lengths; l++) {
        char tokens[16];
        sf_tokens_label(v->length[l], tokens);
        snprintf(xt + strlen(xt), sizeof xt - strlen(xt), "%s'%s' %d", l ? ", " : "", tokens, l);
    }
    for (int y = 0; y <= bins; y += bins / 5)
        snprintf(yt + strlen(yt), sizeof yt - strlen(yt), "%s'%g' %g", y ? ", " : "", (double)y / bins, y - 0.5);
    strcat(xt, ")"), strcat(yt, ")");
    fprintf(plot->csv, "x,y,tokens,depth,value,standard_error,samples,panel_id,panel\n");
    for (int a = 0; a < v->arms && panels < PANELS; a++) {
        struct bin bin[64][MOST_BINS] = {0};
        int known = 0, lengths = v->lengths < 64 ? v->lengths : 64;
        if (sf_arm_joint(&v->arm[a])) continue;
        for (int l = 0; l < lengths; l++) known += add_point(v, nearest(v, model, l, a), bins, bin[l]);
        if (!known) continue;
        const char *attention = a ? "" : sf_model_attention(&v->model[model]);
        snprintf(titles[panels], sizeof titles[panels], "%.150s", *attention ? attention : v->arm[a].label);
        for (int y = 0; y < bins; y++)
            for (int l = 0; l < lengths; l++) {
                const struct bin *b = &bin[l][y];
                double mean = b->n ? b->sum / b->n : NAN, variance = b->n > 1 ? b->square / b->n - mean * mean : NAN;
                double error = b->n > 1 ? sqrt(fmax(variance, 0) / (b->n - 1)) : NAN;
                sf_csv_row(plot->csv, "dddfffdds", l, y, v->length[l], (y + 0.5) / bins, mean, error, b->n, panels + 1,
                           titles[panels]);
                if (b->n && (!fewest || b->n < fewest)) fewest = b->n;
            }
        title[panels] = titles[panels], note[panels] = "", x_tics[panels] = xt, y_tics[panels] = yt;
        xn[panels] = lengths, yn[panels++] = bins;
    }
    int columns = panels <= 4 ? 2 : panels == 5 || panels == 6 || panels == 9 ? 3 : 4, rows = (panels + columns - 1) / columns;
    plot->template = "heat";
    plot->width = columns == 2 ? 84 : columns == 3 ? 129 : 174;
    plot->height = 23 + rows * 34 + (rows - 1) * 12;
    sf_set_number(plot, "legend", 0);
    sf_set_texts(plot, "title", panels, title);
    sf_set_number(plot, "panel_n", panels);
    sf_set_texts(plot, "missing", panels, note);
    sf_set_texts(plot, "x_tics", panels, x_tics);
    sf_set_texts(plot, "y_tics", panels, y_tics);
    sf_set_numbers(plot, "x_n", panels, xn);
    sf_set_numbers(plot, "y_n", panels, yn);
    sf_set_text(plot, "xlabel_text", "Input (tokens)");
    sf_set_text(plot, "ylabel_text", "Depth (share of context)");
    sf_set_text(plot, "box_text", "Score (strict)");
    sf_set_number(plot, "zmin", 0);
    sf_set_number(plot, "zmax", 1);
    sf_set_number(plot, "numbers", v->lengths <= 5);
    sf_set_number(plot, "diverging", 0);
    sf_set_number(plot, "alike", 1);
    sf_set_number(plot, "columns", columns);
    fprintf(plot->caption,
            "Score of %s by input length and by the place of the evidence in the context (0: its begin), dense and each "
            "method at the sparsity nearest %g. All samples whose gold answers stand in one place of the context, of every "
            "task; at least %d a field. White: none.",
            v->model[model].label, wanted, fewest);
    return SF_OK;
}

const sf_figure sf_figure_depth = {.name = "depth",
                                   .title = "Retrieval by depth and length",
                                   .plots = plots,
                                   .make = make,
                                   .lacks = "needs samples whose evidence stands in one place"};
