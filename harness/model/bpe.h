/* Byte pair encoding: a word becomes symbols (bytes or characters), then the adjacent pair of lowest rank merges, the
 * leftmost first, until no pair has a rank. Built once, then read by any number of threads. */
#ifndef SF_BPE_H
#define SF_BPE_H

#include "harness/model/vocab.h"

typedef struct sf_merge {
    uint64_t pair; /* left id << 32 | right id */
    int32_t rank;  /* -1: free slot */
    int32_t id;    /* of the merged token */
} sf_merge;

typedef struct sf_bpe {
    const sf_vocab *vocab;
    bool byte_level;    /* symbols are bytes, spelt in GPT-2's byte-to-unicode alphabet; else they are characters */
    bool byte_fallback; /* a character without a token becomes its bytes' tokens <0xNN>, if the vocabulary has all */
    bool fuse_unk;      /* neighbours without a token become one unknown token */
    bool ignore_merges; /* a word that is a token becomes it, whatever the merges say */
    int32_t unk;        /* -1: what has no token is left out, as the `tokenizers` library does */

    sf_merge *merge; /* [slots] open addressing */
    size_t slots, merges;
    int32_t byte_token[256]; /* byte_level: of each byte's letter; else of <0xNN>; -1: none */
} sf_bpe;

typedef struct sf_ids {
    int32_t *id;
    size_t n, capacity;
} sf_ids;

/* What encoding needs besides; belongs to one thread, zero-initialised, reused from word to word. */
typedef struct sf_bpe_scratch {
    struct sf_bpe_symbol *symbol;
    uint64_t *heap; /* rank << 32 | position */
    char *letters;
    size_t symbols, symbol_capacity, queued, heap_capacity, letter_capacity;
} sf_bpe_scratch;

/* Fills byte_token. Call once vocabulary and flags are there. */
void sf_bpe_bytes(sf_bpe *bpe);

/* Merge number `rank`: left and right must be tokens, and so must be what they form together. */
sf_status sf_bpe_merge(sf_bpe *bpe, const char *left, size_t left_bytes, const char *right, size_t right_bytes,
                       int32_t rank);
void sf_bpe_free(sf_bpe *bpe);

/* Appends the ids of one word (valid UTF-8) to `ids`. */
sf_status sf_bpe_encode(const sf_bpe *bpe, const char *word, size_t bytes, sf_bpe_scratch *scratch, sf_ids *ids);
void sf_bpe_scratch_free(sf_bpe_scratch *scratch);

sf_status sf_ids_push(sf_ids *ids, int32_t id);

/* GPT-2's alphabet gives each byte a printable letter (U+0021…U+017F), so that a token is a readable string. */
uint32_t sf_byte_letter(uint8_t byte);
int sf_letter_byte(uint32_t letter); /* -1: not of the alphabet */

/* Length of the character at s, 1 to 4. Where the bytes form none: *valid is false and the length is that of the
 * longest part that begins like a character, at least 1 (Unicode's "maximal subpart", one U+FFFD each). */
size_t sf_utf8_length(const char *s, size_t bytes, bool *valid);
uint32_t sf_utf8_letter(const char *s, size_t length); /* of a valid character */
size_t sf_utf8_put(uint32_t letter, char *to);         /* up to 4 bytes; returns how many */

#endif
