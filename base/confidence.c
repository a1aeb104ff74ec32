#include "base/confidence.h"

#include <math.h>

/* What has become of 1, the bets weighed by their sizes; a bet multiplies its part by 1 + bet * gain. */
typedef struct capital { double part[SF_BETS]; } capital;

static double size_of(int bet) { return SF_BET * pow(2 / 3.0, bet); }

static capital start(void)
{
    capital c;
    double sum = 0;
    for (int k = 0; k < SF_BETS; k++) sum += c.part[k] = size_of(k);
    for (int k = 0; k < SF_BETS; k++) c.part[k] /= sum;
    return c;
}

static bool grown(const capital *c, double to)
{
    double sum = 0;
    for (int k = 0; k < SF_BETS; k++) sum += c->part[k];
    return sum >= to;
}

sf_side sf_confidence_side(int rounds, int strata, const double *x, double low, double high, double at, double alpha)
{
    const double m = (at - low) / (high - low);
    double size[SF_BETS];
    capital up = start(), down = up; /* of who bets that the mean is above m, below it */
    sf_side known = {0};
    for (int k = 0; k < SF_BETS; k++) size[k] = size_of(k);
    for (int r = 0; r < rounds; r++) {
        for (int s = 0; s < strata; s++) {
            const double y = fmin(fmax((x[(long)r * strata + s] - low) / (high - low), 0), 1), above = (y - m) / m, below = (m - y) / (1 - m);
            for (int k = 0; k < SF_BETS; k++) up.part[k] *= 1 + size[k] * above, down.part[k] *= 1 + size[k] * below;
        }
        known.above |= grown(&up, 2 / alpha);
        known.below |= grown(&down, 2 / alpha);
    }
    return known;
}
