/* Giving out samples: every one once, in an order that leaves all workers done at about the same time. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/model/cost.h"
#include "harness/run/forecast.h"
#include "harness/run/progress.h"
#include "harness/run/ranks.h"
#include "harness/run/spread.h"
#include "tests/testing.h"

/* Groups of random sizes, of several models; work grows with the group's length, as in a grid. */
static sf_unit *random_units(unsigned seed, int *units)
{
    srand(seed);
    int n = 0, groups = 1 + rand() % 30;
    sf_unit *unit = malloc(30 * 40 * sizeof *unit);
    for (int g = 0; g < groups; g++) {
        double work = 1 + rand() % 1000;
        int lanes = 1 + rand() % 80, samples = rand() % 40;
        for (int i = 0; i < samples; i++)
            unit[n++] = (sf_unit){.model = g / 5, .at = g * 100, .sample = i, .lanes = lanes, .work = work};
    }
    *units = n;
    return unit;
}

static void test_each_once(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 500; seed++) {
        int units, seen = 0;
        sf_unit *unit = random_units(seed, &units);
        sf_dispatch d;
        assert_int_equal(sf_dispatch_open(units, unit, 1 + (int)seed % 40, &d), SF_OK);
        bool given[30][40] = {{false}};
        _Atomic int next = 0;
        double work = 0;
        for (sf_take t; sf_dispatch_take(&d, &next, &t);) {
            assert_true(t.to > t.from);
            for (int i = t.from; i < t.to; i++, seen++) {
                assert_false(given[t.at / 100][i]);
                given[t.at / 100][i] = true;
            }
            work += t.work;
        }
        assert_int_equal(seen, units);
        assert_true(fabs(work - d.left[0]) <= 1e-9 * d.left[0]);
        sf_dispatch_close(&d);
    }
}

/* Longest first, by model; a take is of one group and of no more than half a share of what is left. */
static void test_order(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 200; seed++) {
        int units;
        sf_unit *unit = random_units(seed, &units);
        sf_dispatch d;
        assert_int_equal(sf_dispatch_open(units, unit, 4, &d), SF_OK);
        for (int i = 1; i < units; i++)
            if (d.unit[i].model == d.unit[i - 1].model) assert_true(d.unit[i].work <= d.unit[i - 1].work);
        _Atomic int next = 0;
        for (sf_take t; sf_dispatch_take(&d, &next, &t);)
            if (t.to - t.from > 1) assert_true(t.work <= (d.left[next] + t.work) / 8 * (1 + 1e-12));
        sf_dispatch_close(&d);
    }
}

/* For one worker the list is the plan's, and takes are as long as lanes allow. */
static void test_alone(void **state)
{
    (void)state;
    sf_unit *unit = malloc(100 * sizeof *unit);
    for (int i = 0; i < 100; i++) unit[i] = (sf_unit){.at = i / 50, .sample = i % 50, .lanes = 10, .work = i};
    sf_dispatch d;
    assert_int_equal(sf_dispatch_open(100, unit, 1, &d), SF_OK);
    _Atomic int next = 0;
    sf_take t;
    assert_true(sf_dispatch_take(&d, &next, &t));
    assert_int_equal(t.at, 0);
    assert_int_equal(t.from, 0);
    assert_int_equal(t.to, 7); /* of ten lanes, the first so many that reach 64 */
    sf_dispatch_close(&d);
    for (int lanes = 7; lanes <= 8; lanes++) { /* of seven ten, nine are one short; of eight those that reach it exactly */
        unit = malloc(20 * sizeof *unit);
        for (int i = 0; i < 20; i++) unit[i] = (sf_unit){.sample = i, .lanes = lanes, .work = 1};
        assert_int_equal(sf_dispatch_open(20, unit, 1, &d), SF_OK);
        next = 0;
        assert_true(sf_dispatch_take(&d, &next, &t));
        assert_int_equal(t.to, lanes == 7 ? 10 : 8);
        sf_dispatch_close(&d);
    }
}

/* One device, some of a kind, all of it; of processors there are as many as one likes. */
static void test_devices(void **state)
{
    (void)state;
    static const struct {
        const char *device;
        int n;
        const char *first, *last, *says; /* says: of an error */
    } row[] = {{"cpu", 1, "cpu", "cpu", NULL}, {"cpu:3", 1, "cpu:3", "cpu:3", NULL}, {"cpu:2,0", 2, "cpu:2", "cpu:0", NULL},
               {"cpu:all", SF_WORKERS, "cpu:0", "cpu:15", NULL}, {"abacus:0,1", 1, "abacus:0,1", "abacus:0,1", NULL},
               {"cpu:1,1", 0, NULL, NULL, "names 1 twice"}, {"cpu:0,16", 0, NULL, NULL, "there are 16, numbered from 0"},
               {"cpu:0,x", 0, NULL, NULL, "expected numbers"}, {"cpu:0,", 0, NULL, NULL, "expected numbers"},
               {"cpu:-1,0", 0, NULL, NULL, "numbered from 0"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        sf_devices d;
        sf_status status = sf_devices_of(row[i].device, &d);
        if (row[i].says) {
            assert_int_equal(status, SF_BAD_INPUT);
            if (!strstr(sf_error(), row[i].says)) fail_msg("%s: %s", row[i].device, sf_error());
            continue;
        }
        assert_int_equal(status, SF_OK);
        assert_int_equal(d.n, row[i].n);
        assert_string_equal(d.name[0], row[i].first);
        assert_string_equal(d.name[d.n - 1], row[i].last);
    }
}

/* Who takes memory from the same place: all of a machine's processes from its own, of cards those that name the same one. */
static void test_sharing(void **state)
{
    (void)state;
    const sf_devices cards = {.n = 5, .name = {"cuda:0", "cuda:1", "cuda:0", "cuda:0", "cuda:2"}}, one = {.n = 1, .name = {"cuda"}};
    static const int shares[] = {3, 1, 3, 3, 1};
    for (int i = 0; i < cards.n; i++) assert_int_equal(sf_devices_sharing(&cards, i, cards.n), shares[i]);
    assert_int_equal(sf_devices_sharing(&cards, 0, 2), 1); /* two processes of a list of five */
    assert_int_equal(sf_devices_sharing(&one, 0, 1), 1);
    assert_int_equal(sf_devices_sharing(&one, 3, 4), 1); /* each has its own: sf_device_of_rank() */
    sf_devices host;
    assert_int_equal(sf_devices_of("cpu:all", &host), SF_OK);
    assert_int_equal(sf_devices_sharing(&host, 2, 3), 3);
    assert_int_equal(sf_devices_of("cpu", &host), SF_OK);
    assert_int_equal(sf_devices_sharing(&host, 1, 4), 4);
}

/* Processes that take at once: none gets what another one has. */
static void test_at_once(void **state)
{
    (void)state;
    enum { WORKERS = 8 };
    struct board { _Atomic int next, given[30][40]; } *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int units, seen = 0;
    sf_unit *unit = random_units(7, &units);
    sf_dispatch d;
    assert_int_equal(sf_dispatch_open(units, unit, WORKERS, &d), SF_OK);
    for (int w = 0; w < WORKERS; w++) {
        if (fork() != 0) continue;
        for (sf_take t; sf_dispatch_take(&d, &board->next, &t);)
            for (int i = t.from; i < t.to; i++) board->given[t.at / 100][i]++;
        _exit(0);
    }
    for (int w = 0; w < WORKERS; w++) wait(NULL);
    for (int g = 0; g < 30; g++)
        for (int i = 0; i < 40; i++) {
            assert_true(board->given[g][i] <= 1);
            seen += board->given[g][i];
        }
    assert_int_equal(seen, units);
    munmap(board, sizeof *board);
    sf_dispatch_close(&d);
}

/* Of several processes that share a list, none is given more once one of them has failed. */
static void test_ranks_stop(void **state)
{
    (void)state;
    for (int failing = 0; failing < 2; failing++) {
        sf_unit *unit = malloc(40 * sizeof *unit);
        sf_dispatch d;
        sf_ranks r;
        sf_take t;
        sf_shared shared = {0};
        for (int i = 0; i < 40; i++) unit[i] = (sf_unit){.at = i / 10, .sample = i % 10, .lanes = 1, .work = 1};
        OK(sf_dispatch_open(40, unit, 2, &d));
        OK(sf_ranks_open(&sf_alone, &d, &shared, false, &r));
        assert_true(sf_ranks_take(&r, 0, &t));
        const sf_status mine = failing ? sf_fail(SF_IO, "a disk") : SF_OK;
        assert_int_equal(sf_ranks_end(&r, mine, 0), mine);
        if (failing) assert_non_null(strstr(sf_error(), "rank 0 of 1: a disk"));
        assert_int_equal(sf_ranks_take(&r, 0, &t), !failing);
        sf_ranks_close(&r);
        sf_dispatch_close(&d);
    }
}

/* On a terminal the line of progress is written anew five times a second at most, however often it is told. */
static void test_progress(void **state)
{
    (void)state;
    char path[] = "/tmp/sf_progress_XXXXXX";
    int file = mkstemp(path), kept = dup(STDERR_FILENO), shown = 0;
    sf_progress p;
    sf_progress_begin(&p, 1);
    p.terminal = true;
    dup2(file, STDERR_FILENO);
    const double begun = sf_now();
    for (int i = 0; i < 100000; i++) sf_progress_show(&p, 0.5, "a sample");
    const double took = sf_now() - begun;
    dup2(kept, STDERR_FILENO);
    close(kept), close(file);
    char *text = file_read(path, NULL);
    for (const char *at = text; (at = strstr(at, " 50%")); at++) shown++;
    if (!(shown >= 1 && shown <= 1 + took / 0.2)) fail_msg("%d lines in %g s", shown, took);
    free(text);
    unlink(path);
}

static double as_estimated(void *user, const sf_unit *unit) { return *(double *)user * unit->work; }
static double a_minute(void *user, int model) { return (void)user, (void)model, 60; }

/* A grid of models, lengths and tasks as a study has it: nearly all of 32 workers' time goes to samples, opening models apart. */
static void test_balance(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 256; workers *= 2) {
        sf_unit *unit = malloc(5 * 4 * 6 * 50 * sizeof *unit);
        int n = 0;
        for (int model = 0; model < 5; model++)
            for (int length = 0; length < 4; length++)
                for (int task = 0; task < 6; task++)
                    for (int i = 0; i < 50; i++, n++)
                        unit[n] = (sf_unit){.model = model, .at = n - i, .sample = i, .lanes = 40, .work = 20.0 * (model + 1) * (1 << 2 * length)};
        sf_dispatch d;
        sf_simulated s;
        double scale = 0.01;
        assert_int_equal(sf_dispatch_open(n, unit, workers, &d), SF_OK);
        assert_int_equal(sf_simulate(&d, as_estimated, a_minute, &scale, 1e-3, &s), SF_OK);
        assert_true(fabs(s.busy - scale * d.left[0]) < 1e-6 * s.busy);
        assert_true(s.seconds * workers >= s.busy);
        assert_true(s.opening >= 5 * 60 && s.opening <= 5 * 60.0 * workers);
        if (workers <= 32) assert_true((s.busy + s.opening) / (s.seconds * workers) > 0.95);
        sf_dispatch_close(&d);
    }
}

/* 72B in bf16, with a cache of 128k tokens, is more than one card; 7B is not. */
static void test_what_fits(void **state)
{
    (void)state;
    static const char *const set[] = {"models=[72b, 7b]", "tasks=[vt]"}, *const hash[] = {"a", "b"};
    static const int least[] = {2, 1};
    sf_model *model = calloc(2, sizeof *model), *models[] = {model, model + 1};
    sf_study study = {.model = models};
    sf_cluster cluster;
    OK(sf_sweep_read("configs/paper/128000.yaml", 2, set, &study.sweep));
    OK(sf_shape_open("configs/models/qwen2.5-72b.yaml", &model[0].config));
    OK(sf_shape_open("configs/models/qwen2.5-7b.yaml", &model[1].config));
    model[0].weight_bytes = (size_t)145 << 30, model[1].weight_bytes = (size_t)15 << 30;
    OK(sf_plan_make(study.sweep, hash, &study.plan));
    OK(sf_cluster_of("4x8:h200", &cluster));
    for (int m = 0; m < 2; m++) {
        double gib;
        sf_split fits;
        OK(sf_forecast_fit(&study, &cluster, m, &gib, &fits));
        assert_int_equal(fits.tensor, least[m]);
        assert_int_equal(fits.pipeline, 1);
        assert_true(gib > (double)model[m].weight_bytes / (1 << 30));
    }
    /* Heads that no two ranks can share: by layers. */
    double gib;
    sf_split fits;
    model[0].config.heads = model[0].config.kv_heads = 5;
    OK(sf_forecast_fit(&study, &cluster, 0, &gib, &fits));
    assert_int_equal(fits.tensor, 1);
    assert_int_equal(fits.pipeline, 2);
    OK(sf_shape_open("configs/models/qwen2.5-72b.yaml", &model[0].config));
    /* The work of a sample: its prefill, which another may have done, and two FLOPs for every element that a step reads. */
    const sf_cell *dense = &study.plan.cell[0];
    sf_cost prefill, step;
    const int tokens = study.sweep->length[dense->length], output = study.sweep->task[dense->task].output;
    sf_cost_of(&model[0].config, &(sf_cost_query){.phase = SF_PREFILL, .tokens = tokens, .batch = 1, .density = 1}, &prefill);
    sf_cost_of(&model[0].config, &(sf_cost_query){.phase = SF_DECODE, .tokens = tokens, .batch = 1, .density = 1}, &step);
    const double decode = 2 * step.exact * output, shared = sf_study_work(&study, dense, true), whole = sf_study_work(&study, dense, false);
    assert_true(fabs(shared - decode) < 1e-9 * decode);
    assert_true(fabs(whole - decode - prefill.exact) < 1e-9 * whole);
    /* All cells of a sample that ask for one prefill pay for it together: where nothing is read, that is what they take. */
    double dense_prefill = 0;
    sf_forecast f;
    cluster.bytes = INFINITY;
    OK(sf_forecast_open(&study, &cluster, NULL, &f));
    for (int i = 0; i < study.plan.cells; i++) {
        const sf_cell *cell = &study.plan.cell[i];
        if (!cell->prefill && cell->model == dense->model && cell->task == dense->task && cell->length == dense->length) dense_prefill += f.seconds[i];
    }
    assert_true(fabs(dense_prefill - prefill.exact / cluster.flops) < 1e-9 * dense_prefill);
    sf_forecast_close(&f);
    sf_plan_free(&study.plan);
    sf_sweep_free(study.sweep);
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_alone), cmocka_unit_test(test_devices), cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_ranks_stop),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_balance),
        cmocka_unit_test(test_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
