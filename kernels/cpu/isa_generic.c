/* The tiles for any other machine: what the compiler makes of vectors of four. */
#include "kernels/cpu/tiles.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_linear.h"
#include "kernels/cpu/tile_cache.h"
#include "kernels/cpu/tile_attention.h"
#include "kernels/cpu/tile_select.h"
#include "kernels/cpu/tile_recurrent.h"
#include "kernels/cpu/tile_integers.h"

const sf_tiles sf_tiles_generic = SF_TILES("generic");
const sf_integer_tiles sf_integers_generic = SF_INTEGER_TILES("generic");
