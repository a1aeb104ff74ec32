"""InfLLM (2402.04617): a memory of blocks, each stood in for by the keys that its neighbours looked at most."""
import numpy as np

from .vocabulary import Cases, blocks, fit_amount, fit_rows, grid, read_blocks, top


def edge(p, position):
    return max(position - p["local"] + 1, 0) // p["block"]


def near_mass(a, p, first, last):
    """[G, last]: what query rows first … last - 1 give to the `local` latest keys, summed over them and over the group."""
    return a.grouped(a.rows(first, last, p["local"]).sum(axis=1), np.sum)


def stand_in(a, p, score, g, b):
    return a.k[[b * p["block"] + x for x in top(score[g, b * p["block"] : (b + 1) * p["block"]], p["representatives"])], g].mean(axis=0)


def infllm(a, p, sparsity):
    p = {"topk": 16, "local": 4096, "init": 128, "block": 128, "chunk": 512, "representatives": 4, **p}
    n, prefill = a.tokens, a.phase == "prefill"
    up = lambda x: -(-x // p["block"])
    if sparsity is not None:
        rows = fit_rows(a)
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
    return {**read_blocks(a, lists, p["block"]), "distance": distance}


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "infllm": Cases("both", infllm, [
        {"local": 10, "topk": 1, "init": 4, "block": 4, "chunk": 8}, (0.5, {"block": 8, "chunk": 16, "init": 8}),
        {"local": 33, "topk": 3, "init": 0, "block": 16, "chunk": 16, "representatives": 1}, {"local": 40, "topk": 4, "init": 9, "block": 8, "chunk": 1},
        (0.7, {"block": 8, "chunk": 20, "init": 8}), {"local": 7, "topk": 2, "init": 3, "block": 3, "chunk": 10, "representatives": 3}, 0.0, {},
        {"local": 64, "topk": 5, "init": 8, "block": 8, "chunk": 32, "representatives": 8}, (0.8, {"block": 4, "chunk": 4, "init": 4})]),
}
