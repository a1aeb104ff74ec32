"""Golden values for tests/test_stats.c, from NumPy and SciPy: python make.py > golden.json"""
import json
import numpy as np
from scipy import stats

rng = np.random.default_rng(11)


def bayesian(x, extra, draws=400_000):
    """Means of x, and of the values in `extra`, under weights drawn uniformly from the simplex."""
    values = np.append(x, extra)
    return np.concatenate([rng2.dirichlet(np.ones(len(values)), 10_000) @ values for _ in range(draws // 10_000)])


def bounded(x, least, most):
    return [np.quantile(bayesian(x, [least]), 0.025), np.quantile(bayesian(x, [most]), 0.975)]


rng2 = np.random.default_rng(5)
out = {"samples": [], "binary": [], "alike": [], "flips": [], "holm": [], "pareto": [], "quantiles": [], "normal": [], "fits": [],
       "kendall": []}

for x, least, most in ((rng.uniform(0, 0.6, 40), 0, 1), (rng.integers(0, 5, 100) / 4.0, 0, 1), (rng.integers(-1, 3, 25) / 4.0, -1, 1),
                       ((rng.random(60) < 0.1) * -0.5, -1, 1), (np.array([0.25, 0.5]), 0, 1)):
    b = bayesian(x, [])
    out["samples"].append({"x": x.tolist(), "least": least, "most": most, "mean": x.mean(), "se": stats.sem(x),
                           "bounded": bounded(x, least, most), "seen": [np.quantile(b, 0.025), np.quantile(b, 0.975)]})

for n, k in ((1, 0), (1, 1), (2, 1), (5, 0), (5, 2), (20, 0), (20, 1), (20, 13), (100, 99)):  # Clopper and Pearson
    low, high = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    out["binary"].append({"n": n, "k": k, "low": low, "high": high})

for n in (1, 2, 5, 20, 59, 72):  # differences, all 0
    out["alike"].append({"n": n, "loss": stats.beta.ppf(0.975, 1, n)})

for d in (rng.normal(0.4, 1.0, 10), np.round(rng.normal(0.2, 0.5, 12) * 4) / 4, rng.normal(0.1, 0.5, 80),
          np.array([0.25] * 9 + [-0.25] * 3 + [0.0] * 40), np.zeros(5)):
    if np.any(d):
        p = stats.permutation_test((d, np.zeros_like(d)), lambda x, y, axis: np.mean(x - y, axis=axis), vectorized=True,
                                   permutation_type="samples", n_resamples=1_000_000 if len(d) > 12 else np.inf,
                                   batch=20_000, rng=np.random.default_rng(8)).pvalue
    else:
        p = 1.0
    out["flips"].append({"d": d.tolist(), "p": p})


def holm(p):
    order, adjusted, highest = np.argsort(p, kind="stable"), np.empty(len(p)), 0.0
    for i, at in enumerate(order):
        highest = max(highest, (len(p) - i) * p[at])
        adjusted[at] = min(1.0, highest)
    return adjusted


for p in (np.array([0.01, 0.04, 0.03, 0.005]), rng.random(30) ** 3, np.array([0.5, 0.5, 0.5])):
    out["holm"].append({"p": p.tolist(), "adjusted": holm(p).tolist()})

for n, levels in ((40, 1000), (60, 6)):
    cost, score = rng.integers(1, levels, n).astype(float), rng.integers(0, levels, n) / levels
    on = [not np.any((cost <= c) & (score >= s) & ((cost < c) | (score > s))) for c, s in zip(cost, score)]
    out["pareto"].append({"cost": cost.tolist(), "score": score.tolist(), "on": [int(o) for o in on]})

x = np.sort(rng.normal(size=17))
out["quantiles"] = {"x": x.tolist(), "q": [[q, float(np.quantile(x, q))] for q in (0, 0.025, 0.3, 0.5, 0.975, 1)]}
out["normal"] = [[z, stats.norm.cdf(z)] for z in (-8, -3, -1.96, 0, 0.5, 1.2, 4)]

x = np.column_stack([np.ones(30), rng.normal(20, 3, 30), rng.normal(0, 0.01, 30)])
y = x @ np.array([1.0, -0.3, 25.0]) + rng.normal(0, 0.1, 30)
out["fits"] = {"x": x.ravel().tolist(), "y": y.tolist(), "coefficient": np.linalg.lstsq(x, y, rcond=None)[0].tolist()}

a = rng.integers(0, 6, 15).astype(float)
b = a + rng.integers(-2, 3, 15)
out["kendall"] = {"a": a.tolist(), "b": b.tolist(), "tau": stats.kendalltau(a, b).statistic}


def rounded(x):
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else float(x)


print(json.dumps(rounded(out)))
