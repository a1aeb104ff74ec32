"""Both scores of tasks/score.h in Python, written from its words alone, and random answers to try them on.

    scorer.py N SEED     prints N lines {"format", "gold", "text", "strict", "reference", "parsed"}

tests/test_scoring.c scores the same answers and compares; reference null: left out of the mean. Standard library only:
str.lower(), string.punctuation, \\d and \\s are what is to be matched, so that Python itself is the judge of them.
"""
import collections, json, random, re, string, sys, unicodedata

ANY_CASE = re.IGNORECASE


def first(text, flags=ANY_CASE):
    found = re.search("<answer>(.*?)</answer>", text, re.DOTALL | flags)
    return found and found[1]


def last(text):
    inside, at, answer = False, 0, None
    for tag in re.finditer("</?answer>", text, ANY_CASE):
        if tag[0][1] != "/":
            inside, at = True, tag.end()
        elif inside:
            inside, answer = False, text[at:tag.start()]
    return answer


def both(text, untagged=None):
    """What strict and reference read; untagged: what the reference reads where there are no tags."""
    read = first(text)
    return last(text), text if read is None and untagged == "whole" else read


def iou(a, b):
    return len(a & b) / len(a | b) if a | b else 0.0


def single_spaces(text):
    return " ".join(text.split())


def item(text):
    return re.sub("^(the|an?) ", "", single_spaces(text.lower()))


def numbered(strict, reference, gold):
    """Pairs (number, answer) of each score, against gold answers counted from 1."""
    strict = strict if strict is not None else []
    heard = collections.defaultdict(set)
    for number, answer in strict:
        heard[number].add(answer)
    taken = {}
    for number, answer in reference if reference is not None else []:
        taken.setdefault(number, answer)
    right = sum(heard[i] == {g} for i, g in enumerate(gold, 1)) / len(gold)
    right_reference = sum(taken.get(i) == g for i, g in enumerate(gold, 1)) / len(gold)
    return right, right_reference, any(1 <= number <= len(gold) for number, _ in strict)


def pairs(gold, text):
    def read(part):
        pattern = r"(\d+)\.\s*the answer for\s+([\w-]+)\s+is:?\s+([^\n]+?)(?:\.|\n|\Z)"
        return part if part is None else [(int(n), (k, item_value(v))) for n, k, v in re.findall(pattern, part, ANY_CASE)]

    def item_value(value):
        return single_spaces(value.lower())

    strict, reference = both(text, "whole")
    return numbered(read(strict), read(reference), [(k, item_value(v)) for k, v in (g.split(":", 1) for g in gold)])


def names(gold, text):
    def read(part):
        return set() if part is None else set(single_spaces(part.upper()).replace("VAR ", "").split())

    strict, reference = (read(part) for part in both(text, "whole"))
    return iou(strict, set(gold)), iou(reference, set(gold)), bool(strict)


def words(gold, text):
    def read(part):
        found = set()
        for line in (part or "").split("\n"):
            row = re.match(r"\d+[.)-]?\s*(.+)", line.strip(), re.DOTALL)
            if row:
                found.add(row[1].lower())
        return found

    strict, reference = (read(part) for part in both(text))
    return iou(strict, set(gold)), iou(reference, set(gold)), bool(strict)


def answers(gold, text):
    def read(part):
        if part is None:
            return part
        rows = (re.match(r"(\d+)[.:)](.+)", line.strip(), re.DOTALL) for line in part.split("\n"))
        return [(int(row[1]), item(row[2])) for row in rows if row]

    strict, reference = both(text, "whole")
    return numbered(read(strict), read(reference), [item(g) for g in gold])


def one_item(gold, text):
    strict, reference = (item(part or "") for part in both(text))
    right = item(gold[0])
    return float(strict == right), float(reference == right) if reference else None, bool(strict)


def chapters(gold, text):
    def read(part):
        part = part or ""
        found = re.findall(r"chapter\s+(\d+)", part, ANY_CASE)
        if not found:
            found = re.sub(r"[^0-9,\s]", "", part).replace(",", " ").split()
        return set(map(int, found))

    strict, reference = (read(part) for part in both(text))
    right = set(map(int, gold))
    return iou(strict, right), iou(reference, right) if text.strip() else None, bool(strict)


def letters(gold, text):
    strict, reference = last(text), first(text, 0)
    choice = strict is not None and all(c in "abcdABCD" + string.punctuation or c.isspace() for c in strict)
    strict = [c for c in (strict or "").upper() if c in "ABCD"] if choice else []
    reference = [c for c in (reference or "").upper() if c in "ABCD"]
    return float(sorted(gold[0]) == sorted(strict)), float(sorted(gold[0]) == sorted(reference)), bool(strict)


def without(text, *articles):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(%s)\b" % "|".join(articles), " ", text).split()


def f1(common, a, b):
    return 2 * (common / a) * (common / b) / (common / a + common / b) if common else 0.0


def open_question(gold, text):
    def squad(answer, right):
        a, b = without(answer, "a", "an", "the"), without(right, "a", "an", "the")
        common = sum((collections.Counter(a) & collections.Counter(b)).values())
        return f1(common, len(a), len(b)) if a and b else float(a == b)

    def study(answer, right):
        a, b = (set(without(t, "a", "an", "the", "and", "or", "about", "to")) for t in (answer, right))
        return round(f1(len(a & b), len(a), len(b)), 2)

    strict, reference = last(text), first(text, 0)
    parsed = bool((strict or "").strip())
    return max(squad(strict, g) for g in gold) if parsed else 0.0, max(study(reference or "", g) for g in gold), parsed


def match_all(gold, text):
    score = sum(g.lower() in text.lower() for g in gold) / len(gold)
    return score, score, bool(text.strip())


def match_part(gold, text):
    score = float(any(g.lower() in text.lower() for g in gold))
    return score, score, bool(text.strip())


# ---- answers to score ------------------------------------------------------------------------------------------------

# Letters of every script that Unicode 3.2 knew, whose case has stayed the same since.
LETTERS = [c for c in map(chr, range(0x80, 0x11000)) if unicodedata.ucd_3_2_0.category(c)[0] in "LMN" and c not in "\u019b\u0264"]
SPACES = [" "] * 12 + ["  ", "\n", "\n", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\x1d", "\u2028"]
PIECES = ["the ", "a ", "An ", "VAR ", "Question 2. ", "and", "or", "Chapter ", "chapter\u00a0", "<answer>", "</answer>",
          "<Answer>", "</ANSWER>", "<an\u017fwer>", "</an\u017fwer>", "1. ", "2) ", "3: ", "4-", "10 ", "0", ".", ",", "'", "_",
          "The answer for ", " \u0131s ", " \u0130S: ", "(", "\u00df", "\u0130", "\u0131", "\u03a3", "\u03a3\u0301",
          "\u03a3.", "\u03a3\u03a3", "\u0391\u03a3'", "\ufb01", "\u1e9a", "\u01c5", "\u1f80", "\u0149", "\u00bd", "\u2460", "\U0001d7d9"]


def in_script(text, r):
    """ASCII digits as those of another script."""
    zero = ord(r.choice("\u0660\u06f0\u0966\u0e50\uff10\U0001d7ce\U0001d7f6"))
    return "".join(chr(zero + int(c)) if c in string.digits else c for c in text)


def spoil(text, r):
    for _ in range(r.choice([0, 0, 1, 1, 2, 3, 5])):
        at, what = r.randrange(len(text) + 1), r.randrange(8)
        if what < 3:
            text = text[:at] + r.choice(PIECES) + text[at:]
        elif what == 3:
            text = text[:at] + r.choice(LETTERS) + text[at:]
        elif what == 4:
            text = text[:at] + r.choice(SPACES) + text[at:]
        elif what == 5:
            text = text[:at] + text[at + r.randint(1, 8):]
        elif what == 6:
            text = text[:at] + r.choice([str.lower, str.upper, str.title, str.swapcase])(text[at:])
        else:
            text = text[:at] + in_script(text[at:], r)
    return text


NAMES = ["silver oak lantern", "Harbour Market", "Ada Brenner", "\u0130stanbul", "\u039f\u0394\u039f\u03a3", "the Old Mill",
         "Stra\u00dfe", "\u039f\u03b4\u03cc\u03c2 \u03c4\u03b7\u03c2 \u03a0\u03cc\u03bb\u03b7\u03c2", "na\u00efve caf\u00e9", "Lisbon Treaty",
         "the day and the night", "1957", "\u5317\u4eac", "don't", "U.S.", "IJsselmeer"]
VARIABLES = ["ABCDE", "FGHIJ", "KLMNO", "SSABC", "FIXYZ"]
LIST = ["apple", "river", "stone", "cloud", "mira\u010d"]


def rows(r, values, mark=". "):
    return "\n".join(f"{i}{mark}{v}" for i, v in enumerate(values, 1))


def some(r, values):
    return r.sample(values, r.randint(1, min(4, len(values))))


def case(name, r):
    """Gold answers, and the answer that a perfect model would give."""
    if name == "pairs":
        gold = [f"{k}: {v}" for k, v in zip(some(r, ["aa11-bb22", "ee55-ff66", "x_9", "k"]), ["cc33-dd44", "gg77", "7", "s"])]
        return gold, "\n".join("{}. The answer for {} is {}.".format(i, *g.split(": ")) for i, g in enumerate(gold, 1))
    if name == "names":
        gold = some(r, VARIABLES)
        return gold, " ".join(gold)
    if name == "words":
        gold = some(r, LIST)
        return gold, rows(r, gold, r.choice([". ", ") ", "- ", " ", "."]))
    if name == "numbered":
        gold = some(r, NAMES)
        return gold, rows(r, gold, r.choice([". ", ": ", ") ", "."]))
    if name == "item":
        gold = [r.choice(NAMES)]
        return gold, gold[0]
    if name == "chapters":
        gold = [str(n) for n in sorted(r.sample(range(1, 60), 3))]
        return gold, r.choice([", ".join(gold), " ".join(gold), ", ".join("Chapter " + g for g in gold), ",".join(gold)])
    if name == "letters":
        gold = ["".join(sorted(r.sample("ABCD", r.randint(1, 3))))]
        return gold, r.choice([gold[0], ", ".join(gold[0]), gold[0].lower(), "(" + gold[0] + ")", "The answer is " + gold[0]])
    gold = some(r, NAMES)
    return gold, r.choice(gold) if name != "match_all" else ", ".join(gold)


FORMATS = {"pairs": pairs, "names": names, "words": words, "numbered": answers, "item": one_item, "chapters": chapters,
           "letters": letters, "open": open_question, "match_all": match_all, "match_part": match_part}


def random_answer(name, r):
    gold, text = case(name, r)
    text = spoil(text, r)
    shape = r.randrange(10)
    if shape < 7:
        text = "<answer>" + r.choice(["", "\n", " "]) + text + r.choice(["", "\n"]) + "</answer>"
    elif shape == 7:
        text = "<answer>" + text
    if r.random() < 0.2:
        text = "Let me see." + r.choice(SPACES) + text
    if r.random() < 0.15:
        text += r.choice(["", "\n"]) + "<answer>" + spoil(case(name, r)[1], r) + "</answer>"
    if r.random() < 0.3:
        text = spoil(text, r)
    return gold, "" if r.random() < 0.02 else text


def main(n, seed):
    r = random.Random(seed)
    for i in range(n):
        name = list(FORMATS)[i % len(FORMATS)]
        gold, text = random_answer(name, r)
        strict, reference, parsed = FORMATS[name](gold, text)
        print(json.dumps({"format": name, "gold": gold, "text": text, "strict": float(strict),
                          "reference": reference if reference is None else float(reference), "parsed": parsed}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
