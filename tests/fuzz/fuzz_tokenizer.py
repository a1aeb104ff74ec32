"""Seeds for fuzz_tokenizer: the golden tokenizers, those that take all parts that there are first. Usage: fuzz_tokenizer.py FOLDER"""
import glob
import json
import sys

for i, path in enumerate(sorted(glob.glob("tests/golden/tokenizer/*.json")) + sorted(glob.glob("tests/golden/model/*/tokenizer.json"))):
    tokenizer = json.load(open(path))
    if "model" not in tokenizer:
        continue
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    with open(f"{sys.argv[1]}/seed{i}", "wb") as f:
        f.write(text.encode() + b"\0Some text, it's 2026: na\xc3\xafve <|im_start|>")
