#include "harness/run/left.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/run/work.h"

bool sf_is_plugins(const sf_study *study, const sf_cell *cell)
{
    return *study->sweep->task[cell->task].code || (cell->prefill && *cell->prefill->code) ||
           (cell->decode && *cell->decode->code);
}

sf_cells sf_cells_at(const sf_plan *plan, int at)
{
    const sf_cell *first = &plan->cell[at];
    sf_cells g = {first, 0};
    while (at + g.cells < plan->cells && first[g.cells].model == first->model && first[g.cells].task == first->task &&
           first[g.cells].length == first->length)
        g.cells++;
    return g;
}

double sf_cells_work(const sf_study *study, const sf_cell *const *cell, int n)
{
    double work = 0;
    for (int i = 0; i < n; i++) {
        bool shared = false;
        for (int j = 0; j < i && !shared; j++) shared = sf_cell_shares_prefill(cell[i], cell[j]);
        work += sf_study_work(study, cell[i], shared);
    }
    return work;
}

/* Whether this process's shard has this sample of a cell. Cells that share a prefill share a shard: the first of them
 * hashes for all. What is stored already plays no part, so that every process and every restart sees the same shards. */
static bool in_shard(const struct work *w, sf_cells g, const sf_cell *cell, int index)
{
    if (!w->shards) return true;
    const sf_cell *first = g.cell;
    while (first < cell && !sf_cell_shares_prefill(first, cell)) first++;
    return XXH3_64bits_withSeed(first->key, strlen(first->key), (uint64_t)index) % (uint64_t)w->shards ==
           (uint64_t)w->shard - 1;
}

int sf_left_cells(const struct work *w, sf_cells g, int index, const sf_cell **out)
{
    int n = 0;
    for (int sparse = 0; sparse < 2; sparse++)
        for (int i = 0; i < g.cells; i++)
            if ((g.cell[i].prefill != NULL) == sparse && in_shard(w, g, &g.cell[i], index) &&
                sf_is_plugins(w->study, &g.cell[i]) == w->plugins && index < g.cell[i].samples && !sf_store_has(w->store, g.cell[i].key, index) &&
                !sf_store_failed(w->store, g.cell[i].key))
                out[n++] = &g.cell[i];
    return n;
}

int sf_cells_widest(const sf_plan *plan)
{
    int widest = 0;
    for (int at = 0; at < plan->cells;) {
        sf_cells g = sf_cells_at(plan, at);
        if (g.cells > widest) widest = g.cells;
        at += g.cells;
    }
    return widest;
}

/* The samples that some cells lack; of plug-ins' cells, this worker's. */
static sf_status list_units(struct work *w, int *units, sf_unit **out)
{
    const sf_plan *plan = &w->study->plan;
    size_t most = 0;
    for (int at = 0; at < plan->cells; at += sf_cells_at(plan, at).cells) most += (size_t)plan->cell[at].samples;
    const sf_cell **pending = calloc((size_t)sf_cells_widest(plan) + 1, sizeof *pending);
    sf_unit *unit = *out = malloc(most * sizeof *unit + 1);
    *units = 0;
    if (!pending || !unit) {
        free(pending);
        return sf_fail(SF_NO_MEMORY, "no memory for a list of %zu samples", most);
    }
    for (int at = 0; at < plan->cells;) {
        sf_cells g = sf_cells_at(plan, at);
        for (int i = 0; i < g.cell->samples; i++) {
            int lanes = w->plugins && i % w->workers != w->worker ? 0 : sf_left_cells(w, g, i, pending);
            if (lanes) unit[(*units)++] = (sf_unit){.model = g.cell->model, .at = at, .sample = i, .lanes = lanes,
                                                    .work = sf_cells_work(w->study, pending, lanes)};
        }
        at += g.cells;
    }
    free(pending);
    return SF_OK;
}

bool sf_left_of_plugins(const struct work *w)
{
    for (int i = 0; i < w->study->plan.cells; i++) {
        const sf_cell *cell = &w->study->plan.cell[i];
        if (!sf_is_plugins(w->study, cell) || sf_store_failed(w->store, cell->key)) continue;
        for (int n = 0; n < cell->samples; n++)
            if (!sf_store_has(w->store, cell->key, n)) return true;
    }
    return false;
}

static void say_nothing_left(const struct work *w)
{
    const int cells = w->study->plan.cells;
    int failed = 0;
    for (int i = 0; i < cells; i++) failed += sf_store_failed(w->store, w->study->plan.cell[i].key);
    if (failed) fprintf(stderr, "%d of %d cells are stored, and %d failed (`--retry` tries those again); nothing is left to run\n", cells - failed, cells, failed);
    else fprintf(stderr, "all %d cells are stored; nothing is left to run\n", cells);
}

sf_status sf_left_open(struct work *w, int workers)
{
    int units;
    sf_unit *unit;
    sf_status status = list_units(w, &units, &unit);
    if (status != SF_OK) free(unit);
    else status = sf_dispatch_open(units, unit, workers, &w->dispatch);
    if (status == SF_OK && !units && !(w->study->sweep->until > 0) && !w->ran_plugins && !w->plugins && !sf_left_of_plugins(w))
        say_nothing_left(w);
    return status;
}
