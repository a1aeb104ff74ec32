#!/bin/bash
# The CUDA backend on this machine's GPU, part by part. What proves it runs side by side, then what times it runs alone. Each
# part has its own time limit and its own log, so that one that hangs or fails loses nothing of the others.
#
#   tests/cuda.sh [PART ...]     without: parity engine families check; `all`: all but the sweep
#
#   parity      every op against the reference             memcheck, racecheck   the same under compute-sanitizer
#   engine      the engine's tests; what comes home        peers                 PyTorch's dense attention: cuDNN, flash
#   families    tiny checkpoints against transformers      grouped               a Triton kernel of packed heads, $GROUPED
#   check       every method's certificate                 bench                 kernels, against what peers said
#   sweep       the same scores on CPU and GPU             patterns              bands, parts, weights, distances, likewise
#   mixture     a 30B mixture's shape of 3B active, 64k    end                   a 7B model's shape, end to end
#   first       a small model's first tokens, in a sweep   rivals                FlexAttention; NSA of flash-linear-attention
#   kvpress     a 7B model's shape by kvpress, if there    index                 an indexer's scores and choices (DSA)
#
# And `targets`: what the engine's targets are held to, bench, end and first beside an older build by turns ($OLD), and at the end
# a line a target, reached or missed (tests/cuda_targets.py).
#
# And the studies of results/bench/ that take a GPU whole, each by its name alone:
#   roster      every method at 4k on two models (configs/roster.yaml, 20 minutes), and Delta (configs/delta.yaml), four workers of one GPU
#   choosing    every method's time to choose beside what it saves, 131072 tokens
#
# And of two GPUs and more, `two`:
#   tensor      models split over two ranks, and every method's certificate over two
#   split       a sweep with a model split over two MPI processes, by heads and by layers, against one process: rows; and one of
#               the two killed
#   large       a 72B model's shape over two GPUs, by heads and by layers, end to end, and a 7B model's on one
#   spread      a sweep on one GPU, on all as workers, on two by MPI, and by four workers of one: times, and 0 cells changed
#
#   RUN=PROGRAM    runs a program of the build by its name, e.g. RUN=./run: `./run test_backends cuda:0`; default: `make`, then
#                  build/ itself
#   OLD=FOLDER     of `targets`: an older source tree, f0848c2 or later; or OLD_RUN=PROGRAM, as RUN, which runs its build
#   LOGS=FOLDER    where logs go: one a part, and all.txt, what results/bench/ keeps; default build/cuda
#   LIMIT=SECONDS  for all parts together, 560: a part that would end later is cut short, and one that would begin later left out
#   SWEEP='CONFIG [KEY=VALUE ...]', DEVICE=cuda    of the sweep; DEVICE=cuda:all runs it on one GPU too
#   SPREAD='CONFIG [KEY=VALUE ...]'    of `spread`; default configs/mini-study.yaml with one sample a cell
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
logs=${LOGS:-build/cuda} limit=${LIMIT:-560} device=${DEVICE:-cuda} begun=$SECONDS
parts=("$@")
[ $# -gt 0 ] || parts=(parity engine families check)
[ "${1:-}" != all ] || parts=(parity engine families check memcheck racecheck peers grouped bench patterns mixture end)
[ "${1:-}" != targets ] || parts=(peers bench end first rivals kvpress targets)
[ "${1:-}" != two ] || parts=(tensor split large spread)
mkdir -p "$logs" && rm -f "$logs"/*.failed "$logs"/all.txt || exit 1

sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)

wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

! wanted targets || rm -f "$logs"/*.log # its table is of one call
made=()
if [ -z "${RUN:-}" ]; then
    make -j"$(nproc)" all build/tests/{test_backends,test_copies,test_engine,test_engine_methods,test_trained,test_estimates,test_entmax,test_families,test_tensor,test_pipeline,bench_cuda,bench_patterns,bench_cuda_engine} & made+=($!)
    # racecheck follows arrivals at barriers a thread alone: for it every lane of a warp arrives (kernels/cuda/wgmma.cuh)
    ! wanted racecheck || { make -j"$(nproc)" BUILD=build-race NVCC_DEFS=-DSF_RACECHECK build-race/tests/test_backends & made+=($!); }
fi
if [ -n "${OLD:-}" ]; then
    make -C "$OLD" -j"$(nproc)" all build/tests/{bench_cuda,bench_cuda_engine} & made+=($!)
fi
for make in "${made[@]}"; do wait "$make" || exit 1; done

# Sets `words` to the command that runs a program of the build, `old` to the one of the older build, or to nothing.
program() {
    local at=build/tests/$1
    [ "$1" != frontier ] || at=build/frontier
    words=("$at") old=()
    [ -z "${RUN:-}" ] || words=("$RUN" "$1")
    [ -z "${OLD:-}" ] || old=("$OLD/$at")
    [ -z "${OLD_RUN:-}" ] || old=("$OLD_RUN" "$1")
}

# part LABEL SECONDS LINES COMMAND…: the last LINES lines of what it says, its verdict, its time, and when it ended
part() {
    local label=$1 seconds=$2 lines=$3 left=$((limit - SECONDS + begun)) from=$(date +%s%N) verdict=ok status=0
    shift 3
    [ "$seconds" -lt "$left" ] || seconds=$left
    if [ "$seconds" -lt 5 ]; then
        verdict='NOT RUN'
    else
        if [ "$(type -t "$1")" = function ]; then
            timeout -k 5 "$seconds" bash -c "$(declare -f alike "$1"); $(declare -p words old logs device); $*" >"$logs/$label.log" 2>&1 || status=$?
        else
            timeout -k 5 "$seconds" "$@" >"$logs/$label.log" 2>&1 || status=$?
        fi
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

# each_method JOBS: every method's certificate on the GPU, so many methods at a time
each_method() {
    local status=0
    "${words[@]}" list methods | awk '/^[a-z]/ { print $1 }' | xargs -P "$1" -I{} sh -c '"$@" check {} --device cuda >'"$logs"'/check-{}.txt 2>&1' \
        sh "${words[@]}" || status=1
    grep -h FAIL "$logs"/check-*.txt
    grep -h 'split over ranks' "$logs"/check-*.txt | awk '{ n[$8]++ } END { for (v in n) print n[v], "hooks over two ranks:", v }'
    echo "$(cat "$logs"/check-*.txt | grep -c ' pass ') rows pass"
    return $status
}

# What a split does not change of a row: everything but keys, times and recall, whose last digits it may.
alike() { "${words[@]}" export "$1" --jsonl | sed -E 's/"[a-z_]*seconds[a-z_]*": ?[^,}]*,?//g; s/"(cell|key)": ?"[^"]*",?//g; s/"[a-z_]*recall[a-z_]*": ?[^,}]*,?//g' | sort; }

# split_rows: dense and six methods on the embedded l, 100 samples: unsplit on one GPU, split over two by heads and by layers,
# which changes nothing of a row. A model that cannot do the task would score the same however it is split: dense must be right.
split_rows() {
    local options=(configs/mini-study.yaml --set 'models=[models/frontier-mini/l]' --set 'lengths=[1024]' --set 'sparsity=[0.8]'
        --set samples=100 --only task=niah --device cuda) right rows split equal
    "${words[@]}" run "${options[@]}" --out "$logs/unsplit.h5" || return 1
    alike "$logs/unsplit.h5" >"$logs/unsplit.rows"
    rows=$(wc -l <"$logs/unsplit.rows")
    right=$(grep '"prefill_method":"dense".*"decode_method":"dense"' "$logs/unsplit.rows" | grep -cE '"strict":1(\.0*)?[,}]')
    [ "$right" -ge 90 ] || { echo "dense is right in $right samples: the rows say nothing"; return 1; }
    for split in tensor pipeline; do
        mpirun -n 2 "${words[@]}" run "${options[@]}" --set "parallel={$split: 2}" --out "$logs/$split.h5" || return 1
        alike "$logs/$split.h5" >"$logs/$split.rows"
        equal=$(comm -12 "$logs"/{unsplit,$split}.rows | wc -l)
        "${words[@]}" compare "$logs/unsplit.h5" "$logs/$split.h5" | tail -n 1
        echo "{$split: 2}: of $rows rows $equal equal but for times, keys and recall; dense right in $right of 100"
    done | grep -E '^\{|samples score|^frontier:' | tee "$logs/split.said"
    grep -q "{pipeline: 2}: of $rows rows $rows equal" "$logs/split.said"
}

# One of two processes that split a model is killed: what it says, and that what was finished is kept.
split_killed() {
    local options=(configs/mini-study.yaml --set 'models=[models/frontier-mini/l]' --set 'tasks=[cwe: {words: 1200, common_repeats: 12, rare_repeats: 2}]'
        --set 'lengths=[4096]' --set samples=40 --set 'sparsity=[0.5, 0.9]' --device cuda --set 'parallel={tensor: 2}' --out "$logs/killed.h5")
    rm -rf "$logs"/killed.h5*
    mpirun -n 2 "${words[@]}" run "${options[@]}" >"$logs/killed.said" 2>&1 &
    local mpirun=$! status=0 kept
    for _ in $(seq 1200); do
        [ "$(ls "$logs/killed.h5.parts" 2>/dev/null | wc -l)" -lt 4 ] || break
        read -r -t 0.05 <> <(:) || true
    done
    kill -9 "$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v parent=$mpirun '$4 == parent { print $1 }' | sort -n | tail -n 1)"
    wait $mpirun || status=$?
    kept=$(ls "$logs/killed.h5.parts" | wc -l)
    echo "killed: status $status, $kept finished parts kept; it said:"
    grep -vE '^-*$' "$logs/killed.said" | tail -n 8
    [ $status != 0 ] && [ "$kept" -ge 4 ] || return 1
    mpirun -n 2 "${words[@]}" run "${options[@]}" || return 1
}

# revisions: which builds these are
revisions() {
    echo "here $("${words[@]}" version | grep revision)"
    [ ${#old[@]} = 0 ] || echo "old $("${old[@]}" version | grep revision)"
}

# The older build's prefills of the 7B shape, up to its last; what it would do then is ended.
old_prefills() {
    timeout 200 "${old[@]}" configs/models/qwen2.5-7b.yaml 131040 >"$logs/end-old.said" 2>&1 & # what it is told, it tells all that it began
    local bench=$!
    while kill -0 $bench 2>/dev/null && ! grep -q '^prefill flex_prefill' "$logs/end-old.said"; do read -r -t 0.1 <> <(:) || true; done
    ! kill $bench 2>/dev/null || wait $bench 2>/dev/null
    cat "$logs/end-old.said"
    grep -q '^prefill flex_prefill' "$logs/end-old.said"
}

# A sweep that asks one token of each cell: dense and six methods at five levels, 31 cells of one prompt of 8k tokens, on the
# embedded l. Seconds from start to end, with one sample and with eleven, by turns; what ten more take is what starting does not.
first_tokens() {
    local turn samples build program from
    local options=(configs/mini-study.yaml --set 'models=[models/frontier-mini/l]' --set 'tasks=[niah]' --set 'lengths=[8192]'
        --set 'sparsity=[0.5, 0.7, 0.8, 0.9, 0.95]' --set output=1 --device "$device" --overwrite)
    for turn in 1 2; do
        for samples in 1 11; do
            for build in old here; do
                program=("${words[@]}")
                [ $build = here ] || program=("${old[@]}")
                [ ${#program[@]} -gt 0 ] || continue
                from=$(date +%s%N)
                "${program[@]}" run "${options[@]}" --set samples=$samples --out "$logs/first-$build.h5" >"$logs/first.said" 2>&1 || { cat "$logs/first.said"; return 1; }
                grep -q '31 cells' "$logs/first.said" || { cat "$logs/first.said"; return 1; }
                echo "first $build, 31 cells, $samples samples: $((($(date +%s%N) - from) / 1000000)) ms"
            done
        done
    done
}

# ---- what proves it: side by side ----
program test_backends
! wanted parity || part parity 200 4 "${words[@]}" cuda &
if wanted memcheck; then # one test asks for too much memory on purpose: what calls return is the tests' to judge
    part memcheck 240 3 "$sanitizer" --target-processes all --tool memcheck --report-api-errors no --error-exitcode 9 "${words[@]}" cuda 20 &
fi
if wanted racecheck; then # of a build of its own, unless RUN names one. cuBLAS's own kernels, which it does not understand, are left out; it slows each load and store of shared memory down
    race=(build-race/tests/test_backends)
    [ -z "${RUN:-}" ] || race=("${words[@]}")
    for test in layers linear_decode cache selection prefill single within decode probe blocks pages long_pages lists lanes; do
        part "racecheck-$test" 240 1 "$sanitizer" --target-processes all --tool racecheck --error-exitcode 9 "${race[@]}" \
            cuda 8 $test &
    done
    # Of the small shapes as many as differ in their kernels: steps of 20 rows and of one; lists of single queries that groups walk, heads of 128
    # and of 64, and key by key, of 64 and of 256, more units of keys than are on their way at once.
    for test in steps long_single; do
        part "racecheck-$test" 240 1 "$sanitizer" --target-processes all --tool racecheck --error-exitcode 9 "${race[@]}" \
            cuda 16 $test &
    done
fi
for name in engine engine_methods trained estimates entmax copies; do
    program test_$name
    ! wanted engine || part $name 60 2 "${words[@]}" &
done
program test_families
! wanted families || part families 120 4 "${words[@]}" cuda &
program frontier
! wanted check || part check 200 2 "${words[@]}" check all --device cuda &
if wanted tensor; then
    part tensor-check 200 5 each_method 8 &
    program test_tensor
    part tensor 200 16 "${words[@]}" &
    program test_pipeline
    part pipeline 200 16 "${words[@]}" &
    program frontier
fi
wait
! wanted split || part split 200 4 split_rows
! wanted split || part split-killed 120 16 split_killed

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
if wanted large; then
    program bench_cuda_engine
    part large 280 20 "${words[@]}" configs/models/qwen2.5-72b.yaml 131040 0 2
    part large-stages 240 20 "${words[@]}" configs/models/qwen2.5-72b.yaml 65520 0 1x2
    part large-7b 120 20 "${words[@]}" configs/models/qwen2.5-7b.yaml 131040 0 1 brief
    program frontier
fi
# Four workers of one card, which run at once where NVIDIA's daemon lets processes share it; without it they take turns.
share_card() {
    export CUDA_MPS_PIPE_DIRECTORY=$logs/mps CUDA_MPS_LOG_DIRECTORY=$logs/mps
    mkdir -p "$logs/mps" && nvidia-cuda-mps-control -d
}
leave_card() {
    echo quit | nvidia-cuda-mps-control
    unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}
program frontier
if wanted roster; then
    share_card
    for study in roster delta; do
        part $study 1500 1 "${words[@]}" run configs/$study.yaml --set picture=none --device cuda:0,0,0,0 --out "$logs/$study.h5"
    done
    leave_card
fi
if wanted choosing; then # oracle_blocks computes all of dense attention's scores, at leisure
    read -r -a named <<<"$("${words[@]}" list methods | awk '/^[a-z]/ && $1 !~ /^(dense|oracle_blocks)$/ { printf " -m %s", $1 }')"
    for phase in attention decode; do
        part choosing-$phase 200 60 "${words[@]}" bench $phase -d cuda:0 -H 32/8 -D 128 -n 131072 -s 0.9 -r 3 --csv "${named[@]}"
    done
fi
if wanted spread; then
    read -r config sets <<<"${SPREAD:-configs/mini-study.yaml samples=1}"
    options=()
    for set in $sets; do options+=(--set "$set"); done
    rm -rf "$logs"/spread-*.h5*
    part spread-one 300 1 "${words[@]}" run "$config" "${options[@]}" --device cuda:0 --out "$logs/spread-one.h5"
    part spread-all 300 1 "${words[@]}" run "$config" "${options[@]}" --device cuda:all --out "$logs/spread-all.h5"
    part spread-mpi 300 1 mpirun -n 2 "${words[@]}" run "$config" "${options[@]}" --device cuda --out "$logs/spread-mpi.h5"
    share_card
    part spread-shared 300 1 "${words[@]}" run "$config" "${options[@]}" --device cuda:0,0,0,0 --out "$logs/spread-shared.h5"
    leave_card
    for other in all mpi shared; do same spread-one spread-$other '; 0 cells changed' || : >"$logs/spread-$other-same.failed"; done
fi
! wanted peers || part peers 120 40 "${PYTHON:-python3}" tests/bench_cuda_peers.py
! wanted grouped || [ -z "${GROUPED:-}" ] || part grouped 90 20 "${PYTHON:-python3}" "$GROUPED"
program frontier
! wanted targets || part revisions 10 2 revisions
program bench_cuda
! wanted targets || [ ${#old[@]} = 0 ] || part bench-old 90 20 "${old[@]}" "$logs/peers.log" quick
! wanted bench || part bench 200 80 "${words[@]}" "$logs/peers.log"
! wanted index || part index 60 10 "${words[@]}" index
program bench_patterns
! wanted patterns || part patterns 120 30 "${words[@]}" cuda "$logs/peers.log"
program bench_cuda_engine
! wanted mixture || part mixture 120 20 "${words[@]}" configs/models/qwen3-30b-a3b.yaml 65536 0 1 alone
! wanted end || part end 300 40 "${words[@]}"
if wanted targets && [ ${#old[@]} -gt 0 ]; then
    part end-old 150 10 old_prefills
    part end-again 60 10 "${words[@]}" configs/models/qwen2.5-7b.yaml 131040 0 1 prefills
fi
program frontier
! wanted first || part first 100 10 first_tokens
! wanted rivals || part rivals 90 10 "${PYTHON:-python3}" tests/bench_cuda_rivals.py
! wanted kvpress || part kvpress 120 10 "${PYTHON:-python3}" tests/bench_cuda_kvpress.py

for log in "$logs"/*.log; do printf '== %s\n%s\n\n' "$(basename "$log" .log)" "$(cat "$log")"; done >"$logs/all.txt"
! wanted targets || "${PYTHON:-python3}" tests/cuda_targets.py "$logs/all.txt" | tee "$logs/targets.txt"
failed=("$logs"/*.failed)
[ -e "${failed[0]}" ] || exit 0
printf 'failed: %s\n' $(basename -s .failed "${failed[@]}")
exit 1
