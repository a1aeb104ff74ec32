#include "harness/store/edit.h"
#include "harness/store/fold.h"
#include "harness/store/hdf5_inside.h"
#include "harness/store/seal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Taking cells out ---- */

static bool listed(const char *key, int n, const char *const *list)
{
    for (int i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0) return true;
    return false;
}

static sf_status copy_cell(const sf_hdf5 *from, const sf_hdf5 *to, const char *key)
{
    hid_t group;
    char path[64];
    SF_TRY(sf_cell_open(from, key, &group));
    snprintf(path, sizeof path, "cells/%s", key);
    sf_status status = H5Ocopy(group, ".", to->file, path, H5P_DEFAULT, H5P_DEFAULT) < 0
                           ? sf_hdf5_fail(to, SF_IO, "cell %s cannot be copied", key) : SF_OK;
    H5Gclose(group);
    return status;
}

static sf_status copy_kept(const sf_hdf5 *from, const sf_hdf5 *to, int n, const char *const *key)
{
    sf_heap heap = {0};
    int cells, runs, failures;
    const char **own;
    sf_run_info *run;
    sf_failure *failure;
    sf_status status = sf_hdf5_keys(from, &heap, &cells, &own);
    for (int i = 0; i < cells && status == SF_OK; i++)
        if (!listed(own[i], n, key)) status = copy_cell(from, to, own[i]);
    if (status == SF_OK) status = sf_hdf5_runs(from, &heap, &runs, &run);
    for (int i = 0; status == SF_OK && i < runs; i++) status = sf_hdf5_put_run(to, &run[i]);
    if (status == SF_OK) status = sf_hdf5_failures(from, &heap, &failures, &failure);
    for (int i = 0; status == SF_OK && i < failures; i++)
        if (!listed(failure[i].key, n, key)) status = sf_hdf5_put_failure(to, &failure[i]);
    sf_heap_free(&heap);
    return status;
}

/* That the new file has as many samples of each cell that is kept, and none of those that are not. */
static sf_status check_kept(const sf_hdf5 *from, const sf_hdf5 *to, int n, const char *const *key)
{
    sf_heap heap = {0};
    int cells;
    const char **own;
    sf_status status = sf_hdf5_keys(from, &heap, &cells, &own);
    for (int i = 0; i < cells && status == SF_OK; i++) {
        bool was, is;
        int before, after, *sample;
        status = sf_hdf5_samples(from, own[i], &heap, &was, &before, &sample);
        if (status == SF_OK) status = sf_hdf5_samples(to, own[i], &heap, &is, &after, &sample);
        if (status != SF_OK) break;
        const bool kept = !listed(own[i], n, key);
        if (is != kept || (kept && before != after))
            status = sf_fail(SF_IO, "%s: read back, cell %s has %d samples, expected %d", to->path, own[i], is ? after : 0, kept ? before : 0);
    }
    sf_heap_free(&heap);
    return status;
}

sf_status sf_edit_without(const char *path, const char *aside, int n, const char *const *key)
{
    sf_hdf5 from, to = {.file = H5I_INVALID_HID};
    SF_TRY(sf_hdf5_open(path, false, &from));
    sf_status status = sf_hdf5_create(aside, &to);
    if (status == SF_OK) status = copy_kept(&from, &to, n, key);
    sf_status closed = sf_hdf5_close(&to);
    if (status == SF_OK) status = closed;
    if (status == SF_OK) status = sf_hdf5_open(aside, false, &to);
    if (status == SF_OK) {
        status = check_kept(&from, &to, n, key);
        closed = sf_hdf5_close(&to);
        if (status == SF_OK) status = closed;
    }
    sf_hdf5_close(&from);
    return status == SF_OK ? sf_seal_put(aside) : status;
}

/* ---- Labels ---- */

static const size_t labels[] = {offsetof(sf_cell_info, model), offsetof(sf_cell_info, task_label),
                                offsetof(sf_cell_info, label[SF_PREFILL]), offsetof(sf_cell_info, label[SF_DECODE])};
enum { LABELS = sizeof labels / sizeof *labels };

static const char *label_of(const sf_cell_info *c, int i)
{
    const char *text = *(const char *const *)((const char *)c + labels[i]);
    return text ? text : "";
}

static const char *name_of(int i)
{
    const sf_column *column = sf_cell_columns;
    while (column->offset != labels[i]) column++;
    return column->name;
}

bool sf_edit_same_labels(const sf_cell_info *a, const sf_cell_info *b)
{
    for (int i = 0; i < LABELS; i++)
        if (strcmp(label_of(a, i), label_of(b, i)) != 0) return false;
    return true;
}

/* Which labels of a stored cell are others than the given ones; its group is left open, and is negative where there is none. */
static sf_status compare_labels(const sf_hdf5 *f, const sf_cell_info *cell, hid_t *group, bool other[LABELS])
{
    memset(other, 0, LABELS * sizeof *other);
    SF_TRY(sf_cell_open(f, cell->key, group));
    if (*group < 0) return SF_OK;
    sf_heap heap = {0};
    sf_cell_info stored = {0};
    sf_status status = sf_hdf5_get_attributes(f, *group, cell->key, sf_cell_columns, &heap, &stored);
    for (int i = 0; i < LABELS && status == SF_OK; i++) other[i] = strcmp(label_of(&stored, i), label_of(cell, i)) != 0;
    sf_heap_free(&heap);
    if (status != SF_OK) H5Gclose(*group);
    return status;
}

static sf_status count_labels(const sf_hdf5 *f, int n, const sf_cell_info *cell, int *others)
{
    *others = 0;
    for (int c = 0; c < n; c++) {
        hid_t group;
        bool other[LABELS], any = false;
        SF_TRY(compare_labels(f, &cell[c], &group, other));
        for (int i = 0; i < LABELS; i++) any |= other[i];
        *others += any;
        if (group >= 0) H5Gclose(group);
    }
    return SF_OK;
}

sf_status sf_edit_count_labels(const char *path, int n, const sf_cell_info *cell, int *others)
{
    sf_hdf5 f;
    SF_TRY(sf_hdf5_open(path, false, &f));
    sf_status status = count_labels(&f, n, cell, others), closed = sf_hdf5_close(&f);
    return status == SF_OK ? closed : status;
}

static sf_status put_labels(const sf_hdf5 *f, const sf_cell_info *cell)
{
    hid_t group;
    bool other[LABELS];
    SF_TRY(compare_labels(f, cell, &group, other));
    sf_status status = SF_OK;
    for (int i = 0; i < LABELS && status == SF_OK; i++) {
        const char *text = label_of(cell, i);
        if (!other[i]) continue;
        if (H5Adelete(group, name_of(i)) < 0) status = sf_hdf5_fail(f, SF_IO, "cell %s: %s cannot be replaced", cell->key, name_of(i));
        else status = sf_hdf5_put_attribute(f, group, name_of(i), SF_COLUMN_TEXT, &text);
    }
    if (group >= 0) H5Gclose(group);
    return status;
}

sf_status sf_edit_labels(const char *path, const char *aside, int n, const sf_cell_info *cell)
{
    bool existed;
    sf_hdf5 f;
    int others = 0;
    SF_TRY(sf_fold_copy(path, aside, &existed));
    if (!existed) return sf_fail(SF_IO, "%s is not there", path);
    SF_TRY(sf_hdf5_open(aside, true, &f));
    sf_status status = SF_OK;
    for (int c = 0; c < n && status == SF_OK; c++) status = put_labels(&f, &cell[c]);
    sf_status closed = sf_hdf5_close(&f);
    if (status == SF_OK) status = closed;
    if (status == SF_OK) status = sf_edit_count_labels(aside, n, cell, &others);
    if (status == SF_OK && others) status = sf_fail(SF_IO, "%s: read back, %d cells have other labels than were written", aside, others);
    return status == SF_OK ? sf_seal_put(aside) : status;
}
