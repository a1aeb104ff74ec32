"""How often the report's 95 % intervals hold the truth, computed without it: python coverage.py

Means of T tasks, n samples of each, every answer right with a chance of its own; intervals as harness/report/stats.h has them
(Bayesian bootstrap, one unseen sample at the bound). A row a T and n; columns: all chances .02, .1, .3, .5, and a mixture.

With NumPy 2.4 the lowest of all is .953 (T=2, n=20, chances .3; the standard error of a share is .011 there). tests/test_stats.c
sums the coverage of one task, and of two with any two chances, over all outcomes.
"""
import numpy as np

rng = np.random.default_rng(2)
DRAWS, TRIALS = 1000, 400
MIXED = np.array([0.0, 0.8, 0.1, 0.95, 0.5, 0.02, 0.9, 0.3, 1.0])


def standing(means, n):
    return n if n < 2 else n * (means**0.5 if n < 10 else means)


def coverage(chance, n):
    covered, means = 0, len(chance)
    for _ in range(TRIALS):
        right = rng.binomial(n, chance)
        seen = np.zeros(DRAWS)
        for k in right:  # uniform weights on the simplex: the mean of k ones among n is Beta(k, n - k)
            seen += (k / n if k in (0, n) else rng.beta(k, n - k, DRAWS)) / means
        u = rng.random(DRAWS)  # of Beta(1, n), by its inverse
        beside_all, beside_one = 1 - u ** (1 / standing(means, n)), (1 - u ** (1 / n)) / means * (means > 1)
        below = seen - np.maximum(beside_all * seen, beside_one * right.max() / n)
        above = seen + np.maximum(beside_all * (1 - seen), beside_one * (1 - right.min() / n))
        covered += np.quantile(below, 0.025) <= np.mean(chance) <= np.quantile(above, 0.975)
    return covered / TRIALS


if __name__ == "__main__":
    for means in (1, 2, 4, 9):
        for n in (1, 2, 5, 10, 20):
            chances = [np.full(means, p) for p in (0.02, 0.1, 0.3, 0.5)] + [MIXED[:means]]
            print(f"T={means} n={n:3d}", " ".join(f"{coverage(c, n):.3f}" for c in chances), flush=True)
