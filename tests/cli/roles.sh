#!/bin/bash
# Roles of heads: measured on samples, a gate for each kv head, read by head_roles, whose cells depend on what the table holds.
. "$(dirname "$0")/common.bash"
config=tests/golden/model/taught/families.yaml
sets=(--set 'models=[tests/golden/model/taught/qwen2]' --set samples=1)
"$FRONTIER" roles $config "${sets[@]}" --set seed=7 --sinks 4 --recent 60 --window 8 --out "$T/roles.tsv" >"$T/out" 2>"$T/log" ||
    fail "roles: $(cat "$T/log")"
grep -q 'roles: .*, sinks: 4, recent: 60' "$T/out" || fail "what to do with the table is not said: $(cat "$T/out")"
read -r layers heads < <(sed -nE 's/.*: ([0-9]+) layers of ([0-9]+) kv heads over 1 prompts.*/\1 \2/p' "$T/out")
awk -F'\t' -v layers="$layers" -v heads="$heads" 'NF != heads { bad = 1 } { for (i = 1; i <= NF; i++) { bad += !($i >= 0 && $i <= 1); sum += $i } }
    END { exit bad || NR != layers || sum == 0 }' "$T/roles.tsv" || fail "no table of $layers layers and $heads kv heads: $(cat "$T/roles.tsv")"
# A wider window of streaming heads leaves less to look at.
"$FRONTIER" roles $config "${sets[@]}" --set seed=7 --sinks 4 --recent 400 --window 8 --out "$T/wide.tsv" >/dev/null 2>"$T/log" || fail "wide: $(cat "$T/log")"
paste "$T/roles.tsv" "$T/wide.tsv" | awk -v heads="$heads" '{ for (i = 1; i <= heads; i++) bad += $i < $(i + heads) } END { exit bad }' ||
    fail "more is seen beyond a wider window"

run=("$FRONTIER" run $config "${sets[@]}" --set "methods={decode: [head_roles: {roles: $T/used.tsv, streaming: 0.5, sinks: 4, recent: 60}]}" --out "$T/r.h5")
cp "$T/roles.tsv" "$T/used.tsv"
"${run[@]}" >"$T/out" 2>"$T/log" || fail "run: $(cat "$T/log")"
cells() { "$FRONTIER" export "$T/r.h5" -c -o "$T/r.csv" && grep -c head_roles "$T/r.csv"; }
[ "$(cells)" = 1 ] || fail "not one cell: $(cells)"
"${run[@]}" >"$T/out" 2>"$T/log" && [ "$(cells)" = 1 ] || fail "the same table ran again"
awk -F'\t' -v OFS='\t' '{ for (i = 1; i <= NF; i++) $i = 1 - $i; print }' "$T/roles.tsv" >"$T/used.tsv"
"${run[@]}" >"$T/out" 2>"$T/log" || fail "another table: $(cat "$T/log")"
[ "$(cells)" = 2 ] || fail "another table is taken for the same"

refused() { # WORDS ARGUMENTS
    local words=$1
    shift
    if "$FRONTIER" roles "$@" >"$T/out" 2>&1; then fail "no error: $words"; fi
    grep -qE "$words" "$T/out" || fail "not '$words': $(cat "$T/out")"
    [ ! -e "$T/no.tsv" ] || fail "$words: a table is left"
}
refused 'leave nothing to look at' $config "${sets[@]}" --recent 600 --out "$T/no.tsv"
refused 'models; choose one' $config --set samples=1 --out "$T/no.tsv"
refused 'cannot be written' $config "${sets[@]}" --sinks 4 --recent 60 --out "$T/none/no.tsv"
refused 'name the table' $config
