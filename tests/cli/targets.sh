#!/bin/bash
# The table of results/bench/cuda-targets.txt is what tests/cuda_targets.py says of the logs below it; and of logs made up here, where
# the figures are known: an older build's before those that targets were set by, two turns, what is missing, what is just reached.
. "$(dirname "$0")/common.bash"
table() { python3 tests/cuda_targets.py "$1" >"$T/table" || fail "no table of $1"; }

table results/bench/cuda-targets.txt
python3 - "$T/table" results/bench/cuda-targets.txt <<'EOF' || fail "results/bench/cuda-targets.txt does not have the table of its own logs: $(cat "$T/table")"
import sys
table, text = (open(name, encoding="utf-8").read() for name in sys.argv[1:])
sys.exit(table not in text)
EOF

cat >"$T/logs" <<EOF
a table of before, which is no section: dense 32/8 dim 128  32768   1.0 ms  1 TFLOP/s  55 % of cuDNN
== peers
cudnn 32 8 128 131072 260.000
flash 32 8 128 32768 19.500
== bench-old
dense 32/8 dim 128  32768          15.000 ms     586 TFLOP/s   87 % of cuDNN  error 2.3e-03
blocks  16 shared   32/8 dim 128 131072 density 0.100   31.056 ms   8.26 x dense   82 % of ideal  error 2.3e-03  estimation   8.050 ms ->  65 %
decode quest 1/16 131072 x  1 lanes  scores   20.1 us  top    9.6 us (a lane)  attention    24.3 us  all    60.9 us = 2.58 x bytes at copy's speed
== bench
dense 32/8 dim 128  32768          13.000 ms     586 TFLOP/s   97 % of cuDNN  error 2.3e-03
dense 32/8 dim  64   8192           0.902 ms     305 TFLOP/s   96 % of cuDNN  error 2.2e-03
dense 32/8 dim  64  16384           2.855 ms     385 TFLOP/s    0 % of cuDNN  error 2.2e-03
dense 32/8 dim  64  32768          10.855 ms     405 TFLOP/s   94 % of cuDNN  error 2.2e-03
blocks 128 per head 32/8 dim 128 131072 density 0.098   25.987 ms   9.99 x dense   98 % of ideal  error 2.5e-03  estimation   1.421 ms ->  93 %
blocks  16 shared   32/8 dim 128 131072 density 0.100   31.463 ms   8.25 x dense   85 % of ideal  error 2.3e-03  estimation   7.829 ms ->  66 %
blocks  16 shared   32/8 dim  64 131072 density 0.100   23.986 ms   6.44 x dense   64 % of ideal  error 2.1e-03  estimation   5.517 ms ->  52 %
decode quest 1/16 32/8 dim 128 131072 x  1 lanes  scores 20.2 us  top 9.5 us (a lane)  attention 30.6 us  all 67.8 us = 1.70 x bytes at copy's speed
decode quest 1/16 16/8 dim 256 131072 x  1 lanes  scores 44.6 us  top 9.6 us (a lane)  attention 68.5 us  all 123.3 us = 2.61 x bytes at copy's speed
== end
prefill block_sparse 64 (first)         9.000 s  density 0.100
prefill block_sparse 64, heads apart    3.200 s  density 0.100
prefill flex_prefill                    4.657 s  density 0.100
together               28 cells     9.99 s, decode   36.52 ms a step
28 cells of one sample: 10.0 s together, 255 s one by one: 25.5 x
== end-old
prefill block_sparse 64, heads apart    4.000 s  density 0.100
== end-again
prefill block_sparse 64, heads apart    3.400 s  density 0.100
== first
first old, 31 cells, 1 samples: 3000 ms
first here, 31 cells, 1 samples: 2100 ms
first old, 31 cells, 11 samples: 9000 ms
first here, 31 cells, 11 samples: 4000 ms
first old, 31 cells, 1 samples: 3100 ms
first here, 31 cells, 1 samples: 2000 ms
first old, 31 cells, 11 samples: 8000 ms
first here, 31 cells, 11 samples: 4500 ms
== rivals
flex 32 8 128 131072 128 0.100 40.000
== kvpress
kvpress dense 0 prefill 9.000 s, decode 30.00 ms a step, 32 steps
kvpress snapkv 0.85 prefill 10.000 s, decode 20.00 ms a step, 32 steps
kvpress ada_snapkv 0.85 prefill 11.000 s, decode 50.00 ms a step, 32 steps
EOF
table "$T/logs"
# says TITLE BEFORE TARGET HERE VERDICT
says() {
    awk -F '  +' -v title="$1" '{ sub(/^  /, "") } index($0, title "  ") == 1 { print }' "$T/table" >"$T/row"
    [ "$(sed -E 's/ {2,}/|/g; s/\|$//' "$T/row")" = "$1|$2|$3|$4|$5" ] || fail "$1: not '$2|$3|$4|$5' but '$(cat "$T/row")'"
}
says 'blocks of 64' '4.00 s' 'x 0.82' '3.30 s, x 0.825' missed
says FlexPrefill '6.10 s *' 'x 0.64' '4.66 s, x 0.763' missed
says Vertical-Slash '4.73 s *' 'x 0.76' - 'not measured'
says 'dense 32/8 d128, of cuDNN: 32k' '87 %' '>= 97 %' '97 %' reached
says 'dense 32/8 d64, of cuDNN: 8k to 128k' '82 to 87 % *' '>= 95 %' '94 to 96 %' missed
says 'blocks of 16 shared 32/8, of ideal' '82 %' '>= 85 %' '85 %' reached
says 'with estimation' '65 %' '>= 76 %' '66 %' missed
says 'Quest 1/16 128k, x the floor: one lane' '2.58 x' '<= 1.7 x' '1.7 x' reached
says '28 cells of one sample (7B)' '10.8 s *' '<= 10 s' '9.99 s' 'reached|25.5 x one by one'
says 'kvpress, one by one' - '>= 30 x' '30.9 x' 'reached|309 s: dense 9.96, snapkv 10.64, ada_snapkv 12.60' # (10 · 9.96 + 9 · 10.64 + 9 · 12.6) / 9.99
says 'first tokens of 31 cells, model l, 8k' '500 ms' '>= 2 x' '200 ms, 2.50 x' reached
grep -qx "PyTorch's flash kernel, x ours: d128 32k 1.50" "$T/table" || fail "flash: $(cat "$T/table")"
grep -q '40.000 ms, 65 % of ideal; here 98 %' "$T/table" || fail "FlexAttention: $(cat "$T/table")"

# Ten samples that take no longer than none say nothing.
sed -i 's/^first here, 31 cells, 11 samples: .*/first here, 31 cells, 11 samples: 1900 ms/' "$T/logs"
table "$T/logs"
says 'first tokens of 31 cells, model l, 8k' '500 ms' '>= 2 x' - 'not measured'
echo "targets: ok"
