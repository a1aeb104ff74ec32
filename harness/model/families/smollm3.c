/* SmolLM3: Llama, but every fourth layer has no positions. Bakouch et al. 2025, huggingface.co/blog/smollm3, after Yang et al.
 * 2025, arXiv 2501.18795; transformers 5: models/smollm3. */
#include "harness/model/family.h"

static sf_status read(sf_json_at at, sf_model_config *c)
{
    bool slides = false;
    SF_TRY(sf_family_biases(at, c));
    SF_TRY(sf_json_bool(at, "use_sliding_window", false, &slides));
    if (slides) return sf_json_fail(SF_UNSUPPORTED, at, "use_sliding_window", "false");
    return sf_family_rotated_layers(at, c);
}

/* Files do not say which: every fourth. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    (void)g;
    for (int l = 0; l < c->layers; l++) c->unrotated[l] = (l + 1) % 4 == 0;
    return SF_OK;
}

const sf_family sf_family_smollm3 = {
    .name = "smollm3",

    .model_type = {"smollm3"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
                         "tie_word_embeddings": true, "num_key_value_heads": 4, "no_rope_layer_interval": 4,
                         "use_sliding_window": false}),
    .theta = 2e6,
    .own = (const char *const[]){"attention_bias", "mlp_bias", "no_rope_layers", NULL},
    .read = read,

    .gguf = "smollm3",
    .interleaved = true,
    .read_gguf = read_gguf,
};
