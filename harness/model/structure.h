/* Where the parts of a text begin, token by token. */
#ifndef SF_STRUCTURE_H
#define SF_STRUCTURE_H

#include <stdint.h>

#include "harness/model/tokenizer.h"

/* begins [n]: bits of sf_begins (kernels/attention.h) of what begins in the text of each token. A line begins behind a line
 * break; a sentence with a line, or with the blank behind a full stop, an exclamation or a question mark; a chapter with a line
 * that says "Chapter", in any case, or whose first character is #. With the first token begins all of it. */
sf_status sf_structure(const sf_tokenizer *t, const int32_t *id, int n, uint8_t *begins);

#endif
