#include "harness/store/fold.h"
#include "harness/store/hdf5.h"
#include "harness/store/part.h"
#include "harness/store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Parts are folded a batch at a time, which bounds the memory of a fold. */
enum { BATCH_BYTES = 256 << 20 };

struct row {
    const sf_cell_info *cell;
    const sf_record *record;
    size_t order;
};

static int by_cell(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int key = strcmp(x->cell->key, y->cell->key);
    if (key) return key;
    if (x->record->sample != y->record->sample) return x->record->sample < y->record->sample ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return x < y ? -1 : x > y;
}

/* Rows of one cell that the file did not hold yet, and where they were put. */
struct added {
    const sf_cell_info *cell;
    int first, rows;
    const sf_record **record; /* [rows], in the batch's array */
};

struct batch {
    sf_heap heap;
    struct row *row;
    size_t rows, size;
    const sf_run_info **run;
    const sf_failure **failure;
    int runs, failures;
    struct added *added;
    int cells;
    const sf_record **record; /* [rows] */
};

static void release(struct batch *b)
{
    free(b->row);
    free(b->run);
    free(b->failure);
    free(b->added);
    free(b->record);
    sf_heap_free(&b->heap);
    *b = (struct batch){0};
}

static void *grown(void *array, size_t items, size_t bytes)
{
    void *fresh = realloc(array, items * bytes + 1);
    if (!fresh) sf_fail(SF_NO_MEMORY, "out of memory for %zu records", items);
    return fresh;
}

/* Parts [*first, …) until the batch is full; *first moves on. */
static sf_status read_batch(int folder, const char *folder_path, int count, char (*name)[32], int *first,
                            struct batch *b)
{
    for (size_t bytes = 0; *first < count && bytes < BATCH_BYTES; ++*first) {
        sf_part part;
        bool gone;
        SF_TRY(sf_part_read(folder, folder_path, name[*first], &b->heap, &part, &gone));
        bytes += part.bytes;
        if (b->rows + (size_t)part.records > b->size) {
            size_t size = 2 * (b->rows + (size_t)part.records);
            struct row *row = grown(b->row, size, sizeof *row);
            if (!row) return SF_NO_MEMORY;
            b->row = row;
            b->size = size;
        }
        for (int i = 0; i < part.records; i++, b->rows++)
            b->row[b->rows] = (struct row){&part.cell[i], &part.record[i], b->rows};
        const sf_run_info **run = grown(b->run, (size_t)(b->runs + part.runs), sizeof *run);
        if (!run) return SF_NO_MEMORY;
        b->run = run;
        for (int i = 0; i < part.runs; i++) b->run[b->runs++] = &part.run[i];
        const sf_failure **failure = grown(b->failure, (size_t)(b->failures + part.failures), sizeof *failure);
        if (!failure) return SF_NO_MEMORY;
        b->failure = failure;
        for (int i = 0; i < part.failures; i++) b->failure[b->failures++] = &part.failure[i];
    }
    if (b->rows) qsort(b->row, b->rows, sizeof *b->row, by_cell);
    b->record = grown(NULL, b->rows, sizeof *b->record);
    b->added = grown(NULL, b->rows, sizeof *b->added);
    return b->record && b->added ? SF_OK : SF_NO_MEMORY;
}

/* Appends the rows of one cell that the file does not hold yet; `row` is sorted by sample. */
static sf_status add_cell(const sf_hdf5 *file, struct batch *b, int n, const struct row *row, const sf_record **record)
{
    bool exists;
    int have, *sample = NULL, fresh = 0;
    SF_TRY(sf_hdf5_samples(file, row->cell->key, &b->heap, &exists, &have, &sample));
    if (have) qsort(sample, (size_t)have, sizeof *sample, by_value);
    for (int i = 0; i < n; i++) {
        int wanted = row[i].record->sample;
        if (fresh && record[fresh - 1]->sample == wanted) continue;
        if (have && bsearch(&wanted, sample, (size_t)have, sizeof *sample, by_value)) continue;
        record[fresh++] = row[i].record;
    }
    if (!fresh) return SF_OK;
    b->added[b->cells++] = (struct added){row->cell, have, fresh, record};
    return sf_hdf5_append(file, row->cell, fresh, record);
}

static sf_status add_batch(const sf_hdf5 *file, struct batch *b)
{
    for (int i = 0; i < b->runs; i++) SF_TRY(sf_hdf5_put_run(file, b->run[i]));
    for (int i = 0; i < b->failures; i++) SF_TRY(sf_hdf5_put_failure(file, b->failure[i]));
    for (size_t i = 0, end; i < b->rows; i = end) {
        for (end = i + 1; end < b->rows && strcmp(b->row[end].cell->key, b->row[i].cell->key) == 0;) end++;
        SF_TRY(add_cell(file, b, (int)(end - i), b->row + i, b->record + i));
    }
    return SF_OK;
}

/* Of several failures of a cell, and of several notes of a run, the last one stands. */
static bool failure_stands(const struct batch *b, int i)
{
    for (int j = i + 1; j < b->failures; j++)
        if (strcmp(b->failure[i]->key, b->failure[j]->key) == 0) return false;
    return true;
}

static bool stands(const struct batch *b, int i)
{
    for (int j = i + 1; j < b->runs; j++)
        if (strcmp(b->run[i]->started, b->run[j]->started) == 0 && strcmp(b->run[i]->host, b->run[j]->host) == 0)
            return false;
    return true;
}

static sf_status check_batch(const char *aside, const struct batch *b)
{
    sf_hdf5 file;
    SF_TRY(sf_hdf5_open(aside, false, &file));
    sf_status status = SF_OK;
    for (int i = 0; i < b->cells && status == SF_OK; i++)
        status = sf_hdf5_same_rows(&file, b->added[i].cell, b->added[i].first, b->added[i].rows, b->added[i].record);
    for (int i = 0; i < b->runs && status == SF_OK; i++)
        if (stands(b, i)) status = sf_hdf5_same_run(&file, b->run[i]);
    for (int i = 0; i < b->failures && status == SF_OK; i++)
        if (failure_stands(b, i)) status = sf_hdf5_same_failure(&file, b->failure[i]);
    sf_status closed = sf_hdf5_close(&file);
    return status == SF_OK ? closed : status;
}

static sf_status fold_batch(const char *aside, bool create, int folder, const char *folder_path, int count,
                            char (*name)[32], int *first)
{
    struct batch b = {0};
    sf_hdf5 file;
    sf_status status = create ? sf_hdf5_create(aside, &file) : sf_hdf5_open(aside, true, &file);
    if (status == SF_OK) status = read_batch(folder, folder_path, count, name, first, &b);
    if (status == SF_OK) status = add_batch(&file, &b);
    sf_status closed = sf_hdf5_close(&file);
    if (status == SF_OK) status = closed;
    if (status == SF_OK) status = check_batch(aside, &b);
    release(&b);
    return status;
}

sf_status sf_fold_copy(const char *path, const char *aside, bool *existed)
{
    struct stat st;
    int from = open(path, O_RDONLY | O_CLOEXEC), to = -1, failure = 0;
    *existed = from >= 0;
    if (from < 0 && errno == ENOENT) return SF_OK;
    if (from >= 0 && fstat(from, &st) == 0)
        to = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, st.st_mode & 0777);
    if (to < 0) failure = errno;
    bool by_kernel = true;
    while (!failure) {
        static char block[1 << 16];
        ssize_t n =
            by_kernel ? copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0) : read(from, block, sizeof block);
        if (n == 0) break;
        if (n < 0 && by_kernel && (errno == EXDEV || errno == ENOSYS || errno == EINVAL || errno == EOPNOTSUPP)) {
            by_kernel = false; /* both offsets stand where the last piece ended */
        } else if (n < 0 && errno != EINTR) {
            failure = errno;
        } else if (n > 0 && !by_kernel) {
            for (ssize_t done = 0; done < n && !failure;) {
                ssize_t w = write(to, block + done, (size_t)(n - done));
                if (w >= 0)
                    done += w;
                else if (errno != EINTR)
                    failure = errno;
            }
        }
    }
    if (to >= 0 && close(to) != 0 && !failure) failure = errno;
    if (from >= 0) close(from);
    return failure ? sf_fail(SF_IO, "cannot copy %s to %s: %s", path, aside, strerror(failure)) : SF_OK;
}

static sf_status check_against(const char *path, const char *aside)
{
    sf_hdf5 before, file;
    sf_status status = sf_hdf5_open(path, false, &before);
    if (status != SF_OK) return status;
    status = sf_hdf5_open(aside, false, &file);
    if (status == SF_OK) status = sf_hdf5_same_cells(&file, &before);
    sf_hdf5_close(&file);
    sf_hdf5_close(&before);
    return status;
}

sf_status sf_fold_aside(const char *path, const char *aside, int folder, const char *folder_path, int count,
                        char (*name)[32])
{
    bool existed;
    int at = 0;
    SF_TRY(sf_fold_copy(path, aside, &existed));
    do SF_TRY(fold_batch(aside, !existed && at == 0, folder, folder_path, count, name, &at));
    while (at < count);
    if (existed) SF_TRY(check_against(path, aside));
    return sf_seal_put(aside);
}
