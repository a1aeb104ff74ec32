/* Reference: scores of an indexer. */
#include "kernels/count.h"
#include "kernels/reference/reference.h"

#include <math.h>

sf_status sf_reference_index_scores(sf_backend *b, int64_t rows, int heads, int dim, int64_t first, const float *q, const float *w,
                                    const float *k, float *score)
{
    const int64_t n = first + rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t h = 0; h < heads; h++) {
                double dot = 0;
                for (int d = 0; d < dim; d++) dot += (double)q[(r * heads + h) * dim + d] * k[j * dim + d];
                sum += w[r * heads + h] * fmax(dot, 0);
            }
            score[r * n + j] = j <= first + r ? (float)sum : -INFINITY;
        }
    sf_meter_index_scores(b, rows, heads, dim, first);
    return SF_OK;
}
