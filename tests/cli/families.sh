#!/bin/bash
# One taught checkpoint per family through every method there is: the run and its report end well and warn of nothing
# but that models which know all leave nothing to win. On
# answers that are noise, and on a model with nothing but sliding windows, they warn.
. "$(dirname "$0")/common.bash"
config=tests/golden/model/taught/families.yaml
shapes=tests/golden/model/taught/shapes.yaml
"$FRONTIER" list methods | grep '^[a-z]' | cut -c1-36 >"$T/methods"
for phase in prefill decode; do
    for method in $(awk -v phase=$phase '$1 !~ /^(null|nsa|dsa|dms|sparsek|spattention)$/ && (/, decode/ || $2 == phase || (phase == "decode" && $2 == "eviction")) {print $1}' "$T/methods"); do
        sed -n "/^  $phase:/,/]$/p" $config $shapes | grep -qE "\b$method\b" || fail "$method is not in $config or $shapes under $phase"
    done
done
"$FRONTIER" run $config -v -o "$T/f.h5" -s samples=2 >"$T/out" 2>"$T/log" || fail "run: $(cat "$T/log")"
cells=$(grep -c 'over 2 samples' "$T/log")
expected=$("$FRONTIER" plan $config | grep -oE '^families: [0-9]+' | grep -oE '[0-9]+')
[ "$cells" = "$expected" ] || fail "$cells of $expected cells ran"
if grep WARNING "$T/out" "$T/log" | grep -v "smaller model is near 1"; then fail "the run warns"; fi
[ "$(grep -c ' dense, exact 1.000' "$T/log")" = 5 ] || fail "not all that was taught is known: $(grep dense, "$T/log")"
for model in qwen2 qwen3 llama mistral gemma3; do
    grep -qE "^$model +niah.* 1\.00" "$T/out" || fail "$model has no row in the table"
done
"$FRONTIER" report "$T/f.h5" -f frontier -F png -o "$T/report" >"$T/out" 2>&1 || fail "report: $(cat "$T/out")"
if grep WARNING "$T/out" | grep -v "smaller model is near 1"; then fail "the report warns"; fi
[ -s "$T/report/index.html" ] || fail "no page"

# The null method, which reads two keys, answers nothing; it runs to the end all the same.
"$FRONTIER" run $config -o "$T/n.h5" -s 'methods={prefill: ["null"], decode: ["null"]}' -s samples=1 >/dev/null 2>"$T/log" ||
    fail "null: $(cat "$T/log")"

# Shapes that look at nothing run to the end, and warn of lost answers alone. Roles of two heads come in steps.
"$FRONTIER" run $shapes -o "$T/s.h5" >"$T/out" 2>"$T/log" || fail "shapes: $(cat "$T/log")"
if grep WARNING "$T/out" | grep -vE 'cannot be parsed|cut off|near zero|not the requested one: .*head_roles'; then fail "shapes warn"; fi

# Noise for answers, and nothing to sparsify.
"$FRONTIER" run $config -o "$T/r.h5" -s samples=1 -s 'sparsity=[0.5]' -s 'methods={prefill: [vertical_slash], decode: [quest]}' \
    -s 'models=[tests/golden/model/qwen2, tests/golden/model/mistral]' >"$T/out" 2>"$T/log" || fail "noise: $(cat "$T/log")"
for words in 'dense score is near zero' 'cannot be parsed' 'cut off' 'every layer of the model has a sliding window'; do
    grep -q "WARNING:.*$words" "$T/out" || fail "no warning of '$words': $(cat "$T/out")"
done
"$FRONTIER" export "$T/r.h5" --jsonl | grep '"model":"mistral"' >"$T/sliding" && [ "$(wc -l <"$T/sliding")" = 3 ] || fail "not three rows of mistral"
! grep -v '"prefill_achieved":0.0,"decode_achieved":0.0,' "$T/sliding" || fail "where all layers slide, something was left out"
"$FRONTIER" report "$T/r.h5" -F png -o "$T/report" >"$T/out" 2>&1 || fail "report of noise: $(cat "$T/out")"
grep -q 'WARNING:.*near zero' "$T/out" || fail "the report does not warn of noise"
echo "families: ok"
