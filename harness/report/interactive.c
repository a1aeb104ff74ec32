#include "harness/report/interactive.h"
#include "base/embed.h"
#include "harness/report/dataset.h"
#include "harness/report/out.h"
#include "harness/report/samples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The page's own files, which the program carries. */
SF_EMBED(page_style, "harness/report/page/page.css");
SF_EMBED(page_elements, "harness/report/page/elements.js");
SF_EMBED(page_state, "harness/report/page/state.js");
SF_EMBED(page_dataset, "harness/report/page/dataset.js");
SF_EMBED(page_marks, "harness/report/page/marks.js");
SF_EMBED(page_chart, "harness/report/page/chart.js");
SF_EMBED(page_explore, "harness/report/page/explore.js");
SF_EMBED(page_leaderboard, "harness/report/page/leaderboard.js");
SF_EMBED(page_samples, "harness/report/page/samples.js");
SF_EMBED(page_main, "harness/report/page/main.js");
SF_EMBED(d3_license, "harness/report/page/d3-license.txt");

static const char *const scripts[] = {page_elements, page_state, page_dataset, page_marks, page_chart, page_explore,
                                      page_leaderboard, page_samples, page_main};

const char *sf_interactive_library(void)
{
    const char *own = getenv("FRONTIER_D3"), *path = own ? own : "/usr/share/javascript/d3/d3.min.js";
    return access(path, R_OK) == 0 ? path : NULL;
}

void sf_interactive_style(FILE *out)
{
    fputs("<style>\n", out);
    fputs(page_style, out);
    fputs("</style>\n", out);
}

void sf_interactive_section(FILE *out)
{
    if (!sf_interactive_library()) {
        fputs("<p class=note>Charts that can be asked (choose methods, tasks, lengths, cost models; see each point's numbers) are "
              "drawn with D3, which is not installed here: <code>apt-get install libjs-d3</code>, then make this report again. The "
              "figures below show the same results.</p>\n",
              out);
        return;
    }
    fputs("<noscript><p class=warning>The charts need JavaScript; the figures and tables below do not.</p></noscript>\n"
          "<div id=controls></div>\n<p class=note id=chart-note aria-live=polite></p>\n<div class=panels id=panels></div>\n"
          "<div id=chosen role=region aria-label=\"point that was chosen\"></div>\n"
          "<details id=chart-table><summary>These points as a table</summary><div class=\"scroll tall\" tabindex=0 role=group "
          "aria-label=\"points as a table\"></div></details>\n",
          out);
}

void sf_interactive_leaderboard(FILE *out)
{
    if (!sf_interactive_library())
        fputs("<p class=note><code>tables/leaderboard.md</code>; with <code>libjs-d3</code> it can be sorted and filtered here.</p>\n", out);
    else
        fputs("<div id=board></div>\n", out);
}

void sf_interactive_samples(FILE *out)
{
    if (!sf_interactive_library())
        fputs("<p class=note><code>frontier show RESULTS.h5</code> prints single samples; with <code>libjs-d3</code> this page lists "
              "them.</p>\n",
              out);
    else
        fputs("<div id=sample-list></div>\n<article id=sample aria-live=off></article>\n", out);
}

/* A script of a library may hold what would end its element; as a string or in a pattern, "<\/" is the same. */
static sf_status library(FILE *out, const char *path)
{
    char *text = NULL;
    size_t room = 0;
    FILE *in = fopen(path, "rb");
    ssize_t n = in ? getdelim(&text, &room, '\0', in) : -1;
    if (in) fclose(in);
    if (n < 0) {
        free(text);
        return sf_fail(SF_IO, "cannot read %s: %s", path, strerror(errno));
    }
    fprintf(out, "<script>\n/*!\n%s*/\n", d3_license);
    for (const char *at = text; *at; at++) fputs(strncmp(at, "</", 2) == 0 ? at++, "<\\/" : (char[]){*at, 0}, out);
    fputs("\n</script>\n", out);
    free(text);
    return SF_OK;
}

static sf_status config_beside(const char *folder, const char *config)
{
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "config", ".yaml", &status);
    if (out) fputs(config, out);
    sf_report_close(out, "config.yaml", &status);
    return status;
}

sf_status sf_interactive_scripts(const sf_view *v, uint64_t seed, const sf_report_options *options, const char *folder, FILE *out)
{
    const char *d3 = sf_interactive_library();
    const sf_results *r = v->results;
    if (!d3) return SF_OK;
    SF_TRY(library(out, d3));
    if (r->runs && r->run[r->runs - 1].config) SF_TRY(config_beside(folder, r->run[r->runs - 1].config));
    fputs("<script type=\"application/json\" id=data>\n", out);
    SF_TRY(sf_report_dataset(v, seed, out));
    fputs("</script>\n", out);
    SF_TRY(sf_samples_write(v, options, folder, out));
    fputs("<script>\n(function () {\n\"use strict\";\n", out);
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) fputs(scripts[i], out);
    fputs("})();\n</script>\n", out);
    return SF_OK;
}
