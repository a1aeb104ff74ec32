"""Rank correlation of methods by divergence with a few samples, and by score with all: of an exported sweep.

    frontier export results/divergence-ranks.h5 --csv | python3 tests/peers/divergence_ranks.py [--few 10]

For each model, task, length and phase, arms at all their levels are ranked by the mean KL over the first few samples of their
own phase (tasks that the dense model solves alone, so that there is something to lose), and by the loss of the mean strict score
over all samples. Spearman's rho of both, with a 95 % interval by resampling the samples (2000 times); beside it rho of the score
of the few. Needs numpy."""
import argparse
import collections
import csv
import sys

import numpy as np


def ranks(x):
    x = np.asarray(x, float)
    order = np.argsort(x, kind="stable")
    out = np.empty(len(x))
    out[order] = np.arange(len(x))
    for v in np.unique(x):  # ties: their mean
        out[x == v] = out[x == v].mean()
    return out


def rho(a, b):
    a, b = ranks(a), ranks(b)
    return np.corrcoef(a, b)[0, 1] if a.std() > 0 and b.std() > 0 else np.nan


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=10)
    a = parser.parse_args()
    csv.field_size_limit(1 << 30)
    cells = collections.defaultdict(lambda: collections.defaultdict(dict))  # group -> (arm, level) -> sample -> (kl, score)
    dense = collections.defaultdict(dict)
    for r in csv.DictReader(sys.stdin):
        group = r["model"], r["task_label"], int(r["length"])
        if r["prefill_method"] == r["decode_method"] == "dense":
            dense[group][int(r["sample"])] = float(r["strict"])
            continue
        phase = "prefill" if r["prefill_method"] != "dense" else "decode"
        arm = r[phase + "_label"], r[phase + "_sparsity"]
        cells[group + (phase,)][arm][int(r["sample"])] = float(r[phase + "_kl"]), float(r["strict"])
    rng, rhos = np.random.default_rng(1), collections.defaultdict(list)
    print(f"{'model':18}{'task':17}{'tokens':>7} {'phase':8}{'arms':>5}{'dense':>7}  rho(KL of {a.few}, score of all)     rho(score of {a.few})")
    for key in sorted(cells):
        arms, whole = cells[key], dense[key[:3]]
        n = min(len(v) for v in arms.values())
        table = np.array([[arms[k][i] for i in sorted(arms[k])[:n]] for k in sorted(arms)])  # [arms, samples, 2]
        score = np.mean(list(whole.values()))
        if score < 0.3:
            continue
        kl, all_scores = table[:, :a.few, 0].mean(1), -table[:, :, 1].mean(1)
        both = rho(kl, all_scores)
        drawn = []
        for _ in range(2000):
            some, every = rng.integers(0, a.few, a.few), rng.integers(0, n, n)
            drawn.append(rho(table[:, some, 0].mean(1), -table[:, every, 1].mean(1)))
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        few = rho(-table[:, :a.few, 1].mean(1), all_scores)
        rhos[key[3]].append((both, few))
        print(f"{key[0]:18}{key[1]:17}{key[2]:7} {key[3]:8}{len(arms):5}{score:7.2f}  {both:6.3f} [{low:6.3f}, {high:6.3f}]          {few:6.3f}")
    for phase, x in rhos.items():
        x = np.array(x)
        print(f"{phase}: median rho of KL {np.nanmedian(x[:, 0]):.3f} over {len(x)} groups, of the score of {a.few} samples {np.nanmedian(x[:, 1]):.3f}")


if __name__ == "__main__":
    main()
