#!/bin/bash
# Trains one size with several kinds of attention side by side on one GPU, with equal data and stages, in as many calls as it takes.
#
#   side_by_side.sh SIZE LENGTH OUT KIND ...        KIND=FOLDER: that model's weights are polished (train.py)
#
# Three parts; a call goes on where an earlier one ended, on this machine by what is in $WORK (build/side-by-side), elsewhere by an earlier
# call's KIND.tar.xz and *.plan in the folder $FROM:
#
# 1. Each kind takes a few steps at every length up to LENGTH, in the fastest way that works there (a compiled step in a CUDA graph; without
#    one of the two; without both); a kind that works in no way is left out.
# 2. The warm-up, $SEEDS (3) seeds of each kind, until one has mastered it, for at most $PATIENCE (12000) steps and $WARM (300) seconds; a kind
#    that has not by then says so and is left out.
# 3. The training: as many steps as there is time for, as many for each; what steps took in part 1 says how many. While that is less than
#    $LEAST (8000) the last kind is left out, down to three. Who falls behind takes as many as the time leaves (train.py).
#
# $SOFTMAX_FIRST: kinds whose warm-up begins with softmax in their place (train.py). A call takes $LIMIT (940) seconds in all, the whole
# $TOTAL (LIMIT); the plan is for the whole. $CARD (0.95) of the card's time is these trainings'; MPS=1: through NVIDIA's daemon that lets
# processes compute at once, where it is there (more than the whole, then: CARD=1.2).
# Data: the folder $DATA (make_data.py), made here if there is none, $PARTS (20) parts: a kind that has learned from all of it says so and ends. What a call leaves: OUT/KIND.tar.xz, weights in bf16 with their progress
# and log; OUT/plan.jsonl, what steps took; OUT/KIND.txt, what was printed; OUT/KIND.plan for $FROM.
set -u
cd "$(dirname "$0")/../../.." || exit 1
size=$1 length=$2 out=$(realpath -m "$3") limit=${LIMIT:-940} least=${LEAST:-8000} total=${TOTAL:-${LIMIT:-940}} warm=${WARM:-300}
shift 3
recipe=models/frontier-mini/recipe work=$(realpath -m "${WORK:-build/side-by-side}") python=${PYTHON:-python3}
mkdir -p "$work" "$out" || exit 1
data=${DATA:-$work/data}
[ -n "${DATA:-}" ] || $python $recipe/make_data.py "$data" --frontier "${FRONTIER:-build/frontier}" --parts "${PARTS:-20}" || exit 1
spent=$(cat "$work"/spent 2>/dev/null || cat "${FROM:-/nowhere}"/spent.plan 2>/dev/null || echo 0) # seconds of earlier calls
left() { local s=$((limit - SECONDS - 25)); echo $((s > 1 ? s : 1)); } # for packing

declare -A start
kinds=
for kind in "$@"; do
    name=${kind%%=*} kinds+=" ${kind%%=*}"
    [ "$name" = "$kind" ] || start[$name]=${kind#*=}
    if [ ! -d "$work/$name" ] && [ -s "${FROM:-/nowhere}/$name.tar.xz" ]; then
        tar xJf "$FROM/$name.tar.xz" -C "$work" && echo "$name: goes on from $FROM/$name.tar.xz"
    fi
    for file in "$name".way "$name".time steps; do
        [ -e "$work/$file" ] || [ ! -e "${FROM:-/nowhere}/$file.plan" ] || cp "$FROM/$file.plan" "$work/$file"
    done
done
if [ -n "${MPS:-}" ] && command -v nvidia-cuda-mps-control >/dev/null; then
    export CUDA_MPS_PIPE_DIRECTORY=$work/mps CUDA_MPS_LOG_DIRECTORY=$work/mps
    mkdir -p "$work"/mps
    nvidia-cuda-mps-control -d && trap 'echo quit | nvidia-cuda-mps-control' EXIT
fi

# 1. What works here, and what it takes.

# try KIND: KIND.way has the options of train.py that work, KIND.time what steps took
try() {
    local way
    for way in "" --eager --no-graph "--eager --no-graph"; do
        [ $SECONDS -lt 150 ] || break
        echo "$1: ${way:-compiled, in a graph}" >>"$out/$1".try
        if timeout $((170 - SECONDS > 110 ? 110 : 170 - SECONDS)) $python $recipe/train.py "$size" --attention "$1" --time "$length" $way ${OPTIONS:-} >"$work/$1".time.new 2>>"$out/$1".try; then
            echo "$way" >"$work/$1".way
            mv "$work/$1".time.new "$work/$1".time
            break
        fi
    done
}
kernels= tries=
if [ ! -s "$work"/steps ]; then # beside parts 1 and 2
    $python $recipe/entmax_attention.py ${CHECK:-} >"$out"/kernels.txt 2>&1 &
    kernels=$!
fi
for kind in $kinds; do
    [ -e "$work/$kind".way ] || { try "$kind" & tries+=" $!"; }
done
[ -z "$tries" ] || wait $tries
able=
for kind in $kinds; do
    if [ -e "$work/$kind".way ]; then
        able+=" $kind"
    else
        echo "$kind: takes no step here, and is left out:"
        tail -n 4 "$out/$kind".try
    fi
done
[ -n "$able" ] || exit 1
echo "part 1 after $SECONDS s:$able"

# train KIND OPTION ...
train() {
    local kind=$1 first=
    shift
    [[ " ${SOFTMAX_FIRST:-} " == *" $kind "* ]] && first=--softmax-first
    $python $recipe/train.py "$size" --attention "$kind" ${start[$kind]:+--polish ${start[$kind]}} --data "$data" --out "$work/$kind" --seed "${SEED:-1}" \
        --seeds "${SEEDS:-3}" --patience "${PATIENCE:-12000}" $(cat "$work/$kind".way) $first ${OPTIONS:-} "$@" 2>&1 | tee -a "$out/$kind".txt
    return ${PIPESTATUS[0]}
}
minutes() { echo $(($1 / 60)).$(printf %03d $(($1 % 60 * 1000 / 60))); }

# mastered KIND: whether its warm-up is behind it
mastered() { $python -c 'import json, sys
sys.exit(json.load(open(sys.argv[1]))["base"] is None)' "$work/$1"/model/progress.json 2>/dev/null; }

# 2. The warm-up.

pids=
for kind in $able; do
    [ -s "$work"/steps ] || [ -n "${start[$kind]:-}" ] || mastered "$kind" || { train "$kind" --until-mastered --stop "$(minutes $((warm < $(left) ? warm : $(left))))" & pids+=" $!"; }
done
[ -z "$pids" ] || wait $pids
right=0 ready=
if [ -n "$kernels" ]; then
    wait $kernels
    right=$?
    cat "$out"/kernels.txt
fi
for kind in $able; do
    if [[ $kind == *entmax* ]] && [ $right != 0 ]; then
        echo "$kind: its kernels are not right here: left out"
    elif [ -n "${start[$kind]:-}" ] || mastered "$kind"; then ready+=" $kind"; else echo "$kind: has not mastered the warm-up, and is left out"; fi
done
echo "part 2 after $SECONDS s:$ready"

# 3. The training.

if [ -n "$ready" ] && [ ! -s "$work"/steps ]; then
    time=$((total - spent - SECONDS - 45))
    set -- $ready
    while [ $time -ge 20 ]; do
        for kind in "$@"; do cat "$work/$kind".time; done >"$work"/plan.jsonl
        steps=$($python -c 'import json, sys
print(int(float(sys.argv[3]) * 1000 * float(sys.argv[2]) / sum(json.loads(line)["mean_ms"] for line in open(sys.argv[1]))))' "$work"/plan.jsonl $time "${CARD:-0.95}")
        [ "$steps" -lt "$least" ] && [ $# -gt 3 ] || break
        echo "$* would have $steps steps each: the last is left out"
        set -- "${@:1:$#-1}"
    done
    if [ $time -ge 20 ]; then
        echo "$steps $time $*" >"$work"/steps
    else
        echo "the warm-up took the time: call again with a larger TOTAL than $total"
    fi
fi
if [ -n "$ready" ] && [ -s "$work"/steps ]; then
    read -r steps time ready <"$work"/steps
    echo "$ready: $steps steps each, $time s"
    pids=
    for kind in $ready; do
        train "$kind" --steps "$steps" --minutes "$(minutes "$time")" --stop "$(minutes "$(left)")" &
        pids+=" $!"
    done
    wait $pids
fi
echo $((spent + SECONDS)) >"$work"/spent
cp "$work"/plan.jsonl "$out"/ 2>/dev/null
for file in "$work"/{*.way,*.time,steps,spent}; do
    [ -e "$file" ] && cp "$file" "$out/$(basename "$file")".plan
done
for kind in $able; do
    [ -d "$work/$kind"/model ] || continue
    tail -n 1 "$work/$kind"/log.jsonl
    tar cJf "$out/$kind".tar.xz -C "$work" "$kind"/model "$kind"/log.jsonl &
done
wait
echo "all after $SECONDS s"
ls -l "$out"
