#!/bin/bash
# Two runs into one file, the second begun a moment after the first: one of them is refused and the other does not notice.
# PAIRS=200 for more; SECONDS_MOST, JOBS as elsewhere.
. "$(dirname "$0")/common.bash"
"${run[@]}" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "the run itself: $(cat "$T/log")"
rows "$T/whole.h5" >"$T/whole"
RANDOM=${SEED:-1}
for ((i = 0; i < ${PAIRS:-200}; i++)); do echo "$i 0.$(printf '%03d' $((RANDOM % 120)))"; done >"$T/pairs"

try() {
    local i=$1 a=0 b=0 first
    rm -rf "$X/at" && mkdir "$X/at"
    "${run[@]}" -o "$X/at/x.h5" >/dev/null 2>"$X/first" &
    first=$!
    read -r -t "$2" <> <(:) || true
    "${run[@]}" -o "$X/at/x.h5" >/dev/null 2>"$X/second" || b=$?
    wait $first || a=$?
    ended $a/$b
    [ $a = 0 ] || [ $b = 0 ] || wrong "pair $i: both ended: $(tail -n 1 "$X/first"); $(tail -n 1 "$X/second")"
    [ $a = 0 ] || grep -q 'another process' "$X/first" || wrong "pair $i, first, status $a: $(tail -n 1 "$X/first")"
    [ $b = 0 ] || grep -q 'another process' "$X/second" || wrong "pair $i, second, status $b: $(tail -n 1 "$X/second")"
    rows "$X/at/x.h5" "$X/rows" 2>/dev/null | cmp -s - "$T/whole" || wrong "pair $i: the rows are not the sweep's"
    [ "$(ls -A "$X/at")" = x.h5 ] || wrong "pair $i leaves $(ls -A "$X/at" | tr '\n' ' ')"
}
try_all pairs "$T/pairs"
