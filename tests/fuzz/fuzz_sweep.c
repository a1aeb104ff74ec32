/* Any bytes as a config: read and completed as `plan` does, and unrolled into cells. */
#include <stdint.h>
#include <string.h>

#include "harness/config/sweep.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static int fd = -1;
    char path[32];
    sf_sweep *sweep;
    if (memmem(data, bytes, "plugins", 7)) return 0; /* a config's plug-ins are trusted: they would be loaded */
    if (sf_sweep_read(fuzz_file(&fd, data, bytes, path), 0, NULL, &sweep) != SF_OK) return 0;
    const char **hash = calloc((size_t)sweep->models, sizeof *hash);
    for (int i = 0; hash && i < sweep->models; i++) hash[i] = "00";
    sf_plan plan;
    if (hash && sf_plan_make(sweep, hash, &plan) == SF_OK) {
        for (int i = 0; i < plan.cells; i++)
            if (strlen(plan.cell[i].key) != 32 || plan.cell[i].samples < 1) abort();
        sf_plan_free(&plan);
    }
    free(hash);
    sf_sweep_free(sweep);
    return 0;
}
