#!/bin/bash
# A plug-in that crashes, exits or hangs, in each of its hooks, beside good methods: their results are complete and those of a
# run without it; its cells are named in the file, in `show` and `report`; the run ends with status 3.
. "$(dirname "$0")/common.bash"
plugin=$(dirname "$FRONTIER")/tests/plugin/misbehaves.so
[ -e "$plugin" ] || fail "$plugin is not built"
cat >"$T/good.yaml" <<EOF
name: good
models:   [tests/golden/model/qwen2]
tasks:    [vt: {chains: 1, hops: 1}]
lengths:  [1000]
sparsity: [0.5]
methods:  {prefill: [vertical_slash], decode: [quest, snapkv]}
samples:  2
output:   3
answer:   direct
EOF
sed -e "s/^methods:.*/methods: {prefill: [vertical_slash, misbehaves], decode: [quest, snapkv, misbehaves]}/" \
    -e "\$a plugins: [$plugin]\nhook_limit: 2" "$T/good.yaml" >"$T/both.yaml"
"$FRONTIER" run "$T/good.yaml" -o "$T/good.h5" -t 1 >/dev/null 2>"$T/log" || fail "the good ones: $(cat "$T/log")"
rows "$T/good.h5" >"$T/good"
"$FRONTIER" run "$T/both.yaml" -o "$T/well.h5" -t 1 >/dev/null 2>"$T/log" || fail "it behaves: $(cat "$T/log")"
rows "$T/well.h5" >"$T/well"
[ "$(grep -ac misbehaves "$T/well")" = 4 ] || fail "its rows are not there when it behaves"

# misbehave HOOK HOW WORDS: run, look, run again.
misbehave() {
    local hook=$1 how=$2 words=$3 status=0
    export FRONTIER_HOOK=$hook FRONTIER_HOW=$how
    rm -rf "$T"/m.h5*
    "$FRONTIER" run "$T/both.yaml" -o "$T/m.h5" -t 1 >"$T/out" 2>"$T/log" || status=$?
    [ $status = 3 ] || fail "$hook, $how: status $status, expected 3: $(tail -n 3 "$T/log")"
    grep -q "$words" "$T/log" || fail "$hook, $how: no '$words' in $(cat "$T/log")"
    rows "$T/m.h5" >"$T/found"
    grep -av misbehaves "$T/found" | cmp -s - "$T/good" || fail "$hook, $how: the good methods' rows are not those of a run without it: $(grep -av misbehaves "$T/found" | diff - "$T/good" | cut -c1-400)"
    [ -z "$(comm -23 "$T/found" "$T/well")" ] || fail "$hook, $how: a row that it does not give when it behaves"
    grep -q "WARNING: failed.*misbehaves" "$T/out" || fail "$hook, $how: not among the run's warnings"
    "$FRONTIER" show "$T/m.h5" --method misbehaves --sample 1 >"$T/shown" 2>&1 || fail "$hook, $how: show: $(cat "$T/shown")"
    grep -q "^failed.*$words" "$T/shown" || fail "$hook, $how: show does not name it: $(cat "$T/shown")"
    [ "$(ls "$T" | grep -c '^m.h5')" = 1 ] || fail "$hook, $how: leaves $(ls "$T")"
    # Again: what failed is left alone, said, and takes no time.
    status=0
    "$FRONTIER" run "$T/both.yaml" -o "$T/m.h5" -t 1 >/dev/null 2>"$T/log" || status=$?
    [ $status = 3 ] || fail "$hook, $how: again: status $status"
    rows "$T/m.h5" | cmp -s - "$T/found" || fail "$hook, $how: again: other rows"
    # Mended, it is tried again when asked for.
    unset FRONTIER_HOOK FRONTIER_HOW
    "$FRONTIER" run "$T/both.yaml" -o "$T/m.h5" -t 1 --retry >/dev/null 2>"$T/log" || fail "$hook, $how: mended: $(cat "$T/log")"
    rows "$T/m.h5" | cmp -s - "$T/well" || fail "$hook, $how: mended: the rows are not the sweep's"
}
misbehave prefill segv "method 'misbehaves', prefill, layer 0 crashed by signal 11"
misbehave decode abort "method 'misbehaves', decode, layer 0 crashed by signal 6"
misbehave state ill "method 'misbehaves', state, layer 0 crashed by signal 4"
misbehave observe exit0 "method 'misbehaves', observe, layer 0 ended its process with exit(0)"
misbehave fit exit "method 'misbehaves', fit ended its process with exit(0)"
misbehave estimate segv "method 'misbehaves', estimate crashed by signal 11"
misbehave decode hang "method 'misbehaves', decode, layer 0 did not return within 2 seconds"
misbehave prefill heap "misbehaves"
misbehave prefill fail "on purpose"
misbehave fit fail "on purpose"

# on_error: stop ends the run at the first, with its words.
export FRONTIER_HOOK=prefill FRONTIER_HOW=segv
refused "prefill, layer 0 crashed by signal 11" "$FRONTIER" run "$T/both.yaml" -o "$T/s.h5" -t 1 -s on_error=stop
# Two devices: each has a process apart.
status=0
"$FRONTIER" run "$T/both.yaml" -o "$T/d.h5" -d cpu:0,1 >"$T/out" 2>"$T/log" || status=$?
[ $status = 3 ] || fail "two devices: status $status: $(cat "$T/log")"
rows "$T/d.h5" | grep -av misbehaves | cmp -s - "$T/good" || fail "two devices: the good methods' rows are not those of a run without it"
# Where a hook runs in this very process, the end of the program is named too.
FRONTIER_HOOK=fit FRONTIER_HOW=exit0 refused "method 'misbehaves', fit ended the program with exit()" \
    "$FRONTIER" check "$plugin"
echo "apart: ok"
