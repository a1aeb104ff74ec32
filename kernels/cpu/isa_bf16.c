/* The tiles of AMX-BF16 by loops, for any machine: the twin that isa_amx.c is tested against, and far slower than fp32. */
#define ROUNDS /* tile_linear.h: without linear layers in fp32 */
#include "kernels/cpu/tiles.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_linear.h"
#include "kernels/cpu/tile_cache.h"
#include "kernels/cpu/tile_attention.h"
#include "kernels/cpu/tile_select.h"
#include "kernels/cpu/tile_recurrent.h"
#include "kernels/cpu/tile_bf16.h"

const sf_tiles sf_tiles_bf16 = SF_TILES_BF16("loops", sf_tiles_generic);
