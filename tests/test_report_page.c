/* The report's page: the data that its charts and tables are made from, groups of tasks, the leaderboard, samples. */
#include "tests/report_world.h"

#include <ctype.h>
#include <jansson.h>

/* ---- The page's own data ---- */

static json_t *data_of(const char *page)
{
    const char *begin = strstr(page, "id=data>"), *end = begin ? strstr(begin, "</script>") : NULL;
    if (!end) fail_msg("the page holds no data");
    json_error_t error;
    begin += strlen("id=data>");
    json_t *data = json_loadb(begin, (size_t)(end - begin), 0, &error);
    if (!data) fail_msg("the page's data: %s at %d", error.text, error.position);
    return data;
}

/* Reports with a stand-in for D3 that would end its script element; returns the page, and what it holds as data. */
static char *page_with_data(json_t **data)
{
    char d3[128];
    snprintf(d3, sizeof d3, "%s/d3.js", folder);
    FILE *f = fopen(d3, "w");
    fputs("this.d3 = '</script><i>';\n", f);
    fclose(f);
    setenv("FRONTIER_D3", d3, 1);
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    report_undrawn(&o);
    unsetenv("FRONTIER_D3");
    char *page = slurp("report/index.html");
    *data = data_of(page);
    return page;
}

/* A value of a row of a table {"columns": […], "rows": […]}. */
static const json_t *value_at(const json_t *columns, const json_t *row, const char *name)
{
    for (size_t i = 0; i < json_array_size(columns); i++)
        if (!strcmp(json_string_value(json_array_get(columns, i)), name)) return json_array_get(row, i);
    fail_msg("no column %s", name);
    return NULL;
}

/* Field `column` of line `row` (from 0, the head not counted) of a CSV text without quotes. */
static void csv_at(const char *csv, int row, const char *column, char out[128])
{
    int field = 0;
    const char *at = csv, *end = strchr(csv, '\n');
    for (size_t n = strlen(column); strncmp(at, column, n) != 0 || (at[n] != ',' && at[n] != '\n'); field++) {
        at = strchr(at, ',');
        if (!at++ || at > end) fail_msg("no column %s", column);
    }
    for (at = csv; row-- >= 0;) at = strchr(at, '\n') + 1;
    while (field--) at = strchr(at, ',') + 1;
    snprintf(out, 128, "%.*s", (int)strcspn(at, ",\n"), at);
}

/* The page's number, in the CSV file's six digits. */
static void same_number(const json_t *columns, const json_t *row, const char *name, const char *csv, int line, const char *column)
{
    char text[128], rounded[32];
    const json_t *value = value_at(columns, row, name);
    csv_at(csv, line, column, text);
    snprintf(rounded, sizeof rounded, "%.6g", json_number_value(value));
    if (json_is_null(value) ? *text : atof(rounded) != atof(text))
        fail_msg("%s of line %d: %.9g in the page, %s in the CSV", name, line, json_number_value(value), text);
}

/* The line of a CSV text that begins so. */
static int row_of(const char *csv, const char *begin)
{
    const char *at = csv;
    for (int row = -1; at && *at; row++, at = strchr(at, '\n') + 1)
        if (!strncmp(at, begin, strlen(begin))) return row;
    fail_msg("no line begins with %s", begin);
    return 0;
}

static double csv_number(const char *csv, const char *begin, const char *column)
{
    char text[128];
    csv_at(csv, row_of(csv, begin), column, text);
    return atof(text);
}

/* A figure's bars are the intervals of the tables, of a point and of what it loses; and so they are there where all scores are
 * alike, and where there is one. */
static void test_bars(void **state)
{
    (void)state;
    static const struct {
        const char *figure, *row, *point;
        enum { SCORE, DROP, LOSS } kind;
    } rows[] = {
        {"frontier", "decode,4096,mini-8m,quest,", "mini-8m,4096,quest,", SCORE},
        {"frontier", "prefill,1024,mini-8m,dense,", "mini-8m,1024,dense,", SCORE},
        {"tasks", "niah,dense,", "mini-8m,niah,4096,dense,", SCORE},
        {"lengths_absolute", "quest,4096 tokens,", "mini-8m,4096,quest,", DROP},
        {"lengths", "quest,4096 tokens,", "mini-8m,4096,quest,", LOSS},
    };
    const int sizes[] = {1, 5, 12};
    for (int k = 0; k < 6; k++) {
        const bool alike = k >= 3;
        struct synthetic s = {.models = 1, .tasks = 2, .lengths = 2, .levels = 1, .samples = sizes[k % 3], .decode = true, .gain = 1};
        make_results(&s);
        for (int c = 0; c < results.cells; c++)
            for (int i = 0; i < s.samples; i++) {
                if (alike) results.record[c][i].strict = 0.75;
                if (results.cell[c].length == 1024 && !strcmp(results.cell[c].task, "niah")) results.cell[c].task_label = "niah_short";
            }
        sf_report_options o = {.folder = report_folder(), .figures = "frontier,tasks,lengths,lengths_absolute", .formats = "svg"};
        report_undrawn(&o);
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            char name[64];
            snprintf(name, sizeof name, "report/figures/%s.csv", rows[r].figure);
            char *figure = slurp(name), *table = slurp(strchr(rows[r].point, ',')[1] == 'n' ? "report/tables/tasks.csv" : "report/tables/scores.csv");
            const double low = csv_number(figure, rows[r].row, "low"), high = csv_number(figure, rows[r].row, "high");
            if (rows[r].kind == SCORE) {
                near(low, csv_number(table, rows[r].point, "low"), 2e-5, "lower end of a score");
                near(high, csv_number(table, rows[r].point, "high"), 2e-5, "upper end of a score");
            } else {
                const double dense = rows[r].kind == LOSS ? csv_number(table, "mini-8m,4096,dense,", "score") : 1;
                near(low, -csv_number(table, rows[r].point, "difference_high") / dense, 2e-5, "lower end of a loss");
                near(high, fmin(1, -csv_number(table, rows[r].point, "difference_low") / dense), 2e-5, "upper end of a loss");
            }
            const double least = 1 - pow(0.025, 1.0 / (2 * s.samples)); /* that so many alike leave open on one side */
            if (!(high - low >= 0.4 * least)) fail_msg("%s: %d samples, from %g to %g", rows[r].figure, s.samples, low, high);
            free(figure), free(table);
        }
    }
}

/* Every number of the page's charts is one of the tables'. */
static void test_page_data(void **state)
{
    (void)state;
    static const char *const both[] = {"samples", "score", "low", "high", "difference", "difference_low", "difference_high"};
    struct synthetic s = small;
    s.maps = s.joint = true;
    make_results(&s);
    results.records[find_cell("vt", "quest", 0.7)] = 0;
    json_t *data;
    char *page = page_with_data(&data), *scores = slurp("report/tables/scores.csv"), *tasks = slurp("report/tables/tasks.csv");
    const json_t *summaries = json_object_get(data, "summaries"), *columns = json_object_get(summaries, "columns");
    const json_t *all = json_object_get(json_array_get(json_object_get(summaries, "groups"), 0), "rows");
    assert_int_equal(json_array_size(all), lines(scores) - 1);
    for (int i = 0; i < lines(scores) - 1; i++)
        for (size_t k = 0; k < sizeof both / sizeof *both; k++)
            same_number(columns, json_array_get(all, (size_t)i), both[k], scores, i, both[k]);
    const json_t *cells = json_object_get(data, "cells"), *rows = json_object_get(cells, "rows");
    columns = json_object_get(cells, "columns");
    assert_int_equal(json_array_size(rows), lines(tasks) - 1);
    for (int i = 0; i < lines(tasks) - 1; i++) {
        const json_t *row = json_array_get(rows, (size_t)i);
        char key[128];
        csv_at(tasks, i, "cell", key);
        assert_string_equal(json_string_value(value_at(columns, row, "key")), key);
        for (size_t k = 0; k < sizeof both / sizeof *both; k++) same_number(columns, row, both[k], tasks, i, both[k]);
        same_number(columns, row, "p", tasks, i, "p_holm");
    }
    assert_non_null(strstr(page, "<\\/script><i>"));
    free(page), free(scores), free(tasks);
    json_decref(data);
}

/* Over a group of tasks: what a report of these tasks alone says. */
static void test_page_groups(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.tasks = 5;
    make_results(&s); /* niah, vt, cwe, story_retrieval, story_multihop: two of high dispersion */
    json_t *data;
    free(page_with_data(&data));
    const json_t *summaries = json_object_get(data, "summaries"), *columns = json_object_get(summaries, "columns");
    const json_t *hops = json_array_get(json_object_get(summaries, "groups"), 2);
    assert_string_equal(json_string_value(json_object_get(hops, "label")), "multi-hop (high dispersion)");
    for (int c = 0; c < results.cells; c++)
        if (!results.cell[c].dispersion) results.records[c] = 0;
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    report_undrawn(&o);
    char *scores = slurp("report/tables/scores.csv");
    static const char *const same[] = {"tasks", "samples", "score", "low", "high", "difference", "difference_low", "difference_high"};
    for (int i = 0; i < lines(scores) - 1; i++)
        for (size_t k = 0; k < sizeof same / sizeof *same; k++)
            same_number(columns, json_array_get(json_object_get(hops, "rows"), (size_t)i), same[k], scores, i, same[k]);
    free(scores);
    json_decref(data);
}

/* The leaderboard by its rule, from scores.csv: as far up as every tested sparsity loses at most so much. */
static void test_leaderboard(void **state)
{
    (void)state;
    struct synthetic s = small;
    s.samples = 40, s.levels = 5, s.gain = 0.6;
    make_results(&s);
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    report_undrawn(&o);
    char *scores = slurp("report/tables/scores.csv"), *board = slurp("report/tables/leaderboard.csv");
    int rows = 0, some = 0, sure = 0;
    for (int i = 0; i < lines(board) - 1; i++) {
        char tasks[128], model[128], tokens[128], arm[128], text[128];
        csv_at(board, i, "tasks", tasks), csv_at(board, i, "model", model);
        csv_at(board, i, "tokens", tokens), csv_at(board, i, "arm", arm);
        if (strcmp(tasks, "all tasks") != 0) continue;
        double best = NAN, safe = NAN, loss = NAN, dense = NAN, level = -1;
        bool holds = true, all = true;
        for (;;) { /* the levels of this arm, ascending */
            double next = INFINITY;
            int line = -1;
            for (int k = 0; k < lines(scores) - 1; k++) {
                char m[128], t[128], a[128], l[128];
                csv_at(scores, k, "model", m), csv_at(scores, k, "tokens", t), csv_at(scores, k, "arm", a), csv_at(scores, k, "requested", l);
                if (strcmp(m, model) != 0 || strcmp(t, tokens) != 0) continue;
                if (!strcmp(a, "dense")) csv_at(scores, k, "score", text), dense = atof(text);
                if (!strcmp(a, arm) && atof(l) > level && atof(l) < next) next = atof(l), line = k;
            }
            if (line < 0) break;
            level = next;
            csv_at(scores, line, "difference", text);
            double difference = atof(text);
            csv_at(scores, line, "difference_low", text);
            holds &= -difference <= 0.05 * dense;
            all &= -atof(text) <= 0.05 * dense;
            if (holds) best = level, loss = -difference / dense;
            if (all) safe = level;
        }
        csv_at(board, i, "sparsity", text);
        if (isnan(best) ? *text : fabs(atof(text) - best) > 1e-6) fail_msg("%s %s %s: %s, expected %g", model, tokens, arm, text, best);
        csv_at(board, i, "sure_up_to", text);
        if (isnan(safe) ? *text : fabs(atof(text) - safe) > 1e-6) fail_msg("%s %s %s: sure %s, expected %g", model, tokens, arm, text, safe);
        csv_at(board, i, "loss", text);
        if (!isnan(best)) near(atof(text), loss, 1e-4, "loss");
        rows++, some += !isnan(best), sure += !isnan(safe);
    }
    assert_int_equal(rows, 2 * 2 * 4);
    assert_true(some > 0 && some < rows && sure < some);
    char last[128]; /* a group of one task is there, too: aggregation */
    csv_at(board, lines(board) - 2, "tasks", last);
    assert_string_equal(last, "aggregation (high scope)");
    free(scores), free(board);
}

/* A method whose parameters were given stands where it was executed, below the sparsities that were asked for. */
static void test_leaderboard_explicit(void **state)
{
    (void)state;
    const struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 2, .samples = 100, .decode = true};
    make_results(&s);
    for (int c = 0; c < results.cells; c++) {
        sf_cell_info *x = &results.cell[c];
        const bool quest = !strcmp(x->label[SF_DECODE], "quest");
        for (int i = 0; i < 100; i++) results.record[c][i].strict = quest && x->sparsity[SF_DECODE] == 0.7 ? 0.25 : 1;
        if (quest && x->sparsity[SF_DECODE] == 0.5) x->sparsity[SF_DECODE] = NAN;
    }
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    report_undrawn(&o);
    char *board = slurp("report/tables/leaderboard.csv"), text[128];
    int seen = 0;
    for (int i = 0; i < lines(board) - 1; i++) {
        csv_at(board, i, "arm", text);
        if (strcmp(text, "quest") != 0) continue;
        csv_at(board, i, "sparsity", text);
        near(atof(text), 0.4975, 0.003, "the sparsity that was executed");
        seen++;
    }
    assert_int_equal(seen, 1);
    free(board);
}

/* What an open question would take: two methods a hundredth of their noise apart are called alike, with the number of samples
 * that it would need. */
static void test_alike(void **state)
{
    (void)state;
    const struct synthetic s = {.models = 1, .tasks = 1, .lengths = 1, .levels = 1, .samples = 20, .decode = true};
    make_results(&s);
    for (int c = 0; c < results.cells; c++)
        for (int i = 0; i < 20; i++) {
            const char *label = results.cell[c].label[SF_DECODE];
            const double wave = i % 2 ? 0.2 : -0.2;
            results.record[c][i].strict = !strcmp(label, "dense") ? 1 : !strcmp(label, "quest") ? 0.504 + wave : 0.5 - wave;
        }
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    report_undrawn(&o);
    char *page = slurp("report/index.html"), *said = strstr(page, "The two are alike as far as this shows: to tell them apart would take about ");
    assert_non_null(said);
    const double samples = atof(strstr(said, "about ") + 6);
    assert_true(samples > 7200 && samples < 1e6);
    free(page);
}

/* ---- Samples ---- */

static sf_status made_up_prompt(void *user, const sf_cell_info *cell, const sf_record *record, char **prompt)
{
    (void)cell;
    if (record->sample == 1) return sf_fail(SF_BAD_INPUT, "not \"here\"");
    *prompt = strdup(user);
    return *prompt ? SF_OK : SF_NO_MEMORY;
}

/* A piece of the page: in it, or in a file beside it. */
static json_t *piece(const char *name, bool inside)
{
    char path[256], begin[256];
    snprintf(path, sizeof path, inside ? "report/index.html" : "report/samples/%s.js", name);
    snprintf(begin, sizeof begin, inside ? "id=\"%s\">" : "frontier_sample(\"%s\",", name);
    char *text = slurp(path), *at = strstr(text, begin), *end = at ? strstr(at, inside ? "</script>" : ");\n") : NULL;
    if (!end) fail_msg("no %s in %s", name, path);
    at += strlen(begin);
    json_error_t error;
    json_t *value = json_loadb(at, (size_t)(end - at), 0, &error);
    if (!value) fail_msg("%s: %s", name, error.text);
    free(text);
    return value;
}

/* Answers, maps, pictures and prompts come back, from the page and from files beside it. */
static void test_page_samples(void **state)
{
    (void)state;
    static char prompt[3 * 4000 + 1], name[64];
    for (int i = 0; i < 4000; i++) memcpy(prompt + 3 * i, i % 2 ? "\xe2\x82\xac" : "</s", 3); /* cuts fall within characters */
    for (int large = 0; large < 2; large++) {
        struct synthetic s = {.models = 1, .tasks = 2, .lengths = 1, .levels = 2, .samples = 3, .decode = true, .maps = true, .gain = 1};
        make_results(&s);
        char *long_answer = malloc(9 << 20);
        memset(long_answer, 'x', 9 << 20);
        strcpy(long_answer + (9 << 20) - 16, "</script>\n");
        const int cell = find_cell("niah", "quest", 0.7);
        if (large) results.record[cell][2].prediction = long_answer;
        results.record[cell][1].parsed = false, results.record[cell][0].truncated = true;
        results.record[cell][1].prediction = "\xff is no text";
        results.record[cell][1].picture[SF_DECODE] = results.record[cell][0].picture[SF_DECODE]; /* the first that has one is shown */
        results.record[cell][0].picture[SF_DECODE] = NULL;
        sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png", .prompt = made_up_prompt, .user = prompt, .prompts = 2};
        setenv("FRONTIER_D3", "tests/synthetic_results.h", 1); /* any text */
        report_undrawn(&o);
        unsetenv("FRONTIER_D3");
        snprintf(name, sizeof name, "cell-%s", results.cell[cell].key);
        json_t *own = piece(name, !large), *answers = json_object_get(own, "answers");
        assert_int_equal(json_array_size(answers), 3);
        assert_string_equal(json_string_value(json_array_get(answers, 1)), "\xef\xbf\xbd is no text");
        assert_string_equal(json_string_value(json_array_get(answers, 2)), results.record[cell][2].prediction);
        json_t *map = json_object_get(own, "decode_recall"), *row = json_array_get(map, 5);
        assert_int_equal(json_array_size(map), 6);
        near(json_number_value(json_array_get(row, 3)), results.mean[cell].recall[SF_DECODE][5 * 4 + 3], 0.0006, "recall of layer 5, head 3");
        const char *runs = json_string_value(json_object_get(json_object_get(own, "decode_picture"), "runs"));
        const sf_picture *picture = results.record[cell][1].picture[SF_DECODE];
        assert_int_equal(json_integer_value(json_object_get(json_object_get(own, "decode_picture"), "sample")), 1);
        int at = 0;
        while (*runs) { /* 0, 1 and NAN alone stand in this one */
            const char letter = *runs++;
            const int length = isdigit((unsigned char)*runs) ? (int)strtol(runs, (char **)&runs, 10) : 1;
            for (int end = at + length; at < end; at++) {
                float value = (&picture->at[0][0])[at];
                if (letter != (isnan(value) ? '.' : value > 0.5f ? 'z' : 'A')) fail_msg("picture at %d: %c for %g", at, letter, value);
            }
        }
        assert_int_equal(at, 128 * 128);
        json_decref(own);
        json_t *setting = piece("setting-0-0-0", !large), *prompts = json_object_get(setting, "prompt"), *first = json_array_get(prompts, 0);
        const char *head = json_string_value(json_array_get(first, 0)), *tail = json_string_value(json_array_get(first, 2));
        assert_int_equal(strncmp(prompt, head, strlen(head)), 0);
        assert_int_equal(strcmp(prompt + strlen(prompt) - strlen(tail), tail), 0);
        assert_int_equal((int)strlen(head) + (int)json_integer_value(json_array_get(first, 1)) + (int)strlen(tail), (int)strlen(prompt));
        assert_true(json_is_null(json_array_get(prompts, 1)) && json_is_null(json_array_get(prompts, 2)));
        json_decref(setting);
        free(long_answer);
    }
    char *page = slurp("report/index.html");
    assert_null(strstr(page, "id=\"cell-"));
    json_t *data = data_of(page), *list = json_object_get(data, "samples"), *rows = json_object_get(list, "rows");
    assert_true(json_is_false(json_object_get(list, "inside")));
    const json_t *columns = json_object_get(json_object_get(data, "cells"), "columns"), *cells = json_object_get(json_object_get(data, "cells"), "rows");
    const int c = find_cell("niah", "quest", 0.7);
    size_t at = 0;
    while (strcmp(json_string_value(value_at(columns, json_array_get(cells, at), "key")), results.cell[c].key) != 0) at++;
    const json_t *row = json_array_get(rows, at);
    assert_int_equal(json_integer_value(json_array_get(row, 0)), 3);
    for (int i = 0; i < 3; i++)
        near(json_number_value(json_array_get(json_array_get(row, 1), (size_t)i)), results.record[c][i].strict, 1e-5, "score in the list");
    const char *flags = json_string_value(json_array_get(row, 2)); /* 1: no answer, 2: cut off, 4: not dense's answer */
    assert_true(((flags[0] - '0') & 2) && flags[1] == '0' + 1 + 4 && flags[2] == '0' + 4);
    json_decref(data);
    free(page);
}

/* Labels and bytes that could end the script, or are no text at all, come back as they were. */
static void test_page_data_hostile(void **state)
{
    (void)state;
    static const char label[] = "</script><!--<script>&\"\\'\n\xe2\x80\xa8|\xff|\xed\xa0\x80|\xc0\xaf|\xf4\x90\x80\x80|\xe2\x82";
    static const char back[] = "</script><!--<script>&\"\\'\n\xe2\x80\xa8|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd"
                               "\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd";
    make_results(&small);
    for (int c = 0; c < results.cells; c++)
        if (!strcmp(results.cell[c].model, "mini-8m")) results.cell[c].model = label;
    json_t *data;
    char *page = page_with_data(&data);
    const json_t *model = json_array_get(json_object_get(data, "models"), 0);
    assert_string_equal(json_string_value(json_object_get(model, "label")), back);
    assert_null(strstr(page, "<!--"));
    free(page);
    json_decref(data);
    setenv("FRONTIER_D3", "/nowhere/d3.js", 1); /* without D3: no script, and what to install */
    sf_report_options o = {.folder = report_folder(), .figures = "tasks", .formats = "png"};
    report_undrawn(&o);
    unsetenv("FRONTIER_D3");
    page = slurp("report/index.html");
    assert_null(strstr(page, "<script"));
    assert_non_null(strstr(page, "apt-get install libjs-d3"));
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(test_bars),
        REPORT_TEST(test_page_data),
        REPORT_TEST(test_page_groups),
        REPORT_TEST(test_leaderboard),
        REPORT_TEST(test_leaderboard_explicit),
        REPORT_TEST(test_alike),
        REPORT_TEST(test_page_samples),
        REPORT_TEST(test_page_data_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
