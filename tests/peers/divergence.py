"""Divergence against PyTorch: NLL, KL, agreement and rank of dense and of sinks-and-window attention, in both phases; and the error of
the attention's output, by layer and head.

    python3 tests/peers/divergence.py [MODEL] [--task niah|text] [--tokens 2048] [--samples 2] [--output 32] [--question late]

MODEL is a Hugging Face folder (models/frontier-mini/s) or SmolLM2's GGUF file. `frontier run` measures; transformers computes
the same models in fp32 with masks made by hand: what it generates under the dense one is forced through the others; of the task
`text`, which no template is around, what follows in the text. With --question late what stands behind the context are rows of the
decode phase, as what is generated. The rows of a prompt are those that harness/engine/batch.c draws. An output's error is
|o - d| / |d|, o of the lane's own query over the keys of its mask, d over all keys before it; in decode along what the lane itself
writes. Needs torch, transformers 5, xxhash, h5py, and build/frontier. Prints a row for each cell and measure; exits 1 if one differs
by more than 1e-4, or a method of whole budget is not dense."""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import xxhash
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).parents[2]
ROWS, LOOKS, SEED, SINKS, WINDOWS = 32, 16, 43, 4, (64, 400, 100000)
COLUMNS = [f"{phase}_{what}" for phase in ("prefill", "decode") for what in ("nll", "dense_nll", "kl", "agreement", "rank")]


def mix(x):
    """splitmix64"""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def sampled_rows(tokens, rows=ROWS):
    n = min(rows, tokens)
    bounds = [(i * tokens // n, (i + 1) * tokens // n) for i in range(n)]
    return [begin + mix(SEED + i) % (end - begin) for i, (begin, end) in enumerate(bounds)]


def open_model(path):
    if path.endswith(".gguf"):
        sys.path.insert(0, str(ROOT / "tests/golden/engine"))
        import check_smollm2
        from transformers import AutoTokenizer
        tokenizer = AutoTokenizer.from_pretrained(str(pathlib.Path(path).parent), gguf_file=pathlib.Path(path).name)
        model = check_smollm2.load(path)
        model = model[0] if isinstance(model, tuple) else model
        model.set_attn_implementation("eager")  # what watch_attention() watches
        return model, tokenizer
    folder = pathlib.Path(path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token=config["eos_token"])
    tokenizer.chat_template = config["chat_template"]
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager"), tokenizer


def frontier(*arguments):
    return subprocess.run([ROOT / "build/frontier", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def sweep(folder, a):
    methods = {phase: [{"streaming": {"sinks": SINKS, "local": w}} for w in WINDOWS] for phase in ("prefill", "decode")}
    config = folder / "c.yaml"
    config.write_text(json.dumps(dict(name="c", models=[str(pathlib.Path(a.model).resolve())], tasks=[a.task],
                                      lengths=[a.tokens], methods=methods, answer="direct", samples=a.samples, seed=SEED,
                                      recall=LOOKS, output=a.output, question=a.question, measures=["score", {"divergence": ROWS}])))
    frontier("run", config, "-o", folder / "c.h5")
    return config, list(csv.DictReader(frontier("export", folder / "c.h5", "--csv").splitlines()))


def mask(n, prompt, window, phase):
    """[n, n] additive; the rows of the phase see sinks and a window, the others all before them."""
    i, j = torch.arange(n)[:, None], torch.arange(n)[None]
    kept = (j < SINKS) | (i - j < window)
    mine = i < prompt if phase == "prefill" else i >= prompt
    return torch.where((j <= i) & (kept | ~mine), 0.0, float("-inf"))[None, None]


def logits(model, ids, m):
    with torch.no_grad():
        return model(torch.tensor([ids]), attention_mask=m, use_cache=False).logits[0].double().numpy()


def watch_attention(model):
    """From then on each layer leaves, in the list returned, |o - d| / |d| of all its rows and heads, [n, H]."""
    seen, module = [], sys.modules[type(model).__module__]
    plain = module.eager_attention_forward

    def watched(of, query, key, value, attention_mask, **how):
        out, weights = plain(of, query, key, value, attention_mask, **how)
        n = query.shape[2]
        all_before = torch.full((n, n), float("-inf")).triu(1)[None, None]
        dense = plain(of, query, key, value, all_before, **how)[0]
        seen.append(((out - dense).norm(dim=-1) / dense.norm(dim=-1))[0].double().numpy())
        return out, weights

    module.eager_attention_forward = watched
    return seen


def step_weight(step):
    """How many steps of decode one stands for that is looked at; 0: it is not."""
    stride = 1
    while step // stride >= 2 * LOOKS:
        stride *= 2
    return stride if step % stride == 0 else 0


def output_error(model, seen, ids, prefilled, window, phase, output, stops):
    """[layers, H]: at sampled rows of the prompt, or along what the lane writes behind ids."""
    ids = list(ids)
    for _ in range(output if phase == "decode" else 0):
        ids.append(int(logits(model, ids, mask(len(ids), prefilled, window, phase))[-1].argmax()))
        if ids[-1] in stops:
            break
    read = len(ids) - (phase == "decode")  # the last token is never read
    seen.clear()
    logits(model, ids[:read], mask(read, prefilled, window, phase))
    if phase == "prefill":
        return np.array([layer[sampled_rows(prefilled, LOOKS)].mean(0) for layer in seen])
    weight = np.array([step_weight(step) for step in range(read - prefilled)], float)
    return np.array([(layer[prefilled:] * weight[:, None]).sum(0) / weight.sum() for layer in seen])


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def measures(dense, lane, targets):
    """Means over rows [n, vocab]."""
    p, q = log_softmax(dense), log_softmax(lane)
    at, top = np.arange(len(targets)), dense.argmax(-1)
    rank = 1 + (lane > lane[at, top][:, None]).sum(-1)
    return [-q[at, targets].mean(), -p[at, targets].mean(), (np.exp(p) * (p - q)).sum(-1).mean(), (rank == 1).mean(), rank.mean()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(ROOT / "models/frontier-mini/s"))
    parser.add_argument("--task", choices=["niah", "text"], default="niah")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--output", type=int, default=32)
    parser.add_argument("--question", choices=["own", "late"], default="own")
    a = parser.parse_args()
    model, tokenizer = open_model(a.model)
    stops = model.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    worst, seen = 0, watch_attention(model)
    with tempfile.TemporaryDirectory() as folder:
        config, rows = sweep(pathlib.Path(folder), a)
        stored = h5py.File(pathlib.Path(folder) / "c.h5")["cells"]
        for sample in range(a.samples):
            shown = json.loads(frontier("show", "--json", config, "-i", sample))
            if a.task == "text":
                behind = tokenizer(shown["prompt"] + shown["continuation"]).input_ids
                ids, behind = behind[:shown["tokens"]], behind[shown["tokens"]:][:a.output]
            else:
                text = tokenizer.apply_chat_template([dict(role="user", content=shown["prompt"])], tokenize=False,
                                                     add_generation_prompt=True)
                ids, behind = tokenizer(text, add_special_tokens=False).input_ids, None
            mine = [r for r in rows if int(r["sample"]) == sample]
            assert mine[0]["prompt_hash"] == f"XXH3:{xxhash.xxh3_64_hexdigest(np.array(ids, np.int32).tobytes())}", "other tokens"
            n, whole = len(ids), list(ids) + (behind or [])
            for _ in range(0 if behind else a.output):
                whole.append(int(logits(model, whole, mask(len(whole), n, 10**9, "prefill"))[-1].argmax()))
                if whole[-1] in stops:
                    break
            dense = logits(model, whole[:-1], mask(len(whole) - 1, n, 10**9, "prefill"))
            prefilled = n - int(float(mine[0]["late_tokens"] or 0))
            prompt, generation = np.array(sampled_rows(prefilled - 1)), np.arange(n - 1, len(whole) - 1)
            for r in mine:
                phase = "prefill" if r["prefill_method"] != "dense" else "decode"
                window = 10**9 if r[phase + "_method"] == "dense" else json.loads(r[phase + "_params"])["local"]
                lane = logits(model, whole[:-1], mask(len(whole) - 1, prefilled, window, phase))
                right = [x for at in (prompt, generation) for x in measures(dense[at], lane[at], np.array(whole)[at + 1])]
                found = [float(r[c]) for c in COLUMNS]
                off = max(abs(f - e) / max(1, abs(e)) for f, e in zip(found, right))
                worst = max(worst, off)
                print(f"sample {sample} {phase:7} {window:10} off {off:.1e} ",
                      " ".join(f"{c.replace('prefill', 'p').replace('decode', 'd')} {v:.5f}" for c, v in zip(COLUMNS, found)))
                cell = stored[r["cell"]]
                if phase + "_error" in cell and r[phase + "_method"] != "dense":
                    given = cell[phase + "_error"][list(cell["sample"]).index(sample)]
                    error = output_error(model, seen, ids, prefilled, window, phase, a.output, stops)
                    off = np.abs(given - error).max()
                    worst = max(worst, off)
                    print(f"sample {sample} {phase:7} {window:10} off {off:.1e}  error of outputs by layer and head: {error.size}, "
                          f"{error.min():.5f} to {error.max():.5f}")
                if window > len(whole):
                    worst = max(worst, float(r["prefill_kl"]), float(r["decode_kl"]))
    print(f"largest difference {worst:.1e}")
    sys.exit(int(worst > 1e-4))


if __name__ == "__main__":
    main()
