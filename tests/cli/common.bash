# Shared by the scripts here: a scratch folder, a tiny sweep, and comparing results. Runs in the repository's root.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${FRONTIER:=$PWD/build/frontier}"
[ -e "${FRONTIER%/*}/kernels/cuda/backend.cu.o" ] || export CUDA=0 # what `make` is asked for here is what was built
T=$(mktemp -d)
trap 'cleanup 2>/dev/null || true; rm -rf "$T"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

# A sweep that takes about a second: a random two-layer model, two tasks, five variants.
tiny() {
    cat >"$T/tiny.yaml" <<EOF
name: tiny
models:   [${1:-tests/golden/model/qwen2}]
tasks:    [niah: {queries: 1, key_groups: 1, value_groups: 1, group_length: 4, density: 0}, vt: {chains: 1, hops: 1}]
lengths:  [1100]
sparsity: [0.5, 0.9]
methods:  {prefill: [vertical_slash], decode: [quest]}
samples:  3
output:   6
answer:   direct
EOF
}

# rows FILE [SCRATCH]: everything of a results file that a second run must give again: all but times.
rows() {
    local all=${2:-$T/rows}
    "$FRONTIER" export "$1" --jsonl >"$all" || fail "export of $1"
    sed -E 's/"[a-z_]*seconds[a-z_]*": ?[^,}]*,?//g' "$all" | sort
}

# leaving COMMAND...: a plug-in in it ends its process by exit(); what others hold then is given back by nobody, which
# LeakSanitizer would tell by another status.
leaving() { ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 "$@"; }

# refused PATTERN COMMAND...: fails cleanly (status 1, no crash), with one error line that matches.
refused() {
    local pattern=$1 status=0
    shift
    "$@" >"$T/out" 2>"$T/err" || status=$?
    [ $status = 1 ] || fail "status $status, expected 1: $*: $(cat "$T/err")"
    grep -qE -- "$pattern" "$T/err" || fail "no '$pattern' in: $(cat "$T/err") ($*)"
    [ "$(grep -c '^frontier: error' "$T/err")" = 1 ] || fail "not one error line: $(cat "$T/err") ($*)"
}

# installed FOLDER [MAKE_WORD...]: installs what is built there; the program is not linked for it, since other tests use that.
installed() {
    local build
    build=$(dirname "$FRONTIER")
    make -s install PREFIX="$1" "${@:2}" BUILD="$build" -o "$build/libfrontier.a" -o "$build/harness/cli/main.o" >"$T/log" 2>&1 || fail "install: $(cat "$T/log")"
}

pause() { read -r -t "${1:-0.05}" <> <(:) || true; }
# await_parts N FILE PID: until more than N parts of a run into FILE lie there, or the process is over.
await_parts() { while [ "$(ls "$2.parts" 2>/dev/null | wc -l)" -le "$1" ] && kill -0 "$3" 2>/dev/null; do pause; done; }
# The processes that one has begun. Others end while they are listed, which awk would not bear.
children() { cat /proc/[0-9]*/stat 2>/dev/null | awk -v parent="$1" '$4 == parent { print $1 }' | sort -n; }

# Ends the script, with a line, where there is no MPI; else lets mpirun start more processes than there are cores, also as
# root.
needs_mpi() {
    "$FRONTIER" version | grep -q '"mpi": "none"' && { echo "skipped: built without MPI"; exit 0; }
    command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
}
