/* What tells one model family's graph from another's, as data. Sizes come from the checkpoint. */
#ifndef SF_FAMILY_H
#define SF_FAMILY_H

#include "harness/model/config.h"

typedef struct sf_family {
    const char *name;      /* of the architecture, in configs and messages */
    bool qkv_bias, qk_norm, post_norms;
    bool scaled_embedding; /* token embeddings times sqrt(d) */
    float norm_offset;
    sf_activation activation;
    int yarn_by_rule;      /* a checkpoint of this many positions takes four times as many through YaRN; 0: none */
} sf_family;

/* Error: unknown (lists those known). `where` and `key` for the message. */
sf_status sf_family_find(const char *name, const char *where, const char *key, const sf_family **out);

/* Writes what the family fixes, and what it derives from sizes already there: architecture, flags, scales, activation,
 * YaRN by rule where positions are plain and max_position is the published one. */
void sf_family_apply(const sf_family *f, sf_model_config *c);

#endif
