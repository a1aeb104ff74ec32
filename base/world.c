#include "base/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SF_HAVE_MPI
#include <mpi.h>
#include <time.h>
#endif

/* What starters say in the environment about the processes that they start together: Open MPI, MPICH and its kin, srun. */
static int started_with(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *text = getenv(sizes[i]);
        if (text && atoi(text) > 1) return atoi(text);
    }
    return 1;
}

#ifndef SF_HAVE_MPI

const char *sf_world_library(void) { return "none"; }

sf_status sf_world_open(sf_world *out)
{
    int size = started_with();
    *out = sf_alone;
    if (size == 1) return SF_OK;
    return sf_fail(SF_UNSUPPORTED, "started as one of %d processes, but this build has no MPI: install libopenmpi-dev (or load "
                   "the cluster's MPI module, so that mpicc is found) and build again", size);
}

void sf_world_close(sf_world *w) { (void)w; }
sf_status sf_world_agree(const sf_world *w, sf_status status) { return (void)w, status; }
void sf_world_tell(const sf_world *w, void *data, size_t bytes) { (void)w, (void)data, (void)bytes; }

void sf_world_gather(const sf_world *w, const void *from, size_t bytes, void *to) { (void)w, memcpy(to, from, bytes); }

void sf_world_abort(const sf_world *w)
{
    fprintf(stderr, "frontier: error: rank %d of %d: %s\n", w->rank, w->size, sf_error());
    abort();
}

sf_status sf_world_split(const sf_world *w, int colour, sf_world *out) { return (void)w, (void)colour, *out = sf_alone, SF_OK; }

/* There is nobody else. */
void sf_world_send(const sf_world *w, int to, const void *from, size_t bytes) { (void)w, (void)to, (void)from, (void)bytes; }
void sf_world_receive(const sf_world *w, int from, void *to, size_t bytes) { (void)w, (void)from, (void)to, (void)bytes; }

void sf_world_ask(const sf_world *w, const void *question, size_t bytes, void *answer, size_t answer_bytes)
{
    (void)w, (void)question, (void)bytes;
    memset(answer, 0, answer_bytes);
}

bool sf_world_answer(const sf_world *w, size_t (*answer)(void *user, int rank, const void *question, void *answer), void *user)
{
    return (void)w, (void)answer, (void)user, false;
}

#else

enum { QUESTION = 1, ANSWER, BYTES };
enum { PIECE = 1 << 28 }; /* counts are int */

const char *sf_world_library(void)
{
    static char name[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(name, &length);
    name[strcspn(name, ",\n")] = 0;
    return name;
}

static MPI_Comm comm_of(const sf_world *w) { return *(MPI_Comm *)w->self; }

/* Who is where, of the communicator in out->self. */
static void place(sf_world *out)
{
    MPI_Comm node;
    MPI_Comm_rank(comm_of(out), &out->rank);
    MPI_Comm_size(comm_of(out), &out->size);
    MPI_Comm_split_type(comm_of(out), MPI_COMM_TYPE_SHARED, out->rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &out->local);
    MPI_Comm_size(node, &out->locals);
    MPI_Comm_free(&node);
}

static sf_status open_mpi(int size, sf_world *out)
{
    int threads = 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &threads) != MPI_SUCCESS)
        return sf_fail(SF_UNSUPPORTED, "MPI cannot be initialised");
    out->self = malloc(sizeof(MPI_Comm));
    if (!out->self) return MPI_Finalize(), sf_fail(SF_NO_MEMORY, "no memory for MPI");
    *(MPI_Comm *)out->self = MPI_COMM_WORLD;
    place(out);
    if (out->size != size)
        return sf_fail(SF_UNSUPPORTED, "%d processes were started together, but MPI sees %d: start them with the mpirun of the MPI "
                       "that this was built with, or by srun --mpi=pmix (srun --mpi=list says what there is)", size, out->size);
    if (threads < MPI_THREAD_MULTIPLE)
        return sf_fail(SF_UNSUPPORTED, "this MPI has no MPI_THREAD_MULTIPLE, which is needed");
    return SF_OK;
}

void sf_world_abort(const sf_world *w)
{
    fprintf(stderr, "frontier: error: rank %d of %d: %s\n", w->rank, w->size, sf_error());
    MPI_Abort(comm_of(w), EXIT_FAILURE);
}

sf_status sf_world_split(const sf_world *w, int colour, sf_world *out)
{
    *out = sf_alone;
    if (!w->self) return SF_OK;
    out->self = malloc(sizeof(MPI_Comm));
    if (!out->self) return sf_fail(SF_NO_MEMORY, "no memory for a part of the processes");
    MPI_Comm_split(comm_of(w), colour, w->rank, out->self);
    place(out);
    return SF_OK;
}

sf_status sf_world_open(sf_world *out)
{
    int size = started_with();
    *out = sf_alone;
    if (size == 1) return SF_OK; /* without MPI's start, which takes longer than many a run */
    sf_status status = open_mpi(size, out);
    if (status != SF_OK) sf_world_close(out), *out = sf_alone;
    return status;
}

void sf_world_close(sf_world *w)
{
    if (!w->self) return;
    if (comm_of(w) == MPI_COMM_WORLD) MPI_Barrier(comm_of(w)), MPI_Finalize();
    else MPI_Comm_free(w->self);
    free(w->self);
    w->self = NULL;
}

sf_status sf_world_agree(const sf_world *w, sf_status status)
{
    if (!w->self) return status;
    struct { int failed, rank; } mine = {status != SF_OK, w->rank}, first;
    MPI_Allreduce(&mine, &first, 1, MPI_2INT, MPI_MAXLOC, comm_of(w)); /* of equal ones, the lowest rank */
    if (!first.failed) return SF_OK;
    struct { int status; char error[4096]; } said = {.status = status};
    snprintf(said.error, sizeof said.error, "%s", status != SF_OK ? sf_error() : "");
    MPI_Bcast(&said, sizeof said, MPI_BYTE, first.rank, comm_of(w));
    if (said.status == SF_INTERRUPTED) return sf_fail(SF_INTERRUPTED, "%s", said.error);
    return sf_fail((sf_status)said.status, "rank %d of %d: %s", first.rank, w->size, said.error);
}

void sf_world_tell(const sf_world *w, void *data, size_t bytes)
{
    if (w->self) MPI_Bcast(data, (int)bytes, MPI_BYTE, 0, comm_of(w));
}

static int piece_at(size_t at, size_t bytes) { return (int)(bytes - at < PIECE ? bytes - at : PIECE); }

void sf_world_gather(const sf_world *w, const void *from, size_t bytes, void *to)
{
    if (!w->self) memcpy(to, from, bytes);
    if (!w->self) return;
    MPI_Datatype spaced, piece;
    for (size_t at = 0; at < bytes; at += PIECE) {
        int some = piece_at(at, bytes);
        MPI_Type_contiguous(some, MPI_BYTE, &piece);
        MPI_Type_create_resized(piece, 0, (MPI_Aint)bytes, &spaced);
        MPI_Type_commit(&spaced);
        MPI_Allgather((const char *)from + at, some, MPI_BYTE, (char *)to + at, 1, spaced, comm_of(w));
        MPI_Type_free(&spaced);
        MPI_Type_free(&piece);
    }
}

/* MPI's own waiting spins. */
static void await(MPI_Request *request)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000};
    for (int done = 0; MPI_Test(request, &done, MPI_STATUS_IGNORE), !done;) nanosleep(&pause, NULL);
}

void sf_world_send(const sf_world *w, int to, const void *from, size_t bytes)
{
    MPI_Request request;
    for (size_t at = 0; at < bytes; at += PIECE) {
        MPI_Isend((const char *)from + at, piece_at(at, bytes), MPI_BYTE, to, BYTES, comm_of(w), &request);
        await(&request);
    }
}

void sf_world_receive(const sf_world *w, int from, void *to, size_t bytes)
{
    MPI_Request request;
    for (size_t at = 0; at < bytes; at += PIECE) {
        MPI_Irecv((char *)to + at, piece_at(at, bytes), MPI_BYTE, from, BYTES, comm_of(w), &request);
        await(&request);
    }
}

void sf_world_ask(const sf_world *w, const void *question, size_t bytes, void *answer, size_t answer_bytes)
{
    MPI_Request request[2];
    MPI_Irecv(answer, (int)answer_bytes, MPI_BYTE, 0, ANSWER, comm_of(w), &request[0]);
    MPI_Isend(question, (int)bytes, MPI_BYTE, 0, QUESTION, comm_of(w), &request[1]);
    await(&request[1]);
    await(&request[0]);
}

bool sf_world_answer(const sf_world *w, size_t (*answer)(void *user, int rank, const void *question, void *answer), void *user)
{
    static char question[SF_WORLD_WORDS], words[SF_WORLD_WORDS];
    MPI_Status from;
    int there = 0;
    MPI_Request request;
    if (!w->self) return false;
    MPI_Iprobe(MPI_ANY_SOURCE, QUESTION, comm_of(w), &there, &from);
    if (!there) return false;
    MPI_Recv(question, sizeof question, MPI_BYTE, from.MPI_SOURCE, QUESTION, comm_of(w), MPI_STATUS_IGNORE);
    size_t bytes = answer(user, from.MPI_SOURCE, question, words);
    MPI_Isend(words, (int)bytes, MPI_BYTE, from.MPI_SOURCE, ANSWER, comm_of(w), &request);
    await(&request);
    return true;
}

#endif
