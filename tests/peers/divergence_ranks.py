"""Rank correlation of methods by divergence with a few samples, and by score with many others: of an exported sweep.

    frontier export results/divergence-ranks.h5 --csv | python3 tests/peers/divergence_ranks.py [--few 10] [--at own|answer]
                                                                                               [--by kl|log_kl|disagreement|nll] [--half a|b]

For each model, task, length and phase, arms at all their levels are ranked by the mean KL over the first few samples of their
own phase (tasks that the dense model solves alone, so that there is something to lose), and by the loss of the mean strict score
over all other samples, so that no sample stands on both sides. Spearman's rho and Kendall's tau-b of both, each with a 95 % interval
by resampling the samples (2000 times); beside them those of the score of the few. Samples beyond the few may lack divergence, which is dear (a run with `measures: [score]` adds
them to the same file). --at answer: of prefill methods too along the answer that dense wrote, instead of at rows of the prompt; --by: the share of
tokens that the arm would not have written, or what it loses in log-likelihood, or the mean of the KL's logarithm, instead of the KL;
--half: even or odd samples alone, of the few and of the others, so that what is chosen on one half is tried on the other. Needs numpy."""
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


def tau(a, b):
    i, j = np.triu_indices(len(a), 1)
    x, y = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
    whole = np.sqrt((x != 0).sum() * (y != 0).sum())
    return (x * y).sum() / whole if whole else np.nan


def interval(measure, table, few):
    rng, n, drawn = np.random.default_rng(1), table.shape[1], [] # samples beyond the few are the others
    for _ in range(2000):
        some, every = rng.integers(0, few, few), rng.integers(few, n, n - few)
        drawn.append(measure(table[:, some, 0].mean(1), -table[:, every, 1].mean(1)))
    return np.nanquantile(drawn, [0.025, 0.975])


def ceiling(table, few, splits=500):
    """How well the others' score ranks itself: rho between halves of the other samples, mean and 95 % of random splits."""
    rng, others, half = np.random.default_rng(2), table[:, few:, 1], (table.shape[1] - few) // 2
    drawn = []
    for _ in range(splits):
        order = rng.permutation(others.shape[1])
        drawn.append(rho(others[:, order[:half]].mean(1), others[:, order[half:2 * half]].mean(1)))
    return half, np.nanmean(drawn), *np.nanquantile(drawn, [0.025, 0.975])


def told_apart(table, few):
    """Pairs of arms that the others' paired scores tell apart (2 standard errors): how many, and the share of them that the few order
    likewise, by their measure and by their score (a tie counts half); beside them all pairs."""
    kl, early, others = table[:, :few, 0].mean(1), table[:, :few, 1].mean(1), table[:, few:, 1]
    by_kl, by_score, pairs = 0.0, 0.0, 0
    i, j = np.triu_indices(len(kl), 1)
    for a, b in zip(i, j):
        difference = others[a] - others[b]
        if abs(difference.mean()) <= 2 * difference.std(ddof=1) / np.sqrt(len(difference)):
            continue
        sign, pairs = np.sign(difference.mean()), pairs + 1
        by_kl += (1 + sign * np.sign(kl[b] - kl[a])) / 2
        by_score += (1 + sign * np.sign(early[a] - early[b])) / 2
    return pairs, len(i), by_kl / max(pairs, 1), by_score / max(pairs, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--at", choices=["own", "answer"], default="own")
    parser.add_argument("--by", choices=["kl", "log_kl", "disagreement", "nll"], default="kl")
    parser.add_argument("--half", choices=["a", "b"])
    a = parser.parse_args()

    def measured(r, phase):
        at = "decode" if a.at == "answer" else phase
        if not r[at + "_kl"]:
            return np.nan
        value = {name: float(r[f"{at}_{name}"]) for name in ("kl", "agreement", "nll", "dense_nll")}
        return {"kl": value["kl"], "log_kl": np.log(max(value["kl"], 1e-12)), "disagreement": 1 - value["agreement"], "nll": value["nll"] - value["dense_nll"]}[a.by]

    csv.field_size_limit(1 << 30)
    cells = collections.defaultdict(lambda: collections.defaultdict(dict))  # group -> (arm, level) -> sample -> (kl, score)
    dense = collections.defaultdict(dict)
    for r in csv.DictReader(sys.stdin):
        if a.half and int(r["sample"]) % 2 != "ab".index(a.half):
            continue
        group = r["model"], r["task_label"], int(r["length"])
        if r["prefill_method"] == r["decode_method"] == "dense":
            dense[group][int(r["sample"])] = float(r["strict"])
            continue
        phase = "prefill" if r["prefill_method"] != "dense" else "decode"
        arm = r[phase + "_label"], r[phase + "_sparsity"]
        cells[group + (phase,)][arm][int(r["sample"])] = measured(r, phase), float(r["strict"])
    found = collections.defaultdict(list)
    if a.half:
        a.few = sum(i % 2 == "ab".index(a.half) for i in range(a.few))
    print(f"{'model':18}{'task':17}{'tokens':>7} {'phase':8}{'arms':>5}{'n':>5}{'dense':>7}  {a.by} of {a.few} and score of the others: rho, tau{'':17}score of {a.few}: rho, tau")
    for key in sorted(cells):
        arms, whole = cells[key], dense[key[:3]]
        n = min(len(v) for v in arms.values())
        table = np.array([[arms[k][i] for i in sorted(arms[k])[:n]] for k in sorted(arms)])  # [arms, samples, 2]
        score = np.mean(list(whole.values()))
        if score < 0.3 or n <= a.few:
            continue
        kl, all_scores = table[:, :a.few, 0].mean(1), -table[:, a.few:, 1].mean(1)
        if np.isnan(kl).any():
            sys.exit(f"{key}: the first {a.few} samples have no divergence")
        early, row = -table[:, :a.few, 1].mean(1), []
        for measure in (rho, tau):
            low, high = interval(measure, table, a.few)
            row += [measure(kl, all_scores), low, high, measure(early, all_scores)]
        found[key[3]].append(row)
        print(f"{key[0]:18}{key[1]:17}{key[2]:7} {key[3]:8}{len(arms):5}{n - a.few:5}{score:7.2f}  "
              f"{row[0]:6.3f} [{row[1]:6.3f}, {row[2]:6.3f}]  {row[4]:6.3f} [{row[5]:6.3f}, {row[6]:6.3f}]      {row[3]:6.3f}  {row[7]:6.3f}")
        half, mean, low, high = ceiling(table, a.few)
        pairs, all_pairs, by_kl, by_score = told_apart(table, a.few)
        print(f"{'':25}score of {half} and of another {half}: rho {mean:.3f} [{low:.3f}, {high:.3f}]; {sum(s > score - 0.01 for s in -all_scores)} of {len(arms)} arms within 0.01 of dense; "
              f"{pairs} of {all_pairs} pairs told apart by {n - a.few}, likewise by {a.by} of {a.few} {by_kl:.3f}, by score of {a.few} {by_score:.3f}")
    for phase, x in found.items():
        x = np.nanmedian(np.array(x), 0)
        print(f"{phase}: medians over {len(found[phase])} groups: {a.by} of {a.few}: rho {x[0]:.3f}, tau {x[4]:.3f}; score of {a.few}: rho {x[3]:.3f}, tau {x[7]:.3f}")


if __name__ == "__main__":
    main()
