#include "harness/run/processes.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness/run/apart.h"
#include "harness/run/interrupt.h"
#include "harness/run/left.h"
#include "harness/run/worker.h"

/* ---- plug-ins ------------------------------------------------------------------------------------------------------- */

struct plugins_pass {
    struct work *w;
    const char *device;
    int threads;
};

/* In a process of its own, whose parts are named apart from its parent's; it does not fold, since it may be corrupt. */
static sf_status run_plugins_pass(void *user)
{
    const struct plugins_pass *pass = user;
    struct work *w = pass->w;
    sf_shared own = {0};
    w->shared = &own;
    w->ranks = NULL;
    if (w->workers == 1) sf_store_share(w->store, 1, 2);
    SF_TRY(sf_left_open(w, 1));
    sf_status status = sf_backend_open(pass->device, pass->threads, &w->backend);
    if (status == SF_OK) status = sf_worker_run(w);
    return status;
}

/* The cells of plug-ins, in processes apart from this one, each going on where the last one died: a death with several
 * cells in hand is tried again with one at a time, one with a single cell in hand is that cell's failure. */
static sf_status run_plugins(struct work *w, const char *device, int threads)
{
    struct plugins_pass pass = {w, device, threads};
    if (!sf_left_of_plugins(w)) return SF_OK;
    w->at_hand = mmap(NULL, sizeof *w->at_hand, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (w->at_hand == MAP_FAILED) return w->at_hand = NULL, sf_fail(SF_NO_MEMORY, "no memory that two processes share");
    w->plugins = w->ran_plugins = true;
    w->alone = false;
    sf_status status;
    for (bool died = true; died;) {
        *w->at_hand = (struct at_hand){.cell = -1};
        status = sf_apart(run_plugins_pass, &pass, w->study->sweep->hook_limit, &sf_interrupted, &died);
        if (!died) continue;
        char why[2048];
        snprintf(why, sizeof why, "%s", sf_error());
        const struct at_hand at = *w->at_hand;
        sf_status known = sf_store_refresh(w->store);
        sf_fail(status, "%s", why);
        if (known != SF_OK) status = known;
        else if (at.whole) status = sf_worker_fail_all(w, sf_cells_at(&w->study->plan, at.cell), at.sample, status);
        else if (at.cell >= 0) status = sf_worker_fail(w, &w->study->plan.cell[at.cell], at.sample, status);
        else if (!w->alone && !w->study->sweep->stop_on_error) status = SF_OK;
        w->alone = at.cell < 0;
        if (status != SF_OK) break;
    }
    munmap(w->at_hand, sizeof *w->at_hand);
    w->at_hand = NULL;
    w->plugins = w->alone = false;
    sf_status known = status == SF_OK || status == SF_INTERRUPTED ? sf_store_refresh(w->store) : SF_OK;
    return known != SF_OK ? known : status;
}

/* ---- several devices ------------------------------------------------------------------------------------------------- */

/* In a process of its own. Threads do not survive a fork: a host backend has but one here. */
static sf_status run_share(void *user, int worker, const char *device, sf_shared *shared)
{
    struct work *w = user;
    w->worker = worker;
    w->shared = shared;
    sf_store_share(w->store, worker + 1, w->workers + 1);
    SF_TRY(run_plugins(w, device, 1));
    sf_status status = sf_backend_open(device, 1, &w->backend);
    if (status == SF_OK) status = sf_worker_run(w);
    sf_backend_close(&w->backend);
    return status;
}

static sf_status run_shares(struct work *w)
{
    SF_TRY(sf_left_open(w, w->workers));
    sf_status status = sf_spread(&w->devices, run_share, w, &sf_interrupted);
    sf_store_share(w->store, 0, w->workers + 1);
    if (status == SF_OK) status = sf_store_refresh(w->store); /* who failed, in whichever of them */
    return status;
}

/* ---- several processes, maybe on several machines ------------------------------------------------------------------- */

/* Threads of each process of a node: those that it is bound to, else its share of all. */
static int threads_of_rank(const struct work *w)
{
    cpu_set_t set;
    if (w->study->sweep->threads || sched_getaffinity(0, sizeof set, &set) != 0) return w->study->sweep->threads;
    int mine = CPU_COUNT(&set), all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int share = mine < all ? mine : all / w->world.locals;
    return share > 1 ? share : 1;
}

static sf_status open_rank(struct work *w)
{
    char device[SF_DEVICE_NAME];
    SF_TRY(sf_device_of_rank(w->study->sweep->device, w->world.local, w->world.locals, device));
    if (w->team.size > 1 && w->devices.n > 1 && !sf_device_is_host(device) && sf_devices_sharing(&w->devices, w->world.local, w->world.locals) > 1)
        return sf_fail(SF_UNSUPPORTED, "device '%s': `parallel` takes a card of its own for each process", w->study->sweep->device);
    if (w->team.size == 1) SF_TRY(run_plugins(w, device, threads_of_rank(w)));
    else if (sf_left_of_plugins(w))
        return sf_fail(SF_UNSUPPORTED, "cells of plug-ins run in processes apart, which cannot split a model: leave out `parallel` or the plug-ins");
    SF_TRY(sf_backend_open(device, threads_of_rank(w), &w->backend));
    return w->world.rank == 0 ? sf_left_open(w, w->workers) : SF_OK;
}

/* Collective, once all have their backends. */
static sf_status open_team(struct work *w)
{
    if (w->team.size == 1) return SF_OK;
    if (w->heads.size > 1) {
        SF_TRY(sf_comm_open(&w->heads, &w->backend, &w->heads_comm));
        w->backend.comm = &w->heads_comm;
    }
    if (w->stages.size > 1) {
        SF_TRY(sf_comm_open(&w->stages, &w->backend, &w->stages_comm));
        w->backend.stages = &w->stages_comm;
    }
    return SF_OK;
}

/* Before folding: a file system may show what another machine has written some time later. */
static sf_status await_parts(const struct work *w, const sf_ranks *ranks)
{
    enum { SECONDS = 60, TRIES_A_SECOND = 10 };
    const struct timespec pause = {.tv_nsec = 1000 * 1000 * 1000 / TRIES_A_SECOND};
    for (int rank = 0; rank < w->leaders.size; rank++) {
        int seen = -1;
        for (int i = 0; i < SECONDS * TRIES_A_SECOND; i++) {
            if (i) nanosleep(&pause, NULL);
            SF_TRY(sf_store_written(w->store, w->first_part, rank, &seen));
            if (seen == ranks->end[rank].parts) break;
        }
        if (seen != ranks->end[rank].parts)
            return sf_fail(SF_IO, "rank %d has written %d parts of results, of which %d are to be seen from rank 0 after %d seconds; "
                           "they are kept, and the same command folds them", rank, ranks->end[rank].parts, seen, SECONDS);
    }
    return sf_store_refresh(w->store); /* who failed, in whichever of them */
}

/* Rank 0 has opened the store before. */
static sf_status run_ranks(struct work *w)
{
    sf_ranks ranks = {0};
    sf_shared shared = {0};
    int written = 0;
    const bool leads = w->team.rank == 0;
    sf_store_share(w->store, leads ? w->leaders.rank : -1, w->leaders.size);
    sf_status status = sf_world_agree(&w->world, open_rank(w));
    if (status == SF_OK) status = sf_world_agree(&w->world, open_team(w));
    if (status == SF_OK) {
        w->shared = &shared;
        w->ranks = &ranks;
        if (leads) status = sf_ranks_open(&w->leaders, &w->dispatch, &shared, true, &ranks);
        status = sf_world_agree(&w->team, status);
        if (status == SF_OK) status = sf_worker_run(w);
        w->ranks = NULL;
        sf_status counted = leads ? sf_store_written(w->store, w->first_part, w->leaders.rank, &written) : SF_OK;
        if (status == SF_OK) status = counted;
        if (leads) status = sf_ranks_end(&ranks, status, written);
        if (w->world.rank == 0 && (status == SF_OK || status == SF_INTERRUPTED)) {
            sf_status seen = await_parts(w, &ranks);
            if (seen != SF_OK) status = seen;
        }
        sf_ranks_close(&ranks);
    }
    return status;
}

sf_status sf_processes_run(struct work *w)
{
    if (w->world.size > 1) return run_ranks(w);
    if (w->workers > 1) return run_shares(w);
    sf_shared own = {0};
    SF_TRY(run_plugins(w, w->devices.name[0], w->study->sweep->threads));
    w->shared = &own;
    if (!w->backend.ops) SF_TRY(sf_backend_open(w->devices.name[0], w->study->sweep->threads, &w->backend));
    SF_TRY(sf_left_open(w, 1));
    return sf_worker_run(w);
}
