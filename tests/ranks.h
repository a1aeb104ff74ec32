/* What the tests of split models share: ranks that are threads, what each of them is asked, models that can be split. */
#ifndef SF_TESTS_RANKS_H
#define SF_TESTS_RANKS_H

#include "tests/testing.h"

#include "harness/engine/engine.h"
#include "harness/model/hf.h"
#include "kernels/comm.h"

#ifndef GPU
#define GPU "cuda" /* -DGPU='"cpu"' tries these tests without one */
#endif
enum { MOST_RANKS = 4 };

/* What every rank does, each on its own backend. */
typedef struct rank {
    const sf_model *model;
    int max_tokens;
    sf_status (*work)(struct rank *r, sf_engine *e);
    const void *with;
    void *out;
    sf_status status;
    char error[512];
} rank;

static inline sf_status be_rank(sf_backend *b, void *ranks)
{
    rank *r = (rank *)ranks + sf_comm_rank(b);
    sf_engine *e = NULL;
    r->status = sf_engine_open(b, r->model, r->max_tokens, &e);
    if (r->status == SF_OK) r->status = r->work(r, e);
    snprintf(r->error, sizeof r->error, "%s", r->status != SF_OK ? sf_error() : "");
    sf_engine_close(e);
    return SF_OK;
}

/* Does work() on tensor × pipeline of them; out[r]: the r-th one's. */
static inline void split(int tensor, int pipeline, const char *device, const sf_model *model, int max_tokens,
                         sf_status (*work)(rank *r, sf_engine *e), const void *with, void *const *out, rank *r)
{
    for (int i = 0; i < tensor * pipeline; i++)
        r[i] = (rank){.model = model, .max_tokens = max_tokens, .work = work, .with = with, .out = out[i]};
    OK(sf_comm_team(tensor, pipeline, device, 1, be_rank, r));
}

enum { TOKENS = 96, NEXT = 8 };

typedef struct answer {
    float *logits; /* [TOKENS, vocab] */
    int32_t next[NEXT];
    int n;
    sf_meter meter;
} answer;

static inline sf_status read_on(const sf_model *m, sf_engine *e, answer *out)
{
    int32_t token[TOKENS];
    for (int i = 0; i < TOKENS; i++) token[i] = (int32_t)((uint32_t)i * 2654435761u >> 8) % m->config.vocab;
    sf_lane lane = {.output = out->next};
    const sf_generation how = {.max_output = NEXT};
    SF_TRY(sf_engine_logits(e, token, TOKENS, out->logits));
    SF_TRY(sf_engine_generate(e, token, TOKENS, &how, 1, &lane));
    out->n = lane.outputs;
    out->meter = lane.meter;
    return SF_OK;
}

static inline sf_status read_rank(rank *r, sf_engine *e) { return read_on(r->model, e, r->out); }

/* A random model of the family's build, with heads that two and four ranks can share. */
static inline sf_model *new_split_family(sf_model_config c)
{
    sf_model *m;
    c.heads = 8, c.kv_heads = c.latent ? 1 : 2;
    c.mlp = (c.mlp + 3) / 4 * 4, c.expert_mlp = (c.expert_mlp + 3) / 4 * 4, c.shared_mlp = (c.shared_mlp + 3) / 4 * 4;
    OK(sf_model_random(&c, 3, &m));
    return m;
}

/* Of a family whose golden checkpoint comes from a seed. */
static inline sf_model_config config_of(const char *path)
{
    sf_model_config c = {0};
    sf_doubts doubts = {0};
    bool multimodal;
    json_t *json = json_load_file(path, 0, NULL);
    OK(sf_hf_config(json, path, &c, &multimodal, &doubts));
    json_decref(json);
    return c;
}

static inline bool gpu_there(void)
{
    sf_backend b;
    if (sf_backend_open(GPU, 0, &b) != SF_OK) {
        printf("skipped: %s\n", sf_error());
        return false;
    }
    sf_backend_close(&b);
    return true;
}

static inline sf_status name_comm(sf_backend *b, void *name)
{
    if (sf_comm_rank(b) == 0) *(const char **)name = (b->comm ? b->comm : b->stages)->ops->name;
    return SF_OK;
}

/* What a rank says with one GPU for all, or one for each. */
static inline void print_team(int tensor, int pipeline)
{
    const char *name = NULL;
    OK(sf_comm_team(tensor, pipeline, GPU, 1, name_comm, &name));
    printf("             two ranks on %s, by %s\n", GPU, name);
}

#endif
