/* CPU: queries and keys turned to other positions, for patterns with a reach. Angles are taken in double, since positions
 * are many and frequencies near 1. */
#include <math.h>

#include "kernels/cpu/cpu.h"

void sf_cpu_angles(const sf_attention *a, int64_t positions, float *cosine, float *sine)
{
    for (int d = 0; d < a->head_dim / 2; d++) {
        double angle = (double)positions * (double)a->frequency[d];
        cosine[d] = (float)cos(angle);
        sine[d] = (float)sin(angle);
    }
}

void sf_cpu_turn(const sf_attention *a, const float *cosine, const float *sine, const float *from, float *to)
{
    int half = a->head_dim / 2, step = a->interleaved ? 2 : 1, apart = a->interleaved ? 1 : half;
    for (int d = 0; d < half; d++) {
        float x = from[d * step], y = from[d * step + apart];
        to[d * step] = x * cosine[d] - y * sine[d];
        to[d * step + apart] = x * sine[d] + y * cosine[d];
    }
}
