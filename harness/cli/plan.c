#include <cblas.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/cli/cli.h"
#include "harness/model/cost.h"
#include "harness/cli/plan_cluster.h"
#include "harness/run/dispatch.h"
#include "harness/run/progress.h"
#include "harness/run/study.h"
#include "harness/run/schedule.h"
#include "harness/run/spread.h"

static const struct argp_option options[] = {
    {"set", 's', "KEY=VALUE", 0, "override a key of the config (repeatable)", 0},
    {"out", 'o', "FILE", 0, "results of which it says what is stored (default: results/NAME.h5)", 0},
    {"only", 'O', "CELLS", 0, "these cells alone, as `run --only`", 0},
    {"cluster", 'c', "NxG:KIND", 0, "what it takes on N nodes of G GPUs, e.g. 4x8:h200: hours, GPU hours, what does not fit", 0},
    {"measured", 'M', "FILE", 0, "with --cluster: seconds of cells from this results file, where it has them", 0},
    {"json", 'j', NULL, 0, "print JSON", 0},
    {0},
};

struct args { const char *config, *out, *only, *cluster, *measured; sf_strings set; bool json; };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 's': sf_strings_add(state, &a->set, arg); return 0;
    case 'o': a->out = arg; return 0;
    case 'O': a->only = arg; return 0;
    case 'j': a->json = true; return 0;
    case 'c': a->cluster = arg; return 0;
    case 'M': a->measured = arg; return 0;
    case ARGP_KEY_END:
        if (a->measured && !a->cluster) argp_error(state, "--measured is for --cluster");
        return 0;
    case ARGP_KEY_ARG: a->config = arg; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a config, e.g. configs/demo.yaml"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* What this machine multiplies per second, from a quarter of a second of matrix products: the scale of the time estimate. */
static double flops_per_second(void)
{
    enum { N = 512 };
    float *a = malloc(3 * N * N * sizeof *a);
    if (!a) return NAN;
    for (int i = 0; i < 3 * N * N; i++) a[i] = 1.0f / (float)(i % 97 + 1);
    double begun = sf_now(), done = 0;
    while (sf_now() - begun < 0.25) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1, a, N, a + N * N, N, 0, a + 2 * N * N, N);
        done += 2.0 * N * N * N;
    }
    free(a);
    return done / (sf_now() - begun);
}

struct totals {
    double prefill, decode;            /* FLOPs by formula, shared prefills once */
    long prefills, samples, input_tokens;
    size_t memory;                     /* bytes at the peak, weights as they lie in their files included */
};

/* Bytes that a run of `n` cells would hold: as many samples together as it would take. lane, kept: [n]. */
static sf_status memory_of(const sf_study *study, sf_backend *backend, const sf_cell *first, int n, const sf_lane *lane,
                           const double *kept, size_t *bytes)
{
    const sf_sweep *s = study->sweep;
    const sf_generation how = {.max_output = s->task[first->task].output, .recall_rows = s->recall_rows};
    int together = (SF_LANES_TOGETHER + n - 1) / n;
    size_t jobs = (size_t)(together < first->samples ? together : first->samples), lanes = jobs * (size_t)n;
    sf_job *job = calloc(jobs, sizeof *job);
    sf_lane *all = calloc(lanes, sizeof *all);
    double *shares = calloc(lanes, sizeof *shares);
    sf_status status = job && all && shares ? SF_OK : sf_fail(SF_NO_MEMORY, "plan: no memory for %zu lanes", lanes);
    for (size_t j = 0; status == SF_OK && j < jobs; j++) {
        memcpy(all + j * (size_t)n, lane, (size_t)n * sizeof *lane);
        memcpy(shares + j * (size_t)n, kept, (size_t)n * sizeof *kept);
        job[j] = sf_measured_job(&s->task[first->task], s->length[first->length], n, all + j * (size_t)n);
    }
    sf_fit fit = {0};
    if (status == SF_OK)
        status = sf_fit_memory(&study->model[first->model]->config, backend, (int)jobs, job, &how, shares,
                               sf_memory_limit(s, backend), &fit);
    *bytes = fit.bytes;
    free(job);
    free(all);
    free(shares);
    return status;
}

/* One model, length and task: `n` cells from `first` on. */
static sf_status add_group(const sf_study *study, sf_backend *backend, const sf_cell *first, int n, struct totals *t)
{
    const sf_sweep *s = study->sweep;
    const sf_model *model = study->model[first->model];
    const int tokens = s->length[first->length], output = s->task[first->task].output;
    sf_lane *lane = calloc((size_t)n, sizeof *lane);
    double *kept = calloc((size_t)n, sizeof *kept);
    sf_status status = lane && kept ? SF_OK : sf_fail(SF_NO_MEMORY, "plan: no memory for %d lanes", n);
    for (int i = 0; status == SF_OK && i < n; i++) {
        const sf_cell *c = &first[i];
        bool shared = false;
        for (int j = 0; j < i && !shared; j++)
            shared = sf_cell_shares_prefill(c, &first[j]);
        const int prefills = sf_study_prefills(study, c, shared);
        const double all = sf_study_work(study, c, false), one = all - sf_study_work(study, c, true); /* a prefill */
        t->decode += c->samples * (all - one * sf_study_prefills(study, c, false));
        t->prefill += c->samples * one * prefills;
        t->prefills += (long)c->samples * prefills;
        t->samples += c->samples;
        t->input_tokens += (long)c->samples * prefills * tokens;
        lane[i] = (sf_lane){.prefill = c->prefill ? c->prefill->method : NULL, .decode = c->decode ? c->decode->method : NULL, .cache = c->cache};
        status = sf_arm_fit(c->prefill, c->sparsity[SF_PREFILL], SF_PREFILL, &model->config, tokens, output,
                            (void **)&lane[i].prefill_params);
        if (status == SF_OK)
            status = sf_arm_fit(c->decode, c->sparsity[SF_DECODE], SF_DECODE, &model->config, tokens, output,
                                (void **)&lane[i].decode_params);
        kept[i] = sf_cell_kept(c);
    }
    size_t bytes = 0;
    if (status == SF_OK) status = memory_of(study, backend, first, n, lane, kept, &bytes);
    if (bytes + model->weight_bytes > t->memory) t->memory = bytes + model->weight_bytes;
    for (int i = 0; lane && i < n; i++) {
        free((void *)lane[i].prefill_params);
        free((void *)lane[i].decode_params);
    }
    free(lane);
    free(kept);
    return status;
}

static sf_status add_all(const sf_study *study, struct totals *t)
{
    sf_backend backend;
    sf_devices devices;
    SF_TRY(sf_devices_of(study->sweep->device, &devices));
    SF_TRY(sf_backend_open(devices.name[0], study->sweep->threads, &backend)); /* one stands for all */
    sf_status status = SF_OK;
    for (int at = 0, n; status == SF_OK && at < study->plan.cells; at += n) {
        const sf_cell *first = &study->plan.cell[at];
        for (n = 1; at + n < study->plan.cells && first[n].model == first->model && first[n].task == first->task &&
                    first[n].length == first->length;)
            n++;
        status = add_group(study, &backend, first, n, t);
    }
    sf_backend_close(&backend);
    return status;
}

/* What results hold of a plan: samples of each cell. */
struct stored {
    char path[4096];
    int *samples;      /* [cells of the plan]; NULL: there are no results yet */
    int cells, failed; /* whole, failed */
    long all;          /* samples */
};

static int by_key(const void *a, const void *b) { return strcmp((*(const sf_cell_info *const *)a)->key, (*(const sf_cell_info *const *)b)->key); }

static sf_status find_stored(const sf_study *study, const char *out, struct stored *s)
{
    snprintf(s->path, sizeof s->path, out ? "%s" : "results/%s.h5", out ? out : study->sweep->name);
    char parts[4200];
    snprintf(parts, sizeof parts, "%s.parts", s->path);
    if (access(s->path, F_OK) != 0 && access(parts, F_OK) != 0) return SF_OK;
    sf_results r;
    const char *path = s->path;
    SF_TRY(sf_results_read(1, &path, 0, &r));
    sf_cell_info wanted;
    const sf_cell_info **index = malloc(((size_t)r.cells + 1) * sizeof *index), *key = &wanted;
    s->samples = calloc((size_t)study->plan.cells + 1, sizeof *s->samples);
    sf_status status = index && s->samples ? SF_OK : sf_fail(SF_NO_MEMORY, "plan: no memory for %d cells", r.cells);
    for (int c = 0; status == SF_OK && c < r.cells; c++) index[c] = &r.cell[c];
    if (status == SF_OK) qsort(index, (size_t)r.cells, sizeof *index, by_key);
    for (int i = 0; status == SF_OK && i < study->plan.cells; i++) {
        const sf_cell *cell = &study->plan.cell[i];
        wanted = sf_study_cell_info(study, cell);
        const sf_cell_info **found = bsearch(&key, index, (size_t)r.cells, sizeof *index, by_key);
        const int c = found ? (int)(*found - r.cell) : -1;
        for (int k = 0; c >= 0 && k < r.records[c]; k++) s->samples[i] += r.record[c][k].sample < cell->samples;
        s->all += s->samples[i];
        s->cells += s->samples[i] == cell->samples;
        for (int f = 0; f < r.failures; f++) s->failed += strcmp(r.failure[f].key, wanted.key) == 0;
    }
    free(index);
    sf_results_free(&r);
    return status;
}

static void print_text(const sf_study *study, const struct totals *t, double seconds, const char *basis, const struct stored *stored)
{
    const sf_sweep *s = study->sweep;
    char a[32], b[32], time[32], least[24] = "";
    if (s->until > 0) snprintf(least, sizeof least, "%d to ", s->least);
    const int groups = s->models * s->lengths * s->tasks;
    bool alone = false;
    for (int i = 0; i < s->models; i++) alone |= s->model[i].alone;
    printf("%s: %d cells = %d model%s x %d length%s x %d task%s", s->name, study->plan.cells, s->models, s->models > 1 ? "s" : "", s->lengths,
           s->lengths > 1 ? "s" : "", s->tasks, s->tasks > 1 ? "s" : "");
    if (!alone) printf(" x %d variants", study->plan.cells / groups);
    printf(", %s%d samples each\n\n", least, s->samples);
    for (int i = 0; i < s->models; i++) {
        const sf_model_config *c = &study->model[i]->config;
        int sliding = 0, recurring = c->layers - sf_layers_attending(c);
        for (int l = 0; l < c->layers; l++) sliding += sf_layer_slides(c, l);
        printf("  model   %-28s %s, %.1f MB of weights", s->model[i].label, c->architecture, (double)study->model[i]->weight_bytes / 1e6);
        const sf_arm_pair *own = &s->model[i].own;
        if (s->model[i].alone)
            printf("; as it was trained alone, under %s", own->prefill.method ? own->prefill.label : own->decode.method ? own->decode.label : "its family's attention");
        if (sliding + recurring == c->layers)
            printf("; %s: methods leave it dense", recurring ? "no layer attends to all keys" : "every layer has a sliding window");
        else if (recurring)
            printf("; methods act on the %d of %d layers that attend", c->layers - sliding - recurring, c->layers);
        putchar('\n');
    }
    for (int i = 0; i < s->tasks; i++) printf("  task    %-28s up to %d tokens of output\n", s->task[i].label, s->task[i].output);
    for (int i = 0; i < s->arms; i++)
        printf("  method  %s%s%s\n", s->arm[i].prefill.method ? s->arm[i].prefill.label : "",
               s->arm[i].prefill.method && s->arm[i].decode.method ? " + " : "",
               s->arm[i].decode.method ? s->arm[i].decode.label : "");
    putchar('\n');
    sf_study_print_arithmetic(study, stdout);
    sf_study_print_cuts(study, stdout);
    sf_duration(seconds, time);
    if (stored->samples) {
        printf("  stored already    %12ld samples, %d of %d cells whole", stored->all, stored->cells, study->plan.cells);
        if (stored->failed) printf(", %d failed (run --retry)", stored->failed);
        printf(" (%s); of all:\n", stored->path);
    }
    if (s->until > 0) {
        long fewest = 0;
        for (int i = 0; i < study->plan.cells; i++)
            fewest += study->plan.cell[i].samples < s->least ? study->plan.cell[i].samples : s->least;
        printf("  samples at least  %12ld (until what they say is known within %g); at most, and with all of them:\n", fewest, s->until);
    }
    printf("  samples           %12ld\n  prefill passes    %12ld (lanes that share one count once)\n"
           "  tokens read       %12ld\n", t->samples, t->prefills, t->input_tokens);
    printf("  FLOPs, prefill    %12s\n  FLOPs, decode     %12s (at the full output limit)\n", sf_si(t->prefill, a), sf_si(t->decode, b));
    printf("  peak memory       %9.2f GiB (weights, caches, activations)\n  time, about       %12s (%s)\n",
           (double)t->memory / (1 << 30), time, basis);
}

int sf_cmd_plan(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "CONFIG.yaml",
                                     "Checks a sweep and prints what it would run: cells, FLOPs, memory, time, and what of it is stored already. Runs nothing.\v"
                                     "Examples:\n  frontier plan configs/demo.yaml --set samples=100\n"
                                     "  frontier plan configs/mine.yaml --cluster 4x8:h200",
                                     NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    sf_study study;
    struct totals t = {0};
    struct stored stored = {.samples = NULL};
    sf_status status = sf_study_open(a.config, a.set.n, a.set.item, &study);
    if (status == SF_OK) status = sf_study_check_split(&study);
    if (status == SF_OK && a.only) status = sf_study_only(&study, a.only);
    if (status == SF_OK) status = sf_study_try_samples(&study);
    if (status == SF_OK) status = find_stored(&study, a.out, &stored);
    if (status == SF_OK) status = add_all(&study, &t);
    if (status == SF_OK) {
        bool host = strncmp(study.sweep->device, "cuda", 4) != 0;
        double rate = host ? flops_per_second() : NAN;
        double seconds = (t.prefill + t.decode) / rate;
        const char *basis = host ? "FLOPs at the rate of a matrix product here; sparse attention and short rows run slower"
                                 : "not estimated on this device";
        if (a.json) {
            json_t *o = json_pack("{s:s, s:i, s:I, s:I, s:I, s:f, s:f, s:f}", "name", study.sweep->name, "cells", study.plan.cells,
                                  "samples", (json_int_t)t.samples, "prefill_passes", (json_int_t)t.prefills, "input_tokens",
                                  (json_int_t)t.input_tokens, "prefill_flops", t.prefill, "decode_flops", t.decode,
                                  "memory_bytes", (double)t.memory);
            json_object_set_new(o, "seconds", isnan(seconds) ? json_null() : json_real(seconds));
            if (a.cluster) status = sf_plan_cluster(&study, a.cluster, a.measured, o);
            json_t *cells = json_array();
            for (int i = 0; i < study.plan.cells; i++) {
                const sf_cell_info info = sf_study_cell_info(&study, &study.plan.cell[i]);
                json_t *c = json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s}", "key", info.key, "model", info.model, "task",
                                      info.task_label, "length", info.length, "samples", study.plan.cell[i].samples,
                                      "prefill", info.label[SF_PREFILL], "decode", info.label[SF_DECODE]);
                json_object_set_new(c, "cache", json_string(sf_cell_cache(&info)));
                for (int p = 0; p < SF_PHASES; p++)
                    json_object_set_new(c, p == SF_PREFILL ? "prefill_sparsity" : "decode_sparsity",
                                        isnan(info.sparsity[p]) ? json_null() : json_real(info.sparsity[p]));
                json_object_set_new(c, "stored", json_integer(stored.samples ? stored.samples[i] : 0));
                json_array_append_new(cells, c);
            }
            json_object_set_new(o, "cell", cells);
            if (status == SF_OK) json_dumpf(o, stdout, JSON_INDENT(2)), putchar('\n');
            json_decref(o);
        } else {
            print_text(&study, &t, seconds, basis, &stored);
            if (a.cluster) status = sf_plan_cluster(&study, a.cluster, a.measured, NULL);
        }
    }
    free(stored.samples);
    sf_study_close(&study);
    return sf_cli_end(status);
}
