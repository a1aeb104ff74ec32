/* The results store: what is no results file, damage, and what others wrote into one are named, and never read as results.
 * FRONTIER_DAMAGES=N: so many instead of the few that fit a test suite. */
#include "tests/store_world.h"

#include <dlfcn.h>
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

static void break_seal(void)
{
    size_t bytes;
    char *whole = file_read(results, &bytes);
    whole[bytes - 16] ^= 1; /* of the checksum */
    file_write(results, whole, bytes);
    free(whole);
}

/* A broken seal alone: all is read, cell by cell, and said to be damaged. */
static void test_broken_seal(void **state)
{
    (void)state;
    sf_store *s;
    sf_results r;
    OK(sf_store_open(results, false, &s));
    for (int i = 0; i < 3; i++) OK(add(s, 3, i));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    break_seal();
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

/* What the library makes of reading a column: of the second cell an error, of the fourth a crash, of the sixth no end; else as it does. */
static bool unreadable;

herr_t H5Dread(hid_t set, hid_t memory, hid_t in_memory, hid_t in_file, hid_t list, void *rows)
{
    herr_t (*read)(hid_t, hid_t, hid_t, hid_t, hid_t, void *);
    *(void **)&read = dlsym(RTLD_NEXT, "H5Dread");
    char name[160] = "";
    sf_cell_info cell[6];
    for (int c = 0; c < 6; c++) make_cell(c, &cell[c]);
    if (unreadable) H5Iget_name(set, name, sizeof name);
    if (strstr(name, cell[1].key)) return -1;
    if (strstr(name, cell[3].key)) abort();
    for (volatile bool ever = strstr(name, cell[5].key); ever;) continue;
    return read(set, memory, in_memory, in_file, list, rows);
}

/* Each cell that is lost says why by itself: a crash behind an error is none. The others are read. */
static void test_cells_lost(void **state)
{
    (void)state;
    sf_store *s;
    sf_results r;
    OK(sf_store_open(results, false, &s));
    OK(add(s, 6, 0));
    OK(sf_store_fold(s, NULL));
    sf_store_close(s);
    break_seal();
    unreadable = true;
    read_one(results, EVERYTHING, &r);
    unreadable = false;
    assert_int_equal(r.cells, 3);
    for (int c = 0; c < 3; c++) same_cell(&r.cell[c], c * 2);
    assert_int_equal(r.problems, 4);
    assert_non_null(strstr(r.problem[0], "What is left of it was read"));
    assert_non_null(strstr(r.problem[1], "abc1: the column sample cannot be read"));
    assert_non_null(strstr(r.problem[2], "the HDF5 library crashes on cell 0000000000000000000000000000abc3"));
    assert_non_null(strstr(r.problem[3], "the HDF5 library comes to no end on cell 0000000000000000000000000000abc5"));
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
            setrlimit(RLIMIT_CPU, &(struct rlimit){60, 60}); /* what the library turns in circles with is another child's */
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
    if (H5Aexists_by_name(file, path, "cache", H5P_DEFAULT)) H5Adelete_by_name(file, path, "cache", H5P_DEFAULT);
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
            assert_true(isnan(r.record[0][i].depth) && !r.record[0][i].turn_scores && isnan(r.record[0][i].late_tokens) && !r.record[0][i].picture[SF_PREFILL]);
            same_real(r.record[0][i].strict, (1 + i) / 7.0);
        }
        assert_string_equal(r.cell[0].version[SF_PREFILL], "");
        assert_string_equal(r.cell[0].chat, "");
        assert_string_equal(r.cell[0].cache, "exact");
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
    const struct CMUnitTest tests[] = {
        TEST(test_filter_of_its_own), /* before others whose closing fails: HDF5 1.10 forgets such a file only half, and unregistering looks */
        TEST(test_refusals),
        TEST(test_one_damaged_cell),
        TEST(test_damaged_parts),
        TEST(test_cells_in_range),
        TEST(test_damaged_file),
        TEST(test_broken_seal),
        TEST(test_cells_lost),
        TEST(test_edited_elsewhere),
        TEST(test_before_later_columns),
        TEST(test_lost_columns),
        TEST(test_links_to_elsewhere),
        TEST(test_rows_elsewhere),
        TEST(test_samples_in_range),
        TEST(test_shapes_in_range),
        TEST(test_numbers_in_range),
        TEST(test_open_elsewhere),
        TEST(test_user_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
