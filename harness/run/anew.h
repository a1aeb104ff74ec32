/* turns: {compress: each}: a conversation that is prefilled, and compressed, anew with each question. */
#ifndef SF_ANEW_H
#define SF_ANEW_H

#include "harness/run/work.h"

/* The later turns of the lanes that have just answered their first question: w->lanes_now from lane `first` on, of the samples from
 * w->taken[at] on. Each lane's conversation so far (prompt, its own answers, questions), the next question with it, is a prompt of its
 * own: its methods are fitted to that, its prefill and its cache are the lane's alone. Adds to the lanes what that took, and the answers;
 * densities, recall and error become means over all turns. */
sf_status sf_anew_run(struct work *w, int at, int first, const sf_generation *how);

/* Before a run that holds so many bytes: gives back what earlier ones left where both are beyond the limit. */
void sf_anew_hold(struct work *w, size_t bytes);

#endif
