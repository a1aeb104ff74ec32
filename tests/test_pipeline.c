/* A model whose layers are split over stages gives what it gives whole, to the bit: logits, tokens, counts, densities, recall,
 * errors, divergence, pictures. With each stage split over ranks too, as those alone do. Ranks are threads here;
 * tests/cli/tensor.sh has them as processes. */
#include <glob.h>

#include "tests/testing.h"
#include "tests/engine_world.h"
#include "tests/ranks.h"

#include "base/picture.h"
#include "harness/engine/hooks.h"
#include "harness/model/part.h"

/* ranks of a stage, stages */
static const struct { int tensor, pipeline; } SPLITS[] = {{1, 2}, {1, 3}, {1, 4}, {2, 2}};
enum { SPLITS_TRIED = sizeof SPLITS / sizeof *SPLITS };

/* ---- golden models ------------------------------------------------------------------------------------------------------ */

/* Whether the model can be split so; why not. */
static sf_status can_be_split(const sf_model_config *c, int tensor, int pipeline)
{
    sf_model_config part;
    sf_stage stage;
    SF_TRY(sf_stage_of(c, 0, pipeline, &stage));
    return sf_config_part(c, 0, tensor, &part);
}

static void compare_answers(const char *path, const sf_model *m, int tensor, int pipeline, const answer *whole, const answer *part)
{
    const size_t size = (size_t)TOKENS * (size_t)m->config.vocab;
    double worst = 0, largest = 0;
    for (size_t k = 0; k < size; k++) {
        worst = fmax(worst, fabs((double)part->logits[k] - whole->logits[k]));
        largest = fmax(largest, fabs((double)whole->logits[k]));
    }
    const double most = tensor > 1 ? 1e-5 * fmax(largest, 1) : 0;
    if (!(worst <= most)) fail_msg("%s, %d ranks, %d stages: logits differ by %.1e", path, tensor, pipeline, worst);
    assert_int_equal(part->n, whole->n);
    assert_memory_equal(part->next, whole->next, (size_t)whole->n * sizeof *whole->next);
    if (memcmp(&part->meter, &whole->meter, sizeof whole->meter) != 0) fail_msg("%s, %d ranks, %d stages: other counts", path, tensor, pipeline);
}

/* How many splits gave the whole model's answers; the others are refused, by all ranks alike. Every step-th from the first on:
 * all under EVERY_SHAPE. */
static int compare_model(const char *path, const sf_model *m, int first, int step)
{
    int tried = 0;
    sf_backend b;
    sf_engine *e;
    const size_t size = (size_t)TOKENS * (size_t)m->config.vocab;
    answer whole = {.logits = malloc(size * sizeof(float))}, part[MOST_RANKS];
    for (int i = 0; i < MOST_RANKS; i++) part[i] = (answer){.logits = malloc(size * sizeof(float))};
    OK(sf_backend_open("cpu", 1, &b));
    OK(sf_engine_open(&b, m, TOKENS + NEXT, &e));
    OK(read_on(m, e, &whole));
    sf_engine_close(e);
    sf_backend_close(&b);
    if (getenv("EVERY_SHAPE")) first = 0, step = 1;
    for (int s = first; s < SPLITS_TRIED; s += step) {
        const int tensor = SPLITS[s].tensor, pipeline = SPLITS[s].pipeline, ranks = tensor * pipeline;
        rank r[MOST_RANKS];
        void *out[MOST_RANKS];
        for (int i = 0; i < ranks; i++) out[i] = &part[i];
        split(tensor, pipeline, "cpu", m, TOKENS + NEXT, read_rank, NULL, out, r);
        const bool refused = can_be_split(&m->config, tensor, pipeline) != SF_OK;
        for (int i = 0; i < ranks; i++) {
            if (refused) assert_string_equal(r[i].error, sf_error());
            else if (r[i].status != SF_OK) fail_msg("%s, %d ranks, %d stages: %s", path, tensor, pipeline, r[i].error);
            else compare_answers(path, m, tensor, pipeline, &whole, &part[i]);
        }
        tried += !refused;
    }
    for (int i = 0; i < MOST_RANKS; i++) free(part[i].logits);
    free(whole.logits);
    return tried;
}

/* A random model of the family's build, of layers and heads that go into all splits. */
static int compare_family(const char *path, sf_model_config c, size_t i)
{
    if (c.layers < 4) c.layers = 4;
    sf_model *m = new_split_family(c);
    int tried = compare_model(path, m, (int)i % 2, 2);
    sf_model_close(m);
    if (c.shared_from) assert_int_equal(tried, 0); /* layers that read others' keys are not split, which its ranks have said alike */
    else assert_true(tried >= (c.latent || c.kernel || sf_heads_differ(&c) ? 1 : 2)); /* latents, layers that recur and heads of two sizes: by layers */
    return tried;
}

static void golden_models(void **state)
{
    (void)state;
    glob_t found;
    int tried = 0, built = 0;
    assert_int_equal(glob("tests/golden/model/*/config.json", 0, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/model/*/*.gguf", GLOB_APPEND, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char path[256];
        sf_model *m;
        snprintf(path, sizeof path, "%s", found.gl_pathv[i]);
        char *config = strstr(path, "/config.json");
        if (config) *config = 0;
        OK(sf_model_open(path, &m));
        tried += compare_model(path, m, 0, 1);
        built += compare_family(path, m->config, i);
        sf_model_close(m);
    }
    printf("             %zu checkpoints, %d splits of them and %d of their builds\n", found.gl_pathc, tried, built);
    assert_true(tried >= (int)found.gl_pathc);
    globfree(&found);
}

static void seeded_families(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/golden/model/seeded/*/config.json", 0, NULL, &found), 0);
    int tried = 0;
    assert_true(found.gl_pathc >= 25);
    for (size_t i = 0; i < found.gl_pathc; i++) tried += compare_family(found.gl_pathv[i], config_of(found.gl_pathv[i]), i);
    printf("             %zu families, %d splits\n", found.gl_pathc, tried);
    globfree(&found);
}

/* ---- methods, and all that a lane reports -------------------------------------------------------------------------------- */

enum { PROMPT = 180, SHORTER = 90, JOBS = 2, ROWS = 5 };

/* A lane with what `result` has, and all else. */
typedef struct lane_report {
    result r;
    float error[SF_PHASES][LAYERS][HEADS];
    sf_divergence divergence[SF_PHASES][OUTPUT]; /* of ROWS rows in prefill */
    sf_picture picture[SF_PHASES];
    uint64_t read[OUTPUT];
} lane_report;

typedef struct report {
    int lanes; /* of each job */
    int chunk;
    lane_report lane[JOBS][MOST_LANES];
} report;

static const sf_generation ALL = {.max_output = OUTPUT, .recall_rows = 4, .divergence_rows = ROWS, .seed = 1, .picture_layer = 1,
                                  .picture_head = 2};

static void set_report(report *all, int chunk, int lanes, const arm *arms)
{
    memset(all, 0, sizeof *all);
    all->lanes = lanes;
    all->chunk = chunk;
    for (int j = 0; j < JOBS; j++)
        for (int i = 0; i < lanes; i++) {
            lane_report *l = &all->lane[j][i];
            set_arms(1, &arms[i], &l->r);
            for (int p = 0; p < SF_PHASES; p++) {
                l->r.lane.error[p] = &l->error[p][0][0];
                l->r.lane.divergence[p] = l->divergence[p];
                l->r.lane.picture[p] = &l->picture[p];
            }
            l->r.lane.read = l->read;
        }
}

static sf_status run_report(sf_engine *e, const sf_generation *how, report *all)
{
    int32_t token[JOBS][PROMPT];
    sf_lane lane[JOBS][MOST_LANES];
    sf_job job[JOBS];
    for (int j = 0; j < JOBS; j++) {
        job[j] = (sf_job){.token = token[j], .tokens = j ? SHORTER : PROMPT, .lanes = all->lanes, .lane = lane[j]};
        fill_prompt(token[j], job[j].tokens, 5 + (uint32_t)j);
        for (int i = 0; i < all->lanes; i++) lane[j][i] = all->lane[j][i].r.lane;
    }
    sf_engine_set_chunk(e, all->chunk);
    sf_status status = sf_engine_run(e, JOBS, job, how);
    for (int j = 0; j < JOBS; j++)
        for (int i = 0; i < all->lanes; i++) all->lane[j][i].r.lane = lane[j][i];
    return status;
}

static sf_status report_rank(rank *r, sf_engine *e) { return run_report(e, &ALL, r->out); }

/* Numbers that are, or none. */
static void assert_numbers(const float *a, const float *b, int n, double most, const char *what, const char *of)
{
    for (int i = 0; i < n; i++)
        if (isnan(a[i]) != isnan(b[i]) || fabs((double)a[i] - (double)b[i]) > most)
            fail_msg("%s: %s %g, expected %g", what, of, (double)a[i], (double)b[i]);
}

/* `split`: over the ranks of a stage, so that hidden states are rounded otherwise. */
static void assert_alike(lane_report *part, const lane_report *whole, bool split, const char *what)
{
    const sf_lane *x = &part->r.lane, *y = &whole->r.lane;
    const double recall = split ? 1e-4 : 0, error = split ? 1e-3 : 0;
    for (int p = 0; p < SF_PHASES; p++) {
        assert_numbers(&part->r.recall[p][0][0], &whole->r.recall[p][0][0], LAYERS * HEADS, recall, what, "recall");
        memcpy(part->r.recall[p], whole->r.recall[p], sizeof part->r.recall[p]); /* of equal ones, NANs may have other bits */
        assert_numbers(&part->error[p][0][0], &whole->error[p][0][0], LAYERS * HEADS, error, what, "error");
        assert_int_equal(x->divergences[p], y->divergences[p]);
        for (int i = 0; i < x->divergences[p]; i++) {
            const sf_divergence *d = &part->divergence[p][i], *e = &whole->divergence[p][i];
            if (d->position != e->position || d->rank != e->rank || fabsf(d->kl - e->kl) > error || fabsf(d->nll - e->nll) > error ||
                fabsf(d->dense_nll - e->dense_nll) > error)
                fail_msg("%s, phase %d: divergence %d differs", what, p, i);
        }
        const sf_picture *drawn = &part->picture[p], *expected = &whole->picture[p];
        assert_int_equal(drawn->layer, expected->layer);
        assert_int_equal(drawn->head, expected->head);
        assert_int_equal(drawn->keys, expected->keys);
        assert_numbers(&drawn->at[0][0], &expected->at[0][0], SF_PICTURE_SIDE * SF_PICTURE_SIDE, recall, what, "picture");
    }
    assert_memory_equal(part->read, whole->read, sizeof part->read);
    assert_same(&part->r, &whole->r, what);
}

/* Two samples under all of COMPANY, in several waves, with all that can be measured. */
static void all_that_is_reported(void **state)
{
    (void)state;
    static const char *const device[] = {"cpu", "reference"};
    report *whole = malloc(sizeof *whole), *part = malloc(MOST_RANKS * sizeof *part);
    for (int which = 0; which < SHAPES; which++) {
        world w;
        const int chunk = which % 2 ? 64 : 300; /* prompts are waves of their own, or two and two are one */
        set_report(whole, chunk, LANES, COMPANY);
        open_world(&w, device[which % 2], 1, which);
        OK(run_report(w.engine, &ALL, whole));
        for (int s = 0; s < SPLITS_TRIED; s++) {
            const int tensor = SPLITS[s].tensor, pipeline = SPLITS[s].pipeline;
            rank r[MOST_RANKS];
            void *out[MOST_RANKS];
            if (pipeline > LAYERS) continue;
            for (int k = 0; k < tensor * pipeline; k++) set_report(&part[k], chunk, LANES, COMPANY), out[k] = &part[k];
            split(tensor, pipeline, device[which % 2], w.model, MOST_TOKENS, report_rank, NULL, out, r);
            for (int k = 0; k < tensor * pipeline; k++) {
                if (r[k].status != SF_OK) fail_msg("rank %d: %s", k, r[k].error);
                for (int j = 0; j < JOBS; j++)
                    for (int i = 0; i < LANES; i++) {
                        char what[128];
                        snprintf(what, sizeof what, "shape %d, %d ranks, %d stages, rank %d, sample %d, lane %d", which, tensor, pipeline, k, j, i);
                        assert_alike(&part[k].lane[j][i], &whole->lane[j][i], tensor > 1, what);
                    }
            }
        }
        close_world(&w);
    }
    free(whole), free(part);
}

typedef struct lanes {
    int n;
    result r[MOST_LANES];
} lanes;

static sf_status run_lanes(rank *r, sf_engine *e)
{
    lanes *l = r->out;
    return try_run(e, PROMPT, 5, &HOW, l->n, l->r);
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

/* Each method at two sparsities, beside dense: to the bit. */
static void every_method(void **state)
{
    (void)state;
    int tried = 0;
    for (int i = 0; sf_methods[i]; i++) {
        const sf_method *m = sf_methods[i];
        const int which = i % SHAPES, stages = 2 + i / SHAPES % 2;
        lanes whole = {.n = 3}, part[MOST_RANKS];
        rank r[MOST_RANKS];
        void *out[MOST_RANKS];
        world w;
        if ((!m->prefill && !m->compress && !m->decode) || m->weights) continue; /* trained: tests/test_trained.c */
        open_world(&w, "cpu", 1, which);
        set_fitted(&whole.r[0], m, &w.model->config, 0.6);
        set_fitted(&whole.r[1], m, &w.model->config, 0.85);
        set_arms(1, COMPANY, &whole.r[2]);
        for (int k = 0; k < stages; k++) {
            part[k] = whole;
            out[k] = &part[k];
            for (int l = 0; l < whole.n; l++) set_result(&part[k].r[l], whole.r[l].lane.prefill, whole.r[l].lane.decode);
        }
        if (try_run(w.engine, PROMPT, 5, &HOW, whole.n, whole.r) != SF_OK) fail_msg("%s: %s", m->name, sf_error());
        split(1, stages, "cpu", w.model, MOST_TOKENS, run_lanes, NULL, out, r);
        for (int k = 0; k < stages; k++) {
            if (r[k].status != SF_OK) fail_msg("%s over %d stages: %s", m->name, stages, r[k].error);
            for (int l = 0; l < whole.n; l++) {
                char what[128];
                snprintf(what, sizeof what, "%s, shape %d, stage %d of %d, lane %d", m->name, which, k, stages, l);
                assert_same(&part[k].r[l], &whole.r[l], what);
            }
        }
        close_world(&w);
        tried++;
    }
    printf("             %d methods\n", tried);
    assert_true(tried >= 45);
}

static sf_status carried_rank(rank *r, sf_engine *e)
{
    static const sf_method in_prefill = {.name = "before", .carry = carry_one, .prefill = carry_prefill},
                           in_decode = {.name = "after", .carry = carry_one, .observe = carry_observe, .decode = carry_decode};
    result lane[4];
    for (int sample = 0; sample < 2; sample++) {
        set_arms(4, COMPANY, lane);
        for (int i = 0; i < 3; i++) set_result(&lane[i], i ? &in_prefill : NULL, i < 2 ? &in_decode : NULL);
        SF_TRY(try_run(e, 40, 3, &HOW, 4, lane));
    }
    return (void)r, SF_OK;
}

/* From layer to layer and step to step: the hooks fail where what they left is not there. */
static void carried_along(void **state)
{
    (void)state;
    sf_model *model = new_model(LLAMA);
    for (int stages = 2; stages <= LAYERS; stages++) {
        rank r[LAYERS];
        split(1, stages, "reference", model, MOST_TOKENS, carried_rank, NULL, (void *[LAYERS]){0}, r);
        for (int k = 0; k < stages; k++)
            if (r[k].status != SF_OK) fail_msg("stage %d of %d: %s", k, stages, r[k].error);
    }
    sf_model_close(model);
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------------------ */

static sf_status fail_at(const sf_attention *a, int layer)
{
    return a->layer == layer ? sf_fail(SF_BAD_INPUT, "a hook of layer %d fails", layer) : SF_OK;
}

static sf_status prefill_at_0(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return fail_at(a, 0) == SF_OK ? sf_dense(a, out) : SF_BAD_INPUT;
}

static sf_status prefill_at_2(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return fail_at(a, 2) == SF_OK ? sf_dense(a, out) : SF_BAD_INPUT;
}

static sf_status decode_at_0(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return a->kv.tail.n < 3 || fail_at(a, 0) == SF_OK ? sf_dense(a, out) : SF_BAD_INPUT;
}

static sf_status decode_at_2(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return a->kv.tail.n < 3 || fail_at(a, 2) == SF_OK ? sf_dense(a, out) : SF_BAD_INPUT;
}

static sf_status norms_state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params, (void)max_keys;
    out->tensor[0] = (sf_tensor){.dtype = SF_I32, .rank = 1, .dim = {1}};
    return SF_OK;
}

static sf_status keep_all(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return sf_dense(a, out);
}

static sf_status settle(int layers, sf_attention *a, const void *params, const sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    for (int i = 0; i < layers; i++) SF_TRY(sf_dense(&a[i], &out[i]));
    return SF_OK;
}

static sf_status fail_then_run(rank *r, sf_engine *e)
{
    report *all = r->out;
    char error[512];
    set_report(all, 64, 5, COMPANY + 3);
    set_result(&all->lane[1][2].r, ((const sf_method *const *)r->with)[0], ((const sf_method *const *)r->with)[1]);
    sf_status status = run_report(e, &(sf_generation){.max_output = OUTPUT}, all);
    snprintf(error, sizeof error, "%s", sf_error());
    set_report(all, 64, 5, COMPANY + 3);
    SF_TRY(run_report(e, &(sf_generation){.max_output = OUTPUT}, all)); /* the engine stays usable */
    return status == SF_OK ? SF_OK : sf_fail(status, "%s", error);
}

/* A stage that fails is heard of by all, whichever it is and whatever others have in hand. */
static void failures(void **state)
{
    (void)state;
    static const sf_method first = {.name = "first", .prefill = prefill_at_0}, last = {.name = "last", .prefill = prefill_at_2},
                           early = {.name = "early", .decode = decode_at_0}, late = {.name = "late", .decode = decode_at_2},
                           whole = {.name = "whole", .state = norms_state, .compress = keep_all, .settle = settle};
    static const struct {
        const sf_method *prefill, *decode;
        sf_status status;
        const char *error;
    } rows[] = {
        {&first, NULL, SF_BAD_INPUT, "method 'first', prefill at layer 0: a hook of layer 0 fails"},
        {&last, NULL, SF_BAD_INPUT, "method 'last', prefill at layer 2: a hook of layer 2 fails"},
        {NULL, &early, SF_BAD_INPUT, "method 'early', decode at layer 0: a hook of layer 0 fails"},
        {NULL, &late, SF_BAD_INPUT, "method 'late', decode at layer 2: a hook of layer 2 fails"},
        {NULL, &whole, SF_UNSUPPORTED, "method 'whole' settles its choice over all layers"},
    };
    sf_model *model = new_model(LLAMA);
    report *out = malloc(MOST_RANKS * sizeof *out);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int s = 0; s < SPLITS_TRIED; s++) {
            const int ranks = SPLITS[s].tensor * SPLITS[s].pipeline;
            rank r[MOST_RANKS];
            if (SPLITS[s].pipeline > LAYERS) continue;
            split(SPLITS[s].tensor, SPLITS[s].pipeline, "cpu", model, MOST_TOKENS, fail_then_run, &rows[i],
                  (void *[]){&out[0], &out[1], &out[2], &out[3]}, r);
            for (int k = 0; k < ranks; k++) {
                assert_int_equal(r[k].status, rows[i].status);
                if (!strstr(r[k].error, rows[i].error)) fail_msg("rank %d of %d: %s", k, ranks, r[k].error);
            }
        }
    free(out);
    sf_model_close(model);
}

static sf_status run_dense(rank *r, sf_engine *e)
{
    result lane;
    set_arms(1, COMPANY, &lane);
    return (void)r, try_run(e, 40, 3, &HOW, 1, &lane);
}

/* Logits that are no numbers are one rank's to see, and all ranks' to name. */
static void no_numbers(void **state)
{
    (void)state;
    sf_model *model = new_model(LLAMA);
    ((uint16_t *)model->weights.final_norm.data)[3] = 0x7fc0;
    for (int s = 0; s < SPLITS_TRIED; s++) {
        rank r[MOST_RANKS];
        if (SPLITS[s].pipeline > LAYERS) continue;
        split(SPLITS[s].tensor, SPLITS[s].pipeline, "cpu", model, MOST_TOKENS, run_dense, NULL, (void *[MOST_RANKS]){0}, r);
        for (int k = 0; k < SPLITS[s].tensor * SPLITS[s].pipeline; k++) {
            assert_int_equal(r[k].status, SF_BAD_INPUT);
            assert_non_null(strstr(r[k].error, "NaN"));
        }
    }
    sf_model_close(model);
}

/* ---- what a stage holds --------------------------------------------------------------------------------------------------- */

enum { MOST_HELD = 256 };

/* Of this rank: what it has imported, and what it holds of the device's memory. */
static _Thread_local struct {
    const sf_backend_ops *ops;
    int n;
    const void *weight[MOST_HELD];
    struct { void *p; size_t bytes; } block[MOST_HELD];
    size_t live;
} held;

static sf_status noted_import(sf_backend *b, const sf_tensor *host, sf_tensor *out)
{
    if (held.n == MOST_HELD) return sf_fail(SF_INTERNAL, "more than %d weights", MOST_HELD); /* no assertion: this is a thread */
    held.weight[held.n++] = host->data;
    return held.ops->import_weight(b, host, out);
}

static sf_status noted_alloc(sf_backend *b, size_t bytes, void **out)
{
    SF_TRY(held.ops->alloc(b, bytes, out));
    int i = 0;
    while (i < MOST_HELD - 1 && held.block[i].p) i++;
    held.block[i].p = *out, held.block[i].bytes = bytes;
    held.live += bytes;
    return SF_OK;
}

static void noted_free(sf_backend *b, void *p)
{
    for (int i = 0; p && i < MOST_HELD; i++)
        if (held.block[i].p == p) held.live -= held.block[i].bytes, held.block[i].p = NULL;
    held.ops->free(b, p);
}

struct holding {
    sf_model *model;
    size_t estimate[MOST_RANKS], live[MOST_RANKS];
    int imports[MOST_RANKS], foreign[MOST_RANKS]; /* of another stage */
};

enum { LONG = 1400 };

static bool belongs(const sf_model *m, int stage, int stages, const void *weight)
{
    sf_stage s;
    const sf_weights *w = &m->weights;
    bool found = stage == 0 && weight == w->embedding.data;
    found |= stage == stages - 1 && (weight == w->head.data || weight == w->final_norm.data);
    if (sf_stage_of(&m->config, stage, stages, &s) != SF_OK) return false;
    for (int layer = s.first; layer < s.end; layer++)
        for (size_t i = 0; i < sizeof *w->layer / sizeof(sf_tensor); i++) found |= ((const sf_tensor *)&w->layer[layer])[i].data == weight;
    return found;
}

static sf_status hold_stage(sf_backend *b, void *user)
{
    struct holding *h = user;
    const int stage = b->stages->rank, stages = b->stages->size;
    sf_backend_ops noted = *b->ops;
    memset(&held, 0, sizeof held);
    held.ops = b->ops;
    noted.import_weight = noted_import, noted.alloc = noted_alloc, noted.free = noted_free;
    b->ops = &noted;
    static int32_t token[LONG];
    int32_t output[2][OUTPUT];
    _Alignas(8) char params[PARAMS] = {0};
    sf_engine *e;
    sf_lane lane[2] = {{.output = output[0]}, {.output = output[1]}};
    lane[1].decode = method_of("quest page=4 budget=64", params), lane[1].decode_params = params;
    const sf_job job = {.token = token, .tokens = LONG, .lanes = 2, .lane = lane};
    const sf_generation how = {.max_output = OUTPUT};
    void *warm;
    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_scratch_alloc(b, 1 << 20, &warm));
    sf_scratch_release(b, mark);
    SF_TRY(sf_engine_open(b, h->model, LONG + OUTPUT, &e));
    for (int i = 0; i < held.n; i++)
        h->foreign[stage] += !belongs(h->model, stage, stages, held.weight[i]);
    h->imports[stage] = held.n;
    const size_t before = held.live;
    SF_TRY(sf_engine_memory(&h->model->config, b, 1, &job, &how, NULL, &h->estimate[stage]));
    for (int i = 0; i < 2; i++) SF_TRY(sf_engine_run(e, 1, &job, &how));
    h->live[stage] = held.live - before;
    sf_engine_close(e);
    b->ops = held.ops;
    return SF_OK;
}

/* Each its own layers and caches and no others; what memory is planned with is the fullest one's. */
static void own_layers_alone(void **state)
{
    (void)state;
    for (int stages = 2; stages <= LAYERS; stages++) {
        struct holding h = {0};
        sf_model_config c = shape(LLAMA);
        size_t most = 0, whole;
        int imports = 0;
        sf_backend b;
        c.head_dim = 64, c.heads = 8; /* large enough that the arena's smallest chunk does not matter */
        OK(sf_model_random(&c, 1, &h.model));
        OK(sf_comm_team(1, stages, "cpu", 1, hold_stage, &h));
        for (int k = 0; k < stages; k++) {
            most = h.live[k] > most ? h.live[k] : most;
            imports += h.imports[k];
            assert_int_equal(h.foreign[k], 0);
            assert_int_equal(h.estimate[k], h.estimate[0]);
        }
        if (fabs((double)most / (double)h.estimate[0] - 1) > 0.01) fail_msg("held %zu bytes, estimated %zu", most, h.estimate[0]);
        assert_int_equal(imports, 3 + 9 * LAYERS); /* embedding, norm, head; a layer's four, three and two norms */
        /* Another stage's caches are not there. */
        const sf_job job = {.tokens = LONG, .lanes = 1, .lane = &(sf_lane){0}};
        OK(sf_backend_open("cpu", 1, &b));
        OK(sf_engine_memory(&c, &b, 1, &job, &(sf_generation){.max_output = OUTPUT}, NULL, &whole));
        assert_true(h.estimate[0] < whole);
        sf_backend_close(&b);
        sf_model_close(h.model);
    }
}

/* Each rank tells the next one twice before it awaits what it was told itself, and the last number counts. */
static sf_status tell_next(sf_backend *b, void *user)
{
    sf_comm *c = b->stages;
    int *told = user;
    const int next = (c->rank + 1) % c->size, before = (c->rank + c->size - 1) % c->size;
    for (int i = 1; i <= 2; i++) {
        __atomic_store_n(&told[next], i, __ATOMIC_RELEASE);
        c->ops->signal(c, next);
    }
    for (int i = 1; i <= 2; i++) {
        c->ops->await(c, before);
        if (__atomic_load_n(&told[c->rank], __ATOMIC_ACQUIRE) < i) return sf_fail(SF_INTERNAL, "told %d before it was said", i);
    }
    return SF_OK;
}

static void signals(void **state)
{
    (void)state;
    for (int stages = 2; stages <= 5; stages++) OK(sf_comm_team(1, stages, "cpu", 1, tell_next, (int[5]){0}));
}

/* ---- two GPUs --------------------------------------------------------------------------------------------------------------- */

/* As above, with a stage on each: the same kernels see the same rows. */
static void families_on_gpus(void **state)
{
    (void)state;
    glob_t found;
    int tried = 0, same = 0;
    double most = 0;
    if (!gpu_there()) skip();
    print_team(1, 2);
    assert_int_equal(glob("tests/golden/model/*/config.json", 0, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/model/seeded/*/config.json", GLOB_APPEND, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char path[256];
        sf_model *m;
        sf_backend b;
        sf_engine *e;
        snprintf(path, sizeof path, "%.*s", (int)(strlen(found.gl_pathv[i]) - strlen("/config.json")), found.gl_pathv[i]);
        if (strstr(path, "/seeded/")) m = new_split_family(config_of(found.gl_pathv[i]));
        else OK(sf_model_open(path, &m));
        const size_t size = (size_t)TOKENS * (size_t)m->config.vocab;
        answer whole = {.logits = malloc(size * sizeof(float))}, part[2];
        for (int k = 0; k < 2; k++) part[k] = (answer){.logits = malloc(size * sizeof(float))};
        OK(sf_backend_open(GPU, 1, &b));
        sf_status status = sf_engine_open(&b, m, TOKENS + NEXT, &e);
        if (status == SF_OK) {
            rank r[2];
            double worst = 0, largest = 0;
            OK(read_on(m, e, &whole));
            sf_engine_close(e);
            split(1, 2, GPU, m, TOKENS + NEXT, read_rank, NULL, (void *[]){&part[0], &part[1]}, r);
            for (int k = 0; k < 2; k++)
                if (r[k].status != SF_OK) fail_msg("%s, stage %d: %s", path, k, r[k].error);
            for (size_t k = 0; k < size; k++) {
                worst = fmax(worst, fabs((double)part[0].logits[k] - whole.logits[k]));
                largest = fmax(largest, fabs((double)whole.logits[k]));
            }
            if (memcmp(part[0].logits, part[1].logits, size * sizeof(float)) != 0) fail_msg("%s: the stages differ", path);
            const bool equal = part[0].n == whole.n && memcmp(part[0].next, whole.next, (size_t)whole.n * sizeof *whole.next) == 0;
            if (worst > 0 || !equal)
                printf("             %s: logits differ by %.1e of %.1f; greedy tokens %s\n", path, worst, largest, equal ? "equal" : "differ");
            if (equal && memcmp(&part[0].meter, &whole.meter, sizeof whole.meter) != 0) fail_msg("%s: other counts", path);
            tried++, same += equal && worst == 0;
            most = fmax(most, worst / largest);
        } else if (status != SF_UNSUPPORTED) {
            fail_msg("%s: %s", path, sf_error());
        }
        sf_backend_close(&b);
        sf_model_close(m);
        for (int k = 0; k < 2; k++) free(part[k].logits);
        free(whole.logits);
    }
    globfree(&found);
    printf("             %d models, equal to the bit in %d; logits differ by at most %.1e of the largest\n", tried, same, most);
    assert_true(tried >= 20);
    assert_int_equal(same, tried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models),
        cmocka_unit_test(seeded_families),
        cmocka_unit_test(all_that_is_reported),
        cmocka_unit_test(every_method),
        cmocka_unit_test(carried_along),
        cmocka_unit_test(failures),
        cmocka_unit_test(no_numbers),
        cmocka_unit_test(own_layers_alone),
        cmocka_unit_test(signals),
        cmocka_unit_test(families_on_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
