/* The engine: samples' tokens through a model under many variants at once.
 *
 * A lane is one variant (one cell) of a sample. Lanes whose prefill is the same share it: the prompt's cache is
 * computed once and read by all; a lane that evicts keeps a compacted copy. Prefills that differ go through the linear
 * layers together, and share the first layer's queries, keys and values, which no method has touched yet. All lanes of
 * all samples then decode in lock-step as one batch, so that weights are read once a step for all. None of this changes
 * a result: a lane alone and a lane in company give the same tokens and the same counts (counts are those of the lane
 * alone).
 *
 *   engine.c       open, generate, logits, memory: the order of things
 *   lane.h         what is asked of it: samples, and the variants that each runs under
 *   batch.h        what samples hold while they run: prompts that lanes share, a sequence for each lane
 *   prefill.c      the prefills, some together, and what each lane takes from its own
 *   decode.c       the lock-step
 *   hooks.h        calling a method, and holding what it chose against the contract
 *   company.c      lanes that come along: for divergence, for shared questions
 *   divergence.c   predictions held against the dense model's
 *   counts.c       from tallies to meters, densities and recall
 *   stages.h       what the stages of a pipeline say to each other
 *   transformer.h  the layers around attention          rope.h  rotation tables          arena.h  memory of samples */
#ifndef SF_ENGINE_H
#define SF_ENGINE_H

#include "harness/engine/lane.h"
#include "harness/model/model.h"

typedef struct sf_engine sf_engine;

/* Imports the weights into the backend. `max_tokens`: the longest input plus output; rotation tables have this length,
 * and YaRN by rule (factor 0) takes its factor from it. Backend and model must outlive the engine. Error: a shape
 * without weights, more tokens than the model has positions. */
sf_status sf_engine_open(sf_backend *backend, const sf_model *model, int max_tokens, sf_engine **out);
void sf_engine_close(sf_engine *engine); /* accepts NULL */

/* Another longest input plus output, without importing weights again. Results depend on it where YaRN goes by rule: set
 * it for each length of a sweep, so that a cell does not depend on the lengths that it runs beside. */
sf_status sf_engine_set_length(sf_engine *engine, int max_tokens);

/* Rows that go through linear layers together in a prefill; bounds the MLP's intermediates, changes no result. Prefills
 * whose prompts fit it go together. 0: as many as fit 256 MiB (the default). */
void sf_engine_set_chunk(sf_engine *engine, int rows);

/* SF_OK where a model's cache can be rounded to this format (lane.h), which NULL can, `tensor` being the ranks that its heads are split
 * over; else why not. sf_engine_run() asks too. */
sf_status sf_cache_check(const sf_cache_format *format, const sf_model_config *config, int tensor);

/* Likewise where a decode method, or NULL, can go with it, and recall be looked for: of a packed cache keys are read by executors and
 * sf_page_bounds() alone. */
sf_status sf_cache_check_method(const sf_cache_format *format, const sf_method *decode, bool recall);

/* Runs the samples. Errors: no tokens or too many, an id outside the vocabulary, a method that lacks the hook for its
 * phase, a hook that fails or returns a pattern that breaks the contract; the message names method, phase and layer.
 * After an error the lanes' outputs are not to be used; the engine stays usable. */
sf_status sf_engine_run(sf_engine *engine, int jobs, const sf_job *job, const sf_generation *how);

/* One sample alone. */
sf_status sf_engine_generate(sf_engine *engine, const int32_t *token, int tokens, const sf_generation *how, int lanes,
                             sf_lane *lane);

/* Gives back the memory that the samples so far left for those to come. */
void sf_engine_trim(sf_engine *engine);

/* Dense logits, f32 [tokens, vocab] to host memory: for checks against other implementations. */
sf_status sf_engine_logits(sf_engine *engine, const int32_t *token, int tokens, float *logits);

/* The same of a prefill under a lane's method. */
sf_status sf_engine_logits_under(sf_engine *engine, const int32_t *token, int tokens, sf_lane *lane, float *logits);

/* Bytes of backend memory that sf_engine_run() holds at its peak for these samples (methods and params as there; tokens
 * and arrays not needed), weights and the methods' scratch not included; of a pipeline, those of the stage that holds most.
 * `kept`: [lanes of all samples] share of the prompt's keys that an evicting lane keeps, 1 - its target sparsity; NULL: all. */
sf_status sf_engine_memory(const sf_model_config *config, const sf_backend *backend, int jobs, const sf_job *job,
                           const sf_generation *how, const double *kept, size_t *bytes);

#endif
