"""Checks a report's numbers against NumPy and SciPy, computed anew from the exported rows.

    frontier export results/demo.h5 > rows.csv
    frontier report results/demo.h5 --out demo-report
    python tests/golden/stats/check_report.py rows.csv demo-report
"""
import csv
import sys
from collections import defaultdict

import numpy as np
from scipy import stats

rows_file, report = sys.argv[1:3]
csv.field_size_limit(1 << 30)
cells = defaultdict(dict)  # (model, tokens, arm, requested) -> task -> {sample: strict}
info = {}


def level(x):
    return "set" if x == "" else f"{float(x):.2f}"


for r in csv.DictReader(open(rows_file)):
    prefill, decode = r["prefill_method"] != "dense", r["decode_method"] != "dense"
    arm = "dense"
    if prefill or decode:
        arm = " + ".join(r[p + "_label"] for p, on in (("prefill", prefill), ("decode", decode)) if on)
    requested = level(r["decode_sparsity"]) if decode and not prefill else level(r["prefill_sparsity"])
    if prefill and decode and level(r["prefill_sparsity"]) != level(r["decode_sparsity"]):
        requested = level(r["prefill_sparsity"]) + "/" + level(r["decode_sparsity"])
    key = (r["model"], r["length"], arm, requested)
    cells[key].setdefault(r["task_label"], {})[int(r["sample"])] = float(r["strict"])
    i = info.setdefault(key, defaultdict(lambda: defaultdict(list)))
    for name in ("prefill_cost_paper", "decode_cost_paper", "prefill_achieved", "decode_achieved", "parameters", "weight_elements"):
        i[name][r["task_label"]].append(float(r[name]))


def mean_over_tasks(i):
    return np.mean([np.mean(x) for x in i.values()])


worst = defaultdict(float)


def check(what, got, want, tolerance):
    error = abs(got - want)
    worst[what] = max(worst[what], error / tolerance)
    if not error <= tolerance:
        sys.exit(f"{what}: report {got}, NumPy {want}")


def mean_of_means(*samples, axis=-1):
    return sum(np.mean(s, axis=axis) for s in samples) / len(samples)


def bounded(samples, least, most, rng, draws=10_000):
    """Bayesian bootstrap of a mean of means, an unseen sample put at the bound beyond each end (harness/report/stats.h)."""
    means, fewest = len(samples), min(map(len, samples))
    seen = sum(rng.dirichlet(np.ones(len(s)), draws) @ s for s in samples) / means
    n = fewest if fewest < 2 else fewest * (means if fewest >= 10 else np.sqrt(means))
    u, own = rng.random(draws), [np.mean(s) for s in samples]
    beside_all, beside_one = 1 - u ** (1 / n), (1 - u ** (1 / fewest)) / means * (means > 1)
    below = seen - np.maximum(beside_all * (seen - least), beside_one * (max(own) - least))
    above = seen + np.maximum(beside_all * (most - seen), beside_one * (most - min(own)))
    return np.quantile(below, 0.025), np.quantile(above, 0.975)


table = list(csv.DictReader(open(f"{report}/tables/scores.csv")))
p_values, points = [], 0
for n, r in enumerate(table):
    key = (r["model"], r["tokens"], r["arm"], r["requested"])
    tasks = cells[key]
    samples = [np.array(list(t.values())) for t in tasks.values()]
    check("score", float(r["score"]), mean_of_means(*samples), 1e-5)
    error = np.sqrt(sum(stats.sem(s) ** 2 for s in samples)) / len(samples)
    check("standard error", float(r["standard_error"]), error, 1e-5)
    if r["difference"] == "":
        continue
    dense = cells[(r["model"], r["tokens"], "dense", "0.00")]
    differences = [np.array([t[s] - dense[name][s] for s in sorted(t)]) for name, t in tasks.items()]
    difference = mean_of_means(*differences)
    check("difference", float(r["difference"]), difference, 1e-5)
    flat = np.concatenate([d / len(d) / len(differences) for d in differences])
    flat = flat[flat != 0]
    rng = np.random.default_rng(n)
    if len(flat) == 0:
        p = 1.0
    elif len(flat) <= 13:
        signs = 1 - 2 * ((np.arange(2 ** len(flat))[:, None] >> np.arange(len(flat))) & 1)
        p = np.mean(np.abs(signs @ flat) >= abs(flat.sum()) - 1e-12)
    else:
        signs = rng.choice([-1.0, 1.0], size=(100_000, len(flat)))
        p = (1 + np.sum(np.abs(signs @ flat) >= abs(flat.sum()) - 1e-12)) / 100_001
    got = float(r["p"])
    if got < 2e-5:  # the bound stands in below what resampling sees
        check("p, bound", got, 0, 2e-5)
        if p > 1e-3:
            sys.exit(f"p of {key}: report {got}, NumPy {p}")
    else:
        check("p", got, p, 4 * np.sqrt(p * (1 - p) * (1 / 50_000 + 1 / 100_000)) + 1e-4)
    p_values.append((got, float(r["p_holm"])))
    for low, high, data, least in (("difference_low", "difference_high", differences, -1), ("low", "high", samples, 0)):
        want = bounded(data, least, 1, rng)
        check("interval", float(r[low]), want[0], 0.06 * (want[1] - want[0]))
        check("interval", float(r[high]), want[1], 0.06 * (want[1] - want[0]))
        points += 1

order = np.argsort([p for p, _ in p_values], kind="stable")
highest = 0.0
for rank, at in enumerate(order):
    highest = max(highest, min(1.0, (len(order) - rank) * p_values[at][0]))
    check("Holm", p_values[at][1], highest, 1e-4 * highest + 1e-9)

panels = defaultdict(list)
for r in csv.DictReader(open(f"{report}/figures/frontier.csv")):
    panels[r["phase"], r["tokens"]].append(r)
    key = (r["model"], r["tokens"], r["arm"], r["requested"])
    i, batch = info[key], 64
    cost = batch * mean_over_tasks(i["prefill_cost_paper"])
    if r["phase"] == "decode":
        weights = mean_over_tasks(i["weight_elements"])
        cost = weights + batch * (mean_over_tasks(i["decode_cost_paper"]) - weights)
    check("cost", float(r["cost"]) / cost, 1, 1e-5)
members = 0
for rows in panels.values():
    rows.sort(key=lambda r: float(r["cost"]))
    costs = [float(r["cost"]) for r in rows]
    for i in range(1, len(costs)):
        if float(rows[i]["cost"]) < costs[i - 1] * 1.01:
            costs[i] = costs[i - 1]
    for c, r in zip(costs, rows):
        s = float(r["score"])
        dominated = any(d <= c and float(o["score"]) >= s and (d < c or float(o["score"]) > s) for d, o in zip(costs, rows))
        if (r["on_frontier"] == "1") == dominated:
            sys.exit(f"frontier: {r}")
        members += not dominated

fits = 0
for r in csv.DictReader(open(f"{report}/tables/fits.csv")):
    x, y = [], []
    for key, tasks in cells.items():
        if key[2] not in ("dense", r["arm"]):
            continue
        score = mean_of_means(*[np.array(list(t.values())) for t in tasks.values()])
        half = 0.5 / (sum(len(t) for t in tasks.values()) + 1)
        score = min(1 - half, max(half, score))
        phases = [p for p in ("prefill", "decode") if abs(mean_over_tasks(info[key][p + "_achieved"])) > 0]
        sparsity = mean_over_tasks(info[key][phases[0] + "_achieved"]) if phases and key[2] != "dense" else 0.0
        x.append([1, np.log(mean_over_tasks(info[key]["parameters"])), np.log(float(key[1])), np.log(1 - sparsity)])
        y.append(np.log(score / (1 - score)))
    x = np.array(x)
    use = [0] + [j for j in (1, 2, 3) if np.ptp(x[:, j]) > 0]
    want = np.linalg.lstsq(x[:, use], np.array(y), rcond=None)[0]
    names = ["constant", "ln_parameters", "ln_tokens", "ln_budget"]
    for j, w in zip(use, want):
        check("fit", float(r[names[j]]), w, 1e-3 * max(1, abs(w)))
    fits += 1

print(f"{len(table)} points, {len(p_values)} tests, {points} intervals, {members} frontier members, {fits} fits agree; largest error as a share "
      "of its tolerance: " + ", ".join(f"{k} {v:.2f}" for k, v in worst.items()))
