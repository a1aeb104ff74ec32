#!/usr/bin/env python3
"""The prompts that HELMET's load_qa makes of made-up rows: which examples it draws, and how it writes them. tests/test_suites.c holds
tasks/suite_helmet.c against them.

    suite_examples.py CLONE WORDS FOLDER                  rows, examples and prompts of three data sets into FOLDER
    build/tests/test_suites FOLDER WORDS                  makes the same prompts, or says which it does not

CLONE is a clone of https://github.com/princeton-nlp/HELMET at 4526dfb, WORDS a file with load_qa's templates: CLONE/data.py, or a
made-up one. tests/golden/tasks/suites/rag is of WORDS tests/suites/helmet.py. Python 3.11, datasets 5.2.0, numpy 2.4.6.
"""
import ast, copy, hashlib, json, math, pathlib, random, sys

import datasets

clone, words, folder = map(pathlib.Path, sys.argv[1:4])
datasets.disable_progress_bars()


def function(path, name):
    return next(n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and n.name == name)


def templates(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant) and n.targets[0].id.endswith("_template")]


# The official code, with the words of WORDS.
load, drop = function(clone / "data.py", "load_qa"), function(clone / "data.py", "drop_duplicates")
mine = {}
for node in templates(function(words, "load_qa")): mine.setdefault(node.targets[0].id, []).append(node.value)
for node in templates(load): node.value = mine[node.targets[0].id].pop(0)
space = {"load_dataset": datasets.load_dataset, "hashlib": hashlib, "math": math, "random": random, "json": json}
exec(compile(ast.fix_missing_locations(ast.Module([drop, load], [])), "data.py", "exec"), space)

r = random.Random(8)
names = [f"{a} {b}" for a in ["Mill", "Ödön's {quay}", "Ferry", "The \"Lantern\""] for b in ["Hill", "Bridge", "東京", "Lane"]]


def row(i, kind, documents):
    made = {"question": f"who owns {r.choice(names)} {i}?", "answers": r.sample(names, r.randint(1, 2)),
            "ctxs": [{"title": r.choice(names), "text": f"{r.choice(names)} is no. {r.randint(1, 99)}.", "has_answer": False} for _ in range(documents)]}
    if kind == "hotpotqa": made["id"] = f"5a{i:03x}"
    if kind == "popqa_3": made |= {"id": 4000 + 7 * i, "s_pop": r.choice([1, 30, 999, 1000, 25000])}
    return made


folder.mkdir(parents=True, exist_ok=True)
for kind in ["nq", "hotpotqa", "popqa_3"]:
    rows = [row(i, kind, r.randint(0, 3)) for i in range(12)]
    demos = [copy.deepcopy(r.choice(rows)) if kind == "popqa_3" and i < 6 else row(50 + i // 2, kind, 1) for i in range(16)]
    if kind == "nq":
        for i in range(1, 16, 2): demos[i]["question"] = demos[i - 1]["question"]  # the same one twice, with other documents
    for name, content in [("rows", rows), ("demos", demos)]:
        (folder / f"{kind}_{name}.jsonl").write_text("".join(json.dumps(c, ensure_ascii=False) + "\n" for c in content))
    data = space["load_qa"]("kilt_" + kind, str(folder / f"{kind}_rows.jsonl"), str(folder / f"{kind}_demos.jsonl"),
                            popularity_threshold=3. if kind == "popqa_3" else None, shots=2)
    (folder / f"{kind}_prompts.jsonl").write_text("".join(json.dumps(data["prompt_template"].format(**s), ensure_ascii=False) + "\n" for s in data["data"]))
    print(kind, len(data["data"]), "prompts")
