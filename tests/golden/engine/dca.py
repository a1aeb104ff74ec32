"""Dual Chunk Attention (An et al. 2024, arXiv 2402.17463) as its authors compute it, for tests/test_engine.c: writes dca.bin
beside this script.

Three attentions with queries at three places, merged by their log-sum-exps: keys of the query's own chunk, of the chunk before,
and of earlier ones (github.com/HKUNLP/ChunkLlama, without its mscale). Keys stand at their place in their chunk. On the tiny
checkpoints of tests/golden/model, in fp32.

    python tests/golden/engine/dca.py        # transformers 5.24, torch 2.15

For each case, little endian: i32 prompt, outputs, full, chunk, cap; i32 id[prompt + outputs], what follows the prompt by argmax;
i32 position[full]; float32 logits[full][320].
"""
import os
import struct

import numpy as np
import torch
from transformers import AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = [("qwen2", 130, 24, 31), ("qwen2", 90, 6, 8), ("llama", 130, 48, 63), ("llama", 70, 16, 30)]
OUTPUTS = 16


def rotate(x, position, frequency):
    angle = position[:, None].float() * frequency[None]
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def dual_chunks(module, query, key, value, mask, scaling, **unused):
    n, group = query.shape[2], query.shape[1] // key.shape[1]
    at, s, cap, frequency = torch.arange(n), dual_chunks.chunk, dual_chunks.cap, dual_chunks.frequency
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    apart = at[:, None] // s - at[None] // s  # in chunks
    causal = at[None] <= at[:, None]
    k = rotate(key, at % s, frequency)
    places = [(at % s, apart == 0), ((at % s + s).clamp(max=cap), apart == 1), (torch.full_like(at, cap), apart > 1)]
    outs, sums = [], []
    for place, mine in places:
        logits = rotate(query, place, frequency) @ k.transpose(2, 3) * scaling
        logits = logits.masked_fill(~(mine & causal), -torch.inf)
        lse = logits.logsumexp(-1, keepdim=True)
        outs.append((logits - lse).exp().nan_to_num(0) @ value)
        sums.append(lse)
    weight = torch.stack(sums).softmax(0)
    return (torch.stack(outs) * weight).sum(0).transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS["dual_chunks"] = dual_chunks
for modeling in (modeling_llama, modeling_qwen2):
    modeling.apply_rotary_pos_emb = lambda q, k, *rest, **more: (q, k)

torch.set_num_threads(1)
with open(os.path.join(HERE, "dca.bin"), "wb") as f, torch.no_grad():
    for name, n, chunk, cap in CASES:
        model = AutoModelForCausalLM.from_pretrained(os.path.join(HERE, "../model", name), dtype=torch.float32,
                                                     attn_implementation="dual_chunks").eval()
        dual_chunks.chunk, dual_chunks.cap, dual_chunks.frequency = chunk, cap, model.model.rotary_emb.inv_freq
        ids = np.random.default_rng(n + chunk).integers(10, 290, n).tolist()
        prompt, margin = None, 1.0
        for _ in range(OUTPUTS):
            logits = model(input_ids=torch.tensor([ids])).logits[0]
            prompt = logits if prompt is None else prompt
            top = logits[-1].topk(2).values
            margin = min(margin, float((top[0] - top[1]) / logits[-1].norm()))
            ids.append(int(logits[-1].argmax()))
        full = [0, chunk, cap + 1, n // 2, n - 2, n - 1]
        f.write(struct.pack("<5i", n, OUTPUTS, len(full), chunk, cap) + np.array(ids + full, "<i4").tobytes())
        f.write(prompt[full].numpy().astype("<f4").tobytes())
        print(f"{name}: {n} tokens, chunk {chunk}, cap {cap}: smallest lead of an argmax {margin:.1e}")
