#!/usr/bin/env python3
"""A taught model of other kinds, made by hand of models/frontier-mini/s, which solves the tasks (Python alone, no package):

    python3 tests/golden/model/recast.py OUT        writes OUT/moe, OUT/sinks, OUT/windows, OUT/partial, OUT/latent, OUT/hybrid,
                                                   OUT/space, OUT/beside

    moe      qwen2_moe    of each MLP's neurons, half go to one that all rows share (its switch is at a half, its output twice), half
                          to four experts, who hold the same ones in another order each; a row takes two, by a random router
    sinks    gpt_oss      a sink of 0.5 to 1.5 in every softmax, a window of 256 in every second layer, four such experts with
                          all neurons, whose linear part's bias of -1 undoes the 1 that the activation adds
    windows  qwen2        a window of 256 in every second layer
    partial  glm          heads twice as wide, of which the first half is rotated, by neighbours, and the second is zero; q times √2
    latent   deepseek_v3  the key is the rotated part, by neighbours, and the value the latent, queries go through a latent too; two numbers
                          of each are 65536 by their bias, so that norms over latents divide by what hardly varies, which their
                          weights undo; of each head's key two more numbers, which are zero; q times √(66/64)
    hybrid   qwen3_5      before the first and the third layer one of a gated delta rule, random, with an MLP of zeros; heads twice as
                          wide, of which the second half is a constant that norms over heads divide by, and do not let through;
                          gates at a half, the output twice
    space    granitemoehybrid  such layers of a state space, in the same places; attention as it was
    beside   falcon_h1    such a state space beside attention in each layer, without a norm

moe, partial and latent compute what frontier-mini-s computes, up to rounding; sinks, windows, hybrid, space and beside take something off
it, or add it.
"""
import array
import json
import math
import os
import random
import shutil
import struct
import sys

FROM = os.path.dirname(os.path.abspath(__file__)) + "/../../../models/frontier-mini/s"
LAYERS, HEADS, DIM, EXPERTS, WINDOW = 4, 3, 64, 4, 256


class Matrix:
    """Rows of bf16, as bytes; a vector is one row."""

    def __init__(self, rows, shape=None):
        self.rows, self.shape = rows, shape or [len(rows), len(rows[0]) // 2]

    def columns(self, order):
        """`order` of columns; -1: a column of zeros."""
        picked = [array.array("H", r) for r in self.rows]
        return Matrix([array.array("H", [r[i] if i >= 0 else 0 for i in order]).tobytes() for r in picked])

    def take(self, order):
        """The same of rows."""
        zero = bytes(len(self.rows[0]))
        return Matrix([self.rows[i] if i >= 0 else zero for i in order])

    def transposed(self):
        picked = [array.array("H", r) for r in self.rows]
        return Matrix([array.array("H", column).tobytes() for column in zip(*picked)])

    def times(self, factor):
        """In fp32, since a bf16 number times the factor may be none."""
        picked = [array.array("H", r) for r in self.rows]
        wide = [struct.pack(f"<{len(r)}f", *(factor * struct.unpack("<f", struct.pack("<I", x << 16))[0] for x in r)) for r in picked]
        return Wide(wide, [len(wide), len(self.rows[0]) // 2])


class Wide(Matrix):
    pass


def bf16(numbers):
    return Matrix([array.array("H", [struct.unpack("<I", struct.pack("<f", x))[0] >> 16 for x in numbers]).tobytes()])


def vector(m):
    m.shape = m.shape[1:]
    return m


def stacked(matrices):
    """[n, …] of n of one shape."""
    return Matrix([r for m in matrices for r in m.rows], [len(matrices), *matrices[0].shape])


def read(path):
    data = open(path, "rb").read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, t in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        rows = t["shape"][0] if len(t["shape"]) == 2 else 1
        step = (end - begin) // rows
        tensors[name] = Matrix([data[start + begin + i * step:start + begin + (i + 1) * step] for i in range(rows)], t["shape"])
    return tensors


def write(folder, tensors, config):
    os.makedirs(folder)
    for name in os.listdir(FROM):
        if name not in ("config.json", "model.safetensors"):
            shutil.copy(os.path.join(FROM, name), folder)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=1)
    header, at = {}, 0
    for name, m in tensors.items():
        size = sum(map(len, m.rows))
        header[name] = dict(dtype="F32" if isinstance(m, Wide) else "BF16", shape=m.shape, data_offsets=[at, at + size])
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(r for m in tensors.values() for r in m.rows))


def turned(e, n):
    return [(i + e * n // EXPERTS) % n for i in range(n)]


def router(layer, d):
    rng = random.Random(43 + layer)
    return stacked([vector(bf16([rng.gauss(0, 1) for _ in range(d)])) for _ in range(EXPERTS)])


def mlp_of(t, layer):
    return [t.pop(f"model.layers.{layer}.mlp.{part}_proj.weight") for part in ("gate", "up", "down")]


def moe(t, c):
    half = c["intermediate_size"] // 2
    for layer in range(LAYERS):
        above = f"model.layers.{layer}.mlp."
        gate, up, down = mlp_of(t, layer)
        own, shared = list(range(half)), list(range(half, 2 * half))
        t[above + "shared_expert.gate_proj.weight"], t[above + "shared_expert.up_proj.weight"] = gate.take(shared), up.take(shared)
        twice = down.columns(shared)
        double = lambda x: x + 0x80 if x & 0x7f80 else x  # the next exponent; subnormal numbers stay, and are nothing
        t[above + "shared_expert.down_proj.weight"] = Matrix([array.array("H", map(double, array.array("H", r))).tobytes() for r in twice.rows])
        t[above + "shared_expert_gate.weight"] = bf16([0.0] * c["hidden_size"])
        t[above + "gate.weight"] = router(layer, c["hidden_size"])
        for e in range(EXPERTS):
            order = turned(e, half)
            for name, m in (("gate", gate.take(order)), ("up", up.take(order)), ("down", down.columns([own[i] for i in order]))):
                t[f"{above}experts.{e}.{name}_proj.weight"] = m
    c |= dict(model_type="qwen2_moe", architectures=["Qwen2MoeForCausalLM"], num_experts=EXPERTS, num_experts_per_tok=2, norm_topk_prob=True,
              moe_intermediate_size=half, shared_expert_intermediate_size=half)


def sinks(t, c):
    windows(t, c)
    d, m = c["hidden_size"], c["intermediate_size"]
    for layer in range(LAYERS):
        above = f"model.layers.{layer}."
        gate, up, down = mlp_of(t, layer)
        both = [Matrix([r for pair in zip(gate.take(o).rows, up.take(o).rows) for r in pair]).transposed() for o in (turned(e, m) for e in range(EXPERTS))]
        t[above + "mlp.experts.gate_up_proj"] = stacked(both)
        t[above + "mlp.experts.gate_up_proj_bias"] = stacked([vector(bf16([0.0, -1.0] * m)) for _ in range(EXPERTS)])
        t[above + "mlp.experts.down_proj"] = stacked([down.columns(turned(e, m)).transposed() for e in range(EXPERTS)])
        t[above + "mlp.experts.down_proj_bias"] = stacked([vector(bf16([0.0] * d)) for _ in range(EXPERTS)])
        t[above + "mlp.router.weight"] = router(layer, d)
        t[above + "mlp.router.bias"] = vector(bf16([0.0] * EXPERTS))
        t[above + "self_attn.o_proj.bias"] = vector(bf16([0.0] * d))
        t[above + "self_attn.sinks"] = vector(bf16([0.5 + 0.5 * h for h in range(HEADS)]))
    c |= dict(model_type="gpt_oss", architectures=["GptOssForCausalLM"], head_dim=DIM, num_local_experts=EXPERTS, num_experts_per_tok=2,
              attention_bias=True, swiglu_alpha=1.0, swiglu_limit=100.0, rope_parameters=dict(rope_type="default", rope_theta=c.pop("rope_theta")))


def windows(t, c):
    c |= dict(use_sliding_window=True, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"] * (LAYERS // 2))


def partial(t, c):
    neighbours = [i // 2 + i % 2 * (DIM // 2) for i in range(DIM)]
    zeros = [-1] * DIM
    spread = lambda order: [i if i < 0 else h * DIM + i for h in range(HEADS) for i in order + zeros]
    for layer in range(LAYERS):
        above = f"model.layers.{layer}."
        gate, up, t[above + "mlp.down_proj.weight"] = mlp_of(t, layer)
        t[above + "mlp.gate_up_proj.weight"] = Matrix(gate.rows + up.rows)
        attn = above + "self_attn."
        for name, heads, order in (("q", HEADS, neighbours), ("k", 1, neighbours), ("v", 1, list(range(DIM)))):
            w, b = t[f"{attn}{name}_proj.weight"], t[f"{attn}{name}_proj.bias"]
            rows = spread(order)[:heads * 2 * DIM]
            w, b = w.take(rows), b.columns(rows)
            if name == "q":
                w, b = w.times(math.sqrt(2)), b.times(math.sqrt(2))
            t[f"{attn}{name}_proj.weight"], t[f"{attn}{name}_proj.bias"] = w, vector(b)
        t[attn + "o_proj.weight"] = t[attn + "o_proj.weight"].columns(spread(list(range(DIM))))
    c |= dict(model_type="glm", architectures=["GlmForCausalLM"], head_dim=2 * DIM, attention_bias=True,
              rope_parameters=dict(rope_type="default", rope_theta=c.pop("rope_theta"), partial_rotary_factor=0.5))


def identity(rows, columns):
    return Matrix([bf16([1.0 * (r == c) for c in range(columns)]).rows[0] for r in rows])


def latent(t, c):
    neighbours, large, own = [i // 2 + i % 2 * (DIM // 2) for i in range(DIM)], 65536.0, 2
    # of what a norm over n numbers leaves of the others, where two are large
    weights = lambda n, factor=1.0: vector(bf16([1.0] * n).times(factor * math.sqrt(2 / n) * large))
    d = c["hidden_size"]
    for layer in range(LAYERS):
        attn = f"model.layers.{layer}.self_attn."
        q, k, v = ((t.pop(f"{attn}{x}_proj.weight"), t.pop(f"{attn}{x}_proj.bias")) for x in "qkv")
        zeros, both = bf16([0.0] * d).rows * 2, bf16([large] * 2).rows[0]
        t[attn + "q_a_proj.weight"], t[attn + "q_a_proj.bias"] = Matrix(q[0].rows + zeros), vector(Matrix([bytes(q[1].rows[0]) + both]))
        t[attn + "q_a_layernorm.weight"] = weights(HEADS * DIM + 2, math.sqrt((own + DIM) / DIM))
        t[attn + "q_b_proj.weight"] = identity([x for h in range(HEADS) for x in [-1] * own + [h * DIM + i for i in neighbours]], HEADS * DIM + 2)
        t[attn + "kv_a_proj_with_mqa.weight"] = Matrix(v[0].rows + zeros + k[0].take(neighbours).rows)
        t[attn + "kv_a_proj_with_mqa.bias"] = vector(Matrix([bytes(v[1].rows[0]) + both + k[1].columns(neighbours).rows[0]]))
        t[attn + "kv_a_layernorm.weight"] = weights(DIM + 2)
        t[attn + "kv_b_proj.weight"] = identity(([-1] * own + list(range(DIM))) * HEADS, DIM + 2)
        t[attn + "o_proj.bias"] = vector(bf16([0.0] * d))
    c |= dict(model_type="deepseek_v3", architectures=["DeepseekV3ForCausalLM"], attention_bias=True, q_lora_rank=HEADS * DIM + 2,
              kv_lora_rank=DIM + 2, qk_nope_head_dim=own, qk_rope_head_dim=DIM, v_head_dim=DIM, num_key_value_heads=HEADS,
              first_k_dense_replace=LAYERS, n_group=1, topk_group=1, rope_parameters=dict(rope_type="default", rope_theta=c.pop("rope_theta")))


def floats(rows, shape=None):
    return Wide([struct.pack(f"<{len(r)}f", *r) for r in rows], shape)


def less_one(m):
    return floats([[struct.unpack("<f", struct.pack("<I", x << 16))[0] - 1 for x in array.array("H", m.rows[0])]], m.shape)


def random_matrix(rng, rows, columns, deviation):
    return Matrix([bf16([rng.gauss(0, deviation) for _ in range(columns)]).rows[0] for _ in range(rows)])


def delta_layer(above, t, d, m, rng):
    keys, values, dim, kernel = 2, 4, 16, 4
    channels, out = 2 * keys * dim + values * dim, values * dim
    one = d**-0.5
    at = above + "linear_attn."
    t[at + "in_proj_qkv.weight"], t[at + "in_proj_z.weight"] = random_matrix(rng, channels, d, one), random_matrix(rng, out, d, one)
    t[at + "in_proj_a.weight"], t[at + "in_proj_b.weight"] = random_matrix(rng, values, d, one), random_matrix(rng, values, d, one)
    t[at + "conv1d.weight"] = random_matrix(rng, channels, kernel, kernel**-0.5)
    t[at + "conv1d.weight"].shape = [channels, 1, kernel]
    t[at + "A_log"] = vector(bf16([math.log(0.01 + 0.1 * h) for h in range(values)]))
    t[at + "dt_bias"] = vector(bf16([0.0] * values))
    t[at + "norm.weight"] = vector(bf16([1.0] * dim))
    t[at + "out_proj.weight"] = random_matrix(rng, d, out, 0.002)
    zero = lambda rows, columns: Matrix([bytes(2 * columns)] * rows)
    for name, rows, columns in (("gate", m, d), ("up", m, d), ("down", d, m)):
        t[f"{above}mlp.{name}_proj.weight"] = zero(rows, columns)
    for name in ("input", "post_attention"):
        t[f"{above}{name}_layernorm.weight"] = vector(bf16([0.0] * d))


def space_mixer(above, t, d, rng):
    groups, heads, dim, states, kernel = 2, 6, 32, 16, 4
    out = heads * dim
    channels = out + 2 * groups * states
    at = above + "mamba."
    t[at + "in_proj.weight"] = random_matrix(rng, out + channels + heads, d, d**-0.5)
    t[at + "conv1d.weight"] = random_matrix(rng, channels, kernel, kernel**-0.5)
    t[at + "conv1d.weight"].shape = [channels, 1, kernel]
    t[at + "conv1d.bias"] = vector(bf16([rng.gauss(0, 0.2) for _ in range(channels)]))
    t[at + "A_log"] = vector(bf16([math.log(0.01 + 0.1 * h) for h in range(heads)]))
    t[at + "dt_bias"], t[at + "D"] = vector(bf16([0.0] * heads)), vector(bf16([1.0] * heads))
    t[at + "out_proj.weight"] = random_matrix(rng, d, out, 0.002)
    return out


def space_layer(above, t, d, m, rng):
    t[above + "mamba.norm.weight"] = vector(bf16([1.0] * space_mixer(above, t, d, rng)))
    t[above + "shared_mlp.input_linear.weight"] = Matrix([bytes(2 * d)] * (2 * m))
    t[above + "shared_mlp.output_linear.weight"] = Matrix([bytes(2 * m)] * d)
    for name in ("input", "post_attention"):
        t[f"{above}{name}_layernorm.weight"] = vector(bf16([1.0] * d))


RECURRING, ATTENDING = (0, 3), (1, 2, 4, 5)


def make_place(t):
    """Layers that attend leave room for those that recur."""
    for layer in reversed(range(LAYERS)):
        from_, above = f"model.layers.{layer}.", f"model.layers.{ATTENDING[layer]}."
        own = {name: t.pop(name) for name in list(t) if name.startswith(from_)}
        for name, value in own.items():
            t[above + name[len(from_):]] = value


def space(t, c):
    d, m, rng = c["hidden_size"], c["intermediate_size"], random.Random(44)
    make_place(t)
    for layer in ATTENDING:
        above = f"model.layers.{layer}."
        t[above + "self_attn.o_proj.bias"] = vector(bf16([0.0] * d))
        gate, up, down = (t.pop(f"{above}mlp.{x}_proj.weight") for x in ("gate", "up", "down"))
        t[above + "shared_mlp.input_linear.weight"], t[above + "shared_mlp.output_linear.weight"] = Matrix(gate.rows + up.rows), down
    for layer in RECURRING:
        space_layer(f"model.layers.{layer}.", t, d, m, rng)
    c |= dict(model_type="granitemoehybrid", architectures=["GraniteMoeHybridForCausalLM"], attention_bias=True, num_hidden_layers=6,
              layer_types=["linear_attention", "full_attention", "full_attention"] * 2, num_local_experts=0, num_experts_per_tok=0,
              shared_intermediate_size=m, position_embedding_type="rope", attention_multiplier=DIM**-0.5, mamba_n_heads=6, mamba_d_head=32,
              mamba_d_state=16, mamba_n_groups=2, mamba_expand=1, rope_parameters=dict(rope_type="default", rope_theta=c.pop("rope_theta")))


def beside(t, c):
    d, rng = c["hidden_size"], random.Random(45)
    for layer in range(LAYERS):
        above = f"model.layers.{layer}."
        space_mixer(above, t, d, rng)
        t[above + "self_attn.o_proj.bias"] = vector(bf16([0.0] * d))
        t[above + "pre_ff_layernorm.weight"] = t.pop(above + "post_attention_layernorm.weight")
        for x in ("gate", "up", "down"):
            t[f"{above}feed_forward.{x}_proj.weight"] = t.pop(f"{above}mlp.{x}_proj.weight")
    t["model.final_layernorm.weight"] = t.pop("model.norm.weight")
    c |= dict(model_type="falcon_h1", architectures=["FalconH1ForCausalLM"], attention_bias=True, mamba_d_ssm=d, mamba_n_heads=6, mamba_d_head=32,
              mamba_d_state=16, mamba_n_groups=2, mamba_rms_norm=False, rope_parameters=dict(rope_type="default", rope_theta=c.pop("rope_theta")))


def hybrid(t, c):
    large, d, m = 1000.0, c["hidden_size"], c["intermediate_size"]
    rng = random.Random(43)
    half = lambda first: floats([[first - 1] * DIM + [-1.0] * DIM], [2 * DIM])
    make_place(t)
    for layer in reversed(range(LAYERS)):
        above = f"model.layers.{ATTENDING[layer]}."
        for name in ("input", "post_attention"):
            t[f"{above}{name}_layernorm.weight"] = less_one(t[f"{above}{name}_layernorm.weight"])
        attn = above + "self_attn."
        for name, heads in (("q", HEADS), ("k", 1), ("v", 1)):
            w, b = t[f"{attn}{name}_proj.weight"], array.array("H", t[f"{attn}{name}_proj.bias"].rows[0])
            constant = array.array("H", bf16([large if name != "v" else 0.0] * DIM).rows[0])
            rows, bias = [], array.array("H")
            for h in range(heads):
                gate = 2 * DIM if name == "q" else 0
                rows += list(range(h * DIM, (h + 1) * DIM)) + [-1] * (DIM + gate)
                bias += b[h * DIM:(h + 1) * DIM] + constant + array.array("H", [0] * gate)
            t[f"{attn}{name}_proj.weight"], t[f"{attn}{name}_proj.bias"] = w.take(rows), Matrix([bias.tobytes()], [len(bias)])
        order = [i for h in range(HEADS) for i in list(range(h * DIM, (h + 1) * DIM)) + [-1] * DIM]
        t[attn + "o_proj.weight"] = t[attn + "o_proj.weight"].columns(order).times(2)
        t[attn + "o_proj.bias"] = vector(bf16([0.0] * d))
        t[attn + "q_norm.weight"], t[attn + "k_norm.weight"] = half(large), half(large / math.sqrt(2))
    for layer in RECURRING:
        delta_layer(f"model.layers.{layer}.", t, d, m, rng)
    t["model.norm.weight"] = less_one(t["model.norm.weight"])
    c |= dict(model_type="qwen3_5_text", architectures=["Qwen3_5ForCausalLM"], head_dim=2 * DIM, attention_bias=True, num_hidden_layers=6,
              layer_types=["linear_attention", "full_attention", "full_attention"] * 2, linear_num_key_heads=2, linear_num_value_heads=4,
              linear_key_head_dim=16, linear_value_head_dim=16, linear_conv_kernel_dim=4,
              rope_parameters=dict(rope_type="default", rope_theta=c.pop("rope_theta"), partial_rotary_factor=0.5))


if __name__ == "__main__":
    for kind in (moe, sinks, windows, partial, latent, hybrid, space, beside):
        tensors, config = read(FROM + "/model.safetensors"), json.load(open(FROM + "/config.json"))
        del config["use_sliding_window"]
        kind(tensors, config)
        write(os.path.join(sys.argv[1], kind.__name__), tensors, config)
