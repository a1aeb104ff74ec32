"""Trains the tokenizer of the frontier-mini family on text of the tasks themselves.

    make build/tests/tools/samples
    python3 models/frontier-mini/recipe/make_tokenizer.py OUT_DIR

Byte-level BPE of 6144 entries. Almost every word of the stories and of CWE's list is one token, numbers are cut into
pairs of digits, and random keys (ab3d-9x2k) and VT's names (QXZN) into pairs of characters: a small model then has to
match two to four tokens to find a key, not a dozen.
Writes tokenizer.json, tokenizer_config.json (with the chat template) and special_tokens_map.json.
"""
import json
import pathlib
import subprocess
import sys

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 6144
SPLIT = (r" ?VAR\b| (?=[A-Z]{2}|[a-z0-9]{4}-[a-z0-9]{4}\b)|[A-Z]{2}"                  # names of variables
         r"|[a-z0-9]{2}(?=(?:[a-z0-9]{2})?-[a-z0-9]{4}\b)"                              # first group of a key
         r"|(?<=[a-z0-9]{4}-)[a-z0-9]{2}|(?<=[a-z0-9]{4}-[a-z0-9]{2})[a-z0-9]{2}"       # its second group
         r"| ?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
            "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

# task, length in words, samples, parameters
TEXT = [
    ("niah", 4000, 250, ["key_groups=2", "value_groups=2", "group_length=4"]),
    ("vt", 1500, 300, ["name_length=4"]),
    ("cwe", 4000, 150, ["words=1200"]),
    ("story_retrieval", 8000, 120, []),
    ("story_multihop", 4000, 40, []),
    ("story_filtering", 4000, 40, []),
]


def text():
    samples = pathlib.Path(__file__).resolve().parents[3] / "build/tests/tools/samples"
    for task, length, count, parameters in TEXT:
        command = [str(samples), task, str(length), str(count), "answer=direct", "tokens=words", *parameters]
        for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
            sample = json.loads(line)
            yield sample["prompt"]
            yield sample["answer"]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(text(), trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    tokenizer.save(str(out / "tokenizer.json"))
    config = {
        "add_bos_token": False, "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>", "unk_token": None, "model_max_length": 16384,
        "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (out / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")


if __name__ == "__main__":
    main()
