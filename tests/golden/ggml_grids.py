#!/usr/bin/env python3
"""Writes kernels/ggml_grids.h, the code books of ggml's IQ types, from the Python package gguf (0.19; llama.cpp, MIT):

    python3 tests/golden/ggml_grids.py > kernels/ggml_grids.h
"""
import numpy as np
from gguf import quants

NAMES = {"iq2_xxs": quants.IQ2_XXS, "iq2_xs": quants.IQ2_XS, "iq2_s": quants.IQ2_S, "iq3_xxs": quants.IQ3_XXS, "iq3_s": quants.IQ3_S,
         "iq1_s": quants.IQ1_S}

print("""/* The code books of ggml's IQ types (llama.cpp, MIT licence), by tests/golden/ggml_grids.py: each entry names the values of 8 or
 * 4 weights, 2 or 3 bits each, the first in the lowest bits; what a number stands for follows below. */
#ifndef SF_GGML_GRIDS_H
#define SF_GGML_GRIDS_H

#include <stdint.h>
""")
for name, q in NAMES.items():
    q.init_grid()
    grid = np.asarray(q.grid).reshape(-1, q.grid_shape[1])
    bits = 2 if q.grid_shape[1] == 8 else 3
    index = np.stack([(grid == v) for v in q.grid_map], -1).argmax(-1)
    assert (np.asarray(q.grid_map)[index] == grid).all()
    packed = (index.astype(np.uint32) << (bits * np.arange(grid.shape[1], dtype=np.uint32))).sum(-1)
    print(f"static const uint16_t {name}_grid[{len(packed)}] = {{")
    for i in range(0, len(packed), 16):
        print("    " + ", ".join(map(str, packed[i:i + 16])) + ",")
    print("};")
for name, q in (("iq2", quants.IQ2_XXS), ("iq3_xxs", quants.IQ3_XXS), ("iq3_s", quants.IQ3_S)):
    print(f"static const int8_t {name}_value[{len(q.grid_map)}] = {{{', '.join(map(str, q.grid_map))}}};")
print("\n#endif")
