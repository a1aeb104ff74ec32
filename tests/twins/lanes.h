/* Twin cases (tests/twins/twin.h). Lanes side by side, long prompts of pages, steps of a generation. */
#ifndef SF_TWINS_LANES_H
#define SF_TWINS_LANES_H

#include "tests/twins/estimation.h"

/* What lanes choose side by side is what each chooses alone, bit for bit, also where one of them waits; more lanes than
 * queues. Of the filling alone: what it chooses is compared with the reference elsewhere. */
static void lanes_case(twin *t, uint64_t seed, int most_keys)
{
    begin_case(t, seed);
    sf_backend *b = &t->b[1];
    b->phase = SF_DECODE;
    enum { LANES = 19, PAGE = 16 };
    static const int32_t first_row = 0;
    char what[256];
    int kv_heads = ONE_OF(t, 1, 2, 8), group = ONE_OF(t, 1, 4, 7), dim = ONE_OF(t, 64, 128, 128), asks = in_range(t, 0, LANES - 1);
    int heads = kv_heads * group, most_pages = (most_keys + PAGE - 1) / PAGE;
    snprintf(what, sizeof what, "seed %llu: lanes heads %d/%d dim %d, lane %d waits", (unsigned long long)seed, heads, kv_heads,
             dim, asks);
    sf_kv_part shared[2];
    make_part(t, kv_heads, dim, most_keys, false, PLAIN, shared);
    size_t bounds = (size_t)kv_heads * most_pages * dim * sizeof(float), scores = (size_t)kv_heads * most_pages * sizeof(float);
    float *q = randoms(t, (int64_t)heads * dim * LANES, 1.5f), *peek[2];
    size_t all_lists = (size_t)LANES * (size_t)kv_heads * (size_t)(most_pages + 1) * sizeof(int32_t);
    int32_t *lists[2], *home[2];
    sf_attention a[LANES];
    const sf_attention *lane[LANES];
    void *on_device = put_activations(t, 1, q, (int64_t)heads * dim * LANES), *out[2];
    sf_pattern p[2][LANES];
    const sf_pattern *chosen[LANES];
    float *covered[2];
    for (int i = 0; i < LANES; i++) {
        int keys = in_range(t, most_keys / 2, most_keys);
        a[i] = (sf_attention){.backend = b, .layers = 1, .heads = heads, .kv_heads = kv_heads, .head_dim = dim, .queries = 1,
                              .keys = keys, .scale = .09f, .kv = {.prompt = shared[1], .dtype = b->activation}};
        a[i].q = (char *)on_device + sf_bytes(b->activation, (int64_t)i * heads * dim);
        a[i].kv.prompt.n = keys;
        lane[i] = &a[i];
    }
    for (int apart = 0; apart < 2; apart++) {
        out[apart] = activation_room(t, 1, (int64_t)LANES * heads * dim);
        covered[apart] = room(t, 1, (size_t)LANES * (size_t)heads * sizeof(float));
        char *low = room(t, 1, bounds * LANES), *high = room(t, 1, bounds * LANES), *score = room(t, 1, scores * LANES);
        int32_t *list = lists[apart] = room(t, 1, all_lists);
        peek[apart] = NULL;
        for (int i = 0; i < LANES; i++) {
            int pages = (a[i].keys + PAGE - 1) / PAGE, k = pages / 8 + 1;
            float *l = (float *)(low + bounds * (size_t)i), *h = (float *)(high + bounds * (size_t)i),
                  *x = (float *)(score + scores * (size_t)i);
            p[apart][i] = (sf_pattern){.kind = SF_PAGES, .heads = kv_heads, .page = PAGE};
            p[apart][i].first = (sf_lists){kv_heads, k, list, list + kv_heads}; /* what it does not write stays poisoned */
            list += kv_heads * (most_pages + 1);
            if (apart && b->ops->lane) OK(t, 1, b->ops->lane(b, i));
            OK(t, 1, b->ops->page_bounds(b, &a[i], PAGE, 0, most_pages, l, h));
            OK(t, 1, b->ops->page_scores(b, &a[i], PAGE, most_pages, l, h, x));
            OK(t, 1, b->ops->fill(b, x, kv_heads, pages, pages - 1, pages, INFINITY));
            OK(t, 1, b->ops->top(b, x, kv_heads, pages, k, &p[apart][i].first));
            OK(t, 1, b->ops->check_pattern(b, &a[i], &p[apart][i], "lanes"));
            OK(t, 1, b->ops->mass(b, &a[i], &p[apart][i], 1, &first_row, covered[apart] + i * heads));
            if (i == asks) peek[apart] = get(t, 1, covered[apart] + i * heads, SF_F32, heads); /* waits for its own lane alone */
            chosen[i] = &p[apart][i];
        }
        if (b->ops->lane) OK(t, 1, b->ops->lane(b, -1));
        OK(t, 1, b->ops->decode(b, LANES, lane, chosen, out[apart]));
    }
    for (int i = 0; i < 2; i++) {
        home[i] = malloc(all_lists);
        OK(t, 1, b->ops->download(b, home[i], lists[i], all_lists));
    }
    if (memcmp(home[0], home[1], all_lists) != 0) fail_msg("%s: lists differ", what);
    free(home[0]), free(home[1]);
    void *pair[][2] = {{covered[0], covered[1]}, {out[0], out[1]}};
    for (int i = 0; i < 2; i++) {
        int64_t n = (int64_t)LANES * heads * (i ? dim : 1);
        float *x = get(t, 1, pair[i][0], i ? b->activation : SF_F32, n), *y = get(t, 1, pair[i][1], i ? b->activation : SF_F32, n);
        if (memcmp(x, y, (size_t)n * sizeof *x) != 0) fail_msg("%s: %s differ", what, i ? "outputs" : "masses");
        free(x), free(y);
    }
    if (memcmp(peek[0], peek[1], (size_t)heads * sizeof(float)) != 0) fail_msg("%s: what a lane reads of its own was not there yet", what);
    free(peek[0]), free(peek[1]), free(q);
    memset(&t->meter[1], 0, sizeof t->meter[1]);
    end_case(t, what);
}

/* Pages so long, and so many keys, that the last page's share past the end is many keys. */
static void long_pages_case(twin *t, uint64_t seed)
{
    begin_case(t, seed);
    t->b[0].phase = t->b[1].phase = SF_DECODE;
    scene c;
    int page = ONE_OF(t, 4095, 4096, 1000), keys = ONE_OF(t, 36864, 36870, 33001), pages = (keys + page - 1) / page;
    int kv_heads = 2, group = 2, dim = 64;
    sf_kv_part prompt[2];
    make_part(t, kv_heads, dim, keys, false, PLAIN, prompt);
    float *x = randoms(t, (int64_t)kv_heads * group * dim, 1.5f);
    snprintf(c.what, sizeof c.what, "seed %llu: %d pages of %d, %d keys", (unsigned long long)seed, pages, page, keys);
    int32_t count[2] = {pages, pages - 1}, *index = calloc((size_t)(2 * pages), sizeof *index);
    for (int i = 0; i < pages; i++) index[i] = i, index[pages + i] = i + (i < pages - 1); /* the second head: not the first */
    float *out[2];
    for (int s = 0; s < 2; s++) {
        c.a[s] = (sf_attention){.backend = &t->b[s], .layers = 1, .heads = kv_heads * group, .kv_heads = kv_heads,
                                .head_dim = dim, .queries = 1, .keys = keys, .scale = .125f,
                                .q = put_activations(t, s, x, (int64_t)kv_heads * group * dim),
                                .kv = {.prompt = prompt[s], .dtype = t->b[s].activation}};
        sf_pattern p = {.kind = SF_PAGES, .heads = kv_heads, .page = page};
        p.first = (sf_lists){kv_heads, pages, put(t, s, count, sizeof count), put(t, s, index, (size_t)(2 * pages) * sizeof *index)};
        const sf_attention *lane = &c.a[s];
        const sf_pattern *pattern = &p;
        void *to = activation_room(t, s, (int64_t)kv_heads * group * dim);
        OK(t, s, t->b[s].ops->decode(&t->b[s], 1, &lane, &pattern, to));
        out[s] = get_activations(t, s, to, (int64_t)kv_heads * group * dim);
    }
    agree(t, out[0], out[1], (int64_t)kv_heads * group * dim, t->tolerance, c.what);
    free(out[0]), free(out[1]), free(x), free(index);
    end_case(t, c.what);
}

/* Layers of decode steps, queued at once, give what they give when each op is waited for, and when what lies between two
 * layers' attention is played again; and count the same. Of the filling alone.
 *
 * Below 1000 keys it is a small model, of the same kernels, for racecheck, whose time goes by how often shared memory is read and written: by
 * 40 lanes over 3000 keys 25 million times a layer, 450 million in all, which took it two minutes; by 20 over 700 a tenth of that. */
static void steps_case(twin *t, uint64_t seed, int keys)
{
    begin_case(t, seed);
    sf_backend *b = &t->b[1];
    b->phase = SF_DECODE;
    enum { HEADS = 6, KV_HEADS = 2, DIM = 128, MOST = 40 };
    const bool small = keys < 1000;
    const int D = small ? 256 : 768, MLP = small ? 512 : 2048, layers = small ? 4 : 6, rows = (int[]){20, 1, 3, MOST}[seed % 4];
    char what[256];
    snprintf(what, sizeof what, "seed %llu: steps of %d rows, %d keys", (unsigned long long)seed, rows, keys);
    const int shape[][2] = {{HEADS * DIM, D}, {KV_HEADS * DIM, D}, {D, HEADS * DIM}, {MLP, D}, {D, MLP}, {D, 0}};
    enum { Q, KV, O, UP, DOWN, NORM, WEIGHTS };
    sf_tensor w[WEIGHTS];
    float *host[WEIGHTS]; /* a filling may alias it */
    for (int i = 0; i < WEIGHTS; i++) {
        host[i] = randoms(t, (int64_t)shape[i][0] * (shape[i][1] ? shape[i][1] : 1), .04f);
        sf_tensor plain = tensor(host[i], SF_F32, shape[i][0], shape[i][1]);
        OK(t, 1, b->ops->import_weight(b, &plain, &w[i]));
    }
    sf_kv_part prompt[2], tail[MOST], *part[MOST];
    make_part(t, KV_HEADS, DIM, keys, false, PLAIN, prompt);
    float *begin = randoms(t, (int64_t)rows * D, 1), cosine[DIM / 2], sine[DIM / 2], *out[3];
    sf_meter counted[3];
    int32_t position[MOST] = {0};
    for (int i = 0; i < DIM / 2; i++) cosine[i] = cosf((float)i), sine[i] = sinf((float)i);
    float *co = put(t, 1, cosine, sizeof cosine), *si = put(t, 1, sine, sizeof sine);
    int32_t *at = put(t, 1, position, sizeof position);
    sf_attention a[MOST];
    const sf_attention *lane[MOST];
    sf_pattern dense = {.kind = SF_DENSE};
    const sf_pattern *pattern[MOST];
    enum { AT_ONCE, WAITING, REPLAYED, WAYS };
    int replayed = 0;
    for (int way = 0; way < WAYS; way++) {
        memset(&t->meter[1], 0, sizeof t->meter[1]);
        float *hidden = put(t, 1, begin, (size_t)rows * D * sizeof *begin);
        void *normed = activation_room(t, 1, rows * D), *q = activation_room(t, 1, rows * HEADS * DIM);
        void *k = activation_room(t, 1, rows * KV_HEADS * DIM), *v = activation_room(t, 1, rows * KV_HEADS * DIM);
        void *to = activation_room(t, 1, rows * HEADS * DIM), *gate = activation_room(t, 1, rows * MLP), *up = activation_room(t, 1, rows * MLP);
        char *tails = activation_room(t, 1, (int64_t)2 * rows * KV_HEADS * DIM);
        uint64_t zero[MOST * HEADS] = {0}, *pairs = put(t, 1, zero, (size_t)rows * HEADS * sizeof *zero);
        for (int i = 0; i < rows; i++) {
            size_t bytes = sf_bytes(b->activation, KV_HEADS * DIM);
            tail[i] = (sf_kv_part){.k = tails + 2 * bytes * (size_t)i, .v = tails + (2 * (size_t)i + 1) * bytes, .capacity = 1};
            a[i] = (sf_attention){.backend = b, .layers = 1, .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = DIM, .queries = 1,
                                  .keys = keys + 1, .scale = .09f, .kv = {prompt[1], tail[i], b->activation}, .pairs = pairs + i * HEADS};
            a[i].kv.tail.n = 1;
            a[i].q = (char *)q + sf_bytes(b->activation, (int64_t)i * HEADS * DIM);
            part[i] = &tail[i], lane[i] = &a[i], pattern[i] = &dense;
        }
#define STEP(call)                                                                                                     \
    do {                                                                                                               \
        OK(t, 1, b->ops->call);                                                                                        \
        if (way == WAITING) OK(t, 1, b->ops->synchronize(b));                                                          \
    } while (0)
        for (int layer = 0; layer < layers; layer++) {
            STEP(rms_norm(b, hidden, SF_F32, rows, D, &w[NORM], 1, 1e-6f, normed));
            STEP(linear(b, normed, rows, &w[Q], NULL, false, q, b->activation));
            STEP(linear(b, normed, rows, &w[KV], NULL, false, k, b->activation));
            STEP(linear(b, normed, rows, &w[KV], NULL, false, v, b->activation));
            STEP(rope(b, q, rows, HEADS, DIM, DIM, at, co, si, false));
            STEP(rope(b, k, rows, KV_HEADS, DIM, DIM, at, co, si, false));
            STEP(store_kv(b, rows, part, 1, KV_HEADS, DIM, k, v));
            STEP(decode(b, rows, lane, pattern, to));
            uint64_t key[SF_STRETCH_KEY] = {seed, (uint64_t)rows, (uint64_t)(uintptr_t)hidden}; /* the layers share weights */
            bool done = false, replays = way == REPLAYED && b->ops->replay;
            if (replays) OK(t, 1, b->ops->replay(b, key, &done));
            replayed += done;
            if (done) continue;
            STEP(linear(b, to, rows, &w[O], NULL, true, hidden, SF_F32));
            STEP(rms_norm(b, hidden, SF_F32, rows, D, &w[NORM], 1, 1e-6f, normed));
            STEP(linear(b, normed, rows, &w[UP], NULL, false, gate, b->activation));
            STEP(linear(b, normed, rows, &w[UP], NULL, false, up, b->activation));
            STEP(gated(b, gate, up, rows, MLP, (sf_curve){.kind = SF_SILU}));
            STEP(linear(b, gate, rows, &w[DOWN], NULL, true, hidden, SF_F32));
            if (replays) OK(t, 1, b->ops->recorded(b));
        }
#undef STEP
        counted[way] = t->meter[1];
        out[way] = get(t, 1, hidden, SF_F32, (int64_t)rows * D);
        for (int i = 0; i < rows * D; i++)
            if (!isfinite(out[way][i])) fail_msg("%s: element %d is %g", what, i, out[way][i]);
        OK(t, 1, b->ops->download(b, zero, pairs, (size_t)rows * HEADS * sizeof *zero));
        for (int i = 0; i < rows * HEADS; i++) assert_int_equal(zero[i], (uint64_t)(layers * (keys + 1)));
    }
    assert_int_equal(replayed, b->ops->replay ? layers - 3 : 0); /* the third time it is kept */
    for (int way = WAITING; way < WAYS; way++) {
        if (memcmp(out[AT_ONCE], out[way], (size_t)rows * D * sizeof(float)) != 0)
            fail_msg("%s: %s, they differ", what, way == WAITING ? "queued at once" : "played again");
        assert_memory_equal(&counted[AT_ONCE], &counted[way], sizeof counted[way]);
    }
    for (int i = 0; i < WEIGHTS; i++) b->ops->release_weight(b, &w[i]), free(host[i]);
    free(out[0]), free(out[1]), free(out[2]), free(begin);
    memset(&t->meter[1], 0, sizeof t->meter[1]);
    end_case(t, what);
}

#endif
