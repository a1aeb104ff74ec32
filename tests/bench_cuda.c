/* Speed of the CUDA filling at the study's sizes, against the chip's ceilings and cuDNN's dense attention in the same
 * run.
 *
 *   tests/cuda.sh peers bench           peers (PyTorch) first, then this; what results/bench/ keeps
 *   bench_cuda [peers.txt] [quick|whole|single|decode] [DIM]
 *                                       peers.txt: lines "cudnn HEADS KV_HEADS DIM TOKENS milliseconds"; DIM: rows of that head
 *                                       dim alone; single, decode: lists of single queries and decode and the ceilings alone
 *   bench_cuda index                    an indexer's scores and choices alone
 *
 * Rows: time (median of 5 after 1), rate, ratio. "of ideal" is the speed-up over cuDNN's dense time times the density
 * that was executed. Every attention row is checked: rows of the output against the decode kernel, which shares no code
 * with it, on the same keys; the largest ‖Δ‖ / ‖decode‖ is printed, and more than 1e-2 fails the run. Wall-clock: each
 * repetition queues its work and waits. */
#include "tests/bench_scene.h"

static double copied; /* bytes a millisecond that a copy moves, read and written */

static void ceilings(void)
{
    size_t bytes = (size_t)2 << 30;
    void *x = noise((int64_t)bytes / 2), *y = room(bytes);
    double ms;
    TIME(ms, 4, b.ops->copy(&b, y, x, bytes));
    copied = 2 * (double)bytes / ms;
    printf("copy                          %8.3f ms  %6.0f GB/s\n", ms, 2 * bytes / ms / 1e6);
    int n = 8192;
    sf_tensor w = {x, SF_BF16, 2, {n, n}};
    b.phase = SF_PREFILL;
    TIME(ms, 4, b.ops->linear(&b, (char *)x + (size_t)n * n * 2, n, &w, NULL, false, y, SF_BF16));
    printf("linear 8192 x 8192 x 8192     %8.3f ms  %6.0f TFLOP/s\n", ms, 2.0 * n * n * n / ms / 1e9);
    sf_tensor up = {x, SF_BF16, 2, {18944, 3584}};
    b.phase = SF_DECODE;
    for (int rows = 1; rows <= 64; rows *= rows < 4 ? 4 : 2) {
        TIME(ms, 20, b.ops->linear(&b, (char *)x + ((size_t)1 << 30), rows, &up, NULL, false, y, SF_BF16));
        printf("linear %5d x 3584 x 18944    %8.3f ms  %6.0f GB/s of weights\n", rows, ms,
               2.0 * 3584 * 18944 / ms / 1e6);
    }
    b.phase = SF_PREFILL;
    b.ops->free(&b, x);
    b.ops->free(&b, y);
}

static void dense(int heads, int kv_heads, int dim, int tokens)
{
    sf_attention a = scene(heads, kv_heads, dim, tokens);
    void *out = room((size_t)tokens * heads * dim * 2);
    sf_pattern p = {.kind = SF_DENSE};
    double ms, flops = 2.0 * heads * (double)tokens * tokens * dim, error = 0;
    TIME(ms, tokens > 40000 ? 1 : 4, b.ops->prefill(&b, &a, &p, out));
    for (int row = tokens - 1; row > 0; row /= 3) error = fmax(error, row_error(&a, row, NULL, -1, out));
    printf("dense %2d/%d dim %3d %6d        %8.3f ms  %6.0f TFLOP/s  %3.0f %% of cuDNN  error %.1e\n", heads, kv_heads,
           dim, tokens, ms, flops / ms / 1e9, 100 * cudnn(heads, kv_heads, dim, tokens) / ms, error);
    fflush(stdout);
    b.ops->free(&b, out);
    free_scene(&a);
}

/* Lists at density .10, each its own: spread over the past at random, the diagonal forced. */
static void blocks(sf_attention *a, void *out, int block, bool shared)
{
    int n = (a->keys + block - 1) / block, most = (int)(n * (1 - sqrt(.9))), lists = shared ? a->kv_heads : a->heads;
    int64_t rows = (int64_t)lists * n;
    int32_t *count = malloc((size_t)rows * 4), *index = malloc((size_t)rows * most * 4);
    double pairs = 0;
    for (int h = 0; h < lists; h++) {
        for (int i = 0; i < n; i++) {
            int64_t row = (int64_t)h * n + i;
            int k = i + 1 < most ? i + 1 : most;
            seed = (uint64_t)h * 1000003 + (uint64_t)i * 7919 + 17;
            count[row] = k;
            for (int e = 0; e < k; e++) {
                double u = (double)random32() / 4294967296.0;
                int from = k > 1 ? e * i / (k - 1) : 0, beyond = k > 1 ? (e + 1) * i / (k - 1) : 0;
                index[row * most + e] = e == k - 1 ? i : from + (int)(u * (beyond - from)); /* strata: ascending, no repeats */
            }
            if (h == 0) pairs += ((double)k - .5) * block * block;
        }
    }
    sf_pattern p = {.kind = SF_BLOCKS, .heads = lists, .block_q = block, .block_k = block};
    p.first = (sf_lists){rows, most, uploaded(count, (size_t)rows * 4), uploaded(index, (size_t)rows * most * 4)};
    double ms, estimate = 0, density = pairs / (.5 * (double)a->keys * a->keys), error = 0,
               peer_ms = cudnn(a->heads, a->kv_heads, a->head_dim, a->keys);
    TIME(ms, 1, b.ops->prefill(&b, a, &p, out));
    for (int row = a->queries - 1; row > 0; row /= 3) {
        sf_pattern pages = {.kind = SF_PAGES, .heads = a->kv_heads, .page = block};
        int32_t *counts = malloc((size_t)a->kv_heads * 4), *numbers = malloc((size_t)a->kv_heads * most * 4);
        for (int g = 0; g < a->kv_heads; g++) {
            int64_t list = (int64_t)(shared ? g : g * (a->heads / a->kv_heads) + 1) * n + row / block;
            counts[g] = count[list];
            memcpy(numbers + (int64_t)g * most, index + list * most, (size_t)most * 4);
        }
        pages.first = (sf_lists){a->kv_heads, most, uploaded(counts, (size_t)a->kv_heads * 4),
                                 uploaded(numbers, (size_t)a->kv_heads * most * 4)};
        error = fmax(error, row_error(a, row, &pages, shared ? -1 : 1, out));
        b.ops->free(&b, pages.first.count), b.ops->free(&b, pages.first.index);
        free(counts), free(numbers);
    }
    float *q_mean = room((size_t)a->heads * n * a->head_dim * 4),
          *k_mean = room((size_t)a->kv_heads * n * a->head_dim * 4);
    sf_lists chosen = {0, most, room((size_t)rows * 4), room((size_t)rows * most * 4)};
    TIME(estimate, 1,
         (b.ops->block_means(&b, a, false, block, q_mean) == SF_OK &&
          b.ops->block_means(&b, a, true, block, k_mean) == SF_OK)
             ? b.ops->top_blocks(&b, a, q_mean, block, k_mean, block, lists, most, 1, 2, &chosen)
             : SF_INTERNAL);
    printf("blocks %3d %-8s %2d/%d dim %3d %6d density %.3f %8.3f ms  %5.2f x dense  %3.0f %% of ideal  error %.1e  "
           "estimation %7.3f ms -> %3.0f %%\n",
           block, shared ? "shared" : "per head", a->heads, a->kv_heads, a->head_dim, a->keys, density, ms,
           peer_ms / ms, 100 * density * peer_ms / ms, error, estimate, 100 * density * peer_ms / (ms + estimate));
    fflush(stdout);
    b.ops->free(&b, q_mean), b.ops->free(&b, k_mean), b.ops->free(&b, chosen.count), b.ops->free(&b, chosen.index);
    b.ops->free(&b, p.first.count), b.ops->free(&b, p.first.index);
    free(count), free(index);
}

/* How the lists of single queries are drawn. */
enum chosen { RANDOM, CLIPPED, ALIKE };
static const char *const CHOSEN[] = {"random", "clipped", "alike"};

static double uniform(void) { return (double)random32() / 4294967296.0; }

static int by_number(const void *x, const void *y) { return *(const int32_t *)x - *(const int32_t *)y; }

/* The list of query `row`, of `most` blocks of which `own` is the last that it sees; returns how many they are, which ascend without repeats.
 * RANDOM: spread over the past, and the own. CLIPPED: of all blocks, those behind the own one being that. ALIKE: the first, the own and
 * the one before, and others that stay from query to query, each replaced with probability 1/16; kept: [most] of them. */
static int draw_list(enum chosen how, int own, int blocks, int most, int row, int32_t *kept, int32_t *to)
{
    int n = 0;
    if (how == RANDOM) {
        n = own + 1 < most ? own + 1 : most;
        for (int e = 0; e < n; e++) {
            int from = n > 1 ? (int)((int64_t)e * own / (n - 1)) : 0, beyond = n > 1 ? (int)((int64_t)(e + 1) * own / (n - 1)) : 0;
            to[e] = e == n - 1 ? own : from + (int)(uniform() * (beyond - from)); /* strata */
        }
        return n;
    }
    for (int e = 0; e < most; e++) {
        if (how == ALIKE && e < 3)
            to[e] = e == 0 ? 0 : own - (e == 1) > 0 ? own - (e == 1) : 0;
        else if (how == ALIKE)
            to[e] = kept[e] = row == 0 || uniform() < 1 / 16. ? (int)(uniform() * (own + 1)) : kept[e];
        else
            to[e] = (int)(uniform() * blocks) < own ? (int)(uniform() * own) : own;
    }
    qsort(to, (size_t)most, sizeof *to, by_number);
    for (int e = 0; e < most; e++)
        if (!n || to[e] != to[n - 1]) to[n++] = to[e];
    return n;
}

/* Every query a list of its own: for all heads, for each kv head, or for each head. TFLOP/s are those of all pairs of a query and the blocks it names, also
 * where it does not see all of its own. */
static void singles(const sf_attention *a, void *out, int block, int most, int lists, enum chosen how)
{
    int N = a->keys, group = a->heads / a->kv_heads;
    bool apart = lists == a->heads && group > 1;
    int64_t rows = (int64_t)lists * N;
    int32_t *count = malloc((size_t)rows * 4), *index = calloc((size_t)rows * (size_t)most, 4), *kept = malloc((size_t)most * 4);
    double named = 0, ms, error = 0, peer_ms = cudnn(a->heads, a->kv_heads, a->head_dim, N);
    seed = 29;
    for (int64_t r = 0; r < rows; r++) {
        int i = (int)(r % N);
        count[r] = draw_list(how, i / block, N / block, most, i, kept, index + r * most);
        named += (double)count[r] * block * a->heads / lists;
    }
    sf_pattern p = {.kind = SF_BLOCKS, .heads = lists, .block_q = 1, .block_k = block};
    p.first = (sf_lists){rows, most, uploaded(count, (size_t)rows * 4), uploaded(index, (size_t)rows * (size_t)most * 4)};
    TIME(ms, 1, b.ops->prefill(&b, a, &p, out));
    for (int row = N - 1; row > 0; row /= 3) {
        sf_pattern pages = {.kind = SF_PAGES, .heads = a->kv_heads, .page = block};
        int32_t *counts = malloc((size_t)a->kv_heads * 4), *numbers = malloc((size_t)(a->kv_heads * most) * 4);
        for (int g = 0; g < a->kv_heads; g++) {
            int64_t list = (int64_t)(lists == 1 ? 0 : apart ? g * group + 1 : g) * N + row;
            counts[g] = count[list];
            memcpy(numbers + (int64_t)g * most, index + list * most, (size_t)most * 4);
        }
        pages.first = (sf_lists){a->kv_heads, most, uploaded(counts, (size_t)a->kv_heads * 4),
                                 uploaded(numbers, (size_t)(a->kv_heads * most) * 4)};
        error = fmax(error, row_error(a, row, &pages, apart ? 1 : -1, out));
        b.ops->free(&b, pages.first.count), b.ops->free(&b, pages.first.index);
        free(counts), free(numbers);
    }
    printf("single %-7s %2d/%d dim %3d %6d block %3d x %4d, lists %2d %8.3f ms  %6.0f TFLOP/s  %3.0f %% of ideal  error %.1e\n", CHOSEN[how], a->heads, a->kv_heads,
           a->head_dim, N, block, most, lists, ms, 4 * named * a->head_dim / ms / 1e9,
           100 * named / (.5 * a->heads * N * (double)N) * peer_ms / ms, error);
    fflush(stdout);
    b.ops->free(&b, p.first.count), b.ops->free(&b, p.first.index);
    free(count), free(index), free(kept);
}

static void single_queries(void)
{
    sf_attention a = scene(64, 4, 128, 65536);
    void *out = room((size_t)a.queries * (size_t)(a.heads * a.head_dim) * 2);
    for (enum chosen how = RANDOM; how <= ALIKE; how++) singles(&a, out, 64, 16, a.kv_heads, how); /* NSA's selected branch */
    singles(&a, out, 1, 2048, 1, RANDOM);                                                          /* DSA */
    free_scene(&a);
    a = scene(32, 8, 128, 65536);
    for (enum chosen how = RANDOM; how <= ALIKE; how += ALIKE) {
        singles(&a, out, 64, 16, a.kv_heads, how);
        singles(&a, out, 512, 8, a.heads, how); /* MoBA */
    }
    b.ops->free(&b, out);
    free_scene(&a);
}

/* 1024 columns; diagonals in clusters of `cluster` neighbours. */
static void slashes(sf_attention *a, void *out, int clusters, int cluster, bool shared)
{
    int columns = 1024, diagonals = clusters * cluster, N = a->keys, lists = shared ? a->kv_heads : a->heads;
    int32_t *count = malloc((size_t)lists * 8), *first = malloc((size_t)lists * columns * 4),
            *second = malloc((size_t)lists * diagonals * 4);
    for (int h = 0; h < lists; h++) {
        count[h] = columns, count[lists + h] = diagonals;
        for (int i = 0; i < columns; i++)
            first[h * columns + i] = i < 4 ? i : (int)(((double)i + (double)random32() / 4294967296.0) * N / columns);
        for (int i = 0; i < diagonals; i++) {
            int c = i / cluster;
            if (i % cluster == 0) seed = (uint64_t)h * 31 + (uint64_t)c;
            second[h * diagonals + i] = (int)((double)c * c / clusters / clusters * (N - 2 * cluster)) + i % cluster;
            if (i && second[h * diagonals + i] <= second[h * diagonals + i - 1])
                second[h * diagonals + i] = second[h * diagonals + i - 1] + 1;
        }
    }
    sf_pattern p = {.kind = SF_COLUMNS_DIAGONALS, .heads = lists};
    p.first =
        (sf_lists){lists, columns, uploaded(count, (size_t)lists * 4), uploaded(first, (size_t)lists * columns * 4)};
    p.second = (sf_lists){lists, diagonals, uploaded(count + lists, (size_t)lists * 4),
                          uploaded(second, (size_t)lists * diagonals * 4)};
    uint64_t pairs;
    double ms, probe, peer_ms = cudnn(a->heads, a->kv_heads, a->head_dim, N);
    MUST(b.ops->count_pairs(&b, a, &p, &pairs));
    double density = (double)pairs / (.5 * N * ((double)N + 1) * a->heads);
    TIME(ms, 1, b.ops->prefill(&b, a, &p, out));
    float *column = room((size_t)a->heads * N * 4), *diagonal = room((size_t)a->heads * N * 4);
    sf_lists l = {0, columns, room((size_t)a->heads * 4), room((size_t)a->heads * columns * 4)};
    double top;
    TIME(probe, 1, b.ops->probe(&b, a, 256, 1, SF_SUM, column, diagonal));
    TIME(top, 1, b.ops->top(&b, column, a->heads, N, columns, &l));
    printf("columns+diagonals of %3d %-8s %2d/%d dim %3d %6d density %.3f %8.3f ms  %5.2f x dense  %3.0f %% of ideal  "
           "probe 256 %6.3f ms, 2 top %6.3f ms -> %3.0f %%\n",
           cluster, shared ? "shared" : "per head", a->heads, a->kv_heads, a->head_dim, N, density, ms, peer_ms / ms,
           100 * density * peer_ms / ms, probe, 2 * top, 100 * density * peer_ms / (ms + probe + 2 * top));
    fflush(stdout);
    b.ops->free(&b, column), b.ops->free(&b, diagonal), b.ops->free(&b, l.count), b.ops->free(&b, l.index);
    b.ops->free(&b, p.first.count), b.ops->free(&b, p.first.index), b.ops->free(&b, p.second.count),
        b.ops->free(&b, p.second.index);
    free(count), free(first), free(second);
}

enum { PAGE = 16 };

/* A Quest step as the engine takes it: every lane's choice beside the others', then attention. Bounds and scores are each
 * lane's own, `pages` rows apart. */
static sf_status quest_step(int lanes, const sf_attention *const *a, sf_pattern *page, const sf_pattern *const *pattern,
                            int pages, int budget, const float *low, const float *high, float *score, void *out)
{
    for (int i = 0; i < lanes; i++) {
        int64_t scores = (int64_t)i * pages * a[i]->kv_heads, bounds = scores * a[i]->head_dim;
        if (lanes > 1) SF_TRY(b.ops->lane(&b, i));
        SF_TRY(b.ops->page_scores(&b, a[i], PAGE, pages, low + bounds, high + bounds, score + scores));
        SF_TRY(b.ops->top(&b, score + scores, a[i]->kv_heads, pages, budget, &page[i].first));
    }
    SF_TRY(b.ops->lane(&b, -1));
    return b.ops->decode(&b, lanes, a, pattern, out);
}

/* Dense steps over the same prompts, packed; `exact`: what they took as they were. */
static void packed_steps(int lanes, const sf_attention *a, double exact)
{
    const int keys = a->keys, G = a->kv_heads, D = a->head_dim;
    const sf_pattern dense = {.kind = SF_DENSE};
    const sf_pattern *pattern[16];
    void *out = room((size_t)lanes * (size_t)(a->heads * D) * 2);
    for (const sf_cache_format *f = sf_cache_formats; f->name; f++) {
        if (!f->packed || (f->group && D % f->group)) continue;
        sf_attention packed[16];
        const sf_attention *lane[16];
        const size_t bytes = sf_cache_packed_bytes(f, G, keys, D);
        for (int i = 0; i < lanes; i++) {
            sf_kv_part from = a[i].kv.prompt, *to = &packed[i].kv.prompt;
            packed[i] = a[i], lane[i] = &packed[i], pattern[i] = &dense;
            from.n = 0;
            to->k = room(bytes), to->v = room(bytes), to->format = f, to->packed = true;
            MUST(b.ops->pack_kv(&b, &from, to, keys, G, D));
        }
        double ms;
        TIME(ms, 20, b.ops->decode(&b, lanes, lane, pattern, out));
        const double read = 2.0 * lanes * (double)sf_cache_bytes(f, SF_BF16, (int64_t)keys * G, D);
        printf("decode dense %-4s %2d/%d dim %3d %6d x %2d lanes  %8.1f us  %6.0f GB/s = %3.0f %% of copy  %.2f x as fast as bf16\n", f->name, a->heads, G, D,
               keys, lanes, ms * 1e3, read / ms / 1e6, 100 * read / ms / copied, exact / ms);
        for (int i = 0; i < lanes; i++) b.ops->free(&b, packed[i].kv.prompt.k), b.ops->free(&b, packed[i].kv.prompt.v);
    }
    b.ops->free(&b, out);
}

static void decode(int heads, int kv_heads, int dim, int keys, int lanes)
{
    sf_attention a[16];
    const sf_attention *lane[16];
    sf_pattern dense = {.kind = SF_DENSE}, page[16];
    const sf_pattern *pattern[16];
    int64_t size = (int64_t)keys * kv_heads * dim;
    char *k = noise(size * lanes), *v = noise(size * lanes), *q = noise((int64_t)lanes * heads * dim),
         *out = room((size_t)lanes * heads * dim * 2);
    int pages = keys / PAGE, budget = pages / 16;
    size_t bounds = (size_t)lanes * (size_t)size / PAGE * 4;
    float *low = room(bounds), *high = room(bounds), *score = room((size_t)(lanes * kv_heads) * (size_t)pages * 4);
    for (int i = 0; i < lanes; i++) {
        a[i] = (sf_attention){.backend = &b,
                              .layers = 1,
                              .heads = heads,
                              .kv_heads = kv_heads,
                              .head_dim = dim,
                              .queries = 1,
                              .keys = keys,
                              .scale = 1 / sqrtf((float)dim),
                              .q = q + (size_t)(i * heads * dim) * 2};
        a[i].kv.dtype = SF_BF16;
        a[i].kv.prompt = (sf_kv_part){
            .k = k + (size_t)(size * i * 2), .v = v + (size_t)(size * i * 2), .capacity = keys, .n = keys};
        lane[i] = &a[i], pattern[i] = &dense;
        page[i] = (sf_pattern){.kind = SF_PAGES,
                               .heads = kv_heads,
                               .page = PAGE,
                               .first = {kv_heads, budget, room((size_t)kv_heads * 4), room((size_t)kv_heads * budget * 4)}};
    }
    double ms;
    b.phase = SF_DECODE;
    TIME(ms, 20, b.ops->decode(&b, lanes, lane, pattern, out));
    printf("decode dense %2d/%d dim %3d %6d x %2d lanes  %8.1f us  %6.0f GB/s = %3.0f %% of copy\n", heads, kv_heads, dim, keys, lanes, ms * 1e3,
           4.0 * size * lanes / ms / 1e6, 100 * 4.0 * size * lanes / ms / copied);
    packed_steps(lanes, a, ms);
    for (int64_t i = 0; i < lanes; i++)
        MUST(b.ops->page_bounds(&b, &a[i], PAGE, 0, pages, low + i * size / PAGE, high + i * size / PAGE));
    double choose, all;
    TIME(choose, 20, b.ops->page_scores(&b, &a[0], PAGE, pages, low, high, score));
    double top;
    TIME(top, 20, b.ops->top(&b, score, kv_heads, pages, budget, &page[0].first));
    for (int i = 0; i < lanes; i++) pattern[i] = &page[i];
    TIME(all, 20, quest_step(lanes, lane, page, pattern, pages, budget, low, high, score, out));
    TIME(ms, 20, b.ops->decode(&b, lanes, lane, pattern, out));
    double bytes = lanes * (4.0 * size / 16 + 8.0 * size / PAGE);
    printf("decode quest 1/16 %2d/%d dim %3d %6d x %2d lanes  scores %6.1f us  top %6.1f us (a lane)  attention %7.1f us  all %7.1f "
           "us = %.2f x bytes at copy's speed\n",
           heads, kv_heads, dim, keys, lanes, choose * 1e3, top * 1e3, ms * 1e3, all * 1e3, all / (bytes / copied));
    fflush(stdout);
    b.phase = SF_PREFILL;
    for (int i = 0; i < lanes; i++) b.ops->free(&b, page[i].first.count), b.ops->free(&b, page[i].first.index);
    b.ops->free(&b, k), b.ops->free(&b, v), b.ops->free(&b, q), b.ops->free(&b, out), b.ops->free(&b, low),
        b.ops->free(&b, high), b.ops->free(&b, score);
}

/* n floats of about unit variance. */
static float *floats(int64_t n)
{
    enum { BLOCK = 4 << 20 };
    static float *block;
    if (!block) {
        block = malloc(BLOCK * sizeof *block);
        for (int i = 0; i < BLOCK; i++) {
            block[i] = 0;
            for (int j = 0; j < 4; j++) block[i] += 1.732f * ((float)random32() / 4294967296.f - .5f);
        }
    }
    float *p = room((size_t)n * sizeof *p);
    for (int64_t at = 0; at < n; at += BLOCK) MUST(b.ops->upload(&b, p + at, block, (size_t)(n - at < BLOCK ? n - at : BLOCK) * sizeof *p));
    return p;
}

/* Of `rows` rows over all keys, the last of `tokens`: scores of the row in the middle against sums in double. */
static double score_error(int64_t rows, int heads, int dim, int64_t tokens, const float *q, const float *w, const float *k, const float *score)
{
    const int64_t r = rows / 2, stop = tokens - rows + r + 1;
    float *hq = malloc((size_t)(heads * dim) * 4), *hw = malloc((size_t)heads * 4), *hk = malloc((size_t)(tokens * dim) * 4), *hs = malloc((size_t)tokens * 4);
    MUST(b.ops->download(&b, hq, q + r * heads * dim, (size_t)(heads * dim) * 4));
    MUST(b.ops->download(&b, hw, w + r * heads, (size_t)heads * 4));
    MUST(b.ops->download(&b, hk, k, (size_t)(tokens * dim) * 4));
    MUST(b.ops->download(&b, hs, score + r * tokens, (size_t)tokens * 4));
    double apart = 0, size = 0;
    for (int64_t j = 0; j < tokens; j += j < stop - 300 && j > 300 ? 97 : 1) {
        double sum = 0;
        for (int h = 0; h < heads; h++) {
            double dot = 0;
            for (int d = 0; d < dim; d++) dot += (double)hq[h * dim + d] * hk[j * dim + d];
            sum += hw[h] * fmax(dot, 0);
        }
        if (j >= stop) apart += hs[j] != -INFINITY;
        else apart += (hs[j] - sum) * (hs[j] - sum), size += sum * sum;
    }
    free(hq), free(hw), free(hk), free(hs);
    return sqrt(apart / size);
}

/* An indexer over a whole prompt, in pieces of rows as methods/trained.c takes them: scores, choices, both. */
static void indexer(int heads, int dim, int tokens, int chosen, double peak)
{
    const double pairs = .5 * (double)tokens * (tokens + 1), flops = pairs * heads * 2 * dim, written = pairs * 4;
    const int64_t rows = ((int64_t)64 << 20) / tokens < tokens ? ((int64_t)64 << 20) / tokens : tokens;
    float *q = floats((int64_t)tokens * heads * dim), *w = floats((int64_t)tokens * heads), *k = floats((int64_t)tokens * dim), *score = room((size_t)(rows * tokens) * 4);
    sf_lists out = {rows, chosen, room((size_t)rows * 4), room((size_t)(rows * chosen) * 4)};
    double ms[3];
    b.phase = SF_PREFILL;
    for (int part = 0; part < 3; part++) {
        double took[3];
        for (int run = -1; run < 3; run++) {
            MUST(b.ops->synchronize(&b));
            const double begun = now();
            for (int64_t r = 0; r < tokens; r += rows) {
                const int64_t some = tokens - r < rows ? tokens - r : rows;
                if (part != 1) MUST(b.ops->index_scores(&b, some, heads, dim, r, q + r * heads * dim, w + r * heads, k, score));
                if (part) MUST(b.ops->top(&b, score, some, r + some, chosen, &out));
            }
            MUST(b.ops->synchronize(&b));
            if (run >= 0) took[run] = now() - begun;
        }
        qsort(took, 3, sizeof *took, ascending);
        ms[part] = took[1];
    }
    MUST(b.ops->index_scores(&b, rows, heads, dim, tokens - rows, q + (tokens - rows) * heads * dim, w + (tokens - rows) * heads, k, score));
    const double error = score_error(rows, heads, dim, tokens, q + (tokens - rows) * heads * dim, w + (tokens - rows) * heads, k, score);
    const double floor_ms = fmax(flops / peak / 1e9, written / copied);
    printf("indexer %3d of %3d %7d keys   %8.3f ms  %6.0f TFLOP/s  %3.0f %% of the floor of %.2f ms; top %d %8.3f ms; both %8.3f ms  error %.1e\n", heads, dim, tokens,
           ms[0], flops / ms[0] / 1e9, 100 * floor_ms / ms[0], floor_ms, chosen, ms[1], ms[2], error);
    fflush(stdout);
    failures += !(error < 1e-3);
    b.phase = SF_DECODE;
    double step[2];
    TIME(step[0], 20, b.ops->index_scores(&b, 1, heads, dim, tokens - 1, q, w, k, score));
    TIME(step[1], 20, b.ops->top(&b, score, 1, tokens, chosen, &out));
    printf("  a step                          %8.3f ms  %6.0f GB/s of keys; top %8.3f ms\n", step[0], 4.0 * tokens * dim / step[0] / 1e6, step[1]);
    b.phase = SF_PREFILL;
    b.ops->free(&b, q), b.ops->free(&b, w), b.ops->free(&b, k), b.ops->free(&b, score), b.ops->free(&b, out.count), b.ops->free(&b, out.index);
}

static int indexers(void)
{
    double ms;
    const int n = 8192;
    const size_t bytes = (size_t)1 << 30;
    char *x = noise((int64_t)bytes / 2), *y = room(bytes);
    sf_tensor w = {x, SF_BF16, 2, {n, n}};
    TIME(ms, 4, b.ops->copy(&b, y, x, bytes));
    copied = 2 * (double)bytes / ms;
    b.phase = SF_PREFILL;
    TIME(ms, 4, b.ops->linear(&b, x + (size_t)n * n * 2, n, &w, NULL, false, y, SF_BF16));
    const double peak = 2.0 * n * n * n / ms / 1e9;
    printf("copy %.0f GB/s; linear 8192 x 8192 x 8192 %.0f TFLOP/s\n", copied / 1e6, peak);
    b.ops->free(&b, x), b.ops->free(&b, y);
    indexer(64, 128, 16384, 2048, peak);
    indexer(64, 128, 65536, 2048, peak);
    indexer(4, 64, 65536, 2048, peak);
    sf_backend_close(&b);
    printf("%d rows out of tolerance\n", failures);
    return failures != 0;
}

int main(int argc, char **argv)
{
    const char *part = argc > 2 ? argv[2] : "";
    const bool quick = strcmp(part, "quick") == 0, single = strcmp(part, "single") == 0, steps = strcmp(part, "decode") == 0;
    const int only = argc > 3 ? atoi(argv[3]) : 0;
    if (argc > 1) read_peers(argv[1]);
    if (sf_backend_open("cuda", 0, &b) != SF_OK) return printf("%s\n", sf_error()), 1;
    b.meter = &meter;
    if (argc > 1 && strcmp(argv[1], "index") == 0) return indexers();
    if (single) {
        single_queries();
        sf_backend_close(&b);
        return printf("%d rows out of tolerance\n", failures), failures != 0;
    }
    ceilings();
    static const int whole[][3] = {{32, 8, 128}, {32, 8, 64}, {16, 8, 256}};
    for (int i = 0; i < 3 && !steps; i++)
        for (int tokens = 8192; tokens <= 131072 && (!only || whole[i][2] == only); tokens *= quick ? 4 : 2)
            dense(whole[i][0], whole[i][1], whole[i][2], tokens);
    static const int shape[][3] = {{32, 8, 128}, {16, 8, 256}, {64, 8, 128}, {28, 4, 128}, {32, 8, 64}};
    enum { SHAPES = sizeof shape / sizeof *shape };
    for (int i = 0; i < (quick ? 2 : SHAPES) && !steps; i++) {
        int heads = shape[i][0], kv_heads = shape[i][1], dim = shape[i][2], tokens = 131072;
        if (only && dim != only) continue;
        sf_attention a = scene(heads, kv_heads, dim, tokens);
        void *out = room((size_t)tokens * heads * dim * 2);
        for (int block = 128; block >= 16; block /= 2) {
            blocks(&a, out, block, true);
            if (i == 0 || block >= 64) blocks(&a, out, block, false);
        }
        if (i == 0 || i == SHAPES - 1) {
            for (int shared = 0; shared < 2; shared++) {
                slashes(&a, out, 40, 128, shared);
                slashes(&a, out, 112, 16, shared);
            }
        }
        b.ops->free(&b, out);
        free_scene(&a);
    }
    if (!only || only == 128) single_queries();
    for (int i = 0; i < 3; i += 2) {
        if (only && whole[i][2] != only) continue;
        decode(whole[i][0], whole[i][1], whole[i][2], 32768, 1);
        decode(whole[i][0], whole[i][1], whole[i][2], 131072, 1);
        decode(whole[i][0], whole[i][1], whole[i][2], 131072, 16);
    }
    sf_backend_close(&b);
    printf("%d rows out of tolerance\n", failures);
    return failures != 0;
}
