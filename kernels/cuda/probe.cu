/* The probe: softmax of the last w queries against all keys, summed along columns and diagonals, never stored.
 *
 * A block of 4 warps holds 128 keys of one head and walks the probe's rows, 64 at a time, on mma.sync. Twice: first for
 * each row's largest score and sum over these keys, joined over all blocks of keys in order; then for p itself, of
 * which the block keeps column sums in registers and diagonal sums in shared memory. A diagonal crosses several blocks
 * of keys; each block stores its share of [w + 127] diagonals, and a last kernel adds them up in order. Head dims above
 * 128 take 64 keys a block.
 *
 * Measured on one H200, before the passes had the shared memory below: 256 queries of 32 heads of 128 against 131072 keys 5.3 ms, both
 * passes; dense attention takes 240.
 *
 *     padded head dim               64        128       256       spills: none
 *     registers, sums / reduce      80 / 126  80 / 128  48 / 64
 *     shared memory, KB             27 / 53   51 / 70   66 / 85   of probes for columns and diagonals by 256 queries; both were 63, 87, 85
 *     blocks a multiprocessor       6 / 4     4 / 3     3 / 2
 *
 * What limits it: both passes compute all scores, on mma.sync with one tile's work in a warp after the other: 104 TFLOP/s in
 * 5.3 ms. Next: both passes' products on wgmma, as prefill_sm90.cu has them.
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/device.cuh"

enum { ROWS = 64, THREADS = 128, STRIP = 512 };
static const size_t SLICE = (size_t)32 << 20; /* bytes of parts at a time, if those are of STRIP rows */

template <int DIM> struct layout {
    static const int KEYS = DIM > 128 ? 64 : 128, PITCH = DIM + 8, CHUNKS = DIM / 8, P_PITCH = KEYS + 1;
    bf16 k[KEYS][PITCH];
    union {
        bf16 q[ROWS][PITCH];
        float p[ROWS][P_PITCH]; /* of queries that all warps have read */
    };
    float columns[4][KEYS];
};
template <int DIM> static constexpr size_t SUMS_BYTES = (layout<DIM>::KEYS + ROWS) * layout<DIM>::PITCH * sizeof(bf16); /* keys and queries */

struct input {
    const bf16 *q, *k;
    int T, N, H, group, D, w, step, window; /* w rows, the last of which is T - 1, `step` apart */
    int64_t capacity;
    const int32_t *count;
    float scale, cap; /* times log2 e */

    __device__ int position(int row) const { return N - 1 - (w - 1 - row) * step; }
};

/* A vector type, read whole: of a struct of two floats under a condition, nvcc 13.0 loads the same one twice. */
typedef float2 row_sum; /* x: largest score, y: sum of exponentials below it */

/* Scores of probe rows [first, first + 64) against this block's keys, times scale, -INFINITY where unseen. */
template <int DIM>
__device__ static inline void score_tile(layout<DIM> &s, const input &in, int head, int key0, int first,
                                         float (&score)[layout<DIM>::KEYS / 8][4])
{
    const int CHUNKS = layout<DIM>::CHUNKS;
    __syncthreads();
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        int row = first + i / CHUNKS;
        int64_t query = in.T - 1 - (int64_t)(in.w - 1 - row) * in.step;
        copy_chunk(&s.q[i / CHUNKS][i % CHUNKS * 8], row < in.w ? in.q + (query * in.H + head) * in.D : in.q,
                   i % CHUNKS, in.D, row < in.w);
    }
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, used = in.count ? in.count[head / in.group] : in.N;
    warp_scores<DIM, layout<DIM>::KEYS / 8>(score, s.q[warp * 16], s.k[0], layout<DIM>::PITCH);
    scale_and_cap(score, in.scale, in.cap);
    const int last_key = key0 + layout<DIM>::KEYS - 1;
    if (first + ROWS <= in.w && last_key <= in.position(first) && last_key < used && !in.window) return; /* most tiles: all is seen */
#pragma unroll
    for (int n = 0; n < layout<DIM>::KEYS / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = first + warp * 16 + lane / 4 + i / 2 * 8, position = in.position(row),
                key = key0 + n * 8 + lane % 4 * 2 + i % 2;
            bool seen = row < in.w && key <= position && key < used && (!in.window || key > position - in.window);
            if (!seen) score[n][i] = -INFINITY;
        }
    }
}

template <int DIM> __device__ static inline void load_keys(layout<DIM> &s, const input &in, int head, int key0)
{
    const int CHUNKS = layout<DIM>::CHUNKS;
    for (int i = threadIdx.x; i < layout<DIM>::KEYS * CHUNKS; i += THREADS) {
        int64_t key = key0 + i / CHUNKS;
        bool there = key < in.N;
        copy_chunk(&s.k[i / CHUNKS][i % CHUNKS * 8],
                   in.k + ((head / in.group) * in.capacity + (there ? key : 0)) * in.D, i % CHUNKS, in.D, there);
    }
    copy_commit();
}

/* Whether some of `rows` probe rows from `first` on may see one of the keys from key0 on. */
template <int DIM> __device__ static inline bool may_see(const input &in, int key0, int first, int rows)
{
    int last = min(first + rows, in.w) - 1;
    return key0 <= in.position(last) && (!in.window || key0 + layout<DIM>::KEYS - 1 > in.position(first) - in.window);
}

/* Rows [begin, begin + rows), begin a multiple of 64: part [H, blocks, rows] */
template <int DIM> __global__ void __launch_bounds__(THREADS) probe_sums(const input in, int begin, int rows, row_sum *part)
{
    extern __shared__ __align__(128) unsigned char shared[];
    layout<DIM> &s = *(layout<DIM> *)shared;
    int head = blockIdx.y, key0 = blockIdx.x * layout<DIM>::KEYS, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (!may_see<DIM>(in, key0, begin, rows)) return;
    load_keys<DIM>(s, in, head, key0);
    part += ((int64_t)head * gridDim.x + blockIdx.x) * rows;
    for (int first = begin; first < begin + rows; first += ROWS) {
        if (!may_see<DIM>(in, key0, first, ROWS)) continue; /* nor does probe_join() ask */
        float score[layout<DIM>::KEYS / 8][4];
        score_tile<DIM>(s, in, head, key0, first, score);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float most = -INFINITY, sum = 0;
#pragma unroll
            for (int n = 0; n < layout<DIM>::KEYS / 8; n++)
                most = fmaxf(most, fmaxf(score[n][r * 2], score[n][r * 2 + 1]));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
            float offset = most == -INFINITY ? 0 : most;
#pragma unroll
            for (int n = 0; n < layout<DIM>::KEYS / 8; n++)
                sum += exp2f(score[n][r * 2] - offset) + exp2f(score[n][r * 2 + 1] - offset);
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            int row = first - begin + warp * 16 + lane / 4 + r * 8;
            if (lane % 4 == 0 && row < rows) part[row] = make_float2(most, sum);
        }
    }
    copy_wait<0>(); /* of keys that no tile has waited for */
}

/* log2 of each of those rows' sum of exponentials [H, w], over the blocks that it sees. */
__global__ void probe_join(const input in, const row_sum *part, int blocks, int keys, int begin, int rows, float *log_sum)
{
    int head = blockIdx.y, row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    int position = in.position(begin + row), last = position / keys, from = in.window ? max(0, position - in.window + 1) / keys : 0;
    const row_sum *p = part + (int64_t)head * blocks * rows + row;
    float most = -INFINITY, sum = 0;
    for (int i = from; i <= last; i++) most = fmaxf(most, p[(int64_t)i * rows].x);
    for (int i = from; i <= last; i++) {
        row_sum part_of = p[(int64_t)i * rows];
        sum += part_of.y * exp2f(part_of.x - most); /* a block whose keys are gone: 0 · 0 */
    }
    log_sum[(int64_t)head * in.w + begin + row] = most + log2f(sum);
}

/* column [H, N]; diagonals [H, blocks, w + KEYS - 1]: slot of (row, key) = row - (key - key0) + KEYS - 1 */
template <int DIM>
__global__ void __launch_bounds__(THREADS)
    probe_reduce(const input in, const float *log_sum, sf_reduce reduce, float *column, float *diagonals)
{
    extern __shared__ __align__(128) unsigned char shared[];
    layout<DIM> &s = *(layout<DIM> *)shared;
    const int KEYS = layout<DIM>::KEYS, TILES = KEYS / 8;
    float *diagonal = (float *)(&s + 1);
    int head = blockIdx.y, key0 = blockIdx.x * KEYS, slots = in.w + KEYS - 1, warp = threadIdx.x / 32,
        lane = threadIdx.x % 32;
    load_keys<DIM>(s, in, head, key0);
    if (diagonals)
        for (int i = threadIdx.x; i < slots; i += THREADS) diagonal[i] = 0;
    float columns[TILES][2] = {};
    for (int first = 0; first < in.w; first += ROWS) {
        if (!may_see<DIM>(in, key0, first, ROWS)) continue; /* all zeros */
        float score[TILES][4];
        score_tile<DIM>(s, in, head, key0, first, score);
        float log_of[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int row = first + warp * 16 + lane / 4 + r * 8;
            log_of[r] = row < in.w ? log_sum[(int64_t)head * in.w + row] : 0;
        }
        if (diagonals) __syncthreads(); /* the queries have been read */
#pragma unroll
        for (int n = 0; n < TILES; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float p = exp2f(score[n][i] - log_of[i / 2]);
                columns[n][i % 2] = reduce == SF_MAX ? fmaxf(columns[n][i % 2], p) : columns[n][i % 2] + p;
                if (diagonals) s.p[warp * 16 + lane / 4 + i / 2 * 8][n * 8 + lane % 4 * 2 + i % 2] = p;
            }
        }
        if (!diagonals) continue;
        __syncthreads();
        for (int d = threadIdx.x; d < ROWS + KEYS - 1; d += THREADS) { /* row - key + KEYS - 1 inside the tile */
            float sum = 0;
#pragma unroll 8 /* loads ahead of the additions, which wait for each other */
            for (int row = max(0, d - KEYS + 1); row <= min(ROWS - 1, d); row++) sum += s.p[row][row - d + KEYS - 1];
            if (first + d < slots) diagonal[first + d] += sum;
        }
    }
    copy_wait<0>();
#pragma unroll
    for (int n = 0; n < TILES; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            for (int step = 4; step < 32; step *= 2) {
                float other = __shfl_xor_sync(~0u, columns[n][i], step);
                columns[n][i] = reduce == SF_MAX ? fmaxf(columns[n][i], other) : columns[n][i] + other;
            }
            if (lane < 4) s.columns[warp][n * 8 + lane * 2 + i] = columns[n][i];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; column && i < KEYS && key0 + i < in.N; i += THREADS) {
        float a = s.columns[0][i], b = s.columns[1][i], c = s.columns[2][i], d = s.columns[3][i];
        float all = reduce == SF_MAX ? fmaxf(fmaxf(a, b), fmaxf(c, d)) : a + b + c + d;
        column[(int64_t)head * in.N + key0 + i] = reduce == SF_MEAN ? all / in.w : all;
    }
    for (int i = threadIdx.x; diagonals && i < slots; i += THREADS)
        diagonals[((int64_t)head * gridDim.x + blockIdx.x) * slots + i] = diagonal[i];
}

/* diagonal[h, o]: offset o = (N - w + row) - key, so slot row - key + key0 + keys - 1 = o - (N - w) + key0 + keys - 1
 */
__global__ void probe_diagonals(const float *diagonals, int blocks, int keys, int w, int N, float *out)
{
    int head = blockIdx.y, slots = w + keys - 1;
    int64_t o = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (o >= N) return;
    int64_t shift = o - (N - w) + keys - 1; /* slot = shift + block * keys */
    int64_t from = shift >= 0 ? 0 : (-shift + keys - 1) / keys;
    float sum = 0;
    for (int64_t i = from; i < blocks && shift + i * keys < slots; i++)
        sum += diagonals[((int64_t)head * blocks + i) * slots + shift + i * keys];
    out[(int64_t)head * N + o] = sum;
}

template <int DIM>
static sf_status run(sf_backend *b, const sf_attention *a, int w, int step, sf_reduce reduce, float *column, float *diagonal)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    const int KEYS = layout<DIM>::KEYS;
    input in = {(const bf16 *)a->q, (const bf16 *)a->kv.prompt.k, a->queries,         a->keys,
                a->heads,           a->heads / a->kv_heads,       a->head_dim,        w,
                step,               a->window,          a->kv.prompt.capacity,        a->kv.prompt.count, a->scale * (float)M_LOG2E,
                a->softcap * (float)M_LOG2E};
    int blocks = ceil_div(a->keys, KEYS), slots = w + KEYS - 1;
    /* All rows' parts at once would be more than a device has, where every query of a long prompt is looked at. */
    int strip = (int)(SLICE / ((size_t)a->heads * blocks * sizeof(row_sum)) / ROWS * ROWS);
    if (strip < STRIP) strip = STRIP;
    if (strip > w) strip = w;
    size_t parts = (size_t)a->heads * blocks * strip, logs = (size_t)a->heads * w,
           shares = diagonal ? (size_t)a->heads * blocks * slots : 0;
    row_sum *part;
    SF_TRY(sf_cuda_workspace(b, parts * sizeof *part + (logs + shares) * sizeof(float), (void **)&part));
    float *log_sum = (float *)(part + parts), *share = log_sum + logs;
    size_t bytes = sizeof(layout<DIM>) + (diagonal ? slots * sizeof(float) : 0);
    if (bytes > sf_cuda_of(b)->shared_memory)
        return sf_fail(SF_UNSUPPORTED, "cuda: a probe of %d queries is too wide", w);
    SF_TRY(sf_cuda_allow_shared((const void *)probe_sums<DIM>, SUMS_BYTES<DIM>));
    SF_TRY(sf_cuda_allow_shared((const void *)probe_reduce<DIM>, bytes));
    for (int begin = 0; begin < w; begin += strip) {
        int rows = w - begin < strip ? w - begin : strip;
        probe_sums<DIM><<<dim3(blocks, a->heads), THREADS, SUMS_BYTES<DIM>, stream>>>(in, begin, rows, part);
        LAUNCH_TRY(probe_sums);
        probe_join<<<dim3(ceil_div(rows, 64), a->heads), 64, 0, stream>>>(in, part, blocks, KEYS, begin, rows, log_sum);
        LAUNCH_TRY(probe_join);
    }
    probe_reduce<DIM>
        <<<dim3(blocks, a->heads), THREADS, bytes, stream>>>(in, log_sum, reduce, column, diagonal ? share : NULL);
    LAUNCH_TRY(probe_reduce);
    if (diagonal) {
        probe_diagonals<<<dim3(ceil_div(a->keys, 256), a->heads), 256, 0, stream>>>(share, blocks, KEYS, w, a->keys,
                                                                                    diagonal);
        LAUNCH_TRY(probe_diagonals);
    }
    return SF_OK;
}

sf_status sf_cuda_probe(sf_backend *b, const sf_attention *a, int window, int step, sf_reduce reduce, float *column,
                        float *diagonal)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "probe"));
    int rows = ceil_div(a->queries, step), w = window < rows ? window : rows;
    if (a->kv.tail.n)
        return sf_fail(SF_INTERNAL, "probe: the cache has a tail of %d keys; it must be empty", a->kv.tail.n);
    if (w > 0) SF_TRY(BY_HEAD_DIM(a->head_dim, run, b, a, w, step, reduce, column, diagonal));
    sf_meter_probe(b, a, window, step, column, diagonal);
    return SF_OK;
}
