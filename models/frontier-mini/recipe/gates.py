"""What kinds of attention with trained gates share: a number of each token for each kv head."""
import torch
import torch.nn as nn

from attention import HEAD_DIM, by_mask


class Gates(nn.Module):
    """Linear in the query of a group's first head before rotation, as Frontier's methods read it (methods/gates.h)."""

    def __init__(self, c):
        super().__init__()
        self.group = c["heads"] // c["kv_heads"]
        self.weight = nn.Parameter(torch.empty(c["kv_heads"], HEAD_DIM))

    def forward(self, x, q_proj):
        """x [rows, tokens, hidden]: [rows, G, tokens]"""
        q = q_proj(x).unflatten(-1, (-1, HEAD_DIM))[:, :, ::self.group]
        with torch.autocast(x.device.type, enabled=False):  # in bf16 many keys would have one number
            return torch.einsum("rtgd,gd->rgt", q.float(), self.weight.float())


def masked(q, k, v, mask):
    """Attention by a mask [1 or rows, G or H, tokens, tokens]: bool, what is read, or what is added to logits."""
    mask = mask.repeat_interleave(q.shape[1] // mask.shape[1], 1)
    return by_mask(q, k, v, mask if mask.dtype == torch.bool else mask.to(q.dtype))


def apart(tokens, device):
    """[tokens, tokens]: how far before each query each key stands."""
    at = torch.arange(tokens, device=device)
    return at[:, None] - at
