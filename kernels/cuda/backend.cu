/* The CUDA backend's life: opening a device, its memory, its errors, and the table of its ops. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/hopper.cuh"

#include <mutex>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Allocations end with this much more: bulk copies read whole groups of 8 rows, also behind the last key. */
enum { PADDING = 8 * SF_CUDA_HEAD_DIM * 2 };
static const size_t BLAS_WORK = (size_t)32 << 20, WORK_LEAST = (size_t)32 << 20;

sf_status sf_cuda_failed(cudaError_t error, const char *what, const char *file, int line)
{
    (void)cudaGetLastError();
    sf_status code = error == cudaErrorMemoryAllocation ? SF_NO_MEMORY : SF_INTERNAL;
    return sf_fail(code, "cuda: %s: %s (%s, at %s:%d)", cudaGetErrorName(error), cudaGetErrorString(error), what, file,
                   line);
}

sf_status sf_cublas_failed(cublasStatus_t status, const char *what, const char *file, int line)
{
    sf_status code = status == CUBLAS_STATUS_ALLOC_FAILED ? SF_NO_MEMORY : SF_INTERNAL;
    return sf_fail(code, "cuda: cuBLAS says %s (%s, at %s:%d)", cublasLtGetStatusString(status), what, file, line);
}

/* What is allowed is the device's for all threads, each of which would lower what another has been allowed: it only grows. */
sf_status sf_cuda_allow_shared(const void *kernel, size_t bytes)
{
    enum { ALLOWED = 1024 };
    static struct {
        const void *kernel;
        int device;
        size_t bytes;
    } allowed[ALLOWED];
    static std::mutex lock;
    int device = 0, i = 0;
    if (bytes <= 48 * 1024) return SF_OK;
    CUDA_TRY(cudaGetDevice(&device));
    std::lock_guard<std::mutex> held(lock);
    while (i < ALLOWED && allowed[i].kernel && (allowed[i].kernel != kernel || allowed[i].device != device)) i++;
    if (i == ALLOWED) return sf_fail(SF_INTERNAL, "cuda: more than %d kernels ask for shared memory", ALLOWED);
    if (allowed[i].bytes >= bytes) return SF_OK;
    CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    allowed[i].kernel = kernel, allowed[i].device = device, allowed[i].bytes = bytes;
    return SF_OK;
}

static sf_status enter(sf_backend *b)
{
    CUDA_TRY(cudaSetDevice(b->device));
    return SF_OK;
}

static sf_status take(sf_backend *b, size_t bytes, void **out)
{
    cudaError_t error = cudaMalloc(out, bytes + PADDING);
    if (error == cudaSuccess) return SF_OK;
    (void)cudaGetLastError();
    *out = NULL;
    size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    if (error != cudaErrorMemoryAllocation) return sf_cuda_failed(error, "cudaMalloc", __FILE__, __LINE__);
    return sf_fail(
        SF_NO_MEMORY,
        "cuda:%d: out of memory: asked for %.2f GiB, %.2f of %.2f GiB are free on %s; shorten the context, run "
        "fewer variants together, choose a smaller model or another device",
        b->device, bytes / 0x1p30, available / 0x1p30, total / 0x1p30, sf_cuda_of(b)->chip);
}

sf_status sf_cuda_workspace(sf_backend *b, size_t bytes, void **out)
{
    sf_cuda *c = sf_cuda_of(b);
    sf_cuda_queue *q = &c->queue[c->at];
    if (bytes > q->work_bytes) {
        CUDA_TRY(cudaStreamSynchronize(q->stream));
        if (q->work) CUDA_TRY(cudaFree(q->work));
        q->work = NULL;
        q->work_bytes = 0;
        size_t least = c->at ? WORK_LEAST / 8 : WORK_LEAST, size = bytes + bytes / 4 > least ? bytes + bytes / 4 : least;
        SF_TRY(sf_blame(take(b, size, &q->work), "workspace"));
        q->work_bytes = size;
    }
    *out = q->work;
    return SF_OK;
}

/* What the queue at hand does next comes after all that the others were given. */
static sf_status await_others(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    for (int i = 1; i < SF_CUDA_QUEUES; i++) {
        if (i == c->at || !(c->forked >> i & 1)) continue;
        CUDA_TRY(cudaEventRecord(c->queue[i].done, c->queue[i].stream));
        CUDA_TRY(cudaStreamWaitEvent(c->stream, c->queue[i].done, 0));
        c->awaited = true;
    }
    return SF_OK;
}

/* What lanes owe to meters; the device has been waited for. */
static void pay(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    sf_meter *meter = b->meter;
    const sf_phase phase = b->phase;
    for (int i = 0; i < c->owes; i++) {
        const sf_cuda_owed *o = &c->owed[i];
        const int64_t pairs = *o->listed * (o->a.heads / o->rows);
        b->meter = o->meter, b->phase = o->phase;
        sf_meter_listed_probabilities(b, &o->a, pairs, o->rows == o->a.heads ? pairs : pairs / (o->a.heads / o->a.kv_heads));
    }
    b->meter = meter, b->phase = phase;
    c->owes = 0;
}

/* A warp; the sum goes to the host's own memory. */
__global__ void sum_counts(const int32_t *count, int rows, int64_t *sum)
{
    int64_t mine = 0;
    for (int r = threadIdx.x; r < rows; r += 32) mine += count[r];
    for (int i = 16; i; i >>= 1) mine += __shfl_xor_sync(~0u, mine, i);
    if (threadIdx.x == 0) *sum = mine;
}

sf_status sf_cuda_owe(sf_backend *b, const sf_attention *a, const sf_lists *at)
{
    sf_cuda *c = sf_cuda_of(b);
    if (!c->owed_listed) CUDA_TRY(cudaMallocHost(&c->owed_listed, SF_CUDA_OWED * sizeof *c->owed_listed));
    if (c->owes == SF_CUDA_OWED) SF_TRY(sf_cuda_settle(b));
    int64_t *listed = c->owed_listed + c->owes;
    sum_counts<<<1, 32, 0, c->stream>>>(at->count, (int)at->rows, listed);
    LAUNCH_TRY(sum_counts);
    c->owed[c->owes++] = {b->meter, b->phase, *a, (int)at->rows, listed};
    return c->at ? SF_OK : sf_cuda_settle(b);
}

/* What the device reports, in words. */
static void word(sf_cuda *c)
{
    const sf_cuda_report *r = c->settled;
    const sf_cuda_asked *q = &c->asked[r->asked];
    char *to = c->fault_text;
    const size_t room = sizeof c->fault_text;
    switch (r->fault) {
    case SF_FAULT_EMPTY_ROW:
        snprintf(to, room,
                 "attention: layer %d, head %d, query row %d: the pattern names no key that it may see; a method must "
                 "name, for every query, a key at or before it: add the query's own block",
                 r->layer, r->head, r->row);
        break;
    case SF_FAULT_TOKEN:
        snprintf(to, room, "embedding: row %d: token %d is outside the vocabulary", r->row, r->head);
        break;
    case SF_FAULT_WEIGHT:
        snprintf(to, room, "%s, layer %d: row %d: the bias of entry %d is not finite; expected a finite weight's logarithm", q->who, r->layer,
                 r->head, r->row);
        break;
    case SF_FAULT_LENGTH:
        snprintf(to, room, "%s, layer %d: row %d of %s counts %d entries, its room is %d", q->who, r->layer, r->head, q->what, r->found, r->other);
        break;
    case SF_FAULT_EMPTY_LIST:
        snprintf(to, room, "%s, layer %d: row %d of %s is empty", q->who, r->layer, r->head, q->what);
        break;
    case SF_FAULT_RANGE:
        snprintf(to, room, "%s, layer %d: row %d of %s: entry %d is %d, expected 0 to %d", q->who, r->layer, r->head, q->what, r->row, r->found,
                 r->other);
        break;
    case SF_FAULT_ORDER:
        snprintf(to, room, "%s, layer %d: row %d of %s: entry %d is %d after %d, expected ascending without repeats", q->who, r->layer, r->head,
                 q->what, r->row, r->found, r->other);
        break;
    case SF_FAULT_BAND:
        snprintf(to, room, "%s, layer %d: band %d of head %d; expected no negative number, and a step of at least 1", q->who, r->layer, r->row,
                 r->head);
        break;
    case SF_FAULT_NUMBER:
        snprintf(to, room, "%s, layer %d: %s is not finite", q->who, r->layer, q->what);
        break;
    case SF_FAULT_TWICE:
        snprintf(to, room, "%s, layer %d: head %d, row %d: key %d is in two parts of one softmax, and would count twice", q->who, r->layer,
                 r->head, r->row, r->found);
        break;
    }
}

sf_status sf_cuda_settle(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    SF_TRY(await_others(b));
    if (c->pending) {
        CUDA_TRY(cudaMemcpyAsync(c->settled, c->report, sizeof *c->report, cudaMemcpyDeviceToHost, c->stream));
        CUDA_TRY(cudaMemsetAsync(c->report, 0, sizeof *c->report, c->stream));
    } else {
        c->settled->fault = SF_FAULT_NONE;
    }
    c->pending = false;
    CUDA_TRY(cudaStreamSynchronize(c->stream));
    pay(b);
    for (int i = 0; i + 1 < c->watches; i += 2) {
        float milliseconds = 0;
        CUDA_TRY(cudaEventElapsedTime(&milliseconds, c->watch[i], c->watch[i + 1]));
        b->watched += 1e-3 * milliseconds;
    }
    if (c->watches % 2) { /* one runs on: from here */
        CUDA_TRY(cudaEventRecord(c->watch[0], c->stream));
        c->watches = 1;
    } else {
        c->watches = 0;
    }
    if (c->settled->fault != SF_FAULT_NONE) c->fault = SF_BAD_INPUT, word(c);
    return c->fault == SF_OK ? SF_OK : sf_fail(c->fault, "%s", c->fault_text);
}

static bool overlap(const void *x, size_t xs, const void *y, size_t ys)
{
    return (const char *)x < (const char *)y + ys && (const char *)y < (const char *)x + xs;
}

/* Before the caller writes memory himself: lists that lie there may change, and the next kernel comes after more than a kernel. */
static void before_move(sf_backend *b, const void *to, size_t bytes)
{
    for (sf_cuda_vouched &v : sf_cuda_of(b)->vouched) {
        const size_t rows = (size_t)v.lists.rows * sizeof(int32_t);
        if (overlap(to, bytes, v.lists.count, rows) || overlap(to, bytes, v.lists.index, rows * v.lists.stride)) v = {};
    }
    sf_cuda_of(b)->awaited = true;
}

/* ---- life ---- */

static int cuda_devices(void)
{
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess) devices = 0;
    (void)cudaGetLastError();
    return devices;
}

__global__ void presence() {}

static sf_status find_device(sf_backend *b)
{
    int driver = 0, runtime = 0, devices = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaError_t error = cudaGetDeviceCount(&devices);
    (void)cudaGetLastError();
    if (driver == 0)
        return sf_fail(SF_UNSUPPORTED,
                       "cuda: no NVIDIA driver is loaded on this machine; install one, or run on the cpu device");
    if (error == cudaErrorInsufficientDriver)
        return sf_fail(SF_UNSUPPORTED,
                       "cuda: the driver supports CUDA %d.%d, this build needs %d.%d; update the driver or "
                       "build with an older toolkit",
                       driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && devices == 0))
        return sf_fail(SF_UNSUPPORTED, "cuda: the driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)");
    if (error != cudaSuccess) return sf_cuda_failed(error, "cudaGetDeviceCount", __FILE__, __LINE__);
    if (b->device < 0 || b->device >= devices)
        return sf_fail(SF_BAD_INPUT, "cuda:%d: there are %d GPUs here, numbered from 0", b->device, devices);
    return SF_OK;
}

static sf_status prepare(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    SF_TRY(find_device(b));
    CUDA_TRY(cudaSetDevice(b->device));
    cudaDeviceProp chip;
    CUDA_TRY(cudaGetDeviceProperties(&chip, b->device));
    snprintf(c->chip, sizeof c->chip, "%s", chip.name);
    cudaFuncAttributes built;
    if (chip.major < 8 || cudaFuncGetAttributes(&built, (const void *)presence) != cudaSuccess) {
        (void)cudaGetLastError();
        return sf_fail(SF_UNSUPPORTED,
                       "cuda:%d: %s has compute capability %d.%d; this build has no code for it (8.0 is the "
                       "least): rebuild with make CUDA_ARCH=%d%d",
                       b->device, chip.name, chip.major, chip.minor, chip.major, chip.minor);
    }
    c->early = chip.major >= 9 && built.ptxVersion >= 90; /* as sf_begin() was compiled */
    c->sms = chip.multiProcessorCount;
    c->shared_memory = chip.sharedMemPerBlockOptin;
    for (sf_cuda_queue &q : c->queue) {
        CUDA_TRY(cudaStreamCreateWithFlags(&q.stream, cudaStreamNonBlocking));
        CUDA_TRY(cudaEventCreateWithFlags(&q.done, cudaEventDisableTiming));
    }
    c->stream = c->queue[0].stream;
    CUBLAS_TRY(cublasLtCreate(&c->blas));
    SF_TRY(take(b, BLAS_WORK, &c->blas_work));
    c->blas_work_bytes = BLAS_WORK;
    SF_TRY(take(b, sizeof *c->report, (void **)&c->report));
    CUDA_TRY(cudaMemsetAsync(c->report, 0, sizeof *c->report, c->stream));
    CUDA_TRY(cudaMallocHost(&c->settled, sizeof *c->settled));
    cudaDriverEntryPointQueryResult found;
    CUDA_TRY(
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &c->encode_tiled, 12000, cudaEnableDefault, &found));
    c->hopper = chip.major == 9 && found == cudaDriverEntryPointSuccess && sf_hopper_built();
    CUDA_TRY(cudaStreamSynchronize(c->stream));
    return SF_OK;
}

static void cuda_close(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    if (!c) return;
    sf_cuda_forget(b);
    sf_cuda_forget_experts(b);
    for (sf_cuda_queue &q : c->queue)
        if (q.stream) cudaStreamSynchronize(q.stream);
    if (c->blas) cublasLtDestroy(c->blas);
    cudaFree(c->blas_work);
    cudaFree(c->report);
    cudaFreeHost(c->settled);
    cudaFreeHost(c->owed_listed);
    for (cudaEvent_t event : c->watch)
        if (event) cudaEventDestroy(event);
    for (sf_cuda_queue &q : c->queue) {
        cudaFree(q.work);
        if (q.done) cudaEventDestroy(q.done);
        if (q.stream) cudaStreamDestroy(q.stream);
    }
    (void)cudaGetLastError();
    for (int i = 0; i < c->products; i++) cudaFree(c->product[i].bias);
    free(c->product);
    free(c);
    b->self = NULL;
}

static sf_status cuda_open(sf_backend *b, int device, int threads)
{
    b->device = device;
    b->threads = threads;
    b->activation = SF_BF16;
    b->self = calloc(1, sizeof(sf_cuda));
    if (!b->self) return sf_fail(SF_NO_MEMORY, "cuda: no host memory for the device's state");
    sf_status status = prepare(b);
    if (status != SF_OK) cuda_close(b);
    return status;
}

static sf_status cuda_alloc(sf_backend *b, size_t bytes, void **out)
{
    SF_TRY(enter(b));
    return take(b, bytes, out);
}

static void cuda_free(sf_backend *b, void *p)
{
    if (!p || enter(b) != SF_OK) return;
    cudaFree(p); /* waits for kernels that use it */
    (void)cudaGetLastError();
}

static sf_status cuda_upload(sf_backend *b, void *to, const void *host, size_t bytes)
{
    SF_TRY(enter(b));
    before_move(b, to, bytes);
    if (bytes) CUDA_TRY(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, sf_cuda_of(b)->stream));
    return SF_OK; /* pageable memory: the call returns once `host` has been read */
}

static sf_status cuda_download(sf_backend *b, void *host, const void *from, size_t bytes)
{
    sf_cuda *c = sf_cuda_of(b);
    SF_TRY(enter(b));
    if (c->at) { /* a lane reads what it queued, whatever others are at; what the device reports is said when all are waited for */
        if (bytes) CUDA_TRY(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, c->stream));
        CUDA_TRY(cudaStreamSynchronize(c->stream));
        c->awaited = true;
        return SF_OK;
    }
    SF_TRY(await_others(b));
    if (bytes) CUDA_TRY(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, c->stream));
    sf_status status = sf_cuda_settle(b);
    c->fault = SF_OK;
    return status;
}

static sf_status cuda_copy(sf_backend *b, void *to, const void *from, size_t bytes)
{
    SF_TRY(enter(b));
    before_move(b, to, bytes);
    if (bytes) CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, sf_cuda_of(b)->stream));
    return SF_OK;
}

static sf_status cuda_zero(sf_backend *b, void *p, size_t bytes)
{
    SF_TRY(enter(b));
    before_move(b, p, bytes);
    if (bytes) CUDA_TRY(cudaMemsetAsync(p, 0, bytes, sf_cuda_of(b)->stream));
    return SF_OK;
}

static sf_status cuda_synchronize(sf_backend *b)
{
    SF_TRY(enter(b));
    return sf_cuda_settle(b);
}

static sf_status cuda_lane(sf_backend *b, int lane)
{
    sf_cuda *c = sf_cuda_of(b);
    SF_TRY(enter(b));
    sf_cuda_abandon(b);
    cudaStream_t first = c->queue[0].stream;
    int at = lane < 0 ? 0 : 1 + lane % (SF_CUDA_QUEUES - 1);
    if (at && !c->forked) CUDA_TRY(cudaEventRecord(c->queue[0].done, first));
    if (at && !(c->forked >> at & 1)) CUDA_TRY(cudaStreamWaitEvent(c->queue[at].stream, c->queue[0].done, 0));
    if (at) c->forked |= 1u << at;
    if (at != c->at) c->awaited = true;
    c->at = at;
    c->stream = c->queue[at].stream;
    memset(c->vouched, 0, sizeof c->vouched); /* another lane's lists may lie where this one's were */
    if (at) return SF_OK;
    SF_TRY(await_others(b));
    c->forked = 0;
    if (!c->owes) return SF_OK;
    CUDA_TRY(cudaStreamSynchronize(c->stream));
    pay(b);
    return SF_OK;
}

static sf_status cuda_watch(sf_backend *b, bool start)
{
    sf_cuda *c = sf_cuda_of(b);
    SF_TRY(enter(b));
    if (start != (c->watches % 2 == 0)) return SF_OK; /* after an error in between: as it was */
    if (start && c->watches == 2 * SF_CUDA_WATCHES) (void)sf_cuda_settle(b); /* what it has to say stands */
    if (c->watches == 2 * SF_CUDA_WATCHES) return SF_OK;                     /* the device fails: so will the next op */
    if (!c->watch[c->watches]) CUDA_TRY(cudaEventCreate(&c->watch[c->watches]));
    CUDA_TRY(cudaEventRecord(c->watch[c->watches], c->stream));
    c->watches++;
    return SF_OK;
}

static sf_status cuda_memory(sf_backend *b, size_t *available, size_t *total)
{
    SF_TRY(enter(b));
    CUDA_TRY(cudaMemGetInfo(available, total));
    return SF_OK;
}

extern "C" const sf_backend_ops sf_cuda_ops = {
    .name = "cuda",
    .views = false,
    .apart = true,
    .caps = true,
    .lse = true,
    .latent = true,
    .entmax = true,
    .devices = cuda_devices,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .synchronize = cuda_synchronize,
    .memory = cuda_memory,
    .lane = cuda_lane,
    .replay = sf_cuda_replay,
    .recorded = sf_cuda_recorded,
    .watch = cuda_watch,
    .import_weight = sf_cuda_import_weight,
    .release_weight = sf_cuda_release_weight,
    .check_pattern = sf_cuda_check_pattern,
    SF_EACH_OP(SF_OP_ROW, sf_cuda_)
    .fit_slashes = sf_cuda_fit_slashes,
    .fit_masses = sf_cuda_fit_masses,
    .budgets = sf_cuda_budgets,
    .rows_alike = sf_cuda_rows_alike,
    .unite_blocks = sf_cuda_unite_blocks,
    .merge_tiles = sf_cuda_merge_tiles,
    .draw_blocks = sf_cuda_draw_blocks,
    .convolve = NULL,   /* not yet */
    .delta_rule = NULL, /* likewise */
    .state_space = NULL, /* likewise */
    .scale = NULL, /* likewise */
    .weigh_experts = NULL, /* likewise */
    .index_scores = sf_cuda_index_scores,
    .query_gates = sf_cuda_query_gates,
    .marks = sf_cuda_marks,
    .top_running = sf_cuda_top_running,
    .turn_rows = sf_cuda_turn_rows,
    .norm_rows = sf_cuda_norm_rows,
    .sigmoids = sf_cuda_sigmoids,
};
