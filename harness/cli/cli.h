/* The commands of the command line, one file each in this folder. */
#ifndef SF_CLI_H
#define SF_CLI_H

#include <argp.h>
#include <stdio.h>

#include "base/status.h"
#include "base/strings.h"

typedef struct sf_command {
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is "frontier NAME"; returns the exit status */
} sf_command;

extern const sf_command sf_commands[]; /* ended by a row without name (main.c) */

int sf_cmd_run(int argc, char **argv);
int sf_cmd_plan(int argc, char **argv);
int sf_cmd_submit(int argc, char **argv);
int sf_cmd_init(int argc, char **argv);
int sf_cmd_status(int argc, char **argv);
int sf_cmd_rm(int argc, char **argv);
int sf_cmd_list(int argc, char **argv);
int sf_cmd_show(int argc, char **argv);
int sf_cmd_tasks(int argc, char **argv);
int sf_cmd_cost(int argc, char **argv);
int sf_cmd_roles(int argc, char **argv);
int sf_cmd_report(int argc, char **argv);
int sf_cmd_export(int argc, char **argv);
int sf_cmd_compare(int argc, char **argv);
int sf_cmd_fetch(int argc, char **argv);
int sf_cmd_bench(int argc, char **argv);
int sf_cmd_check(int argc, char **argv);
int sf_cmd_calibrate(int argc, char **argv);
int sf_cmd_verify(int argc, char **argv);
int sf_cmd_version(int argc, char **argv);

/* Prints the error, if any, and gives the exit status: 0, 1, or 130 when the user stopped the run. */
int sf_cli_end(sf_status status);

/* "12.3 G", "4.1 T": three digits and a decimal prefix, for counts. */
const char *sf_si(double value, char out[32]);

/* For options that collect several values. */
void sf_strings_add(struct argp_state *state, sf_strings *list, const char *item);

/* Exit status of `run` where some cells failed and all others are stored. */
enum { SF_CLI_CELLS_FAILED = 3 };

#endif
