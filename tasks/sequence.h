/* How alike two texts are, as Python's difflib has it. */
#ifndef SF_SEQUENCE_H
#define SF_SEQUENCE_H

#include "tasks/text.h"

/* difflib.SequenceMatcher(None, a, b).ratio() of Python 3, over code points: twice the characters in matching blocks
 * (Ratcliff and Obershelp) over those of both. Of a `b` of 200 characters and more those that make up more than a
 * hundredth begin no block ("autojunk"), so that it matters which text is which. Both empty: 1. No memory: −1. */
double sf_sequence_ratio(sf_span a, sf_span b);

#endif
