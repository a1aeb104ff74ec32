#!/usr/bin/env python3
"""gemma3-gguf: a tiny Gemma 3 in GGUF, and what transformers computes with the same weights (golden.bin, as in
make_checkpoints.py). Tensor names and keys come from the gguf package; what llama.cpp's converter does beside renaming is done
here: one is added to the weights of norms.

    python3 tests/golden/model/make_gguf.py        needs torch, transformers, tokenizers, gguf
"""
import os

import gguf
import torch
from make_checkpoints import FAMILY, GEMMA, HERE, PROMPTS, TINY, VOCAB, golden, randomize, rope
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

LAYERS, WINDOW, HEAD = 7, 64, 16


def model(seed):
    config = Gemma3TextConfig(**TINY | dict(num_hidden_layers=LAYERS), head_dim=HEAD, query_pre_attn_scalar=HEAD,
                              sliding_window=WINDOW, rope_parameters=dict(
                                  full_attention=rope(rope_type="linear", factor=8.0, rope_theta=1e6), sliding_attention=rope()))
    m = Gemma3ForCausalLM(config).eval()
    randomize(m, seed, offset=True, dtype=torch.bfloat16)
    return m


def write(m, tokenizer, stops, path):
    w = gguf.GGUFWriter(path, "gemma3")
    w.add_name("tiny gemma3")
    w.add_block_count(LAYERS)
    w.add_embedding_length(TINY["hidden_size"])
    w.add_feed_forward_length(TINY["intermediate_size"])
    w.add_head_count(TINY["num_attention_heads"])
    w.add_head_count_kv(TINY["num_key_value_heads"])
    w.add_key_length(HEAD)
    w.add_value_length(HEAD)
    w.add_context_length(TINY["max_position_embeddings"])
    w.add_layer_norm_rms_eps(m.config.rms_norm_eps)
    w.add_rope_freq_base(1e6)
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(8.0)
    w.add_sliding_window(WINDOW)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda x: x[1])
    kinds = [gguf.TokenType.BYTE if p.startswith("<0x") else gguf.TokenType.UNKNOWN if p == "<unk>" else
             gguf.TokenType.CONTROL if p.startswith("<") and p.endswith(">") else gguf.TokenType.NORMAL for p, _ in pieces]
    w.add_tokenizer_model("llama")
    w.add_token_list([p for p, _ in pieces])
    w.add_token_scores([-float(i) for _, i in pieces])
    w.add_token_types(kinds)
    w.add_bos_token_id(tokenizer.token_to_id("<bos>"))
    w.add_eos_token_id(tokenizer.token_to_id(stops[0]))
    w.add_unk_token_id(tokenizer.token_to_id("<unk>"))
    w.add_add_bos_token(True)
    w.add_add_space_prefix(False)
    w.add_chat_template(GEMMA)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, LAYERS)
    for name, p in m.named_parameters():
        if "norm" in name:
            w.add_tensor(names.get_name(name, try_suffixes=(".weight",)), (p + 1).detach().float().numpy())
        else:
            raw = gguf.quants.quantize(p.detach().float().numpy(), gguf.GGMLQuantizationType.BF16)
            w.add_tensor(names.get_name(name, try_suffixes=(".weight",)), raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    make, _, _, stops = FAMILY["gemma"]
    tokenizer, seed, data = make(), -1, None
    while not data:
        seed += 1
        m = model(seed)
        data, margin = golden(m, VOCAB, seed, [tokenizer.token_to_id(s) for s in stops], PROMPTS)
    folder = os.path.join(HERE, "gemma3-gguf")
    os.makedirs(folder, exist_ok=True)
    write(m, tokenizer, stops, os.path.join(folder, "gemma3.gguf"))
    with open(os.path.join(folder, "golden.bin"), "wb") as f:
        f.write(data)
    print(f"gemma3-gguf: seed {seed}, margin {margin:.1e}, {os.path.getsize(os.path.join(folder, 'gemma3.gguf'))} bytes")
