"""Writes squad_pairs.json: 500 random pairs of answers with SQuAD's normalisation of the first, F1 and exact match.

The algorithm is the one that SQuAD documents (evaluate-v2.0): lower case, ASCII punctuation removed, the words a, an and
the removed, white space made single; F1 over bags of words; an empty side is right only if both are.
"""
import collections, json, os, random, re, string


def normalise(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(prediction, gold):
    p, g = normalise(prediction).split(), normalise(gold).split()
    if not p or not g:
        return float(p == g)
    common = sum((collections.Counter(p) & collections.Counter(g)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(p), common / len(g)
    return 2 * precision * recall / (precision + recall)


words = ["the", "The", "a", "An", "treaty", "Treaty", "of", "Lisbon", "1957", "3.5", "million", "café", "Café", "naïve", "NAÏVE",
         "co-operate", "U.S.", "an", "theatre", "and", "New", "York", "city", "Köln", "北京", "Ω", "x²", "a²", "Ⅻ", "don't", "AN",
         "a\u0301", "the\u2019s", "the\u2014end", "«a»", "É", "ñandú"]
spaces = [" ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u2003", "\u3000", "\x1d"]
marks = ["", "", "", "", ".", ",", "!", "?", "\"", "'", "(", ")", "-", "_", "…", "“"]


def text(random, n):
    return "".join(random.choice(marks) + random.choice(words) + random.choice(marks) + random.choice(spaces) for _ in range(n))


def main():
    r = random.Random(43)
    rows = []
    for i in range(500):
        gold = text(r, r.randint(0, 6))
        prediction = text(r, r.randint(0, 7)) if i % 3 else " ".join(r.sample(gold.split(), len(gold.split())))
        if i % 10 == 0:
            prediction = gold.upper()
        rows.append([prediction, gold, normalise(prediction), f1(prediction, gold), float(normalise(prediction) == normalise(gold))])
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "squad_pairs.json"), "w") as f:
        f.write("[" + ",\n".join(json.dumps(row) for row in rows) + "]\n")


if __name__ == "__main__":
    main()
