#!/bin/bash
# What was understood of a model is printed and tried: ok for those that are as they should be; a doubt for each of four
# checkpoints that are wrong and load all the same, which a run repeats and keeps.
. "$(dirname "$0")/common.bash"
golden=tests/golden/model

"$FRONTIER" verify $golden/gemma3 --python none >"$T/out" || fail "gemma3: $(cat "$T/out")"
for words in 'positions +theta 1e\+06, linear, factor 8; sliding layers: theta 10000' 'windows +64 tokens on 6 of 7 layers' \
    'head +tied' 'BOS +<bos> \(2\)' 'stops +<eos> \(1\), <end_of_turn> \(5\)' 'round trips +47 of 47 texts' \
    'prompt +62 tokens: <bos> <start_of_turn>' '^ok$'; do
    grep -qE "$words" "$T/out" || fail "verify does not print '$words': $(cat "$T/out")"
done
if "$FRONTIER" verify configs/models/qwen2.5-7b.yaml --python none >"$T/out" 2>&1; then fail "a shape is verified"; fi
grep -q 'nothing to verify' "$T/out" || fail "a shape: $(cat "$T/out")"

copy() { cp -r "$golden/$1" "$T/$2"; }
doubted() { # FOLDER WORDS
    if "$FRONTIER" verify "$T/$1" --python none >"$T/out"; then fail "$1: no doubt"; fi
    grep -qE "^doubt: .*$2" "$T/out" || fail "$1: no doubt of '$2': $(cat "$T/out")"
}
copy qwen2 merges
python3 - "$T/merges/tokenizer.json" <<'EOF'
import json, sys
t = json.load(open(sys.argv[1]))
t["model"]["merges"] = t["model"]["merges"][:1]
json.dump(t, open(sys.argv[1], "w"))
EOF
doubted merges 'only [0-9]+ of [0-9]+ tokens are found again in their own text'
copy qwen2 renamed
sed -i 's/<|im_start|>/<|im_begin|>/' "$T/renamed/tokenizer.json"
doubted renamed 'writes <\|im_start\|>, which is no special token'
copy qwen2 nan
printf '\0\0\300\177' | dd of="$T/nan/model.safetensors" bs=1 seek=$(($(stat -c %s "$T/nan/model.safetensors") - 4)) conv=notrunc status=none
doubted nan 'tensor .* is not a finite number'
copy llama head
sed -i 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' "$T/head/config.json"
doubted head 'lm_head.weight: tie_word_embeddings is true, but this is not the embedding table'

"$FRONTIER" run $golden/taught/families.yaml -o "$T/d.h5" -s samples=1 -s 'methods={decode: [quest]}' -s 'sparsity=[0.5]' \
    -s "models=[$T/head]" >"$T/out" 2>"$T/log" || fail "run: $(cat "$T/log")"
grep -q 'WARNING:.*frontier verify MODEL.*lm_head.weight' "$T/out" || fail "the run does not repeat the doubt: $(cat "$T/out")"
"$FRONTIER" export "$T/d.h5" --csv | head -n 1 | grep -q 'positions,doubts' || fail "results keep neither positions nor doubts"

# The comparison with transformers: what it says is believed, other ids are a doubt, and none is needed.
cat >"$T/python" <<EOF
#!/bin/bash
[ ! -e "$T/absent" ] || exit 3
echo '{"version": "0", "auto": null, "prompt": [1, 2], "texts": [[3], [4], [5]]}'
EOF
chmod +x "$T/python"
if "$FRONTIER" verify $golden/qwen2 --python "$T/python" >"$T/out"; then fail "other ids are no doubt"; fi
grep -q 'doubt: transformers: other ids of the prompt' "$T/out" || fail "other ids: $(cat "$T/out")"
touch "$T/absent"
"$FRONTIER" verify $golden/qwen2 --python "$T/python" >"$T/out" || fail "without transformers: $(cat "$T/out")"
grep -q 'not installed for' "$T/out" || fail "without transformers: $(cat "$T/out")"
echo "verify: ok"
