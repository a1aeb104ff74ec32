/* Parameters of methods and tasks, described as data: the config reader checks and fills them, `frontier list` prints
 * them, the store records them. A plug-in declares one row per parameter of its own struct:
 *
 *     struct params { int page; double budget; };
 *     static const sf_param params[] = {
 *         {.name = "page", .type = SF_INT, .offset = offsetof(struct params, page),
 *          .low = 1, .high = 4096, .initial = 16, .doc = "keys per page"},
 *         {0}};
 */
#ifndef SF_PARAM_H
#define SF_PARAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef enum sf_param_type {
    SF_INT,    /* int */
    SF_REAL,   /* double */
    SF_BOOL,   /* bool */
    SF_CHOICE, /* int: the position in `choices` */
    SF_STRING, /* const char *, owned by the config; NULL when not given and no `text` */
} sf_param_type;

typedef struct sf_param {
    const char *name;     /* as in YAML; NULL ends the table */
    sf_param_type type;
    size_t offset;        /* in the parameter struct */
    double low, high;     /* SF_INT, SF_REAL: inclusive range */
    double initial;       /* default value; SF_CHOICE: a position, SF_BOOL: 0 or 1 */
    const char *text;     /* SF_STRING: default, may be NULL */
    const char *choices;  /* SF_CHOICE: "mean|max" */
    bool budget;          /* this parameter sets how much is computed: naming it in a config replaces target sparsities */
    bool file;            /* SF_STRING: path of a file that is read; results depend on its content too */
    bool folder;          /* … or of a folder, of which all files are read */
    bool late;            /* younger than results that hold: no part of their keys while it has its default */
    const char *doc;      /* one line, with the unit */
} sf_param;

/* That a table is well-formed and fits its struct; both may be absent. Messages name `where` it comes from, what it
 * belongs to ("method", "quest"), and the row. */
sf_status sf_params_validate(const sf_param *table, size_t size, const char *kind, const char *name, const char *where);
bool sf_good_name(const char *name);      /* [a-z0-9_]+, shorter than 64 */
size_t sf_param_size(sf_param_type type); /* bytes of its field; 0: there is no such type */
void sf_param_range(const sf_param *p, double *low, double *high);

/* Parameters as canonical JSON (table order; `late` ones at their default left out), malloc'ed. */
char *sf_params_json(const sf_param *table, const void *params);
/* "name" or "name(a=1, b=x)" with the parameters that differ from their defaults, malloc'ed. */
char *sf_params_label(const char *name, const sf_param *table, const void *params);

#endif
