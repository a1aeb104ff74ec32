"""Every method, as the program runs it, beside an independent implementation on random attention: a table.

    make build/tests/tools/choices
    OMP_NUM_THREADS=1 python3 tests/peers/methods.py [--cases 204] [method …]      needs numpy; kvpress 0.5.5 for its rows

build/tests/tools/choices makes the same queries, keys and values from the same seeds, asks the C method's hook, and gives
every pair that it computes and the attention over them. The peers are
  numpy        the methods of tests/golden/methods/references, written from the papers, in double precision
  kvpress      NVIDIA's own classes, given the case's queries, keys and values as a layer's module
  transformers its mask of Mistral's sliding window
Groups of 1, 4 and 7 query heads, head dims 64 and 128, odd lengths; parameters are drawn, of every third case a target
sparsity instead. `equal`: the same pairs in every head, and the outputs, where the peer has one, within 1e-5 of each other.
`ties`: the choice hangs on less than 1e-5 of a score, so that rounding may decide; where scores are equal, only if it did. `differ` should be 0. What a peer does
otherwise on purpose is said in the row, and in the head of the method's file.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import types

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/golden/methods"))
import make_methods as golden
from references import study
from references.vocabulary import MARGIN, Attention, Close, watching


class Choices:
    """The C side: one process, asked case after case."""

    def __init__(self):
        self.process = subprocess.Popen([ROOT / "build/tests/tools/choices"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, c):
        self.process.stdin.write((json.dumps(c) + "\n").encode())
        self.process.stdin.flush()
        rows, keys = map(int, self.process.stdout.readline().split())
        mask = np.frombuffer(self.process.stdout.read(c["heads"] * rows * keys), np.uint8).reshape(c["heads"], rows, keys)
        out = np.frombuffer(self.process.stdout.read(rows * c["heads"] * c["head_dim"] * 4), np.float32)
        return mask.astype(bool), out.reshape(rows, c["heads"], c["head_dim"]).astype(np.float64)


def shape(index, phase, rng, ties=True):
    group, kv = [1, 4, 7][index % 3], int(rng.integers(1, 4))
    return {"phase": phase, "tokens": int(rng.integers(33, 80)) * 2 + 1, "tail": 0 if phase == "prefill" else int(rng.integers(1, 24)),
            "output": 64, "heads": group * kv, "kv_heads": kv, "head_dim": [64, 128][index // 3 % 2], "layer": int(rng.integers(0, 4)),
            "layers": 4, "sinks": int(rng.integers(0, 2)), "needles": int(rng.integers(0, 2)),
            "ties": int(ties and rng.random() < 0.25), "seed": int(rng.integers(1, 1 << 30))}


def far(got, want):
    return np.linalg.norm(got - want) > 1e-5 * np.linalg.norm(want)


class Row:
    def __init__(self, method, phase, peer, note=""):
        self.what, self.note = (method, phase, peer), note
        self.equal = self.ties = self.differ = 0

    def close(self):
        print(f"{self.what[0]:20}{self.what[1]:10}{self.what[2]:14}{self.equal + self.ties + self.differ:6}{self.equal:7}"
              f"{self.ties:6}{self.differ:8}   {self.note}".rstrip(), flush=True)
        return self.differ


# ---- numpy, from the papers -----------------------------------------------------------------------------------------

def between(low, high):
    return lambda rng, n: int(rng.integers(low, high(n) if callable(high) else high))


def among(*values):
    return lambda rng, n: values[int(rng.integers(0, len(values)))]


def share(low, high):
    return lambda rng, n: round(float(rng.uniform(low, high)), 3)


ALL, HALF = (lambda n: n + 20), (lambda n: n // 2)
LIVING = {"capacity": between(2, lambda n: n), "every": between(1, 6)}
# By name: phases, what is drawn; and what is drawn beside a target sparsity.
DRAWN = {
    "sliding_window": (["prefill", "decode"], {"window": between(1, ALL)}, {}),
    "a_shape": (["prefill"], {"local": between(1, ALL), "sinks": between(0, 40)}, {"sinks": between(0, 40)}),
    "streaming": (["prefill", "decode"], {"local": between(1, ALL), "sinks": between(0, 40)}, {"sinks": between(0, 20)}),
    "tri_shape": (["prefill"], {"local": between(1, ALL), "sinks": between(0, 20), "last": between(0, HALF)}, {"last": between(0, 20)}),
    "streaming_llm": (["prefill", "decode"], {"recent": between(1, ALL), "start": between(0, 20), "own": among("counted", "on_top")},
                      {"own": among("counted", "on_top"), "start": between(0, 6)}),
    "lm_infinite": (["prefill", "decode"], {"local": between(1, ALL), "global": between(0, 40), "limit": between(0, ALL)}, {"global": between(0, 20)}),
    "longformer": (["prefill", "decode"], {"window": between(1, ALL), "globals": between(0, 30), "dilation": between(1, 6),
                                           "dilated_heads": between(0, 9), "dilated_from": between(0, 4)},
                   {"globals": between(0, 8), "dilation": between(1, 4)}),
    "etc_hubs": (["prefill", "decode"], {"window": between(1, ALL), "hubs": between(0, HALF), "structure": among("even", "line", "sentence", "chapter")},
                 {"structure": among("even", "line", "sentence", "chapter")}),
    "bigbird": (["prefill"], {"random": between(0, 5), "block": among(8, 16, 24), "local": between(1, 4), "drawn_from": among(0, 50, 100),
                              "last": among(True, False), "seed": between(0, 99)}, {"block": among(4, 8, 16), "local": between(1, 4)}),
    "sparse_transformer": (["prefill", "decode"], {"length": between(1, HALF), "form": among("strided", "fixed"), "summary": between(1, 8),
                                                   "heads": among("union", "split")},
                           {"form": among("strided", "fixed"), "summary": between(1, 8), "heads": among("union", "split")}),
    "dilated": (["prefill", "decode"], {"local": between(1, HALF), "span": between(1, ALL), "step": between(1, 9), "sinks": between(0, 20)},
                {"local": between(1, 20), "step": between(2, 5), "sinks": between(0, 5)}),
    "head_roles": (["prefill", "decode"], {"sinks": between(0, 20), "recent": between(1, HALF), "streaming": share(0, 1), "seed": between(0, 99)},
                   {"sinks": between(0, 8), "recent": between(1, 30)}),
    "h2o": (["decode"], LIVING | {"recent": share(0, 1)}, {"grows": among(True, False), "every": between(1, 4)}),
    "tova": (["decode"], LIVING, {"grows": among(True, False), "every": between(1, 4)}),
    "decoding_snapkv": (["decode"], {"capacity": between(4, lambda n: n), "every": between(1, 12), "window": between(1, 12),
                                     "kernel": among(1, 3, 5, 7), "pooling": among("mean", "max")}, {"every": between(2, 12), "window": between(1, 8), "grows": among(True, False)}),
    "pyramidkv": (["compress"], {"capacity": between(8, lambda n: n), "window": between(1, 17), "beta": between(1, 21), "kernel": among(1, 3, 5, 7),
                                 "pooling": among("mean", "max")}, {"window": between(2, 17)}),
    "expected_attention": (["compress"], {"capacity": between(1, lambda n: n), "sinks": between(0, 12), "ahead": between(1, 600)}, {}),
    "keydiff": (["compress"], {"capacity": between(1, lambda n: n)}, {}),
    "knorm": (["compress"], {"capacity": between(1, lambda n: n), "dense_layers": between(0, 4)}, {}),
    "vertical_slash": (["prefill"], {"columns": between(1, HALF), "diagonals": between(1, HALF), "window": between(1, 80), "sinks": between(0, 8),
                                     "local": between(1, 30), "selection": among("head", "group")}, {"local": between(1, 10), "window": among(16, 64)}),
    "block_sparse": (["prefill"], {"k": between(1, 12), "block": among(8, 16, 32), "sinks": between(0, 3), "local": between(1, 4),
                                   "selection": among("head", "group")}, {"block": among(8, 16)}),
    "flex_prefill": (["prefill"], {"alpha": share(0, 0.95), "min_budget": between(1, HALF), "window": between(1, 80), "local": between(1, 20),
                                   "sinks": between(0, 8)}, {"min_budget": between(1, 20), "local": between(1, 10)}),
    "flex_prefill_full": (["prefill"], {"block": among(8, 16, 32), "min_budget": among(8, 16, 32), "gamma": share(0.2, 0.95), "tau": share(0, 1)},
                          {"block": among(8, 16), "min_budget": among(8, 16), "tau": share(0, 1)}),
    "snapkv": (["compress"], {"capacity": between(2, lambda n: n), "window": between(1, 80), "kernel": among(1, 3, 7, 21), "pooling": among("mean", "max"),
                              "sinks": between(0, 8), "local": between(1, 40)}, {"window": between(1, 80)}),
    "ada_snapkv": (["compress"], {"capacity": between(2, lambda n: n), "window": between(1, 80), "kernel": among(1, 3, 7, 21),
                                  "pooling": among("mean", "max"), "sinks": between(0, 8), "local": between(1, 40), "floor": share(0, 1)},
                   {"floor": share(0, 1)}),
    "quest": (["decode"], {"budget": between(8, 160), "page": among(4, 8, 16), "dense_layers": between(0, 3), "least": between(0, 4)},
              {"page": among(4, 8, 16)}),
}
DELIBERATE = {
    "bigbird": "the last block's rows see all; draws are the program's own stream",
    "etc_hubs": "hubs are tokens of the prompt; ETC's have an input of their own",
    "longformer": "first tokens are global; one projection for all",
    "decoding_snapkv": "pools over neighbours in the text, the window's among them",
    "h2o": "mean over the group; the authors' heads have keys of their own",
    "snapkv": "the study's: pools before the window is cut off",
    "ada_snapkv": "the study's: maxima, a floor that is forced",
    "head_roles": "without a table, roles are drawn",
}


def equal_scores_decide(choose):
    """Whether some choice hangs on scores that are equal, as NumPy has them; fp32 may have rounded them apart."""
    try:
        with watching(equals=True):
            choose()
        return False
    except Close:
        return True


def numpy_row(method, phase, cases, choices):
    _, drawn, beside = DRAWN[method]
    function = golden.entry(method).reference
    row = Row(method, phase, "numpy", DELIBERATE.get(method, ""))
    for index in range(cases):
        rng = np.random.default_rng([index, *method.encode(), *phase.encode()])
        c = shape(index, phase, rng)
        sparsity = among(0.0, 0.2, 0.5, 0.7, 0.9)(rng, 0) if index % 3 == 2 else None
        params = {name: draw(rng, c["tokens"]) for name, draw in (drawn if sparsity is None else beside).items()}
        if method == "sparse_transformer" and sparsity is not None:
            c["tail"] = min(c["tail"], 20)
        a = Attention(c)
        try:
            result = function(a, params, sparsity)
        except Close:
            row.ties += 1
            continue
        mask, out = choices.ask(c | {"method": method, "params": params, "sparsity": sparsity})
        want = np.stack([m[-mask.shape[1]:] for m in result["masks"]])
        if (mask == want).all() and not far(out, golden.attended(a, result, phase)):
            row.equal += 1
        elif equal_scores_decide(lambda: function(a, params, sparsity)):
            row.ties += 1
        else:
            row.differ += 1
            print(f"# {method} {phase} differs: {json.dumps(c | {'params': params, 'sparsity': sparsity})}", file=sys.stderr)
    return row.close()


# ---- kvpress --------------------------------------------------------------------------------------------------------

def import_kvpress():
    global torch, kvpress, Rotary
    import torch
    import kvpress

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)

    class Rotary(torch.nn.Module):
        """Base 10000, halves paired."""

        def __init__(self, turn):
            super().__init__()
            self.inv_freq = turn

        def forward(self, x, position_ids):
            angle = position_ids[..., None] * torch.cat([self.inv_freq, self.inv_freq])
            return angle.cos(), angle.sin()


class Layer:
    """A case's attention as the module and the tensors that a press is given: the first `keys` tokens."""

    def __init__(self, c, keys):
        self.c, self.a, self.n = c, Attention(c), keys
        dim = c["head_dim"]
        self.turn = torch.tensor(np.float32(10000.0 ** (-2.0 * np.arange(dim // 2) / dim)).astype(np.float64))
        self.rotary = Rotary(self.turn)
        self.module = types.SimpleNamespace(
            config=types.SimpleNamespace(num_attention_heads=c["heads"], num_key_value_heads=c["kv_heads"], num_hidden_layers=c["layers"],
                                         _attn_implementation="sdpa"),
            head_dim=dim, layer_idx=c["layer"], q_proj=torch.nn.Identity(), rotary_emb=self.rotary, training=False)
        self.position = self.rotary(None, torch.arange(keys)[None])
        q = torch.tensor(self.a.q[:keys]).transpose(0, 1)
        self.hidden = self.turned(q, -torch.arange(keys)).transpose(0, 1).reshape(1, keys, -1)
        self.keys = torch.tensor(self.a.k[:keys]).transpose(0, 1)[None]
        self.values = torch.tensor(self.a.v[:keys]).transpose(0, 1)[None]

    def turned(self, x, by):
        """x [..., rows, D], each row turned by so many positions."""
        angle = by[:, None] * torch.cat([self.turn, self.turn])
        half = x.shape[-1] // 2
        return x * angle.cos() + torch.cat([-x[..., half:], x[..., :half]], -1) * angle.sin()

    def score(self, press, attentions=None):
        return press.score(self.module, self.hidden, self.keys, self.values, attentions, {"position_embeddings": self.position})[0].numpy()


def best(scores, k):
    """The k best of every row, ascending; Close where they hang on rounding."""
    lists = []
    for x in scores:
        o = np.sort(x)[::-1]
        if 0 < k < len(x) and o[k - 1] - o[k] <= MARGIN * abs(o[k - 1]):
            raise Close
        lists.append(sorted(np.argsort(-x, kind="stable")[:k].tolist()))
    return lists


def left(mask, group, n):
    """The keys among the first n that each kv head's queries read; all heads of a group must agree."""
    lists = [np.flatnonzero(row[-1][:n]).tolist() for row in mask]
    return [lists[h] if all(l == lists[h] for l in lists[h:h + group]) else None for h in range(0, len(lists), group)]


def by_score(press):
    return lambda layer, p: best(layer.score(press(p)), p["capacity"])


def tova(layer, p):
    """The own key, which kvpress forces, ranks by what the query gives it: p, which kvpress leaves out."""
    score = layer.score(kvpress.TOVAPress())
    score[:, -1] = layer.a.rows(layer.n - 1, layer.n)[:, 0, -1].mean()
    return best(score, p["capacity"])


def observed(layer, p):
    attentions = torch.tensor(layer.a.rows(0, layer.n))[None]
    return best(layer.score(kvpress.ObservedAttentionPress(), attentions) * np.arange(layer.n, 0, -1), p["capacity"])


def pyramid(layer, p):
    n, w, budget = layer.n, p["window"], p["capacity"] - p["window"]
    least, keeps = budget // p["beta"], budget
    most = 2 * budget - least
    if n < p["capacity"]:
        return [list(range(n))] * layer.c["kv_heads"]
    if n >= 2 * budget:
        if most >= n - w:
            most, least = n - w, 2 * budget - (n - w)
        keeps = most - layer.c["layer"] * ((most - least) // (layer.c["layers"] - 1))
    return best(layer.score(kvpress.SnapKVPress(window_size=w, kernel_size=p["kernel"])), keeps + w)


def ada(layer, p):
    scores, _ = study.kept_scores(layer.a, p, p["capacity"], np.max, np.max)

    class Given(kvpress.ScorerPress):
        def score(self, *_):
            return torch.tensor(scores)[None]

    press = kvpress.AdaKVPress(Given(compression_ratio=1 - (p["capacity"] + 0.5) / layer.n), alpha_safeguard=p["floor"])
    study.ada_snapkv(layer.a, p, None)  # Close
    press.compress(layer.module, layer.hidden, layer.keys, layer.values, None, {})
    _, heads, keys = layer.module.masked_key_indices
    gone = [set(keys[heads == g].tolist()) for g in range(layer.c["kv_heads"])]
    return [[j for j in range(layer.n) if j not in g] for g in gone]


def duo(layer, p):
    press = kvpress.DuoAttentionPress(head_compression_ratio=p["streaming"])
    press.load_attention_pattern = lambda model: (p["sinks"], p["recent"] - 1, np.loadtxt(p["roles"], ndmin=2))
    press.post_init_from_model(types.SimpleNamespace(device="cpu"))
    press.compress(layer.module, layer.hidden, layer.keys, layer.values, None, {})
    _, heads, keys = layer.module.masked_key_indices
    return [sorted(set(range(layer.n)) - set(keys[heads == g].tolist())) for g in range(layer.c["kv_heads"])]


def streaming(layer, p):
    kept = p["sinks"] + p["local"] - 1
    return [sorted(np.argsort(-x, kind="stable")[:kept].tolist())
            for x in layer.score(kvpress.StreamingLLMPress(1 - (kept + 0.5) / layer.n, n_sink=p["sinks"]))]


def streaming_output(layer, p):
    """The step's attention over a cache that kvpress has cut and turned; the query stands behind it."""
    kept, c = p["start"] + p["recent"], layer.c
    press = kvpress.KeyRerotationPress(kvpress.StreamingLLMPress(1 - (kept + 0.5) / layer.n, n_sink=p["start"]))
    keys, values = press.compress(layer.module, layer.hidden, layer.keys, layer.values, None, {})
    back = torch.tensor([kept - layer.n])
    q, k, v = (torch.tensor(x[layer.n]) for x in (layer.a.q, layer.a.k, layer.a.v))  # [heads, D] of the step
    q, k = layer.turned(q[:, None], back)[:, 0], layer.turned(k[:, None], back)
    keys = torch.cat([keys[0], k], 1).repeat_interleave(c["heads"] // c["kv_heads"], 0)
    values = torch.cat([values[0], v[:, None]], 1).repeat_interleave(c["heads"] // c["kv_heads"], 0)
    weight = torch.softmax((q[:, None] @ keys.transpose(1, 2))[:, 0] * layer.a.scale, -1)
    return (weight[:, None] @ values)[:, 0].numpy()[None]


def decoding(layer, p):
    """Its cut behind `every` steps; layer.n counts them."""
    press = kvpress.DecodingPress(kvpress.SnapKVPress(window_size=p["window"], kernel_size=1), target_size=p["capacity"])
    scores, compress = [], press.base_press.score

    def score(*given):
        scores.append(compress(*given))
        return scores[-1]

    press.base_press.score = score
    steps = layer.hidden[:, -p["every"]:]
    press.compress(layer.module, steps, layer.keys, layer.values, None, {"position_embeddings": layer.position})
    return best(scores[0][0].numpy(), p["capacity"])


def roles(rng, c):
    path = pathlib.Path(tempfile.gettempdir()) / f"roles_{c['seed']}.tsv"
    np.savetxt(path, rng.random((c["layers"], c["kv_heads"])), delimiter="\t")
    return str(path)


# Method, phase, tail of generated tokens, parameters, the peer's keys (or output), what it is.
def kvpress_rows():
    amount = lambda rng, c: {"capacity": int(rng.integers(1, c["tokens"]))}

    def windows(rng, c):
        w = int(rng.integers(1, 17))
        return {"capacity": int(rng.integers(2 * w, max(2 * w + 1, c["tokens"]))), "window": w, "beta": int(rng.integers(1, 21)), "kernel": [1, 3, 5, 7][int(rng.integers(0, 4))]}

    def cut(rng, c):
        every = c["tail"] - 1
        w = int(rng.integers(1, every - 1))
        return {"every": every, "window": w, "kernel": 1, "capacity": int(rng.integers(c["tokens"], c["tokens"] + every))}

    def heads(rng, c):
        return {"roles": roles(rng, c), "streaming": float(rng.random()), "sinks": int(rng.integers(1, 20)), "recent": int(rng.integers(2, c["tokens"] // 2))}

    cached = lambda rng, c: {"start": int(rng.integers(1, 12)), "recent": int(rng.integers(1, c["tokens"] - 12)), "own": "on_top"}
    true = lambda rng, c: {"sinks": int(rng.integers(1, 12)), "local": int(rng.integers(2, c["tokens"] - 12))}
    floors = lambda rng, c: amount(rng, c) | {"floor": round(float(rng.random()), 3), "window": int(rng.integers(1, 80)), "kernel": 5, "sinks": 0, "local": 1}
    return [
        ("knorm", "compress", 1, amount, by_score(lambda p: kvpress.KnormPress()), "KnormPress"),
        ("keydiff", "compress", 1, amount, by_score(lambda p: kvpress.KeyDiffPress()), "KeyDiffPress"),
        ("expected_attention", "compress", 1, lambda rng, c: {"capacity": int(rng.integers(8, c["tokens"]))},
         by_score(lambda p: kvpress.ExpectedAttentionPress()), "ExpectedAttentionPress"),
        ("tova", "decode", 1, amount, tova, "TOVAPress, its first cut; it forces the own key, which TOVA ranks: put back"),
        ("h2o", "decode", 1, lambda rng, c: amount(rng, c) | {"recent": 0.0}, observed,
         "ObservedAttentionPress, its first cut; it divides sums by queries, which H2O does not: undone"),
        ("pyramidkv", "compress", 1, windows, pyramid, "SnapKVPress' scores; budgets are the authors', window on top (kvpress: within)"),
        ("ada_snapkv", "compress", 1, floors, ada, "AdaKVPress on the study's scores"),
        ("streaming", "decode", 1, true, streaming, "StreamingLLMPress; what it keeps of the prompt, true distances"),
        ("streaming_llm", "decode", 1, cached, streaming_output, "KeyRerotationPress of StreamingLLMPress; outputs (its angles are fp32)"),
        ("head_roles", "decode", 1, heads, duo, "DuoAttentionPress by a table of gates; its window does not slide"),
        ("decoding_snapkv", "decode", 0, cut, decoding, "DecodingPress of SnapKVPress; kernel 1: it pools over keys that are left"),
    ]


def kvpress_row(method, phase, tail, draw, peer, note, cases, choices):
    row = Row(method, phase, "kvpress", note)
    for index in range(cases):
        rng = np.random.default_rng([7, index, *method.encode()])
        c = shape(index, phase, rng, ties=False)
        c["tail"] = tail or int(rng.integers(5, 24))
        params = draw(rng, c)
        group, n = c["heads"] // c["kv_heads"], c["tokens"] + (c["tail"] - 1 if method == "decoding_snapkv" else 0)
        mask, out = choices.ask(c | {"method": method, "params": params, "sparsity": None})
        try:
            want = peer(Layer(c, n), params)
        except Close:
            row.ties += 1
            continue
        same = np.linalg.norm(out - want) < 1e-5 * np.linalg.norm(want) if isinstance(want, np.ndarray) else left(mask, group, n) == want
        row.equal, row.differ = row.equal + same, row.differ + (not same)
        if not same:
            print(f"# {method} differs from kvpress: {json.dumps(c | {'params': params})}", file=sys.stderr)
        if "roles" in params:
            pathlib.Path(params["roles"]).unlink()
    return row.close()


def mistral_row(cases, choices):
    from transformers.masking_utils import sliding_window_causal_mask_function

    row = Row("sliding_window", "prefill", "transformers", "Mistral's mask")
    for index in range(cases):
        rng = np.random.default_rng([8, index])
        c = shape(index, "prefill", rng)
        params = {"window": int(rng.integers(1, c["tokens"] + 20))}
        mask, _ = choices.ask(c | {"method": "sliding_window", "params": params, "sparsity": None})
        at = torch.arange(c["tokens"])
        sees = sliding_window_causal_mask_function(params["window"])
        same = (mask == sees(0, 0, at[:, None], at[None, :]).numpy()).all()
        row.equal, row.differ = row.equal + same, row.differ + (not same)
    return row.close()


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cases", type=int, default=204, help="of each row")
    asked.add_argument("--peer", choices=["numpy", "kvpress"], help="only this one")
    asked.add_argument("method", nargs="*", help="only these")
    asked = asked.parse_args()
    wants = lambda method: not asked.method or method in asked.method
    choices, wrong = Choices(), 0
    print(f"{'method':20}{'phase':10}{'peer':14}{'cases':>6}{'equal':>7}{'ties':>6}{'differ':>8}")
    for method, (phases, _, _) in DRAWN.items():
        for phase in phases:
            if wants(method) and asked.peer != "kvpress":
                wrong += numpy_row(method, phase, asked.cases, choices)
    if asked.peer != "numpy":
        import_kvpress()
        for row in kvpress_rows():
            if wants(row[0]):
                wrong += kvpress_row(*row, asked.cases, choices)
        if wants("sliding_window"):
            wrong += mistral_row(asked.cases, choices)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
