/* Prefill attention for Hopper (sm_90a): every pattern through one kernel.
 *
 *     out[t, h] = Σ_j softmax_j(scale · q[t, h]·k[g, j]) v[g, j]        over the keys j that the pattern names for row
 * t
 *
 * A block is one producer warp and one or two consumer warpgroups of 64 query rows. The producer walks the tile's key
 * slots (pattern.cuh) and copies 128 of them at a time with the bulk tensor engine, as one box or as many as the
 * pattern has pieces; it also writes down each slot's key number for tiles in which not every row sees every key.
 * Consumers multiply with wgmma: the scores of tile j are in flight with P·V of tile j - 1, softmax in registers, P
 * never leaves them. Two warpgroups that share the keys take turns at the tensor cores, one's softmax under the other's
 * products.
 *
 * Rows of a tile are queries x the heads that share a selection, so that a block of 16 queries of a group of 4 heads
 * fills a warpgroup's 64 rows. With 128 rows (dense, large or shared blocks) a block has two warpgroups and a
 * multiprocessor to itself; with 64 (per-head blocks of 64, diagonals) it has one, and two blocks share a
 * multiprocessor.
 *
 * Scattered columns are packed into dense rows once per head; a tile then reads a prefix of them, with bits that leave
 * out those its diagonals cover.
 *
 * The rescaling of the output waits until a row's maximum has grown by 2^8: P stays far inside its range, and most
 * tiles skip 64 multiplications a thread (at head dim 256, 128). Everything a row computes depends on its own keys alone.
 *
 * Measured on one H200 (bf16, 131072 tokens unless said, against cuDNN 9.19's dense kernel in the same run; everything in
 * results/bench/cuda-h200.txt). Dense, 32/8 heads: head dim 128, 8k to 128k, 545 to 600 TFLOP/s, 87 to 109 % of cuDNN;
 * head dim 64, 319 to 403, 76 to 87 %. Density .10, share of the ideal 1/density at head dim 128: blocks of 128 95 %, of 64
 * 91 % per head and 95 % shared, of 32 and 16 shared in the group 92 and 82 % (64/8 heads: 91 and 85), columns and diagonals
 * 60 to 72 % (41 to 49 % at head dim 64). Per head, blocks of 32 and 16 fill a half and a
 * quarter of 64 rows, 47 and 22 %: narrow_sm90.cu takes them.
 *
 *     head dim, warpgroups     128, 2    128, 1    64, 2    64, 1    256, 2    256, 1      spills in no loop
 *     registers at launch      168       128       168      128      168       168         consumers take 240 or 232, the producer 24;
 *     shared memory, KB        162       97        115      74       209       217         bands 224, 56
 *     blocks a multiprocessor  1         2         1        2        1         1
 *
 * What mattered: key tiles of 128, not 64, for single warpgroups (70 -> 92 % at blocks of 64), two of whose blocks must fit
 * a multiprocessor to the byte (with one, 45 %); whole pieces before those that need a mask. What limits it now: at head
 * dim 128, the two warpgroups' products and softmax do not overlap perfectly, and the query tile is loaded and the result
 * stored without anything beside them. Under bands a persistent grid hides both: a block's start and end took as long as six
 * key tiles; a window of density .10 went from 89 to 97 % of ideal, two bands from 84 to 90 (head dim 64: 77 to 80, 71 to 75).
 * Scores of the next tile of rows under the stores of this one were tried: the compiler then has all products waited for. The
 * other patterns could have it too. At head dim 64 the exponentials take as long as
 * the products: part of them belongs on the FMA units. Columns and diagonals cost 600 to 800 cycles a key tile more than
 * blocks of 64, at either head dim: masks and half-filled pieces at the edges of runs, and the start of a block, whose
 * searches were about a third of it before whole warps made them (an estimate). It is not the number of boxes: 16 a tile cost
 * blocks of 16 per head little. Next, timings without masks and without edges, which tell the rest apart.
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/prefill_sm90.cuh"

#include <string.h>

enum { MASKED = 1, RAGGED = 2, COLUMN = 4 };

struct maps {
    CUtensorMap k, v, column_k, column_v;
};

struct work : rows_work {
    int octets, piece, packs; /* packs: rows of packed columns */
};

/* Keys of a tile: at head dim 256 the output of 64 rows takes 128 registers a thread, and leaves room for the scores of
 * 64 keys. */
__host__ __device__ static constexpr int keys_of(int dim) { return dim > 128 ? 64 : 128; }

/* A tile of query rows as consumers need it. queries 0: there are no more. */
struct job {
    sf_band band[SF_BANDS_A_HEAD]; /* under bands */
    int position, query, queries, head, selection, tiles;
};

/* How many tiles of keys and of values a block holds, and how much of a query (HELD, the first of DIM) stays in registers.
 * Two blocks of one warpgroup share a multiprocessor's 227 KB; to fit there with head dim 128, the query stays in registers
 * and keys have a single stage, whose next tile arrives under the softmax. At head dim 256 nothing would fit twice: there
 * two warpgroups work on 64 rows, each with every other tile of keys (SPLIT), and join what they found at the end; and as
 * a product of 64 keys reads shared memory as long as it multiplies if both operands lie there, a quarter of the query
 * does not. */
template <int DIM, int WARPGROUPS, bool BANDS> struct layout {
    static const bool SPLIT = DIM == 256 && WARPGROUPS == 1;
    static const int KEYS = keys_of(DIM), CONSUMERS = SPLIT ? 2 : WARPGROUPS,
                     HELD = DIM == 256                        ? (BANDS ? 0 : 64)
                            : DIM == 128 && WARPGROUPS == 1 ? 128
                                                              : 0,
                     Q_TILES = (DIM - HELD) / 64, TILE = KEYS * DIM,
                     K_STAGES = DIM == 128 && WARPGROUPS == 1  ? 1
                                : DIM == 64 && WARPGROUPS == 2 ? 3
                                                               : 2,
                     V_STAGES = SPLIT ? 4 : DIM != 128 && WARPGROUPS == 2 ? 3 : 2;
    static_assert(!SPLIT || (K_STAGES % 2 == 0 && V_STAGES % 2 == 0), "each stage is one warpgroup's, which sees all of its phases");
    /* Key numbers are read after the keys' own room is free: until the same warpgroup has let go of its next tile's keys. */
    static const int NAMES = K_STAGES + (SPLIT ? 2 : 1);
    bf16 k[K_STAGES][TILE], v[V_STAGES][TILE];
    bf16 q[Q_TILES ? WARPGROUPS * Q_TILES : 1][Q_TILES ? 64 * 64 : 8];
    int key[NAMES][KEYS], flags[NAMES];
    job jobs[NAMES]; /* under bands: whoever has let go of a job's first keys has done with the job before it */
    sf_band band[SF_BANDS_A_HEAD]; /* under bands, of the producer's tile */
    sf_cuda_stretches stretch;     /* likewise */
    sf_cuda_row ends[2];           /* likewise: its first row and its last */
    uint64_t k_full[K_STAGES], k_empty[K_STAGES], v_full[V_STAGES], v_empty[V_STAGES];
};

#ifdef SM90A

/* ---- producer ---- */

/* What a lane knows about key tile i before its room is free: its piece, or its four slots' bits. */
struct ahead {
    int start, bits;
    int4 column;
};

template <int KEYS, bool BANDS> __device__ static inline ahead look_ahead(const sf_cuda_plan &p, const sf_cuda_tile &t, int piece, int i)
{
    int lane = threadIdx.x % 32, slot = i * KEYS + lane * piece;
    ahead a = {INT_MIN, 0, {-1, -1, -1, -1}};
    if (p.kind == SF_BLOCKS) {
        if (lane < KEYS / piece && slot < t.slots)
            a.start = p.first.index[t.list * p.first.stride + slot / p.block_k] * p.block_k + slot % p.block_k;
    } else if (p.kind == SF_COLUMNS_DIAGONALS && i * KEYS < t.split) {
        int2 x = lane < KEYS / piece ? sf_cuda_piece(p, t, slot / SF_PIECE) : make_int2(0, 0);
        if (x.y) a.start = t.anchor + x.x, a.bits = x.y;
    } else if (BANDS && i * KEYS >= t.split) {
        int from = i * KEYS - t.split + lane * 4, left = t.slots - t.split - from;
        const int32_t *column = p.first.index + t.selection * p.first.stride + from;
        if (lane * 4 < KEYS && left > 0) a.column = {column[0], left > 1 ? column[1] : -1, left > 2 ? column[2] : -1, left > 3 ? column[3] : -1};
    } else if (p.kind == SF_COLUMNS_DIAGONALS) {
        int from = i * KEYS - t.split + lane * 4;
        if (lane * 4 < KEYS && from < t.slots - t.split) {
            const uint16_t *bits =
                p.column_bits + ((int64_t)t.list * p.list_rows + t.query * p.every / SF_DIAGONAL_TILE) * p.column_words;
            const int32_t *column = p.first.index + t.list * p.first.stride;
            int now = bits[from / 16] >> from % 16, left = t.slots - t.split - from;
            a.column.x = now & 1 ? column[from] : -1;
            a.column.y = now & 2 && left > 1 ? column[from + 1] : -1;
            a.column.z = now & 4 && left > 2 ? column[from + 2] : -1;
            a.column.w = now & 8 && left > 3 ? column[from + 3] : -1;
        }
    }
    return a;
}

/* The key tiles of one tile of rows, the first of them the block's `before`-th; what consumers need to know goes ahead. */
template <class Layout, bool BANDS>
__device__ static void produce(Layout &s, const sf_cuda_plan &p, const work &w, const maps &m, const sf_cuda_tile &t,
                               int tiles, int before, job *told)
{
    const int KEYS = Layout::KEYS;
    int lane = threadIdx.x % 32, head = t.head / p.group, last = t.position + t.queries - 1, piece = w.piece;
    bool bounded = p.window || p.local < p.N;
    int reach = p.window && p.window < p.local ? p.window : p.local;
    ahead next = look_ahead<KEYS, BANDS>(p, t, piece, 0);
    for (int i = 0; i < tiles; i++) {
        ahead now = next;
        bool columns = (BANDS ? t.slots > t.split : p.kind == SF_COLUMNS_DIAGONALS) && i * KEYS >= t.split,
             listed = p.kind == SF_BLOCKS || (p.kind == SF_COLUMNS_DIAGONALS && !columns);
        if (i + 1 < tiles) next = look_ahead<KEYS, BANDS>(p, t, piece, i + 1);
        int first = BANDS                  ? sf_cuda_stretch_key(s.stretch, i * KEYS)
                    : i * KEYS < t.split ? i * KEYS
                                         : t.base + i * KEYS - t.split; /* of dense and window tiles */
        int4 key = now.column;
        int mine = lane * 4; /* this lane's slots */
        if (listed) {
            int owner = mine / piece, start = __shfl_sync(~0u, now.start, owner),
                bits = __shfl_sync(~0u, now.bits, owner) >> mine % piece;
            int at = start + mine % piece;
            bool some = start != INT_MIN, all = p.kind == SF_BLOCKS;
            key.x = some && (all || bits & 1) ? at : -1;
            key.y = some && (all || bits & 2) ? at + 1 : -1;
            key.z = some && (all || bits & 4) ? at + 2 : -1;
            key.w = some && (all || bits & 8) ? at + 3 : -1;
        } else if (!columns) {
            int limit = !BANDS && i * KEYS < t.split ? min(p.sinks, t.base) : p.N;
            key = make_int4(first + mine, first + mine + 1, first + mine + 2, first + mine + 3);
            key.x = key.x < limit ? key.x : -1, key.y = key.y < limit ? key.y : -1;
            key.z = key.z < limit ? key.z : -1, key.w = key.w < limit ? key.w : -1;
        }
        if (key.x >= p.N) key.x = -1;
        if (key.y >= p.N) key.y = -1;
        if (key.z >= p.N) key.z = -1;
        if (key.w >= p.N) key.w = -1;
        int least = min(min(key.x, key.y), min(key.z, key.w)), most = max(max(key.x, key.y), max(key.z, key.w));
        bool inside = mine < KEYS;
        bool masked = inside && (least < 0 || most > t.position || (bounded && least <= last - reach));
        if (BANDS) masked = columns || first + KEYS > p.N || !sf_cuda_all_see(s.band, s.ends[0], s.ends[1], first, first + KEYS);
        /* rows of the last octet behind key N hold anything, also NaN, which 0 · P does not silence */
        int end = listed ? now.start == INT_MIN ? 0 : now.start + piece : columns ? 0 : first + KEYS;
        bool ragged = p.N % 8 && end > p.N / 8 * 8;
        int flags = (__any_sync(~0u, masked) ? MASKED : 0) | (__any_sync(~0u, ragged) ? RAGGED : 0) | (columns ? COLUMN : 0);

        int n = before + i, stage = n % Layout::K_STAGES;
        barrier_wait(&s.k_empty[stage], n / Layout::K_STAGES % 2 ^ 1);
        if (inside) *(int4 *)&s.key[n % Layout::NAMES][mine] = key;
        if (lane == 0) s.flags[n % Layout::NAMES] = flags;
        if (BANDS && i == 0 && lane == 0) *told = {{s.band[0], s.band[1]}, t.position, t.query, t.queries, t.head, t.selection, tiles};
        __syncwarp();
        int boxes = listed ? KEYS / piece : 1, octet = columns ? (i * KEYS - t.split) / 8 : first / 8;
        const CUtensorMap *from_k = columns ? &m.column_k : &m.k, *from_v = columns ? &m.column_v : &m.v;
        if (columns) head = BANDS ? t.head / (p.H / w.packs) : t.head / p.packed;
        if (listed) octet = now.start == INT_MIN ? w.octets : now.start >> 3; /* none: outside, zeros */
        if (lane == 0)
            barrier_expect(&s.k_full[stage], Layout::TILE * (int)sizeof(bf16));
        else
            barrier_arrive(&s.k_full[stage]); /* every lane releases the numbers it wrote */
        __syncwarp();
        if (lane < boxes)
            copy_box(s.k[stage] + lane * piece * (Layout::TILE / KEYS), from_k, &s.k_full[stage], octet, head);
        stage = n % Layout::V_STAGES;
        barrier_wait(&s.v_empty[stage], n / Layout::V_STAGES % 2 ^ 1);
        if (lane == 0) barrier_expect(&s.v_full[stage], Layout::TILE * (int)sizeof(bf16));
        __syncwarp();
        if (lane < boxes)
            copy_box(s.v[stage] + lane * piece * (Layout::TILE / KEYS), from_v, &s.v_full[stage], octet, head);
    }
}

/* Under bands a block takes one tile of rows after the other, so that the next one's keys are on their way while the last
 * one's result is stored. A turn's tiles are dealt one place further on than the turn before: heads of different widths
 * follow each other. */
template <class Layout>
__device__ static void produce_jobs(Layout &s, const sf_cuda_plan &p, const work &w, const maps &m)
{
    const int KEYS = Layout::KEYS;
    int lane = threadIdx.x % 32, apart = p.lists / p.G, wide = p.tiles * apart, all = wide * p.G, n = 0, jobs = 0;
    for (int turn = 0;; turn++) {
        int at = turn * gridDim.x + (blockIdx.x + turn) % gridDim.x;
        if (at >= all) break;
        sf_cuda_tile t = sf_cuda_tile_of(p, p.tiles - 1 - at % wide / apart, at / wide * apart + at % wide % apart);
        if (t.queries == 0) continue;
        if (lane == 0) {
            s.band[0] = t.band[0], s.band[1] = t.band[1], s.stretch = t.stretch;
            s.ends[0] = sf_cuda_row_of(p, t.position, false);
            s.ends[1] = sf_cuda_row_of(p, t.position + (t.queries - 1) * p.every, false);
        }
        __syncwarp();
        int tiles = max(1, (t.slots + KEYS - 1) / KEYS); /* without slots the first keys, which nobody sees */
        produce<Layout, true>(s, p, w, m, t, tiles, n, &s.jobs[jobs++ % Layout::NAMES]);
        n += tiles;
        __syncwarp();
    }
    barrier_wait(&s.k_empty[n % Layout::K_STAGES], n / Layout::K_STAGES % 2 ^ 1);
    if (lane == 0) s.jobs[jobs % Layout::NAMES].queries = 0;
    __syncwarp();
    barrier_arrive(&s.k_full[n % Layout::K_STAGES]);
}

/* ---- consumers ---- */

template <int DIM, int HELD>
__device__ static inline void start_scores(float (&score)[keys_of(DIM) / 2], const bf16 *q, const uint32_t *held, const bf16 *k)
{
    const int OCTET = DIM / 64 * 1024;
    wgmma_fence();
#pragma unroll
    for (int d = 0; d < DIM; d += 16) {
        uint64_t keys = descriptor(k + d / 64 * 512 + d % 64, 16, OCTET);
        if (d < HELD)
            wgmma_mixed(score, held + d / 4, keys, d > 0);
        else
            wgmma_shared(score, descriptor(q + (d - HELD) / 64 * 64 * 64 + d % 64, 16, 1024), keys, d > 0);
    }
    wgmma_commit();
}

template <int DIM>
__device__ static inline void start_output(float (&out)[DIM / 2], const uint32_t (&p)[keys_of(DIM) / 4], const bf16 *v)
{
    const int OCTET = DIM / 64 * 1024, WIDE = DIM < 128 ? DIM : 128; /* columns of a product */
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < keys_of(DIM) / 16; k++) {
#pragma unroll
        for (int d = 0; d < DIM; d += WIDE)
            wgmma_registers(*(float(*)[WIDE / 2]) & out[d / 2], p + k * 4, descriptor(v + k * 16 * DIM + d / 64 * 512, 1024, OCTET));
    }
    wgmma_commit();
}

/* Turns scores into exp2(score - maximum) and the state along; fade: what the output so far is to be scaled by. */
template <int KEYS, bool BANDS>
__device__ static inline void soften(float (&score)[KEYS / 2], row_state &r, float (&fade)[2], float scale, int flags,
                                     const int *key, const sf_cuda_plan &p, const sf_band *band, const int (&position)[2],
                                     const bool (&full)[2])
{
    int lane = threadIdx.x % 32;
    if (flags & MASKED) {
        bool bounded = p.window || p.local < p.N, solid = band[0].step <= 1 && band[1].step <= 1 && !(flags & COLUMN);
        sf_cuda_row sight[2];
        sf_cuda_spans spans[2];
        for (int h = 0; BANDS && h < 2; h++) {
            sight[h] = sf_cuda_row_of(p, position[h], full[h]);
            spans[h] = sf_cuda_spans_of(band, sight[h]);
        }
        auto mask = [&](auto sees) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
                int2 k = *(const int2 *)&key[n * 8 + lane % 4 * 2];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (!sees(i / 2, i % 2 ? k.y : k.x)) score[n * 4 + i] = -INFINITY;
            }
        };
        if (BANDS && solid)
            mask([&](int h, int at) { return sf_cuda_in_spans(spans[h], at); });
        else if (BANDS)
            mask([&](int h, int at) { return sf_cuda_row_sees(band, sight[h], at, flags & COLUMN); });
        else
            mask([&](int h, int at) { return bounded ? sf_cuda_sees(p, position[h], at) : (unsigned)at <= (unsigned)position[h]; });
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float most = score[h * 2];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) most = fmaxf(most, fmaxf(score[n * 4 + h * 2], score[n * 4 + h * 2 + 1]));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
        float before = r.most[h];
        if ((most - before) * scale > 8.f) r.most[h] = most; /* also from -INFINITY */
        fade[h] = before == r.most[h] ? 1.f : exp2_fast((before - r.most[h]) * scale);
        float offset = r.most[h] == -INFINITY ? 0.f : r.most[h] * scale, sum = r.sum[h] * fade[h];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float &x = score[n * 4 + h * 2 + e];
                x = exp2_fast(fmaf(x, scale, -offset));
                sum += x;
            }
        }
        r.sum[h] = sum;
    }
}

template <int KEYS> __device__ static inline void narrow(uint32_t (&p)[KEYS / 4], const float (&score)[KEYS / 2])
{
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) p[k * 4 + i] = pack(score[k * 8 + i * 2], score[k * 8 + i * 2 + 1]);
    }
}

/* Zeros for the values of slots without a key, in a tile that reaches behind key N. */
template <int DIM> __device__ static inline void clear_ragged(bf16 *v, const int *key, int barrier)
{
    for (int i = threadIdx.x % GROUP; i < keys_of(DIM) * DIM / 8; i += GROUP) {
        int slot = i / (DIM / 8), chunk = i % (DIM / 8);
        if (key[slot] < 0)
            *(uint4 *)(v + slot / 8 * 8 * DIM + chunk / 8 * 512 + slot % 8 * 64 + chunk % 8 * 8) =
                make_uint4(0, 0, 0, 0);
    }
    fence_async();
    named_sync(barrier, GROUP);
}

/* Two warpgroups that each saw half of the keys: warpgroup 1 hands what it found to warpgroup 0, through room [128, 132] that
 * nobody copies to or multiplies from once both are here. */
template <int DIM>
__device__ static inline void join_halves(float *room, float (&out)[DIM / 2], row_state &r, float scale, int me)
{
    const int at = threadIdx.x % GROUP;
    float *other = room + DIM / 2 * GROUP;
    named_sync(3, 2 * GROUP);
    if (me == 1) {
#pragma unroll
        for (int i = 0; i < DIM / 2; i++) room[i * GROUP + at] = out[i];
#pragma unroll
        for (int h = 0; h < 2; h++) other[h * GROUP + at] = r.most[h], other[(2 + h) * GROUP + at] = r.sum[h];
    }
    named_sync(4, 2 * GROUP);
    if (me == 1) return;
    float mine[2], its[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float there = other[h * GROUP + at], most = fmaxf(r.most[h], there), offset = most == -INFINITY ? 0.f : most;
        mine[h] = exp2_fast((r.most[h] - offset) * scale), its[h] = exp2_fast((there - offset) * scale);
        r.most[h] = most;
        r.sum[h] = r.sum[h] * mine[h] + other[(2 + h) * GROUP + at] * its[h];
    }
#pragma unroll
    for (int i = 0; i < DIM / 2; i++) out[i] = out[i] * mine[i / 2 % 2] + room[i * GROUP + at] * its[i / 2 % 2];
}

/* Under bands t comes from the producer, one job after the other. */
template <class Layout, int DIM, int WARPGROUPS, bool BANDS>
__device__ static void consume(Layout &s, const sf_cuda_plan &p, const work &w, job t)
{
    const int KEYS = Layout::KEYS, HELD = Layout::HELD, K_STAGES = Layout::K_STAGES, V_STAGES = Layout::V_STAGES,
              NAMES = Layout::NAMES;
    const bool SPLIT = Layout::SPLIT, TURNS = WARPGROUPS == 2;
    const int STRIDE = SPLIT ? 2 : 1, TOGETHER = STRIDE * GROUP; /* threads that share rows of queries */
    int me = threadIdx.x / GROUP - 1, lane = threadIdx.x % 32, row0 = SPLIT ? 0 : me * 64,
        row = row0 + threadIdx.x % GROUP / 32 * 16 + lane / 4;
    bf16 *q = s.q[row0 / 64 * Layout::Q_TILES];
    uint32_t held[HELD ? HELD / 4 : 1];
    if (BANDS) {
        barrier_wait(&s.k_full[0], 0);
        t = s.jobs[0];
        if (t.queries == 0) return;
    }
    auto take_queries = [&](const job &of) {
        if constexpr (HELD > 0) hold_queries<DIM, HELD>(held, p, w.q, of, row);
        if constexpr (HELD < DIM) load_queries<DIM, HELD, 64, TOGETHER>(q, p, w.q, of, row0, (threadIdx.x - GROUP) % TOGETHER);
    };
    take_queries(t);
    if (TURNS && me == 1) named_arrive(3, 2 * GROUP); /* the first turn is warpgroup 0's */

    float out[DIM / 2], score[KEYS / 2], fade[2];
    uint32_t prob[KEYS / 4];
    auto await_values = [&](int n) {
        barrier_wait(&s.v_full[n % V_STAGES], n / V_STAGES % 2);
        if (s.flags[n % NAMES] & RAGGED) clear_ragged<DIM>(s.v[n % V_STAGES], s.key[n % NAMES], 1 + me);
    };
    int first = 0, jobs = 0; /* key tiles and jobs before this one */
    for (;;) {
        const sf_band *band = s.jobs[jobs % NAMES].band;
        int position[2] = {t.position + row / p.packed * p.every, t.position + (row + 8) / p.packed * p.every};
        bool full[2] = {};
        for (int h = 0; BANDS && h < 2; h++) full[h] = row + h * 8 < t.queries && sf_cuda_full(p, t.selection, t.query + row + h * 8);
        row_state r = {{-INFINITY, -INFINITY}, {0, 0}};
#pragma unroll
        for (int i = 0; i < DIM / 2; i++) out[i] = 0;
        if (HELD < DIM) {
            fence_async();
            named_sync(SPLIT ? 5 : 1 + me, TOGETHER);
        }
        job next = {};
        const int begin = first + (SPLIT ? me : 0), end = first + t.tiles; /* of this warpgroup's tiles */
        if (BANDS || begin < end) {
            barrier_wait(&s.k_full[begin % K_STAGES], begin / K_STAGES % 2);
            start_scores<DIM, HELD>(score, q, held, s.k[begin % K_STAGES]);
            wgmma_wait<0>();
            hold(score);
            warp_arrive(&s.k_empty[begin % K_STAGES], lane);
            soften<KEYS, BANDS>(score, r, fade, w.scale, s.flags[begin % NAMES], s.key[begin % NAMES], p, band, position, full);
            narrow<KEYS>(prob, score);
#pragma unroll 1
            for (int n = begin + STRIDE; n < end; n += STRIDE) {
                int stage = n % K_STAGES, before = (n - STRIDE) % V_STAGES;
                barrier_wait(&s.k_full[stage], n / K_STAGES % 2);
                await_values(n - STRIDE);
                if (TURNS) named_sync(3 + me, 2 * GROUP);
                start_scores<DIM, HELD>(score, q, held, s.k[stage]);
                start_output<DIM>(out, prob, s.v[before]);
                if (TURNS) named_arrive(4 - me, 2 * GROUP);
                wgmma_wait<1>();
                hold(score);
                warp_arrive(&s.k_empty[stage], lane);
                soften<KEYS, BANDS>(score, r, fade, w.scale, s.flags[n % NAMES], s.key[n % NAMES], p, band, position, full);
                wgmma_wait<0>();
                hold(out);
                warp_arrive(&s.v_empty[before], lane);
                if (__any_sync(~0u, fade[0] != 1.f || fade[1] != 1.f)) {
#pragma unroll
                    for (int i = 0; i < DIM / 8; i++) {
#pragma unroll
                        for (int e = 0; e < 4; e++) out[i * 4 + e] *= fade[e / 2];
                    }
                }
                narrow<KEYS>(prob, score);
            }
            first = end;
            const int last = end - 1 - (SPLIT ? (end - 1 - begin) % STRIDE : 0);
            await_values(last);
            start_output<DIM>(out, prob, s.v[last % V_STAGES]);
            if constexpr (BANDS) { /* the next one's queries come in under the last product */
                barrier_wait(&s.k_full[first % K_STAGES], first / K_STAGES % 2);
                next = s.jobs[++jobs % NAMES];
                named_sync(1 + me, GROUP); /* all four warps have read this one's */
                if (next.queries) take_queries(next);
            }
            wgmma_wait<0>();
            hold(out);
            __syncwarp();
            if (BANDS && lane < ARRIVALS) barrier_arrive(&s.v_empty[last % V_STAGES]);
        }
        if (SPLIT) {
            join_halves<DIM>((float *)s.k, out, r, w.scale, me);
            if (me == 1) return;
        }
        store_rows<DIM>(out, r, p, w, t, row);
        if (next.queries == 0) return;
        t = next;
    }
}
#endif

/* Grid: (heads of a kv head that select apart) x tiles x kv heads, the tiles with the most keys first; under bands as many
 * blocks as there is room for, each of which takes many of these. */
template <int DIM, int WARPGROUPS, bool BANDS>
__global__ void __launch_bounds__(GROUP *(layout<DIM, WARPGROUPS, BANDS>::CONSUMERS + 1), layout<DIM, WARPGROUPS, BANDS>::CONSUMERS == 1 ? 2 : 1)
    prefill_wgmma(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ work w,
                  const __grid_constant__ maps m)
{
#ifdef SM90A
    typedef layout<DIM, WARPGROUPS, BANDS> Layout;
    extern __shared__ __align__(1024) unsigned char shared[];
    Layout &s = *(Layout *)shared;
    sf_cuda_tile t = {};
    int tiles = 0;
    if (!BANDS) {
        int apart = p.lists / p.G;
        t = sf_cuda_tile_of(p, p.tiles - 1 - blockIdx.x / apart, blockIdx.y * apart + blockIdx.x % apart);
        if (t.queries == 0) return;
        tiles = (t.slots + Layout::KEYS - 1) / Layout::KEYS;
    }
    if (threadIdx.x == 0) {
        for (int i = 0; i < Layout::K_STAGES; i++) {
            barrier_init(&s.k_full[i], 32);
            barrier_init(&s.k_empty[i], (Layout::SPLIT ? 4 : 4 * WARPGROUPS) * ARRIVALS);
        }
        for (int i = 0; i < Layout::V_STAGES; i++) {
            barrier_init(&s.v_full[i], 1);
            barrier_init(&s.v_empty[i], (Layout::SPLIT ? 4 : 4 * WARPGROUPS) * ARRIVALS);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        fence_async();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        if (BANDS) /* what one side gains the other must lose: 3 * 168 are all there are, and whoever asks for more waits for ever */
            asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        else
            asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x >= 32) return;
        if constexpr (BANDS)
            produce_jobs(s, p, w, m);
        else
            produce<Layout, false>(s, p, w, m, t, tiles, 0, NULL);
    } else {
        if (BANDS)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
        else if (Layout::CONSUMERS == 2)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        else
            asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        consume<Layout, DIM, WARPGROUPS, BANDS>(s, p, w, {{}, t.position, t.query, t.queries, t.head, t.selection, tiles});
    }
#endif
}

/* ---- columns, packed ---- */

/* to [packs, room, D]: the keys and values of each list's columns, then zeros up to a multiple of 128. group: packs a kv
 * head. One list may serve all. */
__global__ void pack_columns(const bf16 *k, const bf16 *v, int64_t capacity, int group, int D, sf_lists columns,
                             int room, bf16 *to_k, bf16 *to_v)
{
    int head = blockIdx.y, list = columns.rows == 1 ? 0 : head, n = columns.count[list], chunks = D / 8;
    int64_t rows = min(room, (n + 127) / 128 * 128);
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < rows * chunks;
         i += (int64_t)gridDim.x * blockDim.x) {
        int64_t row = i / chunks, chunk = i % chunks, at = ((int64_t)head * room + row) * D + chunk * 8;
        uint4 x = {0, 0, 0, 0}, y = x;
        if (row < n) {
            int64_t from = (head / group * capacity + columns.index[list * columns.stride + row]) * D + chunk * 8;
            x = *(const uint4 *)(k + from), y = *(const uint4 *)(v + from);
        }
        *(uint4 *)(to_k + at) = x;
        *(uint4 *)(to_v + at) = y;
    }
}

/* ---- host ---- */

sf_status sf_hopper_map(sf_backend *b, CUtensorMap *map, const void *data, int rank, const cuuint64_t *size, const cuuint64_t *stride,
                        const cuuint32_t *box)
{
    typedef CUresult (*encode)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                               const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                               CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
    const cuuint32_t step[5] = {1, 1, 1, 1, 1};
    CUresult result = ((encode)sf_cuda_of(b)->encode_tiled)(
        map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, (cuuint32_t)rank, (void *)(uintptr_t)data, size, stride, box, step,
        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result == CUDA_SUCCESS) return SF_OK;
    return sf_fail(SF_INTERNAL, "cuda: cuTensorMapEncodeTiled refuses %d dimensions, the last of %llu (code %d)", rank,
                   (unsigned long long)size[rank - 1], (int)result);
}

/* [heads, rows, D] as octets of rows and halves of D; a box is `keys` rows. */
static sf_status describe(sf_backend *b, CUtensorMap *map, const void *data, int D, int64_t rows, int64_t row_capacity,
                          int heads, int keys)
{
    cuuint64_t row = (cuuint64_t)D * sizeof(bf16);
    cuuint64_t size[5] = {64, 8, (cuuint64_t)D / 64, (cuuint64_t)ceil_div<int64_t>(rows, 8), (cuuint64_t)heads};
    cuuint64_t stride[4] = {row, 128, 8 * row, (cuuint64_t)row_capacity * row};
    cuuint32_t box[5] = {64, 8, (cuuint32_t)D / 64, (cuuint32_t)keys / 8, 1};
    return sf_hopper_map(b, map, data, 5, size, stride, box);
}

template <int DIM, int WARPGROUPS, bool BANDS>
static sf_status launch(sf_backend *b, const sf_cuda_plan &plan, const work &w, const maps &m)
{
    const size_t bytes = sizeof(layout<DIM, WARPGROUPS, BANDS>);
    static_assert(bytes <= (layout<DIM, WARPGROUPS, BANDS>::CONSUMERS == 1 ? 113 : 227) << 10, "what a block can have");
    SF_TRY(sf_cuda_allow_shared((const void *)prefill_wgmma<DIM, WARPGROUPS, BANDS>, bytes));
    dim3 grid(plan.tiles * (plan.lists / plan.G), plan.G);
    if (BANDS) grid = dim3(min((int)(grid.x * grid.y), sf_cuda_of(b)->sms));
    prefill_wgmma<DIM, WARPGROUPS, BANDS><<<grid, GROUP *(layout<DIM, WARPGROUPS, BANDS>::CONSUMERS + 1), bytes, sf_cuda_of(b)->stream>>>(plan, w, m);
    LAUNCH_TRY(prefill_wgmma);
    return SF_OK;
}

template <int DIM, int WARPGROUPS>
static sf_status run(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, sf_cuda_share share, const sf_cuda_finish *to)
{
    const int KEYS = keys_of(DIM);
    sf_cuda *c = sf_cuda_of(b);
    const sf_kv_part *kv = &a->kv.prompt;
    bool scattered = (pattern->kind == SF_COLUMNS_DIAGONALS || pattern->kind == SF_BANDS) && pattern->first.rows;
    int room = scattered ? (int)(ceil_div<int64_t>(pattern->first.stride, 128) * 128) : 0;
    int packs = pattern->heads == a->heads ? a->heads : a->kv_heads;
    size_t packed = (size_t)packs * room * DIM;
    sf_cuda_plan plan;
    bf16 *columns;
    SF_TRY(sf_cuda_plan_make(b, a, pattern, share, 64 * WARPGROUPS, 2 * packed * sizeof(bf16), &plan, (void **)&columns));
    if (share != SF_SHARE_TURNED) SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    int piece = plan.kind == SF_COLUMNS_DIAGONALS                    ? (int)SF_PIECE
                : plan.kind == SF_BLOCKS && pattern->block_k < KEYS ? pattern->block_k
                                                                    : KEYS;
    maps m;
    SF_TRY(describe(b, &m.k, kv->k, DIM, a->keys, kv->capacity, a->kv_heads, piece));
    SF_TRY(describe(b, &m.v, kv->v, DIM, a->keys, kv->capacity, a->kv_heads, piece));
    m.column_k = m.k, m.column_v = m.v;
    if (room) {
        pack_columns<<<dim3(ceil_div(room * (DIM / 8), 256), packs), 256, 0, c->stream>>>(
            (const bf16 *)kv->k, (const bf16 *)kv->v, kv->capacity, packs / a->kv_heads, DIM, pattern->first, room,
            columns, columns + packed);
        LAUNCH_TRY(pack_columns);
        SF_TRY(describe(b, &m.column_k, columns, DIM, room, room, packs, KEYS));
        SF_TRY(describe(b, &m.column_v, columns + packed, DIM, room, room, packs, KEYS));
    }
    work w = {{(const bf16 *)a->q, *to, a->scale * (float)M_LOG2E, c->report}, ceil_div(a->keys, 8), piece, packs};
    c->pending = true;
    if (plan.kind != SF_BANDS) return launch<DIM, WARPGROUPS, false>(b, plan, w, m);
    if constexpr (WARPGROUPS == 2) return launch<DIM, 2, true>(b, plan, w, m);
    return sf_fail(SF_INTERNAL, "bands in tiles of 64 rows are not built");
}

bool sf_hopper_built(void)
{
    cudaFuncAttributes built;
    bool found = cudaFuncGetAttributes(&built, (const void *)prefill_wgmma<128, 2, false>) == cudaSuccess;
    (void)cudaGetLastError();
    return found && built.ptxVersion >= 90;
}

/* Rows that share a list of keys; with 128 or more, two warpgroups work on one list. */
static int rows_together(const sf_attention *a, const sf_pattern *p)
{
    int group = p->heads == a->heads ? 1 : a->heads / a->kv_heads;
    if (p->kind == SF_BLOCKS) return p->block_q * group;
    return p->kind == SF_COLUMNS_DIAGONALS ? SF_DIAGONAL_TILE * group : 128;
}

bool sf_hopper_takes(sf_backend *b, const sf_attention *a, const sf_pattern *p, sf_cuda_share share)
{
    const int D = a->head_dim, KEYS = keys_of(D);
    const sf_kv_part *kv = &a->kv.prompt;
    bool aligned = ((uintptr_t)a->q | (uintptr_t)kv->k | (uintptr_t)kv->v) % 16 == 0;
    if (!sf_cuda_of(b)->hopper || (D != 64 && D != 128 && D != 256) || kv->count || !aligned || a->softcap != 0) return false;
    if (p->kind != SF_BLOCKS && p->kind != SF_COLUMNS_DIAGONALS) return true;
    if (share != SF_SHARE_ALL || p->repeat > 1) return false;
    if (p->heads != a->heads && a->heads / a->kv_heads > 64) return false;
    if (p->kind == SF_COLUMNS_DIAGONALS) return (a->keys - a->queries) % 8 == 0;
    return sf_gather_takes(a, p) || (p->block_k % 8 == 0 && (KEYS % p->block_k == 0 || p->block_k % KEYS == 0));
}

sf_status sf_hopper_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, sf_cuda_share share,
                            const sf_cuda_finish *to)
{
    const int rows = rows_together(a, pattern);
    const bool wide = rows > 64;
    if (sf_gather_takes(a, pattern)) return sf_gather_prefill(b, a, pattern, to);
    if (sf_single_takes(a, pattern)) return sf_single_prefill(b, a, pattern, to);
    if (sf_narrow_takes(a, pattern, rows)) return sf_narrow_prefill(b, a, pattern, rows, to);
    if (a->head_dim == 256) return wide ? run<256, 2>(b, a, pattern, share, to) : run<256, 1>(b, a, pattern, share, to);
    if (a->head_dim == 128) return wide ? run<128, 2>(b, a, pattern, share, to) : run<128, 1>(b, a, pattern, share, to);
    return wide ? run<64, 2>(b, a, pattern, share, to) : run<64, 1>(b, a, pattern, share, to);
}
