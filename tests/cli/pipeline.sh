#!/bin/bash
# Models whose layers are split over MPI processes: the rows of one process, keys and divergence included, whatever the number of
# teams. Where each stage is split by heads too: the rows of a model that is split so alone.
. "$(dirname "$0")/common.bash"
needs_mpi
tiny tests/golden/model/llama
few=(-t 1 -s samples=2 -s output=3 -s 'sparsity=[0.9]' -s 'tasks=[vt: {chains: 1, hops: 1}]' -s 'methods={prefill: [minference], decode: [ada_snapkv, tova]}'
    -s 'measures=[score, divergence: 4]')
"$FRONTIER" run "$T/tiny.yaml" -o "$T/one.h5" "${few[@]}" >/dev/null 2>"$T/log" || fail "one process: $(cat "$T/log")"

# split_run PROCESSES FILE PARALLEL
split_run() {
    mpirun -n "$1" "$FRONTIER" run "$T/tiny.yaml" -o "$T/$2.h5" "${few[@]}" -s "parallel=$3" >/dev/null 2>"$T/log" || fail "$1 processes, $3: $(cat "$T/log")"
}
rows "$T/one.h5" >"$T/a"
for n in 2 4; do
    split_run $n stages$n '{pipeline: 2}'
    rows "$T/stages$n.h5" >"$T/b"
    cmp -s "$T/a" "$T/b" || fail "$n processes, two stages, give other rows: $(diff "$T/a" "$T/b" | head -n 4)"
done
"$FRONTIER" compare "$T/one.h5" "$T/stages2.h5" | grep -q ' 0 cells changed' || fail "compare"
# Keys are one process's, so that it has nothing left to do.
"$FRONTIER" run "$T/tiny.yaml" -o "$T/stages2.h5" "${few[@]}" 2>&1 >/dev/null | grep -q 'nothing is left to run' || fail "one process resumes what stages have run"

split_run 4 both '{tensor: 2, pipeline: 2}'
"$FRONTIER" compare "$T/one.h5" "$T/both.h5" | grep -q ' 0 cells changed' || fail "compare, both ways"
split_run 2 heads '{tensor: 2}'
rows "$T/heads.h5" >"$T/a"
rows "$T/both.h5" >"$T/b"
cmp -s "$T/a" "$T/b" || fail "stages of two ranks give other rows than two ranks: $(diff "$T/a" "$T/b" | head -n 4)"

refused "takes 6 processes" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -s 'parallel={tensor: 3, pipeline: 2}'
refused "pipeline: expected" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -s 'parallel={pipeline: 0}'
! mpirun -n 3 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -s 'parallel={pipeline: 3}' >/dev/null 2>"$T/err" || fail "3 stages of 2 layers"
grep -q "^frontier: error: .*2 layers cannot be split over 3 stages" "$T/err" || fail "3 stages of 2 layers: $(cat "$T/err")"
[ ! -e "$T/x.h5" ] && [ ! -e "$T/x.h5.parts" ] || fail "a refused run left results"
echo "pipeline: ok"
