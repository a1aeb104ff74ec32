/* How much stays within so many pairs: searches that only counting can answer, on the device.
 *
 * Columns and diagonals of a prefill, by number or by mass. Each row's scores are sorted once; "among the k best" is then a
 * comparison of ranks, and a relative key is covered if any of the 64 diagonals that reach it is chosen: the least of their ranks is
 * kept. Pairs never fall with the amount, so that a search ends where any other would. A round tries seven amounts between one that fits
 * and one that does not, by counts that are exact and need no walk over tiles ("pairs of the best", below); what the round means the
 * next kernel decides. The most columns beside k diagonals need no search: what each column adds is known by itself, and added up by
 * rank. The host queues as many rounds as the longest search takes and waits once, for two numbers: the lists that they ask for are as
 * long as they say.
 *
 * Of one layer of 28 heads and 131040 tokens (the Qwen2.5-7B shape), by number: 36 trials, each of which walked all tiles' bits (.2 ms),
 * were 7.1 of 13.8 ms on an H200, and the sorts most of the rest, a block a row. Now a round reads 30 MB of ranks once for its seven
 * amounts, six times over, and all that Vertical-Slash chooses takes 7.3 ms, most of it the probe. Before that each trial of the caller's
 * own bisection chose lists anew and waited for their count: about 40 waits a layer, some 30 ms. By mass, FlexPrefill's search took
 * 61 ms a layer then; what a share takes of each row is found in its sums.
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
#include "kernels/cuda/select.cuh"

#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/device/device_radix_sort.cuh>

enum { THREADS = 256 };

#define FOR_ALL(i, n)                                                                                                  \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

static unsigned grid_for(int64_t n)
{
    int64_t blocks = ceil_div<int64_t>(n, THREADS);
    return (unsigned)(blocks < 1 ? 1 : blocks > 65536 ? 65536 : blocks);
}

/* ---- ranks ---- */

/* Rows are sorted all at once, by keys of 64 bits: the row, then the score's key turned over, so that they ascend as scores fall.
 * Equal ones stay in the order of their indices. (A sort of segments gives each row one block: 28 rows of 131072 left most of the chip
 * idle, and six passes of it took some 3 ms.) */
__device__ static inline uint32_t key_in(uint32_t sorted) { return sorted; }
__device__ static inline uint32_t key_in(uint64_t sorted) { return ~(uint32_t)sorted; }

__global__ void name_scores(const float *x, int N, uint64_t *key, int32_t *index)
{
    const int64_t row = blockIdx.y;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < N; i += gridDim.x * blockDim.x)
        key[row * N + i] = (uint64_t)row << 32 | (uint32_t)~sf_cuda_key_of(x[row * N + i]), index[row * N + i] = i;
}

struct sorter {
    uint64_t *key[2];
    int32_t *index[2];
    void *temporary;
    size_t bytes;
    uint64_t *sorted; /* sort_rows(): one of each */
    int32_t *order;
};

static int bits_of_rows(int rows)
{
    int bits = 32;
    while ((int64_t)1 << (bits - 32) < rows) bits++;
    return bits;
}

static sf_status sorter_bytes(int rows, int N, size_t *temporary)
{
    cub::DoubleBuffer<uint64_t> key;
    cub::DoubleBuffer<int32_t> index;
    *temporary = 0;
    CUDA_TRY(cub::DeviceRadixSort::SortPairs(NULL, *temporary, key, index, (int64_t)rows * N, 0, bits_of_rows(rows), 0));
    return SF_OK;
}

static dim3 grid_of_rows(int rows, int N)
{
    int blocks = ceil_div(N, 4 * (int)THREADS);
    return dim3((unsigned)(blocks < 1 ? 1 : blocks), (unsigned)rows);
}

/* Keys of x [rows, N] to s->sorted, and where they stood to s->order. */
static sf_status sort_rows(sf_backend *b, sorter *s, const float *x, int rows, int N)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    size_t bytes = s->bytes;
    cub::DoubleBuffer<uint64_t> key(s->key[0], s->key[1]);
    cub::DoubleBuffer<int32_t> index(s->index[0], s->index[1]);
    name_scores<<<grid_of_rows(rows, N), THREADS, 0, stream>>>(x, N, s->key[0], s->index[0]);
    LAUNCH_TRY(name_scores);
    CUDA_TRY(cub::DeviceRadixSort::SortPairs(s->temporary, bytes, key, index, (int64_t)rows * N, 0, bits_of_rows(rows), stream));
    s->sorted = key.Current(), s->order = index.Current();
    return SF_OK;
}

/* ---- pairs of the best ---- */

/* How many pairs columns and diagonals compute, of one row of scores, in time that grows with the keys alone.
 *
 * The tile of rows [s, s + 64) covers the keys s + u of a set of relative numbers u, and all rows of the prompt the columns (pattern.cuh).
 * So pairs = Σ over covered u of the rows under it, in all tiles that reach key 0, + Σ over columns of the rows that see it and
 * whose tile does not cover it. What a column meets in tile after tile are u that lie 64 apart. The numbers u = class - 64 m are
 * therefore kept class by class, a bit for each m, with counts of the bits before each word: a column's covered tiles are the difference of two
 * counts, but for the tile that it stands in and the last one, which may be short. Keys, origin + 64 f + class, are kept likewise,
 * by f + `past`. */
enum { CLASSES = SF_DIAGONAL_TILE, PIECES = 4, TRIALS = 7, COUNTERS = 256 };

struct tiling {
    int N, T, origin; /* T rows, the first at position `origin` */
    int tiles, last;  /* of rows; rows of the last one */
    int past;         /* tiles that would be before them */
    int words;        /* of 32, for tiles + past and one more */
};

static tiling tiling_of(const sf_attention *a)
{
    tiling t = {};
    t.N = a->keys, t.T = a->queries, t.origin = a->keys - a->queries;
    t.tiles = ceil_div(t.T, (int)CLASSES), t.last = t.T - (t.tiles - 1) * CLASSES;
    t.past = ceil_div(t.origin, (int)CLASSES);
    t.words = (t.tiles + t.past) / 32 + 1;
    return t;
}

static size_t cells_of(const tiling &t) { return (size_t)CLASSES * t.words * 32; }

/* Of a sorted row of columns: column_rank[row, class, f + past] = place in its order; INT_MAX for scores that are never chosen. */
__global__ void place_columns(const uint64_t *sorted, const int32_t *order, const tiling t, int32_t *column_rank)
{
    const int64_t row = blockIdx.y;
    column_rank += row * CLASSES * t.words * 32;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < t.N; i += gridDim.x * blockDim.x) {
        const int at = order[row * t.N + i] - t.origin + t.past * CLASSES;
        column_rank[(at % CLASSES) * t.words * 32 + at / CLASSES] = key_in(sorted[row * t.N + i]) ? i : INT_MAX;
    }
}

__global__ void place_diagonals(const uint64_t *sorted, const int32_t *order, int N, int32_t *rank)
{
    const int64_t row = blockIdx.y;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < N; i += gridDim.x * blockDim.x)
        rank[row * N + order[row * N + i]] = key_in(sorted[row * N + i]) ? i : INT_MAX;
}

/* reach[row, class, m] = the least rank of the diagonals o that cover u = class - 64 m: -o <= u < -o + 64. A block takes 32 m of a
 * row; the least of 64 neighbours is that of two times 32, and so on. */
__global__ void __launch_bounds__(COUNTERS) spread_ranks(const int32_t *rank, const tiling t, int32_t *reach)
{
    enum { SPAN = 33 * CLASSES, PITCH = SPAN + SPAN / CLASSES + 1 };
    __shared__ int32_t least[2][PITCH]; /* a gap after each 64, for reads that lie 64 apart */
    const int64_t row = blockIdx.y;
    const int first = blockIdx.x * 32 * CLASSES - (CLASSES - 1);
    auto at = [](int i) { return i + i / CLASSES; };
    for (int i = threadIdx.x; i < SPAN; i += COUNTERS)
        least[0][at(i)] = first + i >= 0 && first + i < t.N ? rank[row * t.N + first + i] : INT_MAX;
    int now = 0;
    for (int wide = 1; wide < CLASSES; wide *= 2, now ^= 1) {
        __syncthreads();
        for (int i = threadIdx.x; i < SPAN; i += COUNTERS)
            least[now ^ 1][at(i)] = min(least[now][at(i)], i + wide < SPAN ? least[now][at(i + wide)] : INT_MAX);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < CLASSES * 32; i += COUNTERS)
        reach[((row * CLASSES + i / 32) * t.words + blockIdx.x) * 32 + i % 32] = least[now][at(i % 32 * CLASSES + CLASSES - 1 - i / 32)];
}

/* Rows under relative key `of` - 64 m, in all tiles that reach key 0 with it. */
__device__ static inline int rows_under(const tiling &t, int of, int m)
{
    if (m == 0 && of) return (t.tiles - 1) * (CLASSES - of) + max(0, t.last - of);
    return max(0, t.T - CLASSES * max(0, m - (of + t.origin) / CLASSES));
}

/* 32 m of a class that are covered, and how many are before them. */
struct alignas(8) covered {
    uint32_t bits, before;
};

/* Rows that see the column at `f` of class `of`, and whose tile does not cover it; c: the class's. */
__device__ static inline int rows_gained(const tiling &t, const covered *c, int of, int f)
{
    auto before = [&](int m) { return c[m / 32].before + __popc(c[m / 32].bits & ((1u << m % 32) - 1)); };
    auto bit = [&](int m) { return (int)(c[m / 32].bits >> m % 32 & 1); };
    const int tile = f - t.past, low = tile < 0 ? -tile : of > 0, end = t.tiles - tile; /* m of the tiles that begin at it or behind it */
    int there = 0;
    if (low < end) there = CLASSES * (int)(before(end) - before(low)) - (CLASSES - t.last) * bit(end - 1);
    if (tile >= 0 && of) there += bit(0) * max(0, (tile == t.tiles - 1 ? t.last : CLASSES) - of);
    return t.T - max(CLASSES * tile + of, 0) - there;
}

/* The classes [of, of + PIECES) under each of so many limits to diagonals, c [trials, PIECES, words]; adds rows_under() to sums. A block. */
template <int EACH>
__device__ static inline void cover_classes(const tiling &t, const int32_t *reach, int of, const int (&limit)[EACH], covered *c,
                                            unsigned long long (&sum)[EACH])
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = COUNTERS / 32;
    for (int i = warp; i < PIECES * t.words; i += warps) {
        const int its = i / t.words, m = i % t.words * 32 + lane, least = reach[(int64_t)of * t.words * 32 + i * 32 + lane],
                  rows = rows_under(t, of + its, m);
        uint32_t mine = 0;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const uint32_t bits = __ballot_sync(~0u, least < limit[j]);
            if (least < limit[j]) sum[j] += rows;
            if (lane == j) mine = bits;
        }
        if (lane < EACH) c[lane * PIECES * t.words + i].bits = mine;
    }
    __syncthreads();
    for (int i = warp; i < EACH * PIECES; i += warps) {
        uint32_t all = 0;
        for (int w = 0; w < t.words; w += 32) {
            covered *of_word = c + i * t.words + w + lane;
            const uint32_t own = w + lane < t.words ? __popc(of_word->bits) : 0;
            uint32_t upto = own;
            for (int step = 1; step < 32; step *= 2) {
                const uint32_t other = __shfl_up_sync(~0u, upto, step);
                if (lane >= step) upto += other;
            }
            if (w + lane < t.words) of_word->before = all + upto - own;
            all += __shfl_sync(~0u, upto, 31);
        }
    }
    __syncthreads();
}

/* Adds what each thread of the block has to *to, `times` times. */
__device__ static inline void add_to(unsigned long long *to, unsigned long long mine, int times)
{
    for (int i = 16; i; i >>= 1) mine += __shfl_xor_sync(~0u, mine, i);
    if (threadIdx.x % 32 == 0 && mine) atomicAdd(to, mine * times);
}

/* pairs[trial] += those of the row's best, of so many heads. limit [TRIALS, rows, 2]: how many columns and how many diagonals. reach,
 * column_rank [rows, CLASSES, words * 32]. */
__global__ void __launch_bounds__(COUNTERS) count_trials(const __grid_constant__ tiling t, const int32_t *reach, const int32_t *column_rank,
                                                         const int *limit, int heads, unsigned long long *pairs)
{
    extern __shared__ covered those[]; /* [TRIALS, PIECES, words] */
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = blockIdx.y, rows = gridDim.y, of = blockIdx.x * PIECES;
    const int64_t cells = (int64_t)CLASSES * t.words * 32;
    int columns[TRIALS], diagonals[TRIALS], most = 0;
    unsigned long long sum[TRIALS] = {};
#pragma unroll
    for (int j = 0; j < TRIALS; j++) {
        columns[j] = limit[(j * rows + row) * 2], diagonals[j] = limit[(j * rows + row) * 2 + 1];
        most = max(most, columns[j]);
    }
    cover_classes(t, reach + row * cells, of, diagonals, those, sum);
    for (int i = warp; i < PIECES * t.words; i += COUNTERS / 32) {
        const int its = i / t.words, rank = column_rank[row * cells + (int64_t)of * t.words * 32 + i * 32 + lane];
        if (rank >= most) continue;
#pragma unroll
        for (int j = 0; j < TRIALS; j++)
            if (rank < columns[j]) sum[j] += rows_gained(t, those + (j * PIECES + its) * t.words, of + its, i % t.words * 32 + lane);
    }
    for (int j = 0; j < TRIALS; j++) add_to(pairs + j, sum[j], heads);
}

/* ---- trials ---- */

/* Seven amounts at a time, evenly between one that fits and one that does not: three bits of the answer a launch. */
struct search {
    int at, above; /* is kept; is too much */
    int columns, diagonals;
    unsigned long long base; /* pairs of the diagonals */
};

__device__ static inline int amount_of(int at, int above, int trial) { return at + (int)((int64_t)(above - at) * (trial + 1) / (TRIALS + 1)); }

static int rounds_of(int64_t wide)
{
    int rounds = 0;
    for (; wide > 1; wide = ceil_div<int64_t>(wide, TRIALS + 1)) rounds++;
    return rounds;
}

/* What the trials' pairs mean for the search, for a block of at least TRIALS threads; they are cleared. All of it get what is known then.
 * round 0: nothing was tried, and the search is between at and above. */
__device__ static inline search take_trials(search *s, int round, int at, int above, unsigned long long *pairs, unsigned long long most)
{
    __shared__ search now;
    if (threadIdx.x == 0) {
        now = round ? *s : search{at, above, 0, 0, 0};
        if (round) {
            const search before = now;
            for (int j = TRIALS - 1; j >= 0; j--) {
                const int tried = amount_of(before.at, before.above, j);
                if (tried == before.at) break;
                if (pairs[j] <= most) {
                    now.at = tried;
                    break;
                }
                now.above = tried;
            }
        }
        *s = now;
    }
    __syncthreads();
    if (threadIdx.x < TRIALS) pairs[threadIdx.x] = 0;
    return now;
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

/* What `takes` takes of it, in the backend's workspace: first only adding up. */
template <typename Takes> static sf_status take_rooms(sf_backend *b, Takes takes)
{
    rooms r = {};
    takes(&r);
    void *space;
    SF_TRY(sf_cuda_workspace(b, r.used, &space));
    r = {(char *)space, 0};
    takes(&r);
    return SF_OK;
}

struct memory {
    sorter sort;
    int32_t *column_rank, *diagonal_rank, *reach;
    int *limit;
    unsigned long long *pairs;
    search *now;
};

static void lay_out_sorter(rooms *r, sorter *s, size_t all, size_t temporary)
{
    for (int i = 0; i < 2; i++) take(r, &s->key[i], all), take(r, &s->index[i], all);
    take(r, (char **)&s->temporary, temporary);
    s->bytes = temporary;
}

static void lay_out(rooms *r, memory *m, int rows, const tiling &t, size_t temporary)
{
    size_t all = (size_t)rows * t.N;
    lay_out_sorter(r, &m->sort, all, temporary);
    take(r, &m->diagonal_rank, all);
    take(r, &m->column_rank, rows * cells_of(t)), take(r, &m->reach, rows * cells_of(t));
    take(r, &m->limit, 2 * TRIALS * rows), take(r, &m->pairs, TRIALS), take(r, &m->now, 1);
}

/* Ranks of both. */
static sf_status begin_trials(sf_backend *b, const tiling &t, memory *m, int rows, const float *column, const float *diagonal)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    const dim3 grid = grid_of_rows(rows, t.N);
    SF_TRY(sort_rows(b, &m->sort, column, rows, t.N));
    CUDA_TRY(cudaMemsetAsync(m->column_rank, 0x7f, rows * cells_of(t) * sizeof *m->column_rank, stream)); /* where no key is: beyond any limit */
    place_columns<<<grid, THREADS, 0, stream>>>(m->sort.sorted, m->sort.order, t, m->column_rank);
    LAUNCH_TRY(place_columns);
    SF_TRY(sort_rows(b, &m->sort, diagonal, rows, t.N));
    place_diagonals<<<grid, THREADS, 0, stream>>>(m->sort.sorted, m->sort.order, t.N, m->diagonal_rank);
    LAUNCH_TRY(place_diagonals);
    spread_ranks<<<dim3((unsigned)t.words, (unsigned)rows), COUNTERS, 0, stream>>>(m->diagonal_rank, t, m->reach);
    LAUNCH_TRY(spread_ranks);
    return SF_OK;
}

static size_t covered_bytes(const tiling &t, int trials) { return (size_t)trials * PIECES * t.words * sizeof(covered); }

/* Counts what the limits take to m->pairs. */
static sf_status try_limits(sf_backend *b, const sf_attention *a, const tiling &t, const memory *m, int rows)
{
    const size_t shared = covered_bytes(t, TRIALS);
    if (shared > sf_cuda_of(b)->shared_memory)
        return sf_fail(SF_UNSUPPORTED, "cuda: columns and diagonals within a density, of %d keys: %zu bytes of shared memory; there are %zu", t.N,
                       shared, sf_cuda_of(b)->shared_memory);
    SF_TRY(sf_cuda_allow_shared((const void *)count_trials, shared));
    count_trials<<<dim3(CLASSES / PIECES, (unsigned)rows), COUNTERS, shared, sf_cuda_of(b)->stream>>>(t, m->reach, m->column_rank, m->limit,
                                                                                                  a->heads / rows, m->pairs);
    LAUNCH_TRY(count_trials);
    return SF_OK;
}

/* ---- columns and diagonals by number ---- */

/* As many of both. */
__global__ void next_numbers(search *s, int round, int N, unsigned long long *pairs, unsigned long long most, int rows, int *limit)
{
    const search now = take_trials(s, round, 0, N + 1, pairs, most);
    for (int i = threadIdx.x; i < 2 * TRIALS * rows; i += blockDim.x) limit[i] = amount_of(now.at, now.above, i / (2 * rows));
}

/* Beside the diagonals that were found: s->base += their pairs, gain[row, rank] = what that column of the row adds, for one of the heads. */
__global__ void __launch_bounds__(COUNTERS) gain_columns(const __grid_constant__ tiling t, const int32_t *reach, const int32_t *column_rank,
                                                         search *s, int heads, int32_t *gain)
{
    extern __shared__ covered those[]; /* [PIECES, words] */
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = blockIdx.y, of = blockIdx.x * PIECES;
    const int64_t cells = (int64_t)CLASSES * t.words * 32;
    const int diagonals[1] = {max(s->at, 1)};
    unsigned long long sum[1] = {};
    cover_classes(t, reach + row * cells, of, diagonals, those, sum);
    for (int i = warp; i < PIECES * t.words; i += COUNTERS / 32) {
        const int its = i / t.words, rank = column_rank[row * cells + (int64_t)of * t.words * 32 + i * 32 + lane];
        if (rank < t.N) gain[(int64_t)row * t.N + rank] = rows_gained(t, those + its * t.words, of + its, i % t.words * 32 + lane);
    }
    add_to(&s->base, sum[0], heads);
}

/* total[i] = what the columns of rank i of all rows add. */
__global__ void add_gains(const int32_t *gain, int rows, int N, int heads, unsigned long long *total)
{
    FOR_ALL(i, N)
    {
        unsigned long long sum = 0;
#pragma unroll 4
        for (int r = 0; r < rows; r++) sum += gain[(int64_t)r * N + i];
        total[i] = sum * heads;
    }
}

/* One block: the most columns beside s->at diagonals, at least as many, whose pairs are at most `most`. */
__global__ void __launch_bounds__(1024) find_columns(search *s, int N, const unsigned long long *total, unsigned long long most)
{
    using block_scan = cub::BlockScan<unsigned long long, 1024>;
    __shared__ typename block_scan::TempStorage room;
    __shared__ int first;
    __shared__ unsigned long long before;
    const int diagonals = max(s->at, 1);
    unsigned long long sum = s->base; /* of the first `from` columns */
    int from = 0, until = N;
    while (from < until && sum <= most) { /* the first that is too much is one of [from, until), or there is none */
        const int each = (until - from + 1023) / 1024, begin = min(from + (int)threadIdx.x * each, until), end = min(begin + each, until);
        unsigned long long mine = 0, all, upto;
        for (int i = begin; i < end; i++) mine += total[i];
        __syncthreads();
        if (threadIdx.x == 0) first = until;
        block_scan(room).InclusiveSum(mine, upto, all);
        __syncthreads();
        if (sum + upto > most && sum + upto - mine <= most) first = begin, before = sum + upto - mine;
        __syncthreads();
        if (first == until) {
            from = until; /* all fit */
        } else {
            from = first, until = each == 1 ? from : min(from + each, until), sum = before;
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) s->columns = max(from, diagonals), s->diagonals = diagonals;
}

sf_status sf_cuda_fit_slashes(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                              uint64_t most, int64_t *columns, int64_t *diagonals)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    const tiling t = tiling_of(a);
    const int N = a->keys, rounds = rounds_of((int64_t)N + 1), heads = a->heads / rows;
    size_t temporary;
    SF_TRY(sorter_bytes(rows, N, &temporary));
    memory m = {};
    int32_t *gain;
    unsigned long long *total;
    SF_TRY(take_rooms(b, [&](rooms *r) {
        lay_out(r, &m, rows, t, temporary);
        take(r, &gain, (size_t)rows * N), take(r, &total, N);
    }));
    SF_TRY(begin_trials(b, t, &m, rows, column, diagonal));
    for (int i = 0; i <= rounds; i++) {
        next_numbers<<<1, THREADS, 0, stream>>>(m.now, i, N, m.pairs, most, rows, m.limit);
        LAUNCH_TRY(next_numbers);
        if (i < rounds) SF_TRY(try_limits(b, a, t, &m, rows));
    }
    CUDA_TRY(cudaMemsetAsync(gain, 0, (size_t)rows * N * sizeof *gain, stream));
    SF_TRY(sf_cuda_allow_shared((const void *)gain_columns, covered_bytes(t, 1)));
    gain_columns<<<dim3(CLASSES / PIECES, (unsigned)rows), COUNTERS, covered_bytes(t, 1), stream>>>(t, m.reach, m.column_rank, m.now, heads, gain);
    LAUNCH_TRY(gain_columns);
    add_gains<<<grid_for(N), THREADS, 0, stream>>>(gain, rows, N, heads, total);
    LAUNCH_TRY(add_gains);
    find_columns<<<1, 1024, 0, stream>>>(m.now, N, total, most);
    LAUNCH_TRY(find_columns);
    search found;
    SF_TRY(b->ops->download(b, &found, m.now, sizeof found));
    if (found.above - found.at > 1) return sf_fail(SF_INTERNAL, "fit_slashes: %d rounds over %d keys did not end the search", rounds, N);
    *columns = found.columns;
    *diagonals = found.diagonals;
    return SF_OK;
}

/* ---- masses ---- */

enum { SORTERS = 512, ADDERS = 512, ADDED = 8, SHORT_ROW = SF_CUDA_SHORT_ROW };
static_assert(SHORT_ROW == 16 * SORTERS, "sort_short_rows");

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
template <typename Key>
__global__ void __launch_bounds__(ADDERS) add_up(const Key *sorted, const int32_t *order, const float *weight, int n,
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
        uint32_t at = key_in(sorted[i]), before = i ? key_in(sorted[i - 1]) : SF_CUDA_INFINITE;
        if (at != SF_CUDA_INFINITE && before == SF_CUDA_INFINITE) infinite = i;
        if (at == 0 && before != 0) valid = i;
    }
    __syncthreads();
    float most = infinite < valid ? fmaxf(sf_cuda_score_of(key_in(sorted[infinite])), 0) : 0;
    unsigned long long sum = 0, weighs = 0, all, mine[ADDED];
    for (int from = threadIdx.x * ADDED; from - (int)threadIdx.x * ADDED < n; from += ADDERS * ADDED) { /* ADDED neighbours a thread */
#pragma unroll
        for (int e = 0; e < ADDED; e++)
            mine[e] = from + e >= infinite && from + e < valid ? sf_cuda_fixed(sf_cuda_score_of(key_in(sorted[from + e])), most, n) : 0;
        block_scan(room).InclusiveSum(mine, mine, all);
        __syncthreads();
#pragma unroll
        for (int e = 0; e < ADDED; e++)
            if (from + e < n) mass[from + e] = sum + mine[e];
        sum += all;
        if (!weight) continue;
#pragma unroll
        for (int e = 0; e < ADDED; e++) mine[e] = from + e < valid ? (unsigned long long)llrintf(weight[row + order[from + e]]) : 0;
        block_scan(room).InclusiveSum(mine, mine, all);
        __syncthreads();
#pragma unroll
        for (int e = 0; e < ADDED; e++)
            if (from + e < n) heavy[row + from + e] = (int32_t)(weighs + mine[e]);
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

static sf_status sort_in_blocks(sf_backend *b, const float *x, int rows, int n, uint32_t *sorted, int32_t *order)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    if (n <= 4 * SORTERS)
        sort_short_rows<4><<<rows, SORTERS, 0, stream>>>(x, n, sorted, order);
    else if (n <= 9 * SORTERS)
        sort_short_rows<9><<<rows, SORTERS, 0, stream>>>(x, n, sorted, order);
    else
        sort_short_rows<16><<<rows, SORTERS, 0, stream>>>(x, n, sorted, order);
    LAUNCH_TRY(sort_short_rows);
    return SF_OK;
}

/* Sorts x [rows, n], and adds each row up in its order (add_up(), whose are the other names). */
static sf_status sum_sorted(sf_backend *b, sorter *s, const float *x, int rows, int n, const float *weight, unsigned long long *mass, int32_t *heavy,
                            sorted_row *row)
{
    SF_TRY(sort_rows(b, s, x, rows, n));
    add_up<<<(unsigned)rows, ADDERS, 0, sf_cuda_of(b)->stream>>>(s->sorted, s->order, weight, n, mass, heavy, row);
    LAUNCH_TRY(add_up);
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
    uint32_t *sorted; /* of short rows */
    int32_t *order;
    unsigned long long *mass;
    int32_t *heavy;
    sorted_row *row;
    SF_TRY(take_rooms(b, [&](rooms *r) {
        if (n > SHORT_ROW)
            lay_out_sorter(r, &s, all, temporary);
        else
            take(r, &sorted, all), take(r, &order, all);
        take(r, &mass, all), take(r, &heavy, weight ? all : 0), take(r, &row, rows);
    }));
    if (n > SHORT_ROW) {
        SF_TRY(sum_sorted(b, &s, x, (int)rows, (int)n, weight, mass, heavy, row));
    } else {
        SF_TRY(sort_in_blocks(b, x, (int)rows, (int)n, sorted, order));
        add_up<<<(unsigned)rows, ADDERS, 0, stream>>>(sorted, order, weight, (int)n, mass, heavy, row);
        LAUNCH_TRY(add_up);
    }
    find_mass<<<1, 1024, 0, stream>>>(row, (int)rows, mass, weight ? heavy : NULL, (int)n, share, (int)(least < n ? least : n), most, count, whole);
    LAUNCH_TRY(find_mass);
    return SF_OK;
}

__global__ void count_taken(const sorted_row *row, int rows, const unsigned long long *mass, int n, float share, int least, int most, int32_t *count)
{
    const int r = blockIdx.x * blockDim.x + threadIdx.x;
    if (r < rows) count[r] = min(taken(row[r], mass + (int64_t)r * n, n, share, least), most);
}

sf_status sf_cuda_count_sorted_mass(sf_backend *b, const float *x, int rows, int n, float share, int least, int most, int32_t **count)
{
    const size_t all = (size_t)rows * n;
    size_t temporary;
    SF_TRY(sorter_bytes(rows, n, &temporary));
    sorter s = {};
    unsigned long long *mass;
    sorted_row *row;
    SF_TRY(take_rooms(b, [&](rooms *r) {
        lay_out_sorter(r, &s, all, temporary);
        take(r, &mass, all), take(r, &row, rows), take(r, count, rows);
    }));
    SF_TRY(sum_sorted(b, &s, x, rows, n, NULL, mass, NULL, row));
    count_taken<<<(unsigned)ceil_div(rows, 32), 32, 0, sf_cuda_of(b)->stream>>>(row, rows, mass, n, share, least, most, *count);
    LAUNCH_TRY(count_taken);
    return SF_OK;
}

/* ---- columns and diagonals by their mass ---- */

enum { MASSES = 1 << 19 };

/* One block: what each row takes in the next trials. One scale: 1 to `given` entries at mass 0, then the masses above it, in steps.
 * row, mass [2, rows ..]: of columns, of diagonals. */
__global__ void __launch_bounds__(1024) next_masses(search *s, int round, unsigned long long *pairs, unsigned long long most, int given,
                                                    const sorted_row *row, const unsigned long long *mass, int rows, int N, int *limit)
{
    const search now = take_trials(s, round, 1, given + MASSES, pairs, most);
    for (int i = threadIdx.x; i < 2 * TRIALS * rows; i += blockDim.x) {
        const int amount = amount_of(now.at, now.above, i / (2 * rows)), fewest = min(amount, given), its = i % 2 * rows + i / 2 % rows;
        const float share = (float)(amount - fewest) / MASSES; /* exact: below 2^24, over a power of two */
        limit[i] = taken(row[its], mass + (int64_t)its * N, N, share, fewest);
    }
}

sf_status sf_cuda_fit_masses(sf_backend *b, const sf_attention *a, int rows, const float *column, const float *diagonal,
                             const float *column_forced, const float *diagonal_forced, uint64_t most, double *mass, int64_t *least)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    const tiling t = tiling_of(a);
    const int N = a->keys, given = (int)*least, rounds = rounds_of((int64_t)given + MASSES - 1);
    const size_t all = (size_t)rows * N;
    size_t temporary;
    SF_TRY(sorter_bytes(rows, N, &temporary));
    memory m = {};
    unsigned long long *sum;
    sorted_row *row;
    SF_TRY(take_rooms(b, [&](rooms *r) {
        lay_out(r, &m, rows, t, temporary);
        take(r, &sum, 2 * all), take(r, &row, 2 * rows);
    }));
    for (int i = 0; i < 2; i++) SF_TRY(sum_sorted(b, &m.sort, i ? diagonal : column, rows, N, NULL, sum + i * all, NULL, row + i * rows));
    SF_TRY(begin_trials(b, t, &m, rows, column_forced, diagonal_forced));
    for (int i = 0; i <= rounds; i++) {
        next_masses<<<1, 1024, 0, stream>>>(m.now, i, m.pairs, most, given, row, sum, rows, N, m.limit);
        LAUNCH_TRY(next_masses);
        if (i < rounds) SF_TRY(try_limits(b, a, t, &m, rows));
    }
    search found;
    SF_TRY(b->ops->download(b, &found, m.now, sizeof found));
    if (found.above - found.at > 1) return sf_fail(SF_INTERNAL, "fit_masses: %d rounds over %d keys did not end the search", rounds, N);
    *mass = found.at > given ? (found.at - given) / (double)MASSES : 0;
    *least = found.at < given ? found.at : given;
    return SF_OK;
}
