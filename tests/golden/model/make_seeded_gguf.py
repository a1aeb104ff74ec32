"""The checkpoints of make_seeded.py in GGUF (seeded/gguf/NAME.gguf), whose golden values are seeded/NAME/golden.bin:

    python3 tests/golden/model/make_seeded_gguf.py [NAME ...]        needs gguf (0.19) beside what make_seeded.py needs

Names of tensors and keys come from the gguf package; what llama.cpp's converter does beside renaming is done here: rows of q and
k in another order, one added to norms, experts stacked. One is split, by the package too.
"""
import json
import os
import sys

import gguf
import numpy as np
from make_seeded import HERE, OFFSET, tensor

A = gguf.MODEL_ARCH
ROWS = {  # architecture, whether q and k are reordered
    "phi4-mini": (A.PHI3, False), "granite": (A.GRANITE, True), "smollm3": (A.SMOLLM3, True), "qwen2_moe": (A.QWEN2MOE, False),
    "qwen3_moe": (A.QWEN3MOE, False), "mixtral": (A.LLAMA, True), "gemma2": (A.GEMMA2, False), "olmo2": (A.OLMO2, False),
    "arcee": (A.ARCEE, True), "starcoder2": (A.STARCODER2, False), "seed_oss": (A.SEED_OSS, False), "ernie4_5": (A.ERNIE4_5, False),
    "cohere2": (A.COHERE2, False), "exaone4": (A.EXAONE4, False), "glm4": (A.GLM4, False), "minimax_m2": (A.MINIMAXM2, False),
    "gpt_oss": (A.GPT_OSS, False), "deepseek_v2": (A.DEEPSEEK2, False), "deepseek_v3-plain": (A.DEEPSEEK2, False),
    "lfm2": (A.LFM2, False), "lfm2_moe": (A.LFM2MOE, False), "qwen3_next": (A.QWEN3NEXT, False), "qwen3_5": (A.QWEN35, False),
    "qwen3_5_moe": (A.QWEN35MOE, False), "granitemoehybrid": (A.GRANITE_HYBRID, True), "granitemoehybrid-experts": (A.GRANITE_HYBRID, True),
    "llama4-published": (A.LLAMA4, False), "gemma4": (A.GEMMA4, False), "gemma4-experts": (A.GEMMA4, False),
    "nemotron_h": (A.NEMOTRON_H, True), "nemotron_h_moe": (A.NEMOTRON_H_MOE, True),
}
NEMOTRON = (A.NEMOTRON_H, A.NEMOTRON_H_MOE)
DELTA = (A.QWEN3NEXT, A.QWEN35, A.QWEN35MOE)
SPLIT = {"qwen3_moe": 12}  # tensors a part
OLDER = ("deepseek_v2",)  # keys and values of heads in one tensor, and their sizes where newer files have those of the cache's rows


def weights(name):
    lines = open(os.path.join(HERE, "seeded", name, "tensors.txt")).read().split("\n")
    for line in filter(None, lines[1:]):
        n, dtype, base, gain, *shape = line.split()
        yield n, tensor(n, int(lines[0]), dtype, float(base), float(gain), list(map(int, shape))).float().numpy()


def reorder(w, heads):
    """LlamaModel.permute of convert_hf_to_gguf.py: halves become neighbours."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def latent(w, c, older):
    key, value, row = c["qk_nope_head_dim"] + c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"] + c["qk_rope_head_dim"]
    w.add_head_count_kv(c["num_attention_heads"] if older else 1)
    w.add_key_length(key if older else row)
    w.add_value_length(value if older else c["kv_lora_rank"])
    if not older:
        w.add_key_length_mla(key)
        w.add_value_length_mla(value)
    w.add_kv_lora_rank(c["kv_lora_rank"])
    if c["q_lora_rank"]:
        w.add_q_lora_rank(c["q_lora_rank"])
    sigmoid = "topk_method" not in c
    w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)
    w.add_expert_weights_norm(sigmoid)
    w.add_expert_weights_scale(c["routed_scaling_factor"])
    w.add_expert_shared_count(c["n_shared_experts"])
    w.add_expert_group_count(c["n_group"])
    w.add_expert_group_used_count(c["topk_group"])
    w.add_leading_dense_block_count(c["first_k_dense_replace"])
    if c["rope_parameters"]["rope_type"] == "yarn":
        w.add_rope_scaling_yarn_log_mul(0.1 * c["rope_parameters"]["mscale_all_dim"])


def layers(w, c):
    """What Gemma4Model of llama.cpp's conversion/gemma.py (2bbcf7f) writes of heads and layers."""
    slides = [t == "sliding_attention" for t in c["layer_types"]]
    full = c["per_layer_config"][str(slides.index(False))]
    shared = c["num_kv_shared_layers"]
    w.add_shared_kv_layers(shared)
    w.add_embedding_length_per_layer_input(c["hidden_size_per_layer_input"])
    w.add_sliding_window_pattern(slides)
    w.add_key_length(full["head_dim"])
    w.add_value_length(full["head_dim"])
    w.add_key_length_swa(c["head_dim"])
    w.add_value_length_swa(c["head_dim"])
    if "num_key_value_heads" in full:
        w.add_head_count_kv([c["num_key_value_heads"] if s else full["num_key_value_heads"] for s in slides])
    else:
        w.add_head_count_kv(c["num_key_value_heads"])
    w.add_feed_forward_length([c["intermediate_size"] * (2 if c["use_double_wide_mlp"] and i >= len(slides) - shared else 1) for i in range(len(slides))]
                              if c["use_double_wide_mlp"] else c["intermediate_size"])
    w.add_rope_dimension_count(full["head_dim"])
    w.add_rope_dimension_count_swa(c["head_dim"])
    rope = c["rope_parameters"]["full_attention"]
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_freq_base_swa(c["rope_parameters"]["sliding_attention"]["rope_theta"])
    turning = int(full["head_dim"] * rope["partial_rotary_factor"] / 2)
    w.add_tensor("rope_freqs.weight", np.array([1.0] * turning + [1e30] * (full["head_dim"] // 2 - turning), "f4"))
    if c["enable_moe_block"]:
        w.add_expert_count(c["num_experts"])
        w.add_expert_used_count(c["top_k_experts"])
        w.add_expert_feed_forward_length(c["moe_intermediate_size"])
    if c["final_logit_softcapping"]:
        w.add_final_logit_softcapping(c["final_logit_softcapping"])


def alone(w, c, arch):
    """What NemotronHModel of llama.cpp's conversion/nemotron.py (003ebfc) writes, whose layers are one thing each."""
    types = c["layers_block_type"]
    mlp = c["moe_intermediate_size"] if arch == A.NEMOTRON_H_MOE else c["intermediate_size"]
    w.add_block_count(len(types))
    w.add_embedding_length(c["hidden_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv([c["num_key_value_heads"] if t == "full_attention" else 0 for t in types])
    w.add_key_length(c["head_dim"])
    w.add_value_length(c["head_dim"])
    w.add_feed_forward_length([mlp if t in ("mlp", "moe") else 0 for t in types])
    w.add_context_length(1 << 20)
    w.add_layer_norm_rms_eps(c["layer_norm_epsilon"])
    w.add_rope_scaling_finetuned(False)
    w.add_ssm_conv_kernel(c["conv_kernel"])
    w.add_ssm_state_size(c["ssm_state_size"])
    w.add_ssm_group_count(c["n_groups"])
    w.add_ssm_time_step_rank(c["mamba_num_heads"])
    w.add_ssm_inner_size(c["mamba_num_heads"] * c["mamba_head_dim"])
    if arch == A.NEMOTRON_H_MOE:
        w.add_expert_count(c["n_routed_experts"])
        w.add_expert_used_count(c["num_experts_per_tok"])
        w.add_expert_feed_forward_length(c["moe_intermediate_size"])
        w.add_expert_shared_feed_forward_length(c["moe_shared_expert_intermediate_size"])
        w.add_expert_shared_count(c["n_shared_experts"])
        w.add_expert_weights_norm(c["norm_topk_prob"])
        w.add_expert_weights_scale(c["routed_scaling_factor"])
        w.add_expert_group_count(c["n_group"])


def keys(w, c, arch, older):
    head = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    w.add_name("tiny")
    if arch == A.GEMMA4:
        w.add_block_count(c["num_hidden_layers"])
        w.add_embedding_length(c["hidden_size"])
        w.add_head_count(c["num_attention_heads"])
        w.add_context_length(c["max_position_embeddings"])
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
        w.add_sliding_window(c["sliding_window"])
        layers(w, c)
        return
    if arch in NEMOTRON:
        return alone(w, c, arch)
    rope = c["rope_parameters"]
    w.add_block_count(c["num_hidden_layers"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size_mlp" if arch == A.LLAMA4 else "intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    if arch == A.DEEPSEEK2:
        latent(w, c, older)
    elif arch in (A.LFM2, A.LFM2MOE, A.GRANITE_HYBRID):
        w.add_head_count_kv([c["num_key_value_heads"] if t == "full_attention" else 0 for t in c["layer_types"]])
        if arch != A.GRANITE_HYBRID:
            w.add_shortconv_l_cache(c["conv_L_cache"])
    else:
        w.add_head_count_kv(c["num_key_value_heads"])
        w.add_key_length(head)
        w.add_value_length(head)
    w.add_context_length(c["max_position_embeddings"])
    if "rms_norm_eps" in c or arch in (A.LFM2, A.LFM2MOE):
        w.add_layer_norm_rms_eps(c.get("rms_norm_eps") or c["norm_eps"])
    else:
        w.add_layer_norm_eps(c.get("norm_epsilon") or c["layer_norm_eps"])
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_dimension_count(c.get("qk_rope_head_dim") or int(head * rope.get("partial_rotary_factor", 1)))
    if rope["rope_type"] == "longrope":
        original = rope["original_max_position_embeddings"]
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(c["max_position_embeddings"] / original) / np.log(original))))
        w.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], "f4"))
        w.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], "f4"))
    if rope["rope_type"] == "llama3":  # as LlamaModel.generate_extra_tensors, where low and high are one
        turns = rope["original_max_position_embeddings"] / (2 * np.pi * rope["rope_theta"] ** (np.arange(0, head, 2) / head))
        w.add_tensor("rope_freqs.weight", np.where(turns > rope["high_freq_factor"], 1, rope["factor"]).astype("f4"))
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if c.get("sliding_window"):
        w.add_sliding_window(c["sliding_window"])
    if arch == A.EXAONE4:
        w.add_sliding_window_pattern([t == "sliding_attention" for t in c["layer_types"]])
    if arch == A.COHERE2:
        w.add_logit_scale(c["logit_scale"])
    if arch == A.GRANITE_HYBRID:
        state_space(w, c)
    if arch in (A.GRANITE, A.GRANITE_HYBRID):
        w.add_attention_scale(c["attention_multiplier"])
        w.add_embedding_scale(c["embedding_multiplier"])
        w.add_residual_scale(c["residual_multiplier"])
        w.add_logit_scale(c["logits_scaling"])
    if arch == A.GEMMA2:
        w.add_attn_logit_softcapping(c["attn_logit_softcapping"])
        w.add_final_logit_softcapping(c["final_logit_softcapping"])
    experts = c.get("num_local_experts") or c.get("num_experts") or c.get("n_routed_experts")
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(c["num_experts_per_tok"])
        if arch == A.LLAMA4:
            w.add_interleave_moe_layer_step(c["interleave_moe_layer_step"])
        if "moe_intermediate_size" in c or arch in (A.MINIMAXM2, A.GPT_OSS, A.LLAMA4):
            w.add_expert_feed_forward_length(c.get("moe_intermediate_size") or c["intermediate_size"])
        if arch == A.LFM2MOE:
            w.add_leading_dense_block_count(c["num_dense_layers"])
            w.add_expert_weights_scale(c["routed_scaling_factor"])
        if arch in (A.MINIMAXM2, A.LFM2MOE):
            w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        if "shared_expert_intermediate_size" in c:
            w.add_expert_shared_feed_forward_length(c["shared_expert_intermediate_size"])


def delta(w, c, arch):
    """What Qwen3NextModel of convert_hf_to_gguf.py writes."""
    w.add_ssm_conv_kernel(c["linear_conv_kernel_dim"])
    w.add_ssm_state_size(c["linear_key_head_dim"])
    w.add_ssm_group_count(c["linear_num_key_heads"])
    w.add_ssm_time_step_rank(c["linear_num_value_heads"])
    w.add_ssm_inner_size(c["linear_value_head_dim"] * c["linear_num_value_heads"])
    if arch == A.QWEN35MOE:  # older files have the interval alone
        w.add_full_attention_interval(c["layer_types"].index("full_attention") + 1)
    else:
        w.add_array(f"{gguf.MODEL_ARCH_NAMES[arch]}.attention.recurrent_layers", [t == "linear_attention" for t in c["layer_types"]])
    if arch != A.QWEN3NEXT:
        w.add_rope_dimension_sections([11, 11, 10, 0])


def state_space(w, c):
    """What GraniteHybridModel of convert_hf_to_gguf.py writes."""
    w.add_ssm_conv_kernel(c["mamba_d_conv"])
    w.add_ssm_state_size(c["mamba_d_state"])
    w.add_ssm_group_count(c["mamba_n_groups"])
    w.add_ssm_time_step_rank(c["mamba_n_heads"])
    w.add_ssm_inner_size(c["mamba_n_heads"] * c["mamba_d_head"])
    w.add_rope_scaling_finetuned(c["position_embedding_type"] == "rope")
    if c["num_local_experts"]:
        w.add_expert_shared_feed_forward_length(c["shared_intermediate_size"])


def converted_space(n, x, c):
    """Its tensors of one of a state space's, or of an MLP that stands in one."""
    leaf = n.split("mixer." if ".mixer." in n else "mamba.")[-1]
    if leaf == "A_log":
        x = -np.exp(x)
    if leaf == "dt_bias":
        n = n.replace("dt_bias", "dt.bias" if ".mixer." in n else "dt_proj.bias")
    if leaf in ("A_log", "D"):
        x = x.reshape(-1, 1)
    if leaf == "norm.weight":
        x = x.reshape(c.get("n_groups") or c["mamba_n_groups"], -1)
    if leaf == "conv1d.weight":
        x = x[:, 0]
    above = ".".join(n.split(".")[:3])
    if "shared_mlp" in n:
        end = ".mlp.shared_experts." if c["num_local_experts"] else ".mlp."
        halves = zip(("gate_proj", "up_proj"), np.split(x, 2)) if "input" in n else [("down_proj", x)]
        return [(f"{above}{end}{part}.weight", y) for part, y in halves]
    if "block_sparse_moe.input_linear" in n:
        return [(f"{above}.mlp.experts.{i}.{part}.weight", y) for i, e in enumerate(x) for part, y in zip(("gate_proj", "up_proj"), np.split(e, 2))]
    if "block_sparse_moe.output_linear" in n:
        return [(f"{above}.mlp.experts.{i}.down_proj.weight", y) for i, y in enumerate(x)]
    return [(n, x)]


def converted(n, x, c, arch):
    """Its tensors: (name, numbers) of one of Hugging Face's."""
    K, V, k, v = (c["linear_num_key_heads"], c["linear_num_value_heads"], c["linear_key_head_dim"], c["linear_value_head_dim"])
    each, leaf = V // K, ".".join(n.split(".")[-2:])
    if "linear_attn" not in n:
        return [(n, x)]
    if n.endswith(".A_log"):
        n, x = n, -np.exp(x)
    if n.endswith(".dt_bias"):
        n = n.removesuffix("dt_bias") + "dt_proj.bias"
    if leaf == "conv1d.weight":
        x = x[:, 0]
    if leaf == "in_proj_qkvz.weight":
        q, k, v, z = np.split(x.reshape(K, -1, x.shape[1]), np.cumsum([k, k, each * v]), axis=1)
        flat = [y.reshape(-1, x.shape[1]) for y in (q, k, v, z)]
        return [(n.replace("qkvz", "qkv"), np.concatenate(flat[:3])), (n.replace("qkvz", "z"), flat[3])]
    if arch == A.QWEN3NEXT:
        return [(n, x)]

    def turn(y, width):  # value heads by key head become key heads in turn
        return y.reshape(K, each, width, *y.shape[1:]).swapaxes(0, 1).reshape(y.shape)

    if leaf in ("in_proj_qkv.weight", "conv1d.weight"):
        x = np.concatenate([x[:2 * K * k], turn(x[2 * K * k:], v)])
    elif leaf == "in_proj_z.weight":
        x = turn(x, v)
    elif leaf == "out_proj.weight":
        x = turn(x.T, v).T
    elif leaf != "norm.weight":
        x = turn(x, 1)
    return [(n, np.ascontiguousarray(x))]


def vocabulary(w):
    t = json.load(open(os.path.join(HERE, "granite", "tokenizer.json")))
    tokens = [k for k, _ in sorted(t["model"]["vocab"].items(), key=lambda x: x[1])]
    special = {a["id"]: a["content"] for a in t["added_tokens"]}
    for i in sorted(special):
        if i >= len(tokens):
            tokens.append(special[i])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([3 if i in special else 1 for i in range(len(tokens))])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]])
    w.add_eos_token_id(tokens.index("<|im_end|>"))
    w.add_add_bos_token(False)


def make(name):
    arch, reordered = ROWS[name]
    c = json.load(open(os.path.join(HERE, "seeded", name, "config.json")))
    path = os.path.join(HERE, "seeded", "gguf", name + ".gguf")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    w = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch], split_max_tensors=SPLIT.get(name, 0))
    keys(w, c, arch, name in OLDER)
    if arch in DELTA:
        delta(w, c, arch)
    vocabulary(w)
    names = gguf.get_tensor_name_map(arch, c.get("num_hidden_layers") or len(c["layers_block_type"]))
    stacks = {}

    def put(n, x):
        plain = n.endswith(("sinks", "_exps.weight", "_exps.bias"))
        if n.endswith((".A_log", ".D")):  # llama.cpp looks for them without the end that others have
            w.add_tensor(names.get_name(n), x.astype("f4"))
            return
        target = n if "_exps." in n else (names.get_name(n, try_suffixes=(".weight", ".bias")) or "") + (".weight" if plain else "")
        assert len(target) > 7, n
        if x.ndim == 1 or "bias" in n or "conv" in n.split(".")[-2] or "mamba.norm" in n or "mixer.norm" in n:
            w.add_tensor(target, x.astype("f4"))
        else:
            w.add_tensor(target, gguf.quants.quantize(x, gguf.GGMLQuantizationType.BF16), raw_dtype=gguf.GGMLQuantizationType.BF16)

    def all_of(n, x):
        return converted(n, x, c, arch) if arch in DELTA else converted_space(n, x, c) if arch in (A.GRANITE_HYBRID, *NEMOTRON) else [(n, x)]

    for n, x in [y for n, x in weights(name) for y in all_of(n, x)]:
        if n.endswith("conv.conv.weight"):
            x = x[:, 0]
        if n.endswith("layer_scalar") or (arch == A.GEMMA4 and "experts" in n.split(".")):  # as the converter calls it
            n += ".weight"
        if n.endswith(("router.scale", "per_expert_scale")):
            w.add_tensor(f"blk.{n.split('.')[2]}.ffn_{'down_exps' if 'expert' in n else 'gate_inp'}.scale", x.astype("f4"))
            continue
        if n.endswith("expert_bias"):
            n += ".bias"
        if arch == A.LFM2MOE and "experts" in n.split("."):
            for old, new in dict(w1="gate_proj", w2="down_proj", w3="up_proj").items():
                n = n.replace(f".{old}.", f".{new}.").replace("feed_forward.experts", "mlp.experts")
        if reordered and ("q_proj" in n or "k_proj" in n):
            x = reorder(x, c["num_attention_heads" if "q_proj" in n else "num_key_value_heads"])
        if c["architectures"][0].removesuffix("ForCausalLM") in OFFSET and "norm" in n and "linear_attn" not in n and not n.endswith("bias"):
            x = x + 1
        parts = n.split(".")
        if arch == A.GPT_OSS and "experts" in parts:  # two in one, in turn; matrices transposed
            part, kind = parts[-1].removesuffix("_bias"), "bias" if parts[-1].endswith("_bias") else "weight"
            x = x.swapaxes(1, 2) if kind == "weight" else x
            for to, y in dict(gate=x[:, ::2], up=x[:, 1::2]).items() if part == "gate_up_proj" else [("down", x)]:
                put(f"blk.{parts[2]}.ffn_{to}_exps.{kind}", np.ascontiguousarray(y))
            continue
        if arch == A.LLAMA4 and "experts" in parts:  # one above the other, and transposed
            x = x.swapaxes(1, 2)
            m = x.shape[1] // 2
            for to, y in dict(gate=x[:, :m], up=x[:, m:]).items() if parts[-1] == "gate_up_proj" else [("down", x)]:
                put(f"blk.{parts[2]}.ffn_{to}_exps.weight", np.ascontiguousarray(y))
            continue
        if parts[-2] == "kv_b_proj" and name not in OLDER:
            both = x.reshape(c["num_attention_heads"], -1, c["kv_lora_rank"])
            put(n.replace("kv_b_proj", "k_b_proj"), np.ascontiguousarray(both[:, :c["qk_nope_head_dim"]].swapaxes(1, 2)))
            put(n.replace("kv_b_proj", "v_b_proj"), np.ascontiguousarray(both[:, c["qk_nope_head_dim"]:]))
            continue
        if parts[-1] == "e_score_correction_bias":  # a bias of nothing
            n = n.removesuffix("_bias") + ".bias"
        if "experts" in parts and "shared_experts" not in parts and arch != A.GEMMA4:
            at = parts.index("experts")
            whole = ".".join(parts[:at + 1] + parts[at + 2:])
            stacks.setdefault(whole, {})[int(parts[at + 1])] = x
        else:
            put(n, x)
    for n, parts in stacks.items():
        if arch in NEMOTRON:
            n = n.replace("backbone", "model").replace("mixer", "mlp")
        put(n, np.stack([parts[i] for i in range(len(parts))]))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    print(name, sum(os.path.getsize(os.path.join(HERE, "seeded", "gguf", f)) for f in os.listdir(os.path.join(HERE, "seeded", "gguf")) if f.startswith(name)))


if __name__ == "__main__":
    for name in sys.argv[1:] or ROWS:
        make(name)
