/* The template evaluator, for libFuzzer: any bytes are a template, rendered with the variables of the golden
 * expressions.
 *
 *   make fuzz SECONDS=600           # corpus: every row of tests/golden/jinja and the templates of
 * tests/golden/tokenizer
 *
 * Limits are small here, so that what runs into them does so soon; those of a real conversation bound it the same way.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/model/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static json_t *variables(void)
{
    static json_t *kept;
    if (kept) return kept;
    json_t *file = json_load_file("tests/golden/jinja/expressions.json", 0, NULL);
    json_t *talk = json_load_file("tests/golden/jinja/conversations.json", 0, NULL);
    if (!file || !talk) abort(); /* started elsewhere than in the root of the tree */
    kept = json_incref(json_object_get(file, "variables"));
    json_object_set(kept, "messages",
                    json_object_get(json_array_get(json_object_get(talk, "conversations"), 21), "messages"));
    json_object_set_new(kept, "add_generation_prompt", json_true());
    json_decref(file);
    json_decref(talk);
    return kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    sf_jinja *t;
    sf_jinja_output out;
    if (sf_jinja_parse((const char *)data, bytes, "fuzz", &t) != SF_OK) return 0;
    const sf_jinja_input input = {.variables = variables(),
                                  .marked = json_object_get(variables(), "s"),
                                  .date = "2024-07-26",
                                  .limits = {.steps = 200000, .bytes = 16u << 20, .depth = 500}};
    if (sf_jinja_render(t, &input, &out) == SF_OK) {
        size_t marked = 0; /* every mark is read */
        for (size_t i = 0; out.mark && i < out.bytes; i++) marked += out.mark[i];
        if (marked > out.bytes || out.text[out.bytes]) abort();
        sf_jinja_output_free(&out);
    }
    sf_jinja_free(t);
    return 0;
}
