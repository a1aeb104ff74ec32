#include "harness/store_schema.h"

#include <stdlib.h>
#include <string.h>

#define CELL(field)   offsetof(sf_cell_info, field)
#define RECORD(field) offsetof(sf_record, field)
#define RUN(field)    offsetof(sf_run_info, field)

const sf_column sf_cell_columns[] = {
    {"model", SF_COLUMN_TEXT, CELL(model), NULL},
    {"model_hash", SF_COLUMN_TEXT, CELL(model_hash), NULL},
    {"task", SF_COLUMN_TEXT, CELL(task), NULL},
    {"task_label", SF_COLUMN_TEXT, CELL(task_label), NULL},
    {"task_params", SF_COLUMN_TEXT, CELL(task_params), NULL},
    {"metric", SF_COLUMN_TEXT, CELL(metric), NULL},
    {"prefill_method", SF_COLUMN_TEXT, CELL(method[SF_PREFILL]), NULL},
    {"prefill_label", SF_COLUMN_TEXT, CELL(label[SF_PREFILL]), NULL},
    {"prefill_params", SF_COLUMN_TEXT, CELL(params[SF_PREFILL]), NULL},
    {"prefill_sparsity", SF_COLUMN_REAL, CELL(sparsity[SF_PREFILL]), NULL},
    {"decode_method", SF_COLUMN_TEXT, CELL(method[SF_DECODE]), NULL},
    {"decode_label", SF_COLUMN_TEXT, CELL(label[SF_DECODE]), NULL},
    {"decode_params", SF_COLUMN_TEXT, CELL(params[SF_DECODE]), NULL},
    {"decode_sparsity", SF_COLUMN_REAL, CELL(sparsity[SF_DECODE]), NULL},
    {"length", SF_COLUMN_INT, CELL(length), NULL},
    {"output_limit", SF_COLUMN_INT, CELL(output_limit), NULL},
    {"layers", SF_COLUMN_INT, CELL(layers), NULL},
    {"heads", SF_COLUMN_INT, CELL(heads), NULL},
    {"kv_heads", SF_COLUMN_INT, CELL(kv_heads), NULL},
    {"head_dim", SF_COLUMN_INT, CELL(head_dim), NULL},
    {"d", SF_COLUMN_INT, CELL(d), NULL},
    {"mlp", SF_COLUMN_INT, CELL(mlp), NULL},
    {"vocab", SF_COLUMN_INT, CELL(vocab), NULL},
    {"window", SF_COLUMN_INT, CELL(window), NULL},
    {"sliding_layers", SF_COLUMN_INT, CELL(sliding_layers), NULL},
    {"parameters", SF_COLUMN_REAL, CELL(parameters), NULL},
    {"weight_elements", SF_COLUMN_REAL, CELL(weight_elements), NULL},
    {"dispersion", SF_COLUMN_INT, CELL(dispersion), NULL},
    {"scope", SF_COLUMN_INT, CELL(scope), NULL},
    {"natural", SF_COLUMN_INT, CELL(natural), NULL},
    {"device", SF_COLUMN_TEXT, CELL(device), NULL},
    {"dtype", SF_COLUMN_TEXT, CELL(dtype), NULL},
    {"seed", SF_COLUMN_U64, CELL(seed), NULL},
    {0},
};

const sf_column sf_record_columns[] = {
    {"sample", SF_COLUMN_INT, RECORD(sample), NULL},
    {"input_tokens", SF_COLUMN_INT, RECORD(input_tokens), "tokens"},
    {"output_tokens", SF_COLUMN_INT, RECORD(output_tokens), "tokens"},
    {"bos_tokens", SF_COLUMN_INT, RECORD(bos_tokens), "tokens"},
    {"prompt_hash", SF_COLUMN_U64, RECORD(prompt_hash), NULL},
    {"parsed", SF_COLUMN_FLAG, RECORD(parsed), NULL},
    {"truncated", SF_COLUMN_FLAG, RECORD(truncated), NULL},
    {"strict", SF_COLUMN_REAL, RECORD(strict), NULL},
    {"reference", SF_COLUMN_REAL, RECORD(reference), NULL},
    {"prefill_achieved", SF_COLUMN_REAL, RECORD(achieved[SF_PREFILL]), NULL},
    {"decode_achieved", SF_COLUMN_REAL, RECORD(achieved[SF_DECODE]), NULL},
    {"prefill_cost_paper", SF_COLUMN_REAL, RECORD(cost_paper[SF_PREFILL]), "FLOP"},
    {"prefill_cost_exact", SF_COLUMN_REAL, RECORD(cost_exact[SF_PREFILL]), "FLOP"},
    {"decode_cost_paper", SF_COLUMN_REAL, RECORD(cost_paper[SF_DECODE]), "elements/token"},
    {"decode_cost_exact", SF_COLUMN_REAL, RECORD(cost_exact[SF_DECODE]), "elements/token"},
    {"prefill_seconds", SF_COLUMN_REAL, RECORD(seconds[SF_PREFILL]), "s"},
    {"decode_seconds", SF_COLUMN_REAL, RECORD(seconds[SF_DECODE]), "s"},
    {"meter", SF_COLUMN_METER, RECORD(meter), NULL},
    {"prediction", SF_COLUMN_TEXT, RECORD(prediction), NULL},
    {"gold", SF_COLUMN_TEXT, RECORD(gold), NULL},
    {"prefill_density", SF_COLUMN_MAP, RECORD(density[SF_PREFILL]), NULL},
    {"decode_density", SF_COLUMN_MAP, RECORD(density[SF_DECODE]), NULL},
    {"prefill_recall", SF_COLUMN_MAP, RECORD(recall[SF_PREFILL]), NULL},
    {"decode_recall", SF_COLUMN_MAP, RECORD(recall[SF_DECODE]), NULL},
    {0},
};

const sf_column sf_run_columns[] = {
    {"started", SF_COLUMN_TEXT, RUN(started), NULL},   {"host", SF_COLUMN_TEXT, RUN(host), NULL},
    {"revision", SF_COLUMN_TEXT, RUN(revision), NULL}, {"versions", SF_COLUMN_TEXT, RUN(versions), NULL},
    {"config", SF_COLUMN_TEXT, RUN(config), NULL},     {"seconds", SF_COLUMN_REAL, RUN(seconds), "s"},
    {"batch", SF_COLUMN_INT, RUN(batch), NULL},        {0},
};

const char *const sf_phase_names[SF_PHASES] = {"prefill", "decode"};
const char *const sf_work_names[SF_WORKS] = {"linear", "attention", "estimation", "other"};
const char *const sf_count_names[5] = {"flops", "weight_bytes", "cache_bytes", "other_bytes", "pairs"};

bool sf_key_valid(const char *key)
{
    size_t n = strspn(key, "0123456789abcdefABCDEF");
    return n > 0 && n <= SF_KEY_DIGITS && !key[n];
}

/* Blocks of at least 1 MB, so that a million short strings are a hundred allocations. */
struct sf_heap_block {
    struct sf_heap_block *next;
    size_t used, size;
    _Alignas(16) char data[];
};

void *sf_heap_alloc(sf_heap *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    struct sf_heap_block *b = arena->block;
    if (!b || b->size - b->used < bytes) {
        size_t size = bytes > ((size_t)1 << 20) ? bytes : (size_t)1 << 20;
        struct sf_heap_block *fresh = calloc(1, sizeof *fresh + size);
        if (!fresh) return NULL;
        fresh->size = size;
        if (b && size == bytes) { /* a big one of its own goes behind, the current block keeps its room */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            arena->block = fresh;
        }
        b = fresh;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    return p;
}

const char *sf_heap_text(sf_heap *arena, const char *text, size_t length)
{
    char *copy = sf_heap_alloc(arena, length + 1);
    if (copy) memcpy(copy, text, length);
    return copy;
}

void sf_heap_free(sf_heap *arena)
{
    for (struct sf_heap_block *b = arena->block, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    arena->block = NULL;
}
