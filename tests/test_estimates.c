/* What methods say that choosing costs, against what the meter counts when they choose: every registered method, and those corrected, in
 * prefill, at the prompt and in decode, over shapes, budgets and parameters: each ratio that is off is printed. To the bit, as both are sums of
 * whole numbers below 2^53, but for shares of layers; to 1 % where a method says that its cost depends on the sample. */
#include "tests/testing.h"

#include <math.h>
#include <unistd.h>

#include "base/yaml.h"
#include "harness/lab/trial.h"
#include "methods/delta.h"
#include "methods/find.h"

static int off, tried;

static bool can_be(const sf_param *p, double value)
{
    return p->type == SF_BOOL || (p->type != SF_STRING && value >= p->low && (p->type == SF_CHOICE || value <= p->high));
}

static void hold(const sf_trial *t, sf_backend *b, const char *how)
{
    static const char *const WHAT[SF_BILLS] = {"prefill", "prompt", "steps"};
    const sf_method *m = t->method;
    sf_bill bill;
    sf_status status = sf_trial_bill(t, b, &bill);
    if (status != SF_OK && t->set) return; /* refused as it is set */
    if (status == SF_UNSUPPORTED && strstr(m->name, "_delta")) return; /* a pattern of parts, which is not corrected */
    if (status != SF_OK) fail_msg("%s %s: %s", m->name, how, sf_error());
    tried++;
    for (int i = 0; i < SF_BILLS; i++) {
        double most = (m->data_dependent ? 0.01 : 1e-9) * bill.counted[i];
        if (fabs(bill.said[i] - bill.counted[i]) <= most) continue;
        off++;
        printf("%-18s %-8s %4d tokens, heads %d/%d of %d, %-22s counted %12.0f said %12.0f ratio %.4f\n", m->name, WHAT[i], t->on.tokens,
               t->on.heads, t->on.kv_heads, t->on.head_dim, how, bill.counted[i], bill.said[i], bill.said[i] / bill.counted[i]);
    }
}

static void hold_method(const sf_method *m, sf_backend *b)
{
    static const struct { int tokens, heads, kv_heads, head_dim; } SHAPES[] = {{331, 6, 2, 32}, {512, 3, 3, 16}, {97, 4, 1, 64}, {1, 2, 1, 32}, {700, 4, 2, 16}};
    const bool sides[] = {m->prefill != NULL, m->compress || m->observe || m->decode};
    for (int decode = 0; decode < 2; decode++)
        for (size_t i = 0; sides[decode] && i < sizeof SHAPES / sizeof *SHAPES; i++) {
            sf_trial t = {.method = m, .hook = decode ? SF_HOOK_DECODE : SF_HOOK_PREFILL,
                          .on = {.tokens = SHAPES[i].tokens, .heads = SHAPES[i].heads, .kv_heads = SHAPES[i].kv_heads,
                                 .head_dim = SHAPES[i].head_dim, .layers = 2, .layer = 1, .tail = decode ? 19 : 0, .seed = i, .sinks = true,
                                 .width = m->hidden ? 96 : 0}};
            char how[80];
            for (int k = 0; k < 3; k++) {
                t.sparsity = (double[]){0, 0.6, 0.95}[k];
                snprintf(how, sizeof how, "sparsity %g", t.sparsity);
                hold(&t, b, how);
            }
            t.sparsity = NAN;
            hold(&t, b, "defaults");
            for (const sf_param *p = i < 2 ? m->params : NULL; p && p->name; p++)
                for (int k = 0; k < 3; k++) {
                    t.value = p->type == SF_BOOL || p->type == SF_CHOICE ? k : (double[]){p->initial + 1, 3, p->initial / 2}[k];
                    if (p->type != SF_REAL) t.value = floor(t.value);
                    if (p->type == SF_BOOL && k > 1) continue;
                    if (p->type == SF_CHOICE) { /* as many as there are */
                        int n = 0;
                        for (const char *s = p->choices; *s; s++) n += *s == '|';
                        if (k > n) continue;
                    }
                    if (!can_be(p, t.value)) continue;
                    t.set = p;
                    snprintf(how, sizeof how, "%s=%g", p->name, t.value);
                    hold(&t, b, how);
                }
            t.set = NULL;
        }
}

/* Where elements are narrower than what a method keeps and reads in f32: those with weights, of which some are as narrow. */
static void as_counted_on_a_device(void **state)
{
    sf_backend b;
    if (sf_backend_open(*state, 1, &b) != SF_OK) {
        printf("skipped: %s\n", sf_error());
        skip();
    }
    tried = off = 0;
    for (int i = 0; sf_methods[i]; i++)
        if (sf_methods[i]->weights) hold_method(sf_methods[i], &b);
    sf_backend_close(&b);
    assert_true(tried > 100);
    assert_int_equal(off, 0);
}

static void as_counted(void **state)
{
    (void)state;
    sf_backend b;
    OK(sf_backend_open("cpu", 1, &b));
    tried = off = 0;
    for (int i = 0; sf_methods[i]; i++) {
        const sf_method *corrected = sf_methods[i]->prefill && sf_methods[i]->estimate && sf_methods[i]->fit ? sf_delta_over(sf_methods[i]) : NULL;
        hold_method(sf_methods[i], &b);
        if (corrected) hold_method(corrected, &b);
    }
    sf_backend_close(&b);
    printf("%d bills, %d off\n", tried, off);
    assert_true(tried > 1000);
    assert_int_equal(off, 0);
}

static void set(const sf_method *m, void *params, const char *name, double value)
{
    const sf_param *p = m->params;
    while (p->name && strcmp(p->name, name) != 0) p++;
    assert_non_null(p->name);
    void *at = (char *)params + p->offset;
    if (p->type == SF_REAL) *(double *)at = value;
    else if (p->type == SF_BOOL) *(bool *)at = value != 0;
    else *(int *)at = (int)value;
}

/* Worked out by hand, so that meter and estimate cannot be wrong together: 100 tokens, 6 query heads over 2 kv heads of 16; a step whose
 * key is the 103rd, the third that was generated. Elements of four bytes. A probe of w queries takes 37 FLOPs a pair, 6 · 100 · w pairs. */
static void by_hand(void **state)
{
    (void)state;
    enum { L = 100, H = 6, G = 2, D = 16, PAIR = 2 * D + 5, KEYS = 103 };
    static const struct {
        const char *method;
        struct { const char *name; double value; } set[6];
        double prompt, step; /* FLOPs of what decode's hooks do at the prompt, elements of a step */
    } CASES[] = {
        /* all 100 queries; mean over three heads, added to what is there; a capacity of 40, cut at the third step, and its own key */
        {"h2o", {{"capacity", 40}, {"every", 2}}, H * L * L * PAIR + H * L + 2 * G * L, 41 * G * D},
        {"h2o", {{"capacity", 40}, {"every", 3}}, H * L * L * PAIR + H * L + 2 * G * L, 43 * G * D},
        {"tova", {{"capacity", 40}}, H * L * PAIR + H * L + 2 * L, 41 * G * D},
        /* the third step of 8, of which the last 4 look; of 4, all of which do; the cut at the first left 40 */
        {"decoding_snapkv", {{"capacity", 40}, {"every", 8}, {"window", 4}}, 4 * H * L * PAIR + H * L + 2 * G * L, 0},
        {"decoding_snapkv", {{"capacity", 40}, {"every", 4}, {"window", 4}}, 4 * H * L * PAIR + H * L + 2 * G * L, 43 * G * D},
        /* 60 keys kept by a probe of 4, group, a pool of 3 and a choice; the step's chunk of 8 has keys 56 … 62; 2 of 16 bounds of 8 chunks */
        {"rocketkv", {{"capacity", 60}, {"window", 4}, {"kernel", 3}, {"chunk", 8}, {"rank", 2}},
         4 * H * L * PAIR + H * L + 4 * G * L + 2 * 60 * G * D, 7 * G * D + 2 * 8 * G},
        /* bounds; the step's page of 10 has keys 100 … 102; both bounds of 11 */
        {"quest", {{"page", 10}}, 2 * L * G * D, 3 * G * D + 2 * 11 * G * D},
        /* values summed and divided; the step's key and value, 4 components of all keys */
        {"sparq", {{"rank", 4}, {"mean_value", 1}}, L * G * D + G * D, 2 * G * D + 4 * KEYS * G},
        /* 4 components of all keys; a basis, read for the key and for the query */
        {"loki", {{"rank", 4}}, 2 * L * G * D * 4, G * D + 2 * G * D * 4 + 4 * KEYS * G},
        /* 16 numbers in 4 bits are two words, their range two more */
        {"twilight", {{"base", 1}}, 4 * L * G * D, G * D + KEYS * G * 4},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const sf_method *m = sf_method_find(CASES[i].method);
        sf_extent e = {.phase = SF_PREFILL, .tokens = L, .output = 9, .heads = H, .kv_heads = G, .head_dim = D, .layers = 1, .watching = true};
        void *params = calloc(1, m->params_size + 1);
        OK(sf_yaml_params(NULL, m->params, NULL, params));
        for (int k = 0; k < 6 && CASES[i].set[k].name; k++) set(m, params, CASES[i].set[k].name, CASES[i].set[k].value);
        double prompt = m->estimate(&e, params).exact;
        e.phase = SF_DECODE, e.watching = false, e.tokens = KEYS, e.step = 3;
        double step = m->estimate(&e, params).exact;
        if (prompt != CASES[i].prompt || step != CASES[i].step)
            fail_msg("%s, %zu: says %.0f and %.0f, by hand %.0f and %.0f", m->name, i, prompt, step, CASES[i].prompt, CASES[i].step);
        free(params);
    }
}

/* Of any step: what the steps of a period take, shared out among them; no longer a period than there are steps. */
static void shares_of_a_period(void **state)
{
    (void)state;
    const sf_method *m = sf_method_find("decoding_snapkv");
    void *params = calloc(1, m->params_size + 1);
    OK(sf_yaml_params(NULL, m->params, NULL, params));
    set(m, params, "capacity", 40), set(m, params, "every", 8), set(m, params, "window", 3);
    sf_extent e = {.phase = SF_DECODE, .tokens = 100, .output = 50, .heads = 6, .kv_heads = 2, .head_dim = 16, .layers = 1};
    assert_float_equal(m->estimate(&e, params).exact, (46 + 47 + 48) * 2 * 16 / 8.0, 1e-9); /* keys that live at steps 6, 7 and 8 */
    e.output = 6;
    assert_float_equal(m->estimate(&e, params).exact, 46 * 2 * 16 / 6.0, 1e-9);
    e.output = 0;
    assert_float_equal(m->estimate(&e, params).exact, (46 + 47 + 48) * 2 * 16 / 8.0, 1e-9);
    free(params);
}

/* MInference's kinds are a table's: a probe where a layer has a head of columns, block means where one has blocks. */
static void by_a_table(void **state)
{
    (void)state;
    const sf_method *m = sf_method_find("minference");
    char path[] = "/tmp/test_estimates-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    fputs("0 0\n1 0\n2 1\n2 2\n", f);
    fclose(f);
    void *params = calloc(1, m->params_size + 1);
    OK(sf_yaml_params(NULL, m->params, NULL, params));
    for (const sf_param *p = m->params; p->name; p++)
        if (strcmp(p->name, "kinds") == 0) *(const char **)((char *)params + p->offset) = path;
    set(m, params, "window", 8), set(m, params, "block", 32);
    const sf_extent e = {.phase = SF_PREFILL, .tokens = 64, .heads = 2, .kv_heads = 1, .head_dim = 16, .layers = 4};
    const double columns = 8 * 2 * 64 * 37 + 2 * 2 * 64, blocks = 64 * 3 * 16 + 3 * 2 * 2 * 16; /* 3 pairs of 2 blocks, for 2 heads */
    assert_float_equal(m->estimate(&e, params).exact, (2 * columns + 2 * blocks) / 4, 1e-9);
    unlink(path);
    free(params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_counted), cmocka_unit_test_prestate(as_counted_on_a_device, "cuda"),
                                       cmocka_unit_test(by_hand), cmocka_unit_test(shares_of_a_period), cmocka_unit_test(by_a_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
