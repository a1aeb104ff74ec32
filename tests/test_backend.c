/* A backend's memory and scratch, and the names that open one. The ops: tests/test_backends.c. */
#include "tests/backend_world.h"

#include <sys/mman.h>

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void memory(void **unused)
{
    (void)unused;
    for (int v = 0; v < BACKENDS; v++) {
        sf_backend *b = &backend[v];
        char from[100] = "twin", to[100] = "";
        void *p, *q;
        size_t available, total;
        OK(b->ops->alloc(b, 100, &p));
        OK(b->ops->alloc(b, 100, &q));
        assert_int_equal((uintptr_t)p % 64, 0);
        OK(b->ops->upload(b, p, from, 100));
        OK(b->ops->zero(b, q, 100));
        OK(b->ops->copy(b, q, p, 3));
        OK(b->ops->download(b, to, q, 100));
        assert_string_equal(to, "twi");
        OK(b->ops->synchronize(b));
        OK(b->ops->memory(b, &available, &total));
        assert_true(available > 0 && available <= total);
        b->ops->free(b, p);
        b->ops->free(b, q);
        assert_int_equal(b->ops->alloc(b, SIZE_MAX - 5, &p), SF_NO_MEMORY);
        b->ops->free(b, NULL);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed */
        OK(b->ops->alloc(b, 20 << 20, &p)); /* large, and freed: the system's again, and so is a smaller one after it */
        b->ops->free(b, p);
        OK(b->ops->alloc(b, 10 << 20, &p));
        b->ops->free(b, p);
        unsigned char there;
        assert_int_equal(mincore(p, 1, &there), -1);
#endif
        sf_mark mark = sf_scratch_mark(b);
        void *small, *large, *again;
        OK(sf_scratch_alloc(b, 10, &small));
        OK(sf_scratch_alloc(b, 20 << 20, &large));
        sf_scratch_release(b, mark);
        OK(sf_scratch_alloc(b, 10, &again));
        assert_ptr_equal(small, again);
        sf_scratch_release(b, mark);
    }
    sf_backend none;
    assert_int_equal(sf_backend_open("tpu", 0, &none), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "cpu, cpu-bf16, cpu-int8, reference"));
    assert_int_equal(sf_backend_open("cpu:1", 0, &none), SF_BAD_INPUT);
    sf_backend_close(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory)};
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
