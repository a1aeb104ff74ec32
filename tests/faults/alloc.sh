#!/bin/bash
# Every allocation that the program asks for fails in turn: it ends with one error line or with the right result, and never by
# a crash. The place that crashed is named where addr2line is there. SAMPLE, SEED, SECONDS_MOST, JOBS as for io.sh; COMMANDS: of
# plan, run, export, show, report.
. "$(dirname "$0")/common.bash"
"${run[@]}" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "the run itself: $(cat "$T/log")"
rows "$T/whole.h5" >"$T/whole"

# command NAME: what is run, in $command; what it writes is below $X/at.
command() {
    rm -rf "$X/at" && mkdir "$X/at"
    case $1 in
    plan) command=("$FRONTIER" plan "$T/tiny.yaml") ;;
    run) command=("${run[@]}" -o "$X/at/x.h5") ;;
    export) command=("$FRONTIER" export "$T/whole.h5" --jsonl) ;;
    show) command=("$FRONTIER" show "$T/whole.h5") ;;
    report) command=("$FRONTIER" report "$T/whole.h5" --out "$X/at/report" --format svg) ;;
    esac
}

for name in ${COMMANDS:-plan run export show report}; do
    X=$T/count && mkdir -p "$X" && command $name
    counted fail_alloc "${command[@]}"
    mv "$T/counted" "$T/$name.out"
    for ((k = 1; k <= $(awk '{print $2}' "$T/counts"); k++)); do echo "$name $k"; done
done >"$T/places"
chosen "$T/places" >"$T/chosen"

try() {
    local name=$1 k=$2 status=0
    command "$name"
    : >"$X/where"
    { LD_PRELOAD=$FAULTS/fail_alloc.so FAULT_AT=$k FAULT_WHERE=$X/where timeout -s KILL 60 "${command[@]}" >"$X/out" \
        2>"$X/log" || status=$?; } 2>/dev/null
    local what="$name, allocation $k: status $status"
    ended $status
    [ $status -le 1 ] || wrong "$what at $(addr2line -fe "$FRONTIER" "$(awk '{print $2}' "$X/where")" 2>/dev/null | tr '\n' ' ')"
    [ $status != 1 ] || [ "$(grep -c '^frontier: error' "$X/log")" = 1 ] ||
        wrong "$what, not one error line: $(head -c 300 "$X/log")"
    [ $status != 0 ] || [[ $name =~ ^(run|report)$ ]] || cmp -s <(grep -v '^  time, about' "$X/out") <(grep -v '^  time, about' "$T/$name.out") || wrong "$what, but it says something else"
    [ "$name" = run ] || return 0
    if [ $status != 0 ]; then
        "${command[@]}" >/dev/null 2>"$X/err" || wrong "$what, and cannot be resumed: $(cat "$X/err")"
    fi
    rows "$X/at/x.h5" "$X/rows" 2>/dev/null | cmp -s - "$T/whole" || wrong "$what, and in the end its rows are not the sweep's"
}
try_all alloc "$T/chosen"
