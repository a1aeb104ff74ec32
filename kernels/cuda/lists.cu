/* Lists and counts made of others: budgets from counts, rows that are alike, unions of blocks, tiles along diagonals that melt, and
 * draws. Whole numbers; a warp makes a list, in bits of shared memory or range by range, and writes its entries side by side.
 * To the host goes one number at most: the room that lists need. Test: build/tests/test_backends cuda 100 lists. */
#include "kernels/cuda/pattern.cuh"

#include "base/splitmix.h"

enum { WARP = 32, ROW_THREADS = 256 };

/* A number of the device's, begun at 0 in workspace, and brought home. */
static sf_status begin_number(sf_backend *b, int32_t **number)
{
    SF_TRY(sf_cuda_workspace(b, sizeof **number, (void **)number));
    CUDA_TRY(cudaMemsetAsync(*number, 0, sizeof **number, sf_cuda_of(b)->stream));
    return SF_OK;
}

/* ---- budgets, rows alike ---- */

__global__ void make_budgets(const int32_t *count, int rows, sf_budgets how, const int32_t *mark, int32_t *budget, int32_t *largest)
{
    int most = 0;
    for (int r = threadIdx.x; r < rows; r += blockDim.x) {
        int k = min(max(count[r] / how.each + how.more, how.least), how.most);
        if (mark && mark[r] == how.marked) k = how.fixed;
        budget[r] = k;
        most = max(most, k);
    }
    atomicMax(largest, most);
}

sf_status sf_cuda_budgets(sf_backend *b, const int32_t *count, int64_t rows, const sf_budgets *how, const int32_t *mark,
                          int32_t *budget, int32_t *largest)
{
    int32_t *most;
    SF_TRY(begin_number(b, &most));
    make_budgets<<<1, ROW_THREADS, 0, sf_cuda_of(b)->stream>>>(count, (int)rows, *how, mark, budget, most);
    LAUNCH_TRY(make_budgets);
    return b->ops->download(b, largest, most, sizeof *most);
}

/* Sum over the block in one fixed order, known to all threads. */
__device__ static inline double sum_of_block(double x, double *shared)
{
    for (int i = 16; i; i >>= 1) x += __shfl_xor_sync(~0u, x, i);
    __syncthreads();
    if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = x;
    __syncthreads();
    double sum = 0;
    for (unsigned i = 0; i < blockDim.x / WARP; i++) sum += shared[i];
    return sum;
}

/* A block a row. */
__global__ void compare_rows(const float *x, const float *y, int n, double below, int32_t *alike, int32_t *many)
{
    __shared__ double shared[ROW_THREADS / WARP];
    const float *p = x + (int64_t)blockIdx.x * n, *q = y + (int64_t)blockIdx.x * n;
    double sum = 0, js = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += q[i];
    sum = sum_of_block(sum, shared);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        double u = p[i], v = q[i] / sum, m = (u + v) / 2;
        js += 0.5 * ((u > 0 ? u * log(u / m) : 0) + (v > 0 ? v * log(v / m) : 0));
    }
    js = sum_of_block(js, shared);
    if (threadIdx.x) return;
    bool near = sqrt(js > 0 ? js : 0) < below;
    alike[blockIdx.x] = near;
    if (near) atomicAdd(many, 1);
}

sf_status sf_cuda_rows_alike(sf_backend *b, const float *x, const float *y, int64_t rows, int64_t n, double below,
                             int32_t *alike, int32_t *many)
{
    int32_t *found;
    SF_TRY(begin_number(b, &found));
    if (rows) compare_rows<<<(unsigned)rows, ROW_THREADS, 0, sf_cuda_of(b)->stream>>>(x, y, (int)n, below, alike, found);
    LAUNCH_TRY(compare_rows);
    return b->ops->download(b, many, found, sizeof *found);
}

/* ---- sets of bits, by a warp: its blocks are warps ---- */

/* The bits of [begin, end) that lie in word w. */
__device__ static inline uint32_t bits_of(int w, int begin, int end)
{
    int from = max(begin - w * 32, 0), to = min(end - w * 32, 32);
    return from < to ? (to < 32 ? (1u << to) - 1 : ~0u) & (~0u << from) : 0;
}

/* Writes the numbers of the bits that are set, in order; returns how many they are. */
__device__ static inline int write_bits(const uint32_t *bits, int words, int32_t *index)
{
    int lane = threadIdx.x % WARP, written = 0;
    for (int from = 0; from < words; from += WARP) {
        int w = from + lane;
        uint32_t left = w < words ? bits[w] : 0;
        int mine = __popc(left), place = mine;
        for (int step = 1; step < WARP; step *= 2) {
            int before = __shfl_up_sync(~0u, place, step);
            if (lane >= step) place += before;
        }
        for (int32_t *to = index + written + place - mine; left; left &= left - 1) *to++ = w * 32 + __ffs(left) - 1;
        written += __shfl_sync(~0u, place, WARP - 1);
    }
    return written;
}

/* Bytes of shared memory for n bits. */
static sf_status room_for_bits(sf_backend *b, const void *kernel, int64_t n, size_t *bytes)
{
    *bytes = ceil_div<size_t>(n, 32) * sizeof(uint32_t);
    if (*bytes > sf_cuda_of(b)->shared_memory)
        return sf_fail(SF_UNSUPPORTED, "cuda: lists of %lld blocks; at most %zu are marked at once: take larger blocks", (long long)n,
                       sf_cuda_of(b)->shared_memory * 8);
    return *bytes > 48 * 1024 ? sf_cuda_allow_shared(kernel, *bytes) : SF_OK;
}

__device__ static inline void mark(uint32_t *bits, int at, int end)
{
    if (at >= 0 && at < end) atomicOr(bits + at / 32, 1u << at % 32);
}

__global__ void __launch_bounds__(WARP) unite(int n, sf_lists column, sf_lists diagonal, sf_lists pair, sf_lists out)
{
    extern __shared__ uint32_t bits[];
    int64_t row = blockIdx.x, h = row / n;
    int i = (int)(row % n), words = (i + 32) / 32;
    for (int w = threadIdx.x; w < words; w += WARP) bits[w] = 0;
    __syncwarp();
    for (int e = threadIdx.x; e < column.count[h]; e += WARP) mark(bits, column.index[h * column.stride + e], i + 1);
    for (int e = threadIdx.x; e < diagonal.count[h]; e += WARP) mark(bits, i - diagonal.index[h * diagonal.stride + e], i + 1);
    if (pair.count) {
        const int32_t *list = pair.index + h * pair.stride;
        int from = sf_lower_bound(list, pair.count[h], i * n), to = sf_lower_bound(list, pair.count[h], i * n + i + 1);
        for (int e = from + threadIdx.x; e < to; e += WARP) mark(bits, list[e] - i * n, i + 1);
    }
    __syncwarp();
    int count = write_bits(bits, words, out.index + row * out.stride);
    if (threadIdx.x == 0) out.count[row] = count;
}

sf_status sf_cuda_unite_blocks(sf_backend *b, int64_t n, const sf_lists *column, const sf_lists *diagonal, const sf_lists *pair,
                               sf_lists *out)
{
    size_t bytes;
    SF_TRY(room_for_bits(b, (const void *)unite, n, &bytes));
    out->rows = column->rows * n;
    if (out->rows)
        unite<<<(unsigned)out->rows, WARP, bytes, sf_cuda_of(b)->stream>>>((int)n, *column, *diagonal, pair ? *pair : sf_lists{}, *out);
    LAUNCH_TRY(unite);
    sf_cuda_vouch(b, out, n);
    return SF_OK;
}

/* ---- tiles along diagonals, melted ---- */

/* A warp a tile; index NULL: the keys are counted. All lanes walk the diagonals together, and share out what is written. */
__global__ void __launch_bounds__(WARP) melt(int keys, int first_end, int tiles, sf_lists column, sf_lists diagonal, sf_lists out,
                                             int32_t *longest)
{
    int64_t row = blockIdx.x, h = row / tiles;
    int lane = threadIdx.x, end = first_end + (int)(row % tiles) * SF_DIAGONAL_TILE, columns = column.count[h], n = 0, c = 0;
    const int32_t *at = column.index + h * column.stride, *offset = diagonal.index + h * diagonal.stride;
    int32_t *index = out.index ? out.index + row * out.stride : NULL;
    int d = sf_lower_bound(offset, diagonal.count[h], end) - 1;
    while (d >= 0) {
        int to = max(end - offset[d], (int)SF_DIAGONAL_TILE), from = to - SF_DIAGONAL_TILE;
        while (--d >= 0) {
            int next = max(end - offset[d], (int)SF_DIAGONAL_TILE);
            if (next > to + SF_DIAGONAL_TILE) break;
            if (next > to) to += SF_DIAGONAL_TILE;
        }
        int before = c + sf_lower_bound(at + c, columns - c, from), stop = min(to, min(end, keys));
        for (int i = c + lane; index && i < before; i += WARP) index[n + i - c] = at[i];
        n += before - c;
        for (int key = from + lane; index && key < stop; key += WARP) index[n + key - from] = key;
        n += max(stop - from, 0);
        c = before + sf_lower_bound(at + before, columns - before, to);
    }
    if (lane) return;
    out.count[row] = n;
    atomicMax(longest, n);
}

sf_status sf_cuda_merge_tiles(sf_backend *b, const sf_attention *a, const sf_lists *column, const sf_lists *diagonal,
                              sf_lists *out, int32_t *longest)
{
    int tiles = ceil_div(a->queries, (int)SF_DIAGONAL_TILE);
    bool known = sf_cuda_vouches(b, column, a->keys) && sf_cuda_vouches(b, diagonal, a->keys);
    int32_t *most;
    SF_TRY(begin_number(b, &most));
    out->rows = column->rows * tiles;
    if (out->rows)
        melt<<<(unsigned)out->rows, WARP, 0, sf_cuda_of(b)->stream>>>(a->keys, a->keys - a->queries + SF_DIAGONAL_TILE, tiles, *column,
                                                                      *diagonal, *out, most);
    LAUNCH_TRY(melt);
    if (known && out->index) sf_cuda_vouch(b, out, a->keys);
    return b->ops->download(b, longest, most, sizeof *most);
}

/* ---- draws ---- */

/* A warp a row: numbers side by side, 32 at a time, and then taken one after the other, as each depends on those before. */
__global__ void __launch_bounds__(WARP) draw_lists(sf_drawn how, int first_head, sf_lists out)
{
    extern __shared__ uint32_t bits[];
    int64_t row = blockIdx.x;
    int lane = threadIdx.x, i = (int)(row % how.each), seen = how.seen + i, words = (seen + 31) / 32;
    int first = min(how.sinks, seen), last = max(seen - how.local, first), end = min(last, how.until), wanted = min(how.drawn, end - first);
    uint64_t stream = sf_splitmix(sf_splitmix(how.stream, (uint64_t)(first_head + row / how.each)), how.salt + (uint64_t)i);
    for (int w = lane; w < words; w += WARP)
        bits[w] = seen >= how.whole ? bits_of(w, 0, seen) : bits_of(w, 0, first) | bits_of(w, last, seen);
    __syncwarp();
    for (int from = end - wanted; from < end; from += WARP) {
        int j = from + lane, t = j < end ? first + (int)(sf_splitmix(stream, (uint64_t)j) % (uint64_t)(j - first + 1)) : 0;
        for (int s = 0; s < WARP && from + s < end; s++) {
            int drawn = __shfl_sync(~0u, t, s);
            bool taken = bits[drawn / 32] >> drawn % 32 & 1;
            int takes = taken ? from + s : drawn;
            __syncwarp();
            if (lane == 0) bits[takes / 32] |= 1u << takes % 32;
            __syncwarp();
        }
    }
    int count = write_bits(bits, words, out.index + row * out.stride);
    if (lane == 0) out.count[row] = count;
}

sf_status sf_cuda_draw_blocks(sf_backend *b, const sf_drawn *how, int first, int64_t heads, sf_lists *out)
{
    int64_t most = (int64_t)how->seen + how->each - 1;
    size_t bytes;
    SF_TRY(room_for_bits(b, (const void *)draw_lists, most, &bytes));
    out->rows = heads * how->each;
    if (out->rows) draw_lists<<<(unsigned)out->rows, WARP, bytes, sf_cuda_of(b)->stream>>>(*how, first, *out);
    LAUNCH_TRY(draw_lists);
    sf_cuda_vouch(b, out, most);
    return SF_OK;
}
