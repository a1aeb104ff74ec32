"""For analysis: choices at random, by the attention itself, or none."""
import numpy as np

from .sampling import by_mass, unit_draws
from .vocabulary import Cases, blocks, draw, fit_blocks, fit_keys, read_keys, top, window


def random_blocks(a, p, sparsity):
    n, block, sinks, local = a.tokens, p.get("block", 16), p.get("sinks", 1), p.get("local", 2)
    k = max(p.get("k", 100) if sparsity is None else fit_blocks(n, block, sparsity), sinks + local)
    rows = []
    for h in range(a.heads):
        head = []
        for i in range(-(-n // block)):
            chosen = set(range(min(sinks, i + 1))) | set(range(max(i + 1 - local, 0), i + 1))
            free = [j for j in range(i + 1) if j not in chosen]
            wanted = min(max(min(k, -(-n // block)) - len(chosen), 0), len(free))
            stream = draw(draw(draw(p.get("seed", 43), a.layer), h), i + 1)
            for at in range(len(free) - wanted, len(free)):  # Floyd's sampling
                t = draw(stream, free[at]) % (at + 1)
                chosen.add(free[at] if free[t] in chosen else free[t])
            head.append(sorted(chosen))
        rows.append(head)
    return blocks(a, rows, block)


def oracle_blocks(a, p, sparsity):
    n, block = a.tokens, p.get("block", 16)
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


def oracle_topk(a, p, sparsity):
    budget = p.get("budget", 1024) if sparsity is None else fit_keys(a, sparsity)
    return read_keys(a, [top(x, budget) for x in a.grouped(a.last_row(), np.sum)])


def oracle_topp(a, p, sparsity):
    share = a.last_row()
    if p.get("selection") == "group":
        share = a.grouped(share, np.mean)
    return by_mass(a, share, p.get("mass", 0.9), None if sparsity is None else 1 - sparsity)


def oracle_sample(a, p, sparsity):
    """Priority sampling: priorities p / u; the k highest, and the largest of the rest as threshold."""
    k = p.get("budget", 1024) if sparsity is None else fit_keys(a, sparsity)
    share = a.last_row()
    priority = share / unit_draws(a, p.get("seed", 43), 0)
    lists, bias = [top(x, k) for x in priority], np.zeros_like(share)
    for h, chosen in enumerate(lists):
        left = np.delete(priority[h], chosen)
        threshold = left.max() if len(left) else 0
        bias[h] = np.log(np.maximum(threshold / share[h], 1))
    return read_keys(a, lists, bias=bias)


def null(a, p, sparsity):
    return window(a, 1, 1)


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "random_blocks": Cases("prefill", random_blocks, [
        {"k": 3}, 0.5, {"k": 5, "block": 32, "seed": 1}, 0.9, 0.8, {"k": 6, "block": 8}, 0.0, 0.5, {"k": 7},
        {"k": 4, "sinks": 0, "local": 1}]),
    "oracle_blocks": Cases("prefill", oracle_blocks, [
        {"k": 3}, 0.5, {"k": 5, "block": 32}, {"k": 4, "selection": "group"}, 0.8, {"k": 5, "block": 8}, 0.0, {"k": 100}, 0.7, 0.9]),
    "oracle_topk": Cases("decode", oracle_topk, [
        {"budget": 10}, 0.5, {"budget": 33}, 0.9, 0.8, {"budget": 5}, 0.0, 0.95, {"budget": 40}, 0.7]),
    "oracle_topp": Cases("decode", oracle_topp, [
        {"mass": 0.5}, 0.5, {"mass": 0.9, "selection": "group"}, {"mass": 0.8, "selection": "group"}, 0.8, {"mass": 0.0}, 0.0, {"mass": 1.0}, {"mass": 0.97, "selection": "group"}, (0.7, {"selection": "group"})]),
    "oracle_sample": Cases("decode", oracle_sample, [
        {"budget": 10}, 0.5, {"budget": 33, "seed": 1}, 0.9, 0.8, {"budget": 5}, 0.0, {"budget": 3}, {"budget": 40}, 0.7]),
    "null": Cases("both", null, [{}] * 10),
}
