#include "kernels/comm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- threads of one process --------------------------------------------------------------------------------------- */

/* What they share: where each one's bytes lie while all read them. */
struct meeting {
    pthread_barrier_t barrier;
    int users;
    pthread_mutex_t lock;
    const void *from[];
};

static void gather_threads_host(sf_comm *c, const void *from, size_t bytes, void *to)
{
    struct meeting *m = c->self;
    m->from[c->rank] = from;
    pthread_barrier_wait(&m->barrier);
    for (int r = 0; r < c->size; r++) memcpy((char *)to + (size_t)r * bytes, m->from[r], bytes);
    pthread_barrier_wait(&m->barrier);
}

/* Backends of threads compute in host memory, which all of them see. */
static sf_status gather_threads(sf_comm *c, sf_backend *b, const void *from, size_t bytes, void *to)
{
    SF_TRY(b->ops->synchronize(b));
    gather_threads_host(c, from, bytes, to);
    return SF_OK;
}

static void close_threads(sf_comm *c)
{
    struct meeting *m = c->self;
    pthread_mutex_lock(&m->lock);
    bool last = --m->users == 0;
    pthread_mutex_unlock(&m->lock);
    if (!last) return;
    pthread_barrier_destroy(&m->barrier);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void abort_threads(sf_comm *c)
{
    fprintf(stderr, "frontier: error: thread %d of %d: %s\n", c->rank, c->size, sf_error());
    abort();
}

static const sf_comm_ops threads_ops = {
    .name = "threads", .gather = gather_threads, .gather_host = gather_threads_host, .abort = abort_threads,
    .close = close_threads};

sf_status sf_comm_threads(int size, sf_comm *comm)
{
    struct meeting *m = calloc(1, sizeof *m + (size_t)size * sizeof *m->from);
    if (!m || pthread_barrier_init(&m->barrier, NULL, (unsigned)size) != 0) {
        free(m);
        return sf_fail(SF_NO_MEMORY, "no memory for a team of %d threads", size);
    }
    pthread_mutex_init(&m->lock, NULL);
    m->users = size;
    for (int r = 0; r < size; r++) comm[r] = (sf_comm){.ops = &threads_ops, .rank = r, .size = size, .self = m};
    return SF_OK;
}

/* ---- processes, over MPI ------------------------------------------------------------------------------------------ */

static void gather_world_host(sf_comm *c, const void *from, size_t bytes, void *to) { sf_world_gather(c->self, from, bytes, to); }

static sf_status gather_world(sf_comm *c, sf_backend *b, const void *from, size_t bytes, void *to)
{
    SF_TRY(b->ops->synchronize(b));
    sf_world_gather(c->self, from, bytes, to);
    return SF_OK;
}

static void abort_world(sf_comm *c) { sf_world_abort(c->self); }
static void close_world(sf_comm *c) { (void)c; }

static const sf_comm_ops world_ops = {
    .name = "mpi", .gather = gather_world, .gather_host = gather_world_host, .abort = abort_world,
    .close = close_world};

#ifdef SF_HAVE_NCCL
sf_status sf_nccl_open(const sf_world *world, sf_backend *b, sf_comm *out); /* kernels/cuda/comm.cu */
#endif

sf_status sf_comm_open(const sf_world *world, sf_backend *b, sf_comm *out)
{
    *out = (sf_comm){.ops = &world_ops, .rank = world->rank, .size = world->size, .self = (void *)world};
    if (!b->ops->devices) return SF_OK;
#ifdef SF_HAVE_NCCL
    return sf_nccl_open(world, b, out);
#else
    return sf_fail(SF_UNSUPPORTED, "a model is split over several %s devices through NCCL, which this build lacks: install "
                   "libnccl-dev and build again", b->ops->name);
#endif
}

void sf_comm_close(sf_comm *c)
{
    if (c->ops) c->ops->close(c);
    *c = (sf_comm){0};
}

/* ---- made of the op ------------------------------------------------------------------------------------------------ */

sf_status sf_comm_agree(sf_comm *c, sf_status status)
{
    if (!c) return status;
    int all[c->size], mine = (int)status;
    c->ops->gather_host(c, &mine, sizeof mine, all);
    for (int r = 0; r < c->size; r++) {
        char error[2048] = "";
        if (all[r] == SF_OK) continue;
        if (r == c->rank) snprintf(error, sizeof error, "%s", sf_error());
        SF_TRY(sf_comm_tell(c, r, error, sizeof error));
        return sf_fail((sf_status)all[r], "%s", error);
    }
    return SF_OK;
}

void sf_comm_sum(sf_comm *c, uint64_t *x, int n)
{
    if (!c) return;
    uint64_t all[c->size][n];
    c->ops->gather_host(c, x, (size_t)n * sizeof *x, all);
    memset(x, 0, (size_t)n * sizeof *x);
    for (int r = 0; r < c->size; r++)
        for (int i = 0; i < n; i++) x[i] += all[r][i];
}

sf_status sf_comm_tell(sf_comm *c, int from, void *data, size_t bytes)
{
    if (!c) return SF_OK;
    char *all = malloc((size_t)c->size * bytes);
    if (!all) return sf_fail(SF_NO_MEMORY, "no memory for what %d ranks say", c->size);
    c->ops->gather_host(c, data, bytes, all);
    memcpy(data, all + (size_t)from * bytes, bytes);
    free(all);
    return SF_OK;
}

sf_status sf_comm_rows(sf_comm *c, sf_backend *b, const void *x, int first, int step, int n, int64_t rows, int64_t width,
                       void *out)
{
    const size_t bytes = sf_bytes(b->activation, width);
    sf_mark mark = sf_scratch_mark(b);
    void *all;
    SF_TRY(sf_scratch_alloc(b, (size_t)c->size * (size_t)rows * bytes, &all));
    SF_TRY(c->ops->gather(c, b, x, (size_t)rows * bytes, all));
    for (int r = 0; r < n; r++)
        for (int64_t i = 0; i < rows; i++)
            SF_TRY(b->ops->copy(b, (char *)out + (size_t)(i * n + r) * bytes,
                                (const char *)all + (size_t)((first + r * step) * rows + i) * bytes, bytes));
    sf_scratch_release(b, mark);
    return SF_OK;
}
