/* What methods choose, for whatever compares them with others (tests/peers/methods.py): cases from standard input, one JSON
 * object a line as in tests/method_case.h; to standard output for each a line "rows keys", then a byte a pair of [heads, rows,
 * keys], 1 where the method computes it, then the attention over them, floats [rows, heads, head dim].
 *
 *     build/tests/tools/choices [DEVICE] < cases */
#include <stdio.h>
#include <stdlib.h>

#define METHOD_CASE_FAIL(...) (fprintf(stderr, "choices: " __VA_ARGS__), fputc('\n', stderr), exit(1))
#define METHOD_CASE_THREADS 1
#include "tests/method_case.h"

#include "kernels/reference/reference.h"

/* Of a cache that was cut: the keys of the prompt that are left, and all that came after. */
static void kept(const method_case *c, int h, uint8_t *mask)
{
    const sf_lists *keep = &c->pattern.first;
    int64_t g = h / (c->s.heads / c->s.kv_heads);
    memset(mask, c->pattern.kind == SF_DENSE, (size_t)c->s.tokens);
    memset(mask + c->s.tokens, 1, (size_t)c->s.tail);
    for (int32_t i = 0; c->pattern.kind == SF_TOKENS && i < keep->count[g]; i++) mask[keep->index[g * keep->stride + i]] = 1;
}

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "cpu";
    json_error_t error;
    json_t *told;
    while ((told = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, &error))) {
        method_case c;
        open_case(told, device, text(told, "method"), &c);
        size_t rows = (size_t)c.a.queries, keys = (size_t)(c.s.tokens + (rows == 1 ? c.s.tail : 0)), heads = (size_t)c.s.heads,
               numbers = rows * heads * (size_t)c.s.head_dim;
        uint8_t *mask = malloc(heads * rows * keys);
        float *out = malloc(numbers * sizeof *out);
        uint64_t pairs;
        const sf_attention *lane = &c.a;
        const sf_pattern *reads = &c.reads;
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < rows; i++) {
                uint8_t *row = mask + (h * rows + i) * keys;
                if (strcmp(text(told, "phase"), "compress") == 0)
                    kept(&c, (int)h, row);
                else
                    sf_reference_mask(&c.look, &c.pattern, (int)h, (int)i, row);
            }
        ok(sf_synthetic_attend(1, &lane, &reads, out, &pairs), text(told, "method"));
        printf("%zu %zu\n", rows, keys);
        fwrite(mask, 1, heads * rows * keys, stdout);
        fwrite(out, sizeof *out, numbers, stdout);
        fflush(stdout);
        free(mask), free(out);
        close_case(&c);
        json_decref(told);
    }
    if (json_error_code(&error) != json_error_premature_end_of_input) METHOD_CASE_FAIL("standard input: %s", error.text);
    return 0;
}
