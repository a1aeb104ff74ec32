/* Lanes that come along with those that were asked for: for divergence a dense one and those that follow it, for shared questions
 * each lane once more for every later one. */
#ifndef SF_ENGINE_COMPANY_H
#define SF_ENGINE_COMPANY_H

#include "harness/engine/lane.h"

/* Samples with the lanes that divergence calls for: a dense one first, where there is a continuation one that is fed with it, and
 * one that follows for each lane that wants to be compared along the generation. A sample with shared questions is as many in a row,
 * of which the first leads. */
typedef struct sf_company {
    int jobs, asks;
    const sf_job *asked; /* [asks] */
    sf_job *job;     /* [jobs]; lanes of samples that want neither are the caller's own */
    sf_lane *lane;   /* all added or copied */
    int32_t *output; /* of those added for divergence */
    float *map;      /* [layers, H] each: density, recall, error of those added for later questions */
    double *kept;    /* as asked, of all lanes; NULL: not given */
    int64_t heads;   /* layers · H of the whole model */
} sf_company;

/* kept: [lanes of all samples] or NULL. Close it after success and failure alike. */
sf_status sf_company_open(int64_t heads, int jobs, const sf_job *job, const sf_generation *how, const double *kept, sf_company *out);
/* Brings what came out to the lanes that were asked for. */
void sf_company_settle(const sf_company *company);
void sf_company_close(sf_company *company);

#endif
