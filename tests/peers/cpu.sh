#!/bin/bash
# The table of results/bench/cpu.txt on this machine, one set of instructions after the other, under the machine's name; about 4 minutes
# a set on two cores with nothing else running (without PyTorch half a minute less).
#
#   tests/peers/cpu.sh [SET ...]      SET: avx2, avx512, generic (default: avx2 avx512, where the machine has them); cpu-bf16: AMX
#   PYTHON=peers/bin/python BUILD=build CPU=1 tests/peers/cpu.sh avx2
#
# PyTorch dispatches by what the processor has: held against AVX2 on a processor with AVX-512 it is told ATEN_CPU_CAPABILITY=avx2 and
# MKL's and oneDNN's word for it, and OpenBLAS (the ceiling of layers of many rows) its Zen kernels.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build} core=${CPU:-1} python=${PYTHON:-python3}
sets=("$@")
[ ${#sets[@]} -gt 0 ] || sets=(avx2 avx512)
frontier=$build/frontier
make -s CUDA=0 "$frontier" "$build/tests/bench_cpu"

sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo | head -1
echo "cores: $(nproc); load: $(cut -d' ' -f1 /proc/loadavg); kernel: $(uname -r); commit: $(git describe --always --dirty); $(date -u +%F)"
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
        taskset -c "$core" "$build/tests/bench_cpu" 7
        taskset -c "$core" "$frontier" bench attention --threads 1 --tokens 4096,16384 --head-dim 64,128 --method dense -r 3
        taskset -c "$core" "$frontier" bench attention --threads 1 --tokens 16384 --method vertical_slash --method block_sparse -r 3
        "$python" tests/peers/cpu.py --frontier "$frontier" --only attention --tokens 8192 --threads 2 --repeat 5
    )
done
