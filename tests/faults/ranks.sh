#!/bin/bash
# A run of several MPI processes, of which one, or mpirun itself, is killed at a random moment; the same command goes on each
# time, and what stands in the end is what one process gives. A run that is over before it has been killed often enough, as one
# may be on a busy machine, is checked and begun anew. KILLS=40 by default; SEED draws others.
. "$(dirname "$0")/../cli/common.bash"
needs_mpi
tiny
KILLS=${KILLS:-40}
more=(-t 1 -s "samples=$((4 * KILLS))") # so that there is something left to kill
"$FRONTIER" run "$T/tiny.yaml" -o "$T/one.h5" "${more[@]}" >/dev/null 2>"$T/log" || fail "one process: $(cat "$T/log")"
rows "$T/one.h5" >"$T/a"

RANDOM=${SEED:-1} killed=0 of_mpirun=0 runs=0
parts() { ls "$T/k.h5.parts" 2>/dev/null | wc -l; }
stored() { "$FRONTIER" export "$T/k.h5" --jsonl 2>/dev/null | wc -l; }

# begin: goes on, until another part is there or the run is over. Ranks that outlive mpirun hold the results for the moment that it
# takes them to notice.
begin() {
    local before
    before=$(parts)
    for _ in $(seq 200); do
        mpirun -n 3 "$FRONTIER" run "$T/tiny.yaml" -o "$T/k.h5" "${more[@]}" >/dev/null 2>"$T/log" &
        mpirun=$!
        for _ in $(seq 400); do
            [ "$(parts)" -gt $((before + 1)) ] || ! kill -0 $mpirun 2>/dev/null && break
            pause 0.01
        done
        kill -0 $mpirun 2>/dev/null || { wait $mpirun || true; ! grep -q 'another process' "$T/log" || { pause 0.05; continue; }; }
        break
    done
}

# kill_one: false where the run was over before.
kill_one() {
    local stored all victim status=0
    stored=$(stored)
    begin
    pause "0.0$((RANDOM % 10))"
    all=($mpirun $(children $mpirun))
    victim=${all[$((RANDOM % ${#all[@]}))]}
    kill -9 "$victim" 2>/dev/null || { wait $mpirun || fail "an undisturbed run failed: $(cat "$T/log")"; return 1; }
    [ "$victim" != $mpirun ] || of_mpirun=$((of_mpirun + 1))
    wait $mpirun 2>/dev/null || status=$?
    [ $status != 0 ] || [ "$victim" != $mpirun ] || fail "mpirun was killed and ended with 0"
    killed=$((killed + 1))
    [ "$(stored)" -ge "$stored" ] || fail "kill $killed: what was finished is gone"
}

# end_run: undisturbed; the rows are one process's.
end_run() {
    for _ in $(seq 200); do
        mpirun -n 3 "$FRONTIER" run "$T/tiny.yaml" -o "$T/k.h5" "${more[@]}" >/dev/null 2>"$T/log" && break
        grep -q 'another process' "$T/log" || fail "going on: $(cat "$T/log")"
        pause 0.05
    done
    rows "$T/k.h5" >"$T/b"
    cmp -s "$T/a" "$T/b" || fail "after $killed kills the rows differ: $(diff "$T/a" "$T/b" | head -n 4)"
    [ ! -e "$T/k.h5.parts" ] || fail "parts are left"
}

while [ $killed -lt "$KILLS" ]; do
    runs=$((runs + 1)) before=$killed
    rm -rf "$T"/k.h5*
    while [ $killed -lt "$KILLS" ] && kill_one; do :; done
    [ $killed -gt $before ] || fail "the run was over before it could be killed: nothing was tried"
    end_run
done
echo "faults, ranks: $killed kills ($of_mpirun of mpirun) of $runs runs; the rows are one process's"
