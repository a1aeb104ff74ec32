/* Suites of others: their scorers against the official ones' values, their layouts, the drawing and cutting of rows. */
#include <math.h>

#include <jansson.h>

#include "tasks/random.h"
#include "tests/counters.h"
#include "tests/testing.h"

/* ---- scores -------------------------------------------------------------------------------------------------------- */

/* Every answer of the table has the score that the official code gave it; prints how many of each task were compared. */
static void compare(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("%s is missing", path);
    char *line = NULL, last[64] = "";
    size_t room = 0;
    int row = 0, here = 0, differ = 0, other_than_0_or_1 = 0;
    while (getline(&line, &room, f) > 0) {
        json_t *o = json_loads(line, 0, NULL), *gold = json_object_get(o, "gold");
        const char *name = json_string_value(json_object_get(o, "task")), *text = json_string_value(json_object_get(o, "text"));
        const sf_task *task = sf_task_find(name);
        if (!task) fail_msg("%s:%d: no task %s", path, row + 1, name);
        if (strcmp(last, name) != 0) {
            if (here) print_message("%s: %d answers\n", last, here);
            here = 0;
            snprintf(last, sizeof last, "%s", name);
        }
        char *golds[16];
        sf_sample sample = {.gold = golds, .gold_count = (int)json_array_size(gold), .prompt = (char *)"",
                            .aside = (char *)json_string_value(json_object_get(o, "aside"))};
        assert_in_range(sample.gold_count, 1, 16);
        for (int i = 0; i < sample.gold_count; i++) golds[i] = (char *)json_string_value(json_array_get(gold, (size_t)i));
        sf_score score;
        OK(sf_task_score(task, NULL, &sample, text, &score));
        const double right = json_real_value(json_object_get(o, "score"));
        other_than_0_or_1 += right > 0 && right < 1;
        if (!(fabs(score.strict - right) <= 1e-15) || score.reference != score.strict)
            print_error("%s:%d: scores %.17g, officially %.17g: %s", path, row + 1, score.strict, right, line), differ++;
        json_decref(o);
        row++, here++;
    }
    print_message("%s: %d answers\n", last, here);
    free(line);
    fclose(f);
    assert_int_equal(differ, 0);
    assert_true(row > 200 && other_than_0_or_1 > row / 20);
}

static void official_scores(void **state)
{
    (void)state;
    compare("tests/golden/tasks/suites.jsonl");
}

static const char *table;
static void given_scores(void **state)
{
    (void)state;
    compare(table);
}

/* ---- layouts ------------------------------------------------------------------------------------------------------- */

static char folder[64];
static int set_up(void **state)
{
    (void)state;
    return folder_make(folder);
}
static int tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static const char *file_of(const char *name, const char *content)
{
    static char path[4][128];
    static int turn;
    char *out = path[turn = (turn + 1) % 4];
    snprintf(out, sizeof *path, "%s/%s", folder, name);
    file_write(out, content, strlen(content));
    return out;
}

/* The parameters of every suite's tasks. */
typedef struct params {
    const char *file, *prompts;
} params;

static sf_status generate(const char *task, const params *p, int length, int index, sf_sample *out)
{
    const sf_request request = {.seed = 43, .index = index, .max_tokens = length, .tokens = counter_words};
    *out = (sf_sample){0};
    return sf_task_find(task)->generate(p, &request, out);
}

#define LINE(dataset, rest) "{\"input\": \"Who?\", \"context\": \"Ann {was} here.\", \"length\": 3, \"dataset\": \"" dataset "\"" rest "}\n"
#define QASPER              "{\"qasper\": \"Read.\\n{context}\\nThen {{answer}}: {input}\"}"

/* One row, whole, of each suite: the prompt, the answers, what else the scorer reads. */
static const struct {
    const char *task, *row, *prompts, *prompt, *context, *gold, *aside;
} layouts[] = {
    {"longbench_qasper", LINE("qasper", ", \"answers\": [\"Ann\", \"ann\"], \"all_classes\": null, \"language\": \"en\", \"_id\": \"1\""), QASPER,
     "Read.\nAnn {was} here.\nThen {answer}: Who?", "Ann {was} here.", "Ann|ann", NULL},
    {"longbench_qasper", LINE("qasper_e", ", \"answers\": [\"Ann\"], \"all_classes\": null"), QASPER,
     "Read.\nAnn {was} here.\nThen {answer}: Who?", "Ann {was} here.", "Ann", NULL},
    {"longbench_trec", LINE("trec", ", \"answers\": [\"Food\"], \"all_classes\": [\"Food\", \"Other\"]"), "{\"trec\": \"{context}\\n{input}\"}",
     "Ann {was} here.\nWho?", "Ann {was} here.", "Food", "Food\nOther"},
    {"longbench_repobench_p", LINE("repobench-p", ", \"answers\": [\"x = 1\"]"), "{\"repobench-p\": \"{context}{input}Next:\\n\"}",
     "Ann {was} here.Who?Next:\n", "Ann {was} here.", "x = 1", NULL},
};

static void one_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        params p = {file_of("row.jsonl", layouts[i].row), file_of("prompts", layouts[i].prompts)};
        sf_sample s;
        OK(generate(layouts[i].task, &p, 512, 0, &s));
        assert_string_equal(s.prompt, layouts[i].prompt);
        assert_int_equal(s.tokens, count_words(NULL, s.prompt, strlen(s.prompt), NULL));
        const size_t context = strlen(layouts[i].context);
        assert_int_equal(s.context_end - s.context_begin, context);
        assert_memory_equal(s.prompt + s.context_begin, layouts[i].context, context);
        char gold[512] = "";
        for (int k = 0; k < s.gold_count; k++) snprintf(gold + strlen(gold), sizeof gold - strlen(gold), "%s%s", k ? "|" : "", s.gold[k]);
        assert_string_equal(gold, layouts[i].gold);
        if (layouts[i].aside) assert_string_equal(s.aside, layouts[i].aside);
        else assert_null(s.aside);
        sf_score score;
        OK(sf_task_score(sf_task_find(layouts[i].task), &p, &s, s.answer, &score));
        assert_true(score.strict > 0.999999 && score.parsed); /* the package `rouge` gives no text more */
        OK(sf_task_score(sf_task_find(layouts[i].task), &p, &s, " \n", &score));
        assert_true(score.strict == 0 && !score.parsed);
        sf_sample_free(&s);
        int n;
        const sf_request request = {.max_tokens = 512, .tokens = counter_words};
        OK(sf_task_find(layouts[i].task)->supply(&p, &request, 10, &n));
        assert_int_equal(n, 1);
    }
}

#define GOOD LINE("qasper", ", \"answers\": [\"Ann\"]")
static const struct {
    const char *task, *rows, *prompts, *message;
} bad[] = {
    {"longbench_qasper", GOOD "{\"input\": \n", QASPER, "row.jsonl:2: expected JSON"},
    {"longbench_qasper", GOOD "\n[]\n", QASPER, "row.jsonl:3: row 2: expected an object"},
    {"longbench_qasper", GOOD "{\"input\": \"q\"}\n", QASPER, "row.jsonl:2: row 2: expected a member \"context\", found none; is it a file of qasper?"},
    {"longbench_qasper", "{\"input\": 3, \"context\": \"c\", \"answers\": [\"a\"]}", QASPER, "row.jsonl:1: row 1: expected \"input\" to be a text"},
    {"longbench_qasper", LINE("qasper", ", \"answers\": \"Ann\""), QASPER, "row 1: expected \"answers\" to be a list"},
    {"longbench_qasper", LINE("qasper", ", \"answers\": []"), QASPER, "expected \"answers\" to hold an answer, found none"},
    {"longbench_qasper", LINE("qasper", ", \"answers\": [1]"), QASPER, "expected \"answers\"[0] to be a text"},
    {"longbench_qasper", LINE("hotpotqa", ", \"answers\": [\"a\"]"), QASPER, "expected \"dataset\" to be qasper, found hotpotqa; that is another task"},
    {"longbench_qasper", "\n \n", QASPER, "expected rows of qasper, found none"},
    {"longbench_qasper", "", QASPER, "found an empty file"},
    {"longbench_qasper", GOOD, "", "prompts: expected the suite's prompts, found an empty file"},
    {"longbench_qasper", GOOD, "{\"qasper\":\n 1,}", "prompts:2: expected JSON"},
    {"longbench_qasper", GOOD, "{\"hotpotqa\": \"\"}", "expected a prompt \"qasper\", found none"},
    {"longbench_qasper", GOOD, "{\"qasper\": \"{contxt}\"}", "expected a member \"contxt\", found none"},
    {"longbench_qasper", GOOD, "{\"qasper\": \"{context\"}", "expected the name of a field between braces"},
    {"longbench_qasper", GOOD, "{\"qasper\": \"context} \"}", "a single '}'"},
    {"longbench_trec", LINE("trec", ", \"answers\": [\"Food\"], \"all_classes\": null"), "{\"trec\": \"{context}\"}", "expected \"all_classes\" to be a list"},
    {"longbench_trec", LINE("trec", ", \"answers\": [\"Food\"], \"all_classes\": [\"Food\", \"\"]"), "{\"trec\": \"{context}\"}",
     "expected \"all_classes\"[1] to be a line of text"},
    {"longbench_passage_retrieval_en", LINE("passage_retrieval_en", ", \"answers\": [\"12\"]"), "{\"passage_retrieval_en\": \"{context}\"}",
     "expected \"answers\"[0] to be like \"Paragraph 7\", found \"12\""},
};

static void bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        params p = {file_of("row.jsonl", bad[i].rows), file_of("prompts", bad[i].prompts)};
        sf_sample s;
        if (generate(bad[i].task, &p, 512, 0, &s) == SF_OK) fail_msg("row %zu is accepted: %s", i, s.prompt);
        if (!strstr(sf_error(), bad[i].message)) fail_msg("row %zu: \"%s\" does not mention \"%s\"", i, sf_error(), bad[i].message);
        assert_true(!s.prompt && !s.gold && !s.aside);
    }
    sf_sample s;
    params none = {0}, half = {.file = "x.jsonl"}, table_file = {"x.parquet", file_of("prompts", QASPER)}, missing = {"x.jsonl", table_file.prompts};
    assert_error(generate("longbench_qasper", &none, 512, 0, &s), "longbench_qasper: `file` is missing");
    assert_error(generate("longbench_qasper", &half, 512, 0, &s), "`prompts` is missing");
    assert_error(generate("longbench_qasper", &table_file, 512, 0, &s), "Parquet files are not read");
    assert_error(generate("longbench_qasper", &missing, 512, 0, &s), "x.jsonl: cannot open the data set");
}

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

/* All rows are asked, each once, in the order of the seed; no more. */
static void every_row_once(void **state)
{
    (void)state;
    char rows[4096] = "";
    for (int i = 0; i < 20; i++)
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "{\"input\": \"%d\", \"context\": \"c\", \"answers\": [\"a\"]}\n%s", i, i == 7 ? "\n" : "");
    params p = {file_of("row.jsonl", rows), file_of("prompts", "{\"qasper\": \"{context} {input}\"}")};
    bool seen[20] = {false}, moved = false;
    for (int i = 0; i < 20; i++) {
        sf_sample s;
        OK(generate("longbench_qasper", &p, 512, i, &s));
        const int row = atoi(s.prompt + 2);
        assert_in_range(row, 0, 19);
        assert_false(seen[row]);
        seen[row] = true;
        moved |= row != i;
        sf_sample_free(&s);
    }
    assert_true(moved);
    sf_sample s;
    assert_error(generate("longbench_qasper", &p, 512, 20, &s), "has 20 rows, sample 20 is one too many");
    int n;
    sf_request request = {.max_tokens = 512, .tokens = counter_words};
    OK(sf_task_find("longbench_qasper")->supply(&p, &request, 200, &n));
    assert_int_equal(n, 20);
    OK(sf_task_find("longbench_qasper")->supply(&p, &request, 3, &n));
    assert_int_equal(n, 3);
    request.prompting.place = SF_QUESTION_BEFORE;
    assert_error(sf_task_find("longbench_qasper")->supply(&p, &request, 3, &n), "its prompts are its authors'; leave out question");
}

/* A row that is too long loses its middle, and nothing else: as many tokens stay of its beginning as of its end. */
static void cut_in_the_middle(void **state)
{
    (void)state;
    char *rows = malloc(1 << 20);
    sf_random r = sf_random_stream("cut", 1, 0);
    for (int round = 0; round < 12; round++) {
        const int words = 400 + (int)sf_random_below(&r, 9000), length = 64 + (int)sf_random_below(&r, 1500);
        char *at = rows + sprintf(rows, "{\"input\": \"Who?\", \"answers\": [\"a\"], \"context\": \"");
        for (int i = 0; i < words; i++) at += sprintf(at, "%s%d", sf_random_below(&r, 5) ? " w" : " naïve ünï", i);
        strcpy(at, "\"}\n");
        params p = {file_of("row.jsonl", rows), file_of("prompts", "{\"qasper\": \"First words. {context} Last: {input}\"}")};
        sf_sample s;
        OK(generate("longbench_qasper", &p, length, 0, &s));
        assert_int_equal(s.tokens, count_words(NULL, s.prompt, strlen(s.prompt), NULL));
        assert_true(s.tokens <= length && s.tokens >= length - 4 - length / 256);
        assert_memory_equal(s.prompt, "First words. ", 13);
        assert_string_equal(s.prompt + strlen(s.prompt) - 10, "Last: Who?");
        assert_memory_equal(s.prompt + s.context_end, " Last: Who?", 11);
        assert_int_equal(s.context_begin, 13);
        /* what is left of the context is a beginning and an end of it */
        const char *context = strstr(rows, "\"context\": \"") + 12;
        const size_t whole = strlen(context) - 3, left = (size_t)(s.context_end - s.context_begin);
        size_t head = 0, tail = 0;
        while (head < left && s.prompt[s.context_begin + (int)head] == context[head]) head++;
        while (tail < left && s.prompt[s.context_end - 1 - (int)tail] == context[whole - 1 - tail]) tail++;
        assert_true(left < whole && head + tail >= left);
        const int before = count_words(NULL, s.prompt, 13 + head, NULL) - CHAT_TEMPLATE,
                  after = count_words(NULL, s.prompt + s.context_end - tail, tail + 11, NULL) - CHAT_TEMPLATE;
        assert_true(abs(before - after) <= 5 + length / 128);
        for (size_t i = 0; i < strlen(s.prompt);) { /* no character is cut through */
            const int n = (s.prompt[i] & 0x80) ? 2 : 1;
            assert_true(n == 1 || ((s.prompt[i] & 0xe0) == 0xc0 && (s.prompt[i + 1] & 0xc0) == 0x80));
            i += (size_t)n;
        }
        sf_sample_free(&s);
    }
    free(rows);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        table = argv[1];
        const struct CMUnitTest given[] = {cmocka_unit_test(given_scores)};
        return cmocka_run_group_tests(given, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_scores), cmocka_unit_test(one_row),           cmocka_unit_test(bad_files),
        cmocka_unit_test(every_row_once),  cmocka_unit_test(cut_in_the_middle),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
