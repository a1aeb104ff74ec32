/* A model split over ranks gives what it gives whole: logits to rounding, greedy tokens, every method's selection and counts.
 * Ranks are threads here; tests/cli/tensor.sh has them as processes. */
#include <dirent.h>
#include <glob.h>
#include <sys/stat.h>

#include "tests/testing.h"
#include "tests/engine_world.h"
#include "tests/ranks.h"

#include "harness/engine/hooks.h"
#include "harness/model/part.h"
#include "harness/model/tokenizer.h"
#include "harness/model/weights.h"

/* ---- golden models ------------------------------------------------------------------------------------------------------ */

/* How many splits gave the whole model's answers, to this share of the largest logit; the others are refused, by all ranks alike. */
static int compare_model(const char *path, const sf_model *m, double tolerance)
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
        rank r[MOST_RANKS];
        void *out[MOST_RANKS];
        for (int i = 0; i < ranks; i++) part[i].logits = realloc(part[i].logits, size * sizeof(float)), out[i] = &part[i];
        split(ranks, 1, "cpu", m, TOKENS + NEXT, read_rank, NULL, out, r);
        if (sf_part_check(m, ranks) != SF_OK) {
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
            if (!(worst <= tolerance * fmax(largest, 1))) fail_msg("%s, rank %d of %d: logits differ by %.1e", path, i, ranks, worst);
            if (memcmp(part[i].logits, part[0].logits, size * sizeof(float)) != 0) fail_msg("%s: ranks 0 and %d differ", path, i);
            assert_int_equal(part[i].n, whole.n);
            assert_memory_equal(part[i].next, whole.next, (size_t)whole.n * sizeof *whole.next);
            if (memcmp(&part[i].meter, &whole.meter, sizeof whole.meter) != 0) fail_msg("%s, rank %d of %d: other counts", path, i, ranks);
        }
        tried++;
    }
    for (int i = 0; i < MOST_RANKS; i++) free(part[i].logits);
    free(whole.logits);
    sf_engine_close(e);
    sf_backend_close(&b);
    return tried;
}

static void compare_family(const char *path, sf_model_config c)
{
    sf_model *m = new_split_family(c);
    assert_int_equal(compare_model(path, m, 1e-5), c.latent ? 1 : 3); /* latents are not split */
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
        tried += compare_model(path, m, 1e-5);
        compare_family(path, m->config);
        sf_model_close(m);
    }
    globfree(&found);
    assert_true(tried >= 17);
}

static void seeded_families(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/golden/model/seeded/*/config.json", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 25);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const sf_model_config c = config_of(found.gl_pathv[i]);
        sf_model_config part;
        if (c.kernel) assert_error(sf_config_part(&c, 0, 2, &part), "layers are recurrent");
        else if (sf_heads_differ(&c)) assert_error(sf_config_part(&c, 0, 2, &part), "heads of two sizes");
        else compare_family(found.gl_pathv[i], c);
    }
    globfree(&found);
}

/* ---- weights in blocks ---------------------------------------------------------------------------------------------------- */

/* A model's matrices in blocks; its other weights stay. */
typedef struct blocked {
    sf_model *model;
    uint8_t *weights;
} blocked;

/* The golden elements of a type (tests/golden/dtypes.py) as stored: so many blocks of those without huge numbers. */
static int golden_blocks(sf_dtype type, uint8_t *raw)
{
    enum { N = 512 };
    const sf_dtype_info *info = &sf_dtypes[type];
    FILE *f = fopen("tests/golden/dtypes.bin", "rb");
    float number[N];
    int n = 0;
    assert_non_null(f);
    for (sf_dtype t = 0; t < type; t++) assert_int_equal(fseek(f, (long)(sf_bytes(t, N) + sizeof number), SEEK_CUR), 0);
    assert_int_equal(fread(raw, 1, sf_bytes(type, N), f), sf_bytes(type, N));
    fclose(f);
    for (int i = 0; i < N / info->block; i++) {
        float most = 0;
        sf_to_f32(type, raw + i * info->bytes, number, info->block);
        for (int k = 0; k < info->block; k++) most = fmaxf(most, fabsf(number[k]));
        if (most < 1e4f) memmove(raw + n++ * info->bytes, raw + i * info->bytes, (size_t)info->bytes);
    }
    assert_true(n > 0);
    return n;
}

/* name: of the matrices that are in blocks; NULL: all whose rows are whole blocks, but queries' and keys', whose products are
 * nothing that a softmax could bear, and routers. */
static blocked new_blocked(sf_model_config c, sf_dtype type, const char *name)
{
    blocked out;
    uint8_t raw[512 * sizeof(float)];
    const int there = golden_blocks(type, raw), bytes = sf_dtypes[type].bytes;
    OK(sf_model_random(&c, 3, &out.model));
    sf_weight_slot *slot = calloc((size_t)sf_weight_slots_most(&c), sizeof *slot);
    const int slots = sf_weight_slots(&c, &out.model->weights, slot);
    for (int fill = 0; fill < 2; fill++) {
        int64_t at = 0;
        uint32_t seed = 5;
        for (int i = 0; i < slots; i++) {
            sf_tensor *t = slot[i].at;
            if (slot[i].rank != 2 || slot[i].layer < 0 || t->dim[1] % sf_dtypes[type].block) continue;
            if (name ? !strstr(slot[i].gguf, name) : strstr(slot[i].gguf, "attn_q") || strstr(slot[i].gguf, "attn_k") || strstr(slot[i].gguf, "gate_inp"))
                continue;
            const int64_t blocks = t->dim[0] * t->dim[1] / sf_dtypes[type].block;
            for (int64_t k = 0; fill && k < blocks; k++) {
                seed = seed * 1664525u + 1013904223u;
                memcpy(out.weights + (at + k) * bytes, raw + (seed >> 16) % (uint32_t)there * (uint32_t)bytes, (size_t)bytes);
            }
            if (fill) t->data = out.weights + at * bytes, t->dtype = type;
            at += blocks;
        }
        assert_true(at > 0);
        if (!fill) out.weights = malloc((size_t)(at * bytes));
    }
    free(slot);
    return out;
}

static void free_blocked(blocked *b)
{
    sf_model_close(b->model);
    free(b->weights);
}

/* Rows and columns of every type of blocks: cut between two of them, or, over four ranks, refused. Few different blocks make sums that cancel,
 * so that rounding shows; a row that is cut elsewhere changes logits as a whole. */
static void blocks(void **state)
{
    (void)state;
    for (int mixture = 0; mixture < 2; mixture++)
        for (sf_dtype type = 0; type < SF_DTYPES; type++) {
            const int block = sf_dtypes[type].block;
            if (block == 1 || (mixture && type % 3)) continue;
            sf_model_config c = mixture ? config_of("tests/golden/model/seeded/qwen2_moe/config.json") : shape(LLAMA);
            const int columns = block == 256 ? 2 * block : 4 * block;
            c.layers = 1, c.d = block, c.heads = 4, c.kv_heads = 2, c.head_dim = columns / 4;
            if (mixture) c.expert_mlp = c.shared_mlp = columns;
            else c.mlp = columns;
            blocked b = new_blocked(c, type, NULL);
            assert_int_equal(compare_model(sf_dtypes[type].name, b.model, 1e-3), block == 256 ? 2 : 3);
            free_blocked(&b);
        }
}

/* A cut through a block, in each matrix of which columns are cut, is refused by all ranks, before any weight is read. */
static void cut_blocks(void **state)
{
    (void)state;
    static const char *const CUT[] = {"attn_output.weight", "ffn_down.weight", "ffn_down_exps.weight", "ffn_down_shexp.weight"};
    for (int what = 0; what < 4; what++)
        for (sf_dtype type = 0; type < SF_DTYPES; type++) {
            const int block = sf_dtypes[type].block, columns = (type % 2 ? 3 : 1) * block;
            char expected[3][160];
            rank r[2];
            if (block == 1) continue;
            sf_model_config c = what >= 2 ? config_of("tests/golden/model/seeded/qwen2_moe/config.json") : shape(LLAMA);
            c.layers = 1;
            if (what == 0) c.head_dim = columns / c.heads;
            if (what == 1) c.mlp = columns;
            if (what == 2) c.expert_mlp = columns;
            if (what == 3) c.shared_mlp = columns;
            blocked b = new_blocked(c, type, CUT[what]);
            snprintf(expected[0], sizeof expected[0], "blk.0.%s (%s): ", CUT[what], sf_dtypes[type].name);
            snprintf(expected[1], sizeof expected[1], "%d columns a rank cut through its blocks of %d", columns / 2, block);
            snprintf(expected[2], sizeof expected[2], "model '%s'", c.name);
            split(2, 1, "cpu", b.model, TOKENS + NEXT, read_rank, NULL, (void *[]){NULL, NULL}, r);
            for (int i = 0; i < 3; i++) {
                assert_error(sf_part_check(b.model, 2), expected[i]);
                for (int k = 0; k < 2; k++)
                    if (r[k].status != SF_UNSUPPORTED || !strstr(r[k].error, expected[i])) fail_msg("rank %d: %s", k, r[k].error);
            }
            OK(sf_part_check(b.model, 1));
            free_blocked(&b);
        }
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
                if ((!m->prefill && !m->compress && !m->decode) || m->weights) continue; /* weights are not split */
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
                split(ranks, 1, on, model, MOST_TOKENS, run_lanes, NULL, out, r);
                for (int k = 0; k < ranks; k++) {
                    if (r[k].status == SF_UNSUPPORTED) { /* by all alike, and by name */
                        assert_string_equal(r[k].error, r[0].error);
                        assert_non_null(strstr(r[k].error, m->name));
                        if (k == 0) printf("             %s over %d ranks: %s\n", m->name, ranks, r[0].error);
                        continue;
                    }
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
        split(2, 1, "cpu", model, MOST_TOKENS, run_twice, NULL, out, r);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(r[k].status, SF_BAD_INPUT);
            const char *expected = i == 0 ? "'broken', prefill at layer 1: the hook of these heads" : "has to say so (`across`)";
            if (!strstr(r[k].error, expected)) fail_msg("rank %d: %s", k, r[k].error);
        }
    }
    sf_model_close(model);
}

/* What has no divisor is refused by name. */
static void refusals(void **state)
{
    (void)state;
    sf_model_config c = shape(LLAMA), part;
    assert_error(sf_config_part(&c, 0, 3, &part), "4 query heads cannot be split over 3 ranks");
    c.mlp = 49;
    assert_error(sf_config_part(&c, 0, 2, &part), "an MLP of 49");
    c.mlp = 48, c.router.experts = 4, c.expert_mlp = 33;
    assert_error(sf_config_part(&c, 0, 2, &part), "an MLP of 33 of each expert");
    c.expert_mlp = 32, c.shared_mlp = 7;
    assert_error(sf_config_part(&c, 0, 2, &part), "an MLP of 7 of each expert (of the shared one)");
    c.shared_mlp = 0, c.router.experts = 0;
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

/* ---- GPUs: two ranks, on one or on two of them ------------------------------------------------------------------------ */

/* How far two ranks on GPUs come from one. */
struct apart {
    int tried, same; /* models, and those whose greedy tokens are equal */
    double most;     /* largest difference of logits, as a share of the largest logit */
};

/* Sums over ranks round otherwise than one product does; bf16 then carries the difference on. */
static void compare_on_gpus(const char *path, const sf_model *m, struct apart *all)
{
    sf_model_config config;
    sf_backend b;
    sf_engine *e;
    const size_t size = (size_t)TOKENS * (size_t)m->config.vocab;
    OK(sf_backend_open(GPU, 1, &b));
    sf_status status = sf_config_part(&m->config, 0, 2, &config);
    if (status == SF_OK) status = sf_engine_open(&b, m, TOKENS + NEXT, &e);
    if (status != SF_OK) {
        if (status != SF_UNSUPPORTED) fail_msg("%s: %s", path, sf_error());
        printf("             %s: %s\n", path, sf_error());
        sf_backend_close(&b);
        return;
    }
    answer whole = {.logits = malloc(size * sizeof(float))}, part[2];
    rank r[2];
    for (int k = 0; k < 2; k++) part[k] = (answer){.logits = malloc(size * sizeof(float))};
    OK(read_on(m, e, &whole));
    sf_engine_close(e);
    sf_backend_close(&b);
    split(2, 1, GPU, m, TOKENS + NEXT, read_rank, NULL, (void *[]){&part[0], &part[1]}, r);
    for (int k = 0; k < 2; k++)
        if (r[k].status != SF_OK) fail_msg("%s, rank %d: %s", path, k, r[k].error);
    const size_t vocab = (size_t)m->config.vocab;
    double worst = 0, largest = 0;
    int far = 0; /* rows: of a mixture, those for which two experts were as good as one another */
    for (size_t k = 0; k < size; k++) largest = fmax(largest, fabs((double)whole.logits[k]));
    for (size_t row = 0; row < TOKENS; row++) {
        double here = 0;
        for (size_t k = row * vocab; k < (row + 1) * vocab; k++) here = fmax(here, fabs((double)part[0].logits[k] - whole.logits[k]));
        if (!(here <= 0.03 * largest)) far++;
        else worst = fmax(worst, here);
    }
    bool equal = part[0].n == whole.n && memcmp(part[0].next, whole.next, (size_t)whole.n * sizeof *whole.next) == 0;
    printf("             %s: logits differ by %.1e of %.1f, in %d rows of %d by more than 3 %%; greedy tokens %s\n", path, worst, largest, far,
           TOKENS, equal ? "equal" : "differ");
    if (memcmp(part[0].logits, part[1].logits, size * sizeof(float)) != 0) fail_msg("%s: the ranks differ", path);
    if (far > (m->config.router.experts ? TOKENS / 4 : 0)) fail_msg("%s: logits of %d rows of %d differ", path, far, TOKENS);
    all->tried++, all->same += equal;
    all->most = fmax(all->most, worst / largest);
    free(whole.logits), free(part[0].logits), free(part[1].logits);
}

static void families_on_gpus(void **state)
{
    (void)state;
    glob_t found;
    struct apart all = {0};
    if (!gpu_there()) skip();
    print_team(2, 1);
    assert_int_equal(glob("tests/golden/model/*/config.json", 0, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/model/seeded/*/config.json", GLOB_APPEND, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        sf_model *m;
        if (strstr(path, "/seeded/")) {
            m = new_split_family(config_of(path));
        } else {
            char folder[256];
            snprintf(folder, sizeof folder, "%.*s", (int)(strlen(path) - strlen("/config.json")), path);
            OK(sf_model_open(folder, &m));
        }
        if (!m->config.latent && !m->config.value_norm) compare_on_gpus(path, m, &all);
        sf_model_close(m);
    }
    globfree(&found);
    printf("             %d models, greedy tokens equal in %d; logits differ by at most %.1e of the largest\n", all.tried, all.same, all.most);
    assert_true(all.tried >= 20);
    assert_true(all.same >= all.tried * 8 / 10);
}

enum { SAMPLES = 100, SAMPLE = 512, ANSWER = 24, ARMS = 3, STRIDE = 64 };
typedef struct sampled {
    int32_t token[SAMPLE], next[ARMS][ANSWER];
    sf_meter meter[ARMS];
    float *logits; /* [SAMPLE / STRIDE, vocab] of every STRIDE-th token */
} sampled;

static sf_status answer_samples(const sf_model *m, sf_engine *e, sampled *s)
{
    static const arm ARM[ARMS] = {{NULL, NULL}, {NULL, "quest budget=96"}, {NULL, "snapkv capacity=64"}};
    const size_t vocab = (size_t)m->config.vocab;
    float *logits = malloc(SAMPLE * vocab * sizeof *logits);
    sf_status status = logits ? SF_OK : sf_fail(SF_NO_MEMORY, "logits of a sample");
    for (int i = 0; i < SAMPLES && status == SF_OK; i++) {
        _Alignas(8) char params[ARMS][PARAMS] = {{0}};
        sf_lane lane[ARMS] = {{0}};
        const sf_generation how = {.max_output = ANSWER};
        for (int k = 0; k < ARMS; k++) {
            memset(s[i].next[k], 0xff, sizeof s[i].next[k]);
            lane[k] = (sf_lane){.decode = method_of(ARM[k].decode, params[k]), .decode_params = params[k], .output = s[i].next[k]};
        }
        status = sf_engine_generate(e, s[i].token, SAMPLE, &how, ARMS, lane);
        if (status == SF_OK) status = sf_engine_logits(e, s[i].token, SAMPLE, logits);
        for (int k = 0; k < ARMS; k++) s[i].meter[k] = lane[k].meter;
        for (int row = 0; row < SAMPLE / STRIDE; row++)
            memcpy(s[i].logits + (size_t)row * vocab, logits + (size_t)(row * STRIDE + STRIDE - 1) * vocab, vocab * sizeof *logits);
    }
    free(logits);
    return status;
}

static sf_status answer_rank(rank *r, sf_engine *e) { return answer_samples(r->model, e, r->out); }

/* A hundred stretches of a text, as long as there are so many. */
static void read_text(const sf_model *m, sampled *s)
{
    static char text[1 << 20];
    int32_t *id;
    int n;
    FILE *f = fopen("tasks/data/haystack.txt", "r");
    assert_non_null(f);
    size_t bytes = fread(text, 1, sizeof text, f);
    fclose(f);
    OK(sf_encode(m->tokenizer, text, bytes, false, &id, &n));
    assert_true(n > SAMPLE + SAMPLES);
    for (int i = 0; i < SAMPLES; i++) memcpy(s[i].token, id + (int64_t)(n - SAMPLE) * i / SAMPLES, sizeof s[i].token);
    free(id);
}

/* The embedded model's answers. Where greedy tokens differ, two logits were closer than the rounding; counts never do until then. */
static void embedded_model_on_gpus(void **state)
{
    (void)state;
    if (!gpu_there()) skip();
    sf_model *m;
    sf_backend b;
    sf_engine *e;
    rank r[2];
    sampled *of[3];
    OK(sf_model_open("models/frontier-mini/l", &m));
    const size_t size = SAMPLE / STRIDE * (size_t)m->config.vocab;
    for (int k = 0; k < 3; k++) {
        of[k] = calloc(SAMPLES, sizeof *of[k]);
        read_text(m, of[k]);
        for (int i = 0; i < SAMPLES; i++) of[k][i].logits = malloc(size * sizeof(float));
    }
    OK(sf_backend_open(GPU, 1, &b));
    OK(sf_engine_open(&b, m, SAMPLE + ANSWER, &e));
    OK(answer_samples(m, e, of[2]));
    sf_engine_close(e);
    sf_backend_close(&b);
    split(2, 1, GPU, m, SAMPLE + ANSWER, answer_rank, NULL, (void *[]){of[0], of[1]}, r);
    for (int k = 0; k < 2; k++)
        if (r[k].status != SF_OK) fail_msg("rank %d: %s", k, r[k].error);

    int same[ARMS] = {0}, counts[ARMS] = {0};
    double worst = 0, largest = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const sampled *x = &of[0][i], *y = &of[2][i];
        if (memcmp(x->logits, of[1][i].logits, size * sizeof(float)) != 0) fail_msg("sample %d: the ranks differ", i);
        for (int k = 0; k < ARMS; k++) {
            bool equal = memcmp(x->next[k], y->next[k], sizeof x->next[k]) == 0, counted = memcmp(&x->meter[k], &y->meter[k], sizeof x->meter[k]) == 0;
            same[k] += equal, counts[k] += counted;
            if (equal && !counted) fail_msg("sample %d, arm %d: the same tokens, other counts", i, k);
        }
        for (size_t v = 0; v < size; v++) {
            worst = fmax(worst, fabs((double)x->logits[v] - y->logits[v]));
            largest = fmax(largest, fabs((double)y->logits[v]));
        }
    }
    for (int k = 0; k < ARMS; k++)
        printf("             frontier-mini/l, %s: %d tokens equal in %d of %d samples, counts in %d\n", (const char *[]){"dense", "quest", "snapkv"}[k],
               ANSWER, same[k], SAMPLES, counts[k]);
    printf("             frontier-mini/l: logits differ by at most %.1e of %.1f\n", worst, largest);
    assert_true(worst <= 0.03 * largest);
    assert_true(same[0] >= SAMPLES * 8 / 10);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < SAMPLES; i++) free(of[k][i].logits);
        free(of[k]);
    }
    sf_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models),
        cmocka_unit_test(seeded_families),
        cmocka_unit_test(blocks),
        cmocka_unit_test(cut_blocks),
        cmocka_unit_test(every_method),
        cmocka_unit_test(failures),
        cmocka_unit_test(refusals),
        cmocka_unit_test(nccl_of_one),
        cmocka_unit_test(families_on_gpus),
        cmocka_unit_test(embedded_model_on_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
