/* A results file that someone has edited: read as `report` reads it, laid out and resampled. libhdf5 is not instrumented and
 * crashes on random bytes of its own format, which a seal (seal.h) keeps from it; so the bytes here are edits, made through
 * HDF5, of the file that fuzz_results.py makes: what another program may leave there. */
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <sanitizer/lsan_interface.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/report/resample.h"
#include "harness/report/settings.h"
#include "harness/store/store.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* ---- the file and what is in it ------------------------------------------------------------------------------------ */

enum { OBJECTS = 2048, NAME = 128 };
static char object[OBJECTS][NAME], attribute[OBJECTS][NAME]; /* attribute: "" where it is the object itself */
static int objects;
static void *image;
static size_t image_bytes;
static char path[64]; /* of the edited copy: HDF5 wants a name that the file system knows */

static void clean(void) { unlink(path); }

static void note(const char *at, const char *name)
{
    if (objects == OBJECTS) abort();
    snprintf(object[objects], NAME, "%s", at);
    snprintf(attribute[objects++], NAME, "%s", name);
}

static herr_t note_attribute(hid_t at, const char *name, const H5A_info_t *info, void *path)
{
    (void)at, (void)info;
    note(path, name);
    return 0;
}

static herr_t note_object(hid_t at, const char *name, const H5L_info_t *info, void *user)
{
    (void)info, (void)user;
    char object_path[NAME];
    snprintf(object_path, NAME, "%s", name);
    note(object_path, "");
    return H5Aiterate_by_name(at, name, H5_INDEX_NAME, H5_ITER_INC, NULL, note_attribute, object_path, H5P_DEFAULT);
}

/* The seed lies beside the corpus, whose folder is the last argument. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char seed[4096];
    snprintf(seed, sizeof seed, "%s/../fuzz_results.h5", (*argv)[*argc - 1]);
    if (getenv("FUZZ_RESULTS")) snprintf(seed, sizeof seed, "%s", getenv("FUZZ_RESULTS"));
    FILE *f = fopen(seed, "rb");
    if (!f) fprintf(stderr, "%s: expected the file that fuzz_results.py makes; FUZZ_RESULTS says where else\n", seed), exit(1);
    snprintf(path, sizeof path, "%s/frontier-fuzz-%d.h5", fuzz_folder(), (int)getpid());
    atexit(clean);
    image = malloc(image_bytes = 1 << 22);
    image_bytes = fread(image, 1, image_bytes, f);
    fclose(f);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fopen(seed, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0 || H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, note_object, NULL) < 0) abort();
    H5Fclose(file);
    return 0;
}

/* ---- edits --------------------------------------------------------------------------------------------------------- */

struct edits {
    const uint8_t *at, *end;
};

static unsigned next(struct edits *e) { return e->at < e->end ? *e->at++ : 0; }

/* Numbers that something may go wrong with, and any. */
static double number(struct edits *e)
{
    static const double special[] = {0, 1, -1, 0.5, 2, 1e6, 999999, 2147483647, -2147483648.0, 4294967295.0, 1e18, 1e308, -1e308, 5e-324,
                                     65536, 1048576, 1u << 31, NAN, INFINITY, -INFINITY};
    unsigned which = next(e);
    if (which < sizeof special / sizeof *special) return special[which];
    return (int16_t)(next(e) | next(e) << 8) / (which & 1 ? 100.0 : 1);
}

static void text(struct edits *e, char out[64])
{
    unsigned n = next(e) % 64;
    for (unsigned i = 0; i < n; i++) out[i] = (char)next(e);
    out[n] = 0;
}

/* One element, or all, of what was read as numbers or texts. */
static void edit_value(struct edits *e, hid_t id, hid_t (*type_of)(hid_t), hid_t (*space_of)(hid_t), bool is_attribute)
{
    hid_t type = type_of(id), space = space_of(id);
    hssize_t n = H5Sget_simple_extent_npoints(space);
    bool is_text = H5Tget_class(type) == H5T_STRING, all = next(e) & 1;
    if (n > 0 && n < 1 << 16) {
        size_t which = (next(e) | next(e) << 8) % (size_t)n;
        if (is_text) {
            char **value = calloc((size_t)n, sizeof *value), words[64];
            hid_t memory = H5Tcopy(H5T_C_S1);
            H5Tset_size(memory, H5T_VARIABLE), H5Tset_cset(memory, H5Tget_cset(type));
            text(e, words);
            for (hssize_t i = 0; i < n; i++) value[i] = all || (size_t)i == which ? words : "x";
            if (is_attribute) H5Awrite(id, memory, value);
            else H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
            H5Tclose(memory);
            free(value);
        } else {
            double *value = calloc((size_t)n, sizeof *value);
            if (is_attribute) H5Aread(id, H5T_NATIVE_DOUBLE, value);
            else H5Dread(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
            double x = number(e);
            for (hssize_t i = 0; i < n; i++)
                if (all || (size_t)i == which) value[i] = x;
            if (is_attribute) H5Awrite(id, H5T_NATIVE_DOUBLE, value);
            else H5Dwrite(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
            free(value);
        }
    }
    H5Sclose(space), H5Tclose(type);
}

/* In place of a dataset one of another type or shape. */
static void replace(struct edits *e, hid_t file, const char *name)
{
    const hid_t types[] = {H5T_STD_I8LE, H5T_STD_I32LE, H5T_STD_U64LE, H5T_IEEE_F32LE, H5T_IEEE_F64BE, H5T_STD_I64BE};
    hid_t type = H5Tcopy(types[next(e) % 6]);
    hsize_t dim[4] = {next(e), next(e) % 8, next(e) % 8, next(e) % 8};
    if (next(e) & 1) H5Tclose(type), type = H5Tcopy(H5T_C_S1), H5Tset_size(type, next(e) & 1 ? H5T_VARIABLE : 1 + next(e));
    hid_t space = H5Screate_simple((int)(next(e) % 5), dim, NULL);
    H5Ldelete(file, name, H5P_DEFAULT);
    hid_t data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(data), H5Sclose(space), H5Tclose(type);
}

static void edit(struct edits *e, hid_t file)
{
    int which = (int)(next(e) | next(e) << 8) % objects;
    const char *at = object[which], *name = attribute[which];
    unsigned how = next(e);
    hid_t id = H5Oopen(file, at, H5P_DEFAULT);
    if (id < 0) return;
    if (*name) {
        hid_t value = H5Aopen(id, name, H5P_DEFAULT);
        if (how < 16) H5Adelete(id, name);
        else if (value >= 0) edit_value(e, value, H5Aget_type, H5Aget_space, true);
        H5Aclose(value);
    } else if (H5Iget_type(id) == H5I_DATASET) {
        if (how < 8) H5Ldelete(file, at, H5P_DEFAULT);
        else if (how < 48) replace(e, file, at);
        else if (how < 64) H5Dset_extent(id, (hsize_t[]){next(e), 2, 4, 5});
        else edit_value(e, id, H5Dget_type, H5Dget_space, false);
    } else {
        char new_name[64 + 8] = "cells/";
        text(e, new_name + 6);
        if (how < 16) H5Ldelete(file, at, H5P_DEFAULT);
        else H5Lmove(file, at, file, new_name, H5P_DEFAULT, H5P_DEFAULT);
    }
    H5Oclose(id);
}

/* ---- what a report does -------------------------------------------------------------------------------------------- */

static void lay_out(const sf_results *r)
{
    sf_settings settings;
    if (sf_settings_split(r, &settings) != SF_OK) return;
    for (int g = 0; g < settings.groups; g++) {
        sf_view view;
        if (sf_view_make(&settings.group[g].results, &view) != SF_OK) continue;
        if (sf_view_test(&view) == SF_OK) sf_view_bootstrap(&view, 64, 1);
        sf_view_free(&view);
    }
    sf_settings_free(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *list[] = {path};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, image, image_bytes) != (ssize_t)image_bytes || close(fd) != 0) abort();
    /* HDF5 itself leaks after some edits (a group moved into what it held, …); what reads is watched, and shares no blocks. */
    H5garbage_collect();
    __lsan_disable();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    if (file < 0) abort();
    struct edits e = {data, data + bytes};
    for (int i = 0; e.at < e.end && i < 16; i++) edit(&e, file);
    bool closed = H5Fclose(file) >= 0;
    H5garbage_collect();
    __lsan_enable();
    if (!closed) return 0;
    sf_results r;
    if (sf_results_read(1, list, SF_READ_TEXTS | SF_READ_MAPS | SF_READ_MEANS | SF_READ_PICTURES, &r) != SF_OK) return 0;
    for (int c = 0; c < r.cells; c++)
        for (int i = 0; i < r.records[c]; i++) {
            const sf_record *x = &r.record[c][i];
            if (x->sample < 0 || x->sample >= SF_STORE_SAMPLES || !(x->strict >= 0 && x->strict <= 1)) abort();
        }
    lay_out(&r);
    sf_results_free(&r);
    return 0;
}
