/* Element types against the Python package gguf (tests/golden/dtypes.py). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/tensor.h"

enum { N = 512 };

static void decodes_as_gguf_does(void **state)
{
    (void)state;
    FILE *f = fopen("tests/golden/dtypes.bin", "rb");
    assert_non_null(f);
    for (sf_dtype t = 0; t < SF_DTYPES; t++) {
        size_t bytes = sf_bytes(t, N);
        unsigned char *raw = malloc(bytes);
        float want[N], got[N];
        assert_int_equal(fread(raw, 1, bytes, f), bytes);
        assert_int_equal(fread(want, sizeof *want, N, f), N);
        memset(got, 0xff, sizeof got);
        sf_to_f32(t, raw, got, N);
        for (int i = 0; i < N; i++) {
            if (memcmp(&got[i], &want[i], sizeof got[i]) == 0 || (got[i] == 0 && want[i] == 0)) continue;
            fail_msg("%s element %d: got %a, want %a", sf_dtypes[t].name, i, (double)got[i], (double)want[i]);
        }
        free(raw);
    }
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
}

static void counts_elements_and_bytes(void **state)
{
    (void)state;
    sf_tensor t = {.rank = 3, .dim = {7, 5, 32}};
    assert_int_equal(sf_elements(&t), 7 * 5 * 32);
    assert_int_equal(sf_elements(&(sf_tensor){.rank = 0}), 1);
    assert_int_equal(sf_bytes(SF_Q4_K, 512), 288);
    assert_int_equal(sf_bytes(SF_F16, 3), 6);
    assert_int_equal(sf_bytes(SF_Q8_0, (int64_t)1 << 36), (size_t)34 << 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_as_gguf_does),
        cmocka_unit_test(counts_elements_and_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
