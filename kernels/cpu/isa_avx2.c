/* The tiles for AVX2. */
#if defined __x86_64__
#if !defined __clang__ /* which takes -march instead, see the Makefile */
#pragma GCC target("arch=x86-64-v3")
#endif
#include "kernels/cpu/tiles.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_linear.h"
#include "kernels/cpu/tile_attention.h"
#include "kernels/cpu/tile_select.h"

const sf_tiles sf_tiles_avx2 = SF_TILES("avx2");
#endif
