/* Questions and answers: data files good and bad, and how documents are packed. What every task promises is checked in
 * tests/test_tasks.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "tasks/qa.h"
#include "tasks/rows.h"
#include "tasks/ruler.h"
#include "tests/counters.h"

extern const sf_task sf_qa_squad, sf_qa_quality, sf_qa_toefl, sf_ruler_qa_1, sf_ruler_qa_2;

static char path[64];

static void write_file(const char *content)
{
    snprintf(path, sizeof path, "/tmp/sf_qa_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

#define SQUAD(paragraphs) "{\"data\": [{\"paragraphs\": " paragraphs "}]}"
#define CHOICE(rest)      "{\"context\": \"c\", " rest "}\n"
#define QUALITY(question) "{\"article\": \"c\", \"questions\": [{" question "}]}\n"
#define GOOD_LINE         CHOICE("\"questions\": [\"q\"], \"answer\": [\"A\"]")

static const struct {
    sf_qa_format format;
    const char *content;
    int line;
    const char *message;
} bad[] = {
    /* no JSON, or not as a whole */
    {SF_QA_SQUAD, "", 1, "found an empty file"},
    {SF_QA_SQUAD, "\n\n  \n", 4, "expected '{'"},
    {SF_QA_SQUAD, "# Questions\n", 1, "expected '{' and a member \"data\", found '#'"},
    {SF_QA_SQUAD, "[]", 1, "expected '{' and a member \"data\", found '['"},
    {SF_QA_SQUAD, "\x1f\x8b\x08", 1, "found byte 0x1f"},
    {SF_QA_SQUAD, "\xff\xfe{", 1, "found byte 0xff; is it JSON in UTF-8?"},
    {SF_QA_SQUAD, "{\"version\": 1,\n \"dat\": []}", 2, "and a member \"data\", found '}'"},
    {SF_QA_SQUAD, "{\"data\"\n []}", 2, "expected ':'"},
    {SF_QA_SQUAD, "{\"data\": {}}", 1, "expected '[' and a list of articles"},
    {SF_QA_SQUAD, "{\"data\": []}", 1, "found none in the whole file"},
    {SF_QA_SQUAD, "{\"data\": [\n{\"paragraphs\": []}\n", 3, "after a row, found the end of the file"},
    {SF_QA_SQUAD, "{\"data\": [\n{\"paragraphs\": []}\n{}]}", 3, "after a row, found '{'"},
    {SF_QA_SQUAD, "{\"data\": [\n{\"paragraphs\":\n [}\n]}", 3, "expected JSON in UTF-8"},
    {SF_QA_SQUAD, "{\"data\": [\n{\"paragraphs\": \"", 2, "expected JSON in UTF-8"},
    {SF_QA_SQUAD, "{\"data\": []} {", 1, "expected the end of the file, found '{'"},
    {SF_QA_SQUAD, "{\"data\": [], 3}", 1, "expected a member, found '3'"},
    {SF_QA_SQUAD, "{\"data\": [],\n\"a\": tru}", 2, "expected JSON in UTF-8"},
    {SF_QA_HOTPOT, "{\"data\": []}", 1, "expected '[' and a list of questions, found '{'"},
    {SF_QA_HOTPOT, "[\n,]", 2, "expected JSON"},
    {SF_QA_CHOICE, GOOD_LINE "\n{\"context\": }\n", 3, "expected JSON in UTF-8"},
    {SF_QA_CHOICE, GOOD_LINE "context,questions,answer\n", 2, "expected JSON in UTF-8"},
    {SF_QA_CHOICE, GOOD_LINE "{\"context\": \"caf\xe9\"}\n", 2, "unable to decode byte 0xe9"},
    {SF_QA_CHOICE, "\n\n", 3, "found none in the whole file"},

    /* JSON, but not these fields */
    {SF_QA_SQUAD, "{\"data\": [\n 17]}", 2, "row 1: expected the article to be an object"},
    {SF_QA_SQUAD, "{\"data\": [{\"paragraphs\": []},\n{\"title\": \"t\"}]}", 2,
     "row 2: expected the article with a member \"paragraphs\", found none"},
    {SF_QA_SQUAD, SQUAD("7"), 1, "expected \"paragraphs\" of the article to be a list"},
    {SF_QA_SQUAD, SQUAD("[{\"qas\": []}]"), 1, "expected paragraphs[0] with a member \"context\""},
    {SF_QA_SQUAD, SQUAD("[{\"context\": \" \", \"qas\": []}]"), 1,
     "\"context\" of paragraphs[0] to be a text, found an"},
    {SF_QA_SQUAD, SQUAD("[{\"context\": \"c\", \"qas\": {}}]"), 1, "\"qas\" of paragraphs[0] to be a list"},
    {SF_QA_SQUAD, SQUAD("[{\"context\": \"c\", \"qas\": [{\"answers\": []}]}]"), 1,
     "expected paragraphs[0].qas[0] with a member \"question\""},
    {SF_QA_SQUAD, SQUAD("[{\"context\": \"c\", \"qas\": [{\"question\": \"q\"}]}]"), 1, "with a member \"answers\""},
    {SF_QA_SQUAD, SQUAD("[{\"context\": \"c\", \"qas\": [{\"question\": \"q\", \"answers\": []}]}]"), 1,
     "paragraphs[0].qas[0], found an empty list"},
    {SF_QA_SQUAD, SQUAD("[{\"context\": \"c\", \"qas\": [{\"question\": \"q\", \"answers\": [\"a\"]}]}]"), 1,
     "expected paragraphs[0].qas[0] to be an object"},
    {SF_QA_SQUAD, SQUAD("[{\"context\": \"c\", \"qas\": [{\"question\": \"q\", \"answers\": [{\"text\": 1}]}]}]"), 1,
     "\"text\" of paragraphs[0].qas[0] to be a text"},
    {SF_QA_CHOICE, GOOD_LINE "[]\n", 2, "row 2: expected the line to be an object"},
    {SF_QA_CHOICE, CHOICE("\"answer\": [\"A\"]"), 1, "with a member \"questions\""},
    {SF_QA_CHOICE, CHOICE("\"questions\": [\"q\"]"), 1, "with a member \"answer\""},
    {SF_QA_CHOICE, CHOICE("\"questions\": [\"q\", \"r\"], \"answer\": [\"A\"]"), 1, "for each question, found 1 for 2"},
    {SF_QA_CHOICE, CHOICE("\"questions\": [3], \"answer\": [\"A\"]"), 1, "expected questions[0] to be a text"},
    {SF_QA_CHOICE, CHOICE("\"questions\": [\"q\"], \"answer\": [\"E\"]"), 1, "letters from A to D"},
    {SF_QA_CHOICE, CHOICE("\"questions\": [\"q\"], \"answer\": [2]"), 1, "found no text"},
    {SF_QA_CHOICE, QUALITY("\"question\": \"q\""), 1, "expected questions[0] with a member \"options\""},
    {SF_QA_CHOICE, GOOD_LINE QUALITY("\"question\": \"q\", \"options\": [\"a\", \"b\"]"), 2, "is this the test set?"},
    {SF_QA_CHOICE, QUALITY("\"question\": \"q\", \"options\": [\"a\"], \"gold_label\": \"1\""), 1, "to be a number"},
    {SF_QA_CHOICE, QUALITY("\"question\": \"q\", \"options\": [\"a\", \"b\"], \"gold_label\": 0"), 1, "found 0 of 2"},
    {SF_QA_CHOICE, QUALITY("\"question\": \"q\", \"options\": [\"a\", \"b\"], \"gold_label\": 3"), 1, "found 3 of 2"},
    {SF_QA_CHOICE, QUALITY("\"question\": \"q\", \"options\": [\"a\", 2], \"gold_label\": 1"), 1,
     "expected options[1] of questions[0] to be a text"},
    {SF_QA_CHOICE, "{\"article\": \"\", \"questions\": []}\n", 1,
     "\"article\" of the line to be a text, found an empty"},
    {SF_QA_HOTPOT, "[{\"question\": \"q\", \"answer\": \"a\"}]", 1, "with a member \"context\""},
    {SF_QA_HOTPOT, "[{\"question\": \"q\", \"answer\": \"\", \"context\": []}]", 1, "found an empty one"},
    {SF_QA_HOTPOT, "[{\"question\": \"q\", \"answer\": \"a\", \"context\": []}]", 1, "1 to 64 documents, found 0"},
    {SF_QA_HOTPOT, "[{\"question\": \"q\", \"answer\": \"a\",\n\"context\": [[\"t\", \"s\"]]}]", 1,
     "expected context[0] to be a title and a list of sentences"},
    {SF_QA_HOTPOT, "[{\"question\": \"q\", \"answer\": \"a\", \"context\": [[\"t\", [null]]]}]", 1,
     "expected context[0][1][0] to be a text"},
};

static void bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i].content);
        const sf_qa_set *set = NULL;
        char where[100];
        snprintf(where, sizeof where, "%s:%d: ", path, bad[i].line);
        if (sf_qa_open(path, bad[i].format, &set) != SF_BAD_INPUT || set || !strstr(sf_error(), where) ||
            !strstr(sf_error(), bad[i].message))
            fail_msg("row %zu, line %d, %s: %s", i, bad[i].line, bad[i].message, set ? "accepted" : sf_error());
        unlink(path);
    }
}

/* A line or a value without an end is refused early, not read in: memory grows by no more than the longest row there
 * may be, of which the pages of the mapped file are most. */
static void endless_rows(void **state)
{
    (void)state;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    static const struct {
        sf_qa_format format;
        const char *start;
        int line;
    } rows[] = {{SF_QA_CHOICE, GOOD_LINE "{\"context\": \"", 2},
                {SF_QA_SQUAD, "{\n\"data\": [{\"title\": \"", 2},
                {SF_QA_SQUAD, "{\n\n\"version\": \"", 3},
                {SF_QA_HOTPOT, "[\n\n[[[", 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_file(rows[i].start);
        assert_int_equal(truncate(path, 1 << 30), 0); /* one GiB, most of it a hole */
        const sf_qa_set *set;
        char where[100];
        snprintf(where, sizeof where, "%s:%d: expected", path, rows[i].line);
        assert_int_equal(sf_qa_open(path, rows[i].format, &set), SF_BAD_INPUT);
        if (!strstr(sf_error(), where) || !strstr(sf_error(), "at most 64 MiB, found a longer one"))
            fail_msg("%s", sf_error());
        unlink(path);
    }
    getrusage(RUSAGE_SELF, &after);
    long grown = (after.ru_maxrss - before.ru_maxrss) / 1024; /* MiB */
    if (grown > 2 * (SF_ROW_BYTES >> 20)) fail_msg("reading endless rows took %ld MiB", grown);
}

/* Of all QA tasks; the last is RULER's alone. */
struct qa_params {
    sf_qa_params qa;
    sf_ruler_params ruler;
};

static void no_files(void **state)
{
    (void)state;
    const sf_qa_set *set;
    assert_int_equal(sf_qa_open("/nowhere/squad.json", SF_QA_SQUAD, &set), SF_IO);
    assert_non_null(strstr(sf_error(), "/nowhere/squad.json: cannot open"));
    assert_int_equal(sf_qa_open("/tmp", SF_QA_SQUAD, &set), SF_IO);
    sf_request request = {.max_tokens = 4096, .tokens = counter_fours};
    sf_sample s = {0};
    assert_int_equal(sf_qa_toefl.generate(&(struct qa_params){.qa = {"/nowhere", 8172}}, &request, &s), SF_IO);
    assert_non_null(strstr(sf_error(), "qa_toefl: /nowhere: "));
    assert_null(s.prompt);
}

static void good_files(void **state)
{
    (void)state;
    const sf_qa_set *set, *again;
    write_file("\xef\xbb\xbf{\"version\": \"v2.0\", \"more\": {\"data\": [\"]\", {\"a\\\"\": 1}]},\n\"data\": [\n"
               "{\"title\": \"One\", \"paragraphs\": [\n"
               " {\"context\": \"alpha \\u00e9\", \"qas\": [\n"
               "  {\"question\": \"q1\", \"answers\": [{\"text\": \"x\"}, {\"text\": \"x\"}, {\"text\": \"y\"}]},\n"
               "  {\"question\": \"q1\", \"answers\": [{\"text\": \"again\"}]},\n"
               "  {\"question\": \"q2\", \"is_impossible\": true, \"answers\": []}]},\n"
               " {\"context\": \"beta\", \"qas\": [{\"question\": \"q1\", \"answers\": [{\"text\": \"z\"}]}]},\n"
               " {\"context\": \"without questions\", \"qas\": []}]},\n"
               "{\"title\": \"Two\", \"paragraphs\": [\n"
               " {\"context\": \" alpha \\u00e9\\n\", \"qas\": [{\"question\": \" q3 \", \"answers\": [{\"text\": "
               "\"w\"}]}]}]}\n"
               "], \"after\": [1, 2]}\n");
    assert_int_equal(sf_qa_open(path, SF_QA_SQUAD, &set), SF_OK);
    assert_int_equal(set->documents, 2);
    assert_int_equal(set->items, 3); /* q1 of alpha, q1 of beta, q3 of alpha */
    assert_string_equal(set->document[0].text, "alpha \xc3\xa9");
    assert_int_equal(set->item[0].golds, 2);
    assert_string_equal(set->item[0].gold[1], "y");
    assert_int_equal(set->item[0].near_end, 2);
    assert_int_equal(set->item[2].document[0], 0);
    assert_string_equal(set->item[2].question, "q3");
    assert_int_equal(sf_qa_open(path, SF_QA_SQUAD, &again), SF_OK);
    assert_ptr_equal(set, again); /* not read twice */
    unlink(path);

    write_file(
        "{\"context\": \"c\", \"questions\": [\"Question: q\\nA. a\", \"Q\\na. A\"], \"answer\": [\"A\", \"B\"]}\n");
    assert_int_equal(sf_qa_open(path, SF_QA_CHOICE, &set), SF_OK);
    assert_int_equal(set->items, 1); /* the same question, as the study compares them: letter case aside */
    assert_string_equal(set->item[0].question, "q\nA. a"); /* TOEFL-QA's label is gone */
    unlink(path);

    write_file("{\"context\": \"c\\nd\", \"questions\": [\"q\\nA. a\", \"r\"], \"answer\": [\"A\", \"BD\"]}\r\n\r\n"
               "{\"context\": \"c\\nd\", \"questions\": [\"r\"], \"answer\": [\"B\"], \"x\": null}");
    assert_int_equal(sf_qa_open(path, SF_QA_CHOICE, &set), SF_OK);
    assert_int_equal(set->documents, 1);
    assert_int_equal(set->items, 2);
    assert_string_equal(set->item[1].gold[0], "BD");
    FILE *f = fopen(path, "a"); /* a changed file is read anew */
    fputs("\n{\"context\": \"e\", \"questions\": [\"r\"], \"answer\": [\"C\"]}\n", f);
    fclose(f);
    assert_int_equal(sf_qa_open(path, SF_QA_CHOICE, &set), SF_OK);
    assert_int_equal(set->items, 3);
    unlink(path);

    write_file(
        "[{\"question\": \"q\", \"answer\": \"yes\", \"context\": [[\"T\", [\"One.\", \" Two.\"]], [\"U\", []]]},\n"
        "{\"question\": \"r\", \"answer\": \"no\", \"context\": [[\"U\", []]]}]");
    assert_int_equal(sf_qa_open(path, SF_QA_HOTPOT, &set), SF_OK);
    assert_int_equal(set->documents, 2);
    assert_string_equal(set->document[0].text, "T\nOne. Two.");
    assert_int_equal(set->item[0].documents, 2);
    assert_int_equal(set->item[1].document[0], 1);
    unlink(path);
}

/* Files as their authors distribute them, with all members, in their order. */
static void official_layouts(void **state)
{
    (void)state;
    const sf_qa_set *set;
    write_file("{\"data\": [{\"title\": \"Old_Mill\", \"paragraphs\": [{\"context\": \"The mill was built in 1512.\", "
               "\"qas\": [{\"answers\": [{\"answer_start\": 22, \"text\": \"1512\"}, {\"answer_start\": 19, \"text\": "
               "\"in 1512\"}], \"question\": \"When was the mill built?\", \"id\": \"5733be284776f41900661182\"}]}]}], "
               "\"version\": \"1.1\"}");
    assert_int_equal(sf_qa_open(path, SF_QA_SQUAD, &set), SF_OK); /* SQuAD 1.1 */
    assert_true(set->documents == 1 && set->items == 1 && set->item[0].golds == 2);
    assert_string_equal(set->item[0].gold[1], "in 1512");
    unlink(path);

    write_file("{\"version\": \"v2.0\", \"data\": [{\"title\": \"Old_Mill\", \"paragraphs\": [{\"qas\": ["
               "{\"question\": \"When was the mill built?\", \"id\": \"56be85543aeaaa14008c9063\", \"answers\": "
               "[{\"text\": \"in 1512\", \"answer_start\": 19}], \"is_impossible\": false}, "
               "{\"plausible_answers\": [{\"text\": \"1512\", \"answer_start\": 22}], \"question\": \"When did it "
               "burn?\", \"id\": \"5ad39d53604f3c001a3fe8d1\", \"answers\": [], \"is_impossible\": true}], "
               "\"context\": \"The mill was built in 1512.\"}]}]}");
    assert_int_equal(sf_qa_open(path, SF_QA_SQUAD, &set), SF_OK); /* SQuAD 2.0 */
    assert_true(set->documents == 1 && set->items == 1);
    assert_string_equal(set->document[0].text, "The mill was built in 1512.");
    unlink(path);

    write_file(
        "{\"article_id\": \"52845\", \"set_unique_id\": \"52845_75VB1ISR\", \"batch_num\": \"23\", \"writer_id\": "
        "\"1005\", \"source\": \"Gutenberg\", \"title\": \"The Mill\", \"year\": 1953, \"author\": \"N. N.\", "
        "\"topic\": \"Short stories\", \"article\": \"THE MILL\\n\\nIt stood by the river.\\n\", \"questions\": "
        "[{\"question\": \"Where did the mill stand?\", \"question_unique_id\": \"52845_75VB1ISR_1\", "
        "\"options\": [\"On a hill\", \"By the river\", \"In a wood\", \"Nowhere\"], \"writer_label\": 2, "
        "\"gold_label\": 2, \"validation\": [{\"untimed_annotator_id\": \"0021\", \"untimed_answer\": 2, "
        "\"untimed_eval1_answerability\": 1, \"untimed_eval2_context\": 1, \"untimed_best_distractor\": 1}], "
        "\"speed_validation\": [{\"speed_annotator_id\": \"0016\", \"speed_answer\": 1}], \"difficult\": 0}], "
        "\"url\": \"http://example.org/52845\", \"license\": \"none\"}\n");
    assert_int_equal(sf_qa_open(path, SF_QA_CHOICE, &set), SF_OK); /* QuALITY 1.0.1 */
    assert_true(set->documents == 1 && set->items == 1);
    assert_string_equal(set->document[0].text, "THE MILL\n\nIt stood by the river.");
    assert_string_equal(set->item[0].question,
                        "Where did the mill stand?\nA. On a hill\nB. By the river\nC. In a wood\nD. Nowhere");
    assert_string_equal(set->item[0].gold[0], "B");
    unlink(path);

    write_file("[{\"_id\": \"5a8b57f25542995d1e6f1371\", \"answer\": \"no\", \"question\": \"Do both mills stand?\", "
               "\"supporting_facts\": [[\"Old Mill\", 0], [\"New Mill\", 1]], \"context\": [[\"Old Mill\", [\"It "
               "stands.\"]], [\"New Mill\", [\"It was new.\", \" It burned down.\"]]], \"type\": \"comparison\", "
               "\"level\": \"hard\"}]");
    assert_int_equal(sf_qa_open(path, SF_QA_HOTPOT, &set), SF_OK); /* HotpotQA, distractor setting */
    assert_true(set->documents == 2 && set->items == 1 && set->item[0].documents == 2);
    assert_string_equal(set->document[1].text, "New Mill\nIt was new. It burned down.");
    assert_string_equal(set->item[0].gold[0], "no");
    unlink(path);
}

static void shipped_data(void **state)
{
    (void)state;
    const sf_qa_set *set[SF_QA_FORMATS];
    static const int least[SF_QA_FORMATS] = {60, 60, 20};
    for (int f = 0; f < SF_QA_FORMATS; f++) {
        assert_int_equal(sf_qa_open(NULL, (sf_qa_format)f, &set[f]), SF_OK);
        assert_true(set[f]->documents >= 30 && set[f]->items >= least[f]);
    }
    for (int i = 0; i < set[SF_QA_SQUAD]->items; i++) { /* open answers stand in their documents */
        const sf_qa_item *item = &set[SF_QA_SQUAD]->item[i];
        assert_non_null(strstr(set[SF_QA_SQUAD]->document[item->document[0]].text, item->gold[0]));
        if (strstr(item->question, item->gold[0])) fail_msg("\"%s\" holds its answer", item->question);
    }
    int letters[4] = {0};
    for (int i = 0; i < set[SF_QA_CHOICE]->items; i++) {
        const sf_qa_item *item = &set[SF_QA_CHOICE]->item[i];
        for (int k = 0; k < 4; k++)
            assert_non_null(strstr(item->question, (const char[]){'\n', (char)('A' + k), '.', 0}));
        for (const char *c = item->gold[0]; *c; c++) letters[*c - 'A']++;
    }
    for (int i = 0; i < 4; i++) assert_in_range(letters[i], 12, 24); /* one letter for all is no good answer */
}

static void cutting(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int pieces, bytes;
    } rows[] = {
        {"one two  three", 0, 0},
        {"one two  three", 1, 3},
        {"one two  three", 2, 7},
        {"one two  three", 3, 14},
        {"one two  three", 9, 14},
        {"", 1, 0},
        {"abcdefghijklmnopqrstuv", 1, 16},
        {"\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
         "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9",
         1, 32},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sf_qa_cut(rows[i].text, rows[i].pieces), rows[i].bytes);
}

/* ---- packing ----------------------------------------------------------------------------------------------------- */

/* Forty documents "dN word word …" in four articles, a question about each; document 7 is ten times as long. */
static void write_articles(void)
{
    char *text = malloc(1 << 20), *at = text;
    at += sprintf(at, "{\"data\": [");
    for (int i = 0; i < 40; i++) {
        if (i % 10 == 0) at += sprintf(at, "%s{\"paragraphs\": [", i ? "]}, " : "");
        at += sprintf(at, "%s{\"context\": \"d%d", i % 10 ? ", " : "", i);
        for (int k = 0; k < (i == 7 ? 1000 : 100); k++) at += sprintf(at, " word");
        at += sprintf(at,
                      " end%d\", \"qas\": [{\"question\": \"What ends d%d?\", \"answers\": [{\"text\": \"end%d\"}]}]}",
                      i, i, i);
    }
    sprintf(at, "]}]}");
    write_file(text);
    free(text);
}

static sf_status generate(const sf_task *task, int longest, int length, int index, sf_sample *out)
{
    sf_request request = {.seed = 43, .index = index, .max_tokens = length, .tokens = counter_words};
    *out = (sf_sample){0};
    return task->generate(&(struct qa_params){.qa = {path, longest}}, &request, out);
}

static void documents(void **state)
{
    (void)state;
    write_articles();
    bool asked[40] = {false};
    int different = 0, first = 0, last = 0;
    for (int index = 0; index < 40; index++) {
        sf_sample s;
        assert_int_equal(generate(&sf_qa_squad, 8172, 2048, index, &s), SF_OK);
        int which = atoi(s.gold[0] + 3), number = 0, seen = 0, whole = 0;
        different += !asked[which];
        asked[which] = true;
        const char *about = strstr(s.prompt, "This question is about document ");
        number = atoi(about + strlen("This question is about document "));
        char end[32];
        for (const char *at = s.prompt + s.context_begin; (at = strstr(at, "Document ")); at++) {
            int n, d;
            if (sscanf(at, "Document %d:\nd%d", &n, &d) != 2) continue;
            assert_int_equal(n, ++seen);
            snprintf(end, sizeof end, "word end%d\n", d);
            const char *stop = strstr(at, "\n\nDocument "), *found = strstr(at, end);
            if (!stop || stop > s.prompt + s.context_end) stop = s.prompt + s.context_end;
            whole += found && found <= stop;
            if (n == number) assert_true(d == which && found && found <= stop);
        }
        assert_true(seen > 3 && number >= 1 && number <= seen && whole >= seen - 1); /* one is cut */
        first += number == 1;
        last += number == seen;
        snprintf(end, sizeof end, "<answer>\n%s\n</answer>", s.gold[0]);
        assert_non_null(strstr(s.answer, end));
        sf_sample_free(&s);
    }
    assert_true(first > 0 && first < 10 && last > 0 && last < 10); /* of about twelve documents, anywhere among them */
    assert_int_equal(different, 40); /* as many samples as questions: each is asked once */

    sf_sample s; /* one is too long for its own limit, or for the request: 39 are left, each asked once */
    static const struct {
        int longest, length;
    } limits[] = {{1000, 2048}, {8172, 1000}};
    for (int l = 0; l < 2; l++) {
        bool again[40] = {false};
        for (int index = 0; index < 39; index++) {
            assert_int_equal(generate(&sf_qa_squad, limits[l].longest, limits[l].length, index, &s), SF_OK);
            int which = atoi(s.gold[0] + 3);
            assert_true(which != 7 && !again[which]);
            again[which] = true;
            sf_sample_free(&s);
        }
        assert_int_equal(generate(&sf_qa_squad, limits[l].longest, limits[l].length, 39, &s), SF_BAD_INPUT);
        assert_non_null(strstr(sf_error(), "sample 39 would repeat a question: only 39 of 40"));
        assert_null(s.prompt);
        const sf_request request = {.seed = 43, .max_tokens = limits[l].length, .tokens = counter_words};
        const struct qa_params p = {.qa = {path, limits[l].longest}};
        for (int most = 5; most <= 50; most += 45) {
            int samples;
            assert_int_equal(sf_qa_squad.supply(&p, &request, most, &samples), SF_OK);
            assert_int_equal(samples, most == 5 ? 5 : 39);
        }
    }
    assert_int_equal(generate(&sf_qa_squad, 8172, 200, 0, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "at least "));
    assert_int_equal(generate(&sf_qa_squad, 100, 2048, 0, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "raise longest"));
    assert_int_equal(generate(&sf_qa_squad, 8172, 16384, 0, &s), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "16384 tokens are too many"));
    unlink(path);
}

/* RULER takes distractors of the same article first, and does not say which document it asks about. */
static void same_article_first(void **state)
{
    (void)state;
    write_articles();
    for (int index = 0; index < 20; index++) {
        sf_sample s;
        assert_int_equal(generate(&sf_ruler_qa_1, 8172, 800, index, &s), SF_OK);
        int which = atoi(s.gold[0] + 3), n, d;
        for (const char *at = s.prompt; (at = strstr(at, "Document ")); at++)
            if (sscanf(at, "Document %d:\nd%d", &n, &d) == 2) assert_int_equal(d / 10, which / 10);
        assert_null(strstr(s.prompt, "about document"));
        assert_non_null(strstr(s.prompt + s.context_end, "\nQuestion: What ends d"));
        assert_string_equal(s.answer, s.gold[0]);
        sf_sample_free(&s);
    }
    unlink(path);
}

static void all_documents_of_a_question(void **state)
{
    (void)state;
    write_file(
        "[{\"question\": \"Q?\", \"answer\": \"a\", \"context\": [[\"T\", [\"One one.\"]], [\"U\", [\"Two two.\"]]]},"
        "{\"question\": \"R?\", \"answer\": \"b\", \"context\": [[\"V\", [\"Three.\"]], [\"W\", [\"Four.\"]]]}]");
    sf_sample s;
    assert_int_equal(generate(&sf_ruler_qa_2, 8172, 84, 0, &s), SF_OK);
    bool first = strcmp(s.gold[0], "a") == 0;
    assert_non_null(strstr(s.prompt, first ? "T\nOne one." : "V\nThree."));
    assert_non_null(strstr(s.prompt, first ? "U\nTwo two." : "W\nFour."));
    sf_sample_free(&s);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files),
        cmocka_unit_test(endless_rows),
        cmocka_unit_test(no_files),
        cmocka_unit_test(good_files),
        cmocka_unit_test(official_layouts),
        cmocka_unit_test(shipped_data),
        cmocka_unit_test(cutting),
        cmocka_unit_test(documents),
        cmocka_unit_test(same_article_first),
        cmocka_unit_test(all_documents_of_a_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
