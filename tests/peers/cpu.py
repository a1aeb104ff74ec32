#!/usr/bin/env python3
"""The CPU engine beside its peers, in one run, on the same threads:

  attention   PyTorch's scaled_dot_product_attention, fp32, causal (the faster of its two ways with grouped heads),
              beside `frontier bench attention --method dense`
  model       llama.cpp on the same GGUF: a prompt's processing at two lengths, and generation behind the first,
              beside `frontier bench sweep --method dense`
  types       the same for the model in other types, which llama.cpp writes (--types), and the bandwidth at which our decoding
              reads weights, as a share of what this machine reads

Each pair is timed in turns, so that both meet the same machine; medians and the least and most of them are printed.
llama.cpp keeps keys and values in fp16 and rounds activations to 8 bits for quantised weights; Frontier computes in fp32, but for
--device cpu-int8, where it rounds them as well.

    python3 -m venv peers && peers/bin/pip install torch llama-cpp-python
    peers/bin/python tests/peers/cpu.py --model models/smollm2-135m --threads 2
    peers/bin/python tests/peers/cpu.py --only model --prompts 128,2048 --types BF16,Q8_0,Q4_0,Q4_K,Q6_K

llama-cpp-python builds llama.cpp from its source package, for this machine (minutes). Where the kernel does not let
programs use AMX although the processor has it, that build crashes; name the instruction sets then:
CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON".
A peer that is not installed is left out, and said to be. With nothing else running: attention about 2 minutes; model one
minute a repetition and one to warm up, `--repeat 1` is enough to see it.

Types are made of the model's file as it is, quantised once more: speed is compared, not quality. Rows that a K type's blocks do
not divide (SmolLM2's of 576) get the type that llama.cpp puts there instead, in the same file for both."""

import argparse
import csv
import ctypes
import glob
import io
import os
import re
import statistics
import subprocess
import tempfile
import time

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 11, "Q4_K": 14, "Q5_K": 16,
         "Q6_K": 18, "IQ4_NL": 25, "IQ3_S": 26, "IQ4_XS": 30, "BF16": 32}  # llama_ftype


# Where OMP_PROC_BIND is set, the OpenMP of a peer binds this process to one core, and what it starts would be left that one too.
CORES = os.sched_getaffinity(0)


def run_frontier(args, *words):
    return subprocess.run([args.frontier, *words], check=True, capture_output=True, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, CORES)).stdout


def frontier(args, *words):
    """Rows of a `frontier bench … --csv`, as dictionaries; lines that are not rows of its table are left out."""
    out = run_frontier(args, "bench", *words, "--csv")
    return [row for row in csv.DictReader(io.StringIO(out)) if None not in row and None not in row.values()]


def report(what, ours, peer, name, unit, scale=lambda seconds: seconds):
    """One line: both medians with their spread, and how many times the peer's speed ours is (of medians)."""
    def text(seconds):
        values = sorted(scale(s) for s in seconds)
        return f"{statistics.median(values):9.1f} ({values[0]:.1f}..{values[-1]:.1f})"
    ratio = statistics.median(peer) / statistics.median(ours)
    print(f"{what:34} frontier {text(ours):28} {name} {text(peer):28} {unit:10} {ratio:6.3f} x", flush=True)


def attention(args):
    try:
        import torch
    except ImportError:
        return print("attention: torch is not installed; left out")
    sdpa = torch.nn.functional.scaled_dot_product_attention
    torch.set_num_threads(args.threads)
    heads, kv_heads = (int(n) for n in args.heads.split("/"))
    for dim in args.head_dim:
        for tokens in args.tokens:
            torch.manual_seed(1)
            q = torch.randn(1, heads, tokens, dim)
            k, v = torch.randn(2, 1, kv_heads, tokens, dim)
            wide = [x.repeat_interleave(heads // kv_heads, 1).contiguous() for x in (k, v)]
            ways = [lambda: sdpa(q, *wide, is_causal=True), lambda: sdpa(q, k, v, is_causal=True, enable_gqa=True)]
            ours, peer = [], []
            for turn in range(args.repeat + 1):
                best = float("inf")
                for way in ways:
                    began = time.perf_counter()
                    with torch.inference_mode():
                        way()
                    best = min(best, time.perf_counter() - began)
                row = frontier(args, "attention", "-n", str(tokens), "-H", args.heads, "-D", str(dim), "-m", "dense",
                               "-t", str(args.threads), "-r", "1")[0]
                if turn:  # the first warms up
                    ours.append(float(row["attend_ms"]) / 1e3)
                    peer.append(best)
            report(f"attention, {tokens} keys, {args.heads} of {dim}", ours, peer, "torch", "ms", lambda s: 1e3 * s)


def model(args):
    try:
        import llama_cpp
    except ImportError:
        return print("model: llama-cpp-python is not installed; left out")
    quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    path = args.model if os.path.isfile(args.model) else glob.glob(os.path.join(args.model, "*.gguf"))[0]
    arithmetic = "int8, " if args.device == "cpu-int8" else ""
    if not args.types:
        return beside(args, path, arithmetic, None)
    told = run_frontier(args, "bench", "decode", "-t", str(args.threads), "-n", "8192", "-m", "dense")
    ceiling = float(re.search(r"memory read ([\d.]+) GB/s", told)[1])
    print(f"memory read: {ceiling} GB/s by {args.threads} threads", flush=True)
    for kind in args.types:
        with tempfile.TemporaryDirectory() as folder:
            how = llama_cpp.llama_model_quantize_default_params()
            how.ftype, how.allow_requantize, how.pure, how.nthread = TYPES[kind], True, True, args.threads
            made = os.path.join(folder, kind + ".gguf")
            if llama_cpp.llama_model_quantize(path.encode(), made.encode(), how) != 0:
                raise SystemExit(f"llama.cpp does not make {kind} of {path}")
            beside(args, made, f"{arithmetic}{kind}: ", ceiling)


def beside(args, path, label, ceiling):
    import llama_cpp
    short, long = args.prompts
    peer = llama_cpp.Llama(path, n_ctx=long + args.output + 8, n_batch=2048, n_ubatch=512, n_threads=args.threads,
                           n_threads_batch=args.threads, flash_attn=args.flash, verbose=False)
    vocab = peer.n_vocab()

    def theirs(tokens, output):
        ids = [(i * 7919 + 13) % vocab for i in range(tokens)]
        peer.reset()
        began = time.perf_counter()
        peer.eval(ids)
        prompt = time.perf_counter() - began
        began = time.perf_counter()
        for i in range(output - 1):
            peer.eval([(i * 31 + 7) % vocab])
        return prompt, time.perf_counter() - began

    times = {name: ([], []) for name in ("short", "long", "decode")}
    for turn in range(args.repeat + 1):
        rows = frontier(args, "sweep", "--model", path, "-n", f"{short},{long}", "-o", str(args.output), "-m", "dense",
                        "-t", str(args.threads), "-r", "1", "-d", args.device)
        at = {(row["phase"], row["what"]): float(row["seconds"]) for row in rows}
        prompt, steps = theirs(short, args.output)
        seconds = {"short": (at["decode", "dense: its prefill"], prompt),
                   "decode": (at["decode", "dense: its decode"], steps),
                   "long": (at["prefill", "dense: its prefill"], theirs(long, 1)[0])}
        for name, pair in seconds.items() if turn else ():
            for side, value in zip(times[name], pair):
                side.append(value)
    for name, tokens in (("short", short), ("long", long)):
        report(f"{label}prompt of {tokens} tokens", *times[name], "llama.cpp", "tokens/s", lambda s, n=tokens: n / s)
    report(f"{label}{args.output - 1} steps behind {short}", *times["decode"], "llama.cpp", "tokens/s",
           lambda s: (args.output - 1) / s)
    if ceiling:  # of a tied model, whose table is its head too, all weights are read in a step
        weights = llama_cpp.llama_model_size(peer.model) / 1e9
        rate = weights * (args.output - 1) / statistics.median(times["decode"][0])
        print(f"{label}weights of {weights:.4f} GB read at {rate:.1f} GB/s, {100 * rate / ceiling:.0f} % of the ceiling", flush=True)
    peer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(n) for n in text.split(",")]
    parser.add_argument("--frontier", default="build/frontier")
    parser.add_argument("--model", default="models/smollm2-135m", help="GGUF file, or a folder with one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=["attention", "model"])
    parser.add_argument("--tokens", type=numbers, default=[4096, 8192], help="lengths of attention")
    parser.add_argument("--heads", default="7/1")
    parser.add_argument("--head-dim", type=numbers, default=[64, 128])
    parser.add_argument("--prompts", type=numbers, default=[2048, 4096], help="two lengths of prompts")
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--types", type=lambda text: text.split(","), default=[], help="of " + ", ".join(TYPES))
    parser.add_argument("--device", default="cpu", help="of a model: cpu-int8 rounds activations as llama.cpp does (arithmetic: int8)")
    parser.add_argument("--flash", action="store_true", help="llama.cpp's flash attention")
    args = parser.parse_args()
    if args.only != "model":
        attention(args)
    if args.only != "attention":
        model(args)


if __name__ == "__main__":
    main()
