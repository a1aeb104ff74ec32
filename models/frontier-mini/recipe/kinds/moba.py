"""For each query and head, its own block of keys and those whose mean key agrees most with it, by softmax (Lu et al. 2025, MoBA,
arXiv 2502.13189, as in MoonshotAI/MoBA 61e456b, moba_naive): Qwen2 under Frontier's method `moba` with these numbers.
"""
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import attention

BLOCK, K = 64, 8


def chosen(q, k, block=BLOCK, count=K):
    """[rows, H, tokens, tokens]: which keys each query reads."""
    rows, heads, tokens, dim = q.shape
    blocks = -(-tokens // block)
    over = torch.arange(tokens, device=q.device) // block  # of a token
    padded = F.pad(k.float(), (0, 0, 0, blocks * block - tokens)).view(rows, -1, blocks, block, dim)
    there = torch.clamp(tokens - torch.arange(blocks, device=q.device) * block, max=block)
    mean = (padded.sum(3) / there[:, None]).repeat_interleave(heads // k.shape[1], 1)
    score = q.float() @ mean.transpose(2, 3)                        # [rows, H, tokens, blocks]
    number = torch.arange(blocks, device=q.device)
    score = score.masked_fill(number[None] > over[:, None], float("-inf")).masked_fill(number[None] == over[:, None], float("inf"))
    best, index = score.topk(min(count, blocks), -1)
    read = torch.zeros_like(score, dtype=torch.bool).scatter_(-1, index, best > float("-inf"))
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).tril()
    return read.repeat_interleave(block, -1)[..., :tokens] & causal


class Attention(attention.Attention):
    @torch.compiler.disable
    def attend(self, x, q, k, v):
        def read(q, k, v):
            with torch.no_grad():
                mask = chosen(q, k)
            return attention.by_mask(q, k, v, mask)

        return checkpoint(read, q, k, v, use_reentrant=False, preserve_rng_state=False)  # or every layer would keep its mask for the way back
