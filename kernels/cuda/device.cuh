/* What every file of the CUDA backend shares: its state, checked calls and launches, metering, and small device idioms.
 *
 * One stream, in order, but for what lanes queue apart (sf_backend_ops.lane): streams beside it. Ops return as soon as
 * their kernels are queued. A fault that only the device sees (a query row
 * for which a pattern names no key) is reported by the next op that waits anyway: see sf_cuda_settle(). */
#ifndef SF_CUDA_DEVICE_CUH
#define SF_CUDA_DEVICE_CUH

extern "C" {
#include "kernels/count.h"
}
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <float.h>
#include <math.h>

typedef __nv_bfloat16 bf16;

enum { SF_CUDA_LANES = 32, SF_CUDA_HEAD_DIM = 256, SF_CUDA_WATCHES = 64, SF_CUDA_QUEUES = 9, SF_CUDA_OWED = 256, SF_CUDA_VOUCHED = 16, SF_CUDA_ASKED = 256 };

/* Why a kernel could not do what it was asked; the first one wins. */
enum sf_cuda_fault {
    SF_FAULT_NONE, SF_FAULT_EMPTY_ROW, SF_FAULT_TOKEN,
    SF_FAULT_WEIGHT, SF_FAULT_LENGTH, SF_FAULT_EMPTY_LIST, SF_FAULT_RANGE, SF_FAULT_ORDER, SF_FAULT_BAND, SF_FAULT_NUMBER, SF_FAULT_TWICE,
};
struct sf_cuda_report {
    int fault, layer, head, row;
    int asked, found, other; /* from SF_FAULT_WEIGHT on: who asked for the look at a pattern, what was there, and beside what */
};

/* Whose pattern is looked at, and what of it. */
struct sf_cuda_asked {
    char who[64];
    const char *what;
};

/* Lists that an op of this backend has made: ascending, in range and unique as they are. */
struct sf_cuda_vouched {
    sf_lists lists;
    int64_t limit; /* indices lie below it */
};

/* Listed probabilities that a lane queued: how many keys its lists have is known when the device has been waited for. */
struct sf_cuda_owed {
    sf_meter *meter;
    sf_phase phase;
    sf_attention a;
    int rows;              /* lists */
    const int64_t *listed; /* keys that they name together, pinned host memory */
};

/* A matrix product's algorithm, chosen once for (out, in, result type, with a bias or without) so that a row never depends on its company. */
struct sf_cuda_product {
    int64_t out, in;
    sf_dtype type;
    bool usable;
    bf16 *bias; /* [out] room for the bias at hand; NULL: the product has none */
    cublasLtMatmulAlgo_t algorithm;
};

/* Where an expert's weights lie. */
struct sf_cuda_expert {
    const bf16 *w;     /* [out, in] */
    const float *bias; /* [out], or NULL */
};

/* The experts of a mixture's matrix: the same on the device. */
struct sf_cuda_mixture {
    int experts;
    sf_cuda_expert *host, *device;
};

/* Rows that go to one expert: slots slot[first .. first + rows). */
struct sf_cuda_expert_rows {
    int expert, first, rows;
};

/* Slots by the expert that they go to. All of it on the device, so that nobody has to wait for it. */
struct sf_cuda_groups {
    const sf_cuda_expert *expert;
    const int32_t *slot;             /* [slots] */
    const sf_cuda_expert_rows *tile; /* [*tiles] of at most `rows` rows each */
    const int32_t *tiles;
    int rows, most, each; /* most: tiles there can be; each: slots that read the same row of x */
};

/* A stream, and the workspace of the op that runs on it, grown on demand. */
struct sf_cuda_queue {
    cudaStream_t stream;
    cudaEvent_t done;
    void *work;
    size_t work_bytes;
};

struct sf_cuda {
    cudaStream_t stream;                 /* of the queue at hand */
    sf_cuda_queue queue[SF_CUDA_QUEUES]; /* [0]: everything but what lanes queue apart */
    int at;                              /* the queue at hand */
    unsigned forked;                     /* bits of the queues that the first one has yet to wait for */
    cublasLtHandle_t blas;
    void *blas_work;
    size_t blas_work_bytes;
    sf_cuda_product *product;
    int products;
    sf_cuda_mixture *mixture;
    int mixtures;

    struct sf_cuda_stretch *stretch; /* graph.cu: kept so far, or NULL */
    int stretches;
    struct sf_cuda_stretch *recording; /* or NULL */
    sf_meter *metered;                 /* the caller's, while one records */
    bool capturing;

    int sms;
    size_t shared_memory; /* bytes a block may use */
    bool hopper;          /* sm_90a kernels are in this build and the chip runs them */
    bool early;           /* a kernel may begin before the one before it ends */
    bool awaited;         /* since the last kernel something else was queued, which the next one has to wait for */
    void *encode_tiled;   /* cuTensorMapEncodeTiled */
    char chip[256];

    sf_cuda_report *report;  /* device */
    sf_cuda_report *settled; /* its copy in pinned host memory */
    bool pending;            /* a kernel that can report has run since the last settling */
    sf_cuda_asked asked[SF_CUDA_ASKED]; /* the latest */
    int asks;
    sf_status fault;         /* reported, and not yet said by a download */
    char fault_text[256];

    cudaEvent_t watch[2 * SF_CUDA_WATCHES]; /* begins and ends, made when first used */
    int watches;                            /* events recorded since the last settling */

    sf_cuda_owed owed[SF_CUDA_OWED]; /* counted by the next op that waits for all queues */
    int owes;
    int64_t *owed_listed; /* [SF_CUDA_OWED] pinned host memory, made when first used */

    sf_cuda_vouched vouched[SF_CUDA_VOUCHED]; /* the latest; forgotten when the caller writes their memory himself */
    int vouchers;
};

static inline sf_cuda *sf_cuda_of(sf_backend *b) { return (sf_cuda *)b->self; }

/* ---- checked calls ---- */

sf_status sf_cuda_failed(cudaError_t error, const char *what, const char *file, int line);
sf_status sf_cublas_failed(cublasStatus_t status, const char *what, const char *file, int line);

#define CUDA_TRY(call)                                                                                                 \
    do {                                                                                                               \
        cudaError_t error_ = (call);                                                                                   \
        if (error_ != cudaSuccess) return sf_cuda_failed(error_, #call, __FILE__, __LINE__);                           \
    } while (0)
#define CUBLAS_TRY(call)                                                                                               \
    do {                                                                                                               \
        cublasStatus_t blas_ = (call);                                                                                 \
        if (blas_ != CUBLAS_STATUS_SUCCESS) return sf_cublas_failed(blas_, #call, __FILE__, __LINE__);                 \
    } while (0)
/* After every launch. */
#define LAUNCH_TRY(kernel)                                                                                             \
    do {                                                                                                               \
        cudaError_t error_ = cudaGetLastError();                                                                       \
        if (error_ != cudaSuccess) return sf_cuda_failed(error_, "launch of " #kernel, __FILE__, __LINE__);            \
    } while (0)

/* Whether the next kernel that sf_cuda_follow() queues comes in before the one in front has ended. */
static inline bool sf_cuda_follows(const sf_backend *b)
{
    const sf_cuda *c = (const sf_cuda *)b->self;
    return c->early && !c->awaited && b->phase == SF_DECODE;
}

#ifdef __CUDACC__
/* Queues a kernel that calls sf_begin(): in decode, whose kernels are short, its blocks come in while the one before it ends,
 * and wait there. */
template <typename... P, typename... A>
static inline sf_status sf_cuda_follow(sf_backend *b, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A... given)
{
    sf_cuda *c = sf_cuda_of(b);
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t how = {};
    how.gridDim = grid, how.blockDim = block, how.dynamicSmemBytes = shared, how.stream = c->stream;
    how.attrs = &early, how.numAttrs = sf_cuda_follows(b);
    c->awaited = false;
    CUDA_TRY(cudaLaunchKernelEx(&how, kernel, (P)given...));
    return SF_OK;
}
#endif

/* At least `bytes` of workspace, valid until the next op. Growing waits for the device. */
sf_status sf_cuda_workspace(sf_backend *b, size_t bytes, void **out);

/* Lets `kernel` use `bytes` of dynamic shared memory. */
sf_status sf_cuda_allow_shared(const void *kernel, size_t bytes);

/* Waits for the device; turns what it reported into an error, which stands until a download has said it. */
sf_status sf_cuda_settle(sf_backend *b);

/* Counts listed probabilities of `at` once its counts are known: at once, or, of what a lane queued, with all lanes together. */
sf_status sf_cuda_owe(sf_backend *b, const sf_attention *a, const sf_lists *at);

/* Remembers lists just made, so that checking them costs neither a kernel nor a wait. */
static inline void sf_cuda_vouch(sf_backend *b, const sf_lists *made, int64_t limit)
{
    sf_cuda *c = sf_cuda_of(b);
    for (sf_cuda_vouched &v : c->vouched) /* that lay there before, below another limit */
        if (v.lists.index == made->index || v.lists.count == made->count) v = {};
    c->vouched[c->vouchers++ % SF_CUDA_VOUCHED] = {*made, limit};
}

static inline bool sf_cuda_vouches(sf_backend *b, const sf_lists *l, int64_t limit)
{
    for (const sf_cuda_vouched &v : sf_cuda_of(b)->vouched)
        if (v.lists.index == l->index && v.lists.count == l->count && v.lists.rows == l->rows &&
            v.lists.stride == l->stride && v.limit <= limit && l->index)
            return true;
    return false;
}

template <typename T> static inline T ceil_div(T a, T b) { return (a + b - 1) / b; }

/* Smallest padded head dim that the templates are built for; 0: none. */
static inline int sf_cuda_padded(int head_dim)
{
    return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : head_dim <= 256 ? 256 : 0;
}

/* Calls `name<64|128|256>(...)`. */
#define BY_HEAD_DIM(head_dim, name, ...)                                                                               \
    (sf_cuda_padded(head_dim) == 64    ? name<64>(__VA_ARGS__)                                                         \
     : sf_cuda_padded(head_dim) == 128 ? name<128>(__VA_ARGS__)                                                        \
     : sf_cuda_padded(head_dim) == 256 ? name<256>(__VA_ARGS__)                                                        \
                                       : sf_fail(SF_UNSUPPORTED, "cuda: head dim %d; at most 256 is built", head_dim))

/* ---- on the device ---- */

#ifdef __CUDACC__
/* First in every thread of a kernel that sf_cuda_follow() queues, but for what reads nothing that a kernel writes: waits until
 * the kernels before it have ended, and lets the next one's blocks come in. */
__device__ static inline void sf_begin()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
    asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}

__device__ static inline void sf_raise(sf_cuda_report *report, int fault, int layer, int head, int row, int asked = 0, int found = 0,
                                       int other = 0)
{
    if (atomicCAS(&report->fault, SF_FAULT_NONE, fault) == SF_FAULT_NONE) {
        report->layer = layer;
        report->head = head;
        report->row = row;
        report->asked = asked, report->found = found, report->other = other;
    }
}

/* Logical key j of kv head g, or its value; NULL where a compacted cache does not hold it. */
__device__ static inline const bf16 *sf_cuda_kv_row(const sf_kv &kv, int g, int j, int D, bool value)
{
    bool old = j < kv.prompt.n;
    const sf_kv_part &part = old ? kv.prompt : kv.tail;
    int at = old ? j : j - kv.prompt.n;
    if (part.count && at >= part.count[g]) return NULL;
    return (const bf16 *)(value ? part.v : part.k) + (g * part.capacity + at) * D;
}

__device__ static inline float warp_sum(float x)
{
    for (int i = 16; i; i >>= 1) x += __shfl_xor_sync(~0u, x, i);
    return x;
}

/* A logit under its cap, 0: it has none; both in the same base of exponentials. */
__device__ static inline float capped(float logit, float cap) { return cap != 0 ? cap * tanhf(logit / cap) : logit; }

/* The same of a thread's part of a tile, with one branch for all of it: one for each would be taken (tanhf has two ways, and a
 * division) or at least decided in front of every logit of the many models that cap none. */
template <int TILES, int EACH> __device__ static inline void scale_and_cap(float (&logit)[TILES][EACH], float scale, float cap)
{
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < EACH; i++) logit[n][i] *= scale;
    if (cap == 0) return;
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < EACH; i++) logit[n][i] = cap * tanhf(logit[n][i] / cap);
}

__device__ static inline float warp_max(float x)
{
    for (int i = 16; i; i >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, i));
    return x;
}

/* Sum over the block in one fixed order, known to all threads. `shared` holds 32 floats; ends with a barrier pending
 * reuse. */
__device__ static inline float block_sum(float x, float *shared)
{
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (unsigned i = 0; i < blockDim.x / 32; i++) sum += shared[i];
    return sum;
}

__device__ static inline float block_max(float x, float *shared)
{
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    float most = -INFINITY;
    for (unsigned i = 0; i < blockDim.x / 32; i++) most = fmaxf(most, shared[i]);
    return most;
}

__device__ static inline uint32_t pack(float low, float high)
{
    __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    return *(uint32_t *)&v;
}

/* c[16x8] += a[16x16] b[16x8], fp32 accumulation; fragments as in the PTX manual. */
__device__ static inline void mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ static inline void ldmatrix(uint32_t r[4], const void *shared)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

__device__ static inline void ldmatrix_transposed(uint32_t r[4], const void *shared)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

/* Copies 16 bytes, or writes zeros. */
__device__ static inline void copy_async(void *shared, const void *global, bool valid)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(at), "l"(global), "r"(valid ? 16 : 0));
}
__device__ static inline void copy_commit() { asm volatile("cp.async.commit_group;\n"); }
template <int LEFT> __device__ static inline void copy_wait() { asm volatile("cp.async.wait_group %0;\n" ::"n"(LEFT)); }

/* Elements [8c, 8c + 8) of a row of `width` to shared memory, zeros past its end or where the row is absent. */
__device__ static inline void copy_chunk(bf16 *shared, const bf16 *row, int chunk, int width, bool valid)
{
    if (width % 8 == 0) {
        bool inside = valid && chunk * 8 < width;
        copy_async(shared, inside ? row + chunk * 8 : row, inside);
    } else {
        for (int i = 0; i < 8; i++) {
            int d = chunk * 8 + i;
            shared[i] = valid && d < width ? row[d] : __float2bfloat16(0.f);
        }
    }
}

/* s[16 x 8·TILES] = q[16 x DIM] · k[8·TILES x DIM]ᵀ for one warp, both in shared memory with `pitch` elements a row. */
template <int DIM, int TILES>
__device__ static inline void warp_scores(float (&s)[TILES][4], const bf16 *q, const bf16 *k, int pitch)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < TILES; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
    for (int d = 0; d < DIM; d += 16) {
        uint32_t a[4];
        ldmatrix(a, q + (lane % 16) * pitch + d + lane / 16 * 8);
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t b[4];
            ldmatrix(b, k + (n * 8 + lane % 8 + lane / 16 * 8) * pitch + d + lane / 8 % 2 * 8);
            mma(s[n], a, b[0], b[1]);
            mma(s[n + 1], a, b[2], b[3]);
        }
    }
}
#endif

/* ---- the ops, one file an idea; the table is in backend.cu ---- */

SF_EACH_OP(SF_OP_PROTOTYPE, sf_cuda_)
SF_OP_PROTOTYPE(sf_cuda_, fit_slashes)
SF_OP_PROTOTYPE(sf_cuda_, fit_masses)
SF_OP_PROTOTYPE(sf_cuda_, budgets)
SF_OP_PROTOTYPE(sf_cuda_, rows_alike)
SF_OP_PROTOTYPE(sf_cuda_, unite_blocks)
SF_OP_PROTOTYPE(sf_cuda_, merge_tiles)
SF_OP_PROTOTYPE(sf_cuda_, draw_blocks)
SF_OP_PROTOTYPE(sf_cuda_, import_weight)
SF_OP_PROTOTYPE(sf_cuda_, release_weight)
SF_OP_PROTOTYPE(sf_cuda_, check_pattern)
SF_OP_PROTOTYPE(sf_cuda_, replay)
SF_OP_PROTOTYPE(sf_cuda_, recorded)
SF_OP_PROTOTYPE(sf_cuda_, index_scores)
SF_OP_PROTOTYPE(sf_cuda_, query_gates)
SF_OP_PROTOTYPE(sf_cuda_, marks)
SF_OP_PROTOTYPE(sf_cuda_, top_running)
SF_OP_PROTOTYPE(sf_cuda_, turn_rows)
SF_OP_PROTOTYPE(sf_cuda_, norm_rows)
SF_OP_PROTOTYPE(sf_cuda_, sigmoids)

/* graph.cu */
void sf_cuda_abandon(sf_backend *b); /* a recording that failed */
void sf_cuda_forget(sf_backend *b);  /* all that is kept */

/* grouped.cu: the tables of experts that are kept; weights go. */
void sf_cuda_forget_experts(sf_backend *b);

/* linear.cu: y[s] = x[s / each] · W[e]ᵀ + bias[e] for each slot s of each tile, by the kernel and in the order of sums of a
 * linear layer in decode. `shape`: [out, in] of every W. */
sf_status sf_cuda_few_chosen(sf_backend *b, const bf16 *x, const sf_cuda_groups &groups, const sf_tensor *shape, bf16 *y);

/* Queues the adding of the keys that one query reads, for each of its heads, to a->pairs. */
sf_status sf_cuda_tally_decode(sf_backend *b, const sf_attention *a, const sf_pattern *pattern);

/* decode_parts.cu: the patterns that are more than pages or a window under one softmax at true distances. */
bool sf_cuda_decodes_parts(const sf_attention *a, const sf_pattern *pattern);
sf_status sf_cuda_decode_parts(sf_backend *b, int lanes, const sf_attention *const *a, const sf_pattern *const *pattern, bf16 *out);
sf_status sf_cuda_tally_parts(sf_backend *b, const sf_attention *a, const sf_pattern *pattern);

#endif
