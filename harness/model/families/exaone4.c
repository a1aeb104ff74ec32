/* EXAONE 4. LG AI Research 2025, arXiv 2507.11407; transformers 5: models/exaone4. Norms stand on what attention and MLP give,
 * and not before them; where some layers slide, the others have no positions. */
#include "harness/model/family.h"

enum { WHOLE_EVERY = 4 };

/* The 1.2B has no window, in the 32B one layer of four attends to everything: its files need not say which. */
static sf_status read_gguf(const sf_gguf *g, sf_model_config *c)
{
    bool slides[SF_MAX_LAYERS];
    for (int l = 0; l < c->layers; l++) slides[l] = (l + 1) % WHOLE_EVERY != 0;
    SF_TRY(sf_gguf_bools(g, "exaone4.attention.sliding_window_pattern", c->layers, slides));
    for (int l = 0; l < c->layers; l++) c->unrotated[l] = c->window && !(c->sliding[l] = c->window && slides[l]);
    return SF_OK;
}

static sf_status read(sf_json_at at, sf_model_config *c)
{
    bool hybrid = sf_json_value(at, "sliding_window") != NULL;
    for (int l = 0; l < c->layers; l++) c->unrotated[l] = hybrid && !c->sliding[l];
    return SF_OK;
}

const sf_family sf_family_exaone4 = {
    .name = "exaone4",
    .qk_norm = true, .post_norms = true, .no_pre_norms = true,

    .model_type = {"exaone4"},
    .defaults = SF_JSON({"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                         "tie_word_embeddings": false, "num_key_value_heads": 32, "sliding_window": 4096,
                         "sliding_window_pattern": 4}),
    .theta = 10000,
    .sliding = SF_SLIDES_BUT_EVERY_NTH,
    .layer_types = true,
    .read = read,

    .gguf = "exaone4",
    .read_gguf = read_gguf,
};
