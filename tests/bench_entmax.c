/* What α-entmax costs beside softmax, by how few keys weigh.
 *
 *   bench_entmax [DEVICE [ALPHA [HEADS [KV_HEADS [DIM [TOKENS ...]]]]]]      without: cuda, 1.5, 32, 8, 128, 4096 16384
 *
 * Queries and keys are noise, whose logits are drawn apart by a scale: the farther, the fewer keys weigh. Of each spread (the standard
 * deviation of a logit): the share of the pairs that weigh, and prefill and decode in milliseconds and over softmax's of the same shape,
 * which no spread changes. "given back": what of the products with values, half of a softmax's, an executor that took no time
 * for anything but products could leave out. Medians of 5 after 1, wall-clock. Rows of a prefill are held against decode: the largest
 * ‖Δ‖ / ‖decode‖ is printed, and more than 1e-2 fails the run. */
#include "tests/bench_scene.h"

static double softmax[SF_PHASES];

static void time_both(sf_attention *a, void *out, double ms[SF_PHASES])
{
    static const sf_pattern dense = {.kind = SF_DENSE};
    sf_attention one = *a;
    const sf_attention *lane = &one;
    const sf_pattern *pattern = &dense;
    const size_t row = sf_bytes(b.activation, a->heads * a->head_dim);
    one.queries = 1, one.q = (const char *)a->q + (size_t)(a->queries - 1) * row;
    b.phase = SF_PREFILL;
    TIME(ms[SF_PREFILL], 1, b.ops->prefill(&b, a, &dense, out));
    b.phase = SF_DECODE;
    TIME(ms[SF_DECODE], 10, b.ops->decode(&b, 1, &lane, &pattern, out));
    b.phase = SF_PREFILL;
}

static void spread_of(const sf_attention *scene, float alpha, float spread, void *out)
{
    static const sf_pattern dense = {.kind = SF_DENSE};
    const size_t bytes = (size_t)scene->heads * sizeof(uint64_t);
    sf_attention a = *scene;
    uint64_t weighed[64];
    double ms[SF_PHASES], error = 0, all = 0, N = a.keys;
    a.scale *= spread, a.alpha = alpha;
    time_both(&a, out, ms);
    a.weighed = room(bytes);
    MUST(b.ops->zero(&b, a.weighed, bytes));
    MUST(b.ops->prefill(&b, &a, &dense, out));
    MUST(b.ops->download(&b, weighed, a.weighed, bytes));
    b.ops->free(&b, a.weighed);
    a.weighed = NULL;
    for (int h = 0; h < a.heads; h++) all += (double)weighed[h];
    const double density = all / (.5 * N * (N + 1) * a.heads);
    for (int row = a.queries - 1; row > 0; row /= 3) error = fmax(error, row_error(&a, row, NULL, -1, out));
    printf("%6d %d/%d dim %3d  %g-entmax, spread %4.1f  weigh %.5f, %7.1f a row  prefill %9.3f ms %5.2f x softmax's  decode %7.1f us %5.2f x  given back %.2f  error %.1e\n",
           a.keys, a.heads, a.kv_heads, a.head_dim, (double)alpha, (double)spread, density, all / (N * a.heads), ms[SF_PREFILL],
           ms[SF_PREFILL] / softmax[SF_PREFILL], 1e3 * ms[SF_DECODE], ms[SF_DECODE] / softmax[SF_DECODE], .5 * (1 - density), error);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const float spreads[] = {.25f, 1, 2, 4, 8};
    static char *const usual[] = {"4096", "16384"};
    const char *device = argc > 1 ? argv[1] : "cuda";
    const float alpha = argc > 2 ? (float)atof(argv[2]) : 1.5f;
    const int heads = argc > 3 ? atoi(argv[3]) : 32, kv_heads = argc > 4 ? atoi(argv[4]) : 8, dim = argc > 5 ? atoi(argv[5]) : 128;
    if (kv_heads < 1 || heads % kv_heads || heads > 64 || !(alpha > 1 && alpha <= 2)) return printf("no such shape, or no such alpha\n"), 2;
    if (sf_backend_open(device, 0, &b) != SF_OK) return printf("%s\n", sf_error()), 1;
    b.meter = &meter;
    for (int i = 0; i < (argc > 6 ? argc - 6 : 2); i++) {
        const int tokens = atoi(argc > 6 ? argv[6 + i] : usual[i]);
        sf_attention a = scene(heads, kv_heads, dim, tokens);
        void *out = room(sf_bytes(b.activation, (int64_t)tokens * heads * dim));
        time_both(&a, out, softmax);
        printf("%6d %d/%d dim %3d  softmax: prefill %.3f ms, decode %.1f us\n", tokens, heads, kv_heads, dim, softmax[SF_PREFILL], 1e3 * softmax[SF_DECODE]);
        for (size_t s = 0; s < sizeof spreads / sizeof *spreads; s++) spread_of(&a, alpha, spreads[s], out);
        b.ops->free(&b, out);
        free_scene(&a);
    }
    sf_backend_close(&b);
    printf("%d rows out of tolerance\n", failures);
    return failures != 0;
}
