/* Negative log-likelihood of a text by position, at true distances and in dual chunks, a line for each stretch of positions.
 *
 *     build/tests/tools/nll MODEL TEXT TOKENS STRETCH [CHUNK CAP [DEVICE]]
 *
 * DEVICE: a third column, dual chunks there; the others are the cpu's. CHUNK and CAP 0: of the trained positions.
 *
 * The first TOKENS of the text are read in one prefill: TOKENS · vocabulary logits in fp32 lie in memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/engine/engine.h"
#include "harness/model/tokenizer.h"

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != SF_OK) {                                                                                         \
            fprintf(stderr, "nll: %s\n", sf_error());                                                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Of each token, from the logits before it; nll[0] is 0. */
static void likelihoods(const char *device, sf_model *m, const int32_t *id, int n, float *logits, double *nll)
{
    sf_backend b;
    sf_engine *engine;
    MUST(sf_backend_open(device, 0, &b));
    MUST(sf_engine_open(&b, m, n, &engine));
    MUST(sf_engine_logits(engine, id, n, logits));
    for (int i = 1; i < n; i++) {
        const float *x = logits + (int64_t)(i - 1) * m->config.vocab;
        double most = x[0], sum = 0;
        for (int v = 1; v < m->config.vocab; v++) most = fmax(most, x[v]);
        for (int v = 0; v < m->config.vocab; v++) sum += exp(x[v] - most);
        nll[i] = most + log(sum) - x[id[i]];
    }
    sf_engine_close(engine);
    sf_backend_close(&b);
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 7 && argc != 8) return fprintf(stderr, "usage: nll MODEL TEXT TOKENS STRETCH [CHUNK CAP [DEVICE]]\n"), 2;
    const char *device[] = {"cpu", "cpu", argc > 7 ? argv[7] : NULL};
    int columns = argc > 7 ? 3 : 2;
    int most = atoi(argv[3]), stretch = atoi(argv[4]), n;
    sf_reach asked = {0};
    if (argc > 5) asked = (sf_reach){atoi(argv[5]), atoi(argv[6])};
    static char text[1 << 24];
    FILE *f = fopen(argv[2], "r");
    size_t bytes = f ? fread(text, 1, sizeof text, f) : 0;
    if (f) fclose(f);
    int32_t *id;
    sf_model *m[3];
    for (int i = 0; i < columns; i++) MUST(sf_model_open(argv[1], &m[i]));
    int trained = m[0]->config.max_position;
    m[0]->config.max_position = 0; /* on, whatever it was trained at */
    for (int i = 1; i < columns; i++) MUST(sf_model_dual_chunks(m[i], asked));
    MUST(sf_encode(m[0]->tokenizer, text, bytes, false, &id, &n));
    if (n < most || most < 2 || stretch < 1) return fprintf(stderr, "nll: %d tokens of %d in stretches of %d\n", most, n, stretch), 2;
    float *logits = malloc((size_t)most * (size_t)m[0]->config.vocab * sizeof *logits);
    double *nll[3], apart = 0, off = 0;
    for (int i = 0; i < 3; i++) nll[i] = calloc((size_t)most, sizeof(double));
    if (!logits || !nll[0] || !nll[1] || !nll[2]) return fprintf(stderr, "nll: no memory\n"), 1;
    for (int i = 0; i < columns; i++) likelihoods(device[i], m[i], id, most, logits, nll[i]);
    printf("trained at %d positions; chunks of %d, cap %d\npositions          true distances  dual chunks  %s\n", trained,
           m[1]->config.reach.chunk, m[1]->config.reach.cap, columns > 2 ? device[2] : "");
    for (int from = 0; from < most; from += stretch) {
        int end = from + stretch < most ? from + stretch : most, first = from ? from : 1;
        double sum[3] = {0};
        for (int i = 0; i < columns; i++)
            for (int t = first; t < end; t++) sum[i] += nll[i][t] / (end - first);
        for (int t = first; t < end && t < trained; t++) apart = fmax(apart, fabs(nll[0][t] - nll[1][t]));
        for (int t = first; t < end && columns > 2; t++) off = fmax(off, fabs(nll[2][t] - nll[1][t]));
        printf(columns > 2 ? "%7d to %7d %14.4f %14.4f %14.4f\n" : "%7d to %7d %14.4f %14.4f\n", from, end - 1, sum[0], sum[1], sum[2]);
    }
    printf("largest difference within the trained positions: %.1e\n", apart);
    if (columns > 2) printf("largest difference of a token's on %s: %.1e\n", device[2], off);
    return 0;
}
