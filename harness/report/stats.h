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

/* Resample r of n samples: how often each was drawn, weight [n], summing to n. */
void sf_resample(uint64_t seed, int r, int n, float *weight);

/* A 95 % (or other) interval from bootstrap replicates of a statistic; `replicate` is put in another order. */
void sf_interval_percentile(int replicates, double *replicate, double level, double *low, double *high);

/* The same, bias-corrected and accelerated (Efron 1987; for several independent samples Efron and Tibshirani
 * 1993, 14.3). `influence`: how the statistic moves with each observation, times its weight in the statistic: for a
 * mean of m means, (x - mean of its sample) / (m · n of its sample). Falls back on the percentiles where all replicates
 * are alike. */
void sf_interval_bca(int replicates, double *replicate, double estimate, int n, const double *influence, double level,
                     double *low, double *high);

/* Bootstrap interval (BCa) of the mean of a sample. */
sf_status sf_bootstrap_mean(int n, const double *x, int resamples, uint64_t seed, double level, double *low,
                            double *high);

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
