/* Decode attention of patterns that are more than pages or a window: bands, parts joined or gated, summaries, other distances.
 *
 * A block of 8 warps takes its share of the slots of one query head, part by part (in bands.cuh's runs, a list's pages, or
 * all keys; then summaries), 32 slots a warp at a time: a lane finds one slot's key, then the warp takes the keys that are
 * seen one by one, a lane 1/32 of the head dim, and softens the 32 logits together. A second kernel joins the shares in order.
 * Other distances turn the query, for each chunk of keys: what a key's logit depends on is their difference, and the cache
 * stays as it is. Angles are taken in double, as the query is turned in fp32.
 *
 * Lanes go together, up to 32 a launch: what is asked of each is sent to the device first, and a block copies its lane's to shared
 * memory. A lane alone has it among the kernel's arguments.
 *
 * Every head reads its keys itself, where decode.cu reads them once for a group; what is read here is mostly little. A part
 * that reads much at other distances (Dual Chunk Attention on a long cache) takes the group's keys from the L2 cache.
 *
 * Test: make test-cuda. */
#include "kernels/cuda/decode_slots.cuh"

enum { WARPS = 8, ELEMENTS = SF_CUDA_HEAD_DIM / 32, LANES = 32 };
/* Blocks of a multiprocessor: 80 registers, of which none is spilt on sm_80 and sm_90a; of a packed prompt 128. */
enum { RESIDENT = 3, RESIDENT_PACKED = 2 };

struct partial {
    float most, sum;
};

/* Number d of a key or value. */
template <bool PACKED> __device__ static inline float number(const query &x, bool value, const bf16 *row, int64_t packed, int d)
{
    return PACKED && packed >= 0 ? sf_cuda_packed_number(x.packed.of[value], packed, d) : __bfloat162float(row[d]);
}

/* ---- one head ---- */

/* Element d of the query turned by so many positions. Called, not unrolled into each element: inlined, its angles in double took 96
 * registers of the whole kernel, which left room for two blocks in place of three. Which product is added unrounded is as it was inlined. */
__device__ __noinline__ static float turned(const query &x, const float *q, int d, int by)
{
    int half = x.D / 2, pair = x.interleaved ? d / 2 : d % half, apart = x.interleaved ? 1 : half;
    bool second = x.interleaved ? d % 2 : d >= half;
    float s, c;
    sincosf((float)remainder((double)by * x.frequency[pair], 2 * M_PI), &s, &c);
    return second ? q[d - apart] * s + q[d] * c : q[d] * c - q[d + apart] * s;
}

/* Shares [blocks] of head h, of all its parts together or, gated, of each: weight [H, blocks, results] from x.first on, out likewise
 * times D. */
template <bool PACKED> __device__ static inline void take_share(const query &x, partial *weight, float *out)
{
    __shared__ float q[SF_CUDA_HEAD_DIM], shared_out[WARPS][SF_CUDA_HEAD_DIM];
    __shared__ partial shared_weight[WARPS];
    int h = blockIdx.y, block = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, results = x.gated ? x.terms : 1;
    for (int d = threadIdx.x; d < x.D; d += blockDim.x) q[d] = __bfloat162float(x.q[(int64_t)h * x.D + d]);
    __syncthreads();
    float most = -INFINITY, sum = 0, o[ELEMENTS], now[ELEMENTS];
    unsigned long long pairs = 0;
    for (int e = 0; e < ELEMENTS; e++) o[e] = 0;
    for (int k = 0; k < x.terms; k++) {
        const term &t = x.term[k];
        slots s = slots_of(x, t, h);
        int share = ((s.all + x.blocks - 1) / x.blocks + 31) / 32 * 32, end = min(s.all, (block + 1) * share), by = INT_MAX;
        for (int i = block * share + warp * 32; i < end; i += WARPS * 32) {
            found f = find<PACKED>(x, t, s, h, i + lane, end);
            unsigned seen = __ballot_sync(~0u, f.k != NULL);
            float logit = -INFINITY;
            pairs += __popc(seen);
            for (unsigned left = seen; left; left &= left - 1) {
                int from = __ffs(left) - 1, turn = __shfl_sync(~0u, f.by, from);
                const bf16 *key = (const bf16 *)__shfl_sync(~0u, (unsigned long long)f.k, from);
                const int64_t packed = PACKED ? __shfl_sync(~0u, f.packed, from) : -1;
                if (turn != by) {
                    by = turn;
#pragma unroll
                    for (int e = 0; e < ELEMENTS; e++) {
                        int d = lane + 32 * e;
                        now[e] = d < x.D ? by ? turned(x, q, d, by) : q[d] : 0;
                    }
                }
                float dot = 0;
#pragma unroll
                for (int e = 0; e < ELEMENTS; e++)
                    if (lane + 32 * e < x.D) dot += now[e] * number<PACKED>(x, false, key, packed, lane + 32 * e);
                dot = warp_sum(dot);
                if (lane == from) logit = capped(dot * x.scale, x.cap) + f.bias;
            }
            if (!seen) continue;
            float higher = fmaxf(most, warp_max(logit)), fade = expf(most - higher), p = expf(logit - higher);
            sum = sum * fade + warp_sum(p);
            most = higher;
#pragma unroll
            for (int e = 0; e < ELEMENTS; e++) o[e] *= fade;
            for (unsigned left = seen; left; left &= left - 1) {
                int from = __ffs(left) - 1;
                float weight = __shfl_sync(~0u, p, from);
                const bf16 *value = (const bf16 *)__shfl_sync(~0u, (unsigned long long)f.v, from);
                const int64_t packed = PACKED ? __shfl_sync(~0u, f.packed, from) : -1;
#pragma unroll
                for (int e = 0; e < ELEMENTS; e++)
                    if (lane + 32 * e < x.D) o[e] += weight * number<PACKED>(x, true, value, packed, lane + 32 * e);
            }
        }
        if (!x.gated && k + 1 < x.terms) continue;

        /* The warps' results, joined. */
        if (lane == 0) shared_weight[warp] = partial{most, sum};
#pragma unroll
        for (int e = 0; e < ELEMENTS; e++)
            if (lane + 32 * e < x.D) shared_out[warp][lane + 32 * e] = o[e];
        __syncthreads();
        int64_t to = x.first + ((int64_t)h * x.blocks + block) * results + (x.gated ? k : 0);
        float top = -INFINITY;
        for (int w = 0; w < WARPS; w++) top = fmaxf(top, shared_weight[w].most);
        for (int d = threadIdx.x; d < x.D; d += blockDim.x) {
            float all = 0, value = 0;
            for (int w = 0; w < WARPS && top != -INFINITY; w++) {
                float fade = expf(shared_weight[w].most - top);
                all += fade * shared_weight[w].sum, value += fade * shared_out[w][d];
            }
            out[to * x.D + d] = value;
            if (d == 0) weight[to] = partial{top, all};
        }
        __syncthreads();
        most = -INFINITY, sum = 0;
        for (int e = 0; e < ELEMENTS; e++) o[e] = 0;
    }
    if (lane == 0 && x.pairs && pairs) atomicAdd((unsigned long long *)x.pairs + h, pairs);
}

template <bool PACKED>
__global__ void __launch_bounds__(WARPS * 32, PACKED ? RESIDENT_PACKED : RESIDENT) decode_shares(const __grid_constant__ query x, partial *weight, float *out)
{
    take_share<PACKED>(x, weight, out);
}

/* What is asked of a lane, in shared memory. */
__device__ static inline const query &lane_of(const query *lanes, int lane, query *room)
{
    static_assert(sizeof(query) % sizeof(uint64_t) == 0, "whole words");
    const uint64_t *from = (const uint64_t *)(lanes + lane);
    for (unsigned i = threadIdx.x; i < sizeof(query) / sizeof(uint64_t); i += blockDim.x) ((uint64_t *)room)[i] = from[i];
    __syncthreads();
    return *room;
}

/* Grid: (the most blocks that a lane has) x heads x lanes. */
template <bool PACKED>
__global__ void __launch_bounds__(WARPS * 32, PACKED ? RESIDENT_PACKED : RESIDENT) decode_shares_together(const query *lanes, partial *weight, float *out)
{
    __shared__ __align__(16) unsigned char room[sizeof(query)];
    const query &x = lane_of(lanes, blockIdx.z, (query *)room);
    if ((int)blockIdx.x < x.blocks) take_share<PACKED>(x, weight, out);
}

/* A block a head. */
__device__ static inline void join_head(const query &x, const partial *weight, const float *from, sf_cuda_report *report)
{
    int h = blockIdx.x, results = x.gated ? x.terms : 1, g = h / (x.H / x.G);
    for (int d = threadIdx.x; d < x.D; d += blockDim.x) {
        float result = 0;
        for (int k = 0; k < results; k++) {
            const term &t = x.term[k];
            int64_t at = x.first + (int64_t)h * x.blocks * results + k;
            float top = -INFINITY, all = 0, value = 0;
            for (int i = 0; i < x.blocks; i++) top = fmaxf(top, weight[at + i * results].most);
            for (int i = 0; i < x.blocks && top != -INFINITY; i++) {
                float fade = expf(weight[at + i * results].most - top);
                all += fade * weight[at + i * results].sum, value += fade * from[(at + i * results) * x.D + d];
            }
            value = all > 0 ? value / all : 0;
            if (x.gated && t.kind == SF_CONSTANT) value = __bfloat162float(t.v[(int64_t)g * x.D + d]);
            result += (x.gated && t.gate ? t.gate[h] : 1) * value;
            if (x.gated || d) continue;
            if (x.lse) x.lse[h] = all > 0 ? top + logf(all) : -INFINITY;
            if (x.complains && !(all > 0)) sf_raise(report, SF_FAULT_EMPTY_ROW, x.layer, h, 0);
        }
        x.out[(int64_t)h * x.D + d] = __float2bfloat16(result);
    }
}

__global__ void join_shares(const __grid_constant__ query x, const partial *weight, const float *from, sf_cuda_report *report)
{
    join_head(x, weight, from, report);
}

__global__ void join_shares_together(const query *lanes, const partial *weight, const float *from, sf_cuda_report *report)
{
    __shared__ __align__(16) unsigned char room[sizeof(query)];
    join_head(lane_of(lanes, blockIdx.y, (query *)room), weight, from, report);
}

/* The keys alone, counted. */
__global__ void tally_shares(const __grid_constant__ query x)
{
    int h = blockIdx.x;
    unsigned long long pairs = 0;
    for (int k = 0; k < x.terms; k++) {
        slots s = slots_of(x, x.term[k], h);
        for (int i = threadIdx.x; i < s.all; i += blockDim.x) pairs += find<false>(x, x.term[k], s, h, i, s.all).k != NULL;
    }
    if (pairs) atomicAdd((unsigned long long *)x.pairs + h, pairs);
}

/* ---- host ---- */

static bool turns(const sf_attention *a, const sf_pattern *p) { return sf_reach_bound(p->reach, a->keys - 1) > 0; }

bool sf_cuda_decodes_parts(const sf_attention *a, const sf_pattern *p)
{
    return p->kind == SF_BANDS || p->kind == SF_PARTS || p->sum.k.data || turns(a, p);
}

static sf_status decode_together(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out)
{
    sf_cuda *c = sf_cuda_of(b);
    query x[LANES];
    const int H = a[0]->heads, D = a[0]->head_dim;
    int64_t shares = 0;
    int most = 0;
    if (D > SF_CUDA_HEAD_DIM) return sf_fail(SF_UNSUPPORTED, "cuda: head dim %d; at most %d is built", D, SF_CUDA_HEAD_DIM);
    for (int l = 0; l < lanes; l++) {
        SF_TRY(describe_all(a[l], pattern[l], &x[l]));
        x[l].out = out + (int64_t)l * H * D, x[l].first = shares;
        shares += (int64_t)H * x[l].blocks * (x[l].gated ? x[l].terms : 1);
        most = x[l].blocks > most ? x[l].blocks : most;
    }
    query *sent;
    SF_TRY(sf_cuda_workspace(b, LANES * sizeof *sent + (size_t)shares * (sizeof(partial) + D * sizeof(float)), (void **)&sent));
    partial *weight = (partial *)(sent + LANES);
    float *of = (float *)(weight + shares);
    const bool packed = a[0]->kv.prompt.packed; /* as of all lanes: sf_cuda_decode() */
    if (lanes == 1) {
        (packed ? decode_shares<true> : decode_shares<false>)<<<dim3(most, H), WARPS * 32, 0, c->stream>>>(x[0], weight, of);
        LAUNCH_TRY(decode_shares);
        join_shares<<<H, SF_CUDA_HEAD_DIM, 0, c->stream>>>(x[0], weight, of, c->report);
        LAUNCH_TRY(join_shares);
    } else {
        SF_TRY(b->ops->upload(b, sent, x, (size_t)lanes * sizeof *x));
        (packed ? decode_shares_together<true> : decode_shares_together<false>)<<<dim3(most, H, lanes), WARPS * 32, 0, c->stream>>>(sent, weight, of);
        LAUNCH_TRY(decode_shares_together);
        join_shares_together<<<dim3(H, lanes), SF_CUDA_HEAD_DIM, 0, c->stream>>>(sent, weight, of, c->report);
        LAUNCH_TRY(join_shares_together);
    }
    c->pending = c->awaited = true;
    return SF_OK;
}

sf_status sf_cuda_decode_parts(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out)
{
    for (int l = 0; l < lanes; l += LANES)
        SF_TRY(decode_together(b, lanes - l < LANES ? lanes - l : LANES, a + l, pattern + l, out + (int64_t)l * a[0]->heads * a[0]->head_dim));
    return SF_OK;
}

sf_status sf_cuda_tally_parts(sf_backend *b, const sf_attention *a, const sf_pattern *pattern)
{
    query x;
    SF_TRY(describe_all(a, pattern, &x));
    tally_shares<<<x.H, 256, 0, sf_cuda_of(b)->stream>>>(x);
    LAUNCH_TRY(tally_shares);
    return SF_OK;
}
