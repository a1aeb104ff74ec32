/* Trained weights of a method, read from one file for one model. harness/model/side.h opens them. */
#ifndef SF_SIDE_H
#define SF_SIDE_H

#include "methods/method.h"

typedef struct sf_side {
    struct sf_side *next;
    const sf_method *method;
    char *path;        /* as the method's parameter says */
    int weights;       /* rows of method->weights */
    sf_tensor *tensor; /* [layers, weights] f32 backend memory; absent on layers that slide */
} sf_side;

/* The file that the parameters of a method with weights name; NULL: none. */
const char *sf_side_path(const sf_method *method, const void *params);

/* Of a list: the method's, from the file that these parameters name. NULL: not there, or the method has no weights. */
const sf_side *sf_side_of(const sf_side *list, const sf_method *method, const void *params);

#endif
