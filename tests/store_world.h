/* What the tests of the store share: a folder for each, and records whose every field is a function of cell and sample. */
#ifndef SF_TESTS_STORE_WORLD_H
#define SF_TESTS_STORE_WORLD_H

#include "harness/store/hdf5.h"
#include "harness/store/store.h"
#include "tests/testing.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- A folder for each test ---- */

static char folder[64], results[96], parts[112];

static inline int make_folder(void **state)
{
    (void)state;
    if (folder_make(folder) != 0) return -1;
    snprintf(results, sizeof results, "%s/results.h5", folder);
    snprintf(parts, sizeof parts, "%s.parts", results);
    return 0;
}

static inline int remove_folder(void **state) { return (void)state, folder_remove(folder); }

/* ---- Records whose every field is a function of cell and sample ---- */

enum { LAYERS = 2, HEADS = 3 };

static inline void make_cell(int c, sf_cell_info *out)
{
    *out = (sf_cell_info){.model = "smol",
                          .model_hash = "00ff",
                          .task = "niah",
                          .task_label = "niah queries=4",
                          .task_params = "{\"queries\":4}",
                          .metric = "exact",
                          .method = {c ? "vertical_slash" : "dense", "dense"},
                          .label = {c ? "vertical_slash" : "dense", "dense"},
                          .params = {"{}", "{}"},
                          .sparsity = {c ? c * 0.05 : 0, c == 3 ? NAN : 0},
                          .length = 1024,
                          .output_limit = 64,
                          .layers = LAYERS,
                          .heads = HEADS,
                          .kv_heads = 1,
                          .head_dim = 8,
                          .d = 24,
                          .mlp = 96,
                          .vocab = 500,
                          .window = 7,
                          .sliding_layers = 1,
                          .parameters = 135e6,
                          .weight_elements = 1.2e8,
                          .dispersion = 1,
                          .scope = 0,
                          .natural = 1,
                          .device = "cpu",
                          .dtype = "f32",
                          .seed = 0xfedcba9876543210u,
                          .version = {c ? "2 3fa2b8c1" : "", ""},
                          .kind = {c ? "oracle" : "", ""},
                          .chat = c ? "{\"prefix\":\"<\",\"suffix\":\">\"}" : ""};
    snprintf(out->key, sizeof out->key, "%032x", 0xabc0 + c);
}

struct maps {
    float m[6][LAYERS * HEADS];
    sf_profile along;
    char prediction[64];
    sf_picture picture;
};

static inline void make_record(int c, int sample, struct maps *maps, sf_record *out)
{
    double x = c * 1000 + sample;
    *out = (sf_record){.sample = sample,
                       .input_tokens = 1000 + sample,
                       .output_tokens = c,
                       .bos_tokens = 1,
                       .prompt_hash = 0x8000000000000000u + (unsigned)sample,
                       .parsed = sample % 2,
                       .truncated = c % 2,
                       .strict = fmod(x / 7, 1),
                       .reference = sample % 5 ? fmod(x / 9, 1) : NAN,
                       .achieved = {x / 11, x / 12},
                       .cost_paper = {x * 1e15, x * 1e9},
                       .cost_exact = {x * 2e15, x * 2e9},
                       .seconds = {x / 3, x / 4},
                       .gold = "[\"é\", \"\\u0000\"]"};
    for (int i = 0; i < 40; i++) ((uint64_t *)&out->meter)[i] = (uint64_t)(x * 100) + (uint64_t)i + ((uint64_t)1 << 60);
    snprintf(maps->prediction, sizeof maps->prediction, "answer %d of cell %d: 漢字 🙂\n\"q\"", sample, c);
    out->prediction = maps->prediction;
    for (int k = 0; k < 6; k++)
        for (int i = 0; i < LAYERS * HEADS; i++) maps->m[k][i] = (float)(x + k * 0.25 + i);
    if (sample % 3) out->density[0] = maps->m[0], out->recall[0] = maps->m[2];
    if (c == 2) out->density[1] = maps->m[1];
    if (c == 1 && sample % 3) out->error[0] = maps->m[4];
    if (c == 2 && sample % 2) out->error[1] = maps->m[5];
    /* Cell 2 has no divergence at odd stretches of odd samples, and none at the last. */
    for (int k = 0; k < SF_PROFILE_MEASURES * SF_STRETCHES; k++)
        (&maps->along.nll[0])[k] = c == 2 && (k % SF_STRETCHES == SF_STRETCHES - 1 || (sample % 2 && k % 2)) ? NAN : (float)(x + k);
    if (c && sample % 3) out->along[c % 2] = &maps->along;
    out->depth = sample % 4 ? x / 13 : NAN;
    out->late_tokens = c == 2 ? 70 + sample : NAN; /* others have no such column */
    out->turn_scores = c == 2 && sample % 2 ? "[1.0,0.25]" : NULL; /* nor such a one */
    for (int p = 0; p < SF_PHASES; p++) { /* of cell 1 nothing was measured, of the others some */
        out->diverged[p] = (sf_diverged)SF_NOT_DIVERGED;
        if (c != 1 && (sample + p) % 3) out->diverged[p] = (sf_diverged){x / 17, x / 18, x / 19, 1 / (x + 1), x + p};
    }
    if (sample > 1 || c == 3) return; /* cells 0 to 2 keep sample 0's, though sample 1 has one too */
    maps->picture = (sf_picture){.layer = 1, .head = 2, .queries = 500, .keys = 501 + sample};
    for (int i = 0; i < SF_PICTURE_SIDE; i++) maps->picture.at[i][(i + c) % SF_PICTURE_SIDE] = i % 3 ? (float)i : NAN;
    out->picture[c % 2] = &maps->picture;
}

/* One sample of `cells` cells, as the engine finishes them. */
static inline sf_status add(sf_store *s, int cells, int sample)
{
    sf_cell_info cell[16];
    sf_record record[16];
    struct maps maps[16];
    for (int c = 0; c < cells; c++) {
        make_cell(c, &cell[c]);
        make_record(c, sample, &maps[c], &record[c]);
    }
    return sf_store_add(s, cells, cell, record);
}

static inline void same_real(double a, double b) { assert_true(a == b || (isnan(a) && isnan(b))); }

static inline void same_map(const float *a, const float *b)
{
    assert_int_equal(a != NULL, b != NULL);
    if (a) assert_memory_equal(a, b, LAYERS * HEADS * sizeof *a);
}

static inline void same_cell(const sf_cell_info *a, int c)
{
    sf_cell_info b;
    make_cell(c, &b);
    assert_string_equal(a->key, b.key);
    assert_string_equal(a->model, b.model);
    assert_string_equal(a->model_hash, b.model_hash);
    assert_string_equal(a->task, b.task);
    assert_string_equal(a->task_label, b.task_label);
    assert_string_equal(a->task_params, b.task_params);
    assert_string_equal(a->metric, b.metric);
    assert_string_equal(a->chat, b.chat);
    for (int p = 0; p < SF_PHASES; p++) {
        assert_string_equal(a->method[p], b.method[p]);
        assert_string_equal(a->label[p], b.label[p]);
        assert_string_equal(a->params[p], b.params[p]);
        assert_string_equal(a->version[p], b.version[p]);
        assert_string_equal(a->kind[p], b.kind[p]);
        same_real(a->sparsity[p], b.sparsity[p]);
    }
    assert_memory_equal(&a->length, &b.length, offsetof(sf_cell_info, sliding_layers) + sizeof b.sliding_layers - offsetof(sf_cell_info, length));
    same_real(a->parameters, b.parameters);
    same_real(a->weight_elements, b.weight_elements);
    assert_true(a->dispersion == b.dispersion && a->scope == b.scope && a->natural == b.natural && a->seed == b.seed);
    assert_string_equal(a->device, b.device);
    assert_string_equal(a->dtype, b.dtype);
}

static inline void same_record(const sf_record *a, int c, int sample, unsigned what)
{
    struct maps maps;
    sf_record b;
    make_record(c, sample, &maps, &b);
    assert_int_equal(a->sample, b.sample);
    assert_int_equal(a->input_tokens, b.input_tokens);
    assert_int_equal(a->output_tokens, b.output_tokens);
    assert_int_equal(a->bos_tokens, b.bos_tokens);
    assert_true(a->prompt_hash == b.prompt_hash && a->parsed == b.parsed && a->truncated == b.truncated);
    same_real(a->strict, b.strict);
    same_real(a->reference, b.reference);
    same_real(a->depth, b.depth);
    same_real(a->late_tokens, b.late_tokens);
    if (what & SF_READ_TEXTS) assert_string_equal(a->turn_scores ? a->turn_scores : "", b.turn_scores ? b.turn_scores : "");
    for (int p = 0; p < SF_PHASES; p++) {
        same_real(a->diverged[p].nll, b.diverged[p].nll);
        same_real(a->diverged[p].dense_nll, b.diverged[p].dense_nll);
        same_real(a->diverged[p].kl, b.diverged[p].kl);
        same_real(a->diverged[p].agreement, b.diverged[p].agreement);
        same_real(a->diverged[p].rank, b.diverged[p].rank);
        same_real(a->achieved[p], b.achieved[p]);
        same_real(a->cost_paper[p], b.cost_paper[p]);
        same_real(a->cost_exact[p], b.cost_exact[p]);
        same_real(a->seconds[p], b.seconds[p]);
        bool pictured = (what & SF_READ_PICTURES) && sample == 0 && b.picture[p];
        assert_int_equal(a->picture[p] && sample != 1, pictured); /* of sample 1 a part holds one, the file does not */
        if (pictured) assert_memory_equal(a->picture[p], b.picture[p], sizeof(sf_picture));
        if (what & SF_READ_MAPS) {
            same_map(a->density[p], b.density[p]);
            same_map(a->recall[p], b.recall[p]);
            same_map(a->error[p], b.error[p]);
            assert_int_equal(a->along[p] != NULL, b.along[p] != NULL);
            for (int k = 0; b.along[p] && k < SF_PROFILE_MEASURES * SF_STRETCHES; k++)
                same_real((double)(&a->along[p]->nll[0])[k], (double)(&b.along[p]->nll[0])[k]);
        }
    }
    assert_memory_equal(&a->meter, &b.meter, sizeof a->meter);
    if (what & SF_READ_TEXTS) {
        assert_string_equal(a->prediction, b.prediction);
        assert_string_equal(a->gold, b.gold);
    }
}

enum { EVERYTHING = SF_READ_TEXTS | SF_READ_MAPS | SF_READ_PICTURES };

static inline void read_one(const char *path, unsigned what, sf_results *out)
{
    const char *list[] = {path};
    OK(sf_results_read(1, list, what, out));
}

/* The file holds exactly samples 0 … samples-1 of each cell. */
static inline void holds(int cells, int samples)
{
    sf_results r;
    read_one(results, EVERYTHING, &r);
    assert_int_equal(r.problems, 0);
    assert_int_equal(r.cells, cells);
    for (int c = 0; c < cells; c++) {
        same_cell(&r.cell[c], c);
        assert_int_equal(r.records[c], samples);
        for (int i = 0; i < samples; i++) same_record(&r.record[c][i], c, i, EVERYTHING);
    }
    sf_results_free(&r);
}

static inline bool exists(const char *path) { return access(path, F_OK) == 0; }

/* Rows as they lie in the file: readers pass over doubles, the file must not hold any. */
static inline int rows_in_file(int c)
{
    sf_cell_info cell;
    char path[96];
    hsize_t rows = 0;
    make_cell(c, &cell);
    snprintf(path, sizeof path, "cells/%s/sample", cell.key);
    hid_t h5 = H5Fopen(results, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(h5, path, H5P_DEFAULT),
          space = H5Dget_space(set);
    H5Sget_simple_extent_dims(space, &rows, NULL);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(h5);
    return (int)rows;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

#endif
