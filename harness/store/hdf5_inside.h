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

/* ---- What a file from elsewhere must not do: send the library to other files, or make it load code ---- */

/* Refuses a link that is not the file's own: soft, to another file, user-defined. What is not there is left to the
 * caller. */
sf_status sf_hdf5_check_link(const sf_hdf5 *f, hid_t at, const char *name);
/* Opens a dataset whose link, storage and filters are the file's and HDF5's own. */
sf_status sf_hdf5_open_dataset(const sf_hdf5 *f, hid_t group, const char *cell, const char *name, hid_t *set);
/* Closes one that was written, unless it is not open: only here HDF5 says whether its last rows could be. Passes on a
 * status that is none. */
sf_status sf_hdf5_close_dataset(const sf_hdf5 *f, hid_t set, sf_status status);

/* ---- cells.c, for reading back ---- */

/* Opens /cells/KEY; *group < 0 with SF_OK: there is none. */
sf_status sf_cell_open(const sf_hdf5 *f, const char *key, hid_t *group);
/* dim[1 …]: a row's; the rank is returned. */
int sf_column_dims(const sf_column *column, const sf_cell_info *cell, hsize_t dim[4]);
/* Of a row in memory. */
size_t sf_column_bytes(const sf_column *column, const sf_cell_info *cell);
/* Opens a column for reading and checks its type, its shape against the cell and its rows against `rows` (0: any). */
sf_status sf_column_open(const sf_hdf5 *f, hid_t group, const sf_cell_info *cell, const sf_column *column, hsize_t rows,
                         hid_t *set, hsize_t dim[4]);
/* Rows as they are written: [n][sf_column_bytes()]. Texts stay where they are. False: a map that no record has. */
bool sf_column_pack(const sf_column *column, const sf_cell_info *cell, int n, const sf_record *const *record, void *rows);
/* Rows [first, first + n) of a column between memory and the file. */
herr_t sf_column_transfer(hid_t set, int rank, const hsize_t dim[4], hsize_t first, hsize_t n, hid_t memory, void *rows,
                          bool write);
/* Into the record of the sample that it shows. Absent is no error. */
sf_status sf_cell_picture(const sf_hdf5 *f, hid_t group, const sf_column *column, const sf_cell_info *cell, int n,
                          sf_record *record, sf_heap *arena);

#endif
