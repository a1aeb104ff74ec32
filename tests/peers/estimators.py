"""Methods that estimate, sample or correct, beside NumPy: what each reads, weighs and gives, on random attention.

    make build/tests/tools/hook
    python3 tests/peers/estimators.py [cases [method …]]        needs numpy, safetensors; cases: of each method, default 200

Methods that were trained (dms, sparsek) have weights made up, of which both sides know the seed; of spattention nothing but the length is.

The C methods run one hook each (tests/tools/hook.c, on the reference and on cpu) on queries, keys and values that are given to
them; the NumPy methods of tests/golden/methods/references, written from the papers and the authors' code, choose on the same.
A case is equal where both read the same keys, add the same to their logits, count the same pairs, and give the same output;
near-ties (a choice that hangs on 1e-5 of a score) are drawn again and counted apart. tests/golden holds the C methods to the
same functions on a few shapes; here it is fresh inputs, odd sizes and parameters drawn at random.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(here / "golden/methods"))
import make_methods as golden
from references.vocabulary import Attention, Close
HOOK = here.parent / "build/tests/tools/hook"


def hook(method, phase, layers, shape, params, device="reference", sparsity=None):
    """What the C method chooses at the last of `layers`: [(q, k, v)] with rows first. shape: tokens, tail, heads, kv_heads, head_dim."""
    words = [f"{k}={v}" for k, v in shape.items()] + [f"layers={len(layers)}", f"device={device}"]
    words += [f"sparsity={sparsity}"] if sparsity is not None else []
    words += [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in params.items()]
    given = b"".join(np.ascontiguousarray(x, dtype=np.float32).tobytes() for layer in layers for x in layer)
    ran = subprocess.run([HOOK, method, phase, *words], input=given, capture_output=True)
    if ran.returncode:
        raise SystemExit(f"{method} {words}: {ran.stderr.decode()}")
    rows = shape["tokens"] if phase == "prefill" else 1
    keys = shape["tokens"] + (0 if phase == "prefill" else shape["tail"])
    heads, dim, at, results = shape["heads"], shape["head_dim"], 0, []

    def take(dtype, *shape):
        nonlocal at
        n = int(np.prod(shape))
        x = np.frombuffer(ran.stdout, dtype, n, at).reshape(shape)
        at += x.nbytes
        return x

    for _ in layers:
        pairs, flops, moved, m = (int(x) for x in take(np.uint64, 4))
        results.append({"pairs": pairs, "flops": flops, "bytes": moved, "out": take(np.float32, rows, heads, dim),
                        "bias": take(np.float32, heads, rows, keys), "sum": take(np.float32, heads, m)})
    assert at == len(ran.stdout)
    return results[-1]


def shape_of(rng, phase, most):
    group, kv = int(rng.choice([1, 2, 4, 7])), int(rng.integers(1, 4))
    return {"tokens": int(rng.integers(1, most)), "tail": 0 if phase == "prefill" else int(rng.integers(1, 20)), "heads": group * kv,
            "kv_heads": kv, "head_dim": int(rng.choice([16, 64, 128]))}


# ---- parameters, drawn ------------------------------------------------------------------------------------------------

def delta_params(own):
    return lambda rng, n: {**own(rng, n), "delta_every": int(rng.integers(1, 80)), "delta_tail": int(rng.integers(0, 100))}


def some(rng, *choices):
    return choices[int(rng.integers(len(choices)))]


def moba_params(rng, n):
    return {"block": some(rng, 1, 4, 8, 16, 64), "k": int(rng.integers(1, 9)), "selection": some(rng, "head", "group")}


def sample_params(rng, n):
    return {"mass": float(rng.uniform()), "sample": some(rng, 0.01, 0.05, 0.3, 1.0), "window": float(rng.uniform(0, 0.2))}


def xattention_params(rng, n):
    stride = some(rng, 1, 3, 4, 8, 16)
    return {"stride": stride, "block": stride * some(rng, 1, 2, 4, 8), "threshold": float(rng.uniform(0, 0.97))}


def minference_params(rng, n):
    return {"density": float(rng.uniform(0.1, 0.9)), "diagonals": int(rng.integers(1, 40)), "columns": int(rng.integers(0, 20)),
            "sinks": int(rng.integers(0, 20)), "window": int(rng.integers(1, 100)), "block": some(rng, 8, 16, 64)}


def infllm_params(rng, n):
    block = some(rng, 2, 4, 8, 16)
    return {"block": block, "local": int(rng.integers(1, 80)), "topk": int(rng.integers(1, 6)), "init": int(rng.integers(0, 20)),
            "chunk": some(rng, 1, 5, 8, 32), "representatives": int(rng.integers(1, block + 1))}


def sparq_params(rng, n):
    return {"k": int(rng.integers(1, 60)), "rank": int(rng.integers(1, 70)), "recent": float(rng.uniform()),
            "rank_by": some(rng, "logits", "softmax"), "mean_value": bool(rng.integers(2))}


def rocket_params(rng, n):
    return {"budget": int(rng.integers(1, 80)), "rank": int(rng.integers(1, 70)), "chunk": some(rng, 1, 2, 4, 8, 16)}


def component_params(rng, n):
    return {"k": int(rng.integers(1, 60)), "rank": int(rng.integers(1, 70)), "selection": some(rng, "head", "group")}


def walk_params(rng, n):
    return {"k": int(rng.integers(2, 9)), "block": some(rng, 4, 8, 16, 64), "rank": some(rng, 4, 16, 64, 128), "power": some(rng, 1, 2, 3, 8, 8),
            "dense_layers": int(rng.integers(0, 3)), "seed": int(rng.integers(0, 1000))}


# Of tables that a method reads: parameter, and numbers of a layer's row, drawn.

def kinds_table(rng, a):
    return "kinds", [int(x) for x in rng.integers(0, 3, a.heads)]


def basis_table(rng, a):
    """Principal axes of the keys at hand, with signs as they come: scores do not depend on them."""
    moments = np.einsum("jgd,jge->gde", a.k, a.k) + np.diag(np.arange(a.dim))
    return "basis", np.linalg.eigh(moments)[1][:, :, ::-1].ravel()


def channel_table(rng, a):
    return "channels", rng.uniform(size=a.kv * a.dim)


TABLES = {"minference": kinds_table, "loki": basis_table, "double_sparsity": channel_table}
WALKED = {"sketch_walk"}  # on one to five layers, the last of which is compared


def vattention_params(rng, n):
    return {"sinks": int(rng.integers(0, 12)), "local": int(rng.integers(1, 30)), "top": int(rng.integers(0, 30)), "base": float(rng.choice([0.02, 0.1, 0.3])),
            "error": float(rng.choice([0.05, 0.1, 0.2, 0.5])), "failures": float(rng.choice([0.05, 0.1, 0.3])), "seed": int(rng.integers(0, 1000)),
            "verified": str(rng.choice(["denominator", "numerator", "output"])), "predictor": str(rng.choice(["int4", "exact"]))}


# method: phase, parameters drawn, longest prompt
METHODS = {
    "oracle_topp": ("decode", lambda rng, n: {"mass": float(rng.uniform(0, 1)), "selection": str(rng.choice(["head", "group"]))}, 600),
    "oracle_sample": ("decode", lambda rng, n: {"budget": int(rng.integers(1, n + 20)), "seed": int(rng.integers(0, 1000))}, 600),
    "twilight": ("decode", lambda rng, n: {
        "mass": float(rng.uniform(0.2, 1)), "candidates": int(rng.integers(1, n + 20)), "page": int(rng.choice([1, 4, 16, 33])), "base": str(rng.choice(["quest", "quest", "all"]))}, 600),
    "vattention": ("decode", vattention_params, 600),
    "double_p": ("decode", lambda rng, n: {
        "mass": float(rng.uniform(0, 1)), "exact": float(rng.choice([0, 0.5, 0.8, 1])), "each": int(rng.integers(1, 40)), "segment": int(rng.choice([50, 8192])),
        "iterations": int(rng.integers(0, 6)), "sinks": int(rng.integers(0, 9)), "local": int(rng.integers(0, 40))}, 300),
    "magicpig": ("decode", lambda rng, n: {
        "bits": int(rng.integers(1, 9)), "tables": int(rng.integers(1, 16)), "least": int(rng.integers(1, 3)), "sinks": int(rng.integers(0, 9)),
        "local": int(rng.integers(0, 40)), "seed": int(rng.integers(0, 1000))}, 250),
    "vertical_slash_delta": ("prefill", delta_params(lambda rng, n: {
        "columns": int(rng.integers(1, 40)), "diagonals": int(rng.integers(1, 40)), "local": int(rng.integers(1, 8)), "window": int(rng.integers(1, 300))}), 300),
    "block_sparse_delta": ("prefill", delta_params(lambda rng, n: {
        "k": int(rng.integers(1, 8)), "block": int(rng.choice([8, 16, 32]))}), 300),
    "streaming_delta": ("prefill", delta_params(lambda rng, n: {
        "local": int(rng.integers(1, 60)), "sinks": int(rng.integers(0, 8))}), 300),
}


def nsa_params(rng, n):
    return {"blocks": int(rng.integers(3, 9)), "block": some(rng, 1, 4, 7, 16, 64), "window": int(rng.integers(1, 80))}


def dsa_params(rng, n):
    return {"k": int(rng.integers(1, 60)), "index_heads": int(rng.integers(1, 6)), "index_dim": some(rng, 8, 16, 64, 128)}


METHODS |= {
    "nsa": ("prefill", nsa_params, 250),
    "nsa/decode": ("decode", nsa_params, 400),
    "dsa": ("prefill", dsa_params, 250),
    "dsa/decode": ("decode", dsa_params, 400),
    "moba": ("prefill", moba_params, 200),
    "sample_attention": ("prefill", sample_params, 300),
    "xattention": ("prefill", xattention_params, 400),
    "sketch_walk": ("prefill", walk_params, 400),
    "minference": ("prefill", minference_params, 200),
    "combiner": ("prefill", lambda rng, n: {"segment": int(rng.integers(1, 80)), "weight": some(rng, "keys", "one")}, 250),
    "infllm": ("prefill", infllm_params, 200),
    "infllm/decode": ("decode", infllm_params, 200),
    "sparq": ("decode", sparq_params, 400),
    "loki": ("decode", component_params, 400),
    "double_sparsity": ("decode", component_params, 400),
    "rocketkv": ("decode", rocket_params, 400),
}


# Names of what trained methods own, at layer 0.
OWN = "model.layers.0.self_attn."
WEIGHTS = {"nsa": [OWN + "g_proj.weight"],
           "dsa": [OWN + "indexer." + name for name in ("wq.weight", "wk.weight", "weights_proj.weight", "k_norm.weight", "k_norm.bias")]}

# Trained: weights are made up of the case's seed on either side.

def sparsek_params(rng, n):
    return {"k": int(rng.integers(0, 60)), "window": int(rng.integers(1, 80))}


TRAINED = {
    "spattention": lambda rng, n: {"length": int(rng.integers(1, 2 * n + 2))},
    "dms": lambda rng, n: {"window": int(rng.integers(1, 80))},
    "sparsek": sparsek_params,
}
METHODS |= {name + suffix: (phase, params, 300) for name, params in TRAINED.items() for suffix, phase in (("", "prefill"), ("/decode", "decode"))}


# ---- comparing --------------------------------------------------------------------------------------------------------

def expected(a, result, phase):
    """Masks [H, rows, N], biases of what is read, pairs and output, of a NumPy method's answer."""
    rows = a.c["tokens"] if phase == "prefill" else 1
    masks = np.stack([np.asarray(m)[-rows:] for m in result["masks"]])
    pairs = result.get("pairs", int(masks.sum()))
    return masks, result.get("bias"), pairs, golden.attended(a, result, phase)


def differs(got, masks, bias, pairs, out, tolerance, gated):
    read = ~np.isnan(got["bias"])
    if not gated and (read != masks).any():
        return f"{int((read != masks).sum())} keys read otherwise"
    if bias is not None and np.abs(np.where(read, got["bias"], 0) - np.where(masks, bias, 0)).max() > tolerance:
        return "other biases"
    if got["pairs"] != pairs:
        return f"{got['pairs']} pairs, expected {pairs}"
    off = np.linalg.norm(got["out"] - out, axis=-1) / (np.linalg.norm(out, axis=-1) + 1e-30)
    return f"output {off.max():.1e} off" if not off.max() <= 2e-5 else None


def run(name, cases):
    phase, params_of, most = METHODS[name]
    numpy_method = golden.entry(name.split("/")[0])
    equal, close, worst, index, table = 0, 0, 0.0, 0, pathlib.Path(tempfile.mkdtemp()) / "table"
    while equal < cases:
        rng = np.random.default_rng([sum(name.encode()), index])
        index += 1
        shape = shape_of(rng, phase, most)
        params = params_of(rng, shape["tokens"])
        c = {**shape, "phase": phase, "layer": 0, "output": 64, "ties": 0, "sinks": int(rng.integers(0, 2)), "needles": int(rng.integers(0, 2)), "seed": index}
        trained = numpy_method.weights is not None
        if trained:
            c["width"] = int(rng.integers(2, 40))
            c["weights"] = numpy_method.weights(c["heads"], c["kv_heads"], c["head_dim"], c["width"], params)
        earlier = [Attention({**c, "layer": i, "seed": 1000 * (i + 1) + index}) for i in range(int(rng.integers(0, 5)) if name in WALKED else 0)]
        a = Attention({**c, "layer": len(earlier)})
        if name in TABLES and index % 3:  # else as without a table
            key, row = TABLES[name](rng, a)
            table.write_text("# a table\n" + " ".join(repr(float(x)) for x in row) + "\n")
            params = {**params, key: table}
        if trained:
            save_file({name: w.astype(np.float32) for name, w in zip(WEIGHTS[name.split("/")[0]], a.weights)}, table)
            params, shape = {**params, "weights": table}, {**shape, "width": c["width"]}
        if name.split("/")[0] in TRAINED:
            params = {**params, "made": c["seed"]}
        try:
            result = numpy_method.reference(a, {**params, "earlier": earlier}, None)
        except Close:
            close += 1
            continue
        masks, bias, pairs, out = expected(a, result, phase)
        for device in ("reference", "cpu"):
            got = hook(name.split("/")[0], phase, [(x.q, x.k, x.v, *([x.x] if trained else [])) for x in (*earlier, a)], shape, params, device)
            wrong = differs(got, masks, bias, pairs, out, 2e-5, name.endswith("_delta"))
            if wrong:
                raise SystemExit(f"{name}, case {index - 1} on {device}: {wrong}\n{shape} {params}")
            worst = max(worst, float(np.abs(got["out"] - out).max() / np.abs(out).max()))
        equal += 1
    print(f"{name}: {equal} equal on reference and cpu, {close} near-ties drawn again, output to {worst:.1e}", flush=True)


def main():
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for name in sys.argv[2:] or METHODS:
        run(name, cases)


if __name__ == "__main__":
    main()
