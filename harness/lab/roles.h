/* What heads would lose if they read the first and the latest keys alone: gates for methods/head_roles.c, found without training. */
#ifndef SF_ROLES_H
#define SF_ROLES_H

#include "harness/engine/engine.h"

typedef struct sf_roles {
    int sinks, recent; /* first and latest keys that a streaming head reads */
    int window;        /* latest queries of a prompt that are looked at */
    int layers, kv_heads;
    double *gate; /* [layers, kv_heads] sums, over prompts, of the share of attention that the group's heads give, on average,
                     to keys that no streaming head could read from any of these queries */
    int prompts;
} sf_roles;

/* Looks at one prompt's dense prefill. Layers with a sliding window of their own stay 0. Error: a prompt of which a streaming
 * head could read all. */
sf_status sf_roles_look(sf_engine *engine, const int32_t *token, int tokens, sf_roles *roles);

#endif
