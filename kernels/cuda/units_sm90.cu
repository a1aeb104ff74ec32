/* Prefill attention for Hopper (sm_90a) by lists of key blocks of which every query has its own, up to 10 heads sharing one (at head dim 256 up
 * to 25): MoBA's, and the selected branch of NSA with small groups. single_sm90.cu's groups would be of 24 queries and more, whose
 * lists have little in common. The order is the keys'.
 *
 * The lists are turned round: for each chunk of queries and each unit of 64 keys, who names it. A block loads the unit's keys and
 * values, and two warpgroups gather its queries, 64 rows (queries x heads) a tile, the next tile's under the products of this one. A
 * tile is one product of scores, a softmax within the unit, one product with the values, and what comes out goes to memory: for
 * each (query, place in its list, head) the values' sum in bf16, with the largest score and the sum of exponentials in fp32.
 *
 * Units that a group of neighbours agrees on (128 rows, of which 32 or more name it) are left out, and computed by a second kernel,
 * which takes the groups one after the other: it joins, for each row in the order of its list, what it computes and what the
 * first one left. Both round a unit's part of a row alike, so that it makes no difference who computed it: a row's sums
 * follow from its own list alone, to the bit, whatever rows it met in a tile and in whatever order they were gathered.
 *
 * Bytes, a row and unit of 64 keys at head dim 128: 256 of queries, 264 of sums written and read again, the latter through device memory.
 * 67 million of them (NSA of 64/4 heads, 65536 tokens, 16 blocks) move 35 GB, 8.3 ms at 4.2 TB/s. Keys in half units would double that:
 * blocks of 32 and less are left to narrow_sm90.cu and prefill.cu.
 *
 * Measured on one H200 for 16 heads a list, which single_sm90.cu takes: random lists 19.1 ms, such as are alike 9.9. With the sums joined by
 * join_units, as at head dim 256, 20.2 and 19.7, of which 12.4 were the joins, in three times the instructions that they have now.
 *
 *     head dim                      64      128     256
 *     attend_units: registers       128     128     255     spills: 16 bytes at 128
 *         shared memory, KB         53      101     197     blocks a multiprocessor 2, 2, 1
 *     attend_queries: registers     168     168             consumers take 240, the producer 24; spills: 124 bytes at 128
 *         shared memory, KB         161     193
 *
 * Next: blocks of 128 and more as one unit, whose parts are summed before they are written.
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/single.cuh"

enum { THREADS = GROUPS * (int)GROUP, ITEM_TILES = 16, SCAN = 1024 };

static const size_t ROOM = (size_t)1 << 30; /* bytes for a chunk's sums, at most, unless a single query takes more */

/* A unit that so many of 128 rows name is computed for all 128: twice 512 cycles of tensor cores, where one by one they cost some 30 a
 * row, what is written and read again. */
enum { AGREE_ROWS = 32 };

template <int DIM> struct layout {
    static const int TILE = KEYS * DIM;
    bf16 k[TILE], v[TILE], q[GROUPS][2][ROWS * DIM]; /* [64 of the head dim][row][64], swizzled */
    uint32_t named[(int)ITEM_TILES * (int)ROWS];
    uint64_t full;
};

#ifdef __CUDACC__
/* ---- lists turned round ---- */

/* Who names a unit that nobody near names too. In any order. A warp a list. */
__global__ void write_named(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ turned t)
{
    int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32), warp = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    for (int i = warp; i < p.selections * t.queries; i += warps) {
        int selection = i / t.queries, query = i % t.queries;
        for (int slot = lane; slot < t.slots; slot += 32) {
            place_named n = look_up(p, t, selection, query, slot);
            if (n.unit < 0 || !t.alone[n.alone]) continue;
            int64_t row = (int64_t)(query / t.chunk) * p.selections + selection;
            int at = atomicAdd(t.count + row * t.units + n.unit, 1);
            t.named[row * t.chunk * t.slots + at] = (uint32_t)(query % t.chunk) << 16 | (uint32_t)slot;
        }
    }
}

/* Where each unit's begin, and items of them. A block a row of the tables. */
__global__ void __launch_bounds__(SCAN) make_items(const __grid_constant__ turned t)
{
    __shared__ int2 warp_sum[SCAN / 32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = 0, made = 0;
    int *count = t.count + (int64_t)blockIdx.x * t.units;
    item *items = t.items + (int64_t)blockIdx.x * t.room;
    for (int from = 0; from < t.units; from += SCAN) {
        int unit = from + threadIdx.x, n = unit < t.units ? count[unit] : 0, m = (n + t.each - 1) / t.each;
        int2 to = make_int2(n, m); /* sums up to here */
        for (int step = 1; step < 32; step *= 2) {
            int x = __shfl_up_sync(~0u, to.x, step), y = __shfl_up_sync(~0u, to.y, step);
            if (lane >= step) to.x += x, to.y += y;
        }
        __syncthreads();
        if (lane == 31) warp_sum[warp] = to;
        __syncthreads();
        int2 all = make_int2(0, 0);
        for (int i = 0; i < SCAN / 32; i++) {
            if (i < warp) to.x += warp_sum[i].x, to.y += warp_sum[i].y;
            all.x += warp_sum[i].x, all.y += warp_sum[i].y;
        }
        int begin = first + to.x - n, number = made + to.y - m;
        if (n) count[unit] = begin;
        for (int i = 0; i < m; i++) items[number + i] = {unit, begin + i * t.each, min(t.each, n - i * t.each)};
        first += all.x, made += all.y;
    }
    if (threadIdx.x == 0) t.made[blockIdx.x] = made;
}
#endif

#ifdef SM90A
/* ---- a unit of keys, for those who chose it ---- */

/* Of scores, exp2(score - most) in bf16, their sum, and the largest score; position: of this thread's rows. */
__device__ static inline void soften(uint32_t (&prob)[KEYS / 4], float (&most)[2], float (&sum)[2], float (&score)[KEYS / 2], const sf_cuda_plan &p, float scale,
                                     int unit, const int (&position)[2])
{
    const int lane = threadIdx.x % 32;
    if (__any_sync(~0u, unit * KEYS + KEYS - 1 > min(position[0], position[1])) || p.window) {
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++)
            if (!sf_cuda_sees(p, position[i / 2 % 2], unit * KEYS + i / 4 * 8 + lane % 4 * 2 + i % 2)) score[i] = -INFINITY;
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = score[h * 2];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) top = fmaxf(top, fmaxf(score[n * 4 + h * 2], score[n * 4 + h * 2 + 1]));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
        float offset = top == -INFINITY ? 0.f : top * scale, all = 0;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float &x = score[n * 4 + h * 2 + e];
                x = exp2_fast(fmaf(x, scale, -offset));
                all += x;
            }
        all += __shfl_xor_sync(~0u, all, 1);
        all += __shfl_xor_sync(~0u, all, 2);
        most[h] = top, sum[h] = all;
    }
#pragma unroll
    for (int i = 0; i < KEYS / 4; i++) prob[i] = pack(score[i * 2], score[i * 2 + 1]);
}

/* The unit's values, weighed by these. */
template <int DIM> __device__ static inline void multiply_values(float (&out)[DIM / 2], const uint32_t (&prob)[KEYS / 4], const bf16 *v)
{
    const int WIDE = DIM < 128 ? DIM : 128;
#pragma unroll
    for (int i = 0; i < DIM / 2; i++) out[i] = 0;
    wgmma_fence();
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++)
#pragma unroll
        for (int d = 0; d < DIM; d += WIDE)
            wgmma_registers(*(float(*)[WIDE / 2]) & out[d / 2], prob + n * 4, descriptor(v + d / 64 * KEYS * 64 + n * 16 * 64, KEYS * 128, 1024));
    wgmma_commit();
    wgmma_wait<0>();
    hold(out);
}

/* Four columns' octets of a row, of this thread, as they are kept. */
__device__ static inline uint4 pack_octets(const float *x)
{
    return make_uint4(pack(x[0], x[1]), pack(x[4], x[5]), pack(x[8], x[9]), pack(x[12], x[13]));
}

/* Slots of a list that name a unit which somebody at `position` may see; the others are its last. */
__device__ static inline int seen_slots(const turned &t, const int32_t *list, int slots, int position)
{
    while (slots && unit_at(t, list, slots - 1) > position / KEYS) slots--;
    return slots;
}

/* What a row has come to so far: the largest score, but for what it has grown by less than 2^8, and the sum. */
struct row_so_far {
    float most, sum;
};

/* Takes in a unit's part of a row, of which `most` and `sum` are told; the row's values so far are to be faded by .x, its own weighed by .y. */
__device__ static inline float2 take_in(row_so_far &r, float most, float sum, float scale)
{
    float before = r.most;
    if ((most - before) * scale > 8.f) r.most = most; /* also from -INFINITY */
    float fade = before == r.most ? 1.f : exp2_fast((before - r.most) * scale), weight = exp2_fast((most - r.most) * scale);
    r.sum = fmaf(sum, weight, r.sum * fade);
    return make_float2(fade, weight);
}

/* Values of two columns, in bf16, to those of a row. */
__device__ static inline void take_in(float &x, float &y, uint32_t word, float weight)
{
    x = fmaf(__uint_as_float(word << 16), weight, x);
    y = fmaf(__uint_as_float(word & 0xffff0000), weight, y);
}
#endif

#ifdef SM90A
/* One item, of a row of the tables and a row of tiles; phase: of the barrier. */
template <int DIM>
__device__ static inline void attend_item(layout<DIM> &s, const sf_cuda_plan &p, const rows_work &w, const maps &m, const turned &t, const share &c, int row,
                                          int list_head, const item &of, int phase)
{
    const int me = threadIdx.x / GROUP, lane = threadIdx.x % 32, r0 = threadIdx.x % GROUP / 32 * 16 + lane / 4, first_head = list_head * p.packed;
    const places at(p.packed);
    const int tiles = (of.n + at.each - 1) / at.each;
    const uint32_t *named = t.named + (int64_t)row * t.chunk * t.slots + of.first;
    __syncthreads(); /* nobody reads the item before any more */
    if (threadIdx.x == 0) {
        int kv_head = first_head / p.group;
        barrier_expect(&s.full, 2 * layout<DIM>::TILE * (int)sizeof(bf16));
        copy_unit<DIM>(s.k, &m.k, &s.full, of.unit, kv_head);
        copy_unit<DIM>(s.v, &m.v, &s.full, of.unit, kv_head);
    }
    for (int i = threadIdx.x; i < of.n; i += THREADS) s.named[i] = named[i];
    __syncthreads();
    auto fetch = [&](int n, int room) {
        fetch_queries<DIM>(s.q[me][room], p, w.q, at, first_head, [&](int slot) {
            int entry = n * at.each + slot;
            return entry < of.n ? c.query + (int)(s.named[entry] >> 16) : -1;
        });
    };
    if (me < tiles) fetch(me, 0);
    barrier_wait(&s.full, phase);
#pragma unroll 1
    for (int n = me, room = 0; n < tiles; n += GROUPS, room ^= 1) {
        copy_wait<0>();
        fence_async();
        named_sync(1 + me, GROUP); /* all of this tile is here; nobody multiplies with the one before */
        if (n + GROUPS < tiles) fetch(n + GROUPS, room ^ 1);
        int entry[2], position[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int slot = at.slot(r0 + h * 8), number = n * at.each + slot;
            bool valid = slot < at.each && number < of.n;
            entry[h] = valid ? (int)s.named[number] : -1; /* rows and slots of a chunk are below 2^15 and 2^16 */
            position[h] = valid ? p.origin + c.query + (entry[h] >> 16) : INT_MAX;
        }
        float score[KEYS / 2], out[DIM / 2], most[2], sum[2];
        uint32_t prob[KEYS / 4];
        start_scores<DIM>(score, s.q[me][room], s.k);
        wgmma_wait<0>();
        hold(score);
        soften(prob, most, sum, score, p, w.scale, of.unit, position);
        multiply_values<DIM>(out, prob, s.v);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if (entry[h] < 0) continue;
            int r = r0 + h * 8, head = r - at.slot(r) * p.packed;
            int64_t to = (((int64_t)(list_head - c.head) * t.chunk + (entry[h] >> 16)) * t.slots + (entry[h] & 0xffff)) * p.packed + head;
            if (lane % 4 == 0) c.state[to] = make_float2(most[h], sum[h]);
            uint4 *sums = (uint4 *)(c.sum + to * DIM) + lane % 4;
#pragma unroll
            for (int i = 0; i < DIM / 32; i++) sums[i * 4] = pack_octets(out + i * 16 + h * 2);
        }
    }
#ifdef SF_RACECHECK /* reports the last tile's reads of `named`, where one warpgroup had a tile more: as if it numbered barriers for each warp */
    for (int n = (tiles - me + GROUPS - 1) / GROUPS; n < (tiles + GROUPS - 1) / GROUPS; n++) named_sync(1 + me, GROUP);
#endif
}
#endif

/* Grid: as many blocks as there is room for; each takes many items, those of a row of tiles together. */
template <int DIM>
__global__ void __launch_bounds__(THREADS, DIM == 256 ? 1 : 2)
    attend_units(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ rows_work w, const __grid_constant__ maps m,
                 const __grid_constant__ turned t, const __grid_constant__ share c)
{
#ifdef SM90A
    extern __shared__ __align__(1024) unsigned char shared[];
    layout<DIM> &s = *(layout<DIM> *)shared;
    if (threadIdx.x == 0) {
        barrier_init(&s.full, 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        fence_async();
    }
    int number = blockIdx.x, phase = 0;
    for (int list_head = c.head; list_head < c.head + c.heads; list_head++) {
        const int row = c.chunk * p.selections + sf_cuda_selection(p, list_head), made = t.made[row];
        for (; number < made; number += gridDim.x, phase ^= 1)
            attend_item<DIM>(s, p, w, m, t, c, row, list_head, t.items[(int64_t)row * t.room + number], phase);
        number -= made;
    }
#endif
}

/* ---- queries, under the units that they agree on ---- */

/* One warpgroup copies keys and values, two multiply, each 64 rows of its own. */
template <int DIM> struct shared_units {
    static const int STAGES = DIM == 64 ? 8 : 4;
    bf16 q[GROUPS][2][ROWS * DIM]; /* like the tiles of the ring, at a multiple of 1024 bytes */
    ring<DIM, STAGES> keys;
};

#ifdef SM90A
template <int DIM>
__device__ static void consume(shared_units<DIM> &s, const sf_cuda_plan &p, const rows_work &w, const turned &t, const share &c, int jobs)
{
    const int BATCH = 1, STAGES = shared_units<DIM>::STAGES, me = threadIdx.x / GROUP - 1, lane = threadIdx.x % 32, r0 = threadIdx.x % GROUP / 32 * 16 + lane / 4;
    const places at(p.packed);
    auto fetch = [&](const job &j, int room) {
        int first = j.query + me * at.each;
        fetch_queries<DIM>(s.q[me][room], p, w.q, at, j.list_head * p.packed,
                           [&](int slot) { return first + slot < c.query - t.query + c.queries ? t.query + first + slot : -1; });
    };
    if ((int)blockIdx.x < jobs) fetch(job(p, t, c, blockIdx.x), 0);
    int stages = 0, room = 0;
    for (int number = blockIdx.x; number < jobs; number += gridDim.x, room ^= 1) {
        const job j(p, t, c, number);
        const int first = t.query + j.query + me * at.each; /* rows of q */
        int position[2], left[2];                           /* left: slots of the list */
        const int32_t *list[2];
        const float2 *state[2]; /* of the next slot */
        const uint4 *sums[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int r = r0 + h * 8, slot = at.slot(r), query = first + slot;
            bool valid = slot < at.each && query < c.query + c.queries;
            position[h] = valid ? p.origin + query : INT_MAX;
            int64_t row = (int64_t)j.selection * p.T + (valid ? query : 0),
                    from = (((int64_t)(j.list_head - c.head) * t.chunk + (valid ? query - c.query : 0)) * t.slots) * p.packed + r - slot * p.packed;
            list[h] = p.first.index + row * p.first.stride;
            left[h] = valid ? seen_slots(t, list[h], p.first.count[row] * t.parts, position[h]) : 0;
            state[h] = c.state + from, sums[h] = (const uint4 *)(c.sum + from * DIM) + lane % 4;
        }
        int done[2] = {0, 0}, next[2][BATCH]; /* the units that follow in the lists */
        auto look_ahead = [&](int h) {
#pragma unroll
            for (int b = 0; b < BATCH; b++) {
                next[h][b] = INT_MAX;
                if (done[h] + b < left[h]) next[h][b] = unit_at(t, list[h], done[h] + b);
            }
        };
        look_ahead(0), look_ahead(1);
        auto pass = [&](int h, int slots) {
            done[h] += slots, state[h] += slots * p.packed, sums[h] += slots * p.packed * (DIM / 8);
            look_ahead(h);
        };
        float out[DIM / 2];
#pragma unroll
        for (int i = 0; i < DIM / 2; i++) out[i] = 0;
        row_so_far r[2] = {{-INFINITY, 0}, {-INFINITY, 0}};
        auto fade_out = [&](int h, float by) {
            if (by == 1) return;
#pragma unroll
            for (int i = 0; i < DIM / 8; i++) out[i * 4 + h * 2] *= by, out[i * 4 + h * 2 + 1] *= by;
        };
        /* What others have computed of the units below `limit`, that this thread's rows name alone. */
        auto take_alone = [&](int limit) {
            for (;;) {
                if (!__any_sync(~0u, next[0][0] < limit || next[1][0] < limit)) return;
                bool there[2][BATCH];
#pragma unroll
                for (int h = 0; h < 2; h++)
#pragma unroll
                    for (int b = 0; b < BATCH; b++) there[h][b] = next[h][b] < limit;
                float2 one[2][BATCH];
                uint4 x[2][BATCH][DIM / 32];
#pragma unroll
                for (int h = 0; h < 2; h++)
#pragma unroll
                    for (int b = 0; b < BATCH; b++) {
                        one[h][b] = make_float2(-INFINITY, 0);
                        if (there[h][b]) one[h][b] = __ldcs(state[h] + b * p.packed);
#pragma unroll
                        for (int i = 0; i < DIM / 32; i++)
                            if (there[h][b]) x[h][b][i] = __ldcs(sums[h] + b * p.packed * (DIM / 8) + i * 4);
                    }
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    int taken = 0;
#pragma unroll
                    for (int b = 0; b < BATCH; b++) taken += there[h][b];
                    pass(h, taken);
                }
#pragma unroll
                for (int h = 0; h < 2; h++)
#pragma unroll
                    for (int b = 0; b < BATCH; b++) {
                        if (one[h][b].x == -INFINITY) continue;
                        float2 by = take_in(r[h], one[h][b].x, one[h][b].y, w.scale);
                        fade_out(h, by.x);
#pragma unroll
                        for (int i = 0; i < DIM / 32; i++) {
                            const uint32_t word[4] = {x[h][b][i].x, x[h][b][i].y, x[h][b][i].z, x[h][b][i].w};
#pragma unroll
                            for (int k = 0; k < 4; k++) take_in(out[i * 16 + k * 4 + h * 2], out[i * 16 + k * 4 + h * 2 + 1], word[k], by.y);
                        }
                    }
            }
        };

        copy_wait<0>();
        fence_async();
        named_sync(1 + me, GROUP); /* all of this tile is here; nobody multiplies with the one before */
        if (number + (int)gridDim.x < jobs) fetch(job(p, t, c, number + gridDim.x), room ^ 1);
        int stage = 0, unit = 0;
        auto let_go = [&](int of) { warp_arrive(&s.keys.empty[of], lane); };
        auto advance = [&](int &i) { /* to the next stage that is for this warpgroup, i being those before */
            for (; i < j.n; i++, stages++) {
                stage = stages % STAGES;
                barrier_wait(&s.keys.full[stage], stages / STAGES % 2);
                const uint32_t told = s.keys.unit[stage];
                unit = (int)(told & ((1u << WHO) - 1));
                if (told >> (WHO + me) & 1) return i++, stages++, true;
                let_go(stage);
            }
            return false;
        };
        float score[KEYS / 2], part[DIM / 2], most[2], sum[2];
        uint32_t prob[KEYS / 4];
        int i = 0;
        bool more = advance(i);
        start_scores<DIM>(score, s.q[me][room], s.keys.k[stage]);
#pragma unroll 1
        while (more) {
            const int now = unit, at_hand = stage;
            wgmma_wait<0>();
            hold(score);
            soften(prob, most, sum, score, p, w.scale, now, position);
            take_alone(now);
            multiply_values<DIM>(part, prob, s.keys.v[at_hand]);
            let_go(at_hand);
            more = advance(i);
            start_scores<DIM>(score, s.q[me][room], s.keys.k[stage]); /* after the last one, of whatever lies there: nobody looks at them */
#pragma unroll
            for (int h = 0; h < 2; h++) {
                if (next[h][0] != now) continue;
                pass(h, 1);
                if (most[h] == -INFINITY) continue;
                float2 by = take_in(r[h], most[h], sum[h], w.scale);
                fade_out(h, by.x);
#pragma unroll
                for (int k = 0; k < DIM / 8; k++)
                    take_in(out[k * 4 + h * 2], out[k * 4 + h * 2 + 1], pack(part[k * 4 + h * 2], part[k * 4 + h * 2 + 1]), by.y);
            }
        }
        wgmma_wait<0>();
        hold(score);
        take_alone(INT_MAX);
        const bool tells = lane % 4 == 0; /* sums are each whole already */
        row_state ends = {{r[0].most, r[1].most}, {tells ? r[0].sum : 0, tells ? r[1].sum : 0}};
        sf_cuda_tile tile = {};
        tile.query = first, tile.queries = max(min(at.each, c.query + c.queries - first), 0), tile.head = j.list_head * p.packed;
        store_rows<DIM>(out, ends, p, w, tile, r0);
    }
}
#endif

/* Grid: as many blocks as there is room for; each takes many groups of neighbours. */
template <int DIM>
__global__ void __launch_bounds__(GROUP *(GROUPS + 1), 1)
    attend_queries(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ rows_work w, const __grid_constant__ maps m,
                   const __grid_constant__ turned t, const __grid_constant__ share c, int jobs)
{
#ifdef SM90A
    fill_and_read<DIM, GROUPS, 24, 240, shared_units<DIM>>(p, m, t, c, jobs, [&](shared_units<DIM> &s) { consume<DIM>(s, p, w, t, c, jobs); });
#endif
}

/* ---- head dim 256: what the units gave a row, joined in the order of its list ---- */

enum { JOIN_THREADS = 256, AHEAD = 8 };

/* Threads: D / 8 a row, rows [queries, packed]. Grid: these x rows of tiles. */
template <int DIM>
__global__ void __launch_bounds__(JOIN_THREADS)
    join_units(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ rows_work w, const __grid_constant__ turned t,
               const __grid_constant__ share c)
{
#ifdef SM90A
    const int EACH = DIM / 8;
    int i = (blockIdx.x * JOIN_THREADS + threadIdx.x) / EACH, me = threadIdx.x % EACH, list_head = c.head + blockIdx.y;
    if (i >= c.queries * p.packed) return;
    int query = i / p.packed, head = i % p.packed, position = p.origin + c.query + query;
    int64_t list = (int64_t)sf_cuda_selection(p, list_head) * p.T + c.query + query;
    const int32_t *index = p.first.index + list * p.first.stride;
    const int slots = seen_slots(t, index, p.first.count[list] * t.parts, position);
    const int64_t from = ((int64_t)blockIdx.y * t.chunk + query) * t.slots * p.packed + head;
    const float2 *state = c.state + from;
    const uint4 *sums = (const uint4 *)(c.sum + from * DIM) + me;
    float out[8] = {};
    row_so_far r = {-INFINITY, 0};
    auto add = [&](float2 one, uint4 x) {
        if (one.x == -INFINITY) return;
        float2 by = take_in(r, one.x, one.y, w.scale);
        const uint32_t word[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int j = 0; j < 8; j++) out[j] *= by.x;
#pragma unroll
        for (int j = 0; j < 4; j++) take_in(out[j * 2], out[j * 2 + 1], word[j], by.y);
    };
    int slot = 0;
    for (; slot + AHEAD <= slots; slot += AHEAD) {
        float2 one[AHEAD];
        uint4 x[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            one[k] = __ldcs(state), x[k] = __ldcs(sums);
            state += p.packed, sums += p.packed * EACH;
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++) add(one[k], x[k]);
    }
    for (; slot < slots; slot++) {
        add(__ldcs(state), __ldcs(sums));
        state += p.packed, sums += p.packed * EACH;
    }
    int row = c.query + query, all = list_head * p.packed + head;
    float lse = r.sum > 0 ? (r.most * w.scale + log2f(r.sum)) * (float)M_LN2 : -INFINITY;
    sf_cuda_weights weights = sf_cuda_weigh(w.finish, p, row, all, lse, me == 0, w.report);
    float share = r.sum > 0 ? weights.found / r.sum : 0;
    bf16 *to = w.finish.out + ((int64_t)row * p.H + all) * DIM + me / 4 * 32 + me % 4 * 2;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float x = out[j * 2] * share, y = out[j * 2 + 1] * share;
        if (weights.there > 0) {
            float2 there = __bfloat1622float2(*(const __nv_bfloat162 *)(to + j * 8));
            x += weights.there * there.x, y += weights.there * there.y;
        }
        *(uint32_t *)(to + j * 8) = pack(x, y);
    }
#endif
}

/* ---- host ---- */

static size_t round_up(size_t bytes) { return ceil_div<size_t>(bytes, 256) * 256; }

template <int DIM>
static sf_status run(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const sf_cuda_finish *to)
{
    typedef layout<DIM> Layout;
    static_assert(sizeof(Layout) <= (DIM == 256 ? 227 : 113) << 10, "what a block can have");
    sf_cuda *c = sf_cuda_of(b);
    const int T = a->queries, lists = pattern->heads == a->heads ? a->heads : a->kv_heads, packed = a->heads / lists, selections = pattern->heads;
    turned t = {};
    t.parts = pattern->block_k / KEYS, t.slots = (int)pattern->first.stride * t.parts, t.units = ceil_div(a->keys, (int)KEYS);
    const size_t query = (size_t)t.slots * packed * (DIM * sizeof(bf16) + sizeof(float2)); /* bytes of its sums under one list */
    const size_t fit = ROOM / (query * lists + 1);
    t.chunk = fit < 1 ? 1 : fit > (size_t)T ? T : (int)fit;
    if (t.chunk > 1 << 15) t.chunk = 1 << 15;
    const bool rings = DIM < 256; /* at 256 a thread has no room for a unit's part of a row beside the row */
    t.together = rings ? GROUPS * (ROWS / packed) : 0;
    const int many = rings ? t.together : 1;
    t.whose = many / GROUPS > 1 ? many / GROUPS : 1;
    t.agree = max(2, ceil_div((int)AGREE_ROWS, packed));
    t.chunk = ceil_div(ceil_div(T, ceil_div(T, t.chunk)), many) * many;
    const int chunks = ceil_div(T, t.chunk);
    t.each = ITEM_TILES * (ROWS / packed);
    t.room = t.units + t.chunk * t.slots / t.each;
    t.most = rings ? min(t.units, many * t.slots / t.agree) : 0;
    const size_t entries = (size_t)t.chunk * t.slots, groups = t.chunk / many; /* of a chunk and selection */
    const size_t table = selections * (t.units * sizeof(int) + entries * (sizeof *t.named + sizeof *t.alone) + t.room * sizeof(item) + sizeof(int) +
                                       groups * (t.most + 1) * sizeof(int));
    t.chunks = SINGLE_TABLES / table < 1 ? 1 : SINGLE_TABLES / table > (size_t)chunks ? chunks : (int)(SINGLE_TABLES / table);
    t.groups = (int)groups * t.chunks;
    const size_t rows = (size_t)t.chunks * selections, counts = rows * t.units * sizeof(int), sums = entries * lists * packed;
    const size_t bytes[] = {counts, rows * entries * sizeof *t.named, rows * t.room * sizeof(item), rows * sizeof(int), rows * entries * sizeof *t.alone,
                            rows * groups * t.most * sizeof *t.agreed, rows * groups * sizeof(int), sums * DIM * sizeof(bf16), sums * sizeof(float2)};
    char *space, *at[sizeof bytes / sizeof *bytes];
    size_t all = 0;
    for (size_t x : bytes) all += round_up(x);
    sf_cuda_plan plan;
    SF_TRY(sf_cuda_plan_make(b, a, pattern, SF_SHARE_ALL, ROWS, all, &plan, (void **)&space));
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) at[i] = space, space += round_up(bytes[i]);
    t.count = (int *)at[0], t.named = (uint32_t *)at[1], t.items = (item *)at[2], t.made = (int *)at[3], t.alone = (uint8_t *)at[4];
    t.agreed = (uint32_t *)at[5], t.agreements = (int *)at[6];
    share s = {};
    s.sum = (bf16 *)at[7], s.state = (float2 *)at[8];

    maps m;
    SF_TRY(sf_single_map(b, &m.k, a->kv.prompt.k, a));
    SF_TRY(sf_single_map(b, &m.v, a->kv.prompt.v, a));
    SF_TRY(sf_cuda_allow_shared((const void *)attend_units<DIM>, sizeof(Layout)));
    if constexpr (DIM < 256) {
        static_assert(sizeof(shared_units<DIM>) <= 227 << 10, "what a block can have");
        SF_TRY(sf_cuda_allow_shared((const void *)attend_queries<DIM>, sizeof(shared_units<DIM>)));
    }
    rows_work w = {(const bf16 *)a->q, *to, a->scale * (float)M_LOG2E, c->report};
    for (int n = 0; n < chunks; n++) {
        s.chunk = n % t.chunks, s.query = n * t.chunk, s.queries = T - s.query < t.chunk ? T - s.query : t.chunk;
        if (s.chunk == 0) {
            t.query = s.query, t.queries = T - s.query < t.chunk * t.chunks ? T - s.query : t.chunk * t.chunks;
            CUDA_TRY(cudaMemsetAsync(t.count, 0, counts, c->stream));
            SF_TRY(sf_single_compare(b, plan, t));
            make_items<<<(unsigned)rows, SCAN, 0, c->stream>>>(t);
            LAUNCH_TRY(make_items);
            write_named<<<c->sms * 8, 256, 0, c->stream>>>(plan, t);
            LAUNCH_TRY(write_named);
        }
        for (s.head = 0; s.head < lists; s.head += lists) {
            const int heads = s.heads = lists - s.head < lists ? lists - s.head : lists;
            attend_units<DIM><<<min((int64_t)t.room * heads, (int64_t)c->sms * (DIM == 256 ? 1 : 2)), THREADS, sizeof(Layout), c->stream>>>(plan, w, m, t, s);
            LAUNCH_TRY(attend_units);
            if constexpr (DIM < 256) {
                const int jobs = ceil_div(s.queries, many) * heads;
                if (t.together) attend_queries<DIM><<<jobs < c->sms ? jobs : c->sms, GROUP *(GROUPS + 1), sizeof(shared_units<DIM>), c->stream>>>(plan, w, m, t, s, jobs);
                LAUNCH_TRY(attend_queries);
            }
            if (!t.together) {
                join_units<DIM><<<dim3(ceil_div(s.queries * packed * (DIM / 8), (int)JOIN_THREADS), heads), JOIN_THREADS, 0, c->stream>>>(plan, w, t, s);
                LAUNCH_TRY(join_units);
            }
        }
    }
    c->pending = true;
    return SF_OK;
}

sf_status sf_units_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_cuda_finish *to)
{
    if (a->head_dim == 256) return run<256>(b, a, p, to);
    return a->head_dim == 128 ? run<128>(b, a, p, to) : run<64>(b, a, p, to);
}
