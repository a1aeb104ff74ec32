/* Reading back what was folded, before the parts that it came from go: what HDF5 reports as written is not believed. */
#include "harness/store/hdf5_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static sf_status differs(const sf_hdf5 *f, const char *key, const char *what)
{
    return sf_fail(SF_IO, "%s: read back, %s of cell %s is not what was written: the disk or the HDF5 library lost it",
                   f->path, what, key);
}

static bool same_real(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

/* `n` elements of a column, as sf_column_pack() lays them out. */
static bool same_values(sf_column_type type, const void *a, const void *b, size_t bytes)
{
    if (sf_column_is_floats(type)) {
        for (size_t i = 0; i < bytes / sizeof(float); i++)
            if (!same_real(((const float *)a)[i], ((const float *)b)[i])) return false;
        return true;
    }
    if (type == SF_COLUMN_REAL) {
        for (size_t i = 0; i < bytes / sizeof(double); i++)
            if (!same_real(((const double *)a)[i], ((const double *)b)[i])) return false;
        return true;
    }
    if (type == SF_COLUMN_TEXT) {
        for (size_t i = 0; i < bytes / sizeof(char *); i++) {
            const char *x = ((char *const *)a)[i], *y = ((char *const *)b)[i];
            if (strcmp(x ? x : "", y ? y : "") != 0) return false;
        }
        return true;
    }
    return memcmp(a, b, bytes) == 0;
}

/* What a row of a column holds that was never written: not recorded. */
static void fill_absent(const sf_column *column, void *rows, size_t bytes)
{
    memset(rows, 0, bytes);
    for (size_t i = 0; sf_column_is_floats(column->type) && i < bytes / sizeof(float); i++) ((float *)rows)[i] = NAN;
    for (size_t i = 0; column->type == SF_COLUMN_REAL && i < bytes / sizeof(double); i++) ((double *)rows)[i] = NAN;
}

static void free_texts(const sf_column *column, void *rows, size_t n)
{
    for (size_t i = 0; column->type == SF_COLUMN_TEXT && i < n; i++)
        if (((char **)rows)[i]) H5free_memory(((char **)rows)[i]);
}

/* Rows [first, first + n) into `rows`, which is zeroed; an absent column's as not recorded. */
static sf_status read_rows(const sf_hdf5 *f, hid_t group, const sf_cell_info *cell, const sf_column *column, size_t first,
                           size_t n, void *rows)
{
    if ((sf_column_is_floats(column->type) || column->later) && H5Lexists(group, column->name, H5P_DEFAULT) == 0) {
        fill_absent(column, rows, n * sf_column_bytes(column, cell));
        return SF_OK;
    }
    hsize_t dim[4];
    hid_t set;
    bool made;
    SF_TRY(sf_column_open(f, group, cell, column, 0, &set, dim));
    hid_t memory = sf_hdf5_memory_type(column->type, &made);
    int rank = sf_column_dims(column, cell, dim);
    sf_status status = SF_OK;
    if (sf_column_transfer(set, rank, dim, first, n, memory, rows, false) < 0)
        status = sf_hdf5_fail(f, SF_IO, "cell %s: the column %s cannot be read back", cell->key, column->name);
    if (made) H5Tclose(memory);
    H5Dclose(set);
    return status;
}

static bool same_attributes(const sf_column *column, const void *a, const void *b)
{
    for (; column->name; column++) {
        const char *x = (const char *)a + column->offset, *y = (const char *)b + column->offset;
        size_t bytes = column->type == SF_COLUMN_INT ? sizeof(int) : sizeof(uint64_t); /* numbers and texts alone */
        if (!same_values(column->type, x, y, bytes)) return false;
    }
    return true;
}

/* Pictures lie apart from the rows: the first record that has one gave it, unless the cell had one before. */
static sf_status same_picture(const sf_hdf5 *f, hid_t group, const sf_column *column, const sf_cell_info *cell, int n,
                              const sf_record *const *record)
{
    sf_heap heap = {0};
    sf_status status = SF_OK;
    for (int i = 0; i < n && status == SF_OK; i++) {
        const sf_picture *wanted = *(const sf_picture *const *)((const char *)record[i] + column->offset), *found;
        sf_record one = {.sample = record[i]->sample};
        if (!wanted) continue;
        if (H5Lexists(group, column->name, H5P_DEFAULT) <= 0)
            status = differs(f, cell->key, column->name);
        else
            status = sf_cell_picture(f, group, column, cell, 1, &one, &heap);
        found = *(const sf_picture *const *)((const char *)&one + column->offset);
        if (status == SF_OK && found && memcmp(found, wanted, sizeof *wanted) != 0)
            status = differs(f, cell->key, column->name);
        break;
    }
    sf_heap_free(&heap);
    return status;
}

static sf_status same_column(const sf_hdf5 *f, hid_t group, const sf_column *column, const sf_cell_info *cell, int first,
                             int n, const sf_record *const *record)
{
    size_t bytes = (size_t)n * sf_column_bytes(column, cell);
    char *wanted = malloc(bytes + 1), *found = calloc(1, bytes + 1);
    sf_status status = wanted && found ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: out of memory to read it back", f->path);
    if (status == SF_OK) status = read_rows(f, group, cell, column, (size_t)first, (size_t)n, found);
    if (status == SF_OK) {
        sf_column_pack(column, cell, n, record, wanted);
        if (!same_values(column->type, wanted, found, bytes)) status = differs(f, cell->key, column->name);
    }
    if (found) free_texts(column, found, (size_t)n);
    free(wanted);
    free(found);
    return status;
}

sf_status sf_hdf5_same_rows(const sf_hdf5 *f, const sf_cell_info *cell, int first, int n, const sf_record *const *record)
{
    hid_t group;
    sf_heap heap = {0};
    SF_TRY(sf_cell_open(f, cell->key, &group));
    if (group < 0) return differs(f, cell->key, "everything");
    sf_cell_info stored = {0};
    sf_status status = sf_hdf5_get_attributes(f, group, cell->key, sf_cell_columns, &heap, &stored);
    if (status == SF_OK && first == 0 && !same_attributes(sf_cell_columns, cell, &stored))
        status = differs(f, cell->key, "an attribute");
    for (const sf_column *column = sf_record_columns; status == SF_OK && column->name; column++)
        if (column->type == SF_COLUMN_PICTURE)
            status = same_picture(f, group, column, cell, n, record);
        else if (column->type != SF_COLUMN_MAP || (cell->layers && cell->heads))
            status = same_column(f, group, column, cell, first, n, record);
    H5Gclose(group);
    sf_heap_free(&heap);
    return status;
}

/* ---- Against the file as it was ---- */

static sf_status same_beginning(const sf_hdf5 *f, const sf_hdf5 *before, hid_t group, hid_t old, const sf_column *column,
                                const sf_cell_info *cell, size_t rows)
{
    size_t row = sf_column_bytes(column, cell), slab = (4 << 20) / row + 1;
    char *a = malloc(slab * row), *b = malloc(slab * row);
    sf_status status = a && b ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: out of memory to read it back", f->path);
    for (size_t first = 0; first < rows && status == SF_OK; first += slab) {
        size_t n = rows - first < slab ? rows - first : slab;
        memset(a, 0, n * row);
        memset(b, 0, n * row);
        status = read_rows(f, group, cell, column, first, n, a);
        if (status == SF_OK) status = read_rows(before, old, cell, column, first, n, b);
        if (status == SF_OK && !same_values(column->type, a, b, n * row)) status = differs(f, cell->key, column->name);
        free_texts(column, a, n);
        free_texts(column, b, n);
    }
    free(a);
    free(b);
    return status;
}

static sf_status same_cell(const sf_hdf5 *f, const sf_hdf5 *before, const char *key, sf_heap *heap)
{
    bool there;
    int now, then, *sample;
    sf_cell_info cell = {0}, was = {0};
    hid_t group, old;
    SF_TRY(sf_hdf5_samples(before, key, heap, &there, &then, &sample));
    SF_TRY(sf_hdf5_samples(f, key, heap, &there, &now, &sample));
    if (!there || now < then) return differs(f, key, "a row");
    if (now == then) return SF_OK; /* nothing was added: its bytes are a copy */
    SF_TRY(sf_cell_open(f, key, &group));
    sf_status status = sf_cell_open(before, key, &old);
    if (status == SF_OK) status = sf_hdf5_get_attributes(f, group, key, sf_cell_columns, heap, &cell);
    if (status == SF_OK) status = sf_hdf5_get_attributes(before, old, key, sf_cell_columns, heap, &was);
    memcpy(cell.key, key, strlen(key) + 1);
    if (status == SF_OK && !same_attributes(sf_cell_columns, &cell, &was)) status = differs(f, key, "an attribute");
    for (const sf_column *column = sf_record_columns; status == SF_OK && column->name; column++)
        if (column->type != SF_COLUMN_PICTURE && (column->type != SF_COLUMN_MAP || (cell.layers && cell.heads)))
            status = same_beginning(f, before, group, old, column, &cell, (size_t)then);
    H5Gclose(group);
    if (old >= 0) H5Gclose(old);
    return status;
}

sf_status sf_hdf5_same_cells(const sf_hdf5 *f, const sf_hdf5 *before)
{
    sf_heap keys = {0};
    int count;
    const char **key;
    sf_status status = sf_hdf5_keys(before, &keys, &count, &key);
    for (int i = 0; i < count && status == SF_OK; i++) {
        sf_heap heap = {0};
        status = same_cell(f, before, key[i], &heap);
        sf_heap_free(&heap);
    }
    sf_heap_free(&keys);
    return status;
}

sf_status sf_hdf5_same_run(const sf_hdf5 *f, const sf_run_info *run)
{
    sf_heap heap = {0};
    sf_run_info *there;
    int count;
    bool found = false;
    sf_status status = sf_hdf5_runs(f, &heap, &count, &there);
    for (int i = 0; i < count && status == SF_OK && !found; i++) found = same_attributes(sf_run_columns, run, &there[i]);
    sf_heap_free(&heap);
    if (status == SF_OK && !found)
        status = sf_fail(SF_IO, "%s: read back, the note of the run of %s is not there", f->path, run->started);
    return status;
}

sf_status sf_hdf5_same_failure(const sf_hdf5 *f, const sf_failure *failure)
{
    sf_heap heap = {0};
    sf_failure *there;
    int count;
    bool found = false;
    sf_status status = sf_hdf5_failures(f, &heap, &count, &there);
    for (int i = 0; i < count && status == SF_OK && !found; i++)
        found = same_attributes(sf_failure_columns, failure, &there[i]);
    sf_heap_free(&heap);
    return status == SF_OK && !found ? differs(f, failure->key, "the failure") : status;
}
