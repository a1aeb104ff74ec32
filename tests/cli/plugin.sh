#!/bin/bash
# A method out of tree: built against installed headers, named in YAML, run; broken ones are refused in clear words.
. "$(dirname "$0")/common.bash"
tiny
P=$T/prefix
installed "$P" MAN=
cp -r tests/plugin "$T/plugin"
make -s -C "$T/plugin" PREFIX="$P" >"$T/log" 2>&1 || fail "the plug-in does not build: $(cat "$T/log")"
for broken in wrong_abi no_symbol no_hooks out_of_range needs_more crashes; do
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
run+=(-s on_error=stop) # tests/cli/apart.sh has the other way
try "$T/out_of_range.so" prefill out_of_range; refused 'out_of_range.*layer 0' "${run[@]}" "${try[@]}"
try "$T/out_of_range.so" decode out_of_range; refused 'out_of_range.*layer 0' "${run[@]}" "${try[@]}"
status=0
{ ASAN_OPTIONS=handle_segv=0 "$P/bin/frontier" check "$T/crashes.so" >/dev/null 2>"$T/log" || status=$?; } 2>/dev/null
[ $status = 139 ] || fail "a crash ended with status $status"
grep -q "crashed in method 'crashes', decode, layer 1" "$T/log" || fail "a crash was not named: $(cat "$T/log")"
echo "plugin: ok"
