/* frontier report, in order: what is drawn, its numbers and plots, tables, a document, pictures, a page. */
#include "harness/report/report.h"
#include "base/data.h"
#include "base/files.h"
#include "harness/report/figures/registry.h"
#include "harness/report/gnuplot.h"
#include "harness/report/leaderboard.h"
#include "harness/report/page.h"
#include "harness/report/paper.h"
#include "harness/report/resample.h"
#include "harness/report/settings.h"
#include "harness/report/stage.h"
#include "harness/report/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t seed = 43; /* of resampling */
static const char *const known_formats[] = {"png", "pdf", "svg", NULL};

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

/* Appends plots/NAME.gp to a gnuplot file. */
static sf_status append(FILE *out, const char *name)
{
    char relative[128], path[4096], block[4096];
    snprintf(relative, sizeof relative, "plots/%s.gp", name);
    SF_TRY(sf_data_path(relative, path));
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
    char *csv = NULL, *set = NULL;
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
    made->figure = figure;
    made->width = plot.width;

    FILE *f = sf_report_open(folder, plot.name, ".csv", &status);
    if (f) fwrite(csv, 1, csv_bytes, f);
    sf_report_close(f, plot.name, &status);
    f = sf_report_open(folder, plot.name, ".gp", &status);
    if (f) {
        fprintf(f, "# %s\nname = '%s'\nwidth = %g\nheight = %g\nstyle = '%s'\n%s\n", figure->title, plot.name,
                plot.width, plot.height, style, set);
        status = append(f, "common");
        if (status == SF_OK) status = append(f, plot.template);
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

/* The plots of all figures that are wanted and that the results allow; `lacking`: of those asked for by name, what the
 * others lack, "": none. */
static sf_status make_plots(const sf_view *v, const char *folder, const sf_report_options *o, int *count, sf_made **made,
                            char lacking[1024])
{
    int size = 0;
    *lacking = 0;
    for (int i = 0; sf_figures[i]; i++) {
        const sf_figure *figure = sf_figures[i];
        int plots = !listed(o->figures, figure->name) ? 0 : figure->plots ? figure->plots(v) : 1;
        if (!plots && o->figures && listed(o->figures, figure->name)) {
            size_t used = strlen(lacking);
            snprintf(lacking + used, 1024 - used, "%s%s %s", used ? "; " : "", figure->name, figure->lacks);
        }
        for (int which = 0; which < plots; which++) {
            if (*count == size) {
                size = size ? 2 * size : 32;
                sf_made *grown = realloc(*made, (size_t)size * sizeof *grown);
                if (!grown) return sf_fail(SF_NO_MEMORY, "out of memory for figures");
                *made = grown;
            }
            (*made)[*count] = (sf_made){0};
            SF_TRY(make_plot(v, figure, which, folder, o->style ? o->style : "paper", &(*made)[(*count)++]));
        }
    }
    return SF_OK;
}

/* One group of settings, into a folder of its own. *written: all of it, but for pictures that could not be drawn and figures
 * that the results do not allow, which are errors. */
static sf_status report_group(const sf_results *results, const char *folder, const sf_report_options *options, bool *written,
                              const sf_settings *settings /* whose other groups the page names; NULL: it names none */)
{
    char figures[4300], tables[4300], lacking[1024] = "", trouble[1024] = "";
    sf_view view;
    sf_warnings warnings = {0};
    sf_findings findings = {0};
    sf_made *made = NULL;
    int count = 0;
    *written = false;
    SF_TRY(sf_make_folder(folder, "the report"));
    snprintf(figures, sizeof figures, "%.4200s/figures", folder);
    snprintf(tables, sizeof tables, "%.4200s/tables", folder);
    SF_TRY(sf_make_folder(figures, "the report"));
    SF_TRY(sf_make_folder(tables, "the report"));
    SF_TRY(sf_view_make(results, &view));
    sf_status status = sf_view_bootstrap(&view, SF_RESAMPLES, seed);
    if (status == SF_OK) status = sf_gates(&view, &warnings);
    if (status == SF_OK) status = sf_find(&view, &findings);
    if (status == SF_OK) status = make_plots(&view, figures, options, &count, &made, lacking);
    if (status == SF_OK) status = sf_report_tables(&view, tables, &findings, seed);
    if (status == SF_OK) status = sf_report_paper(&view, folder, count, made);
    /* Without gnuplot there are no pictures, but everything else; the page says so. */
    sf_status drawn = status == SF_OK ? draw(figures, options, count, made) : status;
    if (status == SF_OK && drawn != SF_OK) snprintf(trouble, sizeof trouble, "%s", sf_error());
    if (status == SF_OK) status = sf_report_page(&view, seed, options, folder, count, made, &warnings, &findings, settings, trouble);
    *written = status == SF_OK;
    if (status == SF_OK && drawn != SF_OK) status = sf_fail(drawn, "%s", trouble);
    if (status == SF_OK && *lacking)
        status = sf_fail(SF_BAD_INPUT, "figures that these results do not allow: %s; everything else is written", lacking);
    for (int i = 0; i < count; i++) free(made[i].caption);
    free(made);
    sf_warnings_free(&warnings);
    sf_findings_free(&findings);
    sf_view_free(&view);
    return status;
}

sf_status sf_report_leaderboard(const sf_results *results, double within, const char *format, FILE *out)
{
    sf_settings settings;
    sf_view view = {0};
    sf_leaderboard board = {0};
    SF_TRY(check_list(format, "leaderboard format", 4, sf_leaderboard_formats));
    SF_TRY(sf_settings_split(results, &settings));
    sf_status status = settings.groups ? sf_view_make(&settings.group[0].results, &view) : sf_fail(SF_BAD_INPUT, "there are no results to report");
    if (status == SF_OK) status = sf_view_bootstrap(&view, SF_RESAMPLES, seed);
    if (status == SF_OK) status = sf_leaderboard_make(&view, within, seed, &board);
    if (status == SF_OK) status = sf_leaderboard_write(&view, &board, format, out);
    sf_leaderboard_free(&board);
    sf_view_free(&view);
    sf_settings_free(&settings);
    return status;
}

sf_status sf_report(const sf_results *results, const sf_report_options *options)
{
    sf_settings settings;
    sf_stage stage;
    bool written = false;
    SF_TRY(check_options(options));
    SF_TRY(sf_settings_split(results, &settings));
    sf_status status = settings.groups ? SF_OK : sf_fail(SF_BAD_INPUT, "there are no results to report");
    if (status == SF_OK) status = sf_stage_open(options->folder, &stage);
    bool staged = status == SF_OK;
    char said[2048] = "";
    for (int g = settings.groups - 1; g >= 0 && staged && (status == SF_OK || written); g--) { /* the shown one last: its error is the one that counts */
        char folder[4200], name[64];
        sf_file_label(settings.group[g].name, name);
        snprintf(folder, sizeof folder, g ? "%.4100s/settings-%s" : "%.4100s", stage.aside, name);
        sf_status one = report_group(&settings.group[g].results, folder, options, &written, g ? NULL : &settings);
        if (one == SF_OK || (g && one == SF_BAD_INPUT && written)) continue; /* a figure that another group does not allow is no error */
        status = one;
        snprintf(said, sizeof said, "%s", sf_error());
    }
    sf_settings_free(&settings);
    if (staged && written) {
        sf_status shown = sf_stage_show(&stage);
        if (status != SF_OK && shown == SF_OK) sf_fail(status, "%s", said);
        if (shown != SF_OK) status = shown;
    } else if (staged) {
        sf_stage_drop(&stage);
    }
    return status;
}
