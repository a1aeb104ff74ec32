"""The methods that kvpress has too, beside it: what each keeps, on random attention.

    OMP_NUM_THREADS=1 python3 tests/peers/kvpress_scores.py [cases]        needs kvpress 0.5.5, torch

kvpress' own classes score random queries, keys and values (given to them as a layer's module); the NumPy methods of
tests/golden/methods/make_methods.py, which the C methods are held to, choose on the same. A case is equal where both keep the
same keys in every kv head; near-ties (scores whose order hangs on 1e-5 of their size) are counted apart. Where a method
differs from kvpress on purpose, what is compared is said in its row.
"""
import importlib.util
import pathlib
import sys
import types

import numpy as np
import torch

from kvpress import ExpectedAttentionPress, KeyDiffPress, KnormPress, ObservedAttentionPress, SnapKVPress, TOVAPress

spec = importlib.util.spec_from_file_location("make_methods", pathlib.Path(__file__).parents[1] / "golden/methods/make_methods.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


class Rotary(torch.nn.Module):
    """Base 10000, halves paired."""

    def __init__(self, dim):
        super().__init__()
        self.turn = torch.tensor(np.float32(10000.0 ** (-2.0 * np.arange(dim // 2) / dim)).astype(np.float64))

    def forward(self, x, position_ids):
        angle = position_ids[..., None] * torch.cat([self.turn, self.turn])
        return angle.cos(), angle.sin()


class Case:
    def __init__(self, index):
        rng = np.random.default_rng(index)
        self.group, self.dim = [1, 4, 7][index % 3], [64, 128][index // 3 % 2]
        self.kv = int(rng.integers(1, 4))
        self.n = int(rng.integers(80, 160)) | 1
        self.heads = self.group * self.kv
        c = {"tokens": self.n, "tail": 0, "heads": self.heads, "kv_heads": self.kv, "head_dim": self.dim, "layer": int(rng.integers(0, 4)),
             "sinks": int(rng.integers(0, 2)), "needles": 1, "ties": 0, "seed": index, "phase": "compress", "output": 64}
        self.a = golden.Attention(c)
        self.module = types.SimpleNamespace(
            config=types.SimpleNamespace(num_attention_heads=self.heads, num_key_value_heads=self.kv, num_hidden_layers=4),
            head_dim=self.dim, layer_idx=c["layer"], q_proj=torch.nn.Identity(), rotary_emb=Rotary(self.dim), training=False)
        cos, sin = self.module.rotary_emb(None, torch.arange(self.n)[None])
        q = torch.tensor(self.a.q).transpose(0, 1)  # [H, n, D]
        half = self.dim // 2
        back = torch.cat([q[..., half:], -q[..., :half]], -1)  # turned the other way
        self.hidden = (q * cos + back * sin).transpose(0, 1).reshape(1, self.n, -1)  # before rotation
        self.keys = torch.tensor(self.a.k).transpose(0, 1)[None]
        self.values = torch.tensor(self.a.v).transpose(0, 1)[None]
        self.position = (cos, sin)
        p = self.a.rows(0, self.n)
        self.attentions = torch.tensor(p)[None]

    def score(self, press, attentions=None):
        return press.score(self.module, self.hidden, self.keys, self.values, attentions, {"position_embeddings": self.position})[0].numpy()


def kept_by(scores, k):
    return [sorted(np.argsort(-x, kind="stable")[:k].tolist()) for x in scores]


def tie(scores, k):
    for x in scores:
        o = np.sort(x)[::-1]
        if 0 < k < len(o) and o[k - 1] - o[k] <= 1e-5 * abs(o[k - 1]):
            return True
    return False


def compare(name, cases, ours, theirs, note):
    equal = ties = apart = 0
    for case in cases:
        k = int(case.n * 0.4)
        scores = theirs(case)
        try:
            mine = ours(case, k)
        except golden.Close:
            ties += 1
            continue
        if mine == kept_by(scores, k):
            equal += 1
        elif tie(scores, k):
            ties += 1
        else:
            apart += 1
    print(f"{name:20} {len(cases):5} {equal:6} {ties:9} {apart:6}   {note}")
    return apart


def lists_of(method, params):
    return lambda case, k: method(case.a, {"capacity": k, **params}, None)["lists"]


def h2o_prompt(case, k):
    """The sums that H2O ranks the prompt's keys by, over the queries that saw each: kvpress' average."""
    sums = case.a.grouped(case.a.probe(case.n)[0], np.mean) / np.arange(case.n, 0, -1)
    return [golden.top(x, k) for x in sums]


def tova_prompt(case, k):
    x = case.a.probe(1)[0].mean(axis=0)
    x[-1] = np.inf
    return [golden.top(x, k)] * case.kv


def snapkv_prompt(case, k):
    """The study's SnapKV pools before its window is cut off; the authors' and kvpress' order is pyramidkv's here, flat."""
    column = case.a.grouped(case.a.probe(64)[0], np.mean)
    score = golden.pool(column[:, : case.n - 64], 5, "mean")
    return [golden.top(np.concatenate([x, np.full(64, np.inf)]), k) for x in score]


def main():
    cases = [Case(i) for i in range(int(sys.argv[1]) if len(sys.argv) > 1 else 204)]
    print(f"{'method':20} {'cases':>5} {'equal':>6} {'near-ties':>9} {'differ':>6}")
    wrong = compare("knorm", cases, lists_of(golden.knorm, {}), lambda c: c.score(KnormPress()), "")
    wrong += compare("keydiff", cases, lists_of(golden.keydiff, {}), lambda c: c.score(KeyDiffPress()), "")
    wrong += compare("expected_attention", cases, lists_of(golden.expected_attention, {}), lambda c: c.score(ExpectedAttentionPress()), "")
    wrong += compare("tova", cases, tova_prompt, lambda c: c.score(TOVAPress()), "first choice; own key kept, as kvpress does")
    wrong += compare("h2o", cases, h2o_prompt, lambda c: c.score(ObservedAttentionPress(), c.attentions), "its sums by kvpress' average")
    wrong += compare("pyramidkv scores", cases, snapkv_prompt, lambda c: c.score(SnapKVPress()), "window 64; kvpress' budgets differ, see the header")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
