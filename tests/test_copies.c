/* No choosing step copies per-layer data to the host: what every registered method brings home while its hooks run, while its
 * pattern is checked, and while attention goes by it or the cache is compacted; prefill, eviction and decode, on every backend that
 * opens here. A copy of a few bytes is allowed: an error's flag, a search's count of pairs, a list's room. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/lab/trial.h"
#include "methods/delta.h"
#include "methods/find.h"

/* Bytes of one copy, and of all that one hook or op makes: each of the 21 trials of a search within a density has its pairs and a few
 * rooms. HEADS numbers of 4 bytes are more than one copy may have; what each kv head keeps of the cache, for which room is taken, is not. */
enum { A_COPY = 64, ALL_COPIES = 1024, HEADS = 20, KV_HEADS = 4, TOKENS = 300, TAIL = 5 };

static struct {
    const sf_method *method;
    const sf_backend_ops *ops;
    int inside;             /* hooks and ops that count, one in the other */
    size_t all, largest;    /* bytes since the outermost began */
    size_t worst, worst_all; /* of the method so far */
    const char *where, *at; /* who asked for the worst; who asks */
} home;

static void enter(const char *where)
{
    if (home.inside++) return;
    home.all = home.largest = 0, home.at = where;
}

static sf_status leave(sf_status status)
{
    if (--home.inside) return status;
    if (home.largest > home.worst || home.all > home.worst_all) home.where = home.at;
    if (home.largest > home.worst) home.worst = home.largest;
    if (home.all > home.worst_all) home.worst_all = home.all;
    return status;
}

/* ---- the method's hooks and the backend's ops, from outside ---- */

static sf_status prefill_hook(sf_attention *a, const void *params, sf_pattern *out)
{
    return enter("prefill"), leave(home.method->prefill(a, params, out));
}

static sf_status compress_hook(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    return enter("compress"), leave(home.method->compress(a, params, state, out));
}

static sf_status settle_hook(int layers, sf_attention *a, const void *params, const sf_state *state, sf_pattern *out)
{
    return enter("settle"), leave(home.method->settle(layers, a, params, state, out));
}

static sf_status observe_hook(sf_attention *a, const void *params, sf_state *state, int first)
{
    return enter("observe"), leave(home.method->observe(a, params, state, first));
}

static sf_status decode_hook(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    return enter("decode"), leave(home.method->decode(a, params, state, out));
}

static sf_status download(sf_backend *b, void *host, const void *from, size_t bytes)
{
    home.all += bytes;
    if (bytes > home.largest) home.largest = bytes;
    return home.ops->download(b, host, from, bytes);
}

static sf_status check_pattern(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const char *who)
{
    return enter("check_pattern"), leave(home.ops->check_pattern(b, a, pattern, who));
}

static sf_status prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out)
{
    return enter("attention of the prompt"), leave(home.ops->prefill(b, a, pattern, out));
}

static sf_status decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, void *out)
{
    return enter("attention of a step"), leave(home.ops->decode(b, lanes, a, pattern, out));
}

static sf_status gather_kv(sf_backend *b, const sf_kv_part *from, const sf_lists *keep, int head_dim, sf_kv_part *to)
{
    return enter("gather_kv"), leave(home.ops->gather_kv(b, from, keep, head_dim, to));
}

/* ---- running ---- */

/* By the parameters' defaults, and fitted. A refusal by name is no copy. */
static void run_hooks(sf_backend *b, const sf_method *m)
{
    static const double sparsity[] = {NAN, 0.9};
    const bool has[] = {[SF_HOOK_PREFILL] = m->prefill, [SF_HOOK_COMPRESS] = m->compress, [SF_HOOK_DECODE] = m->decode};
    for (int hook = 0; hook < 3; hook++)
        for (int i = 0; i < (m->fit ? 2 : 1) && has[hook]; i++) {
            sf_trial t = {.method = m, .hook = (sf_hook)hook, .sparsity = sparsity[i], .on = {.tokens = TOKENS, .heads = HEADS,
                          .kv_heads = KV_HEADS, .head_dim = 32, .layer = 1, .needles = true, .width = m->hidden ? 96 : 0, .seed = 7}};
            if (hook != SF_HOOK_PREFILL) t.on.tail = TAIL;
            t.choose_only = !strcmp(home.ops->name, "reference"); /* whose attention takes its time */
            sf_outcome o;
            sf_status status = sf_trial_run(&t, b, &o);
            if (status != SF_OK && status != SF_UNSUPPORTED)
                fail_msg("%s on %s, hook %d, sparsity %g: %s", m->name, b->ops->name, hook, sparsity[i], sf_error());
            sf_outcome_free(&o);
        }
}

/* The method by its defaults, and, one of its own, with each other choice that a parameter has. */
static void run_choices(sf_backend *b, const sf_method *m)
{
    sf_method seen = *m;
    sf_param row[128] = {{0}};
    int rows = 0;
    home.method = m, home.worst = home.worst_all = 0;
    if (m->prefill) seen.prefill = prefill_hook;
    if (m->compress) seen.compress = compress_hook;
    if (m->settle) seen.settle = settle_hook;
    if (m->observe) seen.observe = observe_hook;
    if (m->decode) seen.decode = decode_hook;
    for (; m->params && m->params[rows].name; rows++) row[rows] = m->params[rows];
    seen.params = row;
    run_hooks(b, &seen);
    for (int i = 0; i < rows && !sf_delta_base(m); i++) {
        int choices = row[i].type == SF_BOOL ? 2 : row[i].type == SF_CHOICE;
        for (const char *c = row[i].choices; row[i].type == SF_CHOICE && *c; c++) choices += *c == '|';
        const double initial = row[i].initial;
        for (int value = 0; value < choices; value++) {
            row[i].initial = value;
            if (value != (int)initial) run_hooks(b, &seen);
        }
        row[i].initial = initial;
    }
}

static int look(sf_backend *b, const sf_method *m)
{
    run_choices(b, m);
    if (home.worst <= A_COPY && home.worst_all <= ALL_COPIES) return 0;
    return print_error("%s on %s copies to the host: %zu bytes at once, %zu in all; %s\n", m->name, home.ops->name, home.worst,
                       home.worst_all, home.where), 1;
}

static void stays_on_the_device(void **state)
{
    sf_backend b;
    if (sf_backend_open(*state, 1, &b) != SF_OK) {
        if (strcmp(*state, "cuda") && strcmp(*state, "cpu-bf16")) fail_msg("%s", sf_error());
        printf("skipped: %s\n", sf_error());
        skip();
    }
    sf_backend_ops ops = *b.ops;
    home.ops = b.ops, home.inside = 0;
    ops.download = download, ops.check_pattern = check_pattern, ops.prefill = prefill, ops.decode = decode, ops.gather_kv = gather_kv;
    b.ops = &ops;
    int failed = 0;
    for (int i = 0; sf_methods[i]; i++) {
        failed += look(&b, sf_methods[i]);
        const sf_method *corrected = sf_delta_over(sf_methods[i]);
        if (corrected) failed += look(&b, corrected);
    }
    b.ops = home.ops;
    sf_backend_close(&b);
    assert_int_equal(failed, 0);
}

/* A list home is seen, so that the test above can fail. */
static sf_status reads_lists(sf_attention *a, const void *params, sf_pattern *out)
{
    int32_t count[HEADS];
    (void)params;
    sf_read_lists(a, sf_own(a, a->heads), count, NULL);
    return sf_dense(a, out);
}

static void sees_a_copy(void **state)
{
    (void)state;
    static const sf_method m = {.abi = SF_METHOD_ABI, .name = "reads_lists", .summary = "", .prefill = reads_lists};
    sf_backend b;
    assert_int_equal(sf_backend_open("reference", 1, &b), SF_OK);
    sf_backend_ops ops = *b.ops;
    home.ops = b.ops, ops.download = download, b.ops = &ops;
    run_choices(&b, &m);
    assert_int_equal(home.worst, HEADS * sizeof(int32_t));
    b.ops = home.ops;
    sf_backend_close(&b);
}

#define ON(device) {.name = "stays_on_the_device, " device, .test_func = stays_on_the_device, .initial_state = (char[]){device}}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sees_a_copy), ON("reference"), ON("cpu"), ON("cpu-bf16"), ON("cuda")};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
