/* Tile: the k best of a row of scores, as an ascending list.
 *
 * Scores become integers of the same order, and the k-th largest of those is found by halving their range: each step
 * counts, a vector at a time, how many reach its middle. That is some twenty passes over a row that stays near, each as
 * fast as it can be read, where a histogram would take an element at a time. One pass in index order then takes what is
 * larger, and as many equal ones as there is room for, which are the lowest.
 *
 * Test: build/tests/test_backends. */

/* An integer of the same order; 0 for what is never chosen, NaN and -INFINITY. */
INLINE uint32_t rank(float x)
{
    uint32_t bits;
    x += 0.0f; /* -0 and 0 tie */
    memcpy(&bits, &x, sizeof bits);
    uint32_t ordered = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
    return x > -INFINITY ? ordered : 0;
}

/* How many of n ranks are at least `least`. */
static int64_t count_from(const uint32_t *r, int64_t n, uint32_t least)
{
    int64_t count = 0, i = 0;
#if defined __AVX512F__
    const __m512i wanted = _mm512_set1_epi32((int)least), one = _mm512_set1_epi32(1);
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (; i + 4 * W <= n; i += 4 * W)
        UNROLL for (int u = 0; u < 4; u++) sum[u] = _mm512_mask_add_epi32(
            sum[u], _mm512_cmpge_epu32_mask(_mm512_loadu_si512(r + i + u * W), wanted), sum[u], one);
    count =
        _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_add_epi32(sum[2], sum[3])));
#else
    uvec sum = {0};
    for (; i + W <= n; i += W) {
        uvec v;
        memcpy(&v, r + i, sizeof v);
        sum -= (uvec)(v >= least); /* a true comparison is -1 */
    }
    for (int u = 0; u < W; u++) count += sum[u];
#endif
    for (; i < n; i++) count += r[i] >= least;
    return count;
}

/* The list: all ranks above `least`, and the first `equal` of it. */
static int32_t take(const uint32_t *r, int64_t n, int64_t k, uint32_t least, int64_t equal, int32_t *index)
{
    int64_t count = 0, i = 0;
#if defined __AVX512F__
    const __m512i at_least = _mm512_set1_epi32((int)least);
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; i + W <= n && count < k; i += W, place = _mm512_add_epi32(place, _mm512_set1_epi32(W))) {
        __m512i v = _mm512_loadu_si512(r + i);
        uint32_t chosen = _mm512_cmpgt_epu32_mask(v, at_least), ties = _mm512_cmpeq_epu32_mask(v, at_least);
        for (; ties && equal > 0; ties &= ties - 1, equal--) chosen |= ties & -ties;
        _mm512_mask_compressstoreu_epi32(index + count, (__mmask16)chosen, place);
        count += __builtin_popcount(chosen);
    }
#endif
    for (; i < n && count < k; i++) { /* written first, then counted or not: no jump to foresee wrongly */
        bool tie = r[i] == least && equal > 0;
        index[count] = (int32_t)i;
        count += (r[i] > least) | tie;
        equal -= tie;
    }
    return (int32_t)count;
}

static int32_t best(const float *x, int64_t n, int64_t k, uint32_t *room, int32_t *index)
{
    uint32_t most = 0, least = UINT32_MAX; /* of the choosable ones, less 1: 0 comes out last */
    int64_t choosable = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t r = rank(x[i]);
        room[i] = r;
        most = r > most ? r : most;
        least = r - 1 < least ? r - 1 : least;
        choosable += r != 0;
    }
    if (k >= choosable) return take(room, n, choosable, 0, 0, index);
    if (k <= 0) return 0;
    int64_t low = (int64_t)least + 1, high = (int64_t)most + 1,
            above = 0; /* at least k reach low; `above` reach high */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2, reach = count_from(room, n, (uint32_t)middle);
        if (reach == k) return take(room, n, k, (uint32_t)middle - 1, 0, index);
        if (reach > k)
            low = middle;
        else
            high = middle, above = reach;
    }
    return take(room, n, k, (uint32_t)low, k - above, index);
}
