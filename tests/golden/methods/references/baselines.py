"""Baselines: fixed masks, most of them by distance (no lists to hash), and Combiner's summaries."""
import math

import numpy as np

from .vocabulary import (
    Cases, blocks, by_distance, causal_mask, draw, everything, fit_amount, fit_blocks, fit_grid, fit_window, grid, largest, logits,
    most_keys, order, softmax, splitmix, table_row, window)


def streaming(a, p, sparsity):
    sinks, local = p.get("sinks", 4), p.get("local", 1020)
    if sparsity is not None:
        local, _ = fit_window(a, sparsity, sinks)
    return window(a, sinks, local)


def tri_shape(a, p, sparsity):
    n, sinks, local, last = a.tokens, p.get("sinks", 4), p.get("local", 1020), p.get("last", 100)
    if sparsity == 0:
        last, local = 0, n
    elif sparsity is not None:
        pairs = (1 - sparsity) * n * (n + 1) / 2
        dense = lambda rows: rows * (n - rows) + rows * (rows + 1) / 2
        last = max((r for r in range(min(last, n - 1) + 1) if dense(r) <= pairs / 2), default=0)
        rest = n - last
        keys = fit_blocks(rest, 1, 1 - (pairs - dense(last)) / (rest * (rest + 1) / 2))
        local = max(keys - sinks, 1)
    return window(a, sinks, local, last)


def a_shape(a, p, sparsity):
    sinks, local = p.get("sinks", 128), p.get("local", 3968)
    if sparsity is not None:
        _, keys = fit_window(a, sparsity)
        sinks = min(sinks, keys // 2)
        local = max(keys - sinks, 1)
    return window(a, sinks, local)


def sliding_window(a, p, sparsity):
    local = p.get("window", 4096) if sparsity is None else fit_window(a, sparsity)[0]
    return window(a, 0, local)


def streaming_llm(a, p, sparsity):
    """Token by token with a cache, as the paper tells it: a key's distance is that of its place in the cache."""
    start, on_top = p.get("start", 4), p.get("own") == "on_top"
    recent = p.get("recent", 1020) if sparsity is None else fit_window(a, sparsity, start + on_top)[0]
    n = a.keys
    mask, distance = np.zeros((n, n), bool), np.zeros((n, n))
    cache = []
    for i in range(n):
        if on_top:  # evicted behind the step: the query sees what was kept, and its own key
            cache.append(i)
            seen = list(cache)
            if len(cache) > start + recent:
                cache = cache[:start] + cache[len(cache) - recent :]
        else:
            cache.append(i)
            if len(cache) > start + recent:
                cache = cache[:start] + cache[len(cache) - recent :]
            seen = cache
        for place, j in enumerate(seen):
            mask[i, j], distance[i, j] = True, len(seen) - 1 - place
    rows = slice(0, n) if a.phase == "prefill" else slice(n - 1, n)
    return by_distance(a, mask[rows], distance[rows])


def lm_infinite(a, p, sparsity):
    first, local = p.get("global", 100), p.get("local", 4096)
    if sparsity is not None:
        _, keys = fit_window(a, sparsity)
        first = min(first, keys // 2)
        local = keys if sparsity == 0 else max(keys - first, 1)
    i, j = grid(a)
    return by_distance(a, (i - j < local) | (j < first), np.where(i - j < local, i - j, np.minimum(i - j, p.get("limit") or local)))


def longformer(a, p, sparsity):
    n_global, n = p.get("globals", 4), a.tokens
    w = p.get("window", 512)
    if sparsity is not None:
        w = n + a.c["output"] if sparsity == 0 else fit_window(a, sparsity, n_global)[0]
    i, j = grid(a)
    masks = []
    for h in range(a.heads):
        d = p.get("dilation", 1) if h < p.get("dilated_heads", 2) and a.layer >= p.get("dilated_from", 0) else 1
        mask = ((i - j) % d == 0) & ((i - j) // d < w) | (j < n_global)
        masks.append(mask | (i < n_global) if a.phase == "prefill" else mask)
    return by_distance(a, masks)


def beginnings(c, structure):
    """Tokens of the made-up text at which a line, a sentence or a chapter begins."""
    draws = splitmix(8 * c["seed"] + 6, np.arange(c["tokens"])) >> np.uint64(58)
    return np.flatnonzero((draws < {"line": 4, "sentence": 13, "chapter": 1}[structure]) | (np.arange(c["tokens"]) == 0))


def hub_mask(a, i, j, hubs, window, structure="even"):
    n = a.tokens
    if hubs == 0:
        return (i - j < window) & (j <= i)
    places = np.arange(n) if structure == "even" else beginnings(a.c, structure)
    hub = lambda x: np.isin(x, places[::-(-len(places) // min(hubs, len(places)))])
    mask = (i - j < window) | hub(j)
    return (mask | hub(i) if a.phase == "prefill" else mask) & (j <= i)


def etc_hubs(a, p, sparsity):
    n, hubs, w = a.tokens, p.get("hubs", 230), p.get("window", 85)
    if sparsity is not None:
        i, j = fit_grid(a)
        hubs = fit_amount(a, (1 + sparsity) / 2, 1, n, lambda x: hub_mask(a, i, j, x, 1))
        w = fit_amount(a, sparsity, 1, most_keys(a), lambda x: hub_mask(a, i, j, hubs, x))
    i, j = grid(a)
    return by_distance(a, hub_mask(a, i, j, hubs, w, p.get("structure", "even")))


def bigbird(a, p, sparsity):
    n, b, local, prefix = a.tokens, p.get("block", 64), p.get("local", 2), p.get("drawn_from", 0)
    nb, last = -(-n // b), p.get("last", True)

    def free(own):
        most = own - local
        return max(min(most, -(-prefix // b) - 1) if prefix else most, 0)

    def size(r):
        total = 0
        for i in range(n):
            own = i // b
            blocks = own if last and own == nb - 1 else min(own, local - 1) + (own >= local) + min(r, free(own))
            total += blocks * b + i % b + 1
        return total

    r = p.get("random", 3)
    if sparsity is not None:
        r = fit_amount(a, sparsity, 0, nb, size)
    rows = []
    for h in range(a.heads):
        head = []
        for own in range(nb):
            chosen = {0} | set(range(max(own - local + 1, 0), own + 1))
            stream, m = draw(draw(draw(p.get("seed", 43), a.layer), h), own), free(own)
            for at in range(m - min(r, m) + 1, m + 1):
                t = 1 + draw(stream, at) % at
                chosen.add(at if t in chosen else t)
            head.append(list(range(nb)) if last and own == nb - 1 else sorted(chosen))
        rows.append(head)
    return blocks(a, rows, b)


def sparse_transformer(a, p, sparsity):
    n, summary, form, split = a.tokens, p.get("summary", 16), p.get("form", "strided"), p.get("heads") == "split"
    segment = lambda l: -(-l // summary) * summary

    def fixed(i, j, l):
        s = segment(l)
        return ((i // s == j // s) | (j % s >= s - summary)) & (j <= i)

    l = p.get("length", 128)
    if sparsity is not None:
        i, j = fit_grid(a)
        most = most_keys(a)
        least = min(math.ceil(math.sqrt((2 * summary if form == "fixed" else 1) * n)), most)

        def pairs(x):
            near, far = (i - j < x) & (j <= i), ((i - j) % x == 0) & (j <= i)
            if form == "fixed":
                return fixed(i, j, x).sum()
            return (near.sum() + far.sum()) / 2 if split else (near | far).sum()

        if sparsity == 0:
            l = most
        else:  # by halves, as amounts do not grow evenly
            target = (1 - sparsity) * (n * (n + 1) / 2 if a.phase == "prefill" else n)
            low = largest(least, most + 1, lambda x: pairs(x) <= target)
            l = low + 1 if low < most and 0 < pairs(low + 1) - target < target - pairs(low) else low
    i, j = grid(a)
    if form == "strided":
        near, far = i - j < l, (i - j) % l == 0
        return by_distance(a, [(near if h % 2 == 0 else far) if split else near | far for h in range(a.heads)])
    each = segment(l) // summary
    lists = [[s for s in range(each - 1, b // each * each, each)] + list(range(b // each * each, b + 1))
             for b in ([(i[-1, 0]) // summary] if a.phase == "decode" else range(-(-n // summary)))]
    return {"lists": lists, "masks": [fixed(i, j, l)] * a.heads}


def dilated(a, p, sparsity):
    sinks, local, span, step = p.get("sinks", 4), p.get("local", 64), p.get("span", 8192), p.get("step", 2)
    most = most_keys(a)

    def mask(i, j, local, span):
        d = i - j
        return ((j < sinks) | (d < local) | ((d >= local) & (d < span) & (d % step == 0))) & (d >= 0)

    def spread(x):
        l = min(local, x)
        s = l + (x - l) * step
        return (l, s) if s <= most else (l + ((x - l) * step + l - most) // (step - 1), most)

    if sparsity is not None:
        i, j = fit_grid(a)
        local, span = spread(fit_amount(a, sparsity, 1, most, lambda x: mask(i, j, *spread(x))))
    i, j = grid(a)
    return by_distance(a, mask(i, j, local, span))


def head_roles(a, p, sparsity):
    n, sinks, recent = a.tokens, p.get("sinks", 128), p.get("recent", 256)
    share = p.get("streaming", 0.5)
    if sparsity is not None:
        keys = min(sinks + recent, n)
        left = 1 - ((keys * (n - keys) + keys * (keys + 1) / 2) / (n * (n + 1) / 2) if a.phase == "prefill" else keys / n)
        share = 0 if sparsity == 0 else 1 if left <= sparsity else sparsity / left
    if "roles" in p:  # a gate of each kv head of each layer, of which the lowest stream
        gates, first = np.concatenate([table_row(p["roles"], layer) for layer in range(a.layers)]), a.layer * a.kv
    else:
        gates, first = np.array([draw(draw(p.get("seed", 43), a.layer), g) >> 11 for g in range(a.kv)]), 0
    streams = order(-gates)[: int(share * len(gates) + 0.5)]
    i, j = grid(a)
    stream = (j < sinks) | (i - j < recent)
    return by_distance(a, [stream if first + h // a.group in streams else j <= i for h in range(a.heads)])


def spattention(a, p, sparsity):
    length, (i, j) = p.get("length", 4096), grid(a)
    width = [length // a.heads + (h < length % a.heads) for h in range(a.heads)]
    return by_distance(a, [(i - j >= sum(width[:h])) & (i - j < sum(width[: h + 1])) for h in range(a.heads)])


def combiner(a, p, sparsity):
    n, segment = a.tokens, p.get("segment", 256)
    i = np.arange(n)
    if sparsity is not None:
        segment = fit_amount(a, sparsity, math.ceil(math.sqrt(n)), n, lambda l: i % l + 1 + i // l)
    if segment >= n:
        return everything(a)
    m = n // segment
    weight = math.log(segment) if p.get("weight", "keys") == "keys" else 0
    parts = lambda x: x[: m * segment].reshape(m, segment, *x.shape[1:])
    q = parts(a.q).reshape(m, segment, a.kv, a.group, a.dim).mean(axis=(1, 3))
    k, v = parts(a.k), parts(a.v)
    value = np.einsum("msg,msgd->mgd", softmax(np.einsum("mgd,msgd->mgs", q, k) * a.scale).transpose(0, 2, 1), v)
    mask = (i[:, None] // segment == i[None, :] // segment) & causal_mask(n)
    own = np.where(mask, logits(a, slice(0, n), None), -np.inf)
    far = np.einsum("ihd,mhd->him", a.q, np.repeat(k.mean(axis=1), a.group, axis=1)) * a.scale + weight
    far = np.where(i[:, None] // segment > np.arange(m)[None, :], far, -np.inf)
    share = softmax(np.concatenate([own, far], axis=2))
    values = np.repeat(np.concatenate([a.v, value]), a.group, axis=1)
    pairs = a.heads * int(mask.sum() + (i // segment).sum())
    return {"lists": [[b] for b in range(-(-n // segment))], "masks": [mask] * a.heads, "pairs": pairs,
            "out": np.einsum("hij,jhd->ihd", share, values)}


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "streaming": Cases("both", streaming, [
        {"local": 8}, 0.5, {"local": 60, "sinks": 0}, 0.9, 0.8, {"local": 300}, 0.0, 0.95, {"local": 1, "sinks": 1}, 0.7]),
    "tri_shape": Cases("prefill", tri_shape, [
        {"local": 8, "last": 10}, 0.5, {"local": 60, "sinks": 0, "last": 0}, 0.9, 0.8, {"local": 30, "last": 200}, 0.0, 0.95,
        {"local": 1, "sinks": 1, "last": 1}, 0.7]),
    "a_shape": Cases("prefill", a_shape, [
        {"local": 8}, 0.5, {"local": 60, "sinks": 0}, 0.9, 0.8, {"local": 30, "sinks": 20}, 0.0, 0.95, {"local": 1, "sinks": 1}, 0.7]),
    "sliding_window": Cases("both", sliding_window, [
        {"window": 8}, 0.5, {"window": 60}, 0.9, 0.8, {"window": 300}, 0.0, 0.95, {"window": 1}, 0.7]),
    "streaming_llm": Cases("both", streaming_llm, [
        {"recent": 3, "start": 2}, 0.5, {"recent": 60, "start": 1, "own": "on_top"}, 0.9, 0.8, {"recent": 10, "start": 20}, 0.0, 0.9,
        {"recent": 31, "own": "on_top"}, 0.7]),
    "lm_infinite": Cases("both", lm_infinite, [
        {"local": 8, "global": 3}, 0.5, {"local": 40, "limit": 90}, 0.9, 0.8, {"local": 30, "global": 10, "limit": 20}, 0.0, 0.9,
        {"local": 17, "global": 64}, 0.7]),
    "longformer": Cases("both", longformer, [
        {"window": 8}, 0.5, {"window": 20, "dilation": 3, "dilated_heads": 2}, 0.9, 0.8, {"window": 5, "dilation": 4, "dilated_heads": 5, "globals": 9},
        0.0, 0.7, {"window": 16, "dilation": 2, "dilated_from": 3}, 0.7]),
    "etc_hubs": Cases("both", etc_hubs, [
        {"window": 8, "hubs": 5}, 0.5, {"window": 20, "hubs": 1}, 0.9, 0.8, {"window": 5, "hubs": 40}, 0.0, 0.7, {"window": 16, "hubs": 0}, 0.7]),
    "etc_hubs/structure": Cases("both", etc_hubs, [
        {"window": 8, "hubs": 9, "structure": "line"}, (0.7, {"structure": "sentence"}), {"window": 5, "hubs": 200, "structure": "chapter"},
        {"window": 3, "hubs": 11, "structure": "sentence"}, (0.0, {"structure": "line"})]),
    "bigbird": Cases("prefill", bigbird, [
        {"random": 2, "block": 8}, 0.5, {"random": 3, "block": 16, "drawn_from": 100}, (0.7, {"block": 16}), (0.8, {"block": 8, "local": 3}),
        {"random": 1, "block": 8, "last": False}, 0.0, (0.3, {"block": 1}), {"random": 2, "block": 16, "seed": 7}, (0.6, {"block": 16})]),
    "sparse_transformer": Cases("both", sparse_transformer, [
        {"length": 8}, 0.5, {"length": 16, "heads": "split"}, (0.5, {"form": "fixed", "summary": 4}), 0.8, {"length": 10, "form": "fixed", "summary": 4},
        0.0, {"length": 3, "form": "fixed", "summary": 2}, {"length": 32, "form": "fixed"}, 0.7]),
    "sparse_transformer/split": Cases("both", sparse_transformer, [None, (0.5, {"heads": "split"}), (0.8, {"heads": "split"}), (0.6, {"heads": "split"})]),
    "dilated": Cases("both", dilated, [
        {"local": 4, "span": 30, "step": 3}, 0.5, {"local": 20, "span": 200, "step": 7, "sinks": 0}, 0.9, 0.8, {"local": 30, "span": 10, "sinks": 20},
        0.0, (0.4, {"step": 3}), {"local": 1, "span": 290}, 0.3]),
    "head_roles": Cases("both", head_roles, [
        {"sinks": 2, "recent": 8}, 0.5, {"sinks": 4, "recent": 30, "streaming": 1.0}, {"sinks": 1, "recent": 20}, {"sinks": 3, "recent": 40, "streaming": 0.75},
        {"sinks": 2, "recent": 9, "streaming": 0.34, "seed": 1}, 0.0, 0.7, {"sinks": 2, "recent": 9, "seed": 3}, 0.7]),
    "head_roles/roles": Cases("both", head_roles, [None] * 8 + [
        {"sinks": 2, "recent": 9, "streaming": 0.25, "roles": "tests/golden/methods/tables/roles.txt"}], layers=4),
    "spattention": Cases("both", spattention, [
        {"length": 64}, {"length": 200}, {"length": 100}, {"length": 11}, {"length": 1000}, {"length": 97}, {"length": 1}, {}, {"length": 290},
        {"length": 317}]),
    "combiner": Cases("prefill", combiner, [
        {"segment": 8}, 0.5, {"segment": 37}, {"segment": 16, "weight": "one"}, 0.8, {"segment": 10}, 0.0, {}, {"segment": 145}, (0.85, {"weight": "one"})]),
}
