#!/bin/bash
# tokenizers 0.23.3 goes by three versions of Unicode at once, so "the library's Unicode version" decides nothing: what a
# letter is in a Split pattern is Unicode 16's word (its Oniguruma), what the Digits step takes for a digit is Unicode 17's
# (Rust's), and NFC composes by Unicode 9 (unicode-normalization-alignments). A reader that takes all three from one table
# gets other ids for texts in scripts that came in between. Seen on 29 November 2026 with tokenizers 0.23.3:
#
#   \p{L} takes U+105C0 (Unicode 16): True
#   \p{N} takes U+11DE0 (Unicode 17): False
#   Digits takes U+11DE0 (Unicode 17): True
#   NFC composes e U+0301: True
#   NFC composes U+11935 U+11930 (Unicode 13): False
#   NFC reorders U+0301 U+1DF9 (Unicode 10): False
#
# Exits 1 if any of it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" tokenizers==0.23.3
PYTHONPATH=$folder python3 - <<'PYTHON'
import sys
from tokenizers import Regex, normalizers, pre_tokenizers

def takes(pattern, c):
    return pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(c) == []

def digit(c):
    return len(pre_tokenizers.Digits(individual_digits=False).pre_tokenize_str("a" + c)) == 2

def nfc(text):
    return normalizers.NFC().normalize_str(text)

seen = {
    r"\p{L} takes U+105C0 (Unicode 16)": (takes(r"\p{L}", "\U000105c0"), True),
    r"\p{N} takes U+11DE0 (Unicode 17)": (takes(r"\p{N}", "\U00011de0"), False),
    "Digits takes U+11DE0 (Unicode 17)": (digit("\U00011de0"), True),
    "NFC composes e U+0301": (nfc("e\u0301") == "\u00e9", True),
    "NFC composes U+11935 U+11930 (Unicode 13)": (nfc("\U00011935\U00011930") == "\U00011938", False),
    "NFC reorders U+0301 U+1DF9 (Unicode 10)": (nfc("\u0301\u1df9") == "\u1df9\u0301", False),
}
for what, (got, _) in seen.items():
    print(f"{what}: {got}")
sys.exit(any(got != want for got, want in seen.values()))
PYTHON
