#!/bin/bash
# Two runs into one file, the second begun a moment after the first: one of them is refused and the other does not notice.
# PAIRS=200 for more; SECONDS_MOST as elsewhere.
. "$(dirname "$0")/common.bash"
mkdir "$T/x"
"${run[@]}" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "the run itself: $(cat "$T/log")"
rows "$T/whole.h5" >"$T/whole"
RANDOM=${SEED:-1} refusals=0
for ((i = 0; i < ${PAIRS:-200}; i++)); do
    over && break
    clear_results
    "${run[@]}" -o "$T/x/x.h5" >/dev/null 2>"$T/first" &
    first=$!
    read -r -t "0.$(printf '%03d' $((RANDOM % 120)))" <> <(:) || true
    a=0 b=0
    "${run[@]}" -o "$T/x/x.h5" >/dev/null 2>"$T/second" || b=$?
    wait $first || a=$?
    tried=$((tried + 1))
    [ $a = 0 ] || [ $b = 0 ] || wrong "pair $i: both ended: $(tail -n 1 "$T/first"); $(tail -n 1 "$T/second")"
    [ $a = 0 ] || grep -q 'another process' "$T/first" || wrong "pair $i, first, status $a: $(tail -n 1 "$T/first")"
    [ $b = 0 ] || grep -q 'another process' "$T/second" || wrong "pair $i, second, status $b: $(tail -n 1 "$T/second")"
    refusals=$((refusals + (a != 0) + (b != 0)))
    rows "$T/x/x.h5" 2>/dev/null | cmp -s - "$T/whole" || wrong "pair $i: the rows are not the sweep's"
    [ "$(ls "$T/x")" = x.h5 ] || wrong "pair $i leaves $(ls "$T/x" | tr '\n' ' ')"
done
echo "faults, pairs: $tried pairs of runs, $refusals refused, $bad wrong"
[ $bad = 0 ]
