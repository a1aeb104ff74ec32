"""The latest 256 keys, by softmax; every fourth layer all of them, as in Gemma 3 (there every sixth, arXiv 2503.19786)."""
import torch
import torch.nn.functional as F

import attention

WINDOW, EVERY = 256, 4


def slides(layer):
    return (layer + 1) % EVERY != 0


class Attention(attention.Attention):
    def __init__(self, c, layer):
        super().__init__(c, layer)
        self.slides = slides(layer)

    @staticmethod
    def config(c):
        return {"use_sliding_window": True, "sliding_window": WINDOW,
                "layer_types": ["sliding_attention" if slides(i) else "full_attention" for i in range(c["layers"])]}

    def attend(self, x, q, k, v):
        if not self.slides:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        i = torch.arange(q.shape[2], device=q.device)
        apart = i[:, None] - i[None]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=(apart >= 0) & (apart < WINDOW), enable_gqa=True)
