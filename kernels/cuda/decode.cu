/* Decode attention: one query for each of several sequences, over a dense cache, a window, or selected pages.
 *
 * Bound by reading K and V once. Keys are split into parts of a length that depends on the sequence alone; a block of 4
 * warps takes one part of one kv head for all query heads of its group, and a second kernel joins the parts in order.
 * Each warp streams its own keys, 16 a step, through a ring in shared memory that only it waits for (cp.async), and
 * reads them as tensor-core fragments with 16-byte loads:
 *
 *  - K: thread (quad r, t) takes d = [32c + 8t, +8) of a key. A product sums over d in any order that both operands
 *    agree on, so these are the fragments of two products; the query's are permuted to match, once.
 *  - V: P·V wants pairs of keys. The thread takes d = [64c + 8r, +8) of keys 2t, 2t + 1, 2t + 8 and 2t + 9 and
 *    interleaves their halves.
 *  - 16-byte chunks of row n are swizzled by ((n / 2 % 4) * 2) ^ (n % 2 * 4), which keeps both reads free of conflicts.
 *
 * Two tiles, by query heads of a kv head: up to 8, the common case, have keys as rows of the first product and dimensions as
 * rows of the second, heads as columns of both (NARROW); more are rows, 16 at a time. The narrow one has half the products,
 * exponentials and registers. Which one it is depends on the model alone.
 *
 * A packed prompt (kernels/cache.h) goes through the ring as it is, scales beside it, and becomes bf16 as fragments are read
 * (packed.cuh): 2.5 to 3.5 instructions a number, once for all heads. They are the numbers that the simulated format holds,
 * in the same products: the same bits. 8 bytes are read where floats have 16; place() keeps those reads free of conflicts.
 * Keys of the tail, which is of floats, are read where they lie when their step comes, having been asked for into L2.
 *
 * Keys of the prompt come from a shared cache, later ones from the lane's own tail; a cache may hold fewer keys for
 * some heads than for others. Most steps are 16 rows one after the other, which are copied without looking at each.
 *
 *     as sm_90a compiles it         64        128       256       narrow tiles; wide ones 111, 188, 251
 *     registers, bf16               96        145       188       spills: none, but for int4 in wide tiles of 256
 *     registers, packed             114-125   120-127   183-199
 *     instructions, bf16            1300      1540      1860
 *     shared memory, KB, bf16       49        98        131       and 4 bytes a page number
 *                        int8       26        51        101
 *     blocks a multiprocessor       4         2         1         packed: 4, 4, 2; 256 in bf16 has 196 KB where there are
 *
 * A dense part's first 128 keys are asked for into L2 by the blocks that come in while the kernel in front ends, which they wait for.
 *
 * Measured on one H200 (copy 4.25 TB/s), 32/8 heads of 128, before the copies' code was there once: 32k keys, 1 sequence 43.8 us
 * (72 % of copy; the kernel of wide tiles alone, 7370 instructions, 57); 128k keys 130.8 us (96 %). Since, on others of the kind: 44.0 and
 * 134.3 us, 16 sequences 1882 (4.57 TB/s); of heads of 256 71.4, 248.5 and 3703 us. Selected pages, 1/16 of 128k keys: 15 us for one
 * sequence (27 once). Packed, 128k keys, 1 sequence: fp8 87, int8 91, int4 93 us; of heads of 256 156, 185 and 177.
 *
 * By half as many parts, one wave of blocks: 32k keys 41.6, 128k 132.2 us, but packed 128, 158 and 165. Of a call some 11 us are not
 * reading: 2048 selected keys a head take 13.1, and what 32k, 128k and 16 times 128k keys take lies on a line that begins there.
 *
 * By count of instructions, of four a cycle and multiprocessor: a step of a warp is 340 in bf16, 640 of fp8, 820 of int8, 810 of
 * int4, whose bytes come in 500, 250, 260 and 140 cycles: int4 is bound by instructions. Next: rows of several lanes of one
 * prompt in one tile, which reads and turns its keys once.
 *
 * A step of a layer is 15 launches (seven products, two norms, two rotations, gate, store, parts, join), 4 more for a lane that
 * chooses pages, about 2.3 us of host time each. Between kernels the next one's blocks come in early (sf_begin()), and a
 * product's have asked for their first weights when the one before it ends. The 12 that do not know how long a sequence is
 * are kept as graphs where reading their weights does not take longer than launching them (graph.cu). For a 7B model of 28
 * layers launching is 1.0 ms, queued ahead of 6 to 8 ms of reading at 128k keys: a graph would gain nothing. What keeps store,
 * parts and join out is that lengths are their arguments; it would take a lane's length in device memory, moved on by
 * store_kv, and grids by bucket, powers of two of the longest lane, blocks behind a lane's end leaving at once.
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/entmax.cuh"
#include "kernels/cuda/packed.cuh"

#include <string.h>

enum { WARPS = 4, STEP = 16, LANES = 16, MOST_PARTS = 64, PART_LEAST = 512, HEADS = 16, JOINERS = 256, JOIN_EARLY = 16, SOON = 128 };

struct lane {
    const bf16 *q;           /* [H, D] */
    const bf16 *k[2], *v[2]; /* prompt, tail; a packed prompt's are bytes … */
    const unsigned char *scales[2]; /* … and scales of keys, of values */
    int64_t capacity[2];
    int n[2];
    const int32_t *count[2];       /* [G] or NULL */
    const int32_t *pages, *listed; /* page numbers [lists, stride] and how many [lists]; NULL: all keys */
    const float *bias;             /* [lists, stride] on the logits of a page's keys, or NULL */
    int64_t stride;
    int page, part, window, sinks, local, layer;
    int readers, lists; /* query heads that read the same are one reader: G of them, or H; lists: as many, or one for all */
    float scale, cap; /* times log2 e */
    bool complains;  /* of a head without keys */
    float *lse;      /* [H], or NULL: nobody asks */
    uint64_t *pairs; /* likewise */
};

__device__ static inline int list_of(const lane &l, int reader) { return l.lists == 1 ? 0 : reader; }

struct batch {
    lane lane[LANES];
};

struct partial {
    float most, sum;
};

__device__ static inline uint4 load8(const bf16 *row, int at, int width, bool aligned)
{
    if (aligned && at + 8 <= width) return *(const uint4 *)(row + at);
    uint4 r = {0, 0, 0, 0};
    bf16 *v = (bf16 *)&r;
    for (int i = 0; i < 8; i++)
        if (at + i < width) v[i] = row[at + i];
    return r;
}

/* Whether slot i of kv head g is a key in the query's sight, and where: its part and row. pages: those of slots from
 * `from` on. */
__device__ static inline bool find(const lane &l, const int32_t *pages, int from, int g, int i, int end, int *part,
                                   int64_t *row)
{
    *part = 0;
    *row = 0;
    if (i >= end) return false;
    int N = l.n[0] + l.n[1], key = pages ? pages[i / l.page - from / l.page] * l.page + i % l.page : i;
    if (key >= N || (l.window && key < N - l.window) || (key >= l.sinks && key < N - l.local)) return false;
    *part = key >= l.n[0];
    int at = *part ? key - l.n[0] : key;
    if (l.count[*part] && at >= l.count[*part][g]) return false;
    *row = g * l.capacity[*part] + at;
    return true;
}

/* A warp's keys on their way. Of a packed prompt they are so in here too, and become floats as they are read; what lies in the tail
 * leaves its room empty. */
template <int DIM, sf_cuda_held HELD, bool DEEP> struct ring {
    static const int STAGES = HELD == SF_HELD_Q4_0 && DIM <= 128 ? 4 : 3, PIECES = DIM / (HELD == SF_HELD_Q4_0 ? 32 : 16), /* of 16 bytes, a row */
                     SCALES = HELD == SF_HELD_Q4_0 ? DIM / 16 : 4, BLOCKS = DIM <= 64 ? 4 : 2; /* bytes a row; of a multiprocessor, of wide tiles */
    uint4 k[STAGES][STEP * PIECES], v[STAGES][STEP * PIECES];
    uint4 scale[STAGES][HELD == SF_HELD_E4M3 ? 1 : 2 * STEP * SCALES / 16]; /* of the keys, then of the values */
};
template <int DIM, bool DEEP> struct ring<DIM, SF_HELD_FLOATS, DEEP> {
    static const int STAGES = DIM > 128 && !DEEP ? 2 : 3, BLOCKS = 1;
    bf16 k[STAGES][STEP][DIM], v[STAGES][STEP][DIM];
};

__device__ static inline int swizzle(int row, int chunk) { return chunk ^ (row / 2 % 4 * 2) ^ (row % 2 * 4); }

/* Where a 16-byte piece of a packed row lies. Sixteen threads read 8 bytes each at once, of 4 rows: neighbours among keys, every other
 * one among values; of a row 32 bytes, of int4 the same 16 twice. Four rows meet in no bank. */
template <int PIECES, int WIDE, bool VALUES> __device__ static inline int place(int row, int piece)
{
    const int ROWS = PIECES < 8 ? 8 / PIECES : 1, APART = VALUES && ROWS < 2 ? 2 : ROWS, KINDS = (VALUES ? 8 : 4) / APART; /* rows in 128 bytes */
    return (row * PIECES + piece) ^ (row / APART % KINDS * WIDE);
}

template <int BYTES> __device__ static inline void copy_few(void *shared, const void *global, bool valid)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(at), "l"(global), "n"(BYTES), "r"(valid ? BYTES : 0));
}

/* Piece `piece` of a row of so many bytes, zeros past its end or where the row is absent. */
__device__ static inline void copy_piece(void *shared, const unsigned char *row, int piece, int bytes, bool valid)
{
    if (bytes % 16 == 0) {
        const bool inside = valid && piece * 16 < bytes;
        copy_async(shared, inside ? row + piece * 16 : row, inside);
    } else {
#pragma unroll 1
        for (int i = 0; i < 16; i++) ((unsigned char *)shared)[i] = valid && piece * 16 + i < bytes ? row[piece * 16 + i] : 0;
    }
}

/* The transpose of 8 x 8 numbers of 16 bits, of which a thread has two of a row. */
__device__ static inline uint32_t transposed(uint32_t x)
{
    uint32_t y;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;\n" : "=r"(y) : "r"(x));
    return y;
}

/* 2^x; 0 where that is below 2^-126. */
__device__ static inline float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Asks for the first rows of a part, keys and values, into L2, where nothing is stale: what a block can do while the kernel in front of it
 * ends. Those that no query sees any more are not worth it; how many a head holds is not known yet. */
template <int BYTES> __device__ static inline void ask_soon(const lane &l, int g, int part)
{
#if __CUDA_ARCH__ >= 900
    const int N = l.n[0] + l.n[1], from = part * l.part, rows = min(min(l.part, (int)SOON), (int)min((int64_t)l.n[0], l.capacity[0]) - from);
    if (threadIdx.x >= 2 || rows <= 0 || (l.window && from + SOON <= N - l.window) || from + SOON <= N - l.local) return;
    const char *row = (const char *)(threadIdx.x ? l.v[0] : l.k[0]) + (g * l.capacity[0] + from) * BYTES;
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;\n" ::"l"(row), "r"(rows * BYTES));
#endif
}

/* What a kernel is built for: any head dim up to DIM; DIM itself, which takes out of the loop what rows of other sizes and addresses need;
 * the same of at most 8 query heads; and that with a step more on its way, where a block may have more shared memory than 164 KB. */
enum shape { ANY, FULL, NARROW, DEEP };

template <int DIM, sf_cuda_held HELD, shape SHAPE>
__global__ void __launch_bounds__(WARPS * 32, HELD != SF_HELD_FLOATS && SHAPE >= NARROW ? DIM <= 128 ? 4 : 2 : ring<DIM, HELD, SHAPE == DEEP>::BLOCKS)
    decode_part(const __grid_constant__ batch b, int H, int G, int head_dim, int max_parts, int first_head, unsigned waiting, partial *weight,
                float *out)
{
    typedef ring<DIM, HELD, SHAPE == DEEP> warp_ring;
    const int CHUNKS = DIM / 32, HALVES = DIM / 64, STAGES = warp_ring::STAGES, D = SHAPE == ANY ? head_dim : DIM;
    const int TILE = SHAPE >= NARROW ? 8 : HEADS; /* heads */
    extern __shared__ __align__(128) unsigned char shared[];
    int32_t *page_list = (int32_t *)((warp_ring *)shared + WARPS);
    const lane &l = b.lane[blockIdx.x]; /* fastest: lanes of one prompt read the same keys at the same time */
    int reader = blockIdx.z, group = H / l.readers, part = blockIdx.y, list = list_of(l, reader), g = reader * group / (H / G);
    const bool idle = reader >= l.readers || first_head >= group;
    if (SHAPE != ANY && !l.pages && !idle && blockIdx.x + gridDim.x * (part + gridDim.y * reader) < waiting)
        ask_soon<(HELD == SF_HELD_FLOATS ? DIM * 2 : HELD == SF_HELD_Q4_0 ? DIM / 2 : DIM)>(l, g, part);
    sf_begin();
    if (idle) return;
    /* A page number for each thread, asked for beside how many there are: behind that what is there is not looked at. */
    int from = part * l.part, begin = l.pages ? from / l.page : 0;
    const int32_t early = l.pages && begin + (int)threadIdx.x < l.stride ? l.pages[list * l.stride + begin + threadIdx.x] : 0;
    int slots = l.pages ? l.listed[list] * l.page : l.n[0] + l.n[1];
    int end = min(slots, from + l.part);
    if (from >= slots) return;
    int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), at = threadIdx.x % 32, r = at / 4, t = at % 4; /* warp: seen to be the same in all of it */
    warp_ring &own = ((warp_ring *)shared)[warp];
    const int32_t *pages = NULL;
    if (l.pages) {
        for (int i = begin + threadIdx.x; i <= (end - 1) / l.page; i += blockDim.x)
            page_list[i - begin] = i == begin + (int)threadIdx.x ? early : l.pages[list * l.stride + i];
        pages = page_list;
        __syncthreads();
    }

    uint32_t q[CHUNKS][2][TILE / 4] = {};
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        for (int half = 0; half < TILE / 8; half++) {
            int head = first_head + r + half * 8;
            if (head >= group) continue;
            uint4 x = load8(l.q + (int64_t)(reader * group + head) * D, c * 32 + t * 8, D, D % 8 == 0);
            q[c][0][half] = x.x, q[c][0][half + TILE / 8] = x.y, q[c][1][half] = x.z, q[c][1][half + TILE / 8] = x.w;
        }
    }

    /* Queues step i of this warp; returns which of its 16 slots hold keys. Lane i then has the bias of slot i in `ahead`. Of a packed prompt,
     * `late` then says which of them are in the tail: those are read where they lie, when their step comes. */
    float ahead = 0, pending[STAGES] = {}; /* biases of steps queued */
    unsigned late = 0;
    const int N = l.n[0] + l.n[1], plain_from = max(l.window ? N - l.window : 0, N - l.local), /* keys of the prompt that are all there and seen */
              plain_until = l.pages && l.page % STEP ? 0 : l.count[0] ? min(l.n[0], l.count[0][g]) : l.n[0];
    auto fetch = [&](int step) {
        int old;
        int64_t row;
        int i = from + (step * WARPS + warp) * STEP;
        if constexpr (SHAPE != ANY) { /* most steps: 16 rows that lie one after the other */
            const int key = pages ? pages[i / l.page - from / l.page] * l.page + i % l.page : i;
            if (__all_sync(~0u, key >= plain_from && key + STEP <= plain_until && i + STEP <= end)) {
                const int64_t rows = g * l.capacity[0] + key;
                const int stage = step % STAGES;
                if (l.bias) ahead = l.bias[list * l.stride + i / l.page] * (float)M_LOG2E;
                late = 0;
                if constexpr (HELD == SF_HELD_FLOATS) {
                    const bf16 *k = l.k[0] + rows * D + at * 8, *v = l.v[0] + rows * D + at * 8;
#pragma unroll
                    for (int j = 0; j < STEP * DIM / 8 / 32; j++) {
                        const int n = (j * 32 + at) / (DIM / 8), chunk = (j * 32 + at) % (DIM / 8);
                        copy_async(&own.k[stage][n][swizzle(n, chunk) * 8], k + j * 256, true);
                        copy_async(&own.v[stage][n][swizzle(n, chunk) * 8], v + j * 256, true);
                    }
                } else {
                    const int PIECES = warp_ring::PIECES, WIDE = HELD == SF_HELD_Q4_0 ? 1 : 2, SCALES = warp_ring::SCALES;
                    const unsigned char *k = (const unsigned char *)l.k[0] + (rows * PIECES + at) * 16,
                                        *v = (const unsigned char *)l.v[0] + (rows * PIECES + at) * 16;
#pragma unroll
                    for (int j = 0; j < STEP * PIECES / 32; j++) {
                        const int n = (j * 32 + at) / PIECES, piece = (j * 32 + at) % PIECES;
                        copy_async(&own.k[stage][place<PIECES, WIDE, false>(n, piece)], k + j * 512, true);
                        copy_async(&own.v[stage][place<PIECES, WIDE, true>(n, piece)], v + j * 512, true);
                    }
                    if (HELD != SF_HELD_E4M3)
                        copy_few<SCALES>((unsigned char *)own.scale[stage] + at * SCALES, l.scales[at / STEP] + (rows + at % STEP) * SCALES, true);
                }
                return 0xffffu;
            }
        }
        bool seen = find(l, pages, from, g, i + at % STEP, end, &old, &row);
        unsigned known = __ballot_sync(~0u, seen) & 0xffff;
        if (l.bias) ahead = seen ? l.bias[list * l.stride + (i + at % STEP) / l.page] * (float)M_LOG2E : 0;
        int stage = step % STAGES;
        if constexpr (HELD == SF_HELD_FLOATS) {
            const int ROW = DIM / 8;
            const bf16 *k = l.k[old] + row * D, *v = l.v[old] + row * D;
#pragma unroll
            for (int j = 0; j < STEP * ROW / 32; j++) {
                int n = (j * 32 + at) / ROW, chunk = (j * 32 + at) % ROW;
                const bf16 *from_k = (const bf16 *)__shfl_sync(~0u, (unsigned long long)k, n);
                const bf16 *from_v = (const bf16 *)__shfl_sync(~0u, (unsigned long long)v, n);
                copy_chunk(&own.k[stage][n][swizzle(n, chunk) * 8], from_k, chunk, D, known >> n & 1);
                copy_chunk(&own.v[stage][n][swizzle(n, chunk) * 8], from_v, chunk, D, known >> n & 1);
            }
        } else {
            const int PIECES = warp_ring::PIECES, WIDE = HELD == SF_HELD_Q4_0 ? 1 : 2, SCALES = warp_ring::SCALES;
            const int bytes = HELD == SF_HELD_Q4_0 ? D / 2 : D;
            late = __ballot_sync(~0u, seen && old) & 0xffff;
            const unsigned there = known & ~late;
            const int64_t first = g * l.capacity[0];
            const int mine = seen && !old ? (int)(row - first) : 0; /* the row of slot at % STEP, of its head's */
            const unsigned char *k = (const unsigned char *)l.k[0] + first * bytes, *v = (const unsigned char *)l.v[0] + first * bytes;
#pragma unroll
            for (int j = 0; j < STEP * PIECES / 32; j++) {
                const int n = (j * 32 + at) / PIECES, piece = (j * 32 + at) % PIECES;
                const int64_t from_row = (int64_t)__shfl_sync(~0u, mine, n) * bytes;
                copy_piece(&own.k[stage][place<PIECES, WIDE, false>(n, piece)], k + from_row, piece, bytes, there >> n & 1);
                copy_piece(&own.v[stage][place<PIECES, WIDE, true>(n, piece)], v + from_row, piece, bytes, there >> n & 1);
            }
            if constexpr (HELD != SF_HELD_E4M3) { /* lanes of the first half those of keys, of the other those of values */
                const int own_bytes = HELD == SF_HELD_Q4_0 ? D / 16 : 4;
                const unsigned char *scale = l.scales[at / STEP] + (first + mine) * own_bytes;
                unsigned char *to = (unsigned char *)own.scale[stage] + at * SCALES;
                const bool valid = there >> at % STEP & 1;
                if (own_bytes == SCALES) {
                    copy_few<SCALES>(to, scale, valid);
                } else { /* groups of 32 that do not fill the rows of the kernel */
#pragma unroll 1
                    for (int e = 0; e < SCALES / 2; e++)
                        ((uint16_t *)to)[e] = valid && e * 2 < own_bytes ? ((const uint16_t *)scale)[e] : 0;
                }
            }
            if (late >> at % STEP & 1) {
                const char *soon = (const char *)((at < STEP ? l.k[1] : l.v[1]) + row * D);
                for (int i = 0; i < D * 2; i += 128) asm volatile("prefetch.global.L2 [%0];\n" ::"l"(soon + i));
            }
        }
        return known;
    };
    /* Which of the tail slot i of the part holds. */
    auto tail_of = [&](int i) { return (pages ? pages[i / l.page - from / l.page] * l.page + i % l.page : i) - l.n[0]; };
    auto tail_row = [&](const bf16 *x, int tail_at) { return x + (g * l.capacity[1] + tail_at) * D; };

    /* Of a packed key that has come elements [32c + 8t, +8), of a value [64c + 8r, +8). */
    auto unpack_key = [&](int stage, int row, int c, float (&x)[8]) {
        if constexpr (HELD != SF_HELD_FLOATS) {
            const int PIECES = warp_ring::PIECES, WIDE = HELD == SF_HELD_Q4_0 ? 1 : 2, piece = HELD == SF_HELD_Q4_0 ? c : c * 2 + t / 2;
            const uint2 raw = ((const uint2 *)&own.k[stage][place<PIECES, WIDE, false>(row, piece)])[t % 2];
            if constexpr (HELD == SF_HELD_E4M3) sf_cuda_eight_e4m3(raw, x);
            if constexpr (HELD == SF_HELD_INT8) sf_cuda_eight_int8(raw, ((const float *)own.scale[stage])[row], x);
            if constexpr (HELD == SF_HELD_Q4_0) sf_cuda_eight_q4_0(raw, t >= 2, __half2float(((const __half *)own.scale[stage])[row * CHUNKS + c]), x);
        }
    };
    auto unpack_value = [&](int stage, int row, int c, float (&x)[8]) {
        if constexpr (HELD != SF_HELD_FLOATS) {
            const int PIECES = warp_ring::PIECES, WIDE = HELD == SF_HELD_Q4_0 ? 1 : 2, piece = HELD == SF_HELD_Q4_0 ? c * 2 + r / 4 : c * 4 + r / 2;
            const uint2 raw = ((const uint2 *)&own.v[stage][place<PIECES, WIDE, true>(row, piece)])[r % 2];
            if constexpr (HELD == SF_HELD_E4M3) sf_cuda_eight_e4m3(raw, x);
            if constexpr (HELD == SF_HELD_INT8) sf_cuda_eight_int8(raw, ((const float *)own.scale[stage])[STEP + row], x);
            if constexpr (HELD == SF_HELD_Q4_0)
                sf_cuda_eight_q4_0(raw, r % 4 >= 2, __half2float(((const __half *)own.scale[stage])[(STEP + row) * CHUNKS + piece]), x);
        }
    };
    /* The same of any, as bf16. */
    auto key_chunk = [&](int stage, int row, int c) -> uint4 {
        if constexpr (HELD == SF_HELD_FLOATS) {
            return *(const uint4 *)&own.k[stage][row][swizzle(row, c * 4 + t) * 8];
        } else {
            float x[8];
            unpack_key(stage, row, c, x);
            return make_uint4(pack(x[0], x[1]), pack(x[2], x[3]), pack(x[4], x[5]), pack(x[6], x[7]));
        }
    };
    auto value_chunk = [&](int stage, int row, int c) -> uint4 {
        if constexpr (HELD == SF_HELD_FLOATS) {
            return *(const uint4 *)&own.v[stage][row][swizzle(row, c * 8 + r) * 8];
        } else {
            float x[8];
            unpack_value(stage, row, c, x);
            return make_uint4(pack(x[0], x[1]), pack(x[2], x[3]), pack(x[4], x[5]), pack(x[6], x[7]));
        }
    };

    /* Chunk c of the values 2t, 2t + 1, 2t + 8 and 2t + 9. Of a step with keys in the tail lane i knows where that of slot i is. */
    auto values_of = [&](int stage, int c, unsigned in_tail, int tail_at, uint4 (&v)[4]) {
#pragma unroll
        for (int n = 0; n < 4; n++) v[n] = value_chunk(stage, n / 2 * 8 + t * 2 + n % 2, c);
        if (HELD != SF_HELD_FLOATS && __builtin_expect(in_tail != 0, 0)) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const int row = n / 2 * 8 + t * 2 + n % 2, its = __shfl_sync(~0u, tail_at, row);
                if (in_tail >> row & 1) v[n] = load8(tail_row(l.v[1], its), c * 64 + r * 8, D, D % 8 == 0);
            }
            __syncwarp();
        }
    };

    float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}; /* of heads r and r + 8; of a narrow tile of 2t and 2t + 1 */
    float o[HALVES][TILE / 2][4] = {};
    int steps = max(0, (end - from - warp * STEP + WARPS * STEP - 1) / (WARPS * STEP));
    uint64_t queue = 0, late_queue = 0; /* 16 bits a queued step, the next one lowest */
    for (int step = 1 - STAGES; step < steps; step++) { /* the first ones queue alone: the code that does is here once */
        if (step >= 0) {
            copy_wait<STAGES - 2>();
            __syncwarp();
        }
        unsigned known = queue & 0xffff, in_tail = late_queue & 0xffff;
        queue >>= 16, late_queue >>= 16;
        float bias = pending[0];
#pragma unroll
        for (int i = 0; i + 1 < STAGES; i++) pending[i] = pending[i + 1];
        if (step + STAGES - 1 < steps) {
            queue |= (uint64_t)fetch(step + STAGES - 1) << 16 * (STAGES - 2);
            if (HELD != SF_HELD_FLOATS) late_queue |= (uint64_t)late << 16 * (STAGES - 2);
        }
        pending[STAGES - 2] = ahead;
        copy_commit();
        if (step < 0) continue;

        int stage = step % STAGES, tail_at = 0;
        if (HELD != SF_HELD_FLOATS && __builtin_expect(in_tail != 0, 0) && in_tail >> at % STEP & 1)
            tail_at = tail_of(from + (step * WARPS + warp) * STEP + at % STEP);
        if constexpr (SHAPE >= NARROW) {
            /* Keys are the rows of the first product, dimensions those of the second: as many rows as keys a step, and a column a head. */
            float s[2][4] = {}; /* two chains of products, one sum: keys r and r + 8, heads 2t and 2t + 1 */
            const int PAIR = CHUNKS < 2 ? 1 : 2;
#pragma unroll
            for (int first = 0; first < CHUNKS; first += PAIR) {
                uint4 k[2][PAIR];
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int c = 0; c < PAIR; c++) k[n][c] = key_chunk(stage, n * 8 + r, first + c);
                if (HELD != SF_HELD_FLOATS && __builtin_expect(in_tail != 0, 0)) {
#pragma unroll
                    for (int n = 0; n < 2; n++) {
                        const bf16 *x = tail_row(l.k[1], __shfl_sync(~0u, tail_at, n * 8 + r));
                        if (!(in_tail >> (n * 8 + r) & 1)) continue;
#pragma unroll
                        for (int c = 0; c < PAIR; c++) k[n][c] = load8(x, (first + c) * 32 + t * 8, D, D % 8 == 0);
                    }
                    __syncwarp();
                }
#pragma unroll
                for (int c = 0; c < PAIR; c++) {
                    const uint32_t x[4] = {k[0][c].x, k[1][c].x, k[0][c].y, k[1][c].y}, z[4] = {k[0][c].z, k[1][c].z, k[0][c].w, k[1][c].w};
                    mma(s[0], x, q[first + c][0][0], q[first + c][0][1]);
                    mma(s[1], z, q[first + c][1][0], q[first + c][1][1]);
                }
            }
            float logit[1][4];
#pragma unroll
            for (int e = 0; e < 4; e++) logit[0][e] = s[0][e] + s[1][e];
            scale_and_cap(logit, l.scale, l.cap);
            if (l.bias) {
                const float add[2] = {__shfl_sync(~0u, bias, r), __shfl_sync(~0u, bias, r + 8)};
#pragma unroll
                for (int e = 0; e < 4; e++) logit[0][e] += add[e / 2];
            }
            float fade[2];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float x = known >> r & 1 ? logit[0][h] : -INFINITY, y = known >> (r + 8) & 1 ? logit[0][h + 2] : -INFINITY;
                float higher = fmaxf(most[h], fmaxf(x, y));
                higher = fmaxf(higher, __shfl_xor_sync(~0u, higher, 4));
                higher = fmaxf(higher, __shfl_xor_sync(~0u, higher, 8));
                higher = fmaxf(higher, __shfl_xor_sync(~0u, higher, 16));
                const float offset = higher == -INFINITY ? 0 : higher;
                fade[h] = higher == most[h] ? 1.f : power_of_two(most[h] - offset);
                most[h] = higher;
                logit[0][h] = power_of_two(x - offset), logit[0][h + 2] = power_of_two(y - offset);
                sum[h] = sum[h] * fade[h] + (logit[0][h] + logit[0][h + 2]);
            }
            if (__any_sync(~0u, fade[0] != 1.f || fade[1] != 1.f)) {
#pragma unroll
                for (int c = 0; c < HALVES; c++)
#pragma unroll
                    for (int j = 0; j < 4; j++)
#pragma unroll
                        for (int e = 0; e < 4; e++) o[c][j][e] *= fade[e % 2];
            }
            const uint32_t p[2] = {transposed(pack(logit[0][0], logit[0][1])), transposed(pack(logit[0][2], logit[0][3]))};
#pragma unroll
            for (int c = 0; c < HALVES; c++) {
                uint32_t x[4][4]; /* of product j: rows r and r + 8 are d = 64c + 8r + 2j and the next; keys 2t and 2t + 1, then 8 on */
                if constexpr (HELD == SF_HELD_FLOATS) {
                    uint4 v[4];
                    values_of(stage, c, in_tail, tail_at, v);
                    const uint32_t *a = (const uint32_t *)&v[0], *z = (const uint32_t *)&v[1], *y = (const uint32_t *)&v[2],
                                   *w = (const uint32_t *)&v[3];
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        x[j][0] = __byte_perm(a[j], z[j], 0x5410), x[j][1] = __byte_perm(a[j], z[j], 0x7632);
                        x[j][2] = __byte_perm(y[j], w[j], 0x5410), x[j][3] = __byte_perm(y[j], w[j], 0x7632);
                    }
                } else {
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        float a[8], z[8];
                        unpack_value(stage, half * 8 + t * 2, c, a);
                        unpack_value(stage, half * 8 + t * 2 + 1, c, z);
#pragma unroll
                        for (int d = 0; d < 8; d++) x[d / 2][half * 2 + d % 2] = pack(a[d], z[d]);
                    }
                    if (__builtin_expect(in_tail != 0, 0)) {
#pragma unroll
                        for (int n = 0; n < 4; n++) {
                            const int row = n / 2 * 8 + t * 2 + n % 2, its = __shfl_sync(~0u, tail_at, row);
                            if (!(in_tail >> row & 1)) continue;
                            const uint4 v = load8(tail_row(l.v[1], its), c * 64 + r * 8, D, D % 8 == 0);
                            const uint32_t *a = (const uint32_t *)&v;
#pragma unroll
                            for (int d = 0; d < 8; d++) { /* the low or the high half of a word becomes one of another's */
                                uint32_t &to = x[d / 2][n / 2 * 2 + d % 2];
                                to = __byte_perm(to, a[d / 2], n % 2 ? (d % 2 ? 0x7610 : 0x5410) : (d % 2 ? 0x3276 : 0x3254));
                            }
                        }
                        __syncwarp();
                    }
                }
#pragma unroll
                for (int j = 0; j < 4; j++) mma(o[c][j], x[j], p[0], p[1]);
            }
        } else {
            float s[2][4] = {};
#pragma unroll
            for (int n = 0; n < 2; n++) {
                const int row = n * 8 + r;
                uint4 k[CHUNKS];
#pragma unroll
                for (int c = 0; c < CHUNKS; c++) k[c] = key_chunk(stage, row, c);
                if (HELD != SF_HELD_FLOATS && __builtin_expect(in_tail != 0, 0)) {
                    const bf16 *x = tail_row(l.k[1], __shfl_sync(~0u, tail_at, row));
                    if (in_tail >> row & 1) {
#pragma unroll
                        for (int c = 0; c < CHUNKS; c++) k[c] = load8(x, c * 32 + t * 8, D, D % 8 == 0);
                    }
                    __syncwarp();
                }
#pragma unroll
                for (int c = 0; c < CHUNKS; c++) {
                    mma(s[n], q[c][0], k[c].x, k[c].y);
                    mma(s[n], q[c][1], k[c].z, k[c].w);
                }
            }
            scale_and_cap(s, l.scale, l.cap);
            float higher[2] = {most[0], most[1]}, fade[2];
#pragma unroll
            for (int n = 0; n < 2; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int slot = n * 8 + t * 2 + e % 2;
                    if (!(known >> slot & 1)) s[n][e] = -INFINITY;
                    if (l.bias) s[n][e] += __shfl_sync(~0u, bias, slot);
                    higher[e / 2] = fmaxf(higher[e / 2], s[n][e]);
                }
            }
#pragma unroll
            for (int h = 0; h < 2; h++) {
                higher[h] = fmaxf(higher[h], __shfl_xor_sync(~0u, higher[h], 1));
                higher[h] = fmaxf(higher[h], __shfl_xor_sync(~0u, higher[h], 2));
                float offset = higher[h] == -INFINITY ? 0 : higher[h];
                fade[h] = higher[h] == most[h] ? 1.f : exp2f(most[h] - offset);
                most[h] = higher[h];
                sum[h] *= fade[h];
#pragma unroll
                for (int n = 0; n < 2; n++) {
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        s[n][h * 2 + e] = exp2f(s[n][h * 2 + e] - offset);
                        sum[h] += s[n][h * 2 + e];
                    }
                }
            }
            if (__any_sync(~0u, fade[0] != 1.f || fade[1] != 1.f)) {
#pragma unroll
                for (int c = 0; c < HALVES; c++) {
#pragma unroll
                    for (int j = 0; j < 8; j++) {
#pragma unroll
                        for (int e = 0; e < 4; e++) o[c][j][e] *= fade[e / 2];
                    }
                }
            }
            uint32_t p[4] = {pack(s[0][0], s[0][1]), pack(s[0][2], s[0][3]), pack(s[1][0], s[1][1]),
                             pack(s[1][2], s[1][3])};
#pragma unroll
            for (int c = 0; c < HALVES; c++) {
                uint4 v[4];
                values_of(stage, c, in_tail, tail_at, v);
                const uint32_t *a = (const uint32_t *)&v[0], *z = (const uint32_t *)&v[1], *y = (const uint32_t *)&v[2],
                               *w = (const uint32_t *)&v[3];
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    unsigned order = j % 2 ? 0x7632 : 0x5410; /* the high or the low halves of two words */
                    mma(o[c][j], p, __byte_perm(a[j / 2], z[j / 2], order), __byte_perm(y[j / 2], w[j / 2], order));
                }
            }
        }
    }

    /* The warps' shares, in shared memory that the rings no longer need. */
    copy_wait<0>();
    __syncthreads();
    float(*shared_out)[TILE][DIM + 4] = (float(*)[TILE][DIM + 4]) shared;
    partial(*shared_weight)[TILE] = (partial(*)[TILE])(shared_out + WARPS);
    if constexpr (SHAPE >= NARROW) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
#pragma unroll
            for (int i = 4; i < 32; i *= 2) sum[h] += __shfl_xor_sync(~0u, sum[h], i);
            if (r == 0) shared_weight[warp][t * 2 + h] = partial{most[h], sum[h]};
#pragma unroll
            for (int c = 0; c < HALVES; c++) {
                float4 *to = (float4 *)&shared_out[warp][t * 2 + h][c * 64 + r * 8];
                to[0] = make_float4(o[c][0][h], o[c][0][h + 2], o[c][1][h], o[c][1][h + 2]);
                to[1] = make_float4(o[c][2][h], o[c][2][h + 2], o[c][3][h], o[c][3][h + 2]);
            }
        }
    } else {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            sum[h] += __shfl_xor_sync(~0u, sum[h], 1);
            sum[h] += __shfl_xor_sync(~0u, sum[h], 2);
            if (t == 0) shared_weight[warp][r + h * 8] = partial{most[h], sum[h]};
#pragma unroll
            for (int c = 0; c < HALVES; c++) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    for (int e = 0; e < 2; e++)
                        shared_out[warp][r + h * 8][c * 64 + (t * 2 + e) * 8 + j] = o[c][j][h * 2 + e];
                }
            }
        }
    }
    __syncthreads();
    int heads = min(TILE, group - first_head);
    for (int x = threadIdx.x; x < heads * D; x += blockDim.x) {
        int h = x / D, d = x % D;
        float top = -INFINITY, all = 0, value = 0;
        for (int w = 0; w < WARPS; w++) top = fmaxf(top, shared_weight[w][h].most);
        for (int w = 0; w < WARPS; w++) {
            if (shared_weight[w][h].most == -INFINITY) continue;
            float share = exp2f(shared_weight[w][h].most - top);
            all += share * shared_weight[w][h].sum;
            value += share * shared_out[w][h][d];
        }
        int64_t to = ((int64_t)blockIdx.x * H + reader * group + first_head + h) * max_parts + part;
        out[to * D + d] = value;
        if (d == 0) weight[to] = partial{top, all};
    }
}

/* Keys that the query reads in kv head g by a list, shared out over a warp. */
__device__ static inline int64_t keys_read(const lane &l, int g, int list)
{
    int at = threadIdx.x % 32, N = l.n[0] + l.n[1], oldest = l.window && l.window < N ? N - l.window : 0;
    int held[2]; /* prompt and tail may hold fewer keys for this head than for others */
    for (int i = 0; i < 2; i++) held[i] = l.count[i] ? min(l.n[i], l.count[i][g]) : l.n[i];
    auto within = [&](int from, int to) { /* of the keys [from, to), those that are there */
        int old = min(to, held[0]) - max(from, 0), late = min(to, l.n[0] + held[1]) - max(from, l.n[0]);
        return max(old, 0) + max(late, 0);
    };
    int64_t keys = 0;
    if (l.pages) {
        for (int i = at; i < l.listed[list]; i += 32) {
            int first = l.pages[list * l.stride + i] * l.page;
            keys += within(max(first, oldest), min(first + l.page, N));
        }
    } else if (at == 0) {
        int latest = max(oldest, N - l.local);
        keys = within(latest, N) + within(oldest, min(l.sinks, latest));
    }
    for (int i = 16; i; i >>= 1) keys += __shfl_xor_sync(~0u, keys, i);
    return keys;
}

/* One block a head and lane: parts are shared out over the block's rows of D threads, whose sums are added in order. Its last
 * warp tallies the keys read. */
__global__ void __launch_bounds__(JOINERS)
    decode_join(const __grid_constant__ batch b, int H, int G, int D, int max_parts, const partial *weight,
                const float *part_out, bf16 *out, sf_cuda_report *report)
{
    sf_begin();
    enum { EACH = MOST_PARTS / 32 + 1 }; /* parts of a lane: a last page that reaches past the last key may begin one more */
    __shared__ float shares[JOINERS / 32][EACH * 32], value[JOINERS];
    const lane &l = b.lane[blockIdx.y];
    const int h = blockIdx.x, g = h / (H / G), list = list_of(l, h / (H / l.readers)), at = threadIdx.x % 32;
    const int rows = JOINERS / D, d = threadIdx.x % D, row = threadIdx.x / D;
    int64_t from = ((int64_t)blockIdx.y * H + h) * max_parts;
    /* Asked for before anything is known of them, behind the lane's parts too: then what is there is not looked at. */
    partial got[EACH];
#pragma unroll
    for (int k = 0; k < EACH; k++) got[k] = at + k * 32 < max_parts ? weight[from + at + k * 32] : partial{-INFINITY, 0};
    float early[JOIN_EARLY];
#pragma unroll
    for (int k = 0; k < JOIN_EARLY; k++) early[k] = row < rows && row + k * rows < max_parts ? part_out[(from + row + k * rows) * D + d] : 0;
    const int slots = l.pages ? l.listed[list] * l.page : l.n[0] + l.n[1], parts = (slots + l.part - 1) / l.part;
    if (l.pairs && threadIdx.x / 32 == JOINERS / 32 - 1) {
        int64_t keys = keys_read(l, g, list);
        if (at == 0) l.pairs[h] += keys;
    }
    /* Every warp by itself, in the same order: no barrier. */
    float top = -INFINITY, all = 0, *share = shares[threadIdx.x / 32];
#pragma unroll
    for (int k = 0; k < EACH; k++) top = fmaxf(top, at + k * 32 < parts ? got[k].most : -INFINITY);
    top = warp_max(top);
#pragma unroll
    for (int k = 0; k < EACH; k++) {
        const float fade = at + k * 32 < parts && got[k].most != -INFINITY ? exp2f(got[k].most - top) : 0;
        share[at + k * 32] = fade;
        all += fade * (at + k * 32 < parts ? got[k].sum : 0);
    }
    all = warp_sum(all);
    __syncwarp();
    float sum = 0;
    if (row < rows) {
#pragma unroll
        for (int k = 0; k < JOIN_EARLY; k++)
            if (row + k * rows < parts) sum += share[row + k * rows] * early[k];
#pragma unroll 8
        for (int i = row + JOIN_EARLY * rows; i < parts; i += rows) sum += share[i] * part_out[(from + i) * D + d];
    }
    value[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= D) return;
    for (int i = 1; i < rows; i++) sum += value[i * D + d];
    if (!(all > 0) && d == 0 && l.complains) sf_raise(report, SF_FAULT_EMPTY_ROW, l.layer, h, 0);
    if (l.lse && d == 0) l.lse[h] = all > 0 ? (top + log2f(all)) * (float)M_LN2 : -INFINITY;
    out[((int64_t)blockIdx.y * H + h) * D + d] = __float2bfloat16(all > 0 ? sum / all : 0);
}

__global__ void tally_decode(const __grid_constant__ batch b, int H, int G)
{
    const lane &l = b.lane[blockIdx.y];
    int h = blockIdx.x;
    int64_t keys = keys_read(l, h / (H / G), list_of(l, h / (H / l.readers)));
    if (threadIdx.x == 0) l.pairs[h] += keys;
}

static sf_status describe(const sf_attention *a, const sf_pattern *pattern, lane *l)
{
    const sf_kv_part *part[2] = {&a->kv.prompt, &a->kv.tail};
    memset(l, 0, sizeof *l);
    l->q = (const bf16 *)a->q;
    for (int i = 0; i < 2; i++) {
        l->k[i] = (const bf16 *)part[i]->k, l->v[i] = (const bf16 *)part[i]->v;
        l->capacity[i] = part[i]->capacity, l->n[i] = part[i]->n, l->count[i] = part[i]->count;
    }
    const sf_cuda_packed_pair packed = sf_cuda_packed_pair_of(&a->kv.prompt, a->kv_heads, a->head_dim);
    for (int i = 0; i < 2; i++) l->scales[i] = packed.of[i].scales;
    l->scale = a->scale * (float)M_LOG2E, l->cap = a->softcap * (float)M_LOG2E;
    l->window = a->window;
    l->layer = a->layer;
    l->pairs = a->pairs;
    l->local = a->keys;
    l->readers = l->lists = a->kv_heads;
    l->lse = a->lse, l->complains = !pattern->empty;
    int64_t most = a->keys;
    if (pattern->kind == SF_PAGES) {
        l->pages = pattern->first.index, l->listed = pattern->first.count;
        l->stride = pattern->first.stride, l->page = pattern->page, l->bias = (const float *)pattern->bias.data;
        l->lists = pattern->heads;
        if (pattern->heads == a->heads) l->readers = a->heads;
        most = ceil_div<int64_t>(most, l->page) * l->page; /* the last page may reach past the last key */
        if (pattern->first.stride * pattern->page < most) most = pattern->first.stride * pattern->page;
    } else if (pattern->kind == SF_WINDOW) {
        l->sinks = pattern->sinks, l->local = pattern->last > 0 ? a->keys : pattern->local;
    } else if (pattern->kind != SF_DENSE) {
        return sf_fail(SF_INTERNAL, "decode takes dense, page and window patterns, not kind %d", pattern->kind);
    }
    /* Twice as many blocks as come in at once of floats, as many as of a packed prompt, whose parts are the same: with half of them bf16 gains
     * nothing, and a packed prompt, bound by instructions, takes half again as long. */
    const int parts = sf_cuda_padded(a->head_dim) > 128 ? MOST_PARTS / 2 : MOST_PARTS;
    int64_t step = WARPS * STEP, share = ceil_div<int64_t>(most, parts);
    l->part = share < PART_LEAST ? PART_LEAST : (int)(ceil_div(share, step) * step);
    return SF_OK;
}

/* The longest part that has page numbers: as many of them at most. */
static int most_part(const batch *lanes, int n)
{
    int longest = 0;
    for (int i = 0; i < n; i++) longest = lanes->lane[i].pages && lanes->lane[i].part > longest ? lanes->lane[i].part : longest;
    return longest;
}

template <int DIM, sf_cuda_held HELD, shape SHAPE>
static sf_status run_held(sf_backend *b, const sf_attention *a, const batch *lanes, int n, int parts, bf16 *out)
{
    sf_cuda *c = sf_cuda_of(b);
    int H = a->heads, G = a->kv_heads, D = a->head_dim;
    size_t rows = (size_t)n * H * parts;
    partial *weight;
    SF_TRY(sf_cuda_workspace(b, rows * (sizeof *weight + D * sizeof(float)), (void **)&weight));
    float *part_out = (float *)(weight + rows);
    int longest = most_part(lanes, n), readers = 0;
    for (int i = 0; i < n; i++) readers = lanes->lane[i].readers > readers ? lanes->lane[i].readers : readers;
    size_t shares = (size_t)WARPS * (SHAPE >= NARROW ? 8 : HEADS) * ((DIM + 4) * sizeof(float) + sizeof(partial));
    size_t bytes = WARPS * sizeof(ring<DIM, HELD, SHAPE == DEEP>) + (longest + 1) * sizeof(int32_t);
    if (bytes < shares) bytes = shares;
    SF_TRY(sf_cuda_allow_shared((const void *)decode_part<DIM, HELD, SHAPE>, bytes));
    for (int head = 0; head < H / G; head += HEADS) {
        const unsigned waiting = sf_cuda_follows(b) && head == 0 ? 2 * (unsigned)c->sms : 0; /* blocks that come in while the kernel in front ends */
        SF_TRY(sf_cuda_follow(b, decode_part<DIM, HELD, SHAPE>, dim3(n, parts, readers), WARPS * 32, bytes, *lanes, H, G, D, parts, head, waiting,
                              weight, part_out));
    }
    SF_TRY(sf_cuda_follow(b, decode_join, dim3(H, n), JOINERS, 0, *lanes, H, G, D, parts, (const partial *)weight,
                          (const float *)part_out, out, c->report));
    c->pending = true;
    return SF_OK;
}

template <int DIM>
static sf_status run(sf_backend *b, const sf_attention *a, const batch *lanes, int n, int parts, bf16 *out)
{
    const bool full = a->head_dim == DIM, narrow = full && a->heads / a->kv_heads <= 8;
    const sf_cuda_held held = sf_cuda_held_of(&a->kv.prompt);
    if constexpr (DIM == 256) { /* two steps of its floats on their way, not one, are 196 KB, and page numbers */
        const size_t deep = WARPS * sizeof(ring<DIM, SF_HELD_FLOATS, true>) + ((size_t)most_part(lanes, n) + 1) * sizeof(int32_t);
        if (held == SF_HELD_FLOATS && narrow && deep <= sf_cuda_of(b)->shared_memory) return run_held<DIM, SF_HELD_FLOATS, DEEP>(b, a, lanes, n, parts, out);
    }
    if constexpr (DIM <= 128) /* of 256 it spills, as ANY does not */
        if (held == SF_HELD_FLOATS && full && !narrow) return run_held<DIM, SF_HELD_FLOATS, FULL>(b, a, lanes, n, parts, out);
#define RUN_HELD(held) (narrow ? run_held<DIM, held, NARROW>(b, a, lanes, n, parts, out) : run_held<DIM, held, ANY>(b, a, lanes, n, parts, out))
    switch (held) {
    case SF_HELD_FLOATS: return RUN_HELD(SF_HELD_FLOATS);
    case SF_HELD_E4M3: return RUN_HELD(SF_HELD_E4M3);
    case SF_HELD_INT8: return RUN_HELD(SF_HELD_INT8);
    case SF_HELD_Q4_0: break;
    }
    return RUN_HELD(SF_HELD_Q4_0);
#undef RUN_HELD
}

/* Lanes of dense, window and page patterns, one softmax each at true distances, of caches that are held alike. */
static sf_status decode_listed(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out)
{
    for (int done = 0; done < lanes; done += LANES) {
        int now = lanes - done < LANES ? lanes - done : LANES, parts = 1;
        batch lane = {};
        for (int i = 0; i < now; i++) {
            const sf_attention *at = a[done + i];
            SF_TRY(describe(at, pattern[done + i], &lane.lane[i]));
            int64_t slots = at->keys;
            if (lane.lane[i].pages) { /* the last page may reach past the last key */
                int64_t listed = lane.lane[i].stride * lane.lane[i].page;
                slots = listed < slots + lane.lane[i].page ? listed : slots + lane.lane[i].page;
            }
            int needed = (int)ceil_div<int64_t>(slots, lane.lane[i].part);
            if (needed > parts) parts = needed;
        }
        bf16 *to = out + (int64_t)done * a[0]->heads * a[0]->head_dim;
        SF_TRY(BY_HEAD_DIM(a[0]->head_dim, run, b, a[0], &lane, now, parts, to));
    }
    return SF_OK;
}

sf_status sf_cuda_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern,
                         void *out)
{
    if (lanes && a[0]->alpha != 0) return sf_cuda_entmax_decode(b, lanes, a, pattern, (bf16 *)out);
    for (int l = 0, n; l < lanes; l += n) {
        bf16 *to = (bf16 *)out + (int64_t)l * a[l]->heads * a[l]->head_dim;
        bool parts = sf_cuda_decodes_parts(a[l], pattern[l]);
        const sf_cuda_held held = sf_cuda_held_of(&a[l]->kv.prompt);
        n = 1;
        while (l + n < lanes && sf_cuda_decodes_parts(a[l + n], pattern[l + n]) == parts && sf_cuda_held_of(&a[l + n]->kv.prompt) == held) n++;
        SF_TRY(parts ? sf_cuda_decode_parts(b, n, a + l, pattern + l, to) : decode_listed(b, n, a + l, pattern + l, to));
    }
    return SF_OK;
}

sf_status sf_cuda_tally_decode(sf_backend *b, const sf_attention *a, const sf_pattern *pattern)
{
    if (sf_cuda_decodes_parts(a, pattern)) return sf_cuda_tally_parts(b, a, pattern);
    batch one = {};
    SF_TRY(describe(a, pattern, &one.lane[0]));
    tally_decode<<<dim3(a->heads, 1), 32, 0, sf_cuda_of(b)->stream>>>(one, a->heads, a->kv_heads);
    LAUNCH_TRY(tally_decode);
    return SF_OK;
}
