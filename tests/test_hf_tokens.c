/* Special and added tokens from every file that lists them, against transformers
 * (tests/golden/tokenizer/make_listed.py). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/model/hf_tokens.h"

#define GOLDEN "tests/golden/tokenizer/"

static const char *const FILES[] = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};

static char folder[] = "/tmp/test_hf_tokens_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static void path_of(const char *name, char path[256]) { snprintf(path, 256, "%s/%s", folder, name); }

static int remove_folder(void **state)
{
    (void)state;
    char path[256];
    for (size_t i = 0; i < 3; i++) {
        path_of(FILES[i], path);
        unlink(path);
    }
    return rmdir(folder);
}

static void write_files(json_t *files)
{
    for (size_t i = 0; i < 3; i++) {
        char path[256];
        path_of(FILES[i], path);
        unlink(path);
        json_t *content = json_object_get(files, FILES[i]);
        if (content) assert_int_equal(json_dump_file(content, path, JSON_ENSURE_ASCII), 0);
    }
}

static sf_status open_tokenizer(const char *kind, sf_tokenizer **out)
{
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s.json", kind);
    sf_hf_tokens tokens = {0};
    *out = NULL;
    sf_status status = sf_hf_tokens_read(folder, &tokens);
    if (status == SF_OK) status = sf_tokenizer_from_json(path, tokens.listed, tokens.n, out);
    sf_hf_tokens_free(&tokens);
    return status;
}

static bool same(const sf_tokenizer *t, const char *text, const json_t *want)
{
    int32_t *ids;
    int n;
    assert_int_equal(sf_encode(t, text, strlen(text), true, &ids, &n), SF_OK);
    bool equal = (size_t)n == json_array_size(want);
    for (int i = 0; i < n && equal; i++) equal = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    free(ids);
    return equal;
}

static void ids_are_those_of_transformers(void **state)
{
    (void)state;
    json_t *golden = json_load_file(GOLDEN "listed.json", 0, NULL), *folders = json_object_get(golden, "folders");
    json_t *texts = json_object_get(golden, "texts");
    int refused = 0, differ = 0;
    assert_true(json_array_size(folders) >= 100);
    for (size_t f = 0; f < json_array_size(folders); f++) {
        json_t *one = json_array_get(folders, f), *files = json_object_get(one, "files"),
               *ids = json_object_get(one, "ids");
        sf_tokenizer *t;
        write_files(files);
        sf_status status = open_tokenizer(json_string_value(json_object_get(one, "kind")), &t);
        bool right = (status == SF_OK) == json_is_array(ids);
        for (size_t i = 0; status == SF_OK && right && i < json_array_size(texts); i++)
            right = same(t, json_string_value(json_array_get(texts, i)), json_array_get(ids, i));
        sf_tokenizer_free(t);
        refused += json_is_string(ids);
        differ += !right;
        if (right) continue;
        char *what = json_dumps(files, JSON_COMPACT);
        print_message("%zu: %s\n  %s\n", f, status == SF_OK ? "other ids" : sf_error(), what);
        free(what);
    }
    print_message("             %zu folders, of which %d are refused\n", json_array_size(folders), refused);
    assert_int_equal(differ, 0);
    json_decref(golden);
}

static void errors_name_file_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text, *says;
    } rows[] = {
        {"tokenizer_config.json", "{\"bos_token\": 5}", "tokenizer_config.json: bos_token: expected a token's text"},
        {"tokenizer_config.json", "{\"bos_token\": {}}", "tokenizer_config.json: bos_token: expected a token's text"},
        {"tokenizer_config.json", "{\"extra_special_tokens\": 1}", "extra_special_tokens: expected a list"},
        {"tokenizer_config.json", "{\"additional_special_tokens\": [1]}",
         "a further special token: expected a token's"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": []}", "added_tokens_decoder: expected an object"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}", "expected token ids"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"5000\": {\"content\": \"<y>\"}}}",
         "token \"<y>\" has id 5000 in tokenizer_config.json: added_tokens_decoder, but would get "},
        {"tokenizer_config.json", "{\"split_special_tokens\": true}", "split_special_tokens: expected false"},
        {"special_tokens_map.json", "{\"pad_token\": []}",
         "special_tokens_map.json: pad_token: expected a token's text"},
        {"added_tokens.json", "{\"<y>\": \"1\"}", "added_tokens.json: <y>: expected a token id"},
        {"added_tokens.json", "[]", "added_tokens.json: expected a JSON object"},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        char path[256];
        write_files(NULL);
        path_of(rows[r].file, path);
        FILE *file = fopen(path, "w");
        fputs(rows[r].text, file);
        fclose(file);
        sf_tokenizer *t;
        assert_int_not_equal(open_tokenizer("gpt2", &t), SF_OK);
        if (!strstr(sf_error(), rows[r].says))
            fail_msg("%s\nsays \"%s\"\nwant \"%s\"", rows[r].text, sf_error(), rows[r].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_transformers),
        cmocka_unit_test(errors_name_file_and_key),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
