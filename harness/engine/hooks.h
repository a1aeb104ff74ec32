/* Calling a method's hooks: the one place where a method is trusted with nothing. Failures name the method, the hook
 * and the layer; a choice that breaks the contract is such a failure. The backend's meter must point at the lane
 * served. */
#ifndef SF_HOOKS_H
#define SF_HOOKS_H

#include "harness/engine/arena.h"
#include "methods/method.h"

typedef enum sf_hook { SF_HOOK_PREFILL, SF_HOOK_COMPRESS, SF_HOOK_DECODE } sf_hook;

/* Sets the budget parameters of `params` for a target sparsity, and checks what fit() made of them. */
sf_status sf_hook_fit(const sf_method *method, const sf_extent *extent, double sparsity, void *params);

/* The pattern that the method chooses, checked. It lives in scratch: the caller marks before and releases after use.
 * `state` may be NULL but for SF_HOOK_DECODE. */
sf_status sf_hook_choose(sf_hook hook, sf_attention *a, const sf_method *method, const void *params, sf_state *state,
                         sf_pattern *out);

/* What settle() chooses for `layers` layers, checked: dense or keys to keep. Their attentions, states and patterns: [layers]. */
sf_status sf_hook_settle(int layers, sf_attention *a, const sf_method *method, const void *params, const sf_state *state,
                         sf_pattern *out);

/* Puts the method, the hook and the layer in front of a failure: also of an executor that was given the hook's pattern. */
sf_status sf_hook_blame(sf_status status, sf_hook hook, const sf_method *method, int layer);

/* Asks for the state of a lane at a layer, and allocates and zeroes it; nothing for methods without state. */
sf_status sf_hook_state(sf_attention *a, const sf_method *method, const void *params, int max_keys, sf_arena *arena,
                        sf_state *out);

/* The same for what it carries along, which the caller zeroes again before each prompt. */
sf_status sf_hook_carry(sf_attention *a, const sf_method *method, const void *params, int max_keys, sf_arena *arena,
                        sf_state *out);

/* New keys from logical key `first` on; nothing for methods that do not observe. The caller releases its scratch. */
sf_status sf_hook_observe(sf_attention *a, const sf_method *method, const void *params, sf_state *state, int first);

#endif
