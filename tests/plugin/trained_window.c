/* An example of a method with trained weights: a window of latest keys for each kv head of each layer, as long as was learned.
 *
 *     plugins: [./trained_window.so]
 *     methods: {prefill: [trained_window: {weights: windows.safetensors}]}
 *
 * The file has a tensor layers.N.window [kv heads] for each layer with full attention (numbers of keys). */
#include "methods/method.h"

#include <math.h>

struct params {
    const char *weights;
};

static const sf_param PARAMS[] = {
    {.name = "weights", .type = SF_STRING, .offset = offsetof(struct params, weights), .file = true,
     .doc = "safetensors file of the windows"},
    {0},
};

static const sf_side_weight WEIGHTS[] = {{.name = "layers.%d.window", .dim = {SF_SIDE_KV_HEADS}}, {0}};

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    (void)params;
    float keys[a->kv_heads];
    sf_band band[a->kv_heads][SF_BANDS_A_HEAD];
    sf_read(a, sf_weight(a, "layers.%d.window"), keys);
    if (a->status != SF_OK) return a->status;
    for (int g = 0; g < a->kv_heads; g++) {
        band[g][0] = (sf_band){.far = keys[g] < 1 ? 1 : keys[g] > (float)a->keys ? a->keys : (int)lrintf(keys[g]), .step = 1};
        band[g][1] = (sf_band){0};
    }
    return sf_bands(a, out, a->kv_heads, &band[0][0], (sf_lists){0}, (sf_lists){0});
}

static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)state;
    return prefill(a, params, out);
}

static const sf_method method = {
    .abi = SF_METHOD_ABI,
    .name = "trained_window",
    .summary = "the latest keys, as many as each head has learned",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .weights = WEIGHTS,
    .prefill = prefill,
    .decode = decode,
    .leaves_sinks = true,
};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }
