/* A picture: what one query head at one layer read of one sample, small enough to be kept with the results. */
#ifndef SF_PICTURE_H
#define SF_PICTURE_H

#include <stdint.h>

enum { SF_PICTURE_SIDE = 128 };

/* at[y][x]: of query line y, the keys of stretch x. Keys are cut into SIDE equal stretches, from [x * keys / SIDE) to the
 * next. In prefill line y is the last query of the y-th such stretch of the prompt; in decode it is step
 * y * ceil(queries / SIDE). Of a sparse phase: the share of the stretch's keys that were computed. Of a sample that is
 * dense in both phases: the attention mass on them. NAN: no such keys (the future) or no such line. */
typedef struct sf_picture {
    int32_t layer, head;
    int32_t queries, keys; /* that the sides stand for; in decode the most that there could have been */
    float at[SF_PICTURE_SIDE][SF_PICTURE_SIDE];
} sf_picture;

#endif
