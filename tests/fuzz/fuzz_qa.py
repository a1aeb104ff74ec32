"""Seeds: the shipped data sets, cut short, each with the byte of its format in front."""
import json, os, sys

here, out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tasks/data/"), sys.argv[1]
squad = json.load(open(here + "qa_open.json"))
squad["data"] = squad["data"][:1]
lines = "".join(open(here + "qa_choice.jsonl").readlines()[:2])
hotpot = json.load(open(here + "qa_hotpot.json"))[:2]
quality = {"article": "A mill.", "questions": [{"question": "What?", "options": ["a", "b"], "gold_label": 2}]}
for i, (kind, text) in enumerate([(0, json.dumps(squad)), (1, lines), (2, json.dumps(hotpot)), (1, json.dumps(quality))]):
    with open(f"{out}/seed{i}", "wb") as f:
        f.write(bytes([kind]) + text.encode())
