/* Dense: every causal pair. It is the absence of a method, so it offers no hook; it has a name to be listed and named.
 */
#include "methods/method.h"

const sf_method sf_dense_method = {
    .abi = SF_METHOD_ABI,
    .name = "dense",
    .summary = "every causal pair: what all methods are compared with, run in every sweep",
};
