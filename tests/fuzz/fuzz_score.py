"""Seeds: random answers of tests/golden/tasks/scorer.py, with their format and what is expected."""
import os, random, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/tasks"))
import scorer

r = random.Random(1)
for i in range(200):
    kind = i % len(scorer.FORMATS)
    gold, text = scorer.random_answer(list(scorer.FORMATS)[kind], r)
    with open(f"{sys.argv[1]}/seed{i}", "wb") as f:
        f.write(bytes([kind]) + b"".join(g.encode() + b"\0" for g in gold[:4]) + text.encode())
