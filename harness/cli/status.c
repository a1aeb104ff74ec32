/* What a results file holds, and what lacks. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/run/stopping.h"
#include "harness/store/where.h"

static const struct argp_option options[] = {
    {"where", 'w', "CELLS", 0, "these cells alone, e.g. method=quest,sparsity=0.9, or the beginning of a cell's key", 0},
    {"set", 's', "KEY=VALUE", 0, "override a key of the config (repeatable)", 0},
    {"verbose", 'v', NULL, 0, "a line a cell", 0},
    {"json", 'j', NULL, 0, "print JSON", 0},
    {0},
};

struct args {
    const char *file, *config, *where;
    sf_strings set;
    bool verbose, json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    switch (key) {
    case 'w': a->where = arg; return 0;
    case 's': sf_strings_add(state, &a->set, arg); return 0;
    case 'v': a->verbose = true; return 0;
    case 'j': a->json = true; return 0;
    case ARGP_KEY_ARG:
        if (a->config) argp_error(state, "one results file and one config at a time");
        *(a->file ? &a->config : &a->file) = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a results file, e.g. results/demo.h5"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* A cell as it is stored, and as a config wants it. */
struct row {
    sf_cell_info info;
    int have, wanted;    /* samples */
    bool stopped;        /* with fewer than it might have had: it was known what they say */
    const char *failure; /* NULL: none */
};

static const char *failure_of(const sf_results *r, const char *key)
{
    for (int i = 0; i < r->failures; i++)
        if (strcmp(r->failure[i].key, key) == 0) return r->failure[i].message;
    return NULL;
}

static int by_place(const void *a, const void *b)
{
    const sf_cell_info *x = &((const struct row *)a)->info, *y = &((const struct row *)b)->info;
    int o = strcmp(x->model, y->model);
    if (!o) o = x->length - y->length;
    if (!o) o = strcmp(x->task_label, y->task_label);
    for (int p = 0; p < SF_PHASES && !o; p++) o = strcmp(x->label[p], y->label[p]);
    for (int p = 0; p < SF_PHASES && !o; p++) o = (x->sparsity[p] > y->sparsity[p]) - (x->sparsity[p] < y->sparsity[p]);
    if (!o) o = strcmp(sf_cell_cache(x), sf_cell_cache(y));
    return o ? o : strcmp(x->key, y->key);
}

static int by_key(const void *a, const void *b) { return strcmp((*(const sf_cell_info *const *)a)->key, (*(const sf_cell_info *const *)b)->key); }

/* The stored cell of a key, by an index sorted by key; -1: none. */
static int find(const sf_results *r, const sf_cell_info *const *index, const char *key)
{
    sf_cell_info wanted, *at = &wanted;
    snprintf(wanted.key, sizeof wanted.key, "%s", key);
    const sf_cell_info *const *found = bsearch(&at, index, (size_t)r->cells, sizeof *index, by_key);
    return found ? (int)(*found - r->cell) : -1;
}

/* Where samples stop once it is known what they say, a cell wants what it has, and in an undecided point what the next round would
 * give it. */
static sf_status want_until_known(sf_study *study, const int *most, const sf_results *r, const sf_cell_info *const *index, const char *path)
{
    bool more;
    for (int i = 0; i < study->plan.cells; i++) {
        sf_cell *cell = &study->plan.cell[i];
        const int least = study->sweep->least, stored = find(r, index, sf_study_cell_info(study, cell).key);
        const int have = stored < 0 ? 0 : r->records[stored], wanted = have > least ? have : least;
        cell->samples = wanted < most[i] ? wanted : most[i];
    }
    return sf_stopping_next(study, most, path, &more);
}

/* Rows of what the config plans; without a config of what is stored, of which the most samples of its model, task and length are
 * wanted. */
static sf_status make_rows(const char *path, const sf_results *r, sf_study *study, const sf_where *where, struct row *row, int *rows)
{
    const int cells = study ? study->plan.cells : r->cells;
    const sf_cell_info **index = malloc(((size_t)r->cells + 1) * sizeof *index);
    int *most = malloc(((size_t)cells + 1) * sizeof *most);
    sf_status status = index && most ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for %d cells", cells);
    *rows = 0;
    if (status != SF_OK) goto done;
    for (int c = 0; c < r->cells; c++) index[c] = &r->cell[c];
    qsort(index, (size_t)r->cells, sizeof *index, by_key);
    for (int i = 0; study && i < cells; i++) most[i] = study->plan.cell[i].samples;
    if (study && study->sweep->until > 0) status = want_until_known(study, most, r, index, path);
    for (int i = 0; status == SF_OK && i < cells; i++) {
        struct row *x = &row[*rows];
        *x = (struct row){.info = study ? sf_study_cell_info(study, &study->plan.cell[i]) : r->cell[i]};
        const int c = study ? find(r, index, x->info.key) : i;
        for (int k = 0; c >= 0 && k < r->records[c]; k++) x->have += !study || r->record[c][k].sample < study->plan.cell[i].samples;
        x->wanted = study ? study->plan.cell[i].samples : x->have;
        x->failure = failure_of(r, x->info.key);
        if (x->failure && x->have >= x->wanted && study) x->failure = NULL; /* it was made up for */
        x->stopped = study && x->have >= x->wanted && x->wanted < most[i];
        *rows += !where || sf_where_matches(where, &x->info);
    }
    qsort(row, (size_t)*rows, sizeof *row, by_place);
done:
    free(index), free(most);
    return status;
}

static bool together(const struct row *a, const struct row *b)
{
    return strcmp(a->info.model, b->info.model) == 0 && strcmp(a->info.task_label, b->info.task_label) == 0 && a->info.length == b->info.length;
}

/* Without a config: what the fullest cell of a group has, all should have. */
static void want_the_most(struct row *row, int rows)
{
    for (int i = 0, end; i < rows; i = end) {
        int most = 0;
        for (end = i; end < rows && together(&row[i], &row[end]); end++)
            if (row[end].have > most) most = row[end].have;
        for (int k = i; k < end; k++) row[k].wanted = most;
    }
}

static void print_cell(const struct row *x)
{
    printf("  %.12s  ", x->info.key);
    bool dense = true;
    for (int p = 0; p < SF_PHASES; p++)
        if (strcmp(x->info.method[p], "dense") != 0) {
            printf(x->info.sparsity[p] >= 0 ? "%s%s at %g" : "%s%s", dense ? "" : " + ", x->info.label[p], x->info.sparsity[p]);
            dense = false;
        }
    if (dense) printf("dense");
    if (!sf_cell_exact(&x->info)) printf(", cache %s", sf_cell_cache(&x->info));
    printf(": %d of %d samples%s%s%s\n", x->have, x->wanted, x->stopped ? ", which are enough" : "", x->failure ? "; failed: " : "", x->failure ? x->failure : "");
}

static void print_rows(const struct row *row, int rows, bool verbose)
{
    long have = 0, wanted = 0;
    int whole = 0, failed = 0, stopped = 0;
    for (int i = 0, end; i < rows; i = end) {
        int cells = 0, full = 0, lost = 0;
        long there = 0, all = 0;
        for (end = i; end < rows && together(&row[i], &row[end]); end++) {
            const struct row *x = &row[end];
            cells++, there += x->have, all += x->wanted;
            full += x->have >= x->wanted, lost += x->failure != NULL, stopped += x->stopped;
        }
        printf("%s, %s, %d tokens: %d of %d cells, %ld of %ld samples", row[i].info.model, row[i].info.task_label, row[i].info.length, full, cells,
               there, all);
        if (lost) printf(", %d failed", lost);
        putchar('\n');
        for (int k = i; k < end && verbose; k++) print_cell(&row[k]);
        have += there, wanted += all, whole += full, failed += lost;
    }
    printf("\n%d of %d cells are whole, %ld of %ld samples", whole, rows, have, wanted);
    if (stopped) printf("; %d stopped early: it is known what they say", stopped);
    if (failed) printf("; %d failed", failed);
    printf("\n");
}

static void print_json(const struct row *row, int rows)
{
    json_t *list = json_array();
    for (int i = 0; i < rows; i++) {
        const struct row *x = &row[i];
        json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:i}", "cell", x->info.key, "model", x->info.model, "task", x->info.task_label,
                              "length", x->info.length, "prefill", x->info.label[SF_PREFILL], "decode", x->info.label[SF_DECODE], "samples",
                              x->have, "wanted", x->wanted);
        for (int p = 0; p < SF_PHASES; p++)
            json_object_set_new(o, p == SF_PREFILL ? "prefill_sparsity" : "decode_sparsity",
                                x->info.sparsity[p] >= 0 ? json_real(x->info.sparsity[p]) : json_null());
        json_object_set_new(o, "cache", json_string(sf_cell_cache(&x->info)));
        json_object_set_new(o, "stopped", json_boolean(x->stopped));
        json_object_set_new(o, "failed", x->failure ? json_string(x->failure) : json_null());
        json_array_append_new(list, o);
    }
    json_dumpf(list, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(list);
}

int sf_cmd_status(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "RESULTS.h5 [CONFIG.yaml]",
                                     "Says what is stored, model by model, task by task, length by length; with a config, what of its cells "
                                     "lacks (where samples stop once they decide, what is not decided yet), else which cells have fewer samples than the others of their kind.\v"
                                     "Example:\n  frontier status results/demo.h5 configs/demo.yaml --where method=quest -v",
                                     NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    sf_results r = {0};
    sf_study study = {0};
    sf_where where;
    int rows = 0;
    sf_status status = a.where ? sf_where_parse(a.where, &where) : SF_OK;
    if (status == SF_OK) status = sf_results_read(1, &a.file, 0, &r);
    if (status == SF_OK && a.config) status = sf_study_open(a.config, a.set.n, a.set.item, &study);
    if (status == SF_OK && a.config) status = sf_study_try_samples(&study);
    struct row *row = status == SF_OK ? malloc(((size_t)r.cells + (size_t)study.plan.cells + 1) * sizeof *row) : NULL;
    if (status == SF_OK && !row) status = sf_fail(SF_NO_MEMORY, "no memory for %d cells", r.cells);
    if (status == SF_OK) status = make_rows(a.file, &r, a.config ? &study : NULL, a.where ? &where : NULL, row, &rows);
    if (status == SF_OK && !rows && a.where) status = sf_fail(SF_BAD_INPUT, "%s: no cell is %s", a.file, a.where);
    if (status == SF_OK) {
        if (!a.config) want_the_most(row, rows);
        if (a.json) print_json(row, rows);
        else print_rows(row, rows, a.verbose);
    }
    free(row);
    if (study.sweep) sf_study_close(&study);
    sf_results_free(&r);
    return sf_cli_end(status);
}
