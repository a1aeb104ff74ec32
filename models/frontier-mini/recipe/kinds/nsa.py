"""Three attentions of each query, added up by gates that are a sigmoid of the layer's input: the means of blocks that are over, chosen blocks,
and the latest keys (Yuan et al. 2025, Native Sparse Attention, arXiv 2502.11089, as fla/ops/nsa/naive.py of flash-linear-attention at
012a873 has it: one key and value for all three, means of blocks that do not overlap). Qwen2 under Frontier's method `nsa` with
these numbers and the g_proj of each layer.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import attention
import chosen_attention
from kinds.window import latest

BLOCK, BLOCKS, WINDOW = 32, 12, 128


def block_means(t, block):
    """[rows, G, blocks that are whole, D]"""
    whole = t.shape[2] // block
    return t[:, :, :whole * block].unflatten(2, (whole, block)).mean(3)


def shares(q, means, block):
    """[rows, H, tokens, blocks]: softmax over the means of the blocks whose last key a query sees; 0 where there are none."""
    means = means.repeat_interleave(q.shape[1] // means.shape[1], 1)
    tokens, number = torch.arange(q.shape[2], device=q.device), torch.arange(means.shape[2], device=q.device)
    over = (number + 1) * block - 1 <= tokens[:, None]
    with torch.autocast(q.device.type, enabled=False):  # bf16 has no room for what stands in place of -inf
        score = (q.float() @ means.float().transpose(2, 3) * q.shape[-1] ** -0.5).masked_fill(~over, torch.finfo(torch.float32).min)
    return score.softmax(-1) * over


def ranks(share, groups, block):
    """[rows, G, tokens, blocks]: by what a query's blocks are chosen, the mean of its group; 2 for the first one, its own and the one before
    it; -1 for those that are not over."""
    tokens = torch.arange(share.shape[2], device=share.device)[:, None]
    number, own = torch.arange(-(-share.shape[2] // block), device=share.device), tokens // block
    mean = F.pad(share.unflatten(1, (groups, share.shape[1] // groups)).mean(2), (0, len(number) - share.shape[3]))
    always = (number == 0) | (number == own) | (number == own - 1)
    return mean.masked_fill((number + 1) * block - 1 > tokens, -1).masked_fill(always, 2)


def chosen(rank, block, count):
    """[rows, G, tokens, tokens]: which keys each query reads, of its `count` best blocks."""
    tokens = rank.shape[2]
    best, index = rank.sort(dim=-1, descending=True, stable=True)  # of equal ones the first
    read = torch.zeros_like(rank, dtype=torch.bool).scatter_(-1, index[..., :count], best[..., :count] >= 0)
    return read.repeat_interleave(block, -1)[..., :tokens] & torch.ones(tokens, tokens, dtype=torch.bool, device=rank.device).tril()


def over_chosen(q, k, v, read):
    return attention.by_mask(q, k, v, read.repeat_interleave(q.shape[1] // read.shape[1], 1))


class Attention(attention.Attention):
    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.g_proj = nn.Linear(c["hidden"], 3 * c["heads"], bias=False)

    @staticmethod
    def begins_without(name):
        return ".g_proj." in name

    @torch.compiler.disable
    def attend(self, x, q, k, v):
        block, blocks, window = BLOCK, BLOCKS, WINDOW

        def read(q, k, v):
            share = shares(q, block_means(k, block), block)
            mean = block_means(v, block)
            summed = share.to(v.dtype) @ mean.repeat_interleave(q.shape[1] // v.shape[1], 1)
            with torch.no_grad():
                mask = chosen(ranks(share, k.shape[1], block), block, blocks)
            return summed, over_chosen(q, k, v, mask), latest(q, k, v, min(window, q.shape[2]))

        def read_by_kernels(q, k, v):
            means, values = (block_means(t, block).to(q.dtype) for t in (k, v))
            if means.shape[2]:
                with torch.no_grad():
                    rank = ranks(shares(q, means, block), k.shape[1], block)
                summed = chosen_attention.attend(q, means, values, stretch=block)
            else:
                rank, summed = ranks(shares(q, means, block), k.shape[1], block), torch.zeros_like(q)
            bits = chosen_attention.best(rank, blocks, q.shape[2], floor=-0.5, block=block)
            return summed, chosen_attention.attend(q, k, v, bits, block), chosen_attention.attend(q, k, v, span=window)

        if chosen_attention.runs(q):
            each = read_by_kernels(q, k, v)
        else:
            each = checkpoint(read, q, k, v, use_reentrant=False, preserve_rng_state=False)  # or every layer would keep its masks
        gate = self.g_proj(x).float().sigmoid().unflatten(2, (-1, 3)).transpose(1, 2)  # [rows, H, tokens, 3]
        return sum(gate[..., i, None].to(q.dtype) * part for i, part in enumerate(each))
