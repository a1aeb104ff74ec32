/* Prefill attention for Hopper (sm_90a) by lists of key blocks that few rows share: blocks of 16 or 32 queries whose heads each
 * have a list of their own, of which prefill_sm90.cu's 64 rows would fill a quarter or a half.
 *
 * A unit is the 16 or 32 rows that share a list. A warp takes one, and a block 12 or 8 of them, side by side: the heads of a kv
 * head at one block of queries, then at the block before. One more warp merges their lists, 32 key blocks at a time as bits, and
 * has two others copy the keys and the values of every key block that any of them names, once: 16 keys a slot and four slots a
 * stage, with a bit for each unit that reads the slot. Each warp multiplies what its bits name with mma.sync, at a pace of its own
 * within the ring of stages. A unit's sums are taken over its own list alone, in its order, whatever units lie beside it. Output
 * and query (of 32 rows of dim 128, half of it) stay in registers. A row's maximum is raised once it has grown by 2^8: for most
 * keys that takes a vote, and neither shuffles nor rescaling.
 *
 * Measured on one H200, 131072 tokens, 32/8 heads of 128, density .10: lists of 16 that block_sparse chooses, whose neighbours agree, 45.0 ms, 52 % of ideal
 * (prefill_sm90.cu: 109.8); random lists, with one producer warp in place of three, 80.6 ms, 31 % (115), and of 32 51.6 ms, 48 % (54.0).
 *
 * Cycles of a multiprocessor for 16 keys of a unit, counted for 1.7 GHz, 131072 tokens, 32/8 heads, dim 128, density .10 and the
 * lists of bench_cuda, where a slot is read by 1.9 units of 16 rows or 1.6 of 32:
 *
 *                                          16 rows    32 rows
 *     shared memory, read                  64         96         128 bytes a cycle: no other unit shares what a warp reads
 *     shared memory, written               34         40
 *     mma.sync                             52         103        at the 62 % of wgmma's rate that it is said to reach
 *     all there are                        147        172        at 35 and 60 % of the ideal that bench_cuda prints
 *     L2, TB/s                             6.6        6.7        likewise; 12.5 and 10.7 were each unit to copy its own keys
 *
 * prefill_sm90.cu has drawn 8.1 TB/s from L2 for such lists without being slowed by it. So at 16 rows L2 should come first, then
 * shared memory; at 32 mma.sync, with two warps a scheduler to fill its gaps. Measured on one H200 while a single warp both merged and
 * copied: 16 rows 80.6 ms, 31 % of ideal (prefill_sm90.cu: 21), 32 rows 51.6 ms, 48 % (46). Both took 320 to 340 cycles a slot, whatever
 * its rows, and an estimated 220 of them were that warp's instructions: hence now three. These have not been measured.
 * Next: the scores of a slot under P·V of the one before. Lists that agree make less of all but the products; lists of unequal
 * length leave warps idle while the longest is walked. wgmma with keys as its 64 rows would read them from shared memory at the
 * same pace; from registers, past it, it would leave nothing to share.
 *
 *     head dim, rows           64, 16    64, 32    128, 16   128, 32     spills: none
 *     registers at launch      128       128       128       168         consumers take 152 or 232, producers 56 or 40
 *     shared memory, KB        225       225       225       225
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/narrow.cuh"

/* Whether this kernel takes lists that up to 16 rows share, and up to 32, or prefill_sm90.cu does. */
static const bool TAKES_16 = true, TAKES_32 = true;

enum { SLOTS = 4, QUEUE = 64, LAST = 1 << 30 };

struct maps {
    CUtensorMap k, v;
};

/* What a block holds. 32 rows of dim 128 leave a thread no room for all of a query beside their output: of each query, d >= HELD
 * lie here, so that the next keys and values can be on their way to registers under the products of these. */
template <int DIM, int ROWS> struct layout {
    static const bool LARGE = DIM * ROWS > 2048;
    static const int UNITS = LARGE ? 8 : 12, THREADS = GROUP * (UNITS / 4 + 1), HELD = LARGE ? 64 : DIM, STAGES = LARGE ? 6 : 896 / DIM,
                     TILE = KEYS * DIM;
    bf16 k[STAGES][SLOTS][TILE], v[STAGES][SLOTS][TILE]; /* a slot: [half of the head dim][key][64], swizzled */
    bf16 q[LARGE ? UNITS : 1][LARGE ? ROWS * 64 : 8];
    __align__(16) int units[STAGES][SLOTS]; /* bits of those that read a slot, none: nobody; LAST in the last stage */
    int key[STAGES][SLOTS];                 /* each slot's first */
    int2 queue[QUEUE];                      /* the merger's: blocks (x) and their units (y) of stages to come */
    uint64_t told[STAGES], full[STAGES], empty[STAGES];
};

#ifdef SM90A

/* A stage of the ring, and the parity of its barriers' phases once it has been filled this time. */
template <int STAGES> struct place {
    int stage, parity;
    __device__ void next()
    {
        if (++stage == STAGES) stage = 0, parity ^= 1;
    }
};

/* ---- producers ---- */

/* 16 keys, from `key` on, to shared memory. */
template <int DIM> __device__ static inline void copy_keys(bf16 *to, const CUtensorMap *map, uint64_t *bar, int key, int head)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %3, %5}], [%2];" ::"r"(
                     shared_address(to)),
                 "l"(map), "r"(shared_address(bar)), "r"(0), "r"(key), "r"(head)
                 : "memory");
}

/* x = *from, or as it was; nobody waits for it here. */
__device__ static inline void load_if(int &x, const int32_t *from, bool there)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %2, 0;\n@p ld.global.b32 %0, [%1];\n}\n" : "+r"(x) : "l"(from), "r"((int)there));
}

/* Keys or values of every stage that has been told. */
template <class Layout, int DIM>
__device__ static void load(Layout &s, bf16 (*to)[SLOTS][KEYS * DIM], const CUtensorMap *map, int head)
{
    int lane = threadIdx.x % 32;
    for (place<Layout::STAGES> at = {0, 0};; at.next()) {
        const int stage = at.stage;
        barrier_wait(&s.told[stage], at.parity);
        int units = lane < SLOTS ? s.units[stage][lane] : 0, key = s.key[stage][lane % SLOTS];
        int slots = __popc(__ballot_sync(~0u, (units & ~LAST) != 0));
        __syncwarp(); /* all have read what the merger may then write anew */
        if (lane == 0) barrier_expect(&s.full[stage], slots * Layout::TILE * (int)sizeof(bf16));
        __syncwarp();
        if (lane < slots) copy_keys<DIM>(to[stage][lane], map, &s.full[stage], key, head);
        if (__any_sync(~0u, units & LAST)) return;
    }
}

/* Names the slots of every stage. Lane u: where in the lists unit u's begins, and its length. */
template <class Layout> __device__ static void merge(Layout &s, const sf_cuda_plan &p, int64_t list, int left)
{
    const int UNITS = Layout::UNITS;
    int lane = threadIdx.x % 32, parts = p.block_k / KEYS; /* slots a key block */
    int queued = 0, ready = 0;                             /* blocks so far; slots not yet told */
    int block = lane / parts, part = lane % parts;         /* of the queue, this lane's slot of the next stage */
    int blocks = SLOTS / parts, over = SLOTS % parts;      /* how far these go on */
    asm volatile("" : "+r"(blocks), "+r"(over));           /* lest they be divided anew for every stage */
    place<Layout::STAGES> at = {0, 0};
#pragma unroll 1
    for (bool more = true;;) {
        int entry[UNITS]; /* the lists' next ones, on their way while stages are told */
#pragma unroll
        for (int u = 0; u < UNITS; u++) {
            int64_t from = __shfl_sync(~0u, list, u);
            int n = __shfl_sync(~0u, left, u);
            entry[u] = INT_MAX;
            load_if(entry[u], p.first.index + from + lane, lane < n);
        }
        /* whole stages; the last one is kept back until it is known to be that */
        for (; more ? ready > SLOTS : ready >= 0; ready -= SLOTS) {
            const int stage = at.stage;
            bool last = !more && ready <= SLOTS;
            barrier_wait(&s.empty[stage], at.parity ^ 1);
            if (lane < SLOTS) {
                int2 slot = s.queue[block % QUEUE];
                s.key[stage][lane] = slot.x * p.block_k + part * KEYS;
                s.units[stage][lane] = (lane < ready ? slot.y : 0) | (last ? LAST : 0);
                barrier_arrive(&s.told[stage]);
                barrier_arrive(&s.full[stage]);
            }
            block += blocks, part += over;
            if (part >= parts) part -= parts, block++;
            at.next();
            if (last) break;
        }
        if (!more) return;
        __syncwarp();
        int first = INT_MAX; /* of 32 blocks, the first that anyone names */
#pragma unroll
        for (int u = 0; u < UNITS; u++) first = min(first, entry[u]);
        first = __shfl_sync(~0u, first, 0); /* lists ascend */
        more = first != INT_MAX;
        int units = 0; /* of block first + lane */
#pragma unroll
        for (int u = 0; u < UNITS; u++) {
            unsigned apart = (unsigned)(entry[u] - first);
            uint32_t bits = __reduce_or_sync(~0u, more && apart < 32 ? 1u << apart : 0);
            units |= (int)(bits >> lane & 1) << u;
            if (lane == u) list += __popc(bits), left -= __popc(bits);
        }
        uint32_t named = __ballot_sync(~0u, units != 0);
        if (units) s.queue[(queued + __popc(named & ((1u << lane) - 1))) % QUEUE] = make_int2(first + lane, units);
        queued += __popc(named), ready += __popc(named) * parts;
        __syncwarp();
    }
}

/* ---- consumers ---- */

template <class Layout, int DIM, int ROWS>
__device__ static void consume(Layout &s, const sf_cuda_plan &p, const rows_work &w, const sf_cuda_tile &t, int unit)
{
    const int TILES = ROWS / 16;
    int lane = threadIdx.x % 32, position = t.position, last = position + t.queries - 1, window = p.window ? p.window : INT_MAX;
    const int HELD = Layout::HELD;
    uint32_t held[TILES][HELD / 4];
    float out[TILES][DIM / 2] = {};
    row_state r[TILES];
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        hold_queries<DIM, HELD>(held[i], p, w.q, t, i * 16 + lane / 4);
        r[i] = {{-INFINITY, -INFINITY}, {0, 0}};
    }
    if constexpr (Layout::LARGE) load_queries<DIM, HELD, ROWS, 32>(s.q[unit], p, w.q, t, 0, lane);
    __syncwarp();
    for (place<Layout::STAGES> n = {0, 0};; n.next()) {
        const int stage = n.stage;
        barrier_wait(&s.full[stage], n.parity);
        int4 units = *(const int4 *)s.units[stage];
        int mine = (units.x >> unit & 1) | (units.y >> unit & 1) << 1 | (units.z >> unit & 1) << 2 | (units.w >> unit & 1) << 3;
        for (; mine; mine &= mine - 1) {
            int slot = __ffs(mine) - 1, key = s.key[stage][slot];
            if (key > last) continue; /* a large block's keys behind the rows */
            float score[TILES][2][4];
            multiply_keys<DIM, HELD, TILES>(score, held, s.q[Layout::LARGE ? unit : 0], s.k[stage][slot]);
            if (key + KEYS - 1 > position || last - key >= window) {
#pragma unroll
                for (int i = 0; i < TILES * 2; i++) { /* the rows of this thread */
                    int at = position + (i * 8 + lane / 4) / p.packed;
#pragma unroll
                    for (int j = 0; j < 4; j++)
                        if (!sf_cuda_sees(p, at, key + j / 2 * 8 + lane % 4 * 2 + j % 2))
                            score[i / 2][j / 2][i % 2 * 2 + j % 2] = -INFINITY;
                }
            }
            soften<DIM, TILES>(score, r, out, w.scale);
            uint32_t prob[TILES][4];
#pragma unroll
            for (int i = 0; i < TILES; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) prob[i][j] = pack(score[i][j / 2][j % 2 * 2], score[i][j / 2][j % 2 * 2 + 1]);
            multiply_values<DIM, TILES>(out, prob, s.v[stage][slot]);
        }
        warp_arrive(&s.empty[stage], lane);
        if (units.x & LAST) break;
    }
#pragma unroll
    for (int i = 0; i < TILES; i++) store_rows<DIM>(out[i], r[i], p, w, t, i * 16 + lane / 4);
}

/* Unit i of kv head g; none: nothing. */
__device__ static inline sf_cuda_tile unit_of(const sf_cuda_plan &p, bool some, int i, int g)
{
    sf_cuda_tile t = {};
    int apart = p.lists / p.G;
    if (some && i < p.tiles * apart) t = sf_cuda_block_tile(p, p.tiles - 1 - i / apart, g * apart + i % apart);
    return t;
}
#endif

/* Grid: units of a kv head, those with the most keys first, so many a block x kv heads. */
template <int DIM, int ROWS>
__global__ void __launch_bounds__(layout<DIM, ROWS>::THREADS, 1)
    prefill_narrow(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ rows_work w, const __grid_constant__ maps m)
{
#ifdef SM90A
    typedef layout<DIM, ROWS> Layout;
    const int UNITS = Layout::UNITS;
    extern __shared__ __align__(1024) unsigned char shared[];
    Layout &s = *(Layout *)shared;
    if (threadIdx.x == 0) {
        for (int i = 0; i < Layout::STAGES; i++) {
            barrier_init(&s.told[i], SLOTS);
            barrier_init(&s.full[i], SLOTS + 2);
            barrier_init(&s.empty[i], UNITS * ARRIVALS);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        fence_async();
    }
    __syncthreads();
    int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32; /* so that the compiler knows it to be a warp's */
    if (warp < GROUP / 32) {
        if constexpr (Layout::LARGE)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        else
            asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        if (warp == 0) {
            sf_cuda_tile t = unit_of(p, lane < UNITS, blockIdx.x * UNITS + lane, blockIdx.y); /* a unit a lane */
            merge<Layout>(s, p, (int64_t)t.list * p.first.stride, t.slots / p.block_k);
        } else if (warp < 3) {
            load<Layout, DIM>(s, warp == 1 ? s.k : s.v, warp == 1 ? &m.k : &m.v, blockIdx.y);
        }
    } else {
        if constexpr (Layout::LARGE)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        else
            asm volatile("setmaxnreg.inc.sync.aligned.u32 152;");
        int unit = warp - GROUP / 32;
        consume<Layout, DIM, ROWS>(s, p, w, unit_of(p, true, blockIdx.x * UNITS + unit, blockIdx.y), unit);
    }
#endif
}

/* ---- host ---- */

/* [heads, rows, D], boxes of 16 rows. */
static sf_status describe(sf_backend *b, CUtensorMap *map, const void *data, const sf_attention *a)
{
    cuuint64_t row = (cuuint64_t)a->head_dim * sizeof(bf16), halves = (cuuint64_t)a->head_dim / 64;
    cuuint64_t size[4] = {64, (cuuint64_t)a->keys, halves, (cuuint64_t)a->kv_heads};
    cuuint64_t stride[3] = {row, 128, (cuuint64_t)a->kv.prompt.capacity * row};
    cuuint32_t box[4] = {64, KEYS, (cuuint32_t)halves, 1};
    return sf_hopper_map(b, map, data, 4, size, stride, box);
}

template <int DIM, int ROWS>
static sf_status run(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, const sf_cuda_finish *to)
{
    typedef layout<DIM, ROWS> Layout;
    static_assert(sizeof(Layout) <= 227 << 10, "what a block can have");
    sf_cuda *c = sf_cuda_of(b);
    sf_cuda_plan plan;
    maps m;
    SF_TRY(sf_cuda_plan_make(b, a, pattern, SF_SHARE_ALL, ROWS, 0, &plan, NULL));
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    SF_TRY(describe(b, &m.k, a->kv.prompt.k, a));
    SF_TRY(describe(b, &m.v, a->kv.prompt.v, a));
    SF_TRY(sf_cuda_allow_shared((const void *)prefill_narrow<DIM, ROWS>, sizeof(Layout)));
    rows_work w = {(const bf16 *)a->q, *to, a->scale * (float)M_LOG2E, c->report};
    dim3 grid(ceil_div(plan.tiles * (plan.lists / plan.G), Layout::UNITS), plan.G);
    prefill_narrow<DIM, ROWS><<<grid, Layout::THREADS, sizeof(Layout), c->stream>>>(plan, w, m);
    LAUNCH_TRY(prefill_narrow);
    c->pending = true;
    return SF_OK;
}

bool sf_narrow_takes(const sf_attention *a, const sf_pattern *p, int rows)
{
    bool few = rows <= 16 ? TAKES_16 : rows <= 32 && TAKES_32;
    return few && p->kind == SF_BLOCKS && a->head_dim <= 128 && p->block_k % KEYS == 0;
}

sf_status sf_narrow_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, int rows, const sf_cuda_finish *to)
{
    if (a->head_dim == 128) return rows > 16 ? run<128, 32>(b, a, p, to) : run<128, 16>(b, a, p, to);
    return rows > 16 ? run<64, 32>(b, a, p, to) : run<64, 16>(b, a, p, to);
}
