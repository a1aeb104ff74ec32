#!/bin/bash
# cache: [exact, FORMAT …] is an axis of a sweep: cells with keys of their own, dense under each; said by plan, run, show, export, status and
# the report's labels. exact is what it is without. Divergence is from dense with an exact cache, bytes are the format's. What is packed gives what is
# simulated, under names of its own.
. "$(dirname "$0")/common.bash"
tiny
sed -i 's/^samples:.*/samples: 2/; s/^sparsity:.*/sparsity: [0.5]/; s/^methods:.*/methods: {prefill: [vertical_slash], decode: [quest, snapkv]}/' "$T/tiny.yaml"
echo 'measures: [score, divergence]' >>"$T/tiny.yaml"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/r.h5" >/dev/null 2>"$T/log" || fail "without: $(cat "$T/log")"
[ "$("$FRONTIER" export "$T/r.h5" --jsonl | wc -l)" = 16 ] || fail "without: $("$FRONTIER" export "$T/r.h5" --jsonl | wc -l) rows"
caches='cache=[simulated_fp8, exact, simulated_int8]'
"$FRONTIER" plan "$T/tiny.yaml" -s "$caches" >"$T/out" || fail plan
grep -q '^cache simulated_int8: keys and values are rounded as they are stored, and kept as floats; bytes are counted at 8 bits a number and its scales' "$T/out" || fail "plan says: $(cat "$T/out")"
! grep -q 'cache exact' "$T/out" || fail "plan says: $(cat "$T/out")"
"$FRONTIER" run "$T/tiny.yaml" -s "$caches" -o "$T/r.h5" >"$T/out" 2>"$T/log" || fail "caches: $(cat "$T/log")"
grep -q 'quest, simulated fp8 cache' "$T/out" || fail "run says: $(cat "$T/out")"
"$FRONTIER" export "$T/r.h5" --jsonl >"$T/rows"
python3 - "$T/rows" <<'EOF' || fail "rows"
import json, sys
rows = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    rows[r["cache"], r["task_label"], r["prefill_label"], r["decode_label"], r["sample"]] = r
assert len(rows) == 48, len(rows)
assert len({r["cell"] for r in rows.values()}) == 24
head = 16  # numbers
bytes_ = {"exact": 4 * head, "simulated_fp8": head, "simulated_int8": head + 4}
for (cache, *rest), r in rows.items():
    exact = rows["exact", *rest]
    assert r["prompt_hash"] == exact["prompt_hash"]
    a, b = r["prefill_attention_cache_bytes"], exact["prefill_attention_cache_bytes"]
    assert a * bytes_["exact"] == b * bytes_[cache], (cache, rest, a, b)
    dense = r["prefill_method"] == r["decode_method"] == "dense"
    if dense: assert (r["prefill_kl"] == 0) == (cache == "exact"), (cache, rest, r["prefill_kl"])
EOF
"$FRONTIER" show "$T/r.h5" --cache simulated_int8 --method dense >"$T/out" && grep -q '^cache: simulated_int8' "$T/out" || fail "show: $(cat "$T/out")"
"$FRONTIER" status "$T/r.h5" -v >"$T/out" && grep -q 'quest at 0.5, cache simulated_fp8: 2 of 2 samples' "$T/out" || fail "status: $(cat "$T/out")"
"$FRONTIER" report "$T/r.h5" --out "$T/report" >"$T/out" 2>&1 || fail "report: $(cat "$T/out")"
grep -q 'simulated_int8' "$T/report"/figures/caches.csv || fail "no figure of caches: $(ls "$T/report")"
grep -rq 'dense, simulated int8 cache' "$T/report" || fail "the report names no cache: $(ls "$T/report")"
"$FRONTIER" run "$T/tiny.yaml" -s "$caches" -s 'methods={prefill: [streaming], decode: [streaming]}' -s samples=1 -o "$T/both.h5" >/dev/null 2>"$T/log" || fail "a method of both phases: $(cat "$T/log")"
"$FRONTIER" report "$T/both.h5" --out "$T/both" >"$T/out" 2>&1 || fail "report of a method of both phases: $(cat "$T/out")"
[ "$(sed 1d "$T/both/figures/caches.csv" | cut -d, -f1,2 | sort -u | tr '\n' ' ')" = "streaming,exact streaming,simulated_fp8 streaming,simulated_int8 " ] ||
    fail "one method in several panels: $(cat "$T/both/figures/caches.csv")"
"$FRONTIER" rm "$T/r.h5" --where cache=simulated_fp8,method=dense --dry-run >"$T/out" 2>&1 || fail "rm: $(cat "$T/out")"
[ "$(grep -c 'dense in prefill, dense in decode, cache simulated_fp8: 2 samples' "$T/out")" = 2 ] || fail "rm says: $(cat "$T/out")"
# A cell that fails says under which cache.
status=0
leaving "$FRONTIER" run "$T/tiny.yaml" -s "plugins=[${FRONTIER%/*}/tests/plugin/crashes.so]" -s 'methods={decode: [crashes]}' -s 'cache=[exact, simulated_fp8]' \
    -s samples=1 -s measures=[score] -o "$T/failed.h5" >/dev/null 2>"$T/log" || status=$?
[ "$status" = 3 ] || fail "cells that crash: $status: $(cat "$T/log")"
[ "$(grep -c '^frontier: a cell failed .* sample 0: method .crashes.' "$T/log")" = 2 ] && [ "$(grep -c '^frontier: a cell failed .* sample 0: under cache simulated_fp8: method .crashes.' "$T/log")" = 2 ] ||
    fail "what failed does not say its cache: $(cat "$T/log")"
# Packed: the same predictions and bytes, as other cells.
packed='cache=[simulated_int8, int8]'
"$FRONTIER" plan "$T/tiny.yaml" -s "$packed" -s recall=0 >"$T/out" || fail "plan of a packed cache"
grep -q '^cache int8: keys and values of prompts are stored at 8 bits a number and its scales, and read so by each step of decode' "$T/out" || fail "plan says: $(cat "$T/out")"
"$FRONTIER" run "$T/tiny.yaml" -s "$packed" -s recall=0 -o "$T/packed.h5" >"$T/out" 2>"$T/log" || fail "packed: $(cat "$T/log")"
grep -q 'quest, int8 cache' "$T/out" || fail "run says: $(cat "$T/out")"
"$FRONTIER" export "$T/packed.h5" --jsonl >"$T/rows"
python3 - "$T/rows" <<'EOF' || fail "rows of a packed cache"
import json, sys
rows = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    rows[r["cache"], r["task_label"], r["prefill_label"], r["decode_label"], r["sample"]] = r
assert len(rows) == 36, len(rows) # 4 of them exact and dense, which divergence is from
assert len({r["cell"] for r in rows.values()}) == 18
same = [k for k in next(iter(rows.values())) if k in ("prediction", "score", "output_tokens") or k.endswith(("_kl", "_nll", "_bytes", "_flops", "_density"))]
assert len(same) > 10, same
for (cache, *rest), r in rows.items():
    if cache == "exact": continue
    other = rows["simulated_int8", *rest]
    for k in same: assert r[k] == other[k], (cache, rest, k, r[k], other[k])
EOF
"$FRONTIER" report "$T/packed.h5" --out "$T/two" >"$T/out" 2>&1 || fail "report of a packed cache: $(cat "$T/out")"
grep -rq 'dense, int8 cache' "$T/two" && grep -rq 'dense, simulated int8 cache' "$T/two" || fail "the report does not tell a packed cache from a simulated one"
refused "recall of method 'quest' reads all keys while it decodes, which cache int8 keeps packed: use simulated_int8, or recall 0" "$FRONTIER" run "$T/tiny.yaml" -s cache=int8 -o "$T/none.h5"
refused "method 'h2o' reads keys while it decodes, which a packed cache keeps from it: use cache simulated_fp8" "$FRONTIER" run "$T/tiny.yaml" -s cache=fp8 -s 'methods={decode: [h2o]}' -s recall=0 -o "$T/none.h5"
refused "cache int8 is not for models whose heads are split" "$FRONTIER" run "$T/tiny.yaml" -s cache=int8 -s recall=0 -s 'parallel={tensor: 2}' -o "$T/none.h5"
refused "expected .*simulated_int8.*found 'int5'" "$FRONTIER" run "$T/tiny.yaml" -s cache=int5 -o "$T/none.h5"
refused "cache exact stands twice" "$FRONTIER" run "$T/tiny.yaml" -s 'cache=[exact, exact]' -o "$T/none.h5"
refused "cache simulated_int4 has a scale for each 32 channels, which do not divide the heads of model" "$FRONTIER" run "$T/tiny.yaml" -s cache=simulated_int4 -o "$T/none.h5"
refused "cache simulated_fp8 is not for models whose heads are split" "$FRONTIER" run "$T/tiny.yaml" -s cache=simulated_fp8 -s 'parallel={tensor: 2}' -o "$T/none.h5"
[ ! -e "$T/none.h5" ] || fail "a refused run left a file"
echo "cache: ok"
