/* Patterns on the device: preparing them for the executors, counting their pairs, checking them, and measuring the
 * attention mass they cover. Shapes and the idea are in pattern.cuh. Test: make test-cuda. */
#include "kernels/cuda/entmax.cuh"
#include "kernels/cuda/pattern.cuh"
extern "C" {
#include "kernels/host.h"
}

#include <stdio.h>
#include <string.h>

/* ---- columns and diagonals: the relative key set of each head ---- */

/* bit u + base of bits[head] for every u of [-o, -o + 64). base is a multiple of 64, so 64 bits touch three words. */
__global__ void mark_diagonals(sf_lists diagonals, int base, int words, uint32_t *bits)
{
    int head = blockIdx.x;
    for (int i = threadIdx.x; i < diagonals.count[head]; i += blockDim.x) {
        int from = base - diagonals.index[head * diagonals.stride + i];
        uint32_t *word = bits + (int64_t)head * words + from / 32;
        int shift = from % 32;
        atomicOr(word, ~0u << shift);
        atomicOr(word + 1, ~0u);
        if (shift) atomicOr(word + 2, (1u << shift) - 1);
    }
}

__global__ void mark_column_set(sf_lists columns, int words, uint32_t *bits)
{
    int head = blockIdx.x;
    for (int i = threadIdx.x; i < columns.count[head]; i += blockDim.x) {
        int key = columns.index[head * columns.stride + i];
        atomicOr(bits + (int64_t)head * words + key / 32, 1u << key % 32);
    }
}

/* Inclusive scan of a small count over a block of 1024; `shared` holds 32 ints. */
__device__ static inline int block_scan(int x, int *shared)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int step = 1; step < 32; step *= 2) {
        int left = __shfl_up_sync(~0u, x, step);
        if (lane >= step) x += left;
    }
    __syncthreads();
    if (lane == 31) shared[warp] = x;
    __syncthreads();
    for (int i = 0; i < warp; i++) x += shared[i];
    return x;
}

/* The halfwords that are all ones, and those that are so in part, each in order. */
__global__ void list_pieces(const uint32_t *bits, int words, int base, int2 *piece, int stride, int32_t *pieces)
{
    __shared__ int shared[32];
    __shared__ int found;
    int head = blockIdx.x, edge = blockIdx.y;
    const uint16_t *half = (const uint16_t *)(bits + (int64_t)head * words);
    piece += ((int64_t)head * 2 + edge) * stride;
    if (threadIdx.x == 0) found = 0;
    for (int at = 0; at < words * 2; at += blockDim.x) {
        int i = at + threadIdx.x;
        uint16_t mask = i < words * 2 ? half[i] : 0;
        bool ours = mask && (mask != 0xffff) == edge;
        int place = block_scan(ours, shared) + found;
        if (ours) piece[place - 1] = make_int2(i * SF_PIECE - base, mask);
        __syncthreads();
        if (threadIdx.x == blockDim.x - 1) found = place;
        __syncthreads();
    }
    if (threadIdx.x == 0) pieces[head * 2 + edge] = found;
}

__global__ void mark_columns(sf_lists columns, const uint32_t *bits, int words, int base, int tiles, int first_position,
                             int column_words, uint16_t *column_bits)
{
    int head = blockIdx.y;
    int64_t n = (int64_t)tiles * column_words;
    const uint32_t *covered = bits + (int64_t)head * words;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
        int position = first_position + (int)(i / column_words) * SF_DIAGONAL_TILE;
        uint32_t mask = 0;
        for (int j = 0; j < 16; j++) {
            int at = (int)(i % column_words) * 16 + j;
            if (at >= columns.count[head]) break;
            int u = columns.index[head * columns.stride + at] - position + base;
            bool taken = u >= 0 && u < words * 32 && covered[u / 32] >> u % 32 & 1;
            mask |= (uint32_t)!taken << j;
        }
        column_bits[head * n + i] = (uint16_t)mask;
    }
}

/* Bytes of the parts of a plan for columns and diagonals, in the order in which they lie. */
struct slash_room {
    size_t bits, piece, pieces, column_bits;
};

static slash_room room_of(const sf_cuda_plan *p, bool counting)
{
    slash_room r = {};
    r.bits = ceil_div<size_t>((size_t)p->selections * p->words * sizeof(uint32_t), 256) * 256;
    if (counting) return r;
    r.piece = (size_t)p->selections * 2 * p->piece_stride * sizeof(int2);
    r.pieces = ceil_div<size_t>((size_t)p->selections * 2 * sizeof(int32_t), 256) * 256;
    r.column_bits = (size_t)p->selections * p->list_rows * p->column_words * sizeof(uint16_t);
    return r;
}

static sf_status prepare_slashes(sf_backend *b, const sf_pattern *pattern, sf_cuda_plan *p, char *space, bool counting)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    slash_room r = room_of(p, counting);
    uint32_t *cover = (uint32_t *)space, *set = (uint32_t *)(space + r.bits);
    CUDA_TRY(cudaMemsetAsync(cover, 0, 2 * r.bits, stream));
    mark_diagonals<<<p->selections, 1024, 0, stream>>>(pattern->second, p->base, p->words, cover);
    LAUNCH_TRY(mark_diagonals);
    mark_column_set<<<p->selections, 1024, 0, stream>>>(pattern->first, p->words, set);
    LAUNCH_TRY(mark_column_set);
    p->cover = cover, p->column_set = set;
    if (counting) return SF_OK;
    int2 *piece = (int2 *)(space + 2 * r.bits);
    int32_t *pieces = (int32_t *)((char *)piece + r.piece);
    uint16_t *column_bits = (uint16_t *)((char *)pieces + r.pieces);
    list_pieces<<<dim3(p->selections, 2), 1024, 0, stream>>>(cover, p->words, p->base, piece, p->piece_stride, pieces);
    LAUNCH_TRY(list_pieces);
    int64_t n = (int64_t)p->list_rows * p->column_words;
    mark_columns<<<dim3((unsigned)ceil_div<int64_t>(n, 256), p->selections), 256, 0, stream>>>(
        pattern->first, cover, p->words, p->base, p->list_rows, p->origin, p->column_words, column_bits);
    LAUNCH_TRY(mark_columns);
    p->piece = piece, p->pieces = pieces, p->column_bits = column_bits;
    return SF_OK;
}

static void begin_plan(const sf_attention *a, const sf_pattern *pattern, int rows, sf_cuda_plan *p)
{
    memset(p, 0, sizeof *p);
    p->kind = pattern->kind;
    p->every = pattern->repeat > 1 ? pattern->repeat : 1;
    p->T = ceil_div(a->queries, p->every), p->N = a->keys, p->H = a->heads, p->G = a->kv_heads, p->D = a->head_dim;
    p->origin = a->keys - a->queries;
    p->group = a->heads / a->kv_heads, p->layer = a->layer, p->window = a->window;
    p->local = p->dense_from = p->N;
    p->lists = p->selections = a->heads, p->packed = 1;
    p->block_q = p->span = rows, p->parts = p->block_k = p->list_q = p->list_rows = 1;
}

sf_cuda_plan sf_cuda_plan_summaries(const sf_attention *a, const sf_pattern *pattern, int rows)
{
    const sf_summaries *sum = &pattern->sum;
    sf_cuda_plan p;
    begin_plan(a, pattern, rows, &p);
    p.kind = SF_DENSE, p.summaries = true, p.window = 0, p.selections = 1;
    p.N = p.local = p.dense_from = (int)sum->k.dim[1];
    p.from = sum->from;
    p.bias = (const float *)sum->bias.data, p.bias_rows = (int)sum->bias.dim[0];
    p.tiles = ceil_div(p.T, p.block_q);
    return p;
}

sf_status sf_cuda_plan_make(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, sf_cuda_share share, int rows,
                            size_t reserve, sf_cuda_plan *p, void **reserved)
{
    bool counting = rows == 0;
    if (counting) rows = SF_DIAGONAL_TILE;
    begin_plan(a, pattern, rows, p);
    p->reach = pattern->reach, p->share = share;
    reserve = ceil_div<size_t>(reserve, 256) * 256;
    bool apart = share != SF_SHARE_ALL || p->every > 1;
    switch (pattern->kind) {
    case SF_DENSE:
        p->own[0].far = INT_MAX, p->own[0].step = 1;
        break;
    case SF_WINDOW:
        p->sinks = pattern->sinks, p->local = pattern->local, p->dense_from = p->N - pattern->last;
        p->own[0].sinks = p->sinks, p->own[0].far = p->local, p->own[0].step = 1;
        break;
    case SF_BANDS:
        p->selections = pattern->heads, p->band = pattern->band;
        p->first = pattern->first, p->second = pattern->second;
        break;
    case SF_BLOCKS:
        p->block_q = p->list_q = pattern->block_q, p->block_k = pattern->block_k;
        p->first = pattern->first;
        break;
    case SF_COLUMNS_DIAGONALS:
        p->block_q = p->list_q = SF_DIAGONAL_TILE;
        p->first = pattern->first;
        p->base = sf_cuda_slash_base(p->N);
        p->words = sf_cuda_slash_words(p->N);
        p->piece_stride = p->words * 2;
        p->column_words = (int)ceil_div<int64_t>(pattern->first.stride, 16) + 1;
        break;
    default:
        return sf_fail(SF_INTERNAL, "prefill takes dense, block, column-diagonal, window and band patterns, not kind %d",
                       pattern->kind);
    }
    if (p->kind == SF_BLOCKS || p->kind == SF_COLUMNS_DIAGONALS) {
        p->selections = pattern->heads;
        p->lists = pattern->heads == a->heads ? a->heads : a->kv_heads; /* a tile reads one kv head */
        p->packed = a->heads / p->lists;
        p->list_rows = ceil_div(a->queries, p->list_q);
        if (p->packed > rows && !counting)
            return sf_fail(SF_UNSUPPORTED, "cuda: %d query heads share a selection; at most %d fit a tile", p->packed,
                           rows);
        if (p->every > 1) p->block_q = 1; /* rows far apart: a tile each */
        p->span = counting ? p->block_q : rows / p->packed < p->block_q ? rows / p->packed : p->block_q;
        p->parts = ceil_div(p->block_q, p->span);
    } else if (apart) {
        p->kind = SF_BANDS;
        if (pattern->kind != SF_BANDS) p->selections = 1;
    }
    p->tiles = ceil_div(p->T, p->block_q) * p->parts;
    slash_room r = {};
    if (p->kind == SF_COLUMNS_DIAGONALS) r = room_of(p, counting);
    size_t more = 2 * r.bits + r.piece + r.pieces + r.column_bits;
    void *space = NULL;
    if (reserve + more) SF_TRY(sf_cuda_workspace(b, reserve + more, &space));
    if (reserved) *reserved = space;
    if (p->kind == SF_COLUMNS_DIAGONALS) return prepare_slashes(b, pattern, p, (char *)space + reserve, counting);
    return SF_OK;
}

/* ---- pairs ---- */

/* Positions p of [from, from + n) with key <= p, and p < key + window where there is one. */
__device__ static inline int64_t rows_that_see(int key, int from, int n, int window)
{
    int low = max(key, from), high = from + n;
    if (window) high = min(high, key + window);
    return max(high - low, 0);
}

/* Pairs of a tile of rows under block list `list` (block numbers ascending). Blocks wholly in the past count as rectangles. */
__device__ static inline int64_t block_pairs(const sf_cuda_plan &p, int selection, int tile, int lane, int lanes)
{
    int query = tile * p.block_q, queries = min(p.block_q, p.T - query), position = p.origin + query * p.every,
        list = selection * p.list_rows + query * p.every / p.list_q;
    int64_t pairs = 0;
    for (int i = lane; i < p.first.count[list]; i += lanes) {
        int key = p.first.index[list * p.first.stride + i] * p.block_k, keys = min(p.block_k, p.N - key);
        if (key + keys - 1 <= position && !p.window)
            pairs += (int64_t)queries * keys;
        else
            for (int k = 0; k < keys; k++) pairs += rows_that_see(key + k, position, queries, p.window);
    }
    return pairs;
}

/* Columns and diagonals, as sets of bits: a warp takes a tile. The keys that a tile covers are the relative ones, moved by its
 * position, and the columns. Of those that all rows see a lane takes 32 at a time, of the others one. */
__device__ static inline int64_t slash_pairs(const sf_cuda_plan &p, int list, int tile, int lane)
{
    int query = tile * p.block_q, queries = min(p.block_q, p.T - query), position = p.origin + query * p.every,
        anchor = p.origin + query * p.every / SF_DIAGONAL_TILE * SF_DIAGONAL_TILE, past = p.window ? 0 : (position + 1) / 32 * 32;
    const uint32_t *cover = p.cover + (int64_t)list * p.words, *set = p.column_set + (int64_t)list * p.words;
    auto covered = [&](int key) { /* of 32 keys */
        int u = key - anchor + p.base;
        return __funnelshift_r(cover[u / 32], cover[u / 32 + 1], u % 32) | set[key / 32];
    };
    int64_t pairs = 0;
    int keys = 0; /* that all rows see */
#pragma unroll 4
    for (int key = lane * 32; key < past; key += 32 * 32) keys += __popc(covered(key));
    pairs = (int64_t)keys * queries;
    for (int key = past; key < position + queries; key += 32)
        if (covered(key) >> lane & 1) pairs += rows_that_see(key + lane, position, queries, p.window);
    return pairs;
}

/* Pairs of the rows that this thread takes, bands without walking their keys; and of the columns that it takes, without walking
 * their rows, unless some rows see all or lie apart. */
__device__ static inline int64_t band_pairs(const sf_cuda_plan &p, int selection)
{
    const sf_band *band = p.band ? p.band + selection * SF_BANDS_A_HEAD : p.own;
    const int32_t *column = p.first.rows ? p.first.index + selection * p.first.stride : NULL;
    int columns = column ? p.first.count[selection] : 0, thread = blockIdx.x * blockDim.x + threadIdx.x, threads = gridDim.x * blockDim.x;
    bool alike = p.every == 1 && !p.second.rows && p.dense_from >= p.origin + p.T;
    int64_t pairs = 0;
    for (int i = thread; alike && i < columns; i += threads)
        pairs += sf_cuda_column_rows(band, p.window, p.origin, p.origin + p.T - 1, column[i]);
    for (int r = thread; r < p.T; r += threads) {
        int position = p.origin + r * p.every;
        sf_cuda_row row = sf_cuda_row_at(position, p.window, p.reach, SF_SHARE_ALL, sf_cuda_full(p, selection, r));
        pairs += sf_cuda_band_keys(band, row);
        for (int i = 0; !alike && i < columns && column[i] <= position; i++) pairs += sf_cuda_row_sees(band, row, column[i], true);
    }
    return pairs;
}

/* Pairs of the summaries that this thread takes. */
__device__ static inline int64_t summary_pairs(const sf_cuda_plan &p)
{
    int64_t pairs = 0;
    for (int s = blockIdx.x * blockDim.x + threadIdx.x; s < p.N; s += gridDim.x * blockDim.x) {
        int before = p.from ? max(0, p.from[s] - p.origin) : 0; /* rows of q that do not see it */
        pairs += max(0, p.T - (before + p.every - 1) / p.every);
    }
    return pairs;
}

__global__ void tally_pairs(const __grid_constant__ sf_cuda_plan p, uint64_t *per_head)
{
    __shared__ unsigned long long sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    int selection = blockIdx.y, blocks = p.tiles / p.parts, warp = threadIdx.x / 32, warps = blockDim.x / 32,
        lane = threadIdx.x % 32, each = p.H / p.selections;
    int64_t pairs = 0;
    if (p.summaries)
        pairs = summary_pairs(p);
    else if (p.kind == SF_BANDS)
        pairs = band_pairs(p, selection);
    else
        for (int tile = blockIdx.x * warps + warp; tile < blocks; tile += gridDim.x * warps)
            pairs += p.kind == SF_BLOCKS ? block_pairs(p, selection, tile, lane, 32) : slash_pairs(p, selection, tile, lane);
    for (int i = 16; i; i >>= 1) pairs += __shfl_xor_sync(~0u, pairs, i);
    if (lane == 0) atomicAdd(&sum, (unsigned long long)pairs);
    __syncthreads();
    if (threadIdx.x == 0 && sum)
        for (int i = 0; i < each; i++) atomicAdd((unsigned long long *)per_head + selection * each + i, sum);
}

__global__ void add_pairs(uint64_t *per_head, int heads, uint64_t pairs)
{
    for (int h = threadIdx.x; h < heads; h += blockDim.x) per_head[h] += pairs;
}

/* Pairs of one head under a dense or window pattern. */
static uint64_t pairs_of_window(const sf_cuda_plan *p)
{
    uint64_t pairs = 0;
    for (int64_t position = p->origin; position < p->N; position++) {
        int64_t oldest = p->window && p->window <= position ? position - p->window + 1 : 0; /* that the layer sees */
        int64_t from = position >= p->dense_from ? 0 : position - p->local + 1;
        if (from < oldest) from = oldest;
        int64_t sunk = (p->sinks < from ? p->sinks : from) - oldest;
        pairs += position + 1 - from + (sunk > 0 ? sunk : 0);
    }
    return pairs;
}

sf_status sf_cuda_tally_pairs(sf_backend *b, const sf_attention *a, const sf_cuda_plan *p)
{
    if (!a->pairs) return SF_OK;
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int blocks = p->tiles / p->parts;
    if (!p->summaries && (p->kind == SF_DENSE || p->kind == SF_WINDOW))
        add_pairs<<<1, 128, 0, stream>>>(a->pairs, p->H, pairs_of_window(p));
    else
        tally_pairs<<<dim3(blocks < 256 ? blocks : 256, p->summaries ? 1 : p->selections), 128, 0, stream>>>(*p, a->pairs);
    LAUNCH_TRY(tally_pairs);
    return SF_OK;
}

/* Listed keys to keep. */
__global__ void tally_tokens(sf_lists lists, int heads, uint64_t *per_head)
{
    int group = heads / (int)lists.rows;
    for (int h = threadIdx.x; h < heads; h += blockDim.x) per_head[h] = lists.count[h / group];
}

/* Queues the counting of a prefill pattern without parts. */
static sf_status tally_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *p)
{
    sf_cuda_plan plan;
    SF_TRY(sf_cuda_plan_make(b, a, p, SF_SHARE_ALL, 0, 0, &plan, NULL));
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    if (!p->sum.k.data) return SF_OK;
    plan = sf_cuda_plan_summaries(a, p, SF_DIAGONAL_TILE);
    return sf_cuda_tally_pairs(b, a, &plan);
}

static sf_status tally(sf_backend *b, const sf_attention *a, const sf_pattern *p)
{
    bool one = a->queries == 1 && (p->kind == SF_DENSE || p->kind == SF_WINDOW);
    if (p->kind == SF_TOKENS) {
        tally_tokens<<<1, 128, 0, sf_cuda_of(b)->stream>>>(p->first, a->heads, a->pairs);
        LAUNCH_TRY(tally_tokens);
        return SF_OK;
    }
    if (p->kind == SF_PAGES || one || (a->queries == 1 && b->phase == SF_DECODE)) return sf_cuda_tally_decode(b, a, p);
    if (p->kind != SF_PARTS) return tally_prefill(b, a, p);
    for (int k = 0; k < p->parts; k++)
        if (p->part[k].kind != SF_CONSTANT) SF_TRY(tally_prefill(b, a, p->part + k));
    return SF_OK;
}

/* A warp. */
__global__ void sum_pairs(const uint64_t *per_head, int heads, uint64_t *sum)
{
    uint64_t mine = 0;
    for (int h = threadIdx.x; h < heads; h += 32) mine += per_head[h];
    for (int i = 16; i; i >>= 1) mine += __shfl_xor_sync(~0u, (unsigned long long)mine, i);
    if (threadIdx.x == 0) *sum = mine;
}

sf_status sf_cuda_count_pairs(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, uint64_t *total)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    sf_attention counted = *a;
    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_scratch_alloc(b, (a->heads + 1) * sizeof(uint64_t), (void **)&counted.pairs));
    sf_status status = SF_OK;
    if (cudaMemsetAsync(counted.pairs, 0, a->heads * sizeof(uint64_t), stream) != cudaSuccess)
        status = sf_cuda_failed(cudaGetLastError(), "cudaMemsetAsync", __FILE__, __LINE__);
    if (status == SF_OK) status = tally(b, &counted, pattern);
    if (status == SF_OK) sum_pairs<<<1, 32, 0, stream>>>(counted.pairs, a->heads, counted.pairs + a->heads);
    if (status == SF_OK && cudaPeekAtLastError() != cudaSuccess)
        status = sf_cuda_failed(cudaGetLastError(), "launch of sum_pairs", __FILE__, __LINE__);
    *total = 0;
    if (status == SF_OK) status = b->ops->download(b, total, counted.pairs + a->heads, sizeof *total);
    sf_scratch_release(b, mark);
    return status;
}

/* ---- attention mass that a pattern covers ---- */

__device__ static inline bool listed(const sf_lists &lists, int64_t row, int value)
{
    int n = lists.count[row];
    const int32_t *list = lists.index + row * lists.stride;
    int at = sf_lower_bound(list, n, value);
    return at < n && list[at] == value;
}

__device__ static inline bool names(const sf_pattern &p, int group, int head, int query, int first_position,
                                    int queries, int key)
{
    int position = first_position + query, heads = gridDim.y, row = p.heads == heads ? head : p.heads == 1 ? 0 : head / group;
    switch (p.kind) {
    case SF_WINDOW:
        return key < p.sinks || key > position - p.local || query >= queries - p.last;
    case SF_BLOCKS: {
        int blocks = (queries + p.block_q - 1) / p.block_q;
        return listed(p.first, (int64_t)row * blocks + query / p.block_q, key / p.block_k);
    }
    case SF_COLUMNS_DIAGONALS: {
        int offset = first_position + query / SF_DIAGONAL_TILE * SF_DIAGONAL_TILE - key, n = p.second.count[row];
        const int32_t *list = p.second.index + row * p.second.stride;
        int at = sf_lower_bound(list, n, offset);
        return (at < n && list[at] < offset + SF_DIAGONAL_TILE) || listed(p.first, row, key);
    }
    case SF_PAGES:
        return listed(p.first, row, key / p.page);
    case SF_TOKENS:
        return listed(p.first, head / group, key);
    case SF_BANDS:
        return sf_cuda_in_bands(p.band + row * SF_BANDS_A_HEAD, position, key) || (p.first.rows && listed(p.first, row, key)) ||
               (p.second.rows && listed(p.second, row, query));
    case SF_CONSTANT:
        return false;
    default:
        return true;
    }
}

/* A pattern, or its parts. */
struct named {
    sf_pattern part[SF_MOST_PARTS];
    int parts;
};

__device__ static inline bool any_names(const named &x, int group, int head, int query, int first_position, int queries, int key)
{
    for (int k = 0; k < x.parts; k++) {
        int repeat = x.part[k].repeat > 1 ? x.part[k].repeat : 1, from = query / repeat * repeat;
        if (key <= first_position + from && names(x.part[k], group, head, from, first_position, queries, key)) return true;
    }
    return false;
}

/* ---- checking: the device looks, nobody waits, and the next one who does is told. What a wrong list names is not read: it is emptied,
 * and so are wrong bands. ---- */

__global__ void check_lists(sf_lists lists, int limit, bool may_be_empty, int layer, int asked, sf_cuda_report *report)
{
    for (int64_t row = blockIdx.x; row < lists.rows; row += gridDim.x) {
        int count = lists.count[row], stride = (int)lists.stride, at = (int)row;
        const int32_t *index = lists.index + row * lists.stride;
        bool wrong = count < 0 || count > stride;
        if (wrong && threadIdx.x == 0) sf_raise(report, SF_FAULT_LENGTH, layer, at, 0, asked, count, stride);
        if (count == 0 && !may_be_empty && threadIdx.x == 0) sf_raise(report, SF_FAULT_EMPTY_LIST, layer, at, 0, asked);
        for (int i = threadIdx.x; !wrong && i < count; i += blockDim.x) {
            if (index[i] < 0 || index[i] >= limit) {
                sf_raise(report, SF_FAULT_RANGE, layer, at, i, asked, index[i], limit - 1);
                wrong = true;
            } else if (i && index[i] <= index[i - 1]) {
                sf_raise(report, SF_FAULT_ORDER, layer, at, i, asked, index[i], index[i - 1]);
                wrong = true;
            }
        }
        if (__syncthreads_or(wrong) && threadIdx.x == 0) lists.count[row] = 0;
    }
}

__global__ void check_bands(sf_band *band, int heads, int layer, int asked, sf_cuda_report *report)
{
    for (int i = threadIdx.x; i < heads * SF_BANDS_A_HEAD; i += blockDim.x) {
        sf_band x = band[i];
        if (x.sinks >= 0 && x.apart >= 0 && x.near >= 0 && (x.far <= x.near || x.step >= 1)) continue; /* sf_band_is_fine() */
        sf_raise(report, SF_FAULT_BAND, layer, i / SF_BANDS_A_HEAD, i % SF_BANDS_A_HEAD, asked);
        band[i] = {};
    }
}

__global__ void check_bias(sf_lists at, const float *bias, int layer, int asked, sf_cuda_report *report)
{
    for (int64_t row = blockIdx.x; row < at.rows; row += gridDim.x)
        for (int i = threadIdx.x; i < at.count[row]; i += blockDim.x)
            if (!isfinite(bias[row * at.stride + i])) sf_raise(report, SF_FAULT_WEIGHT, layer, (int)row, i, asked);
}

__global__ void check_numbers(const float *x, int64_t n, int layer, int asked, sf_cuda_report *report)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        if (!isfinite(x[i])) sf_raise(report, SF_FAULT_NUMBER, layer, 0, 0, asked);
}

enum { LOOKED_AT = 5, LOOKERS = 256 };

struct looked_at {
    int row[LOOKED_AT];
};

/* Blocks: keys, query heads (names() counts them), rows. `each` heads select alike, and the first of them is looked at. */
__global__ void check_pairs(const __grid_constant__ named x, looked_at rows, int group, int each, int T, int N, int window, int layer, int asked,
                            sf_cuda_report *report)
{
    int head = blockIdx.y, row = rows.row[blockIdx.z], position = N - T + row;
    if (head % each) return;
    for (int key = blockIdx.x * blockDim.x + threadIdx.x; key <= position; key += gridDim.x * blockDim.x) {
        int in = 0;
        for (int k = 0; k < x.parts; k++) in += names(x.part[k], group, head, row, N - T, T, key);
        if (in > 1 && (!window || key > position - window)) sf_raise(report, SF_FAULT_TWICE, layer, head, row, asked, key);
    }
}

/* The number of who asks for what, to be told in a report. */
static int ask(sf_backend *b, const char *who, const char *what)
{
    sf_cuda *c = sf_cuda_of(b);
    c->pending = true;
    for (int i = 0; i < SF_CUDA_ASKED && i < c->asks; i++)
        if (!strncmp(c->asked[i].who, who, sizeof c->asked[i].who - 1) && !strcmp(c->asked[i].what, what)) return i;
    sf_cuda_asked *q = &c->asked[c->asks % SF_CUDA_ASKED];
    snprintf(q->who, sizeof q->who, "%s", who);
    q->what = what; /* of kernels/check_pattern.c, which stays */
    return c->asks++ % SF_CUDA_ASKED;
}

/* Of lists that were vouched for, an empty one that may not be is reported by the executor; where keys are kept, by nobody. */
static sf_status queue_lists(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_lists *lists, int64_t limit,
                             bool empty_allowed, const char *who, const char *what)
{
    sf_cuda *c = sf_cuda_of(b);
    if (sf_cuda_vouches(b, lists, limit) && (empty_allowed || p->kind != SF_TOKENS)) return SF_OK;
    unsigned blocks = (unsigned)(lists->rows < 4096 ? lists->rows : 4096);
    check_lists<<<blocks, 128, 0, c->stream>>>(*lists, (int)limit, empty_allowed, a->layer, ask(b, who, what), c->report);
    LAUNCH_TRY(check_lists);
    return SF_OK;
}

static sf_status queue_bands(sf_backend *b, const sf_attention *a, const sf_band *band, int heads, const char *who)
{
    sf_cuda *c = sf_cuda_of(b);
    check_bands<<<1, 128, 0, c->stream>>>((sf_band *)band, heads, a->layer, ask(b, who, "bands"), c->report);
    LAUNCH_TRY(check_bands);
    return SF_OK;
}

static sf_status queue_bias(sf_backend *b, const sf_attention *a, const sf_lists *at, const float *bias, const char *who)
{
    sf_cuda *c = sf_cuda_of(b);
    check_bias<<<(unsigned)at->rows, 128, 0, c->stream>>>(*at, bias, a->layer, ask(b, who, "bias"), c->report);
    LAUNCH_TRY(check_bias);
    return SF_OK;
}

static sf_status queue_numbers(sf_backend *b, const sf_attention *a, const sf_tensor *t, const char *who, const char *what)
{
    sf_cuda *c = sf_cuda_of(b);
    const int64_t n = sf_elements(t), blocks = ceil_div<int64_t>(n, 1024);
    if (n == 0) return SF_OK;
    check_numbers<<<(unsigned)(blocks < 512 ? blocks : 512), 256, 0, c->stream>>>((const float *)t->data, n, a->layer, ask(b, who, what), c->report);
    LAUNCH_TRY(check_numbers);
    return SF_OK;
}

static sf_status queue_pairs(sf_backend *b, const sf_attention *a, const sf_pattern *p, const char *who)
{
    sf_cuda *c = sf_cuda_of(b);
    const int n = sf_rows_looked_at(a), stretches = ceil_div(a->keys, 4 * (int)LOOKERS);
    named x = {};
    looked_at rows = {};
    x.parts = p->parts;
    for (int k = 0; k < p->parts; k++) x.part[k] = p->part[k];
    for (int i = 0; i < n; i++) rows.row[i] = sf_row_looked_at(a, i);
    check_pairs<<<dim3(stretches < 128 ? stretches : 128, a->heads, n), LOOKERS, 0, c->stream>>>(
        x, rows, a->heads / a->kv_heads, a->heads / sf_selections(p), a->queries, a->keys, a->window, a->layer, ask(b, who, "parts"), c->report);
    LAUNCH_TRY(check_pairs);
    return SF_OK;
}

sf_status sf_cuda_check_pattern(sf_backend *b, const sf_attention *a, const sf_pattern *p, const char *who)
{
    static const sf_pattern_looks queued = {queue_lists, queue_bands, queue_bias, queue_numbers, queue_pairs};
    return sf_check_pattern_by(&queued, b, a, p, who);
}

enum { MASS_KEYS = 512, MASS_ROWS = 64, MASS_LANES = 8 };

struct sampled {
    int32_t row[MASS_ROWS];
};

struct share_of_mass {
    float most, sum, covered; /* of e^(score - most) */
};

/* One block for a stretch of keys of a sampled row and head: the softmax in fp32. Eight lanes take a key, each 8 elements
 * at a time; a group of lanes sums up its own keys. */
__global__ void mass_parts(const bf16 *q, sf_kv kv, int H, int group, int D, int T, int N, int window, float scale, float cap,
                           const __grid_constant__ named pattern, sampled rows, share_of_mass *part)
{
    __shared__ float query[SF_CUDA_HEAD_DIM], shared[32];
    int head = blockIdx.y, r = rows.row[blockIdx.z], g = head / group, position = N - T + r;
    for (int d = threadIdx.x; d < D; d += blockDim.x)
        query[d] = __bfloat162float(q[((int64_t)r * H + head) * D + d]) * scale;
    __syncthreads();
    int begin = (int)blockIdx.x * MASS_KEYS, first = max(begin, window ? position - window + 1 : 0);
    int end = min(begin + (int)MASS_KEYS, position + 1), lane = threadIdx.x % MASS_LANES, each = blockDim.x / MASS_LANES;
    float most = -INFINITY, sum = 0, covered = 0;
    for (int i = 0; i < MASS_KEYS; i += each) { /* the same for all lanes, which reduce together */
        int key = begin + i + (int)threadIdx.x / MASS_LANES;
        bool old = key < kv.prompt.n, seen = key >= first && key < end;
        const sf_kv_part &from = old ? kv.prompt : kv.tail;
        int at = old ? key : key - kv.prompt.n;
        seen = seen && (!from.count || at < from.count[g]);
        const bf16 *k = (const bf16 *)from.k + (g * from.capacity + at) * D;
        float s = 0;
        for (int d = lane * 8; seen && d < D; d += MASS_LANES * 8) {
            if (D % 8 == 0) {
                uint4 x = *(const uint4 *)(k + d);
                const __nv_bfloat162 *pair = (const __nv_bfloat162 *)&x;
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float2 v = __bfloat1622float2(pair[e]);
                    s += query[d + 2 * e] * v.x + query[d + 2 * e + 1] * v.y;
                }
            } else {
                for (int e = d; e < d + 8 && e < D; e++) s += query[e] * __bfloat162float(k[e]);
            }
        }
        for (int step = MASS_LANES / 2; step; step >>= 1) s += __shfl_xor_sync(~0u, s, step);
        if (!seen) continue;
        s = capped(s, cap);
        float higher = fmaxf(most, s), p = __expf(s - higher), fade = __expf(most - higher);
        sum = sum * fade + p;
        covered = covered * fade + (any_names(pattern, group, head, r, N - T, T, key) ? p : 0);
        most = higher;
    }
    float top = block_max(most, shared);
    float fade = most == -INFINITY || lane ? 0 : __expf(most - top);
    sum = block_sum(sum * fade, shared);
    covered = block_sum(covered * fade, shared);
    if (threadIdx.x == 0) part[((int64_t)blockIdx.z * H + head) * gridDim.x + blockIdx.x] = {top, sum, covered};
}

/* A block a head: the parts of each row joined, the mean over rows. */
__global__ void mean_mass(const share_of_mass *part, int rows, int H, int parts, float *covered)
{
    __shared__ float shared[32];
    float mean = 0;
    for (int r = 0; r < rows; r++) {
        const share_of_mass *of = part + ((int64_t)r * H + blockIdx.x) * parts;
        float most = -INFINITY, sum = 0, named = 0;
        for (int i = threadIdx.x; i < parts; i += blockDim.x) most = fmaxf(most, of[i].most);
        most = block_max(most, shared);
        for (int i = threadIdx.x; i < parts; i += blockDim.x) {
            float fade = of[i].most == -INFINITY ? 0 : __expf(of[i].most - most);
            sum += of[i].sum * fade, named += of[i].covered * fade;
        }
        sum = block_sum(sum, shared);
        named = block_sum(named, shared);
        mean += sum > 0 ? named / sum : 0;
    }
    if (threadIdx.x == 0) covered[blockIdx.x] = mean / rows;
}

/* A block a head (blockIdx.y): covered[h] (+)= what of p [H, N], a row's probabilities, lies on keys that are named, over `rows`. */
__global__ void named_mass(const float *p, const __grid_constant__ named pattern, int group, int row, int T, int N, int rows, bool first,
                           float *covered)
{
    __shared__ float shared[32];
    const int head = blockIdx.y, position = N - T + row;
    float sum = 0;
    for (int key = threadIdx.x; key <= position; key += blockDim.x)
        if (any_names(pattern, group, head, row, N - T, T, key)) sum += p[(int64_t)head * N + key];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) covered[head] = (first ? 0 : covered[head]) + sum / rows;
}

static sf_status entmax_mass(sf_backend *b, const sf_attention *a, const named *patterns, int rows, const int32_t *row, float *covered)
{
    float *p;
    SF_TRY(sf_cuda_workspace(b, (size_t)a->heads * a->keys * sizeof *p, (void **)&p));
    for (int r = 0; r < rows; r++) {
        SF_TRY(sf_cuda_entmax_row(b, a, row[r], p));
        named_mass<<<dim3(1, a->heads), 256, 0, sf_cuda_of(b)->stream>>>(p, *patterns, a->heads / a->kv_heads, row[r], a->queries, a->keys, rows,
                                                                        r == 0, covered);
        LAUNCH_TRY(named_mass);
    }
    return SF_OK;
}

sf_status sf_cuda_mass(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, int rows, const int32_t *row,
                       float *covered)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "mass"));
    sf_cuda *c = sf_cuda_of(b);
    if (rows < 1) return sf_fail(SF_INTERNAL, "mass: no rows sampled");
    int parts = ceil_div(a->keys, (int)MASS_KEYS);
    named patterns = {};
    patterns.parts = pattern->kind == SF_PARTS ? pattern->parts : 1;
    for (int k = 0; k < patterns.parts; k++) patterns.part[k] = pattern->kind == SF_PARTS ? pattern->part[k] : *pattern;
    if (a->alpha != 0) return entmax_mass(b, a, &patterns, rows, row, covered);
    share_of_mass *part;
    SF_TRY(sf_cuda_workspace(b, (size_t)rows * a->heads * parts * sizeof *part, (void **)&part));
    for (int done = 0; done < rows; done += MASS_ROWS) {
        int now = rows - done < MASS_ROWS ? rows - done : MASS_ROWS;
        sampled some = {};
        memcpy(some.row, row + done, now * sizeof *row);
        mass_parts<<<dim3(parts, a->heads, now), 256, 0, c->stream>>>(
            (const bf16 *)a->q, a->kv, a->heads, a->heads / a->kv_heads, a->head_dim, a->queries, a->keys, a->window,
            a->scale, a->softcap, patterns, some, part + (int64_t)done * a->heads * parts);
        LAUNCH_TRY(mass_parts);
    }
    mean_mass<<<a->heads, 128, 0, c->stream>>>(part, rows, a->heads, parts, covered);
    LAUNCH_TRY(mean_mass);
    return SF_OK;
}
