#!/usr/bin/env python3
"""The study's cost formulas (2504.17768, appendix on costs) and the counts of what is executed, for its nine models.

    python3 tests/golden/model/cost.py > tests/golden/model/cost.tsv

Written from the formulas, with sizes of its own (published config.json files), pairs counted row by row. Columns: model,
phase, tokens, batch, density, term, paper, exact. Prefill in FLOPs, decode in elements read."""
import numpy as np

#        layers  d    h  kv d_h  mlp    vocab   bias   gemma
MODELS = {
    "qwen2.5-7b": (28, 3584, 28, 4, 128, 18944, 152064, True, False),
    "qwen2.5-14b": (48, 5120, 40, 8, 128, 13824, 152064, True, False),
    "qwen2.5-32b": (64, 5120, 40, 8, 128, 27648, 152064, True, False),
    "qwen2.5-72b": (80, 8192, 64, 8, 128, 29568, 152064, True, False),
    "llama-3.1-8b": (32, 4096, 32, 8, 128, 14336, 128256, False, False),
    "llama-3.1-70b": (80, 8192, 64, 8, 128, 28672, 128256, False, False),
    "gemma-3-4b": (34, 2560, 8, 4, 256, 10240, 262208, False, True),
    "gemma-3-12b": (48, 3840, 16, 8, 256, 15360, 262208, False, True),
    "gemma-3-27b": (62, 5376, 32, 16, 128, 21504, 262208, False, True),
}
WINDOW = 1024


def layers_of(n, gemma):
    """Global and sliding layers: Gemma 3's layers 6, 12, 18, … (from one) are global."""
    if not gemma:
        return n, 0
    kinds = [layer % 6 == 0 for layer in range(1, n + 1)]
    return sum(kinds), n - sum(kinds)


def pairs(tokens, window=None):
    seen = np.arange(1, tokens + 1, dtype=np.int64)
    return int(seen.sum() if window is None else np.minimum(seen, window).sum())


def prefill(m, L, B, rho):
    N, d, h, kv, d_h, mlp, V, _, gemma = m
    full, slide = layers_of(N, gemma)
    W = min(WINDOW, L)
    yield "embedding", B * 2 * L * d, 0
    yield "projections", B * N * 2 * L * d * (2 * d + 2 * d_h * kv), B * N * 2 * L * (d * h * d_h + 2 * d * kv * d_h + h * d_h * d)
    yield "attention", B * full * rho * h * L**2 * (4 * d_h + 3), B * full * rho * h * pairs(L) * (4 * d_h + 3)
    if slide:
        yield "sliding attention", B * slide * h * L * W * (4 * d_h + 3), B * slide * h * pairs(L, W) * (4 * d_h + 3)
    yield "mlp", B * 2 * N * L * mlp * (3 * d + 1), B * N * 3 * 2 * L * d * mlp
    yield "head", B * 2 * L * d * V, B * 2 * d * V


def decode(m, L, B, rho):
    N, d, h, kv, d_h, mlp, V, bias, gemma = m
    full, slide = layers_of(N, gemma)
    W = min(WINDOW, L)
    attention = N * (d * h * d_h + 2 * d * kv * d_h + h * d_h * d)
    small = N * (2 * d + (2 * d + 2 * d_h if gemma else 0) + (h * d_h + 2 * kv * d_h if bias else 0)) + d
    yield "embedding", d, B * d
    yield "projections", attention, attention
    yield "mlp", N * 3 * d * mlp, N * 3 * d * mlp
    yield "head", d * V, d * V
    yield "norms and biases", 0, small
    yield "cache", B * 2 * full * L * d_h * kv * rho, B * 2 * full * L * d_h * kv * rho
    if slide:
        yield "sliding cache", B * 2 * slide * W * d_h * kv, B * 2 * slide * W * d_h * kv


if __name__ == "__main__":
    for name, m in MODELS.items():
        for phase, terms in ("prefill", prefill), ("decode", decode):
            for L, B, rho in (700, 1, 1.0), (128000, 64, 0.05):
                rows = list(terms(m, L, B, rho))
                for term, paper, exact in rows + [("total", sum(r[1] for r in rows), sum(r[2] for r in rows))]:
                    print(name, phase, L, B, rho, term, f"{paper:.17g}", f"{exact:.17g}", sep="\t")
