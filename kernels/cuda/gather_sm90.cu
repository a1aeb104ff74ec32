/* Prefill attention for Hopper (sm_90a) by lists of single keys, or of blocks that 16 keys do not make, of which every few rows have their
 * own: DeepSeek's sparse attention (DSA), 2048 keys a query.
 *
 * A warp takes the 16 rows that share a list (a query's heads of a kv head), and gathers its keys and values 16 at a time by copies of 16
 * bytes, two stages ahead of the one that it multiplies with mma.sync. No warp waits for another; what comes out follows
 * from the list alone, to the bit.
 *
 * Nothing is shared: 2048 keys for 64/4 heads of 128 are 4 MB a query, 275 GB for 65536, from L2: 34 ms at the 8.1 TB/s that
 * prefill_sm90.cu has drawn from it, 128 TFLOP/s. For 16 keys of a row of 16, in cycles of a multiprocessor at 1.7 GHz: L2 224; shared
 * memory, written and read, 128; mma.sync 52; some 300 instructions of a warp, 75.
 *
 * Measured on one H200: 38.7 ms for lists at random, 112 TFLOP/s of computed pairs (prefill.cu, whose tiles 16 of 64 rows fill: 273 ms).
 *
 *     head dim                      64      128     spills: none
 *     registers                     125     196
 *     shared memory, KB             48      96      two blocks a multiprocessor
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/narrow.cuh"

enum { WARPS = 4, STAGES = 3, ROWS = 16 };

template <int DIM> struct layout {
    bf16 k[WARPS][STAGES][KEYS * DIM], v[WARPS][STAGES][KEYS * DIM];
};

struct cache {
    const bf16 *k, *v; /* [G, capacity, D] */
    int64_t capacity;
};

/* Grid: lists of a row of tiles, those with the most keys first, a warp each x rows of tiles. */
template <int DIM>
__global__ void __launch_bounds__(WARPS * 32, 2)
    gather_keys(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ rows_work w, const __grid_constant__ cache c)
{
#ifdef SM90A
    const int CHUNKS = DIM / 8;
    extern __shared__ __align__(128) unsigned char shared[];
    layout<DIM> &s = *(layout<DIM> *)shared;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, number = blockIdx.x * WARPS + warp;
    if (number >= p.tiles) return;
    const sf_cuda_tile t = sf_cuda_block_tile(p, p.tiles - 1 - number, blockIdx.y);
    if (t.queries == 0) return;
    const int last = t.position + t.queries - 1, listed = p.first.count[t.list];
    const int32_t *list = p.first.index + t.list * p.first.stride;
    /* slots that somebody may see, and those that all rows do, but for a window */
    const int slots = sf_lower_bound(list, listed, last / p.block_k + 1) * p.block_k, whole = sf_lower_bound(list, listed, (t.position + 1) / p.block_k) * p.block_k;
    const int64_t from = t.head / p.group * c.capacity * DIM;
    const bf16 *k = c.k + from, *v = c.v + from;
    auto key_of = [&](int slot) {
        int key = slot < slots ? list[slot / p.block_k] * p.block_k + slot % p.block_k : -1;
        return key < p.N ? key : -1;
    };
    auto fetch = [&](int stage, int key) { /* of the keys that lanes 0 to 15 tell; none: zeros */
#pragma unroll
        for (int i = 0; i < KEYS * CHUNKS / 32; i++) {
            int row = (i * 32 + lane) / CHUNKS, chunk = lane % CHUNKS, at = __shfl_sync(~0u, key, row);
            int64_t away = (int64_t)max(at, 0) * DIM + chunk * 8;
            int to = chunk / 8 * KEYS * 64 + row * 64 + (chunk % 8 ^ row % 8) * 8;
            copy_async(s.k[warp][stage] + to, k + away, at >= 0);
            copy_async(s.v[warp][stage] + to, v + away, at >= 0);
        }
    };
    const int rounds = (slots + KEYS - 1) / KEYS;
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < rounds) fetch(i, key_of(i * KEYS + lane % KEYS));
        copy_commit();
    }
    int ahead = key_of((STAGES - 1) * KEYS + lane % KEYS);
    uint32_t held[1][DIM / 4];
    hold_queries<DIM, DIM>(held[0], p, w.q, t, lane / 4);
    float out[1][DIM / 2] = {};
    row_state r[1] = {{{-INFINITY, -INFINITY}, {0, 0}}};
#pragma unroll 1
    for (int n = 0, stage = 0, free = STAGES - 1; n < rounds; n++) {
        copy_wait<STAGES - 2>();
        __syncwarp(); /* all of these keys are here; nobody multiplies with those before */
        if (n + STAGES - 1 < rounds) fetch(free, ahead);
        copy_commit();
        ahead = key_of((n + STAGES) * KEYS + lane % KEYS);
        float score[1][2][4];
        multiply_keys<DIM, DIM, 1>(score, held, NULL, s.k[warp][stage]);
        if ((n + 1) * KEYS > whole || p.window) {
            int mine = key_of(n * KEYS + lane % KEYS);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                int at = t.position + (lane / 4 + i / 2 % 2 * 8) / p.packed, key = __shfl_sync(~0u, mine, i / 4 * 8 + lane % 4 * 2 + i % 2);
                if (!sf_cuda_sees(p, at, key)) score[0][i / 4][i % 4] = -INFINITY;
            }
        }
        soften<DIM, 1>(score, r, out, w.scale);
        uint32_t prob[1][4];
#pragma unroll
        for (int j = 0; j < 4; j++) prob[0][j] = pack(score[0][j / 2][j % 2 * 2], score[0][j / 2][j % 2 * 2 + 1]);
        multiply_values<DIM, 1>(out, prob, s.v[warp][stage]);
        if (++stage == STAGES) stage = 0;
        if (++free == STAGES) free = 0;
    }
    store_rows<DIM>(out[0], r[0], p, w, t, lane / 4);
#endif
}

template <int DIM>
static sf_status run(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const sf_cuda_finish *to)
{
    static_assert(sizeof(layout<DIM>) <= 113 << 10, "two blocks a multiprocessor");
    sf_cuda *c = sf_cuda_of(b);
    sf_cuda_plan plan;
    SF_TRY(sf_cuda_plan_make(b, a, pattern, SF_SHARE_ALL, ROWS, 0, &plan, NULL));
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    SF_TRY(sf_cuda_allow_shared((const void *)gather_keys<DIM>, sizeof(layout<DIM>)));
    rows_work w = {(const bf16 *)a->q, *to, a->scale * (float)M_LOG2E, c->report};
    cache kv = {(const bf16 *)a->kv.prompt.k, (const bf16 *)a->kv.prompt.v, a->kv.prompt.capacity};
    gather_keys<DIM><<<dim3(ceil_div(plan.tiles, (int)WARPS), plan.lists), WARPS * 32, sizeof(layout<DIM>), c->stream>>>(plan, w, kv);
    LAUNCH_TRY(gather_keys);
    c->pending = true;
    return SF_OK;
}

bool sf_gather_takes(const sf_attention *a, const sf_pattern *p)
{
    const int packed = p->heads == a->heads ? 1 : a->heads / a->kv_heads;
    return p->kind == SF_BLOCKS && (a->head_dim == 64 || a->head_dim == 128) && p->block_k % KEYS != 0 && p->block_q * packed <= ROWS;
}

sf_status sf_gather_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_cuda_finish *to)
{
    return a->head_dim == 128 ? run<128>(b, a, p, to) : run<64>(b, a, p, to);
}
