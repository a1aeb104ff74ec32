#!/bin/bash
# `frontier fetch` with a stand-in for the Hugging Face client: what it is asked, and every way it can end.
. "$(dirname "$0")/common.bash"
mkdir "$T/bin"
cat >"$T/bin/hf" <<'EOF'
#!/bin/bash
echo "$*" >"$0.asked"
[ "$1 $3" = "download --local-dir" ] || exit 2
case $2 in
    some/packed) mkdir -p "$4" && cp tests/golden/model/seeded/gguf/olmo2.gguf "$4" ;;
    some/good) mkdir -p "$4" && cp tests/golden/model/qwen2/* "$4" ;;
    some/gated) echo "401 Client Error" >&2; exit 1 ;;
    some/empty) mkdir -p "$4" ;;
esac
EOF
chmod +x "$T/bin/hf"
clients() { env PATH="$T/bin:/usr/bin:/bin" "$@"; }
clients "$FRONTIER" fetch some/good -o "$T/good" >"$T/log" 2>&1 || fail "good: $(cat "$T/log")"
grep -q 'qwen2, 2 layers' "$T/log" || fail "what came is not told: $(cat "$T/log")"
grep -q -- '--revision main --include \*.safetensors' "$T/bin/hf.asked" || fail "asked: $(cat "$T/bin/hf.asked")"
clients "$FRONTIER" fetch some/packed --file '*2.gguf' -o "$T/packed" >"$T/log" 2>&1 || fail "packed: $(cat "$T/log")"
grep -q 'olmo2, ' "$T/log" || fail "what came is not told: $(cat "$T/log")"
grep -q -- '--revision main --include \*2.gguf$' "$T/bin/hf.asked" || fail "asked: $(cat "$T/bin/hf.asked")"
refused 'gated.*hf auth login' clients "$FRONTIER" fetch some/gated -o "$T/gated"
refused 'cannot be used.*config.json' clients "$FRONTIER" fetch some/empty -o "$T/empty"
refused 'expected OWNER/NAME' "$FRONTIER" fetch good
rm "$T/bin/hf"
refused 'pip install huggingface_hub' env PATH="$T/bin" "$FRONTIER" fetch some/good -o "$T/none"
echo "fetch: ok"
