/* What the tests of the report share: a folder and results for each test, what was written, values of tables. */
#ifndef SF_TESTS_REPORT_WORLD_H
#define SF_TESTS_REPORT_WORLD_H

#include <fcntl.h>
#include <math.h>

#include "harness/report/report.h"
#include "tests/synthetic_results.h"
#include "tests/testing.h"

static char folder[64]; /* of each test */
static sf_results results;

static inline int make_folder(void **state) { return (void)state, folder_make(folder); }
static inline int clear_folder(void **state)
{
    (void)state;
    sf_results_free(&results);
    return folder_remove(folder);
}

static const struct synthetic small = {
    .models = 2, .tasks = 3, .lengths = 2, .levels = 3, .samples = 12, .prefill = true, .decode = true, .gain = 1};

static inline void make_results(const struct synthetic *s)
{
    sf_results_free(&results);
    OK(synthetic_make(s, &results));
}

static inline char *slurp(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return file_read(path, NULL);
}

static inline bool there(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static inline const char *report_folder(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/report", folder);
    return path;
}

static inline int lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static inline void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

__attribute__((noinline, unused)) /* inlined, gcc 12 takes the text for its own variable's, and calls it dangling */
static char *table_of(void)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    sf_report_table(&results, f);
    fclose(f);
    return text;
}

static inline int find_cell(const char *task, const char *label, double sparsity)
{
    for (int c = 0; c < results.cells; c++) {
        const sf_cell_info *x = &results.cell[c];
        for (int p = 0; p < SF_PHASES; p++)
            if (!strcmp(x->model, "mini-8m") && !strcmp(x->task, task) && !strcmp(x->label[p], label) &&
                fabs(x->sparsity[p] - sparsity) < 1e-9 && (strcmp(label, "dense") || !strcmp(x->label[!p], "dense")))
                return c;
    }
    fail_msg("no cell %s %s %g", task, label, sparsity);
    return -1;
}

/* Reports without drawing, which takes most of the time: numbers, words, and what the templates are told. test_report_files
 * draws all figures. */
static inline void report_undrawn(sf_report_options *o)
{
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "", 1);
    assert_error(sf_report(&results, o), "gnuplot");
    setenv("PATH", path, 1);
    free(path);
}

#define REPORT_TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, clear_folder)

#endif
