/* The tiles for AMX-BF16: attention and linear layers in bf16, the rest as for AVX-512; the Makefile names the instruction set. */
#if defined __x86_64__
#if !defined __AMX_BF16__ && !defined __AMXBF16__ /* clang before 16 */
#error "this file is for another instruction set than the flags that compile it"
#endif
#define ROUNDS /* tile_linear.h: without linear layers in fp32 */
#include "kernels/cpu/tiles.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_linear.h"
#include "kernels/cpu/tile_cache.h"
#include "kernels/cpu/tile_attention.h"
#include "kernels/cpu/tile_select.h"
#include "kernels/cpu/tile_recurrent.h"
#include "kernels/cpu/tile_bf16.h"

const sf_tiles sf_tiles_amx = SF_TILES_BF16("amx", sf_tiles_avx512);
#endif
