/* Scores of hand-made answers and of random ones, these against another implementation (tests/golden/tasks/scorer.py);
 * SQuAD's metrics against the official algorithm (squad_pairs.py beside it). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tasks/find.h"
#include "tasks/score.h"
#include "tasks/unicode.h"

#define LEFT_OUT NAN /* the reference leaves the sample out of its mean */

typedef struct format {
    const char *name;
    sf_status (*score)(const void *, const sf_sample *, const char *, sf_score *);
    const char *gold[4];
} format;

static const format PAIRS = {"pairs", sf_score_pairs, {"aa11-bb22: cc33-dd44", "ee55-ff66: gg77-hh88"}};
static const format NAMES = {"names", sf_score_names, {"ABCDE", "FGHIJ", "KLMNO"}};
static const format WORDS = {"words", sf_score_words, {"apple", "river", "stone"}};
static const format NUMBERED = {"numbered", sf_score_numbered, {"Harbour Market", "Ada Brenner", "silver oak lantern"}};
static const format ITEM = {"item", sf_score_item, {"silver oak lantern"}};
static const format CHAPTERS = {"chapters", sf_score_chapters, {"3", "17", "42"}};
static const format LETTER = {"letters", sf_score_letters, {"B"}};
static const format LETTERS = {"letters", sf_score_letters, {"AC"}};
static const format OPEN = {"open", sf_score_open, {"the Treaty of Lisbon", "Lisbon Treaty"}};
static const format REPEAT = {"open", sf_score_open, {"the day and the night"}};
static const format ALL = {"match_all", sf_score_match_all, {"1234567", "7654321"}};
static const format PART = {"match_part", sf_score_match_part, {"Paris", "the city of Paris"}};

/* In the order of FORMATS in tests/golden/tasks/scorer.py. */
static const format *const formats[] = {&PAIRS, &NAMES, &WORDS, &NUMBERED, &ITEM, &CHAPTERS, &LETTER, &OPEN, &ALL, &PART};
enum { FORMATS = sizeof formats / sizeof *formats };

#define T(body) "<answer>\n" body "\n</answer>"
#define P1      "1. The answer for aa11-bb22 is cc33-dd44."
#define P2      "2. The answer for ee55-ff66 is gg77-hh88."

static const struct row {
    const format *format;
    const char *text;
    double strict, reference;
    bool parsed;
} rows[] = {
    /* NIAH */
    {&PAIRS, T(P1 "\n" P2), 1, 1, true},
    {&PAIRS, "<explanation>Found both.</explanation>\n" T(P1 "\n" P2), 1, 1, true},
    {&PAIRS, T(P1 "\n" P2) "\nLet me know if you need more.", 1, 1, true},
    {&PAIRS, P1 "\n" P2, 0, 1, false},
    {&PAIRS, T(P1), .5, .5, true},
    {&PAIRS, T(P2), .5, .5, true},
    {&PAIRS, T("1. The answer for ee55-ff66 is gg77-hh88.\n2. The answer for aa11-bb22 is cc33-dd44."), 0, 0, true},
    {&PAIRS, T(P1 " " P2), 1, 1, true},
    {&PAIRS, T("1. The answer for aa11-bb22 is: cc33-dd44.\n2. The answer for ee55-ff66 is: gg77-hh88."), 1, 1, true},
    {&PAIRS, T("1.The answer for aa11-bb22 is cc33-dd44\n2.The answer for ee55-ff66 is gg77-hh88"), 1, 1, true},
    {&PAIRS, "<ANSWER>" P1 "\n" P2 "</Answer>", 1, 1, true},
    {&PAIRS, T("1. THE ANSWER FOR aa11-bb22 IS CC33-DD44.\n2. the answer for ee55-ff66 is gg77-hh88."), 1, 1, true},
    {&PAIRS, T("1. The answer for AA11-BB22 is cc33-dd44.\n" P2), .5, .5, true},
    {&PAIRS, T("1. The answer for aa11-bb22 is cc33-dd45.\n" P2), .5, .5, true},
    {&PAIRS, T("1. The answer for aa11-bb22 is cc33-dd44 as stated.\n" P2), .5, .5, true},
    {&PAIRS, T("1) The answer for aa11-bb22 is cc33-dd44.\n" P2), .5, .5, true},
    {&PAIRS, T("The answer for aa11-bb22 is cc33-dd44.\nThe answer for ee55-ff66 is gg77-hh88."), 0, 0, false},
    {&PAIRS, T("cc33-dd44, gg77-hh88"), 0, 0, false},
    {&PAIRS, "<answer>\n" P1 "\n2. The answer for ee55-ff66 is gg", 0, .5, false},
    {&PAIRS, "<answer>\n" P1 "\n" P2, 0, 1, false},
    {&PAIRS, T(P1 "\n" P2 "\n1. The answer for aa11-bb22 is zzzz-zzzz."), .5, 1, true},
    {&PAIRS, T(P1 "\n" P2 "\n" P1), 1, 1, true},
    {&PAIRS, T("1. The answer for aa11-bb22 is wrong.\n" P1 "\n" P2), .5, .5, true},
    {&PAIRS, T(P1 "\n" P2 "\n3. The answer for zz is yy."), 1, 1, true},
    {&PAIRS, T("1. The answer for x is y.") " No, wait: " T(P1 "\n" P2), 1, 0, true},
    {&PAIRS, T(P1 "\n" P2) " Or else " T("1. The answer for x is y."), 0, 1, true},
    {&PAIRS, "I put it in <answer> tags. " T(P1 "\n" P2), 1, 1, true},
    {&PAIRS, "", 0, 0, false},
    {&PAIRS, T(""), 0, 0, false},
    {&PAIRS, T("1. The answer for aa11\u2011bb22 is cc33-dd44."), 0, 0, false}, /* no-break hyphen */
    {&PAIRS, T("01. The answer for aa11-bb22 is cc33-dd44."), .5, .5, true},
    {&PAIRS, T("99999999999999999999. The answer for aa11-bb22 is cc33-dd44.\n" P2), .5, .5, true},

    /* VT */
    {&NAMES, T("ABCDE FGHIJ KLMNO"), 1, 1, true},
    {&NAMES, T("KLMNO ABCDE FGHIJ"), 1, 1, true},
    {&NAMES, T("ABCDE\nFGHIJ\nKLMNO"), 1, 1, true},
    {&NAMES, T("VAR ABCDE VAR FGHIJ VAR KLMNO"), 1, 1, true},
    {&NAMES, T("abcde fghij klmno"), 1, 1, true},
    {&NAMES, T("ABCDE FGHIJ"), 2 / 3., 2 / 3., true},
    {&NAMES, T("ABCDE FGHIJ KLMNO PQRST"), .75, .75, true},
    {&NAMES, T("ABCDE, FGHIJ, KLMNO"), .2, .2, true},
    {&NAMES, T("ABCDE ABCDE FGHIJ KLMNO KLMNO"), 1, 1, true},
    {&NAMES, T("The variables are ABCDE FGHIJ KLMNO"), .5, .5, true},
    {&NAMES, "ABCDE FGHIJ KLMNO", 0, 1, false},
    {&NAMES, "The names: ABCDE FGHIJ KLMNO", 0, .6, false},
    {&NAMES, "<answer>ABCDE FGHIJ KLMNO", 0, .5, false},
    {&NAMES, T("PQRST UVWXY"), 0, 0, true},
    {&NAMES, T("None"), 0, 0, true},
    {&NAMES, T(""), 0, 0, false},
    {&NAMES, T("  \t\n "), 0, 0, false},
    {&NAMES, "", 0, 0, false},
    {&NAMES, T("XXXXX") T("ABCDE FGHIJ KLMNO"), 1, 0, true},
    {&NAMES, T("ABCDE FGHIJ KLMNO") "</answer>", 1, 1, true},
    {&NAMES, "</answer>" T("ABCDE FGHIJ KLMNO"), 1, 1, true},
    {&NAMES, "<answer><answer>ABCDE FGHIJ KLMNO</answer></answer>", 1, .5, true},
    {&NAMES, T("ABCDE\u00a0FGHIJ\u3000KLMNO"), 1, 1, true}, /* no-break and ideographic spaces */
    {&NAMES, T("ABCDÉ FGHIJ KLMNO"), .5, .5, true},

    /* CWE */
    {&WORDS, T("1. apple\n2. river\n3. stone"), 1, 1, true},
    {&WORDS, T("1. stone\n2. apple\n3. river"), 1, 1, true},
    {&WORDS, T("1. Apple\n2. RIVER\n3. stone "), 1, 1, true},
    {&WORDS, T("1) apple\n2- river\n3 stone"), 1, 1, true},
    {&WORDS, T("1.apple\r\n2.river\r\n3.stone"), 1, 1, true},
    {&WORDS, T("  1. apple\n\n  2. river\n\n  3. stone"), 1, 1, true},
    {&WORDS, T("1. apple\n2. river"), 2 / 3., 2 / 3., true},
    {&WORDS, T("1. apple\n2. river\n3. stone\n4. cloud"), .75, .75, true},
    {&WORDS, T("1. apple\n2. apple\n3. apple"), 1 / 3., 1 / 3., true},
    {&WORDS, T("1. apple (30)\n2. river\n3. stone"), .5, .5, true},
    {&WORDS, T("apple\nriver\nstone"), 0, 0, false},
    {&WORDS, T("apple, river, stone"), 0, 0, false},
    {&WORDS, T("1. apple 2. river 3. stone"), 0, 0, true},
    {&WORDS, T("- apple\n- river\n- stone"), 0, 0, false},
    {&WORDS, "1. apple\n2. river\n3. stone", 0, 0, false},
    {&WORDS, "<answer>\n1. apple\n2. river\n3. st", 0, 0, false},
    {&WORDS, T(""), 0, 0, false},
    {&WORDS, "", 0, 0, false},
    {&WORDS, T("1.\n2.\n3."), 0, 0, true}, /* backtracking leaves the mark as a word */
    {&WORDS, T("12\n7"), 0, 0, true},      /* "2" is a word, after the number 1; 7 has nothing after it */
    {&WORDS, T("1. apple.\n2. river\n3. stone"), .5, .5, true},
    {&WORDS, "Tags are written <answer></answer>. " T("1. apple\n2. river\n3. stone"), 1, 0, true},
    {&WORDS, T("1. äpple\n2. river\n3. stone"), .5, .5, true},

    /* Story Retrieval */
    {&NUMBERED, T("1. Harbour Market\n2. Ada Brenner\n3. silver oak lantern"), 1, 1, true},
    {&NUMBERED, T("1. the Harbour Market\n2. Ada Brenner\n3. a silver oak lantern"), 1, 1, true},
    {&NUMBERED, T("1: harbour market\n2) ADA BRENNER\n3. Silver  Oak   Lantern"), 1, 1, true},
    {&NUMBERED, T("3. silver oak lantern\n2. Ada Brenner\n1. Harbour Market"), 1, 1, true},
    {&NUMBERED, T("1. Ada Brenner\n2. Harbour Market\n3. silver oak lantern"), 1 / 3., 1 / 3., true},
    {&NUMBERED, T("1. Harbour Market\n2. Ada Brenner"), 2 / 3., 2 / 3., true},
    {&NUMBERED, T("1. Harbour Market.\n2. Ada Brenner\n3. silver oak lantern"), 2 / 3., 2 / 3., true},
    {&NUMBERED, T("1. Harbour Market (chapter 3)\n2. Ada Brenner\n3. silver oak lantern"), 2 / 3., 2 / 3., true},
    {&NUMBERED, T("Harbour Market\nAda Brenner\nsilver oak lantern"), 0, 0, false},
    {&NUMBERED, T("1 Harbour Market\n2 Ada Brenner\n3 silver oak lantern"), 0, 0, false},
    {&NUMBERED, T("1. Harbour Market 2. Ada Brenner 3. silver oak lantern"), 0, 0, true},
    {&NUMBERED, "1. Harbour Market\n2. Ada Brenner\n3. silver oak lantern", 0, 1, false},
    {&NUMBERED, "<answer>\n1. Harbour Market\n2. Ada Brenner\n3. silver", 0, 2 / 3., false},
    {&NUMBERED, T("1. Harbour Market\n1. Old Mill\n2. Ada Brenner\n3. silver oak lantern"), 2 / 3., 1, true},
    {&NUMBERED, T("1. Harbour Market\n1. Harbour Market\n2. Ada Brenner\n3. silver oak lantern"), 1, 1, true},
    {&NUMBERED, T("1. Old Mill\n1. Harbour Market\n2. Ada Brenner\n3. silver oak lantern"), 2 / 3., 2 / 3., true},
    {&NUMBERED, "1. Look at the chapters.\n" T("1. Harbour Market\n2. Ada Brenner\n3. silver oak lantern"), 1, 1, true},
    {&NUMBERED, T("0. Harbour Market\n2. Ada Brenner\n4. silver oak lantern"), 1 / 3., 1 / 3., true},
    {&NUMBERED, T("1. an the Harbour Market"), 0, 0, true}, /* one article goes, not two */
    {&NUMBERED, T("1.\n2.\n3."), 0, 0, false},
    {&NUMBERED, T(""), 0, 0, false},
    {&NUMBERED, "", 0, 0, false},
    {&NUMBERED, T("1. x") "\n" T("1. Harbour Market\n2. Ada Brenner\n3. silver oak lantern"), 1, 0, true},
    {&NUMBERED, T("1. Harbour\u00a0Market\n2. Ada Brenner\n3. silver oak lantern"), 1, 1, true}, /* no-break space */

    /* Story Multi-hop */
    {&ITEM, T("silver oak lantern"), 1, 1, true},
    {&ITEM, T("The Silver Oak Lantern"), 1, 1, true},
    {&ITEM, "<answer>a  silver\noak lantern</answer>", 1, 1, true},
    {&ITEM, T("an silver oak lantern"), 1, 1, true},
    {&ITEM, T("silver oak lantern."), 0, 0, true},
    {&ITEM, T("oak lantern"), 0, 0, true},
    {&ITEM, T("silver oak lanterns"), 0, 0, true},
    {&ITEM, T("It was the silver oak lantern"), 0, 0, true},
    {&ITEM, "silver oak lantern", 0, LEFT_OUT, false},
    {&ITEM, "<answer>silver oak lantern", 0, LEFT_OUT, false},
    {&ITEM, "silver oak lantern</answer>", 0, LEFT_OUT, false},
    {&ITEM, T(""), 0, LEFT_OUT, false},
    {&ITEM, "<answer></answer>", 0, LEFT_OUT, false},
    {&ITEM, "", 0, LEFT_OUT, false},
    {&ITEM, T("the"), 0, 0, true}, /* an article needs a word after it to be one */
    {&ITEM, T("iron box") T("silver oak lantern"), 1, 0, true},
    {&ITEM, T("silver oak lantern") T("iron box"), 0, 1, true},
    {&ITEM, "<answer></answer>" T("silver oak lantern"), 1, LEFT_OUT, true},
    {&ITEM, T("silver oak lantern") "<answer>iron b", 1, 1, true},
    {&ITEM, T("ſilver oak lantern"), 0, 0, true},

    /* Story Filtering */
    {&CHAPTERS, T("3, 17, 42"), 1, 1, true},
    {&CHAPTERS, T("42,3,17"), 1, 1, true},
    {&CHAPTERS, T("3 17 42"), 1, 1, true},
    {&CHAPTERS, T("3\n17\n42"), 1, 1, true},
    {&CHAPTERS, T("Chapter 3, Chapter 17, chapter 42"), 1, 1, true},
    {&CHAPTERS, T("Chapter 3, 17, 42"), 1 / 3., 1 / 3., true}, /* one "Chapter" and the other numbers are not seen */
    {&CHAPTERS, T("Chapters 3, 17, 42"), 1, 1, true},
    {&CHAPTERS, T("3, 17"), 2 / 3., 2 / 3., true},
    {&CHAPTERS, T("3, 17, 42, 50"), .75, .75, true},
    {&CHAPTERS, T("3, 3, 17, 42"), 1, 1, true},
    {&CHAPTERS, T("03, 017, 42"), 1, 1, true},
    {&CHAPTERS, T("3, 17 and 42."), 1, 1, true},
    {&CHAPTERS, T("3-17-42"), 0, 0, true}, /* 31742 */
    {&CHAPTERS, T("3.0, 17, 42"), .5, .5, true},
    {&CHAPTERS, T("[3, 17, 42]"), 1, 1, true},
    {&CHAPTERS, T("none"), 0, 0, false},
    {&CHAPTERS, T(""), 0, 0, false},
    {&CHAPTERS, "3, 17, 42", 0, 0, false},
    {&CHAPTERS, "<answer>3, 17, 42", 0, 0, false},
    {&CHAPTERS, "", 0, LEFT_OUT, false},
    {&CHAPTERS, " \n\t", 0, LEFT_OUT, false},
    {&CHAPTERS, T("1") T("3, 17, 42"), 1, 0, true},
    {&CHAPTERS, T("3, 17, 42") T("1"), 0, 1, true},
    {&CHAPTERS, T("There are 3 chapters: 17, 42"), 1, 1, true},
    {&CHAPTERS, T("123456789012345678901234567890, 3, 17, 42"), .75, .75, true},

    /* multiple choice */
    {&LETTER, T("B"), 1, 1, true},
    {&LETTER, T("b"), 1, 1, true},
    {&LETTER, T("(B)"), 1, 1, true},
    {&LETTER, T("B."), 1, 1, true},
    {&LETTER, T("A"), 0, 0, true},
    {&LETTER, T("BB"), 0, 0, true},
    {&LETTER, T("Question 7. B"), 0, 1, false},   /* prose: no choice, whatever letters it holds */
    {&LETTER, T("The answer is B"), 0, 0, false}, /* "answer" brings an A */
    {&LETTER, T("It must be so"), 0, 1, false},   /* "be" brings a B */
    {&LETTER, T("The light of noon"), 0, 0, false},
    {&LETTER, T("**B**"), 1, 1, true},
    {&LETTER, T("\u00a0[b];\n"), 1, 1, true},
    {&LETTER, T("B\u00b2"), 0, 1, false},
    {&LETTER, T("2"), 0, 0, false},
    {&LETTER, T("."), 0, 0, false},
    {&LETTER, T("E"), 0, 0, false},
    {&LETTER, "B", 0, 0, false},
    {&LETTER, "<answer>B", 0, 0, false},
    {&LETTER, "<Answer>B</Answer>", 1, 0, true}, /* these tags are case-sensitive in the reference */
    {&LETTER, T(""), 0, 0, false},
    {&LETTER, "", 0, 0, false},
    {&LETTER, T("A") T("B"), 1, 0, true},
    {&LETTERS, T("AC"), 1, 1, true},
    {&LETTERS, T("CA"), 1, 1, true},
    {&LETTERS, T("A, C"), 1, 1, true},
    {&LETTERS, T("A and C"), 0, 0, false}, /* "and" brings an A and a D */
    {&LETTERS, T("A/C"), 1, 1, true},
    {&LETTERS, T("C & A."), 1, 1, true},
    {&LETTERS, T("\u1e9aC"), 0, 1, false}, /* the A of a letter with a ring */
    {&LETTERS, T("A"), 0, 0, true},
    {&LETTERS, T("ABC"), 0, 0, true},

    /* open questions */
    {&OPEN, T("Treaty of Lisbon"), 1, 1, true},
    {&OPEN, T("the treaty of lisbon!"), 1, 1, true},
    {&OPEN, T("Lisbon Treaty"), 1, 1, true},
    {&OPEN, T("Lisbon"), 2 / 3., .67, true},
    {&OPEN, T("Treaty"), 2 / 3., .67, true},
    {&OPEN, T("It was the Treaty of Lisbon"), .75, .75, true},
    {&OPEN, T("Maastricht"), 0, 0, true},
    {&OPEN, "Treaty of Lisbon", 0, 0, false},
    {&OPEN, "<answer>Treaty of Lisbon", 0, 0, false},
    {&OPEN, "<ANSWER>Treaty of Lisbon</ANSWER>", 1, 0, true},
    {&OPEN, T(""), 0, 0, false},
    {&OPEN, "", 0, 0, false},
    {&OPEN, T("Maastricht") T("Treaty of Lisbon"), 1, 0, true},
    {&OPEN, T("Lisbon Lisbon Treaty"), .8, 1, true},     /* sets do not see repeats */
    {&OPEN, T("Treaty of “Lisbon”"), 2 / 3., .67, true}, /* only ASCII marks are punctuation */
    {&REPEAT, T("day night"), .8, 1, true},              /* "and" is an article to the reference */
    {&REPEAT, T("night, day, and night"), 6 / 7., 1, true},

    /* RULER */
    {&ALL, "1234567, 7654321", 1, 1, true},
    {&ALL, "The numbers are 7654321 and 1234567.", 1, 1, true},
    {&ALL, "1234567", .5, .5, true},
    {&ALL, "12345678 7654321", 1, 1, true}, /* a substring will do */
    {&ALL, "1,234,567", 0, 0, true},
    {&ALL, T("1234567 7654321"), 1, 1, true},
    {&ALL, "123456", 0, 0, true},
    {&ALL, "", 0, 0, false},
    {&ALL, " \n", 0, 0, false},
    {&PART, "paris", 1, 1, true},
    {&PART, "It is PARIS, of course", 1, 1, true},
    {&PART, "London", 0, 0, true},
    {&PART, "Comparison", 1, 1, true},
    {&PART, "", 0, 0, false},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void hand_made_answers(void **state)
{
    (void)state;
    assert_true(ROWS >= 150);
    int wrong = 0;
    for (int i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        char *gold[4];
        sf_sample sample = {.gold = gold};
        for (; sample.gold_count < 4 && row->format->gold[sample.gold_count]; sample.gold_count++)
            gold[sample.gold_count] = (char *)row->format->gold[sample.gold_count];
        sf_score got;
        assert_int_equal(row->format->score(NULL, &sample, row->text, &got), SF_OK);
        bool strict = fabs(got.strict - row->strict) < 1e-9;
        bool reference = isnan(row->reference) ? isnan(got.reference) : fabs(got.reference - row->reference) < 1e-9;
        if (strict && reference && got.parsed == row->parsed) continue;
        wrong++;
        print_error("%s, row %d: expected %g %g %d, found %g %g %d for\n%s\n", row->format->name, i, row->strict,
                    row->reference, row->parsed, got.strict, got.reference, got.parsed, row->text);
    }
    assert_int_equal(wrong, 0);
}

/* Ten thousand random answers: both scores as tests/golden/tasks/scorer.py, another implementation, has them. */
static void scored_in_python(void **state)
{
    (void)state;
    if (system("python3 -c '' 2>/dev/null") != 0) {
        print_message("skipped: no python3 to score with\n");
        skip();
    }
    FILE *answers = popen("python3 tests/golden/tasks/scorer.py 10000 43", "r");
    assert_non_null(answers);
    char line[8192];
    int n = 0, wrong = 0;
    for (; fgets(line, sizeof line, answers); n++) {
        json_error_t error;
        json_t *row = json_loads(line, 0, &error), *gold, *reference;
        const char *name, *text;
        double strict;
        int parsed;
        if (!row || json_unpack(row, "{s:s, s:o, s:s, s:f, s:o, s:b}", "format", &name, "gold", &gold, "text", &text,
                                "strict", &strict, "reference", &reference, "parsed", &parsed))
            fail_msg("row %d: %s", n, row ? "other members than expected" : error.text);
        char *golds[4];
        sf_sample sample = {.gold = golds};
        for (; sample.gold_count < (int)json_array_size(gold); sample.gold_count++)
            golds[sample.gold_count] = (char *)json_string_value(json_array_get(gold, (size_t)sample.gold_count));
        sf_score got;
        assert_string_equal(formats[n % FORMATS]->name, name);
        assert_int_equal(formats[n % FORMATS]->score(NULL, &sample, text, &got), SF_OK);
        bool same =
            json_is_null(reference) ? isnan(got.reference) : fabs(got.reference - json_number_value(reference)) < 1e-12;
        if (!same || fabs(got.strict - strict) > 1e-12 || got.parsed != (bool)parsed) {
            print_error("row %d: found %g %g %d for %s", n, got.strict, got.reference, got.parsed, line);
            wrong++;
        }
        json_decref(row);
    }
    assert_int_equal(pclose(answers), 0);
    assert_int_equal(n, 10000);
    assert_int_equal(wrong, 0);
}

/* Texts that no model should write, and may: nothing crashes, every score lies in 0 … 1. */
static void any_bytes(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "<answer>", "</answer>", "1. ",      "The answer for aa11-bb22 is", "\n",     " ",    "\xff",
        "\xc3",     "\xe2\x80",  "chapter ", "99999999999999999999",        "\u00a0", "VAR ", ".",
        "ABCDE",    "İ"};
    unsigned random = 1;
    for (int i = 0; i < 4000; i++) {
        char text[400] = "";
        for (int k = 0; k < 12; k++) {
            random = random * 1664525 + 1013904223;
            strcat(text, pieces[random >> 28]);
        }
        const format *f = formats[i % FORMATS];
        char *gold[4];
        sf_sample sample = {.gold = gold};
        for (; sample.gold_count < 4 && f->gold[sample.gold_count]; sample.gold_count++)
            gold[sample.gold_count] = (char *)f->gold[sample.gold_count];
        sf_score got;
        assert_int_equal(f->score(NULL, &sample, text, &got), SF_OK);
        assert_true(got.strict >= 0 && got.strict <= 1);
        assert_true(isnan(got.reference) || (got.reference >= 0 && got.reference <= 1));
        assert_true(got.parsed || got.strict == 0);
    }
}

static sf_score given;

static sf_status give(const void *params, const sf_sample *sample, const char *text, sf_score *out)
{
    (void)params, (void)sample, (void)text;
    *out = given;
    return SF_OK;
}

/* What a task gives that is no score is an error that names task and field. */
static void no_scores(void **state)
{
    (void)state;
    const sf_task task = {.name = "odd", .score = give};
    const struct {
        sf_score score;
        const char *words; /* NULL: it is one */
    } cases[] = {{{0, NAN, false}, NULL},
                {{1, 0, true}, NULL},
                {{NAN, 0, true}, "task 'odd', score: strict is nan"},
                {{INFINITY, 0, true}, "task 'odd', score: strict is inf"},
                {{1.0001, 0, true}, "task 'odd', score: strict is 1.0001"},
                {{-1, 0, true}, "task 'odd', score: strict is -1"},
                {{0, -INFINITY, true}, "task 'odd', score: reference is -inf"},
                {{0, 2, true}, "task 'odd', score: reference is 2"},
                {{0.5, 0.5, false}, "of an answer that is not parsed"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sf_score got;
        sf_sample sample = {0};
        given = cases[i].score;
        sf_status status = sf_task_score(&task, NULL, &sample, "", &got);
        assert_int_equal(status, cases[i].words ? SF_INTERNAL : SF_OK);
        if (cases[i].words && !strstr(sf_error(), cases[i].words)) fail_msg("%s", sf_error());
    }
}

/* A gold text of blanks, which a data set may have, is no part of an answer of blanks. */
static void blanks(void **state)
{
    (void)state;
    char *gold[] = {(char *)" ", (char *)"a"};
    sf_sample sample = {.gold_count = 2, .gold = gold};
    sf_score score;
    assert_int_equal(sf_score_match_part(NULL, &sample, " ", &score), SF_OK);
    assert_true(score.strict == 0 && score.reference == 0 && !score.parsed);
    assert_int_equal(sf_score_match_all(NULL, &sample, " \n", &score), SF_OK);
    assert_true(score.strict == 0 && score.reference == 0 && !score.parsed);
    assert_int_equal(sf_score_match_part(NULL, &sample, "an answer", &score), SF_OK);
    assert_true(score.strict == 1 && score.parsed);
}

/* str.isspace() of Python 3.11, of all there are. */
static void white_space(void **state)
{
    (void)state;
    static const int white[] = {0x9,    0xa,    0xb,    0xc,    0xd,    0x1c,   0x1d,   0x1e,   0x1f,   0x20,   0x85,   0xa0,  0x1680, 0x2000, 0x2001,
                                0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    size_t n = 0;
    for (int c = -1; c <= 0x10ffff; c++) {
        const bool is = n < sizeof white / sizeof *white && c == white[n];
        n += is;
        if (sf_is_space(c) != is) fail_msg("U+%04X is %staken for white space", c, is ? "not " : "");
    }
}

static void squad_golden(void **state)
{
    (void)state;
    json_error_t error;
    json_t *pairs = json_load_file("tests/golden/tasks/squad_pairs.json", 0, &error);
    if (!pairs) fail_msg("squad_pairs.json:%d: %s", error.line, error.text);
    assert_int_equal(json_array_size(pairs), 500);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const char *prediction, *gold, *normal;
        double f1, exact;
        assert_int_equal(
            json_unpack(json_array_get(pairs, i), "[s, s, s, F, F]", &prediction, &gold, &normal, &f1, &exact), 0);
        char *got = sf_squad_normalise(prediction);
        assert_string_equal(got, normal);
        free(got);
        if (fabs(sf_squad_f1(prediction, gold) - f1) > 1e-12 || sf_squad_exact(prediction, gold) != exact)
            fail_msg("pair %zu: expected F1 %g and EM %g, found %g and %g for\n%s\n%s", i, f1, exact,
                     sf_squad_f1(prediction, gold), sf_squad_exact(prediction, gold), prediction, gold);
    }
    json_decref(pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hand_made_answers),
        cmocka_unit_test(no_scores),
        cmocka_unit_test(blanks),
        cmocka_unit_test(white_space),
        cmocka_unit_test(scored_in_python),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(squad_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
