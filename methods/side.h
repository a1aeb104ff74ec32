/* Trained weights of a method, read from one file for one model. harness/model/side.h opens them. */
#ifndef SF_SIDE_H
#define SF_SIDE_H

#include "methods/method.h"

typedef struct sf_side {
    struct sf_side *next;
    const sf_method *method;
    char *path;        /* as the method's parameter says */
    int weights;       /* rows of method->weights */
    sf_tensor *tensor; /* [layers, weights] backend memory, as sf_side_dtype() says; absent on layers that slide or recur */
} sf_side;

/* Of a model, at its layers with full attention. */
typedef struct sf_side_sizes {
    int heads, kv_heads, head_dim, width;
} sf_side_sizes;

/* The shape of a weight for a model and the method's parameters; returns its rank. */
int sf_side_shape(const sf_side_weight *w, const sf_side_sizes *sizes, const sf_method *method, const void *params, int64_t dim[4]);

/* Its dtype where activations are of this one: that, if it multiplies rows of the layer's input, else f32. */
sf_dtype sf_side_dtype(const sf_side_weight *w, sf_dtype activation);

/* The weight's name at a layer, whose number stands for "%d", cut at `room` bytes with their 0. Returns out. */
const char *sf_side_name(const char *name, int layer, size_t room, char *out);

/* The row of a method's parameter of this name that is a whole number; NULL: it has none. */
const sf_param *sf_side_param(const sf_method *method, const char *name);

/* The file that the parameters of a method with weights name; NULL: none. */
const char *sf_side_path(const sf_method *method, const void *params);

/* Of a list: the method's, from the file that these parameters name. NULL: not there, or the method has no weights. */
const sf_side *sf_side_of(const sf_side *list, const sf_method *method, const void *params);

#endif
