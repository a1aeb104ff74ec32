"""Writes dtypes.bin: for each element type, in the order of sf_dtype, 512 encoded elements and the fp32 that the Python
package gguf (NumPy for the plain types) decodes them to. Random bytes, except that scales are finite.

    python3 tests/golden/dtypes.py
"""
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Q, quants

N = 512
SCALES = {  # where a block's fp16 scales lie, in bytes
    Q.Q8_0: [0], Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q4_K: [0, 2], Q.Q6_K: [208], Q.Q2_K: [80, 82], Q.Q3_K: [108],
    Q.Q5_K: [0, 2], Q.IQ4_NL: [0], Q.IQ4_XS: [0], Q.IQ2_XXS: [0], Q.IQ2_XS: [0], Q.IQ2_S: [0], Q.IQ3_XXS: [0], Q.IQ3_S: [0], Q.IQ1_S: [0],
    Q.TQ1_0: [52], Q.TQ2_0: [64], Q.NVFP4: [],
}
rng = np.random.default_rng(2504)


def scales(count, spread):
    return (rng.standard_normal(count) * spread).astype("<f2").view(np.uint8).reshape(count, 2)


def blocks(kind, n=N, spread=0.05):
    """n numbers as [blocks, bytes], random but for scales of this spread."""
    size, bytes_ = GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (n // size, bytes_), dtype=np.uint8)
    for offset in SCALES[kind]:
        raw[:, offset:offset + 2] = scales(n // size, spread)
    return raw


def spread_scale(n=N, spread=0.05):
    """IQ1_M, whose fp16 scale lies in the upper bits of four words."""
    size, bytes_ = GGML_QUANT_SIZES[Q.IQ1_M]
    raw = rng.integers(0, 256, (n // size, bytes_), dtype=np.uint8)
    bits = scales(n // size, spread).view("<u2")[:, 0]
    for i in range(4):
        raw[:, 49 + 2 * i] = (raw[:, 49 + 2 * i] & 15) | ((bits >> 4 * i & 15) << 4).astype(np.uint8)
    return raw


def powers():
    """MXFP4, whose scale is a power of two: from subnormal ones on."""
    raw = rng.integers(0, 256, (N // 32, 17), dtype=np.uint8)
    raw[:, 0] = np.linspace(0, 140, N // 32).astype(np.uint8)
    return raw


def pair(kind):
    raw = spread_scale() if kind == Q.IQ1_M else powers() if kind == Q.MXFP4 else blocks(kind)
    if SCALES.get(kind):
        raw[0, SCALES[kind][0]:SCALES[kind][0] + 2] = np.array([3e-6], "<f2").view(np.uint8)  # a subnormal scale
    return raw, quants.dequantize(raw, kind).astype("<f4")


def pairs():
    half = np.concatenate([np.array([0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00], "<u2"),
                           rng.integers(0, 0x7C00, N - 10).astype("<u2")]).view("<f2")
    wide = rng.standard_normal(N).astype("<f4")
    brain = rng.integers(0, 0x7F80, N).astype("<u2")
    whole = rng.integers(-2**24, 2**24, N).astype("<i4")
    return [
        (wide, wide),
        (half, half.astype("<f4")),
        (brain, (brain.astype("<u4") << 16).view("<f4")),
        (whole, whole.astype("<f4")),
        *map(pair, [Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q4_K, Q.Q6_K, Q.Q2_K, Q.Q3_K, Q.Q5_K, Q.IQ4_NL, Q.IQ4_XS, Q.IQ2_XXS, Q.IQ2_XS,
                    Q.IQ2_S, Q.IQ3_XXS, Q.IQ3_S, Q.IQ1_S, Q.IQ1_M, Q.TQ1_0, Q.TQ2_0, Q.MXFP4, Q.NVFP4]),
        (wide.astype("<f8") * np.pi, (wide.astype("<f8") * np.pi).astype("<f4")),
        (whole.astype("i1"), whole.astype("i1").astype("<f4")),
        (whole.astype("<i2"), whole.astype("<i2").astype("<f4")),
        (whole.astype("<i8") << 20, (whole.astype("<i8") << 20).astype("<f4")),
    ]


if __name__ == "__main__":
    with open(pathlib.Path(__file__).with_suffix(".bin"), "wb") as out:
        for raw, decoded in pairs():
            assert decoded.size == N
            out.write(raw.tobytes() + decoded.tobytes())
