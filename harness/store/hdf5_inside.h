/* Shared by what writes HDF5: hdf5.c (the file, attributes, runs), cells.c (cells) and train/hdf5.c. */
#ifndef SF_STORE_HDF5_INSIDE_H
#define SF_STORE_HDF5_INSIDE_H

#include "harness/store/hdf5.h"

/* Creates a file with the attributes that say what it is. dated: it keeps the time at which it was made; else the same
 * content has the same bytes. */
sf_status sf_hdf5_begin(const char *path, const char *format, int schema, bool dated, sf_hdf5 *out);

/* Reports with the file's name in front and HDF5's own reason behind. */
sf_status sf_hdf5_fail(const sf_hdf5 *f, sf_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Types in memory and in the file. `made`: to be closed by the caller; predefined ones never are. */
hid_t sf_hdf5_memory_type(sf_column_type type, bool *made);
hid_t sf_hdf5_file_type(sf_column_type type, bool *made);
/* HDF5 converts between numbers of any width, but would not say so between kinds. */
bool sf_hdf5_kind_fits(hid_t stored, sf_column_type type);

sf_status sf_hdf5_put_attribute(const sf_hdf5 *f, hid_t at, const char *name, sf_column_type type, const void *value);
/* A table's columns as attributes. `where` names the place in messages. Texts are copied to the heap. */
sf_status sf_hdf5_put_attributes(const sf_hdf5 *f, hid_t at, const sf_column *column, const void *of);
sf_status sf_hdf5_get_attributes(const sf_hdf5 *f, hid_t at, const char *where, const sf_column *column, sf_heap *heap,
                                 void *of);

#endif
