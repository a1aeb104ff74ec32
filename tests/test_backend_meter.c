/* What each op counts, in numbers worked out by hand: the fillings share the formulas, so the twin test cannot see an
 * error in them. fp32 reference backend; H 4, G 2, D 8, T 10, N 12. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

enum { H = 4, G = 2, D = 8, T = 10, N = 12 };
static sf_backend b;
static sf_meter meter;
static float x[4096], y[4096];
static int32_t count[64], index_[1024];

static void counts(const char *op, sf_work work, sf_count want)
{
    for (int p = 0; p < SF_PHASES; p++)
        for (int w = 0; w < SF_WORKS; w++) {
            sf_count expected = p == (int)b.phase && w == (int)work ? want : (sf_count){0}, got = meter.at[p][w];
            if (memcmp(&got, &expected, sizeof got) != 0)
                fail_msg("%s, phase %d, work %d: flops %llu, weights %llu, cache %llu, other %llu; expected %llu %llu "
                         "%llu %llu",
                         op, p, w, (unsigned long long)got.flops, (unsigned long long)got.weight_bytes,
                         (unsigned long long)got.cache_bytes, (unsigned long long)got.other_bytes,
                         (unsigned long long)expected.flops, (unsigned long long)expected.weight_bytes,
                         (unsigned long long)expected.cache_bytes, (unsigned long long)expected.other_bytes);
        }
    memset(&meter, 0, sizeof meter);
}

static void layers(void **state)
{
    (void)state;
    const sf_backend_ops *op = b.ops;
    const int32_t tokens[3] = {0, 1, 2};
    sf_tensor w = {x, SF_Q8_0, 2, {6, 32}}, half = {x, SF_F16, 1, {32}}, bias = {x, SF_F32, 1, {6}};
    assert_int_equal(op->embed(&b, &w, tokens, 3, 1, y), SF_OK);
    counts("embed", SF_OTHER, (sf_count){.flops = 96, .weight_bytes = 3 * 34, .other_bytes = 384});
    assert_int_equal(op->rms_norm(&b, x, SF_BF16, 3, 32, &half, 0, 1, y), SF_OK);
    counts("rms_norm", SF_OTHER, (sf_count){.flops = 384, .weight_bytes = 64, .other_bytes = 192 + 384});
    assert_int_equal(op->linear(&b, x, 5, &w, &bias, false, y, SF_F32), SF_OK);
    counts("linear", SF_LINEAR,
           (sf_count){.flops = 2 * 5 * 6 * 32, .weight_bytes = 6 * 34 + 24, .other_bytes = 5 * 32 * 4 + 5 * 6 * 4});
    assert_int_equal(op->rope(&b, y, 3, 2, 8, 8, tokens, x, x, false), SF_OK);
    counts("rope", SF_OTHER, (sf_count){.flops = 144, .other_bytes = 384});
    assert_int_equal(op->gated(&b, y, x, 3, 10, (sf_curve){.kind = SF_SILU}), SF_OK);
    counts("gated", SF_OTHER, (sf_count){.flops = 60, .other_bytes = 360});
    assert_int_equal(op->gated(&b, y, NULL, 3, 10, (sf_curve){.kind = SF_RELU2}), SF_OK);
    counts("gated alone", SF_OTHER, (sf_count){.flops = 30, .other_bytes = 240});
    assert_int_equal(op->copy_columns(&b, x, 8, 3, 5, y, 6), SF_OK);
    counts("copy_columns", SF_OTHER, (sf_count){.other_bytes = 2 * 3 * 5 * 4});
    assert_int_equal(op->rope(&b, y, 3, 2, 8, 4, tokens, x, x, false), SF_OK);
    counts("rope of halves", SF_OTHER, (sf_count){.flops = 72, .other_bytes = 192});
    float *states[2] = {x + 100, x + 200};
    sf_tensor taps = {x, SF_F16, 2, {10, 4}};
    assert_int_equal(op->convolve(&b, 2, states, 3, 10, &taps, NULL, true, x, y), SF_OK);
    counts("convolve", SF_LINEAR, (sf_count){.flops = 2 * 4 * 6 * 10, .weight_bytes = 80, .cache_bytes = 2 * 2 * 3 * 10 * 4, .other_bytes = 480});
    sf_tensor heads = {x, SF_BF16, 1, {4}};
    sf_delta_shape delta = {2, 3, 4, 5, false, 0}; /* a row of 2 · 2 · 3 + 4 · 5 = 32, gates of 4 twice, out of 20 */
    assert_int_equal(op->delta_rule(&b, 2, states, 3, delta, x, x, x, &heads, &heads, y), SF_OK);
    counts("delta_rule", SF_LINEAR, (sf_count){.flops = 7 * 6 * 60, .weight_bytes = 16, .cache_bytes = 2 * 2 * 60 * 4, .other_bytes = 6 * 60 * 4});
    assert_int_equal(op->state_space(&b, 2, states, 3, delta, x, x, &heads, &heads, &heads, y), SF_OK);
    counts("state_space", SF_LINEAR,
           (sf_count){.flops = 6 * (5 * 60 + 2 * 20), .weight_bytes = 24, .cache_bytes = 2 * 2 * 60 * 4, .other_bytes = 6 * (32 + 4 + 20) * 4});
    assert_int_equal(op->cast(&b, x, 7, y), SF_OK);
    counts("cast", SF_OTHER, (sf_count){.other_bytes = 56});
    assert_int_equal(op->add(&b, y, x, 7, 1), SF_OK);
    counts("add", SF_OTHER, (sf_count){.flops = 7, .other_bytes = 84});
    assert_int_equal(op->scale(&b, y, 7, 1), SF_OK);
    counts("scale", SF_OTHER, (sf_count){.flops = 7, .other_bytes = 56});
    memset(index_, 0, 7 * sizeof *index_);
    assert_int_equal(op->weigh_experts(&b, y, index_, 7, &heads), SF_OK);
    counts("weigh_experts", SF_OTHER, (sf_count){.flops = 7, .weight_bytes = 8, .other_bytes = 84});
    assert_int_equal(op->argmax(&b, x, 2, 50, index_), SF_OK);
    counts("argmax", SF_OTHER, (sf_count){.flops = 100, .other_bytes = 400});

    sf_kv_part part = {.k = y, .v = y + 1000, .capacity = 40}, *at = &part;
    assert_int_equal(op->store_kv(&b, 1, &at, 3, G, D, x, x), SF_OK);
    counts("store_kv", SF_OTHER, (sf_count){.other_bytes = 4 * 3 * G * D * 4});
    part.n = 20;
    sf_lists keep = {2, 3, (int32_t[]){3, 1}, (int32_t[]){0, 1, 2, 5, 0, 0}};
    sf_kv_part to = {.k = y + 2000, .v = y + 3000, .capacity = 3, .count = count};
    assert_int_equal(op->gather_kv(&b, &part, &keep, D, &to), SF_OK);
    counts("gather_kv", SF_OTHER, (sf_count){.cache_bytes = 4 * 2 * D * 4, .other_bytes = 4 * 2 * D * 4});
    part.format = sf_cache_format_of("simulated_fp8"), part.n = 0;
    assert_int_equal(op->round_kv(&b, 1, &at, 3, G, D), SF_OK);
    counts("round_kv", SF_OTHER, (sf_count){0});
    part.n = 20;
    assert_int_equal(op->gather_kv(&b, &part, &keep, D, &to), SF_OK);
    counts("gather_kv of a format", SF_OTHER, (sf_count){.cache_bytes = 4 * 2 * D, .other_bytes = 4 * 2 * D});

    sf_kv_part rows = {.k = y, .v = y, .capacity = 40}, kept = {.k = y + 2000, .v = y + 2000, .capacity = 3, .count = count}; /* keys are values */
    at = &rows;
    assert_int_equal(op->store_kv(&b, 1, &at, 3, G, D, x, NULL), SF_OK);
    counts("store_kv of rows", SF_OTHER, (sf_count){.other_bytes = 2 * 3 * G * D * 4});
    rows.n = 20;
    assert_int_equal(op->gather_kv(&b, &rows, &keep, D, &kept), SF_OK);
    counts("gather_kv of rows", SF_OTHER, (sf_count){.cache_bytes = 4 * D * 4, .other_bytes = 4 * D * 4});
}

static void attention(void **state)
{
    (void)state;
    const sf_backend_ops *op = b.ops;
    const uint64_t keys = N * G * D * 4; /* bytes of all keys */
    sf_attention a = {.backend = &b,
                      .layers = 1,
                      .heads = H,
                      .kv_heads = G,
                      .head_dim = D,
                      .queries = T,
                      .keys = N,
                      .scale = 1,
                      .q = x,
                      .kv = {.prompt = {x, x, N, N, NULL}, .dtype = SF_F32}};
    sf_pattern dense = {.kind = SF_DENSE};
    uint64_t pairs;
    assert_int_equal(op->prefill(&b, &a, &dense, y), SF_OK);
    assert_int_equal(op->count_pairs(&b, &a, &dense, &pairs), SF_OK);
    assert_int_equal(op->check_pattern(&b, &a, &dense, "test"), SF_OK);
    assert_int_equal(op->mass(&b, &a, &dense, 1, (int32_t[]){3}, y), SF_OK);
    counts("executors and observers", SF_ATTENTION, (sf_count){0}); /* the core counts attention, from pairs */

    assert_int_equal(op->probe(&b, &a, 4, 1, SF_SUM, y, NULL), SF_OK);
    counts("probe", SF_ESTIMATION,
           (sf_count){.flops = H * 4 * N * (2 * D + 5), .cache_bytes = keys, .other_bytes = H * 4 * D * 4 + H * N * 4});
    assert_int_equal(op->probe(&b, &a, 99, 1, SF_SUM, y, y + 1000), SF_OK);
    counts("probe of all rows", SF_ESTIMATION,
           (sf_count){
               .flops = H * T * N * (2 * D + 5), .cache_bytes = keys, .other_bytes = H * T * D * 4 + 2 * H * N * 4});
    assert_int_equal(op->block_means(&b, &a, false, 4, y), SF_OK);
    counts("block_means of q", SF_ESTIMATION,
           (sf_count){.flops = T * H * D, .other_bytes = T * H * D * 4 + 3 * H * D * 4});
    assert_int_equal(op->block_means(&b, &a, true, 5, y), SF_OK);
    counts("block_means of k", SF_ESTIMATION,
           (sf_count){.flops = N * G * D, .cache_bytes = keys, .other_bytes = 3 * G * D * 4});

    /* blocks 4 x 5: rows 0 … 3 end at position 5, 4 … 7 at 9, 8 and 9 at 11: 2 + 2 + 3 key blocks */
    sf_lists lists = {12, 3, count, index_};
    assert_int_equal(op->top_blocks(&b, &a, x, 4, x, 5, H, 2, 1, 1, &lists), SF_OK);
    counts("top_blocks", SF_ESTIMATION, (sf_count){.flops = 7 * H * 2 * D, .cache_bytes = 3 * G * D * 4, .other_bytes = 3 * H * D * 4});
    assert_int_equal(op->block_probabilities(&b, &a, x, 4, x, 5, y), SF_OK);
    counts("block_probabilities", SF_ESTIMATION,
           (sf_count){.flops = 7 * H * (2 * D + 5), .cache_bytes = 3 * G * D * 4, .other_bytes = 3 * H * D * 4 + 9 * H * 4});
    assert_int_equal(op->top_block_mass(&b, &a, 4, 5, G, 2, &lists), SF_OK);
    counts("top_block_mass", SF_ESTIMATION,
           (sf_count){
               .flops = (uint64_t)(T * 2 + 55) * H * (2 * D + 5), .cache_bytes = keys, .other_bytes = T * H * D * 4});

    b.phase = SF_DECODE;
    a.queries = 1;
    assert_int_equal(op->page_bounds(&b, &a, 4, 6, 3, y, y + 1000), SF_OK); /* from key 4 on: 2 pages */
    counts("page_bounds", SF_ESTIMATION,
           (sf_count){.flops = 2 * 8 * G * D, .cache_bytes = 8 * G * D * 4, .other_bytes = 2 * 2 * G * D * 4});
    assert_int_equal(op->page_scores(&b, &a, 4, 3, x, x, y), SF_OK);
    counts("page_scores", SF_ESTIMATION,
           (sf_count){.flops = 3 * H * 4 * D, .cache_bytes = 2 * 3 * G * D * 4, .other_bytes = 3 * G * 4 + H * D * 4});
    /* keys in components of their own, 3 of which are looked at; a basis of 2; bounds of 3 pages; keys in 4 bits and a range of 2 floats */
    sf_lists at = {.rows = G, .stride = 3, .count = count, .index = index_};
    for (int g = 0; g < G; g++)
        for (int i = 0; i < 3; i++) count[g] = 3, index_[g * 3 + i] = i;
    assert_int_equal(op->component_scores(&b, &a, x, x, D, N, &at, false, y), SF_OK);
    counts("component_scores", SF_ESTIMATION, (sf_count){.flops = 2 * 3 * N * H, .cache_bytes = 3 * N * G * 4, .other_bytes = H * (D + N) * 4});
    assert_int_equal(op->components(&b, &a, false, x, 2, 0, 0, y), SF_OK);
    counts("components of a query", SF_ESTIMATION, (sf_count){.flops = 2 * H * D * 2, .weight_bytes = G * D * 2 * 4, .other_bytes = H * D * 4 + H * 2 * 4});
    assert_int_equal(op->page_component_scores(&b, &a, 4, 3, x, x, &at, false, y), SF_OK);
    counts("page_component_scores", SF_ESTIMATION, (sf_count){.flops = 2 * 3 * 3 * H, .cache_bytes = 3 * 3 * G * 4, .other_bytes = 3 * H * 4 + H * D * 4});
    assert_int_equal(op->packed_probabilities(&b, &a, N, index_, x, NULL, y), SF_OK);
    counts("packed_probabilities", SF_ESTIMATION,
           (sf_count){.flops = H * N * (2 * D + 5), .cache_bytes = N * G * ((D + 7) / 8 * 4 + 8), .other_bytes = H * D * 4 + H * N * 4});
    assert_int_equal(op->key_probabilities(&b, &a, y), SF_OK);
    counts("key_probabilities", SF_ESTIMATION,
           (sf_count){.flops = H * N * (2 * D + 5), .cache_bytes = keys, .other_bytes = H * D * 4 + H * N * 4});
    b.phase = SF_PREFILL;
}

static void scores(void **state)
{
    (void)state;
    const sf_backend_ops *op = b.ops;
    sf_lists lists = {2, 20, count, index_};
    assert_int_equal(op->reduce_rows(&b, x, 2, 3, 20, SF_SUM, y), SF_OK);
    counts("reduce_rows", SF_ESTIMATION, (sf_count){.flops = 120, .other_bytes = 480 + 160});
    assert_int_equal(op->inner_products(&b, x, x, 3, 5, 7, y), SF_OK);
    counts("inner_products", SF_ESTIMATION, (sf_count){.flops = 2 * 3 * 5 * 7, .other_bytes = 4 * (3 * 7 + 5 * 7 + 3 * 5)});
    assert_int_equal(op->walk(&b, 4, x, 8, y), SF_OK); /* 10 pairs of blocks, 4 + 2·3 + 3·2 + 4 = 20 ways between them */
    counts("walk", SF_ESTIMATION, (sf_count){.flops = 2 * 20 + 10 * 9, .other_bytes = 4 * (10 + 10 + 16)});
    assert_int_equal(op->index_scores(&b, 3, 2, 4, 2, x, x, x, y), SF_OK); /* 3 + 4 + 5 pairs of 5 keys, which are cache */
    counts("index_scores", SF_ESTIMATION,
           (sf_count){.flops = 12 * 2 * (2 * 4 + 3), .cache_bytes = 4 * 5 * 4, .other_bytes = 4 * (3 * 2 * 4 + 3 * 2 + 3 * 5)});
    assert_int_equal(op->pool(&b, x, 2, 20, 5, SF_MEAN, y), SF_OK);
    counts("pool", SF_ESTIMATION, (sf_count){.flops = 200, .other_bytes = 320});
    assert_int_equal(op->fill(&b, y, 2, 20, -5, 3, 1), SF_OK);
    counts("fill", SF_ESTIMATION, (sf_count){.other_bytes = 24});
    assert_int_equal(op->top(&b, y, 2, 20, 4, &lists), SF_OK);
    counts("top", SF_ESTIMATION, (sf_count){.flops = 40, .other_bytes = 160});
    assert_int_equal(op->fill_at(&b, y, 2, 20, &lists, 1), SF_OK);
    counts("fill_at", SF_ESTIMATION, (sf_count){.other_bytes = 160}); /* the lists' room */
    assert_int_equal(op->top_counts(&b, y, 2, 20, (int32_t[]){1, 2}, 4, &lists), SF_OK);
    counts("top_counts", SF_ESTIMATION, (sf_count){.flops = 40, .other_bytes = 160});
    assert_int_equal(op->top_total(&b, y, 2, 20, 4, &lists), SF_OK);
    counts("top_total", SF_ESTIMATION, (sf_count){.flops = 40, .other_bytes = 160});
    assert_int_equal(op->top_mass(&b, y, 2, 20, 0.5f, 1, 9, &lists), SF_OK);
    counts("top_mass", SF_ESTIMATION, (sf_count){.flops = 40, .other_bytes = 160});
}

static int open_backend(void **state)
{
    (void)state;
    if (sf_backend_open("reference", 0, &b)) return -1;
    b.meter = &meter;
    return 0;
}

static int close_backend(void **state)
{
    (void)state;
    sf_backend_close(&b);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layers), cmocka_unit_test(attention), cmocka_unit_test(scores)};
    return cmocka_run_group_tests(tests, open_backend, close_backend);
}
