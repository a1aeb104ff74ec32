/* The store's columns as data: one row a column. Part files, HDF5, export and the schema's documentation walk these
 * tables; a new field of sf_cell_info or sf_record is one line in schema.c and one in results/README.md. */
#ifndef SF_STORE_SCHEMA_H
#define SF_STORE_SCHEMA_H

#include "base/heap.h"
#include "harness/store/store.h"

typedef enum sf_column_type {
    SF_COLUMN_INT,   /* int           int32 */
    SF_COLUMN_FLAG,  /* bool          uint8, 0 or 1 */
    SF_COLUMN_U64,   /* uint64_t      uint64 */
    SF_COLUMN_REAL,  /* double        float64 */
    SF_COLUMN_TEXT,  /* const char *  variable-length UTF-8 */
    SF_COLUMN_METER, /* sf_meter      uint64 [phases, works, counts] */
    SF_COLUMN_MAP,   /* const float * float32 [layers, heads], optional */
    SF_COLUMN_PROFILE, /* const sf_profile * float32 [SF_PROFILE_MEASURES, SF_STRETCHES], optional */
    SF_COLUMN_PICTURE, /* const sf_picture * float32 [SIDE, SIDE] of one row of the cell, optional */
} sf_column_type;

enum { SF_METER_WORDS = SF_PHASES * SF_WORKS * 5, SF_KEY_DIGITS = 32 };
_Static_assert(sizeof(sf_meter) == SF_METER_WORDS * sizeof(uint64_t), "sf_meter is stored as a block of uint64");

typedef struct sf_column {
    const char *name; /* NULL ends the table */
    sf_column_type type;
    size_t offset;    /* in the struct that the table describes */
    const char *unit; /* NULL: none */
    bool later;       /* was added to schema 1 after files of it were written: absent, it reads as NAN or NULL */
} sf_column;

extern const sf_column sf_cell_columns[];   /* of sf_cell_info, without the key */
extern const sf_column sf_record_columns[]; /* of sf_record; the first is `sample` */
extern const sf_column sf_run_columns[];    /* of sf_run_info */
extern const sf_column sf_failure_columns[]; /* of sf_failure */

extern const char *const sf_phase_names[SF_PHASES], *const sf_work_names[SF_WORKS], *const sf_count_names[5];

/* Maps and curves are floats behind a pointer, which sf_maps holds in the record's order: how many there are of a column, `map`
 * being layers × heads; 0: it is not of these. */
static inline size_t sf_column_floats(const sf_column *column, size_t map)
{
    return column->type == SF_COLUMN_MAP ? map : column->type == SF_COLUMN_PROFILE ? SF_PROFILE_MEASURES * SF_STRETCHES : 0;
}
static inline bool sf_column_is_floats(sf_column_type type) { return type == SF_COLUMN_MAP || type == SF_COLUMN_PROFILE; }

/* A key is 1 … 32 hex digits, so that it can name a group and a part. */
bool sf_key_valid(const char *key);
/* What everything that reads a record relies on: scores within their bounds, no infinite sparsity, cost or time. Error: the
 * field and what it holds. */
sf_status sf_record_check(const sf_record *record);
static inline bool sf_sample_valid(int sample) { return sample >= 0 && sample < SF_STORE_SAMPLES; }

#endif
