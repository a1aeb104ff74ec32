/* What one lane's probe of an attention leaves for the others that evict from the same prompt. */
#ifndef SF_PROBES_H
#define SF_PROBES_H

#include "kernels/attention.h"

/* Column sums of the first probes that lanes asked of one attention; the core owns the room. */
enum { SF_PROBES = 2 };
typedef struct sf_probes {
    double (*clock)(sf_backend *b); /* seconds */
    double saved;                   /* that reading them again spared; the core sets it back to 0 */
    int n;
    struct sf_probe_columns {
        int window;
        sf_reduce reduce;
        float *column; /* [H, keys] */
        double seconds;
    } probe[SF_PROBES];
} sf_probes;

#endif
