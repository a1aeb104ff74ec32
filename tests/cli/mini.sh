#!/bin/bash
# The embedded models solve what their card says they solve, size matters, and eviction at a twentieth of the cache breaks all.
. "$(dirname "$0")/common.bash"
"$FRONTIER" run configs/demo.yaml -o "$T/m.h5" -s lengths=[1024] -s samples=2 -s output=96 -s 'sparsity=[0.95]' -s 'methods={decode: [snapkv]}' \
    -s recall=0 >"$T/out" 2>"$T/log" || fail "run: $(cat "$T/log")"
"$FRONTIER" export "$T/m.h5" -c -o "$T/m.csv" || fail "export"
# Quoted fields hold commas: each becomes one word.
sed -E 's/"([^"]|"")*"/_/g' "$T/m.csv" >"$T/rows"
mean() { # MODEL TASK DECODE_METHOD: mean strict score; TASK .: of all tasks
    awk -F, -v model="frontier-mini-$1" -v task="$2" -v method="$3" '
        NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
        $column["model"] == model && (task == "." || $column["task_label"] == task) && $column["decode_method"] == method {
            sum += $column["strict"]; n++ }
        END { printf "%.2f", n ? sum / n : -1 }' "$T/rows"
}
holds() { awk "BEGIN { exit !($1) }"; }
for cell in 's niah' 'm niah' 'm story_retrieval' 'm story_multihop' 'l niah' 'l story_retrieval' 'l story_multihop'; do
    [ "$(mean $cell dense)" = 1.00 ] || fail "$cell: dense $(mean $cell dense) instead of 1.00"
done
for size in m l; do
    holds "$(mean $size cwe dense) >= 0.85" || fail "$size cwe: dense $(mean $size cwe dense)"
    holds "$(mean $size . dense) > $(mean s . dense) + 0.1" || fail "$size: dense $(mean $size . dense), s $(mean s . dense)"
done
for size in s m l; do
    holds "$(mean $size . snapkv) >= 0 && $(mean $size . snapkv) < 0.2" || fail "$size: snapkv scores $(mean $size . snapkv)"
done
echo "mini: ok"
