/* The formulas of the meter: what one call of each op adds. See meter.h for the rules. */
#include "kernels/count.h"

static void count(sf_backend *b, sf_work work, sf_count c)
{
    sf_count *at = &b->meter->at[b->phase][work];
    at->flops += c.flops;
    at->weight_bytes += c.weight_bytes;
    at->cache_bytes += c.cache_bytes;
    at->other_bytes += c.other_bytes;
    at->pairs += c.pairs;
}

static uint64_t activations(const sf_backend *b, int64_t elements) { return sf_bytes(b->activation, elements); }
static uint64_t weights(const sf_tensor *w) { return w && w->data ? sf_bytes(w->dtype, sf_elements(w)) : 0; }
static int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

void sf_meter_embed(sf_backend *b, const sf_tensor *table, int64_t rows)
{
    int64_t n = rows * table->dim[1];
    count(b, SF_OTHER,
          (sf_count){.flops = n, .weight_bytes = sf_bytes(table->dtype, n), .other_bytes = sf_bytes(SF_F32, n)});
}

void sf_meter_norm(sf_backend *b, sf_dtype from, int64_t rows, int width, const sf_tensor *weight)
{
    int64_t n = rows * width; /* square, add, times root, times weight */
    count(b, SF_OTHER,
          (sf_count){
              .flops = 4 * n, .weight_bytes = weights(weight), .other_bytes = sf_bytes(from, n) + activations(b, n)});
}

void sf_meter_layer_norm(sf_backend *b, sf_dtype from, int64_t rows, int width, const sf_tensor *weight, const sf_tensor *bias)
{
    int64_t n = rows * width; /* as the other, and two sums more: the mean and its difference; the bias is a third */
    count(b, SF_OTHER,
          (sf_count){.flops = (bias && bias->data ? 7 : 6) * n,
                     .weight_bytes = weights(weight) + weights(bias),
                     .other_bytes = sf_bytes(from, n) + activations(b, n)});
}

void sf_meter_cast(sf_backend *b, int64_t n)
{
    count(b, SF_OTHER, (sf_count){.other_bytes = sf_bytes(SF_F32, n) + activations(b, n)});
}

void sf_meter_linear(sf_backend *b, int64_t rows, const sf_tensor *w, const sf_tensor *bias, sf_dtype to)
{
    int64_t out = w->dim[0], in = w->dim[1];
    count(b, SF_LINEAR,
          (sf_count){.flops = 2 * rows * out * in,
                     .weight_bytes = weights(w) + weights(bias),
                     .other_bytes = activations(b, rows * in) + sf_bytes(to, rows * out)});
}

void sf_meter_rope(sf_backend *b, int64_t rows, int heads, int rotary)
{
    int64_t n = rows * heads * rotary; /* a pair of elements: 4 products, 2 sums */
    count(b, SF_OTHER, (sf_count){.flops = 3 * n, .other_bytes = 2 * activations(b, n)});
}

void sf_meter_scale_queries(sf_backend *b, int64_t rows, int heads, int head_dim)
{
    int64_t n = rows * heads;
    count(b, SF_OTHER, (sf_count){.flops = n * (10 + head_dim), .other_bytes = 2 * sf_bytes(SF_F32, n) + 2 * activations(b, n * head_dim)});
}

void sf_meter_gated(sf_backend *b, int64_t rows, int width, bool up)
{
    int64_t n = rows * width; /* the activation as one, the product as the other, as the study counts */
    count(b, SF_OTHER, (sf_count){.flops = (up ? 2 : 1) * n, .other_bytes = (up ? 3 : 2) * activations(b, n)});
}

void sf_meter_route(sf_backend *b, int64_t rows, const sf_router *router, const sf_tensor *correction)
{
    int64_t n = rows * router->experts, chosen = rows * router->chosen;
    count(b, SF_OTHER, (sf_count){.flops = 5 * n, .weight_bytes = weights(correction), .other_bytes = sf_bytes(SF_F32, n + 2 * chosen)});
}

void sf_meter_experts(sf_backend *b, int64_t rows, bool own, int chosen, const sf_tensor *w)
{
    int64_t out = w->dim[0], in = w->dim[1];
    count(b, SF_LINEAR,
          (sf_count){.flops = 2 * rows * chosen * out * in,
                     .other_bytes = activations(b, rows * ((own ? chosen : 1) * in + chosen * out))});
}

void sf_meter_combine(sf_backend *b, int64_t rows, int chosen, int width)
{
    int64_t n = rows * width;
    count(b, SF_OTHER,
          (sf_count){.flops = 2 * n * chosen,
                     .other_bytes = 2 * sf_bytes(SF_F32, n) + activations(b, n * chosen) + sf_bytes(SF_F32, rows * chosen)});
}

void sf_meter_columns(sf_backend *b, int64_t rows, int64_t n)
{
    count(b, SF_OTHER, (sf_count){.other_bytes = 2 * activations(b, rows * n)});
}

void sf_meter_residual(sf_backend *b, int64_t n)
{
    count(b, SF_OTHER, (sf_count){.flops = n, .other_bytes = 2 * sf_bytes(SF_F32, n) + activations(b, n)});
}

void sf_meter_scale(sf_backend *b, int64_t n) { count(b, SF_OTHER, (sf_count){.flops = n, .other_bytes = 2 * sf_bytes(SF_F32, n)}); }

void sf_meter_weigh_experts(sf_backend *b, int64_t n, const sf_tensor *of)
{
    count(b, SF_OTHER, (sf_count){.flops = n, .weight_bytes = sf_bytes(of->dtype, sf_elements(of)), .other_bytes = 3 * sf_bytes(SF_F32, n)});
}

void sf_meter_store(sf_backend *b, int64_t rows, int kv_heads, int head_dim, bool values)
{
    count(b, SF_OTHER, (sf_count){.other_bytes = (values ? 4 : 2) * activations(b, rows * kv_heads * head_dim)}); /* k, v in and out */
}

void sf_meter_gather(sf_backend *b, const sf_kv_part *from, int64_t keys, int head_dim)
{
    uint64_t bytes = (from->v != from->k ? 2 : 1) * sf_cache_bytes(from->format, b->activation, keys, head_dim);
    count(b, SF_OTHER, (sf_count){.cache_bytes = bytes, .other_bytes = bytes});
}

void sf_meter_sink(sf_backend *b, const sf_tensor *sink, int64_t rows, int heads, int head_dim)
{
    int64_t n = rows * heads;
    count(b, SF_OTHER,
          (sf_count){.flops = n * (5 + head_dim),
                     .weight_bytes = weights(sink),
                     .other_bytes = sf_bytes(SF_F32, n) + 2 * activations(b, n * head_dim)});
}

void sf_meter_convolve(sf_backend *b, int lanes, int64_t rows, const sf_tensor *w, const sf_tensor *bias)
{
    int64_t width = w->dim[0], kernel = w->dim[1];
    count(b, SF_LINEAR,
          (sf_count){.flops = 2 * kernel * rows * width,
                     .weight_bytes = weights(w) + weights(bias),
                     .cache_bytes = 2 * sf_bytes(SF_F32, lanes * (kernel - 1) * width),
                     .other_bytes = 2 * activations(b, rows * width)});
}

void sf_meter_delta_rule(sf_backend *b, int lanes, int64_t rows, sf_delta_shape s, const sf_tensor *rate, const sf_tensor *shift)
{
    const int64_t state = (int64_t)s.value_heads * s.key_dim * s.value_dim;
    const int64_t in = 2 * s.key_heads * s.key_dim + s.value_heads * s.value_dim + 2 * s.value_heads, out = s.value_heads * s.value_dim;
    count(b, SF_LINEAR,
          (sf_count){.flops = 7 * rows * state,
                     .weight_bytes = weights(rate) + weights(shift),
                     .cache_bytes = 2 * sf_bytes(SF_F32, lanes * state),
                     .other_bytes = activations(b, rows * (in + out))});
}

void sf_meter_state_space(sf_backend *b, int lanes, int64_t rows, sf_delta_shape s, const sf_tensor *rate, const sf_tensor *shift,
                          const sf_tensor *skip)
{
    const int64_t out = (int64_t)s.value_heads * s.value_dim, state = out * s.key_dim;
    const int64_t in = out + 2 * s.key_heads * s.key_dim + s.value_heads;
    count(b, SF_LINEAR,
          (sf_count){.flops = rows * (5 * state + 2 * out),
                     .weight_bytes = weights(rate) + weights(shift) + weights(skip),
                     .cache_bytes = 2 * sf_bytes(SF_F32, lanes * state),
                     .other_bytes = activations(b, rows * (in + out))});
}

void sf_meter_argmax(sf_backend *b, int64_t rows, int64_t vocab)
{
    count(b, SF_OTHER, (sf_count){.flops = rows * vocab, .other_bytes = sf_bytes(SF_F32, rows * vocab)});
}

/* Of so many rows of the cache, of keys or of values. Both of its parts have one format, if they are there. */
static uint64_t cached(const sf_attention *a, int64_t rows, int dim)
{
    const sf_cache_format *format = a->kv.prompt.format ? a->kv.prompt.format : a->kv.tail.format;
    return sf_cache_bytes(format, a->kv.dtype, rows, dim);
}

static uint64_t all_keys(const sf_attention *a) { return cached(a, (int64_t)a->keys * a->kv_heads, a->head_dim); }

void sf_meter_probe(sf_backend *b, const sf_attention *a, int window, int step, bool column, bool diagonal)
{
    int64_t rows = parts(a->queries, step), w = window < rows ? window : rows, n = a->keys, h = a->heads;
    int64_t seen = a->window > 0 && a->window < n ? a->window : n;
    count(
        b, SF_ESTIMATION,
        (sf_count){.flops = h * w * seen * (2 * a->head_dim + 5),
                   .cache_bytes = all_keys(a),
                   .other_bytes = activations(b, h * w * a->head_dim) + sf_bytes(SF_F32, (column + diagonal) * h * n)});
}

void sf_meter_scores(sf_backend *b, int64_t read, int64_t written, int64_t flops)
{
    count(b, SF_ESTIMATION, (sf_count){.flops = flops, .other_bytes = sf_bytes(SF_F32, read + written)});
}

void sf_meter_select(sf_backend *b, int64_t scores) { sf_meter_scores(b, scores, 0, scores); }

void sf_meter_block_means(sf_backend *b, const sf_attention *a, bool of_keys, int block)
{
    int64_t width = (int64_t)(of_keys ? a->kv_heads : a->heads) * a->head_dim, rows = of_keys ? a->keys : a->queries;
    uint64_t read = of_keys ? all_keys(a) : activations(b, rows * width);
    count(b, SF_ESTIMATION,
          (sf_count){.flops = rows * width,
                     .cache_bytes = of_keys ? read : 0,
                     .other_bytes = (of_keys ? 0 : read) + sf_bytes(SF_F32, parts(rows, block) * width)});
}

/* Pairs of a query block and a key block that is not wholly in its future. */
static int64_t block_pairs(const sf_attention *a, int block_q, int block_k)
{
    int64_t n = 0;
    for (int64_t i = 0; i < a->queries; i += block_q) {
        int64_t end = i + block_q < a->queries ? i + block_q : a->queries;
        n += (a->keys - a->queries + end - 1) / block_k + 1;
    }
    return n;
}

static uint64_t query_means(const sf_attention *a, int block) { return sf_bytes(SF_F32, parts(a->queries, block) * a->heads * a->head_dim); }
static uint64_t key_means(const sf_attention *a, int block) { return sf_bytes(SF_F32, parts(a->keys, block) * a->kv_heads * a->head_dim); }

void sf_meter_top_blocks(sf_backend *b, const sf_attention *a, int block_q, int block_k)
{
    int64_t scored = block_pairs(a, block_q, block_k) * a->heads;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = scored * 2 * a->head_dim, .cache_bytes = key_means(a, block_k), .other_bytes = query_means(a, block_q)});
}

void sf_meter_block_probabilities(sf_backend *b, const sf_attention *a, int block_q, int block_k)
{
    int64_t scored = block_pairs(a, block_q, block_k) * a->heads;
    int64_t written = parts(a->queries, block_q) * parts(a->keys, block_k) * a->heads;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = scored * (2 * a->head_dim + 5),
                     .cache_bytes = key_means(a, block_k),
                     .other_bytes = query_means(a, block_q) + sf_bytes(SF_F32, written)});
}

void sf_meter_top_block_mass(sf_backend *b, const sf_attention *a)
{
    int64_t t = a->queries, pairs = t * (a->keys - t) + t * (t + 1) / 2;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = pairs * a->heads * (2 * a->head_dim + 5),
                     .cache_bytes = all_keys(a),
                     .other_bytes = activations(b, t * a->heads * a->head_dim)});
}

void sf_meter_page_bounds(sf_backend *b, const sf_attention *a, int page, int first)
{
    int64_t start = first / page * page, keys = a->keys - start, width = (int64_t)a->kv_heads * a->head_dim;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = 2 * keys * width,
                     .cache_bytes = cached(a, keys * a->kv_heads, a->head_dim),
                     .other_bytes = 2 * sf_bytes(SF_F32, parts(keys, page) * width)});
}

void sf_meter_page_scores(sf_backend *b, const sf_attention *a, int page)
{
    int64_t pages = parts(a->keys, page), g = a->kv_heads, d = a->head_dim;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = pages * a->heads * 4 * d,
                     .cache_bytes = sf_bytes(SF_F32, 2 * pages * g * d),
                     .other_bytes = sf_bytes(SF_F32, pages * g) + activations(b, a->heads * d)});
}

void sf_meter_antidiagonals(sf_backend *b, const sf_attention *a, int block, int stride)
{
    int64_t groups = block_pairs(a, stride, stride), map = parts(a->queries, block) * parts(a->keys, block);
    count(b, SF_ESTIMATION,
          (sf_count){.flops = groups * a->heads * (2 * (int64_t)a->head_dim * stride + 5),
                     .cache_bytes = all_keys(a),
                     .other_bytes = activations(b, (int64_t)a->queries * a->heads * a->head_dim) + sf_bytes(SF_F32, map * a->heads)});
}

void sf_meter_components(sf_backend *b, const sf_attention *a, bool of_keys, bool basis, int R, int first)
{
    int64_t rows = of_keys ? (int64_t)a->kv_heads * (a->keys - first) : a->heads, d = a->head_dim;
    uint64_t table = basis ? sf_bytes(SF_F32, a->kv_heads * d * R) : 0;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = basis ? 2 * rows * d * R : 0,
                     .weight_bytes = table,
                     .cache_bytes = of_keys ? cached(a, rows, a->head_dim) : 0,
                     .other_bytes = (of_keys ? activations(b, rows * R) : activations(b, rows * d) + sf_bytes(SF_F32, rows * R))});
}

void sf_meter_component_scores(sf_backend *b, const sf_attention *a, int R, const sf_lists *at)
{
    int64_t r = at ? at->stride : R, n = a->keys;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = 2 * r * n * a->heads,
                     .cache_bytes = activations(b, r * n * a->kv_heads),
                     .other_bytes = sf_bytes(SF_F32, (int64_t)a->heads * (R + n))});
}

void sf_meter_page_component_scores(sf_backend *b, const sf_attention *a, int page, const sf_lists *at)
{
    int64_t pages = parts(a->keys, page), r = at->stride;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = 2 * r * pages * a->heads,
                     .cache_bytes = sf_bytes(SF_F32, r * pages * a->kv_heads),
                     .other_bytes = sf_bytes(SF_F32, pages * a->heads) + activations(b, (int64_t)a->heads * a->head_dim)});
}

void sf_meter_value_means(sf_backend *b, const sf_attention *a, int first)
{
    int64_t width = (int64_t)a->kv_heads * sf_value_numbers(a), values = (a->keys - first) * width;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = values + width,
                     .cache_bytes = cached(a, (a->keys - first) * a->kv_heads, sf_value_numbers(a)),
                     .other_bytes = sf_bytes(SF_F32, width) + activations(b, width)});
}

void sf_meter_representatives(sf_backend *b, const sf_attention *a, int page, int most, int pages)
{
    int64_t kept = (int64_t)a->kv_heads * pages * most * a->head_dim, scores = (int64_t)a->kv_heads * pages * page;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = kept + scores,
                     .cache_bytes = cached(a, kept / a->head_dim, a->head_dim),
                     .other_bytes = sf_bytes(SF_F32, scores + (int64_t)a->kv_heads * pages * a->head_dim)});
}

void sf_meter_walk(sf_backend *b, int64_t n, int power)
{
    int64_t pairs = n * (n + 1) / 2;
    sf_meter_scores(b, 2 * pairs, n * n, pairs * (n + 2) / 3 * 2 + pairs * (power + 1));
}

void sf_meter_index_scores(sf_backend *b, int64_t rows, int heads, int dim, int64_t first)
{
    const int64_t n = first + rows, pairs = rows * first + rows * (rows + 1) / 2;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = pairs * heads * (2 * dim + 3),
                     .cache_bytes = sf_bytes(SF_F32, n * dim),
                     .other_bytes = sf_bytes(SF_F32, rows * heads * (dim + 1) + rows * n)});
}

void sf_meter_hidden_products(sf_backend *b, int64_t rows, const sf_tensor *w)
{
    const int64_t out = w->dim[0], in = w->dim[1];
    count(b, SF_ESTIMATION,
          (sf_count){.flops = 2 * rows * out * in,
                     .weight_bytes = weights(w),
                     .other_bytes = activations(b, rows * in) + sf_bytes(SF_F32, rows * out)});
}

void sf_meter_query_gates(sf_backend *b, const sf_attention *a, bool sloped)
{
    const int64_t rows = (int64_t)a->queries * a->kv_heads;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = rows * 2 * (a->head_dim + sloped),
                     .weight_bytes = sf_bytes(SF_F32, (int64_t)a->kv_heads * (a->head_dim + sloped)),
                     .other_bytes = activations(b, rows * a->head_dim) + sf_bytes(SF_F32, rows)});
}

void sf_meter_sigmoids(sf_backend *b, int64_t rows, int n)
{
    count(b, SF_OTHER, (sf_count){.flops = rows * n, .other_bytes = 2 * sf_bytes(SF_F32, rows * n)});
}

void sf_meter_segment_summaries(sf_backend *b, const sf_attention *a, int segment, int64_t m)
{
    int64_t keys = m * segment * a->kv_heads, d = a->head_dim, queries = m * segment * a->heads;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = keys * (3 * d + 2 * sf_value_numbers(a) + 5) + queries * d,
                     .cache_bytes = cached(a, keys * (a->rotated ? 1 : 2), a->head_dim),
                     .other_bytes = activations(b, queries * d + 2 * m * a->kv_heads * d)});
}

void sf_meter_key_probabilities(sf_backend *b, const sf_attention *a)
{
    int64_t n = (int64_t)a->heads * a->keys;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = n * (2 * a->head_dim + 5),
                     .cache_bytes = all_keys(a),
                     .other_bytes = activations(b, (int64_t)a->heads * a->head_dim) + sf_bytes(SF_F32, n)});
}

/* pairs: summed over query heads; keys: read, summed over lists that serve a group or a head. */
void sf_meter_listed_probabilities(sf_backend *b, const sf_attention *a, int64_t pairs, int64_t keys)
{
    int64_t q = activations(b, (int64_t)a->heads * a->head_dim), written = sf_bytes(SF_F32, (int64_t)a->heads * a->keys);
    count(b, SF_ESTIMATION,
          (sf_count){.flops = pairs * (2 * a->head_dim + 5),
                     .cache_bytes = cached(a, keys, a->head_dim),
                     .other_bytes = q + written});
}

void sf_meter_key_scores(sf_backend *b, const sf_attention *a, int64_t flops)
{
    count(b, SF_ESTIMATION,
          (sf_count){.flops = flops,
                     .cache_bytes = all_keys(a),
                     .other_bytes = sf_bytes(SF_F32, (int64_t)a->kv_heads * a->keys)});
}

void sf_meter_sample_moments(sf_backend *b, const sf_attention *a, int64_t listed, bool values)
{
    int64_t d = a->head_dim;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = listed * (2 * d + 5 + (values ? 5 * sf_value_numbers(a) : 0)),
                     .cache_bytes = cached(a, (values && !a->rotated ? 2 : 1) * listed, a->head_dim),
                     .other_bytes = activations(b, a->heads * d) + sf_bytes(SF_F32, listed)});
}

static uint64_t packed(const sf_attention *a, int64_t keys) { return (uint64_t)keys * (4 * (uint64_t)parts(a->head_dim, 8) + 8); }

void sf_meter_pack_keys(sf_backend *b, const sf_attention *a, int first)
{
    int64_t keys = (int64_t)(a->keys - first) * a->kv_heads;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = keys * 4 * a->head_dim,
                     .cache_bytes = cached(a, keys, a->head_dim),
                     .other_bytes = packed(a, keys)});
}

/* As sf_meter_listed_probabilities(). */
void sf_meter_packed_probabilities(sf_backend *b, const sf_attention *a, int64_t pairs, int64_t keys)
{
    int64_t q = activations(b, (int64_t)a->heads * a->head_dim), written = sf_bytes(SF_F32, (int64_t)a->heads * a->keys);
    count(b, SF_ESTIMATION, (sf_count){.flops = pairs * (2 * a->head_dim + 5), .cache_bytes = packed(a, keys), .other_bytes = q + written});
}

void sf_meter_hash_keys(sf_backend *b, const sf_attention *a, const sf_hash *hash)
{
    int64_t keys = (int64_t)a->kv_heads * (hash->end - hash->begin), planes = (int64_t)hash->bits * hash->tables;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = keys * (2 * planes + 1) * a->head_dim,
                     .cache_bytes = cached(a, keys, a->head_dim),
                     .other_bytes = (uint64_t)(keys * 4 * parts(hash->tables, 2))});
}

void sf_meter_hash_matches(sf_backend *b, const sf_attention *a, const sf_hash *hash)
{
    int64_t keys = hash->end - hash->begin, planes = (int64_t)hash->bits * hash->tables, h = a->heads;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = h * (2 * planes * a->head_dim + keys * hash->tables),
                     .cache_bytes = (uint64_t)(a->kv_heads * keys * 4 * parts(hash->tables, 2)),
                     .other_bytes = sf_bytes(SF_F32, h * a->keys)});
}

void sf_meter_kmeans(sf_backend *b, const sf_attention *a, const sf_kmeans_how *how)
{
    int64_t keys = how->end - how->begin, whole = keys / how->segment, rest = keys % how->segment, d = a->head_dim, g = a->kv_heads;
    int64_t pairs = whole * how->segment * parts(how->segment, how->each) + rest * parts(rest, how->each), passes = how->iterations + 1;
    count(b, SF_ESTIMATION,
          (sf_count){.flops = g * passes * pairs * 3 * d,
                     .cache_bytes = cached(a, (passes + !a->rotated) * g * keys, a->head_dim),
                     .other_bytes = 2 * activations(b, g * sf_clusters(how) * d) + sf_bytes(SF_F32, g * keys)});
}
