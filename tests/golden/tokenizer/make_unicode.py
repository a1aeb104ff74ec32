"""Writes harness/model/unicode_tables.h: what each character is, as the `tokenizers` library sees it.

    pip install tokenizers==0.23.3 regex
    python3 tests/golden/tokenizer/make_unicode.py > harness/model/unicode_tables.h

Categories, scripts and the characters that only count as letters, upper or lower case are asked of the library's own
pattern engine, one character at a time, for every character there is. What it normalises is asked likewise; the `regex`
package (Unicode 17) only says which characters could be touched by a normalisation at all.
"""

import regex
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co".split()
SCRIPTS = "Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew " \
          "Hiragana Kannada Katakana Khmer Lao Latin Malayalam Myanmar Sinhala Tamil Telugu Thai Tibetan".split()
CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def members(pattern):
    """The characters that a pattern of one character matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found = set()
    for i in range(0, len(CHARACTERS), 50000):
        for word, _ in split.pre_tokenize_str("".join(map(chr, CHARACTERS[i:i + 50000]))):
            found.update(map(ord, word))
    return found


def ranges(characters):
    out = []
    for c in sorted(characters):
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def runs(category):
    """(first character, category) wherever it changes; Lu and Ll in turn are one run, "LU_LL" or "LL_LU"."""
    out = []
    c = 0
    while c < 0x110000:
        end = c
        while end < 0x110000 and category[end] == category[c]:
            end += 1
        name = category[c].upper()
        if end == c + 1 and category[c] in ("Lu", "Ll"):
            while end < 0x110000 and {category[end], category[end - 1]} == {"Lu", "Ll"}:
                end += 1
            if end > c + 1 and category.get(end) == category[end - 1]:
                end -= 1  # it begins a run of its own
            if end > c + 2:
                name = "LU_LL" if category[c] == "Lu" else "LL_LU"
            else:
                end = c + 1
        out.append((c, name))
        c = end
    return out


def rows(items, width=120):
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > width:
            print(line)
            line = "   "
        line += " " + item + ","
    print(line)


def table(name, characters):
    print(f"static const sf_range {name}[] = {{")
    rows("{0x%x, 0x%x}" % tuple(r) for r in ranges(characters))
    print("};\n")


def digits():
    """What the Digits step, which asks Rust's char::is_numeric, takes for a digit."""
    step = pre_tokenizers.Digits(individual_digits=False)
    return {c for c in CHARACTERS if len(step.pre_tokenize_str("a" + chr(c))) == 2}


def inert():
    """What today's normalisation would touch, and the library's leaves alone since its tables are older."""
    forms = [getattr(normalizers, f)() for f in ("NFC", "NFD", "NFKC", "NFKD")]
    touched = regex.compile(r"[^\p{ccc=0}]|\p{NFKD_QC=N}|\p{NFC_QC=N}|\p{NFC_QC=M}")
    out = set()
    for c in CHARACTERS:
        if not touched.match(chr(c)):
            continue
        x = chr(c)  # between marks of the least and the highest class that give way to any other
        probes = [x, "\u0345" + x, x + "\u0334", *(first + x for first in pairs.get(x, ()))]
        if all(f.normalize_str(p) == p for f in forms for p in probes):
            out.add(c)
    return out


def composing():
    """Second characters of the pairs that compose, each with its first ones."""
    out = {}
    for c in CHARACTERS:
        parts = normalizers.NFD().normalize_str(chr(c))
        if len(parts) == 2 or 0xAC00 <= c < 0xD7A4:
            out.setdefault(parts[-1], []).append(normalizers.NFC().normalize_str(parts[:-1]))
    return {second: firsts[:4] for second, firsts in out.items()}


def main():
    global pairs
    category = {c: "Cs" for c in range(0xD800, 0xE000)}
    by_name = {k: members(r"\p{%s}" % k) for k in CATEGORIES if k != "Cs"}
    for k, characters in by_name.items():
        category.update((c, k) for c in characters)
    assert len(category) == 0x110000
    all_of = lambda *names: set().union(*(by_name[n] for n in names))

    print("/* Written by tests/golden/tokenizer/make_unicode.py from tokenizers 0.23.3 (Oniguruma 6.9.10: Unicode 16.0); see")
    print(" * unicode.h. Not to be edited. */")
    print("static const struct { uint32_t first; uint8_t category; } RUN[] = {")
    rows("{0x%x, %s}" % run for run in runs(category))
    print("};\n")
    print("/* Alphabetic, Uppercase, Lowercase beyond their categories. */")
    table("OTHER_ALPHABETIC", members(r"\p{Alphabetic}") - all_of("Lu", "Ll", "Lt", "Lm", "Lo", "Nl"))
    table("OTHER_UPPERCASE", members(r"\p{Uppercase}") - by_name["Lu"])
    table("OTHER_LOWERCASE", members(r"\p{Lowercase}") - by_name["Ll"])
    later = set(range(0x11DE0, 0x11DEA)) | set(range(0x16FF4, 0x16FF7))  # SF_DIGITS_PATTERN of tokenizer_split.h
    assert digits() == all_of("Nd", "Nl", "No") | later
    print("/* Came after Unicode 9: the library's normalisation leaves them as they are. */")
    pairs = composing()
    table("NOT_NORMALISED", inert() - by_name["Cn"])
    for script in SCRIPTS:
        table("SCRIPT_" + script.upper(), members(r"\p{%s}" % script))


main()
