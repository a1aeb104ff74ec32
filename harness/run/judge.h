/* From a lane that has generated to the record that is stored of it. */
#ifndef SF_JUDGE_H
#define SF_JUDGE_H

#include "harness/engine/engine.h"
#include "harness/run/study.h"

/* A sample at hand, whose lanes stand at [first, first + lanes) of all at hand. */
typedef struct sf_taken {
    int index, first, lanes;
    sf_sample sample;
    sf_input input;
    char *gold;   /* expected answers, as JSON */
} sf_taken;

/* Texts that a record points into, malloc'ed. */
typedef struct sf_answered {
    char *prediction, *turn_scores;
} sf_answered;

/* Scores what the lane of a cell, with its methods' parameters, has answered, which is in *answered, also where it then fails. *record
 * points into it, into `along`, the lane and the sample. Of several turns scores are means over them. Error: as the task's score; a
 * method's estimate is no cost. */
sf_status sf_judge(const sf_study *study, const sf_cell *cell, const sf_taken *taken, const sf_lane *lane,
                   void *const params[SF_PHASES], sf_answered *answered, sf_profile along[SF_PHASES], sf_record *record);

#endif
