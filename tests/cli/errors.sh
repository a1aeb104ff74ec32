#!/bin/bash
# Bad input from the command line: one error line that names it, status 1, nothing half-written.
. "$(dirname "$0")/common.bash"
tiny
run=("$FRONTIER" run "$T/tiny.yaml" -o "$T/e.h5")
refused 'cannot be opened' "$FRONTIER" run "$T/none.yaml"
refused 'directory' "$FRONTIER" run "$T"
refused 'tasks: the list is empty' "${run[@]}" -s 'tasks=[]'
refused 'positions' "${run[@]}" -s 'lengths=[4000000]'
refused 'too few' "${run[@]}" -s 'lengths=[64]'
refused 'too few' "$FRONTIER" plan "$T/tiny.yaml" -s 'lengths=[64]'
printf '{"context": "c", "questions": ["q"], "answer": ["A"]}\n{"context": "caf\xe9"}\n' >"$T/bad.jsonl"
for command in plan run; do
    refused "qa_toefl: .*/bad.jsonl:2: .*0xe9" "$FRONTIER" $command "$T/tiny.yaml" -s "tasks=[qa_toefl: {file: $T/bad.jsonl}]"
done
refused "did you mean 'quest'" "${run[@]}" -s 'methods={decode: [quets]}'
refused "device 'gpu' is unknown" "${run[@]}" -d gpu
refused 'no/such' "${run[@]}" -s 'models=[no/such]'
refused 'expected config.json' "${run[@]}" -s "models=[$T]"
refused 'shape without weights' "${run[@]}" -s 'models=[configs/models/qwen2.5-7b.yaml]'
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
echo "errors: ok"
