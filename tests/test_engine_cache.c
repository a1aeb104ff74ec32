/* Lanes whose cache is rounded to a format: what a step reads is what a prefill would, company changes nothing, counts are the format's,
 * divergence is from the exact cache, and what is not offered is refused by name. A cache that is packed to one gives to the bit what a simulated
 * one gives, in less memory. */
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

/* ---- packed ---- */

enum { PACKED = 3 }; /* formats, each behind its simulated one by so many rows */

static void open_heads(world *w, const char *device, int threads, int which, int heads, int kv_heads, int head_dim)
{
    sf_model_config c = shape(which);
    c.heads = heads, c.kv_heads = kv_heads, c.head_dim = head_dim;
    w->model = random_model(&c);
    open_engine(w, device, threads, MOST_TOKENS);
}

typedef sf_divergence divergences[SF_PHASES][OUTPUT + 8];

/* All lanes of COMPANY, or one, under a format, with how each of their predictions differs from the exact dense model's: of all their logits. */
static void run_under(world *w, int tokens, int only, const sf_cache_format *f, result *r, divergences *along)
{
    const int n = only < 0 ? LANES : 1;
    const sf_generation how = {.max_output = OUTPUT, .seed = 1, .divergence_rows = 8};
    set_arms(n, &COMPANY[only < 0 ? 0 : only], r);
    memset(along, 0, (size_t)n * sizeof *along);
    for (int i = 0; i < n; i++) {
        r[i].lane.cache = f;
        for (int p = 0; p < SF_PHASES; p++) r[i].lane.divergence[p] = along[i][p];
    }
    if (try_run(w->engine, tokens, 5, &how, n, r) != SF_OK) fail_msg("%s", sf_error());
}

static void packed_is_simulated(void **state)
{
    static const struct { int which, heads, kv_heads, dim, tokens, threads; } scene[] = {
        {LLAMA, 4, 2, 32, 130, 1}, {LLAMA, 4, 4, 64, 97, 3}, {QWEN, 4, 1, 128, 130, 1}, {GEMMA, 4, 2, 64, 131, 2}, {GGML, 4, 2, 40, 61, 1},
        {CHUNKS, 4, 2, 32, 90, 1}, {LLAMA, 4, 1, 24, 33, 2},
    };
    needs_device(*state);
    const bool slow = strcmp(*state, "reference") == 0, cuda = strcmp(*state, "cuda") == 0;
    static result packed[LANES], simulated[LANES];
    static divergences along[2][LANES];
    for (size_t k = slow ? 3 : 0; k < (slow ? 4 : sizeof scene / sizeof *scene); k++)
        for (int f = 0; f < PACKED; f++) {
            const sf_cache_format *format = &sf_cache_formats[PACKED + f];
            if ((format->group && scene[k].dim % format->group) || (cuda && scene[k].which == CHUNKS)) continue;
            world w;
            open_heads(&w, *state, scene[k].threads, scene[k].which, scene[k].heads, scene[k].kv_heads, scene[k].dim);
            for (int only = -1; only < LANES; only += only < 0 ? 1 : 3) { /* alone, an evicting lane takes its keys from no prompt's */
                char what[96];
                run_under(&w, scene[k].tokens, only, format - PACKED, simulated, along[0]);
                run_under(&w, scene[k].tokens, only, format, packed, along[1]);
                for (int i = 0; i < (only < 0 ? LANES : 1); i++) {
                    snprintf(what, sizeof what, "scene %zu, %s, lane %d of %d", k, format->name, i, only);
                    assert_same(&packed[i], &simulated[i], what);
                    assert_true(packed[i].lane.divergences[SF_DECODE] > 0);
                    if (memcmp(along[0][i], along[1][i], sizeof along[0][i]) != 0) fail_msg("%s: logits differ", what);
                }
            }
            close_world(&w);
        }
}

/* Questions that come late, in turns and of what is shared: each step reads the prompt as the first one left it. */
static void packed_questions(void **state)
{
    enum { N = 75, MOST = OUTPUT / 3, QUESTIONS = 3 };
    static const int asked[QUESTIONS] = {5, 3, 8};
    const sf_generation how = {.max_output = MOST, .seed = 1};
    int32_t token[N + 16];
    needs_device(*state);
    fill_prompt(token, N + 16, 6);
    for (int shared = 0; shared < 2; shared++)
        for (int f = 0; f < PACKED; f++) {
            static result r[2][LANES];
            sf_answer answer[2][LANES][QUESTIONS];
            world w;
            open_wide(&w, *state, 2, GEMMA);
            for (int packed = 0; packed < 2; packed++) {
                sf_lane lane[LANES];
                set_arms(LANES, COMPANY, r[packed]);
                for (int i = 0; i < LANES; i++)
                    lane[i] = r[packed][i].lane, lane[i].answer = answer[packed][i], lane[i].cache = &sf_cache_formats[f + packed * PACKED];
                const sf_job job = {.token = token, .tokens = N, .lanes = LANES, .lane = lane, .question = token + N, .questions = asked[0],
                                    .later = token + N + asked[0], .later_tokens = asked + 1, .turns = QUESTIONS - 1, .shared = shared};
                if (sf_engine_run(w.engine, 1, &job, &how) != SF_OK) fail_msg("%s", sf_error());
                for (int i = 0; i < LANES; i++) r[packed][i].lane = lane[i];
            }
            for (int i = 0; i < LANES; i++) {
                char what[64];
                snprintf(what, sizeof what, "%s, shared %d, lane %d", sf_cache_formats[PACKED + f].name, shared, i);
                assert_same(&r[1][i], &r[0][i], what);
                for (int q = 0; q < QUESTIONS; q++) assert_int_equal(answer[0][i][q].end, answer[1][i][q].end);
            }
            close_world(&w);
        }
}

/* Every method that says that it goes with a packed cache does; the others are refused by name. */
static void methods_and_packed(void **state)
{
    needs_device(*state);
    const sf_generation how = {.max_output = OUTPUT, .seed = 1};
    const sf_cache_format *int8 = sf_cache_format_of("int8");
    int same = 0, refused = 0;
    world w;
    open_wide(&w, *state, 1, LLAMA);
    for (int i = 0; sf_methods[i]; i++) {
        const sf_method *m = sf_methods[i];
        result r[2];
        const arm own = {NULL, m->name};
        if ((!m->compress && !m->decode) || m->weights) continue; /* whose files are not here */
        set_arms(1, &own, &r[0]);
        set_arms(1, &own, &r[1]);
        r[0].lane.cache = sf_cache_format_of("simulated_int8"), r[1].lane.cache = int8;
        const bool runs = try_run(w.engine, 130, 5, &how, 1, &r[0]) == SF_OK; /* some need a table */
        const sf_status status = try_run(w.engine, 130, 5, &how, 1, &r[1]);
        if (sf_method_packs(m)) {
            if (runs != (status == SF_OK)) fail_msg("%s: %s", m->name, sf_error());
            if (runs) assert_same(&r[1], &r[0], m->name), same++;
        } else {
            assert_int_equal(status, SF_UNSUPPORTED);
            assert_non_null(strstr(sf_error(), m->name));
            assert_non_null(strstr(sf_error(), "use cache simulated_int8"));
            refused++;
        }
    }
    assert_true(same > 15 && refused > 8);
    close_world(&w);
}

/* Of prompts, what lanes keep is the format's bytes; what is rounded beside is of one layer. */
static void packed_memory(void **state)
{
    (void)state;
    sf_model_config c = shape(LLAMA);
    c.head_dim = 64, c.layers = 24;
    sf_backend b;
    const sf_generation how = {.max_output = 1, .seed = 1};
    size_t bytes[2];
    enum { TOKENS = 4096 };
    assert_int_equal(sf_backend_open("cpu", 1, &b), SF_OK);
    for (int f = 0; f < PACKED; f++) {
        const sf_cache_format *format = &sf_cache_formats[PACKED + f];
        for (int packed = 0; packed < 2; packed++) {
            result r;
            set_arms(1, &COMPANY[1], &r);
            r.lane.cache = packed ? format : format - PACKED;
            const sf_job job = {.tokens = TOKENS, .lanes = 1, .lane = &r.lane};
            assert_int_equal(sf_engine_memory(&c, &b, 1, &job, &how, NULL, &bytes[packed]), SF_OK);
        }
        const size_t floats = (size_t)TOKENS * 2 * 64 * 4 * 2; /* keys and values of a layer */
        const size_t less = 24 * (floats - 2 * sf_cache_packed_bytes(format, 2, TOKENS, 64)) - floats;
        assert_true(bytes[0] > bytes[1]);
        if (bytes[0] - bytes[1] > less + 4096 || bytes[0] - bytes[1] + 4096 < less)
            fail_msg("%s: %zu bytes less than simulated, expected about %zu", format->name, bytes[0] - bytes[1], less);
    }
    sf_backend_close(&b);
}

static void packed_refusals(void **state)
{
    (void)state;
    const sf_cache_format *int8 = sf_cache_format_of("int8");
    sf_model_config c = shape(LLAMA);
    assert_int_equal(sf_cache_check(int8, &c, 1), SF_OK);
    assert_int_equal(sf_cache_check(sf_cache_format_of("int4"), &c, 1), SF_UNSUPPORTED); /* heads of 8 */
    assert_non_null(strstr(sf_error(), "cache int4 has a scale for each 32 channels"));
    assert_int_equal(sf_cache_check(int8, &c, 2), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "split over ranks"));
    c.entmax_alpha = 1.5f;
    assert_int_equal(sf_cache_check(sf_cache_format_of("simulated_int8"), &c, 1), SF_OK);
    assert_int_equal(sf_cache_check(int8, &c, 1), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "entmax"));
    assert_non_null(strstr(sf_error(), "simulated_int8"));
    c.entmax_alpha = 0, c.latent = 16;
    assert_int_equal(sf_cache_check(int8, &c, 1), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "latent attention"));
    c.latent = 0, c.shared_from = 2;
    assert_int_equal(sf_cache_check(int8, &c, 1), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "layers share keys"));

    world w;
    result r;
    open_wide(&w, "cpu", 1, LLAMA);
    set_arms(1, &COMPANY[1], &r);
    r.lane.cache = int8;
    assert_int_equal(try_run(w.engine, 100, 2, &HOW, 1, &r), SF_UNSUPPORTED); /* whose recall is wanted */
    assert_non_null(strstr(sf_error(), "recall of method 'quest'"));
    assert_non_null(strstr(sf_error(), "simulated_int8, or recall 0"));
    set_arms(1, &COMPANY[0], &r);
    r.lane.cache = int8;
    run(w.engine, 100, 2, 1, &r); /* dense reads all: nothing is looked at */
    sf_picture picture;
    r.lane.picture[SF_DECODE] = &picture;
    assert_int_equal(try_run(w.engine, 100, 2, &HOW, 1, &r), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "a picture of dense decode"));
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
        {.name = "packed_is_simulated, reference", .test_func = packed_is_simulated, .initial_state = "reference"},
        {.name = "packed_is_simulated, cpu", .test_func = packed_is_simulated, .initial_state = "cpu"},
        {.name = "packed_is_simulated, cpu-bf16", .test_func = packed_is_simulated, .initial_state = "cpu-bf16"},
        {.name = "packed_is_simulated, cuda", .test_func = packed_is_simulated, .initial_state = "cuda"},
        {.name = "packed_questions, cpu", .test_func = packed_questions, .initial_state = "cpu"},
        {.name = "packed_questions, cuda", .test_func = packed_questions, .initial_state = "cuda"},
        {.name = "methods_and_packed, cpu", .test_func = methods_and_packed, .initial_state = "cpu"},
        {.name = "methods_and_packed, cuda", .test_func = methods_and_packed, .initial_state = "cuda"},
        cmocka_unit_test(packed_memory),
        cmocka_unit_test(packed_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
