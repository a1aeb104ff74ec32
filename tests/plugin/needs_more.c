/* Calls a function that Frontier does not have: refused at load. */
#include "methods/method.h"

sf_status sf_not_there(sf_attention *a, sf_pattern *out);

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return sf_not_there(a, out);
}

static const sf_method method = {
    .abi = SF_METHOD_ABI, .name = "needs_more", .summary = "asks for too much", .prefill = prefill};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
