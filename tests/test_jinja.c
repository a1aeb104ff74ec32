/* The Jinja evaluator against jinja2 as transformers sets it up (tests/golden/jinja/make_jinja.py): expressions, white
 * space control and statements, whole conversations; then what it adds: marks, limits, lines in messages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/jinja.h"

#define GOLDEN "tests/golden/"

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *file = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!file) fail_msg("%s: %s", path, error.text);
    return file;
}

static sf_status render(const char *template, size_t bytes, const json_t *variables, const json_t *marked,
                        sf_jinja_output *out)
{
    sf_jinja *t;
    *out = (sf_jinja_output){0};
    sf_status status = sf_jinja_parse(template, bytes, "x.jinja", &t);
    if (status != SF_OK) return status;
    const sf_jinja_input input = {
        .variables = variables, .marked = marked, .date = "2024-07-26", .limits = sf_jinja_limits_for(0)};
    status = sf_jinja_render(t, &input, out);
    sf_jinja_free(t);
    return status;
}

static sf_status simple(const char *template, sf_jinja_output *out)
{
    json_t *none = json_object();
    sf_status status = render(template, strlen(template), none, NULL, out);
    json_decref(none);
    return status;
}

/* Each row: the text that jinja2 gives; an error where it raises one; or a construct that is refused by name. */
static void rows_are_as_jinja2_has_them(void **state)
{
    (void)state;
    json_t *file = load(GOLDEN "jinja/expressions.json"), *row;
    size_t i, refused = 0;
    json_array_foreach(json_object_get(file, "rows"), i, row)
    {
        const json_t *template = json_object_get(row, "template"), *text = json_object_get(row, "text");
        const char *t = json_string_value(template);
        sf_jinja_output out;
        sf_status status = render(t, json_string_length(template), json_object_get(file, "variables"), NULL, &out);
        if (text) {
            if (status != SF_OK) fail_msg("%s\n%s", t, sf_error());
            if (out.bytes != json_string_length(text) || memcmp(out.text, json_string_value(text), out.bytes))
                fail_msg("%s\n gives  %s\n jinja2 %s", t, out.text, json_string_value(text));
        } else {
            if (status == SF_OK) fail_msg("%s\n gives  %s\n jinja2 raises an error", t, out.text);
            if (!strstr(sf_error(), "x.jinja: chat template, line ")) fail_msg("no place in: %s", sf_error());
            if (json_is_true(json_object_get(row, "refused")) && status != SF_UNSUPPORTED)
                fail_msg("%s\n is refused as wrong: %s", t, sf_error());
            refused += json_is_true(json_object_get(row, "refused"));
        }
        sf_jinja_output_free(&out);
    }
    assert_true(i > 300);
    assert_true(refused < 15);
    json_decref(file);
}

static const json_t *tokenizer_template(const json_t *chat, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(chat, "cases"), i,
                       item) if (!strcmp(json_string_value(json_object_get(item, "name")),
                                         name)) return json_object_get(item, "template");
    fail_msg("no template %s", name);
    return NULL;
}

static void conversation_is_as_rendered(const json_t *file, const char *name, const json_t *template,
                                        const json_t *talk, bool prompt, const json_t *text)
{
    json_t *variables = json_deep_copy(json_object_get(file, "tokens"));
    json_object_set(variables, "messages", json_object_get(talk, "messages"));
    json_object_set_new(variables, "tools", json_null());
    json_object_set_new(variables, "documents", json_null());
    json_object_set_new(variables, "add_generation_prompt", json_boolean(prompt));
    const char *t = json_string_value(template), *title = json_string_value(json_object_get(talk, "name"));
    sf_jinja_output out;
    sf_status status = render(t, strlen(t), variables, NULL, &out);
    if (json_is_null(text)) {
        if (status == SF_OK) fail_msg("%s, %s: transformers raises an error", name, title);
    } else {
        if (status != SF_OK) fail_msg("%s, %s: %s", name, title, sf_error());
        if (out.bytes != json_string_length(text) || memcmp(out.text, json_string_value(text), out.bytes))
            fail_msg("%s, %s:\n%s\n---- transformers:\n%s", name, title, out.text, json_string_value(text));
    }
    sf_jinja_output_free(&out);
    json_decref(variables);
}

static void conversations_are_as_transformers_renders_them(void **state)
{
    (void)state;
    json_t *file = load(GOLDEN "jinja/conversations.json"), *chat = load(GOLDEN "tokenizer/chat.json"), *item, *text;
    const json_t *talks = json_object_get(file, "conversations");
    size_t i, k, n = json_array_size(talks), all = 0;
    assert_int_equal(n, 22);
    json_array_foreach(json_object_get(file, "cases"), i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const json_t *template = json_object_get(item, "template");
        if (!template) template = tokenizer_template(chat, name);
        assert_int_equal(json_array_size(json_object_get(item, "texts")), 2 * n);
        json_array_foreach(json_object_get(item, "texts"), k, text)
            conversation_is_as_rendered(file, name, template, json_array_get(talks, k % n), k < n, text),
            all++;
    }
    assert_true(all >= 1000);
    json_decref(file);
    json_decref(chat);
}

/* Whatever a template does with the marked text, its bytes are known in the output. */
static void marks_follow_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *template, *text, *mark;
    } rows[] = {
        {"a{{ m }}b", "a Some text b", "0111111111110"},
        {"<{{ m | trim }}>", "<Some text>", "01111111110"},
        {"{{ 'x' + m[1:5] + 'y' ~ m.strip() }}", "xSomeySome text", "011110111111111"},
        {"{% set c = m.split(' ') %}{{ c[1] }}+{{ c | join('-') }}", "Some+-Some-text-", "1111001111011110"},
        {"{{ m | upper | replace('O', '00') }}", " S00ME TEXT ", "110011111111"},
        {"{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f(m) }}{{ f('Some') }}", "[ Some text ][Some]",
         "0111111111110000000"},
        {"{% set x %}{{ m }}{% endset %}{{ x | tojson }}", "\" Some text \"", "0111111111110"},
        {"{{ {'a': m} }}", "{'a': ' Some text '}", "00000001111111111100"},
        {"{{ '%s|%s' % (m, 1) }}", " Some text |1", "1111111111100"},
        {"{{ '{}!'.format(m) }}{{ m | length }}", " Some text !11", "11111111111000"},
        {"{% for c in m %}{{ c if c != ' ' }}{% endfor %}", "Sometext", "11111111"},
        {"{{ 'Some text' }}", "Some text", NULL},
    };
    json_t *variables = json_pack("{s:s}", "m", " Some text ");
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        sf_jinja_output out;
        if (render(rows[r].template, strlen(rows[r].template), variables, json_object_get(variables, "m"), &out) !=
            SF_OK)
            fail_msg("%s", sf_error());
        char want[64] = "";
        assert_string_equal(out.text, rows[r].text);
        if (!rows[r].mark) {
            assert_null(out.mark);
            sf_jinja_output_free(&out);
            continue;
        }
        for (size_t i = 0; i < out.bytes; i++) want[i] = (char)('0' + out.mark[i]);
        assert_string_equal(want, rows[r].mark);
        sf_jinja_output_free(&out);
    }
    json_decref(variables);
}

/* Templates come from elsewhere: none may take the machine's time or memory. */
static void bombs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *template, *says;
    } rows[] = {
        {"{{ 'x' * 1000000000000 }}", "MiB"},
        {"{{ ('x' * 1000000) * 1000000 }}", "MiB"},
        {"{{ [1] * 1000000000000 }}", "MiB"},
        {"{{ 'x'.ljust(100000000000) }}", "s"},
        {"{{ '%1000s' % ('x' * 100000000) }}", "MiB"},
        {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "s"},
        {"{% set n = namespace(s='x') %}{% for a in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}", "MiB"},
        {"{% set n = namespace(s=[1]) %}{% for a in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}", "s"},
        {"{% set n = namespace(s=[1]) %}{% for a in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s == n.s }}",
         "s"},
        {"{% set n = namespace(s=[]) %}{% for a in range(9999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}",
         "inside each other"},
        {"{% set n = namespace(s=[]) %}{% for a in range(9999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s | tojson }}",
         "inside each other"},
        {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "inside each other"},
        {"{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "inside each other"},
        {"{% for x in range(99999) %}{{ 'abcdefghij' * 99999 }}{% endfor %}", "MiB"},
        {"{{ range(99999) | map('string') | join | list | join(',' * 9999) }}", "MiB"},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        sf_jinja_output out;
        sf_status status = simple(rows[r].template, &out);
        if (status != SF_UNSUPPORTED) fail_msg("%s: %s", rows[r].template, status == SF_OK ? "rendered" : sf_error());
        assert_non_null(strstr(sf_error(), rows[r].says));
    }
    enum { DEEP = 100000 };
    char *deep = malloc(4 * DEEP + 64);
    static const char *const parts[] = {"(", "[", "not ", "-", "{1:", "f(", "1+", "x.y.", "1 if "};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        char *at = stpcpy(deep, "{{ ");
        for (int i = 0; i < DEEP / 4; i++) at = stpcpy(at, parts[p]);
        strcpy(at, "1 }}");
        sf_jinja_output out;
        assert_int_not_equal(simple(deep, &out), SF_OK);
    }
    strcpy(deep, "{% macro f() %}{{ 1");
    char *at = deep + strlen(deep);
    for (int i = 0; i < DEEP / 2; i++) at = stpcpy(at, "+1");
    strcpy(at, " }}{% endmacro %}");
    sf_jinja_output out;
    assert_int_equal(simple(deep, &out), SF_UNSUPPORTED);
    free(deep);
}

static void messages_name_file_line_and_construct(void **state)
{
    (void)state;
    static const struct {
        const char *template, *says;
    } rows[] = {
        {"a\n{{ 'x' | wordwrap }}", "x.jinja: chat template, line 2: not supported: the filter 'wordwrap'"},
        {"\n\n{% include 'x' %}", "line 3: not supported: the statement 'include'"},
        {"{# a\nb #}\n{{ x.y }}", "line 3: 'x' is undefined"},
        {"\n{{ raise_exception('roles must alternate') }}",
         "line 2: the template refuses the conversation: roles must alternate"},
        {"{% if true %}\n\n{{ 1 +\n 'a' }}{% endif %}", "line 4: 'int' + 'str' has no meaning"},
        {"\n{% for x in y %}", "line 2: expected endfor, found the end"},
        {"{{ 'a'\n", "{{ without }}"},
        {"{{ {'a': 1}.pop('a') }}", "what changes a list or dictionary"},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        sf_jinja_output out;
        assert_int_not_equal(simple(rows[r].template, &out), SF_OK);
        if (!strstr(sf_error(), rows[r].says)) fail_msg("expected: %s\nfound:    %s", rows[r].says, sf_error());
    }
}

/* Cut anywhere, a template is refused or rendered; it does not crash. */
static void cut_templates_do_not_crash(void **state)
{
    (void)state;
    json_t *file = load(GOLDEN "jinja/expressions.json"), *row;
    size_t i;
    json_array_foreach(json_object_get(file, "rows"), i, row)
    {
        const char *t = json_string_value(json_object_get(row, "template"));
        for (size_t cut = 0; cut < strlen(t); cut++) {
            sf_jinja_output out;
            if (render(t, cut, json_object_get(file, "variables"), NULL, &out) == SF_OK) sf_jinja_output_free(&out);
        }
    }
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_as_jinja2_has_them),
        cmocka_unit_test(conversations_are_as_transformers_renders_them),
        cmocka_unit_test(marks_follow_the_text),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(messages_name_file_line_and_construct),
        cmocka_unit_test(cut_templates_do_not_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
