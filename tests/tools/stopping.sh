#!/bin/bash
# The table of results/bench/stopping.txt: 1000 simulated studies of which the truth is known (tests/tools/stopping.c), with the 5 % those
# of each decision, and those of all of a study.
#
#     make build/tests/tools/stopping && tests/tools/stopping.sh [STUDIES] [JOBS]     # minutes of two cores
STUDIES=${1:-1000} TOOL="$(dirname "$0")/../../build/tests/tools/stopping"
[ -x "$TOOL" ] || { echo "stopping.sh: there is no $TOOL; make it first" >&2; exit 1; }
for world in '0.05 0.05 b' '0.05 0.05 f' '0.05 0.05 bf' '0.05 0.05 r' '0.05 0.02 f' '0.05 0.2 f' '0.03 0.05 f' '0.03 0.2 f' '0.1 0.05 f' '0.1 0.2 f'; do
    echo "$world decision"; echo "$world study"
done | xargs -P "${2:-2}" -L 1 sh -c '"$0" "$1" "$2" 10 200 "$3" 0.5 "$4" "$5" | sed "s/^/$2 $3 $4 $5: /"' "$TOOL" "$STUDIES" | awk '
    { row = $1 " " $2 " " $3 " " $4; sub(/:$/, "", row) }
    / decisions / { line[row] = $0 }
    / samples a cell / { a = $0; sub(/.*a cell /, "", a); sub(/;.*/, "", a); n[row] = a; b = $0; sub(/.*takes /, "", b); sub(/ times.*/, "", b); times[row] = b }
    END { for (row in line) {
        split(row, k, " "); l = line[row]
        match(l, /wrong [0-9]+ \([0-9.]+/); w = substr(l, RSTART, RLENGTH); sub(/.*\(/, "", w)
        match(l, /left open [0-9]+ \([0-9.]+/); o = substr(l, RSTART, RLENGTH); sub(/.*\(/, "", o)
        s = l; sub(/.*\(/, "", s); sub(/ %.*/, "", s)
        printf "%-8s %-6s %-5s %-10s %9s %10s %10s %9s %11s\n", k[1], k[2], k[3], k[4], w, s, o, n[row], times[row] } }' | sort -b -k4,4 -k1,1n -k2,2n -k3,3 |
    { printf '%-8s %-6s %-5s %-10s %9s %10s %10s %9s %11s\n' until noise for error wrong,% 'studies,%' open,% samples '100 is x'; cat; }
