/* Trained weights that a method owns: read from the file that its parameter names, and held against what it says it needs. */
#include "tests/engine_world.h"
#include "tests/testing.h"

#include "base/splitmix.h"
#include "harness/model/side.h"
#include "methods/plugin.h"

struct params { const char *weights; };

static const sf_param TABLE[] = {
    {.name = "weights", .type = SF_STRING, .offset = offsetof(struct params, weights), .file = true, .doc = "windows"}, {0}};
static const sf_side_weight WEIGHTS[] = {{.name = "layers.%d.window", .dim = {SF_SIDE_KV_HEADS}}, {.name = "gate.%d.w", .dim = {SF_SIDE_HEADS, SF_SIDE_HEAD_DIM, 3}}, {0}};

/* The windows, of keys; the other weight must be what the file has: 1, 2, 3 … */
static sf_status decode(sf_attention *a, const void *params, sf_state *state, sf_pattern *out)
{
    (void)params, (void)state;
    float keys[HEADS], gate[HEADS * 8 * 3];
    sf_read(a, sf_weight(a, "layers.%d.window"), keys);
    sf_read(a, sf_weight(a, "gate.%d.w"), gate);
    for (int i = 0; a->status == SF_OK && i < HEADS * 8 * 3; i++)
        if (gate[i] != (float)(i + 1)) return sf_fail(SF_INTERNAL, "element %d of the gate is %g", i, (double)gate[i]);
    return a->status == SF_OK ? sf_window(a, out, 0, (int)keys[0] + a->layer) : a->status;
}

static sf_method method = {.abi = SF_METHOD_ABI, .name = "trained", .summary = "a window that was learned", .params = TABLE,
                           .params_size = sizeof(struct params), .weights = WEIGHTS, .decode = decode};

/* For LAYERS layers, 2 kv heads; `leave`: layers that are left out, a bit each; wide: elements of each window. */
static void write_weights(const char *path, float window, unsigned leave, int wide)
{
    static char header[4096];
    static float data[LAYERS * (HEADS * 8 * 3 + 4)];
    int n = 0, used = snprintf(header, sizeof header, "{");
    for (int l = 0; l < LAYERS; l++) {
        int begin = n;
        if (leave >> l & 1) continue;
        for (int i = 0; i < wide; i++) data[n++] = window;
        used += snprintf(header + used, sizeof header - (size_t)used, "%s\"layers.%d.window\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%d,%d]}",
                         used > 1 ? "," : "", l, wide, begin * 4, n * 4);
        begin = n;
        for (int i = 0; i < HEADS * 8 * 3; i++) data[n++] = (float)(i + 1);
        used += snprintf(header + used, sizeof header - (size_t)used, ",\"gate.%d.w\":{\"dtype\":\"F32\",\"shape\":[%d,8,3],\"data_offsets\":[%d,%d]}", l,
                         HEADS, begin * 4, n * 4);
    }
    used += snprintf(header + used, sizeof header - (size_t)used, "}");
    while (used % 8) header[used++] = ' ';
    uint64_t length = (uint64_t)used;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(&length, sizeof length, 1, f), fwrite(header, 1, (size_t)used, f), fwrite(data, sizeof *data, (size_t)n, f);
    fclose(f);
}

static void read_and_used(void **state)
{
    (void)state;
    char folder[64], path[2][96];
    assert_int_equal(folder_make(folder), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof *path, "%s/%d.safetensors", folder, i);
        write_weights(path[i], i ? 40 : 9, 0, 2);
    }
    OK(sf_method_validate(&method, "here"));
    static const char *const devices[] = {"reference", "cpu"};
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        world w;
        result r[3];
        open_world(&w, devices[d], 2, LLAMA);
        set_arms(3, (arm[]){{NULL, NULL}, {NULL, NULL}, {NULL, NULL}}, r);
        for (int i = 1; i < 3; i++) {
            r[i].lane.decode = &method;
            r[i].lane.decode_params = r[i].params[SF_DECODE];
            *(const char **)r[i].params[SF_DECODE] = path[i - 1];
        }
        run(w.engine, 100, 3, 3, r);
        for (int l = 0; l < LAYERS; l++) /* two files beside each other, each lane its own */
            for (int i = 1; i < 3; i++) {
                const int steps = r[i].lane.outputs - 1 + r[i].lane.stopped, window = (i == 2 ? 40 : 9) + l;
                const double n = steps, all = n * 100 + n * (n + 1) / 2;
                assert_float_equal((double)r[i].density[SF_DECODE][l][0], window * n / all, 1e-6);
            }
        close_world(&w);
    }
    folder_remove(folder);
}

/* Of a model of which one layer attends and two recur, weights of the one: there they are read. */
static void not_asked_of_layers_that_recur(void **state)
{
    (void)state;
    const sf_generation how = {.max_output = OUTPUT, .seed = 1};
    sf_model_config c = shape(LLAMA);
    char folder[64], path[96];
    world w;
    result r;
    assert_int_equal(folder_make(folder), 0);
    snprintf(path, sizeof path, "%s/w.safetensors", folder);
    write_weights(path, 9, 1 << 0 | 1 << 2, 2);
    c.recurs[0] = c.recurs[2] = 1;
    c.mixer = SF_GATED_DELTA, c.kernel = 4, c.delta = (sf_delta_shape){.key_heads = 2, .key_dim = 8, .value_heads = 4, .value_dim = 12};
    w.model = random_model(&c);
    open_engine(&w, "cpu", 1, MOST_TOKENS);
    set_arms(1, (arm[]){{NULL, NULL}}, &r);
    r.lane.decode = &method, r.lane.decode_params = r.params[SF_DECODE];
    *(const char **)r.params[SF_DECODE] = path;
    if (try_run(w.engine, 100, 3, &how, 1, &r) != SF_OK) fail_msg("%s", sf_error());
    const int steps = r.lane.outputs - 1 + r.lane.stopped;
    assert_true(steps > 0);
    assert_int_equal(r.lane.meter.at[SF_DECODE][SF_ATTENTION].pairs, steps * (9 + 1) * HEADS);
    close_world(&w);
    folder_remove(folder);
}

static void refused(void **state)
{
    (void)state;
    char folder[64], path[96];
    struct params p = {path};
    sf_model_config c = shape(LLAMA);
    assert_int_equal(folder_make(folder), 0);
    snprintf(path, sizeof path, "%s/w.safetensors", folder);
    assert_error(sf_side_check(&c, &method, &p), "w.safetensors: cannot be opened");
    write_weights(path, 9, 1 << 1, 2);
    assert_error(sf_side_check(&c, &method, &p), "method 'trained': weights: ");
    assert_error(sf_side_check(&c, &method, &p), "w.safetensors: tensor layers.1.window: expected shape [2], not found");
    c.window = 8, c.sliding[1] = 1; /* on a layer that slides none is wanted */
    OK(sf_side_check(&c, &method, &p));
    c.sliding[1] = 0;
    assert_error(sf_side_check(&c, &method, &p), "layers.1.window");
    c.recurs[1] = 1; /* nor on one that recurs, without attention … */
    OK(sf_side_check(&c, &method, &p));
    c.mixer_beside = true; /* … or with it */
    assert_error(sf_side_check(&c, &method, &p), "layers.1.window");
    c.idle[1] = 1; /* nor on one that has neither */
    OK(sf_side_check(&c, &method, &p));
    c = shape(LLAMA);
    write_weights(path, 9, 0, 3);
    assert_error(sf_side_check(&c, &method, &p), "tensor layers.0.window: expected shape [2], found [3]");
    p.weights = NULL;
    assert_error(sf_side_check(&c, &method, &p), "expected a safetensors file with what was trained for the model, found none");
    p.weights = path;

    world w; /* what does not fit is not run; what is no number neither */
    result r;
    open_world(&w, "cpu", 1, LLAMA);
    set_arms(1, (arm[]){{NULL, NULL}}, &r);
    r.lane.decode = &method, r.lane.decode_params = &p;
    assert_int_equal(try_run(w.engine, 50, 3, &HOW, 1, &r), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "expected shape [2], found [3]"));
    write_weights(path, NAN, 0, 2);
    assert_int_equal(try_run(w.engine, 50, 3, &HOW, 1, &r), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "tensor layers.0.window: element 0 is no finite number"));
    close_world(&w);

    sf_method without = method;
    without.params = NULL, without.params_size = 0;
    assert_error(sf_method_validate(&without, "here"), "has weights, which takes at least one row, and a parameter `weights`");
    folder_remove(folder);
}

/* The weights that a method says it has, drawn, or 0, for so many kv heads of 8; its parameter then names the file. */
static void draw_weights(const sf_method *m, int heads, bool zero, const char *path, void *params)
{
    static char header[4096];
    static float data[4096];
    int n = 0, used = snprintf(header, sizeof header, "{");
    for (const sf_param *p = m->params; p->name; p++)
        if (strcmp(p->name, "weights") == 0) *(const char **)((char *)params + p->offset) = path;
    for (int l = 0; l < LAYERS; l++)
        for (const sf_side_weight *w = m->weights; w->name; w++) {
            const bool matrix = w->dim[1] != 0;
            const int begin = n, some = heads * (matrix ? 8 : 1);
            char name[128];
            const char *at = strstr(w->name, "%d");
            snprintf(name, sizeof name, "%.*s%d%s", (int)(at - w->name), w->name, l, at + 2);
            for (int i = 0; i < some; i++, n++) data[n] = zero ? 0 : (float)(sf_splitmix(7, (uint64_t)n) >> 40) / (1 << 23) - 1;
            used += snprintf(header + used, sizeof header - (size_t)used, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%d%s],\"data_offsets\":[%d,%d]}", begin ? "," : "",
                             name, heads, matrix ? ",8" : "", begin * 4, n * 4);
        }
    used += snprintf(header + used, sizeof header - (size_t)used, "}");
    while (used % 8) header[used++] = ' ';
    uint64_t length = (uint64_t)used;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(&length, sizeof length, 1, f), fwrite(header, 1, (size_t)used, f), fwrite(data, sizeof *data, (size_t)n, f);
    fclose(f);
}

/* A method whose rows read the same whatever comes behind them: each token that decode chose is the likeliest by a prefill of what stood
 * before it, under the method too, and dense attention says something else. */
static void decodes_as_it_prefills(void **state)
{
    (void)state;
    enum { TOKENS = 90 };
    static const char *const ARMS[] = {"dms window=5", "sparsek k=7 window=5", "spattention length=80", "sparsek k=20 window=5"}, *const devices[] = {"reference", "cpu"};
    static float logits[MOST_TOKENS * VOCAB], dense[MOST_TOKENS * VOCAB];
    char folder[64], path[96];
    assert_int_equal(folder_make(folder), 0);
    snprintf(path, sizeof path, "%s/w.safetensors", folder);
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++)
        for (size_t i = 0; i < sizeof ARMS / sizeof *ARMS; i++) {
            world w;
            result r;
            int32_t token[MOST_TOKENS];
            int other = 0;
            open_world(&w, devices[d], 2, d ? LLAMA : QWEN);
            set_arms(1, (arm[]){{ARMS[i], ARMS[i]}}, &r);
            for (int phase = 0; r.lane.prefill->weights && phase < SF_PHASES; phase++) draw_weights(r.lane.prefill, shape(d ? LLAMA : QWEN).kv_heads, i == 3 /* all scores equal */, path, r.params[phase]);
            run(w.engine, TOKENS, 5, 1, &r);
            for (int phase = 0; phase < SF_PHASES; phase++)
                for (int l = 0; l < LAYERS; l++)
                    if (!(r.density[phase][l][0] < 0.9f)) fail_msg("%s, phase %d, layer %d: density %g", ARMS[i], phase, l, (double)r.density[phase][l][0]);
            fill_prompt(token, TOKENS, 5);
            memcpy(token + TOKENS, r.output, (size_t)r.lane.outputs * sizeof *token);
            OK(sf_engine_logits_under(w.engine, token, TOKENS + r.lane.outputs, &r.lane, logits));
            OK(sf_engine_logits(w.engine, token, TOKENS + r.lane.outputs, dense));
            for (int k = 0; k < r.lane.outputs; k++) {
                const float *row = logits + (TOKENS - 1 + k) * VOCAB, *whole = dense + (TOKENS - 1 + k) * VOCAB;
                int best = 0;
                for (int x = 1; x < VOCAB; x++) best = row[x] > row[best] ? x : best;
                if (best != r.output[k]) fail_msg("%s on %s: token %d is %d in decode, %d by a prefill", ARMS[i], devices[d], k, r.output[k], best);
                for (int x = 0; x < VOCAB; x++) other += whole[x] > whole[best];
            }
            assert_true(other > 0);
            close_world(&w);
        }
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(read_and_used), cmocka_unit_test(not_asked_of_layers_that_recur), cmocka_unit_test(refused), cmocka_unit_test(decodes_as_it_prefills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
