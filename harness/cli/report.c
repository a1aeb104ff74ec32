/* The commands that read results: report, export, compare. */
#include <stdlib.h>
#include <string.h>

#include "harness/cli/cli.h"
#include "harness/cli/stored.h"
#include "harness/report/report.h"

struct args {
    sf_strings file;
    sf_report_options report;
    const char *out;
    sf_export_format format;
    bool verbose, quiet;
    const char *leaderboard;
    double within; /* per cent */
};

static error_t parse_files(int key, char *arg, struct argp_state *state)
{
    struct args *a = state->input;
    char *end = NULL;
    switch (key) {
    case 'o': a->out = arg; return 0;
    case 'f': a->report.figures = arg; return 0;
    case 'F': a->report.formats = arg; return 0;
    case 'y': a->report.style = arg; return 0;
    case 'p':
        a->report.prompts = (int)strtol(arg, &end, 10);
        if (*end || a->report.prompts < 0) argp_error(state, "--prompts: expected a number from 0, found '%s'", arg);
        return 0;
    case 'v': a->verbose = true; return 0;
    case 'q': a->quiet = true; return 0;
    case 'l': a->leaderboard = arg; return 0;
    case 'w':
        a->within = strtod(arg, &end);
        if (*end || !(a->within >= 0 && a->within <= 100)) argp_error(state, "--within: expected per cent from 0 to 100, found '%s'", arg);
        return 0;
    case 'c': a->format = SF_EXPORT_CSV; return 0;
    case 'j': a->format = SF_EXPORT_JSONL; return 0;
    case ARGP_KEY_ARG: sf_strings_add(state, &a->file, arg); return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "name a results file, e.g. results/demo.h5"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* "results/demo.h5" -> "results/demo-report" */
static void default_folder(const char *file, char out[4096])
{
    snprintf(out, 4000, "%s", file);
    char *dot = strrchr(out, '.'), *slash = strrchr(out, '/');
    if (dot && (!slash || dot > slash)) *dot = 0;
    strcat(out, "-report");
}

/* Reads the files, says what of them cannot be used. */
static sf_status read_results(const sf_strings *file, unsigned what, sf_results *out)
{
    SF_TRY(sf_results_read(file->n, file->item, what, out));
    for (int i = 0; i < out->problems; i++) fprintf(stderr, "frontier: left out: %s\n", out->problem[i]);
    return SF_OK;
}

/* Where the page is, as a link that terminals and browsers open. */
static void print_link(const char *folder)
{
    char *path = realpath(folder, NULL);
    printf("\nReport: file://");
    for (const char *at = path ? path : folder; *at; at++)
        printf(strchr(" %?#\"<>", *at) || (unsigned char)*at < ' ' ? "%%%02X" : "%c", (unsigned char)*at);
    printf("/index.html\n");
    free(path);
}

int sf_cmd_report(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"out", 'o', "DIR", 0, "folder for figures and tables (default: beside the results, NAME-report)", 0},
        {"figures", 'f', "LIST", 0, "only these figures, comma-separated", 0},
        {"format", 'F', "LIST", 0, "png, pdf, svg, comma-separated (default: png,pdf)", 0},
        {"prompts", 'p', "N", 0, "samples of each model, task and length whose prompts the page shows (default 10; 0: none)", 0},
        {"leaderboard", 'l', "FORMAT", 0, "print the leaderboard alone: md, csv, json or tex", 0},
        {"within", 'w', "PERCENT", 0, "of dense's score that the leaderboard's methods may lose (default 5)", 0},
        {"quiet", 'q', NULL, 0, "leave the warnings to the page", 0},
        {"verbose", 'v', NULL, 0, "print the table of scores too, as `run` does at its end", 0},
        {"style", 'y', "STYLE", 0, "paper (84 mm columns, the default) or slides", 0},
        {0},
    };
    static const struct argp argp = {options, parse_files, "RESULTS.h5 [MORE.h5 ...]",
                                     "Draws every figure the results allow, writes the numbers behind each as CSV, LaTeX and "
                                     "Markdown tables, an index.html, and a paper.tex that includes two figures and a table.\v"
                                     "Example:\n  frontier report results/demo.h5 --out demo-report --format pdf",
                                     NULL, NULL, NULL};
    struct args a = {.report.prompts = 10, .within = 5};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    char folder[4096];
    default_folder(a.file.item[0], folder);
    a.report.folder = a.out ? a.out : folder;
    sf_results results;
    sf_status status = read_results(&a.file, SF_READ_MEANS | SF_READ_TEXTS | SF_READ_PICTURES, &results);
    if (status == SF_OK && a.leaderboard) {
        status = sf_report_leaderboard(&results, a.within / 100, a.leaderboard, stdout);
        sf_results_free(&results);
    } else if (status == SF_OK) {
        if (a.verbose) sf_report_table(&results, stdout);
        if (!a.quiet) sf_report_gates(&results, stdout);
        sf_study study = {0};
        const char *config = results.runs && a.report.prompts ? results.run[results.runs - 1].config : NULL;
        char *why = NULL;
        if (config && sf_stored_open(config, &study) == SF_OK) a.report.prompt = sf_stored_prompt, a.report.user = &study;
        else if (config) a.report.no_prompt = why = strdup(sf_error());
        status = sf_report(&results, &a.report);
        free(why);
        if (study.sweep) sf_study_close(&study);
        if (status == SF_OK) print_link(a.report.folder);
        sf_results_free(&results);
    }
    return sf_cli_end(status);
}

int sf_cmd_export(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"csv", 'c', NULL, 0, "comma-separated values (the default)", 0},
        {"jsonl", 'j', NULL, 0, "JSON lines", 0},
        {"out", 'o', "FILE", 0, "where to (default: standard output)", 0},
        {0},
    };
    static const struct argp argp = {options, parse_files, "RESULTS.h5 [MORE.h5 ...]",
                                     "Writes one row a sample, for pandas, R or a spreadsheet.\v"
                                     "Example:\n  frontier export results/demo.h5 --jsonl --out demo.jsonl",
                                     NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    sf_results results;
    sf_status status = read_results(&a.file, SF_READ_TEXTS, &results);
    if (status != SF_OK) return sf_cli_end(status);
    FILE *out = a.out ? fopen(a.out, "w") : stdout;
    status = out ? sf_export(&results, a.format, out) : sf_fail(SF_IO, "%s: cannot be written", a.out);
    if (out && (ferror(out) | (a.out ? fclose(out) : fflush(out))) && status == SF_OK)
        status = sf_fail(SF_IO, "%s: could not be written whole; is the disk full?", a.out ? a.out : "standard output");
    sf_results_free(&results);
    return sf_cli_end(status);
}

int sf_cmd_compare(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_files, "A.h5 B.h5",
                                     "Compares the cells that two results files have in common, sample by sample: another "
                                     "revision, backend or machine.\v"
                                     "Example:\n  frontier compare results/cpu.h5 results/gpu.h5",
                                     NULL, NULL, NULL};
    struct args a = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &a)) return EXIT_FAILURE;
    if (a.file.n != 2) return sf_cli_end(sf_fail(SF_BAD_INPUT, "compare takes two results files, found %d", a.file.n));
    sf_results results[2] = {0};
    sf_status status = SF_OK;
    for (int i = 0; status == SF_OK && i < 2; i++)
        status = read_results(&(sf_strings){1, {a.file.item[i]}}, 0, &results[i]);
    if (status == SF_OK) status = sf_compare(&results[0], &results[1], stdout);
    for (int i = 0; i < 2; i++) sf_results_free(&results[i]);
    return sf_cli_end(status);
}
