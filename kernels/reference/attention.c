/* Reference: attention over a pattern that is expanded, for one head and one query row, into a mask over all keys. */
#include "kernels/reference/reference.h"

#include <math.h>
#include <string.h>

#include "kernels/host.h"

static const float *row_of(const sf_attention *a, int g, int j, bool value)
{
    const sf_kv_part *part = j < a->kv.prompt.n ? &a->kv.prompt : &a->kv.tail;
    if (part == &a->kv.tail) j -= a->kv.prompt.n;
    if (j >= (part->count ? part->count[g] : part->n)) return NULL;
    if (part->packed) return part->k; /* it is there; what reads it has unpacked it */
    return (const float *)(value ? part->v : part->k) + sf_kv_row(part, g, j) * a->head_dim;
}

sf_status sf_reference_unpacked(sf_backend *b, const sf_attention *a, sf_attention *own)
{
    sf_kv_part *to = &own->kv.prompt;
    const sf_kv_part *from = &a->kv.prompt;
    *own = *a;
    if (!from->packed) return SF_OK;
    const size_t bytes = (size_t)(a->kv_heads * from->capacity * a->head_dim) * sizeof(float);
    SF_TRY(sf_scratch_alloc(b, bytes, &to->k));
    SF_TRY(sf_scratch_alloc(b, bytes, &to->v));
    to->packed = false;
    for (int g = 0; g < a->kv_heads; g++) {
        for (int j = 0; j < (from->count ? from->count[g] : from->n); j++) {
            const int64_t row = sf_kv_row(from, g, j);
            sf_cache_unpack_row(from, from->k, a->kv_heads, row, a->head_dim, (float *)to->k + row * a->head_dim);
            sf_cache_unpack_row(from, from->v, a->kv_heads, row, a->head_dim, (float *)to->v + row * a->head_dim);
        }
    }
    return SF_OK;
}

const float *sf_reference_key(const sf_attention *a, int g, int j) { return row_of(a, g, j, false); }
const float *sf_reference_value(const sf_attention *a, int g, int j) { return row_of(a, g, j, true); }

int64_t sf_reference_mask(const sf_attention *a, const sf_pattern *p, int h, int i, uint8_t *mask)
{
    int64_t ones = 0;
    int g = h / (a->heads / a->kv_heads), position = a->keys - a->queries + i;
    sf_pattern_named(a, p, h, i, mask);
    for (int j = 0; j <= position; j++) ones += mask[j] = mask[j] && sf_reference_key(a, g, j);
    return ones;
}

double sf_reference_capped(const sf_attention *a, double x)
{
    return a->softcap != 0 ? (double)a->softcap * tanh(x / (double)a->softcap) : x;
}

/* p[j] = the logit of a key with mask[j] = 1, else 0. */
static void logits(const sf_attention *a, int h, int i, const uint8_t *mask, double *p)
{
    int g = h / (a->heads / a->kv_heads);
    const float *q = (const float *)a->q + ((int64_t)i * a->heads + h) * a->head_dim;
    for (int j = 0; j < a->keys; j++) {
        p[j] = 0;
        if (!mask[j]) continue;
        const float *k = sf_reference_key(a, g, j);
        double sum = 0;
        for (int d = 0; d < a->head_dim; d++) sum += (double)q[d] * k[d];
        p[j] = sf_reference_capped(a, sum * a->scale);
    }
}

void sf_reference_softmax(const sf_attention *a, int h, int i, const uint8_t *mask, double *p)
{
    double largest = -INFINITY, total = 0;
    logits(a, h, i, mask, p);
    for (int j = 0; j < a->keys; j++)
        if (mask[j] && p[j] > largest) largest = p[j];
    for (int j = 0; j < a->keys; j++)
        if (mask[j]) total += p[j] = exp(p[j] - largest);
    for (int j = 0; j < a->keys; j++)
        if (mask[j]) p[j] /= total;
}

void sf_reference_weights(const sf_attention *a, int h, int i, const uint8_t *mask, double *p)
{
    double x[a->keys];
    int n = 0;
    if (a->alpha == 0) {
        sf_reference_softmax(a, h, i, mask, p);
        return;
    }
    logits(a, h, i, mask, p);
    for (int j = 0; j < a->keys; j++)
        if (mask[j]) x[n++] = p[j];
    sf_reference_entmax(x, n, (double)a->alpha);
    for (int j = 0, m = 0; j < a->keys; j++) p[j] = mask[j] ? x[m++] : 0;
}

/* ---- one row ------------------------------------------------------------------------------------------------------ */

static bool reaches(const sf_pattern *p)
{
    bool any = p->reach.chunk > 0;
    for (int k = 0; p->kind == SF_PARTS && k < p->parts; k++) any |= p->part[k].reach.chunk > 0;
    return any;
}

/* Cosines and sines that turn a query back by each number of positions, [keys, 2, D/2]: many rows and heads turn by the same. */
static sf_status open_turns(sf_backend *b, const sf_attention *a, double **out)
{
    int half = a->head_dim / 2;
    SF_TRY(sf_host_alloc(b, (size_t)a->keys * 2 * (size_t)half * sizeof **out, (void **)out));
    for (int64_t back = 0; back < a->keys; back++)
        for (int d = 0; d < half; d++) {
            double angle = -(double)back * a->frequency[d];
            (*out)[(2 * back + 0) * half + d] = cos(angle);
            (*out)[(2 * back + 1) * half + d] = sin(angle);
        }
    return SF_OK;
}

/* The query turned back by so many positions, as rotary embedding turns it. */
static void turn(const sf_attention *a, const double *turns, const float *q, int64_t back, double *out)
{
    int half = a->head_dim / 2, apart = a->interleaved ? 1 : half;
    for (int d = 0; d < half; d++) {
        int at = a->interleaved ? 2 * d : d;
        double c = turns[(2 * back + 0) * half + d], s = turns[(2 * back + 1) * half + d];
        out[at] = q[at] * c - q[at + apart] * s;
        out[at + apart] = q[at] * s + q[at + apart] * c;
    }
}

/* What one row's softmax is over. */
typedef struct terms {
    double *logit;
    const float **value; /* [D] each */
    int64_t n;
    double *turns; /* of open_turns(); NULL: no key stands elsewhere than it does */
} terms;

static void add_term(const sf_attention *a, terms *t, const double *q, const float *k, const float *v, double bias)
{
    double dot = 0;
    for (int d = 0; d < a->head_dim; d++) dot += q[d] * k[d];
    t->logit[t->n] = sf_reference_capped(a, dot * a->scale) + bias;
    t->value[t->n++] = v;
}

/* out [D] = the softmax's mean of the values, 0 over nothing; returns the log of the sum of exp(logit). */
static double soften(const sf_attention *a, const terms *t, double *out)
{
    double largest = -INFINITY, sum = 0, p[t->n + 1];
    for (int64_t i = 0; i < t->n; i++) largest = t->logit[i] > largest ? t->logit[i] : largest;
    for (int64_t i = 0; i < t->n; i++) sum += p[i] = exp(t->logit[i] - largest);
    for (int64_t i = 0; i < t->n; i++) p[i] /= sum;
    memset(out, 0, (size_t)a->head_dim * sizeof *out);
    for (int64_t i = 0; i < t->n; i++)
        for (int d = 0; d < a->head_dim; d++) out[d] += p[i] * t->value[i][d];
    return t->n ? largest + log(sum) : -INFINITY;
}

/* The same by α-entmax. Returns how many weigh more than nothing. */
static uint64_t weigh(const sf_attention *a, const terms *t, double *out)
{
    double p[t->n + 1];
    uint64_t weighed = 0;
    memcpy(p, t->logit, (size_t)t->n * sizeof *p);
    sf_reference_entmax(p, t->n, (double)a->alpha);
    memset(out, 0, (size_t)a->head_dim * sizeof *out);
    for (int64_t i = 0; i < t->n; i++) {
        if (p[i] == 0) continue;
        weighed++;
        for (int d = 0; d < a->head_dim; d++) out[d] += p[i] * t->value[i][d];
    }
    return weighed;
}

/* What the pattern adds to the logit of key j. */
static double bias_of(const sf_attention *a, const sf_pattern *p, int h, int i, int j)
{
    if (!p->bias.data) return 0;
    int64_t row = sf_pattern_list(a, p, h, i);
    for (int32_t e = 0; e < p->first.count[row]; e++)
        if (p->first.index[row * p->first.stride + e] == j / p->page)
            return ((const float *)p->bias.data)[row * p->first.stride + e];
    return 0;
}

static void add_summaries(const sf_attention *a, const sf_pattern *p, int h, int i, const double *q, terms *t)
{
    const sf_summaries *sum = &p->sum;
    int64_t m = sum->k.data ? sum->k.dim[1] : 0, d = a->head_dim, g = h / (a->heads / a->kv_heads);
    const float *bias = sum->bias.data ? (const float *)sum->bias.data + (sum->bias.dim[0] == a->heads ? h : g) * m : NULL;
    for (int64_t s = 0; s < m; s++)
        if (!sum->from || sum->from[s] <= a->keys - a->queries + i)
            add_term(a, t, q, (const float *)sum->k.data + (g * m + s) * d, (const float *)sum->v.data + (g * m + s) * d,
                     bias ? bias[s] : 0);
}

/* Adds what a pattern that has no parts computes for row i of query head h. */
static void add_pattern(const sf_attention *a, const sf_pattern *p, int h, int i, terms *t)
{
    int g = h / (a->heads / a->kv_heads), position = a->keys - a->queries + i;
    const float *from = (const float *)a->q + ((int64_t)i * a->heads + h) * a->head_dim;
    double q[a->head_dim], turned[a->head_dim];
    int64_t back = 0; /* positions that `turned` is turned by */
    uint8_t mask[a->keys];
    for (int d = 0; d < a->head_dim; d++) q[d] = turned[d] = from[d];
    sf_reference_mask(a, p, h, i, mask);
    for (int j = 0; j <= position; j++) {
        if (!mask[j]) continue;
        int64_t now = position - sf_reach_position(p->reach, position, j);
        if (now != back) turn(a, t->turns, from, back = now, turned);
        add_term(a, t, turned, sf_reference_key(a, g, j), sf_reference_value(a, g, j), bias_of(a, p, h, i, j));
    }
    add_summaries(a, p, h, i, q, t);
}

/* A sum of results, each times its gate. Returns the pairs computed for this row. */
static uint64_t add_gated(const sf_attention *a, const sf_pattern *p, int h, int i, terms *t, double *out)
{
    int dim = a->head_dim, g = h / (a->heads / a->kv_heads);
    uint64_t pairs = 0;
    double own[dim];
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int k = 0; k < p->parts; k++) {
        const sf_pattern *part = &p->part[k];
        const float *gates = part->gate.data;
        double gate = gates ? gates[(part->gate.dim[0] > 1 ? (int64_t)i * a->heads : 0) + h] : 1;
        int from = part->repeat ? i - i % part->repeat : i;
        t->n = 0;
        if (part->kind == SF_CONSTANT)
            for (int d = 0; d < dim; d++) own[d] = ((const float *)part->sum.v.data)[g * dim + d];
        else
            add_pattern(a, part, h, from, t), soften(a, t, own);
        for (int d = 0; d < dim; d++) out[d] += gate * own[d];
        if (from == i) pairs += (uint64_t)t->n;
    }
    return pairs;
}

static int64_t most_terms(const sf_attention *a, const sf_pattern *p)
{
    int64_t n = a->keys + (p->sum.k.data ? p->sum.k.dim[1] : 0);
    for (int k = 0; p->kind == SF_PARTS && k < p->parts; k++) n += most_terms(a, &p->part[k]);
    return n;
}

/* One sequence, all heads and rows; out [T, H, D]. Shared by both executors. */
static sf_status attend(sf_backend *b, const sf_attention *a, const sf_pattern *p, const char *op, float *out)
{
    terms t = {0};
    double sums[a->head_dim];
    int64_t most = most_terms(a, p);
    SF_TRY(sf_host_entmax(a, p));
    SF_TRY(sf_host_alloc(b, (size_t)most * (sizeof *t.logit + sizeof *t.value), (void **)&t.logit));
    t.value = (const float **)(t.logit + most);
    sf_status status = reaches(p) ? open_turns(b, a, &t.turns) : SF_OK;
    for (int h = 0; h < a->heads && status == SF_OK; h++) {
        for (int i = 0; i < a->queries && status == SF_OK; i++) {
            int64_t at = (int64_t)i * a->heads + h;
            uint64_t pairs;
            t.n = 0;
            if (p->kind == SF_PARTS && p->gated) {
                pairs = add_gated(a, p, h, i, &t, sums);
            } else {
                for (int k = 0; k < (p->kind == SF_PARTS ? p->parts : 1); k++)
                    add_pattern(a, p->kind == SF_PARTS ? &p->part[k] : p, h, i, &t);
                double lse = 0;
                uint64_t weighed = 0;
                if (a->alpha != 0) weighed = weigh(a, &t, sums);
                else lse = soften(a, &t, sums);
                pairs = (uint64_t)t.n;
                if (a->weighed) a->weighed[h] += weighed;
                if (a->lse) a->lse[at] = (float)lse;
                if (pairs == 0 && !p->empty) status = sf_host_no_key(a, op, h, i);
            }
            if (a->pairs) a->pairs[h] += pairs;
            for (int d = 0; d < a->head_dim; d++) out[at * a->head_dim + d] = (float)sums[d];
        }
    }
    sf_host_free(b, t.turns);
    sf_host_free(b, t.logit);
    return status;
}

sf_status sf_reference_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "prefill"));
    return attend(b, a, pattern, "prefill", out);
}

sf_status sf_reference_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern,
                              void *out)
{
    for (int l = 0; l < lanes; l++) {
        sf_mark mark = sf_scratch_mark(b);
        sf_attention own;
        SF_TRY(sf_reference_unpacked(b, a[l], &own));
        SF_TRY(attend(b, &own, pattern[l], "decode", (float *)out + (int64_t)l * own.heads * own.head_dim));
        sf_scratch_release(b, mark);
    }
    return SF_OK;
}

static int64_t summaries_seen(const sf_attention *a, const sf_pattern *p, int i)
{
    int64_t seen = 0, m = p->sum.k.data ? p->sum.k.dim[1] : 0;
    for (int64_t s = 0; s < m; s++) seen += !p->sum.from || p->sum.from[s] <= a->keys - a->queries + i;
    return seen;
}

sf_status sf_reference_count_pairs(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, uint64_t *total)
{
    uint8_t *mask;
    SF_TRY(sf_host_alloc(b, (size_t)a->keys, (void **)&mask));
    *total = 0;
    const sf_pattern *part = pattern->kind == SF_PARTS ? pattern->part : pattern;
    for (int k = 0; k < (pattern->kind == SF_PARTS ? pattern->parts : 1); k++)
        for (int h = 0; h < a->heads; h++)
            for (int i = 0; i < a->queries; i += part[k].repeat ? part[k].repeat : 1)
                *total += (uint64_t)(sf_reference_mask(a, &part[k], h, i, mask) + summaries_seen(a, &part[k], i));
    sf_host_free(b, mask);
    return SF_OK;
}

sf_status sf_reference_mass(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, int rows,
                            const int32_t *row, float *covered)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "mass"));
    double *p;
    SF_TRY(sf_host_alloc(b, (size_t)a->keys * (sizeof *p + 1), (void **)&p));
    uint8_t *mask = (uint8_t *)(p + a->keys);
    for (int h = 0; h < a->heads; h++) {
        double mass = 0;
        for (int r = 0; r < rows; r++) {
            sf_reference_mask(a, NULL, h, row[r], mask);
            sf_reference_weights(a, h, row[r], mask, p);
            sf_reference_mask(a, pattern, h, row[r], mask);
            for (int j = 0; j < a->keys; j++)
                if (mask[j]) mass += p[j];
        }
        covered[h] = (float)(mass / rows);
    }
    sf_host_free(b, p);
    return SF_OK;
}
