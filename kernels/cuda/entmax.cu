/* Attention whose rows are normalised by α-entmax (Peters et al. 2019, arXiv 1905.05702): prefill, decode, exact probabilities.
 *
 *     p_j = (z_j - τ)+^q, z = (α - 1) logits, q = 1 / (α - 1) >= 1, with the one τ for which they sum to 1
 *
 * z is less the row's largest, so that τ lies in [-1, 0), however large logits are. |(z - τ)+|_q - 1 is convex in τ and falls, so that
 * Newton's method comes up from any τ below its root without passing it; for α = 2 and 1.5 it ends on the root when no key leaves
 * any more (kernels/cpu/entmax.c has the same steps in double).
 *
 * Prefill. A row's τ over some of its keys is at most its τ over all: more keys only take weight away. So one pass over the keys is
 * enough where few of them weigh. It knows a bound of each row below which no key weighs, at first the row's largest logit so far less
 * q; keys above it are put down, in order, and where a thread's room for them is filled, Newton's method over what is there raises the
 * bound and what lies below it goes. A tile of keys of which none passes its row's bound costs its products and a comparison a logit: no
 * exponential, no sum, no value. In the end τ is found among the few, and the values of those that weigh, and of no other key, are
 * gathered and added in fp32.
 *
 * A row of which more keys weigh than its room holds is left to a second kernel, which takes a pass over the keys for each step of
 * Newton's method, from the bound that the first one came to, and one for products with values. It remembers for 16 rows at a time
 * which tiles held something above τ: τ grows, so that later passes leave out all others, and values of none but these are loaded.
 *
 * A row's result depends on the row alone: its bound, its list and its being left over come from its own logits, in the order of its
 * keys; sums over a list are in that order too; what a tile of others adds to it in the second kernel is exactly 0.
 *
 * Decode. Logits of all keys are written down (products on mma.sync, K read once for the heads that share it), a block a head finds τ
 * and lists what weighs, and blocks share out the values of those: V is read of the keys that weigh alone.
 *
 * As sm_90a compiles it, padded head dims of 64, 128 and 256: registers of the first kernel 168, 168 and 151, of the second 176, 234 and
 * 255; it spills 344 bytes at 64 and 128 (128 rows a block), where three blocks run on a multiprocessor; the rest nothing.
 *
 * Measured on one H200 (results/bench/entmax.txt), 1.5-entmax of 16384 tokens, 32/8 heads of 128, beside softmax's prefill of 3.6 ms (on wgmma) and
 * decode of 28 us: prefill 9.2 ms where 2 keys of a row weigh, 19.5 where 22 do, 146 where 202 do, as their rows are left to the second kernel;
 * decode 37, 42 and 57 us. Over 65536 tokens sparsemax takes 2.0 to 3.3 times softmax's 58.6 ms, decode 1.08 times its 77 us. So the zeros
 * give back less than leaving wgmma costs.
 *
 * By count of instructions a tile of 64 keys is 128 products, 48 loads of fragments and some 400 others a warp, 350 more where logits
 * are put down: it is these that limit it, as heads of 64 took as long a tile as those of 128. Next: products on wgmma, whose
 * fragments need no loads; a room of 4 times as many keys for rows of hundreds; several steps of the second kernel by one pass.
 *
 * Test: make test-cuda. Benchmarks: tests/bench_entmax.c; frontier bench attention --entmax 1.5 -d cuda. */
#include "kernels/cuda/decode_slots.cuh"
#include "kernels/cuda/entmax.cuh"
#include "kernels/cuda/pattern.cuh"

extern "C" {
#include "kernels/host.h"
}

enum { THREADS = 128, WARPS = THREADS / 32, STEPS = 40, RAISING = 3 };
enum { RAISED_EACH = 2048 }; /* keys */
enum { ROOM = 128 }; /* keys that a thread puts down of a row, a quarter of the row's */

/* ---- one row's normaliser ---- */

/* Of the power that a weight is, how it is computed. */
enum shape { SQUARES, PLAIN, POWERS };

struct normaliser {
    float by, q; /* α - 1; 1 / (α - 1) */
    shape kind;
};

static normaliser normaliser_of(float alpha)
{
    const double by = (double)alpha - 1;
    return {(float)by, (float)(1 / by), alpha == 1.5f ? SQUARES : alpha == 2 ? PLAIN : POWERS};
}

/* y^q, y > 0. */
__device__ static inline float weight_of(const normaliser &w, float y)
{
    return w.kind == SQUARES ? __fmul_rn(y, y) : w.kind == PLAIN ? y : exp2f(w.q * log2f(y));
}

/* Adds a key with y = z - τ to the sums of y^q and y^(q - 1). */
__device__ static inline void add_key(const normaliser &w, float y, float &total, float &slope)
{
    if (!(y > 0)) return;
    if (w.kind == SQUARES) {
        total = __fmaf_rn(y, y, total), slope = __fadd_rn(slope, y);
    } else if (w.kind == PLAIN) {
        total = __fadd_rn(total, y), slope = __fadd_rn(slope, 1.f);
    } else {
        float lower = exp2f((w.q - 1) * log2f(y));
        total = __fmaf_rn(lower, y, total), slope = __fadd_rn(slope, lower);
    }
}

/* Where Newton's method goes from τ. */
__device__ static inline float next_of(const normaliser &w, float tau, float total, float slope)
{
    if (w.kind == SQUARES) {
        float norm = sqrtf(total);
        return tau + (norm - 1) * norm / slope;
    }
    if (w.kind == PLAIN) return tau + (total - 1) / slope;
    float norm = exp2f(log2f(total) * w.by);
    return tau + (norm - 1) * total / (norm * slope);
}

__device__ static inline float y_of(const normaliser &w, float x, float most, float tau) { return __fmaf_rn(x - most, w.by, -tau); }

/* A logit at or below which no key weighs, by τ over some of the keys, or less; less what rounding may have made of it. */
__device__ static inline float bound_of(const normaliser &w, float most, float tau) { return most + (tau - 4e-6f) * w.q - fabsf(most) * 1e-6f; }

/* τ by such a bound. */
__device__ static inline float tau_of(const normaliser &w, float most, float bound) { return fmaxf(-1.f, (bound - most) * w.by); }

/* The larger, or NaN if one is. */
__device__ static inline float largest(float x, float y)
{
    float z;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
}

/* Over the four threads that share a row of a product; in an order that does not depend on which of them asks. */
__device__ static inline float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ static inline float quad_largest(float x)
{
    x = largest(x, __shfl_xor_sync(~0u, x, 1));
    return largest(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ static inline int quad_sum(int x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ static inline bool quad_any(bool x) { return __ballot_sync(~0u, x) >> (threadIdx.x % 32 / 4 * 4) & 15; }

/* sum[c] += Σ weight · row[lane · DIM/32 + c] over the rows that the first `here` lanes name, in their order; the others name some row that
 * weighs, and weigh 0. For a whole warp. */
template <int DIM> __device__ static inline void add_values(float (&sum)[DIM / 32], const bf16 *row, float weight, int here, int D)
{
    const int EACH = DIM / 32, d = threadIdx.x % 32 * EACH;
    const bool whole = D % EACH == 0;
    for (int i = 0; i < here; i += 8) {
        float own[8];
        __align__(16) bf16 x[8][EACH];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            own[j] = __shfl_sync(~0u, weight, i + j);
            const bf16 *at = (const bf16 *)__shfl_sync(~0u, (unsigned long long)row, i + j) + d;
            if (whole && d < D) {
                if constexpr (EACH == 2) *(uint32_t *)x[j] = *(const uint32_t *)at;
                if constexpr (EACH == 4) *(uint2 *)x[j] = *(const uint2 *)at;
                if constexpr (EACH == 8) *(uint4 *)x[j] = *(const uint4 *)at;
            } else {
#pragma unroll
                for (int c = 0; c < EACH; c++) x[j][c] = d + c < D ? at[c] : __float2bfloat16(0.f);
            }
        }
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int c = 0; c < EACH; c++) sum[c] = __fmaf_rn(own[j], __bfloat162float(x[j][c]), sum[c]);
    }
}

/* ---- prefill: tiles of rows, tiles of keys ---- */

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

/* ---- prefill: what few keys weigh in ---- */

/* A thread's list of a row has its elements THREADS apart. Raises a row's bound by what its list has, and drops what lies at or below it. Returns whether room was made for the keys of `tile` more.
 * For whole warps; nothing happens to rows whose list is not filled. */
__device__ static inline bool raise_bound(const normaliser &w, listed *l, bool filled, float most, int tile, int &count, float &bound)
{
    float tau = tau_of(w, most, bound);
    for (int step = 0; step < RAISING; step++) {
        float total = 0, slope = 0;
        for (int i = 0; filled && i < count; i++) add_key(w, y_of(w, l[i * THREADS].value, most, tau), total, slope);
        total = quad_sum(total), slope = quad_sum(slope);
        float next = next_of(w, tau, total, slope);
        if (next > tau) tau = next;
    }
    if (!filled) return true;
    int kept = 0;
    bound = fmaxf(bound, bound_of(w, most, tau));
    for (int i = 0; i < count; i++) {
        float x = l[i * THREADS].value;
        if (!(x > bound)) continue;
        l[kept * THREADS] = {x, l[i * THREADS].slot};
        kept++;
    }
    count = kept;
    return kept <= ROOM - 2 * tile;
}

/* out = the values of what a row's four lists have, times weight / total. For a whole warp; `first`: the first of its threads. */
template <int DIM>
__device__ static inline void gather(const sf_cuda_plan &p, const sf_cuda_tile &t, const listed *l, int first, int count, float total, const bf16 *v,
                                     bf16 *out)
{
    const int EACH = DIM / 32, lane = threadIdx.x % 32, d = lane * EACH;
    int until[4], n = 0;
    float sum[EACH] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) until[i] = n += __shfl_sync(~0u, count, first + i);
    const float share = n ? 1 / __shfl_sync(~0u, total, first) : 0;
    for (int from = 0; from < n; from += 32) {
        const int e = min(from + lane, n - 1), of = (e >= until[0]) + (e >= until[1]) + (e >= until[2]),
                  at = (e - (of == 0 ? 0 : of == 1 ? until[0] : of == 2 ? until[1] : until[2])) * THREADS + first + of - lane;
        const listed found = l[at];
        add_values<DIM>(sum, v + (int64_t)sf_cuda_key(p, t, found.slot) * p.D, from + lane < n ? found.value : 0, min(32, n - from), p.D);
    }
#pragma unroll
    for (int c = 0; c < EACH; c++)
        if (d + c < p.D) out[d + c] = __float2bfloat16(sum[c] * share);
}

template <int DIM, int SETS>
__global__ void __launch_bounds__(THREADS, DIM <= 128 ? 3 : 2)
    entmax_few(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ operands o)
{
    typedef layout<DIM, SETS, 0> L;
    extern __shared__ __align__(128) unsigned char shared[];
    L &s = *(L *)shared;
    const int ROWS = L::ROWS, KEYS = L::KEYS, OWN = 2 * SETS, TILE = KEYS / 4, lane = threadIdx.x % 32;
    const normaliser w = o.w;
    listed *const lists = o.list + (int64_t)blockIdx.x * OWN * ROOM * THREADS + threadIdx.x;
    auto list_of = [&](int r) { return lists + r * (ROOM * THREADS); };
    for (;;) {
        if (!next_tile(s, p, o.taken)) return;
        const sf_cuda_tile &t = s.tile;
        if (t.queries == 0) continue;
        const int g = t.head / p.group, used = o.count ? o.count[g] : p.N;
        const bf16 *k = o.k + g * o.capacity * p.D, *v = o.v + g * o.capacity * p.D;
        load_queries<DIM, SETS, 0>(s, p, t, o.q);
        for (int i = threadIdx.x; i < ROWS; i += THREADS) s.weighed[i] = 0;
        const rows_at x = rows_of<SETS>(p, t);

        float most[OWN], bound[OWN], low[OWN]; /* low: the bound of a row that is left over, which `bound` then is not */
        int count[OWN];
        bool whole[OWN]; /* its list has all that may weigh */
#pragma unroll
        for (int r = 0; r < OWN; r++) {
            most[r] = bound[r] = x.live >> r & 1 ? -INFINITY : INFINITY, low[r] = INFINITY;
            count[r] = 0, whole[r] = x.live >> r & 1;
        }
        /* First what begins at key 0, where sinks are, then from the latest key back: what draws a row most is soon known, and its bound
         * high. It is an order of keys, whatever rows share the tile. */
        const int rounds = (t.slots + KEYS - 1) / KEYS, sunk = p.kind == SF_BLOCKS || (t.slots && sf_cuda_key(p, t, 0) == 0);
        walk<DIM, SETS, 0>(
            s, p, t, o, x, k, NULL, used, [](int at) { return at; }, [&](int at) { return at < sunk ? 0 : rounds - 1 + sunk - at; },
            [&](int round, int, int names, float(&score)[SETS][KEYS / 8][4]) {
                float top[OWN];
                bool hit = false;
#pragma unroll
                for (int r = 0; r < OWN; r++) {
                    top[r] = largest(score[r / 2][0][r % 2 * 2], score[r / 2][0][r % 2 * 2 + 1]);
#pragma unroll
                    for (int n = 1; n < KEYS / 8; n++) top[r] = largest(top[r], largest(score[r / 2][n][r % 2 * 2], score[r / 2][n][r % 2 * 2 + 1]));
                    hit |= !(top[r] <= bound[r]);
                }
                /* Each so many keys bounds are raised, and lists shortened, where they are: rows that see some of this tile. */
                const int place = p.kind == SF_BLOCKS || p.kind == SF_COLUMNS_DIAGONALS ? round : s.key[names][0] / KEYS;
                const bool due = place % (RAISED_EACH / KEYS) == 0;
                if (!due && !__any_sync(~0u, hit)) return;
                bool full = false, higher = false;
#pragma unroll
                for (int r = 0; r < OWN; r++) higher |= !(top[r] <= most[r]);
                if (__any_sync(~0u, higher)) {
#pragma unroll
                    for (int r = 0; r < OWN; r++) {
                        const float now = quad_largest(top[r]);
                        if (!(x.live >> r & 1)) continue;
                        if (isnan(now)) most[r] = now, bound[r] = INFINITY;
                        if (now > most[r]) {
                            most[r] = now;
                            bound[r] = whole[r] ? fmaxf(bound[r], bound_of(w, now, -1)) : now;
                        }
                    }
                }
                /* Of 2048 logits of a warp's tile a few pass: pairs of them are looked at by each thread for itself. */
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                    for (int r = 0; r < OWN; r++) {
                        const float z[2] = {score[r / 2][n][r % 2 * 2], score[r / 2][n][r % 2 * 2 + 1]};
                        if (!(z[0] > bound[r] || z[1] > bound[r])) continue;
#pragma unroll
                        for (int e = 0; e < 2; e++)
                            if (z[e] > bound[r]) lists[(r * ROOM + count[r]++) * THREADS] = {z[e], round * KEYS + n * 8 + lane % 4 * 2 + e};
                    }
                }
#pragma unroll
                for (int r = 0; r < OWN; r++) full |= count[r] > ROOM - TILE;
                if (!due && !__any_sync(~0u, full)) return;
#pragma unroll 1
                for (int r = 0; r < OWN; r++) { /* arrays by a constant: by `r` they would go to memory */
#pragma unroll
                    for (int c = 0; c < OWN; c++) {
                        if (c != r) continue;
                        const bool filled = quad_any(whole[c] && (count[c] > ROOM - TILE || (due && top[c] > -INFINITY)));
                        if (!__any_sync(~0u, filled)) continue;
                        const bool room = raise_bound(w, list_of(c), filled, most[c], TILE, count[c], bound[c]);
                        if (quad_any(!room)) whole[c] = false, low[c] = bound[c], bound[c] = most[c], count[c] = 0;
                    }
                }
            });

        bool left = false;
#pragma unroll
        for (int r = 0; r < OWN; r++) left |= (x.live >> r & 1) && !whole[r] && !isnan(most[r]);
        left = __syncthreads_or(left);
        if (left && threadIdx.x == 0) *o.any_left = 1;
#pragma unroll
        for (int r = 0; r < OWN; r++) {
            /* τ, among the row's own */
            const int row = row_at<SETS>(r);
            float tau = tau_of(w, most[r], bound[r]), total = 0;
            const bool live = x.live >> r & 1;
            listed *const l = list_of(r);
            bool done = !live || !whole[r] || isnan(most[r]) || most[r] == -INFINITY;
            if (done) count[r] = 0;
            for (int step = 0; step < STEPS; step++) {
                float sum = 0, slope = 0;
                for (int i = 0; !done && i < count[r]; i++) add_key(w, y_of(w, l[i * THREADS].value, most[r], tau), sum, slope);
                sum = quad_sum(sum), slope = quad_sum(slope);
                const float next = next_of(w, tau, sum, slope);
                if (!done && next > tau) tau = next;
                else done = true;
                if (__all_sync(~0u, done)) break;
            }
            int kept = 0;
            for (int i = 0; i < count[r]; i++) {
                const float y = y_of(w, l[i * THREADS].value, most[r], tau);
                if (!(y > 0)) continue;
                const float weight = weight_of(w, y);
                l[kept * THREADS] = {weight, l[i * THREADS].slot};
                total = __fadd_rn(total, weight);
                kept++;
            }
            total = quad_sum(total);
            const int all = quad_sum(kept), query = (t.query + row / p.packed) * p.every, head = t.head + row % p.packed;
            if (lane % 4 == 0 && live) {
                if (all) atomicAdd(&s.weighed[row % p.packed], all);
                if (o.complains && most[r] == -INFINITY) sf_raise(o.report, SF_FAULT_EMPTY_ROW, p.layer, head, query);
                o.left[(int64_t)query * p.H + head] = make_float2(most[r], isnan(most[r]) ? INFINITY : low[r]);
            }
            __syncwarp();
            const bool mine = live && (whole[r] || isnan(most[r]));
            if (isnan(most[r])) total = most[r];
            for (int i = 0; i < 8; i++) {
                if (!__shfl_sync(~0u, mine, i * 4)) continue;
                const int row_query = __shfl_sync(~0u, query, i * 4), row_head = __shfl_sync(~0u, head, i * 4);
                bf16 *to = o.out + ((int64_t)row_query * p.H + row_head) * p.D;
                if (isnan(__shfl_sync(~0u, total, i * 4))) {
                    for (int d = lane; d < p.D; d += 32) to[d] = __float2bfloat16(NAN);
                } else {
                    gather<DIM>(p, t, l, i * 4, kept, total, v, to);
                }
            }
            __syncwarp(); /* before a row of the next tile is put down where this one's was read */
        }
        __syncthreads();
        if (o.weighed)
            for (int i = threadIdx.x; i < p.packed; i += THREADS)
                if (s.weighed[i]) atomicAdd((unsigned long long *)o.weighed + t.head + i, (unsigned long long)s.weighed[i]);
    }
}

/* ---- prefill: what many keys weigh in ---- */

template <int DIM>
__global__ void __launch_bounds__(THREADS, 2) entmax_many(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ operands o)
{
    typedef layout<DIM, 1, 1> L;
    extern __shared__ __align__(128) unsigned char shared[];
    L &s = *(L *)shared;
    const int KEYS = L::KEYS, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const normaliser w = o.w;
    uint32_t *flag = o.flag + (int64_t)blockIdx.x * o.rounds;
    if (!*o.any_left) return;
    for (;;) {
        if (!next_tile(s, p, o.taken + 1)) return;
        const sf_cuda_tile &t = s.tile;
        if (t.queries == 0) continue;
        rows_at x = rows_of<1>(p, t);
        float most[2], tau[2];
        int query[2], head[2];
        bool done[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            query[r] = (t.query + row_at<1>(r) / p.packed) * p.every, head[r] = t.head + row_at<1>(r) % p.packed;
            const float2 left = x.live >> r & 1 ? o.left[(int64_t)query[r] * p.H + head[r]] : make_float2(0, INFINITY);
            done[r] = left.y == INFINITY;
            if (done[r]) x.live &= ~(1u << r);
            most[r] = left.x, tau[r] = !done[r] ? tau_of(w, left.x, left.y) : INFINITY; /* above it nothing is */
        }
        if (!__syncthreads_or(x.live)) continue;
        const int g = t.head / p.group, used = o.count ? o.count[g] : p.N, rounds = (t.slots + KEYS - 1) / KEYS;
        const bf16 *k = o.k + g * o.capacity * p.D, *v = o.v + g * o.capacity * p.D;
        load_queries<DIM, 1, 1>(s, p, t, o.q);
        for (int i = threadIdx.x; i < L::ROWS; i += THREADS) s.weighed[i] = 0;
        bool first = true;
        auto flagged = [&](int from) {
            if (first) return from;
            for (; from < rounds; from += 32) {
                const unsigned on = __ballot_sync(~0u, from + lane < rounds && flag[from + lane]);
                if (on) return from + __ffs(on) - 1;
            }
            return rounds;
        };
        for (int step = 0; step < STEPS; step++) {
            float total[2] = {0, 0}, slope[2] = {0, 0};
            walk<DIM, 1, 1>(s, p, t, o, x, k, NULL, used, flagged, [](int at) { return at; }, [&](int round, int, int, float(&score)[1][KEYS / 8][4]) {
                bool any = false;
                float part[2] = {0, 0}, steep[2] = {0, 0}; /* of this tile: short sums */
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        const float y = fmaxf(0, y_of(w, score[0][n][i], most[i / 2], tau[i / 2]));
                        any |= y > 0;
                        if (w.kind == SQUARES) part[i / 2] = __fmaf_rn(y, y, part[i / 2]), steep[i / 2] = __fadd_rn(steep[i / 2], y); /* 0 adds nothing */
                        else add_key(w, y, part[i / 2], steep[i / 2]);
                    }
                }
#pragma unroll
                for (int r = 0; r < 2; r++) total[r] = __fadd_rn(total[r], part[r]), slope[r] = __fadd_rn(slope[r], steep[r]);
                any = __any_sync(~0u, any);
                if (lane == 0) ((uint8_t *)(flag + round))[warp] = any;
            });
            first = false;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const float next = next_of(w, tau[r], quad_sum(total[r]), quad_sum(slope[r]));
                /* It squares what τ lacks, beside the largest y: after a step of a thousandth a pass more would not be seen. */
                const bool moves = !done[r] && next > tau[r];
                done[r] = !moves || next - tau[r] < -1e-3f * next;
                if (moves) tau[r] = next;
            }
            if (!__syncthreads_or(!done[0] || !done[1])) break;
        }
        float total[2] = {0, 0}, out[DIM / 8][4] = {};
        int weighed[2] = {0, 0};
        walk<DIM, 1, 1>(s, p, t, o, x, k, v, used, flagged, [](int at) { return at; }, [&](int, int stage, int, float(&score)[1][KEYS / 8][4]) {
            float part[2] = {0, 0};
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float y = y_of(w, score[0][n][i], most[i / 2], tau[i / 2]);
                    score[0][n][i] = y > 0 ? weight_of(w, y) : 0;
                    weighed[i / 2] += y > 0;
                    part[i / 2] = __fadd_rn(part[i / 2], score[0][n][i]);
                }
            }
#pragma unroll
            for (int r = 0; r < 2; r++) total[r] = __fadd_rn(total[r], part[r]);
#pragma unroll
            for (int n = 0; n < KEYS / 8; n += 2) {
                uint32_t a[4] = {pack(score[0][n][0], score[0][n][1]), pack(score[0][n][2], score[0][n][3]),
                                 pack(score[0][n + 1][0], score[0][n + 1][1]), pack(score[0][n + 1][2], score[0][n + 1][3])};
                if (!__any_sync(~0u, a[0] | a[1] | a[2] | a[3])) continue; /* 16 keys that weigh nothing: adding them would change nothing */
#pragma unroll
                for (int d = 0; d < DIM; d += 16) {
                    uint32_t b[4];
                    ldmatrix_transposed(b, &s.v[stage][n * 8 + lane % 16][d + lane / 16 * 8]);
                    mma(out[d / 8], a, b[0], b[1]);
                    mma(out[d / 8 + 1], a, b[2], b[3]);
                }
            }
        });
#pragma unroll
        for (int r = 0; r < 2; r++) {
            total[r] = quad_sum(total[r]), weighed[r] = quad_sum(weighed[r]);
            if (!(x.live >> r & 1)) continue;
            if (lane % 4 == 0) atomicAdd(&s.weighed[row_at<1>(r) % p.packed], weighed[r]);
            const float share = 1 / total[r];
            bf16 *to = o.out + ((int64_t)query[r] * p.H + head[r]) * p.D;
#pragma unroll
            for (int d = 0; d < DIM / 8; d++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    int at = d * 8 + lane % 4 * 2 + e;
                    if (at < p.D) to[at] = __float2bfloat16(out[d][r * 2 + e] * share);
                }
            }
        }
        __syncthreads();
        if (o.weighed)
            for (int i = threadIdx.x; i < p.packed; i += THREADS)
                if (s.weighed[i]) atomicAdd((unsigned long long *)o.weighed + t.head + i, (unsigned long long)s.weighed[i]);
    }
}

template <int DIM, int SETS>
static sf_status queue_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, bf16 *out)
{
    typedef layout<DIM, SETS, 0> few;
    typedef layout<DIM, 1, 1> many;
    sf_cuda *c = sf_cuda_of(b);
    const int64_t rows = (int64_t)a->queries * a->heads, named = pattern->first.stride * (pattern->kind == SF_BLOCKS ? pattern->block_k : 1);
    const int blocks = c->sms * (DIM <= 128 ? 3 : 2), rest = c->sms * 2, /* as many as run at once */
              rounds = (int)ceil_div<int64_t>(2 * (int64_t)a->keys + 2048 + named, many::KEYS);
    const size_t lists = (size_t)blocks * 2 * SETS * ROOM * THREADS;
    sf_cuda_plan plan, whole;
    char *room;
    operands o = {};
    SF_TRY(sf_cuda_plan_make(b, a, pattern, SF_SHARE_ALL, few::ROWS,
                             256 + rows * sizeof *o.left + lists * sizeof *o.list + (size_t)rest * rounds * sizeof *o.flag, &plan,
                             (void **)&room));
    whole = plan;
    if (SETS > 1) SF_TRY(sf_cuda_plan_make(b, a, pattern, SF_SHARE_ALL, many::ROWS, 0, &whole, NULL));
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    o.q = (const bf16 *)a->q, o.k = (const bf16 *)a->kv.prompt.k, o.v = (const bf16 *)a->kv.prompt.v, o.out = out;
    o.capacity = a->kv.prompt.capacity, o.count = a->kv.prompt.count;
    o.scale = a->scale, o.cap = a->softcap, o.w = normaliser_of(a->alpha);
    o.complains = !pattern->empty, o.weighed = a->weighed, o.report = c->report;
    o.taken = (int *)room, o.any_left = o.taken + 2;
    o.left = (float2 *)(room + 256);
    o.list = (listed *)(o.left + rows), o.flag = (uint32_t *)(o.list + lists);
    o.rounds = rounds;
    CUDA_TRY(cudaMemsetAsync(room, 0, 256, c->stream));
    SF_TRY(sf_cuda_allow_shared((const void *)entmax_few<DIM, SETS>, sizeof(few)));
    SF_TRY(sf_cuda_allow_shared((const void *)entmax_many<DIM>, sizeof(many)));
    const int items = plan.tiles * plan.lists, tiles = whole.tiles * whole.lists;
    entmax_few<DIM, SETS><<<items < blocks ? items : blocks, THREADS, sizeof(few), c->stream>>>(plan, o);
    LAUNCH_TRY(entmax_few);
    entmax_many<DIM><<<tiles < rest ? tiles : rest, THREADS, sizeof(many), c->stream>>>(whole, o);
    LAUNCH_TRY(entmax_many);
    c->pending = c->awaited = true;
    return SF_OK;
}

/* What both executors ask of α and of the pattern. */
static sf_status refuse(const sf_attention *a, const sf_pattern *pattern)
{
    SF_TRY(sf_host_entmax(a, pattern));
    if (a->alpha > 1.001f) return SF_OK;
    return sf_fail(SF_UNSUPPORTED, "cuda: layer %d: %g-entmax: powers of 1000 and more want more digits than fp32 has; run it on cpu", a->layer,
                   (double)a->alpha);
}

template <int DIM> static sf_status prefill_of(sf_backend *b, const sf_attention *a, const sf_pattern *p, bf16 *out)
{
    const bool tall = DIM <= 128 && (p->kind == SF_DENSE || p->kind == SF_WINDOW || p->kind == SF_BANDS);
    if constexpr (DIM <= 128)
        if (tall) return queue_prefill<DIM, 2>(b, a, p, out);
    return queue_prefill<DIM, 1>(b, a, p, out);
}

sf_status sf_cuda_entmax_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, bf16 *out)
{
    SF_TRY(refuse(a, pattern));
    return BY_HEAD_DIM(a->head_dim, prefill_of, b, a, pattern, out);
}

/* ---- decode ------------------------------------------------------------------------------------------------------- */

enum { LANES = 16, FEW_LANES = 3, HEADS = 16, TILE_KEYS = 64, TILES_A_BLOCK = 8, FINDERS = 1024, SPLITS = 16, SPLIT_LEAST = 64 };

/* What is asked of a lane. Rooms are [H, room] from `at` on. */
struct asked {
    query x;
    uint64_t *weighed;
    int64_t at;
    int room, each; /* each: query heads that read the same keys */
};

/* Few lanes, among a kernel's arguments; more are sent to the device first. */
struct few_lanes {
    asked lane[FEW_LANES];
    __device__ const asked &operator[](int i) const { return lane[i]; }
};
static_assert(sizeof(few_lanes) < 3800, "room for a kernel's arguments");

struct rooms {
    float *logit, *weight; /* weight, at: of what weighs, one after the other */
    int *slot, *at;
    float *most; /* [lanes, H, stretches] largest logits */
    int *count;  /* [lanes, H] how many weigh; -1: the row is not a number */
    float *part; /* [lanes, H, SPLITS, D] */
    int stretches;
};

template <int DIM> struct step_layout {
    static const int PITCH = DIM + 8, CHUNKS = DIM / 8, STAGES = DIM > 128 ? 2 : 3;
    bf16 q[HEADS][PITCH], k[STAGES][TILE_KEYS][PITCH];
    const bf16 *row[STAGES + 1][TILE_KEYS];
    float most[WARPS][HEADS];
    unsigned long long pairs;
};

/* Logits of some slots of the heads that read them. Grid: stretches of slots x (readers x sixteens of heads) x lanes. */
template <int DIM, typename Lanes>
__global__ void __launch_bounds__(THREADS) entmax_logits(const __grid_constant__ Lanes lanes, const __grid_constant__ rooms o, int sixteens)
{
    sf_begin();
    typedef step_layout<DIM> L;
    extern __shared__ __align__(128) unsigned char shared[];
    L &s = *(L *)shared;
    const asked &a = lanes[blockIdx.z];
    const query &x = a.x;
    const int reader = blockIdx.y / sixteens, head = reader * a.each + blockIdx.y % sixteens * HEADS, warp = threadIdx.x / 32,
              lane = threadIdx.x % 32, heads = min((int)HEADS, (reader + 1) * a.each - head);
    if (heads <= 0 || head >= x.H) return;
    const slots of = slots_of(x, x.term[0], head);
    const int begin = blockIdx.x * TILES_A_BLOCK * TILE_KEYS, end = min(of.all, begin + TILES_A_BLOCK * TILE_KEYS);
    if (begin >= end) return;
    const int tiles = (end - begin + TILE_KEYS - 1) / TILE_KEYS;
    if (threadIdx.x == 0) s.pairs = 0;
    for (int i = threadIdx.x; i < HEADS * L::CHUNKS; i += THREADS) {
        const int row = i / L::CHUNKS;
        copy_chunk(&s.q[row][i % L::CHUNKS * 8], x.q + (int64_t)(head + (row < heads ? row : 0)) * x.D, i % L::CHUNKS, x.D, row < heads);
    }
    int seen = 0;
    auto name_keys = [&](int tile) {
        if (threadIdx.x >= TILE_KEYS || tile >= tiles) return;
        const bf16 *row = find<false>(x, x.term[0], of, head, begin + tile * TILE_KEYS + threadIdx.x, end).k;
        s.row[tile % (L::STAGES + 1)][threadIdx.x] = row;
        seen += row != NULL;
    };
    auto load_tile = [&](int tile) {
        if (tile < tiles) {
            for (int i = threadIdx.x; i < TILE_KEYS * L::CHUNKS; i += THREADS) {
                const int n = i / L::CHUNKS, chunk = i % L::CHUNKS;
                const bf16 *row = s.row[tile % (L::STAGES + 1)][n];
                copy_chunk(&s.k[tile % L::STAGES][n][chunk * 8], row ? row : x.q, chunk, x.D, row != NULL);
            }
        }
        copy_commit();
    };
    for (int i = 0; i < L::STAGES; i++) name_keys(i);
    __syncthreads();
    for (int i = 0; i + 1 < L::STAGES; i++) load_tile(i);
    float most[2] = {-INFINITY, -INFINITY};
    for (int tile = 0; tile < tiles; tile++) {
        name_keys(tile + L::STAGES);
        load_tile(tile + L::STAGES - 1);
        copy_wait<L::STAGES - 1>();
        __syncthreads();
        float score[2][4];
        warp_scores<DIM, 2>(score, s.q[0], s.k[tile % L::STAGES][warp * 16], L::PITCH);
        scale_and_cap(score, x.scale, x.cap);
#pragma unroll
        for (int n = 0; n < 2; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int key = warp * 16 + n * 8 + lane % 4 * 2 + i % 2, row = lane / 4 + i / 2 * 8, slot = begin + tile * TILE_KEYS + key;
                const float z = s.row[tile % (L::STAGES + 1)][key] ? score[n][i] : -INFINITY;
                most[i / 2] = largest(most[i / 2], z);
                if (row < heads && slot < end) o.logit[a.at + (int64_t)(head + row) * a.room + slot] = z;
            }
        }
        __syncthreads();
    }
    copy_wait<0>();
#pragma unroll
    for (int r = 0; r < 2; r++) {
        most[r] = quad_largest(most[r]);
        if (lane % 4 == 0) s.most[warp][lane / 4 + r * 8] = most[r];
    }
    __syncthreads();
    if (threadIdx.x < heads) {
        float top = s.most[0][threadIdx.x];
        for (int i = 1; i < WARPS; i++) top = largest(top, s.most[i][threadIdx.x]);
        o.most[((int64_t)blockIdx.z * x.H + head + threadIdx.x) * o.stretches + blockIdx.x] = top;
    }
    if (!x.pairs) return;
    if (seen) atomicAdd(&s.pairs, (unsigned long long)seen);
    __syncthreads();
    if (threadIdx.x < heads) atomicAdd((unsigned long long *)x.pairs + head + threadIdx.x, s.pairs);
}

/* What weighs, of one head of a lane: τ over what lies within q of the largest logit. Grid: heads x lanes. */
template <typename Lanes>
__global__ void __launch_bounds__(FINDERS, 1)
    entmax_find(const __grid_constant__ Lanes lanes, const __grid_constant__ rooms o, const normaliser w, sf_cuda_report *report)
{
    sf_begin();
    __shared__ float sums[2][32];
    __shared__ int before[33];
    const asked &a = lanes[blockIdx.y];
    const query &x = a.x;
    const int h = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, n = slots_of(x, x.term[0], h).all,
              chunk = (n + FINDERS - 1) / FINDERS * 32, from = warp * chunk, end = min(n, from + chunk);
    const int64_t at = a.at + (int64_t)h * a.room;
    const float *tops = o.most + ((int64_t)blockIdx.y * x.H + h) * o.stretches;
    float most = -INFINITY;
    for (int i = threadIdx.x; i * TILES_A_BLOCK * TILE_KEYS < n; i += FINDERS) most = largest(most, tops[i]);
    for (int i = 16; i; i >>= 1) most = largest(most, __shfl_xor_sync(~0u, most, i));
    if (lane == 0) sums[0][warp] = most;
    __syncthreads();
    most = sums[0][lane];
    for (int i = 16; i; i >>= 1) most = largest(most, __shfl_xor_sync(~0u, most, i));
    __syncthreads();
    const float bound = bound_of(w, most, -1);
    int *count = o.count + blockIdx.y * x.H + h;
    if (most == -INFINITY || isnan(most)) {
        if (threadIdx.x == 0) *count = isnan(most) ? -1 : 0;
        if (threadIdx.x == 0 && x.complains && most == -INFINITY) sf_raise(report, SF_FAULT_EMPTY_ROW, x.layer, h, 0);
        return;
    }
    float *logit = o.logit + at;
    int *slot = o.slot + at, some = 0; /* a warp's own, from `from` on, in order */
    for (int i = from; i < end; i += 128) {
        float z[4];
#pragma unroll
        for (int j = 0; j < 4; j++) z[j] = i + j * 32 + lane < end ? logit[i + j * 32 + lane] : -INFINITY;
        __syncwarp(); /* all is read that what is written now may overwrite */
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const unsigned kept = __ballot_sync(~0u, z[j] > bound);
            if (kept >> lane & 1) {
                const int to = from + some + __popc(kept & ((1u << lane) - 1));
                logit[to] = z[j], slot[to] = i + j * 32 + lane;
            }
            some += __popc(kept);
        }
    }
    __syncwarp();
    float tau = -1;
    for (int step = 0; step < STEPS; step++) {
        float total = 0, slope = 0;
        for (int i = lane; i < some; i += 32) add_key(w, y_of(w, logit[from + i], most, tau), total, slope);
        total = warp_sum(total), slope = warp_sum(slope);
        if (lane == 0) sums[0][warp] = total, sums[1][warp] = slope;
        __syncthreads();
        total = warp_sum(sums[0][lane]), slope = warp_sum(sums[1][lane]);
        const float next = next_of(w, tau, total, slope);
        __syncthreads();
        if (!(next > tau + 1e-7f)) break; /* known alike to all threads */
        tau = next;
    }
    int kept = 0;
    float total = 0;
    for (int i = 0; i < some; i += 32) {
        const float y = i + lane < some ? y_of(w, logit[from + i + lane], most, tau) : 0;
        if (y > 0) total = __fadd_rn(total, weight_of(w, y));
        kept += __popc(__ballot_sync(~0u, y > 0));
    }
    total = warp_sum(total);
    if (lane == 0) sums[0][warp] = total, before[warp] = kept;
    __syncthreads();
    total = warp_sum(sums[0][lane]);
    int to = before[lane];
    for (int i = 1; i < 32; i *= 2) {
        const int other = __shfl_up_sync(~0u, to, i);
        if (lane >= i) to += other;
    }
    const int all = __shfl_sync(~0u, to, 31);
    to = __shfl_sync(~0u, to, warp) - kept;
    for (int i = 0; i < some; i += 32) {
        const float y = i + lane < some ? y_of(w, logit[from + i + lane], most, tau) : 0;
        const unsigned weighs = __ballot_sync(~0u, y > 0);
        if (y > 0) {
            const int place = to + __popc(weighs & ((1u << lane) - 1));
            o.weight[at + place] = weight_of(w, y) / total, o.at[at + place] = slot[from + i + lane];
        }
        to += __popc(weighs);
    }
    if (threadIdx.x == 0) {
        *count = all;
        if (a.weighed) a.weighed[h] += all;
    }
}

/* How many of what weighs a block takes. */
__device__ static inline int split_of(int count) { return max((int)SPLIT_LEAST, (count + SPLITS - 1) / SPLITS); }

/* Grid: SPLITS x heads x lanes. */
template <int DIM, typename Lanes>
__global__ void __launch_bounds__(THREADS) entmax_values(const __grid_constant__ Lanes lanes, const __grid_constant__ rooms o)
{
    sf_begin();
    __shared__ float part[WARPS][DIM];
    const int EACH = DIM / 32;
    const asked &a = lanes[blockIdx.z];
    const query &x = a.x;
    const int h = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32, count = o.count[blockIdx.z * x.H + h], split = split_of(count),
              begin = blockIdx.x * split, end = min(count, begin + split);
    if (begin >= end) return;
    const slots of = slots_of(x, x.term[0], h);
    const int64_t at = a.at + (int64_t)h * a.room;
    float sum[EACH] = {};
    const int own = (end - begin + WARPS - 1) / WARPS, until = min(end, begin + (warp + 1) * own);
    for (int i = begin + warp * own; i < until; i += 32) {
        const int e = min(i + lane, until - 1);
        const bf16 *row = find<false>(x, x.term[0], of, h, o.at[at + e], of.all).v;
        add_values<DIM>(sum, row, i + lane < until ? o.weight[at + e] : 0, min(32, until - i), x.D);
    }
#pragma unroll
    for (int c = 0; c < EACH; c++) part[warp][lane * EACH + c] = sum[c];
    __syncthreads();
    for (int d = threadIdx.x; d < x.D; d += THREADS)
        o.part[(((int64_t)blockIdx.z * x.H + h) * SPLITS + blockIdx.x) * x.D + d] = part[0][d] + part[1][d] + part[2][d] + part[3][d];
}

/* Grid: heads x lanes. */
template <typename Lanes> __global__ void entmax_join(const __grid_constant__ Lanes lanes, const __grid_constant__ rooms o)
{
    sf_begin();
    const query &x = lanes[blockIdx.y].x;
    const int h = blockIdx.x, count = o.count[blockIdx.y * x.H + h], splits = count > 0 ? (count + split_of(count) - 1) / split_of(count) : 0;
    for (int d = threadIdx.x; d < x.D; d += blockDim.x) {
        float sum = count < 0 ? NAN : 0;
        for (int i = 0; i < splits; i++) sum += o.part[(((int64_t)blockIdx.y * x.H + h) * SPLITS + i) * x.D + d];
        x.out[(int64_t)h * x.D + d] = __float2bfloat16(sum);
    }
}

/* Slots that one head can have, at most. */
static int64_t most_slots(const sf_attention *a, const sf_pattern *p)
{
    if (p->kind == SF_PAGES) return p->first.stride * p->page;
    if (p->kind == SF_BANDS) return (int64_t)SF_STRETCHES * a->keys + p->first.stride;
    return p->kind == SF_WINDOW ? 2 * (int64_t)a->keys : a->keys; /* sinks and local may overlap */
}

template <int DIM, typename Lanes>
static sf_status queue_step(sf_backend *b, const sf_attention *a, const Lanes &x, int lanes, const rooms &o, int readers, int sixteens)
{
    typedef step_layout<DIM> L;
    sf_cuda *c = sf_cuda_of(b);
    SF_TRY(sf_cuda_allow_shared((const void *)entmax_logits<DIM, Lanes>, sizeof(L)));
    SF_TRY(sf_cuda_follow(b, entmax_logits<DIM, Lanes>, dim3(o.stretches, readers * sixteens, lanes), THREADS, sizeof(L), x, o, sixteens));
    SF_TRY(sf_cuda_follow(b, entmax_find<Lanes>, dim3(a->heads, lanes), FINDERS, 0, x, o, normaliser_of(a->alpha), c->report));
    SF_TRY(sf_cuda_follow(b, entmax_values<DIM, Lanes>, dim3(SPLITS, a->heads, lanes), THREADS, 0, x, o));
    SF_TRY(sf_cuda_follow(b, entmax_join<Lanes>, dim3(a->heads, lanes), THREADS, 0, x, o));
    c->pending = true;
    return SF_OK;
}

template <int DIM> static sf_status queue_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out)
{
    const int H = a[0]->heads, D = a[0]->head_dim, group = H / a[0]->kv_heads;
    const int64_t rows = (int64_t)lanes * H;
    asked x[LANES] = {}, *sent;
    int64_t at = 0, longest = 0;
    int each = 1, readers = 1;
    for (int l = 0; l < lanes; l++) {
        const int64_t room = ceil_div<int64_t>(most_slots(a[l], pattern[l]), TILE_KEYS) * TILE_KEYS;
        if (room > INT_MAX - TILES_A_BLOCK * TILE_KEYS)
            return sf_fail(SF_UNSUPPORTED, "cuda: layer %d: a pattern of up to %lld keys for one query", a[l]->layer, (long long)room);
        SF_TRY(describe_all(a[l], pattern[l], &x[l].x));
        x[l].x.out = out + (int64_t)l * H * D;
        x[l].weighed = a[l]->weighed, x[l].at = at, x[l].room = (int)room;
        x[l].each = pattern[l]->kind != SF_DENSE && pattern[l]->kind != SF_WINDOW && pattern[l]->heads == H ? 1 : group;
        at += H * room, longest = room > longest ? room : longest;
        each = x[l].each > each ? x[l].each : each, readers = H / x[l].each > readers ? H / x[l].each : readers;
    }
    rooms o;
    o.stretches = (int)ceil_div<int64_t>(longest, TILES_A_BLOCK * TILE_KEYS);
    SF_TRY(sf_cuda_workspace(b, LANES * sizeof *sent + (4 * at + rows * (1 + o.stretches + SPLITS * D)) * sizeof(float), (void **)&sent));
    o.logit = (float *)(sent + LANES), o.weight = o.logit + at, o.slot = (int *)(o.weight + at), o.at = o.slot + at;
    o.part = (float *)(o.at + at), o.most = o.part + rows * SPLITS * D, o.count = (int *)(o.most + rows * o.stretches);
    const int sixteens = ceil_div(each, (int)HEADS);
    if (lanes <= FEW_LANES) {
        few_lanes few = {};
        for (int l = 0; l < lanes; l++) few.lane[l] = x[l];
        return queue_step<DIM>(b, a[0], few, lanes, o, readers, sixteens);
    }
    SF_TRY(b->ops->upload(b, sent, x, (size_t)lanes * sizeof *x));
    return queue_step<DIM>(b, a[0], (const asked *)sent, lanes, o, readers, sixteens);
}

sf_status sf_cuda_entmax_decode(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out)
{
    for (int l = 0; l < lanes; l++) {
        SF_TRY(sf_cache_refuse(&a[l]->kv.prompt, "attention by entmax"));
        SF_TRY(refuse(a[l], pattern[l]));
    }
    for (int l = 0; l < lanes; l += LANES)
        SF_TRY(BY_HEAD_DIM(a[0]->head_dim, queue_decode, b, lanes - l < LANES ? lanes - l : LANES, a + l, pattern + l,
                           out + (int64_t)l * a[0]->heads * a[0]->head_dim));
    return SF_OK;
}

/* ---- exact probabilities ------------------------------------------------------------------------------------------- */

/* A block a row. */
__global__ void entmax_rows(float *x, int n, const normaliser w)
{
    __shared__ float shared[32];
    x += (int64_t)blockIdx.x * n;
    float most = -INFINITY, tau = -1, total = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) most = fmaxf(most, x[i]);
    most = block_max(most, shared);
    for (int step = 0; step < STEPS && most != -INFINITY; step++) {
        float sum = 0, slope = 0;
        for (int i = threadIdx.x; i < n; i += blockDim.x) add_key(w, y_of(w, x[i], most, tau), sum, slope);
        sum = block_sum(sum, shared), slope = block_sum(slope, shared);
        const float next = next_of(w, tau, sum, slope);
        if (!(next > tau + 1e-7f)) break; /* known alike to all threads */
        tau = next;
    }
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const float y = y_of(w, x[i], most, tau);
        if (y > 0) total += weight_of(w, y);
    }
    total = block_sum(total, shared);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const float y = y_of(w, x[i], most, tau);
        x[i] = y > 0 ? weight_of(w, y) / total : isnan(x[i]) ? x[i] : 0;
    }
}

sf_status sf_cuda_entmax_rows(sf_backend *b, float *x, int64_t rows, int n, float alpha)
{
    if (rows == 0 || n == 0) return SF_OK;
    entmax_rows<<<(unsigned)rows, n > 4096 ? 1024 : 256, 0, sf_cuda_of(b)->stream>>>(x, n, normaliser_of(alpha));
    LAUNCH_TRY(entmax_rows);
    return SF_OK;
}
