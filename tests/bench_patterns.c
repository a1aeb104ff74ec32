/* Speed of what a pattern holds beside lists and windows: bands, parts that are joined, weights of listed keys, distances.
 *
 *   bench_patterns [DEVICE [PEERS [TOKENS [HEADS [KV_HEADS [THREADS]]]]]]      without: cuda, none, 131072, 32, 8, all
 *   bench_patterns cpu - 16384 8 2 4
 *
 * PEERS holds lines "cudnn HEADS KV_HEADS DIM TOKENS milliseconds" (tests/bench_cuda_peers.py). "of ideal": the speed-up over
 * dense attention, cuDNN's of the same shape or else this backend's own of the same run, times the density that was
 * executed. Medians of 5 after 1, wall-clock; of 1 thread: its processor's time, which what else runs on a machine moves less.
 * Rows of every output are held against decode, which shares no code with it: the largest ‖Δ‖ / ‖decode‖ is printed, and more
 * than 1e-2 fails the run. */
#include "tests/bench_scene.h"

enum { DIM = 128 }; /* of lists */

static double whole; /* milliseconds of dense attention: cuDNN's where it was timed, else this backend's */

/* A pattern of bands, one pair a query head; its time and its share of the ideal. */
static double bands(sf_attention *a, void *out, const char *what, const sf_pattern *p)
{
    uint64_t pairs;
    MUST(b.ops->count_pairs(&b, a, p, &pairs));
    double ms, error = 0, N = a->keys, density = (double)pairs / (.5 * N * (N + 1) * a->heads),
               peer_ms = whole;
    TIME(ms, 1, b.ops->prefill(&b, a, p, out));
    for (int row = a->queries - 1; row > 0; row /= 3) error = fmax(error, row_error(a, row, p, -1, out));
    printf("%-28s %2d/%d dim %3d %6d density %.3f %8.3f ms  %5.2f x dense  %3.0f %% of ideal  error %.1e\n", what, a->heads,
           a->kv_heads, a->head_dim, a->keys, density, ms, peer_ms / ms, 100 * density * peer_ms / ms, error);
    fflush(stdout);
    return ms;
}

/* Bands at density .10: a window; sinks and a window that grows with the head; a band away from the diagonal. Then two parts
 * that are joined: the window, and as few keys as LM-Infinite has; and at other distances. */
static void all_bands(sf_attention *a, void *out)
{
    int width = (int)(a->keys * (1 - sqrt(.9))), H = a->heads;
    sf_band window[64][SF_BANDS_A_HEAD] = {{{0}}}, growing[64][SF_BANDS_A_HEAD] = {{{0}}}, apart[64][SF_BANDS_A_HEAD] = {{{0}}},
            first[SF_BANDS_A_HEAD] = {{.sinks = 128, .apart = width}};
    float frequency[256];
    for (int h = 0; h < H; h++) {
        window[h][0] = (sf_band){.far = width, .step = 1};
        growing[h][0] = (sf_band){.sinks = 128, .far = width / 2 + width * h / (H - 1), .step = 1};
        apart[h][0] = (sf_band){.far = width / 2, .step = 1};
        apart[h][1] = (sf_band){.near = a->keys / 4, .far = a->keys / 4 + width / 2, .step = 1};
    }
    for (int d = 0; d < a->head_dim / 2; d++) frequency[d] = powf(1e6f, -2.f * (float)d / (float)a->head_dim);
    const size_t bytes = (size_t)H * sizeof *window;
    sf_pattern p = {.kind = SF_BANDS, .heads = H, .band = uploaded(window, bytes)}, q = {.kind = SF_BANDS, .heads = H},
               two[2] = {p, {.kind = SF_BANDS, .heads = 1, .band = uploaded(first, sizeof first), .empty = true}};
    sf_pattern joined = {.kind = SF_PARTS, .part = two, .parts = 2};
    a->frequency = uploaded(frequency, (size_t)a->head_dim / 2 * sizeof *frequency);
    double alone = bands(a, out, "bands, a window", &p);
    q.band = uploaded(growing, bytes);
    bands(a, out, "bands, growing, 128 sinks", &q);
    b.ops->free(&b, (void *)(uintptr_t)q.band);
    q.band = uploaded(apart, bytes);
    bands(a, out, "bands, a window and one apart", &q);
    double small, both = bands(a, out, "two parts joined", &joined);
    TIME(small, 1, b.ops->prefill(&b, a, &two[1], out));
    printf("joining costs %.3f ms, %.1f %% of the larger part (the smaller alone: %.3f ms)\n", both - alone - small,
           100 * (both - alone - small) / alone, small);
    two[1].reach = (sf_reach){1, width};
    bands(a, out, "the same at other distances", &joined);
    sf_pattern chunks = {.kind = SF_DENSE, .reach = {a->keys / 4, a->keys / 4 + a->keys / 16}};
    bands(a, out, "dense, 4 chunks' distances", &chunks);
    b.ops->free(&b, (void *)(uintptr_t)q.band), b.ops->free(&b, (void *)(uintptr_t)p.band);
    b.ops->free(&b, (void *)(uintptr_t)two[1].band), b.ops->free(&b, (void *)(uintptr_t)a->frequency);
    a->frequency = NULL;
}

/* Lists of keys with a bias each, against the same without; 1/16 of the keys in pages of 1 and of 16. */
static void biased(int keys, int heads, int kv_heads, int page)
{
    int pages = keys / page, listed = pages / 16;
    int64_t size = (int64_t)keys * kv_heads * DIM;
    sf_attention a = {.backend = &b, .layers = 1, .heads = heads, .kv_heads = kv_heads, .head_dim = DIM, .queries = 1, .keys = keys,
                      .scale = .088f, .q = noise(heads * DIM)};
    a.kv.dtype = b.activation;
    a.kv.prompt = (sf_kv_part){.k = noise(size), .v = noise(size), .capacity = keys, .n = keys};
    int32_t count[64], *index = malloc((size_t)listed * kv_heads * sizeof *index);
    float *weight = malloc((size_t)listed * kv_heads * sizeof *weight);
    for (int i = 0; i < listed * kv_heads; i++) {
        index[i] = (int)(((double)(i % listed) + (double)random32() / 4294967296.0) * pages / listed);
        weight[i] = (float)random32() / 4294967296.f;
    }
    for (int g = 0; g < kv_heads; g++) count[g] = listed;
    sf_pattern p = {.kind = SF_PAGES, .heads = kv_heads, .page = page}, with;
    p.first = (sf_lists){kv_heads, listed, uploaded(count, (size_t)kv_heads * sizeof *count), uploaded(index, (size_t)listed * kv_heads * sizeof *index)};
    with = p;
    with.bias = (sf_tensor){uploaded(weight, (size_t)listed * kv_heads * sizeof *weight), SF_F32, 2, {kv_heads, listed}};
    const sf_attention *lane = &a;
    const sf_pattern *pattern = &p, *biased_pattern = &with;
    void *out = room(sf_bytes(b.activation, heads * DIM));
    double ms, more;
    b.phase = SF_DECODE;
    TIME(ms, 20, b.ops->decode(&b, 1, &lane, &pattern, out));
    TIME(more, 20, b.ops->decode(&b, 1, &lane, &biased_pattern, out));
    printf("decode lists 1/16 of %6d keys, pages of %2d  %7.1f us, biased %7.1f us: %3.0f %% of unbiased\n", keys, page, ms * 1e3,
           more * 1e3, 100 * ms / more);
    fflush(stdout);
    b.phase = SF_PREFILL;
    b.ops->free(&b, (void *)(uintptr_t)a.q), b.ops->free(&b, a.kv.prompt.k), b.ops->free(&b, a.kv.prompt.v), b.ops->free(&b, out);
    b.ops->free(&b, p.first.count), b.ops->free(&b, p.first.index), b.ops->free(&b, with.bias.data);
    free(index), free(weight);
}

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "cuda";
    int tokens = argc > 3 ? atoi(argv[3]) : 131072, heads = argc > 4 ? atoi(argv[4]) : 32, kv_heads = argc > 5 ? atoi(argv[5]) : 8,
        threads = argc > 6 ? atoi(argv[6]) : 0;
    if (argc > 2) read_peers(argv[2]);
    if (tokens < 1 || kv_heads < 1 || heads % kv_heads || heads > 64) return printf("tokens, heads and kv heads make no shape\n"), 2;
    if (threads == 1) ticking = CLOCK_PROCESS_CPUTIME_ID;
    if (sf_backend_open(device, threads, &b) != SF_OK) return printf("%s\n", sf_error()), 1;
    b.meter = &meter;
    for (int dim = 128; dim >= 64; dim /= 2) {
        sf_attention a = scene(heads, kv_heads, dim, tokens);
        void *out = room(sf_bytes(b.activation, (int64_t)tokens * heads * dim));
        sf_pattern all = {.kind = SF_DENSE};
        whole = cudnn(heads, kv_heads, dim, tokens);
        if (isnan(whole)) TIME(whole, 1, b.ops->prefill(&b, &a, &all, out));
        printf("dense attention %s: %.3f ms\n", isnan(cudnn(heads, kv_heads, dim, tokens)) ? "of this backend" : "of cuDNN", whole);
        all_bands(&a, out);
        b.ops->free(&b, out);
        free_scene(&a);
    }
    biased(tokens, heads, kv_heads, 1);
    biased(tokens, heads, kv_heads, 16);
    sf_backend_close(&b);
    printf("%d rows out of tolerance\n", failures);
    return failures != 0;
}
