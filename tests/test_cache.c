/* Formats of a key–value cache: what other implementations make of a row (tests/golden/cache.py), and the bytes that they take. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "kernels/cache.h"

enum { ROWS = 5 * 20, DIM = 64, FORMATS = 3 };

static void golden(void **state)
{
    (void)state;
    static float row[1 + FORMATS][ROWS][DIM];
    FILE *f = fopen("tests/golden/cache.bin", "rb");
    assert_non_null(f);
    assert_int_equal(fread(row, sizeof row, 1, f), 1);
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    for (int k = 0; k < FORMATS; k++)
        for (int r = 0; r < ROWS; r++) {
            float own[DIM];
            memcpy(own, row[0][r], sizeof own);
            sf_cache_round(&sf_cache_formats[k], own, DIM);
            for (int d = 0; d < DIM; d++)
                if (own[d] != row[1 + k][r][d]) /* 0 and -0 are alike */
                    fail_msg("%s: row %d number %d: %.9g of %.9g, expected %.9g", sf_cache_formats[k].name, r, d, own[d], row[0][r][d],
                             row[1 + k][r][d]);
        }
}

static void not_numbers(void **state)
{
    (void)state;
    for (int k = 0; k < FORMATS; k++) {
        float x[32] = {1, NAN, -2};
        sf_cache_round(&sf_cache_formats[k], x, 32);
        assert_true(isnan(x[1]) && !isnan(x[0]) && x[2] == -2);
    }
    float beyond[2] = {INFINITY, -1e9f};
    sf_cache_round(&sf_cache_formats[0], beyond, 2);
    assert_true(beyond[0] == 448 && beyond[1] == -448);
}

static void bytes(void **state)
{
    (void)state;
    assert_int_equal(sf_cache_bytes(NULL, SF_BF16, 3, 64), 3 * 128);
    assert_int_equal(sf_cache_bytes(sf_cache_format_of("simulated_fp8"), SF_BF16, 3, 64), 3 * 64);
    assert_int_equal(sf_cache_bytes(sf_cache_format_of("simulated_int8"), SF_BF16, 3, 64), 3 * 68);
    assert_int_equal(sf_cache_bytes(sf_cache_format_of("simulated_int4"), SF_F32, 3, 64), 3 * 36);
    assert_null(sf_cache_format_of("exact"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(not_numbers), cmocka_unit_test(bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
