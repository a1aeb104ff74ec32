"""Methods that keep a part of the cache: of the prompt, evicted while decoding, or by a trained gate."""
import numpy as np

from .vocabulary import (
    Cases, Close, MARGIN, by_distance, everything, fit_blocks, fit_keys, frequencies, grid, kept, order, pool, prompt_capacity,
    read_keys, softmax, top)


def living(a, scores, choose, scores_of_step):
    """A cache evicted step by step: lists of keys, one a row of scores [rows, keys]. choose(scores, alive, step) cuts what is alive;
    scores_of_step(scores, p [H, keys], step) adds what the step gave."""
    n = a.tokens
    alive = [set(range(n)) for _ in scores]
    for step in range(a.c["tail"]):
        row = n + step
        choose(scores, alive, step)
        for l in alive:
            l.add(row)
        p = np.zeros((a.heads, row + 1))
        for h in range(a.heads):
            keys = sorted(alive[h // a.group if len(alive) > 1 else 0])
            p[h, keys] = softmax(a.k[keys, h // a.group] @ a.q[row, h] * a.scale)
        scores = scores_of_step(np.pad(scores, ((0, 0), (0, 1))), p, step)
    return read_keys(a, [sorted(l) for l in alive])


def keep_best(x, alive, k, forced=()):
    """The k best of what lives, `forced` first."""
    x = np.array([np.inf if j in forced and j in alive else v if j in alive else -np.inf for j, v in enumerate(x)])
    return set(top(x, k))


def most_living(a, p, sparsity, row, spare=1):
    """Keys that live before step `row` adds its own; `spare` of a target are left to those that come on top."""
    if sparsity is not None:
        if p.get("grows"):
            return max(int((1 - sparsity) * (row + 1) + 0.5), 1)
        return max(fit_keys(a, sparsity) - spare, 1)
    if p.get("share"):
        return max(int(p["share"] * (row + 1) + 0.5), 1)
    return p.get("capacity", 1024)


def h2o(a, p, sparsity):
    n = a.tokens

    def choose(scores, alive, step):
        if step % p.get("every", 1):
            return
        most = most_living(a, p, sparsity, n + step)
        recent = min(int(p.get("recent", 0.5) * most + 0.5), n + step)
        for g in range(a.kv):
            alive[g] = keep_best(scores[g], alive[g], most, range(n + step - recent, n + step))

    return living(a, a.grouped(a.probe(n)[0], np.mean), choose, lambda s, x, step: s + a.grouped(x, np.mean))


def tova(a, p, sparsity):
    n = a.tokens

    def choose(scores, alive, step):
        if step % p.get("every", 1) == 0:
            alive[0] = keep_best(scores[0], alive[0], most_living(a, p, sparsity, n + step))

    return living(a, a.probe(1)[0].mean(axis=0)[None], choose, lambda s, x, step: x.mean(axis=0)[None])


def decoding_snapkv(a, p, sparsity):
    n, window, every = a.tokens, p.get("window", 32), p.get("every", 32)

    def choose(scores, alive, step):
        if step % every:
            return
        capacity = most_living(a, p, sparsity, n + step, every // 2 if sparsity else 0)
        local = min(window, capacity // 2)
        pooled = pool(np.pad(scores, ((0, 0), (0, a.keys - scores.shape[1]))), p.get("kernel", 5), p.get("pooling", "mean"))
        for g in range(a.kv):
            alive[g] = keep_best(pooled[g][: n + step], alive[g], capacity, range(max(n + step - local, 0), n + step))
        scores[:] = 0

    looks = lambda step: step % every >= every - window
    return living(a, a.grouped(a.probe(window)[0], np.mean), choose,
                  lambda s, x, step: s + a.grouped(x, np.mean) if looks(step) else s)


def pyramidkv(a, p, sparsity):
    n = a.tokens
    capacity = p.get("capacity", 2048) if sparsity is None else fit_keys(a, sparsity)
    if n < capacity:
        return everything(a)
    window, beta = min(p.get("window", 32), capacity // 2), p.get("beta", 20)
    average = capacity - window
    least = average // beta
    most = 2 * average - least
    if n < 2 * average:
        keeps = average
    else:
        if most >= n - window:
            most, least = n - window, 2 * average - (n - window)
        keeps = most - a.layer * ((most - least) // (a.layers - 1) if a.layers > 1 else 0)
    column = a.grouped(a.probe(p.get("window", 32))[0], np.mean)
    score = pool(column[:, : n - window], p.get("kernel", 5), p.get("pooling", "mean"))
    score = np.concatenate([score, np.full((a.kv, window), np.inf)], axis=1)
    return kept(a, [top(x, max(keeps + window, 1)) for x in score])


def knorm(a, p, sparsity):
    n = a.tokens
    if a.layer < p.get("dense_layers", 0):
        return everything(a)
    norm = np.linalg.norm(a.k[:n], axis=2).T
    return kept(a, [top(-x, prompt_capacity(a, p, sparsity)) for x in norm])


def keydiff(a, p, sparsity):
    k = a.k[: a.tokens].transpose(1, 0, 2)
    unit = k / np.linalg.norm(k, axis=2, keepdims=True)
    anchor = unit.mean(axis=1, keepdims=True)
    cosine = (unit * anchor).sum(axis=2) / np.linalg.norm(anchor, axis=2)
    return kept(a, [top(-x, prompt_capacity(a, p, sparsity)) for x in cosine])


def expected_attention(a, p, sparsity):
    n, sinks, ahead, half = a.tokens, p.get("sinks", 4), p.get("ahead", 512), a.dim // 2
    capacity, skip = prompt_capacity(a, p, sparsity), sinks if sinks < a.tokens else 0
    turn = frequencies(a.dim).astype(np.float64)

    def matrices(positions):  # [positions, D, D]
        c, s = np.cos(positions[:, None] * turn), np.sin(positions[:, None] * turn)
        r, d = np.zeros((len(positions), a.dim, a.dim)), np.arange(half)
        r[:, d, d] = r[:, d + half, d + half] = c
        r[:, d, d + half], r[:, d + half, d] = -s, s
        return r

    back = np.einsum("ide,ihe->hid", matrices(-np.arange(skip, n, dtype=np.float64)), a.q[skip:n])
    mean = back.mean(axis=1)
    centred = back - mean[:, None]
    covariance = np.einsum("hid,hie->hde", centred, centred) / (n - skip)
    r = matrices(np.arange(n, n + ahead, dtype=np.float64)).mean(axis=0)
    mean, covariance = mean @ r.T, r @ covariance @ r.T
    k = np.repeat(a.k[skip:n], a.group, axis=1).transpose(1, 0, 2)
    logit = np.einsum("hjd,hd->hj", k, mean) * a.scale + np.einsum("hjd,hde,hje->hj", k, covariance, k) * a.scale**2 / 2
    score = a.grouped(softmax(logit), np.mean) * np.linalg.norm(a.v[skip:n], axis=2).T
    score = np.concatenate([np.zeros((a.kv, skip)), score], axis=1)
    score[:, : min(sinks, capacity // 2)] = np.inf
    return kept(a, [top(x, capacity) for x in score])


def gates(a, w):
    """[G, rows]: <w[g], q> of the first query of each group as it was before rotary positions turned it."""
    half, rows = a.dim // 2, a.q.shape[0]
    angle = (np.arange(rows, dtype=np.float32)[:, None] * frequencies(a.dim)).astype(np.float64)
    q = a.q[:, :: a.group]
    before = (q[..., :half] + 1j * q[..., half:]) * np.exp(-1j * angle)[:, None]
    return np.einsum("igd,gd->gi", before, w[:, :half] - 1j * w[:, half:]).real


def dms(a, p, sparsity):
    logit = gates(a, a.weight(0, a.kv, a.dim)) - a.weight(1, a.kv)[:, None]
    if np.abs(logit).min() < 10 * MARGIN:
        raise Close
    until = np.full((a.kv, logit.shape[1]), np.inf)  # the last query that reads a key
    for g in range(a.kv):
        for j in range(logit.shape[1] - 1):
            if logit[g, j + 1] > 0:
                until[g, j] = j + p.get("window", 256)
    i, j = grid(a)
    return by_distance(a, [i <= until[h // a.group] for h in range(a.heads)])


def sparsek(a, p, sparsity):
    n, k, near = a.keys, p.get("k", 256), p.get("window", 256)
    if sparsity is not None:
        keys = fit_keys(a, sparsity) if a.phase == "decode" or sparsity == 0 else fit_blocks(a.tokens, 1, sparsity)
        near, k = max(int(keys * near / (near + k) + 0.5), 1), keys - max(int(keys * near / (near + k) + 0.5), 1)
    score = gates(a, a.weight(0, a.kv, a.dim)) + a.weight(1, a.kv)[:, None] * np.arange(n)
    i, j = grid(a)
    masks = []
    for x in score:
        far = np.zeros((len(i), n), bool)
        for row, position in enumerate(i[:, 0]):
            there = x[: max(position + 1 - near, 0)]
            best = order(there)
            if 0 < k < len(there) and there[best[k - 1]] - there[best[k]] < 10 * MARGIN:
                raise Close
            far[row, best[:k]] = True
        masks.append(far | (i - j < near))
    return by_distance(a, [masks[h // a.group] for h in range(a.heads)])


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "h2o": Cases("decode", h2o, [
        {"capacity": 10}, 0.5, {"capacity": 33, "recent": 0.25}, 0.9, 0.8, {"share": 0.3, "every": 4}, 0.0, {"capacity": 3, "every": 3}, {"capacity": 40, "recent": 0.0},
        (0.7, {"grows": True})]),
    "tova": Cases("decode", tova, [
        {"capacity": 10}, 0.5, {"capacity": 33}, 0.9, 0.8, {"share": 0.3, "every": 4}, 0.0, {"capacity": 3, "every": 3}, {"capacity": 40}, (0.7, {"grows": True})]),
    "decoding_snapkv": Cases("decode", decoding_snapkv, [
        {"capacity": 10}, (0.5, {"every": 2, "window": 1}), {"capacity": 33, "every": 5, "window": 2}, 0.9, (0.8, {"every": 4, "window": 8}),
        {"capacity": 21, "every": 7, "window": 4, "pooling": "max"}, 0.0, {"capacity": 4, "every": 3}, {"capacity": 40, "kernel": 7, "every": 8}, 0.7]),
    "decoding_snapkv/grown": Cases("decode", decoding_snapkv, [
        None, {"share": 0.3, "every": 2, "window": 2}, (0.7, {"grows": True, "every": 3, "window": 2}), (0.5, {"grows": True, "every": 4})]),
    "pyramidkv": Cases("compress", pyramidkv, [
        {"capacity": 12, "window": 4}, 0.5, {"capacity": 60, "beta": 5}, 0.9, (0.8, {"window": 8}), {"capacity": 20, "kernel": 3, "window": 8}, 0.0,
        (0.5, {"window": 2}), {"capacity": 100, "window": 16, "pooling": "max"}, 0.95]),
    "pyramidkv/layers": Cases("compress", pyramidkv, [
        {"capacity": 12, "window": 4, "kernel": 1}, {"capacity": 30, "window": 4, "beta": 3, "kernel": 9}, 0.8], layers=5),
    "knorm": Cases("compress", knorm, [
        {"capacity": 12}, 0.5, {"capacity": 60, "dense_layers": 3}, 0.9, 0.8, {"capacity": 20}, 0.0, 0.5, {"capacity": 100}, 0.95]),
    "keydiff": Cases("compress", keydiff, [
        {"capacity": 12}, 0.5, {"capacity": 60}, 0.9, 0.8, {"capacity": 20}, 0.0, 0.5, {"capacity": 100}, 0.95]),
    "expected_attention": Cases("compress", expected_attention, [
        {"capacity": 12}, 0.5, {"capacity": 60, "ahead": 30}, 0.9, 0.8, {"capacity": 20, "sinks": 0}, 0.0, 0.5, {"capacity": 100, "sinks": 10}, 0.95]),
    "dms": Cases("both", dms, [
        {"window": 8}, {"window": 50}, {"window": 1}, {"window": 31}, {"window": 100}, {"window": 5}, {"window": 2}, {}, {"window": 64}, {"window": 300}]),
    "sparsek": Cases("both", sparsek, [
        {"k": 8, "window": 4}, 0.5, {"k": 60, "window": 10}, {"k": 1, "window": 64}, (0.8, {"k": 3, "window": 1}), {"k": 20, "window": 1}, 0.0, {},
        {"k": 0, "window": 30}, 0.9]),
}
