/* Training samples: exported for a folder that holds no weights, read back with HDF5, and held against the samples that
 * `frontier show` makes. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/model/chat.h"
#include "harness/run/study.h"
#include "harness/train/training.h"
#include "tests/testing.h"

enum { SAMPLES = 70, FIRST = 5, SEED = 9, TASKS = 2, LENGTHS = 2, N = SAMPLES * TASKS * LENGTHS, MOST = 1 << 20 };

static char folder[] = "/tmp/frontier-training-XXXXXX", config[64];

static const char *in_folder(const char *name)
{
    static char path[4][128];
    static int turn;
    snprintf(path[turn = (turn + 1) % 4], sizeof *path, "%s/%s", folder, name);
    return path[turn];
}

static size_t read_file(const char *path, char *to, size_t room)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is not there", path);
    size_t n = fread(to, 1, room, f);
    fclose(f);
    return n;
}

/* A model's folder without its weights, and a config that names it. */
static int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    static char text[1 << 20];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mkdir(in_folder("m"), 0755), 0);
    for (int i = 0; i < 3; i++) {
        char from[128], to[128];
        snprintf(from, sizeof from, "tests/golden/model/qwen2/%s", names[i]);
        snprintf(to, sizeof to, "%s/m/%s", folder, names[i]);
        size_t n = read_file(from, text, sizeof text);
        file_write(to, text, n);
    }
    static const char stops[] = "{\"eos_token_id\": [309, 311]}"; /* the second one ends a turn in the template */
    file_write(in_folder("m/generation_config.json"), stops, sizeof stops - 1);
    int n = snprintf(text, sizeof text,
                     "models: [%s/m]\ntasks: [niah: {queries: 1, key_groups: 1, value_groups: 1, "
                     "group_length: 4}, vt: {chains: 1, hops: 1, name_length: 3, digits: 3}]\nlengths: [1400, 1100]\n"
                     "output: 64\nanswer: direct\nseed: 44\n",
                     folder);
    snprintf(config, sizeof config, "%s/c.yaml", folder);
    file_write(config, text, (size_t)n);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static sf_training_options options_for(const char *out, int threads)
{
    return (sf_training_options){
        .config = config, .out = out, .seed = SEED, .first = FIRST, .samples = SAMPLES, .threads = threads};
}

static const char *exported(const char *name, int threads)
{
    const char *out = in_folder(name);
    const sf_training_options o = options_for(out, threads);
    if (sf_training_export(&o) != SF_OK) fail_msg("%s", sf_error());
    return out;
}

static hsize_t read_column(hid_t file, const char *name, hid_t type, void *to, hsize_t room)
{
    hid_t column = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(column);
    hsize_t n = 0;
    assert_int_equal(H5Sget_simple_extent_dims(space, &n, NULL), 1);
    assert_true(n <= room);
    assert_true(H5Dread(column, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) >= 0);
    H5Sclose(space);
    H5Dclose(column);
    return n;
}

static uint64_t attribute(hid_t file, const char *name)
{
    uint64_t value = 0;
    hid_t a = H5Aopen(file, name, H5P_DEFAULT);
    assert_true(a >= 0 && H5Aread(a, H5T_NATIVE_UINT64, &value) >= 0);
    H5Aclose(a);
    return value;
}

static struct {
    int64_t offset[N + 1], sample[N];
    int32_t prompt[N], length[N], tokens[MOST];
    uint8_t task[N];
    int32_t stop;
} got;

static void read_back(const char *path, int n)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    assert_int_equal(read_column(file, "offset", H5T_NATIVE_INT64, got.offset, N + 1), n + 1);
    assert_int_equal(read_column(file, "prompt_tokens", H5T_NATIVE_INT32, got.prompt, N), n);
    assert_int_equal(read_column(file, "length", H5T_NATIVE_INT32, got.length, N), n);
    assert_int_equal(read_column(file, "sample", H5T_NATIVE_INT64, got.sample, N), n);
    assert_int_equal(read_column(file, "task", H5T_NATIVE_UINT8, got.task, N), n);
    assert_int_equal(read_column(file, "tokens", H5T_NATIVE_INT32, got.tokens, MOST), got.offset[n]);
    assert_int_equal(attribute(file, "seed"), SEED);
    assert_int_equal(attribute(file, "evaluation_seed"), 44);
    got.stop = (int32_t)attribute(file, "stop");
    hid_t column = H5Dopen2(file, "tokens", H5P_DEFAULT), type = H5Dget_type(column);
    assert_int_equal(H5Tget_size(type), 2); /* a vocabulary of 320 */
    H5Tclose(type);
    H5Dclose(column);
    H5Fclose(file);
}

/* Every sample once, those of a length together, tasks mixed. */
static void order(void **state)
{
    (void)state;
    read_back(exported("order.h5", 1), N);
    static bool seen[LENGTHS][TASKS][SAMPLES];
    int changes = 0;
    assert_int_equal(got.offset[0], 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(got.length[i], i < N / 2 ? 1100 : 1400);
        assert_true(got.task[i] < TASKS && got.sample[i] >= FIRST && got.sample[i] < FIRST + SAMPLES);
        bool *here = &seen[i >= N / 2][got.task[i]][got.sample[i] - FIRST];
        assert_false(*here);
        *here = true;
        changes += i > 0 && got.task[i] != got.task[i - 1];
    }
    assert_true(changes > N / 4);
}

/* Written at once, the conversation has the same tokens. */
static void check_whole(const sf_model *m, const int32_t *row, int tokens)
{
    char *whole;
    int32_t *again;
    int n;
    assert_int_equal(sf_decode(m->tokenizer, row, tokens, false, &whole), SF_OK);
    assert_int_equal(sf_encode(m->tokenizer, whole, strlen(whole), true, &again, &n), SF_OK);
    assert_int_equal(n, tokens);
    assert_memory_equal(again, row, (size_t)tokens * sizeof *again);
    free(whole);
    free(again);
}

/* Tokens are those of the sample that its number names: input, perfect answer, stop. */
static void content(void **state)
{
    (void)state;
    read_back(exported("content.h5", 1), N);
    sf_study study;
    if (sf_study_open_text(config, 0, NULL, &study) != SF_OK) fail_msg("%s", sf_error());
    study.sweep->seed = SEED;
    const sf_model *m = study.model[0];
    for (int i = 0; i < N; i += 7) {
        sf_sample sample;
        sf_input asked;
        int tokens = (int)(got.offset[i + 1] - got.offset[i]);
        const int32_t *row = got.tokens + got.offset[i];
        if (sf_study_sample(&study, 0, got.task[i], got.length[i] > 1100, (int)got.sample[i], &sample, &asked) != SF_OK)
            fail_msg("%s", sf_error());
        assert_int_equal(asked.tokens, got.prompt[i]);
        assert_memory_equal(row, asked.id, (size_t)asked.tokens * sizeof *row);
        char *input, *answer;
        assert_int_equal(sf_decode(m->tokenizer, row, asked.tokens, false, &input), SF_OK);
        assert_non_null(strstr(input, sample.prompt));
        assert_int_equal(sf_decode(m->tokenizer, row + asked.tokens, tokens - asked.tokens, true, &answer), SF_OK);
        assert_string_equal(answer, sample.answer);
        assert_int_equal(row[tokens - 1], got.stop);
        assert_string_equal(sf_token_text(m->tokenizer, got.stop), "<|im_end|>");
        check_whole(m, row, tokens);
        free(input), free(answer), free(asked.id);
        sf_sample_free(&sample);
    }
    sf_study_close(&study);
}

static void threads(void **state)
{
    (void)state;
    static char a[4 << 20], b[4 << 20];
    size_t n = read_file(exported("one.h5", 1), a, sizeof a), m = read_file(exported("two.h5", 2), b, sizeof b);
    assert_true(n > 100000 && n < sizeof a);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
}

static void mix(void **state)
{
    (void)state;
    sf_training_options o = options_for(in_folder("mix.h5"), 1);
    o.mix = "vt=0.1,niah=0.2";
    o.samples = 10;
    if (sf_training_export(&o) != SF_OK) fail_msg("%s", sf_error());
    hid_t file = H5Fopen(o.out, H5F_ACC_RDONLY, H5P_DEFAULT);
    uint8_t task[16];
    assert_int_equal(read_column(file, "task", H5T_NATIVE_UINT8, task, 16), 6);
    int vt = 0;
    for (int i = 0; i < 6; i++) vt += task[i] == 1;
    assert_int_equal(vt, 2);
    H5Fclose(file);
}

static void refused(const char *why, sf_training_options o)
{
    assert_int_equal(sf_training_export(&o), SF_BAD_INPUT);
    if (!strstr(sf_error(), why)) fail_msg("expected '%s', found '%s'", why, sf_error());
}

/* What is refused leaves no file, and none half-written. */
static void refusals(void **state)
{
    (void)state;
    const sf_training_options good = options_for(in_folder("refused.h5"), 1);
    sf_training_options o = good;
    o.seed = 44, refused("the evaluation seed of this config", o);
    o.seed = 43, refused("the evaluation seed of every config", o);
    o = good, o.mix = "cwe=1", refused("no task 'cwe'", o);
    o = good, o.mix = "vt", refused("expected TASK=WEIGHT", o);
    o = good, o.mix = "vt=-1", refused("weight", o);
    static const char *const few[] = {"lengths=[64]"},
                             *const two[] = {"models=[tests/golden/model/qwen2, tests/golden/model/llama]"};
    o = good, o.sets = 1, o.set = few, refused("too few", o);
    o = good, o.sets = 1, o.set = two, refused("choose one model", o);
    char command[128];
    snprintf(command, sizeof command, "[ -z \"$(ls %s | grep refused)\" ]", folder);
    assert_int_equal(system(command), 0);
    file_write(good.out, "mine", 4);
    refused("is there already", good);
    o = good, o.samples = 1, o.overwrite = true;
    assert_int_equal(sf_training_export(&o), SF_OK);
}

/* Tokenizers and templates of all kinds. */
static void families(void **state)
{
    (void)state;
    static const char *const sets[] = {"models=[tests/golden/model/llama]", "models=[tests/golden/model/qwen3]",
                                       "models=[tests/golden/model/mistral]", "models=[tests/golden/model/gemma3]"};
    for (int i = 0; i < 4; i++) {
        sf_training_options o = options_for(in_folder("family.h5"), 1);
        o.sets = 1, o.set = &sets[i], o.overwrite = true, o.samples = 2;
        if (sf_training_export(&o) != SF_OK) fail_msg("%s: %s", sets[i], sf_error());
        read_back(o.out, 2 * TASKS * LENGTHS);
        sf_study study;
        assert_int_equal(sf_study_open_text(config, 1, &sets[i], &study), SF_OK);
        for (int k = 0; k < 2 * TASKS * LENGTHS; k++)
            check_whole(study.model[0], got.tokens + got.offset[k], (int)(got.offset[k + 1] - got.offset[k]));
        sf_study_close(&study);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order), cmocka_unit_test(content),  cmocka_unit_test(threads),
        cmocka_unit_test(mix),   cmocka_unit_test(refusals), cmocka_unit_test(families),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
