/* The layers around attention: embedding, RMS norm, rotation, gated activation, residual addition, cache moves, argmax.
 *
 * All are bound by memory. Rows are independent and each row's sums have one order, so results do not depend on how
 * many rows travel together. Test: make test-cuda. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/packed.cuh"

#include <stdlib.h>

enum { THREADS = 256 };

static unsigned grid_for(int64_t n)
{
    return (unsigned)(n < 1 ? 1 : ceil_div<int64_t>(n, THREADS) > 1 << 20 ? 1 << 20 : ceil_div<int64_t>(n, THREADS));
}

#define FOR_ALL(i, n)                                                                                                  \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

/* N neighbours, in accesses of 16 bytes: 8 where shape and addresses allow it, else 1. */
template <int N, typename T = bf16> struct alignas(N == 1 ? sizeof(T) : 16) run {
    T x[N];
};

template <typename... P> static bool aligned(P... p) { return (((uintptr_t)p | ...) % 16) == 0; }

__global__ void embed(const bf16 *table, int64_t vocab, int width, const int32_t *token, int64_t rows, float scale,
                      float *out, sf_cuda_report *report)
{
    FOR_ALL(i, rows * width)
    {
        int64_t row = i / width;
        int32_t t = token[row];
        bool known = t >= 0 && t < vocab;
        if (!known && i % width == 0) sf_raise(report, SF_FAULT_TOKEN, 0, t, (int)row);
        out[i] = known ? scale * __bfloat162float(table[t * (int64_t)width + i % width]) : 0.f;
    }
}

sf_status sf_cuda_embed(sf_backend *b, const sf_tensor *table, const int32_t *token, int64_t rows, float scale,
                        float *out)
{
    sf_cuda *c = sf_cuda_of(b);
    int width = (int)table->dim[1];
    if (rows) {
        embed<<<grid_for(rows * width), THREADS, 0, c->stream>>>((const bf16 *)table->data, table->dim[0], width, token,
                                                                 rows, scale, out, c->report);
        LAUNCH_TRY(embed);
    }
    c->pending = true;
    sf_meter_embed(b, table, rows);
    return SF_OK;
}

__device__ static inline float load(const float *x, int64_t i) { return x[i]; }
__device__ static inline float load(const bf16 *x, int64_t i) { return __bfloat162float(x[i]); }

enum { NORM_THREADS = 1024, NORM_KEPT = 8 };

/* A warp a row for narrow rows (norms of heads), a block for wide ones, whose threads keep what they have read. */
template <typename T, bool WIDE>
__global__ void __launch_bounds__(WIDE ? NORM_THREADS : THREADS)
    rms_norm(const T *x, int64_t rows, int width, const float *weight, float offset, float eps, bf16 *out)
{
    const int KEPT = WIDE ? NORM_KEPT : 1;
    __shared__ float shared[32];
    int lanes = WIDE ? blockDim.x : 32, lane = WIDE ? threadIdx.x : threadIdx.x % 32;
    int64_t row = WIDE ? blockIdx.x : blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32;
    float factor[KEPT], kept[KEPT], sum = 0;
#pragma unroll
    for (int j = 0; WIDE && j < KEPT; j++) factor[j] = lane + j * lanes < width ? weight[lane + j * lanes] + offset : 0;
    sf_begin();
    if (row >= rows) return;
    x += row * width;
    out += row * width;
#pragma unroll
    for (int j = 0; WIDE && j < KEPT; j++) kept[j] = lane + j * lanes < width ? load(x, lane + j * lanes) : 0;
#pragma unroll
    for (int j = 0; WIDE && j < KEPT; j++) sum += kept[j] * kept[j];
    int rest = WIDE ? lane + KEPT * lanes : lane;
    for (int i = rest; i < width; i += lanes) {
        float v = load(x, i);
        sum += v * v;
    }
    sum = WIDE ? block_sum(sum, shared) : warp_sum(sum);
    float norm = 1.f / sqrtf(sum / width + eps);
#pragma unroll
    for (int j = 0; WIDE && j < KEPT; j++)
        if (lane + j * lanes < width) out[lane + j * lanes] = __float2bfloat16(kept[j] * norm * factor[j]);
    for (int i = rest; i < width; i += lanes) out[i] = __float2bfloat16(load(x, i) * norm * (weight[i] + offset));
}

__device__ static inline float4 load_four(const float *x) { return *(const float4 *)x; }
__device__ static inline float4 load_four(const bf16 *x)
{
    const uint2 raw = *(const uint2 *)x;
    const float2 low = __bfloat1622float2(*(const __nv_bfloat162 *)&raw.x), high = __bfloat1622float2(*(const __nv_bfloat162 *)&raw.y);
    return make_float4(low.x, low.y, high.x, high.y);
}

enum { FOUR_THREADS = NORM_THREADS / 4 };

/* As a block of NORM_THREADS does it above, to the bit, where rows are many: thread t has what threads 4t to 4t + 3 have there, so
 * that four rows and more are at a multiprocessor at once, and an access moves four numbers. Sums go by the same pairs. */
template <typename T>
__global__ void __launch_bounds__(FOUR_THREADS)
    rms_norm_by_fours(const T *x, int width, const float *weight, float offset, float eps, bf16 *out)
{
    __shared__ float shared[32];
    const int t = threadIdx.x;
    float4 kept[NORM_KEPT];
    float part[4] = {};
    sf_begin();
    x += (int64_t)blockIdx.x * width;
    out += (int64_t)blockIdx.x * width;
#pragma unroll
    for (int j = 0; j < NORM_KEPT; j++) {
        const int at = 4 * t + j * NORM_THREADS;
        kept[j] = at < width ? load_four(x + at) : make_float4(0, 0, 0, 0);
    }
#pragma unroll
    for (int j = 0; j < NORM_KEPT; j++) {
        part[0] += kept[j].x * kept[j].x, part[1] += kept[j].y * kept[j].y;
        part[2] += kept[j].z * kept[j].z, part[3] += kept[j].w * kept[j].w;
    }
#pragma unroll
    for (int i = 4; i; i >>= 1)
#pragma unroll
        for (int e = 0; e < 4; e++) part[e] += __shfl_xor_sync(~0u, part[e], i);
    if (t % 8 == 0) shared[t / 8] = (part[0] + part[2]) + (part[1] + part[3]);
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < NORM_THREADS / 32; i++) sum += shared[i];
    const float norm = 1.f / sqrtf(sum / width + eps);
#pragma unroll
    for (int j = 0; j < NORM_KEPT; j++) {
        const int at = 4 * t + j * NORM_THREADS;
        if (at >= width) break;
        const float4 w = *(const float4 *)(weight + at);
        const __nv_bfloat162 low = __floats2bfloat162_rn(kept[j].x * norm * (w.x + offset), kept[j].y * norm * (w.y + offset)),
                             high = __floats2bfloat162_rn(kept[j].z * norm * (w.z + offset), kept[j].w * norm * (w.w + offset));
        *(uint2 *)(out + at) = make_uint2(*(const unsigned *)&low, *(const unsigned *)&high);
    }
}

template <typename T>
static sf_status launch_rms_norm(sf_backend *b, const T *x, int64_t rows, int width, const float *weight, float offset,
                                 float eps, bf16 *out)
{
    const bool aligned = width % 4 == 0 && ((uintptr_t)x | (uintptr_t)weight | (uintptr_t)out) % 16 == 0;
    if (aligned && width > NORM_THREADS && width <= NORM_KEPT * NORM_THREADS && rows >= 4 * sf_cuda_of(b)->sms)
        return sf_cuda_follow(b, rms_norm_by_fours<T>, (unsigned)rows, (int)FOUR_THREADS, 0, x, width, weight, offset, eps, out);
    if (width > 512)
        return sf_cuda_follow(b, rms_norm<T, true>, (unsigned)rows, width > 1024 ? (int)NORM_THREADS : (int)THREADS, 0, x, rows, width,
                              weight, offset, eps, out);
    return sf_cuda_follow(b, rms_norm<T, false>, (unsigned)ceil_div<int64_t>(rows, THREADS / 32), THREADS, 0, x, rows, width,
                          weight, offset, eps, out);
}

sf_status sf_cuda_rms_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width,
                           const sf_tensor *weight, float offset, float eps, void *out)
{
    if (weight->dtype != SF_F32)
        return sf_fail(SF_INTERNAL, "cuda: rms_norm: the weight was not imported by this backend");
    if (from != SF_F32 && from != SF_BF16) return sf_fail(SF_INTERNAL, "cuda: rms_norm: input must be f32 or bf16");
    if (rows) {
        const float *w = (const float *)weight->data;
        if (from == SF_F32)
            SF_TRY(launch_rms_norm(b, (const float *)x, rows, width, w, offset, eps, (bf16 *)out));
        else
            SF_TRY(launch_rms_norm(b, (const bf16 *)x, rows, width, w, offset, eps, (bf16 *)out));
    }
    sf_meter_norm(b, from, rows, width, weight);
    return SF_OK;
}

template <typename T>
__global__ void layer_norm(const T *x, int width, const float *weight, const float *bias, float offset, float eps, bf16 *out)
{
    __shared__ float shared[2][32];
    sf_begin();
    x += blockIdx.x * (int64_t)width;
    out += blockIdx.x * (int64_t)width;
    float sum = 0, squares = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += load(x, i);
    float mean = block_sum(sum, shared[0]) / width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) squares += (load(x, i) - mean) * (load(x, i) - mean);
    float root = 1.f / sqrtf(block_sum(squares, shared[1]) / width + eps);
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        out[i] = __float2bfloat16((load(x, i) - mean) * root * (weight[i] + offset) + (bias ? bias[i] : 0.f));
}

sf_status sf_cuda_layer_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width, const sf_tensor *weight,
                             const sf_tensor *bias, float offset, float eps, void *out)
{
    const float *w = (const float *)weight->data, *shift = bias ? (const float *)bias->data : NULL;
    if (weight->dtype != SF_F32 || (shift && bias->dtype != SF_F32))
        return sf_fail(SF_INTERNAL, "cuda: layer_norm: the weight was not imported by this backend");
    if (from != SF_F32 && from != SF_BF16) return sf_fail(SF_INTERNAL, "cuda: layer_norm: input must be f32 or bf16");
    if (rows && from == SF_F32)
        SF_TRY(sf_cuda_follow(b, layer_norm<float>, (unsigned)rows, THREADS, 0, (const float *)x, width, w, shift, offset, eps, (bf16 *)out));
    else if (rows)
        SF_TRY(sf_cuda_follow(b, layer_norm<bf16>, (unsigned)rows, THREADS, 0, (const bf16 *)x, width, w, shift, offset, eps, (bf16 *)out));
    sf_meter_layer_norm(b, from, rows, width, weight, bias);
    return SF_OK;
}

__global__ void cast(const float *x, int64_t n, bf16 *out)
{
    sf_begin();
    FOR_ALL(i, n) out[i] = __float2bfloat16(x[i]);
}

sf_status sf_cuda_cast(sf_backend *b, const float *x, int64_t n, void *out)
{
    if (n) SF_TRY(sf_cuda_follow(b, cast, grid_for(n), THREADS, 0, x, n, (bf16 *)out));
    sf_meter_cast(b, n);
    return SF_OK;
}

/* A block a row, whose threads take N pairs at a time. */
template <int N, bool INTERLEAVED>
__global__ void rope(bf16 *x, int heads, int head_dim, int half, const int32_t *position, const float *cosine, const float *sine)
{
    sf_begin();
    const int64_t turn = (int64_t)position[blockIdx.x] * half;
    x += blockIdx.x * (int64_t)heads * head_dim;
    for (int i = threadIdx.x; i < heads * half / N; i += blockDim.x) {
        const int head = i / (half / N), p = i % (half / N) * N;
        bf16 *at = x + head * head_dim + (INTERLEAVED ? 2 * p : p);
        const run<N, float> co = *(const run<N, float> *)(cosine + turn + p), si = *(const run<N, float> *)(sine + turn + p);
        run<N> part[2] = {*(run<N> *)at, *(run<N> *)(at + (INTERLEAVED ? N : half))};
#pragma unroll
        for (int j = 0; j < N; j++) {
            const int first = INTERLEAVED ? 2 * j : j, second = INTERLEAVED ? 2 * j + 1 : N + j;
            bf16 &low = part[first / N].x[first % N], &high = part[second / N].x[second % N];
            float a = __bfloat162float(low), z = __bfloat162float(high);
            low = __float2bfloat16(a * co.x[j] - z * si.x[j]);
            high = __float2bfloat16(z * co.x[j] + a * si.x[j]);
        }
        *(run<N> *)at = part[0], *(run<N> *)(at + (INTERLEAVED ? N : half)) = part[1];
    }
}

sf_status sf_cuda_rope(sf_backend *b, void *x, int64_t rows, int heads, int head_dim, int rotary,
                       const int32_t *position, const float *cosine, const float *sine, bool interleaved)
{
    const int half = rotary / 2, n = heads * half;
    if (rows && n) {
        const bool eight = half % 8 == 0 && head_dim % 8 == 0 && aligned(x, cosine, sine);
        const int threads = min((int)THREADS, ceil_div(eight ? n / 8 : n, 32) * 32);
        auto kernel = interleaved ? eight ? rope<8, true> : rope<1, true> : eight ? rope<8, false> : rope<1, false>;
        SF_TRY(sf_cuda_follow(b, kernel, (unsigned)rows, threads, 0, (bf16 *)x, heads, head_dim, half, position, cosine, sine));
    }
    sf_meter_rope(b, rows, heads, rotary);
    return SF_OK;
}

__device__ static inline float bend(sf_curve c, float x)
{
    switch (c.kind) {
    case SF_SILU: return __fdividef(x, 1.f + __expf(-x)); /* a divisor above 2^126 gives 0 for what is below 2^-119 */
    case SF_GELU_TANH: return .5f * x * (1.f + tanhf(.7978845608028654f * (x + .044715f * x * x * x)));
    case SF_GELU: return .5f * x * erfcf(-x * .70710678f);
    case SF_RELU2: return x > 0 ? x * x : x == x ? 0 : x;
    case SF_CLAMPED: return __fdividef(fminf(x, c.p[1]), 1.f + __expf(-c.p[0] * fminf(x, c.p[1])));
    case SF_XIELU: break;
    }
    return x > 0 ? (c.p[0] * x + c.p[2]) * x : (expm1f(fminf(x, c.p[3])) - x) * c.p[1] + c.p[2] * x;
}

template <int N> __global__ void gated(bf16 *gate, const bf16 *up, int64_t runs, sf_curve curve)
{
    sf_begin();
    FOR_ALL(i, runs)
    {
        run<N> x = ((run<N> *)gate)[i], times;
        if (up) times = ((const run<N> *)up)[i];
#pragma unroll
        for (int j = 0; j < N; j++) {
            float by = up ? __bfloat162float(times.x[j]) : 1.f;
            if (curve.kind == SF_CLAMPED && up) by = fminf(fmaxf(by, -curve.p[1]), curve.p[1]) + 1.f;
            x.x[j] = __float2bfloat16(bend(curve, __bfloat162float(x.x[j])) * by);
        }
        ((run<N> *)gate)[i] = x;
    }
}

sf_status sf_cuda_gated(sf_backend *b, void *gate, const void *up, int64_t rows, int width, sf_curve curve)
{
    const int64_t n = rows * width;
    const bool eight = n % 8 == 0 && aligned(gate, up);
    const int64_t runs = eight ? n / 8 : n;
    if (n)
        SF_TRY(sf_cuda_follow(b, eight ? gated<8> : gated<1>, grid_for(runs), THREADS, 0, (bf16 *)gate, (const bf16 *)up, runs, curve));
    sf_meter_gated(b, rows, width, up != NULL);
    return SF_OK;
}

__global__ void copy_columns(const bf16 *x, int64_t from, int64_t rows, int64_t n, bf16 *y, int64_t to)
{
    sf_begin();
    FOR_ALL(i, rows * n) y[i / n * to + i % n] = x[i / n * from + i % n];
}

sf_status sf_cuda_copy_columns(sf_backend *b, const void *x, int64_t from, int64_t rows, int64_t n, void *y, int64_t to)
{
    if (rows * n > 0) SF_TRY(sf_cuda_follow(b, copy_columns, grid_for(rows * n), THREADS, 0, (const bf16 *)x, from, rows, n, (bf16 *)y, to));
    sf_meter_columns(b, rows, n);
    return SF_OK;
}

__global__ void add(float *x, const bf16 *y, int64_t n, float scale)
{
    sf_begin();
    FOR_ALL(i, n) x[i] += scale * __bfloat162float(y[i]);
}

sf_status sf_cuda_add(sf_backend *b, float *x, const void *y, int64_t n, float scale)
{
    if (n) SF_TRY(sf_cuda_follow(b, add, grid_for(n), THREADS, 0, x, (const bf16 *)y, n, scale));
    sf_meter_residual(b, n);
    return SF_OK;
}

/* A warp a row and head. */
__global__ void scale_queries(bf16 *q, int64_t n, int heads, int head_dim, const int32_t *position, const float *beta, const float *gamma,
                              float delta, float range)
{
    sf_begin();
    const int64_t i = blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32;
    if (i >= n) return;
    const float soft = beta[i] > 30 ? beta[i] : log1pf(expf(beta[i])),
                by = delta + soft * powf(logf((float)position[i / heads] + 2), range * tanhf(gamma[i]));
    for (int d = threadIdx.x % 32; d < head_dim; d += 32) {
        bf16 *x = q + i * head_dim + d;
        *x = __float2bfloat16(__bfloat162float(*x) * by);
    }
}

sf_status sf_cuda_scale_queries(sf_backend *b, void *q, int64_t rows, int heads, int head_dim, const int32_t *position, const float *beta,
                                const float *gamma, float delta, float range)
{
    const int64_t n = rows * heads;
    if (n)
        SF_TRY(sf_cuda_follow(b, scale_queries, (unsigned)ceil_div<int64_t>(n, THREADS / 32), THREADS, 0, (bf16 *)q, n, heads, head_dim, position,
                              beta, gamma, delta, range));
    sf_meter_scale_queries(b, rows, heads, head_dim);
    return SF_OK;
}

__global__ void sink_rows(bf16 *out, const float *lse, const float *sink, int64_t n, int heads, int head_dim)
{
    sf_begin();
    FOR_ALL(i, n)
    {
        int64_t row = i / head_dim;
        out[i] = __float2bfloat16(__bfloat162float(out[i]) / (1.f + expf(sink[row % heads] - lse[row])));
    }
}

sf_status sf_cuda_sink(sf_backend *b, void *out, const float *lse, const sf_tensor *sink, int64_t rows, int heads, int head_dim)
{
    int64_t n = rows * heads * head_dim;
    if (n) SF_TRY(sf_cuda_follow(b, sink_rows, grid_for(n), THREADS, 0, (bf16 *)out, lse, (const float *)sink->data, n, heads, head_dim));
    sf_meter_sink(b, sink, rows, heads, head_dim);
    return SF_OK;
}

/* ---- cache ---- */

struct store_lanes {
    bf16 *k[SF_CUDA_LANES], *v[SF_CUDA_LANES];
    int64_t capacity[SF_CUDA_LANES];
    int first[SF_CUDA_LANES];
};

/* each: runs of a head. */
template <int N> __global__ void store_kv(store_lanes to, int64_t rows, int kv_heads, int each, const bf16 *k, const bf16 *v)
{
    sf_begin();
    const int lane = blockIdx.y, width = kv_heads * each;
    FOR_ALL(i, rows * width)
    {
        const int64_t row = i / width, from = lane * rows * width + i;
        const int in_row = (int)(i - row * width), g = in_row / each;
        const int64_t at = (g * to.capacity[lane] + to.first[lane] + row) * each + in_row % each;
        ((run<N> *)to.k[lane])[at] = ((const run<N> *)k)[from];
        ((run<N> *)to.v[lane])[at] = ((const run<N> *)v)[from];
    }
}

sf_status sf_cuda_store_kv(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads, int head_dim,
                           const void *k, const void *v)
{
    int64_t width = (int64_t)kv_heads * head_dim;
    for (int done = 0; rows && done < lanes; done += SF_CUDA_LANES) {
        int now = lanes - done < SF_CUDA_LANES ? lanes - done : SF_CUDA_LANES;
        store_lanes to = {};
        bool eight = head_dim % 8 == 0 && aligned(k, v);
        for (int i = 0; i < now; i++) {
            eight &= aligned(part[done + i]->k, part[done + i]->v);
            to.k[i] = (bf16 *)part[done + i]->k;
            to.v[i] = (bf16 *)part[done + i]->v;
            to.capacity[i] = part[done + i]->capacity;
            to.first[i] = part[done + i]->n;
        }
        const int each = eight ? head_dim / 8 : head_dim;
        SF_TRY(sf_cuda_follow(b, eight ? store_kv<8> : store_kv<1>, dim3(grid_for(rows * kv_heads * each), now), THREADS, 0, to, rows, kv_heads, each,
                              (const bf16 *)k + done * rows * width, (const bf16 *)(v ? v : k) + done * rows * width));
    }
    sf_meter_store(b, lanes * rows, kv_heads, head_dim, v != NULL);
    return SF_OK;
}

struct round_lanes {
    bf16 *x[2][SF_CUDA_LANES]; /* keys, values; NULL: no format, or keys are values too */
    int64_t capacity[SF_CUDA_LANES];
    int first[SF_CUDA_LANES];
    sf_cache_kind kind[SF_CUDA_LANES];
    int group[SF_CUDA_LANES];
};

/* A warp a row of a kv head, blocks (rows, lanes, keys or values). Groups, but for those of a whole row, are of 32 numbers: one a thread.
 * The largest magnitude is found with its sign, and of several with the first one's, as a host finds it. Test: test_backends cuda 100 round. */
__global__ void round_kv(round_lanes to, int64_t rows, int kv_heads, int head_dim)
{
    sf_begin();
    const int lane = blockIdx.y, thread = threadIdx.x % 32;
    const int64_t i = blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32;
    bf16 *x = to.x[blockIdx.z][lane];
    if (!x || i >= rows * kv_heads) return; /* a whole warp */
    x += (i % kv_heads * to.capacity[lane] + to.first[lane] + i / kv_heads) * head_dim;
    const sf_cache_kind kind = to.kind[lane];
    const int group = to.group[lane] ? to.group[lane] : head_dim;
    for (int first = 0; first < head_dim; first += group) {
        float most = 0;
        int at = INT32_MAX;
        for (int d = thread; kind != SF_CACHE_E4M3 && d < group; d += 32) {
            const float own = __bfloat162float(x[first + d]);
            if (fabsf(own) > fabsf(most)) most = own, at = d;
        }
        for (int step = 16; step; step >>= 1) {
            const float other = __shfl_xor_sync(~0u, most, step);
            const int there = __shfl_xor_sync(~0u, at, step);
            if (fabsf(other) > fabsf(most) || (fabsf(other) == fabsf(most) && there < at)) most = other, at = there;
        }
        for (int d = thread; d < group; d += 32) {
            const float own = __bfloat162float(x[first + d]);
            const float rounded = kind == SF_CACHE_E4M3   ? sf_cache_e4m3(own)
                                  : kind == SF_CACHE_INT8 ? sf_cache_int8(own, fabsf(most))
                                                          : sf_cache_q4_0(own, most);
            x[first + d] = __float2bfloat16_rn(rounded);
        }
    }
}

sf_status sf_cuda_round_kv(sf_backend *b, int lanes, sf_kv_part *const *part, int64_t rows, int kv_heads, int head_dim)
{
    for (int done = 0; rows && done < lanes; done += SF_CUDA_LANES) {
        const int now = lanes - done < SF_CUDA_LANES ? lanes - done : SF_CUDA_LANES;
        round_lanes to = {};
        bool any = false;
        for (int i = 0; i < now; i++) {
            const sf_kv_part *p = part[done + i];
            if (!p->format) continue;
            any = true;
            to.x[0][i] = (bf16 *)p->k;
            to.x[1][i] = p->v != p->k ? (bf16 *)p->v : NULL;
            to.capacity[i] = p->capacity;
            to.first[i] = p->n;
            to.kind[i] = p->format->kind;
            to.group[i] = p->format->group;
        }
        const unsigned blocks = (unsigned)ceil_div<int64_t>(rows * kv_heads, THREADS / 32);
        if (any) SF_TRY(sf_cuda_follow(b, round_kv, dim3(blocks, now, 2), THREADS, 0, to, rows, kv_heads, head_dim));
    }
    return SF_OK;
}

/* A warp a row of a kv head, blocks (rows, 1, keys or values); thread t has the numbers t, t + 32 … of each group. What is packed is what
 * round_kv() rounds, by the same numbers. */
__global__ void pack_kv(const bf16 *k, const bf16 *v, int64_t capacity, int first_row, const __grid_constant__ sf_cuda_packed_pair pair,
                        int64_t to_capacity, int64_t rows, int kv_heads, int head_dim)
{
    sf_begin();
    const sf_cuda_packed &to = pair.of[blockIdx.z];
    const int thread = threadIdx.x % 32, group = to.held == SF_HELD_Q4_0 ? 32 : head_dim;
    const int64_t i = blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32;
    if (i >= rows * kv_heads) return; /* a whole warp */
    const int64_t g = i % kv_heads, at_row = first_row + i / kv_heads, row = g * to_capacity + at_row;
    const bf16 *x = (blockIdx.z ? v : k) + (g * capacity + at_row) * head_dim;
    unsigned char *number = to.numbers + row * to.row_bytes;
    for (int first = 0; first < head_dim; first += group) {
        float most = 0;
        int at = INT32_MAX;
        bool nan = false;
        for (int d = thread; to.held != SF_HELD_E4M3 && d < group; d += 32) {
            const float own = __bfloat162float(x[first + d]);
            nan |= isnan(own);
            if (fabsf(own) > fabsf(most)) most = own, at = d;
        }
        for (int step = 16; step; step >>= 1) {
            const float other = __shfl_xor_sync(~0u, most, step);
            const int there = __shfl_xor_sync(~0u, at, step);
            if (fabsf(other) > fabsf(most) || (fabsf(other) == fabsf(most) && there < at)) most = other, at = there;
        }
        nan = __any_sync(~0u, nan);
        if (to.held == SF_HELD_E4M3) {
            for (int d = thread; d < group; d += 32) number[d] = sf_cache_e4m3_code(sf_cache_e4m3(__bfloat162float(x[d])));
        } else if (to.held == SF_HELD_INT8) {
            const float scale = sf_cache_int8_scale(fabsf(most));
            for (int d = thread; d < group; d += 32) {
                const float q = sf_cache_int8_code(__bfloat162float(x[d]), scale);
                ((int8_t *)number)[d] = (int8_t)(isnan(q) ? 0 : (int)q);
            }
            if (thread == 0) ((float *)to.scales)[row] = nan ? NAN : scale;
        } else {
            const float scale = sf_cache_q4_0_scale(most), q = sf_cache_q4_0_code(__bfloat162float(x[first + thread]), scale);
            const unsigned code = isnan(q) ? 8 : (unsigned)q, high = __shfl_down_sync(~0u, code, 16);
            if (thread < 16) number[first / 2 + thread] = (unsigned char)(code | high << 4);
            if (thread == 0) ((uint16_t *)(to.scales + row * to.scale_bytes))[first / 32] = sf_cache_half_code(nan ? NAN : sf_cache_half(scale));
        }
    }
}

sf_status sf_cuda_pack_kv(sf_backend *b, const sf_kv_part *from, const sf_kv_part *to, int64_t rows, int kv_heads, int head_dim)
{
    const unsigned blocks = (unsigned)ceil_div<int64_t>(rows * kv_heads, THREADS / 32);
    if (rows <= 0) return SF_OK;
    return sf_cuda_follow(b, pack_kv, dim3(blocks, 1, to->v != to->k ? 2 : 1), THREADS, 0, (const bf16 *)from->k, (const bf16 *)from->v,
                          from->capacity, from->n, sf_cuda_packed_pair_of(to, kv_heads, head_dim), to->capacity, rows, kv_heads, head_dim);
}

__global__ void gather_kv(const bf16 *k, const bf16 *v, int64_t capacity, sf_lists keep, int head_dim, bf16 *to_k,
                          bf16 *to_v, int64_t to_capacity, int32_t *count)
{
    int g = blockIdx.y;
    if (blockIdx.x == 0 && threadIdx.x == 0) count[g] = keep.count[g];
    FOR_ALL(i, keep.count[g] * (int64_t)head_dim)
    {
        int64_t row = i / head_dim, d = i % head_dim;
        int64_t from = (g * capacity + keep.index[g * keep.stride + row]) * head_dim + d;
        to_k[(g * to_capacity + row) * head_dim + d] = k[from];
        to_v[(g * to_capacity + row) * head_dim + d] = v[from];
    }
}

/* Rows of so many bytes each, a multiple of the access's. */
template <typename T>
__device__ static inline void gather_bytes(const unsigned char *from, int64_t capacity, const sf_lists &keep, int bytes, unsigned char *to, int64_t to_capacity)
{
    const int g = blockIdx.y, each = bytes / (int)sizeof(T);
    const int32_t *index = keep.index + g * keep.stride;
    FOR_ALL(i, keep.count[g] * (int64_t)each)
    {
        const int64_t row = i / each, at = i % each;
        ((T *)to)[(g * to_capacity + row) * each + at] = ((const T *)from)[(g * capacity + index[row]) * each + at];
    }
}

/* Blocks (rows, kv heads, keys or values). */
__global__ void gather_packed(const __grid_constant__ sf_cuda_packed_pair all, int64_t capacity, sf_lists keep,
                              const __grid_constant__ sf_cuda_packed_pair kept, int64_t to_capacity, int32_t *count)
{
    const sf_cuda_packed &from = all.of[blockIdx.z], &to = kept.of[blockIdx.z];
    if (blockIdx.x == 0 && threadIdx.x == 0 && blockIdx.z == 0) count[blockIdx.y] = keep.count[blockIdx.y];
    if (from.row_bytes % 16 == 0)
        gather_bytes<uint4>(from.numbers, capacity, keep, from.row_bytes, to.numbers, to_capacity);
    else
        gather_bytes<unsigned char>(from.numbers, capacity, keep, from.row_bytes, to.numbers, to_capacity);
    if (from.scale_bytes) gather_bytes<uint16_t>(from.scales, capacity, keep, from.scale_bytes, to.scales, to_capacity);
}

sf_status sf_cuda_gather_kv(sf_backend *b, const sf_kv_part *from, const sf_lists *keep, int head_dim, sf_kv_part *to)
{
    sf_cuda *c = sf_cuda_of(b);
    int heads = (int)keep->rows;
    if (from->packed != to->packed || (from->packed && from->format->kind != to->format->kind))
        return sf_fail(SF_INTERNAL, "gather_kv: rows go from one format to another");
    if (from->packed) {
        const int64_t bytes = keep->stride * (int64_t)sf_cache_row_bytes(from->format, head_dim);
        gather_packed<<<dim3(grid_for(bytes), heads, to->v != to->k ? 2 : 1), THREADS, 0, c->stream>>>(
            sf_cuda_packed_pair_of(from, heads, head_dim), from->capacity, *keep, sf_cuda_packed_pair_of(to, heads, head_dim), to->capacity,
            (int32_t *)to->count);
        LAUNCH_TRY(gather_packed);
    } else {
        gather_kv<<<dim3(grid_for(keep->stride * head_dim), heads), THREADS, 0, c->stream>>>(
            (const bf16 *)from->k, (const bf16 *)from->v, from->capacity, *keep, head_dim, (bf16 *)to->k, (bf16 *)to->v,
            to->capacity, (int32_t *)to->count);
        LAUNCH_TRY(gather_kv);
    }
    int32_t *count = (int32_t *)malloc(heads * sizeof *count);
    if (!count) return sf_fail(SF_NO_MEMORY, "gather_kv: no host memory for %d counts", heads);
    cudaError_t error = cudaMemcpyAsync(count, keep->count, heads * sizeof *count, cudaMemcpyDeviceToHost, c->stream);
    if (error == cudaSuccess) error = cudaStreamSynchronize(c->stream);
    uint64_t kept = 0;
    to->n = 0;
    for (int g = 0; error == cudaSuccess && g < heads; g++) {
        if (count[g] > to->n) to->n = count[g];
        kept += count[g];
    }
    free(count);
    CUDA_TRY(error);
    sf_meter_gather(b, from, (int64_t)kept, head_dim);
    return SF_OK;
}

/* ---- greedy choice ---- */

__global__ void argmax(const float *logits, int64_t vocab, int32_t *token)
{
    __shared__ float best_value[32];
    __shared__ int32_t best_index[32];
    const float *x = logits + blockIdx.x * vocab;
    float value = -INFINITY;
    int32_t index = INT32_MAX;
    sf_begin();
#pragma unroll 8
    for (int64_t i = threadIdx.x; i < vocab; i += blockDim.x)
        if (x[i] > value) value = x[i], index = (int32_t)i;
    for (int step = 16; step; step >>= 1) {
        float other = __shfl_down_sync(~0u, value, step);
        int32_t at = __shfl_down_sync(~0u, index, step);
        if (other > value || (other == value && at < index)) value = other, index = at;
    }
    if (threadIdx.x % 32 == 0) best_value[threadIdx.x / 32] = value, best_index[threadIdx.x / 32] = index;
    __syncthreads();
    if (threadIdx.x) return;
    for (unsigned i = 1; i < blockDim.x / 32; i++)
        if (best_value[i] > value || (best_value[i] == value && best_index[i] < index))
            value = best_value[i], index = best_index[i];
    token[blockIdx.x] = index == INT32_MAX ? -1 : index;
}

sf_status sf_cuda_argmax(sf_backend *b, const float *logits, int64_t rows, int64_t vocab, int32_t *token)
{
    if (rows) SF_TRY(sf_cuda_follow(b, argmax, (unsigned)rows, 1024, 0, logits, vocab, token));
    sf_meter_argmax(b, rows, vocab);
    return SF_OK;
}
