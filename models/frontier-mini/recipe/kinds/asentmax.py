"""Adaptive-scalable entmax: 1.5-entmax of logits that grow with the length, as each head learns (Vasylenko et al. 2025, arXiv
2506.16640, as in deep-spin/asentmax be54bd3, attn_scale_type adapt-softplus-tanh).

    logits of position i, times 1 + beta (log(i + 2))^gamma    beta = softplus(B x), gamma = 2 tanh(C x), each head its own

With rotary positions where the authors' models have ALiBi in half of the heads and none in the others.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

import entmax_attention
from kinds import entmax15

DELTA, RANGE = 1.0, 2.0


class Attention(entmax15.Attention):
    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.attn_scale_beta_proj = nn.Linear(c["hidden"], c["heads"], bias=False)
        self.attn_scale_gamma_proj = nn.Linear(c["hidden"], c["heads"], bias=False)

    @staticmethod
    def config(c):
        return {**entmax15.Attention.config(c), "attn_scale_type": "adapt-softplus-tanh", "attn_scale_delta": DELTA,
                "attn_scale_gamma_range": RANGE}

    def scale(self, x):
        """[rows, H, tokens, 1]"""
        beta = F.softplus(self.attn_scale_beta_proj(x).float())
        gamma = RANGE * torch.tanh(self.attn_scale_gamma_proj(x).float())
        length = torch.arange(2, x.shape[1] + 2, device=x.device).float().log()
        return (DELTA + beta * length[None, :, None] ** gamma).transpose(1, 2)[..., None]

    @torch.compiler.disable  # compiled, beside ten others on an H200, it had not taken its steps after 92 seconds
    def attend(self, x, q, k, v):
        return entmax_attention.attention((q * self.scale(x)).to(q.dtype), k, v)
