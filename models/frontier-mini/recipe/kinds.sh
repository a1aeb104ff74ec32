#!/bin/bash
# Trains kinds of attention side by side on $CARDS (1) GPUs while its data is made on the cores, and looks at what came of each.
#
#   kinds.sh SIZE LENGTH OUT [KIND ...]          by default softmax window entmax15 asentmax moba nsa
#
# 1. make_data.py makes $PARTS (40) parts in $WORK/data (WORK: build/kinds), on all cores but one a kind; what is there is kept. Training begins
#    with the first and waits up to five minutes where it has learned from all that there are; no row is learned from twice.
# 2. side_by_side.sh trains, by NVIDIA's daemon MPS where it is there, in calls that go on where the one before ended; its variables hold here.
# 3. frontier: on $DEVICE (cuda; cuda:0,0,0,0: four workers), the scores of each kind, with the model $START beside if that is set: dense at 1k to 8k,
#    $DENSE (100) samples; configs/trained-frontier.yaml, $SAMPLES (50); beyond, at 16k and 32k, $BEYOND (25). Other lengths: DENSE_AT,
#    AT and BEYOND_AT='[2048, 4096]'. OUT/*.h5, and tables of them (tests/peers/trained_table.py).
# 4. heart: each kind's answers to rows that it learned from beside rows that it did not (heart.py).
# 5. line1: logits and tokens of Frontier's own program beside the recipe's model in PyTorch, on twenty unseen prompts of 768
#    tokens (tests/peers/trained.py build/, which `make all tests` makes; DEVICES=cpu leaves the reference out).
#
# LOOK='frontier heart line1' says which of 3 to 5, of every kind whose weights are there; TRAIN=0: these alone. What was said is in OUT/KIND.heart and
# OUT/KIND.line1. Ends with status 1 if a sweep fails, or a kind knows rows by heart, differs, or is not there.
set -u
cd "$(dirname "$0")/../../.." || exit 1
size=$1 length=$2 out=$(realpath -m "$3")
shift 3
[ $# -gt 0 ] || set -- softmax window entmax15 asentmax moba nsa
recipe=models/frontier-mini/recipe python=${PYTHON:-python3} build=${BUILD:-build}
export WORK MPS=${MPS-1} DATA OPTIONS="--wait 5 ${OPTIONS:-}"
WORK=$(realpath -m "${WORK:-build/kinds}") DATA=${DATA:-$WORK/data}
mkdir -p "$WORK" "$out" || exit 1

"$build"/frontier tasks export configs/mini-study.yaml --seed 101 --set "models=[models/frontier-mini/s]" --set "lengths=[768]" -n 4 \
    -o "$out"/prompts.h5 --force >/dev/null || exit 1

if [ "${TRAIN:-1}" = 1 ]; then
    cores=$(($(nproc) - $#))
    $python $recipe/make_data.py "$DATA" --parts "${PARTS:-40}" --scale "${SCALE:-1}" --jobs $((cores > 1 ? cores : 1)) --frontier "$build"/frontier >"$out"/data.txt 2>&1 &
    making=$!
    trap 'kill $making 2>/dev/null' EXIT
    while [ ! -e "$DATA"/unseen.npz.xz ]; do # which train.py looks for once
        kill -0 $making 2>/dev/null || { cat "$out"/data.txt; exit 1; }
        sleep 1
    done
    $recipe/side_by_side.sh "$size" "$length" "$out" "$@" || exit 1
fi

looks() { [[ " ${LOOK-frontier heart line1} " == *" $1 "* ]]; }

status=0 ready=
for kind in "$@"; do
    kind=${kind%%=*} kind=${kind##*+}
    if [ -e "$WORK/$kind"/model/progress.json ]; then
        ready+=" $kind"
    else
        echo "$kind: no weights in $WORK/$kind/model"
        status=1
    fi
done

if looks frontier; then
    config=$WORK/trained-frontier.yaml # of the kinds that are there, and their weights where it looks for them
    while IFS= read -r line; do
        kind=${line#*build/trained/} kind=${kind%%,*}
        [[ $line != *"{path: build/trained/"* ]] || [[ " $ready " == *" $kind "* ]] || continue
        printf '%s\n' "$line"
    done <configs/trained-frontier.yaml >"$config"
    for kind in $ready; do
        mkdir -p build/trained/$kind
        cp "$WORK/$kind"/model/* models/frontier-mini/s/{tokenizer,tokenizer_config,special_tokens_map}.json build/trained/$kind/ || exit 1
    done
    beside=$config # with the model that all began with
    if [ -n "${START:-}" ]; then
        beside=$WORK/beside.yaml
        sed "s#^models:.*#&\n  - {path: $START, label: $(basename "$START")}#" "$config" >"$beside"
    fi
    sweep() { # NAME CONFIG OPTION ...
        local name=$1
        shift
        "$build"/frontier run "$@" --device "$DEVICE" --set picture=none --out "$out/$name".h5 >"$out/$name".txt 2>&1 || { tail -n 3 "$out/$name".txt; status=1; }
        "$build"/frontier export "$out/$name".h5 --csv | $python tests/peers/trained_table.py >"$out/$name".table && cat "$out/$name".table
    }
    mps= # several workers of one card
    if [[ ${DEVICE:=cuda} == *,* ]] && command -v nvidia-cuda-mps-control >/dev/null; then
        mps=1 CUDA_MPS_PIPE_DIRECTORY=$WORK/mps CUDA_MPS_LOG_DIRECTORY=$WORK/mps
        export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
        mkdir -p "$WORK"/mps && nvidia-cuda-mps-control -d
        trap 'echo quit | nvidia-cuda-mps-control' EXIT
    fi
    alone=(--set methods={} --set sparsity=[])
    sweep dense "$beside" "${alone[@]}" --set "lengths=${DENSE_AT:-[1024, 2048, 4096, 8192]}" --set samples="${DENSE:-100}"
    sweep frontier "$config" --set samples="${SAMPLES:-50}" ${AT:+--set "lengths=$AT"}
    sweep beyond "$beside" "${alone[@]}" --set "lengths=${BEYOND_AT:-[16384, 32640]}" --set samples="${BEYOND:-25}"
    [ -z "$mps" ] || { trap - EXIT; echo quit | nvidia-cuda-mps-control; unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY; }
fi

# heart KIND and line1 KIND, each into a file of its own
heart() { $python $recipe/heart.py "$WORK/$1"/model --data "$DATA" ${HEART:-} >"$out/$1".heart 2>&1 || echo "$1: knows rows by heart, or could not be asked"; }
line1() {
    $python tests/peers/trained.py "$build" "$out"/prompts.h5 "$1=$WORK/$1"/model >"$out/$1".line1 2>&1 || echo "$1: differs from its model in PyTorch, or could not be held to it"
}
for look in heart line1; do
    looks $look || continue
    for kind in $ready; do
        said=$($look "$kind")
        cat "$out/$kind.$look"
        [ -z "$said" ] || { echo "$said"; status=1; }
    done
done
exit $status
