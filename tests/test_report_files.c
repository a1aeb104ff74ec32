/* What a report writes: figures and their axes, tables, documents; whole reports as they were when somebody last looked at them. */
#include "harness/report/fidelity.h"
#include "harness/report/figures/curves.h"
#include "harness/report/figures/registry.h"
#include "harness/report/out.h"
#include "harness/report/resample.h"
#include "tests/report_world.h"

#include <ctype.h>

/* Few tics that read well; where there is one value, that value, to three digits. */
static void test_tics(void **state)
{
    (void)state;
    char text[256];
    int logarithmic;
    sf_axis_tics(1, 100, text, &logarithmic);
    assert_string_equal(text, "(1, 3, 10, 30, 100)");
    assert_true(logarithmic);
    sf_axis_tics(0.55, 0.85, text, &logarithmic);
    assert_string_equal(text, "0.1");
    assert_false(logarithmic);
    sf_axis_tics(0.550261, 0.550261, text, &logarithmic);
    assert_string_equal(text, "('0.55' 0.550261)");
    sf_axis_tics(136.419, 136.42, text, &logarithmic);
    assert_string_equal(text, "('136' 136.42)");
}

/* What a figure of curves tells its template of its axes, of values from low to high, known to a hundredth. */
static void curves_axes(const char *want, double low, double high, bool percent)
{
    const char *panel = "tasks", *name = "quest";
    sf_curves c = {.panels = 1, .series = 1, .panel = &panel, .name = &name, .ylabel = "y", .percent = percent};
    char *set = NULL, *csv = NULL, got[128] = "";
    size_t room;
    sf_plot plot = {.set = open_memstream(&set, &room), .csv = open_memstream(&csv, &room)};
    sf_curves_begin(&plot, &c);
    sf_curves_row(&plot, &c, 0, 0, &(sf_average){1, 1, low, low - 0.01, low + 0.01, 0.5});
    sf_curves_row(&plot, &c, 0, 0, &(sf_average){1, 1, high, high - 0.01, high + 0.01, 0.875});
    sf_curves_end(&plot, &c);
    fclose(plot.set), fclose(plot.csv);
    static const char *const shown[] = {"ymin = ", "ymax = ", "ystep = ", "xmax = "};
    for (int i = 0; i < 4; i++) {
        char *at = strstr(set, shown[i]);
        assert_non_null(at);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.6g", i ? " " : "", atof(at + strlen(shown[i])));
    }
    if (strcmp(got, want) != 0) fail_msg("%g to %g: %s, expected %s", low, high, got, want);
    free(set), free(csv);
}

static void test_curves_axes(void **state)
{
    (void)state;
    /* lowest, highest, step, and the end of the axis of sparsity: three halvings and a quarter */
    curves_axes("0.45 0.7 0.05 3.25", 0.47, 0.69, false);
    curves_axes("0.4 1 0.2 3.25", 0.43, 0.93, false);
    curves_axes("0.4 1.1 0.2 3.25", 0.43, 1.03, false);
    curves_axes("40 110 20 3.25", 0.43, 1.03, true);
    curves_axes("0 1.5 0.2 3.25", 0.05, 1.43, false);
    curves_axes("0 1.6 0.2 3.25", 0.05, 1.55, false);
    curves_axes("0 2.5 0.5 3.25", 0.05, 2.37, false);
    curves_axes("0 35 5 3.25", 0.1, 33, false);
    curves_axes("0 800 100 3.25", 3, 723, false);
    curves_axes("0.6 0.7 0.05 3.25", 0.6125, 0.6125, false);
    curves_axes("-1.5 1.5 0.5 3.25", -1.22, 1.22, false);
}

/* Tics of the map of heads: every one of a few, fewer of many. */
static void test_heads_tics(void **state)
{
    (void)state;
    static const struct {
        int heads, layers, every_head, every_layer;
    } row[] = {{1, 4, 1, 1}, {4, 5, 1, 4}, {5, 12, 4, 4}, {12, 13, 4, 8}, {13, 32, 8, 8}, {32, 33, 8, 16}, {33, 1, 16, 1}};
    static float map[33 * 33];
    struct synthetic s = small;
    s.models = s.tasks = s.lengths = s.levels = 1, s.samples = 2, s.maps = true;
    make_results(&s);
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        for (int c = 0; c < results.cells; c++) {
            results.cell[c].heads = row[k].heads, results.cell[c].kv_heads = 1, results.cell[c].layers = row[k].layers;
            for (int p = 0; p < SF_PHASES; p++) results.mean[c].density[p] = results.mean[c].recall[p] = map;
        }
        sf_report_options o = {.folder = report_folder(), .figures = "heads", .formats = "png"};
        char want[64];
        report_undrawn(&o);
        char *gp = slurp("report/figures/heads.gp");
        snprintf(want, sizeof want, "x_tics[1] = '%d'\n", row[k].every_head);
        if (!strstr(gp, want)) fail_msg("%d heads: no %s in %.900s", row[k].heads, want, gp);
        snprintf(want, sizeof want, "y_tics[1] = '%d'\n", row[k].every_layer);
        if (!strstr(gp, want)) fail_msg("%d layers: no %s in %.900s", row[k].layers, want, gp);
        free(gp);
    }
}

/* A legend has as many columns as its entries' room in the figure's width allows. */
static void test_legend(void **state)
{
    (void)state;
    static const struct {
        int width, characters, entries, rows;
    } row[] = {{174, 36, 6, 2}, {174, 37, 6, 3}, {84, 24, 6, 6}, {84, 23, 6, 3}, {174, 4, 3, 1}};
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        char *set = NULL, want[32];
        sf_plot plot = {.width = row[k].width, .set = open_memstream(&set, &(size_t){0})};
        sf_set_legend(&plot, row[k].entries, row[k].characters);
        fclose(plot.set);
        snprintf(want, sizeof want, "legend_rows = %d\n", row[k].rows);
        if (!strstr(set, want)) fail_msg("%d characters in %d mm: no %s in %s", row[k].characters, row[k].width, want, set);
        free(set);
    }
}

/* Of more methods than a legend can name, those are named that stand on a frontier, from 2 on; the others come behind them. A name is
 * cut to its column. */
static void test_frontier_names(void **state)
{
    (void)state;
    enum { MOST = 64 };
    const struct synthetic s = {.models = 2, .tasks = 2, .lengths = 1, .levels = 5, .samples = 8, .prefill = true, .decode = true, .more = true, .gain = 1};
    make_results(&s);
    char(*name)[64] = calloc((size_t)results.cells, sizeof *name);
    for (int c = 0; c < results.cells; c++) /* each level is a method of its own */
        for (int p = 0; p < SF_PHASES; p++) {
            sf_cell_info *cell = &results.cell[c];
            if (!strcmp(cell->label[p], "dense")) continue;
            snprintf(name[c], sizeof *name, "%.40s at %g", cell->label[p], cell->sparsity[p]);
            cell->label[p] = name[c];
        }
    sf_report_options o = {.folder = report_folder(), .figures = "frontier", .formats = "png"};
    report_undrawn(&o);
    char *gp = slurp("report/figures/frontier.gp"), *csv = slurp("report/figures/frontier.csv");
    int named = 0, drawn = 0, on[MOST + 1] = {0};
    assert_int_equal(1, sscanf(strstr(gp, "\nnamed = "), " named = %d", &named));
    assert_int_equal(1, sscanf(strstr(gp, "\narm_n = "), " arm_n = %d", &drawn));
    assert_true(drawn > 25 && drawn <= MOST && named > 2 && named < drawn);
    for (char *line = strchr(csv, '\n') + 1, *next; *line; line = next + 1) { /* …,on_frontier,frontier_probability,model_id,arm_id */
        char *field[4], *at = next = strchr(line, '\n');
        for (int k = 0; k < 4; k++) {
            do at--;
            while (*at != ',');
            field[k] = at + 1;
        }
        int id = atoi(field[0]);
        assert_in_range(id, 1, drawn);
        on[id] += atoi(field[3]);
    }
    for (int i = 2; i <= drawn; i++)
        if ((on[i] > 0) != (i <= named)) fail_msg("method %d of %d, %d named: %d points on a frontier", i, drawn, named, on[i]);
    assert_non_null(strstr(gp, "title fit(arm[a])"));
    free(gp), free(csv), free(name);
}

/* ---- The report as files ---- */

/* The document compiles, whatever the names. */
static void test_paper(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.samples = 4;
    make_results(&s);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].label[SF_DECODE], "quest"))
            results.cell[c].label[SF_DECODE] = "quest(x='$%_&#`)";
    sf_report_options o = {.folder = report_folder(), .figures = "frontier,tasks", .formats = "pdf"};
    OK(sf_report(&results, &o));
    char *tex = slurp("report/paper.tex"), command[512];
    assert_non_null(strstr(tex, "{figures/frontier.pdf}"));
    assert_non_null(strstr(tex, "{figures/tasks.pdf}"));
    assert_non_null(strstr(tex, "\\input{tables/limits}"));
    free(tex);
    if (system("pdflatex -version >/dev/null 2>&1 && kpsewhich booktabs.sty >/dev/null") != 0) {
        printf("skipped: pdflatex with booktabs is not installed (Debian: texlive-latex-recommended)\n");
        skip();
    }
    /* All tables in an article as LaTeX makes it by default, 345 points wide. */
    static const char *const article = "\\documentclass{article}\n\\usepackage{textcomp,booktabs,graphicx}\n\\begin{document}\n"
                                       "\\input{tables/scores}\\input{tables/tasks}\\input{tables/limits}\n"
                                       "\\input{tables/budgets}\\input{tables/leaderboard}\n\\end{document}\n";
    char path[256];
    snprintf(path, sizeof path, "%s/article.tex", report_folder());
    FILE *f = fopen(path, "w");
    fputs(article, f);
    fclose(f);
    static const char *const documents[] = {"paper", "article"};
    for (int d = 0; d < 2; d++) {
        snprintf(command, sizeof command, "cd '%s' && pdflatex -interaction=batchmode -halt-on-error %s.tex >/dev/null 2>&1",
                 report_folder(), documents[d]);
        if (system(command) != 0) fail_msg("%s.tex does not compile: see its log, or run\n%s", documents[d], command);
        snprintf(path, sizeof path, "report/%s.pdf", documents[d]);
        char *pdf = slurp(path);
        assert_int_equal(memcmp(pdf, "%PDF", 4), 0);
        free(pdf);
        snprintf(path, sizeof path, "report/%s.log", documents[d]);
        tex = slurp(path);
        for (const char *line = tex; (line = strstr(line, "Overfull \\hbox (")); line++)
            if (atof(line + 16) > 5) fail_msg("%s: %.80s", documents[d], line);
        assert_null(strstr(tex, "Missing character"));
        free(tex);
    }
}

static void test_patterns(void **state)
{
    (void)state;
    enum { N = SF_PICTURE_SIDE };
    struct synthetic s = {.models = 2, .tasks = 2, .lengths = 2, .levels = 3, .samples = 3, .prefill = true, .decode = true,
                          .maps = true, .gain = 1};
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "patterns,canvas", .formats = "png"};
    report_undrawn(&o);
    char *csv = slurp("report/figures/patterns.csv"), arm[64];
    assert_int_equal(lines(csv), 1 + 2 * N * N + 2 * 10 * N);
    int rows = 0, computed[2] = {0};
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n")); rows++) {
        double key, sparsest = NAN;
        int y, rgb[3], panel, x = rows % N;
        if (sscanf(line, "%lf,%d,%lf,%d,%d,%d,%d,%63s", &key, &y, &sparsest, rgb, rgb + 1, rgb + 2, &panel, arm) != 8)
            assert_int_equal(sscanf(line, "%lf,%d,,%d,%d,%d,%d,%63s", &key, &y, rgb, rgb + 1, rgb + 2, &panel, arm), 7);
        bool decode = panel > 2, future = !decode && x > y;
        int distance = (decode ? N - 1 : y) - x;
        double want = distance < N * 0.2 ? 0.8 : distance < N * 0.3 ? 0.7 : distance < N * 0.5 ? 0.5 : NAN;
        if (future) want = NAN;
        if (!(isnan(want) ? isnan(sparsest) : fabs(want - sparsest) < 1e-6))
            fail_msg("%s, line %d, column %d: computed at %g, expected %g", arm, y, x, sparsest, want);
        assert_true((rgb[0] + rgb[1] + rgb[2] == 765) == (isnan(want) && !future)); /* paper */
        computed[decode] += !isnan(want);
    }
    assert_true(computed[0] > 1000 && computed[1] > 1000);
    free(csv);
    csv = slurp("report/figures/canvas.csv");
    assert_int_equal(lines(csv), 1 + 3 * N * N + 3 * 10 * N);
    int shown = 0;
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n"));) {
        double key, mass;
        int y, panel;
        if (sscanf(line, "%lf,%d,%lf,%d", &key, &y, &mass, &panel) != 4) continue;
        shown += panel == 2; /* block_sparse at 0.8, the nearest to 0.9 */
    }
    assert_int_equal(shown, 26 * (26 + 1) / 2 + (N - 26) * 26);
    free(csv);
}

static void test_depth(void **state)
{
    (void)state;
    make_results(&small); /* niah alone has a depth */
    sf_report_options o = {.folder = report_folder(), .figures = "depth", .formats = "png"};
    report_undrawn(&o);
    char *csv = slurp("report/figures/depth-mini-8m.csv");
    assert_int_equal(lines(csv), 1 + 5 * 2 * 5); /* five arms, two lengths, fifths */
    int rows = 0;
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n"));) {
        double depth, value, sum = 0;
        int y, tokens, n, seen = 0;
        char arm[64];
        if (sscanf(line, "%*d,%d,%d,%lf,%lf,%*[^,],%d,%*d,%63s", &y, &tokens, &depth, &value, &n, arm) != 6 ||
            strcmp(arm, "quest") != 0)
            continue;
        int cell = -1;
        for (int c = 0; c < results.cells; c++)
            if (!strcmp(results.cell[c].model, "mini-8m") && !strcmp(results.cell[c].task, "niah") &&
                results.cell[c].length == tokens && !strcmp(results.cell[c].label[SF_DECODE], "quest") &&
                results.cell[c].sparsity[SF_DECODE] == 0.8)
                cell = c;
        for (int i = 0; i < 12; i++)
            if ((int)(results.record[cell][i].depth * 5) == y) sum += results.record[cell][i].strict, seen++;
        assert_int_equal(n, seen);
        near(value, sum / seen, 1e-5, "score at a depth");
        rows++;
    }
    assert_true(rows > 4);
    free(csv);
    /* Up to four panels stand in twos, five and nine in threes. */
    static const int columns[] = {2, 2, 2, 2, 3, 3};
    for (int panels = 1; panels <= 6; panels++) {
        const struct synthetic s = {.models = 1, .tasks = 1, .lengths = 2, .levels = 1, .samples = 6, .prefill = panels > 1, .decode = panels > 1,
                                    .ablation = panels > 5, .more = panels > 5};
        static const char *const arms[] = {"vertical_slash", "block_sparse", "quest", "snapkv"};
        make_results(&s);
        for (int c = 0; c < results.cells && panels < 6; c++)
            for (int a = panels - 1; a < 4; a++)
                for (int p = 0; p < SF_PHASES; p++)
                    if (!strcmp(results.cell[c].label[p], arms[a])) results.records[c] = 0;
        report_undrawn(&o);
        char *gp = slurp("report/figures/depth.gp"), want[32];
        snprintf(want, sizeof want, "\ncolumns = %d\n", columns[panels - 1]);
        if (!strstr(gp, want)) fail_msg("%d panels: no %s in %.900s", panels, want + 1, gp);
        free(gp);
    }
}

/* Divergence of a method is the mean of its cells' means, in its own phase; it has no bound, and so no interval that holds. */
static void test_divergence_figure(void **state)
{
    (void)state;
    make_results(&small);
    sf_report_options o = {.folder = report_folder(), .figures = "divergence", .formats = "png"};
    report_undrawn(&o);
    char *csv = slurp("report/figures/divergence.csv");
    int rows = 0;
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n"));) {
        char panel[64], arm[64];
        double sparsity, value, sum = 0;
        int cells, samples, seen = 0;
        assert_int_equal(sscanf(line, "%63[^,],%63[^,],%lf,%lf,,,%d,%d", panel, arm, &sparsity, &value, &cells, &samples), 6);
        const bool decode = !strcmp(arm, "quest");
        if ((!decode && strcmp(arm, "vertical_slash") != 0) || strcmp(panel, "mean over tasks") != 0) continue;
        for (int c = 0; c < results.cells; c++) {
            const sf_cell_info *x = &results.cell[c];
            const int p = decode ? SF_DECODE : SF_PREFILL;
            if (strcmp(x->label[p], arm) != 0 || strcmp(x->label[1 - p], "dense") != 0 || fabs(x->sparsity[p] - sparsity) > 0.02) continue;
            double mean = 0;
            for (int i = 0; i < results.records[c]; i++) mean += results.record[c][i].diverged[p].kl / results.records[c];
            sum += mean, seen++;
        }
        assert_int_equal(cells, seen);
        near(value, sum / seen, 1e-4, "divergence");
        rows++;
    }
    assert_true(rows > 4);
    free(csv);

    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < results.records[c]; i++)
            for (int p = 0; p < SF_PHASES; p++) results.record[c][i].diverged[p] = (sf_diverged)SF_NOT_DIVERGED;
    assert_error(sf_report(&results, &o), "needs divergence");
}

static void test_report_files(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.samples = 6;
    s.joint = s.ablation = s.maps = true;
    make_results(&s);
    /* Names that a shell, gnuplot, CSV, HTML or LaTeX could trip over. */
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].label[SF_DECODE], "quest(page=64)"))
            results.cell[c].label[SF_DECODE] = "quest(page=64, x='`touch /tmp/no`$%_&<b>\")";
    sf_report_options o = {.folder = report_folder(), .formats = "png"};
    OK(sf_report(&results, &o));
    int drawn = 0; /* of all but "forms", which needs more arms than there are here, and what is added that needs more */
    for (int i = 0; sf_figures[i]; i++) {
        char name[128];
        const char *own = sf_figures[i]->name, *of_one = "";
        snprintf(name, sizeof name, "report/figures/%s-mini-8m.csv", own);
        if (there(name)) of_one = "-mini-8m";
        snprintf(name, sizeof name, "report/figures/%s%s.csv", own, of_one);
        if (!there(name)) continue;
        drawn++;
        const char *const endings[] = {"csv", "gp", "png"};
        for (int e = 0; e < 3; e++) {
            snprintf(name, sizeof name, "report/figures/%s%s.%s", own, of_one, endings[e]);
            char *content = slurp(name);
            if (e == 0 && lines(content) < 2) fail_msg("%s has no rows", name);
            if (e == 2) assert_int_equal(memcmp(content, "\x89PNG", 4), 0);
            free(content);
        }
    }
    if (drawn < 20) fail_msg("%d figures are drawn, expected 20 or more", drawn);
    assert_false(there("report/figures/frontier.pdf"));
    o = (sf_report_options){.folder = report_folder(), .figures = "joint", .formats = "pdf,svg", .style = "slides"};
    OK(sf_report(&results, &o));
    assert_true(there("report/figures/joint.pdf") && there("report/figures/joint.svg"));
    char *csv = slurp("report/figures/frontier.csv");
    assert_int_equal(lines(csv), 1 + 2 * 2 * (1 + 2 * 3) + 2 * 2 * (1 + 3 * 3));
    /* Rows of a panel stand by cost. Costs within 1 % are one cost: no two scores of it are on the frontier. */
    double last_cost = 0, last_score = 0;
    int pairs = 0;
    for (char *line = strchr(csv, '\n') + 1; !strncmp(line, "prefill,1024", 12); line = strchr(line, '\n') + 1) {
        double cost, score;
        char on;
        assert_int_equal(sscanf(line, "prefill,1024,%*[^,],%*[^,],%*[^,],%*[^,],%lf,%lf,%*[^,],%*[^,],%*[^,],%*[^,],%c", &cost,
                                &score, &on),
                         3);
        if (on != '1') continue;
        if (last_cost && cost < 1.005 * last_cost && score != last_score)
            fail_msg("two points at cost %g on the frontier", cost);
        pairs++;
        last_cost = cost, last_score = score;
    }
    assert_true(pairs > 2);
    free(csv);
    const char *const tables[] = {"scores.csv", "scores.tex", "scores.md",  "tasks.csv", "tasks.tex",
                                  "tasks.md",   "limits.csv", "limits.tex", "limits.md",
                                  "budgets.csv", "budgets.tex", "budgets.md", "recall.csv", "recall.tex", "recall.md"};
    for (int i = 0; i < 15; i++) {
        char name[64];
        snprintf(name, sizeof name, "report/tables/%s", tables[i]);
        free(slurp(name));
    }
    char *tex = slurp("report/tables/scores.tex");
    assert_non_null(strstr(tex, "\\$\\%\\_\\&"));
    free(tex);
    char *page = slurp("report/index.html");
    assert_non_null(strstr(page, "data:image/png;base64,iVBORw0KGgo"));
    for (char *at = page; (at = strstr(at, ";base64,")); at++) { /* its data, then its caption */
        size_t data = strspn(at + 8, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
        assert_memory_equal(at + 8 + data, "\"><figcaption>", 14);
    }
    assert_non_null(strstr(page, "&lt;b&gt;"));
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "src=\"figures"));
    assert_null(strstr(page, "src=\"http"));
    assert_null(strstr(page, "href=\"http"));
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "@import"));
    assert_non_null(strstr(page, "name: synthetic"));
    free(page);
}

/* The first difference of two texts, or NULL. Numbers may differ by 1 in 100 000, as machines round. */
static const char *first_difference(const char *got, const char *want)
{
    const char *begin = got;
    while (*got && *want) {
        bool number = (isdigit((unsigned char)*got) || *got == '.') && (got == begin || !isalnum((unsigned char)got[-1]));
        char *got_end, *want_end;
        double x = number ? strtod(got, &got_end) : 0, y = number ? strtod(want, &want_end) : 0;
        if (number && got_end > got && want_end > want) {
            if (fabs(x - y) > 1e-5 * fabs(y) + 1e-9) return got;
            got = got_end, want = want_end;
        } else if (*got++ != *want++) {
            return got - 1;
        }
    }
    return *got || *want ? got : NULL;
}

/* A text as it was when somebody last looked at it: tests/golden/report/NAME. */
static void as_before(const char *name, const char *got)
{
    char path[256];
    snprintf(path, sizeof path, "tests/golden/report/%s", name);
    if (getenv("FRONTIER_GOLDEN")) return file_write(path, got, strlen(got));
    char *want = file_read(path, NULL);
    const char *at = first_difference(got, want);
    if (at) {
        while (at > got && at[-1] != '\n') at--;
        fail_msg("%s has another line %d than when it was last looked at: %.*s\nIf that is meant: FRONTIER_GOLDEN=write "
                 "build/tests/test_report_files, and look at what git diff says", name, 1 + (int)lines(got) - lines(at),
                 (int)strcspn(at, "\n"), at);
    }
    free(want);
}

/* A page's words: what lies in its script and style elements is looked at elsewhere. */
static void drop_scripts(char *page)
{
    static const char *const element[] = {"script", "style"};
    for (int i = 0; i < 2; i++) {
        char begin[16], end[16];
        snprintf(begin, sizeof begin, "<%s", element[i]);
        snprintf(end, sizeof end, "</%s>", element[i]);
        for (char *at = page; (at = strstr(at, begin));) {
            char *from = strchr(at, '>'), *to = strstr(at, end);
            assert_true(from && to);
            memmove(from + 1, to, strlen(to) + 1);
            at = from + 1;
        }
    }
}

/* What a report writes about results that never change: order, numbers, words, and what the figures' templates are told. */
static void whole_as_before(const char *which, const struct synthetic *what, int files, const char *const *file)
{
    make_results(what);
    sf_report_options o = {.folder = report_folder()};
    char name[128];
    setenv("FRONTIER_D3", "tests/synthetic_results.h", 1); /* any text, whether D3 is installed here or not */
    report_undrawn(&o);
    unsetenv("FRONTIER_D3");
    for (int i = 0; i < files; i++) {
        snprintf(name, sizeof name, "report/%s", file[i]);
        char *got = slurp(name), *template = strstr(got, "# Shared by all figures");
        if (template) *template = '\0';
        if (!strcmp(file[i], "index.html")) drop_scripts(got);
        snprintf(name, sizeof name, "%s/%s", which, file[i]);
        for (char *slash = strrchr(name, '/'); slash > strchr(name, '/'); slash = strrchr(name, '/')) *slash = '-';
        as_before(name, got);
        free(got);
    }
    char *got = table_of();
    snprintf(name, sizeof name, "%s/terminal.txt", which);
    as_before(name, got);
    free(got);
}

#define FIGURE(name)  "figures/" name ".csv", "figures/" name ".gp"
#define TABLE(name)   "tables/" name ".csv", "tables/" name ".md"
static void test_several_as_before(void **state)
{
    (void)state;
    static const char *const FILES[] = {
        FIGURE("frontier"), FIGURE("frontier_exact"), FIGURE("isotime"), FIGURE("tasks"), FIGURE("lengths"),
        FIGURE("lengths_absolute"), FIGURE("depth-mini-8m"), FIGURE("models"), FIGURE("ablation"), FIGURE("joint"),
        FIGURE("estimation"), FIGURE("recall"), FIGURE("heads-mini-8m"), FIGURE("cost"), "figures/patterns.gp",
        "figures/canvas.gp", "figures/heads-mini-30m.gp", TABLE("budgets"), TABLE("limits"), TABLE("recall"),
        TABLE("scores"), "tables/budgets.tex", "tables/findings.csv", "tables/fits.csv", "tables/tasks.md", "paper.tex", "index.html"};
    struct synthetic s = small;
    s.samples = 6, s.faults = 0.1;
    s.joint = s.ablation = s.maps = true;
    whole_as_before("several", &s, sizeof FILES / sizeof *FILES, FILES);
}

static void test_few_as_before(void **state)
{
    (void)state;
    static const char *const FILES[] = {
        FIGURE("frontier-1"), FIGURE("frontier-2"), FIGURE("tasks"), FIGURE("lengths"), FIGURE("cost"), FIGURE("estimation"),
        FIGURE("depth"), "figures/heads.gp", "figures/patterns.gp", "figures/recall.gp", TABLE("budgets"), TABLE("scores"), "tables/scores.tex",
        "tables/findings.csv", "paper.tex", "index.html"};
    const struct synthetic s = {.models = 1, .tasks = 4, .lengths = 5, .levels = 2, .samples = 30, .prefill = true,
                                .decode = true, .more = true, .maps = true, .gain = 2.5};
    whole_as_before("few", &s, sizeof FILES / sizeof *FILES, FILES);
}

/* Labels that other programs could take for markup, formulas or commands are text everywhere. */
static void test_hostile_labels(void **state)
{
    (void)state;
    static const char label[] = "=x^2 {v} a\\openout7 ~7B <i>|`b` #$%&_[c](d)";
    struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 2, .decode = true};
    make_results(&s);
    for (int c = 0; c < results.cells; c++) results.cell[c].model = label;
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "svg"};
    OK(sf_report(&results, &o));
    static const struct {
        const char *file, *holds, *lacks;
    } row[] = {
        {"report/tables/limits.tex",
         "=x\\textasciicircum{}2 \\{v\\} a\\textbackslash{}openout7 \\textasciitilde{}7B \\textless{}i\\textgreater{}"
         "\\textbar{}\\textasciigrave{}b\\textasciigrave{} \\#\\$\\%\\&\\_[c](d)", "a\\openout"},
        {"report/tables/limits.md", "=x^2 {v} a\\\\openout7 \\~7B &lt;i&gt;\\|\\`b\\` \\#\\$%&amp;\\_[c]\\(d)", "<i>"},
        {"report/tables/limits.csv", "\n'=x^2 {v} a\\openout7 ~7B <i>|`b` #$%&_[c](d),", "\n="},
        {"report/figures/tasks.csv", "mean over tasks", "\n="},
        {"report/index.html", "=x^2 {v} a\\openout7 ~7B &lt;i&gt;|`b` #$%&amp;_[c](d)", "<i>"}};
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        char *text = slurp(row[k].file);
        if (k != 3 && !strstr(text, row[k].holds)) fail_msg("%s lacks \"%s\":\n%.600s", row[k].file, row[k].holds, text);
        if (strstr(text, row[k].lacks)) fail_msg("%s holds \"%s\"", row[k].file, row[k].lacks);
        free(text);
    }
    static const char *const formula[] = {"=1", "+1", "-1", "@a", "\t1", "\r1"};
    for (int k = 0; k < 6; k++) { /* model output in an export, too */
        results.record[0][0].prediction = formula[k];
        char *text = NULL, want[16];
        FILE *f = open_memstream(&text, &(size_t){0});
        OK(sf_export(&results, SF_EXPORT_CSV, f));
        fclose(f);
        snprintf(want, sizeof want, k == 5 ? ",\"'%s\"," : ",'%s,", formula[k]);
        if (!strstr(text, want)) fail_msg("no %s", want);
        free(text);
    }
}

/* Bytes of labels and answers inside of a script: UTF-8 in its shortest form stays, the rest becomes U+FFFD byte by byte. */
static void test_script_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {{"a é अ 漢 🙂", "a é अ 漢 🙂"},
                {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"}, /* beside what is none */
                {"\xc1\x81", "\\ufffd\\ufffd"},
                {"\xe0\x9f\xbf", "\\ufffd\\ufffd\\ufffd"},
                {"\xf0\x8f\xbf\xbf", "\\ufffd\\ufffd\\ufffd\\ufffd"},
                {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
                {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
                {"\xe2\x80", "\\ufffd\\ufffd"},
                {"\xe2\x80\xa8|\xe2\x80\xa9|\xe2\x80\xaa", "\\u2028|\\u2029|\xe2\x80\xaa"},
                {"\"\\</&\n\x7f", "\\u0022\\u005c\\u003c/\\u0026\\u000a\\u007f"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *got = NULL, want[128];
        FILE *out = open_memstream(&got, &(size_t){0});
        sf_script_text(out, rows[i].text);
        fclose(out);
        snprintf(want, sizeof want, "\"%s\"", rows[i].want);
        assert_string_equal(got, want);
        free(got);
    }
}

/* A full disk is told whether a write notices it or the end. */
static void test_full_disk(void **state)
{
    (void)state;
    for (int buffered = 0; buffered < 2; buffered++) {
        sf_status status = SF_OK;
        FILE *f = fopen("/dev/full", "w");
        if (!buffered) setvbuf(f, NULL, _IONBF, 0);
        fputs("a table", f);
        assert_int_equal(ferror(f) != 0, !buffered);
        sf_report_close(f, "scores.csv", &status);
        assert_int_equal(status, SF_IO);
        assert_non_null(strstr(sf_error(), "scores.csv"));
    }
}

/* Names that look alike as file names are files of their own. */
static void test_file_labels(void **state)
{
    (void)state;
    static const char *const alike[] = {"a b", "a_b", "a/b", "a  b", "a__b", "a\\b"};
    char name[6][64];
    for (int i = 0; i < 6; i++) {
        sf_file_label(alike[i], name[i]);
        for (const char *at = name[i]; *at; at++) assert_true(isalnum((unsigned char)*at) || strchr("-_.", *at));
        for (int j = 0; j < i; j++) assert_string_not_equal(name[i], name[j]);
    }
    assert_string_equal(name[1], "a_b");
    char longer[2][200], shorter[2][64];
    for (int i = 0; i < 2; i++) {
        memset(longer[i], 'x', sizeof longer[i] - 1);
        longer[i][199] = 0, longer[i][198] = (char)('a' + i);
        sf_file_label(longer[i], shorter[i]);
    }
    assert_string_not_equal(shorter[0], shorter[1]);

    struct synthetic s = small;
    s.tasks = 1, s.lengths = 1, s.levels = 1, s.samples = 2;
    make_results(&s);
    for (int c = 0; c < results.cells; c++) results.cell[c].model = strcmp(results.cell[c].model, "mini-8m") ? "a b" : "a/b";
    sf_report_options o = {.folder = report_folder(), .figures = "depth", .formats = "svg"};
    OK(sf_report(&results, &o));
    char command[256];
    snprintf(command, sizeof command, "test $(ls '%s'/figures/depth-a_b-*.svg | wc -l) = 2", report_folder());
    assert_int_equal(system(command), 0);
}

/* One cell far off its budget, and known recall: a method above the oracle, one below random, the rest between. */
static void test_fidelity(void **state)
{
    (void)state;
    static const struct synthetic one = {
        .models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 3, .prefill = true, .decode = true, .maps = true};
    static float map[32][6 * 4];
    make_results(&one);
    int cells[] = {find_cell("niah", "vertical_slash", 0.5), find_cell("niah", "vertical_slash", 0.7),
                   find_cell("niah", "quest", 0.5), find_cell("niah", "quest", 0.7)};
    for (int c = 0; c < results.cells; c++) {
        sf_cell_info *x = &results.cell[c];
        bool bound = false;
        for (int p = 0; p < SF_PHASES; p++) {
            if (!strcmp(x->method[p], "block_sparse")) /* of a plug-in that this program has not loaded */
                x->method[p] = x->label[p] = "someones_bound", x->kind[p] = "oracle", bound = true;
            if (!strcmp(x->method[p], "snapkv")) x->kind[p] = "random", bound = true;
            for (int h = 0; h < 6 * 4; h++) map[c][h] = bound ? 0.75f : c == cells[1] ? 0.875f : c == cells[3] ? 0.25f : 0.75f;
            if (results.mean[c].recall[p]) results.mean[c].recall[p] = map[c];
        }
        for (int i = 0; i < 3; i++)
            for (int p = 0; p < SF_PHASES; p++) results.record[c][i].achieved[p] = x->sparsity[p];
    }
    results.record[cells[2]][1].achieved[SF_DECODE] = 0.47;

    sf_view v;
    OK(sf_view_make(&results, &v));
    OK(sf_report_fidelity(&v, folder));
    char *md = slurp("budgets.md"), *csv = slurp("budgets.csv");
    assert_non_null(strstr(md, "2 points off (1 of 8)"));
    assert_non_null(strstr(md, "| mini-8m | decode | quest | 1024 | 0.490\\* | 0.700 | -3.0 | 0.5 | 0.470 | 0.500 |\n"));
    assert_non_null(strstr(csv, "mini-8m,decode,quest,1024,0.5,3,0.49,0.47,0.5,-0.03"));
    assert_int_equal(lines(csv), 1 + 8);
    free(md), free(csv);
    md = slurp("recall.md"), csv = slurp("recall.csv");
    assert_non_null(strstr(md, "(1 of 4); -: below every random choice (1)"));
    assert_non_null(strstr(md, "| prefill | vertical\\_slash | 1024 | 0.750 | 0.875+ |\n"));
    assert_non_null(strstr(md, "| prefill | someones\\_bound = oracle | 1024 | 0.750 | 0.750 |\n"));
    assert_non_null(strstr(md, "| decode | quest | 1024 | 0.750 | 0.250- |\n"));
    assert_int_equal(lines(csv), 1 + 8);
    free(md), free(csv);
    md = slurp("divergence.csv"); /* the error of attention's outputs is its map's mean */
    for (int k = 0; k < 4; k++) {
        const int p = k / 2;
        const float *error = results.mean[cells[k]].error[p];
        double mean = 0;
        for (int h = 0; h < 6 * 4; h++) mean += (double)error[h] / (6 * 4);
        char row[96];
        snprintf(row, sizeof row, "mini-8m,niah,%s,%s,1024,%g,", p ? "decode" : "prefill", p ? "quest" : "vertical_slash", k % 2 ? 0.7 : 0.5);
        char *at = strstr(md, row);
        if (!at) fail_msg("no %s in\n%s", row, md);
        at = strchr(at, '\n');
        while (at[-1] != ',') at--;
        near(atof(at), mean, 1e-4, "error of attention's outputs");
    }
    free(md);
    sf_view_free(&v);
}

/* A level that a model lacks costs it that level's row, in figures and tables, and none behind it. */
static void test_holes(void **state)
{
    (void)state;
    const struct synthetic s = {.models = 2, .tasks = 1, .lengths = 1, .levels = 3, .samples = 3, .decode = true, .maps = true};
    make_results(&s);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].model, "mini-30m") && results.cell[c].sparsity[SF_DECODE] == 0.5) results.records[c] = 0;
    sf_report_options o = {.folder = report_folder(), .figures = "models", .formats = "png"};
    report_undrawn(&o);
    char *csv = slurp("report/figures/models.csv");
    if (lines(csv) != 1 + 2 * (4 + 3)) fail_msg("quest and snapkv, dense and three levels of one model, two of the other:\n%s", csv);
    free(csv);
    csv = slurp("report/tables/recall.csv");
    if (lines(csv) != 1 + 2 * (3 + 2)) fail_msg("quest and snapkv, three levels of one model, two of the other:\n%s", csv);
    free(csv);
}

/* Along the text: each stretch of a method's divergence, from the results of its own model and length. */
static void test_divergence_along(void **state)
{
    (void)state;
    const struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 2, .decode = true, .maps = true};
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "divergence_along", .formats = "png"};
    report_undrawn(&o);
    char *csv = slurp("report/figures/divergence_along.csv");
    const sf_profile *quest = results.mean[find_cell("niah", "quest", 0.5)].along[SF_DECODE];
    int rows = 0;
    for (char *rest = strchr(csv, '\n') + 1, *line; *(line = strsep(&rest, "\n"));) {
        double place, value;
        const char *at = strstr(line, ",quest,"); /* behind the panel's name */
        if (!at || sscanf(at, ",quest,%lf,%lf", &place, &value) != 2) continue;
        near(value, (double)quest->kl[(int)(place * SF_STRETCHES)], 1e-4, "divergence along the text");
        rows++;
    }
    assert_int_equal(rows, SF_STRETCHES);
    free(csv);
}

/* A figure of what choosing costs is made where a method chooses. */
static void test_estimation(void **state)
{
    (void)state;
    const struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 2, .decode = true};
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "estimation", .formats = "png"};
    report_undrawn(&o);
    assert_true(there("report/figures/estimation.csv"));
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < results.records[c]; i++)
            for (int p = 0; p < SF_PHASES; p++) results.record[c][i].meter.at[p][SF_ESTIMATION].flops = 0;
    assert_error(sf_report(&results, &o), "estimation needs a method that estimates");
}

/* Whatever is there, a page comes of it. */
static void test_partial_results(void **state)
{
    (void)state;
    const struct synthetic odd[] = {
        {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 1, .gain = 1}, /* one dense sample */
        {.models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 4, .prefill = true, .gain = 1}, /* one phase */
        {.models = 1, .tasks = 3, .lengths = 1, .samples = 2}, /* dense alone, of several groups of tasks */
        {.models = 1,
         .tasks = 2,
         .lengths = 2,
         .levels = 1,
         .samples = 3,
         .decode = true,
         .gain = 1,
         .faults = 1}}; /* all wrong */
    for (int i = 0; i < 4; i++) {
        make_results(&odd[i]);
        sf_report_options o = {.folder = report_folder(), .formats = "png", .figures = i % 2 ? "frontier,tasks" : "frontier"};
        OK(sf_report(&results, &o));
        char *page = slurp("report/index.html");
        assert_non_null(strstr(page, "Scores"));
        free(page);
    }
    /* Half of the cells are missing, at random: no dense for some, gaps in curves. */
    make_results(&small);
    for (int c = 0; c < results.cells; c++)
        if ((c * 7919) % 5 < 2) results.records[c] = 0;
    sf_report_options o = {.folder = report_folder(), .formats = "png", .figures = "frontier,tasks,lengths,models"};
    OK(sf_report(&results, &o));
}

static void test_report_errors(void **state)
{
    (void)state;
    const struct synthetic s = {
        .models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 4, .prefill = true, .gain = 1};
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "frontier,fronteer"};
    assert_error(sf_report(&results, &o), "there is no figure 'fronteer'; there are patterns, frontier");
    o = (sf_report_options){.folder = report_folder(), .formats = "gif"};
    assert_error(sf_report(&results, &o), "there is no format 'gif'; there are png, pdf, svg");
    o = (sf_report_options){.folder = report_folder(), .style = "poster"};
    assert_error(sf_report(&results, &o), "there is no style 'poster'");
    char path[128];
    snprintf(path, sizeof path, "%s/a-file", folder);
    fclose(fopen(path, "w"));
    o = (sf_report_options){.folder = path};
    assert_error(sf_report(&results, &o), "Not a directory");
    sf_results nothing = {0};
    o = (sf_report_options){.folder = report_folder()};
    assert_error(sf_report(&nothing, &o), "no results to report");

    char *search = strdup(getenv("PATH")); /* without gnuplot: an error that says so, and everything but pictures */
    setenv("PATH", "/nowhere", 1);
    o = (sf_report_options){.folder = report_folder(), .figures = "frontier"};
    assert_error(sf_report(&results, &o), "gnuplot is not installed");
    setenv("PATH", search, 1);
    free(search);
    assert_true(there("report/figures/frontier.csv") && there("report/tables/scores.csv") &&
                there("report/index.html"));
    assert_false(there("report/figures/frontier.png"));
    char *page = slurp("report/index.html");
    assert_non_null(strstr(page, "gnuplot is not installed"));
    free(page);
    setenv("FRONTIER_DATA", folder, 1); /* templates of one's own, which gnuplot does not understand */
    char command[256];
    snprintf(command, sizeof command, "cp -r plots '%s' && echo 'plot nonsense(' >> '%s/plots/frontier.gp'", folder, folder);
    assert_int_equal(system(command), 0);
    assert_error(sf_report(&results, &o), "gnuplot failed on");
    unsetenv("FRONTIER_DATA");

    /* A figure that was asked for, and cannot be: the others are made, and it is said. */
    o = (sf_report_options){.folder = report_folder(), .figures = "tasks,recall,lengths", .formats = "png"};
    assert_error(sf_report(&results, &o), "recall needs attention-mass recall (config: recall)");
    assert_error(sf_report(&results, &o), "lengths needs two lengths and a sparse method");
    assert_true(there("report/figures/tasks.png"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(test_tics),
        REPORT_TEST(test_curves_axes),
        REPORT_TEST(test_heads_tics),
        REPORT_TEST(test_legend),
        REPORT_TEST(test_frontier_names),
        REPORT_TEST(test_paper),
        REPORT_TEST(test_patterns),
        REPORT_TEST(test_depth),
        REPORT_TEST(test_divergence_figure),
        REPORT_TEST(test_report_files),
        REPORT_TEST(test_several_as_before),
        REPORT_TEST(test_few_as_before),
        REPORT_TEST(test_hostile_labels),
        REPORT_TEST(test_script_text),
        REPORT_TEST(test_full_disk),
        REPORT_TEST(test_file_labels),
        REPORT_TEST(test_fidelity),
        REPORT_TEST(test_holes),
        REPORT_TEST(test_divergence_along),
        REPORT_TEST(test_estimation),
        REPORT_TEST(test_partial_results),
        REPORT_TEST(test_report_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
