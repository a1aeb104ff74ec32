/* What the kernels for lists of single queries share (single_sm90.cu, units_sm90.cu): the lists as they are turned round, and a ring of
 * units of keys that a warp fills and warpgroups empty. */
#ifndef SF_CUDA_SINGLE_CUH
#define SF_CUDA_SINGLE_CUH

#include "kernels/cuda/prefill_sm90.cuh"

/* WHO: bits of a unit's number in a word; then come those whom it is for. */
enum { KEYS = 64, ROWS = 64, GROUPS = 2, WHO = 17 };

static const size_t SINGLE_TABLES = (size_t)64 << 20; /* bytes for lists turned round, at most, unless a single group or chunk takes more */

struct maps {
    CUtensorMap k, v;
};

/* Queries of some unit of keys: named[first .. first + n). */
struct item {
    int unit, first, n;
};

/* The lists of rows [query, query + queries) of q turned round, in chunks of `chunk` rows. Row (c, s) of a table is the c-th of these chunks under
 * selection s. */
struct turned {
    int query, queries, chunk, chunks;
    int slots, parts, units; /* slots: units that a list names at most; parts: units of a block */
    int each, room;          /* entries of an item; items that a row has room for */
    int *count;              /* [chunks, selections, units], then where the next one goes */
    uint32_t *named;         /* [chunks, selections, chunk * slots] row of the chunk << 16 | slot */
    item *items;             /* [chunks, selections, room] */
    int *made;               /* [chunks, selections] */
    int together, agree;     /* so many neighbouring queries share the units that `agree` of them name; 0: none do */
    int whose;               /* queries that share a bit of those */
    int groups, most;        /* of so many; agreed units that a group has room for */
    uint8_t *alone;          /* [selections, rows, slots] whether nobody near names it too */
    uint32_t *agreed;        /* [selections, groups, most] unit and, from bit WHO on, whom it is for: in order */
    int *agreements;         /* [selections, groups] */
};

/* What a launch computes: rows [query, query + queries) of q, the chunk-th chunk that is turned round, under `heads` rows of tiles
 * from `head` on; and where it leaves it. */
struct share {
    int chunk, query, queries, head, heads;
    bf16 *sum;     /* [heads, chunk, slots, packed, D]: 16 bytes hold the columns 8n + 2q and the next of four n, for chunk n/4 * 4 + q */
    float2 *state; /* [heads, chunk, slots, packed] largest score, sum of exponentials */
};

/* single_sm90.cu: a map of keys or values, boxes of a unit; and which units a group names, and its members alone. */
sf_status sf_single_map(sf_backend *b, CUtensorMap *map, const void *data, const sf_attention *a);
sf_status sf_single_compare(sf_backend *b, const sf_cuda_plan &p, const turned &t);

/* units_sm90.cu: key by key. */
sf_status sf_units_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_cuda_finish *to);

/* Units of keys on their way, of those that a group names. */
template <int DIM, int MANY> struct ring {
    static const int STAGES = MANY, TILE = KEYS * DIM;
    bf16 k[STAGES][TILE], v[STAGES][TILE]; /* [64 of the head dim][key][64], swizzled */
    uint32_t unit[STAGES];                 /* and whom it is for */
    uint64_t full[STAGES], empty[STAGES];
};

#ifdef __CUDACC__
/* Unit number `slot` of a list. */
__device__ static inline int unit_at(const turned &t, const int32_t *list, int slot)
{
    return t.parts == 1 ? list[slot] : list[slot / t.parts] * t.parts + slot % t.parts;
}

/* What a list names at some slot, and where it stands in the tables. */
struct place_named {
    int unit; /* -1: none that somebody sees */
    int64_t alone;
};

__device__ static inline place_named look_up(const sf_cuda_plan &p, const turned &t, int selection, int query, int slot)
{
    int64_t list = (int64_t)selection * p.T + t.query + query;
    int unit = -1;
    if (slot < p.first.count[list] * t.parts) unit = unit_at(t, p.first.index + list * p.first.stride, slot);
    if (unit > (p.origin + t.query + query) / KEYS) unit = -1;
    return {unit, ((int64_t)selection * t.chunk * t.chunks + query) * t.slots + slot};
}
#endif

#ifdef SM90A
template <int DIM> __device__ static inline void copy_unit(bf16 *to, const CUtensorMap *map, uint64_t *bar, int unit, int head)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %3, %5}], [%2];" ::"r"(
                     shared_address(to)),
                 "l"(map), "r"(shared_address(bar)), "r"(0), "r"(unit * KEYS), "r"(head)
                 : "memory");
}

/* Rows of a tile: queries x the heads of each. */
struct places {
    int packed, each, reciprocal; /* each: queries of a tile */
    __device__ places(int heads) : packed(heads), each(ROWS / heads), reciprocal(65536 / heads + 1) {}
    __device__ int slot(int r) const { return r * reciprocal >> 16; } /* r / packed, of r < 64 and packed <= 64 */
};

/* Row r of q on its way to row r of a tile, by the GROUP threads of a warpgroup; row_of(query of the tile): row of q, -1: zeros. */
template <int DIM, typename RowOf>
__device__ static inline void fetch_queries(bf16 *to, const sf_cuda_plan &p, const bf16 *q, const places &at, int first_head, RowOf row_of)
{
    const int CHUNKS = DIM / 8;
#pragma unroll
    for (int i = threadIdx.x % GROUP; i < ROWS * CHUNKS; i += GROUP) {
        int r = i / CHUNKS, chunk = i % CHUNKS, slot = at.slot(r), row = slot < at.each ? row_of(slot) : -1;
        const bf16 *from = q + ((int64_t)max(row, 0) * p.H + first_head + (row < 0 ? 0 : r - slot * at.packed)) * DIM + chunk * 8;
        copy_async(to + chunk / 8 * ROWS * 64 + r * 64 + (chunk % 8 ^ r % 8) * 8, from, row >= 0);
    }
    copy_commit();
}

/* A tile's scores under a unit's keys; whoever uses them has to wait. */
template <int DIM> __device__ static inline void start_scores(float (&score)[KEYS / 2], const bf16 *q, const bf16 *k)
{
    wgmma_fence();
#pragma unroll
    for (int d = 0; d < DIM; d += 16)
        wgmma_shared(score, descriptor(q + d / 64 * ROWS * 64 + d % 64, 16, 1024), descriptor(k + d / 64 * KEYS * 64 + d % 64, 16, 1024), d > 0);
    wgmma_commit();
}

/* Number `job` of a share: a group of neighbours under a row of tiles; those of a row follow each other. */
struct job {
    int list_head, selection, query; /* the first; of those that are turned round */
    const uint32_t *agreed;
    int n;
    __device__ job(const sf_cuda_plan &p, const turned &t, const share &c, int number)
    {
        int groups = (c.queries + t.together - 1) / t.together, group;
        list_head = c.head + number / groups, selection = sf_cuda_selection(p, list_head);
        query = c.query - t.query + (groups - 1 - number % groups) * t.together;
        group = selection * t.groups + query / t.together;
        agreed = t.agreed + (int64_t)group * t.most, n = t.agreements[group];
    }
};

/* readers: warpgroups. */
template <class Ring> __device__ static inline void begin_ring(Ring &s, int readers)
{
    for (int i = 0; i < Ring::STAGES; i++) {
        barrier_init(&s.full[i], 1);
        barrier_init(&s.empty[i], readers * GROUP / 32 * ARRIVALS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    fence_async();
}

/* A warp. */
template <int DIM, class Ring>
__device__ static void produce(Ring &s, const sf_cuda_plan &p, const maps &m, const turned &t, const share &c, int jobs)
{
    const int STAGES = Ring::STAGES;
    int lane = threadIdx.x % 32, at = 0;
    for (int number = blockIdx.x; number < jobs; number += gridDim.x) {
        const job j(p, t, c, number);
        const int kv_head = j.list_head * p.packed / p.group;
        for (int from = 0; from < j.n; from += 32) {
            uint32_t mine = from + lane < j.n ? j.agreed[from + lane] : 0;
            for (int i = 0; i < 32 && from + i < j.n; i++, at++) {
                uint32_t unit = __shfl_sync(~0u, mine, i);
                const int stage = at % STAGES;
                barrier_wait(&s.empty[stage], at / STAGES % 2 ^ 1);
                if (lane == 0) {
                    s.unit[stage] = unit;
                    barrier_expect(&s.full[stage], 2 * Ring::TILE * (int)sizeof(bf16));
                    copy_unit<DIM>(s.k[stage], &m.k, &s.full[stage], unit & ((1u << WHO) - 1), kv_head);
                    copy_unit<DIM>(s.v[stage], &m.v, &s.full[stage], unit & ((1u << WHO) - 1), kv_head);
                }
                __syncwarp();
            }
        }
    }
}

/* A block: the first warp of one warpgroup fills the ring s.keys, READERS others read(s). FILLER, READER: registers of a thread of each. */
template <int DIM, int READERS, int FILLER, int READER, class Shared, typename Read>
__device__ static inline void fill_and_read(const sf_cuda_plan &p, const maps &m, const turned &t, const share &c, int jobs, Read read)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    Shared &s = *(Shared *)shared;
    if (threadIdx.x == 0) begin_ring(s.keys, READERS);
    __syncthreads();
    if (threadIdx.x < GROUP) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(FILLER));
        if (threadIdx.x < 32) produce<DIM, decltype(s.keys)>(s.keys, p, m, t, c, jobs);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(READER));
        read(s);
    }
}
#endif
#endif
