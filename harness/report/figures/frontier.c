/* isoCost and isoTime frontiers: score against what it costs, every model, method and sparsity in one panel. */
#include "harness/report/figure.h"
#include "harness/report/resample.h"
#include "harness/report/stats.h"

#include <stdlib.h>

enum { MOST_LENGTHS = 4 };

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "out of memory for a frontier"); }

/* What a frontier is drawn against. */
struct axis {
    double (*cost)(const sf_point *p, int phase);
    const char *unit[SF_PHASES] /* %s: the prefix */, *says;
    bool batched;
};

struct spot {
    const sf_point *point;
    double cost, score, low, high, probability;
    bool on;
};

/* Tasks that at least half as many points have as the most common one: what points are compared over. `have` [tasks]: room to
 * count in. */
static void common_tasks(const sf_view *v, int phase, int length, int *have, bool *in)
{
    int most = 0;
    for (int t = 0; t < v->tasks; t++) have[t] = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        const sf_view_arm *arm = &v->arm[p->arm];
        if (p->length != length || arm->sparse[!phase]) continue;
        for (int t = 0; t < v->tasks; t++) {
            have[t] += p->cell[t] >= 0;
            if (have[t] > most) most = have[t];
        }
    }
    for (int t = 0; t < v->tasks; t++) in[t] = have[t] > 0 && 2 * have[t] >= most;
}

static int by_cost(const void *a, const void *b)
{
    const struct spot *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    return x->point < y->point ? -1 : x->point > y->point;
}

/* The points of a panel, cheapest first, over the tasks in common; *left_out: those that lack one of them. */
static sf_status find_spots(const sf_view *v, const struct axis *axis, int phase, int length, struct spot *spot,
                            int *count, int *left_out)
{
    int n = 0, tasks = 0;
    bool *in = calloc((size_t)v->tasks + 1, sizeof *in);
    int *have = calloc((size_t)v->tasks + 1, sizeof *have);
    if (!in || !have) {
        free(in), free(have);
        return no_memory();
    }
    common_tasks(v, phase, length, have, in);
    free(have);
    for (int t = 0; t < v->tasks; t++) tasks += in[t];
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        if (p->length != length || v->arm[p->arm].sparse[!phase]) continue; /* joint points cost in both phases */
        double score = 0;
        int has = 0;
        for (int t = 0; t < v->tasks; t++)
            if (in[t] && p->cell[t] >= 0) {
                score += v->mean[p->cell[t]] / tasks;
                has++;
            }
        double cost = axis->cost(p, phase);
        if (has < tasks || !(cost > 0)) {
            ++*left_out;
            continue;
        }
        spot[n] = (struct spot){.point = p, .cost = cost, .score = score};
        sf_point_interval(v, p, in, &spot[n].low, &spot[n].high);
        n++;
    }
    qsort(spot, (size_t)n, sizeof *spot, by_cost);
    *count = n;

    bool few = false; /* resamples of so few say nothing of other samples: of ten alike, each is alike too */
    for (int i = 0; i < n; i++)
        for (int t = 0; t < v->tasks; t++)
            few |= in[t] && v->results->records[spot[i].point->cell[t]] < SF_SHARES_FROM;
    int B = v->resamples;
    double *cost = malloc(((size_t)n + 1) * 3 * sizeof *cost);
    float *replicate = malloc(((size_t)n * (size_t)B + 1) * sizeof *replicate);
    bool *on = calloc((size_t)n + 1, sizeof *on);
    sf_status status = cost && replicate && on ? SF_OK : no_memory();
    if (status == SF_OK) {
        double *score = cost + n, *probability = cost + 2 * (size_t)n;
        for (int i = 0; i < n; i++) { /* a hair's breadth in cost is not a place on the frontier */
            bool close = i && spot[i].cost < cost[i - 1] * SF_SAME_COST;
            cost[i] = close ? cost[i - 1] : spot[i].cost;
            score[i] = spot[i].score;
            for (int b = 0; b < B; b++) {
                double mean = 0;
                for (int t = 0; t < v->tasks; t++)
                    if (in[t]) mean += v->replicate[(size_t)spot[i].point->cell[t] * B + b] / tasks;
                replicate[(size_t)i * B + b] = (float)mean;
            }
        }
        status = sf_pareto(n, cost, score, on);
        sf_pareto_probability(n, cost, B, replicate, probability);
        for (int i = 0; i < n; i++) spot[i].on = on[i], spot[i].probability = few ? NAN : probability[i];
    }
    free(cost);
    free(replicate);
    free(on);
    free(in);
    return status;
}

enum { MARKS = 6 /* of methods, in plots/common.gp */, MOST_NAMED = 24 /* methods that a legend names, where more are drawn */ };

static int plots(const sf_view *v) { return (v->lengths + MOST_LENGTHS - 1) / MOST_LENGTHS; }

/* Lengths are dealt evenly: five are three and two, not four and one. */
static int first_length(const sf_view *v, int which)
{
    int n = plots(v), each = v->lengths / n, longer = v->lengths % n;
    return which * each + (which < longer ? which : longer);
}

/* A figure's panels: phases by lengths, each with its points, cheapest first. */
struct panels {
    int first, lengths; /* of the view's */
    struct spot *spot[SF_PHASES][MOST_LENGTHS];
    int count[SF_PHASES][MOST_LENGTHS], left_out;
    double low[SF_PHASES][MOST_LENGTHS], high[SF_PHASES][MOST_LENGTHS], largest[SF_PHASES]; /* costs */
    double ymin, ymax;                                                                      /* scores with their bars */
};

static void release(struct panels *f)
{
    for (int p = 0; p < SF_PHASES; p++)
        for (int l = 0; l < f->lengths; l++) free(f->spot[p][l]);
}

/* The points of all panels and the ranges of what is drawn. */
static sf_status collect(const sf_view *v, int which, const struct axis *axis, struct panels *f)
{
    int first = first_length(v, which);
    *f = (struct panels){.first = first, .lengths = first_length(v, which + 1) - first, .ymin = 1};
    for (int p = 0; p < SF_PHASES; p++)
        for (int l = 0; l < f->lengths; l++) {
            struct spot *spot = f->spot[p][l] = malloc(((size_t)v->points + 1) * sizeof *spot);
            if (!spot) return no_memory();
            SF_TRY(find_spots(v, axis, p, first + l, spot, &f->count[p][l], &f->left_out));
            f->low[p][l] = INFINITY;
            for (int i = 0; i < f->count[p][l]; i++) {
                f->low[p][l] = fmin(f->low[p][l], spot[i].cost);
                f->high[p][l] = fmax(f->high[p][l], spot[i].cost);
                f->ymin = fmin(f->ymin, spot[i].on ? spot[i].low : spot[i].score);
                f->ymax = fmax(f->ymax, spot[i].on ? spot[i].high : spot[i].score);
            }
            f->largest[p] = fmax(f->largest[p], f->high[p][l]);
        }
    return SF_OK;
}

/* Which number each arm has in the figure, 0: none, from 1: dense, what the legend names, then the others, which are dots. */
struct naming {
    int *id /* [arms of the view] */, drawn, named;
};

/* Where more methods are drawn than a legend can name, those are named that stand on a frontier of these panels. */
static sf_status name_arms(const sf_view *v, const struct panels *f, struct naming *out)
{
    bool *named = calloc((size_t)v->arms + 1, sizeof *named);
    *out = (struct naming){.id = calloc((size_t)v->arms + 1, sizeof *out->id)};
    if (!named || !out->id) {
        free(named);
        return no_memory();
    }
    int drawn = 0;
    for (int a = 0; a < v->arms; a++) drawn += !sf_arm_joint(&v->arm[a]);
    for (int a = 0; a < v->arms; a++) named[a] = a == 0 || drawn - 1 <= MOST_NAMED;
    for (int p = 0; p < SF_PHASES; p++)
        for (int l = 0; l < f->lengths; l++)
            for (int i = 0; i < f->count[p][l]; i++)
                if (f->spot[p][l][i].on) named[f->spot[p][l][i].point->arm] = true;
    for (int others = 0; others < 2; others++)
        for (int a = 0; a < v->arms; a++) {
            if (sf_arm_joint(&v->arm[a]) || named[a] == others) continue;
            out->id[a] = ++out->drawn;
            out->named += !others;
        }
    free(named);
    return SF_OK;
}

/* The numbers. */
static void write_rows(const sf_view *v, const struct panels *f, const struct naming *names, sf_plot *plot)
{
    fprintf(plot->csv, "phase,tokens,model,arm,requested,sparsity,cost,score,low,high,tasks,samples,on_frontier,"
                       "frontier_probability,model_id,arm_id\n");
    for (int p = 0; p < SF_PHASES; p++)
        for (int l = 0; l < f->lengths; l++)
            for (int i = 0; i < f->count[p][l]; i++) {
                const struct spot *s = &f->spot[p][l][i];
                char level[32], arm[SF_POINT_NAME];
                sf_point_level(v, s->point, level);
                sf_point_name(v, s->point, arm);
                sf_csv_row(plot->csv, "sdsssfffffddsfdd", sf_phase_label(p), v->length[f->first + l],
                           v->model[s->point->model].label, arm, level, s->point->achieved[p], s->cost,
                           s->score, s->low, s->high, s->point->tasks, s->point->samples, s->on ? "1" : "0", s->probability,
                           s->point->model + 1, names->id[s->point->arm]);
            }
}

/* What lacks in a panel, "": nothing. */
static const char *missing_in(const struct panels *f, int phase, int l)
{
    if (!f->count[phase][l]) return "no results";
    for (int i = 0; i < f->count[phase][l]; i++)
        if (f->spot[phase][l][i].point->arm > 0) return "";
    return phase == SF_PREFILL ? "no sparse prefill" : "no sparse decode";
}

/* Names and marks of models and arms, and the legend's room. Where colour says the model, marks say the method: one each, as far as
 * they reach; dense has its own, 0. */
static sf_status style_legend(const sf_view *v, const struct naming *names, sf_plot *plot)
{
    const char **arm = malloc(((size_t)v->arms + (size_t)v->models + 2) * sizeof *arm), **model = arm + v->arms + 1;
    char(*name)[160] = malloc(((size_t)v->arms + 1) * sizeof *name);
    double *marks = malloc(((size_t)v->arms + 1) * sizeof *marks);
    if (!arm || !name || !marks) {
        free(arm), free(name), free(marks);
        return no_memory();
    }
    int longest = 24;
    const bool own = *sf_trained_note(v);
    for (int a = 0; a < v->arms; a++) {
        int i = names->id[a] - 1;
        if (i < 0) continue;
        int phase = v->arm[a].sparse[SF_DECODE] ? SF_DECODE : SF_PREFILL;
        bool says = v->models > 1 && a > 0;
        snprintf(name[i], sizeof *name, says ? "%.120s, %s" : "%.120s", a == 0 && own ? "dense, or as trained" : v->arm[a].label, sf_phase_label(phase));
        marks[i] = i == 0 ? 0 : 1 + (i - 1) % MARKS;
        if (i < names->named && (int)strlen(name[i]) > longest) longest = (int)strlen(name[i]);
        arm[i] = name[i];
    }
    for (int m = 0; m < v->models; m++) {
        model[m] = v->model[m].label;
        if (v->models > 1 && (int)strlen(model[m]) > longest) longest = (int)strlen(model[m]);
    }
    sf_set_legend(plot, names->named + (names->named < names->drawn) + (v->models > 1 ? v->models : 0) + 1, longest);
    sf_set_texts(plot, "arm", names->drawn, arm);
    sf_set_numbers(plot, "mark_of", names->drawn, marks);
    sf_set_number(plot, "named", names->named);
    sf_set_texts(plot, "model", v->models, model);
    sf_set_number(plot, "by_model", v->models > 1);
    free(arm), free(name), free(marks);
    return SF_OK;
}

/* Axes: units, ranges, tics of each panel. */
static void style_axes(const sf_view *v, const struct panels *f, const struct axis *axis, sf_plot *plot)
{
    enum { PANELS = SF_PHASES * MOST_LENGTHS };
    const char *phase[] = {sf_phase_label(0), sf_phase_label(1)}, *unit[SF_PHASES], *tics[PANELS], *missing[PANELS];
    const char *name[MOST_LENGTHS], *label[MOST_LENGTHS];
    char units[SF_PHASES][96], tic[PANELS][256], names[MOST_LENGTHS][16], labels[MOST_LENGTHS][32];
    double divide[SF_PHASES], logarithmic[PANELS], low[PANELS], high[PANELS];
    for (int l = 0; l < f->lengths; l++) {
        snprintf(names[l], sizeof names[l], "%d", v->length[f->first + l]);
        snprintf(labels[l], sizeof labels[l], "%d tokens", v->length[f->first + l]);
        name[l] = names[l], label[l] = labels[l];
    }
    for (int p = 0; p < SF_PHASES; p++) {
        const char *prefix = "";
        divide[p] = axis->batched ? sf_si_scale(f->largest[p], &prefix) : 1;
        snprintf(units[p], sizeof units[p], axis->unit[p], prefix);
        unit[p] = units[p];
        for (int l = 0; l < f->lengths; l++) {
            int at = p * f->lengths + l, log_axis = 0;
            bool any = f->high[p][l] > 0;
            low[at] = any ? f->low[p][l] / divide[p] : 1, high[at] = any ? f->high[p][l] / divide[p] : 1;
            sf_axis_tics(low[at], high[at], tic[at], &log_axis);
            double edge = log_axis ? pow(high[at] / low[at], 0.05) : 1 + 0.1 * (high[at] / low[at] - 1) + 1e-3;
            low[at] /= edge, high[at] *= edge;
            logarithmic[at] = log_axis;
            tics[at] = tic[at];
            missing[at] = missing_in(f, p, l);
        }
    }
    int panels = SF_PHASES * f->lengths;
    sf_set_texts(plot, "phase", SF_PHASES, phase);
    sf_set_texts(plot, "length", f->lengths, name);
    sf_set_texts(plot, "length_label", f->lengths, label);
    sf_set_texts(plot, "unit", SF_PHASES, unit);
    sf_set_numbers(plot, "divide", SF_PHASES, divide);
    sf_set_texts(plot, "tics", panels, tics);
    sf_set_numbers(plot, "logarithmic", panels, logarithmic);
    sf_set_numbers(plot, "low", panels, low);
    sf_set_numbers(plot, "high", panels, high);
    sf_set_texts(plot, "missing", panels, missing);
    sf_set_number(plot, "ymin", f->ymin > f->ymax ? 0 : fmax(0, floor(f->ymin * 10) / 10));
    sf_set_number(plot, "ymax", f->ymin > f->ymax ? 1 : fmin(1, ceil(f->ymax * 10) / 10) + 0.01);
}

static sf_status make(const sf_view *v, int which, sf_plot *plot, const struct axis *axis)
{
    struct panels panels;
    struct naming names = {0};
    sf_status status = collect(v, which, axis, &panels);
    if (status == SF_OK) status = name_arms(v, &panels, &names);
    if (status == SF_OK) {
        if (v->lengths > MOST_LENGTHS) snprintf(plot->name + strlen(plot->name), 32, "-%d", which + 1);
        plot->template = "frontier";
        plot->width = panels.lengths == 1 ? 84 : panels.lengths == 2 ? 120 : 174;
        plot->height = panels.lengths == 1 ? 100 : 110;
        write_rows(v, &panels, &names, plot);
        status = style_legend(v, &names, plot);
        style_axes(v, &panels, axis, plot);
        fprintf(plot->caption,
                "Score against %s. One point a model, method and sparsity (sparser is further left within a curve); filled: on "
                "the Pareto frontier of its panel, the grey line; the star is dense. Scores are means over tasks; bars, of the points on "
                "the frontier alone so that they can be told apart, are 95 %% intervals; costs "
                "within 1 %% count as equal; frontier_probability in the CSV is the share of %d bootstrap resamples in which a "
                "point is on the frontier, where each cell has %d samples or more.",
                axis->says, v->resamples, SF_SHARES_FROM);
        if (axis->batched) fprintf(plot->caption, " Batch %g: a decode step makes as many tokens.", v->batch);
        if (names.named - 1 > MARKS)
            fprintf(plot->caption, " There are %d marks for %d methods: they begin anew.", MARKS, names.named - 1);
        if (names.named < names.drawn)
            fprintf(plot->caption, " Of %d methods the %d that reach a frontier are named; the others are dots.", names.drawn - 1, names.named - 1);
        if (panels.left_out)
            fprintf(plot->caption, " Left out: %d points that lack a task that the others have.", panels.left_out);
    }
    free(names.id);
    release(&panels);
    return status;
}

static double paper(const sf_point *p, int phase) { return p->cost_paper[phase]; }
static double exact(const sf_point *p, int phase) { return p->cost_exact[phase]; }
static double seconds(const sf_point *p, int phase) { return p->seconds[phase]; }

static const struct axis
    by_paper =
        {paper,
         {"Prefill (%sFLOP)", "Decode (%s elements/step)"},
         "cost by the study's formulas (prefill: FLOPs over the full square; decode: elements of weights and cache "
         "that a step of the batch reads)",
         true},
    by_exact =
        {exact,
         {"Prefill (%sFLOP)", "Decode (%s elements/step)"},
         "cost as executed (prefill: FLOPs of the causal pairs that were computed; decode: elements of weights and "
         "cache that a step of the batch reads)",
         true},
    by_seconds = {
        seconds,
        {"Prefill (s per sample)", "Decode (s per sample)"},
        "measured wall-clock time of one sample, batch 1; lanes that decode together share the time of their steps",
        false};

static sf_status make_paper(const sf_view *v, int which, sf_plot *plot) { return make(v, which, plot, &by_paper); }
static sf_status make_exact(const sf_view *v, int which, sf_plot *plot) { return make(v, which, plot, &by_exact); }
static sf_status make_seconds(const sf_view *v, int which, sf_plot *plot) { return make(v, which, plot, &by_seconds); }

const sf_figure sf_figure_frontier = {
    .name = "frontier", .title = "isoCost frontier", .plots = plots, .make = make_paper,
    .lacks = "needs results", .in_paper = true};
const sf_figure sf_figure_frontier_exact = {
    .name = "frontier_exact", .title = "isoCost frontier, cost as executed", .plots = plots, .make = make_exact,
    .lacks = "needs results"};
const sf_figure sf_figure_isotime = {
    .name = "isotime", .title = "isoTime frontier", .plots = plots, .make = make_seconds,
    .lacks = "needs results"};
