/* What methods find out once for a model: tables of a row for each layer, sums over calibration prompts, and principal axes. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "methods/method.h"

/* ---- tables --------------------------------------------------------------------------------------------------------- */

static sf_status read_row(FILE *f, const char *path, int row, int64_t n, double *out)
{
    char *line = NULL;
    size_t room = 0;
    int at = -1;
    sf_status status = SF_OK;
    while (at < row && getline(&line, &room, f) >= 0) at += line[0] != '#' && line[0] != '\n';
    if (at < row) status = sf_fail(SF_BAD_INPUT, "%s: has %d rows; one for each layer is wanted, at least %d", path, at + 1, row + 1);
    char *from = line, *end = line;
    for (int64_t i = 0; i < n && !status; i++, from = end) {
        out[i] = strtod(from, &end);
        if (end == from || !isfinite(out[i]))
            status = sf_fail(SF_BAD_INPUT, "%s: row %d: expected %lld finite numbers, number %lld is none", path, row + 1, (long long)n, (long long)i + 1);
    }
    if (!status && end[strspn(end, " \t\r\n")])
        status = sf_fail(SF_BAD_INPUT, "%s: row %d: expected %lld numbers, found more", path, row + 1, (long long)n);
    free(line);
    return status;
}

sf_status sf_table_row(const char *path, int row, int64_t n, double *out)
{
    FILE *f = fopen(path, "r");
    if (!f) return sf_fail(SF_IO, "%s: the table cannot be opened: %s", path, strerror(errno));
    sf_status status = read_row(f, path, row, n, out);
    fclose(f);
    return status;
}

sf_status sf_table_choices(const char *path, int row, int64_t n, int choices, int *out)
{
    double number[n];
    SF_TRY(sf_table_row(path, row, n, number));
    for (int64_t i = 0; i < n; i++) {
        if (number[i] < 0 || number[i] >= choices || number[i] != floor(number[i]))
            return sf_fail(SF_BAD_INPUT, "%s: row %d: number %lld is %g; expected a whole one from 0 to %d", path, row + 1, (long long)i + 1,
                           number[i], choices - 1);
        out[i] = (int)number[i];
    }
    return SF_OK;
}

void sf_write(sf_attention *a, sf_tensor to, const float *host)
{
    if (a->status == SF_OK) a->status = a->backend->ops->upload(a->backend, to.data, host, (size_t)sf_elements(&to) * sizeof *host);
}

/* ---- sums ----------------------------------------------------------------------------------------------------------- */

/* `elements` activations as floats on the host, malloc'ed; NULL after a failure. */
static float *fetch(sf_attention *a, const void *from, int64_t elements)
{
    size_t bytes = sf_bytes(a->kv.dtype, elements);
    void *raw = malloc(bytes + 1);
    float *out = malloc((size_t)elements * sizeof *out + 1);
    if (!raw || !out) a->status = sf_fail(SF_NO_MEMORY, "%lld numbers to calibrate by", (long long)elements);
    if (a->status == SF_OK) a->status = a->backend->ops->download(a->backend, raw, from, bytes);
    if (a->status == SF_OK) sf_to_f32(a->kv.dtype, raw, out, elements);
    free(raw);
    if (a->status == SF_OK) return out;
    free(out);
    return NULL;
}

sf_status sf_key_moments(sf_attention *a, double *sum)
{
    int dim = a->head_dim;
    for (int g = 0; g < a->kv_heads && a->status == SF_OK; g++) {
        float *k = fetch(a, (const char *)a->kv.prompt.k + sf_bytes(a->kv.dtype, g * a->kv.prompt.capacity * dim), (int64_t)a->keys * dim);
        double *to = sum + (int64_t)g * dim * dim;
        for (int j = 0; k && j < a->keys; j++)
            for (int d = 0; d < dim; d++)
                for (int e = 0; e < dim; e++) to[d * dim + e] += (double)k[(int64_t)j * dim + d] * k[(int64_t)j * dim + e];
        free(k);
    }
    return a->status;
}

sf_status sf_channel_sizes(sf_attention *a, double *sum)
{
    int dim = a->head_dim, group = a->heads / a->kv_heads;
    float *q = fetch(a, a->q, (int64_t)a->queries * a->heads * dim);
    double of_q[dim], of_k[dim];
    for (int g = 0; q && g < a->kv_heads && a->status == SF_OK; g++) {
        float *k = fetch(a, (const char *)a->kv.prompt.k + sf_bytes(a->kv.dtype, g * a->kv.prompt.capacity * dim), (int64_t)a->keys * dim);
        memset(of_q, 0, sizeof of_q), memset(of_k, 0, sizeof of_k);
        for (int64_t i = 0; k && i < a->queries; i++)
            for (int h = g * group; h < (g + 1) * group; h++)
                for (int d = 0; d < dim; d++) of_q[d] += fabsf(q[(i * a->heads + h) * dim + d]) / ((double)a->queries * group);
        for (int64_t j = 0; k && j < a->keys; j++)
            for (int d = 0; d < dim; d++) of_k[d] += fabsf(k[j * dim + d]) / a->keys;
        for (int d = 0; k && d < dim; d++) sum[g * dim + d] += of_q[d] * of_k[d];
        free(k);
    }
    free(q);
    return a->status;
}

sf_status sf_recalled(sf_attention *a, const sf_pattern *pattern, double *sum, int step)
{
    enum { ROWS = 64 };
    int32_t row[ROWS];
    float covered[a->heads], *device = NULL;
    int rows = a->queries < ROWS ? a->queries : ROWS;
    for (int i = 0; i < rows; i++) row[i] = (int32_t)((i + 1) * (int64_t)a->queries / rows - 1);
    sf_backend *b = a->backend;
    if (a->status == SF_OK) a->status = b->ops->alloc(b, sizeof covered, (void **)&device);
    if (a->status == SF_OK) a->status = b->ops->mass(b, a, pattern, rows, row, device);
    if (a->status == SF_OK) a->status = b->ops->download(b, covered, device, sizeof covered);
    for (int h = 0; h < a->heads && a->status == SF_OK; h++) sum[h * step] += covered[h];
    if (device) b->ops->free(b, device);
    return a->status;
}

/* ---- principal axes: Jacobi's rotations, in order, until nothing is left beside the diagonal -------------------------- */

static void rotate(int n, double *m, double *v, int p, int q)
{
    double apq = m[p * n + q];
    if (apq == 0) return;
    double theta = (m[q * n + q] - m[p * n + p]) / (2 * apq), t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (int k = 0; k < n; k++) {
        double x = m[k * n + p], y = m[k * n + q];
        m[k * n + p] = c * x - s * y, m[k * n + q] = s * x + c * y;
    }
    for (int k = 0; k < n; k++) {
        double x = m[p * n + k], y = m[q * n + k];
        m[p * n + k] = c * x - s * y, m[q * n + k] = s * x + c * y;
        x = v[k * n + p], y = v[k * n + q];
        v[k * n + p] = c * x - s * y, v[k * n + q] = s * x + c * y;
    }
}

static double beside(int n, const double *m)
{
    double sum = 0;
    for (int i = 0; i < n * n; i++) sum += i / n != i % n ? m[i] * m[i] : 0;
    return sum;
}

/* Columns by falling value; the largest number of each is positive. */
static void order(int n, const double *m, const double *v, double *out)
{
    bool taken[n];
    memset(taken, 0, sizeof taken);
    for (int c = 0; c < n; c++) {
        int best = -1, largest = 0;
        for (int i = 0; i < n; i++)
            if (!taken[i] && (best < 0 || m[i * n + i] > m[best * n + best])) best = i;
        taken[best] = true;
        for (int d = 1; d < n; d++)
            if (fabs(v[d * n + best]) > fabs(v[largest * n + best])) largest = d;
        for (int d = 0; d < n; d++) out[d * n + c] = v[largest * n + best] < 0 ? -v[d * n + best] : v[d * n + best];
    }
}

sf_status sf_principal_axes(int n, double *m)
{
    double *v = calloc((size_t)(2 * n * n), sizeof *v), whole = 0;
    if (!v) return sf_fail(SF_NO_MEMORY, "%d principal axes", n);
    double *turned = v + n * n;
    memcpy(turned, m, (size_t)(n * n) * sizeof *m);
    for (int i = 0; i < n; i++) v[i * n + i] = 1;
    for (int i = 0; i < n * n; i++) whole += m[i] * m[i];
    for (int sweep = 0; sweep < 60 && beside(n, turned) > 1e-24 * whole; sweep++)
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) rotate(n, turned, v, p, q);
    order(n, turned, v, m);
    free(v);
    return SF_OK;
}
