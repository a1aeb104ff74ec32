/* Reference: mixtures of experts. */
#include "kernels/count.h"
#include "kernels/reference/reference.h"

#include <math.h>

#include "kernels/host.h"

/* Whether a expert scores above another; ties go to the lower one. */
static bool above(const double *score, int a, int b) { return score[a] > score[b] || (score[a] == score[b] && a < b); }

/* rank[i] = how many of `n` scores are above score i. */
static int rank_of(const double *score, int n, int i)
{
    int rank = 0;
    for (int j = 0; j < n; j++) rank += j != i && above(score, j, i);
    return rank;
}

/* Scores of experts outside the best groups become -INFINITY. */
static void keep_best_groups(const sf_router *r, double *score)
{
    int size = r->groups > 1 ? r->experts / r->groups : 0;
    double worth[r->groups + 1];
    for (int g = 0; size && g < r->groups; g++) {
        worth[g] = 0;
        for (int i = 0; i < size; i++)
            if (rank_of(score + g * size, size, i) < r->group_top) worth[g] += score[g * size + i];
    }
    for (int g = 0; size && g < r->groups; g++)
        for (int i = 0; rank_of(worth, r->groups, g) >= r->best_groups && i < size; i++) score[g * size + i] = -INFINITY;
}

sf_status sf_reference_route(sf_backend *b, const float *logits, int64_t rows, const sf_router *router,
                             const sf_tensor *correction, int32_t *expert, float *share)
{
    int n = router->experts;
    double score[n], part[n];
    float shift[n];
    for (int e = 0; e < n; e++) shift[e] = 0;
    if (correction && correction->data) sf_to_f32(correction->dtype, correction->data, shift, n);
    for (int64_t t = 0; t < rows; t++, logits += n, expert += router->chosen, share += router->chosen) {
        double largest = -INFINITY, all = 0, sum = 0;
        for (int e = 0; e < n; e++) largest = fmax(largest, logits[e]);
        for (int e = 0; e < n; e++) all += exp(logits[e] - largest);
        for (int e = 0; e < n; e++) {
            if (router->kind == SF_ROUTE_SOFTMAX) part[e] = exp(logits[e] - largest) / all;
            if (router->kind == SF_ROUTE_CHOSEN) part[e] = exp(logits[e] - largest);
            if (router->kind == SF_ROUTE_SIGMOID) part[e] = 1 / (1 + exp(-(double)logits[e]));
            score[e] = (router->kind == SF_ROUTE_SIGMOID ? part[e] : (double)logits[e]) + shift[e];
        }
        keep_best_groups(router, score);
        int k = 0;
        for (int e = 0; e < n; e++)
            if (rank_of(score, n, e) < router->chosen) expert[k++] = e;
        for (int i = 0; i < k; i++) sum += part[expert[i]];
        if (!router->normalize && router->kind != SF_ROUTE_CHOSEN) sum = 1;
        for (int i = 0; i < k; i++) share[i] = (float)(part[expert[i]] / sum * router->scale);
    }
    sf_meter_route(b, rows, router, correction);
    return SF_OK;
}

sf_status sf_reference_experts(sf_backend *b, const void *x, bool own, int64_t rows, int experts, int chosen,
                               const int32_t *expert, const sf_tensor *w, const sf_tensor *bias, void *y)
{
    int64_t out = w->dim[0], in = w->dim[1];
    float *row;
    (void)experts;
    SF_TRY(sf_host_alloc(b, (size_t)in * sizeof *row, (void **)&row));
    for (int64_t s = 0; s < rows * chosen; s++) {
        const sf_tensor *matrix = &w[expert[s]], *shift = bias ? &bias[expert[s]] : NULL;
        const float *from = (const float *)x + (own ? s : s / chosen) * in;
        for (int64_t o = 0; o < out; o++) {
            float first = 0;
            sf_to_f32(matrix->dtype, (const char *)matrix->data + (size_t)o * sf_bytes(matrix->dtype, in), row, in);
            if (shift && shift->data) sf_to_f32(shift->dtype, (const char *)shift->data + sf_bytes(shift->dtype, o), &first, 1);
            double sum = first;
            for (int64_t i = 0; i < in; i++) sum += (double)row[i] * from[i];
            ((float *)y)[s * out + o] = (float)sum;
        }
    }
    sf_host_free(b, row);
    sf_meter_experts(b, rows, own, chosen, w);
    return SF_OK;
}

sf_status sf_reference_combine(sf_backend *b, float *x, const void *y, int64_t rows, int chosen, int width, const float *share)
{
    for (int64_t t = 0; t < rows; t++)
        for (int i = 0; i < chosen; i++)
            for (int d = 0; d < width; d++)
                x[t * width + d] += share[t * chosen + i] * ((const float *)y)[(t * chosen + i) * width + d];
    sf_meter_combine(b, rows, chosen, width);
    return SF_OK;
}
