/* A model split over ranks gives what it gives whole: logits to rounding, greedy tokens, every method's selection and counts.
 * Ranks are threads here; tests/cli/tensor.sh has them as processes. */
#include <dirent.h>
#include <glob.h>
#include <pthread.h>
#include <sys/stat.h>

#include "tests/testing.h"
#include "tests/engine_world.h"

#include "harness/engine/hooks.h"
#include "harness/model/hf.h"
#include "harness/model/part.h"
#include "kernels/comm.h"

enum { MOST_RANKS = 4 };

/* What every rank does, each on its own backend. */
typedef struct rank {
    pthread_t thread;
    sf_comm comm;
    const sf_model *model;
    int max_tokens;
    sf_status (*work)(struct rank *r, sf_engine *e);
    const void *with;
    void *out;
    const char *device;
    sf_status status;
    char error[512];
} rank;

static void *be_rank(void *user)
{
    rank *r = user;
    sf_backend b;
    sf_engine *e = NULL;
    r->status = sf_backend_open(r->device, 1, &b);
    b.comm = &r->comm;
    if (r->status == SF_OK) r->status = sf_engine_open(&b, r->model, r->max_tokens, &e);
    if (r->status == SF_OK) r->status = r->work(r, e);
    snprintf(r->error, sizeof r->error, "%s", r->status != SF_OK ? sf_error() : "");
    sf_engine_close(e);
    sf_backend_close(&b);
    return NULL;
}

/* Does work() on `ranks` of them; out[r]: the r-th one's. */
static void split(int ranks, const char *device, const sf_model *model, int max_tokens, sf_status (*work)(rank *r, sf_engine *e), const void *with,
                  void *const *out, rank *r)
{
    sf_comm comm[MOST_RANKS];
    OK(sf_comm_threads(ranks, comm));
    for (int i = 0; i < ranks; i++) {
        r[i] = (rank){.comm = comm[i], .model = model, .max_tokens = max_tokens, .work = work, .with = with, .out = out[i], .device = device};
        pthread_create(&r[i].thread, NULL, be_rank, &r[i]);
    }
    for (int i = 0; i < ranks; i++) pthread_join(r[i].thread, NULL);
    for (int i = 0; i < ranks; i++) sf_comm_close(&r[i].comm);
}

/* ---- golden models ------------------------------------------------------------------------------------------------------ */

enum { TOKENS = 96, NEXT = 8 };

typedef struct answer {
    float *logits; /* [TOKENS, vocab] */
    int32_t next[NEXT];
    int n;
} answer;

static sf_status read_on(const sf_model *m, sf_engine *e, answer *out)
{
    int32_t token[TOKENS];
    for (int i = 0; i < TOKENS; i++) token[i] = (int32_t)((uint32_t)i * 2654435761u >> 8) % m->config.vocab;
    sf_lane lane = {.output = out->next};
    const sf_generation how = {.max_output = NEXT};
    SF_TRY(sf_engine_logits(e, token, TOKENS, out->logits));
    SF_TRY(sf_engine_generate(e, token, TOKENS, &how, 1, &lane));
    out->n = lane.outputs;
    return SF_OK;
}

static sf_status read_rank(rank *r, sf_engine *e) { return read_on(r->model, e, r->out); }

/* How many splits gave the whole model's answers; the others are refused, by all ranks alike. */
static int compare_model(const char *path, const sf_model *m)
{
    int tried = 0;
    sf_backend b;
    sf_engine *e;
    answer whole = {0}, part[MOST_RANKS] = {{0}};
    const size_t size = (size_t)TOKENS * (size_t)m->config.vocab;
    OK(sf_backend_open("cpu", 1, &b));
    OK(sf_engine_open(&b, m, TOKENS + NEXT, &e));
    whole.logits = malloc(size * sizeof(float));
    OK(read_on(m, e, &whole));
    for (int ranks = 1; ranks <= MOST_RANKS; ranks *= 2) {
        sf_model_config config;
        rank r[MOST_RANKS];
        void *out[MOST_RANKS];
        for (int i = 0; i < ranks; i++) part[i].logits = realloc(part[i].logits, size * sizeof(float)), out[i] = &part[i];
        split(ranks, "cpu", m, TOKENS + NEXT, read_rank, NULL, out, r);
        if (sf_config_part(&m->config, 0, ranks, &config) != SF_OK) {
            printf("             %s: %s\n", path, sf_error());
            for (int i = 0; i < ranks; i++) assert_string_equal(r[i].error, sf_error());
            continue;
        }
        for (int i = 0; i < ranks; i++) {
            double worst = 0, largest = 0;
            if (r[i].status != SF_OK) fail_msg("%s over %d ranks: %s", path, ranks, r[i].error);
            for (size_t k = 0; k < size; k++) {
                worst = fmax(worst, fabs((double)part[i].logits[k] - whole.logits[k]));
                largest = fmax(largest, fabs((double)whole.logits[k]));
            }
            if (i == 0) printf("             %s over %d: logits differ by %.1e of %.1f\n", path, ranks, worst, largest);
            if (!(worst <= 1e-5 * fmax(largest, 1))) fail_msg("%s, rank %d of %d: logits differ by %.1e", path, i, ranks, worst);
            if (memcmp(part[i].logits, part[0].logits, size * sizeof(float)) != 0) fail_msg("%s: ranks 0 and %d differ", path, i);
            assert_int_equal(part[i].n, whole.n);
            assert_memory_equal(part[i].next, whole.next, (size_t)whole.n * sizeof *whole.next);
        }
        tried++;
    }
    for (int i = 0; i < MOST_RANKS; i++) free(part[i].logits);
    free(whole.logits);
    sf_engine_close(e);
    sf_backend_close(&b);
    return tried;
}

/* A random model of the family's build, with heads that two and four ranks can share. */
static void compare_family(const char *path, sf_model_config c)
{
    sf_model *m;
    sf_model_config part;
    if (c.router.experts) {
        assert_error(sf_config_part(&c, 0, 2, &part), "mixture of experts");
        return;
    }
    c.heads = 8, c.kv_heads = 2, c.mlp = (c.mlp + 3) / 4 * 4;
    OK(sf_model_random(&c, 3, &m));
    assert_int_equal(compare_model(path, m), 3);
    sf_model_close(m);
}

static void golden_models(void **state)
{
    (void)state;
    glob_t found;
    int tried = 0;
    assert_int_equal(glob("tests/golden/model/*/config.json", 0, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/model/*/*.gguf", GLOB_APPEND, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char path[256];
        sf_model *m;
        snprintf(path, sizeof path, "%s", found.gl_pathv[i]);
        char *config = strstr(path, "/config.json");
        if (config) *config = 0;
        OK(sf_model_open(path, &m));
        tried += compare_model(path, m);
        compare_family(path, m->config);
        sf_model_close(m);
    }
    globfree(&found);
    assert_true(tried >= 17);
}

/* Families whose golden checkpoints come from seeds. */
static void seeded_families(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/golden/model/seeded/*/config.json", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 25);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        sf_model_config c = {0};
        sf_doubts doubts = {0};
        bool multimodal;
        json_t *json = json_load_file(found.gl_pathv[i], 0, NULL);
        OK(sf_hf_config(json, found.gl_pathv[i], &c, &multimodal, &doubts));
        json_decref(json);
        compare_family(found.gl_pathv[i], c);
    }
    globfree(&found);
}

/* ---- methods -------------------------------------------------------------------------------------------------------------- */

enum { PROMPT = 180 };

typedef struct lanes {
    int n;
    result r[MOST_LANES];
} lanes;

static sf_status run_lanes(rank *r, sf_engine *e)
{
    lanes *l = r->out;
    return try_run(e, PROMPT, 5, &HOW, l->n, l->r);
}

/* Recall is summed over keys in an order that the split does not touch, of hidden states that it does. */
static void assert_like(result *part, const result *whole, const char *what)
{
    for (int p = 0; p < SF_PHASES; p++)
        for (int i = 0; i < LAYERS * HEADS; i++) {
            float *x = &part->recall[p][0][0] + i;
            const float y = (&whole->recall[p][0][0])[i];
            if (isnan(*x) != isnan(y) || fabsf(*x - y) > 1e-4f) fail_msg("%s: recall %g, expected %g", what, (double)*x, (double)y);
            *x = y;
        }
    assert_same(part, whole, what);
}

static void set_fitted(result *r, const sf_method *m, const sf_model_config *c, double sparsity)
{
    const sf_phase phase = m->prefill ? SF_PREFILL : SF_DECODE;
    const sf_extent extent = {.phase = phase, .tokens = PROMPT, .output = OUTPUT, .heads = c->heads, .kv_heads = c->kv_heads,
                              .head_dim = c->head_dim, .layers = c->layers};
    memset(r, 0, sizeof *r);
    method_of(m->name, r->params[phase]);
    if (m->fit) OK(sf_hook_fit(m, &extent, sparsity, r->params[phase]));
    set_result(r, phase == SF_PREFILL ? m : NULL, phase == SF_DECODE ? m : NULL);
}

/* Each method alone, and beside others of its phase. */
static void every_method(void **state)
{
    (void)state;
    static const char *const device[] = {"cpu", "reference"};
    for (int which = 0; which < SHAPES; which++)
        for (int ranks = 2; ranks <= MOST_RANKS; ranks += 2) {
            sf_model *model = new_model(which);
            for (int i = 0; sf_methods[i]; i++) {
                const sf_method *m = sf_methods[i];
                if (!m->prefill && !m->compress && !m->decode) continue;
                if ((i + which + ranks / 2) % 4 && !getenv("EVERY_SHAPE")) continue; /* each on one shape over two ranks, on another over four */
                if (strcmp(m->name, "knorm") == 0 && model->config.qk_norm) continue; /* all keys' norms are one but for rounding */
                const char *on = device[(which + i) % 2];
                char what[128];
                lanes whole = {.n = 3}, part[MOST_RANKS];
                set_fitted(&whole.r[0], m, &model->config, 0.6);
                set_fitted(&whole.r[1], m, &model->config, 0.85);
                set_arms(1, COMPANY + (i + which) % LANES, &whole.r[2]);
                sf_backend b;
                sf_engine *e;
                OK(sf_backend_open(on, 1, &b));
                OK(sf_engine_open(&b, model, MOST_TOKENS, &e));
                void *out[MOST_RANKS];
                rank r[MOST_RANKS];
                for (int k = 0; k < ranks; k++) {
                    part[k] = whole;
                    out[k] = &part[k];
                    for (int l = 0; l < whole.n; l++) {
                        memcpy(part[k].r[l].params, whole.r[l].params, sizeof whole.r[l].params);
                        set_result(&part[k].r[l], whole.r[l].lane.prefill, whole.r[l].lane.decode);
                    }
                }
                if (try_run(e, PROMPT, 5, &HOW, whole.n, whole.r) != SF_OK) fail_msg("%s: %s", m->name, sf_error());
                split(ranks, on, model, MOST_TOKENS, run_lanes, NULL, out, r);
                for (int k = 0; k < ranks; k++) {
                    if (r[k].status != SF_OK) fail_msg("%s over %d ranks: %s", m->name, ranks, r[k].error);
                    for (int l = 0; l < whole.n; l++) {
                        snprintf(what, sizeof what, "%s, shape %d, rank %d of %d, lane %d, on %s", m->name, which, k, ranks, l, on);
                        assert_like(&part[k].r[l], &whole.r[l], what);
                    }
                }
                sf_engine_close(e);
                sf_backend_close(&b);
            }
            sf_model_close(model);
        }
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------------------ */

static sf_status broken_on_one(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    if (a->layer == 1 && a->first_head > 0) return sf_fail(SF_BAD_INPUT, "the hook of these heads fails");
    return sf_dense(a, out);
}

static sf_status says_nothing(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    sf_tensor column;
    sf_probe(a, 4, SF_SUM, &column, NULL);
    return sf_keep(a, out, sf_top_total(a, sf_group(a, column, SF_MAX), 40));
}

static sf_status run_twice(rank *r, sf_engine *e)
{
    lanes *l = r->out, dense = {.n = 1};
    sf_status status = try_run(e, PROMPT, 5, &HOW, l->n, l->r);
    char error[512];
    snprintf(error, sizeof error, "%s", sf_error());
    set_arms(1, COMPANY, dense.r);
    SF_TRY(try_run(e, PROMPT, 5, &HOW, 1, dense.r)); /* the engine stays usable */
    return status == SF_OK ? SF_OK : sf_fail(status, "%s", error);
}

static void failures(void **state)
{
    (void)state;
    static const sf_method broken = {.abi = SF_METHOD_ABI, .name = "broken", .prefill = broken_on_one},
                           silent = {.abi = SF_METHOD_ABI, .name = "silent", .compress = says_nothing};
    sf_model *model = new_model(LLAMA);
    for (int i = 0; i < 2; i++) {
        lanes part[2];
        rank r[2];
        void *out[2] = {&part[0], &part[1]};
        for (int k = 0; k < 2; k++) {
            part[k].n = 1;
            set_arms(1, COMPANY, part[k].r);
            set_result(&part[k].r[0], i == 0 ? &broken : NULL, i == 1 ? &silent : NULL);
        }
        split(2, "cpu", model, MOST_TOKENS, run_twice, NULL, out, r);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(r[k].status, SF_BAD_INPUT);
            const char *expected = i == 0 ? "'broken', prefill at layer 1: the hook of these heads" : "has to say so (`across`)";
            if (!strstr(r[k].error, expected)) fail_msg("rank %d: %s", k, r[k].error);
        }
    }
    sf_model_close(model);
}

/* Quantised columns are cut between blocks only; what has no divisor is refused by name. */
static void refusals(void **state)
{
    (void)state;
    sf_model_config c = shape(LLAMA), part;
    assert_error(sf_config_part(&c, 0, 3, &part), "4 query heads cannot be split over 3 ranks");
    c.mlp = 49;
    assert_error(sf_config_part(&c, 0, 2, &part), "an MLP of 49");
    c = shape(LLAMA);
    c.heads = 12, c.kv_heads = 3;
    assert_error(sf_config_part(&c, 0, 2, &part), "3 kv heads");
    OK(sf_config_part(&c, 0, 6, &part)); /* each on two ranks */
    assert_int_equal(part.heads, 2);
    assert_int_equal(part.kv_heads, 1);
}

/* NCCL, as far as one GPU goes: a team of one. Sums are made apart from the products that they follow, so that bf16 rounds a
 * little otherwise. */
static void nccl_of_one(void **state)
{
    (void)state;
    sf_backend b;
    sf_comm comm = {0};
    sf_engine *e;
    sf_model *m;
    answer whole = {0}, part = {0};
    double worst = 0, largest = 0;
    if (sf_backend_open("cuda", 0, &b) != SF_OK) {
        printf("skipped: %s\n", sf_error());
        skip();
    }
    OK(sf_model_open("tests/golden/model/llama", &m));
    const size_t size = (size_t)TOKENS * (size_t)m->config.vocab;
    whole.logits = malloc(size * sizeof(float)), part.logits = malloc(size * sizeof(float));
    OK(sf_engine_open(&b, m, TOKENS + NEXT, &e));
    OK(read_on(m, e, &whole));
    sf_engine_close(e);
    OK(sf_comm_open(&sf_alone, &b, &comm));
    assert_string_equal(comm.ops->name, "nccl");
    b.comm = &comm;
    OK(sf_engine_open(&b, m, TOKENS + NEXT, &e));
    OK(read_on(m, e, &part));
    for (size_t k = 0; k < size; k++) {
        worst = fmax(worst, fabs((double)part.logits[k] - whole.logits[k]));
        largest = fmax(largest, fabs((double)whole.logits[k]));
    }
    int same = 0;
    while (same < whole.n && whole.next[same] == part.next[same]) same++;
    printf("             NCCL, a team of one: logits differ by %.1e of %.1f; %d of %d greedy tokens equal\n", worst, largest, same, whole.n);
    assert_true(largest > 0.1 && worst <= 0.03 * largest);
    sf_engine_close(e);
    sf_comm_close(&comm);
    sf_backend_close(&b);
    sf_model_close(m);
    free(whole.logits), free(part.logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models),
        cmocka_unit_test(seeded_families),
        cmocka_unit_test(every_method),
        cmocka_unit_test(failures),
        cmocka_unit_test(refusals),
        cmocka_unit_test(nccl_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
