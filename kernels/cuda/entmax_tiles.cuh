/* What the two prefill kernels of α-entmax share (entmax_prefill.cu, entmax_many.cu): tiles of rows, tiles of keys, and what the first one leaves
 * to the second. */
#ifndef SF_CUDA_ENTMAX_TILES_CUH
#define SF_CUDA_ENTMAX_TILES_CUH

#include "kernels/cuda/entmax_row.cuh"
#include "kernels/cuda/pattern.cuh"

/* SETS: of 16 rows that a warp takes; VALUES: 1 where it holds those too. */
template <int DIM, int SETS, int VALUES> struct layout {
    static const int ROWS = WARPS * 16 * SETS, KEYS = DIM > 128 ? 32 : 64, PITCH = DIM + 8, CHUNKS = DIM / 8;
    bf16 q[ROWS][PITCH], k[2][KEYS][PITCH], v[VALUES ? 2 : 1][VALUES ? KEYS : 1][PITCH];
    int key[3][KEYS];
    int plain[3][KEYS / 32]; /* whether all rows see all of the tile's keys */
    int run[3][KEYS / 32];   /* whether 32 of them lie one after the other */
    int item;
    sf_cuda_tile tile; /* at hand: in registers it would be in the way of scores */
    unsigned weighed[ROWS]; /* by the heads of a tile */
};

/* A key that is put down. 8 bytes, which are written at once. */
struct __align__(8) listed {
    float value; /* its logit; in the end what it weighs */
    int slot;
};

struct operands {
    const bf16 *q, *k, *v;
    bf16 *out;
    int64_t capacity;
    const int32_t *count; /* [G] keys in use, or NULL */
    float scale, cap;
    normaliser w;
    bool complains;
    uint64_t *weighed; /* [H], or NULL: nobody asks */
    sf_cuda_report *report;
    int *taken;        /* items that blocks have taken of each kernel */
    float2 *left;      /* [T, H] of rows that are left over: largest logit, and a bound; of others the bound is INFINITY */
    int *any_left;
    listed *list;      /* [blocks, 2 · SETS, ROOM, THREADS] */
    uint32_t *flag;    /* [blocks, rounds] tiles that hold something, a byte a warp */
    int rounds;        /* there is room for */
};

/* entmax_many.cu: the rows that are left over, by at most `blocks` blocks. plan: in tiles of layout<DIM, 1, 1>::ROWS. */
sf_status sf_cuda_entmax_many(sf_backend *b, const sf_cuda_plan &plan, int blocks, const operands &o);

/* The scores of SETS · 16 rows, of which s.q has the first, of a warp. */
template <int DIM, int SETS, int TILES>
__device__ static inline void scores_of(float (&s)[SETS][TILES][4], const bf16 *q, const bf16 *k, int pitch)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < SETS; m++)
#pragma unroll
        for (int n = 0; n < TILES; n++) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0.f;
#pragma unroll
    for (int d = 0; d < DIM; d += 16) {
        uint32_t a[SETS][4];
#pragma unroll
        for (int m = 0; m < SETS; m++) ldmatrix(a[m], q + (m * 16 + lane % 16) * pitch + d + lane / 16 * 8);
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t b[4];
            ldmatrix(b, k + (n * 8 + lane % 8 + lane / 16 * 8) * pitch + d + lane / 8 % 2 * 8);
#pragma unroll
            for (int m = 0; m < SETS; m++) mma(s[m][n], a[m], b[0], b[1]), mma(s[m][n + 1], a[m], b[2], b[3]);
        }
    }
}

/* Keys of name `name`, to `stage`. */
template <int DIM, int SETS, int VALUES>
__device__ static inline void load_keys(layout<DIM, SETS, VALUES> &s, int stage, int name, const bf16 *k, const bf16 *v, int D)
{
    typedef layout<DIM, SETS, VALUES> L;
    const int *key = s.key[name];
    if (D == DIM && s.run[name][0] && s.run[name][L::KEYS / 32 - 1] && key[L::KEYS - 32] == key[0] + L::KEYS - 32) { /* most tiles */
        const int row = threadIdx.x / L::CHUNKS, chunk = threadIdx.x % L::CHUNKS;
        const int64_t from = (int64_t)key[0] * DIM + threadIdx.x * 8;
#pragma unroll
        for (int i = 0; i < L::KEYS * L::CHUNKS / THREADS; i++) {
            copy_async(&s.k[stage][row + i * (THREADS / L::CHUNKS)][chunk * 8], k + from + i * THREADS * 8, true);
            if (VALUES && v) copy_async(&s.v[VALUES ? stage : 0][VALUES ? row + i * (THREADS / L::CHUNKS) : 0][chunk * 8], v + from + i * THREADS * 8, true);
        }
        return;
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < L::KEYS * L::CHUNKS; i += THREADS) {
        int row = i / L::CHUNKS, chunk = i % L::CHUNKS, at = key[row];
        int64_t from = (int64_t)max(at, 0) * D;
        copy_chunk(&s.k[stage][row][chunk * 8], k + from, chunk, D, at >= 0);
        if (VALUES && v) copy_chunk(&s.v[VALUES ? stage : 0][VALUES ? row : 0][chunk * 8], v + from, chunk, D, at >= 0);
    }
}

template <int DIM, int SETS, int VALUES>
__device__ static inline void load_queries(layout<DIM, SETS, VALUES> &s, const sf_cuda_plan &p, const sf_cuda_tile &t, const bf16 *q)
{
    typedef layout<DIM, SETS, VALUES> L;
    for (int i = threadIdx.x; i < L::ROWS * L::CHUNKS; i += THREADS) {
        int row = i / L::CHUNKS, query = (t.query + row / p.packed) * p.every, head = t.head + row % p.packed;
        bool valid = row < t.queries * p.packed;
        copy_chunk(&s.q[row][i % L::CHUNKS * 8], valid ? q + ((int64_t)query * p.H + head) * p.D : q, i % L::CHUNKS, p.D, valid);
    }
}

/* Whether rows between two see the key of slot i, all of them. */
__device__ static inline bool all_see(const sf_cuda_plan &p, const sf_cuda_tile &t, const sf_cuda_row &first, const sf_cuda_row &last, int key, int i)
{
    if (key < 0) return false;
    if (p.kind == SF_BANDS) return i < t.split && sf_cuda_all_see(t.band, first, last, key, key + 1);
    bool inside = key >= last.low && key < first.high;
    return inside && (key < p.sinks || key > last.position - p.local || first.position >= p.dense_from);
}

/* A tile of rows as a thread has it: rows warp · 16 · SETS + lane / 4 + 8 r, for 2 · SETS of them, a bit each. */
struct rows_at {
    unsigned live, full; /* full: it sees all its keys, by a list of bands */
};

template <int SETS> __device__ static inline int row_at(int r) { return threadIdx.x / 32 * 16 * SETS + threadIdx.x % 32 / 4 + 8 * r; }

template <int SETS> __device__ static inline rows_at rows_of(const sf_cuda_plan &p, const sf_cuda_tile &t)
{
    rows_at x = {};
#pragma unroll
    for (int r = 0; r < 2 * SETS; r++) {
        const int row = row_at<SETS>(r), at = row / p.packed;
        if (row >= t.queries * p.packed) continue;
        x.live |= 1u << r;
        if (p.kind == SF_BANDS && sf_cuda_full(p, t.selection, t.query + at)) x.full |= 1u << r;
    }
    return x;
}

/* Walks tiles of keys: `next` says which comes at or after a number, `order` which tile that is, `body` gets each tile, its stage and
 * scores, -INFINITY where a row does not see a key. Queries are on their way into s.q. All threads of the block. */
template <int DIM, int SETS, int VALUES, typename Next, typename Order, typename Body>
__device__ static inline void walk(layout<DIM, SETS, VALUES> &s, const sf_cuda_plan &p, const sf_cuda_tile &t, const operands &o,
                                   const rows_at &x, const bf16 *k, const bf16 *v, int used, Next next, Order order, Body body)
{
    typedef layout<DIM, SETS, VALUES> L;
    const int KEYS = L::KEYS, rounds = (t.slots + KEYS - 1) / KEYS, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const sf_cuda_row first = sf_cuda_row_of(p, t.position, false), last = sf_cuda_row_of(p, t.position + (t.queries - 1) * p.every, false);
    auto name_keys = [&](int i, int round) {
        if (threadIdx.x >= KEYS || round >= rounds) return;
        int at = order(round) * KEYS + threadIdx.x, key = sf_cuda_key(p, t, at);
        key = key < used ? key : -1;
        s.key[i % 3][threadIdx.x] = key;
        bool plain = __all_sync(~0u, all_see(p, t, first, last, key, at));
        bool run = __all_sync(~0u, key == __shfl_sync(~0u, key, 0) + lane && key >= 0);
        if (lane == 0) s.plain[i % 3][warp] = plain, s.run[i % 3][warp] = run;
    };
    int at = next(0), after = at < rounds ? next(at + 1) : rounds;
    name_keys(0, at);
    name_keys(1, after);
    __syncthreads();
    if (at < rounds) load_keys<DIM, SETS, VALUES>(s, 0, 0, k, v, p.D);
    copy_commit();
    for (int i = 0; at < rounds; i++) {
        const int later = after < rounds ? next(after + 1) : rounds;
        name_keys(i + 2, later);
        if (after < rounds) load_keys<DIM, SETS, VALUES>(s, (i + 1) % 2, (i + 1) % 3, k, v, p.D);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        float score[SETS][KEYS / 8][4];
        scores_of<DIM, SETS, KEYS / 8>(score, s.q[warp * 16 * SETS], s.k[i % 2][0], L::PITCH);
#pragma unroll
        for (int m = 0; m < SETS; m++) scale_and_cap(score[m], o.scale, o.cap);
        bool plain = s.plain[i % 3][0] && s.plain[i % 3][KEYS / 32 - 1];
        if (!plain) {
            const bool column = order(at) * KEYS >= t.split;
#pragma unroll
            for (int r = 0; r < 2 * SETS; r++) {
                const sf_cuda_row sight = sf_cuda_row_of(p, t.position + row_at<SETS>(r) / p.packed * p.every, x.full >> r & 1);
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                    for (int e = 0; e < 2; e++)
                        if (!sf_cuda_sees_any(p, t, sight, s.key[i % 3][n * 8 + lane % 4 * 2 + e], column)) score[r / 2][n][r % 2 * 2 + e] = -INFINITY;
                }
            }
        }
        body(order(at), i % 2, i % 3, score);
        __syncthreads();
        at = after, after = later;
    }
    copy_wait<0>();
}

/* Takes the next tile of rows, the longest first, into s.tile. Returns whether there is one. */
template <typename L> __device__ static inline bool next_tile(L &s, const sf_cuda_plan &p, int *taken)
{
    __syncthreads();
    if (threadIdx.x == 0) s.item = atomicAdd(taken, 1);
    __syncthreads();
    if (s.item >= p.tiles * p.lists) return false;
    if (threadIdx.x < 32) {
        const sf_cuda_tile t = sf_cuda_tile_of(p, p.tiles - 1 - s.item / p.lists, s.item % p.lists);
        if (threadIdx.x == 0) s.tile = t;
    }
    __syncthreads();
    return true;
}

#endif
