"""Rounded caches against transformers: NLL, KL, agreement and rank of dense under each format of kernels/cache.h, in both phases.

    python3 tests/peers/cached.py [MODEL] [--tokens 2048] [--samples 2] [--output 32]

MODEL is a Hugging Face folder (models/frontier-mini/s) whose heads groups of 32 divide. `frontier run` measures; transformers computes the same
model in fp32, with keys (rotated) and values rounded, where its cache would hand them to attention, by torch and the Python package gguf
(tests/golden/cache.py): of the dense lane's tokens, forced. A key that differs in its last digits may be rounded to another neighbour there than
here, a whole step apart, so that numbers are near, not equal. How near is measured: transformers' own, with keys and values off by about a millionth
of themselves before they are rounded, drawn five times. Needs what tests/peers/divergence.py needs, and gguf. Exits 1 where a number differs by more than 1e-4
and three times the largest of these five."""
import argparse
import csv
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import xxhash

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/golden"))
import cache  # noqa: E402
from divergence import COLUMNS, ROWS, SEED, frontier, logits, mask, measures, open_model, sampled_rows  # noqa: E402

DRAWS = 5
FORMATS = {"exact": None, "simulated_fp8": cache.fp8, "simulated_int8": cache.int8, "simulated_int4": cache.int4}


def disturb(x, random):
    return (x * (1 + 1e-6 * random.standard_normal(x.shape))).astype(np.float32)


def round_caches(model):
    """From then on attention reads keys and values as the function in the list that is returned leaves them; None: as they are."""
    by, module = [None], sys.modules[type(model).__module__]
    plain = module.eager_attention_forward

    def rounded(of, query, key, value, attention_mask, **how):
        if by[0]:
            key, value = (torch.from_numpy(by[0](np.ascontiguousarray(x.numpy()))) for x in (key, value))
        return plain(of, query, key, value, attention_mask, **how)

    module.eager_attention_forward = rounded
    return by


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(ROOT / "models/frontier-mini/s"))
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--output", type=int, default=32)
    a = parser.parse_args()
    model, tokenizer = open_model(a.model)
    stops = model.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    by, failed = round_caches(model), False
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "c.yaml"
        config.write_text(json.dumps(dict(name="c", models=[str(pathlib.Path(a.model).resolve())], tasks=["niah"], lengths=[a.tokens], answer="direct",
                                          samples=a.samples, seed=SEED, output=a.output, cache=list(FORMATS),
                                          measures=["score", {"divergence": ROWS}])))
        frontier("run", config, "-o", folder + "/c.h5")
        rows = list(csv.DictReader(frontier("export", folder + "/c.h5", "--csv").splitlines()))
        for sample in range(a.samples):
            shown = json.loads(frontier("show", "--json", config, "-i", sample))
            text = tokenizer.apply_chat_template([dict(role="user", content=shown["prompt"])], tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text, add_special_tokens=False).input_ids
            mine = [r for r in rows if int(r["sample"]) == sample]
            assert len(mine) == len(FORMATS)
            assert mine[0]["prompt_hash"] == f"XXH3:{xxhash.xxh3_64_hexdigest(np.array(ids, np.int32).tobytes())}", "other tokens"
            n, whole, by[0] = len(ids), list(ids), None
            for _ in range(a.output):
                whole.append(int(logits(model, whole, mask(len(whole), n, 10**9, "prefill"))[-1].argmax()))
                if whole[-1] in stops:
                    break
            every = mask(len(whole) - 1, n, 10**9, "prefill")
            dense = logits(model, whole[:-1], every)
            for r in mine:
                by[0] = FORMATS[r["cache"]]
                at = [np.array(sampled_rows(n - 1)), np.arange(n - 1, len(whole) - 1)]

                def measured():
                    lane = logits(model, whole[:-1], every)
                    return np.array([x for where in at for x in measures(dense[where], lane[where], np.array(whole)[where + 1])])

                right, noise = measured(), 0
                for draw in range(DRAWS if by[0] else 0):
                    by[0], random = (lambda x: FORMATS[r["cache"]](disturb(x, random))), np.random.default_rng(draw)
                    noise = np.maximum(noise, np.abs(measured() - right))
                off = np.abs(np.array([float(r[c]) for c in COLUMNS]) - right)
                failed |= bool((off > np.maximum(1e-4, 3 * noise)).any())
                print(f"sample {sample} {r['cache']:15} off {off.max():.1e} disturbed {np.max(noise):.1e} ",
                      " ".join(f"{c.replace('prefill', 'p').replace('decode', 'd')} {v:.5f}" for c, v in zip(COLUMNS, right)))
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
