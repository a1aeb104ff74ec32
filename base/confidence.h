/* What is known of a mean however often one looks: tests that hold at every number of samples at once, so that one may look after each
 * of them and stop when one knows. */
#ifndef SF_CONFIDENCE_H
#define SF_CONFIDENCE_H

#include <stdbool.h>

/* Of the mean over `strata` means of observations within [low, high], after so many rounds, each of which brought one independent
 * observation of every stratum, x [rounds, strata]: whether it is known to be above `at`, and whether to be below. With probability
 * 1 - alpha neither is ever said wrongly, of any `at`, at any round, whatever is done between rounds: where both are asked of all
 * `at`, what they leave is a confidence sequence.
 *
 * Hedged betting on a grid of bets (Waudby-Smith and Ramdas 2024, JRSS B 86(1), arXiv 2010.09686, section 4.2, their grid Kelly): the capital
 * of who bets that the mean is above m is the mean, weighed by f, of prod (1 + f (y / m - 1)) over f = SF_BET (2/3)^k, k < SF_BETS, y the
 * observations taken to [0, 1]; of who bets that it is below, alike with 1 - y and 1 - m. Proof: each f is chosen beforehand and is one for
 * all of a round, so that by the inequality of the means E prod (1 + f (Y_s / m - 1)) <= (1 + f (mean mu / m - 1))^strata <= 1 where
 * the mean is at most m; a mean of such supermartingales is one, and none ever comes to 2 / alpha but with alpha / 2 (Ville). Every
 * factor falls as m rises, so that whoever says "above" wrongly of any `at` would do so of the true mean. A large bet finds out soon,
 * a small one still gains where differences are small and noisy; of a bet that loses, the others keep their capital. */
typedef struct sf_side { bool above, below; } sf_side;
sf_side sf_confidence_side(int rounds, int strata, const double *x, double low, double high, double at, double alpha);
enum { SF_BETS = 8 };
#define SF_BET 0.75

#endif
