/* Results with known truth, as a file or in memory: scores are drawn with a chance of success that is a logistic
 * function of model size, task, length and what the method leaves out. */
#ifndef SYNTHETIC_RESULTS_H
#define SYNTHETIC_RESULTS_H

#include "base/heap.h"
#include "base/splitmix.h"
#include "harness/store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct synthetic {
    int models, tasks, lengths, levels, samples; /* sizes of the grid, up to those of the tables below */
    bool prefill, decode, joint, ablation, more; /* arms; more: three further ones */
    bool maps;
    double gain;   /* multiplies what sparsity costs; 0: sparsity changes nothing */
    double faults; /* share of unparseable and cut-off answers */
};

static const struct {
    const char *name;
    int layers, d, heads, kv_heads, mlp;
    double parameters, skill;
} synthetic_model[] = {{"mini-8m", 6, 256, 4, 2, 1024, 8e6, 0.2},
                       {"mini-30m", 8, 512, 8, 2, 2048, 30e6, 1.2},
                       {"mini-110m", 12, 768, 12, 4, 3072, 110e6, 2.2}};
static const struct {
    const char *name, *metric;
    int dispersion, scope, natural, steps;
    double easy;
} synthetic_task[] = {{"niah", "exact", 0, 0, 0, 4, 1.2},
                      {"vt", "IoU", 1, 0, 0, 5, -0.2},
                      {"cwe", "IoU", 0, 1, 0, 10, -0.6},
                      {"story_retrieval", "exact", 0, 0, 1, 16, 0.9},
                      {"story_multihop", "exact", 1, 0, 1, 1, -0.5},
                      {"story_filtering", "IoU", 0, 1, 1, 3, -0.2},
                      {"qa_squad", "F1", 0, 0, 1, 8, 0.4}};
static const struct {
    const char *label, *method, *params;
    int phase;
    double hurt, estimation;
} synthetic_arm[] = {{"vertical_slash", "vertical_slash", "{\"window\":256}", SF_PREFILL, 0.9, 0.02},
                     {"block_sparse", "block_sparse", "{\"block\":16}", SF_PREFILL, 1.3, 0.05},
                     {"quest", "quest", "{\"page\":16}", SF_DECODE, 0.6, 0.06},
                     {"snapkv", "snapkv", "{\"window\":256,\"kernel\":21}", SF_DECODE, 1.6, 0.01},
                     {"quest(page=64)", "quest", "{\"page\":64}", SF_DECODE, 1.0, 0.02},
                     {"flex_prefill", "flex_prefill", "{}", SF_PREFILL, 0.8, 0.05},
                     {"ada_snapkv", "ada_snapkv", "{}", SF_DECODE, 1.4, 0.01},
                     {"streaming", "streaming", "{}", SF_DECODE, 2.2, 0}};
enum { SYNTHETIC_ARMS = sizeof synthetic_arm / sizeof *synthetic_arm, SYNTHETIC_QUEST_64 = 4 };
static const double synthetic_level[] = {0.5, 0.7, 0.8, 0.9, 0.95, 0.6};
static const int synthetic_length[] = {1024, 4096, 16384, 2048, 8192};

static double synthetic_uniform(uint64_t *state)
{
    return (double)(sf_splitmix_next(state) >> 11) / 9007199254740992.0;
}

struct synthetic_lane {
    int arm[SF_PHASES];
    double sparsity[SF_PHASES];
};

static int synthetic_lanes(const struct synthetic *s, struct synthetic_lane *lane)
{
    int n = 0;
    lane[n++] = (struct synthetic_lane){{-1, -1}, {0, 0}};
    for (int a = 0; a < SYNTHETIC_ARMS; a++)
        for (int l = 0; l < s->levels; l++) {
            int phase = synthetic_arm[a].phase;
            if (!(phase == SF_PREFILL ? s->prefill : s->decode) || (a == SYNTHETIC_QUEST_64 && !s->ablation) ||
                (a > SYNTHETIC_QUEST_64 && !s->more))
                continue;
            lane[n] = (struct synthetic_lane){{-1, -1}, {0, 0}};
            lane[n].arm[phase] = a;
            lane[n++].sparsity[phase] = synthetic_level[l];
        }
    for (int l = 0; l < s->levels && s->joint; l++)
        for (int m = 0; m < s->levels; m++)
            lane[n++] = (struct synthetic_lane){{0, 2}, {synthetic_level[l], synthetic_level[m]}};
    return n;
}

/* Keys are read from the latest on, as many as the budget has; of dense, attention falls with distance. Ten steps of
 * decode. */
static void synthetic_picture(sf_picture *p, int phase, int tokens, double sparsity, bool dense)
{
    enum { N = SF_PICTURE_SIDE };
    *p = (sf_picture){.layer = 3, .head = 1, .queries = phase ? 20 : tokens, .keys = tokens + (phase ? 20 : 0)};
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++) {
            int last = phase ? N - 1 : y;
            bool there = x <= last && (!phase || y < 10);
            p->at[y][x] = !there ? NAN : dense ? (float)pow(0.5, 1 + last - x) : last - x < (1 - sparsity) * N;
        }
}

/* Where the records of one sample of all cells of a model, length and task go. */
typedef sf_status synthetic_sink(void *user, int cells, const sf_cell_info *cell, const sf_record *record);

static sf_status synthetic_each(const struct synthetic *s, synthetic_sink *sink, void *user)
{
    enum { LANES = 96, HEADS = 12 * 12 };
    static float map[LANES][6][HEADS];
    static sf_profile along[LANES][SF_PHASES];
    static char text[LANES][64];
    static sf_picture picture[LANES][SF_PHASES];
    sf_status status = SF_OK;
    struct synthetic_lane lane[LANES];
    int lanes = synthetic_lanes(s, lane);
    for (int m = 0; m < s->models; m++)
        for (int l = 0; l < s->lengths; l++)
            for (int t = 0; t < s->tasks; t++)
                for (int i = 0; i < s->samples && status == SF_OK; i++) {
                    sf_cell_info cell[LANES];
                    sf_record record[LANES];
                    uint64_t shared = sf_mix((uint64_t)(((m * 10 + l) * 10 + t) * 100000 + i));
                    double hard = 1.2 * (synthetic_uniform(&shared) + synthetic_uniform(&shared) - 1);
                    double common[16];
                    for (int k = 0; k < synthetic_task[t].steps; k++) common[k] = synthetic_uniform(&shared);
                    for (int c = 0; c < lanes; c++) {
                        const double length = synthetic_length[l], d = synthetic_model[m].d,
                                     N = synthetic_model[m].layers;
                        const double heads = synthetic_model[m].heads, kv = synthetic_model[m].kv_heads, D = 64;
                        uint64_t own = sf_mix(shared + (uint64_t)c * 77);
                        double penalty = 0;
                        sf_cell_info *o = &cell[c];
                        sf_record *r = &record[c];
                        *o = (sf_cell_info){.model = synthetic_model[m].name,
                                            .model_hash = "ab",
                                            .task = synthetic_task[t].name,
                                            .task_label = synthetic_task[t].name,
                                            .task_params = "{}",
                                            .metric = synthetic_task[t].metric,
                                            .length = synthetic_length[l],
                                            .output_limit = 64,
                                            .layers = (int)N,
                                            .heads = (int)heads,
                                            .kv_heads = (int)kv,
                                            .head_dim = 64,
                                            .d = (int)d,
                                            .mlp = synthetic_model[m].mlp,
                                            .vocab = 8192,
                                            .parameters = synthetic_model[m].parameters,
                                            .weight_elements = synthetic_model[m].parameters,
                                            .dispersion = synthetic_task[t].dispersion,
                                            .scope = synthetic_task[t].scope,
                                            .natural = synthetic_task[t].natural,
                                            .device = "cpu",
                                            .dtype = "f32",
                                            .seed = 43,
                                            .version = {"", ""},
                                            .kind = {"", ""},
                                            .chat = "",
                                            .positions = "",
                                            .doubts = ""};
                        snprintf(o->key, sizeof o->key, "%08x%08x%08x%08x", (unsigned)m, (unsigned)l, (unsigned)t,
                                 (unsigned)c);
                        *r = (sf_record){.sample = i,
                                         .input_tokens = (int)(length * (0.95 + 0.05 * common[0])),
                                         .output_tokens = 20,
                                         .bos_tokens = 1,
                                         .prompt_hash = shared | 1,
                                         .prediction = text[c],
                                         .gold = "[\"x\"]"};
                        for (int p = 0; p < SF_PHASES; p++) {
                            int a = lane[c].arm[p];
                            o->method[p] = a < 0 ? "dense" : synthetic_arm[a].method;
                            o->label[p] = a < 0 ? "dense" : synthetic_arm[a].label;
                            o->params[p] = a < 0 ? "{}" : synthetic_arm[a].params;
                            o->sparsity[p] = lane[c].sparsity[p];
                            double kept = 1 - lane[c].sparsity[p] * (0.99 + 0.01 * synthetic_uniform(&own)),
                                   tokens = r->input_tokens;
                            r->achieved[p] = 1 - kept;
                            double kl = a < 0 ? 0 : -synthetic_arm[a].hurt * log(kept) * (0.9 + 0.2 * common[0]);
                            r->diverged[p] = (sf_diverged){2 + kl, 2, kl, exp(-kl), exp(kl)};
                            if (a >= 0)
                                penalty += s->gain * synthetic_arm[a].hurt * pow(-log10(kept), 1.8) *
                                           (1 + synthetic_task[t].dispersion + 0.7 * synthetic_task[t].scope) *
                                           pow(1024 / length, 0.25);
                            double attention = heads * tokens * tokens * (4 * D + 3) * N,
                                   linear = 2 * tokens * synthetic_model[m].parameters;
                            r->cost_paper[p] = p ? synthetic_model[m].parameters + 2 * N * tokens * D * kv * kept
                                                 : linear + attention * kept;
                            r->cost_exact[p] = p ? synthetic_model[m].parameters + 1.5 * N * tokens * D * kv * kept : linear + attention * kept / 2;
                            double share = a < 0 ? 0 : synthetic_arm[a].estimation;
                            r->seconds[p] = (p ? 20 * r->cost_paper[p] * 4e-10 : r->cost_exact[p] * 5e-12) *
                                            (1 + share) * (0.95 + 0.1 * synthetic_uniform(&own));
                            r->meter.at[p][SF_LINEAR].flops = (uint64_t)linear;
                            r->meter.at[p][SF_ATTENTION].flops = (uint64_t)(attention * kept / 2);
                            r->meter.at[p][SF_ESTIMATION].flops = (uint64_t)(share * (linear + attention));
                            if (s->maps) {
                                for (int h = 0; h < N * heads; h++) {
                                    double wave = 0.5 + 0.5 * sin(h * 0.7 + (int)(h / heads) * 0.4);
                                    map[c][p][h] = (float)(a < 0 ? 1 : fmin(1, kept * (0.5 + wave)));
                                    map[c][2 + p][h] = (float)(a < 0 ? 1
                                                                     : 1 - pow(1 - kept, 3) * (0.3 + 0.5 * wave) *
                                                                               synthetic_arm[a].hurt * 0.5);
                                }
                                r->density[p] = map[c][p];
                                if (a >= 0) r->recall[p] = map[c][2 + p];
                                for (int h = 0; h < N * heads; h++) map[c][4 + p][h] = 2 * (1 - map[c][2 + p][h]);
                                r->error[p] = map[c][4 + p];
                                for (int k = 0; k < SF_STRETCHES; k++) {
                                    const float there = (float)kl * (0.5f + (float)k / SF_STRETCHES);
                                    along[c][p].kl[k] = there;
                                    along[c][p].dense_nll[k] = 2;
                                    along[c][p].nll[k] = 2 + there;
                                }
                                r->along[p] = &along[c][p];
                            }
                        }
                        double logit = synthetic_model[m].skill + synthetic_task[t].easy -
                                       0.5 * log2(length / 1024) / 2 - hard - penalty,
                               right = 0;
                        for (int k = 0; k < synthetic_task[t].steps; k++) {
                            double u = synthetic_uniform(&own) < 0.15 ? synthetic_uniform(&own)
                                                                      : common[k]; /* mostly paired */
                            right += u < 1 / (1 + exp(-logit));
                        }
                        r->depth = synthetic_task[t].steps < 5 ? common[0] : NAN;
                        for (int p = 0; p < SF_PHASES && s->maps && i == 0; p++) {
                            if (c && lane[c].arm[p] < 0) continue;
                            synthetic_picture(&picture[c][p], p, r->input_tokens, lane[c].sparsity[p], c == 0);
                            r->picture[p] = &picture[c][p];
                        }
                        r->strict = right / synthetic_task[t].steps;
                        r->parsed = synthetic_uniform(&own) >= s->faults;
                        r->truncated = synthetic_uniform(&own) < s->faults;
                        if (!r->parsed) r->strict = 0;
                        r->reference = r->parsed ? r->strict : NAN;
                        snprintf(text[c], sizeof text[c], "<answer>%d</answer>", (int)right);
                    }
                    status = sink(user, lanes, cell, record);
                }
    return status;
}

static const sf_run_info synthetic_run = {.config = "name: synthetic\n",
                                          .revision = "v0",
                                          .host = "nowhere",
                                          .versions = "{\"hdf5\":\"1.10\"}",
                                          .started = "2025-01-01T00:00:00Z",
                                          .seconds = 1234,
                                          .batch = 64,
                                          .cells = ""};

static inline sf_status synthetic_store(void *store, int cells, const sf_cell_info *cell, const sf_record *record)
{
    return sf_store_add(store, cells, cell, record);
}

static inline sf_status synthetic_write(const char *path, const struct synthetic *s)
{
    sf_store *store;
    sf_status status = sf_store_open(path, true, &store);
    if (status != SF_OK) return status;
    status = synthetic_each(s, synthetic_store, store);
    if (status == SF_OK) status = sf_store_fold(store, &synthetic_run);
    sf_store_close(store);
    return status;
}

/* ---- The same without a file: what reading it would give, but for the order of cells ---- */

static inline void *synthetic_copy(sf_results *r, const void *of, size_t bytes)
{
    void *copy = of ? sf_heap_alloc(r->arena, bytes) : NULL;
    if (copy) memcpy(copy, of, bytes);
    return copy;
}

static inline sf_status synthetic_keep(void *results, int cells, const sf_cell_info *cell, const sf_record *record)
{
    sf_results *r = results;
    int first = record->sample == 0 ? r->cells : r->cells - cells; /* the cells of a group stand together */
    for (int c = 0; c < cells; c++) {
        int at = first + c, n = r->records[at];
        const size_t floats = (size_t)cell[c].layers * (size_t)cell[c].heads;
        if (record->sample == 0) r->cell[r->cells++] = cell[c];
        if ((n & (n - 1)) == 0) { /* room doubles */
            sf_record *grown = sf_heap_alloc(r->arena, (size_t)(n ? 2 * n : 1) * sizeof *grown);
            if (!grown) return SF_NO_MEMORY;
            if (n) memcpy(grown, r->record[at], (size_t)n * sizeof *grown);
            r->record[at] = grown;
        }
        sf_record *out = &r->record[at][r->records[at]++];
        *out = record[c];
        out->prediction = sf_heap_text(r->arena, record[c].prediction, strlen(record[c].prediction));
        for (int p = 0; p < SF_PHASES; p++) {
            out->picture[p] = synthetic_copy(r, record[c].picture[p], sizeof(sf_picture));
            const float *const one[] = {record[c].density[p], record[c].recall[p], record[c].error[p], (const float *)record[c].along[p]};
            sf_maps *all = &r->mean[at];
            const float **const means[] = {&all->density[p], &all->recall[p], &all->error[p], (const float **)&all->along[p]};
            for (int kind = 0; kind < 4; kind++) {
                const float *map = one[kind], **mean = means[kind];
                const size_t n_floats = kind == 3 ? sizeof(sf_profile) / sizeof(float) : floats;
                if (!map) continue;
                if (!*mean) *mean = sf_heap_alloc(r->arena, n_floats * sizeof **mean);
                for (size_t i = 0; i < n_floats; i++) ((float *)*mean)[i] += (map[i] - (*mean)[i]) / (float)(n + 1);
            }
            out->density[p] = out->recall[p] = out->error[p] = NULL, out->along[p] = NULL; /* as read without SF_READ_MAPS */
        }
    }
    return SF_OK;
}

static inline sf_status synthetic_make(const struct synthetic *s, sf_results *out)
{
    struct synthetic_lane lane[96];
    size_t cells = (size_t)s->models * s->tasks * s->lengths * synthetic_lanes(s, lane);
    sf_heap *heap = calloc(1, sizeof *heap);
    *out = (sf_results){.arena = heap, .runs = 1};
    out->run = synthetic_copy(out, &synthetic_run, sizeof synthetic_run);
    out->cell = sf_heap_alloc(heap, cells * sizeof *out->cell);
    out->records = sf_heap_alloc(heap, cells * sizeof *out->records);
    out->record = sf_heap_alloc(heap, cells * sizeof *out->record);
    out->mean = sf_heap_alloc(heap, cells * sizeof *out->mean);
    return synthetic_each(s, synthetic_keep, out);
}

#endif
