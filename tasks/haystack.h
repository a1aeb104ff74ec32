/* Text that answers are hidden in: short neutral sentences, and running prose. */
#ifndef SF_HAYSTACK_H
#define SF_HAYSTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tasks/text.h"

/* Appends sentence i of an endless row: five that say nothing, over and over (an sf_content.pad). */
void sf_noise(void *unused, int i, sf_text *out);
enum { SF_NOISE_PERIOD = 5 };

/* One line of a haystack of noise: appends five sentences from sentence `from` on, or as many as there are before
 * sentence `to`, and returns where the next line begins. `from` is a multiple of five. */
int sf_noise_line(int from, int to, sf_text *out);

typedef struct sf_prose_word {
    uint32_t at; /* byte in the text */
    uint16_t bytes;
    bool ends; /* the last of its sentence */
} sf_prose_word;

/* Prose as a row of words. */
typedef struct sf_prose {
    const char *text;
    const sf_prose_word *word; /* [words] */
    int words;
    void *owned[2]; /* what sf_prose_close() frees */
} sf_prose;

/* Reads a UTF-8 file of the user's, or, path NULL, the prose that comes with Frontier (tasks/README.md says what).
 * Error: not readable, not UTF-8, or less than a hundred words. */
sf_status sf_prose_open(const char *path, sf_prose *out);
/* The same of a text in memory, malloc'ed, which sf_prose_close() frees; `where` it is from, for messages. */
sf_status sf_prose_of(char *text, const char *where, sf_prose *out);
void sf_prose_close(sf_prose *p);

/* The whole text of the prose that comes with Frontier. */
sf_span sf_prose_shipped(void);

/* Appends words from … to − 1, one space between any two. Past its end the prose begins anew. */
void sf_prose_add(const sf_prose *p, int from, int to, sf_text *out);

/* The first place at or after word i where no sentence is torn: i = 0, or the word before it ends a sentence, or
 * `limit`. */
int sf_prose_boundary(const sf_prose *p, int i, int limit);

#endif
