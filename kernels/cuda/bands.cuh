/* What bands and a reach mean for a tile of query rows, without a kernel around it.
 *
 * A row sees the keys of [low, high) that its bands, its columns or, where it sees all, nothing in particular names. A tile of
 * rows walks the union of what its rows may see as at most FOUR stretches of keys, each begun at a multiple of
 * SF_ALIGN_KEYS, in ascending order: so that a row meets its keys in groups that depend on key numbers alone, whatever
 * rows share its tile. Columns come behind the stretches, less what the bands name already.
 *
 * A reach cuts a row's keys in two at sf_reach_bound(): those before it are seen from position `cap`, and computed by a pass
 * of their own, with queries and keys turned to their places (prefill.cu). */
#ifndef SF_CUDA_BANDS_CUH
#define SF_CUDA_BANDS_CUH

#include <limits.h>

extern "C" {
#include "kernels/pattern.h"
}

#ifdef __CUDACC__
#define SF_BOTH __host__ __device__ static inline
#else
#define SF_BOTH static inline
#endif

enum { SF_ALIGN_KEYS = 128, SF_STRETCHES = 2 * SF_BANDS_A_HEAD };

/* The keys of a row that a pass computes. */
enum sf_cuda_share { SF_SHARE_ALL, SF_SHARE_TRUE, SF_SHARE_TURNED };

SF_BOTH int sf_lesser(int x, int y) { return x < y ? x : y; }
SF_BOTH int sf_larger(int x, int y) { return x > y ? x : y; }

/* Keys before it are seen from the cap by a query at `position`. */
SF_BOTH int sf_reach_bound(sf_reach r, int position)
{
    if (r.chunk == 0 || position <= r.cap) return 0;
    int64_t bound = ((int64_t)position - r.cap + r.chunk - 1) / r.chunk * r.chunk;
    return bound < INT_MAX ? (int)bound : INT_MAX;
}

/* The keys [low, high) that a row at `position` can see at all. */
struct sf_cuda_row {
    int position, low, high;
    bool full; /* it sees all of them */
};

SF_BOTH sf_cuda_row sf_cuda_row_at(int position, int window, sf_reach reach, int share, bool full)
{
    sf_cuda_row r = {position, window ? sf_larger(0, position - window + 1) : 0, position + 1, full};
    if (share == SF_SHARE_TRUE) r.low = sf_larger(r.low, sf_reach_bound(reach, position));
    if (share == SF_SHARE_TURNED) r.high = sf_lesser(r.high, sf_reach_bound(reach, position));
    return r;
}

SF_BOTH bool sf_cuda_in_band(const sf_band &b, int position, int key)
{
    int distance = position - key;
    if (key < b.sinks && distance >= b.apart) return true;
    return distance >= b.near && distance < b.far && (b.step == 1 || distance % b.step == 0);
}

SF_BOTH bool sf_cuda_in_bands(const sf_band *b, int position, int key)
{
    return sf_cuda_in_band(b[0], position, key) || sf_cuda_in_band(b[1], position, key);
}

/* Whether a row sees the key of a slot; column: of one behind the stretches. */
SF_BOTH bool sf_cuda_row_sees(const sf_band *b, const sf_cuda_row &r, int key, bool column)
{
    if (key < r.low || key >= r.high) return false;
    return (r.full || sf_cuda_in_bands(b, r.position, key)) != column;
}

/* The keys that a row sees by bands whose steps are all 1, as three spans: what masks of whole tiles are made from. */
struct sf_cuda_spans {
    int start[SF_BANDS_A_HEAD + 1];
    unsigned length[SF_BANDS_A_HEAD + 1];
};

SF_BOTH sf_cuda_spans sf_cuda_spans_of(const sf_band *b, const sf_cuda_row &r)
{
    sf_cuda_spans s;
    int sunk = r.low;
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) {
        int from = sf_larger(r.low, r.position - b[i].far + 1), to = sf_lesser(r.high, r.position - b[i].near + 1);
        s.start[i] = from, s.length[i] = (unsigned)sf_larger(0, to - from);
        sunk = sf_larger(sunk, sf_lesser(b[i].sinks, r.position - b[i].apart + 1));
    }
    if (r.full) s.start[0] = r.low, s.length[0] = (unsigned)sf_larger(0, r.high - r.low);
    s.start[SF_BANDS_A_HEAD] = r.low, s.length[SF_BANDS_A_HEAD] = (unsigned)sf_larger(0, sf_lesser(sunk, r.high) - r.low);
    return s;
}

SF_BOTH bool sf_cuda_in_spans(const sf_cuda_spans &s, int key)
{
    return (unsigned)(key - s.start[0]) < s.length[0] || (unsigned)(key - s.start[1]) < s.length[1] ||
           (unsigned)(key - s.start[2]) < s.length[2];
}

/* Whether all rows between two see all keys of [begin, end), told by one band. */
SF_BOTH bool sf_cuda_all_see(const sf_band *b, const sf_cuda_row &first, const sf_cuda_row &last, int begin, int end)
{
    if (begin < last.low || end > first.high) return false;
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) {
        if (end <= b[i].sinks && first.position - end + 1 >= b[i].apart) return true;
        if (b[i].step == 1 && first.position - end + 1 >= b[i].near && last.position - begin < b[i].far) return true;
    }
    return false;
}

/* Stretches of keys, each with the number of slots up to its end: slot i of stretch k holds key begin[k] + i less the slots
 * before it. Those behind the last one are empty. */
struct sf_cuda_stretches {
    int begin[SF_STRETCHES], until[SF_STRETCHES];
};

SF_BOTH void sf_add_stretch(sf_cuda_stretches &s, int &n, int begin, int end, const sf_cuda_row &first, const sf_cuda_row &last)
{
    begin = sf_larger(begin, first.low), end = sf_lesser(end, last.high);
    if (begin >= end) return;
    begin = begin / SF_ALIGN_KEYS * SF_ALIGN_KEYS;
    int at = n++;
    for (; at > 0 && s.begin[at - 1] > begin; at--) s.begin[at] = s.begin[at - 1], s.until[at] = s.until[at - 1];
    s.begin[at] = begin, s.until[at] = end;
}

/* What rows between `first` and `last` may see; full: one of them sees all. */
SF_BOTH sf_cuda_stretches sf_cuda_stretches_of(const sf_band *b, const sf_cuda_row &first, const sf_cuda_row &last, bool full)
{
    sf_cuda_stretches s = {};
    int n = 0, kept = 0, slots = 0;
    if (full) sf_add_stretch(s, n, 0, last.position + 1, first, last);
    for (int i = 0; i < SF_BANDS_A_HEAD && !full; i++) {
        sf_add_stretch(s, n, 0, sf_lesser(b[i].sinks, last.position - b[i].apart + 1), first, last);
        if (b[i].far > b[i].near) sf_add_stretch(s, n, first.position - b[i].far + 1, last.position - b[i].near + 1, first, last);
    }
    for (int i = 0; i < n; i++) { /* begin and end, still; those that touch become one */
        bool joins = kept && s.begin[i] <= (s.until[kept - 1] + SF_ALIGN_KEYS - 1) / SF_ALIGN_KEYS * SF_ALIGN_KEYS;
        if (joins) {
            s.until[kept - 1] = sf_larger(s.until[kept - 1], s.until[i]);
        } else {
            s.begin[kept] = s.begin[i], s.until[kept] = s.until[i], kept++;
        }
    }
    for (int i = 0; i < SF_STRETCHES; i++) {
        if (i < kept) slots += (s.until[i] - s.begin[i] + SF_ALIGN_KEYS - 1) / SF_ALIGN_KEYS * SF_ALIGN_KEYS;
        s.until[i] = slots;
        if (i >= kept) s.begin[i] = 0;
    }
    return s;
}

/* The key of slot i, one of the stretches'. */
SF_BOTH int sf_cuda_stretch_key(const sf_cuda_stretches &s, int i)
{
    return i < s.until[0]   ? s.begin[0] + i
           : i < s.until[1] ? s.begin[1] + i - s.until[0]
           : i < s.until[2] ? s.begin[2] + i - s.until[1]
                            : s.begin[3] + i - s.until[2];
}

/* ---- how many ---- */

/* Multiples of `step` in [from, to). */
SF_BOTH int sf_multiples(int step, int from, int to)
{
    from = sf_larger(from, 0);
    return from >= to ? 0 : (to - 1) / step + 1 - (from + step - 1) / step;
}

/* Distances of a stepped band whose keys lie in [low, high) and outside of n intervals of keys. */
SF_BOTH int sf_stepped(int step, int near, int far, int position, int low, int high, const int *begin, const int *end, int n)
{
    near = sf_larger(near, position - high + 1), far = sf_lesser(far, position - low + 1);
    int found = sf_multiples(step, near, far);
    for (int i = 0; i < n; i++) found -= sf_multiples(step, sf_larger(near, position - end[i] + 1), sf_lesser(far, position - begin[i] + 1));
    return found;
}

/* Keys that the row sees by its bands, without walking them: solid bands and sinks as merged intervals, then what a stepped
 * band has beside them. */
SF_BOTH int sf_cuda_band_keys(const sf_band *b, const sf_cuda_row &r)
{
    if (r.low >= r.high) return 0;
    if (r.full) return r.high - r.low;
    int begin[SF_STRETCHES] = {}, end[SF_STRETCHES] = {}, n = 0, kept = 0, found = 0;
    auto add = [&](int from, int to) {
        from = sf_larger(from, r.low), to = sf_lesser(to, r.high);
        if (from >= to) return;
        int at = n++;
        for (; at > 0 && begin[at - 1] > from; at--) begin[at] = begin[at - 1], end[at] = end[at - 1];
        begin[at] = from, end[at] = to;
    };
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) {
        add(0, sf_lesser(b[i].sinks, r.position - b[i].apart + 1));
        if (b[i].far > b[i].near && b[i].step == 1) add(r.position - b[i].far + 1, r.position - b[i].near + 1);
    }
    for (int i = 0; i < n; i++) {
        if (kept && begin[i] <= end[kept - 1]) {
            end[kept - 1] = sf_larger(end[kept - 1], end[i]);
        } else {
            begin[kept] = begin[i], end[kept] = end[i], kept++;
        }
    }
    for (int i = 0; i < kept; i++) found += end[i] - begin[i];
    bool stepped[SF_BANDS_A_HEAD];
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) {
        stepped[i] = b[i].far > b[i].near && b[i].step > 1;
        if (stepped[i]) found += sf_stepped(b[i].step, b[i].near, b[i].far, r.position, r.low, r.high, begin, end, kept);
    }
    if (stepped[0] && stepped[1]) { /* what both have, once */
        int x = b[0].step, y = b[1].step;
        while (y) {
            int rest = x % y;
            x = y, y = rest;
        }
        int64_t both = (int64_t)b[0].step / x * b[1].step;
        if (both > INT_MAX) both = INT_MAX; /* only distance 0 is a multiple of it */
        found -= sf_stepped((int)both, sf_larger(b[0].near, b[1].near), sf_lesser(b[0].far, b[1].far), r.position, r.low, r.high,
                            begin, end, kept);
    }
    return found;
}

/* Rows at positions first … last that see the key and not by its bands: those of a column. A key's rows lie as a row's keys do, when
 * they are counted from the last one back. */
SF_BOTH int sf_cuda_column_rows(const sf_band *b, int window, int first, int last, int key)
{
    sf_band mirrored[SF_BANDS_A_HEAD];
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) mirrored[i] = b[i], mirrored[i].sinks = key < b[i].sinks ? INT_MAX : 0;
    sf_cuda_row r = {last - key, window ? sf_larger(0, last - key - window + 1) : 0, last - sf_larger(key, first) + 1, false};
    return r.low < r.high ? r.high - r.low - sf_cuda_band_keys(mirrored, r) : 0;
}

/* ---- one query: the keys of its bands as four runs, each key in the first that has it ---- */

struct sf_cuda_runs {
    int begin[SF_STRETCHES], step[SF_STRETCHES], until[SF_STRETCHES]; /* until: slots up to the run's end */
};

SF_BOTH sf_cuda_runs sf_cuda_runs_of(const sf_band *b, int position)
{
    sf_cuda_runs r;
    int slots = 0;
    for (int i = 0; i < SF_BANDS_A_HEAD; i++) {
        int far = sf_lesser(b[i].far, position + 1), farthest = far > b[i].near ? (far - 1) / b[i].step * b[i].step : 0;
        r.begin[2 * i] = 0, r.step[2 * i] = 1;
        r.until[2 * i] = slots += sf_larger(0, sf_lesser(b[i].sinks, position - b[i].apart + 1));
        r.begin[2 * i + 1] = position - farthest, r.step[2 * i + 1] = sf_larger(b[i].step, 1);
        r.until[2 * i + 1] = slots += far > b[i].near ? sf_multiples(b[i].step, b[i].near, far) : 0;
    }
    return r;
}

/* The key of slot i, or -1 where an earlier run has it. */
SF_BOTH int sf_cuda_run_key(const sf_cuda_runs &r, const sf_band *b, int position, int i)
{
    int run = i < r.until[0] ? 0 : i < r.until[1] ? 1 : i < r.until[2] ? 2 : 3;
    int key = run == 0   ? i
              : run == 1 ? r.begin[1] + (i - r.until[0]) * r.step[1]
              : run == 2 ? i - r.until[1]
                         : r.begin[3] + (i - r.until[2]) * r.step[3];
    int distance = position - key;
    if (run >= 1 && key < b[0].sinks && distance >= b[0].apart) return -1;
    if (run >= 2 && sf_cuda_in_band(b[0], position, key)) return -1;
    if (run >= 3 && key < b[1].sinks && distance >= b[1].apart) return -1;
    return key;
}

#endif
