#!/bin/bash
# The report's page: prompts are those that were asked, or are said to be missing; the leaderboard printed is the one in tables/.
. "$(dirname "$0")/common.bash"
tiny
echo 'this.d3 = {};' >"$T/d3.js"
export FRONTIER_D3=$T/d3.js
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" -s samples=2 >/dev/null 2>&1 || fail "run"
"$FRONTIER" report "$T/a.h5" -o "$T/a" -f tasks -F png >"$T/log" 2>&1 || fail "report: $(cat "$T/log")"
cat >"$T/read.py" <<'EOF'
import html.parser, json, subprocess, sys

class Scripts(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.of, self.name = {}, None
    def handle_starttag(self, tag, attributes):
        self.name = dict(attributes).get("id") if tag == "script" else None
    def handle_data(self, data):
        if self.name: self.of[self.name] = self.of.get(self.name, "") + data
    def handle_endtag(self, tag):
        self.name = None

page = Scripts()
page.feed(open(sys.argv[1] + "/index.html").read())
data = json.loads(page.of["data"])
assert data["samples"]["inside"]
columns = data["cells"]["columns"]
for row, (numbers, scores, flags) in zip(data["cells"]["rows"], data["samples"]["rows"]):
    cell = dict(zip(columns, row))
    point = dict(zip(data["points"]["columns"], data["points"]["rows"][cell["point"]]))
    task, length, phase = data["tasks"][cell["task"]]["label"], data["lengths"][point["length"]], data["arms"][point["arm"]]["phase"]
    own = json.loads(page.of["cell-" + cell["key"]])
    setting = json.loads(page.of[f"setting-{point['model']}-{point['length']}-{cell['task']}"])
    assert numbers == len(scores) == len(flags) == 2, (numbers, scores, flags)
    if phase == "decode" and point["decode_level"] != 0.9: continue
    for sample in range(numbers):
        command = [sys.argv[2], "show", sys.argv[3], "--task", task, "--sample", str(sample), "--json"]
        if phase != "dense": command += ["--method", data["arms"][point["arm"]]["label"], "--sparsity", str(point[phase + "_level"])]
        shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        if shown["cell"] != cell["key"]: continue
        assert own["answers"][sample] == shown["prediction"], (own["answers"][sample], shown["prediction"])
        assert own["tokens"][sample] == [shown["input_tokens"], shown["output_tokens"]]
        assert abs(scores[sample] - shown["strict"]) < 1e-5
        assert json.loads(setting["gold"][sample]) == shown["gold"]
        prompt = setting["prompt"][sample]
        whole = shown["prompt"].encode()
        if len(prompt) == 1: assert prompt[0].encode() == whole
        else: assert whole.startswith(prompt[0].encode()) and whole.endswith(prompt[2].encode()) and len((prompt[0] + prompt[2]).encode()) + prompt[1] == len(whole)
        print("same")
EOF
${PYTHON:-python3} "$T/read.py" "$T/a" "$FRONTIER" "$T/a.h5" >"$T/same" || fail "the page's samples are not the file's"
[ "$(grep -c same "$T/same")" -ge 10 ] || fail "too few samples were compared: $(wc -l <"$T/same")"
[ -s "$T/a/config.yaml" ] || fail "no config beside the page"

# What a warning counts, it lists; commands stand as code, versions as words.
cat >"$T/words.py" <<'EOF'
import re, sys
page = re.sub(r"<script.*?</script>", "", open(sys.argv[1]).read(), flags=re.S)
folded = 0
for warning in re.findall(r"<div class=warning>.*?</p></div>", page, flags=re.S):
    more, cells = re.search(r", and (\d+) more</p>", warning), re.search(r"aria-label=cells>(.*?)</div>", warning, flags=re.S)
    assert bool(more) == bool(cells), warning
    if not more: continue
    folded, named = folded + 1, cells[1].split("<br>")[:-1]
    assert len(named) == 4 + int(more[1]) and all("(" in one for one in named), warning
    assert "`" not in warning, warning
assert folded, "no warning of this report has more cells than it names"
assert "<code>frontier" in page or "<code>output</code>" in page or "<code>answer" in page, "no command as code"
words = re.search(r"<summary>versions</summary><p>(.*?)</p>", page, flags=re.S)[1]
assert re.search(r"hdf5 \d", words) and "{" not in words, words
EOF
${PYTHON:-python3} "$T/words.py" "$T/a/index.html" || fail "warnings or versions of the page"

# Another prompt than the one that was asked is not shown: here the file's config is of another seed.
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" -s samples=2 -s seed=44 -s 'sparsity=[0.5]' >/dev/null 2>&1 || fail "run of another seed"
"$FRONTIER" report "$T/a.h5" -o "$T/b" -f tasks -F png >/dev/null 2>&1 || fail "report of two seeds"
grep -q 'is not the prompt that was asked' "$T/b/index.html" || fail "a prompt of another seed is not told from the own"
"$FRONTIER" report "$T/a.h5" -o "$T/c" -f tasks -F png --prompts 0 >/dev/null 2>&1 || fail "report without prompts"
! grep -q '"prompt":\[\[' "$T/c/index.html" || fail "--prompts 0 shows prompts"
refused_option() { if "$FRONTIER" report "$T/a.h5" "$@" >"$T/out" 2>"$T/err"; then fail "taken: $*"; fi; }
refused_option --prompts some
refused_option --within 101
refused "no leaderboard format 'html'; there are csv, md, tex, json" "$FRONTIER" report "$T/a.h5" --leaderboard html

for format in csv md tex json; do
    "$FRONTIER" report "$T/a.h5" --leaderboard $format >"$T/board" || fail "--leaderboard $format"
    cmp -s "$T/board" "$T/c/tables/leaderboard.$format" || fail "--leaderboard $format is not tables/leaderboard.$format"
done
${PYTHON:-python3} -c 'import json, sys; rows = json.load(open(sys.argv[1])); assert len(rows) >= 2 and rows[0]["within"] == 0.05' "$T/c/tables/leaderboard.json" ||
    fail "leaderboard.json"
