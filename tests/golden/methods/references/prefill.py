"""Methods that choose blocks or columns in prefill, by an estimate. The large ones: sketch_walk.py, infllm.py."""
import math

import numpy as np

from .vocabulary import (
    Cases, Close, MARGIN, Watch, blocks, blocks_mask, columns_diagonals_mask, count_of_mass, everything, fit_amount, fit_blocks, grid,
    order, softmax, table_row, top, top_blocks, within)


def moba(a, p, sparsity):
    n, block, k = a.tokens, p.get("block", 64), p.get("k", 12)
    row = np.arange(n)
    if sparsity is not None:
        k = fit_amount(a, sparsity, 1, -(-n // block), lambda k: np.minimum(row + 1, row % block + 1 + (k - 1) * block))
    score = np.einsum("ihd,hjd->hij", a.q, np.repeat(a.means(a.k, block), a.group, axis=0)) * a.scale
    if p.get("selection") == "group":
        score = a.grouped(score, np.sum)
    chosen = []
    for s in score:
        chosen.append([])
        for i in range(n):
            seen = s[i, : i // block + 1].copy()
            seen[-1] = np.inf
            chosen[-1].append(top(seen, k))
    return blocks(a, chosen, 1, block)


def xattention(a, p, sparsity):
    n, block, stride = a.tokens, p.get("block", 128), p.get("stride", 16)
    groups, each = -(-n // stride), block // stride
    room = groups * stride
    q, k = np.zeros((room, a.heads, a.dim)), np.zeros((room, a.heads, a.dim))
    q[:n], k[:n] = a.q, np.repeat(a.k, a.group, axis=1)
    q, k = q.reshape(groups, stride, a.heads, a.dim)[:, ::-1], k.reshape(groups, stride, a.heads, a.dim)
    score = np.einsum("ashd,cshd->hac", q, k) * a.scale / stride
    share = softmax(np.where(np.tri(groups, dtype=bool), score, -np.inf))
    count = -(-groups // each)

    def choose(threshold):
        if threshold >= 1:
            return everything(a)
        lists = []
        for s in share:
            head = []
            for i in range(count):
                row = s[i * each : (i + 1) * each].mean(axis=0)
                row = np.array([row[j * each : (j + 1) * each].sum() for j in range(i + 1)])
                chosen, have, last = {0, i}, row[list({0, i})].sum(), None
                for j in order(row):
                    if j not in chosen and have < threshold:
                        chosen.add(int(j))
                        have, last = have + row[j], have
                    if Watch.masses and (abs(have - threshold) < MARGIN or last is not None and abs(last - threshold) < MARGIN):
                        raise Close
                rest = [row[j] for j in range(i + 1) if j not in chosen]
                others = [row[j] for j in chosen - {0, i}]
                if rest and others and Watch.masses and 0 < min(others) - max(rest) < MARGIN * min(others):
                    raise Close
                head.append(sorted(chosen))
            lists.append(head)
        return blocks(a, lists, block)

    if sparsity is None:
        return choose(p.get("threshold", 0.9))
    return within(a, 1 - sparsity, choose)


def sample_attention(a, p, sparsity):
    n, step, span = a.tokens, math.floor(1 / p.get("sample", 0.05) + 0.5), max(math.ceil(p.get("window", 0.08) * a.tokens), 1)
    column = a.rows(0, n)[:, n - 1 :: -step].sum(axis=1)
    i, j = grid(a)

    def choose(mass, span=span):
        if mass >= 1:
            return everything(a)
        lists = [top(x, count_of_mass(x, mass)) for x in column]
        return {"lists": lists, "masks": [((i - j < span) | np.isin(j, l)) & (j <= i) for l in lists]}

    if sparsity is None:
        result = choose(p.get("mass", 0.95))
    else:
        pairs = (1 - sparsity) / 2 * n * (n + 1) / 2
        while span > 1 and span * n > pairs + span * span / 2:
            span -= 1
        result = within(a, 1 - sparsity, lambda dial: choose(dial, span))
    return {**result, "lists": []}


def minference(a, p, sparsity):
    """kinds: a table with a number for each head, 0 A-shape, 1 Vertical-Slash, 2 Block-Sparse."""
    n, block = a.tokens, p.get("block", 64)
    kinds = table_row(p["kinds"], a.layer) if "kinds" in p else np.ones(a.heads)
    target = p.get("density", 0.1) if sparsity is None else 1 - sparsity
    if target >= 1:
        return everything(a)
    i, j = grid(a)
    masks = [None] * a.heads
    keys = fit_blocks(n, 1, 1 - target)
    sinks = min(p.get("sinks", 128), keys // 2)
    column, diagonal = a.probe(p.get("window", 64))
    column[:, : p.get("columns", 30)], diagonal[:, : p.get("diagonals", 100)] = np.inf, np.inf
    slashed = np.flatnonzero(kinds == 1)

    def slash(v, s):
        lists = [[top(column[h], v) for h in slashed], [top(diagonal[h], s) for h in slashed]]
        return lists, [columns_diagonals_mask(n, x, y) for x, y in zip(*lists)]

    lists = []
    if len(slashed):
        fits = lambda v, s: sum(int(m.sum()) for m in slash(v, s)[1]) / (a.heads * n * (n + 1) / 2) <= target * len(slashed) / a.heads
        k = 1
        while k < n and fits(k + 1, k + 1):
            k += 1
        more = k
        while more < n and fits(more + 1, k):
            more += 1
        lists, made = slash(more, k)
        for h, m in zip(slashed, made):
            masks[h] = m
    score, k = a.mean_scores(block), fit_blocks(n, block, 1 - target)
    for h in np.flatnonzero(kinds == 2):
        masks[h] = blocks_mask(n, top_blocks(score[h], k, 0, 1), block, block)
    for h in np.flatnonzero(kinds == 0):
        masks[h] = ((j < sinks) | (i - j < keys - sinks)) & (j <= i)
    return {"lists": lists[0] + lists[1] if len(slashed) == a.heads else [], "masks": masks}


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "moba": Cases("prefill", moba, [
        {"k": 2, "block": 8}, (0.5, {"block": 16}), {"k": 3, "block": 32}, {"k": 4, "block": 16, "selection": "group"}, 0.8, {"k": 5, "block": 8},
        0.0, {}, (0.7, {"block": 32}), (0.6, {"block": 20})]),
    "xattention": Cases("prefill", xattention, [
        {"threshold": 0.6, "block": 16, "stride": 4}, (0.4, {"block": 32}), {"threshold": 0.8, "block": 32, "stride": 8}, {"threshold": 0.5, "block": 48},
        (0.6, {"block": 16}), {"threshold": 0.3, "block": 8, "stride": 8}, 0.0, {}, (0.5, {"block": 20, "stride": 5}), {"block": 16, "stride": 1, "threshold": 0.7}]),
    "sample_attention": Cases("prefill", sample_attention, [
        {"mass": 0.5}, 0.5, {"mass": 0.8, "sample": 0.2, "window": 0.02}, {"mass": 0.3, "window": 0.1}, 0.8, {"mass": 0.0, "window": 0.2}, 0.0, {},
        {"sample": 0.011, "mass": 0.4}, 0.9]),
    "minference": Cases("prefill", minference, [
        {"density": 0.8}, (0.4, {"diagonals": 1, "columns": 2}), {"density": 0.3, "diagonals": 10, "columns": 0, "window": 20}, {"density": 0.5, "diagonals": 30}, 0.6,
        (0.2, {"diagonals": 3, "columns": 3}), 0.0, {}, (0.3, {"window": 200, "diagonals": 20}), (0.5, {"diagonals": 20, "columns": 10})]),
    "minference/kinds": Cases("prefill", minference, [None] * 8 + [
        {"kinds": "tests/golden/methods/tables/kinds.txt", "density": 0.4, "sinks": 5, "block": 16, "columns": 3, "diagonals": 9}]),
}
