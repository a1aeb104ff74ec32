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

static sf_status make(sf_model *m, sf_weight_slot *slot, uint64_t seed)
{
    const char *where = m->config.name;
    m->mapping = calloc(1, sizeof *m->mapping);
    if (!m->mapping) return sf_fail(SF_NO_MEMORY, "%s: no memory for the list of weights", where);

    enum { ALIGN = 64 };
    int slots = sf_weight_slots(&m->config, &m->weights, slot);
    size_t total = 0;
    for (int i = 0; i < slots; i++) {
        sf_tensor t = {.dtype = SF_BF16, .rank = slot[i].rank, .dim = {slot[i].dim[0], slot[i].dim[1]}};
        *slot[i].at = t;
        m->weight_bytes += sf_bytes(SF_BF16, sf_elements(&t));
        total += (sf_bytes(SF_BF16, sf_elements(&t)) + ALIGN - 1) / ALIGN * ALIGN;
    }
    SF_TRY(sf_blame(sf_map_memory(total, m->mapping), "%s", where));
    m->mappings = 1;

    char *at = m->mapping->data;
    for (int i = 0; i < slots; i++) {
        slot[i].at->data = at;
        at += (sf_bytes(SF_BF16, sf_elements(slot[i].at)) + ALIGN - 1) / ALIGN * ALIGN;
        fill_slot(&m->config, &slot[i], mix(seed) + (uint64_t)i);
    }
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

sf_status sf_model_random(const sf_model_config *config, uint64_t seed, sf_model **out)
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
        sf_hash_fold(m->hash, "random", 6);
        sf_hash_fold(m->hash, &seed, sizeof seed);
        status = make(m, slot, seed);
        if (status == SF_OK) status = read_bytes(m);
    }
    free(slot);
    if (status == SF_OK)
        *out = m;
    else
        sf_model_close(m);
    return status;
}
