/* The statistics of a report: intervals and tests for means of paired samples, Pareto frontiers.
 *
 * Everything random takes a seed and is a function of it alone, not of the thread count or of what was computed before.
 */
#ifndef SF_STATS_H
#define SF_STATS_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* Mean, and its standard error: sample standard deviation (n - 1) / sqrt(n), NAN for n < 2. Mean NAN for n = 0. */
void sf_mean_error(int n, const double *x, double *mean, double *error);

/* Quantile q of sorted x, interpolated linearly between order statistics (type 7, NumPy's default). */
double sf_quantile(int n, const double *sorted, double q);

double sf_normal_cdf(double z);
double sf_normal_quantile(double p);

/* Seed of a part of a larger computation: stable under everything but its arguments. */
uint64_t sf_seed_of(uint64_t seed, const char *what);

/* Weights of resample r of n samples, weight [n] > 0, summing to n: the Bayesian bootstrap (Rubin 1981). */
void sf_resample(uint64_t seed, int r, int n, float *weight);

/* What a mean of means stands on. */
typedef struct sf_basis {
    int means, fewest;      /* how many means; samples of the one that has the fewest */
    double least, most;     /* bounds of every observation */
    double lowest, highest; /* of the means */
} sf_basis;

/* The interval of a mean, or of a mean of means, from its Bayesian bootstrap: each end is read off after one more observation,
 * never seen, has been put at the bound beyond it (Gaffke 2005, Three test statistics for a nonparametric one-sided hypothesis
 * on the mean of a nonnegative variable; Learned-Miller and Thomas 2019, arXiv 1905.06208). Of answers that are right or wrong
 * this is Clopper and Pearson's interval; where all observations are alike, n of them leave out a share of
 * 1 - ((1 - level) / 2)^(1/n) at the far bound: it holds from the first sample on. Of several means the unseen one stands
 * beside all samples, or beside those of one mean alone, whichever says less.
 * replicate [2 * replicates], whose second half is room to work in. */
void sf_interval_bounded(int replicates, double *replicate, const sf_basis *basis, double level, double *low, double *high);

/* That interval for the mean of a sample. */
sf_status sf_bootstrap_mean(int n, const double *x, double least, double most, int resamples, uint64_t seed, double level,
                            double *low, double *high);

/* Two-sided paired permutation test of "the mean difference is 0": signs of the differences are flipped. Exact where
 * there are at most `resamples` sign patterns, else (1 + as extreme) / (1 + resamples). Resampling cannot see below
 * that, and a correction for many tests would drown what is clear: there p is the bound 6.36 · P(Z >= |sum d| /
 * sqrt(sum d²)), which the exact p-value never exceeds (Bentkus and Dzindzalieta 2015, weighted sums of random signs).
 * For a mean of several means scale each difference by its weight. No difference at all: 1. */
sf_status sf_sign_flip_test(int n, const double *difference, int resamples, uint64_t seed, double *p);

/* Holm's step-down correction: adjusted p-values, in the order given. NAN stays NAN and does not count. */
sf_status sf_holm(int n, const double *p, double *adjusted);

/* Costs within this factor of one another are one cost: no dearer in a finding, one place on a frontier. */
#define SF_SAME_COST 1.01

/* on[i]: no other point costs at most as much and scores at least as much, one of them strictly. NAN: never on. Of
 * points equal in both all are on. */
sf_status sf_pareto(int n, const double *cost, const double *score, bool *on);

/* How often each point is on the frontier of a resample. cost [n] ascending, replicate [n, resamples] scores. */
void sf_pareto_probability(int n, const double *cost, int resamples, const float *replicate, double *probability);

/* Least squares: coefficients of y [n] on x [n, k] (add a column of ones for an intercept), by QR with Householder
 * reflections. Error: fewer rows than columns, or columns that depend on each other. */
sf_status sf_least_squares(int n, int k, const double *x, const double *y, double *coefficient);

/* Kendall's tau-b of two rankings; NAN where one is constant. */
double sf_kendall(int n, const double *a, const double *b);

#endif
