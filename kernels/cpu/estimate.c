/* CPU: the estimation primitives that look at queries, keys and blocks of them.
 *
 * Whatever needs exact softmax rows (probe, block mass) goes by strips of 8 query rows over all their keys: scores of a
 * strip [8, N] stay near, become probabilities in place and are summed up at once, so that [H, w, N] never exists.
 * Block means are scored by the same kernels, as if they were queries and keys.
 *
 * Test: build/tests/test_backends. Measured as in tile_attention.h, one head of 128, 16k keys: probe of 256
 * rows 9 ms (on the Zen 4, before and with largest scores found on the way, lines called ahead and rows added up by strips: 13.6 and
 * 12.0, a loaded machine); means, scores and choice of blocks of 16 4.5 ms. Dense attention of that head is 460 ms. */
#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* All keys of one kv head, transposed into panels: [panels, D, 16]. Keys that a compacted cache lacks become zeros. */
static void pack_keys(sf_backend *b, const sf_attention *a, int g, float *panels)
{
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int64_t first = 0; first < a->keys; first += SF_PANEL) {
        const float *key[SF_PANEL];
        for (int i = 0; i < SF_PANEL; i++) key[i] = first + i < a->keys ? sf_cpu_row(a, g, first + i, false) : NULL;
        sf_cpu_tiles(b)->pack_keys(key, a->head_dim, panels + first * a->head_dim);
    }
}

static int64_t padded_keys(const sf_attention *a) { return sf_cpu_parts(a->keys, SF_PANEL) * SF_PANEL; }

/* `rows` queries of head h, row, row + step …, at most 8, as score() takes them, and where they stand; the last row
 * fills up. q [D, 8] */
static void load_strip(const sf_attention *a, int h, int row, int step, int rows, float *q, int32_t *position)
{
    float scale = a->scale * LOG2E;
    for (int r = 0; r < SF_STRIP; r++) {
        const float *from = (const float *)a->q + ((int64_t)(row + r * step) * a->heads + h) * a->head_dim;
        for (int d = 0; d < a->head_dim; d++) q[d * SF_STRIP + r] = r < rows ? from[d] * scale : 0;
        position[r] = a->keys - a->queries + row + (r < rows ? r : rows - 1) * step;
    }
}

/* Softmax of rows [row, row + rows) of head h, rows <= 8: share[r] * p[r, 0 .. keys), keys = up to and with the last
 * row's own, rounded up to whole panels; what a row does not see is 0. q: room for [D, 8]. Returns keys. */
static int strip_of(sf_backend *b, const sf_attention *a, int h, int row, int rows, const float *panels, float *q,
                    float *p, int64_t ld, float *share)
{
    int32_t position[SF_STRIP];
    load_strip(a, h, row, 1, rows, q, position);
    int keys = (position[rows - 1] / SF_PANEL + 1) * SF_PANEL;
    int low =
        a->window > 0 && position[0] >= a->window ? (position[0] - a->window + 1) / SF_PANEL : 0; /* no row sees less */
    sf_cpu_tiles(b)->score(q, a->head_dim, panels + (int64_t)low * SF_PANEL * a->head_dim, keys / SF_PANEL - low,
                           p + low * SF_PANEL, ld, NULL, NULL);
    for (int r = 0; r < rows; r++) sf_cpu_tiles(b)->cap(p + r * ld + low * SF_PANEL, keys - low * SF_PANEL, a->softcap * LOG2E);
    sf_cpu_tiles(b)->softmax(position, rows, a->window, keys, p, ld, share);
    return keys;
}

/* ---- probe ------------------------------------------------------------------------------------------------------- */

/* A head's last w rows in parts of 64 rows, each summed by itself and then added in order: so more threads than heads
 * find work, and the order of the sums does not depend on their number. Some strips of a part pass over the keys
 * together, a stretch at a time that stays near: one strip alone would wait for keys more than it computes. */
enum { PROBE_ROWS = 64, PROBE_SCORES = 1 << 20, STRETCH = 3 /* panels */ };

/* Rows whose scores are held at once. */
static int probe_rows(const sf_attention *a)
{
    int64_t rows = PROBE_SCORES / padded_keys(a) / SF_STRIP * SF_STRIP;
    return rows < SF_STRIP ? SF_STRIP : rows > PROBE_ROWS ? PROBE_ROWS : (int)rows;
}

/* Rows of scores are a cache line more apart than they are long: a power of two would put them all into one set. */
static int64_t score_stride(const sf_attention *a) { return padded_keys(a) + SF_PANEL; }
static int64_t probe_room(const sf_attention *a) { return probe_rows(a) * (a->head_dim + score_stride(a)); }

/* Calls the lines that the next tile writes its scores to: who reads them back at once would wait for them. */
static void expect(const float *scores, int64_t ld)
{
    for (int r = 0; r < SF_STRIP; r++)
        for (int i = 0; i < STRETCH; i++) __builtin_prefetch(scores + r * ld + i * SF_PANEL, 1);
}

/* `rows` rows of head h, first, first + step …, at most probe_rows(), are added to column [N] and reversed [N]. Largest scores
 * are found while scores are near; a strip's rows are added up together, each sum in the order of rows. */
static void probe_strips(sf_backend *b, const sf_attention *a, int h, int first, int step, int rows, bool largest,
                         const float *panels, float *room, float *column, float *reversed)
{
    const sf_tiles *tiles = sf_cpu_tiles(b);
    int64_t ld = score_stride(a), dim = a->head_dim;
    float *q = room, *p = room + probe_rows(a) * dim;
    int end[PROBE_ROWS / SF_STRIP], strips = (rows + SF_STRIP - 1) / SF_STRIP, last = 0; /* panels that a strip sees */
    int whole[PROBE_ROWS / SF_STRIP]; /* those before this one are seen by all its rows, and their scores are not capped */
    _Alignas(64) float most[PROBE_ROWS][SF_PANEL];
    for (int s = 0; s < strips; s++) {
        int32_t position[SF_STRIP];
        int row = first + s * SF_STRIP * step, here = rows - s * SF_STRIP < SF_STRIP ? rows - s * SF_STRIP : SF_STRIP;
        load_strip(a, h, row, step, here, q + s * SF_STRIP * dim, position);
        last = end[s] = position[here - 1] / SF_PANEL + 1;
        whole[s] = a->window > 0 || a->softcap != 0 ? 0 : (position[0] + 1) / SF_PANEL / STRETCH * STRETCH;
    }
    for (int r = 0; r < strips * SF_STRIP; r++)
        for (int i = 0; i < SF_PANEL; i++) most[r][i] = -INFINITY;
    int low = a->keys - a->queries + first - a->window + 1; /* no row sees less */
    low = a->window > 0 && low > 0 ? low / SF_PANEL : 0;
    for (int c = low; c < last; c += STRETCH) {
        for (int s = 0; s < strips; s++) {
            int here = end[s] - c < STRETCH ? end[s] - c : STRETCH;
            int64_t at = (int64_t)c * SF_PANEL;
            const float *keys = panels + at * dim, *next = s < STRETCH && c + STRETCH + s < last ? keys + (STRETCH + s) * SF_PANEL * dim : NULL;
            if (here <= 0) continue;
            if (c + STRETCH < last) expect(s + 1 < strips ? p + (s + 1) * SF_STRIP * ld + at : p + at + STRETCH * SF_PANEL, ld);
            tiles->score(q + s * SF_STRIP * dim, (int)dim, keys, here, p + s * SF_STRIP * ld + at, ld, next,
                         c < whole[s] ? most[s * SF_STRIP] : NULL);
        }
    }
    for (int r = 0; r < rows; r += SF_STRIP) {
        int here = rows - r < SF_STRIP ? rows - r : SF_STRIP, before = whole[r / SF_STRIP] * SF_PANEL;
        float share[SF_STRIP], *strip = p + r * ld;
        int32_t position[SF_STRIP]; /* entry u of `reversed` is offset N-1-u */
        for (int i = 0; i < here; i++) {
            float *row = strip + i * ld;
            position[i] = a->keys - a->queries + first + (r + i) * step;
            tiles->cap(row + (int64_t)low * SF_PANEL, position[i] + 1 - (int64_t)low * SF_PANEL, a->softcap * LOG2E);
            if (before > 0) {
                float top = tiles->largest(most[r + i], SF_PANEL), rest = tiles->largest(row + before, position[i] + 1 - before);
                share[i] = 1 / tiles->powers(row, position[i] + 1, rest > top ? rest : top);
            } else {
                tiles->softmax(position + i, 1, a->window, position[i] + 1, row, ld, share + i);
            }
        }
        if (here == SF_STRIP && !largest) {
            tiles->tally_strip(strip, ld, share, position[0] + 1, step, column, reversed + (a->keys - 1 - position[SF_STRIP - 1]));
            continue;
        }
        for (int i = 0; i < here; i++)
            tiles->tally(strip + i * ld, share[i], position[i] + 1, largest, column, reversed + (a->keys - 1 - position[i]));
    }
}

static void probe_part(sf_backend *b, const sf_attention *a, int h, int first, int step, int rows, bool largest,
                       const float *panels, float *room, float *column, float *reversed)
{
    int at_once = probe_rows(a);
    memset(column, 0, (size_t)padded_keys(a) * sizeof *column);
    memset(reversed, 0, (size_t)padded_keys(a) * sizeof *reversed);
    for (int r = 0; r < rows; r += at_once)
        probe_strips(b, a, h, first + r * step, step, rows - r < at_once ? rows - r : at_once, largest, panels, room, column,
                     reversed);
}

sf_status sf_cpu_probe(sf_backend *b, const sf_attention *a, int window, int step, sf_reduce reduce, float *column,
                       float *diagonal)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "probe"));
    int all = (int)sf_cpu_parts(a->queries, step), w = window < all ? window : all, group = a->heads / a->kv_heads;
    int parts = (int)sf_cpu_parts(w, PROBE_ROWS);
    int64_t keys = padded_keys(a), room_size = probe_room(a);
    sf_mark mark = sf_scratch_mark(b);
    float *panels, *room, *sums; /* sums [group, parts, 2, keys] */
    SF_TRY(sf_scratch_alloc(b, (size_t)(keys * a->head_dim) * sizeof *panels, (void **)&panels));
    SF_TRY(sf_cpu_room(b, room_size, sizeof *room, (void **)&room));
    SF_TRY(sf_scratch_alloc(b, (size_t)(group * parts * 2 * keys) * sizeof *sums, (void **)&sums));
    for (int g = 0; g < a->kv_heads; g++) {
        pack_keys(b, a, g, panels);
#pragma omp parallel num_threads(b->threads)
        {
#pragma omp for schedule(dynamic)
            for (int unit = 0; unit < group * parts; unit++) {
                int h = g * group + unit / parts, before = unit % parts * PROBE_ROWS;
                int rows = w - before < PROBE_ROWS ? w - before : PROBE_ROWS, first = a->queries - 1 - (w - 1 - before) * step;
                float *to = sums + unit * 2 * keys;
                probe_part(b, a, h, first, step, rows, reduce == SF_MAX, panels, room + omp_get_thread_num() * room_size, to,
                           to + keys);
            }
#pragma omp for schedule(static)
            for (int m = 0; m < group; m++) {
                const float *from = sums + m * parts * 2 * keys;
                int64_t at = (int64_t)(g * group + m) * a->keys;
                for (int64_t j = 0; j < a->keys; j++) {
                    float c = 0, d = 0;
                    for (int i = 0; i < parts; i++) {
                        float x = from[i * 2 * keys + j];
                        c = reduce == SF_MAX ? (x > c ? x : c) : c + x;
                        d += from[(i * 2 + 1) * keys + a->keys - 1 - j];
                    }
                    if (column) column[at + j] = reduce == SF_MEAN ? c / (float)w : c;
                    if (diagonal) diagonal[at + j] = d;
                }
            }
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_probe(b, a, window, step, column, diagonal);
    return SF_OK;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

sf_status sf_cpu_block_means(sf_backend *b, const sf_attention *a, bool of_keys, int block, float *out)
{
    if (of_keys) SF_TRY(sf_cache_refuse(&a->kv.prompt, "block_means"));
    int heads = of_keys ? a->kv_heads : a->heads, rows = of_keys ? a->keys : a->queries;
    int64_t blocks = sf_cpu_parts(rows, block), dim = a->head_dim;
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * heads > 64)
    for (int64_t unit = 0; unit < heads * blocks; unit++) {
        int h = (int)(unit / blocks), there = 0;
        int64_t first = unit % blocks * block, end = first + block < rows ? first + block : rows;
        float *restrict to = out + unit * dim;
        memset(to, 0, (size_t)dim * sizeof *to);
        for (int64_t r = first; r < end; r++) {
            const float *x = of_keys ? sf_cpu_row(a, h, r, false) : (const float *)a->q + (r * a->heads + h) * dim;
            if (!x) continue;
            there++;
            for (int d = 0; d < dim; d++) to[d] += x[d];
        }
        for (int d = 0; d < dim; d++) to[d] /= (float)there; /* NaN where a compacted cache holds none of them */
    }
    sf_meter_block_means(b, a, of_keys, block);
    return SF_OK;
}

/* Key blocks that query block i may see, at least in part. */
static int64_t visible_blocks(const sf_attention *a, int block_q, int block_k, int64_t i)
{
    int64_t end = (i + 1) * block_q < a->queries ? (i + 1) * block_q : a->queries;
    return (a->keys - a->queries + end - 1) / block_k + 1;
}

/* Block means of one kv head as panels of 16 [panels, D, 16], and one thread's q [D, 8] and scores [2, 8, padded
 * blocks]. */
typedef struct block_room {
    float *panels, *q, *score;
    int64_t blocks, ld;
} block_room;

static sf_status block_rooms(sf_backend *b, const sf_attention *a, int block_k, block_room *r)
{
    r->blocks = sf_cpu_parts(a->keys, block_k);
    r->ld = sf_cpu_parts(r->blocks, SF_PANEL) * SF_PANEL;
    SF_TRY(sf_scratch_alloc(b, (size_t)(r->ld * a->head_dim) * sizeof *r->panels, (void **)&r->panels));
    SF_TRY(sf_cpu_room(b, SF_STRIP * a->head_dim, sizeof *r->q, (void **)&r->q));
    return sf_cpu_room(b, 2 * SF_STRIP * r->ld, sizeof *r->score, (void **)&r->score);
}

static void pack_means(sf_backend *b, const sf_attention *a, int g, const float *k_mean, const block_room *r)
{
    const float *mean = k_mean + g * r->blocks * a->head_dim;
    for (int64_t first = 0; first < r->blocks; first += SF_PANEL) {
        const float *key[SF_PANEL];
        for (int i = 0; i < SF_PANEL; i++) key[i] = first + i < r->blocks ? mean + (first + i) * a->head_dim : NULL;
        sf_cpu_tiles(b)->pack_keys(key, a->head_dim, r->panels + first * a->head_dim);
    }
}

/* score[i, j] = <q mean i, k mean j> for query blocks [first, first + rows) of one head, rows <= 8, and `visible`
 * blocks. */
static void score_blocks(sf_backend *b, const sf_attention *a, const float *q_mean, int64_t rows, const block_room *r,
                         int64_t visible, float *score)
{
    int dim = a->head_dim;
    float *q = r->q + (int64_t)omp_get_thread_num() * SF_STRIP * dim;
    for (int i = 0; i < SF_STRIP; i++)
        for (int d = 0; d < dim; d++) q[d * SF_STRIP + i] = i < rows ? q_mean[i * dim + d] : 0;
    sf_cpu_tiles(b)->score(q, dim, r->panels, (int)sf_cpu_parts(visible, SF_PANEL), score, r->ld, NULL, NULL);
}

sf_status sf_cpu_top_blocks(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q, const float *k_mean,
                            int block_k, int heads, int k, int sinks, int local, sf_lists *out)
{
    int64_t queries = sf_cpu_parts(a->queries, block_q), strips = sf_cpu_parts(queries, SF_STRIP);
    int64_t selections = heads / a->kv_heads, group = a->heads / heads; /* of a kv head; summed for each */
    sf_mark mark = sf_scratch_mark(b);
    block_room room;
    SF_TRY(block_rooms(b, a, block_k, &room));
    out->rows = heads * queries;
    for (int g = 0; g < a->kv_heads; g++) {
        pack_means(b, a, g, k_mean, &room);
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
        for (int64_t unit = 0; unit < selections * strips; unit++) {
            float *score = room.score + omp_get_thread_num() * 2 * SF_STRIP * room.ld,
                  *more = score + SF_STRIP * room.ld;
            int64_t s = g * selections + unit % selections, first = (strips - 1 - unit / selections) * SF_STRIP;
            int64_t rows = queries - first < SF_STRIP ? queries - first : SF_STRIP;
            int64_t visible = visible_blocks(a, block_q, block_k, first + rows - 1);
            for (int64_t m = 0; m < group; m++) {
                const float *q = q_mean + ((s * group + m) * queries + first) * a->head_dim;
                score_blocks(b, a, q, rows, &room, visible, m ? more : score);
                for (int64_t i = 0; m && i < rows * room.ld; i++) score[i] += more[i];
            }
            for (int64_t i = 0; i < rows; i++) {
                float *x = score + i * room.ld;
                int64_t here = visible_blocks(a, block_q, block_k, first + i), row = s * queries + first + i;
                for (int64_t j = 0; j < here; j++) x[j] *= a->scale;
                for (int64_t j = 0; j < sinks && j < here; j++) x[j] = INFINITY;
                for (int64_t j = here > local ? here - local : 0; j < here; j++) x[j] = INFINITY;
                out->count[row] = sf_cpu_tiles(b)->best(x, here, k, (uint32_t *)more, out->index + row * out->stride);
            }
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_top_blocks(b, a, block_q, block_k);
    return SF_OK;
}

sf_status sf_cpu_block_probabilities(sf_backend *b, const sf_attention *a, const float *q_mean, int block_q,
                                     const float *k_mean, int block_k, float *p)
{
    int64_t queries = sf_cpu_parts(a->queries, block_q), strips = sf_cpu_parts(queries, SF_STRIP);
    int64_t group = a->heads / a->kv_heads;
    sf_mark mark = sf_scratch_mark(b);
    block_room room;
    SF_TRY(block_rooms(b, a, block_k, &room));
    for (int g = 0; g < a->kv_heads; g++) {
        pack_means(b, a, g, k_mean, &room);
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
        for (int64_t unit = 0; unit < group * strips; unit++) {
            float *score = room.score + omp_get_thread_num() * 2 * SF_STRIP * room.ld;
            int64_t h = g * group + unit % group, first = (strips - 1 - unit / group) * SF_STRIP;
            int64_t rows = queries - first < SF_STRIP ? queries - first : SF_STRIP;
            score_blocks(b, a, q_mean + (h * queries + first) * a->head_dim, rows, &room,
                         visible_blocks(a, block_q, block_k, first + rows - 1), score);
            for (int64_t i = 0; i < rows; i++) {
                float *x = score + i * room.ld, *to = p + (h * queries + first + i) * room.blocks;
                int64_t here = visible_blocks(a, block_q, block_k, first + i);
                for (int64_t j = 0; j < here; j++) x[j] *= a->scale * LOG2E;
                float share = 1 / sf_cpu_tiles(b)->powers(x, here, sf_cpu_tiles(b)->largest(x, here));
                for (int64_t j = 0; j < room.blocks; j++) to[j] = j < here ? x[j] * share : -INFINITY;
            }
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_block_probabilities(b, a, block_q, block_k);
    return SF_OK;
}

sf_status sf_cpu_top_block_mass(sf_backend *b, const sf_attention *a, int block_q, int block_k, int heads, int k,
                                sf_lists *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "top_block_mass"));
    int64_t queries = sf_cpu_parts(a->queries, block_q), blocks = sf_cpu_parts(a->keys, block_k);
    int64_t keys = padded_keys(a), group = a->heads / a->kv_heads, selections = heads / a->kv_heads; /* of a kv head */
    int64_t room_size = SF_STRIP * (a->head_dim + keys) + blocks;
    sf_mark mark = sf_scratch_mark(b);
    float *panels, *room;
    double *mass; /* [threads, blocks] */
    SF_TRY(sf_scratch_alloc(b, (size_t)(keys * a->head_dim) * sizeof *panels, (void **)&panels));
    SF_TRY(sf_cpu_room(b, room_size, sizeof *room, (void **)&room));
    SF_TRY(sf_cpu_room(b, blocks, sizeof *mass, (void **)&mass));
    out->rows = heads * queries;
    for (int g = 0; g < a->kv_heads; g++) {
        pack_keys(b, a, g, panels);
#pragma omp parallel for num_threads(b->threads) schedule(dynamic)
        for (int64_t unit = 0; unit < selections * queries; unit++) {
            int64_t s = g * selections + unit % selections, i = queries - 1 - unit / selections;
            float *q = room + omp_get_thread_num() * room_size, *p = q + SF_STRIP * a->head_dim,
                  *rounded = p + SF_STRIP * keys;
            double *sum = mass + omp_get_thread_num() * blocks;
            int64_t end = (i + 1) * block_q < a->queries ? (i + 1) * block_q : a->queries;
            int64_t here = visible_blocks(a, block_q, block_k, i);
            memset(sum, 0, (size_t)here * sizeof *sum);
            for (int64_t m = 0; m < group / selections; m++) {
                int h = (int)(s * (group / selections) + m);
                for (int64_t row = i * block_q; row < end; row += SF_STRIP) {
                    int rows = end - row < SF_STRIP ? (int)(end - row) : SF_STRIP;
                    float share[SF_STRIP];
                    int seen = strip_of(b, a, h, (int)row, rows, panels, q, p, keys, share);
                    if (seen > a->keys) seen = a->keys;
                    for (int r = 0; r < rows; r++) {
                        for (int64_t j = 0; j * block_k < seen; j++) {
                            double inside = 0;
                            for (int64_t key = j * block_k; key < (j + 1) * block_k && key < seen; key++)
                                inside += p[r * keys + key];
                            sum[j] += inside * share[r];
                        }
                    }
                }
            }
            for (int64_t j = 0; j < here; j++) rounded[j] = (float)sum[j];
            int64_t row = s * queries + i;
            out->count[row] = sf_cpu_tiles(b)->best(rounded, here, k, (uint32_t *)p,
                                                    out->index + row * out->stride); /* p: done with */
        }
    }
    sf_scratch_release(b, mark);
    sf_meter_top_block_mass(b, a);
    return SF_OK;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

sf_status sf_cpu_page_bounds(sf_backend *b, const sf_attention *a, int page, int first, int64_t pages, float *low,
                             float *high)
{
    int64_t dim = a->head_dim, begin = first / page, there = sf_cpu_parts(a->keys, page) - begin;
#pragma omp parallel for num_threads(b->threads) schedule(static) if (there > 4)
    for (int64_t unit = 0; unit < a->kv_heads * there; unit++) {
        int64_t g = unit / there, p = begin + unit % there;
        int64_t end = (p + 1) * page < a->keys ? (p + 1) * page : a->keys;
        float *restrict least = low + (g * pages + p) * dim, *restrict most = high + (g * pages + p) * dim;
        for (int64_t d = 0; d < dim; d++)
            least[d] = most[d] = NAN; /* stays where a compacted cache holds no key of it */
        float unpacked[dim];
        for (int64_t j = p * page; j < end; j++) {
            const sf_kv_part *prompt = &a->kv.prompt;
            const bool packed = prompt->packed && j < (prompt->count ? prompt->count[g] : prompt->n);
            if (packed) sf_cpu_unpack(a, prompt->k, sf_kv_row(prompt, g, j), unpacked);
            const float *k = packed ? unpacked : prompt->packed && j < prompt->n ? NULL : sf_cpu_row(a, (int)g, j, false);
            if (!k) continue;
            for (int64_t d = 0; d < dim; d++) {
                least[d] = least[d] <= k[d] ? least[d] : k[d];
                most[d] = most[d] >= k[d] ? most[d] : k[d];
            }
        }
    }
    sf_meter_page_bounds(b, a, page, first);
    return SF_OK;
}

sf_status sf_cpu_page_scores(sf_backend *b, const sf_attention *a, int page, int64_t pages, const float *low,
                             const float *high, float *score)
{
    int64_t there = sf_cpu_parts(a->keys, page), group = a->heads / a->kv_heads, dim = a->head_dim;
#pragma omp parallel for num_threads(b->threads) schedule(static) if (there * a->kv_heads > 32)
    for (int64_t unit = 0; unit < a->kv_heads * there; unit++) {
        int64_t g = unit / there, p = unit % there;
        score[unit] = sf_cpu_tiles(b)->bound((const float *)a->q + g * group * dim, (int)group, (int)dim,
                                             low + (g * pages + p) * dim, high + (g * pages + p) * dim);
    }
    sf_meter_page_scores(b, a, page);
    return SF_OK;
}
