"""Seeds for fuzz_gguf: the smallest models of several families and both kinds of tokenizer. Usage: fuzz_gguf.py FOLDER"""
import struct
import sys

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
D, MLP, HEADS = 8, 32, 2


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(v):
    """Type and bytes of a key's value."""
    if isinstance(v, bool):
        return BOOL, struct.pack("<?", v)
    if isinstance(v, int):
        return U32, struct.pack("<I", v)
    if isinstance(v, float):
        return F32, struct.pack("<f", v)
    if isinstance(v, str):
        return STRING, text(v)
    kind = I32 if type(v[0]) is int else value(v[0])[0]
    items = b"".join(struct.pack("<i", x) if kind == I32 else value(x)[1] for x in v)
    return ARRAY, struct.pack("<IQ", kind, len(v)) + items


def write(path, keys, tensors):
    """tensors: name -> (ggml type, bytes of a row block, elements of one, dimensions with the fastest first)."""
    out, data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)), b""
    for name, v in keys.items():
        kind, content = value(v)
        out += text(name) + struct.pack("<I", kind) + content
    for name, (kind, size, block, dims) in tensors.items():
        n = size
        for d in dims:
            n *= d
        data += bytes(-len(data) % 32)
        out += text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, len(data))
        data += struct.pack("<f", -1) * (n // 4) if name.endswith("ssm_a") else bytes(n // block)  # a decay is below 0
    out += bytes(-len(out) % 32)
    with open(path, "wb") as f:
        f.write(out + data)


def model(architecture, vocab, kind, extra=(), norms=(), biases=False):
    f32, q8 = (0, 4, 1), (8, 34, 32)
    keys = {"general.architecture": architecture, "general.name": "tiny"}
    for key, v in {"block_count": 1, "embedding_length": D, "feed_forward_length": MLP, "attention.head_count": HEADS,
                   "attention.head_count_kv": 1, "context_length": 64, "attention.layer_norm_rms_epsilon": 1e-5,
                   "rope.freq_base": 1e4, "rope.dimension_count": D // HEADS, **dict(extra)}.items():
        keys[f"{architecture}.{key}"] = v
    keys.update(vocab)
    n, k = len(vocab["tokenizer.ggml.tokens"]), D // HEADS
    t = {"token_embd.weight": (*f32, [D, n]), "output_norm.weight": (*f32, [D])}
    for name, dims in {"attn_norm": [D], "attn_q": [D, D], "attn_k": [D, k], "attn_v": [D, k], "attn_output": [D, D], "ffn_norm": [D],
                       "ffn_gate": [D, MLP], "ffn_up": [D, MLP], "ffn_down": [MLP, D], **dict(norms)}.items():
        t[f"blk.0.{name}.weight"] = (*(q8 if name == "ffn_down" else f32), dims)
    if biases:
        for name, size in {"attn_q": D, "attn_k": k, "attn_v": k}.items():
            t[f"blk.0.{name}.bias"] = (*f32, [size])
    write(f"{sys.argv[1]}/{kind}.gguf", keys, t)


BYTES = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe",
         "tokenizer.ggml.tokens": ["a", "b", "Ġ", "ab", "Ġa", "<|eot_id|>", "<|begin_of_text|>", "x"],
         "tokenizer.ggml.token_type": [1, 1, 1, 1, 1, 3, 3, 4], "tokenizer.ggml.merges": ["a b", "Ġ a"],
         "tokenizer.ggml.bos_token_id": 6, "tokenizer.ggml.eos_token_id": 5, "tokenizer.ggml.add_bos_token": True,
         "tokenizer.chat_template": "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m['content'] }}{% endfor %}",
         "tokenizer.chat_template.tool": "{{ messages[0].content | trim }}"}
PIECES = {"tokenizer.ggml.model": "llama",
          "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "<0x41>", "<0x0A>", "▁", "a", "b", "▁a", "ab", "<end_of_turn>"],
          "tokenizer.ggml.scores": [0.0, 0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0, 0.0],
          "tokenizer.ggml.token_type": [2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 3], "tokenizer.ggml.bos_token_id": 1,
          "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.add_space_prefix": False}
model("llama", BYTES, "llama")
model("llama", PIECES, "llama-pieces", {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0})
model("qwen2", BYTES | {"tokenizer.ggml.pre": "qwen2"}, "qwen2", biases=True)
model("qwen3", BYTES, "qwen3", {"attention.key_length": 4, "attention.value_length": 4},
      {"attn_q_norm": [4], "attn_k_norm": [4]})
model("gemma3", PIECES, "gemma3", {"attention.key_length": 4, "attention.value_length": 4, "attention.sliding_window": 16},
      {"attn_q_norm": [4], "attn_k_norm": [4], "post_attention_norm": [D], "post_ffw_norm": [D]})

# Latent attention: a layer of its own shape, with keys and values of heads apart.
ROW, NOPE, ROPE, VALUE, Q = 6, 4, 2, 4, 5
f32 = (0, 4, 1)
keys = {"general.architecture": "deepseek2", "general.name": "tiny"}
for key, v in {"block_count": 1, "embedding_length": D, "feed_forward_length": MLP, "attention.head_count": HEADS, "attention.head_count_kv": 1,
               "context_length": 64, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e4, "rope.dimension_count": ROPE,
               "attention.key_length": ROW + ROPE, "attention.value_length": ROW, "attention.key_length_mla": NOPE + ROPE,
               "attention.value_length_mla": VALUE, "attention.kv_lora_rank": ROW, "attention.q_lora_rank": Q, "leading_dense_block_count": 1,
               "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 4, "expert_shared_count": 1, "expert_group_count": 2,
               "expert_group_used_count": 1, "expert_gating_func": 2, "expert_weights_norm": True, "expert_weights_scale": 2.5,
               "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.yarn_log_multiplier": 0.1}.items():
    keys[f"deepseek2.{key}"] = v
tensors = {"token_embd.weight": [D, len(BYTES["tokenizer.ggml.tokens"])], "output_norm.weight": [D], "attn_norm": [D], "ffn_norm": [D],
           "ffn_gate": [D, MLP], "ffn_up": [D, MLP], "ffn_down": [MLP, D], "attn_q_a": [D, Q], "attn_q_a_norm": [Q],
           "attn_q_b": [Q, HEADS * (NOPE + ROPE)], "attn_kv_a_mqa": [D, ROW + ROPE], "attn_kv_a_norm": [ROW], "attn_k_b": [NOPE, ROW, HEADS],
           "attn_v_b": [ROW, VALUE, HEADS], "attn_output": [HEADS * VALUE, D]}
write(f"{sys.argv[1]}/deepseek2.gguf", keys | BYTES, {n if "." in n else f"blk.0.{n}.weight": (*f32, dims) for n, dims in tensors.items()})


def hybrid(architecture, keys, tensors, experts):
    """A layer that recurs and one that attends, with experts or not; `tensors` are the first one's."""
    of = {"block_count": 2, "embedding_length": D, "feed_forward_length": MLP, "attention.head_count": HEADS, "context_length": 64,
          "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e4, "rope.dimension_count": 4, **keys}
    gate = 1 + ("attention.key_length" in keys)  # queries lie beside their gates
    layers = [tensors, {"attn_q.weight": [D, gate * D], "attn_k.weight": [D, 4], "attn_v.weight": [D, 4], "attn_output.weight": [D, D],
                        "attn_q_norm.weight": [4], "attn_k_norm.weight": [4]}]
    norm, last = ("post_attention_norm", "output_norm") if gate > 1 else ("ffn_norm", "token_embd_norm")
    every = {"attn_norm.weight": [D], f"{norm}.weight": [D], "ffn_gate.weight": [D, MLP], "ffn_up.weight": [D, MLP], "ffn_down.weight": [MLP, D]}
    if experts:
        of |= {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 4} | experts
        every = {"attn_norm.weight": [D], f"{norm}.weight": [D], "ffn_gate_inp.weight": [D, 4], "ffn_gate_exps.weight": [D, 4, 4],
                 "ffn_up_exps.weight": [D, 4, 4], "ffn_down_exps.weight": [4, D, 4]}
        every |= {"ffn_gate_inp_shexp.weight": [D, 1], "ffn_gate_shexp.weight": [D, 4], "ffn_up_shexp.weight": [D, 4],
                  "ffn_down_shexp.weight": [4, D]} if gate > 1 else {"exp_probs_b.bias": [4]}
    all_tensors = {"token_embd.weight": [D, len(BYTES["tokenizer.ggml.tokens"])], f"{last}.weight": [D]}
    for i, layer in enumerate(layers):
        all_tensors |= {f"blk.{i}.{n}": dims for n, dims in {**every, **layer}.items()}
    write(f"{sys.argv[1]}/{architecture}.gguf", {"general.architecture": architecture, "general.name": "tiny"} |
          {f"{architecture}.{key}": v for key, v in of.items()} | BYTES, {n: (*f32, dims) for n, dims in all_tensors.items()})


delta = {"attention.head_count_kv": 1, "attention.key_length": 4, "attention.value_length": 4, "ssm.conv_kernel": 3, "ssm.state_size": 4,
         "ssm.group_count": 1, "ssm.time_step_rank": 2, "ssm.inner_size": 8}
both = {"ssm_a": [2], "ssm_conv1d.weight": [3, 16], "ssm_dt.bias": [2], "attn_qkv.weight": [D, 16], "attn_gate.weight": [D, 8],
        "ssm_norm.weight": [4], "ssm_out.weight": [8, D]}
shared = {"expert_shared_feed_forward_length": 4}
hybrid("qwen3next", {**delta, "attention.recurrent_layers": [True, False]}, {**both, "ssm_ba.weight": [D, 4]}, shared)
for name, more in {"qwen35": None, "qwen35moe": shared}.items():
    hybrid(name, {**delta, "full_attention_interval": 2, "rope.dimension_sections": [1, 1, 0, 0]},
           {**both, "ssm_alpha.weight": [D, 2], "ssm_beta.weight": [D, 2]}, more)
short = {"shortconv.conv.weight": [3, D], "shortconv.in_proj.weight": [D, 3 * D], "shortconv.out_proj.weight": [D, D]}
for name, more in {"lfm2": None, "lfm2moe": {"expert_gating_func": 2, "expert_weights_scale": 1.0, "leading_dense_block_count": 0}}.items():
    hybrid(name, {"attention.head_count_kv": [0, 1], "shortconv.l_cache": 3}, short, more)
