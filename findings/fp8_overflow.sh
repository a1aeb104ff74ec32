#!/bin/bash
# What a number too large for an 8-bit float becomes hangs on the format and on the library. PyTorch 2.15 on a CPU makes it the largest
# number of float8_e4m3fn, infinity too, yet infinity of float8_e5m2 and NaN of the two fnuz formats; ml_dtypes 0.6.0 makes
# it NaN of float8_e4m3fn above 464, halfway to what would come next. So rounding a cache to FP8 without a scale, and golden values of
# it, differ between the two where a number is above 464. Seen on 30 November 2026:
#
#   464          torch  e4m3fn 448  e5m2 448  e4m3fnuz nan  e5m2fnuz 448     ml_dtypes  e4m3fn 448  e5m2 448  e4m3fnuz nan  e5m2fnuz 448
#   465          torch  e4m3fn 448  e5m2 448  e4m3fnuz nan  e5m2fnuz 448     ml_dtypes  e4m3fn nan  e5m2 448  e4m3fnuz nan  e5m2fnuz 448
#   100000       torch  e4m3fn 448  e5m2 inf  e4m3fnuz nan  e5m2fnuz nan     ml_dtypes  e4m3fn nan  e5m2 inf  e4m3fnuz nan  e5m2fnuz nan
#   inf          torch  e4m3fn 448  e5m2 inf  e4m3fnuz nan  e5m2fnuz nan     ml_dtypes  e4m3fn nan  e5m2 inf  e4m3fnuz nan  e5m2fnuz nan
#
# Needs python3 with venv. Exits 1 if any of it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.15.0 ml_dtypes==0.6.0 numpy==2.4.6
"$folder/venv/bin/python" - "$0" <<'P'
import sys

import ml_dtypes
import numpy
import torch

formats = ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")
expected = [line[4:].rstrip() for line in open(sys.argv[1]) if "ml_dtypes  e4m3fn" in line and line.startswith("#   ")]
seen = []
for x in (464.0, 465.0, 1e5, float("inf")):
    theirs = [torch.tensor(x).to(getattr(torch, "float8_" + f)).float().item() for f in formats]
    with numpy.errstate(all="ignore"):
        others = [float(numpy.float32(x).astype(getattr(ml_dtypes, "float8_" + f))) for f in formats]
    words = lambda values: "  ".join(f"{f} {v:g}" for f, v in zip(formats, values))
    seen.append(f"{x:<12g} torch  {words(theirs)}     ml_dtypes  {words(others)}")
print("\n".join(seen))
sys.exit(seen != expected)
P
