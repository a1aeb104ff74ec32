/* The processes that mpirun or srun started together, and what they say to each other. Without MPI in the build, or started
 * alone, a process is a world of its own: rank 0 of 1, and everything below is a no-op. */
#ifndef SF_WORLD_H
#define SF_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct sf_world {
    int rank, size;    /* this process among all */
    int local, locals; /* and among those on its node */
    void *self;        /* the communicator; NULL: alone */
} sf_world;

static const sf_world sf_alone = {0, 1, 0, 1, NULL};

/* Joins the processes that this one was started with. Error: it is one of several, but this build has no MPI, or what
 * started them speaks another one. */
sf_status sf_world_open(sf_world *out);
/* Waits for the others. Accepts a world of one and a zeroed one. */
void sf_world_close(sf_world *w);

/* The MPI of this build, "Open MPI v4.1.4"; "none". In a buffer of its own. */
const char *sf_world_library(void);

/* ---- collective: every process of the world calls it, and waits for the others --------------------------------------- */

/* SF_OK where all bring it, else everywhere the status and the message of the lowest rank that failed, after its number. */
sf_status sf_world_agree(const sf_world *w, sf_status status);
/* Rank 0's bytes, to all. */
void sf_world_tell(const sf_world *w, void *data, size_t bytes);

/* to [size, bytes] = everyone's `from` [bytes], in the order of ranks. */
void sf_world_gather(const sf_world *w, const void *from, size_t bytes, void *to);
/* Ends all processes at once, after printing this thread's message: for an error after which the others would wait for ever. */
void sf_world_abort(const sf_world *w);
/* A world of those that bring the same colour, in the order of their ranks; closed before the one it is of. */
sf_status sf_world_split(const sf_world *w, int colour, sf_world *out);

/* ---- from one rank to another, in the order in which they are sent; either waits until the bytes have come over --------- */

void sf_world_send(const sf_world *w, int to, const void *from, size_t bytes);
void sf_world_receive(const sf_world *w, int from, void *to, size_t bytes);

/* ---- question and answer: any rank but 0 asks, rank 0 answers. At most SF_WORLD_WORDS bytes each ----------------------- */

enum { SF_WORLD_WORDS = 8192 };

/* Waits for the answer, without keeping a processor busy. */
void sf_world_ask(const sf_world *w, const void *question, size_t bytes, void *answer, size_t answer_bytes);

/* Answers one question if there is one: answer() gets it, and fills `answer` [SF_WORLD_WORDS], returning its bytes. */
bool sf_world_answer(const sf_world *w, size_t (*answer)(void *user, int rank, const void *question, void *answer), void *user);

#endif
