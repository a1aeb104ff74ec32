"""Causal softmax attention over the keys that a kind reads, and its gradient, without anything of size tokens x tokens but bits.

    attend(q, k, v, ...)    what a query reads: a band of distances, chosen blocks or keys as packed bits, the latest keys beside them; a number of each
                            key that is added to its logits beyond the latest ones, or learns as SPARSEK's scores do
    best(score, count)      the bits: of each row the `count` best, of equal ones the first; and the operator's tau

    python3 chosen_attention.py    holds the kernels against plain PyTorch; without a GPU with TRITON_INTERPRET=1, slowly

Triton kernels as in flash attention, which keep the logarithm of each row's sum: forward; backward of queries; backward of keys. A tile of 64
queries and 64 keys is left out where no query of it reads a key of it, which is seen from its bits. Elsewhere than on a GPU kinds attend by masks in
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

ROWS, KEYS = 64, 64  # of a tile
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
    def bits_of(BITS, at, there, n, N: tl.constexpr, BLOCK: tl.constexpr):
        """The bits [M] of a tile's keys n..n+N: of blocks in the lowest bits of the first, of keys in both."""
        if BLOCK == 1:
            low = tl.load(BITS + at + n // 32, mask=there, other=0)
            high = tl.load(BITS + at + n // 32 + 1, mask=there, other=0)
        else:
            block = n // BLOCK
            low = (tl.load(BITS + at + block // 32, mask=there, other=0) >> (block % 32)) & ((1 << ((N + BLOCK - 1) // BLOCK)) - 1)
            high = low
        return low, high

    @triton.jit
    def tile(q, k, low, high, rows, n, S, scale, near, end, window, term, N: tl.constexpr, BLOCK: tl.constexpr, BAND: tl.constexpr,
             WINDOW: tl.constexpr, TERM: tl.constexpr, STRETCH: tl.constexpr):
        """Logits of a tile in base 2, -inf where a row does not read a key; and which keys are beyond the latest ones. k [D, N]."""
        lane = tl.arange(0, N)
        far = rows[:, None] - ((n + lane + 1) * STRETCH - 1)[None, :]
        read = (far >= near) & (n + lane < S)[None, :]
        if BAND:
            read = read & (far < end)
        beyond = far >= window
        if BLOCK > 0:
            if BLOCK == 1:
                bit = (tl.where((lane < 32)[None, :], low[:, None], high[:, None]) >> (lane % 32)[None, :]) & 1
            else:
                bit = (low[:, None] >> (lane // BLOCK)[None, :]) & 1
            if WINDOW:
                read = read & ((bit != 0) | (far < window))
            else:
                read = read & (bit != 0)
        s = tl.dot(q, k) * scale
        if TERM == 1:
            s += tl.where(beyond, term[None, :] * 1.4426950408889634, 0.0)
        return tl.where(read, s, float("-inf")), beyond & read

    @triton.jit
    def absorb(most, total, out, q, k, v, low, high, rows, n, S, scale, near, end, window, term, N: tl.constexpr, BLOCK: tl.constexpr,
               BAND: tl.constexpr, WINDOW: tl.constexpr, TERM: tl.constexpr, STRETCH: tl.constexpr):
        s, _ = tile(q, k, low, high, rows, n, S, scale, near, end, window, term, N, BLOCK, BAND, WINDOW, TERM, STRETCH)
        now = tl.maximum(most, tl.max(s, 1))
        base = tl.where(now == float("-inf"), 0.0, now)
        p = tl.exp2(s - base[:, None])
        shrink = tl.exp2(most - base)
        return now, total * shrink + tl.sum(p, 1), out * shrink[:, None] + tl.dot(p.to(v.dtype), v)

    @triton.jit
    def wanted(low, high, first, n, window, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, WINDOW: tl.constexpr):
        """Whether a row of the tile reads a key of it."""
        some = tl.max(((low | high) != 0).to(tl.int32), 0) != 0
        if WINDOW:
            some = some | (first - (n + N - 1) < window)
        return some

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
        low_end, high_end = 0, tl.minimum((first + M - near) // STRETCH, S)
        if BAND:
            low_end = tl.maximum(first - end + 1, 0) // N * N
        most, total = tl.full([M], float("-inf"), tl.float32), tl.zeros([M], tl.float32)
        out = tl.zeros([M, D], tl.float32)
        for n in range(low_end, high_end, N):
            keys = n + tl.arange(0, N)
            term = tl.zeros([N], tl.float32)
            if BLOCK > 0:
                low, high = bits_of(BITS, at, there, n, N, BLOCK)
                if wanted(low, high, first, n, window, M, N, BLOCK, WINDOW):
                    k = tl.load(k_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
                    v = tl.load(v_at + keys[:, None] * D + d[None, :], mask=keys[:, None] < S, other=0.0)
                    most, total, out = absorb(most, total, out, q, k, v, low, high, rows, n, S, scale, near, end, window, term, N, BLOCK, BAND,
                                              WINDOW, TERM, STRETCH)
            else:
                k = tl.load(k_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
                v = tl.load(v_at + keys[:, None] * D + d[None, :], mask=keys[:, None] < S, other=0.0)
                if TERM == 1:
                    term = tl.load(term_at + keys, mask=keys < S, other=0.0)
                most, total, out = absorb(most, total, out, q, k, v, rows, rows, rows, n, S, scale, near, end, window, term, N, BLOCK, BAND, WINDOW,
                                          TERM, STRETCH)
        some = total > 0
        tl.store(OUT + own, (out / tl.where(some, total, 1.0)[:, None]).to(OUT.dtype.element_ty), mask=there[:, None])
        tl.store(LSE + head.to(tl.int64) * T + rows, tl.where(some, tl.where(some, most, 0.0) + tl.log2(tl.where(some, total, 1.0)), float("inf")),
                 mask=there)

    @triton.jit
    def slopes(q, k, v, g, lse, delta, low, high, rows, n, S, scale, near, end, window, term, tau, N: tl.constexpr, BLOCK: tl.constexpr,
               BAND: tl.constexpr, WINDOW: tl.constexpr, TERM: tl.constexpr, STRETCH: tl.constexpr):
        """Weights of a tile, the loss's slopes by its logits, and of which of these a key's number learns. k, v [D, N]."""
        s, beyond = tile(q, k, low, high, rows, n, S, scale, near, end, window, term, N, BLOCK, BAND, WINDOW, TERM, STRETCH)
        p = tl.exp2(s - lse[:, None])
        if TERM == 2:
            beyond = beyond & (term[None, :] < tau[:, None] + 1)
        return p, p * (tl.dot(g, v) - delta[:, None]), beyond

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
        low_end, high_end = 0, tl.minimum((first + M - near) // STRETCH, S)
        if BAND:
            low_end = tl.maximum(first - end + 1, 0) // N * N
        dq, rim, count = tl.zeros([M, D], tl.float32), tl.zeros([M], tl.float32), tl.zeros([M], tl.float32)
        for n in range(low_end, high_end, N):
            keys = n + tl.arange(0, N)
            term = tl.zeros([N], tl.float32)
            if BLOCK > 0:
                low, high = bits_of(BITS, at, there, n, N, BLOCK)
                if wanted(low, high, first, n, window, M, N, BLOCK, WINDOW):
                    k = tl.load(k_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
                    v = tl.load(v_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
                    if TERM > 0:
                        term = tl.load(term_at + keys, mask=keys < S, other=0.0)
                    p, ds, learns = slopes(q, k, v, g, lse, delta, low, high, rows, n, S, scale, near, end, window, term, tau, N, BLOCK, BAND, WINDOW,
                                           TERM, STRETCH)
                    dq += tl.dot(ds.to(k.dtype), tl.trans(k))
                    if TERM == 2:
                        rim += tl.sum(tl.where(learns, ds, 0.0), 1)
                        count += tl.sum(learns.to(tl.float32), 1)
            else:
                k = tl.load(k_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
                v = tl.load(v_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < S, other=0.0)
                if TERM > 0:
                    term = tl.load(term_at + keys, mask=keys < S, other=0.0)
                p, ds, learns = slopes(q, k, v, g, lse, delta, rows, rows, rows, n, S, scale, near, end, window, term, tau, N, BLOCK, BAND, WINDOW,
                                       TERM, STRETCH)
                dq += tl.dot(ds.to(k.dtype), tl.trans(k))
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
        if TERM > 0:
            term = tl.load(TERMS + kv * S + keys, mask=keys < S, other=0.0)
        dk, dv, dterm = tl.zeros([N, D], tl.float32), tl.zeros([N, D], tl.float32), tl.zeros([N], tl.float32)
        for i in range(group):
            h = (kv % G).to(tl.int32) * group + i
            head = row * H + h
            nearest, furthest = near + h * step + tl.minimum(h, more), end + h * step + tl.minimum(h + 1, more)
            last = T
            if BAND:
                last = tl.minimum((n + N) * STRETCH - 1 + furthest, T)
            c = (row * C + h // (H // C)) * T
            for m in range(((n + 1) * STRETCH - 1 + nearest) // M * M, last, M):
                rows = m + tl.arange(0, M)
                on = rows < T
                at = (head * T + rows)[:, None] * D + d[None, :]
                if BLOCK > 0:
                    low, high = bits_of(BITS, (c + rows) * W, on, n, N, BLOCK)
                    if wanted(low, high, m, n, window, M, N, BLOCK, WINDOW):
                        q = tl.load(Q + at, mask=on[:, None], other=0.0)
                        g = tl.load(GRADIENT + at, mask=on[:, None], other=0.0)
                        lse = tl.load(LSE + head * T + rows, mask=on, other=float("inf"))
                        delta = tl.load(DELTA + head * T + rows, mask=on, other=0.0)
                        tau = lse
                        if TERM == 2:
                            tau = tl.load(TAU + kv * T + rows, mask=on, other=float("-inf"))
                        p, ds, learns = slopes(q, tl.trans(k), tl.trans(v), g, lse, delta, low, high, rows, n, S, scale, nearest, furthest, window,
                                               term, tau, N, BLOCK, BAND, WINDOW, TERM, STRETCH)
                        dv += tl.dot(tl.trans(p.to(g.dtype)), g)
                        dk += tl.dot(tl.trans(ds.to(q.dtype)), q)
                        if TERM == 2:
                            mean = tl.load(MEAN + head * T + rows, mask=on, other=0.0)
                            dterm += tl.sum(tl.where(learns, ds - mean[:, None], 0.0), 0)
                else:
                    q = tl.load(Q + at, mask=on[:, None], other=0.0)
                    g = tl.load(GRADIENT + at, mask=on[:, None], other=0.0)
                    lse = tl.load(LSE + head * T + rows, mask=on, other=float("inf"))
                    delta = tl.load(DELTA + head * T + rows, mask=on, other=0.0)
                    p, ds, learns = slopes(q, tl.trans(k), tl.trans(v), g, lse, delta, rows, rows, rows, n, S, scale, nearest, furthest, window, term,
                                           lse, N, BLOCK, BAND, WINDOW, TERM, STRETCH)
                    dv += tl.dot(tl.trans(p.to(g.dtype)), g)
                    dk += tl.dot(tl.trans(ds.to(q.dtype)), q)
                    if TERM == 1:
                        dterm += tl.sum(tl.where(learns, ds, 0.0), 0)
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
        static = (dim, ROWS, KEYS, block if bits is not None else 0, span is not None, bool(window), what, stretch)
        forward_kernel[(triton.cdiv(tokens, ROWS), rows * heads)](
            q, k, v, lse if bits is None else bits, lse if term is None else term, out, lse, *sizes, *static)
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
        queries_kernel[(triton.cdiv(q.shape[2], ROWS), q.shape[0] * q.shape[1])](*given, dq, mean, *ctx.sizes, *ctx.static)
        keys_kernel[(triton.cdiv(k.shape[2], KEYS), k.shape[0] * k.shape[1])](
            *given, mean, dk, dv, lse if dterm is None else dterm, *ctx.sizes, *ctx.static)
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
    index_kernel[(triton.cdiv(tokens, ROWS), rows)](q.contiguous(), k.contiguous(), w.float().contiguous(), score, tokens, heads, dim, ROWS, KEYS)
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
        check("cuda", [(2, 4, 2, 64, torch.float32), (1, 4, 2, 333, torch.float32), (2, 4, 2, 1152, torch.bfloat16), (1, 4, 2, 4224, torch.bfloat16)])
    else:
        check("cpu", [(1, 2, 1, 64, torch.float32), (1, 4, 2, 133, torch.float32)])
