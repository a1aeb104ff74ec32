#!/bin/bash
# The CUDA backend on this machine's GPU: parity with the reference op by op, the engine's tests, every method's check, and
# a sweep that must score on the GPU as it does on the CPU. Prints what each part says and how long it took.
#
#   tests/cuda.sh [CONFIG [KEY=VALUE ...]]     the sweep's config and overrides; without: no sweep
#
#   RUN=PROGRAM    runs a program of the build by its name, e.g. RUN=./run: `./run test_cuda cuda:0`; default: `make`, then
#                  build/ itself
#   DEVICE=cuda    the device of the sweep, e.g. cuda:all
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
device=${DEVICE:-cuda} failed=()
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

if [ -z "${RUN:-}" ]; then
    make -j"$(nproc)" all build/tests/test_cuda build/tests/test_engine build/tests/test_engine_methods || exit 1
fi

program() {
    local name=$1
    shift
    if [ -n "${RUN:-}" ]; then
        "$RUN" "$name" "$@"
    elif [ "$name" = frontier ]; then
        build/frontier "$@"
    else
        build/tests/"$name" "$@"
    fi
}

# part LABEL LINES COMMAND…: the last LINES lines of what it says, its verdict and its time
part() {
    local label=$1 lines=$2 begun=$(date +%s%N) verdict=ok
    shift 2
    "$@" >"$out/log" 2>&1 || verdict=FAILED
    [ $verdict = ok ] || lines=60 failed+=("$label")
    tail -n "$lines" "$out/log" | sed 's/^/    /'
    printf '%-44s %-6s %6d ms\n' "$label" $verdict $((($(date +%s%N) - begun) / 1000000))
}

# same A B PATTERN: what `frontier compare` must say of the two
same() {
    program frontier compare "$out/$1.h5" "$out/$2.h5" | tee "$out/compare" || return 1
    grep -q "$3" "$out/compare"
}

part 'parity with the reference' 4 program test_cuda cuda 40
part 'engine' 2 program test_engine
part 'engine, methods that misbehave' 2 program test_engine_methods
part 'every method' 1 program frontier check all --device cuda
if [ $# -gt 0 ]; then
    config=$1 sets=()
    shift
    for set in "$@"; do sets+=(--set "$set"); done
    part "sweep on $device" 3 program frontier run "$config" "${sets[@]}" --device "$device" --out "$out/gpu.h5"
    part 'sweep on cpu' 3 program frontier run "$config" "${sets[@]}" --device cpu --out "$out/cpu.h5"
    part 'same scores on cpu and GPU' 24 same cpu gpu ' 0 differ beyond noise'
    if [[ $device == *:* ]]; then
        part "sweep on one GPU" 3 program frontier run "$config" "${sets[@]}" --device "${device%%:*}" --out "$out/one.h5"
        part 'same scores on one GPU and several' 3 same one gpu '; 0 cells changed'
    fi
fi
[ ${#failed[@]} = 0 ] || printf 'failed: %s\n' "${failed[@]}"
[ ${#failed[@]} = 0 ]
