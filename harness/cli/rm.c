/* Taking cells out of a results file. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli/cli.h"
#include "harness/store/where.h"

static const struct argp_option options[] = {
    {"where", 'w', "CELLS", 0, "which: method=quest,sparsity=0.9, or the beginning of a cell's key (model, task, method, phase, length, "
                               "sparsity, seed, device, cache, key)", 0},
    {"dry-run", 'n', NULL, 0, "name them, and change nothing", 0},
    {0},
};

struct args {
    const char *file, *where;
    bool dry;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'w': a->where = arg; return 0;
    case 'n': a->dry = true; return 0;
    case ARGP_KEY_ARG:
        if (a->file) argp_error(state, "one results file at a time");
        a->file = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a results file, e.g. results/demo.h5"); return 0;
    case ARGP_KEY_SUCCESS:
        if (!a->where) argp_error(state, "say which cells with --where, e.g. --where method=quest");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The keys of the cells that are meant, each printed. */
static int choose(const sf_results *r, const sf_where *where, const char **key, bool say)
{
    int n = 0;
    for (int c = 0; c < r->cells; c++) {
        const sf_cell_info *x = &r->cell[c];
        if (!sf_where_matches(where, x)) continue;
        key[n++] = x->key;
        if (say)
            printf("%s  %s, %s, %d tokens, %s in prefill, %s in decode%s%s: %d samples\n", x->key, x->model, x->task_label, x->length,
                   x->label[SF_PREFILL], x->label[SF_DECODE], sf_cell_exact(x) ? "" : ", cache ", sf_cell_exact(x) ? "" : x->cache, r->records[c]);
    }
    for (int i = 0; i < r->failures; i++) {
        const sf_failure *f = &r->failure[i];
        if (!sf_where_matches_failure(where, f)) continue;
        bool there = false;
        for (int c = 0; c < n && !there; c++) there = strcmp(key[c], f->key) == 0;
        if (there) continue;
        key[n++] = f->key;
        if (say)
            printf("%s  %s, %s, %d tokens, %s in prefill, %s in decode: failed at sample %d\n", f->key, f->model, f->task, f->length,
                   f->label[SF_PREFILL], f->label[SF_DECODE], f->sample);
    }
    return n;
}

/* Cells with samples, and those that have failed without any. */
static int count_cells(const sf_results *r)
{
    int n = r->cells;
    for (int i = 0; i < r->failures; i++) {
        bool there = false;
        for (int c = 0; c < r->cells && !there; c++) there = strcmp(r->cell[c].key, r->failure[i].key) == 0;
        n += !there;
    }
    return n;
}

int sf_cmd_rm(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "RESULTS.h5 --where CELLS",
                                     "Takes cells out of a results file, with all their samples and failures; `run` then runs them again.\v"
                                     "Example:\n  frontier rm results/demo.h5 --where method=quest,sparsity=0.9 --dry-run",
                                     NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    sf_where where;
    sf_results r = {0};
    sf_store *store = NULL;
    sf_status status = sf_where_parse(a.where, &where);
    if (status == SF_OK) status = sf_results_read(1, &a.file, 0, &r);
    const char **key = status == SF_OK ? malloc(((size_t)r.cells + (size_t)r.failures + 1) * sizeof *key) : NULL;
    if (status == SF_OK && !key) status = sf_fail(SF_NO_MEMORY, "no memory for %d cells", r.cells + r.failures);
    int n = key ? choose(&r, &where, key, a.dry) : 0;
    if (status == SF_OK && !n) status = sf_fail(SF_BAD_INPUT, "%s: no cell is %s; `frontier status %s -v` lists them", a.file, a.where, a.file);
    if (status == SF_OK && !a.dry) status = sf_store_open(a.file, false, &store);
    if (store) status = sf_store_remove(store, n, key);
    sf_store_close(store);
    if (status == SF_OK) printf("%d of %d cells %s\n", n, count_cells(&r), a.dry ? "would be removed" : "are removed");
    free(key);
    sf_results_free(&r);
    return sf_cli_end(status);
}
