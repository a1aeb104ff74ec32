#!/bin/bash
# What a results file brings along is not trusted: no command that reads one loads a plug-in which its config names, and the
# prompt is shown all the same. Two runs that begin in one second stay two.
. "$(dirname "$0")/common.bash"
tiny
plugin=$(dirname "$FRONTIER")/tests/plugin/leaves_trace.so
[ -e "$plugin" ] || fail "$plugin is not built"
export FRONTIER_TRACE=$T/trace
"$FRONTIER" run "$T/tiny.yaml" -o "$T/p.h5" -s "plugins=[$plugin]" -s 'methods={prefill: [leaves_trace]}' -s samples=1 \
    >/dev/null 2>"$T/log" || fail "the run: $(cat "$T/log")"
[ -e "$T/trace" ] || fail "the plug-in leaves no trace, so that this test shows nothing"
rm "$T/trace"
"$FRONTIER" show "$T/p.h5" --method leaves_trace --json >"$T/shown" 2>"$T/log" || fail "show: $(cat "$T/log")"
[ ! -e "$T/trace" ] || fail "show loads a plug-in that a results file names"
grep -q '"prompt":' "$T/shown" || fail "show has no prompt: $(cat "$T/shown")"
grep -q '"prediction":' "$T/shown" || fail "show has no prediction"
cp "$T/p.h5" "$T/q.h5"
for command in "export $T/p.h5 --jsonl" "compare $T/p.h5 $T/q.h5" "report $T/p.h5 --out $T/report --format svg"; do
    "$FRONTIER" $command >/dev/null 2>&1 || true
    [ ! -e "$T/trace" ] || fail "$command loads a plug-in that a results file names"
done

# A run is known by when it began, which lies in the file as text: three in a row, two of them within a second.
for i in 1 2 3; do "$FRONTIER" run "$T/tiny.yaml" -o "$T/two.h5" -s samples=1 -s batch=$i >/dev/null 2>&1 || fail "run $i"; done
n=$(grep -aoE '20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z' "$T/two.h5" | sort -u | wc -l)
[ "$n" = 3 ] || fail "three runs left $n on record"
echo "stored: ok"
