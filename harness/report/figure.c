#include "harness/report/figure.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void sf_csv_row(FILE *out, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    for (const char *t = types; *t; t++) {
        if (t > types) fputc(',', out);
        if (*t == 's') {
            sf_csv_text(out, va_arg(args, const char *));
        } else if (*t == 'd') {
            fprintf(out, "%d", va_arg(args, int));
        } else {
            double value = va_arg(args, double);
            if (!isnan(value)) fprintf(out, "%.6g", value);
        }
    }
    va_end(args);
    fputc('\n', out);
}

/* ---- Assignments. Between single quotes gnuplot expands nothing: no backquotes, no escapes ---- */

static void quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'') fputc('\'', out);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
    }
    fputc('\'', out);
}

void sf_set_text(sf_plot *p, const char *name, const char *text)
{
    fprintf(p->set, "%s = ", name);
    quoted(p->set, text);
    fputc('\n', p->set);
}

void sf_set_number(sf_plot *p, const char *name, double value) { fprintf(p->set, "%s = %.10g\n", name, value); }

void sf_set_texts(sf_plot *p, const char *name, int n, const char *const *text)
{
    fprintf(p->set, "array %s[%d]\n", name, n ? n : 1);
    for (int i = 0; i < n; i++) {
        fprintf(p->set, "%s[%d] = ", name, i + 1);
        quoted(p->set, text[i]);
        fputc('\n', p->set);
    }
    fprintf(p->set, "%s_n = %d\n", name, n);
}

void sf_set_numbers(sf_plot *p, const char *name, int n, const double *value)
{
    fprintf(p->set, "array %s[%d]\n", name, n ? n : 1);
    for (int i = 0; i < n; i++)
        if (isnan(value[i]))
            fprintf(p->set, "%s[%d] = NaN\n", name, i + 1);
        else
            fprintf(p->set, "%s[%d] = %.10g\n", name, i + 1, value[i]);
    fprintf(p->set, "%s_n = %d\n", name, n);
}

void sf_set_legend(sf_plot *p, int entries, int characters)
{
    const double character = 1.35, sample = 8, line = 3.4; /* mm, of 7-point text */
    int columns = (int)((p->width - 4) / (characters * character + sample));
    if (columns < 1) columns = 1;
    if (columns > entries) columns = entries > 0 ? entries : 1;
    int rows = (entries + columns - 1) / columns;
    double height = rows * line + (entries ? 1 : 0);
    sf_set_number(p, "legend", height);
    sf_set_number(p, "legend_rows", rows > 0 ? rows : 1);
    /* gnuplot takes letters for wider than they are, and a wide legend's first marks then fall off the page */
    sf_set_number(p, "legend_width", -1 - (characters > 12 ? (characters - 12) / 4 : 0));
    p->height += height;
}

const char *sf_phase_label(int phase) { return phase == SF_PREFILL ? "prefill" : "decode"; }

void sf_tokens_label(int tokens, char text[16])
{
    if (tokens < 1024)
        snprintf(text, 16, "%d", tokens);
    else
        snprintf(text, 16, "%.3gk", tokens % 1024 ? tokens / 1000.0 : tokens / 1024.0);
}

/* ---- Axes ---- */

double sf_si_scale(double largest, const char **prefix)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E", "Z"};
    int k = 0;
    double scale = 1;
    while (k < 7 && largest / scale >= 1000) k++, scale *= 1000;
    *prefix = prefixes[k];
    return scale;
}

void sf_axis_tics(double low, double high, char text[256], int *logarithmic)
{
    enum { SETS = 4, MOST = 5 };
    static const double sets[SETS][MOST] = {{1, 2, 3, 5, 7}, {1, 2, 5}, {1, 3}, {1}};
    *logarithmic = low > 0 && high > 2.5 * low;
    if (!*logarithmic) {
        double span = high - low;
        if (span <= 1e-3 * high) { /* one value, as good as */
            snprintf(text, 256, "('%.3g' %g)", high, high);
            return;
        }
        double step = pow(10, floor(log10(span)));
        static const double finer[] = {5, 2, 1, 0.5, 0.2};
        int k = 0;
        while (k < 4 && span / (step * finer[k]) < 2.5) k++; /* three or more tics */
        snprintf(text, 256, "%g", step * finer[k]);
        return;
    }
    for (int k = 0; k < SETS; k++) {
        int n = 0;
        char list[256] = "(";
        for (int e = (int)floor(log10(low)) - 1; e <= (int)ceil(log10(high)); e++)
            for (int i = 0; i < MOST && sets[k][i] > 0; i++) {
                double at = sets[k][i] * pow(10, e);
                if (at < low * 0.93 || at > high * 1.07) continue;
                size_t used = strlen(list);
                snprintf(list + used, sizeof list - used, "%s%g", n++ ? ", " : "", at);
            }
        if (n > (k ? 5 : 4) && k < SETS - 1) continue;
        strcat(list, ")");
        strcpy(text, list);
        return;
    }
}

/* ---- Means ---- */

static bool same_level(const double *a, const double *b)
{
    for (int p = 0; p < SF_PHASES; p++)
        if (!(a[p] == b[p] || (isnan(a[p]) && isnan(b[p])))) return false;
    return true;
}

sf_average sf_view_average(const sf_view *v, const sf_selection *s)
{
    sf_average a = {0};
    double error = 0, loss_error = 0, drop_error = 0;
    int points = 0, compared = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i], *dense;
        if (p->arm != s->arm || !same_level(p->sparsity, s->sparsity) || (s->model >= 0 && p->model != s->model) ||
            (s->length >= 0 && p->length != s->length))
            continue;
        double score = 0, variance = 0, of_dense = 0, own = 0, difference = 0;
        int n = 0, both = 0;
        dense = sf_view_dense(v, p);
        for (int t = 0; t < v->tasks; t++) {
            int c = p->cell[t], hard = v->task[t].dispersion || v->task[t].scope;
            if (c < 0 || (s->task >= 0 && t != s->task) || (s->hard >= 0 && hard != s->hard)) continue;
            score += v->mean[c];
            variance += v->error[c] * v->error[c];
            a.samples += v->results->records[c];
            n++;
            if (!dense || dense->cell[t] < 0) continue;
            double *paired = malloc(((size_t)v->results->records[c] + 1) * sizeof *paired), mean = 0, square = 0;
            int pairs = paired ? sf_cell_differences(v->results, c, dense->cell[t], paired) : 0;
            for (int k = 0; k < pairs; k++) mean += paired[k] / pairs;
            for (int k = 0; k < pairs; k++) square += (paired[k] - mean) * (paired[k] - mean);
            free(paired);
            if (!pairs) continue;
            if (pairs > 1)
                difference += square / (pairs - 1) / pairs;
            else
                difference = NAN;
            of_dense += v->mean[dense->cell[t]];
            own += v->mean[dense->cell[t]] + mean;
            both++;
        }
        if (!n) continue;
        a.cells += n;
        a.score += score / n;
        error += variance / n / n;
        a.sparsity += sf_point_sparsity(v, p);
        points++;
        if (!both || !(of_dense > 0)) continue;
        a.loss += (of_dense - own) / of_dense;
        loss_error += difference / (of_dense * of_dense); /* the dense mean taken as known */
        a.drop += (of_dense - own) / both;
        drop_error += difference / both / both;
        compared++;
    }
    a.score = points ? a.score / points : NAN;
    a.error = points ? sqrt(error) / points : NAN;
    a.sparsity = points ? a.sparsity / points : NAN;
    a.loss = compared ? a.loss / compared : NAN;
    a.loss_error = compared ? sqrt(loss_error) / compared : NAN;
    a.drop = compared ? a.drop / compared : NAN;
    a.drop_error = compared ? sqrt(drop_error) / compared : NAN;
    return a;
}

int sf_arm_levels(const sf_view *v, int arm, int most, double (*level)[SF_PHASES])
{
    int n = 0;
    for (int i = 0; i < v->points; i++) {
        const sf_point *p = &v->point[i];
        int at = 0;
        while (at < n && !same_level(level[at], p->sparsity)) at++;
        if (p->arm != arm || at < n || n == most) continue;
        for (at = n++; at > 0 && (level[at - 1][0] > p->sparsity[0] ||
                                  (level[at - 1][0] == p->sparsity[0] && level[at - 1][1] > p->sparsity[1]));
             at--)
            memcpy(level[at], level[at - 1], sizeof level[at]);
        memcpy(level[at], p->sparsity, sizeof level[at]);
    }
    return n;
}

/* ---- gnuplot ---- */

sf_status sf_plots_folder(char path[4096])
{
    char exe[PATH_MAX] = "", tried[8192] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    if (slash) *slash = 0;
    for (int i = 0; i < 4; i++) {
        char common[4200];
        const char *given = getenv("FRONTIER_PLOTS");
        if (i == 0) snprintf(path, 4096, "%s", given ? given : "");
        if (i == 1) snprintf(path, 4096, "%.3900s/../plots", exe); /* build/frontier in the source tree */
        if (i == 2) snprintf(path, 4096, "%.3900s/../share/frontier/plots", exe); /* installed */
        if (i == 3) snprintf(path, 4096, "plots");
        if (!*path) continue;
        snprintf(common, sizeof common, "%s/common.gp", path);
        if (access(common, R_OK) == 0) return SF_OK;
        size_t used = strlen(tried);
        snprintf(tried + used, sizeof tried - used, "%s%s", used ? ", " : "", path);
    }
    return sf_fail(SF_IO, "the plot templates (common.gp) are in none of %s: set FRONTIER_PLOTS to their folder",
                   tried);
}

struct job {
    pid_t pid;
    const sf_drawing *of;
    char log[64];
};

static pid_t start(const char *folder, const sf_drawing *d, const char *log)
{
    pid_t pid = fork();
    if (pid != 0) return pid;
    char set[64], script[160];
    snprintf(set, sizeof set, "format='%.8s'", d->format);
    snprintf(script, sizeof script, "%.128s.gp", d->name);
    int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_RDONLY);
    if (chdir(folder) != 0 || out < 0) _exit(126);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execlp("gnuplot", "gnuplot", "-e", set, script, (char *)NULL);
    _exit(errno == ENOENT ? 127 : 126);
}

static sf_status finish(struct job *job, const char *folder)
{
    int how = 0;
    char said[800] = "", line[2048];
    while (waitpid(job->pid, &how, 0) < 0 && errno == EINTR) continue;
    FILE *log = fopen(job->log, "r");
    while (log && fgets(line, sizeof line, log)) { /* its last words that are more than a warning or an echo */
        char *error = strstr(line, job->of->name);
        if (!error || strstr(line, "warning:")) continue;
        size_t used = strlen(said);
        snprintf(said + used, sizeof said - used, "%s", error);
    }
    if (log) fclose(log);
    said[strcspn(said, "\n")] = 0;
    unlink(job->log);
    if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return SF_OK;
    if (WIFEXITED(how) && WEXITSTATUS(how) == 127)
        return sf_fail(SF_UNSUPPORTED, "gnuplot is not installed: figures cannot be drawn. Install it (Debian, Ubuntu: "
                                       "gnuplot-nox) and ask for the report again; CSV files and tables are written");
    return sf_fail(SF_INTERNAL, "gnuplot failed on %s/%s.gp (%s): %s", folder, job->of->name, job->of->format,
                   *said ? said : "no message");
}

sf_status sf_gnuplot(const char *folder, int drawings, const sf_drawing *drawing)
{
    enum { AT_ONCE = 4 };
    struct job job[AT_ONCE];
    sf_status status = SF_OK;
    int running = 0, next = 0;
    while (next < drawings || running) {
        if (next < drawings && running < AT_ONCE && status == SF_OK) {
            struct job *j = &job[running];
            j->of = &drawing[next++];
            strcpy(j->log, "/tmp/frontier-gnuplot-XXXXXX");
            int log = mkstemp(j->log);
            if (log >= 0) close(log);
            fflush(NULL);
            j->pid = log >= 0 ? start(folder, j->of, j->log) : -1;
            if (j->pid > 0)
                running++;
            else
                status = sf_fail(SF_IO, "cannot start gnuplot: %s", strerror(errno));
            continue;
        }
        if (!running) break;
        sf_status one = finish(&job[0], folder);
        if (status == SF_OK) status = one;
        memmove(&job[0], &job[1], (size_t)--running * sizeof *job);
    }
    return status;
}
