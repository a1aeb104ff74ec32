#include "methods/gates.h"

#include <math.h>
#include <stdlib.h>

/* cos and sin [T, D/2] of each row's position, in fp32 as the model's own tables (harness/engine/rope.h). */
static void angles(const sf_attention *a, const float *frequency, float *cosine, float *sine)
{
    const int half = a->head_dim / 2, first = a->keys - a->queries;
    for (int i = 0; i < a->queries; i++)
        for (int d = 0; d < half; d++) {
            const float angle = (float)(first + i) * frequency[d];
            cosine[(int64_t)i * half + d] = cosf(angle), sine[(int64_t)i * half + d] = sinf(angle);
        }
}

/* w [D] turned to every row's position, [T, D]: its product with a query that was turned is that of the two before. */
static void turn(const sf_attention *a, const float *cosine, const float *sine, const float *w, float *out)
{
    const int half = a->head_dim / 2, apart = a->interleaved ? 1 : half, step = a->interleaved ? 2 : 1;
    for (int i = 0; i < a->queries; i++)
        for (int d = 0; d < half; d++) {
            const float c = cosine[(int64_t)i * half + d], s = sine[(int64_t)i * half + d], u = w[step * d], v = w[step * d + apart];
            float *to = out + (int64_t)i * a->head_dim + step * d;
            to[0] = u * c - v * s, to[apart] = u * s + v * c;
        }
}

/* How much larger the query of row i is than the projection that it was. */
static float grown(const sf_attention *a, int i)
{
    const sf_query_scale *s = &a->scaled;
    const float by = s->by != 0 ? s->by : 1;
    if (s->growth == 0) return by;
    return by * (1 + s->growth * logf(1 + floorf((float)(a->keys - a->queries + i + s->from) / (float)s->every)));
}

void sf_query_gates(sf_attention *a, sf_tensor weight, float *out)
{
    const int64_t rows = a->queries, dim = a->head_dim, half = dim / 2, group = a->heads / a->kv_heads;
    if (!a->status && a->rotated)
        a->status = sf_fail(SF_UNSUPPORTED, "gates of queries: latent attention has other queries than they were trained on");
    if (!a->status && !a->frequency) a->status = sf_fail(SF_UNSUPPORTED, "gates of queries need rotary positions");
    if (!a->status && a->scaled.learned)
        a->status = sf_fail(SF_UNSUPPORTED, "gates of queries: the model scales queries by numbers of its own (adaptive-scalable entmax), which gates "
                            "were not trained to see");
    if (a->status) return;
    float *host = malloc((size_t)(2 * rows * half + rows * dim + half + a->kv_heads * dim + 1) * sizeof *host);
    if (!host) {
        a->status = sf_fail(SF_NO_MEMORY, "gates of %lld queries", (long long)rows);
        return;
    }
    float *cosine = host, *sine = cosine + rows * half, *turned = sine + rows * half, *frequency = turned + rows * dim,
          *w = frequency + half;
    sf_tensor q = sf_block_means(a, false, 1), product = sf_room(a, rows, dim); /* the queries themselves, [H, T, D] */
    sf_read(a, (sf_tensor){(void *)a->frequency, SF_F32, 2, {1, half}}, frequency);
    sf_read(a, weight, w);
    if (!a->status) angles(a, frequency, cosine, sine);
    for (int g = 0; g < a->kv_heads && !a->status; g++) {
        turn(a, cosine, sine, w + g * dim, turned);
        sf_write(a, product, turned);
        sf_multiply(a, product, (sf_tensor){(float *)q.data + g * group * rows * dim, SF_F32, 2, {rows, dim}});
        sf_read(a, sf_block_sums(a, (sf_tensor){product.data, SF_F32, 2, {1, rows * dim}}, (int)dim), out + g * rows);
        for (int i = 0; i < rows && !a->status; i++) out[g * rows + i] /= grown(a, i);
    }
    free(host);
}

bool sf_gates_are_here(sf_attention *a, int first)
{
    if (!a->status && a->queries != a->keys - first)
        a->status = sf_fail(SF_UNSUPPORTED, "gates are of queries, and of %d keys there are %d", a->keys - first, a->queries);
    return !a->status;
}

/* Prefill: queries as floats; a product and a sum for each number of a group's first. Decode: the query is read, not the cache. */
sf_estimate sf_query_gates_estimate(const sf_extent *e, const void *params)
{
    (void)params;
    const double flops = e->phase == SF_PREFILL ? (double)e->tokens * e->head_dim * (e->heads + 2.0 * e->kv_heads) : 0;
    return (sf_estimate){.paper = flops, .exact = flops};
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
