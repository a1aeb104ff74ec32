/* A sweep as its YAML file asks for it (sweep.c reads it) and the cells it unrolls into (plan.c). */
#ifndef SF_SWEEP_H
#define SF_SWEEP_H

#include "base/yaml.h"
#include "kernels/cache.h"
#include "methods/method.h"
#include "tasks/task.h"

enum { SF_DEFAULT_SEED = 43 };      /* of evaluation samples */

/* One method with parameters. method == NULL: dense in that phase. */
typedef struct sf_arm {
    const sf_method *method;
    char *label;                   /* the method's name, with the parameters that differ from their defaults */
    void *params;
    char *json;                    /* all parameters, canonical */
    const char *code;              /* hash of the plug-in file it came from; "" for a built-in */
    char version[32];              /* the method's, of a plug-in with the beginning of that hash */
    bool explicit_budget;          /* a budget parameter is given: one cell, no target sparsity */
} sf_arm;

typedef struct sf_arm_pair { sf_arm prefill, decode; } sf_arm_pair;

typedef struct sf_model_spec {
    const char *path;              /* .gguf file, Hugging Face folder, or shape (.yaml) */
    const char *label;             /* as shown; default: the path's last part without its ending */
    const char *prefix, *suffix;   /* own chat template; NULL: the model's */
    char *chat;                    /* the key `chat` as JSON, for sf_model_chat(); NULL: the model's own */
    bool random;                   /* weights: random */
    bool dual_chunks;              /* positions: dca */
    sf_reach reach;                /* its chunk and cap, for sf_model_dual_chunks(); 0: by the model */
    bool alone;                    /* attention: it is run as it was trained, and nothing is put on it: as its family attends … */
    sf_arm_pair own;               /* … or under the method that it was trained under, in each phase that this has */
} sf_model_spec;

/* Fills prefix, suffix and chat from the value of `chat` (chat.c). */
sf_status sf_chat_read(const sf_node *chat, sf_model_spec *out);

/* Of several questions on one context: each is asked once the one before is answered, on what the cache holds by then, or of a prompt
 * that holds the conversation so far, prefilled and compressed anew; or each by itself, of a context that is prefilled and compressed once. */
enum sf_asking { SF_ASK_ON, SF_ASK_ANEW, SF_ASK_SHARED };

typedef struct sf_task_spec {
    const sf_task *task;
    const char *code;              /* hash of the plug-in file it came from; "" for a built-in */
    char *label;                   /* as the config names it; default: the task's name, with the parameters that differ from their defaults */
    void *params;
    char *json;                    /* all parameters and prompting, canonical */
    int output;                    /* limit of generated tokens */
    bool late;                     /* question: late: what stands behind the context is read after the prefill; prompting says AFTER */
    int turns;                     /* questions on one context … */
    enum sf_asking asking;         /* … and what each finds of it */
    sf_prompting prompting;
} sf_task_spec;

/* Tokens that may come behind a prompt: answers, and the questions of later turns. */
enum { SF_LATER_TOKENS = 1024 /* of one such question, at most */ };
static inline int sf_task_behind(const sf_task_spec *t)
{
    if (t->asking == SF_ASK_SHARED) return t->output + SF_LATER_TOKENS;
    return t->turns * t->output + (t->turns - 1) * SF_LATER_TOKENS;
}

/* Prefill methods have a prefill hook; decode methods compress the cache or choose at each step. */
static inline bool sf_decodes(const sf_method *m) { return m->decode || m->compress; }

/* What sampling that stops has to know, besides whether a method loses against dense: of the methods at a sparsity which is the best, or
 * their whole order; of all points, whether one at least as sparse is better (the Pareto frontier of score and sparsity). */
enum sf_decide { SF_DECIDE_BEST = 1, SF_DECIDE_RANKING = 2, SF_DECIDE_FRONTIER = 4 };

typedef struct sf_sweep {
    const char *name;
    char *text;                    /* the file as it was, then one "# --set …" line an override: stored in the results */
    int models, tasks, lengths, sparsities, arms;
    sf_model_spec *model;
    sf_task_spec *task;
    int *length;                   /* tokens, ascending */
    double *sparsity;              /* ascending, 0 left out: dense is always a cell of its own */
    sf_arm_pair *arm;
    int samples;                   /* of each cell, at most */
    int least;                     /* of each cell before it may stop … */
    double until;                  /* … since what it says is known within so much of the score; 0: all have `samples` */
    int decide;                    /* what it is to say: bits of sf_decide */
    bool error_of_study;           /* whether 5 % are all its decisions' together, or each one's */
    uint64_t seed;
    const char *device;            /* "cpu", "cpu-bf16", "cpu-int8", "reference", "cuda", "cuda:1"; a run takes "cuda:0,1", "cuda:all" too */
    int threads;                   /* 0: all cores */
    int tensor;                    /* ranks that each layer of a model is split over; 1: none */
    int pipeline;                  /* stages that its layers are split over; 1: none */
    int caches;                    /* formats that keys and values are rounded to, each a whole grid of its own … */
    const sf_cache_format **cache; /* … NULL: exact, which is the only one where the config says nothing */
    int batch;                     /* B of the cost models in plots */
    int divergence_rows;           /* rows of a prompt at which divergence from dense is measured, beside what it generates; 0: off */
    int recall_rows;               /* query rows a layer on which attention-mass recall is measured; 0: off */
    int picture_layer, picture_head; /* of whom a picture is kept, of each cell's first sample; layer -1: the middle one,
                                        head -1: the middle one, layer -2: no pictures */
    bool stop_on_error;            /* on_error: stop; else a failing cell is marked and the others go on */
    double hook_limit;             /* seconds that a hook of a plug-in may take */
    double memory_gib;             /* limit for caches and activations; 0: what the machine has */
    char *file_name;               /* the name, where it is the config file's */
    sf_node *tree;                 /* owns every const text above */
} sf_sweep;

/* Ranks, or GPUs, that one model is split over. */
static inline int sf_sweep_ranks(const sf_sweep *s) { return s->tensor * s->pipeline; }

/* Reads, checks and completes a sweep. `set`: "path.to.key=value" overrides. Errors give file:line, key, what was
 * expected, and the nearest valid name. */
sf_status sf_sweep_read(const char *path, int sets, const char *const *set, sf_sweep **out);
/* The same of a config that came with a results file: no plug-in is loaded and no method read, since such a file may come
 * from anyone. */
sf_status sf_sweep_read_stored(const char *path, int sets, const char *const *set, sf_sweep **out);
void sf_sweep_free(sf_sweep *sweep); /* accepts NULL */

/* One cell: one point of the grid. Dense is a cell of its own (both arms NULL, or what the model was trained under), with an exact cache
 * always, with others where they are asked for. */
typedef struct sf_cell {
    int model, task, length;         /* positions in the sweep */
    bool own;                        /* the arms, if any, are the model's own attention; reports have it where others have dense */
    const sf_arm *prefill, *decode;  /* NULL: dense in that phase */
    const sf_cache_format *cache;    /* NULL: exact */
    double sparsity[SF_PHASES];      /* requested; 0 where dense, NAN with explicit parameters */
    int samples;                     /* the sweep's; fewer where its task has no more that differ (sf_study_try_samples) */
    char key[33];                    /* content key, hex: hash of everything that can change a result */
} sf_cell;

/* Whether nothing was put on the model. */
static inline bool sf_cell_plain(const sf_cell *c) { return c->own || (!c->prefill && !c->decode); }

/* Whether two cells of one model, task and length ask for the same prefill, which the engine then makes once for both. */
bool sf_cell_shares_prefill(const sf_cell *a, const sf_cell *b);

typedef struct sf_plan { int cells; sf_cell *cell; } sf_plan;

/* Cells in running order: model, length, task, so that lanes of a sample stand together; dense first. `hash`: each
 * model's content hash. */
sf_status sf_plan_make(const sf_sweep *sweep, const char *const *hash, sf_plan *out);
void sf_plan_free(sf_plan *plan);

#endif
