/* Scores of an indexer: products of every query head with every key, bent at 0, weighed and added up over heads.
 *
 * Queries and keys are f32, and are rounded to 11 bits: each head's row of a query and each key to fp16, divided first by a power of two of its
 * own, which a head's weight and a key's scores take back (max(0, ·) does not mind). That is eight times as fine as bf16 at the same rate, and
 * as fine as tf32 at twice its rate; what lies more than 2^14 below the largest number of its row loses further bits. Products are added up in
 * f32 by the tensor cores, heads in order: a thread's own, then those of its quad.
 *
 * On Hopper 64 keys are the rows of a product, in registers, and 64 columns of heads its other side, in shared memory: one row's 64
 * heads, or those of several rows with fewer. A block keeps 128 KiB of query heads there (8 rows of 64 heads of 128), and its three
 * warpgroups walk over the keys, each at its own pace: they load their keys' fragments from L2, multiply them with tile after tile, and bend
 * and add up what comes out of one while the next is multiplied; a thread keeps the sums of four rows, of which each of a quad stores one. For a load to be 16 bytes wide the numbers of a query lie in another order
 * within each 32, which an inner product does not mind. What lies ahead of a block's last row is not multiplied. Elsewhere, and for shapes that
 * do not fit, tiles of 64 keys and 64 columns go through shared memory, of both, by mma.sync.
 *
 * The floor, of 65536 rows over their own keys, 64 heads of 128: 2^31 pairs, 2·64·128 FLOPs each, 35.2 TFLOP: 36 ms at 990 TFLOP/s; scores of
 * 8.6 GB are written in 1.8 ms at 4.8 TB/s, and keys come 8192 times from L2, 69 GB: 1.9 TB/s. So tensor cores limit it. A tile of 64 by 64 by
 * 128 takes them 256 cycles; its 4096 numbers take a scheduler 106 of its slots (maximum, product, weights, shuffles, stores), and its
 * operand 128 of the 256 cycles of shared memory. Of 4 heads of 64 the floor is bytes, 1.8 ms, beside 1.1 TFLOP, 1.1 ms; there 4 numbers
 * a score leave shuffles, masks and stores in the majority.
 *
 * Measured on one H200 on which a product of 8192 x 8192 x 8192 made 812 TFLOP/s: 60.8 ms, 579 TFLOP/s, 71 % of a floor of 43.3 ms; with four
 * warpgroups that each waited for its tile and then added it up 64.2 ms. That a warpgroup took 1500 cycles for a tile where four tiles take
 * 1024, as if all four had multiplied together and then added up together, is thus not what most of it was. Of 4 heads of 64 4.4 ms by four
 * warpgroups, 5.7 by three with two tiles each, 5.3 by four again, as now: why not 4.4 is not explained. Choosing 2048 keys of each row takes 10 ms more.
 *
 * Test: make test-cuda ("indexer"). Benchmark: build/tests/bench_cuda index. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/wgmma.cuh"

#include <cuda_fp16.h>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SM90A 1
#endif

enum { THREADS = 256, TILE = 64, STEP = 64, PITCH = STEP + 8, GROUP = 128, HELD = 64 * 1024 /* numbers of query heads */, MOST_KEYS = 6144, IN_A_ROW = 4 };
static const int64_t PIECE = (int64_t)64 << 20; /* bytes of rounded queries at a time */

struct job {
    const __half *q, *k;    /* [rows, columns, dim] of padded heads, [n, dim] */
    const float *w, *scale; /* [rows, columns], [n] */
    float *score;           /* [rows, n] */
    int64_t rows, first, n; /* row r sees the keys 0 … first + r */
    int columns, dim;       /* of a row: heads and what fills them up; numbers of each */
    int64_t piece;          /* keys of a block */
};

/* ---- rounding ---- */

/* Where number d of each 32 lies, so that thread t of a quad has those of its four fragments in 16 bytes, [8t, 8t + 8). */
__device__ static inline int place(int d) { return d / 4 % 2 * 16 + d / 2 % 2 * 8 + d / 8 * 2 + d % 2; }

/* A warp a row of x [.., dim], which becomes row r / each * columns + r % each of y, `padded` numbers. Returns its power of two. */
__device__ static inline float round_row(const float *x, int dim, int padded, bool placed, __half *y)
{
    const int lane = threadIdx.x % 32;
    float most = 0;
    for (int d = lane; d < dim; d += 32) most = fmaxf(most, fabsf(x[d]));
    most = warp_max(most);
    const int exponent = min(max((int)(__float_as_uint(most) >> 23) - 127, -100), 126); /* of 0: one that does no harm */
    const float by = __uint_as_float((uint32_t)(127 - exponent) << 23);
    for (int d = lane; d < padded; d += 32) y[placed ? d - lane + place(lane) : d] = __float2half(d < dim ? x[d] * by : 0.f);
    return __uint_as_float((uint32_t)(127 + exponent) << 23);
}

__global__ void round_queries(const float *q, const float *w, int64_t rows, int heads, int dim, int columns, int padded, bool placed, __half *to,
                              float *weight)
{
    const int64_t i = blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32, row = i / columns, head = i % columns;
    if (i >= rows * columns) return;
    const bool there = head < heads;
    const float by = round_row(q + (row * heads + (there ? head : 0)) * dim, there ? dim : 0, padded, placed, to + i * padded);
    if (threadIdx.x % 32 == 0) weight[i] = there ? w[row * heads + head] * by : 0.f;
}

__global__ void round_keys(const float *k, int64_t n, int dim, int padded, __half *to, float *scale)
{
    const int64_t i = blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32;
    if (i >= n) return;
    const float by = round_row(k + i * dim, dim, padded, false, to + i * padded);
    if (threadIdx.x % 32 == 0) scale[i] = by;
}

/* ---- adding up ---- */

__device__ static inline float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

/* The key's score for the row, by one lane of a quad. */
__device__ static inline void put(const job &j, int64_t row, int64_t key, float scale, float sum)
{
    if (row < j.rows && key < j.n) j.score[row * j.n + key] = key <= j.first + row ? scale * sum : -INFINITY;
}

/* Columns n of a thread's part of a tile: keys r (x[0], x[1]) and r + 8 (x[2], x[3]). */
__device__ static inline void bend_and_add(float (&sum)[2], const float *x, float2 w)
{
    sum[0] = fmaf(w.y, fmaxf(x[1], 0.f), fmaf(w.x, fmaxf(x[0], 0.f), sum[0]));
    sum[1] = fmaf(w.y, fmaxf(x[3], 0.f), fmaf(w.x, fmaxf(x[2], 0.f), sum[1]));
}

/* A tile of whole rows of HEADS < 64 columns each, of which `row` is the first; w: the tile's weights. */
template <int HEADS>
__device__ static inline void put_rows(const job &j, const float *x, const float *w, int64_t row, int64_t key, const float (&scale)[2])
{
    const int t = threadIdx.x % 4, EIGHTS = HEADS > 8 ? HEADS / 8 : 1;
#pragma unroll
    for (int n = 0; n < 8; n += EIGHTS) {
        float sum[2] = {};
#pragma unroll
        for (int e = 0; e < EIGHTS; e++) bend_and_add(sum, x + (n + e) * 4, *(const float2 *)(w + (n + e) * 8 + t * 2));
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if (HEADS == 4) {
                sum[h] += __shfl_xor_sync(~0u, sum[h], 1);
                if (t % 2 == 0) put(j, row + n * 2 + t / 2, key + h * 8, scale[h], sum[h]);
            } else {
                sum[h] = quad_sum(sum[h]);
                if (t == 0) put(j, row + n / EIGHTS, key + h * 8, scale[h], sum[h]);
            }
        }
    }
}

/* ---- any chip, any shape ---- */

__device__ static inline void mma_halves(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Rows [first, first + TILE) of x [rows, dim] from d0 on to shared memory, zeros past their end. */
__device__ static inline void stage(__half (*to)[PITCH], const __half *x, int64_t first, int64_t rows, int dim, int d0)
{
    for (int i = threadIdx.x; i < TILE * STEP / 8; i += blockDim.x) {
        const int row = i / (STEP / 8), chunk = i % (STEP / 8);
        const bool there = first + row < rows && d0 + chunk * 8 < dim;
        copy_async(&to[row][chunk * 8], there ? x + (first + row) * dim + d0 + chunk * 8 : x, there);
    }
}

/* A block 64 keys (blockIdx.x) and the rows of 64 columns, or one row of more (blockIdx.y). */
template <int HEADS> __global__ void __launch_bounds__(128) score_tiles(const __grid_constant__ job j)
{
    __shared__ __align__(16) __half q[TILE][PITCH], k[TILE][PITCH];
    __shared__ float w[TILE];
    const int ROWS = TILE / HEADS, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int64_t row0 = blockIdx.y * (int64_t)ROWS, key0 = blockIdx.x * (int64_t)TILE, key = key0 + warp * 16 + lane / 4;
    const int64_t last = min(row0 + ROWS, j.rows) - 1;
    if (key0 > j.first + last) {
        for (int i = threadIdx.x; i < ROWS * TILE; i += blockDim.x) put(j, row0 + i / TILE, key0 + i % TILE, 0, 0);
        return;
    }
    const float scale[2] = {key < j.n ? j.scale[key] : 0.f, key + 8 < j.n ? j.scale[key + 8] : 0.f};
    [[maybe_unused]] float sum[2] = {};
    for (int64_t column = row0 * j.columns; column < row0 * j.columns + max(j.columns, (int)TILE); column += TILE) {
        float x[TILE / 8][4] = {};
        for (int d0 = 0; d0 < j.dim; d0 += STEP) {
            __syncthreads();
            stage(q, j.q, column, j.rows * j.columns, j.dim, d0);
            stage(k, j.k, key0, j.n, j.dim, d0);
            if (d0 == 0 && threadIdx.x < TILE) w[threadIdx.x] = column + threadIdx.x < j.rows * j.columns ? j.w[column + threadIdx.x] : 0.f;
            copy_commit();
            copy_wait<0>();
            __syncthreads();
#pragma unroll
            for (int d = 0; d < STEP; d += 16) {
                uint32_t a[4];
                ldmatrix(a, &k[warp * 16 + lane % 16][d + lane / 16 * 8]);
#pragma unroll
                for (int n = 0; n < TILE / 8; n += 2) {
                    uint32_t b[4];
                    ldmatrix(b, &q[n * 8 + lane % 8 + lane / 16 * 8][d + lane / 8 % 2 * 8]);
                    mma_halves(x[n], a, b[0], b[1]);
                    mma_halves(x[n + 1], a, b[2], b[3]);
                }
            }
        }
        if constexpr (HEADS < TILE) {
            put_rows<HEADS>(j, &x[0][0], w, row0, key, scale);
        } else {
#pragma unroll
            for (int n = 0; n < TILE / 8; n++) bend_and_add(sum, x[n], *(const float2 *)(w + n * 8 + lane % 4 * 2));
        }
    }
    if constexpr (HEADS == TILE) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            sum[h] = quad_sum(sum[h]);
            if (lane % 4 == 0) put(j, row0, key + h * 8, scale[h], sum[h]);
        }
    }
}

/* ---- Hopper ---- */

/* Tiles of 64 columns that a block keeps. */
template <int DIM> static constexpr int TILES_OF = HELD / (TILE * DIM);

/* Whether a warpgroup has two tiles on their way, and how many warpgroups there is room for: where heads are few, the sums take more of the time
 * than the products, and more warps are worth more. */
template <int HEADS> static constexpr bool IN_PAIRS = HEADS == TILE;
template <int HEADS> static constexpr int GROUPS_OF = IN_PAIRS<HEADS> ? 3 : 4;

#ifdef SM90A
/* c[64 x 64] (+)= a · bᵀ, of fp16: a in registers, b in shared memory. */
__device__ static inline void wgmma_halves(float (&c)[32], const uint32_t *a, uint64_t b, int add)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
                 "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
                   "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
                   "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]),
                   "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]),
                   "+f"(c[30]), "+f"(c[31])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

/* Keys key and key + 8 as this thread's fragments of the first operand: numbers [8t, 8t + 8) of each 32 are its part of two products. */
template <int DIM> __device__ static inline void load_keys(uint32_t (&a)[DIM / 4], const job &j, int64_t key)
{
    const __half *low = j.k + min(key, j.n - 1) * DIM + threadIdx.x % 4 * 8, *high = j.k + min(key + 8, j.n - 1) * DIM + threadIdx.x % 4 * 8;
#pragma unroll
    for (int c = 0; c < DIM / 32; c++) {
        const uint4 x = *(const uint4 *)(low + c * 32), y = *(const uint4 *)(high + c * 32);
        a[c * 8] = x.x, a[c * 8 + 1] = y.x, a[c * 8 + 2] = x.y, a[c * 8 + 3] = y.y;
        a[c * 8 + 4] = x.z, a[c * 8 + 5] = y.z, a[c * 8 + 6] = x.w, a[c * 8 + 7] = y.w;
    }
}
#endif

#ifdef SM90A
/* Where a thread's scores go: those of row r and key `key`, r being its own of each four. */
struct outlet {
    float *to;     /* row0 + t of the block's rows */
    int lag, rows; /* row r sees the key if lag <= r - t; rows of the block from t on */
    bool there[2]; /* keys `key` and key + 8 */
    float scale[2];
};

/* Without a branch, which products on their way would be waited for at. */
__device__ static inline void store_if(bool so, float *to, float x)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %0, 0;\n@p st.global.f32 [%1], %2;\n}\n" ::"r"((int)so), "l"(to), "f"(x) : "memory");
}

/* The sums of a quad's parts of rows r … r + 3, each of which one thread of it stores. Twice half of what a thread has goes to another. */
template <int HEADS> __device__ static inline void put_four(const outlet &o, int r, int64_t n, float (&sum)[4][2])
{
    const bool high = threadIdx.x & 2, odd = threadIdx.x & 1;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float mine;
        if (HEADS > 4) { /* rows t and t ^ 1 stay, then row t */
            float two[2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const float kept = high ? sum[i + 2][h] : sum[i][h], given = high ? sum[i][h] : sum[i + 2][h];
                two[i] = kept + __shfl_xor_sync(~0u, given, 2);
            }
            mine = (odd ? two[1] : two[0]) + __shfl_xor_sync(~0u, odd ? two[0] : two[1], 1);
        } else { /* of two columns of 4 heads each: threads 0 and 1 have rows 0 and 2, the others 1 and 3 */
            mine = (odd ? sum[1][h] : sum[0][h]) + __shfl_xor_sync(~0u, odd ? sum[0][h] : sum[1][h], 1);
        }
        store_if(o.there[h] && r < o.rows, o.to + r * n + h * 8, o.lag + h * 8 <= r ? o.scale[h] * mine : -INFINITY);
    }
}

/* Starts c = the keys' product with a tile. */
template <int DIM> __device__ static inline void start(float (&c)[32], const uint32_t (&keys)[DIM / 4], uint64_t tile)
{
    wgmma_fence();
#pragma unroll
    for (int d = 0; d < DIM; d += 16) wgmma_halves(c, keys + d / 4, tile + (d / 64 * TILE * 64 + d % 64) * sizeof(__half) / 16, d > 0);
    wgmma_commit();
}
#endif

/* A block the rows of its tiles (blockIdx.x) and a piece of the keys (blockIdx.y). MANY: a row has several tiles. */
template <int DIM, int HEADS, bool MANY> __global__ void __launch_bounds__(GROUP *GROUPS_OF<HEADS>, 1) score_rows(const __grid_constant__ job j)
{
#ifdef SM90A
    const int GROUPS = GROUPS_OF<HEADS>, TILES = TILES_OF<DIM>, TOGETHER = HEADS == 64 ? 4 : HEADS == 32 ? 2 : 1; /* tiles that four rows, or more, have */
    const int EIGHTS = HEADS > 8 ? HEADS / 8 : 1, FOURS = TILE / HEADS > 4 ? TILE / HEADS / 4 : 1;
    const int A_TILE = TILE * DIM * (int)sizeof(__half) / 16; /* of a descriptor */
    extern __shared__ __align__(1024) unsigned char memory[];
    __half *q = (__half *)memory; /* [tile][half of the numbers][column][64], swizzled */
    float *w = (float *)(q + HELD);
    const int a_row = MANY ? j.columns / TILE : 1;
    const int64_t rows_here = MANY ? TILES / a_row : TILES * (TILE / HEADS), row0 = blockIdx.x * rows_here;
    const int rows = (int)min(rows_here, j.rows - row0), columns = rows * j.columns;
    const int tiles = MANY ? columns / TILE : (columns + TILE * IN_A_ROW - 1) / (TILE * IN_A_ROW) * IN_A_ROW; /* the last ones may be of zeros */
    const int64_t begin = blockIdx.y * j.piece, end = min(begin + j.piece, j.n);
    const int64_t seen = min(end, j.first + row0 + rows); /* keys that any row here sees end there */
    const int number = __shfl_sync(~0u, threadIdx.x / 32, 0), group = number / 4, warp = number % 4; /* known to be a whole warp's */
    const int lane = threadIdx.x % 32, t = lane % 4;
    if (begin < seen) {
        for (int i = threadIdx.x; i < tiles * TILE * (DIM / 8); i += blockDim.x) {
            const int column = i / (DIM / 8), chunk = i % (DIM / 8), row = column % TILE;
            const bool there = column < columns;
            copy_async(q + column / TILE * TILE * DIM + chunk / 8 * TILE * 64 + row * 64 + (chunk % 8 ^ row % 8) * 8,
                       j.q + (row0 * j.columns + (there ? column : 0)) * DIM + chunk * 8, there);
        }
        for (int i = threadIdx.x; i < tiles * TILE; i += blockDim.x) w[i] = i < columns ? j.w[row0 * j.columns + i] : 0.f;
        copy_commit();
        copy_wait<0>();
        fence_async();
    }
    __syncthreads();
    const uint64_t first_tile = descriptor(q, 16, 1024);
    uint32_t keys[DIM / 4], next[DIM / 4];
    int64_t at = begin + group * TILE;
    if (at < seen) load_keys<DIM>(next, j, at + warp * 16 + lane / 4);
    for (; at < seen; at += GROUPS * TILE) {
        const int64_t key = at + warp * 16 + lane / 4;
#pragma unroll
        for (int i = 0; i < DIM / 4; i++) keys[i] = next[i];
        if (at + GROUPS * TILE < seen) load_keys<DIM>(next, j, key + GROUPS * TILE);
        /* Of 4 heads, a thread's row of each four is t / 2 + 2 (t % 2). */
        const int own = MANY ? 0 : HEADS == 4 ? t / 2 + t % 2 * 2 : t;
        const outlet o = {j.score + (row0 + own) * j.n + key, (int)(key - j.first - row0) - own, rows - own, {key < j.n, key + 8 < j.n},
                          {j.scale[min(key, j.n - 1)], j.scale[min(key + 8, j.n - 1)]}};
        if constexpr (MANY) {
            float x[32];
            for (int r = 0, tile = 0; r < rows; r++) {
                float sum[2] = {};
                for (int part = 0; part < a_row; part++, tile++) {
                    start<DIM>(x, keys, first_tile + tile * A_TILE);
                    wgmma_wait<0>();
                    hold(x);
#pragma unroll
                    for (int n = 0; n < TILE / 8; n++) bend_and_add(sum, x + n * 4, *(const float2 *)(w + tile * TILE + n * 8 + t * 2));
                }
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    sum[h] = quad_sum(sum[h]);
                    if (t == 0 && o.there[h]) o.to[r * j.n + h * 8] = o.lag + h * 8 <= r ? o.scale[h] * sum[h] : -INFINITY;
                }
            }
        } else {
            float sum[4][2] = {};
            for (int tile = 0; tile < tiles; tile += IN_A_ROW) {
                auto add = [&]<int AT>(float(&x)[32]) {
                    hold(x);
                    const float *weight = w + (tile + AT) * TILE + t * 2;
#pragma unroll
                    for (int f = 0; f < FOURS; f++) {
#pragma unroll
                        for (int n = 0; n < 8 / FOURS; n++)
                            bend_and_add(sum[HEADS == 4 ? n : (AT * (TILE / HEADS) + n / EIGHTS) % 4], x + (f * (8 / FOURS) + n) * 4,
                                         *(const float2 *)(weight + (f * (8 / FOURS) + n) * 8));
                        if (AT % TOGETHER == TOGETHER - 1) {
                            put_four<HEADS>(o, (tile + AT - AT % TOGETHER) * (TILE / HEADS) + f * 4, j.n, sum);
#pragma unroll
                            for (int i = 0; i < 4; i++) sum[i][0] = sum[i][1] = 0;
                        }
                    }
                };
                const uint64_t from = first_tile + tile * A_TILE;
                const int AHEAD = IN_PAIRS<HEADS> ? 2 : 1; /* tiles on their way: of two, one is multiplied while the other's numbers are added up */
                float x[AHEAD][32];
#pragma unroll
                for (int i = 0; i < AHEAD; i++) start<DIM>(x[i], keys, from + i * A_TILE);
                auto next_tile = [&]<int AT>() {
                    wgmma_wait<AT + 1 < IN_A_ROW ? AHEAD - 1 : 0>();
                    add.template operator()<AT>(x[AT % AHEAD]);
                    if constexpr (AT + AHEAD < IN_A_ROW) start<DIM>(x[AT % AHEAD], keys, from + (AT + AHEAD) * A_TILE);
                };
                next_tile.template operator()<0>(), next_tile.template operator()<1>();
                next_tile.template operator()<2>(), next_tile.template operator()<3>();
            }
        }
    }
    for (; at < end; at += GROUPS * TILE) /* ahead of all rows here */
        for (int i = threadIdx.x % GROUP; i < rows * TILE; i += GROUP) put(j, row0 + i / TILE, at + i % TILE, 0, 0);
#endif
}

/* ---- which ---- */

template <int DIM, int HEADS, bool MANY> static sf_status launch_rows(sf_backend *b, job j)
{
    sf_cuda *c = sf_cuda_of(b);
    const size_t bytes = HELD * sizeof(__half) + TILES_OF<DIM> * TILE * sizeof(float);
    const int64_t rows = MANY ? TILES_OF<DIM> / (j.columns / TILE) : TILES_OF<DIM> * (TILE / HEADS), blocks = ceil_div(j.rows, rows);
    const int64_t pieces = ceil_div<int64_t>(4 * c->sms, blocks), step = GROUPS_OF<HEADS> * TILE; /* few rows: as many blocks as there is room for */
    j.piece = ceil_div(ceil_div(j.n, pieces), step) * step;
    if (j.piece > MOST_KEYS) j.piece = MOST_KEYS;
    SF_TRY(sf_cuda_allow_shared((const void *)score_rows<DIM, HEADS, MANY>, bytes));
    score_rows<DIM, HEADS, MANY><<<dim3((unsigned)blocks, (unsigned)ceil_div(j.n, j.piece)), GROUP * GROUPS_OF<HEADS>, bytes, c->stream>>>(j);
    LAUNCH_TRY(score_rows);
    return SF_OK;
}

template <int HEADS> static sf_status launch(sf_backend *b, const job &j, bool hopper)
{
    if constexpr (HEADS == TILE)
        if (hopper && j.columns > TILE) return j.dim == 64 ? launch_rows<64, TILE, true>(b, j) : launch_rows<128, TILE, true>(b, j);
    if (hopper) return j.dim == 64 ? launch_rows<64, HEADS, false>(b, j) : launch_rows<128, HEADS, false>(b, j);
    const int64_t ahead = ceil_div<int64_t>(j.rows, TILE / HEADS);
    if (ahead > 65535) return sf_fail(SF_UNSUPPORTED, "cuda: index_scores: %lld rows at once", (long long)j.rows);
    score_tiles<HEADS><<<dim3((unsigned)ceil_div<int64_t>(j.n, TILE), (unsigned)ahead), 128, 0, sf_cuda_of(b)->stream>>>(j);
    LAUNCH_TRY(score_tiles);
    return SF_OK;
}

/* Columns of a row: heads, filled up to a power of two, or to whole tiles. */
static int columns_of(int heads)
{
    if (heads > TILE) return ceil_div(heads, (int)TILE) * TILE;
    int columns = 4;
    while (columns < heads) columns *= 2;
    return columns;
}

sf_status sf_cuda_index_scores(sf_backend *b, int64_t rows, int heads, int dim, int64_t first, const float *q, const float *w, const float *k,
                               float *score)
{
    sf_cuda *c = sf_cuda_of(b);
    const int columns = columns_of(heads), held = dim <= 64 ? 64 : 128;
    const bool hopper = c->hopper && dim <= 128 && columns <= HELD / held;
    const int padded = hopper ? held : ceil_div(dim, 16) * 16;
    const int64_t n = first + rows, row_bytes = (int64_t)columns * padded * sizeof(__half);
    int64_t at_once = PIECE / row_bytes > 64 ? PIECE / row_bytes / 64 * 64 : 64;
    if (at_once > 32768) at_once = 32768;
    if (at_once > rows) at_once = rows;
    if (rows > 0 && heads > 0) {
        char *room;
        const int64_t keys = ceil_div<int64_t>(n * padded * sizeof(__half), 256) * 256, scales = ceil_div<int64_t>(n * sizeof(float), 256) * 256,
                      weights = ceil_div<int64_t>(at_once * columns * sizeof(float), 256) * 256;
        SF_TRY(sf_cuda_workspace(b, keys + scales + weights + at_once * row_bytes, (void **)&room));
        job j = {(__half *)(room + keys + scales + weights), (__half *)room, (float *)(room + keys + scales), (float *)(room + keys), score, 0, first, n,
                 columns, padded, 0};
        round_keys<<<(unsigned)ceil_div<int64_t>(n, THREADS / 32), THREADS, 0, c->stream>>>(k, n, dim, padded, (__half *)j.k, (float *)j.scale);
        LAUNCH_TRY(round_keys);
        for (int64_t r = 0; r < rows; r += at_once) {
            j.rows = rows - r < at_once ? rows - r : at_once, j.first = first + r, j.score = score + r * n;
            round_queries<<<(unsigned)ceil_div<int64_t>(j.rows * columns, THREADS / 32), THREADS, 0, c->stream>>>(
                q + r * heads * dim, w + r * heads, j.rows, heads, dim, columns, padded, hopper, (__half *)j.q, (float *)j.w);
            LAUNCH_TRY(round_queries);
            SF_TRY(columns >= TILE  ? launch<64>(b, j, hopper)
                   : columns == 32 ? launch<32>(b, j, hopper)
                   : columns == 16 ? launch<16>(b, j, hopper)
                   : columns == 8  ? launch<8>(b, j, hopper)
                                   : launch<4>(b, j, hopper));
        }
    }
    sf_meter_index_scores(b, rows, heads, dim, first);
    return SF_OK;
}
