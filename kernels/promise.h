/* How large a sample has to be: what is said of it on every device alike, and the dials that searches within a budget turn. */
#ifndef SF_PROMISE_H
#define SF_PROMISE_H

#include <math.h>

#include "base/splitmix.h"
#include "kernels/attention.h"

/* A search that ends in a number between 0 and 1 tries k / 2^20: finer than one key in a million. */
enum { SF_DIALS = 1 << 20 };

SF_ON_DEVICES static inline double sf_dial_at(int64_t k) { return (double)k / (double)SF_DIALS; }

/* The error that each of the sums is held to, so that what is verified is within `error`. */
SF_ON_DEVICES static inline double sf_error_of_sums(sf_verified verified, double error)
{
    return verified == SF_DENOMINATOR_AND_NUMERATOR ? error / (2 + error) : error;
}

/* The promise at a dial: the higher, the smaller the error, and the more is read. */
SF_ON_DEVICES static inline sf_promise sf_promise_at(sf_promise promise, double dial)
{
    promise.error = sf_error_of_sums(promise.verified, dial > 0 ? 1 / dial - 1 : 1e6);
    return promise;
}

/* The least b with (z n s)² / b · (1 - b / n) <= (error · total)². */
SF_ON_DEVICES static inline double sf_enough(sf_promise promise, double n, double variance, double total)
{
    double relative = promise.z * n / (promise.error * total);
    return variance > 0 ? ceil(1 / (1 / (relative * relative * variance) + 1 / n)) : 0;
}

/* Keys to read: those that are read anyhow, and a sample no smaller than the first. */
SF_ON_DEVICES static inline int32_t sf_sample_size(const sf_moments *m, sf_promise promise)
{
    double most = 0;
    if (promise.verified != SF_NUMERATOR) most = sf_enough(promise, m->others, m->variance, m->total);
    if (promise.verified != SF_DENOMINATOR) most = fmax(most, sf_enough(promise, m->others, m->trace, m->length));
    if (m->drawn < 2) most = m->others;
    return (int32_t)(m->taken + fmin(fmax(most, m->drawn), m->others));
}

#endif
