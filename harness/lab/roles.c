#include "harness/lab/roles.h"

#include <stdlib.h>

/* As a method that chooses everything, and writes down what it sees. */
struct params {
    sf_roles *into;
};

static sf_status look(sf_attention *a, const void *params, sf_pattern *out)
{
    sf_roles *r = ((const struct params *)params)->into;
    int rows = r->window < a->queries ? r->window : a->queries;
    size_t keys = (size_t)a->keys, groups = (size_t)a->kv_heads;
    float *column = malloc(groups * keys * sizeof *column); /* [G, keys] */
    sf_tensor seen;
    if (!column) a->status = sf_fail(SF_NO_MEMORY, "roles: %zu keys", keys);
    sf_probe(a, rows, SF_SUM, &seen, NULL);
    sf_read(a, sf_group(a, seen, SF_MEAN), column);
    for (size_t g = 0; g < groups && !a->status; g++)
        for (int j = r->sinks; j <= a->keys - rows - r->recent; j++)
            r->gate[(size_t)a->layer * groups + g] += (double)column[g * keys + (size_t)j] / rows;
    free(column);
    return sf_dense(a, out);
}

static const sf_method LOOKER = {
    .abi = SF_METHOD_ABI,
    .name = "roles",
    .params_size = sizeof(struct params),
    .prefill = look,
};

sf_status sf_roles_look(sf_engine *engine, const int32_t *token, int tokens, sf_roles *r)
{
    if (tokens <= r->sinks + r->recent + r->window)
        return sf_fail(SF_BAD_INPUT,
                       "roles: a prompt of %d tokens, of which %d first keys, %d latest ones and %d queries leave nothing to look at; "
                       "ask for longer ones, or for fewer",
                       tokens, r->sinks, r->recent, r->window);
    const struct params params = {r};
    int32_t output[1];
    sf_lane lane = {.prefill = &LOOKER, .prefill_params = &params, .output = output};
    const sf_generation how = {.max_output = 1};
    SF_TRY(sf_engine_generate(engine, token, tokens, &how, 1, &lane));
    r->prompts++;
    return SF_OK;
}
