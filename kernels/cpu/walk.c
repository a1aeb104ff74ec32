/* CPU: inner products of rows, and a walk over blocks. A step of the walk adds rows of W to STRIP rows of the result at a time, so
 * that a row of W is read once for all of them; each row's sums go by the blocks in between, in order. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

enum { STRIP = 8 };

sf_status sf_cpu_inner_products(sf_backend *b, const float *x, const float *w, int64_t m, int64_t n, int64_t k, float *y)
{
    const sf_tensor matrix = {(void *)(uintptr_t)w, SF_F32, 2, {n, k}};
    sf_backend exact = *b; /* methods choose by what comes out */
    if (sf_cpu_tiles(b)->exact) exact.self = (void *)sf_cpu_tiles(b)->exact;
    SF_TRY(sf_cpu_product(&exact, x, m, &matrix, NULL, false, y));
    sf_meter_scores(b, (m + n) * k, m * n, 2 * m * n * k);
    return SF_OK;
}

static double largest(const double *row, int64_t n)
{
    double most = 0;
    for (int64_t j = 0; j < n; j++) most = fabs(row[j]) > most ? fabs(row[j]) : most;
    return most;
}

/* W [n, n]; above its diagonal nothing is written. */
static void weigh(const sf_backend *b, int64_t n, const float *score, int power, double *w)
{
    float most = 0;
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j <= c; j++) most = fabsf(score[c * n + j]) > most ? fabsf(score[c * n + j]) : most;
    if (most == 0) most = 1;
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j <= c; j++) {
            double x = score[c * n + j] / (double)most, y = x;
            for (int s = 1; s < power; s++) y *= x;
            w[c * n + j] = y;
        }
}

/* sum [STRIP, n] of rows first … end - 1 of the walk. */
static void step(int64_t n, int64_t first, int64_t end, const double *w, const float *walk, double *sum)
{
    memset(sum, 0, (size_t)((end - first) * n) * sizeof *sum);
    for (int64_t c = 0; c < end; c++)
        for (int64_t i = c > first ? c : first; i < end; i++) {
            double x = walk[i * n + c], *restrict to = sum + (i - first) * n;
            const double *restrict from = w + c * n;
            for (int64_t j = 0; j <= c; j++) to[j] += x * from[j];
        }
}

sf_status sf_cpu_walk(sf_backend *b, int64_t n, const float *score, int power, float *walk)
{
    double *w, *room;
    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_scratch_alloc(b, (size_t)(n * n) * sizeof *w, (void **)&w));
    SF_TRY(sf_cpu_room(b, STRIP * n, sizeof *room, (void **)&room));
    weigh(b, n, score, power, w);
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int64_t strip = sf_cpu_parts(n, STRIP) - 1; strip >= 0; strip--) { /* the longest rows first */
        int64_t first = strip * STRIP, end = first + STRIP < n ? first + STRIP : n;
        double *sum = room + omp_get_thread_num() * STRIP * n;
        step(n, first, end, w, walk, sum);
        for (int64_t i = first; i < end; i++) {
            const double *row = sum + (i - first) * n;
            double scale = largest(row, i + 1);
            if (scale == 0) row = w + i * n, scale = largest(row, i + 1);
            for (int64_t j = 0; j < n; j++) walk[i * n + j] = j > i ? -INFINITY : (float)(scale > 0 ? row[j] / scale : 0);
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_walk(b, n, power);
    return SF_OK;
}
