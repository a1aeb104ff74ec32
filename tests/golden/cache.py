"""Writes, for test_cache, cache.bin: rows [5, 20, 64] fp32, and what each format of kernels/cache.h makes of them, in the order there.

    fp8   torch's float8_e4m3fn, of what is clamped to its range first (it does not saturate, as vLLM's conversion does)
    int8  torch, by the formula of vLLM's int8_per_token_head (vllm/v1/attention/ops/triton_reshape_and_cache_flash.py and its test):
          scale = max(max|x| / 127, 1e-6) of each row, q = round(x · (1 / scale)) within -128 … 127
    int4  the Python package gguf: Q4_0, packed and unpacked again

and cache_packed.bin, what the same packages store: the 256 numbers of e4m3; then of the rows the bytes of fp8, of int8 and, fp32, its scales, and the
blocks of int4.

    python3 tests/golden/cache.py

Made with torch 2.15, gguf 0.19, NumPy 2.4.
"""
import pathlib

import gguf
import numpy as np
import torch


def fp8(x):
    return torch.from_numpy(x).clamp(-448, 448).to(torch.float8_e4m3fn).float().numpy()


def int8_codes(x):
    x = torch.from_numpy(x)
    scale = (x.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=1e-6)
    return (x * (1 / scale)).round().clamp(-128, 127), scale


def int8(x):
    q, scale = int8_codes(x)
    return (q * scale).numpy()


def int4_blocks(x):
    return gguf.quants.quantize(x.reshape(-1, 32), gguf.GGMLQuantizationType.Q4_0)


def int4(x):
    return gguf.quants.dequantize(int4_blocks(x), gguf.GGMLQuantizationType.Q4_0).reshape(x.shape)


def rows():
    r = np.random.default_rng(2402)
    x = r.standard_normal((5, 20, 64)).astype("<f4")
    x[1] *= 40
    x[2] *= np.exp(r.uniform(-14, 7, (20, 64))).astype("<f4")  # from below the least number of e4m3 to beyond its largest
    x[3] = np.round(x[3] * 16) / 2  # ties
    x[4, :5] = 0
    x[4, 5:10] *= np.float32(1e-8)
    x[4, 10:15, ::7] = 3
    x[4, 10:15, ::5] = -3
    return x


def main():
    x = rows()
    with open(pathlib.Path(__file__).parent / "cache.bin", "wb") as out:
        for made in (x, fp8(x), int8(x), int4(x)):
            out.write(np.ascontiguousarray(made, dtype="<f4").tobytes())
    q, scale = int8_codes(x)
    with open(pathlib.Path(__file__).parent / "cache_packed.bin", "wb") as out:
        out.write(torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy().tobytes())
        out.write(torch.from_numpy(x).clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8).numpy().tobytes())
        out.write(q.to(torch.int8).numpy().tobytes() + scale.numpy().tobytes())
        out.write(int4_blocks(x).tobytes())


if __name__ == "__main__":
    main()
