#!/bin/bash
# ROUGE-L of the Python package `rouge`, which LongBench and others take, is not that of Lin 2004: it counts different words, each
# once, so that a summary that repeats itself loses no precision; sentences end at full stops alone; and it walks back through a
# pair of long sentences by recursion, at which Python gives up (LongBench's code catches that, and the sample then has 0).
#
# Seen with rouge 1.0.1, beside rouge_score 0.1.2, which counts as Lin does:
#
#     the mill the mill the mill the mill ~ the mill    rouge 1.000   rouge_score 0.400
#     1200 words, the same on both sides                rouge RecursionError
#
# Exits with 0 while this is so.
set -eu
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m pip install -q --target "$T/packages" rouge==1.0.1 rouge_score==0.1.2
PYTHONPATH=$T/packages python3 - <<'EOF'
import sys

from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer

said, gold = "the mill the mill the mill the mill", "the mill"
one = Rouge().get_scores([said], [gold])[0]["rouge-l"]["f"]
other = RougeScorer(["rougeL"]).score(gold, said)["rougeL"].fmeasure
print(f"{said} ~ {gold}    rouge {one:.3f}   rouge_score {other:.3f}")
text = " ".join(f"w{i}" for i in range(1200))
try:
    long = Rouge().get_scores([text], [text])[0]["rouge-l"]["f"]
except RecursionError:
    long = "RecursionError"
print("1200 words, the same on both sides                rouge", long)
sys.exit(not (one > 0.999 and abs(other - 0.4) < 1e-9 and long == "RecursionError"))
EOF
