/* Misbehaves in the hook and in the way that the environment names: FRONTIER_HOOK=fit|prefill|state|observe|decode|compress|
 * estimate, FRONTIER_HOW=segv|abort|ill|exit|exit0|hang|heap|fail, of estimate nan, infinite or negative too. Elsewhere it is
 * a window. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "methods/method.h"

struct params {
    int local;
};

static const sf_param PARAMS[] = {
    {.name = "local", .type = SF_INT, .offset = offsetof(struct params, local), .budget = true, .low = 1, .high = 1 << 24,
     .initial = 64, .doc = "latest keys that a query reads"},
    {0},
};

static sf_status here(const char *hook)
{
    const char *wanted = getenv("FRONTIER_HOOK"), *how = getenv("FRONTIER_HOW");
    if (!wanted || !how || strcmp(wanted, hook) != 0) return SF_OK;
    if (strcmp(how, "segv") == 0) raise(SIGSEGV);
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "ill") == 0) raise(SIGILL);
    if (strcmp(how, "exit0") == 0) exit(0);
    if (strcmp(how, "exit") == 0) _exit(0);
    while (strcmp(how, "hang") == 0) pause();
    if (strcmp(how, "heap") == 0) {
        volatile char *small = malloc(16);
        for (size_t i = 0; i < (size_t)1 << 26; i++) small[i] = 0x5a; /* far beyond its end */
    }
    return strcmp(how, "fail") == 0 ? sf_fail(SF_BAD_INPUT, "on purpose") : SF_OK;
}

static sf_status fit(const sf_extent *extent, double sparsity, void *params)
{
    struct params *p = params;
    int keys = extent->phase == SF_PREFILL ? sf_fit_blocks(extent, 1, sparsity) : sf_fit_keys(extent, sparsity);
    p->local = keys > 1 ? keys : 1;
    return here("fit");
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    sf_status status = here("prefill");
    return status != SF_OK ? status : sf_window(a, out, 0, p->local);
}

static sf_status state(const sf_attention *a, const void *params, int max_keys, sf_state *out)
{
    (void)a, (void)params, (void)max_keys, (void)out;
    return here("state");
}

static sf_status compress(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    (void)params;
    sf_status status = here("compress");
    return status != SF_OK ? status : sf_dense(a, out);
}

static sf_status observe(sf_attention *a, const void *params, sf_state *s, int first)
{
    (void)a, (void)params, (void)s, (void)first;
    return here("observe");
}

static sf_status decode(sf_attention *a, const void *params, sf_state *s, sf_pattern *out)
{
    const struct params *p = params;
    (void)s;
    sf_status status = here("decode");
    return status != SF_OK ? status : sf_window(a, out, 0, p->local);
}

static sf_estimate estimate(const sf_extent *extent, const void *params)
{
    (void)extent, (void)params;
    here("estimate");
    const char *wanted = getenv("FRONTIER_HOOK"), *how = getenv("FRONTIER_HOW");
    if (!wanted || !how || strcmp(wanted, "estimate") != 0) return (sf_estimate){0};
    if (strcmp(how, "nan") == 0) return (sf_estimate){0, NAN};
    if (strcmp(how, "infinite") == 0) return (sf_estimate){INFINITY, 0};
    return (sf_estimate){strcmp(how, "negative") == 0 ? -1e300 : 0, 0};
}

static const sf_method method = {.abi = SF_METHOD_ABI, .name = "misbehaves", .summary = "a window, if it is let",
                                 .params = PARAMS, .params_size = sizeof(struct params), .fit = fit, .prefill = prefill,
                                 .compress = compress, .state = state, .observe = observe, .decode = decode, .estimate = estimate};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
