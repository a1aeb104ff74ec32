#!/usr/bin/env python3
"""What tests/peers/cpu.sh printed of one set of instructions, held against what is asked of it: a line a figure with its target, and
where that is missed, what limits and what is next.

    tests/peers/cpu_table.py < OUTPUT          a figure that is not in the output is said not to have been measured"""

import re
import sys

TILES = ("exponentials, some 9 cycles of 16 scores, and the first and last keys of rows", "exponentials of two rows side by side")
SUMS = ("sums along vectors, whose bits no number of rows changes: 8 loads for 12 multiply-adds, and 16 partial sums of each output to "
        "fold (F32 takes as long as Q4_K: it is not unpacking)", "a tile of 3 rows by 4 outputs (7 loads); folding several outputs at once")
BLOCKS = ("unpacking: 16 weights of 4 bits are some 9 operations of 256 bits or half as many of 512 (mask, spread, convert, scale, add up), 2.8 or 2 "
          "cycles of a Zen 4 by themselves, since spreading takes a pipe of the multiply-adds; the kernel takes twice that", "a block's scales at "
          "once and four outputs in turn (tried: Q2_K, Q3_K, Q5_K + 25 to 43 %, Q4_K + 5 %, but Q6_K on AVX2 - 14 %); spread by masks")
BYTES = ("turning bytes to floats; not looked into further", "`arithmetic: int8`, which turns none")
MISSES = ("lines that one core waits for", "calling rows of keys further ahead; huge pages")
PRODUCTS = ("the probe's products: 7.4 of 55.6 GFLOP at head dim 128, 3.7 of 27.8 at 64, that is 13.4 % before any exponential",
            "nothing in fp32: fewer rows of the probe would be another method")
WHOLE = ("llama.cpp multiplies whole numbers of 8 bits, Frontier fp32", "`arithmetic: int8`, below")
INT8 = ("a product and a sum of each output and 32 inputs beside 8 steps of VNNI; attention in fp32", "attention's share of a long prompt")
SHARED = ("as dense attention", "as dense attention")

def bench(name):  # a line of bench_cpu: the median of the shares of the ceiling that ran just before
    return re.escape(name) + r" .*?([\d.]+) % of each"

def attention(tokens, dim, method, skipped):  # of `frontier bench attention`, so many columns behind the spread
    return rf"{tokens} tokens, 7/1 heads of {dim},(?:(?!\n\n).)*?^prefill {method} [^\n]*?\.\.\S+" + r" +\S+" * skipped + r" +([\d.]+)"

ROWS = [("dense attention, % of FMA peak: 4k, head dim 64", bench("dense 4096, head dim 64"), 78, TILES),
        ("  4k, head dim 128", bench("dense 4096, head dim 128"), 82, TILES),
        ("  16k, head dim 64", attention(16384, 64, "dense", 2), 78, TILES),
        ("  16k, head dim 128", attention(16384, 128, "dense", 2), 82, TILES),
        ("x PyTorch SDPA, 8k, two threads: head dim 64", r"8192 keys, 7/1 of 64 .* ([\d.]+) x", 1.4, SHARED),
        ("  head dim 128", r"8192 keys, 7/1 of 128 .* ([\d.]+) x", 1.4, SHARED),
        ("blocks of 16, 16k, % of ideal", attention(16384, 128, "block_sparse", 5), 85, TILES),
        ("vertical_slash 16k, choosing % of both: head dim 64", r"16384, head dim 64 (?:.*\n)choosing.*is ([\d.]+) %", -14, PRODUCTS),
        ("  head dim 128", r"16384, head dim 128 (?:.*\n)choosing.*is ([\d.]+) %", -14, PRODUCTS)]
ROWS += [(("linear, 2048 rows, % of OpenBLAS sgemm: " if t == "F32" else "  ") + t, bench(f"2048 rows, 1024 to 1024, {t}"), 95, SUMS)
         for t in ("F32", "BF16", "Q8_0", "Q4_K", "Q6_K")]
ROWS += [(("linear, one row, % of what is read: " if t == "BF16" else "  ") + t, bench(f"1 row, 4096 to 14336, {t}"), least, BYTES if t == "Q8_0" else BLOCKS)
         for t, least in (("BF16", 80), ("Q8_0", 80), ("Q4_K", 55), ("Q5_0", 55), ("Q5_K", 55), ("Q6_K", 55))]
ROWS += [("dense decode 32k, % of what is read", bench("decode behind 32768, 32/8 of 128"), 80, MISSES),
         ("x llama.cpp, SmolLM2: prompt of 4096", r"^prompt of 4096 .* ([\d.]+) x", 3, WHOLE),
         ("  steps behind 2048", r"^\d+ steps behind 2048 .* ([\d.]+) x", 1.3, WHOLE),
         ("  arithmetic: int8: prompt of 4096", r"^int8, prompt of 4096 .* ([\d.]+) x", 3, INT8),
         ("  arithmetic: int8: steps behind 2048", r"^int8, \d+ steps behind 2048 .* ([\d.]+) x", 1.3, INT8)]

said = sys.stdin.read()
print(f"{'figure':52} {'target':>8} {'here':>7}")
for name, pattern, target, (limit, after) in ROWS:
    found = re.search(pattern, said, re.M | re.S if "(?!" in pattern else re.M)
    asked = f"{'<=' if target < 0 else '>='} {abs(target):g}"
    if not found:
        print(f"{name:52} {asked:>8} {'-':>7}  not measured")
        continue
    here = float(found[1])
    reached = here <= -target if target < 0 else here >= target
    print(f"{name:52} {asked:>8} {found[1]:>7}  " + ("reached" if reached else f"missed; limits: {limit}; next: {after}"))
