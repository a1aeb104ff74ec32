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
 * Hedged betting with plug-in bets (Waudby-Smith and Ramdas 2024, JRSS B 86(1), arXiv 2010.09686, section 4.2; a bet puts at most
 * SF_BET of the capital at risk). Within a round all bets are alike, so that by the inequality of the means the product over strata
 * is a test supermartingale for their mean, too: E prod (1 + b(X_s - m)) = prod (1 + b(mu_s - m)) <= (1 + b(mean mu - m))^strata. */
typedef struct sf_side { bool above, below; } sf_side;
sf_side sf_confidence_side(int rounds, int strata, const double *x, double low, double high, double at, double alpha);
#define SF_BET 0.75

#endif
