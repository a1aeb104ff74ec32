/* Vocabulary of methods that were trained: what they make of the layer's input by their own weights, and choices over what that gives.
 * The engine hands the layer's input out as the activations that it is; what is made of it is f32. */
#include "methods/method.h"

#include "kernels/backend.h"
#include "kernels/count.h"

#include <math.h>
#include <stdlib.h>

static const size_t STRIP_BYTES = (size_t)64 << 20; /* of scores at a time */

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t most(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t blocks_in(int64_t n, int64_t block) { return (n + block - 1) / block; }

/* Rows at a time, of so many scores each. */
static int strip_of(int64_t scores) { return (int)most(1, (int64_t)(STRIP_BYTES / sizeof(float)) / scores); }

/* Rows [begin, end) of the queries, over the keys up to the last one's own. */
static sf_attention rows_of(const sf_attention *a, int begin, int end)
{
    sf_attention some = *a;
    some.queries = end - begin;
    some.keys = a->keys - a->queries + end;
    some.q = (const char *)a->q + sf_bytes(a->kv.dtype, (int64_t)begin * a->heads * a->head_dim);
    if (a->hidden) some.hidden = (const char *)a->hidden + sf_bytes(a->kv.dtype, (int64_t)begin * a->width);
    return some;
}

/* Gives a strip's memory back; but none in a step, whose strip is the only one: what a lane has queued there may still be to come when the next
 * lane, which waits for nobody, takes the memory. */
static void release_strip(sf_backend *b, sf_mark mark)
{
    if (b->phase == SF_PREFILL) sf_scratch_release(b, mark);
}

static sf_lists new_lists(sf_attention *a, int64_t rows, int64_t stride)
{
    sf_lists out = {.rows = rows, .stride = stride};
    if (!a->status) a->status = sf_scratch_alloc(a->backend, (size_t)rows * sizeof *out.count, (void **)&out.count);
    if (!a->status) a->status = sf_scratch_alloc(a->backend, (size_t)(rows * stride) * sizeof *out.index, (void **)&out.index);
    return out;
}

/* ---- the layer's input ------------------------------------------------------------------------------------------- */

double sf_hidden_flops(const sf_extent *e, int64_t n) { return 2.0 * e->tokens * (double)n * e->width; }

void sf_hidden_gates(sf_attention *a, sf_tensor w, int n, sf_tensor *gate)
{
    const sf_backend_ops *ops = a->backend->ops;
    sf_tensor x = sf_hidden_products(a, w);
    const int64_t all = (int64_t)a->queries * a->heads;
    if (!a->status && x.dim[1] != (int64_t)n * a->heads)
        a->status = sf_fail(SF_BAD_INPUT, "gates by %lld rows; expected %d for each of %d query heads", (long long)x.dim[1], n, a->heads);
    sf_tensor all_gates = sf_room(a, n, all);
    if (!a->status && ops->sigmoids) a->status = ops->sigmoids(a->backend, x.data, all, n, all_gates.data);
    else if (!a->status) a->status = ops->gated(a->backend, x.data, NULL, a->queries, (int)x.dim[1], (sf_curve){.kind = SF_SIGMOID});
    for (int i = 0; i < n; i++) {
        gate[i] = (sf_tensor){a->status ? NULL : (float *)all_gates.data + i * all, SF_F32, 2, {a->queries, a->heads}};
        if (!a->status && !ops->sigmoids) a->status = ops->copy_columns(a->backend, (float *)x.data + i, n, all, 1, gate[i].data, 1);
    }
}

sf_tensor sf_layer_norm(sf_attention *a, sf_tensor x, sf_tensor weight, sf_tensor bias, double eps)
{
    sf_tensor out = sf_room(a, a->status ? 1 : x.dim[0], a->status ? 1 : x.dim[1]);
    if (!a->status && (weight.dim[0] != x.dim[1] || bias.dim[0] != x.dim[1]))
        a->status = sf_fail(SF_BAD_INPUT, "a norm of %lld and %lld numbers; expected %lld", (long long)weight.dim[0], (long long)bias.dim[0],
                            (long long)x.dim[1]);
    const sf_backend_ops *ops = a->backend->ops;
    if (a->status) return out;
    if (ops->norm_rows) a->status = ops->norm_rows(a->backend, x.data, x.dim[0], (int)x.dim[1], &weight, &bias, (float)eps, out.data);
    else a->status = ops->layer_norm(a->backend, x.data, SF_F32, x.dim[0], (int)x.dim[1], &weight, &bias, 0, (float)eps, out.data);
    return out;
}

/* Cosines and sines of positions first … first + rows - 1, [2, rows, pairs]. */
static float *angles(sf_attention *a, int first, int64_t rows, const float *frequency, int pairs)
{
    const int64_t n = rows * pairs;
    float *host = malloc((size_t)(2 * n + 1) * sizeof *host), *table = NULL;
    if (!host) a->status = sf_fail(SF_NO_MEMORY, "rotation of %lld rows", (long long)rows);
    for (int64_t r = 0; r < rows && host; r++)
        for (int i = 0; i < pairs; i++) {
            const float angle = (float)(first + r) * frequency[i];
            host[r * pairs + i] = cosf(angle), host[n + r * pairs + i] = sinf(angle);
        }
    table = sf_room(a, 2, n + 1).data;
    if (!a->status) a->status = a->backend->ops->upload(a->backend, table, host, (size_t)(2 * n) * sizeof *host);
    free(host);
    return table;
}

void sf_turn(sf_attention *a, sf_tensor x, int dim, int first)
{
    const int half = a->head_dim / 2;
    float frequency[half + 1];
    int pairs = 0;
    if (!a->status && !a->frequency)
        a->status = sf_fail(SF_UNSUPPORTED, "rows are turned as the model's keys are, whose rotation is not known here");
    if (!a->status && a->backend->ops->turn_rows) {
        a->status = a->backend->ops->turn_rows(a->backend, x.data, x.dim[0], (int)(x.dim[1] / dim), dim, first, a->frequency, half);
        return;
    }
    if (!a->status) a->status = a->backend->ops->download(a->backend, frequency, a->frequency, (size_t)half * sizeof *frequency);
    while (!a->status && pairs < half && 2 * pairs + 2 <= dim && frequency[pairs] != 0) pairs++;
    if (a->status || pairs == 0) return;
    const int64_t rows = x.dim[0];
    float *table = angles(a, first, rows, frequency, pairs);
    sf_lists own = sf_own(a, rows);
    if (a->status) return;
    a->status = a->backend->ops->rope(a->backend, x.data, rows, (int)(x.dim[1] / dim), dim, 2 * pairs, own.index, table, table + rows * pairs, false);
}

void sf_put_rows(sf_attention *a, sf_tensor to, int first, sf_tensor x)
{
    if (a->status) return;
    a->status = a->backend->ops->copy(a->backend, (float *)to.data + first * to.dim[1], x.data, (size_t)sf_elements(&x) * sizeof(float));
}

/* ---- summaries of blocks ----------------------------------------------------------------------------------------- */

static void skip_keys(sf_kv_part *part, int64_t n, int64_t bytes)
{
    part->k = (char *)part->k + n * bytes, part->v = (char *)part->v + n * bytes;
    part->n -= (int)n;
}

/* The same with keys [begin, end) alone, which are all held; values in the place of keys, where they are asked for. */
static sf_attention keys_of(const sf_attention *a, int begin, int end, bool values)
{
    sf_attention some = *a;
    sf_kv_part *prompt = &some.kv.prompt, *tail = &some.kv.tail;
    const int64_t bytes = (int64_t)sf_bytes(a->kv.dtype, a->head_dim), skipped = least(begin, prompt->n);
    if (values) prompt->k = prompt->v, tail->k = tail->v;
    skip_keys(prompt, skipped, bytes);
    if (begin > skipped) skip_keys(tail, begin - skipped, bytes);
    some.keys = end - begin;
    prompt->n = (int)least(prompt->n, some.keys);
    tail->n = some.keys - prompt->n;
    return some;
}

static void put_means(sf_attention *a, int block, int begin, int end, bool values, sf_tensor to)
{
    sf_attention some = keys_of(a, begin * block, end * block, values);
    sf_tensor mean = sf_block_means(&some, true, block);
    a->status = some.status;
    const int64_t dim = a->head_dim, blocks = end - begin;
    for (int g = 0; g < a->kv_heads && !a->status; g++)
        a->status = a->backend->ops->copy(a->backend, (float *)to.data + (g * to.dim[1] + begin) * dim, (float *)mean.data + g * blocks * dim,
                                          (size_t)(blocks * dim) * sizeof(float));
}

void sf_block_summaries(sf_attention *a, int block, int first, sf_tensor k, sf_tensor v)
{
    const int begin = first / block, end = a->keys / block;
    if (!a->status && (a->kv.prompt.count || a->rotated))
        a->status = sf_fail(SF_UNSUPPORTED, "summaries of blocks, of a cache %s", a->kv.prompt.count ? "that was cut" : "of latents");
    if (a->status || begin >= end) return;
    put_means(a, block, begin, end, false, k);
    if (!a->status) put_means(a, block, begin, end, true, v);
}

double sf_summaries_flops(const sf_extent *e, int block) { return 2.0 * (e->tokens / block * block) * e->kv_heads * e->head_dim; }

sf_tensor sf_first_of_each(sf_attention *a, sf_tensor x, int64_t n)
{
    const int64_t heads = x.dim[0], dim = x.dim[2];
    sf_tensor out = {sf_room(a, heads, n * dim).data, SF_F32, 3, {heads, n, dim}};
    for (int64_t g = 0; g < heads && !a->status; g++)
        a->status = a->backend->ops->copy(a->backend, (float *)out.data + g * n * dim, (float *)x.data + g * x.dim[1] * dim,
                                          (size_t)(n * dim) * sizeof(float));
    return out;
}

sf_tensor sf_as_activations(sf_attention *a, sf_tensor x)
{
    sf_backend *b = a->backend;
    sf_tensor out = x;
    if (b->activation == SF_F32) return out;
    out.dtype = b->activation, out.data = NULL;
    if (!a->status) a->status = sf_scratch_alloc(b, sf_bytes(out.dtype, sf_elements(&x)), &out.data);
    if (!a->status) a->status = b->ops->cast(b, x.data, sf_elements(&x), out.data);
    return out;
}

/* copy_columns() of floats: where activations are of two bytes, each is two of them. */
static sf_status copy_floats(sf_backend *b, const float *x, int64_t from, int64_t rows, int64_t n, float *y, int64_t to)
{
    const int64_t each = (int64_t)(sf_bytes(SF_F32, 1) / sf_bytes(b->activation, 1));
    return b->ops->copy_columns(b, x, from * each, rows, n * each, y, to * each);
}

/* Blocks that every row reads: the first, its own and the one before it. `rows` of each kv head, the first at `position`. */
static sf_lists always(sf_attention *a, int block, int position, int64_t rows)
{
    enum { MOST = 3 };
    const int64_t lists = rows * a->kv_heads;
    int32_t *count = malloc((size_t)lists * sizeof *count), *index = malloc((size_t)(lists * MOST) * sizeof *index);
    if (!count || !index) a->status = sf_fail(SF_NO_MEMORY, "%lld lists of blocks", (long long)lists);
    for (int64_t l = 0; l < lists && !a->status; l++) {
        const int32_t own = (int32_t)((position + l % rows) / block);
        int32_t *of = index + l * MOST, n = 0;
        of[n++] = 0;
        if (own > 1) of[n++] = own - 1;
        if (own > 0) of[n++] = own;
        count[l] = n;
        while (n < MOST) of[n++] = 0;
    }
    sf_lists out = {0};
    if (!a->status) out = sf_host_lists(a, lists, MOST, count, index);
    free(count), free(index);
    return out;
}

/* Of the rows from `begin` on that see a block which is over: x [G, rows, blocks] = the group's mean probability of each. */
static void put_probabilities(sf_attention *a, sf_tensor k, int block, int begin, int end, int64_t blocks, float *x)
{
    const int first = (int)most(begin, (int64_t)block - 1 - (a->keys - a->queries)), rows = end - first;
    if (a->status || rows <= 0) return;
    /* A block is seen once its last key is: as if the row stood block - 1 keys earlier. */
    sf_attention seen = rows_of(a, first, end);
    seen.keys -= block - 1;
    const int64_t over = blocks_in(seen.keys, block);
    sf_tensor q = sf_block_means(&seen, false, 1), some = over == k.dim[1] ? k : sf_first_of_each(&seen, k, over);
    sf_tensor p = sf_block_probabilities(&seen, q, 1, some, block), rows_together = {p.data, SF_F32, 2, {a->heads, rows * over}};
    sf_tensor mean = sf_group(&seen, rows_together, SF_MEAN);
    a->status = seen.status;
    for (int g = 0; g < a->kv_heads && !a->status; g++)
        a->status = copy_floats(a->backend, (float *)mean.data + g * rows * over, over, rows, over,
                                x + ((int64_t)g * (end - begin) + first - begin) * blocks, blocks);
}

sf_lists sf_top_summarised(sf_attention *a, sf_tensor k, int block, int count)
{
    sf_backend *b = a->backend;
    const int64_t blocks = blocks_in(a->keys, block), stride = least(count, blocks);
    sf_lists out = new_lists(a, (int64_t)a->kv_heads * a->queries, stride);
    const int strip = strip_of((int64_t)(a->heads + 2 * a->kv_heads) * blocks);
    for (int begin = 0; begin < a->queries && !a->status; begin += strip) {
        const int end = (int)least(begin + strip, a->queries), rows = end - begin;
        sf_mark mark = sf_scratch_mark(b);
        sf_tensor x = sf_room(a, (int64_t)a->kv_heads * rows, blocks);
        sf_exclude(a, x, 0, blocks);
        put_probabilities(a, k, block, begin, end, blocks, x.data);
        sf_force_at(a, x, always(a, block, a->keys - a->queries + begin, rows));
        for (int64_t g = 0; g < a->kv_heads && !a->status; g++) {
            const int64_t to = g * a->queries + begin;
            sf_lists some = {rows, stride, out.count + to, out.index + to * stride};
            a->status = b->ops->top(b, (float *)x.data + g * rows * blocks, rows, blocks, stride, &some);
        }
        release_strip(b, mark);
    }
    return out;
}

/* Queries as floats, products and softmax over the blocks behind each, their group's mean, and a comparison for every block. */
double sf_top_summarised_flops(const sf_extent *e, int block)
{
    const int64_t blocks = blocks_in(e->tokens, block);
    const int strip = strip_of((int64_t)(e->heads + 2 * e->kv_heads) * blocks);
    double flops = (double)e->kv_heads * e->tokens * (double)blocks;
    for (int begin = 0; begin < e->tokens; begin += strip) {
        const int end = (int)least(begin + strip, e->tokens), first = (int)most(begin, block - 1);
        if (first >= end) continue;
        double scored = 0;
        for (int i = first; i < end; i++) scored += (i + 1) / block;
        flops += e->heads * (scored * (2.0 * e->head_dim + 5) + (double)(end - first) * (e->head_dim + (double)blocks_in(end - block + 1, block)));
    }
    return flops;
}

/* ---- an index of keys -------------------------------------------------------------------------------------------- */

/* The `stride` best keys of each row, of queries q and weights w that are made; some: the rows. Lists of theirs at `out`. Where memory is
 * the device's own nothing but scores is kept; elsewhere all heads' products. */
static void choose_indexed(sf_attention *some, sf_tensor q, sf_tensor w, sf_tensor k, int strip, sf_lists out)
{
    sf_backend *b = some->backend;
    const int64_t heads = w.dim[1], dim = k.dim[1], stride = out.stride;
    for (int begin = 0; begin < some->queries && !some->status; begin += strip) {
        const int64_t rows = least(strip, some->queries - begin), first = some->keys - some->queries + begin, n = first + rows;
        sf_mark mark = sf_scratch_mark(b);
        sf_tensor x = sf_room(some, rows, n);
        sf_lists these = {rows, stride, out.count + begin, out.index + begin * stride};
        if (!some->status)
            some->status = b->ops->index_scores(b, rows, (int)heads, (int)dim, first, (float *)q.data + begin * heads * dim,
                                                (float *)w.data + begin * heads, k.data, x.data);
        sf_meter *own = b->meter;
        b->meter = &b->aside; /* looks at what lies ahead of a row are none, of which there are more the longer a strip is */
        if (!some->status) some->status = b->ops->top(b, x.data, rows, n, stride, &these);
        b->meter = own;
        if (!some->status) sf_meter_select(b, rows * first + rows * (rows + 1) / 2);
        release_strip(b, mark);
    }
}

sf_lists sf_top_indexed(sf_attention *a, sf_tensor wq, sf_tensor ww, sf_tensor k, int count)
{
    static const int64_t SCORES_APART = (int64_t)256 << 20; /* bytes */
    sf_backend *b = a->backend;
    const int64_t stride = least(count, a->keys);
    if (!a->status && !b->ops->index_scores)
        a->status = sf_fail(SF_UNSUPPORTED, "scores of an indexer, which %s does not compute; run it on cpu", b->ops->name);
    if (!a->status && (wq.dim[0] != ww.dim[0] * k.dim[1] || k.dim[0] < a->keys))
        a->status = sf_fail(SF_BAD_INPUT, "an indexer of %lld numbers a query, %lld heads and %lld numbers a key", (long long)wq.dim[0],
                            (long long)ww.dim[0], (long long)k.dim[1]);
    sf_lists out = new_lists(a, a->queries, stride);
    if (a->status) return out;
    /* A device makes the queries of as many rows as are scored together, the host those of all. */
    const bool apart = b->ops->apart;
    const int strip = apart ? (int)most(1, SCORES_APART / (int64_t)sizeof(float) / a->keys) : strip_of((ww.dim[0] + 1) * a->keys);
    const int piece = apart ? strip : a->queries;
    for (int begin = 0; begin < a->queries && !a->status; begin += piece) {
        sf_mark mark = sf_scratch_mark(b);
        sf_attention some = rows_of(a, begin, (int)least(begin + piece, a->queries));
        sf_tensor q = sf_hidden_products(&some, wq);
        sf_turn(&some, q, (int)k.dim[1], some.keys - some.queries);
        sf_tensor w = sf_hidden_products(&some, ww);
        choose_indexed(&some, q, w, k, strip, (sf_lists){some.queries, stride, out.count + begin, out.index + begin * stride});
        a->status = some.status;
        release_strip(b, mark);
    }
    return out;
}

/* A score of every pair, and a comparison for each. */
double sf_top_indexed_flops(const sf_extent *e, int heads, int dim)
{
    const double n = e->tokens, pairs = n * (n + 1) / 2;
    return pairs * heads * (2.0 * dim + 3) + pairs;
}
