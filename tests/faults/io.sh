#!/bin/bash
# Every write, sync, rename, … of a run fails in turn, once or for good: never a wrong row with exit status 0, never a crash,
# and the same command, run again, completes the results.
#
#   SAMPLE=40 SEED=3   that many places, drawn at random, instead of all
#   SECONDS_MOST=60    stop after so long
#   CALLS, HOWS        other calls and kinds than the ones below
. "$(dirname "$0")/common.bash"
mkdir "$T/x"
"${run[@]}" -o "$T/whole.h5" >/dev/null 2>"$T/log" || fail "the run itself: $(cat "$T/log")"
"${run[@]}" -o "$T/half.h5" -s samples=1 >/dev/null 2>&1
rows "$T/whole.h5" >"$T/whole"
rows "$T/half.h5" >"$T/half"
[ "$(wc -l <"$T/whole")" = 4 ] || fail "the run has $(wc -l <"$T/whole") rows, expected 4"

# begin SCENE: a first run, or one that goes on from a results file.
begin() {
    clear_results
    [ "$1" = first ] || cp "$T/half.h5" "$T/x/x.h5"
}

for scene in first resumed; do
    begin $scene
    LD_PRELOAD=$FAULTS/fail_io.so FAULT_FOLDER=$T/x FAULT_COUNTS=$T/counts "${run[@]}" -o "$T/x/x.h5" >/dev/null 2>&1
    for call in ${CALLS:-write pwrite fsync rename ftruncate copy open close mkdir unlink}; do
        n=$(awk -v c="$call" '$1 == c {print $2}' "$T/counts")
        for how in ${HOWS:-EIO EIO+ ENOSPC+ EINTR short}; do
            for ((k = 1; k <= n; k++)); do echo "$scene $call $how $k"; done
        done
    done
done >"$T/places"
chosen "$T/places" >"$T/chosen"

declare -A ended
while read -r scene call how k; do
    over && break
    begin "$scene"
    onwards=${how//[!+]/}
    status=0
    LD_PRELOAD=$FAULTS/fail_io.so FAULT_FOLDER=$T/x FAULT_CALL=$call FAULT_AT=$k$onwards FAULT_HOW=${how%+} \
        timeout -s KILL 60 "${run[@]}" -o "$T/x/x.h5" >/dev/null 2>"$T/log" || status=$?
    what="$scene run, $call $k, $how: status $status"
    tried=$((tried + 1))
    ended[$status]=$((${ended[$status]:-0} + 1))
    [ $status -le 1 ] || wrong "$what: $(tail -n 1 "$T/log")"
    [ $status != 1 ] || [ "$(grep -c '^frontier: error' "$T/log")" = 1 ] || wrong "$what, not one error line: $(cat "$T/log")"
    ! grep -q HDF5-DIAG "$T/log" || wrong "$what: HDF5 prints"
    if [ -e "$T/x/x.h5" ] || compgen -G "$T/x/x.h5.parts/*.part" >/dev/null; then
        rows "$T/x/x.h5" >"$T/now" 2>"$T/err" || wrong "$what, and what it leaves cannot be read: $(cat "$T/err")"
        [ -z "$(comm -23 "$T/now" "$T/whole")" ] || wrong "$what, and left a row that is not the sweep's"
    else
        : >"$T/now"
    fi
    [ $status != 0 ] || cmp -s "$T/now" "$T/whole" || wrong "$what, but its rows are not the sweep's"
    [ "$scene" = first ] || [ -z "$(comm -13 "$T/now" "$T/half")" ] || wrong "$what, and lost a row that was there"
    "${run[@]}" -o "$T/x/x.h5" >/dev/null 2>"$T/err" || wrong "$what, and cannot be resumed: $(cat "$T/err")"
    rows "$T/x/x.h5" 2>/dev/null | cmp -s - "$T/whole" || wrong "$what, and resumed, its rows are not the sweep's"
    [ "$(ls "$T/x")" = x.h5 ] || wrong "$what, and leaves $(ls "$T/x" | tr '\n' ' ')"
done <"$T/chosen"
echo "faults, io: $tried of $(wc -l <"$T/places") places tried ($(for s in "${!ended[@]}"; do echo -n "status $s: ${ended[$s]}; "; done)$bad wrong)"
[ $bad = 0 ]
