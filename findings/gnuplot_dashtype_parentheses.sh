#!/bin/bash
# gnuplot 5.4 patchlevel 4 (Debian 12's gnuplot-nox): what stands in parentheses behind `dashtype` is the lengths of dashes and gaps, never an
# expression. `pointtype (i > 8 ? 2 : 1)` and `linewidth (…)` choose by a condition; `dashtype (i > 8 ? 2 : 1)` ends the script: "expecting comma".
# An expression that begins otherwise is one: `dashtype 1 + (i > 8)`, or a function. Seen on 1 December 2026:
#
#   pointtype (i > 8 ? 2 : 1): drawn
#   dashtype (i > 8 ? 2 : 1): expecting comma
#   dashtype 1 + (i > 8): drawn
#
# Needs apt-get on Debian 12 (elsewhere: skipped). Exits 1 if any of it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
grep -q 'VERSION_ID="12"' /etc/os-release || { echo "skipped: not Debian 12"; exit 0; }
needs=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances gnuplot-nox=5.4.4+dfsg1-2+b2 |
    grep -E '^lib' | grep -vE '^(libc6|libgcc-s1|libstdc\+\+6)$' | sort -u)
# shellcheck disable=SC2086
apt-get -qq download gnuplot-nox=5.4.4+dfsg1-2+b2 $needs
for package in ./*.deb; do dpkg -x "$package" root; done
libraries=$(find "$PWD/root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
ok=0
# told WHAT RIGHT: what comes of lines with points drawn so, for i from 7 to 10
told() {
    local seen=drawn
    printf "set terminal svg\nset output 'plot.svg'\nplot for [i = 7:10] i * x with linespoints %s\n" "$1" >plot.gp
    LD_LIBRARY_PATH=$libraries "$(find root -name gnuplot-nox -type f)" plot.gp 2>said.txt || seen=$(sed -n 's/.*: //p' said.txt | tail -n 1)
    echo "$1: $seen"
    [ "$seen" = "$2" ] || { echo "CHANGED: expected $2"; ok=1; }
}
told 'pointtype (i > 8 ? 2 : 1)' drawn
told 'dashtype (i > 8 ? 2 : 1)' 'expecting comma'
told 'dashtype 1 + (i > 8)' drawn
exit $ok
