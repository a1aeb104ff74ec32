"""Do rankings of methods differ between protocols? Of an exported sweep whose tasks are labelled "NAME PROTOCOL" (configs/protocols.yaml).

    frontier export results/protocols.h5 --csv | python3 tests/peers/protocol_ranks.py [--json FILE]

For each model, length and phase, the methods' mean strict score over tasks and levels of sparsity under each protocol, and their
ranks. Between each two protocols:

  interaction  whether the methods' differences are the same under both, by sign flips of whole samples (10 000): of each sample and
               method, the score under one less that under the other, less its mean over methods (a protocol may be harder for all)
  tau          Kendall's tau-b of the methods' means under both, with a 95 % interval by resampling the samples (2000 times)
  reversed     pairs of methods of which one is better under one protocol and worse under the other, each shown by sign flips
               (the larger p of the two counts; Holm over all pairs and protocols of the phase)
  excluded     what size a reversal could still have: of each pair of methods and of protocols the largest d for which "better by d under
               one, worse by d under the other" lies within the intervals of both differences (t, 95 % for all of them together; where no sample differs, by the share
               of samples that may still do)

A table of both closes each phase: for each pair of protocols the p of interaction, the pair of methods nearest to changing places and its
p, and the excluded size; and a sentence.

All is paired: sample i has the same context under all, and the same question and answer, but for a task of several turns, of which the
last is read, as is that of questions that share a context. Needs numpy; --figure NAME writes the rankings of all protocols to NAME.dat, NAME.gp and, where there is gnuplot,
NAME.svg."""
import argparse
import collections
import csv
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np

FLIPS, DRAWS = 10000, 2000


def tau(a, b):
    i, j = np.triu_indices(len(a), 1)
    x, y = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
    whole = np.sqrt((x != 0).sum() * (y != 0).sum())
    return (x * y).sum() / whole if whole else np.nan


def flips(rng, difference, statistic):
    """p of a statistic of the mean of difference [samples, ...] where the sign of each sample is a matter of chance."""
    found = statistic(difference.mean(0))
    n, at_least = len(difference), 1
    flat = difference.reshape(n, -1)
    for begin in range(0, FLIPS, 1000):
        drawn = rng.choice([-1.0, 1.0], (1000, n)) @ flat / n
        at_least += sum(statistic(d.reshape(difference.shape[1:])) >= found - 1e-12 for d in drawn)
    return at_least / (FLIPS + 1)


def holm(p):
    order, out, most = np.argsort(p), np.empty(len(p)), 0.0
    for k, i in enumerate(order):
        most = max(most, min(1.0, (len(p) - k) * p[i]))
        out[i] = most
    return out


def t_quantile(p, v):
    """Of Student's t with v degrees of freedom, by bisection on the incomplete beta function's integral (Simpson)."""
    angle = np.linspace(0, np.pi / 2, 20001)[:-1]
    density = np.cos(angle) ** (v - 1)  # of theta, t = sqrt(v) tan theta
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(v) * np.tan(np.interp(p - 0.5, below / below[-1] / 2, angle)))


def excluded(x, p, q, i, j, within):
    """The largest reversal of methods i and j between protocols p and q that is not excluded; 0: none."""
    means, widths = [], []
    for k in (p, q):
        difference = x[k, i] - x[k, j]
        means.append(difference.mean())
        widths.append(t_quantile(1 - within / 2, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference)) if difference.std()
                      else 1 - (within / 2) ** (1 / len(difference)))
    (a, b), (u, w) = means, widths
    return max(0.0, min(a + u, w - b), min(u - a, b + w))


def summary(x, protocols, methods, between, pairs):
    """between: {(p, q): p of interaction}; pairs: Holm's p and indices of each. Prints the table and what it says."""
    within = 0.05 / (len(protocols) * len(methods) * (len(methods) - 1) / 2)
    shown = [v for v in pairs if v[0] < 0.05]
    print(f"  {'protocols':20}{'methods change: p':>18}   {'nearest to changing places':38}{'p':>8}   excluded beyond")
    most = 0.0
    for (p, q), value in between.items():
        here = [v for v in pairs if v[1:3] == (p, q)]
        sizes = {v[3:]: excluded(x, *v[1:], within) for v in here}
        nearest = min(here, key=lambda v: (v[0], -sizes[v[3:]]))
        most = max(most, *sizes.values())
        print(f"  {protocols[p] + ', ' + protocols[q]:20}{value:18.4f}   {methods[nearest[3]] + ', ' + methods[nearest[4]]:38}{nearest[0]:8.4f}   {max(sizes.values()):.3f}")
    changes = [value for value in holm(np.array(list(between.values()))) if value < 0.05]
    print(f"  Methods change with the protocol in {len(changes)} of {len(between)} pairs of protocols (Holm over these); {len(shown)} of {len(pairs)} pairs of methods are shown to change places; "
          f"a change of places by more than {most:.3f} under both protocols is excluded for every pair.")


def read(lines):
    """-> {(model, length, phase): {protocol: {method: {(task, level): {sample: score}}}}}, and dense scores alike."""
    tree = lambda: collections.defaultdict(tree)
    cells, dense = tree(), tree()
    for r in csv.DictReader(lines):
        task, _, protocol = r["task_label"].rpartition(" ")
        turns = json.loads(r.get("turn_scores") or "[]")
        at, score = (r["model"], int(r["length"])), float(turns[-1] if turns else r["strict"])
        if r["prefill_method"] == r["decode_method"] == "dense":
            dense[at][protocol][task][int(r["sample"])] = score
        elif "dense" in (r["prefill_method"], r["decode_method"]):
            phase = "prefill" if r["decode_method"] == "dense" else "decode"
            cells[at + (phase,)][protocol][r[phase + "_label"]][task, r[phase + "_sparsity"]][int(r["sample"])] = score
    return cells, dense


def table_of(cells, protocols, methods):
    """[protocols, methods, samples] means over tasks and levels, of the samples that all have."""
    levels = sorted(set.intersection(*(set(cells[p][m]) for p in protocols for m in methods)))
    common = sorted(set.intersection(*(set(cells[p][m][v]) for p in protocols for m in methods for v in levels)))
    return levels, np.array([[[np.mean([cells[p][m][v][i] for v in levels]) for i in common] for m in methods] for p in protocols])


def draw(rows, name):
    """One picture: a panel for each model, length and phase, a line for each method through its ranks under the protocols."""
    with open(f"{name}.dat", "w") as f:
        for row in rows:
            f.write("# " + ", ".join([row["model"], f"{row['length']} tokens", row["phase"]]) + ": rank and mean score of each method under each protocol\n")
            f.write("\t".join(["protocol"] + row["methods"]) + "\n")
            for p, mean in zip(row["protocols"], row["mean"]):
                f.write("\t".join([p] + [f"{1 + sum(o > v + 1e-12 for o in mean)}\t{v:.4f}" for v in mean]) + "\n")
            f.write("\n\n")
    panels = []
    for k, row in enumerate(rows):
        lines = [f"'{name}.dat' index {k} skip 1 using 0:{2 * m + 2}:xticlabels(1) with linespoints lw 2 pt 7 lc {m + 1} title '{label.replace('_', ' ')}'"
                 for m, label in enumerate(row["methods"])]
        panels.append(f"set title \"{row['model'].replace('_', ' ')}, {row['phase']}\\n{row['length']} tokens, {row['samples']} samples\"\n"
                      f"set yrange [{len(row['methods'])}.5:0.5]\nplot " + ", \\\n     ".join(lines) + "\n")
    columns = 2 if len(rows) > 1 else 1
    with open(f"{name}.gp", "w") as f:
        f.write(f"set terminal svg size {640 * columns},{360 * -(-len(rows) // columns)} font 'DejaVu Sans,11'\nset output '{name}.svg'\n"
                f"set key outside right\nset ylabel 'rank by mean score'\nset ytics 1\nset xrange [-0.2:*]\nset offsets 0,0.2,0,0\n"
                f"set multiplot layout {-(-len(rows) // columns)},{columns}\n" + "".join(panels) + "unset multiplot\n")
    if shutil.which("gnuplot"):
        subprocess.run(["gnuplot", f"{name}.gp"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write all numbers there too")
    parser.add_argument("--figure", metavar="NAME", help="draw the rankings")
    a = parser.parse_args()
    csv.field_size_limit(1 << 30)
    cells, dense = read(sys.stdin)
    rng, out = np.random.default_rng(1), []
    for key in sorted(cells):
        model, length, phase = key
        protocols = sorted(cells[key], key=lambda p: (["both", "after", "late", "shared", "second", "anew"] + [p]).index(p))
        methods = sorted(set.intersection(*(set(cells[key][p]) for p in protocols)))
        levels, x = table_of(cells[key], protocols, methods)  # [P, M, n]
        mean, n = x.mean(2), x.shape[2]
        rank = np.array([[1 + (row > v + 1e-12).sum() for v in row] for row in mean])
        print(f"\n{model}, {length} tokens, {phase}: {n} samples, {', '.join(sorted({t for t, _ in levels}))}; "
              f"sparsity {', '.join(f'{float(s):g}' for s in sorted({s for _, s in levels}, key=float))}")
        print(f"  {'':18}" + "".join(f"{p:>16}" for p in protocols))
        whole = [np.mean([np.mean(list(t.values())) for t in dense[model, length][p].values()]) for p in protocols]
        print(f"  {'dense':18}" + "".join(f"{v:10.3f}      " for v in whole))
        for m in np.argsort(rank[0], kind="stable"):
            print(f"  {methods[m]:18}" + "".join(f"{mean[p, m]:10.3f} ({rank[p, m]:2d}) " for p in range(len(protocols))))
        between, places = {}, []
        pairs, row = [], {"model": model, "length": length, "phase": phase, "samples": n, "protocols": protocols, "methods": methods,
                          "dense": [float(v) for v in whole], "mean": mean.tolist(), "between": []}
        for p, q in itertools.combinations(range(len(protocols)), 2):
            apart = (x[p] - x[q]).T  # [n, M]
            apart = apart - apart.mean(1, keepdims=True)
            value = flips(rng, apart, lambda d: (d**2).sum())
            drawn = [tau(*(x[[p, q]][:, :, rng.integers(0, n, n)].mean(2))) for _ in range(DRAWS)]
            low, high = np.nanquantile(drawn, [0.025, 0.975]) if not np.isnan(drawn).all() else (np.nan, np.nan)
            between[p, q] = value
            row["between"].append({"of": [protocols[p], protocols[q]], "interaction_p": value, "tau": tau(mean[p], mean[q]), "low": low, "high": high})
            print(f"  {protocols[p]} and {protocols[q]}: interaction p {value:.4f}; tau {tau(mean[p], mean[q]):.3f} [{low:.3f}, {high:.3f}]")
            for i, j in itertools.combinations(range(len(methods)), 2):
                first, second = x[p, i] - x[p, j], x[q, i] - x[q, j]
                value = 1.0
                if first.mean() * second.mean() < 0:
                    value = max(flips(rng, first[:, None], lambda d: abs(d[0])), flips(rng, second[:, None], lambda d: abs(d[0])))
                places.append((p, q, i, j))
                pairs.append((value, protocols[p], protocols[q], methods[i], methods[j], first.mean(), second.mean()))
        row["reversed"] = []
        corrected = holm(np.array([v[0] for v in pairs]))
        for value, (_, p, q, i, j, first, second) in zip(corrected, pairs):
            if first * second < 0:
                row["reversed"].append({"of": [p, q], "methods": [i, j], "difference": [first, second], "p": value})
                print(f"  {i} against {j}: {first:+.3f} under {p}, {second:+.3f} under {q}: {'reversed' if value < 0.05 else 'not shown'} (p {value:.4f})")
        summary(x, protocols, methods, between, [(value, *place) for value, place in zip(corrected, places)])
        out.append(row)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)
    if a.figure:
        draw(out, a.figure)


if __name__ == "__main__":
    main()
