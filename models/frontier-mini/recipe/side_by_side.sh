#!/bin/bash
# Trains one size with several kinds of attention side by side on one GPU, in a call that ends in time; the next goes on from it.
#
#   side_by_side.sh SIZE MINUTES OUT KIND ...
#
# MINUTES: of a whole training, over all calls. A call takes $LIMIT seconds, 560, in all. What it leaves: OUT/KIND.tar.xz, a kind's weights
# in bf16 with their progress and log, some 9 MiB for m. Go on: data and checkpoints are kept in build/side-by-side; on another machine
# put the archives into .side/ first. Frontier must be built, as build/frontier.
set -u
cd "$(dirname "$0")/../../.." || exit 1
size=$1 minutes=$2 out=$3 limit=${LIMIT:-560}
shift 3
recipe=models/frontier-mini/recipe work=build/side-by-side
mkdir -p $work "$out" || exit 1

if ! python3 $recipe/entmax_attention.py; then
    for kind in "$@"; do
        shift
        [[ $kind == *entmax* ]] || set -- "$@" "$kind"
    done
    echo "its kernels are not right here: left out; ${*:-nothing} is trained"
    [ $# -gt 0 ] || exit 1
fi

# export_data NAME CONFIG SAMPLES [OPTION ...]
export_data() {
    local name=$1 config=$2 n=$3
    shift 3
    if [ ! -s $work/data/"$name".h5 ]; then
        build/frontier tasks export "$config" -n "$n" -o $work/"$name".h5 "$@" >$work/"$name".txt 2>&1 && mv $work/"$name".h5 $work/data/
    fi
}
mkdir -p $work/data
share=${SHARE:-1} # of the samples; one in so many
export_data easy-512 $recipe/easy-512.yaml $((40000 / share)) &
export_data easy-1024 $recipe/easy-1024.yaml $((20000 / share)) &
for part in 1 2 3 4; do
    for n in "1024 6000" "2048 5000" "4096 4000" "8192 2500"; do
        set -- $n "$@"
        export_data "$1-$part" configs/mini-study.yaml $(($2 / share)) --seed $part --set "lengths=[$1]" &
        shift 2
    done
done
wait
echo "data: $(ls $work/data | wc -l) of 18 files after $SECONDS s"
[ "$(ls $work/data | wc -l)" = 18 ] || exit 1

left=$(((limit - SECONDS - 35) * 10 / 60)) # tenths of a minute; what is left is for starting and packing
for kind in "$@"; do
    [ -d $work/"$kind" ] || { mkdir $work/"$kind" && [ ! -s .side/"$kind".tar.xz ] || tar xJf .side/"$kind".tar.xz -C $work; }
    python3 $recipe/train.py "$size" --attention "$kind" --data $work/data --out $work/"$kind" --minutes "$minutes" \
        --stop $((left / 10)).$((left % 10)) --seed 2 ${OPTIONS:-} >$work/"$kind".txt 2>&1 &
done
wait
for kind in "$@"; do
    tail -n 3 $work/"$kind".txt
    tail -n 2 $work/"$kind"/log.jsonl
    tar cJf "$out/$kind".tar.xz -C $work "$kind"/model "$kind"/log.jsonl &
done
wait
ls -l "$out"
