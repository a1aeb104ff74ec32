/* Formats of a key–value cache: what other implementations make of a row and store of it (tests/golden/cache.py), and the bytes that they take. */
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

/* The bytes that other implementations store, and their numbers. */
static void packed_golden(void **state)
{
    (void)state;
    enum { GROUPS = DIM / 32 };
    static float row[ROWS][DIM];
    static struct {
        float e4m3[256];
        uint8_t fp8[ROWS][DIM];
        int8_t int8[ROWS][DIM];
        float scale[ROWS];
        uint8_t int4[ROWS][GROUPS][18]; /* Q4_0: a scale of fp16, then 16 bytes */
    } want;
    FILE *f = fopen("tests/golden/cache.bin", "rb"), *g = fopen("tests/golden/cache_packed.bin", "rb");
    assert_non_null(f);
    assert_non_null(g);
    assert_int_equal(fread(row, sizeof row, 1, f), 1);
    assert_int_equal(fread(&want, sizeof want, 1, g), 1);
    assert_int_equal(fgetc(g), EOF);
    fclose(f), fclose(g);
    for (int code = 0; code < 256; code++) {
        const float x = sf_cache_e4m3_of((uint8_t)code);
        if (memcmp(&x, &want.e4m3[code], sizeof x) != 0 && !(isnan(x) && isnan(want.e4m3[code])))
            fail_msg("e4m3 %02x is %.9g, expected %.9g", (unsigned)code, x, want.e4m3[code]);
    }
    for (int r = 0; r < ROWS; r++) {
        uint8_t numbers[DIM];
        float scale, out[DIM], rounded[DIM];
        uint16_t scales[GROUPS];
        sf_cache_pack(sf_cache_format_of("fp8"), row[r], DIM, numbers, NULL);
        if (memcmp(numbers, want.fp8[r], DIM) != 0) fail_msg("fp8: row %d", r);
        sf_cache_pack(sf_cache_format_of("int8"), row[r], DIM, numbers, &scale);
        if (memcmp(numbers, want.int8[r], DIM) != 0 || scale != want.scale[r]) fail_msg("int8: row %d, scale %.9g, expected %.9g", r, scale, want.scale[r]);
        sf_cache_pack(sf_cache_format_of("int4"), row[r], DIM, numbers, scales);
        for (int k = 0; k < GROUPS; k++) {
            if (memcmp(&scales[k], want.int4[r][k], 2) != 0 || memcmp(numbers + 16 * k, want.int4[r][k] + 2, 16) != 0)
                fail_msg("int4: row %d, group %d, scale %04x", r, k, scales[k]);
        }
        sf_cache_unpack(sf_cache_format_of("int4"), numbers, scales, DIM, out);
        memcpy(rounded, row[r], sizeof rounded);
        sf_cache_round(sf_cache_format_of("simulated_int4"), rounded, DIM);
        assert_memory_equal(out, rounded, sizeof out);
    }
}

/* Every number of fp16, and those between that are rounded to it. */
static void halves(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        const uint16_t half = (uint16_t)code;
        const float own = sf_cache_half_of(half);
        float want;
        sf_to_f32(SF_F16, &half, &want, 1);
        if (isnan(want)) {
            assert_true(isnan(own) && isnan(sf_cache_half_of(sf_cache_half_code(own))));
            continue;
        }
        if (memcmp(&own, &want, sizeof own) != 0) fail_msg("fp16 %04x is %.9g, expected %.9g", code, own, want);
        if (sf_cache_half_code(sf_cache_half(own)) != half) fail_msg("%.9g is stored as %04x, expected %04x", own, sf_cache_half_code(own), code);
    }
}

/* A code cannot be NaN: its row's scale, or its group's, is. */
static void packed_not_numbers(void **state)
{
    (void)state;
    for (const sf_cache_format *f = sf_cache_formats; f->name; f++) {
        float x[64] = {[3] = NAN, [40] = 2}, out[64];
        uint8_t numbers[64];
        float scales[1];
        if (!f->packed) continue;
        sf_cache_pack(f, x, 64, numbers, scales);
        sf_cache_unpack(f, numbers, scales, 64, out);
        assert_true(isnan(out[3]));
        assert_true(f->kind == SF_CACHE_INT8 ? isnan(out[40]) : out[40] == 2);
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

    /* Packed: numbers of all rows, then, from a multiple of 256 on, their scales. */
    const sf_cache_format *fp8 = sf_cache_format_of("fp8"), *int8 = sf_cache_format_of("int8"), *int4 = sf_cache_format_of("int4");
    assert_int_equal(sf_cache_bytes(int8, SF_F32, 3, 64), 3 * 68);
    assert_int_equal(sf_cache_scales_at(int8, 3, 5, 64), 1024); /* of 960 */
    assert_int_equal(sf_cache_packed_bytes(int8, 3, 5, 64), 1024 + 15 * 4);
    assert_int_equal(sf_cache_packed_bytes(int4, 3, 5, 64), 512 + 15 * 2 * 2);
    assert_int_equal(sf_cache_packed_bytes(fp8, 4, 4, 64), 1024);
    const sf_kv_part part = {.capacity = 5, .format = int8, .packed = true};
    char base[2048];
    assert_ptr_equal(sf_cache_numbers(&part, base, 7, 64), base + 448);
    assert_ptr_equal(sf_cache_scales(&part, base, 3, 7, 64), base + 1052);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(packed_golden), cmocka_unit_test(halves),
                                       cmocka_unit_test(packed_not_numbers), cmocka_unit_test(not_numbers), cmocka_unit_test(bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
