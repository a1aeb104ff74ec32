"""Golden files of the tokenizer: small tokenizers of each kind and what the `tokenizers` library makes of strings.py.

    python make_tokenizers.py                     # writes KIND.json, KIND.ids, strings.json, variants.json
    python make_tokenizers.py --gguf FILE.gguf    # writes smollm2.ids: every second string, real vocabulary

The kinds use the families' own split patterns, normalizers, pre-tokenizers and decoders; only the vocabularies are small
and trained here (training twice gives slightly different ones: a KIND.ids belongs to its KIND.json). For a GGUF the library
is given the file's tokens and merges and the pre-tokenizer of SmolLM's own tokenizer.json. transformers' conversion of
the same file is an independent witness, but leaves the digits' pre-tokenizer out: it differs on numerals other than 0-9
and on some line ends, and those texts are printed.

KIND.ids, all numbers but the hashes in base 128, low digits first, 0x80 set on all digits but the last: for each string
1 + n, ids[n] (text that spells special tokens becomes them); 0 for "the same" or 1 + n, ids[n] (it stays text); 4 bytes,
little-endian: FNV-1a of the first ids decoded, with special tokens and again without. Then the count of random id lists,
and for each 1 + n, ids[n] and the hash as before. U+0000 decodes to U+FFFD here.
"""
import json
import pathlib
import random
import struct
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from strings import ENGLISH, FOREIGN, strings

HERE = pathlib.Path(__file__).parent
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + TAIL
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + TAIL
P, N, D = pre_tokenizers, normalizers, decoders
BYTE_FALLBACK = ["<0x%02X>" % b for b in range(256)]


def special(text, **flags):
    return AddedToken(text, special=True, normalized=flags.pop("normalized", False), **flags)


def split(pattern):
    return P.Sequence([P.Split(Regex(pattern), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])


# Flags that real files rarely use, so that every one of them is seen at work.
ODD_TOKENS = [AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=True),
              AddedToken("word", single_word=True, normalized=False), AddedToken("caf\u00e9tok", normalized=True),
              AddedToken("<add>", normalized=False), AddedToken("<add><add>", normalized=False),
              AddedToken("<two words>", normalized=False)]

KINDS = {
    "gpt2": dict(pre=P.ByteLevel(add_prefix_space=False), decoder=D.ByteLevel(), added=[special("<|endoftext|>")]),
    "smollm": dict(pre=P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)]),
                   decoder=D.ByteLevel(), first=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], all_bytes=False),
    "qwen2": dict(normalizer=N.NFC(), pre=split(QWEN2), decoder=D.ByteLevel(),
                  added=[special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>"), *ODD_TOKENS]),
    "llama3": dict(pre=split(LLAMA3), decoder=D.ByteLevel(), ignore_merges=True,
                   added=[special(t) for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                                               "<|end_header_id|>", "<|eot_id|>", "Ġlazy")]),
    "gemma": dict(normalizer=N.Replace(" ", "▁"), pre=P.Split(" ", "merged_with_previous"), byte_fallback=True,
                  decoder=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()]),
                  first=["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
                  added=[AddedToken(t, normalized=False) for t in ("\n\n", "\n\n\n", "▁▁", "▁▁▁", "\t\t", "<b>", "<code>")]),
    "llama2": dict(normalizer=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), pre=None, byte_fallback=True,
                   decoder=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
                   first=["<unk>", "<s>", "</s>"], added=[special("[INST]"), special("[/INST]")]),
    "metaspace": dict(normalizer=N.Sequence([N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), pre=P.Sequence([
        P.Metaspace(replacement="▁", prepend_scheme="first", split=True), P.Digits(individual_digits=False),
        P.Split("!", "removed"), P.Split("-",
        "merged_with_next"), P.Split(Regex(r"[^\p{P}]+"), "contiguous", invert=True)]),
        decoder=D.Metaspace(replacement="▁", prepend_scheme="first"), fuse_unk=True, first=["<unk>", "<s>", "</s>"],
        added=[special("<|endoftext|>", lstrip=True, rstrip=True), *ODD_TOKENS]),
}


def fnv(text):
    h = 0x811C9DC5
    for byte in text.replace("\0", "\ufffd").encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def train(kind):
    first = kind.get("first", [])
    metaspace = isinstance(kind["decoder"], (D.Sequence, D.Metaspace))
    unk = "<unk>" if "<unk>" in first else None
    t = Tokenizer(models.BPE(unk_token=unk, byte_fallback=kind.get("byte_fallback", False),
                             fuse_unk=bool(kind.get("byte_fallback") or kind.get("fuse_unk")),
                             ignore_merges=kind.get("ignore_merges", False)))
    if kind.get("normalizer"):
        t.normalizer = kind["normalizer"]
    # Trained on text that is not split, so that a wrong split shows.
    t.pre_tokenizer = P.Metaspace("▁", prepend_scheme="never", split=False) if metaspace else \
        P.ByteLevel(add_prefix_space=False, use_regex=False)
    if kind.get("byte_fallback"):
        first = first + BYTE_FALLBACK
    alphabet = P.ByteLevel.alphabet() if not metaspace and kind.get("all_bytes", True) else []
    corpus = [c for c in ENGLISH + FOREIGN + strings()[::3] if "<" not in c]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=640, special_tokens=first, initial_alphabet=alphabet,
                                                      limit_alphabet=200 if metaspace else 256, max_token_length=6,
                                                      show_progress=False))
    if kind.get("ignore_merges"):  # words that merges do not make
        spec = json.loads(t.to_str())
        for word in ("attention", "Ġlantern", "Ġnumber", "ĠÐ¼ÑıÐ³ÐºÐ¸Ñħ", "12"):
            spec["model"]["vocab"].setdefault(word, len(spec["model"]["vocab"]))
        t = Tokenizer.from_str(json.dumps(spec))
    if kind["pre"] is None:
        spec = json.loads(t.to_str())
        spec["pre_tokenizer"] = None
        t = Tokenizer.from_str(json.dumps(spec))
    else:
        t.pre_tokenizer = kind["pre"]
    t.decoder = kind["decoder"]
    if kind.get("byte_fallback"):  # byte tokens are no added tokens
        spec = json.loads(t.to_str())
        spec["added_tokens"] = [a for a in spec["added_tokens"] if not a["content"].startswith("<0x")]
        t = Tokenizer.from_str(json.dumps(spec))
    t.add_tokens(kind.get("added", []))
    return t


def number(x):
    return bytes([x]) if x < 128 else bytes([x & 127 | 128]) + number(x >> 7)


def words(ids):
    return b"".join(map(number, [len(ids) + 1, *ids]))


def decoded(t, ids):
    return struct.pack("<I", fnv(t.decode(ids, skip_special_tokens=False) + t.decode(ids, skip_special_tokens=True)))


def golden(t, texts, lists):
    out = b""
    for text in texts:
        t.encode_special_tokens = False
        ids = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = True
        plain = t.encode(text, add_special_tokens=False).ids
        out += words(ids) + (number(0) if plain == ids else words(plain)) + decoded(t, ids)
    rng = random.Random(7)
    out += number(lists)
    for _ in range(lists):
        ids = [rng.randrange(t.get_vocab_size() + 3) for _ in range(rng.randint(0, 12))]  # three are no token
        out += words(ids) + decoded(t, ids)
    return out


def variants():
    """Parts of llama2.json exchanged, one at a time: {"patch": {"model.fuse_unk": …}, "ids": [for each text]}."""
    texts = ["a-b--c - d-", "1234 12a3b-4", "--", " the dog--the-dog ", "x", "xx", "the the  the",
    "\u4e01\u4e02a\u4e03",
             "<two words>", "In the harbour", "<add> <s>the", "the<s> the"]
    none = dict(normalizer=None, pre_tokenizer=None, decoder=None)
    meta = dict(type="Metaspace", replacement="▁")
    patches = [dict(none, pre_tokenizer=dict(type="Split", pattern={"String": "-"}, behavior=b, invert=i))
               for b in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
               "Contiguous") for i in (False, True)]
    patches += [dict(none, pre_tokenizer=dict(type="Split", pattern={"Regex": "x*"}, behavior="Isolated", invert=False))]
    patches += [dict(none, pre_tokenizer=dict(type="Digits", individual_digits=i)) for i in (False, True)]
    patches += [dict(none, pre_tokenizer=dict(meta, prepend_scheme=p, split=s), decoder=dict(meta, prepend_scheme=p, split=s))
                for p in ("never", "first", "always") for s in (False, True)]
    patches += [dict(none, pre_tokenizer=dict(meta, add_prefix_space=True)), dict(none, pre_tokenizer=meta),
                dict(none, pre_tokenizer=dict(meta, add_prefix_space=False, prepend_scheme="never"))]
    patches += [dict(none, pre_tokenizer=dict(type="Sequence", pretokenizers=[
        dict(type="Split", pattern={"String": "-"}, behavior="Isolated", invert=False), dict(meta, prepend_scheme="first")]))]
    patches += [{"model.byte_fallback": False, "model.fuse_unk": f} for f in (False, True)]
    patches += [{"model.byte_fallback": False, "model.unk_token": None}, {"model.ignore_merges": True}]
    patches += [dict(normalizer=dict(type="Sequence", normalizers=[
        dict(type="Replace", pattern={"String": "x"}, content=""), dict(type="Prepend", prepend="▁")]))]
    patches += [dict(normalizer=dict(type=f)) for f in ("NFD", "NFKD")]
    patches += [dict(none, pre_tokenizer=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=r),
                     decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=r),
                     **{"model.byte_fallback": False}) for r in (False, True)]
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=True, special=False)
    more = [dict(flags, id=1000, content="<two words>"), dict(flags, id=1001, content="<add>", lstrip=True, rstrip=True)]
    patches += [dict(added_tokens=more), dict(none, added_tokens=more, decoder=dict(
        type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True))]
    base, out = json.loads((HERE / "llama2.json").read_text()), []
    for patch in patches:
        spec = json.loads(json.dumps(base))
        for key, value in patch.items():
            if key == "added_tokens":  # after those that are there
                spec[key] += [dict(v, id=len(spec["model"]["vocab"]) + 2 + i) for i, v in enumerate(value)]
                patch[key] = spec[key]
            elif key.startswith("model."):
                spec["model"][key[6:]] = value
            else:
                spec[key] = value
        t = Tokenizer.from_str(json.dumps(spec))
        ids = [t.encode(text, add_special_tokens=False).ids for text in texts]
        back = [t.decode(i, skip_special_tokens=False) for i in ids]
        out.append(dict(patch=patch, ids=ids, text=fnv("|".join(back))))
    text = json.dumps(dict(texts=texts, variants=out), ensure_ascii=False, separators=(",", ":"))
    (HERE / "variants.json").write_text(text.replace('{"patch"', '\n{"patch"') + "\n")


def smollm2(path):
    import gguf
    import transformers

    fields = gguf.GGUFReader(path).fields
    tokens, types, merges = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type", "merges"))
    t = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = KINDS["smollm"]["pre"]
    t.decoder = D.ByteLevel()
    t.add_special_tokens([special(tokens[i]) for i, kind in enumerate(types) if kind == 3])
    theirs = transformers.AutoTokenizer.from_pretrained(str(pathlib.Path(path).parent), gguf_file=pathlib.Path(path).name)
    texts = strings()[::2]
    for text in texts:
        if t.encode(text).ids != theirs(text, add_special_tokens=False).input_ids:
            print("transformers' conversion differs:", repr(text), t.encode(text).tokens, theirs.tokenize(text))
    (HERE / "smollm2.ids").write_bytes(golden(t, texts, 25))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--gguf"]:
        smollm2(sys.argv[2])
    else:
        (HERE / "strings.json").write_text(json.dumps({"strings": strings()}, ensure_ascii=False, indent=0) + "\n")
        for name, kind in KINDS.items():
            t = train(kind)
            spec = json.loads(t.to_str())
            spec["model"]["merges"] = [m if name in ("gpt2",
            "llama2") else " ".join(m) for m in spec["model"]["merges"]]
            text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
            (HERE / (name + ".json")).write_text(text + "\n")
            t = Tokenizer.from_str(text)
            (HERE / (name + ".ids")).write_bytes(golden(t, strings(), 25))
            print(name, t.get_vocab_size(), len(text))
        variants()
