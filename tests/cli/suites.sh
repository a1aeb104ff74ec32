#!/bin/bash
# Suites of others, end to end on rows of ours in their layouts: planned, run on an embedded model, scored, stored.
. "$(dirname "$0")/common.bash"

# runs TASK PARAMETERS LENGTH ROWS: all rows are asked, and found complete afterwards.
runs() {
    local sweep=(-s "tasks=[$1: {$2, label: it}]" -s "lengths=[$3]" -s samples=9)
    "$FRONTIER" plan "$T/suites.yaml" "${sweep[@]}" >"$T/out" 2>&1 || fail "$1, plan: $(cat "$T/out")"
    grep -qE "^it, $3 tokens, .*: $4 samples instead of 9" "$T/out" || fail "$1: plan does not count $4 rows: $(cat "$T/out")"
    "$FRONTIER" run "$T/suites.yaml" "${sweep[@]}" -o "$T/$1.h5" >/dev/null 2>"$T/err" || fail "$1, run: $(cat "$T/err")"
    "$FRONTIER" export "$T/$1.h5" --jsonl >"$T/rows"
    [ "$(grep -c '"task_label":"it"' "$T/rows")" = $((2 * $4)) ] || fail "$1: expected $4 rows dense and sparse: $(cut -c1-300 "$T/rows")"
    "$FRONTIER" run "$T/suites.yaml" "${sweep[@]}" -o "$T/$1.h5" 2>&1 >/dev/null | grep -q 'nothing is left' || fail "$1: not complete"
}
cat >"$T/suites.yaml" <<EOF
name: suites
models:   [models/frontier-mini/s]
tasks:    [niah]
lengths:  [600]
sparsity: [0.5]
methods:  {prefill: [vertical_slash]}
output:   4
EOF
long=$(for i in $(seq 150); do printf 'The ferry of day %d carried copper and letters over the river. ' "$i"; done)

# LongBench: a row that is cut, and one that is not; without a chat template, too.
prompts='{"qasper": "Read the paper.\n\n{context}\n\nQuestion: {input}\nAnswer:", "trec": "{context}\n{input}"}'
echo "$prompts" >"$T/dataset2prompt.json"
for context in "$long" "The mill burnt down in 1848."; do
    printf '{"input": "When?", "context": "%s", "answers": ["1848", "in 1848"], "length": 7, "dataset": "qasper", "language": "en", "all_classes": null, "_id": "a%d"}\n' \
        "$context" ${#context}
done >"$T/qasper.jsonl"
runs longbench_qasper "file: $T/qasper.jsonl, prompts: $T/dataset2prompt.json" 600 2
grep -q 1848 "$T/rows" || fail "longbench_qasper: no gold answer stored: $(head -1 "$T/rows")"
tokens=$(grep -oE '"input_tokens": *[0-9]+' "$T/rows" | grep -oE '[0-9]+$' | sort -n | tr '\n' ' ')
read -r short _ _ cut <<<"$tokens"
[ "$short" -lt 100 ] && [ "$cut" -gt 590 ] && [ "$cut" -le 600 ] || fail "longbench_qasper: lengths are $tokens"
echo '{"input": "Type:", "context": "What is a mill? Type: Place", "answers": ["Place"], "all_classes": ["Place", "Food"], "dataset": "trec"}' >"$T/trec.jsonl"
runs longbench_trec "file: $T/trec.jsonl, prompts: $T/dataset2prompt.json" 600 1

# LongBench v2: one file of all questions.
printf '<text>\n$DOC$\n</text>\n$Q$\n(A) $C_A$\n(B) $C_B$\n(C) $C_C$\n(D) $C_D$\n' >"$T/0shot.txt"
row() {
    printf '{"_id": "%s", "domain": "d", "sub_domain": "s", "difficulty": "easy", "length": "short", "question": "When?", "choice_A": "1848", ' "$1"
    printf '"choice_B": "1849", "choice_C": "1850", "choice_D": "never", "answer": "A", "context": "%s"}' "$2"
}
printf '[\n%s,\n%s\n]\n' "$(row a "$long")" "$(row b "The mill burnt down in 1848.")" >"$T/data.json"
runs longbench_v2 "file: $T/data.json, prompts: $T/0shot.txt" 600 2

# InfiniteBench: without a chat template; prompts out of Python sources.
for i in 1 2 3; do echo "{\"id\": $i, \"context\": \"$long The key is 7143$i.\", \"input\": \"What is it?\", \"answer\": [\"7143$i\"]}"; done >"$T/passkey.jsonl"
runs infinitebench_passkey "file: $T/passkey.jsonl, prompts: tests/suites/infinitebench" 600 3
echo '{"context": "[3, 9, 4]", "input": "One number. The largest number of the list is: ", "answer": 9}' >"$T/math_find.jsonl"
runs infinitebench_math_find "file: $T/math_find.jsonl, prompts: tests/suites/infinitebench" 600 1

# BABILong: nothing is cut.
echo '[{"input": "Mary took the milk. It rained.", "question": "What is Mary carrying?", "target": "milk"}]' >"$T/qa8.json"
runs babilong_qa8 "file: $T/qa8.json, prompts: tests/suites/babilong.py" 600 1
echo "[{\"input\": \"$long\", \"question\": \"What is Mary carrying?\", \"target\": \"milk\"}]" >"$T/qa8.json"
refused 'qa8.json:1: row 1: it takes [0-9]+ tokens and is not to be cut' "$FRONTIER" plan "$T/suites.yaml" \
    -s "tasks=[babilong_qa8: {file: $T/qa8.json, prompts: tests/suites/babilong.py}]"

# NoLiMa: needles in books, as many as there are samples for.
mkdir "$T/books"
sed 's/\. /.\n/g' <<<"$long" >"$T/books/one.txt"
"$FRONTIER" run "$T/suites.yaml" -s "tasks=[nolima: {file: tests/suites/nolima/needle_set.json, prompts: tests/suites/nolima/run_tests.py, haystack: $T/books}]" \
    -s 'lengths=[600]' -s samples=3 -o "$T/nolima.h5" >/dev/null 2>"$T/err" || fail "nolima: $(cat "$T/err")"
[ "$("$FRONTIER" export "$T/nolima.h5" --jsonl | grep -c '"nolima"')" = 6 ] || fail "nolima: expected 3 rows dense and sparse"

# MRCR: a conversation, its own words; SCBench: each question of a context.
turns='[{\"role\": \"user\", \"content\": \"Write.\"}, {\"role\": \"assistant\", \"content\": \"A poem.\"}, {\"role\": \"user\", \"content\": \"Prepend xY7 to the 1st.\"}]'
echo "{\"prompt\": \"$turns\", \"answer\": \"xY7A poem.\", \"random_string_to_prepend\": \"xY7\", \"n_needles\": 2}" >"$T/2needle.jsonl"
runs mrcr "file: $T/2needle.jsonl" 600 1
echo "{\"id\": 0, \"context\": \"$long\", \"multi_turns\": [{\"input\": \"Key: a\", \"answer\": \"b\"}, {\"input\": \"Key: c\", \"answer\": \"d\"}]}" >"$T/scbench_kv.jsonl"
runs scbench_kv "file: $T/scbench_kv.jsonl, prompts: tests/suites/scbench.py" 600 2
rm "$T/scbench_kv.h5"
runs scbench_kv "file: $T/scbench_kv.jsonl, prompts: tests/suites/scbench.py, turns: 2" 600 1

# HELMET: the prompt's last line begins the answer.
echo '{"context": "{a: b}", "question": "a", "answer": "b", "num_kvs": 1, "demos": [["c", "d"], ["e", "f"]]}' >"$T/kv.jsonl"
runs helmet_json_kv "file: $T/kv.jsonl, prompts: tests/suites/helmet.py" 600 1

demo() { printf '{"id": "%s", "question": "%s", "answers": ["%s"], "ctxs": [{"title": "Mill", "text": "%s"}]}\n' "$@"; }
for i in 1 2 3; do demo "d$i" "Who sold the mill in 184$i?" "Ann" "It was sold in 184$i."; done >"$T/nq-train.jsonl"
{ demo q1 "When did it burn?" 1848 "$long"; demo q2 "Where?" Brindle "It burnt at Brindle."; } >"$T/nq-dev.jsonl"
runs helmet_kilt_nq "file: $T/nq-dev.jsonl, prompts: tests/suites/helmet.py, demos: $T/nq-train.jsonl" 600 2
"$FRONTIER" show "$T/suites.yaml" -s "tasks=[helmet_kilt_nq: {file: $T/nq-dev.jsonl, prompts: tests/suites/helmet.py, demos: $T/nq-train.jsonl}]" >"$T/out"
[ "$(grep -c '^Asked: Who sold the mill in 184[123]?$' "$T/out")" = 2 ] || fail "helmet_kilt_nq: expected two examples in its prompt: $(cat "$T/out")"

# RULER in its own words, read as data.
for task in ruler_niah_single_2 ruler_vt; do
    "$FRONTIER" run "$T/suites.yaml" -s "tasks=[$task: {wording: ruler, repository: tests/suites/ruler}]" -s 'lengths=[700]' -s samples=2 -o "$T/$task.h5" \
        >/dev/null 2>"$T/err" || fail "$task in RULER's words: $(cat "$T/err")"
    [ "$("$FRONTIER" export "$T/$task.h5" --jsonl | grep -c '"wording\\":\\"ruler')" = 4 ] || fail "$task: expected 2 rows dense and sparse"
done
refused 'ruler_vt: `wording: ruler` takes `repository`' "$FRONTIER" plan "$T/suites.yaml" -s 'tasks=[ruler_vt: {wording: ruler}]'

# What a row lacks is said once, with file, line and field, before anything runs.
sed -i '2s/"answers"/"answer"/' "$T/qasper.jsonl"
refused 'qasper.jsonl:2: row 2: expected a member "answers"' "$FRONTIER" run "$T/suites.yaml" -o "$T/bad.h5" \
    -s "tasks=[longbench_qasper: {file: $T/qasper.jsonl, prompts: $T/dataset2prompt.json}]"
[ ! -e "$T/bad.h5" ] || fail "a results file of a refused run"
refused 'longbench_qasper: `file` is missing' "$FRONTIER" plan "$T/suites.yaml" -s 'tasks=[longbench_qasper]'
refused "unknown task 'longbench_multifieldqa_zh'" "$FRONTIER" plan "$T/suites.yaml" -s 'tasks=[longbench_multifieldqa_zh]'
"$FRONTIER" list tasks | grep -q '^longbench_hotpotqa ' || fail "list tasks does not name the suites' tasks"
echo "suites: ok"
