/* Weights and linear layers: y (+)= x · Wᵀ + bias, bf16 operands, fp32 accumulation.
 *
 * Weights come over as bf16 (formats of blocks are dequantised on the way), norms and biases as f32.
 *
 * A row must not depend on its company, and a library picks its algorithm by the number of rows. So:
 *  - Prefill: cuBLASLt, with one algorithm per (out, in, result type), chosen for CANONICAL_ROWS rows without split-K
 * and used for every number of rows. An output element is then the same chain of products, however the prompt is cut.
 *  - Decode: the kernel below. One block makes 16 outputs (32 where there are many of both) for up to 32 rows; its 8
 * warps share out the inputs in a fixed pattern. The batch is the `n` of the tensor-core product, whose columns do not
 * touch each other. Bound by reading W once: 8 loads of 16 bytes a thread are on their way at a time: on an H200 that
 * copies 4.26 TB/s, 3584 x 18944 weights come at 3.8 TB/s for one row, 3.7 for 8 and 2.7 for 16 (with two loads, 3.4 and 2.4).
 *
 * Between the two a row may differ by rounding: a prompt's token does not travel through decode.
 *
 * Test: make test-cuda (the row alone, in company, cut: equal bits). Benchmark: tests/cuda.sh bench. */
#include "kernels/cuda/device.cuh"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { SKINNY_WARPS = 8, SKINNY_OUTPUTS = 16, CANONICAL_ROWS = 4096 };

/* ---- weights ---- */

__global__ void narrow(const float *x, bf16 *y, int64_t n)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        y[i] = __float2bfloat16(x[i]);
}

/* Through fp32, a slice at a time: the host decodes, the device rounds. */
static sf_status convert(sf_backend *b, const sf_tensor *host, int64_t elements, sf_tensor *out)
{
    sf_cuda *c = sf_cuda_of(b);
    const sf_dtype_info *info = &sf_dtypes[host->dtype];
    int64_t slice = (int64_t)4 << 20; /* a multiple of every block */
    if (slice > elements) slice = elements;
    float *decoded = (float *)malloc(slice * sizeof *decoded);
    if (!decoded) return sf_fail(SF_NO_MEMORY, "import_weight: no host memory for %lld values", (long long)slice);
    sf_status status = SF_OK;
    for (int64_t at = 0; at < elements && status == SF_OK; at += slice) {
        int64_t n = elements - at < slice ? elements - at : slice;
        sf_to_f32(host->dtype, (const char *)host->data + at / info->block * info->bytes, decoded, n);
        void *to = (float *)out->data + at;
        if (out->dtype == SF_BF16) status = sf_cuda_workspace(b, n * sizeof *decoded, &to);
        if (status == SF_OK) status = b->ops->upload(b, to, decoded, n * sizeof *decoded);
        if (status != SF_OK || out->dtype == SF_F32) continue;
        narrow<<<1024, 256, 0, c->stream>>>((const float *)to, (bf16 *)out->data + at, n);
        cudaError_t error = cudaGetLastError();
        if (error != cudaSuccess) status = sf_cuda_failed(error, "narrow", __FILE__, __LINE__);
    }
    if (status == SF_OK) status = b->ops->synchronize(b);
    free(decoded);
    return status;
}

sf_status sf_cuda_import_weight(sf_backend *b, const sf_tensor *host, sf_tensor *out)
{
    *out = *host;
    out->data = NULL;
    if (!host->data) return SF_OK;
    out->dtype = host->rank == 1 ? SF_F32 : SF_BF16;
    int64_t elements = sf_elements(host);
    SF_TRY(b->ops->alloc(b, sf_bytes(out->dtype, elements), &out->data));
    sf_status status = host->dtype == out->dtype
                           ? b->ops->upload(b, out->data, host->data, sf_bytes(out->dtype, elements))
                           : convert(b, host, elements, out);
    if (status != SF_OK) sf_cuda_release_weight(b, out);
    return status;
}

void sf_cuda_release_weight(sf_backend *b, sf_tensor *weight)
{
    sf_cuda_forget(b);
    sf_cuda_forget_experts(b);
    b->ops->free(b, weight->data);
    weight->data = NULL;
}

/* ---- few rows: decode, and shapes that cuBLAS does not take ---- */

/* Eight consecutive values of a row; zeros past its end. */
__device__ static inline uint4 load8(const bf16 *row, int64_t at, int64_t width, bool aligned)
{
    if (aligned && at + 8 <= width) return *(const uint4 *)(row + at);
    uint4 r = {0, 0, 0, 0};
    bf16 *v = (bf16 *)&r;
    for (int i = 0; i < 8; i++)
        if (at + i < width) v[i] = row[at + i];
    return r;
}

/* Eight weights, which are read once: past the cache that x stays in. */
__device__ static inline uint4 stream8(const bf16 *at)
{
    uint4 r;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
                 : "l"(at));
    return r;
}

/* A tensor-core product sums 16 inputs at a time, in any order that both operands agree on: thread t of a quad takes
 * inputs [8t, 8t + 8) of a chunk of 32, two products' worth, so that every load is 16 bytes wide. A warp takes each eighth
 * chunk, for SETS times 16 outputs and TILES times 8 rows; WHOLE: inputs are whole chunks, and the weights of DEPTH of them
 * are on their way at a time. CHOSEN: rows and weights are those of tile blockIdx.x of `groups`. None of the four changes the
 * order of a sum. */
template <int TILES, int SETS, bool WHOLE, bool CHOSEN, typename Y>
__global__ void __launch_bounds__(SKINNY_WARPS * 32, TILES == 4 ? 2 : 3)
    skinny(const bf16 *x, int64_t rows, const bf16 *w, int64_t out, int64_t in, const float *bias, bool add, Y *y, sf_cuda_groups groups)
{
    const int DEPTH = WHOLE ? 4 / SETS : 1, OUTPUTS = SETS * SKINNY_OUTPUTS;
    __shared__ float partial[SKINNY_WARPS][OUTPUTS][TILES * 8 + 1];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, quad = lane / 4, t = lane % 4;
    int64_t first_out = blockIdx.y * (int64_t)OUTPUTS, first_row = CHOSEN ? 0 : blockIdx.x * (int64_t)(TILES * 8);
    int chunks = (int)((in + 31) / 32);
    const int32_t *slot = NULL;
    if constexpr (CHOSEN) {
        sf_begin();
        if ((int)blockIdx.x >= *groups.tiles) return;
        const sf_cuda_expert_rows tile = groups.tile[blockIdx.x];
        slot = groups.slot + tile.first, rows = tile.rows;
        w = groups.expert[tile.expert].w, bias = groups.expert[tile.expert].bias;
    }
    const bf16 *weight[SETS][2];
#pragma unroll
    for (int s = 0; s < SETS * 2; s++) {
        int64_t o = first_out + s * 8 + quad;
        weight[s / 2][s % 2] = w + (o < out ? o : out - 1) * in + t * 8;
    }
    int left = (int)(rows - first_row < TILES * 8 ? rows - first_row : TILES * 8) - quad; /* of every eighth row, those there */
    const bf16 *row = x + (first_row + quad) * in + t * 8, *chosen[TILES];
#pragma unroll
    for (int n = 0; CHOSEN && n < TILES; n++) chosen[n] = x + (n * 8 < left ? slot[quad + n * 8] / groups.each : 0) * in + t * 8;
    float c[SETS][TILES][4] = {};
    uint4 a[DEPTH][SETS][2];
    auto load = [&](int chunk) {
#pragma unroll
        for (int u = 0; u < DEPTH; u++) {
            int at = chunk + u * SKINNY_WARPS;
#pragma unroll
            for (int s = 0; s < SETS * 2; s++) {
                uint4 &to = a[u][s / 2][s % 2];
                if (WHOLE)
                    to = at < chunks ? stream8(weight[s / 2][s % 2] + at * 32) : make_uint4(0, 0, 0, 0);
                else
                    to = load8(weight[s / 2][s % 2] - t * 8, at * 32 + t * 8, in, in % 8 == 0);
            }
        }
    };
    load(warp);
    if (!CHOSEN) sf_begin(); /* weights do not change; x and y do */
    for (int chunk = warp; chunk < chunks; chunk += SKINNY_WARPS * DEPTH) {
#pragma unroll
        for (int u = 0; u < DEPTH; u++) {
            int at = chunk + u * SKINNY_WARPS;
#pragma unroll
            for (int n = 0; n < TILES; n++) {
                uint4 v = make_uint4(0, 0, 0, 0);
                const bf16 *from = CHOSEN ? chosen[n] : row + n * 8 * in;
                if (WHOLE && n * 8 < left && at < chunks) v = *(const uint4 *)(from + at * 32);
                if (!WHOLE && n * 8 < left) v = load8(from - t * 8, at * 32 + t * 8, in, in % 8 == 0);
#pragma unroll
                for (int s = 0; s < SETS; s++) {
                    const uint4 &low = a[u][s][0], &high = a[u][s][1];
                    uint32_t even[4] = {low.x, high.x, low.y, high.y}, odd[4] = {low.z, high.z, low.w, high.w};
                    mma(c[s][n], even, v.x, v.y);
                    mma(c[s][n], odd, v.z, v.w);
                }
            }
        }
        load(chunk + SKINNY_WARPS * DEPTH);
    }
#pragma unroll
    for (int s = 0; s < SETS; s++) {
#pragma unroll
        for (int n = 0; n < TILES; n++) {
            for (int i = 0; i < 4; i++) partial[warp][s * 16 + quad + i / 2 * 8][n * 8 + t * 2 + i % 2] = c[s][n][i];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < OUTPUTS * TILES * 8; i += blockDim.x) {
        int64_t o = first_out + i % OUTPUTS, r = first_row + i / OUTPUTS;
        if (o >= out || r >= rows) continue;
        float sum = 0;
        for (int v = 0; v < SKINNY_WARPS; v++) sum += partial[v][i % OUTPUTS][i / OUTPUTS];
        if (bias) sum += bias[o];
        if (CHOSEN) r = slot[r];
        if (add) sum += (float)y[r * out + o];
        y[r * out + o] = (Y)sum;
    }
}

/* at_once: rows that lie side by side, of which a block takes at most 32, in one of `tiles` tiles. */
template <bool CHOSEN, typename Y>
static sf_status run_skinny(sf_backend *b, const bf16 *x, int64_t rows, int at_once, int64_t tiles, const sf_tensor *w, const float *bias,
                            bool add, Y *y, const sf_cuda_groups &groups)
{
    int64_t out = w->dim[0], in = w->dim[1];
    sf_cuda *c = sf_cuda_of(b);
    bool whole = in % 32 == 0, wide = whole && at_once > 16 && out >= (int64_t)c->sms * 4 * SKINNY_OUTPUTS;
    unsigned blocks = (unsigned)ceil_div<int64_t>(out, SKINNY_OUTPUTS * (wide ? 2 : 1));
    if (blocks > 65535 || in > INT_MAX - 1024)
        return sf_fail(SF_UNSUPPORTED, "cuda: linear: %lld outputs of %lld inputs; at most %d of %d", (long long)out,
                       (long long)in, 65535 * SKINNY_OUTPUTS, INT_MAX - 1024);
    auto kernel = wide            ? skinny<4, 2, true, CHOSEN, Y>
                  : at_once <= 8  ? whole ? skinny<1, 1, true, CHOSEN, Y> : skinny<1, 1, false, CHOSEN, Y>
                  : at_once <= 16 ? whole ? skinny<2, 1, true, CHOSEN, Y> : skinny<2, 1, false, CHOSEN, Y>
                  : whole         ? skinny<4, 1, true, CHOSEN, Y>
                                  : skinny<4, 1, false, CHOSEN, Y>;
    /* Rows first, so that blocks that read the same weights run side by side, and one of them finds the other's in L2. */
    return sf_cuda_follow(b, kernel, dim3((unsigned)tiles, blocks), SKINNY_WARPS * 32, 0, x, rows, (const bf16 *)w->data, out, in, bias,
                          add, y, groups);
}

template <typename Y>
static sf_status few(sf_backend *b, const bf16 *x, int64_t rows, const sf_tensor *w, const float *bias, bool add, Y *y)
{
    int at_once = rows <= 8 ? 8 : rows <= 16 ? 16 : 32;
    return run_skinny<false>(b, x, rows, at_once, ceil_div<int64_t>(rows, at_once), w, bias, add, y, {});
}

sf_status sf_cuda_few_chosen(sf_backend *b, const bf16 *x, const sf_cuda_groups &groups, const sf_tensor *shape, bf16 *y)
{
    return run_skinny<true>(b, x, 0, groups.rows, groups.most, shape, NULL, false, y, groups);
}

/* ---- many rows: prefill ---- */

/* y = bias, or y += bias, which the product is then added to. */
template <typename Y> __global__ void begin_with_bias(Y *y, int64_t n, int64_t out, const float *bias, bool add)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        y[i] = (Y)((add ? (float)y[i] : 0.f) + bias[i % out]);
}

/* cuBLAS counts columns first: yᵀ [out, rows] = (Wᵀ)ᵀ · xᵀ */
typedef struct product_shape {
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t w, x, y;
} product_shape;

static void shape_free(product_shape *s)
{
    if (s->y) cublasLtMatrixLayoutDestroy(s->y);
    if (s->x) cublasLtMatrixLayoutDestroy(s->x);
    if (s->w) cublasLtMatrixLayoutDestroy(s->w);
    if (s->what) cublasLtMatmulDescDestroy(s->what);
}

static sf_status shape_make(product_shape *s, int64_t rows, const sf_cuda_product *p)
{
    const int64_t out = p->out, in = p->in;
    const sf_dtype type = p->type;
    cublasOperation_t transposed = CUBLAS_OP_T;
    CUBLAS_TRY(cublasLtMatmulDescCreate(&s->what, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CUBLAS_TRY(cublasLtMatmulDescSetAttribute(s->what, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    if (p->bias) {
        cublasLtEpilogue_t behind = CUBLASLT_EPILOGUE_BIAS;
        CUBLAS_TRY(cublasLtMatmulDescSetAttribute(s->what, CUBLASLT_MATMUL_DESC_EPILOGUE, &behind, sizeof behind));
        CUBLAS_TRY(cublasLtMatmulDescSetAttribute(s->what, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias));
    }
    CUBLAS_TRY(cublasLtMatrixLayoutCreate(&s->w, CUDA_R_16BF, in, out, in));
    CUBLAS_TRY(cublasLtMatrixLayoutCreate(&s->x, CUDA_R_16BF, in, rows, in));
    CUBLAS_TRY(cublasLtMatrixLayoutCreate(&s->y, type == SF_F32 ? CUDA_R_32F : CUDA_R_16BF, out, rows, out));
    return SF_OK;
}

static sf_status choose_algorithm(sf_backend *b, sf_cuda_product *p)
{
    sf_cuda *c = sf_cuda_of(b);
    product_shape s = {};
    cublasLtMatmulPreference_t wish = NULL;
    uint32_t no_split = CUBLASLT_REDUCTION_SCHEME_NONE, aligned = 16; /* bytes: where a chunk's rows can begin */
    static const cublasLtMatmulPreferenceAttributes_t alignment[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulHeuristicResult_t found[8];
    int n = 0;
    sf_status status = shape_make(&s, CANONICAL_ROWS, p);
    if (status == SF_OK && cublasLtMatmulPreferenceCreate(&wish) == CUBLAS_STATUS_SUCCESS) {
        cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &c->blas_work_bytes,
                                             sizeof c->blas_work_bytes);
        cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &no_split,
                                             sizeof no_split);
        for (cublasLtMatmulPreferenceAttributes_t which : alignment)
            cublasLtMatmulPreferenceSetAttribute(wish, which, &aligned, sizeof aligned);
        cublasStatus_t asked = cublasLtMatmulAlgoGetHeuristic(c->blas, s.what, s.w, s.x, s.y, s.y, wish, 8, found, &n);
        if (asked != CUBLAS_STATUS_SUCCESS) n = 0;
    }
    for (int i = 0; i < n && !p->usable; i++) {
        int32_t split = 1;
        size_t written;
        cublasLtMatmulAlgoConfigGetAttribute(&found[i].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split, sizeof split,
                                             &written);
        if (found[i].state != CUBLAS_STATUS_SUCCESS || split > 1) continue;
        p->algorithm = found[i].algo;
        p->usable = true;
    }
    if (wish) cublasLtMatmulPreferenceDestroy(wish);
    shape_free(&s);
    return status;
}

static sf_status product_of(sf_backend *b, int64_t out, int64_t in, sf_dtype type, bool biased, const sf_cuda_product **found)
{
    sf_cuda *c = sf_cuda_of(b);
    for (int i = 0; i < c->products; i++) {
        *found = c->product + i;
        if ((*found)->out == out && (*found)->in == in && (*found)->type == type && !(*found)->bias == !biased) return SF_OK;
    }
    sf_cuda_product *grown = (sf_cuda_product *)realloc(c->product, (c->products + 1) * sizeof *grown);
    if (!grown) return sf_fail(SF_NO_MEMORY, "linear: no host memory for its table of algorithms");
    c->product = grown;
    sf_cuda_product *p = c->product + c->products;
    memset(p, 0, sizeof *p);
    p->out = out, p->in = in, p->type = type;
    if (biased) CUDA_TRY(cudaMalloc(&p->bias, (size_t)out * sizeof *p->bias));
    c->products++; /* whose room is its own from here on */
    SF_TRY(choose_algorithm(b, p));
    *found = p;
    return SF_OK;
}

static sf_status run_product(sf_backend *b, const sf_cuda_product *p, const void *x, int64_t rows, const void *w,
                             bool add, void *y)
{
    sf_cuda *c = sf_cuda_of(b);
    product_shape s = {};
    float one = 1, beta = add ? 1.f : 0.f;
    sf_status status = shape_make(&s, rows, p);
    if (status == SF_OK) {
        cublasStatus_t done = cublasLtMatmul(c->blas, s.what, &one, w, s.w, x, s.x, &beta, y, s.y, y, s.y,
                                             &p->algorithm, c->blas_work, c->blas_work_bytes, c->stream);
        if (done != CUBLAS_STATUS_SUCCESS) status = sf_cublas_failed(done, "cublasLtMatmul", __FILE__, __LINE__);
    }
    shape_free(&s);
    return status;
}

sf_status sf_cuda_linear(sf_backend *b, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias,
                         bool add, void *y, sf_dtype dtype)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int64_t out = w->dim[0], in = w->dim[1];
    if (w->dtype != SF_BF16) return sf_fail(SF_INTERNAL, "cuda: linear: the weight was not imported by this backend");
    if (dtype != SF_F32 && dtype != SF_BF16)
        return sf_fail(SF_INTERNAL, "cuda: linear: the result must be f32 or bf16");
    const float *offset = bias && bias->data ? (const float *)bias->data : NULL;
    const sf_cuda_product *product = NULL;
    if (b->phase == SF_PREFILL && in % 8 == 0 && out % 8 == 0) {
        if (offset && !add && dtype == SF_BF16) SF_TRY(product_of(b, out, in, dtype, true, &product));
        if (!product || !product->usable) SF_TRY(product_of(b, out, in, dtype, false, &product));
    }
    if (rows == 0) {
    } else if (product && product->usable && product->bias) {
        narrow<<<(unsigned)ceil_div<int64_t>(out, 256), 256, 0, stream>>>(offset, product->bias, out);
        LAUNCH_TRY(narrow);
        SF_TRY(run_product(b, product, x, rows, w->data, false, y));
    } else if (product && product->usable) {
        unsigned blocks =
            (unsigned)(ceil_div<int64_t>(rows * out, 256) < 65536 ? ceil_div<int64_t>(rows * out, 256) : 65536);
        if (offset && dtype == SF_F32)
            begin_with_bias<<<blocks, 256, 0, stream>>>((float *)y, rows * out, out, offset, add);
        if (offset && dtype == SF_BF16)
            begin_with_bias<<<blocks, 256, 0, stream>>>((bf16 *)y, rows * out, out, offset, add);
        LAUNCH_TRY(begin_with_bias);
        SF_TRY(run_product(b, product, x, rows, w->data, add || offset, y));
    } else if (dtype == SF_F32) {
        SF_TRY(few(b, (const bf16 *)x, rows, w, offset, add, (float *)y));
    } else {
        SF_TRY(few(b, (const bf16 *)x, rows, w, offset, add, (bf16 *)y));
    }
    sf_meter_linear(b, rows, w, bias, dtype);
    return SF_OK;
}
