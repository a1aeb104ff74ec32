/* A YAML file as a tree that remembers where everything stood, and typed reading with errors that say so:
 * "demo.yaml:12: tasks.niah.queries: expected a whole number from 1 to 64, found 'many'". */
#ifndef SF_YAML_H
#define SF_YAML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/param.h"
#include "base/status.h"

typedef enum sf_node_kind { SF_SCALAR, SF_LIST, SF_MAP } sf_node_kind;

typedef struct sf_node {
    sf_node_kind kind;
    const char *file;       /* shared by all nodes of a document; "--set" for overrides */
    int line;
    char *path;             /* "tasks.niah.queries" */
    char *text;             /* SCALAR: its text; "" for null */
    bool null;              /* SCALAR: nothing, ~ or null, not quoted: as if the key were not there */
    bool quoted;            /* SCALAR: "5" and not 5: a text whatever it spells */
    int items;              /* LIST, MAP */
    char **key;             /* MAP: [items] */
    struct sf_node **item;  /* [items] */
} sf_node;

/* Reads one document whose root is a map. Duplicate keys, aliases, tags, several documents, more than 10 000 nodes and more
 * than 16 levels are errors. */
sf_status sf_yaml_read(const char *path, sf_node **root);

/* Applies "path.to.key=value" (value in YAML's flow notation): replaces or adds. Lists take a position as key; a list of
 * names or single-key maps (tasks, methods) takes the name. */
sf_status sf_yaml_set(sf_node *root, const char *assignment);
void sf_yaml_free(sf_node *node); /* accepts NULL */

const sf_node *sf_yaml_get(const sf_node *map, const char *key); /* NULL: absent, or null */

/* "file:line: path: message" */
sf_status sf_yaml_fail(const sf_node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fails at the first key of the map that is not in the NULL-terminated list, naming the nearest one. */
sf_status sf_yaml_known(const sf_node *map, const char *const *keys);

sf_status sf_yaml_int(const sf_node *node, double low, double high, int64_t *out);
sf_status sf_yaml_real(const sf_node *node, double low, double high, double *out);
sf_status sf_yaml_bool(const sf_node *node, bool *out);
sf_status sf_yaml_text(const sf_node *node, const char **out);      /* a scalar that is not empty */
sf_status sf_yaml_choice(const sf_node *node, const char *choices /* "a|b|c" */, int *out);
sf_status sf_yaml_list(const sf_node *node);                        /* a list with at least one item */

/* Fills a parameter struct from a table: defaults, then the map's values (NULL: none). Keys in `reserved`
 * (NULL-terminated, may be NULL) are left to the caller. */
sf_status sf_yaml_params(const sf_node *map, const sf_param *table, const char *const *reserved, void *params);

/* The candidate nearest to `name` by edits, or NULL where none is near enough to help. */
const char *sf_nearest(const char *name, const char *const *candidates, int n);

#endif
