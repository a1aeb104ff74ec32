/* Jinja, as transformers' apply_chat_template sets it up: jinja2's ImmutableSandboxedEnvironment with trim_blocks,
 * lstrip_blocks, {% break %} and {% continue %}, {% generation %}, a `tojson` that escapes no HTML, raise_exception()
 * and strftime_now(). A template is parsed once and rendered by any number of threads.
 *
 * What a template may say is jinja2's (3.1); what is not offered (inheritance, inclusion, HTML filters, integers beyond
 * 64 bits, …) is refused with the template's line and the construct, never rendered otherwise. */
#ifndef SF_JINJA_H
#define SF_JINJA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sf_jinja sf_jinja;

/* `where` goes in front of every message, here and in rendering: "PATH: template line 3: …". Both texts are copied.
 * SF_BAD_INPUT: no Jinja template; SF_UNSUPPORTED: one, with a construct that is not offered. */
sf_status sf_jinja_parse(const char *text, size_t bytes, const char *where, sf_jinja **out);
void sf_jinja_free(sf_jinja *template); /* accepts NULL */

/* A template is a program from elsewhere: each of these ends it with an error that says which was reached. */
typedef struct sf_jinja_limits {
    int64_t steps; /* nodes evaluated, items and pieces of text looked at */
    size_t bytes;  /* of memory, the output among it */
    int depth;     /* of calls, of nested expressions and of nested values */
} sf_jinja_limits;

/* The limits for a conversation of that many bytes. */
sf_jinja_limits sf_jinja_limits_for(size_t bytes);

typedef struct sf_jinja_input {
    const json_t *variables; /* an object: what the template may name */
    const json_t *marked; /* a text somewhere in it, whose bytes are followed to where they are written; NULL: none */
    const char *date;     /* "YYYY-MM-DD", what strftime_now() goes by, at midnight */
    sf_jinja_limits limits;
} sf_jinja_input;

typedef struct sf_jinja_output {
    char *text;    /* malloc'ed, NUL-terminated after `bytes` */
    uint8_t *mark; /* [bytes] 1: this byte comes from the marked text; NULL: none does. malloc'ed */
    size_t bytes;
    bool used_date; /* the template asked for the date */
} sf_jinja_output;

/* SF_BAD_INPUT: what jinja2 raises an error for, raise_exception() among it; SF_UNSUPPORTED: what is not offered, and
 * limits. Nothing is allocated in *out on failure. */
sf_status sf_jinja_render(const sf_jinja *template, const sf_jinja_input *input, sf_jinja_output *out);
void sf_jinja_output_free(sf_jinja_output *out);

#endif
