/* What methods say that choosing costs, against what the meter counts when they choose: every registered method, and those corrected, in
 * prefill, at the prompt and in decode; shapes, budgets and parameters. FRONTIER_RATIOS=1 build/tests/test_estimates prints each ratio
 * that is off. */
#include "tests/testing.h"

#include <math.h>

#include "harness/lab/trial.h"
#include "methods/delta.h"
#include "methods/find.h"

static int off, tried;

/* Whose estimates are written elsewhere at this time. */
static bool left_out(const sf_method *m)
{
    static const char *const NAMES[] = {"nsa", "dsa", "dms", "sparsek"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(m->name, NAMES[i]) == 0) return true;
    return false;
}

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
    if (m->weights && !sf_synthetic_weighs(m)) return;
    for (int decode = 0; decode < 2; decode++)
        for (size_t i = 0; sides[decode] && i < sizeof SHAPES / sizeof *SHAPES; i++) {
            sf_trial t = {.method = m, .hook = decode ? SF_HOOK_DECODE : SF_HOOK_PREFILL,
                          .on = {.tokens = SHAPES[i].tokens, .heads = SHAPES[i].heads, .kv_heads = SHAPES[i].kv_heads,
                                 .head_dim = SHAPES[i].head_dim, .layers = 2, .layer = 1, .tail = decode ? 19 : 0, .seed = i, .sinks = true}};
            char how[80];
            for (int k = 0; k < 3; k++) {
                t.sparsity = (double[]){0, 0.6, 0.95}[k];
                snprintf(how, sizeof how, "sparsity %g", t.sparsity);
                hold(&t, b, how);
            }
            t.sparsity = NAN;
            hold(&t, b, "defaults");
            for (const sf_param *p = m->params; p && p->name; p++)
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

static void as_counted(void **state)
{
    (void)state;
    sf_backend b;
    OK(sf_backend_open("cpu", 1, &b));
    for (int i = 0; sf_methods[i]; i++) {
        if (left_out(sf_methods[i])) continue;
        const sf_method *corrected = sf_methods[i]->prefill && sf_methods[i]->estimate && sf_methods[i]->fit ? sf_delta_over(sf_methods[i]) : NULL;
        hold_method(sf_methods[i], &b);
        if (corrected) hold_method(corrected, &b);
    }
    sf_backend_close(&b);
    printf("%d bills, %d off\n", tried, off);
    assert_true(tried > 1000);
    assert_int_equal(off, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
