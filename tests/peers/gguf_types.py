"""Every tensor type that the gguf package knows, in a model read here, against the numbers that the package makes of the same file.

    python3 tests/peers/gguf_types.py > results/bench/gguf-types.txt        (needs `make tests`; gguf 0.19, torch, transformers)

All matrices of a small Llama are of one type: quantised by the package from random numbers where it can quantise, else blocks of
random bits, scaled to unit gain. Beside it lies the same model in F32, of what the package's dequantize() makes of them. A row:
bits a weight; how far the quantised numbers are from those that they stand for (relative, root mean square: a property of the
type); relative error of all logits of a prompt of 50 tokens and of one of 700 against the F32 file, both read here; and how many
of the 750 likeliest tokens are equal. Number by number, bit for bit: tests/golden/dtypes.py, tests/test_backend_dtypes.c. Exits
non-zero if a file that is read differs by more than 1e-5.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Q, GGUFWriter, quants

ROOT = os.path.dirname(os.path.abspath(__file__)) + "/../.."
sys.path[:0] = [ROOT + "/tests/golden", ROOT + "/tests/golden/model"]
import dtypes  # noqa: E402
from make_seeded_gguf import vocabulary  # noqa: E402

TOOL, MOST, PROMPTS = ROOT + "/build/tests/test_families", 1e-5, (50, 700)
LAYERS, D, MLP, HEADS, KV_HEADS, HEAD, VOCAB = 2, 256, 512, 4, 2, 64, 320
WHOLE = {Q.I8: "i1", Q.I16: "<i2", Q.I32: "<i4", Q.I64: "<i8"}
MATRICES = {"token_embd": (VOCAB, D), "output": (VOCAB, D)} | {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in {
    "attn_q": (HEADS * HEAD, D), "attn_k": (KV_HEADS * HEAD, D), "attn_v": (KV_HEADS * HEAD, D), "attn_output": (D, HEADS * HEAD),
    "ffn_gate": (MLP, D), "ffn_up": (MLP, D), "ffn_down": (D, MLP)}.items()}
NORMS = ["output_norm"] + [f"blk.{i}.{name}_norm" for i in range(LAYERS) for name in ("attn", "ffn")]


def random_blocks(kind, n, gain):
    """Bytes of n numbers of about this root mean square, and what the package makes of them."""
    make = dtypes.spread_scale if kind == Q.IQ1_M else lambda n, spread: dtypes.blocks(kind, n, spread)
    if kind == Q.NVFP4:  # scales of 4 bits of exponent, small ones
        raw = dtypes.blocks(kind, n)
        raw[:, :4] = dtypes.rng.integers(8, 24, raw[:, :4].shape)
    else:
        raw = make(n, 0.05 * gain / quants.dequantize(make(n, 0.05), kind).std())
    return raw, quants.dequantize(raw, kind).astype("<f4")


def matrix(kind, shape):
    """Raw rows of a type, the numbers that the package reads in them, and those that they were made of, if any."""
    gain, n = shape[1] ** -0.5, shape[0] * shape[1]
    exact = (dtypes.rng.standard_normal(shape) * gain).astype("<f4")
    if kind in WHOLE:
        raw = np.rint(exact / gain * 20).astype(WHOLE[kind])
        return raw, raw.astype("<f4"), None
    if kind == Q.F64:
        return exact.astype("<f8") * np.pi, (exact.astype("<f8") * np.pi).astype("<f4"), None
    try:
        raw = quants.quantize(exact, kind)
    except NotImplementedError:
        raw, numbers = random_blocks(kind, n, gain)
        return raw.reshape(shape[0], -1), numbers.reshape(shape), None
    return raw, quants.dequantize(raw, kind).reshape(shape).astype("<f4"), exact


def write(path, matrices, norms, kind):
    w = GGUFWriter(path, "llama")
    w.add_name("tiny")
    w.add_block_count(LAYERS)
    w.add_embedding_length(D)
    w.add_feed_forward_length(MLP)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_context_length(4096)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(1e4)
    w.add_vocab_size(VOCAB)
    vocabulary(w)
    for name, raw in matrices.items():
        w.add_tensor(name + ".weight", raw, raw_dtype=kind)
    for name, x in norms.items():
        w.add_tensor(name + ".weight", x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def logits(path, ids, folder):
    ids.astype("<i4").tofile(folder + "/ids")
    done = subprocess.run([TOOL, "logits", path, folder + "/ids", folder + "/out"], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip().split("\n")[-1].replace(folder + "/", ""))
    return np.fromfile(folder + "/out", "<f4").reshape(len(ids), -1).astype(float)


def row(kind, folder):
    """The row's cells, and whether it is as it must be."""
    made = {name: matrix(kind, shape) for name, shape in MATRICES.items()}
    norms = {name: (1 + 0.2 * dtypes.rng.standard_normal(D)).astype("<f4") for name in NORMS}
    own, plain = folder + f"/{kind.name}.gguf", folder + "/plain.gguf"
    write(own, {n: raw for n, (raw, _, _) in made.items()}, norms, kind)
    write(plain, {n: x for n, (_, x, _) in made.items()}, norms, Q.F32)
    size, bytes_ = GGML_QUANT_SIZES[kind]
    lost = [(x - exact, exact) for _, x, exact in made.values() if exact is not None]
    loss = f"{(sum((d**2).sum() for d, _ in lost) / sum((e**2).sum() for _, e in lost)) ** 0.5:.1e}" if lost else "random blocks"
    if kind in WHOLE or kind == Q.F64:
        loss = "none"
    errors, equal = [], 0
    for n in PROMPTS:
        ids = np.random.default_rng(n).integers(5, 300, n)
        a, b = logits(own, ids, folder), logits(plain, ids, folder)
        errors.append(np.linalg.norm(a - b) / np.linalg.norm(b))
        equal += int((a.argmax(1) == b.argmax(1)).sum())
    told = " | ".join([f"{8 * bytes_ / size:.4g}", loss, *(f"{e:.1e}" for e in errors), f"{equal} of {sum(PROMPTS)}"])
    return told, max(errors) <= MOST


def main():
    good, refused = True, []
    print("| type | bits | numbers from what they stand for | 50 tokens | 700 tokens | likeliest tokens |\n|---|---|---|---|---|---|")
    for kind in Q:
        with tempfile.TemporaryDirectory() as folder:
            try:
                cells, fine = row(kind, folder)
            except (NotImplementedError, KeyError, ValueError) as e:
                refused.append(f"| {kind.name} | {'the package neither writes nor reads it' if not isinstance(e, ValueError) else e} |")
                continue
        good &= fine
        print(f"| {kind.name} | {cells} |{'' if fine else ' DIFFERS'}", flush=True)
    print("\n| not read | why |\n|---|---|\n" + "\n".join(refused))
    sys.exit(not good)


main()
