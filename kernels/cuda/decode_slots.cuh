/* What one query reads, part by part: the slots of a pattern's keys and of its summaries, for the kernels that take slots one by
 * one (decode_parts.cu) or by tiles (entmax_decode.cu). */
#ifndef SF_CUDA_DECODE_SLOTS_CUH
#define SF_CUDA_DECODE_SLOTS_CUH

#include "kernels/cuda/bands.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/packed.cuh"

#include <string.h>

enum { SLOTS_A_BLOCK = 2048, MOST_BLOCKS = 64 };

struct term {
    sf_pattern_kind kind; /* DENSE, BANDS, PAGES, CONSTANT */
    sf_band own[SF_BANDS_A_HEAD];
    const sf_band *band; /* [selections, SF_BANDS_A_HEAD], or NULL: own */
    int selections, page;
    sf_lists first;
    const float *bias; /* of pages */
    sf_reach reach;
    const bf16 *k, *v; /* of summaries: [G, summaries, D] */
    int summaries, bias_rows;
    const int32_t *from;
    const float *sum_bias, *gate; /* gate [H] or NULL: 1 */
};

struct query {
    const bf16 *q;
    sf_kv kv;
    int H, G, D, N, window, layer, terms, blocks;
    bool gated, complains, interleaved;
    float scale, cap;
    const float *frequency;
    float *lse;
    uint64_t *pairs;
    bf16 *out;
    int64_t first; /* of its shares among those of all lanes */
    sf_cuda_packed_pair packed; /* the prompt, where it is */
    term term[SF_MOST_PARTS];
};

/* ---- slots ---- */

/* The slots of a part for one head. */
struct slots {
    int selection, columns, keys, all; /* keys: before the summaries' */
    const sf_band *band;
    sf_cuda_runs runs;
};

__device__ static inline slots slots_of(const query &x, const term &t, int h)
{
    slots s = {};
    s.selection = t.selections == x.H ? h : t.selections == x.G ? h / (x.H / x.G) : 0;
    s.band = t.band ? t.band + s.selection * SF_BANDS_A_HEAD : t.own;
    if (t.kind == SF_DENSE) s.keys = x.N;
    if (t.kind == SF_PAGES) s.keys = t.first.count[s.selection] * t.page;
    if (t.kind == SF_BANDS) {
        s.runs = sf_cuda_runs_of(s.band, x.N - 1);
        s.columns = t.first.rows ? t.first.count[s.selection] : 0;
        s.keys = s.runs.until[SF_STRETCHES - 1] + s.columns;
    }
    s.all = s.keys + (t.kind == SF_CONSTANT ? 0 : t.summaries);
    return s;
}

/* What a lane knows of its slot. */
struct found {
    const bf16 *k, *v; /* NULL: no key that is seen */
    float bias;
    int by; /* positions to turn the query by */
    int64_t packed; /* PACKED: the row of a packed prompt that it is; else -1 */
};

template <bool PACKED> __device__ static inline found find(const query &x, const term &t, const slots &s, int h, int i, int end)
{
    found f = {};
    f.packed = -1;
    int g = h / (x.H / x.G), position = x.N - 1, key = -1;
    if (i >= end) return f;
    if (i >= s.keys) {
        int at = i - s.keys;
        if (t.from && t.from[at] > position) return f;
        int64_t row = ((int64_t)g * t.summaries + at) * x.D;
        f.k = t.k + row, f.v = t.v + row;
        if (t.sum_bias) f.bias = t.sum_bias[(int64_t)(t.bias_rows == x.H ? h : g) * t.summaries + at];
        return f;
    }
    if (t.kind == SF_DENSE) key = i;
    if (t.kind == SF_PAGES) {
        int64_t at = s.selection * t.first.stride + i / t.page;
        key = t.first.index[at] * t.page + i % t.page;
        if (t.bias) f.bias = t.bias[at];
    }
    if (t.kind == SF_BANDS) {
        int before = s.runs.until[SF_STRETCHES - 1];
        key = i < before ? sf_cuda_run_key(s.runs, s.band, position, i) : t.first.index[s.selection * t.first.stride + i - before];
        if (i >= before && sf_cuda_in_bands(s.band, position, key)) return f;
    }
    if (key < 0 || key > position || (x.window && key <= position - x.window)) return f;
    bool old = key < x.kv.prompt.n;
    const sf_kv_part &part = old ? x.kv.prompt : x.kv.tail;
    int at = old ? key : key - x.kv.prompt.n;
    if (part.count && at >= part.count[g]) return f;
    int64_t row = (g * part.capacity + at) * x.D;
    f.k = (const bf16 *)part.k + row, f.v = (const bf16 *)part.v + row; /* of a packed row nobody reads there */
    if (PACKED && old) f.packed = g * part.capacity + at;
    if (key < sf_reach_bound(t.reach, position)) f.by = t.reach.cap + key / t.reach.chunk * t.reach.chunk - position;
    return f;
}

/* ---- host ---- */

static inline sf_status describe(const sf_attention *a, const sf_pattern *p, term *t)
{
    memset(t, 0, sizeof *t);
    t->kind = p->kind, t->selections = p->heads, t->reach = p->reach, t->first = p->first;
    t->k = (const bf16 *)p->sum.k.data, t->v = (const bf16 *)p->sum.v.data, t->from = p->sum.from;
    t->summaries = t->k ? (int)p->sum.k.dim[1] : 0;
    t->sum_bias = (const float *)p->sum.bias.data, t->bias_rows = (int)p->sum.bias.dim[0];
    t->gate = (const float *)p->gate.data;
    switch (p->kind) {
    case SF_DENSE:
    case SF_CONSTANT: return SF_OK;
    case SF_PAGES: t->page = p->page, t->bias = (const float *)p->bias.data; return SF_OK;
    case SF_BANDS: t->band = p->band; return SF_OK;
    case SF_WINDOW:
        t->kind = p->last > 0 ? SF_DENSE : SF_BANDS, t->selections = 1, t->first = sf_lists{};
        t->own[0].sinks = p->sinks, t->own[0].far = p->local, t->own[0].step = 1;
        return SF_OK;
    default:
        return sf_fail(SF_INTERNAL, "decode takes dense, page, window and band patterns and parts of them, not kind %d; %d keys",
                       p->kind, a->keys);
    }
}

static inline sf_status describe_all(const sf_attention *a, const sf_pattern *p, query *x)
{
    memset(x, 0, sizeof *x);
    x->q = (const bf16 *)a->q, x->kv = a->kv;
    x->H = a->heads, x->G = a->kv_heads, x->D = a->head_dim, x->N = a->keys, x->window = a->window, x->layer = a->layer;
    x->scale = a->scale, x->cap = a->softcap, x->frequency = a->frequency, x->interleaved = a->interleaved;
    x->pairs = a->pairs;
    x->packed = sf_cuda_packed_pair_of(&a->kv.prompt, a->kv_heads, a->head_dim);
    x->gated = p->kind == SF_PARTS && p->gated;
    x->complains = !x->gated && !p->empty, x->lse = x->gated ? NULL : a->lse;
    x->terms = p->kind == SF_PARTS ? p->parts : 1;
    x->blocks = ceil_div(a->keys, (int)SLOTS_A_BLOCK) < MOST_BLOCKS ? ceil_div(a->keys, (int)SLOTS_A_BLOCK) : MOST_BLOCKS;
    for (int k = 0; k < x->terms; k++) SF_TRY(describe(a, p->kind == SF_PARTS ? p->part + k : p, &x->term[k]));
    return SF_OK;
}

#endif
