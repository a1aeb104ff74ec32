/* A kv head's keys or values, which lie in two parts. */
#ifndef SF_CUDA_ROWS_CUH
#define SF_CUDA_ROWS_CUH

#include "kernels/cuda/device.cuh"

struct rows {
    const bf16 *part[2];
    int64_t capacity[2];
    const int32_t *count[2];
    int n[2], D;
};

static inline rows rows_of(const sf_attention *a, bool values)
{
    const sf_kv_part *part[2] = {&a->kv.prompt, &a->kv.tail};
    rows r = {};
    for (int i = 0; i < 2; i++) {
        r.part[i] = (const bf16 *)(values ? part[i]->v : part[i]->k);
        r.capacity[i] = part[i]->capacity, r.n[i] = part[i]->n, r.count[i] = part[i]->count;
    }
    r.D = a->head_dim;
    return r;
}

/* NULL where a compacted cache does not hold it. */
__device__ static inline const bf16 *row_at(const rows &r, int g, int j)
{
    int late = j >= r.n[0];
    if (late) j -= r.n[0];
    if (j >= (r.count[late] ? r.count[late][g] : r.n[late])) return NULL;
    return r.part[late] + (g * r.capacity[late] + j) * r.D;
}

#endif
