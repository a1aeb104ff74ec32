/* Reference: α-entmax of one row. */
#include "kernels/reference/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* α = 2: of the k largest, τ = (Σ z - 1) / k; α = 1.5: the τ for which Σ (z - τ)² = 1. The support is the largest k whose τ leaves
 * its least in. */
static double by_sorting(const double *z, int64_t n, double alpha)
{
    double sorted[n], sum = 0, squares = 0, tau = 0;
    memcpy(sorted, z, (size_t)n * sizeof *z);
    qsort(sorted, (size_t)n, sizeof *sorted, falling);
    for (int64_t k = 1; k <= n; k++) {
        double x = sorted[k - 1] - sorted[0]; /* seen from the largest, for the sake of squares */
        sum += x, squares += x * x;
        double mean = sum / (double)k, apart = (1 - (squares - sum * mean)) / (double)k;
        double here = alpha == 2 ? mean - 1 / (double)k : mean - sqrt(apart > 0 ? apart : 0);
        if (here > x) break;
        tau = here + sorted[0];
    }
    return tau;
}

static double by_bisection(const double *z, int64_t n, double alpha)
{
    double most = -INFINITY;
    for (int64_t j = 0; j < n; j++) most = z[j] > most ? z[j] : most;
    double low = most - 1, high = most - pow((double)n, 1 - alpha); /* all the weight on one; on all alike */
    for (int step = 0; step < 100; step++) {
        double tau = (low + high) / 2, sum = 0;
        for (int64_t j = 0; j < n; j++)
            if (z[j] > tau) sum += pow(z[j] - tau, 1 / (alpha - 1));
        if (sum >= 1) low = tau;
        else high = tau;
    }
    return low;
}

void sf_reference_entmax(double *x, int64_t n, double alpha)
{
    double total = 0;
    for (int64_t j = 0; j < n; j++) x[j] *= alpha - 1;
    double tau = alpha == 1.5 || alpha == 2 ? by_sorting(x, n, alpha) : by_bisection(x, n, alpha);
    for (int64_t j = 0; j < n; j++) total += x[j] = x[j] - tau > 0 ? pow(x[j] - tau, 1 / (alpha - 1)) : 0 * x[j]; /* NaN stays */
    for (int64_t j = 0; j < n; j++) x[j] /= total;
}
