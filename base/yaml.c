#include "base/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

static char *join(const char *path, const char *key)
{
    char *out = NULL;
    if (asprintf(&out, "%s%s%s", path, *path ? "." : "", key) < 0) return NULL;
    return out;
}

static sf_status no_memory(const char *file) { return sf_fail(SF_NO_MEMORY, "%s: no memory to read it", file); }

static sf_node *new_node(sf_node_kind kind, const char *file, int line, const char *path)
{
    sf_node *node = calloc(1, sizeof *node);
    char *copy = path ? strdup(path) : NULL;
    if (node && copy) {
        *node = (sf_node){.kind = kind, .file = file, .line = line, .path = copy};
        return node;
    }
    free(node);
    free(copy);
    return NULL;
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

/* Takes the item, and frees it where it cannot be kept. */
static sf_status append(sf_node *parent, const char *key, sf_node *item)
{
    char *name = key ? strdup(key) : NULL;
    sf_node **items = item ? realloc(parent->item, (size_t)(parent->items + 1) * sizeof *items) : NULL;
    if (items) parent->item = items;
    char **keys = name && items ? realloc(parent->key, (size_t)(parent->items + 1) * sizeof *keys) : NULL;
    if (keys) parent->key = keys;
    if (!items || (key && !keys)) {
        free(name);
        sf_yaml_free(item);
        return no_memory(parent->file);
    }
    if (key) parent->key[parent->items] = name;
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

/* More than any sweep has: a file beyond them is broken or hostile, and is left before it costs anything. */
enum { DEPTH = 16, NODES = 10000, BYTES = 4 << 20 };

struct reader {
    yaml_parser_t *parser;
    yaml_event_t event; /* at hand, once `taken` */
    bool taken;
    const char *file;
    int line;  /* of every node; 0: their own */
    int nodes; /* so far */
};

static void drop_event(struct reader *r)
{
    if (r->taken) yaml_event_delete(&r->event);
    r->taken = false;
}

/* The next event takes the place of the one at hand. */
static sf_status next(struct reader *r)
{
    const yaml_parser_t *p = r->parser;
    drop_event(r);
    r->taken = yaml_parser_parse(r->parser, &r->event);
    if (r->taken) return SF_OK;
    if (p->error == YAML_MEMORY_ERROR) return no_memory(r->file);
    return sf_fail(SF_BAD_INPUT, "%s:%d: not valid YAML: %s%s%s", r->file, (int)p->problem_mark.line + 1,
                   p->problem ? p->problem : "unreadable", p->context ? " " : "", p->context ? p->context : "");
}

static int line_of(const struct reader *r) { return r->line ? r->line : (int)r->event.start_mark.line + 1; }

/* Aliases can multiply a small file without end, and a tag asks for a type that a sweep does not know. */
static sf_status refuse_references(const struct reader *r)
{
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return sf_fail(SF_BAD_INPUT, "%s:%d: alias '*%s': aliases are not read; write the value out", r->file, line_of(r),
                       (const char *)e->data.alias.anchor);
    case YAML_SCALAR_EVENT: anchor = e->data.scalar.anchor, tag = e->data.scalar.tag; break;
    case YAML_SEQUENCE_START_EVENT: anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag; break;
    case YAML_MAPPING_START_EVENT: anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag; break;
    default: break;
    }
    if (anchor)
        return sf_fail(SF_BAD_INPUT, "%s:%d: anchor '&%s': aliases are not read, so that none is needed", r->file,
                       line_of(r), (const char *)anchor);
    if (tag)
        return sf_fail(SF_BAD_INPUT, "%s:%d: tag '%s': tags are not read; leave it out", r->file, line_of(r),
                       (const char *)tag);
    return SF_OK;
}

/* YAML's null, which "null" in quotes is not. */
static bool is_null(const yaml_event_t *e)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    const char *text = (const char *)e->data.scalar.value;
    if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0) return true;
    return false;
}

static sf_status scalar_text(const struct reader *r, const char **out)
{
    const yaml_event_t *e = &r->event;
    *out = (const char *)e->data.scalar.value;
    if (strlen(*out) == e->data.scalar.length) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s:%d: a text holds a NUL byte", r->file, line_of(r));
}

static sf_status build(struct reader *r, const char *path, int depth, sf_node **out);

static sf_status build_list(struct reader *r, int depth, sf_node *list)
{
    for (;;) {
        SF_TRY(next(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT) return SF_OK;
        char position[16];
        snprintf(position, sizeof position, "%d", list->items);
        char *below = join(list->path, position);
        sf_node *item = NULL;
        sf_status status = below ? build(r, below, depth + 1, &item) : no_memory(r->file);
        free(below);
        if (status == SF_OK) status = append(list, NULL, item);
        SF_TRY(status);
    }
}

static sf_status build_map(struct reader *r, int depth, sf_node *map)
{
    for (;;) {
        const char *text;
        SF_TRY(next(r));
        if (r->event.type == YAML_MAPPING_END_EVENT) return SF_OK;
        SF_TRY(refuse_references(r));
        if (r->event.type != YAML_SCALAR_EVENT) return sf_yaml_fail(map, "a key is not a plain word");
        SF_TRY(scalar_text(r, &text));
        if (find(map, text) >= 0)
            return sf_fail(SF_BAD_INPUT, "%s:%d: key '%s' stands twice in '%s'; remove one", r->file, line_of(r), text,
                           *map->path ? map->path : "the file");
        char *name = strdup(text), *below = name ? join(map->path, name) : NULL;
        sf_node *item = NULL;
        sf_status status = below ? next(r) : no_memory(r->file);
        if (status == SF_OK) status = build(r, below, depth + 1, &item);
        if (status == SF_OK) status = append(map, name, item);
        free(name);
        free(below);
        SF_TRY(status);
    }
}

/* The node that begins with the event at hand. *out stays NULL after a failure. */
static sf_status build(struct reader *r, const char *path, int depth, sf_node **out)
{
    const yaml_event_type_t type = r->event.type;
    const char *text;
    SF_TRY(refuse_references(r));
    if (++r->nodes > NODES)
        return sf_fail(SF_BAD_INPUT, "%s:%d: more than %d keys and values", r->file, line_of(r), NODES);
    sf_node *node = new_node(type == YAML_SCALAR_EVENT           ? SF_SCALAR
                             : type == YAML_SEQUENCE_START_EVENT ? SF_LIST
                                                                 : SF_MAP,
                             r->file, line_of(r), path);
    if (!node) return no_memory(r->file);
    sf_status status = SF_OK;
    if (depth > DEPTH) {
        status = sf_yaml_fail(node, "nested deeper than %d levels", DEPTH);
    } else if (type == YAML_SCALAR_EVENT) {
        status = scalar_text(r, &text);
        node->null = status == SF_OK && is_null(&r->event);
        node->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        if (status == SF_OK && !(node->text = strdup(node->null ? "" : text))) status = no_memory(r->file);
    } else {
        status = type == YAML_SEQUENCE_START_EVENT ? build_list(r, depth, node) : build_map(r, depth, node);
    }
    if (status == SF_OK)
        *out = node;
    else
        sf_yaml_free(node);
    return status;
}

/* The one document of a parser whose input is set. `line`: of every node, 0 for their own; `path`: of the root. */
static sf_status parse(yaml_parser_t *parser, const char *file, int line, const char *path, sf_node **out)
{
    struct reader r = {.parser = parser, .file = file, .line = line};
    sf_node *root = NULL;
    sf_status status = next(&r); /* the stream */
    if (status == SF_OK) status = next(&r);
    if (status == SF_OK && r.event.type == YAML_STREAM_END_EVENT) status = sf_fail(SF_BAD_INPUT, "%s: is empty", file);
    if (status == SF_OK) status = next(&r);
    if (status == SF_OK) status = build(&r, path, 0, &root);
    if (status == SF_OK) status = next(&r); /* the document's end, and the stream's */
    if (status == SF_OK) status = next(&r);
    if (status == SF_OK && r.event.type != YAML_STREAM_END_EVENT)
        status = sf_fail(SF_BAD_INPUT, "%s: holds several documents; keep one", file);
    drop_event(&r);
    if (status == SF_OK)
        *out = root;
    else
        sf_yaml_free(root);
    return status;
}

/* Names of files outlive the nodes that point at them: interned, a handful per process. */
static const char *intern(const char *name)
{
    static char *known[64];
    static int n;
    for (int i = 0; i < n; i++)
        if (strcmp(known[i], name) == 0) return known[i];
    char *copy = n < 64 ? strdup(name) : NULL;
    if (!copy) return "(file)";
    return known[n++] = copy;
}

sf_status sf_yaml_read(const char *path, sf_node **root)
{
    *root = NULL;
    struct stat st;
    yaml_parser_t parser;
    FILE *f = fopen(path, "rb");
    if (!f) return sf_fail(SF_IO, "%s: cannot be opened: %s", path, strerror(errno));
    sf_status status = SF_OK;
    if (fstat(fileno(f), &st) == 0 && st.st_size > BYTES)
        status = sf_fail(SF_BAD_INPUT, "%s: %lld bytes; a config has at most %d", path, (long long)st.st_size, BYTES);
    bool ready = status == SF_OK && yaml_parser_initialize(&parser);
    if (status == SF_OK && !ready) status = no_memory(path);
    if (ready) {
        yaml_parser_set_input_file(&parser, f);
        status = parse(&parser, intern(path), 0, "", root);
        yaml_parser_delete(&parser);
    }
    if (ferror(f)) status = sf_fail(SF_IO, "%s: cannot be read: is it a directory?", path);
    if (status == SF_OK && (*root)->kind != SF_MAP)
        status = sf_fail(SF_BAD_INPUT, "%s:%d: expected 'key: value' lines at the top", path, (*root)->line);
    fclose(f);
    if (status != SF_OK) sf_yaml_free(*root), *root = NULL;
    return status;
}

/* ---- --set ----------------------------------------------------------------------------------------------------- */

/* Whether a key of --set is a position in a list; else it is a name. */
static bool is_position(const char *key) { return *key && strspn(key, "0123456789") == strlen(key); }

/* The item of a list that `name` means: a position, a name, or the single key of a map. */
static int find_in_list(const sf_node *list, const char *name)
{
    if (is_position(name)) {
        long position = strtol(name, NULL, 10);
        return position < list->items ? (int)position : -1;
    }
    for (int i = 0; i < list->items; i++) {
        const sf_node *item = list->item[i];
        if (item->kind == SF_SCALAR && strcmp(item->text, name) == 0) return i;
        if (item->kind == SF_MAP && item->items == 1 && strcmp(item->key[0], name) == 0) return i;
    }
    return -1;
}

static void replace(sf_node *parent, int i, sf_node **value)
{
    sf_yaml_free(parent->item[i]);
    parent->item[i] = *value, *value = NULL;
}

/* One step down a list; *at moves to what `key` means there. The last step puts the value. */
static sf_status step_list(const char *assignment, const char *key, bool last, sf_node **at, sf_node **value)
{
    sf_node *list = *at;
    int i = find_in_list(list, key);
    if (i < 0)
        return sf_fail(SF_BAD_INPUT, "--set '%s': '%s' is not an item of the list '%s' (%d items)", assignment, key,
                       list->path, list->items);
    sf_node *item = list->item[i];
    if (last) {
        replace(list, i, value);
    } else if (is_position(key)) {
        *at = item;
    } else if (item->kind == SF_MAP) { /* "cwe: {…}" */
        *at = item->item[0];
    } else { /* a bare name gets parameters: "cwe" -> "cwe: {…}" */
        sf_node *map = new_node(SF_MAP, "--set", 1, item->path), *below = new_node(SF_MAP, "--set", 1, item->path);
        if (!map) sf_yaml_free(below);
        sf_status status = map ? append(map, key, below) : no_memory("--set");
        if (status != SF_OK) return sf_yaml_free(map), status;
        replace(list, i, &map);
        *at = below;
    }
    return SF_OK;
}

static sf_status step_map(const char *key, bool last, sf_node **at, sf_node **value)
{
    sf_node *map = *at;
    int i = find(map, key);
    if (i >= 0) {
        if (last)
            replace(map, i, value);
        else
            *at = map->item[i];
        return SF_OK;
    }
    sf_node *item = *value;
    if (last) {
        *value = NULL;
    } else {
        char *path = join(map->path, key);
        item = new_node(SF_MAP, "--set", 1, path);
        free(path);
    }
    SF_TRY(append(map, key, item));
    if (!last) *at = item;
    return SF_OK;
}

sf_status sf_yaml_set(sf_node *root, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return sf_fail(SF_BAD_INPUT, "--set '%s': expected path.to.key=value, e.g. samples=5", assignment);
    char *path = strndup(assignment, (size_t)(equals - assignment)), *rest = path;
    sf_node *value = NULL, *at = root;
    yaml_parser_t parser;
    if (!path || !yaml_parser_initialize(&parser)) {
        free(path);
        return no_memory("--set");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)equals + 1, strlen(equals + 1));
    sf_status status = parse(&parser, "--set", 1, path, &value);
    yaml_parser_delete(&parser);
    for (char *key; status == SF_OK && (key = strsep(&rest, "."));) {
        if (at->kind == SF_LIST)
            status = step_list(assignment, key, !rest, &at, &value);
        else if (at->kind == SF_MAP)
            status = step_map(key, !rest, &at, &value);
        else
            status = sf_fail(SF_BAD_INPUT, "--set '%s': '%s' has no keys of its own", assignment, at->path);
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
    return node->kind == SF_MAP ? "keys and values" : node->kind == SF_LIST ? "a list" : node->null ? "nothing" : node->text;
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
