/* What one process of a run has in hand, and what it knows of the others. */
#ifndef SF_WORK_H
#define SF_WORK_H

#include "base/world.h"
#include "harness/engine/engine.h"
#include "harness/run/dispatch.h"
#include "harness/run/judge.h"
#include "harness/run/progress.h"
#include "harness/run/ranks.h"
#include "harness/run/spread.h"
#include "harness/run/study.h"
#include "kernels/comm.h"

/* What a process of plug-ins' cells has in hand: whom its death is put down to. */
struct at_hand {
    int cell;   /* position in the plan: the only one at hand; -1: several were */
    bool whole; /* with all that stand together with it: their sample is being made */
    int sample;
};

/* A process, and the samples that it has at hand: room is made once, for the widest group of cells. */
struct work {
    const sf_study *study;
    sf_backend backend;
    sf_engine *engine;
    sf_store *store;
    sf_progress progress;
    sf_devices devices;                       /* of the run on this machine */
    sf_world world;                           /* processes that were started together, maybe on several … */
    sf_world team, leaders;                   /* … those that split a model with this one; the first of each such team */
    sf_world heads, stages;                   /* of the team: those that have the same layers; that have the same heads */
    sf_comm heads_comm, stages_comm;          /* what is said among either */
    int worker, workers;                      /* this process among all that take samples */
    bool plugins;                             /* this pass runs the cells of plug-ins, in a process apart; else all others */
    struct at_hand *at_hand;                  /* shared with the process that waits for this one; NULL: none does */
    bool ran_plugins;                         /* in this run there were some to run */
    bool alone;                               /* the samples at hand run one lane at a time, to find who fails */
    sf_dispatch dispatch;                     /* what is left, of rank 0's and forked workers */
    sf_shared *shared;                        /* how far all workers are with it */
    uint64_t first_part;                      /* number of the first that these processes write */
    sf_ranks *ranks;                          /* NULL: all workers are of this machine */
    double taken_work, done_before;           /* of the samples at hand, and its share done by earlier engine runs */
    int lanes_now;                            /* in the engine run at hand */
    size_t memory_limit, memory_held;         /* bytes for caches and activations; what the engine may hold of them */
    int shard, shards;                        /* as in sf_run_options */
    bool verbose;                             /* too */
    int cells_done;                           /* of this worker, in groups that it has left */

    sf_taken *taken;                          /* [room] */
    int takings;
    const sf_cell **pending;                  /* [room] cells of the group that lack the lane's sample */
    sf_lane *lane;                            /* [room] … */
    sf_picture (*picture)[SF_PHASES];
    sf_profile (*along)[SF_PHASES];
    int picture_layer, picture_head;          /* of the model at hand; layer -1: no pictures */
    void *(*params)[SF_PHASES];
    double *kept;
    sf_job *job;
    sf_record *record;
    sf_cell_info *done_info;                  /* of a sample's lanes that did not fail, as they are stored */
    sf_record *done_record;
    sf_answered *answered;                    /* nothing where the lane failed */
    double *sum;                              /* [cells of the group] strict scores of the samples run so far */
    int *samples;                             /* [cells of the group] how many */
    int lanes, room;
    int model;                                /* the engine's; -1: none */
};

#endif
