/* Writes a results file with known truth (tests/synthetic_results.h), for looking at a report and timing it:
 *
 *     make build/tests/tools/synthetic
 *     build/tests/tools/synthetic OUT.h5 models=3 tasks=7 lengths=5 levels=6 samples=22 maps=1 joint=0
 *
 * As above it holds 4515 cells and 99 330 samples. */
#include "tests/synthetic_results.h"

int main(int argc, char **argv)
{
    int maps = 1, joint = 0, ablation = 0;
    struct synthetic s = {.models = 3, .tasks = 7, .lengths = 5, .levels = 6, .samples = 22, .prefill = true,
                          .decode = true, .more = true, .gain = 1, .faults = 0.05};
    struct {
        const char *name;
        int *at, most;
    } option[] = {{"models", &s.models, 3}, {"tasks", &s.tasks, 7},           {"lengths", &s.lengths, 5},
                  {"levels", &s.levels, 6}, {"samples", &s.samples, 1000000}, {"maps", &maps, 1},
                  {"joint", &joint, 1},     {"ablation", &ablation, 1}};
    enum { OPTIONS = sizeof option / sizeof *option };
    for (int i = 2; i < argc; i++) {
        int k = 0;
        while (k < OPTIONS && (strncmp(argv[i], option[k].name, strlen(option[k].name)) != 0 ||
                               sscanf(argv[i] + strlen(option[k].name), "=%d", option[k].at) != 1))
            k++;
        if (k < OPTIONS && *option[k].at >= 0 && *option[k].at <= option[k].most) continue;
        fprintf(stderr, "%s: expected NAME=NUMBER, with names as in the head of this program's source\n", argv[i]);
        return 2;
    }
    if (argc < 2) return fprintf(stderr, "name a file to write\n"), 2;
    s.maps = maps, s.joint = joint, s.ablation = ablation;
    if (synthetic_write(argv[1], &s) == SF_OK) return 0;
    fprintf(stderr, "%s\n", sf_error());
    return 1;
}
