/* CPU: scores of an indexer: a product of all rows and heads with all keys, then each row's heads are added up in order. What lies ahead of
 * a row is computed along; it is less than the other rows' work where there are more keys than rows. */
#include <math.h>

#include "kernels/count.h"
#include "kernels/cpu/cpu.h"

sf_status sf_cpu_index_scores(sf_backend *b, int64_t rows, int heads, int dim, int64_t first, const float *q, const float *w, const float *k,
                              float *score)
{
    const int64_t n = first + rows;
    const sf_tensor keys = {(void *)(uintptr_t)k, SF_F32, 2, {n, dim}};
    const sf_mark mark = sf_scratch_mark(b);
    sf_backend exact = *b; /* methods choose by what comes out */
    if (sf_cpu_tiles(b)->exact) exact.self = (void *)sf_cpu_tiles(b)->exact;
    float *dot; /* [rows, heads, n] */
    SF_TRY(sf_scratch_alloc(b, (size_t)(rows * heads * n) * sizeof *dot, (void **)&dot));
    sf_status status = sf_cpu_product(&exact, q, rows * heads, &keys, NULL, false, dot);
#pragma omp parallel for num_threads(b->threads) schedule(static) if (status == SF_OK)
    for (int64_t r = 0; r < rows; r++) {
        float *to = score + r * n;
        for (int64_t j = 0; j < n; j++) to[j] = 0;
        for (int h = 0; h < heads; h++) {
            const float *from = dot + (r * heads + h) * n, weight = w[r * heads + h];
            for (int64_t j = 0; j <= first + r; j++) to[j] += weight * (from[j] > 0 ? from[j] : 0);
        }
        for (int64_t j = first + r + 1; j < n; j++) to[j] = -INFINITY;
    }
    sf_scratch_release(b, mark);
    sf_meter_index_scores(b, rows, heads, dim, first);
    return status;
}
