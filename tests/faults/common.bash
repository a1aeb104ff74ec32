# Shared by the drivers here: the sweep whose every step is made to fail, and which of the places to try.
. "$(dirname "${BASH_SOURCE[0]}")/../cli/common.bash"
: "${FAULTS:=$(dirname "$FRONTIER")/tests/faults}" # the shims
export GOMP_SPINCOUNT=0 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
if ldd "$FRONTIER" | grep -q libasan; then
    echo "skipped: the shims and AddressSanitizer both replace the C library's calls"
    exit 0
fi

# Two cells of two samples: everything that a results file can hold, in as few writes as possible.
cat >"$T/tiny.yaml" <<EOF
name: tiny
models:   [tests/golden/model/qwen2]
tasks:    [vt: {chains: 1, hops: 1}]
lengths:  [1000]
sparsity: [0.5]
methods:  {decode: [quest]}
samples:  2
output:   3
answer:   direct
EOF
run=("$FRONTIER" run "$T/tiny.yaml" -t 1)

# What lies at the results' place; what ended as it must not.
clear_results() { rm -rf "$T"/x/*; }
bad=0 tried=0
wrong() { bad=$((bad + 1)) && echo "WRONG: $*"; }

# chosen FILE: its lines, or a sample of them where SAMPLE says how many; SEED draws another.
chosen() {
    if [ -z "${SAMPLE:-}" ]; then cat "$1"; else shuf -n "$SAMPLE" --random-source=<(yes "${SEED:-1}") "$1"; fi
}
# Whether the time that SECONDS_MOST allows is over.
over() { [ -n "${SECONDS_MOST:-}" ] && [ $SECONDS -ge "$SECONDS_MOST" ]; }
