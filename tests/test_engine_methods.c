/* How the engine calls methods: order of hooks, state, recall as defined, and methods that break the contract. */
#include "tests/engine_world.h"

#include "base/clock.h"

/* A method that writes down how it was called. */
static struct {
    int states, observed[64], keys[64], observes, decodes, zeroed;
} diary;

static sf_status diary_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params;
    diary.states++;
    if (max_keys != a->keys + OUTPUT - 1) return sf_fail(SF_INTERNAL, "max_keys is %d", max_keys);
    out->tensor[1] = (sf_tensor){.dtype = SF_I32, .rank = 1, .dim = {1}};
    return SF_OK;
}

static sf_status diary_observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    (void)params;
    int32_t *calls = state->tensor[1].data; /* host memory on this backend */
    if (first == 0) diary.zeroed += *calls == 0;
    ++*calls;
    if (a->layer == 1 && diary.observes < 64) {
        diary.observed[diary.observes] = first;
        diary.keys[diary.observes++] = a->keys;
    }
    return SF_OK;
}

static sf_status diary_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params;
    diary.decodes++;
    if (*(int32_t *)state->tensor[1].data != a->keys - 40 + 1) return sf_fail(SF_INTERNAL, "state was lost");
    return sf_dense(a, out);
}

static void hooks_in_order(void **state)
{
    (void)state;
    static const sf_method m = {
        .abi = SF_METHOD_ABI, .name = "diary", .state = diary_state, .observe = diary_observe, .decode = diary_decode};
    world w;
    result r[2];
    open_world(&w, "reference", 1, LLAMA);
    for (int sample = 0; sample < 2; sample++) {
        memset(&diary, 0, sizeof diary);
        set_arms(2, COMPANY, r);
        set_result(&r[0], NULL, &m);
        run(w.engine, 40, 3, 2, r);
        assert_int_equal(diary.states, LAYERS);
        assert_int_equal(diary.zeroed, LAYERS);
        assert_int_equal(diary.decodes, LAYERS * (OUTPUT - 1));
        assert_int_equal(diary.observes, OUTPUT);
        for (int i = 0; i < OUTPUT; i++) {
            assert_int_equal(diary.observed[i], i ? 39 + i : 0);
            assert_int_equal(diary.keys[i], 40 + i);
        }
    }
    close_world(&w);
}

/* What each step reads is what each method's rule says, from its budget alone. */
static void read_by_step(void **state)
{
    (void)state;
    enum { PROMPT = 60, CAPACITY = 20, EVERY = 4, PAGE = 8, BUDGET = 24 };
    static const arm arms[] = {
        {NULL, NULL},
        {NULL, "tova capacity=20"},
        {NULL, "h2o capacity=20 every=4"},
        {NULL, "decoding_snapkv capacity=20 every=4 window=4"},
        {NULL, "snapkv capacity=20 window=16 kernel=5"},
        {NULL, "quest budget=24 page=8"},
        {NULL, "tova share=0.5"},
    };
    enum { N = sizeof arms / sizeof *arms };
    static const char *const devices[] = {"reference", "cpu"};
    for (int d = 0; d < 2; d++) {
        world w;
        result r[N];
        uint64_t read[N][OUTPUT];
        open_world(&w, devices[d], 1, LLAMA);
        set_arms(N, arms, r);
        for (int i = 0; i < N; i++) r[i].lane.read = read[i];
        run(w.engine, PROMPT, 3, N, r);
        for (int n = 1; n < OUTPUT; n++) { /* the n-th step */
            const int keys = PROMPT + n, since = (n - 1) % EVERY;
            const double expected[N] = {keys,
                                        CAPACITY + 1,
                                        CAPACITY + 1 + since,
                                        CAPACITY + 1 + since,
                                        CAPACITY + n,
                                        BUDGET + (keys - 1) % PAGE + 1,
                                        round(0.5 * keys) + 1};
            for (int i = 0; i < N; i++)
                if ((double)read[i][n - 1] != expected[i] * LAYERS * HEADS)
                    fail_msg("%s, %s, step %d: reads %g keys a head, by its rule %g", devices[d], arms[i].decode ? arms[i].decode : "dense",
                             n, (double)read[i][n - 1] / (LAYERS * HEADS), expected[i]);
        }
        close_world(&w);
    }
}

/* ---- what is carried along, and what is settled at last ---- */

/* From layer to layer and step to step; begun anew for each sample, and each lane's own. */
static void carried_along(void **state)
{
    (void)state;
    static const sf_method in_prefill = {.name = "before", .carry = carry_one, .prefill = carry_prefill},
                           in_decode = {.name = "after", .carry = carry_one, .state = diary_state, .observe = carry_observe,
                                        .decode = carry_decode};
    world w;
    result r[4];
    open_world(&w, "reference", 1, LLAMA);
    for (int sample = 0; sample < 2; sample++) {
        set_arms(4, COMPANY, r);
        for (int i = 0; i < 3; i++) set_result(&r[i], i ? &in_prefill : NULL, i < 2 ? &in_decode : NULL);
        run(w.engine, 40, 3, 4, r);
    }
    close_world(&w);
}

/* Layer l keeps its first keys / (2 + l): at once, or as its compress hook has written down for all layers to settle. */
static sf_status share_compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return keep_first(a, a->keys / (2 + a->layer), out);
}

static sf_status note_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params, (void)max_keys;
    out->tensor[0] = (sf_tensor){.dtype = SF_I32, .rank = 1, .dim = {1}};
    return SF_OK;
}

static sf_status note_compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params;
    *(int32_t *)state->tensor[0].data = a->keys / (2 + a->layer);
    return sf_dense(a, out);
}

static sf_status settle_notes(int layers, sf_attention *a, const void *params, const sf_state *state, sf_pattern *out)
{
    (void)params;
    for (int i = 0; i < layers; i++) SF_TRY(keep_first(&a[i], *(int32_t *)state[i].tensor[0].data, &out[i]));
    return SF_OK;
}

static sf_status settle_nothing(int layers, sf_attention *a, const void *params, const sf_state *state, sf_pattern *out)
{
    (void)params, (void)state, (void)layers;
    return keep_first(&a[0], 5, &out[0]);
}

static void settled_at_last(void **state)
{
    (void)state;
    static const sf_method at_once = {.name = "share", .compress = share_compress},
                           at_last = {.name = "share", .state = note_state, .compress = note_compress, .settle = settle_notes},
                           not_all = {.name = "some", .state = note_state, .compress = note_compress, .settle = settle_nothing},
                           too_early = {.name = "early", .state = note_state, .compress = share_compress, .settle = settle_notes};
    static const int shapes[] = {LLAMA, GEMMA}; /* all layers are the method's; one is */
    for (int i = 0; i < 4; i++) {
        world w;
        result r[3], alone;
        open_world(&w, i % 2 ? "reference" : "cpu", 1, shapes[i / 2]);
        set_arms(3, COMPANY, r), set_arms(1, COMPANY, &alone);
        set_result(&r[0], NULL, &at_once), set_result(&r[1], NULL, &at_last), set_result(&alone, NULL, &at_last);
        run(w.engine, 60, 3, 3, r);
        run(w.engine, 60, 3, 1, &alone);
        assert_same(&r[0], &r[1], "settled at last");
        assert_same(&r[0], &alone, "settled at last, alone");
        assert_true(r[0].density[SF_DECODE][1][0] < 0.6f);
        set_result(&alone, NULL, &too_early);
        assert_int_equal(try_run(w.engine, 60, 3, &HOW, 1, &alone), SF_BAD_INPUT);
        assert_non_null(strstr(sf_error(), "chose keys to keep, which settle() does"));
        set_result(&alone, NULL, &not_all);
        if (shapes[i / 2] == LLAMA) {
            assert_int_equal(try_run(w.engine, 60, 3, &HOW, 1, &alone), SF_BAD_INPUT);
            assert_non_null(strstr(sf_error(), "method 'some', settle: layer 1: returned without making a pattern"));
        }
        close_world(&w);
    }
}

/* Watches how much of the softmax lies on the last keys, and on those that half_compress() keeps: layer 0, head 1. */
static struct {
    double last[OUTPUT], half;
} watched;

static sf_status watch_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    int step = a->kv.tail.n - 1, prompt = a->kv.prompt.n;
    if (a->layer == 0) {
        const float *p = (const float *)sf_key_probabilities(a).data + a->keys; /* of head 1; host memory */
        watched.last[step] = watched.half = 0;
        for (int j = 0; j < a->keys; j++) {
            if (j >= a->keys - 9) watched.last[step] += p[j];
            if (j < prompt / 2 || j >= prompt) watched.half += p[j];
        }
    }
    return sf_window(a, out, 0, 9);
}

static sf_status all_compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    (void)params;
    return sf_dense(a, out);
}

/* An evicting method may keep everything; alone, without a recall to look at, nobody else keeps the prompt for it. */
static void evicting_nothing(void **state)
{
    (void)state;
    static const sf_method all = {.name = "all", .compress = all_compress};
    static const sf_generation plain = {.max_output = OUTPUT};
    world w;
    result dense, alone, r[2];
    open_world(&w, "cpu", 1, GEMMA);
    set_arms(1, COMPANY, &dense);
    assert_int_equal(try_run(w.engine, 60, 8, &plain, 1, &dense), SF_OK);
    set_arms(1, COMPANY, &alone);
    set_result(&alone, NULL, &all);
    assert_int_equal(try_run(w.engine, 60, 8, &plain, 1, &alone), SF_OK);
    set_arms(2, (const arm[2]){{0}}, r);
    set_result(&r[0], NULL, &all);
    assert_int_equal(try_run(w.engine, 60, 8, &plain, 2, r), SF_OK);
    assert_same(&dense, &alone, "dense, all kept");
    assert_same(&dense, &r[0], "dense, all kept in company");
    close_world(&w);
}

static void recall_as_defined(void **state)
{
    (void)state;
    static const sf_method watch = {.name = "watch", .decode = watch_decode},
                           half = {.name = "half", .compress = half_compress};
    static const int weight[OUTPUT] = {1, 1, 2, 0, 4, 0, 0, 0, 8}; /* of the steps, with one row a doubling */
    world w;
    result r[2];
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, COMPANY, r);
    set_result(&r[0], NULL, &watch);
    sf_generation how = {.max_output = OUTPUT, .recall_rows = 1};
    assert_int_equal(try_run(w.engine, 60, 8, &how, 1, r), SF_OK);
    double sum = 0, steps = 0;
    for (int s = 0; s < OUTPUT - 1; s++) {
        sum += weight[s] * watched.last[s];
        steps += weight[s];
    }
    assert_true(watched.last[0] != watched.last[8]);
    assert_true(fabs(r[0].recall[SF_DECODE][0][1] - sum / steps) < 1e-6);

    /* Layer 0 of the first step has the same query in both lanes, whatever the cache. */
    how.max_output = 2;
    set_arms(2, (const arm[2]){{0}}, r);
    set_result(&r[0], NULL, &watch);
    set_result(&r[1], NULL, &half);
    assert_int_equal(try_run(w.engine, 60, 8, &how, 2, r), SF_OK);
    assert_true(watched.half > 0.05 && watched.half < 0.95);
    assert_true(fabs(r[1].recall[SF_DECODE][0][1] - watched.half) < 1e-6);
    close_world(&w);
}

static sf_status host_pattern(sf_attention *a, sf_pattern *out, int page, const int32_t *index, int n)
{
    int32_t count[8], all[8 * 8];
    for (int g = 0; g < a->kv_heads; g++) {
        count[g] = n;
        memcpy(all + g * 8, index, (size_t)n * sizeof *index);
    }
    sf_lists lists = sf_host_lists(a, a->kv_heads, 8, count, all);
    return page ? sf_pages(a, out, page, lists) : sf_keep(a, out, lists);
}

static sf_status range_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return host_pattern(a, out, 16, (int32_t[]){0, 99}, 2);
}

static sf_status order_compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    (void)params;
    return host_pattern(a, out, 0, (int32_t[]){5, 3}, 2);
}

static sf_status empty_compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    (void)params;
    return host_pattern(a, out, 0, (int32_t[]){0}, 0);
}

static sf_status kind_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return host_pattern(a, out, 0, (int32_t[]){0, 1}, 2);
}

static sf_status bare_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    *out = (sf_pattern){.kind = SF_BLOCKS, .heads = a->heads, .block_q = 16, .block_k = 16};
    return SF_OK;
}

static sf_status failing_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return a->layer == 2 ? sf_fail(SF_BAD_INPUT, "out of ideas") : sf_dense(a, out);
}

static sf_status silent_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state, (void)out;
    a->status = sf_fail(SF_BAD_INPUT, "only in status");
    return SF_OK;
}

static sf_status wordless_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)a, (void)params, (void)out;
    return SF_BAD_INPUT;
}

static sf_status idle_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)a, (void)params, (void)out;
    return SF_OK;
}

/* Nothing for whole blocks of queries, or for a step. */
static sf_status blind_prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    int32_t count[64] = {0}, index[64] = {0};
    return sf_blocks(a, out, a->heads, 64, 64, sf_host_lists(a, a->heads, 1, count, index));
}

static sf_status blind_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return host_pattern(a, out, 16, (int32_t[]){0}, 0);
}

static sf_status huge_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params, (void)max_keys;
    out->tensor[0] = (sf_tensor){.dtype = SF_F32, .rank = 2, .dim = {4, -1}};
    return SF_OK;
}

static sf_status dense_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return sf_dense(a, out);
}

static void bad_methods_end_the_sample(void **state)
{
    (void)state;
    static const struct {
        sf_method method;
        bool prefill;
        const char *expected[4];
    } cases[] = {
        {{.name = "range", .decode = range_decode}, false, {"'range'", "decode at layer 0", "99"}},
        {{.name = "order", .compress = order_compress}, false, {"'order'", "compress at layer 0", "ascending"}},
        {{.name = "empty", .compress = empty_compress}, false, {"'empty'", "compress at layer 0", "empty"}},
        {{.name = "kind", .prefill = kind_prefill}, true, {"'kind'", "prefill at layer 0", "blocks"}},
        {{.name = "bare", .prefill = bare_prefill}, true, {"'bare'", "prefill at layer 0", "lists are not set"}},
        {{.name = "failing", .prefill = failing_prefill}, true, {"'failing'", "prefill at layer 2", "out of ideas"}},
        {{.name = "silent", .decode = silent_decode}, false, {"'silent'", "decode at layer 0", "only in status"}},
        {{.name = "wordless", .prefill = wordless_prefill}, true, {"'wordless'", "prefill at layer 0", "said nothing"}},
        {{.name = "idle", .prefill = idle_prefill}, true, {"'idle'", "prefill at layer 0", "without making a pattern"}},
        {{.name = "blind", .prefill = blind_prefill}, true, {"'blind'", "prefill at layer 0", "own block"}},
        {{.name = "blind", .decode = blind_decode}, false, {"'blind'", "decode at layer 0", "is empty"}},
        {{.name = "huge", .state = huge_state, .decode = dense_decode}, false, {"'huge'", "state at layer 0", "-1"}},
        {{.name = "nothing", .prefill = kind_prefill}, false, {"'nothing'", "no compress or decode"}},
        {{.name = "other", .decode = dense_decode}, true, {"'other'", "cannot be used in prefill"}},
    };
    world w;
    result before, after, r[2];
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, COMPANY, &before);
    run(w.engine, 40, 3, 1, &before);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_arms(2, COMPANY, r);
        set_result(&r[1], cases[i].prefill ? &cases[i].method : NULL, cases[i].prefill ? NULL : &cases[i].method);
        assert_int_equal(try_run(w.engine, 40, 3, &HOW, 2, r), SF_BAD_INPUT);
        for (int k = 0; cases[i].expected[k]; k++)
            if (!strstr(sf_error(), cases[i].expected[k]))
                fail_msg("expected '%s' in: %s", cases[i].expected[k], sf_error());
    }
    set_arms(1, COMPANY, &after);
    run(w.engine, 40, 3, 1, &after);
    assert_same(&before, &after, "after errors");
    close_world(&w);
}

/* The rows that recall looks at are the seed's: the same ones give the same recall, others another. One row a stretch: as
 * many rows as tokens are all of them, whatever the seed. */
static void recall_rows_by_seed(void **state)
{
    (void)state;
    static const arm arms[] = {{"streaming local=20 sinks=2", NULL}};
    world w;
    result r[2];
    float recall[4];
    open_world(&w, "cpu", 1, LLAMA);
    for (int rows = 3; rows <= 100; rows += 97) {
        for (int i = 0; i < 4; i++) {
            sf_generation how = {.max_output = 1, .recall_rows = rows, .seed = (uint64_t[]){1, 1, 2, 77}[i]};
            set_arms(1, arms, r);
            assert_int_equal(try_run(w.engine, 100, 8, &how, 1, r), SF_OK);
            recall[i] = r[0].recall[SF_PREFILL][1][2];
        }
        assert_true(recall[0] == recall[1]);
        assert_true((recall[0] != recall[2]) == (rows < 100) && (recall[2] != recall[3]) == (rows < 100));
    }
    close_world(&w);
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

/* Pairs that a picture shows: shares times the keys of their stretches that were there for the line's query. */
static double pairs_shown(const sf_picture *p, int first_keys)
{
    double pairs = 0;
    for (int y = 0; y < SF_PICTURE_SIDE; y++)
        for (int x = 0; x < SF_PICTURE_SIDE; x++) {
            int begin = p->keys * x / SF_PICTURE_SIDE, end = p->keys * (x + 1) / SF_PICTURE_SIDE;
            if (end > first_keys + y) end = first_keys + y;
            if (isnan(p->at[y][x])) continue;
            assert_true(begin < end);
            pairs += (double)p->at[y][x] * (end - begin);
        }
    return pairs;
}

/* With one line a query and one a step, pictures add up to the head's density; of dense, each line to a mass of one.
 * Taking them changes nothing else. */
static void pictures_add_up(void **state)
{
    (void)state;
    enum { N = SF_PICTURE_SIDE, LAYER = 1, HEAD = 3 };
    static sf_picture picture[MOST_LANES][SF_PHASES];
    sf_generation how = HOW;
    how.picture_layer = LAYER, how.picture_head = HEAD;
    const char *const backends[] = {"cpu", "reference"};
    const int models[] = {LLAMA, GEMMA};
    for (int k = 0; k < 2; k++) {
        world w;
        result plain[LANES], r[LANES];
        open_world(&w, backends[k], 1, models[k]);
        set_arms(LANES, COMPANY, plain);
        run(w.engine, N, 3, LANES, plain);
        set_arms(LANES, COMPANY, r);
        for (int i = 0; i < LANES; i++)
            for (int p = 0; p < SF_PHASES; p++) r[i].lane.picture[p] = &picture[i][p];
        if (try_run(w.engine, N, 3, &how, LANES, r) != SF_OK) fail_msg("%s", sf_error());
        for (int i = 0; i < LANES; i++) {
            assert_same(&plain[i], &r[i], "with pictures");
            const sf_picture *p = picture[i];
            int steps = 0;
            while (!isnan(p[SF_DECODE].at[steps][0])) steps++;
            assert_int_equal(steps, OUTPUT - 1);
            assert_true(p[SF_PREFILL].layer == LAYER && p[SF_PREFILL].head == HEAD && p[SF_PREFILL].queries == N);
            assert_true(p[SF_DECODE].queries == OUTPUT - 1 && p[SF_DECODE].keys == N + OUTPUT - 1);
            double whole[SF_PHASES] = {N * (N + 1) / 2.0, steps * N + steps * (steps + 1) / 2.0};
            for (int phase = 0; phase < SF_PHASES; phase++) {
                const sf_method *m = phase == SF_PREFILL ? r[i].lane.prefill : r[i].lane.decode;
                double shown = pairs_shown(&p[phase], phase == SF_PREFILL ? 1 : N + 1);
                if (m && fabs(shown / whole[phase] - (double)r[i].density[phase][LAYER][HEAD]) > 1e-5)
                    fail_msg("lane %d, phase %d: the picture shows %g of %g pairs, density is %g", i, phase, shown,
                             whole[phase], (double)r[i].density[phase][LAYER][HEAD]);
                for (int y = 0; !m && y < (phase == SF_PREFILL ? N : steps); y++) {
                    double mass = 0;
                    for (int x = 0; x < N; x++)
                        if (!isnan(p[phase].at[y][x])) mass += (double)p[phase].at[y][x];
                    if (fabs(mass - 1) > 1e-4) fail_msg("lane %d, phase %d, line %d: mass %g", i, phase, y, mass);
                }
            }
        }
        close_world(&w);
    }
}

/* With more queries than lines, a line is the last query of its stretch. */
static void lines_are_last_queries(void **state)
{
    (void)state;
    enum { N = SF_PICTURE_SIDE, TOKENS = 150, SINKS = 3, LOCAL = 30 };
    static const arm streaming = {"streaming local=30 sinks=3", NULL};
    static sf_picture picture;
    sf_generation how = {.max_output = 1, .picture_layer = 1, .picture_head = 3};
    world w;
    result r;
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, &streaming, &r);
    r.lane.picture[SF_PREFILL] = &picture;
    assert_int_equal(try_run(w.engine, TOKENS, 3, &how, 1, &r), SF_OK);
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++) {
            int query = TOKENS * (y + 1) / N - 1, begin = TOKENS * x / N, end = TOKENS * (x + 1) / N, read = 0, there = 0;
            for (int j = begin; j < end && j <= query; j++) there++, read += j < SINKS || query - j < LOCAL;
            float got = picture.at[y][x];
            if (there ? fabs(got - (double)read / there) > 1e-6 : !isnan(got))
                fail_msg("line %d, column %d: %g, expected %d of %d", y, x, (double)got, read, there);
        }
    close_world(&w);
}

/* Taking a picture is none of a prefill's seconds: they and those of steps are no more than passed. */
static void seconds_without_looking(void **state)
{
    (void)state;
    static sf_picture picture;
    sf_generation how = {.max_output = 1, .picture_layer = 1, .picture_head = 3};
    world w;
    result r;
    open_world(&w, "reference", 1, LLAMA);
    set_arms(1, (arm[]){{NULL, NULL}}, &r);
    r.lane.picture[SF_PREFILL] = &picture;
    double began = sf_now();
    assert_int_equal(try_run(w.engine, SF_PICTURE_SIDE, 3, &how, 1, &r), SF_OK);
    double passed = sf_now() - began, told = r.lane.seconds[SF_PREFILL] + r.lane.seconds[SF_DECODE];
    if (!(told > 0 && told <= passed)) fail_msg("%g seconds told of %g", told, passed);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks_in_order),
        cmocka_unit_test(read_by_step),
        cmocka_unit_test(carried_along),
        cmocka_unit_test(settled_at_last),
        cmocka_unit_test(evicting_nothing),
        cmocka_unit_test(recall_as_defined),
        cmocka_unit_test(recall_rows_by_seed),
        cmocka_unit_test(pictures_add_up),
        cmocka_unit_test(lines_are_last_queries),
        cmocka_unit_test(seconds_without_looking),
        cmocka_unit_test(bad_methods_end_the_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
