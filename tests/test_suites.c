/* Suites of others: their scorers against the official ones' values, their layouts, the drawing and cutting of rows. */
#include <math.h>
#include <sys/stat.h>

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
    int row = 0, here = 0, differ = 0, good = 0;
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
        good += right > 0;
        if (!(fabs(score.strict - right) <= 1e-15) || score.reference != score.strict)
            print_error("%s:%d: scores %.17g, officially %.17g: %s", path, row + 1, score.strict, right, line), differ++;
        json_decref(o);
        row++, here++;
    }
    print_message("%s: %d answers\n", last, here);
    free(line);
    fclose(f);
    assert_int_equal(differ, 0);
    assert_true(row >= 200 && good > row / 20 && good < row - row / 20);
}

static void official_scores(void **state)
{
    (void)state;
    static const char *const suites[] = {"longbench", "longbench_v2", "infinitebench", "babilong", "nolima", "mrcr", "scbench", "helmet"};
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        char path[80];
        snprintf(path, sizeof path, "tests/golden/tasks/suites/%s.jsonl", suites[i]);
        compare(path);
    }
}

static const char *table, *template_file; /* of a run by hand */
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
    const char *file, *prompts, *demos;
} params;

static sf_status generate(const char *task, const params *p, int length, int index, sf_sample *out)
{
    const sf_request request = {.seed = 43, .index = index, .max_tokens = length, .tokens = counter_words};
    *out = (sf_sample){0};
    return sf_task_find(task)->generate(p, &request, out);
}

#define LINE(dataset, rest) "{\"input\": \"Who?\", \"context\": \"Ann {was} here.\", \"length\": 3, \"dataset\": \"" dataset "\"" rest "}\n"
#define QASPER              "{\"qasper\": \"Read.\\n{context}\\nThen {{answer}}: {input}\"}"

#define CHOICES "\"choice_A\": \"one\", \"choice_B\": \"two \", \"choice_C\": \"three\", \"choice_D\": \"four\""
#define BOOK(answer) \
    "{\"id\": 1, \"context\": \"Ann was here.\", \"input\": \"Who?\", \"options\": [\"one\", \"two\", \"three\", \"four\"], " answer "}\n"

/* The made-up prompts of a suite that has more than a text of them. */
static const char *prompts_of(const char *task)
{
    return strncmp(task, "infinitebench", 13) == 0 ? "tests/suites/infinitebench"
           : strncmp(task, "scbench", 7) == 0      ? "tests/suites/scbench.py"
           : strncmp(task, "helmet", 6) == 0       ? "tests/suites/helmet.py"
                                                   : "tests/suites/babilong.py";
}

/* Of suites that have some: the rows that examples are drawn from. */
#define DEMO(id, question, answer, passages) "{\"id\": \"" id "\", \"question\": \"" question "\", \"answers\": [\"" answer "\"], \"ctxs\": [" passages "]}\n"
#define DEMOS DEMO("1", "q?", "x", "{\"title\": \"M\", \"text\": \"Mill.\"}") DEMO("2", "r?", "z", "")
#define ASKED(rest) "{\"id\": 7, \"question\": \"q\", \"answers\": [\"a\"], \"ctxs\": []" rest "}"

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
    {"longbench_v2", "[{\"_id\": \"1\", \"domain\": \"d\", \"difficulty\": \"easy\", \"length\": \"short\", \"question\": \" Who? \", " CHOICES
     ", \"answer\": \"C\", \"context\": \"\\nAnn {was} here. $Q$\\n\"}]", "<text>\n$DOC$\n</text>\n{$Q$}\n(A) $C_A$\n(B) $C_B$\n(C) $C_C$\n(D) $C_D$\n",
     "<text>\nAnn {was} here. $Q$\n</text>\n{Who?}\n(A) one\n(B) two\n(C) three\n(D) four\n", "Ann {was} here. $Q$", "C", NULL},
    {"infinitebench_passkey", "{\"context\": \"The key is 71432.\", \"input\": \"What is it?\", \"answer\": \"71432\", \"len\": 5}", NULL,
     "Find.\n\nThe key is 71432.\n\nWhat is it?\n\nIt's", "The key is 71432.", "71432", NULL},
    {"infinitebench_kv_retrieval", "{\"id\": 0, \"content\": \"{a: b}\", \"input\": \"Key: a\", \"answer\": [\"b\"]}", NULL, "{a: b}|Key: a", "{a: b}", "b", NULL},
    {"infinitebench_longbook_choice_eng", BOOK("\"answer\": [\"two\"]"), NULL, "Ann was here. Q Who? A one B two C three D four", "Ann was here.", "two|B", NULL},
    {"infinitebench_code_debug", BOOK("\"answer\": [\"two\", \"B\"]"), NULL, "Ann was here.\n\nB. two", "Ann was here.", "two|B", NULL},
    {"infinitebench_longbook_qa_eng", BOOK("\"answer\": [\"Ann\", \"ann\"]"), NULL, "Ann was here.Who?", "Ann was here.", "Ann|ann", NULL},
    {"infinitebench_longbook_sum_eng", BOOK("\"answer\": [\"Ann came.\"]"), NULL, "Sum é üp: Ann was here.", "Ann was here.", "Ann came.", NULL},
    {"infinitebench_longdialogue_qa_eng", BOOK("\"answer\": [\"ANN\", \"ANN LEE\"]"), NULL, "$$MASK$$ Ann was here.", "Ann was here.", "ANN|ANN LEE", NULL},
    {"infinitebench_math_find", "{\"context\": \"[3, 9]\", \"input\": \"One number. The second largest number of the list is: \", \"answer\": 3}", NULL,
     "Which is the second largest number of it?\n[3, 9]\nOne number. The second largest number of the list is: ", "[3, 9]", "3", NULL},
    {"infinitebench_math_calc", "{\"context\": \"1 + 2\", \"input\": \"\", \"answer\": [1, 3]}", NULL, "Values of 1 + 2:", "1 + 2", "1 3", NULL},
    {"infinitebench_code_run", "{\"context\": \"def f\", \"input\": \"func_x(1) func_7 func_12(-3), func_1(2)\", \"answer\": [4]}", NULL,
     "func_12 def f func_12(-3) is", "def f", "4", NULL},
    {"babilong_qa8", "[{\"input\": \" Mary took it. \", \"question\": \"What is she carrying? \", \"target\": \"apple,milk\"}]", NULL,
     "Read {it}.\n\n<example>\nA.\n</example>\n\nBe short.\n\n<context>\nMary took it.\n</context>\n\nQuestion: What is she carrying?", "Mary took it.", "apple,milk",
     "What is she carrying? "},
    {"mrcr", "{\"prompt\": \"[{\\\"role\\\": \\\"user\\\", \\\"content\\\": \\\"Write.\\\"}, {\\\"role\\\": \\\"assistant\\\", \\\"content\\\": \\\"A {poem}.\\\"}, {\\\"role\\\": \\\"user\\\","
     " \\\"content\\\": \\\"Prepend xY7 to the 1st.\\\"}]\", \"answer\": \"xY7A {poem}.\", \"random_string_to_prepend\": \"xY7\", \"n_needles\": 2, \"n_chars\": 90}", NULL,
     "User: Write.\n\nAssistant: A {poem}.\n\nUser: Prepend xY7 to the 1st.", "User: Write.\n\nAssistant: A {poem}.\n\n", "xY7A {poem}.", "xY7"},
    {"helmet_json_kv", "{\"context\": \"{a: b}\", \"question\": \"a\", \"answer\": \"b\", \"num_kvs\": 1, \"demos\": [[\"c\", \"d\"], [\"e\", \"f\"], [\"g\", \"h\"]]}", NULL,
     "{a: b}\n\nFind.\n\nKey: c\nValue: d\n\nKey: e\nValue: f\n\nKey: a\nValue:", "{a: b}", "b", "Value:"},
    {"helmet_ruler_niah_mk_2", "{\"context\": \"It is 7.\", \"query\": \"mill\", \"type_needle_v\": \"numbers\", \"outputs\": [\"7\"]}", NULL,
     "Keep one of numbers.\nIt is 7.\nWhich for mill?\nFor mill it is", "It is 7.", "7", "For mill it is"},
    {"helmet_ruler_niah_mv", "{\"context\": \"It is 7, 8.\", \"query\": \"mill\", \"type_needle_v\": \"numbers\", \"answer\": [\"7\", \"8\"]}", NULL,
     "Keep numbers.\nIt is 7, 8.\nAll numbers for mill?\nThe numbers for mill are", "It is 7, 8.", "7|8", "The numbers for mill are"},
    {"helmet_kilt_triviaqa", "{\"id\": \"tc_1\", \"question\": \"Who {was}?\", \"answers\": [\"Ann\", \"Lee\"], \"ctxs\": [{\"id\": \"9\", \"title\": \"A\", \"text\": \"Ann was.\", \"has_answer\": true},"
     " {\"title\": \"B\", \"text\": \"No.\"}]}", NULL,
     "Be short.\n\nM: Mill.\n\nAsked: q?\nSaid: x\n\n\n\nAsked: r?\nSaid: z\n\nA: Ann was.\n\nB: No.\n\nAsked: Who {was}?\nSaid:", "A: Ann was.\n\nB: No.", "Ann|Lee", "Said:"},
    {"scbench_kv", "{\"id\": 0, \"context\": \"{a: b}\", \"multi_turns\": [{\"input\": \"Key: a\", \"answer\": \"b\"}]}", NULL, "Find.\n\n{a: b}Key: a", "{a: b}", "b", NULL},
    {"scbench_choice_eng", "{\"context\": \"c\", \"multi_turns\": [{\"input\": \"Who?\", \"answer\": \"B\", \"options\": [\"one\", \"two\", \"three\", \"four\"]}]}", NULL,
     "Read.\n\ncQ Who?\nA. one\nB. two\nC. three\nD. four\n\nIt is", "c", "B", NULL},
    {"scbench_many_shot", "{\"input\": \"c\", \"multi_turns\": [{\"input\": \"Who?\", \"answer\": \"(é\"}]}", NULL, "cWho?", "c", "(|é", NULL},
    {"scbench_vt", "{\"context\": \"c\", \"multi_turns\": [{\"input\": \"Which?\", \"answer\": [\"ABC\", \"XYZ\"]}]}", NULL, "cWhich?", "c", "ABC|XYZ", NULL},
};

static void one_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        params p = {file_of("row.jsonl", layouts[i].row), layouts[i].prompts ? file_of("prompts", layouts[i].prompts) : prompts_of(layouts[i].task),
                    file_of("demos.jsonl", DEMOS)};
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

#define V2   "$DOC$ $Q$ $C_A$ $C_B$ $C_C$ $C_D$"
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
    {"longbench_v2", "[{\"question\": \"q\", " CHOICES ", \"answer\": \"E\", \"context\": \"c\"}]", V2, "row.jsonl:1: row 1: expected \"answer\" to be A, B, C or D"},
    {"longbench_v2", "[{\"question\": \"q\", " CHOICES ", \"answer\": \"A\", \"context\": \"c\"},\n{\"question\": \"q\"}]", V2,
     "row.jsonl:2: row 2: expected a member \"context\""},
    {"longbench_v2", "[]", V2, "expected rows of LongBench v2, found none"},
    {"longbench_v2", "[{}]", "$DOC$ $Q$ $C_A$ $C_B$ $C_C$", "expected a prompt with $C_D$"},
    {"infinitebench_passkey", "{\"context\": \"c\", \"input\": \"i\", \"answer\": 7}", NULL, "row 1: expected \"answer\" to be a text"},
    {"infinitebench_passkey", "{\"context\": \"c\", \"answer\": \"7\"}", NULL, "expected a member \"input\""},
    {"infinitebench_passkey", "{}", "", "cannot open the suite's prompts"},
    {"infinitebench_number_string", "{\"context\": \"c\", \"input\": \"i\", \"answer\": \"7\"}", NULL, "its prompt has a field {digits} that this program does not know"},
    {"infinitebench_code_run", "{\"context\": \"c\", \"input\": \"func(3)\", \"answer\": 7}", NULL, "expected \"input\" to hold a call like func_7(-3)"},
    {"infinitebench_code_run", "{\"context\": \"c\", \"input\": \"func_1(3)\", \"answer\": \"7\"}", NULL, "expected \"answer\" to be a whole number"},
    {"infinitebench_code_run", "{\"context\": \"c\", \"input\": \"func_1(3)\", \"answer\": 7.5}", NULL, "expected \"answer\" to be a whole number"},
    {"infinitebench_math_find", "{\"context\": \"c\", \"input\": \"The list\", \"answer\": 7}", NULL, "expected \"input\" to ask for"},
    {"infinitebench_math_calc", "{\"context\": \"c\", \"answer\": []}", NULL, "expected \"answer\" to be a list of whole numbers"},
    {"infinitebench_math_calc", "{\"context\": \"c\", \"answer\": [1, 2.5]}", NULL, "expected \"answer\"[1] to be a whole number"},
    {"infinitebench_code_debug", BOOK("\"answer\": \"five\""), NULL, "expected \"answer\" to be one of \"options\""},
    {"infinitebench_code_debug", BOOK("\"answer\": [\"two\", \"E\"]"), NULL, "expected \"answer\" to be an option and its letter"},
    {"infinitebench_longbook_choice_eng", "{\"context\": \"c\", \"input\": \"i\", \"options\": [\"a\"], \"answer\": \"a\"}", NULL, "expected \"options\" to be four texts"},
    {"babilong_qa2", "[{}]", NULL, "babilong.py:20: expected a key \"qa2\" in the dictionary that ends here, found none"},
    {"babilong_qa1", "[{}]", NULL, "babilong.py:9: expected a key \"examples\""},
    {"babilong_qa1", "[{}]", "x = 1\nDEFAULT_TEMPLATE == 2\n", "expected an assignment to DEFAULT_TEMPLATE, found none"},
    {"babilong_qa1", "[{}]", "x = 1", "expected an assignment to DEFAULT_TEMPLATE, found none"},
    {"babilong_qa1", "[{}]", "DEFAULT_TEMPLATE = {1: 2}\n", "prompts:1: expected a string, found \"{1: 2}\""},
    {"babilong_qa1", "[{}]", "DEFAULT_TEMPLATE = 'a\nb'\n", "prompts:1: expected the end of a string"},
    {"babilong_qa1", "[{}]", "DEFAULT_TEMPLATE = 'a' + b\n", "expected string literals alone"},
    {"babilong_qa1", "[{}]", "DEFAULT_TEMPLATE = 'a\\q'\n", "expected an escape that this reader knows"},
    {"babilong_qa1", "[{}]", "DEFAULT_TEMPLATE = '{DEFAULT_TEMPLATE}'\n", "expected the name of a field"},
    {"babilong_qa8", "[{\"input\": \"i\", \"question\": \"q\", \"target\": \"\"}]", NULL, "expected \"target\" to be an answer"},
    {"mrcr", "{\"prompt\": \"[\", \"answer\": \"a\", \"random_string_to_prepend\": \"a\"}", NULL, "expected \"prompt\" to be a list of turns, written as JSON"},
    {"mrcr", "{\"prompt\": \"[{\\\"role\\\": \\\"user\\\"}]\", \"answer\": \"a\", \"random_string_to_prepend\": \"a\"}", NULL, "expected turn 0 of \"prompt\" to have a role and a content"},
    {"mrcr", "{\"prompt\": \"[{\\\"role\\\": \\\"user\\\", \\\"content\\\": \\\"x\\\"}]\", \"answer\": \"a\", \"random_string_to_prepend\": \"b\"}", NULL,
     "expected \"answer\" to begin with \"b\""},
    {"scbench_kv", "{\"context\": \"c\"}", NULL, "row 1: expected a member \"multi_turns\""},
    {"scbench_kv", "{\"context\": \"c\", \"multi_turns\": []}", NULL, "expected rows of scbench_kv, found none"},
    {"scbench_kv", "{\"context\": \"c\", \"multi_turns\": [{\"input\": \"q\", \"answer\": \"a\"}, {\"answer\": \"a\"}]}", NULL, "expected \"multi_turns\"[1] with a text \"input\""},
    {"scbench_kv", "{\"context\": \"c\", \"multi_turns\": [{\"input\": \"q\", \"answer\": \"\"}]}", NULL, "to be a text, found an empty one"},
    {"scbench_choice_eng", "{\"context\": \"c\", \"multi_turns\": [{\"input\": \"q\", \"answer\": \"B\"}]}", NULL, "expected \"options\" of \"multi_turns\"[0] to be four texts"},
    {"scbench_vt", "{\"context\": \"c\", \"multi_turns\": [{\"input\": \"q\", \"answer\": [\"A\", 3]}]}", NULL, "expected \"answer\"[1] of \"multi_turns\"[0] to be a text"},
    {"helmet_json_kv", "{\"context\": \"c\", \"question\": \"a\", \"answer\": \"b\", \"demos\": [[\"c\", \"d\"], [\"e\"]]}", NULL, "expected \"demos\" to hold 2 pairs of texts"},
    {"helmet_json_kv", "{\"context\": \"c\", \"question\": \"a\", \"answer\": \"\", \"demos\": [[\"c\", \"d\"], [\"e\", \"f\"]]}", NULL, "expected \"answer\" to be a list"},
    {"helmet_ruler_niah_mk_3", "{\"context\": \"c\", \"query\": \"a\"}", NULL, "expected a member \"type_needle_v\""},
    {"helmet_ruler_niah_mv", "{}", "def load_json_kv(\n", "expected an assignment to load_ruler.user_template#1, found none"},
    {"helmet_kilt_nq", "{\"question\": \"q\", \"answers\": [\"a\"]}", NULL, "row.jsonl:1: row 1: expected a member \"ctxs\""},
    {"helmet_kilt_nq", "{\"question\": \"q\", \"answers\": [], \"ctxs\": []}", NULL, "row 1: expected \"answers\" to hold an answer"},
    {"helmet_kilt_nq", "{\"question\": \"q\", \"answers\": [\"a\"], \"ctxs\": [{\"title\": \"t\"}]}", NULL, "row 1: expected a member \"text\""},
    {"helmet_kilt_nq", "{\"question\": 3, \"answers\": [\"a\"], \"ctxs\": []}", NULL, "row 1: expected \"question\" to be a text"},
    {"helmet_kilt_nq", "{\"id\": 1.5, \"question\": \"q\", \"answers\": [\"a\"], \"ctxs\": []}", NULL, "row 1: expected \"id\" to be a text or a whole number"},
    {"helmet_kilt_nq", "{}", "def load_qa(\n", "expected an assignment to load_qa.user_template#1, found none"},
    {"helmet_kilt_nq", "{\"id\": 1, \"question\": \"q\", \"answers\": [\"a\"], \"ctxs\": []}",
     "def load_qa(\n user_template = \"\"\n user_template = \"{demos}{context}{question}\"\n system_template = \"S\"\n demo_template = \"{demos}\"\n passage_template = \"\"\n",
     "expected a member \"demos\""},
    {"scbench_passkey", "{}", NULL, "scbench.py:11: expected a key \"scbench_passkey\""},
};

static const struct {
    const char *task, *rows, *message, *demos;
} bad_demos[] = {
    {"helmet_kilt_nq", ASKED(""), "demos.jsonl:1: row 1: expected a member \"answers\"", "{\"id\": 7, \"question\": \"q\", \"ctxs\": []}"},
    {"helmet_kilt_nq", ASKED(""), "row.jsonl:1: row 1: expected examples with a text \"id\"", "{\"question\": \"q\", \"answers\": [\"a\"], \"ctxs\": []}"},
    {"helmet_kilt_nq", ASKED(""), "expected 2 examples that differ in `demos`, found 1", DEMO("1", "q", "a", "") DEMO("1", "r", "b", "")},
    {"helmet_kilt_popqa_3", ASKED(""), "expected \"s_pop\" to be a number above 0", ASKED(", \"s_pop\": 3")},
    {"helmet_kilt_popqa_3", ASKED(", \"s_pop\": 1000"), "expected rows of kilt_popqa_3, found none", ASKED(", \"s_pop\": 3")},
    {"helmet_kilt_popqa_3", ASKED(", \"s_pop\": 3"), "expected 2 examples that differ in `demos`, found 0", ASKED(", \"s_pop\": 3")},
};

/* The sample is refused, by a message that mentions something. */
static void is_refused(size_t row, const char *task, const params *p, const char *message)
{
    sf_sample s;
    if (generate(task, p, 512, 0, &s) == SF_OK) fail_msg("row %zu is accepted: %s", row, s.prompt);
    if (!strstr(sf_error(), message)) fail_msg("row %zu: \"%s\" does not mention \"%s\"", row, sf_error(), message);
    assert_true(!s.prompt && !s.gold && !s.aside);
}

static void bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const params p = {file_of("row.jsonl", bad[i].rows), bad[i].prompts ? file_of("prompts", bad[i].prompts) : prompts_of(bad[i].task),
                          file_of("demos.jsonl", DEMOS)};
        is_refused(i, bad[i].task, &p, bad[i].message);
    }
    for (size_t i = 0; i < sizeof bad_demos / sizeof *bad_demos; i++) {
        const params p = {file_of("row.jsonl", bad_demos[i].rows), prompts_of(bad_demos[i].task), file_of("demos.jsonl", bad_demos[i].demos)};
        is_refused(i, bad_demos[i].task, &p, bad_demos[i].message);
    }
    sf_sample s;
    params none = {0}, half = {.file = "x.jsonl"}, table_file = {.file = "x.parquet", .prompts = file_of("prompts", QASPER)}, missing = {.file = "x.jsonl", .prompts = table_file.prompts};
    assert_error(generate("longbench_qasper", &none, 512, 0, &s), "longbench_qasper: `file` is missing");
    assert_error(generate("longbench_qasper", &half, 512, 0, &s), "`prompts` is missing");
    params rag = {.file = "x.jsonl", .prompts = "tests/suites/helmet.py"};
    assert_error(generate("helmet_kilt_nq", &rag, 512, 0, &s), "helmet_kilt_nq: `demos` is missing");
    assert_error(generate("longbench_qasper", &table_file, 512, 0, &s), "Parquet files are not read");
    assert_error(generate("longbench_qasper", &missing, 512, 0, &s), "x.jsonl: cannot open the data set");
}

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

/* Every prompt of a data set of HELMET's RAG part is one that the official code makes of the same rows, each once. */
static void compare_prompts(const char *from, const char *name, const char *templates)
{
    char path[3][256], task[64];
    static const char *const file[] = {"rows", "demos", "prompts"};
    for (int i = 0; i < 3; i++) snprintf(path[i], sizeof *path, "%s/%s_%s.jsonl", from, name, file[i]);
    snprintf(task, sizeof task, "helmet_kilt_%s", name);
    params p = {.file = path[0], .prompts = templates, .demos = path[1]};
    json_t *right = json_array();
    FILE *f = fopen(path[2], "r");
    if (!f) fail_msg("%s is missing", path[2]);
    for (json_t *one; (one = json_loadf(f, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, NULL));) json_array_append_new(right, one);
    fclose(f);
    const int all = (int)json_array_size(right);
    assert_in_range(all, 5, 1000);
    for (int i = 0; i < all; i++) {
        sf_sample s;
        OK(generate(task, &p, 4096, i, &s));
        size_t k = 0;
        while (k < json_array_size(right) && strcmp(json_string_value(json_array_get(right, k)), s.prompt) != 0) k++;
        if (k == json_array_size(right)) fail_msg("%s: sample %d is no prompt of the official code: %s", name, i, s.prompt);
        json_array_remove(right, k);
        sf_sample_free(&s);
    }
    sf_sample s;
    assert_error(generate(task, &p, 4096, all, &s), "is one too many");
    print_message("%s: %d prompts\n", name, all);
    json_decref(right);
}

static void official_examples(void **state)
{
    (void)state;
    static const char *const names[] = {"nq", "hotpotqa", "popqa_3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        compare_prompts(table ? table : "tests/golden/tasks/suites/rag", names[i], template_file ? template_file : "tests/suites/helmet.py");
}

/* A prompt of HELMET's that is too long loses the end of its context alone. */
static void context_cut(void **state)
{
    (void)state;
    params p = {.file = file_of("row.jsonl", "{\"context\": \"a b c d e f g h i j k l m n o p\", \"query\": \"mill\", \"type_needle_v\": \"numbers\", \"outputs\": [\"7\"]}"),
                .prompts = prompts_of("helmet_ruler_niah_mk_2")};
    sf_sample s;
    OK(generate("helmet_ruler_niah_mk_2", &p, 512, 0, &s));
    const int whole = s.tokens;
    sf_sample_free(&s);
    OK(generate("helmet_ruler_niah_mk_2", &p, whole - 6, 0, &s));
    assert_in_range(s.tokens, whole - 8, whole - 6);
    assert_int_equal(s.tokens, count_words(NULL, s.prompt, strlen(s.prompt), NULL));
    assert_true(strncmp(s.prompt, "Keep one of numbers.\na b c d e f g h", 36) == 0 && !strchr(strstr(s.prompt, "h") , 'p'));
    const char *end = "\nWhich for mill?\nFor mill it is";
    assert_string_equal(s.prompt + s.context_end, end);
    assert_memory_equal(s.prompt + s.context_begin, "a b", 3);
    sf_sample_free(&s);
    assert_error(generate("helmet_ruler_niah_mk_2", &p, whole - 16, 0, &s), "tokens hold nothing of its context");
}

/* All rows are asked, each once, in the order of the seed; no more. */
static void every_row_once(void **state)
{
    (void)state;
    char rows[4096] = "";
    for (int i = 0; i < 20; i++)
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "{\"input\": \"%d\", \"context\": \"c\", \"answers\": [\"a\"]}\n%s", i, i == 7 ? "\n" : "");
    params p = {.file = file_of("row.jsonl", rows), .prompts = file_of("prompts", "{\"qasper\": \"{context} {input}\"}")};
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
    assert_error(generate("longbench_qasper", &p, 512, 20, &s), "has 20 samples, number 20 is one too many");
    int n;
    sf_request request = {.max_tokens = 512, .tokens = counter_words};
    OK(sf_task_find("longbench_qasper")->supply(&p, &request, 200, &n));
    assert_int_equal(n, 20);
    OK(sf_task_find("longbench_qasper")->supply(&p, &request, 3, &n));
    assert_int_equal(n, 3);
    request.prompting.place = SF_QUESTION_BEFORE;
    assert_error(sf_task_find("longbench_qasper")->supply(&p, &request, 3, &n), "its prompts are its authors'; leave out question");
}

/* Of a suite whose rows hold what is asked for anywhere, none is cut: the message names the length that it takes. */
static void never_cut(void **state)
{
    (void)state;
    params p = {.file = file_of("row.jsonl", "{\"input\": \"a b c d e f g h i j k l m n o p\", \"question\": \"q\", \"target\": \"t\"}"), .prompts = prompts_of("babilong_qa8")};
    sf_sample s;
    assert_error(generate("babilong_qa8", &p, 40, 0, &s), "row.jsonl:1: row 1: it takes ");
    const int least = atoi(strstr(sf_error(), "at least ") + 9);
    OK(generate("babilong_qa8", &p, least, 0, &s));
    assert_int_equal(s.tokens, least);
    sf_sample_free(&s);
    assert_error(generate("babilong_qa8", &p, least - 1, 0, &s), "is not to be cut");
}

/* Each question of a row is a sample of its own. */
static void every_turn(void **state)
{
    (void)state;
    params p = {.file = file_of("row.jsonl", "{\"context\": \"one \", \"multi_turns\": [{\"input\": \"a\", \"answer\": \"1\"}, {\"input\": \"b\", \"answer\": \"2\"}]}\n"
                                     "{\"context\": \"two \", \"multi_turns\": [{\"input\": \"c\", \"answer\": \"3\"}]}\n"), .prompts = prompts_of("scbench_kv")};
    static const char *const prompts[] = {"Find.\n\none a", "Find.\n\none b", "Find.\n\ntwo c"};
    bool seen[3] = {false};
    for (int i = 0; i < 3; i++) {
        sf_sample s;
        OK(generate("scbench_kv", &p, 512, i, &s));
        const int turn = atoi(s.gold[0]) - 1;
        assert_in_range(turn, 0, 2);
        assert_string_equal(s.prompt, prompts[turn]);
        assert_false(seen[turn]);
        seen[turn] = true;
        sf_sample_free(&s);
    }
    sf_sample s;
    assert_error(generate("scbench_kv", &p, 512, 3, &s), "has 3 samples, number 3 is one too many");

    /* Two turns: the row that has them is one sample, in the words of the mode that asks one after the other. */
    int samples = 0;
    sf_request two = {.seed = 43, .max_tokens = 512, .tokens = counter_words, .turns = 2};
    const sf_task *task = sf_task_find("scbench_kv");
    assert_true(task->turns);
    OK(task->supply(&p, &two, 10, &samples));
    assert_int_equal(samples, 1);
    s = (sf_sample){0};
    OK(task->generate(&p, &two, &s));
    assert_string_equal(s.prompt, "Find it.\n\none \n\na");
    assert_string_equal(s.gold[0], "1");
    assert_int_equal(s.laters, 1);
    assert_string_equal(s.later[0].prompt, "b");
    assert_string_equal(s.later[0].gold[0], "2");
    assert_string_equal(s.later[0].answer, "2");
    assert_memory_equal(s.prompt + s.context_begin, "one ", 4);
    sf_sample_free(&s);
    two.index = 1;
    assert_error(task->generate(&p, &two, &s), "has 1 samples of so many turns, number 1 is one too many");
    two.index = 0, two.turns = 3;
    assert_error(task->supply(&p, &two, 10, &samples), "row.jsonl has 3 questions; lower `turns`");
    params choices = p;
    assert_error(sf_task_find("scbench_many_shot")->generate(&choices, &two, &s), "expected");
}

/* Needles at all depths of all books, each with its arguments, on a line of its own; lengths met. */
static void needles(void **state)
{
    (void)state;
    struct {
        const char *file, *prompts, *haystack;
    } p = {"tests/suites/nolima/needle_set.json", "tests/suites/nolima/run_tests.py", NULL};
    char *book = calloc(1, 1 << 16), path[128];
    for (int i = 0; i < 1200; i++) sprintf(book + strlen(book), "Line %d of a book.%s", i, i % 3 ? " " : "\n");
    snprintf(path, sizeof path, "%s/books", folder);
    mkdir(path, 0700);
    p.haystack = path;
    file_of("books/one.txt", book);
    file_of("books/two.txt", book);
    const sf_task *task = sf_task_find("nolima");
    sf_request request = {.seed = 43, .max_tokens = 1500, .tokens = counter_words};
    int n, kinds[5] = {0}, deep = 0, shallow = 0;
    OK(task->supply(&p, &request, 10000, &n));
    assert_int_equal(n, 5 * 2 * 26);
    static const char *const question[] = {"Who has been to Brindle?", "Who has been to the north?", "Who has been to Lowmouth?", "Who has been to the south?",
                                           "What may he not be served?"},
                            *const needle[] = {"has lived beside the tall mill.", "has lived beside the tall mill.", "has lived beside the old quay.",
                                               "has lived beside the old quay.", "The ferryman eats no eel."};
    for (int i = 0; i < n; i++) {
        sf_sample s = {0};
        request.index = i;
        OK(task->generate(&p, &request, &s));
        assert_true(s.tokens <= 1500 && s.tokens >= 1470 && s.tokens == count_words(NULL, s.prompt, strlen(s.prompt), NULL));
        int kind = 0;
        while (kind < 5 && !strstr(s.prompt, question[kind])) kind++;
        assert_in_range(kind, 0, 4);
        kinds[kind]++;
        const char *at = strstr(s.prompt, needle[kind]), *end = at + strlen(needle[kind]);
        assert_true(at && *end == '\n' && !strstr(end, needle[kind]) && !strchr(s.prompt, '{'));
        if (kind < 4) {
            char said[80];
            snprintf(said, sizeof said, "Since last spring, %s %s", s.gold[0], needle[kind]);
            assert_true(s.gold_count == 1 && strstr(s.prompt, said) && strncmp(s.prompt, "Read this:\n\n", 12) == 0);
        } else {
            assert_true(s.gold_count == 2 && strcmp(s.gold[1], "pie") == 0 && strncmp(s.prompt, question[4], strlen(question[4])) == 0);
        }
        const double depth = (double)(at - s.prompt - s.context_begin) / (s.context_end - s.context_begin);
        shallow += depth < 0.1;
        deep += depth > 0.9;
        sf_score score;
        OK(sf_task_score(task, &p, &s, s.answer, &score));
        assert_true(score.strict == 1);
        sf_sample_free(&s);
    }
    for (int k = 0; k < 5; k++) assert_int_equal(kinds[k], 2 * 26);
    assert_true(shallow > n / 20 && shallow < n / 5 && deep > n / 20 && deep < n / 5);
    sf_sample s = {0};
    request.index = n;
    assert_error(task->generate(&p, &request, &s), "is one too many");
    request.index = 0, request.max_tokens = 40;
    assert_error(task->generate(&p, &request, &s), "too few: its prompt without a book takes");
    request.max_tokens = 100000;
    assert_error(task->generate(&p, &request, &s), "too many: a book fills");
    request.max_tokens = 1500;
    request.prompting.introduction = "x";
    assert_error(task->generate(&p, &request, &s), "leave out introduction");
    request.prompting.introduction = NULL;
    static const char *const wrong[][2] = {
        {"[", "expected JSON"}, {"[]", "expected a list of needles"}, {"[{\"needle\": 3}]", "needle 1: expected a text \"needle\""},
        {"[{\"needle\": \"n\"}]", "an object \"questions\""}, {"[{\"needle\": \"n\", \"questions\": {\"a\": \"q\"}}]", "an object \"tests\""},
        {"[{\"needle\": \"{CHAR}\", \"questions\": {\"a\": \"q\"}, \"tests\": {\"b\": {}}}]", "a list \"character_set\""},
        {"[{\"needle\": \"n\", \"questions\": {\"a\": \"q\"}, \"tests\": {\"b\": {}}}]", "a list \"input_args\""},
        {"[{\"needle\": \"n\", \"questions\": {\"a\": \"q\"}, \"tests\": {\"b\": {\"input_args\": [\"x\"]}}}]", "\"gold_answers\" where there is no {CHAR}"},
        {"[{\"needle\": \"n\", \"distractors\": {}}]", "sets with distractors are not read"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        p.file = file_of("needles.json", wrong[i][0]);
        assert_error(task->generate(&p, &request, &s), wrong[i][1]);
    }
    p.haystack = NULL;
    assert_error(task->generate(&p, &request, &s), "nolima: `haystack` is missing");
    free(book);
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
        params p = {.file = file_of("row.jsonl", rows), .prompts = file_of("prompts", "{\"qasper\": \"First words. {context} Last: {input}\"}")};
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
        table = argv[1], template_file = argv[2];
        const struct CMUnitTest given[] = {argc > 2 ? (struct CMUnitTest)cmocka_unit_test(official_examples) : (struct CMUnitTest)cmocka_unit_test(given_scores)};
        return cmocka_run_group_tests(given, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_scores), cmocka_unit_test(one_row),           cmocka_unit_test(bad_files),
        cmocka_unit_test(every_row_once),  cmocka_unit_test(cut_in_the_middle),
        cmocka_unit_test(never_cut),         cmocka_unit_test(every_turn),        cmocka_unit_test(needles),
        cmocka_unit_test(official_examples), cmocka_unit_test(context_cut),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
