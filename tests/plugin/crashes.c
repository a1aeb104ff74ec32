/* Reads through a null pointer: ends the program, which says in which hook. */
#include "methods/method.h"

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params;
    const volatile float *bounds = state->tensor[3].data; /* never asked for */
    return sf_window(a, out, 1, bounds[a->keys] > 0 ? 2 : 1);
}

static const sf_method method = {
    .abi = SF_METHOD_ABI, .name = "crashes", .summary = "reads what is not there", .decode = decode};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
