#include "harness/model/json.h"
#include "harness/model/mapping.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sf_status sf_json_parse(const char *text, size_t bytes, const char *path, json_t **out)
{
    json_error_t error;
    *out = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        return sf_fail(SF_BAD_INPUT, "%s:%d:%d: expected JSON, found: %s", path, error.line, error.column, error.text);
    if (json_is_object(*out)) return SF_OK;
    json_decref(*out);
    *out = NULL;
    return sf_fail(SF_BAD_INPUT, "%s: expected a JSON object, found a list", path);
}

/* Python writes a number without end as a bare word, which is no JSON (Nemotron-H's time_step_limit): it becomes the object that transformers 5
 * writes. out NULL: only counts. */
static size_t copy_spelt(const char *text, size_t bytes, char *out)
{
    static const char WORD[] = "Infinity", OBJECT[] = "{\"__float__\":\"Infinity\"}";
    enum { WORD_BYTES = sizeof WORD - 1, OBJECT_BYTES = sizeof OBJECT - 1 };
    size_t n = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        const bool word = !quoted && bytes - i >= WORD_BYTES && memcmp(text + i, WORD, WORD_BYTES) == 0 && (i == 0 || text[i - 1] != '-');
        if (word) {
            if (out) memcpy(out + n, OBJECT, OBJECT_BYTES);
            n += OBJECT_BYTES, i += WORD_BYTES - 1;
            continue;
        }
        if (out) out[n] = text[i];
        n++;
        if (text[i] == '"') quoted = !quoted;
        if (quoted && text[i] == '\\' && i + 1 < bytes) {
            i++;
            if (out) out[n] = text[i];
            n++;
        }
    }
    return n;
}

static sf_status spell_infinities(const char *path, char **text, size_t *bytes)
{
    const size_t n = copy_spelt(*text, *bytes, NULL);
    if (n == *bytes) return SF_OK;
    char *spelt = malloc(n + 1);
    if (!spelt) return sf_fail(SF_NO_MEMORY, "%s: no memory", path);
    copy_spelt(*text, *bytes, spelt);
    spelt[n] = '\0';
    free(*text);
    *text = spelt;
    *bytes = n;
    return SF_OK;
}

sf_status sf_json_read(const char *path, size_t limit, json_t **out)
{
    char *text;
    size_t bytes;
    *out = NULL;
    SF_TRY(sf_read_text(path, limit, &text, &bytes));
    sf_status status = spell_infinities(path, &text, &bytes);
    if (status == SF_OK) status = sf_json_parse(text, bytes, path, out);
    free(text);
    return status;
}

const json_t *sf_json_value(sf_json_at at, const char *key)
{
    const json_t *value = json_object_get(at.object, key);
    return json_is_null(value) ? NULL : value;
}

sf_status sf_json_fail(sf_status code, sf_json_at at, const char *key, const char *expected)
{
    const json_t *value = json_object_get(at.object, key);
    char *found = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    sf_status status = sf_fail(code, "%s: %s%s: expected %s, %s%.80s", at.path, at.above, key, expected,
                               value ? "found " : "not found", found ? found : "");
    free(found);
    return status;
}

/* *value NULL: it may be missing, and is. */
static sf_status get(sf_json_at at, const char *key, bool required, const char *expected, const json_t **value)
{
    *value = sf_json_value(at, key);
    if (!*value && required) return sf_json_fail(SF_BAD_INPUT, at, key, expected);
    return SF_OK;
}

sf_status sf_json_int(sf_json_at at, const char *key, bool required, int64_t low, int64_t high, int64_t *out)
{
    char expected[96];
    snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)low, (long long)high);
    const json_t *value;
    SF_TRY(get(at, key, required, expected, &value));
    if (!value) return SF_OK;
    if (!json_is_integer(value) || json_integer_value(value) < low || json_integer_value(value) > high) {
        return sf_json_fail(SF_BAD_INPUT, at, key, expected);
    }
    *out = json_integer_value(value);
    return SF_OK;
}

sf_status sf_json_real(sf_json_at at, const char *key, bool required, double low, double high, double *out)
{
    char expected[96];
    snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
    const json_t *value;
    SF_TRY(get(at, key, required, expected, &value));
    if (!value) return SF_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= low && number <= high))
        return sf_json_fail(SF_BAD_INPUT, at, key, expected);
    *out = number;
    return SF_OK;
}

sf_status sf_json_bool(sf_json_at at, const char *key, bool required, bool *out)
{
    const json_t *value;
    SF_TRY(get(at, key, required, "true or false", &value));
    if (!value) return SF_OK;
    if (!json_is_boolean(value)) return sf_json_fail(SF_BAD_INPUT, at, key, "true or false");
    *out = json_is_true(value);
    return SF_OK;
}

sf_status sf_json_text(sf_json_at at, const char *key, bool required, const char **out)
{
    const json_t *value;
    SF_TRY(get(at, key, required, "a text", &value));
    if (!value) return SF_OK;
    if (!json_is_string(value)) return sf_json_fail(SF_BAD_INPUT, at, key, "a text");
    *out = json_string_value(value);
    return SF_OK;
}

sf_status sf_json_object(sf_json_at at, const char *key, bool required, const json_t **out)
{
    const json_t *value;
    SF_TRY(get(at, key, required, "an object", &value));
    if (value && !json_is_object(value)) return sf_json_fail(SF_BAD_INPUT, at, key, "an object");
    if (value) *out = value;
    return SF_OK;
}
