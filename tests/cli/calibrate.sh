#!/bin/bash
# Tables that methods find out once for a model: made, named in a config, and refused where they are not what they should be.
. "$(dirname "$0")/common.bash"
tiny
model=tests/golden/model/qwen2
calibrate() { "$FRONTIER" calibrate "$@" --model $model --text README.md --tokens 200 --samples 2 2>"$T/log"; }
for m in loki double_sparsity minference; do
    calibrate $m --out "$T/$m.table" || fail "$m: $(cat "$T/log")"
    grep -q "2 of 2 stretches" "$T/log" || fail "$m does not say how far it is: $(cat "$T/log")"
    [ "$(grep -vc '^#' "$T/$m.table")" = 2 ] || fail "$m: expected a row for each of two layers"
done
grep -v '^#' "$T/minference.table" | grep -qvE '^[012]( [012])*$' && fail "minference: kinds are 0, 1 and 2: $(cat "$T/minference.table")"
calibrate loki --out "$T/again.table" && cmp "$T/loki.table" "$T/again.table" || fail "another table of the same text"
run=("$FRONTIER" run "$T/tiny.yaml" -s samples=1 -s on_error=stop)
"${run[@]}" -o "$T/r.h5" -s "methods={prefill: [minference: {kinds: $T/minference.table}], decode: [loki: {rank: 8, basis: $T/loki.table}, double_sparsity: {channels: $T/double_sparsity.table}]}" \
    >/dev/null 2>"$T/log" || fail "a run with tables: $(cat "$T/log")"
head -2 "$T/loki.table" >"$T/short.table"
refused 'short.table: has 1 rows; one for each layer' "${run[@]}" -o "$T/s.h5" -s "methods={decode: [loki: {basis: $T/short.table}]}"
refused 'row 1: expected [0-9]* numbers, found more' "${run[@]}" -o "$T/m.h5" -s "methods={decode: [double_sparsity: {channels: $T/loki.table}]}"
sed 's/[012]$/7/' "$T/minference.table" >"$T/seven.table"
refused 'seven.table: row 1: number [0-9]* is 7' "${run[@]}" -o "$T/k.h5" -s "methods={prefill: [minference: {kinds: $T/seven.table}]}"
refused 'no method that is calibrated; these are: .*loki' "$FRONTIER" calibrate quest --model $model --text README.md --out "$T/none"
refused 'has [0-9]* tokens; a stretch is 900000' "$FRONTIER" calibrate loki --model $model --text README.md --tokens 900000 --out "$T/none"
refused 'cannot be read' "$FRONTIER" calibrate loki --model $model --text "$T/nothing" --out "$T/none"
[ ! -e "$T/none" ] || fail "a table was left behind"
echo "calibrate: ok"
