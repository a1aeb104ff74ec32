/* Every filling that is compiled in against the reference, op by op: tests/twins/. Of CUDA without a GPU it says
 * "skipped".
 *
 *   test_backends [device] [percent] [test]    "cpu", "cuda:1"; default: all. percent: of the random cases, 100; test: only this
 *
 * The CPU is tested with each of its instruction sets that the machine has, or with the one that SF_CPU_ISA names.
 */
#include "tests/twins/attention.h"
#include "tests/twins/cache.h"
#include "tests/twins/choosing.h"
#include "tests/twins/lanes.h"
#include "tests/twins/layers.h"
#include "tests/twins/packed.h"
#include "tests/twins/trained.h"

static twin both;
static sf_backend one; /* the filling with one thread; not open: it has but one way to work */
static int percent = 100; /* of the random cases */
static const char *set;   /* instruction set of the CPU that SF_CPU_ISA names; NULL: the widest */

typedef void twin_case(twin *t, uint64_t seed, int size);

/* The case; then again with one thread, beside the filling with two, which is quicker than the reference: what is read back
 * of it is the same to the bit. */
static void on_each(twin_case *run, uint64_t seed, int size)
{
    run(&both, seed, size);
    if (!one.ops) return;
    twin again = both;
    again.b[0] = both.b[1], again.b[1] = one;
    run(&again, seed, size);
    both.b[1] = again.b[0], one = again.b[1]; /* what they keep of scratch */
    assert_int_equal(again.reads, both.reads);
    for (int i = 0; i < both.reads; i++)
        if (again.read_back[i] != both.read_back[i])
            fail_msg("seed %llu: what is read back at place %d differs between one thread and two", (unsigned long long)seed, i);
}

static void layers_of(twin *t, uint64_t seed, int size) { (void)size, layers_case(t, seed); }
static void norms_of(twin *t, uint64_t seed, int size) { (void)size, norms_case(t, seed); }
static void experts_of(twin *t, uint64_t seed, int size) { (void)size, experts_case(t, seed); }
static void recurrent_of(twin *t, uint64_t seed, int size)
{
    (void)size;
    if (t->b[1].ops->convolve) recurrent_case(t, seed);
}
static void linear_of(twin *t, uint64_t seed, int phase) { linear_case(t, seed, (sf_phase)phase); }
static void weights_of(twin *t, uint64_t seed, int phase) { (void)seed, weight_types_case(t, (sf_phase)phase); }
static void cache_of(twin *t, uint64_t seed, int size) { (void)size, cache_case(t, seed); }
static void round_of(twin *t, uint64_t seed, int size) { (void)size, round_case(t, seed); }
static void pack_of(twin *t, uint64_t seed, int size) { (void)size, pack_case(t, seed); }
static void select_of(twin *t, uint64_t seed, int size) { (void)size, select_case(t, seed); }
static void long_pages_of(twin *t, uint64_t seed, int size) { (void)size, long_pages_case(t, seed); }
static void long_probe_of(twin *t, uint64_t seed, int size) { (void)size, long_probe_case(t, seed); }

/* What is run: `cases` random ones, from a seed on, of one size or, the `every`th of them, of a larger one. */
static const struct suite {
    const char *name;
    twin_case *run;
    int cases;
    int on_host; /* as many where the filling is no device: the reference takes its time */
    unsigned seed;
    int size, every, larger;
} SUITES[] = {
    {"layers", layers_of, 40, 8, .seed = 1000},
    {"norms", norms_of, 30, 6, .seed = 1400},
    {"experts", experts_of, 60, 20, .seed = 1500},
    {"recurrent", recurrent_of, 60, 30, .seed = 1700},
    {"linear_prefill", linear_of, 80, 15, .seed = 2000, .size = SF_PREFILL},
    {"linear_decode", linear_of, 80, 15, .seed = 3000, .size = SF_DECODE},
    {"weight_types_prefill", weights_of, 1, 1, .seed = 0, .size = SF_PREFILL},
    {"weight_types_decode", weights_of, 1, 1, .seed = 0, .size = SF_DECODE},
    {"cache", cache_of, 40, 15, .seed = 4000},
    {"round", round_of, 60, 30, .seed = 4500},
    {"pack", pack_of, 60, 40, .seed = 4600},
    {"packed", packed_case, 100, 40, .seed = 4700, .size = 300, .every = 8, .larger = 1500},
    {"selection", select_of, 80, 15, .seed = 5000},
    {"long_rows", long_rows_case, 8, 0, .seed = 5500, .size = 20000, .every = 2, .larger = 70000},
    {"prefill", prefill_case, 120, 25, .seed = 6000, .size = 150, .every = 5, .larger = 400},
    {"long_prefill", prefill_case, 6, 0, .seed = 6200, .size = 1200},
    {"single", single_case, 120, 25, .seed = 6300, .size = 150, .every = 5, .larger = 500},
    {"long_single", long_single_case, 20, 0, .seed = 20054, .size = 1000, .every = 5, .larger = 2100}, /* racecheck's first four: tests/cuda.sh */
    {"longest_single", single_case, 8, 0, .seed = 6450, .size = 2100},
    {"within", within_case, 40, 8, .seed = 6500, .size = 300, .every = 10, .larger = 1200},
    {"long_within", long_within_case, 12, 2, .seed = 6600, .size = 3000, .every = 4, .larger = 40000},
    {"masses", masses_case, 40, 20, .seed = 6700, .size = 300, .every = 10, .larger = 1200},
    {"decode", decode_case, 80, 12, .seed = 7000, .size = 300, .every = 5, .larger = 3000},
    {"entmax", entmax_case, 120, 40, .seed = 7500, .size = 200, .every = 5, .larger = 900},
    {"samples", samples_case, 60, 20, .seed = 15000, .size = 300, .every = 5, .larger = 3000},
    {"budgets", budgets_case, 80, 25, .seed = 15500, .size = 700, .every = 5, .larger = 12000},
    {"hashes", hashes_case, 60, 20, .seed = 16000, .size = 300, .every = 10, .larger = 1200},
    {"clusters", clusters_case, 60, 20, .seed = 17000, .size = 300},
    {"patterns", patterns_case, 160, 40, .seed = 14000, .size = 150, .every = 8, .larger = 400},
    {"long_patterns", patterns_case, 8, 0, .seed = 14500, .size = 900, .every = 4, .larger = 2100},
    {"decode_patterns", decode_patterns_case, 100, 40, .seed = 15000, .size = 300, .every = 10, .larger = 6000},
    {"probe", probe_case, 80, 20, .seed = 8000, .size = 500},
    {"long_probe", long_probe_of, 2, 0, .seed = 8500},
    {"blocks", blocks_case, 40, 15, .seed = 9000, .size = 150, .every = 10, .larger = 400},
    {"long_blocks", blocks_case, 6, 0, .seed = 9500, .size = 2100},
    {"pages", pages_case, 40, 15, .seed = 10000, .size = 700},
    {"antidiagonals", antidiagonals_case, 60, 15, .seed = 10300, .size = 150, .every = 6, .larger = 900},
    {"components", components_case, 80, 20, .seed = 10500, .size = 300, .every = 8, .larger = 3000},
    {"walks", walks_case, 60, 20, .seed = 10800, .size = 90, .every = 6, .larger = 300},
    {"lists", lists_case, 60, 20, .seed = 10900, .size = 40, .every = 6, .larger = 130},
    {"indexer", indexer_case, 60, 20, .seed = 10950, .size = 90, .every = 6, .larger = 300},
    {"gates", gates_case, 60, 20, .seed = 10970, .size = 60, .every = 6, .larger = 400},
    {"running", running_case, 60, 20, .seed = 10980, .size = 90, .every = 6, .larger = 700},
    {"long_running", running_case, 3, 0, .seed = 10985, .size = 30000},
    {"floats", floats_case, 60, 1, .seed = 10990, .size = 40},
    {"pages_alone", pages_alone_case, 60, 15, .seed = 10700, .size = 300, .every = 8, .larger = 2000},
    {"long_pages", long_pages_of, 11, 1, .seed = 11000},
    {"lanes", lanes_case, 11, 1, .seed = 12000, .size = 3000, .every = 2, .larger = 12000},
    {"steps", steps_case, 12, 0, .seed = 13000, .size = 700, .every = 3, .larger = 3000},
};
enum { SUITES_THERE = sizeof SUITES / sizeof *SUITES };

static void run_suite(void **state)
{
    const struct suite *s = *state;
    int cases = (both.b[1].activation == SF_F32 ? s->on_host : s->cases) * percent;
    for (int i = 0; i * 100 < cases; i++)
        on_each(s->run, s->seed + (unsigned)i, s->every && i % s->every == s->every - 1 ? s->larger : s->size);
}

/* A row without keys, lists out of order, a token outside the table, more memory than there is: errors that say so. */
static void refusals(void **state)
{
    (void)state;
    twin *t = &both;
    begin_case(t, 1);
    scene c;
    make_scene(t, &c, 1, false, false, false, 100);
    c.a[0].window = c.a[1].window = 0;
    int rows = c.a[1].heads * ((c.a[1].queries + 15) / 16);
    int32_t *count = calloc((size_t)rows, sizeof *count), index[2] = {5, 5};
    sf_pattern p = {.kind = SF_BLOCKS, .heads = c.a[1].heads, .block_q = 16, .block_k = 16};
    p.first = (sf_lists){rows, 1, put(t, 1, count, (size_t)rows * sizeof *count),
                         put(t, 1, count, (size_t)rows * sizeof *count)};
    void *out = activation_room(t, 1, (int64_t)c.a[1].queries * c.a[1].heads * c.a[1].head_dim);
    sf_status status = t->b[1].ops->prefill(&t->b[1], &c.a[1], &p, out);
    bool later = status == SF_OK; /* a device that says it when it is waited for says it until a download has said it */
    if (later) status = t->b[1].ops->synchronize(&t->b[1]);
    assert_int_equal(status, SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "names no key"));
    if (later) assert_int_equal(t->b[1].ops->download(&t->b[1], index, p.first.count, sizeof *index), SF_BAD_INPUT);
    OK(t, 1, t->b[1].ops->synchronize(&t->b[1]));
    index[0] = index[1] = 5;

    for (int i = 0; i < rows; i++) count[i] = 2;
    sf_lists bad = {c.a[1].kv_heads, 2, put(t, 1, count, (size_t)rows * sizeof *count), NULL};
    int32_t *repeated = malloc((size_t)c.a[1].kv_heads * sizeof index);
    for (int g = 0; g < c.a[1].kv_heads; g++) memcpy(repeated + 2 * g, index, sizeof index);
    bad.index = put(t, 1, repeated, (size_t)c.a[1].kv_heads * sizeof index);
    sf_pattern tokens = {.kind = SF_TOKENS, .heads = c.a[1].kv_heads, .first = bad};
    status = t->b[1].ops->check_pattern(&t->b[1], &c.a[1], &tokens, "plug-in");
    if (later && status == SF_OK) status = t->b[1].ops->download(&t->b[1], index, bad.index, sizeof *index);
    assert_int_equal(status, SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "plug-in"));
    index[0] = index[1] = 5;

    /* A step's weight, of lists of the filling's own making: a device looks by itself, and says it when it is waited for. */
    scene step;
    make_scene(t, &step, 2, true, false, false, 100);
    sf_backend *b = &t->b[1];
    b->phase = SF_DECODE;
    float *score = randoms(t, (int64_t)step.a[1].heads * step.a[1].keys, 1), one_weight = NAN;
    float *x = put(t, 1, score, (size_t)step.a[1].heads * (size_t)step.a[1].keys * sizeof *x);
    sf_pattern weighed = {.kind = SF_PAGES, .heads = step.a[1].heads, .page = 1, .first = empty_lists(t, 1, step.a[1].heads, 1)};
    weighed.bias = tensor(room(t, 1, (size_t)step.a[1].heads * sizeof *x), SF_F32, step.a[1].heads, 1);
    OK(t, 1, b->ops->zero(b, weighed.bias.data, (size_t)step.a[1].heads * sizeof *x));
    for (int wrong = 0; wrong < 2; wrong++) {
        if (wrong) OK(t, 1, b->ops->upload(b, (float *)weighed.bias.data + step.a[1].heads - 1, &one_weight, sizeof one_weight));
        OK(t, 1, b->ops->top(b, x, step.a[1].heads, step.a[1].keys, 1, &weighed.first));
        status = b->ops->check_pattern(b, &step.a[1], &weighed, "plug-in");
        if (status == SF_OK) status = b->ops->synchronize(b);
        assert_int_equal(status, wrong ? SF_BAD_INPUT : SF_OK);
    }
    assert_non_null(strstr(sf_error(), "a finite weight's logarithm"));
    if (later) assert_int_equal(b->ops->download(b, &one_weight, x, sizeof one_weight), SF_BAD_INPUT);
    OK(t, 1, b->ops->synchronize(b));
    memset(&t->meter[1], 0, sizeof t->meter[1]), free(score);

    void *far;
    assert_int_equal(t->b[1].ops->alloc(&t->b[1], (size_t)1 << 50, &far), SF_NO_MEMORY);
    assert_non_null(strstr(sf_error(), later ? "GiB are free" : "1125899906842624 bytes"));
    free(count), free(repeated);
    end_case(t, "refusals");
    packed_refused(t);
}

/* Lists, bands, gates and parts that break a rule, in memory: the filling says which, by method, at once or when it is waited for; then
 * attention by them has read nothing out of place meanwhile. */
static void wrong_patterns(void **state)
{
    (void)state;
    twin *t = &both;
    sf_backend *b = &t->b[1];
    enum { FAR, NEGATIVE, DOWN, TWICE, LONG, BAND, COLUMN, SHARED, GATE, SUMMARY, WRONGS };
    static const char *const says[] = {"row 0 of pages: entry 1 is", "entry 0 is -1", "ascending without repeats", "ascending without repeats", "its room is 2",
                                       "band 1 of head 0", "row 0 of columns: entry 1", "is in two parts of one softmax", "a gate is not finite",
                                       "the bias of a summary is not finite"};
    for (int wrong = 0; wrong < WRONGS; wrong++) {
        begin_case(t, 70 + (uint64_t)wrong);
        scene c;
        make_scene(t, &c, 70 + (uint64_t)wrong, true, false, false, 100);
        b->phase = SF_DECODE;
        const sf_attention *a = &c.a[1];
        const int last = a->keys - 1, entry[WRONGS][2] = {[FAR] = {0, a->keys}, [NEGATIVE] = {-1, last}, [DOWN] = {last, -7}, [TWICE] = {last, last},
                                                          [COLUMN] = {0, a->keys}};
        int32_t count = wrong == LONG ? 3 : 2, index[2] = {entry[wrong][0], entry[wrong][1]};
        if (wrong == DOWN) index[1] = 0, index[0] = 1 < last ? 1 : 0; /* of a cache of one key: twice */
        sf_lists list = {1, 2, put(t, 1, &count, sizeof count), put(t, 1, index, sizeof index)};
        sf_band band[SF_BANDS_A_HEAD] = {{.far = 4, .step = 1}, {.near = wrong == BAND ? -1 : 0, .far = wrong == BAND ? 2 : 0, .step = 1}};
        sf_pattern p = {.kind = SF_PAGES, .heads = 1, .page = 1, .first = list}, part[2] = {{.kind = SF_WINDOW, .local = 3}, {.kind = SF_WINDOW, .sinks = a->keys}};
        if (wrong == BAND || wrong == COLUMN) {
            p = (sf_pattern){.kind = SF_BANDS, .heads = 1, .band = put(t, 1, band, sizeof band)};
            if (wrong == COLUMN) p.first = list;
        }
        float *nan = malloc((size_t)(a->heads + a->kv_heads * a->head_dim) * sizeof *nan);
        for (int i = 0; i < a->heads + a->kv_heads * a->head_dim; i++) nan[i] = i == a->heads - 1 ? NAN : 0.5f;
        if (wrong == GATE) part[1].gate = tensor(put(t, 1, nan, (size_t)a->heads * sizeof *nan), SF_F32, 1, a->heads);
        if (wrong == SHARED || wrong == GATE) p = (sf_pattern){.kind = SF_PARTS, .part = part, .parts = 2, .gated = wrong == GATE};
        if (wrong == SUMMARY) {
            p = (sf_pattern){.kind = SF_DENSE};
            p.sum.k = p.sum.v = (sf_tensor){put_activations(t, 1, nan + a->heads, a->kv_heads * a->head_dim), b->activation, 3, {a->kv_heads, 1, a->head_dim}};
            p.sum.bias = tensor(put(t, 1, nan, (size_t)a->heads * sizeof *nan), SF_F32, a->heads, 1);
        }
        void *out = activation_room(t, 1, (int64_t)a->heads * a->head_dim);
        const sf_pattern *reads = &p;
        const bool aside = b->ops->lane && wrong % 2; /* what a lane finds is said outside of lanes */
        if (aside) OK(t, 1, b->ops->lane(b, wrong));
        sf_status status = b->ops->check_pattern(b, a, &p, "plug-in");
        bool later = status == SF_OK;
        if (aside) OK(t, 1, b->ops->lane(b, -1));
        if (later) status = b->ops->decode(b, 1, &a, &reads, out);
        if (later && status == SF_OK) status = b->ops->synchronize(b);
        if (status != SF_BAD_INPUT || !strstr(sf_error(), says[wrong]) || !strstr(sf_error(), "plug-in"))
            fail_msg("%s, wrong pattern %d: status %d, '%s', expected '%s'", c.what, wrong, (int)status, sf_error(), says[wrong]);
        if (later) assert_int_equal(b->ops->download(b, index, list.index, sizeof index), SF_BAD_INPUT);
        OK(t, 1, b->ops->synchronize(b));
        memset(&t->meter[1], 0, sizeof t->meter[1]);
        free(nan);
        end_case(t, c.what);
    }
}

/* All suites on one filling; how many tests failed. */
static int test_filling(const char *device)
{
    bool host = !strncmp(device, "cpu", 3);
    both = (twin){.tolerance = host ? 1e-5 : 1e-2};
    if (sf_backend_open(device, host ? 2 : 0, &both.b[1]) != SF_OK) {
        bool absent = strstr(sf_error(), "no NVIDIA driver") || strstr(sf_error(), "sees no GPU");
        printf("%s%s\n", absent ? "skipped: no CUDA device: " : "", sf_error());
        return !absent;
    }
    if (sf_rounds(&both.b[1]) || both.b[1].products == SF_Q8_0) both.tolerance = 1e-2;
    one = (sf_backend){0};
    if (sf_backend_open("reference", 1, &both.b[0]) != SF_OK || (host && sf_backend_open(device, 1, &one) != SF_OK))
        return printf("%s\n", sf_error()), 1;
    struct CMUnitTest tests[SUITES_THERE + 2];
    for (int i = 0; i < SUITES_THERE; i++)
        tests[i] = (struct CMUnitTest){.name = SUITES[i].name, .test_func = run_suite, .initial_state = (void *)&SUITES[i]};
    tests[SUITES_THERE] = (struct CMUnitTest)cmocka_unit_test(refusals);
    tests[SUITES_THERE + 1] = (struct CMUnitTest)cmocka_unit_test(wrong_patterns);
    int failed = cmocka_run_group_tests_name(device, tests, NULL, NULL);
    printf("%s%s%s: largest error %.2e; %ld of %ld choices by rounded scores differ\n", device, host && set ? " " : "",
           host && set ? set : "", both.worst, both.differing, both.chosen);
    sf_backend_close(&both.b[0]), sf_backend_close(&both.b[1]);
    if (one.ops) sf_backend_close(&one);
    return failed;
}

/* The widest instruction set that this machine has, and the others with a third of the cases; one that it lacks is left out. */
static int test_cpu(void)
{
    static const char *const sets[] = {"avx512", "avx2", "generic"};
    int failed = 0, all = percent, tested = 0;
    if ((set = getenv("SF_CPU_ISA"))) return test_filling("cpu");
    for (int i = 0; i < 3; i++) {
        sf_backend there;
        setenv("SF_CPU_ISA", set = sets[i], 1);
        if (sf_backend_open("cpu", 1, &there) != SF_OK) {
            printf("skipped: %s\n", sf_error());
            continue;
        }
        sf_backend_close(&there);
        percent = tested++ ? (all + 2) / 3 : all;
        failed += test_filling("cpu");
    }
    unsetenv("SF_CPU_ISA");
    percent = all;
    return failed + !tested;
}

/* AMX where the machine has it, and the loops that stand for it. */
static int test_bf16(void)
{
    int all = percent, failed;
    sf_backend there;
    if (getenv("SF_CPU_ISA")) return test_filling("cpu-bf16");
    failed = sf_backend_open("cpu-bf16", 1, &there) == SF_OK;
    if (failed) {
        sf_backend_close(&there);
        failed = test_filling("cpu-bf16");
    } else {
        printf("skipped: %s\n", sf_error());
    }
    setenv("SF_CPU_ISA", set = "loops", 1);
    percent = (all + 2) / 3;
    failed += test_filling("cpu-bf16");
    unsetenv("SF_CPU_ISA"), set = NULL, percent = all;
    return failed;
}

/* Linear layers alone differ from `cpu` (test_int8 has them by themselves, on each set): a third of the cases. */
static int test_rounded(void)
{
    int all = percent;
    percent = (all + 2) / 3;
    int failed = test_filling("cpu-int8");
    percent = all;
    return failed;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what it has said is kept when its time runs out */
    if (argc > 2) percent = atoi(argv[2]);
    if (argc > 3) cmocka_set_test_filter(argv[3]);
    if (argc > 1) return strcmp(argv[1], "cpu") == 0 ? test_cpu() : strcmp(argv[1], "cpu-bf16") == 0 ? test_bf16() : test_filling(argv[1]);
    int failed = 0;
    for (int i = 0; sf_backends[i]; i++)
        if (strcmp(sf_backends[i]->name, "cpu") == 0)
            failed += test_cpu();
        else if (strcmp(sf_backends[i]->name, "cpu-bf16") == 0)
            failed += test_bf16();
        else if (strcmp(sf_backends[i]->name, "cpu-int8") == 0)
            failed += test_rounded();
        else if (strcmp(sf_backends[i]->name, "reference") != 0)
            failed += test_filling(sf_backends[i]->name);
    return failed;
}
