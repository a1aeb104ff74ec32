/* The built-in methods: one line each. */
#include "methods/method.h"

extern const sf_method sf_dense_method, sf_null, sf_vertical_slash, sf_quest;

const sf_method *const sf_methods[] = {
    &sf_dense_method,
    &sf_null,
    &sf_vertical_slash,
    &sf_quest,
    NULL,
};
