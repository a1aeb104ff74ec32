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
    raw[0, at[0]:at[0] + 2] = np.array([3e-6], "<f2").view(np.uint8)  # a subnormal scale
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
]
with open(pathlib.Path(__file__).with_suffix(".bin"), "wb") as out:
    for raw, decoded in pairs:
        assert decoded.size == N
        out.write(raw.tobytes() + decoded.tobytes())
