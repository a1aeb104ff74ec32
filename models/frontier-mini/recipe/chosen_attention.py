"""Causal softmax attention over the keys that a kind reads, and its gradient, without anything of size tokens x tokens but bits.

    attend(q, k, v, ...)    what a query reads: a band of distances, chosen blocks or keys as packed bits, the latest keys beside them; a number of each
                            key that is added to its logits beyond the latest ones, or learns as SPARSEK's scores do
    best(score, count)      the bits: of each row the `count` best, of equal ones the first; and the operator's tau

    python3 chosen_attention.py    holds the kernels against plain PyTorch; without a GPU with TRITON_INTERPRET=1, slowly

Triton kernels as in flash attention, which keep the logarithm of each row's sum: forward; backward of queries; backward of keys. Bits save no
work: among the queries of a tile there is nearly always one that reads a key of another tile. Elsewhere than on a GPU kinds attend by masks in
plain PyTorch (runs()). Nothing here waits for the device, so that a step can be one CUDA graph.

Bits are int32 [rows, C, tokens, words], C dividing the query heads (1: one choice for all; kv heads; query heads): bit b % 32 of word b / 32 is block b of
BLOCK keys.
"""
import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # plain PyTorch remains
    triton = None

ROWS, KEYS, NARROW = 64, 64, 32  # of a tile; NARROW: of one where more is to be kept in registers
WARPS = 4
ENDLESS = 1 << 30    # a distance that no key has
ADDED, RIM = 1, 2    # what a key's number does
LOG2E = 1.4426950408889634
TAU_STEPS = 12       # of bisection in an interval of 1: tau says which scores learn, not what is computed


def runs(t):
    """Whether the kernels compute for this tensor."""
    return t.is_cuda and triton is not None


def words(keys, block):
    """Words of a query's bits; whole tiles, where a bit is a key."""
    return -(-keys // KEYS) * KEYS // 32 if block == 1 else -(-(-(-keys // block)) // 32)


if triton:
    @triton.jit
    def read_of(BITS, at, rows, T, n, lane, N: tl.constexpr, BLOCK: tl.constexpr, TURNED: tl.constexpr):
        """Which keys of n + lane [N] each row reads by its bits: [M, N], TURNED: [N, M]."""
        if BLOCK == 1:
            word = tl.load(BITS + at + n // 32, mask=rows < T, other=0)
            if N == 64:
                high = tl.load(BITS + at + n // 32 + 1, mask=rows < T, other=0)
                if TURNED:
                    bits = tl.where((lane < 32)[:, None], word[None, :], high[None, :]) >> (lane % 32)[:, None]
                else:
                    bits = tl.where((lane < 32)[None, :], word[:, None], high[:, None]) >> (lane % 32)[None, :]
            else:
                if TURNED:
                    bits = word[None, :] >> lane[:, None]
                else:
                    bits = word[:, None] >> lane[None, :]
        else:
            word = tl.load(BITS + at + n // BLOCK // 32, mask=rows < T, other=0) >> (n // BLOCK % 32)
            if TURNED:
                bits = word[None, :] >> (lane // BLOCK)[:, None]
            else:
                bits = word[:, None] >> (lane // BLOCK)[None, :]
        return (bits & 1) != 0

    @triton.jit
    def masked_logits(s, BITS, at, rows, n, T, S, near, end, window, term, N: tl.constexpr, BLOCK: tl.constexpr, BAND: tl.constexpr,
                      WINDOW: tl.constexpr, TERM: tl.constexpr, STRETCH: tl.constexpr, FULL: tl.constexpr, TURNED: tl.constexpr):
        """Logits of a tile [M, N] (TURNED: [N, M]) as they are read, -inf where a row does not read a key; and which keys a number belongs to. FULL: all keys
        of the tile are far enough, none too far, and all beyond the window."""
        lane = tl.arange(0, N)
        if TURNED:
            far = rows[None, :] - ((n + lane + 1) * STRETCH - 1)[:, None]
            added = term[:, None]
        else:
            far = rows[:, None] - ((n + lane + 1) * STRETCH - 1)[None, :]
            added = term[None, :]
        counts = far >= window
        if FULL:
            if TERM == 1:
                s += added
            if BLOCK > 0:
                counts = read_of(BITS, at, rows, T, n, lane, N, BLOCK, TURNED)
                s = tl.where(counts, s, float("-inf"))
        else:
            read = far >= near
            if TURNED:
                read = read & (n + lane < S)[:, None]
            else:
                read = read & (n + lane < S)[None, :]
            if BAND:
                read = read & (far < end)
            if BLOCK > 0:
                bits = read_of(BITS, at, rows, T, n, lane, N, BLOCK, TURNED)
                if WINDOW:
                    bits = bits | (far < window)
                read = read & bits
            if TERM == 1:
                s += tl.where(counts, added, 0.0)
            s = tl.where(read, s, float("-inf"))
            counts = counts & read
        return s, counts

    @triton.jit
    def forward_over(most, total, out, q, k_at, v_at, term_at, BITS, at, rows, low, high, T, S, scale, near, end, window, D: tl.constexpr, N: tl.constexpr,
                     BLOCK: tl.constexpr, BAND: tl.constexpr, WINDOW: tl.constexpr, TERM: tl.constexpr, STRETCH: tl.constexpr, FULL: tl.constexpr):
        d = tl.arange(0, D)
        for n in range(low, high, N):
            keys = n + tl.arange(0, N)
            k = tl.load(k_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
            v = tl.load(v_at + keys[:, None] * D + d[None, :], mask=keys[:, None] < S, other=0.0)
            term = tl.zeros([N], tl.float32)
            if TERM == 1:
                term = tl.load(term_at + keys, mask=keys < S, other=0.0) * 1.4426950408889634
            s, _ = masked_logits(tl.dot(q, k) * scale, BITS, at, rows, n, T, S, near, end, window, term, N, BLOCK, BAND, WINDOW, TERM, STRETCH, FULL, False)
            now = tl.maximum(most, tl.max(s, 1))
            base = tl.where(now == float("-inf"), 0.0, now)
            p = tl.exp2(s - base[:, None])
            shrink = tl.exp2(most - base)
            total = total * shrink + tl.sum(p, 1)
            out = tl.dot(p.to(v.dtype), v, out * shrink[:, None])
            most = now
        return most, total, out

    @triton.jit
    def queries_over(dq, rim, count, q, g, lse, delta, tau, k_at, v_at, term_at, BITS, at, rows, low, high, T, S, scale, near, end, window,
                     D: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, BAND: tl.constexpr, WINDOW: tl.constexpr, TERM: tl.constexpr,
                     STRETCH: tl.constexpr, FULL: tl.constexpr):
        d = tl.arange(0, D)
        for n in range(low, high, N):
            keys = n + tl.arange(0, N)
            k = tl.load(k_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
            v = tl.load(v_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
            term = tl.zeros([N], tl.float32)
            if TERM == 1:
                term = tl.load(term_at + keys, mask=keys < S, other=0.0) * 1.4426950408889634
            if TERM == 2:
                term = tl.load(term_at + keys, mask=keys < S, other=0.0)
            s, counts = masked_logits(tl.dot(q, k) * scale, BITS, at, rows, n, T, S, near, end, window, term, N, BLOCK, BAND, WINDOW, TERM, STRETCH, FULL,
                                      False)
            ds = tl.exp2(s - lse[:, None]) * (tl.dot(g, v) - delta[:, None])
            dq = tl.dot(ds.to(k.dtype), tl.trans(k), dq)
            if TERM == 2:
                counts = counts & (term[None, :] < tau[:, None] + 1)
                rim += tl.sum(tl.where(counts, ds, 0.0), 1)
                count += tl.sum(tl.where(counts, 1.0, 0.0), 1)
        return dq, rim, count

    @triton.jit
    def keys_over(dk, dv, dterm, k, v, term, Q, GRADIENT, LSE, DELTA, MEAN, TAU, BITS, bits_at, row_at, tau_at, n, low, high, T, S, W, scale, near, end, window,
                  D: tl.constexpr, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, BAND: tl.constexpr, WINDOW: tl.constexpr, TERM: tl.constexpr,
                  STRETCH: tl.constexpr, FULL: tl.constexpr):
        d = tl.arange(0, D)
        for m in range(low, high, M):
            rows = m + tl.arange(0, M)
            on = rows < T
            at = (row_at + rows)[:, None] * D + d[None, :]
            q = tl.load(Q + at, mask=on[:, None], other=0.0)
            g = tl.load(GRADIENT + at, mask=on[:, None], other=0.0)
            lse = tl.load(LSE + row_at + rows, mask=on, other=float("inf"))
            delta = tl.load(DELTA + row_at + rows, mask=on, other=0.0)
            s, counts = masked_logits(tl.dot(k, tl.trans(q)) * scale, BITS, bits_at + rows * W, rows, n, T, S, near, end, window, term, N, BLOCK, BAND, WINDOW,
                                      TERM, STRETCH, FULL, True)
            p = tl.exp2(s - lse[None, :])
            dv = tl.dot(p.to(g.dtype), g, dv)
            ds = p * (tl.dot(v, tl.trans(g)) - delta[None, :])
            dk = tl.dot(ds.to(q.dtype), q, dk)
            if TERM == 1:
                if FULL:
                    dterm += tl.sum(ds, 1)
                else:
                    dterm += tl.sum(tl.where(counts, ds, 0.0), 1)
            if TERM == 2:
                tau = tl.load(TAU + tau_at + rows, mask=on, other=float("-inf"))
                mean = tl.load(MEAN + row_at + rows, mask=on, other=0.0)
                dterm += tl.sum(tl.where(counts & (term[:, None] < tau[None, :] + 1), ds - mean[None, :], 0.0), 1)
        return dk, dv, dterm

    @triton.jit
    def ranges(first, near, end, window, S, M: tl.constexpr, N: tl.constexpr, BAND: tl.constexpr, WINDOW: tl.constexpr, STRETCH: tl.constexpr):
        """Of a tile of queries: keys low..full are to be masked, full..edge are not, edge..high are."""
        high = tl.minimum((first + M - near) // STRETCH, S)
        nearest = near
        if WINDOW:
            nearest = window
        edge = tl.maximum(first - nearest + 1, 0) // N * N
        if STRETCH > 1:
            edge = high * 0
        low = high * 0
        full = high * 0
        if BAND:
            low = tl.maximum(first - end + 1, 0) // N * N
            full = tl.minimum((tl.maximum(first + M - end, 0) + N - 1) // N * N, tl.maximum(edge, low))
            edge = tl.maximum(edge, full)
        return low, full, edge, high

    @triton.jit
    def forward_kernel(Q, K, V, BITS, TERMS, OUT, LSE, scale, H, G, C, T, S, W, near, end, step, more, window, D: tl.constexpr, M: tl.constexpr,
                       N: tl.constexpr, BLOCK: tl.constexpr, BAND: tl.constexpr, WINDOW: tl.constexpr, TERM: tl.constexpr, STRETCH: tl.constexpr):
        head = tl.program_id(1)
        row, h = (head // H).to(tl.int64), head % H
        kv = row * G + h // (H // G)
        near, end = near + h * step + tl.minimum(h, more), end + h * step + tl.minimum(h + 1, more)
        first = (tl.num_programs(0) - 1 - tl.program_id(0)) * M  # the longest rows first
        rows, d = first + tl.arange(0, M), tl.arange(0, D)
        there = rows < T
        own = (head.to(tl.int64) * T + rows)[:, None] * D + d[None, :]
        q = tl.load(Q + own, mask=there[:, None], other=0.0)
        at = ((row * C + h // (H // C)) * T + rows) * W
        k_at, v_at, term_at = K + kv * S * D, V + kv * S * D, TERMS + kv * S
        low, full, edge, high = ranges(first, near, end, window, S, M, N, BAND, WINDOW, STRETCH)
        most, total = tl.full([M], float("-inf"), tl.float32), tl.zeros([M], tl.float32)
        out = tl.zeros([M, D], tl.float32)
        if BAND:
            most, total, out = forward_over(most, total, out, q, k_at, v_at, term_at, BITS, at, rows, low, full, T, S, scale, near, end, window, D, N, BLOCK,
                                            BAND, WINDOW, TERM, STRETCH, False)
        if STRETCH == 1:
            most, total, out = forward_over(most, total, out, q, k_at, v_at, term_at, BITS, at, rows, full, edge, T, S, scale, near, end, window, D, N, BLOCK,
                                            BAND, WINDOW, TERM, STRETCH, True)
        most, total, out = forward_over(most, total, out, q, k_at, v_at, term_at, BITS, at, rows, edge, high, T, S, scale, near, end, window, D, N, BLOCK, BAND,
                                        WINDOW, TERM, STRETCH, False)
        some = total > 0
        tl.store(OUT + own, (out / tl.where(some, total, 1.0)[:, None]).to(OUT.dtype.element_ty), mask=there[:, None])
        tl.store(LSE + head.to(tl.int64) * T + rows, tl.where(some, tl.where(some, most, 0.0) + tl.log2(tl.where(some, total, 1.0)), float("inf")),
                 mask=there)

    @triton.jit
    def queries_kernel(Q, K, V, BITS, TERMS, TAU, LSE, DELTA, GRADIENT, DQ, MEAN, scale, H, G, C, T, S, W, near, end, step, more, window,
                       D: tl.constexpr, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, BAND: tl.constexpr, WINDOW: tl.constexpr,
                       TERM: tl.constexpr, STRETCH: tl.constexpr):
        head = tl.program_id(1)
        row, h = (head // H).to(tl.int64), head % H
        kv = row * G + h // (H // G)
        near, end = near + h * step + tl.minimum(h, more), end + h * step + tl.minimum(h + 1, more)
        first = (tl.num_programs(0) - 1 - tl.program_id(0)) * M
        rows, d = first + tl.arange(0, M), tl.arange(0, D)
        there = rows < T
        own = (head.to(tl.int64) * T + rows)[:, None] * D + d[None, :]
        q = tl.load(Q + own, mask=there[:, None], other=0.0)
        g = tl.load(GRADIENT + own, mask=there[:, None], other=0.0)
        lse = tl.load(LSE + head.to(tl.int64) * T + rows, mask=there, other=float("inf"))
        delta = tl.load(DELTA + head.to(tl.int64) * T + rows, mask=there, other=0.0)
        tau = lse
        if TERM == 2:
            tau = tl.load(TAU + kv * T + rows, mask=there, other=float("-inf"))
        at = ((row * C + h // (H // C)) * T + rows) * W
        k_at, v_at, term_at = K + kv * S * D, V + kv * S * D, TERMS + kv * S
        low, full, edge, high = ranges(first, near, end, window, S, M, N, BAND, WINDOW, STRETCH)
        dq, rim, count = tl.zeros([M, D], tl.float32), tl.zeros([M], tl.float32), tl.zeros([M], tl.float32)
        if BAND:
            dq, rim, count = queries_over(dq, rim, count, q, g, lse, delta, tau, k_at, v_at, term_at, BITS, at, rows, low, full, T, S, scale, near, end, window,
                                          D, N, BLOCK, BAND, WINDOW, TERM, STRETCH, False)
        if STRETCH == 1:
            dq, rim, count = queries_over(dq, rim, count, q, g, lse, delta, tau, k_at, v_at, term_at, BITS, at, rows, full, edge, T, S, scale, near, end, window,
                                          D, N, BLOCK, BAND, WINDOW, TERM, STRETCH, True)
        dq, rim, count = queries_over(dq, rim, count, q, g, lse, delta, tau, k_at, v_at, term_at, BITS, at, rows, edge, high, T, S, scale, near, end, window, D,
                                      N, BLOCK, BAND, WINDOW, TERM, STRETCH, False)
        tl.store(DQ + own, (dq * (scale * 0.6931471805599453)).to(DQ.dtype.element_ty), mask=there[:, None])
        if TERM == 2:
            tl.store(MEAN + head.to(tl.int64) * T + rows, rim / tl.maximum(count, 1.0), mask=there)

    @triton.jit
    def keys_kernel(Q, K, V, BITS, TERMS, TAU, LSE, DELTA, GRADIENT, MEAN, DK, DV, DTERM, scale, H, G, C, T, S, W, near, end, step, more, window,
                    D: tl.constexpr, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, BAND: tl.constexpr, WINDOW: tl.constexpr,
                    TERM: tl.constexpr, STRETCH: tl.constexpr):
        kv = tl.program_id(1).to(tl.int64)
        row, group = kv // G, H // G
        n = tl.program_id(0) * N
        keys, d = n + tl.arange(0, N), tl.arange(0, D)
        own = (kv * S + keys)[:, None] * D + d[None, :]
        there = keys[:, None] < S
        k = tl.load(K + own, mask=there, other=0.0)
        v = tl.load(V + own, mask=there, other=0.0)
        term = tl.zeros([N], tl.float32)
        if TERM == 1:
            term = tl.load(TERMS + kv * S + keys, mask=keys < S, other=0.0) * 1.4426950408889634
        if TERM == 2:
            term = tl.load(TERMS + kv * S + keys, mask=keys < S, other=0.0)
        dk, dv, dterm = tl.zeros([N, D], tl.float32), tl.zeros([N, D], tl.float32), tl.zeros([N], tl.float32)
        for i in range(group):
            h = (kv % G).to(tl.int32) * group + i
            row_at, bits_at = (row * H + h) * T, (row * C + h // (H // C)) * T * W
            nearest, furthest = near + h * step + tl.minimum(h, more), end + h * step + tl.minimum(h + 1, more)
            low = ((n + 1) * STRETCH - 1 + nearest) // M * M
            edge = nearest
            if WINDOW:
                edge = window
            full = (n + N - 1 + edge + M - 1) // M * M  # queries low..full are to be masked, full..near_end are not, near_end..high are
            high, near_end = T, T
            if STRETCH > 1:
                full, near_end = T, T
            if BAND:
                high = tl.minimum((n + N) * STRETCH - 1 + furthest, T)
                near_end = tl.minimum((n + furthest) // M * M, high)
            full = tl.minimum(full, high)
            near_end = tl.maximum(near_end, full)
            dk, dv, dterm = keys_over(dk, dv, dterm, k, v, term, Q, GRADIENT, LSE, DELTA, MEAN, TAU, BITS, bits_at, row_at, kv * T, n, low, full, T, S, W, scale,
                                      nearest, furthest, window, D, M, N, BLOCK, BAND, WINDOW, TERM, STRETCH, False)
            if STRETCH == 1:
                dk, dv, dterm = keys_over(dk, dv, dterm, k, v, term, Q, GRADIENT, LSE, DELTA, MEAN, TAU, BITS, bits_at, row_at, kv * T, n, full, near_end, T, S,
                                          W, scale, nearest, furthest, window, D, M, N, BLOCK, BAND, WINDOW, TERM, STRETCH, True)
            if BAND:
                dk, dv, dterm = keys_over(dk, dv, dterm, k, v, term, Q, GRADIENT, LSE, DELTA, MEAN, TAU, BITS, bits_at, row_at, kv * T, n, near_end, high, T, S,
                                          W, scale, nearest, furthest, window, D, M, N, BLOCK, BAND, WINDOW, TERM, STRETCH, False)
        tl.store(DK + own, (dk * (scale * 0.6931471805599453)).to(DK.dtype.element_ty), mask=there)
        tl.store(DV + own, dv.to(DV.dtype.element_ty), mask=there)
        if TERM > 0:
            tl.store(DTERM + kv * S + keys, dterm, mask=keys < S)

    @triton.jit
    def best_kernel(SCORE, BITS, TAU, across, along, T, S, W, first, near, count, floor, WIDTH: tl.constexpr, CAUSAL: tl.constexpr,
                    STEPS: tl.constexpr):
        """A row's `count` best of those above `floor`, and tau where STEPS > 0; of the first WIDTH keys at most."""
        i, r = first + tl.program_id(0), tl.program_id(1).to(tl.int64)
        lane = tl.arange(0, WIDTH)
        limit = S
        if CAUSAL:
            limit = tl.minimum(i + 1 - near, S)
        s = tl.load(SCORE + r * across + i.to(tl.int64) * along + lane, mask=lane < limit, other=float("-inf"))
        there = (lane < limit) & (s > floor)
        raw = tl.where(s == 0, 0.0, s).to(tl.int32, bitcast=True)  # -0 and 0 are equal
        key = tl.where(there, raw ^ ((raw >> 31) & 0x7FFFFFFF), -2147483648)  # ordered as the scores are
        chosen, tau = there, tl.full([], float("-inf"), tl.float32)
        if tl.sum(there.to(tl.int32), 0) > count:
            low, high = tl.min(tl.where(there, key, 2147483647), 0), tl.max(key, 0) + 1  # as many are at or above low, fewer at or above high
            at_low = tl.sum(there.to(tl.int32), 0)
            while high - 1 > low:
                middle = (low & high) + ((low ^ high) >> 1)
                over = tl.sum((key >= middle).to(tl.int32), 0)
                if over >= count:
                    low, at_low = middle, over
                else:
                    high = middle
                if over == count:
                    high = middle + 1
            chosen = key >= low
            if at_low > count:  # of equal ones the first
                equal = (key == low).to(tl.int32)
                chosen = (key > low) | ((equal != 0) & (tl.cumsum(equal, 0) <= count - (at_low - tl.sum(equal, 0))))
            if STEPS > 0:
                top = tl.min(tl.where(chosen, s, float("inf")), 0)  # tau lies less than 1 below the worst of the best
                bottom = top - 1
                for _ in range(STEPS):
                    middle_tau = (bottom + top) / 2
                    over_one = tl.sum(tl.minimum(tl.maximum(s - middle_tau, 0.0), 1.0), 0) >= count
                    bottom, top = tl.where(over_one, middle_tau, bottom), tl.where(over_one, top, middle_tau)
                tau = bottom
        packed = tl.sum(tl.reshape(chosen.to(tl.int32), [WIDTH // 32, 32]) << tl.arange(0, 32)[None, :], 1)
        word = tl.arange(0, WIDTH // 32)
        tl.store(BITS + (r * T + i) * W + word, packed, mask=word < W)
        if STEPS > 0:
            tl.store(TAU + r * T + i, tau)

    @triton.jit
    def index_kernel(Q, K, WEIGHTS, SCORE, T, HEADS: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
        r = tl.program_id(1).to(tl.int64)
        first = (tl.num_programs(0) - 1 - tl.program_id(0)) * M
        rows, d = first + tl.arange(0, M), tl.arange(0, D)
        there = rows < T
        for n in range(0, tl.minimum(first + M, T), N):
            keys = n + tl.arange(0, N)
            k = tl.load(K + r * T * D + keys[None, :] * D + d[:, None], mask=keys[None, :] < T, other=0.0)
            score = tl.zeros([M, N], tl.float32)
            for h in tl.static_range(HEADS):
                q = tl.load(Q + ((r * HEADS + h) * T + rows)[:, None] * D + d[None, :], mask=there[:, None], other=0.0)
                weight = tl.load(WEIGHTS + (r * T + rows) * HEADS + h, mask=there, other=0.0)
                score += weight[:, None] * tl.maximum(tl.dot(q, k), 0.0)
            tl.store(SCORE + (r * T + rows)[:, None] * T + keys[None, :], score, mask=there[:, None] & (keys < T)[None, :])


class Kernels(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, term, bits, tau, block, span, step, more, window, stretch, what):
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        rows, heads, tokens, dim = q.shape
        out, lse = torch.empty_like(q), torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
        term = term if term is None else term.float().contiguous()
        choices, width = (1, 1) if bits is None else (bits.shape[1], bits.shape[3])
        sizes = (dim ** -0.5 * LOG2E, heads, k.shape[1], choices, tokens, k.shape[2], width, 0, span or ENDLESS, step, more, window or ENDLESS)
        static = dict(D=dim, BLOCK=block if bits is not None else 0, BAND=span is not None, WINDOW=bool(window), TERM=what, STRETCH=stretch, num_warps=WARPS)
        forward_kernel[(triton.cdiv(tokens, ROWS), rows * heads)](
            q, k, v, lse if bits is None else bits, lse if term is None else term, out, lse, *sizes, M=ROWS, N=KEYS, **static)
        ctx.save_for_backward(q, k, v, out, lse, *(t for t in (term, bits, tau) if t is not None))
        ctx.there, ctx.sizes, ctx.static = [t is not None for t in (term, bits, tau)], sizes, static
        return out

    @staticmethod
    def backward(ctx, gradient):
        q, k, v, out, lse, *kept = ctx.saved_tensors
        term, bits, tau = (kept.pop(0) if there else None for there in ctx.there)
        gradient = gradient.contiguous()
        delta = (gradient.float() * out).sum(-1)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        dterm, mean = None if term is None else torch.empty_like(term), torch.empty_like(lse) if tau is not None else lse
        given = q, k, v, *(lse if t is None else t for t in (bits, term, tau)), lse, delta, gradient
        narrow = tau is not None
        queries_kernel[(triton.cdiv(q.shape[2], ROWS), q.shape[0] * q.shape[1])](
            *given, dq, mean, *ctx.sizes, M=ROWS, N=NARROW if narrow else KEYS, **ctx.static)
        keys_kernel[(triton.cdiv(k.shape[2], KEYS), k.shape[0] * k.shape[1])](
            *given, mean, dk, dv, lse if dterm is None else dterm, *ctx.sizes, M=NARROW if narrow else ROWS, N=KEYS, **ctx.static)
        return dq, dk, dv, dterm, *[None] * 9


@torch.compiler.disable
def attend(q, k, v, bits=None, block=1, span=None, bands=0, window=0, added=None, rim=None, stretch=1):
    """q [rows, H, tokens, D] over k, v [rows, G, keys, D], causal; logits are q k / sqrt(D); a row that reads nothing gives 0.

    bits     what is read, of blocks of `block` keys
    span     the latest so many keys alone
    bands    distances below so many alone, shared out to the query heads: each has a band, the first the nearest
    window   of these latest keys: read beside the bits; and keys further off alone have
    added    [rows, G, keys], added to their logits
    rim      (score [rows, G, keys], tau [rows, G, tokens]): adds nothing, but what is below tau + 1 learns as if its scores, less their mean in a row,
             were added
    stretch  key j stands where the last of so many tokens stands, the j-th of such blocks
    """
    heads = q.shape[1]
    each, more = (bands // heads, bands % heads) if bands else (0, 0)
    term, tau, what = (added, None, ADDED) if added is not None else (*rim, RIM) if rim is not None else (None, None, 0)
    return Kernels.apply(q, k, v, term, bits, tau, block, each if bands else span, each, more, window, stretch, what)


@torch.no_grad()
@torch.compiler.disable
def best(score, count, tokens, near=0, causal=False, floor=float("-inf"), taus=False, block=1):
    """Bits [rows, C, tokens, words] of the `count` best above `floor` of score [rows, C, tokens or 1 (the same for all), keys or blocks]; causal: of
    those `near` and more before a query. taus: and tau [rows, C, tokens] of SPARSEK's operator, -inf where no more than `count` are there. The bits are
    of blocks of `block` keys."""
    rows, choices, each, keys = score.shape
    score = score.float().contiguous()
    width = words(keys, 1) if block == 1 else words(keys * block, block)
    bits = torch.zeros(rows, choices, tokens, width, dtype=torch.int32, device=score.device)
    tau = torch.full((rows, choices, tokens) if taus else (1,), float("-inf"), device=score.device)
    first = 0
    for wide in [1 << e for e in range(5 if block > 1 or keys < 512 else 9, 31)]:  # few keys are before the first queries
        last = min(tokens, wide + near) if causal and wide < keys else tokens
        if not causal and wide < keys:
            continue
        if last > first:
            best_kernel[(last - first, rows * choices)](
                score, bits, tau, each * keys, keys if each > 1 else 0, tokens, keys, width, first, near, count, floor, max(wide, 32), causal,
                TAU_STEPS if taus else 0, num_warps=min(max(wide // 256, 1), 8))
            first = last
        if first >= tokens:
            break
    return (bits, tau) if taus else bits


@torch.no_grad()
@torch.compiler.disable
def index_scores(q, k, w):
    """[rows, 1, tokens, tokens], what is ahead left out: sum over heads of w [rows, tokens, heads] times what of q.k is above 0; q [rows, heads, tokens, D],
    k [rows, tokens, D]."""
    rows, heads, tokens, dim = q.shape
    score = torch.empty(rows, 1, tokens, tokens, dtype=torch.float32, device=q.device)
    index_kernel[(triton.cdiv(tokens, 64), rows)](q.contiguous(), k.contiguous(), w.float().contiguous(), score, tokens, heads, dim, 64, 64,
                                                  num_warps=8, num_stages=2 if q.dtype == torch.bfloat16 else 1)
    return score


def unpacked(bits, keys):
    """bool [.., keys] of bits [.., words], a bit a key."""
    return ((bits[..., None] >> torch.arange(32, device=bits.device)) & 1).bool().flatten(-2)[..., :keys]


def masked(q, k, v, bits=None, block=1, span=None, bands=0, window=0, added=None, rim=None, stretch=1):
    """What attend() computes, by a mask, in double: what the kernels are held against."""
    heads, groups, tokens, keys = q.shape[1], k.shape[1], q.shape[2], k.shape[2]
    far = torch.arange(tokens, device=q.device)[:, None] - (torch.arange(1, keys + 1, device=q.device) * stretch - 1)
    read = (far >= 0).repeat(q.shape[0], heads, 1, 1)
    if bits is not None:
        picked = unpacked(bits, -(-keys // block)).repeat_interleave(block, -1)[..., :keys]
        read = read & (picked.repeat_interleave(heads // bits.shape[1], 1) | (far < window))
    if span:
        read = read & (far < span)
    if bands:
        first = torch.tensor([h * (bands // heads) + min(h, bands % heads) for h in range(heads + 1)], device=q.device)[:, None, None]
        read = read & (far >= first[:-1]) & (far < first[1:])
    q, k, v = q.double(), *(t.double().repeat_interleave(heads // groups, 1) for t in (k, v))
    logits = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    if added is not None:
        logits = logits + torch.where(far >= window, added.double().repeat_interleave(heads // groups, 1)[:, :, None], 0.0)
    if rim is not None:
        score, tau = (t.double().repeat_interleave(heads // groups, 1) for t in rim)
        part = read & (far >= window) & (score[:, :, None] < tau[..., None] + 1)
        sums = torch.where(part, score[:, :, None], 0.0)
        sums = torch.where(part, sums - sums.sum(-1, keepdim=True) / part.sum(-1, keepdim=True).clamp(min=1), 0.0)
        logits = logits + sums - sums.detach()
    weights = logits.masked_fill(~read, torch.finfo(torch.float64).min).softmax(-1) * read
    return weights @ v


def best_by_sorting(score, count, tokens, near=0, causal=False, floor=float("-inf"), steps=TAU_STEPS):
    """bool [rows, C, tokens, keys] and tau, as best() says."""
    score = score.expand(-1, -1, tokens, -1)
    if causal:
        far = torch.arange(tokens, device=score.device)[:, None] - torch.arange(score.shape[3], device=score.device)
        score = score.masked_fill(far < near, float("-inf"))
    values, index = score.sort(dim=-1, descending=True, stable=True)
    there = values[..., :count] > floor
    chosen = torch.zeros_like(score, dtype=torch.bool).scatter_(-1, index[..., :count], there)
    low = values[..., min(count, score.shape[3]) - 1:][..., :1] - 1
    high = low + 1
    for _ in range(steps):
        tau = (low + high) / 2
        over = (score - tau).clamp(0, 1).sum(-1, keepdim=True) >= count
        low, high = torch.where(over, tau, low), torch.where(over, high, tau)
    return chosen, low[..., 0].masked_fill((score > floor).sum(-1) <= count, float("-inf"))


def cases(rows, heads, groups, tokens, device, small):
    """(name, options of attend()) of every kind that attends by these kernels, with numbers that leave out most of what `tokens` have."""
    torch.manual_seed(tokens + heads)
    near, count = (24, 12) if small else (256, 256)

    def drawn(*shape):
        return torch.randn(*shape, device=device)

    blocks = -(-tokens // 32)
    number, own = torch.arange(blocks, device=device), torch.arange(tokens, device=device)[:, None] // 32
    by_block = drawn(rows, groups, tokens, blocks).masked_fill(number > own, float("-inf")).masked_fill(number == own, float("inf"))
    score = drawn(rows, groups, tokens)
    score[..., ::3] = score[..., :1]  # equal ones
    bits, tau = best(score[:, :, None], count, tokens, near, True, taus=True)
    yield "causal", {}
    yield "span", {"span": near}
    yield "long span", {"span": tokens // 2}
    yield "bands", {"bands": tokens - tokens // 4}
    yield "blocks of 32", {"bits": best(by_block, 3, tokens, block=32), "block": 32}
    blocks = -(-tokens // 64)
    number, own = torch.arange(blocks, device=device), torch.arange(tokens, device=device)[:, None] // 64
    by_block = drawn(rows, heads, tokens, blocks).masked_fill(number > own, float("-inf")).masked_fill(number == own, float("inf"))
    yield "blocks of 64 a head", {"bits": best(by_block, 2, tokens, block=64), "block": 64}
    yield "keys", {"bits": best(drawn(rows, 1, tokens, tokens), count, tokens, causal=True)}
    yield "added", {"added": -drawn(rows, groups, tokens).abs() * 3, "window": near}
    yield "rim", {"bits": bits, "window": near, "rim": (score, tau)}
    yield "stretched", {"stretch": 32}


def check(device, sizes):
    for rows, heads, groups, tokens, dtype in sizes:
        torch.manual_seed(tokens)
        small = tokens < 512
        for score, count, options in ((torch.randn(rows, groups, tokens, -(-tokens // 32)).relu(), 3, {}),
                                      (torch.randn(rows, groups, 1, tokens).mul(3).round() / 2, 40, dict(near=9, causal=True))):
            score = score.to(device)
            found, tau = best(score, count, tokens, taus=True, **options)
            chosen, wanted = best_by_sorting(score, count, tokens, **options)
            same = torch.equal(unpacked(found, score.shape[3]), chosen) and torch.equal(tau.isinf(), wanted.isinf())
            off = (tau - wanted).masked_fill(wanted.isinf(), 0).nan_to_num(9).abs().max().item()
            print(f"best {count} of {score.shape[3]}, {tokens} rows: {'the same' if same else 'others'}; tau differs by {off:.1e}", flush=True)
            if not same or off > 1e-3:
                raise SystemExit(1)
        for name, options in cases(rows, heads, groups, tokens, device, small):
            q, g = (torch.randn(rows, heads, tokens, 64, device=device, dtype=dtype) for _ in range(2))
            k, v = (torch.randn(rows, groups, tokens // options.get("stretch", 1), 64, device=device, dtype=dtype) for _ in range(2))
            leaves = [t.requires_grad_() for t in (q, k, v)]
            if "added" in options:
                leaves.append(options["added"].requires_grad_())
            if "rim" in options:
                leaves.append(options["rim"][0].requires_grad_())
            found, wanted = attend(q, k, v, **options), masked(q, k, v, **options)
            found, wanted = ([t, *torch.autograd.grad(t, leaves, g.to(t.dtype))] for t in (found, wanted))
            apart = [((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in zip(found, wanted)]
            most = 1e-5 if device == "cpu" else 3e-2 if dtype == torch.bfloat16 else 1e-2  # TF32 products
            if "stretch" in options and tokens < 512:
                most *= 3  # nearly all rows read one key or none: what is to be their gradient is 0, what is left is rounding
            good = max(apart) <= most
            print(f"{name}, {rows} x {heads}/{groups} x {tokens}, {dtype}: out, dq, dk, dv{', of a key' * (len(leaves) > 3)} differ by",
                  " ".join(f"{x:.1e}" for x in apart), "ok" if good else f"expected at most {most}", flush=True)
            if not good:
                raise SystemExit(1)
        q, k, w = (torch.randn(*shape, device=device) for shape in ((rows, 4, tokens, 64), (rows, tokens, 64), (rows, tokens, 4)))
        wanted = sum(w[:, :, h, None].double() * (q[:, h].double() @ k.double().transpose(1, 2)).relu() for h in range(4)).tril()
        apart = ((index_scores(q.to(dtype), k.to(dtype), w)[:, 0].tril() - wanted).norm() / wanted.norm()).item()
        print(f"index scores, {rows} x {tokens}, {dtype}: differ by {apart:.1e}", flush=True)
        if not apart <= (1e-5 if device == "cpu" else 1e-2):
            raise SystemExit(1)


if __name__ == "__main__":
    if torch.cuda.is_available():
        check("cuda", [(2, 4, 2, 1152, torch.bfloat16), (1, 4, 2, 4224, torch.bfloat16), (2, 4, 2, 64, torch.float32), (1, 4, 2, 333, torch.float32)])
    else:
        check("cpu", [(1, 2, 1, 64, torch.float32), (1, 4, 2, 133, torch.float32), (1, 2, 1, 300, torch.float32)])
