/* CPU: mixtures of experts. Rows are sorted by the expert that they go to, and go there together, as through any linear layer;
 * since a row of that does not notice its neighbours, neither does one here. */
#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* The `k` best of score, marked in `best`; ties to the lower one. */
static void mark_best(const float *score, int n, int k, uint8_t *best)
{
    for (int e = 0; e < n; e++) best[e] = 0;
    for (int i = 0; i < k && i < n; i++) {
        int at = 0;
        while (best[at]) at++;
        for (int e = at + 1; e < n; e++)
            if (!best[e] && score[e] > score[at]) at = e;
        best[at] = 1;
    }
}

static void keep_best_groups(const sf_router *r, float *score, uint8_t *best)
{
    if (r->groups <= 1) return;
    int size = r->experts / r->groups;
    float worth[SF_MOST_GROUPS];
    uint8_t kept[SF_MOST_GROUPS];
    for (int g = 0; g < r->groups; g++) {
        mark_best(score + g * size, size, r->group_top, best);
        worth[g] = 0;
        for (int i = 0; i < size; i++) worth[g] += best[i] ? score[g * size + i] : 0;
    }
    mark_best(worth, r->groups, r->best_groups, kept);
    for (int e = 0; e < r->experts; e++)
        if (!kept[e / size]) score[e] = -INFINITY;
}

static void route_row(const sf_router *r, const float *logits, const float *shift, int32_t *expert, float *share)
{
    int n = r->experts, k = 0;
    float score[SF_MOST_EXPERTS], part[SF_MOST_EXPERTS], largest = -INFINITY, all = 0, sum = 0;
    uint8_t best[SF_MOST_EXPERTS];
    for (int e = 0; e < n; e++) largest = fmaxf(largest, logits[e]);
    for (int e = 0; e < n; e++) {
        part[e] = r->kind == SF_ROUTE_SIGMOID ? 1 / (1 + expf(-logits[e])) : expf(logits[e] - largest);
        all += part[e];
        score[e] = (r->kind == SF_ROUTE_SIGMOID ? part[e] : logits[e]) + (shift ? shift[e] : 0);
    }
    keep_best_groups(r, score, best);
    mark_best(score, n, r->chosen, best);
    for (int e = 0; e < n; e++)
        if (best[e]) sum += part[e], expert[k++] = e;
    /* normalised softmax: the sum over all experts cancels */
    float whole = r->normalize || r->kind == SF_ROUTE_CHOSEN ? sum : r->kind == SF_ROUTE_SOFTMAX ? all : 1;
    for (int i = 0; i < k; i++) share[i] = part[expert[i]] / whole * r->scale;
}

sf_status sf_cpu_route(sf_backend *b, const float *logits, int64_t rows, const sf_router *router, const sf_tensor *correction,
                       int32_t *expert, float *share)
{
    sf_mark mark = sf_scratch_mark(b);
    float *shift = NULL;
    if (correction && correction->data) {
        SF_TRY(sf_scratch_alloc(b, (size_t)router->experts * sizeof *shift, (void **)&shift));
        sf_to_f32(correction->dtype, correction->data, shift, router->experts);
    }
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * router->experts > 1 << 12)
    for (int64_t t = 0; t < rows; t++)
        route_row(router, logits + t * router->experts, shift, expert + t * router->chosen, share + t * router->chosen);
    sf_scratch_release(b, mark);
    sf_meter_route(b, rows, router, correction);
    return SF_OK;
}

sf_status sf_cpu_experts(sf_backend *b, const void *x, bool own, int64_t rows, int experts, int chosen, const int32_t *expert,
                         const sf_tensor *w, const sf_tensor *bias, void *y)
{
    int64_t slots = rows * chosen, out = w->dim[0], in = w->dim[1];
    sf_mark mark = sf_scratch_mark(b);
    int64_t *begin, *slot; /* [E + 1] where each expert's slots begin, and their list [slots], rows in order */
    float *from, *to;
    SF_TRY(sf_scratch_alloc(b, (size_t)(experts + 1 + slots) * sizeof *begin, (void **)&begin));
    SF_TRY(sf_scratch_alloc(b, (size_t)(slots * in) * sizeof *from, (void **)&from));
    SF_TRY(sf_scratch_alloc(b, (size_t)(slots * out) * sizeof *to, (void **)&to));
    slot = begin + experts + 1;
    memset(begin, 0, (size_t)(experts + 1) * sizeof *begin);
    for (int64_t s = 0; s < slots; s++) begin[expert[s] + 1]++;
    for (int e = 0; e < experts; e++) begin[e + 1] += begin[e];
    for (int64_t s = 0; s < slots; s++) slot[begin[expert[s]]++] = s;
    for (int e = experts; e > 0; e--) begin[e] = begin[e - 1];
    begin[0] = 0;
#pragma omp parallel for num_threads(b->threads) schedule(static) if (slots * in > 1 << 15)
    for (int64_t i = 0; i < slots; i++)
        memcpy(from + i * in, (const float *)x + (own ? slot[i] : slot[i] / chosen) * in, (size_t)in * sizeof *from);
    for (int e = 0; e < experts; e++) {
        int64_t n = begin[e + 1] - begin[e];
        if (n) SF_TRY(sf_cpu_product(b, from + begin[e] * in, n, &w[e], bias ? &bias[e] : NULL, false, to + begin[e] * out));
    }
#pragma omp parallel for num_threads(b->threads) schedule(static) if (slots * out > 1 << 15)
    for (int64_t i = 0; i < slots; i++) memcpy((float *)y + slot[i] * out, to + i * out, (size_t)out * sizeof *to);
    sf_scratch_release(b, mark);
    sf_meter_experts(b, rows, own, chosen, w);
    return SF_OK;
}

sf_status sf_cpu_combine(sf_backend *b, float *x, const void *y, int64_t rows, int chosen, int width, const float *share)
{
#pragma omp parallel for num_threads(b->threads) schedule(static) if (rows * chosen * width > 1 << 15)
    for (int64_t t = 0; t < rows; t++)
        for (int i = 0; i < chosen; i++) {
            const float *from = (const float *)y + (t * chosen + i) * width;
            for (int d = 0; d < width; d++) x[t * width + d] += share[t * chosen + i] * from[d];
        }
    sf_meter_combine(b, rows, chosen, width);
    return SF_OK;
}
