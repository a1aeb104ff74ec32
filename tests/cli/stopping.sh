#!/bin/bash
# Sampling that stops when it knows: a model that answers nothing is known to lose nothing after four rounds of two tasks.
. "$(dirname "$0")/common.bash"
tiny
stops=(-s 'samples={least: 2, most: 12, until: 0.5, error: decision}')
"$FRONTIER" plan "$T/tiny.yaml" "${stops[@]}" >"$T/plan" || fail "plan"
grep -q '2 to 12 samples each' "$T/plan" || fail "plan does not say how many: $(cat "$T/plan")"
grep -qE 'samples at least +20 ' "$T/plan" || fail "plan does not say the least: $(cat "$T/plan")"
"$FRONTIER" run "$T/tiny.yaml" "${stops[@]}" -o "$T/a.h5" >/dev/null 2>"$T/log" || fail "run: $(cat "$T/log")"
grep -q '^40 samples decided what they could, of at most 120$' "$T/log" || fail "not 40 samples: $(cat "$T/log")"
"$FRONTIER" export "$T/a.h5" --jsonl | sed -E 's/.*"cell":"([0-9a-f]*)".*/\1/' | sort | uniq -c | awk '$1 != 4 { exit 1 }' || fail "not 4 samples a cell"

# A cell that stopped lacks nothing; what nobody decided, and what has fewer than the least, does.
"$FRONTIER" status "$T/a.h5" "$T/tiny.yaml" "${stops[@]}" >"$T/status" || fail "status"
grep -q '^10 of 10 cells are whole, 40 of 40 samples; 10 stopped early: it is known what they say$' "$T/status" || fail "stopped cells are not whole: $(tail -n 1 "$T/status")"
"$FRONTIER" status "$T/a.h5" "$T/tiny.yaml" -s 'samples={least: 2, most: 12, until: 0.01, error: decision}' --json >"$T/status" || fail "status of what is not decided"
[ "$(grep -c '"wanted": 5' "$T/status")" = 10 ] && ! grep -q '"stopped": true' "$T/status" || fail "undecided cells want no more: $(cat "$T/status")"
"$FRONTIER" report "$T/a.h5" -o "$T/page" -f tasks -F png >/dev/null 2>&1 || fail "report"
grep -q 'samples stopped once it was known what they say' "$T/page/index.html" || fail "the page does not say what intervals of stopped samples are"
grep -q 'intervals are of a number fixed beforehand' "$T/page/tables/scores.md" || fail "nor does a table"
! grep -q 'incomplete against dense' "$T/page/index.html" || fail "what stopped is called incomplete"

# Begun with fewer, gone on: the same rows; once it is known, nothing is added.
"$FRONTIER" run "$T/tiny.yaml" -s samples=1 -o "$T/b.h5" >/dev/null 2>&1 || fail "one sample"
"$FRONTIER" status "$T/b.h5" "$T/tiny.yaml" "${stops[@]}" | grep -q '^0 of 10 cells are whole, 10 of 20 samples$' || fail "cells with fewer than the least are whole"
"$FRONTIER" run "$T/tiny.yaml" "${stops[@]}" -o "$T/b.h5" -d cpu:0,1 >/dev/null 2>"$T/log" || fail "resumed: $(cat "$T/log")"
rows "$T/a.h5" >"$T/x"; rows "$T/b.h5" >"$T/y"
cmp -s "$T/x" "$T/y" || fail "resumed, other rows: $(diff "$T/x" "$T/y" | head -n 4)"
"$FRONTIER" run "$T/tiny.yaml" "${stops[@]}" -o "$T/b.h5" >/dev/null 2>&1 || fail "again"
rows "$T/b.h5" >"$T/y"
cmp -s "$T/x" "$T/y" || fail "nothing was left, but rows were added"

# More to be decided: among rivals that nothing tells apart, the whole order and the frontier are known at once, too.
"$FRONTIER" run "$T/tiny.yaml" -s 'samples={least: 2, most: 12, until: 0.5, decide: [ranking, frontier], error: decision}' -o "$T/c.h5" >/dev/null 2>"$T/log" || fail "ranking and frontier"
grep -q '^40 samples decided what they could' "$T/log" || fail "ranking, frontier: not 40 samples: $(cat "$T/log")"
# Where 5 % are those of all decisions together, which is what is meant unless a config says otherwise, each takes more.
for error in '' ', error: study'; do
    "$FRONTIER" run "$T/tiny.yaml" -s "samples={least: 2, most: 12, until: 0.5$error}" -o "$T/d$error.h5" >/dev/null 2>"$T/log" || fail "study"
    grep -q '^50 samples decided what they could' "$T/log" || fail "error of the study$error: not 50 samples: $(cat "$T/log")"
done
refused 'expected one of study.decision' "$FRONTIER" plan "$T/tiny.yaml" -s 'samples={least: 2, most: 12, until: 0.5, error: none}'
refused 'expected one of best.ranking.frontier' "$FRONTIER" plan "$T/tiny.yaml" -s 'samples={least: 2, most: 12, until: 0.5, decide: [rank]}'
refused 'samples.decide: the list is empty' "$FRONTIER" plan "$T/tiny.yaml" -s 'samples={least: 2, most: 12, until: 0.5, decide: []}'

refused 'expected {least: SAMPLES, most: SAMPLES, until: SCORE}' "$FRONTIER" run "$T/tiny.yaml" -s 'samples={least: 2}' -o "$T/x.h5"
refused 'samples.*expected' "$FRONTIER" run "$T/tiny.yaml" -s 'samples={least: 9, most: 3, until: 0.1}' -o "$T/x.h5"
refused 'not with ranks or shards' "$FRONTIER" run "$T/tiny.yaml" "${stops[@]}" --shard 1/2 -o "$T/x.h5"
echo "stopping: ok"
