"""What the references are written in: a case's queries, keys and values; choices, and which of them hang on rounding; patterns;
budgets; attention over what was chosen. NumPy, in double precision, from the definitions; no line is shared with the C code.

H query heads in groups of `group` to G kv heads of D numbers; lists are ascending.
"""
import contextlib
import math
import pathlib
from typing import Callable, NamedTuple, Optional

import numpy as np

MARGIN = 1e-5
TILE = 64
M64 = (1 << 64) - 1
ROOT = pathlib.Path(__file__).resolve().parents[4]


class Cases(NamedTuple):
    """An entry of a family's CASES: what reference(a, params, sparsity) says on the shapes of make_methods.py.

    It returns a dictionary: "lists", what a C method's pattern lists, in its order, to be hashed (of a mask by distance: none);
    "masks" [H] of [rows, keys], the pairs; and where it is not softmax over these at true distances, "distance" [rows, keys],
    "bias" [H, rows, keys], or "out" [rows, H, D] itself and "pairs", their number.
    """
    phase: str                           # prefill, compress, decode, or both: prefill and decode
    reference: Callable
    settings: list                       # one a shape: parameters, a target sparsity, (target, parameters), or None: no case
    weights: Optional[Callable] = None   # of a trained method, (H, G, D, width, params) to the shapes of what it owns
    layers: Optional[int] = None         # that the model has, where that counts; else the case's is the last


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


def table_row(path, layer):
    """A layer's numbers in a table that a parameter names; relative paths are from the root of the tree."""
    return np.loadtxt(ROOT / path, ndmin=2)[layer]


def frequencies(dim):
    """Rotary angles a position, [D/2], in fp32 as the program has them."""
    return np.float32(10000.0 ** (-2.0 * np.arange(dim // 2) / dim))


# ---- choices --------------------------------------------------------------------------------------------------------

class Close(Exception):
    """The choice hangs on rounding."""


class Watch:
    """What counts as such a choice, besides scores at the cut that are nearly equal."""
    masses = True   # a share of mass at the cut; not while a dial is looked for
    equals = False  # equal scores too, which go to the lowest index; where another program may have rounded them apart


@contextlib.contextmanager
def watching(**kinds):
    before = {kind: getattr(Watch, kind) for kind in kinds}
    try:
        for kind, on in kinds.items():
            setattr(Watch, kind, on)
        yield
    finally:
        for kind, on in before.items():
            setattr(Watch, kind, on)


def order(x):
    """Indices by descending score, ties to the lowest index."""
    return np.argsort(-x, kind="stable")


def top(x, k):
    """The k largest of a row, ascending; -inf is never chosen."""
    k = min(k, int((x > -np.inf).sum()))
    o = order(x)
    if 0 < k < len(x):
        inside, outside = x[o[k - 1]], x[o[k]]
        if inside != outside and inside - outside < MARGIN * abs(inside) or Watch.equals and inside == outside < np.inf:
            raise Close
    return sorted(int(i) for i in o[:k])


def count_of_mass(x, mass):
    """Length of the shortest prefix of the sorted row that holds a share `mass` of it."""
    x = x[np.isfinite(x)]
    share = np.cumsum(x[order(x)]) / x.sum()
    if np.abs(share - mass).min() < MARGIN and mass < 1 and Watch.masses:
        raise Close
    return int((share < mass).sum()) + 1


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def pool(x, kernel, reduce):
    """Stride 1; the mean counts padding as zeros, the maximum ignores it."""
    half, out = kernel // 2, np.empty_like(x)
    for j in range(x.shape[1]):
        part = x[:, max(j - half, 0) : j + half + 1]
        out[:, j] = part.sum(axis=1) / kernel if reduce == "mean" else part.max(axis=1)
    return out


# ---- one layer's attention ------------------------------------------------------------------------------------------

class Attention:
    """A case's layer: `tokens` of the prompt, `keys` with what was generated; scores from the definition."""

    def __init__(self, c):
        self.c = c
        self.q, self.k, self.v = inputs(c)
        self.phase, self.tokens, self.keys = c["phase"], c["tokens"], c["tokens"] + c["tail"]
        self.layer, self.layers = c["layer"], c.get("layers", c["layer"] + 1)
        self.heads, self.kv, self.dim = c["heads"], c["kv_heads"], c["head_dim"]
        self.group, self.scale = self.heads // self.kv, 1 / math.sqrt(self.dim)
        if "width" in c:  # of a trained method, the layer's input and what it owns
            self.x = uniform(8 * c["seed"] + 7, self.keys, 1, c["width"], False)[:, 0]
            self.weights = [self.weight(i, *shape) for i, shape in enumerate(c["weights"])]

    def weight(self, which, *shape):
        """A trained method's which-th weight, the same at every layer, made up of the seed as harness/lab/synthetic.c does."""
        return uniform(8 * (self.c["seed"] + (1 << 21)) + which, 1, 1, math.prod(shape), False).reshape(shape)

    def rows(self, first, last, local=None):
        """Probabilities [H, rows, keys] of query rows first … last - 1 over their causal keys, or the `local` latest, among the first `last`."""
        k = np.repeat(self.k[:last], self.group, axis=1)
        s = np.einsum("ihd,jhd->hij", self.q[first:last], k) * self.scale
        i, j = np.arange(first, last)[:, None], np.arange(last)[None, :]
        return softmax(np.where((j <= i) & (i - j < (local or last)), s, -np.inf))

    def last_row(self):
        """Probabilities [H, keys] of the last query."""
        return self.rows(self.keys - 1, self.keys)[:, 0]

    def probe(self, window, reduce=np.sum):
        """What the last `window` rows of the prompt give to columns and to diagonals, each [H, tokens]."""
        n = self.tokens
        p = self.rows(max(n - window, 0), n)
        diagonal = np.zeros((self.heads, n))
        for i in range(p.shape[1]):
            position = n - p.shape[1] + i
            diagonal[:, : position + 1] += p[:, i, position::-1]
        return reduce(p, axis=1), diagonal

    def grouped(self, x, reduce):
        return reduce(x.reshape(self.kv, self.group, *x.shape[1:]), axis=1)

    def means(self, x, block):
        n = self.tokens
        return np.stack([x[i : min(i + block, n)].mean(axis=0) for i in range(0, n, block)], axis=1)  # [heads, blocks, D]

    def mean_scores(self, block):
        """Scaled products [H, blocks, blocks] of mean queries and mean keys."""
        return np.einsum("hid,hjd->hij", self.means(self.q, block), np.repeat(self.means(self.k, block), self.group, axis=0)) * self.scale


def logits(a, rows, distance):
    """Scaled products; with distances, of queries and keys that are taken back to position 0 and turned so far apart."""
    k = np.repeat(a.k, a.group, axis=1)
    if distance is None:
        return np.einsum("ihd,jhd->hij", a.q[rows], k) * a.scale
    half, n = a.dim // 2, a.k.shape[0]
    turn = frequencies(a.dim).astype(np.float64)
    angle = np.arange(n)[:, None] * turn
    back = lambda x, at: (x[..., :half] + 1j * x[..., half:]) * np.exp(-1j * at)[:, None, :]
    q, k = back(a.q[rows], angle[rows]), back(k, angle)
    products = np.stack([q[:, h, None, :] * k[None, :, h, :].conj() for h in range(a.heads)])
    return (products * np.exp(1j * distance[:, :, None] * turn)).real.sum(axis=-1) * a.scale


def output(a, masks, decode, distance=None, bias=0):
    """Attention over the pairs: [rows, H, D] for a prefill, [1, H, D] for the last row. bias [H, rows, keys]: added to logits."""
    rows = slice(a.keys - 1, a.keys) if decode else slice(0, a.keys)
    s = logits(a, rows, distance) + bias
    mask = np.stack([m[-s.shape[1] :] for m in masks])
    none = ~mask.any(axis=2, keepdims=True)  # rows that give 0
    return np.einsum("hij,jhd->ihd", np.where(none, 0, softmax(np.where(mask | none, s, -np.inf))), np.repeat(a.v, a.group, axis=1))


# ---- patterns: lists to hash, and the pairs they mean ---------------------------------------------------------------

def causal_mask(n):
    return np.tril(np.ones((n, n), bool))


def everything(a):
    return {"lists": [], "masks": [causal_mask(a.tokens) if a.phase == "prefill" else np.ones((1, a.keys), bool)] * a.heads}


def columns_diagonals_mask(n, columns, diagonals):
    mask = np.zeros((n, n), bool)
    mask[:, columns] = True
    for start in range(0, n, TILE):
        for o in diagonals:
            mask[start : start + TILE, max(start - o, 0) : max(start - o + TILE, 0)] = True
    return mask & causal_mask(n)


def columns_diagonals(a, columns, diagonals):
    per = a.heads // len(columns)
    masks = [columns_diagonals_mask(a.tokens, columns[h // per], diagonals[h // per]) for h in range(a.heads)]
    return {"lists": columns + diagonals, "masks": masks}


def blocks_mask(n, rows, block, keys):
    """rows: [query blocks] of lists; keys in a block of them."""
    mask = np.zeros((n, n), bool)
    for i, chosen in enumerate(rows):
        for j in chosen:
            mask[i * block : (i + 1) * block, j * keys : (j + 1) * keys] = True
    return mask & causal_mask(n)


def blocks(a, rows, block, keys=None):
    """rows: [heads][query blocks] lists; keys in a block of them, if not as many as queries."""
    per = a.heads // len(rows)
    masks = [blocks_mask(a.tokens, rows[h // per], block, keys or block) for h in range(a.heads)]
    return {"lists": [r for head in rows for r in head], "masks": masks}


def top_blocks(score, k, sinks, local):
    """Of every query block (a row), the k best of those up to its own, the first `sinks` and the latest `local` anyhow."""
    chosen = []
    for i, row in enumerate(score):
        row = row[: i + 1].copy()
        row[:sinks] = np.inf
        row[max(i + 1 - local, 0) :] = np.inf
        chosen.append(top(row, k))
    return chosen


def window(a, sinks, local, last=0):
    i, j = np.arange(a.keys)[:, None], np.arange(a.keys)[None, :]
    mask = ((j < sinks) | (i - j < local) | (i >= a.keys - last)) & (i >= j)
    return {"lists": [[sinks, local, last]], "masks": [mask] * a.heads}


def grid(a):
    """Positions of queries (all, or in decode the last) and of keys."""
    i = np.arange(a.keys) if a.phase == "prefill" else np.array([a.keys - 1])
    return i[:, None], np.arange(a.keys)[None, :]


def by_distance(a, masks, distance=None):
    """masks: one for all heads, or [H]. distance: what rotary positions make of i - j."""
    i, j = grid(a)
    masks = masks if isinstance(masks, list) else [masks] * a.heads
    return {"lists": [], "masks": [m & (j <= i) for m in masks], "distance": distance}


def read_keys(a, lists, keys=None, bias=None):
    """Decode: the keys, if they are not what is listed, of each query head, each kv head or all, that the query, the last row, reads;
    bias [H, keys]: added to their logits."""
    keys = lists if keys is None else keys
    per = a.heads // len(keys)
    masks = [np.isin(np.arange(a.keys), keys[h // per])[None] for h in range(a.heads)]
    result = {"lists": lists, "masks": masks}
    if bias is not None:
        result["bias"] = np.where(masks, bias[:, None, :], 0)
        result["out"] = output(a, masks, True, bias=result["bias"])
    return result


def read_blocks(a, lists, block):
    """Decode: blocks (pages, chunks) of keys, of each kv head."""
    return read_keys(a, lists, [[j for x in l for j in range(x * block, min((x + 1) * block, a.keys))] for l in lists])


def kept(a, lists):
    """What is kept of the prompt; what was generated behind it is."""
    return read_keys(a, lists, [l + list(range(a.tokens, a.keys)) for l in lists])


# ---- budgets --------------------------------------------------------------------------------------------------------

def block_pairs(n, block, k):
    return sum(
        (min(k, i // block + 1) - 1) * block * (min(i + block, n) - i) + (min(i + block, n) - i) * (min(i + block, n) - i + 1) // 2
        for i in range(0, n, block)
    )


def fit_blocks(n, block, sparsity):
    target = (1 - sparsity) * n * (n + 1) / 2
    return min(range(1, -(-n // block) + 1), key=lambda k: abs(block_pairs(n, block, k) - target))


def fit_keys(a, sparsity):
    """Keys that a decode step reads."""
    return a.tokens + a.c["output"] if sparsity == 0 else max(int((1 - sparsity) * a.tokens + 0.5), 1)


def prompt_capacity(a, p, sparsity):
    return p.get("capacity", 1024) if sparsity is None else fit_keys(a, sparsity)


def fit_window(a, sparsity, others=0):
    """Latest keys that a row sees beside so many others; all that it sees."""
    keys = fit_keys(a, sparsity) if a.phase == "decode" else fit_blocks(a.tokens, 1, sparsity)
    return max(keys - others, 1), keys


def fit_amount(a, sparsity, low, high, mask_of):
    """The amount whose pairs come nearest, from masks of one head, or what they sum to, a row or all."""
    if sparsity == 0:
        return high
    n = a.tokens
    target = (1 - sparsity) * (n * (n + 1) / 2 if a.phase == "prefill" else n)
    best = low
    pairs = lambda x: int(np.sum(mask_of(x)))
    while best < high and pairs(best + 1) <= target:
        best += 1
    if best < high and 0 < pairs(best + 1) - target < target - pairs(best):
        best += 1
    return best


def fit_rows(a):
    """Positions that a fit counts: those of the prompt, or a step just behind it."""
    return np.arange(a.tokens) if a.phase == "prefill" else np.array([a.tokens])


def fit_grid(a):
    """These, and those of keys."""
    return fit_rows(a)[:, None], np.arange(fit_rows(a)[-1] + 1)[None, :]


def most_keys(a):
    """That a row may see, however far a generation goes."""
    return a.tokens + (a.c["output"] if a.phase == "decode" else 0)


def largest(low, high, fits):
    """An amount in [low, high) that fits, where the next does not, by halves; low, if none does."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def density(result, a):
    n = a.tokens
    return sum(int(m.sum()) for m in result["masks"]) / (a.heads * n * (n + 1) / 2)


def highest_dial(fits):
    """The highest dial in [0, 1) that fits, to 2^-20."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def within(a, target, choose):
    """The choice of the highest dial in [0, 1) whose density is at most `target`; everything where that is allowed."""
    if target >= 1:
        return everything(a)
    with watching(masses=False):
        low = highest_dial(lambda dial: density(choose(dial), a) <= target)
        # The dial ends just below a step, so rounding may move the dial; the choice below the step is what must be clear.
        result, below = choose(low), choose(max(low - 2 * MARGIN, 0.0))
    if result["lists"] != below["lists"]:
        raise Close
    return result
