#!/bin/bash
# Cells one by one: what is stored and what lacks, running and removing some of them, other labels for what is stored, a config
# from five questions.
. "$(dirname "$0")/common.bash"
tiny
py() { ${PYTHON:-python3} -c "$@"; }
"$FRONTIER" plan "$T/tiny.yaml" -o "$T/a.h5" | grep -q 'stored already' && fail "plan: something is stored before anything is"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" -s samples=2 --only method=quest,sparsity=0.9 >"$T/out" 2>"$T/log" || fail "run --only: $(cat "$T/log")"
[ "$(rows "$T/a.h5" | wc -l)" = 4 ] || fail "--only ran other cells: $(rows "$T/a.h5" | wc -l) rows"
grep -qE '^[12]/2 cells: .*1100 tokens; ETA' "$T/log" || fail "no line of n/N: $(cat "$T/log")"
! grep -q 'over 2 samples' "$T/log" || fail "a line a cell without -v"
"$FRONTIER" plan "$T/tiny.yaml" -o "$T/a.h5" -s samples=2 | grep -q 'stored already  *4 samples, 2 of 10 cells whole' || fail "plan does not say what is stored"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" -s samples=2 >/dev/null 2>"$T/log" || fail "run of the rest"
grep -q 'a.h5: 2 of 10 cells are stored, 4 of 20 samples; what lacks is run' "$T/log" || fail "run does not say what is stored: $(cat "$T/log")"
rows "$T/a.h5" >"$T/whole"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/b.h5" -s samples=2 >/dev/null 2>&1
rows "$T/b.h5" >"$T/once"
cmp -s "$T/whole" "$T/once" || fail "cells run apart differ from cells run together"

"$FRONTIER" status "$T/a.h5" >"$T/out" || fail "status"
grep -q '^10 of 10 cells are whole, 20 of 20 samples$' "$T/out" || fail "status: $(cat "$T/out")"
"$FRONTIER" status "$T/a.h5" "$T/tiny.yaml" | grep -q '^0 of 10 cells are whole, 20 of 30 samples$' || fail "status with a config of three samples"
"$FRONTIER" status "$T/a.h5" --where phase=dense -v | grep -q 'dense: 2 of 2 samples' || fail "status -v"
"$FRONTIER" status "$T/a.h5" "$T/tiny.yaml" --json >"$T/json" || fail "status --json"
py 'import json, sys; x = json.load(open(sys.argv[1])); assert len(x) == 10 and all(c["samples"] == 2 and c["wanted"] == 3 and c["failed"] is None for c in x)' "$T/json" ||
    fail "status --json: $(cat "$T/json")"

# Removing: by words and by key; what is left stays as it was, and what was removed is run again.
key=$("$FRONTIER" status "$T/a.h5" --where task=vt,method=quest,sparsity=0.5 -v | sed -n 's/^  \([0-9a-f]*\) .*/\1/p')
[ ${#key} = 12 ] || fail "no key: $key"
"$FRONTIER" rm "$T/a.h5" --where "$key" --dry-run | grep -q '1 of 10 cells would be removed' || fail "rm --dry-run"
[ "$(rows "$T/a.h5" | wc -l)" = 20 ] || fail "rm --dry-run removes"
"$FRONTIER" rm "$T/a.h5" --where "$key" | grep -q '^1 of 10 cells are removed' || fail "rm by key"
"$FRONTIER" rm "$T/a.h5" --where method=vertical_slash >"$T/out" && grep -q '^4 of 9 cells are removed' "$T/out" || fail "rm by method: $(cat "$T/out")"
rows "$T/a.h5" >"$T/left"
[ "$(wc -l <"$T/left")" = 10 ] && [ "$(comm -13 "$T/whole" "$T/left" | wc -l)" = 0 ] || fail "rm changes what it leaves"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" -s samples=2 >/dev/null 2>&1 && rows "$T/a.h5" >"$T/again"
cmp -s "$T/whole" "$T/again" || fail "what was removed does not come back as it was"
refused 'no cell is method=snapkv' "$FRONTIER" rm "$T/a.h5" --where method=snapkv
refused "cells are not told by 'methd' \(did you mean 'method'" "$FRONTIER" rm "$T/a.h5" --where methd=quest
refused 'expected a number of tokens' "$FRONTIER" run "$T/tiny.yaml" --only length=long
refused 'six or more digits' "$FRONTIER" rm "$T/a.h5" --where abc
refused 'an empty choice' "$FRONTIER" status "$T/a.h5" --where ''
refused "no cell of the sweep's 10 is model=x" "$FRONTIER" run "$T/tiny.yaml" --only model=x
if "$FRONTIER" rm "$T/a.h5" >/dev/null 2>&1; then fail "rm without --where"; fi

# Other labels for the same cells: nothing runs again, and the file has the new ones; also where parts were left by a kill.
sed -e 's/vt: {/vt: {label: chains, /' -e 's/models: .*/models: [{path: tests\/golden\/model\/qwen2, label: other}]/' "$T/tiny.yaml" >"$T/named.yaml"
"$FRONTIER" run "$T/named.yaml" -o "$T/a.h5" -s samples=2 >"$T/out" 2>"$T/log" || fail "run with other labels: $(cat "$T/log")"
grep -q '^10 stored cells are renamed' "$T/log" || fail "no word of other labels: $(cat "$T/log")"
grep -q 'all 10 cells are stored' "$T/log" || fail "other labels run again: $(cat "$T/log")"
rows "$T/a.h5" >"$T/named"
[ "$(grep -c '"model":"other"' "$T/named")" = 20 ] && [ "$(grep -c '"task_label":"chains"' "$T/named")" = 10 ] || fail "labels: $(head -n 1 "$T/named")"
sed -e 's/"model":"other"/"model":"qwen2"/' -e 's/"task_label":"chains"/"task_label":"vt(chains=1,hops=1)"/' "$T/named" | sort >"$T/renamed"
sed -e 's/"task_label":"vt[^"]*"/"task_label":"vt(chains=1,hops=1)"/' "$T/whole" | sort | cmp -s - "$T/renamed" || fail "other labels change more than labels"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" >/dev/null 2>"$T/log" || fail "old labels and a third sample: $(cat "$T/log")"
[ "$(rows "$T/a.h5" | grep -c '"model":"qwen2"')" = 30 ] || fail "labels are not as they were"

# In parts, as a kill leaves them: a run is stopped at once by SIGKILL when its first parts are there.
"$FRONTIER" run "$T/tiny.yaml" -o "$T/k.h5" -s samples=200 >/dev/null 2>&1 &
run=$!
await_parts 3 "$T/k.h5" $run
kill -9 $run
wait $run 2>/dev/null || true
[ -d "$T/k.h5.parts" ] || fail "no parts are left"
"$FRONTIER" run "$T/named.yaml" -o "$T/k.h5" -s samples=1 >/dev/null 2>"$T/log" || fail "labels of parts: $(cat "$T/log")"
! rows "$T/k.h5" | grep -qv '"model":"other"' || fail "parts keep their labels"

# Five questions.
(cd "$T" && printf '%s\n' '{path: m, label: mine}' 'niah, vt' '2048' 'quest, block_sparse' '7' | "$FRONTIER" init mine.yaml >out) || fail "init: $(cat "$T/out")"
for line in 'tasks:  \[niah, vt\]' 'lengths: \[2048\]' '  prefill: \[.*block_sparse\]' '  decode:  \[quest\]' 'samples: 7 '; do
    grep -q "^$line" "$T/mine.yaml" || fail "init: no '$line' in $(cat "$T/mine.yaml")"
done
refused 'is there already' "$FRONTIER" init "$T/mine.yaml"
refused "did you mean 'quest'" bash -c "printf '%s\n' '' '' '' 'qest' '' | '$FRONTIER' init '$T/bad.yaml'"
refused 'the answers ended before' bash -c "printf '%s\n' '' '' | '$FRONTIER' init '$T/bad.yaml'"
[ ! -e "$T/bad.yaml" ] && [ ! -e "$T/bad.yaml.new" ] || fail "init leaves a config that is none"
"$FRONTIER" init "$T/all.yaml" --yes >/dev/null && "$FRONTIER" plan "$T/all.yaml" | grep -q 'cells = ' || fail "init --yes"
# What it proposes by itself is asked so that the embedded model knows the answer, in the words of configs/mini-study.yaml.
"$FRONTIER" run "$T/all.yaml" -s lengths=[1024] -s samples=2 -s sparsity=[0.5] -s 'methods={decode: [quest]}' -o "$T/all.h5" >/dev/null 2>&1 || fail "run of init's config"
[ "$(rows "$T/all.h5" | grep '"decode_method":"dense"' | grep -cE '"strict":1(\.0*)?[,}]')" = 6 ] || fail "dense is not right in init's config: $(rows "$T/all.h5")"
printf '%s\n' models/frontier-mini/s "niah, {vt: {chains: 2}}, cwe, story_retrieval,story_multihop , story_filtering" '' '' '' | "$FRONTIER" init "$T/six.yaml" >/dev/null || fail "init: six tasks"
grep -q '^  - {vt: {chains: 2}}$' "$T/six.yaml" || fail "init: a task with parameters is not left as it is: $(cat "$T/six.yaml")"
grep -oE '(introduction|instructions): "[^"]*"' configs/mini-study.yaml | grep -v variables | grep -v 'their names' | while read -r words; do
    grep -qF "$words" "$T/six.yaml" || fail "init: '$words' of mini-study.yaml is not asked: $(cat "$T/six.yaml")"
done
"$FRONTIER" plan "$T/six.yaml" >/dev/null || fail "init: plan of six tasks"
