"""How many samples does a task score need for what the KL of a few says? Of an exported sweep with `measures: [score, divergence]`.

    frontier export results/real-weights.h5 --csv | python3 tests/peers/few_samples.py [--few 10] [--csv FILE]

For each model, task, length and phase: methods by KL(dense || sparse) along the answer (of the task text: along the text), at the mean over
levels of sparsity, with 95 % intervals over samples, beside the score, all over all samples that have them. Then the decisions: which of two
methods is closer to dense (KL) and which answers better (score), on the same samples and levels, and against dense whether it loses at all.
KL decides a pair if the 95 % t interval of the mean paired difference over the first few samples leaves out 0. The score of the same pair:
whether its interval over all its samples does, on which side, and at which number of samples it would, at the mean and the variance found:
the least n with t(n - 1) s / sqrt(n) < |mean| ("never": the mean is 0). Both at the mean over levels and level by level. Then how KL grows with
length at each level, and cost. Needs numpy; nothing is corrected for many decisions."""
import argparse
import collections
import csv
import itertools
import math
import sys

import numpy as np


def t975(v):
    """Student's t with v degrees of freedom, the 97.5 % quantile: Cornish-Fisher's expansion (Abramowitz and Stegun 26.7.5), 3e-4 from 3 on."""
    if v < 3:
        return (12.7062, 4.3027)[v - 1]
    z = 1.959963985
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2) + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3) + (
        79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)


def half_width(x):
    return t975(len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)) if len(x) > 1 else math.nan


def needed(x):
    """Samples at which the t interval of a mean like that of x leaves out 0; inf: the mean is 0."""
    mean, s = abs(x.mean()), x.std(ddof=1)
    if mean < 1e-12:  # 0 but for the rounding of sums
        return math.inf
    if s == 0:
        return 2
    n = max(2, int((1.96 * s / mean) ** 2))
    while t975(n - 1) * s / math.sqrt(n) >= mean:
        n += 1 if n < 1000 else n // 100
    return n


def sided(x):
    """+1, -1: the interval of the mean lies on that side of 0; 0: it does not, or there is too little."""
    return 0 if len(x) < 2 or not abs(x.mean()) > half_width(x) else int(np.sign(x.mean()))


def read(lines):
    """-> {(model, task, length): {phase: {method: {level: {sample: (kl, score, cost)}}}}}, dense rows {...: {sample: (score, cost)}}"""
    tree = lambda: collections.defaultdict(tree)
    cells, dense, seconds = tree(), tree(), 0.0
    for r in csv.DictReader(lines):
        seconds += float(r["prefill_seconds"]) + float(r["decode_seconds"])
        group, i = (r["model"], r["task_label"], int(r["length"])), int(r["sample"])
        if r["prefill_method"] == r["decode_method"] == "dense":
            dense[group][i] = float(r["strict"]), float(r["prefill_cost_exact"]), float(r["decode_cost_paper"])
            continue
        phase = "prefill" if r["decode_method"] == "dense" else "decode"
        kl = float(r["decode_kl"] or "nan")
        cells[group][phase][r[phase + "_label"]][float(r[phase + "_sparsity"])][i] = (
            kl, float(r["strict"]), float(r["prefill_kl"] or "nan"), float(r["prefill_cost_exact"]), float(r["decode_cost_paper"]), float(r[phase + "_achieved"]))
    return cells, dense, seconds


def samples_of(methods, column, few=None):
    """{method: [levels, samples]} of a column, of the samples that all methods and levels have."""
    levels = sorted(set.intersection(*(set(m) for m in methods.values())))
    common = set.intersection(*(set(m[v]) for m in methods.values() for v in levels))
    common = sorted(i for i in common if all(not math.isnan(m[v][i][column]) for m in methods.values() for v in levels))[:few]
    return levels, common, {name: np.array([[m[v][i][column] for i in common] for v in levels]) for name, m in methods.items()}


def decisions(kl, score, whole, where, out):
    """Pairs of methods, and each against dense, whose score is `whole`: rows of what KL and score decide."""
    for a, b in itertools.combinations(sorted(kl), 2):
        d, e = kl[a] - kl[b], score[b] - score[a]  # below 0: a is closer, or answers better
        out.append((where, "pair", f"{a} {b}", sided(d), sided(e), needed(e), len(d), len(e), e.mean(), e.std(ddof=1)))
    for a in sorted(score):
        e = whole - score[a]
        out.append((where, "dense", a, 1, sided(e), needed(e), len(kl[a]), len(e), e.mean(), e.std(ddof=1)))


def several(rows, what):
    rows = [r for r in rows if r[1] == "pair"]
    decided = [r for r in rows if r[3]]
    if not decided:
        return print(f"  {what}: KL decides none of {len(rows)} pairs")
    same, other = sum(r[3] == r[4] for r in decided), sum(r[3] == -r[4] for r in decided)
    n = np.array([r[5] for r in decided])
    median = lambda q: "never" if math.isinf(v := float(np.quantile(n, q, method="inverted_cdf"))) else f"{v:.0f}"
    print(f"  {what}: KL of {max(r[6] for r in rows)} decides {len(decided)} of {len(rows)} pairs; the score of {min(r[7] for r in rows)} to {max(r[7] for r in rows)} decides "
          f"{sum(bool(r[4]) for r in rows)} of all, of those {len(decided)} {same} alike, {other} the other way, {len(decided) - same - other} not; "
          f"samples that it needs: quartiles {median(.25)}, {median(.5)}, {median(.75)}; more than 100: {(n > 100).sum()}, more than 1000: {(n > 1000).sum()}")


def growth(cells):
    """How much KL at a level is multiplied by as the length doubles, by the samples' means; interval by resampling samples of each length."""
    rng, found = np.random.default_rng(1), collections.defaultdict(dict)
    for (model, task, length), phases in sorted(cells.items()):
        for phase, methods in phases.items():
            levels, _, x = samples_of(methods, 0)
            for name, v in x.items():
                if v.shape[1] > 1:
                    found[model, task, phase, name][length] = v.mean(0)
    for (model, task, phase, name), by in found.items():
        if len(by) < 2:
            continue
        at = np.log2(list(by))
        slope = lambda means: np.polyfit(at, np.log2(np.maximum(means, 1e-9)), 1)[0]
        drawn = [slope([v[rng.integers(0, len(v), len(v))].mean() for v in by.values()]) for _ in range(2000)]
        low, high = np.quantile(drawn, [0.025, 0.975])
        print(f"  {model:14} {task:22} {phase:7} {name:16}x {2 ** slope([v.mean() for v in by.values()]):.2f} [{2 ** low:.2f}, {2 ** high:.2f}] a doubling of {', '.join(map(str, by))} tokens; "
              f"KL {', '.join(f'{v.mean():.4f}' for v in by.values())}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--csv", help="write each cell's means and each decision there: FILE-cells.csv, FILE-decisions.csv")
    a = parser.parse_args()
    csv.field_size_limit(1 << 30)
    cells, dense, seconds = read(sys.stdin)
    at_mean, at_level, table = [], [], []
    for group, phases in sorted(cells.items()):
        whole = dense[group]
        print(f"\n{group[0]}, {group[1]}, {group[2]} tokens: dense score {np.mean([v[0] for v in whole.values()]):.3f} of {len(whole)} samples")
        for phase, methods in sorted(phases.items()):
            levels, few, kl = samples_of(methods, 0, a.few)
            _, of_rows, rows = samples_of(methods, 2, a.few)
            _, many, score = samples_of(methods, 1)
            many = [i for i in many if i in whole]
            score = {m: x[:, : len(many)] for m, x in score.items()}
            reference = np.array([whole[i][0] for i in many])
            if len(few) < 2 or len(many) < 2:
                print(f"  {phase}: too few samples ({len(few)}, {len(many)})")
                continue
            for m in sorted(kl, key=lambda m: kl[m].mean()):
                k, s, p = kl[m].mean(0), score[m].mean(0), rows[m].mean(0) if phase == "prefill" and len(of_rows) > 1 else None
                print(f"  {phase:8}{m:16} KL {k.mean():.4f} +- {half_width(k):.4f} (n {len(k)})" +
                      (f", at rows of the prompt {p.mean():.4f} +- {half_width(p):.4f}" if p is not None else "") + f"; score {s.mean():.3f} +- {half_width(s):.3f} (n {len(s)}); KL by level " +
                      " ".join(f"{v:g}:{x:.3f}" for v, x in zip(levels, kl[m].mean(1))) + "; score " + " ".join(f"{x:.2f}" for x in score[m].mean(1)))
                for v, level in enumerate(levels):
                    some = [methods[m][level][i] for i in many]
                    table.append((*group, phase, m, level, len(few), kl[m][v].mean(), half_width(kl[m][v]), rows[m][v].mean() if p is not None else math.nan, len(many), score[m][v].mean(),
                                  half_width(score[m][v]), *np.mean([x[3:6] for x in some], 0)))
            if len(kl) > 1:
                decisions({m: x.mean(0) for m, x in kl.items()}, {m: x.mean(0) for m, x in score.items()}, reference, (*group, phase, "mean"), at_mean)
                for v, level in enumerate(levels):
                    decisions({m: x[v] for m, x in kl.items()}, {m: x[v] for m, x in score.items()}, reference, (*group, phase, level), at_level)
    print("\nDecisions between methods, at the mean over levels:")
    keys = sorted({r[0][:2] for r in at_mean})
    for key in keys:
        several([r for r in at_mean if r[0][:2] == key], " ".join(key))
    several(at_mean, "all")
    print("and level by level:")
    for key in keys:
        several([r for r in at_level if r[0][:2] == key], " ".join(key))
    several(at_level, "all")
    print("\nEach pair at the mean over levels (1: the first is worse; -1: better; 0: not decided):")
    for where, kind, names, by_kl, by_score, n, few, many, mean, deviation in at_mean:
        if kind == "pair":
            print(f"  {where[0]:14} {where[1]:22} {where[2]:6} {where[3]:8}{names:30} KL of {few}: {by_kl:2d}; score of {many}: {by_score:2d}, difference {mean:+.3f}, deviation {deviation:.3f}, needs {n}")
    print("\nLength: KL at the mean over levels")
    growth(cells)
    print(f"\nseconds that samples took on the device, by their own clocks: {seconds:.0f}")
    if a.csv:
        with open(a.csv + "-cells.csv", "w") as f:
            f.write("model,task,length,phase,method,sparsity,kl_samples,kl,kl_half_width,prompt_kl,score_samples,score,score_half_width,prefill_flops,decode_elements,achieved\n")
            f.writelines(",".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in r) + "\n" for r in table)
        with open(a.csv + "-decisions.csv", "w") as f:
            f.write("model,task,length,phase,sparsity,kind,methods,kl,score,needed,kl_samples,score_samples,difference,deviation\n")
            f.writelines(",".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in (*w, *r)) + "\n" for w, *r in at_mean + at_level)


if __name__ == "__main__":
    main()
