"""Writes patterns.json: what patterns match in the `tokenizers` library, what its character classes hold and how it
normalises.

    pip install tokenizers==0.23.3
    python3 tests/golden/tokenizer/patterns.py [RANDOM [SEED]] > tests/golden/tokenizer/patterns.json

"patterns": [pattern, text, matches], each match as [start, end] in bytes; null where the library has none to give (the
pattern does not compile, or a match reaches outside itself, at which the library panics). RANDOM (300) of them are made up.
"classes": [pattern, number of CHARACTERS it matches, FNV-1a over their code points as 32-bit words].
"forms": {form: [bytes, FNV-1a]} of all CHARACTERS normalised, alone and beside marks.
"""

import json
import random
import sys

from tokenizers import Regex, normalizers, pre_tokenizers

WRITTEN = {
    "12345 678 1234567.": [r"\p{N}{2}+", r"\p{N}{1,3}+", r"\p{N}{,2}", r"\d{2,}?", r"\d{3}?", r"(?:\d{2})++", r"\d{,1}+x?", r"\d{a}|\d", r"x{,2}1"],
    "if True:\r\n\t\tprint\n\n x": [r"(?m:.+)", r"(?m).+", r".+", r"(?s:.)+|x", r"^.", r".$", r"\A.", r".\z", r".\Z", r"\N+", r"\O+", r"\s*[\r\n]+|\s+(?!\S)|\s+", r"$"],
    "aab aabaa ab": [r"a++b", r"a*+a", r"(?>a*)ab", r"a+?b", r"(a)\1", r"(?<x>a)b\k<x>", r"(?<=a)b", r"(?<!a)b", r"(?<=a+)b", r"(?<=a|ab)\s", r"a\Kb", r"(?=aa\K)a", r"(?<=\Ka)b", r"a|(?<=\Ka)b", r"\Ga", r"a|", r"|a", r"a*", r"(?:a|b)*?", r"(?~ab)", r"(a)?(?(1)b|a)", r"(?<r>a\g<r>?b)", r"()", r"b\b", r"\Bb", r"a(?#note)b", r"(?x: a b )"],
    "Straße STRASSE ﬁn FIN ſ K ǰ ß ẞ ss Ss ﬀi": [r"(?i:strasse)", r"(?i:ß)", r"(?i:fi)", r"(?i:s)", r"(?i:k)", r"(?i:ss)", r"(?i:[ß])", r"(?i:[^ß]+)", r"(?i:ǰ)", r"(?i)s(?-i)S", r"(?i:[a-z]+)", r"(?i:\p{Lu}+)", r"(?i:[A-Z]s)", r"(?i:ffi)"],
    "'S'ſ'K don't WE'LL ’tis 'ſ": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"(?i:'s|k)", r"'(?i:[sdmt]|ll|ve|re)"],
    "[]a-z^]b&c[[": [r"[]a]+", r"[^]a]+", r"[a-z&&[^b]]+", r"[a-c[x-z]]+", r"[\[\]]+", r"[a\-z]+", r"[-a]+", r"[a-]+", r"[&&]", r"[a&&]", r"[^a-z&&[^c]]+", r"[[:alpha:]]+", r"[[:^alpha:]]+", r"[^[:alpha:]-]+", r"[[:punct:]]+", r"\p{Punct}+", r"[\w-]+", r"[[:word:]]+", r"[z-a]", r"[]", r"[[:foo:]]", r"\p{Foo}"],
    "a \u00a0\u3000b\u180ec\u200bd\x85e\u0301_a-\u24d0\u00bd\u2155\u200d": [r"\s+", r"\S+", r"[\s-]+", r"[^\S\n]+", r"\w+", r"[\w+]+", r"\W+", r"[\W]+", r"\h+", r"\H+", r"[\H]+", r"\p{^L}+", r"\P{L}+", r"[^\P{L}]+", r"\b", r"\B", r"[[:space:]]+", r"[[:blank:]]+", r"[[:graph:]]+", r"[[:print:]]+", r"\p{M}", r"[\p{L}\p{M}]+", r"\x{3000}", r"\u3000", r"[\x{2000}-\x{3000}]+", r"\xc2\x85", r"\x41|a"],
    "xBEEF\tg01 \u0663\u00b2\u2167": [r"\h+", r"\d+", r"\p{N}", r"\p{Nd}+", r"[[:xdigit:]]+", r"[[:digit:]]+", r"\t", r"\x09", r"\011", r"[\d\h]+", r"\cI|\C-i", r"\e|\a|\f|\v"],
    "你好 한국어 ひらがな カタカナ Привет γειά": [r"\p{Han}+", r"\p{Hangul}+", r"\p{Hiragana}+", r"\p{Katakana}+", r"\p{Cyrillic}+", r"\p{Greek}+", r"\p{latin}", r"\p{ Han }+", r"\p{hani}", r"[一-龥]+", r"[一-龥\u3040-\u309f\u30a0-\u30ff]+"],
}

# Patterns of models in use, over texts that hold all they look for.
USED = [
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    r""" ?[^(\s|[.,!?…。，、।۔،])]+""",
]
USED_TEXTS = ["The key is 1234567.\n\n  We'LL see: 한국어 naïve café\u0301 x²³ ½\t\t 'tis ", " \r\n\r\n  a.b,c!d…e。f 你好，世界 ١٢٣٤ Ⅷ e\u0301\u0327 #tag @me [x](y)\n"]

ATOMS = [*"aabb1 ", ".", r"\s", r"\w", r"\d", r"\p{L}", r"\p{N}", r"[ab]", r"[^a]", r"[^\s\p{L}]", r"[a1&&\w]", r"(?:a|b)", r"(?:ab|1)", r"(?i:B)", r"(?m:.)", r"(?>a+)", r"(a|1)", r"\n", "ß", "é", r"[[:alpha:]]"]
PLACES = ["", "", "", r"(?=a)", r"(?!b)", r"(?<=a)", r"(?<!b)", r"(?<=a|bb)", r"\b", r"\B", "^", "$", r"\K", r"\z"]  # nothing repeats these
REPEATS = ["", "", "", "*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{2}+", "{1,2}", "{,2}", "{1,}", "{1,2}?", "{,2}+", "{2}?"]

CLASSES = [r"\p{%s}" % p for p in "L Lu Ll Lt Lm Lo LC M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cn "
           "Any Assigned Alphabetic Uppercase Lowercase White_Space Punct Arabic Armenian Bengali Bopomofo Cyrillic Devanagari "
           "Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Myanmar Sinhala "
           "Tamil Telugu Thai Tibetan".split()]
CLASSES += ["[[:%s:]]" % c for c in "alpha alnum blank cntrl digit graph lower print punct space upper xdigit word ascii".split()]
CLASSES += [r"\w", r"[\w]", r"\W", r"[^\w]", r"\s", r"\S", r"[\S]", r"\d", r"\D", r"\h", r"[\h]", ".", r"[^\p{L}\p{N}]", r"[\p{L}&&\p{Latin}]", "Digits"]
# All but the large blocks of one kind, of which every 97th stands for the rest.
DULL = [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0x12500, 0x16000), (0x17000, 0x18CFF), (0x20000, 0x10FFFF)]
CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c % 97 == 0 or not any(a <= c <= b for a, b in DULL))]


def matches(pattern, text):
    # A splitter that keeps what is matched and drops the rest would also drop empty matches, which cut; so matches are what
    # is cut between, taken from the offsets of a splitter that drops what is matched.
    try:
        step = pre_tokenizers.Split(Regex(pattern), "removed")
        kept = [span for _, span in step.pre_tokenize_str(text)]
        step = pre_tokenizers.Split(Regex(pattern), "isolated")
        pieces = [span for _, span in step.pre_tokenize_str(text)]
    except BaseException as e:  # a PanicException is no Exception
        if type(e).__name__ not in ("Exception", "PanicException"):
            raise
        return None
    at = [len(text[:i].encode()) for i in range(len(text) + 1)]
    return [[[at[a], at[b]] for a, b in pieces], [[at[a], at[b]] for a, b in kept]]


def members(pattern):
    if pattern == "Digits":
        step = pre_tokenizers.Digits(individual_digits=False)
        return [c for c in CHARACTERS if len(step.pre_tokenize_str("a" + chr(c))) == 2]
    step = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return [ord(c) for i in range(0, len(CHARACTERS), 50000)
            for word, _ in step.pre_tokenize_str("".join(map(chr, CHARACTERS[i:i + 50000]))) for c in word]


def fnv(numbers):
    h = 0x811C9DC5
    for n in numbers:
        h = (h ^ n) * 0x01000193 & 0xFFFFFFFF
    return h


def main():
    count, seed = int(sys.argv[1]) if len(sys.argv) > 1 else 300, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng = random.Random(seed)
    cases = [(p, text) for text, patterns in WRITTEN.items() for p in patterns] + [(p, t) for p in USED for t in USED_TEXTS]
    for _ in range(count):
        alternatives = ["".join(rng.choice(PLACES) + rng.choice(ATOMS) + rng.choice(REPEATS) for _ in range(rng.randint(1, 4)))
                        for _ in range(rng.choice([1, 1, 2]))]
        text = "".join(rng.choice("aaabb11  \nßéSs") for _ in range(rng.randint(4, 14)))
        cases.append(("|".join(alternatives), text))
    rows = [[p, t, matches(p, t)] for p, t in cases]
    classes = []
    for pattern in CLASSES if count <= 1000 else []:
        found = members(pattern)
        classes.append([pattern, len(found), fnv(found)])
    text = "".join(f"{c} {c}\u0334 \u0345{c} " for c in map(chr, CHARACTERS))
    forms = {f: getattr(normalizers, f)().normalize_str(text).encode() for f in ("NFC", "NFD", "NFKC", "NFKD")}
    forms = json.dumps({f: [len(form), fnv(form)] for f, form in forms.items()})
    rows, classes = (",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in x) for x in (rows, classes))
    print('{"patterns": [\n' + rows + '\n],\n"classes": [\n' + classes + '\n],\n"forms": ' + forms + "}")


main()
