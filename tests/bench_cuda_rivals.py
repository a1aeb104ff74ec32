"""Sparse prefill by others on one GPU, for tests/cuda_targets.py to set beside tests/bench_cuda: PyTorch's FlexAttention on lists of
blocks of 128 like bench_cuda's, each query head its own; the selected branch of native sparse attention (NSA) as flash-linear-attention
has it (fla-core), where that is installed.

Lines: "flex HEADS KV_HEADS DIM TOKENS BLOCK DENSITY milliseconds"; "nsa HEADS KV_HEADS DIM TOKENS BLOCK CHOSEN milliseconds", of which
every query takes CHOSEN blocks, whatever lies behind it: TFLOP/s are those of the pairs that are computed."""
import math

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from bench_cuda_peers import median_ms, random


def strata(blocks, most, heads, device):
    """[heads, blocks, most] ascending block numbers without repeats, spread over what lies behind, without the diagonal, and how many."""
    row = torch.arange(blocks, device=device)[:, None]
    slot = torch.arange(most - 1, device=device)
    u = torch.rand(heads, blocks, most - 1, device=device)
    first, beyond = slot * row // (most - 1), (slot + 1) * row // (most - 1)
    index = torch.where(row < most, slot, first + (u * (beyond - first)).int()).int()
    return index, row[:, 0].clamp(max=most - 1).int()


def block_mask(heads, tokens, block, device):
    """FlexAttention's lists at density .10: whole blocks behind the diagonal's, which is masked; and their density as bench_cuda has it."""
    blocks = tokens // block
    most = int(blocks * (1 - math.sqrt(0.9)))
    index, count = strata(blocks, most, heads, device)
    whole = torch.zeros(heads, blocks, blocks, dtype=torch.int32, device=device)
    whole[:, :, : most - 1] = index
    diagonal = torch.zeros(1, heads, blocks, blocks, dtype=torch.int32, device=device)
    diagonal[..., 0] = torch.arange(blocks, device=device)
    one = torch.ones(1, heads, blocks, dtype=torch.int32, device=device)
    counts = count.expand(1, heads, blocks).contiguous()
    mask = BlockMask.from_kv_blocks(one, diagonal, counts, whole[None], BLOCK_SIZE=block, mask_mod=lambda b, h, q, k: q >= k)
    return mask, (count.double() + 0.5).sum().item() * block**2 / (0.5 * tokens**2)


def flex(heads, kv_heads, dim, tokens, block=128):
    mask, density = block_mask(heads, tokens, block, "cuda")
    q, k, v = random(1, heads, tokens, dim), random(1, kv_heads, tokens, dim), random(1, kv_heads, tokens, dim)
    call = torch.compile(flex_attention)
    ms = median_ms(lambda: call(q, k, v, block_mask=mask, enable_gqa=True))
    print(f"flex {heads} {kv_heads} {dim} {tokens} {block} {density:.3f} {ms:.3f}", flush=True)


def nsa(heads, kv_heads, dim, tokens, block=64, chosen=16):
    try:
        from fla.ops.nsa import parallel_nsa
    except ImportError as why:
        print(f"# no NSA: {why}")
        return
    q, k, v = random(1, tokens, heads, dim), random(1, tokens, kv_heads, dim), random(1, tokens, kv_heads, dim)
    gate = torch.ones(1, tokens, heads, device="cuda", dtype=torch.bfloat16)
    own = (torch.arange(tokens, device="cuda") // block)[None, :, None, None]
    index = torch.randint(0, tokens // block, (1, tokens, kv_heads, chosen), device="cuda").sort(-1).values.minimum(own)
    ms = median_ms(lambda: parallel_nsa(q, k, v, g_slc=gate, block_indices=index, block_counts=chosen, block_size=block))
    flops = 4 * tokens * chosen * block * heads * dim
    print(f"nsa {heads} {kv_heads} {dim} {tokens} {block} {chosen} {ms:.3f}  # {flops / ms / 1e9:.0f} TFLOP/s of computed pairs", flush=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    with torch.no_grad():
        flex(32, 8, 128, 131072)
        nsa(64, 4, 128, 32768)
