#include "harness/store/hdf5_inside.h"
#include "harness/store/seal.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char results[] = "frontier results";

/* ---- HDF5's own words ---- */

static _Thread_local char cause[256], told[256]; /* told: the one that a message has said last */
static _Thread_local unsigned failures; /* calls that failed so far */

static herr_t innermost(unsigned depth, const H5E_error2_t *e, void *unused)
{
    (void)depth, (void)unused;
    const char *system = strstr(e->desc, "error message = '"); /* HDF5 wraps strerror() into a longer line */
    if (system) {
        system += strlen("error message = '");
        snprintf(cause, sizeof cause, "%.*s", (int)strcspn(system, "'"), system);
    } else {
        snprintf(cause, sizeof cause, "%s", e->desc);
    }
    return 1; /* the deepest is the cause, stop there */
}

/* Called by HDF5 where a call of its interface fails, in place of printing: the next call would wipe the reason out. */
static herr_t keep_cause(hid_t stack, void *unused)
{
    (void)unused;
    failures++;
    return H5Ewalk2(stack, H5E_WALK_UPWARD, innermost, NULL) < 0 ? -1 : 0;
}

sf_status sf_hdf5_fail(const sf_hdf5 *f, sf_status code, const char *format, ...)
{
    char what[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    sf_fail(code, "%s: %s%s%s%s", f->path, what, *cause ? " (HDF5: " : "", cause, *cause ? ")" : "");
    if (*cause) memcpy(told, cause, sizeof told);
    *cause = 0;
    return code;
}

/* Before any other call of the library, or its exit handler is there already. */
static void prepare(void)
{
    static bool done;
    if (done) return;
    done = true;
    /* After a failed flush (full disk) HDF5 would try again at exit, fail again and crash; all files are closed by
     * hand. */
    H5dont_atexit();
    /* HDF5's own locks are not needed, files are replaced whole; on file systems without locks they would refuse to
     * open, and elsewhere a file that another program reads. */
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
    H5open();
    H5Eset_auto2(H5E_DEFAULT, keep_cause, NULL);
    /* A file cannot make it load filters, nor follow links to other files. */
    H5PLset_loading_state(0);
    H5Lunregister(H5L_TYPE_EXTERNAL);
}

const char *sf_hdf5_version(void)
{
    static char text[32];
    unsigned major, minor, release;
    prepare();
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, release);
    return text;
}

static hid_t text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

hid_t sf_hdf5_memory_type(sf_column_type type, bool *made)
{
    *made = type == SF_COLUMN_TEXT;
    switch (type) {
    case SF_COLUMN_INT:
        return H5T_NATIVE_INT;
    case SF_COLUMN_FLAG:
        return H5T_NATIVE_UINT8;
    case SF_COLUMN_U64:
    case SF_COLUMN_METER:
        return H5T_NATIVE_UINT64;
    case SF_COLUMN_REAL:
        return H5T_NATIVE_DOUBLE;
    case SF_COLUMN_MAP:
    case SF_COLUMN_PROFILE:
    case SF_COLUMN_PICTURE:
        return H5T_NATIVE_FLOAT;
    case SF_COLUMN_TEXT:
        return text_type();
    }
    return H5I_INVALID_HID;
}

hid_t sf_hdf5_file_type(sf_column_type type, bool *made)
{
    *made = type == SF_COLUMN_TEXT;
    switch (type) {
    case SF_COLUMN_INT:
        return H5T_STD_I32LE;
    case SF_COLUMN_FLAG:
        return H5T_STD_U8LE;
    case SF_COLUMN_U64:
    case SF_COLUMN_METER:
        return H5T_STD_U64LE;
    case SF_COLUMN_REAL:
        return H5T_IEEE_F64LE;
    case SF_COLUMN_MAP:
    case SF_COLUMN_PROFILE:
    case SF_COLUMN_PICTURE:
        return H5T_IEEE_F32LE;
    case SF_COLUMN_TEXT:
        return text_type();
    }
    return H5I_INVALID_HID;
}

/* ---- Attributes ---- */

sf_status sf_hdf5_put_attribute(const sf_hdf5 *f, hid_t at, const char *name, sf_column_type type, const void *value)
{
    bool made_file, made_memory;
    hid_t stored = sf_hdf5_file_type(type, &made_file), memory = sf_hdf5_memory_type(type, &made_memory),
          space = H5Screate(H5S_SCALAR);
    const char *text = type == SF_COLUMN_TEXT && *(const char *const *)value ? *(const char *const *)value : "";
    hid_t attribute = H5Acreate2(at, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = attribute >= 0 && H5Awrite(attribute, memory, type == SF_COLUMN_TEXT ? (const void *)&text : value) >= 0;
    sf_status status = ok ? SF_OK : sf_hdf5_fail(f, SF_IO, "cannot write the attribute %s", name);
    if (attribute >= 0) H5Aclose(attribute);
    H5Sclose(space);
    if (made_file) H5Tclose(stored);
    if (made_memory) H5Tclose(memory);
    return status;
}

bool sf_hdf5_kind_fits(hid_t stored, sf_column_type type)
{
    H5T_class_t kind = H5Tget_class(stored);
    if (type == SF_COLUMN_TEXT) return kind == H5T_STRING && H5Tis_variable_str(stored) > 0;
    if (type == SF_COLUMN_REAL || sf_column_is_floats(type)) return kind == H5T_FLOAT;
    return kind == H5T_INTEGER;
}

/* `value` NULL: only that it is there and fits. A text is copied to the arena. */
static sf_status get_attribute(const sf_hdf5 *f, hid_t at, const char *where, const char *name, sf_column_type type,
                               sf_heap *arena, void *value)
{
    hid_t attribute = H5Aopen(at, name, H5P_DEFAULT);
    if (attribute < 0)
        return sf_hdf5_fail(f, SF_BAD_INPUT, "%s lacks the attribute %s, or it cannot be read", where, name);
    bool made = false;
    sf_status status = SF_OK;
    hid_t memory = H5I_INVALID_HID, stored = H5Aget_type(attribute), space = H5Aget_space(attribute);
    char *text = NULL;
    if (stored < 0 || space < 0 || !sf_hdf5_kind_fits(stored, type) || H5Sget_simple_extent_npoints(space) != 1) {
        status =
            sf_hdf5_fail(f, SF_BAD_INPUT, "%s: the attribute %s is of another type than the schema's", where, name);
        goto done;
    }
    memory = sf_hdf5_memory_type(type, &made);
    if (type == SF_COLUMN_TEXT) H5Tset_cset(memory, H5Tget_cset(stored));
    if (H5Aread(attribute, memory, type == SF_COLUMN_TEXT ? (void *)&text : value) < 0) {
        status = sf_hdf5_fail(f, SF_BAD_INPUT, "%s: the attribute %s cannot be read", where, name);
    } else if (type == SF_COLUMN_TEXT) {
        const char *copy = sf_heap_text(arena, text ? text : "", text ? strlen(text) : 0);
        if (!copy) status = sf_fail(SF_NO_MEMORY, "%s: out of memory", f->path);
        *(const char **)value = copy;
        if (text) H5free_memory(text);
    }
done:
    if (stored >= 0) H5Tclose(stored);
    if (space >= 0) H5Sclose(space);
    if (made) H5Tclose(memory);
    H5Aclose(attribute);
    return status;
}

sf_status sf_hdf5_put_attributes(const sf_hdf5 *f, hid_t at, const sf_column *column, const void *of)
{
    for (; column->name; column++)
        SF_TRY(sf_hdf5_put_attribute(f, at, column->name, column->type, (const char *)of + column->offset));
    return SF_OK;
}

sf_status sf_hdf5_get_attributes(const sf_hdf5 *f, hid_t at, const char *where, const sf_column *column, sf_heap *arena,
                                 void *of)
{
    for (; column->name; column++) {
        void *field = (char *)of + column->offset;
        if (!column->later || H5Aexists(at, column->name) != 0)
            SF_TRY(get_attribute(f, at, where, column->name, column->type, arena, field));
        else if (column->type == SF_COLUMN_TEXT)
            *(const char **)field = "";
        else
            *(double *)field = NAN; /* later attributes are texts and reals */
    }
    return SF_OK;
}

/* ---- The file ---- */

sf_status sf_hdf5_close_dataset(const sf_hdf5 *f, hid_t set, sf_status status)
{
    char name[256] = "";
    if (set < 0) return status;
    H5Iget_name(set, name, sizeof name);
    if (H5Dclose(set) < 0 && status == SF_OK)
        return sf_hdf5_fail(f, SF_IO, "cannot write the last rows of %s", name);
    return status;
}

static hid_t access_list(void)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    /* The newer format keeps a checksum on every piece of metadata and needs half the room. Readers since 1.10 know it.
     */
    H5Pset_libver_bounds(list, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
    return list;
}

sf_status sf_hdf5_begin(const char *path, const char *format, int schema, bool dated, sf_hdf5 *out)
{
    prepare();
    *out = (sf_hdf5){.file = H5I_INVALID_HID, .path = path, .writable = true, .failures = failures};
    hid_t list = access_list(), how = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_obj_track_times(how, dated);
    out->file = H5Fcreate(path, H5F_ACC_TRUNC, how, list);
    H5Pclose(how);
    H5Pclose(list);
    if (out->file < 0) return sf_hdf5_fail(out, SF_IO, "cannot be created");
    SF_TRY(sf_hdf5_put_attribute(out, out->file, "format", SF_COLUMN_TEXT, &format));
    return sf_hdf5_put_attribute(out, out->file, "schema", SF_COLUMN_INT, &schema);
}

sf_status sf_hdf5_create(const char *path, sf_hdf5 *out)
{
    SF_TRY(sf_hdf5_begin(path, results, SF_STORE_SCHEMA, true, out));
    const char *group[] = {"cells", "runs"};
    for (int i = 0; i < 2; i++) {
        hid_t g = H5Gcreate2(out->file, group[i], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (g < 0) return sf_hdf5_fail(out, SF_IO, "cannot make the group %s", group[i]);
        H5Gclose(g);
    }
    return SF_OK;
}

sf_status sf_hdf5_open(const char *path, bool writable, sf_hdf5 *out)
{
    prepare();
    *out = (sf_hdf5){.file = H5I_INVALID_HID, .path = path, .writable = writable, .failures = failures};
    struct stat st;
    if (stat(path, &st) != 0) return sf_fail(SF_IO, "cannot read %s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return sf_fail(SF_BAD_INPUT, "%s is a folder, expected a results file (HDF5)", path);
    if (!S_ISREG(st.st_mode)) return sf_fail(SF_BAD_INPUT, "%s is not a file, expected a results file (HDF5)", path);
    sf_superblock begin;
    SF_TRY(sf_superblock_read(path, &begin));
    if (begin.at < 0)
        return sf_fail(SF_BAD_INPUT, "%s is not an HDF5 file (%lld bytes): expected results that `frontier run` wrote",
                       path, (long long)st.st_size);
    hid_t list = access_list();
    out->file = H5Fopen(path, writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY, list);
    H5Pclose(list);
    if (out->file < 0)
        return sf_hdf5_fail(out, SF_BAD_INPUT,
                            "the HDF5 file is truncated or damaged; take a copy that is whole, or delete it to "
                            "run anew");

    sf_heap arena = {0};
    const char *kind = NULL;
    int schema = 0;
    sf_status status = sf_hdf5_check_link(out, out->file, "cells");
    if (status == SF_OK) status = sf_hdf5_check_link(out, out->file, "runs");
    if (status == SF_OK &&
        (H5Aexists(out->file, "format") <= 0 ||
        get_attribute(out, out->file, "/", "format", SF_COLUMN_TEXT, &arena, &kind) != SF_OK ||
        strcmp(kind, results) != 0))
        status =
            sf_hdf5_fail(out, SF_BAD_INPUT,
                         "an HDF5 file, but not results of frontier: its attribute `format` should be \"%s\"", results);
    if (status == SF_OK) status = get_attribute(out, out->file, "/", "schema", SF_COLUMN_INT, &arena, &schema);
    if (status == SF_OK && schema != SF_STORE_SCHEMA)
        status = sf_fail(SF_BAD_INPUT,
                         "%s has schema %d, this program reads and writes schema %d: use the frontier of that "
                         "schema, or another results file",
                         path, schema, SF_STORE_SCHEMA);
    sf_heap_free(&arena);
    if (status != SF_OK) {
        H5Fclose(out->file);
        out->file = H5I_INVALID_HID;
    }
    return status;
}

sf_status sf_hdf5_close(sf_hdf5 *f)
{
    if (f->file < 0) return SF_OK;
    /* Flush first: a close that fails halfway leaves less of a trace in the library. */
    bool ok = H5Fflush(f->file, H5F_SCOPE_GLOBAL) >= 0;
    sf_status status = ok ? SF_OK : sf_hdf5_fail(f, SF_IO, "cannot be written");
    if (H5Fclose(f->file) < 0 && status == SF_OK) status = sf_hdf5_fail(f, SF_IO, "cannot be closed");
    if (f->writable && failures != f->failures && status == SF_OK) {
        if (!*cause) memcpy(cause, told, sizeof cause); /* this message stands instead of the one that said so */
        status = sf_hdf5_fail(f, SF_IO, "some of it could not be written");
    }
    f->file = H5I_INVALID_HID;
    return status;
}

/* ---- Names of groups ---- */

struct names {
    sf_heap *arena;
    const char **name;
    int count, size;
    bool no_memory;
};

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info, void *user)
{
    (void)group, (void)info;
    struct names *n = user;
    if (n->count == n->size) {
        int size = n->size ? 2 * n->size : 64;
        const char **grown = realloc(n->name, (size_t)size * sizeof *grown);
        if (!grown) {
            n->no_memory = true;
            return -1;
        }
        n->name = grown;
        n->size = size;
    }
    const char *copy = sf_heap_text(n->arena, name, strlen(name));
    if (!copy) {
        n->no_memory = true;
        return -1;
    }
    n->name[n->count++] = copy;
    return 0;
}

static sf_status names_in(const sf_hdf5 *f, const char *group, struct names *out)
{
    hid_t g = H5Gopen2(f->file, group, H5P_DEFAULT);
    if (g < 0) return sf_hdf5_fail(f, SF_BAD_INPUT, "the group /%s is missing or damaged", group);
    herr_t walked = H5Literate(g, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, out);
    H5Gclose(g);
    if (walked >= 0) return SF_OK;
    free(out->name);
    out->name = NULL;
    if (out->no_memory) return sf_fail(SF_NO_MEMORY, "%s: out of memory", f->path);
    return sf_hdf5_fail(f, SF_BAD_INPUT, "the group /%s cannot be listed", group);
}

sf_status sf_hdf5_keys(const sf_hdf5 *f, sf_heap *arena, int *count, const char ***key)
{
    *count = 0;
    *key = NULL;
    struct names n = {.arena = arena};
    SF_TRY(names_in(f, "cells", &n));
    const char **list = sf_heap_alloc(arena, (size_t)n.count * sizeof *list);
    for (int i = 0; i < n.count && list; i++)
        if (sf_key_valid(n.name[i])) list[(*count)++] = n.name[i]; /* groups of other names are someone's own */
    free(n.name);
    if (!list) return sf_fail(SF_NO_MEMORY, "%s: out of memory", f->path);
    *key = list;
    return SF_OK;
}

/* ---- Runs ---- */

sf_status sf_hdf5_runs(const sf_hdf5 *f, sf_heap *arena, int *count, sf_run_info **run)
{
    *count = 0;
    struct names n = {.arena = arena};
    SF_TRY(names_in(f, "runs", &n));
    sf_status status = (*run = sf_heap_alloc(arena, (size_t)n.count * sizeof **run)) ? SF_OK : SF_NO_MEMORY;
    for (int i = 0; i < n.count && status == SF_OK; i++) {
        char path[64];
        snprintf(path, sizeof path, "runs/%.40s", n.name[i]);
        hid_t group = H5I_INVALID_HID;
        status = sf_hdf5_check_link(f, f->file, path);
        if (status == SF_OK) group = H5Gopen2(f->file, path, H5P_DEFAULT);
        if (status == SF_OK && group < 0)
            status = sf_hdf5_fail(f, SF_BAD_INPUT, "%s cannot be opened", path);
        if (status == SF_OK)
            status = sf_hdf5_get_attributes(f, group, path, sf_run_columns, arena, &(*run)[i]);
        if (group >= 0) H5Gclose(group);
    }
    if (status == SF_NO_MEMORY) sf_fail(status, "%s: out of memory", f->path);
    if (status == SF_OK) *count = n.count;
    free(n.name);
    return status;
}

static const char *or_empty(const char *text) { return text ? text : ""; }

sf_status sf_hdf5_put_run(const sf_hdf5 *f, const sf_run_info *run)
{
    sf_heap arena = {0};
    sf_run_info *there;
    int count, at = 0;
    char path[64];
    sf_status status = sf_hdf5_runs(f, &arena, &count, &there);
    if (status == SF_OK) {
        while (at < count && (strcmp(there[at].started, or_empty(run->started)) != 0 ||
                              strcmp(there[at].host, or_empty(run->host)) != 0))
            at++;
        snprintf(path, sizeof path, "runs/%06d", at); /* numbered in order, six digits keep them sorted by name */
        if (at < count && H5Ldelete(f->file, path, H5P_DEFAULT) < 0)
            status = sf_hdf5_fail(f, SF_IO, "cannot replace %s", path);
    }
    if (status == SF_OK) {
        hid_t group = H5Gcreate2(f->file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        status = group < 0 ? sf_hdf5_fail(f, SF_IO, "cannot make %s", path)
                           : sf_hdf5_put_attributes(f, group, sf_run_columns, run);
        if (group >= 0) H5Gclose(group);
    }
    sf_heap_free(&arena);
    return status;
}

/* ---- Failed cells: a group each, named by the cell's key ---- */

static const char failures_group[] = "failures";

sf_status sf_hdf5_failures(const sf_hdf5 *f, sf_heap *arena, int *count, sf_failure **failure)
{
    *count = 0;
    *failure = NULL;
    struct names n = {.arena = arena};
    if (H5Lexists(f->file, failures_group, H5P_DEFAULT) == 0) return SF_OK;
    SF_TRY(sf_hdf5_check_link(f, f->file, failures_group));
    SF_TRY(names_in(f, failures_group, &n));
    sf_status status = SF_OK;
    if (!(*failure = sf_heap_alloc(arena, (size_t)n.count * sizeof **failure)))
        status = sf_fail(SF_NO_MEMORY, "%s: out of memory", f->path);
    for (int i = 0; i < n.count && status == SF_OK; i++) {
        sf_failure *one = &(*failure)[i];
        char path[64];
        snprintf(path, sizeof path, "%s/%.40s", failures_group, n.name[i]);
        status = sf_hdf5_check_link(f, f->file, path);
        hid_t group = status == SF_OK ? H5Gopen2(f->file, path, H5P_DEFAULT) : H5I_INVALID_HID;
        if (status == SF_OK && group < 0) status = sf_hdf5_fail(f, SF_BAD_INPUT, "%s cannot be opened", path);
        if (status == SF_OK) status = sf_hdf5_get_attributes(f, group, path, sf_failure_columns, arena, one);
        if (group >= 0) H5Gclose(group);
        if (status == SF_OK && (!sf_sample_valid(one->sample) || !sf_key_valid(one->key)))
            status = sf_fail(SF_BAD_INPUT, "%s: %s: no key, or sample %d", f->path, path, one->sample);
    }
    if (status == SF_OK) *count = n.count;
    free(n.name);
    return status;
}

sf_status sf_hdf5_put_failure(const sf_hdf5 *f, const sf_failure *failure)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%.40s", failures_group, failure->key);
    if (H5Lexists(f->file, failures_group, H5P_DEFAULT) == 0) {
        hid_t all = H5Gcreate2(f->file, failures_group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (all < 0) return sf_hdf5_fail(f, SF_IO, "cannot make the group %s", failures_group);
        H5Gclose(all);
    } else if (H5Lexists(f->file, path, H5P_DEFAULT) > 0 && H5Ldelete(f->file, path, H5P_DEFAULT) < 0) {
        return sf_hdf5_fail(f, SF_IO, "cannot replace %s", path);
    }
    hid_t group = H5Gcreate2(f->file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    sf_status status = group < 0 ? sf_hdf5_fail(f, SF_IO, "cannot make %s", path)
                                 : sf_hdf5_put_attributes(f, group, sf_failure_columns, failure);
    if (group >= 0) H5Gclose(group);
    return status;
}
