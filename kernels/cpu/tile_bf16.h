/* Tiles of products of bf16 that add up in fp32: attention of many rows, and linear layers. AMX-BF16 multiplies them; where the
 * compiler has no such instructions, loops do, which any machine can be tested by.
 *
 * A product of tiles adds to 16 × 16 sums what 16 rows of 32 numbers (A) and 16 columns of 32 (B) make; B lies in pairs:
 *
 *     A  [16 rows, 32]      B  [32 / 2, 16 columns, 2]      C  [16 rows, 16 columns] of fp32
 *
 *     queries     [row tiles, D/32, 16, 32]                              keys of a panel    [D/2, 16, 2]
 *     weights that softmax gives, in place of their scores [rows, keys]    values of a panel  [8, D, 2]
 *     rows of x   [row tiles, in/32, 16, 32]                               16 rows of W       [in/2, 16, 2], for one span
 *
 * Values of two panels that lie one behind the other are one B of 32 keys; others are copied together first. Queries, keys, values,
 * x and W are rounded to bf16, and so are the weights between attention's two products; sums, maxima and what joins parts are fp32.
 * Head dims that 32 does not divide keep the fp32 tiles.
 *
 * The order of every sum is the instruction's: of each 32 products the even ones and the odd ones apart, in order, their two sums
 * added, and that to C. The loops keep to it, so that products have the same bits (numbers below 2^-126 aside, which AMX takes for
 * 0); softmax between them differs by the contraction of multiply and add. A row's result does not depend on which rows share its tile.
 *
 * Test: build/tests/test_backends cpu-bf16; test_bf16 holds one against the other where there is AMX. */

enum { DEPTH = 32, PAIRS = 16, TILE = 16, TILE_HALVES = TILE * DEPTH };

#if defined __AMX_BF16__ || defined __AMXBF16__ /* so clang before 16 */
/* GCC 12's intrinsics do not say that a load reads memory, nor that a configuration is more than 8 bytes of it. */
#define TILES_BEGIN()                                                                                                  \
    static const struct {                                                                                              \
        uint8_t palette, start, zero[14];                                                                              \
        uint16_t bytes[16];                                                                                            \
        uint8_t rows[16];                                                                                              \
    } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};                          \
    _tile_loadconfig(&shape)
#define TILES_END()                 _tile_release()
#define TILES_USED()                __asm__ volatile("" ::: "memory")
#define TILE_ZERO(t)                _tile_zero(t)
#define TILE_LOAD(t, at, stride)    _tile_loadd(t, at, stride)
#define TILE_STORE(t, at, stride)   _tile_stored(t, at, stride)
#define TILE_PRODUCT(c, a, b)       _tile_dpbf16ps(c, a, b)
#else
typedef struct tile {
    uint32_t row[TILE][PAIRS];
} tile;
#define TILES_BEGIN()               ((void)0)
#define TILES_END()                 ((void)0)
#define TILES_USED()                tile tmm[8]
#define TILE_ZERO(t)                memset(&tmm[t], 0, sizeof tmm[t])
#define TILE_LOAD(t, at, stride)    tile_load(&tmm[t], at, stride)
#define TILE_STORE(t, at, stride)   tile_store(&tmm[t], at, stride)
#define TILE_PRODUCT(c, a, b)       tile_product(&tmm[c], &tmm[a], &tmm[b])

INLINE void tile_load(tile *t, const void *at, int64_t stride)
{
    for (int i = 0; i < TILE; i++) memcpy(t->row[i], (const char *)at + i * stride, sizeof t->row[i]);
}

INLINE void tile_store(const tile *t, void *at, int64_t stride)
{
    for (int i = 0; i < TILE; i++) memcpy((char *)at + i * stride, t->row[i], sizeof t->row[i]);
}

NOINLINE void tile_product(tile *c, const tile *a, const tile *b)
{
    float even[PAIRS][TILE], odd[PAIRS][TILE], sum[TILE];
    for (int k = 0; k < PAIRS; k++)
        for (int n = 0; n < TILE; n++) {
            uint32_t low = b->row[k][n] << 16, high = b->row[k][n] & 0xffff0000u;
            memcpy(&even[k][n], &low, sizeof low);
            memcpy(&odd[k][n], &high, sizeof high);
        }
    for (int m = 0; m < TILE; m++) {
        float evens[TILE] = {0}, odds[TILE] = {0};
        for (int k = 0; k < PAIRS; k++) {
            uint32_t low = a->row[m][k] << 16, high = a->row[m][k] & 0xffff0000u;
            float x, y;
            memcpy(&x, &low, sizeof x);
            memcpy(&y, &high, sizeof y);
            for (int n = 0; n < TILE; n++) evens[n] += x * even[k][n], odds[n] += y * odd[k][n]; /* products are exact */
        }
        memcpy(sum, c->row[m], sizeof sum);
        for (int n = 0; n < TILE; n++) sum[n] += evens[n] + odds[n];
        memcpy(c->row[m], sum, sizeof sum);
    }
}
#endif

/* to[i] = the bf16 nearest to from[i], of two the even one. */
INLINE uint16_t rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

INLINE void round32(const float *from, uint16_t *to)
{
#if defined __AVX512BF16__
    __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from));
    memcpy(to, &both, sizeof both);
#else
    for (int i = 0; i < DEPTH; i++) to[i] = rounded(from[i]);
#endif
}

static void round_row(const float *from, int64_t n, uint16_t *to) /* then zeros, up to a whole DEPTH */
{
    int64_t i = 0;
    for (; i + DEPTH <= n; i += DEPTH) round32(from + i, to + i);
    if (i == n) return;
    for (int64_t end = i + DEPTH; i < end; i++) to[i] = i < n ? rounded(from[i]) : 0;
}

/* to[j, i] = from[i, j] of 16 by 16 pairs; rows of `from` lie ld pairs apart. */
INLINE void turn_pairs(const uint16_t *from, int64_t ld, uint16_t *to)
{
#if defined __AVX512F__
    vec x[TILE];
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int i = 0; i < TILE; i++) memcpy(&x[i], from + 2 * i * ld, sizeof x[i]);
    UNROLL for (int s = 8; s > 0; s /= 2)
    {
        const ivec upper = (lane & s) != 0;
        UNROLL for (int i = 0; i < TILE; i++)
        {
            if (i & s) continue;
            vec a = x[i], b = x[i + s];
            x[i] = shuffled(a, b, lane + (upper & (16 - s)));
            x[i + s] = shuffled(a, b, lane + s + (upper & (16 - s)));
        }
    }
    for (int i = 0; i < TILE; i++) memcpy(to + 2 * i * TILE, &x[i], sizeof x[i]);
#else
    for (int j = 0; j < TILE; j++)
        for (int i = 0; i < TILE; i++) memcpy(to + 2 * (j * TILE + i), from + 2 * (i * ld + j), 2 * sizeof *to);
#endif
}

/* ---- attention ---------------------------------------------------------------------------------------------------- */

enum { WAVE = 8, WAVE_LD = WAVE * SF_PANEL + 16, ROWS_AT_ONCE = 2 * TILE }; /* panels between two updates of the maximum; floats */

static int halves(int dim) { return dim % DEPTH == 0; }

static void panel_keys(const float *const *key, int dim, float *out)
{
    if (!halves(dim)) {
        pack_keys(key, dim, out);
        return;
    }
    uint16_t row[SF_PANEL][DEPTH], *to = (uint16_t *)(void *)out;
    for (int d = 0; d < dim; d += DEPTH, to += TILE_HALVES) {
        for (int i = 0; i < SF_PANEL; i++) {
            memset(row[i], 0, sizeof row[i]);
            if (key[i]) round32(key[i] + d, row[i]);
        }
        turn_pairs(row[0], PAIRS, to);
    }
}

static void panel_values(const float *const *value, int dim, float *out)
{
    if (!halves(dim)) {
        pack_values(value, dim, out);
        return;
    }
    uint16_t *to = (uint16_t *)(void *)out;
    for (int i = 0; i < SF_PANEL; i += 2, to += 2 * dim) {
        const float *first = value[i], *second = value[i + 1];
        for (int d = 0; d < dim; d++) {
            to[2 * d] = first ? rounded(first[d]) : 0;
            to[2 * d + 1] = second ? rounded(second[d]) : 0;
        }
    }
}

static int row_tiles(const sf_query_tile *t) { return (t->rows + TILE - 1) / TILE; }

static void load_queries_bf16(sf_query_tile *t, const float *q, int64_t stride, float scale)
{
    if (!halves(t->dim)) {
        load_queries(t, q, stride, scale);
        return;
    }
    uint16_t *to = (uint16_t *)(void *)t->q;
    t->scale = scale * 1.4426950408889634f; /* of scores: queries are rounded as they are */
    for (int row = 0; row < row_tiles(t) * TILE; row++) {
        const float *from = q + (row < t->rows ? row : t->rows - 1) * stride;
        for (int d = 0; d < t->dim; d += DEPTH)
            round32(from + d, to + (int64_t)row / TILE * TILE * t->dim + d * TILE + row % TILE * DEPTH);
    }
}

static void attend_begin_bf16(sf_query_tile *t, const float *q, int64_t stride, float scale)
{
    if (!halves(t->dim)) {
        attend_begin(t, q, stride, scale);
        return;
    }
    load_queries_bf16(t, q, stride, scale);
    size_t rows = (size_t)row_tiles(t) * TILE;
    for (size_t r = 0; r < rows; r++) t->most[r] = -INFINITY;
    memset(t->sum, 0, rows * LANES * sizeof *t->sum);
    memset(t->out, 0, rows * (size_t)t->padded * sizeof *t->out);
}

/* s[r, key] = <q[r], key> for one or two row tiles and two panels. */
INLINE void scores_bf16(bool two, const uint16_t *q, int dim, const float *first, const float *second, float *s)
{
    const uint16_t *k = (const void *)first, *l = (const void *)second, *more = q + TILE * dim;
    TILES_USED();
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int d = 0; d < dim; d += DEPTH, q += TILE_HALVES, more += TILE_HALVES, k += TILE_HALVES, l += TILE_HALVES) {
        TILE_LOAD(4, q, 64);
        TILE_LOAD(6, k, 64);
        TILE_PRODUCT(0, 4, 6);
        TILE_LOAD(7, l, 64);
        TILE_PRODUCT(1, 4, 7);
        if (!two) continue;
        TILE_LOAD(5, more, 64);
        TILE_PRODUCT(2, 5, 6);
        TILE_PRODUCT(3, 5, 7);
    }
    TILE_STORE(0, s, WAVE_LD * 4);
    TILE_STORE(1, s + SF_PANEL, WAVE_LD * 4);
    if (!two) return;
    TILE_STORE(2, s + TILE * WAVE_LD, WAVE_LD * 4);
    TILE_STORE(3, s + TILE * WAVE_LD + SF_PANEL, WAVE_LD * 4);
}

/* out[r] += sum over keys of p[r, key] * v[key] for one or two row tiles, the pairs of panels [begin, end), and 32 columns. */
INLINE void values_bf16(bool two, const float *p, const uint16_t *const *v, int begin, int end, int d, float *out, int padded)
{
    const int64_t ld = padded * 4;
    const uint16_t *a = (const void *)p, *more = (const void *)(p + TILE * WAVE_LD);
    out += d;
    TILES_USED();
    TILE_LOAD(0, out, ld);
    TILE_LOAD(1, out + TILE, ld);
    if (two) {
        TILE_LOAD(2, out + TILE * padded, ld);
        TILE_LOAD(3, out + TILE * padded + TILE, ld);
    }
    for (int j = begin; j < end; j++) {
        TILE_LOAD(4, a + j * DEPTH, WAVE_LD * 4);
        TILE_LOAD(6, v[j] + 2 * d, ld);
        TILE_PRODUCT(0, 4, 6);
        TILE_LOAD(7, v[j] + 2 * (d + TILE), ld);
        TILE_PRODUCT(1, 4, 7);
        if (!two) continue;
        TILE_LOAD(5, more + j * DEPTH, WAVE_LD * 4);
        TILE_PRODUCT(2, 5, 6);
        TILE_PRODUCT(3, 5, 7);
    }
    TILE_STORE(0, out, ld);
    TILE_STORE(1, out + TILE, ld);
    if (!two) return;
    TILE_STORE(2, out + TILE * padded, ld);
    TILE_STORE(3, out + TILE * padded + TILE, ld);
}

/* 2^x as exp2v(), within 1.1e-4 of it: weights are rounded to 8 bits. */
INLINE vec exp2_roughly(vec x)
{
    const float round = 0x1.8p23f + 127;
    x = larger(x, all(-127));
    vec shifted = x + round, f = x - (shifted - round);
    vec p = all(0x1.c2a217392941fp-5f);
    p = p * f + 0x1.f00c4d3867942p-3f;
    p = p * f + 0x1.62f5fad9308fdp-1f;
    p = p * f + 1;
    return p * (vec)((uvec)shifted << 23);
}

/* Scores of a tile's rows for panels [begin, end), both even, become weights in bf16, each row's at its front; what came before,
 * sums and weighted values, is taken to the new maximum. */
NOINLINE void soften_bf16(float *s, float scale, int begin, int end, float *running, float *sums, float *out, int padded)
{
    vec most[TILE][WIDE];
    for (int r = 0; r < TILE; r++) {
        const float *row = s + r * WAVE_LD;
        vec x[2 * WIDE];
        UNROLL for (int u = 0; u < 2 * WIDE; u++) x[u] = load(row + begin * SF_PANEL + u * W);
        for (int c = begin + 2; c < end; c += 2)
            UNROLL for (int u = 0; u < 2 * WIDE; u++) x[u] = larger(load(row + c * SF_PANEL + u * W), x[u]);
        UNROLL for (int u = 0; u < WIDE; u++) most[r][u] = larger(x[u], x[WIDE + u]);
    }
    _Alignas(64) float now[LANES], shift[LANES], factor[LANES];
    reduce(TILE, (const vec(*)[WIDE])most, MOST, now);
    for (int r = 0; r < TILE; r += W) {
        vec old = load(running + r), top = larger(load(now + r) * scale, old);
        ivec seen = top > all(-INFINITY); /* or -INFINITY - shift would be NaN */
        vec by = (vec)(seen & (ivec)top);
        store(running + r, top);
        store(shift + r, by);
        store(factor + r, exp2v(old - by));
    }
    for (int r = 0; r < TILE; r++) {
        float *row = s + r * WAVE_LD;
        uint16_t *p = (uint16_t *)(void *)row;
        vec total[WIDE];
        for (int u = 0; u < WIDE; u++) total[u] = load(sums + r * LANES + u * W) * factor[r];
        for (int c = begin; c < end; c += 2) {
            vec x[2 * WIDE]; /* all of them, before one is written over */
            UNROLL for (int u = 0; u < 2 * WIDE; u++) x[u] = exp2_roughly(load(row + c * SF_PANEL + u * W) * scale - shift[r]);
            UNROLL for (int u = 0; u < WIDE; u++) total[u] += x[u];
            UNROLL for (int u = 0; u < WIDE; u++) total[u] += x[WIDE + u];
#if defined __AVX512BF16__
            __m512bh both = _mm512_cvtne2ps_pbh((__m512)x[1], (__m512)x[0]);
            memcpy(p + c * SF_PANEL, &both, sizeof both);
#else
            float both[2 * LANES];
            UNROLL for (int u = 0; u < 2 * WIDE; u++) store(both + u * W, x[u]);
            round32(both, p + c * SF_PANEL);
#endif
        }
        for (int u = 0; u < WIDE; u++) store(sums + r * LANES + u * W, total[u]);
        if (factor[r] == 1) continue;
        float *to = out + r * padded;
        for (int d = 0; d < padded; d += W) store(to + d, load(to + d) * factor[r]);
    }
}

NOINLINE void scores_of_two(const uint16_t *q, int dim, const float *first, const float *second, float *s)
{
    scores_bf16(true, q, dim, first, second, s);
}
NOINLINE void scores_of_one(const uint16_t *q, int dim, const float *first, const float *second, float *s)
{
    scores_bf16(false, q, dim, first, second, s);
}
NOINLINE void values_of_two(const float *p, const uint16_t *const *v, int begin, int end, float *out, int padded)
{
    for (int d = 0; d < padded; d += DEPTH) values_bf16(true, p, v, begin, end, d, out, padded);
}
NOINLINE void values_of_one(const float *p, const uint16_t *const *v, int begin, int end, float *out, int padded)
{
    for (int d = 0; d < padded; d += DEPTH) values_bf16(false, p, v, begin, end, d, out, padded);
}

/* Where the values of each pair of panels lie, [16, padded, 2]; `copy`, room for all, of those that do not lie so. */
static void pair_values(const sf_panel *panel, int panels, int padded, const uint16_t **pair, uint16_t *copy)
{
    const size_t half = (size_t)SF_PANEL * (size_t)padded * sizeof *copy;
    for (int c = 0; c < panels; c += 2, copy += 2 * SF_PANEL * padded) {
        pair[c / 2] = (const void *)panel[c].v;
        if (c + 1 < panels && (const char *)panel[c + 1].v == (const char *)panel[c].v + half) continue;
        memcpy(copy, panel[c].v, half);
        memset(copy + SF_PANEL * padded, 0, half);
        if (c + 1 < panels) memcpy(copy + SF_PANEL * padded, panel[c + 1].v, half);
        pair[c / 2] = copy;
    }
}

/* A tile's scores, as they were multiplied, of panels [begin, end), of which the last may stand for none. Returns what they are yet
 * to be multiplied by. */
static float see(const sf_query_tile *t, const sf_panel *panel, int panels, int begin, int end, int row, float *s)
{
    bool bias = false;
    for (int c = begin; c < end && c < panels; c++) bias |= panel[c].bias != NULL;
    for (int r = 0; (bias || t->cap != 0) && r < TILE; r++) {
        float *from = s + r * WAVE_LD + begin * SF_PANEL;
        int n = (end - begin) * SF_PANEL;
        for (int i = 0; i < n; i++) from[i] *= t->scale;
        cap_scores(from, n, t->cap);
    }
    for (int c = begin; c < end; c++) {
        if (c == panels) {
            for (int r = 0; r < TILE; r++)
                for (int i = 0; i < SF_PANEL; i++) s[r * WAVE_LD + c * SF_PANEL + i] = -INFINITY;
            continue;
        }
        for (int r = 0; (panel[c].edge || panel[c].lanes != UINT16_MAX) && r < TILE; r += SF_STRIP)
            hide(panel + c, t->position + row + r, s + r * WAVE_LD + c * SF_PANEL, WAVE_LD);
        for (int r = 0; panel[c].bias && r < TILE; r++)
            for (int i = 0; i < SF_PANEL; i++) s[r * WAVE_LD + c * SF_PANEL + i] += panel[c].bias[i];
    }
    return bias || t->cap != 0 ? 1 : t->scale;
}

static void attend_bf16(sf_query_tile *t, const sf_panel *panel, int panels)
{
    if (!halves(t->dim)) {
        attend(t, panel, panels);
        return;
    }
    _Alignas(64) float s[ROWS_AT_ONCE * WAVE_LD];
    uint16_t copy[WAVE * SF_PANEL * t->padded];
    const uint16_t *q = (const void *)t->q, *pair[WAVE / 2];
    TILES_BEGIN();
    for (int c0 = 0; c0 < panels; c0 += WAVE, panel += WAVE) {
        int batch = panels - c0 < WAVE ? panels - c0 : WAVE;
        bool paired = false;
        for (int row = 0; row < t->rows; row += ROWS_AT_ONCE) {
            int last = (row + ROWS_AT_ONCE < t->rows ? row + ROWS_AT_ONCE : t->rows) - 1, begin = 0, end = batch;
            bool two = last >= row + TILE;
            while (end > 0 && seen_from(panel + end - 1) > t->position + last) end--;
            while (begin < end && seen_until(panel + begin) < t->position + row) begin++;
            if (begin == end) continue; /* these rows see none of it */
            begin = begin / 2 * 2, end = (end + 1) / 2 * 2;
            if (!paired) pair_values(panel, batch, t->padded, pair, copy), paired = true;
            for (int c = begin; c < end; c += 2)
                (two ? scores_of_two : scores_of_one)(q + row * t->dim, t->dim, panel[c].k, panel[c + 1 < batch ? c + 1 : c].k,
                                                      s + c * SF_PANEL);
            for (int r = 0; r < (two ? ROWS_AT_ONCE : TILE); r += TILE) {
                float scale = see(t, panel, batch, begin, end, row + r, s + r * WAVE_LD);
                soften_bf16(s + r * WAVE_LD, scale, begin, end, t->most + row + r, t->sum + (row + r) * LANES, t->out + (row + r) * t->padded,
                            t->padded);
            }
            (two ? values_of_two : values_of_one)(s, pair, begin / 2, end / 2, t->out + row * t->padded, t->padded);
        }
    }
    TILES_END();
}

/* ---- linear layers ------------------------------------------------------------------------------------------------ */

/* Inputs summed at a time, and widened at a time; sums of one span are added to those before. */
enum { SPAN_BF16 = 2048, PIECE = 512 };
_Static_assert(SF_LINEAR_ROOM * sizeof(float) >= SF_LINEAR_OUTS * SPAN_BF16 * sizeof(uint16_t), "room for the weights of a span");

static int64_t depths(int64_t in) { return (in + DEPTH - 1) / DEPTH; }

static void pack_rows_bf16(const float *x, int64_t rows, int64_t in, int64_t first, int64_t count, float *packed)
{
    (void)rows;
    for (int64_t r = first; r < (first + count + TILE - 1) / TILE * TILE; r++) {
        uint16_t *to = (uint16_t *)(void *)packed + r / TILE * TILE * depths(in) * DEPTH + r % TILE * DEPTH;
        for (int64_t i = 0; i < in; i += DEPTH, to += TILE_HALVES) {
            memset(to, 0, DEPTH * sizeof *to);
            if (r < first + count) round_row(x + r * in + i, in - i < DEPTH ? in - i : DEPTH, to);
        }
    }
}

/* n inputs of up to 16 outputs, the last of which fills up. */
static void pack_weights(sf_dtype dtype, const char *w, size_t row_bytes, int64_t first, int64_t n, int outs, uint16_t *to)
{
    _Alignas(64) uint16_t rows[TILE][PIECE];
    float wide[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t here = n - i < PIECE ? n - i : PIECE;
        for (int o = 0; o < TILE; o++) {
            if (o >= outs) {
                memcpy(rows[o], rows[outs - 1], sizeof rows[o]);
                continue;
            }
            const char *from = w + (size_t)o * row_bytes + sf_bytes(dtype, first + i);
            if (dtype == SF_BF16) {
                memcpy(rows[o], from, (size_t)here * sizeof **rows);
                memset(rows[o] + here, 0, (size_t)(depths(here) * DEPTH - here) * sizeof **rows);
            } else {
                widen(dtype, from, wide, here);
                round_row(wide, here, rows[o]);
            }
        }
        for (int64_t d = 0; d < here; d += DEPTH, to += TILE_HALVES) turn_pairs(rows[0] + d, PIECE / 2, to);
    }
}

/* c [32, 32] = one or two row tiles of x, by one or two tiles of outputs, which lie `apart` numbers apart. */
INLINE void sums_bf16(bool two, bool wide, const uint16_t *x, int64_t x_apart, const uint16_t *w, int64_t w_apart, int64_t steps, float *c)
{
    const uint16_t *y = x + x_apart, *v = w + w_apart;
    TILES_USED();
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int64_t s = 0; s < steps; s++, x += TILE_HALVES, y += TILE_HALVES, w += TILE_HALVES, v += TILE_HALVES) {
        TILE_LOAD(4, x, 64);
        TILE_LOAD(6, w, 64);
        TILE_PRODUCT(0, 4, 6);
        if (wide) {
            TILE_LOAD(7, v, 64);
            TILE_PRODUCT(1, 4, 7);
        }
        if (two) {
            TILE_LOAD(5, y, 64);
            TILE_PRODUCT(2, 5, 6);
            if (wide) TILE_PRODUCT(3, 5, 7);
        }
    }
    TILE_STORE(0, c, 128);
    TILE_STORE(1, c + TILE, 128);
    TILE_STORE(2, c + TILE * 32, 128);
    TILE_STORE(3, c + TILE * 32 + TILE, 128);
}

typedef void sums_tile(const uint16_t *x, int64_t x_apart, const uint16_t *w, int64_t w_apart, int64_t steps, float *c);
#define SUMS_(name, two, wide)                                                                                         \
    NOINLINE void name(const uint16_t *x, int64_t x_apart, const uint16_t *w, int64_t w_apart, int64_t steps, float *c) \
    {                                                                                                                  \
        sums_bf16(two, wide, x, x_apart, w, w_apart, steps, c);                                                        \
    }
SUMS_(sums_one_one, false, false)
SUMS_(sums_one_two, false, true)
SUMS_(sums_two_one, true, false)
SUMS_(sums_two_two, true, true)
#undef SUMS_
static sums_tile *const sums_tiles[2][2] = {{sums_one_one, sums_one_two}, {sums_two_one, sums_two_two}};

static void linear_bf16(const sf_linear *l, int64_t first, int64_t rows, int64_t out, int outs, float *room)
{
    const int64_t whole = depths(l->in) * TILE_HALVES; /* of 16 rows of x */
    const uint16_t *packed = (const uint16_t *)(const void *)l->packed + first / TILE * whole;
    uint16_t *weights = (uint16_t *)(void *)room;
    const float *bias = l->bias ? l->bias + out : NULL;
    bool add = l->add;
    _Alignas(64) float c[2 * TILE * 32];
    TILES_BEGIN();
    for (int64_t i = 0; i < l->in; i += SPAN_BF16, add = true, bias = NULL) {
        int64_t n = l->in - i < SPAN_BF16 ? l->in - i : SPAN_BF16, steps = depths(n), apart = steps * TILE_HALVES;
        for (int o = 0; o < outs; o += TILE)
            pack_weights(l->dtype, l->w + (out + o) * (int64_t)l->row_bytes, l->row_bytes, i, n, outs - o < TILE ? outs - o : TILE,
                         weights + o / TILE * apart);
        for (int64_t r = 0; r < rows; r += 2 * TILE) {
            int64_t there = rows - r < 2 * TILE ? rows - r : 2 * TILE;
            for (int o = 0; o < outs; o += 2 * TILE) {
                int wide = outs - o < 2 * TILE ? outs - o : 2 * TILE;
                sums_tiles[there > TILE][wide > TILE](packed + r / TILE * whole + i * TILE, whole, weights + o / TILE * apart, apart,
                                                      steps, c);
                for (int64_t k = 0; k < there; k++) {
                    float *restrict y = l->y + (first + r + k) * l->ldy + out + o, *restrict sum = c + k * 32;
                    if (bias) for (int j = 0; j < wide; j++) sum[j] += bias[o + j];
                    if (add)
                        for (int j = 0; j < wide; j++) y[j] += sum[j];
                    else
                        for (int j = 0; j < wide; j++) y[j] = sum[j];
                }
            }
        }
    }
    TILES_END();
}
