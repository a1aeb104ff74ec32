#include "harness/report/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/splitmix.h"

void sf_mean_error(int n, const double *x, double *mean, double *error)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    *mean = n ? sum / n : NAN;
    for (int i = 0; i < n; i++) squares += (x[i] - *mean) * (x[i] - *mean);
    *error = n > 1 ? sqrt(squares / (n - 1) / n) : NAN;
}

double sf_quantile(int n, const double *sorted, double q)
{
    if (n < 1) return NAN;
    double at = q * (n - 1);
    int below = (int)floor(at);
    if (below < 0) return sorted[0];
    if (below >= n - 1) return sorted[n - 1];
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

double sf_normal_cdf(double z) { return 0.5 * erfc(-z * M_SQRT1_2); }

/* Bisection on the cdf: a few dozen steps, no coefficients to get wrong; 1e-16 in probability is beyond every use here.
 */
double sf_normal_quantile(double p)
{
    if (!(p > 0)) return -INFINITY;
    if (!(p < 1)) return INFINITY;
    double low = -40, high = 40;
    for (int i = 0; i < 100; i++) {
        double middle = 0.5 * (low + high);
        if (sf_normal_cdf(middle) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* ---- Random numbers ---- */

uint64_t sf_seed_of(uint64_t seed, const char *what) { return XXH3_64bits_withSeed(what, strlen(what), seed); }

void sf_resample(uint64_t seed, int r, int n, float *weight)
{
    uint64_t state = sf_mix(seed + sf_mix((uint64_t)r + 1));
    double sum = 0;
    for (int i = 0; i < n; i++) { /* exponentials over their sum: a uniform draw of n shares */
        uint64_t u = sf_splitmix_next(&state);
        weight[i] = -logf(((float)(u >> 40) + 0.5f) * 0x1p-24f);
        sum += weight[i];
    }
    float scale = (float)(n / sum);
    for (int i = 0; i < n; i++) weight[i] *= scale;
}

/* ---- Intervals ---- */

/* Of x[low … high], one that is likely to lie just behind the k-th smallest, where that is in the lower half, else just before
 * it: of a few taken evenly. Then one pass leaves little. */
static double pivot_for(const double *x, int low, int high, int k)
{
    enum { FEW = 25 };
    if (high - low < 16 * FEW) return x[low + (high - low) / 2];
    double few[FEW];
    for (int i = 0; i < FEW; i++) {
        double v = x[low + (int)((int64_t)(high - low) * i / (FEW - 1))];
        int at = i;
        for (; at > 0 && few[at - 1] > v; at--) few[at] = few[at - 1];
        few[at] = v;
    }
    int at = (int)((int64_t)(k - low) * FEW / (high - low + 1));
    at += at < FEW / 2 ? 1 : -1;
    return few[at];
}

/* Puts the k-th smallest at k, no larger before it, no smaller behind it (Hoare's selection): an interval looks at two or
 * three of ten thousand replicates, and sorting them all took half of a report's time. */
static void select_kth(int n, double *x, int k)
{
    for (int low = 0, high = n - 1; low < high;) {
        double pivot = pivot_for(x, low, high, k);
        int i = low, j = high;
        while (i <= j) {
            while (i < high && x[i] < pivot) i++;
            while (j > low && x[j] > pivot) j--;
            if (i > j) break;
            double swapped = x[i];
            x[i++] = x[j];
            x[j--] = swapped;
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            return;
    }
}

/* sf_quantile() of values in any order, which it changes. */
static double quantile_of(int n, double *x, double q)
{
    int below = (int)floor(q * (n - 1));
    below = below < 0 ? 0 : below > n - 1 ? n - 1 : below;
    select_kth(n, x, below);
    if (below + 1 < n) select_kth(n - below - 1, x + below + 1, 0);
    return sf_quantile(n, x, q);
}

/* Draw r of the share that an unseen observation has beside n seen ones: Beta(1, n), its uniform from the multiples of the
 * golden ratio, which fill [0, 1] evenly, so that the interval of equal observations is exact to 1 / replicates. */
static double unseen(int r, double n)
{
    const double golden = 0.61803398874989484820;
    double u = (r + 0.5) * golden;
    return -expm1f(log1pf((float)(floor(u) - u)) / (float)n);
}

/* The shares of so many replicates, which most intervals of a report have in common: kept from one to the next, of two kinds. */
enum { MOST_KEPT = 10000 };
static const float *unseen_shares(int kind, int replicates, double n)
{
    static _Thread_local struct {
        int replicates;
        double n;
        float share[MOST_KEPT];
    } kept[2];
    if (kept[kind].replicates < replicates || kept[kind].n != n)
        for (int r = 0; r < replicates; r++) kept[kind].share[r] = (float)unseen(r, n);
    else
        replicates = kept[kind].replicates;
    kept[kind].replicates = replicates, kept[kind].n = n;
    return kept[kind].share;
}

/* How many samples all means together stand on: fewer than there are where each has under ten, whose spread is then not known
 * well enough. tests/golden/stats/coverage.py has what comes of it. */
static double standing(const sf_basis *b)
{
    enum { ENOUGH = 10 };
    return b->fewest < 2 ? b->fewest : b->fewest * (b->fewest < ENOUGH ? sqrt(b->means) : b->means);
}

/* Without a call; NAN in `a` gives b. */
static inline double larger(double a, double b) { return a > b ? a : b; }
static inline double smaller(double a, double b) { return a < b ? a : b; }

void sf_interval_bounded(int replicates, double *replicate, const sf_basis *b, double level, double *low, double *high)
{
    double *below = replicate + replicates, n = standing(b);
    const bool kept = replicates <= MOST_KEPT;
    const float *shares = kept ? unseen_shares(0, replicates, n) : NULL;
    const float *of_one = kept && b->means > 1 ? unseen_shares(1, replicates, b->fewest) : NULL;
    for (int r = 0; r < replicates; r++) {
        double seen = replicate[r], share = kept ? shares[r] : unseen(r, n);
        double alone = b->means > 1 ? (kept ? of_one[r] : unseen(r, b->fewest)) / b->means : 0;
        double down = larger(share * (seen - b->least), alone * (b->highest - b->least));
        double up = larger(share * (b->most - seen), alone * (b->most - b->lowest));
        below[r] = larger(seen - down, b->least);
        replicate[r] = smaller(seen + up, b->most);
    }
    *low = quantile_of(replicates, below, (1 - level) / 2);
    *high = quantile_of(replicates, replicate, (1 + level) / 2);
}

sf_status sf_bootstrap_mean(int n, const double *x, double least, double most, int resamples, uint64_t seed, double level,
                            double *low, double *high)
{
    *low = *high = NAN;
    if (n < 1) return SF_OK;
    double *replicate = malloc(2 * (size_t)resamples * sizeof *replicate);
    float *weight = malloc((size_t)n * sizeof *weight);
    sf_status status = replicate && weight ? SF_OK : sf_fail(SF_NO_MEMORY, "out of memory for a bootstrap");
    for (int r = 0; r < resamples && status == SF_OK; r++) {
        double sum = 0;
        sf_resample(seed, r, n, weight);
        for (int i = 0; i < n; i++) sum += (double)weight[i] * x[i];
        replicate[r] = sum / n;
    }
    if (status == SF_OK) sf_interval_bounded(resamples, replicate, &(sf_basis){.means = 1, .fewest = n, .least = least, .most = most}, level, low, high);
    free(replicate);
    free(weight);
    return status;
}

/* ---- Tests ---- */

/* Sums of eight signed differences for each pattern of signs: a resample of n then takes n / 8 look-ups. */
static void tabulate(int n, const double *d, double table[256])
{
    table[0] = 0;
    for (int i = 0; i < n; i++) table[0] -= d[i];
    for (int bits = 1; bits < 256; bits++) {
        int lowest = __builtin_ctz((unsigned)bits);
        table[bits] = table[bits & (bits - 1)] + (lowest < n ? 2 * d[lowest] : 0);
    }
}

sf_status sf_sign_flip_test(int n, const double *difference, int resamples, uint64_t seed, double *p)
{
    double seen = 0, total = 0, squares = 0;
    int changed = 0;
    *p = 1;
    double *d = malloc(((size_t)n + 8) * sizeof *d);
    if (!d) return sf_fail(SF_NO_MEMORY, "out of memory for a test of %d differences", n);
    for (int i = 0; i < n; i++) {
        seen += difference[i];
        total += fabs(difference[i]);
        squares += difference[i] * difference[i];
        if (difference[i] != 0) d[changed++] = difference[i]; /* the sign of nothing changes nothing */
    }
    double bound = changed ? 2 * 3.18 * sf_normal_cdf(-fabs(seen) / sqrt(squares)) : 1;
    bool exact = changed < 31 && (1 << changed) <= resamples;
    if (!changed || (!exact && bound < 1.0 / (1.0 + resamples))) {
        *p = fmin(1, bound);
        free(d);
        return SF_OK;
    }
    int bytes = (changed + 7) / 8;
    double(*table)[256] = malloc((size_t)bytes * sizeof *table);
    if (!table) {
        free(d);
        return sf_fail(SF_NO_MEMORY, "out of memory for a test of %d differences", n);
    }
    for (int k = 0; k < bytes; k++) tabulate(changed - 8 * k < 8 ? changed - 8 * k : 8, d + 8 * k, table[k]);
    /* Sums in another order differ in their last bits; such ties count as as extreme. */
    double bar = fabs(seen) - 1e-12 * total;
    int64_t patterns = exact ? (int64_t)1 << changed : resamples, extreme = 0;
    uint64_t state = sf_mix(seed);
    for (int64_t pattern = 0; pattern < patterns; pattern++) {
        double sum = 0;
        uint64_t bits = (uint64_t)pattern;
        for (int k = 0; k < bytes; k++) {
            if (!exact && k % 8 == 0) bits = sf_splitmix_next(&state);
            sum += table[k][bits & 255];
            bits >>= 8;
        }
        extreme += fabs(sum) >= bar;
    }
    *p = exact ? (double)extreme / (double)patterns : (1.0 + (double)extreme) / (1.0 + (double)patterns);
    free(table);
    free(d);
    return SF_OK;
}

struct ranked {
    double value;
    int at;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->at - y->at;
}

sf_status sf_holm(int n, const double *p, double *adjusted)
{
    struct ranked *order = malloc((size_t)n * sizeof *order + 1);
    if (!order) return sf_fail(SF_NO_MEMORY, "out of memory for %d tests", n);
    int tests = 0;
    for (int i = 0; i < n; i++) {
        adjusted[i] = NAN;
        if (!isnan(p[i])) order[tests++] = (struct ranked){p[i], i};
    }
    qsort(order, (size_t)tests, sizeof *order, by_value);
    double highest = 0;
    for (int i = 0; i < tests; i++) {
        double value = order[i].value * (tests - i);
        if (value > highest) highest = value;
        adjusted[order[i].at] = highest < 1 ? highest : 1;
    }
    free(order);
    return SF_OK;
}

/* ---- Pareto frontiers ---- */

sf_status sf_pareto(int n, const double *cost, const double *score, bool *on)
{
    struct ranked *order = malloc((size_t)n * sizeof *order + 1);
    if (!order) return sf_fail(SF_NO_MEMORY, "out of memory for %d points", n);
    int points = 0;
    for (int i = 0; i < n; i++) {
        on[i] = false;
        if (!isnan(cost[i]) && !isnan(score[i])) order[points++] = (struct ranked){cost[i], i};
    }
    qsort(order, (size_t)points, sizeof *order, by_value);
    double best = -INFINITY; /* of everything cheaper */
    for (int i = 0, end; i < points; i = end) {
        double top = -INFINITY; /* of this cost */
        for (end = i; end < points && order[end].value == order[i].value; end++)
            if (score[order[end].at] > top) top = score[order[end].at];
        for (int j = i; j < end; j++) on[order[j].at] = score[order[j].at] == top && top > best;
        if (top > best) best = top;
    }
    free(order);
    return SF_OK;
}

void sf_pareto_probability(int n, const double *cost, int resamples, const float *replicate, double *probability)
{
    for (int i = 0; i < n; i++) probability[i] = 0;
    for (int b = 0; b < resamples; b++) {
        float best = -INFINITY;
        for (int i = 0, end; i < n; i = end) {
            float top = -INFINITY;
            for (end = i; end < n && cost[end] == cost[i]; end++)
                top = fmaxf(top, replicate[(size_t)end * resamples + b]);
            for (int j = i; j < end; j++) probability[j] += replicate[(size_t)j * resamples + b] == top && top > best;
            best = fmaxf(best, top);
        }
    }
    for (int i = 0; i < n; i++) probability[i] /= resamples;
}

/* ---- Fits and ranks ---- */

sf_status sf_least_squares(int n, int k, const double *x, const double *y, double *coefficient)
{
    if (n < k) return sf_fail(SF_BAD_INPUT, "a fit of %d coefficients needs as many points, there are %d", k, n);
    double *a = malloc((size_t)n * (size_t)(k + 1) * sizeof *a); /* columns: x, then y */
    if (!a) return sf_fail(SF_NO_MEMORY, "out of memory for a fit of %d points", n);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < k; j++) a[(size_t)j * n + i] = x[(size_t)i * k + j];
        a[(size_t)k * n + i] = y[i];
    }
    sf_status status = SF_OK;
    double largest = 0;
    for (int j = 0; j < k && status == SF_OK; j++) {
        double *column = a + (size_t)j * n, norm = 0;
        for (int i = j; i < n; i++) norm += column[i] * column[i];
        norm = sqrt(norm);
        if (norm > largest) largest = norm;
        if (!(norm > 1e-10 * largest)) {
            status = sf_fail(SF_BAD_INPUT, "a fit whose column %d follows from the others", j);
            break;
        }
        double head = column[j] > 0 ? -norm : norm; /* the sign that does not cancel */
        column[j] -= head;
        double square = 0;
        for (int i = j; i < n; i++) square += column[i] * column[i];
        for (int c = j + 1; c <= k; c++) {
            double *other = a + (size_t)c * n, dot = 0;
            for (int i = j; i < n; i++) dot += column[i] * other[i];
            for (int i = j; i < n; i++) other[i] -= 2 * dot / square * column[i];
        }
        coefficient[j] = head; /* the diagonal of R, its place holds the reflection */
    }
    for (int j = k - 1; j >= 0 && status == SF_OK; j--) {
        double value = a[(size_t)k * n + j];
        for (int c = j + 1; c < k; c++) value -= a[(size_t)c * n + j] * coefficient[c];
        coefficient[j] = value / coefficient[j];
    }
    free(a);
    return status;
}

double sf_kendall(int n, const double *a, const double *b)
{
    double agree = 0, untied_a = 0, untied_b = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) {
            int x = (a[i] > a[j]) - (a[i] < a[j]), y = (b[i] > b[j]) - (b[i] < b[j]);
            agree += x * y;
            untied_a += x != 0;
            untied_b += y != 0;
        }
    return untied_a > 0 && untied_b > 0 ? agree / sqrt(untied_a * untied_b) : NAN;
}
