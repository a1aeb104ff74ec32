/* Null: the first and the current key. As little attention as can be, so that what remains is the harness and the rest
 * of the model: the floor under every wall time and every cost. */
#include "methods/method.h"

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return sf_window(a, out, 1, 1);
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    return sf_window(a, out, 1, 1);
}

const sf_method sf_null = {
    .abi = SF_METHOD_ABI,
    .name = "null",
    .summary = "the first and the current key only: measures the harness itself",
    .prefill = prefill,
    .decode = decode,
    .packs = true,
};
