#!/bin/bash
# Every example is a sweep that can be planned, on the embedded model where its own is not here; the first one runs.
. "$(dirname "$0")/common.bash"
for f in examples/*.yaml; do
    here=()
    for model in $(grep -oE 'models/smollm2[a-z0-9-]*' "$f"); do [ -e "$model" ] || here=(--set 'models=[models/frontier-mini/s]'); done
    "$FRONTIER" plan "$f" "${here[@]}" --set device=cpu >"$T/log" 2>&1 || fail "$f: $(cat "$T/log")"
    grep -qE "^$(basename "$f" .yaml): [0-9]+ cells" "$T/log" || fail "$f: its name is not the file's"
done
"$FRONTIER" run examples/first.yaml --set samples=1 --out "$T/first.h5" >"$T/log" 2>&1 || fail "run: $(cat "$T/log")"
[ "$(rows "$T/first.h5" | wc -l)" = 3 ] || fail "first.yaml: expected three rows"
rows "$T/first.h5" | grep '"decode_method":"dense"' | grep -qE '"strict":1(\.0*)?[,}]' || fail "first.yaml: the dense model does not know what it is asked"
