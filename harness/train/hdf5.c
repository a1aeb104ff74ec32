#include "harness/train/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/store/hdf5_inside.h"

#define FIELD(f) .name = #f, .offset = offsetof(sf_training_info, f)
static const sf_column attributes[] = {
    {FIELD(seed), .type = SF_COLUMN_U64},    {FIELD(evaluation_seed), .type = SF_COLUMN_U64},
    {FIELD(config), .type = SF_COLUMN_TEXT}, {FIELD(revision), .type = SF_COLUMN_TEXT},
    {FIELD(model), .type = SF_COLUMN_TEXT},  {FIELD(tokenizer), .type = SF_COLUMN_TEXT},
    {FIELD(chat), .type = SF_COLUMN_TEXT},   {FIELD(vocab), .type = SF_COLUMN_INT},
    {FIELD(stop), .type = SF_COLUMN_INT},    {0},
};

static sf_status put_texts(const sf_hdf5 *f, const char *name, int n, const char *const *text)
{
    bool made;
    hid_t type = sf_hdf5_file_type(SF_COLUMN_TEXT, &made), space = H5Screate_simple(1, &(hsize_t){(hsize_t)n}, NULL);
    hid_t attribute = H5Acreate2(f->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = attribute >= 0 && H5Awrite(attribute, type, text) >= 0;
    sf_status status = ok ? SF_OK : sf_hdf5_fail(f, SF_IO, "cannot write the attribute %s", name);
    if (attribute >= 0) H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

/* An empty column that grows. */
static sf_status make_column(sf_training_file *t, int i, const char *name, hid_t type, hsize_t chunk)
{
    hid_t space = H5Screate_simple(1, &(hsize_t){0}, &(hsize_t){H5S_UNLIMITED}), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(how, 1, &chunk);
    H5Pset_fill_time(how, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(how, false);
    t->column[i] = H5Dcreate2(t->f.file, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT);
    H5Pclose(how);
    H5Sclose(space);
    return t->column[i] >= 0 ? SF_OK : sf_hdf5_fail(&t->f, SF_IO, "cannot make the column %s", name);
}

static sf_status make_columns(sf_training_file *t, int vocab)
{
    enum { TOKENS = 1 << 18, ROWS = 1 << 12 }; /* a chunk each */
    hid_t token = sf_training_token_bytes(vocab) == 2 ? H5T_STD_U16LE : H5T_STD_U32LE;
    SF_TRY(make_column(t, SF_TRAINING_TOKENS, "tokens", token, TOKENS));
    SF_TRY(make_column(t, SF_TRAINING_OFFSET, "offset", H5T_STD_I64LE, ROWS));
    SF_TRY(make_column(t, SF_TRAINING_PROMPT, "prompt_tokens", H5T_STD_I32LE, ROWS));
    SF_TRY(make_column(t, SF_TRAINING_TASK, "task", H5T_STD_U8LE, ROWS));
    SF_TRY(make_column(t, SF_TRAINING_LENGTH, "length", H5T_STD_I32LE, ROWS));
    SF_TRY(make_column(t, SF_TRAINING_SAMPLE, "sample", H5T_STD_I64LE, ROWS));
    return sf_training_append(t, SF_TRAINING_OFFSET, &(int64_t){0}, 1);
}

sf_status sf_training_create(const char *path, const sf_training_info *info, int tasks, const char *const *task,
                             const char *const *params, sf_training_file *out)
{
    *out = (sf_training_file){.f = {.file = H5I_INVALID_HID}};
    for (int i = 0; i < SF_TRAINING_COLUMNS; i++) out->column[i] = H5I_INVALID_HID;
    out->path = strdup(path);
    if (!out->path || asprintf(&out->aside, "%s.%ld.part", path, (long)getpid()) < 0) {
        out->aside = NULL;
        return sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    }
    SF_TRY(sf_hdf5_begin(out->aside, "frontier training samples", SF_TRAINING_SCHEMA, false, &out->f));
    SF_TRY(sf_hdf5_put_attributes(&out->f, out->f.file, attributes, info));
    SF_TRY(put_texts(&out->f, "tasks", tasks, task));
    SF_TRY(put_texts(&out->f, "task_params", tasks, params));
    return make_columns(out, info->vocab);
}

sf_status sf_training_append(sf_training_file *t, int column, const void *rows, size_t n)
{
    if (!n) return SF_OK;
    hsize_t at = t->rows[column], more = n, end = at + more;
    hid_t stored = H5Dget_type(t->column[column]), type = H5Tget_native_type(stored, H5T_DIR_ASCEND);
    bool ok = H5Dset_extent(t->column[column], &end) >= 0;
    hid_t space = H5Dget_space(t->column[column]), memory = H5Screate_simple(1, &more, NULL);
    ok = ok && H5Sselect_hyperslab(space, H5S_SELECT_SET, &at, NULL, &more, NULL) >= 0 &&
         H5Dwrite(t->column[column], type, memory, space, H5P_DEFAULT, rows) >= 0;
    sf_status status =
        ok ? SF_OK : sf_hdf5_fail(&t->f, SF_IO, "cannot write %zu rows after row %llu", n, (unsigned long long)at);
    H5Sclose(space);
    H5Sclose(memory);
    H5Tclose(type);
    H5Tclose(stored);
    t->rows[column] = end;
    return status;
}

static sf_status publish(const sf_training_file *t)
{
    int fd = open(t->aside, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    if (ok && rename(t->aside, t->path) == 0) return SF_OK;
    return sf_fail(SF_IO, "cannot finish %s: %s", t->path, strerror(errno));
}

sf_status sf_training_close(sf_training_file *t, sf_status status)
{
    if (!t->path) return status;
    for (int i = 0; i < SF_TRAINING_COLUMNS; i++)
        status = sf_hdf5_close_dataset(&t->f, t->column[i], status);
    if (status == SF_OK)
        status = sf_hdf5_close(&t->f);
    else if (t->f.file >= 0)
        H5Fclose(t->f.file); /* the message of what went wrong stays */
    if (status == SF_OK) status = publish(t);
    if (status != SF_OK && t->aside) unlink(t->aside);
    free(t->path);
    free(t->aside);
    *t = (sf_training_file){.f = {.file = H5I_INVALID_HID}};
    return status;
}
