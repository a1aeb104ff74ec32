#include "harness/engine/company.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums over lanes ------------------------------------------------------------------------------------------------- */

sf_means sf_lane_means(int tokens, int questions, const sf_lane *lane)
{
    const double n = tokens, steps = questions + lane->outputs - !lane->stopped;
    return (sf_means){.pairs = {n * (n + 1) / 2, steps * n + steps * (steps + 1) / 2}, .looks = {1, steps}};
}

/* to [heads] becomes the mean of both; one that is NAN was not there. */
static void mean_of_both(float *to, double weight, const float *other, double by, int64_t heads)
{
    for (int64_t i = 0; to && other && by > 0 && i < heads; i++)
        to[i] = weight > 0 && !isnan(to[i]) ? (float)((to[i] * weight + other[i] * by) / (weight + by)) : other[i];
}

void sf_lane_add(sf_lane *to, sf_means *weight, const sf_lane *other, sf_means by, int64_t heads)
{
    for (int p = 0; p < SF_PHASES; p++) {
        if (by.looks[p] == 0) continue;
        for (int w = 0; w < SF_WORKS; w++) {
            sf_count *sum = &to->meter.at[p][w];
            const sf_count *more = &other->meter.at[p][w];
            sum->flops += more->flops, sum->pairs += more->pairs;
            sum->weight_bytes += more->weight_bytes, sum->cache_bytes += more->cache_bytes, sum->other_bytes += more->other_bytes;
        }
        to->seconds[p] += other->seconds[p];
        mean_of_both(to->density[p], weight->pairs[p], other->density[p], by.pairs[p], heads);
        mean_of_both(to->recall[p], weight->looks[p], other->recall[p], by.looks[p], heads);
        mean_of_both(to->error[p], weight->looks[p], other->error[p], by.looks[p], heads);
        weight->pairs[p] += by.pairs[p], weight->looks[p] += by.looks[p];
    }
}

/* ---- divergence ------------------------------------------------------------------------------------------------------ */

static bool wants(const sf_lane *lane) { return lane->divergence[SF_PREFILL] || lane->divergence[SF_DECODE]; }
static bool is_dense(const sf_lane *lane) { return !lane->prefill && !lane->decode && !lane->cache; }

static bool any_wants(const sf_job *job)
{
    bool any = false;
    for (int i = 0; i < job->lanes; i++) any |= wants(&job->lane[i]);
    return any;
}

/* Where the first dense lane stands; lanes: there is none. */
static int find_dense(const sf_job *job)
{
    int i = 0;
    while (i < job->lanes && !is_dense(&job->lane[i])) i++;
    return i;
}

static bool is_forced(const sf_job *job)
{
    bool any = false;
    for (int i = 0; i < job->lanes; i++) any |= job->lane[i].divergence[SF_DECODE] != NULL;
    return any && job->continuations > 0;
}

/* The lanes of one sample: the dense one, the others in their order, then the one that is fed with the continuation, and those
 * that follow. Returns how many. */
static int gather(const sf_job *job, const double *kept, int max_output, sf_lane *lane, int32_t *output, double *keeps)
{
    int dense = find_dense(job), n = 1;
    const sf_lane *leader = lane;
    lane[0] = dense < job->lanes ? job->lane[dense] : (sf_lane){.output = output};
    keeps[0] = 1;
    for (int i = 0; i < job->lanes; i++) {
        if (i == dense) continue;
        lane[n] = job->lane[i];
        lane[n].divergence[SF_DECODE] = NULL;
        keeps[n++] = kept ? kept[i] : 1;
    }
    if (is_forced(job)) {
        lane[n] = (sf_lane){.forced = true, .output = output + (int64_t)n * max_output,
                            .divergence = {[SF_DECODE] = lane[0].divergence[SF_DECODE]}};
        lane[0].divergence[SF_DECODE] = NULL;
        leader = &lane[n];
        keeps[n++] = 1;
    }
    for (int i = 0; i < job->lanes; i++) {
        const sf_lane *l = &job->lane[i];
        if (i == dense || !l->divergence[SF_DECODE]) continue;
        lane[n] = (sf_lane){.prefill = l->prefill, .decode = l->decode, .prefill_params = l->prefill_params,
                            .decode_params = l->decode_params, .cache = l->cache, .follows = leader, .output = output + (int64_t)n * max_output,
                            .divergence = {[SF_DECODE] = l->divergence[SF_DECODE]}};
        keeps[n++] = kept ? kept[i] : 1;
    }
    return n;
}

/* ---- shared questions -------------------------------------------------------------------------------------------------- */

/* Jobs and lanes of one sample, a job for each question. Returns how many jobs. */
static int part(const sf_job *job, const double *kept, const sf_generation *how, int64_t heads, sf_job *out, sf_lane *lane, float *map, double *keeps)
{
    for (int q = 0; q <= job->turns; q++) {
        out[q] = *job;
        out[q].lane = lane, out[q].turns = 0, out[q].leads = q ? out : NULL;
        if (q) {
            out[q].question = q == 1 ? job->later : out[q - 1].question + out[q - 1].questions;
            out[q].questions = job->later_tokens ? job->later_tokens[q - 1] : 0;
        }
        for (int i = 0; i < job->lanes; i++, lane++, keeps++) {
            *lane = job->lane[i];
            *keeps = kept ? kept[i] : 1;
            lane->answer = NULL;
            if (!q) continue;
            lane->output += (int64_t)q * how->max_output;
            lane->read = NULL;
            float **own[] = {&lane->density[SF_DECODE], &lane->recall[SF_DECODE], &lane->error[SF_DECODE]};
            for (int k = 0; k < 3; k++, map += heads)
                if (*own[k]) *own[k] = map;
            lane->density[SF_PREFILL] = lane->recall[SF_PREFILL] = lane->error[SF_PREFILL] = NULL;
            lane->picture[SF_PREFILL] = lane->picture[SF_DECODE] = NULL;
        }
    }
    return 1 + job->turns;
}

/* From a sample's jobs, one for each question, to the lanes that were asked for. */
static void join(const sf_job *asked, const sf_job *ran, int64_t heads)
{
    for (int i = 0; i < asked->lanes; i++) {
        sf_lane *to = &asked->lane[i];
        sf_answer *answer = to->answer;
        sf_means weight;
        for (int q = 0; q <= asked->turns; q++) {
            const sf_lane *one = &ran[q].lane[i];
            sf_means by = sf_lane_means(ran[q].tokens, ran[q].questions, one);
            if (q) {
                by.looks[SF_PREFILL] = 0; /* that of the first */
                memmove(to->output + to->outputs, one->output, (size_t)one->outputs * sizeof *one->output);
                to->outputs += one->outputs;
                to->stopped &= one->stopped;
                sf_lane_add(to, &weight, one, by, heads);
            } else {
                *to = *one;
                weight = by;
            }
            to->answer = answer;
            if (answer) answer[q] = (sf_answer){to->outputs, one->stopped};
        }
    }
}

/* ---- both -------------------------------------------------------------------------------------------------------------- */

sf_status sf_company_open(int64_t heads, int jobs, const sf_job *job, const sf_generation *how, const double *kept, sf_company *out)
{
    int64_t most = 0, maps = 0, parts = 0;
    for (int j = 0; j < jobs; j++) {
        const int questions = job[j].shared ? 1 + job[j].turns : 1;
        most += 2 * job[j].lanes + 2 + (int64_t)questions * job[j].lanes;
        maps += job[j].lanes ? 3 * (int64_t)(questions - 1) * job[j].lanes : 0;
        parts += questions;
    }
    *out = (sf_company){.asks = jobs, .asked = job, .heads = heads, .job = calloc((size_t)parts, sizeof *out->job),
                        .lane = calloc((size_t)most, sizeof *out->lane), .kept = calloc((size_t)most, sizeof *out->kept),
                        .map = calloc((size_t)(maps * heads + 1), sizeof *out->map),
                        .output = calloc((size_t)most * (size_t)how->max_output, sizeof *out->output)};
    if (!out->job || !out->lane || !out->kept || !out->map || !out->output) return sf_fail(SF_NO_MEMORY, "no memory for %d samples", jobs);
    int64_t at = 0, keeps = 0;
    float *map = out->map;
    for (int j = 0; j < jobs; j++) {
        sf_job *to = &out->job[out->jobs];
        sf_lane *lane = out->lane + at;
        *to = job[j];
        if (job[j].shared) {
            out->jobs += part(&job[j], kept, how, heads, to, lane, map, out->kept + keeps);
            at += (int64_t)(1 + job[j].turns) * job[j].lanes;
            map += 3 * (int64_t)job[j].turns * job[j].lanes * heads;
            keeps += (int64_t)(1 + job[j].turns) * job[j].lanes;
        } else {
            if (any_wants(&job[j])) {
                to->lane = lane;
                to->lanes = gather(&job[j], kept, how->max_output, lane, out->output + at * how->max_output, out->kept + keeps);
                at += to->lanes;
            } else {
                for (int i = 0; i < job[j].lanes; i++) out->kept[keeps + i] = kept ? kept[i] : 1;
            }
            keeps += to->lanes;
            out->jobs++;
        }
        if (kept) kept += job[j].lanes;
    }
    return SF_OK;
}

/* From the lanes of one sample with those that divergence added. */
static void bring(const sf_job *asked, const sf_job *ran)
{
    int dense = find_dense(asked), n = 1, follower = dense < asked->lanes ? asked->lanes : asked->lanes + 1;
    const bool forced = is_forced(asked);
    const int leader = forced ? follower++ : 0;
    for (int i = 0; i < asked->lanes; i++) {
        sf_divergence *decode = asked->lane[i].divergence[SF_DECODE];
        asked->lane[i] = ran->lane[i == dense ? 0 : n++];
        asked->lane[i].divergence[SF_DECODE] = decode;
        if (decode) asked->lane[i].divergences[SF_DECODE] = ran->lane[i == dense ? leader : follower++].divergences[SF_DECODE];
    }
}

void sf_company_settle(const sf_company *company)
{
    const sf_job *ran = company->job;
    for (int j = 0; j < company->asks; j++) {
        const sf_job *asked = &company->asked[j];
        if (asked->shared) join(asked, ran, company->heads);
        else if (ran->lane != asked->lane) bring(asked, ran);
        ran += asked->shared ? 1 + asked->turns : 1;
    }
}

void sf_company_close(sf_company *company)
{
    free(company->job);
    free(company->lane);
    free(company->output);
    free(company->map);
    free(company->kept);
}
