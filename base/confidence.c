#include "base/confidence.h"

#include <math.h>

sf_side sf_confidence_side(int rounds, int strata, const double *x, double low, double high, double at, double alpha)
{
    const double m = (at - low) / (high - low), threshold = log(2 / alpha); /* of the capital, of which either bettor has half */
    double sum = 0.5, squares = 0.25; /* an observation is made up, so that bets begin */
    double up = 0, down = 0;          /* log capital of who bets that the mean is above m, below it */
    sf_side known = {0};
    for (int r = 0; r < rounds; r++) {
        const double t = (double)r * strata + 1, bet = sqrt(2 * log(2 / alpha) / (squares * log1p(t)));
        const double on_up = fmin(bet, SF_BET / m), on_down = fmin(bet, SF_BET / (1 - m));
        for (int s = 0; s < strata; s++) {
            const double y = fmin(fmax((x[(long)r * strata + s] - low) / (high - low), 0), 1);
            up += log1p(on_up * (y - m));
            down += log1p(-on_down * (y - m));
            sum += y;
            const double mean = sum / (t + s + 1);
            squares += (y - mean) * (y - mean);
        }
        known.above |= up >= threshold;
        known.below |= down >= threshold;
    }
    return known;
}
