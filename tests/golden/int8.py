"""Writes int8.bin, for test_int8: rows [5, 256] fp32 and, of each element type that cpu-int8 multiplies in whole numbers, in the order of
sf_dtype, their products [5, 2] with the 512 weights of that type in dtypes.bin, in double: rows rounded by NumPy to 8 bits, 32 to a
scale; weights as the Python package gguf decodes them.

    python3 tests/golden/int8.py
"""
import pathlib

import numpy as np

from dtypes import pairs

PLACES = [4, 5, 6, 7, 8, 9, 10, 13, 14, 15]  # in pairs(): Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K, Q5_K, IQ4_NL, IQ4_XS


def rounded(x):
    blocks = x.reshape(-1, 32)
    most = np.abs(blocks).max(axis=1, keepdims=True)
    whole = np.rint(blocks * (np.float32(127) / most))
    return (whole.astype(np.float64) * (most / np.float32(127))).reshape(x.shape)


def main():
    here = pathlib.Path(__file__).parent
    x = np.random.default_rng(2512).standard_normal((5, 256)).astype("<f4") * np.float32(3)
    with open(here / "int8.bin", "wb") as out:
        out.write(x.tobytes())
        weights = pairs()
        for place in PLACES:
            out.write((rounded(x) @ weights[place][1].astype(np.float64).reshape(2, 256).T).astype("<f8").tobytes())


main()
