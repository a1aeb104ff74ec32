#!/bin/bash
# GCC 12 (Debian 12: 12.2.0-14+deb12u1) lets `#pragma GCC target("avx2")` define __AVX2__ when it compiles a file, but not when
# it only preprocesses it. A file that says what it is compiled for by that pragma, and asks with #ifdef __AVX2__, so becomes
# another program wherever its preprocessed text is compiled, or looked at: `gcc -E`, -save-temps, distcc. ccache (Debian's
# 4.7.5) takes that text for what was compiled, so that a change inside of #ifdef __AVX2__ does not count: the object from
# before the change comes back, without a word. GCC 14 defines it for both. So instruction sets are given by flags (-mavx2).
# Seen on 30 November 2026:
#
#   compiled: avx2; preprocessed, then compiled: plain; by ccache, after a change from 1 to 2: 1
#
# Needs gcc 12 and apt-get on Debian 12, x86-64 (elsewhere: skipped). Exits 1 if any of it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
grep -q 'VERSION_ID="12"' /etc/os-release && [ "$(gcc -dumpversion)" = 12 ] && [ "$(uname -m)" = x86_64 ] ||
    { echo "skipped: not GCC 12 of Debian 12 on x86-64"; exit 0; }
apt-get -qq download ccache=4.8+really4.7.5-1 libhiredis0.14=0.14.1-3
for package in ./*.deb; do dpkg -x "$package" root; done

# source NUMBER: what AVX2's branch says
source() {
    cat >x.c <<C
#pragma GCC target("avx2")
#ifdef __AVX2__
const char *compiled_for = "avx2";
int number = $1;
#else
const char *compiled_for = "plain";
int number = 0;
#endif
C
}
cat >main.c <<'C'
#include <stdio.h>
#include <string.h>
extern const char *compiled_for;
extern int number;

int main(int n, char **word)
{
    return printf(n > 1 && strcmp(word[1], "number") == 0 ? "%2$d" : "%1$s", compiled_for, number) < 0;
}
C
source 1
gcc -c x.c && gcc -o whole main.c x.o
gcc -E x.c -o y.i && gcc -c y.i && gcc -o parts main.c y.o
export CCACHE_DIR=$PWD/cache CCACHE_NODIRECT=1 LD_LIBRARY_PATH=$PWD/root/usr/lib/x86_64-linux-gnu
root/usr/bin/ccache gcc -c x.c
source 2
root/usr/bin/ccache gcc -c x.c
gcc -o cached main.c x.o
seen="compiled: $(./whole); preprocessed, then compiled: $(./parts); by ccache, after a change from 1 to 2: $(./cached number)"
echo "$seen"
[ "$seen" = "compiled: avx2; preprocessed, then compiled: plain; by ccache, after a change from 1 to 2: 1" ] || { echo CHANGED; exit 1; }
