"""The keys that an indexer scores highest, one choice for all heads (DeepSeek-V3.2-Exp, whose inference/model.py at 3b99a53 has the indexer;
here its queries are of the layer's input, in fp32). Begins with the weights of a softmax model, whose attention the indexer learns to
foresee: dsa_warm first, which reads all keys and trains the indexer alone, then dsa. The indexer sees the layer's input, but sends nothing
back into it: it learns from the divergence of its softmax from the heads' mean attention, over the keys that are read. On a GPU that is taken of one
query of EVERY, others each step: a mean over all queries is what it estimates, and all of them would cost as much as the rest of the step. Qwen2 under
Frontier's method `dsa` with these numbers and the indexer of each layer.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import attention
import chosen_attention

K, HEADS, EVERY = 256, 4, 16
DIM = attention.HEAD_DIM  # so that it turns as the model's heads do


class Indexer(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.wq = nn.Linear(hidden, HEADS * DIM, bias=False)
        self.wk = nn.Linear(hidden, DIM, bias=False)
        self.k_norm = nn.LayerNorm(DIM, eps=1e-6)
        self.weights_proj = nn.Linear(hidden, HEADS, bias=False)

    def forward(self, x, cos, sin):
        """Queries [rows, heads, tokens, DIM], keys [rows, tokens, DIM], weights [rows, tokens, heads]."""
        def turned(t):
            a, b = t.float().chunk(2, -1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        q = self.wq(x).unflatten(2, (HEADS, DIM)).transpose(1, 2)
        return turned(q), turned(self.k_norm(self.wk(x).float())), self.weights_proj(x).float() * (HEADS * DIM) ** -0.5


def weighed(q, k, w):
    """[rows, queries, keys]: sum over heads of w times what of q.k is above 0."""
    return sum(w[:, :, h, None] * F.relu(q[:, h] @ k.transpose(1, 2)) for h in range(q.shape[1]))


def scores(q, k, w):
    """[rows, tokens, tokens]: as weighed; -inf ahead."""
    score = weighed(q, k, w)
    return score.masked_fill(torch.ones(score.shape[1:], dtype=torch.bool, device=q.device).triu(1), float("-inf"))


def chosen(score, count):
    """[rows, tokens, tokens]: the `count` best of each row."""
    best, index = score.sort(dim=-1, descending=True, stable=True)  # of equal ones the first
    return torch.zeros_like(score, dtype=torch.bool).scatter_(-1, index[..., :count], best[..., :count] > float("-inf"))


def divergence(q, k, score, read):
    """Of the softmax of score [rows, queries, keys] from the mean attention of the heads of q [rows, H, queries, D], over the keys that are read
    (bool, as score); mean of the queries."""
    with torch.no_grad():
        logits = q.float() @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).float().transpose(2, 3) * q.shape[-1] ** -0.5
        seen = logits.masked_fill(~read[:, None], float("-inf")).softmax(-1).mean(1)
    foreseen = score.masked_fill(~read, torch.finfo(torch.float32).min).log_softmax(-1)
    return F.kl_div(foreseen, seen, reduction="sum") / (score.shape[0] * score.shape[1])


class Attention(attention.Attention):
    READS_ALL = False

    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.indexer = Indexer(c["hidden"])

    @staticmethod
    def begins_without(name):
        return ".indexer." in name

    def forward(self, x, cos, sin):
        self.turn = cos, sin
        return super().forward(x, cos, sin)

    @torch.compiler.disable
    def attend(self, x, q, k, v):
        count = K

        def read(q, k, v, iq, ik, iw):
            score = scores(iq, ik, iw)
            with torch.no_grad():
                mask = score > float("-inf") if self.READS_ALL else chosen(score, count)
            out = attention.by_mask(q, k, v, mask[:, None])
            return out, divergence(q, k, score, mask)

        index = self.indexer(x.detach(), *self.turn)
        if chosen_attention.runs(q):
            return self.attend_by_kernels(q, k, v, *index)
        parts = [checkpoint(read, *(t[r:r + 1] for t in (q, k, v, *index)), use_reentrant=False, preserve_rng_state=False)
                 for r in range(q.shape[0])]  # a row at a time: what a layer needs for itself grows with the square of the length
        self.loss = sum(part[1] for part in parts) / len(parts)
        return torch.cat([part[0] for part in parts])

    def attend_by_kernels(self, q, k, v, iq, ik, iw):
        tokens, bits = q.shape[2], None
        if self.READS_ALL or tokens <= K:
            out = attention.causal(q, k, v)
        else:
            bits = chosen_attention.best(chosen_attention.index_scores(iq.to(q.dtype), ik.to(q.dtype), iw), K, tokens, causal=True)
            out = chosen_attention.attend(q, k, v, bits)
        if self.training:
            at = torch.arange(0, tokens // EVERY * EVERY, EVERY, device=q.device) + torch.randint(0, EVERY, (1,), device=q.device)
            read = (torch.arange(tokens, device=q.device) <= at[:, None]).expand(q.shape[0], -1, -1)
            if bits is not None:
                read = read & chosen_attention.unpacked(bits[:, 0].index_select(1, at), tokens)
            score = weighed(iq.index_select(2, at), ik, iw.index_select(1, at))
            self.loss = divergence(q.detach().index_select(2, at), k.detach(), score, read)
        return out
