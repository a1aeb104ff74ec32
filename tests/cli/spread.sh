#!/bin/bash
# A sweep spread over several workers: the same rows as from one, resumed, and refused where the list of devices is wrong.
. "$(dirname "$0")/common.bash"
tiny
"$FRONTIER" run "$T/tiny.yaml" -o "$T/one.h5" -s samples=4 >/dev/null 2>&1
"$FRONTIER" run "$T/tiny.yaml" -o "$T/two.h5" -s samples=1 -d cpu:0,1 2>"$T/log" >/dev/null || fail "run: $(cat "$T/log")"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/two.h5" -v -s samples=4 -d cpu:0,1,2 2>"$T/log" >"$T/said" || fail "run: $(cat "$T/log")"
[ "$(sed -nE 's/^cpu:[012]: .* over ([0-9]+) samples$/\1/p' "$T/log" | awk '{ n += $1 } END { print n }')" = 30 ] ||
    fail "three more samples of ten cells are not 30: $(cat "$T/log")"
grep -q '^Results: ' "$T/said" || fail "no closing words"
[ -e "$T/two.h5.parts" ] && fail "parts are left: $(ls "$T/two.h5.parts")"
[ "$(sed -nE 's/^(cpu:[012]): .*/\1/p' "$T/log" | sort -u | wc -l)" -gt 1 ] || fail "one worker did everything: $(cat "$T/log")"
rows "$T/one.h5" >"$T/a"; rows "$T/two.h5" >"$T/b"
cmp -s "$T/a" "$T/b" || fail "several workers give other rows than one: $(diff "$T/a" "$T/b" | head -n 4)"

"$FRONTIER" plan "$T/tiny.yaml" -s device=cpu:0,1 >/dev/null || fail "plan of several devices"
refused "names 1 twice" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -d cpu:1,1
refused "expected numbers" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -d cpu:0,
refused "there are 16" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -d cpu:0,16
refused "one device" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -d cpu:x
refused "is unknown" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -d gpu:0,1
[ -e "$T/x.h5" ] && fail "a refused run left a file"

# A killed worker ends the run, which says whose it was; what was finished is kept.
"$FRONTIER" run "$T/tiny.yaml" -o "$T/k.h5" -s samples=100000 -d cpu:0,1 >/dev/null 2>"$T/log" &
parent=$!
await_parts 3 "$T/k.h5" $parent
workers=$(children $parent)
[ "$(echo "$workers" | wc -w)" = 2 ] || fail "expected two workers: $workers $(cat "$T/log")"
kill -9 "$(echo "$workers" | tail -n 1)"
wait $parent && fail "a run whose worker was killed succeeded"
grep -q 'error: cpu:[01]: its process was ended by signal 9' "$T/log" || fail "killed worker: $(cat "$T/log")"
[ "$(ls "$T/k.h5.parts" | wc -l)" -gt 3 ] || fail "what was finished is gone"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/k.h5" -s samples=2 -d cpu:0,1 >/dev/null 2>"$T/log" || fail "going on: $(cat "$T/log")"

# Asked to stop, all workers finish what they have at hand, and it becomes the results.
"$FRONTIER" run "$T/tiny.yaml" -o "$T/s.h5" -s samples=100000 -d cpu:0,1 >/dev/null 2>"$T/log" &
parent=$!
await_parts 3 "$T/s.h5" $parent
kill -TERM $parent
status=0
wait $parent || status=$?
[ $status = 130 ] || fail "stopped with status $status: $(cat "$T/log")"
[ "$(grep -c 'stopping after' "$T/log")" = 1 ] || fail "not one voice: $(cat "$T/log")"
[ ! -e "$T/s.h5.parts" ] && [ "$(rows "$T/s.h5" | wc -l)" -gt 0 ] || fail "what was finished is not in the results"
echo "spread: ok"
