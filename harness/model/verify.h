/* Signs that a checkpoint's texts were not understood as its authors meant them: what a run cannot notice, since wrong
 * tokens are tokens too. Each finding is a doubt (doubts.h); how much was tried is counted, for people. */
#ifndef SF_VERIFY_H
#define SF_VERIFY_H

#include "harness/model/model.h"

typedef struct sf_round_trips {
    int texts, back;   /* made of the vocabulary's own tokens: ids to text to ids to text; how many came back the same */
    int tokens, whole; /* tokens of two bytes and more: how many are found again, alone, in the text that they spell */
} sf_round_trips;

/* Round trips through the tokenizer on texts drawn from its vocabulary (the same each time), and on a few that are hard for
 * pre-tokenizers. */
sf_status sf_verify_texts(const sf_model *m, sf_round_trips *out, sf_doubts *doubts);

/* The prompt for one user message: special tokens that it spells are tokens of the vocabulary, and there is one BOS.
 * *ids malloc'ed, NULL where the model has no template. */
sf_status sf_verify_prompt(const sf_model *m, const char *user, int32_t **ids, int *n, sf_doubts *doubts);

#endif
