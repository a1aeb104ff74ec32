"""Writes listed.json: small folders whose special and added tokens stand in every place there is, and the ids that
transformers gives.

    pip install transformers==5.24.0 tokenizers==0.23.3
    python3 tests/golden/tokenizer/make_listed.py > tests/golden/tokenizer/listed.json

Each folder: the KIND.json beside this file as its tokenizer.json, "files" beside it, and the ids of "texts". "refused": the
folder contradicts itself, since a token has another id than is listed; transformers says nothing, Frontier refuses.
"""

import json
import pathlib
import random
import shutil
import sys
import tempfile

from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
TEXTS = ["<|im_start|>user\nthe <|im_end|> <tool> the</s>", " <tool>  the<pad>x <|image|> <s>the <|endoftext|>  a", "the<tool>the_<|x|>_ <|x|> é<|im_end|>", "<extra><|a|><|b|> ﬁ<ﬁ> the"]
NEW = ["<|im_start|>", "<|im_end|>", "<tool>", "<pad>", "<|image|>", "<|x|>", "<extra>", "<|a|>", "<ﬁ>", "the"]
NAMED = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
KINDS = ["gpt2", "smollm", "metaspace"]


def flags(rng, sure=False):
    keys = ["lstrip", "rstrip", "normalized", "single_word", "special"]
    return {k: rng.random() < 0.4 for k in keys if sure or rng.random() < 0.6}


def token(rng, text, style):
    if style == "text":
        return text
    made = dict(content=text, **flags(rng))
    if style == "map":
        made.pop("special", None)
        return made
    return dict(made, __type="AddedToken")


def folder(rng):
    kind = rng.choice(KINDS)
    spec = json.loads((HERE / (kind + ".json")).read_text())
    vocabulary = {**spec["model"]["vocab"], **{a["content"]: a["id"] for a in spec["added_tokens"]}}
    free, known = max(vocabulary.values()) + 1, list({a["content"] for a in spec["added_tokens"]})
    pick = lambda: rng.choice(NEW + known)
    config, files = {"tokenizer_class": "PreTrainedTokenizerFast"}, {"tokenizer_config.json": None}
    files["tokenizer_config.json"] = config
    for name in rng.sample(NAMED + ["image_token", "boi_token"], rng.randint(0, 4)):
        style = rng.choice(["text", "text", "typed"] if name in NAMED else ["text"])
        config[name] = token(rng, pick(), style)
    if rng.random() < 0.4:
        key = rng.choice(["extra_special_tokens", "additional_special_tokens"])
        some = [token(rng, pick(), rng.choice(["text", "text", "typed"])) for _ in range(rng.randint(0, 3))]
        config[key] = some if key[0] == "a" or rng.random() < 0.7 else {f"x{i}_token": pick() for i in range(2)}
    if rng.random() < 0.5:
        decoder = {}
        for text in rng.sample(NEW + known, rng.randint(0, 6)):
            id = vocabulary.get(text)
            if id is None:
                id, free = free + (rng.random() < 0.1), free + 1
            decoder[str(id)] = dict(content=text, **flags(rng, True))
        config["added_tokens_decoder"] = decoder
    if rng.random() < 0.4:
        some = {name: token(rng, pick(), rng.choice(["text", "map"])) for name in rng.sample(NAMED, rng.randint(0, 3))}
        if rng.random() < 0.5:
            some["additional_special_tokens"] = rng.sample(NEW, 2)
        files["special_tokens_map.json"] = some
    if rng.random() < 0.4:
        added = {}
        for text in rng.sample(NEW, rng.randint(0, 4)):
            id = vocabulary.get(text)
            if id is None:
                id, free = free, free + 1
            added[text] = id
        files["added_tokens.json"] = added
    return kind, files


def ids(kind, files):
    path = pathlib.Path(tempfile.mkdtemp())
    try:
        shutil.copy(HERE / (kind + ".json"), path / "tokenizer.json")
        for name, content in files.items():
            (path / name).write_text(json.dumps(content))
        t = PreTrainedTokenizerFast.from_pretrained(str(path))
        listed = [(int(i), d["content"]) for i, d in files["tokenizer_config.json"].get("added_tokens_decoder", {}).items()]
        if "added_tokens_decoder" not in files["tokenizer_config.json"]:
            listed += [(i, text) for text, i in files.get("added_tokens.json", {}).items()]
        if any(t.convert_tokens_to_ids(text) != i for i, text in listed):
            return "refused"
        return [t(text, add_special_tokens=False).input_ids for text in TEXTS]
    finally:
        shutil.rmtree(path)


def main():
    rng, rows = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 5), []
    while len(rows) < (int(sys.argv[1]) if len(sys.argv) > 1 else 120):
        kind, files = folder(rng)
        rows.append(json.dumps({"kind": kind, "files": files, "ids": ids(kind, files)}, ensure_ascii=False, separators=(",", ":")))
    print('{"texts": ' + json.dumps(TEXTS, ensure_ascii=False) + ',\n"folders": [\n' + ",\n".join(rows) + "\n]}")


main()
