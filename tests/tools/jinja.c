/* Renders templates that come in as JSON, for the scripts in tests/golden/jinja: one object a line,
 *
 *   {"template": "…", "variables": {…}, "date": "2024-07-26"}  →  {"text": "…"} or {"error": "…", "refused": true}
 *
 * "refused": the construct is not offered (SF_UNSUPPORTED), against a template or conversation that is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/jinja.h"

static json_t *rendered(const json_t *in)
{
    const json_t *template = json_object_get(in, "template");
    const char *date = json_string_value(json_object_get(in, "date"));
    sf_jinja *t;
    sf_jinja_output out = {0};
    sf_status status = sf_jinja_parse(json_string_value(template), json_string_length(template), "here", &t);
    if (status == SF_OK) {
        const sf_jinja_input input = {.variables = json_object_get(in, "variables"),
                                      .date = date ? date : "2024-07-26",
                                      .limits = sf_jinja_limits_for(0)};
        status = sf_jinja_render(t, &input, &out);
        sf_jinja_free(t);
    }
    if (status != SF_OK) return json_pack("{s:s, s:b}", "error", sf_error(), "refused", status == SF_UNSUPPORTED);
    json_t *o = json_object();
    json_object_set_new(o, "text", json_stringn(out.text, out.bytes));
    sf_jinja_output_free(&out);
    return o;
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    json_error_t error;
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
        json_t *in = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &error);
        if (!in) {
            fprintf(stderr, "not JSON: %s\n", error.text);
            return EXIT_FAILURE;
        }
        json_t *out = rendered(in);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(out);
        json_decref(in);
    }
    free(line);
    return EXIT_SUCCESS;
}
