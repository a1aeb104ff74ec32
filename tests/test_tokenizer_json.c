/* What a tokenizer.json may not be: every error names the file and the key. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/model/tokenizer.h"

#define HEAD  "{\"added_tokens\": [], \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, "
#define FLAGS "\"special\": false, \"normalized\": false, \"single_word\": false, \"lstrip\": false, \"rstrip\": false"
#define REST  HEAD "\"merges\": [\"a b\"]}, "

static const struct {
    const char *text, *says[2];
} BAD_FILES[] = {
    {"[]", {"expected a JSON object", ""}},
    {"{", {"expected JSON", ":1:"}},
    {"{}", {"model: expected an object", "not found"}},
    {"{\"model\": 3}", {"model: expected an object", "found 3"}},
    {"{\"model\": {\"type\": \"Unigram\"}}", {"model.type: expected BPE", "found \"Unigram\""}},
    {"{\"model\": {\"type\": 7}}", {"model.type: expected a text", "found 7"}},
    {"{\"model\": {\"type\": \"BPE\"}}", {"model.vocab: expected an object", "not found"}},
    {"{\"model\": {\"vocab\": []}}", {"model.vocab: expected an object", "found []"}},
    {"{\"model\": {\"vocab\": {\"a\": \"0\"}}}", {"model.vocab", "token \"a\": expected a whole number"}},
    {"{\"model\": {\"vocab\": {\"a\": 0.5}}}", {"model.vocab", "token \"a\": expected a whole number"}},
    {"{\"model\": {\"vocab\": {\"a\": -1}}}", {"model.vocab", "token \"a\" has id -1"}},
    {"{\"model\": {\"vocab\": {\"a\": 9223372036854775807}}}", {"model.vocab", "has id 9223372036854775807"}},
    {"{\"model\": {\"vocab\": {\"a\": 9223372036854775808}}}", {"expected JSON", ":1:"}},
    {"{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}}}", {"model.vocab", "id 0 belongs to two tokens, \"a\" and \"b\""}},
    {"{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}}}", {"expected JSON", "duplicate"}},
    {"{\"model\": {\"vocab\": {\"\": 0}}}", {"model.vocab", "token 0 is empty"}},
    {HEAD "\"merges\": null}}", {"model.merges: expected a list", ""}},
    {HEAD "\"merges\": \"a b\"}}", {"model.merges: expected a list", "found \"a b\""}},
    {HEAD "\"merges\": [\"ab\"]}}", {"model.merges: merge 0: expected two tokens", "found \"ab\""}},
    {HEAD "\"merges\": [\"a b \"]}}", {"model.merges: merge 0: expected two tokens", ""}},
    {HEAD "\"merges\": [7]}}", {"model.merges: merge 0: expected two tokens", "another type"}},
    {HEAD "\"merges\": [[\"a\"]]}}", {"model.merges: merge 0: expected two tokens", "another type"}},
    {HEAD "\"merges\": [[\"a\", 1]]}}", {"model.merges: merge 0: expected two tokens", "another type"}},
    {HEAD "\"merges\": [\"a c\"]}}", {"merge 0 joins \"a\" and \"c\"", "has no \"c\""}},
    {HEAD "\"merges\": [\"a b\", \"ab b\"]}}", {"merge 1 makes \"abb\"", "does not have"}},
    {HEAD "\"merges\": [\"a b\", \"a b\"]}}", {"merge 1 repeats merge 0", ""}},
    {HEAD "\"merges\": [[\"\", \"ab\"]]}}", {"merge 0 joins \"\" and \"ab\"", "has no \"\""}}, /* it would never end */
    {HEAD "\"merges\": [], \"dropout\": 0.1}}", {"model.dropout: expected none", "found 0.1"}},
    {HEAD "\"merges\": [], \"end_of_word_suffix\": \"</w>\"}}", {"model.end_of_word_suffix", "found \"</w>\""}},
    {HEAD "\"merges\": [], \"continuing_subword_prefix\": \"##\"}}", {"model.continuing_subword_prefix", "##"}},
    {HEAD "\"merges\": [], \"unk_token\": \"<unk>\"}}", {"model.unk_token: expected a token of", "\"<unk>\""}},
    {HEAD "\"merges\": [], \"fuse_unk\": 1}}", {"model.fuse_unk: expected true or false", "found 1"}},
    {REST "\"added_tokens\": []}", {"expected JSON", "duplicate"}},
    {"{\"added_tokens\": {}, \"model\": {\"vocab\": {}, \"merges\": []}}", {"added_tokens: expected a list", "{}"}},
    {"{\"added_tokens\": [3], \"model\": {\"vocab\": {}, \"merges\": []}}",
     {"added_tokens[0]: expected an object", ""}},
    {"{\"added_tokens\": [{\"id\": 0}], \"model\": {\"vocab\": {}, \"merges\": []}}",
     {"added_tokens[0].content", "not found"}},
    {"{\"added_tokens\": [{\"content\": \"x\"}], \"model\": {\"vocab\": {}, \"merges\": []}}",
     {"added_tokens[0].id", "not found"}},
    {"{\"added_tokens\": [{\"content\": \"\", \"id\": 0, " FLAGS "}], \"model\": {\"vocab\": {}, \"merges\": []}}",
     {"added_tokens[0]", "token 0 is empty"}},
    {"{\"added_tokens\": [{\"content\": \"x\", \"id\": 0, \"special\": 1}], \"model\": {\"vocab\": {}, \"merges\": "
     "[]}}",
     {"added_tokens[0].special: expected true or false", "found 1"}},
    {"{\"added_tokens\": [{\"content\": \"x\", \"id\": 0, " FLAGS
     "}], \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
     {"added_tokens[0]: id 0 belongs to two", "\"x\""}},
    {"{\"added_tokens\": [{\"content\": \"a\", \"id\": 1, " FLAGS
     "}], \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
     {"added_tokens[0]: token \"a\" has two ids", "0 and 1"}},
    {REST "\"normalizer\": \"NFC\"}", {"normalizer: expected an object", "found \"NFC\""}},
    {REST "\"normalizer\": {}}", {"normalizer.type: expected a text", "not found"}},
    {REST "\"normalizer\": {\"type\": \"Lowercase\"}}", {"normalizer.type: expected NFC", "found \"Lowercase\""}},
    {REST "\"normalizer\": {\"type\": \"Sequence\"}}", {"normalizer.normalizers: expected a list", "not found"}},
    {REST "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Nmt\"}]}}",
     {"normalizer.normalizers[1].type", "found \"Nmt\""}},
    {REST "\"normalizer\": {\"type\": \"Replace\", \"content\": \"x\"}}",
     {"normalizer.pattern: expected an object", ""}},
    {REST "\"normalizer\": {\"type\": \"Replace\", \"content\": \"x\", \"pattern\": {\"Regex\": \"(\"}}}",
     {"normalizer.pattern: the pattern does not compile", "("}},
    {REST "\"normalizer\": {\"type\": \"Replace\", \"content\": \"x\", \"pattern\": {\"String\": \"\"}}}",
     {"normalizer.pattern: the pattern is empty", ""}},
    {REST "\"normalizer\": {\"type\": \"Prepend\"}}", {"normalizer.prepend: expected a text", "not found"}},
    {REST "\"pre_tokenizer\": {\"type\": \"Whitespace\"}}", {"pre_tokenizer.type: expected Split", "\"Whitespace\""}},
    {REST "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}}", {"pre_tokenizer.add_prefix_space", "not found"}},
    {REST "\"pre_tokenizer\": {\"type\": \"Digits\"}}", {"pre_tokenizer.individual_digits", "not found"}},
    {REST "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\\\\X\"}, \"behavior\": \"Isolated\"}}",
     {"pre_tokenizer.pattern: the pattern has \\X, which is not supported", ""}},
    {REST "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"isolated\"}}",
     {"pre_tokenizer.behavior: expected Isolated", "found \"isolated\""}},
    {REST "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Wordy\": \"a\"}, \"behavior\": \"Isolated\"}}",
     {"pre_tokenizer.pattern: expected {\"String\": text}", "Wordy"}},
    {REST
     "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\", \"add_prefix_space\": "
     "false}, {\"type\": \"Digits\", \"individual_digits\": true}]}}",
     {"pre_tokenizer.pretokenizers[1].type: expected nothing after ByteLevel", ""}},
    {REST "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}}",
     {"pre_tokenizer.replacement", "\"ab\""}},
    {REST "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"last\"}}",
     {"pre_tokenizer.prepend_scheme: expected never", "\"last\""}},
    {REST "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"add_prefix_space\": false}}",
     {"pre_tokenizer.prepend_scheme: expected never, since", "not found"}},
    {REST "\"decoder\": {\"type\": \"WordPiece\"}}", {"decoder.type: expected ByteLevel", "found \"WordPiece\""}},
    {REST "\"decoder\": {\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}}",
     {"decoder.start", "-1"}},
    {REST "\"decoder\": {\"type\": \"Strip\", \"content\": \"\", \"start\": 1, \"stop\": 0}}", {"decoder.content", ""}},
};

static void open_text(const char *text, size_t bytes, sf_status *status, sf_tokenizer **t, char path[64])
{
    strcpy(path, "/tmp/test_tokenizer_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, bytes), bytes);
    close(fd);
    *t = NULL;
    *status = sf_tokenizer_from_json(path, NULL, 0, t);
    unlink(path);
}

static void json_errors_name_file_and_key(void **state)
{
    (void)state;
    sf_status status;
    sf_tokenizer *t;
    char path[64];
    for (size_t r = 0; r < sizeof BAD_FILES / sizeof *BAD_FILES; r++) {
        open_text(BAD_FILES[r].text, strlen(BAD_FILES[r].text), &status, &t, path);
        assert_null(t);
        if (status == SF_OK || !strstr(sf_error(), path) || !strstr(sf_error(), BAD_FILES[r].says[0]) ||
            !strstr(sf_error(), BAD_FILES[r].says[1]))
            fail_msg("%s\nsays \"%s\"", BAD_FILES[r].text, status == SF_OK ? "nothing" : sf_error());
    }
    const char *good = REST "\"normalizer\": null}";
    open_text(good, strlen(good), &status, &t, path);
    assert_int_equal(status, SF_OK);
    sf_tokenizer_free(t);
    assert_int_not_equal(sf_tokenizer_from_json("tests", NULL, 0, &t), SF_OK); /* a directory */
    assert_int_not_equal(sf_tokenizer_from_json("/nowhere/tokenizer.json", NULL, 0, &t), SF_OK);
    assert_non_null(strstr(sf_error(), "/nowhere/tokenizer.json"));
}

/* A file cut anywhere is an error; one with a byte changed anywhere is an error or a tokenizer, and never a crash. */
static void damaged_files_do_not_crash(void **state)
{
    (void)state;
    FILE *f = fopen("tests/golden/tokenizer/metaspace.json", "rb");
    assert_non_null(f);
    char *text = malloc(1 << 20);
    size_t bytes = fread(text, 1, 1 << 20, f);
    fclose(f);
    sf_status status;
    sf_tokenizer *t;
    char path[64];
    uint32_t random = 1;
    for (int i = 0; i < 150; i++) {
        size_t cut = bytes * (size_t)i / 150;
        open_text(text, cut, &status, &t, path);
        assert_int_not_equal(status, SF_OK);
        assert_non_null(strstr(sf_error(), path));

        random = random * 1664525u + 1013904223u;
        size_t at = i % 2 ? random % bytes : random % 1500; /* every other one in the parts before the vocabulary */
        char old = text[at];
        text[at] = "0\"{}[]:,a\\"[random >> 16 & 7];
        open_text(text, bytes, &status, &t, path);
        if (status == SF_OK) {
            int32_t *ids;
            int n;
            char *back;
            assert_int_equal(sf_encode(t, "some text, 12 <left> words", 26, true, &ids, &n), SF_OK);
            assert_int_equal(sf_decode(t, ids, n, true, &back), SF_OK);
            free(ids);
            free(back);
        }
        sf_tokenizer_free(t);
        text[at] = old;
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_errors_name_file_and_key),
        cmocka_unit_test(damaged_files_do_not_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
