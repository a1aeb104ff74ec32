/* The English words that tasks are made of: lower-case ASCII, 3 to 10 letters, base forms, the most common first.
 * Provenance: tasks/README.md. */
#ifndef SF_WORDS_H
#define SF_WORDS_H

int sf_word_count(void);
const char *sf_word(int i); /* NUL-terminated; 0 ≤ i < sf_word_count() */

#endif
