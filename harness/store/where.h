/* Which cells are meant, in words: "method=quest,sparsity=0.9", or the beginning of a cell's key. */
#ifndef SF_STORE_WHERE_H
#define SF_STORE_WHERE_H

#include "harness/store/store.h"

enum { SF_WHERE_TERMS = 16 };

typedef struct sf_where {
    char text[1024];
    int terms;
    struct {
        int what;          /* place in the list of names */
        const char *value; /* in `text` */
    } term[SF_WHERE_TERMS];
} sf_where;

/* Terms that all have to hold, with commas between: key (six digits or more; also alone), model, task, method (labels; a task's or
 * method's bare name too; a cell that is dense in both phases has the method "dense"), phase (dense, prefill, decode, both), length,
 * sparsity (requested, of a phase that is sparse; 0: dense), seed, device, cache (of failures not known). A comma within parentheses
 * belongs to a label. Error: nothing, an unknown name, a value that cannot be one. */
sf_status sf_where_parse(const char *text, sf_where *out);
bool sf_where_matches(const sf_where *where, const sf_cell_info *cell);
/* The same of a cell that failed, whose seed and device nothing says: terms of those never hold. */
bool sf_where_matches_failure(const sf_where *where, const sf_failure *failure);

#endif
