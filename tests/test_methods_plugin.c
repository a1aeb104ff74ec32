/* What is refused as a method, and with which words; methods from shared objects (tests/plugin, built beside this). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/lab/synthetic.h"
#include "base/running.h"
#include "base/yaml.h"
#include "methods/find.h"
#include "methods/plugin.h"

static void says(const char *wanted)
{
    if (!strstr(sf_error(), wanted)) fail_msg("message \"%s\" does not say \"%s\"", sf_error(), wanted);
}

static const char *built(const char *name)
{
    static char path[PATH_MAX + 64];
    char self[PATH_MAX] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(path, sizeof path, "%s/plugin/%s", dirname(self), name);
    return path;
}

/* ---- the contract
 * ---------------------------------------------------------------------------------------------------- */

static sf_status choose(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return sf_dense(a, out);
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    (void)extent, (void)sparsity, (void)params;
    return SF_OK;
}

static sf_status observe(sf_attention *a, const void *params, sf_state *state, int first)
{
    (void)params, (void)state, (void)first;
    return a->status;
}

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return choose(a, params, out);
}

static sf_status settle(int layers, sf_attention *a, const void *params, const sf_state *state, sf_pattern *out)
{
    (void)layers, (void)a, (void)params, (void)state, (void)out;
    return SF_OK;
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)params, (void)max_keys, (void)out;
    return a->status;
}

struct params {
    int k;
    double share;
};

#define K         .name = "k", .type = SF_INT, .doc = "keys", .offset = offsetof(struct params, k)
#define FILE_OF_WEIGHTS .name = "weights", .type = SF_STRING, .doc = "a file", .offset = offsetof(struct params, share), .file = true
#define GOOD      .abi = SF_METHOD_ABI, .name = "good", .summary = "good", .prefill = choose
#define WITH(...) .params = (const sf_param[]){__VA_ARGS__, {0}}, .params_size = sizeof(struct params)

/* Each row is a good method with something else put over it. */
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct {
    sf_method method;
    const char *says; /* NULL: accepted */
} RULES[] = {
    {{GOOD}, NULL},
    {{GOOD, WITH({K, .low = 1, .high = 8, .initial = 2, .budget = true}), .fit = fit}, NULL},
    {{GOOD, .abi = 0}, "built for method ABI 0, this program has 13"},
    {{GOOD, .name = NULL}, "name '(none)'"},
    {{GOOD, .name = "Not-Good"}, "name 'Not-Good' must be [a-z0-9_]+"},
    {{GOOD, .summary = NULL}, "no summary"},
    {{GOOD, .prefill = NULL}, "offers no hook"},
    {{GOOD, .state = state}, "no decode or compress hook"},
    {{GOOD, .settle = settle}, "no compress and state hooks"},
    {{GOOD, .observe = observe}, "no state hook"},
    {{GOOD, .prefill = NULL, .compress = compress, .steers_backwards = true}, "steers_backwards"},
    {{GOOD, .fit = fit}, "fit() needs a parameter marked `budget`"},
    {{GOOD, WITH({K, .high = 8, .budget = true}), .fit = sf_keys_fit}, NULL},
    {{GOOD, WITH({K, .high = 8, .budget = true}), .fit = sf_density_fit}, "sets what its parameters begin with"},
    {{GOOD, WITH({K, .high = 8, .budget = true, .type = SF_REAL, .offset = offsetof(struct params, share)}), .fit = sf_density_fit},
     "sets what its parameters begin with"},
    {{GOOD, .params_size = 8}, "given together"},
    {{GOOD, WITH({K, .low = 1, .high = 8, .initial = 9})}, "good.k: default 9 lies outside [1, 8]"},
    {{GOOD, WITH({K, .low = 1, .high = 8, .initial = 1.5})}, "default 1.5 is not a whole number"},
    {{GOOD, WITH({K, .high = 8}, {K, .high = 8})}, "good.k: declared twice"},
    {{GOOD, WITH({K, .high = 8, .doc = NULL})}, "no doc line"},
    {{GOOD, WITH({K, .high = 8, .name = "a b"})}, "parameter name 'a b'"},
    {{GOOD, WITH({K, .high = 8, .offset = sizeof(struct params) - 2})},
     "lies outside the parameter struct of 16 bytes"},
    {{GOOD, WITH({K, .high = 8, .offset = (size_t)-4})}, "lies outside the parameter struct"},
    {{GOOD, WITH({K, .high = 8, .offset = 2})}, "is not aligned"},
    {{GOOD, WITH({K, .type = SF_REAL, .offset = 0, .high = 8}, {K, .name = "j", .offset = 4, .high = 8})},
     "good.j: bytes 4 to 7 are 'k' too; is each type that of its field"},
    {{GOOD, WITH({K, .type = (sf_param_type)9})}, "type 9 is unknown"},
    {{GOOD, WITH({K, .type = SF_CHOICE, .choices = "mean"})}, "at least two names"},
    {{GOOD, WITH({K, .high = 8}, {FILE_OF_WEIGHTS}), .weights = (const sf_side_weight[]){{.name = "w.%d", .dim = {SF_SIDE_PARAMS}, .by = {"k"}}, {0}}}, NULL},
    {{GOOD, WITH({FILE_OF_WEIGHTS}), .weights = (const sf_side_weight[]){{.name = "w.%d", .dim = {SF_SIDE_PARAMS}, .by = {"k"}}, {0}}},
     "the size of weight 'w.%d' is by 'k', which is no parameter of whole numbers"},
    {{GOOD, WITH({K, .type = SF_CHOICE, .choices = "mean|max", .initial = 2})}, "default 2 lies outside [0, 1]"},
};

static void refuses_what_breaks_the_contract(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++) {
        sf_status status = sf_method_validate(&RULES[i].method, "here.so");
        if (!RULES[i].says) {
            if (status != SF_OK) fail_msg("rule %zu: %s", i, sf_error());
            continue;
        }
        if (status != SF_BAD_INPUT) fail_msg("rule %zu: accepted, should say \"%s\"", i, RULES[i].says);
        says("here.so");
        says(RULES[i].says);
    }
    assert_int_equal(sf_method_validate(NULL, "here.so"), SF_BAD_INPUT);
}

/* A table that does not end. */
static void finds_the_missing_last_row(void **unused)
{
    (void)unused;
    static sf_param table[65];
    static char names[65][4];
    sf_method m = {GOOD, .params = table, .params_size = sizeof(int[65])};
    for (int i = 0; i < 65; i++) {
        snprintf(names[i], sizeof names[i], "p%d", i);
        table[i] =
            (sf_param){.name = names[i], .type = SF_INT, .offset = (size_t)i * sizeof(int), .doc = "one of many"};
    }
    assert_int_equal(sf_method_validate(&m, "here.so"), SF_BAD_INPUT);
    says("more than 64 parameters; is the row {0} missing");
    table[3].name = (const char *)(uintptr_t)12;
    assert_int_equal(sf_method_validate(&m, "here.so"), SF_BAD_INPUT);
    says("row 3 of its parameters is none");
    table[3].name = NULL;
    assert_int_equal(sf_method_validate(&m, "here.so"), SF_OK);
}

static sf_status crash(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    raise(SIGSEGV);
    return sf_dense(a, out);
}

static void crashes_name_their_hook(void **unused)
{
    (void)unused;
    int ends[2], status;
    char said[256] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        sf_method m = {GOOD, .prefill = crash};
        sf_attention a = {.layer = 107};
        sf_pattern out;
        dup2(ends[1], STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL);
        sf_name_crashes();
        sf_hook_choose(SF_HOOK_PREFILL, &a, &m, NULL, NULL, &out);
        _exit(0);
    }
    close(ends[1]);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    if (!strstr(said, "crashed in method 'good', prefill, layer 107\n")) fail_msg("said: %s", said);
    close(ends[0]);
}

/* ---- shared objects
 * -------------------------------------------------------------------------------------------------- */

static void refuses_bad_plugins(void **unused)
{
    (void)unused;
    const sf_method *m = NULL;
    assert_int_equal(sf_plugin_load("nowhere/at_all.so", &m), SF_IO);
    says("nowhere/at_all.so: cannot open: No such file");
    assert_int_equal(sf_plugin_load("tests/test_methods_plugin.c", &m), SF_BAD_INPUT);
    says("not a shared object");
    assert_int_equal(sf_plugin_load("tests", &m), SF_BAD_INPUT);
    says("tests: not a shared object");
    assert_int_equal(sf_plugin_load("Makefile", &m),
                     SF_BAD_INPUT); /* without a slash: here, not in the system's folders */
    says("./Makefile");
    assert_int_equal(sf_plugin_load(built("no_symbol.so"), &m), SF_BAD_INPUT);
    says("exports neither `const sf_method *sf_plugin(void)`, for a method, nor `const sf_task *sf_plugin_task(void)`, for a task");
    assert_int_equal(sf_plugin_load(built("wrong_abi.so"), &m), SF_BAD_INPUT);
    says("build it again");
    assert_int_equal(sf_plugin_load(built("no_hooks.so"), &m), SF_BAD_INPUT);
    says("offers no hook");
    assert_int_equal(sf_plugin_load(built("needs_more.so"), &m), SF_BAD_INPUT);
    says("sf_not_there");
    assert_null(m);
}

static const sf_method *load(const char *name)
{
    const sf_method *m = NULL;
    if (sf_plugin_load(built(name), &m) != SF_OK) fail_msg("%s", sf_error());
    return m;
}

/* The example outside computes what the built-in baseline computes. */
static void example_equals_streaming(void **unused)
{
    (void)unused;
    const sf_method *mine = load("sink_window.so"), *theirs = NULL;
    for (int i = 0; sf_methods[i]; i++)
        if (strcmp(sf_methods[i]->name, "streaming") == 0) theirs = sf_methods[i];
    assert_non_null(theirs);
    for (int s = 0; s < 6; s++)
        for (sf_phase phase = 0; phase < SF_PHASES; phase++) {
            sf_extent extent = {.phase = phase, .tokens = 700, .output = 10, .heads = 2, .kv_heads = 1, .head_dim = 16};
            void *a = calloc(1, mine->params_size), *b = calloc(1, theirs->params_size);
            assert_int_equal(sf_yaml_params(NULL, mine->params, NULL, a), SF_OK);
            assert_int_equal(sf_yaml_params(NULL, theirs->params, NULL, b), SF_OK);
            assert_int_equal(mine->fit(&extent, s * 0.19, a), SF_OK);
            assert_int_equal(theirs->fit(&extent, s * 0.19, b), SF_OK);
            sf_attention none = {0};
            sf_pattern p, q;
            assert_int_equal(mine->prefill(&none, a, &p), SF_OK);
            assert_int_equal(theirs->prefill(&none, b, &q), SF_OK);
            assert_int_equal(p.kind, SF_WINDOW);
            assert_int_equal(p.sinks, q.sinks);
            assert_int_equal(p.local, q.local);
            free(a), free(b);
        }
}

static void stops_indices_out_of_range(void **unused)
{
    (void)unused;
    const sf_method *m = load("out_of_range.so");
    sf_backend b;
    sf_synthetic s = {.tokens = 100, .tail = 1, .heads = 4, .kv_heads = 2, .head_dim = 16, .seed = 1};
    assert_int_equal(sf_backend_open("reference", 1, &b), SF_OK);
    assert_int_equal(sf_synthetic_open(&s, &b), SF_OK);
    sf_attention a = sf_synthetic_prompt(&s);
    sf_state none = {0};
    sf_pattern out;
    assert_int_equal(sf_hook_choose(SF_HOOK_PREFILL, &a, m, NULL, NULL, &out), SF_BAD_INPUT);
    says("out_of_range");
    says("prefill");
    says("13"); /* block 100/16 + 7 */
    b.phase = SF_DECODE;
    a = sf_synthetic_step(&s, 1);
    assert_int_equal(sf_hook_choose(SF_HOOK_DECODE, &a, m, NULL, &none, &out), SF_BAD_INPUT);
    says("-1");
    sf_synthetic_close(&s);
    sf_backend_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_breaks_the_contract), cmocka_unit_test(finds_the_missing_last_row),
        cmocka_unit_test(crashes_name_their_hook),          cmocka_unit_test(refuses_bad_plugins),
        cmocka_unit_test(example_equals_streaming),         cmocka_unit_test(stops_indices_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
