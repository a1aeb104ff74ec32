#include "harness/model/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MAX_ID = 1 << 24 }; /* sixty times the largest vocabulary in use: what lies beyond is a corrupt file */

sf_status sf_reserve(void *items, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) return SF_OK;
    size_t room = *capacity ? *capacity : 16;
    while (room < need) room += room / 2 + 1;
    void *old, *grown;
    memcpy(&old, items, sizeof old);
    grown = room > SIZE_MAX / size ? NULL : realloc(old, room * size);
    if (!grown) return sf_fail(SF_NO_MEMORY, "no memory for %zu items of %zu bytes", room, size);
    memcpy(items, &grown, sizeof grown);
    *capacity = room;
    return SF_OK;
}

/* The slot that holds `text`, or the free one where it belongs. */
static size_t slot_of(const sf_vocab *v, const char *text, size_t bytes)
{
    size_t i = XXH3_64bits(text, bytes) & (v->slots - 1);
    for (; v->slot[i]; i = (i + 1) & (v->slots - 1)) {
        const sf_vocab_token *t = &v->token[v->slot[i] - 1];
        if (t->bytes == bytes && !memcmp(v->text + t->offset, text, bytes)) break;
    }
    return i;
}

static sf_status rehash(sf_vocab *v)
{
    size_t slots = v->slots ? 2 * v->slots : 1024;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot) return sf_fail(SF_NO_MEMORY, "no memory for a vocabulary of %zu tokens", slots / 2);
    free(v->slot);
    v->slot = slot;
    v->slots = slots;
    for (int32_t id = 0; id < v->size; id++) {
        const sf_vocab_token *t = &v->token[id];
        if (t->present) v->slot[slot_of(v, v->text + t->offset, t->bytes)] = (uint32_t)id + 1;
    }
    return SF_OK;
}

sf_status sf_vocab_add(sf_vocab *v, const char *text, size_t bytes, int64_t id, bool own)
{
    if (!bytes) return sf_fail(SF_BAD_INPUT, "token %lld is empty", (long long)id);
    if (bytes > UINT32_MAX / 2) return sf_fail(SF_BAD_INPUT, "token %lld has %zu bytes", (long long)id, bytes);
    int shown = bytes < 64 ? (int)bytes : 64; /* in messages */
    if (id < 0 || id >= MAX_ID)
        return sf_fail(SF_BAD_INPUT, "token \"%.*s\" has id %lld, expected 0 to %d", shown, text, (long long)id,
                       MAX_ID - 1);
    if (id < v->size && v->token[id].present)
        return sf_fail(SF_BAD_INPUT, "id %lld belongs to two tokens, \"%.64s\" and \"%.*s\"", (long long)id,
                       v->text + v->token[id].offset, shown, text);
    if (2 * (v->used + 1) > v->slots) SF_TRY(rehash(v));
    size_t slot = slot_of(v, text, bytes);
    if (v->slot[slot])
        return sf_fail(SF_BAD_INPUT, "token \"%.*s\" has two ids, %u and %lld", shown, text, v->slot[slot] - 1,
                       (long long)id);

    SF_TRY(sf_reserve(&v->token, &v->token_capacity, (size_t)id + 1, sizeof *v->token));
    SF_TRY(sf_reserve(&v->text, &v->text_capacity, v->text_bytes + bytes + 1, 1));
    for (; v->size <= id; v->size++) v->token[v->size].present = false;
    v->token[id] = (sf_vocab_token){.offset = v->text_bytes, .bytes = (uint32_t)bytes, .present = true, .own = own};
    memcpy(v->text + v->text_bytes, text, bytes);
    v->text[v->text_bytes + bytes] = 0;
    v->text_bytes += bytes + 1;
    v->slot[slot] = (uint32_t)id + 1;
    v->used++;
    return SF_OK;
}

void sf_vocab_free(sf_vocab *v)
{
    free(v->token);
    free(v->text);
    free(v->slot);
    *v = (sf_vocab){0};
}

int32_t sf_vocab_find(const sf_vocab *v, const char *text, size_t bytes)
{
    return v->slots ? (int32_t)v->slot[slot_of(v, text, bytes)] - 1 : -1;
}

const char *sf_vocab_text(const sf_vocab *v, int32_t id, size_t *bytes)
{
    if (id < 0 || id >= v->size || !v->token[id].present) return NULL;
    *bytes = v->token[id].bytes;
    return v->text + v->token[id].offset;
}
