/* CPU: k-means of keys. Segments are a thread's each; sums go in the order of the keys. */
#include <math.h>
#include <string.h>

#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

/* One segment of one kv head. */
typedef struct segment {
    const sf_attention *a;
    int g, begin, end, first, clusters;
    int32_t *member; /* [keys] of the head */
    double *at, *half, *sum;  /* [clusters, D] centroids; [clusters] half of their squared lengths; [clusters, D + 1] sums and counts */
} segment;

static void assign(const segment *s)
{
    int dim = s->a->head_dim;
    for (int c = 0; c < s->clusters; c++) {
        s->half[c] = 0;
        for (int d = 0; d < dim; d++) s->half[c] += 0.5 * s->at[c * dim + d] * s->at[c * dim + d];
    }
    for (int j = s->begin; j < s->end; j++) {
        const float *k = sf_cpu_row(s->a, s->g, j, false);
        double most = -INFINITY;
        for (int c = 0; c < s->clusters; c++) {
            double dot = -s->half[c];
            for (int d = 0; d < dim; d++) dot += k[d] * s->at[c * dim + d];
            if (dot > most) most = dot, s->member[j] = s->first + c;
        }
    }
}

/* Means of members' keys or values to `out`; clusters without any stay. */
static void means(const segment *s, bool values, double *out)
{
    int64_t dim = s->a->head_dim, width = dim + 1;
    memset(s->sum, 0, (size_t)(s->clusters * width) * sizeof *s->sum);
    for (int j = s->begin; j < s->end; j++) {
        const float *x = sf_cpu_row(s->a, s->g, j, values);
        double *sum = s->sum + (s->member[j] - s->first) * width;
        for (int d = 0; d < dim; d++) sum[d] += x[d];
        sum[dim]++;
    }
    for (int c = 0; c < s->clusters; c++)
        for (int d = 0; d < dim && s->sum[c * width + dim] > 0; d++) out[c * dim + d] = s->sum[c * width + d] / s->sum[c * width + dim];
}

static void cluster(const segment *s, const sf_kmeans_how *how, int all, float *centroid, float *value, float *size, float *log_size)
{
    int dim = s->a->head_dim, group = s->a->heads / s->a->kv_heads;
    for (int c = 0; c < s->clusters; c++) {
        const float *k = sf_cpu_row(s->a, s->g, s->begin + (int64_t)c * (s->end - s->begin) / s->clusters, false);
        for (int d = 0; d < dim; d++) s->at[c * dim + d] = k[d];
    }
    for (int pass = 0; pass <= how->iterations; pass++) assign(s), means(s, false, s->at);
    int64_t to = ((int64_t)s->g * all + s->first) * dim, n = (int64_t)s->clusters * dim;
    for (int64_t i = 0; i < n; i++) centroid[to + i] = (float)s->at[i], s->at[i] = 0;
    means(s, true, s->at);
    for (int64_t i = 0; i < n; i++) value[to + i] = (float)s->at[i];
    for (int c = 0; c < s->clusters; c++) {
        double there = fmax(s->sum[c * (dim + 1) + dim], exp(-60));
        for (int h = s->g * group; h < (s->g + 1) * group; h++) {
            size[(int64_t)h * all + s->first + c] = (float)there;
            log_size[(int64_t)h * all + s->first + c] = (float)log(there);
        }
    }
}

sf_status sf_cpu_kmeans(sf_backend *b, const sf_attention *a, const sf_kmeans_how *how, int64_t room, int32_t *member, void *centroid,
                        void *value, float *size, float *log_size)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "kmeans"));
    int keys = how->end - how->begin, segments = (int)sf_cpu_parts(keys, how->segment), all = sf_clusters(how);
    int64_t most = sf_cpu_parts(how->segment < keys ? how->segment : keys, how->each), dim = a->head_dim;
    sf_mark mark = sf_scratch_mark(b);
    double *own;
    SF_TRY(sf_cpu_room(b, most * (2 * dim + 2) + 1, sizeof *own, (void **)&own));
    for (int64_t i = 0; i < a->kv_heads * room; i++) member[i] = -1;
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
    for (int unit = 0; unit < a->kv_heads * segments; unit++) {
        double *mine = own + omp_get_thread_num() * (most * (2 * dim + 2) + 1);
        int g = unit / segments, i = unit % segments, begin = how->begin + i * how->segment;
        int end = begin + how->segment < how->end ? begin + how->segment : how->end;
        segment s = {.a = a, .g = g, .begin = begin, .end = end, .first = i * (int)sf_cpu_parts(how->segment, how->each),
                     .clusters = (int)sf_cpu_parts(end - begin, how->each), .member = member + g * room,
                     .at = mine, .half = mine + most * dim, .sum = mine + most * (dim + 1)};
        cluster(&s, how, all, centroid, value, size, log_size);
    }
    sf_scratch_release(b, mark);
    sf_meter_kmeans(b, a, how);
    return SF_OK;
}
