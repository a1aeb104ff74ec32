#!/usr/bin/env python3
"""Tiny random checkpoints of the model families, and what transformers computes with them.

    python3 tests/golden/model/make_checkpoints.py [NAME ...]        needs torch, transformers, tokenizers

Each folder beside this script is a whole Hugging Face checkpoint with a byte-level (Gemma: metaspace, byte fallback)
tokenizer of its own, and a file golden.bin. The models are random but not bland: initial scales are those of a model whose
attention is peaked, so that a wrong rotation, window or norm shows in every logit.

    qwen2       QKV bias, untied head
    qwen2-yarn  YaRN, factor 4.5 over 512 positions, tied head
    qwen3       norms on q and k, head dim apart from d/h, bf16
    llama       llama3 scaling over 256 positions, two shards
    mistral     a sliding window of 96 in every layer
    gemma3      a multimodal checkpoint's text tower: window 64 in five of six layers, linear scaling of the others
    phi3        fused tensors, longrope
    granite     scales of embeddings, scores, residuals and logits; biases everywhere

A new family is a row of make_seeded.py, unless its tokenizer is of another kind: then it is one of MODELS and of FAMILY here;
test_families finds the folder.

golden.bin, little-endian, written by transformers in fp32 (eager attention):

    char[8] "SFGOLD01"   i32 vocab   i32 prompts
    for each prompt:
        i32 n, outputs, full
        i32 id[n]                      the prompt
        i32 greedy[outputs]            what follows by argmax, fed back
        f32 margin                     smallest lead of an argmax over the second, relative to the norm of its logits
        i32 position[full]             where all logits are given:
        f32 logits[full][vocab]
        f32 norm[n]                    of the logits at every position, Euclidean
        f32 projection[n][2]           of the logits at every position, on two vectors of signs:
                                       sign(v, j) = -1 if bit 15 of (v * 2654435761 + j * 2246822519 mod 2^32) is set, else 1

A difference Δ of logits shows in the projections: each is Δ·sign, of the size of ‖Δ‖.
"""
import json
import os
import shutil
import struct
import sys

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
import transformers
from transformers import (Gemma3Config, Gemma3ForConditionalGeneration, LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS, OUTPUTS = (7, 130, 2100), 32
LEAD = 2e-4  # of an argmax over the second, relative to the norm of the logits: far above rounding
VOCAB = 320

# ---- tokenizers: 256 bytes, a few merges, the family's special tokens ---------------------------------------------------

CORPUS = ["the quick brown fox and the lazy dog are in the house of the other man",
          "variable ABCDE is assigned the value 12345 and another one 67890",
          "answer the question with the words in the list, then stop there",
          "chapter one: we met her at the river and bought an amber stone"] * 4

SPLIT = {
    "qwen": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "llama": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def byte_level(split, specials, size, nfc=False, bos=None):
    t = Tokenizer(models.BPE(ignore_merges=bos is not None))
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT[split]), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size - len(specials), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    t.train_from_iterator(CORPUS, trainer)
    t.add_special_tokens(specials)
    if bos:
        t.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, t.token_to_id(bos))])
    return t


def metaspace(specials, size):
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    head = specials + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=head, show_progress=False)
    t.train_from_iterator(CORPUS, trainer)
    raw = json.loads(t.to_str())  # bytes are ordinary tokens: only the true specials stay special
    raw["added_tokens"] = [a for a in raw["added_tokens"] if a["content"] in specials]
    return Tokenizer.from_str(json.dumps(raw))


CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA3 = ("{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + "
          "message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
MISTRAL = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + "
           "' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}")
GEMMA = ("{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
         "{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}"
         "{{ '<start_of_turn>model\n' }}{% endif %}")

FAMILY = {  # tokenizer, template, BOS, stop tokens
    "qwen": (lambda: byte_level("qwen", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], VOCAB - 8, nfc=True), CHATML, None,
             ["<|im_end|>", "<|endoftext|>"]),
    "llama": (lambda: byte_level("llama", ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                           "<|eot_id|>"], VOCAB, bos="<|begin_of_text|>"), LLAMA3, "<|begin_of_text|>",
              ["<|end_of_text|>", "<|eot_id|>"]),
    "mistral": (lambda: byte_level("llama", ["<s>", "</s>", "[INST]", "[/INST]"], VOCAB, bos="<s>"), MISTRAL, "<s>", ["</s>"]),
    "gemma": (lambda: metaspace(["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"], VOCAB), GEMMA, "<bos>",
              ["<eos>", "<end_of_turn>"]),
}

# ---- models ----------------------------------------------------------------------------------------------------------------

SMALL = dict(vocab_size=VOCAB, max_position_embeddings=4096, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
             num_attention_heads=3, num_key_value_heads=1, attn_implementation="eager", use_cache=False)


def rope(**k):
    return dict(rope_type="default", rope_theta=10000.0) | k


def gemma():
    text = SMALL | dict(hidden_size=32, intermediate_size=48, num_hidden_layers=7, num_attention_heads=2, head_dim=16,
                        query_pre_attn_scalar=24, sliding_window=64, max_position_embeddings=4096,
                        rope_parameters=dict(full_attention=rope(rope_type="linear", factor=8.0, rope_theta=1e6),
                                             sliding_attention=rope()))
    vision = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4)
    text.pop("use_cache")
    return Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=300,
                        boi_token_index=301, eoi_token_index=302, attn_implementation="eager")


# Smaller ones, and no long prompt where no window or scaling calls for it.
TINY = SMALL | dict(hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1)
SHORT = {"granite"}


def tiny(name, family, **k):
    """A row of MODELS by the name of the class."""
    return (getattr(transformers, name + "ForCausalLM"), lambda: getattr(transformers, name + "Config")(**TINY | k), family,
            torch.bfloat16, None)


MODELS = {  # class, config, family, dtype, bytes of a shard
    "qwen2": (Qwen2ForCausalLM, lambda: Qwen2Config(**SMALL, rope_parameters=rope(rope_theta=1e6), tie_word_embeddings=False),
              "qwen", torch.float32, None),
    "qwen2-yarn": (Qwen2ForCausalLM, lambda: Qwen2Config(
        **SMALL | dict(max_position_embeddings=512), tie_word_embeddings=True,
        rope_parameters=rope(rope_type="yarn", factor=4.5, original_max_position_embeddings=512)), "qwen", torch.float32, None),
    "qwen3": (Qwen3ForCausalLM, lambda: Qwen3Config(**SMALL | dict(num_attention_heads=4, num_key_value_heads=2), head_dim=16,
                                                    rope_parameters=rope(rope_theta=1e6), tie_word_embeddings=True),
              "qwen", torch.bfloat16, None),
    "llama": (LlamaForCausalLM, lambda: LlamaConfig(
        **SMALL | dict(hidden_size=64, num_attention_heads=4, num_key_value_heads=2), rms_norm_eps=1e-5, tie_word_embeddings=False,
        rope_parameters=rope(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=256)), "llama", torch.float32, 200_000),
    "mistral": (MistralForCausalLM, lambda: MistralConfig(**SMALL, sliding_window=96, rms_norm_eps=1e-5,
                                                          rope_parameters=rope(), tie_word_embeddings=False),
                "mistral", torch.float32, None),
    "gemma3": (Gemma3ForConditionalGeneration, gemma, "gemma", torch.float32, None),
    "phi3": tiny("Phi3", "qwen", original_max_position_embeddings=4, pad_token_id=0, sliding_window=None,
                 rope_parameters=rope(rope_type="longrope", short_factor=[1.0] * 8, original_max_position_embeddings=4,
                                      long_factor=[1.0, 1.1, 1.3, 1.6, 2.0, 3.0, 5.0, 9.0])),
    "granite": tiny("Granite", "qwen", embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.22,
                    logits_scaling=8.0, attention_bias=True, mlp_bias=True, rope_parameters=rope(), tie_word_embeddings=False),
}


@torch.no_grad()
def randomize(model, seed, offset, dtype):
    """Matrices of unit gain (q and k more, for peaked attention), norms around one, biases that matter; rounded to dtype."""
    g = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=g)
        if p.ndim == 1:
            p.copy_(noise * 0.2 + (0 if name.endswith("bias") or offset else 1))
        elif p.ndim == 2:
            gain = 1.6 if "q_proj" in name or "k_proj" in name else 1.0
            p.copy_(noise * gain / p.shape[1] ** 0.5)
        else:
            p.copy_(noise * 0.1)
        p.copy_(p.to(dtype))  # the parameters alone: tables of positions stay as a checkpoint's reader computes them


@torch.no_grad()
def greedy(model, ids):
    """All logits of the prompt, what follows it by argmax, and the smallest lead of an argmax (below LEAD it stops early)."""
    out = model(input_ids=torch.tensor([ids]), use_cache=True)
    prompt, tokens, margin = out.logits[0], [], 1.0
    while True:
        last = out.logits[0, -1].double()
        top = last.topk(2).values
        margin = min(margin, float((top[0] - top[1]) / last.norm()))
        tokens.append(int(last.argmax()))
        if len(tokens) == OUTPUTS or margin < LEAD:
            return prompt.double().numpy(), tokens, margin
        out = model(input_ids=torch.tensor([tokens[-1:]]), past_key_values=out.past_key_values, use_cache=True)


def signs(vocab):
    v, j = np.arange(vocab, dtype=np.uint64)[:, None], np.arange(2, dtype=np.uint64)[None]
    return 1.0 - 2.0 * ((v * 2654435761 + j * 2246822519) % 2**32 >> 15 & 1).astype(np.float64)


def golden(model, vocab, seed, stops, prompts):
    rng = np.random.default_rng(seed)
    out, least = [b"SFGOLD01" + struct.pack("<2i", vocab, len(prompts))], 1.0
    for n in prompts:
        ids = rng.integers(10, 290, n).tolist()
        every, tokens, margin = greedy(model, ids)
        least = min(least, margin)
        if margin < LEAD or set(tokens) & set(stops) or len(set(tokens)) < 4:
            return None, 0.0
        full = [0, n // 3, n - 2, n - 1]
        out += [struct.pack("<3i", n, OUTPUTS, len(full)), np.array(ids + tokens, "<i4").tobytes(), struct.pack("<f", margin),
                np.array(full, "<i4").tobytes(), every[full].astype("<f4").tobytes(),
                np.linalg.norm(every, axis=1).astype("<f4").tobytes(), (every @ signs(vocab)).astype("<f4").tobytes()]
    return b"".join(out), least


def make(name):
    cls, config, family, dtype, shard = MODELS[name]
    tokenizer, template, bos, stops = FAMILY[family]
    tokenizer = tokenizer()
    stop_ids = [tokenizer.token_to_id(s) for s in stops]
    assert tokenizer.get_vocab_size() <= VOCAB and None not in stop_ids, tokenizer.get_vocab_size()

    seed = 0
    while True:  # a seed whose greedy path is nowhere near a tie, and meets no stop token
        model = cls(config()).eval()
        randomize(model, seed, offset=family == "gemma", dtype=dtype)
        data, margin = golden(model, VOCAB, seed, stop_ids, PROMPTS[:2] if name in SHORT else PROMPTS)
        if data:
            break
        seed += 1

    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    model.generation_config.eos_token_id = stop_ids
    model.generation_config.bos_token_id = tokenizer.token_to_id(bos) if bos else None
    model.to(dtype).save_pretrained(folder, max_shard_size=shard or "1GB")
    tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", chat_template=template, eos_token=stops[0]) |
                  (dict(bos_token=bos) if bos else {}), f, indent=1)
    with open(os.path.join(folder, "golden.bin"), "wb") as f:
        f.write(data)
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{name}: seed {seed}, margin {margin:.1e}, {size} bytes: {', '.join(sorted(os.listdir(folder)))}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MODELS:
        make(name)
