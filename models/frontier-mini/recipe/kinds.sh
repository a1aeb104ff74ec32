#!/bin/bash
# Trains kinds of attention side by side on $CARDS (1) GPUs while its data is made on the cores, and looks at what came of each.
#
#   kinds.sh SIZE LENGTH OUT [KIND ...]          by default softmax window entmax15 asentmax moba nsa
#
# 1. make_data.py makes $PARTS (40) parts in $WORK/data (WORK: build/kinds), on all cores but one a kind; what is there is kept. Training begins
#    with the first and waits up to five minutes where it has learned from all that there are; no row is learned from twice.
# 2. side_by_side.sh trains, by NVIDIA's daemon MPS where it is there, in calls that go on where the one before ended; its variables hold here.
# 3. heart: each kind's answers to rows that it learned from beside rows that it did not (heart.py).
# 4. line1: logits and tokens of Frontier's own program beside the recipe's model in PyTorch, on $PROMPTS (twenty) unseen prompts of $AT (768)
#    tokens (tests/peers/trained.py build/, which `make all tests` makes; DEVICES=cpu leaves the reference out).
#
# LOOK=0: 1 and 2 alone. The training first, all of it; 3 and 4 of every kind whose weights are there. What was said is in OUT/KIND.heart and OUT/KIND.line1. Ends with
# status 1 if a kind knows rows by heart, differs, or is not there.
set -u
cd "$(dirname "$0")/../../.." || exit 1
size=$1 length=$2 out=$(realpath -m "$3")
shift 3
[ $# -gt 0 ] || set -- softmax window entmax15 asentmax moba nsa
recipe=models/frontier-mini/recipe python=${PYTHON:-python3} build=${BUILD:-build}
export WORK MPS=${MPS-1} DATA OPTIONS="--wait 5 ${OPTIONS:-}"
WORK=$(realpath -m "${WORK:-build/kinds}") DATA=${DATA:-$WORK/data}
mkdir -p "$WORK" "$out" || exit 1

"$build"/frontier tasks export configs/mini-study.yaml --seed 101 --set "models=[models/frontier-mini/s]" --set "lengths=[${AT:-768}]" -n 4 \
    -o "$out"/prompts.h5 --force >/dev/null || exit 1

cores=$(($(nproc) - $#))
$python $recipe/make_data.py "$DATA" --parts "${PARTS:-40}" --scale "${SCALE:-1}" --jobs $((cores > 1 ? cores : 1)) --frontier "$build"/frontier >"$out"/data.txt 2>&1 &
making=$!
trap 'kill $making 2>/dev/null' EXIT
while [ ! -e "$DATA"/unseen.npz.xz ]; do # which train.py looks for once
    kill -0 $making 2>/dev/null || { cat "$out"/data.txt; exit 1; }
    sleep 1
done
$recipe/side_by_side.sh "$size" "$length" "$out" "$@" || exit 1
[ "${LOOK:-1}" = 1 ] || exit 0

status=0
for kind in "$@"; do
    kind=${kind%%=*} kind=${kind##*+} model=$WORK/$kind/model
    if [ ! -e "$model"/progress.json ]; then
        echo "$kind: no weights in $model"
        status=1
        continue
    fi
    $python $recipe/heart.py "$model" --data "$DATA" ${HEART:-} 2>&1 | tee "$out/$kind".heart
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
done
for kind in "$@"; do
    kind=${kind%%=*} kind=${kind##*+} model=$WORK/$kind/model
    [ -e "$model"/progress.json ] || continue
    $python tests/peers/trained.py "$build" "$out"/prompts.h5 "$kind=$model" 2>&1 | tee "$out/$kind".line1
    [ "${PIPESTATUS[0]}" = 0 ] || { echo "$kind: line1 differs"; status=1; }
done
exit $status
