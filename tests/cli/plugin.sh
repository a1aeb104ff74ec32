#!/bin/bash
# A method out of tree: built against installed headers, named in YAML, run; broken ones are refused in clear words.
. "$(dirname "$0")/common.bash"
tiny
P=$T/prefix
installed "$P" MAN=
cp -r tests/plugin "$T/plugin"
make -s -C "$T/plugin" PREFIX="$P" >"$T/log" 2>&1 || fail "the plug-in does not build: $(cat "$T/log")"
for broken in wrong_abi no_symbol no_hooks out_of_range needs_more crashes unsaid_cost; do
    make -s -C "$T/plugin" PREFIX="$P" $broken.so 2>"$T/log" || fail "$broken.c: $(cat "$T/log")"
    mv "$T/plugin/$broken.so" "$T"
done
run=("$P/bin/frontier" run "$T/tiny.yaml" -o "$T/p.h5" -s samples=1)
# try FILE PHASE METHOD: the words that put a plug-in's method into the sweep, in $try
try() { try=(-s "plugins=[$1]" -s "methods={$2: [$3]}"); }
try "$T/plugin/sink_window.so" prefill sink_window; "${run[@]}" "${try[@]}" >/dev/null 2>"$T/log" || fail "prefill: $(cat "$T/log")"
try "$T/plugin/sink_window.so" decode sink_window; "${run[@]}" "${try[@]}" >/dev/null 2>"$T/log" || fail "decode: $(cat "$T/log")"
[ "$(rows "$T/p.h5" | grep -c sink_window)" = 8 ] || fail "expected 8 rows of the plug-in"
try "$T/wrong_abi.so" prefill wrong_abi; refused 'wrong_abi.so.*ABI' "${run[@]}" "${try[@]}"
try "$T/no_symbol.so" prefill no_symbol; refused 'no_symbol.so' "${run[@]}" "${try[@]}"
try "$T/no_hooks.so" prefill no_hooks; refused 'no_hooks.so' "${run[@]}" "${try[@]}"
try "$T/none.so" prefill none; refused 'none.so' "${run[@]}" "${try[@]}"

# Weights of its own, of the two layers and the one kv head of the model here. weights FILE NAME FLOAT SHAPE: a window of so many
# keys, the bytes of a float, for the kv head; the second layer's tensor has that name and shape.
make -s -C "$T/plugin" PREFIX="$P" trained_window.so 2>"$T/log" || fail "trained_window.c: $(cat "$T/log")"
weights() {
    local keys=$3 header
    header=$(printf '{"layers.0.window":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"%s":{"dtype":"F32","shape":%s,"data_offsets":[4,8]}}' "$2" "$4")
    while [ $((${#header} % 8)) != 0 ]; do header+=' '; done
    { printf "$(printf '\\x%02x\\x%02x' $((${#header} % 256)) $((${#header} / 256)))"'\0\0\0\0\0\0%s' "$header"
      for _ in 1 2; do printf "$keys"; done; } >"$1"
}
weights "$T/w.safetensors" layers.1.window '\0\0\x80\x42' '[1]' # 64
weights "$T/other.safetensors" layers.1.window '\0\0\0\x43' '[1]' # 128
weights "$T/missing.safetensors" layers.7.window '\0\0\x80\x42' '[1]'
weights "$T/misshapen.safetensors" layers.1.window '\0\0\x80\x42' '[1, 1]'
weights "$T/deep.safetensors" layers.1.window '\0\0\x80\x42' '[1, 1, 1, 1, 1]'
trained=("$P/bin/frontier" run "$T/tiny.yaml" -s samples=1 -s "plugins=[$T/plugin/trained_window.so]")
"${trained[@]}" -o "$T/w.h5" -s "methods={decode: [trained_window: {weights: $T/w.safetensors}]}" >/dev/null 2>"$T/log" || fail "weights: $(cat "$T/log")"
"${trained[@]}" -o "$T/w.h5" -s "methods={decode: [trained_window: {weights: $T/other.safetensors}]}" >/dev/null 2>"$T/log" || fail "weights: $(cat "$T/log")"
[ "$(rows "$T/w.h5" | grep -c trained_window)" = 4 ] || fail "expected 2 rows of either file: $(rows "$T/w.h5" | grep -c trained_window)"
cp "$T/other.safetensors" "$T/w.safetensors" # under the same name: other cells
"${trained[@]}" -o "$T/w.h5" -s "methods={decode: [trained_window: {weights: $T/w.safetensors}]}" >/dev/null 2>"$T/log" || fail "weights: $(cat "$T/log")"
[ "$(rows "$T/w.h5" | grep -c trained_window)" = 6 ] || fail "a file that has changed is taken for what it was"
# A model that was trained under it, then trained on: the same file's name, other results; a report shows the later ones.
own=("${trained[@]}" -o "$T/own.h5" -s "models=[{path: tests/golden/model/qwen2, attention: {trained_window: {weights: $T/own.safetensors}}}]")
for keys in '\0\0\x80\x42' '\0\0\0\x43'; do # 64, then 128
    weights "$T/own.safetensors" layers.1.window "$keys" '[1]'
    "${own[@]}" >/dev/null 2>"$T/log" || fail "own weights: $(cat "$T/log")"
    "$P/bin/frontier" status "$T/own.h5" "$T/tiny.yaml" "${own[@]:3:4}" "${own[@]: -2}" -v >"$T/out" || fail "status"
    "$P/bin/frontier" report "$T/own.h5" -f frontier -F svg -o "$T/report" >"$T/said" 2>&1 || fail "report: $(cat "$T/said")"
    ! grep -q 'stand where others stand' "$T/said" || fail "two trainings of a model in one place: $(cat "$T/said")"
    for key in $(sed -nE 's/^  ([0-9a-f]{12})  trained_window.*/\1/p' "$T/out"); do
        grep -q ",$key" "$T/report/tables/tasks.csv" || fail "the report shows another training than the last: $(cat "$T/out" "$T/report/tables/tasks.csv")"
    done
    [ "$(wc -l <"$T/report/tables/tasks.csv")" = 3 ] || fail "not two tasks: $(cat "$T/report/tables/tasks.csv")"
done
grep -q 'other weights' "$T/report/index.html" || fail "the page does not say what else is in the file"
refused 'tensor layers.1.window: expected shape \[1\], not found' "${trained[@]}" -o "$T/no.h5" -s "methods={decode: [trained_window: {weights: $T/missing.safetensors}]}"
refused 'tensor layers.1.window: expected shape \[1\], found \[1, 1\]' "${trained[@]}" -o "$T/no.h5" -s "methods={decode: [trained_window: {weights: $T/misshapen.safetensors}]}"
refused 'expected F32, F16 or BF16 of shape \[1\], found F32 of more than 4 dimensions' "${trained[@]}" -o "$T/no.h5" -s "methods={decode: [trained_window: {weights: $T/deep.safetensors}]}"
refused 'expected a safetensors file with what was trained' "${trained[@]}" -o "$T/no.h5" -s "methods={decode: [trained_window]}"
[ ! -e "$T/no.h5" ] || fail "something was run without its weights"
"$P/bin/frontier" check "$T/unsaid_cost.so" >"$T/out" 2>"$T/log" && fail "what chooses at a cost that it does not say is certified"
grep FAIL "$T/out" >"$T/failed"; [ "$(wc -l <"$T/failed")" = 1 ] || fail "unsaid_cost: more than its costs fails: $(cat "$T/failed")"
grep -q 'decode *choosing costs what estimate() says *FAIL.*it has no estimate()' "$T/failed" || fail "unsaid_cost: $(cat "$T/failed")"
"$P/bin/frontier" check "$T/plugin/trained_window.so" >"$T/out" 2>&1 || fail "with weights made up: $(cat "$T/out")"
grep -q 'with weights made up' "$T/out" || fail "check does not say whose weights: $(cat "$T/out")"
run+=(-s on_error=stop) # tests/cli/apart.sh has the other way
try "$T/out_of_range.so" prefill out_of_range; refused 'out_of_range.*layer 0' "${run[@]}" "${try[@]}"
try "$T/out_of_range.so" decode out_of_range; refused 'out_of_range.*layer 0' "${run[@]}" "${try[@]}"
status=0
{ ASAN_OPTIONS=handle_segv=0 "$P/bin/frontier" check "$T/crashes.so" >/dev/null 2>"$T/log" || status=$?; } 2>/dev/null
[ $status = 139 ] || fail "a crash ended with status $status"
grep -q "crashed in method 'crashes', decode, layer 1" "$T/log" || fail "a crash was not named: $(cat "$T/log")"
echo "plugin: ok"
