"""First rounds at which a mean is known to be above or below a value (base/confidence.h), by another way: the capitals of the
grid of bets of Waudby-Smith and Ramdas (arXiv 2010.09686, grid Kelly) in NumPy, sums of logarithms instead of products. Prints the rows that
tests/test_stopping.c holds: strata, spread, shift, value asked about, first round above, first round below (0: never in 400).

    python3 tests/golden/stats/confidence.py

Made with NumPy 2."""
import numpy as np

ROUNDS, ALPHA = 400, 0.05
BETS = 0.75 * (2 / 3) ** np.arange(8)[:, None]


def observations(strata, spread, shift):
    i = np.arange(ROUNDS * strata)
    return np.clip(shift + spread * (i * 7919 % 101 / 50 - 1), -1, 1)


def first_rounds(strata, spread, shift, at):
    y, m = (observations(strata, spread, shift) + 1) / 2, (at + 1) / 2
    weigh = lambda gain: np.logaddexp.reduce(np.log(BETS / BETS.sum()) + np.cumsum(np.log1p(BETS * gain), axis=1), axis=0)[strata - 1::strata]
    up, down = weigh(y / m - 1), weigh((1 - y) / (1 - m) - 1)
    return [int(np.argmax(k >= np.log(2 / ALPHA))) + 1 if np.any(k >= np.log(2 / ALPHA)) else 0 for k in (up, down)]


for strata, spread, shift in [(1, 0.0, 0.0), (6, 0.0, 0.0), (1, 1.0, 0.0), (6, 1.0, -0.2), (3, 0.5, 0.1), (9, 0.2, -0.05), (1, 0.9, 0.6)]:
    for at in (-0.03, 0, 0.03):
        above, below = first_rounds(strata, spread, shift, at)
        print(f"        {{{strata}, {spread}, {shift}, {at}, {above}, {below}}},")
