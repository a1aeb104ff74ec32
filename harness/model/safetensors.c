/* A file is: u64 bytes of the header (little-endian), the header, the tensors. The header is a JSON object:
 *
 *     {"__metadata__": {…}, "lm_head.weight": {"dtype": "BF16", "shape": [256, 64], "data_offsets": [0, 32768]}, …}
 *
 * Offsets count from the end of the header. Together the tensors cover the rest of the file, without gap or overlap.
 *
 * Against the library (safetensors 0.8.0): read as there are blanks around the header and a header that is not padded
 * to 8 bytes, as early writers left it (the data are then copied to where they can be read). Read though the library
 * refuses it:
 * __metadata__ whose values are no text, since nothing here depends on it. Refused though the library reads it: a name
 * that stands twice, of which it takes the last, and names beyond visible ASCII; no writer makes either. */
#include "harness/model/safetensors.h"
#include "harness/model/json.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_LIMIT = 255, RANK_LIMIT = 8, SHARD_LIMIT = 4096 };
static const size_t HEADER_LIMIT = 100000000, INDEX_LIMIT = (size_t)64 << 20; /* the first is the format's own */

/* Types whose size is known; those without our own dtype may be there, unused. */
static const struct { const char *name; size_t bytes; int dtype; } TYPES[] = {
    {"F32", 4, SF_F32}, {"F16", 2, SF_F16}, {"BF16", 2, SF_BF16}, {"F64", 8, -1},   {"I64", 8, -1},
    {"I32", 4, -1},     {"I16", 2, -1},     {"I8", 1, -1},        {"U64", 8, -1},   {"U32", 4, -1},
    {"U16", 2, -1},     {"U8", 1, -1},      {"BOOL", 1, -1},      {"C64", 8, -1},   {"F8_E4M3", 1, -1},
    {"F8_E5M2", 1, -1}, {"F8_E8M0", 1, -1},
};

/* ---- one tensor of a header -------------------------------------------------------------------------------------- */

static sf_status check_name(const char *name, const char *path)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= NAME_LIMIT;
    for (size_t i = 0; good && i < n; i++) good = name[i] > ' ' && name[i] < 127;
    if (good) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: name of a tensor: expected 1 to %d visible ASCII characters, found %s", path,
                   NAME_LIMIT,
                   n == 0           ? "none"
                   : n > NAME_LIMIT ? "more"
                                    : "others");
}

/* A list of numbers that are not negative. */
static sf_status get_numbers(sf_json_at at, const char *key, size_t least, size_t most, const char *expected,
                             uint64_t *out, size_t *n)
{
    const json_t *list = json_object_get(at.object, key);
    *n = json_array_size(list); /* 0 for what is no list */
    bool good = json_is_array(list) && *n >= least && *n <= most;
    for (size_t i = 0; good && i < *n; i++) {
        const json_t *number = json_array_get(list, i);
        good = json_is_integer(number) && json_integer_value(number) >= 0;
        out[i] = good ? (uint64_t)json_integer_value(number) : 0;
    }
    return good ? SF_OK : sf_json_fail(SF_BAD_INPUT, at, key, expected);
}

static sf_status read_tensor(const char *name, const json_t *value, const char *path, const char *data, size_t bytes,
                             sf_st_tensor *out)
{
    char above[NAME_LIMIT + 32];
    snprintf(above, sizeof above, "tensor %s: ", name);
    if (!json_is_object(value))
        return sf_fail(SF_BAD_INPUT, "%s: %sexpected an object, found another value", path, above);
    sf_json_at at = {value, path, above};

    const char *type = NULL;
    SF_TRY(sf_json_text(at, "dtype", true, &type));
    size_t t = 0, types = sizeof TYPES / sizeof *TYPES;
    while (t < types && strcmp(TYPES[t].name, type) != 0) t++;
    if (t == types) return sf_json_fail(SF_UNSUPPORTED, at, "dtype", "F32, F16 or BF16");
    snprintf(out->type, sizeof out->type, "%s", TYPES[t].name);

    uint64_t dim[RANK_LIMIT], offset[2], size = TYPES[t].bytes;
    size_t rank, two;
    SF_TRY(get_numbers(at, "shape", 0, RANK_LIMIT, "a list of at most 8 sizes", dim, &rank));
    SF_TRY(get_numbers(at, "data_offsets", 2, 2, "a list of two byte offsets", offset, &two));
    for (size_t i = 0; i < rank; i++) {
        if (__builtin_mul_overflow(size, dim[i], &size))
            return sf_json_fail(SF_BAD_INPUT, at, "shape", "fewer than 2^64 bytes");
    }
    if (offset[0] > offset[1] || offset[1] > bytes) {
        char expected[96];
        snprintf(expected, sizeof expected, "an ascending pair within the %zu bytes of data (is the file complete?)",
                 bytes);
        return sf_json_fail(SF_BAD_INPUT, at, "data_offsets", expected);
    }
    if (offset[1] - offset[0] != size) {
        char expected[96];
        snprintf(expected, sizeof expected, "%" PRIu64 " bytes, as dtype and shape say", size);
        return sf_json_fail(SF_BAD_INPUT, at, "data_offsets", expected);
    }
    if ((uintptr_t)(data + offset[0]) % (TYPES[t].bytes) != 0) {
        return sf_json_fail(SF_UNSUPPORTED, at, "data_offsets",
                            "a start aligned to the dtype: write the file anew with safetensors");
    }
    out->begin = offset[0];
    out->end = offset[1];
    out->file = path;
    out->readable = TYPES[t].dtype >= 0 && rank <= 4;
    out->tensor = (sf_tensor){.data = (char *)data + offset[0], .rank = rank <= 4 ? (int)rank : -1};
    if (out->readable) out->tensor.dtype = (sf_dtype)TYPES[t].dtype;
    for (size_t i = 0; i < rank && rank <= 4; i++) out->tensor.dim[i] = (int64_t)dim[i];
    return SF_OK;
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const sf_st_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static sf_status check_cover(sf_st_tensor *tensor, int n, const char *path, size_t bytes)
{
    qsort(tensor, (size_t)n, sizeof *tensor, by_place);
    size_t end = 0;
    for (int i = 0; i < n; end = tensor[i++].end) {
        if (tensor[i].begin == end) continue;
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected to begin at byte %zu of the data, where %s, found %zu",
                       path, tensor[i].name, end, i ? "the one before it ends" : "it starts", tensor[i].begin);
    }
    if (end == bytes) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: expected tensors to cover the %zu bytes of data, found them to end at byte %zu",
                   path, bytes, end);
}

static sf_status read_header(const char *path, sf_mapping file, json_t **header, size_t *start)
{
    uint64_t length;
    *header = NULL;
    if (file.bytes < sizeof length) {
        return sf_fail(SF_BAD_INPUT, "%s: expected 8 bytes with the header's length, found a file of %zu", path,
                       file.bytes);
    }
    memcpy(&length, file.data, sizeof length);
    if (length > HEADER_LIMIT || length > file.bytes - sizeof length) {
        return sf_fail(SF_BAD_INPUT, "%s: length of the header: expected at most %zu bytes, found %" PRIu64, path,
                       file.bytes - sizeof length < HEADER_LIMIT ? file.bytes - sizeof length : HEADER_LIMIT, length);
    }
    *start = sizeof length + length;
    return sf_blame(sf_json_parse((char *)file.data + sizeof length, length, path, header),
                    "the header of a safetensors file");
}

/* Puts the data of a file whose header is not padded into memory of its own; data begin at *start of *file. */
static sf_status align(const char *path, sf_mapping *file, size_t *start)
{
    sf_mapping copy;
    size_t bytes = file->bytes - *start;
    if (*start % sizeof(uint64_t) == 0 || bytes == 0) return SF_OK;
    SF_TRY(sf_blame(sf_map_memory(bytes, &copy), "%s", path));
    memcpy(copy.data, (char *)file->data + *start, bytes);
    sf_unmap(file);
    *file = copy;
    *start = 0;
    return SF_OK;
}

/* Appends the file's tensors. */
static sf_status read_file(const char *path, sf_mapping *mapping, sf_safetensors *s)
{
    json_t *header;
    size_t start = 0;
    SF_TRY(read_header(path, *mapping, &header, &start));
    sf_status status = align(path, mapping, &start);
    const sf_mapping file = *mapping;

    int first = s->tensors;
    sf_st_tensor *grown = realloc(s->tensor, ((size_t)first + json_object_size(header) + 1) * sizeof *grown);
    if (grown)
        s->tensor = grown;
    else if (status == SF_OK)
        status = sf_fail(SF_NO_MEMORY, "%s: no memory for its list of tensors", path);
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        if (status != SF_OK) break;
        if (strcmp(name, "__metadata__") == 0) continue;
        status = check_name(name, path);
        if (status != SF_OK) break;
        sf_st_tensor *t = &s->tensor[s->tensors];
        *t = (sf_st_tensor){.name = strdup(name)};
        if (!t->name)
            status = sf_fail(SF_NO_MEMORY, "%s: no memory for its list of tensors", path);
        else
            s->tensors++;
        if (status == SF_OK) status = read_tensor(name, value, path, (char *)file.data + start, file.bytes - start, t);
    }
    json_decref(header);
    if (status == SF_OK) status = check_cover(s->tensor + first, s->tensors - first, path, file.bytes - start);
    return status;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

/* Position of the file in s->file, added if it is new. */
static sf_status add_file(sf_safetensors *s, const char *folder, const char *name, int *at)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return sf_fail(SF_NO_MEMORY, "%s: no memory", folder);
    for (*at = 0; *at < s->files; ++*at) {
        if (strcmp(s->file[*at], path) != 0) continue;
        free(path);
        return SF_OK;
    }
    char **files = realloc(s->file, ((size_t)s->files + 1) * sizeof *files);
    if (files) s->file = files;
    sf_mapping *mappings = realloc(s->mapping, ((size_t)s->files + 1) * sizeof *mappings);
    if (mappings) s->mapping = mappings;
    if (!files || !mappings) {
        free(path);
        return sf_fail(SF_NO_MEMORY, "%s: no memory", folder);
    }
    s->mapping[s->files] = (sf_mapping){0};
    s->file[s->files++] = path;
    return SF_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const sf_st_tensor *)a)->name, ((const sf_st_tensor *)b)->name);
}

static sf_status read_files(sf_safetensors *s)
{
    for (int f = 0; f < s->files; f++) {
        SF_TRY(sf_map_file(s->file[f], &s->mapping[f]));
        SF_TRY(read_file(s->file[f], &s->mapping[f], s));
    }
    qsort(s->tensor, (size_t)s->tensors, sizeof *s->tensor, by_name);
    for (int i = 1; i < s->tensors; i++) {
        if (by_name(&s->tensor[i - 1], &s->tensor[i]) != 0) continue;
        return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected once, found also in %s", s->tensor[i].file,
                       s->tensor[i].name, s->tensor[i - 1].file);
    }
    return SF_OK;
}

/* The index must say what the shards hold, no more and no less. */
static sf_status check_index(const sf_safetensors *s, const json_t *map, const char *index)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value)
    {
        const char *shard = json_string_value(value);
        const sf_st_tensor *t = sf_safetensors_find(s, name);
        if (!t) return sf_fail(SF_BAD_INPUT, "%s: tensor %.255s: expected in %s, not found", index, name, shard);
        const char *slash = strrchr(t->file, '/');
        if (strcmp(slash + 1, shard) != 0) {
            return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected in %s, found in %s", index, t->name, shard,
                           slash + 1);
        }
    }
    for (int i = 0; i < s->tensors; i++) {
        if (json_object_get(map, s->tensor[i].name)) continue;
        return sf_fail(SF_BAD_INPUT, "%s: weight_map: expected tensor %s of %s, not found", index, s->tensor[i].name,
                       s->tensor[i].file);
    }
    return SF_OK;
}

static sf_status read_shards(sf_safetensors *s, const char *folder, const char *index, const json_t *root)
{
    const json_t *map = NULL;
    SF_TRY(sf_json_object((sf_json_at){root, index, ""}, "weight_map", true, &map));
    if (json_object_size(map) == 0) return sf_fail(SF_BAD_INPUT, "%s: weight_map: expected tensors, found none", index);
    const char *name;
    json_t *value;
    int at;
    json_object_foreach((json_t *)map, name, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || !*shard || strchr(shard, '/')) {
            return sf_json_fail(SF_BAD_INPUT, (sf_json_at){map, index, "weight_map."}, name,
                                "the name of a file in this folder");
        }
        SF_TRY(add_file(s, folder, shard, &at));
        if (s->files > SHARD_LIMIT)
            return sf_fail(SF_BAD_INPUT, "%s: expected at most %d shards, found more", index, SHARD_LIMIT);
    }
    SF_TRY(sf_blame(read_files(s), "a shard of %s", index));
    return check_index(s, map, index);
}

/* "model-00002-of-00005.safetensors": part 2 of 5. */
static bool shard_of(const char *name, int *part, int *parts)
{
    int end = 0;
    return sscanf(name, "model-%5d-of-%5d.safetensors%n", part, parts, &end) == 2 && end > 0 && name[end] == '\0' &&
           *part >= 1 && *part <= *parts && *parts <= SHARD_LIMIT;
}

/* What a folder holds in which no name says where the weights are. A name is "" where there is none of the kind. */
typedef struct contents {
    int parts;    /* of the shards that are there; 0: none is, -1: they do not agree */
    bool pickles; /* PyTorch's own format */
    char other[NAME_LIMIT + 1], gguf[NAME_LIMIT + 1]; /* weights by a name of their own */
} contents;

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static void look_around(const char *folder, contents *c)
{
    DIR *d = opendir(folder);
    *c = (contents){0};
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        const char *name = e->d_name;
        int part, parts;
        bool weights = ends_with(name, ".safetensors"), first = weights && (!*c->other || strcmp(name, c->other) < 0);
        if (shard_of(name, &part, &parts)) c->parts = c->parts == 0 || c->parts == parts ? parts : -1;
        c->pickles |= (strncmp(name, "pytorch_model", 13) == 0 && ends_with(name, ".bin")) || ends_with(name, ".pth") || ends_with(name, ".pt");
        if (first) snprintf(c->other, sizeof c->other, "%s", name);
        if (ends_with(name, ".gguf")) snprintf(c->gguf, sizeof c->gguf, "%s", name);
    }
    if (d) closedir(d);
}

/* Shards with the standard names need no index: they say how many there are. */
static sf_status read_without_index(sf_safetensors *s, const char *folder, const char *single, const char *index)
{
    contents c;
    look_around(folder, &c);
    if (c.parts > 0) {
        for (int part = 1, at; part <= c.parts; part++) {
            char name[64];
            snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", part, c.parts);
            SF_TRY(add_file(s, folder, name, &at));
        }
        return sf_blame(read_files(s), "a shard, one of %d", c.parts);
    }
    const char *name = "", *found = "neither: download the model's weights";
    if (c.parts < 0) {
        found = "shards that differ in how many they are: download them anew, or their index with them";
    } else if (strcmp(c.other, "adapter_model.safetensors") == 0) {
        found = "an adapter alone: merge it into its base model (peft: merge_and_unload) and save that";
    } else if (*c.other) {
        name = c.other;
        found = ": give it the first of these names if it is the whole model, else download the index";
    } else if (c.pickles) {
        found = "pickles of PyTorch alone, which are programs and are not run here: load the model with transformers and"
                 " save_pretrained() it, which writes safetensors";
    } else if (*c.gguf) {
        name = c.gguf;
        found = ": name that file itself";
    }
    return sf_fail(SF_BAD_INPUT, "%s: expected %s or %s in it, found %s%s", folder, single, index, name, found);
}

static sf_status read_folder(const char *folder, sf_safetensors *s)
{
    static const char SINGLE[] = "model.safetensors", INDEX[] = "model.safetensors.index.json";
    char path[4096];
    struct stat st;
    int at;
    snprintf(path, sizeof path, "%s/%s", folder, SINGLE);
    if (lstat(path, &st) == 0) { /* a link to what is not there is said to be so by whoever opens it */
        SF_TRY(add_file(s, folder, SINGLE, &at));
        return read_files(s);
    }
    snprintf(path, sizeof path, "%s/%s", folder, INDEX);
    if (lstat(path, &st) != 0) return read_without_index(s, folder, SINGLE, INDEX);
    json_t *root;
    SF_TRY(sf_json_read(path, INDEX_LIMIT, &root));
    sf_status status = read_shards(s, folder, path, root);
    json_decref(root);
    return status;
}

sf_status sf_safetensors_open(const char *folder, sf_safetensors *out)
{
    *out = (sf_safetensors){0};
    sf_status status = read_folder(folder, out);
    if (status != SF_OK) sf_safetensors_free(out);
    return status;
}

sf_status sf_safetensors_open_file(const char *path, sf_safetensors *out)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    int at;
    *out = (sf_safetensors){0};
    if ((size_t)snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".") >= sizeof folder)
        return sf_fail(SF_BAD_INPUT, "%.64s…: the path is too long", path);
    sf_status status = add_file(out, folder, slash ? slash + 1 : path, &at);
    if (status == SF_OK) status = read_files(out);
    if (status != SF_OK) sf_safetensors_free(out);
    return status;
}

void sf_safetensors_free(sf_safetensors *s)
{
    for (int i = 0; i < s->tensors; i++) free(s->tensor[i].name);
    for (int i = 0; i < s->files; i++) {
        free(s->file[i]);
        if (s->mapping) sf_unmap(&s->mapping[i]);
    }
    for (int i = 0; i < s->makings; i++) sf_unmap(&s->made[i]);
    free(s->tensor);
    free(s->file);
    free(s->mapping);
    *s = (sf_safetensors){0};
}

sf_status sf_safetensors_add(sf_safetensors *s, const char *name, const sf_tensor *tensor, const char *file)
{
    sf_st_tensor *more = realloc(s->tensor, ((size_t)s->tensors + 1) * sizeof *more);
    if (more) s->tensor = more;
    char *own = more ? strdup(name) : NULL;
    if (!own) return sf_fail(SF_NO_MEMORY, "%s: no memory for tensor %s", file, name);
    s->tensor[s->tensors] = (sf_st_tensor){.name = own, .file = file, .readable = true, .tensor = *tensor};
    snprintf(s->tensor[s->tensors].type, sizeof s->tensor->type, "%s", sf_dtypes[tensor->dtype].name);
    s->tensors++;
    return SF_OK;
}

void sf_safetensors_sort(sf_safetensors *s) { qsort(s->tensor, (size_t)s->tensors, sizeof *s->tensor, by_name); }

sf_st_tensor *sf_safetensors_find(const sf_safetensors *s, const char *name)
{
    sf_st_tensor key = {.name = (char *)name};
    return s->tensors ? bsearch(&key, s->tensor, (size_t)s->tensors, sizeof key, by_name) : NULL;
}
