"""Decode by mass and by samples: Twilight, vAttention, MagicPIG; Double-P is in double_p.py."""
import math

import numpy as np

from .study import best_pages
from .vocabulary import Cases, Close, MARGIN, draw, everything, fit_keys, highest_dial, logits, order, read_keys, softmax, splitmix, top


def within_step(a, target, choose):
    """within() of one decode step; choose(dial, exact) gives lists by head, with `exact` watching for choices that hang on rounding."""
    if target >= 1:
        return None

    def fits(dial):
        lists = choose(dial, False)
        return sum(len(x) for x in lists) * (a.heads // len(lists)) / (a.heads * a.keys) <= target

    low = highest_dial(fits)
    if choose(low, False) != choose(max(low - 2 * MARGIN, 0.0), False):
        raise Close
    return low


def of_mass(x, mass, exact=True):
    """The fewest of a row's finite entries that hold a share of their sum."""
    finite = np.where(np.isfinite(x), x, 0)
    o = order(x)
    share = np.cumsum(finite[o]) / finite.sum()
    if exact and mass < 1 and np.abs(share - mass).min() < MARGIN:
        raise Close
    count = min(int((share < mass).sum()) + 1 if mass > 0 else 1, int((x > -np.inf).sum()))
    if count < len(x) and x[o[count - 1]] == x[o[count]]:  # equal here, but exp() and sums may tell them apart elsewhere
        raise Close
    return top(x, count) if exact else sorted(int(i) for i in o[:count])


def by_mass(a, share, mass, target):
    """mass, or with a target density the largest mass within it."""
    if target is not None:
        mass = within_step(a, target, lambda dial, exact: [of_mass(x, dial, exact) for x in share])
        if mass is None:
            return everything(a)
        return read_keys(a, [of_mass(x, mass, False) for x in share])
    return everything(a) if mass >= 1 else read_keys(a, [of_mass(x, mass) for x in share])


def unit_draws(a, seed, which):
    """[H, keys] numbers in (0, 1) of (seed, layer, keys, which) and the head."""
    n = a.keys
    stream = draw(draw(draw(seed, a.layer), n), which)
    z = np.stack([splitmix(draw(stream, h), np.arange(n)) for h in range(a.heads)])
    return ((z >> np.uint64(41)).astype(np.float64) + 0.5) * 2.0**-23


def four_bits(a):
    """Keys as their codes between each one's least and most number give them back."""
    k = a.k.astype(np.float32)
    low, high = k.min(axis=2, keepdims=True), k.max(axis=2, keepdims=True)
    step = (high - low) / np.float32(15)
    code = np.rint((k - low) / np.where(step > 0, step, np.float32(1)))
    return low.astype(np.float64) + step.astype(np.float64) * code


def packed_probabilities(a, keep=None):
    """[H, keys] softmax of the last query over the keys in 4 bits, those that `keep` [G, keys] marks; -inf elsewhere."""
    s = np.einsum("hd,jhd->hj", a.q[a.keys - 1], np.repeat(four_bits(a), a.group, axis=1)) * a.scale
    if keep is not None:
        s = np.where(np.repeat(keep, a.group, axis=0), s, -np.inf)
    return np.where(np.isfinite(s), softmax(s), -np.inf)


def twilight(a, p, sparsity):
    page = p.get("page", 16)
    if a.layer < p.get("dense_layers", 0):
        return everything(a)
    keep = None
    if p.get("base", "quest") == "quest":
        chosen = best_pages(a, page, -(-p.get("candidates", 8192) // page))
        keep = np.array([np.isin(np.arange(a.keys) // page, l) for l in chosen])
    return by_mass(a, packed_probabilities(a, keep), p.get("mass", 0.85), None if sparsity is None else 1 - sparsity)


def normal_above(p):
    """z with P(Z > z) = p."""
    low, high = 0.0, 40.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * math.erfc(middle / math.sqrt(2)) > p else (low, middle)
    return low


def sample_size(e, v, sure, first, n, error, z, verified, exact):
    """Others to draw, by the first sample (indices) and what is read anyhow: the least b of (z n s)^2 / b (1 - b / n) <= (error total)^2."""
    sizes = []
    if verified != "numerator":
        sizes.append((e[first].var(ddof=1), e[sure].sum() + n * e[first].mean()))
    if verified != "denominator":
        parts = e[:, None] * v
        sizes.append((parts[first].var(axis=0, ddof=1).sum(), np.linalg.norm(parts[sure].sum(axis=0) + n * parts[first].mean(axis=0))))
    most = 0
    for variance, total in sizes:
        if variance <= 0:
            continue
        least = 1 / ((error * total / (z * n)) ** 2 / variance + 1 / n)
        if exact and abs(least - round(least)) < 1e-4 * least:
            raise Close
        most = max(most, math.ceil(least))
    return min(max(most, len(first)), n)


def vattention(a, p, sparsity):
    n = a.keys
    sinks, local, heavy, base = p.get("sinks", 128), p.get("local", 128), p.get("top", 128), p.get("base", 0.05)
    error, failures, verified, seed = p.get("error", 0.25), p.get("failures", 0.25), p.get("verified", "denominator"), p.get("seed", 43)
    if sparsity is not None:
        each = fit_keys(a, sparsity) // 8
        sinks, local, heavy, base = min(sinks, each), min(local, max(each, 1)), min(heavy, each), min(base, (1 - sparsity) / 8)
    others = n - sinks - local - heavy
    if others < 2 or sparsity == 0:
        return everything(a)
    best = a.last_row() if p.get("predictor") == "exact" else packed_probabilities(a)
    best[:, :sinks], best[:, n - local :] = -np.inf, -np.inf
    sure = np.zeros((a.heads, n), bool)
    sure[:, :sinks], sure[:, n - local :] = True, True
    for h in range(a.heads):
        sure[h, top(best[h], heavy)] = True
    x = [np.where(sure, np.inf, unit_draws(a, seed, which)) for which in (0, 1)]
    s = logits(a, slice(n - 1, n), None)[:, 0]
    e = np.exp(s - s.max(axis=1, keepdims=True))
    first = [[j for j in top(x[0][h], n - others + max(2, int(base * others))) if not sure[h, j]] for h in range(a.heads)]

    def choose(error):
        both = verified == "output"
        within, z = error / (2 + error) if both else error, normal_above(failures / (4 if both else 2))
        return [n - others + sample_size(e[h], a.v[:, h // a.group], sure[h], first[h], others, within, z, verified, sparsity is None) for h in range(a.heads)]

    if sparsity is not None:
        error = within_step(a, 1 - sparsity, lambda dial, exact: [[h] * k for h, k in enumerate(choose(1 / dial - 1 if dial > 0 else 1e6))])
        error = 1 / error - 1 if error > 0 else 1e6
    sizes = choose(error)
    bias = np.log(others / (np.array(sizes) - (n - others)))[:, None] * ~sure
    return read_keys(a, [top(x[1][h], k) for h, k in enumerate(sizes)], bias=bias)


def magicpig(a, p, sparsity):
    """Keys met by the query in `least` of L tables of K sign bits; weights by the chance of it."""
    n, prompt = a.keys, a.tokens
    bits, tables, least = p.get("bits", 10), p.get("tables", 150), p.get("least", 2)
    begin = min(p.get("sinks", 4), prompt)
    end = max(prompt - p.get("local", 64), begin)
    every = p.get("dense_every", 0)
    if begin == end or every and a.layer % every == 0:
        return everything(a)
    z = splitmix(draw(p.get("seed", 43), a.layer // 16), np.arange(3 * tables * bits * a.dim)).reshape(-1, 3)
    halves = sum((z >> np.uint64(16 * i) & np.uint64(0xFFFF)).astype(np.int64) for i in range(4)).sum(axis=1)
    plane = ((halves - 6 * 65535) / 65536).reshape(tables, bits, a.dim)

    def codes(x):
        dots = np.einsum("jd,tbd->jtb", x, plane)
        size = np.linalg.norm(x, axis=1)[:, None, None] * np.linalg.norm(plane, axis=2)
        if (np.abs(dots) < 3e-7 * size).any():
            raise Close
        return dots > 0

    lists, bias = [], np.zeros((a.heads, n))
    for h in range(a.heads):
        k = a.k[begin:end, h // a.group]
        k = k - k.mean(axis=0).astype(np.float32)
        q = a.q[n - 1, h]
        met = (codes(k) == codes(q[None])).all(axis=2).sum(axis=1) >= least
        cosine = np.clip(k @ q / np.linalg.norm(k, axis=1) / np.linalg.norm(q), -1, 1)
        u = (1 - np.arccos(cosine) / np.pi) ** bits
        chance = 1 - (1 - u) ** tables - (tables * u * (1 - u) ** (tables - 1) if least == 2 else 0)
        bias[h, begin:end] = -np.log(chance + 1e-4)
        lists.append([j for j in range(n) if not begin <= j < end or met[j - begin]])
    return read_keys(a, lists, bias=bias)


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "twilight": Cases("decode", twilight, [
        {"mass": 0.5}, 0.5, {"mass": 0.9, "base": "all"}, {"mass": 0.5, "dense_layers": 1}, (0.8, {"base": "all"}), {"mass": 0.7, "candidates": 20, "page": 4}, 0.0,
        {"mass": 0.6, "page": 3}, {"mass": 0.97, "dense_layers": 3}, (0.7, {"page": 5})]),
    "twilight/candidates": Cases("decode", twilight, [
        {"mass": 0.9, "candidates": 12, "page": 4}, {"mass": 0.9, "candidates": 20, "base": "all"}, {"mass": 0.9, "candidates": 100, "page": 3}]),
    "vattention": Cases("decode", vattention, [
        {"sinks": 4, "local": 8, "top": 8}, 0.5, {"sinks": 2, "local": 20, "top": 10, "error": 0.1, "failures": 0.05}, 0.9,
        (0.8, {"verified": "output"}), {"sinks": 1, "local": 2, "top": 0, "verified": "numerator", "error": 0.3, "base": 0.1}, 0.0,
        {"sinks": 1, "local": 1, "top": 1, "base": 0.3, "error": 1.0}, {"sinks": 16, "local": 16, "top": 0, "verified": "output", "error": 0.5, "predictor": "exact"},
        (0.7, {"predictor": "exact", "seed": 5})]),
    "magicpig": Cases("decode", magicpig, [
        {"bits": 4, "tables": 10, "local": 8}, {"bits": 5, "tables": 15}, {"bits": 3, "tables": 7, "least": 1, "sinks": 0, "local": 0}, {"local": 10},
        {"bits": 6, "tables": 21, "seed": 4}, {"bits": 2, "tables": 5, "local": 20}, {"tables": 1}, {"sinks": 100},
        {"bits": 7, "tables": 9, "dense_every": 3}, {"bits": 16, "tables": 3, "least": 1}]),
    "magicpig/dense": Cases("decode", magicpig, [
        {"bits": 4, "tables": 10, "local": 8, "dense_every": 2}, {"bits": 5, "tables": 15, "dense_every": 2}]),
}
