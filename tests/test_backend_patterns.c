/* Twin test of the cpu backend: patterns that are more than one set of pairs under one softmax. Bands, columns and full
 * rows; lists of each query head; weights; summaries; parts; other distances. See tests/backend_world.h. */
#include "tests/backend_world.h"

#include <limits.h>

#include "kernels/reference/reference.h"

static float frequency[128];

/* The lists and arrays of one case. */
enum { MOST_HELD = 64 };
static void *held[MOST_HELD];
static int holds;

static void *hold(void *p)
{
    assert_true(holds < MOST_HELD);
    return held[holds++] = p;
}

static void let_go(void)
{
    while (holds) free(held[--holds]);
}

static sf_lists held_lists(int64_t rows, int64_t stride)
{
    sf_lists l = lists(rows, stride);
    hold(l.count), hold(l.index);
    return l;
}

static sf_tensor held_floats(int64_t d0, int64_t d1, int64_t d2)
{
    sf_tensor t = {.dtype = SF_F32, .rank = d2 ? 3 : 2, .dim = {d0, d1, d2}};
    t.data = hold(random_floats(d0 * d1 * (d2 ? d2 : 1), PLAIN));
    return t;
}

static sf_pattern bands(const sf_attention *a, bool decode)
{
    sf_pattern p = {.kind = SF_BANDS, .heads = PICK(1, a->heads, a->kv_heads)};
    sf_band *band = hold(room((size_t)p.heads * SF_BANDS_A_HEAD * sizeof *band));
    for (int i = 0; i < p.heads * SF_BANDS_A_HEAD; i++) {
        int near = PICK(0, 0, 0, 1, 17, 90);
        band[i] = (sf_band){.sinks = PICK(0, 0, 4, 40), .apart = PICK(0, 1, 30), .near = near, .far = near + PICK(0, 1, 16, 70, 500),
                            .step = PICK(1, 1, 1, 2, 5, 64)};
        if (i % SF_BANDS_A_HEAD == 0) band[i] = (sf_band){.near = 0, .far = PICK(1, 8, 33, 200), .step = PICK(1, 1, 3), .sinks = PICK(0, 2)};
        if (i % SF_BANDS_A_HEAD && below(3) == 0) band[i] = (sf_band){0};
    }
    p.band = band;
    double share = PICK(0, 2, 10, 60) / 100.0;
    if (below(2)) p.first = held_lists(p.heads, a->keys);
    if (below(2) && !decode) p.second = held_lists(p.heads, a->queries);
    for (int h = 0; h < p.heads; h++) {
        if (p.first.rows) fill_row(p.first, h, a->keys, share, -1);
        if (p.second.rows) fill_row(p.second, h, a->queries, share / 2, -1);
    }
    tell("; bands of %d heads, columns %d, rows %d", p.heads, p.first.rows != 0, p.second.rows != 0);
    return p;
}

/* Of heads 1 to H; page size 1 has biases. */
static sf_pattern pages(const sf_attention *a)
{
    sf_pattern p = {.kind = SF_PAGES, .heads = PICK(1, a->heads, a->kv_heads), .page = PICK(1, 1, 5, 16)};
    p.first = held_lists(p.heads, (a->keys + p.page - 1) / p.page);
    for (int h = 0; h < p.heads; h++) fill_row(p.first, h, (int)p.first.stride, PICK(5, 40) / 100.0, (int)p.first.stride - 1);
    if (below(2)) p.bias = held_floats(p.first.rows, p.first.stride, 0);
    tell("; pages of %d, heads %d, bias %d", p.page, p.heads, p.bias.data != NULL);
    return p;
}

static void summarise(const sf_attention *a, sf_pattern *p)
{
    int m = between(1, a->keys + 1);
    int32_t *from = hold(room((size_t)m * sizeof *from));
    p->sum.k = held_floats(a->kv_heads, m, a->head_dim), p->sum.v = held_floats(a->kv_heads, m, a->head_dim);
    for (int i = 0; i < m; i++) from[i] = below(a->keys + 4);
    if (below(2)) p->sum.from = from;
    if (below(3)) p->sum.bias = held_floats(PICK(a->heads, a->kv_heads), m, 0);
    tell("; %d summaries, from %d, bias %d", m, p->sum.from != NULL, (int)p->sum.bias.dim[0]);
}

static void set_reach(const sf_attention *a, sf_pattern *p)
{
    int chunk = PICK(1, 6, 16, 50, INT_MAX);
    p->reach = (sf_reach){chunk, (chunk < a->keys ? chunk : a->keys) - 1 + PICK(0, 2, 30)};
    tell("; reach %d, %d", p->reach.chunk, p->reach.cap);
}

static sf_pattern any_prefill(const sf_attention *a)
{
    sf_pattern p = below(2) ? bands(a, false) : random_pattern(a, (sf_pattern_kind)PICK(SF_DENSE, SF_BLOCKS, SF_COLUMNS_DIAGONALS, SF_WINDOW));
    if (p.kind != SF_BANDS && p.kind != SF_DENSE && p.kind != SF_WINDOW)
        hold(p.first.count), hold(p.first.index), p.second.rows ? (hold(p.second.count), hold(p.second.index)) : NULL;
    if (below(3) == 0) summarise(a, &p);
    if (below(2)) set_reach(a, &p);
    p.empty = p.kind == SF_BANDS;
    return p;
}

static sf_pattern any_decode(const sf_attention *a)
{
    sf_pattern p = below(2) ? bands(a, true) : below(4) ? pages(a) : random_pattern(a, PICK(SF_DENSE, SF_WINDOW));
    if (below(3) == 0) summarise(a, &p);
    if (below(2)) set_reach(a, &p);
    p.empty = true;
    return p;
}

/* Two halves of the distances in one softmax, or what is at hand, gated. */
static sf_pattern parts(sf_attention *a, bool decode)
{
    sf_pattern p = {.kind = SF_PARTS, .part = a->part, .parts = 2, .gated = below(2)};
    static const sf_band none;
    int cut = PICK(1, 8, 40), sinks = PICK(0, 3, 30);
    sf_band *band = hold(room(4 * sizeof *band));
    band[0] = (sf_band){.far = cut, .step = 1}, band[1] = none;
    band[2] = (sf_band){.sinks = sinks, .apart = cut, .near = cut, .far = cut + PICK(0, 9, 400), .step = PICK(1, 3)}, band[3] = none;
    for (int k = 0; k < 2; k++) {
        a->part[k] = (sf_pattern){.kind = SF_BANDS, .heads = 1, .band = band + 2 * k};
        if (below(2)) set_reach(a, &a->part[k]);
        if (below(4) == 0) summarise(a, &a->part[k]);
    }
    if (!p.gated) return tell("; two parts joined"), p;
    p.parts = 4;
    a->part[2] = decode ? any_decode(a) : any_prefill(a);
    a->part[3] = (sf_pattern){.kind = SF_CONSTANT, .sum.v = held_floats(a->kv_heads, 1, a->head_dim)};
    for (int k = 0; k < 4; k++) {
        if (below(3)) a->part[k].gate = held_floats(PICK(1, a->queries), a->heads, 0);
        if (k < 3 && !decode) a->part[k].repeat = PICK(0, 0, 1, 5, 64);
        tell("; part %d repeated %d", k, a->part[k].repeat);
    }
    tell("; four parts gated");
    return p;
}

static void run(sf_phase phase, const sf_attention *a, const sf_pattern *p)
{
    int64_t n = (int64_t)a->queries * a->heads * a->head_dim;
    float *out[BACKENDS], *lse[BACKENDS];
    uint64_t pairs[BACKENDS][64], total[BACKENDS];
    EACH(v)
    {
        memset(pairs[v], 0, sizeof pairs[v]);
        backend[v].phase = phase;
        sf_attention mine = *a;
        const sf_attention *lane = &mine;
        mine.backend = &backend[v], mine.pairs = pairs[v], mine.lse = lse[v] = floats((int64_t)a->queries * a->heads);
        OK(backend[v].ops->check_pattern(&backend[v], &mine, p, "the test"));
        out[v] = floats(n);
        if (phase == SF_PREFILL)
            OK(backend[v].ops->prefill(&backend[v], &mine, p, out[v]));
        else
            OK(backend[v].ops->decode(&backend[v], 1, &lane, &p, out[v]));
        OK(backend[v].ops->count_pairs(&backend[v], &mine, p, &total[v]));
        for (int h = 0; h < a->heads; h++) total[v] -= pairs[v][h];
        if (total[v]) fail_msg("%s: executor and count_pairs differ by %lld", about, (long long)total[v]);
    }
    same_bits("pairs", pairs[CPU], pairs[REFERENCE], sizeof pairs[CPU]);
    compare("out", out, n);
    if (!p->gated) compare("lse", lse, (int64_t)a->queries * a->heads);
    EACH(v) if (p->gated) free(lse[v]);
}

static world turning_world(int i, int queries, int prompt, int tail, bool compact, int window)
{
    world w = random_world(i % VALUES, queries, prompt, tail, compact, window);
    w.a.frequency = frequency, w.a.interleaved = below(2);
    for (int d = 0; d < w.a.head_dim / 2; d++) frequency[d] = powf(10000, -2.f * (float)d / (float)w.a.head_dim);
    return w;
}

static void prefill(void **unused)
{
    (void)unused;
    CASES("patterns in prefill", 96)
    {
        int queries = PICK(1, 2, 30, 64, 65, 140, 260), keys = queries + (below(3) ? 0 : PICK(1, 20, 100));
        world w = turning_world(i_, queries, keys, 0, false, below(4) ? 0 : PICK(1, 40, 1000));
        sf_pattern p = i_ % 3 ? any_prefill(&w.a) : parts(&w.a, false);
        if (p.kind == SF_PARTS) p.empty = true;
        run(SF_PREFILL, &w.a, &p);
        let_go();
        free_world(&w);
    }
}

static void decode(void **unused)
{
    (void)unused;
    CASES("patterns in decode", 150)
    {
        int prompt = PICK(1, 17, 60, 300, 700), tail = PICK(0, 1, 20);
        world w = turning_world(i_, 1, prompt, tail, below(3) == 0 && prompt > 1, 0);
        sf_pattern p = i_ % 3 ? any_decode(&w.a) : parts(&w.a, true);
        if (p.kind == SF_PARTS) p.empty = true;
        run(SF_DECODE, &w.a, &p);
        let_go();
        free_world(&w);
    }
}

static void mass(void **unused)
{
    (void)unused;
    CASES("mass of patterns", 36)
    {
        int queries = PICK(1, 30, 140);
        world w = turning_world(i_, queries, queries + PICK(0, 30), 0, false, 0);
        sf_pattern p = i_ % 3 ? any_prefill(&w.a) : parts(&w.a, false);
        int32_t row[3] = {below(queries), below(queries), queries - 1};
        float *covered[BACKENDS];
        EACH(v) OK(backend[v].ops->mass(&backend[v], &w.a, &p, 3, row, covered[v] = floats(w.a.heads)));
        compare("covered", covered, w.a.heads);
        let_go();
        free_world(&w);
    }
}

/* A prompt in two pieces gives the bits that it gives in one. */
static void bands_cut(void **unused)
{
    (void)unused;
    CASES("bands cut", 24)
    {
        int queries = between(2, 400), cut = between(1, queries - 1);
        world w = turning_world(i_, queries, queries, 0, false, 0);
        sf_pattern p = bands(&w.a, true);
        p.empty = true, p.first = (sf_lists){0};
        tell("; cut at %d", cut);
        int64_t width = (int64_t)w.a.heads * w.a.head_dim;
        float *whole = floats(queries * width), *pieces = floats(queries * width);
        OK(backend[CPU].ops->prefill(&backend[CPU], &w.a, &p, whole));
        sf_attention first = w.a, second = w.a;
        first.queries = first.keys = first.kv.prompt.n = cut;
        second.queries = queries - cut, second.q = w.q + cut * width;
        OK(backend[CPU].ops->prefill(&backend[CPU], &first, &p, pieces));
        OK(backend[CPU_ONE].ops->prefill(&backend[CPU_ONE], &second, &p, pieces + cut * width));
        same_bits("out", pieces, whole, (size_t)(queries * width) * sizeof(float));
        free(whole), free(pieces);
        let_go();
        free_world(&w);
    }
}

/* Within its cap a reach changes nothing; beyond it, logits are those of the distance that the formula gives: of queries
 * and keys that are rotated to stand so far apart. */
static void reach_as_rotated(void **unused)
{
    (void)unused;
    enum { D = 16, N = 60 };
    static const sf_reach reaches[] = {{6, 8}, {1, 20}, {INT_MAX, 11}, {48, 64}};
    float k[N * D], v[N * D], q[D], unturned_q[D], unturned_k[N * D], out[D];
    begin_case("reach", 0);
    for (int d = 0; d < D / 2; d++) frequency[d] = powf(10000, -2.f * (float)d / D);
    for (int i = 0; i < D; i++) unturned_q[i] = normal();
    for (int i = 0; i < N * D; i++) unturned_k[i] = normal(), v[i] = normal();
    for (size_t r = 0; r < sizeof reaches / sizeof *reaches; r++) {
        for (int i = 0; i < N; i++) {
            double score[N], most = -INFINITY, sum = 0, want[D] = {0};
            for (int j = 0; j <= i; j++) {
                int chunk = reaches[r].chunk, moved = i - chunk * (j / chunk);
                double distance = (moved < reaches[r].cap ? moved : reaches[r].cap) - j % chunk;
                score[j] = 0;
                for (int d = 0; d < D / 2; d++) { /* real part of q · conj(k) · e^(i · distance · frequency) */
                    const float *x = unturned_k + j * D;
                    double re = unturned_q[d] * x[d] + unturned_q[d + D / 2] * x[d + D / 2],
                           im = unturned_q[d + D / 2] * x[d] - unturned_q[d] * x[d + D / 2];
                    score[j] += re * cos(distance * frequency[d]) - im * sin(distance * frequency[d]);
                }
                most = fmax(most, score[j]);
            }
            for (int j = 0; j <= i; j++) sum += score[j] = exp(score[j] - most);
            for (int j = 0; j <= i; j++)
                for (int d = 0; d < D; d++) want[d] += score[j] / sum * v[j * D + d];
            for (int j = 0; j <= N; j++)
                for (int d = 0; d < D / 2; d++) {
                    const float *x = j < N ? unturned_k + j * D : unturned_q;
                    float *to = j < N ? k + j * D : q;
                    double c = cos((j < N ? j : i) * (double)frequency[d]), s = sin((j < N ? j : i) * (double)frequency[d]);
                    to[d] = (float)(x[d] * c - x[d + D / 2] * s), to[d + D / 2] = (float)(x[d] * s + x[d + D / 2] * c);
                }
            sf_attention a = {.layers = 1, .heads = 1, .kv_heads = 1, .head_dim = D, .queries = 1, .keys = i + 1, .scale = 1, .q = q,
                              .frequency = frequency, .kv.prompt = {.k = k, .v = v, .capacity = N, .n = i + 1}};
            const sf_attention *lane = &a;
            const sf_pattern p = {.kind = SF_DENSE, .reach = reaches[r]}, *pattern = &p;
            EACH(b)
                for (int phase = 0; phase < SF_PHASES; phase++) {
                    if (phase == SF_PREFILL)
                        OK(backend[b].ops->prefill(&backend[b], &a, &p, out));
                    else
                        OK(backend[b].ops->decode(&backend[b], 1, &lane, &pattern, out));
                    for (int d = 0; d < D; d++)
                        if (fabs(out[d] - want[d]) > 2e-5)
                            fail_msg("reach {%d, %d}, row %d, %s: out[%d] is %g, expected %g", reaches[r].chunk, reaches[r].cap, i,
                                     backend[b].ops->name, d, (double)out[d], want[d]);
                }
        }
    }
}

/* The distances of pattern.h's comment, and ChunkLlama's three queries for every pair: own chunk, the one before, earlier. */
static void worked_examples(void **unused)
{
    (void)unused;
    static const struct { sf_reach reach; int i, j, distance; } cases[] = {
        {{6, 8}, 14, 6, 8}, {{6, 8}, 14, 5, 3}, {{6, 8}, 14, 0, 8}, {{6, 8}, 17, 6, 8}, /* Dual Chunk Attention */
        {{INT_MAX, 4}, 9, 0, 4}, {{INT_MAX, 4}, 9, 1, 3},                               /* StreamingLLM: start 2, local 3 */
        {{1, 4096}, 9999, 0, 4096}, {{1, 4096}, 9999, 99, 4096}, {{1, 4096}, 4000, 0, 4000}, /* LM-Infinite */
        {{INT_MAX, 4195}, 9999, 0, 4195}, {{INT_MAX, 4195}, 9999, 99, 4096},            /* StreamingLLM: sinks 100, local 4096 */
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        assert_int_equal(sf_reach_position(cases[c].reach, cases[c].i, cases[c].j) - cases[c].j, cases[c].distance);
    for (int i = 0; i < 60; i++)
        for (int j = 0; j <= i; j++) {
            int s = 6, c = 8, gap = i / s - j / s, key = j % s;
            int query = gap == 0 ? i % s : gap == 1 ? (i % s + s < c ? i % s + s : c) : c;
            assert_int_equal(sf_reach_position((sf_reach){s, c}, i, j) - j, query - key);
        }
}

/* What pattern.h draws. */
static void bands_as_drawn(void **unused)
{
    (void)unused;
    static const char *const drawn[] = {"b", "bb", "cbb", "c.bb", "cs.bb", "rrrrrr", "c..s.bb"};
    const sf_band band[2] = {{.far = 2, .step = 1}, {.near = 3, .far = 7, .step = 3}};
    int32_t count = 1, zero = 0, five = 5;
    sf_pattern p = {.kind = SF_BANDS, .heads = 1, .band = band, .first = {1, 1, &count, &zero}, .second = {1, 1, &count, &five}};
    sf_attention a = {.layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 1, .queries = 7, .keys = 7, .kv.prompt.n = 7};
    for (int i = 0; i < 7; i++) {
        uint8_t mask[7];
        sf_pattern_named(&a, &p, 0, i, mask);
        for (int j = 0; j < 7; j++)
            if (mask[j] != (j <= i && drawn[i][j] != '.')) fail_msg("row %d, key %d: %d", i, j, mask[j]);
    }
}

/* Each breaks one promise. */
static void promises(void **unused)
{
    (void)unused;
    begin_case("promises", 0);
    world w = turning_world(0, 40, 40, 0, false, 0);
    static const sf_band near[2] = {{.far = 5, .step = 1}}, over[2] = {{.near = 3, .far = 9, .step = 1}}, backwards[2] = {{.near = -1, .far = 5, .step = 1}},
                         stepless[2] = {{.far = 9}};
    const sf_pattern good = {.kind = SF_BANDS, .heads = 1, .band = near};
    int32_t count = 2, index[] = {3, 39};
    float finite[] = {0, 1}, infinite[] = {0, INFINITY};
    sf_tensor gate = {.data = infinite, .dtype = SF_F32, .rank = 2, .dim = {1, 2}};
    sf_pattern far = good, negative = good, step = good, reach = good, bias = {.kind = SF_PAGES, .heads = 1, .page = 1, .first = {1, 2, &count, index}};
    far.band = over, negative.band = backwards, step.band = stepless, reach.reach = (sf_reach){-1, 4};
    bias.bias = (sf_tensor){.data = infinite, .dtype = SF_F32, .rank = 2, .dim = {1, 2}};
    sf_pattern fine_bias = bias, gated = good, twice[2] = {good, far}, apart[2] = {good, {.kind = SF_BANDS, .heads = 1}};
    static const sf_band rest[2] = {{.near = 5, .far = 1 << 30, .step = 1}};
    apart[1].band = rest;
    fine_bias.bias.data = finite;
    w.a.heads = w.a.kv_heads * (w.a.heads / w.a.kv_heads);
    gate.dim[1] = w.a.heads;
    gate.data = hold(room((size_t)w.a.heads * sizeof(float))); /* NaN */
    gated.gate = gate;
    const struct { sf_phase phase; sf_pattern p; const char *expected; } cases[] = {
        {SF_PREFILL, good, NULL},
        {SF_PREFILL, negative, "expected none negative"},
        {SF_PREFILL, step, "a step of at least 1"},
        {SF_PREFILL, reach, "a reach of chunk -1"},
        {SF_DECODE, fine_bias, NULL},
        {SF_DECODE, bias, "is inf; expected a finite"},
        {SF_PREFILL, {.kind = SF_PARTS, .parts = 2, .part = apart}, NULL},
        {SF_PREFILL, {.kind = SF_PARTS, .parts = 2, .part = twice}, "in two parts of one softmax"},
        {SF_PREFILL, {.kind = SF_PARTS, .parts = 2, .part = twice, .gated = true}, NULL},
        {SF_PREFILL, {.kind = SF_PARTS, .parts = 1, .part = &gated, .gated = true}, "a gate is not finite"},
        {SF_PREFILL, {.kind = SF_PARTS, .parts = 1, .part = &gated}, "gates"},
        {SF_PREFILL, {.kind = SF_PARTS, .parts = 9, .part = twice}, "9 parts"},
        {SF_PREFILL, {.kind = SF_CONSTANT}, "a CONSTANT pattern does not serve"},
        {SF_PREFILL, {.kind = SF_BANDS, .heads = 1}, "without bands"},
        {SF_PREFILL, {.kind = SF_BANDS, .heads = 7919, .band = near}, "selects for 7919 heads"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        backend[CPU].phase = cases[c].phase;
        sf_status status = backend[CPU].ops->check_pattern(&backend[CPU], &w.a, &cases[c].p, "the test");
        if ((status == SF_OK) != (cases[c].expected == NULL) || (status && !strstr(sf_error(), cases[c].expected)))
            fail_msg("case %zu: expected '%s', found '%s'", c, cases[c].expected ? cases[c].expected : "nothing", status ? sf_error() : "nothing");
    }
    let_go();
    free_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bands_as_drawn), cmocka_unit_test(worked_examples), cmocka_unit_test(reach_as_rotated),
        cmocka_unit_test(promises),       cmocka_unit_test(prefill),         cmocka_unit_test(decode),
        cmocka_unit_test(mass),           cmocka_unit_test(bands_cut),
    };
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
