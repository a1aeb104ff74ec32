#!/bin/bash
# gnuplot 5.4 patchlevel 4 (Debian 12's gnuplot-nox) gives a place in the legend to an iteration that has no members: `plot for [i = 1:0] …`
# draws nothing and writes no name, but is counted when the legend's rows and columns are laid out. Three names under `set key maxrows 3`
# stand in one column; with an empty iteration behind them in two, of which a narrow picture shows one. Seen on 30 November 2026:
#
#   three names: 1 column
#   three names and an empty iteration: 2 columns
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

# columns PLOT: in how many places from the left the legend's names begin
columns() {
    cat >plot.gp <<G
set terminal svg
set output 'plot.svg'
set key maxrows 3 bottom center vertical
plot $1
G
    LD_LIBRARY_PATH=$libraries "$(find root -name gnuplot-nox -type f)" plot.gp
    python3 -c 'import re
print(len({x for x, name in re.findall(r"translate\(([\d.]+),[^>]*>\s*<text>(?:<[^>]*>)?(name \d)", open("plot.svg").read())}))'
}
ok=0
names="for [i = 1:3] i with lines title sprintf('name %d', i)"
for case in "three names=1=$names" "three names and an empty iteration=2=$names, for [i = 1:0] 4 with lines title 'name 4'"; do
    IFS='=' read -r what right plot <<<"$case"
    seen=$(columns "$plot")
    echo "$what: $seen column$([ "$seen" = 1 ] || echo s)"
    [ "$seen" = "$right" ] || { echo "CHANGED: expected $right"; ok=1; }
done
exit $ok
