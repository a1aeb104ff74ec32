#!/bin/bash
# Trains one size with several kinds of attention side by side on the GPUs of one machine, with equal data and stages, in as many calls as it takes.
#
#   side_by_side.sh SIZE LENGTH OUT KIND ...        KIND=FOLDER: that model's weights are polished (train.py); FIRST+KIND=FOLDER: first as FIRST
#                                                   (dsa_warm+dsa=models/frontier-mini/m), for an eighth of the steps
#
# Three parts; a call goes on where an earlier one ended, on this machine by what is in $WORK (build/side-by-side), elsewhere by an earlier
# call's KIND.tar.xz and *.plan in the folder $FROM:
#
# 1. Each kind takes a few steps at every length up to LENGTH, in the fastest way that works there (a compiled step in a CUDA graph; without
#    one of the two; without both); a kind that works in no way is left out. The kernels are held against plain PyTorch.
# 2. The warm-up, once, by softmax: $SEEDS (3) seeds race until one has mastered it. Every kind that is not polished begins with its weights (train.py
#    --begin): one that computes in rows so short what softmax does is behind the warm-up then, another goes through its stages as it attends
#    itself, until it has mastered them. Kinds named in $ALONE learn it from nothing, $SEEDS seeds of each. Who has not mastered it within
#    $PATIENCE (12000) steps and $WARM (300) seconds says so and is left out. With $START, the folder of a trained softmax model, there is no warm-up:
#    every kind begins with that model's weights (train.py --begin) and goes through the stages behind the warm-up, softmax too; FIRST+KIND
#    as FIRST before, for an eighth of the steps.
# 3. The training: as many steps as there is time for, as many for each, or $POLISH (.4) of them where weights are polished; what steps took in
#    part 1 says how many. While that is less than $LEAST (8000) the last kind is left out, down to three. Who falls behind takes as many as the
#    time leaves (train.py).
#
# $CARDS (1) GPUs, those of CUDA_VISIBLE_DEVICES if that is set: part 3 deals the kinds to them by what their steps took, so that all end together; with
# several, the warm-up has the first to itself in part 1.
# A call takes $LIMIT (940) seconds in all, the whole $TOTAL (LIMIT), of each card; the plan is for the whole. $CARD (0.95) of a card's time is these
# trainings'; MPS=1: through NVIDIA's daemon that lets processes compute at once, one a card, where it is there and works (more than the whole,
# then: CARD is 1.1).
# Data: the folder $DATA (make_data.py), made here if there is none, $PARTS (20) parts: a kind that has learned from all of it says so and ends. What
# a call leaves: OUT/KIND.tar.xz, weights in bf16 with their progress and log; OUT/plan.jsonl, what steps took; OUT/KIND.txt, what was printed;
# OUT/*.plan for $FROM.
set -u
cd "$(dirname "$0")/../../.." || exit 1
size=$1 length=$2 out=$(realpath -m "$3") limit=${LIMIT:-940} least=${LEAST:-8000} total=${TOTAL:-${LIMIT:-940}} warm=${WARM:-300}
shift 3
recipe=models/frontier-mini/recipe work=$(realpath -m "${WORK:-build/side-by-side}") python=${PYTHON:-python3} cards=${CARDS:-1}
from=${FROM:-/nowhere} begin=${START:-}
mkdir -p "$work" "$out" || exit 1
data=${DATA:-$work/data}
[ -n "${DATA:-}" ] || $python $recipe/make_data.py "$data" --frontier "${FRONTIER:-build/frontier}" --parts "${PARTS:-20}" || exit 1
spent=$(cat "$work"/spent 2>/dev/null || cat "$from"/spent.plan 2>/dev/null || echo 0) # seconds of earlier calls
left() { local s=$((limit - SECONDS - 25)); echo $((s > 1 ? s : 1)); } # for packing
least_of() { echo $(($1 < $2 ? $1 : $2)); }

IFS=, read -r -a devices <<<"${CUDA_VISIBLE_DEVICES:-$(seq -s, 0 $((cards - 1)))}"
[ ${#devices[@]} -ge "$cards" ] || { echo "CARDS=$cards: CUDA_VISIBLE_DEVICES names ${#devices[@]}"; exit 1; }
mps=
# on CARD COMMAND …
on() {
    local card=$1
    shift
    if [ -n "$mps" ]; then # whose daemon sees that card alone
        CUDA_VISIBLE_DEVICES=0 CUDA_MPS_PIPE_DIRECTORY=$work/mps$card CUDA_MPS_LOG_DIRECTORY=$work/mps$card "$@"
    else
        CUDA_VISIBLE_DEVICES=${devices[card]} "$@"
    fi
}
end_mps() { for ((c = 0; c < cards; c++)); do echo quit | CUDA_MPS_PIPE_DIRECTORY=$work/mps$c nvidia-cuda-mps-control; done >/dev/null 2>&1; }
if [ -n "${MPS:-}" ] && command -v nvidia-cuda-mps-control >/dev/null; then
    mps=1
    trap end_mps EXIT
    for ((c = 0; c < cards; c++)); do
        mkdir -p "$work"/mps$c
        CUDA_VISIBLE_DEVICES=${devices[c]} CUDA_MPS_PIPE_DIRECTORY=$work/mps$c CUDA_MPS_LOG_DIRECTORY=$work/mps$c nvidia-cuda-mps-control -d
        on $c timeout 60 $python -c 'import torch; torch.zeros(1, device="cuda")' 2>"$out"/mps$c.txt || mps=
        [ -n "$mps" ] || break
    done
    [ -n "$mps" ] || { echo "MPS does not work here: $(tail -n 1 "$out"/mps$c.txt)"; end_mps; trap - EXIT; }
fi
export TORCHINDUCTOR_COMPILE_THREADS=${TORCHINDUCTOR_COMPILE_THREADS:-4} CARD=${CARD:-$([ -n "$mps" ] && echo 1.1 || echo 0.95)}

declare -A start first
kinds=
for kind in "$@"; do
    name=${kind%%=*}
    [ "$name" = "$kind" ] || start[${name##*+}]=${kind#*=}
    [[ $name != *+* ]] || first[${name##*+}]=${name%%+*}
    kinds+=" ${name##*+}"
    for one in ${name//+/ }; do
        if [ ! -d "$work/$one" ] && [ -s "$from/$one.tar.xz" ]; then
            tar xJf "$from/$one.tar.xz" -C "$work" && echo "$one: goes on from $from/$one.tar.xz"
        fi
        for file in "$one".way "$one".time "$one".done; do
            [ -e "$work/$file" ] || [ ! -e "$from/$file.plan" ] || cp "$from/$file.plan" "$work/$file"
        done
    done
done
[ -e "$work"/steps ] || [ ! -e "$from"/steps.plan ] || cp "$from"/steps.plan "$work"/steps

# train CARD KIND OUT OPTION …
train() {
    local card=$1 kind=$2 to=$3
    shift 3
    on "$card" $python $recipe/train.py "$size" --attention "$kind" --out "$work/$to" --seed "${SEED:-1}" --patience "${PATIENCE:-12000}" \
        ${OPTIONS:-} "$@" 2>&1 | tee -a "$out/$to".txt
    return ${PIPESTATUS[0]}
}
minutes() { echo $(($1 / 60)).$(printf %03d $(($1 % 60 * 1000 / 60))); }

# mastered OUT: whether its warm-up is behind it
mastered() { $python -c 'import json, sys
sys.exit(json.load(open(sys.argv[1]))["base"] is None)' "$work/$1"/model/progress.json 2>/dev/null; }

# The shared warm-up, on the first card; not compiled, as what follows it until it is mastered: it is over before compiling would have paid.
shared=
for kind in $kinds; do
    [ -n "$begin${start[$kind]:-}" ] || [[ " ${ALONE:-} " == *" $kind "* ]] || [ -s "$work"/steps ] || mastered "$kind" || shared=1
done
warm_up() { train 0 softmax warm --eager --seeds "${SEEDS:-3}" --until-mastered --stop "$(minutes "$(least_of "$warm" "$(left)")")"; }
warming=
if [ -n "$shared" ] && [ "$cards" -gt 1 ] && ! mastered warm; then
    warm_up &
    warming=$!
fi

# 1. What works here, and what it takes.

# try CARD KIND OPTION …: KIND.way has the options of train.py that work, KIND.time what steps took
try() {
    local card=$1 kind=$2 way
    shift 2
    for way in "" --eager --no-graph "--eager --no-graph"; do
        [ $SECONDS -lt 150 ] || break
        echo "$kind: ${way:-compiled, in a graph}" >>"$out/$kind".try
        if on "$card" timeout $((170 - SECONDS > 110 ? 110 : 170 - SECONDS)) $python $recipe/train.py "$size" --attention "$kind" --time "$length" $way "$@" ${OPTIONS:-} \
            >"$work/$kind".time.new 2>>"$out/$kind".try; then
            echo "$way" >"$work/$kind".way
            mv "$work/$kind".time.new "$work/$kind".time
            break
        fi
    done
}
kernels= tries= turn=0
if [ ! -s "$work"/steps ]; then # beside parts 1 and 2
    on $((cards - 1)) $python $recipe/entmax_attention.py >"$out"/kernels.txt 2>&1 &
    kernels=$!
    on $((cards - 1)) $python $recipe/chosen_attention.py >"$out"/chosen.txt 2>&1 &
    chosen=$!
fi
for kind in $kinds; do
    for one in ${first[$kind]:-} $kind; do
        [ -e "$work/$one".way ] && continue
        card=$((warming ? 1 + turn++ % (cards - 1) : turn++ % cards))
        try $card "$one" ${start[$kind]:+--polish ${start[$kind]}} &
        tries+=" $!"
    done
done
[ -z "$tries" ] || wait $tries
able=
for kind in $kinds; do
    for one in ${first[$kind]:-} $kind; do
        if [ ! -e "$work/$one".way ]; then
            echo "$one: takes no step here; $kind is left out:"
            tail -n 4 "$out/$one".try
            continue 2
        fi
    done
    able+=" $kind"
done
[ -n "$able" ] || exit 1
echo "part 1 after $SECONDS s:$able"

# 2. The warm-up.

pids=
for kind in ${ALONE:-}; do
    [[ " $able " == *" $kind "* ]] || continue
    [ -s "$work"/steps ] || mastered "$kind" || { train $((cards - 1)) "$kind" "$kind" --seeds "${SEEDS:-3}" $(cat "$work/$kind".way) --until-mastered \
        --stop "$(minutes "$(least_of "$warm" "$(left)")")" & pids+=" $!"; }
done
if [ -n "$shared" ]; then
    if [ -n "$warming" ]; then wait $warming; elif ! mastered warm; then warm_up; fi
    mastered warm || { echo "softmax has not mastered the warm-up, and no kind begins"; exit 1; }
    echo "the warm-up after $SECONDS s"
    turn=0
    for kind in $able; do
        [ -n "${start[$kind]:-}" ] || [[ " ${ALONE:-} " == *" $kind "* ]] || mastered "$kind" || {
            train $((turn++ % cards)) "$kind" "$kind" --eager $(cat "$work/$kind".way) --begin "$work"/warm --until-mastered \
                --stop "$(minutes "$(least_of "$warm" "$(left)")")" & pids+=" $!"; }
    done
fi
[ -z "$pids" ] || wait $pids
wrong=
if [ -n "$kernels" ]; then
    wait $kernels || wrong+=" entmax15 asentmax"
    wait $chosen || wrong+=" window moba dms sparsek spattention nsa dsa"
    tail -n 2 "$out"/kernels.txt "$out"/chosen.txt
fi
ready=
for kind in $able; do
    if [[ " $wrong " == *" $kind "* ]]; then
        echo "$kind: its kernels are not right here: left out"
    elif [ -n "$begin${start[$kind]:-}" ] || mastered "$kind"; then ready+=" $kind"; else echo "$kind: has not mastered the warm-up, and is left out"; fi
done
echo "part 2 after $SECONDS s:$ready"

# 3. The training.

# plan SECONDS KIND …: steps of each in that time, dealt to cards: the dearest first, each to the card that has least
plan() {
    local time=$1
    shift
    for kind in "$@"; do
        for one in ${first[$kind]:-} $kind; do
            echo "$kind $one ${start[$kind]:+polished} $(cat "$work/$one".time)"
        done
    done | $python -c 'import json, sys
seconds, card, cards, polish = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
share, cost = {}, {}
for line in sys.stdin:
    said, found = line.split("{", 1)
    kind, one, *polished = said.split()
    share[kind] = polish if polished else 1.0
    cost[kind] = cost.get(kind, 0) + share[kind] * json.loads("{" + found)["mean_ms"] * (1 if one == kind else 1 / 8)
load, dealt = [0.0] * cards, {}
for kind in sorted(cost, key=cost.get, reverse=True):
    dealt[kind] = load.index(min(load))
    load[dealt[kind]] += cost[kind]
steps = int(card * 1000 * seconds / max(load))
print(steps, int(seconds))
for kind in cost:
    print(kind, dealt[kind], int(steps * share[kind]))' "$time" "$CARD" "$cards" "${POLISH:-.4}"
}
if [ -n "$ready" ] && [ ! -s "$work"/steps ]; then
    time=$((total - spent - SECONDS - 45))
    set -- $ready
    while [ $time -ge 20 ]; do
        for kind in "$@"; do cat "$work/$kind".time; done >"$work"/plan.jsonl
        plan $time "$@" >"$work"/steps.new || exit 1
        read -r steps _ <"$work"/steps.new
        [ "$steps" -lt "$least" ] && [ $# -gt 3 ] || break
        echo "$* would have $steps steps each: the last is left out"
        set -- "${@:1:$#-1}"
    done
    if [ $time -ge 20 ]; then
        mv "$work"/steps.new "$work"/steps
    else
        echo "the warm-up took the time: call again with a larger TOTAL than $total"
    fi
fi
if [ -n "$ready" ] && [ -s "$work"/steps ]; then
    pids= ready=
    {
        read -r steps time
        echo "$steps steps each, $time s; kind, card, steps:"
        while read -r kind card steps; do
            echo "  $kind $card $steps"
            ready+=" $kind"
            {
                model=${start[$kind]:-$begin} one=${first[$kind]:-} how=--polish
                [ -n "${start[$kind]:-}" ] || how=--begin
                if [ -n "$one" ] && [ ! -e "$work/$one".done ]; then
                    train "$card" "$one" "$one" --data "$data" --polish "$model" $(cat "$work/$one".way) --steps $((steps / 8)) --minutes "$(minutes $((time / 4)))" \
                        --stop "$(minutes "$(left)")" && grep -q '"done": true' "$work/$one"/log.jsonl && touch "$work/$one".done
                fi
                [ -z "$one" ] || model=$work/$one/model
                if [ -z "$one" ] || [ -e "$work/$one".done ]; then
                    train "$card" "$kind" "$kind" --data "$data" ${model:+$how "$model"} $(cat "$work/$kind".way) --steps "$steps" \
                        --minutes "$(minutes "$time")" --stop "$(minutes "$(left)")"
                fi
            } </dev/null &
            pids+=" $!"
        done
    } <"$work"/steps
    wait $pids
fi
echo $((spent + SECONDS)) >"$work"/spent
cp "$work"/plan.jsonl "$out"/ 2>/dev/null
for file in "$work"/{*.way,*.time,*.done,steps,spent}; do
    [ -e "$file" ] && cp "$file" "$out/$(basename "$file")".plan
done
for kind in $able; do
    [ -d "$work/$kind"/model ] || kind=${first[$kind]:-$kind}
    [ -d "$work/$kind"/model ] || continue
    tail -n 1 "$work/$kind"/log.jsonl
    tar cJf "$out/$kind".tar.xz -C "$work" "$kind"/model "$kind"/log.jsonl &
done
wait
echo "all after $SECONDS s"
ls -l "$out"
