"""One sample through kvpress and transformers on one GPU, for tests/cuda_targets.py to set beside tests/bench_cuda_engine's grid: a model of
Qwen2.5-7B's shape with random weights, dense, SnapKV and Ada-SnapKV, prompt and steps as the grid has them.

    tests/bench_cuda_kvpress.py [--device cpu --layers 2 --tokens 512 --steps 2]        needs kvpress 0.5.5, transformers before 5.3

Lines: "kvpress METHOD SPARSITY prefill seconds, decode milliseconds a step, steps"; a line "# no kvpress: …" where it is not installed. Attention is
PyTorch's own (`sdpa`). Each is run once before at a short prompt, so that what starting takes is not counted."""
import argparse
import contextlib
import importlib.machinery
import sys
import time
import types

import torch

SHAPE = dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_attention_heads=28, num_key_value_heads=4,
             max_position_embeddings=131072, rope_theta=1e6, tie_word_embeddings=False)
UNUSED = ("datasets", "pandas", "fire", "peft", "rouge")  # what kvpress imports for its command line and its benchmarks


def imported():
    for name in UNUSED:
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__getattr__ = lambda _: None
        sys.modules.setdefault(name, module)
    import kvpress
    return kvpress


def seconds(device):
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def sample(model, press, tokens, steps, device):
    """Seconds of a prefill, and of a step behind it."""
    from transformers import DynamicCache
    cache, prompt = DynamicCache(), torch.randint(0, 150000, (1, tokens), device=device)
    begun = seconds(device)
    with press(model) if press else contextlib.nullcontext():
        hidden = model.model(input_ids=prompt, past_key_values=cache, use_cache=True).last_hidden_state[:, -1:]
        token = model.lm_head(hidden).argmax(-1)
    filled = seconds(device)
    for i in range(steps):
        at = torch.tensor([[tokens + i]], device=device)
        hidden = model.model(input_ids=token, past_key_values=cache, use_cache=True, position_ids=at).last_hidden_state[:, -1:]
        token = model.lm_head(hidden).argmax(-1)
    return filled - begun, (seconds(device) - filled) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--tokens", type=int, default=131040)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--sparsity", type=float, default=0.85)
    a = parser.parse_args()
    try:
        kvpress = imported()
        import transformers
    except ImportError as why:
        print(f"# no kvpress: {why}")
        return
    print(f"# torch {torch.__version__}, transformers {transformers.__version__}")
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(a.device):
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SHAPE, num_hidden_layers=a.layers)).eval()
    for name, press in (("dense", None), ("snapkv", kvpress.SnapKVPress(compression_ratio=a.sparsity)),
                        ("ada_snapkv", kvpress.AdaKVPress(kvpress.SnapKVPress(compression_ratio=a.sparsity)))):
        sample(model, press, min(a.tokens, 4096), 2, a.device)
        prefill, step = sample(model, press, a.tokens, a.steps, a.device)
        print(f"kvpress {name} {a.sparsity if press else 0:g} prefill {prefill:.3f} s, decode {1e3 * step:.2f} ms a step, {a.steps} steps", flush=True)


if __name__ == "__main__":
    main()
