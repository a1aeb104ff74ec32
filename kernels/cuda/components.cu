/* Antidiagonals, components of queries and keys, and what stands for many keys.
 *
 * antidiagonals() scores groups of queries and keys on tensor cores, 64 x 64 groups a block, whose products are summed over
 * the positions in a group as if heads were `stride` times as wide; scores lie in slices of query blocks, which a second
 * kernel turns into softmax and sums up. component_scores() reads listed components only, a thread a key: components lie
 * side by side over keys, so that what is not listed is not read.
 *
 * Test: make test-cuda. */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256, WARPS = THREADS / 32, TILE = 64, STEP = 64, PITCH = STEP + 8, HEADS = 8 };
static const size_t SLICE = (size_t)256 << 20; /* bytes of scores at a time */

static unsigned grid_for(int64_t n) { return (unsigned)ceil_div<int64_t>(n, THREADS); }

/* ---- antidiagonals -------------------------------------------------------------------------------------------------- */

struct diagonal_map {
    const bf16 *q, *k;
    int64_t capacity;
    int T, N, H, group, D, stride, block;
    int queries, keys; /* in groups */
    float scale;
};

/* Key groups that query group i sees. */
__device__ static inline int seen_groups(const diagonal_map &m, int i)
{
    return (m.N - m.T + min((i + 1) * m.stride, m.T) - 1) / m.stride + 1;
}

/* score[h, i - first, c] for query groups [first, first + rows) of each head (blockIdx.z); what no row sees is left as it is. */
__global__ void __launch_bounds__(128) group_scores(const __grid_constant__ diagonal_map m, int first, int rows, float *score)
{
    __shared__ __align__(16) bf16 q[TILE][PITCH], k[TILE][PITCH];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, i0 = first + blockIdx.y * TILE, c0 = blockIdx.x * TILE;
    int last = min(i0 + TILE, first + rows) - 1, head = blockIdx.z;
    if (c0 >= seen_groups(m, last)) return;
    score += (int64_t)head * rows * m.keys;
    float s[TILE / 8][4] = {};
    for (int t = 0; t < m.stride; t++)
        for (int d0 = 0; d0 < m.D; d0 += STEP) {
            __syncthreads();
            for (int i = threadIdx.x; i < TILE * STEP / 8; i += blockDim.x) {
                int row = i / (STEP / 8), chunk = i % (STEP / 8);
                int64_t query = (int64_t)(i0 + row) * m.stride + m.stride - 1 - t, key = (int64_t)(c0 + row) * m.stride + t;
                bool asks = i0 + row <= last && query < m.T, there = key < m.N;
                copy_chunk(&q[row][chunk * 8], m.q + ((asks ? query : 0) * m.H + head) * m.D + d0, chunk, m.D - d0, asks);
                copy_chunk(&k[row][chunk * 8], m.k + (head / m.group * m.capacity + (there ? key : 0)) * m.D + d0, chunk, m.D - d0, there);
            }
            copy_commit();
            copy_wait<0>();
            __syncthreads();
            float x[TILE / 8][4];
            warp_scores<STEP, TILE / 8>(x, q[warp * 16], k[0], PITCH);
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
                for (int e = 0; e < 4; e++) s[n][e] += x[n][e];
        }
#pragma unroll
    for (int n = 0; n < TILE / 8; n++)
        for (int e = 0; e < 4; e++) {
            int i = i0 + warp * 16 + lane / 4 + e / 2 * 8, c = c0 + n * 8 + lane % 4 * 2 + e % 2;
            if (i <= last && c < m.keys) score[(int64_t)(i - first) * m.keys + c] = s[n][e] * m.scale;
        }
}

/* p[h, block, j] of query block first / groups_each + blockIdx.x; score as above, from query group `first` on. */
__global__ void pool_groups(const __grid_constant__ diagonal_map m, int first, int rows, const float *score, float *p)
{
    __shared__ float shared[32];
    int each = m.block / m.stride, head = blockIdx.y, begin = blockIdx.x * each, end = min(begin + each, rows);
    int i = first / each + blockIdx.x, blocks = (m.N + m.block - 1) / m.block, queries = (m.T + m.block - 1) / m.block;
    int visible = (m.N - m.T + min((i + 1) * m.block, m.T) - 1) / m.block + 1;
    p += ((int64_t)head * queries + i) * blocks;
    for (int r = begin; r < end; r++) {
        const float *s = score + ((int64_t)head * rows + r) * m.keys;
        int seen = seen_groups(m, first + r);
        float most = -INFINITY, sum = 0;
        for (int c = threadIdx.x; c < seen; c += THREADS) most = fmaxf(most, s[c]);
        most = block_max(most, shared);
        for (int c = threadIdx.x; c < seen; c += THREADS) sum += expf(s[c] - most);
        sum = block_sum(sum, shared);
        for (int j = threadIdx.x; j < blocks; j += THREADS) { /* thread by thread the same blocks, row after row */
            float inside = 0;
            for (int c = j * each; c < (j + 1) * each && c < seen; c++) inside += expf(s[c] - most);
            float before = r == begin ? 0 : p[j];
            p[j] = before + inside / sum;
        }
    }
    for (int j = threadIdx.x; j < blocks; j += THREADS) p[j] = j < visible ? p[j] / (end - begin) : -INFINITY;
}

sf_status sf_cuda_antidiagonals(sf_backend *b, const sf_attention *a, int block, int stride, float *p)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "antidiagonals"));
    if (a->kv.tail.n) return sf_fail(SF_INTERNAL, "antidiagonals: the cache has a tail of %d keys; it must be empty", a->kv.tail.n);
    diagonal_map m = {};
    m.q = (const bf16 *)a->q, m.k = (const bf16 *)a->kv.prompt.k, m.capacity = a->kv.prompt.capacity;
    m.T = a->queries, m.N = a->keys, m.H = a->heads, m.group = a->heads / a->kv_heads, m.D = a->head_dim;
    m.stride = stride, m.block = block, m.queries = ceil_div(m.T, stride), m.keys = ceil_div(m.N, stride);
    m.scale = a->scale / stride;
    int each = block / stride;
    int64_t slice = (int64_t)(SLICE / ((size_t)m.H * m.keys * sizeof(float))) / each * each; /* query groups at a time */
    if (slice < each) slice = each;
    if (slice > m.queries) slice = m.queries;
    float *score;
    SF_TRY(sf_cuda_workspace(b, (size_t)(m.H * slice * m.keys) * sizeof *score, (void **)&score));
    for (int first = 0; first < m.queries; first += (int)slice) {
        int rows = m.queries - first < slice ? m.queries - first : (int)slice;
        group_scores<<<dim3(ceil_div(m.keys, (int)TILE), ceil_div(rows, (int)TILE), m.H), 128, 0, sf_cuda_of(b)->stream>>>(m, first, rows, score);
        LAUNCH_TRY(group_scores);
        pool_groups<<<dim3(ceil_div(rows, each), m.H), THREADS, 0, sf_cuda_of(b)->stream>>>(m, first, rows, score, p);
        LAUNCH_TRY(pool_groups);
    }
    sf_meter_antidiagonals(b, a, block, stride);
    return SF_OK;
}

/* ---- components ----------------------------------------------------------------------------------------------------- */

/* A thread a component of a query head, out [H, R], or, of the keys, of a key: out [G, R, stride] from column `first` on. */
__global__ void query_components(const bf16 *q, const float *basis, int H, int group, int D, int R, float *out)
{
    int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x;
    if (i >= (int64_t)H * R) return;
    int h = (int)(i / R), c = (int)(i % R);
    const float *from = basis + (int64_t)(h / group) * D * R;
    float sum = 0;
    for (int d = 0; basis && d < D; d++) sum += from[(int64_t)d * R + c] * __bfloat162float(q[(int64_t)h * D + d]);
    out[i] = basis ? sum : __bfloat162float(q[(int64_t)h * D + c]);
}

__global__ void key_components(sf_kv kv, int D, const float *basis, int N, int R, int first, int64_t stride, bf16 *out)
{
    int64_t n = N - first, i = blockIdx.x * (int64_t)THREADS + threadIdx.x;
    if (i >= n * R) return;
    int g = blockIdx.y, j = first + (int)(i % n), c = (int)(i / n);
    const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
    const float *from = basis + (int64_t)g * D * R;
    float sum = k ? 0 : NAN;
    for (int d = 0; basis && k && d < D; d++) sum += from[(int64_t)d * R + c] * __bfloat162float(k[d]);
    out[((int64_t)g * R + c) * stride + j] = basis || !k ? __float2bfloat16(sum) : k[c];
}

sf_status sf_cuda_components(sf_backend *b, const sf_attention *a, bool of_keys, const float *basis, int R, int first,
                             int64_t stride, void *out)
{
    if (of_keys) SF_TRY(sf_cache_refuse(&a->kv.prompt, "components"));
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int keys = a->keys - first;
    if (of_keys && keys > 0) {
        key_components<<<dim3(grid_for((int64_t)keys * R), a->kv_heads), THREADS, 0, stream>>>(a->kv, a->head_dim, basis, a->keys, R, first, stride, (bf16 *)out);
        LAUNCH_TRY(key_components);
    } else if (!of_keys) {
        query_components<<<grid_for((int64_t)a->heads * R), THREADS, 0, stream>>>((const bf16 *)a->q, basis, a->heads, a->heads / a->kv_heads, a->head_dim, R, (float *)out);
        LAUNCH_TRY(query_components);
    }
    sf_meter_components(b, a, of_keys, basis, R, first);
    return SF_OK;
}

/* In every lane: 1 / the root of the share of q at the list in the sum of all magnitudes. */
template <typename T> __device__ static inline float temper(const T *q, int R, const int32_t *list, int listed)
{
    float some = 0, all = 0;
    for (int c = threadIdx.x % 32; c < R; c += 32) all += fabsf((float)q[c]);
    for (int i = threadIdx.x % 32; i < listed; i += 32) some += fabsf((float)q[list[i]]);
    return rsqrtf(warp_sum(some) / warp_sum(all));
}

/* A thread a key, for the query heads of a group, HEADS at a time. */
__global__ void component_scores(const float *q, const bf16 *k, sf_lists at, int R, int64_t stride, int N, int group, float scale,
                                 bool tempered, float *score)
{
    __shared__ float query[HEADS][SF_CUDA_HEAD_DIM];
    __shared__ int32_t component[SF_CUDA_HEAD_DIM];
    int g = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32, j = blockIdx.x * THREADS + threadIdx.x;
    const int32_t *list = at.index ? at.index + g * at.stride : NULL;
    int listed = list ? at.count[g] : R;
    for (int i = threadIdx.x; i < listed; i += THREADS) component[i] = list ? list[i] : i;
    for (int m0 = 0; m0 < group; m0 += HEADS) {
        __syncthreads();
        if (m0 + warp < group) { /* a warp a head: HEADS == WARPS */
            const float *from = q + (int64_t)(g * group + m0 + warp) * R;
            float by = tempered && list ? scale * temper(from, R, list, listed) : scale;
            for (int i = lane; i < listed; i += 32) query[warp][i] = from[component[i]] * by;
        }
        __syncthreads();
        if (j >= N) continue;
        float sum[HEADS] = {};
        for (int i = 0; i < listed; i++) {
            float x = __bfloat162float(k[((int64_t)g * R + component[i]) * stride + j]);
#pragma unroll
            for (int m = 0; m < HEADS; m++) sum[m] += query[m][i] * x;
        }
#pragma unroll
        for (int m = 0; m < HEADS; m++)
            if (m0 + m < group) score[(int64_t)(g * group + m0 + m) * N + j] = sum[m];
    }
}

sf_status sf_cuda_component_scores(sf_backend *b, const sf_attention *a, const float *q, const void *k, int R, int64_t stride,
                                   const sf_lists *at, bool tempered, float *score)
{
    if (R > SF_CUDA_HEAD_DIM) return sf_fail(SF_UNSUPPORTED, "cuda: %d components; at most %d are built", R, (int)SF_CUDA_HEAD_DIM);
    component_scores<<<dim3(ceil_div(a->keys, (int)THREADS), a->kv_heads), THREADS, 0, sf_cuda_of(b)->stream>>>(
        q, (const bf16 *)k, at ? *at : sf_lists{}, R, stride, a->keys, a->heads / a->kv_heads, a->scale, tempered, score);
    LAUNCH_TRY(component_scores);
    sf_meter_component_scores(b, a, R, at);
    return SF_OK;
}

/* A warp a page. */
__global__ void page_component_scores(const bf16 *q, const float *low, const float *high, sf_lists at, int group, int D, int there,
                                      int64_t pages, float scale, bool tempered, float *score)
{
    __shared__ float query[SF_CUDA_HEAD_DIM];
    __shared__ bool up[SF_CUDA_HEAD_DIM];
    int h = blockIdx.y, g = h / group, lane = threadIdx.x % 32, p = blockIdx.x * WARPS + threadIdx.x / 32;
    const int32_t *list = at.index + g * at.stride;
    int listed = at.count[g];
    float by = tempered ? scale * temper(q + (int64_t)h * D, D, list, listed) : scale;
    for (int i = threadIdx.x; i < listed; i += THREADS) {
        float together = 0;
        for (int m = 0; m < group; m++) together += __bfloat162float(q[(int64_t)(g * group + m) * D + list[i]]);
        query[i] = __bfloat162float(q[(int64_t)h * D + list[i]]) * by, up[i] = together >= 0;
    }
    __syncthreads();
    if (p >= there) return;
    float sum = 0;
    for (int i = lane; i < listed; i += 32) sum += query[i] * (up[i] ? high : low)[(g * pages + p) * D + list[i]];
    sum = warp_sum(sum);
    if (lane == 0) score[(int64_t)h * there + p] = sum;
}

sf_status sf_cuda_page_component_scores(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                                        const float *high, const sf_lists *at, bool tempered, float *score)
{
    int there = ceil_div(a->keys, page);
    if (a->head_dim > SF_CUDA_HEAD_DIM) return sf_fail(SF_UNSUPPORTED, "cuda: head dim %d; at most %d is built", a->head_dim, (int)SF_CUDA_HEAD_DIM);
    page_component_scores<<<dim3(ceil_div(there, (int)WARPS), a->heads), THREADS, 0, sf_cuda_of(b)->stream>>>(
        (const bf16 *)a->q, low, high, *at, a->heads / a->kv_heads, a->head_dim, there, pages, a->scale, tempered, score);
    LAUNCH_TRY(page_component_scores);
    sf_meter_page_component_scores(b, a, page, at);
    return SF_OK;
}

/* ---- algebra of scores ---------------------------------------------------------------------------------------------- */

__global__ void magnitudes(float *x, int64_t n)
{
    int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x;
    if (i < n) x[i] = fabsf(x[i]);
}

sf_status sf_cuda_magnitudes(sf_backend *b, float *x, int64_t rows, int64_t n)
{
    if (rows && n) {
        magnitudes<<<grid_for(rows * n), THREADS, 0, sf_cuda_of(b)->stream>>>(x, rows * n);
        LAUNCH_TRY(magnitudes);
    }
    sf_meter_scores(b, rows * n, rows * n, rows * n);
    return SF_OK;
}

__global__ void sums_at(const float *x, int64_t n, sf_lists at, float *sum)
{
    __shared__ float shared[32];
    int64_t rows = gridDim.x, r = blockIdx.x, l = r / (rows / at.rows);
    float some = 0;
    for (int i = threadIdx.x; i < at.count[l]; i += THREADS) some += x[r * n + at.index[l * at.stride + i]];
    some = block_sum(some, shared);
    if (threadIdx.x == 0) sum[r] = some, sum[rows + r] = 1 - some;
}

sf_status sf_cuda_sums_at(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *sum)
{
    if (rows) {
        sums_at<<<(unsigned)rows, THREADS, 0, sf_cuda_of(b)->stream>>>(x, n, *at, sum);
        LAUNCH_TRY(sums_at);
    }
    sf_meter_scores(b, rows * at->stride, 2 * rows, rows * at->stride);
    return SF_OK;
}

/* ---- what stands for many keys -------------------------------------------------------------------------------------- */

/* Sums of pieces of `piece` values, part [pieces, G, D], and then of the pieces, in order. */
__global__ void value_pieces(sf_kv kv, int D, int N, int first, int piece, float *part)
{
    int g = blockIdx.y, from = first + blockIdx.x * piece, end = min(from + piece, N);
    for (int d = threadIdx.x; d < D; d += THREADS) {
        float sum = 0;
        for (int j = from; j < end; j++) sum += __bfloat162float(sf_cuda_kv_row(kv, g, j, D, true)[d]);
        part[((int64_t)blockIdx.x * gridDim.y + g) * D + d] = sum;
    }
}

__global__ void join_pieces(const float *part, int pieces, int width, int N, bool begin, float *sum, bf16 *mean)
{
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= width) return;
    float more = begin ? 0 : sum[i];
    for (int p = 0; p < pieces; p++) more += part[(int64_t)p * width + i];
    sum[i] = more, mean[i] = __float2bfloat16(more / N);
}

sf_status sf_cuda_value_means(sf_backend *b, const sf_attention *a, int first, float *sum, void *mean)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "value_means"));
    enum { PIECE = 512 };
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int pieces = ceil_div(a->keys - first, (int)PIECE), width = a->kv_heads * a->head_dim;
    float *part;
    SF_TRY(sf_cuda_workspace(b, (size_t)(pieces + 1) * width * sizeof *part, (void **)&part));
    if (pieces) {
        value_pieces<<<dim3(pieces, a->kv_heads), THREADS, 0, stream>>>(a->kv, a->head_dim, a->keys, first, PIECE, part);
        LAUNCH_TRY(value_pieces);
    }
    join_pieces<<<grid_for(width), THREADS, 0, stream>>>(part, pieces, width, a->keys, first == 0, sum, (bf16 *)mean);
    LAUNCH_TRY(join_pieces);
    sf_meter_value_means(b, a, first);
    return SF_OK;
}

/* A warp a page: the best, then the best of what comes after it, and so on; then their mean. */
__global__ void representatives(sf_kv kv, int D, int page, int most, const float *score, int64_t stride, int first, int64_t pages, float *mean)
{
    int p = first + blockIdx.x, g = blockIdx.y, lane = threadIdx.x, n = 0;
    const float *x = score + g * stride + (int64_t)p * page;
    float *to = mean + (g * pages + p) * D, last = INFINITY;
    int last_at = -1;
    for (int d = lane; d < D; d += 32) to[d] = 0;
    for (; n < most; n++) {
        float best = -INFINITY;
        int at = page;
        for (int i = lane; i < page; i += 32) {
            bool after = x[i] < last || (x[i] == last && i > last_at);
            if (after && x[i] > best) best = x[i], at = i;
        }
        for (int step = 16; step; step >>= 1) {
            float other = __shfl_xor_sync(~0u, best, step);
            int other_at = __shfl_xor_sync(~0u, at, step);
            if (other > best || (other == best && other_at < at)) best = other, at = other_at;
        }
        if (best == -INFINITY) break;
        const bf16 *k = sf_cuda_kv_row(kv, g, p * page + at, D, false);
        for (int d = lane; d < D; d += 32) to[d] += __bfloat162float(k[d]);
        last = best, last_at = at;
    }
    for (int d = lane; d < D; d += 32) to[d] /= n;
}

sf_status sf_cuda_representatives(sf_backend *b, const sf_attention *a, int page, int most, const float *score, int64_t stride,
                                  int first, int end, int64_t pages, float *mean)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "representatives"));
    if (end > first) {
        representatives<<<dim3(end - first, a->kv_heads), 32, 0, sf_cuda_of(b)->stream>>>(a->kv, a->head_dim, page, most, score, stride, first, pages, mean);
        LAUNCH_TRY(representatives);
    }
    sf_meter_representatives(b, a, page, most, end - first);
    return SF_OK;
}

/* A block a segment and kv head; logits [G, m * segment], since a segment may be as long as the prompt. */
__global__ void segment_summaries(const bf16 *q, sf_kv kv, int D, int first_query, int H, int group, int segment, int64_t m,
                                  float scale, float *logit, bf16 *k, bf16 *v)
{
    __shared__ float query[SF_CUDA_HEAD_DIM], shared[32];
    int s = blockIdx.x, g = blockIdx.y, first = s * segment, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float *p = logit + (g * m + s) * segment;
    for (int d = threadIdx.x; d < D; d += THREADS) {
        float sum = 0;
        for (int j = 0; j < segment; j++)
            for (int h = g * group; h < (g + 1) * group; h++)
                sum += __bfloat162float(q[((int64_t)(first + j - first_query) * H + h) * D + d]);
        query[d] = sum * scale / (segment * group);
    }
    __syncthreads();
    float most = -INFINITY, sum = 0;
    for (int j = warp; j < segment; j += WARPS) {
        const bf16 *key = sf_cuda_kv_row(kv, g, first + j, D, false);
        float dot = 0;
        for (int d = lane; d < D; d += 32) dot += query[d] * __bfloat162float(key[d]);
        dot = warp_sum(dot), most = fmaxf(most, dot);
        if (lane == 0) p[j] = dot;
    }
    most = block_max(most, shared);
    for (int j = threadIdx.x; j < segment; j += THREADS) sum += p[j] = expf(p[j] - most);
    sum = block_sum(sum, shared);
    for (int d = threadIdx.x; d < D; d += THREADS) {
        float key = 0, value = 0;
        for (int j = 0; j < segment; j++) {
            key += __bfloat162float(sf_cuda_kv_row(kv, g, first + j, D, false)[d]);
            value += p[j] * __bfloat162float(sf_cuda_kv_row(kv, g, first + j, D, true)[d]);
        }
        k[(g * m + s) * D + d] = __float2bfloat16(key / segment), v[(g * m + s) * D + d] = __float2bfloat16(value / sum);
    }
}

sf_status sf_cuda_segment_summaries(sf_backend *b, const sf_attention *a, int segment, int64_t m, void *k, void *v)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "segment_summaries"));
    if (m) {
        float *logit;
        SF_TRY(sf_cuda_workspace(b, (size_t)(a->kv_heads * m * segment) * sizeof *logit, (void **)&logit));
        segment_summaries<<<dim3((unsigned)m, a->kv_heads), THREADS, 0, sf_cuda_of(b)->stream>>>(
            (const bf16 *)a->q, a->kv, a->head_dim, a->keys - a->queries, a->heads, a->heads / a->kv_heads, segment, m,
            a->scale, logit, (bf16 *)k, (bf16 *)v);
        LAUNCH_TRY(segment_summaries);
    }
    sf_meter_segment_summaries(b, a, segment, m);
    return SF_OK;
}
