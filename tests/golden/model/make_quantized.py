"""Makes quantised checkpoints of a layer, and what their references make of them:  python make_quantized.py [NAME ...]

    quantized/NAME/config.json, model.safetensors     a Llama of one layer, as its library writes it
    quantized/NAME/plain.safetensors                  the same matrices, dequantised, in the dtype that the reference gives them

    fp8, fp8-tensor      transformers' own: integrations/finegrained_fp8.py. fp8-ragged: blocks that do not divide the matrix, which
                         transformers refuses and DeepSeek's kernel (inference/kernel.py) rounds up; NumPy
    ct-*                 compressed-tensors' own compressors, both ways
    awq                  AutoAWQ's packing_utils.py, out of the package's source, which pip downloads
    gptq, gptq-*         NumPy, after AutoGPTQ's qlinear_cuda_old.py: v1 stores zero points less 1, g_idx names each row's group

Scales are random, in the dtype that is usual, zero points too where there are any. Made with transformers 5.24, torch 2.15,
compressed-tensors 0.20.1, autoawq 0.2.9. test_families opens both, and compares every number.
"""
import json
import os
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__)) + "/quantized"
D, MLP, VOCAB = 16, 24, 320
SHAPES = {"self_attn.q_proj": (16, D), "self_attn.k_proj": (16, D), "self_attn.v_proj": (16, D), "self_attn.o_proj": (D, 16),
          "mlp.gate_proj": (MLP, D), "mlp.up_proj": (MLP, D), "mlp.down_proj": (D, MLP)}
CONFIG = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=D, intermediate_size=MLP, num_hidden_layers=1,
              num_attention_heads=2, num_key_value_heads=2, head_dim=8, vocab_size=VOCAB, max_position_embeddings=256, rms_norm_eps=1e-6,
              rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=True, eos_token_id=310)
LATENT_SHAPES = {"self_attn.q_a_proj": (16, D), "self_attn.q_b_proj": (32, 16), "self_attn.kv_a_proj_with_mqa": (24, D), "self_attn.kv_b_proj": (32, 16),
                 "self_attn.o_proj": (D, 16), "mlp.gate_proj": (MLP, D), "mlp.up_proj": (MLP, D), "mlp.down_proj": (D, MLP)}
LATENT = {k: v for k, v in CONFIG.items() if k != "head_dim"} | dict(
    model_type="deepseek_v3", architectures=["DeepseekV3ForCausalLM"], q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8,
    v_head_dim=8, n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2, n_group=1, topk_group=1, moe_intermediate_size=8,
    first_k_dense_replace=1)


def scales(rng, shape, dtype):
    values = rng.uniform(0.25, 2, shape) * np.exp2(rng.integers(-9, -5, shape))
    return torch.from_numpy(np.asarray(values, np.float32)).to(dtype)


# ---- each: (tensors beside the module, dequantised weight) ----


def fp8(block, dtype=torch.float32):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    def make(rng, rows, columns):
        raw = rng.integers(0, 256, (rows, columns)).astype(np.uint8)
        raw[raw & 127 == 127] -= 1  # no NaN
        weight = torch.from_numpy(raw).view(torch.float8_e4m3fn)
        grid = tuple(-(-n // b) for n, b in zip((rows, columns), block)) if block else ()
        scale = scales(rng, grid, dtype)
        if block and (rows % block[0] or columns % block[1]):
            whole = scale.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :columns]
            plain = (weight.float() * whole).to(torch.bfloat16)
        else:
            plain = Fp8Dequantize(None)._dequantize_one(weight, scale, torch.bfloat16)
        return {"weight": weight, "weight_scale_inv": scale}, plain
    return make, dict(quant_method="fp8", activation_scheme="dynamic", fmt="e4m3") | (dict(weight_block_size=list(block)) if block else {})


def compressed(kind, bits, strategy, symmetric=True, group=None, dtype=torch.bfloat16, form="pack-quantized", block=None, **more):
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    arguments = dict(num_bits=bits, type=kind, strategy=strategy, symmetric=symmetric) | (dict(group_size=group) if group else {})
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**arguments))
    compressor = BaseCompressor.get_value_from_registry(form)

    def make(rng, rows, columns):
        grid = (rows, columns // group) if group else (rows, 1) if strategy == "channel" else (1,)
        scale = scales(rng, grid, dtype)
        state = {"weight": torch.from_numpy(rng.normal(0, 0.05, (rows, columns)).astype(np.float32)).to(dtype), "weight_scale": scale}
        if kind == "float":
            state["weight_scale"] = scale / 16
        if not symmetric:
            low, high = -(1 << bits - 1), (1 << bits - 1)
            state["weight_zero_point"] = torch.from_numpy(rng.integers(low, high, grid)).to(torch.int8)
        packed = compressor.compress(state, scheme)
        plain = compressor.decompress(packed, scheme)["weight"]
        return packed, plain.to(torch.bfloat16) if plain.dtype == torch.float32 else plain
    config = dict(quant_method="compressed-tensors", format=form, ignore=["lm_head"], kv_cache_scheme=None, quantization_status="compressed",
                  config_groups=dict(group_0=dict(targets=["Linear"], weights=arguments, input_activations=None, output_activations=None)))
    return make, config | more


def packing_utils():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder, "autoawq==0.2.9"],
                       check=True)
        with tarfile.open(folder + "/autoawq-0.2.9.tar.gz") as tar:
            code = tar.extractfile("autoawq-0.2.9/awq/utils/packing_utils.py").read()
    names = {}
    exec(code, names)
    return names


def awq(group):
    utils = packing_utils()

    def make(rng, rows, columns):
        words = lambda n: torch.from_numpy(rng.integers(-2**31, 2**31, (n, rows // 8)).astype(np.int32))
        qweight, qzeros, scale = words(columns), words(columns // group), scales(rng, (columns // group, rows), torch.float16)
        plain = utils["dequantize_gemm"](qweight, qzeros, scale, 4, group)
        return {"qweight": qweight, "qzeros": qzeros, "scales": scale}, plain.t().contiguous()
    return make, dict(quant_method="awq", bits=4, group_size=group, zero_point=True, version="gemm", modules_to_not_convert=None)


def gptq(bits, group, form, shuffled, bias=False):
    def make(rng, rows, columns):
        each, groups = 32 // bits, columns // (group if group > 0 else columns)
        q = rng.integers(0, 1 << bits, (columns, rows), dtype=np.int64)
        zero = rng.integers(1, 1 << bits, (groups, rows), dtype=np.int64) if form == "gptq" else rng.integers(0, 1 << bits, (groups, rows))
        scale = scales(rng, (groups, rows), torch.float16).numpy()
        place = np.arange(columns) * groups // columns
        if shuffled:
            place = rng.permutation(place)
        pack = lambda x: sum(x[..., k] << bits * k for k in range(each)).astype(np.uint32).view(np.int32)
        stored = zero - (form == "gptq")
        tensors = {"qweight": pack(q.reshape(columns // each, each, rows).swapaxes(1, 2)), "qzeros": pack(stored.reshape(groups, rows // each, each)),
                   "scales": scale, "g_idx": place.astype(np.int32)}
        if bias:
            tensors["bias"] = np.zeros(rows, np.float16)
        plain = scale[place] * (q - zero[place]).astype(np.float16)
        return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in tensors.items()}, torch.from_numpy(plain.T.copy())
    return make, dict(quant_method="gptq", bits=bits, group_size=group, desc_act=shuffled, sym=False, true_sequential=True) | (
        dict(checkpoint_format=form) if form != "gptq" else {})


MODELS = {
    "fp8": lambda: fp8((8, 8)),
    "fp8-ragged": lambda: fp8((12, 10)),
    "fp8-tensor": lambda: fp8(None, torch.bfloat16),
    "ct-int4-group": lambda: compressed("int", 4, "group", group=8),
    "ct-int4-zero": lambda: compressed("int", 4, "group", group=8, symmetric=False, dtype=torch.float16),
    "ct-int8-channel": lambda: compressed("int", 8, "channel", dtype=torch.float32),
    "ct-int8-rows": lambda: compressed("int", 8, "channel", form="int-quantized"),
    "ct-fp8": lambda: compressed("float", 8, "channel", form="float-quantized"),
    "awq": lambda: awq(8),
    "gptq": lambda: gptq(4, 8, "gptq", False, bias=True),
    "gptq-act": lambda: gptq(4, 8, "gptq_v2", True),
    "gptq-8": lambda: gptq(8, -1, "gptq", False),
    "fp8-latent": lambda: fp8((8, 8)),  # DeepSeek V3, whose kv_b_proj is laid out anew once it is dequantised
}


def write(name):
    make, quantization = MODELS[name]()
    rng = np.random.default_rng(list(MODELS).index(name) + 1)
    folder = f"{HERE}/{name}"
    os.makedirs(folder, exist_ok=True)
    stored, plain = {}, {}
    latent = name.endswith("-latent")
    for module, shape in (LATENT_SHAPES if latent else SHAPES).items():
        tensors, weight = make(rng, *shape)
        above = f"model.layers.0.{module}."
        assert weight.shape == shape and weight.dtype in (torch.bfloat16, torch.float16) and torch.isfinite(weight).all()
        stored |= {above + leaf: t.contiguous() for leaf, t in tensors.items()}
        plain[above + "weight"] = weight.contiguous()
        if module == "self_attn.kv_b_proj":  # keys of each head, transposed
            plain["model.layers.0.self_attn.k_b_proj.weight"] = weight.view(2, 16, 16)[:, :8].transpose(1, 2).reshape(32, 8).contiguous()
    other = {"model.embed_tokens.weight": torch.zeros(VOCAB, D, dtype=torch.bfloat16)}
    other |= {f"model.{n}.weight": torch.ones(D, dtype=torch.bfloat16) for n in ("norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm")}
    if latent:
        other |= {f"model.layers.0.self_attn.{n}_a_layernorm.weight": torch.ones(16, dtype=torch.bfloat16) for n in ("q", "kv")}
    save_file(stored | other, folder + "/model.safetensors")
    save_file(plain, folder + "/plain.safetensors")
    with open(folder + "/config.json", "w") as f:
        json.dump((LATENT if latent else CONFIG) | dict(quantization_config=quantization), f, indent=1)
        f.write("\n")
    print(f"{name:16} {sum(os.path.getsize(folder + '/' + n) for n in os.listdir(folder))} bytes")


for name in sys.argv[1:] or MODELS:
    write(name)
