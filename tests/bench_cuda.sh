#!/bin/bash
# Builds, checks and times the CUDA backend on this machine's GPU. Usage: tests/bench_cuda.sh [output file]
# Needs PyTorch for the peers' rows; without it the ratios read nan.
set -e
cd "$(dirname "$0")/.."
out=${1:-results/bench/cuda.txt}
make -j"$(nproc)" build/tests/test_cuda build/tests/bench_cuda
mkdir -p "$(dirname "$out")"
{
    build/tests/test_cuda | tail -n 3
    ${PYTHON:-python3} tests/bench_cuda_peers.py 2>&1 | tee build/peers.txt || true
    build/tests/bench_cuda build/peers.txt
} | tee "$out"
