/* Adding to a results file: parts, the lock, folding.
 *
 * What is on disk is at every instant one of: the results file, plus parts that it may already hold in full (a kill
 * after the rename of a fold, before its parts are gone). Both are read as a set of (cell, sample), so nothing counts
 * twice. */
#include "harness/store/edit.h"
#include "harness/store/fold.h"
#include "harness/store/hdf5.h"
#include "harness/store/part.h"
#include "harness/store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* Folding copies the results file, so it waits until the parts weigh something against it: over a long sweep the
 * copying stays a small multiple of the final size. */
enum { FOLD_PARTS = 256, FOLD_FRACTION = 4 };

struct seen {
    char key[SF_KEY_DIGITS + 1];
    uint8_t *bits;
    size_t bytes;
    int failed; /* sample at which the cell failed, plus one; 0: it did not */
};

struct sf_store {
    char *path, *aside, *folder_path, *parent_path;
    int folder, parent; /* open folders: of the parts, which carries the lock, and of the results */
    bool locked;        /* the folder is ours; else it is another process's */
    uint64_t next;      /* number of the next part */
    int writers;        /* processes that add, each with every writers-th number */
    bool quiet;         /* this one does not */
    int parts;
    size_t part_bytes, result_bytes;
    struct seen *seen; /* hash table by key, open addressing, `slots` a power of two */
    size_t slots, used;
};

/* ---- What is there already ---- */

static struct seen *find(struct seen *table, size_t slots, const char *key)
{
    size_t at = XXH3_64bits(key, strlen(key)) & (slots - 1);
    while (table[at].key[0] && strcmp(table[at].key, key) != 0) at = (at + 1) & (slots - 1);
    return &table[at];
}

static struct seen *seen_of(sf_store *s, const char *key)
{
    if (2 * (s->used + 1) > s->slots) {
        size_t slots = s->slots ? 2 * s->slots : 256;
        struct seen *grown = calloc(slots, sizeof *grown);
        if (!grown) return NULL;
        for (size_t i = 0; i < s->slots; i++)
            if (s->seen[i].key[0]) *find(grown, slots, s->seen[i].key) = s->seen[i];
        free(s->seen);
        s->seen = grown;
        s->slots = slots;
    }
    struct seen *cell = find(s->seen, s->slots, key);
    if (!cell->key[0]) {
        snprintf(cell->key, sizeof cell->key, "%s", key);
        s->used++;
    }
    return cell;
}

static bool mark(sf_store *s, const char *key, int sample)
{
    struct seen *cell = seen_of(s, key);
    if (!cell) return false;
    size_t byte = (size_t)sample / 8;
    if (byte >= cell->bytes) {
        size_t bytes = 2 * byte + 16;
        uint8_t *grown = realloc(cell->bits, bytes);
        if (!grown) return false;
        memset(grown + cell->bytes, 0, bytes - cell->bytes);
        cell->bits = grown;
        cell->bytes = bytes;
    }
    cell->bits[byte] |= (uint8_t)(1u << (sample % 8));
    return true;
}

bool sf_store_has(const sf_store *s, const char *key, int sample)
{
    if (!s->slots || sample < 0) return false;
    const struct seen *cell = find(s->seen, s->slots, key);
    size_t byte = (size_t)sample / 8;
    return cell->key[0] && byte < cell->bytes && (cell->bits[byte] >> (sample % 8) & 1);
}

static sf_status mark_failed(sf_store *s, const sf_failure *failure)
{
    struct seen *cell = seen_of(s, failure->key);
    if (!cell) return sf_fail(SF_NO_MEMORY, "out of memory");
    cell->failed = failure->sample + 1;
    return SF_OK;
}

bool sf_store_failed(const sf_store *s, const char *key)
{
    const struct seen *cell = s->slots ? find(s->seen, s->slots, key) : NULL;
    return cell && cell->failed && !sf_store_has(s, key, cell->failed - 1);
}

void sf_store_forgive(sf_store *s)
{
    for (size_t i = 0; i < s->slots; i++) s->seen[i].failed = 0;
}

/* ---- Opening ---- */

static char *joined(const char *a, const char *b)
{
    char *text = NULL;
    if (asprintf(&text, "%s%s", a, b) < 0) return NULL;
    return text;
}

static sf_status take_folder(sf_store *s)
{
    s->parent = open(s->parent_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->parent < 0)
        return sf_fail(SF_IO, "cannot write results to %s: the folder %s: %s", s->path, s->parent_path,
                       strerror(errno));
    for (int attempt = 0; attempt < 100; attempt++) {
        if (mkdir(s->folder_path, 0777) == 0) {
            SF_TRY(sf_sync_folder(s->parent, s->parent_path));
        } else if (errno != EEXIST) {
            return sf_fail(SF_IO, "cannot write results to %s: making the folder %s: %s", s->path, s->folder_path,
                           strerror(errno));
        }
        s->folder = open(s->folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->folder < 0 && errno == ENOENT) continue; /* its last user removed it just now */
        if (s->folder < 0)
            return sf_fail(SF_IO, "cannot open the folder of parts %s: %s", s->folder_path, strerror(errno));
        if (flock(s->folder, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                return sf_fail(SF_IO, "%s is being written by another process; wait for it, or choose another file",
                               s->path);
            return sf_fail(SF_IO, "cannot lock %s: %s; results need a file system with locks", s->folder_path,
                           strerror(errno));
        }
        struct stat mine, now;
        if (fstat(s->folder, &mine) == 0 && stat(s->folder_path, &now) == 0 && mine.st_ino == now.st_ino &&
            mine.st_dev == now.st_dev) {
            s->locked = true;
            if (faccessat(s->folder, ".", W_OK | X_OK, AT_EACCESS) == 0) return SF_OK;
            return sf_fail(SF_IO, "cannot write to the folder of parts %s: %s", s->folder_path, strerror(errno));
        }
        close(s->folder); /* locked a folder that its last user has removed meanwhile */
        s->folder = -1;
    }
    return sf_fail(SF_IO, "cannot hold the folder %s: it keeps being removed", s->folder_path);
}

/* The folder that another process holds: no lock of it is taken, so that none is given back either. */
static sf_status see_folder(sf_store *s)
{
    s->parent = open(s->parent_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->folder = open(s->folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->parent >= 0 && s->folder >= 0 && faccessat(s->folder, ".", W_OK | X_OK, AT_EACCESS) == 0) return SF_OK;
    return sf_fail(SF_IO, "%s, which rank 0 has opened, cannot be written from here: %s; results of several machines need a "
                   "file system that all of them have", s->folder_path, strerror(errno));
}

static sf_status drop_all(sf_store *s)
{
    int count;
    char(*name)[32];
    struct stat st;
    if (stat(s->path, &st) == 0 && !S_ISREG(st.st_mode))
        return sf_fail(SF_BAD_INPUT, "%s is not a file: choose another place for results", s->path);
    SF_TRY(sf_part_list(s->folder, s->folder_path, &count, &name));
    /* Parts first: a kill in between leaves a results file that is older, but whole. */
    for (int i = 0; i < count; i++) unlinkat(s->folder, name[i], 0);
    free(name);
    if (unlink(s->path) != 0 && errno != ENOENT)
        return sf_fail(SF_IO, "cannot overwrite %s: %s", s->path, strerror(errno));
    return sf_sync_folder(s->parent, s->parent_path);
}

static sf_status learn_results(sf_store *s)
{
    struct stat st;
    if (stat(s->path, &st) != 0 && errno == ENOENT) return SF_OK;
    sf_hdf5 file;
    sf_heap arena = {0};
    int cells = 0;
    const char **key = NULL;
    sf_seal seal = SF_SEAL_ABSENT;
    if (S_ISREG(st.st_mode)) SF_TRY(sf_seal_check(s->path, &seal)); /* what is none, opening it says */
    if (seal == SF_SEAL_BROKEN)
        return sf_fail(SF_BAD_INPUT,
                       "%s is damaged: its content does not match its checksum. Take a copy that is whole, or "
                       "overwrite it to run anew",
                       s->path);
    SF_TRY(sf_hdf5_open(s->path, false, &file));
    s->result_bytes = (size_t)st.st_size;
    sf_status status = sf_hdf5_keys(&file, &arena, &cells, &key);
    for (int c = 0; c < cells && status == SF_OK; c++) {
        bool exists;
        int n, *sample;
        status = sf_hdf5_samples(&file, key[c], &arena, &exists, &n, &sample);
        for (int i = 0; i < n && status == SF_OK; i++)
            if (!mark(s, key[c], sample[i])) status = sf_fail(SF_NO_MEMORY, "out of memory");
    }
    sf_failure *failure;
    int failures = 0;
    if (status == SF_OK) status = sf_hdf5_failures(&file, &arena, &failures, &failure);
    for (int i = 0; i < failures && status == SF_OK; i++) status = mark_failed(s, &failure[i]);
    sf_heap_free(&arena);
    sf_status closed = sf_hdf5_close(&file);
    return status == SF_OK ? closed : status;
}

static sf_status learn_parts(sf_store *s)
{
    int count;
    char(*name)[32];
    SF_TRY(sf_part_list(s->folder, s->folder_path, &count, &name));
    sf_status status = SF_OK;
    for (int i = 0; i < count && status == SF_OK; i++) {
        sf_heap arena = {0};
        sf_part part;
        bool gone;
        status = sf_part_read(s->folder, s->folder_path, name[i], &arena, &part, &gone);
        for (int j = 0; j < part.records && status == SF_OK; j++)
            if (!mark(s, part.cell[j].key, part.record[j].sample)) status = sf_fail(SF_NO_MEMORY, "out of memory");
        for (int j = 0; j < part.failures && status == SF_OK; j++) status = mark_failed(s, &part.failure[j]);
        s->part_bytes += part.bytes;
        sf_heap_free(&arena);
        uint64_t number = strtoull(name[i], NULL, 16);
        uint64_t step = (uint64_t)s->writers; /* its own numbers alone */
        if (s->next <= number) s->next += ((number - s->next) / step + 1) * step;
    }
    s->parts = count;
    free(name);
    return status;
}

/* `first`: of a store that another process holds; NULL: this one will. */
static sf_status open_store(const char *path, bool overwrite, const uint64_t *first, sf_store **out)
{
    *out = NULL;
    sf_store *s = calloc(1, sizeof *s);
    if (!s) return sf_fail(SF_NO_MEMORY, "out of memory");
    s->folder = s->parent = -1;
    s->writers = 1;
    s->path = realpath(path, NULL); /* through symbolic links, so that a rename replaces the file and not the link */
    if (!s->path) s->path = joined(path, "");
    s->aside = s->path ? joined(s->path, ".tmp") : NULL;
    s->folder_path = s->path ? joined(s->path, ".parts") : NULL;
    const char *slash = s->path ? strrchr(s->path, '/') : NULL;
    s->parent_path = slash ? strndup(s->path, (size_t)(slash - s->path) + (slash == s->path)) : strdup(".");
    sf_status status = SF_OK;
    struct stat st;
    if (!s->aside || !s->folder_path || !s->parent_path)
        status = sf_fail(SF_NO_MEMORY, "out of memory");
    else if (!*path || path[strlen(path) - 1] == '/' || (stat(s->path, &st) == 0 && S_ISDIR(st.st_mode)))
        status = sf_fail(SF_BAD_INPUT,
                         "\"%s\" is a folder, expected the name of a results file such as results/demo.h5", path);
    if (status == SF_OK) status = first ? see_folder(s) : take_folder(s);
    if (status == SF_OK && overwrite) status = drop_all(s);
    if (status == SF_OK && !first) {
        unlink(s->aside); /* of a fold that was killed */
        sf_part_sweep(s->folder);
    }
    if (status == SF_OK) status = learn_results(s);
    if (status == SF_OK) status = learn_parts(s);
    if (status != SF_OK) {
        sf_store_close(s);
        return status;
    }
    if (first) s->next = *first;
    *out = s;
    return SF_OK;
}

sf_status sf_store_open(const char *path, bool overwrite, sf_store **out) { return open_store(path, overwrite, NULL, out); }

uint64_t sf_store_lead(sf_store *s)
{
    const uint64_t far = (uint64_t)1 << 32;
    return s->next = (s->next / far + 1) * far;
}

sf_status sf_store_join(const char *path, uint64_t lead, sf_store **out) { return open_store(path, false, &lead, out); }

sf_status sf_store_written(const sf_store *s, uint64_t lead, int writer, int *parts)
{
    int count;
    char(*name)[32];
    *parts = 0;
    SF_TRY(sf_part_list(s->folder, s->folder_path, &count, &name));
    for (int i = 0; i < count; i++) {
        uint64_t number = strtoull(name[i], NULL, 16);
        *parts += number >= lead && (number - lead) % (uint64_t)s->writers == (uint64_t)writer;
    }
    free(name);
    return SF_OK;
}

void sf_store_close(sf_store *s)
{
    if (!s) return;
    if (s->folder >= 0) {
        if (s->locked) unlinkat(AT_FDCWD, s->folder_path, AT_REMOVEDIR); /* goes when empty; the lock is still held */
        close(s->folder);
    }
    if (s->parent >= 0) close(s->parent);
    for (size_t i = 0; i < s->slots; i++) free(s->seen[i].bits);
    free(s->seen);
    free(s->path);
    free(s->aside);
    free(s->folder_path);
    free(s->parent_path);
    free(s);
}

/* ---- Adding ---- */

static sf_status write_part(sf_store *s, int n, const sf_cell_info *cell, const sf_record *record,
                            const sf_run_info *run, const sf_failure *failure)
{
    if (s->quiet) return SF_OK;
    char name[32];
    snprintf(name, sizeof name, "%016llx.part", (unsigned long long)s->next);
    SF_TRY(sf_part_write(s->folder, s->folder_path, name, n, cell, record, run, failure));
    struct stat st;
    if (fstatat(s->folder, name, &st, 0) == 0) s->part_bytes += (size_t)st.st_size;
    s->next += (uint64_t)s->writers;
    s->parts++;
    return SF_OK;
}

sf_status sf_store_add(sf_store *s, int n, const sf_cell_info *cell, const sf_record *record)
{
    sf_cell_info *new_cell = malloc((size_t)n * sizeof *new_cell + 1);
    sf_record *new_record = malloc((size_t)n * sizeof *new_record + 1);
    sf_status status = new_cell && new_record ? SF_OK : sf_fail(SF_NO_MEMORY, "out of memory for %d records", n);
    int fresh = 0;
    for (int i = 0; i < n && status == SF_OK; i++) {
        if (!sf_key_valid(cell[i].key) || !sf_sample_valid(record[i].sample))
            status = sf_fail(SF_INTERNAL, "record %d: key \"%s\" or sample %d is not valid", i, cell[i].key,
                             record[i].sample);
        else
            status = sf_blame(sf_record_check(&record[i]), "cell %s, sample %d", cell[i].key, record[i].sample);
        if (status != SF_OK || sf_store_has(s, cell[i].key, record[i].sample)) continue;
        new_cell[fresh] = cell[i];
        new_record[fresh++] = record[i];
    }
    if (status == SF_OK && fresh) status = write_part(s, fresh, new_cell, new_record, NULL, NULL);
    for (int i = 0; i < fresh && status == SF_OK; i++)
        if (!mark(s, new_cell[i].key, new_record[i].sample)) status = sf_fail(SF_NO_MEMORY, "out of memory");
    free(new_cell);
    free(new_record);
    if (status == SF_OK && s->writers == 1 && s->parts >= FOLD_PARTS && s->part_bytes >= s->result_bytes / FOLD_FRACTION)
        status = sf_store_fold(s, NULL);
    return status;
}

void sf_store_share(sf_store *s, int writer, int writers)
{
    s->quiet = writer < 0;
    s->next += writer < 0 ? 0 : (uint64_t)writer;
    s->writers = writers;
}

sf_status sf_store_note(sf_store *s, const sf_run_info *run) { return write_part(s, 0, NULL, NULL, run, NULL); }

sf_status sf_store_fail(sf_store *s, const sf_failure *failure)
{
    SF_TRY(write_part(s, 0, NULL, NULL, NULL, failure));
    return mark_failed(s, failure);
}

sf_status sf_store_refresh(sf_store *s)
{
    s->part_bytes = 0;
    SF_TRY(learn_results(s));
    return learn_parts(s);
}

/* ---- Folding ---- */

/* The file that grew aside becomes the results file. */
static sf_status take_place(sf_store *s)
{
    struct stat st;
    if (rename(s->aside, s->path) != 0) return sf_fail(SF_IO, "cannot rename %s to %s: %s", s->aside, s->path, strerror(errno));
    if (stat(s->path, &st) == 0) s->result_bytes = (size_t)st.st_size;
    return sf_sync_folder(s->parent, s->parent_path);
}

sf_status sf_store_fold(sf_store *s, const sf_run_info *run)
{
    int count;
    char(*name)[32];
    struct stat st;
    if (run) SF_TRY(sf_store_note(s, run));
    SF_TRY(sf_part_list(s->folder, s->folder_path, &count, &name));
    if (count == 0 && stat(s->path, &st) == 0) {
        free(name);
        return SF_OK;
    }
    sf_status status = sf_fold_aside(s->path, s->aside, s->folder, s->folder_path, count, name);
    if (status == SF_OK) status = take_place(s);
    if (status == SF_OK) {
        /* From here the parts are superfluous; those that a kill leaves behind are known as doubles. */
        for (int i = 0; i < count; i++) unlinkat(s->folder, name[i], 0);
        s->parts = 0;
        s->part_bytes = 0;
    } else {
        unlink(s->aside);
        sf_blame(status, "results cannot be folded into %s; what was finished is kept in %s, the next run folds it",
                 s->path, s->folder_path);
    }
    free(name);
    return status;
}

/* ---- Changing what is there ---- */

sf_status sf_store_remove(sf_store *s, int n, const char *const *key)
{
    SF_TRY(sf_store_fold(s, NULL));
    sf_status status = sf_edit_without(s->path, s->aside, n, key);
    if (status == SF_OK) status = take_place(s);
    if (status != SF_OK) {
        unlink(s->aside);
        return status;
    }
    for (int i = 0; i < n && s->slots; i++) {
        struct seen *cell = find(s->seen, s->slots, key[i]);
        if (cell->bits) memset(cell->bits, 0, cell->bytes);
        cell->failed = 0;
    }
    return SF_OK;
}

static int by_key(const void *a, const void *b) { return strcmp((*(const sf_cell_info *const *)a)->key, (*(const sf_cell_info *const *)b)->key); }

/* Whether a part has a record of one of the cells under another label. */
static sf_status find_labels(const sf_store *s, int n, const sf_cell_info *cell, bool *others)
{
    int count;
    char(*name)[32];
    const sf_cell_info **index = malloc(((size_t)n + 1) * sizeof *index);
    if (!index) return sf_fail(SF_NO_MEMORY, "out of memory for %d cells", n);
    for (int i = 0; i < n; i++) index[i] = &cell[i];
    qsort(index, (size_t)n, sizeof *index, by_key);
    *others = false;
    sf_status status = sf_part_list(s->folder, s->folder_path, &count, &name);
    if (status != SF_OK) count = 0, name = NULL;
    for (int i = 0; i < count && status == SF_OK && !*others; i++) {
        sf_heap arena = {0};
        sf_part part;
        bool gone;
        status = sf_part_read(s->folder, s->folder_path, name[i], &arena, &part, &gone);
        for (int j = 0; status == SF_OK && j < part.records; j++) {
            const sf_cell_info *own = &part.cell[j], *const *found = bsearch(&own, index, (size_t)n, sizeof *index, by_key);
            *others |= found && !sf_edit_same_labels(own, *found);
        }
        sf_heap_free(&arena);
    }
    free(name);
    free(index);
    return status;
}

sf_status sf_store_relabel(sf_store *s, int n, const sf_cell_info *cell, int *renamed)
{
    struct stat st;
    bool in_parts = false;
    *renamed = 0;
    if (s->parts) SF_TRY(find_labels(s, n, cell, &in_parts));
    if (in_parts) SF_TRY(sf_store_fold(s, NULL));
    if (stat(s->path, &st) != 0) return SF_OK; /* no results file yet */
    SF_TRY(sf_edit_count_labels(s->path, n, cell, renamed));
    if (!*renamed) return SF_OK;
    sf_status status = sf_edit_labels(s->path, s->aside, n, cell);
    if (status == SF_OK) status = take_place(s);
    if (status != SF_OK) unlink(s->aside);
    return status;
}
