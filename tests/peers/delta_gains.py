"""What Delta Attention adds to the methods beneath it: paired differences of scores, of an exported sweep of configs/delta.yaml.

    frontier export delta.h5 --csv | python3 tests/peers/delta_gains.py

A line for each length, method, sparsity asked for and form of Delta (`added`: on top of the target; `inside`: within it): the mean over tasks of the
differences on the same samples, with a 95 % interval (samples drawn again within tasks, 4000 times), and how many pairs; then `added` against the
method alone one level lower, which computes about as much. Needs numpy.
"""
import collections
import csv
import json
import sys

import numpy as np

draw = np.random.default_rng(1)


def read(file):
    """{(length, method, form, sparsity): {(task, sample): score}}; form None: the method alone."""
    found = collections.defaultdict(dict)
    for r in csv.DictReader(file):
        params = json.loads(r["prefill_params"])
        form = None if "delta_of" not in params else "added" if params["delta_added"] else "inside"
        key = int(r["length"]), params.get("delta_of", r["prefill_method"]), form, float(r["prefill_sparsity"])
        found[key][r["task_label"], int(r["sample"])] = float(r["strict"])
    return found


def gain(a, b):
    pairs = collections.defaultdict(list)
    for key in sorted(a.keys() & b.keys()):
        pairs[key[0]].append(a[key] - b[key])
    of = [np.array(d) for d in pairs.values()]
    again = np.mean([d[draw.integers(0, len(d), (4000, len(d)))].mean(1) for d in of], axis=0)
    return "%+.3f [%+.3f, %+.3f], %d pairs" % (np.mean([d.mean() for d in of]), *np.quantile(again, [0.025, 0.975]), sum(map(len, of)))


def main():
    if sys.stdin.isatty() or len(sys.argv) > 1:
        sys.exit(__doc__)
    found = read(sys.stdin)
    for length, method in sorted({key[:2] for key in found if key[2]}):
        levels = sorted({key[3] for key in found if key[:3] == (length, method, None)})
        for s in levels:
            for form in ("added", "inside"):
                print(length, method, s, form, gain(found[length, method, form, s], found[length, method, None, s]))
        for low, high in zip(levels, levels[1:]):
            print(length, method, f"added at {high} against alone at {low}", gain(found[length, method, "added", high], found[length, method, None, low]))


main()
