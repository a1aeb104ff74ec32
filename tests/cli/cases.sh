#!/bin/bash
# Small configs and files that were once answered wrongly, beside the checkpoints of tests/test_cases.c.
. "$(dirname "$0")/common.bash"
niah='niah: {label: niah, key_groups: 2, value_groups: 2, group_length: 4, queries: 1}'
one() { # LABEL: one cell of one sample
    cat >"$T/one.yaml" <<EOY
name: one
models: [{path: models/frontier-mini/s, label: '$1'}]
answer: direct
tasks: [$niah]
lengths: [512]
sparsity: [0.5]
methods: {decode: [quest]}
samples: 1
output: 4
threads: 1
EOY
}

# A label that is LaTeX stays text in the tables, and the paper's source has every such character escaped.
one 'q^2 {v} a\b ~7B <x>'
"$FRONTIER" run "$T/one.yaml" -o "$T/l.h5" >/dev/null 2>"$T/log" || fail "label: $(cat "$T/log")"
"$FRONTIER" report "$T/l.h5" -o "$T/r" -f frontier -F svg >/dev/null 2>"$T/log" || fail "label's report: $(cat "$T/log")"
for words in 'q\\textasciicircum' '\\{v\\}' '\\textbackslash' '\\textasciitilde'; do
    grep -qh -- "$words" "$T"/r/tables/*.tex || fail "no $words in the tables: $(head -n 12 "$T"/r/tables/limits.tex)"
done
if grep -hE '(^|[^\\])\^|[^\\]~7B|a\\b ' "$T/r/tables/limits.tex"; then fail "a label is LaTeX code"; fi

# No loss is excluded by so few samples as say nothing: a bound of 0.05 at 95 % needs 59 pairs without a difference.
one s
for n in 1 4; do
    "$FRONTIER" run "$T/one.yaml" -s samples=$n -o "$T/n$n.h5" >/dev/null 2>"$T/log" || fail "$n samples: $(cat "$T/log")"
    "$FRONTIER" report "$T/n$n.h5" -o "$T/n$n" -f frontier -F svg >/dev/null 2>"$T/log" || fail "report: $(cat "$T/log")"
    awk -F, 'END {exit $NF + 0 > 0}' "$T/n$n/tables/limits.csv" || fail "$n samples exclude a loss: $(tail -n 1 "$T/n$n/tables/limits.csv")"
done

# A legend has every name, on the picture, in one column where names are long; headings do not run into each other.
one s
long='snapkv: {window: 16, sinks: 2, local: 24'
"$FRONTIER" run "$T/one.yaml" -o "$T/w.h5" -s "methods={decode: [$long, kernel: 1}, $long, kernel: 3}, $long, kernel: 5}, $long, kernel: 7}, quest, streaming_llm: {start: 8}]}" \
    >/dev/null 2>"$T/log" || fail "long names: $(cat "$T/log")"
"$FRONTIER" report "$T/w.h5" -o "$T/w" -f frontier,patterns -F svg >/dev/null 2>"$T/log" || fail "report of long names: $(cat "$T/log")"
python3 - "$T/w/figures/frontier.svg" "$T/w/figures/patterns.svg" <<'EOF' || fail "a legend or a heading"
import re, sys
def texts(path):
    svg = open(path, encoding="utf-8").read()
    width = float(re.search(r'viewBox="0 0 (\d+)', svg)[1])
    return width, [(float(x), float(y), text) for x, y, text in re.findall(r'translate\(([-\d.]+),([-\d.]+)\)"[^>]*>\s*<text>([^<]*)', svg)]
LETTER = 1.3 / 25.4 * 96 # of 7-point text, on the mean
width, placed = texts(sys.argv[1])
below = max(y for _, y, text in placed if text.startswith("Decode"))
legend = [(x, text) for x, y, text in placed if y > below]
names = [text for _, text in legend]
assert len(legend) == 8 and len(set(names)) == 8, names
assert len({x for x, _ in legend}) == 1, legend
assert all(0 <= x and x + LETTER * len(text) <= width for x, text in legend), (width, legend)
width, placed = texts(sys.argv[2])
headings = sorted((y, x, text) for x, y, text in placed if re.match("snapkv|quest|streaming", text))
assert len(headings) >= 6, placed
for (y, x, text), after in zip(headings, headings[1:] + [(None, width, "")]):
    assert x + LETTER * len(text) <= (after[1] if after[0] == y else width), (text, after)
EOF

# A results file that another program holds is held, not damaged; afterwards it is whole.
for locking in TRUE BEST_EFFORT; do
    for command in "export $T/l.h5 --csv" "run $T/one.yaml -s samples=2 -o $T/l.h5"; do
        # shellcheck disable=SC2086
        if HDF5_USE_FILE_LOCKING=$locking flock --exclusive "$T/l.h5" "$FRONTIER" $command >/dev/null 2>"$T/err"; then continue; fi
        if grep -q damaged "$T/err"; then fail "a file that is held is called damaged: $(cat "$T/err")"; fi
    done
done
"$FRONTIER" export "$T/l.h5" --csv >/dev/null || fail "the file is not whole afterwards"
echo "cases: ok"
