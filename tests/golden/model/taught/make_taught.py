#!/usr/bin/env python3
"""Tiny checkpoints of the model families that know one thing: the answers to the samples of families.yaml.

    python3 tests/golden/model/taught/make_taught.py [NAME ...]      needs torch, transformers, tokenizers, build/frontier

The random checkpoints beside this folder compare arithmetic; their answers are noise, at which a run rightly warns. These
take the same road silently. They are overfitted to three prompts, which Frontier itself writes (frontier show): a test of the
road, not of learning. At half of the steps or more a sparse pattern drawn at random is laid over the attention, so that what
a method leaves out breaks no answer's form. Seeds are fixed, one thread: a minute or two a model.

    qwen2    QKV bias, untied head, bf16           mistral  no window (as from v0.2 on), f16
    qwen3    norms on q and k, tied head, bf16     gemma3   multimodal; window 64 in five of six layers, linear scaling, f32
    llama    llama3 scaling over 256 positions, bf16

and of other kinds of layers, bf16, by name alone (tests/cli/kinds.sh has gemma2, and the other two kinds from recast.py):

    gemma2    caps on scores and logits, window 64 in every second layer             qwen3_moe    two of four experts a token
    gpt_oss   learned sinks, experts with biases, window 64 in every second layer
    gemma4    heads of 16 where layers slide (window 64) and of 32, the last two layers read the keys of the first two, embeddings a layer
"""
import json
import math
import os
import random
import shutil
import subprocess
import sys

import torch
from transformers import (AutoTokenizer, Gemma2Config, Gemma2ForCausalLM, Gemma4ForCausalLM, Gemma4TextConfig, GptOssConfig, GptOssForCausalLM, MistralConfig,
                          Qwen3MoeConfig, Qwen3MoeForCausalLM)
from transformers.utils import logging

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, *[".."] * 4))
sys.path.insert(0, os.path.dirname(HERE))
from make_checkpoints import FAMILY, MODELS, SMALL, randomize, rope  # noqa: E402

SAMPLES, RATE, SURE = 3, 4e-3, 40
MISTRAL = lambda: MistralConfig(**SMALL, sliding_window=None, rms_norm_eps=1e-5, rope_parameters=rope(),
                                tie_word_embeddings=False)
FOUR = SMALL | dict(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=16)
KINDS = {  # as MODELS; no dtype and shards
    "qwen3_moe": (Qwen3MoeForCausalLM, lambda: Qwen3MoeConfig(**FOUR, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
                                                              rope_parameters=rope(rope_theta=1e6), tie_word_embeddings=True), "qwen"),
    "gemma2": (Gemma2ForCausalLM, lambda: Gemma2Config(**FOUR | dict(num_hidden_layers=4), query_pre_attn_scalar=16, sliding_window=64,
                                                       attn_logit_softcapping=20.0, final_logit_softcapping=30.0,
                                                       rope_parameters=rope()), "gemma"),
    "gpt_oss": (GptOssForCausalLM, lambda: GptOssConfig(**FOUR | dict(intermediate_size=32, num_hidden_layers=4), num_local_experts=4,
                                                        num_experts_per_tok=2, sliding_window=64,
                                                        rope_parameters=rope(rope_theta=150000.0)), "qwen"),
    "gemma4": (Gemma4ForCausalLM, lambda: Gemma4TextConfig(
        **FOUR | dict(num_hidden_layers=4), global_head_dim=32, sliding_window=64, layer_types=["sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=2, use_double_wide_mlp=True, hidden_size_per_layer_input=4, vocab_size_per_layer_input=FOUR["vocab_size"]), "gemma"),
}
PUPILS = {  # dtype, steps, which of them see the whole attention
    "qwen2": (torch.bfloat16, 600, 2),
    "qwen3": (torch.bfloat16, 600, 2),
    "llama": (torch.bfloat16, 900, 4),
    "mistral": (torch.float16, 900, 4),
    "gemma3": (torch.float32, 600, 2),
    "qwen3_moe": (torch.bfloat16, 900, 3),
    "gemma2": (torch.bfloat16, 900, 3),
    "gpt_oss": (torch.bfloat16, 900, 3),
    "gemma4": (torch.bfloat16, 900, 3),
}


def write(model, name, family, dtype):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer, template, bos, stops = FAMILY[family]
    tokenizer = tokenizer()
    model.generation_config.eos_token_id = [tokenizer.token_to_id(s) for s in stops]
    model.generation_config.bos_token_id = tokenizer.token_to_id(bos) if bos else None
    model.to(dtype).save_pretrained(folder)
    model.float()
    tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", chat_template=template, eos_token=stops[0]) |
                  (dict(bos_token=bos) if bos else {}), f, indent=1)
    return folder


def lessons(folder, family):
    """Frontier's samples as token ids: (prompt, answer with the stop token that ends a turn)."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stop = tokenizer.convert_tokens_to_ids(dict(qwen="<|im_end|>", llama="<|eot_id|>", mistral="</s>", gemma="<end_of_turn>")[family])
    for i in range(SAMPLES):
        shown = subprocess.run([os.path.join(ROOT, "build/frontier"), "show", os.path.join(HERE, "families.yaml"), "--json",
                                "--sample", str(i), "--set", f"models=[{folder}]"], check=True, cwd=ROOT, capture_output=True)
        sample = json.loads(shown.stdout)
        prompt = tokenizer.apply_chat_template([dict(role="user", content=sample["prompt"])], add_generation_prompt=True,
                                               tokenize=True, return_dict=False)
        assert len(prompt) == sample["tokens"], (len(prompt), sample["tokens"])
        yield prompt, tokenizer.encode(sample["answer"], add_special_tokens=False) + [stop]


def batch_of(pairs):
    length = max(len(p) + len(a) for p, a in pairs)
    ids, labels = torch.zeros(len(pairs), length, dtype=torch.long), torch.full((len(pairs), length), -100)
    for i, (p, a) in enumerate(pairs):
        ids[i, :len(p) + len(a)] = torch.tensor(p + a)
        labels[i, len(p):len(p) + len(a)] = torch.tensor(a)
    return ids, labels


def sparse(length, prompt, rng):
    """A causal pattern [length, length] in the manner of one method or another, a third to all of it kept."""
    at, keep = torch.arange(length), 0.3 + 0.5 * rng.random()
    seen = at[None] <= at[:, None]
    near = rng.choice([1, 16, 48])  # Quest reads no more of the latest than the page that is being filled
    local = (at[:, None] - at[None] < near) | (at[None] < 4) | (at[:, None] // 16 == at[None] // 16)
    kind = rng.randrange(4)
    if kind == 0:  # window
        chosen = at[:, None] - at[None] < keep * length / 2
    elif kind == 1:  # blocks
        block = torch.rand(length // 16 + 1, length // 16 + 1) < keep
        chosen = block.repeat_interleave(16, 0)[:length].repeat_interleave(16, 1)[:, :length]
    elif kind == 2:  # columns
        chosen = (torch.rand(length) < keep)[None].expand(length, length)
    else:  # single keys
        chosen = torch.rand(length, length) < keep
    phase = rng.randrange(3)  # prefill alone, decode alone, both
    whole = (at[:, None] >= prompt) if phase == 0 else (at[:, None] < prompt) if phase == 1 else torch.zeros(1, 1, dtype=bool)
    return seen & (chosen | local | whole)


def masks(model, lengths, length, rng):
    """As transformers takes them: added to the scores, by kind of layer where there are two."""
    seen = torch.stack([sparse(length, n, rng) for n in lengths])[:, None]
    add = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
    text = getattr(model.config, "text_config", model.config)
    if getattr(text, "sliding_window", None) is None:
        return add
    at = torch.arange(length)
    near = (at[None] <= at[:, None]) & (at[:, None] - at[None] < text.sliding_window)
    return dict(full_attention=add, sliding_attention=torch.where(near, 0.0, torch.finfo(torch.float32).min)[None, None])


def loss_of(model, ids, labels, mask=None):
    """Over the answers, the hardest token counted twice; and the smallest lead of a right token over the best wrong one."""
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    at = labels[:, 1:] != -100
    logits, right = logits[at], labels[:, 1:][at]
    own = logits.gather(1, right[:, None])[:, 0]
    other = logits.scatter(1, right[:, None], -torch.inf).max(1).values
    each = torch.nn.functional.cross_entropy(logits, right, reduction="none")
    return each.mean() + each.max(), (own - other).min().item()


def make(name):
    cls, config, family = (KINDS.get(name) or MODELS[name])[:3]
    dtype, steps, every = PUPILS[name]
    config = MISTRAL if name == "mistral" else config
    torch.manual_seed(43)
    model = cls(config())
    model.set_attn_implementation("eager" if name in KINDS else "sdpa")  # which knows caps and sinks
    randomize(model, 43, offset=family == "gemma" and name != "gemma4", dtype=torch.float32)
    folder = write(model, name, family, dtype)
    pairs, rng = list(lessons(folder, family)), random.Random(43)
    ids, labels, prompts = *batch_of(pairs), [len(p) for p, _ in pairs]
    learned = [p for n, p in model.named_parameters() if "vision" not in n and "multi_modal" not in n]
    optimizer = torch.optim.Adam(learned, lr=RATE)
    model.train()
    leads = []
    for step in range(steps):
        mask = masks(model, prompts, ids.shape[1], rng) if step % every else None
        loss, lead = loss_of(model, ids, labels, mask)
        leads.append(lead)
        if len(leads) > SURE and min(leads[-SURE:]) > 1:
            break
        rate = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        if step % 100 < 2:
            print(f"  {name} step {step}: loss {loss.item():.3f}, least lead {lead:.2f}", flush=True)
    write(model, name, family, dtype)
    with torch.no_grad():
        loss, lead = loss_of(model.eval(), ids, labels)
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{name}: loss {loss.item():.4f}, least lead {lead:.2f}, {size} bytes")
    assert lead > 1, "not learned: more steps, or another seed"


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    for name in sys.argv[1:] or [n for n in PUPILS if n not in KINDS]:
        make(name)
