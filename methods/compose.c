/* The vocabulary of methods/method.h over the backend table: scratch for every result, and one sticky status. */
#include "methods/method.h"

#include "base/splitmix.h"
#include "kernels/comm.h"
#include "kernels/count.h"
#include "kernels/promise.h"
#include "methods/probes.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

static void *scratch(sf_attention *a, size_t bytes)
{
    void *p = NULL;
    if (a->status == SF_OK) a->status = sf_scratch_alloc(a->backend, bytes, &p);
    return p;
}

static sf_tensor floats(sf_attention *a, int rank, int64_t d0, int64_t d1, int64_t d2)
{
    sf_tensor t = {.dtype = SF_F32, .rank = rank, .dim = {d0, d1, rank > 2 ? d2 : 0}};
    t.data = scratch(a, (size_t)(d0 * d1 * (rank > 2 ? d2 : 1)) * sizeof(float));
    return t;
}

static sf_lists lists(sf_attention *a, int64_t rows, int64_t stride)
{
    sf_lists l = {.rows = rows, .stride = stride};
    l.count = scratch(a, (size_t)rows * sizeof(int32_t));
    l.index = scratch(a, (size_t)(rows * stride) * sizeof(int32_t));
    return l;
}

/* What is of all heads is computed on every rank alike, and counted on one. Returns the meter to be put back. */
static sf_meter *count_once(sf_attention *a)
{
    sf_meter *before = a->backend->meter;
    if (a->comm && a->across == SF_ONE_FOR_ALL && a->comm->rank > 0) a->backend->meter = &a->backend->aside;
    return before;
}

static sf_meter *count_rows(sf_attention *a, int64_t rows) { return rows == 1 ? count_once(a) : a->backend->meter; }

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t blocks_in(int64_t n, int64_t block) { return (n + block - 1) / block; }

/* ---- scores --------------------------------------------------------------------------------------------------------
 */

/* Lanes that evict from one prompt mostly ask for the same columns; who only reads them again counts the probe too. */
static bool ask_again(sf_attention *a, int window, sf_reduce reduce, const sf_tensor *column)
{
    sf_backend *b = a->backend;
    for (int i = 0; a->probes && i < a->probes->n; i++) {
        if (a->probes->probe[i].window != window || a->probes->probe[i].reduce != reduce) continue;
        a->status = b->ops->copy(b, column->data, a->probes->probe[i].column, (size_t)sf_elements(column) * sizeof(float));
        sf_meter_probe(b, a, window, 1, true, false);
        a->probes->saved += a->probes->probe[i].seconds;
        return true;
    }
    return false;
}

static sf_status probe_and_keep(sf_attention *a, int window, sf_reduce reduce, const sf_tensor *column)
{
    sf_backend *b = a->backend;
    struct sf_probe_columns *to = &a->probes->probe[a->probes->n];
    double began = a->probes->clock(b);
    SF_TRY(b->ops->probe(b, a, window, 1, reduce, column->data, NULL));
    SF_TRY(b->ops->copy(b, to->column, column->data, (size_t)sf_elements(column) * sizeof(float)));
    to->window = window, to->reduce = reduce, to->seconds = a->probes->clock(b) - began;
    a->probes->n++;
    return SF_OK;
}

void sf_probe(sf_attention *a, int window, sf_reduce reduce, sf_tensor *column, sf_tensor *diagonal)
{
    if (column) *column = floats(a, 2, a->heads, a->keys, 0);
    if (diagonal) *diagonal = floats(a, 2, a->heads, a->keys, 0);
    bool columns = column && !diagonal;
    if (a->status || (columns && ask_again(a, window, reduce, column))) return;
    if (columns && a->probes && a->probes->n < SF_PROBES)
        a->status = probe_and_keep(a, window, reduce, column);
    else
        a->status = a->backend->ops->probe(a->backend, a, window, 1, reduce, column ? column->data : NULL,
                                           diagonal ? diagonal->data : NULL);
}

sf_tensor sf_probe_every(sf_attention *a, int step, sf_reduce reduce)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->probe(a->backend, a, a->queries, step, reduce, out.data, NULL);
    return out;
}

sf_tensor sf_probe_near(sf_attention *a, int near, sf_reduce reduce)
{
    sf_attention within = *a;
    within.window = near < a->keys ? near : 0;
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->probe(a->backend, &within, a->queries, 1, reduce, out.data, NULL);
    return out;
}

sf_tensor sf_group(sf_attention *a, sf_tensor x, sf_reduce reduce)
{
    sf_tensor out = floats(a, 2, a->kv_heads, x.dim[1], 0);
    if (a->status) return out;
    a->status = a->backend->ops->reduce_rows(a->backend, x.data, a->kv_heads, a->heads / a->kv_heads, x.dim[1], reduce,
                                             out.data);
    return out;
}

sf_tensor sf_pool(sf_attention *a, sf_tensor x, int kernel, sf_reduce reduce)
{
    sf_tensor out = floats(a, 2, x.dim[0], x.dim[1], 0);
    if (a->status) return out;
    a->status = a->backend->ops->pool(a->backend, x.data, x.dim[0], x.dim[1], kernel, reduce, out.data);
    return out;
}

static void fill(sf_attention *a, sf_tensor x, int64_t begin, int64_t end, float value)
{
    if (a->status) return;
    sf_meter *before = count_rows(a, x.dim[0]);
    a->status = a->backend->ops->fill(a->backend, x.data, x.dim[0], x.dim[1], begin, end, value);
    a->backend->meter = before;
}

void sf_force(sf_attention *a, sf_tensor x, int64_t begin, int64_t end) { fill(a, x, begin, end, INFINITY); }
void sf_exclude(sf_attention *a, sf_tensor x, int64_t begin, int64_t end) { fill(a, x, begin, end, -INFINITY); }

void sf_force_at(sf_attention *a, sf_tensor x, sf_lists at)
{
    if (a->status) return;
    a->status = a->backend->ops->fill_at(a->backend, x.data, x.dim[0], x.dim[1], &at, INFINITY);
}

void sf_fill_at(sf_attention *a, sf_tensor x, sf_lists at, double value)
{
    if (a->status) return;
    a->status = a->backend->ops->fill_at(a->backend, x.data, x.dim[0], x.dim[1], &at, (float)value);
}

/* reduce_rows() adds up `block` rows of one element each: a row of x, padded with zeros to whole blocks, is such rows.
 */
sf_tensor sf_block_sums(sf_attention *a, sf_tensor x, int block)
{
    sf_backend *b = a->backend;
    int64_t rows = x.dim[0], n = x.dim[1], blocks = blocks_in(n, block), padded = blocks * block;
    sf_tensor out = floats(a, 2, rows, blocks, 0);
    float *from = x.data;
    if (padded != n) {
        from = scratch(a, (size_t)(rows * padded) * sizeof(float));
        if (a->status == SF_OK) a->status = b->ops->zero(b, from, (size_t)(rows * padded) * sizeof(float));
        for (int64_t r = 0; r < rows && a->status == SF_OK; r++)
            a->status = b->ops->copy(b, from + r * padded, (float *)x.data + r * n, (size_t)n * sizeof(float));
    }
    if (a->status) return out;
    a->status = b->ops->reduce_rows(b, from, rows * blocks, block, 1, SF_SUM, out.data);
    return out;
}

sf_tensor sf_block_means(sf_attention *a, bool of_keys, int block)
{
    int64_t heads = of_keys ? a->kv_heads : a->heads, rows = of_keys ? a->keys : a->queries;
    sf_tensor out = floats(a, 3, heads, blocks_in(rows, block), a->head_dim);
    if (a->status) return out;
    a->status = a->backend->ops->block_means(a->backend, a, of_keys, block, out.data);
    return out;
}

sf_tensor sf_block_probabilities(sf_attention *a, sf_tensor q_mean, int block_q, sf_tensor k_mean, int block_k)
{
    sf_tensor out = floats(a, 3, a->heads, q_mean.dim[1], k_mean.dim[1]);
    if (a->status) return out;
    a->status =
        a->backend->ops->block_probabilities(a->backend, a, q_mean.data, block_q, k_mean.data, block_k, out.data);
    return out;
}

sf_tensor sf_last_block_probabilities(sf_attention *a, int window, sf_tensor k_mean, int block_k)
{
    sf_attention last = *a;
    last.queries = (int)least(window, a->queries);
    last.q = (const char *)a->q + sf_bytes(a->backend->activation, (int64_t)(a->queries - last.queries) * a->heads * a->head_dim);
    sf_tensor p = sf_block_probabilities(&last, sf_block_means(&last, false, last.queries), last.queries, k_mean, block_k);
    a->status = last.status;
    p.rank = 2, p.dim[1] = p.dim[2];
    return p;
}

void sf_page_bounds(sf_attention *a, int page, int first, sf_tensor low, sf_tensor high)
{
    if (a->status) return;
    a->status = a->backend->ops->page_bounds(a->backend, a, page, first, low.dim[1], low.data, high.data);
}

sf_tensor sf_page_scores(sf_attention *a, int page, sf_tensor low, sf_tensor high)
{
    sf_tensor out = floats(a, 2, a->kv_heads, blocks_in(a->keys, page), 0);
    if (a->status) return out;
    a->status = a->backend->ops->page_scores(a->backend, a, page, low.dim[1], low.data, high.data, out.data);
    return out;
}

sf_tensor sf_key_probabilities(sf_attention *a)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->key_probabilities(a->backend, a, out.data);
    return out;
}

sf_tensor sf_listed_probabilities(sf_attention *a, sf_lists at)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->listed_probabilities(a->backend, a, &at, out.data);
    return out;
}

/* Where heads lie on several ranks, rows of all of them, which every rank then chooses among alike: x [rows, n] of this one's
 * heads becomes that of the layer's. What it costs to choose among them is counted on one rank; *before: to be put back. */
static sf_tensor all_rows(sf_attention *a, sf_tensor x, sf_meter **before)
{
    sf_backend *b = a->backend;
    *before = b->meter;
    if (!a->comm) return x;
    a->status = sf_comm_agree(a->comm, a->status);
    const int64_t ranks = a->comm->size, rows = x.dim[0], n = x.dim[1];
    const size_t bytes = (size_t)(rows * n) * sizeof(float);
    sf_tensor all = floats(a, 2, ranks * rows, n, 0);
    if (!a->status && a->across == SF_EACH_HEAD)
        a->status = sf_fail(SF_BAD_INPUT, "a method that chooses over all heads has to say so (`across`) where a model is split over ranks");
    if (!a->status) a->status = a->comm->ops->gather(a->comm, b, x.data, bytes, all.data);
    /* Heads that several ranks hold are there several times. */
    for (int64_t r = 1; r < ranks / a->repeat && a->repeat > 1 && !a->status; r++)
        a->status = b->ops->copy(b, (float *)all.data + r * rows * n, (float *)all.data + r * a->repeat * rows * n, bytes);
    all.dim[0] = ranks / a->repeat * rows;
    if (a->comm->rank > 0) b->meter = &b->aside;
    return all;
}

/* Of what was found for all_rows(), this rank's `rows`. */
static int32_t *own_rows(const sf_attention *a, int32_t *x, int64_t rows)
{
    return a->comm && x ? x + a->comm->rank / a->repeat * rows : x;
}

sf_tensor sf_all_heads(sf_attention *a, sf_tensor x, sf_reduce reduce)
{
    sf_meter *before;
    sf_tensor out = floats(a, 2, 1, x.dim[1], 0), all = all_rows(a, x, &before);
    if (!a->status)
        a->status = a->backend->ops->reduce_rows(a->backend, all.data, 1, (int)all.dim[0], x.dim[1], reduce, out.data);
    a->backend->meter = before;
    return out;
}

sf_tensor sf_key_norms(sf_attention *a, bool of_values)
{
    sf_tensor out = floats(a, 2, a->kv_heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->key_norms(a->backend, a, of_values, out.data);
    return out;
}

sf_tensor sf_key_cosines(sf_attention *a)
{
    sf_tensor out = floats(a, 2, a->kv_heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->key_cosines(a->backend, a, out.data);
    return out;
}

sf_tensor sf_expected_probabilities(sf_attention *a, int skip, int ahead)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->expected_attention(a->backend, a, skip, ahead, out.data);
    return out;
}

/* ---- components, and what stands for many keys ----------------------------------------------------------------------
 */

sf_tensor sf_antidiagonals(sf_attention *a, int block, int stride)
{
    sf_tensor out = floats(a, 3, a->heads, blocks_in(a->queries, block), blocks_in(a->keys, block));
    if (a->status) return out;
    a->status = a->backend->ops->antidiagonals(a->backend, a, block, stride, out.data);
    return out;
}

sf_tensor sf_block_means_of_all(sf_attention *a, bool of_keys, int block)
{
    sf_tensor of_each = sf_block_means(a, of_keys, block);
    sf_tensor rows = {of_each.data, SF_F32, 2, {of_each.dim[0], of_each.dim[1] * of_each.dim[2]}};
    return (sf_tensor){sf_all_heads(a, rows, SF_MEAN).data, SF_F32, 2, {of_each.dim[1], of_each.dim[2]}};
}

sf_tensor sf_inner_products(sf_attention *a, sf_tensor x, sf_tensor w)
{
    sf_tensor out = floats(a, 2, x.dim[0], w.dim[0], 0);
    if (a->status) return out;
    sf_meter *before = count_once(a);
    a->status = a->backend->ops->inner_products(a->backend, x.data, w.data, x.dim[0], w.dim[0], x.dim[1], out.data);
    a->backend->meter = before;
    return out;
}

sf_tensor sf_hidden_products(sf_attention *a, sf_tensor w)
{
    sf_backend *b = a->backend;
    if (!a->status && !a->hidden)
        a->status = sf_fail(SF_UNSUPPORTED, "the layer's input is not here: a method that looks at it says so (`hidden`), and gets it in a run");
    if (!a->status && (w.rank != 2 || w.dim[1] != a->width || w.dtype != a->kv.dtype))
        a->status = sf_fail(SF_BAD_INPUT, "a weight of %lld by %lld; expected n by %d of %s, as the layer's input", (long long)w.dim[0],
                            (long long)w.dim[1], a->width, sf_dtypes[a->kv.dtype].name);
    sf_tensor out = sf_room(a, a->status ? 1 : a->queries, a->status ? 1 : w.dim[0]);
    if (a->status) return out;
    sf_meter *before = count_once(a), *own = b->meter;
    b->meter = &b->aside; /* it is estimation, and w a weight */
    if (w.dtype == SF_F32) a->status = b->ops->inner_products(b, a->hidden, w.data, a->queries, w.dim[0], w.dim[1], out.data);
    else a->status = b->ops->linear(b, a->hidden, a->queries, &w, NULL, false, out.data, SF_F32);
    b->meter = own;
    if (!a->status) sf_meter_hidden_products(b, a->queries, &w);
    b->meter = before;
    return out;
}

void sf_walk(sf_attention *a, sf_tensor walk, sf_tensor score, int power)
{
    if (a->status) return;
    sf_meter *before = count_once(a);
    a->status = a->backend->ops->walk(a->backend, walk.dim[0], score.data, power, walk.data);
    a->backend->meter = before;
}

sf_lists sf_top_walked(sf_attention *a, sf_tensor walk, int64_t k)
{
    sf_meter *before = count_once(a);
    sf_tensor x = sf_copy(a, walk);
    sf_force(a, x, 0, 1);
    sf_force_at(a, x, sf_own(a, x.dim[0]));
    sf_lists out = sf_top(a, x, k);
    a->backend->meter = before;
    return out;
}

sf_tensor sf_query_components(sf_attention *a, sf_tensor basis)
{
    sf_tensor out = floats(a, 2, a->heads, basis.data ? basis.dim[2] : a->head_dim, 0);
    if (a->status) return out;
    a->status = a->backend->ops->components(a->backend, a, false, basis.data, (int)out.dim[1], 0, 0, out.data);
    return out;
}

void sf_key_components(sf_attention *a, sf_tensor basis, int first, sf_tensor to)
{
    if (a->status) return;
    a->status = a->backend->ops->components(a->backend, a, true, basis.data, (int)to.dim[1], first, to.dim[2], to.data);
}

sf_tensor sf_component_scores(sf_attention *a, sf_tensor q, sf_tensor k, const sf_lists *at, bool tempered)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->component_scores(a->backend, a, q.data, k.data, (int)k.dim[1], k.dim[2], at, tempered, out.data);
    return out;
}

sf_tensor sf_page_component_scores(sf_attention *a, int page, sf_tensor low, sf_tensor high, sf_lists at, bool tempered)
{
    sf_tensor out = floats(a, 2, a->heads, blocks_in(a->keys, page), 0);
    if (a->status) return out;
    a->status = a->backend->ops->page_component_scores(a->backend, a, page, low.dim[1], low.data, high.data, &at, tempered, out.data);
    return out;
}

void sf_magnitudes(sf_attention *a, sf_tensor x)
{
    if (a->status) return;
    a->status = a->backend->ops->magnitudes(a->backend, x.data, x.dim[0], x.dim[1]);
}

void sf_softmax(sf_attention *a, sf_tensor x)
{
    if (a->status) return;
    a->status = a->backend->ops->softmax_rows(a->backend, x.data, x.dim[0], x.dim[1]);
}

sf_tensor sf_sums_at(sf_attention *a, sf_tensor x, sf_lists at)
{
    sf_tensor out = floats(a, 2, 2, x.dim[0], 0);
    if (a->status) return out;
    a->status = a->backend->ops->sums_at(a->backend, x.data, x.dim[0], x.dim[1], &at, out.data);
    return out;
}

void sf_value_means(sf_attention *a, int first, sf_tensor sum, sf_tensor mean)
{
    if (a->status) return;
    a->status = a->backend->ops->value_means(a->backend, a, first, sum.data, mean.data);
}

void sf_representatives(sf_attention *a, int page, int most, sf_tensor score, int first, int end, sf_tensor mean)
{
    if (a->status || first >= end) return;
    a->status = a->backend->ops->representatives(a->backend, a, page, most, score.data, score.dim[1], first, end, mean.dim[1], mean.data);
}

sf_summaries sf_segment_summaries(sf_attention *a, int segment, double bias)
{
    sf_backend *b = a->backend;
    int64_t m = a->keys / segment, n = a->kv_heads * m * a->head_dim;
    int32_t *from = scratch(a, (size_t)m * sizeof *from), first[m];
    sf_tensor k = {scratch(a, sf_bytes(a->kv.dtype, n)), a->kv.dtype, 3, {a->kv_heads, m, a->head_dim}}, v = k, weight;
    v.data = scratch(a, sf_bytes(a->kv.dtype, n));
    weight = floats(a, 2, a->kv_heads, m, 0);
    for (int64_t s = 0; s < m; s++) first[s] = (int32_t)(s + 1) * segment;
    if (!a->status) a->status = b->ops->upload(b, from, first, sizeof first);
    if (!a->status) a->status = b->ops->segment_summaries(b, a, segment, m, k.data, v.data);
    sf_fill(a, weight, 0, m, bias);
    return (sf_summaries){.k = k, .v = v, .bias = weight, .from = from};
}

static void accumulate(sf_attention *a, sf_tensor to, double keep, const float *x, int64_t n)
{
    if (a->status) return;
    sf_meter *before = count_rows(a, to.dim[0]);
    a->status = a->backend->ops->accumulate(a->backend, to.data, to.dim[1], (float)keep, x, to.dim[0], n);
    a->backend->meter = before;
}

void sf_add(sf_attention *a, sf_tensor to, double keep, sf_tensor x) { accumulate(a, to, keep, x.data, x.dim[1]); }
void sf_scale(sf_attention *a, sf_tensor x, double by) { accumulate(a, x, by, NULL, x.dim[1]); }

void sf_multiply(sf_attention *a, sf_tensor to, sf_tensor x)
{
    if (a->status) return;
    a->status = a->backend->ops->multiply(a->backend, to.data, x.data, to.dim[0], to.dim[1]);
}

void sf_fill(sf_attention *a, sf_tensor x, int64_t begin, int64_t end, double value) { fill(a, x, begin, end, (float)value); }

/* ---- sampling ------------------------------------------------------------------------------------------------------
 */

sf_tensor sf_draws(sf_attention *a, int seed, int which, const sf_tensor *weight)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    uint64_t stream = sf_splitmix(sf_splitmix(sf_splitmix((uint64_t)seed, (uint64_t)a->layer), (uint64_t)a->keys), (uint64_t)which);
    if (a->status) return out;
    a->status = a->backend->ops->draw(a->backend, stream, a->first_head, a->heads, a->keys, weight ? weight->data : NULL, out.data);
    return out;
}

/* Φ⁻¹(1 - p) for p < .5, by Newton on erfc. */
static double normal_above(double p)
{
    double z = 0;
    for (int i = 0; i < 60; i++) {
        double above = 0.5 * erfc(z / M_SQRT2), density = exp(-z * z / 2) / sqrt(2 * M_PI);
        z += (above - p) / density;
    }
    return z;
}

sf_promise sf_promised(double error, double failures, sf_verified verified)
{
    bool both = verified == SF_DENOMINATOR_AND_NUMERATOR;
    return (sf_promise){.error = sf_error_of_sums(verified, error), .z = normal_above(failures / (both ? 4 : 2)), .verified = verified};
}

int32_t *sf_sample_sizes(sf_attention *a, sf_tensor x, sf_lists at, sf_promise promise, double density)
{
    sf_backend *b = a->backend;
    sf_meter *before = b->meter;
    const size_t bytes = (size_t)a->heads * sizeof(sf_moments);
    sf_moments *moment = scratch(a, bytes);
    if (!a->status) a->status = b->ops->sample_moments(b, a, x.data, &at, promise.verified != SF_DENOMINATOR, moment);
    sf_tensor all = {moment, SF_F32, 2, {a->heads, sizeof(sf_moments) / sizeof(float)}};
    if (density > 0) all = all_rows(a, all, &before);
    int32_t *count = scratch(a, (size_t)all.dim[0] * sizeof *count);
    if (!a->status) a->status = b->ops->sample_sizes(b, all.data, all.dim[0], promise, density > 0 ? (int64_t)sf_most_pairs(a, density) : -1, count);
    b->meter = before;
    return density > 0 ? own_rows(a, count, a->heads) : count;
}

sf_lists sf_top_sized(sf_attention *a, sf_tensor x, const int32_t *count)
{
    sf_lists out = lists(a, x.dim[0], x.dim[1]);
    if (a->status) return out;
    a->status = a->backend->ops->top_counts(a->backend, x.data, x.dim[0], x.dim[1], count, x.dim[1], &out);
    return out;
}

sf_tensor sf_sample_bias(sf_attention *a, sf_tensor x, const sf_tensor *weight, sf_lists at)
{
    sf_tensor out = floats(a, 2, at.rows, at.stride, 0);
    if (a->status) return out;
    a->status = a->backend->ops->sample_bias(a->backend, x.data, weight ? weight->data : NULL, x.dim[0], x.dim[1], &at, out.data);
    return out;
}

void sf_normals(sf_attention *a, int seed, int which, sf_tensor plane)
{
    if (a->status) return;
    sf_meter *before = a->backend->meter;
    if (a->comm && a->comm->rank > 0) a->backend->meter = &a->backend->aside; /* each rank draws the same: counted on one */
    a->status = a->backend->ops->normals(a->backend, sf_splitmix((uint64_t)seed, (uint64_t)which), sf_elements(&plane), plane.data);
    a->backend->meter = before;
}

void sf_hash_keys(sf_attention *a, const sf_hash *hash, sf_tensor plane, sf_tensor centre, sf_tensor code)
{
    if (a->status) return;
    a->status = a->backend->ops->hash_keys(a->backend, a, hash, plane.data, code.dim[1], centre.data, code.data);
}

sf_tensor sf_hash_matches(sf_attention *a, const sf_hash *hash, sf_tensor plane, sf_tensor centre, sf_tensor code)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->hash_matches(a->backend, a, hash, plane.data, code.dim[1], centre.data, code.data, out.data);
    return out;
}

sf_tensor sf_pick_at(sf_attention *a, sf_tensor x, sf_lists at)
{
    sf_tensor out = floats(a, 2, at.rows, at.stride, 0);
    if (a->status) return out;
    a->status = a->backend->ops->pick_at(a->backend, x.data, x.dim[0], x.dim[1], &at, out.data);
    return out;
}

void sf_kmeans(sf_attention *a, const sf_kmeans_how *how, sf_tensor member, sf_tensor centroid, sf_tensor value, sf_tensor size, sf_tensor log_size)
{
    if (a->status) return;
    a->status = a->backend->ops->kmeans(a->backend, a, how, member.dim[1], member.data, centroid.data, value.data, size.data, log_size.data);
}

sf_tensor sf_cluster_masses(sf_attention *a, sf_tensor centroid, sf_tensor value, sf_tensor size)
{
    sf_attention over = *a; /* as if centroids were keys */
    int clusters = (int)centroid.dim[1];
    over.keys = clusters, over.window = 0;
    over.kv = (sf_kv){.prompt = {.k = centroid.data, .v = value.data, .capacity = clusters, .n = clusters}, .dtype = a->kv.dtype};
    sf_tensor out = sf_key_probabilities(&over);
    a->status = over.status;
    sf_multiply(a, out, size);
    return out;
}

sf_tensor sf_of_cluster(sf_attention *a, sf_tensor y, sf_tensor member)
{
    sf_tensor out = floats(a, 2, y.dim[0], a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->spread(a->backend, y.data, y.dim[0], y.dim[1], 1, member.data, member.dim[0], member.dim[1], a->keys, out.data);
    return out;
}

void sf_fill_except(sf_attention *a, sf_tensor x, sf_lists at, double value)
{
    if (a->status) return;
    a->status = a->backend->ops->fill_except(a->backend, x.data, x.dim[0], x.dim[1], &at, (float)value);
}

void sf_packed_state(const sf_attention *a, int max_keys, sf_tensor *code, sf_tensor *range)
{
    *code = (sf_tensor){.dtype = SF_I32, .rank = 3, .dim = {a->kv_heads, max_keys, (a->head_dim + 7) / 8}};
    *range = (sf_tensor){.dtype = SF_F32, .rank = 3, .dim = {a->kv_heads, max_keys, 2}};
}

void sf_pack_keys(sf_attention *a, int first, sf_tensor code, sf_tensor range)
{
    if (a->status) return;
    a->status = a->backend->ops->pack_keys(a->backend, a, first, code.dim[1], code.data, range.data);
}

sf_tensor sf_packed_probabilities(sf_attention *a, sf_tensor code, sf_tensor range, const sf_lists *at)
{
    sf_tensor out = floats(a, 2, a->heads, a->keys, 0);
    if (a->status) return out;
    a->status = a->backend->ops->packed_probabilities(a->backend, a, code.dim[1], code.data, range.data, at, out.data);
    return out;
}

sf_lists sf_keys_of_pages(sf_attention *a, sf_tensor score, int page, int64_t pages)
{
    const int64_t all = score.dim[1], kept = least(pages + 1, all);
    sf_tensor x = floats(a, 2, score.dim[0], a->keys, 0);
    sf_force(a, score, all - 1, all);
    sf_lists best = sf_top(a, score, kept);
    if (a->status == SF_OK)
        a->status = a->backend->ops->fill_except(a->backend, score.data, score.dim[0], all, &best, -INFINITY);
    if (a->status == SF_OK)
        a->status = a->backend->ops->spread(a->backend, score.data, score.dim[0], all, page, NULL, 1, 0, a->keys, x.data);
    return sf_top(a, x, a->keys - (all - kept) * page);
}

/* ---- what lives ----------------------------------------------------------------------------------------------------
 */

void sf_living_open(sf_attention *a, sf_tensor score)
{
    fill(a, score, 0, a->keys, 0);
    fill(a, score, a->keys, score.dim[1], -INFINITY);
}

void sf_living_born(sf_attention *a, sf_tensor score) { fill(a, score, a->keys - 1, a->keys, 0); }
sf_lists sf_living(sf_attention *a, sf_tensor score) { return sf_top(a, score, score.dim[1]); }

void sf_living_keep(sf_attention *a, sf_tensor score, sf_lists kept)
{
    if (a->status) return;
    sf_meter *before = count_rows(a, score.dim[0]);
    a->status = a->backend->ops->fill_except(a->backend, score.data, score.dim[0], score.dim[1], &kept, -INFINITY);
    a->backend->meter = before;
}

int sf_living_most(const sf_attention *a, const sf_living_budget *budget)
{
    int most = budget->share > 0 ? (int)lround(budget->share * a->keys) : budget->capacity;
    return most < 1 ? 1 : most;
}

void sf_fit_living(const sf_extent *extent, double sparsity, int spare, sf_living_budget *budget)
{
    int keys = sf_fit_keys(extent, sparsity) - spare;
    budget->capacity = keys > 1 ? keys : 1;
    budget->share = budget->grows ? (sparsity < 0.999 ? 1 - sparsity : 0.001) : 0;
}

sf_status sf_living_decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params;
    return sf_pages(a, out, 1, sf_living(a, state->tensor[0]));
}

sf_status sf_living_fit(const sf_extent *extent, double sparsity, void *params)
{
    sf_fit_living(extent, sparsity, 1, params);
    return SF_OK;
}

/* ---- choices -------------------------------------------------------------------------------------------------------
 */

sf_lists sf_top(sf_attention *a, sf_tensor x, int64_t k)
{
    k = k < 0 ? 0 : least(k, x.dim[1]);
    sf_lists out = lists(a, x.dim[0], k);
    if (a->status) return out;
    sf_meter *before = count_rows(a, x.dim[0]);
    a->status = a->backend->ops->top(a->backend, x.data, x.dim[0], x.dim[1], k, &out);
    a->backend->meter = before;
    return out;
}

sf_lists sf_top_total(sf_attention *a, sf_tensor x, int64_t total)
{
    sf_meter *before;
    const int64_t rows = x.dim[0];
    x = all_rows(a, x, &before);
    total = total * (x.dim[0] / rows); /* `total` is of the rows given */
    total = total < 0 ? 0 : least(total, x.dim[0] * x.dim[1]);
    sf_lists out = lists(a, x.dim[0], least(total, x.dim[1]));
    if (!a->status) a->status = a->backend->ops->top_total(a->backend, x.data, x.dim[0], x.dim[1], total, &out);
    a->backend->meter = before;
    if (!a->comm) return out;
    const int64_t own = a->comm->rank / a->repeat * rows;
    return (sf_lists){.rows = rows, .stride = out.stride, .count = out.count + own, .index = out.index + own * out.stride};
}

sf_lists sf_top_mass(sf_attention *a, sf_tensor x, double mass, int64_t fewest, int64_t most)
{
    sf_lists out = lists(a, x.dim[0], least(most, x.dim[1]));
    if (a->status) return out;
    a->status = a->backend->ops->top_mass(a->backend, x.data, x.dim[0], x.dim[1], (float)mass, fewest, most, &out);
    return out;
}

/* `others`: pairs of each head that are computed anyhow. A row's list is of as many heads as there are for each. */
static void masses_within(sf_attention *a, sf_tensor x, const sf_tensor *weight, double share, int64_t fewest, int64_t others, double density,
                          int32_t **count, int32_t **whole)
{
    sf_backend *b = a->backend;
    sf_meter *before = b->meter, *aside;
    const int64_t rows = x.dim[0], each = a->heads / rows;
    const float *heavy = weight ? all_rows(a, *weight, &aside).data : NULL;
    b->meter = before;
    x = all_rows(a, x, &before);
    const int64_t most = (int64_t)sf_most_pairs(a, density) - x.dim[0] * each * others;
    *count = scratch(a, (size_t)x.dim[0] * sizeof **count);
    if (whole) *whole = scratch(a, (size_t)x.dim[0] * sizeof **whole);
    if (!a->status)
        a->status = b->ops->top_mass_within(b, x.data, x.dim[0], x.dim[1], heavy, share, fewest, most < 0 ? -1 : most / each, *count,
                                            whole ? *whole : NULL);
    b->meter = before;
    *count = own_rows(a, *count, rows);
    if (whole) *whole = own_rows(a, *whole, rows);
}

sf_lists sf_top_mass_within(sf_attention *a, sf_tensor x, double density)
{
    int32_t *count;
    masses_within(a, x, NULL, 1, 1, 0, density, &count, NULL);
    return sf_top_sized(a, x, count);
}

void sf_top_masses_within(sf_attention *a, sf_tensor x, sf_tensor weight, double share, int64_t others, double density, sf_lists *heavy,
                          sf_lists *all)
{
    int32_t *count, *whole;
    masses_within(a, x, &weight, share, 0, others, density, &count, &whole);
    *all = sf_top_sized(a, x, whole);
    *heavy = sf_top_sized(a, x, count);
}

sf_lists sf_top_counts(sf_attention *a, sf_tensor x, const int32_t *k)
{
    int64_t most = 0;
    for (int64_t r = 0; r < x.dim[0]; r++) most = k[r] > most ? k[r] : most;
    sf_lists out = lists(a, x.dim[0], least(most, x.dim[1]));
    int32_t *count = scratch(a, (size_t)x.dim[0] * sizeof *count);
    if (a->status == SF_OK) a->status = a->backend->ops->upload(a->backend, count, k, (size_t)x.dim[0] * sizeof *count);
    if (a->status) return out;
    a->status = a->backend->ops->top_counts(a->backend, x.data, x.dim[0], x.dim[1], count, most, &out);
    return out;
}

sf_lists sf_top_blocks(sf_attention *a, sf_tensor q_mean, int block_q, sf_tensor k_mean, int block_k, int heads, int k,
                       int sinks, int local)
{
    k = (int)least(k, k_mean.dim[1]);
    sf_lists out = lists(a, heads * q_mean.dim[1], k);
    if (a->status) return out;
    a->status = a->backend->ops->top_blocks(a->backend, a, q_mean.data, block_q, k_mean.data, block_k, heads, k, sinks,
                                            local, &out);
    return out;
}

sf_lists sf_top_block_mass(sf_attention *a, int block, int heads, int k)
{
    k = (int)least(k, blocks_in(a->keys, block));
    sf_lists out = lists(a, heads * blocks_in(a->queries, block), k);
    if (a->status) return out;
    a->status = a->backend->ops->top_block_mass(a->backend, a, block, block, heads, k, &out);
    return out;
}

sf_tensor sf_room(sf_attention *a, int64_t rows, int64_t n) { return floats(a, 2, rows, n, 0); }

/* ---- copies, to and from the host ---------------------------------------------------------------------------------
 */

sf_tensor sf_copy(sf_attention *a, sf_tensor x)
{
    sf_tensor out = x;
    size_t bytes = (size_t)sf_elements(&x) * sizeof(float);
    out.data = scratch(a, bytes);
    if (a->status == SF_OK) a->status = a->backend->ops->copy(a->backend, out.data, x.data, bytes);
    return out;
}

void sf_read(sf_attention *a, sf_tensor x, float *host)
{
    if (a->status) return;
    a->status = a->backend->ops->download(a->backend, host, x.data, (size_t)sf_elements(&x) * sizeof *host);
}

void sf_read_lists(sf_attention *a, sf_lists x, int32_t *count, int32_t *index)
{
    sf_backend *b = a->backend;
    if (a->status == SF_OK) a->status = b->ops->download(b, count, x.count, (size_t)x.rows * sizeof *count);
    if (a->status == SF_OK && index)
        a->status = b->ops->download(b, index, x.index, (size_t)(x.rows * x.stride) * sizeof *index);
}

sf_lists sf_host_lists(sf_attention *a, int64_t rows, int64_t stride, const int32_t *count, const int32_t *index)
{
    sf_backend *b = a->backend;
    sf_lists out = lists(a, rows, stride);
    if (a->status == SF_OK) a->status = b->ops->upload(b, out.count, count, (size_t)rows * sizeof *count);
    if (a->status == SF_OK) a->status = b->ops->upload(b, out.index, index, (size_t)(rows * stride) * sizeof *index);
    return out;
}

sf_lists sf_every(sf_attention *a, int64_t rows, int64_t begin, int64_t end, int64_t step)
{
    int64_t n = end > begin ? (end - begin + step - 1) / step : 0;
    int32_t *count = malloc((size_t)rows * sizeof *count), *index = malloc((size_t)(rows * n + 1) * sizeof *index);
    if (!count || !index) a->status = sf_fail(SF_NO_MEMORY, "%lld lists of %lld numbers", (long long)rows, (long long)n);
    for (int64_t r = 0; r < rows && !a->status; r++) {
        count[r] = (int32_t)n;
        for (int64_t i = 0; i < n; i++) index[r * n + i] = (int32_t)(begin + i * step);
    }
    sf_lists out = {0};
    if (!a->status) out = sf_host_lists(a, rows, n, count, index);
    free(count), free(index);
    return out;
}

sf_lists sf_own(sf_attention *a, int64_t rows)
{
    int32_t *one = malloc((size_t)rows * sizeof *one), *index = malloc((size_t)rows * sizeof *index);
    if (!one || !index) a->status = sf_fail(SF_NO_MEMORY, "%lld lists", (long long)rows);
    for (int64_t r = 0; r < rows && !a->status; r++) one[r] = 1, index[r] = (int32_t)r;
    sf_lists out = {0};
    if (!a->status) out = sf_host_lists(a, rows, 1, one, index);
    free(one), free(index);
    return out;
}

void sf_clear(sf_attention *a, sf_lists x, int64_t begin, int64_t end)
{
    if (a->status == SF_OK) a->status = a->backend->ops->zero(a->backend, x.count + begin, (size_t)(end - begin) * sizeof *x.count);
}

/* ---- lists made of other lists, of counts, and of draws: to the host comes the room that a list needs ------------------
 */

sf_lists sf_top_budgets(sf_attention *a, sf_tensor x, const int32_t *count, const sf_budgets *how, const int32_t *mark)
{
    sf_backend *b = a->backend;
    const int64_t rows = x.dim[0];
    int32_t *budget = scratch(a, (size_t)rows * sizeof *budget), most = 0;
    if (!a->status) a->status = b->ops->budgets(b, count, rows, how, mark, budget, &most);
    sf_lists out = lists(a, rows, most);
    if (!a->status) a->status = b->ops->top_counts(b, x.data, rows, x.dim[1], budget, most, &out);
    return out;
}

int sf_rows_alike(sf_attention *a, sf_tensor x, sf_tensor y, double below, int32_t **alike)
{
    sf_backend *b = a->backend;
    int32_t many = 0;
    *alike = scratch(a, (size_t)x.dim[0] * sizeof **alike);
    if (!a->status) a->status = b->ops->rows_alike(b, x.data, y.data, x.dim[0], x.dim[1], below, *alike, &many);
    return many;
}

sf_lists sf_block_union(sf_attention *a, int n, sf_lists columns, sf_lists diagonals, sf_lists pairs)
{
    sf_backend *b = a->backend;
    sf_lists out = lists(a, columns.rows * n, n);
    if (!a->status) a->status = b->ops->unite_blocks(b, n, &columns, &diagonals, pairs.count ? &pairs : NULL, &out);
    return out;
}

sf_status sf_columns_and_diagonals_merged(sf_attention *a, sf_pattern *out, sf_lists columns, sf_lists diagonals)
{
    sf_backend *b = a->backend;
    sf_lists keys = {.rows = columns.rows * ((a->queries + SF_DIAGONAL_TILE - 1) / SF_DIAGONAL_TILE)};
    int32_t longest = 0;
    if (a->status) return a->status;
    keys.count = scratch(a, (size_t)keys.rows * sizeof *keys.count);
    if (!a->status) a->status = b->ops->merge_tiles(b, a, &columns, &diagonals, &keys, &longest);
    keys.stride = longest > 1 ? longest : 1;
    keys.index = scratch(a, (size_t)(keys.rows * keys.stride) * sizeof *keys.index);
    if (!a->status) a->status = b->ops->merge_tiles(b, a, &columns, &diagonals, &keys, &longest);
    return sf_blocks(a, out, (int)columns.rows, SF_DIAGONAL_TILE, 1, keys);
}

sf_lists sf_drawn_blocks(sf_attention *a, const sf_drawn *how, int seed, int first, int heads, int64_t longest)
{
    sf_backend *b = a->backend;
    sf_drawn from = *how;
    from.stream = sf_splitmix((uint64_t)seed, (uint64_t)a->layer);
    if (!from.until) from.until = INT_MAX;
    if (!from.whole) from.whole = INT_MAX;
    sf_lists out = lists(a, (int64_t)heads * how->each, longest);
    if (!a->status) a->status = b->ops->draw_blocks(b, &from, first, heads, &out);
    return out;
}

/* ---- patterns -------------------------------------------------------------------------------------------------------
 */

static sf_status done(sf_attention *a, sf_pattern *out, sf_pattern made)
{
    *out = made;
    return a->status;
}

sf_status sf_dense(sf_attention *a, sf_pattern *out) { return done(a, out, (sf_pattern){.kind = SF_DENSE}); }

sf_status sf_blocks(sf_attention *a, sf_pattern *out, int heads, int block_q, int block_k, sf_lists blocks)
{
    return done(
        a, out,
        (sf_pattern){.kind = SF_BLOCKS, .heads = heads, .block_q = block_q, .block_k = block_k, .first = blocks});
}

sf_status sf_columns_and_diagonals(sf_attention *a, sf_pattern *out, sf_lists columns, sf_lists diagonals)
{
    assert(columns.rows == diagonals.rows);
    return done(
        a, out,
        (sf_pattern){.kind = SF_COLUMNS_DIAGONALS, .heads = (int)columns.rows, .first = columns, .second = diagonals});
}

sf_status sf_window(sf_attention *a, sf_pattern *out, int sinks, int local)
{
    return done(a, out, (sf_pattern){.kind = SF_WINDOW, .sinks = sinks, .local = local});
}

sf_status sf_bands(sf_attention *a, sf_pattern *out, int heads, const sf_band *band, sf_lists columns, sf_lists rows)
{
    size_t bytes = (size_t)heads * SF_BANDS_A_HEAD * sizeof *band;
    void *copy = scratch(a, bytes);
    if (a->status == SF_OK) a->status = a->backend->ops->upload(a->backend, copy, band, bytes);
    return done(a, out, (sf_pattern){.kind = SF_BANDS, .heads = heads, .band = copy, .first = columns, .second = rows});
}

sf_status sf_parts(sf_attention *a, sf_pattern *out, bool gated, int parts, const sf_pattern *part)
{
    assert(parts <= SF_MOST_PARTS);
    for (int k = 0; k < parts; k++) a->part[k] = part[k];
    return done(a, out, (sf_pattern){.kind = SF_PARTS, .part = a->part, .parts = parts, .gated = gated});
}

sf_status sf_pages(sf_attention *a, sf_pattern *out, int page, sf_lists pages)
{
    return done(a, out, (sf_pattern){.kind = SF_PAGES, .heads = (int)pages.rows, .page = page, .first = pages});
}

sf_status sf_keys_of_mass(sf_attention *a, sf_pattern *out, sf_tensor x, double mass, double density)
{
    if ((density > 0 ? density : mass) >= 1) return sf_dense(a, out);
    return sf_pages(a, out, 1, density > 0 ? sf_top_mass_within(a, x, density) : sf_top_mass(a, x, mass, 1, a->keys));
}

sf_status sf_weighted_keys(sf_attention *a, sf_pattern *out, sf_lists keys, sf_tensor bias)
{
    return done(a, out, (sf_pattern){.kind = SF_PAGES, .heads = (int)keys.rows, .page = 1, .first = keys, .bias = bias});
}

sf_status sf_keep(sf_attention *a, sf_pattern *out, sf_lists tokens)
{
    return done(a, out, (sf_pattern){.kind = SF_TOKENS, .heads = a->kv_heads, .first = tokens});
}
