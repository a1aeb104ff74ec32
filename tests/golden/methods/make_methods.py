"""Golden values for the methods: an independent NumPy implementation of each, in double precision.

    python3 tests/golden/methods/make_methods.py > tests/golden/methods/methods.json

tests/test_methods.c makes the same inputs from the same seeds. They are multiples of 1/64, so small that every q.k is
exact in fp32: implementations differ in exp() and in sums of probabilities only. A case whose choice hangs on less than
MARGIN (two scores at the cut that are close, but not equal) is drawn again with another seed, so that what is stored is
what every correct implementation in fp32 chooses; exact ties stay, and go to the lowest index.
"""
import json
import math
import sys

import numpy as np

MARGIN = 1e-5
TILE = 64
M64 = (1 << 64) - 1


searching = False  # within(), which looks after shares of mass itself


class Close(Exception):
    """The choice hangs on rounding."""


# ---- inputs ---------------------------------------------------------------------------------------------------------

def splitmix(stream, n):
    """The n-th draw (array) of a stream."""
    with np.errstate(over="ignore"):
        z = np.uint64(stream & M64) + (n.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def draw(stream, n):
    return int(splitmix(stream, np.array([n], dtype=np.uint64))[0])


def uniform(stream, rows, heads, dim, coarse):
    """[rows, heads, dim] multiples of 1/64 in [-2, 2); coarse: of 1."""
    z = splitmix(stream, np.arange(rows * heads * dim)).reshape(rows, heads, dim)
    if coarse:
        return (z >> np.uint64(62)).astype(np.float64) - 2
    return ((z >> np.uint64(56)).astype(np.float64) - 128) / 64


def signs(stream, heads, dim):
    return 1 - 2 * (splitmix(stream, np.arange(heads * dim)).reshape(heads, dim) >> np.uint64(63)).astype(np.float64)


def inputs(c):
    """q [rows, H, D], k and v [rows, G, D] of the prompt and the tokens generated after it."""
    rows, heads, kv, dim, seed = c["tokens"] + c["tail"], c["heads"], c["kv_heads"], c["head_dim"], c["seed"]
    group = heads // kv
    q = uniform(8 * seed, rows, heads, dim, c["ties"])
    k = uniform(8 * seed + 1, rows, kv, dim, c["ties"])
    v = uniform(8 * seed + 2, rows, kv, dim, False)
    if c["ties"]:  # every seventh key repeats the one two before it
        for j in range(3, rows, 7):
            k[j] = k[j - 2]
    if c["sinks"]:
        s = signs(8 * seed + 3, kv, dim)
        k[:4] += s
        q += np.repeat(s, group, axis=0) / 2
    if c["needles"]:
        s = signs(8 * seed + 4, kv, dim)
        for i in range(3):
            k[draw(8 * seed + 5, i) % c["tokens"]] += 1.5 * s
        q[max(c["tokens"] - 32, 0):] += np.repeat(s, group, axis=0)
    return q, k, v


# ---- choices --------------------------------------------------------------------------------------------------------

def order(x):
    """Indices by descending score, ties to the lowest index."""
    return np.argsort(-x, kind="stable")


def top(x, k):
    """The k largest of a row, ascending; -inf is never chosen."""
    k = min(k, int((x > -np.inf).sum()))
    o = order(x)
    if 0 < k < len(x):
        inside, outside = x[o[k - 1]], x[o[k]]
        if inside != outside and inside - outside < MARGIN * abs(inside):
            raise Close
    return sorted(int(i) for i in o[:k])


def count_of_mass(x, mass):
    """Length of the shortest prefix of the sorted row that holds a share `mass` of it."""
    x = x[np.isfinite(x)]
    share = np.cumsum(x[order(x)]) / x.sum()
    if np.abs(share - mass).min() < MARGIN and mass < 1 and not searching:
        raise Close
    return int((share < mass).sum()) + 1


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Attention:
    """Scores of one layer, from the definition."""

    def __init__(self, c):
        self.c = c
        self.q, self.k, self.v = inputs(c)
        self.heads, self.kv, self.dim = c["heads"], c["kv_heads"], c["head_dim"]
        self.group, self.scale = self.heads // self.kv, 1 / math.sqrt(self.dim)
        if "width" in c:  # of a trained method, the layer's input and what it owns
            self.x = uniform(8 * c["seed"] + 7, c["tokens"] + c["tail"], 1, c["width"], False)[:, 0]
            self.weights = [uniform(8 * (c["seed"] + (2 << 20)) + i, 1, 1, int(np.prod(shape)), False).reshape(shape)
                            for i, shape in enumerate(c["weights"])]

    def rows(self, first, last):
        """Probabilities [H, rows, keys] of query rows first … last - 1 over their causal keys among the first `last`."""
        k = np.repeat(self.k[:last], self.group, axis=1)
        s = np.einsum("ihd,jhd->hij", self.q[first:last], k) * self.scale
        causal = np.arange(first, last)[:, None] >= np.arange(last)[None, :]
        return softmax(np.where(causal, s, -np.inf))

    def probe(self, window, reduce=np.sum):
        n = self.c["tokens"]
        p = self.rows(max(n - window, 0), n)
        diagonal = np.zeros((self.heads, n))
        for i in range(p.shape[1]):
            position = n - p.shape[1] + i
            diagonal[:, : position + 1] += p[:, i, position::-1]
        return reduce(p, axis=1), diagonal

    def grouped(self, x, reduce):
        return reduce(x.reshape(self.kv, self.group, *x.shape[1:]), axis=1)

    def means(self, x, block):
        n = self.c["tokens"]
        return np.stack([x[i : min(i + block, n)].mean(axis=0) for i in range(0, n, block)], axis=1)  # [heads, blocks, D]


# ---- patterns: lists to hash, and the pairs they mean ---------------------------------------------------------------

def causal_mask(n):
    return np.tril(np.ones((n, n), bool))


def columns_diagonals_mask(n, columns, diagonals):
    mask = np.zeros((n, n), bool)
    mask[:, columns] = True
    for start in range(0, n, TILE):
        for o in diagonals:
            mask[start : start + TILE, max(start - o, 0) : max(start - o + TILE, 0)] = True
    return mask & causal_mask(n)


def columns_diagonals(a, columns, diagonals):
    n, per = a.c["tokens"], a.heads // len(columns)
    masks = [columns_diagonals_mask(n, columns[h // per], diagonals[h // per]) for h in range(a.heads)]
    return {"lists": columns + diagonals, "masks": masks}


def blocks(a, rows, block, keys=None):
    """rows: [heads][query blocks] lists; keys in a block of them, if not as many as queries."""
    n, per, keys = a.c["tokens"], a.heads // len(rows), keys or block
    masks = []
    for h in range(a.heads):
        mask = np.zeros((n, n), bool)
        for i, chosen in enumerate(rows[h // per]):
            for j in chosen:
                mask[i * block : (i + 1) * block, j * keys : (j + 1) * keys] = True
        masks.append(mask & causal_mask(n))
    return {"lists": [r for head in rows for r in head], "masks": masks}


def window(a, sinks, local, last=0):
    n = a.c["tokens"] + a.c["tail"]
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    mask = ((j < sinks) | (i - j < local) | (i >= n - last)) & (i >= j)
    return {"lists": [[sinks, local, last]], "masks": [mask] * a.heads}


def read_keys(a, lists, keys, hashed=None):
    """Decode: the kv heads' keys that the query, the last row, reads."""
    masks = []
    for h in range(a.heads):
        mask = np.zeros((1, a.c["tokens"] + a.c["tail"]), bool)
        mask[0, keys[h // a.group]] = True
        masks.append(mask)
    return {"lists": lists if hashed is None else hashed, "masks": masks}


# ---- budgets --------------------------------------------------------------------------------------------------------

def block_pairs(n, block, k):
    return sum(
        (min(k, i // block + 1) - 1) * block * (min(i + block, n) - i) + (min(i + block, n) - i) * (min(i + block, n) - i + 1) // 2
        for i in range(0, n, block)
    )


def fit_blocks(n, block, sparsity):
    target = (1 - sparsity) * n * (n + 1) / 2
    return min(range(1, -(-n // block) + 1), key=lambda k: abs(block_pairs(n, block, k) - target))


def everything(a):
    return {"lists": [], "masks": [causal_mask(a.c["tokens"])] * a.heads}


def within(a, target, choose):
    """The choice of the highest dial in [0, 1) whose density is at most `target`; everything where that is allowed."""
    if target >= 1:
        return everything(a)
    global searching
    low, high, searching = 0.0, 1.0, True
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if density(choose(middle), a) <= target else (low, middle)
    # The dial ends just below a step, so rounding may move the dial; the choice below the step is what must be clear.
    result, below = choose(low), choose(max(low - 2 * MARGIN, 0.0))
    searching = False
    if result["lists"] != below["lists"]:
        raise Close
    return result


def fit_keys(c, sparsity):
    return c["tokens"] + c["output"] if sparsity == 0 else max(int((1 - sparsity) * c["tokens"] + 0.5), 1)


def density(result, a):
    n = a.c["tokens"]
    return sum(int(m.sum()) for m in result["masks"]) / (a.heads * n * (n + 1) / 2)


# ---- the methods ----------------------------------------------------------------------------------------------------

def merged(a, columns, diagonals):
    """The tiles of MInference's kernel (csrc/vertical_slash_index.cu): blocks of 64 queries and one key."""
    n, rows = a.c["tokens"], []
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
    n, sinks, local = a.c["tokens"], p.get("sinks", 4), p.get("local", 64)
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
    target, best = p.get("density", 1.0) if sparsity is None else 1 - sparsity, None
    low, high = 1, n + 1
    while high - low > 1:
        k = (low + high) // 2
        got = density(choose(k, k), a)
        low, high = (k, high) if got <= target else (low, k)
    columns, high = low, n + 1  # what is left goes to columns
    while high - columns > 1:
        k = (columns + high) // 2
        columns, high = (k, high) if density(choose(k, low), a) <= target else (columns, k)
    return choose(columns, low)


def flex_prefill(a, p, sparsity):
    n, sinks, local = a.c["tokens"], p.get("sinks", 4), p.get("local", 64)
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
    if sparsity is None:
        return choose(p.get("alpha", 0.9), least)
    least = n // 32 + 1 if least > n // 32 else least
    return within(a, 1 - sparsity, lambda dial: choose(0, 1 + int(2 * dial * (least - 1))) if dial < 0.5 else choose(2 * dial - 1, least))


def js_distance(p, q):
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return math.sqrt(sum(0.5 * np.where(x > 0, x * np.log(x / m), 0).sum() for x in (p, q)))


def flex_prefill_full(a, p, sparsity):
    n, block, gamma, tau = a.c["tokens"], p.get("block", 128), p.get("gamma", 0.9), p.get("tau", 0.1)
    least, nb = p.get("min_budget", 1024), -(-a.c["tokens"] // p.get("block", 128))
    if n <= 2 * block or (sparsity is None and n <= least):
        return everything(a)
    column, diagonal = a.probe(block)
    q, k = a.means(a.q, block), a.means(a.k, block)
    last = a.q[n - block : n].mean(axis=0)  # [H, D]
    least = -(-least // block)
    pool = lambda x: np.array([x[i : i + block].sum() for i in range(0, n, block)])
    aware, maps = [], []
    for h in range(a.heads):
        kh, exact = k[h // a.group], pool(column[h])
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
                x = pool(x)
                x[0] = np.inf
                named.append(top(x, min(count, nb)))
            chosen = [{j for j in range(i + 1) if j in named[0] or i - j in named[1]} for i in range(nb)]
            if aware[h]:
                for pair in top(maps[h], count_of_mass(maps[h], gamma)):
                    chosen[pair // nb].add(pair % nb)
            rows.append([sorted(r) for r in chosen])
        return blocks(a, rows, block)

    if sparsity is None:
        return choose(gamma, least)
    least = nb // 32 + 1 if least > nb // 32 else least
    return within(a, 1 - sparsity, lambda dial: choose(0, 1 + int(2 * dial * (least - 1))) if dial < 0.5 else choose(2 * dial - 1, least))


def block_sparse(a, p, sparsity):
    n, block, sinks, local = a.c["tokens"], p.get("block", 16), p.get("sinks", 1), p.get("local", 2)
    k = max(p.get("k", 100) if sparsity is None else fit_blocks(n, block, sparsity), sinks + local)
    score = np.einsum("hid,hjd->hij", a.means(a.q, block), np.repeat(a.means(a.k, block), a.group, axis=0)) * a.scale
    if p.get("selection") == "group":
        score = a.grouped(score, np.sum)
    rows = []
    for s in score:
        head = []
        for i, row in enumerate(s):
            row = row[: i + 1].copy()
            row[:sinks] = np.inf
            row[max(i + 1 - local, 0) :] = np.inf
            head.append(top(row, k))
        rows.append(head)
    return blocks(a, rows, block)


def sketch_walk(a, p, sparsity):
    """earlier: Attentions of the layers before this one. A choice that hangs on rounding in fp32 is told by the errors of A, carried
    along the walk."""
    n, block, power = a.c["tokens"], p.get("block", 64), p.get("power", 8)
    k = max(p.get("k", 16) if sparsity is None else fit_blocks(n, block, sparsity), 2)
    layers, first = [*p.get("earlier", []), a], p.get("dense_layers", 0)
    if a.c["layer"] < first:
        return everything(a)
    hadamard = np.ones((1, 1))
    while len(hadamard) < a.dim:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    sign = 1 - 2 * (splitmix(p.get("seed", 43), np.arange(a.dim)) >> np.uint64(63)).astype(np.float64)
    sketch = hadamard[: p.get("rank", 64), : a.dim] * sign
    walk, off = np.eye(-(-n // block)), np.zeros((-(-n // block),) * 2)
    for layer in layers[max(first - (a.c["layer"] + 1 - len(layers)), 0) :]:
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


def random_blocks(a, p, sparsity):
    n, block, sinks, local = a.c["tokens"], p.get("block", 16), p.get("sinks", 1), p.get("local", 2)
    k = max(p.get("k", 100) if sparsity is None else fit_blocks(n, block, sparsity), sinks + local)
    rows = []
    for h in range(a.heads):
        head = []
        for i in range(-(-n // block)):
            chosen = set(range(min(sinks, i + 1))) | set(range(max(i + 1 - local, 0), i + 1))
            free = [j for j in range(i + 1) if j not in chosen]
            wanted = min(max(min(k, -(-n // block)) - len(chosen), 0), len(free))
            stream = draw(draw(draw(p.get("seed", 43), a.c["layer"]), h), i + 1)
            for at in range(len(free) - wanted, len(free)):  # Floyd's sampling
                t = draw(stream, free[at]) % (at + 1)
                chosen.add(free[at] if free[t] in chosen else free[t])
            head.append(sorted(chosen))
        rows.append(head)
    return blocks(a, rows, block)


def oracle_blocks(a, p, sparsity):
    n, block = a.c["tokens"], p.get("block", 16)
    k = p.get("k", 100) if sparsity is None else fit_blocks(n, block, sparsity)
    prob = a.rows(0, n)
    if p.get("selection") == "group":
        prob = a.grouped(prob, np.sum)
    rows = []
    for x in prob:
        head = []
        for i in range(0, n, block):
            mass = np.array([x[i : i + block, j : j + block].sum() for j in range(0, i + 1, block)])
            head.append(top(mass, k))
        rows.append(head)
    return blocks(a, rows, block)


def streaming(a, p, sparsity):
    sinks, local = p.get("sinks", 4), p.get("local", 1020)
    if sparsity is not None:
        keys = fit_keys(a.c, sparsity) if a.c["phase"] == "decode" else fit_blocks(a.c["tokens"], 1, sparsity)
        local = max(keys - sinks, 1)
    return window(a, sinks, local)


def tri_shape(a, p, sparsity):
    n, sinks, local, last = a.c["tokens"], p.get("sinks", 4), p.get("local", 1020), p.get("last", 100)
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


def null(a, p, sparsity):
    return window(a, 1, 1)


def pool(x, kernel, reduce):
    """Stride 1; the mean counts padding as zeros, the maximum ignores it."""
    half, out = kernel // 2, np.empty_like(x)
    for j in range(x.shape[1]):
        part = x[:, max(j - half, 0) : j + half + 1]
        out[:, j] = part.sum(axis=1) / kernel if reduce == "mean" else part.max(axis=1)
    return out


def kept_scores(a, p, capacity, over_probe, over_group):
    column, _ = a.probe(p.get("window", 256), over_probe)
    score = pool(a.grouped(column, over_group), p.get("kernel", 21), p.get("pooling", "mean"))
    sinks = min(p.get("sinks", 4), capacity // 2)
    local = min(p.get("local", 128), capacity // 2 - sinks)
    score[:, :sinks] = np.inf
    score[:, a.c["tokens"] - local :] = np.inf
    return score, sinks + local


def kept(a, lists):
    tail = list(range(a.c["tokens"], a.c["tokens"] + a.c["tail"]))
    return read_keys(a, lists, [l + tail for l in lists])


def snapkv(a, p, sparsity):
    capacity = p.get("capacity", 1024) if sparsity is None else fit_keys(a.c, sparsity)
    score, _ = kept_scores(a, p, capacity, np.sum, np.mean)
    return kept(a, [top(x, capacity) for x in score])


def ada_snapkv(a, p, sparsity):
    capacity = p.get("capacity", 1024) if sparsity is None else fit_keys(a.c, sparsity)
    score, forced = kept_scores(a, p, capacity, np.max, np.max)
    own = max(int(p.get("floor", 0.2) * capacity), forced, 1)
    for x in score:
        x[top(x, own)] = np.inf
    flat = top(score.reshape(-1), capacity * a.kv)
    n = a.c["tokens"]
    return kept(a, [[i % n for i in flat if i // n == g] for g in range(a.kv)])


def quest(a, p, sparsity):
    page, n = p.get("page", 16), a.c["tokens"] + a.c["tail"]
    if a.c["layer"] < p.get("dense_layers", 0):
        return read_keys(a, [], [list(range(n))] * a.kv)
    if sparsity is None:
        pages = (p.get("budget", 1024) + page // 2) // page
    elif sparsity == 0:
        pages = n
    else:
        pages = max(int(math.floor((fit_keys(a.c, sparsity) - page / 2) / page + 0.5)), 1)
    pages = max(pages, p.get("least", 0))
    q, current = a.q[n - 1].reshape(a.kv, a.group, a.dim), (n - 1) // page
    lists = []
    for g in range(a.kv):
        score = []
        for begin in range(0, n, page):
            part = a.k[begin : min(begin + page, n), g]
            score.append(np.maximum(q[g] * part.min(axis=0), q[g] * part.max(axis=0)).sum())
        score[current] = np.inf
        lists.append(top(np.array(score), pages + 1))
    return read_keys(a, lists, [[j for x in l for j in range(x * page, min((x + 1) * page, n))] for l in lists])


def oracle_topk(a, p, sparsity):
    n = a.c["tokens"] + a.c["tail"]
    budget = p.get("budget", 1024) if sparsity is None else fit_keys(a.c, sparsity)
    mass = a.grouped(a.rows(n - 1, n)[:, 0], np.sum)
    lists = [top(x, budget) for x in mass]
    return read_keys(a, lists, lists)


# ---- caches that are cut --------------------------------------------------------------------------------------------

def living(a, capacity, choose, scores_of_prompt, scores_of_step):
    """A cache evicted step by step: lists [rows] of keys. scores_of_step(scores, p [H, keys], step)."""
    n, scores = a.c["tokens"], scores_of_prompt()
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
    lists = [sorted(l) for l in alive]
    each = lists if len(lists) > 1 else lists * a.kv
    return read_keys(a, lists, each)


def keep_best(x, alive, k, forced=()):
    """The k best of what lives, `forced` first."""
    x = np.array([np.inf if j in forced and j in alive else v if j in alive else -np.inf for j, v in enumerate(x)])
    return set(top(x, k))


def most_living(a, p, sparsity, row):
    if sparsity is not None:
        if p.get("grows"):
            return max(int((1 - sparsity) * (row + 1) + 0.5), 1)
        return max(fit_keys(a.c, sparsity) - 1, 1)
    if p.get("share"):
        return max(int(p["share"] * (row + 1) + 0.5), 1)
    return p.get("capacity", 1024)


def h2o(a, p, sparsity):
    n = a.c["tokens"]

    def choose(scores, alive, step):
        if step % p.get("every", 1):
            return
        most = most_living(a, p, sparsity, n + step)
        recent = min(int(p.get("recent", 0.5) * most + 0.5), n + step)
        for g in range(a.kv):
            alive[g] = keep_best(scores[g], alive[g], most, range(n + step - recent, n + step))

    return living(a, None, choose, lambda: a.grouped(a.probe(n)[0], np.mean), lambda s, x, step: s + a.grouped(x, np.mean))


def tova(a, p, sparsity):
    n = a.c["tokens"]

    def choose(scores, alive, step):
        if step % p.get("every", 1) == 0:
            alive[0] = keep_best(scores[0], alive[0], most_living(a, p, sparsity, n + step))

    return living(a, None, choose, lambda: a.probe(1)[0].mean(axis=0)[None], lambda s, x, step: x.mean(axis=0)[None])


def decoding_snapkv(a, p, sparsity):
    n, window, every = a.c["tokens"], p.get("window", 32), p.get("every", 32)
    capacity = p.get("capacity", 1024) if sparsity is None else max(fit_keys(a.c, sparsity) - (every // 2 if sparsity else 0), 1)

    def choose(scores, alive, step):
        if step % every:
            return
        local = min(window, capacity // 2)
        room = a.c["tokens"] + a.c["tail"]
        pooled = pool(np.pad(scores, ((0, 0), (0, room - scores.shape[1]))), p.get("kernel", 5), p.get("pooling", "mean"))
        for g in range(a.kv):
            alive[g] = keep_best(pooled[g][: n + step], alive[g], capacity, range(max(n + step - local, 0), n + step))
        scores[:] = 0

    looks = lambda step: step % every >= every - window
    return living(a, None, choose, lambda: a.grouped(a.probe(window)[0], np.mean),
                  lambda s, x, step: s + a.grouped(x, np.mean) if looks(step) else s)


def pyramidkv(a, p, sparsity):
    n, layer, layers = a.c["tokens"], a.c["layer"], a.c.get("layers", a.c["layer"] + 1)
    capacity = p.get("capacity", 2048) if sparsity is None else fit_keys(a.c, sparsity)
    if n < capacity:
        return kept(a, [list(range(n))] * a.kv) | {"lists": []}
    window, beta = min(p.get("window", 32), capacity // 2), p.get("beta", 20)
    average = capacity - window
    least = average // beta
    most = 2 * average - least
    if n < 2 * average:
        keeps = average
    else:
        if most >= n - window:
            most, least = n - window, 2 * average - (n - window)
        keeps = most - layer * ((most - least) // (layers - 1) if layers > 1 else 0)
    column = a.grouped(a.probe(p.get("window", 32))[0], np.mean)
    score = pool(column[:, : n - window], p.get("kernel", 5), p.get("pooling", "mean"))
    score = np.concatenate([score, np.full((a.kv, window), np.inf)], axis=1)
    return kept(a, [top(x, max(keeps + window, 1)) for x in score])


def prompt_capacity(a, p, sparsity):
    return p.get("capacity", 1024) if sparsity is None else fit_keys(a.c, sparsity)


def knorm(a, p, sparsity):
    n = a.c["tokens"]
    if a.c["layer"] < p.get("dense_layers", 0):
        return kept(a, [list(range(n))] * a.kv) | {"lists": []}
    norm = np.linalg.norm(a.k[:n], axis=2).T
    return kept(a, [top(-x, prompt_capacity(a, p, sparsity)) for x in norm])


def keydiff(a, p, sparsity):
    k = a.k[: a.c["tokens"]].transpose(1, 0, 2)
    unit = k / np.linalg.norm(k, axis=2, keepdims=True)
    anchor = unit.mean(axis=1, keepdims=True)
    cosine = (unit * anchor).sum(axis=2) / np.linalg.norm(anchor, axis=2)
    return kept(a, [top(-x, prompt_capacity(a, p, sparsity)) for x in cosine])


def expected_attention(a, p, sparsity):
    n, sinks, ahead, half = a.c["tokens"], p.get("sinks", 4), p.get("ahead", 512), a.dim // 2
    capacity, skip = prompt_capacity(a, p, sparsity), sinks if sinks < a.c["tokens"] else 0
    turn = np.float32(10000.0 ** (-2.0 * np.arange(half) / a.dim)).astype(np.float64)

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


# ---- masks by distance: no lists to hash ----------------------------------------------------------------------------

def grid(a):
    """Positions of queries (all, or in decode the last) and of keys."""
    n = a.c["tokens"] + a.c["tail"]
    i = np.arange(n) if a.c["phase"] == "prefill" else np.array([n - 1])
    return i[:, None], np.arange(n)[None, :]


def by_distance(a, masks, distance=None):
    """masks: one for all heads, or [H]. distance: what rotary positions make of i - j."""
    i, j = grid(a)
    masks = masks if isinstance(masks, list) else [masks] * a.heads
    return {"lists": [], "masks": [m & (j <= i) for m in masks], "distance": distance}


def fit_window(a, sparsity, others):
    keys = fit_keys(a.c, sparsity) if a.c["phase"] == "decode" else fit_blocks(a.c["tokens"], 1, sparsity)
    return keys, max(keys - others, 1)


def sliding_window(a, p, sparsity):
    local = p.get("window", 4096) if sparsity is None else fit_window(a, sparsity, 0)[1]
    return window(a, 0, local)


def a_shape(a, p, sparsity):
    sinks, local = p.get("sinks", 128), p.get("local", 3968)
    if sparsity is not None:
        keys, _ = fit_window(a, sparsity, 0)
        sinks = min(sinks, keys // 2)
        local = max(keys - sinks, 1)
    return window(a, sinks, local)


def streaming_llm(a, p, sparsity):
    """Token by token with a cache, as the paper tells it: a key's distance is that of its place in the cache."""
    start, on_top = p.get("start", 4), p.get("own") == "on_top"
    recent = p.get("recent", 1020) if sparsity is None else fit_window(a, sparsity, start + on_top)[1]
    n = a.c["tokens"] + a.c["tail"]
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
    rows = slice(0, n) if a.c["phase"] == "prefill" else slice(n - 1, n)
    return by_distance(a, mask[rows], distance[rows])


def lm_infinite(a, p, sparsity):
    first, local = p.get("global", 100), p.get("local", 4096)
    if sparsity is not None:
        keys, _ = fit_window(a, sparsity, 0)
        first = min(first, keys // 2)
        local = keys if sparsity == 0 else max(keys - first, 1)
    i, j = grid(a)
    return by_distance(a, (i - j < local) | (j < first), np.where(i - j < local, i - j, np.minimum(i - j, p.get("limit") or local)))


def longformer(a, p, sparsity):
    n_global, n = p.get("globals", 4), a.c["tokens"]
    w = p.get("window", 512)
    if sparsity is not None:
        w = n + a.c["output"] if sparsity == 0 else fit_window(a, sparsity, n_global)[1]
    i, j = grid(a)
    masks = []
    for h in range(a.heads):
        d = p.get("dilation", 1) if h < p.get("dilated_heads", 2) and a.c["layer"] >= p.get("dilated_from", 0) else 1
        mask = ((i - j) % d == 0) & ((i - j) // d < w) | (j < n_global)
        masks.append(mask | (i < n_global) if a.c["phase"] == "prefill" else mask)
    return by_distance(a, masks)


def fit_amount(a, sparsity, low, high, mask_of):
    """The amount whose pairs come nearest, from masks of one head."""
    if sparsity == 0:
        return high
    c, n = a.c, a.c["tokens"]
    target = (1 - sparsity) * (n * (n + 1) / 2 if c["phase"] == "prefill" else n)
    best = low
    pairs = lambda x: int(mask_of(x).sum())
    while best < high and pairs(best + 1) <= target:
        best += 1
    if best < high and 0 < pairs(best + 1) - target < target - pairs(best):
        best += 1
    return best


def fit_grid(a):
    """Rows that a fit counts: those of the prompt, or a step just behind it."""
    n = a.c["tokens"]
    return (np.arange(n)[:, None], np.arange(n)[None, :]) if a.c["phase"] == "prefill" else (np.array([[n]]), np.arange(n + 1)[None, :])


def beginnings(c, structure):
    """Tokens of the made-up text at which a line, a sentence or a chapter begins."""
    draws = splitmix(8 * c["seed"] + 6, np.arange(c["tokens"])) >> np.uint64(58)
    return np.flatnonzero((draws < {"line": 4, "sentence": 13, "chapter": 1}[structure]) | (np.arange(c["tokens"]) == 0))


def hub_mask(a, i, j, hubs, window, structure="even"):
    n = a.c["tokens"]
    if hubs == 0:
        return (i - j < window) & (j <= i)
    places = np.arange(n) if structure == "even" else beginnings(a.c, structure)
    hub = lambda x: np.isin(x, places[::-(-len(places) // min(hubs, len(places)))])
    mask = (i - j < window) | hub(j)
    return (mask | hub(i) if a.c["phase"] == "prefill" else mask) & (j <= i)


def etc_hubs(a, p, sparsity):
    n, hubs, w = a.c["tokens"], p.get("hubs", 230), p.get("window", 85)
    if sparsity is not None:
        i, j = fit_grid(a)
        hubs = fit_amount(a, (1 + sparsity) / 2, 1, n, lambda x: hub_mask(a, i, j, x, 1))
        w = fit_amount(a, sparsity, 1, n + (a.c["output"] if a.c["phase"] == "decode" else 0), lambda x: hub_mask(a, i, j, hubs, x))
    i, j = grid(a)
    return by_distance(a, hub_mask(a, i, j, hubs, w, p.get("structure", "even")))


def bigbird(a, p, sparsity):
    n, b, local, prefix = a.c["tokens"], p.get("block", 64), p.get("local", 2), p.get("drawn_from", 0)
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
        target, r = (1 - sparsity) * n * (n + 1) / 2, nb if sparsity == 0 else 0
        while sparsity and r < nb and size(r + 1) <= target:
            r += 1
        if sparsity and r < nb and 0 < size(r + 1) - target < target - size(r):
            r += 1
    rows = []
    for h in range(a.heads):
        head = []
        for own in range(nb):
            chosen = {0} | set(range(max(own - local + 1, 0), own + 1))
            stream, m = draw(draw(draw(p.get("seed", 43), a.c["layer"]), h), own), free(own)
            for at in range(m - min(r, m) + 1, m + 1):
                t = 1 + draw(stream, at) % at
                chosen.add(at if t in chosen else t)
            head.append(list(range(nb)) if last and own == nb - 1 else sorted(chosen))
        rows.append(head)
    return blocks(a, rows, b)


def sparse_transformer(a, p, sparsity):
    n, summary, form, split = a.c["tokens"], p.get("summary", 16), p.get("form", "strided"), p.get("heads") == "split"
    segment = lambda l: -(-l // summary) * summary

    def fixed(i, j, l):
        s = segment(l)
        return ((i // s == j // s) | (j % s >= s - summary)) & (j <= i)

    l = p.get("length", 128)
    if sparsity is not None:
        assert not split
        i, j = fit_grid(a)
        most = n + (a.c["output"] if a.c["phase"] == "decode" else 0)
        least = min(math.ceil(math.sqrt((2 * summary if form == "fixed" else 1) * n)), most)
        mask = (lambda x: fixed(i, j, x)) if form == "fixed" else lambda x: ((i - j < x) | ((i - j) % x == 0)) & (j <= i)
        if sparsity == 0:
            l = most
        else:  # by halves, as amounts do not grow evenly
            target = (1 - sparsity) * (n * (n + 1) / 2 if a.c["phase"] == "prefill" else n)
            low, high = least, most + 1
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if mask(middle).sum() <= target else (low, middle)
            l = low + 1 if low < most and 0 < mask(low + 1).sum() - target < target - mask(low).sum() else low
    i, j = grid(a)
    if form == "strided":
        near, far = i - j < l, (i - j) % l == 0
        return by_distance(a, [(near if h % 2 == 0 else far) if split else near | far for h in range(a.heads)])
    each = segment(l) // summary
    lists = [[s for s in range(each - 1, b // each * each, each)] + list(range(b // each * each, b + 1))
             for b in ([(i[-1, 0]) // summary] if a.c["phase"] == "decode" else range(-(-n // summary)))]
    return {"lists": lists, "masks": [fixed(i, j, l)] * a.heads}


def dilated(a, p, sparsity):
    n, sinks, local, span, step = a.c["tokens"], p.get("sinks", 4), p.get("local", 64), p.get("span", 8192), p.get("step", 2)
    most = n + (a.c["output"] if a.c["phase"] == "decode" else 0)

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
    n, sinks, recent = a.c["tokens"], p.get("sinks", 128), p.get("recent", 256)
    share = p.get("streaming", 0.5)
    if sparsity is not None:
        keys = min(sinks + recent, n)
        left = 1 - ((keys * (n - keys) + keys * (keys + 1) / 2) / (n * (n + 1) / 2) if a.c["phase"] == "prefill" else keys / n)
        share = 0 if sparsity == 0 else 1 if left <= sparsity else sparsity / left
    gates = [draw(draw(p.get("seed", 43), a.c["layer"]), g) >> 11 for g in range(a.kv)]
    many = int(share * a.kv + 0.5)
    i, j = grid(a)
    stream = (j < sinks) | (i - j < recent)
    return by_distance(a, [stream if sorted(gates).index(gates[h // a.group]) < many else j <= i for h in range(a.heads)])


# ---- trained: weights are made up of the seed, as harness/lab/synthetic.c does -----------------------------------------

def weight(a, which, *shape):
    """The method's which-th weight, the same at every layer: multiples of 1/64 in [-2, 2)."""
    z = splitmix(8 * (a.c["seed"] + (1 << 21)) + which, np.arange(math.prod(shape)))
    return (((z >> np.uint64(56)).astype(np.float64) - 128) / 64).reshape(shape)


def gates(a, w):
    """[G, rows]: <w[g], q> of the first query of each group as it was before rotary positions turned it."""
    half, rows = a.dim // 2, a.q.shape[0]
    turn = np.float32(10000.0 ** (-2.0 * np.arange(half) / a.dim))
    angle = (np.arange(rows, dtype=np.float32)[:, None] * turn).astype(np.float64)
    q = a.q[:, :: a.group]
    before = (q[..., :half] + 1j * q[..., half:]) * np.exp(-1j * angle)[:, None]
    return np.einsum("igd,gd->gi", before, w[:, :half] - 1j * w[:, half:]).real


def spattention(a, p, sparsity):
    length, (i, j) = p.get("length", 4096), grid(a)
    width = [length // a.heads + (h < length % a.heads) for h in range(a.heads)]
    return by_distance(a, [(i - j >= sum(width[:h])) & (i - j < sum(width[: h + 1])) for h in range(a.heads)])


def dms(a, p, sparsity):
    logit = gates(a, weight(a, 0, a.kv, a.dim)) - weight(a, 1, a.kv)[:, None]
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
    n, k, near = a.c["tokens"] + a.c["tail"], p.get("k", 256), p.get("window", 256)
    if sparsity is not None:
        keys = fit_keys(a.c, sparsity) if a.c["phase"] == "decode" or sparsity == 0 else fit_blocks(a.c["tokens"], 1, sparsity)
        near, k = max(int(keys * near / (near + k) + 0.5), 1), keys - max(int(keys * near / (near + k) + 0.5), 1)
    score = gates(a, weight(a, 0, a.kv, a.dim)) + weight(a, 1, a.kv)[:, None] * np.arange(n)
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


# ---- blocks and columns, estimated -----------------------------------------------------------------------------------

def whole(x):
    """Half away from zero, as lround()."""
    return int(math.floor(x + 0.5))


def moba(a, p, sparsity):
    n, block, k = a.c["tokens"], p.get("block", 64), p.get("k", 12)
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


def fewest(x, mass):
    return top(x, count_of_mass(x, mass))


def sample_attention(a, p, sparsity):
    n, step, span = a.c["tokens"], whole(1 / p.get("sample", 0.05)), max(math.ceil(p.get("window", 0.08) * a.c["tokens"]), 1)
    column = a.rows(0, n)[:, n - 1 :: -step].sum(axis=1)
    i, j = grid(a)

    def choose(mass, span=span):
        if mass >= 1:
            return everything(a)
        lists = [fewest(x, mass) for x in column]
        return {"lists": lists, "masks": [((i - j < span) | np.isin(j, l)) & (j <= i) for l in lists]}

    if sparsity is None:
        result = choose(p.get("mass", 0.95))
    else:
        pairs = (1 - sparsity) / 2 * n * (n + 1) / 2
        while span > 1 and span * n > pairs + span * span / 2:
            span -= 1
        result = within(a, 1 - sparsity, lambda dial: choose(dial, span))
    return {**result, "lists": []}


def xattention(a, p, sparsity):
    n, block, stride = a.c["tokens"], p.get("block", 128), p.get("stride", 16)
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
                    if not searching and (abs(have - threshold) < MARGIN or last is not None and abs(last - threshold) < MARGIN):
                        raise Close
                rest = [row[j] for j in range(i + 1) if j not in chosen]
                others = [row[j] for j in chosen - {0, i}]
                if rest and others and not searching and 0 < min(others) - max(rest) < MARGIN * min(others):
                    raise Close
                head.append(sorted(chosen))
            lists.append(head)
        return blocks(a, lists, block)

    if sparsity is None:
        return choose(p.get("threshold", 0.9))
    return within(a, 1 - sparsity, choose)


def minference(a, p, sparsity):
    """kinds: of each head, 0 A-shape, 1 Vertical-Slash, 2 Block-Sparse."""
    n, block, kinds = a.c["tokens"], p.get("block", 64), np.array(p.get("kinds", [1] * a.heads))
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
        most = target * len(slashed) * n * (n + 1) / 2
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
    score = np.einsum("hid,hjd->hij", a.means(a.q, block), np.repeat(a.means(a.k, block), a.group, axis=0)) * a.scale
    k = fit_blocks(n, block, 1 - target)
    for h in np.flatnonzero(kinds == 2):
        mask = np.zeros((n, n), bool)
        for b, row in enumerate(score[h]):
            row = row[: b + 1].copy()
            row[b] = np.inf
            for c in top(row, k):
                mask[b * block : (b + 1) * block, c * block : (c + 1) * block] = True
        masks[h] = mask & causal_mask(n)
    for h in np.flatnonzero(kinds == 0):
        masks[h] = ((j < sinks) | (i - j < keys - sinks)) & (j <= i)
    return {"lists": lists[0] + lists[1] if len(slashed) == a.heads else [], "masks": masks}


def combiner(a, p, sparsity):
    n, segment = a.c["tokens"], p.get("segment", 256)
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


# ---- a memory of blocks (2402.04617) -----------------------------------------------------------------------------------

def edge(p, position):
    return max(position - p["local"] + 1, 0) // p["block"]


def near_mass(a, p, first, last):
    """[G, last]: what query rows first … last - 1 give to the `local` latest keys, summed over them and over the group."""
    i, j = np.arange(first, last)[:, None], np.arange(last)[None, :]
    s = np.einsum("ihd,jhd->hij", a.q[first:last], np.repeat(a.k[:last], a.group, axis=1)) * a.scale
    return a.grouped(softmax(np.where((j <= i) & (i - j < p["local"]), s, -np.inf)).sum(axis=1), np.sum)


def stand_in(a, p, score, g, b):
    return a.k[[b * p["block"] + x for x in top(score[g, b * p["block"] : (b + 1) * p["block"]], p["representatives"])], g].mean(axis=0)


def infllm(a, p, sparsity):
    p = {"topk": 16, "local": 4096, "init": 128, "block": 128, "chunk": 512, "representatives": 4, **p}
    n, prefill = a.c["tokens"], a.c["phase"] == "prefill"
    up = lambda x: -(-x // p["block"])
    if sparsity is not None:
        rows = np.arange(n) if prefill else np.array([n])
        first = rows // p["chunk"] * p["chunk"] if prefill else rows

        def share(count):
            topk = max(count // 3, 1)
            return topk, (count - topk) * p["block"] if count > topk else 1

        def keys(count):
            topk, local = share(count)
            begin = np.maximum(first - local + 1, 0) // p["block"] * p["block"]
            return rows + 1 - begin + np.minimum(begin, (topk + up(p["init"])) * p["block"])

        p["topk"], p["local"] = share(fit_amount(a, sparsity, 1, 2 * up(n + a.c["output"]), keys))
    score = near_mass(a, p, 0, n)
    i, j = grid(a)
    distance = np.minimum(i - j, p["local"])
    if prefill:
        near, init = up(p["local"] + p["chunk"]) + 1, up(p["init"])
        k = min(init + near + p["topk"], up(n))
        mean = a.means(a.k, p["block"])
        for g in range(a.kv):
            for b in range(n // p["block"]):
                mean[g, b] = stand_in(a, p, score, g, b)
        q = a.grouped(a.means(a.q, p["chunk"]), np.sum)
        chosen = []
        for g in range(a.kv):
            chosen.append([])
            for c in range(q.shape[1]):
                seen = (min((c + 1) * p["chunk"], n) - 1) // p["block"] + 1
                row = mean[g, :seen] @ q[g, c] * a.scale
                row[:init], row[max(seen - near, 0) :] = np.inf, np.inf
                chosen[-1].append(top(row, k))
        return {**blocks(a, chosen, p["chunk"], p["block"]), "distance": distance}
    mean = {(g, b): stand_in(a, p, score, g, b) for g in range(a.kv) for b in range(edge(p, n - 1))}
    for now in range(n, n + a.c["tail"]):
        score = np.concatenate([score, np.zeros((a.kv, 1))], axis=1) + near_mass(a, p, now, now + 1)
        for b in range(edge(p, now - 1), edge(p, now)):
            mean.update({(g, b): stand_in(a, p, score, g, b) for g in range(a.kv)})
    last = n + a.c["tail"]
    far, init, count = edge(p, last - 1), up(p["init"]), up(last)
    q, lists = a.grouped(a.q[last - 1], np.sum), []
    for g in range(a.kv):
        row = np.array([mean[g, b] @ q[g] if b < far else np.inf for b in range(count)])
        row[:init] = np.inf
        lists.append(top(row, min(init, far) + count - far + p["topk"]))
    keys = [[x for b in l for x in range(b * p["block"], min((b + 1) * p["block"], last))] for l in lists]
    return {**read_keys(a, lists, keys), "distance": distance}


# ---- keys by components (decode) ---------------------------------------------------------------------------------------

def read_heads(a, lists):
    """Lists of keys, of each query head or of each group."""
    n, per = a.c["tokens"] + a.c["tail"], a.heads // len(lists)
    masks = [np.isin(np.arange(n), lists[h // per])[None] for h in range(a.heads)]
    return {"lists": lists, "masks": masks}


def largest_components(a, rank):
    """Of each group, the dimensions with the largest sums of |q|; and the share of |q| that they have, [H]."""
    q = np.abs(a.q[-1])
    chosen = [top(x, rank) for x in a.grouped(q, np.sum)]
    return chosen, np.array([q[h, chosen[h // a.group]].sum() / q[h].sum() for h in range(a.heads)])


def sparq(a, p, sparsity):
    n = a.c["tokens"] + a.c["tail"]
    k = p.get("k", 128) if sparsity is None else max(fit_keys(a.c, sparsity) - 1, 1)
    at, coverage = largest_components(a, p.get("rank", 32))
    logit = np.array([a.k[:, h // a.group, at[h // a.group]] @ a.q[-1, h, at[h // a.group]] for h in range(a.heads)])
    logit = logit / np.sqrt(a.dim * coverage)[:, None]
    share = softmax(logit)
    rank = a.grouped(share if p.get("rank_by") == "softmax" else logit, np.sum)
    rank[:, max(n - 1 - int(p.get("recent", 0.25) * k), 0) :] = np.inf
    lists = [top(x, k + 1) for x in rank]
    result = read_heads(a, lists)
    if not p.get("mean_value", True):
        return result
    alpha = np.array([share[h, lists[h // a.group]].sum() for h in range(a.heads)])[None, :, None]
    rest = np.repeat(a.v.mean(axis=0), a.group, axis=0)
    return {**result, "lists": [], "out": alpha * output(a, result["masks"], True) + (1 - alpha) * rest}


def by_components(a, p, sparsity, basis):
    """basis: [G, D, r]."""
    k = p.get("k", 1024) if sparsity is None else fit_keys(a.c, sparsity)
    basis = np.repeat(basis, a.group, axis=0)
    logit = np.einsum("hr,jhr->hj", np.einsum("hd,hdr->hr", a.q[-1], basis),
                      np.einsum("jhd,hdr->jhr", np.repeat(a.k, a.group, axis=1), basis)) * a.scale
    if p.get("selection") == "group":
        logit = a.grouped(logit, np.sum)
    logit[:, -1] = np.inf
    return read_heads(a, [top(x, k) for x in logit])


def loki(a, p, sparsity):
    """moments [G, D, D]: what its basis is made of; none: the dimensions themselves."""
    rank, basis = min(p.get("rank", 32), a.dim), np.eye(a.dim)[None].repeat(a.kv, axis=0)
    if "moments" in p:
        values, basis = np.linalg.eigh(p["moments"])
        basis = basis[:, :, ::-1]
    return by_components(a, p, sparsity, basis[:, :, :rank])


def double_sparsity(a, p, sparsity):
    rank = min(p.get("rank", 16), a.dim)
    channels = [[c * a.dim // rank for c in range(rank)]] * a.kv
    if "weights" in p:
        channels = [order(w)[:rank] for w in p["weights"]]
    return by_components(a, p, sparsity, np.stack([np.eye(a.dim)[:, c] for c in channels]))


def rocketkv(a, p, sparsity):
    n, decode = a.c["tokens"], a.c["phase"] == "decode"
    capacity, budget = p.get("capacity", 4096), p.get("budget", 1024)
    if sparsity is not None:
        capacity, budget = n if sparsity == 0 else max(whole(math.sqrt(1 - sparsity) * n), 1), fit_keys(a.c, sparsity)
    if not decode:
        if capacity >= n:
            return {**kept(a, [list(range(n))] * a.kv), "lists": []}
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
    return read_keys(a, lists, [[j for x in l for j in range(x * chunk, min((x + 1) * chunk, n))] for l in lists])
# ---- by mass and by samples -------------------------------------------------------------------------------------------

def last_row(a):
    """Exact probabilities [H, keys] of the last query."""
    n = a.c["tokens"] + a.c["tail"]
    return a.rows(n - 1, n)[:, 0]


def read_by_head(a, lists, bias=None):
    """Decode: keys of each query head, or of each kv head, with what is added to their logits."""
    n, per = a.c["tokens"] + a.c["tail"], a.heads // len(lists)
    masks = np.zeros((a.heads, 1, n), bool)
    for h in range(a.heads):
        masks[h, 0, lists[h // per]] = True
    result = {"lists": lists, "masks": list(masks)}
    if bias is not None:
        result["bias"] = np.where(masks, bias[:, None, :], 0)
        result["out"] = output(a, list(masks), True, bias=result["bias"])
    return result


def dense_step(a):
    return {"lists": [], "masks": [np.ones((1, a.c["tokens"] + a.c["tail"]), bool)] * a.heads}


def within_step(a, target, choose):
    """within() of one decode step; choose(dial, exact) gives lists by head, with `exact` watching for choices that hang on rounding."""
    n = a.c["tokens"] + a.c["tail"]
    if target >= 1:
        return None
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        lists = choose(middle, False)
        size = sum(len(x) for x in lists) * (a.heads // len(lists)) / (a.heads * n)
        low, high = (middle, high) if size <= target else (low, middle)
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
            return dense_step(a)
        return read_by_head(a, [of_mass(x, mass, False) for x in share])
    return dense_step(a) if mass >= 1 else read_by_head(a, [of_mass(x, mass) for x in share])


def oracle_topp(a, p, sparsity):
    share = last_row(a)
    if p.get("selection") == "group":
        share = a.grouped(share, np.mean)
    return by_mass(a, share, p.get("mass", 0.9), None if sparsity is None else 1 - sparsity)


def unit_draws(a, seed, which):
    """[H, keys] numbers in (0, 1) of (seed, layer, keys, which) and the head."""
    n = a.c["tokens"] + a.c["tail"]
    stream = draw(draw(draw(seed, a.c["layer"]), n), which)
    z = np.stack([splitmix(draw(stream, h), np.arange(n)) for h in range(a.heads)])
    return ((z >> np.uint64(41)).astype(np.float64) + 0.5) * 2.0**-23


def oracle_sample(a, p, sparsity):
    """Priority sampling: priorities p / u; the k highest, and the largest of the rest as threshold."""
    k = p.get("budget", 1024) if sparsity is None else fit_keys(a.c, sparsity)
    share = last_row(a)
    priority = share / unit_draws(a, p.get("seed", 43), 0)
    lists, bias = [top(x, k) for x in priority], np.zeros_like(share)
    for h, chosen in enumerate(lists):
        left = np.delete(priority[h], chosen)
        threshold = left.max() if len(left) else 0
        bias[h] = np.log(np.maximum(threshold / share[h], 1))
    return read_by_head(a, lists, bias)


def four_bits(a):
    """Keys as their codes between each one's least and most number give them back."""
    k = a.k.astype(np.float32)
    low, high = k.min(axis=2, keepdims=True), k.max(axis=2, keepdims=True)
    step = (high - low) / np.float32(15)
    code = np.rint((k - low) / np.where(step > 0, step, np.float32(1)))
    return low.astype(np.float64) + step.astype(np.float64) * code


def packed_probabilities(a, keep=None):
    """[H, keys] softmax of the last query over the keys in 4 bits, those that `keep` [G, keys] marks; -inf elsewhere."""
    n = a.c["tokens"] + a.c["tail"]
    s = np.einsum("hd,jhd->hj", a.q[n - 1], np.repeat(four_bits(a), a.group, axis=1)) * a.scale
    if keep is not None:
        s = np.where(np.repeat(keep, a.group, axis=0), s, -np.inf)
    return np.where(np.isfinite(s), softmax(s), -np.inf)


def twilight(a, p, sparsity):
    n, page = a.c["tokens"] + a.c["tail"], p.get("page", 16)
    if a.c["layer"] < p.get("dense_layers", 0):
        return dense_step(a)
    keep = None
    if p.get("base", "quest") == "quest":
        q, pages = a.q[n - 1].reshape(a.kv, a.group, a.dim), -(-p.get("candidates", 8192) // page)
        keep = np.zeros((a.kv, n), bool)
        for g in range(a.kv):
            parts = [a.k[i : i + page, g] for i in range(0, n, page)]
            score = np.array([np.maximum(q[g] * x.min(axis=0), q[g] * x.max(axis=0)).sum() for x in parts])
            score[-1] = np.inf
            for x in top(score, pages + 1):
                keep[g, x * page : (x + 1) * page] = True
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
    n = a.c["tokens"] + a.c["tail"]
    sinks, local, heavy, base = p.get("sinks", 128), p.get("local", 128), p.get("top", 128), p.get("base", 0.05)
    error, failures, verified, seed = p.get("error", 0.25), p.get("failures", 0.25), p.get("verified", "denominator"), p.get("seed", 43)
    if sparsity is not None:
        each = fit_keys(a.c, sparsity) // 8
        sinks, local, heavy, base = min(sinks, each), min(local, max(each, 1)), min(heavy, each), min(base, (1 - sparsity) / 8)
    others = n - sinks - local - heavy
    if others < 2 or sparsity == 0:
        return dense_step(a)
    best = last_row(a) if p.get("predictor") == "exact" else packed_probabilities(a)
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
    return read_by_head(a, [top(x[1][h], k) for h, k in enumerate(sizes)], bias)


def magicpig(a, p, sparsity):
    """Keys met by the query in `least` of L tables of K sign bits; weights by the chance of it."""
    n, prompt = a.c["tokens"] + a.c["tail"], a.c["tokens"]
    bits, tables, least = p.get("bits", 10), p.get("tables", 150), p.get("least", 2)
    begin = min(p.get("sinks", 4), prompt)
    end = max(prompt - p.get("local", 64), begin)
    every = p.get("dense_every", 0)
    if begin == end or every and a.c["layer"] % every == 0:
        return dense_step(a)
    z = splitmix(draw(p.get("seed", 43), a.c["layer"] // 16), np.arange(3 * tables * bits * a.dim)).reshape(-1, 3)
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
    return read_by_head(a, lists, bias)


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
    n, prompt = a.c["tokens"] + a.c["tail"], a.c["tokens"]
    begin = min(p.get("sinks", 4), prompt)
    end = max(prompt - p.get("local", 64), begin)
    if begin == end or sparsity == 0:
        return dense_step(a)
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
        return dense_step(a)
    keys, light = choose(share, sparsity is None)
    result = read_by_head(a, keys)
    out = np.zeros((1, a.heads, a.dim))
    s = logits(a, slice(n - 1, n), None)[:, 0]
    for h in range(a.heads):
        _, _, values, sizes = made[h // a.group]
        terms = np.concatenate([s[h, keys[h]], logit[h, light[h]] + np.log(sizes[light[h]])])
        out[0, h] = softmax(terms) @ np.concatenate([a.v[keys[h], h // a.group], values[light[h]]])
    result.update(out=out, pairs=sum(len(x) for x in keys) + a.heads * many)
    return result


# ---- trained: by weights of their own and the layer's input, both made up ----------------------------------------------

def nsa_shapes(heads, kv, dim, width, p):
    """Shapes of the weights, as the method lists them."""
    return [[3 * heads, width]]


def nsa(a, p, sparsity):
    """2502.11089, as fla/ops/nsa/naive.py at 012a873 has it: each row by itself, from the definition."""
    prefill, n = a.c["phase"] == "prefill", a.c["tokens"] + a.c["tail"]
    block, count, window = p.get("block", 64), p.get("blocks", 16), p.get("window", 512)
    if sparsity is not None:
        row = np.arange(a.c["tokens"]) if prefill else np.array([a.c["tokens"]])
        own = row % block + 1
        read = lambda k: (row + 1) // block + np.minimum(row + 1, own + (k - 1) * block) + np.minimum(row + 1, window)
        count = fit_amount(a, sparsity, 3, max(3, -(-(a.c["tokens"] + a.c["output"]) // block)), read)
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
    prefill, n = a.c["phase"] == "prefill", a.c["tokens"] + a.c["tail"]
    count, heads, dim = p.get("k", 2048), p.get("index_heads", 64), p.get("index_dim", 128)
    if sparsity is not None:
        row = np.arange(a.c["tokens"]) if prefill else np.array([a.c["tokens"]])
        count = fit_amount(a, sparsity, 1, a.c["tokens"] + a.c["output"], lambda k: np.minimum(row + 1, k))
    wq, wk, ww, norm, shift = a.weights
    half = min(a.dim // 2, dim // 2)
    frequency = np.float32(10000.0 ** (-2.0 * np.arange(a.dim // 2) / a.dim))[:half]
    angle = np.outer(np.arange(n, dtype=np.float32), frequency).astype(np.float32).astype(np.float64)

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


TRAINED = {nsa: nsa_shapes, dsa: dsa_shapes}
WIDTH = 16  # of the layer's input

# ---- Delta Attention over another method (2505.11254; jeffwillette/delta-attention b1b2f77, delta_forward) -------------

def corrected(base):
    def delta(a, p, sparsity):
        n, every, tail = a.c["tokens"], p.get("delta_every", 64), p.get("delta_tail", 128)
        end = max(n - n % every - max(tail, every), 0)
        anchors = np.arange(0, n, every)
        whole, again, dense = n * (n + 1) / 2, (anchors + 1).sum(), (np.arange(end, n) + 1).sum()
        if sparsity:
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

#          tokens  H  G   D  sinks needles ties
SHAPES = [(64,     1, 1, 16, 0, 0, 0),
          (200,    3, 1, 16, 1, 0, 0),
          (333,    8, 1, 16, 1, 1, 0),
          (257,    6, 2, 64, 0, 0, 1),
          (400,    4, 4, 64, 1, 1, 0),
          (97,     9, 3, 16, 0, 1, 1),
          (17,     2, 1, 16, 1, 0, 0),
          (5,      8, 1, 64, 0, 0, 1),
          (290,   16, 2, 16, 1, 1, 1),
          (321,    3, 1, 64, 1, 1, 0)]

TAILS = [1, 4, 7, 10, 16, 16, 19, 22, 30, 28]  # generated tokens; the prompts of 400 and 290 end at whole pages with them

# One entry a shape: parameters, a target sparsity, or (target, parameters).
PLAN = {
    "vertical_slash": ("prefill", vertical_slash, [
        {"columns": 10, "diagonals": 64}, 0.5, {"columns": 40, "diagonals": 80, "window": 64}, 0.3, 0.8,
        {"columns": 20, "diagonals": 30, "local": 10, "selection": "group"}, 0.0, {"columns": 2, "diagonals": 1}, 0.7, 0.9]),
    "vertical_slash/authors": ("prefill", vertical_slash, [dict(s, tiling="authors") for s in [
        {"columns": 10, "diagonals": 8, "local": 1, "sinks": 0}, {"columns": 5, "diagonals": 30, "local": 8},
        {"columns": 40, "diagonals": 80, "window": 64, "local": 1}, {"columns": 3, "diagonals": 12, "local": 4},
        {"columns": 20, "diagonals": 40, "local": 16}, {"columns": 20, "diagonals": 30, "local": 10, "selection": "group"},
        {"columns": 4, "diagonals": 6, "local": 2}, {"columns": 2, "diagonals": 1}, {"columns": 6, "diagonals": 20, "local": 1}]]
        + [(0.6, {"tiling": "authors", "local": 4})]),
    "block_sparse": ("prefill", block_sparse, [
        {"k": 3}, 0.5, {"k": 5, "block": 32}, {"k": 4, "selection": "group"}, 0.8, {"k": 5, "block": 8},
        0.0, {"k": 100}, 0.7, {"k": 6, "sinks": 0, "local": 1}]),
    "flex_prefill": ("prefill", flex_prefill, [
        {"alpha": 0.7, "min_budget": 8}, (0.4, {"min_budget": 4}), {"alpha": 0.5, "min_budget": 16, "window": 64}, {"alpha": 0.0, "min_budget": 40, "window": 32},
        (0.6, {"min_budget": 16}), {"alpha": 0.9, "min_budget": 4, "local": 10}, 0.0, {"alpha": 0.9},
        {"alpha": 0.3, "min_budget": 70}, 0.4]),
    "flex_prefill/authors": ("prefill", flex_prefill, [dict(s, tiling="authors", local=2) for s in [
        {"alpha": 0.7, "min_budget": 4}, {"alpha": 0.3, "min_budget": 9}, {"alpha": 0.5, "min_budget": 16, "window": 64}]]
        + [(0.5, {"tiling": "authors", "min_budget": 8})]),
    "flex_prefill_full": ("prefill", flex_prefill_full, [
        {"block": 16, "min_budget": 16, "gamma": 0.6}, {"block": 16, "min_budget": 32, "gamma": 0.8, "tau": 0.4},
        {"block": 32, "min_budget": 32, "gamma": 0.5, "tau": 0.6}, {"block": 16, "min_budget": 16, "gamma": 0.4, "tau": 0.2},
        {"block": 64, "min_budget": 64, "gamma": 0.9, "tau": 0.3}, {"block": 16, "min_budget": 16, "gamma": 0.3, "tau": 1.0},
        {}, (0.0, {"block": 1}), (0.5, {"block": 32, "min_budget": 64, "tau": 0.45}), (0.7, {"block": 16, "tau": 0.5})]),
    "snapkv": ("compress", snapkv, [
        {"capacity": 12, "kernel": 5}, 0.5, {"capacity": 60, "window": 32, "kernel": 7, "pooling": "max", "sinks": 0, "local": 32},
        0.8, {"capacity": 300}, {"capacity": 20, "kernel": 3}, 0.0, 0.5, 0.9, 0.95]),
    "ada_snapkv": ("compress", ada_snapkv, [
        {"capacity": 12, "kernel": 5}, 0.5, {"capacity": 60, "window": 32, "kernel": 7, "pooling": "max", "sinks": 0, "local": 32},
        {"capacity": 50, "kernel": 3, "floor": 1.0, "local": 8}, 0.6, {"capacity": 20, "kernel": 3, "floor": 0.9}, 0.0, 0.5, 0.9, 0.95]),
    "quest": ("decode", quest, [
        {"budget": 32}, 0.5, {"budget": 40, "page": 8}, {"budget": 48}, 0.9, {"budget": 16, "page": 4, "least": 6}, 0.0,
        0.95, {"budget": 64, "dense_layers": 2}, 0.8]),
    "streaming": ("both", streaming, [
        {"local": 8}, 0.5, {"local": 60, "sinks": 0}, 0.9, 0.8, {"local": 300}, 0.0, 0.95, {"local": 1, "sinks": 1}, 0.7]),
    "tri_shape": ("prefill", tri_shape, [
        {"local": 8, "last": 10}, 0.5, {"local": 60, "sinks": 0, "last": 0}, 0.9, 0.8, {"local": 30, "last": 200}, 0.0, 0.95,
        {"local": 1, "sinks": 1, "last": 1}, 0.7]),
    "random_blocks": ("prefill", random_blocks, [
        {"k": 3}, 0.5, {"k": 5, "block": 32, "seed": 1}, 0.9, 0.8, {"k": 6, "block": 8}, 0.0, 0.5, {"k": 7},
        {"k": 4, "sinks": 0, "local": 1}]),
    "oracle_blocks": ("prefill", oracle_blocks, [
        {"k": 3}, 0.5, {"k": 5, "block": 32}, {"k": 4, "selection": "group"}, 0.8, {"k": 5, "block": 8}, 0.0, {"k": 100}, 0.7, 0.9]),
    "oracle_topk": ("decode", oracle_topk, [
        {"budget": 10}, 0.5, {"budget": 33}, 0.9, 0.8, {"budget": 5}, 0.0, 0.95, {"budget": 40}, 0.7]),
    "null": ("both", null, [{}] * 10),
    "h2o": ("decode", h2o, [
        {"capacity": 10}, 0.5, {"capacity": 33, "recent": 0.25}, 0.9, 0.8, {"share": 0.3, "every": 4}, 0.0, {"capacity": 3, "every": 3}, {"capacity": 40, "recent": 0.0},
        (0.7, {"grows": True})]),
    "tova": ("decode", tova, [
        {"capacity": 10}, 0.5, {"capacity": 33}, 0.9, 0.8, {"share": 0.3, "every": 4}, 0.0, {"capacity": 3, "every": 3}, {"capacity": 40}, (0.7, {"grows": True})]),
    "decoding_snapkv": ("decode", decoding_snapkv, [
        {"capacity": 10}, (0.5, {"every": 2, "window": 1}), {"capacity": 33, "every": 5, "window": 2}, 0.9, (0.8, {"every": 4, "window": 8}),
        {"capacity": 21, "every": 7, "window": 4, "pooling": "max"}, 0.0, {"capacity": 4, "every": 3}, {"capacity": 40, "kernel": 7, "every": 8}, 0.7]),
    "pyramidkv": ("compress", pyramidkv, [
        {"capacity": 12, "window": 4}, 0.5, {"capacity": 60, "beta": 5}, 0.9, (0.8, {"window": 8}), {"capacity": 20, "kernel": 3, "window": 8}, 0.0,
        (0.5, {"window": 2}), {"capacity": 100, "window": 16, "pooling": "max"}, 0.95]),
    "knorm": ("compress", knorm, [
        {"capacity": 12}, 0.5, {"capacity": 60, "dense_layers": 3}, 0.9, 0.8, {"capacity": 20}, 0.0, 0.5, {"capacity": 100}, 0.95]),
    "keydiff": ("compress", keydiff, [
        {"capacity": 12}, 0.5, {"capacity": 60}, 0.9, 0.8, {"capacity": 20}, 0.0, 0.5, {"capacity": 100}, 0.95]),
    "expected_attention": ("compress", expected_attention, [
        {"capacity": 12}, 0.5, {"capacity": 60, "ahead": 30}, 0.9, 0.8, {"capacity": 20, "sinks": 0}, 0.0, 0.5, {"capacity": 100, "sinks": 10}, 0.95]),
    "sliding_window": ("both", sliding_window, [
        {"window": 8}, 0.5, {"window": 60}, 0.9, 0.8, {"window": 300}, 0.0, 0.95, {"window": 1}, 0.7]),
    "a_shape": ("prefill", a_shape, [
        {"local": 8}, 0.5, {"local": 60, "sinks": 0}, 0.9, 0.8, {"local": 30, "sinks": 20}, 0.0, 0.95, {"local": 1, "sinks": 1}, 0.7]),
    "streaming_llm": ("both", streaming_llm, [
        {"recent": 3, "start": 2}, 0.5, {"recent": 60, "start": 1, "own": "on_top"}, 0.9, 0.8, {"recent": 10, "start": 20}, 0.0, 0.9,
        {"recent": 31, "own": "on_top"}, 0.7]),
    "lm_infinite": ("both", lm_infinite, [
        {"local": 8, "global": 3}, 0.5, {"local": 40, "limit": 90}, 0.9, 0.8, {"local": 30, "global": 10, "limit": 20}, 0.0, 0.9,
        {"local": 17, "global": 64}, 0.7]),
    "longformer": ("both", longformer, [
        {"window": 8}, 0.5, {"window": 20, "dilation": 3, "dilated_heads": 2}, 0.9, 0.8, {"window": 5, "dilation": 4, "dilated_heads": 5, "globals": 9},
        0.0, 0.7, {"window": 16, "dilation": 2, "dilated_from": 3}, 0.7]),
    "etc_hubs": ("both", etc_hubs, [
        {"window": 8, "hubs": 5}, 0.5, {"window": 20, "hubs": 1}, 0.9, 0.8, {"window": 5, "hubs": 40}, 0.0, 0.7, {"window": 16, "hubs": 0}, 0.7]),
    "etc_hubs/structure": ("both", etc_hubs, [
        {"window": 8, "hubs": 9, "structure": "line"}, (0.7, {"structure": "sentence"}), {"window": 5, "hubs": 200, "structure": "chapter"},
        {"window": 3, "hubs": 11, "structure": "sentence"}, (0.0, {"structure": "line"})]),
    "bigbird": ("prefill", bigbird, [
        {"random": 2, "block": 8}, 0.5, {"random": 3, "block": 16, "drawn_from": 100}, (0.7, {"block": 16}), (0.8, {"block": 8, "local": 3}),
        {"random": 1, "block": 8, "last": False}, 0.0, (0.3, {"block": 1}), {"random": 2, "block": 16, "seed": 7}, (0.6, {"block": 16})]),
    "sparse_transformer": ("both", sparse_transformer, [
        {"length": 8}, 0.5, {"length": 16, "heads": "split"}, (0.5, {"form": "fixed", "summary": 4}), 0.8, {"length": 10, "form": "fixed", "summary": 4},
        0.0, {"length": 3, "form": "fixed", "summary": 2}, {"length": 32, "form": "fixed"}, 0.7]),
    "dilated": ("both", dilated, [
        {"local": 4, "span": 30, "step": 3}, 0.5, {"local": 20, "span": 200, "step": 7, "sinks": 0}, 0.9, 0.8, {"local": 30, "span": 10, "sinks": 20},
        0.0, (0.4, {"step": 3}), {"local": 1, "span": 290}, 0.3]),
    "head_roles": ("both", head_roles, [
        {"sinks": 2, "recent": 8}, 0.5, {"sinks": 4, "recent": 30, "streaming": 1.0}, {"sinks": 1, "recent": 20}, {"sinks": 3, "recent": 40, "streaming": 0.75},
        {"sinks": 2, "recent": 9, "streaming": 0.34, "seed": 1}, 0.0, 0.7, {"sinks": 2, "recent": 9, "seed": 3}, 0.7]),
    "spattention": ("both", spattention, [
        {"length": 64}, {"length": 200}, {"length": 100}, {"length": 11}, {"length": 1000}, {"length": 97}, {"length": 1}, {}, {"length": 290},
        {"length": 317}]),
    "dms": ("both", dms, [
        {"window": 8}, {"window": 50}, {"window": 1}, {"window": 31}, {"window": 100}, {"window": 5}, {"window": 2}, {}, {"window": 64}, {"window": 300}]),
    "sparsek": ("both", sparsek, [
        {"k": 8, "window": 4}, 0.5, {"k": 60, "window": 10}, {"k": 1, "window": 64}, (0.8, {"k": 3, "window": 1}), {"k": 20, "window": 1}, 0.0, {},
        {"k": 0, "window": 30}, 0.9]),
    "moba": ("prefill", moba, [
        {"k": 2, "block": 8}, (0.5, {"block": 16}), {"k": 3, "block": 32}, {"k": 4, "block": 16, "selection": "group"}, 0.8, {"k": 5, "block": 8},
        0.0, {}, (0.7, {"block": 32}), (0.6, {"block": 20})]),
    "sample_attention": ("prefill", sample_attention, [
        {"mass": 0.5}, 0.5, {"mass": 0.8, "sample": 0.2, "window": 0.02}, {"mass": 0.3, "window": 0.1}, 0.8, {"mass": 0.0, "window": 0.2}, 0.0, {},
        {"sample": 0.011, "mass": 0.4}, 0.9]),
    "xattention": ("prefill", xattention, [
        {"threshold": 0.6, "block": 16, "stride": 4}, (0.4, {"block": 32}), {"threshold": 0.8, "block": 32, "stride": 8}, {"threshold": 0.5, "block": 48},
        (0.6, {"block": 16}), {"threshold": 0.3, "block": 8, "stride": 8}, 0.0, {}, (0.5, {"block": 20, "stride": 5}), {"block": 16, "stride": 1, "threshold": 0.7}]),
    "sketch_walk": ("prefill", sketch_walk, [
        {"k": 3, "block": 16, "rank": 8}, (0.5, {"block": 8}), {"k": 4, "block": 32}, {"k": 5, "block": 16, "power": 3, "seed": 1}, (0.7, {"block": 16, "rank": 32}),
        {"k": 4, "block": 8, "dense_layers": 2}, 0.0, {}, {"k": 2, "block": 16, "dense_layers": 3}, (0.8, {"block": 8, "power": 1})]),
    "minference": ("prefill", minference, [
        {"density": 0.8}, (0.4, {"diagonals": 1, "columns": 2}), {"density": 0.3, "diagonals": 10, "columns": 0, "window": 20}, {"density": 0.5, "diagonals": 30}, 0.6,
        (0.2, {"diagonals": 3, "columns": 3}), 0.0, {}, (0.3, {"window": 200, "diagonals": 20}), (0.5, {"diagonals": 20, "columns": 10})]),
    "combiner": ("prefill", combiner, [
        {"segment": 8}, 0.5, {"segment": 37}, {"segment": 16, "weight": "one"}, 0.8, {"segment": 10}, 0.0, {}, {"segment": 145}, (0.85, {"weight": "one"})]),
    "infllm": ("both", infllm, [
        {"local": 10, "topk": 1, "init": 4, "block": 4, "chunk": 8}, (0.5, {"block": 8, "chunk": 16, "init": 8}),
        {"local": 33, "topk": 3, "init": 0, "block": 16, "chunk": 16, "representatives": 1}, {"local": 40, "topk": 4, "init": 9, "block": 8, "chunk": 1},
        (0.7, {"block": 8, "chunk": 20, "init": 8}), {"local": 7, "topk": 2, "init": 3, "block": 3, "chunk": 10, "representatives": 3}, 0.0, {},
        {"local": 64, "topk": 5, "init": 8, "block": 8, "chunk": 32, "representatives": 8}, (0.8, {"block": 4, "chunk": 4, "init": 4})]),
    "sparq": ("decode", sparq, [
        {"k": 10, "rank": 4}, 0.5, {"k": 33, "rank": 8, "rank_by": "softmax"}, {"k": 20, "rank": 32, "mean_value": False}, (0.8, {"rank": 16}),
        {"k": 12, "rank": 5, "recent": 0.5}, 0.0, {}, {"k": 40, "rank": 16, "recent": 0.0, "mean_value": False}, 0.9]),
    "loki": ("decode", loki, [
        {"k": 10, "rank": 4}, 0.5, {"k": 33, "rank": 8, "selection": "group"}, {"k": 20}, (0.8, {"rank": 16}), {"k": 12, "rank": 5}, 0.0, {}, {"k": 40, "rank": 16}, 0.9]),
    "double_sparsity": ("decode", double_sparsity, [
        {"k": 10, "rank": 4}, 0.5, {"k": 33, "rank": 8, "selection": "group"}, {"k": 20}, (0.8, {"rank": 32}), {"k": 12, "rank": 5}, 0.0, {}, {"k": 40}, 0.9]),
    "rocketkv/compress": ("compress", rocketkv, [
        {"capacity": 12, "kernel": 5, "window": 4}, 0.5, {"capacity": 60}, {"capacity": 100, "kernel": 7}, 0.9, {"capacity": 20, "kernel": 3}, 0.0, {}, 0.95, 0.8]),
    "rocketkv/decode": ("decode", rocketkv, [
        {"budget": 12, "rank": 4}, 0.5, {"budget": 33, "chunk": 8, "rank": 8}, {"budget": 60, "chunk": 3}, (0.8, {"rank": 16}), {"budget": 20}, 0.0, {},
        {"budget": 40, "chunk": 16, "rank": 16}, 0.9]),
    "oracle_topp": ("decode", oracle_topp, [
        {"mass": 0.5}, 0.5, {"mass": 0.9, "selection": "group"}, {"mass": 0.8, "selection": "group"}, 0.8, {"mass": 0.0}, 0.0, {"mass": 1.0}, {"mass": 0.97, "selection": "group"}, (0.7, {"selection": "group"})]),
    "oracle_sample": ("decode", oracle_sample, [
        {"budget": 10}, 0.5, {"budget": 33, "seed": 1}, 0.9, 0.8, {"budget": 5}, 0.0, {"budget": 3}, {"budget": 40}, 0.7]),
    "twilight": ("decode", twilight, [
        {"mass": 0.5}, 0.5, {"mass": 0.9, "base": "all"}, {"mass": 0.5, "dense_layers": 1}, (0.8, {"base": "all"}), {"mass": 0.7, "candidates": 20, "page": 4}, 0.0,
        {"mass": 0.6, "page": 3}, {"mass": 0.97, "dense_layers": 3}, (0.7, {"page": 5})]),
    "vattention": ("decode", vattention, [
        {"sinks": 4, "local": 8, "top": 8}, 0.5, {"sinks": 2, "local": 20, "top": 10, "error": 0.1, "failures": 0.05}, 0.9,
        (0.8, {"verified": "output"}), {"sinks": 1, "local": 2, "top": 0, "verified": "numerator", "error": 0.3, "base": 0.1}, 0.0,
        {"sinks": 1, "local": 1, "top": 1, "base": 0.3, "error": 1.0}, {"sinks": 16, "local": 16, "top": 0, "verified": "output", "error": 0.5, "predictor": "exact"},
        (0.7, {"predictor": "exact", "seed": 5})]),
    "magicpig": ("decode", magicpig, [
        {"bits": 4, "tables": 10, "local": 8}, {"bits": 5, "tables": 15}, {"bits": 3, "tables": 7, "least": 1, "sinks": 0, "local": 0}, {"local": 10},
        {"bits": 6, "tables": 21, "seed": 4}, {"bits": 2, "tables": 5, "local": 20}, {"tables": 1}, {"sinks": 100},
        {"bits": 7, "tables": 9, "dense_every": 3}, {"bits": 16, "tables": 3, "least": 1}]),
    "double_p": ("decode", double_p, [
        {"each": 4, "local": 8, "mass": 0.8}, (0.5, {"each": 16}), {"each": 8, "local": 20, "segment": 100, "iterations": 3}, {"each": 300},
        (0.7, {"each": 16, "exact": 0.5}), {"each": 8, "local": 0, "sinks": 0, "exact": 0.0}, 0.0, {"mass": 0.5},
        {"each": 10, "local": 10, "exact": 1.0, "mass": 0.9}, (0.8, {"each": 32, "segment": 64})]),
    "nsa": ("both", nsa, [
        {"blocks": 3, "block": 8, "window": 9}, (0.5, {"block": 16, "window": 20}), {"blocks": 4, "block": 32, "window": 64},
        {"blocks": 5, "block": 16, "window": 1}, (0.7, {"block": 8, "window": 30}), {"blocks": 4, "block": 10, "window": 400}, (0.0, {"block": 4}), {},
        (0.8, {"block": 16, "window": 16}), {"blocks": 6, "block": 20, "window": 33}]),
    "dsa": ("both", dsa, [
        {"k": 10, "index_heads": 2, "index_dim": 16}, (0.5, {"index_heads": 3, "index_dim": 8}), {"k": 33, "index_heads": 4, "index_dim": 32}, {"k": 20, "index_heads": 2, "index_dim": 64},
        (0.8, {"index_heads": 1, "index_dim": 32}), {"k": 12, "index_heads": 5, "index_dim": 24}, (0.0, {"index_heads": 2, "index_dim": 16}), {"index_heads": 2, "index_dim": 16},
        {"k": 40, "index_heads": 3, "index_dim": 16}, (0.9, {"index_heads": 2, "index_dim": 16})]),
    "vertical_slash_delta": ("prefill", corrected(vertical_slash), [
        {"columns": 10, "diagonals": 8, "local": 1, "delta_every": 16, "delta_tail": 8}, (0.5, {"delta_every": 16, "delta_tail": 0}),
        {"columns": 40, "diagonals": 20, "window": 64, "local": 4}, {"columns": 9, "diagonals": 12, "local": 4, "delta_every": 7, "delta_tail": 3},
        (0.6, {"delta_every": 50}), {"columns": 20, "diagonals": 30, "local": 10, "selection": "group", "delta_every": 1, "delta_tail": 1},
        {"columns": 4, "diagonals": 2, "local": 2, "delta_every": 5, "delta_tail": 0}, {"columns": 2, "diagonals": 1}]),
    "block_sparse_delta": ("prefill", corrected(block_sparse), [
        {"k": 3, "delta_every": 16, "delta_tail": 8}, (0.5, {"delta_every": 64, "delta_tail": 5}), {"k": 5, "block": 32}]),
    "streaming_delta": ("prefill", corrected(streaming), [
        {"local": 8, "delta_every": 16, "delta_tail": 8}, (0.5, {"delta_every": 64, "delta_tail": 5}), {"local": 30, "sinks": 2}]),
}


def fnv(lists):
    h = 0xCBF29CE484222325
    for row in lists:
        for x in [len(row)] + list(row):
            for byte in int(x).to_bytes(4, "little"):
                h = ((h ^ byte) * 0x100000001B3) & M64
    return f"{h:016x}"


def logits(a, rows, distance):
    """Scaled products; with distances, of queries and keys that are taken back to position 0 and turned so far apart."""
    k = np.repeat(a.k, a.group, axis=1)
    if distance is None:
        return np.einsum("ihd,jhd->hij", a.q[rows], k) * a.scale
    half, n = a.dim // 2, a.k.shape[0]
    turn = np.float32(10000.0 ** (-2.0 * np.arange(half) / a.dim)).astype(np.float64)
    angle = np.arange(n)[:, None] * turn
    back = lambda x, at: (x[..., :half] + 1j * x[..., half:]) * np.exp(-1j * at)[:, None, :]
    q, k = back(a.q[rows], angle[rows]), back(k, angle)
    products = np.stack([q[:, h, None, :] * k[None, :, h, :].conj() for h in range(a.heads)])
    return (products * np.exp(1j * distance[:, :, None] * turn)).real.sum(axis=-1) * a.scale


def output(a, masks, decode, distance=None, bias=0):
    """Attention over the pairs: [rows, H, D] for a prefill, [1, H, D] for the last row. bias [H, rows, keys]: added to logits."""
    n = a.c["tokens"] + a.c["tail"]
    rows = slice(n - 1, n) if decode else slice(0, n)
    s = logits(a, rows, distance) + bias
    mask = np.stack([m[-s.shape[1] :] for m in masks])
    none = ~mask.any(axis=2, keepdims=True)  # rows that give 0
    return np.einsum("hij,jhd->ihd", np.where(none, 0, softmax(np.where(mask | none, s, -np.inf))), np.repeat(a.v, a.group, axis=1))


def case(name, phase, method, index, setting):
    tokens, heads, kv, dim, sinks, needles, ties = SHAPES[index]
    sparsity, params = (setting, {}) if isinstance(setting, float) else (None, setting)
    if isinstance(setting, tuple):
        sparsity, params = setting
    for attempt in range(200):
        c = {"method": name, "phase": phase, "params": params, "sparsity": sparsity, "tokens": tokens,
             "tail": 0 if phase == "prefill" else TAILS[index], "output": 64, "heads": heads, "kv_heads": kv,
             "head_dim": dim, "layer": index % 3, "sinks": sinks, "needles": needles, "ties": ties,
             "seed": 1000 * attempt + 10 * index + sum(name.encode()) % 10}
        if method in TRAINED:
            c.update(width=WIDTH, weights=TRAINED[method](heads, kv, dim, WIDTH, params))
        a = Attention(c)
        try:
            result = method(a, params, sparsity)
        except Close:
            globals()["searching"] = False
            continue
        if "pairs" in result:
            pairs = result["pairs"]
        elif phase == "prefill":
            pairs = sum(int(m.sum()) for m in result["masks"])
        else:  # of the decode step
            pairs = sum(int(m[-1].sum()) for m in result["masks"])
        out = result["out"] if "out" in result else output(a, result["masks"], phase != "prefill", result.get("distance"))
        out = out.reshape(-1)
        sign = [1 - 2 * (splitmix(100 + r, np.arange(out.size)) >> np.uint64(63)).astype(np.float64) for r in range(4)]
        c.update(pairs=pairs, lists=fnv(result["lists"]), norm=float(np.linalg.norm(out)),
                 projection=[float((out * s).sum()) for s in sign])
        print(name, phase, index, "seed", c["seed"], "pairs", pairs, getattr(a, "kinds", ""), file=sys.stderr)
        return c
    raise SystemExit(f"{name} {index}: no seed whose choice is clear")


def main():
    cases, wanted = [], sys.argv[1:]  # names: of these methods only
    for name, (phase, method, settings) in PLAN.items():
        name = name.split("/")[0]
        if wanted and name not in wanted:
            continue
        for one in ("prefill", "decode") if phase == "both" else (phase,):
            cases += [case(name, one, method, i, s) for i, s in enumerate(settings)]
    print("[")
    print(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
    print("]")


if __name__ == "__main__":
    main()
