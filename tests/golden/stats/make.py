"""Golden values for tests/test_stats.c, from NumPy and SciPy: python make.py > golden.json"""
import json
import numpy as np
from scipy import stats

rng = np.random.default_rng(11)


def interval(x):
    r = stats.bootstrap((x,), np.mean, n_resamples=400_000, batch=20_000, method="BCa", rng=np.random.default_rng(5))
    p = stats.bootstrap((x,), np.mean, n_resamples=400_000, batch=20_000, method="percentile", rng=np.random.default_rng(6))
    return [r.confidence_interval.low, r.confidence_interval.high], [p.confidence_interval.low, p.confidence_interval.high]


def mean_of_means(*samples, axis=-1):
    return sum(np.mean(s, axis=axis) for s in samples) / len(samples)


out = {"samples": [], "two": {}, "flips": [], "holm": [], "pareto": [], "quantiles": [], "normal": [], "fits": [], "kendall": []}

for x in (rng.normal(0.3, 0.2, 40), rng.integers(0, 5, 100) / 4.0, rng.exponential(1.0, 25), (rng.random(60) < 0.1) * 1.0):
    bca, percentile = interval(x)
    out["samples"].append({"x": x.tolist(), "mean": x.mean(), "se": stats.sem(x), "bca": bca, "percentile": percentile})

a, b = rng.exponential(1.0, 20), rng.normal(2.0, 1.0, 50)
two = stats.bootstrap((a, b), mean_of_means, n_resamples=400_000, batch=20_000, method="BCa", vectorized=True,
                      rng=np.random.default_rng(7)).confidence_interval
out["two"] = {"a": a.tolist(), "b": b.tolist(), "bca": [two.low, two.high]}

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
