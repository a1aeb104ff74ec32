#!/bin/bash
# What gcc alone understands: the files that are written in vectors and instructions, as clang reads them, with the Makefile's flags.
. "$(dirname "$0")/common.bash"
objects=(kernels/cpu/*.c)
objects=("${objects[@]/#/$T/build/}")
tried=
for clang in clang clang-{14,15,16,17,18,19,20}; do
    "$clang" -fopenmp -fsyntax-only -x c - <<<'#include <omp.h>' 2>/dev/null || continue
    make CC="$clang" CUDA=0 WERROR=1 CFLAGS=-fsyntax-only BUILD="$T/build" "${objects[@]/%.c/.o}" >/dev/null 2>"$T/log" ||
        fail "$clang: $(grep -m 3 'error' "$T/log")"
    tried+=" $clang"
done
[ -n "$tried" ] || echo "skipped: no clang with OpenMP"
