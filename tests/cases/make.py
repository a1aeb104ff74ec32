#!/usr/bin/env python3
"""Writes the checkpoints of cases.json: tiny ones that are valid and were once read wrongly.

    python3 tests/cases/make.py FOLDER          needs nothing but Python

A Hugging Face folder or a GGUF file for each model, made of what all have in common and of what the model says of its own.
A null in a config leaves a key out. Weights are seeded: tensors of one name are the same in all models."""
import array
import json
import math
import pathlib
import random
import re
import struct
import sys

CASES = json.loads(pathlib.Path(__file__).with_name("cases.json").read_text())
D, MLP, LAYERS, HEADS, KV, HEAD, VOCAB = 64, 96, 2, 4, 2, 16, 400
CONFIG = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=D, intermediate_size=MLP,
              num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV, vocab_size=VOCAB,
              max_position_embeddings=4096, rms_norm_eps=1e-6, rope_theta=1e4, hidden_act="silu", tie_word_embeddings=False,
              bos_token_id=0, eos_token_id=2, torch_dtype="float32")
QKV = ("q", HEADS), ("k", KV), ("v", KV)
GGUF_NAMES = [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"), ("post_attention_layernorm", "ffn_norm"),
              ("input_layernorm", "attn_norm"), ("self_attn.o_proj", "attn_output"), ("self_attn.", "attn_"), ("mlp.", "ffn_"),
              ("_proj", "")]


def vocabulary(specials):
    """Special tokens, the alphabet of bytes, and as many merges as there is room for."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = sorted(chr(b) for b in printable) + [chr(256 + n) for n in range(256 - len(printable))]
    merges = CASES["merges"][: VOCAB - len(specials) - len(alphabet)]
    return specials + alphabet + [m.replace(" ", "") for m in merges], merges


def tokenizer(model):
    tokens, merges = vocabulary(model["specials"])
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True)
    split = byte_level | dict(use_regex=True)
    if "pattern" in model:
        split = dict(type="Sequence", pretokenizers=[
            dict(type="Split", pattern=dict(Regex=model["pattern"]), behavior="Isolated", invert=False),
            byte_level | dict(use_regex=False)])
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(version="1.0", truncation=None, padding=None, normalizer=None, pre_tokenizer=split, post_processor=None,
                added_tokens=[dict(id=i, content=t, **flags) for i, t in enumerate(model["specials"][: model["added"]])],
                decoder=byte_level | dict(use_regex=True),
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                           fuse_unk=False, byte_fallback=False, ignore_merges=False,
                           vocab={t: i for i, t in enumerate(tokens)}, merges=[m.split(" ") for m in merges]))


def shapes_of(model):
    """As Hugging Face names the tensors."""
    shapes = {"model.embed_tokens.weight": (VOCAB, D), "model.norm.weight": (D,)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        shapes |= {layer + "input_layernorm.weight": (D,), layer + "post_attention_layernorm.weight": (D,)}
        for name, rows in QKV:
            shapes[layer + f"self_attn.{name}_proj.weight"] = (rows * HEAD, D)
        shapes[layer + "self_attn.o_proj.weight"] = (D, HEADS * HEAD)
        shapes |= {layer + f"mlp.{name}_proj.weight": (MLP, D) for name in ("gate", "up")}
        shapes[layer + "mlp.down_proj.weight"] = (D, MLP)
    if model["head"] != "none":
        shapes["lm_head.weight"] = (VOCAB, D)
    return shapes


def tensors(model):
    """name → (shape, float32 bytes)"""
    out = {}
    for name, shape in shapes_of(model).items():
        source = "model.embed_tokens.weight" if name == "lm_head.weight" and model["head"] == "same" else name
        draw = random.Random(source).gauss
        values = array.array("f", (1.0 if len(shape) == 1 else draw(0, 0.3) for _ in range(math.prod(shape))))
        if name in model["nan"]:
            values[len(values) // 2] = float("nan")
        out[name] = shape, values.tobytes()
    return out


def write_safetensors(path, named):
    header, at = {}, 0
    for name, (shape, data) in named.items():
        header[name] = dict(dtype="F32", shape=shape, data_offsets=[at, at + len(data)])
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, data in named.values()))


def gguf_value(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<Ii", 5, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<IQ", 8, len(value.encode())) + value.encode()
    return struct.pack("<I", 9) + gguf_value(value[0])[:4] + struct.pack("<Q", len(value)) + b"".join(
        gguf_value(v)[4:] for v in value)


def write_gguf(path, model):
    """Keys, and tensors that are all zero: nothing but text and keys is asked of these."""
    a = model["gguf"].get("general.architecture", "llama")
    tokens, merges = vocabulary(model["specials"])
    types = [3 if i < len(model["specials"]) else 1 for i in range(len(tokens))]
    for token in model["normal"]:
        types[tokens.index(token)] = 1
    keys = {"general.architecture": a, f"{a}.block_count": LAYERS, f"{a}.context_length": 4096, f"{a}.embedding_length": D,
            f"{a}.feed_forward_length": MLP, f"{a}.attention.head_count": HEADS, f"{a}.attention.head_count_kv": KV,
            f"{a}.attention.layer_norm_rms_epsilon": 1e-6, f"{a}.rope.freq_base": 1e4, f"{a}.vocab_size": VOCAB,
            "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": merges, "tokenizer.ggml.bos_token_id": 0,
            "tokenizer.ggml.eos_token_id": 2} | model["gguf"]
    if model["template"]:
        keys["tokenizer.chat_template"] = model["template"]
    text = b"".join(struct.pack("<Q", len(k)) + k.encode() + gguf_value(v) for k, v in keys.items())
    shapes, at = shapes_of(model), 0
    if a == "qwen2":
        shapes |= {f"model.layers.{i}.self_attn.{n}_proj.bias": (r * HEAD,) for i in range(LAYERS) for n, r in QKV}
    for name, shape in shapes.items():
        name = re.sub(r"model\.layers\.(\d+)\.", r"blk.\1.", name)
        for theirs, gguf in GGUF_NAMES:
            name = name.replace(theirs, gguf)
        text += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        text += b"".join(struct.pack("<Q", n) for n in reversed(shape)) + struct.pack("<IQ", 0, at)
        at += 4 * math.prod(shape) + -4 * math.prod(shape) % 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(keys)) + text
    path.write_bytes(head + bytes(-len(head) % 32 + at))


def write_folder(path, model):
    path.mkdir(parents=True)
    files = {"config.json": {k: v for k, v in (CONFIG | model["config"]).items() if v is not None}, "generation_config.json": dict(bos_token_id=0, eos_token_id=2),
             "tokenizer.json": tokenizer(model),
             "tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<|endoftext|>",
                                           eos_token=CASES["specials"][2], pad_token="<|endoftext|>", model_max_length=4096,
                                           clean_up_tokenization_spaces=False, add_bos_token=False,
                                           chat_template=model["template"]) | model["tokenizer_config"]} | model["files"]
    for name, value in files.items():
        (path / name).write_text(value if isinstance(value, str) else json.dumps(value))
    if model["weights"]:
        write_safetensors(path / "model.safetensors", tensors(model))


def main(folder):
    common = dict(specials=CASES["specials"], added=99, template=CASES["template"], config={}, tokenizer_config={}, files={},
                  weights=False, head="own", nan=[], normal=[], gguf=None)
    for name, own in CASES["models"].items():
        model, path = common | own, pathlib.Path(folder) / name
        (write_folder if model["gguf"] is None else write_gguf)(path, model)


if __name__ == "__main__":
    main(sys.argv[1])
