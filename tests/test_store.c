/* The results store: what goes in comes out, and kills, full disks and other processes lose and double nothing.
 * FRONTIER_KILLS=N: so many instead of the few that fit a test suite. */
#include "tests/store_world.h"


#include <errno.h>
#include <fcntl.h>
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
        for (int k = 0; c == 2 && k < SF_STRETCHES - 1; k++) /* at odd stretches samples 2 and 4 alone */
            assert_float_equal(r.mean[c].along[0]->nll[k], (k % 2 ? 2003 : mean) + k, 1e-3);
        if (c == 2) assert_true(isnan(r.mean[c].along[0]->nll[SF_STRETCHES - 1])); /* of nothing */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
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
        TEST(test_file_size_limit),
        TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
