#!/bin/bash
# transformers' AutoTokenizer may not read a folder's tokenizer.json, though it is there, whole, and tokenizer_config.json
# asks for it (tokenizer_class: PreTrainedTokenizerFast).
#
# Seen with transformers 5.24.0 and tokenizers 0.23.3: a folder whose config.json says model_type "qwen2" gets a Qwen2Tokenizer
# with the split pattern of that class (each digit alone). Vocabulary and merges are those of the file, its pre_tokenizer is
# not, and nothing is said. A model trained on the ids of its tokenizer.json, as `tokenizers` and PreTrainedTokenizerFast
# read them, is shown other ids:
#
#     tokenizer.json by tokenizers              ['19', '98']
#     PreTrainedTokenizerFast.from_pretrained   ['19', '98']
#     AutoTokenizer.from_pretrained             ['1', '9', '9', '8']  (Qwen2Tokenizer)
#
# Exits with 0 while this is so.
set -eu
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m pip install -q --target "$T/packages" transformers==5.24.0 tokenizers==0.23.3
export PYTHONPATH=$T/packages
cat >"$T/try.py" <<'EOF'
import json
import sys

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

folder = sys.argv[1]
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
vocab = {token: i for i, token in enumerate(alphabet + ["19", "98", "<|end|>"])}
tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("1", "9"), ("9", "8")]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)  # GPT-2's pattern: 1998 is one piece
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens(["<|end|>"])
tokenizer.save(f"{folder}/tokenizer.json")
json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", eos_token="<|end|>"), open(f"{folder}/tokenizer_config.json", "w"))
json.dump(dict(model_type="qwen2", architectures=["Qwen2ForCausalLM"]), open(f"{folder}/config.json", "w"))

text = "1998"
file = Tokenizer.from_file(f"{folder}/tokenizer.json").encode(text).tokens
fast = transformers.PreTrainedTokenizerFast.from_pretrained(folder).tokenize(text)
auto = transformers.AutoTokenizer.from_pretrained(folder)
print("tokenizer.json by tokenizers             ", file)
print("PreTrainedTokenizerFast.from_pretrained  ", fast)
print("AutoTokenizer.from_pretrained            ", auto.tokenize(text), f" ({type(auto).__name__})")
sys.exit(not (file == fast == ["19", "98"] and auto.tokenize(text) == ["1", "9", "9", "8"]))
EOF
mkdir "$T/model"
python3 "$T/try.py" "$T/model"
