/* What a tokenizer is made of. The readers (tokenizer_gguf.c, tokenizer_json.c) fill it, tokenizer.c encodes with it,
 * tokenizer_decode.c decodes; nobody else looks inside. Text travels:
 *
 *   raw added tokens → normalizers → normalised added tokens → splitters → BPE → ids
 */
#ifndef SF_TOKENIZER_PARTS_H
#define SF_TOKENIZER_PARTS_H

#include <pthread.h>

#include "harness/model/bpe.h"
#include "harness/model/tokenizer.h"
#include "harness/model/tokenizer_normalize.h"
#include "harness/model/tokenizer_split.h"

/* A token that is found as such in the text, before BPE sees it. Matching is leftmost, longest. */
typedef struct sf_added_token {
    int32_t id;
    bool special;        /* found only if the caller asks; left out by sf_decode(skip_special) */
    bool normalized;     /* looked for in the normalised text, and spelt normalised; else in the text as given */
    bool single_word;    /* not next to a letter, digit or underscore */
    bool lstrip, rstrip; /* takes the white space before, after it */
} sf_added_token;

/* Spellings as a tree of bytes: node 0 is the root; children are a list of siblings. */
typedef struct sf_trie_node {
    int32_t child, sibling; /* 0: none */
    int32_t token;          /* index into added; -1: none ends here */
    uint8_t byte;
} sf_trie_node;

typedef struct sf_trie {
    sf_trie_node *node;
    size_t nodes, capacity;
    bool begins[256]; /* a spelling begins with this byte */
} sf_trie;

typedef struct sf_decoder {
    enum {
        SF_DECODE_BYTE_LEVEL,    /* letters of the byte alphabet → bytes, all tokens one text */
        SF_DECODE_BYTE_FALLBACK, /* runs of <0xNN> → characters, or one U+FFFD a byte */
        SF_DECODE_REPLACE,
        SF_DECODE_STRIP,     /* up to `start` and `stop` letters `with` off each token */
        SF_DECODE_METASPACE, /* `with` → space, in the first token → nothing if it was put in front */
        SF_DECODE_FUSE,      /* all tokens one text */
    } kind;
    sf_regex *pattern; /* REPLACE; owned */
    char *with;        /* owned */
    int start, stop;   /* STRIP */
    bool prepended;    /* METASPACE */
} sf_decoder;

/* Encoders that nobody uses at the moment (tokenizer.c). */
struct sf_encoders {
    pthread_mutex_t lock;
    struct sf_encoder *idle;
};

struct sf_tokenizer {
    sf_vocab vocab;
    sf_bpe bpe;
    sf_added_token *added; /* [n_added] */
    int n_added;
    size_t added_capacity;
    int32_t *added_of; /* [vocab.size] index into added; -1: not an added token */
    size_t added_of_capacity;
    sf_trie raw, normalised;
    sf_normalizer *normalizer;
    sf_splitter *splitter;
    sf_decoder *decoder;
    int normalizers, splitters, decoders;
    int32_t front; /* token that the file's post_processor puts in front of a text; -1: none */
    struct sf_encoders *encoders;
};

/* For the readers. Each appends one step; what `step` owns now belongs to the tokenizer, also on failure. */
sf_status sf_add_normalizer(sf_tokenizer *t, sf_normalizer step);
sf_status sf_add_splitter(sf_tokenizer *t, sf_splitter step);
sf_status sf_add_decoder(sf_tokenizer *t, sf_decoder step);
sf_status sf_add_pattern(sf_tokenizer *t, const char *pattern, size_t bytes, bool literal, sf_split_behavior behavior,
                         bool invert); /* a splitter that cuts */

/* The text of `token` is in the vocabulary already. One that was added before is replaced. */
sf_status sf_add_token(sf_tokenizer *t, sf_added_token token);
const sf_added_token *sf_added(const sf_tokenizer *t, int32_t id); /* NULL: not an added token */
/* tokenizer_pieces.c; the vocabulary is there. merged: by the file's merges, not by scores. */
sf_status sf_build_pieces(const sf_gguf_tokens *from, bool merged, sf_tokenizer *t);
sf_status sf_read_merges(const sf_gguf_tokens *from, sf_tokenizer *t); /* tokenizer_gguf.c */
sf_status sf_finish_tokenizer(sf_tokenizer *t); /* last: indexes what was added */

#endif
