#!/bin/bash
# Prompts: a model's template as it is rendered, what a config's `chat` makes of it, and what results keep of that.
. "$(dirname "$0")/common.bash"

# A copy of the tiny model with a template of its own, which has a switch, a date and a BOS.
cp -r tests/golden/model/qwen2 "$T/model"
cat >"$T/model/chat_template.jinja" <<'EOF'
{{- '<|im_start|>system\n' ~ strftime_now('%d %B %Y') ~ ('' if enable_thinking else ', quick') ~ '<|im_end|>\n' }}
{%- for m in messages %}
{{- '<|im_start|>' ~ m.role ~ '\n' ~ m.content | trim ~ '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
EOF
mkdir "$T/model/additional_chat_templates"
echo '[{{ messages[0].content }}]' >"$T/model/additional_chat_templates/short.jinja"

show() { "$FRONTIER" show "$T/model" --chat "$@" >"$T/out" || fail "show $*"; }
says() { grep -qF -- "$1" "$T/out" || fail "no '$1' in: $(cat "$T/out")"; }
show
says '26 July 2024, quick<|im_end|>'
says 'options: {"date":"2024-07-26"}'
grep -qE '^ +[0-9]+  "<\|im_start\|>"$' "$T/out" || fail "no turn token with its id: $(cat "$T/out")"
show --set enable_thinking=true --set date=2031-01-05
says '05 January 2031<|im_end|>'
show --set 'system="Be brief."'
says 'Be brief.<|im_end|>'
show --set template=short
says '[What is the capital of France?]'
refused "named 'long', found short, default|named 'long', found default, short" "$FRONTIER" show "$T/model" --chat --set template=long
refused 'chat.date: expected YYYY-MM-DD' "$FRONTIER" show "$T/model" --chat --set date=today

# The same through a config, into results; another prompt is another cell.
tiny "$T/model"
sweep=(-s 'tasks=[niah: {queries: 1, key_groups: 1, value_groups: 1, group_length: 4, density: 0}]' -s 'methods={}' -s samples=1)
for chat in '{enable_thinking: true}' '{enable_thinking: false}' none; do
    "$FRONTIER" run "$T/tiny.yaml" "${sweep[@]}" -s "models=[{path: $T/model, chat: $chat}]" -o "$T/r.h5" >/dev/null 2>"$T/err" ||
        fail "run with chat: $chat: $(cat "$T/err")"
done
"$FRONTIER" export "$T/r.h5" --jsonl >"$T/out"
[ "$(wc -l <"$T/out")" = 3 ] || fail "expected three cells: $(cat "$T/out")"
"$FRONTIER" show "$T/tiny.yaml" "${sweep[@]}" --chat >"$T/out"
says '---- conversation ----'

"$FRONTIER" show "$T/tiny.yaml" "${sweep[@]}" -s "models=[{path: $T/model, chat: {prefix: '<<', suffix: '>>'}}]" --chat >"$T/out" || fail "prefix, suffix"
says '<<' && says '>>'
show --set enable_thinking=true --set 'note="true"' # a flag is no text
says 'options: {"date":"2024-07-26","enable_thinking":true,"note":"true"}'

# What cannot be prompted says what to do.
echo '{% include "x" %}' >"$T/model/chat_template.jinja"
refused "chat template, line 1: not supported: the statement 'include'" "$FRONTIER" plan "$T/tiny.yaml" "${sweep[@]}"
rm -r "$T/model/chat_template.jinja" "$T/model/additional_chat_templates"
sed -i 's/"chat_template"/"none"/' "$T/model/tokenizer_config.json"
refused 'chat: none for a base model' "$FRONTIER" plan "$T/tiny.yaml" "${sweep[@]}"
"$FRONTIER" plan "$T/tiny.yaml" "${sweep[@]}" -s "models=[{path: $T/model, chat: none}]" >/dev/null || fail "chat: none"
refused "expected 'none', or a map" "$FRONTIER" plan "$T/tiny.yaml" -s "models=[{path: $T/model, chat: chatml}]"

# A BOS token is kept by its text, be it the first of the vocabulary; a text's continuation has none of its own.
sed -i 's/^{/{"bos_token": "!", "add_bos_token": true, /' "$T/model/tokenizer_config.json"
"$FRONTIER" run "$T/tiny.yaml" "${sweep[@]}" -s 'tasks=[text]' -s "models=[{path: $T/model, chat: none}]" -o "$T/bos.h5" >/dev/null 2>"$T/err" ||
    fail "a text with a BOS in front: $(cat "$T/err")"
"$FRONTIER" export "$T/bos.h5" --jsonl | tr -d ' \n' >"$T/out"
says '"bos":"!"' && says '"bos_tokens":1,'

for text in prefix suffix template system date; do
    refused "chat.$text: expected a text" "$FRONTIER" plan "$T/tiny.yaml" -s "models=[{path: $T/model, chat: {$text: [a]}}]"
done
echo "chat: ok"
