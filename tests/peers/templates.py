"""Chat templates of others: does Frontier render what transformers renders?

    python tests/peers/templates.py FOLDER …      # *.jinja, *.jinja2, and tokenizer_config.json's chat_template

Every template, with every conversation of tests/golden/jinja/conversations.py, with and without the generation prompt, without
tools and with one: text against text, error against error. Needs transformers, and build/tests/tools/jinja
(`make build/tests/tools/jinja`). Prints a row for each template that is not equal throughout and the sums; exits 1 if a
text differs. "refused": a construct that Frontier says it does not offer; "differs": anything else."""
import collections
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/golden/jinja"))
from conversations import CONVERSATIONS, TOKENS, TOOLS  # noqa: E402
from reference import Ours, render  # noqa: E402


def templates(paths):
    for path in sorted(p for top in paths for p in ([top] if top.is_file() else top.rglob("*"))):
        if path.suffix in (".jinja", ".jinja2"):
            yield str(path), path.read_text()
        elif path.name == "tokenizer_config.json":
            found = json.loads(path.read_text()).get("chat_template") or []
            for item in [{"name": "default", "template": found}] if isinstance(found, str) else found:
                yield "%s:%s" % (path, item["name"]), item["template"]


def variants():
    for name, messages in CONVERSATIONS.items():
        for prompt in (True, False):
            for tools in (None, TOOLS):
                yield name, dict(messages=messages, tools=tools, documents=None, add_generation_prompt=prompt, **TOKENS)


def main(paths):
    ours, total, rows = Ours(str(ROOT / "build/tests/tools/jinja")), collections.Counter(), []
    for name, template in templates(paths):
        count, example = collections.Counter(), {}
        for conversation, variables in variants():
            want, why = render(template, variables)
            got, error, refused = ours.render(template, variables)
            kind = ("refused" if refused else "equal" if got == want and (want is not None or error) else "differs")
            if kind == "equal":
                kind = "text" if want is not None else "error"
            count[kind] += 1
            example.setdefault(kind, (conversation, want, why, got, error))
        total.update(count)
        total["templates"] += 1
        total["templates equal throughout"] += not (count["refused"] or count["differs"])
        total["templates that refuse every conversation, as jinja2 does"] += not count["text"] and not count["differs"] and not count["refused"]
        rows.append((name, count))
        for kind in ("refused", "differs"):
            if kind in example:
                conversation, want, why, got, error = example[kind]
                print("%s: %s %d of %d, first: %s\n    ours   %r\n    theirs %r" % (
                    pathlib.Path(name).name, kind, count[kind], sum(count.values()), conversation,
                    error if got is None else got[-300:], why if want is None else want[-300:]))
    print("%d templates, %d equal throughout (%d of them raise an error for every conversation)" % (
        total["templates"], total["templates equal throughout"],
        total["templates that refuse every conversation, as jinja2 does"]))
    print("renderings: %d equal texts, %d equal errors, %d refused, %d differ" % (
        total["text"], total["error"], total["refused"], total["differs"]))
    return total["differs"] > 0


if __name__ == "__main__":
    sys.exit(main([pathlib.Path(p) for p in sys.argv[1:]]))
