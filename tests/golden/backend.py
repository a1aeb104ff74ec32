"""Writes backend.bin: what PyTorch computes for the ops of kernels/backend.h, fp32 or int32, in the order in which
tests/test_backend_golden.c reads it. Inputs are made by the same hash in both, so that only results are stored. Patterns
become masks by the words of kernels/pattern.h, one element at a time.

    python3 tests/golden/backend.py
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

out = open(pathlib.Path(__file__).with_suffix(".bin"), "wb")


def put(x):
    x = np.ascontiguousarray(x)
    out.write(x.astype("<i4" if x.dtype.kind in "iu" else "<f4").tobytes())


def values(seed, *shape):
    u = np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(seed * 1000003)
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        u ^= u >> np.uint32(shift)
        u *= np.uint32(factor)
    u ^= u >> np.uint32(15)
    return torch.from_numpy((u.astype(np.float64) / 2**31 - 1).astype(np.float32).reshape(shape)).double()


# ---- layers
x, w, bias = values(1, 5, 48), values(2, 20, 48), values(3, 20)
put(F.linear(x, w, bias))
put(x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * (values(4, 48) + 1))
gate, up = 6 * values(5, 3, 50), values(6, 3, 50)
put(F.silu(gate) * up)
put(F.gelu(gate, approximate="tanh") * up)

T, HEADS, D = 7, 2, 16
x = values(7, T, HEADS, D)
position = torch.tensor([0, 3, 4, 9, 1, 30, 2])
angle = position[:, None].double() / 10000.0 ** (torch.arange(D // 2).double() / (D // 2))  # [T, D/2]
cos, sin = angle.float().cos().double()[:, None], angle.float().sin().double()[:, None]
put(torch.cat([x[..., : D // 2] * cos - x[..., D // 2 :] * sin, x[..., D // 2 :] * cos + x[..., : D // 2] * sin], -1))
turned = torch.view_as_complex(x.reshape(T, HEADS, D // 2, 2).contiguous()) * torch.complex(cos, sin)
put(torch.view_as_real(turned).reshape(T, HEADS, D))

scores = values(8, 4, 60)
put(F.avg_pool1d(scores, 7, 1, 3))
put(F.max_pool1d(scores, 5, 1, 2))
put(torch.sort(torch.topk(scores, 9).indices).values.int())

# ---- attention: T queries, N keys, two kv heads for four query heads
T, N, H, G, D, SCALE = 90, 100, 4, 2, 16, 1.5
q, k, v = values(11, T, H, D), values(12, G, N, D), values(13, G, N, D)
keys, vals = k.repeat_interleave(H // G, 0), v.repeat_interleave(H // G, 0)  # [H, N, D]
pos = [N - T + i for i in range(T)]


def mask_of(names):
    m = torch.zeros(H, T, N, dtype=torch.bool)
    for h in range(H):
        for i in range(T):
            for j in range(pos[i] + 1):
                m[h, i, j] = names(h, i, j)
    return m


def attend(mask):
    o = F.scaled_dot_product_attention(q.transpose(0, 1), keys, vals, attn_mask=mask, scale=SCALE)
    put(o.transpose(0, 1))
    put(np.array([int(m.sum()) for m in mask]))


def blocks(h, b):  # key blocks of query head h and query block b, 16 x 16
    return {j for j in range(7) if j == 0 or (j * 5 + b * 3 + h) % 4 == 0}


def columns(g):
    return {j for j in range(N) if (j * 7 + g) % 13 == 0}


def diagonals(g):
    return {j for j in range(N) if j == 0 or (j + g) % 41 == 40}


dense = mask_of(lambda h, i, j: True)
attend(dense)
attend(mask_of(lambda h, i, j: pos[i] - j < 30))
attend(mask_of(lambda h, i, j: j < 4 or pos[i] - j < 20 or i >= T - 5))
attend(mask_of(lambda h, i, j: j // 16 in blocks(h, i // 16)))
attend(mask_of(lambda h, i, j: j in columns(h // 2) or any(
    pos[i // 64 * 64] - o <= j < pos[i // 64 * 64] - o + 64 for o in diagonals(h // 2))))

# ---- estimation
p = torch.softmax((q.transpose(0, 1) @ keys.transpose(1, 2) * SCALE).masked_fill(~dense, -torch.inf), -1)  # [H, T, N]
last = p[:, T - 20 :]
put(last.sum(1))
put(last.max(1).values)
diagonal = torch.zeros(H, N, dtype=torch.float64)
for i in range(20):
    for j in range(pos[T - 20 + i] + 1):
        diagonal[:, pos[T - 20 + i] - j] += last[:, i, j]
put(diagonal)
put(torch.stack([(p[h, [3, 50, 89]] * torch.tensor([[float(j in columns(h // 2)) for j in range(N)]])).sum(-1).mean()
                 for h in range(H)]))

q_mean = torch.stack([q[b * 16 : b * 16 + 16].mean(0) for b in range(6)], 1)  # [H, 6, D]
k_mean = torch.stack([k[:, b * 16 : b * 16 + 16].mean(1) for b in range(7)], 1)  # [G, 7, D]
put(q_mean)
put(k_mean)
s = torch.einsum("hqd,hkd->hqk", q_mean, k_mean.repeat_interleave(2, 0)) * SCALE
seen = torch.tensor([[j * 16 <= pos[min(b * 16 + 15, T - 1)] for j in range(7)] for b in range(6)])
put(torch.softmax(s.masked_fill(~seen, -torch.inf), -1).masked_fill(~seen, -torch.inf))
for h in range(H):
    for b in range(6):
        visible = int(seen[b].sum())
        order = sorted(range(visible), key=lambda j: (-float("inf") if j == 0 or j == visible - 1 else -s[h, b, j], j))
        put(np.array(sorted(order[:4]) + [-1] * (4 - min(4, visible))))

pages = [k[:, i * 16 : i * 16 + 16] for i in range(7)]
low, high = torch.stack([x.amin(1) for x in pages], 1), torch.stack([x.amax(1) for x in pages], 1)  # [G, 7, D]
put(low)
put(high)
one = q[T - 1].reshape(G, 2, 1, D)
put(torch.maximum(one * low[:, None], one * high[:, None]).sum(-1).sum(1))
put(p[:, T - 1])
