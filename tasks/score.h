/* How answers are scored, one function an answer format. Each has the signature of a task's `score` hook and fills it
 * directly: `.score = sf_score_item`. Error: no memory.
 *
 * Two scores side by side. `reference` is what the study's public code gives (PiotrNawrot/sparse-frontier, evaluate()
 * of each task), flaws included. `strict` reads an answer in the same way, with these differences:
 *   - the answer must stand between <answer> and </answer>; without both it is not parsed and scores 0. The reference
 *     falls back to the whole text where noted below, and leaves some samples out of the mean (NAN here);
 *   - the last complete pair of tags counts, being what a reader takes as final; the reference takes the first opening
 * tag and the first closing tag after it, also when they stand in the explanation;
 *   - a numbered question answered twice, differently, is wrong; the reference takes the first;
 *   - open questions are scored by the official SQuAD script; the reference differs as noted below;
 *   - multiple choice takes letters alone; the reference takes those that a sentence is written with.
 * So with one pair of tags in the text strict ≤ reference wherever the reference counts the sample, QA apart.
 *
 * tests/golden/tasks/scorer.py is both of them in Python, independently. */
#ifndef SF_SCORE_H
#define SF_SCORE_H

#include "tasks/task.h"
#include "tasks/text.h"

/* NIAH. gold[i] = "KEY: VALUE"; asked: lines "1. The answer for KEY is VALUE.". Share of exact pairs. Reference: whole
 * text if there are no tags. */
sf_status sf_score_pairs(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* VT. gold[i] = a name; asked: names separated by spaces, in any order. IoU. Reference: whole text if no tags. */
sf_status sf_score_names(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* CWE. gold[i] = a word; asked: a numbered list, in any order. IoU. Lines without a number do not count. */
sf_status sf_score_words(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* Story Retrieval. gold[i] = answer to question i + 1; asked: a numbered list. Share of exact answers, letter case and
 * a leading article aside. Reference: whole text if no tags. */
sf_status sf_score_numbered(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* Story Multi-hop. gold[0] = the item; asked: its name. Exact, letter case and a leading article aside. Reference: an
 * empty or missing answer is left out of the mean. */
sf_status sf_score_item(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* Story Filtering. gold[i] = a chapter number; asked: numbers separated by commas. IoU. Reference: an empty text is
 * left out of the mean. */
sf_status sf_score_chapters(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* Multiple choice. gold[0] = the letters, "B" or "AC". Exact, order aside. Strict: between the tags stand letters from A
 * to D in either case, white space and ASCII marks, nothing else, else it is not parsed. Reference: every A to D of what
 * stands there counts, whatever else does. */
sf_status sf_score_letters(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* Open questions. gold[i] = an accepted answer; the best counts. Strict: SQuAD token F1. Reference: F1 over sets of
 * tokens (repeats do not count), with and, or, about, to removed like articles, rounded to two decimals. */
sf_status sf_score_open(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* RULER: share of the gold strings that occur anywhere in the text, letter case aside; `part`: any one will do. There
 * are no tags, strict = reference, and every text that is not empty is parsed. */
sf_status sf_score_match_all(const void *params, const sf_sample *sample, const char *text, sf_score *out);
sf_status sf_score_match_part(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* LongBench's, of the best gold answer: token F1; ROUGE-L; the class (`aside`: all of them, a line each); the share of the
 * numbers written that are the right one, or that of the paragraph asked for; the likeness of the first line of code.
 * `_line`, and class: of the first line of the answer alone. strict = reference; blanks alone are not parsed and have 0. */
#define SF_SCORE_LONGBENCH(name)                                                                                       \
    sf_status sf_score_longbench_##name(const void *params, const sf_sample *sample, const char *text, sf_score *out)
SF_SCORE_LONGBENCH(f1);
SF_SCORE_LONGBENCH(f1_line);
SF_SCORE_LONGBENCH(rouge);
SF_SCORE_LONGBENCH(rouge_line);
SF_SCORE_LONGBENCH(class);
SF_SCORE_LONGBENCH(count);
SF_SCORE_LONGBENCH(retrieval);
SF_SCORE_LONGBENCH(code);

/* The number in the first "Paragraph N" of a gold answer; false: there is none. */
bool sf_longbench_paragraph(const char *gold, sf_span *number);

/* LongBench v2's: the letter behind "The correct answer is"; without one an answer is not parsed. */
sf_status sf_score_longbench_v2(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* InfiniteBench's, of each data set. gold[0]: the answer; of the multiple-choice ones, gold[1] is its letter; of math_calc, all
 * values, blanks between. strict = reference; blanks alone are not parsed and have 0. */
#define SF_SCORE_INFINITEBENCH(name)                                                                                   \
    sf_status sf_score_infinitebench_##name(const void *params, const sf_sample *sample, const char *text, sf_score *out)
SF_SCORE_INFINITEBENCH(passkey);
SF_SCORE_INFINITEBENCH(number_string);
SF_SCORE_INFINITEBENCH(kv_retrieval);
SF_SCORE_INFINITEBENCH(longbook_sum_eng);
SF_SCORE_INFINITEBENCH(longbook_choice_eng);
SF_SCORE_INFINITEBENCH(longbook_qa_eng);
SF_SCORE_INFINITEBENCH(longdialogue_qa_eng);
SF_SCORE_INFINITEBENCH(math_find);
SF_SCORE_INFINITEBENCH(math_calc);
SF_SCORE_INFINITEBENCH(code_run);
SF_SCORE_INFINITEBENCH(code_debug);

/* BABILong's, for a task that has these labels, '|' between them. `aside`: the question. */
sf_status sf_score_babilong(const char *labels, const sf_sample *sample, const char *text, sf_score *out);

/* MRCR's: difflib's ratio to the answer behind what both must begin with, which is `aside`. An answer that does not is not parsed. */
sf_status sf_score_mrcr(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* NoLiMa's: whether a gold text occurs. SCBench's: the same, letter case aside; the share of gold texts that do, to two decimals. */
sf_status sf_score_contains(const void *params, const sf_sample *sample, const char *text, sf_score *out);
sf_status sf_score_scbench_any(const void *params, const sf_sample *sample, const char *text, sf_score *out);
sf_status sf_score_scbench_all(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* HELMET's, of `aside` and the answer behind it: the share of gold texts that occur, letter case aside; whether one does after SQuAD's
 * normalisation. */
sf_status sf_score_helmet_recall(const void *params, const sf_sample *sample, const char *text, sf_score *out);
sf_status sf_score_helmet_substring(const void *params, const sf_sample *sample, const char *text, sf_score *out);

/* ROUGE-L as the Python package `rouge` has it (its F). −1: no memory. */
double sf_rouge_l(sf_span prediction, sf_span gold);

/* ROUGE-Lsum of summaries whose sentences are lines, as the package rouge_score and Hugging Face's `evaluate` have it without
 * stemming (its F). −1: no memory. */
double sf_rouge_lsum(sf_span prediction, sf_span gold);

/* SQuAD's normalisation (lower case, no ASCII punctuation, no articles, single spaces), malloc'ed, and its two metrics
 * for one accepted answer. An empty side counts as right if both are (SQuAD 2.0). No memory: NULL, −1. */
char *sf_squad_normalise(const char *text);
double sf_squad_f1(const char *prediction, const char *gold);
double sf_squad_exact(const char *prediction, const char *gold);

#endif
