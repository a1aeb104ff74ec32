#!/bin/bash
# Trains one size with several kinds of attention side by side on one GPU, with equal data, seeds and steps, in one call that ends in time.
#
#   side_by_side.sh SIZE LENGTH OUT KIND ...
#
# First each kind takes a few steps at every length up to LENGTH, in the fastest way that works there (a compiled step in a CUDA graph;
# without one of the two; without both); a kind that works in no way is left out. From what they took follows how many steps there is
# time for; while that is less than $LEAST, 8000, the last kind is left out, down to three. A call takes $LIMIT seconds, 940, in all;
# $CARD, 0.95, of the card's time is these trainings'. Who falls behind takes as many steps as the time leaves (train.py).
# What it leaves: OUT/KIND.tar.xz, a kind's weights in bf16 with their progress and log; OUT/plan.jsonl, what steps took; OUT/KIND.txt.
# Frontier must be built; $FRONTIER, build/frontier.
set -u
cd "$(dirname "$0")/../../.." || exit 1
size=$1 length=$2 out=$(realpath -m "$3") limit=${LIMIT:-940} least=${LEAST:-8000}
shift 3
recipe=models/frontier-mini/recipe work=build/side-by-side frontier=${FRONTIER:-build/frontier}
mkdir -p $work/data "$out" || exit 1

# Data, beside the rest.

# export_data NAME CONFIG SAMPLES [OPTION ...]
export_data() {
    local name=$1 config=$2 n=$3
    shift 3
    if [ ! -s $work/data/"$name".h5 ]; then
        $frontier tasks export "$config" -n "$n" -o $work/"$name".h5 "$@" >$work/"$name".txt 2>&1 && mv $work/"$name".h5 $work/data/
    fi
}
share=${SHARE:-1} # of the samples; one in so many
files=2
export_data easy-512 $recipe/easy-512.yaml $((40000 / share)) &
exports=$!
export_data easy-1024 $recipe/easy-1024.yaml $((20000 / share)) &
exports+=" $!"
for part in 1 2 3 4; do
    for n in "1024 6000" "2048 5000" "4096 4000" "8192 2500"; do
        [ "${n% *}" -le "$length" ] || continue
        export_data "${n% *}-$part" configs/mini-study.yaml $((${n#* } / share)) --seed $part --set "lengths=[${n% *}]" &
        exports+=" $!" files=$((files + 1))
    done
done

# What works here, and what it takes.

# try KIND: OUT/KIND.way has the options of train.py that work, a line of plan.jsonl what steps took
try() {
    local way
    for way in "" --eager --no-graph "--eager --no-graph"; do
        [ $SECONDS -lt 150 ] || break
        echo "$1: ${way:-compiled, in a graph}" >>"$out/$1".try
        if timeout $((170 - SECONDS > 110 ? 110 : 170 - SECONDS)) python3 $recipe/train.py "$size" --attention "$1" --time "$length" $way ${OPTIONS:-} >"$out/$1".time 2>>"$out/$1".try; then
            echo "$way" >"$out/$1".way
            break
        fi
    done
}
rm -f "$out"/*.way
python3 $recipe/entmax_attention.py ${CHECK:-} >"$out"/kernels.txt 2>&1 &
kernels=$!
tries=
for kind in "$@"; do
    try "$kind" &
    tries+=" $!"
done
wait $kernels
right=$?
cat "$out"/kernels.txt
wait $tries
for kind in "$@"; do
    shift
    if [[ $kind == *entmax* ]] && [ $right != 0 ]; then
        echo "$kind: its kernels are not right here: left out"
    elif [ -e "$out/$kind".way ]; then
        set -- "$@" "$kind"
    else
        echo "$kind: takes no step here, and is left out:"
        tail -n 4 "$out/$kind".try
    fi
done
[ $# -gt 0 ] || exit 1
wait $exports
echo "data: $(ls $work/data | wc -l) of $files files after $SECONDS s"
[ "$(ls $work/data | wc -l)" = $files ] || exit 1

left=$((limit - SECONDS - 75)) # for starting, making graphs and packing
while :; do
    for kind in "$@"; do cat "$out/$kind".time; done >"$out"/plan.jsonl
    steps=$(python3 -c 'import json, sys
print(int(float(sys.argv[3]) * 1000 * float(sys.argv[2]) / sum(json.loads(line)["mean_ms"] for line in open(sys.argv[1]))))' "$out"/plan.jsonl $left "${CARD:-0.95}")
    [ "$steps" -lt "$least" ] && [ $# -gt 3 ] || break
    echo "$* would have $steps steps each: the last is left out"
    set -- "${@:1:$#-1}"
done
cat "$out"/plan.jsonl
echo "$*: $steps steps each, $left s"

tenths=$((left * 10 / 60)) pids=
for kind in "$@"; do
    python3 $recipe/train.py "$size" --attention "$kind" --data $work/data --out $work/"$kind" --steps "$steps" \
        --minutes $((tenths / 10)).$((tenths % 10)) --stop $(((tenths + 8) / 10)).$(((tenths + 8) % 10)) --seed "${SEED:-1}" \
        $(cat "$out/$kind".way) ${OPTIONS:-} >"$out/$kind".txt 2>&1 &
    pids+=" $!"
done
wait $pids
for kind in "$@"; do
    tail -n 3 "$out/$kind".txt
    tail -n 2 $work/"$kind"/log.jsonl
    tar cJf "$out/$kind".tar.xz -C $work "$kind"/model "$kind"/log.jsonl &
done
wait
echo "all after $SECONDS s"
ls -l "$out"
