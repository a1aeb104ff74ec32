#include "harness/run/simulate.h"

#include <stdlib.h>

struct worker {
    double free; /* from when on it has nothing to do, seconds */
    int model;   /* that it has open; -1: none */
};

/* Workers as a heap, the one that is free first in front. */
static void sift(struct worker *w, int n)
{
    for (int at = 0, next; (next = 2 * at + 1) < n; at = next) {
        if (next + 1 < n && w[next + 1].free < w[next].free) next++;
        if (w[at].free <= w[next].free) return;
        struct worker swap = w[at];
        w[at] = w[next], w[next] = swap;
    }
}

sf_status sf_simulate(const sf_dispatch *d, double (*seconds_of)(void *user, const sf_unit *unit),
                      double (*opening_of)(void *user, int model), void *user, double asking, sf_simulated *out)
{
    *out = (sf_simulated){0};
    struct worker *w = calloc((size_t)d->workers, sizeof *w);
    if (!w) return sf_fail(SF_NO_MEMORY, "no memory for %d workers", d->workers);
    for (int i = 0; i < d->workers; i++) w[i].model = -1;
    _Atomic int next = 0;
    int first = 0;
    for (sf_take t; sf_dispatch_take(d, &next, &t); first = next) {
        double seconds = 0, opening = d->unit[first].model == w->model ? 0 : opening_of(user, d->unit[first].model);
        for (int i = first; i < next; i++) seconds += seconds_of(user, &d->unit[i]);
        w->model = d->unit[first].model;
        w->free += asking + opening + seconds;
        out->busy += seconds;
        out->opening += opening;
        out->takes++;
        if (w->free > out->seconds) out->seconds = w->free;
        sift(w, d->workers);
    }
    free(w);
    return SF_OK;
}
