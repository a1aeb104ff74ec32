#include "methods/gates.h"

#include "kernels/backend.h"
#include "kernels/host.h"

void sf_query_gates(sf_attention *a, sf_tensor weight, const sf_tensor *slope, float *gate, int64_t stride)
{
    if (!a->status && a->rotated)
        a->status = sf_fail(SF_UNSUPPORTED, "gates of queries: latent attention has other queries than they were trained on");
    if (!a->status && !a->frequency) a->status = sf_fail(SF_UNSUPPORTED, "gates of queries need rotary positions");
    if (!a->status && a->scaled.learned)
        a->status = sf_fail(SF_UNSUPPORTED, "gates of queries: the model scales queries by numbers of its own (adaptive-scalable entmax), which gates "
                            "were not trained to see");
    if (a->status) return;
    const sf_backend_ops *ops = a->backend->ops;
    a->status = (ops->query_gates ? ops->query_gates : sf_host_query_gates)(a->backend, a, weight.data, slope ? slope->data : NULL, gate, stride);
}

void sf_marks(sf_attention *a, const float *x, int64_t from, int64_t rows, int64_t n, sf_tensor most, float *y, int64_t to)
{
    const sf_backend_ops *ops = a->backend->ops;
    if (!a->status) a->status = (ops->marks ? ops->marks : sf_host_marks)(a->backend, x, from, rows, n, most.data, y, to);
}

sf_lists sf_top_running(sf_attention *a, sf_tensor x, int64_t k, int64_t behind)
{
    const sf_backend_ops *ops = a->backend->ops;
    const int64_t rows = x.dim[0], n = x.dim[1];
    k = k < n ? k : n;
    sf_lists out = {.rows = rows * n, .stride = k};
    if (!a->status) a->status = sf_scratch_alloc(a->backend, (size_t)(rows * n) * sizeof *out.count, (void **)&out.count);
    if (!a->status) a->status = sf_scratch_alloc(a->backend, (size_t)(rows * n * k) * sizeof *out.index, (void **)&out.index);
    if (!a->status) a->status = (ops->top_running ? ops->top_running : sf_host_top_running)(a->backend, x.data, rows, n, k, behind, &out);
    return out;
}

bool sf_gates_are_here(sf_attention *a, int first)
{
    if (!a->status && a->queries != a->keys - first)
        a->status = sf_fail(SF_UNSUPPORTED, "gates are of queries, and of %d keys there are %d", a->keys - first, a->queries);
    return !a->status;
}

/* Prefill: a product for each gate; decode: the gates' weights, which are of f32. */
double sf_query_gates_cost(const sf_extent *e, bool sloped)
{
    const double weights = (double)e->kv_heads * (e->head_dim + sloped);
    return e->phase == SF_PREFILL ? 2 * weights * e->tokens : weights * (double)sf_bytes(SF_F32, 1) / (double)sf_bytes(e->element, 1);
}

sf_status sf_latest_and(sf_attention *a, int latest, sf_lists columns, sf_pattern *out)
{
    sf_band band[SF_BANDS_A_HEAD * a->kv_heads];
    for (int g = 0; g < a->kv_heads; g++) {
        band[SF_BANDS_A_HEAD * g] = (sf_band){.far = latest, .step = 1};
        band[SF_BANDS_A_HEAD * g + 1] = (sf_band){0};
    }
    return sf_bands(a, out, a->kv_heads, band, columns, (sf_lists){0});
}
