/* What was understood of a model, in words: for `frontier list models PATH` and `frontier verify`. */
#ifndef SF_DESCRIBE_H
#define SF_DESCRIBE_H

#include "harness/model/model.h"

/* "theta 1e+06, YaRN factor 4 from 32768 positions"; `text` is returned, cut where it is too short. */
const char *sf_rope_text(const sf_rope_config *rope, size_t bytes, char *text);

/* "none", or "4096 tokens on 20 of 24 layers; whole attention on 5, 11, 17, 23". */
const char *sf_windows_text(const sf_model_config *c, size_t bytes, char *text);

/* The rotation of all layers, or of both kinds: "theta 1e+06; sliding layers: theta 10000". */
const char *sf_positions_text(const sf_model_config *c, size_t bytes, char *text);

/* All of it: positions, windows, head, and where there is a tokenizer vocabulary, BOS, stop tokens and chat template. */
enum { SF_MAX_FACTS = 12 };
typedef struct sf_fact {
    const char *name;
    char text[512];
} sf_fact;
int sf_model_facts(const sf_model *m, sf_fact fact[SF_MAX_FACTS]); /* returns their number */

#endif
