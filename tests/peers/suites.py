#!/usr/bin/env python3
"""The official scorers of the suites (tasks/suite_*.c) on made-up answers: what tests/test_suites.c holds ours against.

    suites.py CLONES N SEED [SUITE...] >answers.jsonl      N answers of each task's metric, with the official score
    build/tests/test_suites answers.jsonl                  scores the same

CLONES is a folder with clones of the suites' repositories, or where they are to be cloned to; each is read at the commit
below. tests/golden/tasks/suites.jsonl: N 40, SEED 1.
Python 3.11; rouge 1.0.1, fuzzywuzzy 0.18.0 (no python-Levenshtein: with it, fuzzywuzzy's ratio is another one), jieba 0.42.1,
which LongBench imports.
"""
import importlib.util, json, pathlib, random, subprocess, sys, warnings

warnings.filterwarnings("ignore")
REPOSITORIES = {
    "LongBench": ("https://github.com/THUDM/LongBench", "2e00731f8d0bff23dc4325161044d0ed8af94c1e"),
}
clones, count, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def module(repository, path):
    url, commit = REPOSITORIES[repository]
    folder = clones / repository
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", url, folder], check=True)
        subprocess.run(["git", "-C", folder, "checkout", "-q", commit], check=True)
    file = folder / path
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    made = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = made
    spec.loader.exec_module(made)
    sys.path.pop(0)
    return made


# ---- answers, right and wrong ------------------------------------------------------------------------------------------

WORDS = """the a an The river Mill of and ferry crossed 1848 3 17 12 quarry lantern teacher sold copper to market council Brindle
wrote letters that winter was not harbour's Ödön café naïve İstanbul ΣΟΦΟΣ straße 42nd x_y well-known don't U.S. it 3.5 yes no
unanswerable north-east Paragraph paragraphs answer is option: “quoted” (aside) 二十 ٣ ½ end-of-line""".split()


def sentence(r, most=12):
    words = [r.choice(WORDS) for _ in range(r.randint(1, most))]
    return "".join(w + r.choice([" "] * 12 + [". ", ", ", "\n", "  ", "! ", "\t", "\u3000", "."]) for w in words).strip()


def bent(r, text):
    """A text with a few things done to it."""
    for _ in range(r.randint(0, 3)):
        words = text.split(" ")
        kind = r.randrange(9)
        if kind == 0: r.shuffle(words)
        elif kind == 1: words = words[:r.randint(0, len(words))]
        elif kind == 2: words.insert(r.randint(0, len(words)), r.choice(WORDS))
        elif kind == 3: words = [w.upper() if r.random() < .3 else w for w in words]
        elif kind == 4: words = [w + r.choice(["", "", ".", ",", "\n", "!"]) for w in words]
        elif kind == 5: words = words + words[:3]
        elif kind == 6: words = sentence(r, 4).split(" ") + words
        elif kind == 7 and len(text) > 3: words = (text[:2] + r.choice("xé \n.") + text[3:]).split(" ")
        else: words = [w for w in words if r.random() < .8]
        text = " ".join(words)
    return text


def answer(r, gold):
    kind = r.randrange(12)
    if kind == 0: return r.choice(["", " ", "\n", ".", "...", " . ", "\n\n", "the", "a."])
    if kind == 1: return sentence(r)
    if kind == 2: return r.choice(["", "\n", "\n\n", " ", "Answer: ", "The answer is ", "# "]) + gold
    if kind == 3: return gold + r.choice(["\n", ".", "\nQuestion: ", ". "]) + sentence(r)
    return bent(r, gold)


def golds(r):
    return [bent(r, sentence(r, 8)).strip() or "x" for _ in range(r.choice([1, 1, 1, 2, 3]))]


# ---- LongBench ---------------------------------------------------------------------------------------------------------

CLASSES = ["Food", "Dog food", "Food for dogs", "Date", "Other location", "location", "Number", "Other number", "or", "City", "Code (U.S.)"]
CODE = ["    return self.name", "for (int i = 0; i < n; i++) {", "import os", "x = foo(bar, 1)  # why", "}", "", "if not `x`:", "// a comment",
        "        raise ValueError('no such lantern: %s' % name)", "const char *s = \"naïve\";", "self.assertEqual(a, b)" * 12]


def longbench(r):
    official = module("LongBench", "LongBench/metrics.py")
    tasks = {"longbench_qasper": official.qa_f1_score, "longbench_triviaqa": official.qa_f1_score,
             "longbench_gov_report": official.rouge_score, "longbench_samsum": official.rouge_score,
             "longbench_trec": official.classification_score, "longbench_passage_count": official.count_score,
             "longbench_passage_retrieval_en": official.retrieval_score, "longbench_lcc": official.code_sim_score}
    for task, metric in tasks.items():
        for _ in range(count):
            gold, classes = golds(r), None
            if task == "longbench_trec":
                gold, classes = [r.choice(CLASSES)], r.sample(CLASSES, len(CLASSES))
                text = "".join(r.choice(["", "Type: ", ", ", "\n"]) + (c if r.random() < .9 else c.lower()) for c in r.choices(CLASSES, k=r.randint(0, 4)))
            elif task == "longbench_passage_count":
                gold = [str(r.randint(1, 20))]
                text = answer(r, " ".join(r.choice([gold[0], "7", "1" + gold[0], "٣", "of"]) for _ in range(r.randint(1, 4))))
            elif task == "longbench_passage_retrieval_en":
                gold = [f"Paragraph {r.randint(1, 30)}"]
                text = answer(r, r.choice([gold[0], gold[0], f"Paragraph {r.randint(1, 30)}", gold[0] + " of 30"]))
            elif task == "longbench_lcc":
                gold = [r.choice(CODE).rstrip("\n") or "pass"]
                lines = [r.choice(CODE + ["```python", "# " + r.choice(CODE)]) for _ in range(r.randint(0, 3))]
                line = gold[0] if r.random() < .3 else "".join(c for c in gold[0] if r.random() < .9) if r.random() < .6 else r.choice(CODE)
                lines.insert(r.randint(0, len(lines)), line)
                text = "\n".join(lines)
            else:
                text = answer(r, r.choice(gold))
            read = text.lstrip("\n").split("\n")[0] if task[10:] in ["trec", "triviaqa", "samsum", "lsht"] else text  # eval.py
            score = 0.
            for g in gold:
                score = max(score, metric(read, g, all_classes=classes))
            yield task, gold, "\n".join(classes) if classes else None, text, score


SUITES = {"longbench": longbench}
for name in sys.argv[4:] or SUITES:
    for task, gold, aside, text, score in SUITES[name](random.Random(f"{name} {seed}")):
        row = {"task": task, "gold": gold, "text": text, "score": float(score)}
        if aside is not None: row["aside"] = aside
        print(json.dumps(row, ensure_ascii=False))
