#include "harness/run/ranks.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

struct question {
    double done; /* work finished since the last one */
    bool end;
    struct sf_rank_end how;
};
struct answer {
    bool there;
    sf_take take;
};
_Static_assert(sizeof(struct question) <= SF_WORLD_WORDS, "a question fits");

static bool take(sf_ranks *r, double done, sf_take *out)
{
    sf_shared_add(r->shared, done);
    return !r->stop && sf_dispatch_take(r->dispatch, &r->shared->next, out);
}

static void hear_end(sf_ranks *r, int rank, const struct sf_rank_end *how)
{
    r->end[rank] = *how;
    if (how->status != SF_OK) r->stop = true;
    r->ended++;
}

static size_t answer(void *user, int rank, const void *question, void *out)
{
    sf_ranks *r = user;
    const struct question *q = question;
    struct answer *a = out;
    *a = (struct answer){0};
    if (q->end) hear_end(r, rank, &q->how);
    else a->there = take(r, q->done, &a->take);
    return sizeof *a;
}

static void print_share(sf_ranks *r)
{
    const double total = r->dispatch->left[0], share = total > 0 ? r->shared->done / total : 0;
    const double now = sf_now();
    if (!r->prints || share < r->told + 0.01 || now < r->when + 10) return;
    char left[32];
    sf_duration((now - r->begun) * (1 - share) / share, left);
    fprintf(stderr, "frontier: %3.0f%% of the work done by %d processes, ETA %s\n", 100 * share, r->world->size, left);
    r->told = share;
    r->when = now;
}

/* Looks for questions without keeping a processor busy; a thousandth of a second is nothing against a sample. */
static void *serve(void *user)
{
    sf_ranks *r = user;
    const struct timespec pause = {.tv_nsec = 500 * 1000};
    while (r->ended < r->world->size) {
        if (!sf_world_answer(r->world, answer, r)) nanosleep(&pause, NULL);
        print_share(r);
    }
    return NULL;
}

sf_status sf_ranks_open(const sf_world *world, const sf_dispatch *dispatch, sf_shared *shared, bool prints, sf_ranks *out)
{
    *out = (sf_ranks){.world = world, .dispatch = dispatch, .shared = shared, .begun = sf_now(), .when = sf_now(), .prints = prints};
    sf_status status = SF_OK;
    if (world->rank == 0) {
        out->end = calloc((size_t)world->size, sizeof *out->end);
        if (!out->end) status = sf_fail(SF_NO_MEMORY, "no memory for what %d ranks say", world->size);
        else if (pthread_create(&out->thread, NULL, serve, out) != 0) status = sf_fail(SF_INTERNAL, "no thread to give out samples");
    }
    return sf_world_agree(world, status);
}

bool sf_ranks_take(sf_ranks *r, double done, sf_take *out)
{
    if (r->world->rank == 0) return take(r, done, out);
    const struct question q = {.done = done};
    struct answer a;
    sf_world_ask(r->world, &q, sizeof q, &a, sizeof a);
    *out = a.take;
    return a.there;
}

static sf_status verdict(const sf_ranks *r)
{
    int stopped = -1;
    for (int i = 0; i < r->world->size; i++) {
        const struct sf_rank_end *end = &r->end[i];
        if (end->status == SF_INTERRUPTED && stopped < 0) stopped = i;
        if (end->status != SF_OK && end->status != SF_INTERRUPTED)
            return sf_fail(end->status, "rank %d of %d: %s", i, r->world->size, end->error);
    }
    return stopped < 0 ? SF_OK : sf_fail(SF_INTERRUPTED, "%s", r->end[stopped].error);
}

sf_status sf_ranks_end(sf_ranks *r, sf_status mine, int parts)
{
    struct question q = {.end = true, .how = {.status = mine, .parts = parts}};
    struct answer a;
    if (mine != SF_OK) snprintf(q.how.error, sizeof q.how.error, "%s", sf_error());
    if (r->world->rank > 0) {
        sf_world_ask(r->world, &q, sizeof q, &a, sizeof a);
        return mine;
    }
    hear_end(r, 0, &q.how);
    pthread_join(r->thread, NULL);
    return verdict(r);
}

void sf_ranks_close(sf_ranks *r)
{
    free(r->end);
    *r = (sf_ranks){0};
}
