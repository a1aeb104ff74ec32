"""For each query head a band of distances, all of them below LENGTH once together (Zhao et al. 2025, SPAttention, arXiv 2511.09596): Qwen2
under Frontier's method `spattention` with this length.

The bands are those of the longest rows of the training (4096 tokens and room for an answer) in all rows, so that shorter ones are read by the first
heads alone; a head without a key gives 0.
"""
import torch

import attention
import chosen_attention
import gates

LENGTH = 4096 + 128


class Attention(attention.Attention):
    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.heads = c["heads"]

    def reads(self, x):
        """[1, H, tokens, tokens]: which keys each query reads."""
        head, each, more = torch.arange(self.heads, device=x.device)[:, None, None], LENGTH // self.heads, LENGTH % self.heads
        near, far = head * each + head.clamp(max=more), gates.apart(x.shape[1], x.device)
        return ((far >= near) & (far < near + each + (head < more)))[None]

    @torch.compiler.disable
    def attend(self, x, q, k, v):
        if chosen_attention.runs(q):
            return chosen_attention.attend(q, k, v, bands=LENGTH)
        read = self.reads(x)
        none = ~read.any(-1, keepdim=True)
        return gates.masked(q, k, v, read | none) * ~none
