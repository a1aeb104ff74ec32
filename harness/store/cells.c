/* Cells of a results file: a group each, attributes for what the cell is, a dataset for each column of its records. */
#include "harness/store/hdf5_inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCALAR_CHUNK = 64 /* rows */, MAP_CHUNK_BYTES = 256 << 10, MAX_ROWS = 100 * 1000 * 1000 };

/* ---- Columns ---- */

int sf_column_dims(const sf_column *column, const sf_cell_info *cell, hsize_t dim[4])
{
    if (column->type == SF_COLUMN_METER) {
        dim[1] = SF_PHASES, dim[2] = SF_WORKS, dim[3] = 5;
        return 4;
    }
    if (column->type == SF_COLUMN_MAP) {
        dim[1] = (hsize_t)cell->layers, dim[2] = (hsize_t)cell->heads;
        return 3;
    }
    if (column->type == SF_COLUMN_PROFILE) {
        dim[1] = SF_PROFILE_MEASURES, dim[2] = SF_STRETCHES;
        return 3;
    }
    return 1;
}

static size_t element_bytes(sf_column_type type)
{
    switch (type) {
    case SF_COLUMN_INT:
        return sizeof(int);
    case SF_COLUMN_FLAG:
        return 1;
    case SF_COLUMN_U64:
        return sizeof(uint64_t);
    case SF_COLUMN_REAL:
        return sizeof(double);
    case SF_COLUMN_TEXT:
        return sizeof(char *);
    case SF_COLUMN_METER:
        return sizeof(sf_meter);
    case SF_COLUMN_MAP:
    case SF_COLUMN_PROFILE:
    case SF_COLUMN_PICTURE:
        return sizeof(float);
    }
    return 0;
}

size_t sf_column_bytes(const sf_column *column, const sf_cell_info *cell)
{
    size_t bytes = element_bytes(column->type), floats = sf_column_floats(column, (size_t)cell->layers * (size_t)cell->heads);
    return sf_column_is_floats(column->type) ? bytes * floats : bytes;
}

static hid_t create_column(hid_t group, const sf_column *column, const sf_cell_info *cell, hsize_t rows)
{
    hsize_t dim[4] = {rows}, most[4], chunk[4];
    int rank = sf_column_dims(column, cell, dim);
    memcpy(most, dim, sizeof most);
    memcpy(chunk, dim, sizeof chunk);
    most[0] = H5S_UNLIMITED;
    hsize_t by_size = MAP_CHUNK_BYTES / sf_column_bytes(column, cell);
    chunk[0] = by_size < 1 ? 1 : by_size > SCALAR_CHUNK ? SCALAR_CHUNK : by_size;
    bool made;
    hid_t type = sf_hdf5_file_type(column->type, &made), space = H5Screate_simple(rank, dim, most),
          list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(list, rank, chunk);
    if (column->type != SF_COLUMN_TEXT) { /* HDF5 refuses filters on texts: their bytes lie elsewhere */
        H5Pset_shuffle(list);
        H5Pset_deflate(list, 4);
        H5Pset_fletcher32(list);
    }
    if (sf_column_is_floats(column->type) || (column->later && column->type == SF_COLUMN_REAL)) {
        float absent = NAN;
        H5Pset_fill_value(list, H5T_NATIVE_FLOAT, &absent);
    }
    hid_t set = H5Dcreate2(group, column->name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Pclose(list);
    H5Sclose(space);
    if (made) H5Tclose(type);
    return set;
}

herr_t sf_column_transfer(hid_t set, int rank, const hsize_t dim[4], hsize_t first, hsize_t n, hid_t memory, void *rows,
                          bool write)
{
    hsize_t start[4] = {first}, count[4] = {n, dim[1], dim[2], dim[3]};
    hid_t in_file = H5Dget_space(set), in_memory = H5Screate_simple(rank, count, NULL);
    herr_t done = -1;
    if (in_file >= 0 && in_memory >= 0 && H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
        done = write ? H5Dwrite(set, memory, in_memory, in_file, H5P_DEFAULT, rows)
                     : H5Dread(set, memory, in_memory, in_file, H5P_DEFAULT, rows);
    if (in_memory >= 0) H5Sclose(in_memory);
    if (in_file >= 0) H5Sclose(in_file);
    return done;
}

bool sf_column_pack(const sf_column *column, const sf_cell_info *cell, int n, const sf_record *const *record, void *rows)
{
    size_t bytes = sf_column_bytes(column, cell);
    bool any = false;
    for (int i = 0; i < n; i++) {
        const char *field = (const char *)record[i] + column->offset;
        char *row = (char *)rows + (size_t)i * bytes;
        if (column->type == SF_COLUMN_TEXT) {
            const char *text = *(const char *const *)field ? *(const char *const *)field : "";
            *(const char **)row = text;
            any |= !column->later || *text;
        } else if (column->type == SF_COLUMN_FLAG) {
            *row = *(const bool *)field;
        } else if (sf_column_is_floats(column->type)) {
            const float *map = *(const float *const *)field;
            any |= map != NULL;
            if (map)
                memcpy(row, map, bytes);
            else
                for (size_t j = 0; j < bytes / sizeof(float); j++) ((float *)row)[j] = NAN;
        } else {
            memcpy(row, field, bytes);
            any |= column->type != SF_COLUMN_REAL || !isnan(*(const double *)field);
        }
    }
    return any;
}

static sf_status append_column(const sf_hdf5 *f, hid_t group, const sf_column *column, const sf_cell_info *cell,
                               hsize_t have, int n, const sf_record *const *record)
{
    bool made = false;
    char *rows = malloc((size_t)n * sf_column_bytes(column, cell) + 1);
    if (!rows) return sf_fail(SF_NO_MEMORY, "%s: out of memory for %d rows of %s", f->path, n, column->name);
    bool any = sf_column_pack(column, cell, n, record, rows);
    hid_t set = H5I_INVALID_HID, memory = sf_hdf5_memory_type(column->type, &made);
    hsize_t dim[4] = {have + (hsize_t)n};
    int rank = sf_column_dims(column, cell, dim);
    sf_status status = SF_OK;
    htri_t exists = H5Lexists(group, column->name, H5P_DEFAULT);
    bool optional = sf_column_is_floats(column->type) || (column->later && (column->type == SF_COLUMN_REAL || column->type == SF_COLUMN_TEXT));
    if (optional && exists == 0 && !any) goto done; /* never recorded: no dataset */
    if (exists > 0) status = sf_hdf5_open_dataset(f, group, cell->key, column->name, &set);
    if (exists == 0) set = create_column(group, column, cell, dim[0]);
    if (status != SF_OK) goto done;
    if (set < 0 || (exists > 0 && H5Dset_extent(set, dim) < 0) ||
        sf_column_transfer(set, rank, dim, have, (hsize_t)n, memory, rows, true) < 0)
        status = sf_hdf5_fail(f, SF_IO, "cannot write %d rows of %s of cell %s", n, column->name, cell->key);
    else if (exists == 0 && column->unit)
        status = sf_hdf5_put_attribute(f, set, "unit", SF_COLUMN_TEXT, &column->unit);
    if (exists == 0 && status == SF_OK && (column->type == SF_COLUMN_METER || column->type == SF_COLUMN_PROFILE)) {
        const char *axes = column->type == SF_COLUMN_PROFILE ? "measure: nll, dense_nll, kl; stretch"
                                                           : "phase: prefill, decode; work: linear, attention, estimation, other; "
                                                             "count: flops, weight_bytes, cache_bytes, other_bytes, pairs";
        status = sf_hdf5_put_attribute(f, set, "axes", SF_COLUMN_TEXT, &axes);
    }
done:
    status = sf_hdf5_close_dataset(f, set, status);
    if (made) H5Tclose(memory);
    free(rows);
    return status;
}

/* ---- Pictures: a dataset of their own size, with what it shows as attributes ---- */

struct caption {
    const char *name;
    size_t offset;
};
static const struct caption captions[] = {{"layer", offsetof(sf_picture, layer)},
                                          {"head", offsetof(sf_picture, head)},
                                          {"queries", offsetof(sf_picture, queries)},
                                          {"keys", offsetof(sf_picture, keys)}};
enum { CAPTIONS = sizeof captions / sizeof *captions };

/* Of the first record that has one, unless the cell has one already. */
static sf_status put_picture(const sf_hdf5 *f, hid_t group, const sf_column *column, const sf_cell_info *cell, int n,
                             const sf_record *const *record)
{
    const hsize_t dim[2] = {SF_PICTURE_SIDE, SF_PICTURE_SIDE};
    const sf_picture *picture = NULL;
    int sample = 0;
    for (int i = n - 1; i >= 0; i--) {
        const sf_picture *one = *(const sf_picture *const *)((const char *)record[i] + column->offset);
        if (one) picture = one, sample = record[i]->sample;
    }
    if (!picture || H5Lexists(group, column->name, H5P_DEFAULT) > 0) return SF_OK;
    hid_t space = H5Screate_simple(2, dim, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(list, 2, dim);
    H5Pset_shuffle(list);
    H5Pset_deflate(list, 4);
    H5Pset_fletcher32(list);
    hid_t set = H5Dcreate2(group, column->name, H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Pclose(list);
    H5Sclose(space);
    sf_status status = SF_OK;
    if (set < 0 || H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, picture->at) < 0)
        status = sf_hdf5_fail(f, SF_IO, "cannot write %s of cell %s", column->name, cell->key);
    if (status == SF_OK) status = sf_hdf5_put_attribute(f, set, "sample", SF_COLUMN_INT, &sample);
    for (int i = 0; i < CAPTIONS && status == SF_OK; i++)
        status = sf_hdf5_put_attribute(f, set, captions[i].name, SF_COLUMN_INT,
                                       (const char *)picture + captions[i].offset);
    return sf_hdf5_close_dataset(f, set, status);
}

static bool get_int(hid_t set, const char *name, void *value)
{
    hid_t at = H5Aexists(set, name) > 0 ? H5Aopen(set, name, H5P_DEFAULT) : H5I_INVALID_HID;
    hid_t space = at >= 0 ? H5Aget_space(at) : H5I_INVALID_HID;
    bool read = space >= 0 && H5Sget_simple_extent_npoints(space) == 1 && H5Aread(at, H5T_NATIVE_INT, value) >= 0;
    if (space >= 0) H5Sclose(space);
    if (at >= 0) H5Aclose(at);
    return read;
}

sf_status sf_cell_picture(const sf_hdf5 *f, hid_t group, const sf_column *column, const sf_cell_info *cell, int n,
                          sf_record *record, sf_heap *arena)
{
    if (H5Lexists(group, column->name, H5P_DEFAULT) == 0) return SF_OK;
    hid_t set;
    SF_TRY(sf_hdf5_open_dataset(f, group, cell->key, column->name, &set));
    hid_t space = H5Dget_space(set);
    hsize_t dim[2] = {0};
    int sample = -1;
    sf_picture *picture = sf_heap_alloc(arena, sizeof *picture);
    bool fits = space >= 0 && H5Sget_simple_extent_ndims(space) == 2 &&
                H5Sget_simple_extent_dims(space, dim, NULL) == 2 && dim[0] == SF_PICTURE_SIDE &&
                dim[1] == SF_PICTURE_SIDE && get_int(set, "sample", &sample);
    for (int i = 0; i < CAPTIONS && fits && picture; i++)
        fits = get_int(set, captions[i].name, (char *)picture + captions[i].offset);
    if (fits && picture) fits = H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, picture->at) >= 0;
    if (space >= 0) H5Sclose(space);
    H5Dclose(set);
    if (!picture) return sf_fail(SF_NO_MEMORY, "%s: out of memory for %s of cell %s", f->path, column->name, cell->key);
    if (!fits) return sf_hdf5_fail(f, SF_BAD_INPUT, "cell %s: the picture %s cannot be read", cell->key, column->name);
    for (int i = 0; i < n; i++)
        if (record[i].sample == sample) *(const sf_picture **)((char *)&record[i] + column->offset) = picture;
    return SF_OK;
}

sf_status sf_cell_open(const sf_hdf5 *f, const char *key, hid_t *group)
{
    char path[64];
    snprintf(path, sizeof path, "cells/%s", key);
    *group = H5I_INVALID_HID;
    htri_t exists = H5Lexists(f->file, path, H5P_DEFAULT);
    if (exists == 0) return SF_OK;
    if (exists > 0) SF_TRY(sf_hdf5_check_link(f, f->file, path));
    if (exists > 0) *group = H5Gopen2(f->file, path, H5P_DEFAULT);
    return *group < 0 ? sf_hdf5_fail(f, SF_BAD_INPUT, "cell %s cannot be opened", key) : SF_OK;
}

sf_status sf_column_open(const sf_hdf5 *f, hid_t group, const sf_cell_info *cell, const sf_column *column, hsize_t rows,
                         hid_t *set, hsize_t dim[4])
{
    hsize_t want[4] = {rows}, found[4] = {0};
    int rank = sf_column_dims(column, cell, want);
    SF_TRY(sf_hdf5_open_dataset(f, group, cell->key, column->name, set));
    hid_t space = H5Dget_space(*set), type = H5Dget_type(*set);
    bool fits = space >= 0 && type >= 0 && sf_hdf5_kind_fits(type, column->type) &&
                H5Sget_simple_extent_ndims(space) == rank && H5Sget_simple_extent_dims(space, found, NULL) == rank &&
                (!rows || found[0] == rows) && memcmp(found + 1, want + 1, (size_t)(rank - 1) * sizeof *want) == 0;
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    memcpy(dim, found, sizeof found);
    if (fits) return SF_OK;
    H5Dclose(*set);
    *set = H5I_INVALID_HID;
    return sf_hdf5_fail(f, SF_BAD_INPUT,
                        "cell %s: the column %s is not of the schema's type and shape, or has another number of rows "
                        "than `sample` (found %llu, expected %llu)",
                        cell->key, column->name, (unsigned long long)found[0], (unsigned long long)rows);
}

/* The `sample` column says how many rows a cell has. */
static sf_status read_samples(const sf_hdf5 *f, hid_t group, const sf_cell_info *cell, sf_heap *arena, int *count,
                              int **sample)
{
    hsize_t dim[4];
    hid_t set;
    SF_TRY(sf_column_open(f, group, cell, &sf_record_columns[0], 0, &set, dim));
    /* Deflate packs at most about 1032 to 1: rows that could not be in the file are a damaged length. */
    sf_status status = SF_OK;
    if (dim[0] > MAX_ROWS || dim[0] * sizeof(int) / 1100 > H5Dget_storage_size(set) + 4096)
        status = sf_fail(SF_BAD_INPUT, "%s: cell %s claims %llu rows, more than it holds", f->path, cell->key,
                         (unsigned long long)dim[0]);
    else if (!(*sample = sf_heap_alloc(arena, (size_t)dim[0] * sizeof **sample)))
        status = sf_fail(SF_NO_MEMORY, "%s: out of memory", f->path);
    else if (dim[0] && sf_column_transfer(set, 1, dim, 0, dim[0], H5T_NATIVE_INT, *sample, false) < 0)
        status = sf_hdf5_fail(f, SF_BAD_INPUT, "cell %s: the column sample cannot be read", cell->key);
    *count = status == SF_OK ? (int)dim[0] : 0;
    H5Dclose(set);
    for (int i = 0; i < *count && status == SF_OK; i++)
        if (!sf_sample_valid((*sample)[i]))
            status = sf_fail(SF_BAD_INPUT, "%s: cell %s, row %d: sample %d; they are numbered from 0 to %d", f->path,
                             cell->key, i, (*sample)[i], SF_STORE_SAMPLES - 1);
    if (status != SF_OK) *count = 0;
    return status;
}

sf_status sf_hdf5_samples(const sf_hdf5 *f, const char *key, sf_heap *arena, bool *exists, int *count, int **sample)
{
    hid_t group;
    sf_cell_info cell = {0};
    snprintf(cell.key, sizeof cell.key, "%s", key);
    *count = 0;
    SF_TRY(sf_cell_open(f, key, &group));
    *exists = group >= 0;
    if (!*exists) return SF_OK;
    sf_status status = read_samples(f, group, &cell, arena, count, sample);
    H5Gclose(group);
    return status;
}

sf_status sf_hdf5_append(const sf_hdf5 *f, const sf_cell_info *cell, int n, const sf_record *const *record)
{
    hid_t group;
    int have = 0, *sample;
    sf_heap arena = {0};
    sf_status status = sf_cell_open(f, cell->key, &group);
    if (status != SF_OK) return status;
    if (group >= 0) {
        sf_cell_info stored = {0};
        status = sf_hdf5_get_attributes(f, group, cell->key, sf_cell_columns, &arena, &stored);
        if (status == SF_OK && (stored.layers != cell->layers || stored.heads != cell->heads))
            status = sf_fail(SF_BAD_INPUT,
                             "%s: cell %s is of a model with %d layers and %d heads, the new records with %d and "
                             "%d: two different cells have the same key",
                             f->path, cell->key, stored.layers, stored.heads, cell->layers, cell->heads);
        if (status == SF_OK) status = read_samples(f, group, cell, &arena, &have, &sample);
    } else {
        char path[64];
        snprintf(path, sizeof path, "cells/%s", cell->key);
        hid_t list = H5Pcreate(H5P_GROUP_CREATE);
        H5Pset_attr_phase_change(list, 64, 0); /* all attributes in the header: less room, fewer reads */
        group = H5Gcreate2(f->file, path, H5P_DEFAULT, list, H5P_DEFAULT);
        H5Pclose(list);
        status = group < 0 ? sf_hdf5_fail(f, SF_IO, "cannot make cell %s", cell->key)
                           : sf_hdf5_put_attributes(f, group, sf_cell_columns, cell);
    }
    for (const sf_column *column = sf_record_columns; status == SF_OK && column->name; column++)
        if (column->type == SF_COLUMN_PICTURE)
            status = put_picture(f, group, column, cell, n, record);
        else if (column->type != SF_COLUMN_MAP || sf_column_floats(column, cell->layers * (size_t)cell->heads))
            status = append_column(f, group, column, cell, (hsize_t)have, n, record);
    if (group >= 0) H5Gclose(group);
    sf_heap_free(&arena);
    return status;
}

/* ---- Reading a cell ---- */

static sf_status read_column(const sf_hdf5 *f, hid_t group, const sf_cell_info *cell, const sf_column *column, int n,
                             sf_record *record, sf_heap *arena)
{
    hsize_t dim[4];
    hid_t set;
    bool made = false;
    SF_TRY(sf_column_open(f, group, cell, column, (hsize_t)n, &set, dim));
    size_t bytes = sf_column_bytes(column, cell);
    sf_status status = SF_OK;
    hid_t memory = sf_hdf5_memory_type(column->type, &made);
    char *rows = calloc((size_t)n, bytes);
    if (!rows) {
        status = sf_fail(SF_NO_MEMORY, "%s: out of memory for %s of cell %s", f->path, column->name, cell->key);
        goto done;
    }
    if (column->type == SF_COLUMN_TEXT) {
        hid_t stored = H5Dget_type(set);
        H5Tset_cset(memory, H5Tget_cset(stored));
        H5Tclose(stored);
    }
    bool read = sf_column_transfer(set, sf_column_dims(column, cell, dim), dim, 0, (hsize_t)n, memory, rows, false) >= 0;
    if (!read) status = sf_hdf5_fail(f, SF_BAD_INPUT, "cell %s: the column %s cannot be read", cell->key, column->name);
    for (int i = 0; i < n && status == SF_OK; i++) {
        char *field = (char *)&record[i] + column->offset, *row = rows + (size_t)i * bytes;
        if (column->type == SF_COLUMN_TEXT) {
            const char *text = *(char **)row ? *(char **)row : "";
            if (!(*(const char **)field = sf_heap_text(arena, text, strlen(text))))
                status = sf_fail(SF_NO_MEMORY, "%s: out of memory", f->path);
        } else if (column->type == SF_COLUMN_FLAG) {
            *(bool *)field = *row != 0;
        } else {
            memcpy(field, row, bytes);
        }
    }
    if (column->type == SF_COLUMN_TEXT) /* also after a failed read: what was read until then */
        for (int i = 0; i < n; i++)
            if (((char **)rows)[i]) H5free_memory(((char **)rows)[i]);
done:
    free(rows);
    if (made) H5Tclose(memory);
    H5Dclose(set);
    return status;
}

static bool all_nan(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isnan(x[i])) return false;
    return true;
}

/* A map column in slabs of rows: into the records, into a mean over them, or both. Absent columns are no error. */
static sf_status read_maps(const sf_hdf5 *f, hid_t group, const sf_cell_info *cell, const sf_column *column, int n,
                           sf_record *record, const float **mean, sf_heap *arena)
{
    if (H5Lexists(group, column->name, H5P_DEFAULT) == 0) return SF_OK;
    hsize_t dim[4];
    hid_t set;
    SF_TRY(sf_column_open(f, group, cell, column, (hsize_t)n, &set, dim));
    size_t floats = sf_column_floats(column, (size_t)cell->layers * (size_t)cell->heads), slab = (4 << 20) / (floats * sizeof(float)) + 1;
    if (slab > (size_t)n) slab = (size_t)n;
    sf_status status = SF_OK;
    float *rows = malloc(slab * floats * sizeof *rows);
    double *sum = calloc(floats, sizeof *sum);
    int64_t *seen = calloc(floats, sizeof *seen);
    if (!rows || !sum || !seen) status = SF_NO_MEMORY;
    for (size_t first = 0; first < (size_t)n && status == SF_OK; first += slab) {
        size_t count = (size_t)n - first < slab ? (size_t)n - first : slab;
        if (sf_column_transfer(set, 3, dim, first, count, H5T_NATIVE_FLOAT, rows, false) < 0) {
            status = sf_hdf5_fail(f, SF_BAD_INPUT, "cell %s: the column %s cannot be read", cell->key, column->name);
            break;
        }
        for (size_t i = 0; i < count && status == SF_OK; i++) {
            const float *row = rows + i * floats;
            if (record && !all_nan(row, floats)) {
                float *copy = sf_heap_alloc(arena, floats * sizeof *copy);
                if (!copy)
                    status = SF_NO_MEMORY;
                else
                    memcpy(copy, row, floats * sizeof *copy);
                *(const float **)((char *)&record[first + i] + column->offset) = copy;
            }
            for (size_t j = 0; mean && j < floats; j++)
                if (!isnan(row[j])) sum[j] += row[j], seen[j]++;
        }
    }
    if (mean && status == SF_OK) {
        float *out = sf_heap_alloc(arena, floats * sizeof *out);
        if (!out) status = SF_NO_MEMORY;
        for (size_t j = 0; out && j < floats; j++) out[j] = seen[j] ? (float)(sum[j] / (double)seen[j]) : NAN;
        *mean = out && !all_nan(out, floats) ? out : NULL;
    }
    if (status == SF_NO_MEMORY)
        sf_fail(status, "%s: out of memory for %s of cell %s", f->path, column->name, cell->key);
    free(rows);
    free(sum);
    free(seen);
    H5Dclose(set);
    return status;
}

sf_status sf_hdf5_read_cell(const sf_hdf5 *f, const char *key, unsigned what, sf_heap *arena, sf_cell_info *cell,
                            int *count, sf_record **record, sf_maps *mean)
{
    *cell = (sf_cell_info){0};
    *mean = (sf_maps){0};
    *count = 0;
    snprintf(cell->key, sizeof cell->key, "%s", key);
    hid_t group;
    int n = 0, *sample = NULL;
    SF_TRY(sf_cell_open(f, key, &group));
    if (group < 0) return sf_fail(SF_BAD_INPUT, "%s: there is no cell %s", f->path, key);
    char where[64];
    snprintf(where, sizeof where, "cell %s", key);
    sf_status status = sf_hdf5_get_attributes(f, group, where, sf_cell_columns, arena, cell);
    if (status == SF_OK && (cell->layers < 0 || cell->heads < 0 || cell->layers > 1 << 20 || cell->heads > 1 << 20))
        status =
            sf_fail(SF_BAD_INPUT, "%s: cell %s claims %d layers and %d heads", f->path, key, cell->layers, cell->heads);
    if (status == SF_OK) status = read_samples(f, group, cell, arena, &n, &sample);
    if (status == SF_OK && !(*record = sf_heap_alloc(arena, (size_t)n * sizeof **record)))
        status = sf_fail(SF_NO_MEMORY, "%s: out of memory for %d records of cell %s", f->path, n, key);
    for (int i = 0; i < n && status == SF_OK; i++) (*record)[i].sample = sample[i];
    for (const sf_column *column = sf_record_columns + 1; status == SF_OK && n && column->name; column++) {
        if (column->type == SF_COLUMN_TEXT && !(what & SF_READ_TEXTS)) continue;
        if (column->type == SF_COLUMN_PICTURE) {
            if (what & SF_READ_PICTURES) status = sf_cell_picture(f, group, column, cell, n, *record, arena);
            continue;
        }
        if (column->later && !sf_column_is_floats(column->type) && H5Lexists(group, column->name, H5P_DEFAULT) == 0) {
            for (int i = 0; i < n && column->type == SF_COLUMN_REAL; i++) *(double *)((char *)&(*record)[i] + column->offset) = NAN;
            continue; /* texts are NULL */
        }
        if (!sf_column_is_floats(column->type)) {
            status = read_column(f, group, cell, column, n, *record, arena);
            continue;
        }
        if (!(what & (SF_READ_MAPS | SF_READ_MEANS)) || !sf_column_floats(column, (size_t)cell->layers * (size_t)cell->heads)) continue;
        /* sf_maps holds its pointers in the order of the record's */
        size_t slot = (column->offset - offsetof(sf_record, density)) / sizeof(float *);
        const float **at = (what & SF_READ_MEANS) ? (const float **)mean + slot : NULL;
        status = read_maps(f, group, cell, column, n, (what & SF_READ_MAPS) ? *record : NULL, at, arena);
    }
    H5Gclose(group);
    for (int i = 0; i < n && status == SF_OK; i++)
        status = sf_blame(sf_record_check(&(*record)[i]), "%s: cell %s, sample %d", f->path, key, sample[i]);
    if (status == SF_OK) *count = n;
    return status;
}
_Static_assert(offsetof(sf_record, along) - offsetof(sf_record, density) == offsetof(sf_maps, along),
               "sf_maps lies like the maps of sf_record");
