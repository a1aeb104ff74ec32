"""Sparse prefill by others on one GPU, for tests/cuda_targets.py to set beside tests/bench_cuda: PyTorch's FlexAttention on lists of
blocks of 128 like bench_cuda's, each query head its own; the selected branch of native sparse attention (NSA) as flash-linear-attention
has it (fla-core), where that is installed.

Lines: "flex HEADS KV_HEADS DIM TOKENS BLOCK DENSITY milliseconds"; "nsa LISTS HEADS KV_HEADS DIM TOKENS BLOCK MOST milliseconds", of which
every query takes at most MOST blocks: TFLOP/s are those of the pairs that are computed."""
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


def chosen_blocks(how, tokens, kv_heads, block, most):
    """[1, tokens, kv_heads, most] ascending block numbers and how many there are, drawn as tests/bench_cuda.c has it: "random" spread over the
    past, and the own block; "clipped" of all blocks, those behind the own one being that (so often in the list: computed, and weighed,
    as often); "alike" the first, the own and the one before, and others that stay from query to query, each replaced with probability 1/16."""
    own = (torch.arange(tokens, device="cuda") // block)[None, :, None, None]
    shape = (1, tokens, kv_heads, most)
    if how == "clipped":
        index = torch.randint(0, tokens // block, shape, device="cuda").sort(-1).values.minimum(own)
        return index, torch.full(shape[:-1], most, device="cuda")
    if how == "random":
        n = (own + 1).clamp(max=most)
        slot = torch.arange(most, device="cuda")
        first, beyond = slot * own // (n - 1).clamp(min=1), (slot + 1) * own // (n - 1).clamp(min=1)
        index = torch.where(slot == n - 1, own, first + (torch.rand(shape, device="cuda") * (beyond - first)).long())
        return index.minimum(own), n[..., 0].expand(shape[:-1])
    token = torch.arange(tokens, device="cuda")[None, :, None, None]
    drawn = (torch.rand(shape, device="cuda") * (own + 1)).long()
    since = torch.where((torch.rand(shape, device="cuda") < 1 / 16) | (token == 0), token, 0).cummax(1).values
    index = drawn.gather(1, since)
    index[..., 0], index[..., 1:2], index[..., 2:3] = 0, (own - 1).clamp(min=0), own
    index = index.sort(-1).values
    again = torch.zeros_like(index, dtype=torch.bool)
    again[..., 1:] = index[..., 1:] == index[..., :-1]
    index = index.masked_fill(again, tokens).sort(-1).values
    n = (index < tokens).sum(-1)
    return index.minimum(own), n


def nsa(how, heads, kv_heads, dim, tokens, block=64, most=16):
    try:
        from fla.ops.nsa import parallel_nsa
    except ImportError as why:
        print(f"# no NSA: {why}")
        return
    q, k, v = random(1, tokens, heads, dim), random(1, tokens, kv_heads, dim), random(1, tokens, kv_heads, dim)
    gate = torch.ones(1, tokens, heads, device="cuda", dtype=torch.bfloat16)
    index, count = chosen_blocks(how, tokens, kv_heads, block, most)
    count = count.contiguous()
    ms = median_ms(lambda: parallel_nsa(q, k, v, g_slc=gate, block_indices=index, block_counts=count, block_size=block))
    flops = 4 * int(count.sum()) * block * (heads // kv_heads) * dim
    print(f"nsa {how} {heads} {kv_heads} {dim} {tokens} {block} {most} {ms:.3f}  # {flops / ms / 1e9:.0f} TFLOP/s of computed pairs", flush=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    with torch.no_grad():
        flex(32, 8, 128, 131072)
        for how in ("random", "clipped", "alike"):
            nsa(how, 64, 4, 128, 65536)
