/* The CUDA filling against the reference, op by op (tests/backend_cases.h). Needs a GPU; says "skipped" without one.
 *
 *   test_cuda [device] [seeds] [test]        device "cuda:0"; seeds: random cases of each kind, 40; test: only this one
 */
#ifdef SF_HAVE_CUDA
#include "tests/backend_cases.h"

static twin both = {.tolerance = 1e-2};
static int seeds = 40;

static void layers(void **state)
{
    (void)state;
    for (int i = 0; i < seeds; i++) layers_case(&both, 1000u + (unsigned)i);
}

static void linear_prefill(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * seeds; i++) linear_case(&both, 2000u + (unsigned)i, SF_PREFILL);
}

static void linear_decode(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * seeds; i++) linear_case(&both, 3000u + (unsigned)i, SF_DECODE);
}

static void weight_types(void **state)
{
    (void)state;
    weight_types_case(&both, SF_PREFILL);
    weight_types_case(&both, SF_DECODE);
}

static void cache(void **state)
{
    (void)state;
    for (int i = 0; i < seeds; i++) cache_case(&both, 4000u + (unsigned)i);
}

static void selection(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * seeds; i++) select_case(&both, 5000u + (unsigned)i);
}

static void prefill(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * seeds; i++)
        prefill_case(&both, 6000u + (unsigned)i, i % 20 == 19 ? 1200 : i % 5 == 4 ? 400 : 150);
}

static void within(void **state)
{
    (void)state;
    for (int i = 0; i < seeds; i++) within_case(&both, 6500u + (unsigned)i, i % 10 == 9 ? 1200 : 300);
}

static void decode(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * seeds; i++) decode_case(&both, 7000u + (unsigned)i, i % 5 == 4 ? 3000 : 300);
}

static void probe(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * seeds; i++) probe_case(&both, 8000u + (unsigned)i, 500);
}

static void blocks(void **state)
{
    (void)state;
    for (int i = 0; i < seeds; i++) blocks_case(&both, 9000u + (unsigned)i, i % 10 == 9 ? 400 : 150);
}

static void pages(void **state)
{
    (void)state;
    for (int i = 0; i < seeds; i++) pages_case(&both, 10000u + (unsigned)i, 700);
}

static void long_pages(void **state)
{
    (void)state;
    for (int i = 0; i < seeds / 4 + 1; i++) long_pages_case(&both, 11000u + (unsigned)i);
}

static void lanes(void **state)
{
    (void)state;
    for (int i = 0; i < seeds / 4 + 1; i++) lanes_case(&both, 12000u + (unsigned)i, i % 2 ? 12000 : 3000);
}

static void steps(void **state)
{
    (void)state;
    for (int i = 0; i < seeds / 4 + 1; i++) steps_case(&both, 13000u + (unsigned)i);
}

/* A row without keys, lists out of order, a token outside the table, more memory than there is: errors that say so. */
static void refusals(void **state)
{
    (void)state;
    twin *t = &both;
    begin_case(t, 1);
    scene c;
    make_scene(t, &c, 1, false, false, 100);
    c.a[0].window = c.a[1].window = 0;
    int rows = c.a[1].heads * ((c.a[1].queries + 15) / 16);
    int32_t *count = calloc((size_t)rows, sizeof *count), index[2] = {5, 5};
    sf_pattern p = {.kind = SF_BLOCKS, .heads = c.a[1].heads, .block_q = 16, .block_k = 16};
    p.first = (sf_lists){rows, 1, put(t, 1, count, (size_t)rows * sizeof *count),
                         put(t, 1, count, (size_t)rows * sizeof *count)};
    void *out = activation_room(t, 1, (int64_t)c.a[1].queries * c.a[1].heads * c.a[1].head_dim);
    sf_status status = t->b[1].ops->prefill(&t->b[1], &c.a[1], &p, out);
    if (status == SF_OK) status = t->b[1].ops->synchronize(&t->b[1]);
    assert_int_equal(status, SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "names no key"));
    status = t->b[1].ops->download(&t->b[1], index, p.first.count, sizeof *index);
    assert_int_equal(status, SF_BAD_INPUT); /* said until a download has said it */
    OK(t, 1, t->b[1].ops->synchronize(&t->b[1]));
    index[0] = index[1] = 5;

    for (int i = 0; i < rows; i++) count[i] = 2;
    sf_lists bad = {c.a[1].kv_heads, 2, put(t, 1, count, (size_t)rows * sizeof *count), NULL};
    int32_t *repeated = malloc((size_t)c.a[1].kv_heads * sizeof index);
    for (int g = 0; g < c.a[1].kv_heads; g++) memcpy(repeated + 2 * g, index, sizeof index);
    bad.index = put(t, 1, repeated, (size_t)c.a[1].kv_heads * sizeof index);
    sf_pattern tokens = {.kind = SF_TOKENS, .heads = c.a[1].kv_heads, .first = bad};
    assert_int_equal(t->b[1].ops->check_pattern(&t->b[1], &c.a[1], &tokens, "plug-in"), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "plug-in"));

    void *far;
    assert_int_equal(t->b[1].ops->alloc(&t->b[1], (size_t)1 << 46, &far), SF_NO_MEMORY);
    assert_non_null(strstr(sf_error(), "GiB are free"));
    free(count), free(repeated);
    end_case(t, "refusals");
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what it has said is kept when its time runs out */
    if (argc > 2) seeds = atoi(argv[2]);
    if (argc > 3) cmocka_set_test_filter(argv[3]);
    if (sf_backend_open(argc > 1 ? argv[1] : "cuda", 0, &both.b[1]) != SF_OK) {
        bool absent = strstr(sf_error(), "no NVIDIA driver") || strstr(sf_error(), "sees no GPU");
        printf("%s%s\n", absent ? "skipped: no CUDA device: " : "", sf_error());
        return !absent;
    }
    if (sf_backend_open("reference", 1, &both.b[0]) != SF_OK) return printf("%s\n", sf_error()), 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers),       cmocka_unit_test(linear_prefill), cmocka_unit_test(linear_decode),
        cmocka_unit_test(weight_types), cmocka_unit_test(cache),          cmocka_unit_test(selection),
        cmocka_unit_test(prefill),      cmocka_unit_test(within),         cmocka_unit_test(decode),
        cmocka_unit_test(probe),        cmocka_unit_test(blocks),         cmocka_unit_test(pages),
        cmocka_unit_test(long_pages),   cmocka_unit_test(lanes),          cmocka_unit_test(steps),
        cmocka_unit_test(refusals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("largest error %.2e; %ld of %ld choices by rounded scores differ\n", both.worst, both.differing,
           both.chosen);
    sf_backend_close(&both.b[0]);
    sf_backend_close(&both.b[1]);
    return failed;
}
#else
#include <stdio.h>

int main(void)
{
    printf("skipped: no CUDA device: this build leaves CUDA out\n");
    return 0;
}
#endif
