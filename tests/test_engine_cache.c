/* Lanes whose cache is rounded to a format: what a step reads is what a prefill would, company changes nothing, counts are the format's,
 * divergence is from the exact cache, and what is not offered is refused by name. */
#include "tests/engine_world.h"

enum { FORMATS = 4 }; /* of which the first is exact */

static const sf_cache_format *format(int i) { return i ? &sf_cache_formats[i - 1] : NULL; }

/* Heads of 32 numbers, which groups of 32 divide. */
static void open_wide(world *w, const char *device, int threads, int which)
{
    sf_model_config c = shape(which);
    c.head_dim = 32;
    w->model = random_model(&c);
    open_engine(w, device, threads, MOST_TOKENS);
}

static float *logits_under(sf_engine *e, const int32_t *token, int tokens, const sf_cache_format *cache)
{
    float *out = malloc((size_t)tokens * VOCAB * sizeof *out);
    sf_lane lane = {.cache = cache};
    if (sf_engine_logits_under(e, token, tokens, &lane, out) != SF_OK) fail_msg("%s", sf_error());
    return out;
}

static void decode_continues_prefill(void **state)
{
    for (int which = 0; which <= CHUNKS; which++)
        for (int f = 1; f < FORMATS; f++) {
            enum { N = 45 };
            world w;
            result r;
            int32_t all[MOST_TOKENS];
            open_wide(&w, *state, 1, which);
            set_arms(1, COMPANY, &r);
            r.lane.cache = format(f);
            run(w.engine, N, 9, 1, &r);
            fill_prompt(all, N, 9);
            memcpy(all + N, r.output, sizeof r.output);
            float *logits = logits_under(w.engine, all, N + OUTPUT, format(f)), *exact = logits_under(w.engine, all, N + OUTPUT, NULL);
            for (int i = 0; i < OUTPUT; i++) {
                const float *row = logits + (size_t)(N - 1 + i) * VOCAB;
                for (int t = 0; t < VOCAB; t++) assert_true(row[t] <= row[r.output[i]] + 1e-5f);
            }
            assert_memory_not_equal(logits, exact, (size_t)(N + OUTPUT) * VOCAB * sizeof *logits);
            free(logits), free(exact);
            close_world(&w);
        }
}

/* Each lane of a crowd under another format, in turn; and alone, with and without a view of the cache. */
static void alone_and_in_company(void **state)
{
    needs_device(*state);
    const bool slow = strcmp(*state, "reference") == 0;
    for (int which = slow ? GEMMA : 0; which < (slow ? GEMMA + 1 : SHAPES); which++)
        for (int shift = 0; shift < FORMATS; shift++) {
            world w;
            result *together = calloc(LANES, sizeof *together), alone, copied;
            const sf_generation plain = {.max_output = OUTPUT, .seed = 1};
            open_wide(&w, *state, 1, which);
            set_arms(LANES, COMPANY, together);
            for (int i = 0; i < LANES; i++) together[i].lane.cache = format((i + shift) % FORMATS);
            run(w.engine, 130, 5, LANES, together);
            for (int i = 0; i < LANES; i++) {
                char what[64];
                snprintf(what, sizeof what, "shape %d, lane %d, format %d", which, i, (i + shift) % FORMATS);
                set_arms(1, &COMPANY[i], &alone);
                alone.lane.cache = together[i].lane.cache;
                run(w.engine, 130, 5, 1, &alone);
                assert_same(&alone, &together[i], what);
                set_arms(1, &COMPANY[i], &copied);
                copied.lane.cache = together[i].lane.cache;
                if (try_run(w.engine, 130, 5, &plain, 1, &copied) != SF_OK) fail_msg("%s", sf_error());
                memcpy(copied.recall, alone.recall, sizeof copied.recall);
                assert_same(&copied, &alone, what);
            }
            free(together);
            close_world(&w);
        }
}

/* Of what is read of the cache, by attention and by who chooses, for heads of 32: 32, 36 and 18 bytes in place of 128. */
static void counts(void **state)
{
    (void)state;
    static const uint64_t bytes[FORMATS] = {128, 32, 36, 18};
    static const int ask[] = {0, 1, 3, 5}; /* that read as much whatever they choose */
    uint64_t chosen_by = 0; /* bytes of keys that choosing reads less of */
    world w;
    open_wide(&w, "cpu", 1, LLAMA);
    for (size_t k = 0; k < sizeof ask / sizeof *ask; k++) {
        result r[FORMATS];
        for (int f = 0; f < FORMATS; f++) {
            set_arms(1, &COMPANY[ask[k]], &r[f]);
            r[f].lane.cache = format(f);
            run(w.engine, 130, 2, 1, &r[f]);
            for (int phase = 0; phase < SF_PHASES; phase++)
                for (int work = 0; work < SF_WORKS; work++) {
                    const sf_count *exact = &r[0].lane.meter.at[phase][work], *own = &r[f].lane.meter.at[phase][work];
                    if (work != SF_ESTIMATION) assert_int_equal(own->cache_bytes * 128, exact->cache_bytes * bytes[f]);
                    else if (f > 0) { /* what stands for keys has its own numbers: the rest is less by what the format is */
                        const uint64_t first = exact->cache_bytes - r[1].lane.meter.at[phase][work].cache_bytes;
                        assert_int_equal((exact->cache_bytes - own->cache_bytes) * (128 - bytes[1]), first * (128 - bytes[f]));
                        chosen_by += first;
                    }
                    assert_int_equal(own->weight_bytes, exact->weight_bytes);
                    assert_int_equal(own->flops, exact->flops);
                }
        }
        assert_true(r[0].lane.meter.at[SF_DECODE][SF_ATTENTION].cache_bytes > 0);
    }
    assert_true(chosen_by > 0);
    close_world(&w);
}

/* A dense lane with a rounded cache is not the dense lane that others are held against, be it there or not. */
static void divergence(void **state)
{
    (void)state;
    world w;
    open_wide(&w, "cpu", 1, LLAMA);
    for (int alone = 0; alone < 2; alone++) {
        const sf_generation how = {.max_output = OUTPUT, .seed = 1, .divergence_rows = 8};
        result r[FORMATS];
        sf_divergence along[FORMATS][SF_PHASES][OUTPUT + 8];
        for (int f = 0; f < FORMATS; f++) {
            set_arms(1, COMPANY, &r[f]);
            r[f].lane.cache = format(FORMATS - 1 - f); /* exact comes last */
            for (int p = 0; p < SF_PHASES; p++) r[f].lane.divergence[p] = along[f][p];
        }
        if (try_run(w.engine, 100, 2, &how, alone ? 1 : FORMATS, r) != SF_OK) fail_msg("%s", sf_error());
        for (int f = 0; f < (alone ? 1 : FORMATS); f++)
            for (int p = 0; p < SF_PHASES; p++) {
                double kl = 0;
                assert_true(r[f].lane.divergences[p] > 0);
                for (int i = 0; i < r[f].lane.divergences[p]; i++) kl += (double)along[f][p][i].kl;
                assert_true(r[f].lane.cache ? kl > 1e-9 : kl == 0);
            }
    }
    close_world(&w);
}

static void refusals(void **state)
{
    (void)state;
    const sf_cache_format *int4 = sf_cache_format_of("simulated_int4"), *fp8 = sf_cache_format_of("simulated_fp8");
    sf_model_config c = shape(LLAMA);
    assert_int_equal(sf_cache_check(NULL, &c, 2), SF_OK);
    assert_int_equal(sf_cache_check(fp8, &c, 1), SF_OK);
    assert_int_equal(sf_cache_check(int4, &c, 1), SF_UNSUPPORTED); /* heads of 8 */
    assert_non_null(strstr(sf_error(), "simulated_int4 has a scale for each 32 channels"));
    assert_int_equal(sf_cache_check(fp8, &c, 2), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "split over ranks"));
    c.latent = 16;
    assert_int_equal(sf_cache_check(fp8, &c, 1), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "latent attention"));
    c.latent = 0, c.kernel = 4;
    assert_int_equal(sf_cache_check(fp8, &c, 1), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "layers that recur"));

    world w; /* and the engine asks */
    result r;
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, COMPANY, &r);
    r.lane.cache = int4;
    assert_int_equal(try_run(w.engine, 100, 2, &HOW, 1, &r), SF_UNSUPPORTED);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "decode_continues_prefill, reference", .test_func = decode_continues_prefill, .initial_state = "reference"},
        {.name = "decode_continues_prefill, cpu", .test_func = decode_continues_prefill, .initial_state = "cpu"},
        {.name = "alone_and_in_company, reference", .test_func = alone_and_in_company, .initial_state = "reference"},
        {.name = "alone_and_in_company, cpu", .test_func = alone_and_in_company, .initial_state = "cpu"},
        {.name = "alone_and_in_company, cuda", .test_func = alone_and_in_company, .initial_state = "cuda"},
        cmocka_unit_test(counts),
        cmocka_unit_test(divergence),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
