"""Tiny random checkpoints of the families that people have, read here and by transformers: results/bench/families.txt.

    python3 tests/peers/families.py [--rows FILE] [NAME ...] > results/bench/families.txt
                                                                (needs `make tests`; torch, transformers 5, tokenizers)

A row each: relative error of all logits of a prompt of 50 tokens and of one of 2100, how many of 32 greedy tokens are equal after
the longer one; or why it is refused. transformers runs in fp32 with eager attention; what is stored is bf16 mostly. Where a greedy
token differs, the lead of transformers' own choice is told. Exits non-zero if a row that loads differs by more than 1e-4, or in a
token whose lead is more than that. FILE takes each row as it comes; those that it holds already are not run again.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
import transformers as T
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = os.path.dirname(os.path.abspath(__file__)) + "/../.."
TOOL = ROOT + "/build/tests/test_families"
VOCAB, PROMPTS, GREEDY, MOST = 512, (50, 2100), 32, 1e-4
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
T.logging.set_verbosity_error()
T.logging.disable_progress_bar()
warnings.filterwarnings("ignore")

# ---- the families --------------------------------------------------------------------------------------------------------

SIZES = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=4096, bos_token_id=None, eos_token_id=506, pad_token_id=None)
MOE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
ROUTED = dict(n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
MLA = dict(kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=16, num_key_value_heads=4, n_group=1,
           topk_group=1)
DELTA = dict(head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=16, linear_value_head_dim=16)
MAMBA = dict(mamba_n_heads=4, mamba_d_head=32, mamba_d_state=16)


def rope(theta=1e4, **more):
    return dict(rope_parameters=dict(rope_theta=theta, rope_type="default") | more)


def yarn(theta=1e4, **more):
    return rope(theta, rope_type="yarn", factor=4.0, original_max_position_embeddings=32, **more)


LLAMA3 = rope(5e5, rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)

FAMILIES = {  # name: (transformers' class, without ForCausalLM; what differs from SIZES)
    "llama2-mha": ("Llama", rope() | dict(num_key_value_heads=4)),
    "llama3.2-tied": ("Llama", LLAMA3 | dict(tie_word_embeddings=True, head_dim=16, rms_norm_eps=1e-5)),
    "smollm2-llama": ("Llama", rope(1e5) | dict(tie_word_embeddings=True)),
    "qwen2.5": ("Qwen2", rope(1e6)),
    "qwen3": ("Qwen3", rope(1e6) | dict(head_dim=32, tie_word_embeddings=True)),
    "mistral-nemo": ("Mistral", rope(1e6) | dict(head_dim=24, sliding_window=None)),
    "mistral-v0.1-swa": ("Mistral", rope() | dict(sliding_window=16)),
    "ministral": ("Ministral", rope(1e6) | dict(head_dim=16, sliding_window=16)),
    "ministral3": ("Ministral3", dict(head_dim=16)),
    "gemma2": ("Gemma2", rope() | dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=16)),
    "gemma3-text": ("Gemma3", dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=16, num_hidden_layers=7)),
    "gemma3n-text": ("Gemma3n", dict(head_dim=16, num_kv_shared_layers=0)),
    "gemma4-text": ("Gemma4", dict(head_dim=16, global_head_dim=32, sliding_window=16, num_hidden_layers=8, layer_types=[
        "sliding_attention", "full_attention"] * 4, num_kv_shared_layers=4, use_double_wide_mlp=True, hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=VOCAB)),
    "gemma4-experts": ("Gemma4", dict(head_dim=16, global_head_dim=32, sliding_window=16, num_hidden_layers=4, layer_types=["sliding_attention",
        "full_attention"] * 2, hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=1, enable_moe_block=True, num_experts=4,
        top_k_experts=2, moe_intermediate_size=32, final_logit_softcapping=30.0)),
    "gemma4-dense": ("Gemma4", dict(head_dim=16, global_head_dim=32, sliding_window=16, num_hidden_layers=7, hidden_size_per_layer_input=0,
                                    attention_k_eq_v=True, num_global_key_value_heads=1, final_logit_softcapping=30.0)),
    "phi3": ("Phi3", rope() | dict(sliding_window=None)),
    "phi4-mini-partial": ("Phi3", rope(partial_rotary_factor=0.75) | dict(tie_word_embeddings=True, sliding_window=None)),
    "olmo2": ("Olmo2", rope(5e5)),
    "olmo3": ("Olmo3", rope(5e5) | dict(sliding_window=16)),
    "smollm3": ("SmolLM3", rope(5e6) | dict(tie_word_embeddings=True)),
    "qwen2-moe": ("Qwen2Moe", MOE | rope(1e6) | dict(shared_expert_intermediate_size=32)),
    "qwen3-moe": ("Qwen3Moe", MOE | rope(1e6) | dict(head_dim=16)),
    "mixtral": ("Mixtral", rope(1e6) | dict(num_local_experts=4)),
    "qwen3-next": ("Qwen3Next", MOE | DELTA | dict(shared_expert_intermediate_size=32)),
    "qwen3.5-text": ("Qwen3_5", DELTA),
    "qwen3.5-moe": ("Qwen3_5Moe", MOE | DELTA | dict(shared_expert_intermediate_size=32)),
    "deepseek-v2": ("DeepseekV2", ROUTED | MLA),
    "deepseek-v3": ("DeepseekV3", ROUTED | MLA | dict(first_k_dense_replace=1)),
    "deepseek-v2-lite": ("DeepseekV2", ROUTED | MLA | dict(q_lora_rank=None, first_k_dense_replace=1)),
    "deepseek-v3-dims": ("DeepseekV3", ROUTED | MLA | dict(
        first_k_dense_replace=1, kv_lora_rank=512, q_lora_rank=96, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128, num_attention_heads=16,
        num_key_value_heads=16, num_hidden_layers=2)),
    "glm4-moe-lite": ("Glm4MoeLite", ROUTED | MLA),
    "gpt-oss": ("GptOss", dict(num_local_experts=4, num_experts_per_tok=2, head_dim=16, sliding_window=16)),
    "granite3": ("Granite", rope() | dict(embedding_multiplier=12.0, logits_scaling=8.0, residual_multiplier=0.22, attention_multiplier=0.0625)),
    "granite4-hybrid": ("GraniteMoeHybrid", MAMBA | dict(num_local_experts=0, num_experts_per_tok=0, shared_intermediate_size=96,
                                                         layer_types=["mamba", "attention"] * 2)),
    "granite4-h-tiny": ("GraniteMoeHybrid", MAMBA | rope() | dict(
        num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=48, mamba_n_groups=2, tie_word_embeddings=True,
        position_embedding_type="nope", embedding_multiplier=12.0, logits_scaling=6.0, residual_multiplier=0.22, attention_multiplier=0.0625,
        layer_types=["mamba", "mamba", "attention", "mamba"])),
    "glm4": ("Glm4", rope() | dict(head_dim=16)),
    "glm4-9b-chat-hf": ("Glm", rope() | dict(head_dim=16)),
    "glm4-moe": ("Glm4Moe", ROUTED | dict(head_dim=16, n_shared_experts=1)),
    "llama4-text": ("Llama4", dict(head_dim=16, num_local_experts=4, intermediate_size_mlp=96, attention_chunk_size=88, floor_scale=256)),
    "exaone4": ("Exaone4", rope(1e6) | dict(sliding_window=16, head_dim=16)),
    "cohere2": ("Cohere2", rope() | dict(sliding_window=16, head_dim=16)),
    "seed-oss": ("SeedOss", rope(1e7) | dict(head_dim=16)),
    "ernie4.5": ("Ernie4_5", rope(5e5) | dict(head_dim=16)),
    "hunyuan-dense": ("HunYuanDenseV1", rope() | dict(head_dim=16)),
    "arcee": ("Arcee", rope() | dict(head_dim=16)),
    "apertus": ("Apertus", {}),
    "lfm2": ("Lfm2", dict(layer_types=["conv", "full_attention"] * 2)),
    "lfm2-moe": ("Lfm2Moe", MOE | dict(layer_types=["conv", "full_attention"] * 2, num_dense_layers=1)),
    "starcoder2": ("Starcoder2", rope()),
    "nemotron": ("Nemotron", {}),
    "bamba": ("Bamba", MAMBA | dict(attn_layer_indices=[1, 3])),
    "falcon-h1": ("FalconH1", MAMBA | dict(mamba_d_ssm=128)),
    "falcon-h1-multipliers": ("FalconH1", MAMBA | rope(1e11) | dict(
        mamba_d_ssm=128, mamba_n_groups=2, embedding_multiplier=5.65, lm_head_multiplier=0.0195, key_multiplier=0.39, attention_in_multiplier=1.5,
        attention_out_multiplier=0.9375, ssm_in_multiplier=1.25, ssm_out_multiplier=0.2357, ssm_multipliers=[0.35, 0.25, 0.177, 0.5, 0.354],
        mlp_multipliers=[0.88, 0.23])),
    "nemotron-h": ("NemotronH", dict(head_dim=16, mamba_num_heads=4, mamba_head_dim=32, ssm_state_size=16, n_groups=2, num_hidden_layers=8, layers_block_type=[
        "linear_attention", "mlp", "linear_attention", "full_attention", "mlp", "linear_attention", "full_attention", "mlp"])),
    "nemotron3-nano": ("NemotronH", dict(head_dim=16, mamba_num_heads=4, mamba_head_dim=32, ssm_state_size=16, n_groups=2, num_hidden_layers=8, n_routed_experts=4,
                                         num_experts_per_tok=2, moe_intermediate_size=32, moe_shared_expert_intermediate_size=48, routed_scaling_factor=2.5,
                                         layers_block_type=["linear_attention", "moe", "linear_attention", "full_attention", "moe", "linear_attention",
                                                            "full_attention", "moe"])),
    "minimax-m2": ("MiniMaxM2", dict(num_local_experts=4, num_experts_per_tok=2, head_dim=16, rotary_dim=8)),
    "llama-attn-bias": ("Llama", rope() | dict(attention_bias=True)),
    "llama-mlp-bias": ("Llama", rope() | dict(mlp_bias=True)),
    "llama-linear": ("Llama", rope(rope_type="linear", factor=4.0)),
    "llama-dynamic": ("Llama", rope(rope_type="dynamic", factor=4.0)),
    "llama-yarn": ("Llama", yarn()),
    "qwen2.5-yarn": ("Qwen2", yarn(1e6)),
    "qwen3-yarn": ("Qwen3", yarn(1e6) | dict(head_dim=32)),
    "yarn-mscale": ("Llama", yarn(mscale=1.0, mscale_all_dim=1.0)),
    "qwen3-longrope": ("Qwen3", rope(rope_type="longrope", factor=4.0, original_max_position_embeddings=32, short_factor=[1.0] * 16,
                                     long_factor=[2.0] * 16) | dict(head_dim=32)),
    "qwen2-swa": ("Qwen2", rope(1e6) | dict(use_sliding_window=True, sliding_window=16, max_window_layers=2)),
    "qwen3-attn-bias": ("Qwen3", rope(1e6) | dict(head_dim=32, attention_bias=True)),
    "llama-partial": ("Llama", rope(partial_rotary_factor=0.5)),
    "llama-gelu": ("Llama", rope() | dict(hidden_act="gelu")),
    "qwen2-headdim": ("Qwen2", rope() | dict(head_dim=32)),
}


def tokenizer(folder):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.train_from_iterator([open(ROOT + "/README.md", encoding="utf-8").read()], trainers.BpeTrainer(
        vocab_size=VOCAB - 8, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.save(folder + "/tokenizer.json")
    with open(folder + "/tokenizer_config.json", "w") as f:
        json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", eos_token="<|im_end|>"), f)


@torch.no_grad()
def randomize(model):
    """Matrices of unit gain, queries and keys of more, norms around 1, biases and sinks around 0."""
    g = torch.Generator().manual_seed(7)
    for name, p in sorted(model.named_parameters()):
        x = torch.randn(p.shape, generator=g)
        if "A_log" in name or "dt_bias" in name:
            continue
        if p.ndim == 1:
            p.copy_((x * 0.2 + (not name.endswith("bias") and "sinks" not in name)).to(p.dtype))
        else:
            p.copy_((x * (1.6 if re.search("[qk]_proj", name) and p.ndim == 2 else 1) / p.shape[-1] ** 0.5).to(p.dtype))


def make(name, folder):
    family, differs = FAMILIES[name]
    config = next(getattr(T, family + end) for end in ("TextConfig", "Config") if hasattr(T, family + end))
    model = getattr(T, family + "ForCausalLM")(config(**(SIZES | differs))).eval()
    randomize(model)
    model.generation_config.eos_token_id = [506, 504]
    stored = torch.float32 if "yarn" in name or "rope" in name or "llama-" in name else torch.bfloat16
    model.to(stored).save_pretrained(folder, max_shard_size="100KB" if name in ("qwen3", "llama2-mha") else "1GB")
    tokenizer(folder)


# ---- the two -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def theirs(folder, prompts):
    model = T.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    logits, greedy, leads = [], [], []
    for ids in prompts:
        out = model(input_ids=torch.tensor([ids.tolist()]), use_cache=True)
        logits.append(out.logits[0].double().numpy())
    for _ in range(GREEDY):
        last = out.logits[0, -1].double()
        top = last.topk(2).values
        greedy.append(int(last.argmax()))
        leads.append(float((top[0] - top[1]) / last.norm()))
        place = torch.tensor([[len(prompts[-1]) + len(greedy) - 1]])  # which Bamba, not told, begins anew at 0
        out = model(input_ids=torch.tensor([greedy[-1:]]), position_ids=place, past_key_values=out.past_key_values, use_cache=True)
    return logits, greedy, leads


def run(mode, folder, ids, kind, *more):
    with tempfile.TemporaryDirectory() as scratch:
        ids.astype("<i4").tofile(scratch + "/ids")
        done = subprocess.run([TOOL, mode, folder, scratch + "/ids", scratch + "/out", *more], capture_output=True, text=True)
        if done.returncode:
            words = done.stderr.strip().split("\n")[-1].replace(folder + "/", "").replace(folder, "the folder")
            raise ValueError(re.sub("expected one of .*, found", "found", words))
        return np.fromfile(scratch + "/out", kind)


def compare(folder):
    """The row's cells, and whether it is as it must be."""
    prompts = [np.random.default_rng(n).integers(5, 500, n) for n in PROMPTS]
    try:
        ours = [run("logits", folder, ids, "<f4").reshape(len(ids), -1).astype(float) for ids in prompts]
        tokens = run("greedy", folder, prompts[-1], "<i4", str(GREEDY)).tolist()
    except ValueError as refusal:
        return f"refused: {refusal}", True
    logits, greedy, leads = theirs(folder, prompts)
    errors = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(ours, logits)]
    equal = next((i for i in range(GREEDY) if tokens[i] != greedy[i]), GREEDY)
    told = "" if equal == GREEDY else f" (then a lead of {leads[equal]:.0e})"
    return " | ".join(f"{e:.1e}" for e in errors) + f" | {equal}{told}", max(errors) <= MOST and (equal == GREEDY or leads[equal] <= MOST)


def rows_of(path):
    """(name, cells, whether it is as it must be) of each row that a file holds."""
    if not path or not os.path.exists(path):
        return []
    return [json.loads(line) for line in open(path)]


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--rows")
    ask.add_argument("name", nargs="*", metavar="NAME")
    asked = ask.parse_args()
    rows = rows_of(asked.rows)
    for name in asked.name or FAMILIES:
        if name in [row[0] for row in rows]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                make(name, folder)
            except Exception as e:  # not all classes take all sizes; say so, and go on
                row, fine = f"transformers cannot make it: {type(e).__name__}: {str(e)[:200]}", False
            else:
                row, fine = compare(folder)
        rows.append((name, row, fine))
        print(name, row, "" if fine else "DIFFERS", file=sys.stderr, flush=True)
        if asked.rows:
            with open(asked.rows, "a") as f:
                f.write(json.dumps(rows[-1]) + "\n")
    print(f"| checkpoint | {PROMPTS[0]} tokens | {PROMPTS[1]} tokens | greedy, of {GREEDY} |\n|---|---|---|---|")
    print("\n".join(f"| {name} | {row} |" for name, row, fine in rows if "refused: " not in row))
    print("\n| refused | in these words |\n|---|---|")
    print("\n".join(f"| {name} | {row.removeprefix('refused: ')} |" for name, row, _ in rows if "refused: " in row))
    sys.exit(not all(fine for _, _, fine in rows))


main()
