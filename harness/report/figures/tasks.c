/* Score against sparsity, a panel a task and one for their mean: over all models and lengths, then for each model; and, for
 * reports of more methods than one panel holds, over all of them for the methods of each form beside the bounds. */
#include "harness/report/figures/curves.h"

#include <stdlib.h>
#include <string.h>

enum { LEVELS = 64 };

/* What arms are of, as a reader would group them; the last two are bounds, which every group has. */
static const char *const FORMS[] = {"fixed", "blocks", "columns", "pages", "sampled", "evicting", "method", "oracle", "random"};
enum { GROUPS = 7, ALL = -1 };

static int form_of(const sf_view_arm *arm)
{
    const char *kind = arm->kind[arm->sparse[SF_PREFILL] ? SF_PREFILL : SF_DECODE];
    int f = 0;
    while (f < GROUPS + 2 && strcmp(FORMS[f], kind) != 0) f++;
    return f < GROUPS + 2 ? f : GROUPS - 1;
}

/* form ALL: every arm. Joint ones have figures of their own. */
static bool drawn(const sf_view_arm *arm, int form)
{
    return !sf_arm_joint(arm) && (form == ALL || form_of(arm) == form || form_of(arm) >= GROUPS);
}

static sf_status draw(const sf_view *v, int model, int form, sf_plot *plot)
{
    int panels = v->tasks + (v->tasks > 1), series = 0;
    const char **panel = calloc((size_t)panels * 2 + (size_t)v->arms, sizeof *panel), **note = panel + panels,
               **name = note + panels;
    bool *dashed = calloc((size_t)v->arms, sizeof *dashed);
    sf_average *reference = calloc((size_t)panels, sizeof *reference);
    char(*title)[128] = calloc((size_t)panels, sizeof *title);
    if (!panel || !dashed || !reference || !title) {
        free(panel), free(dashed), free(reference), free(title);
        return sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    }
    if (form != ALL) snprintf(plot->name + strlen(plot->name), 32, "-%s", form == GROUPS - 1 ? "other" : FORMS[form]);
    if (model >= 0) {
        char label[64];
        sf_file_label(v->model[model].label, label);
        snprintf(plot->name + strlen(plot->name), 66, "-%s", label);
    }
    for (int t = 0; t < panels; t++) {
        const sf_view_task *task = &v->task[t];
        const char *hard = t == v->tasks                     ? ""
                           : task->dispersion && task->scope ? " (high dispersion, scope)"
                           : task->dispersion                ? " (high dispersion)"
                           : task->scope                     ? " (high scope)"
                                                             : "";
        snprintf(title[t], sizeof title[t], "%.90s%s", t == v->tasks ? "mean over tasks" : task->label, hard);
        panel[t] = title[t];
    }
    for (int a = 1; a < v->arms; a++) {
        if (!drawn(&v->arm[a], form)) continue;
        dashed[series] = v->arm[a].sparse[SF_DECODE];
        name[series++] = v->arm[a].label;
    }
    sf_curves c = {.panels = panels,
                   .series = series,
                   .panel = panel,
                   .name = name,
                   .dashed = dashed,
                   .reference = reference,
                   .note = note,
                   .ylabel = "Score"};
    sf_curves_begin(plot, &c);
    int most = 0, fewest = 1 << 30, samples = 0;
    for (int t = 0; t < panels; t++) {
        sf_selection all = {.model = model, .length = -1, .task = t < v->tasks ? t : -1, .arm = 0, .hard = -1};
        reference[t] = sf_view_average(v, &all, SF_SCORE);
        reference[t].sparsity = 0;
        sf_curves_row(plot, &c, t, -1, &reference[t]);
        bool any = false;
        for (int a = 1, s = 0; a < v->arms; a++) {
            double level[LEVELS][SF_PHASES];
            if (!drawn(&v->arm[a], form)) continue;
            int levels = sf_arm_levels(v, a, LEVELS, level);
            for (int l = 0; l < levels; l++) {
                sf_selection one = all;
                one.arm = a;
                memcpy(one.sparsity, level[l], sizeof one.sparsity);
                sf_average x = sf_view_average(v, &one, SF_SCORE);
                if (!x.cells) continue;
                sf_curves_row(plot, &c, t, s, &x);
                any = true;
                if (t == panels - 1)
                    most = x.cells > most ? x.cells : most, fewest = x.cells < fewest ? x.cells : fewest;
                if (x.samples > samples) samples = x.samples;
            }
            s++;
        }
        note[t] = any ? "" : "no sparse cells";
    }
    sf_curves_end(plot, &c);
    fprintf(plot->caption,
            "Score (strict) against executed sparsity%s%s, means over %s; bars and the band around dense: 95 %% "
            "intervals; up to %d samples a point. Solid: sparse prefill, dashed: sparse decode.%s",
            model >= 0 ? ", " : "", model >= 0 ? v->model[model].label : "",
            model >= 0 || v->models == 1 ? "lengths" : "models and lengths", samples,
            form == ALL ? "" : " Beside the methods of this form: oracles and random choices, between which they may lie.");
    if (fewest < most)
        fprintf(plot->caption,
                " Some points lack models, tasks or lengths that others have: column `cells` of the CSV.");
    free(panel), free(dashed), free(reference), free(title);
    return SF_OK;
}

static int plots(const sf_view *v)
{
    bool any = false;
    for (int a = 1; a < v->arms; a++) any |= drawn(&v->arm[a], ALL);
    int models = 0; /* that methods are put on */
    for (int m = 0; m < v->models; m++) models += !*sf_model_attention(&v->model[m]);
    return !any ? 0 : v->models > 1 ? 1 + models : 1;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    int model = -1;
    while (which--)
        do model++;
        while (*sf_model_attention(&v->model[model]));
    return draw(v, model, ALL, plot);
}

/* Forms that have an arm, where all arms together are more than a panel holds. */
static int forms(const sf_view *v, int form[GROUPS])
{
    enum { CROWDED = 12 };
    int n = 0;
    for (int f = 0; f < GROUPS && v->arms > CROWDED; f++) {
        bool any = false;
        for (int a = 1; a < v->arms; a++) any |= !sf_arm_joint(&v->arm[a]) && form_of(&v->arm[a]) == f;
        if (any) form[n++] = f;
    }
    return n;
}

static int plots_of_forms(const sf_view *v)
{
    int form[GROUPS];
    return forms(v, form);
}

static sf_status make_form(const sf_view *v, int which, sf_plot *plot)
{
    int form[GROUPS];
    forms(v, form);
    return draw(v, -1, form[which], plot);
}

const sf_figure sf_figure_forms = {.name = "forms",
                                   .title = "Score against sparsity, by form of method",
                                   .plots = plots_of_forms,
                                   .make = make_form,
                                   .lacks = "needs more than 12 arms; fewer stand in one panel above"};

const sf_figure sf_figure_tasks = {.name = "tasks",
                                   .title = "Score against sparsity, by task",
                                   .plots = plots,
                                   .make = make,
                                   .lacks = "needs a sparse cell",
                                   .in_paper = true};
