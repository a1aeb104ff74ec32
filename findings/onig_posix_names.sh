#!/bin/bash
# Debian 12's Oniguruma (libonig5 6.9.8-1) exports regcomp, regexec, regfree and regerror under just these names. A program
# that is linked with -lonig, and includes the C library's <regex.h>, calls Oniguruma's at run time, since -lonig stands
# before the C library; so does every plug-in that it loads. Nothing warns. The flags mean something else there
# (REG_EXTENDED of the C library is Oniguruma's REG_ICASE), so that an alternative is ordinary text and nothing matches.
# With -lc in front of -lonig the C library's names win. Seen on 29 November 2026:
#
#   linked with -lonig: a|b in "b": no match
#   linked with -lc -lonig: a|b in "b": match
#
# Needs gcc and apt-get on Debian 12 (elsewhere: skipped). Exits 1 if any of it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
grep -q 'VERSION_ID="12"' /etc/os-release || { echo "skipped: not Debian 12"; exit 0; }
apt-get -qq download libonig5=6.9.8-1 libonig-dev=6.9.8-1
for package in ./*.deb; do dpkg -x "$package" root; done
lib=$(dirname "$(find root -name libonig.so)")
cat >match.c <<'C'
#include <regex.h>
#include <stdio.h>

int main(void)
{
    regex_t words;
    if (regcomp(&words, "a|b", REG_EXTENDED)) return puts("does not compile"), 1;
    puts(regexec(&words, "b", 0, NULL, 0) ? "no match" : "match");
    return 0;
}
C
ok=0
for order in "-lonig" "-lc -lonig"; do
    # shellcheck disable=SC2086
    gcc -o match match.c -L"$lib" -Wl,-rpath,"$PWD/$lib" -Wl,--no-as-needed $order
    seen=$(./match) right="match"
    [ "$order" = "-lc -lonig" ] || right="no match"
    echo "linked with $order: a|b in \"b\": $seen"
    [ "$seen" = "$right" ] || { echo "CHANGED: expected $right"; ok=1; }
done
exit $ok
