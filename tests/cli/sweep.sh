#!/bin/bash
# A whole sweep: runs, resumes with nothing to do, extends, and gives the same rows alone, in company and with two threads.
. "$(dirname "$0")/common.bash"
tiny
"$FRONTIER" plan "$T/tiny.yaml" | grep -q '10 cells' || fail "plan"
"$FRONTIER" plan "$T/tiny.yaml" --json | grep -q '"memory_bytes"' || fail "plan --json"
"$FRONTIER" run "$T/tiny.yaml" -v -o "$T/a.h5" 2>"$T/log" >/dev/null || fail "run: $(cat "$T/log")"
[ "$(grep -c 'over 3 samples' "$T/log")" = 10 ] || fail "not one line a cell: $(cat "$T/log")"
for arm in dense 'vertical_slash at 0.9' 'quest at 0.5'; do
    grep -qE "^qwen2, vt\(chains=1, hops=1\), 1100 tokens, $arm, IoU 0\.[0-9]{3} over 3 samples\$" "$T/log" || fail "no line of vt, $arm: $(cat "$T/log")"
done
! grep -q 'are stored' "$T/log" || fail "of a new file, something is stored: $(cat "$T/log")"
[ "$(rows "$T/a.h5" | wc -l)" = 30 ] || fail "expected 30 rows"
# What each row says of itself: near its target, at its cost and time, cut off as a random model always is.
"$FRONTIER" export "$T/a.h5" -c | sed -E 's/"([^"]|"")*"/_/g' | LC_ALL=C awk -F, '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { for (k = split("prefill decode", phase, " "); k; k--) {
          p = phase[k]; target = $at[p "_sparsity"]; got = $at[p "_achieved"]
          if (got < target - 0.03 || got > target + 0.1) print "achieved " got " of " target " in " p
          if ($at[p "_seconds"] <= 0) print "no time in " p
          if ($at[p "_cost_exact"] <= 0 || $at[p "_cost_paper"] <= 0) print "no cost in " p
      }
      if ($at["truncated"] != ($at["output_tokens"] == 6)) print "cut off: " $at["truncated"] " at " $at["output_tokens"] " tokens"
      cut += $at["truncated"] }
    END { if (cut < 20) print cut " of 30 are cut off" }' >"$T/log"
[ ! -s "$T/log" ] || fail "rows: $(sort "$T/log" | uniq -c)"

"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" 2>"$T/log" >/dev/null
[ "$(grep -c 'over' "$T/log")" = 0 ] || fail "the second run ran something: $(cat "$T/log")"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/a.h5" -v -s samples=4 2>"$T/log" >/dev/null
[ "$(grep -c 'over 1 samples' "$T/log")" = 10 ] || fail "a fourth sample did not extend: $(cat "$T/log")"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/b.h5" -s samples=4 -t 2 >/dev/null 2>&1
rows "$T/a.h5" >"$T/a"; rows "$T/b.h5" >"$T/b"
cmp -s "$T/a" "$T/b" || fail "three samples and one, on all threads, are not four at once on two: $(diff "$T/a" "$T/b" | head -n 4)"

# With the file: what the model read at first, and pictures of patterns unless none are asked for.
"$FRONTIER" run "$T/tiny.yaml" -o "$T/none.h5" -s samples=1 -s picture=none >/dev/null 2>&1 || fail "picture: none"
# the first prompt's first and last tokens, beside what `show` prints of the sample
first=$(grep -aoE '"tokens": ?[0-9]+, ?"begins": ?\[\[.*"ends": ?\[\[[^}]*\]\]' "$T/a.h5" | head -n 1)
"$FRONTIER" show "$T/tiny.yaml" --task niah --sample 0 >"$T/shown"
py() { ${PYTHON:-python3} -c "$@"; }
py 'import json, sys
x, shown = json.loads("{" + sys.argv[1] + "}"), open(sys.argv[2]).read()
assert len(x["begins"]) == len(x["ends"]) == 12 and 1000 < x["tokens"] <= 1100, x
for side in "begins", "ends": assert "".join(t for _, t in x[side]).strip() in shown, x[side]' "$first" "$T/shown" || fail "first prompts: $first"
grep -aq prefill_picture "$T/a.h5" || fail "no picture"
! grep -aq prefill_picture "$T/none.h5" || fail "a picture where none was asked for"

# Memory: the least that is named is enough, and gives the same; any less is refused.
refused 'the limit is 0\.001 GiB\. The least is --memory [0-9.]+' \
    "$FRONTIER" run "$T/tiny.yaml" -o "$T/m.h5" -s samples=4 --memory 0.001
least=$(sed -n 's/.*--memory \([0-9.]*\);.*/\1/p' "$T/err")
"$FRONTIER" run "$T/tiny.yaml" -o "$T/m.h5" -s samples=4 --memory "$least" >/dev/null 2>"$T/log" || fail "--memory $least: $(cat "$T/log")"
rows "$T/m.h5" >"$T/m"
cmp -s "$T/a" "$T/m" || fail "little memory changes results: $(diff "$T/a" "$T/m" | head -n 4)"

# Cell by cell: no company at all.
"$FRONTIER" run "$T/tiny.yaml" -o "$T/c.h5" -s samples=4 -s 'sparsity=[0.5]' -s 'methods={prefill: [vertical_slash]}' >/dev/null 2>&1
"$FRONTIER" run "$T/tiny.yaml" -o "$T/c.h5" -s samples=4 -s 'sparsity=[0.9]' -s 'methods={prefill: [vertical_slash]}' >/dev/null 2>&1
"$FRONTIER" run "$T/tiny.yaml" -o "$T/c.h5" -s samples=4 -s 'sparsity=[0.5]' -s 'methods={decode: [quest]}' >/dev/null 2>&1
"$FRONTIER" run "$T/tiny.yaml" -o "$T/c.h5" -s samples=4 -s 'sparsity=[0.9]' -s 'methods={decode: [quest]}' >/dev/null 2>&1
rows "$T/c.h5" >"$T/c"
cmp -s "$T/a" "$T/c" || fail "cells alone differ from cells in company: $(diff "$T/a" "$T/c" | head -n 4)"

# Runs of other settings into one file: the last run's are shown, the others named, and none is put beside another.
for set in output=5 output=6 seed=44; do
    "$FRONTIER" run "$T/tiny.yaml" -o "$T/e.h5" -s samples=2 -s 'sparsity=[0.5]' -s 'methods={decode: [quest]}' -s "$set" >"$T/log" 2>&1
done
grep -q 'Not compared with these: 4 cells, 8 samples with other settings (output 5)' "$T/log" || fail "other settings: $(cat "$T/log")"
[ "$(grep -c 'Not compared' "$T/log")" = 1 ] || fail "seeds are not pooled: $(cat "$T/log")"
"$FRONTIER" run "$T/tiny.yaml" -o "$T/e.h5" -s samples=2 -s 'sparsity=[0.5]' -s 'methods={decode: [quest]}' -s output=5 \
    -s 'models=[{path: tests/golden/model/qwen2, chat: {prefix: "<", suffix: ">"}}]' >"$T/log" 2>&1
grep -q 'with other settings (output 6, the model.s own chat template)' "$T/log" || fail "chat: $(cat "$T/log")"
"$FRONTIER" report "$T/e.h5" -o "$T/e" -f tasks -F svg >"$T/log" 2>&1 || fail "report of several settings: $(cat "$T/log")"
[ "$(ls -d "$T"/e/settings-* | wc -l)" = 2 ] || fail "not two other reports: $(ls "$T/e")"
for folder in "$T/e" "$T"/e/settings-*; do # dense and one sparse point, each of one setting
    [ "$(wc -l <"$folder/tables/scores.csv")" = 3 ] || fail "$folder: $(cat "$folder/tables/scores.csv")"
done
"$FRONTIER" compare "$T/e.h5" "$T/e.h5" | grep -q '16 cells in both, 0 only in the first, 0 only in the second' || fail "compare of a file with itself"

# Split over three processes, one after the other here: no row twice, none missing, and the report reads them as one.
for i in 1 2 3; do "$FRONTIER" run "$T/tiny.yaml" -o "$T/part$i.h5" -s samples=4 --shard $i/3 >/dev/null 2>&1 || fail "shard $i"; done
for i in 1 2 3; do rows "$T/part$i.h5"; done | sort >"$T/d"
[ "$(wc -l <"$T/d")" = 40 ] && [ "$(rows "$T/part1.h5" | wc -l)" -lt 30 ] || fail "shards do not split: $(wc -l <"$T/d") rows"
cmp -s "$T/a" "$T/d" || fail "shards differ from one run: $(diff "$T/a" "$T/d" | head -n 4)"
"$FRONTIER" report "$T"/part?.h5 -o "$T/parts" -f tasks >"$T/log" 2>&1 || fail "report of shards: $(cat "$T/log")"
! grep -q 'incomplete' "$T/log" || fail "shards read as one are incomplete: $(cat "$T/log")"
! "$FRONTIER" run "$T/tiny.yaml" --shard 4/3 >/dev/null 2>"$T/err" && grep -q "1 <= I <= N" "$T/err" || fail "--shard 4/3 was taken"

"$FRONTIER" show "$T/tiny.yaml" --task vt --sample 1 | grep -q -- '---- prompt' || fail "show a config"
"$FRONTIER" show "$T/a.h5" --method quest --sparsity 0.9 --json | grep -q '"prediction"' || fail "show results"
"$FRONTIER" show "$T/a.h5" --method quest --sparsity 0.9 | grep -q -- '---- prompt' || fail "show results without their prompt"
"$FRONTIER" show "$T/a.h5" | grep -q 'prefill_density' || fail "show without densities"
for m in llama qwen3 mistral gemma3; do
    tiny tests/golden/model/$m
    "$FRONTIER" run "$T/tiny.yaml" -o "$T/$m.h5" -s samples=1 >/dev/null 2>"$T/log" || fail "$m: $(cat "$T/log")"
    bos=$(rows "$T/$m.h5" | grep -o '"bos_tokens":[0-9]*' | sort -u)
    [ "$bos" = "\"bos_tokens\":$([ $m = qwen3 ] && echo 0 || echo 1)" ] || fail "$m: $bos" # Qwen has none
done

# Where the answer stands: its gold texts' first places in the context, on average, if they are within a tenth of it.
tiny
"$FRONTIER" run "$T/tiny.yaml" -o "$T/depth.h5" -s 'tasks=[vt: {chains: 1, hops: 1}]' -s samples=12 -s output=1 -s methods={} -s recall=0 \
    >/dev/null 2>"$T/log" || fail "depths: $(cat "$T/log")"
"$FRONTIER" export "$T/depth.h5" --jsonl | sed -E 's/.*"sample":([0-9]+).*"depth":([^,}]*).*/\1 \2/' | sort -n >"$T/depths"
for i in {0..11}; do
    "$FRONTIER" show "$T/tiny.yaml" --task vt --sample $i | LC_ALL=C awk -v sample=$i '
        /^<\/context>/ { inside = 0 }
        inside { context = context $0 "\n" }
        /^<context>/ { inside = 1; context = "" }
        /^gold: / { gsub(/[",\[\]]/, ""); n = split($0, gold, " ") }
        END {
            low = 1; high = sum = 0
            for (k = 2; k <= n; k++) {
                at = (index(context, gold[k]) - 1) / (length(context) - 1)
                low = at < low ? at : low; high = at > high ? at : high; sum += at
            }
            if (high - low <= 0.1) printf "%d %.4f\n", sample, sum / (n - 1); else print sample, "null"
        }'
done >"$T/expected"
grep -q null "$T/expected" && grep -q '\.' "$T/expected" || fail "samples of one kind only: $(cat "$T/expected")"
awk '{ print $1, $2 == "null" ? $2 : sprintf("%.4f", $2) }' "$T/depths" | diff - "$T/expected" >"$T/log" || fail "depths: $(cat "$T/log")"
echo "sweep: ok"
