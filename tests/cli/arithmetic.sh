#!/bin/bash
# arithmetic: int8 is a device of its own, with keys of its own, said by plan, run, show, export and reports, which set nothing of it
# beside others; float is what it is without. The same answers from every instruction set and number of threads. Another device, and a
# model with no quantised weights, are refused.
. "$(dirname "$0")/common.bash"
python3 tests/cli/to_q8_0.py tests/golden/model/seeded/gguf/qwen2_moe.gguf "$T/q8_0.gguf" || fail "no Q8_0"
tiny "{path: $T/q8_0.gguf, chat: none}"
sed -i 's/^lengths:.*/lengths: [1500]/' "$T/tiny.yaml"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/r.h5" >/dev/null 2>"$T/log" || fail "float: $(cat "$T/log")"
! grep -q int8 "$T/log" || fail "int8 without being asked: $(cat "$T/log")"
"$FRONTIER" run "$T/tiny.yaml" -s arithmetic=float -o "$T/r.h5" >/dev/null 2>"$T/log" || fail "float: $(cat "$T/log")"
[ "$("$FRONTIER" export "$T/r.h5" --jsonl | wc -l)" = 30 ] || fail "float has other keys than nothing"
"$FRONTIER" plan "$T/tiny.yaml" -s arithmetic=int8 >"$T/out" || fail plan
grep -q 'q8_0, arithmetic int8: activations are rounded to 8 bits, 32 to a scale, for .* % of the weights of linear layers (Q8_0); the others (BF16) stay in fp32' "$T/out" || fail "plan says: $(cat "$T/out")"
"$FRONTIER" run "$T/tiny.yaml" -s arithmetic=int8 -o "$T/r.h5" >"$T/out" 2>"$T/log" || fail "int8: $(cat "$T/log")"
grep -q 'arithmetic int8: activations are rounded' "$T/log" || fail "run does not say it: $(cat "$T/log")"
grep -q 'Not compared with these: .*(cpu f32)' "$T/out" || fail "float is set beside int8: $(cat "$T/out")"
"$FRONTIER" show "$T/r.h5" >"$T/out" && grep -q '^dtype: f32' "$T/out" || fail "show: $(cat "$T/out")"
"$FRONTIER" show "$T/tiny.yaml" -s arithmetic=int8 >"$T/out" && grep -q '^device: cpu-int8' "$T/out" || fail "show of a config: $(cat "$T/out")"
"$FRONTIER" export "$T/r.h5" --jsonl >"$T/rows"
python3 - "$T/rows" <<'EOF' || fail "rows"
import json, sys
rows = {"cpu": {}, "cpu-int8": {}}
for line in open(sys.argv[1]):
    r = json.loads(line)
    assert r["dtype"] == {"cpu": "f32", "cpu-int8": "int8"}[r["device"]], (r["device"], r["dtype"])
    rows[r["device"]][r["task_label"], r["prefill_label"], r["prefill_sparsity"], r["decode_label"], r["decode_sparsity"], r["sample"]] = r
cpu, int8 = rows["cpu"], rows["cpu-int8"]
assert cpu.keys() == int8.keys() and len(cpu) == 30, (len(cpu), len(int8))
assert not {r["cell"] for r in cpu.values()} & {r["cell"] for r in int8.values()}
for key in cpu:
    assert cpu[key]["prompt_hash"] == int8[key]["prompt_hash"] and cpu[key]["input_tokens"] == int8[key]["input_tokens"]
EOF
# Products are the same bits in every set; attention is not, but this model's tokens are.
for how in "avx512 1" "avx2 2" "generic 3"; do
    SF_CPU_ISA=${how% *} "$FRONTIER" run "$T/tiny.yaml" -s arithmetic=int8 -s threads="${how#* }" -s sparsity=[] -s methods={} -o "$T/${how% *}.h5" >/dev/null 2>"$T/log" ||
        { grep -q 'not on this machine' "$T/log" || fail "$how: $(cat "$T/log")"; continue; }
    "$FRONTIER" export "$T/${how% *}.h5" --jsonl | grep -oE '"prediction": ?"([^"\\]|\\.)*"' >"$T/${how% *}.said"
done
for said in "$T"/*.said; do cmp "$said" "$T/generic.said" || fail "$said differs"; done
refused "device 'reference' has no int8 arithmetic" "$FRONTIER" run "$T/tiny.yaml" -s arithmetic=int8 -d reference -o "$T/none.h5"
refused "device 'cpu-bf16' has no int8 arithmetic" "$FRONTIER" run "$T/tiny.yaml" -s arithmetic=int8 -s dtype=bf16 -o "$T/none.h5"
refused "device 'cpu-int8' computes in int8" "$FRONTIER" run "$T/tiny.yaml" -s arithmetic=float -d cpu-int8 -o "$T/none.h5"
tiny
refused "arithmetic int8 is for weights in Q8_0, .*; its linear layers are in (F32|BF16|F16)" "$FRONTIER" run "$T/tiny.yaml" -s arithmetic=int8 -o "$T/none.h5"
[ ! -e "$T/none.h5" ] || fail "a refused run left a file"
echo "arithmetic: ok"
