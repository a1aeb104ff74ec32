#include "tasks/sequence.h"

#include <stdbool.h>
#include <stdlib.h>

#include "tasks/unicode.h"

/* Where a character stands in b. */
typedef struct place {
    int character, at;
} place;

typedef struct matcher {
    int *a, *b, a_size, b_size;
    place *places;     /* [b_size] by character, then by place */
    int *first;        /* [a_size] the first place of a's character that may begin a block; −1: none */
    int *length[2];    /* [b_size + 1] of blocks that end at the last two characters of a and at j − 1 of b */
} matcher;

static int *code_points(sf_span text, int *n)
{
    int *out = malloc((text.bytes + 1) * sizeof *out), length;
    *n = 0;
    for (const char *at = text.at, *end = sf_span_end(text); out && at < end; at += length) out[(*n)++] = sf_code_point(at, end, &length);
    return out;
}

static int by_character(const void *x, const void *y)
{
    const place *a = x, *b = y;
    return a->character != b->character ? (a->character > b->character) - (a->character < b->character) : a->at - b->at;
}

/* Places of a character in b, unless it is too common; −1: none. */
static int first_place(const matcher *m, int character)
{
    int low = 0, high = m->b_size;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (m->places[middle].character < character) low = middle + 1;
        else high = middle;
    }
    const int most = m->b_size >= 200 ? m->b_size / 100 + 1 : m->b_size;
    if (low == m->b_size || m->places[low].character != character) return -1;
    return low + most < m->b_size && m->places[low + most].character == character ? -1 : low;
}

typedef struct block {
    int a, b, size;
} block;

/* The longest block within a[a0, a1) and b[b0, b1), the first of these in a and then in b; grown by common characters. */
static block longest_block(const matcher *m, int a0, int a1, int b0, int b1)
{
    block best = {a0, b0, 0};
    int *before = m->length[0], *now = m->length[1];
    for (int i = a0; i < a1; i++) {
        for (int p = m->first[i]; p >= 0 && p < m->b_size && m->places[p].character == m->a[i] && m->places[p].at < b1; p++) {
            const int j = m->places[p].at;
            if (j < b0) continue;
            const int size = now[j + 1] = before[j] + 1;
            if (size > best.size) best = (block){i - size + 1, j - size + 1, size};
        }
        for (int p = i > a0 ? m->first[i - 1] : -1; p >= 0 && p < m->b_size && m->places[p].character == m->a[i - 1]; p++)
            before[m->places[p].at + 1] = 0;
        int *swap = before;
        before = now, now = swap;
    }
    for (int p = a1 > a0 ? m->first[a1 - 1] : -1; p >= 0 && p < m->b_size && m->places[p].character == m->a[a1 - 1]; p++)
        before[m->places[p].at + 1] = 0;
    while (best.a > a0 && best.b > b0 && m->a[best.a - 1] == m->b[best.b - 1]) best.a--, best.b--, best.size++;
    while (best.a + best.size < a1 && best.b + best.size < b1 && m->a[best.a + best.size] == m->b[best.b + best.size]) best.size++;
    return best;
}

/* Characters in the blocks of all ranges, each split by its longest; −1: no memory. */
static int matches(const matcher *m)
{
    struct range { int a0, a1, b0, b1; } *stack = malloc(((size_t)m->a_size + 2) * sizeof *stack);
    int n = 0, total = 0;
    if (!stack) return -1;
    if (m->a_size && m->b_size) stack[n++] = (struct range){0, m->a_size, 0, m->b_size};
    while (n) { /* ranges are apart in a and not empty, so that there are never more than a_size */
        const struct range r = stack[--n];
        const block k = longest_block(m, r.a0, r.a1, r.b0, r.b1);
        total += k.size;
        if (!k.size) continue;
        if (r.a0 < k.a && r.b0 < k.b) stack[n++] = (struct range){r.a0, k.a, r.b0, k.b};
        if (k.a + k.size < r.a1 && k.b + k.size < r.b1) stack[n++] = (struct range){k.a + k.size, r.a1, k.b + k.size, r.b1};
    }
    free(stack);
    return total;
}

double sf_sequence_ratio(sf_span a, sf_span b)
{
    matcher m = {0};
    double ratio = -1;
    m.a = code_points(a, &m.a_size);
    m.b = code_points(b, &m.b_size);
    m.places = malloc(((size_t)m.b_size + 1) * sizeof *m.places);
    m.first = malloc(((size_t)m.a_size + 1) * sizeof *m.first);
    for (int i = 0; i < 2; i++) m.length[i] = calloc((size_t)m.b_size + 1, sizeof *m.length[i]);
    if (m.a && m.b && m.places && m.first && m.length[0] && m.length[1]) {
        for (int j = 0; j < m.b_size; j++) m.places[j] = (place){m.b[j], j};
        qsort(m.places, (size_t)m.b_size, sizeof *m.places, by_character);
        for (int i = 0; i < m.a_size; i++) m.first[i] = first_place(&m, m.a[i]);
        const int found = matches(&m);
        const int all = m.a_size + m.b_size;
        ratio = found < 0 ? -1 : all ? 2.0 * found / all : 1;
    }
    free(m.a);
    free(m.b);
    free(m.places);
    free(m.first);
    free(m.length[0]);
    free(m.length[1]);
    return ratio;
}
