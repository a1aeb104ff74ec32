"""The latest 256 keys, by softmax; every fourth layer all of them, as in Gemma 3 (there every sixth, arXiv 2503.19786)."""
import torch
import torch.nn.functional as F

import attention
import chosen_attention

WINDOW, EVERY = 256, 4


def slides(layer):
    return (layer + 1) % EVERY != 0


@torch.compiler.disable  # its blocks would be compiled anew at every length
def latest(q, k, v, window):
    """Each query over its latest `window` keys: blocks of that many queries, each over its own block of keys and the one before it."""
    rows, heads, tokens, dim = q.shape
    blocks = -(-tokens // window)

    def parted(t):  # [rows * H, blocks, window, D]; a query head has its own copy of the keys, which the kernels that take a mask ask for
        t = t.repeat_interleave(heads // t.shape[1], 1)
        return F.pad(t, (0, 0, 0, blocks * window - tokens)).reshape(rows * heads, blocks, window, dim)

    def with_last(t):
        return torch.cat([F.pad(t, (0, 0, 0, 0, 1, 0))[:, :-1], t], 2)

    query, key = torch.arange(window, device=q.device), torch.arange(2 * window, device=q.device)
    apart = query[:, None] + window - key
    first = torch.arange(blocks, device=q.device)[:, None, None] == 0
    read = ((apart >= 0) & (apart < window) & ~(first & (key < window)))[None]
    out = attention.by_mask(parted(q), with_last(parted(k)), with_last(parted(v)), read)
    return out.view(rows, heads, blocks * window, dim)[:, :, :tokens]


class Attention(attention.Attention):
    softmax_to = WINDOW

    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.slides = slides(layer)

    @staticmethod
    def config(c):
        return {"use_sliding_window": True, "sliding_window": WINDOW,
                "layer_types": ["sliding_attention" if slides(i) else "full_attention" for i in range(c["layers"])]}

    def attend(self, x, q, k, v):
        if not self.slides or q.shape[2] <= WINDOW:  # then the latest keys are all: the same call as softmax's, so that both learn alike
            return attention.causal(q, k, v)
        return chosen_attention.attend(q, k, v, span=WINDOW) if chosen_attention.runs(q) else latest(q, k, v, WINDOW)
