/* Estimation over blocks and pages, and the exact probabilities that oracles look at.
 *
 * Pooled block scores are products of fp32 means. On tensor cores each operand is split into two bf16 halves, x = h +
 * l, and h·h' + h·l' + l·h' are summed in fp32: products are good to about 2^-16, at a third of the bf16 rate. Rows of
 * scores are made and chosen from slice by slice, so that a slice stays in the L2 cache and the whole map is never
 * stored.
 *
 * Test: make test-cuda. */
#include "kernels/cuda/entmax.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/cuda/select.cuh"

enum { THREADS = 256, TILE = 64, STEP = 64, PITCH = STEP + 8 };
static const size_t SLICE = (size_t)64 << 20; /* bytes of scores at a time */

static unsigned grid_for(int64_t n)
{
    int64_t blocks = ceil_div<int64_t>(n, THREADS);
    return (unsigned)(blocks < 1 ? 1 : blocks > 65536 ? 65536 : blocks);
}

#define FOR_ALL(i, n)                                                                                                  \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

/* ---- pooled blocks ---- */

__global__ void key_means(sf_kv kv, int64_t n, int N, int D, int block, float *out)
{
    int blocks = (N + block - 1) / block;
    FOR_ALL(i, n)
    {
        int d = (int)(i % D), at = (int)(i / D % blocks), g = (int)(i / D / blocks), there = 0;
        float sum = 0;
        for (int j = at * block; j < (at + 1) * block && j < N; j++) {
            const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
            if (k) sum += __bfloat162float(k[d]), there++;
        }
        out[i] = sum / there;
    }
}

__global__ void query_means(const bf16 *q, int64_t n, int T, int H, int D, int block, float *out)
{
    int blocks = (T + block - 1) / block;
    FOR_ALL(i, n)
    {
        int64_t d = i % D, at = i / D % blocks, h = i / D / blocks, end = min((int64_t)T, (at + 1) * block);
        float sum = 0;
        for (int64_t t = at * block; t < end; t++) sum += __bfloat162float(q[(t * H + h) * D + d]);
        out[i] = sum / (end - at * block);
    }
}

sf_status sf_cuda_block_means(sf_backend *b, const sf_attention *a, bool of_keys, int block, float *out)
{
    if (of_keys) SF_TRY(sf_cache_refuse(&a->kv.prompt, "block_means"));
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int D = a->head_dim;
    int64_t n =
        (int64_t)(of_keys ? a->kv_heads * ceil_div(a->keys, block) : a->heads * ceil_div(a->queries, block)) * D;
    if (n) {
        if (of_keys)
            key_means<<<grid_for(n), THREADS, 0, stream>>>(a->kv, n, a->keys, D, block, out);
        else
            query_means<<<grid_for(n), THREADS, 0, stream>>>((const bf16 *)a->q, n, a->queries, a->heads, D, block,
                                                             out);
        LAUNCH_TRY(block_means);
    }
    sf_meter_block_means(b, a, of_keys, block);
    return SF_OK;
}

struct block_map {
    const float *q, *k;  /* [lists, queries, D], [G, keys, D] */
    int lists, group, D; /* lists per kv head */
    int queries, keys;   /* in blocks */
    int block_q, block_k, T, N;
    int sinks, local;
    float scale;
};

/* Key blocks that query block i may see, at least in part. */
__device__ static inline int visible_blocks(const block_map &m, int i)
{
    int end = min((i + 1) * m.block_q, m.T);
    return (m.N - m.T + end - 1) / m.block_k + 1;
}

__device__ static inline void split_store(bf16 *high, bf16 *low, float x)
{
    *high = __float2bfloat16(x);
    *low = __float2bfloat16(x - __bfloat162float(*high));
}

/* score[list, i - first, j] for query blocks [first, first + rows) of each list (blockIdx.z). whole: -INFINITY for
 * blocks in the future; else they are left as they are. */
__global__ void __launch_bounds__(128)
    block_scores(const __grid_constant__ block_map m, int first_i, int rows, bool whole, float *score)
{
    __shared__ __align__(16) bf16 q[2][TILE][PITCH], k[2][TILE][PITCH];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, i0 = first_i + blockIdx.y * TILE, j0 = blockIdx.x * TILE;
    int last = min(i0 + TILE, first_i + rows) - 1;
    bool past = j0 < visible_blocks(m, last);
    int list = blockIdx.z;
    score += (int64_t)list * rows * m.keys;
    const float *from_q = m.q + (int64_t)list * m.queries * m.D,
                *from_k = m.k + (int64_t)(list / m.group) * m.keys * m.D;
    if (!past && !whole) return;
    float s[TILE / 8][4] = {};
    for (int d0 = 0; past && d0 < m.D; d0 += STEP) {
        __syncthreads();
        for (int i = threadIdx.x; i < TILE * STEP; i += blockDim.x) {
            int row = i / STEP, d = i % STEP;
            bool inside = d0 + d < m.D;
            float x = inside && i0 + row <= last ? from_q[(int64_t)(i0 + row) * m.D + d0 + d] : 0;
            float y = inside && j0 + row < m.keys ? from_k[(int64_t)(j0 + row) * m.D + d0 + d] : 0;
            split_store(&q[0][row][d], &q[1][row][d], x);
            split_store(&k[0][row][d], &k[1][row][d], y);
        }
        __syncthreads();
#pragma unroll
        for (int d = 0; d < STEP; d += 16) {
            uint32_t a[2][4];
            for (int h = 0; h < 2; h++) ldmatrix(a[h], &q[h][warp * 16 + lane % 16][d + lane / 16 * 8]);
#pragma unroll
            for (int n = 0; n < TILE / 8; n += 2) {
                uint32_t y[2][4];
                for (int h = 0; h < 2; h++)
                    ldmatrix(y[h], &k[h][n * 8 + lane % 8 + lane / 16 * 8][d + lane / 8 % 2 * 8]);
                for (int e = 0; e < 2; e++) {
                    mma(s[n + e], a[0], y[0][e * 2], y[0][e * 2 + 1]);
                    mma(s[n + e], a[0], y[1][e * 2], y[1][e * 2 + 1]);
                    mma(s[n + e], a[1], y[0][e * 2], y[0][e * 2 + 1]);
                }
            }
        }
    }
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) {
        for (int e = 0; e < 4; e++) {
            int i = i0 + warp * 16 + lane / 4 + e / 2 * 8, j = j0 + n * 8 + lane % 4 * 2 + e % 2;
            if (i > last || j >= m.keys) continue;
            int visible = visible_blocks(m, i);
            bool forced = j < m.sinks || j >= visible - m.local;
            score[(int64_t)(i - first_i) * m.keys + j] = j >= visible ? -INFINITY
                                                         : forced     ? INFINITY
                                                                      : s[n][e] * m.scale;
        }
    }
}

/* q means summed over the query heads that share a selection: their scores' sum is the sum's score. */
__global__ void sum_group(const float *q, int64_t n, int64_t each, int group, float *out)
{
    FOR_ALL(i, n)
    {
        float sum = 0;
        for (int m = 0; m < group; m++) sum += q[(i / each * group + m) * each + i % each];
        out[i] = sum;
    }
}

static block_map map_of(const sf_attention *a, const float *q_mean, int block_q, const float *k_mean, int block_k)
{
    block_map m = {};
    m.q = q_mean, m.k = k_mean;
    m.lists = a->heads, m.group = a->heads / a->kv_heads, m.D = a->head_dim;
    m.queries = ceil_div(a->queries, block_q), m.keys = ceil_div(a->keys, block_k);
    m.block_q = block_q, m.block_k = block_k, m.T = a->queries, m.N = a->keys;
    m.scale = a->scale;
    return m;
}

static sf_status queue_scores(sf_backend *b, const block_map *m, int first, int rows, bool whole, float *score)
{
    block_scores<<<dim3(ceil_div(m->keys, (int)TILE), ceil_div(rows, (int)TILE), m->lists), 128, 0,
                   sf_cuda_of(b)->stream>>>(*m, first, rows, whole, score);
    LAUNCH_TRY(block_scores);
    return SF_OK;
}

sf_status sf_cuda_top_blocks(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q,
                             const float *k_mean, int block_k, int heads, int k, int sinks, int local, sf_lists *out)
{
    block_map m = map_of(a, q_mean, block_q, k_mean, block_k);
    m.sinks = sinks, m.local = local;
    out->rows = (int64_t)heads * m.queries;
    int64_t each = (int64_t)m.queries * m.D, sums = heads < a->heads ? heads * each : 0;
    int slice = (int)(SLICE / ((size_t)m.keys * heads * sizeof(float)) / TILE * TILE); /* query blocks, of all lists */
    if (slice < TILE) slice = TILE;
    if (slice > m.queries) slice = m.queries;
    float *sum;
    SF_TRY(sf_cuda_workspace(b, (sums + (size_t)heads * slice * m.keys) * sizeof *sum, (void **)&sum));
    float *score = sum + sums;
    if (sums) {
        sum_group<<<grid_for(sums), THREADS, 0, sf_cuda_of(b)->stream>>>(q_mean, sums, each, a->heads / heads, sum);
        LAUNCH_TRY(sum_group);
        m.q = sum, m.lists = heads, m.group = heads / a->kv_heads;
    }
    for (int first = 0; first < m.queries; first += slice) {
        int rows = m.queries - first < slice ? m.queries - first : slice;
        SF_TRY(queue_scores(b, &m, first, rows, false, score));
        SF_TRY(sf_cuda_select_rows(b, score, (int64_t)heads * rows, m.keys, k > 0 ? k : 0, NULL,
                                   {rows, first, m.queries, block_q, block_k, a->queries, a->keys, false}, out));
    }
    sf_cuda_vouch(b, out, m.keys);
    sf_meter_top_blocks(b, a, block_q, block_k);
    return SF_OK;
}

/* Softmax of each row in place, over its entries that are not -INFINITY, which stay so unless `zeros`. */
__global__ void softmax_rows(float *x, int64_t n, bool zeros)
{
    __shared__ float shared[32];
    float *row = x + blockIdx.x * n, most = -INFINITY, sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) most = fmaxf(most, row[i]);
    most = block_max(most, shared);
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += row[i] == -INFINITY ? 0 : expf(row[i] - most);
    sum = block_sum(sum, shared);
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        if (row[i] != -INFINITY || zeros) row[i] = row[i] == -INFINITY ? 0 : expf(row[i] - most) / sum;
}

sf_status sf_cuda_softmax_rows(sf_backend *b, float *x, int64_t rows, int64_t n)
{
    if (rows && n) {
        softmax_rows<<<(unsigned)rows, n > 4096 ? 1024 : THREADS, 0, sf_cuda_of(b)->stream>>>(x, n, true);
        LAUNCH_TRY(softmax_rows);
    }
    sf_meter_scores(b, rows * n, rows * n, 5 * rows * n);
    return SF_OK;
}

sf_status sf_cuda_block_probabilities(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q,
                                      const float *k_mean, int block_k, float *p)
{
    block_map m = map_of(a, q_mean, block_q, k_mean, block_k);
    SF_TRY(queue_scores(b, &m, 0, m.queries, true, p));
    if (m.queries) {
        softmax_rows<<<(unsigned)(a->heads * m.queries), THREADS, 0, sf_cuda_of(b)->stream>>>(p, m.keys, false);
        LAUNCH_TRY(softmax_rows);
    }
    sf_meter_block_probabilities(b, a, block_q, block_k);
    return SF_OK;
}

/* ---- exact probabilities, for oracles: plain fp32, quadratic ---- */

/* score[h, r, j] of query row first + r, a block for some keys of one row and head: one warp a key. */
__global__ void row_scores(const bf16 *q, sf_kv kv, int H, int group, int D, int T, int N, int window, int first,
                           float scale, float cap, float *score)
{
    __shared__ float query[SF_CUDA_HEAD_DIM];
    int head = blockIdx.z, lane = threadIdx.x % 32, t = first + blockIdx.y, position = N - T + t;
    for (int d = threadIdx.x; d < D; d += blockDim.x)
        query[d] = __bfloat162float(q[((int64_t)t * H + head) * D + d]) * scale;
    __syncthreads();
    score += ((int64_t)head * gridDim.y + blockIdx.y) * N;
    for (int j = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; j < N; j += gridDim.x * (blockDim.x / 32)) {
        const bf16 *k = j <= position && (!window || j > position - window) ? sf_cuda_kv_row(kv, head / group, j, D, false) : NULL;
        float s = 0;
        for (int d = lane; k && d < D; d += 32) s += query[d] * __bfloat162float(k[d]);
        s = warp_sum(s);
        if (lane == 0) score[j] = k ? capped(s, cap) : -INFINITY;
    }
}

/* Logits [H, rows, N] of query rows [first, first + rows) */
static sf_status queue_row_scores(sf_backend *b, const sf_attention *a, int first, int rows, float *p)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int blocks = ceil_div(a->keys, 8), most = rows == 1 ? 512 : 16; /* of many rows each fills the device less */
    row_scores<<<dim3(blocks < most ? blocks : most, rows, a->heads), THREADS, 0, stream>>>(
        (const bf16 *)a->q, a->kv, a->heads, a->heads / a->kv_heads, a->head_dim, a->queries, a->keys, a->window, first,
        a->scale, a->softcap, p);
    LAUNCH_TRY(row_scores);
    return SF_OK;
}

/* Their softmax. */
static sf_status queue_rows(sf_backend *b, const sf_attention *a, int first, int rows, float *p)
{
    SF_TRY(queue_row_scores(b, a, first, rows, p));
    softmax_rows<<<a->heads * rows, rows == 1 ? 1024 : THREADS, 0, sf_cuda_of(b)->stream>>>(p, a->keys, true);
    LAUNCH_TRY(softmax_rows);
    return SF_OK;
}

sf_status sf_cuda_entmax_row(sf_backend *b, const sf_attention *a, int row, float *p)
{
    SF_TRY(queue_row_scores(b, a, row, 1, p));
    return sf_cuda_entmax_rows(b, p, a->heads, a->keys, a->alpha);
}

sf_status sf_cuda_key_probabilities(sf_backend *b, const sf_attention *a, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "key_probabilities"));
    SF_TRY(a->alpha != 0 ? sf_cuda_entmax_row(b, a, 0, p) : queue_rows(b, a, 0, 1, p));
    sf_meter_key_probabilities(b, a);
    return SF_OK;
}

/* What of p [H, rows, N], query rows [first, first + rows), falls on query block i and key block j: mass[list, i - i0, j]
 * (+)= Σ over the list's heads, the block's rows and its keys, where i0 is the first row's block; begin: those rows are the
 * first of their block. Blocks that no row of query block i sees: -INFINITY. */
__global__ void add_mass(const float *p, int first, int rows, int T, int N, int block_q, int block_k, int heads_each,
                         bool begin, float *mass)
{
    int list = blockIdx.z, i = first / block_q + blockIdx.y, blocks = (N + block_k - 1) / block_k;
    int from = max(i * block_q, first) - first, end = min(min((i + 1) * block_q, T), first + rows) - first;
    int visible = (N - T + min((i + 1) * block_q, T) - 1) / block_k + 1;
    mass += ((int64_t)list * gridDim.y + blockIdx.y) * blocks;
    FOR_ALL(j, blocks)
    {
        float sum = begin ? 0 : mass[j];
        for (int r = from; r < end; r++)
            for (int h = list * heads_each; h < (list + 1) * heads_each; h++)
                for (int64_t at = j * block_k; at < (j + 1) * block_k && at < N; at++) sum += p[((int64_t)h * rows + r) * N + at];
        mass[j] = j < visible ? sum : -INFINITY;
    }
}

/* Rows of queries at a time: their probabilities take some 64 MB. */
enum { MASS_BYTES = 64 << 20, MASS_ROWS = 32768 };

sf_status sf_cuda_top_block_mass(sf_backend *b, const sf_attention *a, int block_q, int block_k, int heads, int k,
                                 sf_lists *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "top_block_mass"));
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int queries = ceil_div(a->queries, block_q), blocks = ceil_div(a->keys, block_k);
    int64_t row_bytes = (int64_t)a->heads * a->keys * (int64_t)sizeof(float), some = row_bytes ? MASS_BYTES / row_bytes : 1;
    int most = some < 1 ? 1 : some < MASS_ROWS ? (int)some : MASS_ROWS;
    if (most > block_q) most -= most % block_q; /* whole blocks of queries, or one block's rows in turn */
    if (most > a->queries) most = a->queries;
    size_t probabilities = (size_t)a->heads * most * a->keys, masses = (size_t)heads * ceil_div(most, block_q) * blocks;
    float *p;
    SF_TRY(sf_cuda_workspace(b, (probabilities + masses) * sizeof *p, (void **)&p));
    float *mass = p + probabilities;
    out->rows = (int64_t)heads * queries;
    for (int first = 0, rows; first < a->queries; first += rows) {
        int i = first / block_q, block_end = (i + 1) * block_q < a->queries ? (i + 1) * block_q : a->queries;
        rows = first + most < a->queries ? most : a->queries - first;
        if (most < block_q && first + rows > block_end) rows = block_end - first;
        int some_queries = ceil_div(first + rows, block_q) - i;
        SF_TRY(queue_rows(b, a, first, rows, p));
        add_mass<<<dim3(grid_for(blocks), some_queries, heads), THREADS, 0, stream>>>(
            p, first, rows, a->queries, a->keys, block_q, block_k, a->heads / heads, first % block_q == 0, mass);
        LAUNCH_TRY(add_mass);
        if (first + rows < block_end) continue;
        for (int s = 0; s < heads; s++) { /* lists of one head lie `queries` apart */
            int64_t row = (int64_t)s * queries + i;
            sf_lists to = {some_queries, out->stride, out->count + row, out->index + row * out->stride};
            SF_TRY(sf_cuda_select_rows(b, mass + (int64_t)s * some_queries * blocks, some_queries, blocks, k > 0 ? k : 0, NULL, {},
                                       &to));
        }
    }
    sf_cuda_vouch(b, out, blocks);
    sf_meter_top_block_mass(b, a);
    return SF_OK;
}

/* ---- pages ---- */

/* packed: the prompt's keys, where they are. */
__global__ void page_bounds(sf_kv kv, sf_cuda_packed packed, int64_t n, int N, int D, int page, int first_page, int touched, int64_t pages,
                            float *low, float *high)
{
    sf_begin();
    FOR_ALL(i, n)
    {
        int d = (int)(i % D), p = first_page + (int)(i / D % touched), g = (int)(i / D / touched);
        float least = NAN, most = NAN;
        for (int j = p * page; j < (p + 1) * page && j < N; j++) {
            float x;
            if (packed.held != SF_HELD_FLOATS && j < kv.prompt.n) {
                if (kv.prompt.count && j >= kv.prompt.count[g]) continue;
                x = sf_cuda_packed_number(packed, g * kv.prompt.capacity + j, d);
            } else {
                const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
                if (!k) continue;
                x = __bfloat162float(k[d]);
            }
            least = fminf(least, x); /* of NaN and x, x */
            most = fmaxf(most, x);
        }
        low[(g * pages + p) * D + d] = least;
        high[(g * pages + p) * D + d] = most;
    }
}

sf_status sf_cuda_page_bounds(sf_backend *b, const sf_attention *a, int page, int first, int64_t pages, float *low,
                              float *high)
{
    int first_page = first / page, touched = ceil_div(a->keys, page) - first_page;
    int64_t n = (int64_t)a->kv_heads * (touched > 0 ? touched : 0) * a->head_dim;
    if (n)
        SF_TRY(sf_cuda_follow(b, page_bounds, grid_for(n), THREADS, 0, a->kv,
                              sf_cuda_packed_of(&a->kv.prompt, a->kv.prompt.k, a->kv_heads, a->head_dim), n, a->keys, a->head_dim, page,
                              first_page, touched, pages, low, high));
    sf_meter_page_bounds(b, a, page, first);
    return SF_OK;
}

/* A page's score, Σ over the group's heads and d of max(q·low, q·high), is Σ over d of high · (what queries are above 0, summed over heads) +
 * low · (what they are below it): two products a number of the bounds whatever the group. The order of its sums is the page's own.
 *
 * Of the common head dims a warp takes as many pages at a time as put eight loads of 16 bytes of each lane on their way, and before it adds
 * up over lanes what has come, asks for its next; it keeps its share of the query in registers and adds up over lanes all pages at once.
 *
 * Blocks that come in while the kernel in front ends take pages once, and ask for them into L2 until then, where nothing is stale; of what
 * lanes queue side by side, as many as come in at once stay until the pages are through. On one H200, 131072 keys of 8 heads in pages of 16,
 * 67 MB: 19 us so (20 by blocks that stay), 16 lanes' steps of Quest 409 (447 by blocks that do not). */
template <int DIM> struct paging {
    static const int LANES = DIM < 128 ? DIM / 4 : 32, VECTORS = DIM / 4 / LANES, STEPS = 4 / VECTORS; /* of a page; of a lane; pages of a lane */
    static const int PAGES = STEPS * (32 / LANES);                                                    /* of a warp, at a time */
    float4 low[STEPS][VECTORS], high[STEPS][VECTORS];
};
enum { SCORERS = 4, STAYING = 3 }; /* blocks a multiprocessor has room for; of those that stay */

template <int DIM>
__global__ void __launch_bounds__(THREADS, DIM > 128 ? STAYING : SCORERS) page_scores(const bf16 *q, int group, int there, int64_t pages, bool waits, const float *low,
                                                                const float *high, float *score)
{
    typedef paging<DIM> some;
    const int VECTORS = some::VECTORS, STEPS = some::STEPS, lane = threadIdx.x % 32, own = lane % some::LANES,
              from = (blockIdx.x * (THREADS / 32) + threadIdx.x / 32) * some::PAGES, stride = gridDim.x * (THREADS / 32) * some::PAGES;
    const int64_t g = blockIdx.y;
    low += g * pages * DIM, high += g * pages * DIM;
    const int64_t line = (int64_t)from * DIM + lane % 16 * 32; /* the warp's bounds are 16 lines of 128 bytes, twice */
    if (waits && line < (int64_t)there * DIM) asm volatile("prefetch.global.L2 [%0];\n" ::"l"((lane < 16 ? low : high) + line));
    sf_begin();
    if (from >= there) return;
    auto load = [&](int first, some &to) {
#pragma unroll
        for (int p = 0; p < STEPS; p++) {
#pragma unroll
            for (int v = 0; v < VECTORS; v++) {
                const int64_t at = (int64_t)min(first + lane / some::LANES * STEPS + p, there - 1) * DIM + (v * some::LANES + own) * 4;
                to.low[p][v] = *(const float4 *)(low + at), to.high[p][v] = *(const float4 *)(high + at);
            }
        }
    };
    some next;
    load(from, next);
    float above[VECTORS][4] = {}, below[VECTORS][4] = {};
    for (int m = 0; m < group; m++) {
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            const uint2 raw = *(const uint2 *)(q + (g * group + m) * DIM + (v * some::LANES + own) * 4);
            const bf16 *x = (const bf16 *)&raw;
#pragma unroll
            for (int e = 0; e < 4; e++) above[v][e] += fmaxf(__bfloat162float(x[e]), 0), below[v][e] += fminf(__bfloat162float(x[e]), 0);
        }
    }
    for (int first = from; first < there; first += stride) {
        const some now = next;
        if (first + stride < there) load(first + stride, next);
        float sum[STEPS];
#pragma unroll
        for (int p = 0; p < STEPS; p++) {
            sum[p] = 0;
#pragma unroll
            for (int v = 0; v < VECTORS; v++) {
                sum[p] = fmaf(above[v][0], now.high[p][v].x, fmaf(below[v][0], now.low[p][v].x, sum[p]));
                sum[p] = fmaf(above[v][1], now.high[p][v].y, fmaf(below[v][1], now.low[p][v].y, sum[p]));
                sum[p] = fmaf(above[v][2], now.high[p][v].z, fmaf(below[v][2], now.low[p][v].z, sum[p]));
                sum[p] = fmaf(above[v][3], now.high[p][v].w, fmaf(below[v][3], now.low[p][v].w, sum[p]));
            }
        }
        /* Half of the lanes go on with half of the pages, until each has one. */
        int mine = first + lane / some::LANES * STEPS, step = some::LANES / 2;
#pragma unroll
        for (int n = STEPS / 2; n >= 1; n /= 2, step /= 2) {
            const bool upper = lane & step;
#pragma unroll
            for (int p = 0; p < n; p++) {
                const float given = __shfl_xor_sync(~0u, upper ? sum[p] : sum[p + n], step);
                sum[p] = (upper ? sum[p + n] : sum[p]) + given;
            }
            mine += upper ? n : 0;
        }
#pragma unroll
        for (int left = some::LANES / STEPS / 2; left >= 1; left /= 2) sum[0] += __shfl_xor_sync(~0u, sum[0], left);
        if (own % (some::LANES / STEPS) == 0 && mine < there) score[g * there + mine] = sum[0];
    }
}

/* Of any head dim: a warp a page. */
__global__ void __launch_bounds__(THREADS) page_scores_of_any(const bf16 *q, int group, int D, int there, int64_t pages, const float *low,
                                                              const float *high, float *score)
{
    extern __shared__ float query[]; /* [2, D]: above 0, below */
    const int lane = threadIdx.x % 32, p = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
    const int64_t g = blockIdx.y;
    sf_begin();
    for (int d = threadIdx.x; d < D; d += blockDim.x) {
        float above = 0, below = 0;
        for (int m = 0; m < group; m++) {
            const float x = __bfloat162float(q[(g * group + m) * D + d]);
            above += fmaxf(x, 0), below += fminf(x, 0);
        }
        query[d] = above, query[D + d] = below;
    }
    __syncthreads();
    if (p >= there) return;
    float sum = 0;
    for (int d = lane; d < D; d += 32) sum = fmaf(query[d], high[(g * pages + p) * D + d], fmaf(query[D + d], low[(g * pages + p) * D + d], sum));
    sum = warp_sum(sum);
    if (lane == 0) score[g * there + p] = sum;
}

template <int DIM>
static sf_status queue_page_scores(sf_backend *b, const sf_attention *a, int there, int64_t pages, const float *low, const float *high, float *score)
{
    const bool waits = sf_cuda_follows(b);
    const int needed = ceil_div(there, THREADS / 32 * paging<DIM>::PAGES), staying = ceil_div(STAYING * sf_cuda_of(b)->sms, a->kv_heads);
    return sf_cuda_follow(b, page_scores<DIM>, dim3(waits || needed < staying ? needed : staying, a->kv_heads), THREADS, 0, (const bf16 *)a->q,
                          a->heads / a->kv_heads, there, pages, waits, low, high, score);
}

sf_status sf_cuda_page_scores(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                              const float *high, float *score)
{
    const int there = ceil_div(a->keys, page), group = a->heads / a->kv_heads, D = a->head_dim;
    const bool aligned = ((uintptr_t)low | (uintptr_t)high) % 16 == 0 && (uintptr_t)a->q % 8 == 0;
    if (there && aligned && (D == 64 || D == 128 || D == 256)) {
        SF_TRY(BY_HEAD_DIM(D, queue_page_scores, b, a, there, pages, low, high, score));
    } else if (there) {
        SF_TRY(sf_cuda_follow(b, page_scores_of_any, dim3(ceil_div(there, THREADS / 32), a->kv_heads), THREADS, 2 * (size_t)D * sizeof(float),
                              (const bf16 *)a->q, group, D, there, pages, low, high, score));
    }
    sf_meter_page_scores(b, a, page);
    return SF_OK;
}
