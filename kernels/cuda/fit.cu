/* How much stays within so many pairs: searches that only counting can answer, on the device.
 *
 * Columns and diagonals of a prefill, by number or by mass. Each row's scores are sorted once; "among the k best" is then a
 * comparison of ranks. A trial is three kernels and no wait: sets of bits from ranks (a relative key is covered if any of the 64 diagonals that reach
 * it is chosen: the least of their ranks is kept), their pairs (pattern.cu), and the next trial from the sum. Both searches are
 * bisections of a number that pairs never fall with, so that they end where any search would: first the largest k for columns
 * and diagonals alike, then the most columns beside k diagonals. The host queues as many trials as the longest search takes and
 * waits once.
 *
 * Before, each trial of the caller's own bisection chose lists anew and waited for their count: about 40 waits a layer, some
 * 2 ms on a short prompt and 30 ms of the 42 that Vertical-Slash spent beyond attention on 128k tokens (Qwen2.5-7B, H200).
 * By mass, FlexPrefill's search took 61 ms a layer there; what a share takes of each row is found in its sums, as below.
 *
 * Masses, of a decode step: as many of each row's best as hold the largest share of its sum that the budget allows. Rows are sorted
 * (to 8192 scores in one block each), and masses, which are select.cu's, and weights added up along the order: what a share takes
 * is then found by halving. One block tries 32 shares at once, four times over, and leaves counts on the device; nobody waits.
 *
 * What choosing by mass costs one lane at one layer and step, rows of n <= 8192 scores, counted by reading:
 *
 *                        before                                              since
 *     kernels            20 trials of 3 (count, select, tally), 1, 2: 63     sort, add up, find, select: 4
 *     waits for the host 21                                                  0
 *     bytes a row        21 · 6 readings · 4 n = 504 n                       4 n + 8 n sorted, 8 n + 8 n added up, 4 n: 32 n
 *
 * double_p: 20 trials of 10 kernels, 24 waits, of which 3 brought lists and weights home to be checked; now 11 kernels, no wait.
 * vattention (sample.cu): 84 kernels, 45 waits; now 5, no wait. twilight: another wait to count candidates, which is gone too.
 *
 * Test: make test-cuda ("selection", "within", "budgets"). */
#include "kernels/cuda/pattern.cuh"
#include "kernels/cuda/select.cuh"

#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/device/device_segmented_radix_sort.cuh>

enum { THREADS = 256 };

#define FOR_ALL(i, n)                                                                                                  \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

static unsigned grid_for(int64_t n)
{
    int64_t blocks = ceil_div<int64_t>(n, THREADS);
    return (unsigned)(blocks < 1 ? 1 : blocks > 65536 ? 65536 : blocks);
}

/* ---- ranks ---- */

__global__ void name_scores(const float *x, int64_t all, int N, uint32_t *key, int32_t *index)
{
    FOR_ALL(i, all) key[i] = sf_cuda_key_of(x[i]), index[i] = (int32_t)(i % N);
}

__global__ void begin_rows(int rows, int N, int32_t *begin)
{
    FOR_ALL(i, rows + 1) begin[i] = (int32_t)(i * N);
}

/* rank[row, index] = place in the row's order; INT_MAX for scores that are never chosen. */
__global__ void place(const uint32_t *key, const int32_t *index, int64_t all, int N, int32_t *rank)
{
    FOR_ALL(i, all) rank[i / N * N + index[i]] = key[i] ? (int32_t)(i % N) : INT_MAX;
}

/* reach[row, u + base] = the least rank of the diagonals o that cover relative key u: -o <= u < -o + 64. */
__global__ void spread_ranks(const int32_t *rank, int64_t all, int N, int base, int width, int32_t *reach)
{
    FOR_ALL(i, all)
    {
        int u = (int)(i % width) - base, least = INT_MAX;
        const int32_t *of = rank + i / width * N;
        for (int o = max(0, -u); o <= min(N - 1, SF_DIAGONAL_TILE - 1 - u); o++) least = min(least, of[o]);
        reach[i] = least;
    }
}

struct sorter {
    uint32_t *key, *sorted;
    int32_t *index, *order, *begin;
    void *temporary;
    size_t bytes;
};

static sf_status sorter_bytes(int rows, int N, size_t *temporary)
{
    *temporary = 0;
    CUDA_TRY(cub::DeviceSegmentedRadixSort::SortPairsDescending(
        NULL, *temporary, (uint32_t *)NULL, (uint32_t *)NULL, (int32_t *)NULL, (int32_t *)NULL, rows * N, rows,
        (int32_t *)NULL, (int32_t *)NULL, 0, 32, 0));
    return SF_OK;
}

/* Keys to s->sorted, descending, and where they stood to s->order. */
static sf_status sort_rows(sf_backend *b, const sorter *s, const float *x, int rows, int N)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int64_t all = (int64_t)rows * N;
    size_t bytes = s->bytes;
    begin_rows<<<1, THREADS, 0, stream>>>(rows, N, s->begin);
    LAUNCH_TRY(begin_rows);
    name_scores<<<grid_for(all), THREADS, 0, stream>>>(x, all, N, s->key, s->index);
    LAUNCH_TRY(name_scores);
    CUDA_TRY(cub::DeviceSegmentedRadixSort::SortPairsDescending(s->temporary, bytes, s->key, s->sorted, s->index, s->order,
                                                                (int)all, rows, s->begin, s->begin + 1, 0, 32, stream));
    return SF_OK;
}

static sf_status rank_rows(sf_backend *b, const sorter *s, const float *x, int rows, int N, int32_t *rank)
{
    int64_t all = (int64_t)rows * N;
    SF_TRY(sort_rows(b, s, x, rows, N));
    place<<<grid_for(all), THREADS, 0, sf_cuda_of(b)->stream>>>(s->sorted, s->order, all, N, rank);
    LAUNCH_TRY(place);
    return SF_OK;
}

/* ---- trials ---- */

/* Stage 0 looks for k, stage 1 for columns beyond k; `low` more fit, `high` more do not. */
struct search {
    int columns, diagonals; /* of the next trial; when done, the answer */
    int stage, low, high, k;
};

/* limit: how many columns and how many diagonals a row takes; rows' limits lie `apart` from each other, 0: one for all. */
__global__ void build_sets(const int32_t *reach, const int32_t *rank, int64_t all, int N, int words, const int *limit, int apart,
                           uint32_t *cover, uint32_t *set)
{
    int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; /* a bit; 32 to a word, a word to a warp */
    if (i >= all) return;
    int64_t word = i / 32, row = word / words, at = i - row * words * 32;
    limit += row * apart;
    uint32_t covered = __ballot_sync(~0u, reach[i] < limit[1]);
    uint32_t chosen = __ballot_sync(~0u, at < N && rank[row * N + at] < limit[0]);
    if (i % 32 == 0) cover[word] = covered, set[word] = chosen;
}

__device__ static inline void try_next(search *s, int N)
{
    if (s->high - s->low <= 1 && s->stage == 0) {
        s->k = max(s->low, 1);
        s->stage = 1, s->low = 0, s->high = N - s->k + 1;
    }
    if (s->high - s->low <= 1 && s->stage == 1) s->stage = 2;
    int middle = s->stage == 2 ? s->low : (s->low + s->high) / 2;
    s->columns = s->stage == 0 ? middle : s->k + middle;
    s->diagonals = s->stage == 0 ? middle : s->k;
}

/* The trial's pairs, over all heads, known to all threads of a warp; clears them. */
__device__ static inline unsigned long long take_pairs(unsigned long long *pairs, int heads)
{
    unsigned long long sum = 0;
    for (int h = threadIdx.x % 32; h < heads; h += 32) sum += pairs[h], pairs[h] = 0;
    for (int i = 16; i; i >>= 1) sum += __shfl_xor_sync(~0u, sum, i);
    return sum;
}

__global__ void begin_search(search *s, int N)
{
    *s = search{0, 0, 0, 0, N + 1, 0};
    try_next(s, N);
}

/* One warp: what the trial's pairs mean for the search. */
__global__ void decide(search *s, int N, unsigned long long *pairs, int heads, unsigned long long most)
{
    unsigned long long sum = take_pairs(pairs, heads);
    if (threadIdx.x || s->stage == 2) return;
    int middle = s->columns - (s->stage ? s->k : 0);
    if (sum <= most)
        s->low = middle;
    else
        s->high = middle;
    try_next(s, N);
}

/* As counting walks it: pattern.cuh. */
static sf_cuda_plan plan_of(const sf_attention *a, int lists, const uint32_t *cover, const uint32_t *set)
{
    sf_cuda_plan p = {};
    p.kind = SF_COLUMNS_DIAGONALS;
    p.T = a->queries, p.N = a->keys, p.H = a->heads, p.G = a->kv_heads, p.D = a->head_dim;
    p.group = a->heads / a->kv_heads, p.layer = a->layer, p.window = a->window;
    p.local = p.dense_from = p.N;
    p.origin = a->keys - a->queries, p.every = 1;
    p.lists = p.selections = lists, p.packed = a->heads / lists;
    p.block_q = p.span = p.list_q = SF_DIAGONAL_TILE, p.parts = 1, p.block_k = 1;
    p.tiles = p.list_rows = ceil_div(p.T, p.block_q);
    p.base = sf_cuda_slash_base(p.N), p.words = sf_cuda_slash_words(p.N);
    p.cover = cover, p.column_set = set;
    return p;
}

/* Rooms of one workspace, each 256-byte aligned. */
struct rooms {
    char *base; /* NULL: only adding up */
    size_t used;
};

template <typename T> static void take(rooms *r, T **out, size_t n)
{
    *out = r->base ? (T *)(r->base + r->used) : NULL;
    r->used += ceil_div<size_t>(n * sizeof(T), 256) * 256;
}

struct memory {
    sorter sort;
    int32_t *column_rank, *diagonal_rank, *reach;
    uint32_t *cover, *set;
    unsigned long long *pairs;
};

static void lay_out_sorter(rooms *r, sorter *s, int rows, size_t all, size_t temporary)
{
    take(r, &s->key, all), take(r, &s->sorted, all), take(r, &s->index, all), take(r, &s->order, all);
    take(r, &s->begin, rows + 1);
    take(r, (char **)&s->temporary, temporary);
    s->bytes = temporary;
}

static void lay_out(rooms *r, memory *m, int rows, int N, int words, int heads, size_t temporary)
{
    size_t all = (size_t)rows * N;
    lay_out_sorter(r, &m->sort, rows, all, temporary);
    take(r, &m->column_rank, all), take(r, &m->diagonal_rank, all);
    take(r, &m->reach, (size_t)rows * words * 32);
    take(r, &m->cover, (size_t)rows * words), take(r, &m->set, (size_t)rows * words);
    take(r, &m->pairs, heads);
}

/* Ranks of both, and no pairs yet. */
static sf_status begin_trials(sf_backend *b, const sf_attention *a, const memory *m, int rows, const float *column, const float *diagonal)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    const int N = a->keys, words = sf_cuda_slash_words(N);
    const int64_t bits = (int64_t)rows * words * 32;
    SF_TRY(rank_rows(b, &m->sort, column, rows, N, m->column_rank));
    SF_TRY(rank_rows(b, &m->sort, diagonal, rows, N, m->diagonal_rank));
    spread_ranks<<<grid_for(bits), THREADS, 0, stream>>>(m->diagonal_rank, bits, N, sf_cuda_slash_base(N), words * 32, m->reach);
    LAUNCH_TRY(spread_ranks);
    CUDA_TRY(cudaMemsetAsync(m->pairs, 0, a->heads * sizeof *m->pairs, stream));
    return SF_OK;
}

/* Counts what the limits take to m->pairs. */
static sf_status try_limits(sf_backend *b, const sf_attention *a, const memory *m, int rows, const int *limit, int apart)
{
    const int N = a->keys, words = sf_cuda_slash_words(N);
    const int64_t bits = (int64_t)rows * words * 32;
    build_sets<<<(unsigned)ceil_div<int64_t>(bits, THREADS), THREADS, 0, sf_cuda_of(b)->stream>>>(m->reach, m->column_rank, bits, N, words,
                                                                                                  limit, apart, m->cover, m->set);
    LAUNCH_TRY(build_sets);
    sf_attention counted = *a;
    counted.pairs = (uint64_t *)m->pairs;
    sf_cuda_plan plan = plan_of(a, rows, m->cover, m->set);
    return sf_cuda_tally_pairs(b, &counted, &plan);
}

sf_status sf_cuda_fit_slashes(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                              uint64_t most, int64_t *columns, int64_t *diagonals)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int N = a->keys, words = sf_cuda_slash_words(N), trials = 0;
    size_t temporary;
    SF_TRY(sorter_bytes(rows, N, &temporary));
    rooms r = {};
    memory m = {};
    search *now;
    for (int laid = 0; laid < 2; laid++) {
        void *space = NULL;
        if (laid) SF_TRY(sf_cuda_workspace(b, r.used, &space));
        r = {(char *)space, 0};
        lay_out(&r, &m, rows, N, words, a->heads, temporary);
        take(&r, &now, 1);
    }
    SF_TRY(begin_trials(b, a, &m, rows, column, diagonal));
    begin_search<<<1, 1, 0, stream>>>(now, N);
    LAUNCH_TRY(begin_search);
    for (int64_t wide = 1; wide < (int64_t)N + 1; wide *= 2) trials += 2; /* halvings of N + 1, twice */
    for (int i = 0; i < trials; i++) {
        SF_TRY(try_limits(b, a, &m, rows, &now->columns, 0));
        decide<<<1, 32, 0, stream>>>(now, N, m.pairs, a->heads, most);
        LAUNCH_TRY(decide);
    }
    search found;
    SF_TRY(b->ops->download(b, &found, now, sizeof found));
    if (found.stage != 2) return sf_fail(SF_INTERNAL, "fit_slashes: %d trials over %d keys did not end the search", trials, N);
    *columns = found.columns;
    *diagonals = found.diagonals;
    return SF_OK;
}

/* ---- masses ---- */

enum { SORTERS = 512, ADDERS = 1024, SHORT_ROW = 16 * SORTERS };

/* As sort_rows(), a block a row. */
template <int EACH> __global__ void __launch_bounds__(SORTERS) sort_short_rows(const float *x, int n, uint32_t *sorted, int32_t *order)
{
    using block_sort = cub::BlockRadixSort<uint32_t, SORTERS, EACH, int32_t>;
    __shared__ typename block_sort::TempStorage room;
    int64_t row = blockIdx.x * (int64_t)n;
    uint32_t key[EACH];
    int32_t index[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        index[i] = threadIdx.x * EACH + i;
        key[i] = index[i] < n ? sf_cuda_key_of(x[row + index[i]]) : 0;
    }
    block_sort(room).SortDescendingBlockedToStriped(key, index);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int at = threadIdx.x + i * SORTERS;
        if (at < n) sorted[row + at] = key[i], order[row + at] = index[i];
    }
}

/* Of a row in its order: first those of +INFINITY, last those that are never chosen. */
struct sorted_row {
    unsigned long long total;
    int infinite, valid; /* how many come before the first that is not, or is not to be chosen */
};

/* mass, heavy [rows, n]: what the entries up to each, in their order, have of their row's sum and weigh. */
__global__ void __launch_bounds__(ADDERS) add_up(const uint32_t *sorted, const int32_t *order, const float *weight, int n,
                                                 unsigned long long *mass, int32_t *heavy, sorted_row *rows)
{
    using block_scan = cub::BlockScan<unsigned long long, ADDERS>;
    __shared__ typename block_scan::TempStorage room;
    __shared__ int infinite, valid;
    int64_t row = blockIdx.x * (int64_t)n;
    sorted += row, order += row, mass += row;
    if (threadIdx.x == 0) infinite = valid = n;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += ADDERS) {
        uint32_t at = sorted[i], before = i ? sorted[i - 1] : SF_CUDA_INFINITE;
        if (at != SF_CUDA_INFINITE && before == SF_CUDA_INFINITE) infinite = i;
        if (at == 0 && before != 0) valid = i;
    }
    __syncthreads();
    float most = infinite < valid ? fmaxf(sf_cuda_score_of(sorted[infinite]), 0) : 0;
    unsigned long long sum = 0, weighs = 0, all;
    for (int from = 0; from < n; from += ADDERS) {
        int i = from + threadIdx.x;
        unsigned long long mine = i >= infinite && i < valid ? sf_cuda_fixed(sf_cuda_score_of(sorted[i]), most) : 0;
        block_scan(room).InclusiveSum(mine, mine, all);
        __syncthreads();
        if (i < n) mass[i] = sum + mine;
        sum += all;
        if (!weight) continue;
        mine = i < valid ? (unsigned long long)llrintf(weight[row + order[i]]) : 0;
        block_scan(room).InclusiveSum(mine, mine, all);
        __syncthreads();
        if (i < n) heavy[row + i] = (int32_t)(weighs + mine);
        weighs += all;
    }
    if (threadIdx.x == 0) rows[blockIdx.x] = {sum, infinite, valid};
}

/* How many entries top_mass() takes. */
__device__ static inline int taken(const sorted_row &row, const unsigned long long *mass, int n, float share, int least)
{
    unsigned long long want = min((unsigned long long)ceil((double)share * (double)row.total), row.total);
    int low = 0, high = n - 1;
    while (want && low < high) {
        int middle = (low + high) / 2;
        if (mass[middle] < want)
            low = middle + 1;
        else
            high = middle;
    }
    return min(max(want ? low + 1 : 0, least), row.valid);
}

__global__ void __launch_bounds__(1024) find_mass(const sorted_row *row, int rows, const unsigned long long *mass, const int32_t *heavy, int n,
                                                  double share, int least, long long most, int32_t *count, int32_t *whole)
{
    auto weigh = [=](int k) {
        long long sum = 0;
        for (int r = threadIdx.x % 32; r < rows; r += 32) {
            int m = taken(row[r], mass + (int64_t)r * n, n, (float)(share * sf_dial_at(k)), least);
            sum += !heavy ? m : m ? heavy[(int64_t)r * n + m - 1] : 0;
        }
        return sum;
    };
    int k = sf_cuda_largest_dial(most, weigh);
    for (int r = threadIdx.x; r < rows; r += blockDim.x) {
        count[r] = taken(row[r], mass + (int64_t)r * n, n, (float)(share * sf_dial_at(k)), least);
        if (whole) whole[r] = taken(row[r], mass + (int64_t)r * n, n, (float)sf_dial_at(k), 1);
    }
}

static sf_status sort_any_rows(sf_backend *b, const sorter *s, const float *x, int rows, int n)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    if (n > SHORT_ROW) return sort_rows(b, s, x, rows, n);
    if (n <= 4 * SORTERS)
        sort_short_rows<4><<<rows, SORTERS, 0, stream>>>(x, n, s->sorted, s->order);
    else if (n <= 9 * SORTERS)
        sort_short_rows<9><<<rows, SORTERS, 0, stream>>>(x, n, s->sorted, s->order);
    else
        sort_short_rows<16><<<rows, SORTERS, 0, stream>>>(x, n, s->sorted, s->order);
    LAUNCH_TRY(sort_short_rows);
    return SF_OK;
}

sf_status sf_cuda_top_mass_within(sf_backend *b, const float *x, int64_t rows, int64_t n, const float *weight, double share, int64_t least,
                                  int64_t most, int32_t *count, int32_t *whole)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    size_t all = (size_t)(rows * n), temporary = 0;
    if (!rows) return SF_OK;
    if (n > SHORT_ROW) SF_TRY(sorter_bytes((int)rows, (int)n, &temporary));
    sorter s = {};
    unsigned long long *mass;
    int32_t *heavy;
    sorted_row *row;
    rooms r = {};
    for (int laid = 0; laid < 2; laid++) {
        void *space = NULL;
        if (laid) SF_TRY(sf_cuda_workspace(b, r.used, &space));
        r = {(char *)space, 0};
        if (n > SHORT_ROW)
            lay_out_sorter(&r, &s, (int)rows, all, temporary);
        else
            take(&r, &s.sorted, all), take(&r, &s.order, all);
        take(&r, &mass, all), take(&r, &heavy, weight ? all : 0), take(&r, &row, rows);
    }
    SF_TRY(sort_any_rows(b, &s, x, (int)rows, (int)n));
    add_up<<<(unsigned)rows, ADDERS, 0, stream>>>(s.sorted, s.order, weight, (int)n, mass, heavy, row);
    LAUNCH_TRY(add_up);
    find_mass<<<1, 1024, 0, stream>>>(row, (int)rows, mass, weight ? heavy : NULL, (int)n, share, (int)(least < n ? least : n), most, count, whole);
    LAUNCH_TRY(find_mass);
    return SF_OK;
}

/* ---- columns and diagonals by their mass ---- */

enum { MASSES = 1 << 19 };

/* One scale: 1 to `given` entries at mass 0, then the masses above it, in steps. `at` is kept, `above` is too much. */
struct mass_search {
    int at, above;
};

__device__ static inline int tried(int at, int above) { return above - at > 1 ? at + (above - at) / 2 : at; }

__global__ void begin_masses(mass_search *s, int given) { *s = {1, given + MASSES}; }

/* One block: what the trial's pairs mean for the search, if there was one, and what each row takes in the next.
 * row, mass [2, rows ..]: of columns, of diagonals. limit [rows, 2]. */
__global__ void __launch_bounds__(THREADS) next_masses(mass_search *s, bool first, unsigned long long *pairs, int heads, unsigned long long most,
                                                       int given, const sorted_row *row, const unsigned long long *mass, int rows, int N,
                                                       int *limit)
{
    __shared__ int middle;
    if (threadIdx.x < 32) {
        unsigned long long sum = first ? 0 : take_pairs(pairs, heads);
        if (threadIdx.x == 0) {
            int at = s->at, above = s->above, before = tried(at, above);
            if (!first && before > at) (sum <= most ? at : above) = before;
            *s = {at, above};
            middle = tried(at, above);
        }
    }
    __syncthreads();
    const int fewest = min(middle, given);
    const float share = (float)(middle - fewest) / MASSES; /* exact: below 2^24, over a power of two */
    for (int i = threadIdx.x; i < 2 * rows; i += blockDim.x)
        limit[i % rows * 2 + i / rows] = taken(row[i], mass + (int64_t)i * N, N, share, fewest);
}

sf_status sf_cuda_fit_masses(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                             const float *column_forced, const float *diagonal_forced, uint64_t most, double *mass, int64_t *least)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    const int N = a->keys, words = sf_cuda_slash_words(N), given = (int)*least;
    const size_t all = (size_t)rows * N;
    size_t temporary;
    SF_TRY(sorter_bytes(rows, N, &temporary));
    rooms r = {};
    memory m = {};
    mass_search *now;
    unsigned long long *sum;
    sorted_row *row;
    int *limit;
    for (int laid = 0; laid < 2; laid++) {
        void *space = NULL;
        if (laid) SF_TRY(sf_cuda_workspace(b, r.used, &space));
        r = {(char *)space, 0};
        lay_out(&r, &m, rows, N, words, a->heads, temporary);
        take(&r, &now, 1), take(&r, &sum, 2 * all), take(&r, &row, 2 * rows), take(&r, &limit, 2 * rows);
    }
    for (int i = 0; i < 2; i++) {
        SF_TRY(sort_rows(b, &m.sort, i ? diagonal : column, rows, N));
        add_up<<<(unsigned)rows, ADDERS, 0, stream>>>(m.sort.sorted, m.sort.order, NULL, N, sum + i * all, NULL, row + i * rows);
        LAUNCH_TRY(add_up);
    }
    SF_TRY(begin_trials(b, a, &m, rows, column_forced, diagonal_forced));
    begin_masses<<<1, 1, 0, stream>>>(now, given);
    LAUNCH_TRY(begin_masses);
    int trials = 0;
    for (int wide = 1; wide < given + MASSES; wide *= 2) trials++;
    for (int i = 0; i <= trials; i++) {
        next_masses<<<1, THREADS, 0, stream>>>(now, i == 0, m.pairs, a->heads, most, given, row, sum, rows, N, limit);
        LAUNCH_TRY(next_masses);
        if (i < trials) SF_TRY(try_limits(b, a, &m, rows, limit, 2));
    }
    mass_search found;
    SF_TRY(b->ops->download(b, &found, now, sizeof found));
    if (found.above - found.at > 1) return sf_fail(SF_INTERNAL, "fit_masses: %d trials over %d keys did not end the search", trials, N);
    *mass = found.at > given ? (found.at - given) / (double)MASSES : 0;
    *least = found.at < given ? found.at : given;
    return SF_OK;
}
