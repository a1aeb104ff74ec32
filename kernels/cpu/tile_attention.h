/* Tiles of attention: strips of 8 query rows against panels of 16 keys, with online softmax.
 *
 *     keys of a panel lie transposed        [D, 16]            one vector a dimension: scores need no shuffles
 *     values of a panel lie in columns      [D/32, 16, 32]     of 32, AVX2: of 48 (the last may be less wide), read front to back
 *     queries of a strip lie transposed     [D, 8]             so that the 8 broadcasts are neighbours
 *     scores of a batch of up to 9 panels   [rows, 144]        become probabilities in place
 *
 * A batch's keys, then each column block of its values, stay in the nearest cache while all strips of the tile pass
 * over them.
 *
 * A row's running maximum, sum and output change with that row's own keys only: for a row that sees none of a batch,
 * the batch multiplies by exactly 1 and adds exactly 0. So results do not depend on which rows share a tile.
 *
 * The inner loops are functions of their own, never inlined: GCC 12 otherwise spills their accumulators.
 *
 * Test: build/tests/test_backends (random shapes against the reference), test_backend_golden (PyTorch).
 * Measured on one core of a Xeon with AVX-512 whose FMA peak was 165 to 175 GFLOP/s then, best of several: dense causal
 * 139 at head dim 64 and 148 at 128 (8k keys); blocks of 16 and 64 at density .1 of 16k keys 132 and 127, columns and
 * diagonals 120. Of the rest, the exponentials take most: some 9 cycles of 16 scores, beside 2 D / 2 of products.
 * On one core of a Zen 4 at 3.7 GHz, whose FMA peak is 118 with either set (tests/bench_cpu.c, a loaded machine): AVX2 93 and 97,
 * AVX-512 100 and 105 at 4k keys; with AVX2's 4 by 16 sums of before, of which eight only just hide an FMA's latency, 88 and 91.
 */

enum { SCORES = SF_BATCH * SF_PANEL };

/* Register tiles: STRIP_ROWS of a strip, by KEY_VECS vectors of the keys of PANELS_AT_ONCE panels, or by VALUE_VECS of values,
 * of which COLUMNS lie together. Twelve sums hide the latency of a multiply-add on two units; with what they are made of they
 * fill AVX2's 16 registers. */
#if defined __AVX512F__
enum { STRIP_ROWS = 8, PANELS_AT_ONCE = 3, KEY_VECS = 3, VALUE_VECS = 2, COLUMNS = 32 };
#elif defined __AVX2__
enum { STRIP_ROWS = 4, PANELS_AT_ONCE = 3, KEY_VECS = 3, VALUE_VECS = 3, COLUMNS = 48 };
#else
enum { STRIP_ROWS = 2, PANELS_AT_ONCE = 1, KEY_VECS = 4, VALUE_VECS = 4, COLUMNS = 32 };
#endif

static void pack_keys(const float *const *key, int dim, float *out)
{
    for (int d0 = 0; d0 < dim; d0 += 16) { /* a block of 16 × 16 stays in cache lines that are whole */
        int d1 = d0 + 16 < dim ? d0 + 16 : dim;
        for (int i = 0; i < SF_PANEL; i++)
            for (int d = d0; d < d1; d++) out[d * SF_PANEL + i] = key[i] ? key[i][d] : 0;
    }
}

/* Width of the column block that begins at column d. */
INLINE int block_width(int padded, int d) { return padded - d < COLUMNS ? padded - d : COLUMNS; }

static void pack_values(const float *const *value, int dim, float *out)
{
    int padded = (dim + 15) / 16 * 16;
    for (int d = 0; d < padded; d += COLUMNS) {
        int width = block_width(padded, d), there = dim - d < width ? dim - d : width;
        for (int i = 0; i < SF_PANEL; i++, out += width) {
            memset(out, 0, (size_t)width * sizeof *out);
            if (value[i]) memcpy(out, value[i] + d, (size_t)there * sizeof *out);
        }
    }
}

/* Lines that are wanted next: `dim` of them at `at`, or, with a shift, so many fewer. */
typedef struct coming {
    const float *at;
    int shift;
} coming;

/* s[r, key] = <q[r], key> for the strip and `panels` panels, a constant where this is inlined. What is coming is called
 * line by line as work goes on: all at once, lines would wait for each other, and the work for them. */
INLINE void scores_of(int panels, const float *q, int dim, const sf_panel *panel, float *s, int64_t lds, coming soon)
{
    UNROLL for (int v0 = 0; v0 < panels * WIDE; v0 += KEY_VECS)
    {
        const int vecs = panels * WIDE - v0 < KEY_VECS ? panels * WIDE - v0 : KEY_VECS;
        const float *key[KEY_VECS];
        UNROLL for (int v = 0; v < vecs; v++) key[v] = panel[(v0 + v) / WIDE].k + (v0 + v) % WIDE * W;
        for (int r0 = 0; r0 < SF_STRIP; r0 += STRIP_ROWS) {
            vec acc[STRIP_ROWS][KEY_VECS];
            UNROLL for (int r = 0; r < STRIP_ROWS; r++) UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = all(0);
            for (int d = 0; d < dim; d++) {
                if (panels == PANELS_AT_ONCE && v0 == 0 && r0 == 0) __builtin_prefetch(soon.at + (d >> soon.shift) * 16, 0, 2);
                vec k[KEY_VECS];
                UNROLL for (int v = 0; v < vecs; v++) k[v] = load(key[v] + d * SF_PANEL);
                UNROLL for (int r = 0; r < STRIP_ROWS; r++)
                {
                    vec a = all(q[d * SF_STRIP + r0 + r]);
                    UNROLL for (int v = 0; v < vecs; v++) acc[r][v] += a * k[v];
                }
            }
            UNROLL for (int r = 0; r < STRIP_ROWS; r++) UNROLL for (int v = 0; v < vecs; v++)
                store(s + (r0 + r) * lds + (v0 + v) * W, acc[r][v]);
        }
    }
}

NOINLINE void scores_full(const float *q, int dim, const sf_panel *panel, float *s, int64_t lds, coming soon)
{
    scores_of(PANELS_AT_ONCE, q, dim, panel, s, lds, soon);
}

NOINLINE void scores_one(const float *q, int dim, const sf_panel *panel, float *s, int64_t lds)
{
    scores_of(1, q, dim, panel, s, lds, (coming){q, 0});
}

/* soon: for the first panels; at NULL: nothing is wanted. */
static void scores(const float *q, int dim, const sf_panel *panel, int panels, float *s, int64_t lds, coming soon)
{
    int c = 0;
    for (; c + PANELS_AT_ONCE <= panels; c += PANELS_AT_ONCE, soon.at = NULL) {
        if (!soon.at) soon = (coming){q, 0}; /* is here */
        scores_full(q, dim, panel + c, s + c * SF_PANEL, lds, soon);
    }
    for (; c < panels; c++) scores_one(q, dim, panel + c, s + c * SF_PANEL, lds);
}

/* The same of a panel whose sight no stretch of distances tells. */
NOINLINE void hide_by_sight(const sf_panel *panel, int position, float *s, int64_t ld)
{
    for (int r = 0; r < SF_STRIP; r++)
        for (int i = 0; i < SF_PANEL; i++)
            if (!(panel->lanes >> i & 1) ||
                !sf_sight_sees(panel->sight, panel->always >> i & 1, position + r, sf_panel_key(panel, i)))
                s[r * ld + i] = -INFINITY;
}

/* Near 0 by its series, whose next term is below 2^-24 of it; beyond that 1 - 2 / (exp 2y + 1). */
INLINE vec tanhv(vec y)
{
    vec two = y * y, near = y * (1 + two * (-0x1.555556p-2f + two * (0x1.111112p-3f + two * (-0x1.ba1ba2p-5f + two * 0x1.664f48p-6f))));
    vec far = 1 - 2 / (exp2v(all(0) - larger(y * -2.8853900817779268f, all(-126))) + 1);
    ivec small = two < all(0.09f);
    return (vec)((small & (ivec)near) | (~small & (ivec)far));
}

static void cap_scores(float *x, int64_t n, float cap)
{
    int64_t i = 0;
    if (cap == 0) return;
    for (; i + W <= n; i += W) store(x + i, tanhv(load(x + i) / cap) * cap);
    for (; i < n; i++) x[i] = tanhv(all(x[i] / cap))[0] * cap;
}

/* -INFINITY where a row does not see a key; rows of s lie ld apart. */
INLINE void hide(const sf_panel *panel, int position, float *s, int64_t ld)
{
    int32_t key[SF_PANEL];
    if (panel->sight) {
        hide_by_sight(panel, position, s, ld);
        return;
    }
    for (int i = 0; i < SF_PANEL; i++)
        key[i] = !(panel->lanes >> i & 1) ? INT32_MAX : panel->key ? panel->key[i] : panel->first + i;
    for (int r = 0; r < SF_STRIP; r++) {
        int32_t last = position + r - panel->near, before = position + r - panel->reach;
        float *row = s + r * ld;
        for (int i = 0; i < SF_PANEL; i++) row[i] = key[i] <= last && key[i] > before ? row[i] : -INFINITY;
    }
}

/* A strip's scores become powers of two below their row's running maximum; factor[r]: what that does to earlier sums.
 */
NOINLINE void soften(float *s, int panels, float *running, float *sums, float *factor)
{
    vec most[SF_STRIP][WIDE];
    for (int r = 0; r < SF_STRIP; r++) {
        for (int u = 0; u < WIDE; u++) most[r][u] = load(s + r * SCORES + u * W);
        for (int c = 1; c < panels; c++)
            for (int u = 0; u < WIDE; u++) most[r][u] = larger(load(s + r * SCORES + c * SF_PANEL + u * W), most[r][u]);
    }
    _Alignas(64) float now[LANES] = {0}, shift[LANES] = {0};
    reduce(SF_STRIP, (const vec(*)[WIDE])most, MOST, now);
    for (int r = 0; r < SF_STRIP; r++) {
        float old = running[r], top = now[r] > old ? now[r] : old;
        shift[r] = top > -INFINITY ? top : 0; /* nothing seen so far: keep -INFINITY - shift from being NaN */
        running[r] = top;
        factor[r] = old - shift[r];
    }
    for (int r = 0; r < SF_STRIP; r += W) { /* a vector may be longer than the strip */
        vec f = exp2v(load(factor + r));
        store(factor + r, f);
    }
    for (int r = 0; r < SF_STRIP; r++) {
        vec total[WIDE];
        for (int u = 0; u < WIDE; u++) total[u] = load(sums + r * LANES + u * W) * factor[r];
        for (int c = 0; c < panels; c++) {
            for (int u = 0; u < WIDE; u++) {
                float *at = s + r * SCORES + c * SF_PANEL + u * W;
                vec p = exp2v(load(at) - shift[r]);
                store(at, p);
                total[u] += p;
            }
        }
        for (int u = 0; u < WIDE; u++) store(sums + r * LANES + u * W, total[u]);
    }
}

/* out[r] = out[r] * factor[r] + sum over keys of p[r, key] * v[key], for `vecs` vectors from column d on. */
INLINE void values_of(int vecs, const sf_panel *panel, const int (*span)[2], int panels, const float *p,
                      const float *factor, float *out, int padded, int d)
{
    int width = block_width(padded, d / COLUMNS * COLUMNS);
    int64_t at = (int64_t)d / COLUMNS * COLUMNS * SF_PANEL + d % COLUMNS;
    for (int r0 = 0; r0 < SF_STRIP; r0 += STRIP_ROWS) {
        vec acc[STRIP_ROWS][VALUE_VECS];
        UNROLL for (int r = 0; r < STRIP_ROWS; r++) UNROLL for (int u = 0; u < vecs; u++) acc[r][u] = all(0);
        for (int c = 0; c < panels; c++) {
            const float *v = panel[c].v + at + span[c][0] * width, *x = p + r0 * SCORES + c * SF_PANEL + span[c][0];
            for (int n = span[c][1] - span[c][0]; n > 0; n--, v += width, x++) {
                vec b[VALUE_VECS];
                UNROLL for (int u = 0; u < vecs; u++) b[u] = load(v + u * W);
                UNROLL for (int r = 0; r < STRIP_ROWS; r++)
                {
                    vec a = all(x[r * SCORES]);
                    UNROLL for (int u = 0; u < vecs; u++) acc[r][u] += a * b[u];
                }
            }
        }
        UNROLL for (int r = 0; r < STRIP_ROWS; r++)
        {
            UNROLL for (int u = 0; u < vecs; u++)
            {
                float *to = out + (r0 + r) * padded + d + u * W;
                store(to, SCALED_SUM(load(to), factor[r0 + r], acc[r][u]));
            }
        }
    }
}

typedef void values_tile(const sf_panel *panel, const int (*span)[2], int panels, const float *p, const float *factor,
                         float *out, int padded, int d);
#define VALUES_(vecs)                                                                                                  \
    NOINLINE void values##vecs(const sf_panel *panel, const int (*span)[2], int panels, const float *p,                \
                               const float *factor, float *out, int padded, int d)                                     \
    {                                                                                                                  \
        values_of(vecs, panel, span, panels, p, factor, out, padded, d);                                               \
    }
#if defined __AVX512F__
VALUES_(1)
VALUES_(2)
static values_tile *const values_tiles[] = {NULL, values1, values2};
#elif defined __AVX2__
VALUES_(2)
VALUES_(3)
static values_tile *const values_tiles[] = {NULL, NULL, values2, values3};
#else
VALUES_(4)
static values_tile *const values_tiles[] = {NULL, NULL, NULL, NULL, values4};
#endif
#undef VALUES_

/* Vectors of the next tile from column d on: no tile reaches over the end of a block of columns, none is left with one alone. */
INLINE int values_at_once(int padded, int d)
{
    int left = (block_width(padded, d / COLUMNS * COLUMNS) - d % COLUMNS) / W;
    return left == VALUE_VECS + 1 ? (left + 1) / 2 : left < VALUE_VECS ? left : VALUE_VECS;
}

static void load_queries(sf_query_tile *t, const float *q, int64_t stride, float scale)
{
    int strips = (t->rows + SF_STRIP - 1) / SF_STRIP;
    scale *= 1.4426950408889634f; /* log2 e, as probabilities are powers of 2 here */
    for (int row = 0; row < strips * SF_STRIP; row += SF_STRIP) {
        float *to = t->q + row * t->dim;
        const float *from[SF_STRIP];
        for (int r = 0; r < SF_STRIP; r++) from[r] = q + (row + r < t->rows ? row + r : t->rows - 1) * stride;
        for (int d = 0; d < t->dim; d++) /* all rows side by side: they come from far */
            UNROLL for (int r = 0; r < SF_STRIP; r++) to[d * SF_STRIP + r] = from[r][d] * scale;
    }
}

static void attend_begin(sf_query_tile *t, const float *q, int64_t stride, float scale)
{
    int strips = (t->rows + SF_STRIP - 1) / SF_STRIP;
    load_queries(t, q, stride, scale);
    for (int r = 0; r < strips * SF_STRIP; r++) t->most[r] = -INFINITY;
    memset(t->sum, 0, (size_t)strips * SF_STRIP * LANES * sizeof *t->sum);
    memset(t->out, 0, (size_t)strips * SF_STRIP * (size_t)t->padded * sizeof *t->out);
}

/* Every row of the tile sees all 16 keys: nothing of it is looked at strip by strip. */
INLINE bool whole(const sf_panel *p) { return !p->edge && p->lanes == UINT16_MAX; }

/* No row before the first or behind the second position sees anything of a panel; of an empty one, none. */
INLINE int64_t seen_from(const sf_panel *p) { return !p->lanes ? INT64_MAX : (int64_t)p->first + (p->sight ? 0 : p->near); }
INLINE int64_t seen_until(const sf_panel *p)
{
    if (!p->lanes) return INT64_MIN;
    return p->sight ? INT64_MAX : sf_panel_key(p, 31 - __builtin_clz(p->lanes)) + p->reach - 1;
}

/* The lanes of a panel that can weigh in a strip whose rows stand from `first` to `last`: the others need no value. */
INLINE void span_of(const sf_panel *p, int64_t first, int64_t last, int span[2])
{
    if (whole(p)) {
        span[0] = 0, span[1] = SF_PANEL;
        return;
    }
    int64_t begin = p->sight ? 0 : first - p->reach + 1 - p->first, end = last - (p->sight ? 0 : p->near) - p->first + 1;
    span[0] = p->lanes ? __builtin_ctz(p->lanes) : 0;
    span[1] = p->lanes ? 32 - __builtin_clz(p->lanes) : 0;
    if (p->key) return;
    if (end < span[1]) span[1] = end < 0 ? 0 : (int)end;
    if (begin > span[0]) span[0] = begin < span[1] ? (int)begin : span[1];
}

/* Piece i of the keys and values of `panels` panels, which may lie anywhere: a half or the whole of one's keys or
 * values. Columns are read by every tile and so at hand. */
INLINE coming piece(const sf_panel *panel, int panels, int dim, int shift, int i)
{
    const sf_panel *p = panel + (i >> shift) / 2;
    if (p >= panel + panels || p->key) return (coming){NULL, 0};
    return (coming){((i >> shift) % 2 ? p->v : p->k) + (i & shift) * (dim >> 1) * 16, shift};
}

static void attend(sf_query_tile *t, const sf_panel *panel, int panels)
{
    _Alignas(64) float s[SF_TILE_ROWS * SCORES], factor[SF_TILE_ROWS + LANES];
    for (int c0 = 0; c0 < panels; c0 += SF_BATCH, panel += SF_BATCH) {
        int batch = panels - c0 < SF_BATCH ? panels - c0 : SF_BATCH, start = 0, end = t->rows; /* the other rows see none of it */
        int64_t from = INT64_MAX, until = INT64_MIN;
        for (int c = 0; c < batch; c++) {
            const bool all_rows = whole(panel + c);
            const int64_t first = all_rows ? t->position : seen_from(panel + c), last = all_rows ? t->position + end - 1 : seen_until(panel + c);
            if (first < from) from = first;
            if (last > until) until = last;
        }
        if (from >= t->position + end || until < t->position) continue;
        if (from > t->position) start = (int)(from - t->position) / SF_STRIP * SF_STRIP;
        if (until < t->position + end) end = (int)(until - t->position) + 1;

        int next = panels - c0 - batch < SF_BATCH ? panels - c0 - batch : SF_BATCH, strips = (end - start) / SF_STRIP, called = 0;
        if (strips < 6) next = 0; /* so few would only wait for them here */
        int halves = batch / PANELS_AT_ONCE * strips >= 4 * next;
        for (int c = 0; c < batch; c += PANELS_AT_ONCE) {
            int here = batch - c < PANELS_AT_ONCE ? batch - c : PANELS_AT_ONCE;
            for (int row = start; row < end; row += SF_STRIP) {
                int gone = 0, seen = here; /* hide() gives the others their -INFINITY */
                while (seen > 0 && !whole(panel + c + seen - 1) && seen_from(panel + c + seen - 1) > t->position + row + SF_STRIP - 1) seen--;
                while (gone < seen && !whole(panel + c + gone) && seen_until(panel + c + gone) < t->position + row) gone++;
                scores(t->q + row * t->dim, t->dim, panel + c + gone, seen - gone, s + row * SCORES + (c + gone) * SF_PANEL, SCORES,
                       piece(panel + batch, next, t->dim, halves, called++));
            }
        }
        for (int row = start; row < end; row += SF_STRIP) {
            float *at = s + row * SCORES;
            for (int r = 0; t->cap != 0 && r < SF_STRIP; r++) cap_scores(at + r * SCORES, batch * SF_PANEL, t->cap);
            for (int c = 0; c < batch; c++)
                if (!whole(panel + c))
                    hide(panel + c, t->position + row, at + c * SF_PANEL, SCORES);
            for (int c = 0; c < batch; c++)
                for (int r = 0; panel[c].bias && r < SF_STRIP; r++)
                    for (int i = 0; i < SF_PANEL; i++) at[r * SCORES + c * SF_PANEL + i] += panel[c].bias[i];
            soften(at, batch, t->most + row, t->sum + row * LANES, factor + row);
        }
        int span[SF_TILE_ROWS / SF_STRIP][SF_BATCH][2];
        for (int row = start; row < end; row += SF_STRIP)
            for (int c = 0; c < batch; c++)
                span_of(panel + c, t->position + row, t->position + row + SF_STRIP - 1, span[row / SF_STRIP][c]);
        for (int d = 0; d < t->padded;) {
            int vecs = values_at_once(t->padded, d);
            for (int row = start; row < end; row += SF_STRIP)
                values_tiles[vecs](panel, (const int(*)[2])span[row / SF_STRIP], batch, s + row * SCORES, factor + row,
                                   t->out + row * t->padded, t->padded, d);
            d += vecs * W;
        }
    }
}

static int attend_end(const sf_query_tile *t, float *out, int64_t stride, float *lse, int64_t lse_stride)
{
    int empty = -1;
    for (int r = 0; r < t->rows; r++) {
        vec lanes[WIDE];
        for (int u = 0; u < WIDE; u++) lanes[u] = load(t->sum + r * LANES + u * W);
        float sum = sum16(lanes);
        bool seen = t->most[r] > -INFINITY;
        if (!seen && empty < 0) empty = r;
        const float *from = t->out + r * t->padded;
        float *to = out + r * stride;
        int d = 0;
        for (; seen && d + W <= t->dim; d += W) store(to + d, load(from + d) / sum);
        for (; seen && d < t->dim; d++) to[d] = from[d] / sum;
        if (!seen) memset(to, 0, (size_t)t->dim * sizeof *to);
        if (lse) lse[r * lse_stride] = seen ? (t->most[r] + log2f(sum)) * (float)M_LN2 : -INFINITY;
    }
    return empty;
}

/* ---- whole rows of probabilities --------------------------------------------------------------------------------- */

static float powers(float *x, int64_t n, float most)
{
    vec total[WIDE];
    for (int u = 0; u < WIDE; u++) total[u] = all(0);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int u = 0; u < WIDE; u++) {
            vec p = exp2v(load(x + i + u * W) - most);
            store(x + i + u * W, p);
            total[u] += p;
        }
    }
    if (i < n) {
        float tail[LANES];
        for (int j = 0; j < LANES; j++) tail[j] = j < n - i ? x[i + j] : -INFINITY;
        for (int u = 0; u < WIDE; u++) {
            vec p = exp2v(load(tail + u * W) - most);
            store(tail + u * W, p);
            total[u] += p;
        }
        memcpy(x + i, tail, (size_t)(n - i) * sizeof *x);
    }
    return sum16(total);
}

static void score(const float *q, int dim, const float *keys, int panels, float *s, int64_t ld, const float *soon, float *most)
{
    for (int c = 0; c < panels; c += SF_BATCH) {
        sf_panel panel[SF_BATCH];
        int batch = 0;
        for (int i = c; i < panels && batch < SF_BATCH; i++)
            panel[batch++] = (sf_panel){.k = keys + (int64_t)i * SF_PANEL * dim};
        scores(q, dim, panel, batch, s + c * SF_PANEL, ld, (coming){c ? NULL : soon, 0});
        for (int r = 0; most && r < SF_STRIP; r++) {
            vec top[WIDE];
            UNROLL for (int u = 0; u < WIDE; u++) top[u] = load(most + r * LANES + u * W);
            for (int i = 0; i < batch; i++)
                UNROLL for (int u = 0; u < WIDE; u++) top[u] = larger(load(s + r * ld + (c + i) * SF_PANEL + u * W), top[u]);
            UNROLL for (int u = 0; u < WIDE; u++) store(most + r * LANES + u * W, top[u]);
        }
    }
}

static float largest(const float *x, int64_t n)
{
    vec most[WIDE];
    UNROLL for (int u = 0; u < WIDE; u++) most[u] = all(-INFINITY);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        UNROLL for (int u = 0; u < WIDE; u++) most[u] = larger(load(x + i + u * W), most[u]);
    float out[W];
    reduce(1, (const vec(*)[WIDE])most, MOST, out);
    for (; i < n; i++) out[0] = x[i] > out[0] ? x[i] : out[0];
    return out[0];
}

static double excess(const float *x, int64_t n, float low, double *first)
{
    double one = 0, two = 0;
    for (int64_t from = 0, end; from < n; from = end) {
        vec sum[WIDE], square[WIDE];
        UNROLL for (int u = 0; u < WIDE; u++) sum[u] = square[u] = all(0);
        end = n - from > 1024 ? from + 1024 : n;
        int64_t i = from;
        for (; i + LANES <= end; i += LANES)
            UNROLL for (int u = 0; u < WIDE; u++)
            {
                vec y = larger(load(x + i + u * W) - low, all(0));
                sum[u] += y, square[u] += y * y;
            }
        one += (double)sum16(sum), two += (double)sum16(square);
        for (; i < end; i++) {
            double y = x[i] > low ? (double)(x[i] - low) : 0;
            one += y, two += y * y;
        }
    }
    *first = one;
    return two;
}

static void softmax(const int32_t *position, int rows, int window, int keys, float *p, int64_t ld, float *share)
{
    for (int r = 0; r < rows; r++) {
        int first = window > 0 && position[r] - window + 1 > 0 ? position[r] - window + 1 : 0, end = position[r] + 1;
        float *row = p + r * ld;
        memset(row, 0, (size_t)first * sizeof *row);
        memset(row + end, 0, (size_t)(keys - end) * sizeof *row);
        share[r] = 1 / powers(row + first, end - first, largest(row + first, end - first));
    }
}

static void tally(const float *p, float share, int64_t n, bool most, float *column, float *diagonal)
{
    int64_t i = 0;
    for (; i + W <= n; i += W) {
        vec x = load(p + i) * share;
        if (most)
            store(column + i, larger(x, load(column + i)));
        else
            store(column + i, load(column + i) + x);
        store(diagonal + i, load(diagonal + i) + x);
    }
    for (; i < n; i++) {
        float x = p[i] * share;
        if (!most)
            column[i] += x;
        else if (x > column[i])
            column[i] = x;
        diagonal[i] += x;
    }
}

/* y[i] += Σ_r share[r] * from[r][i], the rows in their order. */
INLINE void add_rows(const float *const *from, const float *share, int64_t begin, int64_t end, float *y)
{
    int64_t i = begin;
    for (; i + W <= end; i += W) {
        vec sum = load(y + i);
        UNROLL for (int r = 0; r < SF_STRIP; r++) sum += load(from[r] + i) * share[r];
        store(y + i, sum);
    }
    for (; i < end; i++)
        for (int r = 0; r < SF_STRIP; r++) y[i] += from[r][i] * share[r];
}

/* Columns and diagonals take turns in stretches that stay near. What not all rows have comes row by row: the last columns,
 * the first diagonals. */
static void tally_strip(const float *p, int64_t ld, const float *share, int64_t n, int64_t step, float *column, float *diagonal)
{
    enum { STRETCH = 512 };
    const float *row[SF_STRIP], *shifted[SF_STRIP];
    int64_t late = (SF_STRIP - 1) * step; /* by so much the first row's diagonals begin behind the last's */
    for (int r = 0; r < SF_STRIP; r++) {
        row[r] = p + r * ld;
        shifted[r] = row[r] + r * step;
        for (int64_t i = 0; i < r * step; i++) diagonal[late - r * step + i] += row[r][i] * share[r];
    }
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t end = n - at < STRETCH ? n : at + STRETCH;
        add_rows(row, share, at, end, column);
        add_rows(shifted, share, at, end, diagonal + late);
    }
    for (int r = 1; r < SF_STRIP; r++)
        for (int64_t i = n; i < n + r * step; i++) column[i] += row[r][i] * share[r];
}

/* ---- decode: keys as rows ---------------------------------------------------------------------------------------- */

/* Register tiles: keys by heads for scores, heads by vectors for values. */
#if defined __AVX512F__
enum { KEYS_AT_ONCE = 8, HEADS_SCORED = 3, HEADS_WEIGHED = 4, COLUMNS_WEIGHED = 4 };
#elif defined __AVX2__
enum { KEYS_AT_ONCE = 4, HEADS_SCORED = 1, HEADS_WEIGHED = 4, COLUMNS_WEIGHED = 2 };
#else
enum { KEYS_AT_ONCE = 2, HEADS_SCORED = 1, HEADS_WEIGHED = 2, COLUMNS_WEIGHED = 4 };
#endif
_Static_assert(KEYS_AT_ONCE <= 8, "SF_PACKED_ROOM");

/* x[h * ld + i] = <q[h], key[i]> for KEYS_AT_ONCE keys and `heads` heads; `whole` is a multiple of 16. soon: rows that
 * are wanted next, called line by line as work goes on: all at once they would wait for each other, and the work for
 * them. */
INLINE void dots_of(int heads, const float *q, int64_t ldq, int whole, const float *const *key,
                    const float *const *soon, float *x, int64_t ld)
{
    vec acc[HEADS_SCORED][KEYS_AT_ONCE][WIDE];
    const float *k[KEYS_AT_ONCE];
    UNROLL for (int i = 0; i < KEYS_AT_ONCE; i++) k[i] = key[i];
    UNROLL for (int h = 0; h < heads; h++) UNROLL for (int i = 0; i < KEYS_AT_ONCE; i++)
        UNROLL for (int u = 0; u < WIDE; u++) acc[h][i][u] = all(0);
    for (int d = 0; d < whole; d += LANES) {
        for (int i = 0; soon && i < KEYS_AT_ONCE; i++) __builtin_prefetch(soon[i] + d, 0, 2);
        UNROLL for (int u = 0; u < WIDE; u++)
        {
            vec a[HEADS_SCORED];
            UNROLL for (int h = 0; h < heads; h++) a[h] = load(q + h * ldq + d + u * W);
            UNROLL for (int i = 0; i < KEYS_AT_ONCE; i++)
            {
                vec b = load(k[i] + d + u * W);
                UNROLL for (int h = 0; h < heads; h++) acc[h][i][u] += a[h] * b;
            }
        }
    }
    float sum[HEADS_SCORED * KEYS_AT_ONCE + LANES];
    const int n = heads * KEYS_AT_ONCE; /* below 32 */
    if (n & 16) reduce(16, acc[0], SUM, sum);
    if (n & 15) reduce(n & 15, acc[0] + (n & 16), SUM, sum + (n & 16));
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < KEYS_AT_ONCE; i++) x[h * ld + i] = sum[h * KEYS_AT_ONCE + i];
}

/* Each number of heads is a function of its own, and each again for rows that are called. */
typedef void dots_tile(const float *q, int64_t ldq, int whole, const float *const *key, const float *const *soon,
                       float *x, int64_t ld);
#define DOTS_(count)                                                                                                   \
    NOINLINE void dots##count(const float *q, int64_t ldq, int whole, const float *const *key,                         \
                              const float *const *soon, float *x, int64_t ld)                                          \
    {                                                                                                                  \
        (void)soon;                                                                                                    \
        dots_of(count, q, ldq, whole, key, NULL, x, ld);                                                               \
    }                                                                                                                  \
    NOINLINE void dots##count##_calling(const float *q, int64_t ldq, int whole, const float *const *key,               \
                                        const float *const *soon, float *x, int64_t ld)                                \
    {                                                                                                                  \
        dots_of(count, q, ldq, whole, key, soon, x, ld);                                                               \
    }
DOTS_(1)
#if defined __AVX512F__
DOTS_(2)
DOTS_(3)
#endif
#undef DOTS_

static dots_tile *const dots_tiles[2][HEADS_SCORED + 1] = {
#if defined __AVX512F__
    {NULL, dots1, dots2, dots3},
    {NULL, dots1_calling, dots2_calling, dots3_calling},
#else
    {NULL, dots1},
    {NULL, dots1_calling},
#endif
};

/* x[h, i] = <q[h], key[i]>, any number of heads and keys. Rows of x have room for n rounded up to KEYS_AT_ONCE. soon:
 * NULL, or as many rows that are wanted next. packed: whose keys are NULL, or NULL; `calls` for their values. */
static void dots_then(const float *q, int heads, int dim, const float *const *key, int n, const float *const *soon,
                      const sf_packed_rows *packed, bool calls_values, float *x, int64_t ld)
{
    int padded = (dim + LANES - 1) / LANES * LANES;
    float copy[KEYS_AT_ONCE][padded]; /* keys whose last lanes are not theirs */
    for (int i = 0; i < n; i += KEYS_AT_ONCE) {
        const float *k[KEYS_AT_ONCE];
        for (int j = 0; j < KEYS_AT_ONCE; j++) {
            const int at = i + j < n ? i + j : n - 1;
            k[j] = key[at];
            if (!k[j]) {
                if (calls_values && i + j < n) call_packed(packed, packed->v, packed->v_scales, packed->row[at]);
                unpack_padded(packed, packed->k, packed->k_scales, packed->row[at], dim, packed->room + j * padded);
                k[j] = packed->room + j * padded;
                continue;
            }
            if (padded == dim) continue;
            memcpy(copy[j], k[j], (size_t)dim * sizeof(float));
            memset(copy[j] + dim, 0, (size_t)(padded - dim) * sizeof(float));
            k[j] = copy[j];
        }
        bool calls = soon && i + KEYS_AT_ONCE <= n; /* with the first heads */
        for (int h = 0; h < heads; h += HEADS_SCORED, calls = false)
            dots_tiles[calls][heads - h < HEADS_SCORED ? heads - h : HEADS_SCORED](
                q + h * padded, padded, padded, k, calls ? soon + i : NULL, x + h * ld + i, ld);
    }
}

static void dots(const float *q, int heads, int dim, const float *const *key, int n, float *x, int64_t ld)
{
    dots_then(q, heads, dim, key, n, NULL, NULL, false, x, ld);
}

/* out[h] = out[h] * factor[h] + sum over keys of p[h, key] * value[key], `vecs` vectors from column d on; both numbers
 * are constants where this is inlined. */
INLINE void weigh_of(int heads, int vecs, const float *p, const float *factor, const float *const *value,
                     const float *const *soon, int n, float *out, int padded, int d)
{
    vec acc[HEADS_WEIGHED][COLUMNS_WEIGHED];
    UNROLL for (int h = 0; h < heads; h++) UNROLL for (int u = 0; u < vecs; u++) acc[h][u] = all(0);
    for (int i = 0; i < n; i++) {
        const float *v = value[i] + d;
        for (int u = 0; soon && u < vecs * W; u += 16) __builtin_prefetch(soon[i] + d + u, 0, 2);
        vec b[COLUMNS_WEIGHED];
        UNROLL for (int u = 0; u < vecs; u++) b[u] = load(v + u * W);
        UNROLL for (int h = 0; h < heads; h++)
        {
            vec a = all(p[h * SF_STEP + i]);
            UNROLL for (int u = 0; u < vecs; u++) acc[h][u] += a * b[u];
        }
    }
    UNROLL for (int h = 0; h < heads; h++)
    {
        UNROLL for (int u = 0; u < vecs; u++)
        {
            float *to = out + h * padded + d + u * W;
            store(to, load(to) * factor[h] + acc[h][u]);
        }
    }
}

typedef void weigh_tile(const float *p, const float *factor, const float *const *value, const float *const *soon, int n,
                        float *out, int padded, int d);
#define WEIGH_(count)                                                                                                  \
    NOINLINE void weigh##count(const float *p, const float *factor, const float *const *value,                         \
                               const float *const *soon, int n, float *out, int padded, int d)                         \
    {                                                                                                                  \
        (void)soon;                                                                                                    \
        weigh_of(count, COLUMNS_WEIGHED, p, factor, value, NULL, n, out, padded, d);                                   \
    }                                                                                                                  \
    NOINLINE void weigh##count##_calling(const float *p, const float *factor, const float *const *value,               \
                                         const float *const *soon, int n, float *out, int padded, int d)               \
    {                                                                                                                  \
        weigh_of(count, COLUMNS_WEIGHED, p, factor, value, soon, n, out, padded, d);                                   \
    }
WEIGH_(1)
WEIGH_(2)
#if defined __AVX2__
WEIGH_(3)
WEIGH_(4)
#endif
#undef WEIGH_

static weigh_tile *const weigh_tiles[2][HEADS_WEIGHED + 1] = {
#if defined __AVX2__
    {NULL, weigh1, weigh2, weigh3, weigh4},
    {NULL, weigh1_calling, weigh2_calling, weigh3_calling, weigh4_calling},
#else
    {NULL, weigh1, weigh2},
    {NULL, weigh1_calling, weigh2_calling},
#endif
};

NOINLINE void weigh_vector(const float *p, const float *factor, const float *const *value, int n, float *out,
                           int padded, int d)
{
    weigh_of(1, 1, p, factor, value, NULL, n, out, padded, d);
}

/* soon: [n] rows that are wanted next, or NULL. */
static void weigh(int heads, const float *p, const float *factor, const float *const *value, const float *const *soon,
                  int n, float *out, int padded)
{
    int d = 0;
    for (; d + COLUMNS_WEIGHED * W <= padded; d += COLUMNS_WEIGHED * W)
        for (int h = 0; h < heads; h += HEADS_WEIGHED)
            weigh_tiles[soon && h == 0][heads - h < HEADS_WEIGHED ? heads - h : HEADS_WEIGHED](
                p + h * SF_STEP, factor + h, value, soon, n, out + h * padded, padded, d);
    for (; d < padded; d += W)
        for (int h = 0; h < heads; h++) weigh_vector(p + h * SF_STEP, factor + h, value, n, out + h * padded, padded, d);
}

static void decode(sf_decode_tile *t, const float *const *key, const float *const *value, int n, int ahead)
{
    enum { HEADS = 8 };
    _Alignas(64) float s[HEADS * SF_STEP], factor[HEADS + LANES] = {0};
    float copy[t->padded == t->dim ? 1 : n][t->padded]; /* values whose last lanes are not theirs */
    const float *values[SF_STEP],
        *soon[SF_STEP]; /* values come while keys are at work, the next keys while values are */
    for (int i = 0; i < n; i++) {
        values[i] = value[i];
        soon[i] = key[i < ahead ? n + i : n - 1];
        if (t->padded == t->dim || !value[i]) continue;
        memcpy(copy[i], value[i], (size_t)t->dim * sizeof(float));
        memset(copy[i] + t->dim, 0, (size_t)(t->padded - t->dim) * sizeof(float));
        values[i] = copy[i];
    }
    for (int h0 = 0; h0 < t->group; h0 += HEADS) {
        int heads = t->group - h0 < HEADS ? t->group - h0 : HEADS;
        dots_then(t->q + h0 * t->padded, heads, t->dim, key, n, h0 || t->packed ? NULL : value, t->packed, h0 == 0, s, SF_STEP);
        for (int h = 0; h < heads; h++) cap_scores(s + h * SF_STEP, n, t->cap);
        for (int h = 0; t->bias && h < heads; h++)
            for (int i = 0; i < n; i++) s[h * SF_STEP + i] += t->bias[(h0 + h) * t->bias_stride + i];
        for (int h = 0; h < heads; h++) {
            float old = t->most[h0 + h], here = largest(s + h * SF_STEP, n), now = here > old ? here : old;
            factor[h] = old - now;
            t->most[h0 + h] = now;
        }
        for (int h = 0; h < heads; h += W) store(factor + h, exp2v(load(factor + h)));
        for (int h = 0; h < heads; h++) {
            float sum = powers(s + h * SF_STEP, n, t->most[h0 + h]);
            t->sum[h0 + h] = t->sum[h0 + h] * factor[h] + sum;
        }
        for (int i = 0; t->packed && h0 == 0 && i < n; i++) {
            if (i < ahead && !soon[i]) call_packed(t->packed, t->packed->k, t->packed->k_scales, t->packed->row[n + i]);
            if (value[i]) continue;
            float *own = t->packed->room + (KEYS_AT_ONCE + i) * t->padded;
            unpack_padded(t->packed, t->packed->v, t->packed->v_scales, t->packed->row[i], t->dim, own);
            values[i] = own;
        }
        weigh(heads, s, factor, values, h0 || t->packed ? NULL : soon, n, t->out + h0 * t->padded, t->padded);
    }
}

static float bound(const float *q, int group, int dim, const float *low, const float *high)
{
    vec acc[WIDE];
    float rest = 0;
    for (int u = 0; u < WIDE; u++) acc[u] = all(0);
    for (int h = 0; h < group; h++, q += dim) {
        int d = 0;
        for (; d + LANES <= dim; d += LANES) {
            for (int u = 0; u < WIDE; u++) {
                vec x = load(q + d + u * W);
                acc[u] += larger(x * load(low + d + u * W), x * load(high + d + u * W));
            }
        }
        for (; d < dim; d++) rest += q[d] * low[d] > q[d] * high[d] ? q[d] * low[d] : q[d] * high[d];
    }
    return sum16(acc) + rest;
}

static int64_t count_bits(const uint64_t *x, const uint64_t *y, int64_t words)
{
    int64_t bits = 0;
    for (int64_t i = 0; i < words; i++) bits += __builtin_popcountll(x[i] | y[i]);
    return bits;
}
