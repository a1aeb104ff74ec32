/* Decode attention by α-entmax (entmax.cuh), and rows of exact probabilities.
 *
 * Logits of all keys are written down (products on mma.sync, K read once for the heads that share it), a block a head finds τ
 * and lists what weighs, and blocks share out the values of those: V is read of the keys that weigh alone.
 *
 * Measured on one H200: entmax_prefill.cu. Test: make test-cuda. */
#include "kernels/cuda/decode_slots.cuh"
#include "kernels/cuda/entmax_row.cuh"

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
        SF_TRY(sf_cuda_entmax_refuse(a[l], pattern[l]));
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
