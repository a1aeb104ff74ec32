/* Delta Attention over another method's prefill: see delta.c. */
#ifndef SF_DELTA_H
#define SF_DELTA_H

#include "methods/method.h"

/* What a config says in METHOD: {delta: {every: 64}}: rows of the corrected method's parameters, for a map of their own. */
extern const sf_param sf_delta_params[];

/* The method NAME_delta, which is `base` corrected: its parameters, and delta's behind them, called delta_every, delta_tail, delta_added. The
 * same object each time. NULL: base has no prefill, or is itself corrected, or too many are. */
const sf_method *sf_delta_over(const sf_method *base);

/* What a corrected method corrects; NULL: it is none. */
const sf_method *sf_delta_base(const sf_method *method);

#endif
