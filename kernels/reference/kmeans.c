/* Reference: k-means of keys. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/host.h"
#include "kernels/reference/reference.h"

/* The nearest of n centroids, the first of equal ones. */
static int nearest(const float *k, const double *centroid, int n, int dim)
{
    int best = 0;
    double least = INFINITY;
    for (int c = 0; c < n; c++) {
        double apart = 0;
        for (int d = 0; d < dim; d++) apart += (k[d] - centroid[c * dim + d]) * (k[d] - centroid[c * dim + d]);
        if (apart < least) least = apart, best = c;
    }
    return best;
}

/* Means of the members' keys, or values, in the order of the keys; clusters without any stay. */
static void means(const sf_attention *a, int g, int begin, int end, const int32_t *member, int first, int n, bool values, double *out)
{
    int dim = a->head_dim;
    for (int c = 0; c < n; c++) {
        double sum[dim];
        int there = 0;
        memset(sum, 0, sizeof sum);
        for (int j = begin; j < end; j++) {
            if (member[j] != first + c) continue;
            const float *x = values ? sf_reference_value(a, g, j) : sf_reference_key(a, g, j);
            for (int d = 0; d < dim; d++) sum[d] += x[d];
            there++;
        }
        for (int d = 0; there && d < dim; d++) out[c * dim + d] = sum[d] / there;
    }
}

sf_status sf_reference_kmeans(sf_backend *b, const sf_attention *a, const sf_kmeans_how *how, int64_t room, int32_t *member,
                              void *centroid, void *value, float *size, float *log_size)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "kmeans"));
    int dim = a->head_dim, clusters = sf_clusters(how), most = (how->segment + how->each - 1) / how->each, group = a->heads / a->kv_heads;
    double *at;
    SF_TRY(sf_host_alloc(b, (size_t)(2 * most * dim + 1) * sizeof *at, (void **)&at));
    double *of_values = at + most * dim;
    for (int g = 0; g < a->kv_heads; g++) {
        int32_t *own = member + g * room;
        int first = 0;
        for (int64_t j = 0; j < room; j++) own[j] = -1;
        for (int begin = how->begin; begin < how->end; begin += how->segment) {
            int end = begin + how->segment < how->end ? begin + how->segment : how->end, n = (end - begin + how->each - 1) / how->each;
            for (int c = 0; c < n; c++)
                for (int d = 0; d < dim; d++)
                    at[c * dim + d] = sf_reference_key(a, g, begin + (int)((int64_t)c * (end - begin) / n))[d], of_values[c * dim + d] = 0;
            for (int pass = 0; pass <= how->iterations; pass++) {
                for (int j = begin; j < end; j++) own[j] = first + nearest(sf_reference_key(a, g, j), at, n, dim);
                means(a, g, begin, end, own, first, n, false, at);
            }
            means(a, g, begin, end, own, first, n, true, of_values);
            for (int64_t i = 0; i < (int64_t)n * dim; i++) {
                int64_t to = ((int64_t)g * clusters + first) * dim + i;
                ((float *)centroid)[to] = (float)at[i], ((float *)value)[to] = (float)of_values[i];
            }
            for (int c = first; c < first + n; c++) {
                double there = 0;
                for (int j = begin; j < end; j++) there += own[j] == c;
                for (int h = g * group; h < (g + 1) * group; h++) {
                    size[(int64_t)h * clusters + c] = (float)fmax(there, exp(-60));
                    log_size[(int64_t)h * clusters + c] = (float)log(fmax(there, exp(-60)));
                }
            }
            first += n;
        }
    }
    sf_host_free(b, at);
    sf_meter_kmeans(b, a, how);
    return SF_OK;
}
