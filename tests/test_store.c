/* The results store: what goes in comes out, kills lose and double nothing, damage is named.
 * FRONTIER_KILLS=N, FRONTIER_DAMAGES=N: so many instead of the few that fit a test suite. */
#include "harness/store/hdf5.h"
#include "harness/store/store.h"
#include "tests/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>


/* ---- A folder for each test ---- */

static char folder[64], results[96], parts[112];

static int make_folder(void **state)
{
    (void)state;
    if (folder_make(folder) != 0) return -1;
    snprintf(results, sizeof results, "%s/results.h5", folder);
    snprintf(parts, sizeof parts, "%s.parts", results);
    return 0;
}

static int remove_folder(void **state) { return (void)state, folder_remove(folder); }

/* ---- Records whose every field is a function of cell and sample ---- */

enum { LAYERS = 2, HEADS = 3 };

static void make_cell(int c, sf_cell_info *out)
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

static void make_record(int c, int sample, struct maps *maps, sf_record *out)
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
    for (int k = 0; k < SF_PROFILE_MEASURES * SF_STRETCHES; k++) /* cell 2 has no divergence at odd stretches of odd samples */
        (&maps->along.nll[0])[k] = c == 2 && sample % 2 && k % 2 ? NAN : (float)(x + k);
    if (c && sample % 3) out->along[c % 2] = &maps->along;
    out->depth = sample % 4 ? x / 13 : NAN;
    out->late_tokens = c == 2 ? 70 + sample : NAN; /* others have no such column */
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
static sf_status add(sf_store *s, int cells, int sample)
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

static void same_real(double a, double b) { assert_true(a == b || (isnan(a) && isnan(b))); }

static void same_map(const float *a, const float *b)
{
    assert_int_equal(a != NULL, b != NULL);
    if (a) assert_memory_equal(a, b, LAYERS * HEADS * sizeof *a);
}

static void same_cell(const sf_cell_info *a, int c)
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

static void same_record(const sf_record *a, int c, int sample, unsigned what)
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

static void read_one(const char *path, unsigned what, sf_results *out)
{
    const char *list[] = {path};
    OK(sf_results_read(1, list, what, out));
}

/* The file holds exactly samples 0 … samples-1 of each cell. */
static void holds(int cells, int samples)
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

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* Rows as they lie in the file: readers pass over doubles, the file must not hold any. */
static int rows_in_file(int c)
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

/* ---- Round trips ---- */

static void test_round_trip(void **state)
{
    (void)state;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 5; i++) OK(add(s, 4, i));
    holds(4, 5); /* parts alone */
    OK(sf_store_fold(s, NULL));
    holds(4, 5); /* file alone */
    for (int i = 5; i < 70; i++) OK(add(s, 4, i));
    holds(4, 70); /* both */
    sf_store_close(s);
    holds(4, 70);
    OK(sf_store_open(results, false, &s));
    for (int c = 0; c < 4; c++) {
        sf_cell_info cell;
        make_cell(c, &cell);
        for (int i = 0; i < 80; i++) assert_int_equal(sf_store_has(s, cell.key, i), i < 70);
    }
    assert_false(sf_store_has(s, "abcdef", 0));
    for (int i = 0; i < 71; i++) OK(add(s, 4, i)); /* what is there is passed over */
    OK(sf_store_fold(s, NULL));
    holds(4, 71);
    sf_store_close(s);
    assert_false(exists(parts));
    holds(4, 71);
    OK(sf_store_open(results, true, &s));
    OK(add(s, 2, 0));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    holds(2, 1);
}

/* ---- Failures ---- */

static sf_status fail_cell(sf_store *s, int c, int sample, const char *message)
{
    sf_cell_info cell;
    make_cell(c, &cell);
    return sf_store_fail(s, &(sf_failure){.key = cell.key, .model = cell.model, .task = cell.task_label,
                                          .label = {cell.label[0], cell.label[1]},
                                          .sparsity = {cell.sparsity[0], cell.sparsity[1]},
                                          .length = cell.length, .sample = sample, .message = message});
}

/* The failures on record are those of the cells from `first` to 3, sample 10 + c, and those words. */
static void failed_are(int first, const char *const words[4])
{
    sf_results r;
    read_one(results, EVERYTHING, &r);
    assert_int_equal(r.problems, 0);
    assert_int_equal(r.failures, 4 - first);
    for (int c = first; c < 4; c++) {
        sf_cell_info cell;
        int i = 0;
        make_cell(c, &cell);
        while (i < r.failures && strcmp(r.failure[i].key, cell.key)) i++;
        assert_true(i < r.failures);
        const sf_failure *f = &r.failure[i];
        assert_string_equal(f->model, cell.model);
        assert_string_equal(f->task, cell.task_label);
        for (int p = 0; p < SF_PHASES; p++) {
            assert_string_equal(f->label[p], cell.label[p]);
            same_real(f->sparsity[p], cell.sparsity[p]);
        }
        assert_true(f->length == cell.length && f->sample == 10 + c);
        assert_string_equal(f->message, words[c]);
    }
    sf_results_free(&r);
}

/* A cell's last failure stands, in parts and in the file, until its sample is stored after all. */
static void test_failures(void **state)
{
    (void)state;
    static const char *const words[4] = {"zero", "ended by signal 11, \"quoted\"", "two\nlines", "漢字"};
    sf_store *s;
    sf_cell_info cell;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 0));
    OK(fail_cell(s, 1, 3, "before"));
    for (int c = 0; c < 4; c++) OK(fail_cell(s, c, 10 + c, words[c]));
    failed_are(0, words);
    OK(sf_store_fold(s, NULL));
    failed_are(0, words);
    OK(fail_cell(s, 2, 1, "again"));
    OK(fail_cell(s, 2, 12, words[2])); /* in the file and in parts */
    failed_are(0, words);
    sf_store_close(s);
    OK(sf_store_open(results, false, &s));
    for (int c = 0; c < 5; c++) {
        make_cell(c, &cell);
        assert_int_equal(sf_store_failed(s, cell.key), c < 4);
    }
    sf_store_forgive(s);
    for (int c = 0; c < 4; c++) {
        make_cell(c, &cell);
        assert_false(sf_store_failed(s, cell.key));
    }
    OK(add(s, 1, 10)); /* cell 0's */
    OK(add(s, 2, 10)); /* and another sample of cell 1 than failed */
    failed_are(1, words);
    OK(sf_store_fold(s, NULL));
    failed_are(1, words);
    sf_store_close(s);
}

/* What a fold has written is read again before the parts go: any value that came back otherwise is named. */
static void test_read_back(void **state)
{
    (void)state;
    sf_hdf5 file;
    sf_cell_info cell;
    struct maps maps[2], other_maps;
    sf_record record[2], other;
    OK(sf_hdf5_create(results, &file));
    make_cell(2, &cell);
    for (int i = 0; i < 2; i++) make_record(2, i + 1, &maps[i], &record[i]);
    const sf_record *const written[] = {&record[0], &record[1]}, *const changed[] = {&record[0], &other};
    OK(sf_hdf5_append(&file, &cell, 2, written));
    OK(sf_hdf5_same_rows(&file, &cell, 0, 2, written));
#define CHANGED(change, name)                                                                                          \
    do {                                                                                                               \
        make_record(2, 2, &other_maps, &other);                                                                        \
        change;                                                                                                        \
        assert_error(sf_hdf5_same_rows(&file, &cell, 0, 2, changed), "read back, " name " of cell");                   \
    } while (0)
    CHANGED(other.sample = 7, "sample");
    CHANGED(other.input_tokens++, "input_tokens");
    CHANGED(other.strict += 1e-9, "strict");
    CHANGED(other.parsed = !other.parsed, "parsed");
    CHANGED(other.prompt_hash ^= 1, "prompt_hash");
    CHANGED(other.prediction = "another", "prediction");
    CHANGED(other.gold = "[]", "gold");
    CHANGED(((uint64_t *)&other.meter)[39]++, "meter");
    CHANGED(other_maps.m[1][LAYERS * HEADS - 1] += 1, "decode_density");
#undef CHANGED
    cell.seed++;
    assert_error(sf_hdf5_same_rows(&file, &cell, 0, 2, written), "an attribute");
    OK(sf_hdf5_close(&file));
}

/* Rows that were there before must be what they were, in a file that rows were added to. */
static void test_read_back_older(void **state)
{
    (void)state;
    char older[112];
    sf_cell_info cell;
    struct maps maps[3];
    sf_record first, other, second;
    make_cell(2, &cell);
    make_record(2, 1, &maps[0], &first);
    make_record(2, 2, &maps[1], &second);
    snprintf(older, sizeof older, "%s/older.h5", folder);
    for (int k = 0; k < 5; k++) {
        static const char *const name[] = {NULL, "strict", "prediction", "meter", "decode_density"};
        sf_hdf5 before, after;
        make_record(2, 1, &maps[2], &other);
        if (k == 1) other.strict += 1e-9;
        if (k == 2) other.prediction = "another";
        if (k == 3) ((uint64_t *)&other.meter)[39]++;
        if (k == 4) maps[2].m[1][LAYERS * HEADS - 1] += 1;
        const sf_record *const was[] = {&first}, *const now[] = {&other, &second};
        unlink(older), unlink(results);
        OK(sf_hdf5_create(older, &before));
        OK(sf_hdf5_append(&before, &cell, 1, was));
        OK(sf_hdf5_create(results, &after));
        OK(sf_hdf5_append(&after, &cell, 2, now));
        if (k) assert_error(sf_hdf5_same_cells(&after, &before), name[k]);
        else OK(sf_hdf5_same_cells(&after, &before));
        OK(sf_hdf5_close(&before));
        OK(sf_hdf5_close(&after));
    }
}

static void test_selected_reading(void **state)
{
    (void)state;
    sf_store *s;
    sf_results r;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 4; i++) OK(add(s, 3, i));
    OK(sf_store_fold(s, NULL));
    OK(add(s, 3, 4)); /* one more that is only a part: means go over both */
    sf_store_close(s);
    read_one(results, SF_READ_MEANS, &r);
    for (int c = 0; c < 3; c++) {
        assert_int_equal(r.records[c], 5);
        same_record(&r.record[c][3], c, 3, 0);
        double mean = (1 + 2 + 4) / 3.0 + c * 1000; /* samples 0 and 3 have no maps */
        for (int i = 0; i < LAYERS * HEADS; i++) {
            assert_float_equal(r.mean[c].density[0][i], mean + i, 1e-3);
            assert_float_equal(r.mean[c].recall[0][i], mean + 0.5 + i, 1e-3);
            if (c == 2) assert_float_equal(r.mean[c].density[1][i], 2 + 2000 + 0.25 + i, 1e-3);
        }
        for (int i = 0; c == 1 && i < LAYERS * HEADS; i++) assert_float_equal(r.mean[c].error[0][i], mean + 1 + i, 1e-3);
        assert_int_equal(r.mean[c].error[1] != NULL, c == 2);
        assert_int_equal(r.mean[c].along[c % 2] != NULL, c > 0);
        for (int k = 0; c == 1 && k < SF_STRETCHES; k++) assert_float_equal(r.mean[c].along[1]->nll[k], mean + k, 1e-3);
        for (int k = 0; c == 2 && k < SF_STRETCHES; k++) /* at odd stretches samples 2 and 4 alone */
            assert_float_equal(r.mean[c].along[0]->nll[k], (k % 2 ? 2003 : mean) + k, 1e-3);
        assert_null(r.mean[c].recall[1]);
        if (c != 2) assert_null(r.mean[c].density[1]);
    }
    sf_results_free(&r);
    OK(sf_store_open(results, false, &s));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    sf_results folded;
    read_one(results, SF_READ_MEANS, &folded);
    assert_float_equal(folded.mean[1].density[0][0], 7 / 3.0 + 1000, 1e-3);
    assert_null(folded.record[0][0].prediction);
    assert_null(folded.record[0][1].density[0]);
    sf_results_free(&folded);
}

/* What results/README.md promises to readers in other languages. */
static void test_schema(void **state)
{
    (void)state;
    sf_store *s;
    sf_cell_info cell;
    char path[96], *text = NULL;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 2; i++) OK(add(s, 1, i));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    make_cell(0, &cell);
    hid_t h5 = H5Fopen(results, H5F_ACC_RDONLY, H5P_DEFAULT);
    struct {
        const char *name;
        hid_t type;
        int rank;
        bool filtered;
        const char *unit;
    } column[] = {{"sample", H5T_STD_I32LE, 1, true, NULL},
                  {"parsed", H5T_STD_U8LE, 1, true, NULL},
                  {"strict", H5T_IEEE_F64LE, 1, true, NULL},
                  {"prompt_hash", H5T_STD_U64LE, 1, true, NULL},
                  {"prefill_cost_paper", H5T_IEEE_F64LE, 1, true, "FLOP"},
                  {"decode_seconds", H5T_IEEE_F64LE, 1, true, "s"},
                  {"depth", H5T_IEEE_F64LE, 1, true, NULL},
                  {"decode_kl", H5T_IEEE_F64LE, 1, true, "nat"},
                  {"prefill_picture", H5T_IEEE_F32LE, 2, true, NULL},
                  {"meter", H5T_STD_U64LE, 4, true, NULL},
                  {"prefill_density", H5T_IEEE_F32LE, 3, true, NULL},
                  {"prediction", H5I_INVALID_HID, 1, false, NULL}};
    for (size_t i = 0; i < sizeof column / sizeof *column; i++) {
        snprintf(path, sizeof path, "cells/%s/%s", cell.key, column[i].name);
        hid_t set = H5Dopen2(h5, path, H5P_DEFAULT), type = H5Dget_type(set), space = H5Dget_space(set),
              list = H5Dget_create_plist(set);
        if (column[i].type != H5I_INVALID_HID)
            assert_true(H5Tequal(type, column[i].type) > 0);
        else
            assert_true(H5Tis_variable_str(type) > 0 && H5Tget_cset(type) == H5T_CSET_UTF8);
        assert_int_equal(H5Sget_simple_extent_ndims(space), column[i].rank);
        assert_int_equal(H5Pget_nfilters(list), column[i].filtered ? 3 : 0);
        if (column[i].filtered)
            assert_int_equal(H5Pget_filter2(list, 2, NULL, NULL, NULL, 0, NULL, NULL), H5Z_FILTER_FLETCHER32);
        assert_int_equal(H5Aexists(set, "unit") > 0, column[i].unit != NULL);
        if (column[i].unit) {
            hid_t unit = H5Aopen(set, "unit", H5P_DEFAULT), of = H5Aget_type(unit);
            assert_true(H5Aread(unit, of, &text) >= 0);
            assert_string_equal(text, column[i].unit);
            H5free_memory(text);
            H5Tclose(of);
            H5Aclose(unit);
        }
        H5Pclose(list);
        H5Sclose(space);
        H5Tclose(type);
        H5Dclose(set);
    }
    H5Fclose(h5);
}

static void test_runs(void **state)
{
    (void)state;
    sf_store *s;
    sf_results r;
    sf_run_info first = {.config = "name: demo\n",
                         .revision = "abc",
                         .host = "here",
                         .versions = "{}",
                         .started = "2025-01-01T00:00:00Z",
                         .seconds = NAN,
                         .batch = 64,
                         .cells = "00ff 01ff"},
                second = first;
    second.started = "2025-01-02T00:00:00Z";
    OK(sf_store_open(results, false, &s));
    OK(sf_store_note(s, &first)); /* killed: never folded, never finished */
    sf_store_close(s);
    OK(sf_store_open(results, false, &s));
    OK(sf_store_note(s, &second));
    OK(add(s, 1, 0));
    OK(sf_store_fold(s, NULL));
    second.seconds = 12.5;
    OK(sf_store_note(s, &second));
    for (int folded = 0; folded < 2; folded++) {
        read_one(results, 0, &r);
        assert_int_equal(r.runs, 2);
        int at = strcmp(r.run[0].started, first.started) ? 1 : 0;
        assert_string_equal(r.run[at].started, first.started);
        assert_true(isnan(r.run[at].seconds));
        assert_string_equal(r.run[!at].config, "name: demo\n");
        assert_true(r.run[!at].seconds == 12.5 && r.run[!at].batch == 64);
        assert_string_equal(r.run[at].cells, "00ff 01ff");
        assert_string_equal(r.run[!at].cells, "00ff 01ff");
        sf_results_free(&r);
        OK(sf_store_fold(s, &second));
    }
    sf_store_close(s);
}

static void test_large_config(void **state)
{
    (void)state;
    sf_store *s;
    sf_results r;
    char *config = malloc(200001);
    memset(config, 'x', 200000);
    config[200000] = 0;
    sf_run_info run = {.config = config, .seconds = 1};
    OK(sf_store_open(results, false, &s));
    OK(sf_store_fold(s, &run));
    sf_store_close(s);
    read_one(results, 0, &r);
    assert_int_equal(strlen(r.run[0].config), 200000);
    assert_string_equal(r.run[0].host, "");
    sf_results_free(&r);
    free(config);
}

static void test_folds_by_itself(void **state)
{
    (void)state;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 255; i++) OK(add(s, 1, i));
    assert_false(exists(results));
    OK(add(s, 1, 255));
    assert_true(exists(results));
    OK(add(s, 1, 256));
    sf_store_close(s);
    holds(1, 257);
}

/* A file system that cannot copy by itself. */
static bool copies_by_kernel = true;
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t bytes, unsigned flags)
{
    if (!copies_by_kernel) return errno = EXDEV, -1;
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, bytes, flags);
}

static void test_folds_by_hand(void **state)
{
    (void)state;
    sf_store *s;
    copies_by_kernel = false;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 2; i++) {
        OK(add(s, 2, i));
        OK(sf_store_fold(s, NULL)); /* the second copies what the first has made */
    }
    sf_store_close(s);
    copies_by_kernel = true;
    holds(2, 2);
}

static void test_many_cells(void **state)
{
    (void)state;
    enum { CELLS = 600 };
    sf_store *s;
    sf_cell_info *cell = calloc(CELLS, sizeof *cell);
    sf_record *record = calloc(CELLS, sizeof *record);
    struct maps maps;
    for (int i = 0; i < CELLS; i++) {
        make_cell(i, &cell[i]);
        make_record(0, 2, &maps, &record[i]);
    }
    OK(sf_store_open(results, false, &s));
    OK(sf_store_add(s, CELLS, cell, record));
    for (int i = 0; i < CELLS; i++) assert_true(sf_store_has(s, cell[i].key, 2) && !sf_store_has(s, cell[i].key, 3));
    sf_store_close(s);
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < CELLS; i++) assert_true(sf_store_has(s, cell[i].key, 2) && !sf_store_has(s, cell[i].key, 3));
    sf_store_close(s);
    free(cell), free(record);
}

static void test_several_files(void **state)
{
    (void)state;
    char other[112];
    snprintf(other, sizeof other, "%s/other.h5", folder);
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 4; i++) OK(add(s, 2, i));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    OK(sf_store_open(other, false, &s));
    for (int i = 2; i < 6; i++) OK(add(s, 3, i));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    sf_results r;
    const char *list[] = {results, other};
    OK(sf_results_read(2, list, SF_READ_MEANS, &r));
    assert_int_equal(r.cells, 3);
    assert_int_equal(r.records[0], 6);
    assert_int_equal(r.records[2], 4);
    for (int i = 0; i < 6; i++) same_record(&r.record[1][i], 1, i, 0);
    for (int i = 0; i < LAYERS * HEADS; i++)
        assert_float_equal(r.mean[0].density[0][i], (1 + 2 + 4 + 5) / 4.0 + i, 1e-5); /* sample 2 is in both and counts once */
    sf_results_free(&r);
}

/* ---- Kills ---- */

enum { KILL_CELLS = 3, KILL_SAMPLES = 12 };

/* A sweep that resumes, folding often so that kills meet every step. */
static void small_sweep(void)
{
    sf_store *s;
    sf_run_info run = {.started = "now", .host = "here", .seconds = 1};
    if (sf_store_open(results, false, &s) != SF_OK) _exit(2);
    for (int i = 0; i < KILL_SAMPLES; i++) {
        sf_cell_info cell;
        make_cell(0, &cell);
        bool done = sf_store_has(s, cell.key, i);
        if (!done && add(s, KILL_CELLS, i) != SF_OK) _exit(3);
        char name[128]; /* the sweep's own record of what it was told is durable */
        snprintf(name, sizeof name, "%s/done-%d", folder, i);
        close(open(name, O_CREAT | O_WRONLY, 0666));
        if (!done && i % 3 == 2 && sf_store_fold(s, NULL) != SF_OK) _exit(4);
    }
    if (sf_store_fold(s, &run) != SF_OK) _exit(5);
    sf_store_close(s);
    _exit(0);
}

static void test_kills(void **state)
{
    (void)state;
    const char *asked = getenv("FRONTIER_KILLS");
    int kills = asked ? atoi(asked) : 15, killed = 0, finished = 0;
    srand(43);
    for (int attempt = 0; (killed < kills || !finished) && attempt < 20 * kills; attempt++) {
        pid_t child = fork();
        if (child == 0) small_sweep();
        /* A random instant, on machines of different speed and load. */
        usleep((useconds_t)(rand() % 25000) << rand() % (4 + (attempt / kills < 4 ? attempt / kills : 4)));
        kill(child, SIGKILL);
        int how;
        waitpid(child, &how, 0);
        if (WIFEXITED(how) && WEXITSTATUS(how)) fail_msg("a resumed sweep failed at step %d", WEXITSTATUS(how));
        killed += WIFSIGNALED(how);
        sf_results r;
        const char *list[] = {results};
        int told = 0;
        char name[128];
        for (int i = 0; i < KILL_SAMPLES; i++) {
            snprintf(name, sizeof name, "%s/done-%d", folder, i);
            told += exists(name);
        }
        if (exists(results) || told) {
            OK(sf_results_read(1, list, EVERYTHING, &r));
            assert_int_equal(r.problems, 0);
            for (int c = 0; c < r.cells; c++) {
                assert_in_range(r.records[c], told, told + 1);
                for (int i = 0; i < r.records[c]; i++) same_record(&r.record[c][i], c, i, EVERYTHING);
            }
            assert_int_equal(r.cells, told || r.cells ? KILL_CELLS : 0);
            sf_results_free(&r);
        }
        if (WIFEXITED(how)) { /* to its end: check, and start anew */
            holds(KILL_CELLS, KILL_SAMPLES);
            for (int c = 0; c < KILL_CELLS; c++) assert_int_equal(rows_in_file(c), KILL_SAMPLES);
            assert_false(exists(parts));
            finished++;
            assert_int_equal(remove_folder(NULL), 0);
            assert_int_equal(mkdir(folder, 0777), 0);
        }
    }
    assert_true(killed >= kills && finished > 0);
}

/* A kill between the rename of a fold and the removal of its parts leaves both. */
static void test_parts_already_folded(void **state)
{
    (void)state;
    char command[512];
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 3; i++) OK(add(s, 2, i));
    snprintf(command, sizeof command, "cp -r '%s' '%s/kept' && touch '%s/0000000000000009.part.tmp' '%s.tmp'", parts,
             folder, parts, results);
    assert_int_equal(system(command), 0);
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    snprintf(command, sizeof command, "rm -rf '%s'; mv '%s/kept' '%s'", parts, folder, parts);
    assert_int_equal(system(command), 0);
    holds(2, 3);
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 3));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    holds(2, 4);
    assert_int_equal(rows_in_file(1), 4);
    assert_false(exists(parts)); /* nor is anything half-written left */
    snprintf(command, sizeof command, "%s.tmp", results);
    assert_false(exists(command));
}

static void test_two_processes(void **state)
{
    (void)state;
    sf_store *s, *second;
    OK(sf_store_open(results, false, &s));
    assert_error(sf_store_open(results, false, &second), "another process");
    assert_true(exists(parts)); /* empty, but the first one's */
    OK(add(s, 1, 0));
    pid_t child = fork();
    if (child == 0) {
        bool refused = sf_store_open(results, true, &second) == SF_IO && strstr(sf_error(), "another process");
        _exit(refused ? 0 : 1);
    }
    int how;
    waitpid(child, &how, 0);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_error(sf_store_open(results, false, &second), "another process");
    OK(add(s, 1, 1));
    sf_store_close(s);
    OK(sf_store_open(results, false, &s));
    sf_store_close(s);
    holds(1, 2);
}

/* What a kill leaves half-written is removed by the next who opens the file. */
static void test_half_written(void **state)
{
    (void)state;
    char path[160];
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 1, 0));
    sf_store_close(s);
    snprintf(path, sizeof path, "%s/%016x.part.tmp", parts, 7);
    file_write(path, "SFpart", 6);
    OK(sf_store_open(results, false, &s));
    assert_false(exists(path));
    sf_store_close(s);
    holds(1, 1);
}

/* How many parts each of several processes has written, which the one that folds holds against what they say. */
static void test_written(void **state)
{
    (void)state;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    const uint64_t lead = sf_store_lead(s);
    sf_store_share(s, 1, 3);
    for (int added = 0; added < 4; added++) {
        for (int writer = 0; writer < 3; writer++) {
            int n = -1;
            OK(sf_store_written(s, lead, writer, &n));
            assert_int_equal(n, writer == 1 ? added : 0);
        }
        OK(add(s, 1, added));
    }
    sf_store_close(s);
}

/* A report of a sweep that runs on: never an error, never a step back, never a double. */
static void test_reading_meanwhile(void **state)
{
    (void)state;
    enum { SAMPLES = 60 };
    pid_t child = fork();
    if (child == 0) {
        sf_store *s;
        if (sf_store_open(results, false, &s) != SF_OK) _exit(1);
        for (int i = 0; i < SAMPLES; i++)
            if (add(s, 2, i) != SF_OK || (i % 2 && sf_store_fold(s, NULL) != SF_OK)) _exit(2);
        sf_store_close(s);
        _exit(0);
    }
    int how = 0, last = 0, readings = 0;
    while (waitpid(child, &how, WNOHANG) == 0) {
        sf_results r;
        if (!exists(results)) continue;
        read_one(results, EVERYTHING, &r);
        assert_int_equal(r.problems, 0);
        assert_int_equal(r.cells, 2);
        if (r.records[0] < last) fail_msg("%d records after %d", r.records[0], last);
        for (int i = 0; i < r.records[0]; i++) same_record(&r.record[0][i], 0, i, EVERYTHING);
        last = r.records[0];
        sf_results_free(&r);
        readings++;
    }
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_true(readings > 5);
    holds(2, SAMPLES);
}

/* ---- Full disk ---- */

/* Runs to the end of the room, then checks that the failed step left nothing and that more room resumes. */
static void fill_and_resume(void (*more_room)(void))
{
    sf_store *s;
    int samples = 0;
    OK(sf_store_open(results, false, &s));
    sf_status status = SF_OK;
    while (status == SF_OK && samples < 20000) {
        status = add(s, 8, samples);
        if (status == SF_OK && ++samples % 20 == 0) status = sf_store_fold(s, NULL);
    }
    assert_int_equal(status, SF_IO);
    assert_true(strstr(sf_error(), "No space left on device") || strstr(sf_error(), "File too large"));
    assert_non_null(strstr(sf_error(), "kept"));
    assert_error(sf_store_fold(s, NULL), "kept");
    sf_store_close(s);
    more_room();
    holds(8, samples);
    OK(sf_store_open(results, false, &s));
    OK(add(s, 8, samples));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    holds(8, samples + 1);
    assert_false(exists(parts));
}

static void lift_limit(void) { setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}); }

static void test_file_size_limit(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 19, RLIM_INFINITY}), 0);
    fill_and_resume(lift_limit);
    lift_limit();
}

static void grow(void)
{
    if (mount("none", folder, NULL, MS_REMOUNT, "size=64m") != 0) fail_msg("remount: %s", strerror(errno));
}

static void test_full_disk(void **state)
{
    (void)state;
    if (mount("tmpfs", folder, "tmpfs", 0, "size=2m") != 0) skip(); /* needs root */
    fill_and_resume(grow);
}

/* ---- What is not a results file ---- */

static sf_status try_reading(const char *path)
{
    sf_results r;
    sf_status status = sf_results_read(1, (const char *const[]){path}, EVERYTHING | SF_READ_MEANS, &r);
    if (status == SF_OK) sf_results_free(&r);
    return status;
}

static void test_refusals(void **state)
{
    (void)state;
    char path[160];
    sf_store *s;
    assert_error(try_reading(results), "No such file");
    assert_error(sf_store_open(folder, false, &s), "is a folder");
    assert_error(try_reading(folder), "is a folder");
    assert_error(sf_store_open("", false, &s), "is a folder");
    snprintf(path, sizeof path, "%s/missing/results.h5", folder);
    assert_error(sf_store_open(path, false, &s), "missing: No such file");
    file_write(results, "name: demo\n", 11);
    assert_error(sf_store_open(results, false, &s), "is not an HDF5 file");
    assert_error(try_reading(results), results);
    file_write(results, "", 0);
    assert_error(try_reading(results), "is not an HDF5 file (0 bytes)");
    snprintf(path, sizeof path, "%s/results.h5/results.h5", folder);
    assert_error(sf_store_open(path, false, &s), "Not a directory");
    assert_null(s);

    unlink(results);
    assert_int_equal(mkfifo(results, 0666), 0);
    assert_error(sf_store_open(results, true, &s), "is not a file");
    unlink(results);

    hid_t file = H5Fcreate(results, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    assert_error(sf_store_open(results, false, &s), "not results of frontier");

    OK(sf_store_open(results, true, &s)); /* overwriting does not care what was there */
    OK(add(s, 1, 0));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    int other = 99;
    file = H5Fopen(results, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t schema = H5Aopen(file, "schema", H5P_DEFAULT);
    H5Awrite(schema, H5T_NATIVE_INT, &other);
    H5Aclose(schema);
    H5Fclose(file);
    assert_error(sf_store_open(results, false, &s), "has schema 99");
    assert_error(try_reading(results), "has schema 99");
}

/* A cell that lost a column, or has one of another type, is left out and named; the others are read. */
static void test_one_damaged_cell(void **state)
{
    (void)state;
    sf_store *s;
    sf_results r;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 3; i++) OK(add(s, 3, i));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    sf_cell_info cell[2];
    char path[96];
    make_cell(0, &cell[0]);
    make_cell(1, &cell[1]);
    hid_t file = H5Fopen(results, H5F_ACC_RDWR, H5P_DEFAULT);
    snprintf(path, sizeof path, "cells/%s/strict", cell[0].key);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    snprintf(path, sizeof path, "cells/%s/output_tokens", cell[1].key);
    hsize_t fewer = 2;
    hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
    assert_true(H5Dset_extent(set, &fewer) >= 0);
    H5Dclose(set);
    H5Fclose(file);
    read_one(results, EVERYTHING, &r);
    assert_int_equal(r.cells, 1);
    assert_int_equal(r.problems, 2);
    assert_non_null(strstr(r.problem[0], "strict"));
    assert_non_null(strstr(r.problem[0], cell[0].key));
    assert_non_null(strstr(r.problem[0], results));
    assert_non_null(strstr(r.problem[1], "output_tokens"));
    same_record(&r.record[0][2], 2, 2, EVERYTHING);
    sf_results_free(&r);
}

static void test_damaged_parts(void **state)
{
    (void)state;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 0));
    OK(add(s, 2, 1));
    sf_store_close(s);
    char path[160];
    size_t bytes;
    snprintf(path, sizeof path, "%s/0000000000000001.part", parts);
    char *whole = file_read(path, &bytes), *bent = malloc(bytes);
    for (size_t i = 0; i < bytes; i += i < 64 ? 1 : 37) {
        memcpy(bent, whole, bytes);
        bent[i] ^= 0x41;
        file_write(path, bent, bytes);
        assert_error(sf_store_open(results, false, &s), "0000000000000001.part");
        file_write(path, whole, i);
        assert_error(sf_store_open(results, false, &s), "0000000000000001.part");
    }
    sf_results r;
    read_one(results, EVERYTHING, &r); /* a reader goes on with the rest and says so */
    assert_int_equal(r.problems, 1);
    assert_non_null(strstr(r.problem[0], "0000000000000001.part"));
    assert_int_equal(r.records[0], 1);
    sf_results_free(&r);
    file_write(path, whole, bytes);
    holds(2, 2);
    free(whole);
    free(bent);
}

/* A part whose checksum is right, of a program that writes what no cell has. */
static void test_cells_in_range(void **state)
{
    (void)state;
    static const int shape[] = {LAYERS, HEADS, 1, 8}; /* as it lies in a part */
    static const struct {
        int layers, heads;
        char key;
    } wrong[] = {{-1, HEADS, '0'}, {LAYERS, -1, '0'}, {(1 << 20) + 1, 0, '0'}, {0, (1 << 20) + 1, '0'}, {LAYERS, HEADS, 'z'}};
    enum { HEADER = 32 };
    char path[160];
    size_t bytes;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 1, 0));
    sf_store_close(s);
    snprintf(path, sizeof path, "%s/%016x.part", parts, 0);
    char *whole = file_read(path, &bytes), *bent = malloc(bytes);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(bent, whole, bytes);
        char *at = memmem(bent, bytes, shape, sizeof shape);
        assert_non_null(at);
        memcpy(at, &wrong[i], 2 * sizeof(int));
        bent[HEADER + 1] = wrong[i].key;
        uint64_t hash = XXH3_64bits(bent + HEADER, bytes - HEADER);
        memcpy(bent + 24, &hash, 8);
        file_write(path, bent, bytes);
        assert_error(sf_store_open(results, false, &s), "0000000000000000.part");
    }
    free(whole);
    free(bent);
}

/* A broken seal alone: all is read, cell by cell, and said to be damaged. */
static void test_broken_seal(void **state)
{
    (void)state;
    sf_store *s;
    sf_results r;
    size_t bytes;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 3; i++) OK(add(s, 3, i));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    char *whole = file_read(results, &bytes);
    whole[bytes - 16] ^= 1; /* of the checksum */
    file_write(results, whole, bytes);
    free(whole);
    read_one(results, EVERYTHING, &r);
    assert_int_equal(r.problems, 1);
    assert_non_null(strstr(r.problem[0], "damaged"));
    assert_int_equal(r.cells, 3);
    for (int c = 0; c < 3; c++) {
        same_cell(&r.cell[c], c);
        assert_int_equal(r.records[c], 3);
    }
    sf_results_free(&r);
}

/* Cuts and flipped bytes anywhere in a results file: refused, or read as damaged, and never a crash. Each try is a
 * child, so that a crash inside libhdf5 would be seen. */
static void test_damaged_file(void **state)
{
    (void)state;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 6; i++) OK(add(s, 2, i));
    OK(sf_store_fold(s, &(sf_run_info){.config = "x", .seconds = 1}));
    sf_store_close(s);
    size_t bytes;
    char *whole = file_read(results, &bytes), *bent = malloc(bytes);
    const char *asked = getenv("FRONTIER_DAMAGES");
    int damages = asked ? atoi(asked) : 60, outcome[3] = {0};
    srand(7);
    for (int k = 0; k < damages; k++) {
        size_t size = k % 3 ? bytes : (size_t)rand() % bytes;
        memcpy(bent, whole, bytes);
        if (k % 3)
            for (int n = rand() % 4; n >= 0; n--)
                bent[((size_t)rand() * 32768u + (size_t)rand()) % (bytes - 32)] ^= (char)(1 << rand() % 8);
        file_write(results, bent, size);
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL); /* cmocka would catch it, and run the other tests in the child */
            alarm(20);
            sf_results r;
            sf_status status = sf_results_read(1, (const char *const[]){results}, EVERYTHING | SF_READ_MEANS, &r);
            const char *said = status == SF_OK ? (r.problems ? r.problem[0] : "") : sf_error();
            int result = !strstr(said, results) ? 9 : status == SF_OK ? 1 : 2;
            if (status == SF_OK) sf_results_free(&r);
            if (sf_store_open(results, false, &s) == SF_OK) result = 8; /* a run must not go on from it */
            _exit(result);
        }
        int how;
        waitpid(child, &how, 0);
        if (!WIFEXITED(how)) fail_msg("damage %d: signal %d", k, WTERMSIG(how));
        if (WEXITSTATUS(how) > 2)
            fail_msg("damage %d went unseen by %s", k, WEXITSTATUS(how) == 8 ? "a run" : "a reader");
        if (size < bytes && WEXITSTATUS(how) != 2) fail_msg("a file cut to %zu of %zu bytes was read", size, bytes);
        outcome[WEXITSTATUS(how)]++;
    }
    assert_true(outcome[1] > 0 && outcome[2] > 0);
    free(whole);
    free(bent);
}

/* Another program may add to the file; that takes the seal off, and is no damage. */
static void test_edited_elsewhere(void **state)
{
    (void)state;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 0));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    hid_t file = H5Fopen(results, H5F_ACC_RDWR, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(file, "notes of mine", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(H5Gcreate2(file, "cells/my favourites", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Fclose(file);
    holds(2, 1);
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 1));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    holds(2, 2);
    file = H5Fopen(results, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(H5Lexists(file, "notes of mine", H5P_DEFAULT) > 0);
    H5Fclose(file);
}

/* Files and parts from before later columns were added: these read as not recorded, and rows are added behind them. */
static void test_before_later_columns(void **state)
{
    (void)state;
    enum { HEADER = 32 };
    size_t later = 1 + 4; /* bytes of the entry 'l' that ends a part, of a record without pictures, errors and profiles */
    for (const sf_column *c = sf_record_columns; c->name; c++)
        if (c->later) later += c->type == SF_COLUMN_REAL || c->type == SF_COLUMN_U64 ? 8 : c->type == SF_COLUMN_INT || c->type == SF_COLUMN_TEXT ? 4 : 1;
    char path[160];
    sf_store *s;
    sf_results r;
    sf_cell_info cell;
    make_cell(0, &cell);
    OK(sf_store_open(results, false, &s));
    OK(add(s, 1, 1));
    OK(sf_store_fold(s, NULL));
    OK(add(s, 1, 2));
    sf_store_close(s);
    hid_t file = H5Fopen(results, H5F_ACC_RDWR, H5P_DEFAULT);
    snprintf(path, sizeof path, "cells/%s/depth", cell.key);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    snprintf(path, sizeof path, "cells/%s/prefill_picture", cell.key);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    snprintf(path, sizeof path, "cells/%s", cell.key);
    assert_true(H5Adelete_by_name(file, path, "prefill_version", H5P_DEFAULT) >= 0);
    assert_true(H5Adelete_by_name(file, path, "chat", H5P_DEFAULT) >= 0);
    H5Fclose(file);

    snprintf(path, sizeof path, "%s/%016x.part", parts, 1);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    char part[8192];
    size_t n = fread(part, 1, sizeof part, f);
    assert_true(n > HEADER + later && n < sizeof part && part[n - later] == 'l');
    uint64_t bytes = n - later - HEADER, hash = XXH3_64bits(part + HEADER, bytes);
    memcpy(part + 16, &bytes, 8);
    memcpy(part + 24, &hash, 8);
    rewind(f);
    assert_int_equal(fwrite(part, 1, n - later, f), n - later);
    assert_int_equal(ftruncate(fileno(f), (off_t)(n - later)), 0);
    fclose(f);

    for (int folded = 0; folded < 2; folded++) {
        read_one(results, EVERYTHING, &r);
        assert_int_equal(r.problems, 0);
        assert_int_equal(r.records[0], 2 + folded);
        for (int i = 0; i < 2; i++) {
            assert_true(isnan(r.record[0][i].depth) && isnan(r.record[0][i].late_tokens) && !r.record[0][i].picture[SF_PREFILL]);
            same_real(r.record[0][i].strict, (1 + i) / 7.0);
        }
        assert_string_equal(r.cell[0].version[SF_PREFILL], "");
        assert_string_equal(r.cell[0].chat, "");
        if (folded) same_real(r.record[0][2].depth, 3 / 13.0);
        sf_results_free(&r);
        OK(sf_store_open(results, false, &s));
        OK(add(s, 1, 3));
        OK(sf_store_fold(s, NULL));
        sf_store_close(s);
    }
}

/* What files have had from the first on they must have; the rest reads as not recorded. */
static void test_lost_columns(void **state)
{
    (void)state;
    static const char first[] = " model model_hash task task_label task_params metric prefill_method prefill_label prefill_params prefill_sparsity "
                                "decode_method decode_label decode_params decode_sparsity length output_limit layers heads kv_heads head_dim d mlp "
                                "vocab window sliding_layers parameters weight_elements dispersion scope natural device dtype seed ";
    size_t bytes;
    sf_store *s;
    sf_results r;
    sf_cell_info cell;
    char path[96];
    OK(sf_store_open(results, false, &s));
    OK(add(s, 1, 0));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    char *whole = file_read(results, &bytes);
    make_cell(0, &cell);
    snprintf(path, sizeof path, "cells/%s", cell.key);
    for (const sf_column *column = sf_cell_columns; column->name; column++) {
        char word[64];
        snprintf(word, sizeof word, " %s ", column->name);
        const bool may = !strstr(first, word);
        file_write(results, whole, bytes);
        hid_t file = H5Fopen(results, H5F_ACC_RDWR, H5P_DEFAULT);
        assert_true(H5Adelete_by_name(file, path, column->name, H5P_DEFAULT) >= 0);
        H5Fclose(file);
        read_one(results, EVERYTHING, &r);
        if (r.cells != may || r.problems != !may || (!may && !strstr(r.problem[0], column->name)))
            fail_msg("without %s: %d cells, %s", column->name, r.cells, r.problems ? r.problem[0] : "no problem");
        sf_results_free(&r);
    }
    free(whole);
}

/* ---- Files from elsewhere ---- */

/* A whole results file of one cell and three samples, and where that cell's group is. */
static hid_t begin_bending(char cell_path[64])
{
    sf_store *s;
    sf_cell_info cell;
    make_cell(0, &cell);
    OK(sf_store_open(results, true, &s));
    for (int i = 0; i < 3; i++) OK(add(s, 1, i));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    snprintf(cell_path, 64, "cells/%s", cell.key);
    return H5Fopen(results, H5F_ACC_RDWR, H5P_DEFAULT);
}

/* The cell is left out of what is read, with these words; a run does not go on from it. */
static void left_out(const char *words)
{
    sf_results r;
    read_one(results, EVERYTHING, &r);
    assert_int_equal(r.problems, 1);
    if (!strstr(r.problem[0], words)) fail_msg("\"%s\" does not mention \"%s\"", r.problem[0], words);
    assert_int_equal(r.cells, 0);
    sf_results_free(&r);
}

static hid_t never(const char *link, hid_t group, const void *data, size_t bytes, hid_t list, hid_t access)
{
    (void)link, (void)group, (void)data, (void)bytes, (void)list, (void)access;
    fail_msg("a link to another file was followed");
    return -1;
}

static void test_links_to_elsewhere(void **state)
{
    (void)state;
    char cell[64], path[128];
    const H5L_class_t outside = {.version = H5L_LINK_CLASS_T_VERS, .id = H5L_TYPE_EXTERNAL, .trav_func = never};
    hid_t file = begin_bending(cell);
    snprintf(path, sizeof path, "%s/strict", cell);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    assert_true(H5Lregister(&outside) >= 0); /* Frontier takes it out */
    assert_true(H5Lcreate_ud(file, path, H5L_TYPE_EXTERNAL, "\0other.h5\0/x", 12, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    left_out("strict is a link to another file");

    file = begin_bending(cell);
    assert_true(H5Lmove(file, cell, file, "mine", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/mine", file, cell, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    left_out("is a soft link");

    file = begin_bending(cell);
    assert_true(H5Lmove(file, "cells", file, "mine", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_ud(file, "cells", H5L_TYPE_EXTERNAL, "\0other.h5\0/x", 12, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    H5Lunregister(H5L_TYPE_EXTERNAL);
    assert_error(try_reading(results), "cells is a link to another file");
}

/* Replaces `strict` by one that is made with this list. */
static void replace_strict(hid_t file, const char *cell, hid_t list)
{
    char path[128];
    const hsize_t rows = 3;
    snprintf(path, sizeof path, "%s/strict", cell);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    hid_t space = H5Screate_simple(1, &rows, NULL),
          set = H5Dcreate2(file, path, H5T_IEEE_F64LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(set >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(list);
    H5Fclose(file);
}

static void test_rows_elsewhere(void **state)
{
    (void)state;
    char cell[64];
    hid_t file = begin_bending(cell), list = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_external(list, "/etc/hostname", 0, 24) >= 0);
    replace_strict(file, cell, list);
    left_out("lie in other files");

    const hsize_t rows = 3;
    hid_t space = H5Screate_simple(1, &rows, NULL);
    file = begin_bending(cell);
    list = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_virtual(list, space, "other.h5", "/x", space) >= 0);
    replace_strict(file, cell, list);
    H5Sclose(space);
    left_out("lie in other files");
}

static size_t unpack(unsigned flags, size_t n, const unsigned *value, size_t bytes, size_t *size, void **data)
{
    (void)flags, (void)n, (void)value, (void)size, (void)data;
    return bytes;
}

static void test_filter_of_its_own(void **state)
{
    (void)state;
    enum { BLOSC = 32001 };
    char cell[64];
    const hsize_t chunk = 3;
    const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, BLOSC, 1, 1, "blosc", NULL, NULL, unpack};
    hid_t file = begin_bending(cell), list = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Zregister(&filter) >= 0);
    assert_true(H5Pset_chunk(list, 1, &chunk) >= 0 && H5Pset_filter(list, BLOSC, 0, 0, NULL) >= 0);
    replace_strict(file, cell, list);
    H5Zunregister(BLOSC);
    left_out("user-defined filter 32001 (blosc)");
}

/* A report lays an array over a cell's samples: what a file or a part says of them is held against the range. */
static void test_samples_in_range(void **state)
{
    (void)state;
    const int wrong[] = {-1, INT32_MIN, SF_STORE_SAMPLES, INT32_MAX};
    char cell[64], path[160];
    sf_store *s;
    for (int i = 0; i < 4; i++) {
        hid_t file = begin_bending(cell);
        int sample[3] = {0, wrong[i], 2};
        snprintf(path, sizeof path, "%s/sample", cell);
        hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
        assert_true(H5Dwrite(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, sample) >= 0);
        H5Dclose(set);
        H5Fclose(file);
        left_out("numbered from 0 to 999999");
        assert_error(sf_store_open(results, false, &s), "numbered from 0 to 999999");

        sf_cell_info info;
        sf_record record;
        struct maps maps;
        sf_results r;
        make_cell(0, &info);
        make_record(0, 0, &maps, &record);
        OK(sf_store_open(results, true, &s));
        record.sample = wrong[i];
        assert_error(sf_store_add(s, 1, &info, &record), "is not valid");
        OK(add(s, 1, 0));
        sf_store_close(s);

        snprintf(path, sizeof path, "%s/%016x.part", parts, 0);
        size_t bytes;
        char *part = file_read(path, &bytes), *at = NULL;
        for (char *p = part + 32; p + 13 < part + bytes && !at; p++) /* 'R', sample 0, 1000 input tokens */
            if (memcmp(p, "R\0\0\0\0\350\003\0\0", 9) == 0) at = p + 1;
        assert_non_null(at);
        memcpy(at, &wrong[i], sizeof wrong[i]);
        uint64_t hash = XXH3_64bits(part + 32, bytes - 32);
        memcpy(part + 24, &hash, 8);
        file_write(path, part, bytes);
        free(part);
        snprintf(path, sizeof path, "%s.copy", results);
        char command[512];
        snprintf(command, sizeof command, "mkdir '%s.parts' && cp '%s'/*.part '%s.parts'", path, parts, path);
        assert_int_equal(system(command), 0);
        const char *list[] = {path};
        assert_int_equal(sf_results_read(1, list, 0, &r), SF_IO); /* no file, and no part that can be read */
        snprintf(command, sizeof command, "rm -rf '%s.parts' '%s'", path, parts);
        assert_int_equal(system(command), 0);
    }
}

static void test_shapes_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int value;
    } wrong[] = {{"layers", -1}, {"heads", -1}, {"layers", (1 << 20) + 1}, {"heads", (1 << 20) + 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char cell[64];
        hid_t file = begin_bending(cell), one = H5Screate(H5S_SCALAR);
        assert_true(H5Adelete_by_name(file, cell, wrong[i].name, H5P_DEFAULT) >= 0);
        hid_t at = H5Acreate_by_name(file, cell, wrong[i].name, H5T_STD_I32LE, one, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Awrite(at, H5T_NATIVE_INT, &wrong[i].value) >= 0);
        H5Aclose(at);
        H5Sclose(one);
        H5Fclose(file);
        left_out("claims ");
    }
}

/* Scores outside of 0 … 1, NaN or infinite numbers are neither stored nor read. */
static void test_numbers_in_range(void **state)
{
    (void)state;
    const struct {
        const char *column, *words;
        double wrong;
        size_t at;
    } rows[] = {{"strict", "strict is nan, expected 0", NAN, offsetof(sf_record, strict)},
                {"strict", "strict is 7, expected 0", 7, offsetof(sf_record, strict)},
                {"strict", "strict is -0.5, expected 0", -0.5, offsetof(sf_record, strict)},
                {"reference", "reference is inf, expected 0", INFINITY, offsetof(sf_record, reference)},
                {"decode_achieved", "decode_achieved is -inf", -INFINITY, offsetof(sf_record, achieved[SF_DECODE])},
                {"prefill_cost_exact", "prefill_cost_exact is inf", INFINITY, offsetof(sf_record, cost_exact[SF_PREFILL])}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char cell[64], path[160], words[200];
        hid_t file = begin_bending(cell);
        double value[3] = {0, rows[i].wrong, 0};
        snprintf(path, sizeof path, "%s/%s", cell, rows[i].column);
        hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
        assert_true(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0);
        H5Dclose(set);
        H5Fclose(file);
        snprintf(words, sizeof words, "%s, sample 1: %s", cell + strlen("cells/"), rows[i].words);
        left_out(words);

        sf_store *s;
        sf_cell_info info;
        sf_record record;
        struct maps maps;
        make_cell(0, &info);
        make_record(0, 0, &maps, &record);
        OK(sf_store_open(results, true, &s));
        *(double *)((char *)&record + rows[i].at) = rows[i].wrong;
        assert_error(sf_store_add(s, 1, &info, &record), rows[i].words);
        sf_store_close(s);
    }
}

/* Another program that has the file open for writing marks its first bytes: that is no damage. */
static void test_open_elsewhere(void **state)
{
    (void)state;
    int ready[2], done[2], how;
    char byte = 0;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 0));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    assert_int_equal(pipe(ready) | pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        hid_t file = H5Fopen(results, H5F_ACC_RDWR, H5P_DEFAULT);
        bool told = file >= 0 && write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1;
        _exit(told && H5Fclose(file) >= 0 ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_error(try_reading(results), "open for writing in another program");
    assert_null(strstr(sf_error(), "damaged"));
    assert_error(sf_store_open(results, false, &s), "open for writing in another program");
    assert_int_equal(write(done[1], &byte, 1), 1);
    waitpid(child, &how, 0);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    holds(2, 1);
    close(ready[0]), close(ready[1]), close(done[0]), close(done[1]);
}

/* HDF5 lets another program's bytes stand before it. */
static void test_user_block(void **state)
{
    (void)state;
    size_t bytes;
    sf_store *s;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 0));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    char *whole = file_read(results, &bytes), *moved = calloc(1, bytes + 1024);
    memcpy(moved, "notes of mine", 13);
    memcpy(moved + 1024, whole, bytes);
    file_write(results, moved, bytes + 1024);
    holds(2, 1);
    OK(sf_store_open(results, false, &s));
    OK(add(s, 2, 1));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    holds(2, 2);
    free(whole);
    whole = file_read(results, &bytes);
    assert_memory_equal(whole, "notes of mine", 13);
    whole[bytes / 2] ^= 1; /* the seal covers what lies behind them */
    file_write(results, whole, bytes);
    assert_error(sf_store_open(results, false, &s), "damaged");
    free(whole);
    free(moved);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {TEST(test_round_trip),
                                       TEST(test_failures),
        TEST(test_read_back),
        TEST(test_read_back_older),
        TEST(test_selected_reading),
                                       TEST(test_schema),
                                       TEST(test_runs),
                                       TEST(test_large_config),
                                       TEST(test_folds_by_itself),
                                       TEST(test_folds_by_hand),
                                       TEST(test_several_files),
                                       TEST(test_many_cells),
                                       TEST(test_kills),
                                       TEST(test_parts_already_folded),
                                       TEST(test_two_processes),
                                       TEST(test_half_written),
                                       TEST(test_written),
                                       TEST(test_reading_meanwhile),
                                       TEST(test_filter_of_its_own), /* before closing fails: HDF5 1.10 forgets such
                                                                        a file only half, and unregistering looks */
                                       TEST(test_file_size_limit),
                                       TEST(test_full_disk),
                                       TEST(test_refusals),
                                       TEST(test_one_damaged_cell),
                                       TEST(test_damaged_parts),
                                       TEST(test_cells_in_range),
                                       TEST(test_damaged_file),
                                       TEST(test_broken_seal),
                                       TEST(test_edited_elsewhere),
                                       TEST(test_before_later_columns),
                                       TEST(test_lost_columns),
                                       TEST(test_links_to_elsewhere),
                                       TEST(test_rows_elsewhere),
                                       TEST(test_samples_in_range),
                                       TEST(test_shapes_in_range),
                                       TEST(test_numbers_in_range),
                                       TEST(test_open_elsewhere),
                                       TEST(test_user_block)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
