#!/bin/bash
# dtype: bf16 on the cpu is a device of its own, with keys of its own; a device that computes otherwise refuses a dtype, and a machine
# without AMX-BF16 the device. The loops that stand for AMX in tests make the same answers as fp32 nearly everywhere.
. "$(dirname "$0")/common.bash"
tiny
"$FRONTIER" run "$T/tiny.yaml" -s samples=3 -o "$T/r.h5" >/dev/null 2>"$T/log" || fail "fp32: $(cat "$T/log")"
SF_CPU_ISA=loops "$FRONTIER" run "$T/tiny.yaml" -s samples=3 -s dtype=bf16 -o "$T/r.h5" >/dev/null 2>"$T/log" || fail "bf16: $(cat "$T/log")"
"$FRONTIER" export "$T/r.h5" --jsonl >"$T/rows"
python3 - "$T/rows" <<'EOF' || fail "rows"
import json, sys
rows = {"cpu": {}, "cpu-bf16": {}}
for line in open(sys.argv[1]):
    r = json.loads(line)
    assert r["dtype"] == {"cpu": "f32", "cpu-bf16": "bf16"}[r["device"]], (r["device"], r["dtype"])
    rows[r["device"]][r["model"], r["task_label"], r["length"], r["prefill_label"], r["prefill_sparsity"], r["decode_label"],
                      r["decode_sparsity"], r["sample"]] = r
cpu, bf16 = rows["cpu"], rows["cpu-bf16"]
assert cpu.keys() == bf16.keys() and len(cpu) > 2, (len(cpu), len(bf16))
assert not {r["cell"] for r in cpu.values()} & {r["cell"] for r in bf16.values()}
for key in cpu:
    assert cpu[key]["prompt_hash"] == bf16[key]["prompt_hash"] and cpu[key]["input_tokens"] == bf16[key]["input_tokens"]
EOF
refused "device 'reference' computes in f32" "$FRONTIER" run "$T/tiny.yaml" -s dtype=bf16 -d reference -o "$T/none.h5"
refused "device 'cpu-bf16' computes in bf16" "$FRONTIER" run "$T/tiny.yaml" -s dtype=f32 -d cpu-bf16 -o "$T/none.h5"
grep -qw amx_bf16 /proc/cpuinfo || refused "AMX-BF16" "$FRONTIER" run "$T/tiny.yaml" -s dtype=bf16 -o "$T/none.h5"
[ ! -e "$T/none.h5" ] || fail "a refused run left a file"
echo "dtype: ok"
