/* The comm table on GPUs: NCCL, one rank a GPU. What ranks say to each other on the host goes the way of their processes
 * (base/world.h), which also takes NCCL's name of the team around. A gather is queued on the backend's stream, between the ops
 * before and after it, and nothing waits for it on the host. */
#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/comm.h"
sf_status sf_nccl_open(const sf_world *world, sf_backend *b, sf_comm *out);
}
#include <nccl.h>
#include <stdlib.h>

struct team {
    ncclComm_t nccl;
    const sf_world *world;
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
    sf_world_gather(((team *)c->self)->world, from, bytes, to);
}

static void abort_team(sf_comm *c)
{
    sf_world_abort(((team *)c->self)->world);
}

static void close_team(sf_comm *c)
{
    team *t = (team *)c->self;
    if (t->nccl) ncclCommDestroy(t->nccl);
    free(t);
}

static const sf_comm_ops nccl_ops = {"nccl", gather, gather_host, abort_team, close_team};

sf_status sf_nccl_open(const sf_world *world, sf_backend *b, sf_comm *out)
{
    (void)b; /* its device is the one that this thread is on */
    team *t = (team *)calloc(1, sizeof *t);
    struct {
        ncclUniqueId id;
        int made;
    } name = {};
    sf_status status = t ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a team");
    if (status == SF_OK && world->rank == 0) status = check(ncclGetUniqueId(&name.id), "unique id");
    name.made = status == SF_OK;
    sf_world_tell(world, &name, sizeof name);
    if (status == SF_OK && !name.made) status = sf_fail(SF_INTERNAL, "NCCL: rank 0 has no name for the team");
    status = sf_world_agree(world, status);
    if (status == SF_OK) status = sf_world_agree(world, check(ncclCommInitRank(&t->nccl, world->size, name.id, world->rank), "init"));
    if (status != SF_OK) {
        free(t);
        return status;
    }
    t->world = world;
    *out = sf_comm{&nccl_ops, world->rank, world->size, t};
    return SF_OK;
}
