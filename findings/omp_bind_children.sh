#!/bin/bash
# Under OMP_PROC_BIND, which clusters set so that threads stay on their cores, importing scikit-learn binds the Python process to
# one core: libgomp, which comes with it, puts the first thread on its place when it is loaded, before any parallel region. What
# the process starts from then on (subprocess, exec) inherits that one core as all there is: `nproc` says 1, and a program of many
# threads runs them all there. libgomp's own threads are not hurt, so that the importing process shows nothing.
#
# Seen with scikit-learn 1.7.2 on 30 November 2026, two cores:
#
#     before the import   cores 2   a child's 2
#     after it            cores 1   a child's 1
#
# Needs two cores or more. Exits with 0 while this is so.
set -eu
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
[ "$(nproc)" -gt 1 ] || { echo "one core: nothing to see"; exit 1; }
python3 -m pip install -q --target "$T/packages" scikit-learn==1.7.2
OMP_PROC_BIND=true PYTHONPATH=$T/packages python3 - <<'EOF'
import os
import subprocess
import sys


def look(when):
    mine, child = len(os.sched_getaffinity(0)), int(subprocess.run(["nproc"], capture_output=True, text=True).stdout)
    print(f"{when:19} cores {mine}   a child's {child}")
    return mine, child


before = look("before the import")
import sklearn.utils  # noqa: E402

after = look("after it")
sys.exit(not (before[0] > 1 and before[1] > 1 and after == (1, 1)))
EOF
