/* What was read of a model without being sure that its authors meant it so: said by `frontier verify`, and by every run.
 * What is wrong for certain is an error instead. */
#ifndef SF_DOUBTS_H
#define SF_DOUBTS_H

enum { SF_MAX_DOUBTS = 16 };

typedef struct sf_doubts {
    int n;
    char text[SF_MAX_DOUBTS][240]; /* no full stop; each names file and key; what is too long is cut */
} sf_doubts;

/* Adds one; beyond SF_MAX_DOUBTS they are dropped. */
__attribute__((format(printf, 2, 3))) void sf_doubt(sf_doubts *d, const char *format, ...);

#endif
