#!/usr/bin/env python3
"""Answers the synthetic tasks from nothing but the text of the prompt, by regular expressions and counting, and compares
with the gold answers: the prompts hold what they must, once, and nothing that misleads.

    make build/tests/tools/samples
    python3 tests/oracle.py build/tests/tools/samples          every task below, 50 samples each at several lengths
    build/tests/tools/samples niah 4096 5 | python3 tests/oracle.py -
"""
import collections, json, os, re, subprocess, sys


def between(prompt, tag):
    """What the prompt has between the tags; where a question is asked twice, both times the same."""
    found = set(re.findall(rf"<{tag}>\n(.*?)\n</{tag}>", prompt, re.S))
    assert len(found) == 1, f"{len(found)} different {tag}s"
    return found.pop()


def only(found):
    assert len(found) == 1, f"{len(found)} answers where there should be one: {found[:3]}"
    return found[0]


def niah(prompt):
    context, question = between(prompt, "context"), between(prompt, "questions" if "<questions>" in prompt else "question")
    keys = re.findall(r"^\d+\. (.+)$", question, re.M)
    return [f"{k}: {only(re.findall(rf'^Key {re.escape(k)} has the value (.+)[.]$', context, re.M))}" for k in keys]


def follow_chains(text, value):
    number = dict(re.findall(r"VAR ([A-Z]+) = (\d+)", text))
    copy = re.findall(r"VAR ([A-Z]+) = VAR ([A-Z]+)", text)
    assert len(number) + len(copy) == len(set(number) | {name for name, _ in copy}), "a variable is set twice"
    names = {name for name, n in number.items() if n == value}
    for _ in copy:
        names |= {name for name, source in copy if source in names}
    return names


def vt(prompt):
    return follow_chains(between(prompt, "context"), re.search(r"have the value (\d+)", between(prompt, "question"))[1])


def count_words(text):
    rows = re.findall(r"(\d+)\. (\S+)", text)
    assert [int(n) for n, _ in rows] == list(range(1, len(rows) + 1)), "the list is not numbered from 1"
    return collections.Counter(word for _, word in rows)


def cwe(prompt):
    count = count_words(between(prompt, "context"))
    question = between(prompt, "question")
    often = int(re.search(r"(?:occurs|occur) (\d+) times", question)[1])
    rare = 1 if "only once" in question else int(re.search(r"only (\d+) times", question)[1])
    assert set(count.values()) == {often, rare}, count.most_common(3)
    return {word for word, n in count.items() if n == often}


def ruler_niah(prompt):
    asked = re.search(r"What (?:is|are all) the secret \w+ of (.+) that the text gives\?", prompt)[1]
    values = []
    for key in re.split(r", and | and |, ", asked):
        values += re.findall(rf"One of the secret \w+ of {re.escape(key)} is: (\S+)\.(?:\s|$)", prompt)
    return set(values)


def ruler_vt(prompt):
    _, example, text = re.split(r"^Keep track .*$", prompt, flags=re.M)
    value = re.search(r"have the value (\d+)", text)[1]
    solved = re.search(r"have the value (\d+)(?s:.*)\nAnswer: (?:The .* are: )?(.+)", example)
    assert follow_chains(example, solved[1]) == set(solved[2].split()), "the example is wrong"
    return follow_chains(text, value)


def ruler_cwe(prompt):
    _, example, text = re.split(r"^The following is a numbered list .*$", prompt, flags=re.M)
    text, question = text.split("Question:")
    listed, answer = example.split("Question:")
    shown = [word for word, _ in count_words(listed).most_common(10)]
    assert set(shown) == set(count_words(answer.split("Answer:")[1])), "the example is wrong"
    top = count_words(text).most_common(11)
    assert top[9][1] > top[10][1], "no clear tenth word"
    return {word for word, _ in top[:10]}


def ruler_fwe(prompt):
    text = prompt.split("\n\n")[1]
    top = collections.Counter(w for w in text.split() if w != "...").most_common(4)
    assert top[2][1] > top[3][1], "no clear third word"
    return {word for word, _ in top[:3]}


PHRASES = {}
for line in open(os.path.join(os.path.dirname(__file__), "../tasks/stories/phrases.txt")).read().splitlines():
    if line.startswith("=="):
        kind = PHRASES.setdefault(line[3:], [])
    elif line and line[0] != "#":
        kind.append(line)


SENTENCES = {}
for kind in ("arrival", "meeting", "purchase", "sale"):
    parts = [re.split(r"\{(?:place|person|an item|item)\}", p) for p in PHRASES[kind]]
    name = r"an? (\w+ \w+ [\w ]+?)" if kind == "purchase" else r"(\w[\w ]*?)"
    any_of = "|".join(f"{re.escape(before)}{name}{re.escape(after)}" for before, after in parts)
    SENTENCES[kind] = re.compile(rf"(?:^|(?<=[.!] ))(?:{any_of})(?= |$)", re.M)
NAMES = {kind: re.compile("|".join(rf"\b{name}\b" for name in PHRASES[kind])) for kind in ("places", "persons")}


def said(kind, chapter):
    """The names in the sentences of one kind in a chapter."""
    return [next(name for name in found.groups() if name) for found in SENTENCES[kind].finditer(chapter)]


def story(prompt):
    """Place, person, items bought and items sold of each chapter."""
    parts = re.split(r"^Chapter (\d+)$", between(prompt, "context"), flags=re.M)
    assert parts[0] == "" and parts[1::2] == [str(i + 1) for i in range(len(parts) // 2)], "chapters are not numbered from 1"
    chapters, pairs, bought, owned = [], set(), set(), set()
    for text in parts[2::2]:
        c = [only(said("arrival", text)), only(said("meeting", text)), said("purchase", text), said("sale", text)]
        assert c[0] in PHRASES["places"] and c[1] in PHRASES["persons"] and len(c[2]) <= 1 and len(c[3]) <= 1, c
        assert (c[0], c[1]) not in pairs and not bought & set(c[2]), "a place and person, or an item, come twice"
        assert set(c[3]) <= owned, "sold without having been bought"
        assert len(NAMES["places"].findall(text)) == len(NAMES["persons"].findall(text)) == 1, c
        pairs.add((c[0], c[1]))
        bought |= set(c[2])
        owned = (owned - set(c[3])) | set(c[2])
        chapters.append(c)
    return chapters


def story_retrieval(prompt):
    chapters = story(prompt)
    assert all(len(c[2]) == 1 for c in chapters), "a chapter without a purchase"
    question = between(prompt, "questions" if "<questions>" in prompt else "question")
    asked = re.findall(r"(place|person|item) did .* in chapter (\d+)\?$", question, re.M)
    assert len({n for _, n in asked}) == len(asked) == question.count("?"), "two questions about one chapter"
    return [{"place": c[0], "person": c[1], "item": c[2][0]}[kind] for kind, n in asked for c in [chapters[int(n) - 1]]]


def story_multihop(prompt):
    bought = [only(c[2]) for c in story(prompt)]
    return [bought[bought.index(re.search(r"just before buying the (.+)\?", between(prompt, "question"))[1]) - 1]]


def story_filtering(prompt):
    idle = [str(i + 1) for i, c in enumerate(story(prompt)) if not c[2]]
    told = re.search(r"There (?:is|are) (one|\d+) chapter", between(prompt, "question"))[1]
    assert len(idle) == (1 if told == "one" else int(told))
    return idle


ORACLES = {"story_retrieval": story_retrieval, "story_multihop": story_multihop, "story_filtering": story_filtering,
           "niah": niah, "vt": vt, "cwe": cwe, "ruler_vt": ruler_vt, "ruler_cwe": ruler_cwe, "ruler_fwe": ruler_fwe}
for kind in "single_1 single_2 single_3 multikey_1 multikey_2 multikey_3 multivalue multiquery".split():
    ORACLES["ruler_niah_" + kind] = ruler_niah

RUNS = [(task, length, []) for task in ORACLES for length in (2048 if task != "story_retrieval" else 4096, 8192, 65536)]
RUNS += [("niah", 1024, ["queries=1", "depth=0.5", "density=0.3", "question=after"]),
         ("niah", 2048, ["queries=16", "key_groups=1", "value_groups=1", "group_length=4", "answer=direct"]),
         ("vt", 1024, ["chains=2", "hops=2", "name_length=3", "digits=3", "question=before"]),
         ("cwe", 512, ["common=3", "common_repeats=8", "rare_repeats=1", "words=500", "answer=direct"]),
         ("cwe", 1024, ["common=1", "common_repeats=9"]),
         ("story_retrieval", 1024, ["queries=1", "depth=0.5", "talk=0", "answer=direct"]),
         ("story_retrieval", 32768, ["queries=64", "sales=1", "talk=8"]),
         ("story_retrieval", 4096, ["queries=3", "pools=study"]),
         ("story_multihop", 1024, ["talk=0", "sales=0", "question=after"]),
         ("story_filtering", 1024, ["talk=1", "empty=1", "question=before"]),
         ("story_filtering", 16384, ["empty=40", "sales=1"]),
         ("ruler_niah_multiquery", 2048, ["queries=2", "values=3", "value=words", "depth=1"])]


def check(lines):
    right = wrong = 0
    for line in lines:
        sample = json.loads(line)
        try:
            answer = ORACLES[sample["task"]](sample["prompt"])
            assert answer == (set(sample["gold"]) if isinstance(answer, set) else sample["gold"]), f"{answer} is not the gold"
            right += 1
        except Exception as error:
            wrong += 1
            print(f"{sample['task']} {sample['index']}: {error}, gold {sample['gold']}", file=sys.stderr)
    return right, wrong


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "-":
        right, wrong = check(sys.stdin)
        print(f"{right} right, {wrong} wrong")
        sys.exit(wrong > 0)
    failed = False
    for task, length, options in RUNS:
        out = subprocess.run([sys.argv[1], task, str(length), "50", *options], stdout=subprocess.PIPE, text=True)
        right, wrong = check(out.stdout.splitlines())
        failed |= out.returncode != 0 or wrong > 0 or right != 50
        print(f"{task:24} {length:6} {' '.join(options):60} {right} of 50")
    sys.exit(failed)


if __name__ == "__main__":
    main()
