/* FlexPrefill as its authors have it: in blocks of 128, each head decides between two arms. Where the pooled attention
 * of the last queries is close to their exact one (Jensen-Shannon distance below tau), the head is query-aware: it
 * takes the block pairs that cover a share gamma of the pooled attention map. Otherwise it takes the block columns and
 * block diagonals that cover gamma of the exact attention of the last queries. The first column and the main diagonal
 * always.
 *
 * Where the prompt is not a multiple of the block, block diagonals are counted from the query's own block. */
#include "methods/method.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct params {
    int block, min_budget;
    double gamma, tau;
};

/* clang-format off */
static const sf_param PARAMS[] = {
    {.name = "gamma", .type = SF_REAL, .offset = offsetof(struct params, gamma), .budget = true,
     .low = 0, .high = 1, .initial = 0.9, .doc = "share of attention to cover"},
    {.name = "min_budget", .type = SF_INT, .offset = offsetof(struct params, min_budget), .budget = true,
     .low = 1, .high = 1 << 24, .initial = 1024, .doc = "keys covered at least by columns, and by diagonals"},
    {.name = "tau", .type = SF_REAL, .offset = offsetof(struct params, tau),
     .low = 0, .high = 1, .initial = 0.1, .doc = "distance below which a head is query-aware; 0: none is"},
    {.name = "block", .type = SF_INT, .offset = offsetof(struct params, block),
     .low = 1, .high = 4096, .initial = 128, .doc = "queries and keys per block, and queries of the probe"},
    {0},
};
/* clang-format on */

static float *rows_to_host(sf_attention *a, sf_tensor x)
{
    float *host = malloc((size_t)sf_elements(&x) * sizeof *host);
    if (!host)
        a->status = sf_fail(SF_NO_MEMORY, "flex_prefill_full: %lld scores", (long long)sf_elements(&x));
    else
        sf_read(a, x, host);
    return host;
}

/* Lists to the host, as a mark for each index: [rows, n]. NULL when a failure stands. */
static char *marks(sf_attention *a, sf_lists l, int64_t n)
{
    int32_t *count = malloc((size_t)l.rows * sizeof *count),
            *index = malloc((size_t)(l.rows * l.stride) * sizeof *index);
    char *mark = calloc((size_t)l.rows, (size_t)n);
    if (!count || !index || !mark)
        a->status = sf_fail(SF_NO_MEMORY, "flex_prefill_full: marks of %lld blocks", (long long)n);
    sf_read_lists(a, l, count, index);
    for (int64_t r = 0; r < l.rows && !a->status; r++)
        for (int32_t i = 0; i < count[r]; i++) mark[r * n + index[r * l.stride + i]] = 1;
    free(count), free(index);
    return mark;
}

/* Square root of the Jensen-Shannon divergence (nats) of two rows; `q` is scaled to sum to one. */
static double distance(const float *p, const float *q, int64_t n)
{
    double sum = 0, js = 0;
    for (int64_t i = 0; i < n; i++) sum += q[i];
    for (int64_t i = 0; i < n; i++) {
        double x = p[i], y = q[i] / sum, m = (x + y) / 2;
        js += 0.5 * ((x > 0 ? x * log(x / m) : 0) + (y > 0 ? y * log(y / m) : 0));
    }
    return sqrt(js > 0 ? js : 0);
}

/* How many blocks each head takes: the keys that cover gamma, in blocks; min_budget for query-aware heads. */
static void block_counts(sf_attention *a, const struct params *p, sf_tensor x, const char *aware, int32_t *count)
{
    int blocks = (a->keys + p->block - 1) / p->block, least = (p->min_budget + p->block - 1) / p->block;
    sf_read_lists(a, sf_top_mass(a, x, p->gamma, 1, a->keys), count, NULL);
    for (int h = 0; h < a->heads && !a->status; h++) {
        int n = count[h] / p->block + 1;
        if (n < least || aware[h]) n = least;
        count[h] = n < blocks ? n : blocks;
    }
}

static sf_lists unite(sf_attention *a, int n, const char *column, const char *diagonal, const char *pair,
                      const char *aware)
{
    size_t rows = (size_t)a->heads * (size_t)n;
    int32_t *count = malloc(rows * sizeof *count), *index = malloc(rows * (size_t)n * sizeof *index);
    sf_lists lists = {0};
    if (!count || !index) a->status = sf_fail(SF_NO_MEMORY, "flex_prefill_full: %zu lists of %d blocks", rows, n);
    for (size_t row = 0; row < rows && !a->status; row++) {
        size_t h = row / (size_t)n, i = row % (size_t)n;
        count[row] = 0;
        for (size_t j = 0; j <= i; j++)
            if (column[h * (size_t)n + j] || diagonal[h * (size_t)n + i - j] || (aware[h] && pair[row * (size_t)n + j]))
                index[row * (size_t)n + (size_t)count[row]++] = (int32_t)j;
    }
    if (!a->status) lists = sf_host_lists(a, (int64_t)rows, n, count, index);
    free(count), free(index);
    return lists;
}

static sf_status prefill(sf_attention *a, const void *params, sf_pattern *out)
{
    const struct params *p = params;
    int n = (a->keys + p->block - 1) / p->block, rows = a->queries < p->block ? a->queries : p->block;
    if (a->keys <= 2 * p->block || a->keys <= p->min_budget) return sf_dense(a, out);

    sf_tensor column, diagonal;
    sf_probe(a, p->block, SF_SUM, &column, &diagonal);
    sf_tensor column_blocks = sf_block_sums(a, column, p->block),
              diagonal_blocks = sf_block_sums(a, diagonal, p->block);

    sf_tensor k = sf_block_means(a, true, p->block), q = sf_block_means(a, false, p->block);

    sf_attention last = *a; /* the probe's queries as one block */
    last.q =
        (const char *)a->q + sf_bytes(a->backend->activation, (int64_t)(a->queries - rows) * a->heads * a->head_dim);
    last.queries = rows;
    sf_tensor pooled = sf_block_probabilities(&last, sf_block_means(&last, false, rows), rows, k, p->block);
    if (!a->status) a->status = last.status;

    char *aware = calloc((size_t)a->heads, 1), *pair = NULL, any = 0;
    int32_t *columns = malloc((size_t)a->heads * sizeof *columns),
            *diagonals = malloc((size_t)a->heads * sizeof *diagonals);
    if (!aware || !columns || !diagonals) a->status = sf_fail(SF_NO_MEMORY, "flex_prefill_full: %d counts", a->heads);
    float *estimate = rows_to_host(a, pooled), *exact = rows_to_host(a, column_blocks);
    for (int h = 0; h < a->heads && !a->status; h++)
        if (distance(estimate + (size_t)h * n, exact + (size_t)h * n, n) < p->tau) aware[h] = any = 1;

    block_counts(a, p, column, aware, columns);
    block_counts(a, p, diagonal, aware, diagonals);
    sf_force(a, column_blocks, 0, 1);
    sf_force(a, diagonal_blocks, 0, 1);
    char *column_mark = a->status ? NULL : marks(a, sf_top_counts(a, column_blocks, columns), n);
    char *diagonal_mark = a->status ? NULL : marks(a, sf_top_counts(a, diagonal_blocks, diagonals), n);
    if (any && !a->status) {
        sf_tensor map = sf_block_probabilities(a, q, p->block, k, p->block);
        map.rank = 2, map.dim[1] *= map.dim[2]; /* [H, pairs of blocks] */
        pair = marks(a, sf_top_mass(a, map, p->gamma, 1, map.dim[1]), map.dim[1]);
    }
    sf_lists blocks = {0};
    if (!a->status) blocks = unite(a, n, column_mark, diagonal_mark, pair, aware);
    free(aware), free(pair), free(columns), free(diagonals), free(estimate), free(exact);
    free(column_mark), free(diagonal_mark);
    return sf_blocks(a, out, a->heads, p->block, p->block, blocks);
}

const sf_method sf_flex_prefill_full = {
    .abi = SF_METHOD_ABI,
    .name = "flex_prefill_full",
    .summary = "FlexPrefill with its query-aware arm, in blocks, as its authors have it",
    .paper = "Lai et al. 2025, FlexPrefill, arXiv 2502.20766",
    .params = PARAMS,
    .params_size = sizeof(struct params),
    .prefill = prefill,
    .steers_backwards = true,
    .data_dependent = true,
};
