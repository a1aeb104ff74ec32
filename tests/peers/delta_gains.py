"""What Delta Attention adds to the methods beneath it: the table of results/bench/delta.txt, of an exported sweep of configs/delta.yaml.

    frontier export delta.h5 --csv | python3 tests/peers/delta_gains.py

A line for each length, method and sparsity asked for: the method alone, its mean score over tasks, its sparsity as executed and GFLOP of a prompt's prefill
(the study's formula); then each form of Delta (`added`: on top of the target; `inside`: within it), what it gains on the same samples, its sparsity and
GFLOP. Last, `added` against the method alone one level lower, which computes about as much. 95 % intervals: samples drawn again within tasks, 4000
times. Needs numpy.
"""
import collections
import csv
import json
import sys

import numpy as np

draw = np.random.default_rng(1)


def read(file):
    """{(length, method, form, sparsity): {(task, sample): (score, sparsity executed, FLOP)}}; form None: the method alone."""
    found = collections.defaultdict(dict)
    for r in csv.DictReader(file):
        if r["prefill_method"] == "dense":
            continue
        params = json.loads(r["prefill_params"])
        form = None if "delta_of" not in params else "added" if params["delta_added"] else "inside"
        key = int(r["length"]), params.get("delta_of", r["prefill_method"]), form, float(r["prefill_sparsity"])
        found[key][r["task_label"], int(r["sample"])] = float(r["strict"]), float(r["prefill_achieved"]), float(r["prefill_cost_paper"])
    return found


def interval(values, sign):
    """values {(task, sample): number}: the mean over tasks and its interval."""
    tasks = collections.defaultdict(list)
    for key in sorted(values):
        tasks[key[0]].append(values[key])
    of = [np.array(x) for x in tasks.values()]
    again = np.mean([x[draw.integers(0, len(x), (4000, len(x)))].mean(1) for x in of], axis=0)
    form = f"%{sign}.2f [%{sign}.2f, %{sign}.2f]"
    return form % (np.mean([x.mean() for x in of]), *np.quantile(again, [0.025, 0.975]))


def gain(a, b):
    return interval({key: a[key][0] - b[key][0] for key in a.keys() & b.keys()}, "+")


def cost(cell):
    return "%.3f %7.0f" % (np.mean([x[1] for x in cell.values()]), np.mean([x[2] for x in cell.values()]) / 1e9)


def main():
    if sys.stdin.isatty() or len(sys.argv) > 1:
        sys.exit(__doc__)
    found = read(sys.stdin)
    compared = sorted({key[:2] for key in found if key[2]})
    levels = sorted({key[3] for key in found})
    print(f"{'tokens method':22} asked  {'alone: score':20} sparsity  GFLOP  {'added: gain':22} sparsity  GFLOP  {'inside: gain':22} sparsity  GFLOP")
    for length, method in compared:
        for s in levels:
            alone = found[length, method, None, s]
            line = f"{length:<6} {method:15} {s:.2f}   {interval({key: x[0] for key, x in alone.items()}, ''):20} {cost(alone):15}"
            for form in ("added", "inside"):
                line += f"  {gain(found[length, method, form, s], alone):22} {cost(found[length, method, form, s]):15}"
            print(line.rstrip())
    print("\nAt about equal cost:")
    for length, method in compared:
        for low, high in zip(levels, levels[1:]):
            print(f"{length:<6} {method:15} added at {high:.2f} against alone at {low:.2f}   {gain(found[length, method, 'added', high], found[length, method, None, low])}")


main()
