#include "harness/cli/stored.h"
#include "base/strings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

/* The error at hand, without the place that the config was laid out at. */
static sf_status explain(sf_status status, const char *path, const char *text)
{
    const char *said = sf_error();
    const size_t n = strlen(path);
    const bool placed = strncmp(said, path, n) == 0 && said[n] == ':';
    char own[512];
    snprintf(own, sizeof own, "%s%s", placed ? "line " : "", placed ? said + n + 1 : said);
    return sf_fail(status, "of the config that the results hold, %s%s", own,
                   strstr(text, "plugins:") ? "; plug-ins that a results file names are never loaded: `frontier show CONFIG.yaml` shows what "
                                              "theirs makes" : "");
}

sf_status sf_stored_open(const char *text, sf_study *study)
{
    int fd = memfd_create("config", 0);
    size_t n = strlen(text);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n) return sf_fail(SF_IO, "the stored config cannot be laid out");
    char path[64], *copy = strdup(text), *rest = copy;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    sf_strings set = {0};
    for (char *line; (line = strsep(&rest, "\n"));)
        if (strncmp(line, "# --set ", 8) == 0 && set.n < SF_STRINGS_MOST) set.item[set.n++] = line + 8;
    sf_status status = sf_study_open_stored(path, set.n, set.item, study);
    free(copy);
    close(fd);
    return status == SF_OK ? SF_OK : explain(status, path, text);
}

/* Of a study's sweep; -1: not there. */
static int model_of(const sf_sweep *s, const char *label)
{
    for (int i = 0; i < s->models; i++)
        if (strcmp(s->model[i].label, label) == 0) return i;
    return -1;
}

static int task_of(const sf_sweep *s, const char *label)
{
    for (int i = 0; i < s->tasks; i++)
        if (strcmp(s->task[i].label, label) == 0) return i;
    return -1;
}

static int length_of(const sf_sweep *s, int tokens)
{
    for (int i = 0; i < s->lengths; i++)
        if (s->length[i] == tokens) return i;
    return -1;
}

sf_status sf_stored_prompt(void *study, const sf_cell_info *cell, const sf_record *record, char **prompt)
{
    const sf_sweep *s = ((const sf_study *)study)->sweep;
    const int model = model_of(s, cell->model), task = task_of(s, cell->task_label), length = length_of(s, cell->length);
    if (model < 0 || task < 0 || length < 0)
        return sf_fail(SF_BAD_INPUT, "the stored config has no such model, task or length");
    sf_sample sample;
    sf_input input;
    SF_TRY(sf_study_sample(study, model, task, length, record->sample, &sample, &input));
    bool same = record->prompt_hash == XXH3_64bits(input.id, (size_t)input.tokens * sizeof *input.id);
    sf_input_free(&input);
    if (same) *prompt = strdup(sample.prompt);
    sf_sample_free(&sample);
    if (!same) return sf_fail(SF_BAD_INPUT, "what the stored config makes here is not the prompt that was asked");
    return *prompt ? SF_OK : sf_fail(SF_NO_MEMORY, "out of memory for a prompt");
}
