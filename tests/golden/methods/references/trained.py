"""Trained methods that see the layer's input and own weights, both made up of the case's seed: NSA, DSA."""
import numpy as np

from .vocabulary import Cases, fit_amount, fit_rows, frequencies, softmax, top


def nsa_shapes(heads, kv, dim, width, p):
    """Shapes of the weights, as the method lists them."""
    return [[3 * heads, width]]


def nsa(a, p, sparsity):
    """2502.11089, as fla/ops/nsa/naive.py at 012a873 has it: each row by itself, from the definition."""
    prefill, n = a.phase == "prefill", a.keys
    block, count, window = p.get("block", 64), p.get("blocks", 16), p.get("window", 512)
    if sparsity is not None:
        row = fit_rows(a)
        own = row % block + 1
        read = lambda k: (row + 1) // block + np.minimum(row + 1, own + (k - 1) * block) + np.minimum(row + 1, window)
        count = fit_amount(a, sparsity, 3, max(3, -(-(a.tokens + a.c["output"]) // block)), read)
    gate = 1 / (1 + np.exp(-(a.x @ a.weights[0].T)))
    gate = gate.reshape(n, a.heads, 3)
    whole = n // block
    mean_k, mean_v = (x[: whole * block].reshape(whole, block, a.kv, a.dim).mean(axis=1) for x in (a.k, a.v))
    out, pairs, masks = np.zeros((n, a.heads, a.dim)), 0, np.zeros((a.heads, n, n), bool)
    for i in range(0 if prefill else n - 1, n):
        over, own = (i + 1) // block, i // block
        latest = slice(max(0, i + 1 - window), i + 1)
        for g in range(a.kv):
            heads = slice(g * a.group, (g + 1) * a.group)
            q, score = a.q[i, heads] * a.scale, np.zeros(own + 1)
            if over:
                share = softmax(q @ mean_k[:over, g].T)
                score[:over] = share.mean(axis=0)
                out[i, heads] += gate[i, heads, :1] * (share @ mean_v[:over, g])
            score[over:] = -np.inf
            score[[0, own, max(own - 1, 0)]] = np.inf
            seen = np.repeat(np.isin(np.arange(own + 1), top(score, count)), block)[: i + 1]
            masks[heads, i, : i + 1] = seen
            masks[heads, i, latest] = True
            for branch, at in ((1, np.flatnonzero(seen)), (2, np.arange(n)[latest])):
                out[i, heads] += gate[i, heads, branch, None] * (softmax(q @ a.k[at, g].T) @ a.v[at, g])
                pairs += len(at) * a.group
            pairs += over * a.group
    rows = slice(0, n) if prefill else slice(n - 1, n)
    return {"lists": [], "masks": masks[:, rows], "pairs": pairs, "out": out[rows]}


def dsa_shapes(heads, kv, dim, width, p):
    own = p.get("index_dim", 128)
    return [[p.get("index_heads", 64) * own, width], [own, width], [p.get("index_heads", 64), width], [own], [own]]


def dsa(a, p, sparsity):
    """DeepSeek-V3.2-Exp, inference/model.py at 3b99a53, Indexer, of the layer's input and in fp64."""
    prefill, n = a.phase == "prefill", a.keys
    count, heads, dim = p.get("k", 2048), p.get("index_heads", 64), p.get("index_dim", 128)
    if sparsity is not None:
        row = fit_rows(a)
        count = fit_amount(a, sparsity, 1, a.tokens + a.c["output"], lambda k: np.minimum(row + 1, k))
    wq, wk, ww, norm, shift = a.weights
    half = min(a.dim // 2, dim // 2)
    angle = np.outer(np.arange(n, dtype=np.float32), frequencies(a.dim)[:half]).astype(np.float32).astype(np.float64)

    def turned(x):  # [rows, heads, dim], the first 2 half numbers in halves
        u, v, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        return np.concatenate([u * c - v * s, v * c + u * s, rest], axis=-1)

    k = a.x @ wk.T
    k = (k - k.mean(axis=1, keepdims=True)) / np.sqrt(k.var(axis=1, keepdims=True) + 1e-6) * norm + shift
    k, q, w = turned(k[:, None])[:, 0], turned((a.x @ wq.T).reshape(n, heads, dim)), a.x @ ww.T
    chosen = []
    for i in range(0 if prefill else n - 1, n):
        chosen.append(top(w[i] @ np.maximum(q[i] @ k[: i + 1].T, 0), count))
    masks = np.zeros((len(chosen), n), bool)
    for mask, at in zip(masks, chosen):
        mask[at] = True
    return {"lists": chosen, "masks": [masks] * a.heads}


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "nsa": Cases("both", nsa, [
        {"blocks": 3, "block": 8, "window": 9}, (0.5, {"block": 16, "window": 20}), {"blocks": 4, "block": 32, "window": 64},
        {"blocks": 5, "block": 16, "window": 1}, (0.7, {"block": 8, "window": 30}), {"blocks": 4, "block": 10, "window": 400}, (0.0, {"block": 4}), {},
        (0.8, {"block": 16, "window": 16}), {"blocks": 6, "block": 20, "window": 33}], weights=nsa_shapes),
    "dsa": Cases("both", dsa, [
        {"k": 10, "index_heads": 2, "index_dim": 16}, (0.5, {"index_heads": 3, "index_dim": 8}), {"k": 33, "index_heads": 4, "index_dim": 32}, {"k": 20, "index_heads": 2, "index_dim": 64},
        (0.8, {"index_heads": 1, "index_dim": 32}), {"k": 12, "index_heads": 5, "index_dim": 24}, (0.0, {"index_heads": 2, "index_dim": 16}), {"index_heads": 2, "index_dim": 16},
        {"k": 40, "index_heads": 3, "index_dim": 16}, (0.9, {"index_heads": 2, "index_dim": 16})], weights=dsa_shapes),
}
