/* Two results of the same sweep: another revision, backend or machine. */
#include "harness/report/out.h"
#include "harness/report/report.h"
#include "harness/report/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 20, RESAMPLES = 10000 };
static const double alpha = 0.05;

/* What makes two cells the same question: all settings but what is compared, which is the program's revision and what
 * runs it (device, dtype, files of the model). */
static int by_question(const sf_cell_info *x, const sf_cell_info *y)
{
    int o = strcmp(x->model, y->model);
    if (!o) o = strcmp(x->chat ? x->chat : "", y->chat ? y->chat : "");
    if (!o) o = strcmp(x->attention ? x->attention : "", y->attention ? y->attention : "");
    if (!o) o = strcmp(x->task_label, y->task_label);
    if (!o) o = strcmp(x->task_params, y->task_params);
    if (!o) o = (x->length > y->length) - (x->length < y->length);
    if (!o) o = (x->output_limit > y->output_limit) - (x->output_limit < y->output_limit);
    for (int p = 0; p < SF_PHASES && !o; p++) {
        o = strcmp(x->label[p], y->label[p]);
        double a = x->sparsity[p], b = y->sparsity[p];
        if (!o && isnan(a) != isnan(b)) o = isnan(a) - isnan(b);
        if (!o && !isnan(a)) o = (a > b) - (a < b);
    }
    if (!o) o = strcmp(sf_cell_cache(x), sf_cell_cache(y));
    if (!o) o = (x->seed > y->seed) - (x->seed < y->seed);
    return o;
}

/* How much of what is compared two cells share: where a question stands several times in a file, likes meet. */
static int likeness(const sf_cell_info *x, const sf_cell_info *y)
{
    int n = strcmp(x->model_hash, y->model_hash) == 0 && strcmp(x->device, y->device) == 0 && strcmp(x->dtype, y->dtype) == 0;
    for (int p = 0; p < SF_PHASES; p++) n = 2 * n + (strcmp(x->version[p], y->version[p]) == 0);
    return n;
}

/* Of two versions which is the newer: 1 the first, −1 the second, 0: they are alike, or there is no telling. */
static int newer(const sf_cell_info *x, const sf_cell_info *y)
{
    if (strcmp(x->model_hash, y->model_hash) || strcmp(x->device, y->device) || strcmp(x->dtype, y->dtype)) return 0;
    bool first = false, second = false;
    for (int p = 0; p < SF_PHASES; p++) {
        long a = strtol(x->version[p], NULL, 10), b = strtol(y->version[p], NULL, 10);
        first |= a > b, second |= a < b;
    }
    return first - second;
}

/* Takes out of order[0 … n) whatever has a newer version there; those stand behind the others. Returns how many stay. */
static int keep_newest(const sf_results *r, int *order, int n)
{
    int kept = 0;
    for (int i = 0; i < n; i++) {
        bool old = false;
        for (int j = 0; j < n; j++) old |= newer(&r->cell[order[j]], &r->cell[order[i]]) > 0;
        if (old) continue;
        int newest = order[i];
        memmove(order + kept + 1, order + kept, (size_t)(i - kept) * sizeof *order);
        order[kept++] = newest;
    }
    return kept;
}

struct pair {
    int a, b, samples, same_score, other_prompt;
    double mean_a, mean_b, difference, p, holm;
    int diverged[SF_PHASES];      /* samples whose divergence both have */
    double kl_change[SF_PHASES];  /* of their mean */
};

static int by_change(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    double p = fabs(x->difference), q = fabs(y->difference);
    if (p != q) return p > q ? -1 : 1;
    return x->a - y->a;
}

static sf_status compare_cells(const sf_results *a, const sf_results *b, struct pair *pair, double *difference)
{
    int i = 0, j = 0, n = 0;
    while (i < a->records[pair->a] && j < b->records[pair->b]) {
        const sf_record *x = &a->record[pair->a][i], *y = &b->record[pair->b][j];
        if (x->sample != y->sample) {
            if (x->sample < y->sample)
                i++;
            else
                j++;
            continue;
        }
        i++, j++;
        if (x->prompt_hash && y->prompt_hash && x->prompt_hash != y->prompt_hash) {
            pair->other_prompt++;
            continue;
        }
        difference[n++] = y->strict - x->strict;
        pair->mean_a += x->strict;
        pair->mean_b += y->strict;
        pair->same_score += x->strict == y->strict;
        for (int p = 0; p < SF_PHASES; p++) {
            const double change = y->diverged[p].kl - x->diverged[p].kl;
            if (!isnan(change)) pair->kl_change[p] += change, pair->diverged[p]++;
        }
    }
    for (int p = 0; p < SF_PHASES; p++)
        if (pair->diverged[p]) pair->kl_change[p] /= pair->diverged[p];
    pair->samples = n;
    pair->p = NAN;
    if (!n) return SF_OK;
    pair->mean_a /= n;
    pair->mean_b /= n;
    pair->difference = pair->mean_b - pair->mean_a;
    return sf_sign_flip_test(n, difference, RESAMPLES, (uint64_t)pair->a, &pair->p);
}

static void print_pair(const sf_results *a, const struct pair *x, FILE *out)
{
    const sf_cell_info *c = &a->cell[x->a];
    char arm[200] = "";
    for (int p = 0; p < SF_PHASES; p++) {
        char level[16];
        if (strcmp(c->method[p], "dense") == 0) continue;
        snprintf(level, sizeof level, isnan(c->sparsity[p]) ? "set" : "%.2f", c->sparsity[p]);
        size_t at = strlen(arm);
        snprintf(arm + at, sizeof arm - at, "%s%.80s %s", at ? " + " : "", c->label[p], level);
    }
    if (!sf_cell_exact(c)) {
        if (!*arm) strcpy(arm, "dense");
        snprintf(arm + strlen(arm), sizeof arm - strlen(arm), ", %.30s", c->cache);
    }
    fprintf(out, "%-16s %-18s %7d  %-28s %5d  %.3f  %.3f  %6s  %-8.2g %d\n", c->model, c->task_label, c->length,
            *arm ? arm : "dense", x->samples, x->mean_a, x->mean_b, SF_NUMBER("%+.3f", x->difference), x->holm, x->samples - x->same_score);
}

static int indirect(const void *x, const void *y, void *results)
{
    const sf_results *r = results;
    int o = by_question(&r->cell[*(const int *)x], &r->cell[*(const int *)y]);
    return o ? o : *(const int *)x - *(const int *)y;
}

/* Cells are sorted by other things than by_question(): both are walked through an index. */
static int *sorted(const sf_results *r)
{
    int *order = malloc(((size_t)r->cells + 1) * sizeof *order);
    for (int c = 0; c < r->cells && order; c++) order[c] = c;
    if (order) qsort_r(order, (size_t)r->cells, sizeof *order, indirect, (void *)r);
    return order;
}

/* The cells of one question: order_a[0 … na) and order_b[0 … nb). Each takes the likest that is left; of what is left over
 * without a like there is no telling with which it belongs. */
static int match(const sf_results *a, const sf_results *b, int *order_a, int na, int *order_b, int nb, struct pair *pair)
{
    int pairs = 0;
    for (int like = na == 1 && nb == 1 ? 0 : 7; like >= (na == 1 && nb == 1 ? 0 : 4); like--)
        for (int i = 0; i < na; i++)
            for (int j = 0; j < nb && order_a[i] >= 0; j++)
                if (order_b[j] >= 0 && likeness(&a->cell[order_a[i]], &b->cell[order_b[j]]) >= like) {
                    pair[pairs++] = (struct pair){.a = order_a[i], .b = order_b[j]};
                    order_a[i] = order_b[j] = -1;
                }
    return pairs;
}

/* Cells from `first` on that ask the same. */
static int alike(const sf_results *r, const int *order, int first)
{
    int n = 1;
    while (first + n < r->cells && by_question(&r->cell[order[first]], &r->cell[order[first + n]]) == 0) n++;
    return n;
}

/* Adds "quest 1" to the list, once. */
static void note_older(const sf_cell_info *c, char list[512])
{
    for (int p = 0; p < SF_PHASES; p++) {
        char one[200], *at;
        if (strcmp(c->method[p], "dense") == 0) continue;
        int n = snprintf(one, sizeof one, "%.120s %.60s", c->label[p], c->version[p]);
        size_t used = strlen(list);
        if ((at = strstr(list, one)) && (!at[n] || at[n] == ',')) continue;
        snprintf(list + used, 512 - used, "%s%s", used ? ", " : "", one);
    }
}

/* A line about divergence, where both measured it. */
static void print_divergence(const struct pair *pair, int pairs, FILE *out)
{
    int samples = 0, changed = 0;
    double largest = 0;
    for (int i = 0; i < pairs; i++) {
        bool other = false;
        for (int p = 0; p < SF_PHASES; p++) {
            other |= pair[i].kl_change[p] != 0;
            largest = fmax(largest, fabs(pair[i].kl_change[p]));
        }
        samples += pair[i].diverged[SF_PREFILL] > pair[i].diverged[SF_DECODE] ? pair[i].diverged[SF_PREFILL] : pair[i].diverged[SF_DECODE];
        changed += other;
    }
    if (samples)
        fprintf(out, "Divergence of %d samples: the mean KL changed in %d cells, the most by %.3g nat.\n", samples, changed, largest);
}

sf_status sf_compare(const sf_results *a, const sf_results *b, FILE *out)
{
    char versions[512] = "";
    int most = 1, pairs = 0, only_a = 0, only_b = 0, several = 0, older = 0, *order_a = sorted(a), *order_b = sorted(b);
    for (int c = 0; c < a->cells; c++)
        if (a->records[c] > most) most = a->records[c];
    double *difference = malloc((size_t)most * sizeof *difference), *p = malloc(((size_t)a->cells + 1) * 2 * sizeof *p);
    struct pair *pair = calloc((size_t)a->cells + 1, sizeof *pair);
    sf_status status =
        order_a && order_b && difference && p && pair ? SF_OK : sf_fail(SF_NO_MEMORY, "out of memory to compare");
    for (int i = 0, j = 0; status == SF_OK && (i < a->cells || j < b->cells);) {
        int o = i == a->cells ? 1 : j == b->cells ? -1 : by_question(&a->cell[order_a[i]], &b->cell[order_b[j]]);
        if (o < 0) {
            i++, only_a++;
        } else if (o > 0) {
            j++, only_b++;
        } else {
            int na = alike(a, order_a, i), nb = alike(b, order_b, j);
            int newest_a = keep_newest(a, order_a + i, na), newest_b = keep_newest(b, order_b + j, nb);
            int found = match(a, b, order_a + i, newest_a, order_b + j, newest_b, pair + pairs);
            older += na + nb - newest_a - newest_b;
            several += newest_a + newest_b - 2 * found;
            for (int k = newest_a; k < na; k++) note_older(&a->cell[order_a[i + k]], versions);
            for (int k = newest_b; k < nb; k++) note_older(&b->cell[order_b[j + k]], versions);
            i += na, j += nb;
            for (; found-- && status == SF_OK; pairs++) {
                status = compare_cells(a, b, &pair[pairs], difference);
                p[pairs] = pair[pairs].p;
            }
        }
    }
    if (status == SF_OK) status = sf_holm(pairs, p, p + pairs);
    if (status == SF_OK) {
        int samples = 0, same = 0, prompts = 0, changed = 0, significant = 0;
        double largest = 0;
        for (int i = 0; i < pairs; i++) {
            pair[i].holm = p[pairs + i];
            samples += pair[i].samples;
            same += pair[i].same_score;
            prompts += pair[i].other_prompt;
            changed += pair[i].samples > pair[i].same_score;
            significant += pair[i].holm <= alpha;
            largest = fmax(largest, fabs(pair[i].difference));
        }
        fprintf(out, "%d cells in both, %d only in the first, %d only in the second.\n", pairs, only_a, only_b);
        if (older)
            fprintf(out, "%d cells are not compared, since a newer version of their method stands beside them: %s.\n", older, versions);
        if (several)
            fprintf(out, "%d cells are not compared: several of one question stand in a file, and which belong together is not "
                         "told by device, dtype or the model's files.\n", several);
        if (prompts) fprintf(out, "%d samples left out: their prompts differ.\n", prompts);
        if (!samples) {
            fprintf(out, "No sample in common: nothing to compare.\n");
        } else {
            fprintf(
                out,
                "%d of %d samples score the same; %d cells changed, the largest mean by %.3f; %d differ beyond noise "
                "(paired sign flips, Holm, p < %.2f).\n",
                same, samples, changed, largest, significant, alpha);
            print_divergence(pair, pairs, out);
            qsort(pair, (size_t)pairs, sizeof *pair, by_change);
            if (changed)
                fprintf(out, "\n%-16s %-18s %7s  %-28s %5s  %5s  %5s  %6s  %-8s %s\n", "model", "task", "tokens", "arm",
                        "n", "A", "B", "B-A", "p (Holm)", "samples changed");
            for (int i = 0, shown = 0; i < pairs; i++) {
                if (pair[i].samples == pair[i].same_score) continue;
                if (shown++ == SHOWN) {
                    fprintf(out, "... and %d more\n", changed - SHOWN);
                    break;
                }
                print_pair(a, &pair[i], out);
            }
        }
    }
    free(order_a);
    free(order_b);
    free(difference);
    free(p);
    free(pair);
    return status;
}
