/* Rotations, windows and score scales of config.json texts against what transformers makes of them, and what is
 * refused. The rows and their maker: tests/golden/model/positions.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/engine/rope.h"
#include "harness/model/describe.h"
#include "harness/model/hf.h"

enum { PAIRS = 8, HEAD_DIM = 2 * PAIRS };
static json_t *rows;

static const char *text_of(const json_t *row, const char *key) { return json_string_value(json_object_get(row, key)); }
static double number_of(const json_t *row, const char *key) { return json_number_value(json_object_get(row, key)); }

static sf_status read_config(const json_t *row, sf_model_config *c)
{
    bool multimodal;
    sf_doubts doubts = {0};
    *c = (sf_model_config){0};
    return sf_hf_config(json_object_get(row, "config"), "config.json", c, &multimodal, &doubts);
}

static void compare_rotation(const json_t *row, const char *key, const sf_rope_config *rope, bool scaled)
{
    float frequency[PAIRS], scale;
    sf_rope_frequencies(rope, HEAD_DIM, (int)number_of(row, "length"), frequency, &scale);
    for (size_t i = 0; i < PAIRS; i++) {
        double expected = json_number_value(json_array_get(json_object_get(row, key), i));
        if (!(fabs(frequency[i] - expected) <= 2e-7 * expected))
            fail_msg("%s: %s of pair %zu is %.9g, expected %.9g", text_of(row, "what"), key, i, (double)frequency[i],
                     expected);
    }
    if (scaled && !(fabs((double)scale - number_of(row, "scale")) <= 1e-6))
        fail_msg("%s: scale %.9g, expected %.9g", text_of(row, "what"), (double)scale, number_of(row, "scale"));
}

static void understood(void **state)
{
    (void)state;
    int n = 0;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (json_object_get(row, "refused")) continue;
        sf_model_config c;
        if (read_config(row, &c) != SF_OK) fail_msg("%s: %s", text_of(row, "what"), sf_error());
        compare_rotation(row, "frequency", &c.rope, true);
        compare_rotation(row, "local", &c.rope_local, false);
        for (int l = 0; l < c.layers; l++) {
            int window = (int)json_integer_value(json_array_get(json_object_get(row, "window"), (size_t)l));
            if ((sf_layer_slides(&c, l) ? c.window : 0) != window)
                fail_msg("%s: window of layer %d is expected to be %d", text_of(row, "what"), l, window);
        }
        assert_true(fabs((double)c.attention_scale - number_of(row, "score")) < 1e-6);
        n++;
    }
    assert_true(n > 40);
}

static void refused(void **state)
{
    (void)state;
    int n = 0;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (!json_object_get(row, "refused")) continue;
        sf_model_config c;
        if (read_config(row, &c) == SF_OK) fail_msg("%s: read", text_of(row, "what"));
        if (!strstr(sf_error(), text_of(row, "refused")))
            fail_msg("%s: expected \"%s\" in: %s", text_of(row, "what"), text_of(row, "refused"), sf_error());
        n++;
    }
    assert_true(n > 10);
}

/* A key that the family's class does not have is left unread, and doubted. */
static void doubted(void **state)
{
    (void)state;
    bool multimodal;
    sf_doubts doubts = {0};
    sf_model_config c = {0};
    json_t *config = json_deep_copy(json_object_get(json_array_get(rows, 0), "config"));
    json_object_set_new(config, "query_pre_attn_scalar", json_integer(144));
    json_object_set_new(config, "attention_bias", json_false());
    assert_int_equal(sf_hf_config(config, "x/config.json", &c, &multimodal, &doubts), SF_OK);
    assert_int_equal(doubts.n, 1);
    assert_non_null(strstr(doubts.text[0], "x/config.json: query_pre_attn_scalar: no llama has this key"));
    json_decref(config);
}

static void in_words(void **state)
{
    (void)state;
    static const struct {
        const char *row, *positions, *windows;
    } expected[] = {
        {"llama3", "theta 500000, llama3, factor 8 from 128 positions, bands 1 and 4; up to 512 tokens", "none"},
        {"yarn", "theta 1e+06, YaRN, factor 4 from 128 positions, betas 32 and 1; up to 512 tokens", "none"},
        {"gemma3, layer types", "theta 1e+06; sliding layers: theta 10000; up to 512 tokens",
         "8 tokens on 3 of 7 layers; whole attention on 0, 2, 4, 6"},
        {"mistral", "theta 10000; up to 512 tokens", "8 tokens on all 7 layers"},
    };
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        size_t i;
        json_t *row;
        bool found = false;
        json_array_foreach(rows, i, row)
        {
            if (strcmp(text_of(row, "what"), expected[e].row) != 0) continue;
            sf_model_config c;
            char text[256];
            assert_int_equal(read_config(row, &c), SF_OK);
            assert_string_equal(sf_positions_text(&c, sizeof text, text), expected[e].positions);
            assert_string_equal(sf_windows_text(&c, sizeof text, text), expected[e].windows);
            found = true;
        }
        assert_true(found);
    }
}

static int read_rows(void **state)
{
    (void)state;
    rows = json_load_file("tests/golden/model/positions.json", 0, NULL);
    return rows ? 0 : -1;
}

static int free_rows(void **state)
{
    (void)state;
    json_decref(rows);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(understood), cmocka_unit_test(refused),
                                       cmocka_unit_test(doubted), cmocka_unit_test(in_words)};
    return cmocka_run_group_tests(tests, read_rows, free_rows);
}
