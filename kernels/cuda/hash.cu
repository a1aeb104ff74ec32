/* Keys hashed by the signs of random projections, and which a query meets. A block a key, or a query head, to encode: a thread a
 * plane; a thread a key to compare.
 *
 * Test: make test-cuda ("hashes"). */
#include "kernels/cuda/device.cuh"
extern "C" {
#include "kernels/count.h"
}
#include "kernels/draw.h"

enum { THREADS = 256, MOST_WORDS = 1024 };

__global__ void normals(uint64_t stream, int64_t n, float *x)
{
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * THREADS)
        x[i] = sf_draw_normal(stream, (uint64_t)i);
}

sf_status sf_cuda_normals(sf_backend *b, uint64_t stream, int64_t n, float *x)
{
    if (n) {
        int64_t blocks = ceil_div<int64_t>(n, THREADS);
        normals<<<(unsigned)(blocks < 4096 ? blocks : 4096), THREADS, 0, sf_cuda_of(b)->stream>>>(stream, n, x);
        LAUNCH_TRY(normals);
    }
    sf_meter_scores(b, 0, n, 12 * n);
    return SF_OK;
}

__global__ void pick_at(const float *x, int64_t n, sf_lists at, float *out)
{
    int64_t r = blockIdx.y;
    for (int64_t e = blockIdx.x * (int64_t)THREADS + threadIdx.x; e < at.stride; e += (int64_t)gridDim.x * THREADS)
        out[r * at.stride + e] = e < at.count[r] ? x[r * n + at.index[r * at.stride + e]] : 0;
}

sf_status sf_cuda_pick_at(sf_backend *b, const float *x, int64_t rows, int64_t n, const sf_lists *at, float *out)
{
    if (rows && at->stride) {
        pick_at<<<dim3((unsigned)ceil_div<int64_t>(at->stride, THREADS), (unsigned)rows), THREADS, 0, sf_cuda_of(b)->stream>>>(x, n, *at, out);
        LAUNCH_TRY(pick_at);
    }
    sf_meter_scores(b, rows * at->stride, rows * at->stride, 0);
    return SF_OK;
}

/* centre[g, d]: a block a head and stretch of 32 numbers, its warps a share of the keys each, added up in a fixed order. */
__global__ void key_centre(sf_kv kv, int begin, int end, int D, float *centre)
{
    __shared__ double part[THREADS / 32][32];
    int g = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32, d = blockIdx.x * 32 + lane;
    double sum = 0;
    for (int j = begin + warp; d < D && j < end; j += THREADS / 32) sum += __bfloat162float(sf_cuda_kv_row(kv, g, j, D, false)[d]);
    part[warp][lane] = sum;
    __syncthreads();
    if (warp || d >= D) return;
    for (int w = 1; w < THREADS / 32; w++) sum += part[w][lane];
    centre[g * D + d] = (float)(sum / (end - begin));
}

/* Codes of all tables of x [D] in shared memory, to words in shared memory: a thread a plane. */
__device__ static void encode(const sf_hash &hash, int D, const float *x, const float *plane, uint32_t *word)
{
    for (int w = threadIdx.x; w < (hash.tables + 1) / 2; w += blockDim.x) word[w] = 0;
    __syncthreads();
    for (int p = threadIdx.x; p < hash.bits * hash.tables; p += blockDim.x) {
        float dot = 0;
        for (int d = 0; d < D; d++) dot += x[d] * plane[(int64_t)p * D + d];
        int t = p / hash.bits;
        if (dot > 0) atomicOr(&word[t / 2], 1u << (p % hash.bits + 16 * (t % 2)));
    }
    __syncthreads();
}

__global__ void hash_keys(sf_kv kv, sf_hash hash, int D, const float *plane, int64_t room, const float *centre, int32_t *code)
{
    __shared__ float x[SF_CUDA_HEAD_DIM];
    __shared__ uint32_t word[MOST_WORDS];
    int g = blockIdx.y, words = (hash.tables + 1) / 2;
    for (int j = hash.begin + blockIdx.x; j < hash.end; j += gridDim.x) {
        const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
        __syncthreads();
        for (int d = threadIdx.x; d < D; d += blockDim.x) x[d] = __bfloat162float(k[d]) - centre[g * D + d];
        encode(hash, D, x, plane, word);
        for (int w = threadIdx.x; w < words; w += blockDim.x) code[(g * room + j) * words + w] = (int32_t)word[w];
    }
}

static sf_status fits(const sf_attention *a, const sf_hash *hash)
{
    if (a->head_dim <= SF_CUDA_HEAD_DIM && (hash->tables + 1) / 2 <= MOST_WORDS) return SF_OK;
    return sf_fail(SF_UNSUPPORTED, "cuda: %d tables of a head dim of %d; at most %d of %d are built", hash->tables, a->head_dim,
                   2 * MOST_WORDS, SF_CUDA_HEAD_DIM);
}

sf_status sf_cuda_hash_keys(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room, float *centre,
                            int32_t *code)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "hash_keys"));
    cudaStream_t stream = sf_cuda_of(b)->stream;
    SF_TRY(fits(a, hash));
    if (hash->end > hash->begin) {
        int keys = hash->end - hash->begin;
        key_centre<<<dim3(ceil_div(a->head_dim, 32), a->kv_heads), THREADS, 0, stream>>>(a->kv, hash->begin, hash->end, a->head_dim, centre);
        LAUNCH_TRY(key_centre);
        hash_keys<<<dim3(keys < 4096 ? keys : 4096, a->kv_heads), THREADS, 0, stream>>>(a->kv, *hash, a->head_dim, plane, room, centre, code);
        LAUNCH_TRY(hash_keys);
    }
    sf_meter_hash_keys(b, a, hash);
    return SF_OK;
}

__global__ void hash_queries(const bf16 *q, sf_hash hash, int D, const float *plane, int32_t *code)
{
    __shared__ float x[SF_CUDA_HEAD_DIM];
    __shared__ uint32_t word[MOST_WORDS];
    int h = blockIdx.x, words = (hash.tables + 1) / 2;
    for (int d = threadIdx.x; d < D; d += blockDim.x) x[d] = __bfloat162float(q[(int64_t)h * D + d]);
    __syncthreads();
    encode(hash, D, x, plane, word);
    for (int w = threadIdx.x; w < words; w += blockDim.x) code[h * words + w] = (int32_t)word[w];
}

__global__ void hash_matches(const bf16 *q, sf_kv kv, int N, int group, sf_hash hash, int D, int64_t room, const float *centre,
                             const int32_t *code, const int32_t *query, float *x)
{
    __shared__ float own[SF_CUDA_HEAD_DIM], shared[32];
    __shared__ int32_t word[MOST_WORDS];
    int h = blockIdx.y, g = h / group, words = (hash.tables + 1) / 2;
    float square = 0;
    for (int d = threadIdx.x; d < D; d += THREADS) own[d] = __bfloat162float(q[(int64_t)h * D + d]), square += own[d] * own[d];
    for (int w = threadIdx.x; w < words; w += THREADS) word[w] = query[h * words + w];
    float length = block_sum(square, shared);
    __syncthreads();
    for (int j = blockIdx.x * THREADS + threadIdx.x; j < N; j += gridDim.x * THREADS) {
        float to = 0;
        if (j >= hash.begin && j < hash.end) {
            const int32_t *key = code + (g * room + j) * words;
            int met = 0;
            for (int w = 0; w < words; w++) {
                uint32_t differs = (uint32_t)(key[w] ^ word[w]);
                met += ((differs & 0xffff) == 0) + (2 * w + 1 < hash.tables && differs >> 16 == 0);
            }
            to = -INFINITY;
            if (met >= hash.least) {
                const bf16 *k = sf_cuda_kv_row(kv, g, j, D, false);
                float dot = 0, norm = 0;
                for (int d = 0; d < D; d++) {
                    float part = __bfloat162float(k[d]) - centre[g * D + d];
                    dot += own[d] * part, norm += part * part;
                }
                double cosine = norm * length > 0 ? fmax(fmin(dot / sqrt((double)norm * length), 1.), -1.) : 0;
                double u = pow(1 - acos(cosine) / M_PI, (double)hash.bits), miss = pow(1 - u, hash.tables - 1.);
                double chance = 1 - miss * (1 - u) - (hash.least > 1 ? hash.tables * u * miss : 0);
                to = (float)-log(fmax(chance, 0.) + 1e-4);
            }
        }
        x[(int64_t)h * N + j] = to;
    }
}

sf_status sf_cuda_hash_matches(sf_backend *b, const sf_attention *a, const sf_hash *hash, const float *plane, int64_t room,
                               const float *centre, const int32_t *code, float *x)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "hash_matches"));
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int32_t *query;
    SF_TRY(fits(a, hash));
    SF_TRY(sf_cuda_workspace(b, (size_t)a->heads * ((hash->tables + 1) / 2) * sizeof *query, (void **)&query));
    hash_queries<<<a->heads, THREADS, 0, stream>>>((const bf16 *)a->q, *hash, a->head_dim, plane, query);
    LAUNCH_TRY(hash_queries);
    hash_matches<<<dim3(ceil_div(a->keys, (int)THREADS), a->heads), THREADS, 0, stream>>>(
        (const bf16 *)a->q, a->kv, a->keys, a->heads / a->kv_heads, *hash, a->head_dim, room, centre, code, query, x);
    LAUNCH_TRY(hash_matches);
    sf_meter_hash_matches(b, a, hash);
    return SF_OK;
}
