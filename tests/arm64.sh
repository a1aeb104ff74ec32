#!/bin/bash
# The CPU backend on arm64: cross-built with Debian's libraries of that architecture, then its twins and golden values under
# qemu-user. What is tested is correctness: the generic tiles (no NEON of their own), and the loops of bf16.
#
#   tests/arm64.sh [FOLDER [PERCENT]]      FOLDER: build-arm64; PERCENT of the random cases: 10, some minutes of one core
#
# Needs gcc-aarch64-linux-gnu and qemu-user, and apt-get of a Debian or Ubuntu whose archive has arm64; packages are unpacked into
# FOLDER/root, none is installed. Not part of `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-arm64} percent=${2:-10}
for program in aarch64-linux-gnu-gcc qemu-aarch64 apt-get dpkg-deb; do
    command -v $program >/dev/null || { echo "arm64: $program is missing" >&2; exit 1; }
done
root=$(mkdir -p "$build/root" && cd "$build/root" && pwd)
there=$root/usr/lib/aarch64-linux-gnu

if [ ! -e "$build/unpacked" ]; then
    state=$root/../apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    : >"$state/status"
    apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$state" -o Dir::State::status="$state/status"
         -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=1)
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends --download-only libc6-dev libgomp1 libhdf5-dev libyaml-dev libjansson-dev libonig-dev \
        libpcre2-dev libutf8proc-dev libxxhash-dev libopenblas-dev libcmocka-dev >/dev/null
    for package in "$state"/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    [ -e "$there/pkgconfig/hdf5.pc" ] || ln -s hdf5-serial.pc "$there/pkgconfig/hdf5.pc" # what installing it would do
    [ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
    rm -rf "$state"
    touch "$build/unpacked"
fi

# GCC 12.2 for arm64 dies in its vectorizer on kernels/reference/experts.c.
blas=$(dirname "$(find "$there" -name libopenblas.so -print -quit)")
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$there/pkgconfig:$root/usr/share/pkgconfig
flags="-O2 -g -fno-tree-vectorize -isystem $root/usr/include/aarch64-linux-gnu/${blas##*/}"
links="--sysroot=$root -L$blas -Wl,-rpath-link,$there:$blas:$root/lib/aarch64-linux-gnu" # libc.so is a script, of paths in the root
make -j"$(nproc)" BUILD="$build" CUDA=0 MPI=0 CC="aarch64-linux-gnu-gcc $links" AR=aarch64-linux-gnu-ar CFLAGS="$flags" \
    "$build"/frontier "$build"/tests/test_backends "$build"/tests/test_backend_golden "$build"/tests/test_bf16

run() { echo "== $*"; qemu-aarch64 -L "$root" -E LD_LIBRARY_PATH="/usr/lib/aarch64-linux-gnu/${blas##*/}" "$@"; }
export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=1
run "$build"/frontier --version
run "$build"/tests/test_backend_golden
run "$build"/tests/test_bf16
run "$build"/tests/test_backends cpu "$percent"
run "$build"/tests/test_backends cpu-bf16 "$percent"
echo "arm64: ok"
