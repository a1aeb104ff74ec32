/* Shows that it was loaded: makes the file that FRONTIER_TRACE names. */
#include <stdio.h>
#include <stdlib.h>

#include "methods/method.h"

__attribute__((constructor)) static void leave_trace(void)
{
    const char *path = getenv("FRONTIER_TRACE");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) fclose(f);
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    return sf_window(a, out, 4, 64);
}

static const sf_method method = {
    .abi = SF_METHOD_ABI, .name = "leaves_trace", .summary = "a window", .prefill = prefill};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
