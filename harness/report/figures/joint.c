/* Prefill and decode made sparse together: what each pair of sparsities costs, against dense. Needs joint cells. */
#include "harness/report/figure.h"
#include "harness/report/resample.h"

#include <stdlib.h>

enum { LEVELS = 24, PANELS = 12 };

static int plots(const sf_view *v)
{
    for (int a = 1; a < v->arms; a++)
        if (sf_arm_joint(&v->arm[a])) return 1;
    return 0;
}

/* The arm of one phase whose label is part of a joint arm's; -1: it was not run alone. */
static int alone(const sf_view *v, int joint, int phase)
{
    for (int i = 0; i < v->points; i++) {
        if (v->point[i].arm != joint) continue;
        for (int t = 0; t < v->tasks; t++) {
            int c = v->point[i].cell[t];
            for (int a = 1; a < v->arms && c >= 0; a++)
                if (!sf_arm_joint(&v->arm[a]) && v->arm[a].sparse[phase] &&
                    strcmp(v->arm[a].label, v->results->cell[c].label[phase]) == 0)
                    return a;
        }
    }
    return -1;
}

static int add_level(double *level, int n, double s)
{
    int at = 0;
    while (at < n && level[at] != s) at++;
    if (at < n || n == LEVELS || isnan(s)) return n;
    for (at = n++; at > 0 && level[at - 1] > s; at--) level[at] = level[at - 1];
    level[at] = s;
    return n;
}

static void tics(const double *level, int n, char text[512])
{
    strcpy(text, "(");
    for (int i = 0; i < n; i++)
        snprintf(text + strlen(text), 512 - strlen(text), "%s'%g' %d", i ? ", " : "", level[i], i);
    strcat(text, ")");
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    int panels = 0;
    double xn[PANELS], yn[PANELS], worst = 0;
    const char *title[PANELS], *note[PANELS], *xt[PANELS], *yt[PANELS];
    char titles[PANELS][200], x_tics[PANELS][512], y_tics[PANELS][512];
    fprintf(plot->csv, "x,y,prefill_requested,decode_requested,value,low,high,cells,samples,panel_id,panel\n");
    for (int a = 1; a < v->arms && panels < PANELS; a++) {
        double level[LEVELS * 4][SF_PHASES], prefill[LEVELS] = {0}, decode[LEVELS] = {0};
        if (!sf_arm_joint(&v->arm[a])) continue;
        int levels = sf_arm_levels(v, a, LEVELS * 4, level), nx = 1, ny = 1;
        for (int l = 0; l < levels; l++) {
            ny = add_level(prefill, ny, level[l][SF_PREFILL]);
            nx = add_level(decode, nx, level[l][SF_DECODE]);
        }
        int single[SF_PHASES] = {alone(v, a, SF_PREFILL), alone(v, a, SF_DECODE)};
        for (int y = 0; y < ny; y++)
            for (int x = 0; x < nx; x++) {
                /* Edges come from the arms that were run alone, the corner is dense. */
                int arm = x && y ? a : y ? single[SF_PREFILL] : x ? single[SF_DECODE] : 0;
                sf_selection s = {
                    .model = -1, .length = -1, .task = -1, .arm = arm, .hard = -1, .sparsity = {prefill[y], decode[x]}};
                sf_average m = arm < 0 ? (sf_average){.value = NAN, .low = NAN, .high = NAN} : sf_view_average(v, &s, SF_DROP);
                if (!arm) m.low = m.high = 0; /* dense against itself */
                double change = arm ? -m.value : 0;
                worst = fmax(worst, fabs(change));
                sf_csv_row(plot->csv, "ddfffffddds", x, y, prefill[y], decode[x], change, -m.high, -m.low,
                           m.cells, m.samples, panels + 1, v->arm[a].label);
            }
        snprintf(titles[panels], sizeof titles[panels], "%.190s", v->arm[a].label);
        tics(decode, nx, x_tics[panels]);
        tics(prefill, ny, y_tics[panels]);
        title[panels] = titles[panels], note[panels] = "", xt[panels] = x_tics[panels], yt[panels] = y_tics[panels];
        xn[panels] = nx;
        yn[panels++] = ny;
    }
    int columns = panels == 1 ? 1 : 2, rows = (panels + columns - 1) / columns;
    plot->template = "heat";
    plot->width = columns == 1 ? 84 : 174;
    plot->height = 24 + rows * 52 + (rows - 1) * 12;
    sf_set_number(plot, "legend", 0);
    sf_set_texts(plot, "title", panels, title);
    sf_set_number(plot, "panel_n", panels);
    sf_set_texts(plot, "missing", panels, note);
    sf_set_texts(plot, "x_tics", panels, xt);
    sf_set_texts(plot, "y_tics", panels, yt);
    sf_set_numbers(plot, "x_n", panels, xn);
    sf_set_numbers(plot, "y_n", panels, yn);
    sf_set_text(plot, "xlabel_text", "Decode sparsity (requested)");
    sf_set_text(plot, "ylabel_text", "Prefill sparsity (requested)");
    sf_set_text(plot, "box_text", "Score, sparse − dense");
    sf_set_number(plot, "zmin", worst > 0 ? -worst : -1);
    sf_set_number(plot, "zmax", worst > 0 ? worst : 1);
    sf_set_number(plot, "numbers", 1);
    sf_set_number(plot, "diverging", 1);
    sf_set_number(plot, "alike", 0);
    sf_set_number(plot, "columns", columns);
    fprintf(plot->caption,
            "Score, sparse − dense, with prefill and decode made sparse together; means over models, lengths and "
            "tasks. Edges: one phase sparse alone.");
    return SF_OK;
}

const sf_figure sf_figure_joint = {.name = "joint",
                                   .title = "Prefill and decode sparse together",
                                   .plots = plots,
                                   .make = make,
                                   .lacks = "needs cells with a prefill and a decode method"};
