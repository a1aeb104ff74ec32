"""Seeds for fuzz_suite: one row that every task reads something of, beside the words that tests/suites has. Usage: fuzz_suite.py FOLDER"""
import glob
import json
import sys

TASKS, RULER = 96, 7
turn = {"input": "Which?", "question": "Which?", "answer": "Ann", "options": ["Ann", "Lee", "Kim", "Bo"]}
row = {"id": 7, "_id": "7", "input": "The largest number of func_1(2)? ", "context": "Ann was here. [3, 9] It is 7.", "content": "Ann was here.",
       "question": "Who?", "query": "mill", "answer": "Ann", "answers": ["Ann", "Paragraph 7"], "outputs": ["7"], "target": "apple,milk",
       "all_classes": ["Ann", "Food"], "options": ["Ann", "Lee", "Kim", "Bo"], "choice_A": "one", "choice_B": "two", "choice_C": "three",
       "choice_D": "four", "type_needle_v": "numbers", "demos": [["c", "d"], ["e", "f"], ["g", "h"]], "multi_turns": [turn, turn],
       "ctxs": [{"id": "9", "title": "A", "text": "Ann was."}], "num_kvs": 1, "s_pop": 50,
       "prompt": json.dumps([{"role": "user", "content": "Write."}, {"role": "assistant", "content": "A poem."}, {"role": "user", "content": "Prepend xY7."}]),
       "random_string_to_prepend": "xY7", "n_needles": 2}
others = [row, {**row, "answer": "A", "answers": ["1"]}, {**row, "answer": 7}, {**row, "answer": ["Ann", "A"]}, {**row, "answer": [1, 3]}]
prompts = [open(p, "rb").read() for p in sorted(glob.glob("tests/suites/**/*.py", recursive=True) + glob.glob("tests/suites/**/*.json", recursive=True))]
names = ["qasper", "narrativeqa", "hotpotqa", "trec", "triviaqa", "lsht", "passage_count", "passage_retrieval_en", "lcc", "repobench-p", "gov_report"]
prompts += [json.dumps({n: "{context}\n{input}" for n in names}).encode(), b"$DOC$ $Q$ $C_A$ $C_B$ $C_C$ $C_D$"]
for t in range(TASKS):
    for i, words in enumerate(prompts):
        if len(words) > 8192 or (t < RULER) != (i < len(prompts) and b"TASKS" in words):
            continue
        r = others[(t + i) % len(others)]
        with open(f"{sys.argv[1]}/seed{t}-{i}", "wb") as f:
            f.write(bytes([t, i % 2 | (i % 4) << 1]) + words + b"\0The answer is A: Ann 7.\0" + (json.dumps(r) + "\n" + json.dumps({**r, "id": 8}) + "\n").encode())
