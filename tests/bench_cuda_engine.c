/* End to end on a GPU with random weights: a long prefill, dense and sparse, and lock-step decode.
 *
 *   bench_cuda_engine [configs/models/NAME.yaml] [tokens] [layers]      Qwen2.5-7B, 131072, all
 *
 * Prefill rows: seconds, density as executed, the meter's FLOPs over the time, and the speed-up over the dense row.
 * Decode rows: tokens a second of all lanes together, over one shared prompt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine.h"
#include "harness/yaml.h"

extern const sf_method sf_vertical_slash, sf_block_sparse, sf_flex_prefill, sf_quest, sf_snapkv;

enum { LANES = 28, STEPS = 32 };
static sf_backend backend;
static sf_engine *engine;
static sf_model_config shape;
static int tokens;
static int32_t *token;

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != SF_OK) {                                                                                         \
            printf("%s: %s\n", #call, sf_error());                                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static void set(const sf_method *m, void *params, const char *name, int value)
{
    for (const sf_param *p = m->params; p->name; p++)
        if (strcmp(p->name, name) == 0) memcpy((char *)params + p->offset, &value, sizeof value);
}

/* Default parameters, fitted to `sparsity`; block, selection: of methods that have them, -1 leaves the default. */
static void *fitted(const sf_method *m, sf_phase phase, double sparsity, int block, int selection)
{
    void *params = calloc(1, m->params_size + 1);
    MUST(sf_yaml_params(NULL, m->params, NULL, params));
    if (block > 0) set(m, params, "block", block);
    if (selection >= 0) set(m, params, "selection", selection);
    sf_extent extent = {.phase = phase,
                        .tokens = tokens,
                        .output = STEPS,
                        .heads = shape.heads,
                        .kv_heads = shape.kv_heads,
                        .head_dim = shape.head_dim,
                        .layers = shape.layers};
    MUST(m->fit(&extent, sparsity, params));
    return params;
}

static double prefill(const char *label, const sf_method *m, void *params, double dense)
{
    int32_t output[1];
    int pairs = shape.layers * shape.heads;
    float *density = malloc((size_t)pairs * sizeof *density);
    sf_lane lane = {.prefill = m, .prefill_params = params, .output = output};
    lane.density[SF_PREFILL] = density;
    sf_generation how = {.max_output = 1};
    MUST(sf_engine_generate(engine, token, tokens, &how, 1, &lane));
    double mean = 0, flops[SF_WORKS];
    for (int i = 0; i < pairs; i++) mean += density[i] / pairs;
    for (int w = 0; w < SF_WORKS; w++) flops[w] = (double)lane.meter.at[SF_PREFILL][w].flops;
    double seconds = lane.seconds[SF_PREFILL];
    printf("prefill %-34s %8.3f s  density %.3f  linear %.3f attention %.3f estimation %.4f PFLOP  %5.0f TFLOP/s  "
           "%5.2f x dense\n",
           label, seconds, mean, flops[SF_LINEAR] / 1e15, flops[SF_ATTENTION] / 1e15, flops[SF_ESTIMATION] / 1e15,
           (flops[SF_LINEAR] + flops[SF_ATTENTION] + flops[SF_ESTIMATION]) / seconds / 1e12,
           dense ? dense / seconds : 1);
    fflush(stdout);
    free(density);
    free(params);
    return seconds;
}

static double decode(const char *label, const sf_method *m, double sparsity, int lanes)
{
    static int32_t output[LANES][STEPS];
    sf_lane lane[LANES] = {0};
    void *params = m ? fitted(m, SF_DECODE, sparsity, -1, -1) : NULL;
    for (int i = 0; i < lanes; i++) lane[i] = (sf_lane){.decode = m, .decode_params = params, .output = output[i]};
    sf_generation how = {.max_output = STEPS};
    MUST(sf_engine_generate(engine, token, tokens, &how, lanes, lane));
    double seconds = 0;
    for (int i = 0; i < lanes; i++) {
        seconds += lane[i].seconds[SF_DECODE];
        if (memcmp(output[i], output[0], sizeof output[i]) != 0) printf("lane %d differs from lane 0\n", i);
    }
    double rate = lanes * (STEPS - 1) / seconds;
    printf("decode %-24s %2d lanes  %7.2f ms a step  %8.1f tokens/s\n", label, lanes, 1e3 * seconds / (STEPS - 1),
           rate);
    fflush(stdout);
    free(params);
    return rate;
}

int main(int argc, char **argv)
{
    sf_model *model;
    MUST(sf_shape_open(argc > 1 ? argv[1] : "configs/models/qwen2.5-7b.yaml", &shape));
    tokens = argc > 2 ? atoi(argv[2]) : 131072 - STEPS;
    if (argc > 3 && atoi(argv[3]) > 0) shape.layers = atoi(argv[3]);
    MUST(sf_backend_open("cuda", 0, &backend));
    MUST(sf_model_random(&shape, 1, &model));
    MUST(sf_engine_open(&backend, model, tokens + STEPS, &engine));
    size_t available, total;
    MUST(backend.ops->memory(&backend, &available, &total));
    printf("%s, %d layers, %d tokens; weights %.1f GB, %.1f GB free\n", shape.name, shape.layers, tokens,
           (double)model->weight_bytes / 1e9, (double)available / 1e9);
    token = malloc((size_t)tokens * sizeof *token);
    for (int i = 0; i < tokens; i++) token[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)shape.vocab);

    prefill("dense (first)", NULL, NULL, 0);
    double dense = prefill("dense", NULL, NULL, 0);
    prefill("block_sparse 64, heads apart", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 64, 0), dense);
    prefill("block_sparse 64, group", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 64, 1), dense);
    prefill("block_sparse 16, heads apart", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 16, 0), dense);
    prefill("block_sparse 16, group", &sf_block_sparse, fitted(&sf_block_sparse, SF_PREFILL, .9, 16, 1), dense);
    prefill("vertical_slash", &sf_vertical_slash, fitted(&sf_vertical_slash, SF_PREFILL, .9, -1, -1), dense);
    prefill("flex_prefill", &sf_flex_prefill, fitted(&sf_flex_prefill, SF_PREFILL, .9, -1, -1), dense);

    double alone = decode("dense", NULL, 0, 1);
    double together = decode("dense", NULL, 0, LANES);
    printf("%d lanes in lock-step: %.1f x the tokens/s of one\n", LANES, together / alone);
    alone = decode("quest 1/16", &sf_quest, 1 - 1. / 16, 1);
    together = decode("quest 1/16", &sf_quest, 1 - 1. / 16, LANES);
    printf("%d lanes in lock-step: %.1f x the tokens/s of one\n", LANES, together / alone);
    sf_engine_close(engine);
    sf_model_close(model);
    sf_backend_close(&backend);
    return 0;
}
