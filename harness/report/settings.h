/* Which cells may stand beside each other.
 *
 * A results file may hold cells of many runs: other output limits, prompts, chat templates, devices. Numbers are only
 * compared within a group of equal settings: one device class and dtype; of each task one set of parameters and prompts
 * and one output limit; of each model one set of files and one chat template. Cells that differ in nothing but their
 * seed are pooled into one cell with the samples of all; but for tasks that ask the same questions under every seed, whose
 * samples would count twice: there another seed is another setting. */
#ifndef SF_REPORT_SETTINGS_H
#define SF_REPORT_SETTINGS_H

#include "harness/store/store.h"

typedef struct sf_settings_group {
    char name[256];     /* how it differs from the first: "output 16, cuda bf16"; of the first "" */
    int cells, samples; /* before pooling */
    sf_results results; /* shares what it can with the results that were split */
} sf_settings_group;

typedef struct sf_settings {
    int groups;
    sf_settings_group *group; /* first the settings of the run that began last, as far as runs say what they ran */
    void *heap;
} sf_settings;

/* `results` must outlive what is made of it; no records, no group. */
sf_status sf_settings_split(const sf_results *results, sf_settings *out);
void sf_settings_free(sf_settings *settings);

#endif
