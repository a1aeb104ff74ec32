#!/bin/bash
# attention: of a model that was trained under a method. It is run as that method would be, answers and counts alike, in both phases where the method
# has both; it is the model's dense cell wherever results are read, beside a model that methods are put on; and the file says what it was.
. "$(dirname "$0")/common.bash"
config() { # MODELS METHODS
    cat >"$T/$1.yaml" <<EOF
name: $1
models:   $2
tasks:    [niah: {queries: 1, key_groups: 1, value_groups: 1, group_length: 4}]
lengths:  [600]
sparsity: [0.3, 0.5, 0.7]
methods:  $3
samples:  2
output:   8
answer:   direct
EOF
    "$FRONTIER" run "$T/$1.yaml" -v -o "$T/$1.h5" >"$T/out" 2>"$T/log" || fail "$1: $(cat "$T/log")"
}
config put "[models/frontier-mini/s]" "{prefill: [moba: {k: 2}], joint: [{prefill: {spattention: {length: 300}}, decode: {spattention: {length: 300}}}]}"
config own "[{path: models/frontier-mini/s, label: moba, attention: {moba: {k: 2}}}, {path: models/frontier-mini/s, label: bands, attention: {spattention: {length: 300}}}, models/frontier-mini/s]" \
    "{prefill: [vertical_slash]}"
for line in 'moba, niah.* 600 tokens, moba\(k=2\), exact' 'bands, niah.* 600 tokens, spattention\(length=300\), exact' 's, niah.* 600 tokens, dense, exact'; do
    grep -qE "^$line" "$T/log" || fail "no '$line' in: $(cat "$T/log")"
done
"$FRONTIER" plan "$T/own.yaml" >"$T/out" || fail plan
grep -q 'moba .*as it was trained alone, under moba(k=2)' "$T/out" || fail "plan says: $(cat "$T/out")"
for results in put own; do "$FRONTIER" export "$T/$results.h5" --jsonl || fail "export"; done >"$T/rows"
${PYTHON:-python3} - "$T/rows" <<'END' || fail "rows"
import json, sys

rows = [json.loads(line) for line in open(sys.argv[1])]
put = {(r["prefill_method"], r["decode_method"], r["sample"]): r for r in rows if r["model"] == "s" and not r["attention"]}
own = [r for r in rows if r["attention"]]
assert {(r["model"], r["attention"]) for r in own} == {("moba", "moba(k=2)"), ("bands", "spattention(length=300)")}, own[0]
assert len(own) == 4 and len(rows) == 2 * (1 + 1 + 1) + 4 + 2 * (1 + 3)
for r in own:
    like = put["moba" if r["model"] == "moba" else "spattention", "dense" if r["model"] == "moba" else "spattention", r["sample"]]
    assert r["cell"] != like["cell"]
    for name in r:
        if "seconds" not in name and name not in ("cell", "model", "attention"):
            assert r[name] == like[name], (r["model"], name, r[name], like[name])
    dense = put["dense", "dense", r["sample"]]
    assert r["prefill_attention_pairs"] < dense["prefill_attention_pairs"] and (r["decode_attention_pairs"] < dense["decode_attention_pairs"]) == (r["model"] == "bands")
END

# A report: such a model is a point and a row under its method's name, and no other model's dense; no mean, curve or fit of dense has it.
"$FRONTIER" report "$T/own.h5" -F svg -o "$T/report" >"$T/out" 2>&1 || fail "report: $(cat "$T/out")"
grep -q '^prefill,600,bands,spattention(length=300),' "$T/report/figures/frontier.csv" || fail "no point of a model's own attention in the frontier"
grep -q '^| bands | spattention(length=300) | 600 | 2 | ' "$T/report/tables/scores.md" || fail "scores: $(cat "$T/report/tables/scores.md")"
grep -q '"attention":"moba(k=2)"' "$T/report/index.html" || fail "the page does not know what a model was trained under"
! grep -hE '^([^,]*,)?(moba|bands),([^,]*,)?[0-9]*,dense,' "$T/report/"*/*.csv || fail "what is not dense is called so"
grep -q 'near zero.*(1 of 6 cells): s niah' "$T/out" || fail "what was trained sparse is taken for a task that says nothing: $(cat "$T/out")"
grep -q '^vertical_slash,4,' "$T/report/tables/fits.csv" || fail "a fit has more than dense and three sparsities: $(cat "$T/report/tables/fits.csv")"
grep -q 'dense, or as trained' "$T/report/figures/frontier.svg" || fail "the legend does not say that models are as they were trained"
"$FRONTIER" run "$T/own.yaml" -o "$T/own.h5" >"$T/out" 2>&1 || fail "run again"
"$FRONTIER" status "$T/own.h5" "$T/own.yaml" -v >"$T/out" || fail status
grep -q ' moba(k=2): 2 of 2' "$T/out" || fail "status: $(cat "$T/out")"
"$FRONTIER" rm "$T/own.h5" --where method=moba --dry-run | grep -q 'moba(k=2) in prefill, dense in decode' || fail "rm"
"$FRONTIER" show "$T/own.h5" --method spattention | grep -q '^model: bands' || fail "show"
grep -q '^6 of 6 cells are whole' "$T/out" || fail "status: $(cat "$T/out")"
refused "weights: expected a safetensors file" "$FRONTIER" plan "$T/own.yaml" -s "models=[{path: models/frontier-mini/s, attention: {nsa: {blocks: 4}}}]"

# Methods in both phases alone leave nothing to figures of one phase: these are not made, and the report is whole. A mean over models of dense
# attention, beside a method's, is of the models that attend so, and a figure of one model is of one that methods are put on.
config joint "[models/frontier-mini/s, {path: models/frontier-mini/s, label: moba, attention: {moba: {k: 2}}}]" "{joint: [{prefill: {moba: {k: 2}}, decode: {snapkv: {capacity: 64}}}]}"
"$FRONTIER" report "$T/joint.h5" -F svg -o "$T/joint" >"$T/out" 2>&1 || fail "report of joint methods: $(cat "$T/out")"
[ ! -e "$T/joint/figures/tasks.csv" ] && [ ! -e "$T/joint/figures/models.csv" ] && [ ! -e "$T/joint/figures/estimation.csv" ] || fail "figures of nothing"
[ -e "$T/report/figures/tasks-s.csv" ] && [ ! -e "$T/report/figures/tasks-moba.csv" ] || fail "tasks: $(ls "$T/report/figures")"
grep -q ',dense,.*,1,2,1,0$' "$T/report/figures/tasks.csv" || fail "dense: $(grep ',dense,' "$T/report/figures/tasks.csv")"
! grep -q 'bands\|moba' "$T/report/figures/models.csv" "$T/report/figures/cost.csv" || fail "what is not dense stands at sparsity 0"

# A prefill of given numbers is made once for all cells that ask for it, and counted so: dense, and moba alone and under two levels of quest.
"$FRONTIER" plan "$T/joint.yaml" -s "models=[models/frontier-mini/s]" -s "sparsity=[0.5, 0.8]" \
    -s "methods={prefill: [moba: {k: 2}], joint: [{prefill: {moba: {k: 2}}, decode: quest}]}" >"$T/out" || fail plan
grep -qE '^ *prefill passes +4 ' "$T/out" || fail "prefills: $(cat "$T/out")"
echo "own_attention: ok"
