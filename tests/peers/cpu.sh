#!/bin/bash
# The table of results/bench/cpu.txt on this machine, one set of instructions after the other, under the machine's name; about 4 minutes
# a set on two cores with nothing else running (without PyTorch half a minute less).
#
#   tests/peers/cpu.sh [SET ...]      SET: avx2, avx512, generic (default: avx2 avx512, where the machine has them); cpu-bf16: AMX
#   PYTHON=peers/bin/python LLAMA=peers/bin/python MODEL=models/smollm2-135m BUILD=build CPU=1 REPEAT=7 tests/peers/cpu.sh avx2
#
# Behind each set's output stands its table (cpu_table.py): target, figure, and what limits and what is next where it is missed.
# REPEAT=1 is a rehearsal. PYTHON has torch, LLAMA llama-cpp-python; what is missing is said. llama.cpp has no switch for a set: it runs
# beside the last one, as it was built.
# PyTorch dispatches by what the processor has: held against AVX2 on a processor with AVX-512 it is told ATEN_CPU_CAPABILITY=avx2 and
# MKL's and oneDNN's word for it, and OpenBLAS (the ceiling of layers of many rows) its Zen kernels.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build} core=${CPU:-1} python=${PYTHON:-python3} llama=${LLAMA:-$python} model=${MODEL:-models/smollm2-135m} repeat=${REPEAT:-7}
sets=("$@")
[ ${#sets[@]} -gt 0 ] || sets=(avx2 avx512)
frontier=$build/frontier
some=$(((repeat + 1) / 2))
make -s CUDA=0 "$frontier" "$build/tests/bench_cpu"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
version() { "$1" -c "import $2; print('$2', $2.__version__)" 2>/dev/null || echo "$2: not installed"; }

sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo | head -1
echo "cores: $(nproc); load: $(cut -d' ' -f1 /proc/loadavg); kernel: $(uname -r); commit: $(git describe --always --dirty); $(date -u +%F); repeats: $repeat"
echo "peers: $(version "$python" torch); $(version "$llama" llama_cpp)"
for set in "${sets[@]}"; do
    echo; echo "==== $set"
    if [ "$set" = cpu-bf16 ]; then
        for device in cpu cpu-bf16; do
            "$frontier" bench attention -d $device --tokens 4096,16384 --head-dim 64,128 --heads 16/4 --method dense -r 5
            "$frontier" bench linear -d $device -R 2048 -S 4096x4096 -T F32 -T BF16 -T Q8_0 -T Q4_K -r 5
        done
        continue
    fi
    if ! SF_CPU_ISA=$set "$frontier" bench linear -t 1 -R 1 -S 64x64 -T F32 -r 1 >/dev/null 2>&1; then
        echo "not on this machine"
        continue
    fi
    (
        export SF_CPU_ISA=$set
        if [ "$set" = avx2 ]; then
            export OPENBLAS_CORETYPE=Zen ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2
        fi
        taskset -c "$core" "$build/tests/bench_cpu" "$repeat"
        taskset -c "$core" "$frontier" bench attention --threads 1 --tokens 4096,16384 --head-dim 64,128 --method vertical_slash --method block_sparse -r "$some"
        "$python" tests/peers/cpu.py --frontier "$frontier" --only attention --tokens 8192 --threads 2 --repeat "$some"
        if [ "$set" = "${sets[-1]}" ] && compgen -G "$model*/*.gguf" >/dev/null; then
            for device in cpu cpu-int8; do
                "$llama" tests/peers/cpu.py --frontier "$frontier" --only model --model "$model" --threads 2 --repeat 1 --device "$device"
            done
        fi
    ) | tee "$said"
    echo; tests/peers/cpu_table.py <"$said"
done
