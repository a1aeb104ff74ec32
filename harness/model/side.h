/* Trained weights that methods own (sf_side_weight of methods/method.h), from safetensors files of their own. */
#ifndef SF_MODEL_SIDE_H
#define SF_MODEL_SIDE_H

#include "harness/model/config.h"
#include "methods/side.h"

/* That the file that a method's parameters name has its weights, with the right shapes, for a model; nothing where it has none.
 * Errors name method, file and tensor, expected and found. */
sf_status sf_side_check(const sf_model_config *config, const sf_method *method, const void *params);

/* The same, and puts them into the backend, at the head of a list, unless they are in it. */
sf_status sf_side_open(sf_backend *b, const sf_model_config *config, const sf_method *method, const void *params, sf_side **list);
void sf_side_close(sf_backend *b, const sf_model_config *config, sf_side *list); /* accepts NULL and half-opened ones */

#endif
