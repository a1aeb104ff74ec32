/* What trained methods make of queries and of the layer's input: gates, marks, rotation and norms of rows of f32, and the best of a row as
 * it grows. All of it is bound by the bytes that it moves, or by its launch; sums go in one fixed order.
 *
 * top_running() chooses for each row anew, of all that the row may: n² / 2 looks in four or five passes. Of one head's scores every row
 * reads a part, so that they come from the caches.
 *
 * Test: make test-cuda ("gates", "rows of floats"). */
#include "kernels/cuda/select.cuh"

enum { THREADS = 256 };

#define FOR_ALL(i, n)                                                                                                  \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

static unsigned grid_for(int64_t n)
{
    const int64_t blocks = ceil_div<int64_t>(n, THREADS);
    return (unsigned)(blocks < 1 ? 1 : blocks > 65536 ? 65536 : blocks);
}

struct gate_shape {
    const bf16 *q; /* [T, H, D] */
    const float *weight, *slope, *frequency;
    int64_t T, stride;
    int H, G, D, first;
    bool interleaved;
    sf_query_scale scaled;
};

/* A warp a gate: a lane takes every 32nd pair. */
__global__ void query_gates(const __grid_constant__ gate_shape s, float *gate)
{
    sf_begin();
    const int lane = threadIdx.x % 32, half = s.D / 2, apart = s.interleaved ? 1 : half, step = s.interleaved ? 2 : 1;
    const int64_t i = blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32;
    if (i >= s.T * s.G) return;
    const int64_t t = i / s.G, g = i % s.G;
    const float position = (float)(s.first + t);
    const bf16 *q = s.q + (t * s.H + g * (s.H / s.G)) * s.D;
    const float *w = s.weight + g * s.D;
    float sum = 0;
    for (int d = lane; d < half; d += 32) {
        float sine, cosine;
        sincosf(position * s.frequency[d], &sine, &cosine);
        const float u = w[step * d], v = w[step * d + apart];
        sum += (u * cosine - v * sine) * __bfloat162float(q[step * d]) + (u * sine + v * cosine) * __bfloat162float(q[step * d + apart]);
    }
    sum = warp_sum(sum);
    if (lane) return;
    float by = s.scaled.by != 0 ? s.scaled.by : 1;
    if (s.scaled.growth != 0) by *= 1 + s.scaled.growth * logf(1 + floorf((position + (float)s.scaled.from) / (float)s.scaled.every));
    gate[g * s.stride + t] = sum / by + (s.slope ? s.slope[g] * position : 0.f);
}

sf_status sf_cuda_query_gates(sf_backend *b, const sf_attention *a, const float *weight, const float *slope, float *gate, int64_t stride)
{
    const int64_t gates = (int64_t)a->queries * a->kv_heads;
    const gate_shape s = {(const bf16 *)a->q, weight,      slope,          a->frequency,        a->queries,
                          stride,             a->heads,    a->kv_heads,    a->head_dim,         a->keys - a->queries,
                          a->interleaved,     a->scaled};
    if (gates) SF_TRY(sf_cuda_follow(b, query_gates, (unsigned)ceil_div<int64_t>(gates, THREADS / 32), THREADS, 0, s, gate));
    sf_meter_query_gates(b, a, slope != NULL);
    return SF_OK;
}

__global__ void marks(const float *x, int64_t from, int64_t rows, int64_t n, const float *most, float *y, int64_t to)
{
    sf_begin();
    FOR_ALL(i, rows * n)
    {
        const int64_t r = i / n, at = i % n;
        y[r * to + at] = x[r * from + at] <= most[r] ? 0.f : -INFINITY;
    }
}

sf_status sf_cuda_marks(sf_backend *b, const float *x, int64_t from, int64_t rows, int64_t n, const float *most, float *y, int64_t to)
{
    if (rows * n > 0) SF_TRY(sf_cuda_follow(b, marks, grid_for(rows * n), THREADS, 0, x, from, rows, n, most, y, to));
    sf_meter_scores(b, rows * n, rows * n, rows * n);
    return SF_OK;
}

sf_status sf_cuda_top_running(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, int64_t behind, sf_lists *out)
{
    if (n > INT32_MAX || behind > INT32_MAX) return sf_fail(SF_UNSUPPORTED, "cuda: top_running: rows of %lld scores", (long long)n);
    out->rows = rows * n;
    /* As blocks of one row and one key that end `behind` keys earlier. */
    sf_cuda_ramp ramp = {};
    ramp.each = ramp.queries = ramp.T = (int)n, ramp.block_q = ramp.block_k = 1, ramp.N = (int)(n - behind), ramp.one = true;
    SF_TRY(sf_cuda_select_rows(b, x, rows * n, n, k > 0 ? k : 0, NULL, ramp, out));
    sf_cuda_vouch(b, out, n);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

/* A block a row. The numbers that are turned: pairs in front of the first frequency of 0, at most half of a head. */
__global__ void turn_rows(float *x, int heads, int dim, int64_t first, const float *frequency, int known)
{
    __shared__ int pairs;
    sf_begin();
    if (threadIdx.x == 0) pairs = min(known, dim / 2);
    __syncthreads();
    for (int i = threadIdx.x; i < known; i += blockDim.x)
        if (frequency[i] == 0) atomicMin(&pairs, i);
    __syncthreads();
    const int half = pairs;
    const float position = (float)(first + blockIdx.x);
    x += blockIdx.x * (int64_t)heads * dim;
    for (int p = threadIdx.x % 128; p < half; p += 128) { /* a thread keeps its pair's cosine for all heads */
        float sine, cosine;
        sincosf(position * frequency[p], &sine, &cosine);
        for (int h = threadIdx.x / 128; h < heads; h += blockDim.x / 128) {
            float *at = x + (int64_t)h * dim + p;
            const float a = at[0], z = at[half];
            at[0] = a * cosine - z * sine, at[half] = z * cosine + a * sine;
        }
    }
}

sf_status sf_cuda_turn_rows(sf_backend *b, float *x, int64_t rows, int heads, int dim, int64_t first, const float *frequency, int known)
{
    if (rows) SF_TRY(sf_cuda_follow(b, turn_rows, (unsigned)rows, heads > 1 ? 256 : 128, 0, x, heads, dim, first, frequency, known));
    sf_meter_rope(b, rows, heads, 2 * (known < dim / 2 ? known : dim / 2));
    return SF_OK;
}

/* A warp a row. */
__global__ void norm_rows(const float *x, int64_t rows, int width, const float *weight, const float *bias, float eps, float *out)
{
    sf_begin();
    const int lane = threadIdx.x % 32;
    const int64_t row = blockIdx.x * (int64_t)(blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    x += row * width, out += row * width;
    float sum = 0, squares = 0;
    for (int i = lane; i < width; i += 32) sum += x[i];
    const float mean = warp_sum(sum) / width;
    for (int i = lane; i < width; i += 32) squares += (x[i] - mean) * (x[i] - mean);
    const float root = 1.f / sqrtf(warp_sum(squares) / width + eps);
    for (int i = lane; i < width; i += 32) out[i] = (x[i] - mean) * root * weight[i] + (bias ? bias[i] : 0.f);
}

sf_status sf_cuda_norm_rows(sf_backend *b, const float *x, int64_t rows, int width, const sf_tensor *weight, const sf_tensor *bias, float eps,
                            float *out)
{
    if (weight->dtype != SF_F32 || (bias && bias->data && bias->dtype != SF_F32))
        return sf_fail(SF_INTERNAL, "cuda: norm_rows: a weight that is not of f32");
    if (rows)
        SF_TRY(sf_cuda_follow(b, norm_rows, (unsigned)ceil_div<int64_t>(rows, THREADS / 32), THREADS, 0, x, rows, width,
                              (const float *)weight->data, bias ? (const float *)bias->data : NULL, eps, out));
    sf_meter_layer_norm(b, SF_F32, rows, width, weight, bias);
    return SF_OK;
}

__global__ void sigmoids(const float *x, int64_t rows, int n, float *out)
{
    sf_begin();
    FOR_ALL(i, rows * n) out[i % n * rows + i / n] = 1.f / (1.f + expf(-x[i]));
}

sf_status sf_cuda_sigmoids(sf_backend *b, const float *x, int64_t rows, int n, float *out)
{
    if (rows * n > 0) SF_TRY(sf_cuda_follow(b, sigmoids, grid_for(rows * n), THREADS, 0, x, rows, n, out));
    sf_meter_sigmoids(b, rows, n);
    return SF_OK;
}
