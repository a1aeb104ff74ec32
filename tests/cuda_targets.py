#!/usr/bin/env python3
"""What tests/cuda.sh targets printed, held against what is asked of the CUDA engine: a line a target with the figures of an older
build beside it, those of this one, and whether they reach it.

    tests/cuda_targets.py build/cuda/all.txt        or results/bench/cuda-targets.txt: any text with its sections, "== peers" and on

Every figure is one that a log has, or a ratio of two: none is kept here but targets and, where the older build did not run, what the
targets were set by, the older build on another card (marked *). Where the sections have no figure, none was measured."""

import re
import sys

sections = {}
for line in open(sys.argv[1], encoding="utf-8"):
    head = re.match(r"== ([\w-]+)", line)
    if head:
        section = sections.setdefault(head[1], [])
    elif sections:
        section.append(line)
sections = {name: "".join(lines) for name, lines in sections.items()}


def said(section, pattern):
    """The numbers that a pattern finds in a section, one a line where it finds; 0 is a peer that was not there."""
    return [float(x) for x in re.findall(pattern, sections.get(section, ""), re.M) if float(x)]


def prefill(section, method):
    return said(section, rf"^prefill {re.escape(method)} +([\d.]+) s")


def mean(x):
    return sum(x) / len(x) if x else None


def dense(section, dim, tokens):
    return said(section, rf"^dense +\d+/8 dim +{dim} +{tokens} .* ([\d.]+) % of cuDNN")


LENGTHS = (8192, 16384, 32768, 65536, 131072)


def lengths(dim):
    return lambda section: [x for tokens in LENGTHS for x in dense(section, dim, tokens)]


def blocks(block, kind, heads, dim, estimation=False):
    after = r".*-> +([\d.]+) %" if estimation else r".*? ([\d.]+) % of ideal"
    return lambda section: said(section, rf"^blocks +{block} {kind} +{heads} dim +{dim} +131072 {after}")


def slashes(dim, probe):
    after = r".*-> +([\d.]+) %" if probe else r".*? ([\d.]+) % of ideal"
    return lambda section: said(section, rf"^columns\+diagonals of .* 32/8 dim +{dim} +131072 {after}")


SHAPE = r" +(?:32/8 dim 128 +)?"  # which older builds do not say: they decode no other


def quest(lanes):
    return lambda section: said(section, rf"^decode quest 1/16{SHAPE}131072 x +{lanes} lanes .*= ([\d.]+) x bytes")


def copy(section):
    return said(section, rf"^decode dense{SHAPE}32768 x +1 lanes .*= +([\d.]+) % of copy")


def sample(build):
    """Milliseconds that ten more samples' first tokens take, over ten: the least of the turns with so many samples less that of those with one."""
    few, many = (said("first", rf"^first {build}, 31 cells, {n} samples: (\d+) ms") for n in (1, 11))
    return (min(many) - min(few)) / 10 if few and many and min(many) > min(few) else None


# Title; target: % that the least of the figures must reach or, negative, times that the greatest must not pass; figures of a log
# of bench_cuda; what the older build gave when targets were set.
KERNELS = [
    ("dense 32/8 d128, of cuDNN: 32k", 97, lambda s: dense(s, 128, 32768), "87"),
    ("dense 32/8 d64, of cuDNN: 8k to 128k", 95, lengths(64), "82 to 87"),
    ("dense 16/8 d256, of cuDNN: 8k to 128k", 85, lengths(256), "portable"),
    ("blocks of 64 d256, of ideal: shared", 80, blocks(64, "shared", "16/8", 256), "portable"),
    ("  a head its own", 80, blocks(64, "per head", "16/8", 256), "portable"),
    ("blocks of 16 shared 32/8, of ideal", 85, blocks(16, "shared", "32/8", 128), "79"),
    ("  with estimation", 76, blocks(16, "shared", "32/8", 128, True), "62"),
    ("blocks a head its own 32/8, of ideal: 32", 60, blocks(32, "per head", "32/8", 128), "45"),
    ("  16", 35, blocks(16, "per head", "32/8", 128), "21"),
    ("Vertical-Slash 32/8 d128 128k, of ideal", 75, slashes(128, False), "57 to 65"),
    ("  with probe", 68, slashes(128, True), "50 to 55"),
    ("Quest 1/16 128k, x the floor: one lane", -1.7, quest(1), "2.57"),
    ("  16 lanes", -1.15, quest(16), "1.26"),
    ("dense decode 32k, one lane, of copy", 80, copy, "61"),
]
# Title, method, target: seconds over the older build's; what those were when targets were set.
WHOLE = [("blocks of 64", "block_sparse 64, heads apart", 0.82, 4.05), ("Vertical-Slash", "vertical_slash", 0.76, 4.73),
         ("FlexPrefill", "flex_prefill", 0.64, 6.10)]


def row(title, before, target, here, verdict, rest=""):
    print(f"{title:44} {before:>14}  {target:>9}   {here:<18} {verdict:8} {rest}".rstrip())


def judged(reached):
    return "reached" if reached else "missed"


def spread(figures, unit):
    low, high = (f"{x:g}" for x in (min(figures), max(figures)))
    return (low if low == high else f"{low} to {high}") + unit


row("", "before", "target", "here", "")
print("whole prefill, 7B shape, 131040 tokens, density .10:")
for title, method, target, recorded in WHOLE:
    old, here = mean(prefill("end-old", method)), mean(prefill("end", method) + prefill("end-again", method))
    before = f"{old or recorded:.2f} s" + ("" if old else " *")
    if here is None:
        row("  " + title, before, f"x {target:g}", "-", "not measured")
    else:
        ratio = here / (old or recorded)
        row("  " + title, before, f"x {target:g}", f"{here:.2f} s, x {ratio:.3f}", judged(ratio <= target))

for title, target, figures, recorded in KERNELS:
    unit = " %" if target > 0 else " x"
    old, here = figures("bench-old"), figures("bench")
    before = spread(old, unit) if old else recorded + (" *" if recorded == "portable" else unit + " *")
    asked = f"{'>=' if target > 0 else '<='} {abs(target):g}{unit}"
    if not here:
        row(title, before, asked, "-", "not measured")
    else:
        row(title, before, asked, spread(here, unit), judged(min(here) >= target if target > 0 else max(here) <= -target))
others = ", ".join(f"{tokens // 1024}k {x:g}" for tokens in LENGTHS for x in dense("bench", 128, tokens))
if others:
    print(f"  (dense 32/8 d128: {others} %)")

together = said("end", r"^together +28 cells +([\d.]+) s")
alone = said("end", r"^28 cells of one sample: .* one by one: ([\d.]+) x")
if together:
    row("28 cells of one sample (7B)", "10.8 s *", "<= 10 s", f"{together[0]:g} s", judged(together[0] <= 10),
        f"{alone[0]:g} x one by one" if alone else "")
else:
    row("28 cells of one sample (7B)", "10.8 s *", "<= 10 s", "-", "not measured")

# What kvpress takes for the grid's cells, each a run of its own; of quest, which it has not, what its dense takes.
runs = {method: float(prefill) + float(ms) / 1e3 * int(steps) for method, prefill, ms, steps in
        re.findall(r"^kvpress (\w+) [\d.]+ prefill ([\d.]+) s, decode ([\d.]+) ms a step, (\d+) steps", sections.get("kvpress", ""), re.M)}
if together and len(runs) == 3:
    one_by_one = 10 * runs["dense"] + 9 * runs["snapkv"] + 9 * runs["ada_snapkv"]
    row("  kvpress, one by one", "-", ">= 30 x", f"{one_by_one / together[0]:.1f} x", judged(one_by_one >= 30 * together[0]),
        f"{one_by_one:.0f} s: " + ", ".join(f"{method} {s:.2f}" for method, s in runs.items()))
else:
    row("  kvpress, one by one", "-", ">= 30 x", "-", "not measured")

old, here = sample("old"), sample("here")
title = "first tokens of 31 cells, model l, 8k"
if old and here:
    row(title, f"{old:.0f} ms", ">= 2 x", f"{here:.0f} ms, {old / here:.2f} x", judged(old / here >= 2))
else:
    row(title, f"{old:.0f} ms" if old else "-", ">= 2 x", f"{here:.0f} ms" if here else "-", "not measured")
starts = [min(x) if x else None for x in (said("first", rf"^first {build}, 31 cells, 1 samples: (\d+) ms") for build in ("old", "here"))]
if starts[1]:
    print("  (of a sample more; the whole command with one sample: " + (f"{starts[0]:.0f} ms, here " if starts[0] else "") + f"{starts[1]:.0f} ms)")

cudnn = {shape: float(ms) for shape, ms in re.findall(r"^cudnn (\d+ \d+ \d+ \d+) ([\d.]+)", sections.get("peers", ""), re.M)}
flash = re.findall(r"^flash (\d+) (\d+) (\d+) (\d+) ([\d.]+)", sections.get("peers", ""), re.M)
if flash:
    ours = {(dim, tokens): float(ms) for dim, tokens, ms in re.findall(r"^dense \S+ dim +(\d+) +(\d+) +([\d.]+) ms", sections.get("bench", ""), re.M)}
    print("PyTorch's flash kernel, x ours: " + ", ".join(f"d{dim} {int(tokens) // 1024}k {float(ms) / ours[dim, tokens]:.2f}" for _, _, dim, tokens, ms in flash
                                                       if (dim, tokens) in ours))
rivals = sections.get("rivals", "")
for shape, block, density, ms in re.findall(r"^flex (\d+ \d+ \d+ \d+) (\d+) ([\d.]+) ([\d.]+)$", rivals, re.M):
    ideal, ours = 100 * float(density) * cudnn.get(shape, 0) / float(ms), blocks(block, "per head", "32/8", 128)("bench")
    print(f"FlexAttention, blocks of {block} a head its own: {ms} ms, {ideal:.0f} % of ideal; here {spread(ours, ' %') if ours else '-'}")
for how, shape, ms, rate in re.findall(r"^nsa (\w+) (\d+ \d+ \d+ \d+ \d+ \d+) ([\d.]+)  # (\d+) TFLOP/s", rivals, re.M):
    ours = said("bench", rf"^single {how} +64/4 .*block +64 x +16, .*? ([\d.]+) ms"), said("bench", rf"^single {how} +64/4 .*block +64 x +16, .* (\d+) TFLOP/s")
    here = f"{spread(ours[0], ' ms')}, {spread(ours[1], ' TFLOP/s')}, {min(ours[1]) / float(rate):.2f} x the rate" if all(ours) else "-"
    print(f"flash-linear-attention's NSA, selected branch, {how} lists: {ms} ms, {rate} TFLOP/s of computed pairs; here {here}")
