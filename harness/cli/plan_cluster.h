/* `frontier plan --cluster`: what a sweep takes of many GPUs. */
#ifndef SF_PLAN_CLUSTER_H
#define SF_PLAN_CLUSTER_H

#include <jansson.h>

#include "harness/run/study.h"

/* Prints it, and warns of what does not fit; or, where `json` is given, adds it there under "cluster". `measured`: a results file,
 * or NULL. */
sf_status sf_plan_cluster(const sf_study *study, const char *cluster, const char *measured, json_t *json);

#endif
