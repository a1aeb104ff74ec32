"""Double-P: clusters by mass; keys of the heaviest, of the others a summary each."""
import math

import numpy as np

from .sampling import of_mass, within_step
from .vocabulary import Cases, everything, logits, read_keys, softmax


def clusters(a, g, p, begin, end):
    """Lloyd's k-means of a kv head's keys: member [keys], centroids and mean values [C, D], sizes [C]."""
    each, segment = p.get("each", 32), p.get("segment", 8192)
    member, centroids, values, sizes = np.full(a.k.shape[0], -1), [], [], []
    for first in range(begin, end, segment):
        last = min(first + segment, end)
        n, k, v = -(-(last - first) // each), a.k[first:last, g], a.v[first:last, g]
        at = k[[c * len(k) // n for c in range(n)]].copy()
        for _ in range(p.get("iterations", 10) + 1):
            own = ((k[:, None] - at[None]) ** 2).sum(axis=2).argmin(axis=1)
            for c in range(n):
                if (own == c).any():
                    at[c] = k[own == c].mean(axis=0)
        member[first:last] = own + len(sizes)
        for c in range(n):
            centroids.append(at[c].astype(np.float32))
            values.append(v[own == c].mean(axis=0) if (own == c).any() else np.zeros(a.dim))
            sizes.append(max((own == c).sum(), math.exp(-60)))
    return member, np.array(centroids, np.float64), np.array(values), np.array(sizes, np.float64)


def double_p(a, p, sparsity):
    n, prompt = a.keys, a.tokens
    begin = min(p.get("sinks", 4), prompt)
    end = max(prompt - p.get("local", 64), begin)
    if begin == end or sparsity == 0:
        return everything(a)
    made = [clusters(a, g, p, begin, end) for g in range(a.kv)]
    q, many = a.q[n - 1], len(made[0][3])
    logit = np.stack([made[h // a.group][1] @ q[h] * a.scale for h in range(a.heads)])
    mass = softmax(logit) * np.stack([made[h // a.group][3] for h in range(a.heads)])

    def choose(share, exact=False):
        counted = [of_mass(x, share, exact) for x in mass]
        heavy = [of_mass(x, p.get("exact", 0.8) * share, exact) if p.get("exact", 0.8) * share > 0 else [] for x in mass]
        keys = [[j for j in range(n) if made[h // a.group][0][j] in [-1] + heavy[h]] for h in range(a.heads)]
        return keys, [sorted(set(x) - set(y)) for x, y in zip(counted, heavy)]

    share = p.get("mass", 0.95)
    if sparsity is not None:
        share = within_step(a, 1 - sparsity, lambda dial, exact: [x + list(range(n, n + many)) for x in choose(dial)[0]])
    if share >= 1:
        return everything(a)
    keys, light = choose(share, sparsity is None)
    result = read_keys(a, keys)
    out = np.zeros((1, a.heads, a.dim))
    s = logits(a, slice(n - 1, n), None)[:, 0]
    for h in range(a.heads):
        _, _, values, sizes = made[h // a.group]
        terms = np.concatenate([s[h, keys[h]], logit[h, light[h]] + np.log(sizes[light[h]])])
        out[0, h] = softmax(terms) @ np.concatenate([a.v[keys[h], h // a.group], values[light[h]]])
    result.update(out=out, pairs=sum(len(x) for x in keys) + a.heads * many)
    return result


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "double_p": Cases("decode", double_p, [
        {"each": 4, "local": 8, "mass": 0.8}, (0.5, {"each": 16}), {"each": 8, "local": 20, "segment": 100, "iterations": 3}, {"each": 300},
        (0.7, {"each": 16, "exact": 0.5}), {"each": 8, "local": 0, "sinks": 0, "exact": 0.0}, 0.0, {"mass": 0.5},
        {"each": 10, "local": 10, "exact": 1.0, "mass": 0.9}, (0.8, {"each": 32, "segment": 64})]),
    "double_p/iterations": Cases("decode", double_p, [
        {"each": 4, "local": 8, "mass": 0.8, "iterations": 0}, {"each": 8, "mass": 0.7, "iterations": 1}]),
}
