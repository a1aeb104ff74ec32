"""The methods of the study: Vertical-Slash, Block-Sparse, FlexPrefill, SnapKV, Ada-SnapKV, Quest."""
import math

import numpy as np

from .vocabulary import (
    Cases, Close, TILE, blocks, columns_diagonals, count_of_mass, density, everything, fit_blocks, fit_keys, kept, largest, pool,
    prompt_capacity, read_blocks, softmax, top, top_blocks, within)


def merged(a, columns, diagonals):
    """The tiles of MInference's kernel (csrc/vertical_slash_index.cu): blocks of 64 queries and one key."""
    n, rows = a.tokens, []
    for v, s in zip(columns, diagonals):
        head = []
        for end in range(TILE, n + TILE, TILE):
            ends = [max(end - offset, TILE) for offset in sorted(s, reverse=True) if offset < end]
            ranges = []
            for e in ends:
                if not ranges or e > ranges[-1][1] + TILE:
                    ranges.append([e - TILE, e])
                elif e > ranges[-1][1]:
                    ranges[-1][1] += TILE
            keys = {k for low, high in ranges for k in range(low, min(high, end, n))}
            head.append(sorted(keys | {k for k in v if k < ranges[-1][1] and k < end}))
        rows.append(head)
    return blocks(a, rows, TILE, 1)


def vertical_slash(a, p, sparsity):
    n, sinks, local = a.tokens, p.get("sinks", 4), p.get("local", 64)
    column, diagonal = a.probe(p.get("window", 256))
    if p.get("selection") == "group":
        column, diagonal = a.grouped(column, np.sum), a.grouped(diagonal, np.sum)
    column[:, :sinks] = np.inf
    diagonal[:, :local] = np.inf

    made = merged if p.get("tiling") == "authors" else columns_diagonals

    def choose(v, s):
        return made(a, [top(x, v) for x in column], [top(x, s) for x in diagonal])

    if p.get("tiling") == "authors" and "columns" not in p:
        return within(a, 1 - sparsity, lambda dial: choose(*[1 + int(dial * (n - 1))] * 2))
    if sparsity is None and "columns" in p:
        return choose(max(p["columns"], sinks), max(p["diagonals"], local))
    target = p.get("density", 1.0) if sparsity is None else 1 - sparsity
    diagonals = largest(1, n + 1, lambda k: density(choose(k, k), a) <= target)
    columns = largest(diagonals, n + 1, lambda k: density(choose(k, diagonals), a) <= target)  # what is left goes to columns
    return choose(columns, diagonals)


def block_sparse(a, p, sparsity):
    n, block, sinks, local = a.tokens, p.get("block", 16), p.get("sinks", 1), p.get("local", 2)
    k = max(p.get("k", 100) if sparsity is None else fit_blocks(n, block, sparsity), sinks + local)
    score = a.mean_scores(block)
    if p.get("selection") == "group":
        score = a.grouped(score, np.sum)
    return blocks(a, [top_blocks(s, k, sinks, local) for s in score], block)


def of_two_dials(a, sparsity, n, least, choose):
    """choose(mass, least) within a density: the least of n first, then the mass."""
    least = n // 32 + 1 if least > n // 32 else least
    return within(a, 1 - sparsity, lambda dial: choose(0, 1 + int(2 * dial * (least - 1))) if dial < 0.5 else choose(2 * dial - 1, least))


def flex_prefill(a, p, sparsity):
    n, sinks, local = a.tokens, p.get("sinks", 4), p.get("local", 64)
    column, diagonal = a.probe(p.get("window", 512))
    column_forced, diagonal_forced = column.copy(), diagonal.copy()
    column_forced[:, :sinks] = np.inf
    diagonal_forced[:, :local] = np.inf

    def cover(x, forced, alpha, least):
        return [top(f, min(max(count_of_mass(r, alpha), least), n)) for r, f in zip(x, forced)]

    made = merged if p.get("tiling") == "authors" else columns_diagonals

    def choose(alpha, least):
        alpha = float(np.float32(alpha))
        return made(a, cover(column, column_forced, alpha, least), cover(diagonal, diagonal_forced, alpha, least))

    least = p.get("min_budget", 512)
    return choose(p.get("alpha", 0.9), least) if sparsity is None else of_two_dials(a, sparsity, n, least, choose)


def js_distance(p, q):
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return math.sqrt(sum(0.5 * np.where(x > 0, x * np.log(x / m), 0).sum() for x in (p, q)))


def flex_prefill_full(a, p, sparsity):
    n, block, gamma, tau = a.tokens, p.get("block", 128), p.get("gamma", 0.9), p.get("tau", 0.1)
    least, nb = p.get("min_budget", 1024), -(-a.tokens // p.get("block", 128))
    if n <= 2 * block or (sparsity is None and n <= least):
        return everything(a)
    column, diagonal = a.probe(block)
    q, k = a.means(a.q, block), a.means(a.k, block)
    last = a.q[n - block : n].mean(axis=0)  # [H, D]
    least = -(-least // block)
    sums = lambda x: np.array([x[i : i + block].sum() for i in range(0, n, block)])
    aware, maps = [], []
    for h in range(a.heads):
        kh, exact = k[h // a.group], sums(column[h])
        js = js_distance(softmax(kh @ last[h] * a.scale), exact / exact.sum())
        if abs(js - tau) < 1e-4:
            raise Close
        aware.append(js < tau)
        s = np.where(np.tril(np.ones((nb, nb), bool)), q[h] @ kh.T * a.scale, -np.inf)
        maps.append(np.where(s > -np.inf, softmax(s), -np.inf).reshape(-1))
    a.kinds = set(aware)

    def choose(gamma, least):
        gamma, rows = float(np.float32(gamma)), []
        for h in range(a.heads):
            named = []
            for x in (column[h], diagonal[h]):
                count = least if aware[h] else max(count_of_mass(x, gamma) // block + 1, least)
                x = sums(x)
                x[0] = np.inf
                named.append(top(x, min(count, nb)))
            chosen = [{j for j in range(i + 1) if j in named[0] or i - j in named[1]} for i in range(nb)]
            if aware[h]:
                for pair in top(maps[h], count_of_mass(maps[h], gamma)):
                    chosen[pair // nb].add(pair % nb)
            rows.append([sorted(r) for r in chosen])
        return blocks(a, rows, block)

    return choose(gamma, least) if sparsity is None else of_two_dials(a, sparsity, nb, least, choose)


def kept_scores(a, p, capacity, over_probe, over_group):
    column, _ = a.probe(p.get("window", 256), over_probe)
    score = pool(a.grouped(column, over_group), p.get("kernel", 21), p.get("pooling", "mean"))
    sinks = min(p.get("sinks", 4), capacity // 2)
    local = min(p.get("local", 128), capacity // 2 - sinks)
    score[:, :sinks] = np.inf
    score[:, a.tokens - local :] = np.inf
    return score, sinks + local


def snapkv(a, p, sparsity):
    capacity = prompt_capacity(a, p, sparsity)
    score, _ = kept_scores(a, p, capacity, np.sum, np.mean)
    return kept(a, [top(x, capacity) for x in score])


def ada_snapkv(a, p, sparsity):
    capacity = prompt_capacity(a, p, sparsity)
    score, forced = kept_scores(a, p, capacity, np.max, np.max)
    own = max(int(p.get("floor", 0.2) * capacity), forced, 1)
    for x in score:
        x[top(x, own)] = np.inf
    flat = top(score.reshape(-1), capacity * a.kv)
    n = a.tokens
    return kept(a, [[i % n for i in flat if i // n == g] for g in range(a.kv)])


def best_pages(a, page, count):
    """Of each kv head, the pages whose bounds on q·k, summed over the group, are highest, and the current one on top."""
    q, lists = a.q[a.keys - 1].reshape(a.kv, a.group, a.dim), []
    for g in range(a.kv):
        parts = [a.k[begin : min(begin + page, a.keys), g] for begin in range(0, a.keys, page)]
        score = np.array([np.maximum(q[g] * x.min(axis=0), q[g] * x.max(axis=0)).sum() for x in parts])
        score[-1] = np.inf
        lists.append(top(score, count + 1))
    return lists


def quest(a, p, sparsity):
    page = p.get("page", 16)
    if a.layer < p.get("dense_layers", 0):
        return everything(a)
    if sparsity is None:
        pages = (p.get("budget", 1024) + page // 2) // page
    elif sparsity == 0:
        pages = a.keys
    else:
        pages = max(int(math.floor((fit_keys(a, sparsity) - page / 2) / page + 0.5)), 1)
    return read_blocks(a, best_pages(a, page, max(pages, p.get("least", 0))), page)


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "vertical_slash": Cases("prefill", vertical_slash, [
        {"columns": 10, "diagonals": 64}, 0.5, {"columns": 40, "diagonals": 80, "window": 64}, 0.3, 0.8,
        {"columns": 20, "diagonals": 30, "local": 10, "selection": "group"}, 0.0, {"columns": 2, "diagonals": 1}, 0.7, 0.9]),
    "vertical_slash/authors": Cases("prefill", vertical_slash, [dict(s, tiling="authors") for s in [
        {"columns": 10, "diagonals": 8, "local": 1, "sinks": 0}, {"columns": 5, "diagonals": 30, "local": 8},
        {"columns": 40, "diagonals": 80, "window": 64, "local": 1}, {"columns": 3, "diagonals": 12, "local": 4},
        {"columns": 20, "diagonals": 40, "local": 16}, {"columns": 20, "diagonals": 30, "local": 10, "selection": "group"},
        {"columns": 4, "diagonals": 6, "local": 2}, {"columns": 2, "diagonals": 1}, {"columns": 6, "diagonals": 20, "local": 1}]]
        + [(0.6, {"tiling": "authors", "local": 4})]),
    "vertical_slash/sinks": Cases("prefill", vertical_slash, [
        {"columns": 10, "diagonals": 64, "sinks": 0}, {"columns": 20, "diagonals": 70, "sinks": 12}]),
    "block_sparse": Cases("prefill", block_sparse, [
        {"k": 3}, 0.5, {"k": 5, "block": 32}, {"k": 4, "selection": "group"}, 0.8, {"k": 5, "block": 8},
        0.0, {"k": 100}, 0.7, {"k": 6, "sinks": 0, "local": 1}]),
    "flex_prefill": Cases("prefill", flex_prefill, [
        {"alpha": 0.7, "min_budget": 8}, (0.4, {"min_budget": 4}), {"alpha": 0.5, "min_budget": 16, "window": 64}, {"alpha": 0.0, "min_budget": 40, "window": 32},
        (0.6, {"min_budget": 16}), {"alpha": 0.9, "min_budget": 4, "local": 10}, 0.0, {"alpha": 0.9},
        {"alpha": 0.3, "min_budget": 70}, 0.4]),
    "flex_prefill/authors": Cases("prefill", flex_prefill, [dict(s, tiling="authors", local=2) for s in [
        {"alpha": 0.7, "min_budget": 4}, {"alpha": 0.3, "min_budget": 9}, {"alpha": 0.5, "min_budget": 16, "window": 64}]]
        + [(0.5, {"tiling": "authors", "min_budget": 8})]),
    "flex_prefill/sinks": Cases("prefill", flex_prefill, [
        {"alpha": 0.7, "min_budget": 8, "sinks": 0}, {"alpha": 0.5, "min_budget": 16, "sinks": 12}]),
    "flex_prefill_full": Cases("prefill", flex_prefill_full, [
        {"block": 16, "min_budget": 16, "gamma": 0.6}, {"block": 16, "min_budget": 32, "gamma": 0.8, "tau": 0.4},
        {"block": 32, "min_budget": 32, "gamma": 0.5, "tau": 0.6}, {"block": 16, "min_budget": 16, "gamma": 0.4, "tau": 0.2},
        {"block": 64, "min_budget": 64, "gamma": 0.9, "tau": 0.3}, {"block": 16, "min_budget": 16, "gamma": 0.3, "tau": 1.0},
        {}, (0.0, {"block": 1}), (0.5, {"block": 32, "min_budget": 64, "tau": 0.45}), (0.7, {"block": 16, "tau": 0.5})]),
    "snapkv": Cases("compress", snapkv, [
        {"capacity": 12, "kernel": 5}, 0.5, {"capacity": 60, "window": 32, "kernel": 7, "pooling": "max", "sinks": 0, "local": 32},
        0.8, {"capacity": 300}, {"capacity": 20, "kernel": 3}, 0.0, 0.5, 0.9, 0.95]),
    "snapkv/local": Cases("compress", snapkv, [
        {"capacity": 12, "kernel": 5, "local": 1}, {"capacity": 60, "kernel": 5, "local": 10}]),
    "ada_snapkv": Cases("compress", ada_snapkv, [
        {"capacity": 12, "kernel": 5}, 0.5, {"capacity": 60, "window": 32, "kernel": 7, "pooling": "max", "sinks": 0, "local": 32},
        {"capacity": 50, "kernel": 3, "floor": 1.0, "local": 8}, 0.6, {"capacity": 20, "kernel": 3, "floor": 0.9}, 0.0, 0.5, 0.9, 0.95]),
    "quest": Cases("decode", quest, [
        {"budget": 32}, 0.5, {"budget": 40, "page": 8}, {"budget": 48}, 0.9, {"budget": 16, "page": 4, "least": 6}, 0.0,
        0.95, {"budget": 64, "dense_layers": 2}, 0.8]),
    "quest/dense": Cases("decode", quest, [{"budget": 32, "dense_layers": 1}, {"budget": 32, "dense_layers": 1}]),
}
