/* Numbers as reports write them. */
#include "harness/report/out.h"
#include "tests/testing.h"

#include <math.h>
#include <stdlib.h>

static void test_signs(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        double value;
        const char *text;
    } row[] = {
        {"%.1f", -0.0, "0.0"},     {"%.1f", -0.04, "0.0"},     {"%.1f", -0.06, "-0.1"}, {"%+.3f", 0, "0.000"},
        {"%+.3f", -4e-4, "0.000"}, {"%+.3f", 6e-4, "+0.001"},  {"%.6g", -0.0, "0"},     {"%.6g", -1e-300, "-1e-300"},
        {"%.1f", -10, "-10.0"},    {"%g", -INFINITY, "-inf"},  {"%.2g", -0.0, "0"},     {"%.2f", NAN, "--"},
        {"%.2e", -0.0, "0.00e+00"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) assert_string_equal(SF_NUMBER(row[i].format, row[i].value), row[i].text);
}

/* A row of a CSV file, and a JSON number: a loss of exactly nothing, -0 / dense, is 0. */
static void test_zero_in_files(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    sf_csv_row(out, "fff", -0.0, NAN, -0.25);
    sf_script_number(out, -0.0), fputc(' ', out), sf_script_exact(out, -0.0);
    fclose(out);
    assert_string_equal(text, "0,,-0.25\n0 0");
    free(text);
}

static double written(double value, char text[64])
{
    FILE *out = fmemopen(text, 64, "w");
    sf_script_exact(out, value);
    fclose(out);
    return strtod(text, NULL);
}

static void test_exact(void **state)
{
    (void)state;
    char text[64];
    srand48(7);
    for (int i = 0; i < 10000; i++) {
        const double value = ldexp(drand48() - 0.5, (int)(drand48() * 80) - 60), ratio = (double)(i % 101) / (1 + i % 37);
        if (written(value, text) != value) fail_msg("%.17g is written %s", value, text);
        if (written(-ratio, text) != -ratio) fail_msg("%.17g is written %s", -ratio, text);
    }
    written(0.1, text);
    assert_string_equal(text, "0.1");
    written(NAN, text);
    assert_string_equal(text, "null");
    written(-INFINITY, text);
    assert_string_equal(text, "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signs), cmocka_unit_test(test_zero_in_files), cmocka_unit_test(test_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
