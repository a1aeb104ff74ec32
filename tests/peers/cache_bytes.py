"""Divergence by bytes of cache: of each cell of an export, what a decode step reads of the cache (attention and choosing) and how far its
predictions of the answer are from those of dense with an exact cache. One block a format, by bytes.

    frontier export results/quantised-cache.h5 --jsonl | python3 tests/peers/cache_bytes.py
"""
import collections
import json
import sys

cells = collections.defaultdict(list)
for line in sys.stdin:
    r = json.loads(line)
    method = r["decode_label"] if r["decode_method"] != "dense" else r["prefill_label"]
    cells[r["cache"] or "exact", r["model"], method, max(r["prefill_sparsity"] or 0, r["decode_sparsity"] or 0)].append(r)


def mean(rows, of):
    some = [x for x in map(of, rows) if x is not None]
    return sum(some) / len(some) if some else float("nan")


def read(r):
    steps = r["output_tokens"] + (r["late_tokens"] or 0)
    return sum(r[f"decode_{work}_cache_bytes"] for work in ("attention", "estimation")) / steps if steps else None


table = [(cache, model, read_, mean(rows, lambda r: r["decode_kl"]), mean(rows, lambda r: r["strict"]), method, sparsity, len(rows))
         for (cache, model, method, sparsity), rows in cells.items() for read_ in [mean(rows, read)]]
block = None
for cache, model, bytes_, kl, score, method, sparsity, n in sorted(table):
    if block != (cache, model):
        print(f"\n{cache}, {model}\n{'bytes a step':>14} {'KL, nats':>10} {'score':>6}  method")
        block = cache, model
    print(f"{bytes_:14.0f} {kl:10.5f} {score:6.3f}  {method}{f' at {sparsity:g}' if sparsity else ''}, {n} samples")
