/* CPU: recurrent layers. Channels of a convolution and columns of a delta rule's state do not see each other, so threads share them out,
 * and walk the rows of a lane in order: one row at a time, so that its numbers are the same whether it comes alone or with others. */
#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* Channels that go through the rows together, and taps at most. */
enum { CHANNELS = 64, TAPS = 16 };

/* Channels [first, first + n) of one lane. tap [K, n], the filter with channels side by side; shift [n]; ring [K, n], which begins as
 * the state and ends with the last rows. */
static void convolve_some(const sf_tiles *tiles, int64_t rows, int width, int kernel, int n, const float *tap, const float *shift, bool silu,
                          float *state, const float *x, float *out)
{
    const int before = kernel - 1;
    float ring[TAPS][CHANNELS], sum[CHANNELS], one[CHANNELS];
    for (int c = 0; c < n; c++) one[c] = 1;
    for (int i = 0; i < before; i++) memcpy(ring[i], state + (int64_t)i * width, (size_t)n * sizeof *sum);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(ring[(r + before) % kernel], x + r * width, (size_t)n * sizeof *sum); /* row r - before + i is at (r + i) % K */
        memcpy(sum, shift, (size_t)n * sizeof *sum);
        for (int i = 0; i < kernel; i++) {
            const float *from = ring[(r + i) % kernel], *by = tap + (int64_t)i * n;
            for (int c = 0; c < n; c++) sum[c] += by[c] * from[c];
        }
        if (silu) tiles->gated(sum, one, n, SF_SILU);
        memcpy(out + r * width, sum, (size_t)n * sizeof *sum);
    }
    for (int i = 0; i < before; i++) memcpy(state + (int64_t)i * width, ring[(rows + i) % kernel], (size_t)n * sizeof *sum);
}

sf_status sf_cpu_convolve(sf_backend *b, int lanes, float *const *state, int64_t rows, int width, const sf_tensor *w,
                          const sf_tensor *bias, bool silu, const void *x, void *out)
{
    const int kernel = (int)w->dim[1];
    const int64_t parts = sf_cpu_parts(width, CHANNELS);
    const float *tap, *shift = NULL;
    if (kernel > TAPS) return sf_fail(SF_UNSUPPORTED, "a convolution over %d rows, expected at most %d", kernel, TAPS);
    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_cpu_as_f32(b, w, &tap));
    if (bias && bias->data) SF_TRY(sf_cpu_as_f32(b, bias, &shift));
#pragma omp parallel for num_threads(b->threads) schedule(static) if (lanes * rows * width > 1 << 14)
    for (int64_t unit = 0; unit < lanes * parts; unit++) {
        const int64_t lane = unit / parts, first = unit % parts * CHANNELS, at = lane * rows * width + first;
        const int n = (int)(width - first < CHANNELS ? width - first : CHANNELS);
        float turned[TAPS * CHANNELS], none[CHANNELS] = {0};
        for (int i = 0; i < kernel; i++)
            for (int c = 0; c < n; c++) turned[i * n + c] = tap[(first + c) * kernel + i];
        convolve_some(sf_cpu_tiles(b), rows, width, kernel, n, turned, shift ? shift + first : none, silu, state[lane] + first,
                      (const float *)x + at, (float *)out + at);
    }
    sf_scratch_release(b, mark);
    sf_meter_convolve(b, lanes, lanes * rows, w, bias);
    return SF_OK;
}

/* What of the state stays, and how much of the new is written, of each row and head: decay, beta [n, Hv]. */
static void gates(sf_backend *b, int64_t n, int heads, const float *rate, const float *shift, const float *a, const float *logit,
                  float *decay, float *beta)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (n * heads > 1 << 10)
    for (int64_t i = 0; i < n * heads; i++) {
        const double x = (double)a[i] + (double)shift[i % heads], soft = x > 20 ? x : log1p(exp(x));
        decay[i] = (float)exp(-exp((double)rate[i % heads]) * soft);
        beta[i] = (float)(1 / (1 + exp(-(double)logit[i])));
    }
}

sf_status sf_cpu_delta_rule(sf_backend *b, int lanes, float *const *state, int64_t rows, sf_delta_shape s, const void *x, const void *a,
                            const void *beta, const sf_tensor *rate, const sf_tensor *shift, void *out)
{
    const int64_t key = s.key_dim, value = s.value_dim, stride = 2 * s.key_heads * key + s.value_heads * value, wide = s.value_heads * value;
    const int64_t n = lanes * rows, parts = sf_cpu_parts(value, SF_STATE_COLUMNS), of_state = key * SF_STATE_COLUMNS;
    const float *per_head, *offset;
    float *gate, *room;
    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_cpu_as_f32(b, rate, &per_head));
    SF_TRY(sf_cpu_as_f32(b, shift, &offset));
    SF_TRY(sf_scratch_alloc(b, (size_t)(2 * n * s.value_heads) * sizeof *gate, (void **)&gate));
    SF_TRY(sf_cpu_room(b, of_state + 2 * key, sizeof *room, (void **)&room));
    float *write = gate + n * s.value_heads;
    gates(b, n, s.value_heads, per_head, offset, a, beta, gate, write);
#pragma omp parallel for num_threads(b->threads) schedule(static) if (n * stride > 1 << 10)
    for (int64_t unit = 0; unit < lanes * s.value_heads * parts; unit++) {
        const int64_t lane = unit / parts / s.value_heads, head = unit / parts % s.value_heads, first = unit % parts * SF_STATE_COLUMNS;
        const int64_t row = lane * rows, group = sf_delta_key_head(s, (int)head);
        const float *from = (const float *)x + row * stride;
        float *mine = room + (int64_t)omp_get_thread_num() * (of_state + 2 * key), *there = state[lane] + head * key * value + first;
        const int columns = (int)(value - first < SF_STATE_COLUMNS ? value - first : SF_STATE_COLUMNS);
        const size_t bytes = (size_t)columns * sizeof *mine;
        memset(mine, 0, (size_t)of_state * sizeof *mine);
        for (int64_t i = 0; i < key; i++) memcpy(mine + i * SF_STATE_COLUMNS, there + i * value, bytes);
        sf_cpu_tiles(b)->delta_rows(&(sf_delta_rows){
            .rows = rows, .stride = stride, .gate_stride = s.value_heads, .out_stride = wide, .dim = s.key_dim, .columns = columns,
            .q = from + group * key, .k = from + (s.key_heads + group) * key, .v = from + 2 * s.key_heads * key + head * value + first,
            .decay = gate + row * s.value_heads + head, .beta = write + row * s.value_heads + head, .state = mine,
            .room = mine + of_state, .out = (float *)out + row * wide + head * value + first});
        for (int64_t i = 0; i < key; i++) memcpy(there + i * value, mine + i * SF_STATE_COLUMNS, bytes);
    }
    sf_scratch_release(b, mark);
    sf_meter_delta_rule(b, lanes, n, s, rate, shift);
    return SF_OK;
}
