#!/bin/bash
# Every write, sync, rename, … of a run fails in turn, once or for good: never a wrong row with exit status 0, never a crash,
# and the same command, run again, completes the results.
#
#   SAMPLE=40 SEED=3   that many places, drawn at random, instead of all
#   SECONDS_MOST=60    stop after so long
#   JOBS=16            so many at once
#   CALLS, HOWS        other calls and kinds than the ones below
. "$(dirname "$0")/common.bash"
"${run[@]}" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "the run itself: $(cat "$T/log")"
"${run[@]}" -o "$T/half.h5" -s samples=1 >/dev/null 2>&1
rows "$T/whole.h5" >"$T/whole"
rows "$T/half.h5" >"$T/half"
[ "$(wc -l <"$T/whole")" = 4 ] || fail "the run has $(wc -l <"$T/whole") rows, expected 4"

# begin SCENE: a first run, or one that goes on from a results file.
begin() {
    rm -rf "$X/at" && mkdir "$X/at"
    [ "$1" = first ] || cp "$T/half.h5" "$X/at/x.h5"
}

for scene in first resumed; do
    X=$T/count && mkdir -p "$X" && begin $scene
    FAULT_FOLDER=$X/at counted fail_io "${run[@]}" -o "$X/at/x.h5"
    for call in ${CALLS:-write pwrite fsync rename ftruncate copy open close mkdir unlink}; do
        n=$(awk -v c="$call" '$1 == c {print $2}' "$T/counts")
        for how in ${HOWS:-EIO EIO+ ENOSPC+ EINTR short}; do
            for ((k = 1; k <= n; k++)); do echo "$scene $call $how $k"; done
        done
    done
done >"$T/places"
chosen "$T/places" >"$T/chosen"

try() {
    local scene=$1 call=$2 how=$3 k=$4 status=0
    begin "$scene"
    { LD_PRELOAD=$FAULTS/fail_io.so FAULT_FOLDER=$X/at FAULT_CALL=$call FAULT_AT=$k${how//[!+]/} FAULT_HOW=${how%+} \
        timeout -s KILL 60 "${run[@]}" -o "$X/at/x.h5" >/dev/null 2>"$X/log" || status=$?; } 2>/dev/null
    local what="$scene run, $call $k, $how: status $status"
    ended $status
    [ $status -le 1 ] || wrong "$what: $(tail -n 1 "$X/log")"
    [ $status != 1 ] || [ "$(grep -c '^frontier: error' "$X/log")" = 1 ] || wrong "$what, not one error line: $(cat "$X/log")"
    ! grep -q HDF5-DIAG "$X/log" || wrong "$what: HDF5 prints"
    if [ -e "$X/at/x.h5" ] || compgen -G "$X/at/x.h5.parts/*.part" >/dev/null; then
        rows "$X/at/x.h5" "$X/rows" >"$X/now" 2>"$X/err" || wrong "$what, and what it leaves cannot be read: $(cat "$X/err")"
        [ -z "$(comm -23 "$X/now" "$T/whole")" ] || wrong "$what, and left a row that is not the sweep's"
    else
        : >"$X/now"
    fi
    [ $status != 0 ] || cmp -s "$X/now" "$T/whole" || wrong "$what, but its rows are not the sweep's"
    [ "$scene" = first ] || [ -z "$(comm -13 "$X/now" "$T/half")" ] || wrong "$what, and lost a row that was there"
    "${run[@]}" -o "$X/at/x.h5" >/dev/null 2>"$X/err" || wrong "$what, and cannot be resumed: $(cat "$X/err")"
    rows "$X/at/x.h5" "$X/rows" 2>/dev/null | cmp -s - "$T/whole" || wrong "$what, and resumed, its rows are not the sweep's"
    [ "$(ls -A "$X/at")" = x.h5 ] || wrong "$what, and leaves $(ls -A "$X/at" | tr '\n' ' ')"
}
try_all io "$T/chosen"
