/* What each character is, fixed with the program: tables of Unicode 16.0, as the `tokenizers` library (0.23, by its
 * Oniguruma 6.9.10) has them, so that ids do not depend on the version of a library that a machine happens to have. */
#ifndef SF_UNICODE_H
#define SF_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which versions of Unicode decide on ids; `frontier version` prints it. */
#define SF_UNICODE_VERSIONS "16.0 (patterns), 9.0 (normalisation), 17.0 (Digits), as in tokenizers 0.23"

typedef struct sf_range {
    uint32_t first, last;
} sf_range;

bool sf_is_white_space(uint32_t c); /* White_Space */
bool sf_is_word(uint32_t c);        /* a letter, mark, decimal digit, connector or joiner: \w of UTS #18 */

/* Whether normalisation leaves `c` alone, on its own and beside any other: because it came after Unicode 9, whose
 * tables the `tokenizers` library normalises by, or is no character yet in Unicode 16. */
bool sf_is_never_normalised(uint32_t c);

/* Properties that a pattern may name: the POSIX classes, general categories, some scripts. The number of one by its
 * name, as \p{…} spells it (case, spaces, '-' and '_' do not count); -1: no such property. */
int sf_property_find(const char *name, size_t bytes);

/* The POSIX classes have these numbers, which are Oniguruma's. */
enum {
    SF_CLASS_NEWLINE,
    SF_CLASS_ALPHA,
    SF_CLASS_BLANK,
    SF_CLASS_CNTRL,
    SF_CLASS_DIGIT,
    SF_CLASS_GRAPH,
    SF_CLASS_LOWER,
    SF_CLASS_PRINT,
    SF_CLASS_PUNCT,
    SF_CLASS_SPACE,
    SF_CLASS_UPPER,
    SF_CLASS_XDIGIT,
    SF_CLASS_WORD,
    SF_CLASS_ALNUM,
    SF_CLASS_ASCII,
    SF_CLASSES
};

/* The characters of a property as ranges, ascending, with gaps between: their number, then first and last of each. Made
 * at the first call, kept for the program's life, thread-safe. NULL: no memory. */
const uint32_t *sf_property_ranges(int property);

#endif
