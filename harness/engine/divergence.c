#include "harness/engine/divergence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- two rows of logits -------------------------------------------------------------------------------------------- */

/* log Σ exp */
static double log_sum_exp(const float *logit, int vocab)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < vocab; i++) most = fmax(most, (double)logit[i]);
    for (int i = 0; i < vocab; i++) sum += exp((double)logit[i] - most);
    return most + log(sum);
}

sf_divergence sf_divergence_of(const float *dense, const float *lane, int vocab, int position, int32_t token)
{
    int32_t likeliest = 0;
    for (int32_t i = 1; i < vocab; i++)
        if (dense[i] > dense[likeliest]) likeliest = i;
    if (token < 0) token = likeliest;
    double whole = log_sum_exp(dense, vocab), lanes = log_sum_exp(lane, vocab), kl = 0;
    int rank = 1;
    for (int i = 0; i < vocab; i++) {
        double p = (double)dense[i] - whole, q = (double)lane[i] - lanes;
        kl += exp(p) * (p - q);
        rank += lane[i] > lane[likeliest];
    }
    return (sf_divergence){.position = position, .rank = rank, .kl = (float)fmax(kl, 0),
                           .nll = (float)(lanes - (double)lane[token]), .dense_nll = (float)(whole - (double)dense[token])};
}

static void add(sf_lane *lane, sf_phase phase, sf_divergence d)
{
    if (lane->divergence[phase]) lane->divergence[phase][lane->divergences[phase]++] = d;
}

/* ---- at the prompt's rows ------------------------------------------------------------------------------------------ */

/* Logits of the prompt's rows that are looked at, to host memory. */
static sf_status predict(sf_batch *batch, sf_prompt *prompt)
{
    sf_backend *b = batch->backend;
    const sf_model_config *c = batch->config;
    const int most = batch->chunk < SF_PREDICTIONS ? batch->chunk : SF_PREDICTIONS;
    size_t bytes = sf_bytes(SF_F32, c->d);
    prompt->predicted = malloc((size_t)prompt->predictions * (size_t)c->vocab * sizeof *prompt->predicted);
    if (!prompt->predicted) return sf_fail(SF_NO_MEMORY, "no memory for logits of %d rows", prompt->predictions);
    for (int at = 0, rows; at < prompt->predictions; at += rows) {
        rows = prompt->predictions - at < most ? prompt->predictions - at : most;
        for (int i = 0; i < rows; i++)
            SF_TRY(b->ops->copy(b, batch->some + (int64_t)i * c->d,
                                batch->hidden + ((int64_t)prompt->row + prompt->predict_row[at + i]) * c->d, bytes));
        SF_TRY(sf_transformer_logits(batch->model, batch->some, rows, batch->predicted, &batch->workspace));
        SF_TRY(b->ops->download(b, prompt->predicted + (int64_t)at * c->vocab, batch->predicted,
                                sf_bytes(SF_F32, (int64_t)rows * c->vocab)));
    }
    sf_transformer_finish_logits(c, prompt->predicted, prompt->predictions);
    return SF_OK;
}

/* Token i behind the prompt; -1: the dense lane's likeliest. */
static int32_t known(const sf_job *job, int i) { return i < job->continuations ? job->continuation[i] : -1; }

/* Hands the prompt's lanes what is between it and the sample's dense prompt. */
static void compare(const sf_batch *batch, const sf_prompt *prompt)
{
    const sf_prompt *dense = sf_batch_dense(batch, prompt);
    const int vocab = batch->config->vocab, last = prompt->predictions - 1;
    sf_divergence between[prompt->predictions];
#pragma omp parallel for schedule(static)
    for (int i = 0; i <= last; i++) {
        int32_t row = prompt->predict_row[i], token = i < last ? prompt->job->token[row + 1] : known(prompt->job, 0);
        between[i] = sf_divergence_of(dense->predicted + (int64_t)i * vocab, prompt->predicted + (int64_t)i * vocab, vocab,
                                      row + 1, token);
    }
    for (int l = 0; l < batch->lanes; l++) {
        if (batch->sequence[l].prompt != prompt) continue;
        sf_lane *lane = batch->sequence[l].lane;
        for (int i = 0; i < last; i++) add(lane, SF_PREFILL, between[i]);
        if (!prompt->job->questions) add(lane, SF_DECODE, between[last]); /* else it would predict what is asked */
    }
}

sf_status sf_batch_predict(sf_batch *batch, const sf_wave *wave)
{
    sf_backend *b = batch->backend;
    sf_meter nobody = {0}, *before = b->meter;
    double began = sf_batch_clock(b);
    b->meter = &nobody;
    for (int i = 0; i < wave->prompts; i++) {
        sf_prompt *prompt = &wave->prompt[i];
        if (!prompt->predictions) continue;
        SF_TRY(predict(batch, prompt));
        compare(batch, prompt);
        if (prompt == sf_batch_dense(batch, prompt)) continue;
        free(prompt->predicted);
        prompt->predicted = NULL;
    }
    b->meter = before;
    batch->looking += sf_batch_clock(b) - began;
    return SF_OK;
}

/* ---- along the generation ------------------------------------------------------------------------------------------ */

/* The row of the lane that row i is compared with. */
static int dense_row(sf_sequence *const *sequence, int i)
{
    const sf_lane *dense = sequence[i]->lane->follows ? sequence[i]->lane->follows : sequence[i]->lane;
    int r = 0;
    while (sequence[r]->lane != dense) r++;
    return r;
}

sf_status sf_batch_diverge(sf_batch *batch, int rows, sf_sequence *const *sequence, int step, const int32_t *next)
{
    sf_backend *b = batch->backend;
    const int vocab = batch->config->vocab;
    bool any = false;
    for (int i = 0; i < rows; i++) any |= sequence[i]->lane->divergence[SF_DECODE] != NULL;
    if (!any) return SF_OK;
    double began = sf_batch_clock(b);
    size_t bytes = sf_bytes(SF_F32, (int64_t)rows * vocab);
    float *logit = malloc(bytes);
    if (!logit) return sf_fail(SF_NO_MEMORY, "no memory for logits of %d lanes", rows);
    sf_status status = b->ops->download(b, logit, batch->logits, bytes);
    if (status == SF_OK) sf_transformer_finish_logits(batch->config, logit, rows);
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < (status == SF_OK ? rows : 0); i++) {
        if (!sequence[i]->lane->divergence[SF_DECODE] || step + 1 < sequence[i]->job->questions) continue;
        int r = dense_row(sequence, i);
        const sf_job *job = sequence[i]->job;
        add(sequence[i]->lane, SF_DECODE,
            sf_divergence_of(logit + (int64_t)r * vocab, logit + (int64_t)i * vocab, vocab, job->tokens + step + 1,
                             sequence[r]->lane->forced ? known(job, step + 1) : next[r]));
    }
    free(logit);
    batch->looking += sf_batch_clock(b) - began;
    return status;
}

/* ---- attention's outputs --------------------------------------------------------------------------------------------- */

/* Dense outputs of the attentions to `dense` [rows, H, D] f32 host memory, and what they gave, to `given`. */
static sf_status fetch_outputs(sf_batch *batch, int layer, int rows, sf_attention *all, const void *const *out, float *dense, float *given,
                               void *raw)
{
    sf_backend *b = batch->backend;
    const int64_t width = (int64_t)all->heads * all->head_dim;
    const size_t bytes = sf_bytes(b->activation, width);
    const sf_pattern whole = {0}, *pattern[rows];
    const sf_attention *each[rows];
    void *room, *lse = NULL;
    SF_TRY(sf_scratch_alloc(b, bytes * (size_t)rows, &room));
    if (batch->config->sinks) SF_TRY(sf_scratch_alloc(b, sf_bytes(SF_F32, (int64_t)rows * all->heads), &lse));
    for (int i = 0; i < rows; i++) {
        all[i].pairs = NULL;
        all[i].lse = lse ? (float *)lse + (int64_t)i * all->heads : NULL;
        pattern[i] = &whole;
        each[i] = &all[i];
    }
    SF_TRY(b->ops->decode(b, rows, each, pattern, room));
    SF_TRY(sf_batch_sink(batch, b->meter, layer, rows, rows, pattern, lse, room));
    SF_TRY(b->ops->download(b, raw, room, bytes * (size_t)rows));
    sf_to_f32(b->activation, raw, dense, width * rows);
    for (int i = 0; i < rows; i++) {
        SF_TRY(b->ops->download(b, raw, out[i], bytes));
        sf_to_f32(b->activation, raw, given + i * width, width);
    }
    return SF_OK;
}

static double relative_error(const float *given, const float *dense, int n)
{
    double apart = 0, length = 0;
    for (int i = 0; i < n; i++) {
        double d = (double)given[i] - (double)dense[i];
        apart += d * d;
        length += (double)dense[i] * (double)dense[i];
    }
    return length > 0 ? sqrt(apart / length) : apart > 0;
}

sf_status sf_batch_output_error(sf_batch *batch, int layer, int rows, sf_attention *all, const void *const *out, double weight,
                                double *const *sum)
{
    if (rows == 0) return SF_OK;
    sf_backend *b = batch->backend;
    const int heads = all->heads, n = all->head_dim;
    sf_meter nobody = {0}, *before = b->meter;
    sf_mark mark = sf_scratch_mark(b);
    double began = sf_batch_clock(b);
    size_t floats = (size_t)rows * (size_t)heads * (size_t)n;
    float *dense = malloc(3 * floats * sizeof *dense); /* and what was given, and either as the backend has it */
    if (!dense) return sf_fail(SF_NO_MEMORY, "no memory for attention outputs of %d rows", rows);
    b->meter = &nobody;
    sf_status status = fetch_outputs(batch, layer, rows, all, out, dense, dense + floats, dense + 2 * floats);
    b->meter = before;
    for (int i = 0; i < rows && status == SF_OK; i++)
        for (int h = 0; h < heads; h++) {
            const int64_t at = ((int64_t)i * heads + h) * n + all->rotated;
            sum[i][h] += weight * relative_error(dense + floats + at, dense + at, sf_value_numbers(all));
        }
    free(dense);
    sf_scratch_release(b, mark);
    batch->looking += sf_batch_clock(b) - began;
    return status;
}
