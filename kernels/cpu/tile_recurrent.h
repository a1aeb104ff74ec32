/* Tiles: some columns of the state of a gated delta rule, or of a state space, over the rows of a lane. Columns do not see each other, so that these stay in
 * the first cache while all rows go by, which no longer needs to be cut into chunks: per row and column 4 products and sums for each
 * number of the state, of which none leaves that cache. */

INLINE void to_length_one(const float *x, int dim, float scale, float *out)
{
    vec squares[WIDE];
    for (int u = 0; u < WIDE; u++) squares[u] = all(0);
    int i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (int u = 0; u < WIDE; u++) squares[u] += load(x + i + u * W) * load(x + i + u * W);
    float sum = sum16(squares);
    for (; i < dim; i++) sum += x[i] * x[i];
    const float root = scale / sqrtf(sum + 1e-6f);
    for (i = 0; i < dim; i++) out[i] = x[i] * root;
}

/* Sums over even and odd key dimensions apart: two chains hide the latency of a sum. */
static void delta_rows(const sf_delta_rows *d)
{
    enum { VECS = SF_STATE_COLUMNS / W };
    float *q = d->room, *k = q + d->dim, wide[SF_STATE_COLUMNS] = {0};
    const float scale = 1 / sqrtf((float)d->dim);
    for (int64_t r = 0; r < d->rows; r++) {
        const float decay = d->decay[r * d->gate_stride], beta = d->beta[r * d->gate_stride];
        vec sum[2][VECS], delta[VECS];
        to_length_one(d->q + r * d->stride, d->dim, scale, q);
        to_length_one(d->k + r * d->stride, d->dim, 1, k);
        memcpy(wide, d->v + r * d->stride, (size_t)d->columns * sizeof *wide);
        for (int u = 0; u < VECS; u++) sum[0][u] = sum[1][u] = all(0);
        for (int i = 0; i < d->dim; i++) {
            float *s = d->state + (int64_t)i * SF_STATE_COLUMNS;
            UNROLL for (int u = 0; u < VECS; u++) {
                vec kept = load(s + u * W) * decay;
                store(s + u * W, kept);
                sum[i & 1][u] += kept * k[i];
            }
        }
        for (int u = 0; u < VECS; u++) delta[u] = (load(wide + u * W) - (sum[0][u] + sum[1][u])) * beta;
        for (int u = 0; u < VECS; u++) sum[0][u] = sum[1][u] = all(0);
        for (int i = 0; i < d->dim; i++) {
            float *s = d->state + (int64_t)i * SF_STATE_COLUMNS;
            UNROLL for (int u = 0; u < VECS; u++) {
                vec now = load(s + u * W) + delta[u] * k[i];
                store(s + u * W, now);
                sum[i & 1][u] += now * q[i];
            }
        }
        for (int u = 0; u < VECS; u++) store(wide + u * W, sum[0][u] + sum[1][u]);
        memcpy(d->out + r * d->out_stride, wide, (size_t)d->columns * sizeof *wide);
    }
}

/* Sums as above; a state space asks once a row, of the state that the row has written. */
static void space_rows(const sf_space_rows *d)
{
    enum { VECS = SF_STATE_COLUMNS / W };
    float wide[SF_STATE_COLUMNS] = {0};
    for (int64_t r = 0; r < d->rows; r++) {
        const float decay = d->decay[r * d->gate_stride], step = d->step[r * d->gate_stride];
        const float *B = d->B + r * d->stride, *C = d->C + r * d->stride;
        vec sum[2][VECS], v[VECS], given[VECS];
        memcpy(wide, d->v + r * d->stride, (size_t)d->columns * sizeof *wide);
        for (int u = 0; u < VECS; u++) v[u] = load(wide + u * W), given[u] = v[u] * step, sum[0][u] = v[u] * d->skip, sum[1][u] = all(0);
        for (int i = 0; i < d->dim; i++) {
            float *s = d->state + (int64_t)i * SF_STATE_COLUMNS;
            UNROLL for (int u = 0; u < VECS; u++) {
                vec now = load(s + u * W) * decay + given[u] * B[i];
                store(s + u * W, now);
                sum[i & 1][u] += now * C[i];
            }
        }
        for (int u = 0; u < VECS; u++) store(wide + u * W, sum[0][u] + sum[1][u]);
        memcpy(d->out + r * d->out_stride, wide, (size_t)d->columns * sizeof *wide);
    }
}
