"""Methods that choose keys in decode by a part of each: by components, by bounds of chunks."""
import math

import numpy as np

from .vocabulary import Cases, everything, fit_keys, kept, order, output, pool, read_blocks, read_keys, softmax, table_row, top


def largest_components(a, rank):
    """Of each group, the dimensions with the largest sums of |q|; and the share of |q| that they have, [H]."""
    q = np.abs(a.q[-1])
    chosen = [top(x, rank) for x in a.grouped(q, np.sum)]
    return chosen, np.array([q[h, chosen[h // a.group]].sum() / q[h].sum() for h in range(a.heads)])


def sparq(a, p, sparsity):
    n = a.keys
    k = p.get("k", 128) if sparsity is None else max(fit_keys(a, sparsity) - 1, 1)
    at, coverage = largest_components(a, p.get("rank", 32))
    logit = np.array([a.k[:, h // a.group, at[h // a.group]] @ a.q[-1, h, at[h // a.group]] for h in range(a.heads)])
    logit = logit / np.sqrt(a.dim * coverage)[:, None]
    share = softmax(logit)
    rank = a.grouped(share if p.get("rank_by") == "softmax" else logit, np.sum)
    rank[:, max(n - 1 - int(p.get("recent", 0.25) * k), 0) :] = np.inf
    lists = [top(x, k + 1) for x in rank]
    result = read_keys(a, lists)
    if not p.get("mean_value", True):
        return result
    alpha = np.array([share[h, lists[h // a.group]].sum() for h in range(a.heads)])[None, :, None]
    rest = np.repeat(a.v.mean(axis=0), a.group, axis=0)
    return {**result, "lists": [], "out": alpha * output(a, result["masks"], True) + (1 - alpha) * rest}


def by_components(a, p, sparsity, basis):
    """basis: [G, D, r]."""
    k = p.get("k", 1024) if sparsity is None else fit_keys(a, sparsity)
    basis = np.repeat(basis, a.group, axis=0)
    logit = np.einsum("hr,jhr->hj", np.einsum("hd,hdr->hr", a.q[-1], basis),
                      np.einsum("jhd,hdr->jhr", np.repeat(a.k, a.group, axis=1), basis)) * a.scale
    if p.get("selection") == "group":
        logit = a.grouped(logit, np.sum)
    logit[:, -1] = np.inf
    return read_keys(a, [top(x, k) for x in logit])


def loki(a, p, sparsity):
    """basis: a table of [G, D, D], a component a column; none: the dimensions themselves."""
    rank, basis = min(p.get("rank", 32), a.dim), np.eye(a.dim)[None].repeat(a.kv, axis=0)
    if "basis" in p:
        basis = table_row(p["basis"], a.layer).reshape(a.kv, a.dim, a.dim)
    return by_components(a, p, sparsity, basis[:, :, :rank])


def double_sparsity(a, p, sparsity):
    """channels: a table of weights [G, D], the heaviest of which are read; none: channels evenly apart."""
    rank = min(p.get("rank", 16), a.dim)
    channels = [[c * a.dim // rank for c in range(rank)]] * a.kv
    if "channels" in p:
        channels = [order(w)[:rank] for w in table_row(p["channels"], a.layer).reshape(a.kv, a.dim)]
    return by_components(a, p, sparsity, np.stack([np.eye(a.dim)[:, c] for c in channels]))


def rocketkv(a, p, sparsity):
    n, decode = a.tokens, a.phase == "decode"
    capacity, budget = p.get("capacity", 4096), p.get("budget", 1024)
    if sparsity is not None:
        capacity, budget = n if sparsity == 0 else max(int(math.sqrt(1 - sparsity) * n + 0.5), 1), fit_keys(a, sparsity)
    if not decode:
        if capacity >= n:
            return everything(a)
        window = min(p.get("window", 32), capacity)
        column = a.grouped(a.probe(p.get("window", 32))[0], np.sum)
        column[:, n - window :] = 0
        column = pool(column, p.get("kernel", 63), "max")
        column[:, n - window :] = np.inf
        return kept(a, [top(x, capacity) for x in column])
    n, chunk = n + a.c["tail"], p.get("chunk", 4)
    at, coverage = largest_components(a, p.get("rank", 32))
    together, lists = a.grouped(a.q[-1], np.sum), []
    for g in range(a.kv):
        parts = [a.k[b : b + chunk, g] for b in range(0, n, chunk)]
        bound = np.array([np.where(together[g] >= 0, x.max(axis=0), x.min(axis=0)) for x in parts])
        share = []
        for h in range(g * a.group, (g + 1) * a.group):
            share.append(softmax(bound[:, at[g]] @ a.q[-1, h, at[g]] / math.sqrt(a.dim * coverage[h])))
        lists.append(top(np.mean(share, axis=0), -(-budget // chunk)))
    return read_blocks(a, lists, chunk)


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "sparq": Cases("decode", sparq, [
        {"k": 10, "rank": 4}, 0.5, {"k": 33, "rank": 8, "rank_by": "softmax"}, {"k": 20, "rank": 32, "mean_value": False}, (0.8, {"rank": 16}),
        {"k": 12, "rank": 5, "recent": 0.5}, 0.0, {}, {"k": 40, "rank": 16, "recent": 0.0, "mean_value": False}, 0.9]),
    "loki": Cases("decode", loki, [
        {"k": 10, "rank": 4}, 0.5, {"k": 33, "rank": 8, "selection": "group"}, {"k": 20}, (0.8, {"rank": 16}), {"k": 12, "rank": 5}, 0.0, {}, {"k": 40, "rank": 16}, 0.9]),
    "loki/basis": Cases("decode", loki, [None] * 8 + [{"k": 40, "rank": 5, "basis": "tests/golden/methods/tables/basis.txt"}]),
    "double_sparsity": Cases("decode", double_sparsity, [
        {"k": 10, "rank": 4}, 0.5, {"k": 33, "rank": 8, "selection": "group"}, {"k": 20}, (0.8, {"rank": 32}), {"k": 12, "rank": 5}, 0.0, {}, {"k": 40}, 0.9]),
    "double_sparsity/channels": Cases("decode", double_sparsity, [None] * 8 + [
        {"k": 40, "rank": 5, "channels": "tests/golden/methods/tables/channels.txt"}]),
    "rocketkv/compress": Cases("compress", rocketkv, [
        {"capacity": 12, "kernel": 5, "window": 4}, 0.5, {"capacity": 60}, {"capacity": 100, "kernel": 7}, 0.9, {"capacity": 20, "kernel": 3}, 0.0, {}, 0.95, 0.8]),
    "rocketkv/decode": Cases("decode", rocketkv, [
        {"budget": 12, "rank": 4}, 0.5, {"budget": 33, "chunk": 8, "rank": 8}, {"budget": 60, "chunk": 3}, (0.8, {"rank": 16}), {"budget": 20}, 0.0, {},
        {"budget": 40, "chunk": 16, "rank": 16}, 0.9]),
}
