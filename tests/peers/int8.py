#!/usr/bin/env python3
"""What rounding activations to 8 bits does to a model's predictions: `arithmetic: int8` against Frontier in fp32, and llama.cpp, which
always rounds them, against the same, on one text and the same weights.

    python3 -m venv peers && peers/bin/pip install llama-cpp-python numpy
    make build/tests/test_families && peers/bin/python tests/peers/int8.py --model models/smollm2-135m --types file,Q8_0,Q4_0,Q4_K,Q6_K

Of each type (`file`: as it is; else written by llama.cpp from it) over the first --tokens tokens of --text: the relative distance of
logits, KL(fp32 ‖ other) in nats, the share of tokens whose likeliest successor is the same, and the NLL of the text under each."""

import argparse
import ctypes
import glob
import os
import subprocess
import tempfile

import llama_cpp
import numpy as np

from cpu import TYPES


def logits_of(args, path, ids, device, folder, vocab):
    came, went = os.path.join(folder, "ids"), os.path.join(folder, "logits")
    np.asarray(ids, "<i4").tofile(came)
    subprocess.run([args.tool, "logits", path, came, went, "1", device], check=True, stdout=subprocess.DEVNULL)
    return np.fromfile(went, "<f4").reshape(len(ids), vocab)


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/smollm2-135m", help="GGUF file, or a folder with one")
    parser.add_argument("--tool", default="build/tests/test_families")
    parser.add_argument("--text", default="ARCHITECTURE.md")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--types", type=lambda text: text.split(","), default=["file"])
    args = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    path = args.model if os.path.isfile(args.model) else glob.glob(os.path.join(args.model, "*.gguf"))[0]
    print(f"llama-cpp-python {llama_cpp.__version__}; {args.tokens} tokens of {args.text}")
    print(f"{'type':8}{'against fp32':16}{'distance':>10}{'KL':>10}{'largest KL':>12}{'same first':>12}{'NLL':>9}{'NLL fp32':>10}")
    for kind in args.types:
        with tempfile.TemporaryDirectory() as folder:
            made = path
            if kind != "file":
                how = llama_cpp.llama_model_quantize_default_params()
                how.ftype, how.allow_requantize, how.pure, how.nthread = TYPES[kind], True, True, args.threads
                made = os.path.join(folder, kind + ".gguf")
                if llama_cpp.llama_model_quantize(path.encode(), made.encode(), how) != 0:
                    raise SystemExit(f"llama.cpp does not make {kind} of {path}")
            peer = llama_cpp.Llama(made, n_ctx=args.tokens + 8, n_batch=512, n_threads=args.threads, n_threads_batch=args.threads, logits_all=True,
                                   verbose=False)
            ids = peer.tokenize(open(args.text, "rb").read(), add_bos=False)[:args.tokens]
            peer.eval(ids)
            theirs = np.array(peer.scores[:len(ids)])
            vocab = peer.n_vocab()
            peer.close()
            fp32 = logits_of(args, made, ids, "cpu", folder, vocab)
            p, told = log_softmax(fp32), np.asarray(ids[1:])
            for name, other in (("cpu-int8", logits_of(args, made, ids, "cpu-int8", folder, vocab)), ("llama.cpp", theirs)):
                q = log_softmax(other)
                kl = (np.exp(p) * (p - q)).sum(axis=1)
                nll = [-x[np.arange(len(told)), told].mean() for x in (q, p)]
                print(f"{kind:8}{name:16}{np.linalg.norm(other - fp32) / np.linalg.norm(fp32):10.2e}{kl.mean():10.2e}{kl.max():12.2e}"
                      f"{(p.argmax(axis=1) == q.argmax(axis=1)).mean():12.4f}{nll[0]:9.4f}{nll[1]:10.4f}", flush=True)


if __name__ == "__main__":
    main()
