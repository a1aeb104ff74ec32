/* Reference: rows of scores, reduced, pooled, marked, and chosen from. */
#include "kernels/count.h"
#include "kernels/reference/reference.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/host.h"
#include "kernels/promise.h"

sf_status sf_reference_reduce_rows(sf_backend *b, const float *x, int64_t rows, int group, int64_t n, sf_reduce reduce,
                                   float *out)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            float largest = -INFINITY;
            for (int m = 0; m < group; m++) {
                float v = x[(r * group + m) * n + i];
                sum += v;
                if (v > largest) largest = v;
            }
            out[r * n + i] = reduce == SF_MAX ? largest : (float)(reduce == SF_MEAN ? sum / group : sum);
        }
    }
    sf_meter_scores(b, rows * group * n, rows * n, rows * group * n);
    return SF_OK;
}

sf_status sf_reference_pool(sf_backend *b, const float *x, int64_t rows, int64_t n, int kernel, sf_reduce reduce,
                            float *out)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            float largest = -INFINITY;
            for (int64_t j = i - kernel / 2; j <= i + kernel / 2; j++) {
                if (j < 0 || j >= n) continue;
                sum += x[r * n + j];
                if (x[r * n + j] > largest) largest = x[r * n + j];
            }
            out[r * n + i] = reduce == SF_MAX ? largest : (float)(reduce == SF_MEAN ? sum / kernel : sum);
        }
    }
    sf_meter_scores(b, rows * n, rows * n, rows * n * kernel);
    return SF_OK;
}

sf_status sf_reference_fill(sf_backend *b, float *x, int64_t rows, int64_t n, int64_t begin, int64_t end, float value)
{
    int64_t written = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = begin < 0 ? 0 : begin; i < end && i < n; i++) x[r * n + i] = value, written++;
    sf_meter_scores(b, 0, written, 0);
    return SF_OK;
}

sf_status sf_reference_fill_at(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value)
{
    for (int64_t r = 0; r < rows; r++)
        for (int32_t i = 0; i < at->count[r]; i++) x[r * n + at->index[r * at->stride + i]] = value;
    sf_meter_scores(b, 0, rows * at->stride, 0);
    return SF_OK;
}

/* ---- choices -----------------------------------------------------------------------------------------------------
 * All of them sort whole rows: by value descending, then by index ascending. */

typedef struct entry {
    float value;
    int32_t index;
} entry;

static int by_value(const void *x, const void *y)
{
    const entry *a = x, *b = y;
    if (a->value != b->value) return a->value > b->value ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

static int by_number(const void *x, const void *y)
{
    int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
    return (a > b) - (a < b);
}

/* The entries that may be chosen, best first; returns their number. */
static int64_t sorted(const float *x, int64_t n, entry *e)
{
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(x[i]) && x[i] != -INFINITY) e[m++] = (entry){x[i], (int32_t)i};
    qsort(e, (size_t)m, sizeof *e, by_value);
    return m;
}

static int32_t ascending(const entry *e, int64_t n, int32_t *index)
{
    for (int64_t i = 0; i < n; i++) index[i] = e[i].index;
    qsort(index, (size_t)n, sizeof *index, by_number);
    return (int32_t)n;
}

sf_status sf_reference_best(const float *x, int64_t n, int64_t k, int32_t *index, int32_t *count)
{
    entry *e = malloc(((size_t)n + 1) * sizeof *e);
    *count = 0;
    if (!e) return sf_fail(SF_NO_MEMORY, "no memory to sort %lld numbers", (long long)n);
    int64_t m = sorted(x, n, e);
    *count = k > 0 ? ascending(e, k < m ? k : m, index) : 0;
    free(e);
    return SF_OK;
}

sf_status sf_reference_top(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, sf_lists *out)
{
    out->rows = rows;
    for (int64_t r = 0; r < rows; r++)
        SF_TRY(sf_reference_best(x + r * n, n, k, out->index + r * out->stride, &out->count[r]));
    sf_meter_select(b, rows * n);
    return SF_OK;
}

sf_status sf_reference_top_counts(sf_backend *b, const float *x, int64_t rows, int64_t n, const int32_t *count,
                                  int64_t most, sf_lists *out)
{
    out->rows = rows;
    for (int64_t r = 0; r < rows; r++) {
        int64_t k = count[r] < most ? count[r] : most;
        SF_TRY(sf_reference_best(x + r * n, n, k, out->index + r * out->stride, &out->count[r]));
    }
    sf_meter_select(b, rows * n);
    return SF_OK;
}

sf_status sf_reference_top_total(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t total, sf_lists *out)
{
    int32_t *best;
    SF_TRY(sf_host_alloc(b, (size_t)(rows * n) * sizeof *best, (void **)&best));
    int32_t m;
    sf_status status = sf_reference_best(x, rows * n, total, best, &m);
    out->rows = rows;
    for (int64_t r = 0; r < rows; r++) out->count[r] = 0;
    for (int32_t i = 0; i < m; i++) { /* ascending over all rows is ascending in each */
        int64_t r = best[i] / n;
        out->index[r * out->stride + out->count[r]++] = (int32_t)(best[i] % n);
    }
    sf_host_free(b, best);
    sf_meter_select(b, rows * n);
    return status;
}

sf_status sf_reference_top_mass(sf_backend *b, const float *x, int64_t rows, int64_t n, float mass, int64_t least,
                                int64_t most, sf_lists *out)
{
    entry *e;
    SF_TRY(sf_host_alloc(b, (size_t)n * sizeof *e, (void **)&e));
    out->rows = rows;
    for (int64_t r = 0; r < rows; r++) {
        int64_t m = sorted(x + r * n, n, e), prefix = 0;
        double total = 0, sum = 0;
        for (int64_t i = 0; i < n; i++) total += isfinite(x[r * n + i]) ? x[r * n + i] : 0;
        for (; prefix < m && sum < mass * total; prefix++) sum += isfinite(e[prefix].value) ? e[prefix].value : 0;
        if (prefix < least) prefix = least;
        if (prefix > most) prefix = most;
        if (prefix > m) prefix = m;
        out->count[r] = ascending(e, prefix, out->index + r * out->stride);
    }
    sf_host_free(b, e);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

/* What lists weigh. */
static int64_t weigh(const sf_lists *l, int64_t n, const float *weight)
{
    int64_t sum = 0;
    for (int64_t r = 0; r < l->rows; r++)
        for (int32_t i = 0; i < l->count[r]; i++) sum += weight ? llrintf(weight[r * n + l->index[r * l->stride + i]]) : 1;
    return sum;
}

/* Halves what is in question, from 1 down. */
sf_status sf_reference_top_mass_within(sf_backend *b, const float *x, int64_t rows, int64_t n, const float *weight, double share,
                                       int64_t least, int64_t most, int32_t *count, int32_t *whole)
{
    sf_meter before = *b->meter;
    sf_lists tried = {.stride = n, .count = count};
    sf_status status = sf_host_alloc(b, (size_t)(rows * n + 1) * sizeof *tried.index, (void **)&tried.index);
    int64_t m = 0;
    for (int64_t half = SF_DIALS / 2; half && status == SF_OK; half /= 2) {
        status = sf_reference_top_mass(b, x, rows, n, (float)(share * sf_dial_at(m + half)), least, n, &tried);
        if (status == SF_OK && weigh(&tried, n, weight) <= most) m += half;
    }
    if (status == SF_OK) status = sf_reference_top_mass(b, x, rows, n, (float)(share * sf_dial_at(m)), least, n, &tried);
    tried.count = whole;
    if (status == SF_OK && whole) status = sf_reference_top_mass(b, x, rows, n, (float)sf_dial_at(m), 1, n, &tried);
    sf_host_free(b, tried.index);
    *b->meter = before;
    return status;
}

sf_status sf_reference_accumulate(sf_backend *b, float *y, int64_t stride, float keep, const float *x, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            float *to = y + r * stride + i;
            if (*to != -INFINITY) *to = keep * *to + (x ? x[r * n + i] : 0);
        }
    sf_meter_scores(b, (x ? 2 : 1) * rows * n, rows * n, 2 * rows * n);
    return SF_OK;
}

sf_status sf_reference_multiply(sf_backend *b, float *y, const float *x, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows * n; i++) y[i] *= x[i];
    sf_meter_scores(b, 2 * rows * n, rows * n, rows * n);
    return SF_OK;
}

sf_status sf_reference_fill_except(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value)
{
    for (int64_t r = 0; r < rows; r++) {
        const int32_t *list = at->index + r * at->stride, *end = list + at->count[r];
        for (int64_t i = 0; i < n; i++) {
            if (list < end && *list == i)
                list++;
            else
                x[r * n + i] = value;
        }
    }
    sf_meter_scores(b, 0, rows * n, 0);
    return SF_OK;
}
