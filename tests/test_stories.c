/* Stories: the phrases, the chapters, and what the three tasks on them promise beyond what tests/test_tasks.c asks of
 * every task. Whether the prompts hold their answers, tests/oracle.py checks. */
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tasks/story.h"
#include "tests/counters.h"

extern const sf_task sf_story_retrieval, sf_story_multihop, sf_story_filtering;

/* ---- phrases ----------------------------------------------------------------------------------------------------- */

static char *copy(sf_span s)
{
    char *text = malloc(s.bytes + 1);
    assert_non_null(text);
    memcpy(text, s.at, s.bytes);
    text[s.bytes] = 0;
    return text;
}

static int occurrences(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

static const struct {
    sf_phrases kind;
    const char *name;
    int least;
    const char *slot, *may; /* each phrase has `slot` once, perhaps `may`, and no other; NULL: a name, no sentence */
} kinds[] = {
    {SF_ARRIVAL, "arrival", 12, "{place}", ""},
    {SF_REASON, "reason", 12, "", ""},
    {SF_EVENT, "event", 12, "{event}", ""},
    {SF_EVENTS, "events", 30, NULL, ""},
    {SF_EXTRA, "extra", 12, "", ""},
    {SF_MEETING, "meeting", 12, "{person}", ""},
    {SF_TALK, "talk", 25, "", "{first}"},
    {SF_PURCHASE, "purchase", 12, "{an item}", ""},
    {SF_SALE, "sale", 12, "{item}", ""},
    {SF_FAREWELL, "farewell", 12, "", "{first}"},
    {SF_CONCLUSION, "conclusion", 12, "", ""},
    {SF_PLACES, "places", 150, NULL, ""},
    {SF_PERSONS, "persons", 100, NULL, ""},
    {SF_ADJECTIVES, "adjectives", 20, NULL, ""},
    {SF_MATERIALS, "materials", 20, NULL, ""},
    {SF_NOUNS, "nouns", 20, NULL, ""},
};

static void phrases(void **state)
{
    (void)state;
    assert_int_equal(sizeof kinds / sizeof *kinds, SF_PHRASE_KINDS);
    for (int k = 0; k < SF_PHRASE_KINDS; k++) {
        int n = sf_phrase_count(kinds[k].kind);
        assert_true(n >= kinds[k].least);
        for (int i = 0; i < n; i++) {
            char *text = copy(sf_phrase(kinds[k].kind, i));
            for (int j = 0; j < i; j++) {
                char *other = copy(sf_phrase(kinds[k].kind, j));
                if (strcmp(text, other) == 0) fail_msg("%s: \"%s\" stands there twice", kinds[k].name, text);
                free(other);
            }
            int slots = occurrences(text, "{"), wanted = 0, last = text[strlen(text) - 1];
            if (kinds[k].slot && *kinds[k].slot) wanted += occurrences(text, kinds[k].slot);
            bool right = !kinds[k].slot || !*kinds[k].slot || wanted == 1;
            if (*kinds[k].may) wanted += occurrences(text, kinds[k].may);
            if (!right || slots != wanted) fail_msg("%s: \"%s\" has the wrong slots", kinds[k].name, text);
            if (kinds[k].slot && last != '.') fail_msg("%s: \"%s\" is no sentence", kinds[k].name, text);
            if (!kinds[k].slot && !isalpha(last)) fail_msg("%s: \"%s\" is no name", kinds[k].name, text);
            free(text);
        }
    }
    assert_true(sf_phrase_count(SF_ADJECTIVES) * sf_phrase_count(SF_MATERIALS) * sf_phrase_count(SF_NOUNS) >= 20000);
}

/* What is asked for must not stand in a sentence of another kind. */
static void nothing_else_answers(void **state)
{
    (void)state;
    static const char *const trade[] = {"bought", "buy",   "purchase", "paid",  "sold",
                                        "sell",   "stall", " shop",    "dealer"};
    static const sf_phrases names[] = {SF_PLACES, SF_PERSONS};
    for (int k = 0; k < SF_PHRASE_KINDS; k++)
        for (int i = 0; kinds[k].slot && i < sf_phrase_count(kinds[k].kind); i++) {
            char *text = copy(sf_phrase(kinds[k].kind, i));
            bool trades = kinds[k].kind == SF_PURCHASE || kinds[k].kind == SF_SALE;
            for (size_t t = 0; t < sizeof trade / sizeof *trade && !trades; t++)
                if (strstr(text, trade[t])) fail_msg("%s: \"%s\" tells of trade", kinds[k].name, text);
            for (int a = 0; a < 2; a++)
                for (int j = 0; j < sf_phrase_count(names[a]); j++) {
                    char *name = copy(sf_phrase(names[a], j));
                    if (strstr(text, name)) fail_msg("%s: \"%s\" names %s", kinds[k].name, text, name);
                    free(name);
                }
            free(text);
        }
}

/* A first name alone tells who is meant. */
static void first_names_differ(void **state)
{
    (void)state;
    for (int i = 0; i < sf_phrase_count(SF_PERSONS); i++)
        for (int j = 0; j < i; j++) {
            char *a = copy(sf_phrase(SF_PERSONS, i)), *b = copy(sf_phrase(SF_PERSONS, j));
            size_t first = strcspn(a, " ");
            assert_true(a[first] == ' ' && !strchr(a + first + 1, ' '));
            if (strncmp(a, b, first + 1) == 0) fail_msg("%s and %s share a first name", a, b);
            free(a);
            free(b);
        }
}

/* ---- chapters ---------------------------------------------------------------------------------------------------- */

static sf_story open_story(int talk, double sales)
{
    sf_story s;
    sf_random base = sf_random_stream("test", 43, 0);
    assert_int_equal(sf_story_open(&(sf_story_shape){talk, sales, 0}, &base, &s), SF_OK);
    return s;
}

static void longer_begins_like_shorter(void **state)
{
    (void)state;
    sf_story s = open_story(3, 0.5);
    sf_text a = {0}, b = {0};
    assert_int_equal(sf_story_write(&s, 40, NULL, 0, &a), SF_OK);
    assert_int_equal(sf_story_write(&s, 41, NULL, 0, &b), SF_OK);
    assert_true(b.size > a.size && strncmp(a.data, b.data, a.size) == 0);
    assert_memory_equal(b.data + a.size, "\n\nChapter 41\n", 13);
    sf_text_free(&a);
    sf_text_free(&b);
    sf_story_close(&s);
}

/* Half of the chapters sell something; shape and idle chapters are kept to. */
static void shape(void **state)
{
    (void)state;
    for (int sales = 0; sales <= 2; sales++) {
        sf_story s = open_story(sales, sales / 2.0);
        int idle[] = {1, 7, 8, 1000}, sold = 0, bought = 0;
        sf_text t = {0}, name = {0};
        assert_int_equal(sf_story_write(&s, 1000, idle, 4, &t), SF_OK);
        for (int i = 0; i < 1000; i++) {
            bool is_idle = i == 0 || i == 6 || i == 7 || i == 999;
            assert_int_equal(s.chapter[i].buys, !is_idle);
            sf_text_clear(&name);
            sf_story_item(s.chapter[i].item, &name);
            int times = occurrences(t.data, name.data);
            assert_true(is_idle ? times == 0 : times == 1 || times == 2);
            bought += times > 0;
            sold += times > 1;
        }
        assert_int_equal(bought, 996);
        if (sales == 0) assert_int_equal(sold, 0);
        if (sales == 1) assert_in_range(sold, 430, 570);
        if (sales == 2) assert_true(sold >= 995); /* all but the last one bought */
        assert_int_equal(occurrences(t.data, "\n\n"), 999);
        assert_int_equal(occurrences(t.data, "an a") + occurrences(t.data, "an e") > 0, 1);
        assert_int_equal(occurrences(t.data, "{"), 0);
        sf_text_free(&t);
        sf_text_free(&name);
        sf_story_close(&s);
    }
}

/* As many chapters as a story can have are drawn without trouble: pairs and items do not run out. */
static void most_chapters(void **state)
{
    (void)state;
    sf_story s = open_story(0, 0);
    sf_text t = {0};
    assert_int_equal(sf_story_write(&s, SF_STORY_MOST, NULL, 0, &t), SF_OK);
    assert_int_equal(occurrences(t.data, "Chapter "), SF_STORY_MOST);
    sf_text_free(&t);
    sf_story_close(&s);
}

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

struct retrieval_params {
    sf_story_shape shape;
    int queries;
    double depth;
};

static void chapters_at_128k(void **state)
{
    (void)state;
    sf_sample s = {0};
    sf_request request = {.seed = 1, .max_tokens = 131072, .tokens = counter_fours};
    struct retrieval_params p = {{3, 0.5, 0}, 16, -1};
    assert_int_equal(sf_story_retrieval.generate(&p, &request, &s), SF_OK);
    assert_in_range(occurrences(s.prompt, "\nChapter "), 500, 900);
    sf_sample_free(&s);
}

/* Every question is about another chapter; with the study's pools no more names occur than it has. */
static void distinct_chapters(void **state)
{
    (void)state;
    for (int pools = 0; pools < 2; pools++)
        for (int index = 0; index < 30; index++) {
            sf_sample s = {0};
            sf_request request = {
                .seed = 1, .index = index, .max_tokens = index % 2 ? 4096 : 32768, .tokens = counter_fours};
            struct retrieval_params p = {{1, 0.5, pools}, 16, index % 3 ? -1 : 0.5};
            assert_int_equal(sf_story_retrieval.generate(&p, &request, &s), SF_OK);
            bool asked[1000] = {false};
            const char *at = s.prompt + s.context_end;
            for (int i = 0; i < 16; i++) {
                at = strstr(at, " in chapter ") + strlen(" in chapter ");
                assert_false(asked[atoi(at)]);
                asked[atoi(at)] = true;
            }
            int places = 0;
            for (int i = 0; i < sf_phrase_count(SF_PLACES); i++) {
                char *name = copy(sf_phrase(SF_PLACES, i));
                places += strstr(s.prompt, name) != NULL;
                free(name);
            }
            if (index % 2 == 0) assert_in_range(places, pools ? 50 : 65, pools ? 64 : 178);
            sf_sample_free(&s);
        }
}

static void depth(void **state)
{
    (void)state;
    for (int d = 0; d <= 4; d++) {
        sf_request request = {.seed = 1, .index = d, .max_tokens = 32768, .tokens = counter_fours};
        struct retrieval_params retrieval = {{3, 0.5, 0}, 1, d / 4.0};
        struct {
            sf_story_shape shape;
            double depth;
        } multihop = {{3, 0.5, 0}, d / 4.0};
        for (int t = 0; t < 2; t++) {
            const sf_task *task = t ? &sf_story_multihop : &sf_story_retrieval;
            sf_sample s = {0};
            assert_int_equal(task->generate(t ? (void *)&multihop : &retrieval, &request, &s), SF_OK);
            const char *context = s.prompt + s.context_begin, *at = NULL;
            if (t) {
                at = strstr(context, s.gold[0]);
            } else {
                char heading[32];
                snprintf(heading, sizeof heading, "Chapter %d\n", atoi(strstr(s.prompt, "in chapter ") + 11));
                at = strstr(context, heading);
            }
            assert_non_null(at);
            double found = (double)(at - context) / (s.context_end - s.context_begin);
            if (fabs(found - d / 4.0) > 0.02) fail_msg("%s: depth %g, found %g", task->name, d / 4.0, found);
            sf_sample_free(&s);
        }
    }
}

/* The study's flaws, and that the strict score has none of them. */
static void unparsed_answers(void **state)
{
    (void)state;
    char *items[] = {"small bone vase"}, *numbers[] = {"6", "8", "9"};
    sf_sample multihop = {.gold_count = 1, .gold = items}, filtering = {.gold_count = 3, .gold = numbers};
    static const struct {
        bool filters;
        const char *text;
        double strict, reference;
    } rows[] = {
        {false, "<answer>\nThe small bone vase\n</answer>", 1, 1},
        {false, "<answer>tiny ivory box</answer>", 0, 0},
        {false, "It was the small bone vase.", 0, NAN},
        {true, "<answer>9, 8, 6</answer>", 1, 1},
        {true, "<answer>6, 8</answer>", 2.0 / 3, 2.0 / 3},
        {true, "I cannot tell.", 0, 0},
        {true, "", 0, NAN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const sf_task *task = rows[i].filters ? &sf_story_filtering : &sf_story_multihop;
        sf_score score;
        assert_int_equal(task->score(NULL, rows[i].filters ? &filtering : &multihop, rows[i].text, &score), SF_OK);
        assert_true(fabs(score.strict - rows[i].strict) < 1e-12);
        assert_true(isnan(rows[i].reference) ? isnan(score.reference)
                                             : fabs(score.reference - rows[i].reference) < 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phrases),
        cmocka_unit_test(nothing_else_answers),
        cmocka_unit_test(first_names_differ),
        cmocka_unit_test(longer_begins_like_shorter),
        cmocka_unit_test(shape),
        cmocka_unit_test(most_chapters),
        cmocka_unit_test(chapters_at_128k),
        cmocka_unit_test(distinct_chapters),
        cmocka_unit_test(depth),
        cmocka_unit_test(unparsed_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
