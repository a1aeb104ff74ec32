#include "harness/report/page.h"
#include "harness/report/escape.h"
#include "harness/report/fidelity.h"
#include "harness/report/figure.h"
#include "harness/report/interactive.h"
#include "harness/report/limits.h"
#include "harness/report/out.h"
#include "harness/report/points.h"
#include "harness/report/resample.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

static void text(FILE *out, const char *s) { sf_escape(out, SF_HTML, s); }

static void lines(FILE *out, const char *s, const char *end)
{
    for (; *s; s++)
        if (*s == '\n') fputs(end, out);
        else text(out, (char[]){*s, 0});
}

/* With what stands between backticks as code. */
static void prose(FILE *out, const char *s)
{
    for (bool code = false; *s; s++)
        if (*s == '`') fputs(code ? "</code>" : "<code>", out), code = !code;
        else text(out, (char[]){*s, 0});
}

static sf_status inline_image(FILE *out, const char *path)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    FILE *in = fopen(path, "rb");
    if (!in) return sf_fail(SF_IO, "cannot read %s: %s", path, strerror(errno));
    unsigned char block[3 * 1024];
    for (size_t n; (n = fread(block, 1, sizeof block, in)) > 0;)
        for (size_t i = 0; i < n; i += 3) {
            size_t left = n - i;
            unsigned bits =
                (unsigned)block[i] << 16 | (left > 1 ? (unsigned)block[i + 1] << 8 : 0) | (left > 2 ? block[i + 2] : 0);
            fputc(digit[bits >> 18], out);
            fputc(digit[bits >> 12 & 63], out);
            fputc(left > 1 ? digit[bits >> 6 & 63] : '=', out);
            fputc(left > 2 ? digit[bits & 63] : '=', out);
        }
    fclose(in);
    return SF_OK;
}

static void heading(FILE *out, const char *id, const char *title)
{
    fprintf(out, "<section id=%s aria-labelledby=%s-title><h2 id=%s-title>", id, id, id);
    text(out, title);
    fputs("</h2>\n", out);
}

static sf_status figures(FILE *out, const char *folder, int plots, const sf_made *made)
{
    const char *last = "";
    for (int i = 0; i < plots; i++) {
        if (strcmp(made[i].figure->title, last) != 0) {
            fputs("<h3>", out);
            text(out, last = made[i].figure->title);
            fputs("</h3>\n", out);
        }
        fputs("<figure>", out);
        if (made[i].drawn) {
            char path[4700];
            snprintf(path, sizeof path, "%s/figures/%s.png", folder, made[i].name);
            fputs("<img alt=\"", out);
            text(out, made[i].figure->title);
            fputs(": ", out);
            text(out, made[i].caption);
            fprintf(out, "\" width=%.0f src=\"data:image/png;base64,", made[i].width * 6);
            SF_TRY(inline_image(out, path));
            fputs("\">", out);
        }
        fputs("<figcaption>", out);
        text(out, made[i].caption);
        fprintf(out,
                " Numbers: <code>figures/%s.csv</code>; drawn by <code>figures/%s.gp</code>.</figcaption></figure>\n",
                made[i].name, made[i].name);
    }
    return SF_OK;
}

static void number(FILE *out, const char *format, double x)
{
    fprintf(out, "<td>%s</td>", isnan(x) ? "&ndash;" : SF_NUMBER(format, x));
}

static void interval(FILE *out, const char *format, double low, double high)
{
    if (isnan(low)) fputs("<td>&ndash;</td>", out);
    else fprintf(out, "<td>[%s, %s]</td>", SF_NUMBER(format, low), SF_NUMBER(format, high));
}

enum { ROWS = 1000 /* of a table that a browser is given to lay out */ };

static void scores(FILE *out, const sf_view *v)
{
    heading(out, "scores", "Scores");
    if (v->points > ROWS) {
        fprintf(out, "<p class=note>%d rows: <code>tables/scores.csv</code>. The charts list what is chosen there as a table, the leaderboard "
                     "sorts and finds.</p></section>\n", v->points);
        return;
    }
    fputs("<p class=note>Means over tasks of strict scores, with 95&nbsp;% intervals that hold from the first "
          "sample on: Bayesian bootstrap with one sample more, never seen, that is as bad (or good) as can be (Gaffke); samples "
          "drawn in pairs with dense. Difference to dense over the tasks that both have; p of a paired sign-flip test, "
          "Holm-corrected over all rows. Coloured: below dense, p&nbsp;&le;&nbsp;0.05.</p><div "
          "class=\"scroll tall\" tabindex=0 role=group aria-label=scores><table><thead><tr><th>model<th>tokens"
          "<th class=l>method<th>requested<th>prefill sparsity<th>decode "
          "sparsity<th>tasks<th>samples<th>score<th>95&nbsp;%"
          "<th>difference<th>95&nbsp;%<th>p (Holm)</tr></thead><tbody>\n",
          out);
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        char level[32], arm[SF_POINT_NAME];
        sf_point_level(v, p, level);
        sf_point_name(v, p, arm);
        fputs("<tr><td>", out);
        text(out, v->model[p->model].label);
        fprintf(out, "</td><td>%d</td><td class=l>", v->length[p->length]);
        text(out, arm);
        fprintf(out, "</td><td>%s</td>", p->arm ? level : "");
        number(out, "%.3f", p->achieved[SF_PREFILL]);
        number(out, "%.3f", p->achieved[SF_DECODE]);
        fprintf(out, "<td>%d</td><td>%d</td>", p->tasks, p->samples);
        number(out, "%.3f", p->score);
        interval(out, "%.3f", p->low, p->high);
        if (sf_verdict_loss(&p->verdict))
            fprintf(out, "<td class=loss>%+.3f</td>", p->verdict.difference);
        else
            number(out, "%+.3f", p->verdict.difference);
        interval(out, "%+.3f", p->verdict.low, p->verdict.high);
        number(out, "%.2g", p->verdict.p_holm);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div></section>\n", out);
}

/* ---- What it says ---- */

/* "about 340 samples a cell would decide": intervals shrink with the root of the samples. */
static void would_decide(FILE *out, const sf_finding *f)
{
    double aside = f->number > 0 ? f->number - f->low : f->high - f->number, needed = f->samples * pow(aside / f->number, 2);
    if (!f->samples || !(f->low <= 0 && f->high >= 0)) return;
    if (f->ceiling) {
        fputs(" More samples could only show a loss there: the smaller model leaves too little to win, which takes a harder task.", out);
        return;
    }
    if (!(needed < 1e6)) {
        fprintf(out, " Nothing differs here so far: %d samples a cell without a difference would exclude one above %g.",
                sf_pairs_needed(SF_MARGIN), SF_MARGIN);
        return;
    }
    if (needed > 100.0 * sf_pairs_needed(SF_MARGIN)) {
        fprintf(out, " The two are alike as far as this shows: to tell them apart would take about %.0e samples a cell.", needed);
        return;
    }
    double unit = pow(10, floor(log10(needed)) - 1);
    fprintf(out, " With %d samples a cell this is open; if the difference stays what it is, about %.0f would decide.", f->samples,
            ceil(needed / fmax(unit, 1)) * fmax(unit, 1));
}

static bool is_open(const sf_finding *f) { return strcmp(f->verdict, "not decided") == 0; }

static void verdict(FILE *out, const sf_finding *f)
{
    const bool open = is_open(f), which = strcmp(f->question, "method") == 0;
    fprintf(out, "<b class=\"verdict %s\">%s</b>: ", open ? "undecided" : f->verdict, open ? "not decided yet" : which ? "decided" : f->verdict);
    text(out, f->text);
    if (open) would_decide(out, f);
}

enum { ANSWERS = 8 }; /* to one question that stand open; more are folded under their count */

static bool asked(const sf_finding *f, const char *question) { return !f->detail && strcmp(f->question, question) == 0; }

static void conclusions(FILE *out, const sf_findings *findings)
{
    static const struct {
        const char *key, *asks;
    } question[] = {{"isoCost", "At equal cost, does a larger model made sparse beat a smaller dense one?"},
                    {"method", "Which method loses least?"},
                    {"length", "Does the relative error fall with length at equal sparsity?"}};
    bool any = false;
    heading(out, "findings", "What it says");
    for (int q = 0; q < 3; q++) {
        int n = 0, yes = 0, no = 0;
        for (int i = 0; i < findings->count; i++)
            if (asked(&findings->at[i], question[q].key))
                n++, yes += strcmp(findings->at[i].verdict, "yes") == 0, no += strcmp(findings->at[i].verdict, "no") == 0;
        if (!n) continue;
        any = true;
        fprintf(out, "<h3>%s</h3>", question[q].asks);
        if (n > ANSWERS)
            fprintf(out, "<p>Of %d: <b class=\"verdict yes\">yes</b> %d, <b class=\"verdict no\">no</b> %d, <b class=\"verdict "
                         "undecided\">not decided yet</b> %d.</p><details><summary>each of them</summary>", n, yes, no, n - yes - no);
        fputs("<ul>", out);
        for (int undecided = 0; undecided < 2; undecided++)
            for (int i = 0; i < findings->count; i++) {
                if (!asked(&findings->at[i], question[q].key) || is_open(&findings->at[i]) != undecided) continue;
                fputs("<li>", out);
                verdict(out, &findings->at[i]);
                fputs("</li>\n", out);
            }
        fputs(n > ANSWERS ? "</ul></details>\n" : "</ul>\n", out);
    }
    fputs(any ? "<p class=note>Intervals: 95&nbsp;%, as of the scores below. Scores between tested sparsities are interpolated "
                "linearly. All comparisons: <code>tables/findings.csv</code>.</p></section>\n"
              : "<p>Nothing is compared yet: that takes a sparse method beside dense, and two methods, lengths or models for "
                "each of the questions.</p></section>\n",
          out);
}

/* ---- What to distrust ---- */

static void doubts(FILE *out, const sf_warnings *warnings, const char *trouble)
{
    heading(out, "distrust", "What to distrust");
    if (!warnings->count && !*trouble)
        fputs("<p>Every gate holds: prompts, budgets, answers and pairing are as they should be. Small samples are said with each "
              "interval.</p>\n",
              out);
    if (*trouble) {
        fputs("<div class=warning><p>No figures: ", out);
        text(out, trouble);
        fputs("</p></div>\n", out);
    }
    for (int topic = 0; topic < SF_TOPICS; topic++) {
        bool begun = false;
        for (int i = 0; i < warnings->count; i++) {
            const sf_warning *w = &warnings->at[i];
            if ((int)w->topic != topic) continue;
            if (!begun) fprintf(out, "<h3>%s</h3>\n", sf_topic_names[topic]);
            begun = true;
            fputs("<div class=warning><p>", out);
            prose(out, w->text);
            fputs("</p>", out);
            if (w->cells) {
                fputs("<details><summary>every cell, the worst first</summary><div class=\"scroll tall\" tabindex=0 role=group "
                      "aria-label=cells>", out);
                lines(out, w->cells, "<br>");
                fputs("</div></details>", out);
            }
            fputs("<p class=todo>To do: ", out);
            prose(out, w->todo);
            fputs(".</p></div>\n", out);
        }
    }
    fputs("</section>\n", out);
}

/* ---- Scaling fit ---- */

static void fits(FILE *out, const sf_view *v)
{
    bool begun = false;
    for (int a = 1; a < v->arms; a++) {
        sf_fit fit;
        if (sf_arm_joint(&v->arm[a]) || sf_scaling_fit(v, a, &fit) != SF_OK || !fit.cells) continue;
        if (!begun)
            fputs("<h3>Scaling fit</h3><p class=note>logit(score) = a + b&nbsp;ln(parameters) + c&nbsp;ln(tokens) + "
                  "d&nbsp;ln(1&nbsp;&minus;&nbsp;sparsity), least squares over the means of each model, length and sparsity, dense "
                  "included; RMS error of scores in the fit, and of settings (model, length) that were held out of it.</p><div "
                  "class=scroll tabindex=0 role=group aria-label=\"scaling fit\"><table><thead><tr><th>method<th>points"
                  "<th>a<th>b<th>c<th>d<th>error<th>held out</tr></thead><tbody>\n",
                  out);
        begun = true;
        fputs("<tr><td>", out);
        text(out, v->arm[a].label);
        fprintf(out, "</td><td>%d</td>", fit.cells);
        for (int k = 0; k < 4; k++) number(out, "%.3f", fit.coefficient[k]);
        number(out, "%.3f", fit.residual);
        number(out, "%.3f", fit.held_out);
        fputs("</tr>\n", out);
    }
    if (begun) fputs("</tbody></table></div>\n", out);
}

/* ---- What was run ---- */

static void list_models(FILE *out, const sf_view *v)
{
    fprintf(out, "<li>%d model%s: ", v->models, v->models == 1 ? "" : "s");
    for (int m = 0; m < v->models; m++) {
        const char *prefix;
        double parameters = v->model[m].parameters, scale = sf_si_scale(parameters, &prefix);
        fputs(m ? ", " : "", out);
        text(out, v->model[m].label);
        if (parameters > 0) fprintf(out, " (%.3g%s parameters)", parameters / scale, prefix);
    }
    fputs("</li>\n", out);
}

static void list_tasks(FILE *out, const sf_view *v)
{
    fprintf(out, "<li>%d task%s: ", v->tasks, v->tasks == 1 ? "" : "s");
    for (int t = 0; t < v->tasks; t++) {
        const sf_view_task *task = &v->task[t];
        fputs(t ? ", " : "", out), text(out, task->label);
        fprintf(out, " (%s%s%s)", task->dispersion ? "multi-hop" : "", task->dispersion && task->scope ? ", " : "",
                task->scope ? "aggregation" : task->dispersion ? "" : "retrieval");
    }
    fprintf(out, "</li>\n<li>%d length%s: ", v->lengths, v->lengths == 1 ? "" : "s");
    for (int l = 0; l < v->lengths; l++) fprintf(out, "%s%d", l ? ", " : "", v->length[l]);
    fputs(" tokens</li>\n", out);
}

/* Methods by the phase that they make sparse, and the sparsities that they were asked for. */
static void list_methods(FILE *out, const sf_view *v)
{
    static const char *const phase[] = {"in prefill", "in decode", "in both phases"};
    for (int kind = 0; kind < 3; kind++) {
        int n = 0;
        for (int a = 1; a < v->arms; a++) n += (sf_arm_joint(&v->arm[a]) ? 2 : v->arm[a].sparse[SF_DECODE]) == kind;
        if (!n) continue;
        fprintf(out, "<li>%d method%s %s: ", n, n == 1 ? "" : "s", phase[kind]);
        for (int a = 1, k = 0; a < v->arms; a++)
            if ((sf_arm_joint(&v->arm[a]) ? 2 : v->arm[a].sparse[SF_DECODE]) == kind) fputs(k++ ? ", " : "", out), text(out, v->arm[a].label);
        fputs("</li>\n", out);
    }
    double level[SF_LEVELS];
    int levels = sf_view_levels(v, level);
    if (!levels) return;
    fprintf(out, "<li>%d sparsit%s asked for: ", levels, levels == 1 ? "y" : "ies");
    for (int l = 0; l < levels; l++) fprintf(out, "%s%g", l ? ", " : "", level[l]);
    fputs("</li>\n", out);
}

static bool same_variant(const sf_point *a, const sf_point *b)
{
    return a->arm == b->arm && (a->sparsity[0] == b->sparsity[0] || (isnan(a->sparsity[0]) && isnan(b->sparsity[0]))) &&
           (a->sparsity[1] == b->sparsity[1] || (isnan(a->sparsity[1]) && isnan(b->sparsity[1])));
}

/* Cells that a full grid of what was run anywhere would have, and these results lack. */
static int cells_missing(const sf_view *v)
{
    int variants = 0, there = 0;
    for (int i = 0; i < v->points; i++) {
        bool first = true;
        for (int j = 0; j < i && first; j++) first = !same_variant(&v->point[i], &v->point[j]);
        variants += first;
        there += v->point[i].tasks;
    }
    return variants * v->models * v->lengths * v->tasks - there;
}

static void what_was_run(FILE *out, const sf_view *v, const sf_settings *settings)
{
    const sf_results *r = v->results;
    int samples = 0, fewest = 0, most = 0, there = 0;
    for (int c = 0; c < r->cells; c++) {
        samples += r->records[c];
        if (!r->records[c]) continue;
        there++;
        if (!fewest || r->records[c] < fewest) fewest = r->records[c];
        if (r->records[c] > most) most = r->records[c];
    }
    heading(out, "run", "What was run");
    fputs("<ul>\n", out);
    list_models(out, v);
    list_tasks(out, v);
    list_methods(out, v);
    fprintf(out, "<li>%d cells (each of one model, length, task and method at one sparsity; dense is one, too), %d samples: ", there, samples);
    if (fewest == most) fprintf(out, "%d a cell", most);
    else fprintf(out, "%d to %d a cell", fewest, most);
    if (v->until > 0) fprintf(out, ", <a href=\"#distrust\">until what they say was known within %g</a>", v->until);
    if (r->cells) fputs("; ", out), text(out, r->cell[0].device), fputs(", computing in ", out), text(out, r->cell[0].dtype);
    const int missing = cells_missing(v);
    if (missing) fprintf(out, "; <b>%d cells of the full grid are missing</b>: means of such points are over fewer tasks; the same <code>frontier run</code> goes on with them", missing);
    if (r->runs && isnan(r->run[r->runs - 1].seconds)) fputs("; <b>the last run is not finished</b>", out);
    fputs("</li></ul>\n", out);
    if (r->failures) fprintf(out, "<p class=warning>%d cells failed: <a href=\"#distrust\">why</a>.</p>\n", r->failures);
    for (int g = 1; settings && g < settings->groups; g++) {
        const sf_settings_group *other = &settings->group[g];
        char name[64];
        sf_file_label(other->name, name);
        fprintf(out, "<p class=note>Not compared with these: %d cells, %d samples with other settings (", other->cells,
                other->samples);
        text(out, other->name);
        fprintf(out, "), <a href=\"settings-%s/index.html\">a report of their own</a>.</p>\n", name);
    }
    fputs("</section>\n", out);
}

/* The JSON of `frontier version` as words: "hdf5 1.10.8; backends cpu, reference". */
static void versions(FILE *out, const char *json)
{
    json_t *all = json_loads(json, 0, NULL), *value, *one;
    const char *key;
    int n = 0;
    size_t i;
    json_object_foreach(all, key, value)
    {
        fputs(n++ ? "; " : "", out);
        text(out, key);
        fputc(' ', out);
        if (json_is_string(value)) text(out, json_string_value(value));
        json_array_foreach(value, i, one) fputs(i ? ", " : "", out), text(out, json_is_string(one) ? json_string_value(one) : "");
    }
    if (!n) text(out, json);
    json_decref(all);
}

static void provenance(FILE *out, const sf_view *v)
{
    const sf_results *r = v->results;
    heading(out, "provenance", "Provenance");
    if (!r->runs) fputs("<p>No run is noted in these results.</p>", out);
    for (int i = 0; i < r->runs; i++) {
        const sf_run_info *run = &r->run[i];
        fputs("<p>", out);
        text(out, run->started);
        fputs(" on ", out);
        text(out, run->host);
        fputs(", frontier ", out);
        text(out, run->revision);
        if (isnan(run->seconds))
            fputs(", not finished", out);
        else
            fprintf(out, ", %.0f s", run->seconds);
        fputs(". ", out);
        fputs("</p><details><summary>versions</summary><p>", out);
        versions(out, run->versions);
        fputs("</p></details><details><summary>config</summary><pre>", out);
        lines(out, run->config, "\n");
        fputs("</pre></details>\n", out);
    }
    fputs("<div class=scroll tabindex=0 role=group aria-label=models><table><thead><tr><th>model<th class=l>hash<th>layers<th>heads<th>kv heads<th>head "
          "dim<th>parameters"
          "<th class=l>device<th class=l>dtype<th>seed</tr></thead><tbody>\n",
          out);
    for (int m = 0; m < v->models; m++) {
        const sf_cell_info *c = v->model[m].shape;
        fputs("<tr><td>", out);
        text(out, v->model[m].label);
        fputs("</td><td class=l>", out);
        text(out, c->model_hash);
        fprintf(out, "</td><td>%d</td><td>%d</td><td>%d</td><td>%d</td><td>%.4g</td><td class=l>", c->layers, c->heads,
                c->kv_heads, c->head_dim, c->parameters);
        text(out, c->device);
        fputs("</td><td class=l>", out);
        text(out, c->dtype);
        fprintf(out, "</td><td>%llu</td></tr>\n", (unsigned long long)c->seed);
    }
    fputs("</tbody></table></div></section>\n", out);
}

static void contents(FILE *out)
{
    static const char *const entry[][2] = {{"run", "What was run"},   {"findings", "What it says"}, {"distrust", "What to distrust"},
                                           {"charts", "Charts"},      {"leaderboard", "Leaderboard"}, {"samples", "Samples"}, {"scores", "Scores"},
                                           {"figures", "Figures"},
                                           {"fidelity", "Budgets, recall, divergence"}, {"provenance", "Provenance"}};
    fputs("<nav aria-label=Contents><ol>", out);
    for (size_t i = 0; i < sizeof entry / sizeof *entry; i++)
        fprintf(out, "<li><a href=\"#%s\">%s</a></li>", entry[i][0], entry[i][1]);
    fputs("</ol></nav>\n", out);
}

sf_status sf_report_page(const sf_view *v, uint64_t seed, const sf_report_options *options, const char *folder, int plots, const sf_made *made,
                         const sf_warnings *warnings, const sf_findings *findings, const sf_settings *settings,
                         const char *trouble)
{
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "index", ".html", &status);
    if (!out) return status;
    fputs("<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width, "
          "initial-scale=1\"><title>Sparse attention report</title>\n",
          out);
    sf_interactive_style(out);
    fputs("</head><body>\n<header><h1>Sparse attention report</h1></header>\n", out);
    contents(out);
    fputs("<main>\n", out);
    what_was_run(out, v, settings);
    conclusions(out, findings);
    doubts(out, warnings, trouble);
    heading(out, "charts", "Charts");
    sf_interactive_section(out);
    fputs("</section>\n", out);
    heading(out, "leaderboard", "Leaderboard");
    sf_interactive_leaderboard(out);
    fputs("</section>\n", out);
    heading(out, "samples", "Samples");
    sf_interactive_samples(out);
    fputs("</section>\n", out);
    scores(out, v);
    heading(out, "figures", "Figures");
    fputs("<p class=note>For papers and slides; also as PDF in <code>figures/</code>.</p>\n", out);
    status = figures(out, folder, plots, made);
    fputs("</section>\n", out);
    heading(out, "fidelity", "Budgets, recall, divergence");
    if (v->points > ROWS)
        fputs("<p class=note><code>tables/budgets.csv</code>, <code>tables/recall.csv</code>, <code>tables/divergence.csv</code>.</p>\n", out);
    else
        sf_report_fidelity_html(v, out);
    fits(out, v);
    fputs("<p class=note>Tables for papers: <code>tables/</code> (scores, tasks, limits, budgets, recall, divergence; CSV, LaTeX, "
          "Markdown). <code>paper.tex</code> is a document with two figures and a table.</p></section>\n",
          out);
    provenance(out, v);
    fputs("</main>\n", out);
    if (status == SF_OK) status = sf_interactive_scripts(v, seed, options, folder, out);
    fputs("</body></html>\n", out);
    sf_report_close(out, "index.html", &status);
    return status;
}
