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

# Both begin within a second, whenever this test runs: of three in a row two do.
for i in 1 2 3; do "$FRONTIER" run "$T/tiny.yaml" -o "$T/two.h5" -s samples=1 -s batch=$i >/dev/null 2>&1 || fail "run $i"; done
if python3 -c 'import h5py' 2>/dev/null; then
    n=$(python3 -c "import h5py; print(len(h5py.File('$T/two.h5')['runs']))")
    [ "$n" = 3 ] || fail "three runs left $n on record"
else # their configs lie in the file as they are
    n=$(grep -ac '^# --set batch=' "$T/two.h5")
    [ "$n" = 3 ] || fail "three runs left $n on record"
fi
echo "stored: ok"
