/* Parameters that methods fit to a sparsity, and what they say that choosing costs, as they were when somebody last looked:
 * tests/golden/methods/fitted.txt. FRONTIER_GOLDEN=write build/tests/test_fitted writes it anew; where it differs, results that are
 * stored were made otherwise: raise the method's version. A method that is not in it yet passes. */
#include "tests/testing.h"

#include <math.h>

#include "base/yaml.h"
#include "harness/engine/hooks.h"
#include "methods/find.h"

static const char path[] = "tests/golden/methods/fitted.txt";

/* Each number with five digits, as machines round. */
static void print_params(FILE *out, const sf_param *p, const void *params)
{
    for (; p && p->name; p++) {
        const void *at = (const char *)params + p->offset;
        if (p->type == SF_INT || p->type == SF_CHOICE) fprintf(out, " %s=%d", p->name, *(const int *)at);
        if (p->type == SF_REAL) fprintf(out, " %s=%.5g", p->name, *(const double *)at);
    }
}

static void print_fits(FILE *out, const sf_method *m, const sf_extent *e)
{
    static const double sparsity[] = {0, 0.5, 0.9, 0.99};
    for (size_t i = 0; i < sizeof sparsity / sizeof *sparsity; i++) {
        void *params = calloc(1, m->params_size + 1);
        OK(sf_yaml_params(NULL, m->params, NULL, params));
        fprintf(out, "%s %s %d %g:", m->name, e->phase == SF_PREFILL ? "prefill" : "decode", e->tokens, sparsity[i]);
        if (sf_hook_fit(m, e, sparsity[i], params) == SF_OK) {
            print_params(out, m->params, params);
            const sf_estimate x = m->estimate ? m->estimate(e, params) : (sf_estimate){0, 0};
            fprintf(out, "; %.5g %.5g\n", x.paper, x.exact);
        } else {
            fputs(" refused\n", out);
        }
        free(params);
    }
}

static char *fitted(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; sf_methods[i]; i++)
        for (int decode = 0; decode < 2; decode++)
            for (int k = 0; k < 2 + decode; k++) {
                const sf_method *m = sf_methods[i];
                const sf_extent e = {.phase = decode ? SF_DECODE : SF_PREFILL, .tokens = (int[]){333, 4096, 4095}[k], .output = k < 2 ? 64 : 1,
                                     .heads = 8, .kv_heads = 2, .head_dim = 64, .layers = 6, .width = 512}; /* the last: one row, whose window ends with a block */
                if (m->fit && (decode ? m->decode || m->compress : m->prefill != NULL)) print_fits(out, m, &e);
            }
    fclose(out);
    return text;
}

static void as_before(void **state)
{
    (void)state;
    char *now = fitted();
    if (getenv("FRONTIER_GOLDEN")) {
        file_write(path, now, strlen(now));
        free(now);
        return;
    }
    char *before = file_read(path, NULL);
    int rows = 0;
    for (char *line = strtok(before, "\n"); line; line = strtok(NULL, "\n"), rows++) {
        const size_t n = strlen(line), head = strcspn(line, ":");
        const char *found = now;
        while (found && strncmp(found, line, head + 1) != 0) found = (found = strchr(found, '\n')) ? found + 1 : NULL;
        if (!found) fail_msg("no longer there: %s", line);
        if (strncmp(found, line, n) != 0 || found[n] != '\n') fail_msg("was  %s\nnow  %.*s", line, (int)strcspn(found, "\n"), found);
    }
    assert_true(rows > 300);
    free(before), free(now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_before)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
