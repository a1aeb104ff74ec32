/* Prefill attention, portable (sm_80 and later): every pattern through one kernel; and the choice of the Hopper kernel.
 *
 *     out[t, h] = Σ_j softmax_j(scale · q[t, h]·k[g, j]) v[g, j]        over the keys j that the pattern names for row
 * t
 *
 * A block of 4 warps owns a tile of 64 rows (queries x the heads that share their selection) and walks the tile's key
 * slots (pattern.cuh) 64 at a time, 32 for head dims above 128: gathered into shared memory with cp.async while the
 * tile before is computed, scores and output on mma.sync m16n8k16 with an online softmax, P kept in registers.
 *
 *     padded head dim               64        128       256       spills: 116 bytes at 256
 *     registers                     144       204       255
 *     shared memory, KB             47        88        101
 *     blocks a multiprocessor       3         2         2         (2, 1, 1 where it has 100 KB, as sm_86 and sm_89 do)
 *
 * What limits it: every tile's scores, softmax and output follow one another in a warp, and only the blocks beside it fill
 * the gaps. It is what chips without wgmma run, head dims other than 64, 128 and 256, and at 256 lists that 64 rows or fewer
 * share, which want a tile of their own there; next, were it to matter elsewhere, P·V of a tile under the scores of the next
 * one, and 8 warps on 128 rows that share the keys.
 *
 * Scores may have a bias (of summaries), and a pass may join what others left.
 *
 * Test: make test-cuda. */
#include "kernels/cuda/entmax.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/pattern.cuh"

enum { ROWS = 64, THREADS = 128 };

template <int DIM> struct layout {
    static const int KEYS = DIM > 128 ? 32 : 64, PITCH = DIM + 8, CHUNKS = DIM / 8;
    bf16 q[ROWS][PITCH], k[2][KEYS][PITCH], v[2][KEYS][PITCH];
    int key[3][KEYS];
};

struct operands {
    const bf16 *q, *k, *v;
    sf_cuda_finish finish;
    int64_t capacity;
    const int32_t *count; /* [G] keys in use, or NULL */
    float scale, cap;     /* times log2 e */
    sf_cuda_report *report;
};

template <int DIM>
__device__ static inline void load_keys(layout<DIM> &s, int stage, const int *key, const bf16 *k, const bf16 *v, int D)
{
    for (int i = threadIdx.x; i < layout<DIM>::KEYS * layout<DIM>::CHUNKS; i += THREADS) {
        int row = i / layout<DIM>::CHUNKS, chunk = i % layout<DIM>::CHUNKS, at = key[row];
        int64_t from = (int64_t)max(at, 0) * D;
        copy_chunk(&s.k[stage][row][chunk * 8], k + from, chunk, D, at >= 0);
        copy_chunk(&s.v[stage][row][chunk * 8], v + from, chunk, D, at >= 0);
    }
}

template <int DIM>
__global__ void __launch_bounds__(THREADS)
    prefill_mma(const __grid_constant__ sf_cuda_plan p, const __grid_constant__ operands o)
{
    extern __shared__ __align__(128) unsigned char shared[];
    layout<DIM> &s = *(layout<DIM> *)shared;
    const int KEYS = layout<DIM>::KEYS, PITCH = layout<DIM>::PITCH, CHUNKS = layout<DIM>::CHUNKS, TILES = KEYS / 8;
    sf_cuda_tile t = sf_cuda_tile_of(p, p.tiles - 1 - blockIdx.x, blockIdx.y); /* the longest rows first */
    if (t.queries == 0) return;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = t.head / p.group, used = o.count ? o.count[g] : p.N;
    const bf16 *k = o.k + g * o.capacity * p.D, *v = o.v + g * o.capacity * p.D;

    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        int row = i / CHUNKS, query = (t.query + row / p.packed) * p.every, head = t.head + row % p.packed;
        bool valid = row < t.queries * p.packed;
        copy_chunk(&s.q[row][i % CHUNKS * 8], valid ? o.q + ((int64_t)query * p.H + head) * p.D : o.q, i % CHUNKS, p.D,
                   valid);
    }
    int rounds = (t.slots + KEYS - 1) / KEYS;
    auto name_keys = [&](int round) {
        if (threadIdx.x >= KEYS || round >= rounds) return;
        int key = sf_cuda_key(p, t, round * KEYS + threadIdx.x);
        s.key[round % 3][threadIdx.x] = key < used ? key : -1;
    };
    name_keys(0);
    name_keys(1);
    __syncthreads();
    if (rounds) load_keys<DIM>(s, 0, s.key[0], k, v, p.D);
    copy_commit();

    /* This thread's rows: low = warp * 16 + lane / 4, and 8 below it. */
    int row[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
    sf_cuda_row sight[2];
    const float *bias[2];
    for (int r = 0; r < 2; r++) {
        int at = row[r] / p.packed, head = t.head + row[r] % p.packed;
        bool full = p.kind == SF_BANDS && at < t.queries && sf_cuda_full(p, t.selection, t.query + at);
        sight[r] = sf_cuda_row_of(p, t.position + at * p.every, full);
        bias[r] = p.bias + (int64_t)(p.bias_rows == p.H ? head : g) * p.N;
    }
    float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, out[DIM / 8][4] = {};

    for (int round = 0; round < rounds; round++) {
        name_keys(round + 2);
        if (round + 1 < rounds) load_keys<DIM>(s, (round + 1) % 2, s.key[(round + 1) % 3], k, v, p.D);
        copy_commit();
        copy_wait<1>();
        __syncthreads();

        float score[TILES][4];
        warp_scores<DIM, TILES>(score, s.q[warp * 16], s.k[round % 2][0], PITCH);
        scale_and_cap(score, o.scale, o.cap);
        const int *key = s.key[round % 3];
        float higher[2] = {most[0], most[1]};
#pragma unroll
        for (int n = 0; n < TILES; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int at = key[n * 8 + lane % 4 * 2 + i % 2];
                bool seen = sf_cuda_sees_any(p, t, sight[i / 2], at, round * KEYS >= t.split);
                if (!seen) score[n][i] = -INFINITY;
                if (p.bias && seen) score[n][i] += bias[i / 2][at] * (float)M_LOG2E;
                higher[i / 2] = fmaxf(higher[i / 2], score[n][i]);
            }
        }
        float fade[2], offset[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            higher[r] = fmaxf(higher[r], __shfl_xor_sync(~0u, higher[r], 1));
            higher[r] = fmaxf(higher[r], __shfl_xor_sync(~0u, higher[r], 2));
            offset[r] = higher[r] == -INFINITY ? 0 : higher[r];
            fade[r] = exp2f(most[r] - offset[r]);
            most[r] = higher[r];
            sum[r] *= fade[r];
        }
#pragma unroll
        for (int n = 0; n < TILES; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                score[n][i] = exp2f(score[n][i] - offset[i / 2]);
                sum[i / 2] += score[n][i];
            }
        }
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
#pragma unroll
            for (int i = 0; i < 4; i++) out[d][i] *= fade[i / 2];
        }
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t a[4] = {pack(score[n][0], score[n][1]), pack(score[n][2], score[n][3]),
                             pack(score[n + 1][0], score[n + 1][1]), pack(score[n + 1][2], score[n + 1][3])};
#pragma unroll
            for (int d = 0; d < DIM; d += 16) {
                uint32_t b[4];
                ldmatrix_transposed(b, &s.v[round % 2][n * 8 + lane % 16][d + lane / 16 * 8]);
                mma(out[d / 8], a, b[0], b[1]);
                mma(out[d / 8 + 1], a, b[2], b[3]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(~0u, sum[r], 1);
        sum[r] += __shfl_xor_sync(~0u, sum[r], 2);
        if (row[r] >= t.queries * p.packed) continue;
        int query = (t.query + row[r] / p.packed) * p.every, head = t.head + row[r] % p.packed;
        float lse = sum[r] > 0 ? (most[r] + log2f(sum[r])) * (float)M_LN2 : -INFINITY;
        sf_cuda_weights w = sf_cuda_weigh(o.finish, p, query, head, lse, lane % 4 == 0, o.report);
        float share = sum[r] > 0 ? w.found / sum[r] : 0;
        bf16 *to = o.finish.out + ((int64_t)query * p.H + head) * p.D;
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                int at = d * 8 + lane % 4 * 2 + e;
                if (at >= p.D) continue;
                float x = out[d][r * 2 + e] * share;
                if (w.there > 0) x += w.there * __bfloat162float(to[at]);
                to[at] = __float2bfloat16(x);
            }
        }
    }
}

template <int DIM>
static sf_status run(sf_backend *b, const sf_attention *a, const sf_cuda_plan *plan, const sf_kv_part *kv, const sf_cuda_finish *to)
{
    sf_cuda *c = sf_cuda_of(b);
    size_t bytes = sizeof(layout<DIM>);
    SF_TRY(sf_cuda_allow_shared((const void *)prefill_mma<DIM>, bytes));
    operands o = {(const bf16 *)a->q, (const bf16 *)kv->k, (const bf16 *)kv->v,         *to,
                  kv->capacity,       kv->count,           a->scale * (float)M_LOG2E, a->softcap * (float)M_LOG2E, c->report};
    prefill_mma<DIM><<<dim3(plan->tiles, plan->lists), THREADS, bytes, c->stream>>>(*plan, o);
    LAUNCH_TRY(prefill_mma);
    c->pending = true;
    return SF_OK;
}

/* ---- passes -------------------------------------------------------------------------------------------------------------
 * One softmax is one pass for each of its parts: of their pairs at true distances, of those at other distances, with queries
 * turned to the cap and keys to their places in their chunks, and of their summaries. Each pass joins what those before it
 * left, by the rows' log-sum-exps, as it writes its own; so joining costs reading a result. Gated parts are results of their
 * own, then added. */

/* to[row, h] = from[row, h] turned by so many positions: `cap` less the row's own, or back to the beginning of its chunk. */
__global__ void turn_rows(const bf16 *from, bf16 *to, int64_t rows, int heads, int64_t row_stride, int64_t head_stride, int D,
                          const float *frequency, bool interleaved, int origin, sf_reach reach, bool queries)
{
    int half = D / 2, apart = interleaved ? 1 : half;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < rows * half; i += (int64_t)gridDim.x * blockDim.x) {
        int row = (int)(i / half), d = (int)(i % half), at = interleaved ? 2 * d : d;
        double by = queries ? (double)reach.cap - origin - row : -(double)(row / reach.chunk * reach.chunk);
        float s, c;
        sincosf((float)remainder(by * frequency[d], 2 * M_PI), &s, &c);
        for (int h = 0; h < heads; h++) {
            int64_t x = row * row_stride + h * head_stride + at;
            float u = __bfloat162float(from[x]), v = __bfloat162float(from[x + apart]);
            to[x] = __float2bfloat16(u * c - v * s), to[x + apart] = __float2bfloat16(u * s + v * c);
        }
    }
}

/* The attention of the pairs at other distances. What it holds is scratch. */
static sf_status turn(sf_backend *b, const sf_attention *a, sf_reach reach, sf_attention *out)
{
    cudaStream_t stream = sf_cuda_of(b)->stream;
    int64_t width = (int64_t)a->heads * a->head_dim, half = a->head_dim / 2, capacity = a->kv.prompt.capacity, D = a->head_dim;
    int keys = sf_lesser(sf_reach_bound(reach, a->keys - 1), a->keys);
    bf16 *q, *k;
    *out = *a;
    SF_TRY(sf_scratch_alloc(b, a->queries * width * sizeof(bf16), (void **)&q));
    turn_rows<<<(unsigned)ceil_div<int64_t>(a->queries * half, 256), 256, 0, stream>>>(
        (const bf16 *)a->q, q, a->queries, a->heads, width, D, (int)D, a->frequency, a->interleaved, a->keys - a->queries, reach, true);
    LAUNCH_TRY(turn_rows);
    out->q = q;
    if (reach.chunk >= a->keys) return SF_OK; /* one chunk: keys are in their places */
    SF_TRY(sf_scratch_alloc(b, (a->kv_heads * capacity + 8) * D * sizeof(bf16), (void **)&k));
    turn_rows<<<(unsigned)ceil_div<int64_t>(keys * half, 256), 256, 0, stream>>>(
        (const bf16 *)a->kv.prompt.k, k, keys, a->kv_heads, D, capacity * D, (int)D, a->frequency, a->interleaved, 0, reach, false);
    LAUNCH_TRY(turn_rows);
    out->kv.prompt.k = k;
    return SF_OK;
}

/* out += gate * own, or = where it is the first; own NULL: the constant [G, 1, D]. */
__global__ void add_gated(bf16 *out, const bf16 *own, const bf16 *constant, const float *gate, int64_t gate_stride, int64_t rows, int H,
                          int group, int D, int every, bool first)
{
    int64_t width = (int64_t)H * D;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < rows * width; i += (int64_t)gridDim.x * blockDim.x) {
        int64_t row = i / width, at = i % width, h = at / D;
        float x = __bfloat162float(own ? own[row / every * every * width + at] : constant[h / group * D + at % D]);
        if (gate) x *= gate[row * gate_stride + h];
        out[i] = __float2bfloat16(first ? x : x + __bfloat162float(out[i]));
    }
}

/* One softmax: the log-sum-exps of its passes take turns in two rooms. */
struct softmax {
    bf16 *out;
    float *lse, *room[2]; /* the caller's, or NULL */
    int done, passes;
    bool complains;
};

static sf_cuda_finish next_pass(softmax *s)
{
    int i = s->done++;
    bool last = s->done == s->passes;
    return {s->out, i ? s->room[(i + 1) % 2] : NULL, last ? s->lse : s->room[i % 2], last && s->complains};
}

static bool turns(const sf_attention *a, const sf_pattern *p) { return sf_reach_bound(p->reach, a->keys - 1) > 0; }
static int passes_of(const sf_attention *a, const sf_pattern *p) { return 1 + turns(a, p) + (p->sum.k.data != NULL); }

static sf_status take_pairs(sf_backend *b, const sf_attention *a, const sf_pattern *p, sf_cuda_share share, softmax *s)
{
    sf_cuda_finish to = next_pass(s);
    if (sf_hopper_takes(b, a, p, share)) return sf_hopper_prefill(b, a, p, share, &to);
    sf_cuda_plan plan;
    SF_TRY(sf_cuda_plan_make(b, a, p, share, ROWS, 0, &plan, NULL));
    if (share != SF_SHARE_TURNED) SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    return BY_HEAD_DIM(a->head_dim, run, b, a, &plan, &a->kv.prompt, &to);
}

static sf_status take_part(sf_backend *b, const sf_attention *a, const sf_pattern *p, softmax *s)
{
    SF_TRY(take_pairs(b, a, p, turns(a, p) ? SF_SHARE_TRUE : SF_SHARE_ALL, s));
    if (turns(a, p)) {
        sf_attention turned;
        SF_TRY(turn(b, a, p->reach, &turned));
        SF_TRY(take_pairs(b, &turned, p, SF_SHARE_TURNED, s));
    }
    if (!p->sum.k.data) return SF_OK;
    int64_t m = p->sum.k.dim[1];
    sf_kv_part summaries = {};
    summaries.k = p->sum.k.data, summaries.v = p->sum.v.data, summaries.capacity = m, summaries.n = (int)m;
    sf_cuda_plan plan = sf_cuda_plan_summaries(a, p, ROWS);
    sf_cuda_finish to = next_pass(s);
    SF_TRY(sf_cuda_tally_pairs(b, a, &plan));
    return BY_HEAD_DIM(a->head_dim, run, b, a, &plan, &summaries, &to);
}

/* A pattern that is not gated. */
static sf_status take_softmax(sf_backend *b, const sf_attention *a, const sf_pattern *p, bool complains, bf16 *out)
{
    softmax s = {};
    s.out = out, s.lse = a->lse, s.complains = complains;
    const sf_pattern *part = p->kind == SF_PARTS ? p->part : p;
    int parts = p->kind == SF_PARTS ? p->parts : 1;
    for (int k = 0; k < parts; k++) s.passes += passes_of(a, part + k);
    for (int i = 0; i < 2 && s.passes > 1; i++)
        SF_TRY(sf_scratch_alloc(b, (size_t)a->queries * a->heads * sizeof(float), (void **)&s.room[i]));
    for (int k = 0; k < parts; k++) SF_TRY(take_part(b, a, part + k, &s));
    return SF_OK;
}

static sf_status take_gated(sf_backend *b, const sf_attention *a, const sf_pattern *p, bf16 *out)
{
    int64_t n = (int64_t)a->queries * a->heads * a->head_dim;
    unsigned blocks = (unsigned)(ceil_div<int64_t>(n, 256) < 65536 ? ceil_div<int64_t>(n, 256) : 65536);
    sf_attention quiet = *a;
    quiet.lse = NULL;
    bf16 *own;
    SF_TRY(sf_scratch_alloc(b, n * sizeof *own, (void **)&own));
    for (int k = 0; k < p->parts; k++) {
        const sf_pattern *part = p->part + k;
        bool constant = part->kind == SF_CONSTANT;
        if (!constant) SF_TRY(take_softmax(b, &quiet, part, false, own));
        add_gated<<<blocks, 256, 0, sf_cuda_of(b)->stream>>>(out, constant ? NULL : own, (const bf16 *)part->sum.v.data,
                                                            (const float *)part->gate.data, part->gate.dim[0] > 1 ? a->heads : 0,
                                                            a->queries, a->heads, a->heads / a->kv_heads, a->head_dim,
                                                            part->repeat > 1 ? part->repeat : 1, k == 0);
        LAUNCH_TRY(add_gated);
    }
    return SF_OK;
}

sf_status sf_cuda_prefill(sf_backend *b, const sf_attention *a, const sf_pattern *pattern, void *out)
{
    SF_TRY(sf_cache_refuse(&a->kv.prompt, "prefill"));
    if (a->queries == 0) return SF_OK;
    if (a->kv.tail.n)
        return sf_fail(SF_INTERNAL, "prefill: the cache has a tail of %d keys; it must be empty", a->kv.tail.n);
    if (a->alpha != 0) return sf_cuda_entmax_prefill(b, a, pattern, (bf16 *)out);
    sf_mark mark = sf_scratch_mark(b);
    sf_status status = pattern->kind == SF_PARTS && pattern->gated ? take_gated(b, a, pattern, (bf16 *)out)
                                                                   : take_softmax(b, a, pattern, !pattern->empty, (bf16 *)out);
    sf_scratch_release(b, mark);
    return status;
}
