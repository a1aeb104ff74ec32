#!/bin/bash
# A task out of tree: built against installed headers, certified, run in a sweep; broken ones are refused, or fail the row
# of `frontier check` that is theirs, or their own cells of a run, in clear words.
. "$(dirname "$0")/common.bash"
tiny
P=$T/prefix
installed "$P" MAN=
cp -r examples/task "$T/task"
cd "$T/task"
make -s PREFIX="$P" >"$T/log" 2>&1 || fail "the example does not build: $(cat "$T/log")"
frontier=$P/bin/frontier
"$frontier" check ./ledger.so >"$T/out" 2>&1 || fail "the example is not certified: $(cat "$T/out")"
# The same on every machine:
grep -q 'sample 0 of seed 43 at 4096 tokens: e0ecae67b1fa4f67$' "$T/out" || fail "another sample: $(cat "$T/out")"
"$frontier" list tasks --plugin ledger.so | grep -q 'digits of a debt' || fail "list tasks does not show it"

cd "$OLDPWD"
sweep=(-s "plugins=[$T/task/ledger.so]" -s 'tasks=[ledger, ledger: {digits: 6, label: dear}]' -s samples=2)
"$frontier" run "$T/tiny.yaml" "${sweep[@]}" -o "$T/p.h5" >/dev/null 2>"$T/log" || fail "run: $(cat "$T/log")"
[ "$(rows "$T/p.h5" | grep -c '"dear"')" = 10 ] || fail "expected 10 rows of the plug-in"
key() { "$frontier" plan "$T/tiny.yaml" "${sweep[@]}" --json | grep -m1 '"key"'; }
before=$(key)
refused "ledgr.*ledger" "$frontier" plan "$T/tiny.yaml" -s "plugins=[$T/task/ledger.so]" -s 'tasks=[ledgr]'
"$frontier" plan examples/task/ledger.yaml -s "plugins=[$T/task/ledger.so]" >"$T/log" 2>&1 || fail "the example's sweep: $(cat "$T/log")"
sed -i 's/of debts/of old debts/' "$T/task/ledger.c"
make -s -C "$T/task" PREFIX="$P" >"$T/log" 2>&1
[ "$before" != "$(key)" ] || fail "another plug-in, the same key"

# The model reads the sample, whatever of the same length the task has counted last.
alike() { rows "$1" | grep '"task_label":"ledger"' | sed -E 's/"(cell|key)": ?"[^"]*",?//g' | sort; }
sed -e '1i #define _GNU_SOURCE\n#include <stdlib.h>\n#include <string.h>' -e '/sf_sample_gold/i \
    char *other = strdup(out->prompt);\
    for (char *c = other; *c; c++) *c = *c >= 97 \&\& *c < 122 ? *c + 1 : *c;\
    request->tokens.count(request->tokens.self, other, strlen(other), out->answer_prefix);\
    free(other);' examples/task/ledger.c >"$T/task/counts.c"
make -s -C "$T/task" PREFIX="$P" counts.so >"$T/log" 2>&1 || fail "counts: $(cat "$T/log")"
"$frontier" run "$T/tiny.yaml" -s "plugins=[$T/task/counts.so]" -s 'tasks=[ledger]' -s samples=2 -o "$T/counts.h5" >/dev/null 2>"$T/log" || fail "counts: $(cat "$T/log")"
alike "$T/p.h5" >"$T/before"
alike "$T/counts.h5" | cmp -s - "$T/before" || fail "the model read another text: $(alike "$T/counts.h5" | diff - "$T/before" | head -n 1 | cut -c1-400)"

# broken NAME SED: an example with a fault
broken() {
    sed "$2" "$T/task/ledger.c" >"$T/task/$1.c"
    cmp -s "$T/task/ledger.c" "$T/task/$1.c" && fail "$1: nothing was broken"
    make -s -C "$T/task" PREFIX="$P" "$1.so" >"$T/log" 2>&1 || fail "$1: $(cat "$T/log")"
}
# refuses NAME SED PATTERN: not loaded; not_certified NAME SED ROW: loaded, and found out
refuses() { broken "$1" "$2"; refused "$3" "$frontier" plan "$T/tiny.yaml" -s "plugins=[$T/task/$1.so]"; }
not_certified() {
    broken "$1" "$2"
    if "$frontier" check "$T/task/$1.so" >"$T/out" 2>&1; then fail "$1 is certified: $(cat "$T/out")"; fi
    grep -qE "$3" "$T/out" || fail "$1: no '$3' in $(cat "$T/out")"
    local n
    n=$(grep -cE ' FAIL  ' "$T/out")
    grep -qE "^frontier: $n checks? failed" "$T/out" || fail "$1: $n checks are told to fail: $(cat "$T/out")"
}
broken short 's/\.most = sf_word_count()/.most = 150/' # its data end below 4096 tokens
"$frontier" check "$T/task/short.so" >"$T/out" 2>&1 || fail "a task of short data is not certified: $(cat "$T/out")"
grep -q 'sample 0 of seed 43 at 1024 tokens' "$T/out" || fail "short: $(cat "$T/out")"
refuses abi 's/SF_TASK_ABI/1/' 'abi.so: built for task ABI 1'
refuses symbol 's/sf_plugin_task/sf_task_plugin_/' 'exports neither .*sf_plugin_task'
refuses name 's/"ledger"/"niah"/' "'niah' of .*name.so: another one has that name"
refuses hook '/\.score/d' 'both generate and score'
refuses reserved 's/"digits"/"label"/' 'ledger.label: every task has a key of that name'
refuses range 's/\.initial = 4/.initial = 40/' 'default 40 lies outside'
not_certified chance 's/request->index)/request->index + rand())/; 1i #include <stdlib.h>' 'same seed, same sample +FAIL'
not_certified repeats 's/request->index)/request->index % 7)/' 'no sample repeats another +FAIL +samples 0 and 7'
not_certified short 's/sf_prompt_fit(request/sf_prompt_fit(\&(sf_request){request->seed, request->index, request->max_tokens * 3 \/ 4, request->tokens, request->prompting}/' 'fills 95 to 100 % of a length +FAIL'
not_certified wrong 's/request, "I looked[^;]*;/request, "I guess.", "1");/' 'the perfect answer scores 1 +FAIL'
not_certified empty 's/\.score = sf_score_item/.score = right/; /^static const sf_task/i static sf_status right(const void *p, const sf_sample *s, const char *text, sf_score *out) { *out = (sf_score){1, 1, 1}; return SF_OK; }' 'an empty answer scores 0 +FAIL'
not_certified crash 's/\.score = sf_score_item/.score = crash/; /^static const sf_task/i static sf_status crash(const void *p, const sf_sample *s, const char *text, sf_score *out) { if (text[0] < 0) *(volatile int *)8 = 0; return sf_score_item(p, s, text, out); }' 'any bytes are an answer +FAIL +(crashed|ended the program)'
leaving not_certified exits 's/\.score = sf_score_item/.score = leave/; 1i #include <stdlib.h>
/^static const sf_task/i static sf_status leave(const void *p, const sf_sample *s, const char *text, sf_score *out) { exit(0); }' 'the perfect answer scores 1 +FAIL +ended the program \(status 0\)'

# In a run, each costs its own cells alone: the rows of another task are complete, and the plug-in's cells are named.
both=(-s 'tasks=[vt: {chains: 1, hops: 1}, ledger]' -s samples=2 -s hook_limit=2)
"$frontier" run "$T/tiny.yaml" "${both[@]}" -s "plugins=[$T/task/ledger.so]" -o "$T/b.h5" >/dev/null 2>"$T/log" || fail "run: $(cat "$T/log")"
rows "$T/b.h5" >"$T/all"
grep -v '"ledger"' "$T/all" >"$T/others"
# costs_its_cells NAME SED CELLS WORDS: so many cells fail, all that the plug-in has
costs_its_cells() {
    local status=0
    broken "$1" "$2"
    "$frontier" run "$T/tiny.yaml" "${both[@]}" -s "plugins=[$T/task/$1.so]" -o "$T/$1.h5" >"$T/out" 2>"$T/log" || status=$?
    [ $status = 3 ] || fail "$1: status $status, expected 3: $(cat "$T/log")"
    [ "$(grep -c "a cell failed.*ledger.*$4" "$T/log")" = "$3" ] || fail "$1: expected $3 times '$4': $(cat "$T/log")"
    rows "$T/$1.h5" | grep -v '"ledger"' | cmp -s - "$T/others" || fail "$1: the other task's rows are not those of a run without it"
    [ "$(rows "$T/$1.h5" | grep -c '"ledger"')" -le "$3" ] || fail "$1: more than the first samples of its cells: $(rows "$T/$1.h5")"
}
cells=$(($(grep -c '"ledger"' "$T/all") / 2))
costs_its_cells later '/sf_prompt_fit(request/i if (request->index == 1) *(volatile int *)8 = 0;' $cells "sample 1: task 'ledger', generate, sample 1 crashed by signal 11"
leaving costs_its_cells leaves '1i #include <stdlib.h>
/sf_prompt_fit(request/i if (request->index == 1) exit(0);' $cells "task 'ledger', generate, sample 1 ended its process with exit(0)"
costs_its_cells waits '1i int pause(void);
/sf_prompt_fit(request/i while (request->index == 1) pause();' $cells "task 'ledger', generate, sample 1 did not return within 2 seconds"
costs_its_cells says '/sf_prompt_fit(request/i if (request->index == 1) return sf_fail(SF_BAD_INPUT, "no ink");' $cells "sample 1: task ledger, [0-9]* tokens, sample 1, for [^:]*: no ink"
costs_its_cells judges 's/\.score = sf_score_item/.score = crash/; /^static const sf_task/i static sf_status crash(const void *p, const sf_sample *s, const char *text, sf_score *out) { *(volatile int *)8 = 0; return SF_OK; }' $cells "task 'ledger', score crashed by signal 11"
# With ALL=1 each hook in every way.
if [ -n "${ALL:-}" ]; then
    declare -A does=([segv]='*(volatile int *)8 = 0;' [abort]='abort();' [ill]='__builtin_trap();' [exit]='_exit(0);' [exit0]='exit(0);'
        [hang]='for (;;) pause();' [heap]='for (volatile char *x = malloc(24), *end = x + (1 << 22); x < end; x++) *x = -1;'
        [fail]='return sf_fail(SF_BAD_INPUT, "no ink");')
    declare -A says=([segv]='crashed by signal 11' [abort]='crashed by signal 6' [ill]='crashed by signal 4' [exit]='ended its process with exit(0)'
        [exit0]='ended its process with exit(0)' [hang]='did not return within 2 seconds' [heap]='' [fail]='no ink')
    includes='1i #include <stdlib.h>\nint pause(void);\nvoid _exit(int);' # whose header has another write()
    for how in "${!does[@]}"; do
        leaving costs_its_cells "generate-$how" "$includes
/sf_prompt_fit(request/i if (request->index == 1) ${does[$how]}" $cells "${says[$how]}"
        leaving costs_its_cells "score-$how" "$includes
s/\.score = sf_score_item/.score = misjudge/
/^static const sf_task/i static sf_status misjudge(const void *p, const sf_sample *s, const char *text, sf_score *out) { ${does[$how]} return sf_score_item(p, s, text, out); }" \
            $cells "${says[$how]}"
    done
    for number in NAN -1 2 INFINITY; do
        costs_its_cells "score$number" "1i #include <math.h>
s/\.score = sf_score_item/.score = misjudge/
/^static const sf_task/i static sf_status misjudge(const void *p, const sf_sample *s, const char *text, sf_score *out) { *out = (sf_score){$number, 0, 1}; return SF_OK; }" \
            $cells "ledger"
    done
    echo "$((2 * ${#does[@]} + 4)) ways of a task to fail"
fi
# The first sample is tried before anything runs, by `plan` too.
broken first '/sf_prompt_fit(request/i *(volatile int *)8 = 0;'
refused "task 'ledger', generate, sample 0 crashed by signal 11" "$frontier" run "$T/tiny.yaml" "${both[@]}" -s "plugins=[$T/task/first.so]" -o "$T/first.h5"
refused "task 'ledger', generate, sample 0 crashed by signal 11" "$frontier" plan "$T/tiny.yaml" "${both[@]}" -s "plugins=[$T/task/first.so]"
[ ! -e "$T/first.h5" ] || fail "a run that was refused left results"
# A task that takes files of the user is refused in one line.
refused 'longbench_qasper: .file. is missing: .*: name the files in a config' "$FRONTIER" check longbench_qasper
[ ! -s "$T/out" ] || fail "check: rows of a task that was not tried: $(cat "$T/out")"
echo "task plug-in: ok"
