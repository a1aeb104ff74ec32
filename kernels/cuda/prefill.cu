/* Prefill attention, portable (sm_80 and later): every pattern through one kernel; and the choice of the Hopper kernel.
 *
 *     out[t, h] = Σ_j softmax_j(scale · q[t, h]·k[g, j]) v[g, j]        over the keys j that the pattern names for row
 * t
 *
 * A block of 4 warps owns a tile of 64 rows (queries x the heads that share their selection) and walks the tile's key
 * slots (pattern.cuh) 64 at a time, 32 for head dims above 128: gathered into shared memory with cp.async while the
 * tile before is computed, scores and output on mma.sync m16n8k16 with an online softmax, P kept in registers.
 *
 *     padded head dim               64        128       256       spills: 116 bytes at 256
 *     registers                     144       204       255
 *     shared memory, KB             47        88        101
 *     blocks a multiprocessor       3         2         2         (2, 1, 1 where it has 100 KB, as sm_86 and sm_89 do)
 *
 * What limits it: every tile's scores, softmax and output follow one another in a warp, and only the blocks beside it fill
 * the gaps. It is what chips without wgmma run, and head dims above 128; next, were it to matter there, P·V of a tile
 * under the scores of the next one, and 8 warps on 128 rows that share the keys.
 *
 * Test: make test-cuda. */
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/pattern.cuh"

enum { ROWS = 64, THREADS = 128 };

template <int DIM> struct layout {
    static const int KEYS = DIM > 128 ? 32 : 64, PITCH = DIM + 8, CHUNKS = DIM / 8;
    bf16 q[ROWS][PITCH], k[2][KEYS][PITCH], v[2][KEYS][PITCH];
    int key[3][KEYS];
};

struct operands {
    const bf16 *q, *k, *v;
    bf16 *out;
    int64_t capacity;
    const int32_t *count; /* [G] keys in use, or NULL */
    float scale;          /* times log2 e */
    sf_cuda_report *report;
};

template <int DIM>
__device__ static inline void load_keys(layout<DIM> &s, int stage, const int *key, const bf16 *k, const bf16 *v, int D)
{
    for (int i = threadIdx.x; i < layout<DIM>::KEYS * layout<DIM>::CHUNKS; i += THREADS) {
        int row = i / layout<DIM>::CHUNKS, chunk = i % layout<DIM>::CHUNKS, at = key[row];
        int64_t from = (int64_t)max(at, 0) * D;
        copy_chunk(&s.k[stage][row][chunk * 8], k + from, chunk, D, at >= 0);
        copy_chunk(&s.v[stage][row][chunk * 8], v + from, chunk, D, at >= 0);
    }
}

template <int DIM>
__global__ void __launch_bounds__(THREADS)
    prefill_mma(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ operands o)
{
    extern __shared__ __align__(128) unsigned char shared[];
    layout<DIM> &s = *(layout<DIM> *)shared;
    const int KEYS = layout<DIM>::KEYS, PITCH = layout<DIM>::PITCH, CHUNKS = layout<DIM>::CHUNKS, TILES = KEYS / 8;
    sf_cuda_tile t = sf_cuda_tile_of(p, p.tiles - 1 - blockIdx.x, blockIdx.y); /* the longest rows first */
    if (t.queries == 0) return;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = t.head / p.group, used = o.count ? o.count[g] : p.N;
    const bf16 *k = o.k + g * o.capacity * p.D, *v = o.v + g * o.capacity * p.D;

    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        int row = i / CHUNKS, query = t.query + row / p.packed, head = t.head + row % p.packed;
        bool valid = row < t.queries * p.packed;
        copy_chunk(&s.q[row][i % CHUNKS * 8], valid ? o.q + ((int64_t)query * p.H + head) * p.D : o.q, i % CHUNKS, p.D,
                   valid);
    }
    int rounds = (t.slots + KEYS - 1) / KEYS;
    auto name_keys = [&](int round) {
        if (threadIdx.x >= KEYS || round >= rounds) return;
        int key = sf_cuda_key(p, t, round * KEYS + threadIdx.x);
        s.key[round % 3][threadIdx.x] = key < used ? key : -1;
    };
    name_keys(0);
    name_keys(1);
    __syncthreads();
    if (rounds) load_keys<DIM>(s, 0, s.key[0], k, v, p.D);
    copy_commit();

    /* This thread's rows: low = warp * 16 + lane / 4, and 8 below it. */
    int row[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
    int position[2] = {t.position + row[0] / p.packed, t.position + row[1] / p.packed};
    float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, out[DIM / 8][4] = {};

    for (int round = 0; round < rounds; round++) {
        name_keys(round + 2);
        if (round + 1 < rounds) load_keys<DIM>(s, (round + 1) % 2, s.key[(round + 1) % 3], k, v, p.D);
        copy_commit();
        copy_wait<1>();
        __syncthreads();

        float score[TILES][4];
        warp_scores<DIM, TILES>(score, s.q[warp * 16], s.k[round % 2][0], PITCH);
        const int *key = s.key[round % 3];
        float higher[2] = {most[0], most[1]};
#pragma unroll
        for (int n = 0; n < TILES; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                bool seen = sf_cuda_sees(p, position[i / 2], key[n * 8 + lane % 4 * 2 + i % 2]);
                score[n][i] = seen ? score[n][i] * o.scale : -INFINITY;
                higher[i / 2] = fmaxf(higher[i / 2], score[n][i]);
            }
        }
        float fade[2], offset[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            higher[r] = fmaxf(higher[r], __shfl_xor_sync(~0u, higher[r], 1));
            higher[r] = fmaxf(higher[r], __shfl_xor_sync(~0u, higher[r], 2));
            offset[r] = higher[r] == -INFINITY ? 0 : higher[r];
            fade[r] = exp2f(most[r] - offset[r]);
            most[r] = higher[r];
            sum[r] *= fade[r];
        }
#pragma unroll
        for (int n = 0; n < TILES; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                score[n][i] = exp2f(score[n][i] - offset[i / 2]);
                sum[i / 2] += score[n][i];
            }
        }
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
#pragma unroll
            for (int i = 0; i < 4; i++) out[d][i] *= fade[i / 2];
        }
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t a[4] = {pack(score[n][0], score[n][1]), pack(score[n][2], score[n][3]),
                             pack(score[n + 1][0], score[n + 1][1]), pack(score[n + 1][2], score[n + 1][3])};
#pragma unroll
            for (int d = 0; d < DIM; d += 16) {
                uint32_t b[4];
                ldmatrix_transposed(b, &s.v[round % 2][n * 8 + lane % 16][d + lane / 16 * 8]);
                mma(out[d / 8], a, b[0], b[1]);
                mma(out[d / 8 + 1], a, b[2], b[3]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(~0u, sum[r], 1);
        sum[r] += __shfl_xor_sync(~0u, sum[r], 2);
        if (row[r] >= t.queries * p.packed) continue;
        int query = t.query + row[r] / p.packed, head = t.head + row[r] % p.packed;
        if (sum[r] == 0 && lane % 4 == 0) sf_raise(o.report, SF_FAULT_EMPTY_ROW, p.layer, head, query);
        float share = sum[r] > 0 ? 1 / sum[r] : 0;
        bf16 *to = o.out + ((int64_t)query * p.H + head) * p.D;
        for (int d = 0; d < DIM / 8; d++) {
            int at = d * 8 + lane % 4 * 2;
            if (at < p.D) to[at] = __float2bfloat16(out[d][r * 2] * share);
            if (at + 1 < p.D) to[at + 1] = __float2bfloat16(out[d][r * 2 + 1] * share);
        }
    }
}

template <int DIM> static sf_status run(sf_backend *b, const sf_attention *a, const sf_cuda_plan *plan, bf16 *out)
{
    sf_cuda *c = sf_cuda_of(b);
    size_t bytes = sizeof(layout<DIM>);
    SF_TRY(sf_cuda_allow_shared((const void *)prefill_mma<DIM>, bytes));
    operands o = {(const bf16 *)a->q,    (const bf16 *)a->kv.prompt.k, (const bf16 *)a->kv.prompt.v, out,
                  a->kv.prompt.capacity, a->kv.prompt.count,           a->scale * (float)M_LOG2E,    c->report};
    prefill_mma<DIM><<<dim3(plan->tiles, plan->lists), THREADS, bytes, c->stream>>>(*plan, o);
    LAUNCH_TRY(prefill_mma);
    c->pending = true;
    return SF_OK;
}

sf_status sf_cuda_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out)
{
    if (a->queries == 0) return SF_OK;
    if (a->kv.tail.n)
        return sf_fail(SF_INTERNAL, "prefill: the cache has a tail of %d keys; it must be empty", a->kv.tail.n);
    if (sf_hopper_takes(b, a, pattern)) return sf_hopper_prefill(b, a, pattern, (bf16 *)out);
    sf_cuda_plan plan;
    SF_TRY(sf_cuda_plan_make(b, a, pattern, ROWS, 0, &plan, NULL));
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    return BY_HEAD_DIM(a->head_dim, run, b, a, &plan, (bf16 *)out);
}
