"""Writes dtypes.bin: for each element type, in the order of sf_dtype, 512 encoded elements and the fp32 that the Python
package gguf (NumPy for the plain types) decodes them to. Random bytes, except that scales are finite.

    python3 tests/golden/dtypes.py
"""
import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Q, quants

N = 512
rng = np.random.default_rng(2504)


def scales(count):
    return (rng.standard_normal(count) * 0.05).astype("<f2").view(np.uint8).reshape(count, 2)


def blocks(kind, size, bytes_, at):
    raw = rng.integers(0, 256, (N // size, bytes_), dtype=np.uint8)
    for offset in at:
        raw[:, offset:offset + 2] = scales(N // size)
    if at:
        raw[0, at[0]:at[0] + 2] = np.array([3e-6], "<f2").view(np.uint8)  # a subnormal scale
    return raw, quants.dequantize(raw, kind).astype("<f4")


def spread_scale(kind, size, bytes_):
    """IQ1_M, whose fp16 scale lies in the upper bits of four words."""
    raw, bits = rng.integers(0, 256, (N // size, bytes_), dtype=np.uint8), scales(N // size).view("<u2")[:, 0]
    for i in range(4):
        raw[:, 49 + 2 * i] = (raw[:, 49 + 2 * i] & 15) | ((bits >> 4 * i & 15) << 4).astype(np.uint8)
    return raw, quants.dequantize(raw, kind).astype("<f4")


def powers(kind, size, bytes_):
    """MXFP4, whose scale is a power of two: from subnormal ones on."""
    raw = rng.integers(0, 256, (N // size, bytes_), dtype=np.uint8)
    raw[:, 0] = np.linspace(0, 140, N // size).astype(np.uint8)
    return raw, quants.dequantize(raw, kind).astype("<f4")


half = np.concatenate([np.array([0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00], "<u2"),
                       rng.integers(0, 0x7C00, N - 10).astype("<u2")]).view("<f2")
wide = rng.standard_normal(N).astype("<f4")
brain = rng.integers(0, 0x7F80, N).astype("<u2")
whole = rng.integers(-2**24, 2**24, N).astype("<i4")
pairs = [
    (wide, wide),
    (half, half.astype("<f4")),
    (brain, (brain.astype("<u4") << 16).view("<f4")),
    (whole, whole.astype("<f4")),
    blocks(Q.Q8_0, 32, 34, [0]),
    blocks(Q.Q4_0, 32, 18, [0]),
    blocks(Q.Q4_1, 32, 20, [0, 2]),
    blocks(Q.Q5_0, 32, 22, [0]),
    blocks(Q.Q5_1, 32, 24, [0, 2]),
    blocks(Q.Q4_K, 256, 144, [0, 2]),
    blocks(Q.Q6_K, 256, 210, [208]),
    blocks(Q.Q2_K, 256, 84, [80, 82]),
    blocks(Q.Q3_K, 256, 110, [108]),
    blocks(Q.Q5_K, 256, 176, [0, 2]),
    blocks(Q.IQ4_NL, 32, 18, [0]),
    blocks(Q.IQ4_XS, 256, 136, [0]),
    blocks(Q.IQ2_XXS, 256, 66, [0]),
    blocks(Q.IQ2_XS, 256, 74, [0]),
    blocks(Q.IQ2_S, 256, 82, [0]),
    blocks(Q.IQ3_XXS, 256, 98, [0]),
    blocks(Q.IQ3_S, 256, 110, [0]),
    blocks(Q.IQ1_S, 256, 50, [0]),
    spread_scale(Q.IQ1_M, 256, 56),
    blocks(Q.TQ1_0, 256, 54, [52]),
    blocks(Q.TQ2_0, 256, 66, [64]),
    powers(Q.MXFP4, 32, 17),
    blocks(Q.NVFP4, 64, 36, []),
    (wide.astype("<f8") * np.pi, (wide.astype("<f8") * np.pi).astype("<f4")),
    (whole.astype("i1"), whole.astype("i1").astype("<f4")),
    (whole.astype("<i2"), whole.astype("<i2").astype("<f4")),
    (whole.astype("<i8") << 20, (whole.astype("<i8") << 20).astype("<f4")),
]
with open(pathlib.Path(__file__).with_suffix(".bin"), "wb") as out:
    for raw, decoded in pairs:
        assert decoded.size == N
        out.write(raw.tobytes() + decoded.tobytes())
