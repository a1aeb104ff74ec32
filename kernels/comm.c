#include "kernels/comm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- threads of one process --------------------------------------------------------------------------------------- */

/* What they share: where each one's bytes lie while all read them, and what one sends to another. */
struct meeting {
    pthread_barrier_t barrier;
    int users;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* some box, or signals */
    const void **from;      /* [size] */
    unsigned *signals;      /* [from, to] given and not awaited yet */
    const void *box[];      /* [from, to] what waits to be received; NULL: nothing */
};

static void gather_threads_host(sf_comm *c, const void *from, size_t bytes, void *to)
{
    struct meeting *m = c->self;
    m->from[c->rank] = from;
    pthread_barrier_wait(&m->barrier);
    for (int r = 0; r < c->size; r++) memcpy((char *)to + (size_t)r * bytes, m->from[r], bytes);
    pthread_barrier_wait(&m->barrier);
}

/* Each copies from where the others' bytes lie, which are there once their backends have done what they were given, and stay
 * until all have copied. */
static sf_status gather_threads(sf_comm *c, sf_backend *b, const void *from, size_t bytes, void *to)
{
    struct meeting *m = c->self;
    sf_status status = b->ops->synchronize(b);
    m->from[c->rank] = from;
    pthread_barrier_wait(&m->barrier);
    for (int r = 0; r < c->size && status == SF_OK; r++) status = b->ops->copy(b, (char *)to + (size_t)r * bytes, m->from[r], bytes);
    if (status == SF_OK) status = b->ops->synchronize(b);
    pthread_barrier_wait(&m->barrier);
    return status;
}

static sf_status send_threads(sf_comm *c, sf_backend *b, const void *from, size_t bytes, int to)
{
    (void)bytes;
    struct meeting *m = c->self;
    const void **box = &m->box[c->rank * c->size + to];
    sf_status status = b->ops->synchronize(b);
    pthread_mutex_lock(&m->lock);
    *box = from;
    pthread_cond_broadcast(&m->changed);
    while (*box) pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    return status;
}

static sf_status receive_threads(sf_comm *c, sf_backend *b, void *to, size_t bytes, int from)
{
    struct meeting *m = c->self;
    const void **box = &m->box[from * c->size + c->rank];
    pthread_mutex_lock(&m->lock);
    while (!*box) pthread_cond_wait(&m->changed, &m->lock);
    const void *there = *box;
    pthread_mutex_unlock(&m->lock);
    sf_status status = b->ops->copy(b, to, there, bytes);
    if (status == SF_OK) status = b->ops->synchronize(b);
    pthread_mutex_lock(&m->lock);
    *box = NULL;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return status;
}

static void signal_threads(sf_comm *c, int to)
{
    struct meeting *m = c->self;
    pthread_mutex_lock(&m->lock);
    m->signals[c->rank * c->size + to]++;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void await_threads(sf_comm *c, int from)
{
    struct meeting *m = c->self;
    unsigned *signals = &m->signals[from * c->size + c->rank];
    pthread_mutex_lock(&m->lock);
    while (!*signals) pthread_cond_wait(&m->changed, &m->lock);
    --*signals;
    pthread_mutex_unlock(&m->lock);
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
    pthread_cond_destroy(&m->changed);
    free(m->from);
    free(m->signals);
    free(m);
}

static void abort_threads(sf_comm *c)
{
    fprintf(stderr, "frontier: error: thread %d of %d: %s\n", c->rank, c->size, sf_error());
    abort();
}

static const sf_comm_ops threads_ops = {
    .name = "threads", .gather = gather_threads, .gather_host = gather_threads_host, .send = send_threads,
    .receive = receive_threads, .signal = signal_threads, .await = await_threads, .abort = abort_threads, .close = close_threads};

/* comm [size], every step-th. */
static sf_status open_threads(int size, int step, sf_comm *comm)
{
    const size_t n = (size_t)size;
    struct meeting *m = calloc(1, sizeof *m + n * n * sizeof *m->box);
    const void **from = calloc(n, sizeof *from);
    unsigned *signals = calloc(n * n, sizeof *signals);
    if (!m || !from || !signals || pthread_barrier_init(&m->barrier, NULL, (unsigned)size) != 0) {
        free(from);
        free(signals);
        free(m);
        return sf_fail(SF_NO_MEMORY, "no memory for a team of %d threads", size);
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->users = size;
    m->from = from;
    m->signals = signals;
    for (int r = 0; r < size; r++) comm[r * step] = (sf_comm){.ops = &threads_ops, .rank = r, .size = size, .self = m};
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

static sf_status send_world(sf_comm *c, sf_backend *b, const void *from, size_t bytes, int to)
{
    SF_TRY(b->ops->synchronize(b));
    sf_world_send(c->self, to, from, bytes);
    return SF_OK;
}

static sf_status receive_world(sf_comm *c, sf_backend *b, void *to, size_t bytes, int from)
{
    SF_TRY(b->ops->synchronize(b));
    sf_world_receive(c->self, from, to, bytes);
    return SF_OK;
}

static void signal_world(sf_comm *c, int to) { sf_world_send(c->self, to, "", 1); }

static void await_world(sf_comm *c, int from)
{
    char byte;
    sf_world_receive(c->self, from, &byte, 1);
}

static void abort_world(sf_comm *c) { sf_world_abort(c->self); }
static void close_world(sf_comm *c) { (void)c; }

static const sf_comm_ops world_ops = {
    .name = "mpi", .gather = gather_world, .gather_host = gather_world_host, .send = send_world, .receive = receive_world,
    .signal = signal_world, .await = await_world, .abort = abort_world, .close = close_world};

/* ---- devices ------------------------------------------------------------------------------------------------------ */

#ifdef SF_HAVE_NCCL
sf_status sf_nccl_open(sf_comm *c); /* kernels/cuda/comm.cu */
#else
static sf_status sf_nccl_open(sf_comm *c)
{
    (void)c;
    return sf_fail(SF_UNSUPPORTED, "a model is split over several devices through NCCL, which this build lacks: install libnccl-dev "
                   "and build again");
}
#endif

sf_status sf_comm_open(const sf_world *world, sf_backend *b, sf_comm *out)
{
    *out = (sf_comm){.ops = &world_ops, .rank = world->rank, .size = world->size, .self = (void *)world};
    return b->ops->devices ? sf_nccl_open(out) : SF_OK;
}

/* ---- a team of threads -------------------------------------------------------------------------------------------- */

struct member {
    pthread_t thread;
    sf_comm all, comm, stages; /* the whole team; comm and stages of the backend, without ops where it has none */
    char device[64];
    int threads;
    sf_status (*work)(sf_backend *b, void *user);
    void *user;
    sf_status status;
    char error[2048];
};

/* Threads on one device see each other's memory there; on one each they need not. */
static sf_status join(sf_comm *c, sf_backend *b, struct sf_comm **as)
{
    int device[c->size ? c->size : 1], mine = b->device;
    if (!c->ops) return SF_OK;
    *as = c;
    c->ops->gather_host(c, &mine, sizeof mine, device);
    for (int r = 0; r < c->size && b->ops->devices; r++)
        if (r != c->rank && device[r] == mine) return SF_OK;
    return b->ops->devices ? sf_nccl_open(c) : SF_OK;
}

static void *be_member(void *self)
{
    struct member *m = self;
    sf_backend b = {0};
    m->status = sf_comm_agree(&m->all, sf_backend_open(m->device, m->threads, &b));
    if (m->status == SF_OK) m->status = sf_comm_agree(&m->all, join(&m->comm, &b, &b.comm));
    if (m->status == SF_OK) m->status = sf_comm_agree(&m->all, join(&m->stages, &b, &b.stages));
    if (m->status == SF_OK) m->status = m->work(&b, m->user);
    if (m->status != SF_OK) snprintf(m->error, sizeof m->error, "%s", sf_error());
    sf_comm_close(&m->stages);
    sf_comm_close(&m->comm);
    sf_comm_close(&m->all);
    sf_backend_close(&b);
    return NULL;
}

/* "cuda" is "cuda:1" for rank 1, where there are enough of them. */
static void name_device(const char *device, int rank, int ranks, char *out, size_t room)
{
    int there = 1;
    for (int i = 0; sf_backends[i]; i++)
        if (strcmp(sf_backends[i]->name, device) == 0 && sf_backends[i]->devices) there = sf_backends[i]->devices();
    if (there >= ranks && ranks > 1)
        snprintf(out, room, "%s:%d", device, rank);
    else
        snprintf(out, room, "%s", device);
}

/* The comms of all: of a stage's ranks, which are neighbours, and of those with the same heads. */
static sf_status open_members(int tensor, int pipeline, struct member *member)
{
    const int ranks = tensor * pipeline;
    sf_comm all[ranks], comm[ranks], stages[ranks];
    memset(comm, 0, sizeof comm), memset(stages, 0, sizeof stages);
    SF_TRY(open_threads(ranks, 1, all));
    for (int s = 0; s < pipeline && (tensor > 1 || pipeline == 1); s++) SF_TRY(open_threads(tensor, 1, comm + s * tensor));
    for (int t = 0; t < tensor && pipeline > 1; t++) SF_TRY(open_threads(pipeline, tensor, stages + t));
    for (int r = 0; r < ranks; r++) member[r].all = all[r], member[r].comm = comm[r], member[r].stages = stages[r];
    return SF_OK;
}

sf_status sf_comm_team(int tensor, int pipeline, const char *device, int threads, sf_status (*work)(sf_backend *b, void *user), void *user)
{
    const int ranks = tensor * pipeline;
    struct member member[ranks];
    memset(member, 0, sizeof member);
    SF_TRY(open_members(tensor, pipeline, member));
    for (int r = 0; r < ranks; r++) {
        member[r].threads = threads, member[r].work = work, member[r].user = user;
        name_device(device, r, ranks, member[r].device, sizeof member[r].device);
        if (pthread_create(&member[r].thread, NULL, be_member, &member[r]) != 0) abort(); /* the others would wait for ever */
    }
    for (int r = 0; r < ranks; r++) pthread_join(member[r].thread, NULL);
    for (int r = 0; r < ranks; r++)
        if (member[r].status != SF_OK) return sf_fail(member[r].status, "rank %d: %s", r, member[r].error);
    return SF_OK;
}

static int rank_in(const sf_comm *c) { return c ? c->rank : 0; }
static int size_of(const sf_comm *c) { return c ? c->size : 1; }

int sf_comm_rank(const sf_backend *b) { return rank_in(b->stages) * size_of(b->comm) + rank_in(b->comm); }
int sf_comm_size(const sf_backend *b) { return size_of(b->stages) * size_of(b->comm); }

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

/* Each stage, then from stage to stage. */
sf_status sf_comm_agree_all(const sf_backend *b, sf_status status) { return sf_comm_agree(b->stages, sf_comm_agree(b->comm, status)); }

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
