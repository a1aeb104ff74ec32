/* One hook of one method on queries, keys and values that are given: what tests/peers/estimators.py compares.
 *
 *     build/tests/tools/hook METHOD prefill|decode tokens=N tail=N heads=H kv_heads=G head_dim=D [layers=L]
 *         [width=W] [device=NAME] [sparsity=S] [made=SEED] [PARAMETER=VALUE …] < IN > OUT
 *
 * IN, floats, for each of L layers: q [tokens + tail, H, D], k and v [tokens + tail, G, D], the layer's input [tokens + tail, W]. In decode every layer observes the
 * prompt; then each of the tail's tokens goes through the layers, observed and chosen for. OUT, for each layer, of all prompt
 * rows or the last step:
 *
 *     pairs (u64), choosing's FLOPs (u64) and bytes (u64), m (u64)
 *     out   [rows, H, D]                f32: attention over what was chosen
 *     bias  [H, rows, tokens + tail]    f32: NaN where a key is not read, else what is added to its logit
 *     sum   [H, m]                      f32: likewise of summaries
 *
 * A method's trained weights are made up of the seed (sf_synthetic_weights()); those of one that looks at the layer's input are its file's.
 *
 * Parts of a pattern are united in `bias`; what they are weighted by only `out` tells. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "harness/lab/synthetic.h"
#include "harness/model/side.h"
#include "kernels/reference/reference.h"
#include "methods/find.h"

enum { MOST_LAYERS = 64 };

static struct {
    int tokens, tail, heads, kv_heads, head_dim, layers, width, made;
    const char *device;
    double sparsity;
} given = {.layers = 1, .device = "reference", .sparsity = NAN};

static sf_backend b;
static const sf_method *method;
static void *params;
static sf_state carry;
static sf_side *sides;
static struct layer {
    sf_synthetic on;
    sf_state state;
} layer[MOST_LAYERS];

static void stop(const char *what)
{
    fprintf(stderr, "hook: %s: %s\n", what, sf_error());
    exit(1);
}

static void ok(sf_status status, const char *what)
{
    if (status != SF_OK) stop(what);
}

static bool number(const char *arg, const char *name, int *out)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || arg[n] != '=') return false;
    *out = atoi(arg + n + 1);
    return true;
}

static int choice(const char *choices, const char *name)
{
    int n = 0;
    for (const char *c = choices; *c; n++) {
        size_t length = strcspn(c, "|");
        if (strlen(name) == length && strncmp(c, name, length) == 0) return n;
        c += length + (c[length] == '|');
    }
    sf_fail(SF_BAD_INPUT, "'%s' is none of %s", name, choices);
    stop("a parameter");
    return -1;
}

static void parameter(const char *arg)
{
    for (const sf_param *p = method->params; p && p->name; p++) {
        size_t n = strlen(p->name);
        if (strncmp(arg, p->name, n) != 0 || arg[n] != '=') continue;
        char *at = (char *)params + p->offset;
        const char *value = arg + n + 1;
        if (p->type == SF_INT) *(int *)at = atoi(value);
        if (p->type == SF_REAL) *(double *)at = atof(value);
        if (p->type == SF_BOOL) *(bool *)at = strcmp(value, "true") == 0;
        if (p->type == SF_CHOICE) *(int *)at = choice(p->choices, value);
        if (p->type == SF_STRING) *(const char **)at = value;
        return;
    }
    sf_fail(SF_BAD_INPUT, "'%s' names no parameter of %s", arg, method->name);
    stop("a parameter");
}

static void argument(const char *arg)
{
    if (number(arg, "tokens", &given.tokens) || number(arg, "tail", &given.tail) || number(arg, "heads", &given.heads) ||
        number(arg, "kv_heads", &given.kv_heads) || number(arg, "head_dim", &given.head_dim) ||
        number(arg, "layers", &given.layers) || number(arg, "width", &given.width) || number(arg, "made", &given.made))
        return;
    if (strncmp(arg, "device=", 7) == 0) given.device = arg + 7;
    else if (strncmp(arg, "sparsity=", 9) == 0) given.sparsity = atof(arg + 9);
    else parameter(arg);
}

static float *read_floats(size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    if (!x || fread(x, sizeof *x, n, stdin) != n) {
        sf_fail(SF_IO, "expected %zu numbers more", n);
        stop("input");
    }
    return x;
}

/* Rows of one kind in place of those that were made up: f32 backends only, whose memory is the host's. */
static void put(float *prompt, float *tail, const float *x, int heads)
{
    size_t dim = (size_t)given.head_dim, n = (size_t)given.tokens, more = (size_t)given.tail;
    for (size_t g = 0; g < (size_t)heads; g++)
        for (size_t j = 0; j < n + more; j++)
            memcpy(j < n ? prompt + (g * n + j) * dim : tail + (g * more + j - n) * dim, x + (j * (size_t)heads + g) * dim,
                   dim * sizeof *x);
}

static void open_layer(int i)
{
    struct layer *l = &layer[i];
    size_t rows = (size_t)(given.tokens + given.tail), dim = (size_t)given.head_dim;
    l->on = (sf_synthetic){.tokens = given.tokens, .tail = given.tail, .heads = given.heads, .kv_heads = given.kv_heads,
                           .head_dim = given.head_dim, .layer = i, .layers = given.layers, .width = given.width, .sides = sides,
                           .seed = (uint64_t)given.made};
    ok(sf_synthetic_open(&l->on, &b), "memory");
    if (!sides) ok(sf_synthetic_weights(&l->on, method, params), "weights");
    float *q = read_floats(rows * (size_t)given.heads * dim), *k = read_floats(rows * (size_t)given.kv_heads * dim),
          *v = read_floats(rows * (size_t)given.kv_heads * dim);
    memcpy(l->on.q, q, rows * (size_t)given.heads * dim * sizeof *q);
    put(l->on.prompt.k, l->on.generated.k, k, given.kv_heads);
    put(l->on.prompt.v, l->on.generated.v, v, given.kv_heads);
    free(q), free(k), free(v);
    if (!given.width) return;
    float *x = read_floats(rows * (size_t)given.width);
    memcpy(l->on.hidden, x, rows * (size_t)given.width * sizeof *x);
    free(x);
}

static void write_all(const void *x, size_t bytes)
{
    if (fwrite(x, 1, bytes, stdout) != bytes) exit(1);
}

/* What is added to the logit of key j in row i of query head h, where it is read. */
static float bias_of(const sf_attention *a, const sf_pattern *p, int h, int j)
{
    int64_t row = sf_selection_of(p, a->heads, a->kv_heads, h);
    for (int32_t e = 0; p->bias.data && e < p->first.count[row]; e++)
        if (p->first.index[row * p->first.stride + e] == j / p->page)
            return ((const float *)p->bias.data)[row * p->first.stride + e];
    return 0;
}

static void tell(const sf_attention *a, const sf_pattern *reads, const sf_meter *meter)
{
    const sf_pattern *part = reads->kind == SF_PARTS ? reads->part : reads;
    size_t m = part->sum.k.data ? (size_t)part->sum.k.dim[1] : 0, n = (size_t)a->keys, rows = (size_t)a->queries;
    float *out = malloc((rows * (size_t)(a->heads * a->head_dim) + 1) * sizeof *out), *bias = malloc((n + m + 1) * sizeof *bias);
    uint8_t *mask = malloc(n + 1);
    if (!out || !bias || !mask) exit(1);
    const sf_count *c = &meter->at[b.phase][SF_ESTIMATION];
    uint64_t head[4] = {0, c->flops, c->cache_bytes + c->other_bytes, m};
    ok(sf_synthetic_attend(1, &a, &reads, out, &head[0]), "attention");
    write_all(head, sizeof head);
    write_all(out, rows * (size_t)(a->heads * a->head_dim) * sizeof *out);
    for (int h = 0; h < a->heads; h++)
        for (size_t i = 0; i < rows; i++) {
            sf_reference_mask(a, reads, h, (int)i, mask);
            for (size_t j = 0; j < n; j++) bias[j] = mask[j] ? bias_of(a, reads, h, (int)j) : NAN;
            write_all(bias, n * sizeof *bias);
        }
    for (int h = 0; m && h < a->heads; h++) {
        const float *of = part->sum.bias.data;
        int row = part->sum.bias.dim[0] == a->heads ? h : h / (a->heads / a->kv_heads);
        for (size_t s = 0; s < m; s++) bias[s] = of ? of[(size_t)row * m + s] : 0;
        write_all(bias, m * sizeof *bias);
    }
    free(out), free(bias), free(mask);
}

static void choose(sf_hook hook, int i, sf_attention *a, bool last)
{
    sf_pattern chosen;
    sf_meter meter = {0}, *before = b.meter;
    sf_mark mark = sf_scratch_mark(&b);
    a->carry = method->carry ? &carry : NULL;
    b.meter = &meter;
    ok(sf_hook_choose(hook, a, method, params, &layer[i].state, &chosen), "the hook");
    b.meter = before;
    if (last) tell(a, &chosen, &meter);
    sf_scratch_release(&b, mark);
}

static void generate(void)
{
    for (int i = 0; i < given.layers; i++) {
        sf_attention a = sf_synthetic_prompt(&layer[i].on);
        sf_mark mark = sf_scratch_mark(&b);
        a.carry = method->carry ? &carry : NULL;
        ok(sf_hook_state(&a, method, params, given.tokens + given.tail, &layer[i].on.arena, &layer[i].state), "state");
        ok(sf_hook_observe(&a, method, params, &layer[i].state, 0), "observe");
        sf_scratch_release(&b, mark);
    }
    for (int n = 1; n <= given.tail; n++)
        for (int i = 0; i < given.layers; i++) {
            sf_attention a = sf_synthetic_step(&layer[i].on, n);
            sf_mark mark = sf_scratch_mark(&b);
            a.carry = method->carry ? &carry : NULL;
            ok(sf_hook_observe(&a, method, params, &layer[i].state, a.keys - 1), "observe");
            choose(SF_HOOK_DECODE, i, &a, n == given.tail);
            sf_scratch_release(&b, mark);
        }
}

int main(int argc, char **argv)
{
    if (argc < 3 || !(method = sf_method_find(argv[1]))) return fprintf(stderr, "hook: see the head of this program's source\n"), 2;
    bool prefill = strcmp(argv[2], "prefill") == 0;
    if (!(params = calloc(1, method->params_size + 1))) return 1;
    ok(sf_yaml_params(NULL, method->params, NULL, params), "defaults");
    for (int i = 3; i < argc; i++) argument(argv[i]);
    if (given.layers < 1 || given.layers > MOST_LAYERS) return 2;
    ok(sf_backend_open(given.device, 1, &b), "device");
    if (b.activation != SF_F32) return fprintf(stderr, "hook: %s keeps its memory elsewhere\n", given.device), 2;
    const sf_extent extent = {.phase = prefill ? SF_PREFILL : SF_DECODE, .tokens = given.tokens, .output = 64, .heads = given.heads,
                              .kv_heads = given.kv_heads, .head_dim = given.head_dim, .layers = given.layers};
    if (!isnan(given.sparsity)) ok(sf_hook_fit(method, &extent, given.sparsity, params), "fit");
    static sf_model_config shape;
    shape.heads = given.heads, shape.kv_heads = given.kv_heads, shape.head_dim = given.head_dim, shape.d = given.width, shape.layers = given.layers;
    if (method->hidden) ok(sf_side_open(&b, &shape, method, params, &sides), "weights");
    for (int i = 0; i < given.layers; i++) open_layer(i);
    b.phase = prefill ? SF_PREFILL : SF_DECODE;
    sf_attention a = sf_synthetic_prompt(&layer[0].on);
    ok(sf_hook_carry(&a, method, params, given.tokens + given.tail, &layer[0].on.arena, &carry), "carry");
    for (int i = 0; prefill && i < given.layers; i++) {
        a = sf_synthetic_prompt(&layer[i].on);
        choose(SF_HOOK_PREFILL, i, &a, true);
    }
    if (!prefill) generate();
    for (int i = 0; i < given.layers; i++) sf_synthetic_close(&layer[i].on);
    sf_side_close(&b, &shape, sides);
    sf_backend_close(&b);
    return 0;
}
