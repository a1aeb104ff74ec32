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

# What ended as it must not, and with which statuses the rest did.
wrong() { bad=$((bad + 1)) && echo "WRONG: $*"; }
ended() { statuses[$1]=$((${statuses[$1]:-0} + 1)); }

# counted SHIM COMMAND…: runs it whole; $T/counts receives how many calls of each kind it makes that the shim of this name can let
# fail, $T/counted what it prints.
counted() {
    local shim=$FAULTS/$1.so
    shift
    rm -f "$T/counts"
    [ -e "$shim" ] || fail "$shim is not there; \`make tests\` builds it, or FAULTS names another folder" >&2
    LD_PRELOAD=$shim FAULT_COUNTS=$T/counts "$@" >"$T/counted" 2>"$T/log" || fail "$*, with nothing made to fail: $(tail -n 1 "$T/log")" >&2
    [ -s "$T/counts" ] || fail "$shim counted nothing in $*: $(head -n 1 "$T/log")" >&2
}

# chosen FILE: its lines, those from FROM on, or a sample of them where SAMPLE says how many; SEED draws another.
chosen() {
    if [ -z "${SAMPLE:-}" ]; then tail -n "+${FROM:-1}" "$1"; else shuf -n "$SAMPLE" --random-source=<(yes "${SEED:-1}") "$1"; fi
}
# Whether the time that SECONDS_MOST allows is over.
over() { [ -n "${SECONDS_MOST:-}" ] && [ $SECONDS -ge "$SECONDS_MOST" ]; }

# try_all NAME FILE: `try LINE` for each line of a file, JOBS at once (1), each with a folder $X of its own. Says how it went, and
# fails if anything was wrong.
try_all() {
    local name=$1 file=$2 jobs=${JOBS:-1} job
    for ((job = 0; job < jobs; job++)); do
        (
            X=$T/job$job bad=0 tried=0
            declare -A statuses=()
            mkdir "$X"
            while read -r -a line; do
                ! over || break
                try "${line[@]}"
                tried=$((tried + 1))
            done < <(awk -v j=$job -v n="$jobs" 'NR % n == j' "$file")
            echo "tried $tried" && echo "bad $bad"
            for s in "${!statuses[@]}"; do echo "status $s: ${statuses[$s]}"; done
        ) >"$T/said$job" 2>&1 &
    done
    wait
    grep -hvE '^(tried|bad|status) ' "$T"/said* || true
    cat "$T"/said* | awk -v name="$name" -v all="$(wc -l <"$file")" '
        /^tried / {tried += $2} /^bad / {bad += $2; jobs++} /^status / {ended[$2] += $3}
        END {
            for (s in ended) text = text sprintf("status %s %d; ", s, ended[s])
            printf "faults, %s: %d of %d tried (%s%d wrong)\n", name, tried, all, text, bad
            exit bad > 0
        }' || exit 1
    [ "$(cat "$T"/said* | grep -c '^bad ')" = "$jobs" ] || fail "$name: a job did not come to its end"
}
