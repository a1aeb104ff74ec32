"""What all kinds of attention share: projections, rotation, and the reading of one row of hidden state by heads."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import chosen_attention

HEAD_DIM = 64
MASKED = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]  # not cuDNN's: a training of moba ended in an illegal instruction there, on an H200


def by_mask(q, k, v, mask):
    """Softmax attention of q [rows, H, tokens, D] over k, v [rows, G, keys, D] by a mask that goes with [rows, H, tokens, keys]: bool, what
    is read, or what is added to logits. Every kind that has a mask attends by this. Not for compiled code."""
    if k.shape[1] < q.shape[1]:  # the kernels that take a mask know no groups
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    with sdpa_kernel(MASKED):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def causal(q, k, v):
    """Softmax attention of q [rows, H, tokens, D] over all of k, v [rows, G, tokens, D] that are not ahead."""
    if chosen_attention.runs(q):
        return chosen_attention.attend(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


class Attention(nn.Module):
    """A kind is a class that fills in attend(); see kinds/__init__.py."""

    loss = None     # what a kind learns by beside the tokens, of the last rows
    softmax_to = 0  # in rows of so many tokens it computes what softmax does

    @staticmethod
    def trains(name):
        """Whether a parameter learns."""
        return True

    @staticmethod
    def begins_without(name):
        """Whether a parameter is not in the softmax model that a training of this kind may begin with."""
        return False

    def __init__(self, c, layer):
        super().__init__()
        self.q_proj = nn.Linear(c["hidden"], c["heads"] * HEAD_DIM)
        self.k_proj = nn.Linear(c["hidden"], c["kv_heads"] * HEAD_DIM)
        self.v_proj = nn.Linear(c["hidden"], c["kv_heads"] * HEAD_DIM)
        self.o_proj = nn.Linear(c["heads"] * HEAD_DIM, c["hidden"], bias=False)

    @staticmethod
    def config(c):
        """Keys of config.json beyond Qwen2's, or in their place."""
        return {}

    def attend(self, x, q, k, v):
        """x [rows, tokens, hidden] as the layer reads it, q [rows, H, tokens, D], k, v [rows, G, tokens, D], rotated."""
        raise NotImplementedError

    def forward(self, x, cos, sin):
        rows, tokens, _ = x.shape

        def heads(projection):
            return projection(x).view(rows, tokens, -1, HEAD_DIM).transpose(1, 2)

        def rotate(t):
            a, b = t.chunk(2, -1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(t.dtype)

        out = self.attend(x, rotate(heads(self.q_proj)), rotate(heads(self.k_proj)), heads(self.v_proj))
        return self.o_proj(out.transpose(1, 2).reshape(rows, tokens, -1))
