#include "harness/model/tokenizer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/model/tokenizer_parts.h"
#include "harness/model/unicode.h"

/* ---- building -------------------------------------------------------------------------------------------------- */

static void free_normalizer(sf_normalizer *s)
{
    sf_regex_free(s->pattern);
    free(s->text);
}

static void free_decoder(sf_decoder *s)
{
    sf_regex_free(s->pattern);
    free(s->with);
}

/* Chains have a handful of steps: grown one by one. */
static sf_status append(void *items, int *n, size_t size, const void *item)
{
    char *old, *grown;
    memcpy(&old, items, sizeof old);
    grown = realloc(old, ((size_t)*n + 1) * size);
    if (!grown) return sf_fail(SF_NO_MEMORY, "no memory for a tokenizer's steps");
    memcpy(grown + (size_t)(*n)++ * size, item, size);
    memcpy(items, &grown, sizeof grown);
    return SF_OK;
}

sf_status sf_add_normalizer(sf_tokenizer *t, sf_normalizer step)
{
    sf_status status = append(&t->normalizer, &t->normalizers, sizeof step, &step);
    if (status != SF_OK) free_normalizer(&step);
    return status;
}

sf_status sf_add_splitter(sf_tokenizer *t, sf_splitter step)
{
    sf_status status = append(&t->splitter, &t->splitters, sizeof step, &step);
    if (status != SF_OK) sf_regex_free(step.pattern);
    return status;
}

sf_status sf_add_decoder(sf_tokenizer *t, sf_decoder step)
{
    sf_status status = append(&t->decoder, &t->decoders, sizeof step, &step);
    if (status != SF_OK) free_decoder(&step);
    return status;
}

sf_status sf_add_pattern(sf_tokenizer *t, const char *pattern, size_t bytes, bool literal, sf_split_behavior behavior,
                         bool invert)
{
    sf_splitter step = {.kind = SF_CUT, .behavior = behavior, .invert = invert};
    SF_TRY(sf_regex_compile(pattern, bytes, literal, &step.pattern));
    return sf_add_splitter(t, step);
}

static sf_status plant(sf_trie *trie, const char *text, size_t bytes, int32_t token)
{
    if (!bytes) return SF_OK; /* a spelling that the normalizer removes is never found */
    if (!trie->nodes) {
        SF_TRY(sf_reserve(&trie->node, &trie->capacity, 1, sizeof *trie->node));
        trie->node[trie->nodes++] = (sf_trie_node){.token = -1};
    }
    trie->begins[(uint8_t)text[0]] = true;
    int32_t at = 0;
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)text[i];
        int32_t next = trie->node[at].child;
        while (next && trie->node[next].byte != byte) next = trie->node[next].sibling;
        if (!next) {
            SF_TRY(sf_reserve(&trie->node, &trie->capacity, trie->nodes + 1, sizeof *trie->node));
            next = (int32_t)trie->nodes++;
            trie->node[next] = (sf_trie_node){.token = -1, .byte = byte, .sibling = trie->node[at].child};
            trie->node[at].child = next;
        }
        at = next;
    }
    if (trie->node[at].token < 0) trie->node[at].token = token; /* of two that normalise alike, the first */
    return SF_OK;
}

static sf_status plant_added(sf_tokenizer *t, int32_t index)
{
    size_t bytes;
    const sf_added_token *token = &t->added[index];
    const char *text = sf_vocab_text(&t->vocab, token->id, &bytes);
    if (!token->normalized) return plant(&t->raw, text, bytes, index);
    char *spelt;
    SF_TRY(sf_normalize(t->normalizer, t->normalizers, text, bytes, &spelt, &bytes));
    sf_status status = plant(&t->normalised, spelt, bytes, index);
    free(spelt);
    return status;
}

/* added_of for the vocabulary as it is now. */
static sf_status index_ids(sf_tokenizer *t)
{
    size_t known = t->added_of_capacity;
    SF_TRY(sf_reserve(&t->added_of, &t->added_of_capacity, (size_t)t->vocab.size, sizeof *t->added_of));
    for (size_t i = known; i < t->added_of_capacity; i++) t->added_of[i] = -1;
    return SF_OK;
}

sf_status sf_add_token(sf_tokenizer *t, sf_added_token token)
{
    SF_TRY(index_ids(t));
    int32_t *index = &t->added_of[token.id];
    if (*index < 0) {
        SF_TRY(sf_reserve(&t->added, &t->added_capacity, (size_t)t->n_added + 1, sizeof *t->added));
        *index = t->n_added++;
    }
    t->added[*index] = token;
    return SF_OK;
}

const sf_added_token *sf_added(const sf_tokenizer *t, int32_t id)
{
    int32_t index = id >= 0 && (size_t)id < t->added_of_capacity ? t->added_of[id] : -1;
    return index < 0 ? NULL : &t->added[index];
}

int sf_vocab_size(const sf_tokenizer *t) { return t->vocab.size; }

int32_t sf_token_id(const sf_tokenizer *t, const char *token) { return sf_vocab_find(&t->vocab, token, strlen(token)); }

const char *sf_token_text(const sf_tokenizer *t, int32_t id)
{
    size_t bytes;
    return sf_vocab_text(&t->vocab, id, &bytes);
}

/* ---- encoders -------------------------------------------------------------------------------------------------- */

/* What one thread encodes with. It remembers the ids of words: text repeats its words, so most of it costs a look-up.
 * Encoders wait in the tokenizer for whoever encodes next; there are never more than threads that encoded at once. */
struct known { /* a word and its ids */
    uint64_t hash; /* 0: free */
    uint32_t word, id; /* where in words, in word_ids */
    uint16_t bytes, ids;
};

struct sf_encoder {
    struct sf_encoder *next; /* that waits */
    const sf_tokenizer *t;
    sf_ids ids;
    sf_split_scratch split;
    sf_bpe_scratch bpe;
    struct known *known; /* [slots] */
    size_t slots, used;
    char *words;
    size_t word_bytes, word_capacity;
    sf_ids word_ids;
};

enum { LONG_WORD = 64, MOST_WORDS = 1 << 15 }; /* bytes, longer ones seldom come again; then it starts afresh */

static void free_encoder(struct sf_encoder *e)
{
    sf_split_scratch_free(&e->split);
    sf_bpe_scratch_free(&e->bpe);
    free(e->ids.id);
    free(e->known);
    free(e->words);
    free(e->word_ids.id);
    free(e);
}

static struct sf_encoder *take_encoder(const sf_tokenizer *t)
{
    pthread_mutex_lock(&t->encoders->lock);
    struct sf_encoder *e = t->encoders->idle;
    if (e) t->encoders->idle = e->next;
    pthread_mutex_unlock(&t->encoders->lock);
    if (!e && (e = calloc(1, sizeof *e))) e->t = t;
    return e;
}

static void return_encoder(struct sf_encoder *e)
{
    struct sf_encoders *to = e->t->encoders;
    pthread_mutex_lock(&to->lock);
    e->next = to->idle;
    to->idle = e;
    pthread_mutex_unlock(&to->lock);
}

static struct known *slot_of(const struct sf_encoder *e, uint64_t hash, const char *word, size_t bytes)
{
    size_t i = hash & (e->slots - 1);
    for (;; i = (i + 1) & (e->slots - 1)) {
        struct known *k = &e->known[i];
        if (!k->hash || (k->hash == hash && k->bytes == bytes && !memcmp(e->words + k->word, word, bytes))) return k;
    }
}

static sf_status more_slots(struct sf_encoder *e)
{
    struct known *old = e->known;
    size_t n = e->slots;
    e->slots = n ? 4 * n : 256;
    e->known = calloc(e->slots, sizeof *e->known);
    for (size_t i = 0; e->known && i < n; i++)
        if (old[i].hash) *slot_of(e, old[i].hash, e->words + old[i].word, old[i].bytes) = old[i];
    free(old);
    if (e->known) return SF_OK;
    e->slots = e->used = 0;
    return sf_fail(SF_NO_MEMORY, "no memory for more words");
}

static void forget_words(struct sf_encoder *e)
{
    memset(e->known, 0, e->slots * sizeof *e->known);
    e->used = e->word_bytes = e->word_ids.n = 0;
}

static sf_status remember(struct sf_encoder *e, struct known *at, uint64_t hash, const char *word, size_t bytes,
                          const int32_t *id, size_t ids)
{
    SF_TRY(sf_reserve(&e->words, &e->word_capacity, e->word_bytes + bytes, 1));
    SF_TRY(sf_reserve(&e->word_ids.id, &e->word_ids.capacity, e->word_ids.n + ids, sizeof *id));
    memcpy(e->words + e->word_bytes, word, bytes);
    if (ids) memcpy(e->word_ids.id + e->word_ids.n, id, ids * sizeof *id);
    *at = (struct known){hash, (uint32_t)e->word_bytes, (uint32_t)e->word_ids.n, (uint16_t)bytes, (uint16_t)ids};
    e->word_bytes += bytes;
    e->word_ids.n += ids;
    e->used++;
    return SF_OK;
}

static sf_status encode_word(struct sf_encoder *e, const char *word, size_t bytes)
{
    if (bytes > LONG_WORD) return sf_bpe_encode(&e->t->bpe, word, bytes, &e->bpe, &e->ids);
    if (e->used == MOST_WORDS) forget_words(e);
    if (2 * (e->used + 1) > e->slots) SF_TRY(more_slots(e));
    uint64_t hash = XXH3_64bits(word, bytes) | 1;
    struct known *k = slot_of(e, hash, word, bytes);
    size_t at = e->ids.n;
    if (k->hash) {
        SF_TRY(sf_reserve(&e->ids.id, &e->ids.capacity, at + k->ids, sizeof *e->ids.id));
        for (uint32_t i = 0; i < k->ids; i++) e->ids.id[at + i] = e->word_ids.id[k->id + i];
        e->ids.n += k->ids;
        return SF_OK;
    }
    SF_TRY(sf_bpe_encode(&e->t->bpe, word, bytes, &e->bpe, &e->ids));
    return remember(e, k, hash, word, bytes, e->ids.n > at ? e->ids.id + at : NULL, e->ids.n - at);
}

/* ---- the whole: last made, first freed ---------------------------------------------------------------------------- */

static sf_status make_encoders(sf_tokenizer *t)
{
    t->encoders = calloc(1, sizeof *t->encoders);
    if (!t->encoders) return sf_fail(SF_NO_MEMORY, "no memory for a tokenizer's encoders");
    pthread_mutex_init(&t->encoders->lock, NULL);
    return SF_OK;
}

static void free_encoders(struct sf_encoders *s)
{
    if (!s) return;
    for (struct sf_encoder *e = s->idle, *next; e; e = next) {
        next = e->next;
        free_encoder(e);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

sf_status sf_finish_tokenizer(sf_tokenizer *t)
{
    SF_TRY(index_ids(t));
    for (int32_t i = 0; i < t->n_added; i++) SF_TRY(plant_added(t, i));
    sf_bpe_bytes(&t->bpe);
    return make_encoders(t);
}

void sf_tokenizer_free(sf_tokenizer *t)
{
    if (!t) return;
    sf_bpe_free(&t->bpe);
    sf_vocab_free(&t->vocab);
    for (int i = 0; i < t->normalizers; i++) free_normalizer(&t->normalizer[i]);
    for (int i = 0; i < t->splitters; i++) sf_regex_free(t->splitter[i].pattern);
    for (int i = 0; i < t->decoders; i++) free_decoder(&t->decoder[i]);
    free(t->normalizer);
    free(t->splitter);
    free(t->decoder);
    free(t->added);
    free(t->added_of);
    free(t->raw.node);
    free(t->normalised.node);
    free_encoders(t->encoders);
    free(t);
}

/* ---- encoding -------------------------------------------------------------------------------------------------- */

/* A part of the text. */
struct span {
    const char *text;
    size_t bytes;
    const uint8_t *mark; /* [bytes] 1: a special token that this byte is part of is ordinary text; NULL: no byte is */
    bool plain;          /* every byte is */
    bool first;          /* begins where the whole text begins */
};

static struct span part(struct span of, size_t start, size_t end)
{
    return (struct span){of.text + start, end - start, of.mark ? of.mark + start : NULL, of.plain, of.first && !start};
}

/* Where in [start, end) the first stretch of plain bytes ends; 0: there is none. */
static size_t plain_end(struct span in, size_t start, size_t end)
{
    if (in.plain) return end;
    const uint8_t *from = in.mark ? memchr(in.mark + start, 1, end - start) : NULL;
    const uint8_t *to = from ? memchr(from, 0, (size_t)(in.mark + end - from)) : NULL;
    return !from ? 0 : to ? (size_t)(to - in.mark) : end;
}

static sf_status encode_ordinary(struct sf_encoder *e, struct span in)
{
    SF_TRY(sf_split(e->t->splitter, e->t->splitters, (sf_piece){in.text, in.bytes, in.first}, &e->split));
    for (size_t i = 0; i < e->split.pieces.n; i++)
        SF_TRY(encode_word(e, e->split.pieces.piece[i].text, e->split.pieces.piece[i].bytes));
    return SF_OK;
}

static uint32_t letter_at(const char *text, size_t at, size_t bytes)
{
    bool valid;
    return sf_utf8_letter(text + at, sf_utf8_length(text + at, bytes - at, &valid));
}

static size_t letter_before(const char *text, size_t at) /* where the character before `at` begins */
{
    do at--;
    while (((uint8_t)text[at] & 0xc0) == 0x80);
    return at;
}

/* Longest spelling that begins at `text`: index into added, or -1. */
static int32_t longest(const sf_trie *trie, const char *text, size_t bytes, size_t *length)
{
    int32_t found = -1, at = 0;
    for (size_t i = 0; i < bytes; i++) {
        int32_t next = trie->node[at].child;
        while (next && trie->node[next].byte != (uint8_t)text[i]) next = trie->node[next].sibling;
        if (!next) break;
        at = next;
        if (trie->node[at].token >= 0) {
            found = trie->node[at].token;
            *length = i + 1;
        }
    }
    return found;
}

/* Calls `between` on the text between added tokens, in order, and appends the tokens' ids. A match that does not count
 * (special where none is looked for, part of a word) is ordinary text, whole: no other is looked for inside it. */
static sf_status encode_around(struct sf_encoder *e, const sf_trie *trie, struct span in,
                               sf_status (*between)(struct sf_encoder *, struct span))
{
    const char *text = in.text;
    size_t bytes = in.bytes, done = 0;
    for (size_t i = 0, length = 1; trie->nodes && i < bytes; i += length) {
        length = 1;
        if (!trie->begins[(uint8_t)text[i]]) continue;
        int32_t index = longest(trie, text + i, bytes - i, &length);
        if (index < 0) continue;
        const sf_added_token *token = &e->t->added[index];
        size_t start = i, end = i + length;
        size_t plain = token->special ? plain_end(in, start, end) : 0;
        if (plain) {
            length = plain - i; /* where the plain part ends, looking begins anew */
            continue;
        }
        if (token->single_word && ((start && sf_is_word(letter_at(text, letter_before(text, start), bytes))) ||
                                   (end < bytes && sf_is_word(letter_at(text, end, bytes)))))
            continue;
        while (token->lstrip && start > done && sf_is_white_space(letter_at(text, letter_before(text, start), bytes)))
            start = letter_before(text, start);
        while (token->rstrip && end < bytes && sf_is_white_space(letter_at(text, end, bytes))) {
            bool valid;
            end += sf_utf8_length(text + end, bytes - end, &valid);
        }
        if (start > done) SF_TRY(between(e, part(in, done, start)));
        SF_TRY(sf_ids_push(&e->ids, token->id));
        done = end;
    }
    return done < bytes ? between(e, part(in, done, bytes)) : SF_OK;
}

static sf_status encode_normalised(struct sf_encoder *e, struct span in)
{
    return encode_around(e, &e->t->normalised, in, encode_ordinary);
}

/* Normalising loses sight of the plain part: if any of `in` is plain, all of it is, for the special tokens that are
 * only found normalised (no tokenizer in use has any). */
static sf_status encode_raw(struct sf_encoder *e, struct span in)
{
    if (!e->t->normalizers) return encode_normalised(e, in);
    struct span normal = {.first = in.first};
    char *text = NULL;
    sf_status status = sf_normalize(e->t->normalizer, e->t->normalizers, in.text, in.bytes, &text, &normal.bytes);
    normal.text = text;
    normal.plain = in.plain || plain_end(in, 0, in.bytes);
    if (status == SF_OK) status = encode_normalised(e, normal);
    free(text);
    return status;
}

static sf_status encode(const sf_tokenizer *t, struct span in, int32_t **ids, int *n)
{
    *ids = NULL;
    *n = 0;
    if (in.bytes > INT32_MAX / 4)
        return sf_fail(SF_UNSUPPORTED, "a text of %zu bytes; at most %d can be encoded at once", in.bytes,
                       INT32_MAX / 4);
    for (size_t i = 0; i < in.bytes;) {
        bool valid;
        size_t length = sf_utf8_length(in.text + i, in.bytes - i, &valid);
        if (!valid)
            return sf_fail(SF_BAD_INPUT, "text is not UTF-8: byte 0x%02x at offset %zu of %zu", (uint8_t)in.text[i], i,
                           in.bytes);
        i += length;
    }
    struct sf_encoder *e = take_encoder(t);
    if (!e) return sf_fail(SF_NO_MEMORY, "no memory to encode a text");
    e->ids.n = 0;
    sf_status status = encode_around(e, &t->raw, in, encode_raw);
    if (status == SF_OK && !(*ids = malloc((e->ids.n + 1) * sizeof **ids)))
        status = sf_fail(SF_NO_MEMORY, "no memory for %zu ids", e->ids.n);
    if (status == SF_OK) {
        if (e->ids.n) memcpy(*ids, e->ids.id, e->ids.n * sizeof **ids);
        *n = (int)e->ids.n;
    }
    return_encoder(e);
    return status;
}

sf_status sf_encode(const sf_tokenizer *t, const char *text, size_t bytes, bool special, int32_t **ids, int *n)
{
    return encode(t, (struct span){text, bytes, NULL, !special, true}, ids, n);
}

sf_status sf_encode_marked(const sf_tokenizer *t, const char *text, size_t bytes, const uint8_t *mark, int32_t **ids, int *n)
{
    return encode(t, (struct span){text, bytes, mark, false, true}, ids, n);
}

int32_t sf_token_in_front(const sf_tokenizer *t) { return t->front; }
