#include "harness/store/part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { HEADER = 32, ALL = INT32_MAX /* columns */, FIRST_V = 2, FIRST_L = 3 /* the later columns of entries V and L */ };
static const char magic[8] = "SFpart\0\1";
static const uint32_t byte_order = 0x01020304;

/* ---- Writing ---- */

struct buffer {
    char *data;
    size_t used, size;
    bool failed;
};

/* Not inlined: GCC 14 follows realloc() to where the bytes are hashed, and takes them for unset. */
__attribute__((noinline)) static void put(struct buffer *b, const void *data, size_t bytes)
{
    if (b->failed) return;
    if (b->size - b->used < bytes) {
        size_t size = (b->used + bytes) * 2 + 4096;
        char *grown = realloc(b->data, size);
        if (!grown) {
            b->failed = true;
            return;
        }
        b->data = grown;
        b->size = size;
    }
    if (bytes) memcpy(b->data + b->used, data, bytes);
    b->used += bytes;
}

static size_t fixed_size(sf_column_type type)
{
    switch (type) {
    case SF_COLUMN_INT:
        return sizeof(int);
    case SF_COLUMN_FLAG:
        return sizeof(bool);
    case SF_COLUMN_U64:
        return sizeof(uint64_t);
    case SF_COLUMN_REAL:
        return sizeof(double);
    case SF_COLUMN_METER:
        return sizeof(sf_meter);
    default:
        return 0;
    }
}

static uint32_t later_columns(const sf_column *column)
{
    uint32_t n = 0;
    for (; column->name; column++) n += column->later;
    return n;
}

/* The columns that are, or are not, `later` ones. */
static void put_columns(struct buffer *b, const sf_column *column, bool later, const void *of, size_t map_floats)
{
    for (; column->name; column++) {
        const char *field = (const char *)of + column->offset;
        if (column->later != later) continue;
        if (column->type == SF_COLUMN_TEXT) {
            const char *text = *(const char *const *)field;
            size_t length = text ? strlen(text) : 0;
            uint32_t stored = (uint32_t)length;
            if (length != stored) {
                b->failed = true;
                return;
            }
            put(b, &stored, sizeof stored);
            put(b, text, length);
        } else if (sf_column_is_floats(column->type)) {
            const float *map = *(const float *const *)field;
            const size_t floats = sf_column_floats(column, map_floats);
            char present = map && floats;
            put(b, &present, 1);
            if (present) put(b, map, floats * sizeof *map);
        } else if (column->type == SF_COLUMN_PICTURE) {
            const sf_picture *picture = *(const sf_picture *const *)field;
            char present = picture != NULL;
            put(b, &present, 1);
            if (present) put(b, picture, sizeof *picture);
        } else {
            put(b, field, fixed_size(column->type));
        }
    }
}

static void put_later(struct buffer *b, char kind, const sf_column *column, const void *of, size_t map_floats)
{
    uint32_t n = later_columns(column);
    put(b, &kind, 1);
    put(b, &n, sizeof n);
    put_columns(b, column, true, of, map_floats);
}

static sf_status write_all(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return SF_IO;
        data += n;
        bytes -= (size_t)n;
    }
    return SF_OK;
}

sf_status sf_sync_folder(int folder, const char *folder_path)
{
    /* Some network file systems cannot sync folders and say EINVAL; there a rename is as durable as it gets. */
    if (fsync(folder) == 0 || errno == EINVAL) return SF_OK;
    return sf_fail(SF_IO, "cannot sync the folder %s: %s", folder_path, strerror(errno));
}

sf_status sf_part_write(int folder, const char *folder_path, const char *name, int records, const sf_cell_info *cell,
                        const sf_record *record, const sf_run_info *run, const sf_failure *failure)
{
    struct buffer b = {0};
    char header[HEADER] = {0};
    put(&b, header, HEADER);
    for (int i = 0; i < records; i++) {
        char key[SF_KEY_DIGITS + 1] = {0};
        snprintf(key, sizeof key, "%s", cell[i].key);
        put(&b, "C", 1);
        put(&b, key, sizeof key);
        put_columns(&b, sf_cell_columns, false, &cell[i], 0);
        put_later(&b, 'v', sf_cell_columns, &cell[i], 0);
        put(&b, "R", 1);
        put_columns(&b, sf_record_columns, false, &record[i], (size_t)cell[i].layers * cell[i].heads);
        put_later(&b, 'l', sf_record_columns, &record[i], (size_t)cell[i].layers * cell[i].heads);
    }
    if (run) {
        put(&b, "N", 1);
        put_columns(&b, sf_run_columns, false, run, 0);
        put_later(&b, 'n', sf_run_columns, run, 0);
    }
    if (failure) {
        put(&b, "F", 1);
        put_columns(&b, sf_failure_columns, false, failure, 0);
    }
    if (b.failed) {
        free(b.data);
        return sf_fail(SF_NO_MEMORY, "out of memory while writing %d records to %s", records, folder_path);
    }
    uint32_t schema = SF_STORE_SCHEMA;
    uint64_t bytes = b.used - HEADER, hash = XXH3_64bits(b.data + HEADER, bytes);
    memcpy(b.data, magic, 8);
    memcpy(b.data + 8, &schema, 4);
    memcpy(b.data + 12, &byte_order, 4);
    memcpy(b.data + 16, &bytes, 8);
    memcpy(b.data + 24, &hash, 8);

    char aside[40];
    snprintf(aside, sizeof aside, "%s.tmp", name);
    int fd = openat(folder, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), error = 0;
    if (fd < 0 || write_all(fd, b.data, b.used) != SF_OK || fsync(fd) != 0) error = errno;
    if (fd >= 0 && close(fd) != 0 && !error) error = errno;
    if (!error && renameat(folder, aside, folder, name) != 0) error = errno;
    free(b.data);
    if (error) {
        unlinkat(folder, aside, 0);
        return sf_fail(SF_IO,
                       "cannot write results to %s/%s: %s; what was finished before is kept, the next run goes on "
                       "from there",
                       folder_path, name, strerror(error));
    }
    return sf_sync_folder(folder, folder_path);
}

/* ---- Reading ---- */

struct cursor {
    const char *at, *end;
    bool broken;
};

static const void *take(struct cursor *c, size_t bytes)
{
    if (c->broken || (size_t)(c->end - c->at) < bytes) {
        c->broken = true;
        return NULL;
    }
    const void *p = c->at;
    c->at += bytes;
    return p;
}

/* At most so many columns. Without an arena texts and maps are passed over. False: out of memory. */
static bool take_columns(struct cursor *c, const sf_column *column, bool later, uint32_t most, void *of, size_t map_floats,
                         sf_heap *arena)
{
    for (; column->name && !c->broken; column++) {
        char *field = (char *)of + column->offset;
        if (column->later != later || !most) continue;
        most--;
        if (column->type == SF_COLUMN_TEXT) {
            uint32_t length = 0;
            const void *stored = take(c, sizeof length);
            if (stored) memcpy(&length, stored, sizeof length);
            const char *text = take(c, length);
            if (!text) break;
            if (arena && !(*(const char **)field = sf_heap_text(arena, text, length))) return false;
        } else if (sf_column_is_floats(column->type) || column->type == SF_COLUMN_PICTURE) {
            const size_t floats = sf_column_floats(column, map_floats), bytes = floats ? floats * sizeof(float) : sizeof(sf_picture);
            const char *present = take(c, 1);
            if (!present || !*present) continue;
            const void *map = take(c, bytes);
            if (!map) break;
            if (!arena) continue;
            void *copy = sf_heap_alloc(arena, bytes);
            if (!copy) return false;
            memcpy(copy, map, bytes);
            *(const void **)field = copy;
        } else if (column->type == SF_COLUMN_FLAG) {
            const char *flag = take(c, 1);
            if (flag) *(bool *)field = *flag != 0;
        } else {
            const void *stored = take(c, fixed_size(column->type));
            if (stored) memcpy(field, stored, fixed_size(column->type));
        }
    }
    return true;
}

/* Later columns, of which there were fewer when an older program wrote the part. */
static bool take_later(struct cursor *c, const sf_column *column, void *of, size_t map_floats, sf_heap *arena)
{
    uint32_t n = 0;
    const void *stored = take(c, sizeof n);
    if (stored) memcpy(&n, stored, sizeof n);
    if (n > later_columns(column)) c->broken = true;
    return take_columns(c, column, true, n, of, map_floats, arena);
}

static const sf_cell_info nothing_later = {.version = {"", ""}, .kind = {"", ""}, .positions = "", .doubts = "", .chat = "",
                                          .bos = "", .questions = "", .cache = "", .attention = ""};

/* First pass counts entries, second pass keeps them: `out` has its arrays by then. */
static sf_status parse(struct cursor c, sf_heap *arena, sf_part *out, bool keep)
{
    sf_cell_info cell = {0};
    sf_heap *memory = keep ? arena : NULL;
    bool room = true;
    int records = 0, runs = 0, failures = 0;
    while (room && !c.broken && c.at < c.end) {
        const char *kind = take(&c, 1);
        if (*kind == 'C') {
            const char *key = take(&c, SF_KEY_DIGITS + 1);
            cell = nothing_later;
            if (key) memcpy(cell.key, key, SF_KEY_DIGITS);
            room = take_columns(&c, sf_cell_columns, false, ALL, &cell, 0, memory);
            if (!sf_key_valid(cell.key) || cell.layers < 0 || cell.heads < 0 || cell.layers > 1 << 20 ||
                cell.heads > 1 << 20)
                c.broken = true;
        } else if (*kind == 'v' && cell.key[0]) {
            room = take_later(&c, sf_cell_columns, &cell, 0, memory);
        } else if (*kind == 'V' && cell.key[0]) {
            room = take_columns(&c, sf_cell_columns, true, FIRST_V, &cell, 0, memory);
        } else if (*kind == 'R' && cell.key[0]) {
            sf_record record = {.depth = NAN, .late_tokens = NAN, .diverged = {SF_NOT_DIVERGED, SF_NOT_DIVERGED}};
            room = take_columns(&c, sf_record_columns, false, ALL, &record, (size_t)cell.layers * cell.heads, memory);
            c.broken |= !sf_sample_valid(record.sample) || sf_record_check(&record) != SF_OK;
            if (keep && room && !c.broken) {
                out->cell[records] = cell;
                out->record[records] = record;
            }
            records++;
        } else if ((*kind == 'l' || *kind == 'L') && records) {
            sf_record passed = {0}, *record = keep ? &out->record[records - 1] : &passed;
            room = *kind == 'l' ? take_later(&c, sf_record_columns, record, (size_t)cell.layers * cell.heads, memory)
                                : take_columns(&c, sf_record_columns, true, FIRST_L, record, 0, memory);
        } else if (*kind == 'N') {
            sf_run_info run = {.cells = "", .first_prompts = ""};
            room = take_columns(&c, sf_run_columns, false, ALL, &run, 0, memory);
            if (keep && room && !c.broken) out->run[runs] = run;
            runs++;
        } else if (*kind == 'n' && runs) {
            sf_run_info passed = {0};
            room = take_later(&c, sf_run_columns, keep ? &out->run[runs - 1] : &passed, 0, memory);
        } else if (*kind == 'F') {
            sf_failure failure = {0};
            room = take_columns(&c, sf_failure_columns, false, ALL, &failure, 0, memory);
            c.broken |= !sf_sample_valid(failure.sample) || (keep && room && !sf_key_valid(failure.key));
            if (keep && room && !c.broken) out->failure[failures] = failure;
            failures++;
        } else {
            c.broken = true;
        }
    }
    if (!room) return SF_NO_MEMORY;
    if (c.broken) return SF_BAD_INPUT;
    out->records = records;
    out->runs = runs;
    out->failures = failures;
    return SF_OK;
}

sf_status sf_part_read(int folder, const char *folder_path, const char *name, sf_heap *arena, sf_part *out, bool *gone)
{
    *out = (sf_part){0};
    *gone = false;
    const char *wrong = NULL;
    char *data = NULL;
    sf_status status = SF_OK;
    struct stat st;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        *gone = true;
        return SF_OK;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        status = sf_fail(SF_IO, "cannot read %s/%s: %s", folder_path, name, strerror(errno));
        goto done;
    }
    size_t size = out->bytes = (size_t)st.st_size, have = 0;
    if (!S_ISREG(st.st_mode)) {
        wrong = "it is not a file";
        goto done;
    }
    if (size < HEADER) {
        wrong = "it is shorter than a header";
        goto done;
    }
    if (!(data = malloc(size))) {
        status = sf_fail(SF_NO_MEMORY, "out of memory for %s/%s", folder_path, name);
        goto done;
    }
    while (have < size) {
        ssize_t n = read(fd, data + have, size - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = sf_fail(SF_IO, "cannot read %s/%s: %s", folder_path, name, strerror(errno));
            goto done;
        }
        if (n == 0) {
            wrong = "it ends early";
            goto done;
        }
        have += (size_t)n;
    }
    uint32_t schema, order;
    uint64_t bytes, hash;
    memcpy(&schema, data + 8, 4);
    memcpy(&order, data + 12, 4);
    memcpy(&bytes, data + 16, 8);
    memcpy(&hash, data + 24, 8);
    if (memcmp(data, magic, 8) != 0) {
        wrong = "it does not begin as a part does";
        goto done;
    }
    if (order != byte_order) {
        wrong = "it was written on a machine of another byte order";
        goto done;
    }
    if (schema != SF_STORE_SCHEMA) {
        status =
            sf_fail(SF_BAD_INPUT, "%s/%s has schema %u, this program writes %d: fold it with the program that wrote it",
                    folder_path, name, schema, SF_STORE_SCHEMA);
        goto done;
    }
    if (bytes != size - HEADER) {
        wrong = "its length is not what its header says";
        goto done;
    }
    if (hash != XXH3_64bits(data + HEADER, bytes)) {
        wrong = "its checksum does not match";
        goto done;
    }

    struct cursor c = {.at = data + HEADER, .end = data + size};
    status = parse(c, arena, out, false);
    if (status == SF_OK) {
        out->cell = sf_heap_alloc(arena, (size_t)out->records * sizeof *out->cell);
        out->record = sf_heap_alloc(arena, (size_t)out->records * sizeof *out->record);
        out->run = sf_heap_alloc(arena, (size_t)out->runs * sizeof *out->run);
        out->failure = sf_heap_alloc(arena, (size_t)out->failures * sizeof *out->failure);
        status = out->cell && out->record && out->run && out->failure ? parse(c, arena, out, true) : SF_NO_MEMORY;
    }
    if (status == SF_NO_MEMORY) sf_fail(status, "out of memory for %s/%s", folder_path, name);
    if (status == SF_BAD_INPUT) {
        status = SF_OK;
        wrong = "its entries are malformed";
    }

done:
    if (wrong)
        status = sf_fail(SF_BAD_INPUT,
                         "%s/%s cannot be read as a part of results: %s. Delete it to have its samples run anew",
                         folder_path, name, wrong);
    if (status != SF_OK) out->records = out->runs = out->failures = 0;
    free(data);
    if (fd >= 0) close(fd);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

static DIR *open_again(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !dir) close(fd);
    return dir;
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length > tail && strcmp(name + length - tail, suffix) == 0;
}

void sf_part_sweep(int folder)
{
    DIR *dir = open_again(folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));)
        if (ends_in(e->d_name, ".part.tmp")) unlinkat(folder, e->d_name, 0);
    closedir(dir);
}

sf_status sf_part_list(int folder, const char *folder_path, int *count, char (**out)[32])
{
    *count = 0;
    *out = NULL;
    DIR *dir = open_again(folder);
    if (!dir) return sf_fail(SF_IO, "cannot list %s: %s", folder_path, strerror(errno));
    int size = 0, n = 0;
    char(*list)[32] = NULL;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strlen(e->d_name) >= sizeof *list || !ends_in(e->d_name, ".part")) continue;
        if (n == size) {
            size = size ? 2 * size : 64;
            void *grown = realloc(list, (size_t)size * sizeof *list);
            if (!grown) {
                free(list);
                closedir(dir);
                return sf_fail(SF_NO_MEMORY, "out of memory while listing %s", folder_path);
            }
            list = grown;
        }
        strcpy(list[n++], e->d_name);
    }
    closedir(dir);
    if (n) qsort(list, (size_t)n, sizeof *list, by_name);
    *count = n;
    *out = list;
    return SF_OK;
}
