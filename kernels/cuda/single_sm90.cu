/* Prefill attention for Hopper (sm_90a) by lists of key blocks of which every query has its own (block_q = 1), the heads of a kv head
 * sharing it: 11 to 32 heads a list, the selected branch of native sparse attention (NSA). Fewer: units_sm90.cu.
 *
 * A group is the neighbouring queries that make three times 64 rows with their heads, 12 queries of 16 heads. A kernel looks up which units
 * of 64 keys any of them names, in order, and for whom. Another walks them: a warp copies keys and values, three warpgroups of 64 rows
 * each multiply with wgmma what one of their queries names, the scores of a unit under P·V of the one before. To rows that do not
 * name it a unit adds zeros: a row's sums follow from its own list alone, to the bit, whatever its neighbours read. So groups need
 * not be chosen by what they agree on, and are not: where they agree they share, where they do not each warpgroup skips the others' units.
 *
 * NSA at 65536 tokens, 64/4 heads of 128, 16 blocks of 64 a query, is 4.2 million times a query, a kv head and a block: 2.2 TFLOP, 2.8 ms
 * at 790 TFLOP/s. Query by query each reads 32 KiB of keys and values: 137 GB from L2. A multiprocessor takes in 64 bytes a
 * cycle at best, 9.3 ms at 1.75 GHz, which is the floor for lists at random: two in a group seldom agree. Going key by key instead (units_sm90.cu)
 * writes and reads 34 GB of sums, another 8 ms of device memory, of which the units alone took 7.5 when measured.
 *
 * Measured on one H200, milliseconds, and beside them flash-linear-attention's Triton kernel and narrow_sm90.cu, which took such lists before:
 *
 *     64/4 heads of 128, 65536 tokens, 16 blocks of 64      random    clipped    alike      (tests/bench_cuda.c says how lists are drawn)
 *     three warpgroups of 64 rows                           18.2      11.7       5.33       398 TFLOP/s of lists that are alike
 *     two, queries in registers                             16.7      10.5       5.68
 *     narrow_sm90.cu                                        12.5      8.80       7.34
 *     flash-linear-attention                                23.1      22.6       21.8       95 to 97
 *
 * Of two, each took some 1900 cycles a unit, whatever the other did, of which the tensor cores worked 512. So lists that neighbours share are
 * walked at 4.1 times that kernel's rate, and lists at random slower than narrow_sm90.cu would: which of the two is to run the union of
 * some groups could say.
 *
 *     head dim                      64      128
 *     registers at launch           128     128     consumers take 160, the producer 32; spills: in no loop
 *     shared memory, KB             217     209     units on their way: 12 and 5
 *
 * Next: that choice; two units a step, whose scores are 128 keys wide.
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/single.cuh"

enum { WALKERS = 3, WINDOW = 4096, MOST_EACH = (32 - WHO) / WALKERS }; /* warpgroups; units that are compared at once; queries of a warpgroup, bits of a word */

#ifdef __CUDACC__
/* ---- lists compared ---- */

/* Which units neighbours agree on, and how many name each of the others. A block a group x selections. */
__global__ void __launch_bounds__(GROUP) compare_lists(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ turned t)
{
    __shared__ int seen[WINDOW]; /* how many name a unit; from bit 16 on whose they are */
    __shared__ int warp_sum[GROUP / 32];
    const int selection = blockIdx.y, many = t.together ? t.together : 1, lane = threadIdx.x % 32,
              warp = threadIdx.x / 32, first = blockIdx.x * many, entries = (min(first + many, t.queries) - first) * t.slots;
    const int64_t group = (int64_t)selection * t.groups + blockIdx.x;
    int found = 0;
    for (int base = 0; base < t.units; base += WINDOW) {
        const int units = min((int)WINDOW, t.units - base);
        for (int i = threadIdx.x; i < units; i += GROUP) seen[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; t.together && i < entries; i += GROUP) {
            int unit = look_up(p, t, selection, first + i / t.slots, i % t.slots).unit - base;
            if (unit < 0 || unit >= units) continue;
            atomicAdd(seen + unit, 1);
            atomicOr(seen + unit, 1 << (16 + i / t.slots / t.whose));
        }
        __syncthreads();
        for (int from = 0; t.together && from < units; from += GROUP) {
            int unit = from + threadIdx.x, x = unit < units ? seen[unit] : 0;
            bool agreed = (x & 0xffff) >= t.agree;
            uint32_t others = __ballot_sync(~0u, agreed);
            if (lane == 0) warp_sum[warp] = __popc(others);
            __syncthreads();
            int at = found + __popc(others & ((1u << lane) - 1));
            for (int i = 0; i < GROUP / 32; i++) {
                if (i < warp) at += warp_sum[i];
                found += warp_sum[i];
            }
            if (agreed) t.agreed[group * t.most + at] = (uint32_t)(base + unit) | (uint32_t)(x >> 16) << WHO;
            __syncthreads();
        }
        for (int i = threadIdx.x; t.alone && i < entries; i += GROUP) {
            int query = first + i / t.slots;
            place_named n = look_up(p, t, selection, query, i % t.slots);
            int unit = n.unit - base;
            if (base == 0 && n.unit < 0) t.alone[n.alone] = 0;
            if (n.unit < 0 || unit < 0 || unit >= units) continue;
            bool alone = (seen[unit] & 0xffff) < t.agree;
            t.alone[n.alone] = alone;
            if (alone) atomicAdd(t.count + ((int64_t)(query / t.chunk) * p.selections + selection) * t.units + n.unit, 1);
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) t.agreements[group] = found;
}

#endif

sf_status sf_single_compare(sf_backend *b, const sf_cuda_plan &p, const turned &t)
{
    const int many = t.together ? t.together : 1;
    compare_lists<<<dim3(ceil_div(t.queries, many), p.selections), GROUP, 0, sf_cuda_of(b)->stream>>>(p, t);
    LAUNCH_TRY(compare_lists);
    return SF_OK;
}

/* ---- queries, under all that their group names ---- */

/* One warpgroup copies keys and values, the others multiply, 64 rows each. */
template <int DIM> struct long_ring {
    bf16 q[WALKERS][ROWS * DIM]; /* like the tiles of the ring, at a multiple of 1024 bytes */
    ring<DIM, DIM == 64 ? 12 : 5> keys;
};

#ifdef SM90A
/* Turns scores into exp2(score - most) in bf16 and the rows' states along; fade: what the output so far is to be scaled by. */
__device__ static inline void soften_rows(float (&score)[KEYS / 2], row_state &r, float (&fade)[2], const sf_cuda_plan &p, float scale, int unit,
                                          const int (&position)[2], const bool (&mine)[2])
{
    const int lane = threadIdx.x % 32;
    if (__any_sync(~0u, (mine[0] && unit * KEYS + KEYS - 1 > position[0]) || (mine[1] && unit * KEYS + KEYS - 1 > position[1])) || p.window) {
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++)
            if (!sf_cuda_sees(p, position[i / 2 % 2], unit * KEYS + i / 4 * 8 + lane % 4 * 2 + i % 2)) score[i] = -INFINITY;
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float most = score[h * 2];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) most = fmaxf(most, fmaxf(score[n * 4 + h * 2], score[n * 4 + h * 2 + 1]));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
        float before = r.most[h];
        if (mine[h] && (most - before) * scale > 8.f) r.most[h] = most; /* also from -INFINITY */
        fade[h] = before == r.most[h] ? 1.f : exp2_fast((before - r.most[h]) * scale);
        /* rows that do not name the unit: exp2(-INFINITY) of all scores */
        float offset = !mine[h] ? INFINITY : r.most[h] == -INFINITY ? 0.f : r.most[h] * scale, sum = r.sum[h] * fade[h];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float &x = score[n * 4 + h * 2 + e];
                x = exp2_fast(fmaf(x, scale, -offset));
                sum += x;
            }
        r.sum[h] = sum;
    }
}

template <int DIM> __device__ static inline void start_output(float (&out)[DIM / 2], const uint32_t (&prob)[KEYS / 4], const bf16 *v)
{
    wgmma_fence();
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) wgmma_registers(out, prob + n * 4, descriptor(v + n * 16 * 64, KEYS * 128, 1024));
    wgmma_commit();
}

template <int DIM>
__device__ static void consume(long_ring<DIM> &s, const sf_cuda_plan &p, const rows_work &w, const turned &t, const share &c, int jobs)
{
    const int STAGES = decltype(s.keys)::STAGES, me = threadIdx.x / GROUP - 1, lane = threadIdx.x % 32, r0 = threadIdx.x % GROUP / 32 * 16 + lane / 4;
    const places at(p.packed);
    int stages = 0; /* before the one that is looked at next */
    for (int number = blockIdx.x; number < jobs; number += gridDim.x) {
        const job j(p, t, c, number);
        sf_cuda_tile tile = {};
        tile.query = t.query + j.query + me * at.each, tile.head = j.list_head * p.packed;
        tile.queries = max(min(at.each, c.query + c.queries - tile.query), 0);
        int position[2];
        uint32_t bit[2]; /* of this thread's rows, among whom a unit is for */
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int slot = at.slot(r0 + h * 8);
            position[h] = p.origin + tile.query + slot;
            bit[h] = slot < tile.queries ? 1u << (WHO + me * at.each + slot) : 0;
        }
        named_sync(1 + me, GROUP); /* nobody multiplies with the queries before */
        fetch_queries<DIM>(s.q[me], p, w.q, at, tile.head, [&](int slot) { return slot < tile.queries ? tile.query + slot : -1; });
        float out[DIM / 2], score[KEYS / 2], fade[2];
#pragma unroll
        for (int i = 0; i < DIM / 2; i++) out[i] = 0;
        uint32_t prob[KEYS / 4];
        row_state r = {{-INFINITY, -INFINITY}, {0, 0}};
        const uint32_t ours = ((1u << at.each) - 1) << (WHO + me * at.each);
        uint32_t told = 0;
        int stage = 0, before = 0, held_at = 0; /* held_at: number of the stage `before` */
        auto let_go = [&](int of) { warp_arrive(&s.keys.empty[of], lane); };
        const int end = stages + j.n;
        auto advance = [&](int limit) { /* to the next stage, before number `limit`, that is for this warpgroup */
            for (; stages < limit; stages++) {
                stage = stages % STAGES;
                barrier_wait(&s.keys.full[stage], stages / STAGES % 2);
                told = s.keys.unit[stage];
                if (told & ours) return stages++, true;
                let_go(stage);
            }
            return false;
        };
        auto weigh = [&]() {
            const bool mine[2] = {(told & bit[0]) != 0, (told & bit[1]) != 0};
            soften_rows(score, r, fade, p, w.scale, (int)(told & ((1u << WHO) - 1)), position, mine);
        };
        auto keep = [&]() {
#pragma unroll
            for (int i = 0; i < KEYS / 4; i++) prob[i] = pack(score[i * 2], score[i * 2 + 1]);
            if (__any_sync(~0u, fade[0] != 1.f || fade[1] != 1.f)) {
#pragma unroll
                for (int i = 0; i < DIM / 2; i++) out[i] *= fade[i / 2 % 2];
            }
            before = stage, held_at = stages - 1;
        };
        auto finish = [&]() {
            start_output<DIM>(out, prob, s.keys.v[before]);
            wgmma_wait<0>();
            hold(out);
            let_go(before);
        };
        copy_wait<0>();
        fence_async();
        named_sync(1 + me, GROUP); /* all of the queries are here */
#pragma unroll 1
        while (advance(end)) {
            start_scores<DIM>(score, s.q[me], s.keys.k[stage]);
            wgmma_wait<0>();
            hold(score);
            weigh();
            keep();
            /* the next scores in flight with this output; not of a stage that waits for this one's room */
#pragma unroll 1
            while (advance(min(end, held_at + STAGES))) {
                const int at_hand = before;
                start_scores<DIM>(score, s.q[me], s.keys.k[stage]);
                start_output<DIM>(out, prob, s.keys.v[at_hand]);
                wgmma_wait<1>();
                hold(score);
                weigh();
                wgmma_wait<0>();
                hold(out);
                let_go(at_hand);
                keep();
            }
            finish();
        }
        store_rows<DIM>(out, r, p, w, tile, r0);
    }
}
#endif

/* Grid: as many blocks as there is room for; each takes many groups of neighbours. */
template <int DIM>
__global__ void __launch_bounds__(GROUP *(WALKERS + 1), 1)
    walk_groups(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ rows_work w, const __grid_constant__ maps m,
               const __grid_constant__ turned t, const __grid_constant__ share c, int jobs)
{
#ifdef SM90A
    fill_and_read<DIM, WALKERS, 32, 160, long_ring<DIM>>(p, m, t, c, jobs, [&](long_ring<DIM> &s) { consume<DIM>(s, p, w, t, c, jobs); });
#endif
}

/* ---- host ---- */

/* [heads, rows, D], boxes of a unit. */
sf_status sf_single_map(sf_backend *b, CUtensorMap *map, const void *data, const sf_attention *a)
{
    cuuint64_t row = (cuuint64_t)a->head_dim * sizeof(bf16), halves = (cuuint64_t)a->head_dim / 64;
    cuuint64_t size[4] = {64, (cuuint64_t)a->keys, halves, (cuuint64_t)a->kv_heads};
    cuuint64_t stride[3] = {row, 128, (cuuint64_t)a->kv.prompt.capacity * row};
    cuuint32_t box[4] = {64, KEYS, (cuuint32_t)halves, 1};
    return sf_hopper_map(b, map, data, 4, size, stride, box);
}

/* Whether groups walk what they name, for lists of so many rows, or go key by key; WALKS: narrow_sm90.cu would else take up to 32 rows. */
static const bool WALKS = true;
static bool walks(int dim, int packed) { return dim < 256 && ROWS / packed <= MOST_EACH; }

template <int DIM>
static sf_status run(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const sf_cuda_finish *to)
{
    typedef long_ring<DIM> Ring;
    static_assert(sizeof(Ring) <= 227 << 10, "what a block can have");
    sf_cuda *c = sf_cuda_of(b);
    const int T = a->queries, lists = pattern->heads == a->heads ? a->heads : a->kv_heads, packed = a->heads / lists, selections = pattern->heads;
    turned t = {};
    t.parts = pattern->block_k / KEYS, t.slots = (int)pattern->first.stride * t.parts, t.units = ceil_div(a->keys, (int)KEYS);
    t.together = WALKERS * (ROWS / packed), t.whose = 1, t.agree = 1, t.chunks = 1;
    t.most = min(t.units, t.together * t.slots);
    const size_t group = (size_t)selections * (t.most + 1) * sizeof(int); /* bytes of its tables */
    const int all = ceil_div(T, t.together);
    t.groups = SINGLE_TABLES / group < 1 ? 1 : SINGLE_TABLES / group < (size_t)all ? (int)(SINGLE_TABLES / group) : all;
    t.chunk = t.groups * t.together;
    sf_cuda_plan plan;
    SF_TRY(sf_cuda_plan_make(b, a, pattern, SF_SHARE_ALL, ROWS, t.groups * group, &plan, (void **)&t.agreed));
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    t.agreements = (int *)(t.agreed + (size_t)selections * t.groups * t.most);
    maps m;
    SF_TRY(sf_single_map(b, &m.k, a->kv.prompt.k, a));
    SF_TRY(sf_single_map(b, &m.v, a->kv.prompt.v, a));
    SF_TRY(sf_cuda_allow_shared((const void *)walk_groups<DIM>, sizeof(Ring)));
    rows_work w = {(const bf16 *)a->q, *to, a->scale * (float)M_LOG2E, c->report};
    share s = {};
    s.heads = lists;
    for (; s.query < T; s.query += t.chunk) {
        s.queries = t.queries = T - s.query < t.chunk ? T - s.query : t.chunk, t.query = s.query;
        const int groups = ceil_div(t.queries, t.together), jobs = groups * lists;
        SF_TRY(sf_single_compare(b, plan, t));
        walk_groups<DIM><<<jobs < c->sms ? jobs : c->sms, GROUP *(WALKERS + 1), sizeof(Ring), c->stream>>>(plan, w, m, t, s, jobs);
        LAUNCH_TRY(walk_groups);
    }
    c->pending = true;
    return SF_OK;
}

bool sf_single_takes(const sf_attention *a, const sf_pattern *p)
{
    const int packed = p->heads == a->heads ? 1 : a->heads / a->kv_heads, parts = p->block_k / KEYS;
    if (p->kind != SF_BLOCKS || p->block_q != 1 || p->block_k % KEYS != 0 || p->first.stride * parts >= 1 << 16 || ceil_div(a->keys, (int)KEYS) >= 1 << WHO)
        return false;
    return walks(a->head_dim, packed) ? WALKS && packed <= ROWS / 2 : packed * 5 <= 2 * KEYS;
}

sf_status sf_single_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_cuda_finish *to)
{
    const int packed = p->heads == a->heads ? 1 : a->heads / a->kv_heads;
    if (walks(a->head_dim, packed)) return a->head_dim == 128 ? run<128>(b, a, p, to) : run<64>(b, a, p, to);
    return sf_units_prefill(b, a, p, to);
}
