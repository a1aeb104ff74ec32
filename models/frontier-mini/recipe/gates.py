"""What kinds of attention with trained gates share: a number of each token for each kv head."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from attention import HEAD_DIM


class Gates(nn.Module):
    """Linear in the query of a group's first head before rotation, as Frontier's methods read it (methods/gates.h)."""

    def __init__(self, c):
        super().__init__()
        self.group = c["heads"] // c["kv_heads"]
        self.weight = nn.Parameter(torch.empty(c["kv_heads"], HEAD_DIM))

    def forward(self, x, q_proj):
        """x [rows, tokens, hidden]: [rows, G, tokens]"""
        q = q_proj(x).unflatten(-1, (-1, HEAD_DIM))[:, :, ::self.group]
        return torch.einsum("rtgd,gd->rgt", q.float(), self.weight.float())


def masked(q, k, v, mask):
    """Attention by a mask [1 or rows, G or H, tokens, tokens]: bool, what is read, or what is added to logits."""
    def to_all(t):  # the kernels that take a mask know no groups
        return t.repeat_interleave(q.shape[1] // t.shape[1], 1)

    return F.scaled_dot_product_attention(q, to_all(k), to_all(v), attn_mask=to_all(mask if mask.dtype == torch.bool else mask.to(q.dtype)))


def apart(tokens, device):
    """[tokens, tokens]: how far before each query each key stands."""
    at = torch.arange(tokens, device=device)
    return at[:, None] - at
