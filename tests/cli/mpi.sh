#!/bin/bash
# A sweep run by several MPI processes: the same rows as from one, one voice, resumed, stopped, and refused as a whole.
. "$(dirname "$0")/common.bash"
needs_mpi
tiny
echo "threads: 1" >>"$T/tiny.yaml"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/one.h5" -s samples=4 >/dev/null 2>&1
rows "$T/one.h5" >"$T/a"
mpirun -n 3 "$FRONTIER" run "$T/tiny.yaml" -o "$T/m.h5" -s samples=1 2>"$T/log" >/dev/null || fail "run: $(cat "$T/log")"
mpirun -n 4 "$FRONTIER" run "$T/tiny.yaml" -o "$T/m.h5" -s samples=4 2>"$T/log" >"$T/said" || fail "run: $(cat "$T/log")"
[ "$(grep -c '^Results: ' "$T/said")" = 1 ] || fail "not one voice: $(cat "$T/said")"
[ -e "$T/m.h5.parts" ] && fail "parts are left: $(ls "$T/m.h5.parts")"
rows "$T/m.h5" >"$T/b"
cmp -s "$T/a" "$T/b" || fail "several processes give other rows than one: $(diff "$T/a" "$T/b" | head -n 4)"
"$FRONTIER" compare "$T/one.h5" "$T/m.h5" | grep -q ' 0 cells changed' || fail "compare"
mpirun -n 2 "$FRONTIER" run "$T/tiny.yaml" -o "$T/m.h5" -s samples=4 2>&1 >/dev/null | grep -q 'nothing is left to run' || fail "all is stored"

# One error for all, whoever has it, and no results.
refused_by_ranks() {
    local pattern=$1
    shift
    ! mpirun "$@" >"$T/out" 2>"$T/err" || fail "not refused: $*"
    [ "$(grep -c '^frontier: error' "$T/err")" = 1 ] || fail "not one error line: $(cat "$T/err")"
    grep -qE -- "^frontier: error.*$pattern" "$T/err" || fail "no '$pattern' in: $(cat "$T/err")"
    [ ! -e "$T/x.h5" ] || fail "a refused run left results"
}
refused_by_ranks "rank 0 of 2: .*sparsty" -n 2 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -s sparsty=1
refused_by_ranks "rank 1 of 2: .*missing.yaml" -n 1 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" : -n 1 "$FRONTIER" run "$T/missing.yaml"
refused_by_ranks "rank 1 of 2: .*least is --memory" -n 1 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" : \
    -n 1 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -m 0.001
mkdir "$T/elsewhere"
refused_by_ranks "rank 1 of 2: .*file system that all of them have" -n 1 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" : \
    -n 1 "$FRONTIER" run "$T/tiny.yaml" -o "$T/elsewhere/x.h5"
refused "one of 4 processes|4 processes were started together" env OMPI_COMM_WORLD_SIZE=4 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5"

# Plug-ins, whose cells each rank runs in a process apart.
make -s -C tests/plugin NAME=sink_window >/dev/null 2>&1 || true
plugin=$(dirname "$FRONTIER")/tests/plugin/sink_window.so
if [ -e "$plugin" ]; then
    p=(-s "plugins=[$plugin]" -s 'methods={prefill: [sink_window, vertical_slash]}' -s samples=3)
    "$FRONTIER" run "$T/tiny.yaml" -o "$T/p1.h5" "${p[@]}" >/dev/null 2>"$T/log" || fail "plug-in: $(cat "$T/log")"
    mpirun -n 2 "$FRONTIER" run "$T/tiny.yaml" -o "$T/p2.h5" "${p[@]}" >/dev/null 2>"$T/log" || fail "plug-in: $(cat "$T/log")"
    rows "$T/p1.h5" >"$T/a"; rows "$T/p2.h5" >"$T/b"
    cmp -s "$T/a" "$T/b" || fail "plug-in: several processes give other rows: $(diff "$T/a" "$T/b" | head -n 4)"
fi

# Asked to stop, each finishes what it has at hand, and all of it becomes the results.
mpirun -n 3 "$FRONTIER" run "$T/tiny.yaml" -o "$T/s.h5" -s samples=400 >/dev/null 2>"$T/log" &
mpirun=$!
await_parts 6 "$T/s.h5" $mpirun
rank=$(children $mpirun | tail -n 1)
kill -TERM "$rank"
status=0
wait $mpirun || status=$?
[ $status = 130 ] || fail "stopped with status $status: $(cat "$T/log")"
[ ! -e "$T/s.h5.parts" ] && [ "$(rows "$T/s.h5" | wc -l)" -gt 0 ] || fail "what was finished is not in the results"
[ "$(rows "$T/s.h5" | wc -l)" -lt 3900 ] || fail "the others went on"

KILLS=3 tests/faults/ranks.sh
echo "mpi: ok"
