/* Tile: y = x · Wᵀ for a few rows of W, any number of rows of x, and weights of any dtype.
 *
 * Both operands are contiguous along the sum, so that nothing is packed: 1024 inputs of the weight rows are widened to
 * fp32 (once for all rows of x), then small register tiles of rows × outputs run along them. Each (row, output) sums 16
 * lanes over 1024 inputs, adds the lanes up in one fixed tree, and adds these partial sums in order. The shape of the
 * register tile is no part of that order, so one row alone and a row among a thousand give the same bits. */

/* Register tile: rows of x by outputs, as many accumulators as the registers hold. */
#if defined __AVX512F__
#define TILE_ROWS_MAX 6
enum { TILE_ROWS = 6, TILE_OUTS = 4 };
#elif defined __AVX2__
#define TILE_ROWS_MAX 3
enum { TILE_ROWS = 3, TILE_OUTS = 2 };
#else
#define TILE_ROWS_MAX 2
enum { TILE_ROWS = 2, TILE_OUTS = 1 };
#endif
enum { SPAN = 1024 }; /* inputs summed at a time */

INLINE float half_at(const uint8_t *p)
{
#if defined __F16C__
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
#else
    float f;
    sf_to_f32(SF_F16, p, &f, 1);
    return f;
#endif
}

static void widen_half(const uint8_t *from, float *to, int64_t n)
{
    int64_t i = 0;
#if defined __AVX512F__
    for (; i + 16 <= n; i += 16) _mm512_storeu_ps(to + i, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(from + 2 * i))));
#elif defined __F16C__
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from + 2 * i))));
#endif
    sf_to_f32(SF_F16, from + 2 * i, to + i, n - i);
}

static void widen_brain(const uint8_t *from, float *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, from + 2 * i, sizeof h);
        uint32_t bits = (uint32_t)h << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

/* Q4_0, Q4_1: to = d * nibble + m */
INLINE void nibbles(const uint8_t *restrict q, float d, float m, float *restrict to)
{
    for (int i = 0; i < 16; i++) to[i] = (float)(q[i] & 15) * d + m;
    for (int i = 0; i < 16; i++) to[i + 16] = (float)(q[i] >> 4) * d + m;
}

INLINE void nibbles_and_bit(const uint8_t *restrict q, const uint8_t *restrict high, float d, float m, float *restrict to)
{
    uint32_t h;
    memcpy(&h, high, sizeof h);
    for (int i = 0; i < 16; i++) to[i] = (float)((q[i] & 15) | (int)(h >> i & 1) << 4) * d + m;
    for (int i = 0; i < 16; i++) to[i + 16] = (float)(q[i] >> 4 | (int)(h >> (i + 16) & 1) << 4) * d + m;
}

INLINE void widen_q4_k(const uint8_t *restrict b, float *restrict to)
{
    float d = half_at(b), dmin = half_at(b + 2);
    const uint8_t *s = b + 4, *q = b + 16;
    for (int j = 0; j < 8; j++) {
        int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
        float a = d * (float)scale, m = -dmin * (float)min;
        const uint8_t *from = q + j / 2 * 32;
        if (j % 2 == 0)
            for (int i = 0; i < 32; i++) to[j * 32 + i] = (float)(from[i] & 15) * a + m;
        else
            for (int i = 0; i < 32; i++) to[j * 32 + i] = (float)(from[i] >> 4) * a + m;
    }
}

INLINE void widen_q6_k(const uint8_t *restrict b, float *restrict to)
{
    float d = half_at(b + 208);
    for (int half = 0; half < 2; half++) {
        for (int quarter = 0; quarter < 4; quarter++) {
            const uint8_t *l = b + half * 64 + quarter % 2 * 32, *h = b + 128 + half * 32;
            float *out = to + half * 128 + quarter * 32;
            for (int part = 0; part < 2; part++) {
                float a = d * (float)(int8_t)b[192 + half * 8 + quarter * 2 + part];
                for (int i = part * 16; i < part * 16 + 16; i++)
                    out[i] = a * (float)(((quarter < 2 ? l[i] & 15 : l[i] >> 4) | (h[i] >> (2 * quarter) & 3) << 4) - 32);
            }
        }
    }
}

static void widen(sf_dtype dtype, const void *from, float *to, int64_t n)
{
    const uint8_t *b = from;
    int size = sf_dtypes[dtype].bytes;
    switch (dtype) {
    case SF_F32: memcpy(to, from, (size_t)n * sizeof *to); break;
    case SF_F16: widen_half(from, to, n); break;
    case SF_BF16: widen_brain(from, to, n); break;
    case SF_Q8_0:
        for (int64_t i = 0; i < n; i += 32, b += size) {
            float d = half_at(b);
            for (int j = 0; j < 32; j++) to[i + j] = (float)(int8_t)b[2 + j] * d;
        }
        break;
    case SF_Q4_0:
        for (int64_t i = 0; i < n; i += 32, b += size) nibbles(b + 2, half_at(b), -8 * half_at(b), to + i);
        break;
    case SF_Q4_1:
        for (int64_t i = 0; i < n; i += 32, b += size) nibbles(b + 4, half_at(b), half_at(b + 2), to + i);
        break;
    case SF_Q5_0:
        for (int64_t i = 0; i < n; i += 32, b += size) nibbles_and_bit(b + 6, b + 2, half_at(b), -16 * half_at(b), to + i);
        break;
    case SF_Q5_1:
        for (int64_t i = 0; i < n; i += 32, b += size) nibbles_and_bit(b + 8, b + 4, half_at(b), half_at(b + 2), to + i);
        break;
    case SF_Q4_K:
        for (int64_t i = 0; i < n; i += 256, b += size) widen_q4_k(b, to + i);
        break;
    case SF_Q6_K:
        for (int64_t i = 0; i < n; i += 256, b += size) widen_q6_k(b, to + i);
        break;
    default: sf_to_f32(dtype, from, to, n);
    }
}

enum { SUMS = TILE_ROWS * TILE_OUTS + LANES }; /* reduce() writes whole vectors */

/* sum[r * TILE_OUTS + o] = <x[r], w[o]> over n inputs; rows is a constant where this is inlined. */
INLINE void register_tile(int rows, const float *x, int64_t ldx, const float *const *w, int64_t n, float *sum)
{
    vec acc[TILE_ROWS][TILE_OUTS][WIDE];
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < TILE_OUTS; o++)
            for (int u = 0; u < WIDE; u++) acc[r][o][u] = all(0);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int u = 0; u < WIDE; u++) {
            vec b[TILE_OUTS];
            for (int o = 0; o < TILE_OUTS; o++) b[o] = load(w[o] + i + u * W);
            for (int r = 0; r < rows; r++) {
                vec a = load(x + r * ldx + i + u * W);
                for (int o = 0; o < TILE_OUTS; o++) acc[r][o][u] += a * b[o];
            }
        }
    }
    if (i < n) { /* the last inputs, padded with zeros */
        float a[LANES] = {0}, b[TILE_OUTS][LANES] = {{0}};
        for (int o = 0; o < TILE_OUTS; o++) memcpy(b[o], w[o] + i, (size_t)(n - i) * sizeof *x);
        for (int r = 0; r < rows; r++) {
            memcpy(a, x + r * ldx + i, (size_t)(n - i) * sizeof *x);
            for (int o = 0; o < TILE_OUTS; o++)
                for (int u = 0; u < WIDE; u++) acc[r][o][u] += load(a + u * W) * load(b[o] + u * W);
        }
    }
    const vec(*flat)[WIDE] = acc[0];
    int left = rows * TILE_OUTS;
    for (; left >= 16; left -= 16, flat += 16, sum += 16) reduce(16, flat, SUM, sum);
    if (left & 8) reduce(8, flat, SUM, sum), flat += 8, sum += 8;
    if (left & 4) reduce(4, flat, SUM, sum), flat += 4, sum += 4;
    if (left & 2) reduce(2, flat, SUM, sum), flat += 2, sum += 2;
    if (left & 1) reduce(1, flat, SUM, sum);
}

/* y[r, o] += sum for `rows` rows, a constant where this is inlined, and all outputs: x stays in the nearest cache. */
INLINE void some_rows(int rows, const float *x, int64_t ldx, const float *w, int64_t ldw, int outs, int64_t n, float *y,
                      int64_t ldy)
{
    for (int o = 0; o < outs; o += TILE_OUTS) {
        const float *at[TILE_OUTS];
        float sum[SUMS];
        int here = outs - o < TILE_OUTS ? outs - o : TILE_OUTS; /* the last one is repeated */
        for (int i = 0; i < TILE_OUTS; i++) at[i] = w + (o + (i < here ? i : here - 1)) * ldw;
        register_tile(rows, x, ldx, at, n, sum);
        if (here == TILE_OUTS)
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < TILE_OUTS; i++) y[r * ldy + o + i] += sum[r * TILE_OUTS + i];
        else
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < here; i++) y[r * ldy + o + i] += sum[r * TILE_OUTS + i];
    }
}

static void linear(const float *x, int64_t rows, int64_t in, sf_dtype dtype, const char *w, size_t row_bytes, int outs,
                   const float *bias, bool add, float *y, int64_t ldy, float *room)
{
    for (int64_t r = 0; r < rows; r++)
        for (int o = 0; o < outs; o++) y[r * ldy + o] = (add ? y[r * ldy + o] : 0) + (bias ? bias[o] : 0);
    for (int64_t i = 0; i < in; i += SPAN) {
        int64_t n = in - i < SPAN ? in - i : SPAN, ldw = SPAN + 16; /* rows a power of two apart would share cache sets */
        const float *wide = room;
        if (dtype == SF_F32) {
            wide = (const float *)w + i;
            ldw = (int64_t)(row_bytes / sizeof(float));
        } else {
            for (int o = 0; o < outs; o++) widen(dtype, w + o * row_bytes + sf_bytes(dtype, i), room + o * ldw, n);
        }
        int64_t r = 0;
        for (; r + TILE_ROWS <= rows; r += TILE_ROWS)
            some_rows(TILE_ROWS, x + r * in + i, in, wide, ldw, outs, n, y + r * ldy, ldy);
        const float *from = x + r * in + i;
        float *to = y + r * ldy;
        switch (rows - r) {
        case 1: some_rows(1, from, in, wide, ldw, outs, n, to, ldy); break;
#if TILE_ROWS_MAX > 2
        case 2: some_rows(2, from, in, wide, ldw, outs, n, to, ldy); break;
#endif
#if TILE_ROWS_MAX > 3
        case 3: some_rows(3, from, in, wide, ldw, outs, n, to, ldy); break;
        case 4: some_rows(4, from, in, wide, ldw, outs, n, to, ldy); break;
        case 5: some_rows(5, from, in, wide, ldw, outs, n, to, ldy); break;
#endif
        }
    }
}

/* ---- the small layers ------------------------------------------------------------------------------------------------ */

static void rms_norm(const float *x, const float *weight, float offset, float eps, int width, float *out)
{
    vec squares[WIDE];
    for (int u = 0; u < WIDE; u++) squares[u] = all(0);
    int i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int u = 0; u < WIDE; u++) squares[u] += load(x + i + u * W) * load(x + i + u * W);
    float sum = sum16(squares);
    for (; i < width; i++) sum += x[i] * x[i];
    float root = 1 / sqrtf(sum / (float)width + eps);
    for (i = 0; i < width; i++) out[i] = x[i] * root * (weight[i] + offset);
}

/* Both activations are x / (1 + exp(-z)): SiLU with z = x, GELU by tanh with z = 2 √(2/π) (x + 0.044715 x³). */
INLINE vec over_one_plus_power(vec x, vec z) { return x / (exp2v(all(0) - larger(z, all(-127))) + 1); }
INLINE vec silu(vec x) { return over_one_plus_power(x, x * 1.4426950408889634f); }
INLINE vec gelu(vec x) { return over_one_plus_power(x, x * (x * x * 0.044715f + 1) * (1.5957691216057308f * 1.4426950408889634f)); }

static void gated(float *gate, const float *up, int64_t n, sf_activation kind)
{
    int64_t i = 0;
    if (kind == SF_SILU) {
        for (; i + W <= n; i += W) store(gate + i, silu(load(gate + i)) * load(up + i));
        for (; i < n; i++) gate[i] = silu(all(gate[i]))[0] * up[i];
    } else {
        for (; i + W <= n; i += W) store(gate + i, gelu(load(gate + i)) * load(up + i));
        for (; i < n; i++) gate[i] = gelu(all(gate[i]))[0] * up[i];
    }
}
