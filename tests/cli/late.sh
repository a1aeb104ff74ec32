#!/bin/bash
# question: late: what stands behind the context is read after the prefill. Where nothing is sparse that changes nothing but what is
# counted where; what looks at the prompt's end to choose chooses otherwise; and every row says how many tokens came late.
. "$(dirname "$0")/common.bash"
tiny
tasks='tasks=[vt: {chains: 1, hops: 1, label: after, question: after}, vt: {chains: 1, hops: 1, label: late, question: late}]'
for device in cpu reference; do
    samples=2
    [ $device = cpu ] || samples=1 # its loops are slow
    "$FRONTIER" run "$T/tiny.yaml" -s "$tasks" -s 'measures=[score, divergence]' -s samples=$samples -s 'methods={prefill: [vertical_slash], decode: [quest, snapkv]}' \
        -d $device -o "$T/$device.h5" >/dev/null 2>"$T/log" || fail "run on $device: $(cat "$T/log")"
    "$FRONTIER" export "$T/$device.h5" --jsonl >"$T/$device"
    python3 - "$T/$device" $samples <<'EOF' || fail "$device"
import json, sys
rows, samples = {}, int(sys.argv[2])
for line in open(sys.argv[1]):
    r = json.loads(line)
    key = r["prefill_method"], r["prefill_sparsity"], r["decode_method"], r["decode_sparsity"], r["sample"]
    rows.setdefault(r["task_label"], {})[key] = r
assert len(rows["after"]) == len(rows["late"]) == 7 * samples, (len(rows["after"]), len(rows["late"]))
works = "linear", "attention", "estimation", "other"
total = lambda r, what, phases=("prefill", "decode"): sum(r[f"{p}_{w}_{what}"] for p in phases for w in works)
chosen_otherwise = 0
for key, late in rows["late"].items():
    after = rows["after"][key]
    assert json.loads(late["task_params"])["question"] == "late" and late["cell"] != after["cell"]
    assert late["prompt_hash"] == after["prompt_hash"] and late["input_tokens"] == after["input_tokens"]
    n, q = late["input_tokens"], late["late_tokens"]
    assert after["late_tokens"] is None and 10 < q < n / 2, (q, n)
    steps, layers = q + late["output_tokens"] - 1 + (not late["truncated"]), late["layers"] * late["heads"]
    if key[2] == "dense":  # all keys of all steps
        assert late["decode_attention_pairs"] == layers * (steps * (n - q) + steps * (steps + 1) / 2)
    if key[0] == "dense":  # the prefill sees the context alone
        assert late["prefill_attention_pairs"] == layers * (n - q) * (n - q + 1) / 2
    if key[0] == key[2] == "dense":
        assert late["prediction"] == after["prediction"], (late["prediction"], after["prediction"])
        assert total(late, "pairs") == total(after, "pairs")
        assert late["decode_kl"] == 0 and late["decode_agreement"] > 1 - 1e-9
    elif key[2] != "dense":
        assert late["decode_kl"] > 0
        chosen_otherwise += late["decode_kl"] != after["decode_kl"]
assert chosen_otherwise == 4 * samples, chosen_otherwise
EOF
done

# Along the prompt: the sixteenths of it, whose rows are as many in each, are together what the whole is.
"$FRONTIER" run "$T/tiny.yaml" -s 'tasks=[vt: {chains: 1, hops: 1}]' -s 'measures=[score, divergence]' -s samples=2 -s 'sparsity=[0.5]' -o "$T/along.h5" >/dev/null 2>"$T/log" ||
    fail "run: $(cat "$T/log")"
"$FRONTIER" report "$T/along.h5" -f divergence,divergence_along,nll_along -o "$T/along" >/dev/null 2>"$T/log" || fail "report: $(cat "$T/log")"
python3 - "$T/along/figures" <<'EOF' || fail "the divergence along a prompt"
import csv, sys
def values(name, series):
    with open(f"{sys.argv[1]}/{name}.csv") as f:
        return [float(r["value"]) for r in csv.DictReader(f) if r["series"] == series and not r["panel"].endswith("output")]
whole, along = values("divergence", "vertical_slash"), values("divergence_along", "vertical_slash")
assert len(whole) == 1 and len(along) == 16, (whole, along)
assert whole[0] > 0.01 and abs(sum(along) / 16 - whole[0]) < 1e-3 * whole[0], (whole, sum(along) / 16)
assert len(values("nll_along", "vertical_slash")) == 16
EOF

# Of all tasks, or of one; a later word is the one that holds. A text asks nothing.
key() { "$FRONTIER" plan "$T/tiny.yaml" -s 'methods={}' -s 'sparsity=[]' -s samples=1 -s 'lengths=[2000]' --json "$@" | grep '"key"' || fail "plan $*"; }
[ "$(key -s 'tasks=[vt: {question: after}]')" != "$(key -s 'tasks=[vt: {question: late}]')" ] || fail "late has the key of after"
[ "$(key -s question=late -s 'tasks=[vt: {question: after}]')" = "$(key -s 'tasks=[vt: {question: after}]')" ] || fail "a task's own word does not hold"
[ "$(key -s question=late -s 'tasks=[vt]')" = "$(key -s 'tasks=[vt: {question: late}]')" ] || fail "the sweep's word is not that of its tasks"
refused "task 'text' asks nothing" "$FRONTIER" plan "$T/tiny.yaml" -s question=late -s 'tasks=[text]'
refused 'expected.*own.*late' "$FRONTIER" plan "$T/tiny.yaml" -s question=never
echo "late: ok"
