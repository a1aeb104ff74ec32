"""Seeds of fuzz_jinja.c: every template of the golden files, one a file, into the folder given."""
import json
import pathlib
import sys

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rows = [row["template"] for row in json.loads((GOLDEN / "jinja/expressions.json").read_text())["rows"]]
for file in ("jinja/conversations.json", "tokenizer/chat.json"):
    rows += [case["template"] for case in json.loads((GOLDEN / file).read_text())["cases"] if "template" in case]
for i, template in enumerate(rows):
    (out / ("%04d.jinja" % i)).write_text(template)
