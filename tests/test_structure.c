/* Where lines, sentences and chapters of a prompt begin, and hubs that stand there. */
#include "tests/engine_world.h"

#include "harness/model/structure.h"

static const char TEXT[] = "# One\nIt was late. \"So what?\" he said! 3.14 is no end\nChapter 2\n\n  chapter 3 begins\nLast line";

/* Of each character that begins something, by its place in the text. */
static uint8_t expected(size_t at)
{
    static const struct {
        const char *from;
        uint8_t bits;
    } BEGINS[] = {{"# One", 7}, {"It was", 3}, {" \"So", 2}, {" 3.14", 2}, {"Chapter 2", 7}, {"  chapter 3", 7}, {"Last", 3}};
    for (size_t i = 0; i < sizeof BEGINS / sizeof *BEGINS; i++)
        if (TEXT + at == strstr(TEXT, BEGINS[i].from)) return BEGINS[i].bits;
    return 0;
}

/* Tokens of one character and of several: a token has what begins anywhere in it. */
static void begins_where_the_text_says(void **state)
{
    (void)state;
    static const char *const MODELS[] = {"models/frontier-mini/s", "tests/golden/model/qwen2"};
    for (size_t m = 0; m < sizeof MODELS / sizeof *MODELS; m++) {
        sf_model *model;
        int32_t *id;
        int n, bits = 0;
        if (sf_model_open_text(MODELS[m], &model) != SF_OK) fail_msg("%s", sf_error());
        if (sf_encode(model->tokenizer, TEXT, sizeof TEXT - 1, false, &id, &n) != SF_OK) fail_msg("%s", sf_error());
        uint8_t *begins = malloc((size_t)n);
        if (sf_structure(model->tokenizer, id, n, begins) != SF_OK) fail_msg("%s", sf_error());
        size_t at = 0;
        for (int i = 0; i < n; i++) {
            char *piece;
            uint8_t want = 0;
            assert_int_equal(sf_decode(model->tokenizer, &id[i], 1, false, &piece), SF_OK);
            for (size_t end = at + strlen(piece); at < end; at++) want |= expected(at);
            if (begins[i] != want) fail_msg("%s: token %d, '%s': %d begins, expected %d", MODELS[m], i, piece, begins[i], want);
            bits += begins[i];
            free(piece);
        }
        assert_int_equal(at, sizeof TEXT - 1);
        assert_true(bits > 20); /* 31, where no two share a token */
        free(begins), free(id);
        sf_model_close(model);
    }
}

/* A model without a tokenizer cannot say where its prompt's lines begin. */
static void no_text_no_lines(void **state)
{
    (void)state;
    world w;
    result r;
    const arm lines = {"etc_hubs structure=1 hubs=50 window=4", NULL};
    sf_model_config c = shape(LLAMA);
    assert_int_equal(sf_model_random(&c, 7, &w.model), SF_OK);
    assert_int_equal(sf_backend_open("cpu", 1, &w.backend), SF_OK);
    assert_int_equal(sf_engine_open(&w.backend, w.model, MOST_TOKENS, &w.engine), SF_OK);
    set_arms(1, &lines, &r);
    assert_int_equal(try_run(w.engine, 100, 3, &HOW, 1, &r), SF_UNSUPPORTED);
    assert_non_null(strstr(sf_error(), "nobody knows where the parts of this prompt begin"));
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_where_the_text_says),
        cmocka_unit_test(no_text_no_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
