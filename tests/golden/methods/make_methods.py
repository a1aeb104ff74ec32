"""Golden values for the methods: what the independent implementation of each in references/ says, in double precision.

    python3 tests/golden/methods/make_methods.py [METHOD …]             prints the cases, all or these methods'
    python3 tests/golden/methods/make_methods.py --write [METHOD …]     puts them into methods.json

tests/test_methods.c makes the same inputs from the same seeds. They are multiples of 1/64, so small that every q.k is
exact in fp32: implementations differ in exp() and in sums of probabilities only. A case whose choice hangs on less than
MARGIN (two scores at the cut that are close, but not equal) is drawn again with another seed, so that what is stored is
what every correct implementation in fp32 chooses; exact ties stay, and go to the lowest index.

Sums differ in their last digits from one NumPy to the next. A case that is in methods.json, but for less than ROUNDING of its
norm, therefore keeps its bytes, and its method its place: where no reference changed, --write changes nothing.
"""
import argparse
import importlib
import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))
from references.vocabulary import M64, Attention, Close, output, splitmix  # noqa: E402

GOLDEN = HERE / "methods.json"
ROUNDING = 1e-12

#          tokens  H  G   D  sinks needles ties
SHAPES = [(64,     1, 1, 16, 0, 0, 0),
          (200,    3, 1, 16, 1, 0, 0),
          (333,    8, 1, 16, 1, 1, 0),
          (257,    6, 2, 64, 0, 0, 1),
          (400,    4, 4, 64, 1, 1, 0),
          (97,     9, 3, 16, 0, 1, 1),
          (17,     2, 1, 16, 1, 0, 0),
          (5,      8, 1, 64, 0, 0, 1),
          (290,   16, 2, 16, 1, 1, 1),
          (321,    3, 1, 64, 1, 1, 0)]

TAILS = [1, 4, 7, 10, 16, 16, 19, 22, 30, 28]  # generated tokens; the prompts of 400 and 290 end at whole pages with them
WIDTH = 16  # of the layer's input, for trained methods


def families():
    """Every entry of every CASES in references/. Behind a / a name tells entries of one method apart."""
    plan = {}
    for path in sorted((HERE / "references").glob("[!_]*.py")):
        for name, cases in getattr(importlib.import_module(f"references.{path.stem}"), "CASES", {}).items():
            if name in plan:
                raise SystemExit(f"{path}: another family has cases of '{name}' too")
            plan[name] = cases
    return plan


PLAN = families()


def entry(method):
    """Of a method, by name: its reference and, if trained, what it owns."""
    return next(cases for name, cases in PLAN.items() if name.split("/")[0] == method)


def fnv(lists):
    h = 0xCBF29CE484222325
    for row in lists:
        for x in [len(row)] + list(row):
            for byte in int(x).to_bytes(4, "little"):
                h = ((h ^ byte) * 0x100000001B3) & M64
    return f"{h:016x}"


def attended(a, result, phase):
    """[rows, H, D], what a reference's answer gives."""
    return result["out"] if "out" in result else output(a, result["masks"], phase != "prefill", result.get("distance"))


def case(name, phase, cases, index, setting):
    tokens, heads, kv, dim, sinks, needles, ties = SHAPES[index]
    sparsity, params = (setting, {}) if isinstance(setting, float) else (None, setting)
    if isinstance(setting, tuple):
        sparsity, params = setting
    for attempt in range(200):
        c = {"method": name, "phase": phase, "params": params, "sparsity": sparsity, "tokens": tokens,
             "tail": 0 if phase == "prefill" else TAILS[index], "output": 64, "heads": heads, "kv_heads": kv,
             "head_dim": dim, "layer": index % 3, "sinks": sinks, "needles": needles, "ties": ties,
             "seed": 1000 * attempt + 10 * index + sum(name.encode()) % 10}
        if cases.layers:
            c["layers"] = cases.layers
        if cases.weights:
            c.update(width=WIDTH, weights=cases.weights(heads, kv, dim, WIDTH, params))
        a = Attention(c)
        try:
            result = cases.reference(a, params, sparsity)
        except Close:
            continue
        rows = slice(None) if phase == "prefill" else slice(-1, None)  # or the decode step alone
        pairs = result["pairs"] if "pairs" in result else sum(int(m[rows].sum()) for m in result["masks"])
        out = attended(a, result, phase).reshape(-1)
        sign = [1 - 2 * (splitmix(100 + r, np.arange(out.size)) >> np.uint64(63)).astype(np.float64) for r in range(4)]
        c.update(pairs=pairs, lists=fnv(result["lists"]), norm=float(np.linalg.norm(out)),
                 projection=[float((out * s).sum()) for s in sign])
        print(name, phase, index, "seed", c["seed"], "pairs", pairs, getattr(a, "kinds", ""), file=sys.stderr)
        return c
    raise SystemExit(f"{name} {index}: no seed whose choice is clear")


def make(wanted):
    """By method, in the order of the families, its cases."""
    made = {}
    for name, cases in PLAN.items():
        name = name.split("/")[0]
        if wanted and name not in wanted:
            continue
        for phase in ("prefill", "decode") if cases.phase == "both" else (cases.phase,):
            made.setdefault(name, []).extend(case(name, phase, cases, i, s) for i, s in enumerate(cases.settings) if s is not None)
    return made


def same(x, y):
    exact = lambda c: {key: value for key, value in c.items() if key not in ("norm", "projection")}
    numbers = lambda c: np.array([c["norm"], *c["projection"]])
    return exact(x) == exact(y) and np.abs(numbers(x) - numbers(y)).max() <= ROUNDING * x["norm"]


def put(made, wanted):
    """`made` in the place of what methods.json has of these methods, new ones behind; without names, of all there are."""
    there = {}
    for c in json.loads(GOLDEN.read_text()):
        there.setdefault(c["method"], []).append(c)
    for name, cases in made.items():
        made[name] = [next((old for old in there.get(name, []) if same(c, old)), c) for c in cases]
    merged = {name: made.get(name, cases) for name, cases in there.items() if wanted or name in made}
    return {**merged, **made}


def lines(made):
    return "[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for cases in made.values() for c in cases) + "\n]\n"


def main():
    parser = argparse.ArgumentParser(description="Golden values for the methods.")
    parser.add_argument("--write", action="store_true", help="into methods.json")
    parser.add_argument("method", nargs="*", help="all, if none is named")
    told = parser.parse_args()
    unknown = set(told.method) - {name.split("/")[0] for name in PLAN}
    if unknown:
        parser.error(f"no family has {', '.join(sorted(unknown))}: references/*.py, CASES")
    made = make(told.method)
    if told.write:
        GOLDEN.write_text(lines(put(made, told.method)))
    else:
        print(lines(made), end="")


if __name__ == "__main__":
    main()
