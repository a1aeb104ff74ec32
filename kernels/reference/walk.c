/* Reference: inner products of rows, and a walk over blocks. */
#include <math.h>

#include "kernels/count.h"
#include "kernels/host.h"
#include "kernels/reference/reference.h"

sf_status sf_reference_inner_products(sf_backend *b, const float *x, const float *w, int64_t m, int64_t n, int64_t k, float *y)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t c = 0; c < k; c++) sum += (double)x[i * k + c] * w[j * k + c];
            y[i * n + j] = (float)sum;
        }
    sf_meter_scores(b, (m + n) * k, m * n, 2 * m * n * k);
    return SF_OK;
}

static double largest(const double *row, int64_t i)
{
    double most = 0;
    for (int64_t j = 0; j <= i; j++) most = fabs(row[j]) > most ? fabs(row[j]) : most;
    return most;
}

sf_status sf_reference_walk(sf_backend *b, int64_t n, const float *score, int power, float *walk)
{
    double *row, most = 0;
    SF_TRY(sf_host_alloc(b, (size_t)n * sizeof *row, (void **)&row));
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j <= c; j++) most = fabs(score[c * n + j]) > most ? fabs(score[c * n + j]) : most;
    if (most == 0) most = 1;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            row[j] = 0;
            for (int64_t c = j; c <= i; c++) row[j] += walk[i * n + c] * pow(score[c * n + j] / most, power);
        }
        if (largest(row, i) == 0)
            for (int64_t j = 0; j <= i; j++) row[j] = pow(score[i * n + j] / most, power);
        double scale = largest(row, i);
        for (int64_t j = 0; j < n; j++) walk[i * n + j] = j > i ? -INFINITY : (float)(scale > 0 ? row[j] / scale : 0);
    }
    sf_host_free(b, row);
    sf_meter_walk(b, n, power);
    return SF_OK;
}
