#!/usr/bin/env python3
"""Writes data sets in the layouts of SQuAD 2.0, of the multiple-choice files and of HotpotQA, large enough for contexts of
128k tokens: documents are pieces of the shipped prose, questions ask for their last words. For tests/tools/lengths.yaml.

    python3 tests/tools/qa_files.py FOLDER
"""
import json, pathlib, sys

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
words = pathlib.Path("tasks/data/haystack.txt").read_text().split()


def documents(size):
    """Pieces of about so many words, each twice: the second begins in the middle of the first."""
    for begin in range(0, len(words) - size, size // 2):
        yield " ".join(words[begin:begin + size])


def ask(text):
    return f"Which words come last in the passage that begins with \"{' '.join(text.split()[:8])}\"?", " ".join(text.split()[-3:])


def squad(size, name):
    paragraphs = []
    for text in documents(size):
        question, answer = ask(text)
        paragraphs.append({"context": text, "qas": [{"id": f"{len(paragraphs):08x}", "question": question, "is_impossible": False,
                                                      "answers": [{"text": answer, "answer_start": text.rindex(answer)}]}]})
    articles = [{"title": f"Part {i // 20}", "paragraphs": paragraphs[i:i + 20]} for i in range(0, len(paragraphs), 20)]
    (folder / name).write_text(json.dumps({"version": "v2.0", "data": articles}))


def choice(size, name):
    lines = []
    for text in documents(size):
        question, answer = ask(text)
        wrong = [" ".join(text.split()[k:k + 3]) for k in (20, 30, 40)]
        right = len(lines) % 4
        options = wrong[:right] + [answer] + wrong[right:]
        lines.append(json.dumps({"context": text, "answer": ["ABCD"[right]], "questions": [
            question + "".join(f"\n{letter}. {option}" for letter, option in zip("ABCD", options))]}))
    (folder / name).write_text("\n".join(lines) + "\n")


def hotpot(size, name):
    texts, rows = list(documents(size)), []
    for i in range(0, len(texts) - 10, 5):
        question, answer = ask(texts[i])
        context = [[f"Passage {k}", [texts[k]]] for k in range(i, i + 10)]
        rows.append({"_id": f"{i:024x}", "answer": answer, "question": question, "type": "bridge", "level": "medium",
                     "supporting_facts": [[f"Passage {i}", 0], [f"Passage {i + 1}", 0]], "context": context})
    (folder / name).write_text(json.dumps(rows))


squad(120, "squad.json")        # as long as a paragraph of SQuAD
choice(2000, "quality.jsonl")   # as half an article of QuALITY
choice(700, "toefl.jsonl")      # as a lecture of TOEFL
hotpot(90, "hotpot.json")
