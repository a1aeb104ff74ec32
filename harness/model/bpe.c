#include "harness/model/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- characters ------------------------------------------------------------------------------------------------ */

size_t sf_utf8_length(const char *text, size_t bytes, bool *valid)
{
    const uint8_t *s = (const uint8_t *)text;
    *valid = true;
    if (s[0] < 0x80) return 1;
    *valid = false;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 1;
    size_t length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    /* The second byte also keeps out overlong forms, surrogates and what lies beyond U+10FFFF. */
    uint8_t low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < length; i++) {
        if (i == bytes || s[i] < low || s[i] > high) return i;
        low = 0x80;
        high = 0xbf;
    }
    *valid = true;
    return length;
}

uint32_t sf_utf8_letter(const char *text, size_t length)
{
    const uint8_t *s = (const uint8_t *)text;
    switch (length) {
    case 1:
        return s[0];
    case 2:
        return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
    case 3:
        return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    default:
        return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
    }
}

size_t sf_utf8_put(uint32_t c, char *to)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 0x3f));
        to[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 0x3f));
    to[2] = (char)(0x80 | (c >> 6 & 0x3f));
    to[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Printable Latin-1 stands for itself; the other 68 bytes take the letters from U+0100 on, in order. */
static bool is_itself(uint32_t c) { return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad); }

uint32_t sf_byte_letter(uint8_t byte)
{
    if (is_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xad ? 0x143 : 0x121u + byte - 0x7f;
}

int sf_letter_byte(uint32_t letter)
{
    if (is_itself(letter)) return (int)letter;
    if (letter >= 0x100 && letter <= 0x120) return (int)letter - 0x100;
    if (letter == 0x143) return 0xad;
    return letter >= 0x121 && letter <= 0x142 ? (int)letter - 0x121 + 0x7f : -1;
}

/* ---- merges ---------------------------------------------------------------------------------------------------- */

/* Of BPE's own tokens; -1: none. */
static int32_t token_of(const sf_bpe *bpe, const char *text, size_t bytes)
{
    int32_t id = sf_vocab_find(bpe->vocab, text, bytes);
    return id >= 0 && bpe->vocab->token[id].own ? id : -1;
}

void sf_bpe_bytes(sf_bpe *bpe)
{
    for (int b = 0; b < 256; b++) {
        char text[8];
        size_t bytes = bpe->byte_level ? sf_utf8_put(sf_byte_letter((uint8_t)b), text)
                                       : (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        bpe->byte_token[b] = token_of(bpe, text, bytes);
    }
}

/* The slot of a pair, or the free one where it belongs. */
static sf_merge *slot_of(const sf_bpe *bpe, uint64_t pair)
{
    uint64_t h = pair * 0x9e3779b97f4a7c15u;
    size_t i = (h ^ h >> 32) & (bpe->slots - 1);
    while (bpe->merge[i].rank >= 0 && bpe->merge[i].pair != pair) i = (i + 1) & (bpe->slots - 1);
    return &bpe->merge[i];
}

static sf_status grow(sf_bpe *bpe)
{
    sf_merge *old = bpe->merge;
    size_t n = bpe->slots, slots = n ? 2 * n : 1024;
    sf_merge *merge = malloc(slots * sizeof *merge);
    if (!merge) return sf_fail(SF_NO_MEMORY, "no memory for %zu merges", slots / 2);
    for (size_t i = 0; i < slots; i++) merge[i].rank = -1;
    bpe->merge = merge;
    bpe->slots = slots;
    for (size_t i = 0; i < n; i++)
        if (old[i].rank >= 0) *slot_of(bpe, old[i].pair) = old[i];
    free(old);
    return SF_OK;
}

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)left << 32 | (uint32_t)right; }

sf_status sf_bpe_merge(sf_bpe *bpe, const char *left, size_t left_bytes, const char *right, size_t right_bytes,
                       int32_t rank)
{
    int ln = left_bytes < 64 ? (int)left_bytes : 64, rn = right_bytes < 64 ? (int)right_bytes : 64; /* in messages */
    int32_t l = token_of(bpe, left, left_bytes), r = token_of(bpe, right, right_bytes);
    if (l < 0 || r < 0)
        return sf_fail(SF_BAD_INPUT, "merge %d joins \"%.*s\" and \"%.*s\", but the vocabulary has no \"%.*s\"", rank,
                       ln, left, rn, right, l < 0 ? ln : rn, l < 0 ? left : right);

    char small[256];
    size_t bytes = left_bytes + right_bytes;
    char *joined = bytes <= sizeof small ? small : malloc(bytes);
    if (!joined) return sf_fail(SF_NO_MEMORY, "no memory for a token of %zu bytes", bytes);
    memcpy(joined, left, left_bytes);
    memcpy(joined + left_bytes, right, right_bytes);
    int32_t id = token_of(bpe, joined, bytes);
    if (joined != small) free(joined);
    if (id < 0)
        return sf_fail(SF_BAD_INPUT, "merge %d makes \"%.*s%.*s\", which the vocabulary does not have", rank, ln, left,
                       rn, right);

    if (2 * (bpe->merges + 1) > bpe->slots) SF_TRY(grow(bpe));
    sf_merge *slot = slot_of(bpe, pair_of(l, r));
    if (slot->rank >= 0)
        return sf_fail(SF_BAD_INPUT, "merge %d repeats merge %d, \"%.*s\" and \"%.*s\"", rank, slot->rank, ln, left, rn,
                       right);
    *slot = (sf_merge){.pair = pair_of(l, r), .rank = rank, .id = id};
    bpe->merges++;
    return SF_OK;
}

void sf_bpe_free(sf_bpe *bpe)
{
    free(bpe->merge);
    bpe->merge = NULL;
    bpe->slots = bpe->merges = 0;
}

/* ---- encoding -------------------------------------------------------------------------------------------------- */

struct sf_bpe_symbol {
    int32_t id;         /* -1: merged into the symbol on its left */
    int32_t prev, next; /* -1: none */
};

sf_status sf_ids_push(sf_ids *ids, int32_t id)
{
    SF_TRY(sf_reserve(&ids->id, &ids->capacity, ids->n + 1, sizeof *ids->id));
    ids->id[ids->n++] = id;
    return SF_OK;
}

void sf_bpe_scratch_free(sf_bpe_scratch *s)
{
    free(s->symbol);
    free(s->heap);
    free(s->letters);
    *s = (sf_bpe_scratch){0};
}

static void add(sf_bpe_scratch *s, int32_t id)
{
    int32_t i = (int32_t)s->symbols++;
    s->symbol[i] = (struct sf_bpe_symbol){.id = id, .prev = i - 1, .next = i + 1};
}

/* The word's characters (byte_level: bytes) as tokens. The order of an unknown token and of byte tokens that follow it,
 * and that byte tokens do not end a fused run, is the `tokenizers` library's. */
static sf_status symbols_of(const sf_bpe *bpe, const char *word, size_t bytes, sf_bpe_scratch *s)
{
    SF_TRY(sf_reserve(&s->symbol, &s->symbol_capacity, bytes + 1, sizeof *s->symbol)); /* at most one a byte */
    s->symbols = 0;
    bool unknown = false; /* an unknown token waits to be added */
    for (size_t i = 0, n; i < bytes; i += n) {
        bool valid = true;
        n = bpe->byte_level ? 1 : sf_utf8_length(word + i, bytes - i, &valid);
        int32_t id = bpe->byte_level ? bpe->byte_token[(uint8_t)word[i]] : token_of(bpe, word + i, n);
        if (id >= 0) {
            if (unknown) add(s, bpe->unk);
            unknown = false;
            add(s, id);
            continue;
        }
        bool spelt = bpe->byte_fallback;
        for (size_t b = 0; b < n; b++) spelt = spelt && bpe->byte_token[(uint8_t)word[i + b]] >= 0;
        if (spelt) {
            for (size_t b = 0; b < n; b++) add(s, bpe->byte_token[(uint8_t)word[i + b]]);
        } else if (bpe->unk >= 0) {
            if (unknown && !bpe->fuse_unk) add(s, bpe->unk);
            unknown = true;
        }
    }
    if (unknown) add(s, bpe->unk);
    if (s->symbols) s->symbol[s->symbols - 1].next = -1;
    return SF_OK;
}

/* The heap holds the pairs that can merge, lowest rank first, leftmost first among equals. A pair that no longer exists
 * is told by its rank when it comes up, so nothing is ever removed from the middle: n log n for a word of any length.
 */
static void push(sf_bpe_scratch *s, uint64_t item)
{
    size_t i = s->queued++;
    for (; i && s->heap[(i - 1) / 2] > item; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = item;
}

static uint64_t pop(sf_bpe_scratch *s)
{
    uint64_t first = s->heap[0], last = s->heap[--s->queued];
    size_t i = 0;
    for (size_t child = 1; child < s->queued; child = 2 * i + 1) {
        if (child + 1 < s->queued && s->heap[child + 1] < s->heap[child]) child++;
        if (s->heap[child] >= last) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

static void offer(const sf_bpe *bpe, sf_bpe_scratch *s, int32_t at)
{
    if (at < 0 || s->symbol[at].next < 0) return;
    const sf_merge *m = slot_of(bpe, pair_of(s->symbol[at].id, s->symbol[s->symbol[at].next].id));
    if (m->rank >= 0) push(s, (uint64_t)m->rank << 32 | (uint32_t)at);
}

static sf_status merge_all(const sf_bpe *bpe, sf_bpe_scratch *s)
{
    if (s->symbols < 2 || !bpe->slots) return SF_OK;
    /* A pair for each neighbourhood at first, two for each merge, of which there are fewer than symbols. */
    SF_TRY(sf_reserve(&s->heap, &s->heap_capacity, 3 * s->symbols, sizeof *s->heap));
    s->queued = 0;
    for (size_t i = 0; i + 1 < s->symbols; i++) offer(bpe, s, (int32_t)i);
    while (s->queued) {
        uint64_t item = pop(s);
        int32_t at = (int32_t)(uint32_t)item, rank = (int32_t)(item >> 32);
        struct sf_bpe_symbol *left = &s->symbol[at];
        if (left->id < 0 || left->next < 0) continue;
        struct sf_bpe_symbol *right = &s->symbol[left->next];
        const sf_merge *m = slot_of(bpe, pair_of(left->id, right->id));
        if (m->rank != rank) continue;
        left->id = m->id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) s->symbol[left->next].prev = at;
        offer(bpe, s, left->prev);
        offer(bpe, s, at);
    }
    return SF_OK;
}

/* The token that is the whole word, or -1. */
static sf_status whole(const sf_bpe *bpe, const char *word, size_t bytes, sf_bpe_scratch *s, int32_t *id)
{
    if (!bpe->byte_level) {
        *id = token_of(bpe, word, bytes);
        return SF_OK;
    }
    SF_TRY(sf_reserve(&s->letters, &s->letter_capacity, 2 * bytes, 1));
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += sf_utf8_put(sf_byte_letter((uint8_t)word[i]), s->letters + n);
    *id = token_of(bpe, s->letters, n);
    return SF_OK;
}

sf_status sf_bpe_encode(const sf_bpe *bpe, const char *word, size_t bytes, sf_bpe_scratch *s, sf_ids *ids)
{
    if (bpe->ignore_merges) {
        int32_t id;
        SF_TRY(whole(bpe, word, bytes, s, &id));
        if (id >= 0) return sf_ids_push(ids, id);
    }
    SF_TRY(symbols_of(bpe, word, bytes, s));
    SF_TRY(merge_all(bpe, s));
    SF_TRY(sf_reserve(&ids->id, &ids->capacity, ids->n + s->symbols, sizeof *ids->id));
    for (int32_t i = s->symbols ? 0 : -1; i >= 0; i = s->symbol[i].next) ids->id[ids->n++] = s->symbol[i].id;
    return SF_OK;
}
