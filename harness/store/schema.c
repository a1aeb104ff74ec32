#include "harness/store/schema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CELL(field)   offsetof(sf_cell_info, field)
#define RECORD(field) offsetof(sf_record, field)
#define RUN(field)    offsetof(sf_run_info, field)

const sf_column sf_cell_columns[] = {
    {"model", SF_COLUMN_TEXT, CELL(model), NULL, false},
    {"model_hash", SF_COLUMN_TEXT, CELL(model_hash), NULL, false},
    {"task", SF_COLUMN_TEXT, CELL(task), NULL, false},
    {"task_label", SF_COLUMN_TEXT, CELL(task_label), NULL, false},
    {"task_params", SF_COLUMN_TEXT, CELL(task_params), NULL, false},
    {"metric", SF_COLUMN_TEXT, CELL(metric), NULL, false},
    {"prefill_method", SF_COLUMN_TEXT, CELL(method[SF_PREFILL]), NULL, false},
    {"prefill_label", SF_COLUMN_TEXT, CELL(label[SF_PREFILL]), NULL, false},
    {"prefill_params", SF_COLUMN_TEXT, CELL(params[SF_PREFILL]), NULL, false},
    {"prefill_sparsity", SF_COLUMN_REAL, CELL(sparsity[SF_PREFILL]), NULL, false},
    {"decode_method", SF_COLUMN_TEXT, CELL(method[SF_DECODE]), NULL, false},
    {"decode_label", SF_COLUMN_TEXT, CELL(label[SF_DECODE]), NULL, false},
    {"decode_params", SF_COLUMN_TEXT, CELL(params[SF_DECODE]), NULL, false},
    {"decode_sparsity", SF_COLUMN_REAL, CELL(sparsity[SF_DECODE]), NULL, false},
    {"length", SF_COLUMN_INT, CELL(length), NULL, false},
    {"output_limit", SF_COLUMN_INT, CELL(output_limit), NULL, false},
    {"layers", SF_COLUMN_INT, CELL(layers), NULL, false},
    {"heads", SF_COLUMN_INT, CELL(heads), NULL, false},
    {"kv_heads", SF_COLUMN_INT, CELL(kv_heads), NULL, false},
    {"head_dim", SF_COLUMN_INT, CELL(head_dim), NULL, false},
    {"d", SF_COLUMN_INT, CELL(d), NULL, false},
    {"mlp", SF_COLUMN_INT, CELL(mlp), NULL, false},
    {"vocab", SF_COLUMN_INT, CELL(vocab), NULL, false},
    {"window", SF_COLUMN_INT, CELL(window), NULL, false},
    {"sliding_layers", SF_COLUMN_INT, CELL(sliding_layers), NULL, false},
    {"parameters", SF_COLUMN_REAL, CELL(parameters), NULL, false},
    {"weight_elements", SF_COLUMN_REAL, CELL(weight_elements), NULL, false},
    {"dispersion", SF_COLUMN_INT, CELL(dispersion), NULL, false},
    {"scope", SF_COLUMN_INT, CELL(scope), NULL, false},
    {"natural", SF_COLUMN_INT, CELL(natural), NULL, false},
    {"device", SF_COLUMN_TEXT, CELL(device), NULL, false},
    {"dtype", SF_COLUMN_TEXT, CELL(dtype), NULL, false},
    {"seed", SF_COLUMN_U64, CELL(seed), NULL, false},
    {"prefill_version", SF_COLUMN_TEXT, CELL(version[SF_PREFILL]), NULL, true},
    {"decode_version", SF_COLUMN_TEXT, CELL(version[SF_DECODE]), NULL, true},
    {"prefill_kind", SF_COLUMN_TEXT, CELL(kind[SF_PREFILL]), NULL, true},
    {"decode_kind", SF_COLUMN_TEXT, CELL(kind[SF_DECODE]), NULL, true},
    {"chat", SF_COLUMN_TEXT, CELL(chat), NULL, true},
    {"positions", SF_COLUMN_TEXT, CELL(positions), NULL, true},
    {"doubts", SF_COLUMN_TEXT, CELL(doubts), NULL, true},
    {"bos", SF_COLUMN_TEXT, CELL(bos), NULL, true},
    {"questions", SF_COLUMN_TEXT, CELL(questions), NULL, true},
    {"recurrent_layers", SF_COLUMN_REAL, CELL(recurrent_layers), NULL, true},
    {"cache", SF_COLUMN_TEXT, CELL(cache), NULL, true},
    {"attention", SF_COLUMN_TEXT, CELL(attention), NULL, true},
    {0},
};

const sf_column sf_record_columns[] = {
    {"sample", SF_COLUMN_INT, RECORD(sample), NULL, false},
    {"input_tokens", SF_COLUMN_INT, RECORD(input_tokens), "tokens", false},
    {"output_tokens", SF_COLUMN_INT, RECORD(output_tokens), "tokens", false},
    {"bos_tokens", SF_COLUMN_INT, RECORD(bos_tokens), "tokens", false},
    {"prompt_hash", SF_COLUMN_U64, RECORD(prompt_hash), NULL, false},
    {"parsed", SF_COLUMN_FLAG, RECORD(parsed), NULL, false},
    {"truncated", SF_COLUMN_FLAG, RECORD(truncated), NULL, false},
    {"strict", SF_COLUMN_REAL, RECORD(strict), NULL, false},
    {"reference", SF_COLUMN_REAL, RECORD(reference), NULL, false},
    {"prefill_achieved", SF_COLUMN_REAL, RECORD(achieved[SF_PREFILL]), NULL, false},
    {"decode_achieved", SF_COLUMN_REAL, RECORD(achieved[SF_DECODE]), NULL, false},
    {"prefill_cost_paper", SF_COLUMN_REAL, RECORD(cost_paper[SF_PREFILL]), "FLOP", false},
    {"prefill_cost_exact", SF_COLUMN_REAL, RECORD(cost_exact[SF_PREFILL]), "FLOP", false},
    {"decode_cost_paper", SF_COLUMN_REAL, RECORD(cost_paper[SF_DECODE]), "elements/token", false},
    {"decode_cost_exact", SF_COLUMN_REAL, RECORD(cost_exact[SF_DECODE]), "elements/token", false},
    {"prefill_seconds", SF_COLUMN_REAL, RECORD(seconds[SF_PREFILL]), "s", false},
    {"decode_seconds", SF_COLUMN_REAL, RECORD(seconds[SF_DECODE]), "s", false},
    {"meter", SF_COLUMN_METER, RECORD(meter), NULL, false},
    {"prediction", SF_COLUMN_TEXT, RECORD(prediction), NULL, false},
    {"gold", SF_COLUMN_TEXT, RECORD(gold), NULL, false},
    {"prefill_density", SF_COLUMN_MAP, RECORD(density[SF_PREFILL]), NULL, false},
    {"decode_density", SF_COLUMN_MAP, RECORD(density[SF_DECODE]), NULL, false},
    {"prefill_recall", SF_COLUMN_MAP, RECORD(recall[SF_PREFILL]), NULL, false},
    {"decode_recall", SF_COLUMN_MAP, RECORD(recall[SF_DECODE]), NULL, false},
    {"depth", SF_COLUMN_REAL, RECORD(depth), NULL, true},
    {"prefill_picture", SF_COLUMN_PICTURE, RECORD(picture[SF_PREFILL]), NULL, true},
    {"decode_picture", SF_COLUMN_PICTURE, RECORD(picture[SF_DECODE]), NULL, true},
    {"prefill_nll", SF_COLUMN_REAL, RECORD(diverged[SF_PREFILL].nll), "nat", true},
    {"prefill_dense_nll", SF_COLUMN_REAL, RECORD(diverged[SF_PREFILL].dense_nll), "nat", true},
    {"prefill_kl", SF_COLUMN_REAL, RECORD(diverged[SF_PREFILL].kl), "nat", true},
    {"prefill_agreement", SF_COLUMN_REAL, RECORD(diverged[SF_PREFILL].agreement), NULL, true},
    {"prefill_rank", SF_COLUMN_REAL, RECORD(diverged[SF_PREFILL].rank), NULL, true},
    {"decode_nll", SF_COLUMN_REAL, RECORD(diverged[SF_DECODE].nll), "nat", true},
    {"decode_dense_nll", SF_COLUMN_REAL, RECORD(diverged[SF_DECODE].dense_nll), "nat", true},
    {"decode_kl", SF_COLUMN_REAL, RECORD(diverged[SF_DECODE].kl), "nat", true},
    {"decode_agreement", SF_COLUMN_REAL, RECORD(diverged[SF_DECODE].agreement), NULL, true},
    {"decode_rank", SF_COLUMN_REAL, RECORD(diverged[SF_DECODE].rank), NULL, true},
    {"prefill_error", SF_COLUMN_MAP, RECORD(error[SF_PREFILL]), NULL, true},
    {"decode_error", SF_COLUMN_MAP, RECORD(error[SF_DECODE]), NULL, true},
    {"prefill_along", SF_COLUMN_PROFILE, RECORD(along[SF_PREFILL]), "nat", true},
    {"decode_along", SF_COLUMN_PROFILE, RECORD(along[SF_DECODE]), "nat", true},
    {"late_tokens", SF_COLUMN_REAL, RECORD(late_tokens), "tokens", true},
    {"turn_scores", SF_COLUMN_TEXT, RECORD(turn_scores), NULL, true},
    {0},
};

const sf_column sf_run_columns[] = {
    {"started", SF_COLUMN_TEXT, RUN(started), NULL, false},   {"host", SF_COLUMN_TEXT, RUN(host), NULL, false},
    {"revision", SF_COLUMN_TEXT, RUN(revision), NULL, false}, {"versions", SF_COLUMN_TEXT, RUN(versions), NULL, false},
    {"config", SF_COLUMN_TEXT, RUN(config), NULL, false},     {"seconds", SF_COLUMN_REAL, RUN(seconds), "s", false},
    {"batch", SF_COLUMN_INT, RUN(batch), NULL, false},        {"cells", SF_COLUMN_TEXT, RUN(cells), NULL, true},
    {"first_prompts", SF_COLUMN_TEXT, RUN(first_prompts), NULL, true},
    {"until", SF_COLUMN_REAL, RUN(until), NULL, true},
    {0},
};

#define FAILURE(field) offsetof(sf_failure, field)
const sf_column sf_failure_columns[] = {
    {"key", SF_COLUMN_TEXT, FAILURE(key), NULL, false},
    {"model", SF_COLUMN_TEXT, FAILURE(model), NULL, false},
    {"task_label", SF_COLUMN_TEXT, FAILURE(task), NULL, false},
    {"prefill_label", SF_COLUMN_TEXT, FAILURE(label[SF_PREFILL]), NULL, false},
    {"prefill_sparsity", SF_COLUMN_REAL, FAILURE(sparsity[SF_PREFILL]), NULL, false},
    {"decode_label", SF_COLUMN_TEXT, FAILURE(label[SF_DECODE]), NULL, false},
    {"decode_sparsity", SF_COLUMN_REAL, FAILURE(sparsity[SF_DECODE]), NULL, false},
    {"length", SF_COLUMN_INT, FAILURE(length), NULL, false},
    {"sample", SF_COLUMN_INT, FAILURE(sample), NULL, false},
    {"message", SF_COLUMN_TEXT, FAILURE(message), NULL, false},
    {0},
};

const char *const sf_phase_names[SF_PHASES] = {"prefill", "decode"};
const char *const sf_work_names[SF_WORKS] = {"linear", "attention", "estimation", "other"};
const char *const sf_count_names[5] = {"flops", "weight_bytes", "cache_bytes", "other_bytes", "pairs"};

bool sf_key_valid(const char *key)
{
    size_t n = strspn(key, "0123456789abcdefABCDEF");
    return n > 0 && n <= SF_KEY_DIGITS && !key[n];
}

sf_status sf_record_check(const sf_record *r)
{
    if (!(r->strict >= 0 && r->strict <= 1)) return sf_fail(SF_BAD_INPUT, "strict is %g, expected 0 … 1", r->strict);
    if (!isnan(r->reference) && !(r->reference >= 0 && r->reference <= 1))
        return sf_fail(SF_BAD_INPUT, "reference is %g, expected 0 … 1 or NaN", r->reference);
    const struct {
        const char *name;
        const double *of;
    } finite[] = {{"achieved", r->achieved}, {"cost_paper", r->cost_paper}, {"cost_exact", r->cost_exact}, {"seconds", r->seconds}};
    for (size_t i = 0; i < sizeof finite / sizeof *finite; i++)
        for (int p = 0; p < SF_PHASES; p++)
            if (isinf(finite[i].of[p]))
                return sf_fail(SF_BAD_INPUT, "%s_%s is %g, expected a finite number", sf_phase_names[p], finite[i].name, finite[i].of[p]);
    return SF_OK;
}
