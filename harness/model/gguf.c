/* The GGUF container. Layout, everything little-endian:
 *
 *     "GGUF"  u32 version  u64 tensors  u64 keys
 *     keys    × { string name, u32 type, value }              string: u64 bytes, then the bytes
 *     tensors × { string name, u32 rank, u64 dim[rank] (fastest first), u32 type, u64 offset }
 *     padding to general.alignment (32 unless that key says otherwise)
 *     tensor data, each tensor aligned
 */
#include "harness/model/gguf.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LIMIT = 64, KEY_LIMIT = 65535, RANK_LIMIT = 4, ALIGNMENT = 32 };

static const struct {
    const char *name;
    size_t bytes;
} TYPES[SF_GGUF_TYPES] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

/* ggml's numbers for tensor types. Those without our own type are named for the message that refuses them. */
static const struct {
    uint32_t number;
    const char *name;
    int dtype;
} TENSOR_TYPES[] = {
    {0, "F32", SF_F32},   {1, "F16", SF_F16},   {30, "BF16", SF_BF16}, {8, "Q8_0", SF_Q8_0},  {2, "Q4_0", SF_Q4_0},
    {3, "Q4_1", SF_Q4_1}, {6, "Q5_0", SF_Q5_0}, {7, "Q5_1", SF_Q5_1},  {12, "Q4_K", SF_Q4_K}, {14, "Q6_K", SF_Q6_K},
    {10, "Q2_K", SF_Q2_K},       {11, "Q3_K", SF_Q3_K},     {13, "Q5_K", SF_Q5_K},       {16, "IQ2_XXS", SF_IQ2_XXS},
    {17, "IQ2_XS", SF_IQ2_XS},   {18, "IQ3_XXS", SF_IQ3_XXS}, {19, "IQ1_S", SF_IQ1_S},   {20, "IQ4_NL", SF_IQ4_NL},
    {21, "IQ3_S", SF_IQ3_S},     {22, "IQ2_S", SF_IQ2_S},   {23, "IQ4_XS", SF_IQ4_XS},   {24, "I8", SF_I8},
    {25, "I16", SF_I16},         {26, "I32", SF_I32},       {27, "I64", SF_I64},         {28, "F64", SF_F64},
    {29, "IQ1_M", SF_IQ1_M},     {34, "TQ1_0", SF_TQ1_0},   {35, "TQ2_0", SF_TQ2_0},     {39, "MXFP4", SF_MXFP4},
    {40, "NVFP4", SF_NVFP4},
    {9, "Q8_1", -1},             {15, "Q8_K", -1},          {41, "Q1_0", -1}, /* of products, and of no file */
};

/* ---- a cursor that cannot leave the file ------------------------------------------------------------------------- */

typedef struct cursor {
    const char *path;
    const unsigned char *data;
    uint64_t bytes, at;
} cursor;

static sf_status take(cursor *c, uint64_t bytes, const char *what, const unsigned char **out)
{
    if (bytes > c->bytes - c->at) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: %s at byte %" PRIu64 ": expected %" PRIu64
                       " bytes, found the end of the file after %" PRIu64,
                       c->path, what, c->at, bytes, c->bytes - c->at);
    }
    *out = c->data + c->at;
    c->at += bytes;
    return SF_OK;
}

static sf_status take_u32(cursor *c, const char *what, uint32_t *out)
{
    const unsigned char *p = NULL;
    SF_TRY(take(c, 4, what, &p));
    memcpy(out, p, 4);
    return SF_OK;
}

static sf_status take_u64(cursor *c, const char *what, uint64_t *out)
{
    const unsigned char *p = NULL;
    SF_TRY(take(c, 8, what, &p));
    memcpy(out, p, 8);
    return SF_OK;
}

static sf_status take_string(cursor *c, const char *what, const char **text, uint64_t *bytes)
{
    SF_TRY(take_u64(c, what, bytes));
    return take(c, *bytes, what, (const unsigned char **)text);
}

/* Names appear in messages, so they are held to visible ASCII. */
static sf_status take_name(cursor *c, const char *what, uint64_t limit, const char **text, uint64_t *bytes)
{
    uint64_t at = c->at;
    SF_TRY(take_string(c, what, text, bytes));
    bool good = *bytes > 0 && *bytes <= limit;
    for (uint64_t i = 0; good && i < *bytes; i++) good = (*text)[i] > ' ' && (*text)[i] < 127;
    if (good) return SF_OK;
    return sf_fail(SF_BAD_INPUT,
                   "%s: %s at byte %" PRIu64 ": expected 1 to %" PRIu64 " visible ASCII characters, found %s", c->path,
                   what, at, limit,
                   *bytes == 0      ? "none"
                   : *bytes > limit ? "more"
                                    : "others");
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static sf_status take_value(cursor *c, sf_gguf_key *key)
{
    char what[160];
    snprintf(what, sizeof what, "value of key %.*s", (int)(key->name_bytes < 128 ? key->name_bytes : 128), key->name);

    uint32_t type;
    SF_TRY(take_u32(c, what, &type));
    if (type >= SF_GGUF_TYPES) {
        return sf_fail(SF_BAD_INPUT, "%s: %s: expected a type number below %d, found %u", c->path, what, SF_GGUF_TYPES,
                       type);
    }
    key->type = key->element = (sf_gguf_type)type;
    key->count = 1;
    if (type == SF_GGUF_ARRAY) {
        uint32_t element;
        SF_TRY(take_u32(c, what, &element));
        SF_TRY(take_u64(c, what, &key->count));
        if (element >= SF_GGUF_TYPES || element == SF_GGUF_ARRAY) {
            return sf_fail(SF_BAD_INPUT,
                           "%s: %s: expected an array of scalars or strings, found element type number %u", c->path,
                           what, element);
        }
        key->element = (sf_gguf_type)element;
    }
    key->value = c->data + c->at;

    if (key->element == SF_GGUF_STRING) {
        for (uint64_t i = 0; i < key->count; i++) {
            const char *text;
            uint64_t bytes;
            SF_TRY(take_string(c, what, &text, &bytes));
        }
        return SF_OK;
    }
    uint64_t size;
    if (__builtin_mul_overflow(key->count, (uint64_t)TYPES[key->element].bytes, &size)) size = UINT64_MAX;
    const unsigned char *value = NULL;
    SF_TRY(take(c, size, what, &value));
    for (uint64_t i = 0; key->element == SF_GGUF_BOOL && i < key->count; i++) {
        if (value[i] > 1)
            return sf_fail(SF_BAD_INPUT, "%s: %s: expected a bool, 0 or 1, found %u", c->path, what, value[i]);
    }
    return SF_OK;
}

static int by_name(const void *a, const void *b)
{
    const sf_gguf_key *x = *(const sf_gguf_key *const *)a, *y = *(const sf_gguf_key *const *)b;
    int order = memcmp(x->name, y->name, x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes);
    return order ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static sf_status take_keys(cursor *c, sf_gguf *g)
{
    g->key = calloc(g->keys + 1, sizeof *g->key);
    const sf_gguf_key **sorted = calloc(g->keys + 1, sizeof *sorted);
    sf_status status =
        g->key && sorted ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: no memory for %" PRIu64 " keys", c->path, g->keys);
    for (uint64_t i = 0; status == SF_OK && i < g->keys; i++) {
        sorted[i] = &g->key[i];
        status = take_name(c, "name of a key", KEY_LIMIT, &g->key[i].name, &g->key[i].name_bytes);
        if (status == SF_OK) status = take_value(c, &g->key[i]);
    }
    if (status == SF_OK) qsort(sorted, g->keys, sizeof *sorted, by_name);
    for (uint64_t i = 1; status == SF_OK && i < g->keys; i++) {
        if (by_name(&sorted[i - 1], &sorted[i]) != 0) continue;
        status = sf_fail(SF_BAD_INPUT, "%s: key %.*s: expected once, found twice", c->path, (int)sorted[i]->name_bytes,
                         sorted[i]->name);
    }
    free(sorted);
    return status;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static sf_status tensor_type(const char *path, const char *name, uint32_t number, sf_dtype *out)
{
    const char *known = "unknown";
    for (size_t i = 0; i < sizeof TENSOR_TYPES / sizeof *TENSOR_TYPES; i++) {
        if (TENSOR_TYPES[i].number != number) continue;
        known = TENSOR_TYPES[i].name;
        if (TENSOR_TYPES[i].dtype < 0) break;
        *out = (sf_dtype)TENSOR_TYPES[i].dtype;
        return SF_OK;
    }
    return sf_fail(
        SF_UNSUPPORTED,
        "%s: tensor %s: expected one of F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K, found type %u (%s)",
        path, name, number, known);
}

/* One tensor's description; its data pointer is set once the start of the data is known. */
static sf_status take_tensor(cursor *c, sf_gguf_tensor *out)
{
    const char *name;
    uint64_t bytes;
    SF_TRY(take_name(c, "name of a tensor", NAME_LIMIT, &name, &bytes));
    memcpy(out->name, name, bytes);

    uint32_t rank, type;
    uint64_t dim[RANK_LIMIT], elements = 1;
    SF_TRY(take_u32(c, out->name, &rank));
    if (rank < 1 || rank > RANK_LIMIT) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected 1 to %d dimensions, found %u", c->path, out->name,
                       RANK_LIMIT, rank);
    }
    out->tensor.rank = (int)rank;
    for (uint32_t i = 0; i < rank; i++) {
        SF_TRY(take_u64(c, out->name, &dim[i]));
        /* 2^56 elements of at most 4 bytes leave every later sum far from overflow. */
        if (dim[i] == 0 || __builtin_mul_overflow(elements, dim[i], &elements) || elements > (uint64_t)1 << 56) {
            return sf_fail(SF_BAD_INPUT,
                           "%s: tensor %s: expected dimensions of 1 to 2^56 elements, found dimension %u of %" PRIu64,
                           c->path, out->name, i, dim[i]);
        }
        out->tensor.dim[rank - 1 - i] = (int64_t)dim[i];
    }
    SF_TRY(take_u32(c, out->name, &type));
    SF_TRY(tensor_type(c->path, out->name, type, &out->tensor.dtype));
    const sf_dtype_info *info = &sf_dtypes[out->tensor.dtype];
    if (dim[0] % (uint64_t)info->block != 0) {
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected rows of a multiple of %d elements (%s), found %" PRIu64,
                       c->path, out->name, info->block, info->name, dim[0]);
    }
    return take_u64(c, out->name, &out->offset);
}

static int by_tensor_name(const void *a, const void *b)
{
    return strcmp((*(sf_gguf_tensor *const *)a)->name, (*(sf_gguf_tensor *const *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const sf_gguf_tensor *x = *(sf_gguf_tensor *const *)a, *y = *(sf_gguf_tensor *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static sf_status no_two_alike(const sf_gguf *g, sf_gguf_tensor **sorted)
{
    qsort(sorted, g->tensors, sizeof *sorted, by_tensor_name);
    for (uint64_t i = 1; i < g->tensors; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected once, found twice", g->path, sorted[i]->name);
        }
    }
    return SF_OK;
}

/* Data lie one behind another, with no more between them than alignment asks for: a tensor that is of another type or shape than its
 * header says, which would be read as other numbers, shows there. llama.cpp takes no others either. */
static sf_status no_gaps(const sf_gguf *g, uint64_t alignment, sf_gguf_tensor **sorted)
{
    qsort(sorted, g->tensors, sizeof *sorted, by_offset);
    for (uint64_t i = 0, end = 0; i < g->tensors; i++) {
        if (sorted[i]->offset != end)
            return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected to start at byte %" PRIu64 " of the data, %s%s, found %" PRIu64, g->path, sorted[i]->name,
                           end, i ? "behind " : "as the first", i ? sorted[i - 1]->name : "", sorted[i]->offset);
        end += sf_bytes(sorted[i]->tensor.dtype, sf_elements(&sorted[i]->tensor));
        end = (end + alignment - 1) / alignment * alignment;
    }
    return SF_OK;
}

static sf_status place(const sf_gguf *g, uint64_t room, uint64_t alignment, sf_gguf_tensor *t)
{
    uint64_t bytes = sf_bytes(t->tensor.dtype, sf_elements(&t->tensor));
    if (t->offset % alignment != 0) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: tensor %s: expected an offset that is a multiple of %" PRIu64 ", found %" PRIu64, g->path,
                       t->name, alignment, t->offset);
    }
    if (t->offset > room || bytes > room - t->offset) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: tensor %s: expected %" PRIu64 " bytes at byte %" PRIu64 " of the data, found a file whose"
                       " data has %" PRIu64 " bytes: is it complete?",
                       g->path, t->name, bytes, t->offset, room);
    }
    t->tensor.data = (char *)g->file.data + g->data_start + t->offset;
    return SF_OK;
}

static sf_status take_tensors(cursor *c, sf_gguf *g)
{
    int alignment = ALIGNMENT;
    SF_TRY(sf_gguf_int(g, "general.alignment", false, 8, 1 << 20, &alignment));
    if (alignment & (alignment - 1)) {
        return sf_fail(SF_BAD_INPUT, "%s: key general.alignment: expected a power of two, found %d", c->path,
                       alignment);
    }
    g->tensor = calloc(g->tensors + 1, sizeof *g->tensor);
    sf_gguf_tensor **sorted = calloc(g->tensors + 1, sizeof *sorted);
    sf_status status = g->tensor && sorted
                           ? SF_OK
                           : sf_fail(SF_NO_MEMORY, "%s: no memory for %" PRIu64 " tensors", c->path, g->tensors);
    for (uint64_t i = 0; status == SF_OK && i < g->tensors; i++) {
        sorted[i] = &g->tensor[i];
        status = take_tensor(c, &g->tensor[i]);
    }
    g->data_start = (c->at + (uint64_t)alignment - 1) / (uint64_t)alignment * (uint64_t)alignment;
    uint64_t room = g->data_start < c->bytes ? c->bytes - g->data_start : 0;
    for (uint64_t i = 0; status == SF_OK && i < g->tensors; i++)
        status = place(g, room, (uint64_t)alignment, &g->tensor[i]);
    if (status == SF_OK) status = no_two_alike(g, sorted);
    if (status == SF_OK) status = no_gaps(g, (uint64_t)alignment, sorted);
    free(sorted);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static sf_status read_header(cursor *c, sf_gguf *g)
{
    const unsigned char *magic = NULL;
    uint32_t version;
    SF_TRY(take(c, 4, "the magic", &magic));
    if (memcmp(magic, "GGUF", 4) != 0) {
        return sf_fail(SF_BAD_INPUT,
                       "%s: expected a GGUF file, which begins with \"GGUF\", found bytes %02x %02x %02x %02x", c->path,
                       magic[0], magic[1], magic[2], magic[3]);
    }
    SF_TRY(take_u32(c, "the version", &version));
    if (version != 2 && version != 3) {
        bool swapped = __builtin_bswap32(version) == 2 || __builtin_bswap32(version) == 3;
        return sf_fail(SF_UNSUPPORTED, "%s: expected GGUF version 2 or 3, found %u%s", c->path, version,
                       swapped ? " (a big-endian file): convert the model anew, for little-endian machines" : "");
    }
    SF_TRY(take_u64(c, "the number of tensors", &g->tensors));
    SF_TRY(take_u64(c, "the number of keys", &g->keys));
    /* The least a key takes is 14 bytes, a tensor 33: larger counts cannot be true, and are not worth an allocation. */
    if (g->keys > (c->bytes - c->at) / 14) {
        return sf_fail(SF_BAD_INPUT, "%s: expected a number of keys that fits %" PRIu64 " bytes, found %" PRIu64,
                       c->path, c->bytes, g->keys);
    }
    if (g->tensors > (c->bytes - c->at) / 33) {
        return sf_fail(SF_BAD_INPUT, "%s: expected a number of tensors that fits %" PRIu64 " bytes, found %" PRIu64,
                       c->path, c->bytes, g->tensors);
    }
    return SF_OK;
}

sf_status sf_gguf_read(const char *path, sf_mapping file, sf_gguf *out)
{
    *out = (sf_gguf){.path = path, .file = file};
    cursor c = {path, file.data, file.bytes, 0};
    sf_status status = read_header(&c, out);
    if (status == SF_OK) status = take_keys(&c, out);
    if (status == SF_OK) status = take_tensors(&c, out);
    if (status != SF_OK) sf_gguf_free(out);
    return status;
}

void sf_gguf_free(sf_gguf *g)
{
    free(g->key);
    free(g->tensor);
    *g = (sf_gguf){0};
}

/* ---- values by name ---------------------------------------------------------------------------------------------- */

const sf_gguf_key *sf_gguf_find(const sf_gguf *g, const char *name)
{
    size_t bytes = strlen(name);
    for (uint64_t i = 0; i < g->keys; i++) {
        if (g->key[i].name_bytes == bytes && memcmp(g->key[i].name, name, bytes) == 0) return &g->key[i];
    }
    return NULL;
}

sf_gguf_tensor *sf_gguf_find_tensor(const sf_gguf *g, const char *name)
{
    for (uint64_t i = 0; i < g->tensors; i++) {
        if (strcmp(g->tensor[i].name, name) == 0) return &g->tensor[i];
    }
    return NULL;
}

static sf_status find(const sf_gguf *g, const char *name, bool required, const sf_gguf_key **out)
{
    *out = sf_gguf_find(g, name);
    if (!*out && required) return sf_fail(SF_BAD_INPUT, "%s: key %s: expected, not found", g->path, name);
    return SF_OK;
}

static sf_status wrong_type(const sf_gguf *g, const sf_gguf_key *key, const char *expected)
{
    return sf_fail(SF_BAD_INPUT, "%s: key %.*s: expected %s, found type %s%s%s", g->path, (int)key->name_bytes,
                   key->name, expected, TYPES[key->type].name, key->type == SF_GGUF_ARRAY ? " of " : "",
                   key->type == SF_GGUF_ARRAY ? TYPES[key->element].name : "");
}

sf_status sf_gguf_int(const sf_gguf *g, const char *name, bool required, int64_t low, int64_t high, int *out)
{
    const sf_gguf_key *key;
    SF_TRY(find(g, name, required, &key));
    if (!key) return SF_OK;
    union { uint8_t u8; uint16_t u16; uint32_t u32; uint64_t u64; int8_t i8; int16_t i16; int32_t i32; int64_t i64; }
        v = {0};
    memcpy(&v, key->value, TYPES[key->type].bytes);
    int64_t value;
    switch (key->type) {
    case SF_GGUF_U8: value = v.u8; break;
    case SF_GGUF_I8: value = v.i8; break;
    case SF_GGUF_U16: value = v.u16; break;
    case SF_GGUF_I16: value = v.i16; break;
    case SF_GGUF_U32: value = v.u32; break;
    case SF_GGUF_I32: value = v.i32; break;
    case SF_GGUF_U64: value = v.u64 > INT64_MAX ? INT64_MAX : (int64_t)v.u64; break;
    case SF_GGUF_I64: value = v.i64; break;
    default: return wrong_type(g, key, "an integer");
    }
    if (value < low || value > high) {
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected %" PRId64 " to %" PRId64 ", found %" PRId64, g->path, name,
                       low, high, value);
    }
    *out = (int)value;
    return SF_OK;
}

sf_status sf_gguf_real(const sf_gguf *g, const char *name, bool required, double low, double high, double *out)
{
    const sf_gguf_key *key;
    SF_TRY(find(g, name, required, &key));
    if (!key) return SF_OK;
    double value;
    if (key->type == SF_GGUF_F32) {
        float f;
        memcpy(&f, key->value, 4);
        value = f;
    } else if (key->type == SF_GGUF_F64) {
        memcpy(&value, key->value, 8);
    } else {
        return wrong_type(g, key, "a real number");
    }
    if (!(value >= low && value <= high)) {
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected %g to %g, found %g", g->path, name, low, high, value);
    }
    *out = value;
    return SF_OK;
}

sf_status sf_gguf_bool(const sf_gguf *g, const char *name, bool *out)
{
    const sf_gguf_key *key = sf_gguf_find(g, name);
    if (!key) return SF_OK;
    if (key->type != SF_GGUF_BOOL) return wrong_type(g, key, "a bool");
    *out = *key->value;
    return SF_OK;
}

sf_status sf_gguf_ints(const sf_gguf *g, const char *name, int layers, int low, int high, int *out)
{
    const sf_gguf_key *key = sf_gguf_find(g, name);
    if (!key || key->type != SF_GGUF_ARRAY) {
        SF_TRY(sf_gguf_int(g, name, true, low, high, &out[0]));
        for (int l = 1; l < layers; l++) out[l] = out[0];
        return SF_OK;
    }
    if ((key->element != SF_GGUF_I32 && key->element != SF_GGUF_U32) || key->count != (uint64_t)layers)
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected an integer, or an array of %d of 32 bits", g->path, name, layers);
    for (int l = 0; l < layers; l++) {
        int32_t value;
        memcpy(&value, key->value + 4 * (size_t)l, sizeof value);
        if (value < low || value > high)
            return sf_fail(SF_BAD_INPUT, "%s: key %s: layer %d: expected %d to %d, found %d", g->path, name, l, low, high, value);
        out[l] = value;
    }
    return SF_OK;
}

sf_status sf_gguf_bools(const sf_gguf *g, const char *name, int n, bool *out)
{
    const sf_gguf_key *key = sf_gguf_find(g, name);
    if (!key) return SF_OK;
    if (key->type != SF_GGUF_ARRAY || key->element != SF_GGUF_BOOL || key->count != (uint64_t)n)
        return wrong_type(g, key, "an array of bools, one a layer");
    for (int i = 0; i < n; i++) out[i] = key->value[i];
    return SF_OK;
}

/* The string at `at`, which moves behind it. */
static const char *next_string(const unsigned char **at, uint64_t *bytes)
{
    memcpy(bytes, *at, 8);
    const char *text = (const char *)*at + 8;
    *at += 8 + *bytes;
    return text;
}

sf_status sf_gguf_text(const sf_gguf *g, const char *name, bool required, char **out)
{
    const sf_gguf_key *key;
    *out = NULL;
    SF_TRY(find(g, name, required, &key));
    if (!key) return SF_OK;
    if (key->type != SF_GGUF_STRING) return wrong_type(g, key, "a string");
    const unsigned char *at = key->value;
    uint64_t bytes;
    const char *text = next_string(&at, &bytes);
    if (memchr(text, 0, bytes))
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected text, found a NUL byte in it", g->path, name);
    *out = malloc(bytes + 1);
    if (!*out) return sf_fail(SF_NO_MEMORY, "%s: key %s: no memory for %" PRIu64 " bytes", g->path, name, bytes);
    memcpy(*out, text, bytes);
    (*out)[bytes] = '\0';
    return SF_OK;
}

sf_status sf_gguf_texts(const sf_gguf *g, const char *name, int *n, const char ***text, size_t **bytes)
{
    const sf_gguf_key *key;
    *text = NULL;
    *bytes = NULL;
    SF_TRY(find(g, name, true, &key));
    if (key->type != SF_GGUF_ARRAY || key->element != SF_GGUF_STRING) return wrong_type(g, key, "an array of strings");
    if (key->count > INT_MAX) {
        return sf_fail(SF_BAD_INPUT, "%s: key %s: expected at most %d strings, found %" PRIu64, g->path, name, INT_MAX,
                       key->count);
    }
    *n = (int)key->count;
    *text = malloc((size_t)*n * sizeof **text + 1);
    *bytes = malloc((size_t)*n * sizeof **bytes + 1);
    if (!*text || !*bytes) return sf_fail(SF_NO_MEMORY, "%s: key %s: no memory for %d strings", g->path, name, *n);
    const unsigned char *at = key->value;
    for (int i = 0; i < *n; i++) {
        uint64_t length;
        (*text)[i] = next_string(&at, &length);
        (*bytes)[i] = length;
    }
    return SF_OK;
}

const char *sf_gguf_key_of(const char *architecture, const char *rest)
{
    static _Thread_local char key[2][128];
    static _Thread_local int turn;
    char *text = key[turn ^= 1];
    snprintf(text, sizeof *key, "%s.%s", architecture, rest);
    return text;
}
