/* frontier report: figures with their numbers, tables, a page. */
#include "harness/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "harness/report/page.h"

extern const sf_figure sf_figure_frontier, sf_figure_frontier_exact, sf_figure_isotime, sf_figure_tasks,
    sf_figure_lengths, sf_figure_lengths_absolute, sf_figure_models, sf_figure_ablation, sf_figure_joint,
    sf_figure_estimation, sf_figure_recall, sf_figure_heads, sf_figure_cost, sf_figure_patterns, sf_figure_canvas,
    sf_figure_depth;

const sf_figure *const sf_figures[] = {&sf_figure_patterns,   &sf_figure_frontier, &sf_figure_frontier_exact,
                                       &sf_figure_isotime,    &sf_figure_tasks,    &sf_figure_lengths,
                                       &sf_figure_lengths_absolute, &sf_figure_depth, &sf_figure_models,
                                       &sf_figure_ablation,   &sf_figure_joint,    &sf_figure_estimation,
                                       &sf_figure_recall,     &sf_figure_heads,    &sf_figure_canvas,
                                       &sf_figure_cost,       NULL};

static const char *const known_formats[] = {"png", "pdf", "svg", NULL};

FILE *sf_report_open(const char *folder, const char *name, const char *ending, sf_status *status)
{
    char path[4600];
    if (*status != SF_OK) return NULL;
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    FILE *f = fopen(path, "w");
    if (!f) *status = sf_fail(SF_IO, "cannot write %s: %s", path, strerror(errno));
    return f;
}

void sf_report_close(FILE *f, const char *name, sf_status *status)
{
    if (!f) return;
    bool bad = ferror(f);
    if ((fclose(f) != 0 || bad) && *status == SF_OK)
        *status = sf_fail(SF_IO, "cannot write %s: %s", name, strerror(errno));
}

/* Whether a comma-separated list names `word`; NULL lists everything. */
static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || !at[n])) return true;
    return !list;
}

static sf_status check_list(const char *list, const char *what, int count, const char *const *known)
{
    char text[1024];
    snprintf(text, sizeof text, "%s", list ? list : "");
    for (char *rest, *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        int i = 0;
        while (i < count && strcmp(known[i], word) != 0) i++;
        if (i < count) continue;
        char all[1024] = "";
        for (i = 0; i < count; i++) {
            size_t used = strlen(all);
            snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", known[i]);
        }
        return sf_fail(SF_BAD_INPUT, "there is no %s '%s'; there are %s", what, word, all);
    }
    return SF_OK;
}

static sf_status check_options(const sf_report_options *o)
{
    const char *name[64];
    int n = 0;
    while (sf_figures[n]) name[n] = sf_figures[n]->name, n++;
    SF_TRY(check_list(o->figures, "figure", n, name));
    SF_TRY(check_list(o->formats, "format", 3, known_formats));
    return check_list(o->style, "style", 2, (const char *const[]){"paper", "slides"});
}

/* Appends a template to a gnuplot file. */
static sf_status append(FILE *out, const char *folder, const char *name)
{
    char path[4300], block[4096];
    snprintf(path, sizeof path, "%s/%s.gp", folder, name);
    FILE *in = fopen(path, "r");
    if (!in) return sf_fail(SF_IO, "cannot read the template %s: %s", path, strerror(errno));
    for (size_t n; (n = fread(block, 1, sizeof block, in)) > 0;) fwrite(block, 1, n, out);
    fclose(in);
    fputc('\n', out);
    return SF_OK;
}

/* Makes one plot: NAME.csv and NAME.gp in `folder`, its caption in *made. */
static sf_status make_plot(const sf_view *v, const sf_figure *figure, int which, const char *folder, const char *style,
                           sf_made *made)
{
    sf_plot plot = {.width = 84};
    char *csv = NULL, *set = NULL, plots[4096];
    size_t csv_bytes, set_bytes, caption_bytes;
    snprintf(plot.name, sizeof plot.name, "%s", figure->name);
    plot.csv = open_memstream(&csv, &csv_bytes);
    plot.set = open_memstream(&set, &set_bytes);
    plot.caption = open_memstream(&made->caption, &caption_bytes);
    sf_status status =
        plot.csv && plot.set && plot.caption ? SF_OK : sf_fail(SF_NO_MEMORY, "out of memory for a figure");
    if (status == SF_OK) status = figure->make(v, which, &plot);
    if (plot.csv) fclose(plot.csv);
    if (plot.set) fclose(plot.set);
    if (plot.caption) fclose(plot.caption);
    snprintf(made->name, sizeof made->name, "%s", plot.name);
    made->title = figure->title;
    made->width = plot.width;

    FILE *f = sf_report_open(folder, plot.name, ".csv", &status);
    if (f) fwrite(csv, 1, csv_bytes, f);
    sf_report_close(f, plot.name, &status);
    f = sf_report_open(folder, plot.name, ".gp", &status);
    if (f) {
        fprintf(f, "# %s\nname = '%s'\nwidth = %g\nheight = %g\nstyle = '%s'\n%s\n", figure->title, plot.name,
                plot.width, plot.height, style, set);
        status = sf_plots_folder(plots);
        if (status == SF_OK) status = append(f, plots, "common");
        if (status == SF_OK) status = append(f, plots, plot.template);
    }
    sf_report_close(f, plot.name, &status);
    free(csv);
    free(set);
    return status;
}

static sf_status draw(const char *folder, const sf_report_options *o, int count, sf_made *made)
{
    sf_drawing *drawing = calloc((size_t)count * 3 + 1, sizeof *drawing);
    if (!drawing) return sf_fail(SF_NO_MEMORY, "out of memory for figures");
    int n = 0;
    const char *formats = o->formats ? o->formats : "png,pdf";
    for (int i = 0; i < count; i++)
        for (int f = 0; known_formats[f]; f++) /* the page shows PNG, whatever else is asked for */
            if (f == 0 || listed(formats, known_formats[f]))
                drawing[n++] = (sf_drawing){made[i].name, known_formats[f]};
    sf_status status = sf_gnuplot(folder, n, drawing);
    for (int i = 0; i < count; i++) {
        char path[4800];
        snprintf(path, sizeof path, "%s/%s.png", folder, made[i].name);
        made[i].drawn = status == SF_OK && access(path, R_OK) == 0;
    }
    free(drawing);
    return status;
}

sf_status sf_report(const sf_results *results, const sf_report_options *options)
{
    char figures[4300], tables[4300];
    sf_view view;
    sf_warnings warnings = {0};
    sf_findings findings = {0};
    sf_made *made = NULL;
    int count = 0, size = 0;
    SF_TRY(check_options(options));
    SF_TRY(sf_make_folder(options->folder, "the report"));
    snprintf(figures, sizeof figures, "%.4200s/figures", options->folder);
    snprintf(tables, sizeof tables, "%.4200s/tables", options->folder);
    SF_TRY(sf_make_folder(figures, "the report"));
    SF_TRY(sf_make_folder(tables, "the report"));
    SF_TRY(sf_view_make(results, &view));
    sf_status status = view.points ? SF_OK : sf_fail(SF_BAD_INPUT, "there are no results to report");
    if (status == SF_OK) status = sf_view_bootstrap(&view, SF_RESAMPLES, 43);
    if (status == SF_OK) status = sf_gates(&view, &warnings);
    if (status == SF_OK) status = sf_find(&view, &findings);
    for (int i = 0; sf_figures[i] && status == SF_OK; i++) {
        const sf_figure *figure = sf_figures[i];
        int plots = listed(options->figures, figure->name) ? figure->plots ? figure->plots(&view) : 1 : 0;
        for (int which = 0; which < plots && status == SF_OK; which++) {
            if (count == size) {
                size = size ? 2 * size : 32;
                sf_made *grown = realloc(made, (size_t)size * sizeof *made);
                if (!grown) {
                    status = sf_fail(SF_NO_MEMORY, "out of memory for figures");
                    break;
                }
                made = grown;
            }
            made[count] = (sf_made){0};
            status =
                make_plot(&view, figure, which, figures, options->style ? options->style : "paper", &made[count++]);
        }
    }
    if (status == SF_OK) status = sf_report_tables(&view, tables, &findings);
    if (status == SF_OK) status = sf_report_paper(&view, options->folder, count, made);
    /* Without gnuplot there are no pictures, but everything else; the page says so. */
    sf_status drawn = status == SF_OK ? draw(figures, options, count, made) : status;
    char trouble[1024] = "";
    if (status == SF_OK && drawn != SF_OK) snprintf(trouble, sizeof trouble, "%s", sf_error());
    if (status == SF_OK) status = sf_report_page(&view, options->folder, count, made, &warnings, &findings, trouble);
    if (status == SF_OK && drawn != SF_OK) status = sf_fail(drawn, "%s", trouble);
    for (int i = 0; i < count; i++) free(made[i].caption);
    free(made);
    sf_warnings_free(&warnings);
    sf_findings_free(&findings);
    sf_view_free(&view);
    return status;
}
