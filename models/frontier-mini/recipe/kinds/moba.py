"""For each query and head, its own block of keys and those whose mean key agrees most with it, by softmax (Lu et al. 2025, MoBA,
arXiv 2502.13189, as in MoonshotAI/MoBA 61e456b, moba_naive): Qwen2 under Frontier's method `moba` with these numbers.
"""
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import attention
import chosen_attention

BLOCK, K = 64, 8


def ranks(q, k, block=BLOCK):
    """[rows, H, tokens, blocks]: by what a query's blocks are chosen; inf for its own, -inf for later ones."""
    rows, heads, tokens, dim = q.shape
    blocks = -(-tokens // block)
    over = torch.arange(tokens, device=q.device) // block  # of a token
    padded = F.pad(k.float(), (0, 0, 0, blocks * block - tokens)).view(rows, -1, blocks, block, dim)
    there = torch.clamp(tokens - torch.arange(blocks, device=q.device) * block, max=block)
    mean = (padded.sum(3) / there[:, None]).repeat_interleave(heads // k.shape[1], 1)
    with torch.autocast(q.device.type, enabled=False):
        score = q.float() @ mean.transpose(2, 3)
    number = torch.arange(blocks, device=q.device)
    return score.masked_fill(number[None] > over[:, None], float("-inf")).masked_fill(number[None] == over[:, None], float("inf"))


def chosen(q, k, block=BLOCK, count=K):
    """[rows, H, tokens, tokens]: which keys each query reads."""
    score, tokens = ranks(q, k, block), q.shape[2]
    best, index = score.topk(min(count, score.shape[-1]), -1)
    read = torch.zeros_like(score, dtype=torch.bool).scatter_(-1, index, best > float("-inf"))
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).tril()
    return read.repeat_interleave(block, -1)[..., :tokens] & causal


class Attention(attention.Attention):
    softmax_to = BLOCK * K

    @torch.compiler.disable
    def attend(self, x, q, k, v):
        if chosen_attention.runs(q):
            with torch.no_grad():
                bits = chosen_attention.best(ranks(q, k), K, q.shape[2], block=BLOCK)
            return chosen_attention.attend(q, k, v, bits, BLOCK)

        def read(q, k, v):
            with torch.no_grad():
                mask = chosen(q, k)
            return attention.by_mask(q, k, v, mask)

        return checkpoint(read, q, k, v, use_reentrant=False, preserve_rng_state=False)  # or every layer would keep its mask for the way back
