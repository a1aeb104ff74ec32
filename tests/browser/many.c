/* Writes results of forty-five methods, three models, four lengths, four tasks: what the page must stay usable with.
 *
 *     make build/tests/browser/many && build/tests/browser/many MANY.h5 [SAMPLES]
 *
 * Ten samples a cell (the default) are 108 480 in 10 848 cells. */
#include "tests/synthetic_results.h"

enum { VARIANTS = 6, METHODS = 45 };

struct many {
    sf_store *store;
    int variant;
};

/* Of each variant the sparse cells under names and keys of their own; dense once. */
static sf_status keep(void *user, int cells, const sf_cell_info *cell, const sf_record *record)
{
    const struct many *many = user;
    static sf_cell_info own[96];
    static sf_record what[96];
    static char label[96][64];
    int n = 0;
    for (int c = 0; c < cells; c++) {
        const int phase = strcmp(cell[c].method[SF_DECODE], "dense") != 0 ? SF_DECODE : SF_PREFILL;
        int arm = 0;
        while (arm < SYNTHETIC_ARMS && strcmp(synthetic_arm[arm].label, cell[c].label[phase]) != 0) arm++;
        const bool dense = arm == SYNTHETIC_ARMS;
        if (dense ? many->variant > 0 : many->variant * SYNTHETIC_ARMS + arm >= METHODS) continue;
        own[n] = cell[c], what[n] = record[c];
        for (int p = 0; p < SF_PHASES; p++)
            if (c % 200) what[n].picture[p] = NULL; /* 64 KB each */
        if (!dense) {
            snprintf(label[n], sizeof label[n], "%s%s_%c", synthetic_arm[arm].method, arm == SYNTHETIC_QUEST_64 ? "64" : "", 'a' + many->variant);
            own[n].label[phase] = label[n];
            snprintf(own[n].key, sizeof own[n].key, "%08x%.24s", many->variant + 1, cell[c].key + 8);
            own[n].key[0] = cell[c].key[7]; /* the model's digit, which the variant's has replaced */
        }
        n++;
    }
    return sf_store_add(many->store, n, own, what);
}

int main(int argc, char **argv)
{
    if (argc < 2) return fprintf(stderr, "usage: many RESULTS.h5 [SAMPLES]\n"), EXIT_FAILURE;
    struct many many = {0};
    struct synthetic s = {.models = 3, .tasks = 4, .lengths = 4, .levels = 5, .samples = argc > 2 ? atoi(argv[2]) : 10,
                          .prefill = true, .decode = true, .ablation = true, .more = true, .maps = true, .faults = 0.02};
    sf_status status = sf_store_open(argv[1], true, &many.store);
    for (; status == SF_OK && many.variant < VARIANTS; many.variant++) {
        s.gain = 0.5 + 0.15 * many.variant;
        status = synthetic_each(&s, keep, &many);
    }
    if (status == SF_OK) status = sf_store_fold(many.store, &synthetic_run);
    sf_store_close(many.store);
    if (status != SF_OK) fprintf(stderr, "many: %s\n", sf_error());
    return status == SF_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
