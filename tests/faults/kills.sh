#!/bin/bash
# kill -9, and the same command again: a run, a fold, a report, each killed at a random moment or in a random one of its calls of
# the system. What was there stays readable and right; the second try ends well, with the right rows, and leaves nothing behind.
#   KILLS=2000   how many (60); SEED, SECONDS_MOST, JOBS as for io.sh; SCENES: of run, fold, report
. "$(dirname "$0")/common.bash"
"${run[@]}" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "the run itself: $(cat "$T/log")"
rows "$T/whole.h5" >"$T/whole"
report=("$FRONTIER" report "$T/whole.h5" --format svg --figures cost --out)

# What a run has not yet folded: it is killed when it begins to.
{ LD_PRELOAD=$FAULTS/fail_io.so FAULT_FOLDER=$T/parts.h5.tmp FAULT_CALL=open FAULT_AT=1 FAULT_HOW=kill \
    "${run[@]}" -o "$T/parts.h5" >/dev/null 2>&1 || true; } 2>/dev/null
compgen -G "$T/parts.h5.parts/*.part" >/dev/null || fail "no parts are left of a run that was killed before its fold"
rows "$T/parts.h5" | cmp -s - "$T/whole" || fail "the parts are not the sweep"

"${report[@]}" "$T/report" >/dev/null 2>"$T/log" || fail "the report itself: $(cat "$T/log")"
(cd "$T/report" && find . -type f | sort) >"$T/files"

# scene NAME: what is run, in $command, after what it finds is laid out in $X/at.
scene() {
    rm -rf "$X/at" && mkdir "$X/at"
    command=("${run[@]}" -o "$X/at/x.h5")
    case $1 in
    fold) cp -r "$T/parts.h5.parts" "$X/at/x.h5.parts" ;;
    report) command=("${report[@]}" "$X/at/report") ;;
    esac
}

for scene in ${SCENES:-run fold report}; do
    X=$T/count && mkdir -p "$X" && scene $scene
    begin=$(date +%s%N)
    FAULT_FOLDER=$X/at counted fail_io "${command[@]}"
    milliseconds=$((($(date +%s%N) - begin) / 1000000))
    for ((i = 0; i < ${KILLS:-60} / 6; i++)); do echo "$scene time $((RANDOM % milliseconds))"; done
    awk '$2 {for (k = 1; k <= $2; k++) print $1, k}' "$T/counts" | sed "s/^/$scene /" |
        shuf -r -n $((${KILLS:-60} / 6)) --random-source=<(yes "${SEED:-1}")
done >"$T/places"

try() {
    local scene=$1 call=$2 k=$3 status=0 what="$*"
    scene "$scene"
    if [ "$call" = time ]; then
        "${command[@]}" >/dev/null 2>"$X/log" &
        local pid=$!
        read -r -t "$((k / 1000)).$(printf '%03d' $((k % 1000)))" <> <(:) || true
        kill -9 $pid 2>/dev/null || true
        wait $pid 2>/dev/null || status=$?
    else
        { LD_PRELOAD=$FAULTS/fail_io.so FAULT_FOLDER=$X/at FAULT_CALL=$call FAULT_AT=$k FAULT_HOW=kill \
            "${command[@]}" >/dev/null 2>"$X/log" || status=$?; } 2>/dev/null
    fi
    [ $status = 0 ] || [ $status = 137 ] || wrong "$what: status $status: $(tail -n 1 "$X/log")"
    ended $status
    if [ "$scene" = report ]; then
        [ ! -e "$X/at/report/index.html" ] || (cd "$X/at/report" && find . -type f | sort) | cmp -s - "$T/files" ||
            wrong "$what: half a report: $(ls "$X/at/report")"
        "${command[@]}" >/dev/null 2>"$X/err" || wrong "$what, again: $(cat "$X/err")"
        (cd "$X/at/report" && find . -type f | sort) | cmp -s - "$T/files" || wrong "$what, again: other files"
        [ "$(ls -A "$X/at")" = report ] || wrong "$what, leaves $(ls -A "$X/at" | tr '\n' ' ')"
        return
    fi
    if [ -e "$X/at/x.h5" ] || compgen -G "$X/at/x.h5.parts/*.part" >/dev/null; then
        rows "$X/at/x.h5" "$X/rows" >"$X/now" 2>"$X/err" || wrong "$what: what it leaves cannot be read: $(cat "$X/err")"
        [ -z "$(comm -23 "$X/now" "$T/whole")" ] || wrong "$what: left a row that is not the sweep's"
    else
        : >"$X/now"
    fi
    [ "$scene" != fold ] || cmp -s "$X/now" "$T/whole" || wrong "$what: lost a row"
    "${command[@]}" >/dev/null 2>"$X/err" || wrong "$what, again: $(cat "$X/err")"
    rows "$X/at/x.h5" "$X/rows" 2>/dev/null | cmp -s - "$T/whole" || wrong "$what, again: its rows are not the sweep's"
    [ "$(ls -A "$X/at")" = x.h5 ] || wrong "$what, leaves $(ls -A "$X/at" | tr '\n' ' ')"
}
try_all kills "$T/places"
