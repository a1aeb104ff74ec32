#!/bin/bash
# What a run says of its cells besides the answers: keys, parameters, budgets, costs, and every counter, of methods whose choices
# depend on no score, so that it is the same on every machine. tests/golden/run/counted.jsonl is as it was when somebody last looked
# at it: FRONTIER_GOLDEN=write tests/cli/counted.sh writes it anew; read what git diff says.
. "$(dirname "$0")/common.bash"
tiny
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" -s samples=2 -s 'lengths=[1000, 1200]' -s 'tasks=[vt: {chains: 1, hops: 1}]' -s 'sparsity=[0.7]' \
    -s 'methods={prefill: [streaming, random_blocks], decode: [streaming, snapkv, h2o: {every: 2}, tova], joint: [{prefill: streaming, decode: snapkv}]}' \
    >/dev/null 2>"$T/log" || fail "run: $(cat "$T/log")"
rows "$T/a.h5" | sed -E 's/"prediction":"([^"\\]|\\.)*",//; s/([0-9]\.[0-9]{4})[0-9]+/\1/g' >"$T/now"
golden=tests/golden/run/counted.jsonl
[ -z "${FRONTIER_GOLDEN:-}" ] || cp "$T/now" "$golden"
[ "$(wc -l <"$T/now")" = 32 ] || fail "expected 32 rows, found $(wc -l <"$T/now")"
cmp -s "$T/now" "$golden" || fail "other rows than when they were last looked at: $(diff <(tr ',' '\n' <"$golden") <(tr ',' '\n' <"$T/now") | head -n 20)"
echo "counted: ok"
