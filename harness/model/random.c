/* Random weights of a config's shape: for cost, speed and memory work, where what is said does not matter. */
#include "base/splitmix.h"
#include "harness/model/chat.h"
#include "harness/model/mapping.h"
#include "harness/model/model.h"
#include "harness/model/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number depends on the seed, its tensor and its place only, so that threads can share the work as they like. */
static uint64_t mix(uint64_t x) { return sf_splitmix(x, 0); }

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16); /* to nearest, ties to even; never NaN here */
}

/* Uniform with mean 0 and the given standard deviation. */
static void fill(uint16_t *out, int64_t n, uint64_t key, double deviation)
{
    float half_width = (float)(deviation * sqrt(3.0));
#pragma omp parallel for schedule(static)
    for (int64_t four = 0; four < (n + 3) / 4; four++) {
        uint64_t bits = mix(key ^ mix((uint64_t)four));
        for (int64_t i = 4 * four; i < n && i < 4 * four + 4; i++, bits >>= 16) {
            out[i] = to_bf16(half_width * ((float)(bits & 0xffff) - 32767.5f) / 32768);
        }
    }
}

/* Scales that keep activations near 1 at any depth: matrices 1/sqrt(inputs), those that write to the residual stream
 * less by the root of their number; norms act as the identity. */
static void fill_slot(const sf_model_config *c, const sf_weight_slot *slot, uint64_t key)
{
    sf_tensor *t = slot->at;
    int64_t n = sf_elements(t);
    switch (slot->role) {
    case SF_ROLE_NORM:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)t->data)[i] = to_bf16(1 - c->norm_offset);
        break;
    case SF_ROLE_BIAS: fill(t->data, n, key, 0.1); break;
    case SF_ROLE_RESIDUAL: fill(t->data, n, key, 1 / sqrt(2.0 * c->layers * (double)t->dim[1])); break;
    case SF_ROLE_TABLE:
    case SF_ROLE_INNER: fill(t->data, n, key, 1 / sqrt((double)t->dim[1])); break;
    }
}

enum { ALIGN = 64 };

static size_t bytes_of(const sf_tensor *t) { return (sf_bytes(SF_BF16, sf_elements(t)) + ALIGN - 1) / ALIGN * ALIGN; }

/* Each tensor in a place of its own. */
static sf_status place_apart(sf_model *m, sf_weight_slot *slot, int slots, uint64_t seed)
{
    size_t total = 0;
    for (int i = 0; i < slots; i++) total += bytes_of(slot[i].at);
    SF_TRY(sf_blame(sf_map_memory(total, m->mapping), "%s", m->config.name));
    m->mappings = 1;
    char *at = m->mapping->data;
    for (int i = 0; i < slots; i++) {
        slot[i].at->data = at;
        at += bytes_of(slot[i].at);
        fill_slot(&m->config, &slot[i], mix(seed) + (uint64_t)i);
    }
    return SF_OK;
}

/* Tensors of one role and width, whose numbers are of one kind, in one place, where each begins a little further on. */
static sf_status place_overlaid(sf_model *m, sf_weight_slot *slot, int slots, uint64_t seed)
{
    enum { KINDS = 16, SHIFTS = 1024 };
    struct {
        sf_weight_slot all; /* as one tensor */
        sf_tensor tensor;
        size_t first;
    } kind[KINDS];
    int kinds = 0;
    size_t total = 0;
    for (int i = 0; i < slots; i++) {
        const int64_t width = slot[i].rank == 2 ? slot[i].dim[1] : 1, rows = slot[i].dim[0] + (ALIGN * SHIFTS / 2 + width - 1) / width;
        int k = 0;
        while (k < kinds && (kind[k].all.role != slot[i].role || kind[k].tensor.dim[1] != width)) k++;
        if (k == KINDS) return sf_fail(SF_UNSUPPORTED, "%s: weights of more than %d kinds", m->config.name, KINDS);
        if (k == kinds) kind[kinds++].all = slot[i], kind[k].tensor = (sf_tensor){.dtype = SF_BF16, .rank = 2, .dim = {0, width}};
        if (kind[k].tensor.dim[0] < rows) kind[k].tensor.dim[0] = rows;
    }
    for (int k = 0; k < kinds; k++) kind[k].first = total, total += bytes_of(&kind[k].tensor);
    SF_TRY(sf_blame(sf_map_memory(total, m->mapping), "%s", m->config.name));
    m->mappings = 1;
    for (int k = 0; k < kinds; k++) {
        kind[k].tensor.data = (char *)m->mapping->data + kind[k].first;
        kind[k].all.at = &kind[k].tensor;
        fill_slot(&m->config, &kind[k].all, mix(seed) + (uint64_t)k);
    }
    for (int i = 0; i < slots; i++) {
        int k = 0;
        while (kind[k].all.role != slot[i].role || kind[k].tensor.dim[1] != (slot[i].rank == 2 ? slot[i].dim[1] : 1)) k++;
        slot[i].at->data = (char *)kind[k].tensor.data + (size_t)(i % SHIFTS) * ALIGN;
    }
    return SF_OK;
}

typedef sf_status placing(sf_model *m, sf_weight_slot *slot, int slots, uint64_t seed);

static sf_status make(sf_model *m, sf_weight_slot *slot, placing *place, uint64_t seed)
{
    m->mapping = calloc(1, sizeof *m->mapping);
    if (!m->mapping) return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", m->config.name);
    int slots = sf_weight_slots(&m->config, &m->weights, slot);
    for (int i = 0; i < slots; i++) {
        *slot[i].at = (sf_tensor){.dtype = SF_BF16, .rank = slot[i].rank, .dim = {slot[i].dim[0], slot[i].dim[1]}};
        m->weight_bytes += sf_bytes(SF_BF16, sf_elements(slot[i].at));
    }
    SF_TRY(place(m, slot, slots, seed));
    if (m->config.tied) m->weights.head = m->weights.embedding;
    return SF_OK;
}

/* A random model reads bytes: 256 tokens without merges, in the byte-to-unicode alphabet of byte-level BPE (printable
 * bytes as themselves, the others from U+0100 on), so that any text can be run through any shape. */
static sf_status read_bytes(sf_model *m)
{
    enum { BYTES = 256 };
    if (m->config.vocab < BYTES) return SF_OK; /* no tokenizer: for shapes that only the engine is tried on */
    char text[BYTES][3];
    const char *token[BYTES];
    size_t length[BYTES];
    for (int byte = 0, other = 0x100; byte < BYTES; byte++) {
        bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
        int point = printable ? byte : other++;
        length[byte] = (size_t)snprintf(text[byte], sizeof text[byte], point < 0x80 ? "%c" : "%c%c",
                                        point < 0x80 ? point : 0xc0 | point >> 6, 0x80 | (point & 0x3f));
        token[byte] = text[byte];
    }
    const sf_gguf_tokens bytes = {.model = "gpt2", .pre = "gpt-2", .tokens = BYTES, .token = token, .token_bytes = length};
    SF_TRY(sf_tokenizer_from_gguf(&bytes, m->config.name, &m->tokenizer));
    return sf_chat_custom("", "", &m->chat);
}

static sf_status open_random(const sf_model_config *config, placing *place, const char *kind, uint64_t seed, sf_model **out)
{
    *out = NULL;
    SF_TRY(sf_config_validate(config, config->name));
    sf_model *m = calloc(1, sizeof *m);
    sf_weight_slot *slot = NULL;
    sf_status status = m ? sf_weights_room(config, &m->weights, &slot, config->name) : sf_fail(SF_NO_MEMORY, "%s: no memory", config->name);
    if (status == SF_OK) {
        m->config = *config;
        m->bos = -1;
        sf_config_hash(config, m->hash);
        sf_hash_fold(m->hash, kind, strlen(kind));
        sf_hash_fold(m->hash, &seed, sizeof seed);
        status = make(m, slot, place, seed);
        if (status == SF_OK) status = read_bytes(m);
    }
    free(slot);
    if (status == SF_OK)
        *out = m;
    else
        sf_model_close(m);
    return status;
}

sf_status sf_model_random(const sf_model_config *config, uint64_t seed, sf_model **out)
{
    return open_random(config, place_apart, "random", seed, out);
}

sf_status sf_model_random_overlaid(const sf_model_config *config, uint64_t seed, sf_model **out)
{
    return open_random(config, place_overlaid, "overlaid", seed, out);
}
