"""SmolLM2-135M-Instruct against transformers: makes smollm2.bin, and compares whole logits.

    python check_smollm2.py MODEL.gguf                                  writes smollm2.bin beside this script, in the
                                                                        format of ../model/make_checkpoints.py
    python check_smollm2.py MODEL.gguf build/tests/test_families        compares every logit of the three prompts

The weights are read from the same GGUF by the `gguf` package and dequantised to fp32; its Llama layout of q and k (pairs
side by side) is put back to the one that transformers rotates (halves).
"""
import os
import random
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
GREEDY = 64

NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}


def halves(w, heads):
    """[heads, pairs, 2, in] -> [heads, 2, pairs, in]"""
    return w.reshape(heads, -1, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def load(path):
    reader = GGUFReader(path)
    get = lambda key: reader.fields["llama." + key].contents()
    config = LlamaConfig(
        num_hidden_layers=get("block_count"), hidden_size=get("embedding_length"),
        num_attention_heads=get("attention.head_count"), num_key_value_heads=get("attention.head_count_kv"),
        intermediate_size=get("feed_forward_length"), vocab_size=get("vocab_size"),
        max_position_embeddings=get("context_length"), rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": get("rope.freq_base")}, tie_word_embeddings=True)
    weights = {}
    for t in reader.tensors:
        w = dequantize(t.data, t.tensor_type).astype(np.float32)
        part = t.name.split(".")
        if part[0] == "blk":
            if part[2] == "attn_q":
                w = halves(w, config.num_attention_heads)
            if part[2] == "attn_k":
                w = halves(w, config.num_key_value_heads)
            name = f"model.layers.{part[1]}.{NAMES[part[2]]}.weight"
        else:
            name = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[part[0]]
        weights[name] = torch.from_numpy(w.copy())
    model = LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model


def prompts(path):
    tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path))
    rng = random.Random(43)
    words = "amber birch cedar delta ember fjord grove harbor island jasper kettle lantern meadow nectar orchid pebble".split()
    notes = " ".join(f"The {rng.choice(words)} {rng.choice(words)} is kept in room {rng.randint(100, 999)}." for _ in range(165))
    texts = [
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
        "def fibonacci(n):\n    \"\"\"The n-th Fibonacci number.\"\"\"\n    a, b = 0, 1\n    for _ in range(n):\n"
        "        a, b = b, a + b\n    return a\n\n\ndef factorial(n):\n",
        f"<|im_start|>user\n{notes}\nWrite a short story about one of these rooms.<|im_end|>\n<|im_start|>assistant\n",
    ]
    return [tokenizer(t)["input_ids"] for t in texts]


@torch.no_grad()
def logits_and_greedy(model, ids):
    """Logits of the whole prompt in one pass, and what follows by argmax with the model's own cache; stop tokens do not
    stop it. Last, the smallest lead of an argmax, relative to the norm of its logits."""
    out = model(torch.tensor([ids]), use_cache=True)
    logits, cache, step, chosen, margin = out.logits[0].numpy(), out.past_key_values, out.logits[0, -1], [], 1.0
    while True:
        top = step.topk(2).values
        margin = min(margin, float((top[0] - top[1]) / step.norm()))
        chosen.append(int(step.argmax()))
        if len(chosen) == GREEDY:
            return logits, chosen, margin
        out = model(torch.tensor([[chosen[-1]]]), past_key_values=cache, use_cache=True)
        step, cache = out.logits[0, -1], out.past_key_values


def signs(vocab):
    v, j = np.arange(vocab, dtype=np.uint64)[:, None], np.arange(2, dtype=np.uint64)[None]
    return 1.0 - 2.0 * ((v * 2654435761 + j * 2246822519) % 2**32 >> 15 & 1).astype(np.float64)


def golden(ids, logits, greedy, margin):
    every = logits.astype(np.float64)
    return (struct.pack("<3i", len(ids), len(greedy), 0) + np.array(ids + greedy, "<i4").tobytes() + struct.pack("<f", margin) +
            np.linalg.norm(every, axis=1).astype("<f4").tobytes() + (every @ signs(every.shape[1])).astype("<f4").tobytes())


def compare(program, path, ids, logits):
    with tempfile.TemporaryDirectory() as folder:
        given, got = folder + "/ids", folder + "/logits"
        np.array(ids, np.int32).tofile(given)
        subprocess.run([program, "logits", path, given, got], check=True)
        ours = np.fromfile(got, np.float32).reshape(logits.shape)
    difference = np.linalg.norm(ours.astype(np.float64) - logits, axis=1)
    norm = np.linalg.norm(logits.astype(np.float64), axis=1)
    error = np.linalg.norm(difference) / np.linalg.norm(norm)
    print(f"{len(ids)} tokens: |difference| / |reference| = {error:.2e}, worst position {np.max(difference / norm):.2e}")
    return error <= 1e-3


def main():
    path = os.path.abspath(sys.argv[1])
    model, data, good = load(path), [], True
    for ids in prompts(path):
        logits, greedy, margin = logits_and_greedy(model, ids)
        data.append(golden(ids, logits, greedy, margin))
        print(f"{len(ids)} tokens, least lead of an argmax {margin:.1e}, greedy: {greedy[:12]}")
        if len(sys.argv) > 2:
            good &= compare(sys.argv[2], path, ids, logits)
    if len(sys.argv) == 2:
        with open(os.path.join(HERE, "smollm2.bin"), "wb") as f:
            f.write(b"SFGOLD01" + struct.pack("<2i", model.config.vocab_size, len(data)) + b"".join(data))
    sys.exit(not good)


if __name__ == "__main__":
    main()
