/* CPU: linear layers in whole numbers, of weights in block formats (integers.h); shared out as those in fp32 are (layers.c). */
#include "kernels/cpu/integers.h"

#include "kernels/cpu/cpu.h"

#include <string.h>

/* Outputs of a unit of many rows, and rows; rows from which on they are many; rows rounded at a time. */
enum { OUTS = 128, TALL = 384, FEW = 64, SLAB = 5 * TALL };

const sf_integer_tiles *sf_cpu_integer_tiles(const sf_backend *b)
{
    const char *set = sf_cpu_tiles(b)->name;
#if defined __x86_64__
    if (strcmp(set, "avx512") == 0 && __builtin_cpu_supports("avx512vnni")) return &sf_integers_vnni;
    if (strcmp(set, "generic") != 0) return &sf_integers_avx2;
#endif
    (void)set;
    return &sf_integers_generic;
}

sf_status sf_cpu_integer_product(sf_backend *b, const float *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add, float *y)
{
    const sf_integer_tiles *tiles = sf_cpu_integer_tiles(b);
    int64_t out = w->dim[0], in = w->dim[1], blocks = in / SF_INTEGER_BLOCK, parts = sf_integer_parts(w->dtype);
    int64_t most = rows < SLAB ? rows : SLAB;
    sf_integers l = {.w = w->data, .in = in, .ldy = out, .row_bytes = sf_bytes(w->dtype, in), .dtype = w->dtype, .add = add};
    sf_mark mark = sf_scratch_mark(b);
    char *room;
    if (bias && bias->data) SF_TRY(sf_cpu_as_f32(b, bias, &l.bias));
    SF_TRY(sf_scratch_alloc(b, (size_t)(most * in), (void **)&l.q));
    SF_TRY(sf_scratch_alloc(b, (size_t)(most * blocks) * sizeof *l.scale, (void **)&l.scale));
    SF_TRY(sf_scratch_alloc(b, (size_t)(most * blocks) * sizeof *l.sum, (void **)&l.sum));
    SF_TRY(sf_scratch_alloc(b, (size_t)(most * blocks * parts) * sizeof *l.begin, (void **)&l.begin));
    SF_TRY(sf_cpu_room(b, SF_INTEGER_ROOM, 1, (void **)&room));
    for (int64_t r = 0; r < rows; r += most) {
        l.rows = rows - r < most ? rows - r : most;
        l.y = y + r * out;
        int64_t tall = sf_cpu_parts(l.rows, TALL), wide = l.rows < FEW ? SF_INTEGER_OUTS : OUTS;
        while (wide > SF_INTEGER_OUTS && sf_cpu_parts(out, wide) * tall < 6 * b->threads) wide /= 2;
        if (l.rows == 1) tiles->round(&l, x + r * in, 0, 1);
#pragma omp parallel num_threads(b->threads) if (l.rows * out * in > 1 << 16)
        {
            if (l.rows > 1) {
#pragma omp for schedule(static)
                for (int64_t i = 0; i < l.rows; i++) tiles->round(&l, x + r * in, i, 1);
            }
#pragma omp for schedule(dynamic)
            for (int64_t unit = 0; unit < sf_cpu_parts(out, wide) * tall; unit++) {
                int64_t o = unit / tall * wide, first = unit % tall * TALL;
                tiles->product(&l, first, l.rows - first < TALL ? l.rows - first : TALL, o, out - o < wide ? out - o : wide,
                               room + (int64_t)omp_get_thread_num() * SF_INTEGER_ROOM);
            }
        }
    }
    sf_scratch_release(b, mark);
    return SF_OK;
}
