/* Rows of scores, reduced, pooled, marked, and chosen from.
 *
 * Choosing does not sort. Scores map to 32-bit keys of the same order (0: never chosen). A histogram of 2048 bins over
 * the range of the row's finite keys leaves the few of one bin in question; among those, one or two more find the k-th
 * largest; and one ordered pass writes the entries above it and the first of those equal to it. So lists come out
 * ascending and ties go to the lowest index, whatever the threads do. A block takes a row; rows of up to 12288 scores
 * stay in shared memory. By mass, a histogram of the keys also sums the scores, in fixed point, whose sums do not
 * depend on their order, or, of long rows, the row is sorted (fit.cu).
 *
 * A few rows of up to 8192 scores, of a decode step, are chosen from by kernels that keep keys in registers and have a third of the
 * barriers: 512 of 8192 pages for 8 heads 6.5 us on one H200, where the others take 9.5.
 *
 * Many rows of more than 12288 scores of which few are chosen are read once, as select_long_rows() says, instead of five times: 2048 of each of
 * 65536 rows, of which row i has i, 10.1 ms, 25.0 before (1024 rows at a time, and 4096); to read them
 * once would take 1.8.
 *
 * What mattered: few instructions a score; entries forced to +INFINITY kept out of the range. What did not: bins by
 * value instead of by key, for fewer collisions of atomic additions.
 *
 * Measured on one H200: 1024 of 131072 columns for 32 heads 0.17 ms; 420 of 8192 key blocks for 65536 query blocks within 7.8 ms,
 * their scoring included.
 *
 * Test: make test-cuda. Benchmark: tests/cuda.sh peers bench. */
#include "kernels/cuda/select.cuh"

enum { THREADS = 256, CHOOSERS = 512, BINS = 2048, CANDIDATES = 1024, CACHED_SCORES = 12288, SORTED_SCORES = 1 << 25 };

#define FOR_ALL(i, n)                                                                                                  \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

static unsigned grid_for(int64_t n)
{
    int64_t blocks = ceil_div<int64_t>(n, THREADS);
    return (unsigned)(blocks < 1 ? 1 : blocks > 65536 ? 65536 : blocks);
}

/* ---- rows ---- */

__global__ void reduce_rows(const float *x, int64_t rows, int group, int64_t n, sf_reduce reduce, float *out)
{
    FOR_ALL(i, rows * n)
    {
        const float *from = x + i / n * group * n + i % n;
        float sum = 0, most = -INFINITY;
        for (int m = 0; m < group; m++) {
            sum += from[m * n];
            most = from[m * n] > most ? from[m * n] : most;
        }
        out[i] = reduce == SF_MAX ? most : reduce == SF_MEAN ? sum / group : sum;
    }
}

sf_status sf_cuda_reduce_rows(sf_backend *b, const float *x, int64_t rows, int group, int64_t n, sf_reduce reduce,
                              float *out)
{
    if (rows * n > 0) {
        reduce_rows<<<grid_for(rows * n), THREADS, 0, sf_cuda_of(b)->stream>>>(x, rows, group, n, reduce, out);
        LAUNCH_TRY(reduce_rows);
    }
    sf_meter_scores(b, rows * group * n, rows * n, rows * group * n);
    return SF_OK;
}

__global__ void pool(const float *x, int64_t rows, int64_t n, int kernel, sf_reduce reduce, float *out)
{
    FOR_ALL(i, rows * n)
    {
        int64_t at = i % n, from = at - kernel / 2, to = at + kernel / 2;
        float sum = 0, most = -INFINITY;
        for (int64_t j = from < 0 ? 0 : from; j <= to && j < n; j++) {
            float v = x[i - at + j];
            sum += v;
            most = v > most ? v : most;
        }
        out[i] = reduce == SF_MAX ? most : reduce == SF_MEAN ? sum / kernel : sum;
    }
}

sf_status sf_cuda_pool(sf_backend *b, const float *x, int64_t rows, int64_t n, int kernel, sf_reduce reduce, float *out)
{
    if (rows * n > 0) {
        pool<<<grid_for(rows * n), THREADS, 0, sf_cuda_of(b)->stream>>>(x, rows, n, kernel, reduce, out);
        LAUNCH_TRY(pool);
    }
    sf_meter_scores(b, rows * n, rows * n, rows * n * kernel);
    return SF_OK;
}

__global__ void fill(float *x, int64_t rows, int64_t n, int64_t begin, int64_t width, float value)
{
    sf_begin();
    FOR_ALL(i, rows * width) x[i / width * n + begin + i % width] = value;
}

sf_status sf_cuda_fill(sf_backend *b, float *x, int64_t rows, int64_t n, int64_t begin, int64_t end, float value)
{
    if (begin < 0) begin = 0;
    if (end > n) end = n;
    int64_t width = end > begin ? end - begin : 0;
    if (rows * width > 0)
        SF_TRY(sf_cuda_follow(b, fill, grid_for(rows * width), THREADS, 0, x, rows, n, begin, width, value));
    sf_meter_scores(b, 0, rows * width, 0);
    return SF_OK;
}

__global__ void fill_at(float *x, int64_t rows, int64_t n, sf_lists at, float value)
{
    for (int64_t row = blockIdx.y; row < rows; row += gridDim.y)
        FOR_ALL(i, at.count[row]) x[row * n + at.index[row * at.stride + i]] = value;
}

sf_status sf_cuda_fill_at(sf_backend *b, float *x, int64_t rows, int64_t n, const sf_lists *at, float value)
{
    if (rows && at->stride) {
        fill_at<<<dim3(grid_for(at->stride), (unsigned)(rows < 65535 ? rows : 65535)), THREADS, 0, sf_cuda_of(b)->stream>>>(x, rows, n, *at,
                                                                                                                            value);
        LAUNCH_TRY(fill_at);
    }
    sf_meter_scores(b, 0, rows * at->stride, 0); /* the room of the lists; their counts are on the device */
    return SF_OK;
}

/* ---- choosing ---- */

/* Bits that a histogram of 2048 bins leaves to later ones. */
__device__ static inline int bits_left(uint32_t span) { return max(0, 21 - __clz(span)); }

struct chooser {
    uint32_t bin[BINS], candidate[CANDIDATES];
    uint32_t scan[32], above[32], equal[32];
    uint32_t found, left;  /* the k-th largest key; how many entries equal to it are taken */
    uint32_t size, listed; /* keys in the bin found last; those in candidate[] */
    uint32_t least, most;  /* of the finite keys that may be chosen */
    uint32_t infinite;     /* entries of +INFINITY */
};

/* Exclusive scan over the block; the block's total comes back in *total. */
__device__ static inline uint32_t scan(uint32_t x, uint32_t *shared, uint32_t *total)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    uint32_t sum = x;
    for (int step = 1; step < 32; step *= 2) {
        uint32_t other = __shfl_up_sync(~0u, sum, step);
        if (lane >= step) sum += other;
    }
    __syncthreads();
    if (lane == 31) shared[warp] = sum;
    __syncthreads();
    uint32_t those = lane < warps ? shared[lane] : 0;
    uint32_t before = __reduce_add_sync(~0u, lane < warp ? those : 0), all = __reduce_add_sync(~0u, those);
    *total = all;
    return before + sum - x;
}

/* Finds s->found and s->left for the k largest of n scores. load(i) reads their keys, once each; key(i) again. Returns
 * min(k, valid ones). */
template <typename Load, typename Key>
__device__ static inline int find_threshold(chooser *s, int n, int64_t k, Load load, Key key)
{
    if (threadIdx.x == 0) s->found = s->left = s->listed = s->most = s->infinite = 0, s->least = ~0u;
    __syncthreads();
    if (k <= 0) return 0;
    uint32_t least = ~0u, most = 0, infinite = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        uint32_t at = load(i);
        infinite += at == SF_CUDA_INFINITE;
        least = min(least, at - 1); /* 0 becomes the largest */
        most = max(most, at == SF_CUDA_INFINITE ? 0 : at);
    }
    least = __reduce_min_sync(~0u, least), most = __reduce_max_sync(~0u, most),
    infinite = __reduce_add_sync(~0u, infinite);
    if (threadIdx.x % 32 == 0)
        atomicMin(&s->least, least), atomicMax(&s->most, most), atomicAdd(&s->infinite, infinite);
    __syncthreads();
    least = s->least + 1, most = s->most, infinite = s->infinite;
    if (k <= infinite) {
        if (threadIdx.x == 0) s->found = SF_CUDA_INFINITE, s->left = (uint32_t)k;
        __syncthreads();
        return (int)k;
    }
    if (most == 0) return (int)infinite; /* found stays 0, below every key */

    uint32_t base = least, span = most - least,
             want = (uint32_t)(k - infinite); /* keys in question: [base, base + span] */
    bool listed = false;
    for (int pass = 0;; pass++) {
        int shift = bits_left(span);
        for (int i = threadIdx.x; i < BINS; i += blockDim.x) s->bin[i] = 0;
        __syncthreads();
#pragma unroll 4
        for (int i = threadIdx.x; i < (listed ? (int)s->size : n); i += blockDim.x) {
            uint32_t at = (listed ? s->candidate[i] : key(i)) - base;
            if (at <= span) atomicAdd(&s->bin[at >> shift], 1); /* what lies below base has wrapped around */
        }
        __syncthreads();
        /* from the highest bin down: the one in which the running count reaches `want` */
        int each = BINS / blockDim.x, top = BINS - 1 - threadIdx.x * each;
        uint32_t mine = 0, all;
        for (int i = 0; i < each; i++) mine += s->bin[top - i];
        uint32_t before = scan(mine, s->scan, &all);
        if (pass == 0 && all <= want) return (int)(all + infinite); /* all of them */
        if (before < want && want <= before + mine) {
            int bin = top;
            while (before + s->bin[bin] < want) before += s->bin[bin--];
            s->found = base + ((uint32_t)bin << shift);
            s->left = want - before;
            if (!listed) s->size = s->bin[bin];
        }
        __syncthreads();
        base = s->found, span = min((1u << shift) - 1, most - base), want = s->left; /* not as far as infinity */
        if (shift == 0) break;
        if (listed || s->size > CANDIDATES) continue;
#pragma unroll 4
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            uint32_t at = key(i);
            if (at - base <= span) s->candidate[atomicAdd(&s->listed, 1)] = at;
        }
        listed = true;
        __syncthreads();
    }
    return (int)k;
}

/* Writes the entries above `found` and the first `left` equal to it, ascending: each warp a stretch of the row, first
 * counted, then written. Returns their number. */
template <typename Key>
__device__ static inline int write_chosen(chooser *s, int n, uint32_t found, uint32_t left, int32_t *index, Key key)
{
    int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32;
    int each = (n + 32 * warps - 1) / (32 * warps) * 32, begin = warp * each, end = begin + each < n ? begin + each : n;
    uint32_t above = 0, equal = 0;
    for (int i = begin; i < end; i += 32) {
        uint32_t at = i + lane < end ? key(i + lane) : 0;
        above += __popc(__ballot_sync(~0u, at > found));
        equal += __popc(__ballot_sync(~0u, found && at == found));
    }
    __syncthreads();
    if (lane == 0) s->above[warp] = above, s->equal[warp] = equal;
    __syncthreads();
    uint32_t those_above = lane < warps ? s->above[lane] : 0, those_equal = lane < warps ? s->equal[lane] : 0;
    uint32_t all_above = __reduce_add_sync(~0u, those_above), all_equal = __reduce_add_sync(~0u, those_equal);
    above = __reduce_add_sync(~0u, lane < warp ? those_above : 0),
    equal = __reduce_add_sync(~0u, lane < warp ? those_equal : 0);
    uint32_t before = (1u << lane) - 1;
    for (int i = begin; i < end; i += 32) {
        uint32_t at = i + lane < end ? key(i + lane) : 0;
        bool more = at > found, same = found && at == found;
        those_above = __ballot_sync(~0u, more), those_equal = __ballot_sync(~0u, same);
        uint32_t a = above + __popc(those_above & before), e = equal + __popc(those_equal & before);
        if (more || (same && e < left)) index[a + min(e, left)] = i + lane;
        above += __popc(those_above), equal += __popc(those_equal);
    }
    return (int)(all_above + min(all_equal, left));
}

/* Where row r of x begins and how long it is; *row becomes its list. */
__device__ static inline const float *row_of(const float *x, int64_t n, const sf_cuda_ramp &ramp, int64_t *row, int64_t *length)
{
    const float *score = x + (ramp.one ? *row / ramp.each : *row) * n;
    *length = n;
    if (ramp.each) {
        const int64_t i = ramp.first + *row % ramp.each, end = min((i + 1) * ramp.block_q, (int64_t)ramp.T);
        *length = max((ramp.N - ramp.T + end - 1) / ramp.block_k + 1, (int64_t)0);
        *row = *row / ramp.each * ramp.queries + i;
    }
    return score;
}

template <bool CACHED>
__global__ void __launch_bounds__(1024)
    select_rows(const float *x, int64_t n, int64_t k, const int32_t *wish, sf_cuda_ramp ramp, sf_lists out)
{
    sf_begin();
    extern __shared__ __align__(16) unsigned char shared[];
    chooser *s = (chooser *)shared;
    uint32_t *cached = (uint32_t *)(s + 1);
    int64_t row = blockIdx.x, length;
    const float *score = row_of(x, n, ramp, &row, &length);
    auto load = [=](int i) {
        uint32_t at = sf_cuda_key_of(score[i]);
        if (CACHED) cached[i] = at;
        return at;
    };
    auto key = [=](int i) { return CACHED ? cached[i] : sf_cuda_key_of(score[i]); };
    if (wish) k = min((int64_t)max(wish[row], 0), k);
    int chosen = find_threshold(s, (int)length, k, load, key);
    if (chosen) write_chosen(s, (int)length, s->found, s->left, out.index + row * out.stride, key);
    if (threadIdx.x == 0) out.count[row] = chosen;
}

/* A few short rows, of which decode waits for each: as select_rows(), with keys in registers and as few barriers as there can be. Warp w has
 * the entries [32 EACH w, +32 EACH), so that it also writes what is chosen of them; of a bin of few the k-th largest is found by
 * comparing each with each. */
enum { FEW = 128 };

struct few_chooser {
    uint32_t bin[BINS], candidate[FEW];
    uint32_t least[32], most[32], infinite[32], scan[32], above[32], equal[32];
    uint32_t found, left, size, listed;
};

template <int EACH>
__global__ void __launch_bounds__(1024) select_few(const float *x, int n, int64_t k, const int32_t *wish, sf_lists out)
{
    __shared__ few_chooser s;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, begin = warp * 32 * EACH + lane;
    const int64_t row = blockIdx.x;
    for (int i = threadIdx.x; i < BINS; i += 1024) s.bin[i] = 0;
    if (threadIdx.x == 0) s.listed = 0, s.found = 0, s.left = 0;
    sf_begin();
    uint32_t key[EACH], least = ~0u, most = 0, infinite = 0;
#pragma unroll
    for (int e = 0; e < EACH; e++) key[e] = begin + e * 32 < n ? sf_cuda_key_of(x[row * n + begin + e * 32]) : 0;
    if (wish) k = min((int64_t)max(wish[row], 0), k);
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        infinite += key[e] == SF_CUDA_INFINITE;
        least = min(least, key[e] - 1); /* 0 becomes the largest */
        most = max(most, key[e] == SF_CUDA_INFINITE ? 0 : key[e]);
    }
    least = __reduce_min_sync(~0u, least), most = __reduce_max_sync(~0u, most), infinite = __reduce_add_sync(~0u, infinite);
    if (lane == 0) s.least[warp] = least, s.most[warp] = most, s.infinite[warp] = infinite;
    __syncthreads();
    least = __reduce_min_sync(~0u, s.least[lane]) + 1, most = __reduce_max_sync(~0u, s.most[lane]),
    infinite = __reduce_add_sync(~0u, s.infinite[lane]);

    uint32_t found = 0, left = 0; /* all that are valid */
    if (k <= infinite) {
        found = k > 0 ? SF_CUDA_INFINITE : ~0u, left = k > 0 ? (uint32_t)k : 0;
    } else if (most) {
        uint32_t base = least, span = most - least, want = (uint32_t)(k - infinite);
        for (int pass = 0;; pass++) {
            const int shift = bits_left(span), top = BINS - 1 - threadIdx.x * 2;
#pragma unroll
            for (int e = 0; e < EACH; e++)
                if (key[e] - base <= span) atomicAdd(&s.bin[(key[e] - base) >> shift], 1);
            __syncthreads();
            const uint32_t high = s.bin[top], low = s.bin[top - 1];
            uint32_t all;
            const uint32_t before = scan(high + low, s.scan, &all);
            if (pass == 0 && all <= want) break;
            if (before < want && want <= before + high + low) {
                const bool lower = want > before + high;
                s.found = base + ((uint32_t)(lower ? top - 1 : top) << shift);
                s.left = want - before - (lower ? high : 0), s.size = lower ? low : high;
            }
            __syncthreads();
            base = s.found, want = s.left, span = min((1u << shift) - 1, most - base);
            found = base, left = want;
            if (shift == 0) break;
            const int size = (int)s.size;
            if (size <= FEW) {
#pragma unroll
                for (int e = 0; e < EACH; e++)
                    if (key[e] - base <= span) s.candidate[atomicAdd(&s.listed, 1)] = key[e];
                __syncthreads();
                if ((int)threadIdx.x < size) {
                    const uint32_t mine = s.candidate[threadIdx.x];
                    uint32_t above = 0, equal = 0;
#pragma unroll 4
                    for (int i = 0; i < size; i++) above += s.candidate[i] > mine, equal += s.candidate[i] == mine;
                    if (above < want && want <= above + equal) s.found = mine, s.left = want - above; /* its equals say the same */
                }
                __syncthreads();
                found = s.found, left = s.left;
                break;
            }
            s.bin[threadIdx.x] = s.bin[threadIdx.x + 1024] = 0;
            __syncthreads();
        }
    }

    uint32_t above = 0, equal = 0;
#pragma unroll
    for (int e = 0; e < EACH; e++) above += key[e] > found, equal += found && key[e] == found;
    above = __reduce_add_sync(~0u, above), equal = __reduce_add_sync(~0u, equal);
    if (lane == 0) s.above[warp] = above, s.equal[warp] = equal;
    __syncthreads();
    const uint32_t those_above = s.above[lane], those_equal = s.equal[lane];
    above = __reduce_add_sync(~0u, lane < warp ? those_above : 0), equal = __reduce_add_sync(~0u, lane < warp ? those_equal : 0);
    int32_t *index = out.index + row * out.stride;
    const uint32_t earlier = (1u << lane) - 1;
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const bool more = key[e] > found, same = found && key[e] == found;
        const uint32_t all_more = __ballot_sync(~0u, more), all_same = __ballot_sync(~0u, same);
        const uint32_t a = above + __popc(all_more & earlier), i = equal + __popc(all_same & earlier);
        if (more || (same && i < left)) index[a + min(i, left)] = begin + e * 32;
        above += __popc(all_more), equal += __popc(all_same);
    }
    if (threadIdx.x == 1023) out.count[row] = (int32_t)(above + min(equal, left));
}

/* Rows that no shared memory holds, read once: a sample of evenly spaced scores says above which the k best lie, with some to spare; those
 * that do come together with their places, and the k best of them mark bits of the row, which are then written in order. A sample that
 * misleads, or more equal scores than there is room for, and the row is chosen from as above. A draw of k may be off by five times its
 * expected deviation. */
enum { LONG_THREADS = 512, SAMPLE = 2048, GATHERED = 8192, LONG_MOST = 4096, LONG_SCORES = 1 << 18, AT_ONCE = 8 };

struct gathering {
    uint32_t key[GATHERED], place[GATHERED];
    uint32_t many; /* scores that were to be gathered */
};

/* Bits of the row's chosen scores, ascending: all of `above`, and the first `left` of `equal`. */
__device__ static inline void write_bits(chooser *s, const uint32_t *above, const uint32_t *equal, int words, uint32_t left, int32_t *index)
{
    uint32_t before = 0; /* above in the lower half, equal in the upper: fewer than 2^16 each */
    for (int first = 0; first < words; first += LONG_THREADS) {
        const int at = first + threadIdx.x;
        uint32_t those = at < words ? above[at] : 0, same = at < words ? equal[at] : 0, all;
        const uint32_t mine = before + scan(__popc(those) + (__popc(same) << 16), s->scan, &all), equals = mine >> 16;
        uint32_t taken = equals < left ? min(left - equals, (uint32_t)__popc(same)) : 0, kept = 0;
        for (; taken; taken--) kept |= same & -same, same &= same - 1;
        int32_t *to = index + (mine & 0xffff) + min(equals, left);
        for (those |= kept; those; those &= those - 1) *to++ = at * 32 + __ffs(those) - 1;
        before += all;
        __syncthreads();
    }
}

__global__ void __launch_bounds__(LONG_THREADS, 2)
    select_long_rows(const float *x, int64_t n, int64_t k, const int32_t *wish, sf_cuda_ramp ramp, sf_lists out)
{
    sf_begin();
    extern __shared__ __align__(16) unsigned char shared[];
    chooser *s = (chooser *)shared;
    gathering *g = (gathering *)(s + 1);
    const int words = (int)((n + 31) / 32), lane = threadIdx.x % 32;
    uint32_t *above = (uint32_t *)(g + 1), *equal = above + words;
    int64_t row = blockIdx.x, length;
    const float *score = row_of(x, n, ramp, &row, &length);
    if (wish) k = min((int64_t)max(wish[row], 0), k);
    const int sampled = (int)min(length, (int64_t)SAMPLE);
    for (int i = threadIdx.x; i < 2 * words; i += LONG_THREADS) above[i] = 0;
    for (int i = threadIdx.x; i < sampled; i += LONG_THREADS) g->key[i] = sf_cuda_key_of(score[i * length / sampled]);
    if (threadIdx.x == 0) g->many = 0;
    __syncthreads();
    auto gathered = [=](int i) { return g->key[i]; };
    float least = -FLT_MAX; /* all that may be chosen */
    if (length > GATHERED) {
        const float expected = (float)k * sampled / length;
        const int wanted = (int)(expected + 5 * sqrtf(expected) + 4);
        if (find_threshold(s, sampled, wanted, gathered, gathered) == wanted && s->found) least = sf_cuda_score_of(s->found);
        __syncthreads();
    }
    for (int64_t first = threadIdx.x; first - lane < length; first += AT_ONCE * LONG_THREADS) {
        float here[AT_ONCE];
#pragma unroll
        for (int u = 0; u < AT_ONCE; u++) here[u] = first + u * LONG_THREADS < length ? score[first + u * LONG_THREADS] : -INFINITY;
#pragma unroll
        for (int u = 0; u < AT_ONCE; u++) {
            const bool in = here[u] >= least;
            const uint32_t warps = __ballot_sync(~0u, in);
            if (!warps) continue;
            uint32_t to = 0;
            if (lane == 0) to = atomicAdd(&g->many, __popc(warps));
            to = __shfl_sync(~0u, to, 0) + __popc(warps & ((1u << lane) - 1));
            if (in && to < GATHERED) g->key[to] = sf_cuda_key_of(here[u]), g->place[to] = (uint32_t)(first + u * LONG_THREADS);
        }
    }
    __syncthreads();
    const uint32_t many = g->many;
    int chosen;
    if (many > GATHERED || (many < k && least != -FLT_MAX)) {
        auto load = [=](int i) { return sf_cuda_key_of(score[i]); };
        chosen = find_threshold(s, (int)length, k, load, load);
        if (chosen) write_chosen(s, (int)length, s->found, s->left, out.index + row * out.stride, load);
    } else {
        chosen = find_threshold(s, (int)many, k, gathered, gathered);
        const uint32_t found = s->found, left = s->left;
        for (int i = threadIdx.x; chosen && i < (int)many; i += LONG_THREADS) {
            const uint32_t at = g->key[i], place = g->place[i];
            if (at > found) atomicOr(&above[place / 32], 1u << place % 32);
            if (found && at == found) atomicOr(&equal[place / 32], 1u << place % 32);
        }
        __syncthreads();
        if (chosen) write_bits(s, above, equal, words, left, out.index + row * out.stride);
    }
    if (threadIdx.x == 0) out.count[row] = chosen;
}

sf_status sf_cuda_select_rows(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, const int32_t *count,
                              sf_cuda_ramp ramp, const sf_lists *out)
{
    if (rows == 0) return SF_OK;
    sf_cuda *c = sf_cuda_of(b);
    if (rows <= c->sms && !ramp.each && n <= 8 * 1024) /* each as fast as can be */
        return sf_cuda_follow(b, n <= 2 * 1024 ? select_few<2> : select_few<8>, (unsigned)rows, 1024, 0, x, (int)n, k, count, *out);
    if (n > CACHED_SCORES && n <= LONG_SCORES && k <= LONG_MOST && rows > c->sms) {
        const size_t bytes = sizeof(chooser) + sizeof(gathering) + 2 * (size_t)ceil_div<int64_t>(n, 32) * sizeof(uint32_t);
        SF_TRY(sf_cuda_allow_shared((const void *)select_long_rows, bytes));
        return sf_cuda_follow(b, select_long_rows, (unsigned)rows, (int)LONG_THREADS, bytes, x, n, k, count, ramp, *out);
    }
    int threads = rows > c->sms ? 256 : 1024;
    if (n > CACHED_SCORES)
        return sf_cuda_follow(b, select_rows<false>, (unsigned)rows, threads, sizeof(chooser), x, n, k, count, ramp, *out);
    SF_TRY(sf_cuda_allow_shared((const void *)select_rows<true>, sizeof(chooser) + CACHED_SCORES * sizeof(uint32_t)));
    return sf_cuda_follow(b, select_rows<true>, (unsigned)rows, threads, sizeof(chooser) + n * sizeof(uint32_t), x, n, k, count,
                          ramp, *out);
}

sf_status sf_cuda_top(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t k, sf_lists *out)
{
    out->rows = rows;
    SF_TRY(sf_cuda_select_rows(b, x, rows, n, k > 0 ? k : 0, NULL, {}, out));
    sf_cuda_vouch(b, out, n);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

sf_status sf_cuda_top_counts(sf_backend *b, const float *x, int64_t rows, int64_t n, const int32_t *count, int64_t most,
                             sf_lists *out)
{
    out->rows = rows;
    SF_TRY(sf_cuda_select_rows(b, x, rows, n, most > 0 ? most : 0, count, {}, out));
    sf_cuda_vouch(b, out, n);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

/* ---- over all rows together: one threshold, then a share of its ties for each row in turn ---- */

struct threshold {
    uint32_t found, left;
};

__global__ void __launch_bounds__(1024) find_total(const float *x, int64_t n, int64_t k, threshold *out)
{
    __shared__ chooser s;
    auto key = [=](int i) { return sf_cuda_key_of(x[i]); };
    int chosen = find_threshold(&s, (int)n, k, key, key);
    if (threadIdx.x == 0) *out = chosen ? threshold{s.found, s.left} : threshold{~0u, 0}; /* found 0: every valid one */
}

__global__ void count_equal(const float *x, int64_t n, const threshold *all, uint32_t *equal)
{
    __shared__ uint32_t sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    uint32_t mine = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        mine += all->found && sf_cuda_key_of(x[blockIdx.x * n + i]) == all->found;
    atomicAdd(&sum, mine);
    __syncthreads();
    if (threadIdx.x == 0) equal[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(CHOOSERS)
    write_total(const float *x, int64_t n, const threshold *all, const uint32_t *equal, sf_lists out)
{
    __shared__ chooser s;
    int64_t row = blockIdx.x;
    uint32_t left = all->left;
    for (int64_t i = 0; i < row; i++) left -= min(left, equal[i]);
    const float *score = x + row * n;
    int chosen = write_chosen(&s, (int)n, all->found, left, out.index + row * out.stride,
                              [=](int i) { return sf_cuda_key_of(score[i]); });
    if (threadIdx.x == 0) out.count[row] = chosen;
}

sf_status sf_cuda_top_total(sf_backend *b, const float *x, int64_t rows, int64_t n, int64_t total, sf_lists *out)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    out->rows = rows;
    if (rows) {
        threshold *all;
        SF_TRY(sf_cuda_workspace(b, sizeof *all + rows * sizeof(uint32_t), (void **)&all));
        uint32_t *equal = (uint32_t *)(all + 1);
        find_total<<<1, 1024, 0, stream>>>(x, rows * n, total > 0 ? total : 0, all);
        LAUNCH_TRY(find_total);
        count_equal<<<(unsigned)rows, CHOOSERS, 0, stream>>>(x, n, all, equal);
        LAUNCH_TRY(count_equal);
        write_total<<<(unsigned)rows, CHOOSERS, 0, stream>>>(x, n, all, equal, *out);
        LAUNCH_TRY(write_total);
    }
    sf_cuda_vouch(b, out, n);
    sf_meter_select(b, rows * n);
    return SF_OK;
}

/* ---- by mass: how many of the largest make up the share, then as above ---- */

/* The mass descent goes by fixed digits: the highest 11 bits, the next 11, the last 10. */
__device__ static inline int digit_of(uint32_t key, int pass)
{
    return pass == 0 ? key >> 21 : pass == 1 ? key >> 10 & 2047 : key & 1023;
}
__device__ static inline bool is_candidate(uint32_t key, uint32_t found, int pass) /* the digits before agree */
{
    return key && (pass == 0 || (pass == 1 ? key >> 21 == found >> 21 : key >> 10 == found >> 10));
}
__device__ static inline uint32_t with_digit(uint32_t found, int digit, int pass)
{
    return found | (uint32_t)digit << (pass == 0 ? 21 : pass == 1 ? 10 : 0);
}

/* From the highest bin down: the bin in which the running sum reaches `want`, and what is still wanted in it. For one
 * warp. */
__device__ static inline int find_mass_bin(const unsigned long long *mass, unsigned long long want,
                                           unsigned long long *left)
{
    int lane = threadIdx.x % 32;
    unsigned long long before = 0;
    for (int top = BINS - 32; top >= 0; top -= 32) {
        unsigned long long mine = mass[top + 31 - lane], sum = mine;
        for (int step = 1; step < 32; step *= 2) {
            unsigned long long other = __shfl_up_sync(~0u, sum, step);
            if (lane >= step) sum += other;
        }
        unsigned reached = __ballot_sync(~0u, before + sum >= want);
        if (reached) {
            int at = __ffs(reached) - 1;
            *left = want - before - __shfl_sync(~0u, sum - mine, at);
            return top + 31 - at;
        }
        before += __shfl_sync(~0u, sum, 31);
    }
    *left = 0;
    return 0;
}

__global__ void __launch_bounds__(CHOOSERS)
    count_mass(const float *x, int64_t n, float share, int64_t least, int64_t most_wanted, int32_t *wish)
{
    __shared__ unsigned long long mass[BINS], total, above, mass_left;
    __shared__ uint32_t bin_count[BINS], found_so_far;
    __shared__ float sums[32];
    __shared__ int infinite, valid;
    const float *score = x + blockIdx.x * n;
    float most = 0;
    if (threadIdx.x == 0) total = above = 0, infinite = valid = 0, found_so_far = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        if (isfinite(score[i])) most = fmaxf(most, score[i]);
    most = block_max(most, sums);
    unsigned long long sum = 0;
    int infinities = 0, there = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        sum += sf_cuda_fixed(score[i], most, (int)n);
        infinities += score[i] == INFINITY;
        there += sf_cuda_key_of(score[i]) != 0;
    }
    atomicAdd(&total, sum);
    atomicAdd(&infinite, infinities);
    atomicAdd(&valid, there);
    __syncthreads();
    unsigned long long want = (unsigned long long)ceil((double)share * (double)total);
    if (want > total) want = total;
    bool some = want > 0;
    for (int pass = 0; pass < 3 && some; pass++) {
        for (int i = threadIdx.x; i < BINS; i += blockDim.x) mass[i] = 0, bin_count[i] = 0;
        __syncthreads();
        uint32_t found = found_so_far;
        unsigned long long higher = 0;
        for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
            uint32_t key = sf_cuda_key_of(score[i]);
            if (score[i] == INFINITY || !is_candidate(key, found, pass)) continue;
            atomicAdd(&mass[digit_of(key, pass)], sf_cuda_fixed(score[i], most, (int)n));
            atomicAdd(&bin_count[digit_of(key, pass)], 1);
        }
        __syncthreads();
        if (threadIdx.x < 32) {
            unsigned long long left;
            int bin = find_mass_bin(mass, want, &left);
            if (threadIdx.x == 0) found_so_far = with_digit(found, bin, pass), mass_left = left;
        }
        __syncthreads();
        int bin = digit_of(found_so_far, pass); /* entries of this level above the bin are all taken */
        for (int i = threadIdx.x; i < BINS; i += blockDim.x) higher += i > bin ? bin_count[i] : 0;
        atomicAdd(&above, higher);
        want = mass_left;
        __syncthreads();
    }
    if (threadIdx.x) return;
    int64_t prefix = 0;
    if (some) {
        unsigned long long each = sf_cuda_fixed(sf_cuda_score_of(found_so_far), most, (int)n);
        prefix = infinite + above + (each ? (want + each - 1) / each : 0);
    }
    prefix = prefix < least ? least : prefix;
    prefix = prefix > most_wanted ? most_wanted : prefix;
    wish[blockIdx.x] = (int32_t)(prefix > valid ? valid : prefix);
}

sf_status sf_cuda_top_mass(sf_backend *b, const float *x, int64_t rows, int64_t n, float mass, int64_t least,
                           int64_t most, sf_lists *out)
{
    out->rows = rows;
    if (rows) {
        int32_t *wish;
        if (n > SF_CUDA_SHORT_ROW && rows * n <= SORTED_SCORES) {
            SF_TRY(sf_cuda_count_sorted_mass(b, x, (int)rows, (int)n, mass, (int)(least < n ? least : n), (int)(most < n ? most : n), &wish));
        } else {
            SF_TRY(sf_cuda_workspace(b, rows * sizeof *wish, (void **)&wish));
            count_mass<<<(unsigned)rows, CHOOSERS, 0, sf_cuda_of(b)->stream>>>(x, n, mass, least, most, wish);
            LAUNCH_TRY(count_mass);
        }
        SF_TRY(sf_cuda_select_rows(b, x, rows, n, most > 0 ? most : 0, wish, {}, out));
    }
    sf_cuda_vouch(b, out, n);
    sf_meter_select(b, rows * n);
    return SF_OK;
}
