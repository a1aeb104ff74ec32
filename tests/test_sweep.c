/* Reading sweeps: what is taken, what is refused and in which words, and which cells come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/config/sweep.h"

static char path[64];

static const char *file_with(const char *text)
{
    snprintf(path, sizeof path, "/tmp/frontier-sweep-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static sf_sweep *read_good(const char *text, int sets, const char *const *set)
{
    sf_sweep *s;
    sf_status status = sf_sweep_read(file_with(text), sets, set, &s);
    unlink(path);
    if (status != SF_OK) print_error("%s\n", sf_error());
    assert_int_equal(status, SF_OK);
    return s;
}

#define HEAD "models: [m.gguf]\ntasks: [niah]\nlengths: [1024, 512]\n"

static void defaults_and_order(void **state)
{
    (void)state;
    sf_sweep *s = read_good(HEAD "sparsity: [0.9, 0, 0.5]\nmethods: {prefill: [vertical_slash], decode: [quest]}\n", 0, NULL);
    assert_int_equal(s->length[0], 512);
    assert_int_equal(s->length[1], 1024);
    assert_int_equal(s->sparsities, 2); /* 0 is the dense cell */
    assert_true(s->sparsity[0] == 0.5 && s->sparsity[1] == 0.9);
    assert_string_equal(s->model[0].label, "m");
    assert_string_equal(s->device, "cpu");
    assert_int_equal(s->seed, 43);
    sf_plan plan;
    const char *hash[] = {"abc"};
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_int_equal(plan.cells, 2 * (1 + 2 + 2));
    assert_null(plan.cell[0].prefill);
    assert_null(plan.cell[0].decode);
    for (int i = 0; i < plan.cells; i++) {
        assert_int_equal(plan.cell[i].samples, s->samples);
        assert_int_equal(strlen(plan.cell[i].key), 32);
        for (int j = 0; j < i; j++) assert_string_not_equal(plan.cell[i].key, plan.cell[j].key);
    }
    sf_plan_free(&plan);
    sf_sweep_free(s);
}

/* What must change a cell's key, and what must not. */
static void keys(void **state)
{
    (void)state;
    static const struct { const char *set; const char *hash; bool same; } rows[] = {
        {"samples=7", "abc", true},      {"threads=2", "abc", true},     {"name=other", "abc", true},
        {"measures=[score, divergence]", "abc", true},
        {"batch=8", "abc", true},        {"seed=44", "abc", false},      {"output=9", "abc", false},
        {"answer=direct", "abc", false}, {"question=after", "abc", false}, {"samples=1", "abd", false},
        {"device=reference", "abc", false}, {"tasks.niah.output=9", "abc", false}, {"tasks.niah.queries=1", "abc", false},
        {"sparsity=[0.8]", "abc", false}, {"methods.decode.quest.page=32", "abc", false}, {"lengths=[600]", "abc", false},
        {"models=[{path: m.gguf, chat: {prefix: a, suffix: b}}]", "abc", false},
        {"models=[{path: other.gguf}]", "abc", true},
        {"seed=null", "abc", true},      {"output=~", "abc", true},
        {"tasks.niah.introduction=Null", "abc", true}, {"tasks.niah.introduction='null'", "abc", false},
    };
    const char *text = "models: [m.gguf]\ntasks: [niah]\nlengths: [512]\nsparsity: [0.9]\nmethods: {decode: [quest]}\n";
    const char *hash[] = {"abc"};
    sf_sweep *s = read_good(text, 0, NULL);
    sf_plan base, plan;
    assert_int_equal(sf_plan_make(s, hash, &base), SF_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sf_sweep *t = read_good(text, 1, &rows[i].set);
        hash[0] = rows[i].hash;
        assert_int_equal(sf_plan_make(t, hash, &plan), SF_OK);
        bool same = strcmp(plan.cell[1].key, base.cell[1].key) == 0;
        if (same != rows[i].same) fail_msg("--set %s: key %s", rows[i].set, same ? "did not change" : "changed");
        sf_plan_free(&plan);
        sf_sweep_free(t);
    }
    sf_method next = *s->arm[0].decode.method;
    next.version++;
    s->arm[0].decode.method = &next;
    hash[0] = "abc";
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_string_equal(plan.cell[0].key, base.cell[0].key); /* dense */
    assert_string_not_equal(plan.cell[1].key, base.cell[1].key);
    sf_plan_free(&plan);
    sf_task other = *s->task[0].task; /* a task that makes other samples than it did */
    other.version++;
    s->task[0].task = &other;
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    for (int i = 0; i < 2; i++) assert_string_not_equal(plan.cell[i].key, base.cell[i].key);
    sf_plan_free(&plan);
    sf_plan_free(&base);
    sf_sweep_free(s);
}

/* Parameters that came later (`late`) are no part of a key while they have their defaults: keys made by 0.1.0 hold. */
static void keys_of_old_results(void **state)
{
    (void)state;
    static const char *const old[] = {"05ba0141a63c962fcab2787b994152f6", "f65d39fb16bdafb0091302ff4893715c"};
    const char *hash[] = {"abc"}, *set = "methods.prefill.vertical_slash.tiling=authors";
    for (int late = 0; late < 2; late++) {
        sf_sweep *s = read_good("models: [m.gguf]\ntasks: [story_multihop]\nlengths: [512]\nsparsity: [0.9]\n"
                                "methods: {prefill: [vertical_slash: {local: 64}]}\n",
                                late, &set);
        sf_plan plan;
        assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
        assert_string_equal(plan.cell[0].key, old[0]);
        assert_int_equal(strcmp(plan.cell[1].key, old[1]) == 0, !late);
        sf_plan_free(&plan);
        sf_sweep_free(s);
    }
    sf_sweep *s = read_good("models: [{path: m.gguf, chat: {prefix: a, suffix: b}}]\ntasks: [story_multihop]\nlengths: [512]\n", 0, NULL);
    sf_plan plan;
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_string_equal(plan.cell[0].key, "dab2f387a7cc917012253d4286f86405");
    sf_plan_free(&plan);
    sf_sweep_free(s);
}

/* Delta over a method is another method, with the parameters of both. */
static void corrected_methods(void **state)
{
    (void)state;
    sf_sweep *s = read_good(HEAD "sparsity: [0.9]\nmethods: {prefill: [block_sparse: {block: 32, delta: {every: 16}}, "
                                 "block_sparse_delta: {delta_every: 16, block: 32}, block_sparse: {block: 32}]}\n", 0, NULL);
    const sf_arm *nested = &s->arm[0].prefill, *flat = &s->arm[1].prefill, *plain = &s->arm[2].prefill;
    assert_string_equal(nested->method->name, "block_sparse_delta");
    assert_ptr_equal(nested->method, flat->method);
    assert_string_equal(nested->json, flat->json);
    assert_string_equal(nested->label, "block_sparse_delta(block=32, delta_every=16)");
    assert_string_not_equal(nested->json, plain->json);
    assert_false(nested->explicit_budget);
    sf_sweep_free(s);
}

static void explicit_and_joint(void **state)
{
    (void)state;
    sf_sweep *s = read_good("models: [m.gguf]\ntasks: [niah]\nlengths: [512]\nsparsity: [0.5, 0.8, 0.9]\n"
                            "methods:\n  decode: [quest: {budget: 64}]\n  joint: [{prefill: vertical_slash, decode: quest}]\n",
                            0, NULL);
    sf_plan plan;
    const char *hash[] = {"abc"};
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_int_equal(plan.cells, 1 + 1 + 9);
    assert_true(isnan(plan.cell[1].sparsity[SF_DECODE]));
    assert_string_equal(plan.cell[1].decode->label, "quest(budget=64)");
    assert_true(plan.cell[2].prefill && plan.cell[2].decode);
    sf_plan_free(&plan);
    sf_sweep_free(s);
}

/* A model that was trained sparse is a cell of its own, under its method or as its family attends, and nothing is put on it. */
static void attention_of_its_own(void **state)
{
    (void)state;
    sf_sweep *s = read_good("models: [{path: a.gguf, attention: {moba: {k: 3}}}, {path: b.gguf, attention: family}, c.gguf]\ntasks: [niah]\n"
                            "lengths: [512]\nsparsity: [0.5, 0.9]\ncache: [exact, int8]\n"
                            "methods: {joint: [{prefill: {moba: {k: 3}}, decode: quest}]}\n", 0, NULL);
    sf_plan plan;
    const char *hash[] = {"abc", "abc", "abc"};
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_int_equal(plan.cells, 2 + 2 + 2 * (1 + 2));
    const sf_cell *own = &plan.cell[0], *family = &plan.cell[2], *other = &plan.cell[4];
    for (int i = 0; i < plan.cells; i++) assert_int_equal(plan.cell[i].own, i < 4);
    assert_string_equal(own->prefill->label, "moba(k=3)");
    assert_true(isnan(own->sparsity[SF_PREFILL]) && own->sparsity[SF_DECODE] == 0);
    assert_null(own->decode); /* which moba has none of */
    assert_true(sf_cell_plain(own) && sf_cell_plain(family) && sf_cell_plain(other) && !sf_cell_plain(other + 1));
    assert_ptr_equal(own[1].prefill, own->prefill);
    assert_non_null(own[1].cache);
    assert_string_not_equal(own->key, other->key);
    assert_string_equal(family->key, other->key); /* the same attention, the same result */
    sf_plan_free(&plan);
    sf_sweep_free(s);

    s = read_good("models: [{path: a.gguf, attention: {spattention: {length: 96}}}]\ntasks: [niah]\nlengths: [512]\n"
                  "methods: {joint: [{prefill: {spattention: {length: 96}}, decode: {spattention: {length: 96}}}]}\n", 0, NULL);
    s->model[0].alone = false; /* as if both were asked for of one model: what one stores as dense is not the other's */
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_int_equal(plan.cells, 2);
    assert_true(plan.cell[0].prefill && plan.cell[0].decode && plan.cell[1].prefill && plan.cell[1].decode);
    assert_string_equal(plan.cell[0].key, plan.cell[1].key);
    sf_plan_free(&plan);
    s->model[0].alone = true;
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_int_equal(plan.cells, 1);
    char key[33];
    memcpy(key, plan.cell[0].key, sizeof key);
    sf_plan_free(&plan);
    s->model[0].alone = false;
    assert_int_equal(sf_plan_make(s, hash, &plan), SF_OK);
    assert_string_not_equal(plan.cell[0].key, key);
    sf_plan_free(&plan);
    sf_sweep_free(s);
}

static void provenance_keeps_overrides(void **state)
{
    (void)state;
    static const char *const set[] = {"samples=3", "tasks.0={niah: {queries: 2}}"};
    sf_sweep *s = read_good(HEAD, 2, set);
    assert_int_equal(s->samples, 3);
    assert_string_equal(s->task[0].label, "niah(queries=2)");
    assert_non_null(strstr(s->text, "# --set samples=3\n"));
    sf_sweep_free(s);
}

static const struct { const char *text, *set, *expect; } bad[] = {
    {"", NULL, "is empty"},
    {"a: [1, 2\n", NULL, "not valid YAML"},
    {"- a\n", NULL, "expected 'key: value' lines"},
    {"models: [a]\nmodels: [b]\n", NULL, ":2: key 'models' stands twice"},
    {"models: [m]\ntasks: [niah]\n", NULL, "key 'lengths' is missing"},
    {HEAD "sparsitty: [0.5]\n", NULL, ":4: sparsitty: unknown key; did you mean 'sparsity'?"},
    {HEAD "samples: many\n", NULL, ":4: samples: expected a whole number from 1 to 1000000, found 'many'"},
    {HEAD "samples: 0\n", NULL, "expected a whole number from 1"},
    {HEAD "sparsity: [1.0]\n", NULL, "sparsity.0: expected a number from 0 to 0.999"},
    {HEAD "sparsity: 0.5\n", NULL, "expected a list"},
    {HEAD "methods: {decode: [qest]}\nsparsity: [0.5]\n", NULL, "unknown method 'qest'; did you mean 'quest'?"},
    {HEAD "methods: {prefill: [quest]}\nsparsity: [0.5]\n", NULL, "list it under methods.decode"},
    {HEAD "methods: {decode: [quest: {pages: 3}]}\nsparsity: [0.5]\n", NULL, "did you mean 'page'?"},
    {HEAD "methods: {prefill: [block_sparse_delta: {delta: {every: 4}}]}\nsparsity: [0.5]\n", NULL, "each once"},
    {HEAD "methods: {prefill: [block_sparse: {delta: {evry: 4}}]}\nsparsity: [0.5]\n", NULL, "did you mean 'every'?"},
    {HEAD "methods: {decode: [quest]}\n", NULL, "needs target sparsities"},
    {HEAD "methods: {decode: [dense]}\nsparsity: [0.5]\n", NULL, "'dense' is always run"},
    {HEAD "methods: {decode: []}\nsparsity: [0.5]\n", NULL, "the list is empty"},
    {"models: [m]\ntasks: []\nlengths: [512]\n", NULL, ":2: tasks: the list is empty"},
    {"models: [m]\ntasks: [niahh]\nlengths: [512]\n", NULL, "unknown task 'niahh'; did you mean 'niah'?"},
    {"models: [m]\ntasks: [niah, niah]\nlengths: [512]\n", NULL, "stands twice"},
    {"models: [m]\ntasks: [niah, vt: {label: niah}]\nlengths: [512]\n", NULL, "two tasks are called 'niah'"},
    {"models: [m]\ntasks: [niah, niah: {instructions: Go.}]\nlengths: [512]\n", NULL, "two tasks are called 'niah'"},
    {"models: [m]\ntasks: [niah: {queries: -1}]\nlengths: [512]\n", NULL, ":2: tasks.0.niah.queries: expected a whole number"},
    {"models: [m]\ntasks: [niah: {answer: brief}]\nlengths: [512]\n", NULL, "expected one of explain|direct, found 'brief'"},
    {"models: [m]\ntasks: [niah]\nlengths: [10]\n", NULL, "lengths.0: expected a whole number from 64"},
    {"models: [m]\ntasks: [niah]\nlengths: [512, 512]\n", NULL, "length 512 stands twice"},
    {"models: [a/m, b/m]\ntasks: [niah]\nlengths: [512]\n", NULL, "two models are called 'm'"},
    {"models: [{label: x}]\ntasks: [niah]\nlengths: [512]\n", NULL, "expected a path"},
    {HEAD "name: a/b\n", NULL, "expected a plain name"},
    {HEAD "measures: [divergence]\n", NULL, "expected score among the measures"},
    {HEAD "measures: [score, speed]\n", NULL, "measures.1: expected one of"},
    {HEAD "measures: [score, {divergence: 0}]\n", NULL, "expected a whole number from 1"},
    {HEAD "measures: [score, {rows: 3}]\n", NULL, "unknown key"},
    {HEAD "measures: score\n", NULL, "expected a list"},
    {HEAD "plugins: [/nowhere/x.so]\n", NULL, "/nowhere/x.so"},
    {HEAD, "samples", "expected path.to.key=value"},
    {HEAD, "tasks.vt.hops=3", "'vt' is not an item of the list 'tasks'"},
    {HEAD, "lengths.9=3", "is not an item of the list"},
    {HEAD, "samples={", "not valid YAML"},
    {HEAD, "samples='~'", "expected a whole number"},
    {HEAD, "models=[null]", "expected"},
    {"a: &x [1]\n" HEAD, NULL, ":1: anchor '&x'"},
    {HEAD "sparsity: *x\n", NULL, ":4: alias '*x': aliases are not read"},
    {HEAD "samples: !!int 3\n", NULL, ":4: tag 'tag:yaml.org,2002:int'"},
    {HEAD "? [a]\n: 1\n", NULL, "a key is not a plain word"},
    {HEAD "---\nmodels: [m]\n", NULL, "several documents"},
    {HEAD "name: \"a\\0b\"\n", NULL, "holds a NUL byte"},
    {HEAD, "tasks.0=*x", "alias '*x'"},
    {HEAD, "tasks.00.x=1", "has no keys of its own"},
    {"models: [m.gguf]\ntasks: [{}]\nlengths: [512]\n", "tasks.00.x=1", "unknown task 'x'"},
    {"models: ~\ntasks: [niah]\nlengths: [512]\n", NULL, "key 'models' is missing"},
    {"models: [null]\ntasks: [niah]\nlengths: [512]\n", NULL, "expected a text, found 'nothing'"},
    {HEAD "on_error: skip\n", NULL, "expected one of continue|stop"},
    {HEAD, "models=[{path: m, attention: mobaa}]", "models.0.attention: unknown method 'mobaa'; did you mean 'moba'?"},
    {HEAD, "models=[{path: m, attention: dense}]", "expected `family`"},
    {HEAD, "models=[{path: m, attention: {family: {k: 1}}}]", "expected `family`"},
    {HEAD, "models=[{path: m, attention: {oracle_topk: {budget: 8}}}]", "'oracle_topk' is an oracle, whose choices cost nothing"},
    {HEAD, "models=[{path: m, attention: {random_blocks: {k: 3}}}]", "'random_blocks' is a random choice"},
    {HEAD, "models=[{path: m, attention: moba}]", "trained under 'moba' with numbers of its own"},
    {HEAD, "models=[{path: m, attention: {moba: {blocks: 3}}}]", "did you mean 'block'?"},
    {HEAD, "models=[{path: m, attention: [moba]}]", "expected a name, or 'name: {parameter: value}'"},
    {HEAD "measures: [score, divergence]\n", "models=[{path: m, attention: {moba: {k: 3}}}]", "which 'm' was not trained with"},
};

/* Small files that would cost minutes: a map of 10^5 keys, 10^5 levels, aliases that multiply. */
static void floods(void **state)
{
    (void)state;
    static const char *const expect[] = {"more than 10000 keys and values", "nested deeper than 16 levels", "anchor '&a'"};
    for (int i = 0; i < 3; i++) {
        char *text = malloc(4 << 20);
        size_t n = (size_t)sprintf(text, i == 0 ? HEAD "methods:\n" : i == 1 ? HEAD "methods: " : "a: &a [1, 2]\n");
        for (int k = 0; i < 2 && k < 100000; k++) n += (size_t)sprintf(text + n, i == 0 ? "  k%d: 1\n" : "[", k);
        sf_sweep *s;
        const char *file = file_with(text);
        sf_status status = sf_sweep_read(file, 0, NULL, &s);
        unlink(file);
        free(text);
        if (status == SF_OK || !strstr(sf_error(), expect[i])) fail_msg("%d: %s", i, sf_error());
    }
}

/* null, ~ and nothing are no values; "null" in quotes is a word. */
static void nothing(void **state)
{
    (void)state;
    sf_sweep *s = read_good("name: ~\nmodels: [{path: a/m.gguf, label: null, chat: {prefix: null, suffix: ~}}]\n"
                            "tasks: [niah: {introduction: null, instructions: ~, label: \"null\"}]\nlengths: [512]\nseed:\n",
                            0, NULL);
    assert_string_equal(s->model[0].label, "m");
    assert_true(!s->model[0].prefix || !*s->model[0].prefix);
    assert_true(!s->model[0].suffix || !*s->model[0].suffix);
    assert_string_equal(s->task[0].label, "null");
    assert_null(s->task[0].prompting.introduction);
    assert_null(s->task[0].prompting.instructions);
    assert_int_equal(s->seed, SF_DEFAULT_SEED);
    assert_string_equal(s->name, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    sf_sweep_free(s);
}

static void measures(void **state)
{
    (void)state;
    static const struct { const char *text; int rows; } rows[] = {{"[score]", 0}, {"[score, divergence]", 32},
                                                                  {"[{divergence: 64}, score]", 64}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];
        snprintf(text, sizeof text, HEAD "measures: %s\n", rows[i].text);
        sf_sweep *s = read_good(text, 0, NULL);
        assert_int_equal(s->divergence_rows, rows[i].rows);
        sf_sweep_free(s);
    }
}

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sf_sweep *s;
        sf_status status = sf_sweep_read(file_with(bad[i].text), bad[i].set != NULL, &bad[i].set, &s);
        unlink(path);
        if (status == SF_OK || !strstr(sf_error(), bad[i].expect) || s)
            fail_msg("row %zu: expected '%s', found '%s'", i, bad[i].expect, status == SF_OK ? "no error" : sf_error());
    }
    sf_sweep *s;
    assert_int_equal(sf_sweep_read("/nowhere/config.yaml", 0, NULL, &s), SF_IO);
    assert_non_null(strstr(sf_error(), "/nowhere/config.yaml"));
    assert_int_equal(sf_sweep_read("/tmp", 0, NULL, &s), SF_IO);
}

/* The published parameters of configs/paper, where sparsity follows from them without data: they give what they were
 * published for, within two points. */
static void published_budgets(void **state)
{
    (void)state;
    static const double blocks[] = {.95, .93, .9, .87, .8, .67, .5}, keys[] = {.95, .93, .9, .87, .8, .7, .6, .5, .33};
    static const int length[] = {16384, 32768, 65536, 128000};
    for (int l = 0; l < 4; l++)
        for (int retrieval = 0; retrieval < 2; retrieval++) {
            char config[64];
            snprintf(config, sizeof config, "configs/paper/%d%s.yaml", length[l], retrieval ? "-retrieval" : "");
            static const char *const set[] = {"tasks=[niah]"}; /* the QA files are the user's */
            sf_sweep *s;
            if (sf_sweep_read(config, 1, set, &s) != SF_OK) fail_msg("%s", sf_error());
            assert_int_equal(s->models, 9);
            assert_int_equal(s->length[0], length[l]);
            int checked[4] = {0};
            for (int i = 0; i < s->arms; i++) {
                const sf_arm *arm = s->arm[i].prefill.method ? &s->arm[i].prefill : &s->arm[i].decode;
                const char *name = arm->method->name;
                assert_true(arm->explicit_budget);
                double n = length[l], b = atof(strpbrk(arm->json, "0123456789"));
                if (strcmp(name, "block_sparse") == 0) {
                    n /= 16;
                    double density = (b * (b + 1) / 2 + (n - b) * b) / (n * (n + 1) / 2);
                    assert_true(fabs(1 - density - blocks[checked[0]++]) < 0.02);
                } else if (strcmp(name, "snapkv") == 0 || strcmp(name, "ada_snapkv") == 0 || strcmp(name, "quest") == 0) {
                    int which = 1 + (name[0] == 'a') + 2 * (name[0] == 'q');
                    assert_true(fabs(1 - b / n - keys[checked[which]++]) < 0.02);
                }
            }
            assert_int_equal(checked[0], length[l] == 128000 ? 0 : 7);
            for (int k = 1; k < 4; k++) assert_int_equal(checked[k], 9);
            sf_sweep_free(s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_order), cmocka_unit_test(keys), cmocka_unit_test(keys_of_old_results), cmocka_unit_test(corrected_methods), cmocka_unit_test(explicit_and_joint), cmocka_unit_test(attention_of_its_own),
        cmocka_unit_test(provenance_keeps_overrides), cmocka_unit_test(floods), cmocka_unit_test(nothing), cmocka_unit_test(measures), cmocka_unit_test(refusals), cmocka_unit_test(published_budgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
