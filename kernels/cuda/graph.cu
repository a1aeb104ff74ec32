/* Stretches of ops that are the same each time, kept as graphs: a decode step between the attention of one layer and the
 * queries of the next is 12 of the layer's 15 launches, and none of them knows how long a sequence is.
 *
 * A stretch runs twice as it is, which also measures it; the third time it is captured, and played from then on, counts
 * included. One that reads many weights is left as it is: the device is busy longer than the host takes to launch it, and
 * kernels of one stream follow each other closer than a graph follows them. What a graph holds are arguments, so that the
 * same arguments may have it whoever asks; weights that go take all graphs along.
 *
 * Measured on one H100, a model of 8 layers and six million weights, 1k keys: 48 steps of one dense lane 19.0 and 18.4 ms, and
 * 21.7 and 24.9 without. Beside nine lanes that choose pages no difference shows: the launches that stay are most of a step.
 *
 * Test: make test-cuda. */
#include "kernels/cuda/device.cuh"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1024, DIRECT = 2 };
static const uint64_t HEAVY = (uint64_t)64 << 20; /* bytes of weights: 20 us of reading */

struct sf_cuda_stretch {
    uint64_t key[SF_STRETCH_KEY];
    int runs; /* begun; 0: nobody's */
    bool heavy;
    cudaGraphExec_t graph;
    sf_meter counts;
};

static void add_counts(sf_meter *to, const sf_meter *more)
{
    for (int phase = 0; phase < SF_PHASES; phase++) {
        for (int work = 0; work < SF_WORKS; work++) {
            sf_count *t = &to->at[phase][work];
            const sf_count *m = &more->at[phase][work];
            t->flops += m->flops, t->weight_bytes += m->weight_bytes, t->cache_bytes += m->cache_bytes;
            t->other_bytes += m->other_bytes, t->pairs += m->pairs;
        }
    }
}

void sf_cuda_abandon(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    cudaGraph_t graph = NULL;
    if (c->recording && c->capturing && cudaStreamEndCapture(c->stream, &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
    if (c->recording) (void)cudaGetLastError();
    if (c->recording) b->meter = c->metered;
    c->recording = NULL;
    c->capturing = false;
}

void sf_cuda_forget(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    sf_cuda_abandon(b);
    if (!c->stretch) return;
    cudaStreamSynchronize(c->queue[0].stream);
    for (int i = 0; i < SLOTS; i++)
        if (c->stretch[i].graph) cudaGraphExecDestroy(c->stretch[i].graph);
    (void)cudaGetLastError();
    free(c->stretch);
    c->stretch = NULL;
    c->stretches = 0;
}

/* The key's place, or a free one that is now its own; NULL: no memory for any. */
static sf_cuda_stretch *find(sf_backend *b, const uint64_t *key)
{
    sf_cuda *c = sf_cuda_of(b);
    if (c->stretches == SLOTS / 2) sf_cuda_forget(b);
    if (!c->stretch) c->stretch = (sf_cuda_stretch *)calloc(SLOTS, sizeof *c->stretch);
    if (!c->stretch) return NULL;
    uint64_t hash = 0;
    for (int i = 0; i < SF_STRETCH_KEY; i++) hash = (hash ^ key[i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 32;
    for (uint64_t at = hash % SLOTS;; at = (at + 1) % SLOTS) {
        sf_cuda_stretch *s = c->stretch + at;
        if (s->runs && memcmp(s->key, key, sizeof s->key) != 0) continue;
        if (!s->runs) c->stretches++;
        memcpy(s->key, key, sizeof s->key);
        return s;
    }
}

sf_status sf_cuda_replay(sf_backend *b, const uint64_t *key, bool *done)
{
    sf_cuda *c = sf_cuda_of(b);
    *done = false;
    sf_cuda_abandon(b);
    sf_cuda_stretch *s = c->at == 0 ? find(b, key) : NULL;
    if (!s || s->heavy) return SF_OK;
    if (s->graph) {
        CUDA_TRY(cudaGraphLaunch(s->graph, c->stream));
        c->awaited = true;
        add_counts(b->meter, &s->counts);
        *done = true;
        return SF_OK;
    }
    if (++s->runs > DIRECT) {
        CUDA_TRY(cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal));
        c->capturing = c->awaited = true;
    }
    c->recording = s;
    c->metered = b->meter;
    memset(&s->counts, 0, sizeof s->counts);
    b->meter = &s->counts;
    return SF_OK;
}

sf_status sf_cuda_recorded(sf_backend *b)
{
    sf_cuda *c = sf_cuda_of(b);
    sf_cuda_stretch *s = c->recording;
    if (!s) return SF_OK;
    bool captured = c->capturing;
    b->meter = c->metered;
    c->recording = NULL;
    c->capturing = false;
    add_counts(b->meter, &s->counts);
    if (!captured) {
        uint64_t weights = 0;
        for (int work = 0; work < SF_WORKS; work++) weights += s->counts.at[b->phase][work].weight_bytes;
        s->heavy = weights > HEAVY;
        return SF_OK;
    }
    cudaGraph_t graph;
    CUDA_TRY(cudaStreamEndCapture(c->stream, &graph));
    cudaError_t error = cudaGraphInstantiate(&s->graph, graph, 0);
    cudaGraphDestroy(graph);
    if (error != cudaSuccess) s->graph = NULL;
    CUDA_TRY(error);
    CUDA_TRY(cudaGraphLaunch(s->graph, c->stream));
    c->awaited = true;
    return SF_OK;
}
