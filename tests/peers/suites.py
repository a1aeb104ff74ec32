#!/usr/bin/env python3
"""The official scorers of the suites (tasks/suite_*.c) on made-up answers: what tests/test_suites.c holds ours against.

    suites.py CLONES N SEED [SUITE...] >answers.jsonl      N answers of each task's metric, with the official score
    build/tests/test_suites answers.jsonl                  scores the same

CLONES is a folder with clones of the suites' repositories, or where they are to be cloned to; each is read at the commit
below. tests/golden/tasks/suites/: longbench with N 40, longbench_v2 200,
infinitebench 30, babilong 15, nolima and mrcr 200, scbench 20, helmet 100, SEED 1.
Python 3.11; rouge 1.0.1, fuzzywuzzy 0.18.0 (no python-Levenshtein: with it, fuzzywuzzy's ratio is another one), jieba 0.42.1,
which LongBench imports; rouge_score 0.1.2, which Hugging Face's `evaluate` calls.
"""
import ast, collections, difflib, importlib.util, json, pathlib, random, re, string, subprocess, sys, types, warnings

warnings.filterwarnings("ignore")
REPOSITORIES = {
    "LongBench": ("https://github.com/THUDM/LongBench", "2e00731f8d0bff23dc4325161044d0ed8af94c1e"),
    "HELMET": ("https://github.com/princeton-nlp/HELMET", "4526dfbdc512bd9ff721da336bff4e3e75ecfd27"),
    "NoLiMa": ("https://github.com/adobe-research/NoLiMa", "7532e4eebf095c5540dc256900a63968da58a9d0"),
    "MInference": ("https://github.com/microsoft/MInference", "fb56c917f618e8645f1cfc37535afd7424d78f0d"),
    "babilong": ("https://github.com/booydar/babilong", "7a6efee29f5cac03c3c410e6799c80fd2ffe3610"),
    "InfiniteBench": ("https://github.com/OpenBMB/InfiniteBench", "88b3daa6989da2fbe0077170d7a3c84c25d5ae58"),
}
clones, count, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def source_of(repository, path):
    url, commit = REPOSITORIES[repository]
    folder = clones / repository
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", url, folder], check=True)
        subprocess.run(["git", "-C", folder, "checkout", "-q", commit], check=True)
    return folder / path


def module(repository, path):
    file = source_of(repository, path)
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    made = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = made
    spec.loader.exec_module(made)
    sys.path.pop(0)
    return made


def functions(repository, path, *names):
    """Some functions of a file that imports what is not needed for them."""
    tree = ast.parse(source_of(repository, path).read_text())
    tree.body = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    for node in tree.body: node.returns, node.decorator_list = None, []
    space = {"re": re, "string": string, "Counter": collections.Counter}
    exec(compile(tree, path, "exec"), space)
    return [space[name] for name in names]


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


# ---- LongBench v2 ------------------------------------------------------------------------------------------------------

def longbench_v2(r):
    extract, = functions("LongBench", "pred.py", "extract_answer")
    for _ in range(count):
        gold, said = r.choice("ABCD"), r.choice("ABCDABCDE")
        text = r.choice(["The correct answer is ({})", "The correct answer is {}", "**The correct answer is ({})**.", "the correct answer is ({})",
                         "The *correct* answer is {}.", "The correct answer is: {}", "({})", "{}", "The correct answer is (A or {})",
                         "The correct answer is A. No: The correct answer is ({})", "The correct answer is  ({})", "The correct answer is ({}", ""])
        text = r.choice(["", "\n", sentence(r) + " "]) + text.format(said) + r.choice(["", ".", "\n" + sentence(r)])
        yield "longbench_v2", [gold], None, text, extract(text.strip()) == gold


# ---- InfiniteBench -----------------------------------------------------------------------------------------------------

class Rouge:
    """What `evaluate` does for this metric."""
    def compute(self, predictions, references, use_aggregator):
        from rouge_score import rouge_scorer
        assert not use_aggregator
        scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=False)
        return {"rougeLsum": [scorer.score(g, p)["rougeLsum"].fmeasure for g, p in zip(references, predictions)]}


def infinitebench(r):
    sys.modules["evaluate"] = types.SimpleNamespace(load=lambda name: Rouge())
    sys.modules.pop("args", None)
    official = module("InfiniteBench", "src/compute_scores.py")
    names = ["ACE", "NICKY", "Remo", "MARY ANN", "O'BRIEN", "STRASSE"]
    functions_named = ["repack_carchive", "Configer._set_option", "A", "option_value"]
    digits = lambda n: "".join(r.choice("0123456789") for _ in range(n))
    tasks = ["passkey", "number_string", "kv_retrieval", "longbook_sum_eng", "longbook_choice_eng", "longbook_qa_eng", "longdialogue_qa_eng",
             "math_find", "math_calc", "code_run", "code_debug"]
    for task in tasks:
        for _ in range(count):
            label = None
            if task in ["passkey", "number_string"]:
                gold = [digits(5 if task == "passkey" else 10)]
                label, said = gold[0], r.choice([gold[0], gold[0], digits(5), gold[0] + "1", " 00" + gold[0], "٣" + gold[0]])
                text = r.choice(["", " ", "It is ", "The number is 1. ", "\n"]) + said + r.choice(["", ".", " and 5", sentence(r)])
            elif task == "kv_retrieval":
                gold = [f"{digits(4)}-{digits(3)}a"]
                label, said = gold[0], r.choice([gold[0], gold[0], gold[0].upper(), digits(4)])
                text = r.choice(["", '"', "Value: ", "{'", "It is "]) + said + r.choice(["", '"}', ".", "x", "\n" + sentence(r), " ", "!"])
            elif task == "longbook_sum_eng":
                gold = ["\n".join(sentence(r) for _ in range(r.randint(1, 4)))]
                label, text = gold[0], r.choice([answer(r, gold[0]), "\n".join(bent(r, s) for s in r.sample(gold[0].split("\n"), len(gold[0].split("\n"))))])
            elif task == "longbook_choice_eng":
                gold = [r.choice(["Walking Georgie", "Snowfield", "Be kind", "copper"]), r.choice("ABCD")]
                said = r.choice(["A", "B", "C", "D", gold[1], gold[1], gold[0], gold[0].lower(), "AB", "E", "CD"])
                text = r.choice(["", "The answer is: ", "answer:", "I think the answer is ", "My option is ", "(", "In it, answer is: ", "the\nanswer  is:\n"]) \
                    + said + r.choice(["", ".", ") " + gold[0], "\n", ", I think B", " " + sentence(r)])
                if r.random() < .1: text = r.choice(["the answer is:", "answer:", "  ", "E. answer is: ", "é"])
            elif task == "longbook_qa_eng":
                gold = golds(r)
                text = answer(r, r.choice(gold))
            elif task == "longdialogue_qa_eng":
                gold = [r.choice(names)]
                text = r.choice(["", "It is ", "\n", '"', "The character: "]) + r.choice([gold[0], gold[0].lower(), r.choice(names), "straße"]) + r.choice(["", ".", "\n" + sentence(r), "'s", "-"])
            elif task == "math_find":
                label = r.choice([r.randint(0, 99), -r.randint(1, 9), r.randint(1, 99) + .5, 12.0])
                gold = [json.dumps(label)]
                text = r.choice(["", "The number is ", "-", "[", "x."]) + r.choice([gold[0], gold[0], "0" + gold[0], gold[0] + ".5", "٣", str(r.randint(0, 99)), "", "12.", "1.2.3", ".5"]) + r.choice(["", ".", " ", ", 3", ".\n"])
            elif task == "math_calc":
                label = [r.randint(-3, 99) if r.random() < .2 else r.randint(0, 99) for _ in range(r.randint(1, 8))]
                gold = [" ".join(map(str, label))]
                said = [v if r.random() < .85 else r.randint(0, 99) for v in label][:r.choice([9, 9, 3])]
                text = r.choice(["", "Values: "]) + r.choice([str(said), " ".join(map(str, said)), ",0".join(map(str, said))]) + r.choice(["", " 5", "."])
            elif task == "code_run":
                label = r.choice([r.randint(-9, 30), r.randint(100, 1000), 0])
                gold = [str(label)]
                text = r.choice(["", "It returns ", "The return value is: ", "5 "]) + r.choice([gold[0], gold[0], f"`{label}`", f"+{label}", f"0{label}", "1_0", "1__0", "٣", f"-0", str(r.randint(-9, 30)), f"{label}.0"]) \
                    + r.choice(["", ".", "\n", " ", "'", " or so"])
            else:
                gold = [r.choice(functions_named), r.choice("ABCD")]
                said = r.choice([gold[1], gold[1], gold[1] + ".", gold[0], r.choice("ABCD") + ":", r.choice(functions_named)])
                text = r.choice(["", "The correct option is:", "The correct option is: ", "answer: ", "The answer is:\n", "Answer is: **", "is: ", "Option ", "\n\n    ", "I inspect. answer is:"]) + said + r.choice(["", ".", "\n", " " + sentence(r)])
            try:
                score = official.get_score_one(text, gold if label is None else label, task, "yarn-mistral")
            except ValueError:  # a decimal number where a whole one is asked for
                score = 0.
            yield "infinitebench_" + task, gold, None, text, score


# ---- BABILong ----------------------------------------------------------------------------------------------------------

def babilong(r):
    official = module("babilong", "babilong/metrics.py")
    for task, labels in official.TASK_LABELS.items():
        for _ in range(count):
            target = r.choice(labels)
            if task == "qa8" and r.random() < .4: target = ",".join(r.sample(labels, 2))
            question = r.choice(["Where is Mary? ", "What is John carrying?", f"Where was the apple before the {r.choice(labels)}?", f"Is {r.choice(labels)} there?"])
            said = r.choice([target, target, target.upper(), target.replace(",", " and "), r.choice(labels), " ".join(r.sample(labels, 2))])
            text = r.choice(["", "\n", "The most recent location of Mary is ", "<example>", "Answer: ", "It is. ", f"The {r.choice(labels)} or the "]) + said \
                + r.choice(["", ".", f". Not {r.choice(labels)}", f"\n{r.choice(labels)}", " <context> " + r.choice(labels), "<EXAMPLE>" + r.choice(labels), "\nQuestion: Where is the apple"])
            yield "babilong_" + task, [target], question, text, official.compare_answers(target, text, question, labels)


# ---- NoLiMa ------------------------------------------------------------------------------------------------------------

def nolima(r):
    evaluate, = functions("NoLiMa", "evaluation/async_evaluate.py", "_evaluate_response")
    names = ["Yuki", "Stuart", "Katie", "Veronica", "Gary", "Megan"]
    for _ in range(count):
        gold = r.sample(names, r.choice([1, 1, 2]))
        text = r.choice(["", " ", "The answer is ", "\n"]) + r.choice([gold[0], gold[-1], gold[0].lower(), r.choice(names), gold[0][:-1], ""]) + r.choice(["", ".", "'s", "\n" + sentence(r)])
        yield "nolima", gold, None, text, evaluate(types.SimpleNamespace(metric="contains", gold_answers=gold), text)


# ---- MRCR --------------------------------------------------------------------------------------------------------------

def mrcr(r):
    """Its data card has no repository: the ratio of difflib behind what the answer must begin with, else 0."""
    for _ in range(count):
        begin = "".join(r.choices("abcXYZ019", k=r.choice([10, 10, 3])))
        answer = "\n".join(sentence(r, 30) for _ in range(r.choice([1, 2, 8])))
        said = answer
        for _ in range(r.randint(0, 6)):
            a, b = sorted(r.choices(range(len(said) + 1), k=2))
            said = r.choice([said[:a] + said[b:], said[:a] + sentence(r, 5) + said[a:], said[:a] + said[a:b] * 2 + said[b:], said[b:] + said[:b], said[:a] + said[a:b].upper() + said[b:]]) if len(said) < 3000 else said
        text = r.choice([begin] * 6 + ["", " " + begin, begin[:-1]]) + r.choice([said, said, " " + said, sentence(r, 40), ""])
        if not text.strip(): text = "x"
        score = difflib.SequenceMatcher(None, text.removeprefix(begin), answer).ratio() if text.startswith(begin) else 0
        yield "mrcr", [begin + answer], begin, text, score


# ---- SCBench -----------------------------------------------------------------------------------------------------------

def scbench(r):
    sys.modules["evaluate"] = types.SimpleNamespace(load=lambda name: Rouge())
    sys.modules["repo_qa_utils"] = types.SimpleNamespace(compute_score=None)
    sys.modules["args"] = types.SimpleNamespace(parse_args=None)
    sys.modules.pop("compute_scores", None)
    official = module("MInference", "scbench/compute_scores.py")
    names = official.Multiturnbench_to_Infinitebench
    for task in ["kv", "kv_hard", "kv_compressible", "prefix_suffix", "hashhop", "choice_eng", "qa_eng", "many_shot", "passkey", "summary", "vt"]:
        name = names.get("scbench_" + task, "scbench_" + task)
        for _ in range(count):
            if task in ["kv", "kv_hard", "kv_compressible", "prefix_suffix", "hashhop", "passkey"]:
                gold = ["".join(r.choices("0123456789", k=5))] if task == "passkey" else ["".join(r.choices("abc-019", k=8))]
                label, text = gold[0], r.choice(["", "It is ", '{"', "7 "]) + r.choice([gold[0], gold[0], gold[0].upper(), gold[0][:-1], sentence(r)]) + r.choice(["", ".", "x", "\n"])
            elif task == "choice_eng":
                gold = [r.choice("ABCD")]
                label, text = gold[0], r.choice(["", "The answer is: ", "answer:", "(", "It is ", "option is B. "]) + r.choice(["A", "B", "C", "D", gold[0], "BC", "E"]) + r.choice(["", ".", ") x", "\n"])
            elif task in ["qa_eng", "many_shot"]:
                label = golds(r) if r.random() < .7 else "".join(r.choices("xyzQ7", k=r.randint(1, 2)))
                gold = list(label)
                text = answer(r, r.choice(gold))
            elif task == "summary":
                gold = ["\n".join(sentence(r) for _ in range(r.randint(1, 4)))]
                label, text = gold[0], answer(r, gold[0])
            else:
                gold = label = r.sample(["VRMXZ", "ABCDE", "OPQRS", "LMNOP", "XYZZY", "AAAAA", "BCDEF"], r.randint(1, 7))
                text = " ".join(w if r.random() < .8 else w.lower() for w in r.sample(gold, r.randint(0, len(gold)))) + r.choice(["", ".", " and VAR"])
            yield "scbench_" + task, gold, None, text, official.get_score_one(text, label, name, "")


# ---- HELMET ------------------------------------------------------------------------------------------------------------

def helmet(r):
    """Of all that its code measures, what it publishes: substring_exact_match and ruler_recall, behind the answer's beginning."""
    best, substring, _, parse = functions("HELMET", "utils.py", "drqa_metric_max_over_ground_truths", "substring_exact_match_score", "normalize_answer", "parse_output")
    official = {}
    exec("import re\n" + re.search(r"    def post_process\(output, example\):\n        # we don't do any parsing.*?return mets, [^\n]*\n",
                                   source_of("HELMET", "data.py").read_text(), re.S)[0].replace("\n    ", "\n").strip(), official)
    for _ in range(count):
        gold, begin = ["".join(r.choices("abc-019", k=8)) for _ in range(r.choice([1, 1, 2]))], "Corresponding value:"
        if r.random() < .3: gold = [r.choice(["value", "The " + gold[0], gold[0].upper() + "!"])]
        text = r.choice(["", " ", "\n", " Corresponding value: "]) + r.choice([gold[0], gold[-1], gold[0].upper(), gold[0][:-1], sentence(r)]) + r.choice(["", ".", "\nKey: x", " a b"])
        whole = begin + text
        yield "helmet_json_kv", gold, begin, text, max(best(substring, whole, gold), best(substring, parse(whole, "corresponding value:"), gold))
    for _ in range(count):
        gold, begin = [str(r.randint(1000, 9999)) for _ in range(r.choice([1, 4]))], f"The numbers for {r.randint(1000, 9999)} are"
        text = r.choice(["", " ", "\n"]) + ", ".join(r.sample(gold + ["1234"], r.randint(0, len(gold)))) + r.choice([".", "", " and"])
        yield "helmet_ruler_niah_mv", gold, begin, text or "x", official["post_process"]({"output": begin + (text or "x")}, {"answer": gold})[0]["ruler_recall"]
    for _ in range(2 * count):
        gold = golds(r)
        text = r.choice(["", " ", " Answer: ", "\n\nAnswer: the "]) + answer(r, r.choice(gold)) + r.choice(["", ".", "\n\nQuestion: who owns the mill?\nAnswer: " + sentence(r, 3)])
        if not text.strip(): text = "x"
        whole = "Answer:" + text
        yield "helmet_kilt_nq", gold, "Answer:", text, max(best(substring, whole, gold), best(substring, parse(whole), gold))


SUITES = {"longbench": longbench, "longbench_v2": longbench_v2, "infinitebench": infinitebench, "babilong": babilong, "nolima": nolima,
          "mrcr": mrcr, "scbench": scbench, "helmet": helmet}
for name in sys.argv[4:] or SUITES:
    for task, gold, aside, text, score in SUITES[name](random.Random(f"{name} {seed}")):
        row = {"task": task, "gold": gold, "text": text, "score": float(score)}
        if aside is not None: row["aside"] = aside
        print(json.dumps(row, ensure_ascii=False))
