#!/bin/bash
# Every allocation that the program asks for fails in turn: it ends with one error line or with the right result, and never by
# a crash. The place that crashed is named where addr2line is there. SAMPLE, SEED, SECONDS_MOST as for io.sh; COMMANDS: of
# plan, run, export, show, report.
. "$(dirname "$0")/common.bash"
mkdir "$T/x"
"${run[@]}" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "the run itself: $(cat "$T/log")"
rows "$T/whole.h5" >"$T/whole"

# command NAME: what is run, in $command; what it writes is below $T/x.
command() {
    case $1 in
    plan) command=("$FRONTIER" plan "$T/tiny.yaml") ;;
    run) command=("${run[@]}" -o "$T/x/x.h5") ;;
    export) command=("$FRONTIER" export "$T/whole.h5" --jsonl) ;;
    show) command=("$FRONTIER" show "$T/whole.h5") ;;
    report) command=("$FRONTIER" report "$T/whole.h5" --out "$T/x/report" --format svg) ;;
    esac
}

for name in ${COMMANDS:-plan run export show report}; do
    command $name
    clear_results
    LD_PRELOAD=$FAULTS/fail_alloc.so FAULT_COUNTS=$T/counts "${command[@]}" >"$T/$name" 2>/dev/null || true
    for ((k = 1; k <= $(awk '{print $2}' "$T/counts"); k++)); do echo "$name $k"; done
done >"$T/places"
chosen "$T/places" >"$T/chosen"

declare -A ended
while read -r name k; do
    over && break
    command "$name"
    clear_results
    status=0
    : >"$T/where"
    { LD_PRELOAD=$FAULTS/fail_alloc.so FAULT_AT=$k FAULT_WHERE=$T/where timeout -s KILL 60 "${command[@]}" >"$T/out" \
        2>"$T/log" || status=$?; } 2>/dev/null
    what="$name, allocation $k: status $status"
    tried=$((tried + 1))
    ended[$status]=$((${ended[$status]:-0} + 1))
    [ $status -le 1 ] || wrong "$what at $(addr2line -fe "$FRONTIER" "$(awk '{print $2}' "$T/where")" 2>/dev/null | tr '\n' ' ')"
    [ $status != 1 ] || [ "$(grep -c '^frontier: error' "$T/log")" = 1 ] ||
        wrong "$what, not one error line: $(head -c 300 "$T/log")"
    [ "$name" = run ] || continue
    [ $status != 0 ] || rows "$T/x/x.h5" | cmp -s - "$T/whole" || wrong "$what, but its rows are not the sweep's"
    [ $status = 0 ] || "${command[@]}" >/dev/null 2>"$T/err" || wrong "$what, and cannot be resumed: $(cat "$T/err")"
    rows "$T/x/x.h5" 2>/dev/null | cmp -s - "$T/whole" || wrong "$what, and resumed, its rows are not the sweep's"
done <"$T/chosen"
echo "faults, alloc: $tried of $(wc -l <"$T/places") places tried ($(for s in "${!ended[@]}"; do echo -n "status $s: ${ended[$s]}; "; done)$bad wrong)"
[ $bad = 0 ]
