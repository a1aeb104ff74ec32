#!/bin/bash
# cmocka (1.1.5, Debian 12): assert_float_equal(NAN, 3, 1e-3) passes: it asks whether the difference is greater than what is
# allowed, which a NaN never is. A mean of which but one number was computed passed a test of each number. Seen on 30 November 2026:
#
#   nan against 3: status 0
#   3 against 3: status 0
#   2.9 against 3: status 1
#
# Needs gcc and libcmocka-dev. Exits 1 if any of it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >nan.c <<'C'
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static float found;
static void equals_3(void **state) { (void)state, assert_float_equal(found, 3, 1e-3); }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_3)};
    found = argc > 1 ? strtof(argv[1], NULL) : 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
C
gcc -o nan nan.c -lcmocka
dpkg-query -W -f 'cmocka ${Version}\n' libcmocka-dev 2>/dev/null || true
for number in nan 3 2.9; do
    status=0
    ./nan $number >/dev/null 2>&1 || status=$?
    echo "$number against 3: status $status"
done | tee seen
printf '%s against 3: status %s\n' nan 0 3 0 2.9 1 | cmp -s - seen || { echo "CHANGED"; exit 1; }
