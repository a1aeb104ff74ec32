/* The tiles for AVX-512; the Makefile names the instruction set. */
#if defined __x86_64__
#if !defined __AVX512F__
#error "this file is for another instruction set than the flags that compile it"
#endif
#include "kernels/cpu/tiles.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_linear.h"
#include "kernels/cpu/tile_cache.h"
#include "kernels/cpu/tile_attention.h"
#include "kernels/cpu/tile_select.h"
#include "kernels/cpu/tile_recurrent.h"

const sf_tiles sf_tiles_avx512 = SF_TILES("avx512");
#endif
