/* CPU: rows of scores, reduced, pooled, marked, and chosen from.
 *
 * Choosing the k best needs no sort (tile_select.h). top_mass() needs the order itself, and sorts by radix. */
#include "kernels/count.h"
#include "kernels/cpu/cpu.h"
#include "kernels/promise.h"

#include <math.h>
#include <string.h>

sf_status sf_cpu_reduce_rows(sf_backend *b, const float *x, int64_t rows, int group, int64_t n, sf_reduce reduce,
                             float *out)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * group * n > 1 << 15)
    for (int64_t r = 0; r < rows; r++) {
        float *restrict to = out + r * n;
        for (int64_t i = 0; i < n; i++) to[i] = reduce == SF_MAX ? -INFINITY : 0;
        for (int m = 0; m < group; m++) {
            const float *from = x + (r * group + m) * n;
            if (reduce == SF_MAX)
                for (int64_t i = 0; i < n; i++) to[i] = from[i] > to[i] ? from[i] : to[i];
            else
                for (int64_t i = 0; i < n; i++) to[i] += from[i];
        }
        if (reduce == SF_MEAN)
            for (int64_t i = 0; i < n; i++) to[i] /= (float)group;
    }
    sf_meter_scores(b, rows * group * n, rows * n, rows * group * n);
    return SF_OK;
}

sf_status sf_cpu_pool(sf_backend *b, const float *x, int64_t rows, int64_t n, int kernel, sf_reduce reduce, float *out)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * n;
        float *restrict to = out + r * n;
        for (int64_t i = 0; i < n; i++) to[i] = reduce == SF_MAX ? -INFINITY : 0;
        for (int64_t shift = -(kernel / 2); shift <= kernel / 2; shift++) {
            int64_t begin = shift < 0 ? -shift : 0, end = shift > 0 ? n - shift : n;
            if (reduce == SF_MAX)
                for (int64_t i = begin; i < end; i++) to[i] = from[i + shift] > to[i] ? from[i + shift] : to[i];
            else
                for (int64_t i = begin; i < end; i++) to[i] += from[i + shift];
        }
        if (reduce == SF_MEAN)
            for (int64_t i = 0; i < n; i++) to[i] /= (float)kernel;
    }
    sf_meter_scores(b, rows * n, rows * n, rows * n * kernel);
    return SF_OK;
}

sf_status sf_cpu_fill(sf_backend *b, float *x, int64_t rows, int64_t n, int64_t begin, int64_t end, float value)
{
    if (begin < 0) begin = 0;
    if (end > n) end = n;
    if (end < begin) end = begin;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = begin; i < end; i++) x[r * n + i] = value;
    sf_meter_scores(b, 0, rows * (end - begin), 0);
    return SF_OK;
}

sf_status sf_cpu_fill_at(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value)
{
    for (int64_t r = 0; r < rows; r++)
        for (int32_t i = 0; i < at->count[r]; i++) x[r * n + at->index[r * at->stride + i]] = value;
    sf_meter_scores(b, 0, rows * at->stride, 0); /* the lists' room, as where their counts are on a device */
    return SF_OK;
}

/* ---- choices ----------------------------------------------------------------------------------------------------- */

/* An integer of the same order; 0 for what is never chosen, NaN and -INFINITY. */
static inline uint32_t rank(float x)
{
    uint32_t bits;
    x += 0.0f; /* -0 and 0 tie */
    memcpy(&bits, &x, sizeof bits);
    uint32_t ordered = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
    return x > -INFINITY ? ordered : 0;
}

sf_status sf_cpu_top(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, sf_lists *out)
{
    sf_mark mark = sf_scratch_mark(b);
    uint32_t *room;
    SF_TRY(sf_cpu_room(b, n, sizeof *room, (void **)&room));
    out->rows = rows;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++)
        out->count[r] =
            sf_cpu_tiles(b)->best(x + r * n, n, k, room + omp_get_thread_num() * n, out->index + r * out->stride);
    sf_scratch_release(b, mark);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

sf_status sf_cpu_top_counts(sf_backend *b, const float *x, int64_t rows, int64_t n, const int32_t *count, int64_t most,
                            sf_lists *out)
{
    sf_mark mark = sf_scratch_mark(b);
    uint32_t *room;
    SF_TRY(sf_cpu_room(b, n, sizeof *room, (void **)&room));
    out->rows = rows;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++)
        out->count[r] = sf_cpu_tiles(b)->best(x + r * n, n, count[r] < most ? count[r] : most,
                                              room + omp_get_thread_num() * n, out->index + r * out->stride);
    sf_scratch_release(b, mark);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

sf_status sf_cpu_top_total(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t total, sf_lists *out)
{
    sf_mark mark = sf_scratch_mark(b);
    uint32_t *room;
    int32_t *chosen;
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * n) * sizeof *room, (void **)&room));
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * n) * sizeof *chosen, (void **)&chosen));
    int32_t m = sf_cpu_tiles(b)->best(x, rows * n, total, room, chosen);
    out->rows = rows;
    for (int64_t r = 0; r < rows; r++) out->count[r] = 0;
    for (int32_t i = 0; i < m; i++) { /* ascending over all rows is ascending in each */
        int64_t r = chosen[i] / n;
        out->index[r * out->stride + out->count[r]++] = (int32_t)(chosen[i] % n);
    }
    sf_scratch_release(b, mark);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

typedef struct ranked {
    uint32_t rank;
    int32_t index;
} ranked;

/* Sorts descending by rank, stable; three passes leave the result in `to`. */
static void sort_descending(ranked *from, ranked *to, int64_t n)
{
    static const int shift[] = {0, 11, 22};
    for (int pass = 0; pass < 3; pass++) {
        int64_t start[1 << 11] = {0}, sum = 0;
        for (int64_t i = 0; i < n; i++) start[from[i].rank >> shift[pass] & 2047]++;
        for (int bin = 2047; bin >= 0; bin--) {
            int64_t here = start[bin];
            start[bin] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < n; i++) to[start[from[i].rank >> shift[pass] & 2047]++] = from[i];
        ranked *swap = from;
        from = to;
        to = swap;
    }
}

sf_status sf_cpu_order(sf_backend *b, const float *x, int64_t rows, int64_t n, int32_t *count, int32_t *index,
                       double *covered, double *total)
{
    sf_mark mark = sf_scratch_mark(b);
    ranked *room;
    SF_TRY(sf_cpu_room(b, 2 * n, sizeof *room, (void **)&room));
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int64_t r = 0; r < rows; r++) {
        ranked *entry = room + omp_get_thread_num() * 2 * n, *sorted = entry + n;
        const float *row = x + r * n;
        int32_t m = 0;
        for (int64_t i = 0; i < n; i++)
            if (row[i] > -INFINITY) entry[m++] = (ranked){rank(row[i]), (int32_t)i};
        sort_descending(entry, sorted, m);
        count[r] = m;
        for (int32_t i = 0; index && i < m; i++) index[r * n + i] = sorted[i].index;
        if (!covered) continue;
        double *most = covered + r * (n + 1), sum = 0;
        total[r] = most[0] = 0;
        for (int64_t i = 0; i < n; i++) total[r] += isfinite(row[i]) ? row[i] : 0;
        for (int32_t i = 0; i < m; i++) {
            sum += isfinite(row[sorted[i].index]) ? row[sorted[i].index] : 0;
            most[i + 1] = sum > most[i] ? sum : most[i];
        }
    }
    sf_scratch_release(b, mark);
    return SF_OK;
}

sf_status sf_cpu_cover(sf_backend *b, int64_t rows, int64_t n, const float *x, int32_t *index, sf_cpu_covering *c)
{
    SF_TRY(sf_scratch_alloc(b, (size_t)rows * sizeof *c->count, (void **)&c->count));
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * (n + 1)) * sizeof *c->covered, (void **)&c->covered));
    SF_TRY(sf_scratch_alloc(b, (size_t)rows * sizeof *c->total, (void **)&c->total));
    return sf_cpu_order(b, x, rows, n, c->count, index, c->covered, c->total);
}

int64_t sf_cpu_amount(const sf_cpu_covering *c, int64_t r, int64_t n, double mass, int64_t least)
{
    const double *covered = c->covered + r * (n + 1);
    int64_t low = 0, high = c->count[r];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (covered[middle] < mass * c->total[r])
            low = middle + 1;
        else
            high = middle;
    }
    if (low < least) low = least;
    return low < c->count[r] ? low : c->count[r];
}

/* heavy [rows, n + 1]: what a row's best 0 … n weigh. */
static void add_up(const float *weight, const int32_t *index, const int32_t *count, int64_t rows, int64_t n, int64_t *heavy)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t *sum = heavy + r * (n + 1);
        sum[0] = 0;
        for (int32_t i = 0; i < count[r]; i++) sum[i + 1] = sum[i] + llrintf(weight[r * n + index[r * n + i]]);
    }
}

/* Rows are sorted once: a trial is a search in the sums of each. */
sf_status sf_cpu_top_mass_within(sf_backend *b, const float *x, int64_t rows, int64_t n, const float *weight, double share, int64_t least,
                                 int64_t most, int32_t *count, int32_t *whole)
{
    sf_mark mark = sf_scratch_mark(b);
    sf_cpu_covering c;
    int32_t *index = NULL;
    int64_t *heavy = NULL, m = 0;
    if (weight) SF_TRY(sf_scratch_alloc(b, (size_t)(rows * n) * sizeof *index, (void **)&index));
    if (weight) SF_TRY(sf_scratch_alloc(b, (size_t)(rows * (n + 1)) * sizeof *heavy, (void **)&heavy));
    SF_TRY(sf_cpu_cover(b, rows, n, x, index, &c));
    if (weight) add_up(weight, index, c.count, rows, n, heavy);
    for (int64_t half = SF_DIALS / 2; half; half /= 2) {
        int64_t sum = 0;
        for (int64_t r = 0; r < rows; r++) {
            int64_t taken = sf_cpu_amount(&c, r, n, (float)(share * sf_dial_at(m + half)), least);
            sum += weight ? heavy[r * (n + 1) + taken] : taken;
        }
        if (sum <= most) m += half;
    }
    for (int64_t r = 0; r < rows; r++) {
        count[r] = (int32_t)sf_cpu_amount(&c, r, n, (float)(share * sf_dial_at(m)), least);
        if (whole) whole[r] = (int32_t)sf_cpu_amount(&c, r, n, (float)sf_dial_at(m), 1);
    }
    sf_scratch_release(b, mark);
    return SF_OK;
}

static int32_t best_mass(const float *x, int64_t n, float mass, int64_t least, int64_t most, ranked *room,
                         int32_t *index)
{
    ranked *entry = room, *sorted = room + n;
    int64_t m = 0, prefix = 0;
    double total = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        total += isfinite(x[i]) ? x[i] : 0;
        if (x[i] > -INFINITY) entry[m++] = (ranked){rank(x[i]), (int32_t)i};
    }
    sort_descending(entry, sorted, m);
    for (; prefix < m && sum < mass * total; prefix++)
        sum += isfinite(x[sorted[prefix].index]) ? x[sorted[prefix].index] : 0;
    if (prefix < least) prefix = least;
    if (prefix > most) prefix = most;
    if (prefix > m) prefix = m;
    if (prefix <= 0) return 0;

    int64_t equal = 0; /* of the last entry's rank, in the prefix: they are the lowest indices of that rank */
    uint32_t last = sorted[prefix - 1].rank;
    while (equal < prefix && sorted[prefix - 1 - equal].rank == last) equal++;
    int32_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t r = rank(x[i]);
        if (r > last || (r == last && equal-- > 0)) index[count++] = (int32_t)i;
    }
    return count;
}

sf_status sf_cpu_top_mass(sf_backend *b, const float *x, int64_t rows, int64_t n, float mass, int64_t least,
                          int64_t most, sf_lists *out)
{
    sf_mark mark = sf_scratch_mark(b);
    ranked *room;
    SF_TRY(sf_cpu_room(b, 2 * n, sizeof *room, (void **)&room));
    out->rows = rows;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int64_t r = 0; r < rows; r++)
        out->count[r] = best_mass(x + r * n, n, mass, least, most, room + omp_get_thread_num() * 2 * n,
                                  out->index + r * out->stride);
    sf_scratch_release(b, mark);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

sf_status sf_cpu_accumulate(sf_backend *b, float *y, int64_t stride, float keep, const float *x, int64_t rows, int64_t n)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * n > 1 << 16)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            float *to = y + r * stride + i;
            if (*to != -INFINITY) *to = keep * *to + (x ? x[r * n + i] : 0);
        }
    sf_meter_scores(b, (x ? 2 : 1) * rows * n, rows * n, 2 * rows * n);
    return SF_OK;
}

sf_status sf_cpu_multiply(sf_backend *b, float *y, const float *x, int64_t rows, int64_t n)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * n > 1 << 16)
    for (int64_t i = 0; i < rows * n; i++) y[i] *= x[i];
    sf_meter_scores(b, 2 * rows * n, rows * n, rows * n);
    return SF_OK;
}

sf_status sf_cpu_fill_except(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * n > 1 << 16)
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
