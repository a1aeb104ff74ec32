#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/run/version.h"

int sf_cmd_version(int argc, char **argv)
{
    static const struct argp argp = {NULL, NULL, NULL,
                                     "Prints version, revision, libraries and backends, as JSON.\vExample:\n  frontier version",
                                     NULL, NULL, NULL};
    if (argp_parse(&argp, argc, argv, 0, NULL, NULL)) return EXIT_FAILURE;
    char *text = sf_versions_json();
    puts(text);
    free(text);
    return EXIT_SUCCESS;
}
