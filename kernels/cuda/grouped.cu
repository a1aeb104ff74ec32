/* Mixtures of experts: each row through the matrices that it has chosen, all experts in one launch.
 *
 *     y[s] = x[s / each] · W[e(s)]ᵀ + bias[e(s)]        slots s = row · K + i; each: K, or 1 where every slot has a row of its own
 *
 * Where rows are is found on the device: a block counts each expert's slots, and cuts them into tiles of rows of one expert.
 * The products read that list, so that the host never waits for it; rows are read where they lie, and written where they
 * belong. Then
 *  - Decode, and shapes or chips that the other does not take: linear.cu's kernel for few rows, a block for 16 outputs of a tile
 * of 8 to 32 rows. The order of its sums is that of a linear layer in decode.
 *  - Prefill on Hopper: 128 rows x 256 outputs by two warpgroups, each 64 rows; four stages of 64 inputs, which all threads
 * copy two steps ahead; a block a multiprocessor takes tile after tile, and the next one's first inputs arrive while this one's
 * result is stored. A warpgroup none of whose rows is there multiplies nothing. Rows are anywhere, so that no bulk tensor copy
 * fetches them; weights could come by one, with a map an expert, and be read once for a cluster: next, if L2 is what limits it.
 *  - Prefill on chips before it: rows are gathered, and each expert's go through cuBLAS; the host waits for the numbers.
 *
 * An output is one chain of products over the inputs, 16 at a time in their order, whatever the tile: a row does not notice its
 * company, nor how its prompt is cut. Against one cuBLAS product an expert, as before, decode is the same bit for bit; prefill is
 * where cuBLAS's algorithm sums in that order, which it does not promise.
 *
 * Why not cuBLAS: cublasGemmGroupedBatchedEx takes each group's m, n and k from arrays of the host, so that a step would wait as
 * before; cuBLASLt of CUDA 13.0 has no grouped layout. Test: make test-cuda. Benchmark: tests/cuda.sh mixture. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/wgmma.cuh"

#include <stdlib.h>
#include <string.h>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SM90A 1
#endif

enum { THREADS = 256, GROUP = 128, ROWS = 128, OUTPUTS = 256, DEEP = 64, STAGES = 4, AHEAD = 2 };

/* ---- which rows go where ---- */

/* Inclusive sum over the threads of a block of SF_MOST_EXPERTS. */
__device__ static int sum_up_to(int x, int *warps)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int i = 1; i < 32; i <<= 1) {
        int before = __shfl_up_sync(~0u, x, i);
        if (lane >= i) x += before;
    }
    __syncthreads();
    if (lane == 31) warps[warp] = x;
    __syncthreads();
    for (int i = 0; i < warp; i++) x += warps[i];
    return x;
}

/* By one block. Tiles come by expert; in which order an expert's slots stand in them nobody notices. */
__global__ void __launch_bounds__(SF_MOST_EXPERTS)
    group_slots(const int32_t *expert, int slots, int experts, int rows, int32_t *slot, sf_cuda_expert_rows *tile, int32_t *tiles)
{
    __shared__ int at[SF_MOST_EXPERTS], warps[SF_MOST_EXPERTS / 32];
    const int e = threadIdx.x;
    auto for_all = [&](auto take) { /* a thread's slots, of which eight are on their way at a time */
        for (int from = e; from < slots; from += 8 * SF_MOST_EXPERTS) {
            int its[8];
#pragma unroll
            for (int i = 0; i < 8; i++) its[i] = from + i * SF_MOST_EXPERTS < slots ? expert[from + i * SF_MOST_EXPERTS] : -1;
#pragma unroll
            for (int i = 0; i < 8; i++)
                if (its[i] >= 0) take(from + i * SF_MOST_EXPERTS, its[i]);
        }
    };
    sf_begin();
    at[e] = 0;
    __syncthreads();
    for_all([&](int, int its) { atomicAdd(&at[its], 1); });
    __syncthreads();
    const int n = e < experts ? at[e] : 0, mine = (n + rows - 1) / rows;
    const int first = sum_up_to(n, warps) - n, end = sum_up_to(mine, warps);
    for (int i = 0; i < mine; i++) tile[end - mine + i] = {e, first + i * rows, min(rows, n - i * rows)};
    if (e == SF_MOST_EXPERTS - 1) *tiles = end;
    at[e] = first;
    __syncthreads();
    for_all([&](int s, int its) { slot[atomicAdd(&at[its], 1)] = s; });
}

/* The experts' addresses on the device, kept from the first time on. */
static sf_status find_experts(sf_backend *b, const sf_tensor *w, const sf_tensor *bias, int experts, const sf_cuda_expert **found)
{
    sf_cuda *c = sf_cuda_of(b);
    sf_cuda_expert here[SF_MOST_EXPERTS] = {};
    for (int e = 0; e < experts; e++) {
        if (w[e].dtype != SF_BF16) return sf_fail(SF_INTERNAL, "cuda: experts: a weight was not imported by this backend");
        here[e] = {(const bf16 *)w[e].data, bias ? (const float *)bias[e].data : NULL};
    }
    const size_t bytes = (size_t)experts * sizeof *here;
    for (int i = 0; i < c->mixtures; i++) {
        const sf_cuda_mixture *m = &c->mixture[i];
        *found = m->device;
        if (m->experts == experts && memcmp(m->host, here, bytes) == 0) return SF_OK;
    }
    sf_cuda_mixture *grown = (sf_cuda_mixture *)realloc(c->mixture, (c->mixtures + 1) * sizeof *grown);
    if (grown) c->mixture = grown;
    sf_cuda_mixture m = {experts, grown ? (sf_cuda_expert *)malloc(bytes) : NULL, NULL};
    if (!m.host) return sf_fail(SF_NO_MEMORY, "experts: no host memory for their addresses");
    memcpy(m.host, here, bytes);
    sf_status status = b->ops->alloc(b, bytes, (void **)&m.device);
    if (status == SF_OK) status = b->ops->upload(b, m.device, m.host, bytes);
    if (status == SF_OK) {
        c->mixture[c->mixtures++] = m;
    } else {
        b->ops->free(b, m.device);
        free(m.host);
    }
    *found = m.device;
    return status;
}

void sf_cuda_forget_experts(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    for (int i = 0; i < c->mixtures; i++) {
        cudaFree(c->mixture[i].device); /* waits for kernels that use it */
        free(c->mixture[i].host);
    }
    (void)cudaGetLastError();
    free(c->mixture);
    c->mixture = NULL;
    c->mixtures = 0;
}

/* ---- prefill on Hopper ---- */

struct stage {
    bf16 x[ROWS * DEEP], w[OUTPUTS * DEEP]; /* swizzled as wgmma.cuh says */
};

#ifdef SM90A
/* This warpgroup's 64 rows by the 256 outputs, of one stage. */
__device__ static inline void start_products(float (&sum)[2][64], const stage &s, int me, bool add)
{
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < DEEP; k += 16) {
        uint64_t rows = descriptor(s.x + me * 64 * DEEP + k, 16, 1024);
#pragma unroll
        for (int half = 0; half < 2; half++) wgmma_shared(sum[half], rows, descriptor(s.w + half * 128 * DEEP + k, 16, 1024), k > 0 || add);
    }
    wgmma_commit();
}
#endif

/* A block takes every gridDim.x-th of the tiles of rows x columns of outputs. */
__global__ void __launch_bounds__(THREADS, 1) grouped_wgmma(const bf16 *x, sf_cuda_groups g, int out, int in, bf16 *y)
{
#ifdef SM90A
    extern __shared__ __align__(1024) unsigned char shared[];
    stage *stages = (stage *)shared;
    const int me = threadIdx.x / GROUP, lane = threadIdx.x % 32, columns = (out + OUTPUTS - 1) / OUTPUTS;
    sf_begin();
    const int all = *g.tiles * columns;

    /* Copying: a thread has chunk `chunk` of each 32nd row, from `row` on. */
    const int row = threadIdx.x / 8, chunk = threadIdx.x % 8, spot = row * DEEP + (chunk ^ row % 8) * 8;
    const bf16 *from_x[ROWS / 32], *from_w = NULL;
    int ahead = blockIdx.x, at = 0, left = 0; /* the tile and the input that are copied next; rows of W from from_w on */
    auto begin_tile = [&] {
        if (ahead >= all) return;
        const sf_cuda_expert_rows t = g.tile[ahead / columns];
        const int first = ahead % columns * OUTPUTS + row;
#pragma unroll
        for (int i = 0; i < ROWS / 32; i++)
            from_x[i] = row + i * 32 < t.rows ? x + (int64_t)(g.slot[t.first + row + i * 32] / g.each) * in + chunk * 8 : NULL;
        from_w = g.expert[t.expert].w + (int64_t)first * in + chunk * 8;
        left = out - first;
    };
    auto copy_step = [&](int n) {
        if (ahead < all) {
            stage &to = stages[n % STAGES];
            const bool inside = at + chunk * 8 < in;
#pragma unroll
            for (int i = 0; i < ROWS / 32; i++) {
                const bool there = inside && from_x[i];
                copy_async(to.x + spot + i * 32 * DEEP, there ? from_x[i] + at : x, there);
            }
#pragma unroll
            for (int i = 0; i < OUTPUTS / 32; i++) {
                const bool there = inside && i * 32 < left;
                copy_async(to.w + spot + i * 32 * DEEP, there ? from_w + (int64_t)i * 32 * in + at : x, there);
            }
            at += DEEP;
            if (at >= in) {
                ahead += gridDim.x, at = 0;
                begin_tile();
            }
        }
        copy_commit(); /* also of nothing, so that the count of what is on its way holds */
    };

    begin_tile();
    for (int n = 0; n < AHEAD; n++) copy_step(n);
    float sum[2][64];
    int n = 0;
    for (int tile = blockIdx.x; tile < all; tile += gridDim.x) {
        const sf_cuda_expert_rows t = g.tile[tile / columns];
        for (int k = 0; k < in; k += DEEP, n++) {
            copy_wait<AHEAD - 1>();
            fence_async();
            __syncthreads(); /* all have copied step n, and all products of step n - 2, whose room is filled next, are done */
            if (me * 64 < t.rows) start_products(sum, stages[n % STAGES], me, k > 0);
            copy_step(n + AHEAD);
            wgmma_wait<1>();
        }
        wgmma_wait<0>();
        hold(sum[0]);
        hold(sum[1]);
        const float *bias = g.expert[t.expert].bias;
        const int first = tile % columns * OUTPUTS + lane % 4 * 2;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int r = threadIdx.x / 32 * 16 + lane / 4 + h * 8;
            if (r >= t.rows) continue;
            bf16 *to = y + (int64_t)g.slot[t.first + r] * out;
#pragma unroll
            for (int i = 0; i < OUTPUTS / 8; i++) {
                const int o = first + i * 8;
                if (o >= out) continue;
                float even = sum[i / 16][i % 16 * 4 + h * 2], odd = sum[i / 16][i % 16 * 4 + h * 2 + 1];
                if (bias) even += bias[o], odd += bias[o + 1];
                *(uint32_t *)(to + o) = pack(even, odd);
            }
        }
    }
#endif
}

static sf_status many_chosen(sf_backend *b, const bf16 *x, const sf_cuda_groups &g, const sf_tensor *w, bf16 *y)
{
    const int64_t out = w->dim[0], in = w->dim[1], tiles = g.most * ceil_div<int64_t>(out, OUTPUTS);
    const size_t bytes = STAGES * sizeof(stage);
    static_assert(bytes <= 227 << 10, "what a block can have");
    SF_TRY(sf_cuda_allow_shared((const void *)grouped_wgmma, bytes));
    const int blocks = sf_cuda_of(b)->sms;
    return sf_cuda_follow(b, grouped_wgmma, (unsigned)(tiles < blocks ? tiles : blocks), THREADS, bytes, x, g, (int)out, (int)in, y);
}

/* ---- prefill before Hopper ---- */

/* to[i] = from[slot[i] / each], or back; rows of `width`. */
__global__ void move_rows(const bf16 *from, const int32_t *slot, int64_t slots, int64_t width, int each, bool back, bf16 *to)
{
    sf_begin();
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < slots * width; i += (int64_t)gridDim.x * blockDim.x) {
        int64_t row = i / width, d = i % width, other = slot[row];
        if (back)
            to[other * width + d] = from[i];
        else
            to[i] = from[other / each * width + d];
    }
}

/* A tile has all rows of its expert. */
static sf_status one_by_one(sf_backend *b, const bf16 *x, const sf_cuda_groups &g, int64_t slots, const sf_tensor *w,
                            const sf_tensor *bias, bf16 *y)
{
    const int64_t out = w->dim[0], in = w->dim[1];
    const unsigned blocks = 1 << 12;
    sf_cuda_expert_rows tile[SF_MOST_EXPERTS];
    int32_t tiles;
    bf16 *from, *to;
    SF_TRY(sf_scratch_alloc(b, (size_t)(slots * in) * sizeof *from, (void **)&from));
    SF_TRY(sf_scratch_alloc(b, (size_t)(slots * out) * sizeof *to, (void **)&to));
    SF_TRY(sf_cuda_follow(b, move_rows, blocks, THREADS, 0, x, g.slot, slots, in, g.each, false, from));
    SF_TRY(b->ops->download(b, &tiles, g.tiles, sizeof tiles));
    SF_TRY(b->ops->download(b, tile, g.tile, (size_t)tiles * sizeof *tile));
    sf_meter unheard = {}, *meter = b->meter; /* linear() would count weights: see backend.h */
    b->meter = &unheard;
    sf_status status = SF_OK;
    for (int i = 0; i < tiles && status == SF_OK; i++) {
        const sf_cuda_expert_rows &t = tile[i];
        status = sf_cuda_linear(b, from + t.first * in, t.rows, &w[t.expert], bias ? &bias[t.expert] : NULL, false, to + t.first * out, SF_BF16);
    }
    b->meter = meter;
    SF_TRY(status);
    return sf_cuda_follow(b, move_rows, blocks, THREADS, 0, (const bf16 *)to, g.slot, slots, out, 1, true, y);
}

/* ---- the op ---- */

static sf_status products(sf_backend *b, const bf16 *x, int each, int64_t slots, int experts, const int32_t *expert, const sf_tensor *w,
                          const sf_tensor *bias, bf16 *y)
{
    const bool many = b->phase == SF_PREFILL && w->dim[0] % 8 == 0 && w->dim[1] % 8 == 0, hopper = sf_cuda_of(b)->hopper;
    sf_cuda_groups g = {};
    int32_t *slot, *tiles;
    sf_cuda_expert_rows *tile;
    g.rows = many ? hopper ? ROWS : (int)slots : slots <= 4 * experts ? 8 : slots <= 8 * experts ? 16 : 32;
    g.each = each;
    const int64_t most = slots / g.rows + experts;
    g.most = (int)(most < slots ? most : slots);
    SF_TRY(find_experts(b, w, bias, experts, &g.expert));
    SF_TRY(sf_scratch_alloc(b, (size_t)slots * sizeof *slot, (void **)&slot));
    SF_TRY(sf_scratch_alloc(b, (size_t)g.most * sizeof *tile, (void **)&tile));
    SF_TRY(sf_scratch_alloc(b, sizeof *tiles, (void **)&tiles));
    g.slot = slot, g.tile = tile, g.tiles = tiles;
    SF_TRY(sf_cuda_follow(b, group_slots, 1, SF_MOST_EXPERTS, 0, expert, (int)slots, experts, g.rows, slot, tile, tiles));
    if (!many) return sf_cuda_few_chosen(b, x, g, w, y);
    return hopper ? many_chosen(b, x, g, w, y) : one_by_one(b, x, g, slots, w, bias, y);
}

sf_status sf_cuda_experts(sf_backend *b, const void *x, bool own, int64_t rows, int experts, int chosen, const int32_t *expert,
                          const sf_tensor *w, const sf_tensor *bias, void *y)
{
    const int64_t slots = rows * chosen;
    if (slots == 0) return SF_OK;
    if (slots > INT32_MAX / 2) return sf_fail(SF_UNSUPPORTED, "cuda: experts: %lld rows at once are too many", (long long)slots);
    sf_mark mark = sf_scratch_mark(b);
    sf_status status = products(b, (const bf16 *)x, own ? 1 : chosen, slots, experts, expert, w, bias, (bf16 *)y);
    sf_scratch_release(b, mark);
    if (status == SF_OK) sf_meter_experts(b, rows, own, chosen, w);
    return status;
}
