"""The latest WINDOW keys, and of those before them the K with the highest scores, whoever asks (Lou et al. 2024, SPARSEK, arXiv
2406.16747): Qwen2 under Frontier's method `sparsek` with `weights` from model-side.safetensors (model.layers.N.self_attn.sparsek.weight,
.slope), and these numbers.

Scores get their gradient from the paper's operator, the projection m of a row's scores onto masks of sum K, m = clip(score - tau, 0, 1): it
is added to the logits of what is read, less itself, so that the forward pass is that of the K best. (The paper multiplies values by m.)
A score is linear in the first query of each group, and in the position; the paper's in the layer's input, and in the position.
"""
import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint

import attention
import chosen_attention
import gates

K, WINDOW = 256, 256


class Gates(gates.Gates):
    def __init__(self, c):
        super().__init__(c)
        self.slope = nn.Parameter(torch.zeros(c["kv_heads"]))


def best(score, near):
    """Of each row, among the keys `near` and more before it: which are the K best, [rows, G, tokens, tokens]; and tau [.., tokens, 1]."""
    tokens = score.shape[-1]
    there = torch.where(gates.apart(tokens, score.device) >= near, score[:, :, None], float("-inf"))
    values, index = there.topk(min(K, tokens), -1)
    read = torch.zeros_like(there, dtype=torch.bool).scatter_(-1, index, values > float("-inf"))
    low = values[..., -1:] - 1
    high = low + 1
    for _ in range(chosen_attention.TAU_STEPS):
        tau = (low + high) / 2
        over = (there - tau).clamp(0, 1).sum(-1, keepdim=True) >= K
        low, high = torch.where(over, tau, low), torch.where(over, high, tau)
    return read, low


class Attention(attention.Attention):
    softmax_to = K + WINDOW

    @staticmethod
    def begins_without(name):
        return ".sparsek." in name

    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.sparsek = Gates(c)

    def scores(self, x):
        """[rows, G, tokens]"""
        return self.sparsek(x, self.q_proj) + self.sparsek.slope.float()[:, None] * torch.arange(x.shape[1], device=x.device)

    def reads(self, x):
        """[rows, G, tokens, tokens]: which keys each query reads."""
        far = gates.apart(x.shape[1], x.device)
        return best(self.scores(x), WINDOW)[0] | ((far >= 0) & (far < WINDOW))

    @torch.compiler.disable
    def attend(self, x, q, k, v):
        if chosen_attention.runs(q):
            score = self.scores(x)
            bits, tau = chosen_attention.best(score.detach()[:, :, None], K, x.shape[1], WINDOW, causal=True, taus=True)
            return chosen_attention.attend(q, k, v, bits, window=WINDOW, rim=(score, tau))
        if not self.training:
            return gates.masked(q, k, v, self.reads(x))

        def read(q, k, v, score):
            far = gates.apart(q.shape[2], q.device)
            with torch.no_grad():
                chosen, tau = best(score, WINDOW)
                part = chosen & (score[:, :, None] < tau + 1)  # of the mask's rim, where it has a slope
            rim = torch.where(part, score[:, :, None], 0.0)
            rim = torch.where(part, rim - rim.sum(-1, keepdim=True) / part.sum(-1, keepdim=True).clamp(min=1), 0.0)
            return gates.masked(q, k, v, (rim - rim.detach()).masked_fill(~(chosen | ((far >= 0) & (far < WINDOW))), float("-inf")))

        return checkpoint(read, q, k, v, self.scores(x), use_reentrant=False, preserve_rng_state=False)  # as moba
