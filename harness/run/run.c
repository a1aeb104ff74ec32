/* The main path: what a config asks for and the results lack is run, and folded into the results. */
#include "harness/run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/clock.h"
#include "base/files.h"
#include "harness/run/interrupt.h"
#include "harness/run/left.h"
#include "harness/run/processes.h"
#include "harness/run/stopping.h"
#include "harness/run/version.h"

/* To the microsecond: a run is known by its start and its host. */
static void iso_now(char out[40])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", gmtime(&now.tv_sec));
    snprintf(out + n, 40 - n, ".%06ldZ", now.tv_nsec / 1000);
}

static int failed_cells(const struct work *w)
{
    int n = 0;
    for (int i = 0; i < w->study->plan.cells; i++) n += sf_store_failed(w->store, w->study->plan.cell[i].key);
    return n;
}

static sf_status name_results(const sf_run_options *options, const struct work *w, char path[4096])
{
    if (options->out) snprintf(path, 4096, "%s", options->out);
    else if (w->shards) snprintf(path, 4096, "results/%s-%dof%d.h5", w->study->sweep->name, w->shard, w->shards);
    else snprintf(path, 4096, "results/%s.h5", w->study->sweep->name);
    return w->world.rank == 0 ? sf_make_folder_of(path, "results") : SF_OK;
}

/* Cells that are stored under other labels than the config's get these; says what is stored already. */
static sf_status take_up(struct work *w, const char *path)
{
    const sf_study *study = w->study;
    int cells = 0, renamed = 0;
    long samples = 0, all = 0;
    sf_cell_info *info = malloc(((size_t)study->plan.cells + 1) * sizeof *info);
    if (!info) return sf_fail(SF_NO_MEMORY, "no memory for %d cells", study->plan.cells);
    for (int i = 0; i < study->plan.cells; i++) {
        int have = 0;
        info[i] = sf_study_cell_info(study, &study->plan.cell[i]);
        for (int n = 0; n < study->plan.cell[i].samples; n++) have += sf_store_has(w->store, info[i].key, n);
        w->cells_done += have == study->plan.cell[i].samples;
        samples += have;
        all += study->plan.cell[i].samples;
    }
    cells = w->cells_done;
    sf_status status = samples ? sf_store_relabel(w->store, study->plan.cells, info, &renamed) : SF_OK;
    free(info);
    if (renamed) fprintf(stderr, "%d stored cells are renamed: the config labels them otherwise now\n", renamed);
    if (samples && samples < all)
        fprintf(stderr, "%s: %d of %d cells are stored, %ld of %ld samples; what lacks is run\n", path, cells, study->plan.cells, samples, all);
    return status;
}

/* Rank 0 opens the results and notes the run, then the others join it. */
static sf_status open_results(const sf_run_options *options, struct work *w, const char *path, const sf_run_info *run)
{
    sf_status status = SF_OK;
    if (w->world.rank == 0) {
        status = sf_store_open(path, options->overwrite, &w->store);
        if (status == SF_OK) status = take_up(w, path);
        if (status == SF_OK) status = sf_store_note(w->store, run);
    }
    SF_TRY(sf_world_agree(&w->world, status));
    if (w->world.rank == 0) w->first_part = sf_store_lead(w->store);
    sf_world_tell(&w->world, &w->first_part, sizeof w->first_part);
    if (w->world.rank > 0) status = sf_store_join(path, w->first_part, &w->store);
    if (status == SF_OK && options->retry) sf_store_forgive(w->store);
    return sf_world_agree(&w->world, status);
}

/* Where samples stop once it is known what they say: rounds, after each of which the undecided cells get more. */
static sf_status run_until_known(sf_study *study, struct work *w, const char *path)
{
    sf_plan *plan = &study->plan;
    int *most = malloc(((size_t)plan->cells + 1) * sizeof *most);
    if (!most) return sf_fail(SF_NO_MEMORY, "no memory for %d cells", plan->cells);
    for (int i = 0; i < plan->cells; i++) {
        most[i] = plan->cell[i].samples;
        if (study->sweep->least < most[i]) plan->cell[i].samples = study->sweep->least;
    }
    sf_status status = SF_OK;
    for (bool more = true; status == SF_OK && more;) {
        status = sf_processes_run(w);
        sf_dispatch_close(&w->dispatch);
        w->dispatch = (sf_dispatch){0};
        if (status == SF_OK) status = sf_stopping_next(study, most, path, &more);
    }
    long samples = 0, all = 0;
    for (int i = 0; i < plan->cells; i++) samples += plan->cell[i].samples, all += most[i];
    if (status == SF_OK) fprintf(stderr, "%ld samples decided what they could, of at most %ld\n", samples, all);
    free(most);
    return status;
}

/* Runs what is left and folds it, between two notes of who ran. */
static sf_status run_noted(const sf_run_options *options, sf_study *study, struct work *w, const char *path, const char *started, double begun)
{
    struct utsname host = {0};
    uname(&host);
    char *versions = sf_versions_json(), *cells = sf_study_cells(study), *prompts = NULL;
    sf_status status = sf_study_first_prompts(study, &prompts);
    sf_run_info run = {.config = study->sweep->text, .revision = sf_revision(), .host = host.nodename, .versions = versions,
                       .started = started, .seconds = NAN, .batch = study->sweep->batch, .cells = cells, .first_prompts = prompts,
                       .until = study->sweep->until};
    status = sf_world_agree(&w->world, status);
    if (status == SF_OK) status = open_results(options, w, path, &run);
    if (status == SF_OK) status = study->sweep->until > 0 ? run_until_known(study, w, path) : sf_processes_run(w);
    if (status == SF_OK) run.seconds = sf_now() - begun;
    if (w->world.rank == 0 && w->store && (status == SF_OK || status == SF_INTERRUPTED)) { /* what is finished becomes the results file either way */
        sf_status folded = sf_store_fold(w->store, &run);
        if (status == SF_OK) status = folded;
    }
    free(versions);
    free(cells);
    free(prompts);
    return status;
}

/* All leave with what rank 0, which has heard the others, says of the whole. */
static sf_status end_together(const struct work *w, sf_status status, int *failed)
{
    struct { int status, failed; } whole = {(int)status, *failed};
    sf_world_tell(&w->world, &whole, sizeof whole);
    *failed = whole.failed;
    return (sf_status)whole.status;
}

/* Neighbours split a model: they are most likely on one node. */
static sf_status open_teams(struct work *w)
{
    const sf_sweep *s = w->study->sweep;
    const int each = sf_sweep_ranks(s);
    w->team = w->heads = w->stages = sf_alone;
    w->leaders = w->world;
    if (each == 1) return SF_OK;
    if (w->world.size % each != 0 || w->world.size < each)
        return sf_fail(SF_BAD_INPUT, "parallel: {tensor: %d, pipeline: %d} takes %d processes or a multiple of them, this is one of %d: mpirun "
                       "-n %d frontier run …, or srun", s->tensor, s->pipeline, each, w->world.size, each);
    SF_TRY(sf_study_check_split(w->study)); /* before any cell runs: none is to be marked as failed for what is the run's */
    SF_TRY(sf_world_split(&w->world, w->world.rank / each, &w->team));
    SF_TRY(sf_world_split(&w->team, w->team.rank / s->tensor, &w->heads));
    SF_TRY(sf_world_split(&w->team, w->team.rank % s->tensor, &w->stages));
    return sf_world_split(&w->world, w->world.rank % each, &w->leaders);
}

static bool any_of_plugins(const sf_study *study)
{
    for (int i = 0; i < study->plan.cells; i++)
        if (sf_is_plugins(study, &study->plan.cell[i])) return true;
    return false;
}

static sf_status run(const sf_run_options *options, struct work *w, char path[4096], int *failed)
{
    sf_study study = {0};
    char started[40];
    iso_now(started);
    double begun = sf_now();
    w->study = &study;

    sf_status status = sf_study_open(options->config, options->sets, options->set, &study);
    if (status == SF_OK && options->only) status = sf_study_only(&study, options->only);
    if (status == SF_OK) status = sf_study_try_samples(&study);
    if (status == SF_OK && w->world.rank == 0) sf_study_print_arithmetic(&study, stderr), sf_study_print_cuts(&study, stderr);
    if (status == SF_OK) status = name_results(options, w, path);
    if (status == SF_OK) status = sf_devices_of(study.sweep->device, &w->devices);
    if (status == SF_OK) status = open_teams(w);
    w->workers = w->world.size > 1 ? w->leaders.size : w->devices.n;
    w->worker = w->leaders.rank;
    bool early = w->world.size == 1 && w->workers == 1 && (!any_of_plugins(&study) || sf_device_is_host(w->devices.name[0]));
    if (status == SF_OK && early) status = sf_backend_open(w->devices.name[0], study.sweep->threads, &w->backend);
    if (status == SF_OK && study.sweep->until > 0 && (w->world.size > 1 || w->shards))
        status = sf_fail(SF_UNSUPPORTED, "samples: {until: …} decides over all cells after each round, so that it goes with one process, on one or "
                         "several devices, not with ranks or shards: give `samples` a number there");
    status = sf_world_agree(&w->world, status);
    if (status == SF_OK) {
        sf_interrupt_watch(w->world.rank == 0, w->world.size > 1);
        status = run_noted(options, &study, w, path, started, begun);
        *failed = w->world.rank == 0 && w->store ? failed_cells(w) : 0;
        status = end_together(w, status, failed);
    }
    sf_dispatch_close(&w->dispatch);
    sf_store_close(w->store);
    sf_comm_close(&w->stages_comm);
    sf_comm_close(&w->heads_comm);
    sf_backend_close(&w->backend);
    sf_study_close(&study);
    if (w->leaders.self != w->world.self) sf_world_close(&w->leaders);
    sf_world_close(&w->stages);
    sf_world_close(&w->heads);
    sf_world_close(&w->team);
    return status;
}

sf_status sf_run(const sf_run_options *options, sf_run_end *end)
{
    struct work w = {.shard = options->shard, .shards = options->shards, .verbose = options->verbose, .team = sf_alone,
                     .leaders = sf_alone, .heads = sf_alone, .stages = sf_alone};
    *end = (sf_run_end){0};
    sf_status status = sf_world_open(&w.world);
    end->speaks = w.world.rank == 0;
    if (status == SF_OK) status = run(options, &w, end->path, &end->failed);
    end->world = w.world;
    return status;
}
