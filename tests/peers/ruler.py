#!/usr/bin/env python3
"""Prompts with `wording: ruler` against RULER's own generators, byte for byte.

    make build/tests/tools/samples
    ruler.py SYNTHETIC [WORDS]      SYNTHETIC: scripts/data/synthetic of github.com/NVIDIA/RULER at c3f5e3b; WORDS: the same, or another
                                    folder in its layout (tests/suites/ruler)

Each of the thirteen tasks: what a prompt of ours holds (needles, keys, places, words, documents) is read back from it, and RULER's
generate_input_output() is run with its chance replaced by these: it must write the same prompt and the same beginning of an answer.
Python 3.11; numpy, scipy.
"""
import ast, json, pathlib, re, subprocess, sys, types

import numpy
from scipy.special import zeta

synthetic = pathlib.Path(sys.argv[1])
words = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else synthetic)
space = {}
exec((words / "constants.py").read_text(), space)
TASKS = space["TASKS"]


def strings(name, variable):
    """What is assigned to a variable of a file in WORDS, strings alone, in order."""
    return [n.value.value for n in ast.walk(ast.parse((words / f"{name}.py").read_text())) if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == variable
            and isinstance(n.value, ast.Constant)] if (words / f"{name}.py").exists() else []


class Chance:
    """In place of `random`: shuffles into given orders, samples and chooses what was put in a queue."""
    def __init__(self): self.orders, self.samples, self.letters, self.numbers = [], [], [], []
    def Random(self, seed): return self
    def sample(self, population, k): return self.samples.pop(0)
    def choices(self, letters, k): return list(self.letters.pop(0))
    def randint(self, low, high): return self.numbers.pop(0)
    def shuffle(self, items):
        order = self.orders.pop(0) if self.orders else list(items)
        assert sorted(order) == sorted(items), "other words than RULER's counts give"
        items[:] = order


def functions(name, chance, args, **more):
    tree = ast.parse((synthetic / f"{name}.py").read_text())
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name not in ["main", "generate_random", "read_squad", "read_hotpotqa"]]
    made = {"random": chance, "np": types.SimpleNamespace(arange=numpy.arange, random=chance), "args": types.SimpleNamespace(**args), "TASKS": TASKS, "zeta": zeta,
            "string": types.SimpleNamespace(ascii_uppercase="", ascii_lowercase=""), "TOKENIZER": types.SimpleNamespace(text_to_tokens=lambda t: [])} | more
    exec(compile(tree, name, "exec"), made)
    return made


def parse(form, text, **groups):
    """The fields of a text that was formatted, each as often as it is there."""
    pattern = re.escape(form)
    for field in set(re.findall(r"\{(\w+)\}", form)):
        escaped = re.escape("{%s}" % field)
        first = pattern.find(escaped)
        pattern = pattern[:first] + f"(?P<{field}>{groups.get(field, '.*?')})" + pattern[first + len(escaped):].replace(escaped, f"(?P={field})")
    found = re.fullmatch(pattern, text, re.S)
    assert found, f"not of the form {form!r}: {text[:200]!r} … {text[-200:]!r}"
    return found.groupdict()


def niah(sample, keys, values, queries, haystack, value_kind, key_kind):
    form, kind = strings("niah", "needle")[0], value_kind
    template, whole = TASKS["niah"]["template"] + TASKS["niah"]["answer_prefix"], sample["prompt"] + sample["answer_prefix"]
    one = template
    if queries * values == 1:
        for old, new in [("Some", "A"), ("are all", "is"), ("are", "is"), ("answers", "answer")]: one = one.replace(old, new)
        kind = kind[:-1]
    got = parse(one, whole, type_needle_v=kind, query="[^\n]*?")
    context = got["context"]
    needle = re.compile(re.escape(form).replace(re.escape("{type_needle_v}"), value_kind).replace(re.escape("{key}"), r"(?P<key>\S+?)").replace(re.escape("{value}"), r"(?P<value>\S+?)"))
    asked = [k for k in re.split(", and |, ", got["query"])]
    found = [(m["key"], m["value"], m[0], m.start(), m.end()) for m in needle.finditer(context)]
    chance, queue = Chance(), []
    hidden = [f for f in found if f[0] in asked] if haystack == "needle" else found
    order = list(dict.fromkeys([k for k in asked] + [f[0] for f in hidden]))
    assert len(order) == max(keys, queries) and len(hidden) == len(order) * values
    for k in order: queue += [k] + [f[1] for f in hidden if f[0] == k]
    if haystack == "essay":
        parts, at = [], 0
        for f in hidden: parts.append(context[at:f[3]]); at = f[4]
        parts.append(context[at:])
        stretch = [p[0 if i == 0 else 1:len(p) if i == len(hidden) else -1] for i, p in enumerate(parts)]
        row = [w for s in stretch if s for w in s.split(" ")]
        text = re.sub(r"\s+", " ", json.loads((words / "json/PaulGrahamEssays.json").read_text())["text"]).split(" ")
        chance.orders = [[f[2] for f in hidden]]
        places, n = [], 0
        for s in stretch[:-1]:
            n += len(s.split(" ")) if s else 0
            places.append((n + .5) / len(row) * 100)
        chance.samples = [places, [order.index(k) for k in asked]]
        count, hay = len(row), text
    else:
        lines = context.split("\n")
        at = [i for i, line in enumerate(lines) if line in [f[2] for f in hidden]]
        rest = [line for i, line in enumerate(lines) if i not in at]
        chance.orders = [[lines[i] for i in reversed(at)]]
        chance.samples = [[i - n for n, i in enumerate(at)], [order.index(k) for k in asked]]
        count, hay = len(rest), form if haystack == "needle" else strings("niah", "haystack")[0]
        if haystack == "needle": queue += [x for line in rest for x in (lambda m: [m["key"], m["value"]])(needle.fullmatch(line))]
    args = {"num_needle_k": max(keys, queries), "num_needle_v": values, "num_needle_q": queries, "type_haystack": haystack, "type_needle_k": key_kind, "type_needle_v": value_kind,
            "random_seed": 0, "template": template}
    ruler = functions("niah", chance, args, needle=form, haystack=hay, DEPTHS=[], sent_tokenize=lambda t: t.split(" "), generate_random=lambda kind: queue.pop(0))
    text, answers = ruler["generate_input_output"](count)
    assert sorted(answers) == sorted(sample["gold"])
    return text


def vt(sample, chains=1, hops=4):
    template = TASKS["variable_tracking"]["template"] + TASKS["variable_tracking"]["answer_prefix"]
    whole, noise = sample["prompt"] + sample["answer_prefix"], strings("variable_tracking", "haystack")[0]
    begin = TASKS["variable_tracking"]["template"].split("{context}")[0]
    cut = whole.rindex(begin)
    example, asked = whole[:cut], whole[cut:]

    def replay(text, count, hops, example):
        got = parse(template, text)
        lines = got["context"].split("\n")
        line_of = {m[1]: (i, m[2]) for i, line in enumerate(lines) if (m := re.match(r"VAR (\w+) = (?:VAR )?(\w+)", line))}
        rows, places, names, numbers = list(lines), [], [], []
        for first in [k for k, (_, to) in line_of.items() if to.isdigit()]:
            names.append([first])
            numbers.append(int(line_of[first][1]))
            while more := [k for k, (_, to) in line_of.items() if to == names[-1][-1]]: names[-1].append(more[0])
        here = next(i for i, n in enumerate(numbers) if str(n) == got["query"])  # the chain asked for is the first
        names.insert(0, names.pop(here)), numbers.insert(0, numbers.pop(here))
        for chain in reversed(names):
            at = [next(i for i, line in enumerate(rows) if line.startswith(f"VAR {v} =")) for v in chain]
            places.insert(0, [i - n for n, i in enumerate(at)])
            rows = [line for i, line in enumerate(rows) if i not in at]
        assert set(rows) == {noise} and len(names) == count and all(len(n) == hops + 1 for n in names)
        chance = Chance()
        chance.samples, chance.numbers = places, list(numbers)
        chance.letters = [v if not example else "00" + "ABCDEFGHIJK"[i] for n in names for i, v in enumerate(n)]
        ruler = functions("variable_tracking", chance, {"type_haystack": "noise", "template": template, "num_hops": hops}, haystack=noise)
        text, answers = ruler["generate_input_output"](len(rows), count, hops, is_icl=example)
        if not example: return text, answers
        chance.letters, chance.numbers = list(names[0]), [numbers[0]]
        return ruler["randomize_icl"](text + " " + " ".join(answers) + "\n"), names[0]

    shown = re.fullmatch(r"(.*?)((?: \w+){%d})\n\n" % (min(hops, 10) + 1), example, re.S)
    first, _ = replay(shown[1], 1, min(hops, 10), True)
    second, answers = replay(asked, chains, hops, False)
    assert answers == sample["gold"]
    return first + "\n" + second


def cwe(sample, length):
    template = TASKS["common_words_extraction"]["template"] + TASKS["common_words_extraction"]["answer_prefix"]
    whole = sample["prompt"] + sample["answer_prefix"]
    begin = TASKS["common_words_extraction"]["template"].split("{context}")[0]
    cut = whole.rindex(begin)
    shown = re.fullmatch(r"(.*?)((?: \d+\. \S+)+)\n", whole[:cut], re.S)
    chance = Chance()
    for text, common in [(shown[1], re.findall(r"\. (\S+)", shown[2])), (whole[cut:], sample["gold"])]:
        row = re.findall(r"\d+\. (\S+)", parse(template, text)["context"])
        chance.orders.append(row)
        chance.samples.append(common + sorted(set(row) - set(common)))
    args = {"random_seed": 0, "max_seq_length": length, "num_fewshot": 1, "num_cw": 10, "freq_cw": 30, "freq_ucw": 3, "template": template}
    text, answers = functions("common_words_extraction", chance, args, words=range(10**9))["generate_input_output"](1)
    assert answers == sample["gold"]
    return text


def fwe(sample, length):
    template = TASKS["freq_words_extraction"]["template"] + TASKS["freq_words_extraction"]["answer_prefix"]
    row = parse(template, sample["prompt"] + sample["answer_prefix"])["context"].split(" ")
    size = max(length // 50, 10)
    others = sorted({w for w in row if w != "..." and w not in sample["gold"]}, key=lambda w: -row.count(w))
    vocabulary = ["aaaaaa"] + sample["gold"] + others + [f"{i:06d}" for i in range(size)]
    vocabulary = vocabulary[:size]
    total = next(n for n in range(len(row), 10**7) if sum(int(n * k**-2. / zeta(2.)) for k in range(1, size + 1)) == len(row))
    chance = Chance()
    chance.letters, chance.orders = list(vocabulary), [vocabulary, row, row]  # written twice
    text, answers, _ = functions("freq_words_extraction", chance, {"random_seed": 0, "template": template})["generate_input_output"](1, total, 6, size)
    assert answers == sample["gold"]
    return text


def qa(sample):
    template = TASKS["qa"]["template"] + TASKS["qa"]["answer_prefix"]
    got = parse(template, sample["prompt"] + sample["answer_prefix"], query="[^\n]*")
    form, documents, rest = strings("qa", "DOCUMENT_PROMPT")[0], [], got["context"]
    heads = [m for m in re.finditer(r"(?:^|\n\n)Document (\d+):\n", rest)]
    for i, m in enumerate(heads): documents.append(rest[m.end():heads[i + 1].start() if i + 1 < len(heads) else len(rest)])
    made = functions("qa", Chance(), {"random_seed": 0, "template": template}, DOCUMENT_PROMPT=form, DOCS=documents,
                     QAS=[{"query": got["query"], "outputs": sample["gold"], "context": []}])
    return made["generate_input_output"](0, len(documents))[0]


KINDS = {"single_1": (1, 1, 1, "noise", "numbers", "words"), "single_2": (1, 1, 1, "essay", "numbers", "words"), "single_3": (1, 1, 1, "essay", "uuids", "words"),
         "multikey_1": (4, 1, 1, "essay", "numbers", "words"), "multikey_2": (1, 1, 1, "needle", "numbers", "words"), "multikey_3": (1, 1, 1, "needle", "uuids", "uuids"),
         "multivalue": (1, 4, 1, "essay", "numbers", "words"), "multiquery": (1, 1, 4, "essay", "numbers", "words")}
TASK = {f"ruler_niah_{k}": (lambda s, n, a=a: niah(s, *a)) for k, a in KINDS.items()} | {
    "ruler_vt": lambda s, n: vt(s), "ruler_vt chains=3 hops=2": lambda s, n: vt(s, 3, 2), "ruler_cwe": cwe, "ruler_fwe": fwe,
    "ruler_qa_1": lambda s, n: qa(s), "ruler_qa_2": lambda s, n: qa(s)}
wrong = 0
for task, replay in TASK.items():
    same = all_ = 0
    for length in [1500, 3000, 5000]:
        run = subprocess.run(["build/tests/tools/samples", task.split()[0], str(length), "12", "wording=ruler",
                              f"repository={words}", *task.split()[1:]], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        for line in run.stdout.splitlines():
            sample = json.loads(line)
            ours, theirs = sample["prompt"] + sample["answer_prefix"], replay(sample, length)
            all_, same = all_ + 1, same + (ours == theirs)
            if ours != theirs and wrong < 3:
                at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
                print(f"  at byte {at}: ours {ours[max(0, at - 40):at + 60]!r}\n  RULER's {theirs[max(0, at - 40):at + 60]!r}")
            wrong += ours != theirs
    print(f"{task}: {same} of {all_} prompts equal")
print("wrong:", wrong)
sys.exit(wrong > 0)
