/* Loads, but chooses blocks and pages that do not exist: its hooks fail, and nothing is read out of bounds. */
#include "methods/method.h"

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    int32_t count[256], index[256], rows = a->heads * ((a->queries + 15) / 16);
    for (int32_t i = 0; i < rows && i < 256; i++) count[i] = 1, index[i] = a->keys / 16 + 7;
    return sf_blocks(a, out, a->heads, 16, 16, sf_host_lists(a, rows, 1, count, index));
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    int32_t count[16] = {0}, index[16] = {0};
    for (int g = 0; g < a->kv_heads; g++) count[g] = 1, index[g] = -1;
    return sf_pages(a, out, 16, sf_host_lists(a, a->kv_heads, 1, count, index));
}

static const sf_method method = {
    .abi = SF_METHOD_ABI, .name = "out_of_range", .summary = "what is not there", .prefill = prefill, .decode = decode};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
