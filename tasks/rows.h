/* The rows of a large JSON file, one parsed at a time: its lines, or the elements of its outermost array. So a data set
 * of any size takes the memory of its longest row, and every error can name a line. */
#ifndef SF_ROWS_H
#define SF_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/status.h"

typedef enum sf_row_layout {
    SF_ROWS_LINES,  /* JSON lines: one value a line, empty lines aside */
    SF_ROWS_ARRAY,  /* [row, …] */
    SF_ROWS_MEMBER, /* {…, "data": [row, …], …} */
} sf_row_layout;

enum { SF_ROW_BYTES = 64 << 20 }; /* a longer row is refused before it is read in */

typedef struct sf_rows {
    const char *where; /* path, for messages */
    sf_row_layout layout;
    const char *at, *end;
    int line;      /* of `at`, from 1 */
    int row, here; /* number and first line of the last row; rows count from 0, -1: none yet */
    bool started, ended;
    void *mapped; /* what sf_rows_close() unmaps */
    size_t mapped_bytes;
} sf_rows;

/* Error: not readable, empty. */
sf_status sf_rows_open(const char *path, sf_row_layout layout, sf_rows *out);
void sf_rows_of(const char *text, size_t bytes, const char *name, sf_row_layout layout, sf_rows *out);
void sf_rows_close(sf_rows *rows); /* accepts zeroed ones */

/* The next row, owned by the caller; NULL after the last. Error: no JSON, not UTF-8, not the layout, a row that is too
 * long; names file and line. */
sf_status sf_rows_next(sf_rows *rows, json_t **out);

#endif
