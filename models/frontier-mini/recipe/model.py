"""The frontier-mini decoder: Qwen2 as transformers has it (same parameter names), written for fast training, with a kind of attention
in its attention's place."""
import json
import math
import pathlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from attention import HEAD_DIM
from kinds import kind

VOCABULARY = 6144
ROPE_THETA = 1e5
EPS = 1e-6
POSITIONS = 32768     # trained to 8192 tokens; room to see what lies beyond
END = 2                 # <|im_end|>
SHARD_BYTES = 14 << 20

# hidden size, query heads, key-value heads, layers, MLP size
SIZES = {
    "s": dict(hidden=192, heads=3, kv_heads=1, layers=4, mlp=512),
    "m": dict(hidden=256, heads=4, kv_heads=2, layers=8, mlp=448),
    "l": dict(hidden=384, heads=6, kv_heads=2, layers=10, mlp=512),
}


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden"], c["mlp"], bias=False)
        self.up_proj = nn.Linear(c["hidden"], c["mlp"], bias=False)
        self.down_proj = nn.Linear(c["mlp"], c["hidden"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), EPS)


class Layer(nn.Module):
    def __init__(self, c, attention, index):
        super().__init__()
        self.self_attn, self.mlp = attention(c, index), MLP(c)
        self.input_layernorm, self.post_attention_layernorm = Norm(c["hidden"]), Norm(c["hidden"])

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Token ids [rows, tokens] -> hidden states [rows, tokens, hidden]; logits are taken where the loss wants them."""

    def __init__(self, size, attention="softmax"):
        super().__init__()
        self.size = size
        c = self.shape = SIZES[size]
        self.attention = kind(attention)
        self.embed_tokens = nn.Embedding(VOCABULARY, c["hidden"])
        self.layers = nn.ModuleList(Layer(c, self.attention, i) for i in range(c["layers"]))
        self.norm = Norm(c["hidden"])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, 0, 0.02 / math.sqrt(2 * c["layers"]) if last else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids):
        inverse = ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2, device=ids.device).float() / HEAD_DIM)
        angle = torch.outer(torch.arange(ids.shape[1], device=ids.device).float(), inverse)
        cos, sin = angle.cos(), angle.sin()
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.embed_tokens.weight)


def plain_state(model):
    """State without the prefix that torch.compile puts in front of names."""
    return {name.replace("_orig_mod.", ""): t for name, t in model.state_dict().items()}


def load_checkpoint(model, folder, without=lambda name: False):
    """Weights as save_checkpoint() wrote them; every one of the model's must be there, but for those that it may begin `without`."""
    state = {}
    for path in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        state.update((name.removeprefix("model."), t) for name, t in load_file(path).items())
    own = {name: t for name, t in model.state_dict().items() if name not in state and without(name)}
    model.load_state_dict({**state, **own})


def require_finite(named, where):
    """Ends the program, naming the tensor, if one of (name, tensor) has a number that is none."""
    for name, t in named:
        if t.is_floating_point() and not t.isfinite().all():
            raise SystemExit(f"{where}: {name} has {int((~t.isfinite()).sum())} of {t.numel()} numbers that are not finite: nothing was saved")


def save_checkpoint(model, folder):
    """Only of weights that are all finite, in bf16 too; what was in the folder stays otherwise. Writes config.json, generation_config.json and bf16 safetensors in shards, as transformers loads them; what a kind adds to a softmax
    model for a method of Frontier's, into model-side.safetensors, which that method is given."""
    folder = pathlib.Path(folder)
    state = {name: t.detach().to(torch.bfloat16).contiguous().cpu() for name, t in plain_state(model).items()}
    require_finite(state.items(), folder)
    folder.mkdir(parents=True, exist_ok=True)
    c = model.shape
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16",
        "hidden_size": c["hidden"], "num_hidden_layers": c["layers"], "num_attention_heads": c["heads"],
        "num_key_value_heads": c["kv_heads"], "intermediate_size": c["mlp"], "hidden_act": "silu",
        "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "rms_norm_eps": EPS, "rope_theta": ROPE_THETA,
        "tie_word_embeddings": True, "use_sliding_window": False, "bos_token_id": None, "eos_token_id": END,
        "initializer_range": 0.02, "use_cache": True, **model.attention.config(c),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(
        json.dumps({"do_sample": False, "eos_token_id": END, "pad_token_id": 0}, indent=2) + "\n")

    shards, filled, side = [{}], 0, {}
    for name, t in state.items():
        if model.attention.begins_without(name):
            side["model." + name] = t
            continue
        if filled and filled + t.nbytes > SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1]["model." + name] = t
        filled += t.nbytes
    for old in folder.glob("model*.safetensors*"):
        old.unlink()
    if side:
        save_file(side, folder / "model-side.safetensors", {"format": "pt"})
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", {"format": "pt"})
        return
    index = {"metadata": {"total_size": sum(t.nbytes for s in shards for t in s.values())}, "weight_map": {}}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, {"format": "pt"})
        index["weight_map"].update({name: file for name in shard})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
