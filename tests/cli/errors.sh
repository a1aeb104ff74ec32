#!/bin/bash
# Bad input from the command line: one error line that names it, status 1, nothing half-written.
. "$(dirname "$0")/common.bash"
tiny
run=("$FRONTIER" run "$T/tiny.yaml" -o "$T/e.h5")
refused 'cannot be opened' "$FRONTIER" run "$T/none.yaml"
refused 'directory' "$FRONTIER" run "$T"
refused 'tasks: the list is empty' "${run[@]}" -s 'tasks=[]'
refused 'positions' "${run[@]}" -s 'lengths=[4000000]'
refused 'length 4091 and 6 tokens of output do not fit its 4096 positions' "${run[@]}" -s 'lengths=[4091]'
refused 'too few' "${run[@]}" -s 'lengths=[64]'
refused 'too few' "$FRONTIER" plan "$T/tiny.yaml" -s 'lengths=[64]'
printf '{"context": "c", "questions": ["q"], "answer": ["A"]}\n{"context": "caf\xe9"}\n' >"$T/bad.jsonl"
for command in plan run; do
    refused "qa_toefl: .*/bad.jsonl:2: .*0xe9" "$FRONTIER" $command "$T/tiny.yaml" -s "tasks=[qa_toefl: {file: $T/bad.jsonl}]"
done
mkfifo "$T/pipe.jsonl"
for file in "$T/pipe.jsonl" /dev/zero; do # neither is waited for
    refused "qa_toefl.file: $file: expected a file, found a device or pipe" timeout 30 "${run[@]}" -s "tasks=[qa_toefl: {file: $file}]"
done
refused "did you mean 'quest'" "${run[@]}" -s 'methods={decode: [quets]}'
refused "device 'gpu' is unknown" "${run[@]}" -d gpu
refused 'no/such' "${run[@]}" -s 'models=[no/such]'
refused 'expected config.json' "${run[@]}" -s "models=[$T]"
refused 'shape without weights' "${run[@]}" -s 'models=[configs/models/qwen2.5-7b.yaml]'
for picture in '[0, 99]' '[99, 0]' '[2, 0]'; do
    refused "picture: .* expected one of its 2 layers, with full attention, and one of its [0-9]+ query heads" "${run[@]}" -s "picture=$picture"
done
touch "$T/file"
refused 'folder' "$FRONTIER" run "$T/tiny.yaml" -o "$T/file/x.h5"
head -c 1000 /dev/urandom >"$T/noise.h5"
refused 'noise.h5' "$FRONTIER" run "$T/tiny.yaml" -o "$T/noise.h5"
refused 'noise.h5' "$FRONTIER" report "$T/noise.h5"
refused 'none.h5' "$FRONTIER" report "$T/none.h5"
refused 'none.h5' "$FRONTIER" show "$T/none.h5"
head -c 300 models/smollm2-135m/*.gguf >"$T/cut.gguf" 2>/dev/null || printf 'GGUF\3\0\0\0' >"$T/cut.gguf"
refused 'cut.gguf' "${run[@]}" -s "models=[$T/cut.gguf]"
[ ! -e "$T/e.h5" ] || fail "a refused run left a results file"
"${run[@]}" >/dev/null 2>&1
refused 'no such cell' "$FRONTIER" show "$T/e.h5" --method snapkv
refused 'no such model' "$FRONTIER" show "$T/tiny.yaml" --task cwe
refused 'takes two' "$FRONTIER" compare "$T/e.h5"
refused 'evaluation seed' "$FRONTIER" tasks export "$T/tiny.yaml" -o "$T/t.h5" -n 2 --seed 43
refused 'cannot be created' "$FRONTIER" tasks export "$T/tiny.yaml" -o "$T/no/t.h5" -n 2
[ ! -e "$T/t.h5" ] || fail "a refused export left a file"
if [ "$(id -u)" != 0 ]; then
    mkdir "$T/ro"; chmod 555 "$T/ro"
    refused 'ro/x.h5' "$FRONTIER" run "$T/tiny.yaml" -o "$T/ro/x.h5"
fi
# The config's file gives the results their name, unless it has none.
cp "$T/tiny.yaml" "$T/.yaml"
sed -i '/^name:/d' "$T/.yaml"
refused "add 'name: NAME'" "$FRONTIER" run "$T/.yaml"
refused 'has no keys of its own|expected a name|unknown task' "$FRONTIER" plan "$T/tiny.yaml" -s 'tasks=[{}]' -s 'tasks.00.x=1'
for id in a/.. a/. ../b a/b/c -a/b 'a/b c'; do refused 'expected OWNER/NAME|unrecognized|invalid option' "$FRONTIER" fetch -- "$id"; done

# Parameters that do not go together are no other method.
for phase in prefill decode; do
    refused 'heads: split is of form: strided alone' "$FRONTIER" run "$T/tiny.yaml" -o "$T/s-$phase.h5" -s samples=1 -s on_error=stop \
        -s "methods={$phase: [{sparse_transformer: {length: 64, form: fixed, heads: split}}]}"
done

# What cannot be printed is an error: a table would end in the middle.
for command in "plan $T/tiny.yaml" "show $T/tiny.yaml" "export $T/e.h5 --csv" "list methods" "version" \
    "cost --model configs/models/qwen2.5-7b.yaml --length 1024" "help"; do
    status=0
    "$FRONTIER" $command >/dev/full 2>"$T/err" || status=$?
    [ $status = 1 ] || fail "$command into a full disk: status $status"
    grep -q 'No space left' "$T/err" || fail "$command into a full disk: $(cat "$T/err")"
done

# A model's file that is cut while a run reads it is named.
cp -r tests/golden/model/qwen2 "$T/cut"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/c.h5" -t 1 -s "models=[$T/cut]" -s samples=100000 >/dev/null 2>"$T/err" &
pid=$!
for ((i = 0; i < 600; i++)); do
    compgen -G "$T/c.h5.parts/*1.part" >/dev/null && break
    sleep 0.05
done
truncate -s 4096 "$T/cut/model.safetensors"
status=0
{ wait $pid || status=$?; } 2>/dev/null
[ $status = 135 ] || fail "a model cut short: status $status: $(tail -n 1 "$T/err")"
grep -q "error: $T/cut/model.safetensors: another program cut the file short" "$T/err" || fail "a model cut short: $(tail -n 2 "$T/err")"
echo "errors: ok"
