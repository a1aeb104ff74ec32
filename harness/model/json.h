/* Reading JSON files with errors that say where: "config.json: rope_scaling.factor: expected …, found …". */
#ifndef SF_JSON_H
#define SF_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Parses a file or a text whose root is an object. Error: not JSON (with line and column), a key given twice. */
sf_status sf_json_read(const char *path, size_t limit, json_t **out);
sf_status sf_json_parse(const char *text, size_t bytes, const char *path, json_t **out);

/* Where a value stands: the file, and the keys above it ("rope_scaling."), for messages. */
typedef struct sf_json_at { const json_t *object; const char *path, *above; } sf_json_at;

/* Values by key. An absent or null one leaves *out as it was if it is not `required`, else fails; so does another type
 * or a number outside [low, high]. A text lives as long as the object. */
sf_status sf_json_int(sf_json_at at, const char *key, bool required, int64_t low, int64_t high, int64_t *out);
sf_status sf_json_real(sf_json_at at, const char *key, bool required, double low, double high, double *out);
sf_status sf_json_bool(sf_json_at at, const char *key, bool required, bool *out);
sf_status sf_json_text(sf_json_at at, const char *key, bool required, const char **out);
sf_status sf_json_object(sf_json_at at, const char *key, bool required, const json_t **out);

/* "file: above.key: expected EXPECTED, found <the value>" */
sf_status sf_json_fail(sf_status code, sf_json_at at, const char *key, const char *expected);

/* The value at `key`, NULL where it is absent or null. */
const json_t *sf_json_value(sf_json_at at, const char *key);

#endif
