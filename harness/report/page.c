#include "harness/report/page.h"
#include "harness/report/escape.h"
#include "harness/report/fidelity.h"
#include "harness/report/out.h"
#include "harness/report/resample.h"

#include <errno.h>
#include <stdlib.h>

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1080px;margin:2em auto;padding:0 1.2em}"
    "h1{font-size:1.5em;margin-bottom:0}h2{font-size:1.15em;margin-top:2.2em;border-bottom:1px solid #ddd}"
    "figure{margin:1.5em 0}figure img{max-width:100%;border:1px solid #eee}"
    "figcaption,.note{color:#555;font-size:.88em;max-width:52em}"
    ".warning{background:#fff4e0;border-left:4px solid #e69f00;padding:.4em .8em;margin:.5em 0;font-size:.92em}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85em;font-variant-numeric:tabular-nums}"
    "th,td{padding:.15em "
    ".7em;text-align:right;white-space:nowrap}th:first-child,td:first-child,td.l,th.l{text-align:left}"
    "thead th{border-bottom:1.5px solid #222}tbody tr:hover{background:#f4f8fb}td.loss{color:#d55e00}"
    "h3{font-size:1em;margin:1.4em 0 .3em}ul{margin:.2em "
    "0;padding-left:1.2em}.verdict{color:#0072b2;font-weight:600;white-space:nowrap}"
    "pre{background:#f6f6f6;padding:.8em;overflow-x:auto;font-size:.82em}a{color:#0072b2}";

static void text(FILE *out, const char *s) { sf_escape(out, SF_HTML, s); }

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

static sf_status figures(FILE *out, const char *folder, int plots, const sf_made *made)
{
    const char *last = "";
    for (int i = 0; i < plots; i++) {
        if (strcmp(made[i].figure->title, last) != 0) {
            fputs("<h2>", out);
            text(out, last = made[i].figure->title);
            fputs("</h2>\n", out);
        }
        fputs("<figure>", out);
        if (made[i].drawn) {
            char path[4700];
            snprintf(path, sizeof path, "%s/figures/%s.png", folder, made[i].name);
            fprintf(out, "<img alt=\"%s\" style=\"width:%.0fpx\" src=\"data:image/png;base64,", made[i].name,
                    made[i].width * 6);
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
    fputs("<td>", out);
    if (isnan(x))
        fputs("&ndash;", out);
    else
        fprintf(out, format, x);
    fputs("</td>", out);
}

static void interval(FILE *out, const char *format, double low, double high)
{
    if (isnan(low))
        fputs("<td>&ndash;</td>", out);
    else {
        fputs("<td>[", out);
        fprintf(out, format, low);
        fputs(", ", out);
        fprintf(out, format, high);
        fputs("]</td>", out);
    }
}

static void scores(FILE *out, const sf_view *v)
{
    fputs("<h2>Scores</h2><p class=note>Means over tasks of strict scores, with 95&nbsp;% intervals that hold from the first "
          "sample on: Bayesian bootstrap with one sample more, never seen, that is as bad (or good) as can be (Gaffke); samples "
          "drawn in pairs with dense. Difference to dense over the tasks that both have; p of a paired sign-flip test, "
          "Holm-corrected over all rows. Coloured: below dense, p&nbsp;&le;&nbsp;0.05.</p><div "
          "class=scroll><table><thead><tr><th>model<th>tokens"
          "<th class=l>method<th>requested<th>prefill sparsity<th>decode "
          "sparsity<th>tasks<th>samples<th>score<th>95&nbsp;%"
          "<th>difference<th>95&nbsp;%<th>p (Holm)</tr></thead><tbody>\n",
          out);
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        char level[32];
        sf_point_level(v, p, level);
        fputs("<tr><td>", out);
        text(out, v->model[p->model].label);
        fprintf(out, "</td><td>%d</td><td class=l>", v->length[p->length]);
        text(out, v->arm[p->arm].label);
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
    fputs("</tbody></table></div>\n", out);
}

static void conclusions(FILE *out, const sf_view *v, const sf_findings *findings)
{
    static const struct {
        const char *key, *asks;
    } question[] = {{"isoCost", "At equal cost, does a larger model made sparse beat a smaller dense one?"},
                    {"method", "Which method loses least?"},
                    {"length", "Does the relative error fall with length at equal sparsity?"}};
    for (int q = 0; q < 3; q++) {
        bool begun = false;
        for (int i = 0; i < findings->count; i++) {
            const sf_finding *f = &findings->at[i];
            if (f->detail || strcmp(f->question, question[q].key) != 0) continue;
            if (!begun) fprintf(out, "%s<h3>%s</h3><ul>", q ? "" : "<h2>Findings</h2>", question[q].asks);
            begun = true;
            fputs("<li>", out);
            text(out, f->text);
            fprintf(out, " <b class=verdict>%s</b></li>\n", f->verdict);
        }
        if (begun) fputs("</ul>\n", out);
    }
    fputs("<p class=note>Intervals: 95&nbsp;%, as of the scores below. Scores between tested "
          "sparsities are "
          "interpolated linearly. All comparisons: <code>tables/findings.csv</code>.</p>\n",
          out);
    bool begun = false;
    for (int a = 1; a < v->arms; a++) {
        sf_fit fit;
        if (sf_arm_joint(&v->arm[a]) || sf_scaling_fit(v, a, &fit) != SF_OK || !fit.cells) continue;
        if (!begun)
            fputs("<h3>Scaling fit</h3><p class=note>logit(score) = a + b&nbsp;ln(parameters) + c&nbsp;ln(tokens) + "
                  "d&nbsp;ln(1&nbsp;&minus;&nbsp;"
                  "sparsity), least squares over the means of each model, length and sparsity, dense included; RMS "
                  "error of scores in the "
                  "fit, and of settings (model, length) that were held out of it.</p><div "
                  "class=scroll><table><thead><tr><th>method<th>points"
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

static void provenance(FILE *out, const sf_view *v)
{
    const sf_results *r = v->results;
    fputs("<h2>Provenance</h2>\n", out);
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
        text(out, run->versions);
        fputs("</p><details><summary>config</summary><pre>", out);
        text(out, run->config);
        fputs("</pre></details>\n", out);
    }
    fputs("<div class=scroll><table><thead><tr><th>model<th class=l>hash<th>layers<th>heads<th>kv heads<th>head "
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
    fputs("</tbody></table></div>\n", out);
}

sf_status sf_report_page(const sf_view *v, const char *folder, int plots, const sf_made *made,
                         const sf_warnings *warnings, const sf_findings *findings, const sf_settings *settings,
                         const char *trouble)
{
    sf_status status = SF_OK;
    int samples = 0;
    for (int c = 0; c < v->results->cells; c++) samples += v->results->records[c];
    FILE *out = sf_report_open(folder, "index", ".html", &status);
    if (!out) return status;
    fprintf(out,
            "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
            "<title>Sparse attention report</title><style>%s</style></head><body>\n<h1>Sparse attention report</h1>\n",
            style);
    fprintf(out, "<p class=note>%d model%s, %d task%s, %d length%s, %d method arm%s, %d cells, %d samples.</p>\n",
            v->models, v->models == 1 ? "" : "s", v->tasks, v->tasks == 1 ? "" : "s", v->lengths,
            v->lengths == 1 ? "" : "s", v->arms - 1, v->arms == 2 ? "" : "s", v->results->cells, samples);
    if (*trouble) {
        fputs("<div class=warning>No figures: ", out);
        text(out, trouble);
        fputs("</div>\n", out);
    }
    for (int i = 0; i < warnings->count; i++) {
        fputs("<div class=warning>", out);
        text(out, warnings->text[i]);
        fputs("</div>\n", out);
    }
    for (int g = 1; settings && g < settings->groups; g++) {
        const sf_settings_group *other = &settings->group[g];
        char name[64];
        sf_file_label(other->name, name);
        fprintf(out, "<p class=note>Not compared with these: %d cells, %d samples with other settings (", other->cells,
                other->samples);
        text(out, other->name);
        fprintf(out, "), <a href=\"settings-%s/index.html\">a report of their own</a>.</p>\n", name);
    }
    conclusions(out, v, findings);
    status = figures(out, folder, plots, made);
    scores(out, v);
    sf_report_fidelity_html(v, out);
    fputs("<p class=note>Tables for papers: <code>tables/</code> (scores, tasks, limits, budgets, recall; CSV, LaTeX, "
          "Markdown). <code>paper.tex</code> is a document with two figures and a table.</p>\n",
          out);
    provenance(out, v);
    fputs("</body></html>\n", out);
    sf_report_close(out, "index.html", &status);
    return status;
}
