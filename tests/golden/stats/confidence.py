"""First rounds at which a mean is known to be above or below a value (base/confidence.h), by another way: the whole hedged capital
of Waudby-Smith and Ramdas (arXiv 2010.09686, section 4.2) in NumPy, products instead of sums of logarithms. Prints the rows that
tests/test_stopping.c holds: strata, spread, shift, value asked about, first round above, first round below (0: never in 400).

    python3 tests/golden/stats/confidence.py

Made with NumPy 2."""
import numpy as np

ROUNDS, ALPHA, CAP = 400, 0.05, 0.75


def observations(strata, spread, shift):
    i = np.arange(ROUNDS * strata)
    return np.clip(shift + spread * (i * 7919 % 101 / 50 - 1), -1, 1)


def first_rounds(strata, spread, shift, at):
    y, m = (observations(strata, spread, shift) + 1) / 2, (at + 1) / 2
    n = np.arange(1, len(y) + 1)
    means = (0.5 + np.cumsum(y)) / (n + 1)
    squares = 0.25 + np.concatenate([[0], np.cumsum((y - means) ** 2)])  # before each observation
    start = np.arange(len(y)) // strata * strata  # bets of a round are those of its first
    t = start + 1
    bet = np.sqrt(2 * np.log(2 / ALPHA) / (squares[start] / t * t * np.log(1 + t)))
    up = np.cumprod(1 + np.minimum(bet, CAP / m) * (y - m))[strata - 1::strata]
    down = np.cumprod(1 - np.minimum(bet, CAP / (1 - m)) * (y - m))[strata - 1::strata]
    return [int(np.argmax(k / 2 >= 1 / ALPHA)) + 1 if np.any(k / 2 >= 1 / ALPHA) else 0 for k in (up, down)]


for strata, spread, shift in [(1, 0.0, 0.0), (6, 0.0, 0.0), (1, 1.0, 0.0), (6, 1.0, -0.2), (3, 0.5, 0.1), (9, 0.2, -0.05), (1, 0.9, 0.6)]:
    for at in (-0.03, 0, 0.03):
        above, below = first_rounds(strata, spread, shift, at)
        print(f"        {{{strata}, {spread}, {shift}, {at}, {above}, {below}}},")
