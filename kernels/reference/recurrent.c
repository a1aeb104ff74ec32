/* Reference: recurrent layers, row by row. */
#include "kernels/count.h"
#include "kernels/reference/reference.h"

#include <math.h>

#include "kernels/host.h"

sf_status sf_reference_convolve(sf_backend *b, int lanes, float *const *state, int64_t rows, int width, const sf_tensor *w,
                                const sf_tensor *bias, bool silu, const void *x, void *out)
{
    const int kernel = (int)w->dim[1], before = kernel - 1;
    float tap[kernel];
    double seen[kernel];
    for (int64_t c = 0; c < width; c++) {
        float shift = 0;
        sf_to_f32(w->dtype, (const char *)w->data + sf_bytes(w->dtype, c * kernel), tap, kernel);
        if (bias && bias->data) sf_to_f32(bias->dtype, (const char *)bias->data + sf_bytes(bias->dtype, c), &shift, 1);
        for (int l = 0; l < lanes; l++) {
            for (int i = 0; i < before; i++) seen[i] = state[l][i * width + c];
            for (int64_t r = l * rows; r < (l + 1) * rows; r++) {
                double sum = shift;
                seen[before] = ((const float *)x)[r * width + c];
                for (int i = 0; i < kernel; i++) sum += tap[i] * seen[i];
                for (int i = 0; i < before; i++) seen[i] = seen[i + 1];
                ((float *)out)[r * width + c] = (float)(silu ? sum / (1 + exp(-sum)) : sum);
            }
            for (int i = 0; i < before; i++) state[l][i * width + c] = (float)seen[i];
        }
    }
    sf_meter_convolve(b, lanes, lanes * rows, w, bias);
    return SF_OK;
}

/* to [dim] = x · scale / its length */
static void to_length(const float *x, int dim, double scale, double *to)
{
    double squares = 1e-6;
    for (int i = 0; i < dim; i++) squares += (double)x[i] * x[i];
    for (int i = 0; i < dim; i++) to[i] = x[i] * scale / sqrt(squares);
}

sf_status sf_reference_delta_rule(sf_backend *b, int lanes, float *const *state, int64_t rows, sf_delta_shape s, const void *x, const void *a,
                                  const void *beta, const sf_tensor *rate, const sf_tensor *shift, void *out)
{
    const int key = s.key_dim, value = s.value_dim, heads = s.value_heads, stride = 2 * s.key_heads * key + heads * value;
    double q[key], k[key], *held;
    SF_TRY(sf_host_alloc(b, (size_t)key * (size_t)value * sizeof *held, (void **)&held));
    for (int l = 0; l < lanes; l++) {
        for (int h = 0; h < heads; h++) {
            float fast, from, *own = state[l] + (int64_t)h * key * value;
            const int group = sf_delta_key_head(s, h);
            sf_to_f32(rate->dtype, (const char *)rate->data + sf_bytes(rate->dtype, h), &fast, 1);
            sf_to_f32(shift->dtype, (const char *)shift->data + sf_bytes(shift->dtype, h), &from, 1);
            for (int i = 0; i < key * value; i++) held[i] = own[i];
            for (int64_t r = l * rows; r < (l + 1) * rows; r++) {
                const float *row = (const float *)x + r * stride, *v = row + 2 * s.key_heads * key + h * value;
                const double z = (double)((const float *)a)[r * heads + h] + from;
                const double decay = exp(-exp(fast) * (z > 20 ? z : log1p(exp(z)))), write = 1 / (1 + exp(-((const float *)beta)[r * heads + h]));
                to_length(row + group * key, key, 1 / sqrt(key), q);
                to_length(row + (s.key_heads + group) * key, key, 1, k);
                for (int c = 0; c < value; c++) {
                    double seen = 0, sum = 0;
                    for (int i = 0; i < key; i++) seen += (held[i * value + c] *= decay) * k[i];
                    for (int i = 0; i < key; i++) sum += (held[i * value + c] += k[i] * write * (v[c] - seen)) * q[i];
                    ((float *)out)[(r * heads + h) * value + c] = (float)sum;
                }
            }
            for (int i = 0; i < key * value; i++) own[i] = (float)held[i];
        }
    }
    sf_host_free(b, held);
    sf_meter_delta_rule(b, lanes, lanes * rows, s, rate, shift);
    return SF_OK;
}

static double one_of(const sf_tensor *w, int i)
{
    float x;
    sf_to_f32(w->dtype, (const char *)w->data + sf_bytes(w->dtype, i), &x, 1);
    return x;
}

sf_status sf_reference_state_space(sf_backend *b, int lanes, float *const *state, int64_t rows, sf_delta_shape s, const void *x, const void *dt,
                                   const sf_tensor *rate, const sf_tensor *shift, const sf_tensor *skip, void *out)
{
    const int N = s.key_dim, D = s.value_dim, heads = s.value_heads, wide = heads * D, groups = s.key_heads * N, stride = wide + 2 * groups;
    double *held;
    SF_TRY(sf_host_alloc(b, (size_t)N * (size_t)D * sizeof *held, (void **)&held));
    for (int l = 0; l < lanes; l++) {
        for (int h = 0; h < heads; h++) {
            float *own = state[l] + (int64_t)h * N * D;
            for (int i = 0; i < N * D; i++) held[i] = own[i];
            for (int64_t r = l * rows; r < (l + 1) * rows; r++) {
                const float *row = (const float *)x + r * stride, *v = row + h * D, *B = row + wide + sf_delta_key_head(s, h) * N, *C = B + groups;
                const double z = ((const float *)dt)[r * heads + h] + one_of(shift, h), step = fmax(z > 20 ? z : log1p(exp(z)), s.least);
                const double decay = exp(-exp(one_of(rate, h)) * step);
                for (int c = 0; c < D; c++) {
                    double sum = one_of(skip, h) * v[c];
                    for (int i = 0; i < N; i++) sum += (held[i * D + c] = decay * held[i * D + c] + step * B[i] * v[c]) * C[i];
                    ((float *)out)[(r * heads + h) * D + c] = (float)sum;
                }
            }
            for (int i = 0; i < N * D; i++) own[i] = (float)held[i];
        }
    }
    sf_host_free(b, held);
    sf_meter_state_space(b, lanes, lanes * rows, s, rate, shift, skip);
    return SF_OK;
}
