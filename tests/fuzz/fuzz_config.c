/* config.json with any bytes: read or refused, never a crash, a hang, or numbers that make no model. What was read is used
 * as opening a model uses it. */
#include <stdint.h>
#include <stdlib.h>

#include "harness/engine/rope.h"
#include "harness/model/describe.h"
#include "harness/model/hf.h"
#include "harness/model/json.h"
#include "harness/model/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void use(const sf_model_config *c)
{
    enum { TOKENS = 64, HEAD_LIMIT = 1 << 16 }; /* sf_config_validate()'s */
    static float frequency[HEAD_LIMIT / 2];
    float scale;
    char text[256], hash[33] = "";
    sf_positions_text(c, sizeof text, text);
    sf_windows_text(c, sizeof text, text);
    sf_config_hash(c, hash);
    sf_rope_frequencies(&c->rope, c->head_dim, TOKENS, frequency, &scale);
    sf_rope_frequencies(&c->rope_local, c->head_dim, TOKENS, frequency, &scale);

    sf_weight_slot *slot;
    sf_weights weights = {0};
    if (sf_weights_room(c, &weights, &slot, "config.json") == SF_OK && sf_weight_slots(c, &weights, slot) > sf_weight_slots_most(c)) abort();
    sf_weights_free(&weights);
    free(slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    json_t *root;
    if (sf_json_parse((const char *)data, bytes, "config.json", &root) != SF_OK) return 0;
    sf_model_config c = {0};
    sf_doubts doubts = {0};
    bool multimodal;
    if (sf_hf_config(root, "config.json", &c, &multimodal, &doubts) == SF_OK) {
        if (sf_config_validate(&c, "config.json") != SF_OK) abort();
        use(&c);
    }
    json_decref(root);
    return 0;
}
