/* The comm table: what the ranks of a team, which split one model, say to each other. Like the backend's, one struct of
 * function pointers with several fillings: threads of this process (tests, `check`, benchmarks), processes of an MPI job, and, on
 * GPUs of theirs, NCCL (kernels/cuda/comm.cu).
 *
 * A model is split in two ways, which go together: each layer by heads and MLP (tensor), and the layers (pipeline). A rank then
 * stands in two rows, with a comm for each:
 *
 *     backend.comm     ranks 0 1     of the first stage       backend.stages   0   1     those that have the same heads,
 *                            2 3     of the second                             2   3     from stage to stage
 *
 * For heads one op is enough: everyone gets what everyone has, in the order of ranks. Sums are then made by each rank for itself,
 * in that order: so every rank has the same bits, and they do not depend on how many rows travel together, which no all-reduce
 * promises. What it costs beyond one is (R - 1) / 2 times the bytes, for R ranks: little, within a node. Stages send to each
 * other besides.
 *
 * Every rank of a comm calls every function here at the same point, as any of them waits for all (but send and receive, for
 * which one waits for the other). Whether to go on is therefore agreed upon (sf_comm_agree()) before each exchange that an error
 * of one rank alone could keep it from. */
#ifndef SF_COMM_H
#define SF_COMM_H

#include "base/world.h"
#include "kernels/backend.h"

typedef struct sf_comm sf_comm;

typedef struct sf_comm_ops {
    const char *name;
    /* to [ranks, bytes] = everyone's `from` [bytes]: backend memory, queued as the backend's ops are. */
    sf_status (*gather)(sf_comm *c, sf_backend *b, const void *from, size_t bytes, void *to);
    /* The same of host memory; waits. */
    void (*gather_host)(sf_comm *c, const void *from, size_t bytes, void *to);
    /* `bytes` of backend memory to another rank, which receives them; queued likewise, one after the other. */
    sf_status (*send)(sf_comm *c, sf_backend *b, const void *from, size_t bytes, int to);
    sf_status (*receive)(sf_comm *c, sf_backend *b, void *to, size_t bytes, int from);
    /* On the host alone, beside those: one rank tells another that something is done, which waits for as many tellings. */
    void (*signal)(sf_comm *c, int to);
    void (*await)(sf_comm *c, int from);
    void (*abort)(sf_comm *c); /* ends all ranks at once, as one cannot go on and the others would wait for it */
    void (*close)(sf_comm *c);
} sf_comm_ops;

struct sf_comm {
    const sf_comm_ops *ops;
    int rank, size;
    void *self;
};

/* The processes of a world, each with a backend of `b`'s kind: NCCL where it has devices, else MPI. Collective. */
sf_status sf_comm_open(const sf_world *world, sf_backend *b, sf_comm *out);
/* Does work() on tensor × pipeline threads of this process, each with a backend of its own that has the comms (that of heads also
 * alone, where there is no pipeline): of a kind with devices ("cuda"), one to a device and NCCL between them where there are
 * enough, else all on the first. Error: that of the lowest rank that failed, after its number. */
sf_status sf_comm_team(int tensor, int pipeline, const char *device, int threads, sf_status (*work)(sf_backend *b, void *user), void *user);
/* This rank among all of a team that splits one model, stage after stage; how many they are. */
int sf_comm_rank(const sf_backend *b);
int sf_comm_size(const sf_backend *b);
/* Accepts a zeroed one. */
void sf_comm_close(sf_comm *c);

/* What follows is of a team of one, too, where c is NULL. */

/* SF_OK where all bring it, else everywhere the status and the message of the lowest rank that failed. */
sf_status sf_comm_agree(sf_comm *c, sf_status status);
/* Likewise over all ranks that split a model with this one. */
sf_status sf_comm_agree_all(const sf_backend *b, sf_status status);
/* Sums n numbers over the ranks, in place; host memory. */
void sf_comm_sum(sf_comm *c, uint64_t *x, int n);
/* Rank `from`'s bytes, to all; host memory. */
sf_status sf_comm_tell(sf_comm *c, int from, void *data, size_t bytes);

/* Rows of n ranks, every step-th from `first` on, side by side: out [rows, n * width], activation dtype. x: this rank's
 * [rows, width]. The copies are small: on a device, for few rows. */
sf_status sf_comm_rows(sf_comm *c, sf_backend *b, const void *x, int first, int step, int n, int64_t rows, int64_t width,
                       void *out);

#endif
