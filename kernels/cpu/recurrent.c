/* CPU: recurrent layers. Channels of a convolution and columns of a state matrix do not see each other, so threads share them out,
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

/* softplus(x + shift): how far a row of a head goes */
static double step_of(float x, float shift)
{
    const double z = (double)x + (double)shift;
    return z > 20 ? z : log1p(exp(z));
}

/* What of the state stays, and how much of the new is written, of each row and head: decay, beta [n, Hv]. logit NULL: as far as it goes, at
 * least `least`. */
static void gates(sf_backend *b, int64_t n, int heads, float least, const float *rate, const float *shift, const float *a, const float *logit,
                  float *decay, float *beta)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (n * heads > 1 << 10)
    for (int64_t i = 0; i < n * heads; i++) {
        const double soft = fmax(step_of(a[i], shift[i % heads]), least);
        decay[i] = (float)exp(-exp((double)rate[i % heads]) * soft);
        beta[i] = (float)(logit ? 1 / (1 + exp(-(double)logit[i])) : soft);
    }
}

/* Columns of a state [Dk, Dv] to the first cache, where they lie side by side, and back. */
static void take_columns(const float *there, int64_t dim, int64_t value, int columns, float *mine)
{
    memset(mine, 0, (size_t)dim * SF_STATE_COLUMNS * sizeof *mine);
    for (int64_t i = 0; i < dim; i++) memcpy(mine + i * SF_STATE_COLUMNS, there + i * value, (size_t)columns * sizeof *mine);
}

static void give_columns(const float *mine, int64_t dim, int64_t value, int columns, float *there)
{
    for (int64_t i = 0; i < dim; i++) memcpy(there + i * value, mine + i * SF_STATE_COLUMNS, (size_t)columns * sizeof *mine);
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
    gates(b, n, s.value_heads, 0, per_head, offset, a, beta, gate, write);
#pragma omp parallel for num_threads(b->threads) schedule(static) if (n * stride > 1 << 10)
    for (int64_t unit = 0; unit < lanes * s.value_heads * parts; unit++) {
        const int64_t lane = unit / parts / s.value_heads, head = unit / parts % s.value_heads, first = unit % parts * SF_STATE_COLUMNS;
        const int64_t row = lane * rows, group = sf_delta_key_head(s, (int)head);
        const float *from = (const float *)x + row * stride;
        float *mine = room + (int64_t)omp_get_thread_num() * (of_state + 2 * key), *there = state[lane] + head * key * value + first;
        const int columns = (int)(value - first < SF_STATE_COLUMNS ? value - first : SF_STATE_COLUMNS);
        take_columns(there, key, value, columns, mine);
        sf_cpu_tiles(b)->delta_rows(&(sf_delta_rows){
            .rows = rows, .stride = stride, .gate_stride = s.value_heads, .out_stride = wide, .dim = s.key_dim, .columns = columns,
            .q = from + group * key, .k = from + (s.key_heads + group) * key, .v = from + 2 * s.key_heads * key + head * value + first,
            .decay = gate + row * s.value_heads + head, .beta = write + row * s.value_heads + head, .state = mine,
            .room = mine + of_state, .out = (float *)out + row * wide + head * value + first});
        give_columns(mine, key, value, columns, there);
    }
    sf_scratch_release(b, mark);
    sf_meter_delta_rule(b, lanes, n, s, rate, shift);
    return SF_OK;
}

sf_status sf_cpu_state_space(sf_backend *b, int lanes, float *const *state, int64_t rows, sf_delta_shape s, const void *x, const void *dt,
                             const sf_tensor *rate, const sf_tensor *shift, const sf_tensor *skip, void *out)
{
    const int64_t dim = s.key_dim, value = s.value_dim, heads = s.value_heads, wide = heads * value, groups = s.key_heads * dim;
    const int64_t n = lanes * rows, parts = sf_cpu_parts(value, SF_STATE_COLUMNS), of_state = dim * SF_STATE_COLUMNS, stride = wide + 2 * groups;
    const float *per_head, *offset, *past;
    float *gate, *room;
    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_cpu_as_f32(b, rate, &per_head));
    SF_TRY(sf_cpu_as_f32(b, shift, &offset));
    SF_TRY(sf_cpu_as_f32(b, skip, &past));
    SF_TRY(sf_scratch_alloc(b, (size_t)(2 * n * heads) * sizeof *gate, (void **)&gate));
    SF_TRY(sf_cpu_room(b, of_state, sizeof *room, (void **)&room));
    float *step = gate + n * heads;
    gates(b, n, s.value_heads, s.least, per_head, offset, dt, NULL, gate, step);
#pragma omp parallel for num_threads(b->threads) schedule(static) if (n * stride > 1 << 10)
    for (int64_t unit = 0; unit < lanes * heads * parts; unit++) {
        const int64_t lane = unit / parts / heads, head = unit / parts % heads, first = unit % parts * SF_STATE_COLUMNS, row = lane * rows;
        const float *from = (const float *)x + row * stride, *B = from + wide + sf_delta_key_head(s, (int)head) * dim;
        float *mine = room + (int64_t)omp_get_thread_num() * of_state, *there = state[lane] + head * dim * value + first;
        const int columns = (int)(value - first < SF_STATE_COLUMNS ? value - first : SF_STATE_COLUMNS);
        take_columns(there, dim, value, columns, mine);
        sf_cpu_tiles(b)->space_rows(&(sf_space_rows){
            .rows = rows, .stride = stride, .gate_stride = heads, .out_stride = wide, .dim = s.key_dim, .columns = columns,
            .v = from + head * value + first, .B = B, .C = B + groups, .decay = gate + row * heads + head, .step = step + row * heads + head,
            .skip = past[head], .state = mine, .out = (float *)out + row * wide + head * value + first});
        give_columns(mine, dim, value, columns, there);
    }
    sf_scratch_release(b, mark);
    sf_meter_state_space(b, lanes, n, s, rate, shift, skip);
    return SF_OK;
}
