/* The comm table on GPUs: NCCL, one rank a GPU. What ranks say to each other on the host goes as it went before, between
 * processes or threads, which also takes NCCL's name of the team around. Gather, send and receive are queued on the backend's
 * stream, between the ops before and after them, and nothing waits for them on the host, but for a receive, until the sender
 * has queued its part. */
#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/comm.h"
sf_status sf_nccl_open(sf_comm *c);
}
#include <nccl.h>
#include <stdlib.h>

struct team {
    ncclComm_t nccl;
    sf_comm host; /* what it went by before */
};

static sf_status check(ncclResult_t result, const char *call)
{
    if (result == ncclSuccess) return SF_OK;
    return sf_fail(SF_INTERNAL, "NCCL: %s: %s (NCCL_DEBUG=INFO says more)", call, ncclGetErrorString(result));
}

static sf_status gather(sf_comm *c, sf_backend *b, const void *from, size_t bytes, void *to)
{
    sf_cuda *cuda = sf_cuda_of(b);
    cuda->awaited = true;
    return check(ncclAllGather(from, to, bytes, ncclChar, ((team *)c->self)->nccl, cuda->stream), "all-gather");
}

static void gather_host(sf_comm *c, const void *from, size_t bytes, void *to)
{
    sf_comm *host = &((team *)c->self)->host;
    host->ops->gather_host(host, from, bytes, to);
}

static void signal_host(sf_comm *c, int to)
{
    sf_comm *host = &((team *)c->self)->host;
    host->ops->signal(host, to);
}

static void await_host(sf_comm *c, int from)
{
    sf_comm *host = &((team *)c->self)->host;
    host->ops->await(host, from);
}

static sf_status send(sf_comm *c, sf_backend *b, const void *from, size_t bytes, int to)
{
    sf_cuda *cuda = sf_cuda_of(b);
    cuda->awaited = true;
    sf_status status = check(ncclSend(from, bytes, ncclChar, to, ((team *)c->self)->nccl, cuda->stream), "send");
    signal_host(c, to);
    return status;
}

/* What is queued waits on the device for the sender, whose kernels another thread of this process may still have to launch;
 * CUDA keeps one thread from that while another waits for a device to be idle, as it does when a kernel is loaded at its first
 * launch or memory is freed. So nothing else is asked of CUDA here before the sender has queued its part. */
static sf_status receive(sf_comm *c, sf_backend *b, void *to, size_t bytes, int from)
{
    sf_cuda *cuda = sf_cuda_of(b);
    cuda->awaited = true;
    sf_status status = check(ncclRecv(to, bytes, ncclChar, from, ((team *)c->self)->nccl, cuda->stream), "receive");
    await_host(c, from);
    return status;
}

static void abort_team(sf_comm *c)
{
    sf_comm *host = &((team *)c->self)->host;
    host->ops->abort(host);
}

static void close_team(sf_comm *c)
{
    team *t = (team *)c->self;
    if (t->nccl) ncclCommDestroy(t->nccl);
    sf_comm_close(&t->host);
    free(t);
}

static const sf_comm_ops nccl_ops = {"nccl", gather, gather_host, send, receive, signal_host, await_host, abort_team, close_team};

/* The device is the one that this thread is on. Error: *c goes on as it was. */
sf_status sf_nccl_open(sf_comm *c)
{
    team *t = (team *)calloc(1, sizeof *t);
    ncclUniqueId name = {};
    sf_status status = t ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a team");
    if (status == SF_OK && c->rank == 0) status = check(ncclGetUniqueId(&name), "unique id");
    status = sf_comm_agree(c, status);
    if (status == SF_OK) status = sf_comm_agree(c, sf_comm_tell(c, 0, &name, sizeof name));
    if (status == SF_OK) status = sf_comm_agree(c, check(ncclCommInitRank(&t->nccl, c->size, name, c->rank), "init"));
    if (status != SF_OK) {
        free(t);
        return status;
    }
    t->host = *c;
    c->ops = &nccl_ops;
    c->self = t;
    return SF_OK;
}
