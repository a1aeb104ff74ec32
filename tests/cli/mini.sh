#!/bin/bash
# The embedded model solves what its card says it solves, and eviction at a twentieth of the cache breaks it.
. "$(dirname "$0")/common.bash"
"$FRONTIER" run configs/demo.yaml -o "$T/m.h5" -s lengths=[1024] -s samples=3 -s 'sparsity=[0.95]' -s 'methods={decode: [snapkv]}' \
    -s recall=0 >"$T/out" 2>"$T/log" || fail "run: $(cat "$T/log")"
"$FRONTIER" export "$T/m.h5" -c -o "$T/m.csv" || fail "export"
mean() { # TASK DECODE_METHOD: mean strict score
    awk -F, -v task="$1" -v method="$2" '
        NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
        $column["task_label"] == task && $column["decode_method"] == method { sum += $column["strict"]; n++ }
        END { printf "%.2f", n ? sum / n : -1 }' "$T/rows"
}
# Quoted fields hold commas: each becomes one word.
sed -E 's/"([^"]|"")*"/_/g' "$T/m.csv" >"$T/rows"
for task in niah vt story_filtering; do
    [ "$(mean $task dense)" = 1.00 ] || fail "$task: dense $(mean $task dense) instead of 1.00"
    awk -v s="$(mean $task snapkv)" 'BEGIN { exit !(s >= 0 && s < 0.5) }' || fail "$task: snapkv scores $(mean $task snapkv)"
done
echo "mini: ok"
