"""Delta Attention over another method (2505.11254; jeffwillette/delta-attention b1b2f77, delta_forward)."""
import numpy as np

from .study import block_sparse, vertical_slash
from .baselines import streaming
from .vocabulary import Cases, causal_mask, everything, output


def corrected(base):
    def delta(a, p, sparsity):
        n, every, tail = a.tokens, p.get("delta_every", 64), p.get("delta_tail", 128)
        end = max(n - n % every - max(tail, every), 0)
        anchors = np.arange(0, n, every)
        whole, again, dense = n * (n + 1) / 2, (anchors + 1).sum(), (np.arange(end, n) + 1).sum()
        if sparsity and not p.get("delta_added"):
            sparsity = 1 - max((1 - sparsity - (again + dense) / whole) / (1 + again / whole), 1e-3)
        own = {k: v for k, v in p.items() if not k.startswith("delta_")}
        if end == 0 or sparsity == 0 and base(a, own, sparsity)["lists"] == []:
            return everything(a)
        result = base(a, own, sparsity)
        sparse, full = output(a, result["masks"], False), output(a, [causal_mask(n)] * a.heads, False)
        out = full.copy()
        for i in range(end):
            first = i // every * every
            out[i] = sparse[i] + full[first] - sparse[first]
        pairs = sum(int(m.sum()) + int(m[anchors].sum()) for m in result["masks"]) + a.heads * int(again + dense)
        return {"lists": [], "masks": result["masks"], "out": out, "pairs": pairs}

    return delta


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "vertical_slash_delta": Cases("prefill", corrected(vertical_slash), [
        {"columns": 10, "diagonals": 8, "local": 1, "delta_every": 16, "delta_tail": 8}, (0.5, {"delta_every": 16, "delta_tail": 0}),
        {"columns": 40, "diagonals": 20, "window": 64, "local": 4}, {"columns": 9, "diagonals": 12, "local": 4, "delta_every": 7, "delta_tail": 3},
        (0.6, {"delta_every": 50}), {"columns": 20, "diagonals": 30, "local": 10, "selection": "group", "delta_every": 1, "delta_tail": 1},
        {"columns": 4, "diagonals": 2, "local": 2, "delta_every": 5, "delta_tail": 0}, {"columns": 2, "diagonals": 1}]),
    "block_sparse_delta": Cases("prefill", corrected(block_sparse), [
        {"k": 3, "delta_every": 16, "delta_tail": 8}, (0.5, {"delta_every": 64, "delta_tail": 5}), {"k": 5, "block": 32},
        (0.6, {"delta_every": 32, "delta_added": True})]),
    "streaming_delta": Cases("prefill", corrected(streaming), [
        {"local": 8, "delta_every": 16, "delta_tail": 8}, (0.5, {"delta_every": 64, "delta_tail": 5}), {"local": 30, "sinks": 2}]),
}
