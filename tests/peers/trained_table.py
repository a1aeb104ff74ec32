"""Sparsity that was trained beside sparsity that is put on afterwards: the tables of results/bench/trained.txt, of an exported sweep of
configs/trained-frontier.yaml (or configs/extrapolation.yaml: the last table).

    frontier export trained-frontier.h5 --csv | python3 tests/peers/trained_table.py [BASE=softmax] [BATCH=64]

First the dense scores of each model, as it was trained, by task and length. Then, for each length and phase, each model that was trained sparse against the
best of BASE's points (dense, and under methods) that cost no more in that phase, in FLOP of a prompt's prefill or elements read for a token
of a step of BATCH sequences, both as executed; the best is chosen on the same samples, which flatters it. Where nothing of BASE is as cheap,
against its cheapest. Last, how scores hold beyond the length of the training. 95 % intervals: samples drawn again within tasks, 4000 times, the
same for both of a difference. Needs numpy.
"""
import collections
import csv
import sys

import numpy as np

AGAIN = 4000


class Point:
    """Of one model, length, methods and sparsities: scores by task and sample, costs of each phase, and the phases that a method is put on."""

    def __init__(self):
        self.score, self.costs, self.phases = {}, {"prefill": [], "decode": []}, []

    def cost(self, phase):
        return float(np.mean(self.costs[phase]))

    def mean(self):
        tasks = collections.defaultdict(list)
        for (task, _), score in self.score.items():
            tasks[task].append(score)
        return float(np.mean([np.mean(x) for x in tasks.values()]))


def read(file, batch):
    """{(model, length, label): Point}; label "": as the model is."""
    found = collections.defaultdict(Point)
    for r in csv.DictReader(file):
        phases = [p for p in ("prefill", "decode") if not r["attention"] and r[p + "_method"] != "dense"]
        label = " + ".join(f"{r[p + '_label']} at {float(r[p + '_sparsity']):g}" for p in phases)
        point = found[r["model"], int(r["length"]), label]
        point.phases = phases
        point.score[r["task_label"], int(r["sample"])] = float(r["strict"])
        point.costs["prefill"].append(float(r["prefill_cost_exact"]))
        point.costs["decode"].append(float(r["decode_cost_exact"]) - float(r["weight_elements"]) * (1 - 1 / batch))
    return found


def interval(values, signed=False):
    """values {(task, sample): number}: the mean over tasks and its interval."""
    draw, tasks = np.random.default_rng(1), collections.defaultdict(list)
    for task, sample in sorted(values):
        tasks[task].append(values[task, sample])
    of = [np.array(x) for x in tasks.values()]
    again = np.mean([x[draw.integers(0, len(x), (AGAIN, len(x)))].mean(1) for x in of], axis=0)
    form = "%+.3f [%+.3f, %+.3f]" if signed else "%.3f [%.3f, %.3f]"
    return form % (np.mean([x.mean() for x in of]), *np.quantile(again, [0.025, 0.975]))


def difference(a, b):
    return interval({key: a.score[key] - b.score[key] for key in a.score.keys() & b.score.keys()}, True)


def dense_table(found, models, lengths):
    tasks = sorted({task for point in found.values() for task, _ in point.score})
    print(f"{'as trained':14} tokens  {'mean of tasks':22} " + " ".join(f"{t:>15}" for t in tasks))
    for model in models:
        for length in lengths:
            point = found.get((model, length, ""))
            if point:
                of = [[s for (task, _), s in point.score.items() if task == t] for t in tasks]
                print(f"{model:14} {length:6}  {interval(point.score):22} " + " ".join(f"{np.mean(x):15.2f}" if x else f"{'-':>15}" for x in of))


def against_base(found, models, lengths, base):
    for phase, unit in (("prefill", 1e9), ("decode", 1e6)):
        print(f"\n{phase}: {'GFLOP' if phase == 'prefill' else 'M elements a token'}; its score; against the best of {base} that costs no more")
        for length in lengths:
            own = {label: p for (model, n, label), p in found.items() if model == base and n == length and p.phases in ([], [phase])}
            for model in models:
                point = found.get((model, length, ""))
                if model == base or not point or not own:
                    continue
                cheap = {label: p for label, p in own.items() if p.cost(phase) <= point.cost(phase) * 1.0001}
                best = max(cheap, key=lambda label: cheap[label].mean()) if cheap else min(own, key=lambda label: own[label].cost(phase))
                said = f"{best or 'dense'} ({own[best].cost(phase) / unit:.1f})" + ("" if cheap else ", which is dearer")
                print(f"  {length:6} {model:14} {point.cost(phase) / unit:8.1f}  {point.mean():.3f}  {difference(point, own[best])}  {said}")


def beyond(found, models, lengths):
    print("\nbeyond the training: mean of tasks, and its share of the score at the first of these lengths")
    print(f"{'':14} " + " ".join(f"{n:>14}" for n in lengths))
    for model in models:
        means = [found[model, n, ""].mean() if (model, n, "") in found else None for n in lengths]
        print(f"{model:14} " + " ".join(f"{'-':>14}" if m is None else f"{m:8.3f} {m / means[0]:5.2f}" if means[0] else f"{m:14.3f}" for m in means))


def main():
    options = dict(a.split("=") for a in sys.argv[1:] if "=" in a)
    if sys.stdin.isatty() or len(options) != len(sys.argv) - 1 or options.keys() - {"BASE", "BATCH"}:
        sys.exit(__doc__)
    found = read(sys.stdin, float(options.get("BATCH", 64)))
    base, lengths = options.get("BASE", "softmax"), sorted({key[1] for key in found})
    models = sorted({key[0] for key in found}, key=lambda m: (m != base, m))
    dense_table(found, models, lengths)
    if any(key[0] == base and key[2] for key in found):
        against_base(found, models, lengths, base)
    if len(lengths) > 1:
        beyond(found, models, lengths)


if __name__ == "__main__":
    main()
