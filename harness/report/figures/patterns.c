/* What methods chose, on one real sample and one query head: the gallery of patterns (the study's figure 1), coloured by
 * budget, and the canvas, dense attention beside what is left of it under each method. */
#include "harness/report/figure.h"

#include <stdlib.h>

enum { PANELS = 16, LEVELS = 6, SIDE = SF_PICTURE_SIDE };
static const double wanted = 0.9; /* the sparsity of the canvas: the nearest one that was run */

/* From the least budget to the greatest: dark to light, so that what is computed at every budget stands out; told apart
 * without colour too. */
static const unsigned char shade[LEVELS][3] = {{68, 1, 84},   {65, 68, 135},  {42, 120, 142},
                                               {34, 168, 132}, {122, 209, 81}, {253, 231, 37}};

/* One sample and head that cells of several arms have pictures of. */
struct scene {
    int model, length, task, arms;
    const sf_picture *dense[SF_PHASES];
};

struct panel {
    int arm, phase, levels;
    const sf_picture *picture[LEVELS]; /* the sparsest first */
    double requested[LEVELS];
};

static const sf_picture *picture_of(const sf_view *v, const sf_point *p, int task, int phase)
{
    int c = p ? p->cell[task] : -1;
    for (int i = 0; c >= 0 && i < v->results->records[c]; i++)
        if (v->results->record[c][i].picture[phase]) return v->results->record[c][i].picture[phase];
    return NULL;
}

/* The panels of a scene: prefill arms, then decode arms; levels the sparsest first, evenly thinned to LEVELS. */
static int find_panels(const sf_view *v, const struct scene *s, struct panel *panel)
{
    int n = 0;
    for (int phase = 0; phase < SF_PHASES; phase++)
        for (int a = 1; a < v->arms && n < PANELS; a++) {
            const sf_picture *found[64];
            double requested[64];
            int levels = 0;
            if (sf_arm_joint(&v->arm[a]) || !v->arm[a].sparse[phase]) continue;
            for (int i = v->points - 1; i >= 0 && levels < 64; i--) {
                const sf_point *p = &v->point[i];
                if (p->model != s->model || p->length != s->length || p->arm != a) continue;
                const sf_picture *one = picture_of(v, p, s->task, phase);
                double level = isnan(p->sparsity[phase]) ? p->achieved[phase] : p->sparsity[phase];
                if (one) found[levels] = one, requested[levels++] = level;
            }
            if (!levels) continue;
            struct panel *out = &panel[n++];
            *out = (struct panel){.arm = a, .phase = phase, .levels = levels < LEVELS ? levels : LEVELS};
            for (int k = 0; k < out->levels; k++) {
                int at = out->levels > 1 ? k * (levels - 1) / (out->levels - 1) : 0;
                out->picture[k] = found[at], out->requested[k] = requested[at];
            }
        }
    return n;
}

/* The sample that most arms have a picture of; among equals the longest, of the largest model. */
static bool find_scene(const sf_view *v, struct scene *out)
{
    struct panel panel[PANELS];
    *out = (struct scene){0};
    for (int m = v->models - 1; m >= 0; m--)
        for (int l = v->lengths - 1; l >= 0; l--)
            for (int t = 0; t < v->tasks; t++) {
                struct scene s = {.model = m, .length = l, .task = t};
                s.arms = find_panels(v, &s, panel);
                if (s.arms > out->arms) *out = s;
            }
    const sf_point *dense = sf_view_find(v, out->model, out->length, 0, 0, 0);
    for (int p = 0; p < SF_PHASES; p++) out->dense[p] = picture_of(v, dense, out->task, p);
    return out->arms > 0;
}

/* Lines of a picture that hold anything: in decode, the steps that were made. */
static int lines_of(const sf_picture *p)
{
    int n = SIDE;
    while (n > 1 && isnan(p->at[n - 1][0])) n--;
    return n;
}

static int stretch(const sf_picture *p) { return (p->keys + SIDE - 1) / SIDE; }

/* Panels in rows, each phase beginning a row of its own; `place` counts in reading order from 1. */
static void lay_out(sf_plot *plot, int panels, const int *phase, const sf_picture *const *picture, const double *lines,
                    double extra)
{
    double place[2 * PANELS], keys[2 * PANELS], queries[2 * PANELS], decode[2 * PANELS];
    int of_phase[SF_PHASES] = {0}, at = 0;
    for (int i = 0; i < panels; i++) of_phase[phase[i]]++;
    int widest = of_phase[of_phase[SF_DECODE] > of_phase[SF_PREFILL] ? SF_DECODE : SF_PREFILL];
    int columns = widest <= 2 ? 2 : widest == 3 || widest == 5 || widest == 6 ? 3 : 4;
    for (int i = 0; i < panels; i++) {
        if (i && phase[i] != phase[i - 1]) at = (at + columns - 1) / columns * columns;
        place[i] = ++at;
        keys[i] = picture[i]->keys;
        decode[i] = phase[i] == SF_DECODE;
        queries[i] = decode[i] ? lines[i] * ((picture[i]->queries + SIDE - 1) / SIDE) : picture[i]->queries;
    }
    int rows = (at + columns - 1) / columns;
    plot->width = columns == 2 ? 84 : columns == 3 ? 129 : 174;
    plot->height += 14 + rows * 31 + (rows - 1) * 13 + extra;
    sf_set_number(plot, "panel_n", panels);
    sf_set_number(plot, "columns", columns);
    sf_set_number(plot, "rows", rows);
    sf_set_number(plot, "side", SIDE);
    sf_set_numbers(plot, "place_of", panels, place);
    sf_set_numbers(plot, "lines", panels, lines);
    sf_set_numbers(plot, "keys", panels, keys);
    sf_set_numbers(plot, "queries", panels, queries);
    sf_set_numbers(plot, "decode", panels, decode);
}

static void caption_scene(const sf_view *v, const struct scene *s, const sf_picture *p, sf_plot *plot)
{
    fprintf(plot->caption, " %s, %s, %d tokens, one sample; layer %d, query head %d. A line is one query, a column %d keys.",
            v->model[s->model].label, v->task[s->task].label, v->length[s->length], p->layer, p->head, stretch(p));
}

static int plots(const sf_view *v)
{
    struct scene s;
    return find_scene(v, &s);
}

/* ---- The gallery ---- */

static int sparser_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The levels that have a colour: those of all panels, the sparsest first, thinned to as many as there are shades. */
static int find_levels(int panels, const struct panel *panel, double level[LEVELS])
{
    double all[PANELS * LEVELS];
    int n = 0, kept = 0;
    for (int i = 0; i < panels; i++)
        for (int k = 0; k < panel[i].levels; k++) all[n++] = panel[i].requested[k];
    qsort(all, (size_t)n, sizeof *all, sparser_first);
    for (int i = 0; i < n; i++)
        if (!kept || all[kept - 1] - all[i] > 0.005) all[kept++] = all[i];
    n = kept < LEVELS ? kept : LEVELS;
    for (int k = 0; k < n; k++) level[k] = all[n > 1 ? k * (kept - 1) / (n - 1) : 0];
    return n;
}

static const unsigned char *shade_of(double requested, int levels, const double *level)
{
    int best = 0;
    for (int k = 1; k < levels; k++)
        if (fabs(level[k] - requested) < fabs(level[best] - requested)) best = k;
    return shade[levels > 1 ? best * (LEVELS - 1) / (levels - 1) : 0];
}

/* The colour of a place: paper where nothing is computed, and the shade of each budget as far as that adds to the smaller
 * ones. The square root lets a single column be seen in a stretch of many keys. Returns the highest sparsity at which any
 * of it is computed; NAN: none. */
static double colour(const struct panel *panel, int y, int x, int levels, const double *level, double rgb[3])
{
    double covered = 0, sparsest = NAN;
    bool future = isnan(panel->picture[0]->at[y][x]);
    for (int c = 0; c < 3; c++) rgb[c] = future ? 236 : 255;
    for (int k = 0; k < panel->levels && !future; k++) {
        double share = sqrt((double)panel->picture[k]->at[y][x]);
        const unsigned char *tint = shade_of(panel->requested[k], levels, level);
        if (!(share > covered)) continue;
        for (int c = 0; c < 3; c++) rgb[c] += (share - covered) * (tint[c] - 255);
        if (!covered) sparsest = panel->requested[k];
        covered = share;
    }
    return sparsest;
}

static sf_status make_gallery(const sf_view *v, int which, sf_plot *plot)
{
    struct scene s;
    struct panel panel[PANELS];
    const sf_picture *picture[PANELS];
    const char *title[PANELS], *name[LEVELS];
    char names[LEVELS][48];
    double level[LEVELS], tint[LEVELS], lines[PANELS];
    int phase[PANELS];
    (void)which;
    find_scene(v, &s);
    int panels = find_panels(v, &s, panel), levels = find_levels(panels, panel, level);
    fprintf(plot->csv, "key,line,sparsest,red,green,blue,panel_id,panel\n");
    for (int i = 0; i < panels; i++) {
        title[i] = v->arm[panel[i].arm].label, phase[i] = panel[i].phase;
        const sf_picture *p = picture[i] = panel[i].picture[0];
        lines[i] = lines_of(p);
        for (int k = 1; k < panel[i].levels; k++) /* steps that all budgets made */
            lines[i] = fmin(lines[i], lines_of(panel[i].picture[k]));
        for (int y = 0; y < lines[i]; y++)
            for (int x = 0; x < SIDE; x++) {
                double rgb[3], sparsest = colour(&panel[i], y, x, levels, level, rgb);
                sf_csv_row(plot->csv, "fdfdddds", (x + 0.5) * p->keys / SIDE, y, sparsest, (int)rgb[0], (int)rgb[1],
                           (int)rgb[2], i + 1, title[i]);
            }
    }
    for (int k = 0; k < levels; k++) {
        const unsigned char *c = shade_of(level[k], levels, level);
        snprintf(names[k], sizeof names[k], "budget %g", 1 - level[k]);
        name[k] = names[k], tint[k] = (double)(c[0] << 16 | c[1] << 8 | c[2]);
    }
    plot->template = "patterns";
    lay_out(plot, panels, phase, picture, lines, 0);
    sf_set_legend(plot, levels, 12);
    sf_set_texts(plot, "title", panels, title);
    sf_set_texts(plot, "budget", levels, name);
    sf_set_numbers(plot, "tint", levels, tint);
    fprintf(plot->caption,
            "Query–key pairs that each method computes, coloured by the smallest budget (1 − sparsity) at which it does, "
            "paler where only a part of the keys of a column.");
    caption_scene(v, &s, picture[0], plot);
    return SF_OK;
}

/* ---- The canvas ---- */

static int canvases(const sf_view *v)
{
    struct scene s;
    return find_scene(v, &s) && s.dense[SF_PREFILL];
}

static const struct panel *nearest(struct panel *panel, double *requested)
{
    int best = 0;
    for (int k = 1; k < panel->levels; k++)
        if (fabs(panel->requested[k] - wanted) < fabs(panel->requested[best] - wanted)) best = k;
    panel->picture[0] = panel->picture[best];
    *requested = panel->requested[best];
    return panel;
}

static sf_status make_canvas(const sf_view *v, int which, sf_plot *plot)
{
    struct scene s;
    struct panel panel[PANELS];
    const sf_picture *picture[2 * PANELS], *over[2 * PANELS];
    const char *title[2 * PANELS];
    char titles[2 * PANELS][160];
    double lines[2 * PANELS];
    int phase[2 * PANELS], n = 0;
    (void)which;
    find_scene(v, &s);
    int panels = find_panels(v, &s, panel);
    for (int p = 0; p < SF_PHASES; p++) {
        if (!s.dense[p]) continue;
        snprintf(titles[n], sizeof titles[n], "dense");
        over[n] = NULL, phase[n] = p, picture[n++] = s.dense[p];
        for (int i = 0; i < panels && n < 2 * PANELS; i++) {
            double requested;
            if (panel[i].phase != p) continue;
            over[n] = nearest(&panel[i], &requested)->picture[0];
            snprintf(titles[n], sizeof titles[n], "%.140s %g", v->arm[panel[i].arm].label, requested);
            phase[n] = p, picture[n++] = s.dense[p];
        }
    }
    fprintf(plot->csv, "key,line,mass,panel_id,panel\n");
    for (int i = 0; i < n; i++) {
        title[i] = titles[i];
        lines[i] = lines_of(picture[i]);
        if (over[i]) lines[i] = fmin(lines[i], lines_of(over[i]));
        for (int y = 0; y < lines[i]; y++)
            for (int x = 0; x < SIDE; x++) {
                bool left_out = over[i] && !(over[i]->at[y][x] > 0);
                sf_csv_row(plot->csv, "fdfds", (x + 0.5) * picture[i]->keys / SIDE, y,
                           left_out ? NAN : (double)picture[i]->at[y][x], i + 1, title[i]);
            }
    }
    plot->template = "canvas";
    lay_out(plot, n, phase, picture, lines, 9);
    sf_set_number(plot, "legend", 0);
    sf_set_texts(plot, "title", n, title);
    char box[64];
    snprintf(box, sizeof box, "Attention mass on %d keys", stretch(picture[0]));
    sf_set_text(plot, "box_text", box);
    fprintf(plot->caption,
            "Attention of one query head, dense, and the same where each method computes it, at the sparsity nearest %g; "
            "white: left out. Methods chose from their own run's queries and keys; in decode lines of dense and method are "
            "of one query as long as both generate the same tokens.",
            wanted);
    caption_scene(v, &s, picture[0], plot);
    return SF_OK;
}

const sf_figure sf_figure_patterns = {.name = "patterns",
                                      .title = "Patterns that the methods chose",
                                      .plots = plots,
                                      .make = make_gallery,
                                      .lacks = "needs pictures (config: picture)"};
const sf_figure sf_figure_canvas = {.name = "canvas",
                                    .title = "One head's attention, dense and sparse",
                                    .plots = canvases,
                                    .make = make_canvas,
                                    .lacks = "needs pictures (config: picture) of a dense cell"};
