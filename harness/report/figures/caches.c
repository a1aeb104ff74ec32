/* Sparsity beside quantisation: KL from dense with an exact cache against what decode reads of the cache, as a share of what that reads. A panel
 * a decode method, a line a format, which begins at dense under that format. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>
#include <string.h>

enum { LEVELS = 64, PANELS = 12, FORMATS = 8, LEFT = 64 };

/* Bytes that a step reads of the cache, for attention and for choosing; NAN: there was none. */
static double read_a_step(const sf_view *v, int cell)
{
    const sf_results *r = v->results;
    double bytes = 0, steps = 0;
    for (int i = 0; cell >= 0 && i < r->records[cell]; i++) {
        const sf_record *x = &r->record[cell][i];
        for (int w = SF_ATTENTION; w <= SF_ESTIMATION; w++) bytes += (double)x->meter.at[SF_DECODE][w].cache_bytes;
        steps += x->output_tokens + (isnan(x->late_tokens) ? 0 : x->late_tokens);
    }
    return steps > 0 ? bytes / steps : NAN;
}

/* Of the arm at this level, over models, lengths and tasks that have dense with an exact cache too. */
static sf_average average(const sf_view *v, int arm, const double level[SF_PHASES])
{
    sf_average out = {.low = NAN, .high = NAN};
    for (int m = 0; m < v->models; m++)
        for (int l = 0; l < v->lengths; l++) {
            const sf_point *p = sf_view_find(v, m, l, arm, level[0], level[1]), *dense = p ? sf_view_dense(v, p) : NULL;
            for (int t = 0; dense && t < v->tasks; t++) {
                if (p->cell[t] < 0) continue;
                const double share = read_a_step(v, p->cell[t]) / read_a_step(v, dense->cell[t]);
                const double kl = sf_view_cell_means(v, p->cell[t]).kl[SF_DECODE];
                if (isnan(kl) || !isfinite(share)) continue;
                out.value += kl, out.sparsity += share, out.cells++;
                out.samples += v->results->records[p->cell[t]];
            }
        }
    if (out.cells) out.value /= out.cells, out.sparsity /= out.cells;
    return out;
}

/* The label without the cache's name and without " (decode)", which it ends in where the method serves prefill too, and only decode is shown:
 * what a panel is called; "dense": of none. */
static const char *method_of(const sf_view *v, int arm, char text[256])
{
    static const char in_decode[] = " (decode)";
    const sf_view_arm *a = &v->arm[arm];
    snprintf(text, 256, "%.255s", a->label);
    char *end = strcmp(a->cache, "exact") != 0 ? strrchr(text, ',') : NULL;
    if (end) *end = 0;
    const size_t n = strlen(text), ending = sizeof in_decode - 1;
    if (n > ending && strcmp(text + n - ending, in_decode) == 0) text[n - ending] = 0;
    return text;
}

static bool shown(const sf_view *v, int arm) { return arm > 0 && v->arm[arm].sparse[SF_DECODE] && !v->arm[arm].sparse[SF_PREFILL]; }

/* Formats and decode methods of these results; left: how many methods more there would be. */
static int list(const sf_view *v, const char *format[FORMATS], char method[PANELS][256], int *formats, int *left)
{
    char other[LEFT][256];
    int methods = 0;
    *formats = *left = 0;
    for (int a = 0; a < v->arms; a++) {
        char name[256];
        int f = 0, m = 0;
        if (!shown(v, a)) continue;
        while (f < *formats && strcmp(format[f], v->arm[a].cache) != 0) f++;
        if (f == *formats && f < FORMATS) format[(*formats)++] = v->arm[a].cache;
        method_of(v, a, name);
        while (m < methods && strcmp(method[m], name) != 0) m++;
        if (m < methods || strcmp(name, "dense") == 0) continue;
        if (m < PANELS) {
            strcpy(method[methods++], name);
            continue;
        }
        for (m = 0; m < *left && strcmp(other[m], name) != 0;) m++;
        if (m == *left && m < LEFT) strcpy(other[(*left)++], name);
    }
    return methods;
}

static int plots(const sf_view *v)
{
    bool rounded = false, measured = false;
    for (int a = 1; a < v->arms; a++) {
        double level[LEVELS][SF_PHASES];
        if (!shown(v, a)) continue;
        rounded |= strcmp(v->arm[a].cache, "exact") != 0;
        for (int k = 0, n = sf_arm_levels(v, a, LEVELS, level); k < n && !measured; k++) measured = average(v, a, level[k]).cells > 0;
    }
    const char *format[FORMATS];
    char method[PANELS][256];
    int formats, left;
    return rounded && measured && list(v, format, method, &formats, &left) > 0;
}

static void add_arm(const sf_view *v, int arm, int panel, int series, sf_plot *plot, sf_curves *c)
{
    double level[LEVELS][SF_PHASES];
    const int levels = sf_arm_levels(v, arm, LEVELS, level);
    for (int k = 0; k < levels; k++) {
        const sf_average x = average(v, arm, level[k]);
        if (x.cells && x.value > 0) sf_curves_row(plot, c, panel, series, &x);
    }
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    (void)which;
    const char *format[FORMATS], *panel[PANELS];
    char method[PANELS][256], name[256];
    int formats, left;
    const int panels = list(v, format, method, &formats, &left);
    for (int i = 0; i < panels; i++) panel[i] = method[i];
    sf_curves c = {.panels = panels, .series = formats, .panel = panel, .name = format, .logarithmic = true, .ylabel = "KL from dense (nat)",
                   .xlabel = "share of the cache's bytes read"};
    sf_curves_begin(plot, &c);
    for (int p = 0; p < panels; p++)
        for (int s = 0; s < formats; s++)
            for (int a = 1; a < v->arms; a++) {
                if (!shown(v, a) || strcmp(v->arm[a].cache, format[s]) != 0) continue;
                method_of(v, a, name);
                if (strcmp(name, "dense") == 0 || strcmp(name, method[p]) == 0) add_arm(v, a, p, s, plot, &c);
            }
    sf_curves_end(plot, &c);
    fprintf(plot->caption, "KL divergence of predictions along the answer from those of dense attention over an exact cache, against the bytes of "
                           "the cache that a decode step reads to attend and to choose, as a share of what that reads; means over models, lengths, tasks and "
                           "samples. A line a format that keys and values are rounded to, whose bytes are counted with its scales; where it is simulated, the "
                           "cache held floats. The exact cache counts as the device has it, fp32 on processors and bf16 on cuda. The rightmost point of a rounded format is dense.");
    if (left) fprintf(plot->caption, " %d of %d methods; those left out are in the tables.", panels, panels + left);
    return SF_OK;
}

const sf_figure sf_figure_caches = {.name = "caches",
                                    .title = "Sparsity beside quantisation of the cache",
                                    .plots = plots,
                                    .make = make,
                                    .lacks = "needs decode methods, divergence (config: measures) and a rounded cache (config: cache)"};
