/* The engine on tiny random models: lanes alone and in company, threads, backends, chunks, counts, input, memory. What
 * is called equal here is compared bit for bit. Methods that misbehave: test_engine_methods.c */
#include "tests/engine_world.h"

#include <unistd.h>

#include "base/clock.h"

#include "harness/run/schedule.h"

/* ---- economies change nothing ------------------------------------------------------------------------------------ */

/* *state names the device. */
static void alone_and_in_company(void **state)
{
    needs_device(*state);
    bool slow = strcmp(*state, "reference") == 0;
    for (int which = slow ? GEMMA : 0; which < (slow ? GEMMA + 1 : SHAPES); which++) {
        world w;
        result *together = calloc(LANES, sizeof *together), alone, copied;
        const sf_generation plain = {.max_output = OUTPUT, .seed = 1};
        open_world(&w, *state, 1, which);
        set_arms(LANES, COMPANY, together);
        run(w.engine, 130, 5, LANES, together);
        for (int i = 0; i < LANES; i++) {
            char what[64];
            snprintf(what, sizeof what, "shape %d, lane %d", which, i);
            set_arms(1, &COMPANY[i], &alone);
            run(w.engine, 130, 5, 1, &alone);
            assert_same(&alone, &together[i], what);
            set_arms(1, &COMPANY[i], &copied); /* without recall an evicting lane alone has a copy, not a view */
            if (try_run(w.engine, 130, 5, &plain, 1, &copied) != SF_OK) fail_msg("%s", sf_error());
            memcpy(copied.recall, alone.recall, sizeof copied.recall);
            assert_same(&copied, &alone, what);
        }
        free(together);
        close_world(&w);
    }
}

/* Samples of several lengths in one run, some with prefills that go together and some alone, against each lane alone. */
static void samples_in_company(void **state)
{
    enum { JOBS = 3 };
    static const int tokens[JOBS] = {130, 47, 90}, lanes[JOBS] = {LANES, 1, 4}, from[JOBS] = {0, 0, 5};
    for (int which = 0; which <= WITH_SINKS; which++) {
        for (int chunk = 0; chunk <= 230; chunk += 230) { /* all prompts together; two waves, one of two samples */
            world w;
            open_world(&w, *state, 2, which);
            sf_engine_set_chunk(w.engine, chunk);
            result *r[JOBS], alone;
            sf_lane lane[JOBS][MOST_LANES];
            int32_t token[JOBS][MOST_TOKENS];
            sf_job job[JOBS];
            for (int j = 0; j < JOBS; j++) {
                r[j] = calloc((size_t)lanes[j], sizeof *r[j]);
                set_arms(lanes[j], COMPANY + from[j], r[j]);
                for (int i = 0; i < lanes[j]; i++) lane[j][i] = r[j][i].lane;
                fill_prompt(token[j], tokens[j], 5 + (uint32_t)j);
                job[j] = (sf_job){.token = token[j], .tokens = tokens[j], .lanes = lanes[j], .lane = lane[j]};
            }
            if (sf_engine_run(w.engine, JOBS, job, &HOW) != SF_OK) fail_msg("%s", sf_error());
            for (int j = 0; j < JOBS; j++) {
                for (int i = 0; i < lanes[j]; i++) {
                    char what[64];
                    snprintf(what, sizeof what, "shape %d, chunk %d, sample %d, lane %d", which, chunk, j, i);
                    r[j][i].lane = lane[j][i];
                    set_arms(1, &COMPANY[from[j] + i], &alone);
                    run(w.engine, tokens[j], 5 + (uint32_t)j, 1, &alone);
                    assert_same(&alone, &r[j][i], what);
                }
                free(r[j]);
            }
            close_world(&w);
        }
    }
}

static void threads_and_chunks(void **state)
{
    (void)state;
    for (int which = 0; which <= CHUNKS; which++) {
        world one, two;
        result *a = calloc(LANES, sizeof *a), *b = calloc(LANES, sizeof *b);
        open_world(&one, "cpu", 1, which);
        open_world(&two, "cpu", 2, which);
        sf_engine_set_chunk(two.engine, 17);
        set_arms(LANES, COMPANY, a);
        set_arms(LANES, COMPANY, b);
        run(one.engine, 130, 5, LANES, a);
        run(two.engine, 130, 5, LANES, b);
        for (int i = 0; i < LANES; i++) {
            /* Weights are read once a chunk, so that only these bytes may differ. */
            for (int work = 0; work < SF_WORKS; work++)
                b[i].lane.meter.at[SF_PREFILL][work].weight_bytes = a[i].lane.meter.at[SF_PREFILL][work].weight_bytes;
            assert_same(&a[i], &b[i], "1 thread, whole prompt; 2 threads, 17 rows");
        }
        free(a);
        free(b);
        close_world(&one);
        close_world(&two);
    }
}

static void no_state_between_samples(void **state)
{
    (void)state;
    world w;
    result *first = calloc(LANES, sizeof *first), *again = calloc(LANES, sizeof *again);
    open_world(&w, "cpu", 1, GEMMA);
    set_arms(LANES, COMPANY, first);
    run(w.engine, 120, 5, LANES, first);
    set_arms(LANES, COMPANY, again);
    run(w.engine, 150, 6, LANES, again);
    run(w.engine, 120, 5, LANES, again); /* into the same lanes */
    for (int i = 0; i < LANES; i++) assert_same(&first[i], &again[i], "same sample after another");
    free(first);
    free(again);
    close_world(&w);
}

static struct {
    int prefills, decodes, argmaxes, linears[SF_PHASES];
} executed;
static const sf_backend_ops *wrapped;

static sf_status count_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out)
{
    executed.prefills++;
    return wrapped->prefill(b, a, pattern, out);
}

static sf_status count_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern,
                              void *out)
{
    executed.decodes++;
    assert_int_equal(lanes, LANES);
    return wrapped->decode(b, lanes, a, pattern, out);
}

static sf_status count_argmax(sf_backend *b, const float *logits, int64_t rows, int64_t vocab, int32_t *token)
{
    executed.argmaxes++;
    return wrapped->argmax(b, logits, rows, vocab, token);
}

static sf_status count_linear(sf_backend *b, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias,
                              bool add, void *y, sf_dtype dtype)
{
    executed.linears[b->phase]++;
    return wrapped->linear(b, x, rows, w, bias, add, y, dtype);
}

static void on_progress(void *user, sf_phase phase, int done, int of)
{
    int *last = user;
    assert_int_equal(done, last[phase] + 1);
    assert_int_equal(of, phase == SF_PREFILL ? PREFILLS * LAYERS : OUTPUT - 1);
    last[phase] = done;
}

static void one_prefill_and_one_batch(void **state)
{
    (void)state;
    world w;
    result *r = calloc(LANES, sizeof *r);
    open_world(&w, "cpu", 1, LLAMA);
    sf_backend_ops counted = *w.backend.ops;
    wrapped = w.backend.ops;
    counted.prefill = count_prefill;
    counted.decode = count_decode;
    counted.argmax = count_argmax;
    counted.linear = count_linear;
    w.backend.ops = &counted;
    memset(&executed, 0, sizeof executed);

    int last[SF_PHASES] = {0};
    sf_generation how = HOW;
    how.progress = on_progress;
    how.user = last;
    set_arms(LANES, COMPANY, r);
    assert_int_equal(try_run(w.engine, 130, 5, &how, LANES, r), SF_OK);
    assert_int_equal(executed.prefills, PREFILLS * LAYERS);
    assert_int_equal(executed.decodes, LAYERS * (OUTPUT - 1));
    assert_int_equal(executed.argmaxes, 1 + OUTPUT - 1); /* the prefills are one wave */
    int weights = 7 * LAYERS + 1; /* q, k, v, o, gate, up, down; the head */
    assert_int_equal(executed.linears[SF_PREFILL], weights);
    assert_int_equal(executed.linears[SF_DECODE], weights * (OUTPUT - 1));
    assert_int_equal(last[SF_PREFILL], PREFILLS * LAYERS);
    assert_int_equal(last[SF_DECODE], OUTPUT - 1);
    for (int i = 0; i < LANES; i++)
        assert_true(r[i].lane.seconds[SF_PREFILL] > 0 && r[i].lane.seconds[SF_DECODE] == r[0].lane.seconds[SF_DECODE]);
    free(r);
    close_world(&w);
}

static sf_status slow_linear(sf_backend *b, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add,
                             void *y, sf_dtype dtype)
{
    usleep(2000);
    return wrapped->linear(b, x, rows, w, bias, add, y, dtype);
}

/* What a wave's prompts do together is shared out by their tokens: times add up to what the wave took. */
static void time_is_shared_out(void **state)
{
    (void)state;
    enum { JOBS = 3 };
    static const int tokens[JOBS] = {20, 60, 120};
    world w;
    result r[JOBS];
    sf_job job[JOBS];
    sf_lane lane[JOBS];
    int32_t token[JOBS][MOST_TOKENS];
    open_world(&w, "cpu", 1, LLAMA);
    sf_backend_ops slow = *w.backend.ops;
    wrapped = w.backend.ops;
    slow.linear = slow_linear;
    w.backend.ops = &slow;
    for (int j = 0; j < JOBS; j++) {
        set_arms(1, COMPANY, &r[j]);
        r[j].lane.recall[SF_PREFILL] = r[j].lane.recall[SF_DECODE] = NULL;
        lane[j] = r[j].lane;
        fill_prompt(token[j], tokens[j], 5);
        job[j] = (sf_job){.token = token[j], .tokens = tokens[j], .lanes = 1, .lane = &lane[j]};
    }
    double took = sf_now(), sum = 0;
    assert_int_equal(sf_engine_run(w.engine, JOBS, job, &(sf_generation){.max_output = 1}), SF_OK);
    took = sf_now() - took;
    for (int j = 0; j < JOBS; j++) sum += lane[j].seconds[SF_PREFILL];
    if (!(sum <= took && sum > 0.002 * 7 * LAYERS)) fail_msg("%g s of %g s are accounted for", sum, took);
    for (int j = 0; j < JOBS; j++) { /* what each does alone takes no time here */
        double share = lane[j].seconds[SF_PREFILL] / sum, want = tokens[j] / 200.;
        if (!(fabs(share - want) < 0.1)) fail_msg("%d of 200 tokens took %g of the time", tokens[j], share);
    }
    close_world(&w);
}

/* ---- right results ----------------------------------------------------------------------------------------------- */

static float *logits_of(sf_engine *e, const int32_t *token, int tokens)
{
    float *out = malloc((size_t)tokens * VOCAB * sizeof *out);
    if (sf_engine_logits(e, token, tokens, out) != SF_OK) fail_msg("%s", sf_error());
    return out;
}

/* Greedy tokens from the cache are the argmax of a prefill of everything before them: positions, caches and sliding
 * windows line up, also where the window has dropped keys. */
static void decode_continues_prefill(void **state)
{
    (void)state;
    for (int which = 0; which <= CHUNKS; which++) {
        for (int tokens = 1; tokens <= 45; tokens += 22) {
            world w;
            result r;
            int32_t all[MOST_TOKENS];
            open_world(&w, "reference", 1, which);
            set_arms(1, COMPANY, &r);
            run(w.engine, tokens, 9, 1, &r);
            fill_prompt(all, tokens, 9);
            memcpy(all + tokens, r.output, sizeof r.output);
            float *logits = logits_of(w.engine, all, tokens + OUTPUT);
            for (int i = 0; i < OUTPUT; i++) {
                const float *row = logits + (size_t)(tokens - 1 + i) * VOCAB;
                for (int t = 0; t < VOCAB; t++) assert_true(row[t] <= row[r.output[i]] + 1e-5f);
            }
            free(logits);
            close_world(&w);
        }
    }
}

/* A question that is asked late is read as what is generated is: a lane that is asked what it would have written itself goes on as it
 * would have, with the same counts and choices. Samples with questions of two lengths go together. */
static void asked_late(void **state)
{
    static const arm EVICTING[] = {{NULL, "tova capacity=20"}, {NULL, "h2o capacity=20 every=4"}, {NULL, "decoding_snapkv capacity=20 every=4 window=4"},
                                   {NULL, "snapkv capacity=20 window=16"}};
    enum { N = 120, JOBS = 2, SOME = LANES + 4, REST = 5 }; /* tokens that are generated after the question */
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result *whole = calloc(SOME, sizeof *whole), *rest = calloc(JOBS * SOME, sizeof *rest);
        const sf_generation how = {.max_output = REST, .recall_rows = 4, .seed = 1};
        open_world(&w, *state, 2, which);
        set_arms(LANES, COMPANY, whole);
        set_arms(4, EVICTING, whole + LANES);
        for (int i = 0; i < SOME; i++) run(w.engine, N, 5, 1, &whole[i]);
        for (int i = 0; i < SOME; i++) {
            int32_t token[JOBS][N];
            sf_lane lane[JOBS];
            sf_job job[JOBS];
            for (int j = 0; j < JOBS; j++) {
                set_arms(1, i < LANES ? &COMPANY[i] : &EVICTING[i - LANES], &rest[j]);
                lane[j] = rest[j].lane;
                fill_prompt(token[j], N, 5);
                const int asked = j ? 0 : OUTPUT - REST; /* the other one is asked nothing */
                job[j] = (sf_job){.token = token[j], .tokens = N, .lanes = 1, .lane = &lane[j], .question = whole[i].output, .questions = asked};
            }
            w.model->stops = 1; /* what stands in a question ends nothing */
            w.model->stop[0] = whole[i].output[0];
            for (int n = OUTPUT - REST; n < OUTPUT; n++)
                if (whole[i].output[n] == w.model->stop[0]) w.model->stops = 0;
            if (sf_engine_run(w.engine, JOBS, job, &how) != SF_OK) fail_msg("%s", sf_error());
            w.model->stops = 0;
            rest[0].lane = lane[0];
            assert_int_equal(lane[0].outputs, REST);
            assert_int_equal(lane[1].outputs == 0, lane[1].stopped);
            memmove(rest[0].output + OUTPUT - REST, rest[0].output, REST * sizeof(int32_t));
            memcpy(rest[0].output, whole[i].output, (OUTPUT - REST) * sizeof(int32_t));
            rest[0].lane.outputs = OUTPUT;
            char what[64];
            snprintf(what, sizeof what, "%s, shape %d, lane %d", (const char *)*state, which, i);
            assert_same(&whole[i], &rest[0], what);
        }
        free(whole), free(rest);
        close_world(&w);
    }
}

/* Where nothing is sparse it does not matter when the question comes: what is generated after it is the argmax of the whole's logits. */
static void asked_late_of_dense(void **state)
{
    enum { N = 60, MOST = 9 };
    for (int which = 0; which < SHAPES; which++)
        for (int asked = 1; asked <= MOST; asked += 4) {
            world w;
            result r;
            int32_t all[MOST_TOKENS];
            open_world(&w, *state, 1, which);
            set_arms(1, COMPANY, &r);
            fill_prompt(all, N, 9);
            const sf_job job = {.token = all, .tokens = N - asked, .lanes = 1, .lane = &r.lane, .question = all + N - asked, .questions = asked};
            if (sf_engine_run(w.engine, 1, &job, &HOW) != SF_OK) fail_msg("%s", sf_error());
            memcpy(all + N, r.output, sizeof r.output);
            float *logits = logits_of(w.engine, all, N + OUTPUT);
            assert_int_equal(r.lane.outputs, OUTPUT);
            for (int i = 0; i < OUTPUT; i++) {
                const float *row = logits + (size_t)(N - 1 + i) * VOCAB;
                for (int t = 0; t < VOCAB; t++) assert_true(row[t] <= row[r.output[i]] + 1e-5f);
            }
            free(logits);
            close_world(&w);
        }
}

/* A later turn is a question that is asked late, of which the answer before is the beginning: the same tokens, choices and counts, by
 * every method; an answer ends with a stop token, which is not read, or at the limit. Its first answer is that of a lane that is asked
 * once. *state names the device. */
static void a_second_turn(void **state)
{
    static const arm EVICTING[] = {{NULL, "snapkv capacity=20 window=16"}, {NULL, "tova capacity=20"}, {NULL, "h2o capacity=20 every=4"},
                                   {NULL, "decoding_snapkv capacity=20 every=4 window=4"}};
    enum { N = 100, MOST = OUTPUT / 2, ASKED = 5, SOME = LANES + 4 };
    const sf_generation how = {.max_output = MOST, .recall_rows = 4, .seed = 1};
    int stopped = 0;
    needs_device(*state);
    for (int which = 0; which < SHAPES; which++)
        for (int stops = 0; stops < 2; stops++) {
            world w;
            result *r = calloc(3, sizeof *r);
            open_world(&w, *state, 2, which);
            for (int i = 0; i < SOME; i++) {
                int32_t token[N], later[ASKED], question[MOST + ASKED];
                sf_answer answer[2];
                char what[64];
                snprintf(what, sizeof what, "%s, shape %d, lane %d, %d", (const char *)*state, which, i, stops);
                fill_prompt(token, N, 5);
                fill_prompt(later, ASKED, 77 + (uint32_t)i);
                for (int k = 0; k < 3; k++) set_arms(1, i < LANES ? &COMPANY[i] : &EVICTING[i - LANES], &r[k]);

                w.model->stops = 0;
                sf_job once = {.token = token, .tokens = N, .lanes = 1, .lane = &r[0].lane};
                if (sf_engine_run(w.engine, 1, &once, &how) != SF_OK) fail_msg("%s", sf_error());
                w.model->stops = stops;
                w.model->stop[0] = r[0].output[MOST / 2];
                later[1] = w.model->stop[0]; /* what stands in a question ends nothing */
                const int asked = ASKED;
                sf_job twice = {.token = token, .tokens = N, .lanes = 1, .lane = &r[1].lane, .later = later, .later_tokens = &asked, .turns = 1};
                r[1].lane.answer = answer;
                if (sf_engine_run(w.engine, 1, &twice, &how) != SF_OK) fail_msg("%s", sf_error());
                const int end = answer[0].end;
                assert_int_equal(answer[1].end, r[1].lane.outputs);
                assert_int_equal(r[1].lane.stopped, answer[0].stopped && answer[1].stopped);
                assert_memory_equal(r[1].output, r[0].output, (size_t)end * sizeof *r[1].output);
                if (answer[0].stopped) assert_int_equal(r[0].output[end], w.model->stop[0]);
                else assert_int_equal(end, MOST);
                stopped += answer[0].stopped;

                memcpy(question, r[1].output, (size_t)end * sizeof *question);
                memcpy(question + end, later, sizeof later);
                sf_job late = {.token = token, .tokens = N, .lanes = 1, .lane = &r[2].lane, .question = question, .questions = end + ASKED};
                if (sf_engine_run(w.engine, 1, &late, &how) != SF_OK) fail_msg("%s", sf_error());
                assert_int_equal(r[2].lane.outputs, answer[1].end - end);
                assert_int_equal(r[2].lane.stopped, answer[1].stopped);
                memmove(r[2].output + end, r[2].output, (size_t)r[2].lane.outputs * sizeof *r[2].output);
                memcpy(r[2].output, r[1].output, (size_t)end * sizeof *r[2].output);
                memset(r[2].output + answer[1].end, 0, (size_t)(OUTPUT - answer[1].end) * sizeof *r[2].output);
                memset(r[1].output + answer[1].end, 0, (size_t)(OUTPUT - answer[1].end) * sizeof *r[1].output);
                r[2].lane.outputs = r[1].lane.outputs, r[2].lane.stopped = r[1].lane.stopped;
                for (int p = 0; answer[0].stopped && p < SF_PHASES; p++) /* there is more state where an answer may be longer */
                    r[2].lane.meter.at[p][SF_ESTIMATION] = r[1].lane.meter.at[p][SF_ESTIMATION];
                assert_same(&r[1], &r[2], what);

                const uint64_t steps = (uint64_t)(answer[1].end + ASKED - 1 + answer[1].stopped);
                const uint64_t pairs = LAYERS * HEADS * steps * (2 * (i == 0 ? N : 20) + steps + 1) / 2;
                if (which != GEMMA && (i == 0 || i == LANES)) /* dense; SnapKV, by what it keeps */
                    assert_int_equal(r[1].lane.meter.at[SF_DECODE][SF_ATTENTION].pairs, pairs);
            }
            free(r);
            close_world(&w);
        }
    assert_true(stopped > SHAPES);
}

static void count_prefills(void *user, sf_phase phase, int done, int of)
{
    (void)done;
    if (phase == SF_PREFILL) *(int *)user = of;
}

/* Of a phase, of what three questions took that were asked one by one. */
static void assert_sum(const result *all, const result *one, sf_phase phase, int n, const char *what)
{
    for (int work = 0; work < SF_WORKS; work++) {
        const sf_count *x = &all->lane.meter.at[phase][work];
        sf_count sum = {0};
        for (int q = 0; q < n; q++) {
            const sf_count *y = &one[q].lane.meter.at[phase][work];
            sum.flops += y->flops, sum.weight_bytes += y->weight_bytes, sum.cache_bytes += y->cache_bytes, sum.other_bytes += y->other_bytes;
            sum.pairs += y->pairs;
        }
        if (memcmp(x, &sum, sizeof sum) != 0) fail_msg("%s: phase %d work %d: flops %lu %lu, pairs %lu %lu", what, phase, work, x->flops, sum.flops, x->pairs, sum.pairs);
    }
}

/* Questions that share their context, all arms together: each is answered as alone, the prefill is run and counted once, decode of all,
 * density over all that was causal; of reference and cpu, and of what a GPU has. */
static void shared_questions(void **state)
{
    enum { N = 45, MOST = OUTPUT / 3, QUESTIONS = 3, ARMS = LANES };
    static const int asked[QUESTIONS] = {5, 3, 8};
    needs_device(*state);
    const int shapes = strcmp(*state, "reference") == 0 ? 1 : SHAPES; /* its loops are slow */
    for (int which = 0; which < shapes; which++) {
        world w;
        result *all = calloc(ARMS, sizeof *all), *one = calloc(ARMS, sizeof *one);
        sf_lane lane[ARMS];
        sf_answer answer[ARMS][QUESTIONS];
        int32_t token[N + 16], *question[QUESTIONS] = {token + N, token + N + asked[0], token + N + asked[0] + asked[1]};
        int together = 0, alone = 0;
        sf_generation how = {.max_output = MOST, .recall_rows = 4, .seed = 1, .progress = count_prefills, .user = &together};
        open_world(&w, *state, 2, which);
        fill_prompt(token, N + 16, 6);
        set_arms(ARMS, COMPANY, all);
        for (int i = 0; i < ARMS; i++) lane[i] = all[i].lane, lane[i].answer = answer[i];
        sf_job job = {.token = token, .tokens = N, .lanes = ARMS, .lane = lane, .question = question[0], .questions = asked[0],
                      .later = question[1], .later_tokens = asked + 1, .turns = QUESTIONS - 1, .shared = true};
        if (sf_engine_run(w.engine, 1, &job, &how) != SF_OK) fail_msg("%s", sf_error());
        how.user = &alone;
        for (int q = 0; q < QUESTIONS; q++) {
            set_arms(ARMS, COMPANY, one);
            for (int i = 0; i < ARMS; i++) lane[i] = one[i].lane;
            const sf_job single = {.token = token, .tokens = N, .lanes = ARMS, .lane = lane, .question = question[q], .questions = asked[q]};
            if (sf_engine_run(w.engine, 1, &single, &how) != SF_OK) fail_msg("%s", sf_error());
            assert_int_equal(alone, together);
            for (int i = 0; i < ARMS; i++) {
                const int begin = q ? answer[i][q - 1].end : 0;
                assert_int_equal(answer[i][q].end - begin, lane[i].outputs);
                assert_int_equal(answer[i][q].stopped, lane[i].stopped);
                assert_memory_equal(all[i].output + begin, one[i].output, (size_t)lane[i].outputs * sizeof *one[i].output);
            }
        }
        free(all), free(one);

        for (int i = 0; i < ARMS; i += 1 + i % 3) { /* counts, of an arm alone: dense, Quest, SnapKV, … */
            result sum, each[QUESTIONS];
            char what[64];
            snprintf(what, sizeof what, "%s, shape %d, lane %d", (const char *)*state, which, i);
            set_arms(1, &COMPANY[i], &sum);
            job.lanes = 1, job.lane = &sum.lane;
            if (sf_engine_run(w.engine, 1, &job, &how) != SF_OK) fail_msg("%s", sf_error());
            double causal[QUESTIONS], steps[QUESTIONS], whole = 0, looks = 0;
            for (int q = 0; q < QUESTIONS; q++) {
                set_arms(1, &COMPANY[i], &each[q]);
                const sf_job single = {.token = token, .tokens = N, .lanes = 1, .lane = &each[q].lane, .question = question[q], .questions = asked[q]};
                if (sf_engine_run(w.engine, 1, &single, &how) != SF_OK) fail_msg("%s", sf_error());
                steps[q] = asked[q] + each[q].lane.outputs - !each[q].lane.stopped;
                causal[q] = steps[q] * N + steps[q] * (steps[q] + 1) / 2;
                whole += causal[q], looks += steps[q];
            }
            assert_sum(&sum, each, SF_PREFILL, 1, what);
            assert_sum(&sum, each, SF_DECODE, QUESTIONS, what);
            assert_memory_equal(sum.lane.density[SF_PREFILL], each[0].lane.density[SF_PREFILL], sizeof sum.density[SF_PREFILL]);
            for (int h = 0; h < LAYERS * HEADS; h++) {
                double density = 0, recall = 0;
                for (int q = 0; q < QUESTIONS; q++) {
                    density += (double)each[q].lane.density[SF_DECODE][h] * causal[q] / whole;
                    recall += (double)each[q].lane.recall[SF_DECODE][h] * steps[q] / looks;
                }
                if (isnan(density)) assert_true(isnan(sum.lane.density[SF_DECODE][h]));
                else assert_true(fabs(density - (double)sum.lane.density[SF_DECODE][h]) < 1e-6 && fabs(recall - (double)sum.lane.recall[SF_DECODE][h]) < 1e-6);
            }
        }
        size_t few, many;
        const double kept = 1;
        int32_t answers[QUESTIONS * MOST];
        job.lanes = 1;
        job.lane = lane;
        lane[0] = (sf_lane){.output = answers};
        if (sf_engine_memory(&w.model->config, &w.backend, 1, &job, &how, &kept, &many) != SF_OK) fail_msg("%s", sf_error());
        job.turns = 0, job.shared = false;
        if (sf_engine_memory(&w.model->config, &w.backend, 1, &job, &how, &kept, &few) != SF_OK) fail_msg("%s", sf_error());
        assert_true(many > few && many < 2 * few); /* tails and states, no prompt */
        job.turns = QUESTIONS - 1, job.shared = true, job.questions = 0;
        assert_int_equal(sf_engine_run(w.engine, 1, &job, &how), SF_BAD_INPUT);
        close_world(&w);
    }
}

/* Lanes whose answers end at different steps, of samples with one to three turns, together and alone. */
static void turns_in_company(void **state)
{
    (void)state;
    enum { JOBS = 3, MOST = OUTPUT / 3, N = 90 };
    static const int asked[] = {3, 7};
    const sf_generation how = {.max_output = MOST, .recall_rows = 4, .seed = 1};
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result *r[JOBS], alone;
        sf_lane lane[JOBS][MOST_LANES];
        int32_t token[JOBS][N], later[10];
        sf_job job[JOBS];
        open_world(&w, "cpu", 2, which);
        fill_prompt(later, 10, 31);
        for (int j = 0; j < JOBS; j++) {
            r[j] = calloc(LANES, sizeof *r[j]);
            set_arms(LANES, COMPANY, r[j]);
            for (int i = 0; i < LANES; i++) lane[j][i] = r[j][i].lane;
            fill_prompt(token[j], N, 5 + (uint32_t)j);
            job[j] = (sf_job){.token = token[j], .tokens = N, .lanes = LANES, .lane = lane[j], .later = later, .later_tokens = asked, .turns = j};
        }
        w.model->stops = 8; /* so that answers end early, each lane's elsewhere */
        for (int i = 0; i < w.model->stops; i++) w.model->stop[i] = 11 + 13 * i;
        if (sf_engine_run(w.engine, JOBS, job, &how) != SF_OK) fail_msg("%s", sf_error());
        for (int j = 0; j < JOBS; j++) {
            for (int i = 0; i < LANES; i++) {
                char what[64];
                snprintf(what, sizeof what, "shape %d, sample %d, lane %d", which, j, i);
                r[j][i].lane = lane[j][i];
                set_arms(1, &COMPANY[i], &alone);
                sf_job one = job[j];
                one.lanes = 1, one.lane = &alone.lane;
                if (sf_engine_run(w.engine, 1, &one, &how) != SF_OK) fail_msg("%s", sf_error());
                assert_same(&alone, &r[j][i], what);
            }
            free(r[j]);
        }
        close_world(&w);
    }
}

/* Where nothing is sparse the second answer is that of a prompt that holds the first question and its answer. */
static void a_second_turn_of_dense(void **state)
{
    enum { N = 60, MOST = OUTPUT / 2, ASKED = 4 };
    const sf_generation how = {.max_output = MOST};
    const int asked = ASKED;
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result r, whole;
        int32_t all[N + MOST + ASKED];
        open_world(&w, *state, 1, which);
        set_arms(1, COMPANY, &r);
        set_arms(1, COMPANY, &whole);
        fill_prompt(all, N, 9);
        fill_prompt(all + N + MOST, ASKED, 10);
        const sf_job job = {.token = all, .tokens = N, .lanes = 1, .lane = &r.lane, .later = all + N + MOST, .later_tokens = &asked, .turns = 1};
        if (sf_engine_run(w.engine, 1, &job, &how) != SF_OK) fail_msg("%s", sf_error());
        assert_int_equal(r.lane.outputs, 2 * MOST);
        memcpy(all + N, r.output, MOST * sizeof *all);
        if (sf_engine_generate(w.engine, all, N + MOST + ASKED, &how, 1, &whole.lane) != SF_OK) fail_msg("%s", sf_error());
        assert_int_equal(whole.lane.outputs, MOST);
        assert_memory_equal(whole.output, r.output + MOST, MOST * sizeof *all);
        close_world(&w);
    }
}

static void reference_and_cpu(void **state)
{
    (void)state;
    int32_t token[130];
    fill_prompt(token, 130, 3);
    for (int which = 0; which < SHAPES; which++) {
        world a, b;
        open_world(&a, "reference", 1, which);
        open_world(&b, "cpu", 2, which);
        float *x = logits_of(a.engine, token, 130), *y = logits_of(b.engine, token, 130);
        double difference = 0, norm = 0;
        for (int i = 0; i < 130 * VOCAB; i++) {
            difference += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
            norm += (double)x[i] * x[i];
        }
        assert_true(norm > 0);
        assert_true(sqrt(difference / norm) < 1e-5);
        free(x);
        free(y);
        close_world(&a);
        close_world(&b);
    }
}

static void longest_sequence(void **state)
{
    (void)state;
    int32_t token[40];
    fill_prompt(token, 40, 3);
    for (int yarn = 0; yarn < 2; yarn++) {
        world w;
        open_world(&w, "cpu", 1, GEMMA); /* opened for MOST_TOKENS */
        if (yarn)                        /* by rule: the factor comes from the longest sequence */
            w.model->config.rope = (sf_rope_config){
                .theta = 1e4, .scaling = SF_ROPE_YARN, .beta_fast = 4, .beta_slow = 0.5, .original_positions = 64};
        if (sf_engine_set_length(w.engine, 128) != SF_OK) fail_msg("%s", sf_error());
        float *a = logits_of(w.engine, token, 40);
        assert_int_equal(sf_engine_set_length(w.engine, 48), SF_OK);
        float *b = logits_of(w.engine, token, 40);
        assert_int_equal(sf_engine_set_length(w.engine, 128), SF_OK);
        float *c = logits_of(w.engine, token, 40);
        assert_memory_equal(a, c, 40 * VOCAB * sizeof *a);
        assert_int_equal(memcmp(a, b, 40 * VOCAB * sizeof *a) != 0, yarn);
        free(a);
        free(b);
        free(c);
        close_world(&w);
    }
}

static void whole_budget_is_dense(void **state)
{
    (void)state;
    static const arm arms[] = {
        {NULL, NULL},
        {NULL, "quest budget=4096"},
        {NULL, "snapkv capacity=4096"},
        {NULL, "ada_snapkv capacity=4096"},
        {NULL, "streaming local=4096"},
        {"vertical_slash columns=4096 diagonals=4096", NULL},
        {"block_sparse k=4096", NULL},
        {"streaming local=4096", "quest budget=4096"},
    };
    enum { N = sizeof arms / sizeof *arms };
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result r[N];
        open_world(&w, "cpu", 1, which);
        set_arms(N, arms, r);
        run(w.engine, 130, 11, N, r);
        for (int i = 1; i < N; i++) {
            assert_int_equal(r[i].lane.outputs, r[0].lane.outputs);
            assert_memory_equal(r[i].output, r[0].output, sizeof r[0].output);
            assert_memory_equal(r[i].density, r[0].density, sizeof r[0].density);
            for (int phase = 0; phase < SF_PHASES; phase++)
                for (int j = 0; j < LAYERS * HEADS; j++) {
                    float recall = (&r[i].recall[phase][0][0])[j];
                    if (which == GEMMA && j / HEADS != 1)
                        assert_true(isnan(recall));
                    else
                        assert_true(fabsf(recall - 1) < 1e-5f);
                }
        }
        close_world(&w);
    }
}

static void stop_tokens(void **state)
{
    (void)state;
    world w;
    result dense[2], stopped[2];
    static const arm arms[2] = {{NULL, NULL}, {NULL, "streaming local=2 sinks=1"}};
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(2, arms, dense);
    run(w.engine, 60, 21, 2, dense);
    assert_int_equal(dense[0].lane.outputs, OUTPUT);
    assert_false(dense[0].lane.stopped);

    int at = 3;
    w.model->stops = 2;
    w.model->stop[0] = VOCAB - 1;
    w.model->stop[1] = dense[0].output[at];
    while (at > 0 && dense[0].output[at - 1] == dense[0].output[at]) at--;
    for (int i = 0; i < at; i++) assert_int_not_equal(dense[0].output[i], w.model->stop[1]);
    set_arms(2, arms, stopped);
    run(w.engine, 60, 21, 2, stopped);
    assert_int_equal(stopped[0].lane.outputs, at);
    assert_true(stopped[0].lane.stopped);
    assert_memory_equal(stopped[0].output, dense[0].output, (size_t)at * sizeof(int32_t));
    for (int i = 0; i < stopped[1].lane.outputs; i++) assert_int_equal(stopped[1].output[i], dense[1].output[i]);
    close_world(&w);
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

/* Keys that a query at position p sees of a layer. */
static uint64_t seen(const sf_model_config *c, int layer, uint64_t p)
{
    const uint64_t w = (uint64_t)c->window, all = p + 1;
    if (!sf_layer_slides(c, layer)) return all;
    return c->chunked ? all - p / w * w : all < w ? all : w;
}

static void dense_counts_in_closed_form(void **state)
{
    (void)state;
    for (int which = 0; which <= CHUNKS; which++) {
        world w;
        result r;
        if (which == WITH_SINKS) continue; /* which count for a key more */
        open_world(&w, "cpu", 1, which);
        const sf_model_config *c = &w.model->config;
        set_arms(1, COMPANY, &r);
        run(w.engine, 100, 2, 1, &r);

        uint64_t prefill = 0, decode = 0, steps = OUTPUT - 1, d = (uint64_t)c->d, hd = (uint64_t)c->head_dim;
        for (int layer = 0; layer < LAYERS; layer++) {
            for (uint64_t p = 0; p < 100; p++) prefill += HEADS * seen(c, layer, p);
            for (uint64_t s = 0; s < steps; s++) decode += HEADS * seen(c, layer, 100 + s);
        }
        const sf_count *p = r.lane.meter.at[SF_PREFILL], *q = r.lane.meter.at[SF_DECODE];
        assert_int_equal(p[SF_ATTENTION].pairs, prefill);
        assert_int_equal(q[SF_ATTENTION].pairs, decode);
        assert_int_equal(p[SF_ATTENTION].flops, prefill * (4 * hd + 3));
        assert_int_equal(q[SF_ATTENTION].flops, decode * (4 * hd + 3));
        uint64_t kv = (uint64_t)c->kv_heads;
        assert_int_equal(p[SF_ATTENTION].cache_bytes, LAYERS * kv * 100 * 2 * hd * sizeof(float));
        assert_int_equal(q[SF_ATTENTION].cache_bytes, decode / (HEADS / kv) * 2 * hd * sizeof(float));

        uint64_t row = LAYERS * (2 * d * hd * (HEADS + kv) + 3 * d * (uint64_t)c->mlp), head = d * VOCAB;
        assert_int_equal(p[SF_LINEAR].flops, 2 * (100 * row + head));
        assert_int_equal(q[SF_LINEAR].flops, 2 * steps * (row + head));
        assert_int_equal(p[SF_ESTIMATION].flops + q[SF_ESTIMATION].flops, 0);

        for (int phase = 0; phase < SF_PHASES; phase++)
            for (int i = 0; i < LAYERS * HEADS; i++) {
                float density = (&r.density[phase][0][0])[i];
                if (sf_layer_slides(c, i / HEADS))
                    assert_true(isnan(density));
                else
                    assert_true(density == 1);
            }
        close_world(&w);
    }
}

static void sparse_densities(void **state)
{
    (void)state;
    static const arm arms[] = {{"streaming local=10 sinks=2", "streaming local=10 sinks=2"},
                               {NULL, "snapkv capacity=25 window=8 kernel=3"},
                               {NULL, "quest budget=16 page=8"}};
    world w;
    result r[3];
    open_world(&w, "cpu", 1, QWEN);
    set_arms(3, arms, r);
    run(w.engine, 100, 2, 3, r);
    double window = 0, all = 0, kept = 0;
    for (int i = 0; i < 100; i++) window += i < 12 ? i + 1 : 12;
    for (int s = 0; s < OUTPUT - 1; s++) {
        all += 101 + s;
        kept += 25 + 1 + s;
    }
    for (int i = 0; i < LAYERS * HEADS; i++) {
        assert_true((&r[0].density[SF_PREFILL][0][0])[i] == (float)(window / 5050));
        assert_true((&r[0].density[SF_DECODE][0][0])[i] == (float)(12 * (OUTPUT - 1) / all));
        assert_true((&r[1].density[SF_PREFILL][0][0])[i] == 1);
        assert_true((&r[1].density[SF_DECODE][0][0])[i] == (float)(kept / all));
        for (int j = 0; j < 3; j++) {
            float recall = (&r[j].recall[SF_DECODE][0][0])[i];
            assert_true(recall > 0.01f && recall < 0.999f);
        }
    }
    const sf_count *quest = r[2].lane.meter.at[SF_DECODE], *snapkv = r[1].lane.meter.at[SF_PREFILL];
    assert_true(quest[SF_ESTIMATION].flops > 0 && snapkv[SF_ESTIMATION].flops > 0);
    assert_int_equal(r[2].lane.meter.at[SF_PREFILL][SF_ATTENTION].pairs, snapkv[SF_ATTENTION].pairs);
    close_world(&w);
}

/* Without recall of decode, nobody but a decode method reads a cache then: each prefill is as it is for many tokens. */
static void one_token_needs_no_step(void **state)
{
    (void)state;
    sf_generation how = HOW;
    how.max_output = 1;
    for (int which = 0; which < SHAPES; which++) {
        world w;
        result *many = calloc(LANES, sizeof *many), *one = calloc(LANES, sizeof *one);
        open_world(&w, "cpu", 1, which);
        set_arms(LANES, COMPANY, many);
        set_arms(LANES, COMPANY, one);
        for (int i = 0; i < LANES; i++) one[i].lane.recall[SF_DECODE] = NULL;
        run(w.engine, 130, 5, LANES, many);
        assert_int_equal(try_run(w.engine, 130, 5, &how, LANES, one), SF_OK);
        for (int i = 0; i < LANES; i++) {
            const sf_count *decode = one[i].lane.meter.at[SF_DECODE];
            assert_true(one[i].lane.outputs == 1 && one[i].output[0] == many[i].output[0]);
            assert_true(isnan(one[i].density[SF_DECODE][0][0]) && decode[SF_LINEAR].flops == 0);
            assert_memory_equal(one[i].density[SF_PREFILL], many[i].density[SF_PREFILL], sizeof *one[i].density);
            assert_memory_equal(one[i].recall[SF_PREFILL], many[i].recall[SF_PREFILL], sizeof *one[i].recall);
            assert_memory_equal(&one[i].lane.meter.at[SF_PREFILL], &many[i].lane.meter.at[SF_PREFILL],
                                sizeof *one[i].lane.meter.at);
        }
        free(many);
        free(one);
        close_world(&w);
    }
}

/* ---- input and memory ------------------------------------------------------------------------------------------ */

static void bad_input(void **state)
{
    (void)state;
    world w;
    result r;
    int32_t wrong[3] = {1, VOCAB, 2};
    sf_generation none = {.max_output = 0};
    sf_engine *refused;
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, COMPANY, &r);
    assert_int_equal(try_run(w.engine, MOST_TOKENS, 1, &HOW, 1, &r), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "opened for 192"));
    assert_int_equal(sf_engine_generate(w.engine, wrong, 3, &HOW, 1, &r.lane), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "token 1 of the input is 131"));
    assert_int_equal(sf_engine_generate(w.engine, wrong, 0, &HOW, 1, &r.lane), SF_BAD_INPUT);
    sf_job late = {.token = wrong, .tokens = 1, .lanes = 1, .lane = &r.lane, .question = wrong, .questions = 3};
    assert_int_equal(sf_engine_run(w.engine, 1, &late, &HOW), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "token 2 of the input is 131"));
    late.questions = MOST_TOKENS - OUTPUT + 1;
    assert_int_equal(sf_engine_run(w.engine, 1, &late, &HOW), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "182 tokens of input and 12 of output: the engine was opened for 192"));
    late.questions = late.continuations = 1;
    assert_int_equal(sf_engine_run(w.engine, 1, &late, &HOW), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "a question of 1 tokens and a continuation of 1"));
    int32_t good[] = {1, 2, 3}, asked = 3;
    sf_job turns = {.token = good, .tokens = 3, .lanes = 1, .lane = &r.lane, .later = wrong, .later_tokens = &asked, .turns = 1};
    assert_int_equal(sf_engine_run(w.engine, 1, &turns, &HOW), SF_BAD_INPUT); /* an id of a later turn */
    assert_non_null(strstr(sf_error(), "of turn 2 is "));
    turns.later = good, turns.continuation = good, turns.continuations = 1;
    assert_int_equal(sf_engine_run(w.engine, 1, &turns, &HOW), SF_BAD_INPUT);
    asked = turns.continuations = 0;
    assert_int_equal(sf_engine_run(w.engine, 1, &turns, &HOW), SF_BAD_INPUT);
    asked = MOST_TOKENS - 3 - 2 * OUTPUT + 2; /* one more than there is room for */
    int32_t long_one[MOST_TOKENS] = {0};
    turns.later = long_one;
    assert_int_equal(sf_engine_run(w.engine, 1, &turns, &HOW), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "the engine was opened for"));
    assert_int_equal(sf_engine_generate(w.engine, wrong, 1, &none, 1, &r.lane), SF_BAD_INPUT);
    assert_int_equal(sf_engine_generate(w.engine, wrong, 1, &HOW, 0, NULL), SF_BAD_INPUT);
    w.model->config.max_position = 100;
    assert_int_equal(sf_engine_open(&w.backend, w.model, 101, &refused), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "100 positions"));
    assert_null(refused);
    assert_int_equal(sf_engine_set_length(w.engine, 101), SF_BAD_INPUT);
    sf_model hollow = {.config = w.model->config};
    assert_int_equal(sf_engine_open(&w.backend, &hollow, 10, &refused), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "without weights"));
    close_world(&w);
}

static struct {
    size_t live, calls;
    struct {
        void *p;
        size_t bytes;
    } block[256];
} heap;
static const sf_backend_ops *counted_ops;

static sf_status counted_alloc(sf_backend *b, size_t bytes, void **out)
{
    SF_TRY(counted_ops->alloc(b, bytes, out));
    for (int i = 0; i < 256; i++) {
        if (heap.block[i].p) continue;
        heap.block[i].p = *out;
        heap.block[i].bytes = bytes;
        heap.live += bytes;
        heap.calls++;
        return SF_OK;
    }
    return sf_fail(SF_INTERNAL, "too many blocks");
}

static void counted_free(sf_backend *b, void *p)
{
    for (int i = 0; p && i < 256; i++) {
        if (heap.block[i].p != p) continue;
        heap.live -= heap.block[i].bytes;
        heap.block[i].p = NULL;
    }
    counted_ops->free(b, p);
}

static void memory_as_estimated_and_steady(void **state)
{
    (void)state;
    enum { TOKENS = 1400 };
    static const sf_method half = {.name = "half", .compress = half_compress};
    sf_backend b;
    assert_int_equal(sf_backend_open("cpu", 1, &b), SF_OK);
    sf_backend_ops counted = *b.ops;
    counted_ops = b.ops;
    counted.alloc = counted_alloc;
    counted.free = counted_free;
    b.ops = &counted;
    memset(&heap, 0, sizeof heap);

    sf_model_config c = shape(GEMMA);
    c.head_dim = 64; /* large enough that the arena's smallest chunk does not matter */
    c.heads = 8;
    sf_model *model;
    sf_engine *engine;
    assert_int_equal(sf_model_random(&c, 1, &model), SF_OK);
    assert_int_equal(sf_engine_open(&b, model, TOKENS + OUTPUT, &engine), SF_OK);
    void *warm;
    sf_mark mark = sf_scratch_mark(&b);
    assert_int_equal(sf_scratch_alloc(&b, 1 << 20, &warm), SF_OK);
    sf_scratch_release(&b, mark);

    int32_t token[TOKENS], output[3][OUTPUT];
    fill_prompt(token, TOKENS, 3);
    _Alignas(8) char params[PARAMS] = {0};
    sf_lane lane[3] = {{.output = output[0]}, {.output = output[1], .decode = &half}, {.output = output[2]}};
    lane[2].decode = method_of("quest page=4 budget=64", params);
    lane[2].decode_params = params;
    double kept[3] = {1, 0.5, 1};
    sf_generation how = {.max_output = OUTPUT};
    size_t estimate, before = heap.live;
    const sf_job job = {.token = token, .tokens = TOKENS, .lanes = 3, .lane = lane};
    assert_int_equal(sf_engine_memory(&c, &b, 1, &job, &how, kept, &estimate), SF_OK);
    for (int sample = 0; sample < 2; sample++)
        assert_int_equal(sf_engine_generate(engine, token, TOKENS, &how, 3, lane), SF_OK);
    size_t calls = heap.calls;
    assert_int_equal(sf_engine_generate(engine, token, TOKENS, &how, 3, lane), SF_OK);
    assert_int_equal(heap.calls, calls);
    double held = (double)(heap.live - before);
    if (fabs(held / (double)estimate - 1) > 0.01) fail_msg("held %.0f bytes, estimated %zu", held, estimate);

    sf_engine_close(engine);
    sf_model_close(model);
    sf_backend_close(&b);
    assert_int_equal(heap.live, 0);
}

/* Of a layer whose attention slides the last keys of its window stay, and no more. */
static void memory_of_windows(void **state)
{
    (void)state;
    enum { TOKENS = 1400 };
    sf_backend b;
    assert_int_equal(sf_backend_open("cpu", 1, &b), SF_OK);
    sf_model_config slides = shape(GEMMA), reads_all = slides;
    reads_all.window = 0;
    memset(reads_all.sliding, 0, sizeof reads_all.sliding);
    result r;
    set_arms(1, (arm[]){{NULL, NULL}}, &r);
    const sf_job job = {.tokens = TOKENS, .lanes = 1, .lane = &r.lane};
    const sf_generation how = {.max_output = 2};
    size_t less, more, key = 2 * sf_bytes(b.activation, (int64_t)slides.kv_heads * slides.head_dim);
    assert_int_equal(sf_engine_memory(&slides, &b, 1, &job, &how, NULL, &less), SF_OK);
    assert_int_equal(sf_engine_memory(&reads_all, &b, 1, &job, &how, NULL, &more), SF_OK);
    const size_t saved = (size_t)(TOKENS - slides.window) * key; /* by each of two layers; one of these takes the layer whose turn it is */
    if (!(more - less > saved / 2 && more - less < 2 * saved)) fail_msg("%zu and %zu bytes: less by %zd, of a layer by %zu", less, more, more - less, saved);
    sf_backend_close(&b);
}

/* A prompt that does not go through a layer's MLP at once goes in pieces of one size, so that a longer one may take less room. */
static void pieces_of_one_size(void **state)
{
    (void)state;
    enum { ROWS = 2048, ROOM = 256 << 20 }; /* of a piece, and what gate and up of its rows take then */
    sf_backend b;
    assert_int_equal(sf_backend_open("cpu", 1, &b), SF_OK);
    sf_model_config c = shape(LLAMA);
    c.mlp = ROOM / (ROWS * 2 * (int)sizeof(float));
    result r;
    set_arms(1, (arm[]){{NULL, NULL}}, &r);
    static const struct { int tokens, piece; } pieces[] = {{ROWS, ROWS}, {ROWS + 1, ROWS / 2 + 256}, {2 * ROWS, ROWS}, {2 * ROWS + 256, 1536}};
    size_t bytes[4];
    for (int i = 0; i < 4; i++) {
        const sf_job job = {.tokens = pieces[i].tokens, .lanes = 1, .lane = &r.lane};
        assert_int_equal(sf_engine_memory(&c, &b, 1, &job, &(sf_generation){.max_output = 2}, NULL, &bytes[i]), SF_OK);
        const double mlp = (double)ROOM * pieces[i].piece / ROWS, rest = (double)bytes[i] - mlp;
        if (!(rest > 0 && rest < 0.05 * mlp)) fail_msg("%d tokens: %zu bytes, of them %.0f for gate and up", pieces[i].tokens, bytes[i], mlp);
    }
    assert_true(bytes[1] < bytes[0] && bytes[3] < bytes[2]);
    sf_backend_close(&b);
}

/* Prefill methods alone, and one token: the caches are one layer's, whose turn it is. */
static void one_token_needs_no_cache(void **state)
{
    (void)state;
    enum { TOKENS = 160 };
    sf_backend b;
    assert_int_equal(sf_backend_open("cpu", 1, &b), SF_OK);
    const sf_model_config c = shape(LLAMA);
    result r[2];
    set_arms(2, (arm[]){{NULL, NULL}, {"streaming local=40", NULL}}, r);
    sf_lane lane[2] = {r[0].lane, r[1].lane};
    const sf_job job = {.tokens = TOKENS, .lanes = 2, .lane = lane};
    size_t bytes[2], layer = 2 * sf_bytes(b.activation, (int64_t)c.kv_heads * c.head_dim * TOKENS);
    for (int more = 0; more < 2; more++)
        assert_int_equal(
            sf_engine_memory(&c, &b, 1, &job, &(sf_generation){.max_output = 1 + more}, NULL, &bytes[more]), SF_OK);
    assert_true(bytes[1] - bytes[0] == (2 * LAYERS - 1) * layer);
    sf_backend_close(&b);
}

/* What is said to fit does, and one sample or lane more would not. */
static void as_many_as_fit(void **state)
{
    (void)state;
    enum { JOBS = 3, EACH = 3 };
    sf_backend b;
    assert_int_equal(sf_backend_open("cpu", 1, &b), SF_OK);
    sf_model_config c = shape(LLAMA);
    sf_generation how = {.max_output = OUTPUT};
    result r[EACH];
    sf_lane lane[JOBS * EACH];
    sf_job job[JOBS];
    double kept[JOBS * EACH];
    set_arms(EACH, (arm[]){{NULL, NULL}, {NULL, "snapkv capacity=40 window=16"}, {"streaming local=40", NULL}}, r);
    for (int i = 0; i < JOBS * EACH; i++) lane[i] = r[i % EACH].lane, kept[i] = i % EACH == 1 ? 0.2 : 1;
    for (int j = 0; j < JOBS; j++) job[j] = (sf_job){.tokens = 200, .lanes = EACH, .lane = lane + j * EACH};
    static const struct { int jobs, lanes; } fits[] = {{1, 1}, {1, 2}, {1, 3}, {2, 3}, {3, 3}};
    size_t bytes = 0;
    for (int i = 0; i < 5; i++) {
        sf_job given[JOBS];
        sf_fit fit;
        if (i > 0) { /* a byte less admits only what came before; one lane is given whatever the limit */
            memcpy(given, job, sizeof job);
            given[fits[i].jobs - 1].lanes = fits[i].lanes;
            assert_int_equal(sf_engine_memory(&c, &b, fits[i].jobs, given, &how, kept, &bytes), SF_OK);
            assert_int_equal(sf_fit_memory(&c, &b, JOBS, job, &how, kept, bytes - 1, &fit), SF_OK);
            assert_true(fit.jobs == fits[i - 1].jobs && fit.lanes == fits[i - 1].lanes && fit.bytes < bytes);
        }
        assert_int_equal(sf_fit_memory(&c, &b, JOBS, job, &how, kept, bytes, &fit), SF_OK);
        assert_true(fit.jobs == fits[i].jobs && fit.lanes == fits[i].lanes && (fit.bytes == bytes || i == 0));
    }
    sf_backend_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "alone_and_in_company, reference", .test_func = alone_and_in_company, .initial_state = "reference"},
        {.name = "alone_and_in_company, cpu", .test_func = alone_and_in_company, .initial_state = "cpu"},
        {.name = "alone_and_in_company, cuda", .test_func = alone_and_in_company, .initial_state = "cuda"},
        cmocka_unit_test_prestate(samples_in_company, "cpu"),
        cmocka_unit_test(threads_and_chunks),
        cmocka_unit_test(no_state_between_samples),
        cmocka_unit_test(one_prefill_and_one_batch),
        cmocka_unit_test(time_is_shared_out),
        cmocka_unit_test(decode_continues_prefill),
        cmocka_unit_test_prestate(asked_late, "reference"),
        cmocka_unit_test_prestate(asked_late, "cpu"),
        cmocka_unit_test_prestate(a_second_turn, "reference"),
        cmocka_unit_test_prestate(a_second_turn, "cpu"),
        cmocka_unit_test_prestate(a_second_turn, "cuda"),
        cmocka_unit_test_prestate(a_second_turn_of_dense, "reference"),
        cmocka_unit_test_prestate(a_second_turn_of_dense, "cpu"),
        cmocka_unit_test(turns_in_company),
        cmocka_unit_test_prestate(shared_questions, "reference"),
        cmocka_unit_test_prestate(shared_questions, "cpu"),
        cmocka_unit_test_prestate(shared_questions, "cuda"),
        cmocka_unit_test_prestate(asked_late_of_dense, "reference"),
        cmocka_unit_test_prestate(asked_late_of_dense, "cpu"),
        cmocka_unit_test(reference_and_cpu),
        cmocka_unit_test(longest_sequence),
        cmocka_unit_test(whole_budget_is_dense),
        cmocka_unit_test(stop_tokens),
        cmocka_unit_test(dense_counts_in_closed_form),
        cmocka_unit_test(sparse_densities),
        cmocka_unit_test(one_token_needs_no_step),
        cmocka_unit_test(pieces_of_one_size),
        cmocka_unit_test(one_token_needs_no_cache),
        cmocka_unit_test(bad_input),
        cmocka_unit_test(memory_as_estimated_and_steady),
        cmocka_unit_test(memory_of_windows),
        cmocka_unit_test(as_many_as_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
