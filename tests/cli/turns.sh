#!/bin/bash
# turns: n, shared: n: questions on one context, one after the other, or each by itself. The first is that of a run that asks once; where nothing is sparse the second
# is answered as if the conversation so far had been the prompt; a cache that was cut is not cut anew; every row has each turn's score.
. "$(dirname "$0")/common.bash"
tiny
words='introduction: "Find the values of keys.", instructions: "Write one line for each key."'
niah="queries: 4, question: after, key_groups: 2, value_groups: 2, group_length: 4, $words"
common=(-s 'models=[models/frontier-mini/s]' -s 'lengths=[600]' -s output=90 -s samples=2 -s 'sparsity=[0.5]'
        -s 'methods={prefill: [vertical_slash], decode: [snapkv, quest]}')
for device in cpu reference; do
    sizes=(); [ $device = cpu ] || sizes=(-s samples=1 -s 'methods={decode: [snapkv]}')
    "$FRONTIER" run "$T/tiny.yaml" "${common[@]}" "${sizes[@]}" -d $device -o "$T/$device.h5" -s question=after -s "tasks=[niah: {label: once, $niah}, niah: {label: twice, turns: 2, $niah}]" \
        >/dev/null 2>"$T/log" || fail "run on $device: $(cat "$T/log")"
    "$FRONTIER" export "$T/$device.h5" --jsonl >"$T/$device"
    python3 - "$T/$device" <<'PY' || fail "$device"
import json, sys
rows = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    rows.setdefault(r["task_label"], {})[r["prefill_method"], r["decode_method"], r["sample"]] = r
assert len(rows["once"]) == len(rows["twice"]) >= 2
right = 0
for key, two in rows["twice"].items():
    one = rows["once"][key]
    scores, texts, gold = (json.loads(two[k]) for k in ("turn_scores", "prediction", "gold"))
    assert len(scores) == len(texts) == len(gold) == 2 and gold[0] == json.loads(one["gold"]) and gold[1] != gold[0]
    assert texts[0] == one["prediction"] and scores[0] == one["strict"] and abs(two["strict"] - sum(scores) / 2) < 1e-12
    assert one["turn_scores"] == "" and json.loads(two["task_params"])["turns"] == 2 and "turns" not in json.loads(one["task_params"])
    assert one["prompt_hash"] == two["prompt_hash"] and one["cell"] != two["cell"]
    asked, heads = two["late_tokens"], two["layers"] * two["heads"]
    assert two["input_tokens"] == one["input_tokens"] + asked and one["late_tokens"] is None
    assert two["prefill_attention_pairs"] == one["prefill_attention_pairs"]
    assert two["decode_linear_flops"] > one["decode_linear_flops"] > 0
    n, steps = one["input_tokens"], asked + two["output_tokens"] - 1 + (not two["truncated"])
    if key[1] == "dense":
        assert two["truncated"] or two["decode_attention_pairs"] == heads * (steps * n + steps * (steps + 1) / 2)
    if key[1] == "snapkv" and not two["truncated"] and not one["truncated"]:  # what it kept, and all that came since
        first = one["output_tokens"]
        kept = (one["decode_attention_pairs"] / heads - first * (first + 1) / 2) / first
        assert abs(two["decode_attention_pairs"] - heads * (steps * kept + steps * (steps + 1) / 2)) < 1e-6 * heads, (kept, steps)
        right += 1
assert right, "no answer of SnapKV ended by itself"
dense = [json.loads(r["turn_scores"])[1] for k, r in rows["twice"].items() if k[0] == k[1] == "dense"]
assert sum(dense) >= 0.5 * len(dense), dense
PY
done

# Shared: the first question is that of one that is asked alone and late, the prefill counts once, what is kept is kept once; the score
# is the mean. Anew: the second turn is a prompt that holds the conversation so far.
late="${niah/question: after/question: late}"
"$FRONTIER" run "$T/tiny.yaml" "${common[@]}" -o "$T/asked.h5" -s "tasks=[niah: {label: late, $late}, niah: {label: shared, shared: 2, $late}, niah: {label: twice, turns: 2, $niah},
    niah: {label: anew, turns: {n: 2, compress: each}, $niah}, niah: {label: anew late, turns: {n: 2, compress: each}, $late}]" >/dev/null 2>"$T/log" || fail "shared, anew: $(cat "$T/log")"
"$FRONTIER" export "$T/asked.h5" --jsonl >"$T/asked"
python3 - "$T/asked" <<'PY' || fail "shared, anew"
import json, sys
rows = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    rows.setdefault(r["task_label"], {})[r["prefill_method"], r["decode_method"], r["sample"]] = r
prefill = lambda r: {k: v for k, v in r.items() if k.startswith("prefill_") and k.endswith(("flops", "bytes", "pairs"))}
n = len(rows["late"])
assert n == 8 and all(len(r) == n for r in rows.values())
for key, shared in rows["shared"].items():
    late, heads = rows["late"][key], shared["layers"] * shared["heads"]
    texts, scores, gold = (json.loads(shared[k]) for k in ("prediction", "turn_scores", "gold"))
    assert texts[0] == late["prediction"] and scores[0] == late["strict"] and gold[0] == json.loads(late["gold"]) != gold[1]
    assert abs(shared["strict"] - sum(scores) / 2) < 1e-12 and json.loads(shared["task_params"])["shared"] == 2
    assert prefill(shared) == prefill(late) and shared["decode_linear_flops"] > 1.5 * late["decode_linear_flops"]
    first, tokens = late["late_tokens"], late["input_tokens"] - late["late_tokens"]
    assert shared["late_tokens"] - first == shared["input_tokens"] - late["input_tokens"] > 10
    if key[1] == "dense" and not shared["truncated"]:  # both begin where the context ends
        steps = [first + late["output_tokens"], shared["late_tokens"] - first + shared["output_tokens"] - late["output_tokens"]]
        assert shared["decode_attention_pairs"] == heads * sum(s * tokens + s * (s + 1) / 2 for s in steps)
assert sum(json.loads(r["turn_scores"])[1] for k, r in rows["shared"].items() if k[:2] == ("dense", "dense")) > 1
again = 0
for name in ("anew", "anew late"):
    for key, anew in rows[name].items():
        once, heads = rows["twice" if name == "anew" else "late"][key], anew["layers"] * anew["heads"]
        texts = json.loads(anew["prediction"])
        assert texts[0] == (json.loads(once["prediction"])[0] if name == "anew" else once["prediction"])
        assert anew["late_tokens"] == (None if name == "anew" else once["late_tokens"] + anew["input_tokens"] - once["input_tokens"])
        if key[0] == "dense" and not anew["truncated"]:  # two prefills, of which the second holds the first answer, too
            first = rows["late"][key]["input_tokens"]  # of `after` as many
            begun = first - (rows["late"][key]["late_tokens"] if name == "anew late" else 0)
            second = [n for n in range(first, anew["input_tokens"] + anew["output_tokens"])
                      if anew["prefill_attention_pairs"] == heads * (begun * (begun + 1) / 2 + n * (n + 1) / 2)]
            assert len(second) == 1, second
        if name == "anew" and key[:2] == ("dense", "dense"):
            assert texts == json.loads(once["prediction"]), "of dense, what is prefilled anew is answered as what was read"
            again += 1
assert again == 2
PY

# Stopped between samples, it goes on to the same rows.
twice="tasks=[niah: {turns: 2, $niah}]"
"$FRONTIER" run "$T/tiny.yaml" "${common[@]}" -s "$twice" -s samples=1 -o "$T/part.h5" >/dev/null 2>"$T/log" || fail "one sample: $(cat "$T/log")"
"$FRONTIER" run "$T/tiny.yaml" "${common[@]}" -s "$twice" -o "$T/part.h5" >/dev/null 2>"$T/log" || fail "the second: $(cat "$T/log")"
"$FRONTIER" run "$T/tiny.yaml" "${common[@]}" -s "$twice" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "both: $(cat "$T/log")"
diff <(rows "$T/part.h5" "$T/a") <(rows "$T/whole.h5" "$T/b") >/dev/null || fail "other rows after going on"
"$FRONTIER" show "$T/tiny.yaml" "${common[@]}" -s "$twice" -l 600 -i 0 -j | grep -q '"later"' || fail "show does not have the later turn"
"$FRONTIER" report "$T/whole.h5" --out "$T/report" >/dev/null 2>"$T/log" || fail "report: $(cat "$T/log")"

# What the table of long generation says of a method: its score along the turns, and what is read for a right answer.
"$FRONTIER" export "$T/whole.h5" --csv >"$T/whole.csv"
python3 tests/peers/long_generation.py <"$T/whole.csv" >"$T/table" || fail "long_generation.py"
python3 - "$T/whole.csv" "$T/table" <<'PY' || fail "the table of long generation: $(cat "$T/table")"
import csv, json, sys
for method in ("dense", "quest", "snapkv"):
    mine = [r for r in csv.DictReader(open(sys.argv[1])) if r["decode_method"] == method and r["prefill_method"] == "dense"]
    said = next(line.split() for line in open(sys.argv[2]) if line.split()[:1] == [method])
    scores = [json.loads(r["turn_scores"]) for r in mine]
    read = sum(float(v) for r in mine for k, v in r.items() if k.startswith("decode_") and k.endswith("_bytes"))
    right = sum(map(sum, scores))
    assert len(mine) == 2 and said[6] == f"{sum(int(r['output_tokens']) for r in mine) / 2:.0f}", said
    assert said[3] == f"{sum(s[0] for s in scores) / 2:.2f}" and said[5] == f"{sum(s[1] for s in scores) / 2:.2f}", (said, scores)
    assert said[10:] == ([f"{read / right / 1e9:.3f}", "GB"] if right else ["none"]), (said, read, right)
PY

# What a plan counts: two prefills that four cells share, of two samples; anew, another of each cell's own.
for compress in once each; do
    "$FRONTIER" plan "$T/tiny.yaml" "${common[@]}" --json -s "tasks=[niah: {turns: {n: 2, compress: $compress}, $niah}]" >"$T/$compress.json" || fail "plan, compress: $compress"
done
python3 - "$T" <<'PY' || fail "plan, compress: each"
import json, sys
once, each = (json.load(open(f"{sys.argv[1]}/{c}.json")) for c in ("once", "each"))
assert (once["prefill_passes"], each["prefill_passes"]) == (4, 4 + 8), (once, each)
assert each["input_tokens"] == 3 * once["input_tokens"] and once["samples"] == each["samples"] == 8
# two dense and two sparse ones; then six more dense ones and two sparse ones
assert 2 * once["prefill_flops"] < each["prefill_flops"] < 4 * once["prefill_flops"], (once, each)
assert each["decode_flops"] == once["decode_flops"]
PY

refused "task 'vt' asks once on a context.*niah, story_retrieval" "$FRONTIER" plan "$T/tiny.yaml" -s 'tasks=[vt: {turns: 2}]'
refused 'divergence is not measured over several turns' "$FRONTIER" plan "$T/tiny.yaml" -s 'measures=[score, divergence]' -s "$twice"
refused 'divergence is not measured over several turns: leave out `shared`' "$FRONTIER" plan "$T/tiny.yaml" -s 'measures=[score, divergence]' -s "tasks=[niah: {shared: 2, $late}]"
refused 'add `question: late`' "$FRONTIER" plan "$T/tiny.yaml" -s "tasks=[niah: {shared: 2, $niah}]"
refused 'expected one of them' "$FRONTIER" plan "$T/tiny.yaml" -s "tasks=[niah: {shared: 2, turns: 2, $late}]"
refused "task 'vt' asks once on a context; .shared. is for tasks that can ask again: niah, story_retrieval$" "$FRONTIER" plan "$T/tiny.yaml" -s 'tasks=[vt: {shared: 2, question: late}]'
refused 'expected one of once.each' "$FRONTIER" plan "$T/tiny.yaml" -s "tasks=[niah: {turns: {n: 2, compress: never}, $niah}]"
refused 'expected {n: TURNS, compress: once}' "$FRONTIER" plan "$T/tiny.yaml" -s "tasks=[niah: {turns: {compress: each}, $niah}]"
refused 'expected.*1.*64' "$FRONTIER" plan "$T/tiny.yaml" -s turns=0
refused 'several turns take a chat template' "$FRONTIER" run "$T/tiny.yaml" "${common[@]}" -s "$twice" -o "$T/no.h5" \
    -s 'models=[{path: models/frontier-mini/s, chat: {prefix: "Q", suffix: "A"}}]'
[ ! -e "$T/no.h5" ] || fail "a results file of a refused run"
refused 'several turns are no sample to train on' "$FRONTIER" tasks export "$T/tiny.yaml" "${common[@]}" -s "$twice" --out "$T/train.h5" --samples 2 --seed 7
echo "turns: ok"
