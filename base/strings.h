/* A short list of texts that others own. */
#ifndef SF_STRINGS_H
#define SF_STRINGS_H

enum { SF_STRINGS_MOST = 64 };

typedef struct sf_strings {
    int n;
    const char *item[SF_STRINGS_MOST];
} sf_strings;

#endif
