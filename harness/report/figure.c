#include "harness/report/figure.h"

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
    const double character = 1.35, sample = 8, line = 2.8; /* mm, of 7-point text */
    int columns = (int)((p->width - 4) / (characters * character + sample));
    if (columns < 1) columns = 1;
    if (columns > entries) columns = entries > 0 ? entries : 1;
    int rows = (entries + columns - 1) / columns;
    double height = rows * line + (entries ? 1 : 0);
    sf_set_number(p, "legend", height);
    sf_set_number(p, "legend_rows", rows > 0 ? rows : 1);
    int letters = (int)(((p->width - 4) / columns - sample) / character) - 2; /* longer names are cut */
    if (characters > letters) characters = letters;
    sf_set_number(p, "legend_letters", letters);
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
