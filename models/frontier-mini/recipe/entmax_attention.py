"""Causal attention whose rows are normalised by 1.5-entmax (Peters et al. 2019, arXiv 1905.05702), and its gradient.

    p_j = (z_j - tau)+^2, z = logits / 2 less the row's largest, with the one tau for which they sum to 1

tau is found by Newton's method on the root of the sum, |(z - tau)+|_2 = 1: that is convex in tau, so that from -1, which is at
or below tau, it comes up without passing it; in a few steps, since it is straight where all keys that count are alike. z is less the row's
largest because tau lies between -1 and -n^-1/2 then, however large logits are. Beside logits of a million a thousandth is lost in fp32:
tau came to lie at or above all of z, nothing was left of the row, and 0 / 0 of it; adaptive-scalable entmax grows such logits.
Gradient: with y = (z - tau)+, dL/dlogit = y (dL/dp - mean of dL/dp weighted by y).

    python3 entmax_attention.py    holds the kernels against plain PyTorch; without a GPU with TRITON_INTERPRET=1, slowly

On a GPU it is three Triton kernels as in flash attention (tau costs a pass over the keys for each step; nothing of size tokens
x tokens exists), close to AdaSplash (Gonçalves et al. 2025, arXiv 2502.12082); elsewhere the same in plain PyTorch.
"""
import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # plain PyTorch remains
    triton = None

STEPS = 5            # of Newton's method: then p is right to 1e-8 or so
ROWS, KEYS = 64, 64  # of a tile


def above(logits, steps=STEPS):
    """(z - tau)+ of each row of logits [..., n]; -inf: not there."""
    z = logits / 2
    z = z - z.amax(-1, keepdim=True)
    tau = torch.full_like(z[..., :1], -1)
    for _ in range(steps):
        y = (z - tau).clamp(min=0)
        norm = y.square().sum(-1, keepdim=True).sqrt()
        tau = tau + (norm - 1) * norm / y.sum(-1, keepdim=True)
    return (z - tau).clamp(min=0)


class Rows(torch.autograd.Function):
    """1.5-entmax of rows of logits."""

    @staticmethod
    def forward(ctx, logits):
        y = above(logits)
        ctx.save_for_backward(y)
        p = y.square()
        return p / p.sum(-1, keepdim=True)

    @staticmethod
    def backward(ctx, gradient):
        y, = ctx.saved_tensors
        return y * (gradient - (y * gradient).sum(-1, keepdim=True) / y.sum(-1, keepdim=True))


def plain(q, k, v):
    """The same over whole matrices: what the kernels are held against."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    logits = (q @ k.transpose(2, 3)).float() * q.shape[-1] ** -0.5
    logits = logits.masked_fill(torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1), float("-inf"))
    return (Rows.apply(logits).to(v.dtype) @ v)


if triton:
    @triton.jit
    def halves(q, at, keys, rows, T, scale, D: tl.constexpr):
        """z of a tile; -inf where a row does not see a key."""
        k = tl.load(at + keys[None, :] * D + tl.arange(0, D)[:, None], mask=keys[None, :] < T, other=0.0)
        z = tl.dot(q, k) * scale
        return tl.where((keys[None, :] <= rows[:, None]) & (keys[None, :] < T), z, float("-inf"))

    @triton.jit
    def above_tau(z, most, tau):
        """(z - tau)+ of a tile; most, tau [M]. At most 1, whatever another kernel's products were rounded to."""
        return tl.minimum(tl.maximum(z - most[:, None] - tau[:, None], 0.0), 1.0)

    @triton.jit
    def forward_kernel(Q, K, V, OUT, MEAN, MOST, TAU, scale, H, G, T, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
                       STEPS: tl.constexpr):
        head = tl.program_id(1)
        kv = head // H * G + head % H // (H // G)
        first = (tl.num_programs(0) - 1 - tl.program_id(0)) * M  # the longest rows first
        rows, d = first + tl.arange(0, M), tl.arange(0, D)
        own = (head * T + rows)[:, None] * D + d[None, :]
        there = rows[:, None] < T
        q = tl.load(Q + own, mask=there, other=0.0)
        end = tl.minimum(first + M, T)
        k_at, v_at = K + kv * T * D, V + kv * T * D
        most = tl.full([M], float("-inf"), tl.float32)
        for n in range(0, end, N):
            most = tl.maximum(most, tl.max(halves(q, k_at, n + tl.arange(0, N), rows, T, scale, D), 1))
        tau = tl.full([M], -1.0, tl.float32)
        for _ in range(STEPS):
            one, two = tl.zeros([M], tl.float32), tl.zeros([M], tl.float32)
            for n in range(0, end, N):
                y = above_tau(halves(q, k_at, n + tl.arange(0, N), rows, T, scale, D), most, tau)
                one += tl.sum(y, 1)
                two += tl.sum(y * y, 1)
            norm = tl.sqrt(two)
            tau += (norm - 1) * norm / one
        one, two = tl.zeros([M], tl.float32), tl.zeros([M], tl.float32)
        out, mean = tl.zeros([M, D], tl.float32), tl.zeros([M, D], tl.float32)
        for n in range(0, end, N):
            keys = n + tl.arange(0, N)
            y = above_tau(halves(q, k_at, keys, rows, T, scale, D), most, tau)
            if tl.max(y) > 0:
                v = tl.load(v_at + keys[:, None] * D + d[None, :], mask=keys[:, None] < T, other=0.0)
                out += tl.dot((y * y).to(v.dtype), v)
                mean += tl.dot(y.to(v.dtype), v)
                one += tl.sum(y, 1)
                two += tl.sum(y * y, 1)
        tl.store(OUT + own, (out / two[:, None]).to(OUT.dtype.element_ty), mask=there)
        tl.store(MEAN + own, mean / one[:, None], mask=there)
        tl.store(MOST + head * T + rows, most, mask=rows < T)
        tl.store(TAU + head * T + rows, tau, mask=rows < T)

    @triton.jit
    def queries_kernel(Q, K, V, MOST, TAU, DELTA, GRADIENT, DQ, scale, H, G, T, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
        head = tl.program_id(1)
        kv = head // H * G + head % H // (H // G)
        first = (tl.num_programs(0) - 1 - tl.program_id(0)) * M
        rows, d = first + tl.arange(0, M), tl.arange(0, D)
        own = (head * T + rows)[:, None] * D + d[None, :]
        there = rows[:, None] < T
        q = tl.load(Q + own, mask=there, other=0.0)
        g = tl.load(GRADIENT + own, mask=there, other=0.0)
        most = tl.load(MOST + head * T + rows, mask=rows < T, other=0.0)
        tau = tl.load(TAU + head * T + rows, mask=rows < T, other=float("inf"))
        delta = tl.load(DELTA + head * T + rows, mask=rows < T, other=0.0)
        k_at, v_at = K + kv * T * D, V + kv * T * D
        dq = tl.zeros([M, D], tl.float32)
        for n in range(0, tl.minimum(first + M, T), N):
            keys = n + tl.arange(0, N)
            y = above_tau(halves(q, k_at, keys, rows, T, scale, D), most, tau)
            if tl.max(y) > 0:
                v = tl.load(v_at + keys[None, :] * D + d[:, None], mask=keys[None, :] < T, other=0.0)
                k = tl.load(k_at + keys[:, None] * D + d[None, :], mask=keys[:, None] < T, other=0.0)
                ds = y * (tl.dot(g, v) - delta[:, None])
                dq += tl.dot(ds.to(k.dtype), k)
        tl.store(DQ + own, (dq * 2 * scale).to(DQ.dtype.element_ty), mask=there)

    @triton.jit
    def keys_kernel(Q, K, V, MOST, TAU, DELTA, GRADIENT, DK, DV, scale, H, G, T, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
        kv = tl.program_id(1)
        group = H // G
        first = tl.program_id(0) * N
        keys, d = first + tl.arange(0, N), tl.arange(0, D)
        own = (kv * T + keys)[:, None] * D + d[None, :]
        there = keys[:, None] < T
        k = tl.load(K + own, mask=there, other=0.0)
        v = tl.load(V + own, mask=there, other=0.0)
        dk, dv = tl.zeros([N, D], tl.float32), tl.zeros([N, D], tl.float32)
        for i in range(group):
            head = kv // G * H + kv % G * group + i
            for m in range(first // M * M, T, M):
                rows = m + tl.arange(0, M)
                at = (head * T + rows)[:, None] * D + d[None, :]
                q = tl.load(Q + at, mask=rows[:, None] < T, other=0.0)
                most = tl.load(MOST + head * T + rows, mask=rows < T, other=0.0)
                tau = tl.load(TAU + head * T + rows, mask=rows < T, other=float("inf"))
                z = tl.dot(q, tl.trans(k)) * scale
                y = tl.where(keys[None, :] <= rows[:, None], above_tau(z, most, tau), 0.0)
                if tl.max(y) > 0:
                    g = tl.load(GRADIENT + at, mask=rows[:, None] < T, other=0.0)
                    delta = tl.load(DELTA + head * T + rows, mask=rows < T, other=0.0)
                    dv += tl.dot(tl.trans((y * y).to(g.dtype)), g)
                    ds = y * (tl.dot(g, tl.trans(v)) - delta[:, None])
                    dk += tl.dot(tl.trans(ds.to(q.dtype)), q)
        tl.store(DK + own, (dk * 2 * scale).to(DK.dtype.element_ty), mask=there)
        tl.store(DV + own, dv.to(DV.dtype.element_ty), mask=there)


class Kernels(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        rows, heads, tokens, dim = q.shape
        out, mean = torch.empty_like(q), torch.empty(q.shape, dtype=torch.float32, device=q.device)
        most, tau = (torch.empty(q.shape[:3], dtype=torch.float32, device=q.device) for _ in range(2))
        forward_kernel[(triton.cdiv(tokens, ROWS), rows * heads)](
            q, k, v, out, mean, most, tau, dim ** -0.5 / 2, heads, k.shape[1], tokens, dim, ROWS, KEYS, STEPS)
        ctx.save_for_backward(q, k, v, mean, most, tau)
        return out

    @staticmethod
    def backward(ctx, gradient):
        q, k, v, mean, most, tau = ctx.saved_tensors
        rows, heads, tokens, dim = q.shape
        kv_heads, gradient = k.shape[1], gradient.contiguous()
        delta = (gradient.float() * mean).sum(-1)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        sizes = dim ** -0.5 / 2, heads, kv_heads, tokens, dim, ROWS, KEYS
        queries_kernel[(triton.cdiv(tokens, ROWS), rows * heads)](q, k, v, most, tau, delta, gradient, dq, *sizes)
        keys_kernel[(triton.cdiv(tokens, KEYS), rows * kv_heads)](q, k, v, most, tau, delta, gradient, dk, dv, *sizes)
        return dq, dk, dv


@torch.compiler.disable
def attention(q, k, v):
    """q [rows, H, tokens, D], k, v [rows, G, tokens, D], causal; logits are q k / sqrt(D)."""
    return Kernels.apply(q, k, v) if q.is_cuda and triton else plain(q, k, v)


def check(device, sizes):
    for rows, heads, kv_heads, tokens, scale, dtype in sizes:
        torch.manual_seed(tokens)
        q, g = (torch.randn(rows, heads, tokens, 64, device=device, dtype=dtype) * s for s in (scale, 1))
        k, v = (torch.randn(rows, kv_heads, tokens, 64, device=device, dtype=dtype) * s for s in (scale, 1))
        leaves = [t.requires_grad_() for t in (q, k, v)]
        found = Kernels.apply(q, k, v)
        found = [found, *torch.autograd.grad(found, leaves, g)]
        wanted = plain(*(t.double() for t in leaves)) if device == "cpu" else plain(*(t.float() for t in leaves))
        wanted = [wanted, *torch.autograd.grad(wanted, leaves, g.to(wanted.dtype))]
        apart = [((a.float() - b.float()).norm() / b.float().norm()).item() for a, b in zip(found, wanted)]
        most = 1e-5 if device == "cpu" else 3e-2 if dtype == torch.bfloat16 else 1e-2  # TF32 products: 2.4e-3 seen on an H200
        print(f"entmax kernels: {rows} x {heads}/{kv_heads} x {tokens}, {dtype}: out, dq, dk, dv differ by",
              " ".join(f"{x:.1e}" for x in apart), "ok" if max(apart) <= most else f"expected at most {most}", flush=True)
        if not max(apart) <= most:
            raise SystemExit(1)


if __name__ == "__main__":
    if torch.cuda.is_available():
        check("cuda", [(2, 4, 2, 64, 1, torch.float32), (1, 3, 1, 333, 2, torch.float32), (2, 4, 2, 1152, 1, torch.bfloat16),
                       (1, 4, 2, 4224, 3, torch.bfloat16)])
    else:
        check("cpu", [(2, 4, 2, 64, 1, torch.float32), (1, 3, 1, 133, 2, torch.float32), (1, 2, 2, 70, .05, torch.float32)])
