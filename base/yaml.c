#include "base/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

static char *join(const char *path, const char *key)
{
    char *out = NULL;
    if (asprintf(&out, "%s%s%s", path, *path ? "." : "", key) < 0) return NULL;
    return out;
}

static sf_node *new_node(sf_node_kind kind, const char *file, int line, const char *path)
{
    sf_node *node = calloc(1, sizeof *node);
    if (!node) return NULL;
    *node = (sf_node){.kind = kind, .file = file, .line = line, .path = strdup(path)};
    return node;
}

void sf_yaml_free(sf_node *node)
{
    if (!node) return;
    for (int i = 0; i < node->items; i++) {
        if (node->key) free(node->key[i]);
        sf_yaml_free(node->item[i]);
    }
    free(node->key);
    free(node->item);
    free(node->text);
    free(node->path);
    free(node);
}

static sf_status append(sf_node *parent, const char *key, sf_node *item)
{
    sf_node **items = realloc(parent->item, (size_t)(parent->items + 1) * sizeof *items);
    if (items) parent->item = items;
    char **keys = key && items ? realloc(parent->key, (size_t)(parent->items + 1) * sizeof *keys) : NULL;
    if (keys) parent->key = keys;
    if (!items || (key && !keys)) {
        sf_yaml_free(item);
        return sf_fail(SF_NO_MEMORY, "%s: no memory to read it", parent->file);
    }
    if (key) parent->key[parent->items] = strdup(key);
    parent->item[parent->items++] = item;
    return SF_OK;
}

static int find(const sf_node *map, const char *key)
{
    for (int i = 0; i < map->items; i++)
        if (strcmp(map->key[i], key) == 0) return i;
    return -1;
}

const sf_node *sf_yaml_get(const sf_node *map, const char *key)
{
    int at = map && map->kind == SF_MAP ? find(map, key) : -1;
    return at < 0 || map->item[at]->null ? NULL : map->item[at];
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Nothing, or a word for it that is not quoted. */
static bool is_null(const yaml_node_t *scalar)
{
    static const char *const WORDS[] = {"", "~", "null", "Null", "NULL"};
    bool null = false;
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        null = null || strcmp((char *)scalar->data.scalar.value, WORDS[i]) == 0;
    return null && scalar->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

enum { DEPTH = 16 }; /* deeper nesting than any sweep has: a broken or hostile file */

static sf_status convert(yaml_document_t *doc, yaml_node_t *from, const char *file, int line, const char *path, int depth,
                         sf_node **out)
{
    int here = line ? line : (int)from->start_mark.line + 1;
    sf_node *node = new_node(from->type == YAML_SCALAR_NODE     ? SF_SCALAR
                             : from->type == YAML_SEQUENCE_NODE ? SF_LIST
                                                                : SF_MAP,
                             file, here, path);
    if (!node) return sf_fail(SF_NO_MEMORY, "%s: no memory to read it", file);
    *out = node;
    if (depth > DEPTH) return sf_yaml_fail(node, "nested deeper than %d levels", DEPTH);
    if (from->type == YAML_SCALAR_NODE) {
        if (strlen((char *)from->data.scalar.value) != from->data.scalar.length)
            return sf_yaml_fail(node, "a value holds a NUL byte");
        node->null = is_null(from);
        node->text = strdup(node->null ? "" : (char *)from->data.scalar.value);
        node->quoted = from->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    } else if (from->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = from->data.sequence.items.start; i < from->data.sequence.items.top; i++) {
            char position[16];
            snprintf(position, sizeof position, "%d", node->items);
            char *below = join(path, position);
            sf_node *item = NULL;
            sf_status status = convert(doc, yaml_document_get_node(doc, *i), file, line, below, depth + 1, &item);
            free(below);
            if (item && append(node, NULL, item) != SF_OK) return SF_NO_MEMORY;
            if (status != SF_OK) return status;
        }
    } else {
        for (yaml_node_pair_t *i = from->data.mapping.pairs.start; i < from->data.mapping.pairs.top; i++) {
            yaml_node_t *key = yaml_document_get_node(doc, i->key);
            if (key->type != YAML_SCALAR_NODE) return sf_yaml_fail(node, "a key is not a plain word");
            const char *name = (char *)key->data.scalar.value;
            if (find(node, name) >= 0)
                return sf_fail(SF_BAD_INPUT, "%s:%d: key '%s' stands twice in '%s'; remove one", file,
                               (int)key->start_mark.line + 1, name, *path ? path : "the file");
            char *below = join(path, name);
            sf_node *item = NULL;
            sf_status status = convert(doc, yaml_document_get_node(doc, i->value), file, line, below, depth + 1, &item);
            free(below);
            if (item && append(node, name, item) != SF_OK) return SF_NO_MEMORY;
            if (status != SF_OK) return status;
        }
    }
    return SF_OK;
}

/* Parses with a parser whose input is set. `line`: of every node, 0 for their own; `path`: of the root. */
static sf_status parse(yaml_parser_t *parser, const char *file, int line, const char *path, sf_node **out)
{
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc))
        return sf_fail(SF_BAD_INPUT, "%s:%d: not valid YAML: %s%s%s", file, (int)parser->problem_mark.line + 1,
                       parser->problem ? parser->problem : "unreadable", parser->context ? " " : "",
                       parser->context ? parser->context : "");
    yaml_node_t *root = yaml_document_get_root_node(&doc);
    sf_status status = root ? convert(&doc, root, file, line, path, 0, out) : sf_fail(SF_BAD_INPUT, "%s: is empty", file);
    yaml_document_delete(&doc);
    return status;
}

/* Names of files outlive the nodes that point at them: interned, a handful per process. */
static const char *intern(const char *name)
{
    static char *known[64];
    static int n;
    for (int i = 0; i < n; i++)
        if (strcmp(known[i], name) == 0) return known[i];
    if (n == 64) return "(file)";
    return known[n++] = strdup(name);
}

sf_status sf_yaml_read(const char *path, sf_node **root)
{
    *root = NULL;
    FILE *f = fopen(path, "rb");
    if (!f) return sf_fail(SF_IO, "%s: cannot be opened: %s", path, strerror(errno));
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        fclose(f);
        return sf_fail(SF_NO_MEMORY, "%s: no memory to read it", path);
    }
    yaml_parser_set_input_file(&parser, f);
    sf_status status = parse(&parser, intern(path), 0, "", root);
    if (ferror(f)) status = sf_fail(SF_IO, "%s: cannot be read: is it a directory?", path);
    if (status == SF_OK && (*root)->kind != SF_MAP)
        status = sf_fail(SF_BAD_INPUT, "%s:%d: expected 'key: value' lines at the top", path, (*root)->line);
    if (status == SF_OK) {
        yaml_document_t second;
        if (yaml_parser_load(&parser, &second)) {
            if (yaml_document_get_root_node(&second))
                status = sf_fail(SF_BAD_INPUT, "%s: holds several documents; keep one", path);
            yaml_document_delete(&second);
        }
    }
    yaml_parser_delete(&parser);
    fclose(f);
    if (status != SF_OK) sf_yaml_free(*root), *root = NULL;
    return status;
}

/* ---- --set ----------------------------------------------------------------------------------------------------- */

/* The item of a list that `name` means: a position, a name, or the single key of a map. */
static int find_in_list(const sf_node *list, const char *name)
{
    char *end;
    long position = strtol(name, &end, 10);
    if (*name && !*end) return position >= 0 && position < list->items ? (int)position : -1;
    for (int i = 0; i < list->items; i++) {
        const sf_node *item = list->item[i];
        if (item->kind == SF_SCALAR && strcmp(item->text, name) == 0) return i;
        if (item->kind == SF_MAP && item->items == 1 && strcmp(item->key[0], name) == 0) return i;
    }
    return -1;
}

sf_status sf_yaml_set(sf_node *root, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return sf_fail(SF_BAD_INPUT, "--set '%s': expected path.to.key=value, e.g. samples=5", assignment);
    char *path = strndup(assignment, (size_t)(equals - assignment));
    sf_node *value = NULL;
    yaml_parser_t parser;
    sf_status status = SF_OK;
    if (!yaml_parser_initialize(&parser)) status = sf_fail(SF_NO_MEMORY, "--set: no memory");
    if (status == SF_OK) {
        yaml_parser_set_input_string(&parser, (const unsigned char *)equals + 1, strlen(equals + 1));
        status = parse(&parser, "--set", 1, path, &value);
        yaml_parser_delete(&parser);
    }
    sf_node *at = root;
    char *rest = path;
    for (char *key; status == SF_OK && (key = strsep(&rest, "."));) {
        if (at->kind == SF_LIST) {
            int i = find_in_list(at, key);
            if (i < 0) {
                status = sf_fail(SF_BAD_INPUT, "--set '%s': '%s' is not an item of the list '%s' (%d items)", assignment,
                                 key, at->path, at->items);
                break;
            }
            sf_node *item = at->item[i];
            bool named = strtol(key, NULL, 10) == 0 && strcmp(key, "0") != 0;
            if (!rest) {
                sf_yaml_free(item);
                at->item[i] = value, value = NULL;
            } else if (named && item->kind == SF_SCALAR) { /* a bare name gets parameters: "cwe" -> "cwe: {…}" */
                sf_node *map = new_node(SF_MAP, "--set", 1, item->path);
                sf_node *below = new_node(SF_MAP, "--set", 1, item->path);
                status = map && below ? append(map, key, below) : sf_fail(SF_NO_MEMORY, "--set: no memory");
                sf_yaml_free(item);
                at->item[i] = map;
                at = below;
            } else {
                at = named ? item->item[0] : item;
            }
            continue;
        }
        if (at->kind != SF_MAP) {
            status = sf_fail(SF_BAD_INPUT, "--set '%s': '%s' has no keys of its own", assignment, at->path);
            break;
        }
        int i = find(at, key);
        if (!rest) {
            if (i >= 0) {
                sf_yaml_free(at->item[i]);
                at->item[i] = value, value = NULL;
            } else {
                status = append(at, key, value), value = NULL;
            }
        } else if (i >= 0) {
            at = at->item[i];
        } else {
            char *below = join(at->path, key);
            sf_node *map = new_node(SF_MAP, "--set", 1, below);
            free(below);
            status = append(at, key, map);
            at = map;
        }
    }
    sf_yaml_free(value);
    free(path);
    return status;
}

/* ---- typed reading --------------------------------------------------------------------------------------------- */

sf_status sf_yaml_fail(const sf_node *node, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *colon = *node->path ? ": " : "";
    if (strcmp(node->file, "--set") == 0) return sf_fail(SF_BAD_INPUT, "--set %s%s%s", node->path, colon, text);
    return sf_fail(SF_BAD_INPUT, "%s:%d: %s%s%s", node->file, node->line, node->path, colon, text);
}

static const char *found(const sf_node *node) /* for messages */
{
    return node->kind == SF_MAP ? "keys and values" : node->kind == SF_LIST ? "a list" : node->text;
}

static int edits(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > 63 || m > 63) return 1000;
    int row[64];
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int corner = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = corner + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

const char *sf_nearest(const char *name, const char *const *candidates, int n)
{
    const char *best = NULL;
    int least = (int)strlen(name) / 2 + 1; /* more edits than half the word is no help */
    for (int i = 0; i < n; i++) {
        int d = edits(name, candidates[i]);
        if (d <= least) least = d - 1, best = candidates[i];
    }
    return best;
}

sf_status sf_yaml_known(const sf_node *map, const char *const *keys)
{
    if (map->kind != SF_MAP) return sf_yaml_fail(map, "expected keys and values, found '%s'", found(map));
    int n = 0;
    char all[512] = "";
    for (; keys[n]; n++) {
        strncat(all, n ? ", " : "", sizeof all - strlen(all) - 1);
        strncat(all, keys[n], sizeof all - strlen(all) - 1);
    }
    for (int i = 0; i < map->items; i++) {
        int k = 0;
        while (k < n && strcmp(keys[k], map->key[i]) != 0) k++;
        if (k < n) continue;
        const char *near = sf_nearest(map->key[i], keys, n);
        if (near) return sf_yaml_fail(map->item[i], "unknown key; did you mean '%s'? Known: %s", near, all);
        return sf_yaml_fail(map->item[i], "unknown key. Known: %s", n ? all : "none");
    }
    return SF_OK;
}

sf_status sf_yaml_real(const sf_node *node, double low, double high, double *out)
{
    char *end = NULL;
    double value = node->kind == SF_SCALAR ? strtod(node->text, &end) : 0;
    if (!end || end == node->text || *end || !isfinite(value) || value < low || value > high)
        return sf_yaml_fail(node, "expected a number from %g to %g, found '%s'", low, high, found(node));
    *out = value;
    return SF_OK;
}

sf_status sf_yaml_int(const sf_node *node, double low, double high, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = node->kind == SF_SCALAR ? strtoll(node->text, &end, 10) : 0;
    if (!end || end == node->text || *end || errno || (double)value < low || (double)value > high)
        return sf_yaml_fail(node, "expected a whole number from %.0f to %.0f, found '%s'", low, high, found(node));
    *out = value;
    return SF_OK;
}

sf_status sf_yaml_bool(const sf_node *node, bool *out)
{
    if (node->kind == SF_SCALAR && strcmp(node->text, "true") == 0) *out = true;
    else if (node->kind == SF_SCALAR && strcmp(node->text, "false") == 0) *out = false;
    else return sf_yaml_fail(node, "expected true or false, found '%s'", found(node));
    return SF_OK;
}

sf_status sf_yaml_text(const sf_node *node, const char **out)
{
    if (node->kind != SF_SCALAR || !*node->text) return sf_yaml_fail(node, "expected a text, found '%s'", found(node));
    *out = node->text;
    return SF_OK;
}

sf_status sf_yaml_list(const sf_node *node)
{
    if (node->kind != SF_LIST) return sf_yaml_fail(node, "expected a list like [a, b], found '%s'", found(node));
    if (!node->items) return sf_yaml_fail(node, "the list is empty; name at least one");
    return SF_OK;
}

sf_status sf_yaml_choice(const sf_node *node, const char *choices, int *out)
{
    int position = 0;
    if (node->kind == SF_SCALAR)
        for (const char *c = choices; *c; position++) {
            size_t n = strcspn(c, "|");
            if (strlen(node->text) == n && strncmp(c, node->text, n) == 0) {
                *out = position;
                return SF_OK;
            }
            c += n + (c[n] == '|');
        }
    return sf_yaml_fail(node, "expected one of %s, found '%s'", choices, found(node));
}

static sf_status fill(const sf_node *node, const sf_param *p, char *params)
{
    void *to = params + p->offset;
    int64_t whole = 0;
    switch (p->type) {
    case SF_INT:
        SF_TRY(sf_yaml_int(node, p->low, p->high, &whole));
        *(int *)to = (int)whole;
        return SF_OK;
    case SF_REAL: return sf_yaml_real(node, p->low, p->high, to);
    case SF_BOOL: return sf_yaml_bool(node, to);
    case SF_CHOICE: return sf_yaml_choice(node, p->choices, to);
    case SF_STRING: return sf_yaml_text(node, to);
    }
    return sf_fail(SF_INTERNAL, "parameter '%s' has no known type", p->name);
}

sf_status sf_yaml_params(const sf_node *map, const sf_param *table, const char *const *reserved, void *params)
{
    const char *known[64];
    int n = 0;
    for (const sf_param *p = table; p && p->name; p++) {
        char *to = (char *)params + p->offset;
        switch (p->type) {
        case SF_INT: case SF_CHOICE: *(int *)to = (int)p->initial; break;
        case SF_REAL: *(double *)to = p->initial; break;
        case SF_BOOL: *(bool *)to = p->initial != 0; break;
        case SF_STRING: *(const char **)to = p->text; break;
        }
        if (n < 48) known[n++] = p->name;
    }
    if (!map) return SF_OK;
    for (; reserved && *reserved && n < 63; reserved++) known[n++] = *reserved;
    known[n] = NULL;
    SF_TRY(sf_yaml_known(map, known));
    for (const sf_param *p = table; p && p->name; p++) {
        const sf_node *node = sf_yaml_get(map, p->name);
        if (node) SF_TRY(fill(node, p, params));
    }
    return SF_OK;
}
