#!/bin/bash
# The CUDA backend on this machine's GPU, part by part. What proves it runs side by side, then what times it runs alone. Each
# part has its own time limit and its own log, so that one that hangs or fails loses nothing of the others.
#
#   tests/cuda.sh [PART ...]     without: parity engine families check; `all`: all but the sweep
#
#   parity      every op against the reference             memcheck, racecheck   the same under compute-sanitizer
#   engine      the engine's tests                         peers                 cuDNN's dense attention (needs PyTorch)
#   families    tiny checkpoints against transformers      grouped               a Triton kernel of packed heads, $GROUPED
#   check       every method's certificate                 bench                 kernels, against what peers said
#   sweep       the same scores on CPU and GPU             patterns              bands, parts, weights, distances, likewise
#                                                          end                   a 7B model's shape, end to end
#
#   RUN=PROGRAM    runs a program of the build by its name, e.g. RUN=./run: `./run test_backends cuda:0`; default: `make`, then
#                  build/ itself
#   LOGS=FOLDER    where logs go: one a part, and all.txt, what results/bench/ keeps; default build/cuda
#   LIMIT=SECONDS  for all parts together, 560: a part that would end later is cut short, and one that would begin later left out
#   SWEEP='CONFIG [KEY=VALUE ...]', DEVICE=cuda    of the sweep; DEVICE=cuda:all runs it on one GPU too
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
logs=${LOGS:-build/cuda} limit=${LIMIT:-560} device=${DEVICE:-cuda} begun=$SECONDS
parts=("$@")
[ $# -gt 0 ] || parts=(parity engine families check)
[ "${1:-}" != all ] || parts=(parity engine families check memcheck racecheck peers grouped bench patterns end)
mkdir -p "$logs" && rm -f "$logs"/*.failed "$logs"/all.txt || exit 1

if [ -z "${RUN:-}" ]; then
    make -j"$(nproc)" all build/tests/{test_backends,test_engine,test_engine_methods,test_families,bench_cuda,bench_patterns,bench_cuda_engine} || exit 1
fi
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)

wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

# Sets `words` to the command that runs a program of the build.
program() {
    words=("build/tests/$1")
    [ "$1" != frontier ] || words=(build/frontier)
    [ -z "${RUN:-}" ] || words=("$RUN" "$1")
}

# part LABEL SECONDS LINES COMMAND…: the last LINES lines of what it says, its verdict, its time, and when it ended
part() {
    local label=$1 seconds=$2 lines=$3 left=$((limit - SECONDS + begun)) from=$(date +%s%N) verdict=ok status=0
    shift 3
    [ "$seconds" -lt "$left" ] || seconds=$left
    if [ "$seconds" -lt 5 ]; then
        verdict='NOT RUN'
    else
        timeout -k 5 "$seconds" "$@" >"$logs/$label.log" 2>&1 || status=$?
        [ $status = 0 ] || verdict=FAILED lines=40
        [ $status != 124 ] || verdict='CUT SHORT'
    fi
    [ "$verdict" = ok ] || : >"$logs/$label.failed"
    printf '%s %3d s  %-28s %-9s %6d ms\n%s\n' "$(date +%T)" $((SECONDS - begun)) "$label" "$verdict" \
        $((($(date +%s%N) - from) / 1000000)) "$(tail -n "$lines" "$logs/$label.log" 2>/dev/null | cut -c1-240 | sed 's/^/    /')"
}

# same A B PATTERN: what `frontier compare` must say of the two
same() {
    "${words[@]}" compare "$logs/$1.h5" "$logs/$2.h5" | tee "$logs/compare.txt" || return 1
    grep -q "$3" "$logs/compare.txt"
}

# ---- what proves it: side by side ----
program test_backends
! wanted parity || part parity 200 4 "${words[@]}" cuda &
if wanted memcheck; then # one test asks for too much memory on purpose: what calls return is the tests' to judge
    part memcheck 240 3 "$sanitizer" --target-processes all --tool memcheck --report-api-errors no --error-exitcode 9 "${words[@]}" cuda 20 &
fi
if wanted racecheck; then # cuBLAS's own kernels, which it does not understand, are left out
    for test in layers linear_decode cache selection prefill within decode probe blocks pages long_pages lanes steps; do
        part "racecheck-$test" 240 1 "$sanitizer" --target-processes all --tool racecheck --error-exitcode 9 "${words[@]}" \
            cuda 8 $test &
    done
fi
for name in engine engine_methods; do
    program test_$name
    ! wanted engine || part $name 60 2 "${words[@]}" &
done
program test_families
! wanted families || part families 120 4 "${words[@]}" cuda &
program frontier
! wanted check || part check 200 2 "${words[@]}" check all --device cuda &
wait

# ---- what compares and times it: alone ----
if wanted sweep; then
    read -r config sets <<<"${SWEEP:?SWEEP names a config}"
    options=(--out "$logs/gpu.h5")
    for set in $sets; do options+=(--set "$set"); done
    rm -f "$logs"/{gpu,cpu,one}.h5
    part sweep-gpu 200 3 "${words[@]}" run "$config" --device "$device" "${options[@]}"
    part sweep-cpu 300 3 "${words[@]}" run "$config" --device cpu "${options[@]}" --out "$logs/cpu.h5"
    same cpu gpu ' 0 differ beyond noise' || : >"$logs/sweep-same.failed"
    if [[ $device == *:* ]]; then
        part sweep-one 200 3 "${words[@]}" run "$config" --device "${device%%:*}" "${options[@]}" --out "$logs/one.h5"
        same one gpu '; 0 cells changed' || : >"$logs/sweep-one-same.failed"
    fi
fi
! wanted peers || part peers 120 40 "${PYTHON:-python3}" tests/bench_cuda_peers.py
! wanted grouped || [ -z "${GROUPED:-}" ] || part grouped 90 20 "${PYTHON:-python3}" "$GROUPED"
program bench_cuda
! wanted bench || part bench 200 80 "${words[@]}" "$logs/peers.log"
program bench_patterns
! wanted patterns || part patterns 120 30 "${words[@]}" cuda "$logs/peers.log"
program bench_cuda_engine
! wanted end || part end 300 40 "${words[@]}"

for log in "$logs"/*.log; do printf '== %s\n%s\n\n' "$(basename "$log" .log)" "$(cat "$log")"; done >"$logs/all.txt"
failed=("$logs"/*.failed)
[ -e "${failed[0]}" ] || exit 0
printf 'failed: %s\n' $(basename -s .failed "${failed[@]}")
exit 1
