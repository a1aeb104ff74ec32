/* Prefill attention by α-entmax: rows in which many keys weigh, more than the first kernel (entmax_prefill.cu) has room for.
 *
 * It takes a pass over the keys for each step of Newton's method, from the bound that the first one came to, and one for products with
 * values. It remembers for 16 rows at a time which tiles held something above τ: τ grows, so that later passes leave out all others, and
 * values of none but these are loaded. What a tile of others adds to a row is exactly 0.
 *
 * As sm_90a compiles it, padded head dims of 64, 128 and 256: registers 176, 234 and 255; nothing is spilt.
 *
 * Test: make test-cuda. Benchmarks: entmax_prefill.cu. */
#include "kernels/cuda/entmax_tiles.cuh"

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

template <int DIM> static sf_status queue_many(sf_backend *b, const sf_cuda_plan &plan, int blocks, const operands &o)
{
    typedef layout<DIM, 1, 1> L;
    const int tiles = plan.tiles * plan.lists;
    SF_TRY(sf_cuda_allow_shared((const void *)entmax_many<DIM>, sizeof(L)));
    entmax_many<DIM><<<tiles < blocks ? tiles : blocks, THREADS, sizeof(L), sf_cuda_of(b)->stream>>>(plan, o);
    LAUNCH_TRY(entmax_many);
    return SF_OK;
}

sf_status sf_cuda_entmax_many(sf_backend *b, const sf_cuda_plan &plan, int blocks, const operands &o)
{
    return BY_HEAD_DIM(plan.D, queue_many, b, plan, blocks, o);
}
