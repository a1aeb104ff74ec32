#!/bin/bash
# Models split over MPI processes: the scores, tokens and counts of one process, whatever the number of teams.
. "$(dirname "$0")/common.bash"
needs_mpi
tiny tests/golden/model/llama
# Each exchange waits for processes that may not be running: few of them, where several share a core.
few=(-t 1 -s samples=2 -s output=3 -s 'sparsity=[0.9]' -s 'tasks=[vt: {chains: 1, hops: 1}]' -s 'methods={decode: [ada_snapkv, tova]}')
"$FRONTIER" run "$T/tiny.yaml" -o "$T/one.h5" "${few[@]}" >/dev/null 2>"$T/log" || fail "one process: $(cat "$T/log")"

# What a split does not change of a row: everything but keys, times, and the last digits of recall.
alike() { rows "$1" | sed -E 's/"(cell|key)": ?"[^"]*",?//g; s/("[a-z_]*recall[a-z_]*": ?[0-9]\.[0-9]{3})[0-9]*/\1/g' | sort; }
alike "$T/one.h5" >"$T/a"
for n in 2 4; do
    mpirun -n $n "$FRONTIER" run "$T/tiny.yaml" -o "$T/split$n.h5" "${few[@]}" -s 'parallel={tensor: 2}' >/dev/null 2>"$T/log" ||
        fail "$n processes: $(cat "$T/log")"
    alike "$T/split$n.h5" >"$T/b"
    cmp -s "$T/a" "$T/b" || fail "$n processes, two to a model, give other rows: $(diff "$T/a" "$T/b" | head -n 4)"
done
mpirun -n 2 "$FRONTIER" run "$T/tiny.yaml" -o "$T/split2.h5" "${few[@]}" -s 'parallel={tensor: 2}' 2>&1 >/dev/null |
    grep -q 'nothing is left to run' || fail "resume of a split run"

refused "takes 2 processes" "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -s 'parallel={tensor: 2}'
refused "4 query heads cannot be split over 3 ranks" "$FRONTIER" plan "$T/tiny.yaml" -s 'parallel={tensor: 3}'
! mpirun -n 3 "$FRONTIER" run "$T/tiny.yaml" -o "$T/x.h5" -s 'parallel={tensor: 3}' >/dev/null 2>"$T/err" || fail "3 ranks of 4 heads"
grep -q "4 query heads cannot be split over 3 ranks" "$T/err" || fail "3 ranks of 4 heads: $(cat "$T/err")"
[ ! -e "$T/x.h5" ] && [ ! -e "$T/x.h5.parts" ] || fail "a refused run left results"
echo "tensor: ok"
