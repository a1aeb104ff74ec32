/* Sampling that stops: what is known, by the rounds of an independent implementation, by its errors on chance, and on planted arms. */
#include "tests/testing.h"

#include <math.h>

#include "base/confidence.h"
#include "base/splitmix.h"
#include "harness/run/stopping.h"

enum { ROUNDS = 400, MOST_STRATA = 9 };

static uint64_t state = 1;
static double uniform(void) { return (double)(sf_splitmix_next(&state) >> 11) / 9007199254740992.0; }

/* tests/golden/stats/confidence.py */
static void first_rounds(void **unused)
{
    (void)unused;
    static const struct {
        int strata;
        double spread, shift, at;
        int above, below;
    } rows[] = {
        {1, 0.0, 0.0, -0.03, 199, 0},
        {1, 0.0, 0.0, 0, 0, 0},
        {1, 0.0, 0.0, 0.03, 0, 199},
        {6, 0.0, 0.0, -0.03, 34, 0},
        {6, 0.0, 0.0, 0, 0, 0},
        {6, 0.0, 0.0, 0.03, 0, 34},
        {1, 1.0, 0.0, -0.03, 0, 0},
        {1, 1.0, 0.0, 0, 0, 0},
        {1, 1.0, 0.0, 0.03, 0, 0},
        {6, 1.0, -0.2, -0.03, 0, 18},
        {6, 1.0, -0.2, 0, 0, 13},
        {6, 1.0, -0.2, 0.03, 0, 8},
        {3, 0.5, 0.1, -0.03, 22, 0},
        {3, 0.5, 0.1, 0, 32, 0},
        {3, 0.5, 0.1, 0.03, 54, 0},
        {9, 0.2, -0.05, -0.03, 0, 45},
        {9, 0.2, -0.05, 0, 0, 16},
        {9, 0.2, -0.05, 0.03, 0, 9},
        {1, 0.9, 0.6, -0.03, 17, 0},
        {1, 0.9, 0.6, 0, 18, 0},
        {1, 0.9, 0.6, 0.03, 20, 0},
    };
    static double x[ROUNDS * MOST_STRATA];
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        int above = 0, below = 0;
        for (int i = 0; i < ROUNDS * rows[k].strata; i++)
            x[i] = fmin(fmax(rows[k].shift + rows[k].spread * ((double)(i * 7919L % 101) / 50 - 1), -1), 1);
        for (int n = 1; n <= ROUNDS; n++) {
            const sf_side side = sf_confidence_side(n, rows[k].strata, x, -1, 1, rows[k].at, 0.05);
            if (!above && side.above) above = n;
            if (!below && side.below) below = n;
            assert_int_equal(side.above, above > 0); /* known once, known for good */
            assert_int_equal(side.below, below > 0);
        }
        if (above != rows[k].above || below != rows[k].below) fail_msg("row %zu: %d %d", k, above, below);
    }
}

/* Looked at after every round: a mean of 0 is hardly ever taken for another one, one of 0.4 is seen. */
static void by_chance(void **unused)
{
    (void)unused;
    enum { TRIALS = 400, LOOKS = 100, STRATA = 3 };
    int wrong = 0, seen = 0;
    for (int i = 0; i < TRIALS; i++) {
        double x[LOOKS * STRATA], y[LOOKS * STRATA];
        for (int k = 0; k < LOOKS * STRATA; k++) { /* strata of other means, 0 and 0.4 together */
            const double shift = 0.2 * (k % STRATA - 1);
            x[k] = uniform() < 0.5 * (1 + shift) ? 1 : -1;
            y[k] = uniform() < 0.5 * (1.4 + shift) ? 1 : -1;
        }
        const sf_side none = sf_confidence_side(LOOKS, STRATA, x, -1, 1, 0, 0.05), some = sf_confidence_side(LOOKS, STRATA, y, -1, 1, 0, 0.05);
        wrong += none.above || none.below;
        seen += some.above && !some.below;
    }
    assert_true(wrong <= TRIALS / 20);
    if (seen <= TRIALS * 9 / 10) fail_msg("%d of %d seen", seen, TRIALS);
}

/* Whether any decision of a pair is among these, and open. */
static bool undecided(int n, const sf_decision *d, int a, int b)
{
    bool there = false, open = false;
    for (int i = 0; i < n; i++) {
        const bool is = (d[i].a == a && d[i].b == b) || (d[i].a == b && d[i].b == a);
        there |= is;
        open |= is && d[i].known == SF_OPEN;
    }
    if (!there) fail_msg("%d and %d are not held against each other", a, b);
    return open;
}

/* Dense, its like, one that loses nearly all, two that lose as much. */
static void planted(void **unused)
{
    (void)unused;
    enum { ARMS = 5, TASKS = 4, N = 60 };
    static double score[ARMS][N * TASKS];
    const double *scores[ARMS];
    double sparsity[ARMS][2] = {{0}};
    int rounds[ARMS], n;
    sf_decision d[4 * ARMS];
    for (int i = 0; i < N * TASKS; i++) {
        score[0][i] = score[1][i] = i % 7 > 0;
        score[2][i] = i % 29 == 0;
        score[3][i] = score[0][i] * (i % 2);
        score[4][i] = score[0][i] * (i / 2 % 2);
    }
    for (int a = 0; a < ARMS; a++) scores[a] = score[a], rounds[a] = 5, sparsity[a][1] = a ? 0.5 : 0;
    sf_contest c = {ARMS, TASKS, rounds, scores, sparsity, 0.05, SF_DECIDE_BEST, 0.05};
    OK(sf_stopping_decisions(&c, d, &n));
    assert_true(n == 7 && undecided(n, d, 1, 0) && !undecided(n, d, 2, 0)); /* who loses nearly all is known at once */
    for (int a = 0; a < ARMS; a++) rounds[a] = N;
    OK(sf_stopping_decisions(&c, d, &n));
    for (int i = 0; i < n; i++) assert_int_not_equal(d[i].known, SF_OPEN); /* 1 is alike, the others are worse than it: their order does not matter */
    assert_int_equal(sf_known_of(N, TASKS, score[0], 0.05, 0.05), SF_MORE);

    c.decide = SF_DECIDE_RANKING; /* where it does */
    OK(sf_stopping_decisions(&c, d, &n));
    assert_true(n == 7 && undecided(n, d, 3, 4) && !undecided(n, d, 4, 2) && !undecided(n, d, 1, 3));

    c.decide = SF_DECIDE_FRONTIER; /* 3 and 4 at a lower sparsity than 1, which is better: they are off; 1 and 2, the sparsest, are not held against them */
    sparsity[1][1] = 0.9, sparsity[2][1] = 0.95;
    OK(sf_stopping_decisions(&c, d, &n));
    assert_true(n == 7 && !undecided(n, d, 3, 1) && !undecided(n, d, 4, 1) && !undecided(n, d, 1, 2));
    for (int i = 4; i < n; i++) assert_true((d[i].a == 1 && d[i].b == 2 && d[i].known == SF_MORE) || (d[i].a > 2 && d[i].b == 1 && d[i].known == SF_LESS));

    c.decide = SF_DECIDE_BEST;
    const double *two[] = {score[0], score[3], score[4]};
    const double half[3][2] = {{0, 0}, {0, 0.5}, {0, 0.5}}, apart[3][2] = {{0, 0}, {0, 0.5}, {0, 0.6}}, own[3][2] = {{0, 0}, {0, NAN}, {0, NAN}};
    c.arms = 3, c.score = two, c.sparsity = half;
    OK(sf_stopping_decisions(&c, d, &n));
    assert_true(n == 3 && undecided(n, d, 1, 2)); /* both lose, and which is the better one is not known */
    c.sparsity = apart;
    OK(sf_stopping_decisions(&c, d, &n));
    assert_int_equal(n, 2);
    c.sparsity = own, c.decide |= SF_DECIDE_RANKING | SF_DECIDE_FRONTIER;
    OK(sf_stopping_decisions(&c, d, &n));
    assert_int_equal(n, 2); /* explicit parameters have no rivals */
}

/* Without any difference it is known that there is none as soon as both ends are, each at alpha (NumPy: 28 rounds; 44 of an eighth of it). */
static void alike(void **unused)
{
    (void)unused;
    static const double none[44 * 6];
    assert_int_equal(sf_known_of(27, 6, none, 0.03, 0.05), SF_OPEN);
    assert_int_equal(sf_known_of(28, 6, none, 0.03, 0.05), SF_ALIKE);
    assert_int_equal(sf_known_of(43, 6, none, 0.03, 0.05 / 8), SF_OPEN); /* where it shares its 5 % */
    assert_int_equal(sf_known_of(44, 6, none, 0.03, 0.05 / 8), SF_ALIKE);
}

/* By hand: four arms at two sparsities of one phase; then of two. */
static void pairs(void **unused)
{
    (void)unused;
    enum { ALL = SF_DECIDE_BEST | SF_DECIDE_RANKING | SF_DECIDE_FRONTIER };
    static const double one[5][2] = {{0, 0}, {0, 0.5}, {0, 0.5}, {0, 0.5}, {0, 0.9}}, two[5][2] = {{0, 0}, {0.5, 0.9}, {0.9, 0.5}, {0.5, 0.5}, {NAN, NAN}};
    assert_int_equal(sf_stopping_pairs(5, one, SF_DECIDE_BEST), 4 + 3);
    assert_int_equal(sf_stopping_pairs(5, one, SF_DECIDE_RANKING | SF_DECIDE_BEST), 4 + 3);
    assert_int_equal(sf_stopping_pairs(5, one, SF_DECIDE_FRONTIER), 4 + 6);
    assert_int_equal(sf_stopping_pairs(5, two, SF_DECIDE_BEST), 4);
    assert_int_equal(sf_stopping_pairs(5, two, ALL), 4 + 2); /* the first two are at no sparsity at which the other is, too */
    assert_int_equal(sf_stopping_pairs(1, one, ALL), 0);
}

/* A study as it stands after a round, in a results file: who gets more samples next. */
enum { TASKS = 2, ARMS = 4, LENGTHS = 2, MOST = 60 };
static sf_arm arms[ARMS];

static sf_cell cell_of(int length, int task, int arm, double sparsity)
{
    sf_cell c = {.task = task, .length = length, .samples = 4, .decode = arm ? &arms[arm] : NULL, .sparsity = {[SF_DECODE] = sparsity}};
    snprintf(c.key, sizeof c.key, "%032x", 0x100 * length + 0x10 * task + arm);
    return c;
}

static void store(sf_store *s, const char *key, int samples, double (*strict)(int))
{
    sf_cell_info info = {.model = "m", .task = "t"};
    snprintf(info.key, sizeof info.key, "%s", key);
    for (int i = 0; i < samples; i++) {
        const sf_record record = {.sample = i, .strict = strict(i), .reference = NAN, .depth = NAN, .late_tokens = NAN, .diverged = {SF_NOT_DIVERGED, SF_NOT_DIVERGED}};
        OK(sf_store_add(s, 1, &info, &record));
    }
}

static double all(int i) { return (void)i, 1; }
static double no(int i) { return (void)i, 0; }
static double even(int i) { return i % 2 == 0; }
static double odd(int i) { return i % 2; }

static void next_round(void **unused)
{
    (void)unused;
    char folder[64], path[96];
    assert_int_equal(folder_make(folder), 0);
    snprintf(path, sizeof path, "%s/r.h5", folder);
    sf_cell cell[LENGTHS * TASKS * ARMS];
    int n = 0, most[LENGTHS * TASKS * ARMS];
    sf_store *s;
    OK(sf_store_open(path, false, &s));
    for (int l = 0; l < LENGTHS; l++)
        for (int t = 0; t < TASKS; t++) {
            double (*const score[ARMS])(int) = {all, l ? even : no, l ? odd : all, l ? odd : no};
            for (int a = 0; a < ARMS; a++) { /* rivals: 1 and 2 */
                cell[n] = cell_of(l, t, a, !a ? 0 : a == 3 ? 0.9 : 0.5);
                cell[n].samples = l ? MOST : 8;
                most[n] = a == 2 && t == 1 && !l ? 9 : 100;
                store(s, cell[n].key, cell[n].samples + (a == 2 && !t), score[a]); /* one sample that its other task lacks */
                n++;
            }
        }
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);

    /* At the first length 1 and 3 lose all, which is known, and whether 2 loses is not. At the second all three lose; of the
     * rivals, which is the better one is not known, and 3 has none. */
    sf_sweep sweep = {.tasks = TASKS, .least = 7, .until = 0.05, .decide = SF_DECIDE_BEST};
    sf_study study = {.sweep = &sweep, .plan = {.cells = n, .cell = cell}};
    bool more = false;
    OK(sf_stopping_next(&study, most, path, &more));
    assert_true(more);
    for (int i = 0; i < n; i++) {
        const int l = cell[i].length, a = i % ARMS;
        const int first = a == 0 || a == 2 ? (cell[i].task == 1 && a == 2 ? 9 : 12) : 8;
        const int want = l ? (a < 3 ? MOST + 4 : MOST) : a == 0 && cell[i].task == 1 ? 9 : first;
        if (cell[i].samples != want) fail_msg("length %d, task %d, arm %d: %d samples, expected %d", l, cell[i].task, a, cell[i].samples, want);
    }
    assert_true(sf_stopping_alpha(&study) == 0.05);
    sweep.error_of_study = true;
    assert_true(sf_stopping_alpha(&study) == 0.05 / (LENGTHS * (3 + 1))); /* three against dense, and the rivals */
    sweep.error_of_study = false;

    for (int i = 0; i < n; i++) most[i] = cell[i].samples; /* no more are allowed */
    OK(sf_stopping_next(&study, most, path, &more));
    assert_false(more);
    folder_remove(folder);
}

/* A model that was trained sparse, on which nothing is decided, has as many samples as the dense one beside it. */
static void beside_dense(void **unused)
{
    (void)unused;
    char folder[64], path[96];
    assert_int_equal(folder_make(folder), 0);
    snprintf(path, sizeof path, "%s/r.h5", folder);
    sf_cell cell[] = {cell_of(0, 0, 0, 0), cell_of(0, 0, 1, NAN), cell_of(0, 0, 2, 0.5)}; /* trained sparse; dense and an arm of another model */
    cell[0].model = 1, cell[0].own = true, cell[1].decode = NULL, cell[1].sparsity[SF_DECODE] = 0;
    sf_store *s;
    OK(sf_store_open(path, false, &s));
    store(s, cell[0].key, 4, all), store(s, cell[1].key, 4, even), store(s, cell[2].key, 4, odd);
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    sf_sweep sweep = {.tasks = 1, .least = 4, .until = 0.05, .decide = SF_DECIDE_BEST};
    sf_study study = {.sweep = &sweep, .plan = {.cells = 3, .cell = cell}};
    int most[] = {5, 60, 60};
    bool more = false;
    OK(sf_stopping_next(&study, most, path, &more));
    assert_true(more);
    assert_int_equal(cell[1].samples, 6);
    assert_int_equal(cell[0].samples, 5); /* its task has no more */
    most[0] = 60;
    OK(sf_stopping_next(&study, most, path, &more));
    assert_int_equal(cell[0].samples, 6);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(first_rounds), cmocka_unit_test(by_chance), cmocka_unit_test(planted),
                                       cmocka_unit_test(alike), cmocka_unit_test(pairs), cmocka_unit_test(next_round),
                                       cmocka_unit_test(beside_dense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
