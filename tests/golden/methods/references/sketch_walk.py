"""Sketch-and-Walk: blocks of all heads, by a walk over maps of sketched block means from layer to layer."""
import numpy as np

from .vocabulary import Cases, Close, blocks, everything, fit_blocks, order, splitmix


def sketch_walk(a, p, sparsity):
    """earlier: Attentions of the layers before this one. A choice that hangs on rounding in fp32 is told by the errors of A, carried
    along the walk."""
    n, block, power = a.tokens, p.get("block", 64), p.get("power", 8)
    k = max(p.get("k", 16) if sparsity is None else fit_blocks(n, block, sparsity), 2)
    layers, first = [*p.get("earlier", []), a], p.get("dense_layers", 0)
    if a.layer < first:
        return everything(a)
    hadamard = np.ones((1, 1))
    while len(hadamard) < a.dim:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    sign = 1 - 2 * (splitmix(p.get("seed", 43), np.arange(a.dim)) >> np.uint64(63)).astype(np.float64)
    sketch = hadamard[: p.get("rank", 64), : a.dim] * sign
    walk, off = np.eye(-(-n // block)), np.zeros((-(-n // block),) * 2)
    for layer in layers[max(first - (a.layer + 1 - len(layers)), 0) :]:
        q, k_ = layer.means(layer.q, block).mean(axis=0), layer.means(layer.k, block).mean(axis=0)
        map_ = np.tril(q @ sketch.T @ sketch @ k_.T)
        most = np.abs(map_).max() or 1.0
        map_ = map_ / most
        wrong = 1e-6 * (np.abs(q) @ np.abs(sketch.T)) @ (np.abs(sketch) @ np.abs(k_.T)) / most
        step = map_**power
        off = off @ np.abs(step) + np.abs(walk) @ np.tril((np.abs(map_) + wrong) ** power - np.abs(map_) ** power)
        walk = walk @ step
        scale = np.abs(walk).max(axis=1, keepdims=True)
        if (scale < 1e-300).any():
            raise Close
        walk, off = walk / scale, off / scale + 1e-6 * np.abs(walk / scale) + 1e-37
    rows = []
    for i, row in enumerate(walk):
        row = row[: i + 1].copy()
        row[[0, i]] = np.inf
        at = order(row)
        if k < i + 1 and row[at[k - 1]] - row[at[k]] < off[i, at[k - 1]] + off[i, at[k]]:
            raise Close
        rows.append(sorted(int(j) for j in at[:k]))
    return {"lists": rows, "masks": blocks(a, [rows] * a.heads, block)["masks"]}


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "sketch_walk": Cases("prefill", sketch_walk, [
        {"k": 3, "block": 16, "rank": 8}, (0.5, {"block": 8}), {"k": 4, "block": 32}, {"k": 5, "block": 16, "power": 3, "seed": 1}, (0.7, {"block": 16, "rank": 32}),
        {"k": 4, "block": 8, "dense_layers": 2}, 0.0, {}, {"k": 2, "block": 16, "dense_layers": 3}, (0.8, {"block": 8, "power": 1})]),
    "sketch_walk/seed": Cases("prefill", sketch_walk, [
        {"k": 3, "block": 4, "rank": 4, "seed": 1}, {"k": 4, "block": 8, "rank": 8, "seed": 5}]),
}
