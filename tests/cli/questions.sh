#!/bin/bash
# No question counts twice: where a task has fewer than `samples`, its cells have fewer, and plan, run and export say so.
. "$(dirname "$0")/common.bash"
tiny
sweep=(-s 'tasks=[qa_toefl]' -s 'methods={}' -s 'lengths=[1500]' -s samples=70 -s output=1)
said='^qa_toefl, 1500 tokens, qwen2: [0-9]+ samples instead of 70'
"$FRONTIER" plan "$T/tiny.yaml" "${sweep[@]}" >"$T/out"
grep -qE "$said" "$T/out" || fail "plan does not say it: $(cat "$T/out")"
n=$(grep -oE '[0-9]+ samples instead' "$T/out" | cut -d' ' -f1)
[ "$n" -gt 3 ] && [ "$n" -lt 68 ] || fail "expected some of the 68 questions, found $n"
grep -qE "^  samples +$n$" "$T/out" || fail "plan counts other samples: $(cat "$T/out")"
"$FRONTIER" run "$T/tiny.yaml" "${sweep[@]}" -o "$T/q.h5" >/dev/null 2>"$T/err" || fail "run: $(cat "$T/err")"
grep -qE "$said" "$T/err" || fail "run does not say it: $(cat "$T/err")"
[ "$("$FRONTIER" export "$T/q.h5" --jsonl | grep -c '"qa_toefl"')" = "$n" ] || fail "expected $n rows"
"$FRONTIER" run "$T/tiny.yaml" "${sweep[@]}" -o "$T/q.h5" 2>&1 >/dev/null | grep -q 'nothing is left' || fail "not complete"
refused "has $n samples that do not repeat" "$FRONTIER" tasks export "$T/tiny.yaml" "${sweep[@]}" -o "$T/t.h5" -n 70 --seed 7
# What a data file holds is part of the key, however the file is named.
head -n 3 tasks/data/qa_choice.jsonl >"$T/q.jsonl"
root=$PWD
key() { (cd "$T" && "$FRONTIER" plan tiny.yaml -s "models=[$root/tests/golden/model/qwen2]" -s 'tasks=[qa_toefl: {file: q.jsonl}]' \
    -s 'methods={}' -s 'lengths=[1800]' -s samples=1 --json | grep '"key"'); }
before=$(key)
[ -n "$before" ] && [ "$before" = "$(key)" ] || fail "no key, or not the same twice: $before"
sed -i 's/"context": "/&Once. /' "$T/q.jsonl"
[ "$before" != "$(key)" ] || fail "another data file, the same key"
echo "questions: ok"
