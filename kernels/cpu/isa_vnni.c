/* Linear layers in whole numbers for AVX-512 VNNI; the Makefile names the instruction set. */
#if defined __x86_64__
#if !defined __AVX512VNNI__
#error "this file is for another instruction set than the flags that compile it"
#endif
#include "kernels/cpu/tiles.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_integers.h"

const sf_integer_tiles sf_integers_vnni = SF_INTEGER_TILES("vnni");
#endif
