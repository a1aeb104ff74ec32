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

# misbehave HOOK HOW: run, look, run again; in a folder of its own.
misbehave() {
    local hook=$1 how=$2 status=0 x=$T/$1-$2 words layer=
    [[ $hook =~ ^(fit|estimate)$ ]] || layer=", layer 0"
    case $how in
    segv) words="method 'misbehaves', $hook$layer crashed by signal 11" ;;
    abort) words="method 'misbehaves', $hook$layer crashed by signal 6" ;;
    ill) words="method 'misbehaves', $hook$layer crashed by signal 4" ;;
    exit | exit0) words="method 'misbehaves', $hook$layer ended its process with exit(0)" ;;
    hang) words="method 'misbehaves', $hook$layer did not return within 2 seconds" ;;
    fail) words="on purpose" ;;
    nan | infinite | negative) words="method 'misbehaves', estimate: the cost of the prefill comes to" ;;
    heap) words="misbehaves" ;; # where it is noticed is up to chance
    esac
    mkdir "$x"
    export FRONTIER_HOOK=$hook FRONTIER_HOW=$how
    "$FRONTIER" run "$T/both.yaml" -o "$x/m.h5" -t 1 >"$x/out" 2>"$x/log" || status=$?
    [ $status = 3 ] || fail "$hook, $how: status $status, expected 3: $(tail -n 3 "$x/log")"
    grep -q "$words" "$x/log" || fail "$hook, $how: no '$words' in $(cat "$x/log")"
    rows "$x/m.h5" "$x/rows" >"$x/found"
    [[ $hook =~ ^(fit|estimate)$ || $how = heap ]] || [ "$(grep -ac misbehaves "$x/found")" = 2 ] ||
        fail "$hook, $how: not the two rows of its other phase: $(grep -a misbehaves "$x/found")"
    [ $how = heap ] || grep -q "sample 0: .*$words" "$x/log" || fail "$hook, $how: not at sample 0: $(cat "$x/log")"
    grep -av misbehaves "$x/found" | cmp -s - "$T/good" || fail "$hook, $how: the good methods' rows are not those of a run without it: $(grep -av misbehaves "$x/found" | diff - "$T/good" | cut -c1-400)"
    [ -z "$(comm -23 "$x/found" "$T/well")" ] || fail "$hook, $how: a row that it does not give when it behaves"
    grep -q "WARNING: failed.*misbehaves" "$x/out" || fail "$hook, $how: not among the run's warnings"
    "$FRONTIER" show "$x/m.h5" --method misbehaves --sample 1 >"$x/shown" 2>&1 || fail "$hook, $how: show: $(cat "$x/shown")"
    grep -q "^failed.*$words" "$x/shown" || fail "$hook, $how: show does not name it: $(cat "$x/shown")"
    if [ -n "${ALL:-}" ] || [ $hook = prefill ]; then # which takes as long as all the rest
        "$FRONTIER" report "$x/m.h5" --out "$x/report" --format svg >"$x/reported" 2>&1 || fail "$hook, $how: report: $(cat "$x/reported")"
        grep -q "WARNING: failed.*$words" "$x/reported" || fail "$hook, $how: report does not name it: $(cat "$x/reported")"
        rm -r "$x/report"
    fi
    [ "$(ls "$x" | grep -c '^m.h5')" = 1 ] || fail "$hook, $how: leaves $(ls "$x")"
    # Again: what failed is left alone, said, and takes no time.
    status=0
    "$FRONTIER" run "$T/both.yaml" -o "$x/m.h5" -t 1 >/dev/null 2>"$x/log" || status=$?
    [ $status = 3 ] || fail "$hook, $how: again: status $status"
    rows "$x/m.h5" "$x/rows" | cmp -s - "$x/found" || fail "$hook, $how: again: other rows"
    grep -q 'cells are stored, and [1-9].* failed (`--retry` tries those again); nothing is left to run' "$x/log" || fail "$hook, $how: again: $(cat "$x/log")"
    # A failure is taken out like a cell.
    cp "$x/m.h5" "$x/without.h5"
    "$FRONTIER" rm "$x/without.h5" --where method=misbehaves >"$x/log" 2>&1 || fail "$hook, $how: rm: $(cat "$x/log")"
    "$FRONTIER" show "$x/without.h5" | grep -q misbehaves && fail "$hook, $how: rm leaves the failure"
    rm "$x/without.h5"
    # Mended, it is tried again when asked for.
    unset FRONTIER_HOOK FRONTIER_HOW
    "$FRONTIER" run "$T/both.yaml" -o "$x/m.h5" -t 1 --retry >/dev/null 2>"$x/log" || fail "$hook, $how: mended: $(cat "$x/log")"
    rows "$x/m.h5" "$x/rows" | cmp -s - "$T/well" || fail "$hook, $how: mended: the rows are not the sweep's"
}

# Each hook and each way; with ALL=1 every hook by every way, JOBS at once.
cases="prefill:segv decode:abort state:ill observe:exit0 fit:exit estimate:segv compress:segv decode:hang prefill:heap prefill:fail
fit:fail estimate:nan"
if [ -n "${ALL:-}" ]; then
    cases=$(for hook in fit estimate prefill compress state observe decode; do
        for how in segv abort ill exit exit0 hang heap fail; do
            [ $hook:$how = estimate:fail ] || echo $hook:$how # it has no way to say so
        done
    done; echo estimate:nan estimate:infinite estimate:negative)
fi
tried=0
for case in $cases; do
    [ "$(jobs -rp | wc -l)" -lt "${JOBS:-1}" ] || wait -n || exit 1
    way=()
    [[ $case != *:exit0 ]] || way=(leaving)
    "${way[@]}" misbehave "${case%:*}" "${case#*:}" &
    tried=$((tried + 1))
done
while [ -n "$(jobs -p)" ]; do wait -n || exit 1; jobs >/dev/null; done
echo "$tried ways of a plug-in to fail"

# Asked to stop, it ends after the samples at hand, and what is finished is there.
"$FRONTIER" run "$T/both.yaml" -o "$T/t.h5" -t 1 -s samples=100000 >/dev/null 2>"$T/log" &
pid=$!
for ((i = 0; i < 600; i++)); do
    compgen -G "$T/t.h5.parts/*[!0].part" >/dev/null && break # behind that of the run
    sleep 0.05
done
status=0
kill -TERM $pid
wait $pid || status=$?
[ $status = 130 ] || fail "asked to stop: status $status: $(cat "$T/log")"
[ "$(grep -c 'stopping after the samples at hand' "$T/log")" = 1 ] || fail "asked to stop: $(cat "$T/log")"
rows "$T/t.h5" >"$T/found"
[ "$(grep -ac misbehaves "$T/found")" -ge 2 ] || fail "asked to stop: rows are missing"
[ -z "$(comm -13 "$T/found" <(grep -a 'misbehaves.*"sample":0,' "$T/well"))" ] || fail "asked to stop: other rows"

# on_error: stop ends the run at the first, with its words.
export FRONTIER_HOOK=prefill FRONTIER_HOW=segv
refused "prefill, layer 0 crashed by signal 11" "$FRONTIER" run "$T/both.yaml" -o "$T/s.h5" -t 1 -s on_error=stop
# Two devices: each has a process apart.
status=0
"$FRONTIER" run "$T/both.yaml" -o "$T/d.h5" -d cpu:0,1 >"$T/out" 2>"$T/log" || status=$?
[ $status = 3 ] || fail "two devices: status $status: $(cat "$T/log")"
rows "$T/d.h5" | grep -av misbehaves | cmp -s - "$T/good" || fail "two devices: the good methods' rows are not those of a run without it"
# Where a hook runs in this very process, the end of the program is named too.
FRONTIER_HOOK=fit FRONTIER_HOW=exit0 leaving refused "method 'misbehaves', fit ended the program with exit()" \
    "$FRONTIER" check "$plugin"
echo "apart: ok"
