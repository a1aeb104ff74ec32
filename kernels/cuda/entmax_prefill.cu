/* Prefill attention by α-entmax (entmax.cuh): rows in which few keys weigh, and the executor.
 *
 * A row's τ over some of its keys is at most its τ over all: more keys only take weight away. So one pass over the keys is
 * enough where few of them weigh. It knows a bound of each row below which no key weighs, at first the row's largest logit so far less
 * q; keys above it are put down, in order, and where a thread's room for them is filled, Newton's method over what is there raises the
 * bound and what lies below it goes. A tile of keys of which none passes its row's bound costs its products and a comparison a logit: no
 * exponential, no sum, no value. In the end τ is found among the few, and the values of those that weigh, and of no other key, are
 * gathered and added in fp32.
 *
 * A row of which more keys weigh than its room holds is left to a second kernel (entmax_many.cu).
 *
 * A row's result depends on the row alone: its bound, its list and its being left over come from its own logits, in the order of its
 * keys; sums over a list are in that order too; what a tile of others adds to it in the second kernel is exactly 0.
 *
 * As sm_90a compiles it, padded head dims of 64, 128 and 256: registers 168, 168 and 151; it spills 344 bytes at 64 and 128 (128 rows a
 * block), where three blocks run on a multiprocessor.
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
#include "kernels/cuda/entmax_tiles.cuh"

extern "C" {
#include "kernels/host.h"
}

enum { RAISING = 3 };        /* steps of Newton's method that raise a bound */
enum { RAISED_EACH = 2048 }; /* keys */
enum { ROOM = 128 };         /* keys that a thread puts down of a row, a quarter of the row's */

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

/* ---- host ---- */

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
    const int items = plan.tiles * plan.lists;
    entmax_few<DIM, SETS><<<items < blocks ? items : blocks, THREADS, sizeof(few), c->stream>>>(plan, o);
    LAUNCH_TRY(entmax_few);
    SF_TRY(sf_cuda_entmax_many(b, whole, rest, o));
    c->pending = c->awaited = true;
    return SF_OK;
}

sf_status sf_cuda_entmax_refuse(const sf_attention *a, const sf_pattern *pattern)
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
    SF_TRY(sf_cuda_entmax_refuse(a, pattern));
    return BY_HEAD_DIM(a->head_dim, prefill_of, b, a, pattern, out);
}
