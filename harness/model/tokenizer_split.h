/* Cutting text into the words that BPE works on: a chain of steps, each of which cuts every piece further. The parts
 * and their names are those of the `tokenizers` library ("pre-tokenizers"). */
#ifndef SF_TOKENIZER_SPLIT_H
#define SF_TOKENIZER_SPLIT_H

#include "harness/model/tokenizer_regex.h"

typedef struct sf_piece {
    const char *text;
    size_t bytes;
    bool first; /* begins where the whole text begins */
} sf_piece;

typedef struct sf_pieces {
    sf_piece *piece;
    size_t n, capacity;
} sf_pieces;

typedef enum sf_split_behavior {                    /* what becomes of the text that the pattern matches */
                                 SF_SPLIT_ISOLATED, /* a piece of its own */
                                 SF_SPLIT_REMOVED,
                                 SF_SPLIT_MERGED_WITH_PREVIOUS,
                                 SF_SPLIT_MERGED_WITH_NEXT,
                                 SF_SPLIT_CONTIGUOUS, /* neighbouring matches are one piece */
} sf_split_behavior;

typedef enum sf_prepend { SF_PREPEND_NEVER, SF_PREPEND_FIRST, SF_PREPEND_ALWAYS } sf_prepend;

typedef struct sf_splitter {
    enum {
        SF_CUT,     /* by pattern */
        SF_REPLACE, /* every match becomes `with` */
        SF_PREPEND, /* `with` goes in front of a piece that does not begin with it */
    } kind;
    sf_regex *pattern;          /* CUT, REPLACE; owned */
    sf_split_behavior behavior; /* CUT */
    bool invert;                /* CUT: the pattern says what is not matched */
    char with[16];              /* REPLACE, PREPEND */
    sf_prepend prepend;         /* PREPEND */
} sf_splitter;

/* Memory of one thread's splitting, zero-initialised, reused from text to text. Rewritten pieces live in it. */
typedef struct sf_split_scratch {
    sf_pieces pieces, other; /* `pieces` is the result */
    sf_match *match;
    size_t match_capacity;
    char **block; /* rewritten texts */
    size_t blocks, block_capacity;
} sf_split_scratch;

/* Cuts `text` by the steps, in order, into scratch->pieces; pieces point into `text` or into scratch, until the next
 * call with this scratch. Empty pieces are left out. */
sf_status sf_split(const sf_splitter *step, int steps, sf_piece text, sf_split_scratch *scratch);
void sf_split_scratch_free(sf_split_scratch *scratch);

/* The pattern of GPT-2, which the ByteLevel pre-tokenizer uses. */
extern const char SF_GPT2_PATTERN[];

/* The digits of the Digits pre-tokenizer: it asks Rust, whose tables (Unicode 17) know thirteen more. */
#define SF_DIGITS_PATTERN "[\\p{N}\\x{11de0}-\\x{11de9}\\x{16ff4}-\\x{16ff6}]"

#endif
