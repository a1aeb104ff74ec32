#!/bin/bash
# Who may include whom. A room includes itself and the rooms named behind it (ARCHITECTURE.md has the picture); and no
# two files, a .c with its .h, include each other, be it in a round.
. "$(dirname "$0")/common.bash"
rules='base
kernels base
methods base kernels
tasks   base
config  base kernels methods tasks
model   base kernels methods
engine  base kernels methods model
store   base kernels
report  base store model
lab     base kernels methods model engine
run     base kernels methods tasks config model engine store
train   base tasks config model store run
cli     base kernels methods tasks config model engine store report lab run train'
includes=$(grep -rn '^#include "' base kernels methods tasks harness --include=*.[ch] --include=*.cu --include=*.cuh)
upward=$(awk -F'[:"]' -v rules="$rules" '
    function room(path, part) { split(path, part, "/"); return part[1] == "harness" ? part[2] : part[1] }
    BEGIN { n = split(rules, line, "\n"); for (i = 1; i <= n; i++) { m = split(line[i], word, " "); for (j = 1; j <= m; j++) may[word[1], word[j]] = 1 } }
    $4 ~ /\// && !((room($1), room($4)) in may) { print $1 ":" $2 ": " room($1) " may not include " $4 }' <<<"$includes")
[ -z "$upward" ] || fail "$upward"
rounds=$(awk -F'[:"]' '$4 ~ /\// { print $1, $4 }' <<<"$includes" | while read -r from to; do
    # A header without a .c of its own is its includer's: it knows nothing that the includer does not.
    [[ $from == *.h ]] || [ -e "${to%.h}.c" ] || [ -e "${to%.h}.cu" ] || continue
    [ "${from%.*}" = "${to%.*}" ] || echo "${from%.*} ${to%.*}"
done | tsort 2>&1 >/dev/null) || true
[ -z "$rounds" ] || fail "files that include each other in a round:"$'\n'"$rounds"
[ -z "$(find harness -maxdepth 1 -type f)" ] || fail "files directly in harness/: $(find harness -maxdepth 1 -type f | tr '\n' ' ')"
