#!/bin/bash
# What a campaign of faults found in revision f0848c2, each kind as somebody meets it, tried on any build: `TREE=FOLDER
# tests/faults/kinds.sh` says of each what is wrong with the program in FOLDER/build, or ok. Exit status 1: something is. README.md
# here names the tests of the suite that hold the same. Needs gcc, and Python with h5py (PYTHON) to edit results files.
#   kinds.sh 2 14     these alone
tree=$(realpath "${TREE:-$(dirname "$0")/../..}")
here=$(realpath "$(dirname "$0")")
export FRONTIER=$tree/build/frontier FRONTIER_PLOTS=$tree/plots FAULTS=${FAULTS:-$here/../../build/tests/faults}
. "$here/common.bash"
cd "$tree"
set +e
PYTHON=${PYTHON:-python3} LIMIT=${LIMIT:-20} red=0
"$PYTHON" -c 'import h5py' 2>/dev/null || fail "$PYTHON has no h5py; PYTHON=… names one that has"
sed -i "s#tests/golden/model#$here/../golden/model#" "$T/tiny.yaml"

# go COMMAND…: its status in $status, what it says in $T/said; one that does not end is 124.
go() { timeout "$LIMIT" "$FRONTIER" "$@" >"$T/said" 2>&1; status=$?; }
sweep() { go run "$T/tiny.yaml" -t 1 -o "$@"; [ $status = 0 ] || fail "the run itself: $(tail -n 1 "$T/said")"; }
report() { rm -rf "$T/report"; go report "$1" --out "$T/report" --format svg --figures "${2:-cost}"; }
crashed() { [ $status -ge 124 ] && [ $status != 125 ]; }
kind() { what="$*"; bad=; }
wrong() { bad="${bad:+$bad; }$*"; }
verdict() { if [ -n "$bad" ]; then red=1; echo "$1  RED  $what: $bad"; else echo "$1  ok   $what"; fi; }
# edited FILE: a copy of the results, after the Python on standard input; f is the file, c the groups of its cells.
edited() { cp "$T/whole.h5" "$1"; "$PYTHON" -c "
import h5py, sys, numpy
f = h5py.File(sys.argv[1], 'r+'); c = [f['cells'][k] for k in f['cells']]
$(cat)" "$1" || fail "the file could not be edited"; }
library() { gcc -shared -fPIC -w -D_GNU_SOURCE "${@:2}" -x c -o "$1" - || fail "$1 does not compile"; }

# driver SCRIPT KEY=VALUE…: one of the campaigns beside this file, on a sample; what it finds wrong.
driver() { env "${@:2}" "$here/$1" >"$T/said" 2>&1 || wrong "$(grep -c '^WRONG' "$T/said") places, $(grep '^WRONG' "$T/said" | head -n 1 | cut -c1-150)"; }

kind_1() {
    kind "a write that fails once while folding"
    driver io.sh CALLS=pwrite HOWS=EIO SAMPLE=24 SEED=3
}
kind_2() {
    kind "a results file that names code, or rows elsewhere"
    library "$T/trace.so" "-DTRACE=\"$T/trace\"" <<<'#include <fcntl.h>
        __attribute__((constructor)) static void f(void) { open(TRACE, O_CREAT, 0600); }'
    edited "$T/x.h5" <<<"
for r in f['runs'].values():
    for name in r.attrs:
        if b'models:' in numpy.bytes_(r.attrs[name]): r.attrs[name] = numpy.bytes_(r.attrs[name]) + b'\nplugins: [$T/trace.so]\n'"
    for command in show report export; do
        rm -f "$T/trace"
        if [ $command = report ]; then report "$T/x.h5"; else go $command "$T/x.h5"; fi
        [ ! -e "$T/trace" ] || wrong "$command runs a plug-in that the file names"
    done
    printf '%b' '\0\0\0\0\0\0\xc0\x3f\0\0\0\0\0\0\xc0\x3f' >"$T/elsewhere" # .125 twice
    edited "$T/x.h5" <<<"
for g in c:
    del g['strict']; g.create_dataset('strict', (2,), '<f8', external=[('$T/elsewhere', 0, 16)])"
    go export "$T/x.h5" --jsonl
    ! grep -q '"strict": *0.125' "$T/said" || wrong "rows are read from another file"
    cp "$T/whole.h5" "$T/y.h5"
    edited "$T/x.h5" <<<"
for g in c:
    del g['strict']; g['strict'] = h5py.ExternalLink('$T/y.h5', g.name + '/score')
h5py.File('$T/y.h5', 'r+').close()
y = h5py.File('$T/y.h5', 'r+')
for g in c:
    if 'score' in y[g.name]: del y[g.name]['score']
    y[g.name]['score'] = numpy.full(2, 0.125)"
    go export "$T/x.h5" --jsonl
    ! grep -q '"strict": *0.125' "$T/said" || wrong "rows are read through a link to another file"
    mkdir -p "$T/filters"
    library "$T/filters/libmine.so" "-DTRACE=\"$T/trace\"" $(pkg-config --cflags hdf5) <<<'#include <fcntl.h>
        #include <H5PLextern.h>
        static size_t run(unsigned f, size_t n, const unsigned *v, size_t b, size_t *s, void **d) { open(TRACE, O_CREAT, 0600); return b; }
        static const H5Z_class2_t mine = {H5Z_CLASS_T_VERS, 32001, 1, 1, "mine", NULL, NULL, run};
        H5PL_type_t H5PLget_plugin_type(void) { return H5PL_TYPE_FILTER; }
        const void *H5PLget_plugin_info(void) { return &mine; }'
    edited "$T/x.h5" <<<"
for g in c:
    p = h5py.h5p.create(h5py.h5p.DATASET_CREATE); p.set_chunk((2,)); p.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
    del g['strict']
    d = h5py.h5d.create(g.id, b'strict', h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((2,)), p)
    d.write_direct_chunk((0,), numpy.full(2, 0.125).tobytes(), 0)"
    rm -f "$T/trace"
    HDF5_PLUGIN_PATH=$T/filters go export "$T/x.h5" --jsonl
    [ ! -e "$T/trace" ] || wrong "a filter of the file's own is loaded and run"
}
kind_3() {
    kind "runs of different settings in one file"
    sweep "$T/three.h5" -s output=16
    sweep "$T/three.h5" -s output=24 -s 'methods={decode: [snapkv]}'
    report "$T/three.h5"
    ! { grep -q ,quest, "$T/report/tables/scores.csv" && grep -q ,snapkv, "$T/report/tables/scores.csv"; } ||
        wrong "a table sets an answer of 16 tokens beside one of 24"
}
kind_4() {
    kind "claims from one sample (and 17)"
    sweep "$T/one.h5" -s samples=1
    report "$T/one.h5" frontier
    awk -F, 'NR > 1 && $NF + 0 > 0 {exit 1}' "$T/report/tables/limits.csv" || wrong "from one sample a loss above .05 is excluded"
    awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i} NR > 1 && $at["high"] - $at["low"] < 0.01 {exit 1}' "$T/report/tables/scores.csv" ||
        wrong "an interval of one sample has no width"
    bars=$(awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; exit !("low" in at)}' "$T/report/figures/frontier.csv" && echo intervals)
    [ "$bars" = intervals ] || wrong "a figure's bars are standard errors"
}
kind_5() {
    kind "numbers of samples"
    for n in -2000000 2147483647; do
        edited "$T/x.h5" <<<"c[0]['sample'][0] = $n"
        (ulimit -v 8000000; report "$T/x.h5"; exit $status)
        status=$?
        ! crashed || wrong "a sample numbered $n: report ends with status $status"
    done
}
kind_6() {
    kind "a split pattern whose match begins behind its end"
    cp -r "$here/../golden/model/qwen2" "$T/m6"
    "$PYTHON" - "$T/m6/tokenizer.json" <<'P'
import json, sys
t = json.load(open(sys.argv[1]))
split = {"type": "Split", "pattern": {"Regex": r"(?=(?&k))|(?!)(?<k>a\K)"}, "behavior": "Isolated", "invert": False}
t["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}
json.dump(t, open(sys.argv[1], "w"))
P
    go run "$T/tiny.yaml" -t 1 -o "$T/six.h5" -s "models=[$T/m6]"
    ! crashed || wrong "run ends with status $status"
}
kind_7() {
    kind "a second run into the same file"
    library "$T/slow.so" -ldl <<<'#include <dlfcn.h>
        #include <unistd.h>
        int faccessat(int at, const char *path, int how, int flags) { int (*r)(int, const char *, int, int) = dlsym(RTLD_NEXT, "faccessat");
            int x = r(at, path, how, flags); usleep(800000); return x; }'
    LD_PRELOAD=$T/slow.so "$FRONTIER" run "$T/tiny.yaml" -t 1 -o "$T/seven.h5" >/dev/null 2>"$T/first" &
    local first=$!
    for _ in $(seq 500); do [ ! -d "$T/seven.h5.parts" ] || break; read -r -t 0.01 <> <(:); done
    go run "$T/tiny.yaml" -t 1 -o "$T/seven.h5"
    wait $first || wrong "the first one ends: $(tail -n 1 "$T/first" | cut -c1-120)"
}
kind_8() {
    kind "a disk that fills while folding"
    driver io.sh CALLS=pwrite HOWS=ENOSPC+ SAMPLE=10
}
kind_9() {
    kind "a hook that ends the program"
    library "$T/leaves.so" -I"$tree" <<<'#include "methods/method.h"
        #include <stdlib.h>
        static sf_status decode(sf_attention *a, const void *p, sf_state *s, sf_pattern *out) { if (getenv("LEAVE")) exit(0); return sf_window(a, out, 0, 64); }
        static const sf_method m = {.abi = SF_METHOD_ABI, .name = "leaves", .summary = "exits", .decode = decode};
        const sf_method *sf_plugin(void) { return &m; }'
    LEAVE=1 go run "$T/tiny.yaml" -t 1 -o "$T/nine.h5" -s "plugins=[$T/leaves.so]" -s 'methods={decode: [quest, leaves]}'
    [ $status != 0 ] || wrong "exit(0) in a hook: status 0"
    grep -q "leaves.*exit" "$T/said" || wrong "exit(0) in a hook is not named"
    go export "$T/nine.h5" --jsonl
    [ "$(grep -c '"decode_label":"quest"' "$T/said")" = 2 ] || wrong "the good method beside it has no results"
}
kind_10() {
    kind "a data file named without a slash"
    mkdir "$T/ten" && cp tasks/data/qa_choice.jsonl "$T/ten/q.jsonl"
    sed -e "s#tasks:.*#tasks: [qa_toefl: {file: q.jsonl}]#; s/lengths:.*/lengths: [3000]/; s/samples:.*/samples: 1/" "$T/tiny.yaml" >"$T/ten/c.yaml"
    for i in 1 2; do
        (cd "$T/ten" && timeout "$LIMIT" "$FRONTIER" run c.yaml -t 1 -o x.h5 >said$i 2>&1)
        sed -i 's/ the / THE /g' "$T/ten/q.jsonl"
    done
    (cd "$T/ten" && "$FRONTIER" export x.h5 --jsonl >rows 2>/dev/null)
    [ -s "$T/ten/rows" ] || fail "no results of a data file: $(tail -n 1 "$T/ten/said1")"
    [ "$(grep -o '"prompt_hash": *[^,]*' "$T/ten/rows" | sort -u | wc -l)" = 2 ] || wrong "changed between two runs, the first one's results are kept"
}
kind_11() {
    kind "labels 'a b' and 'a_b'"
    sweep "$T/eleven.h5" -s "models=[{path: $here/../golden/model/qwen2, label: a b}, {path: $here/../golden/model/qwen2-yarn, label: a_b}]"
    report "$T/eleven.h5" tasks
    n=$(ls "$T/report/figures" | grep -c '^tasks-.*csv$')
    [ "$n" = 2 ] || wrong "the pictures of two models are $n"
}
kind_12() {
    kind "no memory"
    driver alloc.sh SAMPLE=40 SEED=2 COMMANDS="${COMMANDS:-plan run}"
}
kind_13() {
    kind "aliases and tags in a config"
    { cat "$T/tiny.yaml"; echo 'device: !!str cpu'; } >"$T/tags.yaml"
    go plan "$T/tags.yaml"
    [ $status = 1 ] || wrong "a tag: status $status"
    sed 's/^samples: .*/samples: \&n 2/; s/^output: .*/output: *n/' "$T/tiny.yaml" >"$T/other.yaml"
    go plan "$T/other.yaml"
    grep -qiE 'alias|anchor' "$T/said" || wrong "an alias: status $status"
}
kind_14() {
    kind "labels that are read as commands"
    sweep "$T/fourteen.h5" -s "models=[{path: $here/../golden/model/qwen2, label: '\openout0=x{}~^'}, {path: $here/../golden/model/qwen2-yarn, label: '=1+1'}]"
    report "$T/fourteen.h5"
    ! grep -qF '\openout' "$T/report/tables/scores.tex" || wrong "a LaTeX table holds \\openout"
    ! grep -qE '(^|,)"?=1' "$T/report/tables/scores.csv" || wrong "a CSV cell begins with ="
}
kind_15() {
    kind "two runs that begin in one second"
    library "$T/clock.so" <<<'#include <time.h>
        #include <dlfcn.h>
        int clock_gettime(clockid_t c, struct timespec *t) { int (*r)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
            int x = r(c, t); if (c == CLOCK_REALTIME) t->tv_sec = 1790000000; return x; }
        time_t time(time_t *t) { if (t) *t = 1790000000; return 1790000000; }' -ldl
    for n in 1 2 3; do LD_PRELOAD=$T/clock.so go run "$T/tiny.yaml" -t 1 -o "$T/fifteen.h5" -s samples=$n; done
    n=$("$PYTHON" -c "import h5py; print(len(h5py.File('$T/fifteen.h5')['runs']))")
    [ "$n" = 3 ] || wrong "of three runs $n are on record"
}
kind_16() {
    kind "small ones"
    sed '/^name/d' "$T/tiny.yaml" >"$T/.yaml"
    (cd "$T" && timeout "$LIMIT" "$FRONTIER" run .yaml -t 1 >/dev/null 2>&1)
    [ ! -e "$T/results/(null).h5" ] || wrong "without a name, results/(null).h5"
    printf 'models: [%s]\ntasks: [{}]\n' "$here/../golden/model/qwen2" >"$T/e.yaml"
    go plan "$T/e.yaml" --set tasks.00.x=1
    ! crashed || wrong "--set on []: status $status"
    for command in "list methods" version "plan $T/tiny.yaml" "show $T/whole.h5" "export $T/whole.h5" "cost $here/../golden/model/qwen2"; do
        timeout "$LIMIT" "$FRONTIER" $command >/dev/full 2>/dev/null && wrong "${command%% *} to a full disk: status 0"
    done
    go fetch a/..
    [ $status != 0 ] || wrong "fetch a/..: status 0"
}

sweep "$T/whole.h5"
for kind in ${*:-1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16}; do
    kind_$kind
    verdict $kind
done
exit $red
