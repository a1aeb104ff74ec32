/* Whether a pattern keeps to pattern.h: what its fields say, and, through sf_pattern_looks, what lies in memory; here the looks into
 * host memory. */
#include <math.h>

#include "kernels/host.h"

static const char *const kind_name[SF_PATTERN_KINDS] = {"DENSE",  "BLOCKS", "COLUMNS_DIAGONALS", "WINDOW",  "PAGES",
                                                        "TOKENS", "BANDS",  "PARTS",             "CONSTANT"};

/* ---- what lies in host memory ---- */

static sf_status look_at_lists(sf_backend *b, const sf_attention *a, const sf_pattern *p, const sf_lists *lists, int64_t limit,
                               bool empty_allowed, const char *who, const char *what)
{
    (void)b, (void)a, (void)p;
    for (int64_t r = 0; r < lists->rows; r++) {
        int32_t n = lists->count[r];
        const int32_t *index = lists->index + r * lists->stride;
        if (n < 0 || n > lists->stride)
            return sf_fail(SF_BAD_INPUT, "%s: row %lld of %s counts %d entries, its room is %lld", who, (long long)r,
                           what, n, (long long)lists->stride);
        if (n == 0 && !empty_allowed)
            return sf_fail(SF_BAD_INPUT, "%s: row %lld of %s is empty", who, (long long)r, what);
        for (int32_t i = 0; i < n; i++) {
            if (index[i] < 0 || index[i] >= limit)
                return sf_fail(SF_BAD_INPUT, "%s: row %lld of %s: entry %d is %d, expected 0 to %lld", who,
                               (long long)r, what, i, index[i], (long long)limit - 1);
            if (i && index[i] <= index[i - 1])
                return sf_fail(SF_BAD_INPUT,
                               "%s: row %lld of %s: entry %d is %d after %d, expected ascending without repeats", who,
                               (long long)r, what, i, index[i], index[i - 1]);
        }
    }
    return SF_OK;
}

static sf_status look_at_bands(sf_backend *b, const sf_attention *a, const sf_band *band, int heads, const char *who)
{
    (void)b, (void)a;
    for (int i = 0; i < heads * SF_BANDS_A_HEAD; i++)
        if (!sf_band_is_fine(&band[i]))
            return sf_fail(SF_BAD_INPUT,
                           "%s: band %d of head %d: sinks %d, apart %d, near %d, far %d, step %d; expected none negative, "
                           "and a step of at least 1",
                           who, i % SF_BANDS_A_HEAD, i / SF_BANDS_A_HEAD, band[i].sinks, band[i].apart, band[i].near, band[i].far,
                           band[i].step);
    return SF_OK;
}

static sf_status look_at_bias(sf_backend *b, const sf_attention *a, const sf_lists *l, const float *bias, const char *who)
{
    (void)b, (void)a;
    for (int64_t r = 0; r < l->rows; r++)
        for (int32_t i = 0; i < l->count[r]; i++) {
            float x = bias[r * l->stride + i];
            if (!isfinite(x))
                return sf_fail(SF_BAD_INPUT, "%s: row %lld: the bias of entry %d is %g; expected a finite weight's logarithm", who,
                               (long long)r, i, (double)x);
        }
    return SF_OK;
}

static sf_status look_at_numbers(sf_backend *b, const sf_attention *a, const sf_tensor *t, const char *who, const char *what)
{
    (void)b, (void)a;
    for (int64_t i = 0; i < sf_elements(t); i++)
        if (!isfinite(((const float *)t->data)[i])) return sf_fail(SF_BAD_INPUT, "%s: %s is not finite", who, what);
    return SF_OK;
}

/* Parts of one softmax must not share a pair. All rows are too many to look at each time: sf_rows_looked_at() of them. */
static sf_status look_at_pairs(sf_backend *b, const sf_attention *a, const sf_pattern *p, const char *who)
{
    int rows = sf_rows_looked_at(a), selections = sf_selections(p);
    uint8_t *mask;
    SF_TRY(sf_host_alloc(b, 2 * (size_t)a->keys, (void **)&mask));
    uint8_t *taken = mask + a->keys;
    sf_status status = SF_OK;
    for (int x = 0; x < selections * rows && status == SF_OK; x++) {
        int h = x / rows * (a->heads / selections), i = sf_row_looked_at(a, x % rows);
        for (int j = 0; j < a->keys; j++) taken[j] = 0;
        for (int k = 0; k < p->parts && status == SF_OK; k++) {
            sf_pattern_named(a, &p->part[k], h, i, mask);
            for (int j = 0; j < a->keys && status == SF_OK; j++) {
                if (mask[j] && taken[j])
                    status = sf_fail(SF_BAD_INPUT, "%s: head %d, row %d: key %d is in two parts of one softmax, and would count twice",
                                     who, h, i, j);
                taken[j] |= mask[j];
            }
        }
    }
    sf_host_free(b, mask);
    return status;
}

static const sf_pattern_looks in_host_memory = {look_at_lists, look_at_bands, look_at_bias, look_at_numbers, look_at_pairs};

/* ---- what a pattern's fields say ---- */

/* Who asks, of which attention, and how memory is looked into. */
struct asked {
    const sf_pattern_looks *look;
    sf_backend *b;
    const sf_attention *a;
    const char *who;
};

static sf_status check_lists(const struct asked *q, const sf_pattern *p, const sf_lists *lists, int64_t rows, int64_t limit, bool empty_allowed,
                             const char *what)
{
    if (lists->rows != rows)
        return sf_fail(SF_BAD_INPUT, "%s: %lld rows of %s, expected %lld", q->who, (long long)lists->rows, what,
                       (long long)rows);
    return q->look->lists(q->b, q->a, p, lists, limit, empty_allowed, q->who, what);
}

static int64_t parts_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

static bool shaped(const sf_tensor *t, int64_t d0, int64_t d1, int64_t d2)
{
    return t->dim[0] == d0 && t->dim[1] == d1 && (t->rank < 3 ? d2 == 0 : t->dim[2] == d2);
}

static sf_status check_kind(sf_phase phase, const sf_pattern *p, const char *who)
{
    bool decode = phase == SF_DECODE;
    bool fits = p->kind == SF_DENSE || p->kind == SF_WINDOW || p->kind == SF_TOKENS || p->kind == SF_BANDS || p->kind == SF_PARTS ||
                (decode ? p->kind == SF_PAGES : p->kind == SF_BLOCKS || p->kind == SF_COLUMNS_DIAGONALS);
    if ((unsigned)p->kind < SF_PATTERN_KINDS && fits) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: a %s pattern does not serve in %s", who,
                   (unsigned)p->kind < SF_PATTERN_KINDS ? kind_name[p->kind] : "nameless",
                   decode ? "decode (DENSE, WINDOW, PAGES, BANDS, PARTS do)"
                          : "prefill (DENSE, WINDOW, BLOCKS, COLUMNS_DIAGONALS, BANDS, PARTS do)");
}

static sf_status check_heads(const sf_attention *a, const sf_pattern *p, const char *who)
{
    bool kept = p->kind == SF_TOKENS;
    if (p->heads == a->kv_heads || (!kept && (p->heads == a->heads || p->heads == 1))) return SF_OK;
    return sf_fail(SF_BAD_INPUT, "%s: selects for %d heads, expected %d kv heads%s", who, p->heads, a->kv_heads,
                   kept ? "" : ", all query heads, or 1");
}

static sf_status check_bands(const struct asked *q, const sf_pattern *p)
{
    if (!p->band) return sf_fail(SF_BAD_INPUT, "%s: a BANDS pattern without bands; make it with sf_bands()", q->who);
    SF_TRY(q->look->bands(q->b, q->a, p->band, p->heads, q->who));
    if (p->first.rows) SF_TRY(check_lists(q, p, &p->first, p->heads, q->a->keys, true, "columns"));
    if (p->second.rows && q->b->phase == SF_DECODE)
        return sf_fail(SF_BAD_INPUT, "%s: rows that see all are of a prefill, not of a decode step", q->who);
    return p->second.rows ? check_lists(q, p, &p->second, p->heads, q->a->queries, true, "rows that see all") : SF_OK;
}

static sf_status check_choice(const struct asked *q, const sf_pattern *p)
{
    const sf_attention *a = q->a;
    const char *who = q->who;
    if (p->kind == SF_DENSE) return SF_OK;
    if (p->kind == SF_WINDOW) {
        if (p->sinks >= 0 && p->local >= 0 && (p->local > 0 || p->sinks > 0)) return SF_OK;
        return sf_fail(SF_BAD_INPUT, "%s: a window of %d sinks and %d local keys; expected none negative, not both 0", who,
                       p->sinks, p->local);
    }
    SF_TRY(check_heads(a, p, who));
    if ((p->kind == SF_BLOCKS && (p->block_q < 1 || p->block_k < 1)) || (p->kind == SF_PAGES && p->page < 1))
        return sf_fail(SF_BAD_INPUT, "%s: blocks of %d by %d, pages of %d; expected at least 1", who, p->block_q, p->block_k,
                       p->page);
    switch (p->kind) {
    case SF_BANDS: return check_bands(q, p);
    case SF_BLOCKS:
        return check_lists(q, p, &p->first, p->heads * parts_of(a->queries, p->block_q), parts_of(a->keys, p->block_k), true,
                           "key blocks");
    case SF_COLUMNS_DIAGONALS:
        SF_TRY(check_lists(q, p, &p->first, p->heads, a->keys, true, "columns"));
        return check_lists(q, p, &p->second, p->heads, a->keys, true, "diagonals");
    case SF_PAGES:
        return check_lists(q, p, &p->first, p->heads, parts_of(a->keys, p->page), p->empty || p->sum.k.data, "pages");
    default: return check_lists(q, p, &p->first, p->heads, a->keys, false, "keys to keep");
    }
}

static sf_status check_bias(const struct asked *q, const sf_pattern *p)
{
    const sf_lists *l = &p->first;
    if (!p->bias.data) return SF_OK;
    if (p->kind != SF_PAGES || !shaped(&p->bias, l->rows, l->stride, 0))
        return sf_fail(SF_BAD_INPUT, "%s: a bias of %lld by %lld on a %s pattern; expected one for each entry of lists of pages",
                       q->who, (long long)p->bias.dim[0], (long long)p->bias.dim[1], kind_name[p->kind]);
    return q->look->bias(q->b, q->a, l, p->bias.data, q->who);
}

static sf_status check_summaries(const struct asked *q, const sf_pattern *p)
{
    const sf_attention *a = q->a;
    const char *who = q->who;
    const sf_summaries *s = &p->sum;
    int64_t m = s->k.dim[1];
    if (!s->k.data) return SF_OK;
    if (p->kind == SF_TOKENS || !shaped(&s->k, a->kv_heads, m, a->head_dim) || !shaped(&s->v, a->kv_heads, m, a->head_dim))
        return sf_fail(SF_BAD_INPUT, "%s: summaries; expected keys and values [%d, n, %d] beside a pattern that reads", who,
                       a->kv_heads, a->head_dim);
    if (s->bias.data && !shaped(&s->bias, a->kv_heads, m, 0) && !shaped(&s->bias, a->heads, m, 0))
        return sf_fail(SF_BAD_INPUT, "%s: the bias of summaries is %lld by %lld; expected %d or %d by %lld", who,
                       (long long)s->bias.dim[0], (long long)s->bias.dim[1], a->kv_heads, a->heads, (long long)m);
    return s->bias.data ? q->look->numbers(q->b, a, &s->bias, who, "the bias of a summary") : SF_OK;
}

static sf_status check_one(const struct asked *q, const sf_pattern *p)
{
    const sf_attention *a = q->a;
    const char *who = q->who;
    SF_TRY(check_kind(q->b->phase, p, who));
    SF_TRY(check_choice(q, p));
    SF_TRY(check_bias(q, p));
    SF_TRY(check_summaries(q, p));
    if (p->reach.chunk == 0) return SF_OK;
    if (p->reach.chunk < 0 || p->reach.cap < 0)
        return sf_fail(SF_BAD_INPUT, "%s: a reach of chunk %d, cap %d; expected none negative", who, p->reach.chunk, p->reach.cap);
    return a->frequency ? SF_OK : sf_fail(SF_UNSUPPORTED, "%s: other distances than the true ones need rotary positions", who);
}

static sf_status check_gate(const struct asked *q, const sf_pattern *p)
{
    const sf_attention *a = q->a;
    const char *who = q->who;
    if (p->gate.data && !shaped(&p->gate, 1, a->heads, 0) && !shaped(&p->gate, a->queries, a->heads, 0))
        return sf_fail(SF_BAD_INPUT, "%s: gates of %lld by %lld; expected 1 or %d rows of %d", who, (long long)p->gate.dim[0],
                       (long long)p->gate.dim[1], a->queries, a->heads);
    if (p->gate.data) SF_TRY(q->look->numbers(q->b, a, &p->gate, who, "a gate"));
    if (p->repeat < 0 || (p->repeat && q->b->phase == SF_DECODE))
        return sf_fail(SF_BAD_INPUT, "%s: a part repeated over %d rows; only a prefill has rows to repeat over", who, p->repeat);
    return SF_OK;
}

sf_status sf_check_pattern_by(const sf_pattern_looks *look, sf_backend *b, const sf_attention *a, const sf_pattern *p, const char *who)
{
    const struct asked q = {look, b, a, who};
    if (p->kind != SF_PARTS) return check_one(&q, p);
    if (p->parts < 1 || p->parts > SF_MOST_PARTS || !p->part)
        return sf_fail(SF_BAD_INPUT, "%s: %d parts; expected 1 to %d, made with sf_parts()", who, p->parts, SF_MOST_PARTS);
    for (int k = 0; k < p->parts; k++) {
        const sf_pattern *part = p->part + k;
        bool constant = part->kind == SF_CONSTANT;
        if (part->kind == SF_PARTS || part->kind == SF_TOKENS || (!p->gated && (constant || part->gate.data || part->repeat)))
            return sf_fail(SF_BAD_INPUT, "%s: part %d: %s do not serve here", who, k,
                           p->gated ? "parts of parts, or keys to keep" : "constants, gates and repeated rows of one softmax");
        if (constant && !shaped(&part->sum.v, a->kv_heads, 1, a->head_dim))
            return sf_fail(SF_BAD_INPUT, "%s: part %d: a constant; expected a value [%d, 1, %d]", who, k, a->kv_heads, a->head_dim);
        if (!constant) SF_TRY(check_one(&q, part));
        SF_TRY(check_gate(&q, part));
    }
    return p->gated ? SF_OK : look->pairs(b, a, p, who);
}

sf_status sf_host_check_pattern(sf_backend *b, const sf_attention *a, const sf_pattern *p, const char *who)
{
    return sf_check_pattern_by(&in_host_memory, b, a, p, who);
}
