"""Every key for WINDOW tokens, and then those that a gate does not mark for eviction (Łańcucki et al. 2025, DMS, arXiv 2506.05345, as in
NVIDIA/Model-Optimizer a2fbac7, experimental/dms): Qwen2 under Frontier's method `dms` with `weights` from model-side.safetensors
(model.layers.N.self_attn.dms.weight, .offset) and this window.

Key j is marked by token j + 1. In training a mark is soft: a sigmoid at TEMPERATURE, with logistic noise, whose logarithm is
added to logits; what is lacking to the share that shall be marked, 1 - 1 / ratio, is part of the loss, where the ratio rises from 1 by 1 every
PACE steps to RATIO. It begins with the weights of a trained softmax model (train.py --polish), and learns by the recipe's own loss, where the
paper distils the model that it began as. The gate reads the first query of each group, where the paper reads the layer's input.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import attention
import chosen_attention
import gates

WINDOW, OFFSET, RATIO, PACE, TEMPERATURE = 256, 5.0, 8.0, 100, 0.1


class Gates(gates.Gates):
    def __init__(self, c):
        super().__init__(c)
        self.offset = nn.Parameter(torch.full((c["kv_heads"],), OFFSET))


class Attention(attention.Attention):
    @staticmethod
    def begins_without(name):
        return ".dms." in name

    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.dms = Gates(c)
        self.register_buffer("steps", torch.zeros(()), persistent=False)

    def marks(self, x):
        """[rows, G, tokens]: key j is evicted where this is above 0; the last is not decided on."""
        logit = self.dms(x, self.q_proj) - self.dms.offset.float()[:, None]
        return F.pad(logit[..., 1:], (0, 1), value=float("-inf"))

    def reads(self, x):
        """[rows, G, tokens, tokens]: which keys each query reads."""
        far = gates.apart(x.shape[1], x.device)
        return (far >= 0) & ((far <= WINDOW) | (self.marks(x) <= 0)[:, :, None])

    @torch.compiler.disable
    def attend(self, x, q, k, v):
        kernels = chosen_attention.runs(q)
        if not self.training:
            if kernels:
                return chosen_attention.attend(q, k, v, added=torch.where(self.marks(x) <= 0, 0.0, float("-inf")), window=WINDOW + 1)
            return gates.masked(q, k, v, self.reads(x))
        marks = self.marks(x)
        chance = torch.rand_like(marks).clamp(1e-6, 1 - 1e-6)
        soft = (marks + chance.logit()) / TEMPERATURE
        wanted = 1 - 1 / (1 + self.steps / PACE).clamp(max=RATIO)
        self.steps += 1
        self.loss = F.relu(wanted - soft[..., :-1].sigmoid().mean())
        if kernels:
            return chosen_attention.attend(q, k, v, added=F.logsigmoid(-soft), window=WINDOW + 1)

        def read(q, k, v, stays):
            far = gates.apart(q.shape[2], q.device)
            return gates.masked(q, k, v, torch.where(far <= WINDOW, 0.0, stays[:, :, None]).masked_fill(far < 0, float("-inf")))

        return checkpoint(read, q, k, v, F.logsigmoid(-soft), use_reentrant=False, preserve_rng_state=False)  # as moba
