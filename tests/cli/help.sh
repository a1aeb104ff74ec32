#!/bin/bash
# Every command explains itself, with an example, and refuses what it does not know.
. "$(dirname "$0")/common.bash"
commands=$("$FRONTIER" --help | awk '/^  [a-z]+ /{print $1}')
[ "$(echo "$commands" | wc -w)" -ge 10 ] || fail "--help lists too few commands: $commands"
for c in $commands; do
    text=$("$FRONTIER" "$c" --help) || fail "$c --help exits with $?"
    grep -qE 'Examples?:' <<<"$text" || fail "$c --help gives no example"
    long=$(ARGP_HELP_FMT=rmargin=500 "$FRONTIER" "$c" --help | grep -E '^  [a-z]' | awk 'length > 78') # --help breaks lines there
    [ -z "$long" ] || fail "$c --help breaks within a command: $long"
    if "$FRONTIER" "$c" --no-such-option >/dev/null 2>&1; then fail "$c takes an unknown option"; fi
done
if "$FRONTIER" >/dev/null 2>&1; then fail "no command: exit status 0"; fi
"$FRONTIER" rnu 2>&1 | grep -q "did you mean 'run'" || fail "no nearest command"
for key in frontier revision compiler openblas hdf5 libyaml jansson patterns unicode mpi cpu; do
    "$FRONTIER" version | grep -qE "^  \"$key\": \"[^\"]+\"" || fail "version does not say $key: $("$FRONTIER" version)"
done
for what in methods tasks; do
    "$FRONTIER" list $what --json | grep -q '"params"' || fail "list $what --json"
    "$FRONTIER" list $what | grep -q default || fail "list $what shows no parameters"
done
# What is published is not changed by the way: each parameter's type, default, range, and whether it is a budget.
for what in methods tasks; do
    "$FRONTIER" list $what --json | awk -v what=$what '
        { value = $0; sub(/^[^:]*: */, "", value); sub(/,$/, "", value); gsub(/"/, "", value) }
        /^    "name":/ { owner = value }
        /^        "name":/ { name = value; row = "" }
        /^        "(type|budget|default|low|high|choices)":/ { row = row " " value }
        /^      }/ { print what, owner "." name ":" row }'
done | LC_ALL=C sort >"$T/parameters"
grep -v '^#' tests/golden/parameters.txt | LC_ALL=C comm -23 - "$T/parameters" >"$T/gone"
[ ! -s "$T/gone" ] || fail "no longer as tests/golden/parameters.txt has them (new keys for cells? raise the version): $(cat "$T/gone")"
"$FRONTIER" version | tr -d ' \n' | grep -qE '"backends":\["cpu","cpu-bf16","cpu-int8","reference"(,"cuda")?\]' || fail "version: backends"
"$FRONTIER" list models | grep -q qwen2 || fail "list models shows no shapes"
"$FRONTIER" list families | grep -qE '^gemma3 +config.json: gemma3_text, gemma3 +GGUF: gemma3$' || fail "list families"
"$FRONTIER" list models tests/golden/model/gemma3 | grep -qE '^ +windows +64 tokens on 6 of 7 layers' || fail "list models PATH"
"$FRONTIER" list models tests/golden/model/taught/gemma4 >"$T/gemma4" || fail "list models of heads of two sizes"
grep -qE '^ +heads +4 of 32 numbers, 2 of keys; where layers slide 4 of 16' "$T/gemma4" || fail "no heads in $(cat "$T/gemma4")"
grep -qE '^ +shared keys +layers 2 to 3 read those of layers 0, 1$' "$T/gemma4" || fail "no shared keys in $(cat "$T/gemma4")"
if "$FRONTIER" list models no-such >/dev/null 2>&1; then fail "a model that is not there is listed"; fi
"$FRONTIER" cost --model qwen2.5-7b --length 131072 --sparsity 0.9 --batch 64 | grep -q attention || fail cost
"$FRONTIER" cost --model qwen2.5-7b --phase decode --json | grep -q '"decode"' || fail "cost --json"
for method in $("$FRONTIER" list methods | grep -o '^[a-z0-9_]*'); do # also of those that no sparsity fits
    "$FRONTIER" cost --model qwen2.5-7b --length 1024 --sparsity 0.9 --method "$method" >"$T/out" 2>&1 || fail "cost --method $method: $(cat "$T/out")"
done
if "$FRONTIER" cost --model no-such 2>/dev/null; then fail "cost of an unknown model"; fi
"$FRONTIER" bench --tokens 256 --repeat 1 --csv | grep -qE '^decode,quest(,[-0-9.e+]+){19},exact,[0-9.e+]+$' || fail "bench --csv"
"$FRONTIER" bench estimate --tokens 128,192,256 --method quest --repeat 1 --csv | grep -qE '^growth,decode,quest,' || fail "bench estimate"
"$FRONTIER" bench --tokens 96 --method nsa --method dsa --method dms --repeat 1 --csv >"$T/out" 2>&1 || fail "bench of trained methods: $(cat "$T/out")"
[ "$(grep -cE '^(prefill|decode),(nsa|dsa),' "$T/out")" = 4 ] && grep -q '^frontier: dms, decode: not timed, as it maps no target sparsity' "$T/out" ||
    fail "bench of trained methods: $(cat "$T/out")"
refused "unknown method 'quets'" "$FRONTIER" bench --method quets
# A packed cache stands behind the exact one, with the bytes of its format: (128 + 4) of 512 a row.
"$FRONTIER" bench decode -n 256 -k int8 -m quest -m h2o -r 1 --csv >"$T/out" 2>"$T/log" || fail "bench --cache: $(cat "$T/log")"
awk -F, '$2 == "dense" || $2 == "quest" { bytes[$2, $22] = $23 }
     END { exit !(bytes["dense", "exact"] > 0 && bytes["quest", "int8"] > 0 && int(bytes["dense", "int8"] / bytes["dense", "exact"] * 512 + 0.5) == 132) }' "$T/out" ||
    fail "bench --cache: $(cat "$T/out")"
grep -q "h2o: not timed with cache int8, whose keys it reads while it decodes" "$T/log" || fail "bench --cache says: $(cat "$T/log")"
refused "expected fp8, int8 or int4, found 'simulated_int8'" "$FRONTIER" bench decode --cache simulated_int8
"$FRONTIER" bench linear --rows 1,5 --shape 64x48 --dtype Q4_1 --repeat 1 --csv | grep -qE '^Q4_1(,[-0-9.e+]+){13}$' || fail "bench linear"
# A row's % peak is of what multiplies its type: of bytes for quantised weights in whole numbers, else of fp32. The ceiling that it comes from is
# nearer to that one, where the two are apart.
"$FRONTIER" bench linear -d cpu-int8 -t 1 -R 8 -S 256x256 -T Q8_0 -T Q4_K -T F32 -r 3 >"$T/out" || fail "bench linear -d cpu-int8"
awk '/ceilings here/ { fp32 = $7; bytes = $(NF - 1) }
     /^(F32|Q8_0|Q4_K) / { rows++; of = 100 * $8 / $9; if (bytes > 1.5 * fp32 && (of * of > fp32 * bytes) != ($1 != "F32")) wrong = 1 }
     END { exit wrong || rows != 3 || bytes <= 0 }' "$T/out" || fail "bench linear: % peak is of another ceiling: $(cat "$T/out")"
"$FRONTIER" bench memory -M models/frontier-mini/s -n 64 -o 2 --csv >"$T/out" 2>&1 && grep -q '^1,h2o,' "$T/out" || fail "bench memory: $(cat "$T/out")"
grep -q "^frontier: sparsek: not run, as it was trained" "$T/out" || fail "bench memory does not say what it leaves out: $(cat "$T/out")"
if grep -q '^[0-9]*,sparsek' "$T/out"; then fail "bench memory takes a method whose weights it does not have"; fi
# Where a cluster binds threads to cores, the program that starts itself anew still has all of them.
threads() { env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY "$@" "$FRONTIER" bench linear --rows 1 --shape 64x48 --dtype Q4_1 --repeat 1 --csv | tail -n 1 | cut -d, -f2; }
[ "$(threads)" = "$(threads OMP_PROC_BIND=true)" ] || fail "OMP_PROC_BIND: $(threads OMP_PROC_BIND=true) threads instead of $(threads)"
grids=$("$FRONTIER" bench sweep --model tests/golden/model/qwen2 --tokens 96 --output 3 --csv) || fail "bench sweep"
[ "$(grep -c 'its part' <<<"$grids")" = 54 ] || fail "bench sweep: expected two grids of 27 cells: $grids"
if "$FRONTIER" bench --heads 7/2 2>/dev/null; then fail "bench takes heads that do not share kv heads evenly"; fi
echo "help: ok"
