/* Every method against its golden values (tests/golden/methods/README.md): what it chooses, how many pairs that
 * is, what attention over them gives, on the host backends; and the budgets and the registry. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/splitmix.h"
#include "methods/delta.h"
#include "methods/plugin.h"
#include "tests/method_case.h"

static const char *const DEVICES[] = {"reference", "cpu", NULL};

static uint64_t fnv(uint64_t h, int32_t x)
{
    for (int i = 0; i < 4; i++) h = (h ^ (((uint32_t)x >> (8 * i)) & 255)) * 0x100000001b3u;
    return h;
}

static uint64_t hash_lists(uint64_t h, const sf_lists *l)
{
    for (int64_t r = 0; r < l->rows; r++) {
        h = fnv(h, l->count[r]);
        for (int32_t i = 0; i < l->count[r]; i++) h = fnv(h, l->index[r * l->stride + i]);
    }
    return h;
}

static uint64_t hash_pattern(const sf_pattern *p)
{
    uint64_t h = 0xcbf29ce484222325u;
    if (p->kind == SF_WINDOW) {
        h = fnv(fnv(fnv(fnv(h, 3), p->sinks), p->local), p->last);
    } else if (p->kind != SF_DENSE && p->kind != SF_BANDS && p->kind != SF_PARTS) { /* those: pairs and output tell */
        h = hash_lists(h, &p->first);
        if (p->kind == SF_COLUMNS_DIAGONALS) h = hash_lists(h, &p->second);
    }
    return h;
}

/* What is not as the case has it, in said [100], or nothing. */
static bool differs(const json_t *c, uint64_t lists, uint64_t pairs, const float *out, int64_t n, char *said)
{
    if (lists != strtoull(text(c, "lists"), NULL, 16)) return snprintf(said, 100, "another selection"), true;
    if (pairs != (uint64_t)json_integer_value(json_object_get(c, "pairs")))
        return snprintf(said, 100, "%llu pairs, golden %d", (unsigned long long)pairs, integer(c, "pairs")), true;
    double norm = json_number_value(json_object_get(c, "norm")), error = 0;
    const json_t *projection = json_object_get(c, "projection");
    for (size_t r = 0; r < json_array_size(projection); r++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += sf_splitmix(100 + r, (uint64_t)i) >> 63 ? -(double)out[i] : (double)out[i];
        double off = fabs(sum - json_number_value(json_array_get(projection, r))) / norm;
        if (!(off <= error)) error = off; /* NaN too */
    }
    return !(error <= 1e-5) && (snprintf(said, 100, "output differs by %g of its norm", error), true);
}

static bool run_case(const json_t *given, const char *device, const char *at, char *said)
{
    method_case c;
    uint64_t pairs = 0;
    open_case(given, device, at, &c);
    float *out = malloc((size_t)c.a.queries * (size_t)(c.s.heads * c.s.head_dim) * sizeof *out);
    const sf_attention *lane = &c.a;
    const sf_pattern *reads = &c.reads;
    ok(sf_synthetic_attend(1, &lane, &reads, out, &pairs), at);
    bool other = differs(given, hash_pattern(&c.pattern), pairs, out, (int64_t)c.a.queries * c.s.heads * c.s.head_dim, said);
    free(out);
    close_case(&c);
    return other;
}

static json_t *golden(void)
{
    json_error_t error;
    json_t *cases = json_load_file("tests/golden/methods/methods.json", 0, &error);
    if (!cases) fail_msg("tests/golden/methods/methods.json:%d: %s", error.line, error.text);
    return cases;
}

static void equals_golden(void **state)
{
    (void)state;
    json_t *cases = golden(), *c;
    size_t i;
    for (int d = 0; DEVICES[d]; d++) json_array_foreach(cases, i, c)
        {
            char at[200], said[100];
            snprintf(at, sizeof at, "%s %s, case %zu (%d tokens, heads %d/%d of %d) on %s", text(c, "method"),
                     text(c, "phase"), i, integer(c, "tokens"), integer(c, "heads"), integer(c, "kv_heads"),
                     integer(c, "head_dim"), DEVICES[d]);
            if (run_case(c, DEVICES[d], at, said)) fail_msg("%s: %s", at, said);
        }
    json_decref(cases);
}

static void every_method_is_valid_and_has_golden_values(void **state)
{
    (void)state;
    json_t *cases = golden(), *c;
    for (int i = 0; sf_methods[i]; i++) {
        const sf_method *m = sf_methods[i];
        if (!m->prefill && !m->compress && !m->decode) continue; /* dense */
        if (sf_method_validate(m, "registry") != SF_OK) fail_msg("%s", sf_error());
        for (int j = 0; j < i; j++) assert_string_not_equal(m->name, sf_methods[j]->name);
        int shapes = 0;
        size_t n;
        json_array_foreach(cases, n, c) shapes += strcmp(text(c, "method"), m->name) == 0;
        if (shapes < 8) fail_msg("%s has golden values on %d shapes, 8 are needed", m->name, shapes);
    }
    json_decref(cases);
}

/* fit() sets it in this case. */
static bool fitted(const json_t *c, const sf_method *m, const sf_param *p)
{
    if (!p->budget || !m->fit || !json_is_number(json_object_get(c, "sparsity"))) return false;
    const sf_extent e = extent_of(c);
    char *as_told = make_params(m, json_object_get(c, "params")), *fits = make_params(m, json_object_get(c, "params"));
    ok(sf_hook_fit(m, &e, json_number_value(json_object_get(c, "sparsity")), fits), m->name);
    bool sets = memcmp(as_told + p->offset, fits + p->offset, sf_param_size(p->type)) != 0;
    free(as_told), free(fits);
    return sets;
}

/* Some golden case gives another answer when it does not say the parameter: without its name there, or the target that sets it.
 * Sizes of a trained method's weights go together; naming one is enough. */
static bool decides(const json_t *cases, const sf_method *m, const sf_param *p)
{
    json_t *c;
    size_t i;
    bool found = false;
    json_array_foreach((json_t *)(uintptr_t)cases, i, c)
    {
        if (found || strcmp(text(c, "method"), m->name) != 0) continue;
        bool named = json_object_get(json_object_get(c, "params"), p->name);
        if (!named && !fitted(c, m, p)) continue;
        json_t *without = json_deep_copy(c);
        char said[100];
        if (named) json_object_del(json_object_get(without, "params"), p->name);
        else json_object_del(without, "sparsity");
        found = (named && json_object_get(c, "weights")) || run_case(without, "cpu", p->name, said);
        json_decref(without);
    }
    return found;
}

static bool decides_over_some_base(const json_t *cases, const sf_param *of_delta)
{
    for (int i = 0; sf_methods[i]; i++) {
        const sf_method *m = sf_delta_over(sf_methods[i]);
        for (const sf_param *p = m ? m->params : NULL; p && p->name; p++)
            if (strncmp(p->name, "delta_", 6) == 0 && strcmp(p->name + 6, of_delta->name) == 0 && decides(cases, m, p)) return true;
    }
    return false;
}

static void every_parameter_decides_in_some_golden_case(void **state)
{
    (void)state;
    json_t *cases = golden();
    char lacking[2000] = "";
    for (const sf_param *p = sf_delta_params; p->name; p++)
        if (!decides_over_some_base(cases, p)) snprintf(lacking + strlen(lacking), sizeof lacking - strlen(lacking), " delta_%s", p->name);
    for (int i = 0; sf_methods[i]; i++)
        for (const sf_param *p = sf_methods[i]->params; p && p->name; p++)
            if (strcmp(p->name, "weights") != 0 && !decides(cases, sf_methods[i], p)) /* made up, of sizes that the cases say */
                snprintf(lacking + strlen(lacking), sizeof lacking - strlen(lacking), " %s.%s", sf_methods[i]->name, p->name);
    if (*lacking) fail_msg("no golden case changes with%s", lacking);
    json_decref(cases);
}

/* The study's published parameters, by length, for these sparsities (.93 and .87 in print). */
static void fits_the_published_budgets(void **state)
{
    (void)state;
    static const double sparsity[] = {.95, .933, .9, .867, .8, .667, .5};
    static const struct {
        int tokens, k[7];
    } block_sparse[] = {
        {16384, {26, 35, 53, 71, 108, 188, 300}},
        {32768, {52, 69, 105, 141, 216, 376, 600}},
        {65536, {104, 139, 210, 283, 432, 752, 1200}},
    };
    for (size_t r = 0; r < sizeof block_sparse / sizeof *block_sparse; r++)
        for (int s = 0; s < 7; s++) {
            sf_extent e = {
                .phase = SF_PREFILL, .tokens = block_sparse[r].tokens, .heads = 28, .kv_heads = 4, .head_dim = 128};
            int published = block_sparse[r].k[s], k = sf_fit_blocks(&e, 16, sparsity[s]);
            double pairs = 0, n = e.tokens / 16;
            for (int i = 0; i < n; i++) pairs += (published < i + 1 ? published - 1 : i) * 256.0 + 136.0;
            double achieved = 1 - pairs / sf_causal_pairs(e.tokens, e.tokens);
            if (fabs(achieved - sparsity[s]) > 0.02)
                fail_msg("%d tokens, k = %d: sparsity %.4f, published for %.2f", e.tokens, published, achieved,
                         sparsity[s]);
            if (abs(k - published) > 1 + 0.01 * published)
                fail_msg("%d tokens at %.2f: k = %d, published %d", e.tokens, sparsity[s], k, published);
        }
    sf_extent e = {.phase = SF_DECODE, .tokens = 16384, .output = 1024};
    assert_int_equal(sf_fit_keys(&e, .95), 819);
    assert_int_equal(sf_fit_keys(&e, 0), 16384 + 1024);
    const sf_method *quest = find("quest");
    char *params = make_params(quest, NULL);
    assert_int_equal(sf_hook_fit(quest, &e, .95, params), SF_OK);
    assert_int_equal(*(int *)(params + quest->params[0].offset), 816); /* 51 pages */
    free(params);
}

/* However sparse, fit() chooses what its own ranges allow, which is checked: a window of one key at least. */
static void fits_within_ranges(void **state)
{
    (void)state;
    for (int i = 0; sf_methods[i]; i++) {
        const sf_method *m = sf_methods[i];
        for (int tokens = 64; m->fit && tokens <= 512; tokens *= 8)
            for (int s = 1; s < 400; s++) {
                const sf_extent e = {.phase = m->prefill ? SF_PREFILL : SF_DECODE, .tokens = tokens, .output = 64, .heads = 8, .kv_heads = 2, .head_dim = 64, .layers = 4};
                char *params = make_params(m, NULL);
                if (sf_hook_fit(m, &e, s / 400.0, params) != SF_OK) fail_msg("%s at %g of %d tokens: %s", m->name, s / 400.0, tokens, sf_error());
                free(params);
            }
    }
}

static void set(const sf_method *m, char *params, const char *name, double value)
{
    for (const sf_param *p = m->params; p->name; p++)
        if (strcmp(p->name, name) == 0) {
            if (p->type == SF_REAL) *(double *)(params + p->offset) = value;
            else *(int *)(params + p->offset) = (int)value;
            return;
        }
    fail_msg("%s has no parameter %s", m->name, name);
}

/* Of three keys with sums (5, .2, .9) one heavy hitter stays, beside the step's own key: keys 0 and 3. The published shares of
 * PyramidKV's layers: 3932 to 119 keys beside a window of 32, whose whole steps make the mean 2025.5, not 2016. */
static void worked_examples(void **state)
{
    (void)state;
    sf_backend b;
    ok(sf_backend_open("cpu", 1, &b), "cpu");
    const sf_method *h2o = find("h2o"), *pyramid = find("pyramidkv");
    char *params = make_params(h2o, NULL);
    set(h2o, params, "capacity", 1), set(h2o, params, "recent", 0);
    sf_synthetic s = {.tokens = 3, .tail = 1, .heads = 1, .kv_heads = 1, .head_dim = 16, .seed = 7};
    sf_state living;
    sf_pattern pattern;
    ok(sf_synthetic_open(&s, &b), "h2o");
    sf_attention a = sf_synthetic_prompt(&s), step = sf_synthetic_step(&s, 1);
    ok(sf_hook_state(&a, h2o, params, 4, &s.arena, &living), "h2o");
    ok(sf_hook_observe(&a, h2o, params, &living, 0), "h2o");
    memcpy(living.tensor[0].data, (float[]){5, .2f, .9f}, 3 * sizeof(float)); /* host memory */
    b.phase = SF_DECODE;
    ok(sf_hook_observe(&step, h2o, params, &living, 3), "h2o");
    ok(sf_hook_choose(SF_HOOK_DECODE, &step, h2o, params, &living, &pattern), "h2o");
    assert_int_equal(pattern.first.count[0], 2);
    assert_memory_equal(pattern.first.index, ((int32_t[]){0, 3}), 2 * sizeof(int32_t));
    free(params);
    sf_synthetic_close(&s);

    params = make_params(pyramid, NULL);
    s = (sf_synthetic){.tokens = 32768, .heads = 1, .kv_heads = 1, .head_dim = 8, .layers = 32, .seed = 7};
    b.phase = SF_PREFILL;
    ok(sf_synthetic_open(&s, &b), "pyramidkv");
    double sum = 0;
    for (s.layer = 0; s.layer < 32; s.layer++) {
        sf_mark mark = sf_scratch_mark(&b);
        a = sf_synthetic_prompt(&s);
        ok(sf_hook_choose(SF_HOOK_COMPRESS, &a, pyramid, params, NULL, &pattern), "pyramidkv");
        sum += pattern.first.count[0] - 32;
        assert_int_equal(pattern.first.count[0], 3932 - 123 * s.layer + 32);
        sf_scratch_release(&b, mark);
    }
    assert_true(sum / 32 == 2025.5);
    free(params);
    sf_synthetic_close(&s);
    sf_backend_close(&b);
}

/* Sketch-and-Walk, four blocks of one token, two layers, power 1, a full turn for a sketch (which leaves products as they are, but for
 * a scale). The first layer's map has rows (1), (1 0), (1 0 2), (1 0 2 0): block 3 has been at 0 and, twice as much, at 2. The
 * second's are (0), (0 3), (0 3 1), (5 0 0 1): by itself block 3 would go to 0, but from 2 the walk goes to 1: 1 (0) + 2 (0 3 1) =
 * (0 6 2 0). Beside the first block and its own it reads 2 in layer 0, 1 in layer 1. */
static void a_walk_goes_on_from_layer_to_layer(void **state)
{
    (void)state;
    static const float q[2][8] = {{1, 0, 1, 0, 1, 0, 1, 0}, {1, 0, 1, 0, 1, 0, 0, 1}},
                       k[2][8] = {{1, 0, 0, 0, 2, 0, 0, 0}, {0, 5, 3, 0, 1, 0, 1, 1}};
    const sf_method *m = find("sketch_walk");
    char *params = make_params(m, NULL);
    float walk[16] = {0};
    sf_state carry = {{{walk, SF_F32, 2, {4, 4}}}};
    sf_backend b;
    ok(sf_backend_open("cpu", 1, &b), "cpu");
    set(m, params, "block", 1), set(m, params, "power", 1), set(m, params, "k", 3);
    for (int layer = 0; layer < 2; layer++) {
        sf_attention a = {.backend = &b, .layer = layer, .layers = 2, .heads = 1, .kv_heads = 1, .head_dim = 2, .queries = 4, .keys = 4,
                          .scale = 1, .q = q[layer], .carry = &carry,
                          .kv = {.prompt = {.k = (void *)(uintptr_t)k[layer], .v = walk, .capacity = 4, .n = 4}, .dtype = SF_F32}};
        sf_pattern pattern;
        sf_mark mark = sf_scratch_mark(&b);
        ok(sf_hook_choose(SF_HOOK_PREFILL, &a, m, params, NULL, &pattern), "sketch_walk");
        assert_int_equal(pattern.heads, 1);
        assert_int_equal(pattern.first.count[3], 3);
        assert_memory_equal(pattern.first.index + 3 * pattern.first.stride, layer ? ((int32_t[]){0, 1, 3}) : ((int32_t[]){0, 2, 3}), 3 * sizeof(int32_t));
        sf_scratch_release(&b, mark);
    }
    const float row[] = {0, 1, 1 / 3.f, 0};
    for (int j = 0; j < 4; j++) assert_true(fabsf(walk[12 + j] - row[j]) < 1e-6f);
    assert_true(walk[1] == -INFINITY && walk[11] == -INFINITY);
    free(params);
    sf_backend_close(&b);
}

/* Corrected, a method carries what it carries by itself, by its own parameters; what a model is calibrated for is the base's. */
static void corrected_methods_carry_their_bases_own(void **state)
{
    (void)state;
    const sf_attention a = {.layers = 1, .heads = 2, .kv_heads = 1, .head_dim = 16};
    int carrying = 0;
    for (int i = 0; sf_methods[i]; i++) {
        const sf_method *base = sf_methods[i], *corrected = sf_delta_over(base);
        if (!corrected) continue;
        assert_true(!corrected->calibrate && !corrected->columns && !corrected->conclude);
        if (!base->carry) continue;
        char *own = make_params(base, NULL), *all = make_params(corrected, NULL);
        sf_state want = {0}, got = {0};
        ok(base->carry(&a, own, 1000, &want), base->name);
        ok(corrected->carry(&a, all, 1000, &got), corrected->name);
        assert_memory_equal(&want, &got, sizeof want);
        carrying++;
        free(own), free(all);
    }
    assert_true(carrying > 0);
}

/* SparQ, q = (3, -2, .5, .1), two components: 0 and 1, which are 5 / 5.6 of |q|, so that logits are over sqrt(4 · 5 / 5.6) =
 * 1.890, not sqrt(4) or sqrt(2). */
static void sparq_divides_by_what_it_looks_at(void **state)
{
    (void)state;
    static float q[] = {3, -2, .5f, .1f}, k[] = {1, 0, 0, 9, 0, 1, 0, 9, 1, 1, 9, 0};
    sf_backend b;
    ok(sf_backend_open("reference", 1, &b), "reference");
    b.phase = SF_DECODE;
    sf_attention a = {.backend = &b, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 4, .queries = 1, .keys = 3, .scale = .5f, .q = q,
                      .kv = {.prompt = {.k = k, .v = k, .capacity = 3, .n = 3}, .dtype = SF_F32}};
    float of_keys[12];
    sf_mark mark = sf_scratch_mark(&b);
    sf_tensor components = {of_keys, SF_F32, 3, {1, 4, 3}}, of_query = sf_query_components(&a, (sf_tensor){0}), size = sf_copy(&a, of_query);
    sf_key_components(&a, (sf_tensor){0}, 0, components);
    sf_magnitudes(&a, size);
    sf_lists at = sf_top(&a, size, 2);
    const float *score = sf_component_scores(&a, of_query, components, &at, true).data;
    ok(a.status, "sparq");
    assert_int_equal(at.count[0], 2);
    assert_memory_equal(at.index, ((int32_t[]){0, 1}), 2 * sizeof(int32_t));
    assert_true(fabs(score[0] - 3 / 1.8898) < 1e-4 && fabs(score[1] + 2 / 1.8898) < 1e-4 && fabs(score[2] - 1 / 1.8898) < 1e-4);
    sf_scratch_release(&b, mark);
    sf_backend_close(&b);
}

/* One query over keys [keys, dim], whose values they are too. */
static sf_attention step_over(sf_backend *b, int dim, const float *q, int keys, const float *k)
{
    const sf_kv_part part = {.k = (void *)(uintptr_t)k, .v = (void *)(uintptr_t)k, .capacity = keys, .n = keys};
    b->phase = SF_DECODE;
    return (sf_attention){.backend = b, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = dim, .queries = 1, .keys = keys, .scale = 1, .q = q,
                          .kv = {.prompt = part, .dtype = SF_F32}};
}

static void near(const char *what, double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%s: %g, expected %g", what, found, expected);
}

/* Twilight's keys in 4 bits: (-1.2 .3 .9 2.1) has steps of .22 from -1.2, codes 0 7 10 15, and is read as (-1.2 .34 1.0 2.1). */
static void a_key_in_four_bits(sf_backend *b)
{
    static const float q[] = {1, 0, 0, 0}, k[] = {-1.2f, .3f, .9f, 2.1f};
    sf_attention a = step_over(b, 4, q, 1, k);
    int32_t code;
    float range[2];
    sf_pack_keys(&a, 0, (sf_tensor){&code, SF_I32, 3, {1, 1, 1}}, (sf_tensor){range, SF_F32, 3, {1, 1, 2}});
    ok(a.status, "keys in 4 bits");
    assert_int_equal(code, 0xfa70);
    near("low", range[0], -1.2, 1e-6), near("step", range[1], .22, 1e-6);
    near("read as", range[0] + 7 * range[1], .34, 1e-6), near("read as", range[0] + 10 * range[1], 1, 1e-6);
}

/* Double-P: clusters of 2, 10 and 40 keys whose centroids give 2, 1 and .5: by mass the order is the other way round. */
static void clusters_by_mass(sf_backend *b)
{
    static const float q[] = {1}, centroid[] = {2, 1, .5f}, alike[] = {1, 1, 1}, size[] = {2, 10, 40};
    const double share[2][3] = {{.629, .231, .140}, {.137, .252, .611}};
    for (int by_size = 0; by_size < 2; by_size++) {
        sf_attention a = step_over(b, 1, q, 3, centroid);
        sf_mark mark = sf_scratch_mark(b);
        sf_tensor at = {(void *)(uintptr_t)centroid, SF_F32, 3, {1, 3, 1}}, sizes = {(void *)(uintptr_t)(by_size ? size : alike), SF_F32, 2, {1, 3}};
        const float *mass = sf_cluster_masses(&a, at, at, sizes).data;
        ok(a.status, "masses of clusters");
        for (int c = 0; c < 3; c++) near("share", mass[c] / (mass[0] + mass[1] + mass[2]), share[by_size][c], 6e-4);
        sf_scratch_release(b, mark);
    }
}

/* Four of eight pairs: a mass of .9 takes three keys of the even head and one of the sharp, a little more would take five. Where the
 * sharp head's best weighs 2 and each head has a pair anyhow, six of eight leave four: .8 takes two of one, and one that weighs 2.
 * Half of the mass takes the best of each, up to all of the mass. */
static void a_mass_within_a_density(sf_backend *b)
{
    enum { N = 4 };
    static float x[] = {.5f, .3f, .1f, .1f, .01f, .97f, .01f, .01f}, weight[] = {1, 1, 1, 1, 1, 2, 3, 4};
    static const float q[] = {1, 1}, k[N] = {0};
    const sf_tensor share = {x, SF_F32, 2, {2, N}}, weighs = {weight, SF_F32, 2, {2, N}};
    sf_attention a = step_over(b, 1, q, N, k);
    a.heads = 2;
    sf_mark mark = sf_scratch_mark(b);
    sf_lists keys = sf_top_mass_within(&a, share, .5), heavy, all;
    ok(a.status, "a mass within a density");
    assert_int_equal(keys.count[0], 3);
    assert_int_equal(keys.index[2], 2);
    assert_int_equal(keys.count[1], 1);
    assert_int_equal(keys.index[keys.stride], 1);
    for (int half = 0; half < 2; half++) {
        sf_top_masses_within(&a, share, weighs, half ? .5 : 1, 1, .75, &heavy, &all);
        ok(a.status, "masses within a density");
        assert_int_equal(heavy.count[0], half ? 1 : 2);
        assert_int_equal(heavy.count[1], 1);
        assert_int_equal(all.count[0], half ? 4 : 2);
        assert_int_equal(all.count[1], half ? 4 : 1);
    }
    sf_scratch_release(b, mark);
}

/* vAttention, 4096 others of deviation .02 in a total of 60, within .1 but for a tenth: (1.645 · 4096 · .02 / 6)² = 504.35 draws
 * with replacement, 505; without, 1 / (1 / 504.35 + 1 / 4096) = 449.05: 450. (The authors' 1.282 would make it 307.) */
static void a_sample_that_keeps_a_promise(sf_backend *b)
{
    enum { N = 4096 };
    static float q[] = {1}, k[N], x[N];
    k[0] = logf(60. / N + .02 * M_SQRT1_2), k[1] = logf(60. / N - .02 * M_SQRT1_2); /* a sample of two of that mean and deviation */
    sf_attention a = step_over(b, 1, q, N, k);
    int32_t listed = 2, index[] = {0, 1};
    sf_lists at = {1, 2, &listed, index};
    sf_mark mark = sf_scratch_mark(b);
    const sf_promise promise = sf_promised(.1, .1, SF_DENOMINATOR);
    near("a twentieth of a normal distribution lies above", promise.z, 1.6448536269514722, 1e-9);
    near("a fortieth", sf_promised(.1, .1, SF_DENOMINATOR_AND_NUMERATOR).z, 1.959963984540054, 1e-9);
    const int32_t *count = sf_sample_sizes(&a, (sf_tensor){x, SF_F32, 2, {1, N}}, at, promise, 0);
    ok(a.status, "sizes of samples");
    assert_int_equal(*count, 450);
    sf_scratch_release(b, mark);
}

/* MagicPIG, 150 tables of 10 bits: a key at a right angle is met in two of them with a chance of .0097 (in one: .136), at a
 * cosine of .5 of .736. All planes have both on one side, so that they do meet. */
static void chances_of_meeting(sf_backend *b)
{
    enum { TABLES = 150, BITS = 10 };
    static const float q[] = {1, 0}, k[] = {0, 1, .5f, .8660254f};
    static float plane[TABLES * BITS * 2], centre[2];
    static int32_t code[2 * TABLES / 2];
    for (int i = 0; i < TABLES * BITS * 2; i++) plane[i] = 1;
    for (int i = 0; i < TABLES; i++) code[i] = 0x03ff03ff;
    for (int fewest = 1; fewest <= 2; fewest++) {
        sf_attention a = step_over(b, 2, q, 2, k);
        const sf_hash hash = {.bits = BITS, .tables = TABLES, .least = fewest, .begin = 0, .end = 2};
        sf_mark mark = sf_scratch_mark(b);
        const float *x = sf_hash_matches(&a, &hash, (sf_tensor){plane, SF_F32, 2, {TABLES * BITS, 2}}, (sf_tensor){centre, SF_F32, 2, {1, 2}},
                                         (sf_tensor){code, SF_I32, 3, {1, 2, TABLES / 2}}).data;
        ok(a.status, "chances");
        near("a right angle", exp(-x[0]) - 1e-4, fewest == 1 ? .136 : .0097, fewest == 1 ? 6e-4 : 6e-5);
        if (fewest == 2) near("a cosine of .5", exp(-x[1]) - 1e-4, .736, 6e-4);
        sf_scratch_release(b, mark);
    }
}

static void worked_examples_of_estimates(void **state)
{
    (void)state;
    for (int d = 0; DEVICES[d]; d++) {
        sf_backend b;
        ok(sf_backend_open(DEVICES[d], 1, &b), DEVICES[d]);
        a_key_in_four_bits(&b), clusters_by_mass(&b), a_mass_within_a_density(&b), a_sample_that_keeps_a_promise(&b), chances_of_meeting(&b);
        sf_backend_close(&b);
    }
}

/* Axes of a made-up matrix of second moments are at right angles, by falling value, and nothing is left beside the diagonal. */
static void axes_diagonalise(void **state)
{
    (void)state;
    enum { N = 24 };
    double m[N * N] = {0}, axes[N * N], last = INFINITY;
    for (uint64_t j = 0; j < 40; j++)
        for (uint64_t d = 0; d < N; d++)
            for (uint64_t e = 0; e < N; e++)
                m[d * N + e] += ((double)(sf_splitmix(j, d) >> 40) - 8e6) * ((double)(sf_splitmix(j, e) >> 40) - 8e6) / 7e13;
    memcpy(axes, m, sizeof m);
    ok(sf_principal_axes(N, axes), "axes");
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) {
            double both = 0, between = 0;
            for (int d = 0; d < N; d++) {
                both += axes[d * N + a] * axes[d * N + b];
                for (int e = 0; e < N; e++) between += axes[d * N + a] * m[d * N + e] * axes[e * N + b];
            }
            assert_true(fabs(both - (a == b)) < 1e-10);
            if (a == b) assert_true(between <= last + 1e-10), last = between;
            else assert_true(fabs(between) < 1e-9);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_golden),
        cmocka_unit_test(every_method_is_valid_and_has_golden_values),
        cmocka_unit_test(every_parameter_decides_in_some_golden_case),
        cmocka_unit_test(fits_the_published_budgets),
        cmocka_unit_test(fits_within_ranges),
        cmocka_unit_test(worked_examples),
        cmocka_unit_test(sparq_divides_by_what_it_looks_at),
        cmocka_unit_test(corrected_methods_carry_their_bases_own),
        cmocka_unit_test(worked_examples_of_estimates),
        cmocka_unit_test(a_walk_goes_on_from_layer_to_layer),
        cmocka_unit_test(axes_diagonalise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
